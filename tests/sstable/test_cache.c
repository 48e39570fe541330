/* The cache: bounded, exact about its bytes, shared by all readers; what is pinned stays. */
#include "table.h"

#include "cache.h"
#include "reader.h"

#include <base/alloc.h>
#include <base/thread.h>

static uint64_t used(const sst_cache *c)
{
    sst_cache_stats s;
    sst_cache_get_stats(c, &s);
    return s.used_bytes;
}

static sst_cached *insert(sst_cache *c, uint64_t owner, uint32_t block, uint32_t size)
{
    sst_cached *e = NULL;
    firn_error err;
    assert_int_equal(sst_cache_reserve(c, owner, block, size, &e, &err), FIRN_OK);
    memset(e->data, (int)(block & 0xff), size);
    return sst_cache_insert(e, true);
}

static uint64_t held(const sst_cache *c)
{
    sst_cache_stats s;
    sst_cache_get_stats(c, &s);
    return s.held_bytes;
}

/* What is charged is what was asked of the system, and never more than the capacity. */
static void check_full(size_t capacity, uint32_t least, uint32_t most)
{
    sst_cache *c;
    uint64_t before = pages_in_use();
    assert_int_equal(sst_cache_new(capacity, &c), FIRN_OK);
    rng rnd = rng_init(31);
    for (uint32_t i = 0; i < 20000; i++) {
        uint32_t size = least + (uint32_t)rng_below(&rnd, most - least + 1);
        sst_cache_unpin(insert(c, 1, i, size));
        assert_true(held(c) <= capacity);
        assert_int_equal(held(c), pages_in_use() - before);
    }
    assert_true(used(c) > capacity / 2);
    assert_true(used(c) <= held(c));
    sst_cache_free(c);
    assert_int_equal(pages_in_use(), before);
}

static void a_full_cache_stays_within_its_capacity(void **state)
{
    (void)state;
    check_full(1 << 20, 0, 9000);
    check_full(64 << 20, 0, 9000);
    check_full(8 << 20, 3000, 60000);
}

/* Blocks as a table has them: what a cache holds, it holds for them. */
static void little_of_a_full_cache_is_wasted(void **state)
{
    (void)state;
    sst_cache *c;
    const size_t capacity = 16 << 20;
    assert_int_equal(sst_cache_new(capacity, &c), FIRN_OK);
    rng rnd = rng_init(32);
    uint32_t found = 0;
    for (uint32_t i = 0; i < 50000; i++)
        sst_cache_unpin(insert(c, 1, i, 3950 + (uint32_t)rng_below(&rnd, 146)));
    for (uint32_t i = 0; i < 50000; i++) {
        sst_cached *e = sst_cache_find(c, 1, i);
        if (e) {
            found++;
            sst_cache_unpin(e);
        }
    }
    assert_true((uint64_t)found * 4096 > capacity - capacity / 8);
    sst_cache_free(c);
}

/* When the sizes of blocks change for good, so does what the memory is cut into. */
static void memory_follows_the_sizes_that_are_asked_for(void **state)
{
    (void)state;
    sst_cache *c;
    const size_t capacity = 4 << 20;
    assert_int_equal(sst_cache_new(capacity, &c), FIRN_OK);
    const uint32_t sizes[] = {4000, 12000, 700, 40000, 4000};
    for (uint32_t round = 0; round < 5; round++) {
        for (uint32_t i = 0; i < 3 * capacity / sizes[round]; i++) {
            sst_cache_unpin(insert(c, round, i, sizes[round]));
            assert_true(held(c) <= capacity);
        }
        uint64_t bytes = 0;
        for (uint32_t i = 0; i < 3 * capacity / sizes[round]; i++) {
            sst_cached *e = sst_cache_find(c, round, i);
            if (e) {
                bytes += sizes[round];
                sst_cache_unpin(e);
            }
        }
        assert_true(bytes > capacity / 2);
    }
    sst_cache_free(c);
}

