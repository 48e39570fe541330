/* Reading back a log that is open: replay, iterate, verify, and the frames that an owner builds its
 * index on, also beside appends and truncations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <base/entry.h>
#include <base/slice.h>
#include <base/thread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <support/tempdir.h>

#include "build_log.h"
#include "log.h"

typedef struct bench {
    simfs *sim;
    fs_dir *dir;
    wal *w;
    wal_config config;
    firn_error error;
} bench;

static void open_log(bench *b)
{
    if (!b->dir)
        assert_int_equal(fs_dir_open(simfs_fs(b->sim), LOG_FOLDER, &b->dir, NULL), FIRN_OK);
    int rc = wal_open(b->dir, &b->config, NULL, &b->w, &b->error);
    if (rc != FIRN_OK)
        fail_msg("%s", b->error.message);
}

static void close_log(bench *b)
{
    assert_int_equal(firn_wal_close(b->w, NULL), FIRN_OK);
    b->w = NULL;
}

static int setup(void **state)
{
    bench *b = calloc(1, sizeof *b);
    b->sim = simfs_new(9);
    b->config = log_config(FIRN_RECOVERY_TAIL);
    b->config.options.durability = FIRN_DURABILITY_NONE;
    simfs_write_file(b->sim, LOG_FOLDER "/note", "", 0);
    open_log(b);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    bench *b = *state;
    if (b->w)
        firn_wal_close(b->w, NULL);
    fs_dir_close(b->dir);
    simfs_free(b->sim);
    free(b);
    return 0;
}

/* Appends operation `seq` (the next one) with its own contents. */
static int put(firn_wal *w, uint64_t seq)
{
    char key[32], value[64];
    uint64_t got;
    size_t key_size = log_key(seq, key);
    size_t value_size = log_value(seq, value);
    bool removes = value_size == SIZE_MAX;
    int rc = firn_wal_append(w, removes ? FIRN_DELETE : FIRN_PUT, key, key_size,
                             removes ? NULL : value, removes ? 0 : value_size, NULL, &got, NULL);
    return rc == FIRN_OK && got != seq ? -1 : rc;
}

static void put_many(bench *b, uint64_t first, uint64_t last)
{
    for (uint64_t seq = first; seq <= last; seq++)
        assert_int_equal(put(b->w, seq), FIRN_OK);
}

static void put_batch(bench *b, uint64_t first, uint32_t count)
{
    firn_batch *batch;
    uint64_t last;
    assert_int_equal(firn_batch_new(&batch), FIRN_OK);
    for (uint64_t seq = first; seq < first + count; seq++) {
        char key[32], value[64];
        size_t key_size = log_key(seq, key);
        size_t value_size = log_value(seq, value);
        if (value_size == SIZE_MAX)
            assert_int_equal(firn_batch_delete(batch, key, key_size), FIRN_OK);
        else
            assert_int_equal(firn_batch_put(batch, key, key_size, value, value_size), FIRN_OK);
    }
    assert_int_equal(firn_wal_append_batch(b->w, batch, NULL, &last, NULL), FIRN_OK);
    assert_int_equal(last, first + count - 1);
    firn_batch_free(batch);
}

static log_read replay(bench *b, uint64_t after)
{
    log_read r = {0};
    int rc = firn_wal_replay(b->w, after, log_read_entry, &r, NULL, &b->error);
    if (rc != FIRN_OK)
        fail_msg("%s", b->error.message);
    assert_int_equal(r.wrong, 0);
    return r;
}

/* ---- Replay ---- */

static void replay_gives_every_operation_after_a_number(void **state)
{
    bench *b = *state;
    put_many(b, 1, 150); /* a few segments */
    for (uint64_t after = 0; after <= 151; after += 7) {
        log_read r = replay(b, after);
        assert_int_equal(r.count, after >= 150 ? 0 : 150 - after);
        if (r.count > 0)
            assert_true(r.first == after + 1 && r.last == 150);
    }
    close_log(b);
    open_log(b);
    log_read r = replay(b, 100);
    assert_true(r.first == 101 && r.count == 50);
}

