/* An iterator of a memtable with limits: what it shows, and how many leaves it copies to get past what it does not show. */
#include "bed.h"

#include "skiplist.h"

/* The iterator once more, with a count of the leaves that it copies. */
static unsigned leaves;
#define skiplist_leaf_sort_from(m, leaf, least, bound, items)                                      \
    (leaves++, (skiplist_leaf_sort_from)(m, leaf, least, bound, items))
#include "memtable_iter.c"

#include "model.h"
#include "support/limits.h"
#include "support/rng.h"

static void random_walks(rng *r, unsigned keys, unsigned entries, const char *prefix)
{
    bed b = bed_new(entries * 32 + 64, prefix);
    model all = {0};
    for (unsigned i = 0; i < entries; i++) {
        char key[24];
        unsigned k = (unsigned)rng_below(r, keys);
        /* Every third entry is of the same key, so that its versions fill leaves. */
        snprintf(key, sizeof key, "%s%u", rng_below(r, 9) ? "key" : "ke", i % 3 ? k : keys / 2);
        bed_put(&b, key, "");
        const uint8_t *p = b.log + b.used - entry_size(strlen(key), 0);
        assert_true(model_add(&all, (model_entry){.key = entry_key(p), .seq = b.seq_last}));
    }
    limits_element *elements = malloc((all.count + 1) * sizeof *elements);
    assert_non_null(elements);
    for (size_t i = 0; i < all.count; i++)
        elements[i] = (limits_element){all.entries[i].key, all.entries[i].seq};
    for (unsigned i = 0; i < 40; i++) {
        iter *it = NULL;
        iter_limits limits = limits_random(elements, all.count, r);
        assert_int_equal(memtable_iter_new(b.m, &it), FIRN_OK);
        it->limits = &limits;
        limits_walk(it, elements, all.count, r, 60);
        it->ops->close(it);
    }
    free(elements);
    model_release(&all);
    bed_free(&b);
}

static void with_limits_it_is_an_iterator_over_what_is_within_them(void **state)
{
    (void)state;
    static const unsigned keys[] = {1, 2, 20, 500};
    rng r = rng_init(7);
    for (unsigned i = 0; i < 4; i++) {
        random_walks(&r, keys[i], 60, "");
        random_walks(&r, keys[i], 1500, i % 2 ? "key" : "");
    }
}

#define MANY 20000
#define FEW  6 /* leaves for one movement */

static void clear(void)
{
    leaves = 0;
}

static void compare(const char *movement)
{
    if (leaves > FEW)
        fail_msg("%s copied %u leaves", movement, leaves);
}

static const limits_price price = {clear, compare};

static void any_number_of_newer_versions_is_passed_in_a_few_leaves(void **state)
{
    (void)state;
    bed b = bed_new(MANY * 32, "");
    uint64_t a = bed_put(&b, "a", ""), hot = bed_put(&b, "hot", ""), z = bed_put(&b, "z", "");
    for (unsigned i = 0; i < MANY; i++)
        bed_put(&b, "hot", "");
    iter *it = NULL;
    iter_limits limits = {.seq_max = z};
    assert_int_equal(memtable_iter_new(b.m, &it), FIRN_OK);
    it->limits = &limits;
    limits_pass_newer_versions(it, &price, a, hot, z);
    it->ops->close(it);
    limits.seq_max = a; /* then the key has no version at all */
    assert_int_equal(memtable_iter_new(b.m, &it), FIRN_OK);
    it->limits = &limits;
    LIMITS_MOVE(&price, it, seek(it, slice_of_str("b"), FIRN_MAX_SEQ), NULL, 0);
    LIMITS_MOVE(&price, it, last(it), "a", a);
    it->ops->close(it);
    bed_free(&b);
}

static void what_lies_beyond_a_bound_is_not_walked_over(void **state)
{
    (void)state;
    bed b = bed_new(MANY * 64, "");
    char key[16];
    uint64_t first = bed_put(&b, "b", ""), last = bed_put(&b, "x", "");
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(key, sizeof key, "%c%07u", i % 2 ? 'a' : 'y', i); /* in front of b, behind x */
        bed_put(&b, key, "");
    }
    iter *it = NULL;
    iter_limits limits = {.lower = slice_of_str("b"), .upper = slice_of_str("y"), .seq_max = last};
    assert_int_equal(memtable_iter_new(b.m, &it), FIRN_OK);
    it->limits = &limits;
    limits_pass_bounds(it, &price, first, last);
    it->ops->close(it);
    bed_free(&b);
}

