/* Seeded scripts against a sorted array: adds, gets, and an iterator that is moved every way while
 * entries are added under it.
 *
 * An iterator must show every entry that was there when it was last positioned from outside, and
 * may show later ones. So after each movement the test asks: is the order right, and was no entry
 * passed over that was there at the positioning?
 */
#include "bed.h"
#include "model.h"

#include <stdlib.h>
#include <support/rng.h>

#define KEY_BYTES_MAX 96

typedef size_t (*key_fn)(rng *r, unsigned step, uint8_t *key);

static size_t text_key(uint8_t *key, const char *format, unsigned a, unsigned b)
{
    char text[KEY_BYTES_MAX];
    snprintf(text, sizeof text, format, a, b);
    size_t size = strlen(text);
    memcpy(key, text, size);
    return size;
}

static size_t tiny_key(rng *r, unsigned step, uint8_t *key)
{
    (void)step;
    static const uint8_t letters[] = {0, 1, 'a', 0xff};
    size_t size = (size_t)rng_below(r, 5);
    for (size_t i = 0; i < size; i++)
        key[i] = letters[rng_below(r, sizeof letters)];
    return size;
}

static size_t random_key(rng *r, unsigned step, uint8_t *key)
{
    (void)step;
    rng_fill(r, key, 16);
    return 16;
}

static size_t decimal_key(rng *r, unsigned step, uint8_t *key)
{
    (void)step;
    return text_key(key, "user%012u%u", (unsigned)rng_below(r, 3000), 0);
}

static size_t long_key(rng *r, unsigned step, uint8_t *key)
{
    (void)step;
    size_t size = 60 + (size_t)rng_below(r, 30);
    memset(key, 'u', size);
    key[rng_below(r, size)] = (uint8_t)('s' + rng_below(r, 5));
    return size;
}

static size_t hot_key(rng *r, unsigned step, uint8_t *key)
{
    (void)step;
    return text_key(key, "user%u%u", (unsigned)rng_below(r, rng_below(r, 4) ? 2 : 50), 7);
}

static size_t ascending_key(rng *r, unsigned step, uint8_t *key)
{
    (void)r;
    return text_key(key, "user%08u%u", step, 0);
}

static size_t descending_key(rng *r, unsigned step, uint8_t *key)
{
    (void)r;
    return text_key(key, "user%08u%u", 10000000 - step, 0);
}

static size_t stream_key(rng *r, unsigned step, uint8_t *key)
{
    unsigned stream = (unsigned)rng_below(r, 6);
    return text_key(key, "u%u%08u", stream, stream % 2 ? step : 1000000 - step);
}

/* Runs of one kind, then another: what the split rules look at. */
static size_t mixed_key(rng *r, unsigned step, uint8_t *key)
{
    static const key_fn kinds[] = {random_key, decimal_key, ascending_key, descending_key,
                                   hot_key,    stream_key,  tiny_key};
    return kinds[step / 100 % (sizeof kinds / sizeof kinds[0])](r, step, key);
}

typedef struct script {
    bed b;
    model all;
    rng r;
    key_fn make_key;
    unsigned step;
} script;

/* A key near what is there: one of the model's, changed a little or not, or a new one. */
static firn_slice some_key(script *s, uint8_t *space)
{
    size_t size;
    if (s->all.count == 0 || rng_below(&s->r, 4) == 0) {
        size = s->make_key(&s->r, s->step, space);
    } else {
        firn_slice key = s->all.entries[rng_below(&s->r, s->all.count)].key;
        size = key.size;
        if (size)
            memcpy(space, key.data, size);
        switch (rng_below(&s->r, 6)) {
        case 0:
            space[size++] = 0;
            break;
        case 1:
            size -= size > 0;
            break;
        case 2:
            if (size)
                space[size - 1]++;
            break;
        default:
            break;
        }
    }
    return slice_of(space, size);
}

/* Announces an entry: the one that comes next, or another one, or half. It may be any. */
static void approach_some(script *s, firn_slice next)
{
    uint8_t space[KEY_BYTES_MAX + 1];
    switch (rng_below(&s->r, 8)) {
    case 0:
        memtable_approach(s->b.m, some_key(s, space));
        break;
    case 1:
        memtable_approach(s->b.m, some_key(s, space));
        memtable_arrive(s->b.m);
        break;
    case 2:
        memtable_arrive(s->b.m);
        break;
    case 3:
        break;
    default:
        memtable_approach(s->b.m, next);
        memtable_arrive(s->b.m);
    }
}

