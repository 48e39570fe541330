/* Memory: what fails when an allocation fails, and that a reservation keeps its word. */
#include "bed.h"

#include "skiplist.h"

#include <support/rng.h>

#define RESERVED 60000

static void making_a_memtable_fails_cleanly_at_every_allocation(void **state)
{
    (void)state;
    uint8_t log[8] = {0};
    memtable_options options = {.log_base = log, .seq_base = 1};
    uint64_t failures = 0;
    for (uint64_t n = 1;; n++) {
        memtable *m = NULL;
        alloc_fail_at(n);
        int rc = memtable_new(&options, &m);
        alloc_fail_at(0);
        if (rc == FIRN_OK) {
            memtable_free(m);
            break;
        }
        assert_int_equal(rc, FIRN_NO_MEMORY);
        assert_null(m);
        failures++;
    }
    assert_true(failures >= 1);
}

static void making_an_iterator_fails_cleanly(void **state)
{
    (void)state;
    bed b = bed_new(64, "");
    iter *it = NULL;
    alloc_fail_at(1);
    assert_int_equal(memtable_iter_new(b.m, &it), FIRN_NO_MEMORY);
    alloc_fail_at(0);
    assert_null(it);
    bed_free(&b);
}

static void a_failed_reservation_changes_nothing_and_may_be_repeated(void **state)
{
    (void)state;
    bed b = bed_new(1 << 20, "");
    for (int i = 0; i < 100; i++)
        bed_put(&b, i % 2 ? "a" : "b", "");
    size_t memory = memtable_memory(b.m);
    uint64_t failures = 0;
    for (uint64_t n = 1;; n++) {
        alloc_fail_at(n);
        int rc = memtable_reserve(b.m, (size_t)RESERVED * n * n);
        alloc_fail_at(0);
        memtable_check(b.m);
        assert_int_equal(memtable_memory(b.m), memory);
        if (rc == FIRN_OK)
            break;
        assert_int_equal(rc, FIRN_NO_MEMORY);
        failures++;
        if (failures == 4)
            assert_int_equal(memtable_reserve(b.m, RESERVED), FIRN_OK);
        if (failures == 6)
            break;
    }
    assert_true(failures >= 1);
    bed_put(&b, "c", "");
    memtable_check(b.m);
    bed_free(&b);
}

/* Keys that split as often as an attacker can make them: runs of every kind, switching. */
static void hostile_key(rng *r, char *key, size_t size, unsigned i)
{
    static unsigned base;
    if (i % 64 == 0)
        base = (unsigned)rng_below(r, 1000000);
    switch (i / 64 % 4) {
    case 0:
        snprintf(key, size, "%08u", base + i % 64);
        break;
    case 1:
        snprintf(key, size, "%08u", base + 64 - i % 64);
        break;
    case 2:
        snprintf(key, size, "%08u", (unsigned)rng_below(r, 1000000));
        break;
    default:
        snprintf(key, size, "%08u", base);
        break;
    }
}

static void adds_within_a_reservation_allocate_nothing(void **state)
{
    (void)state;
    uint64_t seed = 20240;
    rng r = rng_init(seed);
    bed b = bed_new(4 << 20, "");
    uint32_t *offsets = heap_alloc(RESERVED * sizeof *offsets);
    assert_non_null(offsets);
    for (unsigned i = 0; i < RESERVED; i++) {
        char key[16];
        hostile_key(&r, key, sizeof key, i);
        offsets[i] = bed_append(&b, FIRN_PUT, slice_of_str(key), slice_of(NULL, 0));
    }
    unsigned done = 0;
    while (done < RESERVED) {
        unsigned batch = 1 + (unsigned)rng_below(&r, 2000);
        if (batch > RESERVED - done)
            batch = RESERVED - done;
        assert_int_equal(memtable_reserve(b.m, batch), FIRN_OK);
        alloc_fail_at(1);
        for (unsigned i = 0; i < batch; i++, done++)
            memtable_add(b.m, offsets[done], ++b.seq_last);
        if (alloc_count() != 0)
            print_error("seed %llu\n", (unsigned long long)seed);
        assert_int_equal(alloc_count(), 0);
        alloc_fail_at(0);
    }
    memtable_check(b.m);
    assert_int_equal(memtable_entries(b.m), RESERVED);
    heap_free(offsets);
    bed_free(&b);
}

