/* version: which tables make up the store. A version never changes; an edit makes the next one,
 * which shares the levels that the edit leaves alone. Readers hold one, and a table's file lives as
 * long as a version that lists it, or a pin of it.
 *
 * Invariants
 *   V1  level 0 is ordered newest first; its tables may overlap.
 *   V2  each deeper level is ordered by key and its tables do not overlap: all versions of a key
 *       that a level has lie in one table.
 *   V3  for one key, everything in level n is newer than everything in level n + 1.
 */
#ifndef ENGINE_VERSION_H
#define ENGINE_VERSION_H

#include <base/buf.h>
#include <base/search.h>
#include <base/slice.h>
#include <base/thread.h>
#include <firn/firn.h>
#include <sstable/sstable.h>

#include <tree/cleaner.h>

/* Ends a hint. */
#define HINT_REPAIR ", or save what is intact with `firn repair`"

/* What fs_open says of a name: in a store, what is not a plain file is damage, and `firn repair`
 * sets it aside. Returns the status to go on with. */
int not_plain(int rc, firn_error *err);

/* FIRN_DAMAGED, described: some table of the folder holds what no table may hold. */
int refuse_order(const char *path, firn_error *err);

/* What filters were worth to gets, by the level that the table is in. Relaxed; in stripes, so that
 * threads do not wait for each other's. */
#define FILTER_STRIPES 8
typedef struct filter_stripe {
    _Alignas(64) _Atomic uint64_t wrong[FIRN_LEVELS]; /* it passed a key that is not there */
    _Alignas(64) _Atomic uint64_t denied[FIRN_LEVELS];
} filter_stripe;

/* What opening a table needs; one for the store. */
typedef struct table_env {
    fs_dir *dir;
    fs_file *lock; /* of the folder; NULL in a handle that only reads */
    sst_cache *cache;
    memory_budget *budget; /* NULL: nothing is counted */
    /* Of the files of all tables that are in memory, whether the newest version lists them or only
     * readers hold them; NULL: nothing is counted */
    _Atomic uint64_t *file_bytes;
    cleaner *cleaner; /* ends tables; NULL: the thread that drops the last reference does */
    fs_pool *files;
    wait_list *waits;       /* where a wait is counted; NULL: nowhere */
    filter_stripe *filters; /* FILTER_STRIPES; NULL: nothing is counted */
    uint64_t store_id[2];
    bool mapped;
    bool keeps;          /* another process may remove tables that we read */
    bool counts_denials; /* else `wrong` alone, which is rare */
} table_env;

typedef struct table table;

typedef struct level_array level_array;

typedef struct level {
    table **tables;
    size_t count;
    uint64_t bytes;
    uint64_t kept;       /* ranges that its tables list */
    size_t ranged;       /* how many of its tables have range deletes ... */
    uint64_t ranged_seq; /* ... and the greatest number in one of those */
    /* holds the tables for all versions that have this level; NULL: borrowed from elsewhere */
    level_array *shared;
} level;

/* Versions of a table that a newer version of their key hides from all readers but those of the
 * snapshots in [from, to]. When no such snapshot is left, nothing needs them. */
typedef struct kept_range {
    uint64_t from, to; /* numbers of snapshots */
    uint64_t count;
    /* 0: all snapshots in the range see all of them. Else it is several ranges made one, so many
     * snapshots were in it then, and over all versions `seen` is the sum of how many of them see
     * each: when some go, so may some of the versions. */
    uint64_t snapshots, seen;
} kept_range;
#define KEPT_MOST 64 /* ranges that a table lists; of more, neighbours are made one */

/* ---- A table of the store. Reference-counted; opened when first read. ---- */
struct table {
    atomic_uint refs;
    dead grave;
    uint64_t no;
    uint16_t bucket;           /* whose keys it holds */
    sst_properties properties; /* key_min and key_max point into `keys` */
    buf keys;
    /* Which snapshots need the hidden versions: the manifest says it beside the properties. Set
     * before the table is listed. */
    kept_range *kept;
    size_t kept_count;
    bool kept_known; /* false: written by a version of firn that did not say */
    const table_env *env;
    bool wanted; /* its room: a flush has been asked for (store_want_space); under state_mu */
    _Atomic uint8_t level; /* where the newest version lists it; for figures */
    atomic_bool obsolete;  /* no version that can become current lists it: remove the file with the
                             last reference */
    MUTEX(opening);
    _Atomic(sst_reader *) reader; /* set once, under `opening` */
    atomic_bool mapped;           /* is to be read in place; acted upon under `opening` */
    table *self;                  /* backs as_level */
    level as_level; /* this table alone, so that a run of level 0 is iterated like a level */
};

