/* compact_worker: the background threads that keep the levels in shape. There are two where two
 * CPUs can be used, so that level 0 goes down beside the work of deeper levels, and large merges
 * are done in halves (jobs.h). Neither is ever waited for by a flush.
 *
 * A worker sleeps until something has changed: a version was installed, a claim has ended, a
 * snapshot that tables kept versions for is gone (store_ring). It looks once for each such change.
 * When nothing or little has been written for CALM_MS, the first worker looks once more, for what
 * is not urgent (calm.c); and when nothing at all has been written for IDLE_MS, it asks for a
 * flush, so that what deletes in memory have hidden can go, and gives back the memory that the next
 * memtables would have taken.
 *
 * What fails is tried again, after a pause that doubles (retry_pause_ms); where a table is damaged,
 * each is DAMAGE_PAUSES times as long. Each worker pauses for itself. Where the decision already
 * says that there is no room, nothing has been written, and any change ends the pause. A caller of
 * firn_settle, and a writer that waits at a full level 0, end it after its first RETRY_MS, and are
 * told of attempts that began behind their call only: what an older one has found may have been
 * cured. For nothing depends on the tables that a compaction was making, and what it reads stays as
 * it is: so whatever the error, writes go on until level 0 is full. What took nothing from level 0
 * concerns no writer: the pause behind it ends when level 0 presses, and writers are not told. What
 * a calm look found due, and has failed, is looked for calmly again. Only a failure that flushes
 * depend on, too, stops writing: that of the manifest, or of the folder's sync. */
#include <base/error.h>
#include <stdio.h>

#include <jobs/work.h>
#include "jobs.h"

/* One try to do what is due. */
typedef struct attempt {
    uint64_t no; /* counted in db->compactions_begun */
    bool calm;   /* it looked for what can wait, too */
    bool began;  /* there was a job; else the decision itself has failed */
    bool deep;   /* it took nothing from level 0 */
    bool others; /* jobs ran when there was none to do: one of them may be what has failed here */
    bool again;  /* it has failed, and is tried again */
    job_fault fault;
} attempt;

#define CALM_MS       1000  /* with few writes: what can wait is done */
#define IDLE_MS       10000 /* without any: a memtable that is worth it is flushed */
#define DAMAGE_PAUSES 60    /* times as long a pause: up to ten minutes */

static bool works(const store *db) REQUIRES(db->state_mu)
{
    return !db->closing && db->background_status == FIRN_OK && !db->compaction_rests;
}

/* Has the worker slept for so long? Real time, as cond_wait_ms measures it, whatever file system
 * the store is on. */
static bool sleep_until(store *db, uint64_t start_us, uint64_t ms) REQUIRES(db->state_mu)
{
    uint64_t passed = (fs_mono_us(fs_posix()) - start_us) / 1000;
    if (passed < ms)
        cond_wait_ms(&db->state_changed, &db->state_mu, ms - passed);
    return passed >= ms;
}

/* A caller may wait for what the next attempt finds. */
static uint64_t pause_now(const store *db, uint64_t ms) REQUIRES(db->state_mu)
{
    return (db->settlers || db->compaction_asked) && ms > RETRY_MS ? RETRY_MS : ms;
}

/* What is damaged is seldom whole again, and each attempt reads and writes all that lies in front
 * of it. */
static uint64_t pause_behind(int rc, unsigned failures)
{
    bool lasts = rc == FIRN_DAMAGED || rc == FIRN_UNSUPPORTED;
    return retry_pause_ms(failures) * (lasts ? DAMAGE_PAUSES : 1);
}

static calm_time time_now(const store *db)
{
    return (calm_time){fs_mono_us(fs_posix()),
                       atomic_load_explicit(&db->newest_seq, memory_order_relaxed),
                       atomic_load_explicit(&db->counters.bytes_put, memory_order_relaxed)};
}

/* A window of the first worker has ended. True: it is to look for what can wait. An idle store is
 * flushed behind silence alone: beside a trickle, each window would leave a small table, to be
 * merged with all that it overlaps. */
static bool is_calm(store *db, compactor *c) REQUIRES(db->state_mu)
{
    calm_time now = time_now(db);
    calm_kind found = calm_end(&c->watch, &now, db->mem_share / CALM_PART);
    if (!c->looked_calmly)
        return found != CALM_NONE;
    if (found == CALM_SILENT) { /* what has changed meanwhile is seen before the worker sleeps */
        mutex_unlock(&db->state_mu);
        memtable_pool_clear(db->mem_env.pool);
        mutex_lock(&db->state_mu);
    }
    if (found == CALM_SILENT && now.seq != c->idle_seq) {
        store_want_idle_rotation(db);
        c->idle_seq = now.seq;
    }
    return false;
}