/* Whole splits that the arena can still serve, counted as the worst case takes them. */
static size_t splits_left(const memtable *m)
{
    size_t splits = 0;
    for (const skiplist_chunk *c = m->arena.current; c; c = c->next)
        splits += skiplist_chunk_splits(c);
    return splits;
}

static void a_reservation_covers_a_split_for_each_entry(void **state)
{
    (void)state;
    uint64_t seed = 4242;
    rng r = rng_init(seed);
    bed b = bed_new(1 << 20, "");
    for (unsigned i = 0; i < 3000; i++) {
        size_t entries = (size_t)rng_below(&r, 1 + i);
        assert_int_equal(memtable_reserve(b.m, entries), FIRN_OK);
        if (splits_left(b.m) < entries)
            print_error("seed %llu, step %u\n", (unsigned long long)seed, i);
        assert_true(splits_left(b.m) >= entries);
        char key[16];
        hostile_key(&r, key, sizeof key, i);
        bed_put(&b, key, "");
    }
    bed_free(&b);
}

static void a_reservation_alone_takes_no_memory(void **state)
{
    (void)state;
    bed b = bed_new(64, "");
    size_t before = memtable_memory(b.m);
    assert_int_equal(memtable_reserve(b.m, 1000000), FIRN_OK);
    assert_int_equal(memtable_memory(b.m), before);
    bed_free(&b);
}

/* However many a batch reserves, what counts is what it begins, a window of 4 MiB at a time. */
static void a_large_reservation_counts_what_it_has_begun(void **state)
{
    (void)state;
    enum { ENTRIES = 300000, WINDOW = 4 << 20 };
    bed b = bed_new(32 << 20, "");
    size_t taken = 0;
    assert_int_equal(memtable_reserve(b.m, ENTRIES), FIRN_OK);
    const skiplist_chunk *last = b.m->arena.last;
    assert_int_equal(memtable_reserve(b.m, ENTRIES), FIRN_OK);
    assert_ptr_equal(b.m->arena.last, last); /* what is reserved already counts */
    for (unsigned i = 0; i < ENTRIES; i++) {
        char key[16];
        snprintf(key, sizeof key, "%08u", i * 2654435761u % 100000000u);
        bed_put(&b, key, "");
        if (i % 1000)
            continue;
        taken = 0;
        for (const skiplist_chunk *c = b.m->arena.first; c; c = c->next)
            taken += (size_t)(c->window - (uint8_t *)(uintptr_t)c);
        assert_true(memtable_memory(b.m) <= taken + 4096);
        assert_true(taken <= (size_t)i * 60 + 2 * WINDOW);
    }
    assert_true(taken > 2 * WINDOW); /* so it went from window to window */
    memtable_check(b.m);
    bed_free(&b);
}

static void an_impossible_reservation_is_refused(void **state)
{
    (void)state;
    bed b = bed_new(64, "");
    assert_int_equal(memtable_reserve(b.m, SIZE_MAX), FIRN_NO_MEMORY);
    bed_put(&b, "k", "v");
    memtable_check(b.m);
    bed_free(&b);
}

/* ---- The pool ---- */

#define FILLED 200000 /* entries: several chunks, and two of the largest */

static void fill(bed *b, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        char key[16];
        snprintf(key, sizeof key, "%08u", i * 2654435761u % 100000000u);
        bed_put(b, key, "");
    }
}

typedef struct pooled {
    memory_budget budget;
    memtable_pool *pool;
    bed b;
} pooled;

static void pooled_begin(pooled *p, uint64_t most)
{
    *p = (pooled){.b.log_size = 8 << 20};
    p->b.log = heap_alloc(p->b.log_size);
    assert_non_null(p->b.log);
    assert_int_equal(memtable_pool_new(&p->budget, most, &p->pool), FIRN_OK);
}

