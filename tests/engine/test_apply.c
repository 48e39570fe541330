/* Writes with conditions (calls/apply.c, commit/guard.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <base/alloc.h>
#include <base/thread.h>
#include <commit/commit.h>
#include <store/store.h>

#include "buckets.h"

static firn_op op_of(firn_op_kind kind, const char *key, const char *value)
{
    return (firn_op){.size = sizeof(firn_op),
                     .kind = kind,
                     .key = slice_of_str(key),
                     .value = value ? slice_of_str(value) : (firn_slice){0}};
}

static int apply(firn *db, const firn_op *ops, size_t count)
{
    return firn_apply(db, ops, count, NULL, NULL, NULL);
}

/* One condition, and a put if it holds. */
static int put_if(firn *db, firn_op condition, const char *key, const char *value)
{
    const firn_op ops[] = {op_of(FIRN_OP_PUT, key, value), condition};
    return apply(db, ops, 2);
}

static void conditions_say_what_is_there(void **state)
{
    (void)state;
    for (unsigned where = 0; where < 3;
         where++) { /* in memory, in tables, in a table under deletes in memory */
        bed b;
        begin(&b);
        put(b.db, "there", "value");
        put(b.db, "empty", "");
        put(b.db, "gone", "value");
        MUST(firn_delete(b.db, "gone", 4, NULL, error));
        if (where == 1)
            bed_flush(&b);
        if (where == 2) {
            put(b.db, "gone", "value");
            bed_flush(&b);
            MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
            MUST(firn_delete(b.db, "gone", 4, NULL, error));
        }
        const struct {
            firn_op op;
            bool holds;
        } all[] = {
            {op_of(FIRN_OP_IF_ABSENT, "there", NULL), false},
            {op_of(FIRN_OP_IF_PRESENT, "there", NULL), true},
            {op_of(FIRN_OP_IF_VALUE, "there", "value"), true},
            {op_of(FIRN_OP_IF_VALUE, "there", "valu"), false},
            {op_of(FIRN_OP_IF_VALUE, "there", ""), false},
            {op_of(FIRN_OP_IF_ABSENT, "empty", NULL), false},
            {op_of(FIRN_OP_IF_PRESENT, "empty", NULL), true},
            {op_of(FIRN_OP_IF_VALUE, "empty", ""), true},
            {op_of(FIRN_OP_IF_VALUE, "empty", "x"), false},
            {op_of(FIRN_OP_IF_ABSENT, "gone", NULL), true},
            {op_of(FIRN_OP_IF_PRESENT, "gone", NULL), false},
            {op_of(FIRN_OP_IF_VALUE, "gone", "value"), false},
            {op_of(FIRN_OP_IF_ABSENT, "never", NULL), true},
            {op_of(FIRN_OP_IF_PRESENT, "never", NULL), false},
            {op_of(FIRN_OP_IF_VALUE, "never", ""), false},
        };
        for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
            char value[8];
            snprintf(value, sizeof value, "%zu", i);
            uint64_t before = firn_last_seq(b.db);
            assert_int_equal(put_if(b.db, all[i].op, "mark", value),
                             all[i].holds ? FIRN_OK : FIRN_CONFLICT);
            assert_int_equal(firn_last_seq(b.db) > before,
                             all[i].holds); /* a conflict uses no number */
            assert_int_equal(apply(b.db, &all[i].op, 1), all[i].holds ? FIRN_OK : FIRN_CONFLICT);
            if (all[i].holds)
                expect(b.db, "mark", value);
        }
        bed_release(&b);
    }
}