static void a_found_block_is_the_one_that_was_put_in(void **state)
{
    (void)state;
    sst_cache *c;
    assert_int_equal(sst_cache_new(1 << 20, &c), FIRN_OK);
    uint64_t a = sst_cache_owner(c);
    uint64_t b = sst_cache_owner(c);
    assert_true(a != b);
    assert_null(sst_cache_find(c, a, 7));
    sst_cached *in = insert(c, a, 7, 100);
    sst_cache_unpin(in);
    sst_cached *found = sst_cache_find(c, a, 7);
    assert_ptr_equal(found, in);
    assert_int_equal(found->size, 100);
    assert_int_equal(found->data[99], 7);
    assert_null(sst_cache_find(c, b, 7));
    assert_null(sst_cache_find(c, a, 8));
    sst_cache_stats s;
    sst_cache_get_stats(c, &s);
    assert_int_equal(s.hits, 1);
    assert_int_equal(s.misses, 3);
    sst_cache_unpin(found);
    sst_cache_free(c);
}

static void the_second_of_two_equal_inserts_gets_the_first(void **state)
{
    (void)state;
    sst_cache *c;
    assert_int_equal(sst_cache_new(1 << 20, &c), FIRN_OK);
    sst_cached *first = insert(c, 1, 1, 10);
    uint64_t one = used(c);
    sst_cached *second = insert(c, 1, 1, 10);
    assert_ptr_equal(first, second);
    assert_int_equal(used(c), one);
    sst_cache_unpin(first);
    sst_cache_unpin(second);
    sst_cache_free(c);
}

static void a_pinned_block_is_not_evicted_and_is_shared(void **state)
{
    (void)state;
    sst_cache *c;
    const size_t capacity = 1 << 18;
    assert_int_equal(sst_cache_new(capacity, &c), FIRN_OK);
    sst_cached *pinned = insert(c, 1, 42, 1000);
    for (uint32_t i = 100; i < 3000; i++)
        sst_cache_unpin(insert(c, 1, i, 1000));
    assert_true(held(c) <= capacity);
    sst_cached *again = sst_cache_find(c, 1, 42);
    assert_ptr_equal(again, pinned);
    for (size_t i = 0; i < 1000; i++)
        assert_int_equal(pinned->data[i], 42);
    sst_cache_unpin(again);
    sst_cache_unpin(pinned);
    sst_cache_free(c);
}

/* More than the capacity may be pinned; each block once, and what was too much goes with its pin. */
static void what_comes_when_all_is_pinned_goes_with_its_pin(void **state)
{
    (void)state;
    sst_cache *c;
    enum { COUNT = 600 };
    sst_cached *pins[COUNT];
    const size_t capacity = 1 << 18;
    assert_int_equal(sst_cache_new(capacity, &c), FIRN_OK);
    for (uint32_t i = 0; i < COUNT; i++)
        pins[i] = insert(c, 1, i, 1000);
    for (uint32_t i = 0; i < COUNT; i++) {
        sst_cached *again = sst_cache_find(c, 1, i);
        assert_ptr_equal(again, pins[i]);
        sst_cache_unpin(again);
    }
    assert_true(held(c) > 2 * capacity);
    for (uint32_t i = 0; i < COUNT; i++)
        sst_cache_unpin(pins[i]);
    sst_cache_shrink(c, false);
    assert_true(held(c) <= capacity);
    sst_cache_free(c);
}

static void a_cache_of_no_bytes_keeps_only_what_is_pinned(void **state)
{
    (void)state;
    sst_cache *c;
    assert_int_equal(sst_cache_new(0, &c), FIRN_OK);
    sst_cached *e = insert(c, 1, 1, 10);
    assert_true(used(c) > 0);
    sst_cached *again = sst_cache_find(c, 1, 1);
    assert_ptr_equal(again, e);
    sst_cache_unpin(again);
    sst_cache_unpin(e);
    assert_int_equal(used(c), 0);
    assert_null(sst_cache_find(c, 1, 1));
    sst_cache_free(c);
}

static void one_large_block_does_not_sweep_the_cache(void **state)
{
    (void)state;
    sst_cache *c;
    assert_int_equal(sst_cache_new(1 << 20, &c), FIRN_OK);
    for (uint32_t i = 0; i < 100; i++)
        sst_cache_unpin(insert(c, 1, i, 1000));
    uint64_t before = used(c);
    sst_cached *large = insert(c, 2, 0, 1 << 20);
    sst_cached *again = sst_cache_find(c, 2, 0);
    assert_ptr_equal(again, large);
    sst_cache_unpin(large);
    assert_int_equal(again->data[(1 << 20) - 1], 0);
    sst_cache_unpin(again);
    assert_int_equal(used(c), before);
    assert_null(sst_cache_find(c, 2, 0));
    sst_cache_free(c);
}

