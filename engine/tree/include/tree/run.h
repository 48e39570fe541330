/* run: what can be read. A memtable, a table and a level have this in common: each is a sorted
 * sequence of versions of keys. Gets, iterators, flush, compaction, check and repair see runs and
 * nothing else; what kind a run is, is asked here alone.
 *
 *   run_table, run_prefetch    ahead of a get: the one table that may hold the key, and its filter
 *                              on the way
 *   run_get                    what the run says of a key to a reader
 *   run_keep, run_unpin        a found value stays where it is, for a caller that does not hold the
 *                              view
 *   run_iter_new, walk_open    all versions within limits, of one run or of several as one
 *   run_cover                  its range delete over a key, and how far that goes
 *   run_list_ranges            all of them
 *   run_bounds, run_may_show   between which keys and numbers it lies
 *   run_split                  a key that cuts it
 *   run_open, run_verify       that it stays readable, and that all of it is right
 *
 * A run is two words and owns nothing: it is good as long as what it names, which a view keeps.
 *
 * Another kind of run (a segment of the log with an index beside it, a file that was taken in) is
 * one more value of run_kind, and one more case in the functions of run.c.
 *
 * Invariants
 *   R1  The same versions give the same answers, whatever kind the run is.
 *   R2  Nothing of a run lies outside its bounds. A memtable that is written to grows, and its
 *       bounds with it.
 *   R3  A run whose limits leave nothing of it may be left out of a walk: no answer depends on it.
 */
#ifndef ENGINE_RUN_H
#define ENGINE_RUN_H

#include <tree/fragments.h>
#include <tree/resolve.h>
#include <tree/view.h>

typedef enum run_kind {
    RUN_NONE, /* holds nothing */
    RUN_MEM,
    RUN_TABLE,
    RUN_LEVEL, /* tables that do not overlap, ascending (V2) */
} run_kind;

typedef struct run {
    run_kind kind;
    union {
        mem_part *mem;
        table *table;
        const level *level;
    };
} run;

/* What a mem holds of a bucket; RUN_NONE when that is nothing. */
static inline run run_of_mem(mem *m, uint16_t bucket)
{
    mem_part *p = mem_part_of(m, bucket);
    return (run){.kind = p ? RUN_MEM : RUN_NONE, .mem = p};
}

static inline run run_of_table(table *t)
{
    return (run){.kind = RUN_TABLE, .table = t};
}

static inline run run_of_level(const level *l)
{
    return (run){.kind = RUN_LEVEL, .level = l};
}

/* ---- The runs of a view, newest first: those in memory, then those of the version ---- */

static inline size_t view_mem_count(const view *v)
{
    return v->frozen_count + (v->active != NULL);
}

static inline run view_mem_run(const view *v, size_t i)
{
    if (!v->active)
        return run_of_mem(v->frozen[i], v->bucket);
    return run_of_mem(i == 0 ? v->active : v->frozen[i - 1], v->bucket);
}

/* The version's runs one after the other: *at counts from 0. RUN_NONE: that was all. */
static inline run version_next_run(const version *v, size_t *at)
{
    size_t young = v->levels[0].count;
    if (*at < young)
        return run_of_table(v->levels[0].tables[(*at)++]);
    for (size_t n; (n = (*at)++ - young + 1) < FIRN_LEVELS;)
        if (v->levels[n].count)
            return run_of_level(&v->levels[n]);
    return (run){0};
}

/* ---- Range deletes ---- */

/* Has it any that a reader at a number of today may see? */
static inline bool run_has_ranges(run r)
{
    switch (r.kind) {
    case RUN_MEM:
        return range_map_any(&r.mem->ranges);
    case RUN_TABLE:
        return r.table->properties.ranges > 0;
    case RUN_LEVEL:
        return r.level->ranged > 0;
    case RUN_NONE:
    default:
        return false;
    }
}

/* What they say of a key. Opens a table that may cover it. */
int run_cover(run r, firn_slice key, uint64_t seq_max, cover *out, firn_error *err);
/* Adds what a merge at these snapshots (ascending) has to know of them. Bounds are borrowed from
 * the run. */
int run_list_ranges(run r, const uint64_t *snapshots, size_t count, fragment_list *out,
                    firn_error *err);
/* Of an open table; of one that was never opened, none. */
static inline fragments table_ranges(const table *t)
{
    const sst_reader *reader = atomic_load_explicit(&t->reader, memory_order_acquire);
    fragments f = {0};
    if (reader)
        f.list = sst_reader_ranges(reader, &f.count);
    return f;
}

