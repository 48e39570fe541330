/* crash: the walk over a recording. Start at crash_run, then walk_points, then crash_try, which
 * builds one state and lets the test judge it. Which states there are is in crash_pick.c, what a
 * disk keeps in crash_disk.c.
 */
#include "crash_walk.h"
#include <base/hash.h>
#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* ---- The set of states that were seen ---- */

bool crash_set_add(crash_set *set, uint64_t hash)
{
    if (hash == 0) {
        bool was = set->zero;
        set->zero = true;
        return !was;
    }
    if (set->count * 2 >= set->room) {
        crash_set bigger = {.room = set->room ? set->room * 2 : 1024, .zero = set->zero};
        bigger.slots = sim_alloc(bigger.room * sizeof *bigger.slots);
        for (uint64_t i = 0; i < set->room; i++) {
            if (set->slots[i])
                crash_set_add(&bigger, set->slots[i]);
        }
        free(set->slots);
        *set = bigger;
    }
    uint64_t at = mix64(hash) & (set->room - 1);
    while (set->slots[at]) {
        if (set->slots[at] == hash)
            return false;
        at = (at + 1) & (set->room - 1);
    }
    set->slots[at] = hash;
    set->count++;
    return true;
}

void crash_set_release(crash_set *set)
{
    free(set->slots);
    memset(set, 0, sizeof *set);
}

/* ---- One state ---- */

/* What the state means to the test: its contents, its marks, and whether the power was cut. */
static uint64_t meaning(const crash_walk *w, uint64_t contents)
{
    uint64_t hash = mix64(contents + (w->model == CRASH_KILL));
    for (unsigned i = 0; i < SIMFS_MARKS; i++)
        hash = mix64(hash ^ (w->marks[i] * 2 + w->marked[i] + i));
    return hash;
}

/* The part of the change under way that got through: its first `tear` bytes, or all but its first.
 */
static void tear_apply(const crash_walk *w, simfs *s)
{
    const sim_op *op = w->under_way;
    sim_node *n = s->nodes;
    while (n && n->number != op->node)
        n = n->next;
    if (!n)
        return; /* of a file without a name */
    uint64_t from = w->tear > 0 ? 0 : (uint64_t)-w->tear;
    uint64_t to = w->tear > 0 ? (uint64_t)w->tear : op->size;
    if (op->offset + to > n->size)
        sim_node_resize(s, n, op->offset + to);
    memcpy(n->data + op->offset + from, op->data + from, to - from);
    if (op->offset + to > n->touched)
        n->touched = (size_t)(op->offset + to);
}

static simfs *build(crash_walk *w)
{
    simfs *s = disk_build(&w->d, w->choice);
    if (w->tear)
        tear_apply(w, s);
    return s;
}

int crash_wrong(crash_state *state, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(state->reason, sizeof state->reason, format, args);
    va_end(args);
    return 1;
}

void crash_describe(const crash_state *state, char *line, size_t size)
{
    crash_write_line(state->walk, line, size);
}

static void report(crash_walk *w, const crash_state *state)
{
    const crash_options *o = w->options;
    size_t size = crash_write_line(w, NULL, 0) + 1;
    char *line = sim_alloc(size);
    crash_write_line(w, line, size);
    const char *reason = state->reason[0] ? state->reason : "the verifying function said so";
    if (w->stats->wrong++ == 0)
        snprintf(w->stats->first_wrong, sizeof w->stats->first_wrong, "%s: %s", reason, line);
    if (!o->quiet)
        fprintf(stderr, "crash state is wrong: %s\n  repeat with FIRN_REPLAY='%s'\n", reason, line);
    free(line);
    if (w->stats->wrong >= (o->max_wrong ? o->max_wrong : 1))
        w->stop = true;
}

static void walk_init(crash_walk *w, const crash_options *o, crash_stats *stats, uint64_t seed)
{
    memset(w, 0, sizeof *w);
    w->options = o;
    w->stats = stats;
    w->seed = seed;
    w->chance = rng_init(seed);
}

static void walk_points(crash_walk *w, simfs *recorded);
static void replay_points(crash_walk *w, simfs *recorded, const char *rest);

