/* resolve: what the versions of a key mean. The only code that knows what a kind says to readers
 * and merges, and which version each of them sees. A new kind of entry has its form in base/entry.h
 * and its meaning here.
 *
 * Two questions are answered, both for the versions of one key, newest first:
 *
 *   a reader    resolve_version: does this version give the value, say that there is none, or does
 *               an older one decide?
 *   a merge     keeper_feed: must this version stay for some reader, or can it go?
 *
 * Everything is pure: numbers and kinds go in, an answer comes out. No files, no locks, no memory.
 *
 * Where other kinds will stand
 *   expiry          a clock beside the number in read_point, and one in the keeper
 *   merge operand   an answer that collects and goes on; a keeper keeps operands down to a put or a
 *                   delete
 * Those two need more than this file: get (calls/read.c) and iterators (calls/iterator.c) would
 * read the clock, once for each of them, and fold what was collected; the loop of merges
 * (jobs/build.c) would give the clock to the keeper, and write what it folds.
 *
 * Invariants
 *   K1  A keeper drops a version only if no reader can tell the difference: neither a new reader,
 *       nor one of a snapshot that the keeper was given, nor a snapshot made later, which reads at
 *       a number above everything that is fed.
 *   K2  What a keeper keeps is needed: a kept put is what some reader sees; a kept tombstone hides
 *       an older put that is kept or something that may lie below.
 */
#ifndef ENGINE_RESOLVE_H
#define ENGINE_RESOLVE_H

#include <firn/types.h>
#include <stddef.h>

/* ---- For a reader ---- */

/* Where in the store's history a reader stands. */
typedef struct read_point {
    uint64_t seq; /* it sees the versions up to this number */
} read_point;

typedef enum resolve_answer {
    RESOLVE_GO_ON,   /* the reader does not see this version: an older one decides */
    RESOLVE_VALUE,   /* the reader sees this version's value */
    RESOLVE_NOTHING, /* to the reader the key is not there, whatever is older */
    RESOLVE_UNKNOWN, /* a kind that this version of firn does not know */
} resolve_answer;

/* The answers that are not the common one. */
resolve_answer resolve_seldom(const read_point *at, uint64_t seq, uint8_t kind, uint64_t erased);

/* What the version (seq, kind) of a key says to a reader. `erased`: the greatest number, not above
 * the reader's, of a range delete that covers the key; 0: there is none. Newest first, the first
 * answer but GO_ON counts; oldest first, the last one does. A key without any version is not there.
 */
static inline resolve_answer resolve_version(const read_point *at, uint64_t seq, uint8_t kind,
                                             uint64_t erased)
{
    if (__builtin_expect(kind == FIRN_PUT && seq <= at->seq && seq >= erased, 1))
        return RESOLVE_VALUE;
    return resolve_seldom(at, seq, kind, erased);
}

/* What a run says of a key of which the reader sees no version in it: all that is older is erased,
 * or the run says nothing. */
static inline resolve_answer resolve_absent(uint64_t erased)
{
    return erased ? RESOLVE_NOTHING : RESOLVE_GO_ON;
}

/* FIRN_UNSUPPORTED, described: for RESOLVE_UNKNOWN and KEEPER_UNKNOWN. */
int resolve_refuse(uint8_t kind, firn_error *err);

/* ---- For a merge (flush, compaction, repair) ---- */

/* How many snapshots cannot see a version with this number. They ascend. */
size_t snapshots_below(const uint64_t *snapshots, size_t count, uint64_t seq);
/* How many have numbers in [from, to]. */
size_t snapshots_between(const uint64_t *snapshots, size_t count, uint64_t from, uint64_t to);

typedef enum keeper_verdict {
    KEEPER_DROP,    /* no reader can see it */
    KEEPER_KEEP,    /* stays: first what keeper_take_held gives, then this version */
    KEEPER_HOLD,    /* a tombstone, held until it is known whether it hides anything */
    KEEPER_UNKNOWN, /* as RESOLVE_UNKNOWN */
} keeper_verdict;

/* Decides which versions of each key stay: of those that the same snapshots can see, the newest. A
 * tombstone stays only in front of something that it hides. Of tombstones that follow each other
 * the oldest is enough, since it hides the same. */
typedef struct keeper {
    const uint64_t *snapshots; /* ascending, without duplicates; borrowed */
    size_t count;
    bool any;      /* something of the present key has been fed */
    size_t stripe; /* of what was fed last: how many snapshots are below it */
    uint64_t held; /* number of the held tombstone, 0: none */
    uint8_t held_kind;
} keeper;

/* `snapshots` must stay as long as the keeper is used. */
void keeper_init(keeper *k, const uint64_t *snapshots, size_t count);
/* Another key begins. The held tombstone of the last one must have been taken, else it goes. */
void keeper_next_key(keeper *k);
/* The next version of the key; numbers descend. One that comes twice is dropped the second time. */
keeper_verdict keeper_feed(keeper *k, uint64_t seq, uint8_t kind);
/* A range delete that covers the key, in its place among the versions. It stays or goes by itself.
 */
void keeper_erase(keeper *k, uint64_t seq);
/* Takes the held tombstone out, if there is one: to be written before a version that stays, and
 * behind the last version of the key if something of the key may lie below. */
bool keeper_take_held(keeper *k, uint64_t *seq, uint8_t *kind);
/* A range delete that covers the key comes next and stays: it hides what the held tombstone hides,
 * which goes. */
void keeper_let_go(keeper *k);

#endif
