/* version_build: see version_build.h. Start reading at version_build_finish. */
#include <tree/version_build.h>

#include <base/alloc.h>
#include <base/error.h>
#include <base/hash.h>
#include <base/slice.h>
#include <inttypes.h>
#include <string.h>

#include <tree/names.h>

#define SLOTS_MIN 16
/* Sums of these over VERSION_TABLES_MAX tables fit into 64 bits. */
#define TABLE_BYTES_MAX (UINT64_C(1) << 43)

struct version_change {
    uint64_t no;  /* 0: the slot is free */
    table *added; /* a reference, or NULL */
    uint64_t where;
    uint8_t level, dropped_level;
    bool dropped; /* from the base */
};

void version_build_init(version_build *b, const version *base, uint64_t seed)
{
    *b = (version_build){.base = base, .seed = seed, .blame = FIRN_NO_OFFSET};
}

void version_build_release(version_build *b)
{
    for (size_t i = 0; i < b->capacity; i++)
        table_unref(b->slots[i].added);
    heap_free(b->slots);
    *b = (version_build){0};
}

/* ---- The set ---- */

static size_t home(const version_build *b, uint64_t no)
{
    return (size_t)mix64(no ^ b->seed) & (b->capacity - 1);
}

/* The slot of `no`, or the free one where it belongs. */
static version_change *slot_of(version_build *b, uint64_t no)
{
    size_t i = home(b, no);
    for (b->steps++; b->slots[i].no != 0 && b->slots[i].no != no; b->steps++)
        i = (i + 1) & (b->capacity - 1);
    return &b->slots[i];
}

static version_change *find(version_build *b, uint64_t no)
{
    version_change *c = b->capacity ? slot_of(b, no) : NULL;
    return c && c->no == no ? c : NULL;
}

static int make_room(version_build *b, firn_error *err)
{
    if (b->used < b->capacity / 2)
        return FIRN_OK;
    version_build old = *b;
    size_t capacity = old.capacity ? old.capacity * 2 : SLOTS_MIN;
    b->slots = heap_zalloc(capacity * sizeof *b->slots);
    if (!b->slots) {
        b->slots = old.slots;
        return error_no_memory(err);
    }
    b->capacity = capacity;
    for (size_t i = 0; i < old.capacity; i++)
        if (old.slots[i].no)
            *slot_of(b, old.slots[i].no) = old.slots[i];
    heap_free(old.slots);
    return FIRN_OK;
}

/* The slot of `no`, a new one if there was none. NULL: no memory. */
static version_change *take_slot(version_build *b, uint64_t no, firn_error *err)
{
    if (make_room(b, err) != FIRN_OK)
        return NULL;
    version_change *c = slot_of(b, no);
    if (c->no == 0) {
        *c = (version_change){.no = no};
        b->used++;
    }
    return c;
}

/* Frees a slot. Those behind it that a search would no longer reach move up. */
static void free_slot(version_build *b, const version_change *c)
{
    size_t mask = b->capacity - 1, hole = (size_t)(c - b->slots);
    for (size_t i = (hole + 1) & mask; b->slots[i].no; i = (i + 1) & mask) {
        b->steps++;
        if (((i - home(b, b->slots[i].no)) & mask) < ((i - hole) & mask))
            continue;
        b->slots[hole] = b->slots[i];
        hole = i;
    }
    b->slots[hole] = (version_change){0};
    b->used--;
}

/* ---- Changes ---- */

/* B3: what no writer lists; NULL: nothing. */
static const char *flaw_of(const table *t)
{
    const sst_properties *p = &t->properties;
    if (t->no == 0 || t->no > FILE_NO_MAX)
        return "a number that no table has";
    if (p->key_min.size > FIRN_MAX_KEY_BYTES || p->key_max.size > FIRN_MAX_KEY_BYTES)
        return "a key longer than keys can be";
    if (slice_compare(p->key_min, p->key_max) > 0)
        return "a smallest key beyond its largest";
    if (p->seq_min == 0 || p->seq_min > p->seq_max || p->seq_max > FIRN_MAX_SEQ)
        return "sequence numbers that no table has";
    if (p->entries == 0 || p->deletes > p->entries || p->blocks == 0 || p->blocks > p->entries)
        return "counts that do not fit together";
    if (p->file_bytes > TABLE_BYTES_MAX || p->data_bytes > p->file_bytes ||
        p->entries > TABLE_BYTES_MAX || p->raw_bytes > INT64_MAX)
        return "sizes that do not fit together";
    return NULL;
}