/* Of an open table: is its largest key only where a range delete ends? Of another one, no. */
static inline bool table_ends_open(const table *t)
{
    const sst_reader *reader = atomic_load_explicit(&t->reader, memory_order_acquire);
    return reader && sst_reader_ends_open(reader);
}

/* Has a key in [lower, upper) been put in it at a number above `seq`? Of a run in memory. */
static inline bool run_has_puts_behind(run r, firn_slice lower, firn_slice upper, uint64_t seq)
{
    return r.kind == RUN_MEM &&
           atomic_load_explicit(&r.mem->mem->seq_last, memory_order_relaxed) > seq &&
           memtable_puts_behind(r.mem->table, lower, upper, seq);
}

/* ---- Get ---- */

/* What a get asks of every run. */
typedef struct lookup {
    firn_slice key;
    uint64_t hash; /* sst_key_hash; a run in memory does without */
    read_point at;
} lookup;

typedef struct run_hit {
    resolve_answer answer; /* RESOLVE_GO_ON: the run says nothing, older ones decide */
    firn_slice value;
    uint64_t seq; /* of the version or the range delete that answers */
    uint8_t kind;
    sst_pin block; /* with RESOLVE_VALUE */
    run holder;    /* likewise; borrowed: a memtable or a table */
} run_hit;

/* What keeps a value's bytes. All zero: nothing. */
typedef struct run_pin {
    void *holder, *block;
} run_pin;

int run_get_in_table(table *t, const lookup *l, run_hit *out, firn_error *err);

static inline bool table_covers(const table *t, firn_slice key)
{
    return slice_compare(t->properties.key_min, key) <= 0 &&
           slice_compare(key, t->properties.key_max) <= 0;
}

/* The one table of a run in which the key may lie; NULL: there is none, or it is in memory. */
static inline table *run_table(run r, firn_slice key)
{
    table *t = r.kind == RUN_TABLE ? r.table : NULL;
    if (r.kind == RUN_LEVEL) {
        size_t index = level_find(r.level, key);
        t = index < r.level->count ? r.level->tables[index] : NULL;
    }
    return t && table_covers(t, key) ? t : NULL;
}

/* Brings the table's filter on its way, so that the cache misses of several tables overlap. */
static inline void run_prefetch(const table *t, uint64_t hash)
{
    const sst_reader *reader = atomic_load_explicit(&t->reader, memory_order_acquire);
    if (reader)
        sst_prefetch(reader, hash);
}

/* The same with the next steps of a get, by a caller inside readers_enter: the index (false: the
 * table says nothing of the key), the block, and the entry. */
static inline bool run_prefetch_index(table *t, const lookup *l)
{
    const sst_reader *reader = atomic_load_explicit(&t->reader, memory_order_acquire);
    if (!reader || t->properties.ranges || sst_prefetch_index(reader, l->key, l->hash))
        return true;
    table_not_found(t, SST_FILTER_DENIED);
    return false;
}
static inline void run_prefetch_block(const table *t, const lookup *l)
{
    const sst_reader *reader = atomic_load_explicit(&t->reader, memory_order_acquire);
    if (reader)
        sst_prefetch_block(reader, l->key, l->at.seq);
}
static inline void run_prefetch_entry(const table *t, const lookup *l)
{
    const sst_reader *reader = atomic_load_explicit(&t->reader, memory_order_acquire);
    if (reader)
        sst_prefetch_entry(reader, l->key, l->hash, l->at.seq);
}

/* What the run says of the key. With RESOLVE_VALUE, *out holds the value for as long as the caller
 * holds the view, until run_drop or run_keep; with other answers it holds nothing. */
static inline int run_get(run r, const lookup *l, run_hit *out, firn_error *err)
{
    out->answer = RESOLVE_GO_ON;
    if (r.kind == RUN_TABLE || r.kind == RUN_LEVEL) {
        table *t = run_table(r, l->key);
        return t ? run_get_in_table(t, l, out, err) : FIRN_OK;
    }
    if (r.kind == RUN_NONE)
        return FIRN_OK;
    memtable_hit hit;
    uint64_t erased = 0;
    if (__builtin_expect(range_map_any(&r.mem->ranges), 0))
        erased = range_map_find(&r.mem->ranges, l->key, l->at.seq);
    if (!memtable_get(r.mem->table, l->key, l->at.seq, &hit)) {
        out->answer = resolve_absent(erased);
        out->seq = erased;
        return FIRN_OK;
    }
    out->answer = resolve_version(&l->at, hit.seq, hit.kind, erased);
    out->value = hit.value;
    out->seq = hit.seq > erased ? hit.seq : erased;
    out->kind = hit.kind;
    out->block = (sst_pin){0};
    out->holder = r;
    return FIRN_OK;
}

