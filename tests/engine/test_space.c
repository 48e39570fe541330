/* What a store takes on the disk: also what readers alone still hold, and what a compaction takes before it fails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bed.h"
#include <store/store.h>

enum { KEYS = 1000 };

static void put_all(bed *b, const char *value)
{
    for (unsigned i = 0; i < KEYS; i++) {
        char key[32];
        snprintf(key, sizeof key, "key%06u", i);
        bed_put(b, key, value);
    }
}

static uint64_t level_bytes(bed *b)
{
    firn_stats s = bed_stats(b);
    uint64_t sum = 0;
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        sum += s.level_bytes[n];
    return sum;
}

/* Of what the store takes on the disk, what is neither log nor in a level. */
static uint64_t beside_levels(bed *b)
{
    firn_stats s = bed_stats(b);
    return s.total_bytes - s.log_bytes - level_bytes(b);
}

/* What compaction has replaced counts until the file is gone: with the last reader, or at once. */
static void the_total_counts_tables_that_only_readers_hold(void **state)
{
    (void)state;
    for (unsigned way = 0; way < 3; way++) {
        bed b;
        firn_iter *it = NULL;
        firn_value value = {0};
        bed_on_disk(&b);
        bed_must_open(&b);
        put_all(&b, "value");
        MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
        uint64_t old = level_bytes(&b), rest = beside_levels(&b);
        if (way == 1)
            MUST(firn_iter_new(b.db, NULL, &it, error));
        if (way == 2)
            MUST(firn_get(b.db, "key000000", 9, NULL, &value, error));
        put_all(&b, "newer");
        MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
        uint64_t held = atomic_load(&b.db->store->table_bytes) - level_bytes(&b),
                 then = beside_levels(&b);
        assert_true(way == 0 ? held == 0 : way == 1 ? held >= old : held > 0);
        assert_true(then >= rest + held);
        firn_iter_free(it);
        firn_value_release(&value);
        MUST(firn_settle(b.db, error)); /* the worker has removed them */
        assert_int_equal(beside_levels(&b), then - held);
        assert_int_equal(atomic_load(&b.db->store->table_bytes), level_bytes(&b));
        bed_must_close(&b);
        bed_must_open(&b); /* the manifest also tells of tables that are gone */
        assert_int_equal(atomic_load(&b.db->store->table_bytes), level_bytes(&b));
        bed_release(&b);
    }
}

/* However often the store is written anew meanwhile: an iterator holds the tables that there were when it was made, and no more. */
static void the_disk_has_what_there_is_and_what_there_was_when_each_iterator_was_made(void **state)
{
    (void)state;
    enum { ITERATORS = 3, EACH = 3 };
    firn_iter *iters[ITERATORS];
    bed b;
    bed_on_disk(&b);
    bed_must_open(&b);
    uint64_t most = 0;
    for (unsigned round = 0; round < ITERATORS * EACH; round++) {
        put_all(&b, round % 2 ? "value" : "newer");
        MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
        if (round % EACH == 0) {
            most += level_bytes(&b);
            MUST(firn_iter_new(b.db, NULL, &iters[round / EACH], error));
        }
        MUST(firn_settle(b.db, error));
        assert_true(atomic_load(&b.db->store->table_bytes) <= level_bytes(&b) + most);
        assert_true(bed_stats(&b).total_bytes >= level_bytes(&b));
    }
    assert_true(atomic_load(&b.db->store->table_bytes) > level_bytes(&b));
    for (unsigned i = 0; i < ITERATORS; i++)
        firn_iter_free(iters[i]);
    MUST(firn_settle(b.db, error));
    assert_int_equal(atomic_load(&b.db->store->table_bytes), level_bytes(&b));
    bed_release(&b);
}

/* A caller's compaction takes what room there is. When it does not come to an end, it has given that back. */
static void a_compaction_that_fills_the_disk_gives_the_room_back(void **state)
{
    (void)state;
    bed b;
    bed_on_simfs(&b, 1);
    b.options.compression = FIRN_COMPRESSION_NONE;
    bed_must_open(&b);
    put_all(&b, "value");
    MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
    put_all(&b, "newer");
    bed_flush(&b);
    uint64_t used = simfs_used(b.sim), tables = level_bytes(&b);
    simfs_capacity(b.sim, used + level_bytes(&b) / 4);
    for (unsigned attempt = 0; attempt < 3; attempt++) {
        firn_error err = {0};
        assert_int_equal(firn_compact(b.db, NULL, 0, NULL, 0, &err), FIRN_NO_SPACE);
        assert_true(err.hint[0] != 0);
        assert_int_equal(atomic_load(&b.db->store->table_bytes), tables);
        assert_true(simfs_used(b.sim) < used + 1000); /* of the log */
        bed_expect(&b, NULL, "key000999", "newer");
    }
    bed_put(&b, "key000999", "writing goes on");
    simfs_capacity(b.sim, UINT64_MAX);
    MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
    assert_true(level_bytes(&b) < tables);
    bed_expect(&b, NULL, "key000999", "writing goes on");
    bed_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_total_counts_tables_that_only_readers_hold),
        cmocka_unit_test(the_disk_has_what_there_is_and_what_there_was_when_each_iterator_was_made),
        cmocka_unit_test(a_compaction_that_fills_the_disk_gives_the_room_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
