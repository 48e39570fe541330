/* Repair: whatever is damaged, the store opens again and is clean, nothing intact is given up, nothing is
 * invented, and what is gone has been told.
 *
 * The oracle: a loss of keys names a range, and keys outside of all ranges are as if nothing had happened. A
 * loss of operations names numbers, and the store is what all other batches make. Without a told loss the
 * store is complete; of one that was not closed the last batch may be missing, as after a crash.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <base/alloc.h>
#include <errno.h>

#include "sample.h"
#include "support/crash.h"

static char damage[300]; /* what was done, for messages */

/* ---- what was told ---- */

typedef struct lost_range {
    uint8_t after[64], before[64];
    size_t after_size, before_size;
    bool has_after, has_before;
} lost_range;

typedef struct told {
    lost_range ranges[32];
    size_t range_count;
    uint64_t first[64], last[64];
    size_t number_count;
    bool unknown; /* operations, but not which */
    size_t losses, notes;
} told;

static void on_event(void *ctx, const firn_repair_event *e)
{
    told *t = ctx;
    if (!e->text || !e->text[0] || !e->file)
        fail_msg("%s: an event without a text", damage);
    t->losses += e->kind != FIRN_REPAIR_NOTE;
    t->notes += e->kind == FIRN_REPAIR_NOTE;
    if (e->kind == FIRN_REPAIR_LOST_KEYS) {
        assert_true(t->range_count < 32);
        lost_range *r = &t->ranges[t->range_count++];
        assert_true(e->after.size <= sizeof r->after && e->before.size <= sizeof r->before);
        r->has_after = e->after.data != NULL;
        r->has_before = e->before.data != NULL;
        r->after_size = e->after.size;
        r->before_size = e->before.size;
        memcpy(r->after, slice_somewhere(e->after).data, e->after.size);
        memcpy(r->before, slice_somewhere(e->before).data, e->before.size);
    } else if (e->kind == FIRN_REPAIR_LOST_OPERATIONS && e->seq_first == 0) {
        t->unknown = true;
    } else if (e->kind == FIRN_REPAIR_LOST_OPERATIONS) {
        assert_true(t->number_count < 64);
        assert_true(e->seq_first <= e->seq_last);
        t->first[t->number_count] = e->seq_first;
        t->last[t->number_count++] = e->seq_last;
    }
}

static bool key_lost(const told *t, firn_slice key)
{
    for (size_t i = 0; i < t->range_count; i++) {
        const lost_range *r = &t->ranges[i];
        if ((!r->has_after || slice_compare((firn_slice){r->after, r->after_size}, key) <= 0) &&
            (!r->has_before || slice_compare(key, (firn_slice){r->before, r->before_size}) <= 0))
            return true;
    }
    return false;
}

static bool batch_lost(const told *t, uint64_t seq)
{
    for (size_t i = 0; i < t->number_count; i++)
        if (t->first[i] <= seq && seq <= t->last[i])
            return true;
    return false;
}

/* ---- judging ---- */

/* What the batches make that were not lost. */
static void expected_state(const sample *s, const told *t, size_t j, uint64_t state[HISTORY_KEYS])
{
    memset(state, 0, HISTORY_KEYS * sizeof *state);
    for (size_t b = 1; b <= j; b++) {
        if (batch_lost(t, s->history.seqs[b]))
            continue;
        for (size_t i = 0; i < HISTORY_KEYS; i++)
            if (s->history.states[b][i] != s->history.states[b - 1][i])
                state[i] = s->history.states[b][i];
    }
}

static bool ever_was(const sample *s, size_t i, firn_slice value)
{
    for (size_t b = 1; b <= s->history.count; b++)
        if (s->history.states[b][i] && value_is(s->history.states[b][i], value))
            return true;
    return false;
}

