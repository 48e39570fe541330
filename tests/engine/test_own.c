/* What a transaction has written, and what it watches, against plain arrays; and the persistent tree
 * below both: that it is balanced, and that its older forms stay. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <base/alloc.h>
#include <base/entry.h>
#include <calls/own.h>

#include "bed.h"

enum { KEYS = 200, MARKS = 8 };

/* Of each key, what was written last: 0: nothing, 1: deleted, else a value. */
typedef struct plain {
    unsigned of[KEYS];
    bool looked[KEYS];
} plain;

static firn_slice key_at(unsigned i)
{
    static char keys[KEYS + 1][16];
    snprintf(keys[i], sizeof keys[i], "%05u", i);
    return slice_of_str(keys[i]);
}

static firn_slice copied(own_writes *o, firn_slice s)
{
    firn_slice copy;
    assert_true(own_copy(o, s, &copy));
    return copy;
}

/* Returns the height, and counts. */
static unsigned check_tree(const cow_node *n, const cow_node **last, size_t *count)
{
    if (!n)
        return 0;
    unsigned left = check_tree(n->left, last, count);
    assert_true(!*last || slice_compare((*last)->key, n->key) < 0);
    *last = n;
    ++*count;
    unsigned right = check_tree(n->right, last, count);
    assert_in_range(left + 1, right, right + 2);
    assert_int_equal(n->height, (left > right ? left : right) + 1);
    return n->height;
}

static void check_ranges(const cow_node *n)
{
    const cow_node *last = NULL;
    size_t count = 0;
    check_tree(n, &last, &count);
    for (const cow_node *at = cow_first(n), *next; at; at = next) {
        firn_slice end = own_of(at)->value;
        const cow_node *same = cow_not_above(n, at->key, &next);
        assert_ptr_equal(same, at);
        assert_true(end.data ? slice_compare(at->key, end) < 0 : !next);
        assert_true(!next || slice_compare(end, next->key) < 0); /* O2: they do not touch */
    }
}

static void check(const own_bucket *b, const plain *p)
{
    const cow_node *last = NULL;
    size_t count = 0;
    check_tree(b->points, &last, &count);
    check_ranges(b->erased);
    check_ranges(b->looked);
    for (unsigned i = 0; i < KEYS; i++) {
        firn_slice value = {0};
        own_answer says = own_get(b, key_at(i), &value);
        assert_int_equal(says, p->of[i] == 0   ? OWN_NOTHING
                               : p->of[i] == 1 ? OWN_DELETED
                                               : OWN_VALUE);
        if (says == OWN_VALUE)
            assert_int_equal(strtoul((const char *)value.data, NULL, 10), p->of[i]);
        assert_int_equal(own_is_looked(b, key_at(i), key_at(i)), p->looked[i]);
    }
}

/* From the key on, and up to it, as the tree of points has them. */
static void check_neighbours(const own_bucket *b, unsigned i)
{
    const own_node *from = own_from(b, key_at(i), false), *behind = own_from(b, key_at(i), true);
    const own_node *up_to = own_up_to(b, key_at(i), false), *before = own_up_to(b, key_at(i), true);
    bool there = from && slice_equal(from->n.key, key_at(i));
    assert_ptr_equal(there ? from : up_to, there ? up_to : before);
    assert_true(there || from == behind);
    assert_true(!behind || slice_compare(behind->n.key, key_at(i)) > 0);
    assert_true(!before || slice_compare(before->n.key, key_at(i)) < 0);
    if (before) /* nothing lies between the two */
        assert_ptr_equal(own_from(b, before->n.key, true), there ? from : behind);
}

static void change(own_writes *o, own_bucket *b, plain *p, rng *r, unsigned serial)
{
    char text[16];
    unsigned i = (unsigned)rng_below(r, KEYS), end = i + 1 + (unsigned)rng_below(r, 12);
    end = end < KEYS ? end : KEYS;
    bool open = end == KEYS && rng_below(r, 2); /* without an end */
    assert_int_equal(own_reserve(o, 2), FIRN_OK);
    switch (rng_below(r, 8)) {
    case 0:
        own_erase(o, b, copied(o, key_at(i)), copied(o, key_at(end)));
        for (unsigned k = i; k < end; k++)
            p->of[k] = 1;
        break;
    case 1:
        own_look(o, b, copied(o, key_at(i)), open ? (firn_slice){0} : copied(o, key_at(end)));
        for (unsigned k = i; k < end; k++)
            p->looked[k] = true;
        break;
    case 2:
    case 3:
        own_write(o, b, FIRN_DELETE, copied(o, key_at(i)), (firn_slice){0});
        p->of[i] = 1;
        break;
    default:
        snprintf(text, sizeof text, "%u", serial + 2);
        own_write(o, b, FIRN_PUT, copied(o, key_at(i)), copied(o, slice_of_str(text)));
        p->of[i] = serial + 2;
    }
}

