/* The budget: what is charged is what is held, and who must give back does. Counts bytes, never time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <base/alloc.h>
#include <base/thread.h>

#include "bed.h"
#include <store/store.h>

#define MIB ((uint64_t)1 << 20)

static uint64_t charged(const firn *db, budget_kind kind)
{
    return budget_held(&db->store->budget, kind);
}

/* ---- B1 ---- */

static void add_tables(firn *db, const view *v, uint64_t *tables, uint64_t *opened)
{
    (void)db;
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        for (size_t i = 0; i < v->version->levels[n].count; i++) {
            table *t = v->version->levels[n].tables[i];
            sst_reader *r = atomic_load(&t->reader);
            *tables += sizeof *t + t->keys.capacity;
            if (r)
                *opened += sst_reader_memory(r);
        }
}

/* Each kind against what is really there, to the byte. */
static void check_charges(firn *db)
{
    view *v = store_view(db->store);
    uint64_t index = mem_index_bytes(v->active), log = v->active->log_end;
    index += memtable_pool_bytes(db->store->mem_env.pool);
    uint64_t tables = 0, opened = 0;
    for (size_t i = 0; i < v->frozen_count; i++) {
        index += mem_index_bytes(v->frozen[i]);
        log += v->frozen[i]->log_end;
    }
    assert_true(v->active->log_end <= wal_segment_used(v->active->segment));
    add_tables(db, v, &tables, &opened);
    view_unref(v);
    assert_int_equal(charged(db, BUDGET_INDEX), index);
    assert_int_equal(charged(db, BUDGET_LOG), log);
    assert_int_equal(charged(db, BUDGET_TABLES) + budget_parts(&db->store->budget),
                     tables + opened);
    assert_int_equal(charged(db, BUDGET_SCRATCH), gaps_memory(&db->store->gaps));
    sst_cache_stats s;
    sst_cache_get_stats(db->store->cache, &s);
    assert_int_equal(charged(db, BUDGET_BLOCKS), s.held_bytes);
    assert_int_equal(bed_stats(&(bed){.db = db}).memory_bytes, budget_total(&db->store->budget));
}

static void walk(firn *db, bool bypass)
{
    firn_iter *it = NULL;
    firn_iter_options o;
    firn_iter_options_init(&o);
    o.bypass_cache = bypass;
    MUST(firn_iter_new(db, &o, &it, error));
    int rc = firn_iter_first(it);
    while (rc == FIRN_OK)
        rc = firn_iter_next(it);
    assert_int_equal(rc, FIRN_END);
    firn_iter_free(it);
}

static void the_sum_of_the_charges_is_what_is_held(void **state)
{
    (void)state;
    uint64_t before = pages_in_use();
    for (int compressed = 0; compressed < 2; compressed++) {
        bed b;
        rng r = rng_init(7);
        bed_on_simfs(&b, 7);
        b.options.compression = compressed ? FIRN_COMPRESSION_LZ4 : FIRN_COMPRESSION_NONE;
        b.options.segment_bytes = compressed ? 64 << 10 : 8 << 10;
        bed_must_open(&b);
        for (unsigned i = 0; i < 3000; i++) {
            char key[16];
            snprintf(key, sizeof key, "k%05u", (unsigned)rng_below(&r, 900));
            uint64_t what = rng_below(&r, 100);
            if (what < 60) {
                uint64_t n = value_number(i + 1, rng_below(&r, compressed ? 30 : 300));
                MUST(firn_put(b.db, key, strlen(key), value_bytes(n), value_size(n), NULL, error));
            } else if (what < 70) {
                bed_delete(&b, key);
            } else if (what < 96) {
                firn_value v = {0};
                int rc = firn_get(b.db, key, strlen(key), NULL, &v, NULL);
                assert_true(rc == FIRN_OK || rc == FIRN_NOT_FOUND);
                firn_value_release(&v);
            } else if (what < 98) {
                walk(b.db, what == 96);
            } else if (i % 10 == 0) {
                bed_must_close(&b);
                bed_must_open(&b);
            } else if (!compressed || i % 50 == 0) {
                bed_flush(&b);
            }
            check_charges(b.db);
        }
        bed_release(&b);
        assert_int_equal(pages_in_use(), before);
    }
}

