/* decide: see decide.h. */
#include <store/load.h>
#include "decide.h"

#include <store/store.h>

void decide_init(decider *d, const settings *s)
{
    firn_options o = s->options;
    *d = (decider){0};
    schedule_rules *r = &d->rules;
    options_rules(&o, r);
    if (s->ratio > 0)
        r->ratio = (unsigned)s->ratio;
    if (s->base_bytes > 0)
        r->level_base_bytes = (uint64_t)s->base_bytes;
    if (s->level0_at > 0)
        r->level0_at = (unsigned)s->level0_at;
    if (s->level0_most > 0)
        r->level0_most = (unsigned)s->level0_most;
    if (s->job_bytes > 0)
        r->job_bytes = (uint64_t)s->job_bytes;
}

bool decide(decider *d, const sim_tree *t, schedule_job *j)
{
    schedule_state state = {.version = t->version,
                            .claims = d->claims,
                            .claim_count = d->claim_count,
                            .free_bytes = UINT64_MAX,
                            .calm = d->calm};
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        state.cursor[n] = d->cursor[n];
    int rc = schedule_next(&d->rules, &state, j);
    if (rc == FIRN_NO_MEMORY)
        stop("no memory left");
    if (rc == FIRN_OK)
        d->cursor[j->level] = j->next;
    return rc == FIRN_OK;
}

/* The last level has all keys, and each one above it its share. */
void decide_fill(const decider *d, sim_tree *t)
{
    uint64_t target[FIRN_LEVELS] = {0}, all = (uint64_t)tree_last_bytes(t), bytes = all;
    unsigned count = schedule_levels_for(&d->rules, all);
    unsigned last = count + 1 < FIRN_LEVELS ? count + 1 : count;
    for (unsigned n = last; n > last - count; n--) {
        target[n] = bytes > d->rules.level_base_bytes ? bytes : d->rules.level_base_bytes;
        bytes /= d->rules.ratio;
    }
    if (all < target[last])
        target[last] = all;
    tree_fill(t, target, last);
}

double decide_mem_share(const settings *s)
{
    return (double)options_mem_share(&s->options);
}

double decide_delay_ns(const pressure *p, double bytes)
{
    uint32_t load = slow_load(p->level0, p->debt, p->unit);
    uint32_t left = slow_load_left(load, (uint32_t)p->relief, p->level0);
    uint64_t delay = slow_delay_ns(left, (uint64_t)bytes);
    uint64_t for_flush = slow_flush_delay_ns(p->frozen, (uint32_t)(p->done * SLOW_ONE),
                                             (uint32_t)(p->filled * SLOW_ONE), (uint64_t)bytes);
    return (double)(for_flush > delay ? for_flush : delay);
}

/* As begin_relief in compact.c has it. */
double decide_worth(const decider *d, const sim_tree *t, const schedule_job *j)
{
    double worth = j->level == 0
                       ? (double)j->counts[0]
                       : (double)j->bytes_in / (double)schedule_unit(&d->rules, t->version);
    return (worth < L0_STOP_AT ? worth : L0_STOP_AT) * SLOW_ONE;
}

bool decide_stopped(unsigned level0, unsigned frozen)
{
    return slow_level0_full(level0, frozen) || frozen > FROZEN_MAX;
}

unsigned decide_parts(const decider *d, const schedule_job *j, unsigned workers)
{
    uint64_t parts = j->bytes_in / (d->rules.table_bytes * 2);
    if (workers < 2 || j->kind == JOB_MOVE || parts < 1)
        return 1;
    return parts < 4 ? (unsigned)parts : 4;
}
