/* The option memory as a whole: all that takes memory at once, and the figures stay within what firn.h says. Counts bytes,
 * never time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <base/thread.h>

#include "bed.h"
#include <store/store.h>

/* Keys: a letter for the kind, and a number. Large values are in tables, packed to little; of those, readers may hold
 * sixteen. A batch is larger than a segment, so it has a memtable of its own, with room in the index for all operations.
 * What is written in all is more than the bound. */
enum { SMALL_KEYS = 8000, LARGE_KEYS = 24, LARGE_BYTES = 1000 << 10 };
enum { BATCHES = 14, BATCH_KEYS = 2000, BATCH_VALUE = 1300, BATCH_INDEX = 4200 << 10 };
enum { MEMORY = 8 << 20, SCANS = 40, GETS = 20000 };

typedef struct world {
    bed b;
    atomic_bool over;
    _Atomic unsigned looks, refused, wrong;
} world;

static uint64_t charged(const firn *db, budget_kind kind)
{
    return budget_held(&db->store->budget, kind);
}

/* Those of the store (one may be on its way out), those of the scan's view, and one for the value that is held. */
static uint64_t memtables_most(void)
{
    uint64_t each = (uint64_t)BATCH_KEYS * (BATCH_VALUE + 32) + BATCH_INDEX;
    return (2 * (FROZEN_MAX + 2) + 1) * each;
}

/* Twice the memory and a value for what callers hold, and what the budget leaves beside the memtables. */
static uint64_t blocks_most(const firn *db)
{
    return 2 * MEMORY + LARGE_BYTES + 8192 + (MEMORY - db->store->budget.share);
}

/* Adds to `wrong` what no figure may show. */
static void look(world *w)
{
    const firn *db = w->b.db;
    firn_stats s = {.size = sizeof s};
    bool right = firn_get_stats(w->b.db, &s, NULL) == FIRN_OK;
    right = right && s.memory_bytes <= MEMORY + memtables_most() + blocks_most(db);
    right = right && charged(db, BUDGET_LOG) + charged(db, BUDGET_INDEX) <= memtables_most();
    right = right && charged(db, BUDGET_BLOCKS) <= blocks_most(db);
    right = right && budget_parts(&db->store->budget) + charged(db, BUDGET_TABLES) <= MEMORY / 4;
    atomic_fetch_add(&w->wrong, !right);
    atomic_fetch_add(&w->looks, 1);
}

/* What is refused, is for want of memory, and says so; only what has to unpack a large value is. */
static bool expect(world *w, int rc, int allowed, bool large, const firn_error *err)
{
    bool refused = rc == FIRN_NO_MEMORY && large && strstr(err->hint, "larger memory");
    atomic_fetch_add(&w->refused, refused);
    atomic_fetch_add(&w->wrong, rc != FIRN_OK && rc != allowed && !refused);
    return rc == FIRN_OK;
}

static size_t key_of(char *key, char kind, unsigned i)
{
    return (size_t)snprintf(key, 16, "%c%08u", kind, i);
}

static void put_run(void *arg)
{
    world *w = arg;
    for (unsigned i = 0; i < SMALL_KEYS; i++) {
        char key[16];
        firn_error err = {0};
        size_t size = key_of(key, 's', i * 7919U % SMALL_KEYS);
        expect(w, firn_put(w->b.db, key, size, key, size, NULL, &err), FIRN_OK, false, &err);
        if (i % 100 == 0)
            look(w);
    }
}

static void write_run(void *arg)
{
    world *w = arg;
    firn_batch *batch = NULL;
    atomic_fetch_add(&w->wrong, firn_batch_new(&batch) != FIRN_OK);
    for (unsigned n = 0; n < BATCHES; n++) {
        firn_error err = {0};
        firn_batch_clear(batch);
        for (unsigned i = 0; i < BATCH_KEYS; i++) {
            char key[16];
            size_t size = key_of(key, 'b', i);
            const uint8_t *value = value_bytes(value_number(n + 1, BATCH_VALUE));
            atomic_fetch_add(&w->wrong, firn_batch_put(batch, key, size, value, BATCH_VALUE) != 0);
        }
        expect(w, firn_write(w->b.db, batch, NULL, NULL, &err), FIRN_OK, false, &err);
        look(w);
    }
    firn_batch_free(batch);
}

static void scan(world *w, const firn_iter_options *o, bool backward)
{
    firn_iter *it = NULL;
    firn_error err = {0};
    if (!expect(w, firn_iter_new(w->b.db, o, &it, &err), FIRN_OK, false, &err))
        return;
    int rc = backward ? firn_iter_last(it) : firn_iter_first(it);
    for (unsigned i = 0; rc == FIRN_OK && !atomic_load(&w->over); i++) {
        if (i % 200 == 0 || firn_iter_value(it).size == LARGE_BYTES)
            look(w);
        rc = backward ? firn_iter_prev(it) : firn_iter_next(it);
    }
    firn_iter_status(it, &err);
    expect(w, rc, FIRN_END, true, &err);
    firn_iter_free(it);
}

static void scan_run(void *arg)
{
    world *w = arg;
    for (unsigned n = 0; n < SCANS && !atomic_load(&w->over); n++) {
        firn_snapshot *snapshot = NULL;
        firn_error err = {0};
        firn_iter_options o;
        firn_iter_options_init(&o);
        expect(w, firn_snapshot_new(w->b.db, &snapshot, &err), FIRN_OK, false, &err);
        o.snapshot = snapshot;
        o.bypass_cache = n % 2;
        scan(w, &o, n / 2 % 2);
        firn_snapshot_free(snapshot);
    }
}

