/* Recovery: what each policy does with each kind of damage, what goes to lost/, which numbers come
 * next, and what happens when a call fails in the middle. Crashes in the middle are in
 * test_crash.c. */
#include "bench.h"

#include <base/alloc.h>
#include <errno.h>

/* ---- Situations ---- */

static void make_clean(bench *b)
{
    log_sample(&b->log);
    log_write(&b->log, b->sim);
}

static void make_torn(bench *b)
{
    char path[64];
    make_clean(b);
    simfs_flip_bit(b->sim, log_path(3, path), (b->log.segments[2].end - 20) * 8);
}

static void make_lost(bench *b)
{
    char path[64];
    make_clean(b);
    simfs_flip_bit(b->sim, log_path(2, path), (WAL_DATA_OFFSET + 96 + 44) * 8);
}

static void make_missing(bench *b)
{
    char path[64];
    make_clean(b);
    simfs_remove(b->sim, log_path(2, path));
}

static void make_harmless(bench *b)
{
    char path[64];
    make_clean(b);
    simfs_flip_bit(b->sim, log_path(1, path), 77);
}

static void every_policy_does_what_the_table_says(void **state)
{
    typedef struct row {
        const char *name;
        void (*make)(bench *b);
        firn_wal_finding_kind kind; /* 0: none */
        int strict, tail;
        uint64_t kept_prefix, kept_salvage; /* operations; the whole log has 19 */
        uint64_t last_prefix, last_salvage;
    } row;
    static const row rows[] = {
        {"clean", make_clean, 0, FIRN_OK, FIRN_OK, 19, 19, 20, 20},
        {"torn", make_torn, FIRN_WAL_TORN, FIRN_DAMAGED, FIRN_OK, 15, 15, 16, 16},
        {"lost", make_lost, FIRN_WAL_LOST, FIRN_DAMAGED, FIRN_DAMAGED, 6, 14, 6, 20},
        {"missing", make_missing, FIRN_WAL_MISSING_SEGMENT, FIRN_DAMAGED, FIRN_DAMAGED, 6, 13, 6,
         20},
        {"harmless", make_harmless, FIRN_WAL_HARMLESS, FIRN_DAMAGED, FIRN_OK, 19, 19, 20, 20},
    };
    (void)state;
    static const firn_recovery policies[] = {FIRN_RECOVERY_STRICT, FIRN_RECOVERY_TAIL,
                                             FIRN_RECOVERY_PREFIX, FIRN_RECOVERY_SALVAGE,
                                             FIRN_RECOVERY_INSPECT};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (size_t p = 0; p < sizeof policies / sizeof policies[0]; p++) {
            const row *r = &rows[i];
            firn_recovery policy = policies[p];
            bench *b;
            bench_setup((void **)&b);
            r->make(b);
            print_message("    %s, policy %d\n", r->name, (int)policy);
            int rc = bench_open(b, policy);
            int wanted = policy == FIRN_RECOVERY_STRICT ? r->strict
                         : policy == FIRN_RECOVERY_TAIL ? r->tail
                                                        : FIRN_OK;
            assert_int_equal(rc, wanted);
            assert_int_equal(b->report.count, r->kind ? 1 : 0);
            if (r->kind)
                assert_int_equal(b->report.findings[0].kind, r->kind);
            if (rc == FIRN_OK) {
                bool all = policy == FIRN_RECOVERY_SALVAGE || policy == FIRN_RECOVERY_INSPECT;
                assert_int_equal(b->read.count, all ? r->kept_salvage : r->kept_prefix);
                assert_int_equal(b->read.last, all ? r->last_salvage : r->last_prefix);
                assert_int_equal(b->read.wrong, 0);
            } else {
                assert_null(b->w); /* opening itself refuses, not who reads what was opened */
                assert_true(b->error.hint[0] != '\0' && b->error.file[0] != '\0');
                assert_true(b->error.offset != FIRN_NO_OFFSET);
            }
            void *gone = b;
            bench_teardown(&gone);
        }
    }
}

static void a_refusal_names_file_offset_lost_numbers_and_a_remedy(void **state)
{
    bench *b = *state;
    make_lost(b);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_TAIL), FIRN_DAMAGED);
    assert_non_null(strstr(b->error.file, "000000000002.wal"));
    assert_int_equal(b->error.offset, WAL_DATA_OFFSET + 96);
    assert_non_null(strstr(b->error.message, "numbers 7 to 11"));
    assert_non_null(strstr(b->error.hint, "backup"));
    assert_non_null(strstr(b->error.hint, "salvage"));
}

