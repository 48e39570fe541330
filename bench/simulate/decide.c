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

/* A look at all tables costs as many steps as there are tables. In a large tree, all of the virtual
 * day would go into looks that find nothing: so behind one that found nothing, the next comes when
 * short looks have cost about as much. In a tree of few tables that is each time, as in the engine. */
static bool may_look_at_all(const decider *d, const version *v)
{
    size_t tables = 0;
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        tables += v->levels[n].count;
    return d->calm || d->short_looks >= tables / (SCHEDULE_LOOKS * FIRN_LEVELS);
}

bool decide(decider *d, const sim_tree *t, schedule_job *j)
{
    schedule_state state = {.version = t->version,
                            .claims = d->claims,
                            .claim_count = d->claim_count,
                            .free_bytes = UINT64_MAX};
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        state.cursor[n] = d->cursor[n];
    bool all = may_look_at_all(d, t->version);
    int rc =
        all ? schedule_find(&d->rules, &state, d->calm, j) : schedule_next(&d->rules, &state, j);
    if (rc == FIRN_NOT_FOUND)
        d->short_looks = all ? 0 : d->short_looks + 1;
    if (rc == FIRN_NO_MEMORY)
        stop("no memory left");
    if (rc == FIRN_OK)
        d->cursor[j->level] = j->next;
    return rc == FIRN_OK;
}

/* The last level has all keys, and each one above it its share. */
void decide_fill(const decider *d, sim_tree *t)
{
    uint64_t target[FIRN_LEVELS] = {0}, all = (uint64_t)tree_last_bytes(t);
    unsigned count = schedule_levels_for(&d->rules, all);
    unsigned last = count + 1 < FIRN_LEVELS ? count + 1 : count;
    schedule_share(&d->rules, all, last, count, target);
    target[last] = all;
    tree_fill(t, target, last);
}

double decide_mem_share(const settings *s)
{
    return (double)options_mem_share(&s->options);
}

double decide_delay_ns(const pressure *p, double bytes)
{
    slow_state now = {.load = slow_load(p->level0, p->debt, p->unit),
                      .relief = (uint32_t)p->relief,
                      .tables = p->level0,
                      .frozen = p->frozen,
                      .done = (uint32_t)(p->done * SLOW_ONE),
                      .filled = (uint32_t)(p->filled * SLOW_ONE),
                      .others = p->others};
    bool for_flush;
    return (double)slow_owed_ns(&now, (uint64_t)bytes, &for_flush);
}

double decide_worth(const decider *d, const sim_tree *t, const schedule_job *j)
{
    return slow_worth(j->level == 0 ? j->counts[0] : 0, j->bytes_in,
                      schedule_unit(&d->rules, t->version));
}

bool decide_stopped(unsigned level0, unsigned frozen)
{
    return slow_stops(level0, frozen);
}

unsigned decide_parts(const decider *d, const schedule_job *j, unsigned workers)
{
    return schedule_parts(&d->rules, j, workers);
}
