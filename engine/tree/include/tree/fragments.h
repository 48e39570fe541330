/* fragments: what range deletes say of a key. Pure: keys and numbers go in, a number comes out;
 * resolve.h says what it means.
 *
 *   fragments       those of a table, in order, so that one search finds those that cover a key
 *   fragment_list   one that grows; fragments_settle makes out of range deletes that overlap in any
 *                   way what has to stay of them
 *   cover           the answer for a key, and for which other keys it is the same
 *
 * (Those of a memtable: range_map.h. Those of several runs that are walked as one: erasures.h.)
 *
 * Invariants
 *   D1  Fragments ascend. Two of them are disjoint, or have the same range; of those, the greatest
 *       number comes first.
 *   D2  Whether a key is deleted for a reader never depends on where a range was cut: a fragment
 *       says of each key in it what the range delete said.
 */
#ifndef ENGINE_FRAGMENTS_H
#define ENGINE_FRAGMENTS_H

#include <base/buf.h>
#include <base/slice.h>
#include <firn/types.h>
#include <sstable/sstable.h>

/* Every key in [first, end) was deleted at `seq`. */
typedef sst_range fragment;

typedef struct fragments {
    const fragment *list;
    size_t count;
} fragments;

/* Of the range deletes up to a reader's number, the newest one that covers a key (0: none does). It
 * is the same for all keys in [from, to), or as the flags say. NULL data: no bound. */
typedef struct cover {
    uint64_t seq;
    firn_slice from, to;
    bool from_open; /* `from` itself is not among them */
    bool to_closed; /* `to` is */
} cover;

bool cover_has(const cover *c, firn_slice key);
/* The keys of which both say the same; the greater number. */
void cover_meet(cover *c, const cover *with);

void fragments_cover(const fragments *f, firn_slice key, uint64_t seq_max, cover *out);
/* Its number alone. */
uint64_t fragments_find(const fragments *f, firn_slice key, uint64_t seq_max);
/* Is every key from `first` to `last`, which is one of them unless `open`, covered by a number
 * above `above` and not above `most`? */
bool fragments_cover_all(const fragments *f, firn_slice first, firn_slice last, bool open,
                         uint64_t above, uint64_t most);

/* Owns the list; the bounds are borrowed. All zero: empty. */
typedef struct fragment_list {
    fragment *list;
    size_t count, capacity;
} fragment_list;

int fragment_list_add(fragment_list *l, fragment f); /* FIRN_NO_MEMORY */
void fragment_list_release(fragment_list *l);
static inline fragments fragments_of(const fragment_list *l)
{
    return (fragments){l->list, l->count};
}

/* Of any range deletes, leaves what some reader can tell: for each key, of those numbers that the
 * same snapshots (ascending) see, the greatest; as D1 says. FIRN_NO_MEMORY, and the list is as it
 * was, in another order. */
int fragments_settle(fragment_list *l, const uint64_t *snapshots, size_t count);

#endif