static void replay_after_a_number_inside_a_batch_starts_inside_it(void **state)
{
    bench *b = *state;
    put_many(b, 1, 3);
    put_batch(b, 4, 10);
    put_many(b, 14, 15);
    log_read r = replay(b, 8);
    assert_true(r.first == 9 && r.last == 15 && r.count == 7);
}

static int add_bucket(void *ctx, const firn_wal_entry *e)
{
    unsigned *all = ctx;
    *all = *all * 10 + e->bucket;
    return 0;
}

static int add_bucket_of(void *ctx, const firn_wal_record *r)
{
    return r->kind == FIRN_WAL_RECORD_ENTRY ? add_bucket(ctx, &r->entry) : 0;
}

static void each_operation_says_its_bucket(void **state)
{
    bench *b = *state;
    firn_batch *batch;
    unsigned replayed = 0, iterated = 0;
    assert_int_equal(firn_batch_new(&batch), FIRN_OK);
    for (uint16_t bucket = 3; bucket > 0; bucket--)
        assert_int_equal(batch_add(batch, bucket, FIRN_PUT, slice_of_str("k"), slice_of_str("v")),
                         FIRN_OK);
    assert_int_equal(firn_batch_put(batch, "k", 1, "v", 1), FIRN_OK);
    assert_int_equal(firn_wal_append_batch(b->w, batch, NULL, NULL, NULL), FIRN_OK);
    firn_batch_free(batch);
    assert_int_equal(firn_wal_replay(b->w, 0, add_bucket, &replayed, NULL, NULL), FIRN_OK);
    assert_int_equal(firn_wal_iterate(b->w, add_bucket_of, &iterated, NULL), FIRN_OK);
    assert_int_equal(replayed, 3210);
    assert_int_equal(iterated, 3210);
}

static void replay_starts_at_the_floor(void **state)
{
    bench *b = *state;
    uint64_t floor;
    put_many(b, 1, 120);
    assert_int_equal(firn_wal_truncate(b->w, 90, &floor, NULL), FIRN_OK);
    assert_int_equal(floor, 90);
    log_read r = replay(b, 0);
    assert_true(r.first == 91 && r.count == 30);
    close_log(b);
    open_log(b);
    r = replay(b, 5);
    assert_true(r.first == 91 && r.count == 30);
}

static int stop_at_five(void *ctx, const firn_wal_entry *op)
{
    ++*(int *)ctx;
    return op->seq == 5 ? 42 : 0;
}

static void a_callback_that_returns_non_zero_stops_the_replay(void **state)
{
    bench *b = *state;
    int calls = 0;
    put_many(b, 1, 10);
    assert_int_equal(firn_wal_replay(b->w, 0, stop_at_five, &calls, NULL, NULL), 42);
    assert_int_equal(calls, 5);
}

static void a_replay_reports_what_it_read(void **state)
{
    bench *b = *state;
    firn_wal_report report;
    log_read r = {0};
    put_many(b, 1, 150);
    assert_int_equal(firn_wal_sync(b->w, NULL), FIRN_OK);
    assert_int_equal(firn_wal_replay(b->w, 10, log_read_entry, &r, &report, NULL), FIRN_OK);
    assert_true(report.count == 0 && report.operations == 140);
    assert_true(report.seq_first == 11 && report.seq_last == 150);
    assert_true(report.segments >= 3 && report.frames > 150 && report.bytes > 4096);
    assert_true(report.durable_seq == 150 && report.floor_seq == 0);
    firn_wal_report_release(&report);
}

static void bytes_that_no_longer_read_back_end_a_replay_with_an_error(void **state)
{
    bench *b = *state;
    char path[64];
    log_read r = {0};
    put_many(b, 1, 40);
    close_log(b);
    open_log(b);
    firn_wal_report report;
    /* The mapping shows what the disk has become. */
    simfs_flip_bit(b->sim, log_path(1, path), 8 * 4800);
    int rc = firn_wal_replay(b->w, 0, log_read_entry, &r, &report, &b->error);
    assert_int_equal(rc, FIRN_DAMAGED);
    assert_true(r.count > 0 && r.last < 40 && r.wrong == 0);
    assert_int_equal(report.count, 1);
    assert_int_equal(report.findings[0].seq_first, r.last + 1);
    assert_true(b->error.hint[0] != '\0');
    firn_wal_report_release(&report);
    simfs_flip_bit(b->sim, log_path(1, path), 8 * 4800);
}