/* The next memtable, over an empty log. */
static void pooled_next(pooled *p)
{
    memtable_options options = {.log_base = p->b.log, .seq_base = BED_SEQ_BASE, .pool = p->pool};
    p->b.used = 0;
    p->b.seq_last = BED_SEQ_BASE - 1;
    assert_int_equal(memtable_new(&options, &p->b.m), FIRN_OK);
}

/* What is kept is charged, and to the byte. */
static uint64_t kept(pooled *p)
{
    uint64_t bytes = memtable_pool_bytes(p->pool);
    assert_int_equal(budget_total(&p->budget), bytes);
    assert_int_equal(budget_held(&p->budget, BUDGET_INDEX), bytes);
    return bytes;
}

static void pooled_end(pooled *p)
{
    memtable_pool_free(p->pool);
    assert_int_equal(budget_total(&p->budget), 0);
    heap_free(p->b.log);
}

static void what_one_memtable_has_touched_the_next_one_gets(void **state)
{
    (void)state;
    pooled p;
    pooled_begin(&p, UINT64_MAX);
    pooled_next(&p);
    fill(&p.b, FILLED);
    size_t touched = memtable_memory(p.b.m) - sizeof *p.b.m;
    assert_int_equal(kept(&p), 0);
    memtable_free(p.b.m);
    assert_int_equal(kept(&p), touched);
    uint64_t pages = pages_in_use();
    for (unsigned life = 0; life < 3; life++) {
        pooled_next(&p);
        for (unsigned i = 0; i < 100; i++) {
            fill(&p.b, FILLED / 100 / (life + 1));
            assert_int_equal(memtable_reserve(p.b.m, 50), FIRN_OK); /* lent, and not begun */
            size_t memory = memtable_memory(p.b.m) - sizeof *p.b.m;
            assert_int_equal(kept(&p), touched - memory);
            assert_int_equal(pages_in_use(), pages);
            if (i % 10 == 0)
                memtable_check(p.b.m);
        }
        memtable_free(p.b.m);
        assert_int_equal(kept(&p), touched);
    }
    memtable_pool_clear(p.pool);
    assert_int_equal(kept(&p), 0);
    assert_true(pages_in_use() <= pages - touched);
    pooled_end(&p);
}

static void a_pool_keeps_no_more_than_it_may(void **state)
{
    (void)state;
    enum { MOST = 3 << 20 };
    pooled p;
    pooled_begin(&p, MOST);
    for (unsigned life = 0; life < 3; life++) {
        pooled_next(&p);
        fill(&p.b, FILLED);
        memtable_free(p.b.m);
        assert_true(kept(&p) <= MOST);
        assert_true(kept(&p) > MOST / 2);
    }
    pooled_end(&p);
}

/* Large chunks alone, which lie on huge pages. */
static void a_pool_is_filled_ahead(void **state)
{
    (void)state;
    enum { LARGE = 4 << 20 };
    pooled p;
    pooled_begin(&p, UINT64_MAX);
    uint64_t pages = pages_in_use();
    memtable_pool_fill(p.pool, LARGE - 1); /* a memtable without any */
    assert_int_equal(kept(&p), 0);
    for (unsigned times = 0; times < 2; times++) {
        memtable_pool_fill(p.pool, 4 * LARGE - 1);
        assert_int_equal(kept(&p), 3 * LARGE);
        assert_int_equal(pages_in_use(), pages + 3 * LARGE);
    }
    pooled_next(&p);
    fill(&p.b, FILLED); /* takes two of them */
    assert_int_equal(kept(&p), LARGE);
    memtable_check(p.b.m);
    memtable_free(p.b.m);
    assert_true(kept(&p) > 3 * LARGE);
    pooled_end(&p);
    pooled_begin(&p, 2 * LARGE - 1);
    memtable_pool_fill(p.pool, 5 * LARGE);
    assert_int_equal(kept(&p), LARGE);
    memtable_pool_clear(p.pool);
    alloc_fail_at(1);
    memtable_pool_fill(p.pool, LARGE);
    alloc_fail_at(0);
    assert_int_equal(kept(&p), 0);
    pooled_end(&p);
    pooled_begin(&p, LARGE - 1);
    memtable_pool_fill(p.pool, LARGE);
    assert_int_equal(kept(&p), 0);
    pooled_end(&p);
}