/* The first key that is not what it should be after the batches up to j; NULL: none. */
static const char *compare_repaired(const sample *s, firn *db, const told *t, size_t j)
{
    static char why[300];
    uint64_t state[HISTORY_KEYS];
    expected_state(s, t, j, state);
    for (size_t i = 0; i < HISTORY_KEYS; i++) {
        firn_slice key = s->history.keys.keys[i];
        firn_value v = {0};
        firn_error err = {0};
        int rc = firn_get(db, key.data, key.size, NULL, &v, &err);
        bool there = rc == FIRN_OK;
        firn_slice value = {v.data, v.size};
        snprintf(why, sizeof why, "key %zu of state %zu", i, j);
        bool right = there || rc == FIRN_NOT_FOUND;
        if (right && there && !ever_was(s, i, value)) {
            snprintf(why, sizeof why, "key %zu was never written like that", i);
            right = false;
        }
        if (right && !t->unknown && !key_lost(t, key)) {
            /* Deleting what a lost batch put looks like nothing in the states. */
            uint64_t last = s->history.states[j][i];
            right = (there ? state[i] && value_is(state[i], value) : state[i] == 0) ||
                    (there ? last && value_is(last, value) : last == 0);
        }
        if (there)
            firn_value_release(&v);
        if (!right)
            return why;
    }
    return NULL;
}

static const char *judge_store(const sample *s, simfs *sim, const told *t)
{
    static char why[600];
    firn_error err = {0};
    firn *db = NULL;
    engine_config config = {.fs = simfs_fs(sim), .inline_work = true};
    firn_options o = s->bed.options;
    o.create_if_missing = false;
    if (engine_check(config.fs, FOLDER, NULL, NULL, NULL, &err) != FIRN_OK ||
        engine_open(FOLDER, &o, &config, &db, &err) != FIRN_OK) {
        firn_error_format(&err, why, sizeof why);
        return why;
    }
    const char *wrong_key = "";
    for (size_t j = s->history.count + 1; wrong_key && j-- > s->durable;)
        wrong_key = compare_repaired(s, db, t, j);
    firn_close(db, NULL);
    return wrong_key;
}

static int repair(const sample *s, simfs *sim, told *t, firn_repair_summary *summary,
                  firn_error *err)
{
    engine_config config = {.fs = simfs_fs(sim), .inline_work = true};
    *t = (told){0};
    *summary = (firn_repair_summary){0};
    return engine_repair(FOLDER, &s->bed.options, &config, on_event, t, summary, err);
}

static size_t lost_files;

static int count_lost(void *ctx, const char *path, uint64_t size)
{
    (void)ctx;
    (void)path;
    lost_files += size > 0;
    return 0;
}

static void print_told(const told *t, const firn_repair_summary *m)
{
    printf("    told: %zu losses, %zu notes, %zu ranges of keys, %zu of numbers%s; rewritten %llu, "
           "lost %llu, rebuilt %d\n",
           t->losses, t->notes, t->range_count, t->number_count, t->unknown ? ", unknown" : "",
           (unsigned long long)m->tables_rewritten, (unsigned long long)m->tables_lost,
           m->manifest_rebuilt);
    for (size_t i = 0; i < t->number_count; i++)
        printf("    numbers %llu to %llu\n", (unsigned long long)t->first[i],
               (unsigned long long)t->last[i]);
}

/* Repairs, judges, and repairs again, which finds nothing to do. Takes the file system over. Returns whether
 * something was lost. */
static bool judge(const sample *s, simfs *sim)
{
    told t, again;
    firn_repair_summary m, n;
    firn_error err = {0};
    int rc = repair(s, sim, &t, &m, &err);
    if (rc != FIRN_OK)
        fail_msg("%s: repair says %s: %s: %s", damage, firn_status_name(rc), err.message, err.file);
    if (m.losses != t.losses)
        fail_msg("%s: %llu losses in the summary, %zu told", damage, (unsigned long long)m.losses,
                 t.losses);
    const char *why = judge_store(s, sim, &t);
    if (why) {
        print_told(&t, &m);
        fail_msg("%s: after the repair: %s", damage, why);
    }
    if (m.tables_rewritten) {
        lost_files = 0;
        simfs_each(sim, FOLDER "/lost", count_lost, NULL);
        if (lost_files == 0)
            fail_msg("%s: a table was damaged, and nothing of it is kept", damage);
    }
    rc = repair(s, sim, &again, &n, &err);
    if (rc != FIRN_OK || n.losses || n.tables_rewritten || n.tables_lost || n.manifest_rebuilt ||
        n.tables != m.tables || n.entries != m.entries)
        fail_msg("%s: a second repair finds %llu losses", damage, (unsigned long long)n.losses);
    bool lost = t.losses > 0;
    assert_int_equal(simfs_open_count(sim), 0);
    simfs_free(sim);
    return lost;
}

