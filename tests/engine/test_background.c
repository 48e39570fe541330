/* Background work: when writers feel it, what becomes of it when it fails, and what it takes off the readers' hands. What is
 * asked is counted in steps, calls and bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <unistd.h>

#include <jobs/work.h>
#include <commit/commit.h>
#include <store/store.h>

#include "level0.h"

/* ---- What an earlier life left undone ---- */

static void the_first_writer_behind_an_opening_is_held_back(void **state)
{
    (void)state;
    const unsigned left[] = {0, L0_SLOW_AT + 2, L0_STOP_AT};
    for (size_t i = 0; i < sizeof left / sizeof *left; i++) {
        bed b;
        bed_on_simfs(&b, 1);
        bed_must_open(&b);
        stop_compaction(&b);
        fill_level0(&b, left[i]);
        uint32_t before = pressure(&b);
        bed_must_close(&b);
        bed_must_open(&b);
        assert_int_equal(pressure(&b), before);
        assert_int_equal(pressure(&b) & ~PRESSURE_STOP, left[i]);
        assert_true(!(pressure(&b) & PRESSURE_STOP) == (left[i] < L0_STOP_AT));
        bed_release(&b);
    }
}

/* ---- What readers are the last to hold ---- */

/* The real file system, which knows what the readers' thread does to files. */
typedef struct watched_fs {
    fs base;
    fs_ops ops;
} watched_fs;

static watched_fs the_fs;
static _Thread_local bool is_reader;
static _Atomic unsigned by_readers, by_others; /* files removed, closed and unmapped */

static void note(void)
{
    atomic_fetch_add(is_reader ? &by_readers : &by_others, 1);
}

static int watched_unlink(fs_dir *dir, const char *name)
{
    note();
    return fs_posix()->ops->unlink(dir, name);
}

static void watched_close(fs_file *file)
{
    note();
    fs_posix()->ops->close(file);
}

static void watched_unmap(fs_file *file, void *address, size_t size)
{
    note();
    fs_posix()->ops->unmap(file, address, size);
}

static void bed_on_watched_disk(bed *b)
{
    bed_on_disk(b);
    the_fs = (watched_fs){.ops = *fs_posix()->ops};
    the_fs.ops.unlink = watched_unlink;
    the_fs.ops.close = watched_close;
    the_fs.ops.unmap = watched_unmap;
    the_fs.base.ops = &the_fs.ops;
    b->config.fs = &the_fs.base;
    bed_must_open(b);
}

static bool table_exists(bed *b, uint64_t no)
{
    char name[32];
    fs_entry entry;
    snprintf(name, sizeof name, "%012llu.tbl", (unsigned long long)no);
    return fs_look(b->db->store->dir, name, &entry, NULL) == FIRN_OK;
}

/* Fails when what the reader did has removed, closed or unmapped anything. */
static void as_a_reader(void (*release)(void *held), void *held)
{
    atomic_store(&by_readers, 0);
    is_reader = true;
    release(held);
    is_reader = false;
    assert_int_equal(atomic_load(&by_readers), 0);
}

static void release_value(void *held)
{
    firn_value_release(held);
}

static void release_iter(void *held)
{
    firn_iter_free(held);
}

static uint64_t only_table(bed *b)
{
    view *v = store_view(b->db->store);
    uint64_t no = 0;
    assert_int_equal(version_tables(v->version), 1);
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        if (v->version->levels[n].count)
            no = v->version->levels[n].tables[0]->no;
    view_unref(v);
    return no;
}

/* A value or an iterator is the last to hold a table that a compaction has replaced. */
static void the_last_reader_of_a_table_leaves_the_rest_to_a_worker(void **state)
{
    (void)state;
    for (int way = 0; way < 2; way++) {
        bed b;
        firn_value value = {0};
        firn_iter *it = NULL;
        bed_on_watched_disk(&b);
        bed_put(&b, "a", "1");
        MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
        uint64_t no = only_table(&b);
        if (way == 0)
            MUST(firn_get(b.db, "a", 1, NULL, &value, error));
        else
            MUST(firn_iter_new(b.db, NULL, &it, error));
        if (it)
            MUST(firn_iter_first(it));
        bed_put(&b, "a", "2");
        MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
        assert_int_not_equal(only_table(&b), no);
        assert_true(table_exists(&b, no));
        unsigned before = atomic_load(&by_others);
        as_a_reader(way == 0 ? release_value : release_iter, way == 0 ? (void *)&value : it);
        MUST(firn_settle(b.db, error)); /* which waits for the worker */
        assert_false(table_exists(&b, no));
        assert_true(atomic_load(&by_others) > before);
        bed_release(&b);
    }
}

