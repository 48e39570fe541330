/* readers: see readers.h. */
#include <tree/readers.h>

static _Atomic uint32_t next_slot;
static _Thread_local uint32_t own_slot; /* plus one; 0: none yet */

unsigned readers_slot_of_thread(void)
{
    if (own_slot == 0)
        own_slot =
            1 + atomic_fetch_add_explicit(&next_slot, 1, memory_order_relaxed) % READERS_SLOTS;
    return own_slot - 1;
}

void readers_init(readers *r)
{
    for (unsigned i = 0; i < READERS_SLOTS; i++)
        for (unsigned c = 0; c < 2; c++)
            atomic_init(&r->slots[i].inside[c], 0);
    atomic_init(&r->phase, 0);
    atomic_init(&r->awaited, 0);
    mutex_init(&r->waiting);
    mutex_init(&r->bed);
    cond_init(&r->left);
    mutex_not_shared(&r->waiting);
    r->looks = 0;
    r->waits = NULL;
}

void readers_release(readers *r)
{
    mutex_release(&r->waiting);
    mutex_release(&r->bed);
    cond_release(&r->left);
}

static bool column_empty(readers *r, uint32_t column)
{
    uint64_t inside = 0;
    for (unsigned i = 0; i < READERS_SLOTS; i++)
        inside += atomic_load_explicit(&r->slots[i].inside[column], memory_order_seq_cst);
    return (uint32_t)inside == 0; /* the upper half counts values */
}

uint32_t readers_pins(readers *r)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < READERS_SLOTS; i++)
        for (unsigned c = 0; c < 2; c++)
            sum += atomic_load_explicit(&r->slots[i].inside[c], memory_order_relaxed);
    return (uint32_t)(sum >> 32);
}

void readers_wake(readers *r)
{
    mutex_lock(&r->bed);
    cond_signal(&r->left); /* there is one waiter at most */
    mutex_unlock(&r->bed);
}

static void wait_for_column(readers *r, uint32_t column, patience *p) REQUIRES(r->waiting)
{
    r->looks++;
    if (column_empty(r, column))
        return;
    mutex_lock(&r->bed);
    atomic_store_explicit(&r->awaited, 1 + column, memory_order_seq_cst);
    while (r->looks++, !column_empty(r, column)) {
        patience_begin(p, r->waits, FIRN_WAIT_READERS);
        patience_wait(p, &r->left, &r->bed,
                      "until reads have ended that began before what they read was replaced");
    }
    atomic_store_explicit(&r->awaited, 0, memory_order_relaxed);
    mutex_unlock(&r->bed);
}

void readers_wait(readers *r)
{
    patience lock = {0}, p = {0};
    patience_lock(&lock, r->waits, FIRN_WAIT_READERS, &r->waiting);
    for (int flips = 0; flips < 2; flips++)
        wait_for_column(r, atomic_fetch_add_explicit(&r->phase, 1, memory_order_seq_cst) & 1, &p);
    mutex_unlock(&r->waiting);
    patience_end(&lock);
    patience_end(&p);
}
