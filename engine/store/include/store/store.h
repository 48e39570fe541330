/* store: the open store, and which file does what with it.
 *
 *   tree/      names.c        what files are called
 *              resolve.c      what the versions of a key mean, to a reader and to a merge
 *              run.c          what can be read: a memtable, a table, a level
 *              fragments.c    its range deletes
 *              view.c         memtables and a version
 *              version.c, table.c, edit.c   what a version is made of, and the difference of two
 *              version_build.c   the next version, out of edits
 *              merge.c, level_iter.c   several runs as one; the tables of a level as one
 *              schedule.c, schedule_shape.c   which compaction is due: pure
 *              gaps.c         what walks have learned of dead keys
 *              cow_tree.c     a tree of keys whose older forms stay; range_map.c: one of ranges
 *              readers.c, cleaner.c   when what is replaced can end, and the thread that ends it
 *   store/     handle.c       the struct, the folder's lock
 *              options.c      limits and defaults
 *              folder.c, manifest.c, manifest_read.c   what lies on the disk
 *              tree.c         a bucket: how it begins and ends
 *              views.c        the current views, and how they are replaced
 *              edits.c        a change of the set of tables takes effect
 *              errors.c       a handle that is no good, hints, the log of what happens
 *              work.c         background work that has failed, and those who wait for it
 *              snapshot.c     which numbers must stay readable
 *              watch.c        what a transaction must find unchanged
 *              latency.c      how long calls have taken
 *              budget.c       when a memtable has reached its share of the memory
 *              mapping.c      which tables are mapped, and which are read
 *              load.c         how much there is to do, and what a writer owes for it: pure
 *   commit/    commit.c       put, delete, write: the whole way of a write
 *              guard.c        has a key been written behind a number?
 *              ops.c          operations on their way into a batch, and for which buckets it is
 *              slow.c         what holds it back
 *   jobs/      flusher.c, flush.c   a frozen memtable becomes a table
 *              jobs.c, compact.c    compactions that run
 *              compact_worker.c     the threads that do what is due
 *              calm.c               when they do what can wait
 *              compact_range.c      what a caller asks for
 *              build.c        what flush and compaction write with
 *              settle.c       callers who wait for background work
 *   calls/     open.c         folder, lock, manifest, log -> a view; close.c: and back
 *              read.c         get; many.c: of many keys at once
 *              buckets.c      making, finding, listing and dropping them
 *              apply.c        writes with conditions
 *              iterator.c     firn_iter, over the runs of a view as one
 *              txn.c          transactions; own.c: what one has written; own_walk.c: an iterator
 *                             over that and the store
 *              estimate.c     how much a range takes, told by its runs
 *   care/      check.c, stats.c; stats_text.c: the figures as text
 *              repair.c, repair_folder.c, repair_tables.c   the most that can be saved
 *              set_aside.c    what lies in lost/
 *              destroy.c      removing a store
 *
 * Lock order (engine/README.md): jobs_mu > flush_mu > manifest_mu > state_mu > snapshot_mu. The
 * log's own locks are not held by its leader, which takes only state_mu (commit.c).
 */
#ifndef ENGINE_STORE_H
#define ENGINE_STORE_H

#include <base/patience.h>
#include <engine/engine.h>
#include <firn/firn.h>
#include <wal/wal.h>

#include <store/folder.h>
#include <store/latency.h>
#include <tree/fragments.h>
#include <store/manifest.h>
#include <tree/readers.h>
#include <tree/resolve.h>
#include <tree/schedule.h>
#include <store/tree.h>
#include <store/watch.h>
#include <tree/view.h>

/* Shape of the tree (schedule.h). */
#define LEVEL_RATIO   8
#define L0_COMPACT_AT 4 /* tables in level 0: due when that is cheap, or in a calm ...            */
#define L0_MERGE_AT   10 /* ... and at all events */
#define BASE_SEGMENTS 8  /* of log: as large as the smallest share of a level */
#define JOB_TABLES    24 /* that a job reads, or more if the smallest shares of levels are large */
#define PLAIN_LEVELS  2  /* from this level on, tables are compressed with AUTO */
/* Writers are slowed beyond so many, continuously more: very little while a usual merge becomes
 * due. */
