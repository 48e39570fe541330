/* compact_range: firn_compact, a sequence of jobs that each are as small as the workers'. Between
 * two of them, and beside them, writers, flushes and workers go on. What is written meanwhile is
 * left to the workers, but for jobs of level 0 that would have to wait for this one's
 * (schedule_range). */
#include <base/error.h>
#include <base/slice.h>

#include <jobs/work.h>
#include "jobs.h"

static int run_one(job *j, schedule_request *q, buf *done, firn_error *err)
{
    if (j->what.why != DUE_ASKED)
        return job_run(j, err);
    firn_slice last = j->what.inputs[0][j->what.counts[0] - 1]->properties.key_max;
    int rc = buf_assign(done, last.data, last.size);
    rc = rc == FIRN_OK ? job_run(j, err) : error_no_memory(err);
    q->done = slice_somewhere(buf_slice(done));
    return rc;
}

/* The jobs that bring it from where it is to where nothing of it is left above or beside. What a
 * job of level 0 between them fails in is not the request's: workers come to it, and tell it. */
static int run_all(tree *t, schedule_request *q, buf *done, firn_error *err)
{
    job j;
    int rc;
    store *db = t->store;
    while ((rc = jobs_ask(t, q, &j, err)) == FIRN_OK) {
        bool asked = j.what.why == DUE_ASKED;
        rc = run_one(&j, q, done, err);
        jobs_end(db, &j);
        store_reap(db);
        if (rc != FIRN_OK && asked)
            return rc;
        q->alone = q->alone || rc != FIRN_OK;
        if (rc == FIRN_OK) {
            store_background_works(db, WORK_COMPACTION);
            store_end_pauses(db); /* what they wait for may be cured */
        }
    }
    return rc == FIRN_NOT_FOUND ? FIRN_OK : rc;
}

static int run_request(tree *t, schedule_request *q, firn_error *err)
{
    buf done = {0};
    int rc = FIRN_DROPPED;
    do { /* again where a drop has stopped it, and failed */
        if (!jobs_hold(t))
            break;
        rc = run_all(t, q, &done, err);
        jobs_let_go(t);
    } while (rc == FIRN_DROPPED && !tree_is_dropped(t));
    buf_release(&done);
    return rc == FIRN_DROPPED ? tree_dropped(t, err) : rc;
}

int firn_compact(tree *t, const void *from, size_t from_size, const void *to, size_t to_size,
                 firn_error *error)
{
    store *db;
    int rc = store_of(t, &db, error);
    if (rc == FIRN_OK && ((!from && from_size) || (!to && to_size)))
        rc = error_set(error, FIRN_INVALID, "a bound is NULL but has a size");
    if (rc == FIRN_OK && tree_is_dropped(t))
        rc = tree_dropped(t, error);
    if (rc == FIRN_OK)
        rc = firn_flush(t, error);
    if (rc != FIRN_OK)
        return rc;
    firn_error why;
    error_clear(&why);
    schedule_request q = {.from = slice_of(from, from_size),
                          .to = slice_of(to, to_size),
                          .seq = atomic_load_explicit(&db->flushed_seq, memory_order_acquire)};
    rc = run_request(t, &q, &why);
    cleaner_wait(&db->cleaner); /* what was replaced is gone from the disk */
    if (rc == FIRN_END)
        rc = error_set(&why, FIRN_INVALID, "the store is being closed");
    return error_give(error, rc, &why);
}
