/* Crashes of a store that several threads write to at once, with its own threads flushing and compacting: every state that a
 * crash may leave, at every step of the run.
 *
 * Each writer has its own counter and its own small key space. Of each writer, what is left is its batches 1..j for
 * some j between what was acknowledged and what was begun; and over all writers it is a prefix of the order of
 * commits, which the batches' numbers tell.
 *
 * How the threads take turns differs from run to run, so a line for FIRN_REPLAY does not find its state again. A state that is
 * wrong is therefore written into a folder, which the message names. FIRN_LONG=1 makes more runs and looks at more points of each.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include <base/thread.h>
#include <errno.h>

#include "bed.h"
#include "support/crash.h"
#include "support/tempdir.h"

#define FOLDER  "/store"
#define WRITERS 8
#define KEYS    5 /* of a writer; 0 is its counter */
#define MOST    400

typedef struct run run;

typedef struct writer {
    run *run;
    unsigned no;
    rng chance;
    thread thread;
    uint64_t states[MOST + 1][KEYS]; /* [j]: after batch j */
    uint64_t seqs[MOST + 1];         /* of the last operation of batch j; 0: it never returned */
    firn_error error;
    int status;
} writer;

struct run {
    simfs *sim;
    firn *db;
    firn_options options;
    unsigned writers, batches, sync_every;
    writer w[WRITERS];
};

/* ---- Marks ---- */

enum { MARK_DURABLE, MARK_BEGUN, MARK_COMPLETED, MARK_KINDS };

static unsigned mark_of(unsigned no, unsigned kind)
{
    return no * MARK_KINDS + kind;
}

/* ---- Writing ---- */

static size_t key_of(char out[16], unsigned no, unsigned key)
{
    return (size_t)snprintf(out, 16, "%u-key-%u", no, key);
}

static int add(writer *w, firn_batch *b, unsigned j, unsigned key, uint64_t number)
{
    char name[16];
    size_t size = key_of(name, w->no, key);
    w->states[j][key] = number;
    if (number == 0)
        return firn_batch_delete(b, name, size);
    return firn_batch_put(b, name, size, value_bytes(number), value_size(number));
}

/* The counter, and up to four more operations, some of them on the same key. */
static void fill(writer *w, firn_batch *b, unsigned j)
{
    firn_batch_clear(b);
    memcpy(w->states[j], w->states[j - 1], sizeof w->states[j]);
    int rc = add(w, b, j, 0, value_number(j, rng_below(&w->chance, 200)));
    unsigned key = 1;
    for (size_t ops = rng_below(&w->chance, 5); ops > 0 && rc == FIRN_OK; ops--) {
        if (rng_below(&w->chance, 3))
            key = 1 + (unsigned)rng_below(&w->chance, KEYS - 1);
        uint64_t number = value_number(j * 8 + ops, rng_below(&w->chance, 200));
        rc = add(w, b, j, key, rng_below(&w->chance, 3) ? number : 0);
    }
    if (rc != FIRN_OK)
        abort();
}

static void write_all(void *arg)
{
    writer *w = arg;
    run *r = w->run;
    firn_batch *b = NULL;
    if (firn_batch_new(&b) != FIRN_OK)
        abort();
    for (unsigned j = 1; j <= r->batches && w->status == FIRN_OK; j++) {
        firn_write_options o;
        firn_write_options_init(&o);
        bool sync = r->sync_every && j % r->sync_every == 0;
        if (sync)
            o.durability = FIRN_DURABILITY_SYNC;
        fill(w, b, j);
        simfs_mark(r->sim, mark_of(w->no, MARK_BEGUN), j);
        w->status = firn_write(r->db, b, &o, &w->seqs[j], &w->error);
        if (w->status != FIRN_OK)
            break;
        if (sync)
            simfs_mark(r->sim, mark_of(w->no, MARK_DURABLE), j);
        simfs_mark(r->sim, mark_of(w->no, MARK_COMPLETED), j);
    }
    firn_batch_free(b);
}