static void damage_at_the_very_end_of_a_live_log_ends_a_replay_with_an_error(void **state)
{
    bench *b = *state;
    char path[64];
    log_read r = {0};
    put_many(b, 1, 5);
    uint64_t end = b->w->current->end;
    simfs_flip_bit(b->sim, log_path(1, path), 8 * (end - 20));
    assert_int_equal(firn_wal_replay(b->w, 0, log_read_entry, &r, NULL, &b->error), FIRN_DAMAGED);
    assert_int_equal(r.count, 4);
    simfs_flip_bit(b->sim, log_path(1, path), 8 * (end - 20));
}

/* ---- Frames for an index ---- */

typedef struct frames {
    uint64_t count, operations, next;
} frames;

static int take_frame(void *ctx, const wal_applied *f)
{
    frames *all = ctx;
    const uint8_t *p = wal_segment_base(f->segment) + f->offset;
    if (all->next != 0 && f->seq_first != all->next)
        return 99;
    if (entries_check((firn_slice){p, (size_t)f->bytes}, f->count) != FIRN_OK)
        return 98;
    all->count++;
    all->operations += f->count;
    all->next = f->seq_first + f->count;
    return 0;
}

static void an_owner_gets_whole_frames_in_place(void **state)
{
    bench *b = *state;
    put_many(b, 1, 80);
    put_batch(b, 81, 10);
    put_many(b, 91, 95);
    close_log(b);
    open_log(b);
    frames all = {0};
    assert_int_equal(wal_recovered(b->w, 0, take_frame, &all, NULL), FIRN_OK);
    assert_true(all.count == 86 && all.operations == 95 && all.next == 96);
    /* A frame that reaches beyond the number comes whole. */
    all = (frames){0};
    assert_int_equal(wal_recovered(b->w, 85, take_frame, &all, NULL), FIRN_OK);
    assert_true(all.count == 6 && all.operations == 15);
    all = (frames){0};
    assert_int_equal(wal_recovered(b->w, 95, take_frame, &all, NULL), FIRN_OK);
    assert_int_equal(all.count, 0);
}

/* ---- Iterate ---- */

typedef struct scenario {
    char text[4096];
    size_t used;
} scenario;

static int tell(void *ctx, const firn_wal_record *r)
{
    static const char *const names[] = {"",     "entry", "commit", "checkpoint", "mark",
                                        "link", "seal",  "skip",   "floor"};
    scenario *s = ctx;
    s->used += (size_t)snprintf(s->text + s->used, sizeof s->text - s->used, "%s %llu/%llu; ",
                                names[r->kind], (unsigned long long)r->entry.seq,
                                (unsigned long long)r->count);
    if (r->offset < WAL_DATA_OFFSET || r->bytes < WAL_FRAME_BYTES || r->file[0] == '\0')
        return 1;
    if (r->kind == FIRN_WAL_RECORD_ENTRY && firn_wal_entry_is_tombstone(&r->entry))
        s->used += (size_t)snprintf(s->text + s->used, sizeof s->text - s->used, "(gone) ");
    return 0;
}

static void iterate_shows_records_with_commit_boundaries_and_checkpoints(void **state)
{
    bench *b = *state;
    scenario s = {0};
    uint64_t seq;
    put_many(b, 1, 1);
    put_batch(b, 2, 2);
    assert_int_equal(firn_wal_checkpoint(b->w, &seq, NULL), FIRN_OK);
    assert_int_equal(seq, 4);
    assert_int_equal(firn_wal_rotate(b->w, NULL), FIRN_OK);
    put_batch(b, 5, 3);
    assert_int_equal(firn_wal_iterate(b->w, tell, &s, &b->error), FIRN_OK);
    assert_string_equal(s.text, "link 1/0; entry 1/0; commit 1/1; "
                                "entry 2/0; entry 3/0; commit 3/2; checkpoint 4/3; seal 5/1; "
                                "link 5/0; entry 5/0; entry 6/0; entry 7/0; (gone) commit 7/3; ");
}