static void all_happens_or_nothing_does(void **state)
{
    (void)state;
    bed b;
    firn_error err = {0};
    uint64_t seq = 0;
    begin(&b);
    firn *users = open_one(b.db, "users", true);
    put(users, "ann", "1");
    put(b.db, "bob", "2");
    firn_op ops[] = {op_of(FIRN_OP_PUT, "ann", "new"),         op_of(FIRN_OP_IF_VALUE, "ann", "1"),
                     op_of(FIRN_OP_IF_VALUE, "bob", "2"),      op_of(FIRN_OP_DELETE, "bob", NULL),
                     op_of(FIRN_OP_IF_ABSENT, "cy\x01", NULL), op_of(FIRN_OP_PUT, "ann", "newest")};
    ops[2].bucket = ops[3].bucket = b.db; /* the others are in the handle's */
    put(users, "cy\x01", "there");
    assert_int_equal(firn_apply(users, ops, 6, NULL, &seq, &err), FIRN_CONFLICT);
    assert_int_equal(err.status, FIRN_CONFLICT);
    assert_string_equal(err.message, "operation 4: the key \"cy\\x01\" is there");
    expect(users, "ann", "1");
    expect(b.db, "bob", "2");
    MUST(firn_delete(users, "cy\x01", 3, NULL, error));
    uint64_t before = firn_last_seq(b.db);
    MUST(firn_apply(users, ops, 6, NULL, &seq, error));
    assert_int_equal(seq, before + 3);
    expect(users, "ann",
           "newest"); /* in their order; the conditions looked at what was there before */
    expect(b.db, "bob", NULL);
    assert_int_equal(firn_apply(users, ops, 6, NULL, &seq, &err), FIRN_CONFLICT);
    assert_non_null(strstr(err.message, "operation 1: the key \"ann\" has another value"));
    /* With nothing to write, and without conditions. */
    MUST(firn_apply(users, &ops[4], 1, NULL, &seq, error));
    assert_int_equal(seq, before + 3);
    MUST(firn_apply(users, ops, 1, NULL, &seq, error));
    assert_int_equal(seq, before + 4);
    MUST(firn_apply(users, NULL, 0, NULL, &seq, error));
    assert_int_equal(seq, before + 4);
    MUST(firn_close(users, error));
    bed_must_close(&b);
    bed_must_open(&b);
    users = open_one(b.db, "users", false);
    expect(users, "ann", "new");
    MUST(firn_close(users, error));
    bed_release(&b);
}

static void what_is_wrong_is_refused_and_named(void **state)
{
    (void)state;
    bed b, other;
    firn_error err = {0};
    begin(&b);
    bed_on_simfs(&other, 2);
    bed_must_open(&other);
    firn *users = open_one(b.db, "users", true);
    firn_op ops[2] = {op_of(FIRN_OP_PUT, "k", "v"), op_of(FIRN_OP_IF_ABSENT, "k", NULL)};
    ops[1].value = slice_of_str("v");
    assert_int_equal(firn_apply(b.db, ops, 2, NULL, NULL, &err), FIRN_INVALID);
    assert_non_null(strstr(err.message, "operation 1: "));
    for (unsigned kind = 0; kind < 12; kind++) {
        bool known = kind == 1 || kind == 2 || kind == 6 || kind == 7 || kind == 9;
        ops[1] = op_of((firn_op_kind)kind, "other", NULL);
        int rc = firn_apply(b.db, &ops[1], 1, NULL, NULL, &err);
        assert_int_equal(rc != FIRN_INVALID, known);
    }
    ops[1] = op_of(FIRN_OP_IF_ABSENT, "k", NULL);
    ops[1].bucket = other.db;
    assert_int_equal(firn_apply(b.db, ops, 2, NULL, NULL, &err), FIRN_INVALID);
    ops[0].bucket = other.db;
    assert_int_equal(firn_apply(b.db, ops, 1, NULL, NULL, &err), FIRN_INVALID);
    ops[0].bucket = ops[1].bucket = NULL;
    ops[1].size += 8;
    assert_int_equal(firn_apply(b.db, ops, 2, NULL, NULL, &err), FIRN_INVALID);
    ops[1].size -= 8;
    firn_write_options o;
    firn_write_options_init(&o);
    o.durability = (firn_durability)99;
    assert_int_equal(firn_apply(b.db, ops, 2, &o, NULL, &err), FIRN_INVALID);
    firn_batch *batch = new_batch();
    assert_int_equal(firn_batch_add(batch, ops, 2, &err), FIRN_INVALID);
    assert_non_null(strstr(err.message, "operation 1: a batch takes no conditions"));
    assert_int_equal(firn_batch_count(batch), 0);
    firn_batch_free(batch);
    /* A bucket that is gone. */
    MUST(firn_bucket_drop(users, error));
    ops[1].bucket = users;
    assert_int_equal(firn_apply(b.db, ops, 2, NULL, NULL, &err), FIRN_DROPPED);
    ops[1].bucket = NULL;
    ops[0].bucket = users;
    assert_int_equal(firn_apply(b.db, ops, 2, NULL, NULL, &err), FIRN_DROPPED);
    MUST(firn_close(users, error));
    assert_int_equal(firn_last_seq(b.db), 2); /* the put and the delete of the loop */
    bed_must_close(&b);
    b.options.read_only = true;
    bed_must_open(&b);
    ops[0].bucket = NULL;
    assert_int_equal(firn_apply(b.db, ops, 2, NULL, NULL, &err), FIRN_READ_ONLY);
    b.options.read_only = false;
    bed_release(&b);
    bed_release(&other);
}