static int listed_twice(uint64_t no, firn_error *err)
{
    return error_set(err, FIRN_DAMAGED, "table %" PRIu64 " is listed twice", no);
}

int version_build_add(version_build *b, unsigned lvl, table *t, firn_error *err)
{
    const char *flaw = lvl < FIRN_LEVELS ? flaw_of(t) : "a level that no store has";
    if (flaw)
        return error_set(err, FIRN_DAMAGED, "table %" PRIu64 " has %s", t->no, flaw);
    if (b->added == VERSION_TABLES_MAX)
        return error_set(err, FIRN_DAMAGED, "there are more tables than a store can have");
    version_change *c = take_slot(b, t->no, err);
    if (!c)
        return FIRN_NO_MEMORY;
    if (c->added)
        return listed_twice(t->no, err);
    table_ref(t);
    c->added = t;
    c->level = (uint8_t)lvl;
    c->where = b->where;
    b->added++;
    return FIRN_OK;
}

static int not_there(uint64_t no, unsigned lvl, firn_error *err)
{
    return error_set(err, FIRN_DAMAGED,
                     "table %" PRIu64 " is dropped from level %u, where it is not", no, lvl);
}

int version_build_drop(version_build *b, unsigned lvl, uint64_t table_no, firn_error *err)
{
    version_change *c = table_no && lvl < FIRN_LEVELS ? find(b, table_no) : NULL;
    if (c && c->added) {
        if (c->level != lvl)
            return not_there(table_no, lvl, err);
        table_unref(c->added);
        c->added = NULL;
        b->added--;
        if (!c->dropped)
            free_slot(b, c);
        return FIRN_OK;
    }
    if (c || !b->base || table_no == 0 || lvl >= FIRN_LEVELS)
        return not_there(table_no, lvl, err);
    c = take_slot(b, table_no, err);
    if (!c)
        return FIRN_NO_MEMORY;
    c->dropped = true;
    c->dropped_level = (uint8_t)lvl;
    c->where = b->where;
    return FIRN_OK;
}

/* ---- Sorting ---- */

typedef struct listed {
    table *table;
    uint64_t where;
} listed;

/* B4. Flushes cover ascending ranges of numbers, so in level 0 the greatest number decides. */
static bool goes_before(version_build *b, unsigned n, const table *x, const table *y)
{
    b->steps++;
    const sst_properties *p = &x->properties, *q = &y->properties;
    int c = n == 0 ? (p->seq_max < q->seq_max) - (p->seq_max > q->seq_max)
                   : slice_compare(p->key_min, q->key_min);
    return c != 0 ? c < 0 : x->no < y->no;
}

/* Merges the sorted runs [from, middle) and [middle, end) of `in` into `out`. */
static void merge_runs(version_build *b, unsigned n, const listed *in, size_t from, size_t middle,
                       size_t end, listed *out)
{
    size_t i = from, j = middle;
    for (size_t k = from; k < end; k++) {
        bool second = i == middle || (j < end && goes_before(b, n, in[j].table, in[i].table));
        out[k] = second ? in[j++] : in[i++];
    }
}

/* Sorts `items`, from the bottom up; `room` has as much room. Returns which of the two is sorted.
 */
static listed *sort(version_build *b, unsigned n, listed *items, listed *room, size_t count)
{
    for (size_t run = 1; run < count; run *= 2) {
        for (size_t from = 0; from < count; from += 2 * run) {
            size_t middle = from + run < count ? from + run : count;
            size_t end = middle + run < count ? middle + run : count;
            merge_runs(b, n, items, from, middle, end, room);
        }
        listed *swap = items;
        items = room;
        room = swap;
    }
    return items;
}

/* ---- Finishing ---- */

