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
#include "bed.h"
#include <store/store.h>

/* From here on nothing is compacted in this life of the store, and no worker is still looking for what it might do. */
static void stop_compaction(bed *b)
{
    mutex_lock(&b->db->state_mu);
    b->db->compaction_failed = true;
    while (b->db->compacting)
        cond_wait(&b->db->state_changed, &b->db->state_mu);
    mutex_unlock(&b->db->state_mu);
}

/* Fills level 0 up to so many tables. */
static void fill_level0(bed *b, unsigned tables)
{
    for (unsigned i = (unsigned)bed_stats(b).level_tables[0]; i < tables; i++) {
        bed_put(b, i % 2 ? "a" : "b", "value");
        bed_flush(b);
    }
    assert_int_equal(bed_stats(b).level_tables[0], tables);
}

/* ---- What an earlier life left undone ---- */

static uint32_t pressure(bed *b)
{
    return atomic_load_explicit(&b->db->pressure, memory_order_relaxed);
}

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

/* ---- Work that fails for want of room ---- */

static void the_pause_before_the_next_attempt_doubles_up_to_ten_seconds(void **state)
{
    (void)state;
    const uint64_t pauses[] = {100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000};
    for (unsigned i = 0; i < sizeof pauses / sizeof *pauses; i++)
        assert_int_equal(retry_pause_ms(i + 1), pauses[i]);
    assert_int_equal(retry_pause_ms(UINT_MAX), 10000);
}

static uint64_t writes(bed *b)
{
    return simfs_calls(b->sim, SIMFS_CREATE | SIMFS_WRITE | SIMFS_ALLOCATE);
}

/* Tables in level 0 that overlap all of level 1, and less room than that takes. */
static void fill_the_disk(bed *b)
{
    char value[4000];
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    for (char key[2] = "a"; key[0] <= 'h'; key[0]++)
        bed_put(b, key, value);
    MUST(firn_compact(b->db, NULL, 0, NULL, 0, error));
    stop_compaction(b);
    for (unsigned i = 0; i < L0_COMPACT_AT + 2; i++) {
        bed_put(b, "a", "small");
        for (char key[2] = "b"; key[0] <= 'h'; key[0]++)
            bed_delete(b, key);
        bed_flush(b);
    }
    mutex_lock(&b->db->state_mu);
    b->db->compaction_failed = false;
    mutex_unlock(&b->db->state_mu);
    simfs_capacity(b->sim, simfs_used(b->sim) + 10000);
}

static void a_compaction_without_room_writes_nothing_until_there_is_some(void **state)
{
    (void)state;
    bed b;
    bed_on_simfs(&b, 1);
    bed_must_open(&b);
    fill_the_disk(&b);
    uint64_t before = writes(&b), used = simfs_used(b.sim);
    uint64_t tables = bed_stats(&b).level_tables[0];
    for (int attempt = 0; attempt < 10; attempt++) {
        firn_error err = {0};
        assert_int_equal(firn_settle(b.db, &err), FIRN_NO_SPACE);
        assert_non_null(strstr(err.message, "compaction of level 0 may need"));
        assert_non_null(strstr(err.hint, "make room"));
    }
    assert_int_equal(writes(&b), before);
    assert_int_equal(simfs_used(b.sim), used);
    assert_false(bed_stats(&b).poisoned);
    bed_put(&b, "c", "writing goes on"); /* and so does flushing */
    bed_flush(&b);
    assert_int_equal(bed_stats(&b).level_tables[0], tables + 1);
    simfs_capacity(b.sim, UINT64_MAX);
    MUST(firn_settle(b.db, error));
    assert_int_equal(bed_stats(&b).level_tables[0], 0);
    bed_expect(&b, NULL, "c", "writing goes on");
    bed_release(&b);
}

/* Nearly all of it is garbage: who knows that, may say so. */
static void a_caller_may_have_compacted_what_may_not_fit(void **state)
{
    (void)state;
    bed b;
    bed_on_simfs(&b, 1);
    bed_must_open(&b);
    fill_the_disk(&b);
    assert_int_equal(firn_settle(b.db, NULL), FIRN_NO_SPACE);
    MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
    assert_int_equal(bed_stats(&b).level_tables[0], 0);
    mutex_lock(&b.db->state_mu);
    assert_int_equal(b.db->stuck[WORK_COMPACTION].status, FIRN_OK);
    mutex_unlock(&b.db->state_mu);
    bed_release(&b);
}

