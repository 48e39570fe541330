/* Transactions (calls/txn.c, own.c, own_walk.c): what is read and written in them. Buckets, handles
 * and failures are in test_txn_faults.c, what they see of each other in test_isolation.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "txns.h"

/* ---- What is seen ---- */

static void writes_are_seen_inside_at_once_and_outside_behind_the_commit(void **state)
{
    (void)state;
    bed b;
    uint64_t seq = 0;
    begin_with_rows(&b);
    firn_txn *t = txn_begin(b.db, false);
    txn_put(t, b.db, "b", "new");
    txn_put(t, b.db, "bb", "added");
    txn_delete(t, b.db, "c");
    expect_in(t, b.db, "b", "new");
    expect_in(t, b.db, "bb", "added");
    expect_in(t, b.db, "c", NULL);
    expect_in(t, b.db, "d", "4");
    expect_walks_in(t, b.db, "a=1 b=new bb=added d=4 ", "d=4 bb=added b=new a=1 ");
    expect(b.db, "b", "2");
    expect(b.db, "bb", NULL);
    expect(b.db, "c", "3");
    expect_walk(b.db, "abcd");
    uint64_t before = firn_last_seq(b.db);
    MUST(firn_txn_commit(t, &seq, error));
    assert_int_equal(seq, before + 3); /* as one batch */
    assert_int_equal(firn_last_seq(b.db), seq);
    expect(b.db, "b", "new");
    expect(b.db, "bb", "added");
    expect(b.db, "c", NULL);
    /* It goes on as a new one: empty, with what is newest. */
    expect_in(t, b.db, "b", "new");
    MUST(firn_txn_commit(t, &seq, error));
    assert_int_equal(seq, before + 3);
    put(b.db, "b", "newer");
    expect_in(t, b.db, "b", "new");
    firn_txn_reset(t);
    expect_in(t, b.db, "b", "newer");
    txn_put(t, b.db, "a", "again");
    assert_int_equal(txn_commit(t), FIRN_OK);
    expect(b.db, "a", "again");
    firn_txn_free(t);
    bed_release(&b);
}

static void it_sees_the_store_as_it_was_when_it_began(void **state)
{
    (void)state;
    for (unsigned where = 0; where < 3; where++) {
        bed b;
        begin_with_rows(&b);
        firn_txn *t = txn_begin(b.db, false);
        put(b.db, "a", "later");
        put(b.db, "e", "later");
        MUST(firn_delete(b.db, "b", 1, NULL, error));
        delete_range(b.db, "c", "d");
        if (where == 1)
            bed_flush(&b);
        if (where == 2)
            MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
        expect_in(t, b.db, "a", "1");
        expect_in(t, b.db, "b", "2");
        expect_in(t, b.db, "e", NULL);
        expect_walks_in(t, b.db, "a=1 b=2 c=3 d=4 ", "d=4 c=3 b=2 a=1 ");
        uint64_t count = 0;
        MUST(firn_count(b.db, NULL, IN(t), &count, error));
        assert_int_equal(count, 4);
        assert_int_equal(txn_commit(t), FIRN_OK); /* it has written nothing */
        expect_walks_in(t, b.db, "a=later d=4 e=later ", "e=later d=4 a=later ");
        firn_txn_free(t);
        bed_release(&b);
    }
}