/* ---- Verifying ---- */

typedef struct image {
    simfs *sim;
    const char *folder;
} image;

static int save_file(void *ctx, const char *path, uint64_t size)
{
    const image *i = ctx;
    char to[512];
    size_t bytes = 0;
    (void)size;
    if (strstr(path, "/lost/"))
        return 0;
    snprintf(to, sizeof to, "%s/%s", i->folder, strrchr(path, '/') + 1);
    const uint8_t *data = simfs_peek(i->sim, path, &bytes);
    FILE *f = fopen(to, "wb");
    if (f) {
        fwrite(data, 1, bytes, f);
        fclose(f);
    }
    return 0;
}

/* For `firn wal` and `firn check`. The recovery may have changed it: `before` is what the crash left. */
static void save_image(simfs *before, char folder[256])
{
    char *root = tempdir_new();
    image i = {before, root};
    simfs_each(before, FOLDER, save_file, &i);
    snprintf(folder, 256, "%s", root);
    free(root);
}

/* Does the store show the writer's state j? */
static bool shows(firn *db, const writer *w, unsigned j, char *why)
{
    for (unsigned k = 0; k < KEYS; k++) {
        char name[16];
        firn_slice key = {(const uint8_t *)name, key_of(name, w->no, k)};
        if (!compare_get(db, NULL, key, w->states[j][k], why))
            return false;
    }
    return true;
}

/* Which of its states the writer's counter shows. */
static bool find_state(firn *db, const writer *w, unsigned most, unsigned *j, char *why)
{
    char name[16];
    firn_value v = {0};
    firn_error err = {0};
    int rc = firn_get(db, name, key_of(name, w->no, 0), NULL, &v, &err);
    *j = 0;
    if (rc == FIRN_NOT_FOUND)
        return true;
    if (rc != FIRN_OK)
        return wrong_status(why, "get", rc, &err);
    for (*j = most; *j > 0; --*j)
        if (value_is(w->states[*j][0], (firn_slice){v.data, v.size}))
            break;
    firn_value_release(&v);
    return *j > 0 || wrong(why, "writer %u: its counter is of no batch up to %u", w->no, most);
}

static bool right(const run *r, const crash_state *state, firn *db, char *why)
{
    uint64_t newest_there = 0, oldest_missing = UINT64_MAX;
    char inner[WHY];
    for (unsigned i = 0; i < r->writers; i++) {
        const writer *w = &r->w[i];
        unsigned j = 0;
        uint64_t begun = state->marks[mark_of(i, MARK_BEGUN)];
        uint64_t low = state->marks[mark_of(
            i, state->model == CRASH_KILL && state->depth == 0 ? MARK_COMPLETED : MARK_DURABLE)];
        if (!find_state(db, w, (unsigned)begun, &j, why))
            return false;
        if (j < low)
            return wrong(why, "writer %u: batches up to %u were safe, those up to %u are there", i,
                         (unsigned)low, j);
        if (!shows(db, w, j, inner))
            return wrong(why, "writer %u, batch %u: %.400s", i, j, inner);
        if (j > 0 && w->seqs[j] > newest_there)
            newest_there = w->seqs[j];
        for (unsigned m = j + 1; m <= r->batches; m++)
            if (w->seqs[m] && w->seqs[m] < oldest_missing)
                oldest_missing = w->seqs[m];
    }
    return oldest_missing > newest_there ||
           wrong(why, "number %llu is there, and %llu is not", (unsigned long long)newest_there,
                 (unsigned long long)oldest_missing);
}

