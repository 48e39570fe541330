/* callback: calls a function when a sequence number is durable.
 *
 * Those that are not decided yet stand in a pairing heap, the smallest number on top (Fredman,
 * Sedgewick, Sleator, Tarjan, 1986): to register costs one comparison however many wait, and to
 * decide costs the logarithm of their number for each one that is decided, and nothing for the
 * others. Those that are decided stand in a list, in the order of their numbers, until the helper,
 * or the thread that decided, calls them.
 *
 * Locks: m. The functions of the caller are called without any.
 */
#include <base/alloc.h>

#include "log.h"

/* ---- The heap ---- */

static bool goes_before(wal *w, const wal_callback *a, const wal_callback *b) REQUIRES(w->log_mu)
{
    w->callback_steps++;
    return a->seq != b->seq ? a->seq < b->seq : a->order < b->order;
}

/* Makes one heap of two; either may be empty. */
static wal_callback *meld(wal *w, wal_callback *a, wal_callback *b) REQUIRES(w->log_mu)
{
    if (!a || !b)
        return a ? a : b;
    if (!goes_before(w, a, b)) {
        wal_callback *swap = a;
        a = b;
        b = swap;
    }
    b->next = a->child;
    a->child = b;
    return a;
}

/* Makes one heap of a list of heaps: in pairs from the front, and the pairs from the back. */
static wal_callback *meld_all(wal *w, wal_callback *list) REQUIRES(w->log_mu)
{
    wal_callback *pairs = NULL, *heap = NULL;
    while (list) {
        wal_callback *a = list, *b = a->next;
        list = b ? b->next : NULL;
        a->next = NULL;
        if (b)
            b->next = NULL;
        wal_callback *pair = meld(w, a, b);
        pair->next = pairs;
        pairs = pair;
    }
    while (pairs) {
        wal_callback *pair = pairs;
        pairs = pair->next;
        pair->next = NULL;
        heap = meld(w, heap, pair);
    }
    return heap;
}

static wal_callback *pop(wal *w) REQUIRES(w->log_mu)
{
    wal_callback *top = w->callbacks;
    w->callbacks = meld_all(w, top->child);
    top->child = NULL;
    return top;
}

/* ---- Deciding and calling ---- */

static void fired_push(wal *w, wal_callback *c) REQUIRES(w->log_mu)
{
    c->next = NULL;
    if (w->fired)
        w->fired_last->next = c;
    else
        w->fired = c;
    w->fired_last = c;
}

bool wal_callbacks_decide(wal *w)
{
    uint64_t durable = atomic_load_explicit(&w->durable_seq, memory_order_relaxed);
    bool hopeless =
        w->log_closing || (atomic_load_explicit(&w->poisoned, memory_order_relaxed) && !w->syncing);
    while (w->callbacks && (w->callbacks->seq <= durable || hopeless)) {
        wal_callback *c = pop(w);
        c->status = c->seq <= durable ? FIRN_OK : FIRN_POISONED;
        fired_push(w, c);
    }
    return w->fired != NULL;
}

void wal_callbacks_call(wal *w)
{
    mutex_lock(&w->log_mu);
    wal_callback *c = w->fired;
    w->fired = w->fired_last = NULL;
    mutex_unlock(&w->log_mu);
    for (wal_callback *next; c; c = next) {
        next = c->next;
        c->fn(c->ctx, c->seq, c->status);
        heap_free(c);
    }
}

void wal_callbacks_fire(wal *w)
{
    if (w->has_helper)
        wal_helper_wake(w);
    else
        wal_callbacks_call(w);
}

int wal_callback_add(wal *w, uint64_t seq, firn_wal_durable_fn fn, void *ctx)
{
    wal_callback *c = heap_alloc(sizeof *c);
    if (!c)
        return FIRN_NO_MEMORY;
    *c = (wal_callback){.seq = seq, .fn = fn, .ctx = ctx};
    mutex_lock(&w->log_mu);
    c->order = w->callbacks_given++;
    w->callbacks = meld(w, w->callbacks, c);
    bool fire = wal_callbacks_decide(w);
    mutex_unlock(&w->log_mu);
    if (fire)
        wal_callbacks_fire(w);
    return FIRN_OK;
}