static void every_kind_of_read_takes_a_transaction(void **state)
{
    (void)state;
    bed b;
    begin_with_rows(&b);
    firn_txn *t = txn_begin(b.db, false);
    txn_put(t, b.db, "b", "own value");
    txn_put(t, b.db, "empty", "");
    txn_delete(t, b.db, "c");
    txn_delete_range(t, b.db, "x", "z");
    put(b.db, "a", "later");
    char room[16] = {0};
    size_t size = 0;
    firn_error err = {0};
    MUST(firn_get_into(b.db, "b", 1, IN(t), room, sizeof room, &size, error));
    assert_true(size == 9 && memcmp(room, "own value", 9) == 0);
    memset(room, 0, sizeof room);
    assert_int_equal(firn_get_into(b.db, "b", 1, IN(t), room, 3, &size, &err), FIRN_TOO_LARGE);
    assert_true(size == 9 && strcmp(room, "own") == 0);
    assert_int_equal(firn_get_into(b.db, "c", 1, IN(t), room, 3, &size, &err), FIRN_NOT_FOUND);
    MUST(firn_get_into(b.db, "a", 1, IN(t), room, sizeof room, &size, error));
    assert_true(size == 1 && room[0] == '1');
    MUST(firn_get_into(b.db, "empty", 5, IN(t), NULL, 0, &size, error));
    assert_int_equal(size, 0);

    const char *const names[] = {"c", "a", "b", "none", "b", "y", "d", "empty"};
    const char *const values[] = {NULL, "1", "own value", NULL, "own value", NULL, "4", ""};
    firn_slice keys[8];
    firn_value found[8];
    int statuses[8];
    for (size_t i = 0; i < 8; i++)
        keys[i] = slice_of_str(names[i]);
    MUST(firn_get_many(b.db, keys, 8, IN(t), found, statuses, error));
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(statuses[i], values[i] ? FIRN_OK : FIRN_NOT_FOUND);
        firn_slice v = slice_of(found[i].data, found[i].size);
        assert_true(is_text(v, values[i] ? values[i] : ""));
        firn_value_release(&found[i]);
    }
    uint64_t count = 0;
    firn_slice first = slice_of_str("b");
    const firn_range range = {.first = &first};
    MUST(firn_count(b.db, &range, IN(t), &count, error));
    assert_int_equal(count, 3); /* b, d, empty */
    firn_iter *it = iter_in(t, b.db, NULL, NULL);
    firn_slice k[8], v[8];
    size_t got = 0;
    assert_int_equal(firn_iter_first(it), FIRN_OK);
    assert_int_equal(firn_iter_next_many(it, k, v, 8, 1000, &got), FIRN_OK);
    assert_int_equal(got, 4);
    assert_true(is_text(k[1], "b") && is_text(v[1], "own value"));
    assert_int_equal(firn_iter_last(it), FIRN_OK);
    assert_int_equal(firn_iter_prev_many(it, k, v, 3, 1000, &got), FIRN_OK);
    assert_int_equal(got, 3);
    assert_true(is_text(k[0], "empty") && v[0].size == 0);
    assert_true(is_text(v[2], "own value"));
    assert_int_equal(firn_iter_refresh(it), FIRN_INVALID);
    firn_iter_free(it);
    firn_txn_free(t);
    bed_release(&b);
}

static void a_value_of_its_own_stays_until_it_is_released(void **state)
{
    (void)state;
    for (unsigned way = 0; way < 4; way++) {
        bed b;
        firn_value one = {0}, many = {0};
        int status = 0;
        firn_slice key = slice_of_str("k");
        begin(&b);
        firn_txn *t = txn_begin(b.db, false);
        uint64_t point = txn_save(t);
        txn_put(t, b.db, "k", "the value");
        MUST(firn_get(b.db, "k", 1, IN(t), &one, error));
        MUST(firn_get_many(b.db, &key, 1, IN(t), &many, &status, error));
        txn_put(t, b.db, "k", "another");
        if (way == 1)
            MUST(firn_txn_rollback(t, point, error));
        if (way == 2)
            assert_int_equal(txn_commit(t), FIRN_OK);
        if (way != 3)
            firn_txn_reset(t);
        firn_txn_free(t);
        assert_true(is_text(slice_of(one.data, one.size), "the value"));
        assert_true(is_text(slice_of(many.data, many.size), "the value"));
        firn_value_release(&one);
        firn_value_release(&one); /* it is empty */
        firn_value_release(&many);
        bed_release(&b);
    }
}

static void what_is_added_is_copied(void **state)
{
    (void)state;
    bed b;
    begin_with_rows(&b);
    firn_txn *t = txn_begin(b.db, false);
    char key[] = "k", value[] = "value", first[] = "b", end[] = "d";
    firn_slice from = slice_of_str(first), to = slice_of_str(end);
    firn_op ops[2] = {op_one(FIRN_OP_PUT, key, value),
                      {.size = sizeof(firn_op),
                       .kind = FIRN_OP_DELETE_RANGE,
                       .range = {.first = &from, .end = &to}}};
    MUST(firn_txn_add(t, b.db, ops, 2, error));
    key[0] = value[0] = first[0] = end[0] = '!';
    memset(ops, 0xa5, sizeof ops);
    expect_walks_in(t, b.db, "a=1 d=4 k=value ", "k=value d=4 a=1 ");
    assert_int_equal(txn_commit(t), FIRN_OK);
    expect_walk(b.db, "adk");
    firn_txn_free(t);
    bed_release(&b);
}

static void the_last_write_of_a_key_counts(void **state)
{
    (void)state;
    bed b;
    begin_with_rows(&b);
    firn_txn *t = txn_begin(b.db, false);
    const firn_op ops[] = {op_one(FIRN_OP_PUT, "a", "x"), op_one(FIRN_OP_DELETE, "a", NULL),
                           op_one(FIRN_OP_PUT, "a", "y"), op_one(FIRN_OP_PUT, "b", "x"),
                           op_one(FIRN_OP_DELETE, "b", NULL)};
    MUST(firn_txn_add(t, b.db, ops, 5, error));
    txn_put(t, b.db, "c", "x");
    txn_delete(t, b.db, "c");
    txn_put(t, b.db, "c", "z");
    expect_walks_in(t, b.db, "a=y c=z d=4 ", "d=4 c=z a=y ");
    uint64_t before = firn_last_seq(b.db);
    assert_int_equal(txn_commit(t), FIRN_OK);
    assert_int_equal(firn_last_seq(b.db), before + 3); /* one operation a key */
    expect_walk(b.db, "acd");
    expect(b.db, "a", "y");
    expect(b.db, "c", "z");
    firn_txn_free(t);
    bed_release(&b);
}

