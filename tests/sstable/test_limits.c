/* An iterator of a table with limits: what it shows, and how many blocks and entries it looks at to get past what it does not
 * show. */
#include "reader.h"

/* The iterator once more, with a count of the blocks that it enters and the entries that it decodes. It comes before cmocka,
 * which has a word of its own in common with it. */
static unsigned blocks, entries;
#define sst_block_again(data, size, out) (blocks++, (sst_block_again)(data, size, out))
#define sst_block_entry_at(b, at, out)   (entries++, (sst_block_entry_at)(b, at, out))
#include "iter.c"

#include "table.h"

#include "support/limits.h"

static void random_walks(const shape *s, uint64_t seed, bool mapped)
{
    table t;
    sst_reader *r = NULL;
    firn_error err;
    table_init(&t, 1 << 20);
    t.wo.block_bytes = 512;
    t.ro.mapped = mapped;
    table_seed = seed;
    rng rnd = rng_init(seed);
    model m = model_random(&rnd, s);
    model_sort(&m);
    CHECK(table_build(&t, &m, &err) == FIRN_OK);
    CHECK(table_open(&t, &r, &err) == FIRN_OK);
    limits_element *all = malloc((m.count + 1) * sizeof *all);
    assert_non_null(all);
    for (size_t i = 0; i < m.count; i++)
        all[i] = (limits_element){m.v[i].key, m.v[i].seq};
    for (unsigned i = 0; i < 40; i++) {
        iter *it = NULL;
        iter_limits limits = limits_random(all, m.count, &rnd);
        CHECK(sst_iter_new(r, (sst_use)(i % (SST_WORK + 1)), &it) == FIRN_OK);
        it->limits = &limits;
        limits_walk(it, all, m.count, &rnd, 60);
        it->ops->close(it);
    }
    free(all);
    model_release(&m);
    sst_reader_close(r);
    table_release(&t);
}

static void with_limits_it_is_an_iterator_over_what_is_within_them(void **state)
{
    (void)state;
    static const shape shapes[] = {
        {.keys = 1, .versions_max = 1, .key_max = 3, .value_max = 9, .alphabet = 2},
        {.keys = 400, .versions_max = 1, .key_max = 12, .value_max = 30, .alphabet = 4},
        {.keys = 40, .versions_max = 60, .key_max = 9, .value_max = 20, .alphabet = 3},
        {.keys = 4, .versions_max = 900, .key_max = 4, .prefix = 5, .value_max = 9, .alphabet = 2},
    };
    for (uint64_t seed = 1; seed <= 12; seed++)
        random_walks(&shapes[seed % 4], seed, seed % 3 == 0);
}

#define MANY 20000

typedef struct scenario {
    table t;
    model m;
    sst_reader *r;
    iter_limits limits;
    iter *it;
} scenario;

static void scenario_open(scenario *s)
{
    firn_error err;
    table_init(&s->t, 1 << 20);
    model_sort(&s->m);
    CHECK(table_build(&s->t, &s->m, &err) == FIRN_OK);
    CHECK(table_open(&s->t, &s->r, &err) == FIRN_OK);
    CHECK(sst_iter_new(s->r, SST_FILL, &s->it) == FIRN_OK);
    s->it->limits = &s->limits;
}

static void scenario_end(scenario *s)
{
    s->it->ops->close(s->it);
    sst_reader_close(s->r);
    model_release(&s->m);
    table_release(&s->t);
}

static void add(scenario *s, const char *key, uint64_t seq)
{
    model_add(&s->m, slice_of_str(key), seq, FIRN_PUT, slice_of_str("v"));
}

static void clear(void)
{
    blocks = entries = 0;
}

/* Entries: as many as two blocks may hold. */
static void compare(const char *movement)
{
    if (blocks > 4 || entries > 1000)
        fail_msg("%s: %u blocks, %u entries", movement, blocks, entries);
}

static const limits_price price = {clear, compare};

static void any_number_of_newer_versions_is_passed_in_a_few_blocks(void **state)
{
    (void)state;
    scenario s = {.limits = {.seq_max = 3}};
    add(&s, "a", 1);
    add(&s, "hot", 2);
    add(&s, "z", 3);
    for (uint64_t seq = 4; seq < MANY; seq++)
        add(&s, "hot", seq);
    scenario_open(&s);
    limits_pass_newer_versions(s.it, &price, 1, 2, 3);
    scenario_end(&s);
}

static void what_lies_beyond_a_bound_is_not_walked_over(void **state)
{
    (void)state;
    scenario s = {.limits = {.lower = slice_of_str("b"), .upper = slice_of_str("y"), .seq_max = 2}};
    char key[16];
    add(&s, "b", 1);
    add(&s, "x", 2);
    for (unsigned i = 3; i < MANY; i++) {
        snprintf(key, sizeof key, "%c%07u", i % 2 ? 'a' : 'y', i); /* in front of b, behind x */
        add(&s, key, i);
    }
    scenario_open(&s);
    limits_pass_bounds(s.it, &price, 1, 2);
    scenario_end(&s);
}

static void of_a_block_that_is_all_too_new_one_entry_is_looked_at(void **state)
{
    (void)state;
    scenario s = {.limits = {.seq_max = 2}};
    char key[16];
    add(&s, "a", 1);
    add(&s, "z", 2);
    for (unsigned i = 3; i < MANY; i++) {
        snprintf(key, sizeof key, "k%07u", i);
        add(&s, key, i);
    }
    scenario_open(&s);
    s.it->ops->first(s.it);
    limits_at(s.it, "a", 1);
    blocks = entries = 0;
    s.it->ops->next(s.it);
    limits_at(s.it, "z", 2);
    assert_true(blocks > 50 && entries < blocks + 1000);
    blocks = entries = 0;
    s.it->ops->prev(s.it);
    limits_at(s.it, "a", 1);
    assert_true(blocks > 50 && entries < blocks + 1000);
    scenario_end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(with_limits_it_is_an_iterator_over_what_is_within_them),
        cmocka_unit_test(any_number_of_newer_versions_is_passed_in_a_few_blocks),
        cmocka_unit_test(what_lies_beyond_a_bound_is_not_walked_over),
        cmocka_unit_test(of_a_block_that_is_all_too_new_one_entry_is_looked_at),
    };
    return cmocka_run_group_tests_name("sstable.limits", tests, NULL, NULL);
}
