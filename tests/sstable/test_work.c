/* The store's own work beside readers that hold as much as they may: neither makes the other fail. */
#include "table.h"

#include "cache.h"
#include "reader.h"

#include <base/alloc.h>
#include <errno.h>

static uint64_t held(const sst_cache *c)
{
    sst_cache_stats s;
    sst_cache_get_stats(c, &s);
    return s.held_bytes;
}

enum { WORK_ITERS = 8, WORK_AT = 4, WORK_KEYS = 400 };

/* Keys "0000" to "0399", with values that fill a block each, compressed to little. `most` is what readers may hold. */
static void work_table(table *t, sst_reader **r, size_t value_bytes, uint64_t most)
{
    firn_error err;
    model m = {.seq_top = 10};
    char key[8];
    uint8_t *value = heap_alloc(value_bytes);
    assert_non_null(value);
    table_init(t, (size_t)most / 2);
    sst_cache_budget(t->cache)->most = most;
    t->wo.compression = SST_COMPRESSION_LZ4;
    for (unsigned i = 0; i < WORK_KEYS && i * value_bytes < 8 * most; i++) {
        snprintf(key, sizeof key, "%04u", i);
        memset(value, (int)i & 0xff, value_bytes);
        model_add(&m, slice_of_str(key), 1, FIRN_PUT, (firn_slice){value, value_bytes});
    }
    heap_free(value);
    assert_int_equal(table_build(t, &m, &err), FIRN_OK);
    assert_int_equal(table_open(t, r, &err), FIRN_OK);
    model_release(&m);
}

static int get_numbered(sst_reader *r, unsigned i, sst_hit *hit)
{
    char key[8];
    firn_error err;
    snprintf(key, sizeof key, "%04u", i);
    int rc = sst_get(r, slice_of_str(key), sst_key_hash(slice_of_str(key)), 10, hit, &err);
    assert_true(rc != FIRN_OK || hit->value.data[hit->value.size - 1] == (i & 0xff));
    return rc;
}

/* Gets from number `first` on until one is refused; the number of values that are held. */
static unsigned hold_all_that_goes(sst_reader *r, unsigned first, sst_hit *hits)
{
    unsigned count = 0;
    int rc = FIRN_OK;
    while (first + count < WORK_KEYS &&
           (rc = get_numbered(r, first + count, &hits[count])) == FIRN_OK)
        count++;
    assert_int_equal(rc, FIRN_NO_MEMORY);
    assert_true(count > 1);
    return count;
}

static void release_all(sst_hit *hits, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        sst_pin_release(&hits[i].pin);
}

/* As many walks as a merge has inputs, each on a block of its own. */
static void begin_walks(sst_reader *r, iter *its[WORK_ITERS])
{
    for (unsigned n = 0; n < WORK_ITERS; n++) {
        assert_int_equal(sst_iter_new(r, SST_WORK, &its[n]), FIRN_OK);
        its[n]->ops->first(its[n]);
        for (unsigned i = 0; i < n + WORK_AT; i++)
            its[n]->ops->next(its[n]);
        assert_true(its[n]->valid);
    }
}

static void end_walks(iter *its[WORK_ITERS])
{
    for (unsigned n = 0; n < WORK_ITERS; n++)
        its[n]->ops->close(its[n]);
}

/* Blocks with pages of their own, and blocks in slabs. */
static const struct {
    size_t value_bytes;
    uint64_t most;
} work_cases[] = {{900 << 10, 2 << 20}, {12000, 1 << 20}};

/* Readers hold what they may, and the next one is refused: the store's own work goes on. */
static void work_goes_on_while_readers_hold_all_they_may(void **state)
{
    (void)state;
    for (size_t c = 0; c < sizeof work_cases / sizeof work_cases[0]; c++) {
        table t;
        sst_reader *r;
        sst_hit hits[WORK_KEYS];
        iter *it;
        work_table(&t, &r, work_cases[c].value_bytes, work_cases[c].most);
        unsigned count = hold_all_that_goes(r, 0, hits);
        uint64_t before = held(t.cache), seen = 0;
        assert_int_equal(sst_iter_new(r, SST_WORK, &it), FIRN_OK);
        for (it->ops->first(it); it->valid; it->ops->next(it), seen++) {
            assert_int_equal(it->value.size, work_cases[c].value_bytes);
            assert_int_equal(it->value.data[it->value.size - 1], seen & 0xff);
            assert_int_equal(held(t.cache), before);
        }
        assert_int_equal(it->status, FIRN_OK);
        assert_int_equal(seen, sst_reader_properties(r)->entries);
        it->ops->close(it);
        assert_int_equal(sst_iter_new(r, SST_PASS, &it), FIRN_OK); /* a user's scan is a reader */
        for (it->ops->first(it); it->valid;)
            it->ops->next(it);
        assert_int_equal(it->status, FIRN_NO_MEMORY);
        it->ops->close(it);
        release_all(hits, count);
        sst_reader_close(r);
        table_release(&t);
    }
}

