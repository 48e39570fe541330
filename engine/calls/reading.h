/* reading: what the calls that read share. */
#ifndef ENGINE_READING_H
#define ENGINE_READING_H

#include <store/tree.h>
#include <tree/run.h>

/* Is it of this store? NULL, the newest, is. FIRN_INVALID. */
int check_snapshot(const store *db, const firn_snapshot *snapshot, firn_error *err);

/* Between readers_enter and readers_exit. FIRN_OK: *out holds a value until then, or until
 * run_drop; FIRN_NOT_FOUND, FIRN_DROPPED. */
int read_key(const tree *t, firn_slice key, const firn_snapshot *snapshot, run_hit *out,
             firn_error *err);

#endif
