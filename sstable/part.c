/* part: see part.h. */
#include "part.h"

#include <assert.h>
#include <base/alloc.h>

enum {
    KEPT = 2,  /* however little room there is: the filter and the index of one table */
    SPARE = 8, /* an eighth of the room is for blocks; and so much is made free at a time */
};

void sst_parts_init(sst_parts *p, memory_budget *b)
{
    *p = (sst_parts){.budget = b};
    mutex_init(&p->parts_mu);
}

void sst_parts_release(sst_parts *p)
{
    mutex_not_shared(&p->parts_mu);
    assert(!p->hand && p->bytes == 0 && !p->apart);
    mutex_release(&p->parts_mu);
}

uint64_t sst_parts_room(const sst_parts *p)
{
    uint64_t left = budget_left(p->budget);
    return left - left / SPARE;
}

void sst_part_free(memory_budget *b, sst_part *part)
{
    budget_release(b, part->kind, part->charge);
    sst_index_release(&part->index);
    if (part->room)
        pages_free(part->bytes, part->room);
    else
        heap_free(part->bytes);
    heap_free(part);
}

/* What collect returned: only the caller knows these parts now. */
static void free_all(sst_parts *p, sst_part *part)
{
    mutex_not_shared(&p->parts_mu);
    for (sst_part *next; part; part = next) {
        next = part->next;
        sst_part_free(p->budget, part);
    }
}

static void ring_insert(sst_parts *p, sst_part *part) REQUIRES(p->parts_mu)
{
    if (p->hand) {
        part->next = p->hand;
        part->prev = p->hand->prev;
        part->prev->next = part;
        p->hand->prev = part;
    } else {
        p->hand = part->next = part->prev = part;
    }
    p->count++;
    p->bytes += part->charge;
}

/* P1: takes the home away, and the place on the ring. */
static void unpublish(sst_parts *p, sst_part *part) REQUIRES(p->parts_mu)
{
    /* seq_cst: before the loads by which the grace looks for readers inside. */
    atomic_store_explicit(part->home, NULL, memory_order_seq_cst);
    part->home = NULL;
    if (part->next == part) {
        p->hand = NULL;
    } else {
        part->prev->next = part->next;
        part->next->prev = part->prev;
        if (p->hand == part)
            p->hand = part->next;
    }
    part->next = part->prev = NULL;
    p->count--;
    p->bytes -= part->charge;
}

/* Takes the home of parts without a pin that no get has touched since the hand last came by, until
 * the others take no more than `goal`. Their chain. */
static sst_part *collect(sst_parts *p, uint64_t goal) REQUIRES(p->parts_mu)
{
    sst_part *victims = NULL;
    for (uint64_t steps = 2 * p->count; steps > 0 && p->count > KEPT && p->bytes > goal; steps--) {
        sst_part *part = p->hand;
        p->hand = part->next;
        if (part->refs != 0 ||
            atomic_exchange_explicit(&part->touched, false, memory_order_relaxed))
            continue;
        unpublish(p, part);
        part->next = victims;
        victims = part;
    }
    return victims;
}

/* ---- Apart ---- */

static void apart_insert(sst_parts *p, _Atomic(sst_part *) *home, sst_part *part)
    REQUIRES(p->parts_mu)
{
    part->meant = home;
    part->prev = NULL;
    part->next = p->apart;
    if (p->apart)
        p->apart->prev = part;
    p->apart = part;
}

static void apart_remove(sst_parts *p, sst_part *part) REQUIRES(p->parts_mu)
{
    if (part->prev)
        part->prev->next = part->next;
    else
        p->apart = part->next;
    if (part->next)
        part->next->prev = part->prev;
}

/* The part for this home, wherever it stands; NULL: it is not in memory. Those apart are looked
 * through: they are few, and to load one takes longer. */
static sst_part *find(const sst_parts *p, _Atomic(sst_part *) *home) REQUIRES(p->parts_mu)
{
    sst_part *part = atomic_load_explicit(home, memory_order_relaxed);
    for (sst_part *at = part ? NULL : p->apart; at && !part; at = at->next)
        if (at->meant == home)
            part = at;
    return part;
}

/* ---- Using ---- */

sst_part *sst_part_pin(sst_parts *p, _Atomic(sst_part *) *home)
{
    mutex_lock(&p->parts_mu);
    sst_part *part = find(p, home);
    if (part) {
        part->refs++;
        sst_part_touch(part);
    }
    mutex_unlock(&p->parts_mu);
    return part;
}

sst_part *sst_part_publish(sst_parts *p, _Atomic(sst_part *) *home, sst_part *part)
{
    sst_part *victims = NULL;
    uint64_t room = sst_parts_room(p);
    mutex_lock(&p->parts_mu);
    sst_part *other = find(p, home);
    if (other) {
        other->refs++;
    } else {
        if (!p->grace.wait && p->bytes + part->charge > room)
            victims = collect(p, room > part->charge ? room - part->charge : 0);
        bool fits = p->bytes + part->charge <= room || p->count < KEPT;
        if (fits) {
            sst_part_touch(part);
            ring_insert(p, part);
            part->home = home;
            /* release: a reader that finds the part finds what it holds. */
            atomic_store_explicit(home, part, memory_order_release);
        } else {
            apart_insert(p, home, part);
            atomic_store_explicit(&p->excess, true, memory_order_relaxed);
        }
    }
    mutex_unlock(&p->parts_mu);
    free_all(p, victims);
    if (other)
        sst_part_free(p->budget, part);
    return other ? other : part;
}

void sst_part_unpin(sst_parts *p, sst_part *part)
{
    mutex_lock(&p->parts_mu);
    bool last = --part->refs == 0 && !part->home;
    if (last)
        apart_remove(p, part);
    mutex_unlock(&p->parts_mu);
    if (last)
        sst_part_free(p->budget, part);
}

void sst_part_leave(sst_parts *p, _Atomic(sst_part *) *home)
{
    mutex_lock(&p->parts_mu);
    sst_part *part = atomic_load_explicit(home, memory_order_relaxed);
    if (part) {
        assert(part->refs == 0);
        unpublish(p, part);
    }
    mutex_unlock(&p->parts_mu);
    if (part)
        sst_part_free(p->budget, part);
}

void sst_parts_trim(sst_parts *p)
{
    if (atomic_exchange_explicit(&p->trimming, true, memory_order_acquire))
        return;
    atomic_store_explicit(&p->excess, false, memory_order_relaxed);
    uint64_t room = sst_parts_room(p);
    mutex_lock(&p->parts_mu);
    sst_part *victims = collect(p, room - room / SPARE);
    mutex_unlock(&p->parts_mu);
    if (victims && p->grace.wait)
        p->grace.wait(p->grace.ctx);
    free_all(p, victims);
    atomic_store_explicit(&p->trimming, false, memory_order_release);
}
