/* No wait of a call is mute: each cause of waiting is brought about, and named in the figures and in the log. Where the store is in
 * memory its clock is moved by the test; a real wait lasts for the second behind which the log is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <base/error.h>
#include <base/thread.h>
#include <commit/commit.h>

#include "bed.h"
#include "jobs.h"
#include "trees.h"

/* ---- What the log was told, and a caller in a thread of its own ---- */

typedef struct caller {
    bed *b;
    thread t;
    MUTEX(lines_mu);
    char lines[4096] GUARDED_BY(lines_mu);
    int (*call)(firn *db);
    tree *tree;
    int status;
    atomic_bool done;
} caller;

static _Thread_local bool is_caller;

static void note_line(void *ctx, firn_log_level lvl, const char *text)
{
    caller *c = ctx;
    (void)lvl;
    mutex_lock(&c->lines_mu);
    size_t at = strlen(c->lines);
    snprintf(c->lines + at, sizeof c->lines - at, "%s\n", text);
    mutex_unlock(&c->lines_mu);
}

static unsigned lines_with(caller *c, const char *text)
{
    unsigned n = 0;
    mutex_lock(&c->lines_mu);
    for (const char *at = c->lines; (at = strstr(at, text)); at++)
        n++;
    mutex_unlock(&c->lines_mu);
    return n;
}

/* In memory the clock is moved again and again: a call may look at it for the first time only now. */
static void until_told(caller *c, const char *text)
{
    for (; lines_with(c, text) == 0; usleep(1000))
        if (c->b->sim)
            simfs_advance(c->b->sim, 2000 * 1000);
}

/* Before the store is opened. */
static void listen(caller *c, bed *b)
{
    memset(c, 0, sizeof *c);
    mutex_init(&c->lines_mu);
    c->b = b;
    b->options.log = note_line;
    b->options.log_ctx = c;
}

static void open_on_simfs(caller *c, bed *b)
{
    bed_on_simfs(b, 1);
    listen(c, b);
    bed_must_open(b);
}

static void run_call(void *ctx)
{
    caller *c = ctx;
    is_caller = true;
    c->status = c->tree ? firn_bucket_drop(c->tree, NULL) : c->call(c->b->db);
    atomic_store(&c->done, true);
}

static void start(caller *c, int (*call)(firn *db))
{
    c->call = call;
    assert_int_equal(thread_start(&c->t, "caller", run_call, c), 0);
}

/* Returns when so many calls wait. */
static void until_waiting(caller *c, uint32_t calls)
{
    wait_list_now now;
    do {
        usleep(1000);
        wait_list_look(&c->b->db->store->waits, &now);
    } while (now.waiting < calls);
}

static void must_wait_for(caller *c, firn_wait cause)
{
    firn_stats s = bed_stats(c->b);
    assert_false(atomic_load(&c->done));
    assert_true(s.waiting >= 1);
    assert_int_equal(s.waiting_for, cause);
    assert_true(s.waiting_us >= 1000 * 1000);
}

static void join(caller *c, firn_wait cause)
{
    thread_join(&c->t);
    assert_int_equal(c->status, FIRN_OK);
    firn_stats s = bed_stats(c->b);
    assert_int_equal(s.waiting, 0);
    assert_int_equal(s.waiting_for, FIRN_WAIT_NONE);
    assert_int_equal(s.waiting_us, 0);
    assert_true(s.waits[cause].count >= 1);
    assert_true(s.waits[cause].us >= 1000 * 1000);
    assert_int_equal(lines_with(c, "goes on after"), 1);
}

static int compact_all(firn *db)
{
    return firn_compact(db, NULL, 0, NULL, 0, NULL);
}

static int settle(firn *db)
{
    return firn_settle(db, NULL);
}

static int flush(firn *db)
{
    return firn_flush(db, NULL);
}

static int close_it(firn *db)
{
    return firn_close(db, NULL);
}

static int put_synced(firn *db)
{
    return firn_put(db, "k", 1, "v", 1, NULL, NULL);
}

/* ---- Callers ---- */

static void a_caller_names_the_compaction_in_its_way(void **state)
{
    (void)state;
    bed b;
    caller c;
    bed_on_disk(&b);
    listen(&c, &b);
    bed_must_open(&b);
    schedule_request q;
    job j;
    int rc = FIRN_NOT_FOUND;
    while (rc == FIRN_NOT_FOUND) { /* a worker may have been faster */
        bed_put(&b, "k", "v");
        bed_flush(&b);
        q = (schedule_request){.seq = FIRN_MAX_SEQ};
        rc = jobs_ask(b.db, &q, &j, NULL);
    }
    assert_int_equal(rc, FIRN_OK);
    start(&c, compact_all);
    until_told(
        &c, "a caller waits until compactions of the keys that it wants to compact have ended\n");
    must_wait_for(&c, FIRN_WAIT_COMPACTION);
    MUST(job_run(&j, error));
    jobs_end(b.db->store, &j);
    join(&c, FIRN_WAIT_COMPACTION);
    assert_int_equal(lines_with(&c, "a caller goes on after"), 1);
    assert_int_equal(bed_stats(&b).stall_us, 0); /* no writer was held back */
    bed_release(&b);
}

