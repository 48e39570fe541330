/* Every state a crash can leave the store in: the process is killed, or the power fails on a kind
 * disk or on one that keeps nothing unsynced, at every step of creation, writing, rotation, flush, compaction,
 * truncation, close, reopening, and in the middle of a recovery from such a crash.
 *
 * Whatever is left must open, and show the batches 1..j for some j between what was acknowledged and
 * what was begun. A failure prints a line for FIRN_REPLAY. FIRN_LONG=1 looks at millions of states.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include <errno.h>

#include "history.h"
#include "support/crash.h"

#define ENOUGH_STATES 100000
#define FOLDER        "/store"

/* A script is a list of words: w20 writes 20 batches; s syncs; f flushes; c compacts everything; r
 * compacts a range; t lets no table be made from then on, as on a full disk, so that the log keeps many
 * segments; o closes and opens again; q closes for good.
 *
 * k, m, n and y leave as a killed process does, and open again with nothing synced in between: what is read
 * then is only in the page cache, and may go with a later power cut. A write that fails poisons the
 * handle, which then closes without another word to the disk; k fails a write to the log, m the second
 * write to the manifest of a compaction, and n that of a flush, whose bytes arrive all the same; y fails the sync of a flush's
 * record, so that its bytes are only seen. */
typedef struct crash_script {
    const char *name;
    const char *words;
    unsigned sync_every; /* each so many batches is written durably; 0: none */
    size_t value_most;
    const char *options[8];
    bool unmapped;
} crash_script;

typedef struct crash_bed {
    const crash_script *script;
    history history;
    firn_options options;
    uint64_t verified;
} crash_bed;

static crash_stats total;

/* ---- the script ---- */

static void options_of(const crash_script *s, firn_options *o)
{
    bed_small(o);
    o->durability = FIRN_DURABILITY_NONE;
    for (size_t i = 0; s->options[i]; i += 2)
        MUST(firn_options_set(o, s->options[i], s->options[i + 1], error));
}

static firn *reopened(simfs *sim, const crash_bed *c)
{
    engine_config config = {.fs = simfs_fs(sim), .inline_work = true};
    firn *db = NULL;
    MUST(engine_open(FOLDER, &c->options, &config, &db, error));
    return db;
}

static void write_batches(crash_bed *c, firn *db, unsigned count)
{
    char why[WHY];
    unsigned every = c->script->sync_every;
    for (unsigned i = 0; i < count; i++) {
        bool sync = every && (c->history.count + 1) % every == 0;
        firn_durability d = sync ? FIRN_DURABILITY_SYNC : FIRN_DURABILITY_DEFAULT;
        if (!history_write(&c->history, db, d, why))
            fail_msg("%s", why);
    }
}

/* Everything written so far is in tables, which are durable. */
static void note_all_durable(crash_bed *c)
{
    c->history.durable = c->history.completed;
    simfs_mark(c->history.sim, MARK_DURABLE, c->history.durable);
}

/* Each life makes its own. */
static int find_manifest(void *ctx, const char *path, uint64_t size)
{
    const char *name = strrchr(path, '/');
    (void)size;
    if (name && strstr(name, ".manifest"))
        snprintf(ctx, 64, "%s", name + 1);
    return 0;
}

/* Words k, m, n and y. */
static void leave_as_if_killed(crash_bed *c, simfs *sim, firn **db, char word)
{
    char name[64] = "", why[WHY];
    size_t j = 0;
    simfs_each(sim, FOLDER, find_manifest, name);
    if (word != 'k')
        simfs_fail(sim, (simfs_fault){.calls = word == 'y' ? SIMFS_SYNC : SIMFS_WRITE,
                                      .at = word == 'm' ? 2 : 1,
                                      .error = EIO,
                                      .after = word != 'y',
                                      .name = name});
    if (word == 'm')
        assert_int_equal(firn_compact(*db, NULL, 0, NULL, 0, NULL), FIRN_IO);
    else if (word != 'k')
        assert_int_equal(firn_flush(*db, NULL), FIRN_IO);
    simfs_fail(sim, (simfs_fault){.calls = SIMFS_WRITE, .at = 1, .error = EIO, .forever = true});
    assert_false(history_write(&c->history, *db, FIRN_DURABILITY_SYNC, why));
    assert_int_not_equal(firn_close(*db, NULL), FIRN_OK);
    simfs_heal(sim);
    *db = reopened(sim, c);
    if (!history_compare(&c->history, *db, c->history.completed, c->history.count, &j, why))
        fail_msg("behind a kill: %s", why);
    history_cut(&c->history, j);
}

