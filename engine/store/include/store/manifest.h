/* manifest: the durable list of which tables make up the store, and how far the log has been
 * flushed into them.
 *
 * A manifest is a file of records (engine/README.md, "The manifest"). The first record is a whole
 * state; each later one is an edit. A record is synced before what it says is relied on. A new
 * manifest is written under a temporary name, synced, renamed and the folder synced: under its
 * final name it is complete, so the highest number counts.
 *
 * Locks: manifest_write is called under store.manifest_mu. */
#ifndef ENGINE_MANIFEST_H
#define ENGINE_MANIFEST_H

#include <store/tree.h>
#include <tree/edit.h>

/* A manifest that has grown to this is replaced. */
#define MANIFEST_REWRITE_BYTES (UINT64_C(4) << 20)

typedef struct manifest manifest;

/* A bucket beside the default one. */
typedef struct bucket_state {
    uint16_t bucket;
    bucket_name name;
    bucket_form form;
    version *version; /* a reference */
} bucket_state;

typedef struct manifest_state {
    uint8_t store_id[16];
    uint64_t flushed_seq;
    uint64_t covered_no; /* log segments with numbers <= this hold nothing newer than flushed_seq */
    uint64_t next_file_no; /* for tables and manifests */
    uint64_t manifest_no;
    uint64_t salt;         /* of its records' checksums */
    version *version;      /* of the default bucket; owned reference */
    bucket_state *buckets; /* the others, ascending */
    size_t bucket_count, bucket_capacity;
    /* numbers of buckets below it have been given out; 0: only the default one's */
    unsigned bucket_limit;
    bool closed_clean;   /* the last record says that, and where, the store was closed */
    uint64_t closed_seq; /* the log held everything up to here when it was last closed */
    bool torn;           /* the tail held a record that had never been completed */
    uint64_t last, end;  /* where the last good record begins, and the next one would */
    uint64_t file_bytes;
    uint64_t records;
    bool shared;    /* the file has another name, which must not change: it takes no more records */
    uint64_t steps; /* of version_build: what tests bound */
} manifest_state;

void manifest_state_release(manifest_state *s);
/* A bucket more, behind the others. FIRN_NO_MEMORY. */
int manifest_state_add(manifest_state *s, uint16_t bucket, firn_slice name, const bucket_form *form,
                       version *v);
/* The numbers of the tables of all buckets, ascending, for folder_has. FIRN_NO_MEMORY. */
int manifest_state_numbers(const manifest_state *s, buf *out);
/* How many buckets there are, and the version of each, by its place among them: borrowed. */
size_t manifest_state_count(const manifest_state *s);
version *manifest_state_version(const manifest_state *s, size_t i);

/* Reads manifest `no`. FIRN_DAMAGED names file and offset; FIRN_UNSUPPORTED. Tables are only
 * created as objects. What is read makes sense (version_build.h, B1 to B5), no matter which program
 * wrote it. */
int manifest_load(const table_env *env, uint64_t no, manifest_state *out, firn_error *err);

/* Writes a new manifest holding `state` as its first record, durably, under number `no`. A curable
 * error: there is no manifest of that number. */
int manifest_create(fs_dir *dir, uint64_t no, const manifest_state *state, manifest **out,
                    firn_error *err);
/* Makes what manifest_load has read durable, before the store relies on it: it may have come from
 * the page cache, of a process that died before its sync, or whose sync failed. Behind such a
 * failure the same bytes, written again into the same file, may never be durable, though syncing
 * them succeeds; so a new manifest says the same under number `no`, which is in *out. Without room
 * for one *out is NULL, and the last record has been written once more where it is. */
int manifest_settle(fs_dir *dir, uint64_t no, const manifest_state *state, manifest **out,
                    firn_error *err);
/* Goes on in a manifest of an earlier life, where there is no room for a new one: it is worn, and
 * no edit may be written to it before it has been replaced, but the mark of a close. What stands
 * behind its last good record is cut off. */
int manifest_continue(fs_dir *dir, const manifest_state *state, manifest **out, firn_error *err);
bool manifest_is_worn(const manifest *m);
/* The file has another name (a backup of hard links): it takes no mark of a close either. */
bool manifest_is_shared(const manifest *m);

/* Appends an edit and syncs it. FIRN_NO_SPACE: nothing happened, may be tried again. Any other
 * error: unknown whether it happened; the manifest refuses further edits with FIRN_POISONED. */
int manifest_write(manifest *m, const edit *e, firn_error *err);
/* Memory no longer agrees with what is written: no further edit may be built on it. */
void manifest_poison(manifest *m);
/* Does the file begin with a manifest's magic? What cannot be read does not. */
bool manifest_has_magic(fs_dir *dir, const char *name);
uint64_t manifest_bytes(const manifest *m);
uint64_t manifest_no(const manifest *m);
void manifest_close(manifest *m); /* NULL is allowed */

#endif
