/* Reading a log while another handle or another program changes its files. */
#include "bed.h"

static int count_entry(void *ctx, const firn_wal_entry *entry)
{
    (void)entry;
    ++*(int *)ctx;
    return 0;
}

typedef struct busy_writer {
    bed *b;
    bool done;
} busy_writer;

/* The writer truncates just when another process opens a file that goes with that. */
static int truncate_meanwhile(void *ctx, unsigned call, uint64_t index, const char *name)
{
    busy_writer *w = ctx;
    uint64_t floor_seq;
    (void)index;
    if (call != SIMFS_OPEN || w->done || !strstr(name, "000000000001.wal"))
        return 0;
    w->done = true;
    OK(firn_wal_truncate(w->b->log, firn_wal_last_seq(w->b->log), &floor_seq, err));
    return 0;
}

static void WhoLooksOnBesideAWriterLooksAgain(void **state)
{
    (void)state;
    bed b = bed_new();
    for (uint64_t i = 1; i <= 4; i++) {
        bed_put(&b, i);
        OK(firn_wal_rotate(b.log, err));
    }
    bed_put(&b, 5);
    OK(firn_wal_checkpoint(b.log, NULL, err));
    busy_writer writer = {.b = &b};
    simfs_on_call(b.sim, truncate_meanwhile, &writer);
    wal_config c = bed_config();
    c.options.read_only = true;
    fs_dir *dir;
    wal *reader;
    OK(fs_dir_open(simfs_fs(b.sim), BED_PATH, &dir, err));
    OK(wal_open(dir, &c, NULL, &reader, err));
    assert_true(writer.done);
    simfs_on_call(b.sim, NULL, NULL);
    int count = 0;
    OK(firn_wal_replay(reader, 0, count_entry, &count, NULL, err));
    assert_int_equal(firn_wal_last_seq(reader), firn_wal_last_seq(b.log));
    assert_int_equal(firn_wal_floor_seq(reader), firn_wal_floor_seq(b.log));
    assert_int_equal(count, firn_wal_last_seq(b.log) - firn_wal_floor_seq(b.log));
    OK(firn_wal_close(reader, err));
    fs_dir_close(dir);
    bed_release(&b);
}

/* Another program empties a file while the log is open. */
static void AnEmptiedFileIsALossToAVerifier(void **state)
{
    (void)state;
    wal_config c = bed_config();
    c.options.backing = FIRN_WAL_BUFFERED;
    bed b = bed_new_with(&c);
    bed_put(&b, 1);
    OK(firn_wal_rotate(b.log, err));
    bed_put(&b, 2);
    OK(firn_wal_verify(b.log, NULL, err));
    simfs_cut(b.sim, BED_PATH "/000000000001.wal", 0);
    firn_wal_report report;
    firn_wal_report_init(&report);
    EXPECT(FIRN_DAMAGED, firn_wal_verify(b.log, &report, err));
    assert_true(report.count >= 1);
    assert_int_equal(report.findings[0].kind, FIRN_WAL_LOST);
    assert_non_null(strstr(report.findings[0].file, "000000000001.wal"));
    firn_wal_report_release(&report);
    bed_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(WhoLooksOnBesideAWriterLooksAgain),
        cmocka_unit_test(AnEmptiedFileIsALossToAVerifier),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