/* Copies the properties. Without an environment it can be listed and counted, and never read.
 * FIRN_NO_MEMORY. */
int table_new(const table_env *env, uint64_t no, const sst_properties *properties, table **out);
/* Before others see the table. FIRN_NO_MEMORY. */
int table_say_kept(table *t, const kept_range *ranges, size_t count);
void table_ref(table *t);
void table_unref(table *t);
/* Whether the table is to be read in a mapping from now on, or by way of the cache. Any thread. */
void table_set_mapped(table *t, bool mapped);
/* For table_reader. */
int table_open(table *t, sst_reader **out, firn_error *err);
/* Opens on first use, and looks whether it is the table that the manifest lists. Any thread. */
static inline int table_reader(table *t, sst_reader **out, firn_error *err)
{
    *out = atomic_load_explicit(&t->reader, memory_order_acquire);
    return *out ? FIRN_OK : table_open(t, out, err);
}

static inline void table_set_level(table *t, unsigned n)
{
    atomic_store_explicit(&t->level, (uint8_t)n, memory_order_relaxed);
}
void table_count_filter(const table *t, sst_filtered said);
/* A get has not found its key in the table. */
static inline void table_not_found(const table *t, sst_filtered said)
{
    if (__builtin_expect(said == SST_FILTER_PASSED || t->env->counts_denials, 0))
        table_count_filter(t, said);
}

/* May the limits leave anything of what lies between the two keys? Of the table? Told without
 * opening it. */
static inline bool keys_may_show(firn_slice key_min, firn_slice key_max, const iter_limits *limits)
{
    return !limits_end_before(limits, key_min) && !limits_begin_behind(limits, key_max);
}

static inline bool table_may_show(const table *t, const iter_limits *limits)
{
    const sst_properties *p = &t->properties;
    return p->seq_min <= limits->seq_max && keys_may_show(p->key_min, p->key_max, limits);
}

/* ---- Versions ---- */
typedef struct version {
    atomic_uint refs;
    uint16_t bucket; /* whose tables it lists */
    level levels[FIRN_LEVELS];
} version;

int version_new_empty(version **out);
/* How many were ever made in this process: what tests bound. */
extern _Atomic uint64_t versions_made;
/* Gives an empty level room for so many tables; each that is put behind the others is referred to.
 * FIRN_NO_MEMORY. */
int level_room(level *l, size_t count);
void level_push(level *l, table *t);
/* Makes an empty level the same as `from`, at the cost of a reference. */
void level_share(level *l, const level *from);
void version_ref(version *v);
void version_unref(version *v);

SEARCH_INLINE bool level_ends_before(const void *tables, size_t at, void *key)
{
    table *const *all = tables;
    return slice_compare(all[at]->properties.key_max, *(const firn_slice *)key) < 0;
}

/* Index of the first table of a sorted level whose key_max >= key; count when none. */
static inline size_t level_find(const level *l, firn_slice key)
{
    return search_first(l->tables, 0, l->count, &key, level_ends_before);
}

/* The half-open range of tables of a sorted level that overlap [from, to]; empty slices with NULL
 * data: no bound. */
void level_overlap(const level *l, firn_slice from, firn_slice to, size_t *first, size_t *end);

uint64_t version_tables(const version *v);
/* The numbers of all tables, ascending, as uint64_t, for folder_has. FIRN_NO_MEMORY. */
int version_numbers(const version *v, buf *out);

/* What all keys in the tables begin with; points into a table's bounds. Empty when there are no
 * tables. */
firn_slice version_common_prefix(const version *v);

/* An iterator over one sorted level, opening tables as it gets to them. The version must outlive
 * it. */
int level_iter_new(const level *l, sst_use use, iter **out);

#endif
