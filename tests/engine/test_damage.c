/* Damage in any file of a store is told, or harmless: a flipped bit in every byte of every file, every
 * file cut short, missing, swapped with another of its kind, replaced by an older copy of itself.
 *
 * Told means: open, a read, or check returns FIRN_DAMAGED, with a file or folder and a hint. Harmless
 * means: everything reads back, complete and right. One exception: of a store that was not closed, the
 * last batch may be gone, when opening says that it cut something off the log.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <base/coding.h>
#include <errno.h>

#include "sample.h"

static char damage[300]; /* what was done, for messages */

/* ---- judging ---- */

static void must_be_well_told(const char *who, int rc, const firn_error *err)
{
    if (rc != FIRN_DAMAGED || err->status != FIRN_DAMAGED || !err->file[0] || !err->message[0])
        fail_msg("%s: %s says %s: \"%s\" in \"%s\", should be FIRN_DAMAGED with a file", damage,
                 who, firn_status_name(rc), err->message, err->file);
}

/* Damage that check, which reads every byte, has seen. */
static bool check_tells(simfs *sim)
{
    firn_error err = {0};
    int rc = engine_check(simfs_fs(sim), FOLDER, NULL, NULL, NULL, &err);
    if (rc == FIRN_OK || rc == FIRN_NOT_FOUND)
        return false;
    must_be_well_told("check", rc, &err);
    return true;
}

/* Reads everything: each answer is right for state `j`, or an error that tells. */
static bool reading_tells(const sample *s, firn *db, size_t j)
{
    bool told = false;
    const keyset *k = &s->history.keys;
    char why[WHY];
    for (size_t i = 0; i < k->count; i++) {
        firn_value v = {0};
        firn_error err = {0};
        uint64_t number = s->history.states[j][i];
        int rc = firn_get(db, k->keys[i].data, k->keys[i].size, NULL, &v, &err);
        if (rc == FIRN_OK) {
            if (number == 0 || !value_is(number, (firn_slice){v.data, v.size}))
                fail_msg("%s: key %zu silently reads a wrong value", damage, i);
            firn_value_release(&v);
        } else if (rc == FIRN_NOT_FOUND) {
            if (number != 0)
                fail_msg("%s: key %zu is silently gone", damage, i);
        } else {
            must_be_well_told("get", rc, &err);
            told = true;
        }
    }
    for (int backward = 0; backward < 2; backward++) {
        bool right = backward ? compare_backward(db, NULL, k, s->history.states[j], why)
                              : compare_forward(db, NULL, k, s->history.states[j], why);
        if (!right && !strstr(why, "FIRN_DAMAGED"))
            fail_msg("%s: %s", damage, why);
        told = told || !right;
    }
    return told;
}

/* Which state the store shows by its counter, or SIZE_MAX when that cannot be read. */
static size_t state_shown(const sample *s, firn *db)
{
    firn_value v = {0};
    firn_error err = {0};
    firn_slice key = s->history.keys.keys[0];
    int rc = firn_get(db, key.data, key.size, NULL, &v, &err);
    if (rc == FIRN_NOT_FOUND)
        return 0;
    if (rc != FIRN_OK) {
        must_be_well_told("get", rc, &err);
        return SIZE_MAX;
    }
    size_t j = s->history.count;
    while (j > 0 && !value_is(s->history.states[j][0], (firn_slice){v.data, v.size}))
        j--;
    firn_value_release(&v);
    if (j == 0)
        fail_msg("%s: the counter silently reads something that was never written", damage);
    return j;
}

