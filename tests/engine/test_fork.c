/* A child of a fork has the memory of a store and none of its threads. What another thread of the parent held at that moment
 * is held for ever in the child, so nothing that a child may call takes a lock, or ends what the parent still needs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <base/fs.h>
#include <base/thread.h>

#include "bed.h"
#include <store/store.h>

#define HANGS_AFTER_S 20

/* What a caller holds when it forks. */
typedef struct held {
    firn *db;
    firn_snapshot *snapshot;
    firn_iter *iter;
    firn_txn *txn; /* with a write */
    firn_iter *in_txn;
    firn_value in_memory, in_table;
} held;

enum { SNAPSHOT = 1, ITER = 2, IN_MEMORY = 4, IN_TABLE = 8, TXN = 16, ALL = 31 };

static const firn_op write_own = {
    .size = sizeof write_own, .kind = FIRN_OP_PUT, .key = {(const uint8_t *)"own", 3}};

static held hold(bed *b, unsigned what)
{
    held h = {.db = b->db};
    bed_put(b, "table", "of a table");
    bed_flush(b);
    bed_put(b, "memory", "of a memtable");
    if (what & SNAPSHOT)
        MUST(firn_snapshot_new(b->db, &h.snapshot, error));
    if (what & ITER) {
        MUST(firn_iter_new(b->db, NULL, &h.iter, error));
        MUST(firn_iter_first(h.iter));
    }
    if (what & TXN) {
        firn_iter_options o;
        MUST(firn_txn_new(b->db, NULL, &h.txn, error));
        MUST(firn_txn_add(h.txn, b->db, &write_own, 1, error));
        firn_iter_options_init(&o);
        o.txn = h.txn;
        MUST(firn_iter_new(b->db, &o, &h.in_txn, error));
        MUST(firn_iter_seek(h.in_txn, "own", 3));
    }
    if (what & IN_MEMORY)
        MUST(firn_get(b->db, "memory", 6, NULL, &h.in_memory, error));
    if (what & IN_TABLE)
        MUST(firn_get(b->db, "table", 5, NULL, &h.in_table, error));
    return h;
}

/* From here on nothing but what the caller holds refers to the memtable, or to the tables there were. */
static void replace_all(bed *b)
{
    bed_put(b, "table", "another");
    MUST(firn_compact(b->db, NULL, 0, NULL, 0, error));
    MUST(firn_settle(b->db, error));
}

/* What is held reads as before. */
static void still_reads(const held *h)
{
    if (h->in_memory.data)
        assert_memory_equal(h->in_memory.data, "of a memtable", 13);
    if (h->in_table.data)
        assert_memory_equal(h->in_table.data, "of a table", 10);
    if (h->txn) {
        MUST(firn_iter_seek(h->in_txn, "own", 3));
        assert_memory_equal(firn_iter_key(h->in_txn).data, "own", 3);
    }
    if (!h->iter)
        return;
    MUST(firn_iter_seek(h->iter, "table", 5));
    assert_memory_equal(firn_iter_value(h->iter).data, "of a table", 10);
}

static void give_back(held *h)
{
    firn_value_release(&h->in_memory);
    firn_value_release(&h->in_table);
    firn_iter_free(h->iter);
    firn_iter_free(h->in_txn);
    firn_txn_free(h->txn);
    firn_snapshot_free(h->snapshot);
}

/* The same for a transaction, which is still to be given back. */
static bool refuses_txn(held *h)
{
    uint64_t point;
    firn_error e = {0};
    firn_value v = {0};
    const firn_read_options in = {.size = sizeof in, .txn = h->txn};
    firn_txn_reset(h->txn);
    return firn_iter_next(h->in_txn) == FIRN_INVALID && !firn_iter_valid(h->in_txn) &&
           firn_get(h->db, "own", 3, &in, &v, &e) == FIRN_INVALID &&
           firn_txn_add(h->txn, h->db, &write_own, 1, &e) == FIRN_INVALID &&
           firn_txn_save(h->txn, &point, &e) == FIRN_INVALID &&
           firn_txn_rollback(h->txn, 1, &e) == FIRN_INVALID &&
           firn_txn_commit(h->txn, NULL, &e) == FIRN_INVALID;
}

/* In the child. Returns what is wrong: 0 nothing. */
static int use_all(held *h)
{
    firn_error e = {0};
    firn_value v = {0};
    firn_iter *it = NULL;
    firn_stats stats = {.size = sizeof stats};
    if (h->iter && (firn_iter_next(h->iter) != FIRN_INVALID || firn_iter_valid(h->iter)))
        return 1;
    if (h->txn && !refuses_txn(h))
        return 6;
    give_back(h);
    if (h->in_memory.data || h->in_table.data)
        return 2;
    if (firn_put(h->db, "k", 1, "v", 1, NULL, &e) != FIRN_INVALID ||
        firn_get(h->db, "k", 1, NULL, &v, &e) != FIRN_INVALID ||
        firn_iter_new(h->db, NULL, &it, &e) != FIRN_INVALID || firn_sync(h->db, &e) != FIRN_INVALID)
        return 3;
    if (firn_flush(h->db, &e) != FIRN_INVALID || firn_settle(h->db, &e) != FIRN_INVALID ||
        firn_compact(h->db, NULL, 0, NULL, 0, &e) != FIRN_INVALID ||
        firn_get_stats(h->db, &stats, &e) != FIRN_INVALID)
        return 4;
    return firn_close(h->db, &e) == FIRN_INVALID ? 0 : 5;
}

