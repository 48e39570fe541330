/* Transactions beside what goes away or goes wrong: buckets, handles, limits, the disk, memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <base/alloc.h>
#include <errno.h>

#include "txns.h"

/* ---- Buckets and handles ---- */

static void it_writes_to_several_buckets_at_once(void **state)
{
    (void)state;
    bed b;
    begin_with_rows(&b);
    firn *one = open_one(b.db, "one", true), *two = open_one(b.db, "two", true);
    put(one, "k", "1");
    firn_txn *t = txn_begin(one, false);
    firn_op ops[] = {op_one(FIRN_OP_PUT, "k", "x"), op_one(FIRN_OP_PUT, "k", "y"),
                     op_one(FIRN_OP_DELETE, "a", NULL), op_one(FIRN_OP_IF_VALUE, "k", "1"),
                     op_one(FIRN_OP_IF_ABSENT, "k", NULL)};
    ops[1].bucket = ops[4].bucket = two;
    ops[2].bucket = b.db;
    MUST(firn_txn_add(t, one, ops, 5, error));
    expect_in(t, one, "k", "x");
    expect_in(t, two, "k", "y");
    expect_in(t, b.db, "a", NULL);
    expect_in(t, b.db, "k", NULL);
    /* A bucket that was made later is empty for it. */
    firn *late = open_one(b.db, "late", true);
    put(late, "k", "z");
    expect_in(t, late, "k", NULL);
    expect_walks_in(t, late, "", "");
    assert_int_equal(txn_commit(t), FIRN_OK);
    expect(one, "k", "x");
    expect(two, "k", "y");
    expect(b.db, "a", NULL);
    expect_in(t, late, "k", "z");
    /* A conflict in one is one in all, and tells the bucket. */
    firn_error err = {0};
    txn_put(t, one, "k", "lost");
    txn_put(t, two, "k", "lost");
    put(two, "k", "other");
    assert_int_equal(firn_txn_commit(t, NULL, &err), FIRN_CONFLICT);
    assert_string_equal(err.message,
                        "the key \"k\" of bucket two: written since the transaction began");
    expect(one, "k", "x");
    /* The same key in another bucket is another key. */
    txn_put(t, one, "k", "won");
    put(two, "k", "other");
    put(b.db, "k", "other");
    assert_int_equal(txn_commit(t), FIRN_OK);
    txn_delete_range(t, one, "a", "z");
    put(one, "b\x01", "x");
    assert_int_equal(firn_txn_commit(t, NULL, &err), FIRN_CONFLICT);
    assert_string_equal(err.message,
                        "the keys from \"a\" of bucket one: written since the transaction began");
    firn_txn_free(t);
    MUST(firn_close(one, error));
    MUST(firn_close(two, error));
    MUST(firn_close(late, error));
    bed_release(&b);
}

static void a_bucket_may_be_dropped_meanwhile(void **state)
{
    (void)state;
    bed b;
    firn_value v;
    firn_iter *it = NULL;
    firn_iter_options io;
    begin_with_rows(&b);
    firn *gone = open_one(b.db, "gone", true);
    put(gone, "k", "1");
    firn_txn *t = txn_begin(b.db, false);
    txn_put(t, gone, "k", "2");
    txn_put(t, b.db, "a", "2");
    uint64_t point = txn_save(t);
    firn_iter *before = iter_in(t, gone, NULL, NULL);
    MUST(firn_bucket_drop(gone, error));
    firn_error err = {0};
    assert_int_equal(firn_get(gone, "k", 1, IN(t), &v, &err), FIRN_DROPPED);
    assert_int_equal(err.status, FIRN_DROPPED);
    firn_iter_options_init(&io);
    io.txn = t;
    assert_int_equal(firn_iter_new(gone, &io, &it, &err), FIRN_DROPPED);
    assert_int_equal(txn_commit(t), FIRN_DROPPED);
    expect_in(t, b.db, "a", "2"); /* it stays as it is */
    expect(b.db, "a", "1");
    /* One that was made before goes on. */
    assert_int_equal(firn_iter_first(before), FIRN_OK);
    expect_element(before, "k", "2");
    assert_int_equal(txn_add_one(t, gone, FIRN_OP_PUT, "k", "3", &err), FIRN_DROPPED);
    assert_non_null(strstr(err.message, "operation 0: "));
    MUST(firn_txn_rollback(t, point, error));
    assert_int_equal(txn_commit(t), FIRN_DROPPED);
    /* A bucket that is made again under the name is another one. */
    firn *again = open_one(b.db, "gone", true);
    expect_in(t, again, "k", NULL);
    firn_txn_reset(t);
    txn_put(t, again, "k", "4");
    assert_int_equal(txn_commit(t), FIRN_OK);
    expect(again, "k", "4");
    firn_iter_free(before);
    firn_txn_free(t);
    MUST(firn_close(gone, error));
    MUST(firn_close(again, error));
    bed_release(&b);
}

