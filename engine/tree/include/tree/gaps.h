/* gaps: what walks have learned of dead keys, so that the next one need not pass them again.
 *
 * A gap says: between these keys of a bucket (from inclusive, to exclusive) no key is there, for
 * a reader at number `seq` or any later one. It is a fact, not an instruction: nothing depends on
 * its being known, it is never written to a file, and it may be forgotten at any time.
 *
 *   a walk passes many dead keys at number s    gaps_begin: the gap is *pending*
 *   fence_heavy, and a look for puts behind s   what writers have added without seeing it
 *   gaps_end                                    the gap is known, unless a put fell into it since
 *   a put, in memory and not visible yet        fence_light, gaps_any, gaps_cut
 *   a walk at a dead key                        gaps_find: where it goes on
 *
 * Only what makes a key be there cuts a gap, in front of its becoming visible: today, a put by the
 * leader of the log. Deletes and range deletes do not; nor do flushes and merges, though they
 * forget puts, so that a walk learns nothing at a number behind which something has been flushed. A
 * reader takes its number first, and then looks for gaps: so it finds none that a put up to its
 * number has cut.
 *
 * Keys are kept in GAP_KEY_BYTES; bounds of longer keys are moved inwards, so that a gap is never
 * too large. Of GAPS_MOST gaps the ones that no walk has used go first (a clock), and each new
 * memtable ends those that none has used since the last one (gaps_age): writers cut only what walks
 * use.
 *
 * Locks: gaps_mu, a leaf, for those who change something: walks that have learned, which give up
 * where it is held, and the leader of the log. gaps_find takes none: a version number tells it that
 * what it read was changed meanwhile, and then it has found nothing.
 *
 * Invariants
 *   A1  Gaps of a bucket are disjoint, and do not touch; `order` ascends by (bucket, from).
 *   A2  No key in a gap is there at `seq` or any later number that is visible.
 *   A3  from < to.
 */
#ifndef ENGINE_GAPS_H
#define ENGINE_GAPS_H

#include <base/budget.h>
#include <base/slice.h>
#include <base/thread.h>

#define GAPS_MOST     128
#define GAP_KEY_WORDS 10
#define GAP_KEY_BYTES (8 * GAP_KEY_WORDS)

/* When a walk learns, in dead keys in a row. To learn costs as much as some hundred steps; what
 * goes on behind a gap makes that larger, and no second one. */
typedef struct gap_limits {
    unsigned steps; /* make a gap */
    unsigned more;  /* make one larger */
    unsigned asks;  /* behind so many it looks for a gap */
} gap_limits;

#define GAP_STEPS 128
/* For another `steps`, of tests; 0: that. */
static inline gap_limits gap_limits_for(unsigned steps)
{
    gap_limits l = {steps ? steps : GAP_STEPS, 16, 8};
    l.more = l.more < l.steps ? l.more : l.steps;
    l.asks = l.asks < l.steps ? l.asks : l.steps;
    return l;
}

/* A bound, for a caller. */
typedef struct gap_key {
    uint8_t data[GAP_KEY_BYTES];
    size_t size;
} gap_key;

typedef struct gap_bounds {
    gap_key from, to;
} gap_bounds;

static inline firn_slice gap_slice(const gap_key *k)
{
    return slice_of(k->data, k->size);
}

/* A bound to be: a key, or the least key that comes after it. */
typedef struct gap_edge {
    firn_slice key;
    bool after;
} gap_edge;

typedef struct gap gap;
typedef struct gap_table gap_table;

typedef struct gaps {
    /* Gaps that are known or pending; 0 while there are none. The leader looks at it. */
    _Atomic uint32_t any;
    _Atomic uint64_t version;   /* odd while something is changed */
    _Atomic(gap_table *) table; /* made with the first gap; stays */
    _Atomic uint64_t learned;   /* gaps_end has said yes so often; for figures and tests */
    memory_budget *budget;      /* NULL: none */
    MUTEX(gaps_mu);
    bool pending GUARDED_BY(gaps_mu);
    bool spoiled GUARDED_BY(gaps_mu); /* a put has fallen into the pending one */
} gaps;

void gaps_init(gaps *g, memory_budget *budget);
void gaps_release(gaps *g);
size_t gaps_memory(const gaps *g); /* charged as BUDGET_SCRATCH. Any thread */

/* Is there anything to be cut? Behind fence_light. Any thread. */
static inline bool gaps_any(const gaps *g)
{
    return __builtin_expect(atomic_load_explicit(&g->any, memory_order_relaxed) != 0, 0);
}

/* The gap around the key that is good at this number. Any thread; waits for none. */
bool gaps_find(gaps *g, unsigned bucket, firn_slice key, uint64_t seq, gap_bounds *out);

/* In [from, to) no key is there at this number: pending, until gaps_end. *out is what will be
 * known, which may be less. False: not to be learned, since another one is pending, or the bounds
 * do not fit, or memory is short. Any thread. */
bool gaps_begin(gaps *g, unsigned bucket, gap_edge from, gap_edge to, uint64_t seq,
                gap_bounds *out);
/* By the thread that began it. `holds`: since that number no key has come to be there. */
void gaps_end(gaps *g, bool holds);

/* A key has been put, and is not visible yet. Any thread. */
void gaps_cut(gaps *g, unsigned bucket, firn_slice key);

/* Forgets what no walk has used since the last time. Any thread. */
void gaps_age(gaps *g);

/* For tests: which invariant is broken; NULL: none. */
const char *gaps_flaw(gaps *g);

#endif