/* ---- Nothing is written when nothing may be ---- */

typedef struct snapshot {
    uint64_t sum;
    simfs *sim;
} snapshot;

static int add_file(void *ctx, const char *path, uint64_t size)
{
    snapshot *s = ctx;
    size_t bytes;
    const uint8_t *data = simfs_peek(s->sim, path, &bytes);
    assert_int_equal(bytes, size);
    s->sum = s->sum * 31 + hash64(path, strlen(path), hash64(data, bytes, size));
    return 0;
}

static uint64_t contents(simfs *sim)
{
    snapshot s = {.sim = sim};
    simfs_each(sim, "", add_file, &s);
    return s.sum;
}

static void looking_at_a_log_writes_nothing(void **state)
{
    (void)state;
    void (*const situations[])(bench * b) = {make_clean, make_torn, make_lost, make_missing,
                                             make_harmless};
    for (size_t i = 0; i < sizeof situations / sizeof situations[0]; i++) {
        for (int how = 0; how < 5; how++) {
            bench *b;
            bench_setup((void **)&b);
            situations[i](b);
            simfs_write_file(b->sim, LOG_FOLDER "/000000000004.wal.new", "x", 1);
            uint64_t before = contents(b->sim);
            uint64_t changes = simfs_calls(b->sim, SIMFS_CHANGING);
            wal_config config = log_config(FIRN_RECOVERY_INSPECT);
            if (how > 0) {
                static const firn_recovery policies[] = {FIRN_RECOVERY_TAIL, FIRN_RECOVERY_PREFIX,
                                                         FIRN_RECOVERY_SALVAGE,
                                                         FIRN_RECOVERY_STRICT};
                config = log_config(policies[how - 1]);
                config.options.read_only = true;
            }
            config.options.backing = i % 2 ? FIRN_WAL_BUFFERED : FIRN_WAL_MAPPED;
            int rc = bench_open_with(b, &config);
            assert_true(rc == FIRN_OK || rc == FIRN_DAMAGED);
            if (rc == FIRN_OK)
                assert_int_equal(
                    firn_wal_append(b->w, FIRN_PUT, "n", 1, "", 0, NULL, NULL, &b->error),
                    FIRN_READ_ONLY);
            void *gone = b;
            simfs *sim = b->sim;
            bench_shut(b);
            assert_true(contents(sim) == before);
            assert_int_equal(simfs_calls(sim, SIMFS_CHANGING), changes);
            bench_teardown(&gone);
        }
    }
}

/* ---- lost/ ---- */

static int count_file(void *ctx, const char *path, uint64_t size)
{
    (void)path;
    (void)size;
    ++*(int *)ctx;
    return 0;
}

/* A second name would cost less, and show whatever is written into the file afterwards. */
static int check_is_a_copy(void *ctx, const char *path, uint64_t size)
{
    (void)ctx;
    if (size % WAL_PAGE_BYTES == 0)
        fail_msg("%s is the file itself, and no copy of what it holds", path);
    return 0;
}

static void what_is_cut_is_in_lost_byte_by_byte(void **state)
{
    bench *b = *state;
    make_torn(b);
    char path[64];
    size_t size, saved_size;
    uint8_t before[3 * WAL_PAGE_BYTES];
    memcpy(before, simfs_peek(b->sim, log_path(3, path), &size), sizeof before);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_TAIL), FIRN_OK);
    assert_int_equal(b->report.count, 1);
    uint64_t at = b->report.findings[0].offset;
    char name[64];
    snprintf(name, sizeof name, LOG_FOLDER "/lost/000000000003-%llu-1", (unsigned long long)at);
    assert_true(simfs_exists(b->sim, name));
    const uint8_t *saved = simfs_peek(b->sim, name, &saved_size);
    assert_int_equal(saved_size, b->report.cut_bytes);
    assert_memory_equal(saved, before + at, saved_size);
    for (uint64_t i = at + saved_size; i < size; i++)
        assert_int_equal(before[i], 0);
    int files = 0;
    simfs_each(b->sim, LOG_FOLDER "/lost", count_file, &files);
    assert_int_equal(files, 1);
}