/* Crashes the recovery that `recovered` has just recorded. With `rest`, only the state it names. */
static void nest(crash_walk *w, simfs *recovered, const char *rest)
{
    crash_options o = *w->options;
    o.nest_every = 0;
    o.random = 4;
    o.singles = 16;
    crash_walk inner;
    walk_init(&inner, &o, w->stats, w->seed);
    inner.outer = w;
    inner.depth = w->depth + 1;
    inner.seen = w->seen;
    memcpy(inner.marks, w->marks, sizeof inner.marks);
    memcpy(inner.marked, w->marked, sizeof inner.marked);
    simfs_record_stop(recovered);
    if (rest)
        replay_points(&inner, recovered, rest);
    else
        walk_points(&inner, recovered);
    w->stop = inner.stop;
}

/* Builds and verifies the state in hand. */
static void judge(crash_walk *w, bool nested, const char *rest)
{
    crash_state state = {.sim = build(w), .model = w->model, .point = w->d.changes};
    state.fs = simfs_fs(state.sim);
    state.depth = w->depth;
    state.walk = w;
    memcpy(state.marks, w->marks, sizeof state.marks);
    memcpy(state.marked, w->marked, sizeof state.marked);
    w->stats->states++;
    w->stats->nested += w->depth > 0;
    if (nested)
        simfs_record(state.sim);
    int rc = w->options->verify(w->options->ctx, &state);
    if (rc == 0 && simfs_open_count(state.sim) != 0)
        rc = crash_wrong(&state, "%llu folders, files or mappings were left open",
                         (unsigned long long)simfs_open_count(state.sim));
    if (rc)
        report(w, &state);
    else if (nested)
        nest(w, state.sim, rest);
    simfs_free(state.sim);
}

void crash_try(crash_walk *w)
{
    const crash_options *o = w->options;
    if (w->stop)
        return;
    w->stats->considered++;
    uint64_t contents = disk_hash(&w->d, w->choice);
    if (w->tear)
        contents = mix64(contents ^ mix64(w->d.changes << 32 ^ (uint64_t)w->tear));
    if (!crash_set_add(w->seen, meaning(w, contents)))
        return;
    w->stats->distinct += crash_set_add(w->seen, mix64(contents ^ UINT64_C(0x5eed)));
    bool nested = o->nest_every && w->depth == 0 && w->stats->states % o->nest_every == 0;
    judge(w, nested, NULL);
    if (o->max_states && w->stats->states >= o->max_states)
        w->stop = true;
}

/* ---- The walk ---- */

static void choice_reserve(crash_walk *w)
{
    if (w->choice_room >= w->d.item_count && w->choice)
        return;
    w->choice_room = w->d.item_count + 64;
    w->choice = sim_grow(w->choice, w->choice_room * sizeof *w->choice);
}

static void pick_all(crash_walk *w)
{
    static const struct {
        crash_model model;
        void (*pick)(crash_walk *w);
    } families[] = {{CRASH_KILL, crash_pick_kill},
                    {CRASH_ORDERED, crash_pick_ordered},
                    {CRASH_STRICT, crash_pick_strict}};
    unsigned models = w->options->models ? w->options->models : CRASH_ALL;
    disk_items(&w->d);
    choice_reserve(w);
    w->stats->points++;
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        if (!(models & families[i].model))
            continue;
        w->model = families[i].model;
        families[i].pick(w);
    }
}

static void take_mark(crash_walk *w, const sim_op *op)
{
    w->marks[op->node] = op->offset;
    w->marked[op->node] = true;
}

/* What the recovery started from. After a power cut, that is what the disk held. After a kill, the recovery saw what the
 * dead process had written, and the disk still has only what had been synced. */
static void start(crash_walk *w, const simfs *recorded)
{
    const crash_walk *before = w->outer;
    w->recorded = recorded;
    if (!before || before->model != CRASH_KILL) {
        disk_init(&w->d, recorded->recording.base, w->seed);
        return;
    }
    const sim_recording *r = &before->recorded->recording;
    disk_init(&w->d, r->base, w->seed);
    for (size_t i = 0; i < before->op; i++)
        if (r->ops[i].kind != SIM_OP_MARK)
            disk_apply(&w->d, &r->ops[i]);
    if (before->tear) {
        sim_op torn = *before->under_way;
        size_t from = before->tear > 0 ? 0 : (size_t)-before->tear;
        size_t to = before->tear > 0 ? (size_t)before->tear : torn.size;
        torn.data += from;
        torn.offset += from;
        torn.size = to - from;
        disk_apply(&w->d, &torn);
    }
}

