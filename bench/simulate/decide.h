/* decide: what the engine would do: its own functions, asked about the virtual tree. */
#ifndef SIMULATE_DECIDE_H
#define SIMULATE_DECIDE_H

#include <tree/schedule.h>

#include "tree.h"

#define WORKERS_MAX SIMULATED_WORKERS_MAX

typedef struct decider {
    schedule_rules rules;
    size_t cursor[FIRN_LEVELS]; /* as in schedule_state */
    bool calm;                  /* as in schedule_find */
    size_t short_looks;         /* that found nothing, since one at all tables found nothing */
    claim claims[WORKERS_MAX];  /* of the jobs that run */
    size_t claim_count;
} decider;

/* The engine's rules for these options, but for what the settings say otherwise. */
void decide_init(decider *d, const settings *s);
/* The next job beside those that are claimed. False: nothing is due, or nothing can begin now. */
bool decide(decider *d, const sim_tree *t, schedule_job *j);
/* A tree that holds all keys, each level as full as the rules allow. */
void decide_fill(const decider *d, sim_tree *t);

double decide_mem_share(const settings *s);
bool decide_stopped(unsigned level0, unsigned frozen);
/* What writers are slowed by. */
typedef struct pressure {
    unsigned level0, frozen; /* tables and memtables */
    double filled, done;     /* of the active memtable, and of the flush */
    uint64_t debt, unit;     /* schedule_debt, schedule_unit */
    double relief;           /* what running jobs have done of it */
    unsigned others;         /* writers beside the one that asks: all of them are slowed */
} pressure;
double decide_delay_ns(const pressure *p, double bytes);
/* What the job takes off that when it is done. */
double decide_worth(const decider *d, const sim_tree *t, const schedule_job *j);
/* In how many parts a merge is done, by workers that have nothing else to do. */
unsigned decide_parts(const decider *d, const schedule_job *j, unsigned workers);

#endif
