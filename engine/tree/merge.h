/* merge: many sorted runs as one (base/iter.h). Serves scans and compaction alike.
 *
 * A binary heap over the children, each slot with the first 16 bytes of its child's key, so that
 * most comparisons touch neither key. Which slot comes next is kept while the top stays the same:
 * a child that shows several elements in a row costs one comparison each. No two children hold the
 * same (key, number).
 */
#ifndef ENGINE_MERGE_H
#define ENGINE_MERGE_H

#include <base/iter.h>

/* Takes the children over, also when it fails (then they are closed). With one child, that child is
 * returned. */
int merge_iter_new(iter **children, size_t count, iter **out);
/* For a caller that gathered the children and may have failed at it: with `rc` FIRN_OK as
 * merge_iter_new, otherwise the children there are get closed, and the status is returned. */
int merge_iter_of(int rc, iter **children, size_t count, iter **out);

/* For walk_skip: the child that is shown goes to the first entry of `to` if it is not one of the
 * first rank + 1; else to its next one. SIZE_MAX: to the next one whatever it is. Any iterator; one
 * that is no merge has rank 0. */
void merge_skip(iter *it, size_t rank, firn_slice to);
/* Likewise backwards, to the last entry in front of `from`. */
void merge_skip_back(iter *it, size_t rank, firn_slice from);

#endif