static void a_second_cut_overwrites_nothing_in_lost(void **state)
{
    bench *b = *state;
    make_torn(b);
    simfs_write_file(b->sim, LOG_FOLDER "/lost/000000000003-4632-41", "older", 5);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_TAIL), FIRN_OK);
    int files = 0;
    simfs_each(b->sim, LOG_FOLDER "/lost", count_file, &files);
    assert_int_equal(files, 2);
    size_t size;
    const uint8_t *older = simfs_peek(b->sim, LOG_FOLDER "/lost/000000000003-4632-41", &size);
    assert_memory_equal(older, "older", 5);
}

static void later_segments_that_are_cut_are_in_lost_as_a_whole(void **state)
{
    bench *b = *state;
    make_lost(b);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_PREFIX), FIRN_OK);
    char path[64];
    assert_false(simfs_exists(b->sim, log_path(3, path)));
    int files = 0;
    simfs_each(b->sim, LOG_FOLDER "/lost", count_file, &files);
    assert_int_equal(files, 2);
    simfs_each(b->sim, LOG_FOLDER "/lost", check_is_a_copy, NULL);
    assert_true(b->report.cut_bytes > 4096);
    /* What is behind the cut gives its blocks back. */
    size_t size;
    (void)simfs_peek(b->sim, log_path(2, path), &size);
    assert_int_equal(size, 2 * WAL_PAGE_BYTES);
}

static void a_closed_log_that_was_cut_may_be_closed_unused(void **state)
{
    bench *b = *state;
    char path[64];
    log_sample(&b->log);
    log_close(&b->log);
    log_write(&b->log, b->sim);
    simfs_flip_bit(b->sim, log_path(2, path), (WAL_DATA_OFFSET + 96 + 44) * 8);
    wal_config config = log_config(FIRN_RECOVERY_PREFIX);
    config.options.segment_bytes = 4 * WAL_PAGE_BYTES; /* closing could make it shorter */
    assert_int_equal(bench_open_with(b, &config), FIRN_OK);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(bench_open(b, FIRN_RECOVERY_STRICT), FIRN_OK);
        assert_int_equal(b->read.count, 6);
    }
    assert_int_equal(bench_append(b), 21);
}

/* ---- Numbers ---- */

static void make_torn_with_more_behind(bench *b)
{
    char path[64];
    log_rotate(&b->log);
    log_batch(&b->log, 3);
    uint64_t at = log_batch(&b->log, 2);
    log_batch(&b->log, 4);
    log_rotate(&b->log);
    log_batch(&b->log, 5);
    log_write(&b->log, b->sim);
    simfs_flip_bit(b->sim, log_path(b->log.first_no, path), (at + 41) * 8);
}

static void numbers_seen_behind_a_cut_are_not_given_out_again(void **state)
{
    bench *b = *state;
    make_torn_with_more_behind(b);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_TAIL), FIRN_OK);
    assert_true(b->read.count == 3 && b->read.last == 3);
    assert_true(b->report.findings[0].seq_first == 4 && b->report.findings[0].seq_last == 14);
    assert_int_equal(bench_append(b), 15);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_STRICT), FIRN_OK);
    assert_int_equal(b->read.count, 4);
}

/* Whichever change was the last one of a recovery that was killed: the next one knows them, too. */
static void numbers_seen_behind_an_interrupted_cut_are_not_given_out_again(void **state)
{
    bench *b = *state;
    make_torn_with_more_behind(b);
    simfs *torn = b->sim;
    bool opened = false;
    for (uint64_t at = 1; !opened; at++) {
        b->sim = simfs_clone(torn);
        simfs_fail(b->sim,
                   (simfs_fault){.calls = SIMFS_CHANGING, .at = at, .error = EIO, .forever = true});
        opened = bench_open(b, FIRN_RECOVERY_TAIL) == FIRN_OK;
        simfs_heal(b->sim);
        assert_int_equal(bench_open(b, FIRN_RECOVERY_TAIL), FIRN_OK);
        assert_true(bench_append(b) >= 15);
        bench_shut(b);
        simfs_free(b->sim);
    }
    b->sim = torn;
}

