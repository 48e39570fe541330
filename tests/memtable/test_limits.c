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
#define movement(call)                                                                             \
    do {                                                                                           \
        leaves = 0;                                                                                \
        it->ops->call;                                                                             \
        if (leaves > FEW)                                                                          \
            fail_msg("%s copied %u leaves", #call, leaves);                                        \
    } while (0)

static void at(const iter *it, const char *key, uint64_t seq)
{
    assert_int_equal(it->valid, key != NULL);
    if (!key)
        return;
    assert_true(slice_equal(it->key, slice_of_str(key)));
    assert_int_equal(it->seq, seq);
}

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
    movement(first(it));
    at(it, "a", a);
    movement(next(it));
    at(it, "hot", hot);
    movement(next(it));
    at(it, "z", z);
    movement(prev(it));
    at(it, "hot", hot);
    movement(prev(it));
    at(it, "a", a);
    movement(prev(it));
    at(it, NULL, 0);
    movement(seek(it, slice_of_str("hot"), FIRN_MAX_SEQ));
    at(it, "hot", hot);
    movement(seek(it, slice_of_str("b"), FIRN_MAX_SEQ));
    at(it, "hot", hot);
    movement(seek_before(it, slice_of_str("hot"), FIRN_MAX_SEQ));
    at(it, "a", a);
    movement(seek_before(it, slice_of_str("hot"), z));
    at(it, "a", a);
    movement(last(it));
    at(it, "z", z);
    it->ops->close(it);
    limits.seq_max = a; /* then the key has no version at all */
    assert_int_equal(memtable_iter_new(b.m, &it), FIRN_OK);
    it->limits = &limits;
    movement(seek(it, slice_of_str("b"), FIRN_MAX_SEQ));
    at(it, NULL, 0);
    movement(last(it));
    at(it, "a", a);
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
    iter_limits limits = {slice_of_str("b"), slice_of_str("y"), last};
    assert_int_equal(memtable_iter_new(b.m, &it), FIRN_OK);
    it->limits = &limits;
    movement(first(it));
    at(it, "b", first);
    movement(next(it));
    at(it, "x", last);
    movement(next(it));
    at(it, NULL, 0);
    movement(last(it));
    at(it, "x", last);
    movement(prev(it));
    at(it, "b", first);
    movement(prev(it));
    at(it, NULL, 0);
    movement(seek(it, slice_of_str("xx"), FIRN_MAX_SEQ));
    at(it, NULL, 0);
    movement(seek(it, slice_of_str("yy"), FIRN_MAX_SEQ));
    at(it, NULL, 0);
    movement(seek_before(it, slice_of_str("b"), FIRN_MAX_SEQ));
    at(it, NULL, 0);
    movement(seek_before(it, slice_of_str("zz"), FIRN_MAX_SEQ));
    at(it, "x", last);
    it->ops->close(it);
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
    at(it, "a", a);
    it->ops->next(it);
    at(it, "hot", b.seq_last);
    bed_put(&b, "hot", ""); /* too new */
    leaves = 0;
    it->ops->seek(it, slice_of_str("hot"), 0);
    at(it, "z", z);
    assert_int_equal(leaves, 0);
    it->ops->prev(it);
    at(it, "hot", z + 1);
    leaves = 0;
    it->ops->seek(it, slice_of_str("hot"), FIRN_MAX_SEQ);
    at(it, "hot", b.seq_last - 1);
    it->ops->seek_before(it, slice_of_str("hot"), FIRN_MAX_SEQ);
    at(it, "a", a);
    assert_int_equal(leaves, 0);
    it->ops->close(it);
    bed_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(with_limits_it_is_an_iterator_over_what_is_within_them),
        cmocka_unit_test(any_number_of_newer_versions_is_passed_in_a_few_leaves),
        cmocka_unit_test(what_lies_beyond_a_bound_is_not_walked_over),
        cmocka_unit_test(the_versions_of_a_key_in_one_leaf_are_passed_in_its_copy),
    };
    return cmocka_run_group_tests_name("memtable.limits", tests, NULL, NULL);
}
