/* cache: see cache.h. */
#include "cache.h"

#include "format.h"

#include <base/alloc.h>
#include <base/hash.h>
#include <inttypes.h>

#include <assert.h>

#define SHARD_BYTES_MIN (UINT64_C(16) << 20)

enum {
    SHARDS_MAX = 16,
    BUCKETS_MIN = 64,
    LARGE_SHARE = 4,
    SLABS_WANTED = 64,           /* in a shard */
    RINGS = ARENA_SIZES_MAX + 1, /* one for each size of pieces; the last is for pages */
    LOOK_AROUND = 16,            /* misses, until one looks for a slab of another size */
};

/* The members of one size: a clock. */
typedef struct ring {
    sst_cached *hand GUARDED_BY(shard_mu); /* somewhere on it; NULL: empty */
    size_t count GUARDED_BY(shard_mu);
} ring;

typedef struct shard {
    _Alignas(64) MUTEX_MEMBER(shard_mu);
    cond loaded; /* a load ended while a reader waited for one */
    arena arena GUARDED_BY(shard_mu);
    sst_cached **buckets GUARDED_BY(shard_mu);
    size_t bucket_count GUARDED_BY(shard_mu);   /* a power of two, or 0 before the first entry */
    size_t entries GUARDED_BY(shard_mu);        /* in the buckets */
    ring rings[RINGS] GUARDED_BY(shard_mu);     /* of the members */
    uint32_t tick GUARDED_BY(shard_mu);         /* counts uses */
    uint32_t misses_since GUARDED_BY(shard_mu); /* the last look for a slab of another size */
    sst_load *loads GUARDED_BY(shard_mu);       /* what is being read */
    uint32_t waiting GUARDED_BY(shard_mu);      /* for one of those */
    /* Changed under shard_mu, read by any thread: relaxed, they order nothing. */
    _Atomic uint64_t hits, misses;
} shard;

enum { WINDOWS_SHARE = 8, WINDOWS_LEAST = 512 << 10 };

struct sst_cache {
    shard shards[SHARDS_MAX];
    unsigned shard_count; /* a power of two */
    memory_budget *budget;
    memory_budget own;
    sst_parts parts;
    heap_relief relief;
    wait_list *waits;        /* NULL: nowhere */
    void (*trimmer)(void *); /* NULL: the reader trims */
    void *trimmer_ctx;
    _Atomic uint64_t used;    /* relaxed: a sum for reports */
    _Atomic uint64_t large;   /* relaxed: of the budget's blocks, those with pages of their own */
    _Atomic uint64_t outside; /* relaxed: a sum (C6) */
    _Atomic uint64_t windows; /* relaxed: a sum, of scans that pass the cache by */
    _Atomic uint64_t owner;   /* relaxed: only distinctness matters */
};

static void relieve(void *ctx);

/* ---- the cache as a whole ---- */

static int cache_new(memory_budget *b, const memory_budget *own, sst_grace grace, sst_cache **out)
{
    size_t size = (sizeof(sst_cache) + 63) & ~(size_t)63;
    sst_cache *c = heap_aligned(64, size);
    if (!c)
        return FIRN_NO_MEMORY;
    memset(c, 0, size);
    if (own)
        c->own = *own;
    c->budget = own ? &c->own : b;
    uint64_t left = budget_left(c->budget);
    c->shard_count = 1;
    while (c->shard_count < SHARDS_MAX && left / (2 * c->shard_count) >= SHARD_BYTES_MIN)
        c->shard_count *= 2;
    size_t slab = ARENA_SLAB_MIN;
    while (slab < ARENA_SLAB_MAX && left / c->shard_count >= 2 * slab * SLABS_WANTED)
        slab *= 2;
    for (unsigned i = 0; i < c->shard_count; i++) {
        mutex_init(&c->shards[i].shard_mu);
        cond_init(&c->shards[i].loaded);
        arena_init(&c->shards[i].arena, c->budget, slab,
                   left / c->shard_count >= slab * SLABS_WANTED);
    }
    sst_parts_init(&c->parts, c->budget);
    c->parts.grace = grace;
    c->relief = (heap_relief){.give = relieve, .ctx = c};
    heap_relief_add(&c->relief);
    *out = c;
    return FIRN_OK;
}

int sst_cache_new_in(memory_budget *b, sst_grace grace, sst_cache **out)
{
    return cache_new(b, NULL, grace, out);
}