/* Or a memtable, and the segment of the log that it indexes. */
static void the_last_reader_of_a_memtable_leaves_the_rest_to_a_worker(void **state)
{
    (void)state;
    for (int way = 0; way < 2; way++) {
        bed b;
        firn_value values[8] = {{0}};
        firn_iter *its[8] = {0};
        bed_on_watched_disk(&b);
        for (unsigned i = 0; i < 8; i++) { /* more than are kept for another use */
            bed_put(&b, "a", "1");
            if (way == 0)
                MUST(firn_get(b.db, "a", 1, NULL, &values[i], error));
            else
                MUST(firn_iter_new(b.db, NULL, &its[i], error));
            bed_flush(&b);
        }
        MUST(firn_settle(b.db, error));
        unsigned before = atomic_load(&by_others);
        for (unsigned i = 0; i < 8; i++)
            as_a_reader(way == 0 ? release_value : release_iter,
                        way == 0 ? (void *)&values[i] : its[i]);
        MUST(firn_settle(b.db, error));
        assert_true(atomic_load(&by_others) > before);
        bed_release(&b);
    }
}

/* ---- A waiter for readers to leave ---- */

typedef struct waiting {
    readers readers;
    thread thread;
    atomic_bool over;
} waiting;

static void wait_for_readers(void *arg)
{
    waiting *w = arg;
    readers_wait(&w->readers);
    atomic_store(&w->over, true);
}

/* Returns when the waiter has said for which readers it waits, and has let go of the lock by which it sleeps. */
static void start_waiter(waiting *w)
{
    assert_int_equal(thread_start(&w->thread, "waiter", wait_for_readers, w), 0);
    while (atomic_load(&w->readers.awaited) == 0)
        usleep(100);
    mutex_lock(&w->readers.bed);
    mutex_unlock(&w->readers.bed);
}

/* A reader is inside for as long as its disk takes. What the waiter does meanwhile is counted in looks. */
static void who_waits_for_a_reader_sleeps(void **state)
{
    (void)state;
    enum { OLD = 3, NEW = 10000 };
    waiting *w = aligned_alloc(_Alignof(waiting), sizeof *w);
    uint32_t tickets[OLD];
    assert_non_null(w);
    memset(w, 0, sizeof *w);
    readers_init(&w->readers);
    for (size_t i = 0; i < OLD; i++)
        tickets[i] = readers_enter(&w->readers);
    start_waiter(w);
    for (size_t i = 0; i < NEW; i++) /* later readers come and go, and wake no thread */
        readers_exit(&w->readers, readers_enter(&w->readers));
    usleep(1000);
    for (size_t i = 0; i < OLD; i++) {
        assert_false(atomic_load(&w->over));
        if (i % 2)
            readers_exit_pinned(&w->readers, tickets[i]);
        else
            readers_exit(&w->readers, tickets[i]);
    }
    thread_join(&w->thread);
    assert_true(atomic_load(&w->over));
    /* Before and after it lay down, once for each that it waited for, and at the other column; and a few wakings that
     * the system may make up. */
    mutex_not_shared(&w->readers.waiting);
    assert_true(w->readers.looks <= 2 + OLD + 1 + 4);
    assert_int_equal(readers_pins(&w->readers), 1);
    readers_release(&w->readers);
    free(w);
}

typedef struct flushing {
    firn *db;
    thread thread;
    int status;
    atomic_bool over;
} flushing;

static void flush_the_store(void *arg)
{
    flushing *f = arg;
    f->status = firn_flush(f->db, NULL);
    atomic_store(&f->over, true);
}

/* A reader holds no reference of the view that it reads in: what replaces the view waits until the reader has left. */
static void a_replaced_view_stays_while_it_has_readers(void **state)
{
    (void)state;
    bed b;
    bed_on_simfs(&b, 1);
    bed_must_open(&b);
    bed_put(&b, "a", "1");
    flushing f = {.db = b.db};
    uint32_t ticket = readers_enter(&b.db->store->readers);
    assert_int_equal(thread_start(&f.thread, "flushing", flush_the_store, &f), 0);
    while (atomic_load(&b.db->store->readers.awaited) == 0 && !atomic_load(&f.over))
        usleep(100);
    assert_false(atomic_load(&f.over));
    readers_exit(&b.db->store->readers, ticket);
    thread_join(&f.thread);
    assert_int_equal(f.status, FIRN_OK);
    bed_expect(&b, NULL, "a", "1");
    bed_release(&b);
}

