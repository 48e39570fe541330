/* build: tables from a sorted stream, cut at a size, between keys. */
#ifndef ENGINE_BUILD_H
#define ENGINE_BUILD_H

#include <tree/run.h>
#include <store/store.h>

typedef struct build {
    store *db;
    uint16_t bucket; /* 0, or set behind build_init */
    bool from_log;   /* likewise: what comes is a memtable's; else it is of tables */
    unsigned level;
    uint64_t table_bytes; /* UINT64_MAX: one table */
    sst_writer *writer;
    uint64_t writer_no;
    buf last_key;
    bool cut;  /* the present table ends before the next key, whatever its size */
    bool hold; /* it does not, whatever its size */
    kept_range kept[KEPT_MOST + 1]; /* of the present table, ascending */
    size_t kept_count;
    table **tables; /* finished, references */
    size_t count, capacity;
    uint64_t bytes;
    uint64_t charged; /* for the writer, now and then */
    unsigned adds;
    bool table_failed;  /* what failed is making a table: it goes, and nothing depends on it */
    bool folder_failed; /* what failed is the sync of the folder: all tables depend on it */
} build;
void build_init(build *b, store *db, unsigned lvl, uint64_t table_bytes);
int build_add(build *b, const iter *it, firn_error *err);
#define BUILD_STOP_ENTRIES 4096
/* A thread that waits for this processor, which may be a writer, has its turn when so many bytes of
 * entries have been read: half a millisecond. Without that a put takes as long as the time slices
 * of the background's threads, 10 ms on two processors. */
#define BUILD_TURN_BYTES (128 * 1024)
/* What of a sorted stream goes into tables. */
typedef struct build_rules {
    const buf *snapshots;  /* as snapshots_list gives them */
    fragment_list *ranges; /* range deletes of what is merged, settled; changed; NULL: none */
    void *ctx;
    /* May something of the key lie below the tables that are made? Keys ascend from call to call.
     * NULL: never. */
    bool (*lies_below)(void *ctx, firn_slice key);
    /* May something lie there of any key in the range? NULL: never. */
    bool (*range_lies_below)(void *ctx, firn_slice first, firn_slice end);
    /* Shall the present table end before this key? Keys ascend from call to call. NULL: only its
     * size ends it. */
    bool (*cuts)(void *ctx, const build *b, firn_slice key);
    bool (*stop)(void *ctx); /* asked each BUILD_STOP_ENTRIES entries; NULL: never */
    /* Will writers wait for this, so that the thread keeps its processor? Asked each
     * BUILD_TURN_BYTES, with how many entries it has read. NULL: no. */
    bool (*hurries)(void *ctx, uint64_t entries);
} build_rules;
/* The range deletes of some runs, up to a number, settled for these snapshots. */
int build_list_ranges(const run *runs, size_t count, const buf *snapshots, uint64_t seq_max,
                      fragment_list *out, firn_error *err);
/* Adds what the keeper (resolve.h) keeps of all that `it` shows. FIRN_END: it was to stop. When it
 * is the stream that failed, its status says so. */
int build_add_all(build *b, iter *it, const build_rules *rules, firn_error *err);
/* Finishes the last table and syncs the folder: the tables are durable, and no version lists them
 * yet. */
int build_finish(build *b, firn_error *err);
/* Adds the finished tables to the edit, at the build's level. FIRN_NO_MEMORY, not described. */
int build_list(const build *b, edit *e);
/* Commits the edit that lists the tables of builds, if `made`, which is what making them came to,
 * is FIRN_OK; returns what failed. *stay: the tables are not to be removed. They are listed, or it
 * is unknown whether the edit reached the disk, and the manifest may list them (E7). */
int build_commit(store *db, int made, edit *e, mem *flushed, bool *stay, firn_error *err);
/* Releases; tables that were not `kept` are removed. */
void build_release(build *b, bool kept);

#endif
