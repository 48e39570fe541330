/* What tables keep for snapshots: each for itself, and nothing of it when it is gone. Counted in entries and bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <store/store.h>

#include "settled.h"

static void what_a_snapshot_kept_goes_behind_it(void **state)
{
    (void)state;
    for (unsigned count = 1; count <= 1000; count += 333) {
        bed b;
        open_in_memory(&b);
        firn_snapshot_free(delete_under_a_snapshot(&b, count));
        settle(&b);
        assert_int_equal(entries(&b), 0);
        assert_int_equal(bed_tables(&b), 0);
        bed_release(&b);
    }
}

static void what_a_snapshot_kept_goes_also_after_reopening(void **state)
{
    (void)state;
    bed b;
    open_in_memory(&b);
    firn_snapshot_free(delete_under_a_snapshot(&b, 100));
    bed_must_close(&b);
    bed_must_open(&b);
    settle(&b);
    assert_int_equal(entries(&b), 0);
    bed_release(&b);
}

static void a_caller_settles_what_a_snapshot_kept(void **state)
{
    (void)state;
    bed b;
    open_in_memory(&b);
    for (unsigned i = 0; i < 1000; i++)
        put(&b, i, "value");
    firn_snapshot *s = NULL;
    MUST(firn_snapshot_new(b.db, &s, error));
    for (unsigned i = 0; i < 3; i++) /* too little to be due by itself */
        put(&b, i * 300, "newer");
    compact(&b);
    assert_int_equal(entries(&b), 1003);
    uint64_t before = bed_stats(&b).bytes_compacted;
    compact(&b); /* the snapshot still needs them */
    assert_int_equal(bed_stats(&b).bytes_compacted, before);
    firn_snapshot_free(s);
    compact(&b);
    assert_int_equal(entries(&b), 1000);
    before = bed_stats(&b).bytes_compacted;
    compact(&b);
    assert_int_equal(bed_stats(&b).bytes_compacted, before);
    bed_release(&b);
}

/* With many snapshots, what is between two that stay goes when the last one between them goes. */
static void of_many_snapshots_each_keeps_what_it_sees(void **state)
{
    (void)state;
    enum { MANY = 3 * KEPT_MOST };
    bed b;
    open_in_memory(&b);
    firn_snapshot *s[MANY];
    char value[32];
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(value, sizeof value, "%u", i);
        put(&b, 7, value);
        put(&b, 100 + i, value);
        MUST(firn_snapshot_new(b.db, &s[i], error));
    }
    compact(&b);
    assert_int_equal(entries(&b), 2 * MANY);
    for (unsigned i = 1; i < 4; i++) { /* of those whose ranges are made one */
        firn_snapshot_free(s[i]);
        compact(&b);
        assert_int_equal(entries(&b), 2 * MANY - i);
    }
    for (unsigned i = 0; i < MANY; i++)
        if ((i == 0 || i >= 4) && i % 8 != 4 && i != MANY - 1)
            firn_snapshot_free(s[i]);
    compact(&b);
    assert_int_equal(entries(&b), MANY + MANY / 8 + 1); /* one for each that stays */
    uint64_t before = bed_stats(&b).bytes_compacted;
    compact(&b);
    assert_int_equal(bed_stats(&b).bytes_compacted, before);
    for (unsigned i = 4; i < MANY; i += 8) {
        snprintf(value, sizeof value, "%u", i);
        bed_expect(&b, s[i], "key000007", value);
    }
    firn_snapshot_free(s[MANY - 1]);
    for (unsigned i = 4; i < MANY; i += 8)
        firn_snapshot_free(s[i]);
    settle(&b);
    compact(&b);
    assert_int_equal(entries(&b), MANY + 1);
    bed_release(&b);
}

/* Two snapshots: what only one of them needed goes, while the other one stays. */
static void a_snapshot_that_stays_keeps_only_its_own(void **state)
{
    (void)state;
    for (unsigned first = 0; first < 2; first++) {
        bed b;
        open_in_memory(&b);
        firn_snapshot *s[2];
        for (unsigned round = 0; round < 3; round++) {
            for (unsigned i = 0; i < 100; i++)
                put(&b, i, round == 0 ? "a" : round == 1 ? "b" : "c");
            if (round < 2)
                MUST(firn_snapshot_new(b.db, &s[round], error));
        }
        compact(&b);
        assert_int_equal(entries(&b), 300);
        firn_snapshot_free(s[first]);
        settle(&b);
        assert_int_equal(entries(&b), 200);
        bed_expect(&b, s[1 - first], "key000050", first ? "a" : "b");
        firn_snapshot_free(s[1 - first]);
        settle(&b);
        assert_int_equal(entries(&b), 100);
        bed_release(&b);
    }
}

/* One key in `stride` is deleted, each third of them under a snapshot more. */
static void delete_under_three(bed *b, unsigned total, unsigned stride, firn_snapshot *s[3])
{
    for (unsigned i = 0; i < total; i++)
        put(b, i, "value");
    for (unsigned k = 0; k < 3; k++) {
        MUST(firn_snapshot_new(b->db, &s[k], error));
        for (unsigned i = k * stride; i < total; i += 3 * stride)
            drop(b, i);
    }
    compact(b);
}