/* The first worker is about to sleep. The changes that a trickle of writes makes do not put the
 * calm off: each is looked at, and the window goes on. */
static void watch_writers(store *db, compactor *c) REQUIRES(db->state_mu)
{
    calm_time now = time_now(db);
    calm_resume(&c->watch, &now, CALM_MS * 1000);
}

/* Sleeps until there may be something to do. False: there never will be. */
static bool wait_for_work(compactor *c)
{
    store *db = c->db;
    uint64_t start = fs_mono_us(fs_posix());
    mutex_lock(&db->state_mu);
    watch_writers(db, c);
    db->compacting -= c->busy;
    c->busy = false;
    cond_broadcast(&db->state_changed);
    c->calm = false;
    while (works(db) && c->seen == db->work_epoch && !c->calm) {
        if (c->pause_ms) {
            if (sleep_until(db, start, pause_now(db, c->pause_ms)))
                break;
        } else if (c->index > 0) {
            cond_wait(&db->state_changed, &db->state_mu);
        } else if (sleep_until(db, c->watch.since.us, c->looked_calmly ? IDLE_MS : CALM_MS)) {
            c->calm = is_calm(db, c);
        }
    }
    bool go = works(db);
    c->looked_calmly = c->calm || (c->looked_calmly && c->seen == db->work_epoch);
    c->calm = c->calm || db->settlers || c->retries_calmly;
    c->retries_calmly = false;
    c->seen = db->work_epoch;
    c->pause_ms = 0;
    c->busy = go;
    db->compacting += go;
    mutex_unlock(&db->state_mu);
    return go;
}

/* Writers are slowed by level 0, which what has failed has nothing to do with. */
static bool level0_presses(const store *db, const attempt *a)
{
    uint32_t tables = atomic_load_explicit(&db->pressure, memory_order_relaxed) & ~PRESSURE_STOP;
    return a->deep && tables > L0_SLOW_AT;
}

/* The whole time, whatever else happens: workers that wait for space would otherwise wake each
 * other at once. */
static void pause_fully(store *db, const attempt *a, uint64_t ms)
{
    uint64_t start = fs_mono_us(fs_posix());
    mutex_lock(&db->state_mu);
    while (!db->closing) {
        uint64_t now_ms = level0_presses(db, a) && ms > RETRY_MS ? RETRY_MS : pause_now(db, ms);
        if (sleep_until(db, start, now_ms))
            break;
    }
    mutex_unlock(&db->state_mu);
}

static void note_failure(store *db, attempt *a, int rc, const firn_error *err)
{
    a->again = error_curable(rc) || a->fault == FAULT_OUTPUT || a->fault == FAULT_INPUT;
    if (a->fault == FAULT_FOLDER)
        return; /* noted where it was found: a caller's job may have found it */
    if (a->again)
        store_work_waits(db, WORK_COMPACTION, a->no, a->deep, rc, err);
    else
        store_background_error(db, WORK_COMPACTION, rc, err);
}

/* A decision at this epoch has found nothing to do. */
static void note_idle(compactor *c)
{
    mutex_lock(&c->db->state_mu);
    if (c->calm)
        c->db->idle_epoch = c->seen;
    mutex_unlock(&c->db->state_mu);
}

static void note_calm_work(compactor *c, uint64_t from_us)
{
    mutex_lock(&c->db->state_mu);
    calm_worked(&c->watch, from_us, fs_mono_us(fs_posix()));
    mutex_unlock(&c->db->state_mu);
}

/* Nothing is to be done any more, perhaps because a caller has compacted it: that is as good as
 * having done it. But a look that is not calm does not see what has failed in a calm. */
static bool is_well(store *db, const attempt *a, int rc)
{
    bool nothing = rc == FIRN_NOT_FOUND && !a->others;
    mutex_lock(&db->state_mu);
    if (a->calm && (rc == FIRN_OK || nothing))
        db->calm_failed = false;
    else if (a->calm && rc != FIRN_END && rc != FIRN_NOT_FOUND)
        db->calm_failed = true;
    bool well = rc == FIRN_OK || (nothing && !db->calm_failed);
    mutex_unlock(&db->state_mu);
    return well;
}