/* Twice the budget and one block: then a read is refused, until something is released. */
static void readers_that_hold_too_much_are_refused(void **state)
{
    (void)state;
    sst_cache *c;
    firn_error err;
    memory_budget b = {.limit = 1 << 20, .most = 2 << 20};
    enum { BYTES = 900 << 10 };
    sst_cached *pins[3], *e = NULL;
    assert_int_equal(sst_cache_new_in(&b, (sst_grace){0}, &c), FIRN_OK);
    for (uint32_t i = 0; i < 500; i++)
        sst_cache_unpin(insert(c, 1, i, 1000)); /* what can go is no reason */
    for (uint32_t i = 0; i < 3; i++)
        pins[i] = insert(c, 2, i, BYTES);
    assert_int_equal(sst_cache_reserve(c, 2, 3, BYTES, &e, &err), FIRN_NO_MEMORY);
    assert_non_null(strstr(err.message, "1048576"));
    assert_non_null(strstr(err.hint, "release"));
    assert_true(budget_total(&b) <= (2 << 20) + BYTES + 8192);
    sst_cache_unpin(insert(c, 1, 0, 1000)); /* a small one is not held responsible */
    sst_cache_unpin(pins[1]);
    pins[1] = insert(c, 2, 3, BYTES);
    for (uint32_t i = 0; i < 3; i++)
        sst_cache_unpin(pins[i]);
    sst_cache_free(c);
    assert_int_equal(budget_total(&b), 0);
}

/* A sanitizer's heap ends the process instead. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { HEAP_REFUSES = 0 };
#else
enum { HEAP_REFUSES = 1 };
#endif

/* What the system refuses for want of memory, it is asked for once more when the caches have given what they can. */
static void caches_give_back_when_the_system_has_no_memory(void **state)
{
    (void)state;
    sst_cache *c;
    assert_int_equal(sst_cache_new(4 << 20, &c), FIRN_OK);
    for (uint32_t i = 0; i < 2000; i++)
        sst_cache_unpin(insert(c, 1, i, 4000));
    sst_cached *pinned = insert(c, 1, 5, 4000);
    assert_true(held(c) > 3 << 20);
    assert_null(pages_alloc(SIZE_MAX / 4)); /* more than any address space */
    assert_true(held(c) < 1 << 20);
    assert_int_equal(pinned->data[3999], 5);
    sst_cache_unpin(pinned);
    for (uint32_t i = 0; i < 2000; i++)
        sst_cache_unpin(insert(c, 1, i, 4000));
    if (HEAP_REFUSES) {
        assert_null(heap_alloc(SIZE_MAX / 4));
        assert_true(held(c) < 1 << 20);
    }
    sst_cache_free(c);
    assert_false(heap_relieve());
}

/* What others take of the budget, the cache gives back. */
static void the_cache_has_what_the_others_leave(void **state)
{
    (void)state;
    sst_cache *c;
    memory_budget b = {.limit = 8 << 20, .share = 1 << 20, .most = UINT64_MAX};
    assert_int_equal(sst_cache_new_in(&b, (sst_grace){0}, &c), FIRN_OK);
    for (uint32_t i = 0; i < 5000; i++)
        sst_cache_unpin(insert(c, 1, i, 4000));
    assert_true(held(c) > 6 << 20);
    assert_true(budget_total(&b) <= b.limit - b.share);
    budget_charge(&b, BUDGET_INDEX, 3 << 20);
    budget_charge(&b, BUDGET_SCRATCH, 1 << 20);
    sst_cache_shrink(c, false);
    assert_true(budget_total(&b) <= b.limit);
    for (uint32_t i = 0; i < 5000; i++) {
        sst_cache_unpin(insert(c, 1, i, 4000));
        assert_true(budget_total(&b) <= b.limit);
    }
    budget_release(&b, BUDGET_INDEX, 3 << 20);
    budget_release(&b, BUDGET_SCRATCH, 1 << 20);
    for (uint32_t i = 0; i < 5000; i++)
        sst_cache_unpin(insert(c, 1, i, 4000));
    assert_true(held(c) > 6 << 20);
    sst_cache_free(c);
}

