/* engine: opening a store on another file system or without threads. For tests and tools;
 * applications use <firn/firn.h>. */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include <base/fs.h>
#include <firn/firn.h>

struct edit; /* tree/edit.h */

typedef struct engine_config {
    fs *fs;           /* NULL: the real one */
    bool inline_work; /* no threads: flushes and compactions run inside the call that made them due,
                         so that a run is reproducible */
    /* Told of each edit behind its installation, by the thread that did it, one at a time; `db` may
     * be looked at, and nothing of it called that changes it. NULL: none. */
    void (*installed)(void *ctx, firn *db, const struct edit *e);
    void *ctx;
    uint64_t close_entries; /* closing flushes when more entries than that would have to be
                               replayed; 0: as close.c says */
    unsigned gap_steps;     /* dead keys in a row of which a walk learns a gap; 0: GAP_STEPS */
} engine_config;

int engine_open(const char *path, const firn_options *options, const engine_config *config,
                firn **out, firn_error *err);

/* firn_check on another file system. */
int engine_check(fs *f, const char *path, void (*line)(void *ctx, const char *text), void *ctx,
                 firn_check_summary *summary, firn_error *err);

/* firn_lost and firn_destroy on another file system. */
int engine_lost(fs *f, const char *path, bool remove,
                void (*tell)(void *ctx, const firn_lost_file *file), void *ctx,
                firn_lost_summary *summary, firn_error *err);
int engine_destroy(fs *f, const char *path, firn_error *err);

/* firn_repair on another file system. */
int engine_repair(const char *path, const firn_options *options, const engine_config *config,
                  void (*tell)(void *ctx, const firn_repair_event *event), void *ctx,
                  firn_repair_summary *summary, firn_error *err);

typedef struct engine_bucket {
    unsigned bucket;
    firn_slice name; /* empty for bucket 0; valid during the call */
    firn_bucket_stats figures;
} engine_bucket;

/* Each bucket of an open store, by its number. */
int engine_buckets(firn *db, void (*each)(void *ctx, const engine_bucket *bucket), void *ctx,
                   firn_error *err);

/* What need not be in the log of the store in this folder, because its tables have it
 * (wal_config.covered_seq, covered_no). 0 and 0 for a folder without a store: a log on its own. */
int engine_covered(fs_dir *dir, uint64_t *seq, uint64_t *segment_no, firn_error *err);

#endif