static int refuse_tables(void *ctx, unsigned call, uint64_t index, const char *name)
{
    (void)ctx;
    (void)index;
    return call == SIMFS_CREATE && strstr(name, ".tbl") ? ENOSPC : 0;
}

static void one_word(crash_bed *c, simfs *sim, firn **db, const char *word)
{
    firn_error err = {0};
    int rc = FIRN_OK;
    switch (word[0]) {
    case 'k':
    case 'm':
    case 'n':
    case 'y':
        leave_as_if_killed(c, sim, db, word[0]);
        return;
    case 't':
        simfs_on_call(sim, refuse_tables, NULL);
        return;
    case 'w':
        write_batches(c, *db, (unsigned)atoi(word + 1));
        return;
    case 's':
        rc = firn_sync(*db, &err);
        break;
    case 'f':
        rc = firn_flush(*db, &err);
        break;
    case 'c':
        rc = firn_compact(*db, NULL, 0, NULL, 0, &err);
        break;
    case 'r':
        rc = firn_compact(*db, "k003", 4, "k008", 4, &err);
        break;
    case 'o':
    case 'q':
        rc = firn_close(*db, &err);
        *db = NULL;
        break;
    default:
        fail_msg("no word %s", word);
    }
    must_ok(rc, &err, word, __FILE__, __LINE__);
    note_all_durable(c);
    if (word[0] == 'o')
        *db = reopened(sim, c);
}

static void run_words(crash_bed *c, simfs *sim)
{
    char words[256];
    char *rest = words;
    snprintf(words, sizeof words, "%s", c->script->words);
    firn *db = reopened(sim, c);
    for (char *w = strtok_r(words, " ", &rest); w; w = strtok_r(NULL, " ", &rest))
        one_word(c, sim, &db, w);
    /* The crash is what ends the script: what closing would still do is not recorded. */
    simfs_record_stop(sim);
    firn_close(db, NULL);
}

/* ---- verifying ---- */

static int open_state(const crash_bed *c, crash_state *state, firn **db)
{
    engine_config config = {.fs = state->fs, .inline_work = true};
    firn_error err = {0};
    char text[400];
    int rc = engine_open(FOLDER, &c->options, &config, db, &err);
    if (rc == FIRN_OK)
        return 0;
    firn_error_format(&err, text, sizeof text);
    return crash_wrong(state, "open: %s: %s", firn_status_name(rc), text);
}

static int close_state(crash_state *state, firn *db)
{
    firn_error err = {0};
    char text[400];
    int rc = firn_close(db, &err);
    if (rc == FIRN_OK)
        return 0;
    firn_error_format(&err, text, sizeof text);
    return crash_wrong(state, "close: %s: %s", firn_status_name(rc), text);
}

static size_t lowest(const crash_state *state)
{
    bool completed_count =
        state->model == CRASH_KILL && (state->depth == 0 || state->marked[MARK_REOPENED]);
    return (size_t)state->marks[completed_count ? MARK_COMPLETED : MARK_DURABLE];
}

/* Opens again after a clean close of what was recovered, and has everything checked. */
static int look_again(crash_bed *c, crash_state *state, size_t j)
{
    firn *db = NULL;
    firn_error err = {0};
    char why[WHY];
    int rc = engine_check(state->fs, FOLDER, NULL, NULL, NULL, &err);
    if (rc != FIRN_OK) {
        wrong_status(why, "check after a recovery", rc, &err);
        return crash_wrong(state, "%s", why);
    }
    if (open_state(c, state, &db))
        return 1;
    size_t again = j;
    bool right = history_compare(&c->history, db, j, j, &again, why);
    if (close_state(state, db))
        return 1;
    return right ? 0 : crash_wrong(state, "opened again: %s", why);
}

