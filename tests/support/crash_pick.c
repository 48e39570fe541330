/* crash_pick: which states to try at one point. Each function fills in w->choice and calls
 * crash_try for each state; crash_try skips what was seen before, so the families may overlap
 * freely.
 */
#include "crash_walk.h"
#include <stdlib.h>
#include <string.h>

static void choose_none(crash_walk *w)
{
    if (w->d.item_count)
        memset(w->choice, 0, w->d.item_count * sizeof *w->choice);
}

/* Everything that was done is there; where the file grew, zeros. */
void crash_choose_all(crash_walk *w)
{
    for (uint32_t i = 0; i < w->d.item_count; i++)
        w->choice[i] = w->d.items[i].kind == DISK_FILL ? 0 : w->d.items[i].alternatives;
}

/* All names and sizes, no data. */
static void choose_names(crash_walk *w, uint16_t fill)
{
    for (uint32_t i = 0; i < w->d.item_count; i++) {
        const disk_item *item = &w->d.items[i];
        if (item->kind == DISK_FILL)
            w->choice[i] = fill < item->alternatives ? fill : item->alternatives;
        else
            w->choice[i] = item->kind == DISK_SECTOR ? 0 : item->alternatives;
    }
}

static void choose_fill(crash_walk *w, bool random)
{
    for (uint32_t i = 0; i < w->d.item_count; i++) {
        if (w->d.items[i].kind == DISK_FILL)
            w->choice[i] =
                random ? (uint16_t)rng_below(&w->chance, w->d.items[i].alternatives + 1u) : 0;
    }
}

static unsigned singles(const crash_walk *w)
{
    return w->options->singles ? w->options->singles : 256;
}

/* Steps through 0 .. count - 1, through all of them or, when there are more than `limit`, through a
 * seeded sample that always has the last one: use as for (i = 0; i < count; i += sample(...)). */
static uint64_t sample(crash_walk *w, uint64_t i, uint64_t count, uint64_t limit)
{
    if (count <= limit)
        return 1;
    uint64_t step = 1 + rng_below(&w->chance, 2 * (count / limit));
    if (i + 1 < count && i + step >= count)
        return count - 1 - i;
    return step;
}

/* ---- The process dies ---- */

static void tear_at(crash_walk *w, int64_t tear)
{
    w->tear = tear;
    crash_try(w);
    w->tear = 0;
}

void crash_pick_kill(crash_walk *w)
{
    crash_choose_all(w);
    crash_try(w);
    const sim_op *op = w->under_way;
    if (!op || (op->kind != SIM_OP_WRITE && op->kind != SIM_OP_STORED))
        return;
    uint64_t head = SIM_SECTOR - op->offset % SIM_SECTOR; /* to the first border of a sector */
    uint64_t cuts = op->size > head ? (op->size - head + SIM_SECTOR - 1) / SIM_SECTOR : 0;
    for (uint64_t i = 0; i < cuts && !w->stop; i += sample(w, i, cuts, singles(w)))
        tear_at(w, (int64_t)(head + i * SIM_SECTOR));
    if (op->kind != SIM_OP_STORED)
        return;
    /* The processor stores aligned words whole, but a copy may run in either direction. */
    uint64_t first = 8 - op->offset % 8;
    uint64_t words = op->size > first ? (op->size - first + 7) / 8 : 0;
    for (unsigned i = 0; words && i < 4; i++) {
        int64_t cut = (int64_t)(first + rng_below(&w->chance, words) * 8);
        tear_at(w, i % 2 ? cut : -cut);
    }
}

/* ---- Power cut, ordered ---- */

typedef struct ordered {
    uint32_t *names; /* events, in time order */
    uint32_t name_count;
    uint32_t *data;
    uint32_t data_count;
} ordered;

static void ordered_choose(crash_walk *w, const ordered *o, uint32_t names, uint32_t data)
{
    choose_none(w);
    for (uint32_t i = 0; i < w->d.event_count; i++) {
        if (w->d.events[i].forced)
            w->choice[w->d.events[i].item] = w->d.events[i].alternative;
    }
    for (uint32_t i = 0; i < names; i++)
        w->choice[w->d.events[o->names[i]].item] = 1;
    for (uint32_t i = 0; i < data; i++)
        w->choice[w->d.events[o->data[i]].item] = w->d.events[o->data[i]].alternative;
}

static void ordered_try(crash_walk *w, const ordered *o, uint32_t names, uint32_t data)
{
    ordered_choose(w, o, names, data);
    crash_try(w);
}

static ordered ordered_init(const crash_walk *w)
{
    uint32_t events = w->d.event_count;
    ordered o = {.names = sim_alloc(events * sizeof(uint32_t)),
                 .data = sim_alloc(events * sizeof(uint32_t))};
    for (uint32_t i = 0; i < events; i++) {
        if (w->d.events[i].forced || w->d.events[i].lost)
            continue;
        if (w->d.items[w->d.events[i].item].kind == DISK_CHANGE)
            o.names[o.name_count++] = i;
        else
            o.data[o.data_count++] = i;
    }
    return o;
}

static void ordered_release(ordered *o)
{
    free(o->names);
    free(o->data);
}

void crash_choose_ordered(crash_walk *w)
{
    ordered o = ordered_init(w);
    uint32_t names = (uint32_t)rng_below(&w->chance, o.name_count + 1);
    ordered_choose(w, &o, names, (uint32_t)rng_below(&w->chance, o.data_count + 1));
    ordered_release(&o);
}