/* `least`: the oldest state that may be shown when no more than a cut was reported. */
static void judge_as(const sample *s, simfs *sim, size_t least, bool undetectable)
{
    firn_error err = {0};
    firn *db = NULL;
    engine_config config = {.fs = simfs_fs(sim), .inline_work = true};
    bool told = check_tells(sim);
    firn_options o = s->bed.options;
    o.create_if_missing = false;
    int rc = engine_open(FOLDER, &o, &config, &db, &err);
    if (rc != FIRN_OK) {
        must_be_well_told("open", rc, &err);
        if (!err.hint[0])
            fail_msg("%s: open says \"%s\" without a hint", damage, err.message);
        return;
    }
    size_t j = state_shown(s, db);
    firn_stats stats = {.size = sizeof stats};
    assert_int_equal(firn_get_stats(db, &stats, NULL), FIRN_OK);
    bool read = j == SIZE_MAX || reading_tells(s, db, j);
    told = told || read;
    /* A program that opens the store and uses it does not run check first. */
    if (j < least && !read)
        fail_msg("%s: batch %zu of %zu is silently gone, %llu bytes were reported as cut", damage,
                 j + 1, s->history.count, (unsigned long long)stats.recovery_cut_bytes);
    if (j < s->history.count && !told && stats.recovery_cut_bytes == 0 && !undetectable)
        fail_msg("%s: the last batch is gone, and nothing was reported as cut", damage);
    firn_close(db, NULL);
    assert_int_equal(simfs_open_count(sim), 0);
}

static void judge(const sample *s, simfs *sim, size_t least)
{
    judge_as(s, sim, least, false);
}

/* ---- the damages ---- */

/* In the middle of zeros that were never written: every eighth byte is looked at there. */
static bool is_unused(const uint8_t *bytes, uint64_t size, uint64_t at)
{
    for (uint64_t i = at < 32 ? 0 : at - 32; i < size && i < at + 32; i++)
        if (bytes[i])
            return false;
    return true;
}

static void flip_every_byte(const sample *s)
{
    size_t size;
    for (size_t f = 0; f < s->file_count; f++)
        for (uint64_t at = 0; at < s->sizes[f]; at++) {
            const uint8_t *bytes = simfs_peek(s->intact, s->files[f], &size);
            if (!long_run() && at % 8 && is_unused(bytes, size, at))
                continue;
            unsigned bits = long_run() ? 8 : 1;
            for (unsigned i = 0; i < bits; i++) {
                uint64_t bit = at * 8 + (long_run() ? i : (at * 5 + at / 7) % 8);
                simfs *sim = simfs_clone(s->intact);
                snprintf(damage, sizeof damage, "%s, bit %llu", s->files[f],
                         (unsigned long long)bit);
                simfs_flip_bit(sim, s->files[f], bit);
                judge(s, sim, s->durable);
                simfs_free(sim);
            }
        }
}

static void every_flipped_byte_of_a_closed_store_is_told_or_harmless(void **state)
{
    flip_every_byte(*state);
}

static void every_flipped_byte_of_an_unclosed_store_is_told_or_harmless(void **state)
{
    flip_every_byte(*state);
}

static void cut_every_file(const sample *s)
{
    for (size_t f = 0; f < s->file_count; f++)
        for (uint64_t size = 0; size < s->sizes[f]; size += long_run() ? 1 : 13) {
            simfs *sim = simfs_clone(s->intact);
            snprintf(damage, sizeof damage, "%s, cut to %llu", s->files[f],
                     (unsigned long long)size);
            simfs_cut(sim, s->files[f], size);
            judge(s, sim, s->durable);
            simfs_free(sim);
        }
}

static void every_cut_file_of_a_closed_store_is_told(void **state)
{
    cut_every_file(*state);
}

static void every_cut_file_of_an_unclosed_store_is_told(void **state)
{
    cut_every_file(*state);
}

/* The proof that a batch was durable lies in the header of a later one. A sector that takes the last
 * header along, in a log that was not closed, leaves what a crash would have left: reported as cut. */
