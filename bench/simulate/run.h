/* run: virtual time. A writer, a flusher and some workers share processors and a disk.
 *
 * Between two events nothing changes its speed: so the next event is the earliest end of anything that is under way. Events are:
 * a memtable is full, a flush or a job ends, a second is over. What is due is asked of the engine's own schedule.c, and how
 * much a writer is delayed of its own slow.c. */
#ifndef SIMULATE_RUN_H
#define SIMULATE_RUN_H

#include "decide.h"
#include "figures.h"
#include "tree.h"

#define FROZEN_ROOM 8

/* A flush or a job that is under way. */
typedef struct task {
    bool on;
    double left;            /* of 1 */
    double cpu_ns, disk_ns; /* all of it, alone on a machine that is idle */
    edit edit;              /* what it comes to */
    double bytes_in, bytes_out;
    double worth;   /* see decide_worth */
    unsigned parts; /* that different workers may do */
    schedule_job job;
} task;

typedef struct run {
    const settings *settings;
    sim_tree tree;
    decider decider;
    bool
        instant; /* all work is done at once where it falls due, as a store with inline_work does */
    double now_ns, second_ends_ns;
    memory_run active;
    double written; /* in all */
    bool loading;
    memory_run frozen[FROZEN_ROOM]; /* oldest first */
    unsigned frozen_count;
    task flush, jobs[WORKERS_MAX];
    uint64_t debt, unit;     /* of the present sim_tree */
    bool nothing_due;        /* since the tree last changed */
    double stopped_since_ns; /* < 0: writers are not stopped */
    figures *figures;
} run;

void run_init(run *r, const settings *s, figures *f);
void run_release(run *r);
/* So many writes, or so many hours; 0: no end of this kind. */
void run_write(run *r, double writes, double hours, bool loading);
/* Flushes everything, and goes on until nothing is due. */
void run_settle(run *r);

#endif