/* In whatever order they go, and however little it is beside what stays; in the next life likewise. */
static void behind_the_last_snapshot_nothing_stays(void **state)
{
    (void)state;
    enum { TOTAL = 600 };
    static const unsigned orders[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                         {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    for (unsigned stride = 1; stride <= 200; stride = stride * 3 + 3)
        for (size_t order = 0; order < 12; order++) {
            bed b;
            firn_snapshot *s[3];
            open_in_memory(&b);
            delete_under_three(&b, TOTAL, stride, s);
            uint64_t live = TOTAL - (TOTAL + stride - 1) / stride;
            assert_int_equal(entries(&b), TOTAL + (TOTAL - live));
            for (size_t k = 0; k < 3; k++) {
                firn_snapshot_free(s[orders[order % 6][k]]);
                if (order < 6 || k < 2)
                    settle(&b);
            }
            if (order >= 6) {
                bed_must_close(&b);
                bed_must_open(&b);
                settle(&b);
            }
            assert_int_equal(entries(&b), live);
            uint64_t before = bed_stats(&b).bytes_compacted;
            settle(&b);
            compact(&b);
            assert_int_equal(bed_stats(&b).bytes_compacted, before);
            bed_release(&b);
        }
}

/* Tombstones count with what they hid: one in thirteen keys is due while there are writers. */
static void a_tombstone_goes_with_what_it_was_kept_for(void **state)
{
    (void)state;
    bed b;
    firn_snapshot *s[3];
    open_in_memory(&b);
    delete_under_three(&b, 130, 13, s);
    assert_int_equal(entries(&b), 140);
    for (size_t k = 0; k < 3; k++)
        firn_snapshot_free(s[k]);
    put(&b, 0, "value");
    bed_flush(&b);
    assert_int_equal(entries(&b), 121);
    bed_release(&b);
}

/* The manifest says it to the next life, and to the one after that. */
static void what_is_kept_is_remembered(void **state)
{
    (void)state;
    bed b;
    open_in_memory(&b);
    firn_snapshot *s = delete_under_a_snapshot(&b, 10);
    uint64_t seq = firn_snapshot_seq(s);
    firn_snapshot_free(s);
    for (unsigned life = 0; life < 3; life++) {
        mutex_lock(&b.db->store->state_mu);
        b.db->store->compaction_rests = true; /* nothing is done about it */
        mutex_unlock(&b.db->store->state_mu);
        view *v = store_view(b.db->store);
        const level *l = &v->version->levels[1];
        assert_int_equal(l->count, 1);
        const table *t = l->tables[0];
        assert_true(t->kept_known && t->kept_count == 1);
        assert_int_equal(t->kept[0].from, seq);
        assert_int_equal(t->kept[0].to, seq);
        assert_int_equal(t->kept[0].count, 10);
        view_unref(v);
        bed_must_close(&b);
        bed_must_open(&b);
    }
    bed_release(&b);
}

/* Of more ranges than a table lists, also how many snapshots those were for that were made one. */
static void what_is_kept_for_many_is_remembered(void **state)
{
    (void)state;
    enum { MANY = 2 * KEPT_MOST };
    bed b;
    open_in_memory(&b);
    firn_snapshot *s[MANY];
    for (unsigned i = 0; i < MANY; i++) {
        put(&b, 7, "value");
        MUST(firn_snapshot_new(b.db, &s[i], error));
    }
    put(&b, 7, "value");
    compact(&b);
    for (unsigned i = 0; i < MANY; i++)
        firn_snapshot_free(s[i]);
    for (unsigned life = 0; life < 3; life++) {
        mutex_lock(&b.db->store->state_mu);
        b.db->store->compaction_rests = true; /* nothing is done about it */
        mutex_unlock(&b.db->store->state_mu);
        view *v = store_view(b.db->store);
        const table *t = v->version->levels[1].tables[0];
        uint64_t count = 0, snapshots = 0;
        for (size_t i = 0; i < t->kept_count; i++) {
            count += t->kept[i].count;
            snapshots += t->kept[i].snapshots ? t->kept[i].seen : 1;
        }
        assert_int_equal(t->kept_count, KEPT_MOST);
        assert_int_equal(count, MANY);
        assert_int_equal(snapshots, MANY);
        view_unref(v);
        bed_must_close(&b);
        bed_must_open(&b);
    }
    bed_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_snapshot_kept_goes_behind_it),
        cmocka_unit_test(what_a_snapshot_kept_goes_also_after_reopening),
        cmocka_unit_test(a_caller_settles_what_a_snapshot_kept),
        cmocka_unit_test(of_many_snapshots_each_keeps_what_it_sees),
        cmocka_unit_test(a_snapshot_that_stays_keeps_only_its_own),
        cmocka_unit_test(behind_the_last_snapshot_nothing_stays),
        cmocka_unit_test(a_tombstone_goes_with_what_it_was_kept_for),
        cmocka_unit_test(what_is_kept_is_remembered),
        cmocka_unit_test(what_is_kept_for_many_is_remembered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