/* Is the child done with everything, in time? */
static void child_uses_all(held *h)
{
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        alarm(HANGS_AFTER_S);
        _exit(use_all(h));
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_false(WIFSIGNALED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void the_child_waits_for_no_lock_that_the_parent_held(void **state)
{
    (void)state;
    const unsigned holders[] = {SNAPSHOT, ITER, IN_MEMORY, IN_TABLE, ALL};
    for (size_t n = 0; n < sizeof holders / sizeof *holders; n++) {
        bed b;
        bed_on_disk(&b);
        bed_must_open(&b);
        held h = hold(&b, holders[n]);
        replace_all(&b);
        firn *db = b.db;
        mutex *const all[] = {
            &db->store->cleaner.cleaner_mu.lock, &db->store->snapshot_mu.lock,
            &db->store->state_mu.lock,           &db->store->manifest_mu.lock,
            &db->store->flush_mu.lock,           &db->store->jobs_mu.lock,
            &db->store->readers.bed.lock,        &db->store->readers.waiting.lock};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
            mutex_lock_any(all[i]);
            child_uses_all(&h);
            mutex_unlock_any(all[i]);
        }
        still_reads(&h);
        give_back(&h);
        bed_must_close(&b);
        bed_release(&b);
    }
}

static int count_tables(void *ctx, const char *name)
{
    *(unsigned *)ctx += strstr(name, ".tbl") != NULL;
    return FIRN_OK;
}

/* Without threads, who gives the last reference to a replaced table back removes its file at once. */
static void the_child_removes_no_file_that_the_parent_reads(void **state)
{
    (void)state;
    const unsigned holders[] = {ITER, IN_TABLE};
    for (size_t i = 0; i < 2; i++) {
        bed b;
        unsigned before = 0, behind = 0;
        bed_on_disk(&b);
        b.config.inline_work = true;
        bed_must_open(&b);
        held h = hold(&b, holders[i]);
        replace_all(&b);
        MUST(fs_dir_list(b.db->store->dir, count_tables, &before, error));
        assert_true(before > bed_tables(&b));
        child_uses_all(&h);
        MUST(fs_dir_list(b.db->store->dir, count_tables, &behind, error));
        assert_int_equal(behind, before);
        still_reads(&h);
        give_back(&h);
        bed_must_close(&b);
        bed_release(&b);
    }
}

/* ---- While other threads are at work ---- */

typedef struct client {
    bed *b;
    atomic_bool *enough;
    unsigned kind;
    thread t;
} client;

static void strike(void *arg)
{
    const client *h = arg;
    firn *db = h->b->db;
    for (unsigned i = 0; !atomic_load(h->enough); i++) {
        firn_value v = {0};
        firn_iter *it = NULL;
        firn_snapshot *s = NULL;
        char key[16];
        int size = snprintf(key, sizeof key, "k%u", i % 100);
        if (h->kind == 0)
            (void)firn_put(db, key, (size_t)size, key, (size_t)size, NULL, NULL);
        if (h->kind == 1 && firn_get(db, key, (size_t)size, NULL, &v, NULL) == FIRN_OK)
            firn_value_release(&v);
        if (h->kind == 2 && firn_snapshot_new(db, &s, NULL) == FIRN_OK) {
            if (firn_iter_new(db, NULL, &it, NULL) == FIRN_OK)
                (void)firn_iter_first(it);
            firn_iter_free(it);
            firn_snapshot_free(s);
        }
        if (h->kind == 3)
            (void)(i % 4 ? firn_flush(db, NULL) : firn_compact(db, NULL, 0, NULL, 0, NULL));
    }
}

static void the_child_of_a_busy_store_neither_hangs_nor_harms(void **state)
{
    (void)state;
    bed b;
    client all[4];
    atomic_bool enough = false;
    bed_on_disk(&b);
    b.options.durability = FIRN_DURABILITY_NONE;
    bed_must_open(&b);
    held h = hold(&b, ALL);
    for (unsigned i = 0; i < 4; i++) {
        all[i] = (client){.b = &b, .enough = &enough, .kind = i};
        assert_int_equal(thread_start(&all[i].t, "client", strike, &all[i]), 0);
    }
    for (unsigned i = 0; i < (long_run() ? 1000u : 60u); i++)
        child_uses_all(&h);
    atomic_store(&enough, true);
    for (unsigned i = 0; i < 4; i++)
        thread_join(&all[i].t);
    give_back(&h);
    bed_put(&b, "k1", "k1");
    bed_must_close(&b);
    bed_must_open(&b);
    bed_expect(&b, NULL, "k1", "k1");
    bed_expect(&b, NULL, "table", "of a table");
    MUST(firn_check(b.folder, NULL, NULL, NULL, error));
    bed_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_child_waits_for_no_lock_that_the_parent_held),
        cmocka_unit_test(the_child_removes_no_file_that_the_parent_reads),
        cmocka_unit_test(the_child_of_a_busy_store_neither_hangs_nor_harms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
