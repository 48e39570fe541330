/* run: see run.h. */
#include "run.h"

#include <math.h>
#include <string.h>

#include <store/load.h>

#define SECOND_NS   1e9
#define HOUR_NS     3600e9
#define NOT_STOPPED (-1.0)
#define SLICE_NS    50e6 /* while jobs take load off the writers */
#define A_LITTLE    1e-9 /* what rounding leaves of a task that has ended */
#define A_PART      0.01 /* of a write: likewise */

void run_init(run *r, const settings *s, figures *f)
{
    *r = (run){.settings = s,
               .figures = f,
               .second_ends_ns = SECOND_NS,
               .stopped_since_ns = NOT_STOPPED,
               .instant = s->compare && !s->threads};
    decide_init(&r->decider, s);
    tree_init(&r->tree, s, &r->decider.rules);
    if (s->tree_bytes)
        decide_fill(&r->decider, &r->tree);
}

/* The version has references of its own to what was installed. */
static void task_end(task *k)
{
    for (size_t i = 0; i < k->edit.added_count; i++)
        table_unref(k->edit.added[i].table);
    edit_release(&k->edit);
    schedule_job_release(&k->job);
    memset(k, 0, sizeof *k);
}

void run_release(run *r)
{
    task_end(&r->flush);
    for (unsigned i = 0; i < WORKERS_MAX; i++)
        task_end(&r->jobs[i]);
    tree_release(&r->tree);
}

static unsigned level0(const run *r)
{
    return (unsigned)r->tree.version->levels[0].count;
}

/* ---- work begins ---- */

static double entries_of(const edit_table *tables, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (double)tables[i].table->properties.entries;
    return sum;
}

/* What the outputs cost; they have a reference of the edit's maker. */
static void cost_of_outputs(run *r, task *k, unsigned lvl)
{
    const machine *m = &r->settings->machine;
    bool packed = lvl >= r->decider.rules.plain_levels;
    for (size_t i = 0; i < k->edit.added_count; i++) {
        const sst_properties *p = &k->edit.added[i].table->properties;
        k->bytes_out += (double)p->file_bytes;
        k->cpu_ns +=
            packed ? (double)p->raw_bytes * m->packed_ns : (double)p->file_bytes * m->plain_ns;
    }
    k->disk_ns = (k->bytes_in + k->bytes_out) * m->disk_ns;
    k->on = true;
    k->left = 1;
}

static void begin_flush(run *r)
{
    const memory_run *f = &r->frozen[0];
    task *k = &r->flush;
    tree_flush(&r->tree, f, &k->edit);
    k->cpu_ns = f->writes * r->settings->machine.entry_ns;
    cost_of_outputs(r, k, 0);
}

static void drop_inputs(task *k)
{
    for (unsigned side = 0; side < 2; side++)
        for (size_t i = 0; i < k->job.counts[side]; i++) {
            table *t = k->job.inputs[side][i];
            unsigned lvl = side == 0 ? k->job.level : k->job.target;
            if (edit_drop(&k->edit, lvl, t) != FIRN_OK)
                stop("no memory left");
            k->bytes_in += (double)t->properties.file_bytes;
        }
}

static void begin_move(task *k)
{
    drop_inputs(k);
    for (size_t i = 0; i < k->job.counts[0]; i++) {
        if (edit_add(&k->edit, k->job.target, k->job.inputs[0][i]) != FIRN_OK)
            stop("no memory left");
        table_ref(k->job.inputs[0][i]); /* as an output has one */
    }
    k->bytes_in = 0;
    k->on = true;
}

static void begin_merge(run *r, task *k)
{
    tree_inputs in = {.tables = {k->job.inputs[0], k->job.inputs[1]},
                      .counts = {k->job.counts[0], k->job.counts[1]}};
    drop_inputs(k);
    double entries = entries_of(k->edit.dropped, k->edit.dropped_count);
    tree_merge(&r->tree, &in, k->job.target, &k->edit);
    k->cpu_ns = entries * r->settings->machine.entry_ns;
    cost_of_outputs(r, k, k->job.target);
    k->worth = decide_worth(&r->decider, &r->tree, &k->job);
    k->parts = decide_parts(&r->decider, &k->job, r->settings->workers);
}