/* ---- one damage ---- */

static void an_undamaged_store_stays_as_it_is(void **state)
{
    const sample *s = *state;
    simfs *sim = simfs_clone(s->intact);
    told t;
    firn_repair_summary m;
    firn_error err = {0};
    snprintf(damage, sizeof damage, "no damage");
    assert_int_equal(repair(s, sim, &t, &m, &err), FIRN_OK);
    assert_int_equal(t.losses, 0);
    assert_true(m.tables >= 2 && m.entries > 0 && m.log_operations > 0);
    assert_int_equal(m.tables_rewritten + m.tables_lost + m.manifest_rebuilt, 0);
    for (size_t f = 0; f < s->file_count; f++)
        if (!sample_is_log(s->files[f]) && !strstr(s->files[f], ".manifest"))
            assert_true(simfs_exists(sim, s->files[f]));
    simfs_free(sim);
    assert_false(judge(s, simfs_clone(s->intact)));
}

static void flip_every_byte(const sample *s)
{
    size_t size, losses = 0;
    for (size_t f = 0; f < s->file_count; f++)
        for (uint64_t at = 0; at < s->sizes[f]; at += long_run() ? 3 : 11) {
            const uint8_t *bytes = simfs_peek(s->intact, s->files[f], &size);
            if (bytes[at] == 0 && at % 64 >= 11 && !long_run())
                continue;
            simfs *sim = simfs_clone(s->intact);
            uint64_t bit = at * 8 + (at * 5 + at / 7) % 8;
            snprintf(damage, sizeof damage, "%s, bit %llu", s->files[f], (unsigned long long)bit);
            simfs_flip_bit(sim, s->files[f], bit);
            losses += judge(s, sim);
        }
    assert_true(losses > 20);
}

static void every_flipped_byte_of_a_closed_store_is_repaired(void **state)
{
    flip_every_byte(*state);
}

static void every_flipped_byte_of_an_unclosed_store_is_repaired(void **state)
{
    flip_every_byte(*state);
}

static void cut_every_file(const sample *s)
{
    for (size_t f = 0; f < s->file_count; f++)
        for (uint64_t size = 0; size < s->sizes[f]; size += long_run() ? 13 : 101) {
            simfs *sim = simfs_clone(s->intact);
            snprintf(damage, sizeof damage, "%s, cut to %llu", s->files[f],
                     (unsigned long long)size);
            simfs_cut(sim, s->files[f], size);
            judge(s, sim);
        }
}

static void every_cut_file_of_a_closed_store_is_repaired(void **state)
{
    cut_every_file(*state);
}

static void every_cut_file_of_an_unclosed_store_is_repaired(void **state)
{
    cut_every_file(*state);
}

static void lose_every_file(const sample *s)
{
    for (size_t f = 0; f < s->file_count; f++) {
        simfs *sim = simfs_clone(s->intact);
        snprintf(damage, sizeof damage, "%s is missing", s->files[f]);
        simfs_remove(sim, s->files[f]);
        judge(s, sim);
    }
}

static void every_missing_file_of_a_closed_store_is_survived(void **state)
{
    lose_every_file(*state);
}

static void every_missing_file_of_an_unclosed_store_is_survived(void **state)
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
            judge(s, sim);
        }
}

static void swapped_and_doubled_files_of_a_closed_store_are_survived(void **state)
{
    swap_every_two_files(*state);
}

static void swapped_and_doubled_files_of_an_unclosed_store_are_survived(void **state)
{
    swap_every_two_files(*state);
}