/* All that is listed in the end, sorted by level. */
typedef struct gathered {
    size_t counts[FIRN_LEVELS];
    size_t starts[FIRN_LEVELS];
    listed *items, *room;      /* of all levels, one behind the other */
    uint64_t matched;          /* drops that found their table in the base */
    bool changed[FIRN_LEVELS]; /* the others are the base's, and are not gone through */
} gathered;

/* Does this table of the base stay? B1, B2. */
static int judge_base(version_build *b, unsigned n, const table *t, gathered *g, bool *stays,
                      firn_error *err)
{
    const version_change *c = find(b, t->no);
    *stays = !c || !c->dropped;
    if (c)
        b->blame = c->where;
    if (c && c->dropped && c->dropped_level != n)
        return not_there(t->no, c->dropped_level, err);
    if (c && !c->dropped)
        return listed_twice(t->no, err);
    g->matched += !*stays;
    return FIRN_OK;
}

static void put(gathered *g, unsigned n, table *t, uint64_t where)
{
    g->items[g->starts[n] + g->counts[n]++] = (listed){t, where};
}

static int gather_base(version_build *b, gathered *g, firn_error *err)
{
    for (unsigned n = 0; b->base && n < FIRN_LEVELS; n++) {
        const level *l = &b->base->levels[n];
        if (!g->changed[n])
            continue;
        for (size_t i = 0; i < l->count; i++) {
            bool stays;
            int rc = judge_base(b, n, l->tables[i], g, &stays, err);
            if (rc != FIRN_OK)
                return rc;
            if (stays)
                put(g, n, l->tables[i], FIRN_NO_OFFSET);
        }
    }
    return FIRN_OK;
}

/* Room for what was added, and for the base's tables of the levels that change. */
static int gather_room(const version_build *b, gathered *g, firn_error *err)
{
    size_t most[FIRN_LEVELS] = {0}, total = 0;
    for (size_t i = 0; i < b->capacity; i++) {
        const version_change *c = &b->slots[i];
        if (c->added) {
            most[c->level]++;
            g->changed[c->level] = true;
        }
        if (c->dropped)
            g->changed[c->dropped_level] = true;
    }
    for (unsigned n = 0; n < FIRN_LEVELS; n++) {
        g->starts[n] = total;
        total += most[n] + (b->base && g->changed[n] ? b->base->levels[n].count : 0);
    }
    size_t bytes = (total ? total : 1) * sizeof *g->items;
    g->items = heap_alloc(bytes);
    g->room = heap_alloc(bytes);
    return g->items && g->room ? FIRN_OK : error_no_memory(err);
}

/* The base's tables of a level are in order already, and stay so: only what was added has to be
 * sorted, and the two merged. */
static void sort_level(version_build *b, unsigned n, gathered *g, size_t old)
{
    listed *items = g->items + g->starts[n], *room = g->room + g->starts[n];
    size_t count = g->counts[n];
    const listed *sorted = sort(b, n, items + old, room + old, count - old);
    if (sorted != items + old)
        memcpy(items + old, sorted, (count - old) * sizeof *items);
    merge_runs(b, n, items, 0, old, count, room);
    memcpy(items, room, count * sizeof *items);
}

/* B1: is the table in a level of the base that is not gone through? Where its keys are, that is. */
static bool stands_elsewhere(version_build *b, const gathered *g, const table *t)
{
    for (unsigned n = 0; b->base && n < FIRN_LEVELS; n++) {
        const level *l = &b->base->levels[n];
        if (g->changed[n])
            continue;
        size_t at = n == 0 ? 0 : level_find(l, t->properties.key_min);
        size_t end = n == 0 || at == l->count ? l->count : at + 1;
        for (b->steps++; at < end; at++, b->steps++)
            if (l->tables[at]->no == t->no)
                return true;
    }
    return false;
}

static int gather(version_build *b, gathered *g, firn_error *err)
{
    size_t old[FIRN_LEVELS];
    uint64_t drops = 0;
    int rc = gather_room(b, g, err);
    if (rc == FIRN_OK)
        rc = gather_base(b, g, err);
    if (rc != FIRN_OK)
        return rc;
    memcpy(old, g->counts, sizeof old);
    for (size_t i = 0; i < b->capacity; i++) {
        const version_change *c = &b->slots[i];
        drops += c->dropped;
        if (!c->added)
            continue;
        b->steps++;
        b->blame = c->where;
        if (!c->dropped && stands_elsewhere(b, g, c->added))
            return listed_twice(c->no, err);
        put(g, c->level, c->added, c->where);
    }
    if (drops != g->matched)
        return error_set(err, FIRN_DAMAGED, "a table is dropped that is not there");
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        if (g->counts[n])
            sort_level(b, n, g, old[n]);
    return FIRN_OK;
}