static void a_movement_that_is_cancelled_enters_no_other_leaf(void **state)
{
    (void)state;
    bed b = bed_new(MANY * 64, "");
    char key[16];
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(key, sizeof key, "%07u", i);
        bed_put(&b, key, "");
    }
    for (int back = 0; back < 2; back++) {
        uint32_t cancelled = 0;
        firn_error error = {0};
        iter *it = NULL;
        iter_limits limits = {.seq_max = FIRN_MAX_SEQ, .cancelled = &cancelled};
        assert_int_equal(memtable_iter_new(b.m, &it), FIRN_OK);
        it->limits = &limits;
        it->error = &error;
        (back ? it->ops->last : it->ops->first)(it);
        assert_true(it->valid);
        leaves = 0;
        cancelled = 1;
        unsigned steps = 0;
        for (; it->valid; steps++)
            (back ? it->ops->prev : it->ops->next)(it);
        assert_in_range(steps, 1, 1000);
        assert_int_equal(leaves, 0);
        assert_int_equal(it->status, FIRN_CANCELLED);
        assert_int_equal(error.status, FIRN_CANCELLED);
        cancelled = 0;
        (back ? it->ops->last : it->ops->first)(it);
        for (steps = 0; it->valid; steps++)
            (back ? it->ops->prev : it->ops->next)(it);
        assert_int_equal(it->status, FIRN_OK);
        assert_int_equal(steps, MANY);
        it->ops->close(it);
    }
    bed_free(&b);
}

static void the_versions_of_a_key_in_one_leaf_are_passed_in_its_copy(void **state)
{
    (void)state;
    bed b = bed_new(1 << 12, "");
    uint64_t a = bed_put(&b, "a", ""), z = bed_put(&b, "z", "");
    for (unsigned i = 0; i < 40; i++)
        bed_put(&b, "hot", "");
    iter *it = NULL;
    iter_limits limits = {.seq_max = b.seq_last};
    assert_int_equal(memtable_iter_new(b.m, &it), FIRN_OK);
    it->limits = &limits;
    it->ops->first(it);
    limits_at(it, "a", a);
    it->ops->next(it);
    limits_at(it, "hot", b.seq_last);
    bed_put(&b, "hot", ""); /* too new */
    leaves = 0;
    it->ops->seek(it, slice_of_str("hot"), 0);
    limits_at(it, "z", z);
    assert_int_equal(leaves, 0);
    it->ops->prev(it);
    limits_at(it, "hot", z + 1);
    leaves = 0;
    it->ops->seek(it, slice_of_str("hot"), FIRN_MAX_SEQ);
    limits_at(it, "hot", b.seq_last - 1);
    it->ops->seek_before(it, slice_of_str("hot"), FIRN_MAX_SEQ);
    limits_at(it, "a", a);
    assert_int_equal(leaves, 0);
    it->ops->close(it);
    bed_free(&b);
}

/* ---- How many there are between two keys ---- */

enum { ENTRIES = 3000, DISTINCT = 500 };

/* The number of the i-th key that is added: ascending, descending, or in any order. */
static unsigned next_key(rng *r, uint64_t seed, unsigned i, char key[16])
{
    unsigned n = seed == 1   ? i % DISTINCT
                 : seed == 2 ? DISTINCT - 1 - i % DISTINCT
                             : (unsigned)rng_below(r, DISTINCT);
    snprintf(key, 16, "%04u", n);
    return n;
}