static void an_owner_that_knows_more_than_the_log_gets_greater_numbers(void **state)
{
    bench *b = *state;
    wal_config config = log_config(FIRN_RECOVERY_TAIL);
    config.covered_seq = 500;
    simfs_write_file(b->sim, LOG_FOLDER "/note", "", 0);
    assert_int_equal(bench_open_with(b, &config), FIRN_OK);
    assert_int_equal(bench_append(b), 501);
    assert_int_equal(bench_open_with(b, &config), FIRN_OK);
    assert_int_equal(bench_append(b), 502);
    config.covered_seq = 600; /* a power cut took more from the log than from the owner */
    assert_int_equal(bench_open_with(b, &config), FIRN_OK);
    assert_int_equal(bench_append(b), 601);
    config.covered_seq = 100; /* an older copy of the owner: 101 to 500 are nowhere */
    assert_int_equal(bench_open_with(b, &config), FIRN_DAMAGED);
    assert_int_equal(b->report.findings[0].seq_first, 101);
    assert_int_equal(b->report.findings[0].seq_last, 500);
}

static void the_floor_survives_a_cut_in_front_of_it(void **state)
{
    bench *b = *state;
    char path[64];
    for (int i = 0; i < 4; i++) {
        log_rotate(&b->log);
        log_batch(&b->log, 3);
    }
    log_synced(&b->log);
    log_floor(&b->log, 6);
    log_batch(&b->log, 1);
    log_write(&b->log, b->sim);
    simfs_remove(b->sim, log_path(1, path)); /* truncated */
    simfs_flip_bit(b->sim, log_path(3, path), (WAL_DATA_OFFSET + 96) * 8);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_TAIL), FIRN_DAMAGED);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_PREFIX), FIRN_OK);
    assert_int_equal(firn_wal_floor_seq(b->w), 6);
    assert_int_equal(b->read.count, 0);
    assert_int_equal(bench_append(b), 14);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_STRICT), FIRN_OK);
    assert_int_equal(firn_wal_floor_seq(b->w), 6);
    assert_true(b->read.count == 1 && b->read.last == 14);
}

/* ---- Leftovers ---- */

static void leftovers_are_removed(void **state)
{
    bench *b = *state;
    char path[64];
    for (int i = 0; i < 4; i++) {
        log_rotate(&b->log);
        log_batch(&b->log, 3);
    }
    log_synced(&b->log);
    log_floor(&b->log, 8);
    log_made_ahead(&b->log);
    log_write(&b->log, b->sim);
    simfs_write_file(b->sim, LOG_FOLDER "/000000000006.wal.new", "half made", 9);
    simfs_write_file(b->sim, LOG_FOLDER "/000000000001.wal.new", "a spare", 7);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_STRICT), FIRN_OK);
    assert_false(simfs_exists(b->sim, log_path(1, path)));
    assert_false(simfs_exists(b->sim, log_path(2, path)));
    assert_true(simfs_exists(b->sim, log_path(3, path)));
    assert_true(simfs_exists(b->sim, log_path(4, path)));
    assert_false(simfs_exists(b->sim, log_path(5, path)));
    assert_false(simfs_exists(b->sim, LOG_FOLDER "/000000000006.wal.new"));
    assert_false(simfs_exists(b->sim, LOG_FOLDER "/000000000001.wal.new"));
    assert_true(b->read.first == 9 && b->read.last == 12);
    assert_int_equal(bench_append(b), 13);
}

static void a_damaged_header_copy_is_mended(void **state)
{
    bench *b = *state;
    char path[64];
    size_t size;
    make_harmless(b);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_TAIL), FIRN_OK);
    assert_int_equal(b->report.findings[0].kind, FIRN_WAL_HARMLESS);
    const uint8_t *bytes = simfs_peek(b->sim, log_path(1, path), &size);
    assert_memory_equal(bytes, bytes + WAL_HEADER_COPY_OFFSET, WAL_HEADER_BYTES);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_STRICT), FIRN_OK);
}

/* Both are intact, and say different things: the first one counts. */
static void a_header_copy_that_disagrees_is_mended(void **state)
{
    bench *b = *state;
    char path[64];
    size_t size;
    for (int what = 0; what < 2; what++) {
        log_builder_release(&b->log);
        log_builder_init(&b->log);
        log_sample(&b->log);
        log_segment *s = &b->log.segments[2];
        wal_header other = s->header;
        if (what == 0)
            other.optional ^= WAL_OPTIONAL_RECYCLED;
        else
            other.rest[sizeof other.rest - 1] = 1;
        wal_header_encode(&other, s->bytes + WAL_HEADER_COPY_OFFSET);
        bench_write(b);
        assert_int_equal(bench_open(b, FIRN_RECOVERY_STRICT), FIRN_DAMAGED);
        assert_int_equal(bench_open(b, FIRN_RECOVERY_TAIL), FIRN_OK);
        assert_int_equal(b->report.count, 1);
        assert_int_equal(b->report.findings[0].kind, FIRN_WAL_HARMLESS);
        const uint8_t *bytes = simfs_peek(b->sim, log_path(3, path), &size);
        assert_memory_equal(bytes, bytes + WAL_HEADER_COPY_OFFSET, WAL_HEADER_BYTES);
        assert_memory_equal(bytes, s->bytes, WAL_HEADER_BYTES);
        assert_int_equal(bench_open(b, FIRN_RECOVERY_STRICT), FIRN_OK);
        bench_shut(b);
    }
}