/* What stood there first was right; what the base has, stands nowhere. */
static uint64_t later_edit(uint64_t x, uint64_t y)
{
    if (x == FIRN_NO_OFFSET || y == FIRN_NO_OFFSET)
        return x == FIRN_NO_OFFSET ? y : x;
    return x > y ? x : y;
}

/* V2. */
static int check_disjoint(version_build *b, unsigned n, const listed *items, size_t count,
                          firn_error *err)
{
    for (size_t i = 1; i < count; i++) {
        const table *x = items[i - 1].table, *y = items[i].table;
        b->steps++;
        if (slice_compare(x->properties.key_max, y->properties.key_min) < 0)
            continue;
        b->blame = later_edit(items[i - 1].where, items[i].where);
        return error_set(err, FIRN_DAMAGED,
                         "tables %" PRIu64 " and %" PRIu64 " of level %u overlap", x->no, y->no, n);
    }
    return FIRN_OK;
}

static int fill_level(const version_build *b, unsigned n, const gathered *g, level *to)
{
    if (!g->changed[n]) {
        if (b->base)
            level_share(to, &b->base->levels[n]);
        return FIRN_OK;
    }
    int rc = level_room(to, g->counts[n]);
    for (size_t i = 0; rc == FIRN_OK && i < g->counts[n]; i++)
        level_push(to, g->items[g->starts[n] + i].table);
    return rc;
}

int version_build_finish(version_build *b, version **out, firn_error *err)
{
    gathered g = {0};
    version *v = NULL;
    size_t total = 0;
    int rc = gather(b, &g, err);
    for (unsigned n = 0; rc == FIRN_OK && n < FIRN_LEVELS; n++) {
        total += g.changed[n] || !b->base ? g.counts[n] : b->base->levels[n].count;
        if (n > 0)
            rc = check_disjoint(b, n, g.items + g.starts[n], g.counts[n], err);
    }
    if (rc == FIRN_OK && total > VERSION_TABLES_MAX)
        rc = error_set(err, FIRN_DAMAGED, "there are more tables than a store can have");
    if (rc == FIRN_OK && version_new_empty(&v) != FIRN_OK)
        rc = error_no_memory(err);
    for (unsigned n = 0; rc == FIRN_OK && n < FIRN_LEVELS; n++)
        if (fill_level(b, n, &g, &v->levels[n]) != FIRN_OK)
            rc = error_no_memory(err);
    heap_free(g.items);
    heap_free(g.room);
    if (v && b->base)
        v->bucket = b->base->bucket;
    if (rc == FIRN_OK)
        *out = v;
    else
        version_unref(v);
    return rc;
}

int refuse_version(int rc, const char *path, uint64_t offset, firn_error *err)
{
    if (rc != FIRN_DAMAGED || !err)
        return rc;
    error_file(err, rc, path, offset, "the manifest lists what no store has: %s", err->message);
    error_hint(err, "restore the store from a backup" HINT_REPAIR);
    return rc;
}

int version_apply(const version *from, const edit *e, version **out, firn_error *err)
{
    version_build b;
    int rc = FIRN_OK;
    version_build_init(&b, from, 0); /* the numbers of an edit are our own */
    for (size_t i = 0; rc == FIRN_OK && i < e->dropped_count; i++)
        if (e->dropped[i].table->bucket == from->bucket)
            rc = version_build_drop(&b, e->dropped[i].level, e->dropped[i].table->no, err);
    for (size_t i = 0; rc == FIRN_OK && i < e->added_count; i++)
        if (e->added[i].table->bucket == from->bucket)
            rc = version_build_add(&b, e->added[i].level, e->added[i].table, err);
    if (rc == FIRN_OK)
        rc = version_build_finish(&b, out, err);
    version_build_release(&b);
    return rc;
}
