/* The memtable's contract, case by case: empty, one entry, versions, limits of keys and numbers. */
#include "bed.h"

#include "skiplist.h"

static void assert_slice(firn_slice got, firn_slice want)
{
    assert_int_equal(got.size, want.size);
    if (want.size)
        assert_memory_equal(got.data, want.data, want.size);
}

static void assert_get(const bed *b, firn_slice key, uint64_t seq_max, uint64_t seq, uint8_t kind,
                       firn_slice value)
{
    memtable_hit hit;
    assert_true(memtable_get(b->m, key, seq_max, &hit));
    assert_int_equal(hit.seq, seq);
    assert_int_equal(hit.kind, kind);
    assert_slice(hit.value, value);
}

static void assert_absent(const bed *b, firn_slice key, uint64_t seq_max)
{
    memtable_hit hit = {.seq = 77};
    assert_false(memtable_get(b->m, key, seq_max, &hit));
    assert_int_equal(hit.seq, 77);
}

static iter *open_iter(const bed *b)
{
    iter *it;
    assert_int_equal(memtable_iter_new(b->m, &it), FIRN_OK);
    assert_false(it->valid);
    assert_int_equal(it->status, FIRN_OK);
    return it;
}

static void assert_at(const iter *it, firn_slice key, uint64_t seq)
{
    assert_true(it->valid);
    assert_int_equal(it->status, FIRN_OK);
    assert_slice(it->key, key);
    assert_int_equal(it->seq, seq);
}

static void assert_ended(const iter *it)
{
    assert_false(it->valid);
    assert_int_equal(it->status, FIRN_OK);
}

static void an_empty_memtable_has_nothing(void **state)
{
    (void)state;
    bed b = bed_new(64, "");
    assert_absent(&b, slice_of_str("a"), FIRN_MAX_SEQ);
    assert_absent(&b, slice_of_str(""), FIRN_MAX_SEQ);
    iter *it = open_iter(&b);
    it->ops->first(it);
    assert_ended(it);
    it->ops->last(it);
    assert_ended(it);
    it->ops->seek(it, slice_of_str("a"), FIRN_MAX_SEQ);
    assert_ended(it);
    it->ops->seek_before(it, slice_of_str("a"), 0);
    assert_ended(it);
    it->ops->close(it);
    assert_int_equal(memtable_entries(b.m), 0);
    assert_int_equal(memtable_deletes(b.m), 0);
    assert_int_equal(memtable_common_prefix(b.m).size, 0);
    memtable_check(b.m);
    bed_free(&b);
}

static void freeing_nothing_is_allowed(void **state)
{
    (void)state;
    memtable_free(NULL);
}

static void a_small_memtable_is_cheap(void **state)
{
    (void)state;
    bed b = bed_new(64, "");
    bed_put(&b, "k", "v");
    assert_true(memtable_memory(b.m) <= 8 << 10);
    bed_free(&b);
}

static void one_entry_is_found_from_its_number_on(void **state)
{
    (void)state;
    bed b = bed_new(64, "");
    uint64_t seq = bed_put(&b, "key", "value");
    firn_slice key = slice_of_str("key");
    assert_get(&b, key, seq, seq, FIRN_PUT, slice_of_str("value"));
    assert_get(&b, key, FIRN_MAX_SEQ, seq, FIRN_PUT, slice_of_str("value"));
    assert_get(&b, key, UINT64_MAX, seq, FIRN_PUT, slice_of_str("value"));
    assert_absent(&b, key, seq - 1);
    assert_absent(&b, key, 0);
    assert_absent(&b, slice_of_str("ke"), seq);
    assert_absent(&b, slice_of_str("keyy"), seq);
    iter *it = open_iter(&b);
    it->ops->seek(it, key, seq);
    assert_at(it, key, seq);
    it->ops->prev(it);
    assert_ended(it);
    it->ops->seek(it, key, seq - 1);
    assert_ended(it);
    it->ops->seek_before(it, key, seq - 1);
    assert_at(it, key, seq);
    it->ops->next(it);
    assert_ended(it);
    it->ops->seek_before(it, key, seq);
    assert_ended(it);
    it->ops->close(it);
    bed_free(&b);
}