/* In bytes that are zero in this one. The last segment is carried into a new file. */
static void what_a_later_version_has_in_a_header_is_kept(void **state)
{
    bench *b = *state;
    char path[64];
    size_t size;
    log_sample(&b->log);
    log_segment *s = &b->log.segments[2];
    for (size_t i = 0; i < sizeof s->header.rest; i++)
        s->header.rest[i] = (uint8_t)(i + 1);
    wal_header_encode(&s->header, s->bytes);
    wal_header_encode(&s->header, s->bytes + WAL_HEADER_COPY_OFFSET);
    bench_write(b);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_STRICT), FIRN_OK);
    const uint8_t *bytes = simfs_peek(b->sim, log_path(3, path), &size);
    assert_memory_equal(bytes, s->bytes, WAL_HEADER_BYTES);
    assert_memory_equal(bytes + WAL_HEADER_COPY_OFFSET, s->bytes, WAL_HEADER_BYTES);
    assert_int_equal(bytes[68], 1);
    assert_int_equal(bytes[123], sizeof s->header.rest);
}

/* A copy of the last segment, which nothing proves, and the folder that it lies in. */
static void recovery_syncs_what_it_keeps(void **state)
{
    bench *b = *state;
    make_clean(b);
    uint64_t files = simfs_calls(b->sim, SIMFS_SYNC), folders = simfs_calls(b->sim, SIMFS_DIR_SYNC);
    simfs_fail(
        b->sim,
        (simfs_fault){.calls = SIMFS_SYNC, .at = 1, .error = EIO, .name = "000000000003.wal.new"});
    assert_int_equal(bench_open(b, FIRN_RECOVERY_TAIL), FIRN_IO);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_TAIL), FIRN_OK);
    assert_true(simfs_calls(b->sim, SIMFS_SYNC) - files >= 2);
    assert_true(simfs_calls(b->sim, SIMFS_DIR_SYNC) - folders >= 2);
    assert_int_equal(firn_wal_durable_seq(b->w), 20);
}

/* ---- Salvage ---- */

static void salvage_reports_every_lost_range_and_the_next_open_is_clean(void **state)
{
    bench *b = *state;
    char path[64];
    make_clean(b);
    simfs_flip_bit(b->sim, log_path(1, path), (WAL_DATA_OFFSET + 96) * 8);
    simfs_remove(b->sim, log_path(2, path));
    simfs_flip_bit(b->sim, log_path(3, path), (WAL_DATA_OFFSET + 96) * 8);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_SALVAGE), FIRN_OK);
    assert_int_equal(b->report.count, 3);
    static const uint64_t ranges[3][2] = {{1, 1}, {7, 13}, {14, 14}};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(b->report.findings[i].seq_first, ranges[i][0]);
        assert_int_equal(b->report.findings[i].seq_last, ranges[i][1]);
    }
    assert_int_equal(b->read.count, 5 + 6);
    assert_int_equal(bench_append(b), 21);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_STRICT), FIRN_OK);
    assert_int_equal(b->read.count, 12);

    /* A later replay learns of the gaps, too. */
    firn_wal_report gaps;
    log_read again = {.of = &b->log};
    assert_int_equal(firn_wal_replay(b->w, 0, log_read_entry, &again, &gaps, &b->error), FIRN_OK);
    assert_int_equal(gaps.count, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(gaps.findings[i].seq_first, ranges[i][0]);
        assert_int_equal(gaps.findings[i].seq_last, ranges[i][1]);
    }
    firn_wal_report_release(&gaps);
}

