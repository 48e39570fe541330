/* One writer and several readers: everything that was added before a read began is seen, in order.
 *
 * Key i is computed from i, so that readers know the keys without sharing anything with the writer
 * but the number of the entry published last. cmocka's assertions belong to the main thread;
 * readers count what went wrong instead.
 */
#include "bed.h"

#include <base/hash.h>
#include <base/thread.h>
#include <sched.h>
#include <support/rng.h>

#define READERS     3
#define ENTRIES     24000u
#define KEY_BYTES   16
#define ROUND_EVERY 800

typedef struct shared {
    bed b;
    unsigned pattern;
    uint64_t seed;
    _Atomic uint64_t published; /* entries [0, published) are in; release by the writer */
    atomic_bool done;
    atomic_size_t rounds;
} shared;

typedef struct reader {
    shared *s;
    iter *it;
    uint64_t seed;
    size_t wrong;
    thread t;
} reader;

/* Patterns: 0 random, 1 ascending, 2 descending, 3 few hot keys, 4 streams both ways. */

static firn_slice key_of(const shared *s, uint64_t i, char *space)
{
    uint64_t random = mix64(i ^ s->seed);
    uint64_t a = 0;
    uint64_t b = 0;
    switch (s->pattern) {
    case 0:
        a = random % 100000000;
        break;
    case 1:
        a = i;
        break;
    case 2:
        a = ENTRIES - i;
        break;
    case 3:
        a = random % 8 ? random / 8 % 3 : random % 5000;
        break;
    default:
        a = random % 20;
        b = random % 2 ? i : ENTRIES - i;
        break;
    }
    snprintf(space, 32, "%08u%08u", (unsigned)(a & 0x3ffffff), (unsigned)b);
    return slice_of(space, KEY_BYTES);
}

static size_t check_known(const shared *s, rng *r, iter *it)
{
    uint64_t published = atomic_load_explicit(&s->published, memory_order_acquire);
    size_t wrong = 0;
    for (int n = 0; n < 50 && published > 0; n++) {
        char space[32];
        uint64_t i = rng_below(r, published);
        firn_slice key = key_of(s, i, space);
        uint64_t seq = BED_SEQ_BASE + i;
        memtable_hit hit;
        wrong += !memtable_get(s->b.m, key, seq, &hit) || hit.seq != seq ||
                 hit.value.size != sizeof i || memcmp(hit.value.data, &i, sizeof i) != 0;
        wrong += !memtable_get(s->b.m, key, FIRN_MAX_SEQ, &hit) || hit.seq < seq;
        it->ops->last(it);
        wrong += !it->valid || slice_compare(it->key, key) < 0;
        it->ops->first(it);
        wrong += !it->valid || slice_compare(it->key, key) > 0;
        it->ops->seek(it, key, seq);
        wrong += !it->valid || it->seq != seq || !slice_equal(it->key, key);
        if (!it->valid)
            continue;
        it->ops->prev(it);
        if (it->valid) {
            /* Later entries may lie between; none before the next may be out of order. */
            int c = slice_compare(it->key, key);
            wrong += c > 0 || (c == 0 && it->seq <= seq);
        }
    }
    return wrong;
}

/* A walk over everything sees each entry published before it, once, in order. */
static size_t check_walk(const shared *s, iter *it, bool forward)
{
    uint64_t published = atomic_load_explicit(&s->published, memory_order_acquire);
    uint64_t seq_max = BED_SEQ_BASE + published - 1;
    uint64_t old = 0;
    size_t wrong = 0;
    firn_slice key = {NULL, 0};
    uint64_t seq = 0;
    if (forward)
        it->ops->first(it);
    else
        it->ops->last(it);
    while (it->valid) {
        if (key.data) {
            int c = slice_compare(key, it->key);
            if (c == 0)
                c = (seq < it->seq) - (seq > it->seq);
            wrong += forward ? c >= 0 : c <= 0;
        }
        key = it->key;
        seq = it->seq;
        old += seq <= seq_max;
        if (forward)
            it->ops->next(it);
        else
            it->ops->prev(it);
    }
    return wrong + (old != published);
}

static void read_on(void *arg)
{
    reader *self = arg;
    shared *s = self->s;
    rng r = rng_init(self->seed);
    bool done;
    do {
        /* Read before the round, so that one whole round follows the last entry. */
        done = atomic_load_explicit(&s->done, memory_order_acquire);
        self->wrong += check_known(s, &r, self->it);
        self->wrong += check_walk(s, self->it, rng_below(&r, 2));
        atomic_fetch_add_explicit(&s->rounds, 1, memory_order_relaxed);
    } while (!done);
}

/* The readers finish a round in each stretch of the writing, however few processors there are. */
static void write_all(shared *s)
{
    size_t rounds = 0;
    for (uint64_t i = 0; i < ENTRIES; i++) {
        if (i % ROUND_EVERY == 0) {
            while (atomic_load_explicit(&s->rounds, memory_order_relaxed) < rounds)
                sched_yield();
            rounds = atomic_load_explicit(&s->rounds, memory_order_relaxed) + 1;
        }
        char space[32];
        bed_add(&s->b, FIRN_PUT, key_of(s, i, space), slice_of(&i, sizeof i));
        atomic_store_explicit(&s->published, i + 1, memory_order_release);
    }
    atomic_store_explicit(&s->done, true, memory_order_release);
}

static void run_pattern(unsigned pattern)
{
    shared s = {.pattern = pattern, .seed = 77 + pattern};
    s.b = bed_new((size_t)ENTRIES * 40, pattern % 2 ? "0" : "");
    reader readers[READERS];
    for (unsigned i = 0; i < READERS; i++) {
        readers[i] = (reader){.s = &s, .seed = s.seed * 100 + i};
        assert_int_equal(memtable_iter_new(s.b.m, &readers[i].it), FIRN_OK);
        assert_int_equal(thread_start(&readers[i].t, "reader", read_on, &readers[i]), 0);
    }
    write_all(&s);
    size_t wrong = 0;
    for (unsigned i = 0; i < READERS; i++) {
        thread_join(&readers[i].t);
        readers[i].it->ops->close(readers[i].it);
        wrong += readers[i].wrong;
    }
    if (wrong)
        print_error("pattern %u, seed %llu\n", pattern, (unsigned long long)s.seed);
    assert_int_equal(wrong, 0);
    assert_true(atomic_load(&s.rounds) >= READERS);
    memtable_check(s.b.m);
    assert_int_equal(memtable_entries(s.b.m), ENTRIES);
    bed_free(&s.b);
}

static void readers_see_random_inserts(void **state)
{
    (void)state;
    run_pattern(0);
}

static void readers_see_ascending_inserts(void **state)
{
    (void)state;
    run_pattern(1);
}

static void readers_see_descending_inserts(void **state)
{
    (void)state;
    run_pattern(2);
}

static void readers_see_hot_keys(void **state)
{
    (void)state;
    run_pattern(3);
}

static void readers_see_streams(void **state)
{
    (void)state;
    run_pattern(4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readers_see_random_inserts),
        cmocka_unit_test(readers_see_ascending_inserts),
        cmocka_unit_test(readers_see_descending_inserts),
        cmocka_unit_test(readers_see_hot_keys),
        cmocka_unit_test(readers_see_streams),
    };
    return cmocka_run_group_tests_name("memtable.stress", tests, NULL, NULL);
}
