/* cache: see cache.h. */
#include "cache.h"

#include "format.h"

#include <base/alloc.h>
#include <base/hash.h>

#include <assert.h>

enum { SHARDS = 16, BUCKETS_MIN = 64, LARGE_SHARE = 4 };

typedef struct shard {
    _Alignas(64) mutex lock;
    sst_cached **buckets; /* all below under lock */
    size_t bucket_count;  /* a power of two, or 0 before the first member */
    size_t members;
    uint64_t bytes;
    sst_cached *hand; /* somewhere on the clock's ring; NULL: empty */
    _Atomic uint64_t hits,
        misses; /* changed under lock, read by anyone: relaxed, they order nothing */
} shard;

struct sst_cache {
    shard shards[SHARDS];
    uint64_t capacity;
    _Atomic uint64_t used;  /* relaxed: a sum for reports */
    _Atomic uint64_t owner; /* relaxed: only distinctness matters */
};

int sst_cache_new(size_t capacity_bytes, sst_cache **out)
{
    size_t size = (sizeof(sst_cache) + 63) & ~(size_t)63;
    sst_cache *c = mem_aligned(64, size);
    if (!c)
        return FIRN_NO_MEMORY;
    memset(c, 0, size);
    c->capacity = capacity_bytes;
    for (int i = 0; i < SHARDS; i++)
        mutex_init(&c->shards[i].lock);
    *out = c;
    return FIRN_OK;
}

static void ring_insert(shard *s, sst_cached *e)
{
    if (!s->hand) {
        e->clock_next = e->clock_prev = e;
        s->hand = e;
        return;
    }
    /* Just behind the hand: the last place it comes to. */
    e->clock_next = s->hand;
    e->clock_prev = s->hand->clock_prev;
    e->clock_prev->clock_next = e;
    s->hand->clock_prev = e;
}

static void ring_remove(shard *s, sst_cached *e)
{
    if (e->clock_next == e) {
        s->hand = NULL;
        return;
    }
    e->clock_prev->clock_next = e->clock_next;
    e->clock_next->clock_prev = e->clock_prev;
    if (s->hand == e)
        s->hand = e->clock_next;
}

static uint64_t hash_of(uint64_t owner, uint32_t block)
{
    return mix64(owner << 32 ^ block);
}

static shard *shard_of(sst_cache *c, uint64_t hash)
{
    return &c->shards[hash >> 60];
}

/* The link that points to the entry, or to the NULL at its chain's end. Buckets exist. */
static sst_cached **link_of(shard *s, uint64_t hash, uint64_t owner, uint32_t block)
{
    sst_cached **link = &s->buckets[hash & (s->bucket_count - 1)];
    while (*link && ((*link)->owner != owner || (*link)->block != block))
        link = &(*link)->chain;
    return link;
}

void sst_cache_unpin(sst_cached *e)
{
    /* Release: our reads are over; acquire: whoever frees sees that of everybody. */
    if (atomic_fetch_sub_explicit(&e->refs, 1, memory_order_acq_rel) == 1) {
        atomic_fetch_sub_explicit(&e->cache->used, e->charge, memory_order_relaxed);
        mem_free(e);
    }
}

/* Takes a member out of the shard; the caller unpins it once the lock is free, or under it. */
static void member_remove(shard *s, sst_cached **link)
{
    sst_cached *e = *link;
    *link = e->chain;
    ring_remove(s, e);
    s->members--;
    s->bytes -= e->charge;
}

void sst_cache_free(sst_cache *c)
{
    if (!c)
        return;
    for (int i = 0; i < SHARDS; i++) {
        shard *s = &c->shards[i];
        for (size_t b = 0; b < s->bucket_count; b++) {
            while (s->buckets[b]) {
                sst_cached *e = s->buckets[b];
                member_remove(s, &s->buckets[b]);
                sst_cache_unpin(e);
            }
        }
        mem_free(s->buckets);
        mutex_release(&s->lock);
    }
    assert(atomic_load_explicit(&c->used, memory_order_relaxed) == 0);
    mem_free(c);
}

void sst_cache_get_stats(const sst_cache *c, sst_cache_stats *out)
{
    sst_cache_stats stats = {
        .capacity_bytes = c->capacity,
        .used_bytes = atomic_load_explicit(&c->used, memory_order_relaxed),
    };
    for (int i = 0; i < SHARDS; i++) {
        stats.hits += atomic_load_explicit(&c->shards[i].hits, memory_order_relaxed);
        stats.misses += atomic_load_explicit(&c->shards[i].misses, memory_order_relaxed);
    }
    *out = stats;
}