/* ---- filters and indexes ---- */

static void get_some(firn *db, uint32_t from, uint32_t count)
{
    for (uint32_t i = from; i < from + count; i += 7) {
        uint8_t key[4] = {(uint8_t)(i >> 24), (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i};
        firn_value v = {0};
        MUST(firn_get(db, key, sizeof key, NULL, &v, error));
        firn_value_release(&v);
    }
}

static void open_with_many_tables(bed *b, uint32_t count)
{
    b->options.segment_bytes = 128 << 10;
    b->options.table_bytes = 128 << 10;
    b->options.durability = FIRN_DURABILITY_NONE;
    b->options.compression = FIRN_COMPRESSION_NONE;
    bed_must_open(b);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t key[4] = {(uint8_t)(i >> 24), (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i};
        MUST(firn_put(b->db, key, sizeof key, key, sizeof key, NULL, error));
    }
    MUST(firn_compact(b->db, NULL, 0, NULL, 0, error));
}

/* All of them do not fit. Those of the tables that are read now come in once and stay. */
static void what_is_used_now_is_what_stays(void **state)
{
    (void)state;
    enum { COUNT = 300000, PART = 15000 };
    bed b;
    bed_on_simfs(&b, 3);
    open_with_many_tables(&b, COUNT);
    for (uint32_t from = 0; from < COUNT; from += COUNT / 3) {
        get_some(b.db, 0, COUNT); /* everything is moved about */
        get_some(b.db, from, PART);
        uint64_t reads = simfs_calls(b.sim, SIMFS_READ);
        get_some(b.db, from, PART);
        assert_int_equal(simfs_calls(b.sim, SIMFS_READ), reads);
        assert_true(budget_parts(&b.db->store->budget) < b.options.memory / 4);
    }
    bed_release(&b);
}

typedef struct busy {
    dead grave;
    atomic_bool begun, over;
} busy;

static void stay_busy(dead *d)
{
    busy *w = (busy *)(void *)((char *)d - offsetof(busy, grave));
    atomic_store(&w->begun, true);
    while (!atomic_load(&w->over))
        usleep(100);
}

static void make_busy(firn *db, busy *w)
{
    *w = (busy){.begun = false};
    cleaner_give(&db->store->cleaner, &w->grave, stay_busy);
    while (!atomic_load(&w->begun))
        usleep(100);
}

/* Loads filters and indexes of the first tables, until the indexes of all others have no room. */
static void fill_parts(firn *db, uint32_t count)
{
    for (uint32_t i = 0; i < count; i += 7) {
        uint64_t left = budget_left(&db->store->budget);
        if (budget_parts(&db->store->budget) + (20 << 10) > left - left / 8)
            break;
        get_some(db, i, 1);
    }
    assert_false(sst_cache_excess(db->store->cache));
}

/* While the cleaner has other work, reads go on, and what they load stays. */
static void a_read_leaves_it_to_the_cleaner_to_trim(void **state)
{
    (void)state;
    enum { COUNT = 300000 };
    bed b;
    busy work;
    bed_on_disk(&b);
    open_with_many_tables(&b, COUNT);
    MUST(firn_settle(b.db, error));
    sst_cache_trim(b.db->store->cache);
    make_busy(b.db, &work);
    get_some(b.db, 0, COUNT);
    assert_true(sst_cache_excess(b.db->store->cache));
    atomic_store(&work.over, true);
    cleaner_wait(&b.db->store->cleaner);
    assert_false(sst_cache_excess(b.db->store->cache));
    get_some(b.db, 0, COUNT);
    cleaner_wait(&b.db->store->cleaner);
    assert_false(sst_cache_excess(b.db->store->cache));
    assert_true(budget_parts(&b.db->store->budget) < b.options.memory / 4);
    bed_must_close(&b); /* what is in memory now depends on when the cleaner ran */
    bed_must_open(&b);
    make_busy(b.db, &work);
    fill_parts(b.db, COUNT);
    firn_iter *it = NULL;
    MUST(firn_iter_new(b.db, NULL, &it, error));
    MUST(firn_iter_first(it));
    for (int rc = FIRN_OK; rc == FIRN_OK;)
        rc = firn_iter_next(it);
    assert_true(sst_cache_excess(b.db->store->cache));
    atomic_store(&work.over, true);
    cleaner_wait(&b.db->store->cleaner);
    assert_false(sst_cache_excess(b.db->store->cache));
    firn_iter_free(it);
    bed_release(&b);
}

/* ---- memtables ---- */

/* Keys without values: the index takes more than the log. */
static void put_small(firn *db, unsigned from, unsigned count)
{
    for (unsigned i = from; i < from + count; i++) {
        char key[16];
        snprintf(key, sizeof key, "%08x", i * 2654435761U);
        MUST(firn_put(db, key, 8, NULL, 0, NULL, error));
    }
}

static void a_memtable_is_rotated_by_log_and_index_together(void **state)
{
    (void)state;
    bed b;
    bed_on_simfs(&b, 3);
    b.options.memory = 8 * MIB;
    b.options.segment_bytes = 8 * MIB;
    b.options.durability = FIRN_DURABILITY_NONE;
    bed_must_open(&b);
    uint64_t most = 0, share = b.db->store->mem_share;
    assert_int_equal(share, 2 * MIB);
    for (unsigned i = 0; i < 120000; i += 100) {
        put_small(b.db, i, 100);
        uint64_t now = charged(b.db, BUDGET_LOG) + charged(b.db, BUDGET_INDEX);
        most = now > most ? now : most;
    }
    assert_true(bed_stats(&b).flushes >= 3);
    assert_true(most < share + MIB); /* a chunk of index */
    assert_true(most > share / 2);
    bed_release(&b);
}

static void a_segment_with_large_values_is_still_filled(void **state)
{
    (void)state;
    bed b;
    bed_on_simfs(&b, 3);
    b.options.memory = 8 * MIB;
    b.options.segment_bytes = MIB;
    b.options.durability = FIRN_DURABILITY_NONE;
    bed_must_open(&b);
    for (unsigned i = 0; i < 5000; i++) {
        uint64_t n = value_number(i + 1, 1000);
        MUST(firn_put(b.db, &i, sizeof i, value_bytes(n), value_size(n), NULL, error));
    }
    firn_stats s = bed_stats(&b);
    assert_int_equal(s.flushes, s.bytes_logged / MIB);
    bed_release(&b);
}

/* All of a batch becomes visible at once, so all of it must be indexed. Then it goes. */
static void the_index_of_a_huge_batch_is_charged_and_given_back(void **state)
{
    (void)state;
    enum { COUNT = 300000 };
    for (int roomy = 0; roomy < 2; roomy++) {
        bed b;
        firn_batch *batch = NULL;
        bed_on_simfs(&b, 3);
        b.options.memory = roomy ? 1024 * MIB : MIB;
        b.options.segment_bytes = 0;
        bed_must_open(&b);
        MUST(firn_batch_new(&batch));
        for (unsigned i = 0; i < COUNT; i++) {
            char key[16];
            snprintf(key, sizeof key, "%08x", i * 2654435761U);
            MUST(firn_batch_put(batch, key, 8, NULL, 0));
        }
        MUST(firn_write(b.db, batch, NULL, NULL, error));
        firn_batch_free(batch);
        check_charges(b.db);
        uint64_t now = charged(b.db, BUDGET_LOG) + charged(b.db, BUDGET_INDEX);
        if (roomy)
            assert_true(now > (uint64_t)COUNT * (16 + 16));
        else
            assert_true(now <= b.db->store->mem_share);
        bed_release(&b);
    }
}

static void a_store_that_is_opened_with_less_memory_adopts_it(void **state)
{
    (void)state;
    for (int threads = 0; threads < 2; threads++) {
        bed b;
        if (threads)
            bed_on_disk(&b);
        else
            bed_on_simfs(&b, 3);
        firn_options_init(&b.options);
        b.options.durability = FIRN_DURABILITY_NONE;
        b.config.close_entries = UINT64_MAX; /* all of it stays in the log */
        bed_must_open(&b);
        for (unsigned i = 0; i < 3000; i++) {
            uint64_t n = value_number(i + 1, 1000);
            MUST(firn_put(b.db, &i, sizeof i, value_bytes(n), value_size(n), NULL, error));
        }
        assert_int_equal(bed_stats(&b).flushes, 0);
        bed_must_close(&b);
        b.options.memory = MIB;
        bed_must_open(&b);
        MUST(firn_settle(b.db, error));
        firn_stats s = bed_stats(&b);
        assert_true(s.flushes > 0);
        assert_true(charged(b.db, BUDGET_LOG) + charged(b.db, BUDGET_INDEX) <=
                    b.db->store->mem_share);
        assert_true(s.memory_bytes <= MIB);
        unsigned last = 2999;
        firn_value v = {0};
        MUST(firn_get(b.db, &last, sizeof last, NULL, &v, error));
        firn_value_release(&v);
        bed_release(&b);
    }
}

/* ---- values that are larger than the memory ---- */

enum { HUGE_COUNT = 24, HUGE_BYTES = 4 << 20 };

/* One value for each key and table, compressed to little. */
static void huge_store(bed *b)
{
    uint8_t *value = heap_zalloc(HUGE_BYTES);
    assert_non_null(value);
    bed_on_simfs(b, 5);
    b->options.memory = MIB;
    b->options.segment_bytes = 0;
    b->options.table_bytes = 32 * MIB;
    b->options.compression = FIRN_COMPRESSION_LZ4;
    bed_must_open(b);
    mutex_lock(&b->db->store->state_mu);
    b->db->store->compaction_rests = true; /* all stay in level 0 */
    mutex_unlock(&b->db->store->state_mu);
    for (unsigned i = 0; i < HUGE_COUNT; i++) {
        char key[8];
        snprintf(key, sizeof key, "k%02u", i);
        memset(value, (int)i + 1, HUGE_BYTES);
        MUST(firn_put(b->db, key, 3, value, HUGE_BYTES, NULL, error));
        bed_flush(b);
    }
    heap_free(value);
    assert_int_equal(bed_stats(b).level_tables[0], HUGE_COUNT);
}

static void check_huge(firn_iter *it, unsigned i)
{
    firn_slice key = firn_iter_key(it), value = firn_iter_value(it);
    assert_true(key.size == 3 && (unsigned)(key.data[1] - '0') * 10 + (key.data[2] - '0') == i);
    assert_int_equal(value.size, HUGE_BYTES);
    assert_true(value.data[0] == i + 1 && value.data[HUGE_BYTES - 1] == i + 1);
}

/* Level 0 has a table for each value, and a merge looks at all of them. */
static void a_scan_over_huge_values_holds_one_at_a_time(void **state)
{
    (void)state;
    bed b;
    huge_store(&b);
    for (int bypass = 0; bypass < 2; bypass++) {
        firn_iter *it = NULL;
        firn_iter_options o;
        firn_iter_options_init(&o);
        o.bypass_cache = bypass != 0;
        MUST(firn_iter_new(b.db, &o, &it, error));
        assert_int_equal(firn_iter_first(it), FIRN_OK);
        for (unsigned i = 0; i < HUGE_COUNT; i++) {
            check_huge(it, i);
            assert_true(charged(b.db, BUDGET_BLOCKS) < HUGE_BYTES + MIB);
            assert_int_equal(firn_iter_next(it), i + 1 < HUGE_COUNT ? FIRN_OK : FIRN_END);
        }
        assert_int_equal(firn_iter_last(it), FIRN_OK);
        for (unsigned i = HUGE_COUNT; i-- > 0;) {
            check_huge(it, i);
            assert_true(charged(b.db, BUDGET_BLOCKS) < HUGE_BYTES + MIB);
            assert_int_equal(firn_iter_prev(it), i > 0 ? FIRN_OK : FIRN_END);
        }
        assert_int_equal(firn_iter_seek(it, "k07", 3), FIRN_OK);
        check_huge(it, 7);
        firn_iter_free(it);
    }
    bed_release(&b);
}

/* Each at another value. They hold what is charged as blocks, and nothing beside it. */
static void backward_iterators_are_refused_like_gets(void **state)
{
    (void)state;
    bed b;
    huge_store(&b);
    for (int bypass = 0; bypass < 2; bypass++) {
        firn_iter *its[HUGE_COUNT] = {0};
        firn_iter_options o;
        firn_error err = {0};
        firn_iter_options_init(&o);
        o.bypass_cache = bypass != 0;
        unsigned held = 0;
        for (unsigned i = 1; i < HUGE_COUNT; i++) {
            char key[8];
            snprintf(key, sizeof key, "k%02u", i);
            o.upper = key;
            o.upper_size = 3;
            MUST(firn_iter_new(b.db, &o, &its[i], error));
            int rc = firn_iter_last(its[i]);
            if (rc == FIRN_OK)
                check_huge(its[i], i - 1), held++;
            else
                assert_int_equal(firn_iter_status(its[i], &err), FIRN_NO_MEMORY);
        }
        assert_int_equal(held, 1);
        assert_non_null(strstr(err.hint, "memory"));
        assert_true(charged(b.db, BUDGET_BLOCKS) <= 2 * MIB + HUGE_BYTES + 8192);
        for (unsigned i = 0; i < HUGE_COUNT; i++)
            firn_iter_free(its[i]);
        assert_true(charged(b.db, BUDGET_BLOCKS) < MIB);
    }
    bed_release(&b);
}

static void values_that_are_held_beyond_twice_the_memory_end_reading_with_a_hint(void **state)
{
    (void)state;
    bed b;
    huge_store(&b);
    firn_value held[HUGE_COUNT] = {{0}};
    unsigned count = 0;
    firn_error err = {0};
    int rc = FIRN_OK;
    for (unsigned i = 0; i < HUGE_COUNT && rc == FIRN_OK; i++) {
        char key[8];
        snprintf(key, sizeof key, "k%02u", i);
        rc = firn_get(b.db, key, 3, NULL, &held[i], &err);
        count += rc == FIRN_OK;
    }
    assert_int_equal(rc, FIRN_NO_MEMORY);
    assert_int_equal(count, 1);
    assert_non_null(strstr(err.hint, "memory"));
    assert_true(charged(b.db, BUDGET_BLOCKS) <= 2 * MIB + HUGE_BYTES + 8192);
    /* The one that is held may be had again, any number of times. */
    firn_value again[24] = {{0}};
    for (unsigned i = 0; i < 24; i++) {
        MUST(firn_get(b.db, "k00", 3, NULL, &again[i], error));
        assert_ptr_equal(again[i].data, held[0].data);
    }
    assert_true(charged(b.db, BUDGET_BLOCKS) <= 2 * MIB + HUGE_BYTES + 8192);
    for (unsigned i = 0; i < 24; i++)
        firn_value_release(&again[i]);
    firn_value_release(&held[0]);
    MUST(firn_get(b.db, "k05", 3, NULL, &held[5], error));
    firn_value_release(&held[5]);
    bed_release(&b);
}

typedef struct asking {
    bed *b;
    unsigned gets;
} asking;

/* Whenever a table is written to, a reader asks for a value that is larger than all that it may hold. */
static int get_huge(void *ctx, unsigned call, uint64_t index, const char *name)
{
    asking *g = ctx;
    firn_value value = {0};
    (void)index;
    if (call != SIMFS_WRITE || !strstr(name, ".tbl"))
        return 0;
    MUST(firn_get(g->b->db, "k05", 3, NULL, &value, error));
    assert_int_equal(value.data[HUGE_BYTES - 1], 6);
    firn_value_release(&value);
    g->gets++;
    return 0;
}

static void merge_huge(bed *b)
{
    mutex_lock(&b->db->store->state_mu);
    b->db->store->compaction_rests = false;
    mutex_unlock(&b->db->store->state_mu);
    MUST(firn_compact(b->db, NULL, 0, NULL, 0, error));
    assert_int_equal(bed_stats(b).level_tables[0], 0);
    assert_int_equal(charged(b->db, BUDGET_SCRATCH), 0);
}

/* One value is all that a reader may hold here. */
static void a_merge_goes_through_while_readers_hold_all_they_may(void **state)
{
    (void)state;
    bed b;
    huge_store(&b);
    firn_value held = {0}, more = {0};
    firn_error err = {0};
    MUST(firn_get(b.db, "k03", 3, NULL, &held, error));
    assert_int_equal(firn_get(b.db, "k04", 3, NULL, &more, &err), FIRN_NO_MEMORY);
    uint64_t before = charged(b.db, BUDGET_BLOCKS);
    merge_huge(&b);
    assert_int_equal(charged(b.db, BUDGET_BLOCKS), before);
    assert_true(((const uint8_t *)held.data)[HUGE_BYTES - 1] == 4);
    firn_value_release(&held);
    for (unsigned i = 0; i < HUGE_COUNT; i++) {
        char key[8];
        snprintf(key, sizeof key, "k%02u", i);
        MUST(firn_get(b.db, key, 3, NULL, &held, error));
        assert_true(((const uint8_t *)held.data)[HUGE_BYTES - 1] == i + 1);
        firn_value_release(&held);
    }
    bed_release(&b);
}

static void a_merge_makes_no_reader_fail(void **state)
{
    (void)state;
    bed b;
    huge_store(&b);
    asking g = {.b = &b};
    simfs_on_call(b.sim, get_huge, &g);
    merge_huge(&b);
    simfs_on_call(b.sim, NULL, NULL);
    assert_true(g.gets > 0);
    bed_release(&b);
}

/* It is a reader as well. */
static void a_scan_past_the_cache_is_refused_like_a_get(void **state)
{
    (void)state;
    bed b;
    huge_store(&b);
    firn_value held = {0};
    firn_iter *it = NULL;
    firn_iter_options o;
    firn_iter_options_init(&o);
    o.bypass_cache = true;
    MUST(firn_get(b.db, "k03", 3, NULL, &held, error));
    MUST(firn_iter_new(b.db, &o, &it, error));
    assert_int_equal(firn_iter_first(it), FIRN_NO_MEMORY);
    firn_value_release(&held);
    assert_int_equal(firn_iter_first(it), FIRN_OK);
    firn_iter_free(it);
    bed_release(&b);
}

/* ---- all kinds of memory, many threads ---- */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { MEASURES_MEMORY = 0 };
#else
enum { MEASURES_MEMORY = 1 };
#endif

/* Bytes of anonymous memory of this process; 0: unknown. */
static uint64_t anonymous(void)
{
    FILE *f = fopen("/proc/self/smaps_rollup", "r");
    char line[256];
    unsigned long kib = 0;
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "Anonymous: %lu kB", &kib) == 1)
            break;
    if (f)
        fclose(f);
    return (uint64_t)kib * 1024;
}

