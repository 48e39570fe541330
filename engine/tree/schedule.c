/* schedule: see schedule.h. The order of looking is that of schedule_next, at the end. */
#include <tree/schedule.h>

#include <base/alloc.h>
#include <base/slice.h>

/* Parts of a table's entries that are worth a job of its own. */
#define MANY_TOMBSTONES 4  /* one in so many */
#define MUCH_GARBAGE    10 /* likewise */
#define TOMBSTONE_PAYS  12 /* entries merged for one, while there are writers */
#define HIDES_MUCH      8  /* of the table's bytes, or of those below: one in so many */
#define SMALL_PART      4  /* of table_bytes: a table under it is small */
#define SMALL_MANY      4  /* small neighbours that are worth a job, whatever their size */
#define LEVEL0_MOST     256

/* Which tables: [first, end) of each side. Of level 0 that is its oldest tables. */
typedef struct pick {
    schedule_why why;
    unsigned level, target;
    size_t first[2], end[2];
} pick;

typedef struct look {
    const schedule_rules *r;
    const schedule_state *s;
    schedule_shape shape;
    unsigned reserved; /* levels up to here are kept free for level 0; 0: none */
    pick refused;      /* for want of room: the one that needs the least */
    uint64_t refused_bytes;
} look;

typedef enum admission { ADMITTED, CLAIMED, TOO_LARGE } admission;

static const level *level_of(const look *k, unsigned n)
{
    return &k->s->version->levels[n];
}

static const sst_properties *at(const look *k, unsigned n, size_t i)
{
    return &level_of(k, n)->tables[i]->properties;
}

static unsigned level_of_side(const pick *p, unsigned side)
{
    return side == 0 ? p->level : p->target;
}

/* ---- What a pick takes ---- */

static void widen(firn_slice *from, firn_slice *to, const sst_properties *p, bool first)
{
    if (first || slice_compare(p->key_min, *from) < 0)
        *from = p->key_min;
    if (first || slice_compare(p->key_max, *to) > 0)
        *to = p->key_max;
}

/* The range of keys of its first side, or of both. */
static void range_of(const look *k, const pick *p, unsigned sides, firn_slice *from, firn_slice *to)
{
    bool first = true;
    for (unsigned side = 0; side < sides; side++) {
        unsigned n = level_of_side(p, side);
        size_t step = n == 0 || p->end[side] - p->first[side] < 2
                          ? 1
                          : p->end[side] - p->first[side] - 1; /* sorted: the ends are enough */
        for (size_t i = p->first[side]; i < p->end[side]; i += step, first = false)
            widen(from, to, at(k, n, i), first);
    }
}

/* Its second side: what the first one overlaps in the target. */
static void take_below(const look *k, pick *p)
{
    firn_slice from = {0}, to = {0};
    p->first[1] = p->end[1] = 0;
    if (p->target == p->level)
        return;
    range_of(k, p, 1, &from, &to);
    level_overlap(level_of(k, p->target), slice_somewhere(from), slice_somewhere(to), &p->first[1],
                  &p->end[1]);
}

static uint64_t bytes_in(const look *k, const pick *p, unsigned side)
{
    uint64_t bytes = 0;
    for (size_t i = p->first[side]; i < p->end[side]; i++)
        bytes += at(k, level_of_side(p, side), i)->file_bytes;
    return bytes;
}

static uint64_t bytes_out(const look *k, const pick *p)
{
    bool plain = p->target < k->r->plain_levels;
    uint64_t bytes = 0;
    for (unsigned side = 0; side < 2; side++)
        for (size_t i = p->first[side]; i < p->end[side]; i++) {
            const sst_properties *t = at(k, level_of_side(p, side), i);
            /* What was compressed and will not be any more grows. */
            bool grows = plain && t->raw_bytes > t->data_bytes;
            bytes += t->file_bytes + (grows ? t->raw_bytes - t->data_bytes : 0);
        }
    return bytes;
}

/* Does anything of [from, to] lie below this level? */
static bool has_below(const look *k, unsigned n, firn_slice from, firn_slice to)
{
    for (n++; n < FIRN_LEVELS; n++) {
        const level *l = level_of(k, n);
        size_t i = level_find(l, from);
        if (i < l->count && slice_compare(l->tables[i]->properties.key_min, to) <= 0)
            return true;
    }
    return false;
}

