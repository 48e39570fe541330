/* fragments: what range deletes say of a key. The fragments of a run stand in order, so that one
 * search finds those that cover a key. Pure: keys and numbers go in, a number comes out; resolve.h
 * says what it means.
 */
#ifndef ENGINE_FRAGMENTS_H
#define ENGINE_FRAGMENTS_H

#include <base/slice.h>
#include <firn/types.h>

/* Every key in [first, end) was deleted at `seq`. */
typedef struct fragment {
    firn_slice first, end;
    uint64_t seq;
} fragment;

/* Of one run: ascending. Two of them are disjoint or have the same range; of those, the greatest
 * number comes first. */
typedef struct fragments {
    const fragment *list;
    size_t count;
} fragments;

/* The greatest number, not above seq_max, of a fragment that covers the key; 0: there is none. */
uint64_t fragments_find(const fragments *f, firn_slice key, uint64_t seq_max);

/* Of several runs that are walked as one. All zero: none. */
typedef struct erasures {
    fragments *of; /* borrowed lists, none of them empty */
    size_t count, capacity;
} erasures;

/* FIRN_NO_MEMORY. */
int erasures_add(erasures *e, fragments f);
void erasures_release(erasures *e);
uint64_t erasures_search(const erasures *e, firn_slice key, uint64_t seq_max);

/* As fragments_find, over all of them. Costs nothing where there are none. */
static inline uint64_t erasures_find(const erasures *e, firn_slice key, uint64_t seq_max)
{
    return __builtin_expect(e->count == 0, 1) ? 0 : erasures_search(e, key, seq_max);
}

#endif
