/* reading: the calls of firn.h that read, for any bucket. Those of firn.h are for bucket 0. Handles
 * have been checked. */
#ifndef ENGINE_READING_H
#define ENGINE_READING_H

#include <store/tree.h>

/* Is it of this store? NULL, the newest, is. FIRN_INVALID. */
int check_snapshot(const firn *db, const firn_snapshot *snapshot, firn_error *err);

int tree_get_into(tree *t, const void *key, size_t key_size, const firn_snapshot *snapshot,
                  void *buffer, size_t capacity, size_t *value_size, firn_error *err);
int tree_estimate(tree *t, const firn_range *range, uint64_t *bytes, uint64_t *entries,
                  firn_error *err);
int tree_iter_new(tree *t, const firn_iter_options *options, firn_iter **out, firn_error *err);

#endif