int sst_cache_new(size_t capacity_bytes, sst_cache **out)
{
    memory_budget own = {.limit = capacity_bytes, .most = UINT64_MAX};
    return cache_new(NULL, &own, (sst_grace){0}, out);
}

memory_budget *sst_cache_budget(sst_cache *c)
{
    return c->budget;
}

sst_parts *sst_cache_parts(sst_cache *c)
{
    return &c->parts;
}

void sst_cache_watch(sst_cache *c, wait_list *w)
{
    c->waits = w;
}

void sst_cache_set_trimmer(sst_cache *c, void (*fn)(void *ctx), void *ctx)
{
    c->trimmer = fn;
    c->trimmer_ctx = ctx;
}

void sst_cache_ask_trim(sst_cache *c)
{
    if (!sst_cache_excess(c))
        return;
    if (c->trimmer)
        c->trimmer(c->trimmer_ctx);
    else
        sst_cache_trim(c);
}

bool sst_cache_excess(const sst_cache *c)
{
    return atomic_load_explicit(&c->parts.excess, memory_order_relaxed);
}

void sst_cache_trim(sst_cache *c)
{
    sst_parts_trim(&c->parts);
    sst_cache_shrink(c, false);
}

/* What one shard may map: what the budget leaves, and filters and indexes do not take. */
static uint64_t share_of(const sst_cache *c)
{
    uint64_t left = budget_left(c->budget);
    uint64_t parts = budget_parts(c->budget);
    uint64_t most = sst_parts_room(&c->parts);
    return (left - (parts < most ? parts : most)) / c->shard_count;
}

uint64_t sst_cache_owner(sst_cache *c)
{
    return atomic_fetch_add_explicit(&c->owner, 1, memory_order_relaxed) + 1;
}

/* ---- the ring and the buckets ---- */

static ring *ring_of(shard *s, const sst_cached *e) REQUIRES(s->shard_mu)
{
    return &s->rings[e->slab ? e->slab->size : RINGS - 1];
}

static void ring_insert(shard *s, sst_cached *e) REQUIRES(s->shard_mu)
{
    ring *r = ring_of(s, e);
    e->used_at = ++s->tick;
    r->count++;
    if (!r->hand) {
        e->clock_next = e->clock_prev = e;
        r->hand = e;
        return;
    }
    /* Just behind the hand: the last place it comes to. */
    e->clock_next = r->hand;
    e->clock_prev = r->hand->clock_prev;
    e->clock_prev->clock_next = e;
    r->hand->clock_prev = e;
}

static void ring_remove(shard *s, sst_cached *e) REQUIRES(s->shard_mu)
{
    ring *r = ring_of(s, e);
    r->count--;
    if (e->clock_next == e) {
        r->hand = NULL;
        return;
    }
    e->clock_prev->clock_next = e->clock_next;
    e->clock_next->clock_prev = e->clock_prev;
    if (r->hand == e)
        r->hand = e->clock_next;
}

static uint64_t hash_of(uint64_t owner, uint32_t block)
{
    return mix64(owner << 32 ^ block);
}

static shard *shard_of(sst_cache *c, uint64_t hash)
{
    return &c->shards[(hash >> 60) & (c->shard_count - 1)];
}

static shard *shard_of_entry(sst_cached *e)
{
    return shard_of(e->cache, hash_of(e->owner, e->block));
}

/* The link that points to the entry, or to the NULL at its chain's end. Buckets exist. */
static sst_cached **link_of(shard *s, uint64_t owner, uint32_t block) REQUIRES(s->shard_mu)
{
    sst_cached **link = &s->buckets[hash_of(owner, block) & (s->bucket_count - 1)];
    while (*link && ((*link)->owner != owner || (*link)->block != block))
        link = &(*link)->chain;
    return link;
}

static void unlink_entry(shard *s, sst_cached *e) REQUIRES(s->shard_mu)
{
    *link_of(s, e->owner, e->block) = e->chain;
    s->entries--;
}

/* No reader has it, and none can find it. */
static void entry_free(shard *s, sst_cached *e) REQUIRES(s->shard_mu)
{
    if (!e->slab)
        atomic_fetch_sub_explicit(&e->cache->large, e->charge, memory_order_relaxed);
    atomic_fetch_sub_explicit(&e->cache->used, e->charge, memory_order_relaxed);
    arena_give(&s->arena, (arena_piece){e, e->slab, (size_t)e->charge});
}