#define L0_SLOW_AT 8
#define L0_STOP_AT 24 /* and here they wait */
#define FROZEN_MAX 2  /* memtables that may wait for a flush before writers do */

typedef struct counters {
    _Atomic uint64_t bytes_put, bytes_flushed, bytes_compacted, flushes, compactions;
} counters;

/* What the background threads do. Each fails and is tried again for itself. */
typedef enum background_work { WORK_FLUSH, WORK_COMPACTION } background_work;

/* Work that has failed, and is tried again: it waits for space, memory or descriptors, or a
 * compaction could not make its tables. */
typedef struct stuck {
    int status; /* FIRN_OK: it does not */
    bool deep;  /* a compaction that took nothing from level 0: no writer waits for it */
    firn_error error;
} stuck;

typedef struct job job; /* jobs.h */
typedef struct room_turn room_turn;

/* A moment, and what had been written by then (calm.c). */
typedef struct calm_time {
    uint64_t us; /* fs_mono_us */
    uint64_t seq, bytes_put;
} calm_time;

typedef struct calm_watch {
    calm_time since;        /* when the present window began */
    uint64_t rest_until_us; /* until then, a trickle of writes is no calm */
} calm_watch;

/* A thread that does compactions. */
#define COMPACTORS_MOST 2
typedef struct compactor {
    store *db;
    unsigned index;
    thread thread;
    /* Its own, but for the last two. */
    uint64_t seen;       /* the epoch of its last look */
    uint64_t pause_ms;   /* until it looks again, although nothing has changed; 0: it need not */
    bool calm;           /* it looks for what can wait, too */
    bool looked_calmly;  /* it has done so since the last change */
    uint64_t idle_seq;   /* the newest number when it last asked for a flush */
    bool retries_calmly; /* what has failed was looked for in a calm, and is tried again */
    calm_watch watch GUARDED_BY(state_mu); /* the first one's */
    bool busy GUARDED_BY(state_mu);        /* counted in db->compacting */
} compactor;

struct store {
    /* Set by open, never changed. */
    fs *fs;
    fs_dir *dir;
    fs_file *lock;
    firn_options options;
    table_env env;
    mem_env mem_env;
    memory_budget budget;
    uint64_t mem_share; /* what a memtable may take before it is rotated */
    sst_cache *cache;
    wal *wal;
    latencies *latencies; /* NULL: not asked for */
    uint8_t store_id[16];
    uint32_t fork_generation;
    schedule_rules rules;
    bool inline_work; /* no background threads (for reproducible tests); then ... */
    int (*work_behind)(store *db,
                       firn_error *err); /* ... does behind a write what they would do; else NULL */
    uint64_t close_entries;              /* engine_config */
    void (*installed)(void *ctx, firn *db, const edit *e); /* likewise */
    void *installed_ctx;
    uint64_t recovered_entries, recovery_cut_bytes;
    _Atomic uint64_t manifest_bytes; /* relaxed: as of the newest edit, for figures */

    /* Read side. */
    tree main; /* bucket 0 */
    _Alignas(64) _Atomic uint64_t
        visible_seq;             /* release: everything <= it is in the view's memtables */
    _Atomic uint64_t newest_seq; /* of the newest write; stored by the log's leader */
    readers readers;             /* also counts the values that callers hold */
    gaps gaps;                   /* of all buckets */
    gap_limits learns;           /* behind how many dead keys a walk does */

    /* Leader of the log only. */
    mem *active; /* the views' active mem, which keep it alive; NULL when read-only */