static void it_keeps_its_buckets_open(void **state)
{
    (void)state;
    for (unsigned dropped = 0; dropped < 2; dropped++) {
        bed b;
        firn_error err = {0};
        begin(&b);
        firn *one = open_one(b.db, "one", true);
        firn_txn *t = txn_begin(b.db, false);
        txn_put(t, one, "k", "1");
        if (dropped)
            MUST(firn_bucket_drop(one, error));
        MUST(firn_close(one, error));
        assert_int_equal(firn_close(b.db, &err), FIRN_INVALID);
        assert_non_null(strstr(err.message, "transactions: 1"));
        assert_int_equal(txn_commit(t), dropped ? FIRN_DROPPED : FIRN_OK);
        firn_txn_free(t);
        if (!dropped) {
            one = open_one(b.db, "one", false);
            expect(one, "k", "1");
            MUST(firn_close(one, error));
        }
        bed_must_close(&b); /* nothing is left of its handle */
        bed_release(&b);
    }
}

static void iterators_need_a_handle_beside_the_transactions(void **state)
{
    (void)state;
    for (unsigned dropped = 0; dropped < 2; dropped++)
        for (unsigned walks = 0; walks < 2; walks++) {
            bed b;
            firn_iter *plain = NULL, *own = NULL;
            begin(&b);
            firn *one = open_one(b.db, "one", true);
            put(one, "k", "v");
            firn_txn *t = txn_begin(b.db, false);
            if (walks)
                own = iter_in(t, one, NULL, NULL);
            else
                txn_put(t, one, "k", "w");
            MUST(firn_iter_new(one, NULL, &plain, error));
            if (dropped)
                MUST(firn_bucket_drop(one, error));
            /* There is another handle, but it goes with the transaction. */
            assert_int_equal(firn_close(one, NULL), FIRN_INVALID);
            firn_iter_free(plain);
            if (walks) {
                assert_int_equal(firn_close(one, NULL), FIRN_INVALID); /* its own is out */
                firn_iter_free(own);
            }
            MUST(firn_close(one, error));
            if (!walks && !dropped) { /* that does not take the transaction's */
                assert_int_equal(firn_close(one, NULL), FIRN_INVALID);
                assert_int_equal(txn_commit(t), FIRN_OK);
            }
            firn_txn_free(t);
            bed_must_close(&b);
            bed_release(&b);
        }
}

static void closing_counts_transactions(void **state)
{
    (void)state;
    bed b;
    firn_error err = {0};
    begin(&b);
    firn_txn *one = txn_begin(b.db, false), *two = txn_begin(b.db, true);
    assert_int_equal(firn_close(b.db, &err), FIRN_INVALID);
    assert_non_null(strstr(err.message, "snapshots: 0"));
    assert_non_null(strstr(err.message, "transactions: 2"));
    assert_non_null(strstr(err.hint, "firn_txn_free"));
    assert_int_equal(bed_stats(&b).snapshots, 2);
    firn_txn_free(one);
    assert_int_equal(firn_close(b.db, &err), FIRN_INVALID);
    assert_non_null(strstr(err.message, "transactions: 1"));
    txn_put(two, b.db, "k", "v"); /* the store stays open and usable */
    assert_int_equal(txn_commit(two), FIRN_OK);
    firn_txn_free(two);
    bed_must_close(&b);
    bed_release(&b);
}