/* Twice the buckets. Without memory the chains just grow longer; the first buckets must succeed. */
static bool grow(shard *s) REQUIRES(s->shard_mu)
{
    size_t count = s->bucket_count ? s->bucket_count * 2 : BUCKETS_MIN;
    sst_cached **buckets = heap_zalloc(count * sizeof(sst_cached *));
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
    heap_free(s->buckets);
    s->buckets = buckets;
    s->bucket_count = count;
    return true;
}

/* ---- giving up what no reader has pinned ---- */

/* Pins are taken under the lock only: a member whose one reference is its membership stays so. */
static bool is_idle(const sst_cached *e) REQUIRES_ANY(shard_mu)
{
    /* acquire: the reads of the reader that let go of it last are over. */
    return e->member && atomic_load_explicit(&e->refs, memory_order_acquire) == 1;
}

static void evict(shard *s, sst_cached *e) REQUIRES(s->shard_mu)
{
    unlink_entry(s, e);
    ring_remove(s, e);
    entry_free(s, e);
}

/* The ring's next idle member that was not touched since the hand last came by; NULL: all are
 * pinned. */
static sst_cached *victim(ring *r) REQUIRES_ANY(shard_mu)
{
    for (size_t steps = 2 * r->count; steps > 0; steps--) {
        sst_cached *e = r->hand;
        if (is_idle(e) && !e->touched)
            return e;
        e->touched = false;
        r->hand = e->clock_next;
    }
    return NULL;
}

/* The one whose next victim was unused the longest; NULL: there is nothing at all. */
static ring *oldest(shard *s) REQUIRES(s->shard_mu)
{
    ring *found = NULL;
    uint32_t found_age = 0;
    for (int i = 0; i < RINGS; i++) {
        ring *r = &s->rings[i];
        if (!r->hand || !is_idle(r->hand))
            continue;
        uint32_t age = s->tick - r->hand->used_at; /* also when the tick has gone round */
        if (!found || age > found_age) {
            found = r;
            found_age = age;
        }
    }
    return found;
}

/* Evicts all of a slab, if no reader needs any of it. False: some piece is in use. */
static bool empty_slab(shard *s, arena_slab *slab) REQUIRES(s->shard_mu)
{
    sst_cached *e;
    uint32_t at = 0;
    while ((e = arena_next_used(&s->arena, slab, &at)))
        if (!is_idle(e))
            return false;
    at = 0;
    for (uint32_t left = slab->used; left > 0; left--) {
        e = arena_next_used(&s->arena, slab, &at);
        evict(s, e); /* the last one may take the slab along */
    }
    return true;
}

/* Evicts the ring's next victim, and all of the slab that it lies in if that can be: then that is
 * the spare one. False: nothing was evicted. */
static bool give_slab(shard *s, ring *r) REQUIRES(s->shard_mu)
{
    for (size_t tries = r->count; tries > 0; tries--) {
        sst_cached *e = victim(r);
        if (!e)
            return false;
        if (!e->slab) {
            evict(s, e);
            return true;
        }
        if (empty_slab(s, e->slab))
            return true;
        r->hand = e->clock_next;
    }
    return false;
}

/* A step towards less memory: the spare slab or a large entry goes back to the system, or a slab
 * becomes the spare one. False: there is nothing that can go. */
static bool give_back(shard *s) REQUIRES(s->shard_mu)
{
    if (s->arena.spare) {
        arena_trim(&s->arena);
        return true;
    }
    ring *r = oldest(s);
    if (r && give_slab(s, r))
        return true;
    for (int i = 0; i < RINGS; i++)
        if (give_slab(s, &s->rings[i]))
            return true;
    return false;
}

/* A small entry is to come, and there is no room: replaces one of its size, or takes a slab from a
 * size whose entries have been unused for longer. */
static void replace(shard *s, uint32_t size) REQUIRES(s->shard_mu)
{
    ring *own = &s->rings[size];
    if (++s->misses_since >= LOOK_AROUND || !own->hand) {
        ring *r = oldest(s);
        s->misses_since = 0;
        if (r && r != own && give_slab(s, r))
            return;
    }
    sst_cached *e = victim(own);
    if (e)
        evict(s, e);
}

