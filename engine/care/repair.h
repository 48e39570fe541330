/* repair: what repair.c (the log, the manifest, the order of events) and repair_tables.c share. */
#ifndef ENGINE_REPAIR_H
#define ENGINE_REPAIR_H

#include <base/lost.h>

#include <jobs/build.h>
#include <store/folder.h>
#include <store/store.h>

/* A table of the store that is being put together. */
typedef struct part {
    unsigned level;
    table *table; /* a reference */
} part;

typedef struct repair {
    store *db; /* lends its folder, lock, options and cache; not an open store */
    folder folder;
    manifest_state state; /* of the manifest; without a version when there is none to use */
    uint64_t flushed_seq; /* the tables hold everything up to here, or what is left of it */
    uint64_t covered_no;  /* as in manifest_state */
    bool changed;         /* a new manifest is due */
    lost lost;
    part *parts;
    size_t count, capacity;
    bucket_set seen; /* what tables and log are of, beside what the manifest lists */
    /* Without a manifest: of which buckets the log has entries, also of those that tables hold.
     * Known before tables are judged by their bucket. */
    bucket_set in_log;
    void (*tell)(void *ctx, const firn_repair_event *event);
    void *ctx;
    firn_repair_summary summary;
    firn_error *err;
} repair;

/* ---- repair.c ---- */
void repair_note(const repair *r, const char *file, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void repair_note_error(repair *r, const char *file, const firn_error *why);
/* Passes a loss on and counts it. */
void repair_loss(repair *r, const firn_repair_event *event);
/* What the manifest calls it; "": bucket 0, or it says nothing of it. */
const char *repair_bucket_name(const repair *r, uint16_t bucket);
/* Has this bucket been dropped? Then nothing of it counts any more. */
bool repair_is_dropped(const repair *r, uint16_t bucket);
/* Is this failure one of the bytes that were read, and not of the system? */
bool repair_is_damage(int rc, const firn_error *err);

/* ---- repair_folder.c ---- */
/* Moves what has the lock's name and is no file, so that the lock can be taken. */
int repair_clear_lock(repair *r);
/* With the lock: whatever has a name of the store's is a plain file afterwards, and is no other
 * file's. */
int repair_clear_folder(repair *r);

/* ---- repair_tables.c ---- */
/* The tables that the manifest lists: those that are intact, and what can be read of the others. */
int repair_listed_tables(repair *r);
/* The intact tables in the folder that the manifest does not list: are there any, and their
 * greatest number. */
int repair_orphans(repair *r, bool *any, uint64_t *seq_max);
/* Tells which listed tables are not there. */
void repair_tell_missing(repair *r);
/* All tables in the folder that are the store's, the level unknown. *seq_max: the greatest number
 * in an intact one. */
int repair_found_tables(repair *r, uint64_t *seq_max);
/* Replaces the parts by tables of one level, with the newest version of each key that is not above
 * the flushed number. */
int repair_merge(repair *r);
void repair_drop_parts(repair *r);

#endif