/* How many folder changes were made before the data event numbered `data`. */
static uint32_t names_before(const crash_walk *w, const ordered *o, uint32_t data)
{
    uint32_t count = 0;
    while (count < o->name_count && data < o->data_count &&
           w->d.events[o->names[count]].order < w->d.events[o->data[data]].order)
        count++;
    return data < o->data_count ? count : o->name_count;
}

void crash_pick_ordered(crash_walk *w)
{
    ordered o = ordered_init(w);
    uint64_t all = (uint64_t)(o.name_count + 1) * (o.data_count + 1);
    if (all <= singles(w)) {
        for (uint64_t i = 0; i < all && !w->stop; i++)
            ordered_try(w, &o, (uint32_t)(i % (o.name_count + 1)),
                        (uint32_t)(i / (o.name_count + 1)));
    } else {
        for (uint64_t b = 0; b <= o.data_count && !w->stop;
             b += sample(w, b, o.data_count + 1, singles(w))) {
            ordered_try(w, &o, names_before(w, &o, (uint32_t)b), (uint32_t)b);
            ordered_try(w, &o, o.name_count, (uint32_t)b);
            ordered_try(w, &o, (uint32_t)rng_below(&w->chance, o.name_count + 1), (uint32_t)b);
        }
        for (uint64_t a = 0; a <= o.name_count && !w->stop;
             a += sample(w, a, o.name_count + 1, singles(w)))
            ordered_try(w, &o, (uint32_t)a, 0);
    }
    ordered_release(&o);
}

/* ---- Power cut, strict ---- */

/* The number of combinations, or 0 when there are more than `limit`. */
static uint64_t combinations(const crash_walk *w, uint64_t limit)
{
    uint64_t product = 1;
    for (uint32_t i = 0; i < w->d.item_count; i++) {
        product *= w->d.items[i].alternatives + 1u;
        if (product > limit)
            return 0;
    }
    return product;
}

static void pick_combinations(crash_walk *w, uint64_t count)
{
    for (uint64_t c = 0; c < count && !w->stop; c++) {
        uint64_t rest = c;
        for (uint32_t i = 0; i < w->d.item_count; i++) {
            w->choice[i] = (uint16_t)(rest % (w->d.items[i].alternatives + 1u));
            rest /= w->d.items[i].alternatives + 1u;
        }
        crash_try(w);
    }
}

static void pick_singles(crash_walk *w)
{
    uint32_t count = w->d.item_count;
    for (uint64_t i = 0; i < count && !w->stop; i += sample(w, i, count, singles(w))) {
        disk_item item = w->d.items[i];
        uint16_t last = item.alternatives;
        crash_choose_all(w);
        w->choice[i] = item.kind == DISK_FILL ? last : 0;
        crash_try(w);
        if (last > 1) { /* a stale version among newer ones */
            w->choice[i] = (uint16_t)(1 + rng_below(&w->chance, last - 1u));
            crash_try(w);
        }
        choose_none(w);
        w->choice[i] = last;
        crash_try(w);
        if (item.kind != DISK_SECTOR)
            continue;
        for (uint16_t fill = 0; fill < 2; fill++) {
            choose_names(w, fill);
            w->choice[i] = last;
            crash_try(w);
        }
    }
}

/* Prefixes in time order are what a torn last write over several files looks like; suffixes are
 * what a disk leaves that wrote the newest first. */
static void pick_tears(crash_walk *w)
{
    uint32_t count = w->d.event_count;
    choose_none(w);
    for (uint64_t i = 0, next = 0; i < count && !w->stop; i++) {
        w->choice[w->d.events[i].item] = w->d.events[i].alternative;
        if (i != next)
            continue;
        next += sample(w, i, count, singles(w));
        crash_try(w);
        choose_fill(w, true);
        crash_try(w);
        choose_fill(w, false);
    }
    choose_names(w, 0);
    for (uint64_t i = 0, next = 0; i < count && !w->stop; i++) {
        const disk_event *e = &w->d.events[count - 1 - i];
        uint16_t *c = &w->choice[e->item];
        *c = *c > e->alternative ? *c : e->alternative;
        if (i != next)
            continue;
        next += sample(w, i, count, singles(w));
        crash_try(w);
    }
}

void crash_choose_random(crash_walk *w)
{
    static const unsigned odds[] = {1, 4, 7}; /* in eight */
    unsigned names = odds[rng_below(&w->chance, 3)];
    unsigned data = odds[rng_below(&w->chance, 3)];
    for (uint32_t i = 0; i < w->d.item_count; i++) {
        const disk_item *item = &w->d.items[i];
        unsigned keep = item->kind == DISK_SECTOR ? data : names;
        uint16_t last = item->alternatives;
        if (item->kind == DISK_FILL)
            w->choice[i] = (uint16_t)rng_below(&w->chance, last + 1u);
        else if (rng_below(&w->chance, 8) >= keep)
            w->choice[i] = 0;
        else
            w->choice[i] =
                rng_below(&w->chance, 2) ? last : (uint16_t)(1 + rng_below(&w->chance, last));
    }
}

void crash_pick_strict(crash_walk *w)
{
    uint64_t all = combinations(w, w->options->combinations ? w->options->combinations : 64);
    if (all) {
        pick_combinations(w, all);
        return;
    }
    choose_none(w);
    crash_try(w);
    crash_choose_all(w);
    crash_try(w);
    for (uint16_t fill = 0; fill < 3; fill++) {
        choose_names(w, fill);
        crash_try(w);
    }
    pick_singles(w);
    pick_tears(w);
    unsigned random = w->options->random ? w->options->random : 16;
    for (unsigned i = 0; i < random && !w->stop; i++) {
        crash_choose_random(w);
        crash_try(w);
    }
}
