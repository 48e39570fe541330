/* watch: what a transaction must find unchanged when it is committed, and what others write to it
 * meanwhile.
 *
 * A transaction has looked at the store at a number, perhaps long ago. Whether anything has been
 * written to its keys and ranges since then is told in two halves: what was written before a
 * certain moment is looked for, in memory and in tables, holding nothing up (watch_look); what
 * comes behind that moment is noticed by the leader that writes it (watches_note). The moment is a
 * turn at the log's head, which the transaction takes to begin its watch: the entries of all
 * leaders before it are in their memtables, and all leaders behind it see the watch.
 *
 * While the snapshot of the number is held, merges keep what was written behind it, with one
 * exception: deletes of a key that had not been there, and what was put on it before, they forget.
 * So that is not always found; and it changes nothing for the one who had seen no key there.
 *
 * Invariants
 *   C4  Between watch_begin and the write, or the end, of a transaction no write to its keys and
 *       ranges goes unnoticed.
 *   C5  The leader notes a write before a reader can see it.
 */
#ifndef ENGINE_WATCH_H
#define ENGINE_WATCH_H

#include <base/slice.h>
#include <base/thread.h>
#include <firn/firn.h>
#include <stdatomic.h>
#include <wal/wal.h>

/* Keys of one bucket, from `first` to `end`, which is not among them; end.data NULL: no bound. */
typedef struct watched {
    const firn *bucket;
    firn_slice first, end;
} watched;

/* Is that one key alone, and the end the same bytes with a 0 behind them? */
static inline bool watched_is_key(const watched *k)
{
    return k->end.data == k->first.data && k->end.size == k->first.size + 1;
}

typedef struct watch {
    const watched *keys; /* ascending by the number of the bucket, then disjoint and ascending */
    size_t count;
    /* Of the list, under watch_mu. */
    struct watch *next;
    bool begun;
    const watched *hit; /* where something was written; NULL: nowhere */
} watch;

/* Of a store. All zero, but for the mutex: none. */
typedef struct watch_list {
    MUTEX(watch_mu); /* a leaf */
    watch *first GUARDED_BY(watch_mu);
    atomic_uint count; /* changed under watch_mu */
} watch_list;

/* The leader of the log, in front of all that it writes. */
void watch_begin(watch_list *l, watch *w);
/* At any time, also of one that has not begun or has ended. */
void watch_end(watch_list *l, watch *w);
/* Has anything been written since watch_begin? Where; NULL: no. */
const watched *watch_hit(watch_list *l, const watch *w);
/* Was anything written behind the number, and where? *found NULL: no. FIRN_DROPPED: a bucket was;
 * what reading may fail with. */
int watch_look(const watch *w, uint64_t behind, const watched **found, firn_error *err);

static inline bool watches_any(const watch_list *l)
{
    return atomic_load_explicit(&l->count, memory_order_relaxed) != 0;
}
/* The leader, between a frame's entries becoming findable and their becoming visible. */
void watches_note(watch_list *l, const wal_applied *frame);

#endif