    MUTEX_MEMBER(state_mu);
    /* a view was installed, a job ended, an error was noted, or closing began */
    cond state_changed;
    view *retired GUARDED_BY(state_mu); /* replaced views that readers may still be looking at */
    /* All of them, also those that are pending: by bucket (NULL: there is none now), ascending, and
     * by name. Changed under manifest_mu and state_mu, read under either of them. */
    tree **trees;
    size_t tree_room;                      /* of `trees` */
    tree *last_tree;                       /* the first is `main` */
    by_name names;                         /* without bucket 0, which has none */
    _Atomic unsigned bucket_limit;         /* numbers of buckets below it have been given out */
    uint64_t handles GUARDED_BY(state_mu); /* of buckets, that callers have */
    int background_status GUARDED_BY(state_mu); /* first error that stopped background work */
    firn_error background_error GUARDED_BY(state_mu);
    stuck stuck[2] GUARDED_BY(state_mu); /* by background_work */
    bool closing GUARDED_BY(state_mu);
    bool rotation_wanted GUARDED_BY(state_mu); /* the active mem has reached its share ... */
    bool idle_rotation GUARDED_BY(state_mu);   /* ... or a part of it, and nothing is written */
    bool flushing GUARDED_BY(state_mu);
    unsigned compacting GUARDED_BY(state_mu); /* workers that do not sleep */
    uint64_t flushes_begun GUARDED_BY(state_mu), flushes_ended
        GUARDED_BY(state_mu);              /* attempts of the flusher */
    bool flush_asked GUARDED_BY(state_mu); /* a caller waits for another one */
    /* Attempts of compactions: how many, and which was the newest that failed. */
    uint64_t compactions_begun GUARDED_BY(state_mu), compaction_stuck_at GUARDED_BY(state_mu);
    bool compaction_asked GUARDED_BY(state_mu); /* a caller waits for what the next one finds */
    bool calm_failed GUARDED_BY(state_mu);      /* the last calm look ended in a failure */
    bool compaction_rests GUARDED_BY(state_mu); /* of tests: none begins by itself */
    uint64_t work_epoch GUARDED_BY(state_mu);   /* grows when something may have become due */
    uint64_t idle_epoch GUARDED_BY(state_mu); /* at which a worker has found nothing at all to do */
    int settlers GUARDED_BY(state_mu);        /* callers of firn_settle that wait */
    _Atomic uint32_t pressure; /* tables in level 0, | PRESSURE_STOP when writers must wait */
    /* by which writers are slowed (slow_load), without what running jobs have done */
    _Atomic uint32_t load;
    _Atomic uint32_t relief; /* what they have done */
    /* Writes that have been let through and are not in their memtables (slow_admits). */
    uint64_t ahead GUARDED_BY(state_mu);
    /* writes that want to be let through; the oldest first */
    room_turn *turns GUARDED_BY(state_mu);
    /* For slow_flush_delay_ns: memtables that wait, and SLOW_ONEths of the active one and of the
     * flush. The leader tells `filled` only while as many wait as may. */
    _Atomic uint32_t frozen, filled, flush_done;
    _Atomic uint32_t slowed; /* writers that sleep for what they owe (slow_state.others) */

    MUTEX(manifest_mu); /* orders edits: one at a time makes and installs a version */
    manifest *manifest GUARDED_BY(manifest_mu);
    uint64_t manifest_limit GUARDED_BY(manifest_mu); /* where a new manifest is begun */
    uint64_t covered_no GUARDED_BY(manifest_mu);     /* as in manifest_state */
    _Atomic uint64_t next_file_no;
    _Atomic uint64_t flushed_seq;

    MUTEX(snapshot_mu);
    firn_snapshot *snapshots GUARDED_BY(snapshot_mu); /* circular, ascending numbers; NULL: none */
    uint64_t snapshot_count GUARDED_BY(snapshot_mu); /* that callers hold, also by transactions */
    uint64_t txn_count GUARDED_BY(snapshot_mu);      /* transactions */
    watch_list watches;                         /* those that are about to be committed */

    MUTEX(flush_mu); /* one flush at a time */
    thread flusher;

    MUTEX_MEMBER(jobs_mu);         /* what is claimed; held for decisions */
    cond jobs_changed;             /* a claim or a part has ended */
    job *jobs GUARDED_BY(jobs_mu); /* that run, or wait to */
    uint64_t tickets GUARDED_BY(jobs_mu);
    unsigned turn GUARDED_BY(jobs_mu); /* the bucket at which the search for a job begins */
    compactor compactors[COMPACTORS_MOST];
    unsigned compactor_count;
    _Atomic bool has_kept;        /* some table lists versions that only snapshots need */
    _Atomic uint64_t ranged_seq;  /* the greatest number in a table with range deletes; 0: none */
    _Atomic uint64_t table_bytes; /* of all files of tables, also those that only readers hold */
    cleaner cleaner;              /* ends what readers were the last to hold */
    dead trim;                    /* what the cleaner is given to make it trim the cache */
    atomic_bool trim_given;
    counters counters;
    filter_stripe filters[FILTER_STRIPES];
    wait_list waits; /* of callers */
};