static int no_room_for_tables(void *ctx, unsigned call, uint64_t index, const char *name)
{
    (void)ctx;
    (void)index;
    return call == SIMFS_CREATE && strstr(name, ".tbl") ? ENOSPC : 0;
}

static void set_stuck(bed *b, background_work work, int rc)
{
    mutex_lock(&b->db->state_mu);
    b->db->stuck[work].status = b->db->stuck[work].error.status = rc;
    b->db->compaction_stuck_at = 1;
    snprintf(b->db->stuck[work].error.message, sizeof b->db->stuck[work].error.message, "%s",
             work == WORK_FLUSH ? "of the flush" : "of the compaction");
    mutex_unlock(&b->db->state_mu);
}

/* What a writer that has to wait is told: FIRN_OK to wait on, or an error with this message. */
static void writers_are_told(bed *b, int wanted, const char *message)
{
    firn_error err = {0};
    mutex_lock(&b->db->state_mu);
    int rc = store_stopped(b->db, &err);
    mutex_unlock(&b->db->state_mu);
    assert_int_equal(rc, wanted);
    assert_string_equal(err.message, message);
}

static void who_waits_for_a_healthy_flush_is_not_told_of_a_compaction(void **state)
{
    (void)state;
    bed b;
    bed_on_simfs(&b, 1);
    bed_must_open(&b);
    simfs_on_call(b.sim, no_room_for_tables, NULL);
    for (unsigned i = 0; i <= FROZEN_MAX; i++) {
        bed_put(&b, "k", "v");
        MUST(store_rotate(b.db, error));
    }
    simfs_on_call(b.sim, NULL, NULL);
    assert_true(pressure(&b) & PRESSURE_STOP);
    set_stuck(&b, WORK_FLUSH, FIRN_OK);
    set_stuck(&b, WORK_COMPACTION, FIRN_NO_SPACE);
    writers_are_told(&b, FIRN_OK, "");
    set_stuck(&b, WORK_FLUSH, FIRN_NO_MEMORY);
    writers_are_told(&b, FIRN_NO_MEMORY, "of the flush");
    bed_flush(&b);
    /* And the other way round. */
    stop_compaction(&b);
    fill_level0(&b, L0_STOP_AT);
    mutex_lock(&b.db->state_mu);
    b.db->compaction_failed = false;
    mutex_unlock(&b.db->state_mu);
    set_stuck(&b, WORK_FLUSH, FIRN_NO_SPACE);
    set_stuck(&b, WORK_COMPACTION, FIRN_OK);
    writers_are_told(&b, FIRN_OK, "");
    set_stuck(&b, WORK_COMPACTION, FIRN_NO_SPACE);
    writers_are_told(&b, FIRN_NO_SPACE, "of the compaction");
    bed_release(&b);
}

/* What waits to be flushed becomes a table, whatever writers do: so it counts before it is one. */
static void a_memtable_that_waits_counts_as_a_table_of_level_0(void **state)
{
    (void)state;
    for (unsigned tables = L0_STOP_AT - 2; tables < L0_STOP_AT; tables++) {
        bed b;
        bed_on_simfs(&b, 1);
        bed_must_open(&b);
        stop_compaction(&b);
        fill_level0(&b, tables);
        assert_false(pressure(&b) & PRESSURE_STOP);
        simfs_on_call(b.sim, no_room_for_tables, NULL);
        bed_put(&b, "k", "v");
        MUST(store_rotate(b.db, error));
        assert_true(!(pressure(&b) & PRESSURE_STOP) == (tables + 1 < L0_STOP_AT));
        simfs_on_call(b.sim, NULL, NULL);
        bed_release(&b);
    }
}

/* With threads: while compaction has no room, a caller that flushes waits for the flush and hears of nothing else. */
static void a_flush_succeeds_while_a_compaction_waits_for_room(void **state)
{
    (void)state;
    bed b;
    bed_on_disk(&b);
    bed_must_open(&b);
    stop_compaction(&b);
    set_stuck(&b, WORK_COMPACTION, FIRN_NO_SPACE);
    for (unsigned i = 0; i < 3; i++) {
        bed_put(&b, "k", "v");
        bed_flush(&b);
        mutex_lock(&b.db->state_mu);
        assert_int_equal(b.db->stuck[WORK_COMPACTION].status, FIRN_NO_SPACE);
        mutex_unlock(&b.db->state_mu);
    }
    bed_release(&b);
}