static int refuse_a_table(void *ctx, unsigned call, uint64_t index, const char *name)
{
    bool *armed = ctx;
    (void)index;
    if (!*armed || call != SIMFS_CREATE || !strstr(name, ".tbl"))
        return 0;
    *armed = false;
    return EIO;
}

static void a_flush_that_fails_stops_writing(void **state)
{
    (void)state;
    bed b;
    bool armed = true;
    firn_error err = {0};
    bed_on_simfs(&b, 1);
    bed_must_open(&b);
    bed_put(&b, "a", "1");
    simfs_on_call(b.sim, refuse_a_table, &armed);
    assert_int_equal(firn_flush(b.db, &err), FIRN_IO);
    assert_false(armed);
    assert_int_equal(firn_put(b.db, "b", 1, "2", 1, NULL, &err), FIRN_POISONED);
    assert_int_equal(firn_flush(b.db, &err), FIRN_POISONED);
    assert_true(bed_stats(&b).poisoned);
    bed_expect(&b, NULL, "a", "1");
    (void)firn_close(b.db, NULL);
    bed_must_open(&b);
    bed_expect(&b, NULL, "a", "1");
    bed_put(&b, "b", "2");
    bed_release(&b);
}

static void a_flush_without_descriptors_is_tried_again(void **state)
{
    (void)state;
    static const int errors[] = {EMFILE, ENFILE, ENOMEM, ENOSPC};
    for (size_t e = 0; e < sizeof errors / sizeof *errors; e++) {
        bed b;
        firn_error err = {0};
        bed_on_simfs(&b, 1);
        bed_must_open(&b);
        bed_put(&b, "a", "1");
        simfs_fail(b.sim, (simfs_fault){.calls = SIMFS_CREATE, .at = 1, .error = errors[e]});
        assert_int_not_equal(firn_flush(b.db, &err), FIRN_OK);
        simfs_heal(b.sim);
        assert_false(bed_stats(&b).poisoned);
        bed_put(&b, "b", "2");
        bed_flush(&b);
        assert_int_equal(bed_tables(&b), 1);
        bed_expect(&b, NULL, "a", "1");
        bed_must_close(&b);
        bed_must_open(&b);
        bed_expect(&b, NULL, "b", "2");
        bed_release(&b);
    }
}

static int no_table_opens(void *ctx, unsigned call, uint64_t index, const char *name)
{
    (void)ctx;
    (void)index;
    return call == SIMFS_OPEN && strstr(name, ".tbl") ? EIO : 0;
}

static void a_table_that_cannot_be_read_holds_up_compaction_and_not_writing(void **state)
{
    (void)state;
    bed b;
    char key[16];
    bed_on_simfs(&b, 1);
    bed_must_open(&b);
    simfs_on_call(b.sim, no_table_opens, NULL);
    for (unsigned i = 0; i < 8; i++) {
        snprintf(key, sizeof key, "k%u", i);
        bed_put(&b, key, "v");
        bed_put(&b, "a", "v");
        int rc = firn_flush(b.db, NULL);
        assert_true(rc == FIRN_OK || rc == FIRN_IO);
    }
    assert_false(bed_stats(&b).poisoned);
    assert_int_equal(bed_stats(&b).level_tables[0], 8);
    simfs_on_call(b.sim, NULL, NULL);
    bed_put(&b, "again", "v");
    bed_flush(&b);
    assert_true(bed_stats(&b).level_tables[0] < 8); /* it goes on */
    for (int life = 0; life < 2; life++) {
        for (unsigned i = 0; i < 8; i++) {
            snprintf(key, sizeof key, "k%u", i);
            bed_expect(&b, NULL, key, "v");
        }
        bed_must_close(&b);
        bed_must_open(&b);
    }
    bed_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_writer_behind_an_opening_is_held_back),
        cmocka_unit_test(the_last_reader_of_a_table_leaves_the_rest_to_a_worker),
        cmocka_unit_test(the_last_reader_of_a_memtable_leaves_the_rest_to_a_worker),
        cmocka_unit_test(who_waits_for_a_reader_sleeps),
        cmocka_unit_test(a_replaced_view_stays_while_it_has_readers),
        cmocka_unit_test(a_flush_that_fails_stops_writing),
        cmocka_unit_test(a_flush_without_descriptors_is_tried_again),
        cmocka_unit_test(a_table_that_cannot_be_read_holds_up_compaction_and_not_writing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