/* ---- Moving ---- */

/* A newer table of level 0, whether it is taken too or not: it would have to be merged with this
 * one soon. */
static bool overlaps_newer(const look *k, const pick *p, size_t i)
{
    const sst_properties *t = at(k, p->level, i);
    for (size_t j = 0; j < i; j++) {
        const sst_properties *u = at(k, p->level, j);
        if (slice_compare(u->key_min, t->key_max) <= 0 &&
            slice_compare(t->key_min, u->key_max) <= 0)
            return true;
    }
    return false;
}

static bool is_small(const look *k, unsigned n, size_t i)
{
    return at(k, n, i)->file_bytes < k->r->table_bytes / SMALL_PART;
}

static uint64_t overlap_limit(const look *k)
{
    return k->r->table_bytes * SCHEDULE_OVERLAP;
}

static bool overlaps_too_much(const look *k, unsigned n, firn_slice from, firn_slice to)
{
    return n + 1 < FIRN_LEVELS &&
           schedule_overlap_bytes(level_of(k, n + 1), from, to) > overlap_limit(k);
}

/* May the table go down as it is? Tombstones that hide nothing any more would go in a merge. */
static bool may_move(const look *k, const pick *p, size_t i)
{
    const sst_properties *t = at(k, p->level, i);
    if (t->deletes && !has_below(k, p->target, t->key_min, t->key_max))
        return false;
    return !overlaps_too_much(k, p->target, t->key_min, t->key_max) &&
           (p->level > 0 || !overlaps_newer(k, p, i));
}

/* Tables that overlap nothing, neither each other nor below, go down as they are. Small ones become
 * one. */
static bool can_move(const look *k, const pick *p)
{
    bool one = p->end[0] - p->first[0] == 1;
    if (p->target == p->level || p->first[1] < p->end[1] ||
        (p->level < k->r->plain_levels) != (p->target < k->r->plain_levels))
        return false;
    for (size_t i = p->first[0]; i < p->end[0]; i++)
        if ((!one && is_small(k, p->level, i)) || !may_move(k, p, i))
            return false;
    return true;
}

/* ---- Claims and space ---- */

static admission admit(look *k, const pick *p)
{
    claim c = {.level_from = p->level, .level_to = p->target};
    if (p->level > 0 && p->level <= k->reserved)
        return CLAIMED;
    range_of(k, p, 2, &c.from, &c.to);
    for (size_t i = 0; i < k->s->claim_count; i++)
        if (schedule_overlaps(&c, &k->s->claims[i]))
            return CLAIMED;
    if (k->s->free_bytes == UINT64_MAX || can_move(k, p))
        return ADMITTED;
    uint64_t bytes = bytes_out(k, p);
    if (bytes <= k->s->free_bytes)
        return ADMITTED;
    if (bytes < k->refused_bytes) {
        k->refused_bytes = bytes;
        k->refused = *p;
    }
    return TOO_LARGE;
}

/* ---- Level 0 ---- */

/* As many of the oldest tables as one job takes, at least one. */
static size_t oldest(const look *k, size_t most)
{
    const level *l = level_of(k, 0);
    uint64_t bytes = 0;
    size_t count = 0;
    while (count < l->count && count < most) {
        bytes += at(k, 0, l->count - 1 - count)->file_bytes;
        if (count && bytes > k->r->job_bytes)
            break;
        count++;
    }
    return count;
}

/* The oldest `count` tables of level 0 (J2). */
static pick of_level0(const look *k, schedule_why why, size_t count)
{
    const level *l = level_of(k, 0);
    pick p = {
        .why = why, .target = k->shape.landing, .first = {l->count - count}, .end = {l->count}};
    take_below(k, &p);
    return p;
}

/* The oldest tables that are not small and can go down as they are. */
static size_t movable(const look *k, size_t most)
{
    size_t count = 0, end = level_of(k, 0)->count;
    while (count < most && !is_small(k, 0, end - 1 - count)) {
        pick p = of_level0(k, DUE_LEVEL0, count + 1);
        if (!can_move(k, &p))
            break;
        count++;
    }
    return count;
}