static void zero_every_sector(const sample *s, bool closed)
{
    static const uint8_t zeros[512];
    size_t without_proof = 0;
    for (size_t f = 0; f < s->file_count; f++)
        for (uint64_t at = 0; at < s->sizes[f]; at += sizeof zeros) {
            uint64_t left = s->sizes[f] - at;
            uint64_t size = left < sizeof zeros ? left : sizeof zeros;
            bool last = !closed && strcmp(s->files[f], s->last_log) == 0 &&
                        at < s->last_header + HEADER_ROOM && at + size > s->last_header;
            without_proof += last;
            simfs *sim = simfs_clone(s->intact);
            snprintf(damage, sizeof damage, "%s, zeros at %llu", s->files[f],
                     (unsigned long long)at);
            simfs_poke(sim, s->files[f], at, zeros, size);
            judge(s, sim, last ? 0 : s->durable);
            simfs_free(sim);
        }
    assert_true(closed ? without_proof == 0 : without_proof == 1 || without_proof == 2);
}

static void every_zeroed_sector_of_a_closed_store_is_told_or_harmless(void **state)
{
    zero_every_sector(*state, true);
}

static void every_zeroed_sector_of_an_unclosed_store_is_told_or_harmless(void **state)
{
    zero_every_sector(*state, false);
}

static void lose_every_file(const sample *s)
{
    for (size_t f = 0; f < s->file_count; f++) {
        simfs *sim = simfs_clone(s->intact);
        snprintf(damage, sizeof damage, "%s is missing", s->files[f]);
        simfs_remove(sim, s->files[f]);
        judge(s, sim, s->durable);
        simfs_free(sim);
    }
}

static void every_missing_file_of_a_closed_store_is_told(void **state)
{
    lose_every_file(*state);
}

static void every_missing_file_of_an_unclosed_store_is_told(void **state)
{
    lose_every_file(*state);
}

static bool same_kind(const char *a, const char *b)
{
    const char *x = strrchr(a, '.'), *y = strrchr(b, '.');
    return x && y && strcmp(x, y) == 0;
}

static void swap_every_two_files(const sample *s)
{
    size_t swaps = 0;
    for (size_t a = 0; a < s->file_count; a++)
        for (size_t b = 0; b < s->file_count; b++) {
            if (a == b || !same_kind(s->files[a], s->files[b]))
                continue;
            simfs *sim = simfs_clone(s->intact);
            snprintf(damage, sizeof damage, "%s stands in the place of %s", s->files[a],
                     s->files[b]);
            if (a < b)
                simfs_swap_files(sim, s->files[a], s->files[b]);
            else
                simfs_copy_file(sim, s->files[a], s->files[b]);
            judge(s, sim, s->durable);
            simfs_free(sim);
            swaps++;
        }
    assert_true(swaps >= 4);
}

static void swapped_and_doubled_files_of_a_closed_store_are_told(void **state)
{
    swap_every_two_files(*state);
}

static void swapped_and_doubled_files_of_an_unclosed_store_are_told(void **state)
{
    swap_every_two_files(*state);
}

/* An older copy of one file among newer ones. Nothing but the last segment of a log that was not closed
 * tells how far that segment went: there, and only there, an older copy cannot be told from a crash. */
static void age_every_file(const sample *s, bool closed)
{
    size_t last_log = 0;
    for (size_t f = 0; f < s->file_count; f++)
        if (sample_is_log(s->files[f]))
            last_log = f;
    for (size_t f = 0; f < s->file_count; f++) {
        size_t size;
        if (!simfs_exists(s->older, s->files[f]))
            continue;
        simfs *sim = simfs_clone(s->intact);
        const uint8_t *bytes = simfs_peek(s->older, s->files[f], &size);
        snprintf(damage, sizeof damage, "%s is an older copy", s->files[f]);
        simfs_write_file(sim, s->files[f], bytes, size);
        bool blind = !closed && f == last_log;
        judge_as(s, sim, blind ? 0 : s->durable, blind);
        simfs_free(sim);
    }
}

static void an_older_copy_of_a_file_of_a_closed_store_is_told(void **state)
{
    age_every_file(*state, true);
}

static void an_older_copy_of_a_file_of_an_unclosed_store_is_told(void **state)
{
    age_every_file(*state, false);
}