static void a_delete_is_an_answer(void **state)
{
    (void)state;
    bed b = bed_new(128, "");
    uint64_t put = bed_put(&b, "k", "v");
    uint64_t gone = bed_add(&b, FIRN_DELETE, slice_of_str("k"), slice_of(NULL, 0));
    assert_get(&b, slice_of_str("k"), gone, gone, FIRN_DELETE, slice_of(NULL, 0));
    assert_get(&b, slice_of_str("k"), put, put, FIRN_PUT, slice_of_str("v"));
    assert_int_equal(memtable_entries(b.m), 2);
    assert_int_equal(memtable_deletes(b.m), 1);
    memtable_check(b.m);
    bed_free(&b);
}

static void keys_differ_by_length_and_nul_bytes(void **state)
{
    (void)state;
    /* In ascending order. */
    static const struct {
        const char *bytes;
        size_t size;
    } keys[] = {{"", 0},
                {"\0", 1},
                {"\0\0", 2},
                {"\0\0\0\0\0\0\0\0", 8},
                {"\0a", 2},
                {"a", 1},
                {"a\0", 2},
                {"a\0\0\0\0\0\0\0\0\0", 10},
                {"a\0b", 3},
                {"aaaaaaaa", 8},
                {"aaaaaaaa\0", 9},
                {"ab", 2},
                {"\xff", 1},
                {"\xff\xff\xff\xff\xff\xff\xff\xff", 8},
                {"\xff\xff\xff\xff\xff\xff\xff\xff\0", 9}};
    enum { KEYS = sizeof keys / sizeof keys[0] };
    static const char *const prefixes[] = {"", "a", "aaaaaaaa", "\xff", "zzz"};
    for (size_t p = 0; p < sizeof prefixes / sizeof prefixes[0]; p++) {
        bed b = bed_new(1024, prefixes[p]);
        uint64_t seqs[KEYS];
        for (size_t i = 0; i < KEYS; i++) {
            size_t at = (i * 7) % KEYS; /* out of order */
            uint8_t value = (uint8_t)at;
            seqs[at] =
                bed_add(&b, FIRN_PUT, slice_of(keys[at].bytes, keys[at].size), slice_of(&value, 1));
        }
        memtable_check(b.m);
        iter *it = open_iter(&b);
        it->ops->first(it);
        for (size_t i = 0; i < KEYS; i++) {
            uint8_t value = (uint8_t)i;
            firn_slice key = slice_of(keys[i].bytes, keys[i].size);
            assert_get(&b, key, FIRN_MAX_SEQ, seqs[i], FIRN_PUT, slice_of(&value, 1));
            assert_at(it, key, seqs[i]);
            it->ops->next(it);
        }
        assert_ended(it);
        it->ops->close(it);
        bed_free(&b);
    }
}

static void the_longest_keys_are_ordinary(void **state)
{
    (void)state;
    bed b = bed_new(1 << 20, "xx");
    uint8_t *key = heap_alloc(FIRN_MAX_KEY_BYTES);
    assert_non_null(key);
    memset(key, 'x', FIRN_MAX_KEY_BYTES);
    firn_slice whole = slice_of(key, FIRN_MAX_KEY_BYTES);
    firn_slice shorter = slice_of(key, FIRN_MAX_KEY_BYTES - 1);
    uint64_t seq_whole = bed_add(&b, FIRN_PUT, whole, slice_of_str("whole"));
    uint64_t seq_shorter = bed_add(&b, FIRN_PUT, shorter, slice_of_str("shorter"));
    key[FIRN_MAX_KEY_BYTES - 1] = 'y';
    uint64_t seq_y = bed_add(&b, FIRN_PUT, whole, slice_of_str("y"));
    assert_get(&b, whole, FIRN_MAX_SEQ, seq_y, FIRN_PUT, slice_of_str("y"));
    key[FIRN_MAX_KEY_BYTES - 1] = 'x';
    assert_get(&b, whole, FIRN_MAX_SEQ, seq_whole, FIRN_PUT, slice_of_str("whole"));
    assert_get(&b, shorter, FIRN_MAX_SEQ, seq_shorter, FIRN_PUT, slice_of_str("shorter"));
    iter *it = open_iter(&b);
    it->ops->first(it);
    assert_at(it, shorter, seq_shorter);
    it->ops->next(it);
    assert_at(it, whole, seq_whole);
    it->ops->close(it);
    assert_int_equal(memtable_common_prefix(b.m).size, FIRN_MAX_KEY_BYTES - 1);
    heap_free(key);
    bed_free(&b);
}