static void a_block_in_use_outlives_blocks_that_are_not(void **state)
{
    (void)state;
    sst_cache *c;
    assert_int_equal(sst_cache_new(1 << 18, &c), FIRN_OK);
    sst_cache_unpin(insert(c, 1, 5, 500));
    for (uint32_t i = 100; i < 5000; i++) {
        sst_cached *e = sst_cache_find(c, 1, 5);
        assert_non_null(e);
        sst_cache_unpin(e);
        sst_cache_unpin(insert(c, 1, i, 500));
    }
    sst_cache_free(c);
}

static void closing_a_reader_gives_its_blocks_back(void **state)
{
    (void)state;
    table t;
    sst_reader *r;
    firn_error err;
    table_init(&t, 1 << 20);
    t.ro.mapped = false;
    table_seed = 32;
    rng rnd = rng_init(table_seed);
    model m = model_random(&rnd, &(shape){500, 1, 10, 0, 40, 256});
    assert_int_equal(table_build(&t, &m, &err), FIRN_OK);
    assert_int_equal(table_open(&t, &r, &err), FIRN_OK);
    table_check_gets(r, &m, &rnd);
    assert_true(used(t.cache) > 0);
    sst_reader_close(r);
    assert_int_equal(used(t.cache), 0);
    model_release(&m);
    table_release(&t);
}

static void a_scan_that_does_not_fill_leaves_the_cache_alone(void **state)
{
    (void)state;
    table t;
    sst_reader *r;
    firn_error err;
    table_init(&t, 1 << 20);
    t.wo.compression = SST_COMPRESSION_LZ4;
    table_seed = 33;
    rng rnd = rng_init(table_seed);
    model m = model_random(&rnd, &(shape){9000, 1, 10, 0, 100, 256});
    assert_int_equal(table_build(&t, &m, &err), FIRN_OK);
    assert_int_equal(table_open(&t, &r, &err), FIRN_OK);
    uint64_t reads = simfs_calls(t.sim, SIMFS_READ);
    table_check_iter(r, &m, SST_PASS);
    reads = simfs_calls(t.sim, SIMFS_READ) - reads;
    assert_int_equal(used(t.cache), 0);
    /* Both ways, in windows and not block by block. */
    assert_true(reads * 8 < 2 * sst_reader_properties(r)->blocks);
    table_check_iter(r, &m, SST_FILL);
    assert_true(used(t.cache) > 0);
    sst_reader_close(r);
    model_release(&m);
    table_release(&t);
}

static void a_value_stays_while_it_is_pinned(void **state)
{
    (void)state;
    table t;
    sst_reader *r;
    firn_error err;
    sst_hit hit;
    table_init(&t, 0);
    t.ro.mapped = false;
    table_seed = 34;
    rng rnd = rng_init(table_seed);
    model m = model_random(&rnd, &(shape){300, 1, 10, 0, 40, 256});
    assert_int_equal(table_build(&t, &m, &err), FIRN_OK);
    assert_int_equal(table_open(&t, &r, &err), FIRN_OK);
    const version *v = &m.v[m.count / 2];
    assert_int_equal(sst_get(r, v->key, sst_key_hash(v->key), v->seq, &hit, &err), FIRN_OK);
    table_check_gets(r, &m, &rnd);
    assert_true(slice_equal(hit.value, v->value));
    sst_pin_release(&hit.pin);
    assert_null(hit.pin.block);
    assert_int_equal(used(t.cache), 0);
    sst_reader_close(r);
    model_release(&m);
    table_release(&t);
}

