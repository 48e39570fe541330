/* Buckets where something fails, beside many others, and beside other threads. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <base/alloc.h>
#include <base/thread.h>
#include <store/store.h>

#include "buckets.h"

/* Whichever allocation fails: nothing has happened, and trying again helps. */
static void a_lack_of_memory_leaves_all_as_it_was(void **state)
{
    (void)state;
    bool failed = true;
    for (unsigned n = 1; failed; n++) {
        bed b;
        firn *users = NULL;
        firn_bucket_options o;
        begin(&b);
        firn_batch *batch = new_batch();
        firn_op ops[] = {op_put(b.db, "a", "1"), op_put(NULL, "b", "2")};
        firn_bucket_options_init(&o);
        o.create = true;
        alloc_fail_at(n);
        int opened = firn_bucket_open(b.db, "users", &o, &users, NULL);
        int added = firn_batch_add(batch, ops, 2, NULL);
        int wrote =
            users && added == FIRN_OK ? firn_write(users, batch, NULL, NULL, NULL) : FIRN_NO_MEMORY;
        alloc_fail_at(0);
        failed = alloc_count() >= n;
        assert_true(opened == FIRN_OK || opened == FIRN_NO_MEMORY);
        assert_true(added == FIRN_OK || added == FIRN_NO_MEMORY);
        assert_true(wrote == FIRN_OK || wrote == FIRN_NO_MEMORY);
        if (opened != FIRN_OK)
            assert_int_equal(firn_bucket_open(b.db, "users", NULL, &users, NULL), FIRN_NOT_FOUND);
        if (!users)
            users = open_one(b.db, "users", true);
        if (added != FIRN_OK) {
            assert_int_equal(firn_batch_count(batch), 0);
            MUST(firn_batch_add(batch, ops, 2, error));
        }
        if (wrote != FIRN_OK) {
            assert_int_equal(firn_last_seq(b.db), 0);
            MUST(firn_write(users, batch, NULL, NULL, error));
        }
        expect_walk(b.db, "a");
        expect_walk(users, "b");
        assert_int_equal(atomic_load(&users->store->bucket_limit), 2); /* no number was lost */
        firn_batch_free(batch);
        MUST(firn_close(users, error));
        bed_release(&b);
    }
}

static void a_lack_of_memory_while_opening_is_told(void **state)
{
    (void)state;
    bed b;
    begin(&b);
    for (unsigned i = 0; i < 20; i++) {
        char name[8];
        snprintf(name, sizeof name, "b%u", i);
        firn *t = open_one(b.db, name, true);
        put(t, "k", "v");
        MUST(firn_close(t, error));
    }
    bed_flush(&b);
    bed_must_close(&b);
    bool failed = true;
    for (unsigned n = 1; failed; n++) {
        alloc_fail_at(n);
        int rc = bed_open(&b, NULL);
        alloc_fail_at(0);
        failed = alloc_count() >= n;
        assert_true(rc == FIRN_OK || rc == FIRN_NO_MEMORY);
        if (rc == FIRN_OK)
            bed_must_close(&b);
    }
    bed_must_open(&b);
    firn *t = open_one(b.db, "b19", false);
    expect(t, "k", "v");
    MUST(firn_close(t, error));
    bed_release(&b);
}

/* ---- Failures ---- */

/* A store that was opened on a full disk goes on in its old manifest until there is room: the first edit replaces it. That may be the
 * record of a bucket. */
static void a_bucket_may_be_the_first_edit_of_a_life(void **state)
{
    (void)state;
    unsigned worn = 0;
    for (uint64_t room = 0; room < 6000; room += 100) {
        bed b;
        begin(&b);
        put(b.db, "k", "v");
        MUST(firn_close(open_one(b.db, "old", true), error));
        bed_must_close(&b);
        simfs_capacity(b.sim, simfs_used(b.sim) + room);
        int rc = bed_open(&b, NULL);
        simfs_capacity(b.sim, UINT64_MAX);
        if (rc != FIRN_OK) {
            bed_must_open(&b);
        } else {
            mutex_lock(&b.db->store->manifest_mu);
            worn += manifest_is_worn(b.db->store->manifest);
            mutex_unlock(&b.db->store->manifest_mu);
        }
        firn *users = open_one(b.db, "users", true);
        put(users, "k", "v");
        MUST(firn_close(users, error));
        bed_must_close(&b);
        bed_must_open(&b);
        users = open_one(b.db, "users", false);
        expect(users, "k", "v");
        MUST(firn_close(users, error));
        bed_release(&b);
    }
    assert_true(worn > 0);
}

static bool is_there(firn *db, const char *name)
{
    firn *t = NULL;
    int rc = firn_bucket_open(db, name, NULL, &t, NULL);
    assert_true(rc == FIRN_OK || rc == FIRN_NOT_FOUND);
    MUST(firn_close(t, error));
    return rc == FIRN_OK;
}