static void a_batch_may_name_one_key_many_times(void **state)
{
    (void)state;
    enum { ENTRIES = 200 };
    bed b = bed_new(16 << 10, "");
    uint32_t offsets[ENTRIES];
    for (uint32_t i = 0; i < ENTRIES; i++)
        offsets[i] = bed_append(&b, i % 3 ? FIRN_PUT : FIRN_DELETE, slice_of_str("same"),
                                slice_of(&i, i % 3 ? sizeof i : 0));
    assert_int_equal(memtable_reserve(b.m, ENTRIES), FIRN_OK);
    for (uint32_t i = 0; i < ENTRIES; i++)
        memtable_add(b.m, offsets[i], BED_SEQ_BASE + i);
    memtable_check(b.m);
    for (uint32_t i = 0; i < ENTRIES; i++)
        assert_get(&b, slice_of_str("same"), BED_SEQ_BASE + i, BED_SEQ_BASE + i,
                   i % 3 ? FIRN_PUT : FIRN_DELETE, slice_of(&i, i % 3 ? sizeof i : 0));
    iter *it = open_iter(&b);
    it->ops->first(it);
    for (uint32_t i = ENTRIES; i-- > 0; it->ops->next(it))
        assert_at(it, slice_of_str("same"), BED_SEQ_BASE + i);
    assert_ended(it);
    it->ops->close(it);
    bed_free(&b);
}

static void every_version_of_a_hot_key_is_found_among_others(void **state)
{
    (void)state;
    enum { VERSIONS = 5000 };
    bed b = bed_new(1 << 20, "");
    for (int i = 0; i < 40; i++) {
        char key[16];
        snprintf(key, sizeof key, "%c%d", i % 2 ? 'g' : 'i', i);
        bed_put(&b, key, "");
    }
    uint64_t seqs[VERSIONS];
    for (int i = 0; i < VERSIONS; i++) {
        seqs[i] = bed_put(&b, "hot", "");
        if (i % 5 == 0)
            bed_put(&b, "hos", "");
        if (i % 7 == 0)
            bed_put(&b, "hou", "");
    }
    memtable_check(b.m);
    for (int i = 0; i < VERSIONS; i++) {
        assert_get(&b, slice_of_str("hot"), seqs[i], seqs[i], FIRN_PUT, slice_of(NULL, 0));
        if (i > 0)
            assert_get(&b, slice_of_str("hot"), seqs[i] - 1, seqs[i - 1], FIRN_PUT,
                       slice_of(NULL, 0));
    }
    assert_absent(&b, slice_of_str("hot"), seqs[0] - 1);
    bed_free(&b);
}

static void numbers_reach_both_ends_of_their_range(void **state)
{
    (void)state;
    uint64_t base = FIRN_MAX_SEQ - UINT32_MAX;
    bed b = bed_new_at(256, slice_of(NULL, 0), base);
    assert_int_equal(memtable_reserve(b.m, 2), FIRN_OK);
    memtable_add(b.m, bed_append(&b, FIRN_PUT, slice_of_str("k"), slice_of_str("old")), base);
    memtable_add(b.m, bed_append(&b, FIRN_PUT, slice_of_str("k"), slice_of_str("new")),
                 FIRN_MAX_SEQ);
    assert_get(&b, slice_of_str("k"), base, base, FIRN_PUT, slice_of_str("old"));
    assert_get(&b, slice_of_str("k"), FIRN_MAX_SEQ - 1, base, FIRN_PUT, slice_of_str("old"));
    assert_get(&b, slice_of_str("k"), FIRN_MAX_SEQ, FIRN_MAX_SEQ, FIRN_PUT, slice_of_str("new"));
    assert_absent(&b, slice_of_str("k"), base - 1);
    iter *it = open_iter(&b);
    it->ops->seek(it, slice_of_str("k"), base - 1);
    assert_ended(it);
    it->ops->seek_before(it, slice_of_str("k"), base - 1);
    assert_at(it, slice_of_str("k"), base);
    it->ops->seek(it, slice_of_str("k"), UINT64_MAX);
    assert_at(it, slice_of_str("k"), FIRN_MAX_SEQ);
    it->ops->close(it);
    bed_free(&b);
}

static void entries_with_one_number_come_newest_first(void **state)
{
    (void)state;
    bed b = bed_new(128, "");
    assert_int_equal(memtable_reserve(b.m, 2), FIRN_OK);
    memtable_add(b.m, bed_append(&b, FIRN_PUT, slice_of_str("k"), slice_of_str("1")), 1000);
    memtable_add(b.m, bed_append(&b, FIRN_PUT, slice_of_str("k"), slice_of_str("2")), 1000);
    assert_get(&b, slice_of_str("k"), 1000, 1000, FIRN_PUT, slice_of_str("2"));
    iter *it = open_iter(&b);
    it->ops->seek(it, slice_of_str("k"), 1000);
    assert_at(it, slice_of_str("k"), 1000);
    assert_slice(it->value, slice_of_str("2"));
    it->ops->close(it);
    bed_free(&b);
}