/* C1, for an entry of so many bytes that is to come. */
static void make_room(shard *s, uint64_t share, size_t bytes) REQUIRES(s->shard_mu)
{
    uint32_t size;
    while (s->arena.bytes > share && give_back(s))
        ;
    if (s->arena.bytes + arena_growth(&s->arena, bytes) > share &&
        arena_size_of(&s->arena, bytes, &size))
        replace(s, size);
    while (s->arena.bytes + arena_growth(&s->arena, bytes) > share && give_back(s))
        ;
}

void sst_cache_shrink(sst_cache *c, bool all)
{
    for (unsigned i = 0; i < c->shard_count; i++) {
        shard *s = &c->shards[i];
        uint64_t share = all ? 0 : share_of(c);
        mutex_lock(&s->shard_mu);
        while (s->arena.bytes > share && give_back(s))
            ;
        mutex_unlock(&s->shard_mu);
    }
}

/* The system has no memory left: all that no reader has pinned goes, but for what lies in shards
 * that are in use now. */
static void relieve(void *ctx)
{
    sst_cache *c = ctx;
    for (unsigned i = 0; i < c->shard_count; i++) {
        shard *s = &c->shards[i];
        if (!mutex_try(&s->shard_mu))
            continue;
        while (give_back(s))
            ;
        mutex_unlock(&s->shard_mu);
    }
}

void sst_cache_free(sst_cache *c)
{
    if (!c)
        return;
    heap_relief_remove(&c->relief);
    sst_cache_shrink(c, true);
    for (unsigned i = 0; i < c->shard_count; i++) {
        shard *s = &c->shards[i];
        mutex_not_shared(&s->shard_mu);
        assert(s->entries == 0 && !s->loads);
        arena_release(&s->arena);
        heap_free(s->buckets);
        mutex_release(&s->shard_mu);
        cond_release(&s->loaded);
    }
    assert(atomic_load_explicit(&c->used, memory_order_relaxed) == 0);
    assert(sst_cache_outside(c) == 0);
    sst_parts_release(&c->parts);
    heap_free(c);
}

void sst_cache_get_stats(const sst_cache *c, sst_cache_stats *out)
{
    sst_cache_stats stats = {
        .capacity_bytes = budget_left(c->budget),
        .used_bytes = atomic_load_explicit(&c->used, memory_order_relaxed),
        .held_bytes = budget_held(c->budget, BUDGET_BLOCKS),
        .part_bytes = budget_parts(c->budget),
        .filter_loads = atomic_load_explicit(&c->parts.filter_loads, memory_order_relaxed),
        .index_loads = atomic_load_explicit(&c->parts.index_loads, memory_order_relaxed),
    };
    for (unsigned i = 0; i < c->shard_count; i++) {
        stats.hits += atomic_load_explicit(&c->shards[i].hits, memory_order_relaxed);
        stats.misses += atomic_load_explicit(&c->shards[i].misses, memory_order_relaxed);
    }
    *out = stats;
}

/* ---- finding ---- */

static void count_one(_Atomic uint64_t *counter)
{
    /* Only the lock's holder writes: a plain addition in two relaxed halves. */
    uint64_t n = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, n + 1, memory_order_relaxed);
}

/* Pinned, or NULL. */
static sst_cached *find(shard *s, uint64_t owner, uint32_t block) REQUIRES(s->shard_mu)
{
    sst_cached *e = s->bucket_count != 0 ? *link_of(s, owner, block) : NULL;
    if (e) {
        e->touched = true;
        e->used_at = ++s->tick;
        /* Relaxed: the lock orders us behind the reader that filled the entry. */
        atomic_fetch_add_explicit(&e->refs, 1, memory_order_relaxed);
    }
    return e;
}

sst_cached *sst_cache_find(sst_cache *c, uint64_t owner, uint32_t block)
{
    shard *s = shard_of(c, hash_of(owner, block));
    mutex_lock(&s->shard_mu);
    sst_cached *e = find(s, owner, block);
    count_one(e ? &s->hits : &s->misses);
    mutex_unlock(&s->shard_mu);
    return e;
}

static bool is_loading(const shard *s, uint64_t owner, uint32_t block) REQUIRES(s->shard_mu)
{
    const sst_load *l = s->loads;
    while (l && (l->owner != owner || l->block != block))
        l = l->next;
    return l != NULL;
}