/* Behind the second loss nothing is intact but the NOTE that proves it. */
static void a_loss_at_the_end_is_cut_and_told_to_every_later_replay(void **state)
{
    bench *b = *state;
    char path[64];
    log_rotate(&b->log);
    log_batch(&b->log, 1);
    const uint64_t inside = log_batch(&b->log, 1);
    log_batch(&b->log, 1);
    const uint64_t at_the_end = log_batch(&b->log, 2);
    log_synced(&b->log);
    b->log.segments[0].end = WAL_DATA_OFFSET + WAL_PAGE_BYTES / 2;
    log_frame(&b->log, WAL_NOTE, "", 0, 0);
    bench_write(b);
    simfs_flip_bit(b->sim, log_path(1, path), inside * 8);
    simfs_flip_bit(b->sim, log_path(1, path), at_the_end * 8);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_TAIL), FIRN_DAMAGED);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_SALVAGE), FIRN_OK);
    assert_int_equal(b->report.count, 2);
    assert_true(b->read.count == 2 && b->read.last == 3);
    assert_int_equal(bench_append(b), 6);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_STRICT), FIRN_OK);
    firn_wal_report gaps;
    log_read again = {.of = &b->log, .extra = 6};
    assert_int_equal(firn_wal_replay(b->w, 0, log_read_entry, &again, &gaps, &b->error), FIRN_OK);
    assert_true(again.count == 3 && again.last == 6);
    assert_int_equal(gaps.count, 2);
    assert_true(gaps.findings[0].seq_first == 2 && gaps.findings[0].seq_last == 2);
    assert_true(gaps.findings[1].seq_first == 4 && gaps.findings[1].seq_last == 5);
    firn_wal_report_release(&gaps);
}

/* The second of those that are gone held no number, so it was shorter than its stand-in. */
static void several_segments_have_one_stand_in(void **state)
{
    bench *b = *state;
    char path[64];
    log_rotate(&b->log);
    log_batch(&b->log, 3);
    log_rotate(&b->log);
    log_batch(&b->log, 2);
    log_rotate(&b->log);
    log_next_segment(&b->log);
    log_batch(&b->log, 1);
    bench_write(b);
    simfs_remove(b->sim, log_path(2, path));
    simfs_remove(b->sim, log_path(3, path));
    assert_int_equal(bench_open(b, FIRN_RECOVERY_SALVAGE), FIRN_OK);
    assert_int_equal(b->report.cut_bytes, 0);
    assert_true(b->read.count == 4 && b->read.last == 6);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_STRICT), FIRN_OK);
    assert_true(b->read.count == 4 && b->read.last == 6);
}

/* A stand-in does not end where the segment did: the LINK behind it says another end, and stays. */
static void what_was_salvaged_is_not_held_against_the_next_link(void **state)
{
    bench *b = *state;
    make_missing(b);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_SALVAGE), FIRN_OK);
    assert_int_equal(b->report.count, 1);
    assert_int_equal(b->report.cut_bytes, 0);
}

static void salvage_replaces_a_foreign_file_and_keeps_it_in_lost(void **state)
{
    bench *b = *state;
    char path[64], other[64];
    make_clean(b);
    simfs_copy_file(b->sim, log_path(1, path), log_path(2, other));
    assert_int_equal(bench_open(b, FIRN_RECOVERY_SALVAGE), FIRN_OK);
    assert_int_equal(b->report.findings[0].kind, FIRN_WAL_WRONG_SEGMENT);
    assert_true(simfs_exists(b->sim, LOG_FOLDER "/lost/000000000002-0-1"));
    assert_int_equal(b->read.count, 13);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_STRICT), FIRN_OK);
    assert_int_equal(b->read.count, 13);
}

/* ---- Failures in the middle ---- */

typedef struct failing {
    void (*make)(bench *b);
    firn_recovery policy;
    uint64_t count; /* operations in the end */
} failing;

static const failing failures[] = {
    {make_clean, FIRN_RECOVERY_TAIL, 19},
    {make_torn, FIRN_RECOVERY_TAIL, 15},
    {make_torn_with_more_behind, FIRN_RECOVERY_TAIL, 3},
    {make_lost, FIRN_RECOVERY_PREFIX, 6},
    {make_lost, FIRN_RECOVERY_SALVAGE, 14},
    {make_missing, FIRN_RECOVERY_SALVAGE, 13},
};