static void a_lack_of_memory_changes_nothing(void **state)
{
    (void)state;
    bool failed = true;
    for (unsigned n = 1; failed; n++) {
        bed b;
        begin(&b);
        const firn_op ops[] = {op_of(FIRN_OP_PUT, "k", "v"), op_of(FIRN_OP_IF_ABSENT, "k", NULL)};
        alloc_fail_at(n);
        int rc = apply(b.db, ops, 2);
        alloc_fail_at(0);
        failed = alloc_count() >= n;
        assert_true(rc == FIRN_OK || rc == FIRN_NO_MEMORY);
        expect(b.db, "k", rc == FIRN_OK ? "v" : NULL);
        assert_int_equal(apply(b.db, ops, 2), rc == FIRN_OK ? FIRN_CONFLICT : FIRN_OK);
        bed_release(&b);
    }
}

/* ---- Between the look and the write ---- */

static int guard_says(bed *b, uint64_t flushed, const char *key, uint64_t seq)
{
    const guarded g = {b->db, slice_of_str(key)};
    key_guard guard = {.keys = &g, .count = 1, .seq = seq, .flushed = flushed};
    return key_guard_check(&guard.guard, NULL);
}

/* Wherever the newer version has come to meanwhile; also when nothing is left of it and what it hid. */
static void a_guard_sees_what_is_newer_wherever_it_is(void **state)
{
    (void)state;
    for (unsigned deleted = 0; deleted < 3; deleted++)
        for (unsigned where = 0; where < 4; where++) {
            bed b;
            begin(&b);
            put(b.db, "k", "old");
            put(b.db, "l", "old");
            bed_flush(&b);
            put(b.db, "m", "old");
            uint64_t seq = firn_last_seq(b.db);
            uint64_t flushed = atomic_load(&b.db->store->flushed_seq);
            const char *const keys[] = {"k", "l", "m", "never"};
            for (unsigned i = 0; i < 4; i++)
                assert_int_equal(guard_says(&b, flushed, keys[i], seq), FIRN_OK);
            if (deleted == 2)
                delete_range(b.db, "j", "kk");
            else if (deleted)
                MUST(firn_delete(b.db, "k", 1, NULL, error));
            else
                put(b.db, "k", "new");
            if (where == 1)
                bed_flush(&b);
            if (where == 2)
                MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
            if (where == 3)
                put(b.db, "l", "newer");
            bool others = where == 1 || where == 2; /* a flush: nothing is sure then */
            assert_int_equal(guard_says(&b, flushed, "k", seq), FIRN_CONFLICT);
            assert_int_equal(guard_says(&b, flushed, "l", seq),
                             where > 0 ? FIRN_CONFLICT : FIRN_OK);
            assert_int_equal(guard_says(&b, flushed, "m", seq), others ? FIRN_CONFLICT : FIRN_OK);
            flushed = atomic_load(&b.db->store->flushed_seq);
            for (unsigned i = 0; i < 4; i++)
                assert_int_equal(guard_says(&b, flushed, keys[i], firn_last_seq(b.db)), FIRN_OK);
            bed_release(&b);
        }
}

static void a_guard_sees_a_range_delete_over_what_is_in_memory(void **state)
{
    (void)state;
    bed b;
    begin(&b);
    put(b.db, "k", "old");
    put(b.db, "l", "old");
    uint64_t seq = firn_last_seq(b.db), flushed = atomic_load(&b.db->store->flushed_seq);
    delete_range(b.db, "j", "l"); /* an entry of its own first key */
    assert_int_equal(guard_says(&b, flushed, "k", seq), FIRN_CONFLICT);
    assert_int_equal(guard_says(&b, flushed, "l", seq), FIRN_OK);
    assert_int_equal(guard_says(&b, flushed, "k", seq + 1), FIRN_OK);
    bed_release(&b);
}

/* A writer leads the log while another one's conditions, which hold, wait behind it. */
typedef struct meeting {
    bed *b;
    atomic_bool waits, go;
    int status;
    const char *value; /* NULL: the condition is that the key is absent */
    const char *led;   /* what the leader puts */
} meeting;

static int hold_the_leader(void *ctx, unsigned call, uint64_t index, const char *name)
{
    meeting *m = ctx;
    (void)index;
    (void)name;
    if (call != SIMFS_WRITE || atomic_exchange(&m->waits, true))
        return 0;
    while (!atomic_load(&m->go))
        usleep(200);
    return 0;
}

static void claim_it(void *ctx)
{
    meeting *m = ctx;
    m->status = put_if(m->b->db,
                       m->value ? op_of(FIRN_OP_IF_VALUE, "k", m->value)
                                : op_of(FIRN_OP_IF_ABSENT, "k", NULL),
                       "k", "claimed");
}

static void lead_first(void *ctx)
{
    meeting *m = ctx;
    put(m->b->db, "k", m->led);
}