/* ---- Range deletes ---- */

static void ranges_that_it_deletes_are_gone_for_its_reads(void **state)
{
    (void)state;
    for (unsigned flushed = 0; flushed < 2; flushed++) {
        bed b;
        begin_with_rows(&b);
        if (flushed)
            bed_flush(&b);
        firn_txn *t = txn_begin(b.db, false);
        txn_put(t, b.db, "bb", "own");
        txn_put(t, b.db, "e", "own");
        txn_delete_range(t, b.db, "b", "d");
        expect_in(t, b.db, "b", NULL);
        expect_in(t, b.db, "bb", NULL);
        expect_in(t, b.db, "c", NULL);
        expect_walks_in(t, b.db, "a=1 d=4 e=own ", "e=own d=4 a=1 ");
        txn_put(t, b.db, "c", "behind it");
        txn_delete(t, b.db, "b");
        expect_walks_in(t, b.db, "a=1 c=behind it d=4 e=own ", "e=own d=4 c=behind it a=1 ");
        txn_delete_range(t, b.db, "d", NULL); /* they touch */
        txn_delete_range(t, b.db, "cc", "dd");
        expect_walks_in(t, b.db, "a=1 c=behind it ", "c=behind it a=1 ");
        firn_slice at = slice_of_str("a");
        const firn_op one = {.size = sizeof one,
                             .kind = FIRN_OP_DELETE_RANGE,
                             .range = {.first = &at, .end = &at, .flags = FIRN_END_CLOSED}};
        MUST(firn_txn_add(t, b.db, &one, 1, error));
        expect_walks_in(t, b.db, "c=behind it ", "c=behind it ");
        firn_iter *it = iter_in(t, b.db, NULL, NULL);
        assert_int_equal(firn_iter_seek(it, "bb", 2), FIRN_OK);
        expect_element(it, "c", "behind it");
        assert_int_equal(firn_iter_prev(it), FIRN_END);
        assert_int_equal(firn_iter_seek_for_prev(it, "zz", 2), FIRN_OK);
        expect_element(it, "c", "behind it");
        assert_int_equal(firn_iter_next(it), FIRN_END);
        firn_iter_free(it);
        assert_int_equal(txn_commit(t), FIRN_OK);
        expect_walk(b.db, "c");
        txn_delete_range(t, b.db, NULL, NULL);
        expect_walks_in(t, b.db, "", "");
        assert_int_equal(txn_commit(t), FIRN_OK);
        expect_walk(b.db, "");
        firn_txn_free(t);
        bed_release(&b);
    }
}

/* ---- Conditions ---- */

static void conditions_look_at_what_the_transaction_sees(void **state)
{
    (void)state;
    bed b;
    begin_with_rows(&b);
    firn_txn *t = txn_begin(b.db, false);
    txn_put(t, b.db, "own", "value");
    txn_delete(t, b.db, "a");
    txn_delete_range(t, b.db, "c", "d");
    put(b.db, "later", "x");
    MUST(firn_delete(b.db, "d", 1, NULL, error));
    uint64_t point = txn_save(t);
    const struct {
        firn_op op;
        bool holds;
    } all[] = {
        {op_one(FIRN_OP_IF_PRESENT, "own", NULL), true},
        {op_one(FIRN_OP_IF_ABSENT, "own", NULL), false},
        {op_one(FIRN_OP_IF_VALUE, "own", "value"), true},
        {op_one(FIRN_OP_IF_VALUE, "own", "other"), false},
        {op_one(FIRN_OP_IF_ABSENT, "a", NULL), true}, /* deleted by itself */
        {op_one(FIRN_OP_IF_PRESENT, "a", NULL), false},
        {op_one(FIRN_OP_IF_VALUE, "a", "1"), false},
        {op_one(FIRN_OP_IF_ABSENT, "c", NULL), true},
        {op_one(FIRN_OP_IF_VALUE, "c", "3"), false},
        {op_one(FIRN_OP_IF_VALUE, "b", "2"), true}, /* of the store */
        {op_one(FIRN_OP_IF_VALUE, "b", "x"), false},
        {op_one(FIRN_OP_IF_ABSENT, "b", NULL), false},
        {op_one(FIRN_OP_IF_ABSENT, "later", NULL), true}, /* as it was when it began */
        {op_one(FIRN_OP_IF_PRESENT, "d", NULL), true},
        {op_one(FIRN_OP_IF_ABSENT, "d", NULL), false},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        /* In front of all of them: the put of the same key in the same call does not count. */
        firn_op ops[3] = {op_one(FIRN_OP_PUT, "mark", "x"), op_one(FIRN_OP_PUT, "mark2", "x"),
                          all[i].op};
        ops[0].key = all[i].op.key;
        firn_error err = {0};
        int rc = firn_txn_add(t, b.db, ops, 3, &err);
        assert_int_equal(rc, all[i].holds ? FIRN_OK : FIRN_CONFLICT);
        if (!all[i].holds)
            assert_non_null(strstr(err.message, "operation 2: the key"));
        expect_in(t, b.db, "mark2", all[i].holds ? "x" : NULL); /* all or none */
        MUST(firn_txn_rollback(t, point, error));
        expect_in(t, b.db, "mark2", NULL);
    }
    firn_txn_free(t);
    bed_release(&b);
}