/* A get of any key; false: it was refused, or found nothing. */
static bool get(world *w, char kind, unsigned i, firn_value *v)
{
    char key[16];
    firn_error err = {0};
    size_t size = key_of(key, kind, i);
    int rc = firn_get(w->b.db, key, size, NULL, v, &err);
    return expect(w, rc, kind == 'l' ? FIRN_OK : FIRN_NOT_FOUND, kind == 'l', &err);
}

static void get_run(void *arg)
{
    world *w = arg;
    rng r = rng_init(3);
    for (unsigned i = 0; i < GETS && !atomic_load(&w->over); i++) {
        firn_value v = {0};
        if (rng_below(&r, 2))
            get(w, 'b', (unsigned)rng_below(&r, BATCH_KEYS), &v);
        else
            get(w, 's', (unsigned)rng_below(&r, SMALL_KEYS), &v);
        if (i % 100 == 0)
            look(w);
        firn_value_release(&v);
    }
}

/* Holds large values until one is refused. They must be in tables: a memtable has no block to unpack. */
static void hoard(world *w)
{
    firn_value held[LARGE_KEYS] = {{0}};
    unsigned count = 0;
    while (count < LARGE_KEYS && get(w, 'l', count, &held[count])) {
        atomic_fetch_add(&w->wrong, held[count].size != LARGE_BYTES);
        count++;
        look(w);
    }
    atomic_fetch_add(&w->wrong, count == LARGE_KEYS);
    for (unsigned i = 0; i < count; i++)
        firn_value_release(&held[i]);
}

static void put_large(world *w)
{
    uint8_t *value = calloc(1, LARGE_BYTES);
    assert_non_null(value);
    for (unsigned i = 0; i < LARGE_KEYS; i++) {
        char key[16];
        MUST(firn_put(w->b.db, key, key_of(key, 'l', i), value, LARGE_BYTES, NULL, error));
    }
    free(value);
    MUST(firn_compact(w->b.db, NULL, 0, NULL, 0, error));
}

static void what_is_held_stays_within_its_bounds_while_all_goes_on_at_once(void **state)
{
    (void)state;
    static void (*const runs[])(void *) = {put_run, write_run, scan_run, get_run};
    enum { WRITERS = 2, THREADS = sizeof runs / sizeof *runs };
    world w = {.over = false};
    thread threads[THREADS] = {0};
    bed_on_disk(&w.b);
    firn_options_init(&w.b.options);
    w.b.options.memory = MEMORY;
    w.b.options.table_bytes = 512 << 10;
    w.b.options.durability = FIRN_DURABILITY_NONE;
    w.b.options.compression = FIRN_COMPRESSION_LZ4;
    bed_must_open(&w.b);
    put_large(&w);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(thread_start(&threads[i], "all at once", runs[i], &w), 0);
    hoard(&w);
    MUST(firn_compact(w.b.db, NULL, 0, NULL, 0, error));
    for (unsigned i = 0; i < WRITERS; i++)
        thread_join(&threads[i]);
    hoard(&w);
    atomic_store(&w.over, true);
    for (unsigned i = WRITERS; i < THREADS; i++)
        thread_join(&threads[i]);
    assert_int_equal(w.wrong, 0);
    assert_true(w.refused >= 2 && w.looks > SMALL_KEYS / 100);
    MUST(firn_settle(w.b.db, error));
    look(&w);
    firn_stats s = bed_stats(&w.b);
    assert_true(s.memory_bytes <= MEMORY);
    assert_int_equal(charged(w.b.db, BUDGET_SCRATCH), 0);
    bed_release(&w.b);
}

/* ---- A job that runs ---- */

typedef struct beside {
    bed *b;
    unsigned tables; /* that the merge had begun */
} beside;

/* A merge writes its first table: all that is in memtables is flushed meanwhile. */
static int flush_beside(void *ctx, unsigned call, uint64_t index, const char *name)
{
    beside *x = ctx;
    (void)index;
    if (call != SIMFS_WRITE || !strstr(name, ".tbl") || x->tables++ != 0)
        return 0;
    const uint8_t *value = value_bytes(value_number(1, 4000));
    MUST(firn_put(x->b->db, "later", 5, value, 4000, NULL, error));
    MUST(firn_flush(x->b->db, error));
    assert_true(charged(x->b->db, BUDGET_LOG) < 4000);
    return 0;
}

static void a_merge_does_not_keep_memtables_that_are_flushed_beside_it(void **state)
{
    (void)state;
    bed b;
    bed_on_simfs(&b, 3);
    b.options.segment_bytes = 64 << 10;
    bed_must_open(&b);
    for (unsigned i = 0; i < 3; i++) {
        bed_put(&b, "a", "1");
        bed_put(&b, "z", "2");
        bed_flush(&b);
    }
    beside x = {.b = &b};
    simfs_on_call(b.sim, flush_beside, &x);
    MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
    simfs_on_call(b.sim, NULL, NULL);
    assert_true(x.tables > 1);
    bed_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_merge_does_not_keep_memtables_that_are_flushed_beside_it),
        cmocka_unit_test(what_is_held_stays_within_its_bounds_while_all_goes_on_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