enum { READERS = 8, RECORDS = 60000, RECORD_BYTES = 200 };

typedef struct reading {
    firn *db;
    unsigned seed;
    unsigned wrong;
} reading;

static void read_run(void *arg)
{
    reading *x = arg;
    rng r = rng_init(x->seed);
    for (unsigned i = 0; i < 6000; i++) {
        uint32_t at = (uint32_t)rng_below(&r, RECORDS + RECORDS / 4);
        uint8_t key[4] = {(uint8_t)(at >> 24), (uint8_t)(at >> 16), (uint8_t)(at >> 8),
                          (uint8_t)at};
        firn_value v = {0};
        int rc = firn_get(x->db, key, sizeof key, NULL, &v, NULL);
        uint64_t n = value_number(at + 1, RECORD_BYTES);
        if (at >= RECORDS ? rc != FIRN_NOT_FOUND
                          : rc != FIRN_OK || !value_is(n, (firn_slice){v.data, v.size}))
            x->wrong++;
        firn_value_release(&v);
        if (i % 1500 == 0)
            walk(x->db, i % 3000 == 0);
    }
}

/* Blocks, filters and indexes do not fit; all readers get what is there, and the process stays within its bound. */
static void readers_stay_within_the_memory(void **state)
{
    (void)state;
    bed b;
    bed_on_disk(&b);
    firn_options_init(&b.options);
    b.options.memory = 2 * MIB;
    b.options.table_bytes = 256 << 10;
    b.options.durability = FIRN_DURABILITY_NONE;
    b.options.compression = FIRN_COMPRESSION_LZ4;
    bed_must_open(&b);
    for (uint32_t i = 0; i < RECORDS; i++) {
        uint32_t at = i * 7919U % RECORDS;
        uint8_t key[4] = {(uint8_t)(at >> 24), (uint8_t)(at >> 16), (uint8_t)(at >> 8),
                          (uint8_t)at};
        uint64_t n = value_number(at + 1, RECORD_BYTES);
        MUST(firn_put(b.db, key, sizeof key, value_bytes(n), value_size(n), NULL, error));
    }
    MUST(firn_settle(b.db, error));
    bed_must_close(&b);
    uint64_t before = anonymous();
    bed_must_open(&b);
    thread threads[READERS] = {0};
    reading x[READERS] = {{0}};
    for (unsigned i = 0; i < READERS; i++) {
        x[i] = (reading){.db = b.db, .seed = i + 1};
        assert_int_equal(thread_start(&threads[i], "reader", read_run, &x[i]), 0);
    }
    for (unsigned i = 0; i < READERS; i++) {
        thread_join(&threads[i]);
        assert_int_equal(x[i].wrong, 0);
    }
    uint64_t after = anonymous();
    assert_true(budget_total(&b.db->store->budget) <= b.options.memory);
    if (MEASURES_MEMORY && before && after > before)
        assert_true(after - before <= b.options.memory * 11 / 10 + 16 * MIB);
    bed_release(&b);
}