/* Of every two bounds, against counting: with versions of the same key, and in every order of adding. */
static void entries_between_two_keys_are_counted(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        rng r = rng_init(seed);
        bed b = bed_new(1 << 20, "");
        unsigned counts[DISTINCT] = {0};
        for (unsigned i = 0; i < ENTRIES; i++) {
            char key[16];
            unsigned n = next_key(&r, seed, i, key);
            bed_put(&b, key, "");
            counts[n]++;
        }
        for (unsigned i = 0; i < 2000; i++) {
            unsigned low = (unsigned)rng_below(&r, DISTINCT + 1),
                     high = (unsigned)rng_below(&r, DISTINCT + 1);
            char from[16], to[16];
            snprintf(from, sizeof from, "%04u", low);
            snprintf(to, sizeof to, "%04u", high);
            uint64_t should = 0;
            for (unsigned n = low; n < high; n++)
                should += counts[n];
            assert_int_equal(
                memtable_between(b.m, slice_of_str(from), slice_of_str(to), UINT64_MAX), should);
            uint64_t most = 1 + rng_below(&r, ENTRIES),
                     some = memtable_between(b.m, slice_of_str(from), slice_of_str(to), most);
            assert_true(some == should || (some >= most && some < should));
            for (should = 0; low < DISTINCT; low++)
                should += counts[low];
            assert_int_equal(
                memtable_between(b.m, slice_of_str(from), slice_of(NULL, 0), UINT64_MAX), should);
            for (should = 0; high > 0; high--)
                should += counts[high - 1];
            assert_int_equal(memtable_between(b.m, slice_of(NULL, 0), slice_of_str(to), UINT64_MAX),
                             should);
        }
        assert_int_equal(memtable_between(b.m, slice_of(NULL, 0), slice_of(NULL, 0), UINT64_MAX),
                         ENTRIES);
        bed_free(&b);
    }
}

/* Of random bounds and numbers, against looking at all of them; deletes count for nothing. */
static void puts_behind_a_number_are_found(void **state)
{
    (void)state;
    unsigned found = 0, rounds = 0;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        rng r = rng_init(seed);
        bed b = bed_new(1 << 20, "");
        uint64_t newest[DISTINCT] = {0};
        for (unsigned i = 0; i < ENTRIES; i++) {
            char key[16];
            unsigned n = next_key(&r, seed, i, key);
            if (rng_below(&r, 2)) {
                newest[n] = bed_put(&b, key, "");
            } else {
                bed_add(&b, i % 3 ? FIRN_DELETE : FIRN_DELETE_RANGE, slice_of_str(key),
                        slice_of_str(i % 3 ? "" : "~"));
            }
        }
        for (unsigned i = 0; i < 4000; i++, rounds++) {
            unsigned low = (unsigned)rng_below(&r, DISTINCT),
                     high = low + (unsigned)rng_below(&r, i % 2 ? DISTINCT + 1 - low : 3);
            char from[16], to[16];
            snprintf(from, sizeof from, "%04u", low);
            snprintf(to, sizeof to, "%04u", high);
            uint64_t seq = b.seq_last - rng_below(&r, i % 4 ? 40 : ENTRIES);
            bool should = false;
            for (unsigned n = low; n < high && n < DISTINCT; n++)
                should = should || newest[n] > seq;
            found += should;
            assert_int_equal(memtable_puts_behind(b.m, slice_of_str(from), slice_of_str(to), seq),
                             should);
        }
        assert_false(memtable_puts_behind(b.m, slice_of_str(""), slice_of_str("~"), FIRN_MAX_SEQ));
        assert_true(memtable_puts_behind(b.m, slice_of_str(""), slice_of_str("~"), 0));
        bed_free(&b);
    }
    assert_in_range(found, rounds / 8, rounds - rounds / 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(with_limits_it_is_an_iterator_over_what_is_within_them),
        cmocka_unit_test(any_number_of_newer_versions_is_passed_in_a_few_leaves),
        cmocka_unit_test(what_lies_beyond_a_bound_is_not_walked_over),
        cmocka_unit_test(a_movement_that_is_cancelled_enters_no_other_leaf),
        cmocka_unit_test(the_versions_of_a_key_in_one_leaf_are_passed_in_its_copy),
        cmocka_unit_test(entries_between_two_keys_are_counted),
        cmocka_unit_test(puts_behind_a_number_are_found),
    };
    return cmocka_run_group_tests_name("memtable.limits", tests, NULL, NULL);
}