/* ---- What an attempt has found may have been cured ---- */

/* The real file system, but for what is done when a table is made. */
static struct {
    fs base;
    fs_ops ops;
    atomic_bool full;
    atomic_bool for_compaction; /* and not for flushes */
    _Atomic unsigned refused;
    _Atomic uint64_t last_us,
        least_us; /* the last attempt that was refused, and the least time between two */
} full_disk;

static bool is_full_for_me(void)
{
    char name[16] = "";
    if (!atomic_load(&full_disk.for_compaction))
        return atomic_load(&full_disk.full);
    pthread_getname_np(pthread_self(), name, sizeof name);
    return atomic_load(&full_disk.full) && strncmp(name, "firn-compact", 12) == 0;
}

static int full_disk_open(fs_dir *dir, const char *name, unsigned flags, fs_file **out)
{
    if (!(flags & FS_CREATE_NEW) || !strstr(name, ".tbl") || !is_full_for_me())
        return fs_posix()->ops->open(dir, name, flags, out);
    uint64_t now = fs_mono_us(fs_posix()), last = atomic_exchange(&full_disk.last_us, now);
    if (atomic_fetch_add(&full_disk.refused, 1) > 0 &&
        now - last < atomic_load(&full_disk.least_us))
        atomic_store(&full_disk.least_us, now - last);
    return -ENOSPC;
}

static void open_on_full_disk(bed *b, bool for_compaction)
{
    bed_on_disk(b);
    full_disk.ops = *fs_posix()->ops;
    full_disk.ops.open = full_disk_open;
    full_disk.base.ops = &full_disk.ops;
    atomic_store(&full_disk.full, true);
    atomic_store(&full_disk.for_compaction, for_compaction);
    atomic_store(&full_disk.refused, 0);
    atomic_store(&full_disk.least_us, UINT64_MAX);
    b->config.fs = &full_disk.base;
    bed_must_open(b);
}

/* A store whose flusher has found the disk full so often that it pauses for seconds. */
static void bed_on_full_disk(bed *b)
{
    open_on_full_disk(b, false);
    bed_put(b, "k", "v");
    for (unsigned calls = 1; calls <= 7; calls++) {
        unsigned before = atomic_load(&full_disk.refused);
        assert_int_equal(firn_flush(b->db, NULL), FIRN_NO_SPACE);
        /* One attempt that was under way, and one that was asked for. */
        assert_true(atomic_load(&full_disk.refused) > before);
        assert_true(atomic_load(&full_disk.refused) <= before + 2);
    }
    assert_true(atomic_load(&full_disk.least_us) >= RETRY_MS * 1000);
}

static void a_flush_that_is_cured_is_told_as_cured(void **state)
{
    (void)state;
    for (unsigned way = 0; way < 3; way++) {
        bed b;
        bed_on_full_disk(&b);
        assert_int_equal(way == 0   ? firn_flush(b.db, NULL)
                         : way == 1 ? firn_settle(b.db, NULL)
                                    : firn_compact(b.db, NULL, 0, NULL, 0, NULL),
                         FIRN_NO_SPACE);
        atomic_store(&full_disk.full, false);
        MUST(way == 0   ? firn_flush(b.db, error)
             : way == 1 ? firn_settle(b.db, error)
                        : firn_compact(b.db, NULL, 0, NULL, 0, error));
        assert_true(bed_tables(&b) > 0);
        bed_expect(&b, NULL, "k", "v");
        bed_release(&b);
    }
}

/* The same for who settles: workers that pause for seconds try again, and what they had found before is not told. */
static void a_compaction_that_is_cured_is_told_as_cured(void **state)
{
    (void)state;
    bed b;
    open_on_full_disk(&b, true);
    for (unsigned i = 0; i < L0_COMPACT_AT; i++) {
        bed_put(&b, i % 2 ? "a" : "b", "value");
        bed_put(&b, "c", "value");
        bed_flush(&b);
    }
    for (unsigned calls = 1; calls <= 8; calls++) {
        firn_error err = {0};
        unsigned before = atomic_load(&full_disk.refused);
        assert_int_equal(firn_settle(b.db, &err), FIRN_NO_SPACE);
        assert_true(atomic_load(&full_disk.refused) > before);
    }
    assert_true(bed_stats(&b).level_tables[0] > 1);
    atomic_store(&full_disk.full, false);
    MUST(firn_settle(b.db, error));
    assert_true(bed_stats(&b).level_tables[0] <= 1);
    bed_expect(&b, NULL, "c", "value");
    bed_release(&b);
}