static admission pick_level0(look *k, schedule_why why, size_t most, pick *out)
{
    size_t count = oldest(k, most < LEVEL0_MOST ? most : LEVEL0_MOST);
    size_t moves = movable(k, count);
    admission a = TOO_LARGE;
    if (moves)
        count = moves;
    for (; count && a == TOO_LARGE; count /= 2) {
        *out = of_level0(k, why, count);
        a = admit(k, out);
    }
    return a;
}

/* ---- Deeper levels ---- */

/* How many tables of a level are looked at. */
static size_t looks(const look *k, unsigned n)
{
    size_t count = level_of(k, n)->count;
    return k->s->whole || count < SCHEDULE_LOOKS ? count : SCHEDULE_LOOKS;
}

static size_t look_at(const look *k, unsigned n, size_t step)
{
    size_t count = level_of(k, n)->count;
    return (k->s->cursor[n] % count + step) % count;
}

static pick of_level(const look *k, schedule_why why, unsigned n, unsigned target, size_t first,
                     size_t end)
{
    pick p = {.why = why, .level = n, .target = target, .first = {first}, .end = {end}};
    take_below(k, &p);
    return p;
}

/* Takes the tables behind it, too, while all together are no more than `most` on the pick's own
 * level. */
static void extend(look *k, pick *p, uint64_t most)
{
    uint64_t own = bytes_in(k, p, 0);
    while (p->end[0] < level_of(k, p->level)->count) {
        own += at(k, p->level, p->end[0])->file_bytes;
        if (own > most)
            return;
        pick more = of_level(k, p->why, p->level, p->target, p->first[0], p->end[0] + 1);
        if (own + bytes_in(k, &more, 1) > k->r->job_bytes || can_move(k, p) ||
            admit(k, &more) != ADMITTED)
            return;
        *p = more;
    }
}

/* What of a level that is over its share overlaps the least below, for each byte of its own. */
static admission pick_size(look *k, unsigned n, pick *out)
{
    double best = 0;
    admission result = CLAIMED;
    for (size_t step = 0; step < looks(k, n); step++) {
        size_t i = look_at(k, n, step);
        pick p = of_level(k, DUE_SIZE, n, n + 1, i, i + 1);
        uint64_t own = bytes_in(k, &p, 0), below = bytes_in(k, &p, 1);
        double cost = (double)below / (double)(own + 1);
        if (own + below > k->r->job_bytes)
            cost += (double)k->r->job_bytes; /* only when there is nothing else */
        if (result == ADMITTED && cost >= best)
            continue;
        admission a = admit(k, &p);
        if (a == ADMITTED) {
            best = cost;
            *out = p;
        }
        if (result != ADMITTED)
            result = a;
    }
    if (result == ADMITTED)
        extend(k, out, k->r->table_bytes);
    return result;
}

/* ---- Tombstones and garbage ---- */

static bool has_many_tombstones(const sst_properties *t)
{
    return t->deletes && t->deletes >= t->entries / MANY_TOMBSTONES;
}

/* Few tombstones may hide large entries: how much is estimated from those below. Keys of one kind
 * lie side by side. So a tombstone is taken to hide what lies at any byte below, and not any entry:
 * else few large entries would not count beside many small ones. A range delete may hide it all. */
static bool hides_much(const look *k, unsigned n, size_t i)
{
    const sst_properties *t = at(k, n, i);
    double below = 0, weighed = 0, own = (double)t->file_bytes;
    for (unsigned deeper = n + 1; t->deletes && deeper < FIRN_LEVELS; deeper++) {
        size_t first, end;
        level_overlap(level_of(k, deeper), slice_somewhere(t->key_min), slice_somewhere(t->key_max),
                      &first, &end);
        size_t step = (end - first) / SCHEDULE_LOOKS + 1; /* of many, some are enough */
        for (; first < end; first += step) {
            const sst_properties *p = at(k, deeper, first);
            double bytes = (double)p->file_bytes * (double)step;
            below += bytes;
            weighed += bytes * ((double)p->file_bytes / (double)p->entries);
        }
    }
    if (below <= 0)
        return false;
    double hidden = weighed / below * (double)t->deletes;
    return t->ranges || hidden >= (below < own ? below : own) / HIDES_MUCH;
}

/* Is the table to go down for its tombstones? Each time it does, they are one level nearer to where
 * nothing lies below them. */
static bool tombstones_matter(const look *k, unsigned n, size_t i)
{
    return has_many_tombstones(at(k, n, i)) || (k->s->calm && hides_much(k, n, i));
}