static void the_common_prefix_is_what_all_keys_share(void **state)
{
    (void)state;
    bed b = bed_new(64 << 10, "");
    char key[32];
    for (int i = 0; i < 500; i++) {
        snprintf(key, sizeof key, "user%06d", (i * 7919) % 1000);
        bed_put(&b, key, "");
    }
    assert_slice(memtable_common_prefix(b.m), slice_of_str("user000"));
    bed_put(&b, "us", "");
    assert_slice(memtable_common_prefix(b.m), slice_of_str("us"));
    bed_put(&b, "zebra", "");
    assert_int_equal(memtable_common_prefix(b.m).size, 0);
    bed_free(&b);
}

static void a_prefix_beyond_the_limit_is_cut(void **state)
{
    (void)state;
    char prefix[MEMTABLE_PREFIX_MAX + 20];
    memset(prefix, 'p', sizeof prefix - 1);
    prefix[sizeof prefix - 1] = 0;
    bed b = bed_new(4096, prefix);
    assert_int_equal(b.m->prefix_size, MEMTABLE_PREFIX_MAX);
    prefix[70] = 'q';
    uint64_t q = bed_put(&b, prefix, "");
    prefix[70] = 'o';
    uint64_t o = bed_put(&b, prefix, "");
    prefix[3] = 'a';
    uint64_t a = bed_put(&b, prefix, "");
    memtable_check(b.m);
    iter *it = open_iter(&b);
    it->ops->first(it);
    assert_int_equal(it->seq, a);
    it->ops->next(it);
    assert_int_equal(it->seq, o);
    it->ops->next(it);
    assert_int_equal(it->seq, q);
    it->ops->close(it);
    bed_free(&b);
}

/* ---- The moment in the middle of a split, held still. ---- */

static void walk_once(const bed *b, uint64_t seq_max, bool forward)
{
    iter *it = open_iter(b);
    bool seen[LEAF_CAPACITY] = {false};
    firn_slice before = {NULL, 0};
    if (forward)
        it->ops->first(it);
    else
        it->ops->last(it);
    for (; it->valid; forward ? it->ops->next(it) : it->ops->prev(it)) {
        if (before.data) {
            int c = slice_compare(before, it->key);
            assert_true(forward ? c < 0 : c > 0);
        }
        before = it->key;
        if (it->seq > seq_max)
            continue;
        assert_false(seen[it->seq - BED_SEQ_BASE]);
        seen[it->seq - BED_SEQ_BASE] = true;
    }
    for (size_t i = 0; i < LEAF_CAPACITY; i++)
        assert_true(seen[i]);
    it->ops->close(it);
}

/* Fills the head's leaf, adds `key` so that it is split, and gives the head its old leaf back: what a reader
 * meets after the new node was linked and before the leaf is switched. */
static void hold_split(unsigned first, unsigned step, const char *key)
{
    bed b = bed_new(8192, "");
    char space[LEAF_CAPACITY][16];
    for (unsigned i = 0; i < LEAF_CAPACITY; i++) {
        snprintf(space[i], sizeof space[i], "%02u", (first + i * step) % LEAF_CAPACITY);
        bed_put(&b, space[i], "");
    }
    uint64_t seq_max = b.seq_last;
    skiplist_leaf *old = atomic_load(&b.m->head->leaf);
    bed_put(&b, key, "");
    skiplist_leaf *fresh = atomic_load(&b.m->head->leaf);
    assert_ptr_not_equal(old, fresh);
    assert_non_null(atomic_load(&b.m->head->next[0]));

    atomic_store(&b.m->head->leaf, old);
    walk_once(&b, seq_max, true);
    walk_once(&b, seq_max, false);
    iter *it = open_iter(&b);
    for (unsigned i = 0; i < LEAF_CAPACITY; i++) {
        assert_get(&b, slice_of_str(space[i]), seq_max, BED_SEQ_BASE + i, FIRN_PUT,
                   slice_of(NULL, 0));
        it->ops->seek(it, slice_of_str(space[i]), seq_max);
        assert_at(it, slice_of_str(space[i]), BED_SEQ_BASE + i);
    }
    it->ops->close(it);

    atomic_store(&b.m->head->leaf, fresh);
    memtable_check(b.m);
    walk_once(&b, seq_max, true);
    walk_once(&b, seq_max, false);
    bed_free(&b);
}