/* Buffers of the log that no memtable points into: the next segment, and spare ones. */
static void without_mappings_the_log_holds_only_what_memtables_are_charged_for(void **state)
{
    (void)state;
    enum { COUNT = 50000, BYTES = 4000 };
    bed b;
    bed_on_disk(&b);
    b.config.inline_work = true;
    firn_options_init(&b.options);
    b.options.memory = 128 * MIB;
    b.options.never_map = true;
    b.options.durability = FIRN_DURABILITY_NONE;
    uint64_t before = anonymous();
    bed_must_open(&b);
    for (uint32_t i = 0; i < COUNT; i++) {
        MUST(firn_put(b.db, &i, sizeof i, value_bytes(value_number(i + 1, BYTES)), BYTES, NULL,
                      error));
    }
    MUST(firn_flush(b.db, error));
    assert_true(bed_stats(&b).flushes >= COUNT / (16 * MIB / BYTES));
    uint64_t now = anonymous();
    if (MEASURES_MEMORY && before)
        assert_true(now <= before + budget_total(&b.db->store->budget) + 12 * MIB);
    bed_release(&b);
}

/* ---- a bound on the address space ---- */

enum { WIDE_RECORDS = 8000, WIDE_BYTES = 16 << 10, WIDE_MORE = 56 << 20 };