static void a_call_that_fails_during_recovery_fails_the_open_and_nothing_else(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++) {
        const failing *f = &failures[i];
        bool failed = true;
        uint64_t at = 1;
        for (; failed; at++) {
            bench *b;
            bench_setup((void **)&b);
            f->make(b);
            bench_shut(b);
            assert_int_equal(fs_dir_open(simfs_fs(b->sim), LOG_FOLDER, &b->dir, NULL), FIRN_OK);
            wal_config config = log_config(f->policy);
            simfs_fail(b->sim,
                       (simfs_fault){.calls = SIMFS_ANY & ~SIMFS_POPULATE, .at = at, .error = EIO});
            int rc = wal_open(b->dir, &config, &b->report, &b->w, &b->error);
            failed = simfs_faults_hit(b->sim) > 0;
            simfs_heal(b->sim);
            if (failed && rc == FIRN_OK) /* not every call matters */
                bench_shut(b);
            else if (failed)
                assert_true(rc == FIRN_IO && b->error.sys_errno == EIO);
            else
                assert_int_equal(rc, FIRN_OK);
            if (rc != FIRN_OK) {
                assert_int_equal(bench_open(b, f->policy), FIRN_OK);
                assert_int_equal(b->read.count, f->count);
                assert_int_equal(b->read.wrong, 0);
            }
            void *gone = b;
            bench_teardown(&gone);
        }
        assert_true(at > 20);
    }
}

static void running_out_of_memory_fails_the_open_and_nothing_else(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++) {
        const failing *f = &failures[i];
        for (uint64_t at = 1;; at++) {
            bench *b;
            bench_setup((void **)&b);
            f->make(b);
            assert_int_equal(fs_dir_open(simfs_fs(b->sim), LOG_FOLDER, &b->dir, NULL), FIRN_OK);
            wal_config config = log_config(f->policy);
            config.options.backing = at % 2 ? FIRN_WAL_BUFFERED : FIRN_WAL_MAPPED;
            alloc_fail_at(at);
            int rc = wal_open(b->dir, &config, &b->report, &b->w, &b->error);
            bool hit = alloc_count() >= at;
            alloc_fail_at(0);
            if (rc != FIRN_OK) {
                assert_int_equal(rc, FIRN_NO_MEMORY);
                assert_int_equal(bench_open(b, f->policy), FIRN_OK);
                assert_int_equal(b->read.count, f->count);
            }
            void *gone = b;
            bench_teardown(&gone);
            if (!hit)
                break;
        }
    }
}

static void a_full_disk_fails_a_repair_that_needs_room_and_it_succeeds_later(void **state)
{
    bench *b = *state;
    make_torn_with_more_behind(b);
    simfs_capacity(b->sim, simfs_used(b->sim));
    assert_int_equal(bench_open(b, FIRN_RECOVERY_TAIL), FIRN_NO_SPACE);
    simfs_capacity(b->sim, UINT64_MAX);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_TAIL), FIRN_OK);
    assert_int_equal(b->read.count, 3);
}

static void a_number_that_leaves_no_room_for_another_is_an_error(void **state)
{
    bench *b = *state;
    b->log.first_no = WAL_SEGMENT_NO_MAX - 1;
    make_torn_with_more_behind(b);
    assert_true(simfs_exists(b->sim, LOG_FOLDER "/999999999999.wal"));
    assert_int_equal(bench_open(b, FIRN_RECOVERY_PREFIX), FIRN_DAMAGED);
    assert_non_null(strstr(b->error.message, "used up"));
}

/* Its number is no number of this log: it must not use up those that are left. */
static void a_stray_file_of_the_highest_number_is_set_aside(void **state)
{
    static const char *const strays[] = {"another segment's", "", "no header", NULL};
    static const firn_recovery policies[] = {FIRN_RECOVERY_PREFIX, FIRN_RECOVERY_SALVAGE};
    (void)state;
    for (int i = 0; i < 8; i++) {
        void *made = NULL;
        bench_setup(&made);
        bench *b = made;
        char path[64];
        const char *stray = strays[i / 2];
        static const uint8_t zeros[3 * WAL_PAGE_BYTES];
        make_torn_with_more_behind(b);
        if (i / 2 == 0)
            simfs_copy_file(b->sim, log_path(2, path), LOG_FOLDER "/999999999999.wal");
        else if (stray)
            simfs_write_file(b->sim, LOG_FOLDER "/999999999999.wal", stray, strlen(stray));
        else
            simfs_write_file(b->sim, LOG_FOLDER "/999999999999.wal", zeros, sizeof zeros);
        assert_int_equal(bench_open(b, FIRN_RECOVERY_TAIL), FIRN_DAMAGED);
        assert_int_equal(bench_open(b, policies[i % 2]), FIRN_OK);
        assert_false(simfs_exists(b->sim, LOG_FOLDER "/999999999999.wal"));
        assert_true(b->read.count >= 3);
        assert_true(bench_append(b) > 3);
        int files = 0;
        simfs_each(b->sim, LOG_FOLDER "/lost", count_file, &files);
        assert_true(files > 0);
        assert_int_equal(bench_open(b, FIRN_RECOVERY_STRICT), FIRN_OK);
        bench_teardown(&made);
    }
}