/* A table with one large value, compressed to little. */
static void large_table(table *t, model *m, size_t cache_bytes, size_t value_bytes)
{
    firn_error err;
    char *value = heap_zalloc(value_bytes);
    assert_non_null(value);
    memset(value, 'v', value_bytes);
    table_init(t, cache_bytes);
    t->wo.compression = SST_COMPRESSION_LZ4;
    *m = (model){.seq_top = 10};
    model_add(m, slice_of_str("key"), 1, FIRN_PUT, (firn_slice){(uint8_t *)value, value_bytes});
    assert_int_equal(table_build(t, m, &err), FIRN_OK);
    heap_free(value);
}

enum { SHARERS = 12, ROUNDS = 20, LARGE_BYTES = 3 << 20 };

typedef struct sharing {
    sst_reader *reader;
    pthread_barrier_t all_hold;
    sst_cache *cache;
    _Atomic uint64_t most;
} sharing;

static void share_run(void *arg)
{
    sharing *s = arg;
    sst_hit hit = {0};
    firn_slice key = slice_of_str("key");
    for (int round = 0; round < ROUNDS; round++) {
        int rc = sst_get(s->reader, key, sst_key_hash(key), 10, &hit, NULL);
        bool right = rc == FIRN_OK && hit.value.size == LARGE_BYTES &&
                     hit.value.data[LARGE_BYTES - 1] == 'v';
        pthread_barrier_wait(&s->all_hold);
        uint64_t now = right ? held(s->cache) : UINT64_MAX, most = atomic_load(&s->most);
        while (now > most && !atomic_compare_exchange_weak(&s->most, &most, now))
            ;
        pthread_barrier_wait(&s->all_hold);
        sst_pin_release(&hit.pin);
        pthread_barrier_wait(&s->all_hold);
    }
}

/* However many readers ask for a block at the same moment, one unpacks it, and all hold that one. */
static void readers_of_one_large_value_hold_it_once(void **state)
{
    (void)state;
    table t;
    model m;
    firn_error err;
    thread threads[SHARERS] = {0};
    large_table(&t, &m, 1 << 20, LARGE_BYTES);
    sharing s = {.cache = t.cache};
    assert_int_equal(table_open(&t, &s.reader, &err), FIRN_OK);
    pthread_barrier_init(&s.all_hold, NULL, SHARERS);
    uint64_t reads = simfs_calls(t.sim, SIMFS_READ);
    for (int i = 0; i < SHARERS; i++)
        assert_int_equal(thread_start(&threads[i], "share", share_run, &s), 0);
    for (int i = 0; i < SHARERS; i++)
        thread_join(&threads[i]);
    assert_true(s.most >= LARGE_BYTES && s.most < LARGE_BYTES + 65536);
    assert_int_equal(simfs_calls(t.sim, SIMFS_READ) - reads, ROUNDS);
    pthread_barrier_destroy(&s.all_hold);
    assert_int_equal(used(t.cache), 0);
    sst_reader_close(s.reader);
    model_release(&m);
    table_release(&t);
}

/* An iterator whose owner sees one value of many lets go of a large one while memory is short, and has its key. */
static void a_lazy_iterator_holds_no_large_value_before_it_is_wanted(void **state)
{
    (void)state;
    table t;
    model m;
    firn_error err;
    sst_reader *r;
    iter *it;
    large_table(&t, &m, 1 << 20, LARGE_BYTES);
    assert_int_equal(table_open(&t, &r, &err), FIRN_OK);
    for (int use = SST_WORK; use >= SST_FILL; use--) {
        assert_int_equal(sst_iter_new(r, (sst_use)use, &it), FIRN_OK);
        it->lazy = true;
        for (int way = 0; way < 3; way++) {
            if (way == 0)
                it->ops->first(it);
            else if (way == 1)
                it->ops->last(it);
            else
                it->ops->seek(it, slice_of_str("k"), 10);
            assert_true(it->valid && it->deferred);
            assert_true(slice_equal(it->key, slice_of_str("key")));
            assert_int_equal(it->value.size, LARGE_BYTES);
            assert_null(it->value.data);
            assert_int_equal(used(t.cache) + sst_cache_outside(t.cache), 0);
            it->ops->fetch(it);
            assert_true(it->valid && !it->deferred && it->value.data[LARGE_BYTES - 1] == 'v');
            assert_true((use == SST_WORK ? sst_cache_outside(t.cache) : used(t.cache)) >
                        LARGE_BYTES);
        }
        it->ops->next(it);
        assert_true(!it->valid && it->status == FIRN_OK);
        it->lazy = false;
        it->ops->first(it);
        assert_true(it->valid && !it->deferred && it->value.data[0] == 'v');
        it->ops->close(it);
        assert_int_equal(used(t.cache), 0);
    }
    sst_reader_close(r);
    model_release(&m);
    table_release(&t);
}