static void what_it_sees_is_kept(void **state)
{
    (void)state;
    bed b;
    begin_with_rows(&b);
    bed_flush(&b);
    firn_txn *t = txn_begin(b.db, false);
    delete_range(b.db, NULL, NULL);
    MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
    expect_walks_in(t, b.db, "a=1 b=2 c=3 d=4 ", "d=4 c=3 b=2 a=1 ");
    assert_true(bed_tables(&b) > 0);
    firn_txn_reset(t);
    MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
    assert_int_equal(bed_tables(&b), 0);
    firn_txn_free(t);
    bed_release(&b);
}

static void on_a_handle_that_only_reads_the_commit_of_writes_is_refused(void **state)
{
    (void)state;
    bed b;
    uint64_t seq = 0;
    begin_with_rows(&b);
    bed_must_close(&b);
    b.options.read_only = true;
    bed_must_open(&b);
    firn_txn *t = txn_begin(b.db, true);
    uint64_t point = txn_save(t);
    expect_walks_in(t, b.db, "a=1 b=2 c=3 d=4 ", "d=4 c=3 b=2 a=1 ");
    txn_put(t, b.db, "a", "own");
    expect_in(t, b.db, "a", "own");
    assert_int_equal(txn_commit(t), FIRN_READ_ONLY);
    expect_in(t, b.db, "a", "own");
    MUST(firn_txn_rollback(t, point, error));
    MUST(firn_txn_commit(t, &seq, error));
    assert_true(seq > 0);
    firn_txn_free(t);
    bed_must_close(&b);
    b.options.read_only = false;
    bed_release(&b);
}

/* ---- Limits and failures of the commit ---- */

static void too_much_for_one_batch_is_refused_and_stays(void **state)
{
    (void)state;
    bed b;
    firn_error err = {0};
    begin(&b);
    firn_txn *t = txn_begin(b.db, false);
    enum { ALLOWED_OPERATIONS = 300000, PART = 1000 };
    firn_op *ops = calloc(PART, sizeof *ops);
    char(*keys)[8] = calloc(PART, sizeof *keys);
    uint64_t point = 0;
    for (unsigned i = 0; i <= ALLOWED_OPERATIONS / PART; i++) {
        if (i == ALLOWED_OPERATIONS / PART)
            point = txn_save(t);
        for (unsigned k = 0; k < PART; k++) {
            snprintf(keys[k], sizeof keys[k], "%07u", i * PART + k);
            ops[k] = op_one(FIRN_OP_DELETE, keys[k], NULL);
        }
        MUST(firn_txn_add(t, b.db, ops, i == ALLOWED_OPERATIONS / PART ? 1 : PART, error));
    }
    uint64_t before = firn_last_seq(b.db);
    assert_int_equal(firn_txn_commit(t, NULL, &err), FIRN_TOO_LARGE);
    assert_int_equal(err.status, FIRN_TOO_LARGE);
    assert_int_equal(firn_last_seq(b.db), before);
    assert_int_equal(txn_commit(t), FIRN_TOO_LARGE); /* it stays as it is */
    expect_in(t, b.db, "0300000", NULL);
    MUST(firn_txn_rollback(t, point, error));
    assert_int_equal(txn_commit(t), FIRN_OK);
    assert_int_equal(firn_last_seq(b.db), before + ALLOWED_OPERATIONS);
    free(keys);
    free(ops);
    firn_txn_free(t);
    bed_release(&b);
}