static void a_reader_in_the_middle_of_a_split_sees_each_entry_once(void **state)
{
    (void)state;
    hold_split(0, 10, "305"); /* cut, the new entry in the lower part */
    hold_split(0, 10, "505"); /* cut, in the upper part */
    hold_split(0, 10, "999"); /* cut, above all others */
    hold_split(LEAF_CAPACITY - 1, LEAF_CAPACITY - 1, "/"); /* sink */
}

/* ---- What the index costs: the bytes that leaves and nodes take, without the unused end of
 * chunks. ---- */

static double bytes_per_entry(const memtable *m)
{
    size_t bytes = 0;
    for (const skiplist_chunk *c = m->arena.first; c; c = c->next)
        bytes += (size_t)(c->window - (uint8_t *)(uintptr_t)c) - (size_t)(c->high - c->low);
    return (double)bytes / (double)memtable_entries(m);
}

enum pattern { ASCENDING, DESCENDING, STREAMS_UP, STREAMS_DOWN, DOWN_TO_A_FULL_LEAF, RANDOM, HOT };

static double cost_of(enum pattern pattern)
{
    enum { ENTRIES = 20000 };
    bed b = bed_new(2 << 20, "");
    for (unsigned i = 0; i < ENTRIES; i++) {
        char key[32];
        switch (pattern) {
        case ASCENDING:
            snprintf(key, sizeof key, "%08u", i);
            break;
        case DESCENDING:
            snprintf(key, sizeof key, "%08u", ENTRIES - i);
            break;
        case STREAMS_UP:
            snprintf(key, sizeof key, "%02u-%08u", i % 50, i);
            break;
        case STREAMS_DOWN:
            snprintf(key, sizeof key, "%02u-%08u", i % 50, ENTRIES - i);
            break;
        case DOWN_TO_A_FULL_LEAF:
            if (i < LEAF_CAPACITY)
                snprintf(key, sizeof key, "a%08u", i);
            else
                snprintf(key, sizeof key, "z%08u", ENTRIES - i);
            break;
        case RANDOM:
            snprintf(key, sizeof key, "%08u", (i * 2654435761u) >> 4);
            break;
        case HOT:
            snprintf(key, sizeof key, "%08u", i % 100 ? 7 : i);
            break;
        }
        bed_put(&b, key, "");
    }
    memtable_check(b.m);
    double cost = bytes_per_entry(b.m);
    bed_free(&b);
    return cost;
}

static void ordered_inserts_waste_nothing(void **state)
{
    (void)state;
    assert_true(cost_of(ASCENDING) < 19);
    assert_true(cost_of(DESCENDING) < 19);
    assert_true(cost_of(STREAMS_UP) < 26);
}

static void runs_in_the_middle_and_hot_keys_waste_little(void **state)
{
    (void)state;
    assert_true(cost_of(STREAMS_DOWN) < 48);
    assert_true(cost_of(DOWN_TO_A_FULL_LEAF) < 40);
    assert_true(cost_of(HOT) < 40);
}

static void random_inserts_waste_as_much_as_they_keep(void **state)
{
    (void)state;
    assert_true(cost_of(RANDOM) < 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_memtable_has_nothing),
        cmocka_unit_test(freeing_nothing_is_allowed),
        cmocka_unit_test(a_small_memtable_is_cheap),
        cmocka_unit_test(one_entry_is_found_from_its_number_on),
        cmocka_unit_test(a_delete_is_an_answer),
        cmocka_unit_test(keys_differ_by_length_and_nul_bytes),
        cmocka_unit_test(the_longest_keys_are_ordinary),
        cmocka_unit_test(a_batch_may_name_one_key_many_times),
        cmocka_unit_test(every_version_of_a_hot_key_is_found_among_others),
        cmocka_unit_test(numbers_reach_both_ends_of_their_range),
        cmocka_unit_test(entries_with_one_number_come_newest_first),
        cmocka_unit_test(the_common_prefix_is_what_all_keys_share),
        cmocka_unit_test(a_prefix_beyond_the_limit_is_cut),
        cmocka_unit_test(a_reader_in_the_middle_of_a_split_sees_each_entry_once),
        cmocka_unit_test(ordered_inserts_waste_nothing),
        cmocka_unit_test(runs_in_the_middle_and_hot_keys_waste_little),
        cmocka_unit_test(random_inserts_waste_as_much_as_they_keep),
    };
    return cmocka_run_group_tests_name("memtable.basics", tests, NULL, NULL);
}