static uint64_t garbage_of(const look *k, unsigned n, size_t i)
{
    const table *t = level_of(k, n)->tables[i];
    bool bottom = t->properties.deletes && n > 0 &&
                  !has_below(k, n, t->properties.key_min, t->properties.key_max);
    return schedule_garbage(t, k->s->snapshots, k->s->snapshot_count, bottom);
}

/* In a calm, any garbage is worth the work when it is all that is hidden: the table is written once
 * more, and then holds none. */
static bool has_much_garbage(const look *k, unsigned n, size_t i)
{
    uint64_t garbage = garbage_of(k, n, i);
    if (garbage == 0 || garbage >= at(k, n, i)->entries / MUCH_GARBAGE)
        return garbage > 0;
    return k->s->calm &&
           schedule_needed(level_of(k, n)->tables[i], k->s->snapshots, k->s->snapshot_count) == 0;
}

/* Taking a table down costs what it overlaps. While there are writers, the level's share does that
 * for many tables together. */
static bool tombstones_pay(const look *k, unsigned n, size_t i)
{
    const sst_properties *t = at(k, n, i);
    size_t first, end;
    uint64_t most = t->deletes * TOMBSTONE_PAYS, entries = t->entries;
    level_overlap(level_of(k, n + 1), slice_somewhere(t->key_min), slice_somewhere(t->key_max),
                  &first, &end);
    while (first < end && entries <= most)
        entries += at(k, n + 1, first++)->entries;
    return k->s->calm || entries <= most;
}

/* Tables of tombstones go down to what they hide. Where nothing lies below they are garbage. */
static admission pick_tombstones(look *k, unsigned n, pick *out)
{
    for (size_t step = 0; n + 1 < FIRN_LEVELS && step < looks(k, n); step++) {
        size_t i = look_at(k, n, step);
        const sst_properties *t = at(k, n, i);
        if (!tombstones_matter(k, n, i) || !has_below(k, n, t->key_min, t->key_max) ||
            !tombstones_pay(k, n, i))
            continue;
        *out = of_level(k, DUE_TOMBSTONES, n, n + 1, i, i + 1);
        if (admit(k, out) != ADMITTED)
            continue;
        extend(k, out, k->r->table_bytes);
        return ADMITTED;
    }
    return CLAIMED;
}

/* What no reader needs goes where it stands. */
static admission pick_garbage(look *k, unsigned n, pick *out)
{
    for (size_t step = 0; step < looks(k, n); step++) {
        size_t i = look_at(k, n, step);
        if (!has_much_garbage(k, n, i))
            continue;
        *out = of_level(k, DUE_GARBAGE, n, n, i, i + 1);
        if (admit(k, out) != ADMITTED)
            continue;
        uint64_t bytes = bytes_in(k, out, 0);
        while (out->end[0] < level_of(k, n)->count && has_much_garbage(k, n, out->end[0])) {
            pick more = of_level(k, DUE_GARBAGE, n, n, i, out->end[0] + 1);
            bytes += at(k, n, out->end[0])->file_bytes;
            if (bytes > k->r->job_bytes || admit(k, &more) != ADMITTED)
                break;
            *out = more;
        }
        return ADMITTED;
    }
    return CLAIMED;
}

/* ---- Small neighbours ---- */

/* From `first` on: the end of the longest row of small neighbours that are worth becoming one
 * table. The largest is no more than half of all, so that a version is written again only when its
 * table doubles. */
static size_t small_row(const look *k, unsigned n, size_t first)
{
    const level *l = level_of(k, n);
    uint64_t bytes = 0, largest = 0;
    size_t end = 0;
    for (size_t i = first; i < l->count && i - first < SCHEDULE_LOOKS && is_small(k, n, i); i++) {
        uint64_t own = at(k, n, i)->file_bytes;
        bytes += own;
        largest = own > largest ? own : largest;
        if (bytes > k->r->table_bytes ||
            overlaps_too_much(k, n, at(k, n, first)->key_min, at(k, n, i)->key_max))
            break;
        size_t count = i - first + 1;
        if (largest <= bytes / 2 && (count >= SMALL_MANY || bytes >= k->r->table_bytes / 2))
            end = i + 1;
    }
    return end;
}