/* ---- filters and indexes ---- */

enum { PART_TABLES = 12 };

typedef struct many {
    table t;
    model m[PART_TABLES];
    sst_reader *r[PART_TABLES];
} many;

/* Tables of 4000 keys: each has about 5 KiB of filter and more of index. */
static void many_open(many *x, size_t cache_bytes)
{
    firn_error err;
    char key[32], name[32];
    table_init(&x->t, cache_bytes);
    for (unsigned n = 0; n < PART_TABLES; n++) {
        sst_writer *w;
        const sst_properties *p;
        x->m[n] = (model){.seq_top = 10};
        x->t.wo.table_no = x->t.ro.table_no = n + 1;
        snprintf(name, sizeof name, "%u.sst", n);
        assert_int_equal(sst_writer_open(x->t.dir, name, &x->t.wo, &w, &err), FIRN_OK);
        for (unsigned i = 0; i < 4000; i++) {
            snprintf(key, sizeof key, "%02u-%06u-with-a-longer-end", n, i);
            if (i % 500 == 0)
                model_add(&x->m[n], slice_of_str(key), 1, FIRN_PUT, slice_of_str(key));
            assert_int_equal(
                sst_writer_add(w, slice_of_str(key), 1, FIRN_PUT, slice_of_str(key), &err),
                FIRN_OK);
        }
        assert_int_equal(sst_writer_finish(w, &p, &err), FIRN_OK);
        sst_writer_free(w);
        assert_int_equal(sst_reader_open(x->t.dir, name, &x->t.ro, &x->r[n], &err), FIRN_OK);
    }
}

static void many_close(many *x)
{
    for (unsigned n = 0; n < PART_TABLES; n++) {
        sst_reader_close(x->r[n]);
        model_release(&x->m[n]);
    }
    sst_cache_stats s;
    sst_cache_get_stats(x->t.cache, &s);
    assert_int_equal(s.part_bytes, 0);
    assert_int_equal(budget_total(sst_cache_budget(x->t.cache)), s.held_bytes);
    table_release(&x->t);
}

static uint64_t part_bytes(const many *x)
{
    sst_cache_stats s;
    sst_cache_get_stats(x->t.cache, &s);
    return s.part_bytes;
}

static void ask(many *x, unsigned n)
{
    for (size_t i = 0; i < x->m[n].count; i++) {
        sst_hit hit;
        firn_slice key = x->m[n].v[i].key;
        assert_int_equal(sst_get(x->r[n], key, sst_key_hash(key), 10, &hit, NULL), FIRN_OK);
        assert_true(slice_equal(hit.value, key));
        sst_pin_release(&hit.pin);
    }
}

/* What all of them take when there is room. */
static uint64_t all_part_bytes(void)
{
    many x;
    many_open(&x, 64 << 20);
    uint64_t bytes = part_bytes(&x);
    uint64_t sum = 0;
    for (unsigned n = 0; n < PART_TABLES; n++)
        sum += sst_reader_memory(x.r[n]);
    assert_true(bytes > PART_TABLES * 5000 && bytes < sum);
    uint64_t reads = simfs_calls(x.t.sim, SIMFS_READ);
    x.t.ro.mapped = true;
    for (unsigned round = 0; round < 3; round++)
        for (unsigned n = 0; n < PART_TABLES; n++)
            ask(&x, n);
    assert_int_equal(part_bytes(&x), bytes);
    assert_int_equal(simfs_calls(x.t.sim, SIMFS_READ), reads); /* nothing was loaded again */
    many_close(&x);
    return bytes;
}