static void a_writer_is_not_refused_for_what_is_cured(void **state)
{
    (void)state;
    bed b;
    bed_on_full_disk(&b);
    for (unsigned i = 0; i < FROZEN_MAX; i++) {
        bed_put(&b, "k", "w");
        MUST(store_rotate(b.db, error));
    }
    assert_true(pressure(&b) & PRESSURE_STOP);
    assert_int_equal(firn_put(b.db, "k", 1, "x", 1, NULL, NULL), FIRN_NO_SPACE);
    assert_true(atomic_load(&full_disk.least_us) >= RETRY_MS * 1000);
    atomic_store(&full_disk.full, false);
    bed_put(&b, "k", "y");
    bed_flush(&b);
    bed_expect(&b, NULL, "k", "y");
    bed_release(&b);
}

static void ask_in_vain(void *arg)
{
    bed *b = arg;
    for (unsigned i = 0; i < 3; i++)
        if (firn_flush(b->db, NULL) != FIRN_NO_SPACE)
            abort();
}

/* However many ask, attempts keep their distance. */
static void a_full_disk_is_tried_only_now_and_then(void **state)
{
    (void)state;
    bed b;
    thread callers[8];
    bed_on_full_disk(&b);
    unsigned before = atomic_load(&full_disk.refused);
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(thread_start(&callers[i], "caller", ask_in_vain, &b), 0);
    for (size_t i = 0; i < 8; i++)
        thread_join(&callers[i]);
    assert_true(atomic_load(&full_disk.refused) >= before + 3);
    assert_true(atomic_load(&full_disk.least_us) >= RETRY_MS * 1000);
    atomic_store(&full_disk.full, false);
    bed_flush(&b);
    bed_release(&b);
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
    return fs_look(b->db->dir, name, &entry, NULL) == FIRN_OK;
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
    view *v = store_view(b->db);
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
    uint32_t ticket = readers_enter(&b.db->readers);
    assert_int_equal(thread_start(&f.thread, "flushing", flush_the_store, &f), 0);
    while (atomic_load(&b.db->readers.awaited) == 0 && !atomic_load(&f.over))
        usleep(100);
    assert_false(atomic_load(&f.over));
    readers_exit(&b.db->readers, ticket);
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

static void a_table_that_cannot_be_read_stops_compaction_and_not_writing(void **state)
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
    for (int life = 0; life < 2; life++) {
        for (unsigned i = 0; i < 8; i++) {
            snprintf(key, sizeof key, "k%u", i);
            bed_expect(&b, NULL, key, "v");
        }
        bed_must_close(&b);
        bed_must_open(&b);
        bed_put(&b, "more", "v");
        bed_flush(&b);
    }
    assert_true(bed_stats(&b).level_tables[0] < 8); /* opened again, it goes on */
    bed_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_writer_behind_an_opening_is_held_back),
        cmocka_unit_test(the_pause_before_the_next_attempt_doubles_up_to_ten_seconds),
        cmocka_unit_test(a_compaction_without_room_writes_nothing_until_there_is_some),
        cmocka_unit_test(a_caller_may_have_compacted_what_may_not_fit),
        cmocka_unit_test(who_waits_for_a_healthy_flush_is_not_told_of_a_compaction),
        cmocka_unit_test(a_flush_that_is_cured_is_told_as_cured),
        cmocka_unit_test(a_compaction_that_is_cured_is_told_as_cured),
        cmocka_unit_test(a_writer_is_not_refused_for_what_is_cured),
        cmocka_unit_test(a_full_disk_is_tried_only_now_and_then),
        cmocka_unit_test(a_memtable_that_waits_counts_as_a_table_of_level_0),
        cmocka_unit_test(a_flush_succeeds_while_a_compaction_waits_for_room),
        cmocka_unit_test(the_last_reader_of_a_table_leaves_the_rest_to_a_worker),
        cmocka_unit_test(the_last_reader_of_a_memtable_leaves_the_rest_to_a_worker),
        cmocka_unit_test(who_waits_for_a_reader_sleeps),
        cmocka_unit_test(a_replaced_view_stays_while_it_has_readers),
        cmocka_unit_test(a_flush_that_fails_stops_writing),
        cmocka_unit_test(a_flush_without_descriptors_is_tried_again),
        cmocka_unit_test(a_table_that_cannot_be_read_stops_compaction_and_not_writing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