static void without_room_on_the_disk_it_stays_and_is_committed_later(void **state)
{
    (void)state;
    bed b;
    begin_with_rows(&b);
    char *value = calloc(1, 10001);
    memset(value, 'v', 10000);
    firn_txn *t = txn_begin(b.db, true);
    expect_in(t, b.db, "b", "2");
    char key[8];
    int rc = FIRN_OK;
    simfs_capacity(b.sim, simfs_used(b.sim));
    unsigned n = 0;
    for (; rc == FIRN_OK && n < 10000; n++) {
        snprintf(key, sizeof key, "k%04u", n);
        expect_in(t, b.db, "b", "2");
        txn_put(t, b.db, key, value);
        uint64_t before = firn_last_seq(b.db);
        rc = txn_commit(t);
        assert_int_equal(firn_last_seq(b.db) > before, rc == FIRN_OK);
    }
    assert_int_equal(rc, FIRN_NO_SPACE);
    expect(b.db, key, NULL);
    expect_in(t, b.db, key, value);
    assert_int_equal(txn_commit(t), FIRN_NO_SPACE);
    simfs_capacity(b.sim, UINT64_MAX);
    assert_int_equal(txn_commit(t), FIRN_OK);
    expect(b.db, key, value);
    /* The same, and meanwhile others write what it had read. */
    expect_in(t, b.db, "b", "2");
    txn_put(t, b.db, "last", value);
    put(b.db, "b", "other");
    assert_int_equal(txn_commit(t), FIRN_CONFLICT);
    expect(b.db, "last", NULL);
    firn_txn_free(t);
    free(value);
    bed_release(&b);
}

/* Also where the transaction's own writes, which can be read, are what failed. */
static void a_poisoned_store_refuses_the_commit(void **state)
{
    (void)state;
    const unsigned calls[] = {SIMFS_SYNC | SIMFS_WRITE | SIMFS_WRITE_DURABLE, SIMFS_SYNC};
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        bed b;
        begin_with_rows(&b);
        firn_txn_options o;
        firn_txn_options_init(&o);
        o.durability = FIRN_DURABILITY_SYNC;
        firn_txn *t = NULL;
        MUST(firn_txn_new(b.db, &o, &t, error));
        txn_put(t, b.db, "a", "own");
        uint64_t before = firn_last_seq(b.db);
        simfs_fail(b.sim,
                   (simfs_fault){.calls = calls[i], .at = 1, .error = EIO, .forever = true});
        assert_int_equal(txn_commit(t), FIRN_IO);
        simfs_heal(b.sim);
        assert_int_equal(firn_last_seq(b.db) > before, i == 1);
        assert_int_equal(txn_commit(t), FIRN_POISONED);
        expect_in(t, b.db, "a", "own");
        firn_txn_free(t);
        bed_release(&b);
    }
}

static void durability_is_that_of_the_options(void **state)
{
    (void)state;
    static const struct {
        firn_durability store, txn;
        bool syncs;
    } all[] = {{FIRN_DURABILITY_SYNC, FIRN_DURABILITY_DEFAULT, true},
               {FIRN_DURABILITY_NONE, FIRN_DURABILITY_DEFAULT, false},
               {FIRN_DURABILITY_SYNC, FIRN_DURABILITY_NONE, false},
               {FIRN_DURABILITY_NONE, FIRN_DURABILITY_SYNC, true}};
    for (unsigned i = 0; i < 4; i++) {
        bed b;
        uint64_t seq = 0;
        firn_txn *t = NULL;
        firn_txn_options o;
        bed_on_simfs(&b, 1);
        b.options.durability = all[i].store;
        bed_must_open(&b);
        firn_txn_options_init(&o);
        o.durability = all[i].txn;
        MUST(firn_txn_new(b.db, &o, &t, error));
        for (unsigned n = 0; n < 2; n++) { /* it keeps them behind a commit */
            txn_put(t, b.db, "k", "v");
            MUST(firn_txn_commit(t, &seq, error));
            assert_int_equal(firn_durable_seq(b.db) >= seq, all[i].syncs);
        }
        firn_txn_free(t);
        bed_release(&b);
    }
}