/* FIRN_DAMAGED or FIRN_UNSUPPORTED, described: what RESOLVE_UNKNOWN means. */
int run_refuse(const run_hit *hit, firn_error *err);
/* The caller has no use for the value any more, and still holds the view. */
static inline void run_drop(run_hit *hit)
{
    sst_pin_release(&hit->block);
}
/* Makes the value the caller's, which need not hold the view any longer. */
run_pin run_keep(const run_hit *hit);
void run_unpin(run_pin pin); /* any thread, once; all-zero is allowed */

/* ---- Iterating ---- */

/* All versions within the limits (NULL: none). Tables are opened when they are come to; what fails
 * then stands in the iterator's status, and is described in *err (may be NULL). Limits and *err
 * stay as long as the iterator does. FIRN_NO_MEMORY, not described. */
int run_iter_new(run r, sst_use use, const iter_limits *limits, firn_error *err, iter **out);

/* The range deletes of several runs that are walked as one, the newest run first. All zero: none.
 * They remember what they have said last: the next key is near, most likely. */
typedef struct erasures {
    struct erased {
        run run;
        size_t rank; /* of the run, among all that are walked */
        cover last;
        bool known;
    } * of;
    size_t count, capacity;
    cover last;    /* what all of them say together */
    size_t newest; /* which of them has that number */
    bool known;
} erasures;

int erasures_add(erasures *e, run r, size_t rank); /* FIRN_NO_MEMORY */
void erasures_release(erasures *e);
int erasures_search(erasures *e, firn_slice key, uint64_t seq_max, uint64_t *seq, firn_error *err);
/* The cover of the one whose number it was, and the rank of its run. */
static inline const cover *erasures_cover(const erasures *e)
{
    return &e->of[e->newest].last;
}
/* The greatest number, not above seq_max, of a range delete that covers the key; 0: there is none.
 * Costs nothing where there are none. Fails as opening a table does. */
static inline int erasures_find(erasures *e, firn_slice key, uint64_t seq_max, uint64_t *seq,
                                firn_error *err)
{
    *seq = 0;
    return __builtin_expect(e->count == 0, 1) ? FIRN_OK
                                              : erasures_search(e, key, seq_max, seq, err);
}

/* Several runs as one, the newest first. */
typedef struct walk {
    iter *it;
    erasures erased; /* the range deletes of all of them */
} walk;

int walk_open(const run *runs, size_t count, sst_use use, const iter_limits *limits,
              firn_error *err, walk *out);
void walk_close(walk *w); /* all-zero is allowed */
/* Where the walk stands, erasures_find has just found a range delete that is newer than the version
 * there. Goes on to what may still be seen: in runs that are older than the range delete's own,
 * nothing of its range can. */
void walk_skip(walk *w);
void walk_skip_back(walk *w);

/* ---- Bounds ---- */

typedef struct run_bounds {
    firn_slice key_min, key_max; /* the smallest and the largest key */
    uint64_t seq_min, seq_max;   /* of a memtable, the numbers that it is for */
} run_bounds;

/* False: the run holds nothing. */
bool run_get_bounds(run r, run_bounds *out);
/* May the limits (NULL: none) leave anything of the run? */
bool run_may_show(run r, const iter_limits *limits);

/* Copies into *out a key below which about `part` of `parts` equal parts of a table's bytes lie.
 * FIRN_INVALID for another run: a level is cut between its tables. */
int run_split(run r, size_t part, size_t parts, buf *out, firn_error *err);

/* What a run has between two keys, [lower, upper); NULL data: no bound. Versions, whatever they
 * say. Of a table, its bytes in the file, and as large a part of its entries. `doubt`: entries of
 * the blocks at the two ends, of which it is unknown how many are inside. */
typedef struct run_measured {
    double bytes, entries, doubt;
} run_measured;
/* Adds to *out. Reads no more than the indexes of the tables at the two ends. */
int run_measure(run r, firn_slice lower, firn_slice upper, run_measured *out, firn_error *err);

/* ---- Care ---- */

/* Opens what would be opened when it is read. */
int run_open(run r, firn_error *err);
/* Reads all of it, and looks whether it is what it should be. FIRN_DAMAGED, described. */
int run_verify(run r, firn_error *err);

#endif