static int verify(void *ctx, crash_state *state)
{
    crash_bed *c = ctx;
    firn *db = NULL;
    char why[WHY];
    size_t j = 0;
    simfs_mapping_ok(state->sim, !c->script->unmapped);
    if (open_state(c, state, &db))
        return 1;
    bool right =
        history_compare(&c->history, db, lowest(state), (size_t)state->marks[MARK_BEGUN], &j, why);
    if (right) {
        /* A program that has seen the recovered store may rely on it: for crashes of this recovery. */
        simfs_mark(state->sim, MARK_DURABLE, j);
        simfs_mark(state->sim, MARK_BEGUN, j);
        simfs_mark(state->sim, MARK_COMPLETED, j);
        simfs_mark(state->sim, MARK_REOPENED, 1);
    }
    bool again = right && c->verified++ % 8 == 0;
    if (again)
        right = history_touch(db, &c->history, why);
    if (close_state(state, db))
        return 1;
    if (!right)
        return crash_wrong(state, "%s", why);
    return again ? look_again(c, state, j) : 0;
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void run_seed(const crash_script *s, uint64_t seed, crash_stats *stats)
{
    crash_bed c = {.script = s};
    crash_options o = crash_options_default(s->name, seed, verify, &c);
    simfs *sim = simfs_new(seed);
    o.seed = seed;
    simfs_mapping_ok(sim, !s->unmapped);
    options_of(s, &c.options);
    history_init(&c.history, seed, sim);
    c.history.value_most = s->value_most;
    simfs_record(sim);
    run_words(&c, sim);
    if (!long_run()) {
        o.singles = 64;
        o.nest_every = 500; /* a recovery makes files of its own, and has many steps */
    }
    uint64_t violations = crash_run(sim, &o, stats);
    history_release(&c.history);
    simfs_free(sim);
    assert_int_equal(violations, 0);
}

static void run_script(const crash_script *s)
{
    uint64_t first = seed_from_environment(1), seeds = long_run() ? 6 : 3;
    unsigned long long named = 0;
    char pattern[64];
    const char *replay = getenv("FIRN_REPLAY");
    crash_stats stats = {0};
    snprintf(pattern, sizeof pattern, "%s seed=%%llu", s->name);
    if (replay) {
        if (sscanf(replay, pattern, &named) != 1)
            return; /* a line of another script */
        first = named;
        seeds = 1;
    }
    double start = seconds();
    for (uint64_t i = 0; i < seeds; i++)
        run_seed(s, first + i, &stats);
    double took = seconds() - start;
    crash_print(s->name, &stats, stdout);
    printf("    %.0f states/s\n", (double)stats.states / (took > 0 ? took : 1));
    total.states += stats.states;
    total.distinct += stats.distinct;
    total.nested += stats.nested;
}

/* ---- the scripts ---- */

static void every_batch_durable_while_segments_rotate(void **state)
{
    (void)state;
    run_script(&(crash_script){"sync1", "w130 q", .sync_every = 1});
}

static void every_third_batch_durable_with_flushes(void **state)
{
    (void)state;
    run_script(&(crash_script){"sync3", "w20 f w20 f w20", .sync_every = 3});
}

static void every_tenth_batch_durable_with_compactions(void **state)
{
    (void)state;
    run_script(&(crash_script){"sync10", "w30 f w30 c w30 r w10", .sync_every = 10});
}

static void nothing_durable_but_what_closing_and_syncing_make_so(void **state)
{
    (void)state;
    run_script(&(crash_script){.name = "never", .words = "w25 s w25 o w25 f w5 o w5"});
}

static void a_log_without_mapping(void **state)
{
    (void)state;
    run_script(&(crash_script){"unmapped", "w20 f w20 o w20", .sync_every = 3, .unmapped = true});
}

static void values_larger_than_a_segment(void **state)
{
    (void)state;
    run_script(&(crash_script){"large", "w8 f w4 o w4", .sync_every = 2, .value_most = 6000});
}

static void closing_and_opening_again_and_again(void **state)
{
    (void)state;
    run_script(&(crash_script){"reopen", "o w1 o w3 o o w8 o f o w2 c o q", .sync_every = 2});
}

static void many_flushes_make_levels(void **state)
{
    (void)state;
    run_script(&(crash_script){"levels", "w9 f w9 f w9 f w9 f w9 f w9 f w9 f w9 f", .sync_every = 5,
                               .value_most = 500, .options = {"compression", "lz4"}});
}

static void a_power_cut_after_a_kill(void **state)
{
    (void)state;
    run_script(&(crash_script){"killed", "w9 k w5 f w9 f k w9 m w9 k k w3 f m w5 o w3 k w9",
                               .sync_every = 7});
}

static void a_flush_that_is_only_in_the_page_cache(void **state)
{
    (void)state;
    run_script(&(crash_script){"half-flushed", "w1 o w9 n w5 y w9 f w2 n w3 y w2 o w5 n w9 y w3 q",
                               .sync_every = 3});
}

static void a_log_of_many_segments(void **state)
{
    (void)state;
    run_script(&(crash_script){"segments", "w5 f t w28 s w9 o w9 k w5", .sync_every = 9,
                               .value_most = 300});
}

static void batched_durability(void **state)
{
    (void)state;
    run_script(&(crash_script){"batched", "w80 f w20",
                               .options = {"durability", "batch", "batch_writes", "4"}});
}

/* ---- many lives: crash, recover, go on, crash again ---- */

static firn *life_opens(crash_bed *c, simfs *sim, size_t low, unsigned life)
{
    char why[WHY];
    size_t j = 0;
    firn *db = reopened(sim, c);
    if (!history_compare(&c->history, db, low, c->history.count, &j, why))
        fail_msg("life %u: %s", life, why);
    c->history.sim = sim;
    history_cut(&c->history, j);
    return db;
}

static void life_goes_on(crash_bed *c, simfs *sim, firn **db, rng *chance)
{
    static const char *const words[] = {"w3", "w7", "w15", "s", "f", "w20", "c", "o", "w1"};
    size_t count = 1 + rng_below(chance, 8);
    for (size_t i = 0; i < count && c->history.count + 40 < HISTORY_MOST; i++)
        one_word(c, sim, db, words[rng_below(chance, sizeof words / sizeof *words)]);
}

static void many_lives(uint64_t seed, unsigned lives)
{
    static const crash_model models[] = {CRASH_KILL, CRASH_ORDERED, CRASH_STRICT, CRASH_STRICT};
    crash_script s = {"lives", "", .sync_every = 1 + (unsigned)(seed % 4), .value_most = 300};
    crash_bed c = {.script = &s};
    rng chance = rng_init(seed);
    simfs *sim = simfs_new(seed);
    size_t low = 0;
    options_of(&s, &c.options);
    history_init(&c.history, seed, sim);
    for (unsigned life = 0; life < lives; life++) {
        simfs_record(sim);
        firn *db = life_opens(&c, sim, low, life);
        life_goes_on(&c, sim, &db, &chance);
        crash_model model = models[rng_below(&chance, 4)];
        simfs *left = crash_now(sim, model, rng_next(&chance), NULL, 0);
        low = model == CRASH_KILL ? c.history.completed : c.history.durable;
        simfs_record_stop(sim);
        firn_close(db, NULL);
        simfs_free(sim);
        sim = left;
    }
    history_release(&c.history);
    simfs_free(sim);
}

static void a_store_survives_crash_after_crash(void **state)
{
    (void)state;
    if (getenv("FIRN_REPLAY"))
        return;
    uint64_t seed = seed_from_environment(1), runs = long_run() ? 1000 : 40;
    for (uint64_t i = 0; i < runs; i++)
        many_lives(seed * 100000 + i, 12);
}

static void enough_states_were_looked_at(void **state)
{
    (void)state;
    printf("all scripts: %llu states (%llu distinct), %llu nested\n",
           (unsigned long long)total.states, (unsigned long long)total.distinct,
           (unsigned long long)total.nested);
    if (!getenv("FIRN_REPLAY"))
        assert_true(total.distinct >= ENOUGH_STATES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_batch_durable_while_segments_rotate),
        cmocka_unit_test(every_third_batch_durable_with_flushes),
        cmocka_unit_test(every_tenth_batch_durable_with_compactions),
        cmocka_unit_test(nothing_durable_but_what_closing_and_syncing_make_so),
        cmocka_unit_test(a_log_without_mapping),
        cmocka_unit_test(values_larger_than_a_segment),
        cmocka_unit_test(closing_and_opening_again_and_again),
        cmocka_unit_test(many_flushes_make_levels),
        cmocka_unit_test(a_power_cut_after_a_kill),
        cmocka_unit_test(a_flush_that_is_only_in_the_page_cache),
        cmocka_unit_test(a_log_of_many_segments),
        cmocka_unit_test(batched_durability),
        cmocka_unit_test(a_store_survives_crash_after_crash),
        cmocka_unit_test(enough_states_were_looked_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
