/* version_build: the next version, out of a version and any number of edits.
 *
 * The builder is a set keyed by table number. Adding or dropping a table costs the same however
 * many there are; what a version must be is checked once, at the end. So opening a manifest of many
 * records, or one record of many tables, takes n log n steps, and an edit of a running store takes
 * as many as there are tables in the levels that it changes. The next version shares the others
 * with its base.
 *
 *   version_build b;
 *   version_build_init(&b, base, seed);
 *   version_build_add(&b, level, table, err);  version_build_drop(&b, level, table_no, err);  ...
 *   version_build_finish(&b, &next, err);
 *   version_build_release(&b);
 *
 * What a finished version keeps (each is FIRN_DAMAGED when the edits break it, since a damaged or
 * forged manifest is what breaks it):
 *   B1  a table number is listed once, in one level: a file must not be removed for one level and
 *       read for another.
 *   B2  what is dropped was there, in the level that it is dropped from.
 *   B3  each table has at least one version, key_min <= key_max, seq_min <= seq_max, and numbers
 *       that a table can have.
 *   B4  level 0 is ordered newest first (V1); deeper levels by key, and disjoint (V2).
 *   B5  at most VERSION_TABLES_MAX tables; the bytes of a level can be counted.
 *
 * Table numbers may come from an attacker, who would choose them to collide: `seed` is what the
 * attacker does not know. Belongs to one thread. */
#ifndef ENGINE_VERSION_BUILD_H
#define ENGINE_VERSION_BUILD_H

#include <tree/edit.h>

/* 64 TiB of tables of the default size. */
#define VERSION_TABLES_MAX (UINT64_C(1) << 20)

typedef struct version_change version_change;

typedef struct version_build {
    const version *base; /* borrowed; NULL: nothing */
    uint64_t seed;
    version_change *slots; /* open addressing; a power of two, at most half full */
    size_t capacity, used;
    uint64_t added; /* tables */
    uint64_t where; /* the caller's: where the edit stands that comes next */
    uint64_t blame; /* after a failure of finish: where the edit stood that is at odds */
    uint64_t steps; /* slots looked at and tables compared: what tests bound */
} version_build;

void version_build_init(version_build *b, const version *base, uint64_t seed);
void version_build_release(version_build *b);
/* Takes a reference of its own. FIRN_DAMAGED (B1, B3), FIRN_NO_MEMORY. */
int version_build_add(version_build *b, unsigned lvl, table *t, firn_error *err);
/* FIRN_DAMAGED (B2, as far as it shows before the end), FIRN_NO_MEMORY. */
int version_build_drop(version_build *b, unsigned lvl, uint64_t table_no, firn_error *err);
/* FIRN_DAMAGED (B1 to B5), FIRN_NO_MEMORY. */
int version_build_finish(version_build *b, version **out, firn_error *err);

/* What the functions above refused in a manifest: *err then names `path`, the manifest, and where
 * the edit stands in it, beside the reason that it has. Any status
 * but FIRN_DAMAGED stays as it is. Returns the status. */
int refuse_version(int rc, const char *path, uint64_t offset, firn_error *err);

/* `from` and what an edit says of its bucket: its drops, then its additions. */
int version_apply(const version *from, const edit *e, version **out, firn_error *err);

#endif