/* Each key that was written or looked at is in exactly one, and nothing else is. */
static void check_watched(const own_writes *o, const plain *p)
{
    watched *keys;
    size_t count;
    assert_int_equal(own_watched(o, &keys, &count), FIRN_OK);
    for (size_t i = 1; i < count; i++)
        assert_true(slice_compare(keys[i - 1].end, keys[i].first) <= 0 && keys[i - 1].end.data);
    for (unsigned i = 0; i < KEYS; i++) {
        unsigned in = 0;
        for (size_t k = 0; k < count; k++)
            in += slice_compare(keys[k].first, key_at(i)) <= 0 &&
                  (!keys[k].end.data || slice_compare(key_at(i), keys[k].end) < 0);
        assert_int_equal(in, p->of[i] || p->looked[i]);
    }
    heap_free(keys);
}

/* What the batch says of each key: its ranges come in front of its puts and deletes. */
static void check_batch(const own_writes *o, const plain *p)
{
    firn_batch *batch;
    static unsigned got[KEYS];
    memset(got, 0, sizeof got);
    assert_int_equal(firn_batch_new(&batch), FIRN_OK);
    assert_int_equal(own_to_batch(o, batch), FIRN_OK);
    firn_slice all = batch_payload(batch);
    for (const uint8_t *at = all.data; at < all.data + all.size; at += entry_bytes(at)) {
        firn_slice key = entry_key(at), value = entry_value(at);
        for (unsigned i = 0; i < KEYS; i++) {
            bool is = slice_equal(key_at(i), key);
            if (entry_kind(at) == FIRN_DELETE_RANGE)
                is = slice_compare(key, key_at(i)) <= 0 && slice_compare(key_at(i), value) < 0;
            char text[16] = {0};
            if (is && entry_kind(at) == FIRN_PUT)
                memcpy(text, value.data, value.size);
            if (is)
                got[i] = entry_kind(at) == FIRN_PUT ? (unsigned)strtoul(text, NULL, 10) : 1;
        }
    }
    assert_memory_equal(got, p->of, sizeof got);
    firn_batch_free(batch);
}

static void writes_and_united_ranges_are_those_of_a_plain_array(void **state)
{
    (void)state;
    static firn fake;
    static store of;
    fake.store = &of;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        rng r = rng_init(seed);
        own_writes o;
        own_mark marks[MARKS];
        plain p = {0}, then[MARKS];
        size_t count = 0;
        own_init(&o);
        own_bucket *b = own_open(&o, &fake);
        assert_non_null(b);
        for (unsigned i = 0; i < 600; i++) {
            change(&o, b, &p, &r, i);
            check_neighbours(b, (unsigned)rng_below(&r, KEYS));
            if (rng_below(&r, 30) == 0 && count < MARKS) {
                assert_int_equal(own_mark_here(&o, &marks[count]), FIRN_OK);
                then[count++] = p;
            } else if (rng_below(&r, 40) == 0 && count > 0) {
                size_t to = rng_below(&r, count);
                own_go_back(&o, &marks[to]);
                memcpy(p.of, then[to].of, sizeof p.of); /* what was looked at stays */
                while (count > to + 1)
                    own_mark_release(&marks[--count]);
            }
            if (i % 50 == 0) {
                check(b, &p);
                check_watched(&o, &p);
                check_batch(&o, &p);
            }
        }
        check(b, &p);
        while (count)
            own_mark_release(&marks[--count]);
        own_clear(&o);
        assert_null(own_find(&o, &fake));
    }
}

/* Deep paths, and changes that each copy one. */
static void a_tree_that_is_taken_from_its_front_stays_united_and_balanced(void **state)
{
    (void)state;
    static firn fake;
    static store of;
    own_writes o;
    own_mark mark;
    char text[16];
    enum { MANY = 5000 };
    fake.store = &of;
    own_init(&o);
    own_bucket *b = own_open(&o, &fake);
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(text, sizeof text, "%05u", i);
        assert_int_equal(own_reserve(&o, 1), FIRN_OK);
        own_write(&o, b, FIRN_PUT, copied(&o, slice_of_str(text)), (firn_slice){0});
    }
    assert_int_equal(own_mark_here(&o, &mark), FIRN_OK);
    const cow_node *before = b->points;
    for (unsigned i = 0; i < MANY; i += 100) {
        firn_slice from = copied(&o, slice_of_str("00000"));
        snprintf(text, sizeof text, "%05u", i);
        assert_int_equal(own_reserve(&o, 2), FIRN_OK);
        own_erase(&o, b, from, copied(&o, (firn_slice){(uint8_t *)text, i ? 5 : 6}));
        const cow_node *last = NULL;
        size_t count = 0;
        check_tree(b->points, &last, &count);
        assert_int_equal(count, i ? MANY - i : MANY - 1);
        assert_int_equal(own_reserve(&o, 1), FIRN_OK);
    }
    own_go_back(&o, &mark);
    assert_ptr_equal(b->points, before);
    const cow_node *last = NULL;
    size_t count = 0;
    check_tree(b->points, &last, &count);
    assert_int_equal(count, MANY);
    own_mark_release(&mark);
    own_clear(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_and_united_ranges_are_those_of_a_plain_array),
        cmocka_unit_test(a_tree_that_is_taken_from_its_front_stays_united_and_balanced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