/* Whichever call to the system fails: what has been said is so in the next life, and the store is whole. */
static void a_failure_leaves_a_bucket_or_none(void **state)
{
    (void)state;
    static const int errors[] = {ENOSPC, EIO};
    for (unsigned e = 0; e < 2; e++) {
        bool hit = true;
        for (uint64_t at = 1; hit; at++) {
            bed b;
            firn *old = NULL, *fresh = NULL;
            firn_bucket_options o;
            firn_bucket_options_init(&o);
            o.create = true;
            begin(&b);
            old = open_one(b.db, "old", true);
            put(old, "k", "v");
            bed_flush(&b);
            simfs_fail(b.sim, (simfs_fault){.calls = SIMFS_CHANGING, .at = at, .error = errors[e]});
            int made = firn_bucket_open(b.db, "fresh", &o, &fresh, NULL);
            o.filter_bits = 20;
            int formed = firn_bucket_set(old, &o, NULL);
            int dropped = firn_bucket_drop(old, NULL);
            hit = simfs_faults_hit(b.sim) > 0;
            simfs_heal(b.sim);
            if (made == FIRN_NO_SPACE) /* nothing has happened: the same again succeeds */
                MUST(firn_bucket_open(b.db, "fresh", &o, &fresh, error));
            if (dropped == FIRN_NO_SPACE)
                MUST(firn_bucket_drop(old, error));
            bool gone = dropped == FIRN_OK || dropped == FIRN_NO_SPACE, there = fresh != NULL;
            assert_true(gone || dropped == FIRN_IO || dropped == FIRN_POISONED);
            assert_true(there || made == FIRN_IO || made == FIRN_POISONED);
            assert_true(formed == FIRN_OK || formed == FIRN_NO_SPACE || formed == FIRN_IO ||
                        formed == FIRN_POISONED);
            if (fresh)
                MUST(firn_close(fresh, error));
            MUST(firn_close(old, error));
            (void)firn_close(b.db, NULL);
            b.db = NULL;
            MUST(engine_check(b.config.fs, b.folder, NULL, NULL, NULL, error));
            bed_must_open(&b);
            assert_true(is_there(b.db, "fresh") || !there);
            assert_true(!is_there(b.db, "old") || !gone);
            if (is_there(b.db, "old")) {
                old = open_one(b.db, "old", false);
                expect(old, "k", "v");
                MUST(firn_close(old, error));
            }
            bed_release(&b);
        }
    }
}

/* Two calls that drop one bucket, the first of which finds no room: no job comes between them. */
typedef struct dropper {
    firn *bucket;
    int status;
} dropper;

static void drop_it(void *ctx)
{
    dropper *d = ctx;
    d->status = firn_bucket_drop(d->bucket, NULL);
}

static void a_drop_that_fails_lets_the_next_one_be(void **state)
{
    (void)state;
    bed b;
    begin(&b);
    firn *users = open_one(b.db, "users", true);
    dropper d[2] = {{users, 0}, {users, 0}};
    thread threads[2] = {0};
    put(users, "k", "v");
    bed_flush(&b);
    mutex_lock(&b.db->store->flush_mu); /* both wait behind stop_jobs */
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(thread_start(&threads[i], "dropper", drop_it, &d[i]), 0);
    for (unsigned ending = 0; ending < 2;) {
        mutex_lock(&b.db->store->jobs_mu);
        ending = users->ending;
        mutex_unlock(&b.db->store->jobs_mu);
        usleep(1000);
    }
    simfs_fail(b.sim, (simfs_fault){.calls = SIMFS_CHANGING, .at = 1, .error = ENOSPC});
    mutex_unlock(&b.db->store->flush_mu);
    for (unsigned i = 0; i < 2; i++)
        thread_join(&threads[i]);
    assert_true((d[0].status == FIRN_NO_SPACE && d[1].status == FIRN_OK) ||
                (d[1].status == FIRN_NO_SPACE && d[0].status == FIRN_OK));
    mutex_lock(&b.db->store->jobs_mu);
    assert_int_equal(users->ending, 1); /* for good */
    mutex_unlock(&b.db->store->jobs_mu);
    assert_int_equal(firn_compact(users, NULL, 0, NULL, 0, NULL), FIRN_DROPPED);
    MUST(firn_close(users, error));
    bed_must_close(&b);
    bed_must_open(&b);
    assert_false(is_there(b.db, "users"));
    bed_release(&b);
}

/* ---- Many ---- */

/* An idle bucket takes little, and what is done for one does not grow with how many there are. */
static void thousands_of_buckets_are_idle_cheaply(void **state)
{
    (void)state;
    enum { COUNT = 10000 };
    bed b;
    char name[64];
    begin(&b);
    for (unsigned i = 0; i < COUNT; i++) {
        snprintf(name, sizeof name, "a bucket with the number %u", i);
        MUST(firn_close(open_one(b.db, name, true), error));
    }
    assert_true(sizeof(tree) + sizeof(view) + sizeof(version) + 2 * sizeof(void *) + 3 * 16 <=
                2048);
    for (int life = 0; life < 2; life++) {
        firn *one = open_one(b.db, "a bucket with the number 7777", false);
        put(one, "k", life ? "second" : "first");
        bed_flush(&b);
        expect(one, "k", life ? "second" : "first");
        MUST(firn_close(one, error));
        unsigned count = 0;
        for (int rc = firn_bucket_next(b.db, NULL, name, sizeof name, NULL); rc == FIRN_OK;
             rc = firn_bucket_next(b.db, name, name, sizeof name, NULL))
            count++;
        assert_int_equal(count, COUNT);
        bed_must_close(&b);
        bed_must_open(&b);
    }
    bed_release(&b);
}