static admission pick_small(look *k, unsigned n, pick *out)
{
    for (size_t step = 0; step < looks(k, n); step++) {
        size_t i = look_at(k, n, step), end = small_row(k, n, i);
        if (end == 0)
            continue;
        *out = of_level(k, DUE_SMALL, n, n, i, end);
        if (admit(k, out) == ADMITTED)
            return ADMITTED;
    }
    return CLAIMED;
}

/* ---- What is due ---- */

/* Each table costs every reader a look, and each merge writes the level below again: few tables are
 * merged when that level has not many times their bytes, or when nothing else is to be done. */
static double level0_urgency(const look *k, const level *l)
{
    double by_count = (double)l->count / k->r->level0_at;
    double by_bytes = (double)l->bytes / (double)k->r->level_base_bytes;
    bool cheap = level_of(k, k->shape.landing)->bytes / SCHEDULE_CHEAP <= l->bytes;
    if (l->count < k->r->level0_most && !cheap && !k->s->calm)
        by_count = 0;
    return by_count > by_bytes ? by_count : by_bytes;
}

/* 1 and more: due. */
static double urgency(const look *k, unsigned n)
{
    const level *l = level_of(k, n);
    if (l->count == 0)
        return 0;
    if (n == 0)
        return level0_urgency(k, l);
    if (n < k->shape.base)
        return 1; /* is being emptied */
    double u = (double)l->bytes / (double)k->shape.share[n];
    return u > 1 ? u : 0;
}

static admission pick_over(look *k, unsigned n, pick *out)
{
    if (n > 0)
        return pick_size(k, n, out);
    admission a = pick_level0(k, DUE_LEVEL0, SIZE_MAX, out);
    /* Else the jobs of the level below would take turns, and level 0 would never have it to itself.
     */
    if (a == CLAIMED)
        k->reserved = k->shape.landing;
    return a;
}

/* The levels that are over their share, the worst first. */
static bool find_over(look *k, pick *out)
{
    bool done[FIRN_LEVELS] = {false};
    for (;;) {
        unsigned worst = FIRN_LEVELS;
        double most = 0;
        for (unsigned n = 0; n + 1 < FIRN_LEVELS; n++) {
            double u = done[n] ? 0 : urgency(k, n);
            if (u >= 1 && u > most) {
                most = u;
                worst = n;
            }
        }
        if (worst == FIRN_LEVELS)
            return false;
        if (pick_over(k, worst, out) == ADMITTED)
            return true;
        done[worst] = true;
    }
}

static bool level0_has_dead(const look *k)
{
    const level *l = level_of(k, 0);
    for (size_t i = 0; i < l->count && i < LEVEL0_MOST; i++)
        if (tombstones_matter(k, 0, i) || has_much_garbage(k, 0, i))
            return true;
    return false;
}

static bool find_rest(look *k, pick *out)
{
    admission (*const passes[])(look *, unsigned, pick *) = {pick_tombstones, pick_garbage,
                                                             pick_small};
    for (size_t pass = 0; pass < sizeof passes / sizeof *passes; pass++)
        for (unsigned n = 1; n < FIRN_LEVELS; n++)
            if (passes[pass](k, n, out) == ADMITTED)
                return true;
    return k->s->calm && level0_has_dead(k) &&
           pick_level0(k, DUE_TOMBSTONES, SIZE_MAX, out) == ADMITTED;
}

static void begin(look *k, const schedule_rules *r, const schedule_state *s)
{
    *k = (look){.r = r, .s = s, .refused_bytes = UINT64_MAX};
    schedule_shape_of(r, s->version, &k->shape);
}

/* ---- Handing a job out ---- */

static int copy_side(const look *k, const pick *p, unsigned side, schedule_job *j)
{
    size_t count = p->end[side] - p->first[side];
    if (count == 0)
        return FIRN_OK;
    j->inputs[side] = heap_alloc(count * sizeof(table *));
    if (!j->inputs[side])
        return FIRN_NO_MEMORY;
    const level *l = level_of(k, level_of_side(p, side));
    for (size_t i = 0; i < count; i++)
        j->inputs[side][i] = l->tables[p->first[side] + i];
    j->counts[side] = count;
    return FIRN_OK;
}