/* Its key must be unchanged, whether or not it held, and also behind a rollback. */
static void a_condition_watches_its_key(void **state)
{
    (void)state;
    for (unsigned way = 0; way < 5; way++) {
        bed b;
        firn_error err = {0};
        begin_with_rows(&b);
        firn_txn *t = txn_begin(b.db, false);
        if (way == 4)
            txn_put(t, b.db, "a", "own"); /* the condition is about that */
        uint64_t point = txn_save(t);
        bool holds = way != 1;
        assert_int_equal(txn_add_one(t, b.db, FIRN_OP_IF_VALUE, "a",
                                     way == 4 ? "own"
                                     : holds  ? "1"
                                              : "x",
                                     NULL),
                         holds ? FIRN_OK : FIRN_CONFLICT);
        if (way > 0 && way < 4)
            MUST(firn_txn_rollback(t, point, error));
        txn_put(t, b.db, "z", "z");
        put(b.db, way == 3 ? "b" : "a", "1"); /* the same value: it counts as well */
        int rc = firn_txn_commit(t, NULL, &err);
        assert_int_equal(rc, way == 3 ? FIRN_OK : FIRN_CONFLICT);
        if (rc != FIRN_OK) {
            assert_int_equal(err.status, FIRN_CONFLICT);
            assert_string_equal(err.message, "the key \"a\": written since the transaction began");
            assert_true(err.hint[0] != 0);
        }
        expect(b.db, "z", rc == FIRN_OK ? "z" : NULL);
        firn_txn_free(t);
        bed_release(&b);
    }
}

/* ---- An add that failed ---- */

static void behind_a_failed_add_nothing_is_committed(void **state)
{
    (void)state;
    bed b;
    firn_error err = {0};
    begin_with_rows(&b);
    firn_txn *t = txn_begin(b.db, false);
    txn_put(t, b.db, "x", "1");
    uint64_t before = txn_save(t);
    assert_int_equal(txn_add_one(t, b.db, FIRN_OP_IF_ABSENT, "a", NULL, NULL), FIRN_CONFLICT);
    uint64_t behind = txn_save(t);
    txn_put(t, b.db, "y", "2"); /* it can be read and added to */
    expect_in(t, b.db, "y", "2");
    assert_int_equal(firn_txn_commit(t, NULL, &err), FIRN_INVALID);
    assert_int_equal(err.status, FIRN_INVALID);
    assert_true(err.hint[0] != 0);
    expect_in(t, b.db, "y", "2"); /* it stays as it is */
    MUST(firn_txn_rollback(t, behind, error));
    assert_int_equal(txn_commit(t), FIRN_INVALID); /* that one was made behind it */
    MUST(firn_txn_rollback(t, before, error));
    assert_int_equal(txn_commit(t), FIRN_OK);
    expect(b.db, "x", "1");
    expect(b.db, "y", NULL);
    /* Each failure counts, and so does one of a transaction that has written nothing. */
    assert_int_equal(txn_add_one(t, NULL, FIRN_OP_PUT, "k", "v", NULL), FIRN_INVALID);
    assert_int_equal(txn_commit(t), FIRN_INVALID);
    firn_txn_reset(t);
    assert_int_equal(firn_txn_add(t, b.db, NULL, 1, NULL), FIRN_INVALID);
    assert_int_equal(txn_commit(t), FIRN_INVALID);
    firn_txn_reset(t);
    assert_int_equal(txn_commit(t), FIRN_OK);
    MUST(firn_txn_add(t, b.db, NULL, 0, error));
    assert_int_equal(txn_commit(t), FIRN_OK);
    firn_txn_free(t);
    bed_release(&b);
}