/* ---- several damages ---- */

static bool is_manifest(const char *path)
{
    return strstr(path, ".manifest") != NULL;
}

/* With all tables and the log intact, nothing is lost with the manifest. */
static void without_its_manifest_a_store_is_complete(void **state)
{
    const sample *s = *state;
    for (int how = 0; how < 3; how++) {
        simfs *sim = simfs_clone(s->intact);
        snprintf(damage, sizeof damage, "manifest, way %d", how);
        for (size_t f = 0; f < s->file_count; f++) {
            if (!is_manifest(s->files[f]))
                continue;
            if (how == 0)
                simfs_remove(sim, s->files[f]);
            else if (how == 1)
                simfs_cut(sim, s->files[f], 3);
            else
                simfs_flip_bit(sim, s->files[f], 30 * 8);
        }
        assert_false(judge(s, sim));
    }
}

/* Where a log ends is known from its own last bytes, from the segment behind them, and from the manifest of a store that
 * was closed. Damage to two of these files can take every trace of its last writes along, the proof that they were
 * there too; so can zeros from an earlier frame on to the end of a log that nothing stands behind. */
static bool may_hide_the_end(const sample *s, const bool *hit, bool tail)
{
    unsigned count = tail;
    for (size_t f = 0; f < s->file_count; f++)
        count += hit[f] && (is_manifest(s->files[f]) || sample_is_log(s->files[f]));
    return count >= 2;
}

/* Two or three random damages, anywhere. */
static void many_damages_are_survived(void **state)
{
    const sample *s = *state;
    static const uint8_t zeros[4096];
    uint64_t seed = seed_from_environment(1);
    for (uint64_t round = 0; round < (long_run() ? 2500 : 300); round++) {
        rng r = rng_init(seed * 100000 + round);
        simfs *sim = simfs_clone(s->intact);
        bool hit[FILES] = {false}, tail = false;
        int said =
            snprintf(damage, sizeof damage, "seed %llu round %llu:", (unsigned long long)seed,
                     (unsigned long long)round);
        for (size_t n = 2 + rng_below(&r, 2); n > 0; n--) {
            size_t f = rng_below(&r, s->file_count), size = 0;
            const char *file = s->files[f];
            hit[f] = true;
            if (simfs_exists(sim, file))
                simfs_peek(sim, file, &size);
            uint64_t at = size ? rng_below(&r, size) : 0, way = rng_below(&r, 4);
            uint64_t bytes = 1 + rng_below(&r, size - at < sizeof zeros ? size - at + 1 : 4096);
            if (bytes > size - at)
                bytes = size - at;
            said += snprintf(damage + said, sizeof damage - (size_t)said, " %s way %llu at %llu",
                             strrchr(file, '/'), (unsigned long long)way, (unsigned long long)at);
            if (size == 0 || way == 0)
                simfs_remove(sim, file);
            else if (way == 1)
                simfs_cut(sim, file, at);
            else if (way == 2)
                simfs_poke(sim, file, at, zeros, bytes);
            else
                simfs_flip_bit(sim, file, at * 8 + rng_below(&r, 8));
            tail = tail || (way == 2 && strcmp(file, s->last_log) == 0 && at < s->last_header &&
                            at + bytes > s->last_header);
        }
        told t;
        firn_repair_summary m;
        firn_error err = {0};
        int rc = repair(s, sim, &t, &m, &err);
        if (rc != FIRN_OK)
            fail_msg("%s: repair says %s: %s: %s", damage, firn_status_name(rc), err.message,
                     err.file);
        /* Several losses may hide each other: the one that is told last may be of what another took away. */
        const char *why = judge_store(s, sim, &t);
        bool may_be_wrong = t.losses || may_hide_the_end(s, hit, tail);
        if (why && (!may_be_wrong || !strstr(why, "of state"))) {
            print_told(&t, &m);
            fail_msg("%s: after the repair: %s", damage, why);
        }
        simfs_free(sim);
    }
}

/* ---- a table of many blocks ---- */

typedef struct big {
    bed bed;
    char table[96];
    uint64_t size;
} big;