static void add_some(script *s)
{
    uint32_t offsets[8];
    size_t n = 1 + (size_t)rng_below(&s->r, 8);
    for (size_t i = 0; i < n; i++) {
        uint8_t key[KEY_BYTES_MAX];
        size_t size = s->make_key(&s->r, s->step++, key);
        uint64_t value = rng_next(&s->r);
        bool gone = rng_below(&s->r, 5) == 0;
        offsets[i] = bed_append(&s->b, gone ? FIRN_DELETE : FIRN_PUT, slice_of(key, size),
                                slice_of(&value, gone ? 0 : (size_t)rng_below(&s->r, 9)));
    }
    assert_int_equal(memtable_reserve(s->b.m, n), FIRN_OK);
    for (size_t i = 0; i < n; i++) {
        const uint8_t *p = s->b.log + offsets[i];
        approach_some(s, entry_key(p));
        memtable_add(s->b.m, offsets[i], ++s->b.seq_last);
        model_entry e = {entry_key(p), entry_value(p), s->b.seq_last, p[0]};
        assert_true(model_add(&s->all, e));
    }
}

static uint64_t some_seq(script *s)
{
    uint64_t newest = s->b.seq_last;
    switch (rng_below(&s->r, 5)) {
    case 0:
        return FIRN_MAX_SEQ;
    case 1:
        return BED_SEQ_BASE - 2 + rng_below(&s->r, 5);
    default:
        return BED_SEQ_BASE + rng_below(&s->r, newest - BED_SEQ_BASE + 3);
    }
}

static void assert_same(const model_entry *want, firn_slice key, uint64_t seq, uint8_t kind,
                        firn_slice value)
{
    assert_int_equal(seq, want->seq);
    assert_true(slice_equal(key, want->key));
    assert_int_equal(kind, want->kind);
    assert_true(slice_equal(value, want->value));
}

static void check_get(script *s)
{
    uint8_t space[KEY_BYTES_MAX + 1];
    firn_slice key = some_key(s, space);
    uint64_t seq = some_seq(s);
    size_t at = model_find(&s->all, key, seq);
    bool there = at < s->all.count && slice_equal(s->all.entries[at].key, key);
    memtable_hit hit;
    assert_int_equal(memtable_get(s->b.m, key, seq, &hit), there);
    if (there)
        assert_same(&s->all.entries[at], key, hit.seq, hit.kind, hit.value);
}

/* Are there entries with a number <= seq_max among the model's [from, to)? */
static bool any_between(const model *m, size_t from, size_t to, uint64_t seq_max)
{
    for (size_t i = from; i < to; i++)
        if (m->entries[i].seq <= seq_max)
            return true;
    return false;
}

/* The iterator stands at a true entry; returns that one's index. Not valid: at `otherwise`. */
static size_t where(const script *s, const iter *it, size_t otherwise)
{
    assert_int_equal(it->status, FIRN_OK);
    if (!it->valid)
        return otherwise;
    size_t at = model_find(&s->all, it->key, it->seq);
    assert_true(at < s->all.count);
    assert_same(&s->all.entries[at], it->key, it->seq, it->kind, it->value);
    return at;
}

/* Positions anew; everything that is there now must be seen from now on. */
static void position(script *s, iter *it)
{
    uint8_t space[KEY_BYTES_MAX + 1];
    firn_slice key = some_key(s, space);
    uint64_t seq = some_seq(s);
    size_t count = s->all.count;
    size_t at = model_find(&s->all, key, seq);
    switch (rng_below(&s->r, 6)) {
    case 0:
        it->ops->first(it);
        assert_int_equal(where(s, it, count), 0);
        break;
    case 1:
        it->ops->last(it);
        assert_int_equal(where(s, it, count), count ? count - 1 : count);
        break;
    case 2:
    case 3:
        it->ops->seek(it, key, seq);
        assert_int_equal(where(s, it, count), at);
        break;
    default:
        it->ops->seek_before(it, key, seq);
        assert_int_equal(where(s, it, SIZE_MAX), at ? at - 1 : SIZE_MAX);
        break;
    }
}

static void walk(script *s, iter *it)
{
    position(s, it);
    uint64_t seen_seq = s->b.seq_last;
    uint64_t steps = rng_below(&s->r, 120);
    unsigned forward_of_8 = (unsigned)rng_below(&s->r, 9);
    bool writes = rng_below(&s->r, 2);
    for (uint64_t i = 0; i < steps && it->valid; i++) {
        if (writes && rng_below(&s->r, 4) == 0)
            add_some(s);
        size_t before = model_find(&s->all, it->key, it->seq);
        if (rng_below(&s->r, 8) < forward_of_8) {
            it->ops->next(it);
            size_t after = where(s, it, s->all.count);
            assert_true(after > before);
            assert_false(any_between(&s->all, before + 1, after, seen_seq));
        } else {
            it->ops->prev(it);
            size_t after = where(s, it, SIZE_MAX);
            assert_true(after == SIZE_MAX || after < before);
            assert_false(any_between(&s->all, after + 1, before, seen_seq));
        }
    }
}