/* In a child: all the store's tables are more than the address space that is left. How many gets failed, up to 100. */
static int read_in_little_space(bed *b)
{
    FILE *f = fopen("/proc/self/statm", "r");
    unsigned long pages = 0, failed = 0;
    if (!f || fscanf(f, "%lu", &pages) != 1)
        return 101;
    fclose(f);
    uint64_t bytes = pages * (uint64_t)sysconf(_SC_PAGESIZE) + WIDE_MORE;
    struct rlimit limit = {bytes, bytes};
    if (setrlimit(RLIMIT_AS, &limit) != 0 || bed_open(b, NULL) != FIRN_OK)
        return 102;
    for (uint32_t i = 0; i < 2 * WIDE_RECORDS; i++) {
        uint32_t at = i * 7919U % WIDE_RECORDS;
        firn_value v = {0};
        int rc = firn_get(b->db, &at, sizeof at, NULL, &v, NULL);
        uint64_t n = value_number(at + 1, WIDE_BYTES);
        failed += rc != FIRN_OK || !value_is(n, (firn_slice){v.data, v.size});
        firn_value_release(&v);
    }
    if (!malloc(12 * MIB)) /* the application's */
        return 103;
    return failed < 100 ? (int)failed : 100;
}

/* In a child of its own: what its heap keeps of background work is no room for readers. */
static int fill_wide(bed *b)
{
    int rc = bed_open(b, NULL);
    for (uint32_t i = 0; i < WIDE_RECORDS && rc == FIRN_OK; i++) {
        uint64_t n = value_number(i + 1, WIDE_BYTES);
        rc = firn_put(b->db, &i, sizeof i, value_bytes(n), value_size(n), NULL, NULL);
    }
    if (rc == FIRN_OK)
        rc = firn_settle(b->db, NULL);
    return rc == FIRN_OK ? firn_close(b->db, NULL) : rc;
}

