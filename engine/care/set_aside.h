/* set_aside: what lies in the folder lost/ of a store, by the names that firn gives there
 * (base/lost.h):
 *
 *   000000000007.tbl-3       the whole of that file of the store; 3 is a number of its own in lost/
 *   000000000001-4096-4      bytes that recovery cut out of segment 1, from offset 4096 on
 */
#ifndef ENGINE_SET_ASIDE_H
#define ENGINE_SET_ASIDE_H

#include <base/fs.h>
#include <firn/firn.h>

typedef struct aside_name {
    char from[64];   /* the store's file that it came from */
    uint64_t offset; /* FIRN_NO_OFFSET: it is the whole file */
    uint64_t number; /* of its own in lost/ */
} aside_name;

/* Is it a name that firn gives in lost/? */
bool aside_name_parse(const char *name, aside_name *out);

/* Tells each name in lost/, by number, what firn did not put there last. With `remove`, removes
 * what firn put there, and then the folder when nothing else is in it. A store without lost/ has
 * nothing to tell. `tell` and `summary` may be NULL. */
int aside_walk(fs_dir *parent, bool remove, void (*tell)(void *ctx, const firn_lost_file *file),
               void *ctx, firn_lost_summary *summary, firn_error *err);

#endif