static void dropping_a_bucket_names_the_compactions_in_it(void **state)
{
    (void)state;
    caller c;
    scenario *s = trees_begin(23);
    listen(&c, &s->b);
    bed_must_open(&s->b);
    trees_make(s);
    MUST(firn_bucket_open(s->b.db, tree_names[2], NULL, &c.tree, error));
    assert_true(jobs_hold(c.tree));
    start(&c, NULL);
    until_waiting(&c, 1);
    until_told(&c, "until compactions of the bucket that it drops have ended");
    must_wait_for(&c, FIRN_WAIT_COMPACTION);
    jobs_let_go(c.tree);
    join(&c, FIRN_WAIT_COMPACTION);
    MUST(firn_close(c.tree, error));
    s->trees[2] = NULL;
    trees_end(s);
}

typedef struct slow_end {
    dead grave;
    atomic_bool go;
} slow_end;

static void end_slowly(dead *d)
{
    slow_end *s = (slow_end *)(void *)d;
    while (!atomic_load(&s->go))
        usleep(1000);
}

static void settling_names_what_is_still_removed(void **state)
{
    (void)state;
    bed b;
    caller c;
    slow_end s = {0};
    bed_on_disk(&b);
    listen(&c, &b);
    bed_must_open(&b);
    cleaner_give(&b.db->store->cleaner, &s.grave, end_slowly);
    start(&c, settle);
    until_told(&c, "a caller waits until replaced tables and memtables have been removed");
    must_wait_for(&c, FIRN_WAIT_BACKGROUND);
    atomic_store(&s.go, true);
    join(&c, FIRN_WAIT_BACKGROUND);
    bed_release(&b);
}

static void wait_for_readers(void *ctx)
{
    caller *c = ctx;
    readers_wait(&c->b->db->store->readers);
}

/* Also one that waits behind another one, which no limit can wake. */
static void a_call_that_frees_names_the_reads_it_waits_for(void **state)
{
    (void)state;
    bed b;
    caller c;
    open_on_simfs(&c, &b);
    bed_put(&b, "a", "1");
    uint32_t ticket = readers_enter(&b.db->store->readers);
    start(&c, flush);
    until_waiting(&c, 1);
    thread second = {0};
    assert_int_equal(thread_start(&second, "second", wait_for_readers, &c), 0);
    until_waiting(&c, 2);
    until_told(&c, "a caller waits until reads have ended that began before");
    must_wait_for(&c, FIRN_WAIT_READERS);
    assert_int_equal(bed_stats(&b).waiting, 2);
    readers_exit(&b.db->store->readers, ticket);
    thread_join(&second);
    join(&c, FIRN_WAIT_READERS);
    assert_int_equal(bed_stats(&b).waits[FIRN_WAIT_READERS].count, 2);
    assert_int_equal(lines_with(&c, " ms for reads that had begun before\n"), 1);
    bed_release(&b);
}

/* Nothing wakes one who waits for a lock: it is known all the time, and told afterwards. The figures wait for no edit. */
static void a_caller_names_the_edit_it_waits_for(void **state)
{
    (void)state;
    bed b;
    caller c;
    open_on_simfs(&c, &b);
    bed_put(&b, "a", "1");
    mutex_lock(&b.db->store->manifest_mu);
    start(&c, flush);
    until_waiting(&c, 1);
    simfs_advance(b.sim, 2000 * 1000);
    must_wait_for(&c, FIRN_WAIT_BACKGROUND);
    mutex_unlock(&b.db->store->manifest_mu);
    thread_join(&c.t);
    assert_int_equal(c.status, FIRN_OK);
    assert_int_equal(lines_with(&c, " ms for work in the background\n"), 1);
    assert_int_equal(bed_stats(&b).waits[FIRN_WAIT_BACKGROUND].count, 1);
    bed_release(&b);
}

/* Likewise; here the caller flushes itself. */
static void a_caller_names_the_other_flush_it_waits_for(void **state)
{
    (void)state;
    bed b;
    caller c;
    open_on_simfs(&c, &b);
    bed_put(&b, "a", "1");
    mutex_lock(&b.db->store->flush_mu);
    start(&c, flush);
    until_waiting(&c, 1);
    simfs_advance(b.sim, 2000 * 1000);
    must_wait_for(&c, FIRN_WAIT_BACKGROUND);
    mutex_unlock(&b.db->store->flush_mu);
    thread_join(&c.t);
    assert_int_equal(c.status, FIRN_OK);
    assert_int_equal(lines_with(&c, " ms for work in the background\n"), 1);
    assert_int_equal(bed_stats(&b).waits[FIRN_WAIT_BACKGROUND].count, 1);
    bed_release(&b);
}

/* ---- Closing ---- */