/* ---- Memory ---- */

/* A transaction's life, step by step. */
typedef struct life {
    bed b;
    firn *one;
    firn_txn *t;
    firn_iter *it;
    uint64_t point;
    firn_value v, many[2];
    bool changed; /* others write, so that the commit looks at what must be unchanged */
} life;

enum { FIRST_ADD = 2, LAST_ADD = 4, NEXT = 9, PREV = 10, STEPS = 13 };

static int add_step(life *l, int step)
{
    const firn_op ops[] = {op_one(FIRN_OP_PUT, "own", "value"), op_one(FIRN_OP_DELETE, "a", NULL),
                           op_one(FIRN_OP_IF_VALUE, "c", "3"),
                           op_one(FIRN_OP_PUT, "own2", "value")};
    firn_slice first = slice_of_str("d"), end = slice_of_str("e");
    const firn_op range = {.size = sizeof range,
                           .kind = FIRN_OP_DELETE_RANGE,
                           .range = {.first = &first, .end = &end}};
    if (step == FIRST_ADD)
        return firn_txn_add(l->t, l->b.db, ops, 4, NULL);
    if (step == LAST_ADD)
        return firn_txn_add(l->t, l->b.db, &range, 1, NULL);
    return txn_add_one(l->t, l->one, FIRN_OP_PUT, "k", "new", NULL);
}

static int do_step(life *l, int step)
{
    const firn_slice keys[2] = {slice_of_str("own"), slice_of_str("b")};
    int statuses[2];
    firn_iter_options io;
    firn_txn_options o;
    switch (step) {
    case 0:
        firn_txn_options_init(&o);
        o.serializable = true;
        return firn_txn_new(l->b.db, &o, &l->t, NULL);
    case 1:
        return firn_txn_save(l->t, &l->point, NULL);
    case 5:
        return firn_get(l->b.db, "own", 3, IN(l->t), &l->v, NULL);
    case 6:
        return firn_get_many(l->b.db, keys, 2, IN(l->t), l->many, statuses, NULL);
    case 7:
        firn_iter_options_init(&io);
        io.txn = l->t;
        io.lower = "b";
        io.lower_size = 1;
        return firn_iter_new(l->b.db, &io, &l->it, NULL);
    case 8:
        return firn_iter_first(l->it);
    case NEXT:
        return firn_iter_next(l->it);
    case PREV:
        return firn_iter_prev(l->it);
    case 11:
        if (l->changed)
            put(l->b.db, "other", "x");
        return FIRN_OK;
    case 12:
        return firn_txn_commit(l->t, NULL, NULL);
    default:
        return add_step(l, step);
    }
}

/* Behind a step that had no memory, which has some now: where it is to be gone on. */
static int try_again(life *l, int step)
{
    if (step == NEXT || step == PREV)
        return 8; /* it stands on no element, and is positioned again */
    if (step < FIRST_ADD || step > LAST_ADD)
        return step;
    assert_int_equal(firn_txn_commit(l->t, NULL, NULL), FIRN_INVALID);
    MUST(firn_txn_rollback(l->t, l->point, error)); /* an add that failed is to be taken back */
    expect_in(l->t, l->b.db, "a", "1");
    expect_in(l->t, l->b.db, "d", "4");
    expect_in(l->t, l->b.db, "own", NULL);
    expect_in(l->t, l->one, "k", "old");
    return FIRST_ADD;
}

/* An allocation fails, and what it was for is done again: the end is the same. False: none failed.
 * *hit: there were so many. */