static void what_is_wrong_with_an_operation_is_told(void **state)
{
    (void)state;
    bed b, other;
    firn_error err = {0};
    begin(&b);
    bed_on_simfs(&other, 2);
    bed_must_open(&other);
    firn_txn *t = txn_begin(b.db, false);
    firn_op ops[3] = {op_one(FIRN_OP_PUT, "k", "v"), op_one(FIRN_OP_PUT, "l", "v"),
                      op_one(FIRN_OP_DELETE, "k", NULL)};
    ops[2].value = slice_of_str("v");
    assert_int_equal(firn_txn_add(t, b.db, ops, 3, &err), FIRN_INVALID);
    assert_non_null(strstr(err.message, "operation 2: "));
    expect_in(t, b.db, "k", NULL);
    ops[2] = op_one(FIRN_OP_PUT, "m", "v");
    ops[1].bucket = other.db;
    assert_int_equal(firn_txn_add(t, b.db, ops, 3, &err), FIRN_INVALID);
    assert_non_null(strstr(err.message, "operation 1: "));
    ops[1].bucket = NULL;
    assert_int_equal(firn_txn_add(t, other.db, ops, 3, &err), FIRN_INVALID);
    assert_int_equal(firn_txn_add(t, other.db, NULL, 0, &err), FIRN_INVALID);
    ops[0].kind = 99;
    assert_int_equal(firn_txn_add(t, b.db, ops, 3, &err), FIRN_INVALID);
    assert_non_null(strstr(err.message, "operation 0: "));
    ops[0].kind = FIRN_OP_PUT;
    firn_slice x = slice_of_str("x");
    ops[1] = (firn_op){
        .size = sizeof(firn_op), .kind = FIRN_OP_DELETE_RANGE, .range = {.first = &x, .end = &x}};
    assert_int_equal(firn_txn_add(t, b.db, ops, 3, &err), FIRN_INVALID);
    size_t long_size = FIRN_MAX_KEY_BYTES + 1;
    uint8_t *long_key = calloc(1, long_size);
    ops[1] = op_one(FIRN_OP_PUT, "", "v");
    ops[1].key = slice_of(long_key, long_size);
    assert_int_equal(firn_txn_add(t, b.db, ops, 3, &err), FIRN_TOO_LARGE);
    assert_non_null(strstr(err.message, "operation 1: "));
    ops[1] = op_one(FIRN_OP_IF_ABSENT, "", NULL);
    ops[1].key = slice_of(long_key, long_size);
    int whole = firn_apply(b.db, &ops[1], 1, NULL, NULL, NULL);
    firn_txn_reset(t);
    assert_int_equal(firn_txn_add(t, b.db, &ops[1], 1, &err), whole);
    free(long_key);
    firn_txn_reset(t);
    expect_walks_in(t, b.db, "", "");
    /* Reads. */
    firn_value v;
    firn_iter *it = NULL;
    firn_snapshot *s = NULL;
    uint64_t count;
    assert_int_equal(firn_get(other.db, "k", 1, IN(t), &v, &err), FIRN_INVALID);
    firn_iter_options io;
    firn_iter_options_init(&io);
    io.txn = t;
    assert_int_equal(firn_iter_new(other.db, &io, &it, &err), FIRN_INVALID);
    MUST(firn_snapshot_new(b.db, &s, error));
    io.snapshot = s;
    assert_int_equal(firn_iter_new(b.db, &io, &it, &err), FIRN_INVALID);
    firn_read_options both = {.size = sizeof both, .txn = t, .snapshot = s};
    assert_int_equal(firn_get(b.db, "k", 1, &both, &v, &err), FIRN_INVALID);
    assert_int_equal(firn_count(b.db, NULL, &both, &count, &err), FIRN_INVALID);
    int status = 0;
    firn_slice key = slice_of_str("k");
    assert_int_equal(firn_get_many(b.db, &key, 1, &both, &v, &status, &err), FIRN_INVALID);
    assert_int_equal(status, FIRN_INVALID);
    size_t size;
    assert_int_equal(firn_get_into(b.db, "k", 1, &both, NULL, 0, &size, &err), FIRN_INVALID);
    firn_snapshot_free(s);
    assert_int_equal(txn_commit(t), FIRN_OK); /* reads that were refused do not count */
    firn_txn_free(t);
    bed_release(&other);
    bed_release(&b);
}

static void options_are_checked(void **state)
{
    (void)state;
    bed b;
    firn_error err = {0};
    firn_txn *t = NULL;
    firn_txn_options o;
    begin(&b);
    memset(&o, 0xa5, sizeof o);
    firn_txn_options_init(&o);
    assert_false(o.serializable);
    assert_int_equal(o.durability, FIRN_DURABILITY_DEFAULT);
    assert_int_equal(o.size, sizeof o);
    o.durability = (firn_durability)77;
    assert_int_equal(firn_txn_new(b.db, &o, &t, &err), FIRN_INVALID);
    assert_null(t);
    firn_txn_options_init(&o);
    o.size++;
    assert_int_equal(firn_txn_new(b.db, &o, &t, &err), FIRN_INVALID);
    o.size = 0;
    assert_int_equal(firn_txn_new(b.db, &o, &t, &err), FIRN_INVALID);
    MUST(firn_txn_new(b.db, NULL, &t, error));
    assert_non_null(t);
    firn_txn_free(t);
    firn_txn_free(NULL);
    firn_txn_reset(NULL);
    bed_release(&b);
}