/* However much it has in hand, readers may hold as much as without it. What the cache happens to have of that is not
 * pinned by it either. */
static void work_makes_no_reader_fail(void **state)
{
    (void)state;
    const unsigned behind = WORK_AT + WORK_ITERS;
    for (size_t c = 0; c < sizeof work_cases / sizeof work_cases[0]; c++) {
        table t;
        sst_reader *r;
        sst_hit hits[WORK_KEYS];
        iter *its[WORK_ITERS];
        work_table(&t, &r, work_cases[c].value_bytes, work_cases[c].most);
        memory_budget *b = sst_cache_budget(t.cache);
        unsigned alone = hold_all_that_goes(r, behind, hits);
        release_all(hits, alone);
        for (unsigned i = 0; i < behind; i++) {
            assert_int_equal(get_numbered(r, i, &hits[i]), FIRN_OK);
            sst_pin_release(&hits[i].pin);
        }
        begin_walks(r, its);
        assert_true(sst_cache_outside(t.cache) > WORK_ITERS * work_cases[c].value_bytes);
        assert_true(budget_held(b, BUDGET_SCRATCH) > sst_cache_outside(t.cache));
        assert_int_equal(hold_all_that_goes(r, behind, hits), alone);
        end_walks(its);
        assert_int_equal(sst_cache_outside(t.cache), 0);
        assert_int_equal(budget_held(b, BUDGET_SCRATCH), 0);
        release_all(hits, alone);
        sst_reader_close(r);
        table_release(&t);
    }
}

/* Values that are half packed away, each in a block of its own. */
static void packed_table(table *t, sst_reader **r, model *m, unsigned count, size_t value_bytes,
                         size_t limit)
{
    firn_error err;
    char key[8];
    rng rnd = rng_init(3);
    uint8_t *value = heap_zalloc(value_bytes);
    assert_non_null(value);
    *m = (model){.seq_top = 10};
    table_init(t, limit);
    t->wo.compression = SST_COMPRESSION_LZ4;
    for (unsigned i = 0; i < count; i++) {
        snprintf(key, sizeof key, "%04u", i);
        rng_fill(&rnd, value, value_bytes / 2);
        value[value_bytes - 1] = (uint8_t)i;
        model_add(m, slice_of_str(key), 1, FIRN_PUT, (firn_slice){value, value_bytes});
    }
    heap_free(value);
    assert_int_equal(table_build(t, m, &err), FIRN_OK);
    assert_int_equal(table_open(t, r, &err), FIRN_OK);
}

/* However many readers come for values that are too many: each is refused before it has taken a
 * block as it is stored. */
static void a_refused_reader_has_read_no_block(void **state)
{
    (void)state;
    table t;
    sst_reader *r;
    sst_hit hits[WORK_KEYS], one;
    model m;
    packed_table(&t, &r, &m, 8, 1 << 20, 1 << 20);
    sst_cache_budget(t.cache)->most = 2 << 20;
    unsigned held = hold_all_that_goes(r, 0, hits);
    uint64_t before = simfs_faults_hit(t.sim);
    simfs_fail(t.sim, (simfs_fault){.calls = SIMFS_READ, .at = 2, .error = EIO});
    alloc_fail_at(UINT64_MAX);
    assert_int_equal(get_numbered(r, held, &one), FIRN_NO_MEMORY);
    assert_int_equal(alloc_count(), 0); /* it has read a trailer alone */
    alloc_fail_at(0);
    assert_int_equal(simfs_faults_hit(t.sim), before);
    simfs_heal(t.sim);
    release_all(hits, held);
    assert_int_equal(get_numbered(r, held, &one), FIRN_OK);
    sst_pin_release(&one.pin);
    model_release(&m);
    sst_reader_close(r);
    table_release(&t);
}

/* Scans that pass the cache by have so much for their windows together; those that come then read
 * block by block, and show the same. */
static void windows_of_scans_are_bounded(void **state)
{
    (void)state;
    enum { SCANS = 40 };
    table t;
    sst_reader *r;
    iter *its[SCANS];
    model m;
    packed_table(&t, &r, &m, 100, 4 << 10, 1 << 20);
    memory_budget *b = sst_cache_budget(t.cache);
    for (unsigned n = 0; n < SCANS; n++) {
        assert_int_equal(sst_iter_new(r, SST_PASS, &its[n]), FIRN_OK);
        its[n]->ops->first(its[n]);
    }
    assert_in_range(budget_held(b, BUDGET_SCRATCH), 256 << 10, 512 << 10);
    for (size_t i = 0; i < m.count; i++)
        for (unsigned n = 0; n < SCANS; n++) {
            assert_true(version_shown(&m.v[i], its[n]));
            its[n]->ops->next(its[n]);
        }
    for (unsigned n = 0; n < SCANS; n++) {
        assert_false(its[n]->valid);
        assert_int_equal(its[n]->status, FIRN_OK);
        its[n]->ops->close(its[n]);
    }
    assert_int_equal(budget_held(b, BUDGET_SCRATCH), 0);
    assert_true(sst_cache_take_window(t.cache, 512 << 10)); /* all of it has been given back */
    assert_false(sst_cache_take_window(t.cache, 1));
    sst_cache_give_window(t.cache, 512 << 10);
    model_release(&m);
    sst_reader_close(r);
    table_release(&t);
}