static bool begin_job(run *r, task *k)
{
    decider *d = &r->decider;
    d->claim_count = 0;
    for (unsigned i = 0; i < WORKERS_MAX; i++)
        if (r->jobs[i].on)
            d->claims[d->claim_count++] = schedule_claim(&r->jobs[i].job);
    r->tree.now_us = (uint64_t)(r->now_ns / 1000);
    if (!decide(d, &r->tree, &k->job))
        return false;
    if (k->job.kind == JOB_MOVE)
        begin_move(k);
    else
        begin_merge(r, k);
    return true;
}

/* ---- work ends ---- */

static void install(run *r, task *k)
{
    for (size_t i = 0; i < k->edit.dropped_count; i++)
        table_ref(k->edit.dropped[i].table); /* until it is counted */
    tree_apply(&r->tree, &k->edit);
    r->nothing_due = false;
    r->debt = schedule_debt(&r->decider.rules, r->tree.version);
    r->unit = schedule_unit(&r->decider.rules, r->tree.version);
    figures_edit(r->figures, &k->edit, level0(r), r->debt, r->unit);
    for (size_t i = 0; i < k->edit.dropped_count; i++)
        table_unref(k->edit.dropped[i].table);
}

static void end_flush(run *r)
{
    install(r, &r->flush);
    r->frozen_count--;
    memmove(r->frozen, r->frozen + 1, r->frozen_count * sizeof *r->frozen);
    task_end(&r->flush);
}

static void end_job(run *r, task *k)
{
    install(r, k);
    task_end(k);
}

/* Gives work to the workers that have none. */
static void dispatch(run *r)
{
    if (r->frozen_count && !r->flush.on)
        begin_flush(r);
    for (unsigned i = 0; i < r->settings->workers && !r->nothing_due; i++) {
        task *k = &r->jobs[i];
        while (!k->on && !r->nothing_due) {
            if (!begin_job(r, k))
                r->nothing_due = true;
            else if (k->job.kind == JOB_MOVE)
                end_job(r, k); /* takes no time */
        }
    }
}

/* ---- the writer ---- */

static double write_bytes(const run *r)
{
    const settings *s = r->settings;
    double deletes = r->loading ? 0 : r->tree.keys.deletes;
    return s->key_bytes + s->value_bytes * (1 - deletes);
}

static double write_log(const run *r)
{
    double deletes = r->loading ? 0 : r->tree.keys.deletes;
    return r->tree.sizes.put.log * (1 - deletes) + r->tree.sizes.dead.log * deletes;
}

/* Writes that the active memtable takes. */
static double mem_room(const run *r)
{
    double log = write_log(r), both = log + r->tree.sizes.index;
    double by_log = (double)(r->settings->options.segment_bytes - 4096) / log;
    double by_share = decide_mem_share(r->settings) / both;
    return fmax(1, fmin(by_log, by_share));
}

static double delay_ns(const run *r)
{
    pressure p = {.others = r->settings->writers - 1,
                  .level0 = level0(r),
                  .frozen = r->frozen_count,
                  .filled = r->active.writes / mem_room(r),
                  .done = r->flush.on ? (1 - r->flush.left) * SLOW_FLUSH_READ : 0,
                  .debt = r->debt,
                  .unit = r->unit};
    for (unsigned i = 0; i < r->settings->workers; i++)
        if (r->jobs[i].on)
            p.relief += r->jobs[i].worth * (1 - r->jobs[i].left);
    return decide_delay_ns(&p, write_bytes(r));
}

static bool is_stopped(const run *r)
{
    return decide_stopped(level0(r), r->frozen_count);
}

static void freeze(run *r)
{
    if (r->frozen_count == FROZEN_ROOM)
        stop(
            "too many memtables wait: the simulation lets writers go on where the engine does not");
    r->frozen[r->frozen_count++] = r->active;
    r->active = (memory_run){.first = r->written};
    if (r->frozen_count > r->figures->frozen_worst)
        r->figures->frozen_worst = r->frozen_count;
}

static void note_delay(run *r, double ns)
{
    if (ns > r->figures->delay_worst_ns)
        r->figures->delay_worst_ns = ns;
}