static void filters_and_indexes_stay_within_their_room_and_come_back(void **state)
{
    (void)state;
    many x;
    uint64_t all = all_part_bytes();
    many_open(&x, (size_t)all / 2);
    rng rnd = rng_init(41);
    assert_true(part_bytes(&x) <= all / 2);
    for (unsigned i = 0; i < 300; i++) {
        ask(&x, (unsigned)rng_below(&rnd, PART_TABLES));
        assert_true(part_bytes(&x) <= all / 2);
    }
    uint64_t reads = simfs_calls(x.t.sim, SIMFS_READ);
    for (unsigned i = 0; i < 100; i++)
        ask(&x, i % 2); /* these fit */
    assert_true(simfs_calls(x.t.sim, SIMFS_READ) - reads < 20);
    many_close(&x);
}

/* Iterators keep the index that they use, whatever else comes; one of them at a time is all that a cache of nothing
 * holds. */
static void check_in_use(size_t cache_bytes, unsigned pinned)
{
    many x;
    firn_error err;
    iter *it[PART_TABLES];
    many_open(&x, cache_bytes);
    for (unsigned n = 0; n < pinned; n++) {
        assert_int_equal(sst_iter_new(x.r[n], (sst_use)(n % (SST_WORK + 1)), &it[n]), FIRN_OK);
        it[n]->ops->first(it[n]);
        assert_true(it[n]->valid);
    }
    for (unsigned i = 0; i < 4 * PART_TABLES; i++)
        ask(&x, i % PART_TABLES);
    for (unsigned n = 0; n < pinned; n++) {
        unsigned count = 0;
        for (; it[n]->valid; it[n]->ops->next(it[n]))
            count++;
        assert_int_equal(it[n]->status, FIRN_OK);
        assert_int_equal(count, 4000);
        it[n]->ops->close(it[n]);
        assert_int_equal(sst_verify(x.r[n], &err), FIRN_OK);
    }
    many_close(&x);
}

static void an_index_in_use_stays(void **state)
{
    (void)state;
    check_in_use(0, PART_TABLES);
    check_in_use((size_t)all_part_bytes() / 2, PART_TABLES / 4);
}

/* However many iterators there are, an index without room is there once, as long as one uses it. */
static void what_has_no_room_is_shared_by_those_that_use_it(void **state)
{
    (void)state;
    enum { TIMES = 10 };
    many x;
    iter *it[TIMES][PART_TABLES];
    uint64_t once = 0;
    many_open(&x, 0);
    uint64_t before = part_bytes(&x);
    for (unsigned round = 0; round < TIMES; round++) {
        for (unsigned n = 0; n < PART_TABLES; n++) {
            assert_int_equal(sst_iter_new(x.r[n], SST_FILL, &it[round][n]), FIRN_OK);
            it[round][n]->ops->first(it[round][n]);
            assert_true(it[round][n]->valid);
        }
        once = round == 0 ? part_bytes(&x) : once;
        assert_int_equal(part_bytes(&x), once);
    }
    assert_true(once > before);
    for (unsigned round = 0; round < TIMES; round++)
        for (unsigned n = 0; n < PART_TABLES; n++)
            it[round][n]->ops->close(it[round][n]);
    assert_true(part_bytes(&x) <= before);
    many_close(&x);
}

/* A grace that tells, and that a part may be freed only behind. */
typedef struct waited {
    many *x;
    unsigned calls;
    uint64_t bytes; /* when it was called last */
} waited;

static void wait_for_all(void *ctx)
{
    waited *w = ctx;
    w->calls++;
    w->bytes = part_bytes(w->x);
}

/* With a grace, a get takes no pin; so what loses its home is there until all who were inside have left. */
static void a_part_in_passing_use_outlives_its_home(void **state)
{
    (void)state;
    many x;
    waited w = {.x = &x};
    many_open(&x, 64 << 20);
    uint64_t all = part_bytes(&x);
    sst_cache_budget(x.t.cache)->limit = (size_t)all / 2;
    sst_cache_parts(x.t.cache)->grace = (sst_grace){wait_for_all, &w};
    for (unsigned n = 0; n < PART_TABLES; n++)
        x.r[n]->grace = true;
    for (unsigned n = 0; n < PART_TABLES; n++)
        ask(&x, n);
    assert_int_equal(w.calls, 0);
    sst_cache_trim(x.t.cache);
    assert_int_equal(w.calls, 1);
    assert_int_equal(w.bytes, all); /* nothing was freed before */
    assert_true(part_bytes(&x) <= all / 2);
    /* A get that loads beyond the room asks for a trim, and waits for no other reader. */
    for (unsigned n = 0; n < PART_TABLES; n++)
        ask(&x, n);
    assert_int_equal(w.calls, 1);
    assert_true(sst_cache_excess(x.t.cache));
    assert_true(part_bytes(&x) <= all / 2);
    sst_cache_trim(x.t.cache);
    assert_false(sst_cache_excess(x.t.cache));
    assert_int_equal(w.calls, 2);
    many_close(&x);
}