/* A window that cannot be read as a whole is no failure: its block is read alone, or in place. */
static void what_fails_ahead_is_told_nowhere(const table *t, sst_reader *r, const model *m,
                                             sst_use use)
{
    iter *it;
    firn_error why = {0};
    uint64_t before = simfs_faults_hit(t->sim);
    size_t seen = 0;
    assert_int_equal(sst_iter_new(r, use, &it), FIRN_OK);
    it->error = &why;
    simfs_fail(t->sim, (simfs_fault){.calls = SIMFS_READ, .at = 1, .error = EIO});
    for (it->ops->first(it); it->valid; it->ops->next(it))
        seen++;
    assert_int_equal(it->status, FIRN_OK);
    assert_int_equal(seen, m->count);
    assert_true(simfs_faults_hit(t->sim) > before);
    assert_int_equal(why.status, FIRN_OK);
    simfs_heal(t->sim);
    it->ops->close(it);
}

/* Where memory is not scarce, a merge reads a mapped table by windows: it touches no page of the mapping, its blocks lie
 * where they were read, and what is wrong in them is told all the same. */
static void work_leaves_the_pages_of_a_mapping_alone(void **state)
{
    (void)state;
    static const uint64_t limits[] = {(16 << 20) - 1, 16 << 20};
    for (size_t l = 0; l < 2; l++) {
        table t;
        sst_reader *r;
        iter *it;
        firn_error err;
        rng rnd = rng_init(7);
        model m = model_random(&rnd, &(shape){2000, 3, 10, 4, 200, 4});
        table_init(&t, (size_t)limits[l]);
        t.wo.compression = SST_COMPRESSION_NONE;
        assert_int_equal(table_build(&t, &m, &err), FIRN_OK);
        assert_int_equal(table_open(&t, &r, &err), FIRN_OK);
        assert_true(sst_reader_in_place(r));
        memory_budget *b = sst_cache_budget(t.cache);
        assert_int_equal(b->limit, limits[l]);
        assert_int_equal(sst_iter_new(r, SST_WORK, &it), FIRN_OK);
        size_t seen = 0;
        for (it->ops->first(it); it->valid; it->ops->next(it))
            assert_true(version_shown(&m.v[seen++], it));
        assert_int_equal(it->status, FIRN_OK);
        assert_int_equal(seen, m.count);
        assert_int_equal(budget_held(b, BUDGET_SCRATCH), l ? 64 << 10 : 0);
        assert_int_equal(sst_cache_outside(t.cache), 0);
        it->ops->close(it);
        assert_int_equal(budget_held(b, BUDGET_SCRATCH), 0);
        bool touched = false;
        for (uint32_t i = 0; i < 64; i++)
            touched = touched || sst_reader_verified(r, i);
        assert_int_equal(touched, l == 0);
        if (l == 1) {
            simfs_flip_bit(t.sim, TABLE_PATH, 8000);
            assert_int_equal(table_read_all(r, &m, SST_WORK, &err), FIRN_DAMAGED);
            simfs_flip_bit(t.sim, TABLE_PATH, 8000);
            /* A mapping is good, whatever has become of the file's name or of the descriptors. */
            simfs_fail(t.sim, (simfs_fault){
                                  .calls = SIMFS_READ, .at = 1, .error = EMFILE, .forever = true});
            assert_int_equal(table_read_all(r, &m, SST_WORK, &err), FIRN_OK);
            assert_true(simfs_faults_hit(t.sim) > 0);
            simfs_heal(t.sim);
            what_fails_ahead_is_told_nowhere(&t, r, &m, SST_WORK);
            sst_reader_set_mapped(r, t.dir, false);
            what_fails_ahead_is_told_nowhere(&t, r, &m, SST_WORK);
            what_fails_ahead_is_told_nowhere(&t, r, &m, SST_PASS);
        }
        sst_reader_close(r);
        model_release(&m);
        table_release(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(work_goes_on_while_readers_hold_all_they_may),
        cmocka_unit_test(work_makes_no_reader_fail),
        cmocka_unit_test(work_leaves_the_pages_of_a_mapping_alone),
        cmocka_unit_test(a_refused_reader_has_read_no_block),
        cmocka_unit_test(windows_of_scans_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