static void a_file_of_another_store_is_told(void **state)
{
    sample *s = *state;
    bed other;
    bed_on_simfs(&other, 99);
    bed_must_open(&other);
    for (int i = 0; i < 3; i++) {
        bed_put(&other, "k001", "of another store");
        bed_flush(&other);
    }
    MUST(firn_compact(other.db, NULL, 0, NULL, 0, error));
    bed_must_close(&other);
    sample *o = calloc(1, sizeof *o);
    assert_non_null(o);
    simfs_each(other.sim, "", sample_note_file, o);
    for (size_t a = 0; a < o->file_count; a++)
        for (size_t b = 0; b < s->file_count; b++) {
            size_t size;
            if (!same_kind(o->files[a], s->files[b]))
                continue;
            simfs *sim = simfs_clone(s->intact);
            const uint8_t *bytes = simfs_peek(other.sim, o->files[a], &size);
            snprintf(damage, sizeof damage, "%s of another store in the place of %s", o->files[a],
                     s->files[b]);
            simfs_write_file(sim, s->files[b], bytes, size);
            judge(s, sim, s->durable);
            simfs_free(sim);
        }
    free(o);
    bed_release(&other);
}

typedef struct manifest_file {
    char path[96];
    uint8_t bytes[4096];
    size_t size, last; /* `last`: where its last record begins */
} manifest_file;

static int note_manifest(void *ctx, const char *path, uint64_t size)
{
    manifest_file *m = ctx;
    (void)size;
    if (strstr(path, ".manifest"))
        snprintf(m->path, sizeof m->path, "%s", path);
    return 0;
}

/* A store whose manifest ends with a flush that the log relies on. */
static void flushed_store(bed *b, uint64_t seed, manifest_file *m)
{
    *m = (manifest_file){0};
    bed_on_simfs(b, seed);
    bed_must_open(b);
    for (int i = 0; i < 2; i++) {
        bed_put(b, "k", "v");
        bed_flush(b);
    }
    simfs_each(b->sim, FOLDER, note_manifest, m);
    const uint8_t *bytes = simfs_peek(b->sim, m->path, &m->size);
    assert_true(m->size < sizeof m->bytes);
    memcpy(m->bytes, bytes, m->size);
    for (size_t at = 64; at < m->size; at += (16 + get_u32(bytes + at + 4) + 7) & ~(size_t)7)
        m->last = at;
}

static void must_not_open(bed *b, simfs *sim, const char *words)
{
    engine_config config = {.fs = simfs_fs(sim), .inline_work = true};
    firn *db = NULL;
    firn_error err = {0};
    must_be_well_told("open", engine_open(FOLDER, &b->options, &config, &db, &err), &err);
    if (!strstr(err.message, words))
        fail_msg("%s: open says \"%s\", not \"%s\"", damage, err.message, words);
}

/* What a removed manifest left on the disk may turn up at the end of another one after a crash, at the right place. */
static void a_record_of_another_manifest_does_not_pass(void **state)
{
    (void)state;
    bed ours, other;
    manifest_file m, n;
    flushed_store(&ours, 1, &m);
    flushed_store(&other, 2, &n);
    assert_int_equal(m.size, n.size);
    assert_int_equal(m.last, n.last);
    assert_memory_not_equal(m.bytes, n.bytes, m.last);
    simfs *sim = simfs_clone(ours.sim);
    simfs_poke(sim, m.path, m.last, n.bytes + n.last, n.size - n.last);
    snprintf(damage, sizeof damage, "the last record of another manifest");
    must_not_open(&ours, sim, "older than the log");
    simfs_free(sim);
    bed_release(&ours);
    bed_release(&other);
}

/* Each record was synced before the next was written, so this one was no crash. */
static void a_damaged_record_with_an_intact_one_behind_it_is_told(void **state)
{
    (void)state;
    bed b;
    manifest_file m;
    flushed_store(&b, 1, &m);
    simfs *sim = simfs_clone(b.sim);
    snprintf(damage, sizeof damage, "the record in front of the last");
    simfs_flip_bit(sim, m.path, (m.last - 1) * 8);
    simfs_flip_bit(sim, m.path, (m.last - 12) * 8);
    must_not_open(&b, sim, "record 1 is damaged");
    simfs_free(sim);
    bed_release(&b);
}