static void iterate_shows_no_operation_below_the_floor(void **state)
{
    bench *b = *state;
    scenario s = {0};
    put_many(b, 1, 4);
    assert_int_equal(firn_wal_truncate(b->w, 3, NULL, NULL), FIRN_OK);
    assert_int_equal(firn_wal_iterate(b->w, tell, &s, &b->error), FIRN_OK);
    assert_string_equal(s.text, "link 1/0; entry 4/0; commit 4/1; floor 5/3; ");
}

/* ---- Verify ---- */

static void verify_reads_the_files_and_finds_any_flipped_bit(void **state)
{
    bench *b = *state;
    char path[64];
    firn_wal_report report;
    /* A private buffer: what the log itself sees stays intact. */
    close_log(b);
    b->config.options.backing = FIRN_WAL_BUFFERED;
    open_log(b);
    put_many(b, 1, 60);
    assert_int_equal(firn_wal_verify(b->w, &report, &b->error), FIRN_OK);
    assert_true(report.count == 0 && report.operations == 60);
    firn_wal_report_release(&report);
    uint64_t changes = simfs_calls(b->sim, SIMFS_CHANGING);
    log_path(1, path);
    for (uint64_t byte = WAL_DATA_OFFSET; byte < 4700; byte++) {
        simfs_flip_bit(b->sim, path, byte * 8 + byte % 8);
        int rc = firn_wal_verify(b->w, &report, &b->error);
        assert_true(report.count > 0);
        /* Only the LINK has no number. */
        assert_int_equal(rc, byte < WAL_DATA_OFFSET + 96 ? FIRN_OK : FIRN_DAMAGED);
        firn_wal_report_release(&report);
        simfs_flip_bit(b->sim, path, byte * 8 + byte % 8);
    }
    simfs_flip_bit(b->sim, path, 100);
    assert_int_equal(firn_wal_verify(b->w, &report, &b->error), FIRN_OK);
    assert_int_equal(report.findings[0].kind, FIRN_WAL_HARMLESS);
    firn_wal_report_release(&report);
    simfs_cut(b->sim, path, 5000);
    assert_int_equal(firn_wal_verify(b->w, NULL, &b->error), FIRN_DAMAGED);
    assert_int_equal(simfs_calls(b->sim, SIMFS_CHANGING), changes);
    assert_int_equal(replay(b, 0).count, 60);
}

static void verify_path_judges_a_log_that_is_not_open(void **state)
{
    (void)state;
    char *path = tempdir_new();
    char file[4200];
    firn_wal *w;
    firn_wal_options options;
    firn_wal_report report;
    firn_error error;
    firn_wal_options_init(&options);
    options.segment_bytes = LOG_SEGMENT_BYTES;
    options.durability = FIRN_DURABILITY_NONE;
    assert_int_equal(firn_wal_open(path, &options, NULL, &w, &error), FIRN_OK);
    for (uint64_t seq = 1; seq <= 100; seq++)
        assert_int_equal(put(w, seq), FIRN_OK);
    assert_int_equal(firn_wal_close(w, NULL), FIRN_OK);
    assert_int_equal(firn_wal_verify_path(path, &report, &error), FIRN_OK);
    assert_true(report.count == 0 && report.operations == 100 && report.closed_clean);
    firn_wal_report_release(&report);

    snprintf(file, sizeof file, "%s/000000000001.wal", path);
    FILE *f = fopen(file, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, 4300, SEEK_SET), 0);
    assert_int_equal(fputc(0xee, f), 0xee);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(firn_wal_verify_path(path, &report, &error), FIRN_DAMAGED);
    assert_true(report.count == 1 && error.hint[0] != '\0');
    firn_wal_report_release(&report);
    tempdir_remove(path);
    assert_int_equal(firn_wal_verify_path("/nonexistent/firn", NULL, &error), FIRN_NOT_FOUND);
}

static void collect_line(void *ctx, const char *line)
{
    scenario *s = ctx;
    s->used += (size_t)snprintf(s->text + s->used, sizeof s->text - s->used, "%s\n", line);
}