static int note_table(void *ctx, const char *path, uint64_t size)
{
    big *b = ctx;
    if (strstr(path, ".tbl") && size > b->size) {
        snprintf(b->table, sizeof b->table, "%s", path);
        b->size = size;
    }
    return 0;
}

#define BIG_KEYS 3000

static void big_init(big *b)
{
    char key[16], value[16];
    *b = (big){0};
    bed_on_simfs(&b->bed, 3);
    b->bed.options.segment_bytes = UINT64_C(1) << 20;
    b->bed.options.table_bytes = UINT64_C(1) << 20;
    bed_must_open(&b->bed);
    for (int i = 0; i < BIG_KEYS; i++) {
        snprintf(key, sizeof key, "key%05d", i);
        snprintf(value, sizeof value, "value %d", i);
        bed_put(&b->bed, key, value);
    }
    bed_flush(&b->bed);
    bed_must_close(&b->bed);
    simfs_each(b->bed.sim, "", note_table, b);
    assert_true(b->size > 10 * 4096);
}

static void damage_in_the_middle_of_a_table_costs_what_is_in_the_gap(void **state)
{
    (void)state;
    for (int index = 0; index < 2; index++) {
        big b;
        told t = {0};
        firn_repair_summary m;
        firn_error err = {0};
        big_init(&b);
        static const uint8_t noise[100] = {1, 2, 3};
        simfs_poke(b.bed.sim, b.table, b.size / 2, noise, sizeof noise);
        if (!index)
            simfs_cut(b.bed.sim, b.table, b.size - 1);
        assert_int_equal(
            engine_repair(b.bed.folder, &b.bed.options, &b.bed.config, on_event, &t, &m, &err),
            FIRN_OK);
        assert_int_equal(m.losses, 1);
        assert_int_equal(m.tables_rewritten, 1);
        assert_int_equal(t.range_count, 1);
        assert_true(t.ranges[0].has_after && t.ranges[0].has_before);
        assert_false(key_lost(&t, slice_of_str("key00500")));
        assert_false(key_lost(&t, slice_of_str("key02500")));
        bed_must_open(&b.bed);
        int gone = 0;
        for (int i = 0; i < BIG_KEYS; i++) {
            char key[16], value[16];
            snprintf(key, sizeof key, "key%05d", i);
            snprintf(value, sizeof value, "value %d", i);
            firn_value v;
            int rc = firn_get(b.bed.db, key, strlen(key), NULL, &v, &err);
            if (rc == FIRN_OK) {
                assert_true(slice_equal((firn_slice){v.data, v.size}, slice_of_str(value)));
                firn_value_release(&v);
            } else {
                assert_int_equal(rc, FIRN_NOT_FOUND);
                assert_true(key_lost(&t, slice_of_str(key)));
                gone++;
            }
        }
        assert_true(gone > 10 && gone < 400); /* one block */
        assert_int_equal(m.entries, BIG_KEYS - gone);
        bed_release(&b.bed);
    }
}

/* ---- what repair refuses ---- */

static void what_is_no_store_is_refused_and_left_alone(void **state)
{
    (void)state;
    firn_error err = {0};
    assert_int_equal(firn_repair(NULL, NULL, NULL, NULL, NULL, &err), FIRN_INVALID);
    simfs *sim = simfs_new(1);
    engine_config config = {.fs = simfs_fs(sim), .inline_work = true};
    assert_int_equal(engine_repair("/none", NULL, &config, NULL, NULL, NULL, &err), FIRN_NOT_FOUND);
    assert_true(err.file[0] && err.hint[0]);
    simfs_write_file(sim, "/letters/a.txt", "dear", 4);
    assert_int_equal(engine_repair("/letters", NULL, &config, NULL, NULL, NULL, &err),
                     FIRN_NOT_FOUND);
    assert_false(simfs_exists(sim, "/letters/LOCK"));
    assert_int_equal(simfs_open_count(sim), 0);
    simfs_free(sim);
    bed b;
    bed_on_simfs(&b, 1);
    bed_must_open(&b);
    assert_int_equal(engine_repair(b.folder, &b.options, &b.config, NULL, NULL, NULL, &err),
                     FIRN_LOCKED);
    bed_release(&b);
}