sst_cached *sst_cache_begin(sst_cache *c, uint64_t owner, uint32_t block, sst_load *load)
{
    patience p = {0};
    shard *s = shard_of(c, hash_of(owner, block));
    mutex_lock(&s->shard_mu);
    sst_cached *e = find(s, owner, block);
    while (!e && is_loading(s, owner, block)) {
        s->waiting++;
        patience_begin(&p, c->waits, FIRN_WAIT_BLOCK);
        patience_wait(&p, &s->loaded, &s->shard_mu,
                      "until another thread has read the block that it needs from the disk");
        s->waiting--;
        e = find(s, owner, block);
    }
    count_one(e ? &s->hits : &s->misses);
    if (!e) {
        *load = (sst_load){s->loads, c, owner, block};
        s->loads = load;
    }
    mutex_unlock(&s->shard_mu);
    patience_end(&p);
    return e;
}

void sst_cache_end(sst_load *load)
{
    shard *s = shard_of(load->cache, hash_of(load->owner, load->block));
    mutex_lock(&s->shard_mu);
    sst_load **link = &s->loads;
    while (*link != load)
        link = &(*link)->next;
    *link = load->next;
    if (s->waiting)
        cond_broadcast(&s->loaded);
    mutex_unlock(&s->shard_mu);
}

/* ---- entering ---- */

/* What counts against a block that is to come: all blocks, those that other readers are about to
 * unpack among them; but one large value that a reader holds is no reason to refuse all small
 * ones. */
static uint64_t counted(const sst_cache *c, uint64_t large_before)
{
    uint64_t held = budget_held(c->budget, BUDGET_BLOCKS);
    uint64_t large = atomic_load_explicit(&c->large, memory_order_relaxed);
    return (held > large ? held - large : 0) + large_before;
}

/* Do readers hold more than they may? What no reader has pinned goes first. */
static int check_most(sst_cache *c, uint64_t large_before, firn_error *err)
{
    if (counted(c, large_before) <= c->budget->most)
        return FIRN_OK;
    sst_cache_shrink(c, true);
    uint64_t held = counted(c, large_before);
    if (held <= c->budget->most)
        return FIRN_OK;
    error_set(err, FIRN_NO_MEMORY,
              "values and iterators that are held keep %" PRIu64
              " bytes of unpacked blocks, more than twice the option memory (%" PRIu64 ")",
              held, c->budget->limit);
    error_hint(err, "release them sooner, or open the store with a larger memory");
    return FIRN_NO_MEMORY;
}

/* A new entry with one reference, the caller's. */
static sst_cached *entry_new(sst_cache *c, sst_cached key, size_t bytes)
{
    shard *s = shard_of_entry(&key);
    uint64_t share = share_of(c);
    arena_piece piece;
    mutex_lock(&s->shard_mu);
    if (bytes <= share / LARGE_SHARE)
        make_room(s, share, bytes);
    bool took = arena_take(&s->arena, bytes, &piece);
    while (!took && give_back(s)) /* relief cannot come to this shard: we hold its lock */
        took = arena_take(&s->arena, bytes, &piece);
    if (!took) {
        mutex_unlock(&s->shard_mu);
        return NULL;
    }
    sst_cached *e = piece.data;
    *e = key;
    e->slab = piece.slab;
    e->charge = piece.bytes;
    mutex_unlock(&s->shard_mu);
    atomic_fetch_add_explicit(&c->used, piece.bytes, memory_order_relaxed);
    return e;
}

int sst_cache_reserve(sst_cache *c, uint64_t owner, uint32_t block, uint32_t size, sst_cached **out,
                      firn_error *err)
{
    size_t bytes = sizeof(sst_cached) + size + SST_TRAILER_BYTES;
    bool large;
    uint64_t charge = arena_bytes_of(&c->shards[0].arena, bytes, &large);
    uint64_t before = 0;
    if (large)
        before = atomic_fetch_add_explicit(&c->large, charge, memory_order_relaxed);
    int rc = check_most(c, before, err);
    if (rc == FIRN_OK) {
        sst_cached key = {.cache = c, .owner = owner, .block = block, .size = size, .refs = 1};
        *out = entry_new(c, key, bytes);
        rc = *out ? FIRN_OK : error_no_memory(err);
    }
    if (rc != FIRN_OK && large)
        atomic_fetch_sub_explicit(&c->large, charge, memory_order_relaxed);
    return rc;
}