/* ---- Savepoints ---- */

static void a_rollback_takes_back_what_was_written_behind_the_savepoint(void **state)
{
    (void)state;
    bed b;
    firn_error err = {0};
    begin_with_rows(&b);
    firn_txn *t = txn_begin(b.db, false);
    uint64_t empty = txn_save(t);
    txn_put(t, b.db, "a", "x");
    txn_delete_range(t, b.db, "c", "d");
    uint64_t one = txn_save(t);
    txn_put(t, b.db, "a", "y");
    txn_put(t, b.db, "c", "y");
    txn_delete_range(t, b.db, "b", "bb");
    uint64_t two = txn_save(t);
    txn_delete_range(t, b.db, NULL, NULL);
    txn_put(t, b.db, "e", "z");
    uint64_t three = txn_save(t);
    assert_true(empty != one && one != two && two != three && empty != two && one != three);
    expect_walks_in(t, b.db, "e=z ", "e=z ");
    MUST(firn_txn_rollback(t, two, error));
    expect_walks_in(t, b.db, "a=y c=y d=4 ", "d=4 c=y a=y ");
    assert_int_equal(firn_txn_rollback(t, three, &err), FIRN_INVALID); /* gone with it */
    assert_int_equal(err.status, FIRN_INVALID);
    expect_walks_in(t, b.db, "a=y c=y d=4 ", "d=4 c=y a=y "); /* and that changed nothing */
    /* It stays itself, however often it is gone back to. */
    for (unsigned i = 0; i < 3; i++) {
        txn_put(t, b.db, "b", "again");
        txn_put(t, b.db, "a", "again");
        txn_delete(t, b.db, "d");
        expect_walks_in(t, b.db, "a=again b=again c=y ", "c=y b=again a=again ");
        MUST(firn_txn_rollback(t, two, error));
        expect_walks_in(t, b.db, "a=y c=y d=4 ", "d=4 c=y a=y ");
    }
    uint64_t four = txn_save(t);
    assert_true(four != three); /* a stale one is not taken for a new one */
    assert_int_equal(firn_txn_rollback(t, three, NULL), FIRN_INVALID);
    MUST(firn_txn_rollback(t, one, error));
    expect_walks_in(t, b.db, "a=x b=2 d=4 ", "d=4 b=2 a=x ");
    assert_int_equal(firn_txn_rollback(t, two, NULL), FIRN_INVALID);
    assert_int_equal(firn_txn_rollback(t, four, NULL), FIRN_INVALID);
    MUST(firn_txn_rollback(t, empty, error));
    expect_walks_in(t, b.db, "a=1 b=2 c=3 d=4 ", "d=4 c=3 b=2 a=1 ");
    uint64_t before = firn_last_seq(b.db);
    assert_int_equal(txn_commit(t), FIRN_OK);
    assert_int_equal(firn_last_seq(b.db), before); /* nothing was left to write */
    /* Commit and reset take all of them. */
    assert_int_equal(firn_txn_rollback(t, empty, NULL), FIRN_INVALID);
    uint64_t five = txn_save(t);
    firn_txn_reset(t);
    assert_int_equal(firn_txn_rollback(t, five, NULL), FIRN_INVALID);
    assert_int_equal(firn_txn_rollback(t, 0, NULL), FIRN_INVALID);
    assert_int_equal(firn_txn_rollback(t, UINT64_MAX, NULL), FIRN_INVALID);
    uint64_t six = txn_save(t);
    assert_true(six != five);
    firn_txn_free(t);
    bed_release(&b);
}

static void a_rollback_goes_over_all_buckets(void **state)
{
    (void)state;
    bed b;
    begin_with_rows(&b);
    firn *one = open_one(b.db, "one", true), *two = open_one(b.db, "two", true);
    put(two, "k", "old");
    firn_txn *t = txn_begin(b.db, false);
    txn_put(t, one, "k", "1");
    uint64_t point = txn_save(t);
    txn_put(t, one, "k", "2");
    txn_put(t, two, "k", "2"); /* not in the savepoint */
    txn_put(t, b.db, "a", "2");
    expect_in(t, two, "k", "2");
    MUST(firn_txn_rollback(t, point, error));
    expect_in(t, one, "k", "1");
    expect_in(t, two, "k", "old");
    expect_in(t, b.db, "a", "1");
    txn_put(t, two, "l", "3");
    assert_int_equal(txn_commit(t), FIRN_OK);
    expect(one, "k", "1");
    expect(two, "k", "old");
    expect(two, "l", "3");
    expect(b.db, "a", "1");
    firn_txn_free(t);
    MUST(firn_close(one, error));
    MUST(firn_close(two, error));
    bed_release(&b);
}