/* One job, if there is one; its outcome is noted, and its claim given up. FIRN_NOT_FOUND: there is
 * none. */
static int work_once(store *db, bool calm, attempt *a, firn_error *err)
{
    job j;
    *a = (attempt){.calm = calm};
    mutex_lock(&db->state_mu);
    a->no = ++db->compactions_begun;
    db->compaction_asked = false;
    mutex_unlock(&db->state_mu);
    int rc = jobs_next(db, calm, &j, &a->others, err);
    a->began = rc == FIRN_OK;
    if (rc == FIRN_OK) {
        a->deep = j.what.level > 0;
        rc = job_run(&j, err);
        a->fault = j.fault;
        jobs_end(db, &j);
        store_reap(db);
    }
    if (is_well(db, a, rc))
        store_background_works(db, WORK_COMPACTION);
    else if (rc != FIRN_END && rc != FIRN_NOT_FOUND)
        note_failure(db, a, rc, err);
    return rc;
}

static void compactor_run(void *arg)
{
    compactor *c = arg;
    store *db = c->db;
    unsigned failures = 0;
    /* writers and readers come first; they are slowed when a worker gets too little */
    thread_give_way();
    patience_own_thread();
    bool opens = c->index == 0;
    while (wait_for_work(c)) {
        firn_error err = {0};
        if (opens) /* busy, so that a caller of firn_settle waits for it */
            jobs_open_ranged(db);
        opens = false;
        attempt a;
        uint64_t from_us = fs_mono_us(fs_posix());
        int rc = work_once(db, c->calm, &a, &err);
        if (c->calm)
            note_calm_work(c, from_us);
        if (rc == FIRN_NOT_FOUND) {
            while (jobs_help(db)) {
            }
            note_idle(c);
        }
        if (rc == FIRN_OK || rc == FIRN_NOT_FOUND) {
            failures = rc == FIRN_NOT_FOUND && a.others ? failures : 0;
        } else if (a.again) {
            uint64_t ms = pause_behind(rc, ++failures);
            c->retries_calmly = a.calm;
            if (!a.began)
                c->pause_ms = ms;
            else
                pause_fully(db, &a, ms);
            if (a.began)
                c->seen--; /* look again, whatever has changed */
        }
    }
}

int compactors_start(store *db, firn_error *err)
{
    unsigned count = thread_cpus() > 1 ? COMPACTORS_MOST : 1;
    int rc = 0;
    db->compactor_count = count;
    for (unsigned i = 0; rc == 0 && i < count; i++) {
        char name[16];
        compactor *c = &db->compactors[i];
        *c = (compactor){.db = db, .index = i};
        snprintf(name, sizeof name, "firn-compact-%u", i + 1);
        rc = thread_start(&c->thread, name, compactor_run, c);
    }
    return rc == 0 ? FIRN_OK : error_thread(err, db->dir->path, rc);
}

void compactors_stop(store *db)
{
    mutex_lock(&db->jobs_mu);
    cond_broadcast(&db->jobs_changed); /* callers that wait see that the store is being closed */
    mutex_unlock(&db->jobs_mu);
    for (unsigned i = 0; i < COMPACTORS_MOST; i++)
        thread_join(&db->compactors[i].thread);
}

/* Nothing has changed since it was found that there is nothing to do. Otherwise notes when it
 * looks. */
static bool is_done_inline(store *db, bool calm, uint64_t *epoch)
{
    mutex_lock(&db->state_mu);
    bool done = db->compaction_rests || (!calm && db->idle_epoch == db->work_epoch);
    *epoch = db->work_epoch;
    mutex_unlock(&db->state_mu);
    return done;
}

int compact_inline(store *db, bool calm, firn_error *err)
{
    uint64_t epoch;
    while (!is_done_inline(db, calm, &epoch)) {
        attempt a;
        int rc = work_once(db, calm, &a, err);
        if (rc == FIRN_OK)
            continue;
        if (rc == FIRN_NOT_FOUND || a.fault == FAULT_INPUT) { /* until something changes */
            mutex_lock(&db->state_mu);
            db->idle_epoch = rc == FIRN_NOT_FOUND ? epoch : db->work_epoch;
            mutex_unlock(&db->state_mu);
        }
        return rc == FIRN_NOT_FOUND ? FIRN_OK : rc;
    }
    return FIRN_OK;
}

bool compaction_is_idle(const store *db)
{
    return db->compaction_rests || (db->compacting == 0 && db->idle_epoch == db->work_epoch);
}
