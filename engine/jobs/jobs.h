/* jobs: compactions that run (schedule.h decides which, compact.c does them).
 *
 * A job claims its keys in the levels that it touches before it begins, and gives them up when its
 * edit is in the manifest and in the view. What it decides by stays true meanwhile: no other job
 * takes anything out of these keys and levels, or puts anything there, and nothing comes to lie
 * below them that did not lie below before.
 *
 * A merge of many bytes is cut into parts, each a range of keys. A worker without a job of its own
 * helps: it takes one. The job's owner commits all of them in one edit.
 *
 *   jobs_next or jobs_ask -> claimed -> job_run -> jobs_end
 *
 * Locks: jobs_mu guards what is claimed and which thread works at which part; it is not held while
 * a job works. */
#ifndef ENGINE_JOBS_H
#define ENGINE_JOBS_H

#include <jobs/build.h>
#include <store/store.h>

/* At what a job has failed. */
typedef enum job_fault {
    FAULT_OTHER,
    FAULT_INPUT,  /* reading a table that is there */
    FAULT_OUTPUT, /* making a table: its inputs are whole, and nothing depends on what it made */
    FAULT_FOLDER, /* the sync of the folder, in which flushes have put tables, too: a later sync
                     that succeeds says nothing of what this one may have lost (F3) */
} job_fault;

typedef struct part {
    iter_limits limits; /* its keys; NULL data: no bound */
    buf lower;          /* holds limits.lower, where that is not a table's own */
    build build;
    int status;
    job_fault fault;
    firn_error error;
} part;

struct job {
    store *db;
    tree *tree;
    schedule_job what;
    version *version; /* a reference: keeps the inputs, and tells what lies below */
    claim claim;
    uint64_t ticket; /* of a caller's job; smaller ones came first. 0: a worker's */
    /* it is a caller's, and cannot begin yet: what is in its way ends, and nothing new comes in its
     * way */
    bool waits;
    job_fault fault;  /* if it has failed */
    uint64_t entries; /* of all inputs */
    uint32_t worth;   /* how much it takes off the writers' load, in all; ... */
    /* ... of that, as much as it has passed of the entries is counted in db->relief already */
    _Atomic uint64_t passed;
    buf snapshots;
    /* The owner changes these two under jobs_mu, and reads them without. NULL: none to help with.
     */
    part *parts;
    size_t part_count;
    size_t part_next GUARDED_BY(jobs_mu), parts_running GUARDED_BY(jobs_mu);
    bool part_failed GUARDED_BY(jobs_mu); /* no further one is begun */
    job *next GUARDED_BY(jobs_mu);
};

/* Opens the tables that have range deletes, since a decision looks at what they cover. What cannot
 * be opened is left to what reads it. */
void jobs_open_ranged(store *db);
/* ---- jobs.c ---- */
/* What is due next in any tree, and claims it. Trees have their turns, but for one whose level 0
 * slows writers: it comes first. FIRN_NOT_FOUND: nothing is
 * due, or (*others) jobs that run stand in its way; FIRN_NO_SPACE: described, nothing was written.
 */
int jobs_next(store *db, bool calm, job *out, bool *others, firn_error *err);
/* The tree takes jobs, and is not dropped, until it is let go. Waits for a call that drops it;
 * false: it is dropped. */
bool jobs_hold(tree *t);
void jobs_let_go(tree *t);
/* The next job of a caller's request in a tree that it holds. Waits for what is in its way.
 * FIRN_NOT_FOUND; FIRN_DROPPED: a call wants to drop the tree; FIRN_END: the store is being closed.
 */
int jobs_ask(tree *t, schedule_request *q, job *out, firn_error *err);
/* Gives up the claim of a job, whatever became of it, and releases it. */
void jobs_end(store *db, job *j);
/* Does a part of a job that another thread runs. False: there is none. */
bool jobs_help(store *db);
/* All parts, with the workers that help. The status of the first that failed. */
int jobs_run_parts(job *j, firn_error *err);

/* ---- calm.c ---- */
#define CALM_PART        256 /* of a memtable's share: a trickle writes less of it in a window */
#define CALM_ENTRY_BYTES 16  /* what an entry counts beside its bytes, as in a memtable's index */
#define CALM_REST        8   /* times as long as it has worked */
typedef enum calm_kind { CALM_NONE, CALM_TRICKLE, CALM_SILENT } calm_kind;
/* The window goes on, unless so much time has passed since it began: then a new one begins. */
void calm_resume(calm_watch *w, const calm_time *now, uint64_t window_us);
/* The window ends, and the next one begins. What was written in it? A trickle is less than
 * `little_bytes`; during a rest it is CALM_NONE. */
calm_kind calm_end(calm_watch *w, const calm_time *now, uint64_t little_bytes);
/* The worker has done what can wait, or looked for it, from `from_us` to `to_us`: it rests. */
void calm_worked(calm_watch *w, uint64_t from_us, uint64_t to_us);

/* ---- compact.c ---- */
int job_run(job *j, firn_error *err);
void job_run_part(job *j, part *p);

#endif