/* What was written and taken back may be written by others; what was read may not. */
static void behind_a_rollback_reads_still_count_and_writes_do_not(void **state)
{
    (void)state;
    for (unsigned way = 0; way < 4; way++) {
        bed b;
        begin_with_rows(&b);
        firn_txn *t = txn_begin(b.db, true);
        uint64_t point = txn_save(t);
        txn_put(t, b.db, "a", "x");
        txn_delete_range(t, b.db, "cc", "d");
        if (way == 1)
            expect_in(t, b.db, "b", "2");
        firn_iter *it = iter_in(t, b.db, NULL, NULL);
        if (way == 2)
            assert_int_equal(firn_iter_seek(it, "b", 1), FIRN_OK);
        if (way == 3)
            assert_int_equal(firn_iter_seek_for_prev(it, "bb", 2), FIRN_OK);
        MUST(firn_txn_rollback(t, point, error));
        txn_put(t, b.db, "z", "z");
        put(b.db, "a", "other");
        put(b.db, "cc", "other");
        put(b.db, "b", "other");
        assert_int_equal(txn_commit(t), way ? FIRN_CONFLICT : FIRN_OK);
        firn_iter_free(it);
        firn_txn_free(t);
        bed_release(&b);
    }
}

/* ---- Iterators ---- */

static void an_iterator_sees_what_is_added_later(void **state)
{
    (void)state;
    bed b;
    begin_with_rows(&b);
    firn_txn *t = txn_begin(b.db, false);
    firn_iter *it = iter_in(t, b.db, NULL, NULL);
    assert_int_equal(firn_iter_first(it), FIRN_OK);
    expect_element(it, "a", "1");
    txn_put(t, b.db, "aa", "own");
    assert_int_equal(firn_iter_next(it), FIRN_OK);
    expect_element(it, "aa", "own");
    txn_put(t, b.db, "ab", "own");
    txn_delete(t, b.db, "b");
    assert_int_equal(firn_iter_next(it), FIRN_OK);
    expect_element(it, "ab", "own");
    txn_delete(t, b.db, "ab"); /* it stands there still */
    txn_delete_range(t, b.db, "c", "cc");
    assert_int_equal(firn_iter_next(it), FIRN_OK);
    expect_element(it, "d", "4");
    txn_put(t, b.db, "c", "new");
    assert_int_equal(firn_iter_prev(it), FIRN_OK);
    expect_element(it, "c", "new");
    txn_put(t, b.db, "bb", "own");
    txn_put(t, b.db, "b", "back");
    assert_int_equal(firn_iter_prev(it), FIRN_OK);
    expect_element(it, "bb", "own");
    txn_delete(t, b.db, "b");
    txn_put(t, b.db, "ac", "own");
    assert_int_equal(firn_iter_prev(it), FIRN_OK);
    expect_element(it, "ac", "own");
    txn_delete_range(t, b.db, NULL, "ac");
    assert_int_equal(firn_iter_prev(it), FIRN_END);
    assert_int_equal(firn_iter_first(it), FIRN_OK);
    expect_element(it, "ac", "own");
    txn_put(t, b.db, "ac", "changed"); /* it shows what it found until it moves */
    expect_element(it, "ac", "own");
    assert_int_equal(firn_iter_next(it), FIRN_OK);
    assert_int_equal(firn_iter_prev(it), FIRN_OK);
    expect_element(it, "ac", "changed");
    /* Not what others write. */
    put(b.db, "ad", "other");
    assert_int_equal(firn_iter_next(it), FIRN_OK);
    expect_element(it, "bb", "own");
    assert_int_equal(firn_iter_last(it), FIRN_OK); /* at a key of the store */
    expect_element(it, "d", "4");
    txn_put(t, b.db, "cz", "own");
    assert_int_equal(firn_iter_prev(it), FIRN_OK);
    expect_element(it, "cz", "own");
    firn_iter_free(it);
    firn_txn_free(t);
    bed_release(&b);
}

static void bounds_hold_for_own_writes_too(void **state)
{
    (void)state;
    bed b;
    begin_with_rows(&b);
    firn_txn *t = txn_begin(b.db, false);
    char text[WALK_TEXT];
    for (unsigned i = 0; i < 2; i++) {
        firn_iter *it = iter_in(t, b.db, "b", "d");
        walk_text(it, false, text);
        assert_string_equal(text, i ? "b=own bb=own c=3 cc=own " : "b=2 c=3 ");
        walk_text(it, true, text);
        assert_string_equal(text, i ? "cc=own c=3 bb=own b=own " : "c=3 b=2 ");
        assert_int_equal(firn_iter_seek(it, "a", 1), FIRN_OK);
        expect_element(it, "b", i ? "own" : "2");
        assert_int_equal(firn_iter_prev(it), FIRN_END);
        assert_int_equal(firn_iter_seek_for_prev(it, "x", 1), FIRN_OK);
        expect_element(it, i ? "cc" : "c", i ? "own" : "3");
        assert_int_equal(firn_iter_next(it), FIRN_END);
        assert_int_equal(firn_iter_seek(it, "d", 1), FIRN_END);
        assert_int_equal(firn_iter_seek_for_prev(it, "aa", 2), FIRN_END);
        firn_iter_free(it);
        txn_put(t, b.db, "a", "own");
        txn_put(t, b.db, "b", "own");
        txn_put(t, b.db, "bb", "own");
        txn_put(t, b.db, "cc", "own");
        txn_put(t, b.db, "d", "own");
        txn_put(t, b.db, "dd", "own");
    }
    firn_txn_free(t);
    bed_release(&b);
}