static bool a_life(uint64_t fail_at, bool changed, bool *hit)
{
    life l = {.changed = changed};
    begin_with_rows(&l.b);
    l.one = open_one(l.b.db, "one", true);
    put(l.one, "k", "old");
    bool failed = false;
    alloc_fail_at(fail_at);
    for (int step = 0; step < STEPS;) {
        int rc = do_step(&l, step);
        assert_true(rc == FIRN_OK || (rc == FIRN_NO_MEMORY && !failed));
        if (rc == FIRN_NO_MEMORY)
            alloc_fail_at(0);
        failed |= rc != FIRN_OK;
        step = rc == FIRN_OK ? step + 1 : try_again(&l, step);
    }
    *hit = failed || alloc_count() >= fail_at;
    alloc_fail_at(0);
    firn_value_release(&l.v);
    firn_value_release(&l.many[0]);
    firn_value_release(&l.many[1]);
    firn_iter_free(l.it);
    expect(l.b.db, "own", "value");
    expect(l.b.db, "own2", "value");
    expect(l.b.db, "a", NULL);
    expect(l.b.db, "c", "3");
    expect(l.b.db, "d", NULL);
    expect(l.one, "k", "new");
    firn_txn_free(l.t);
    MUST(firn_close(l.one, error));
    bed_must_close(&l.b);
    bed_release(&l.b);
    return failed;
}

static void a_lack_of_memory_breaks_nothing(void **state)
{
    (void)state;
    for (unsigned changed = 0; changed < 2; changed++) {
        bool hit = true;
        unsigned failures = 0;
        for (uint64_t n = 1; hit; n++)
            failures += a_life(n, changed, &hit);
        assert_true(failures > 20);
    }
}

/* What an iterator has passed is noted when it is freed, rolled back or committed: where there is
 * no memory for that, it is not forgotten. */
static void what_was_passed_is_not_forgotten_for_lack_of_memory(void **state)
{
    (void)state;
    for (unsigned way = 0; way < 3; way++) {
        bool hit = true;
        unsigned failures = 0;
        for (uint64_t n = 1; hit; n++) {
            bed b;
            begin_with_rows(&b);
            firn_txn *t = txn_begin(b.db, true);
            uint64_t point = txn_save(t);
            firn_iter *it = iter_in(t, b.db, NULL, NULL);
            int rc = FIRN_OK;
            assert_int_equal(firn_iter_seek(it, "b", 1), FIRN_OK);
            alloc_fail_at(n);
            if (way == 0) {
                firn_iter_free(it);
                it = NULL;
            }
            if (way == 1)
                rc = firn_txn_rollback(t, point, NULL);
            if (way == 2)
                rc = firn_iter_seek(it, "d", 1);
            hit = alloc_count() >= n;
            alloc_fail_at(0);
            failures += hit;
            assert_true(rc == FIRN_OK || rc == FIRN_NO_MEMORY);
            txn_put(t, b.db, "z", "z");
            put(b.db, "b", "other");
            assert_int_equal(txn_commit(t), FIRN_CONFLICT);
            expect(b.db, "z", NULL);
            firn_iter_free(it);
            firn_txn_free(t);
            bed_must_close(&b);
            bed_release(&b);
        }
        assert_true(failures > 0);
    }
}
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_writes_to_several_buckets_at_once),
        cmocka_unit_test(a_bucket_may_be_dropped_meanwhile),
        cmocka_unit_test(it_keeps_its_buckets_open),
        cmocka_unit_test(iterators_need_a_handle_beside_the_transactions),
        cmocka_unit_test(closing_counts_transactions),
        cmocka_unit_test(what_it_sees_is_kept),
        cmocka_unit_test(on_a_handle_that_only_reads_the_commit_of_writes_is_refused),
        cmocka_unit_test(too_much_for_one_batch_is_refused_and_stays),
        cmocka_unit_test(without_room_on_the_disk_it_stays_and_is_committed_later),
        cmocka_unit_test(a_poisoned_store_refuses_the_commit),
        cmocka_unit_test(durability_is_that_of_the_options),
        cmocka_unit_test(a_lack_of_memory_breaks_nothing),
        cmocka_unit_test(what_was_passed_is_not_forgotten_for_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