static void closing_names_the_work_it_waits_for(void **state)
{
    (void)state;
    bed b;
    caller c;
    bed_on_disk(&b);
    listen(&c, &b);
    bed_must_open(&b);
    bed_put(&b, "k", "v");
    firn *db = b.db;
    mutex_lock(&db->store->flush_mu); /* a flush that takes long */
    MUST(store_rotate(db->store, error));
    for (bool flushes = false; !flushes; usleep(1000)) {
        mutex_lock(&db->store->state_mu);
        flushes = db->store->flushing;
        mutex_unlock(&db->store->state_mu);
    }
    start(&c, close_it);
    until_told(
        &c, "a caller waits until work in the background has ended, to close the store: a flush");
    must_wait_for(&c, FIRN_WAIT_BACKGROUND);
    mutex_unlock(&db->store->flush_mu);
    thread_join(&c.t);
    b.db = NULL;
    assert_int_equal(c.status, FIRN_OK);
    assert_int_equal(lines_with(&c, "a caller goes on after"), 1);
    bed_must_open(&b);
    bed_expect(&b, NULL, "k", "v");
    bed_release(&b);
}

/* ---- Work in the background ---- */

static void work_that_waits_says_so_once_and_that_it_goes_on(void **state)
{
    (void)state;
    bed b;
    caller c;
    open_on_simfs(&c, &b);
    firn_error why = {0};
    error_set(&why, FIRN_NO_SPACE, "there is no room");
    store_background_works(b.db->store, WORK_COMPACTION);
    for (int i = 0; i < 2; i++)
        store_background_error(b.db->store, WORK_COMPACTION, FIRN_NO_SPACE, &why);
    assert_int_equal(lines_with(&c, "compaction waits, and is tried again: there is no room"), 1);
    assert_int_equal(lines_with(&c, "goes on"), 0);
    for (int i = 0; i < 2; i++)
        store_background_works(b.db->store, WORK_COMPACTION);
    assert_int_equal(lines_with(&c, "compaction goes on\n"), 1);
    error_set(&why, FIRN_IO, "the disk is gone");
    for (int i = 0; i < 2; i++)
        store_background_error(b.db->store, WORK_FLUSH, FIRN_IO, &why);
    assert_int_equal(lines_with(&c, "flushing has stopped, and writing with it: the disk is gone"),
                     1);
    (void)firn_close(b.db, NULL);
    b.db = NULL;
    bed_release(&b);
}

/* ---- The log ---- */

typedef struct slow_disk {
    atomic_bool held, in_sync;
} slow_disk;

/* Those of callers: the log's own thread syncs, too, and makes segments ahead, whenever it comes to it. */
static int hold_syncs(void *ctx, unsigned call, uint64_t index, const char *name)
{
    slow_disk *d = ctx;
    (void)index;
    if (!is_caller || call != SIMFS_SYNC || !strstr(name, ".wal"))
        return 0;
    atomic_store(&d->in_sync, true);
    while (atomic_load(&d->held))
        usleep(1000);
    return 0;
}

/* The one that syncs, and one that needs the next sync. */
static void writers_name_the_sync_that_takes_long(void **state)
{
    (void)state;
    bed b;
    caller first, second;
    slow_disk d = {.held = true};
    bed_on_simfs(&b, 1);
    b.config.inline_work = false;
    listen(&first, &b);
    listen(&second, &b);
    simfs_on_call(b.sim, hold_syncs, &d);
    bed_must_open(&b);
    bed_put(&b, "k", "old");
    assert_int_equal(bed_stats(&b).waits[FIRN_WAIT_LOG].count, 0); /* the way of every write */
    start(&first, put_synced);
    while (!atomic_load(&d.in_sync))
        usleep(1000);
    assert_int_equal(bed_stats(&b).waiting, 0); /* likewise: it has begun, and the clock stands */
    simfs_advance(b.sim, 2000 * 1000);
    must_wait_for(&first, FIRN_WAIT_LOG);
    start(&second, put_synced);
    for (bool queued = false; !queued; usleep(1000))
        queued = bed_stats(&b).last_seq >= 3;
    assert_int_equal(bed_stats(&b).waiting, 1);
    until_told(&second, "writers wait until the log has written and synced what stands before");
    must_wait_for(&first, FIRN_WAIT_LOG);
    assert_int_equal(bed_stats(&b).waiting, 2);
    atomic_store(&d.held, false);
    thread_join(&first.t);
    join(&second, FIRN_WAIT_LOG);
    assert_int_equal(first.status, FIRN_OK);
    assert_int_equal(bed_stats(&b).waits[FIRN_WAIT_LOG].count, 2);
    simfs_on_call(b.sim, NULL, NULL);
    bed_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_caller_names_the_compaction_in_its_way),
        cmocka_unit_test(dropping_a_bucket_names_the_compactions_in_it),
        cmocka_unit_test(settling_names_what_is_still_removed),
        cmocka_unit_test(a_call_that_frees_names_the_reads_it_waits_for),
        cmocka_unit_test(a_caller_names_the_edit_it_waits_for),
        cmocka_unit_test(a_caller_names_the_other_flush_it_waits_for),
        cmocka_unit_test(closing_names_the_work_it_waits_for),
        cmocka_unit_test(work_that_waits_says_so_once_and_that_it_goes_on),
        cmocka_unit_test(writers_name_the_sync_that_takes_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