/* When the writers begin and end to wait. What a write owes counts as it is slept: at least a millisecond. */
static void note_writers(run *r, bool wants)
{
    bool stopped = wants && is_stopped(r);
    if (stopped && r->stopped_since_ns < 0)
        r->stopped_since_ns = r->now_ns;
    if (r->stopped_since_ns >= 0)
        note_delay(r, r->now_ns - r->stopped_since_ns);
    if (!stopped)
        r->stopped_since_ns = NOT_STOPPED;
    double owed = wants ? delay_ns(r) : 0;
    if (owed > 0)
        note_delay(r, fmax(owed, 1e6));
}

/* ---- speeds ---- */

typedef struct speeds {
    double writes;                   /* a nanosecond */
    double flush, jobs[WORKERS_MAX]; /* parts of 1 a nanosecond */
} speeds;

/* Writes a nanosecond where a processor gives `share` of itself. */
static double writes_at(const run *r, double share)
{
    const settings *s = r->settings;
    double each = s->machine.put_ns / share;
    double most = fmin(1 / each, s->writers / (each + delay_ns(r)));
    if (s->rate > 0)
        most = fmin(most, s->rate / write_bytes(r) / SECOND_NS);
    return most;
}

/* A worker without a job helps with the parts of another's. */
static void share_workers(const run *r, unsigned *threads)
{
    unsigned idle = 0;
    for (unsigned i = 0; i < r->settings->workers; i++) {
        threads[i] = r->jobs[i].on;
        idle += !r->jobs[i].on;
    }
    for (unsigned i = 0; i < r->settings->workers; i++)
        while (idle && threads[i] && threads[i] < r->jobs[i].parts) {
            threads[i]++;
            idle--;
        }
}

static double disk_load(const task *k, double share)
{
    if (!k->on)
        return 0;
    double alone = fmax(k->cpu_ns / share, k->disk_ns);
    return alone > 0 ? k->disk_ns / alone : 0;
}

static double task_speed(const task *k, double share, double slowdown)
{
    if (!k->on)
        return 0;
    double ns = fmax(k->cpu_ns / share, k->disk_ns * slowdown);
    return ns > 0 ? 1 / ns : 1;
}

/* All tasks that want a processor get the same share of one where there are not enough; likewise the disk. */
static void find_speeds(const run *r, bool wants, speeds *v)
{
    const settings *s = r->settings;
    bool writes = wants && !is_stopped(r);
    double wanted = writes ? writes_at(r, 1) * s->machine.put_ns : 0;
    unsigned threads[WORKERS_MAX];
    share_workers(r, threads);
    wanted += r->flush.on;
    for (unsigned i = 0; i < s->workers; i++)
        wanted += threads[i];
    double share = wanted > s->machine.cores ? s->machine.cores / wanted : 1;
    v->writes = writes ? writes_at(r, share) : 0;
    double load = v->writes * write_log(r) * s->machine.disk_ns + disk_load(&r->flush, share);
    for (unsigned i = 0; i < s->workers; i++)
        load += disk_load(&r->jobs[i], share * threads[i]);
    double slowdown = fmax(1, load);
    v->flush = task_speed(&r->flush, share, slowdown);
    for (unsigned i = 0; i < s->workers; i++)
        v->jobs[i] = task_speed(&r->jobs[i], share * threads[i], slowdown);
}

/* ---- time ---- */

static void pass_task(task *k, double speed, double ns)
{
    k->left -= speed * ns;
}

static double until_task(const task *k, double speed)
{
    return k->on && speed > 0 ? fmax(0, k->left / speed) : INFINITY;
}

static void end_second(run *r, double *writes_before)
{
    figures *f = r->figures;
    figures_second(f, f->writes - *writes_before);
    *writes_before = f->writes;
    gauge_add(&f->debt, (double)r->debt);
    r->second_ends_ns += SECOND_NS;
}

/* The bytes of a level go up and down: their average says more than where they end. */
static void look(run *r)
{
    for (unsigned n = 0; n < FIRN_LEVELS; n++) {
        r->figures->level_sum[n] += (double)r->tree.version->levels[n].bytes;
        r->figures->tables_sum[n] += (double)r->tree.version->levels[n].count;
    }
    r->figures->looks++;
    gauge_add(&r->figures->get_runs, tree_get_runs(&r->tree));
    gauge_add(&r->figures->seek_runs, tree_seek_runs(&r->tree));
}