uint64_t sst_cache_owner(sst_cache *c)
{
    return atomic_fetch_add_explicit(&c->owner, 1, memory_order_relaxed) + 1;
}

static void count_one(_Atomic uint64_t *counter)
{
    /* Only the lock's holder writes: a plain addition in two relaxed halves. */
    uint64_t n = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, n + 1, memory_order_relaxed);
}

sst_cached *sst_cache_find(sst_cache *c, uint64_t owner, uint32_t block)
{
    uint64_t hash = hash_of(owner, block);
    shard *s = shard_of(c, hash);
    sst_cached *e = NULL;

    mutex_lock(&s->lock);
    if (s->bucket_count != 0)
        e = *link_of(s, hash, owner, block);
    if (e) {
        e->touched = true;
        /* Relaxed: the lock orders us behind whoever filled the entry. */
        atomic_fetch_add_explicit(&e->refs, 1, memory_order_relaxed);
        count_one(&s->hits);
    } else {
        count_one(&s->misses);
    }
    mutex_unlock(&s->lock);
    return e;
}

sst_cached *sst_cache_reserve(sst_cache *c, uint64_t owner, uint32_t block, uint32_t size)
{
    size_t bytes = sizeof(sst_cached) + size + SST_TRAILER_BYTES;
    sst_cached *e = mem_alloc(bytes);
    if (!e)
        return NULL;
    *e = (sst_cached){
        .cache = c,
        .owner = owner,
        .charge = bytes,
        .block = block,
        .size = size,
        .refs = 1,
    };
    atomic_fetch_add_explicit(&c->used, bytes, memory_order_relaxed);
    return e;
}

/* Twice the buckets. Without memory the chains just grow longer; the first buckets must succeed. */
static bool grow(shard *s)
{
    size_t count = s->bucket_count ? s->bucket_count * 2 : BUCKETS_MIN;
    sst_cached **buckets = mem_zalloc(count * sizeof(sst_cached *));
    if (!buckets)
        return s->bucket_count != 0;
    for (size_t b = 0; b < s->bucket_count; b++) {
        while (s->buckets[b]) {
            sst_cached *e = s->buckets[b];
            s->buckets[b] = e->chain;
            sst_cached **to = &buckets[hash_of(e->owner, e->block) & (count - 1)];
            e->chain = *to;
            *to = e;
        }
    }
    mem_free(s->buckets);
    s->buckets = buckets;
    s->bucket_count = count;
    return true;
}

/* Moves the hand until `more` bytes fit beside the members (C1). An entry touched since the hand
 * last came by is spared once; pinned ones lose membership like others and live on with their
 * pins. */
static void make_room(shard *s, uint64_t share, uint64_t more)
{
    while (s->hand && s->bytes + more > share) {
        sst_cached *e = s->hand;
        if (e->touched) {
            e->touched = false;
            s->hand = e->clock_next;
            continue;
        }
        member_remove(s, link_of(s, hash_of(e->owner, e->block), e->owner, e->block));
        sst_cache_unpin(e);
    }
}

sst_cached *sst_cache_insert(sst_cached *e)
{
    sst_cache *c = e->cache;
    uint64_t share = c->capacity / SHARDS;
    if (e->charge > share / LARGE_SHARE)
        return e;
    uint64_t hash = hash_of(e->owner, e->block);
    shard *s = shard_of(c, hash);
    sst_cached *other = NULL;

    mutex_lock(&s->lock);
    if (s->members >= s->bucket_count && !grow(s))
        goto unlock;
    other = *link_of(s, hash, e->owner, e->block);
    if (other) {
        atomic_fetch_add_explicit(&other->refs, 1, memory_order_relaxed);
        goto unlock;
    }
    make_room(s, share, e->charge);
    sst_cached **link = &s->buckets[hash & (s->bucket_count - 1)];
    e->chain = *link;
    *link = e;
    ring_insert(s, e);
    s->members++;
    s->bytes += e->charge;
    atomic_fetch_add_explicit(&e->refs, 1, memory_order_relaxed);
unlock:
    mutex_unlock(&s->lock);
    if (!other)
        return e;
    sst_cache_unpin(e);
    return other;
}

void sst_cache_forget(sst_cache *c, uint64_t owner, uint32_t blocks)
{
    for (uint32_t i = 0; i < blocks; i++) {
        uint64_t hash = hash_of(owner, i);
        shard *s = shard_of(c, hash);
        sst_cached *e = NULL;
        mutex_lock(&s->lock);
        if (s->bucket_count != 0) {
            sst_cached **link = link_of(s, hash, owner, i);
            e = *link;
            if (e)
                member_remove(s, link);
        }
        mutex_unlock(&s->lock);
        if (e)
            sst_cache_unpin(e);
    }
}