static int hand_out(const look *k, const pick *p, schedule_job *out)
{
    schedule_job j = {.kind = can_move(k, p) ? JOB_MOVE : JOB_MERGE,
                      .why = p->why,
                      .level = p->level,
                      .target = p->target,
                      .bytes_in = bytes_in(k, p, 0) + bytes_in(k, p, 1)};
    if (j.kind == JOB_MERGE)
        j.bytes_out_most = bytes_out(k, p);
    /* What goes down leaves its place to the next; what stays is behind us. */
    j.next = p->target != p->level ? p->first[0] : p->end[0];
    range_of(k, p, 2, &j.from, &j.to);
    int rc = copy_side(k, p, 0, &j);
    if (rc == FIRN_OK)
        rc = copy_side(k, p, 1, &j);
    if (rc == FIRN_OK)
        *out = j;
    else
        schedule_job_release(&j);
    return rc;
}

int schedule_next(const schedule_rules *r, const schedule_state *s, schedule_job *out)
{
    look k;
    pick p;
    begin(&k, r, s);
    *out = (schedule_job){0};
    if (find_over(&k, &p) || find_rest(&k, &p))
        return hand_out(&k, &p, out);
    if (k.refused_bytes == UINT64_MAX)
        return FIRN_NOT_FOUND;
    out->level = k.refused.level;
    out->target = k.refused.target;
    out->bytes_out_most = k.refused_bytes;
    return FIRN_NO_SPACE;
}

bool schedule_due(const schedule_rules *r, const schedule_state *s)
{
    look k;
    pick p;
    schedule_state alone = *s;
    alone.claims = NULL;
    alone.claim_count = 0;
    alone.free_bytes = UINT64_MAX;
    begin(&k, r, &alone);
    return schedule_covered(&alone, NULL) == FIRN_OK || find_over(&k, &p) || find_rest(&k, &p);
}

/* ---- What a caller asks for ---- */

static bool in_range(const sst_properties *t, const schedule_request *q)
{
    return (!q->from.data || slice_compare(t->key_max, q->from) >= 0) &&
           (!q->to.data || slice_compare(t->key_min, q->to) <= 0);
}

/* The deepest level that has anything of the range, or that all bytes together need. */
static unsigned goal_of(const look *k, const schedule_request *q)
{
    unsigned goal = 1;
    for (unsigned n = 1; n < FIRN_LEVELS; n++) {
        const level *l = level_of(k, n);
        size_t first, end;
        level_overlap(l, q->from, q->to, &first, &end);
        if (first < end)
            goal = n;
    }
    return goal > k->shape.last ? goal : k->shape.last;
}

/* Of level 0, up to the newest table that has anything of the range from before. */
static int ask_level0(look *k, const schedule_request *q, pick *out)
{
    const level *l = level_of(k, 0);
    for (size_t i = 0; i < l->count; i++) {
        if (l->tables[i]->properties.seq_min > q->seq || !in_range(&l->tables[i]->properties, q))
            continue;
        admission a = pick_level0(k, DUE_ASKED, l->count - i, out);
        return a == ADMITTED ? FIRN_OK : FIRN_END;
    }
    return FIRN_NOT_FOUND;
}

/* Index of the first table of the request's level that is not done with; the level's count when
 * none is left. */
static size_t not_done(const look *k, const schedule_request *q)
{
    const level *l = level_of(k, q->level);
    size_t i = q->from.data ? level_find(l, q->from) : 0;
    if (q->done.data) {
        size_t behind = level_find(l, q->done);
        if (behind < l->count && slice_compare(at(k, q->level, behind)->key_min, q->done) <= 0)
            behind++;
        i = behind > i ? behind : i;
    }
    return i < l->count && in_range(&l->tables[i]->properties, q) ? i : l->count;
}

/* Down with the next tables of the level. */
static int ask_level(look *k, const schedule_request *q, pick *out)
{
    size_t i = not_done(k, q);
    if (i == level_of(k, q->level)->count)
        return FIRN_NOT_FOUND;
    *out = of_level(k, DUE_ASKED, q->level, q->level + 1, i, i + 1);
    if (admit(k, out) != ADMITTED)
        return FIRN_END;
    while (out->end[0] < level_of(k, q->level)->count &&
           in_range(at(k, q->level, out->end[0]), q)) {
        pick more = of_level(k, DUE_ASKED, q->level, q->level + 1, i, out->end[0] + 1);
        if (bytes_in(k, &more, 0) + bytes_in(k, &more, 1) > k->r->job_bytes || can_move(k, out) ||
            admit(k, &more) != ADMITTED)
            break;
        *out = more;
    }
    return FIRN_OK;
}

