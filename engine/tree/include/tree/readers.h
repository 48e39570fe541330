/* readers: lets a writer know when all readers that might still look at something old have gone. No
 * reader waits, or writes to a shared cache line. The waiter sleeps: a reader may be at the disk
 * for long.
 *
 * A reader counts itself in one of several slots (its thread's), in the column of the current
 * phase. To wait, flip the phase and wait for the old column to empty, twice: a reader that read
 * the phase just before the first flip counts itself in the column that the second one empties.
 * After Linux's SRCU (McKenney, "Sleepable RCU", 2006).
 *
 * The same words count the values that callers hold, in their upper half: a reader that leaves with
 * a pinned value adds to it in the step that it takes anyway. Whichever thread gives the value back
 * takes it off its own slot, so one slot's upper half may go below zero; only the sum over all
 * slots and columns means something, modulo 2^32.
 *
 *   t = readers_enter(r);  p = atomic load of the pointer;  ... use p ...;  readers_exit(r, t);
 *   writer: replace the pointer;  readers_wait(r);  free the old one
 */
#ifndef ENGINE_READERS_H
#define ENGINE_READERS_H

#include <base/patience.h>
#include <base/thread.h>

#define READERS_SLOTS 32

#define READERS_PIN (UINT64_C(1) << 32)

typedef struct readers_slot {
    _Alignas(64) _Atomic uint64_t inside[2]; /* readers, and READERS_PIN for each value they took */
} readers_slot;

typedef struct readers {
    readers_slot slots[READERS_SLOTS];
    _Alignas(64) _Atomic uint32_t phase;
    _Atomic uint32_t awaited; /* 1 + the column whose last reader has to wake the waiter; 0: none */
    MUTEX(waiting);           /* one waiter at a time */
    MUTEX(bed);               /* by which the waiter sleeps */
    cond left;                /* a reader has left the awaited column */
    /* how often a waiter looked whether a column is empty: what tests bound */
    uint64_t looks GUARDED_BY(waiting);
    wait_list *waits; /* where a wait is counted; NULL: nowhere. Set before there are readers */
} readers;

void readers_init(readers *r);
void readers_release(readers *r);

/* This thread's slot, the same for all stores. */
unsigned readers_slot_of_thread(void);

static inline uint32_t readers_enter(readers *r)
{
    uint32_t slot = readers_slot_of_thread();
    uint32_t column = atomic_load_explicit(&r->phase, memory_order_relaxed) & 1;
    /* seq_cst: ordered before the pointer load that follows, as the waiter's pointer store is
     * before its count. */
    atomic_fetch_add_explicit(&r->slots[slot].inside[column], 1, memory_order_seq_cst);
    return slot << 1 | column;
}

/* A waiter waits for the column of `ticket`, which has just been left. */
void readers_wake(readers *r);

/* The count first, then the look at `awaited`; the waiter does it the other way round. So the
 * waiter sees the count, or the reader sees the waiter. Only readers of an old phase ever find the
 * waiter asleep. */
static inline void readers_leave(readers *r, uint32_t ticket, uint64_t more)
{
    atomic_fetch_add_explicit(&r->slots[ticket >> 1].inside[ticket & 1], more,
                              memory_order_seq_cst);
    if (atomic_load_explicit(&r->awaited, memory_order_seq_cst) == 1 + (ticket & 1))
        readers_wake(r);
}

static inline void readers_exit(readers *r, uint32_t ticket)
{
    readers_leave(r, ticket, UINT64_MAX); /* minus one */
}

/* Leaves, and goes on holding so many values. */
static inline void readers_exit_holding(readers *r, uint32_t ticket, uint64_t values)
{
    readers_leave(r, ticket, values * READERS_PIN - 1);
}

static inline void readers_exit_pinned(readers *r, uint32_t ticket)
{
    readers_exit_holding(r, ticket, 1);
}

/* A value is given back, by any thread. */
static inline void readers_unpin(readers *r)
{
    atomic_fetch_sub_explicit(&r->slots[readers_slot_of_thread()].inside[0], READERS_PIN,
                              memory_order_relaxed);
}

/* How many values are held. Exact when no other thread takes or gives back one. */
uint32_t readers_pins(readers *r);

/* Returns when every reader that entered before the call has left. Sleeps meanwhile. */
void readers_wait(readers *r);

#endif