/* A point lies before each change, with all marks that were given by then, and after the last. */
static void walk_points(crash_walk *w, simfs *recorded)
{
    const sim_recording *r = &recorded->recording;
    uint64_t stride = w->options->point_stride ? w->options->point_stride : 1;
    start(w, recorded);
    for (size_t i = 0; i <= r->count && !w->stop; i++) {
        const sim_op *op = i < r->count ? &r->ops[i] : NULL;
        w->op = i;
        if (op && op->kind == SIM_OP_MARK) {
            take_mark(w, op);
            continue;
        }
        w->under_way = op;
        if (!op || w->d.changes % stride == 0)
            pick_all(w);
        if (op)
            disk_apply(&w->d, op);
    }
    disk_release(&w->d);
    free(w->choice);
}

static void replay_points(crash_walk *w, simfs *recorded, const char *rest)
{
    const sim_recording *r = &recorded->recording;
    crash_step step;
    if (!crash_read_step(&rest, &step))
        sim_die("FIRN_REPLAY: cannot read the line");
    start(w, recorded);
    for (size_t i = 0; i < r->count; i++) {
        w->op = i;
        if (r->ops[i].kind == SIM_OP_MARK) {
            take_mark(w, &r->ops[i]);
            continue;
        }
        w->under_way = &r->ops[i];
        if (w->d.changes == step.point)
            break;
        disk_apply(&w->d, &r->ops[i]);
        w->under_way = NULL;
        w->op = i + 1;
    }
    disk_items(&w->d);
    choice_reserve(w);
    w->model = step.model;
    w->tear = step.tear;
    bool fits = w->d.changes == step.point && crash_read_choice(w, step.choice);
    if (step.tear && (!w->under_way || (uint64_t)llabs(step.tear) >= w->under_way->size))
        fits = false;
    if (!fits)
        sim_die(
            "FIRN_REPLAY: the script no longer makes the changes that this line was written for");
    w->stats->points++;
    judge(w, rest != NULL, rest);
    disk_release(&w->d);
    free(w->choice);
}

uint64_t crash_run(simfs *recorded, const crash_options *options, crash_stats *stats)
{
    if (!recorded->recording.base)
        sim_die("crash_run without simfs_record");
    uint64_t before = stats->wrong;
    uint64_t seed = options->seed;
    const char *rest = NULL;
    if (options->replay && !crash_read_line(options->replay, options->name, &seed, &rest))
        return 0; /* a line of another script */
    crash_set seen = {0};
    crash_walk w;
    walk_init(&w, options, stats, seed);
    w.seen = &seen;
    if (rest)
        replay_points(&w, recorded, rest);
    else
        walk_points(&w, recorded);
    crash_set_release(&seen);
    return stats->wrong - before;
}

simfs *crash_now(simfs *recorded, crash_model model, uint64_t seed, char *line, size_t size)
{
    const sim_recording *r = &recorded->recording;
    if (!r->base)
        sim_die("crash_now without simfs_record");
    crash_options o = {.name = "now", .seed = seed};
    crash_stats stats = {0};
    crash_walk w;
    walk_init(&w, &o, &stats, seed);
    w.model = model;
    disk_init(&w.d, r->base, seed);
    for (size_t i = 0; i < r->count; i++)
        disk_apply(&w.d, &r->ops[i]);
    disk_items(&w.d);
    choice_reserve(&w);
    if (model == CRASH_KILL)
        crash_choose_all(&w);
    else if (model == CRASH_ORDERED)
        crash_choose_ordered(&w);
    else
        crash_choose_random(&w);
    if (line)
        crash_write_line(&w, line, size);
    simfs *s = build(&w);
    disk_release(&w.d);
    free(w.choice);
    return s;
}

/* ---- Options and numbers ---- */

bool crash_long(void)
{
    const char *text = getenv("FIRN_LONG");
    return text && text[0] && strcmp(text, "0") != 0;
}

crash_options crash_options_default(const char *name, uint64_t seed, crash_verify verify, void *ctx)
{
    const char *text = getenv("FIRN_SEED");
    crash_options o = {.name = name, .verify = verify, .ctx = ctx, .seed = seed};
    if (text && text[0])
        o.seed = strtoull(text, NULL, 0);
    o.random = crash_long() ? 128 : 16;
    o.nest_every = crash_long() ? 50 : 500;
    o.replay = getenv("FIRN_REPLAY");
    return o;
}

void crash_print(const char *name, const crash_stats *s, FILE *out)
{
    fprintf(out, "%s: %llu points, %llu states (%llu distinct), %llu nested, %llu wrong\n", name,
            (unsigned long long)s->points, (unsigned long long)s->states,
            (unsigned long long)s->distinct, (unsigned long long)s->nested,
            (unsigned long long)s->wrong);
}