static void an_older_copy_of_the_manifest_is_told(void **state)
{
    (void)state;
    bed b;
    manifest_file m;
    flushed_store(&b, 1, &m);
    simfs *sim = simfs_clone(b.sim);
    snprintf(damage, sizeof damage, "a manifest without its last record");
    simfs_cut(sim, m.path, m.last);
    must_not_open(&b, sim, "older than the log");
    simfs_free(sim);
    bed_release(&b);
}

/* ---- one bad sector at the end of the log ---- */

static char doubt_line[1024];

static void keep_doubt(void *ctx, const char *line)
{
    (void)ctx;
    if (strncmp(line, "DOUBT", 5) == 0)
        snprintf(doubt_line, sizeof doubt_line, "%s", line);
}

/* The newest segment of the store's log, and where it stops being zero. */
typedef struct log_end {
    char path[96];
    uint64_t end;
} log_end;

static int find_log_end(void *ctx, const char *path, uint64_t size)
{
    log_end *e = ctx;
    (void)size;
    if (sample_is_log(path) && strcmp(path, e->path) > 0)
        snprintf(e->path, sizeof e->path, "%s", path);
    return 0;
}

enum { DURABLE_PUTS = 12 };

/* What check says of the store when `size` bytes at `at` are destroyed, compared with what the next open finds. */
static void check_without(const bed *b, simfs *sim, const log_end *e, uint64_t at, size_t size,
                          unsigned *met)
{
    uint8_t bad[4096];
    size_t have;
    memset(bad, at / size % 3 == 0 ? 0xff : 0, sizeof bad);
    simfs *copy = simfs_clone(sim);
    simfs_peek(copy, e->path, &have);
    simfs_poke(copy, e->path, at, bad, size);
    snprintf(damage, sizeof damage, "%zu bytes at %llu of %s", size, (unsigned long long)at,
             e->path);
    firn_check_summary summary = {0};
    firn_error err = {0};
    doubt_line[0] = 0;
    int rc = engine_check(simfs_fs(copy), FOLDER, keep_doubt, NULL, &summary, &err);
    engine_config config = {.fs = simfs_fs(copy), .inline_work = true};
    firn *db = NULL;
    int opened = engine_open(FOLDER, &b->options, &config, &db, &err);
    if (rc != FIRN_OK) {
        must_be_well_told("check", rc, &err);
        assert_int_equal(opened, FIRN_DAMAGED);
        assert_true(summary.findings == 1);
        met[0]++;
    } else {
        firn_stats stats = {.size = sizeof stats};
        assert_int_equal(opened, FIRN_OK);
        assert_int_equal(firn_get_stats(db, &stats, NULL), FIRN_OK);
        bool missing = stats.last_seq < DURABLE_PUTS;
        if (stats.last_seq < DURABLE_PUTS - 1 || (missing && summary.doubts != 1))
            fail_msg("%s: %llu of %d are left, and check has %llu doubts", damage,
                     (unsigned long long)stats.last_seq, DURABLE_PUTS,
                     (unsigned long long)summary.doubts);
        if (missing) {
            assert_int_equal(summary.doubt_first, DURABLE_PUTS);
            assert_int_equal(summary.doubt_last, DURABLE_PUTS);
            assert_non_null(strstr(doubt_line, "operations 12 to 12"));
            assert_non_null(strstr(doubt_line, ".wal at offset "));
        }
        assert_true((summary.doubts > 0) == (doubt_line[0] != 0));
        met[summary.doubts ? 1 : 2]++;
        assert_int_equal(firn_close(db, NULL), FIRN_OK);
        assert_int_equal(engine_check(simfs_fs(copy), FOLDER, NULL, NULL, &summary, &err), FIRN_OK);
        assert_int_equal(summary.doubts, 0);
    }
    simfs_free(copy);
}

/* Each of these writes was acknowledged as durable, and the store was not closed. All but the last are missed, and
 * check says of the last that it may be gone. */