/* ---- interrupted, or without room or memory ---- */

/* A few damages of each kind. */
static simfs *damaged(const sample *s, size_t which)
{
    simfs *sim = simfs_clone(s->intact);
    size_t n = 0;
    for (size_t f = 0; f < s->file_count; f++) {
        if (s->sizes[f] == 0)
            continue;
        if (n++ == which) {
            snprintf(damage, sizeof damage, "%s is cut", s->files[f]);
            simfs_cut(sim, s->files[f], s->sizes[f] / 2);
            return sim;
        }
        if (n++ == which) {
            snprintf(damage, sizeof damage, "%s has a flipped bit", s->files[f]);
            simfs_flip_bit(sim, s->files[f], s->sizes[f] * 3);
            return sim;
        }
    }
    simfs_free(sim);
    return NULL;
}

typedef struct interrupted {
    const sample *sample;
    told told;      /* of the run that was interrupted */
    bool rewritten; /* a damaged table, by that run if it came so far */
} interrupted;

/* The second repair tells what it finds; what the first one had marked as lost in the log stays lost. */
static int verify_interrupted(void *ctx, crash_state *state)
{
    interrupted *c = ctx;
    told t;
    firn_repair_summary m;
    firn_error err = {0};
    int rc = repair(c->sample, state->sim, &t, &m, &err);
    if (rc != FIRN_OK)
        return crash_wrong(state, "%s: repair says %s: %s: %s", damage, firn_status_name(rc),
                           err.message, err.file);
    for (size_t i = 0; i < c->told.number_count; i++) {
        t.first[t.number_count] = c->told.first[i];
        t.last[t.number_count++] = c->told.last[i];
    }
    for (size_t i = 0; i < c->told.range_count; i++)
        t.ranges[t.range_count++] = c->told.ranges[i];
    t.unknown = t.unknown || c->told.unknown;
    lost_files = 0;
    simfs_each(state->sim, FOLDER "/lost", count_lost, NULL);
    if (c->rewritten && lost_files == 0)
        return crash_wrong(state, "%s: nothing is kept of a table that is gone", damage);
    const char *why = judge_store(c->sample, state->sim, &t);
    return why ? crash_wrong(state, "%s: after the repair: %s", damage, why) : 0;
}

static void a_repair_that_loses_power_is_repeated(void **state)
{
    const sample *s = *state;
    crash_stats stats = {0};
    simfs *sim;
    for (size_t which = 0; (sim = damaged(s, which)) != NULL; which++) {
        interrupted c = {.sample = s};
        char name[64];
        firn_repair_summary m;
        firn_error err = {0};
        snprintf(name, sizeof name, "repair-%zu", which);
        simfs_record(sim);
        assert_int_equal(repair(s, sim, &c.told, &m, &err), FIRN_OK);
        c.rewritten = m.tables_rewritten > 0;
        crash_options o = crash_options_default(name, 1, verify_interrupted, &c);
        if (!long_run()) {
            o.singles = 4;
            o.random = 1;
            o.combinations = 4;
        }
        o.nest_every = 0;
        assert_int_equal(crash_run(sim, &o, &stats), 0);
        simfs_free(sim);
    }
    crash_print("repair", &stats, stdout);
    if (!getenv("FIRN_REPLAY"))
        assert_true(stats.states > 500);
}