/* In the last level of the range: may there be anything in the table that does not belong there? */
static bool is_unsettled(const look *k, unsigned n, size_t i)
{
    return garbage_of(k, n, i) > 0 ||
           schedule_may_have_garbage(level_of(k, n)->tables[i], k->s->snapshots,
                                     k->s->snapshot_count);
}

/* From i on: the end of the row of neighbours that would fit into one table. */
static size_t row_for_one(const look *k, const schedule_request *q, size_t i)
{
    uint64_t bytes = 0;
    while (i < level_of(k, q->level)->count && in_range(at(k, q->level, i), q)) {
        bytes += at(k, q->level, i)->file_bytes;
        if (bytes > k->r->table_bytes)
            break;
        i++;
    }
    return i;
}

static int ask_last(look *k, const schedule_request *q, pick *out)
{
    const level *l = level_of(k, q->level);
    for (size_t i = not_done(k, q); i < l->count && in_range(&l->tables[i]->properties, q); i++) {
        size_t end = i;
        uint64_t bytes = 0;
        while (end < l->count && in_range(&l->tables[end]->properties, q) &&
               is_unsettled(k, q->level, end)) {
            bytes += l->tables[end]->properties.file_bytes;
            if (end > i && bytes > k->r->job_bytes)
                break;
            end++;
        }
        size_t row = row_for_one(k, q, i);
        if (row > i + 1 && row > end)
            end = row;
        if (end == i)
            continue;
        *out = of_level(k, DUE_ASKED, q->level, q->level, i, end);
        return admit(k, out) == ADMITTED ? FIRN_OK : FIRN_END;
    }
    return FIRN_NOT_FOUND;
}

static int ask(look *k, schedule_request *q, unsigned goal, pick *out)
{
    if (q->level == 0)
        return ask_level0(k, q, out);
    if (q->level < goal)
        return ask_level(k, q, out);
    int rc = ask_last(k, q, out);
    if (rc == FIRN_NOT_FOUND && q->wrote && ++q->passes < SCHEDULE_PASSES) {
        q->done = (firn_slice){0};
        q->wrote = false;
        rc = ask_last(k, q, out);
    }
    return rc;
}

/* Before the request's next pick, which may have to wait (rc): where that takes tables of the level
 * that level 0 goes to, a job of level 0 that is due goes first. Else level 0 would stand behind
 * the whole pass; but it is only one, or the request would never end. */
static int level0_first(const schedule_rules *r, const schedule_state *s, schedule_request *q,
                        int rc, pick *out)
{
    look k;
    pick young = {0};
    begin(&k, r, s);
    bool due = q->level > 0 && q->level <= k.shape.landing && urgency(&k, 0) >= 1;
    admission a = due && !q->gave_way ? pick_level0(&k, DUE_LEVEL0, SIZE_MAX, &young) : TOO_LARGE;
    if (a == TOO_LARGE) {
        q->gave_way = q->gave_way && rc != FIRN_OK;
        return rc;
    }
    *out = young;
    q->gave_way = a == ADMITTED;
    return q->gave_way ? FIRN_OK : FIRN_END;
}

int schedule_range(const schedule_rules *r, const schedule_state *s, schedule_request *q,
                   schedule_job *out)
{
    look k;
    pick p;
    schedule_state roomy = *s;
    *out = (schedule_job){0};
    roomy.free_bytes = UINT64_MAX;
    begin(&k, r, &roomy);
    for (unsigned goal = goal_of(&k, q); q->level <= goal; q->level++, q->done = (firn_slice){0}) {
        int rc = ask(&k, q, goal, &p);
        if (rc != FIRN_NOT_FOUND && !q->alone)
            rc = level0_first(r, s, q, rc, &p);
        q->wrote = q->wrote || (rc == FIRN_OK && q->level == goal && p.why == DUE_ASKED);
        if (rc == FIRN_END) { /* what it will claim */
            out->level = p.level;
            out->target = p.target;
            range_of(&k, &p, 2, &out->from, &out->to);
        }
        if (rc == FIRN_OK)
            rc = hand_out(&k, &p, out);
        if (rc != FIRN_NOT_FOUND)
            return rc;
    }
    return FIRN_NOT_FOUND;
}