/* Of a write that is to be counted; lies on its caller's stack (slow.c). */
struct room_turn {
    room_turn *next; /* the one that came behind it */
};

#define PRESSURE_STOP UINT32_C(0x80000000)

struct firn_snapshot {
    store *db;
    uint64_t seq;
    bool own; /* snapshot_take */
    firn_snapshot *prev GUARDED_BY(snapshot_mu), *next GUARDED_BY(snapshot_mu);
};

/* FIRN_READ_ONLY, described. */
int store_read_only(firn_error *err);
/* Are we in a child of a fork? What the parent's threads held then stays held here for ever: no
 * lock may be taken, and nothing that the parent still needs may end here. So what callers give
 * back stays, and goes with the child's memory. */
static inline bool store_is_parents(const store *db)
{
    return db->fork_generation != fork_generation();
}

/* FIRN_INVALID, described: the handle is NULL, or its store a parent's. */
int store_refuse(const tree *handle, firn_error *err);
/* Of which store a handle is, whether or not its bucket is still there. FIRN_INVALID, and *out is
 * NULL: after fork, or the handle is. */
static inline int store_of(const tree *handle, store **out, firn_error *err)
{
    bool good = handle && !store_is_parents(handle->store);
    *out = good ? handle->store : NULL;
    return good ? FIRN_OK : store_refuse(handle, err);
}

/* ---- latency.c: option `latencies`; without it, these are a branch ---- */
static inline uint64_t latency_begin(const store *db)
{
    return __builtin_expect(db->latencies != NULL, 0) ? fs_mono_ns(db->fs) : 0;
}
/* What began then is over. Returns rc. */
static inline int latency_end(const store *db, firn_latency_kind which, uint64_t began, int rc)
{
    if (__builtin_expect(db->latencies != NULL, 0))
        latency_note(db->latencies, which, fs_mono_ns(db->fs) - began);
    return rc;
}

/* ---- handle.c ---- */
/* A handle without a folder. Options are checked. */
int handle_new(const firn_options *options, const engine_config *config, store **out,
               firn_error *err);
/* Closes what is open of manifest, cache, folder and lock. */
void handle_free(store *db);
void handle_set_id(store *db, const uint8_t id[16]);
/* New files get numbers >= next_file_no (0: unknown) that are beyond those of all files in the
 * folder, but for files with a number that the store cannot have reached. */
void store_number_files(store *db, const folder *f, uint64_t next_file_no);

/* ---- options.c ---- */
int options_resolve(const firn_options *given, firn_options *out, firn_error *err);
uint64_t options_mem_share(const firn_options *o);
void options_budget(const firn_options *o, memory_budget *b);
/* Bytes of index that one of many operations takes at most, whatever the order of keys. */
#define MEM_ENTRY_INDEX 48
/* How many operations one batch may have. */
uint64_t options_batch_most(const firn_options *o);
/* From which level on tables are compressed. */
unsigned options_plain_levels(uint32_t compression);
/* The shape of the tree. Reduces table_bytes to what suits it. */
void options_rules(firn_options *o, schedule_rules *r);

/* ---- views.c, edits.c, errors.c, work.c ---- */
/* The current view of bucket 0, with a reference. Any thread. */
view *store_view(store *db);
/* The tree behind `t` in the order of buckets: the first one for NULL, and NULL behind the last.
 * Under manifest_mu or state_mu. */
tree *store_next_tree(const store *db, const tree *t);
/* An empty mem over a segment. The leader, or opening. FIRN_NO_MEMORY. */
int store_new_mem(store *db, wal_segment *segment, uint64_t seq_first, mem **out);
/* The tree of a bucket; NULL: there is none. Under manifest_mu or state_mu. */
static inline tree *store_tree(const store *db, unsigned bucket)
{
    return bucket < db->tree_room ? db->trees[bucket] : NULL;
}
/* How tables of a bucket are made now, with what the store was opened with where it says so, and
 * for one that is not there. Any thread. */