static void what_comes_between_is_seen(void **state)
{
    (void)state;
    static const struct {
        const char *wanted, *led;
        int status; /* -1: it may have looked before the leader was done, or behind that */
    } all[] = {{NULL, "first", FIRN_CONFLICT},
               {"old", "first", FIRN_CONFLICT},
               {"first", "first", -1},
               {"old", "old", FIRN_OK}}; /* written again, and the condition holds again */
    for (unsigned i = 0; i < 4; i++) {
        bed b;
        bed_on_simfs(&b, 1);
        simfs_mapping_ok(b.sim, false); /* so that the leader makes a call */
        b.options.durability = FIRN_DURABILITY_NONE;
        bed_must_open(&b);
        if (all[i].wanted)
            put(b.db, "k", "old");
        meeting m = {.b = &b, .value = all[i].wanted, .led = all[i].led};
        thread leader = {0}, claimer = {0};
        simfs_on_call(b.sim, hold_the_leader, &m);
        assert_int_equal(thread_start(&leader, "leader", lead_first, &m), 0);
        while (!atomic_load(&m.waits))
            usleep(200);
        assert_int_equal(thread_start(&claimer, "claimer", claim_it, &m), 0);
        usleep(20000);
        atomic_store(&m.go, true);
        thread_join(&leader);
        thread_join(&claimer);
        simfs_on_call(b.sim, NULL, NULL);
        if (all[i].status >= 0)
            assert_int_equal(m.status, all[i].status);
        assert_true(m.status == FIRN_OK || m.status == FIRN_CONFLICT);
        expect(b.db, "k", m.status == FIRN_OK ? "claimed" : all[i].led);
        bed_release(&b);
    }
}

enum { THREADS = 4, STEPS = 400 };

typedef struct counting {
    firn *db;
    _Atomic unsigned conflicts, claims;
} counting;

/* Adds one to a counter, by comparing what it was; and claims names that others claim, too. */
static void count_up(void *ctx)
{
    counting *c = ctx;
    for (unsigned i = 0; i < STEPS;) {
        firn_value v;
        char old[16] = "", next[16], name[16];
        int rc = firn_get(c->db, "counter", 7, NULL, &v, NULL);
        assert_int_equal(rc, FIRN_OK);
        memcpy(old, v.data, v.size);
        firn_value_release(&v);
        snprintf(next, sizeof next, "%d", atoi(old) + 1);
        rc = put_if(c->db, op_of(FIRN_OP_IF_VALUE, "counter", old), "counter", next);
        assert_true(rc == FIRN_OK || rc == FIRN_CONFLICT);
        atomic_fetch_add(&c->conflicts, rc == FIRN_CONFLICT);
        i += rc == FIRN_OK;
        snprintf(name, sizeof name, "name %u", i);
        rc = put_if(c->db, op_of(FIRN_OP_IF_ABSENT, name, NULL), name, next);
        assert_true(rc == FIRN_OK || rc == FIRN_CONFLICT);
        atomic_fetch_add(&c->claims, rc == FIRN_OK);
    }
}

/* Beside flushes and compactions: memtables of a few KiB. */
static void no_update_is_lost(void **state)
{
    (void)state;
    bed b;
    bed_on_disk(&b);
    b.options.durability = FIRN_DURABILITY_NONE;
    bed_must_open(&b);
    put(b.db, "counter", "0");
    counting c = {.db = b.db};
    thread threads[THREADS] = {0};
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(thread_start(&threads[i], "counter", count_up, &c), 0);
    for (unsigned i = 0; i < THREADS; i++)
        thread_join(&threads[i]);
    char all[16];
    snprintf(all, sizeof all, "%d", THREADS * STEPS);
    expect(b.db, "counter", all);
    unsigned names = 0;
    for (unsigned i = 0; i <= STEPS; i++) {
        char name[16];
        snprintf(name, sizeof name, "name %u", i);
        firn_value v;
        names += firn_get(b.db, name, strlen(name), NULL, &v, NULL) == FIRN_OK;
        firn_value_release(&v);
    }
    assert_int_equal(atomic_load(&c.claims), names); /* each by one of them */
    bed_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conditions_say_what_is_there),
        cmocka_unit_test(all_happens_or_nothing_does),
        cmocka_unit_test(what_is_wrong_is_refused_and_named),
        cmocka_unit_test(a_lack_of_memory_changes_nothing),
        cmocka_unit_test(a_guard_sees_what_is_newer_wherever_it_is),
        cmocka_unit_test(a_guard_sees_a_range_delete_over_what_is_in_memory),
        cmocka_unit_test(what_comes_between_is_seen),
        cmocka_unit_test(no_update_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
