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

#endif