typedef struct second_reader {
    sst_cache *cache;
    atomic_bool told;
    sst_cached *found;
} second_reader;

static void note_told(void *ctx, firn_log_level lvl, const char *text)
{
    if (lvl == FIRN_LOG_WARNING && strstr(text, "a caller waits until another thread has read"))
        atomic_store(&((second_reader *)ctx)->told, true);
}

static void read_it_too(void *ctx)
{
    second_reader *r = ctx;
    r->found = sst_cache_begin(r->cache, 1, 7, &(sst_load){0});
}

static void a_wait_for_another_reader_names_it(void **state)
{
    (void)state;
    second_reader r = {.told = false};
    wait_list list;
    wait_list_now now = {.waiting = 0};
    sst_load load;
    thread t = {0};
    assert_int_equal(sst_cache_new(1 << 20, &r.cache), FIRN_OK);
    wait_list_init(&list, fs_posix(), note_told, &r);
    sst_cache_watch(r.cache, &list);
    assert_null(sst_cache_begin(r.cache, 1, 7, &load)); /* this one is to read it */
    assert_int_equal(thread_start(&t, "second", read_it_too, &r), 0);
    while (!atomic_load(&r.told))
        thread_yield();
    wait_list_look(&list, &now);
    assert_int_equal(now.longest, FIRN_WAIT_BLOCK);
    sst_cache_unpin(insert(r.cache, 1, 7, 100));
    sst_cache_end(&load);
    thread_join(&t);
    assert_non_null(r.found);
    wait_list_look(&list, &now);
    assert_int_equal(now.done[FIRN_WAIT_BLOCK].count, 1);
    sst_cache_unpin(r.found);
    sst_cache_free(r.cache);
    wait_list_release(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_cache_stays_within_its_capacity),
        cmocka_unit_test(a_found_block_is_the_one_that_was_put_in),
        cmocka_unit_test(the_second_of_two_equal_inserts_gets_the_first),
        cmocka_unit_test(little_of_a_full_cache_is_wasted),
        cmocka_unit_test(memory_follows_the_sizes_that_are_asked_for),
        cmocka_unit_test(a_pinned_block_is_not_evicted_and_is_shared),
        cmocka_unit_test(what_comes_when_all_is_pinned_goes_with_its_pin),
        cmocka_unit_test(readers_that_hold_too_much_are_refused),
        cmocka_unit_test(caches_give_back_when_the_system_has_no_memory),
        cmocka_unit_test(the_cache_has_what_the_others_leave),
        cmocka_unit_test(readers_of_one_large_value_hold_it_once),
        cmocka_unit_test(a_lazy_iterator_holds_no_large_value_before_it_is_wanted),
        cmocka_unit_test(filters_and_indexes_stay_within_their_room_and_come_back),
        cmocka_unit_test(an_index_in_use_stays),
        cmocka_unit_test(what_has_no_room_is_shared_by_those_that_use_it),
        cmocka_unit_test(a_part_in_passing_use_outlives_its_home),
        cmocka_unit_test(a_cache_of_no_bytes_keeps_only_what_is_pinned),
        cmocka_unit_test(one_large_block_does_not_sweep_the_cache),
        cmocka_unit_test(a_block_in_use_outlives_blocks_that_are_not),
        cmocka_unit_test(closing_a_reader_gives_its_blocks_back),
        cmocka_unit_test(a_scan_that_does_not_fill_leaves_the_cache_alone),
        cmocka_unit_test(a_value_stays_while_it_is_pinned),
        cmocka_unit_test(a_wait_for_another_reader_names_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