/* ---- Segments that were made ahead ---- */

static void a_damaged_header_copy_of_the_segment_that_is_used_next_is_mended(void **state)
{
    bench *b = *state;
    char path[64];
    log_sample(&b->log);
    log_seal(&b->log, WAL_SEAL_ROTATION);
    log_made_ahead(&b->log)->bytes[20] ^= 1;
    bench_write(b);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_TAIL), FIRN_OK);
    assert_int_equal(bench_append(b), 21);
    size_t size;
    const uint8_t *bytes = simfs_peek(b->sim, log_path(4, path), &size);
    assert_memory_equal(bytes, bytes + WAL_HEADER_COPY_OFFSET, WAL_HEADER_BYTES);
    assert_int_equal(bench_open(b, FIRN_RECOVERY_STRICT), FIRN_OK);
    assert_int_equal(b->read.count, 20);
}

/* The first group of a segment that was made ahead did not survive whole: salvage keeps its bytes. */
static void bytes_in_a_segment_made_ahead_go_to_lost_with_it(void **state)
{
    bench *b = *state;
    log_rotate(&b->log);
    log_batch(&b->log, 3);
    log_seal(&b->log, WAL_SEAL_ROTATION);
    log_made_ahead(&b->log);
    memcpy(log_made_ahead(&b->log)->bytes + WAL_DATA_OFFSET, "half a frame", 12);
    bench_write(b);
    char path[64];
    simfs_remove(b->sim, log_path(2, path));
    assert_int_equal(bench_open(b, FIRN_RECOVERY_SALVAGE), FIRN_OK);
    assert_int_equal(b->read.count, 3);
    assert_false(simfs_exists(b->sim, log_path(3, path)));
    assert_true(bench_in_lost(b, "000000000003-0-1"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, bench_setup, bench_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_policy_does_what_the_table_says),
        TEST(a_refusal_names_file_offset_lost_numbers_and_a_remedy),
        cmocka_unit_test(looking_at_a_log_writes_nothing),
        TEST(what_is_cut_is_in_lost_byte_by_byte),
        TEST(a_second_cut_overwrites_nothing_in_lost),
        TEST(later_segments_that_are_cut_are_in_lost_as_a_whole),
        TEST(a_closed_log_that_was_cut_may_be_closed_unused),
        TEST(numbers_seen_behind_a_cut_are_not_given_out_again),
        TEST(numbers_seen_behind_an_interrupted_cut_are_not_given_out_again),
        TEST(an_owner_that_knows_more_than_the_log_gets_greater_numbers),
        TEST(the_floor_survives_a_cut_in_front_of_it),
        TEST(leftovers_are_removed),
        TEST(a_damaged_header_copy_is_mended),
        TEST(a_header_copy_that_disagrees_is_mended),
        TEST(what_a_later_version_has_in_a_header_is_kept),
        TEST(recovery_syncs_what_it_keeps),
        TEST(salvage_reports_every_lost_range_and_the_next_open_is_clean),
        TEST(several_segments_have_one_stand_in),
        TEST(what_was_salvaged_is_not_held_against_the_next_link),
        TEST(a_loss_at_the_end_is_cut_and_told_to_every_later_replay),
        TEST(salvage_replaces_a_foreign_file_and_keeps_it_in_lost),
        cmocka_unit_test(a_call_that_fails_during_recovery_fails_the_open_and_nothing_else),
        cmocka_unit_test(running_out_of_memory_fails_the_open_and_nothing_else),
        TEST(a_full_disk_fails_a_repair_that_needs_room_and_it_succeeds_later),
        TEST(a_number_that_leaves_no_room_for_another_is_an_error),
        cmocka_unit_test(a_stray_file_of_the_highest_number_is_set_aside),
        TEST(a_damaged_header_copy_of_the_segment_that_is_used_next_is_mended),
        TEST(bytes_in_a_segment_made_ahead_go_to_lost_with_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