/* ---- Threads ---- */

enum { ROUNDS = 150, DROPPERS = 2, USERS = 2 };

typedef struct shared {
    firn *db;
    atomic_bool ends;
    _Atomic unsigned writes, drops;
} shared;

/* Makes and drops one bucket after the other, under few names. */
static void make_and_drop(void *ctx)
{
    shared *s = ctx;
    firn_bucket_options o;
    firn_bucket_options_init(&o);
    o.create = true;
    for (unsigned i = 0; i < ROUNDS; i++) {
        firn *t = NULL;
        int rc = firn_bucket_open(s->db, i % 2 ? "one" : "two", &o, &t, NULL);
        assert_int_equal(rc, FIRN_OK);
        rc = firn_put(t, "made", 4, "v", 1, NULL, NULL);
        assert_true(rc == FIRN_OK || rc == FIRN_DROPPED);
        rc = firn_bucket_drop(t, NULL);
        assert_true(rc == FIRN_OK || rc == FIRN_DROPPED);
        atomic_fetch_add(&s->drops, rc == FIRN_OK);
        assert_int_equal(firn_close(t, NULL), FIRN_OK);
    }
}

/* Works with whichever is there: each call does its work, or says that the bucket is gone. */
static void use_what_is_there(void *ctx)
{
    shared *s = ctx;
    for (unsigned i = 0; !atomic_load(&s->ends); i++) {
        firn *t = NULL;
        firn_iter *it = NULL;
        firn_value v;
        firn_error err = {0};
        int rc = firn_bucket_open(s->db, i % 2 ? "one" : "two", NULL, &t, &err);
        assert_true(rc == FIRN_OK || rc == FIRN_NOT_FOUND);
        if (rc == FIRN_NOT_FOUND)
            continue;
        rc = firn_put(t, "used", 4, "v", 1, NULL, &err);
        assert_true(rc == FIRN_OK || rc == FIRN_DROPPED);
        atomic_fetch_add(&s->writes, rc == FIRN_OK);
        int got = firn_get(t, "used", 4, NULL, &v, &err);
        assert_true(got == FIRN_DROPPED || (got == FIRN_OK && rc == FIRN_OK) ||
                    got == FIRN_NOT_FOUND);
        assert_false(rc == FIRN_DROPPED && got != FIRN_DROPPED); /* once gone, always gone */
        assert_false(rc == FIRN_OK &&
                     got == FIRN_NOT_FOUND); /* and until then, what was written is there */
        firn_value_release(&v);
        rc = firn_iter_new(t, NULL, &it, &err);
        assert_true(rc == FIRN_OK || rc == FIRN_DROPPED);
        while (it && (rc = rc == FIRN_OK && !firn_iter_valid(it) ? firn_iter_first(it)
                                                                 : firn_iter_next(it)) == FIRN_OK) {
        }
        firn_iter_free(it);
        assert_int_equal(firn_close(t, &err), FIRN_OK);
    }
}

static void buckets_come_and_go_beside_their_users(void **state)
{
    (void)state;
    bed b;
    bed_on_disk(&b);
    b.options.durability = FIRN_DURABILITY_NONE;
    bed_must_open(&b);
    shared s = {.db = b.db};
    thread droppers[DROPPERS] = {0}, users[USERS] = {0};
    for (unsigned i = 0; i < USERS; i++)
        assert_int_equal(thread_start(&users[i], "user", use_what_is_there, &s), 0);
    for (unsigned i = 0; i < DROPPERS; i++)
        assert_int_equal(thread_start(&droppers[i], "dropper", make_and_drop, &s), 0);
    for (unsigned i = 0; i < DROPPERS; i++)
        thread_join(&droppers[i]);
    atomic_store(&s.ends, true);
    for (unsigned i = 0; i < USERS; i++)
        thread_join(&users[i]);
    assert_true(atomic_load(&s.drops) >= ROUNDS);
    bed_must_close(&b);
    bed_must_open(&b);
    char name[64];
    assert_int_equal(firn_bucket_next(b.db, NULL, name, sizeof name, NULL), FIRN_END);
    bed_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lack_of_memory_leaves_all_as_it_was),
        cmocka_unit_test(a_lack_of_memory_while_opening_is_told),
        cmocka_unit_test(a_bucket_may_be_the_first_edit_of_a_life),
        cmocka_unit_test(a_failure_leaves_a_bucket_or_none),
        cmocka_unit_test(a_drop_that_fails_lets_the_next_one_be),
        cmocka_unit_test(thousands_of_buckets_are_idle_cheaply),
        cmocka_unit_test(buckets_come_and_go_beside_their_users),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