static void a_report_reads_as_text(void **state)
{
    (void)state;
    firn_wal_finding finding = {.kind = FIRN_WAL_LOST,
                                .file = "000000000002.wal",
                                .offset = 4192,
                                .bytes = 80,
                                .seq_first = 7,
                                .seq_last = 9,
                                .proof = "because"};
    firn_wal_report report = {.findings = &finding, .count = 1, .closed_clean = true};
    scenario s = {0};
    firn_wal_report_text(&report, collect_line, &s);
    assert_non_null(strstr(s.text, "LOST: 000000000002.wal at offset 4192, 80 bytes, numbers 7 to "
                                   "9: because\n"));
    assert_non_null(strstr(s.text, "closed clean"));
}

/* ---- Beside writers ---- */

typedef struct writer {
    firn_wal *w;
    uint64_t last;
    _Atomic int status;
    _Atomic bool done;
} writer;

static void append_and_truncate(void *arg)
{
    writer *t = arg;
    for (uint64_t seq = 1; seq <= t->last && t->status == 0; seq++) {
        int rc = put(t->w, seq);
        if (rc == FIRN_OK && seq % 100 == 0)
            rc = firn_wal_truncate(t->w, seq - 50, NULL, NULL);
        t->status = rc;
    }
    t->done = true;
}

static void replay_runs_beside_appends_and_truncations(void **state)
{
    (void)state;
    static const firn_wal_backing backings[] = {FIRN_WAL_MAPPED, FIRN_WAL_BUFFERED};
    for (size_t i = 0; i < 2; i++) {
        char *path = tempdir_new();
        firn_wal_options options;
        firn_wal_options_init(&options);
        options.segment_bytes = LOG_SEGMENT_BYTES;
        options.durability = FIRN_DURABILITY_NONE;
        options.backing = backings[i];
        writer t = {.last = 3000};
        assert_int_equal(firn_wal_open(path, &options, NULL, &t.w, NULL), FIRN_OK);
        thread runner = {0};
        assert_int_equal(thread_start(&runner, "writer", append_and_truncate, &t), 0);
        uint64_t rounds = 0;
        bool more = true;
        while (more) {
            more = !t.done; /* one round more after the last append */
            uint64_t upto = firn_wal_last_seq(t.w);
            log_read r = {0};
            firn_error error = {0};
            int rc = firn_wal_replay(t.w, 0, log_read_entry, &r, NULL, &error);
            if (rc != FIRN_OK)
                fail_msg("round %llu: %s", (unsigned long long)rounds, error.message);
            assert_int_equal(r.wrong, 0);
            if (r.count > 0)
                assert_true(r.last - r.first + 1 == r.count && r.last >= upto);
            if (rounds % 4 == 0)
                assert_int_equal(firn_wal_verify(t.w, NULL, &error), FIRN_OK);
            rounds++;
        }
        thread_join(&runner);
        assert_int_equal(t.status, FIRN_OK);
        assert_int_equal(firn_wal_close(t.w, NULL), FIRN_OK);
        tempdir_remove(path);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(replay_gives_every_operation_after_a_number),
        TEST(replay_after_a_number_inside_a_batch_starts_inside_it),
        TEST(each_operation_says_its_bucket),
        TEST(replay_starts_at_the_floor),
        TEST(a_callback_that_returns_non_zero_stops_the_replay),
        TEST(a_replay_reports_what_it_read),
        TEST(bytes_that_no_longer_read_back_end_a_replay_with_an_error),
        TEST(damage_at_the_very_end_of_a_live_log_ends_a_replay_with_an_error),
        TEST(an_owner_gets_whole_frames_in_place),
        TEST(iterate_shows_records_with_commit_boundaries_and_checkpoints),
        TEST(iterate_shows_no_operation_below_the_floor),
        TEST(verify_reads_the_files_and_finds_any_flipped_bit),
        cmocka_unit_test(verify_path_judges_a_log_that_is_not_open),
        cmocka_unit_test(a_report_reads_as_text),
        cmocka_unit_test(replay_runs_beside_appends_and_truncations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