static void a_failed_call_is_told_and_costs_nothing(void **state)
{
    const sample *s = *state;
    static const int errors[] = {ENOSPC, EIO};
    simfs *sim;
    for (size_t which = 0; (sim = damaged(s, which)) != NULL; which += long_run() ? 1 : 3) {
        simfs *copy = simfs_clone(sim);
        told t;
        firn_repair_summary m;
        firn_error err = {0};
        unsigned kinds = SIMFS_CHANGING;
        assert_int_equal(repair(s, copy, &t, &m, &err), FIRN_OK);
        uint64_t calls = simfs_calls(copy, kinds);
        simfs_free(copy);
        for (uint64_t at = 1; at <= calls; at++)
            for (size_t e = 0; e < 2; e++) {
                told first;
                copy = simfs_clone(sim);
                simfs_fail(copy, (simfs_fault){.calls = kinds, .at = at, .error = errors[e]});
                err = (firn_error){0};
                int rc = repair(s, copy, &first, &m, &err);
                if (rc != FIRN_OK && (err.status != rc || !err.message[0]))
                    fail_msg("%s: call %llu fails with %d: no error", damage,
                             (unsigned long long)at, errors[e]);
                simfs_heal(copy);
                interrupted c = {.sample = s, .told = first};
                crash_state here = {.sim = copy, .fs = simfs_fs(copy)};
                if (verify_interrupted(&c, &here))
                    fail_msg("call %llu fails with %d: %s", (unsigned long long)at, errors[e],
                             here.reason);
                simfs_free(copy);
            }
        simfs_free(sim);
    }
}

static void a_failed_allocation_is_told_and_costs_nothing(void **state)
{
    const sample *s = *state;
    simfs *sim;
    for (size_t which = 0; (sim = damaged(s, which)) != NULL; which += long_run() ? 1 : 4) {
        bool failed = true;
        for (uint64_t n = 1; failed; n += long_run() ? 1 : 7) {
            simfs *copy = simfs_clone(sim);
            told first;
            firn_repair_summary m;
            firn_error err = {0};
            alloc_fail_at(n);
            int rc = repair(s, copy, &first, &m, &err);
            failed = alloc_count() >= n;
            alloc_fail_at(0);
            if (rc != FIRN_OK && (err.status != rc || !err.message[0]))
                fail_msg("%s: allocation %llu fails: no error", damage, (unsigned long long)n);
            interrupted c = {.sample = s, .told = first};
            crash_state here = {.sim = copy, .fs = simfs_fs(copy)};
            if (verify_interrupted(&c, &here))
                fail_msg("allocation %llu fails: %s", (unsigned long long)n, here.reason);
            simfs_free(copy);
        }
        simfs_free(sim);
    }
}

#define CLOSED(name)  cmocka_unit_test_setup_teardown(name, sample_setup_closed, sample_teardown)
#define OTHER(name)   cmocka_unit_test_setup_teardown(name, sample_setup_other, sample_teardown)
#define UNCLEAN(name) cmocka_unit_test_setup_teardown(name, sample_setup_unclean, sample_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLOSED(an_undamaged_store_stays_as_it_is),
        CLOSED(without_its_manifest_a_store_is_complete),
        UNCLEAN(without_its_manifest_a_store_is_complete),
        CLOSED(every_missing_file_of_a_closed_store_is_survived),
        UNCLEAN(every_missing_file_of_an_unclosed_store_is_survived),
        CLOSED(swapped_and_doubled_files_of_a_closed_store_are_survived),
        UNCLEAN(swapped_and_doubled_files_of_an_unclosed_store_are_survived),
        CLOSED(every_cut_file_of_a_closed_store_is_repaired),
        UNCLEAN(every_cut_file_of_an_unclosed_store_is_repaired),
        CLOSED(every_flipped_byte_of_a_closed_store_is_repaired),
        UNCLEAN(every_flipped_byte_of_an_unclosed_store_is_repaired),
        CLOSED(many_damages_are_survived),
        UNCLEAN(many_damages_are_survived),
        cmocka_unit_test(damage_in_the_middle_of_a_table_costs_what_is_in_the_gap),
        cmocka_unit_test(what_is_no_store_is_refused_and_left_alone),
        CLOSED(a_repair_that_loses_power_is_repeated),
        OTHER(a_repair_that_loses_power_is_repeated),
        UNCLEAN(a_repair_that_loses_power_is_repeated),
        CLOSED(a_failed_call_is_told_and_costs_nothing),
        UNCLEAN(a_failed_call_is_told_and_costs_nothing),
        CLOSED(a_failed_allocation_is_told_and_costs_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