static void check_does_not_call_a_log_clean_whose_last_sync_may_be_gone(void **state)
{
    (void)state;
    static const size_t sectors[] = {512, 4096};
    static const size_t values[] = {30, 700, 3000};
    for (size_t i = 0; i < 6; i++) {
        unsigned met[3] = {0};
        log_end e = {.path = ""};
        bed b;
        char value[3001];
        memset(value, 'v', sizeof value);
        value[values[i % 3]] = 0;
        bed_on_simfs(&b, 1);
        b.options.durability = FIRN_DURABILITY_SYNC;
        b.options.segment_bytes = 1 << 17;
        bed_must_open(&b);
        for (int n = 0; n < DURABLE_PUTS; n++)
            bed_put(&b, "key", value);
        simfs *sim = simfs_clone(b.sim);
        assert_int_equal(simfs_each(sim, FOLDER, find_log_end, &e), 0);
        e.end = 4096 + DURABLE_PUTS * (values[i % 3] + 100) + 8192;
        for (uint64_t at = 4096; at < e.end; at += sectors[i / 3])
            check_without(&b, sim, &e, at, sectors[i / 3], met);
        if (sectors[i / 3] == 512 && values[i % 3] > 30 &&
            (met[0] == 0 || met[1] == 0 || met[2] == 0))
            fail_msg("%zu, %zu: %u %u %u", sectors[i / 3], values[i % 3], met[0], met[1], met[2]);
        simfs_free(sim);
        bed_release(&b);
    }
}

/* The sample is what it is meant to be, and undamaged it passes as complete. */
static void the_undamaged_store_reads_complete(void **state)
{
    sample *s = *state;
    size_t logs = 0, tables = 0;
    for (size_t f = 0; f < s->file_count; f++) {
        logs += sample_is_log(s->files[f]);
        tables += strstr(s->files[f], ".tbl") != NULL;
    }
    assert_true(logs >= 2 && tables >= 2);
    snprintf(damage, sizeof damage, "no damage");
    simfs *sim = simfs_clone(s->intact);
    assert_false(check_tells(sim));
    judge(s, sim, s->history.count);
    simfs_free(sim);
}

#define CLOSED(name)  cmocka_unit_test_setup_teardown(name, sample_setup_closed, sample_teardown)
#define UNCLEAN(name) cmocka_unit_test_setup_teardown(name, sample_setup_unclean, sample_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLOSED(the_undamaged_store_reads_complete),
        UNCLEAN(the_undamaged_store_reads_complete),
        CLOSED(every_missing_file_of_a_closed_store_is_told),
        UNCLEAN(every_missing_file_of_an_unclosed_store_is_told),
        CLOSED(swapped_and_doubled_files_of_a_closed_store_are_told),
        UNCLEAN(swapped_and_doubled_files_of_an_unclosed_store_are_told),
        CLOSED(an_older_copy_of_a_file_of_a_closed_store_is_told),
        UNCLEAN(an_older_copy_of_a_file_of_an_unclosed_store_is_told),
        CLOSED(a_file_of_another_store_is_told),
        UNCLEAN(a_file_of_another_store_is_told),
        cmocka_unit_test(a_record_of_another_manifest_does_not_pass),
        cmocka_unit_test(a_damaged_record_with_an_intact_one_behind_it_is_told),
        cmocka_unit_test(an_older_copy_of_the_manifest_is_told),
        cmocka_unit_test(check_does_not_call_a_log_clean_whose_last_sync_may_be_gone),
        CLOSED(every_cut_file_of_a_closed_store_is_told),
        UNCLEAN(every_cut_file_of_an_unclosed_store_is_told),
        CLOSED(every_zeroed_sector_of_a_closed_store_is_told_or_harmless),
        UNCLEAN(every_zeroed_sector_of_an_unclosed_store_is_told_or_harmless),
        CLOSED(every_flipped_byte_of_a_closed_store_is_told_or_harmless),
        UNCLEAN(every_flipped_byte_of_an_unclosed_store_is_told_or_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