static int in_child(int (*run)(bed *b), bed *b)
{
    int status = -1;
    pid_t child = fork();
    if (child == 0)
        _exit(run(b));
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void reads_go_on_when_the_address_space_is_full(void **state)
{
    (void)state;
    if (!MEASURES_MEMORY)
        skip(); /* a sanitizer needs all of it */
    bed b;
    bed_on_disk(&b);
    b.config.inline_work = true;
    firn_options_init(&b.options);
    b.options.memory = 16 * MIB;
    b.options.table_bytes = 4 * MIB;
    b.options.durability = FIRN_DURABILITY_NONE;
    b.options.compression = FIRN_COMPRESSION_NONE;
    assert_int_equal(in_child(fill_wide, &b), FIRN_OK);
    assert_int_equal(in_child(read_in_little_space, &b), 0);
    bed_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* The first: heaps of threads that have ended keep their address space. */
        cmocka_unit_test(reads_go_on_when_the_address_space_is_full),
        cmocka_unit_test(the_sum_of_the_charges_is_what_is_held),
        cmocka_unit_test(what_is_used_now_is_what_stays),
        cmocka_unit_test(a_read_leaves_it_to_the_cleaner_to_trim),
        cmocka_unit_test(a_memtable_is_rotated_by_log_and_index_together),
        cmocka_unit_test(a_segment_with_large_values_is_still_filled),
        cmocka_unit_test(the_index_of_a_huge_batch_is_charged_and_given_back),
        cmocka_unit_test(a_store_that_is_opened_with_less_memory_adopts_it),
        cmocka_unit_test(a_merge_goes_through_while_readers_hold_all_they_may),
        cmocka_unit_test(a_merge_makes_no_reader_fail),
        cmocka_unit_test(a_scan_past_the_cache_is_refused_like_a_get),
        cmocka_unit_test(a_scan_over_huge_values_holds_one_at_a_time),
        cmocka_unit_test(backward_iterators_are_refused_like_gets),
        cmocka_unit_test(values_that_are_held_beyond_twice_the_memory_end_reading_with_a_hint),
        cmocka_unit_test(readers_stay_within_the_memory),
        cmocka_unit_test(without_mappings_the_log_holds_only_what_memtables_are_charged_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