static int verify(void *ctx, crash_state *state)
{
    const run *r = ctx;
    engine_config config = {.fs = state->fs, .inline_work = true};
    firn_error err = {0};
    firn *db = NULL;
    char why[WHY] = "", folder[256];
    simfs *before = simfs_clone(state->sim);
    int rc = engine_open(FOLDER, &r->options, &config, &db, &err);
    if (rc != FIRN_OK)
        wrong_status(why, "open", rc, &err);
    else if (right(r, state, db, why))
        why[0] = '\0';
    rc = firn_close(db, &err);
    if (rc != FIRN_OK && !why[0])
        wrong_status(why, "close", rc, &err);
    if (!why[0]) {
        simfs_free(before);
        return 0;
    }
    save_image(before, folder);
    simfs_free(before);
    return crash_wrong(state, "%.380s (the files are in %s)", why, folder);
}

/* ---- Runs ---- */

static crash_stats total;

static void one_run(unsigned writers, unsigned sync_every, const char *durability, uint64_t seed)
{
    run *r = calloc(1, sizeof *r);
    assert_non_null(r);
    *r = (run){.sim = simfs_new(seed), .writers = writers, .sync_every = sync_every};
    r->batches = 72 / writers + 8;
    bed_small(&r->options);
    MUST(firn_options_set(&r->options, "durability", durability, error));
    engine_config config = {.fs = simfs_fs(r->sim)};
    char name[64];
    snprintf(name, sizeof name, "writers%u-every%u-%s", writers, sync_every, durability);
    simfs_record(r->sim);
    MUST(engine_open(FOLDER, &r->options, &config, &r->db, error));
    for (unsigned i = 0; i < writers; i++) {
        writer *w = &r->w[i];
        w->run = r;
        w->no = i;
        w->chance = rng_init(seed * 100 + i);
        assert_int_equal(thread_start(&w->thread, "writer", write_all, w), 0);
    }
    for (unsigned i = 0; i < writers; i++) {
        thread_join(&r->w[i].thread);
        must_ok(r->w[i].status, &r->w[i].error, "write", __FILE__, __LINE__);
    }
    /* The flusher and the compactor are still at it: the crash may come in the middle. */
    simfs_record_stop(r->sim);
    MUST(firn_close(r->db, error));
    crash_options o = crash_options_default(name, seed, verify, r);
    o.combinations = 16;
    o.singles = 8;
    o.random = 4;
    o.point_stride = 1 + simfs_changes(r->sim) / (long_run() ? 640 : 160);
    crash_stats stats = {0};
    uint64_t violations = crash_run(r->sim, &o, &stats);
    crash_print(name, &stats, stdout);
    total.states += stats.states;
    total.distinct += stats.distinct;
    simfs_free(r->sim);
    free(r);
    assert_int_equal(violations, 0);
}

static void runs(unsigned sync_every, const char *durability)
{
    if (getenv("FIRN_REPLAY"))
        return;
    uint64_t seed = seed_from_environment(1);
    for (unsigned writers = 1; writers <= WRITERS; writers += writers < 4 ? 1 : 2)
        for (unsigned again = 0; again < (long_run() ? 2 : 1); again++)
            one_run(writers, sync_every, durability, seed + again);
}

static void every_batch_durable(void **state)
{
    (void)state;
    runs(1, "none");
}

static void every_third_batch_durable(void **state)
{
    (void)state;
    runs(3, "none");
}

static void every_tenth_batch_durable(void **state)
{
    (void)state;
    runs(10, "none");
}

static void no_batch_durable(void **state)
{
    (void)state;
    runs(0, "none");
}

static void batches_durable_after_a_while(void **state)
{
    (void)state;
    runs(0, "batch");
}

static void all_of_it(void **state)
{
    (void)state;
    printf("all writers: %llu states (%llu distinct)\n", (unsigned long long)total.states,
           (unsigned long long)total.distinct);
    if (!getenv("FIRN_REPLAY"))
        assert_true(total.distinct > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_batch_durable),
        cmocka_unit_test(every_third_batch_durable),
        cmocka_unit_test(every_tenth_batch_durable),
        cmocka_unit_test(no_batch_durable),
        cmocka_unit_test(batches_durable_after_a_while),
        cmocka_unit_test(all_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