int sst_cache_take_outside(sst_cache *c, uint32_t size, sst_cached **out, firn_error *err)
{
    size_t bytes = sizeof(sst_cached) + size + SST_TRAILER_BYTES;
    sst_cached *e = bytes < SST_OUTSIDE_PAGES_MIN ? heap_alloc(bytes) : pages_alloc(bytes);
    if (!e)
        return error_no_memory(err);
    *e = (sst_cached){.cache = c, .charge = bytes, .size = size, .refs = 1, .outside = true};
    budget_charge(c->budget, BUDGET_SCRATCH, bytes);
    atomic_fetch_add_explicit(&c->outside, bytes, memory_order_relaxed);
    *out = e;
    return FIRN_OK;
}

uint64_t sst_cache_outside(const sst_cache *c)
{
    return atomic_load_explicit(&c->outside, memory_order_relaxed);
}

bool sst_cache_take_window(sst_cache *c, uint64_t bytes)
{
    uint64_t most = c->budget->limit / WINDOWS_SHARE;
    if (most < WINDOWS_LEAST)
        most = WINDOWS_LEAST;
    if (atomic_fetch_add_explicit(&c->windows, bytes, memory_order_relaxed) + bytes <= most)
        return true;
    sst_cache_give_window(c, bytes);
    return false;
}

void sst_cache_give_window(sst_cache *c, uint64_t bytes)
{
    atomic_fetch_sub_explicit(&c->windows, bytes, memory_order_relaxed);
}

static void outside_free(sst_cached *e)
{
    size_t bytes = (size_t)e->charge;
    atomic_fetch_sub_explicit(&e->cache->outside, bytes, memory_order_relaxed);
    budget_release(e->cache->budget, BUDGET_SCRATCH, bytes);
    if (bytes < SST_OUTSIDE_PAGES_MIN)
        heap_free(e);
    else
        pages_free(e, bytes);
}

sst_cached *sst_cache_insert(sst_cached *e, bool stays)
{
    assert(!e->outside);
    uint64_t share = share_of(e->cache);
    shard *s = shard_of_entry(e);
    sst_cached *other = NULL;

    mutex_lock(&s->shard_mu);
    if (s->entries >= s->bucket_count && !grow(s))
        goto unlock;
    other = find(s, e->owner, e->block);
    if (other)
        goto unlock;
    sst_cached **link = &s->buckets[hash_of(e->owner, e->block) & (s->bucket_count - 1)];
    e->chain = *link;
    *link = e;
    s->entries++;
    e->member = stays && e->charge <= share / LARGE_SHARE && s->arena.bytes <= share;
    e->guest = !e->member;
    if (e->member) {
        ring_insert(s, e);
        atomic_fetch_add_explicit(&e->refs, 1, memory_order_relaxed);
    }
unlock:
    mutex_unlock(&s->shard_mu);
    if (!other)
        return e;
    sst_cache_unpin(e);
    return other;
}

void sst_cache_unpin(sst_cached *e)
{
    shard *s;
    if (e->outside) { /* it has one owner, and that one pin */
        outside_free(e);
        return;
    }
    if (e->guest) {
        /* Its last pin and a search for it exclude each other. */
        s = shard_of_entry(e);
        mutex_lock(&s->shard_mu);
        if (atomic_fetch_sub_explicit(&e->refs, 1, memory_order_acq_rel) == 1) {
            unlink_entry(s, e);
            entry_free(s, e);
        }
        mutex_unlock(&s->shard_mu);
        return;
    }
    /* Release: our reads are over; acquire: the thread that frees sees those of all. A member keeps
     * its own reference, so the last one is of an entry that no other thread knows. */
    if (atomic_fetch_sub_explicit(&e->refs, 1, memory_order_acq_rel) == 1) {
        s = shard_of_entry(e);
        mutex_lock(&s->shard_mu);
        entry_free(s, e);
        mutex_unlock(&s->shard_mu);
    }
}

void sst_cache_forget(sst_cache *c, uint64_t owner, uint32_t blocks)
{
    for (uint32_t i = 0; i < blocks; i++) {
        shard *s = shard_of(c, hash_of(owner, i));
        mutex_lock(&s->shard_mu);
        sst_cached *e = s->bucket_count != 0 ? *link_of(s, owner, i) : NULL;
        if (e && is_idle(e))
            evict(s, e);
        mutex_unlock(&s->shard_mu);
    }
}