bucket_form store_form(store *db, unsigned bucket);
/* Are all buckets of these entries, of a batch, there? Any thread. */
bool store_has_buckets(store *db, firn_slice entries);
/* A tree that is the last one by its number. FIRN_NO_MEMORY. */
int store_list_tree(store *db, tree *t) REQUIRES(db->manifest_mu) REQUIRES(db->state_mu);
void store_unlist_tree(store *db, tree *t) REQUIRES(db->manifest_mu) REQUIRES(db->state_mu);
/* What mem_reserve reserves, for entries that are about to be applied: parts in the buckets that
 * there are. The leader, or opening. FIRN_NO_MEMORY. */
int store_reserve_entries(store *db, mem *m, firn_slice entries, uint32_t count);
/* The keys of a tree's next memtable probably begin so. */
void store_learn_prefix(store *db, tree *t, firn_slice prefix) REQUIRES(db->state_mu);
/* The next memtables' keys probably begin like those of this mem. */
void store_learn_prefixes(store *db, const mem *m) REQUIRES(db->state_mu);
/* The view that opening has made for a tree; takes the reference over. The first writer is held
 * back by what was left undone before. */
void store_install_first(tree *t, view *first);
/* Replaces the current views by ones in which `fresh` is the active mem and the old active one is
 * frozen. FIRN_NO_MEMORY: nothing has changed. */
int store_install_mem(store *db, mem *fresh);
/* Makes sure that store_install_versions, with the same arguments, cannot fail; store_unreserve
 * gives that up. FIRN_NO_MEMORY. */
int store_reserve(store *db, const mem *flushed, tree *changed) REQUIRES(db->manifest_mu);
void store_unreserve(store *db, const mem *flushed, tree *changed) REQUIRES(db->manifest_mu);
/* Replaces the current views of the trees in this chain (next_changed) by ones with their next
 * versions, and of all trees, if there is a mem `flushed`, by ones without that. */
void store_install_versions(store *db, mem *flushed, tree *changed) REQUIRES(db->manifest_mu);
/* Views have been replaced, or a tree has gone: what holds writers back follows from those that
 * there are now, and threads that wait for that look again. */
void store_tell_replaced(store *db) REQUIRES(db->state_mu);
/* Is the folder still ours alone? FIRN_IO when it has lost its name or its lock: then nothing may
 * be committed. */
int store_check_held(store *db, firn_error *err);
/* Frees replaced views once no reader can be looking at them. */
void store_reap(store *db);
/* All views go, and all trees: the store is about to. Memtables hold segments of the log, so they
 * go before it. */
void store_drop_views(store *db);
/* Writes an edit to the manifest and installs the versions that follow; `flushed` as above. */
int store_commit_edit(store *db, edit *e, mem *flushed, firn_error *err);
/* The same in two steps, for a caller that holds manifest_mu: the second without it. *later: of the
 * manifest's renewal. */
int store_commit_held(store *db, edit *e, mem *flushed, firn_error *later, firn_error *err)
    REQUIRES(db->manifest_mu);
/* How large it is now, for figures, which wait for no edit. */
void store_note_manifest(store *db) REQUIRES(db->manifest_mu);
/* An edit has been installed that a flush, or a merge into a level, made: counts what it read and
 * wrote, for the buckets that are there. */
void store_note_work(store *db, const edit *e, unsigned to);
void store_note_commit(store *db, int rc, const firn_error *later, const firn_error *err);
uint64_t store_next_file_no(store *db);
/* Before numbers are given out for files that shall stay. FIRN_TOO_LARGE: there are none left. */
int store_check_file_no(const store *db, firn_error *err);
/* Notes an error of background work: what may be cured makes this work wait and try again, anything
 * else stops writing. */
void store_background_error(store *db, background_work work, int rc, const firn_error *err);
/* Notes an error of work that is tried again, whatever it is. Of a compaction: `attempt` is its
 * number, and `deep` says that it took nothing from level 0. */
void store_work_waits(store *db, background_work work, uint64_t attempt, bool deep, int rc,
                      const firn_error *err);
