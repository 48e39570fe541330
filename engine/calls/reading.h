/* reading: what the calls that read share. */
#ifndef ENGINE_READING_H
#define ENGINE_READING_H

#include <store/tree.h>
#include <tree/run.h>

/* Is it of this store? NULL, the newest, is. FIRN_INVALID. */
int check_snapshot(const store *db, const firn_snapshot *snapshot, firn_error *err);

/* FIRN_OK: *out holds a value, from the newest run that has something to say at the lookup's
 * number, for as long as the caller holds the view. FIRN_NOT_FOUND. */
int read_in_view(const view *v, lookup *l, run_hit *out, firn_error *err);

#endif