static void an_iterator_is_over_with_what_it_was_made_for(void **state)
{
    (void)state;
    for (unsigned way = 0; way < 5; way++)
        for (unsigned own = 0; own < 2; own++) {
            bed b;
            begin_with_rows(&b);
            firn_txn *t = txn_begin(b.db, way == 4);
            uint64_t point = txn_save(t);
            txn_put(t, b.db, own ? "a" : "bb", "own");
            firn_iter *it = iter_in(t, b.db, NULL, NULL), *never = iter_in(t, b.db, NULL, NULL);
            assert_int_equal(firn_iter_first(it), FIRN_OK);
            if (way == 4)
                put(b.db, "a", "other");
            if (way == 0)
                assert_int_equal(txn_commit(t), FIRN_OK);
            if (way == 1)
                firn_txn_reset(t);
            if (way == 2)
                MUST(firn_txn_rollback(t, point, error));
            if (way == 3)
                firn_txn_free(t);
            if (way == 4)
                assert_int_equal(txn_commit(t), FIRN_CONFLICT);
            assert_false(firn_iter_valid(it)); /* what it showed may be gone */
            assert_int_equal(firn_iter_key(it).size + firn_iter_value(it).size, 0);
            assert_int_equal(firn_iter_status(never, NULL), FIRN_INVALID);
            firn_slice k, v;
            size_t got = 7;
            firn_error err = {0};
            assert_int_equal(firn_iter_next(it), FIRN_INVALID);
            assert_false(firn_iter_valid(it));
            assert_int_equal(firn_iter_status(it, &err), FIRN_INVALID);
            assert_non_null(strstr(err.message, "transaction"));
            assert_int_equal(firn_iter_prev(it), FIRN_INVALID);
            assert_int_equal(firn_iter_first(it), FIRN_INVALID);
            assert_int_equal(firn_iter_last(never), FIRN_INVALID);
            assert_int_equal(firn_iter_seek(never, "a", 1), FIRN_INVALID);
            assert_int_equal(firn_iter_seek_for_prev(never, "a", 1), FIRN_INVALID);
            assert_int_equal(firn_iter_next_many(it, &k, &v, 1, 1, &got), FIRN_INVALID);
            assert_int_equal(got, 0);
            assert_int_equal(firn_iter_refresh(it), FIRN_INVALID);
            /* The transaction goes on with others. */
            if (way != 3) {
                firn_iter *fresh = iter_in(t, b.db, NULL, NULL);
                assert_int_equal(firn_iter_first(fresh), FIRN_OK);
                firn_iter_free(fresh);
                firn_txn_free(t);
            }
            /* They are still to be freed. */
            firn_error closing = {0};
            assert_int_equal(firn_close(b.db, &closing), FIRN_INVALID);
            assert_non_null(strstr(closing.message, "iterators: 2,"));
            firn_iter_free(it);
            firn_iter_free(never);
            bed_must_close(&b);
            bed_release(&b);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_are_seen_inside_at_once_and_outside_behind_the_commit),
        cmocka_unit_test(it_sees_the_store_as_it_was_when_it_began),
        cmocka_unit_test(every_kind_of_read_takes_a_transaction),
        cmocka_unit_test(a_value_of_its_own_stays_until_it_is_released),
        cmocka_unit_test(what_is_added_is_copied),
        cmocka_unit_test(the_last_write_of_a_key_counts),
        cmocka_unit_test(ranges_that_it_deletes_are_gone_for_its_reads),
        cmocka_unit_test(conditions_look_at_what_the_transaction_sees),
        cmocka_unit_test(a_condition_watches_its_key),
        cmocka_unit_test(behind_a_failed_add_nothing_is_committed),
        cmocka_unit_test(what_is_wrong_with_an_operation_is_told),
        cmocka_unit_test(options_are_checked),
        cmocka_unit_test(a_rollback_takes_back_what_was_written_behind_the_savepoint),
        cmocka_unit_test(a_rollback_goes_over_all_buckets),
        cmocka_unit_test(behind_a_rollback_reads_still_count_and_writes_do_not),
        cmocka_unit_test(an_iterator_sees_what_is_added_later),
        cmocka_unit_test(bounds_hold_for_own_writes_too),
        cmocka_unit_test(an_iterator_is_over_with_what_it_was_made_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