/* Workers that pause behind a failed compaction try again soon. */
void store_end_pauses(store *db);
/* This work has succeeded. */
void store_background_works(store *db, background_work work);
/* Why this work waits to be tried again, or has stopped; status 0: it does neither. */
void store_failure(store *db, background_work work, firn_error *out) REQUIRES(db->state_mu);
/* Is it in vain that writers wait for room in memory or in level 0? What they wait for (*of) then
 * tells why: a flush that is healthy is waited for, whatever compaction does. FIRN_OK: it is under
 * way. */
int store_stopped(store *db, background_work *of, firn_error *err) REQUIRES(db->state_mu);
/* A flush that waits before it is tried again is tried soon. *attempt is 0 at first: the attempt
 * that the caller waits for. True: wait for state_changed, and ask again. False: it has failed too,
 * or no flush waits. */
bool store_ask_flusher(store *db, uint64_t *attempt) REQUIRES(db->state_mu);
/* The same of compaction. Not where a table is damaged: that is cured by no attempt. */
bool store_ask_compactors(store *db, uint64_t *attempt) REQUIRES(db->state_mu);
/* The error that stopped writing, or FIRN_OK. */
int store_writable(store *db, firn_error *err);
/* The log knows nothing of `firn repair`: with FIRN_DAMAGED, the hint of *err comes to name it.
 * Returns rc. */
int store_hint_repair(int rc, firn_error *err);
/* Waits once for state_changed, or, when it has lasted, says for what (P15): `what` writes that. */
typedef void (*store_wait_what)(store *db, char *text, size_t size);
void store_wait(store *db, patience *p, store_wait_what what) REQUIRES(db->state_mu);

void store_log(store *db, firn_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- budget.c: the memtables' part of it ---- */
/* Has this mem reached its share, or is it to be flushed soon? Then background work is asked to
 * rotate the log, once for each mem. The log's leader, or opening. */
void store_check_share(store *db, mem *m);
/* A range has been deleted at this number: if whole tables lie in it that are worth it, and that no
 * snapshot sees, the active mem is flushed soon, so that they can go; once for each table. */
void store_want_space(store *db, unsigned bucket, firn_slice first, firn_slice end, uint64_t seq);
/* How full it is, for those who are slowed by that. The log's leader, behind an append. */
void store_tell_filled(store *db, const mem *m);
/* Nothing has been written for a while: asks for a rotation if the active mem has reached a part of
 * its share. */
void store_want_idle_rotation(store *db) REQUIRES(db->state_mu);
/* Filters and indexes that were loaded beyond their room give up theirs: the cleaner is asked for
 * that, since it sweeps under a lock and waits for readers. Until it is done, reads may load more.
 * Also the cache's way to have itself trimmed (sst_cache_set_trimmer): `ctx` is the store. */
void store_ask_trim(void *ctx);

/* ---- mapping.c ---- */
/* How many bytes of tables may be mapped: of a process that may use `limit` bytes, of which the
 * store's own are `memory`. */
uint64_t mapping_room(uint64_t limit, uint64_t memory);
/* Maps the youngest levels of all versions that fit into `room` together, and nothing else. */
void mapping_decide(const version *const *v, size_t count, uint64_t room);
/* Both, for versions that are about to be, or have become, the store's. */
void store_decide_mapping(store *db, const version *const *v, size_t count);

/* Something may have become due: wakes the workers. */
void store_ring(store *db);

/* ---- snapshot.c ---- */
/* The numbers at which a snapshot may still read, ascending, without duplicates, into *out (buf of
 * uint64_t). */
int snapshots_list(store *db, buf *out);
uint64_t snapshots_newest(store *db); /* the greatest of these numbers; 0: there is none */
/* A snapshot in the caller's memory, at the newest number. `own`: of a call of ours, which gives it
 * back before it returns, and not of a caller's. What tables keep for it alone goes when they are
 * looked at next. */
void snapshot_take(store *db, firn_snapshot *s, bool own);
void snapshot_give(firn_snapshot *s);
/* The same for one that was there for long: what it kept is looked at now. */
void snapshot_end(firn_snapshot *s);

#endif