static void check_every_position(script *s, iter *it)
{
    const model *all = &s->all;
    size_t i = 0;
    for (it->ops->first(it); it->valid; it->ops->next(it))
        assert_int_equal(where(s, it, all->count), i++);
    assert_int_equal(i, all->count);
    for (it->ops->last(it); it->valid; it->ops->prev(it))
        assert_int_equal(where(s, it, all->count), --i);
    assert_int_equal(i, 0);
    for (i = 0; i < all->count; i++) {
        const model_entry *e = &all->entries[i];
        it->ops->seek(it, e->key, e->seq);
        assert_int_equal(where(s, it, SIZE_MAX), i);
        it->ops->seek_before(it, e->key, e->seq);
        assert_int_equal(where(s, it, SIZE_MAX), i ? i - 1 : SIZE_MAX);
        memtable_hit hit;
        assert_true(memtable_get(s->b.m, e->key, e->seq, &hit));
        assert_same(e, e->key, hit.seq, hit.kind, hit.value);
    }
}

static void run_script(uint64_t seed, key_fn make_key, const char *prefix)
{
    script s = {.r = rng_init(seed), .make_key = make_key, .b = bed_new(2 << 20, prefix)};
    iter *it;
    assert_int_equal(memtable_iter_new(s.b.m, &it), FIRN_OK);
    for (int step = 0; step < 400; step++) {
        add_some(&s);
        check_get(&s);
        check_get(&s);
        if (step % 4 == 0)
            walk(&s, it);
        if (step % 8 == 0 || step < 40)
            memtable_check(s.b.m);
    }
    memtable_check(s.b.m);
    check_every_position(&s, it);
    it->ops->close(it);
    model_release(&s.all);
    bed_free(&s.b);
}

static const char *const PREFIXES[] = {
    "",     "user", "user0000000", "u", "uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu", "user00000015",
    "\x01", "zz",   "\xff\xff\xff"};

static uint64_t running_seed;

static int print_seed(void **state)
{
    (void)state;
    print_message("last seed %llu\n", (unsigned long long)running_seed);
    return 0;
}

static void run_all(uint64_t seed, key_fn make_key)
{
    const char *wanted = getenv("FIRN_TEST_SEED");
    for (size_t p = 0; p < sizeof PREFIXES / sizeof PREFIXES[0]; p++) {
        running_seed = wanted ? strtoull(wanted, NULL, 10) : seed + p;
        run_script(running_seed, make_key, PREFIXES[p]);
    }
}

static void tiny_keys_agree_with_the_model(void **state)
{
    (void)state;
    run_all(1000, tiny_key);
}

static void random_keys_agree_with_the_model(void **state)
{
    (void)state;
    run_all(2000, random_key);
}

static void decimal_keys_agree_with_the_model(void **state)
{
    (void)state;
    run_all(3000, decimal_key);
}

static void long_keys_agree_with_the_model(void **state)
{
    (void)state;
    run_all(4000, long_key);
}

static void hot_keys_agree_with_the_model(void **state)
{
    (void)state;
    run_all(5000, hot_key);
}

static void ascending_keys_agree_with_the_model(void **state)
{
    (void)state;
    run_all(6000, ascending_key);
}

static void descending_keys_agree_with_the_model(void **state)
{
    (void)state;
    run_all(7000, descending_key);
}

static void streams_of_keys_agree_with_the_model(void **state)
{
    (void)state;
    run_all(8000, stream_key);
}

static void mixed_keys_agree_with_the_model(void **state)
{
    (void)state;
    run_all(9000, mixed_key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(tiny_keys_agree_with_the_model, print_seed),
        cmocka_unit_test_teardown(random_keys_agree_with_the_model, print_seed),
        cmocka_unit_test_teardown(decimal_keys_agree_with_the_model, print_seed),
        cmocka_unit_test_teardown(long_keys_agree_with_the_model, print_seed),
        cmocka_unit_test_teardown(hot_keys_agree_with_the_model, print_seed),
        cmocka_unit_test_teardown(ascending_keys_agree_with_the_model, print_seed),
        cmocka_unit_test_teardown(descending_keys_agree_with_the_model, print_seed),
        cmocka_unit_test_teardown(streams_of_keys_agree_with_the_model, print_seed),
        cmocka_unit_test_teardown(mixed_keys_agree_with_the_model, print_seed),
    };
    return cmocka_run_group_tests_name("memtable.model", tests, NULL, NULL);
}
