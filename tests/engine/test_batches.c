/* How many operations a batch may have, and what memory its index takes. Counts bytes, never time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bed.h"
#include <store/store.h>

#define MIB ((uint64_t)1 << 20)

static uint64_t charged(const firn *db, budget_kind kind)
{
    return budget_held(&db->store->budget, kind);
}

static uint32_t any_order(uint32_t i)
{
    return i * 2654435761U;
}

static uint32_t descending(uint32_t i)
{
    return ~i;
}

static firn_batch *batch_of(uint32_t count, uint32_t (*order)(uint32_t))
{
    firn_batch *batch = NULL;
    MUST(firn_batch_new(&batch));
    for (uint32_t i = 0; i < count; i++) {
        uint32_t k = order(i);
        uint8_t key[4] = {(uint8_t)(k >> 24), (uint8_t)(k >> 16), (uint8_t)(k >> 8), (uint8_t)k};
        MUST(firn_batch_put(batch, key, sizeof key, NULL, 0));
    }
    return batch;
}

/* Of so many that a step of 4 MiB, in which the index grows, hardly counts. */
static void an_operation_takes_at_most_48_bytes_of_index(void **state)
{
    (void)state;
    uint32_t (*orders[])(uint32_t) = {any_order, descending};
    for (size_t i = 0; i < sizeof orders / sizeof orders[0]; i++) {
        bed b;
        bed_on_simfs(&b, 3);
        b.options.memory = 1024 * MIB;
        b.options.segment_bytes = 64 * MIB;
        bed_must_open(&b);
        firn_batch *batch = batch_of(1000000, orders[i]);
        MUST(firn_write(b.db, batch, NULL, NULL, error));
        firn_batch_free(batch);
        assert_int_equal(bed_stats(&b).flushes, 0);
        assert_true(charged(b.db, BUDGET_INDEX) <= UINT64_C(48) * 1000000);
        bed_release(&b);
    }
}

static void open_small(bed *b)
{
    bed_on_simfs(b, 3);
    b->options.memory = MIB;
    b->options.segment_bytes = 0;
    bed_must_open(b);
}

static void a_store_of_the_least_memory_takes_a_batch_of_300000_operations(void **state)
{
    (void)state;
    bed b;
    open_small(&b);
    firn_batch *batch = batch_of(300000, any_order);
    MUST(firn_write(b.db, batch, NULL, NULL, error));
    firn_batch_free(batch);
    assert_int_equal(firn_last_seq(b.db), 300000);
    bed_release(&b);
}

static void a_batch_whose_index_is_beyond_the_memory_is_refused(void **state)
{
    (void)state;
    bed b;
    firn_error err = {0};
    open_small(&b);
    firn_batch *batch = batch_of(300001, any_order);
    assert_int_equal(firn_write(b.db, batch, NULL, NULL, &err), FIRN_TOO_LARGE);
    assert_non_null(strstr(err.message, "300001 operations"));
    assert_non_null(strstr(err.message, "may have 300000"));
    assert_non_null(strstr(err.hint, "several batches"));
    assert_non_null(strstr(err.hint, "memory"));
    assert_int_equal(firn_last_seq(b.db), 0);
    assert_int_equal(bed_stats(&b).bytes_logged, 0);
    bed_must_close(&b);
    b.options.memory = 64 * MIB;
    bed_must_open(&b);
    MUST(firn_write(b.db, batch, NULL, NULL, error));
    firn_batch_free(batch);
    bed_must_close(&b);
    b.options.memory = MIB; /* what is in the log is replayed */
    bed_must_open(&b);
    assert_true(firn_last_seq(b.db) >= 300001);
    assert_true(charged(b.db, BUDGET_LOG) + charged(b.db, BUDGET_INDEX) <= b.db->store->mem_share);
    bed_release(&b);
}

/* In the index, a range delete takes as much as four puts. */
static void a_range_delete_counts_as_four_operations(void **state)
{
    (void)state;
    const firn_slice first = slice_of_str("b"), end = slice_of_str("d");
    const firn_op op = {
        .size = sizeof op, .kind = FIRN_OP_DELETE_RANGE, .range = {.first = &first, .end = &end}};
    bed b;
    firn_error err = {0};
    open_small(&b);
    firn_batch *batch = batch_of(300000 - 4, any_order);
    MUST(firn_batch_add(batch, &op, 1, error));
    MUST(firn_write(b.db, batch, NULL, NULL, error));
    uint64_t seq = firn_last_seq(b.db);
    MUST(firn_batch_put(batch, "k", 1, NULL, 0));
    assert_int_equal(firn_write(b.db, batch, NULL, NULL, &err), FIRN_TOO_LARGE);
    assert_non_null(strstr(err.message, "299998 operations"));
    assert_int_equal(firn_last_seq(b.db), seq);
    firn_batch_free(batch);
    batch = batch_of(0, any_order);
    for (uint32_t i = 0; i <= 75000; i++)
        MUST(firn_batch_add(batch, &op, 1, error));
    assert_int_equal(firn_write(b.db, batch, NULL, NULL, &err), FIRN_TOO_LARGE);
    firn_batch_free(batch);
    bed_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_operation_takes_at_most_48_bytes_of_index),
        cmocka_unit_test(a_store_of_the_least_memory_takes_a_batch_of_300000_operations),
        cmocka_unit_test(a_batch_whose_index_is_beyond_the_memory_is_refused),
        cmocka_unit_test(a_range_delete_counts_as_four_operations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