static void count_writes(run *r, double writes)
{
    figures *f = r->figures;
    r->active.writes += writes;
    r->active.loaded += r->loading ? writes : 0;
    r->written += writes;
    keys_write(&r->tree.keys, writes, r->loading);
    f->writes += writes;
    f->put_bytes += writes * write_bytes(r);
    f->log_bytes += writes * write_log(r);
}

/* How long nothing changes; at most `most` nanoseconds, and `writes` writes. */
static double until_event(const run *r, const speeds *v, double most, double writes)
{
    double ns = fmin(most, r->second_ends_ns - r->now_ns);
    if (delay_ns(r) > 0)
        ns = fmin(ns, SLICE_NS);
    if (v->writes > 0)
        ns = fmin(ns, fmin(mem_room(r) - r->active.writes, writes) / v->writes);
    ns = fmin(ns, until_task(&r->flush, v->flush));
    for (unsigned i = 0; i < r->settings->workers; i++)
        ns = fmin(ns, until_task(&r->jobs[i], v->jobs[i]));
    return fmax(0, ns);
}

static void pass(run *r, const speeds *v, double ns)
{
    r->now_ns += ns;
    if (v->writes > 0)
        r->figures->stalled_ns += v->writes * ns * delay_ns(r);
    else if (r->stopped_since_ns >= 0)
        r->figures->stalled_ns += ns;
    if (v->writes > 0)
        count_writes(r, v->writes * ns);
    pass_task(&r->flush, v->flush, ns);
    if (r->flush.on && r->flush.left <= A_LITTLE)
        end_flush(r);
    for (unsigned i = 0; i < r->settings->workers; i++) {
        pass_task(&r->jobs[i], v->jobs[i], ns);
        if (r->jobs[i].on && r->jobs[i].left <= A_LITTLE)
            end_job(r, &r->jobs[i]);
    }
}

/* As a store without threads: the write that fills a memtable does all that is due then. */
static void work_at_once(run *r)
{
    for (;;) {
        if (r->frozen_count) {
            begin_flush(r);
            end_flush(r);
        } else if (begin_job(r, &r->jobs[0])) {
            end_job(r, &r->jobs[0]);
        } else {
            break;
        }
    }
}

void run_write(run *r, double writes, double hours, bool loading)
{
    figures *f = r->figures;
    double end_ns = hours > 0 ? r->now_ns + hours * HOUR_NS : INFINITY;
    double last = writes > 0 ? r->written + writes : INFINITY, before = f->writes;
    double step = writes > 0 ? writes / LOOKS : INFINITY, next = r->written + step;
    r->loading = loading;
    r->decider.calm = false;
    r->second_ends_ns = r->now_ns + SECOND_NS;
    f->started_ns = r->now_ns;
    while (r->written < last - A_PART && r->now_ns < end_ns - 0.5) {
        speeds v;
        if (!r->instant)
            dispatch(r);
        note_writers(r, true);
        find_speeds(r, true, &v);
        pass(r, &v, until_event(r, &v, end_ns - r->now_ns, next - r->written));
        if (r->active.writes >= mem_room(r) - 0.5)
            freeze(r);
        if (r->instant)
            work_at_once(r);
        if (r->written >= next - A_PART) {
            look(r);
            next += step;
        }
        if (r->now_ns >= r->second_ends_ns - 0.5)
            end_second(r, &before);
    }
    if (r->stopped_since_ns >= 0)
        note_writers(r, true);
    f->ended_ns = r->now_ns;
}

static bool is_busy(const run *r)
{
    bool busy = r->flush.on || r->frozen_count;
    for (unsigned i = 0; i < r->settings->workers; i++)
        busy = busy || r->jobs[i].on;
    return busy;
}

void run_settle(run *r)
{
    r->decider.calm = true;
    r->nothing_due = false;
    if (r->active.writes >= 0.5)
        freeze(r);
    if (r->instant) {
        work_at_once(r);
        return;
    }
    r->second_ends_ns = INFINITY;
    for (dispatch(r); is_busy(r); dispatch(r)) {
        speeds v;
        find_speeds(r, false, &v);
        pass(r, &v, until_event(r, &v, INFINITY, 0));
    }
}