/* Reserved in vain: it has changed no charge, and goes back. */
static void what_was_lent_and_not_begun_comes_back(void **state)
{
    (void)state;
    pooled p;
    pooled_begin(&p, UINT64_MAX);
    pooled_next(&p);
    fill(&p.b, FILLED);
    memtable_free(p.b.m);
    uint64_t bytes = kept(&p), pages = pages_in_use();
    for (unsigned life = 0; life < 3; life++) {
        pooled_next(&p);
        size_t memory = memtable_memory(p.b.m);
        assert_int_equal(memtable_reserve(p.b.m, 400), FIRN_OK); /* 1 MiB */
        assert_int_equal(memtable_memory(p.b.m), memory);
        assert_int_equal(kept(&p), bytes - (memory - sizeof *p.b.m));
        assert_int_equal(pages_in_use(), pages);
        memtable_check(p.b.m);
        memtable_free(p.b.m);
        assert_int_equal(kept(&p), bytes);
        assert_int_equal(pages_in_use(), pages);
    }
    pooled_end(&p);
}

static void what_a_pool_keeps_goes_when_an_allocation_fails(void **state)
{
    (void)state;
    pooled p;
    pooled_begin(&p, UINT64_MAX);
    pooled_next(&p);
    fill(&p.b, FILLED);
    memtable_free(p.b.m);
    uint64_t bytes = kept(&p), pages = pages_in_use();
    assert_true(heap_relieve());
    assert_int_equal(kept(&p), 0);
    assert_int_equal(pages_in_use(), pages - bytes);
    pooled_end(&p);
    assert_false(heap_relieve());
}

/* A large reservation's chunk, and one that was reserved in vain. */
static void what_was_never_touched_is_not_kept(void **state)
{
    (void)state;
    pooled p;
    pooled_begin(&p, UINT64_MAX);
    uint64_t pages = pages_in_use();
    pooled_next(&p);
    size_t touched = memtable_memory(p.b.m) - sizeof *p.b.m;
    assert_int_equal(memtable_reserve(p.b.m, 1000), FIRN_OK);
    assert_int_equal(memtable_reserve(p.b.m, 1000000), FIRN_OK);
    assert_true(pages_in_use() > pages + (64 << 20));
    memtable_free(p.b.m);
    assert_int_equal(kept(&p), touched);
    assert_int_equal(pages_in_use(), pages + touched);
    pooled_end(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(making_a_memtable_fails_cleanly_at_every_allocation),
        cmocka_unit_test(making_an_iterator_fails_cleanly),
        cmocka_unit_test(a_failed_reservation_changes_nothing_and_may_be_repeated),
        cmocka_unit_test(adds_within_a_reservation_allocate_nothing),
        cmocka_unit_test(a_reservation_covers_a_split_for_each_entry),
        cmocka_unit_test(a_reservation_alone_takes_no_memory),
        cmocka_unit_test(a_large_reservation_counts_what_it_has_begun),
        cmocka_unit_test(an_impossible_reservation_is_refused),
        cmocka_unit_test(what_one_memtable_has_touched_the_next_one_gets),
        cmocka_unit_test(a_pool_keeps_no_more_than_it_may),
        cmocka_unit_test(a_pool_is_filled_ahead),
        cmocka_unit_test(what_was_lent_and_not_begun_comes_back),
        cmocka_unit_test(what_a_pool_keeps_goes_when_an_allocation_fails),
        cmocka_unit_test(what_was_never_touched_is_not_kept),
    };
    return cmocka_run_group_tests_name("memtable.memory", tests, NULL, NULL);
}
