/* gaps: see gaps.h.
 *
 * What readers look at is written in atomic words between two steps of `version` (a seqlock), and
 * never freed while the store is open. So a reader may see half of a change, which is harmless: all
 * of its indices and sizes are ones that were stored some time, and the version tells it to think
 * nothing of the rest. The words are stored with release and loaded with acquire: who has loaded
 * one of a change finds that change in the version.
 */
#include <tree/gaps.h>

#include <assert.h>
#include <base/alloc.h>
#include <base/search.h>

/* A key as numbers, padded with zeros: they compare as the key does, but for the size. */
typedef struct bound {
    _Atomic uint64_t words[GAP_KEY_WORDS];
    _Atomic uint32_t size;
} bound;

struct gap {
    _Atomic uint32_t bucket;
    _Atomic uint32_t used; /* by a walk, since the hand or gaps_age has passed */
    _Atomic uint64_t seq;
    bound from, to;
};

struct gap_table {
    _Atomic uint32_t count;
    _Atomic uint16_t order[GAPS_MOST]; /* the first `count`: gaps, ascending; the rest: free ones */
    gap gaps[GAPS_MOST];
    /* Under gaps_mu. */
    uint32_t hand;
    /* the pending one */
    uint16_t bucket;
    uint64_t seq;
    gap_bounds bounds;
};

#define GET(field)        atomic_load_explicit(&(field), memory_order_acquire)
#define SET(field, value) atomic_store_explicit(&(field), value, memory_order_release)

/* ---- Bounds ---- */

/* Shortens a key that is too long to the greatest one that is not above it. */
static void round_down(gap_key *k, firn_slice key)
{
    k->size = key.size < GAP_KEY_BYTES ? key.size : GAP_KEY_BYTES;
    memcpy(k->data, slice_somewhere(key).data, k->size);
}

/* Makes it the least key behind all that begin with it. False: there is none. */
static bool pass_beginning(gap_key *k)
{
    while (k->size && k->data[k->size - 1] == 0xff)
        k->size--;
    if (k->size)
        k->data[k->size - 1]++;
    return k->size > 0;
}

/* To one that is not below it. False: there is none. */
static bool round_up(gap_key *k, firn_slice key)
{
    round_down(k, key);
    return k->size == key.size || pass_beginning(k);
}

/* To one behind it, the least where that fits. False: there is none. */
static bool round_after(gap_key *k, firn_slice key)
{
    round_down(k, key);
    if (key.size >= GAP_KEY_BYTES)
        return pass_beginning(k);
    k->data[k->size++] = 0;
    return true;
}

static void set_bound(bound *b, firn_slice key)
{
    for (size_t i = 0; i < GAP_KEY_WORDS; i++)
        SET(b->words[i], slice_piece(key, 8 * i));
    SET(b->size, (uint32_t)key.size);
}

static void get_bound(const bound *b, gap_key *out)
{
    out->size = GET(b->size);
    for (size_t i = 0; i < GAP_KEY_WORDS; i++) {
        uint64_t word = __builtin_bswap64(GET(b->words[i]));
        memcpy(out->data + 8 * i, &word, 8);
    }
}

/* A key against a bound. */
static int compare(firn_slice key, const bound *b)
{
    uint32_t size = GET(b->size);
    size_t longer = key.size > size ? key.size : size;
    for (size_t i = 0; i < GAP_KEY_WORDS && 8 * i < longer; i++) {
        uint64_t piece = slice_piece(key, 8 * i), word = GET(b->words[i]);
        if (piece != word)
            return piece < word ? -1 : 1;
    }
    return (key.size > size) - (key.size < size);
}

/* ---- The table ---- */

typedef struct position {
    unsigned bucket;
    firn_slice key;
} position;

static gap *gap_at(gap_table *t, size_t at)
{
    return &t->gaps[GET(t->order[at])];
}

static bool begins_up_to(const void *table, size_t at, void *wanted)
{
    const gap_table *t = table;
    const gap *one = &t->gaps[GET(t->order[at])];
    const position *p = wanted;
    uint32_t bucket = GET(one->bucket);
    return bucket != p->bucket ? bucket < p->bucket : compare(p->key, &one->from) >= 0;
}

/* How many gaps begin at the place or in front of it. */
static size_t count_up_to(const gap_table *t, unsigned bucket, firn_slice key)
{
    position p = {bucket, key};
    return search_first(t, 0, GET(t->count), &p, begins_up_to);
}

/* The gap around a key; NULL: none. */
static gap *around(gap_table *t, unsigned bucket, firn_slice key, size_t *at)
{
    size_t count = count_up_to(t, bucket, key);
    if (count == 0)
        return NULL;
    gap *one = gap_at(t, count - 1);
    *at = count - 1;
    return GET(one->bucket) == bucket && compare(key, &one->to) < 0 ? one : NULL;
}

static void begin_change(gaps *g) REQUIRES(g->gaps_mu)
{
    SET(g->version, GET(g->version) + 1);
}

static void end_change(gaps *g) REQUIRES(g->gaps_mu)
{
    const gap_table *t = GET(g->table);
    SET(g->any, GET(t->count) + g->pending);
    SET(g->version, GET(g->version) + 1);
}

static void remove_at(gap_table *t, size_t at)
{
    uint32_t last = GET(t->count) - 1;
    uint16_t freed = GET(t->order[at]);
    for (size_t i = at; i < last; i++)
        SET(t->order[i], GET(t->order[i + 1]));
    SET(t->order[last], freed);
    SET(t->count, last);
}

/* The table is full: one goes that no walk has used since the hand came by last. */
static void make_place(gap_table *t)
{
    for (;; t->hand++) {
        size_t at = t->hand % GAPS_MOST;
        gap *one = gap_at(t, at);
        if (GET(one->used) == 0) {
            remove_at(t, at);
            return;
        }
        SET(one->used, 0);
    }
}

/* No other gap touches it. */
static void insert(gap_table *t, unsigned bucket, firn_slice from, firn_slice to, uint64_t seq,
                   uint32_t used)
{
    if (GET(t->count) == GAPS_MOST)
        make_place(t);
    uint32_t count = GET(t->count);
    size_t at = count_up_to(t, bucket, from);
    uint16_t fresh = GET(t->order[count]);
    for (size_t i = count; i > at; i--)
        SET(t->order[i], GET(t->order[i - 1]));
    SET(t->order[at], fresh);
    gap *one = &t->gaps[fresh];
    SET(one->bucket, bucket);
    SET(one->used, used);
    SET(one->seq, seq);
    set_bound(&one->from, from);
    set_bound(&one->to, to);
    SET(t->count, count + 1);
}

/* Is the gap at `at` of this bucket, and does it reach to `from`? */
static bool reaches(gap_table *t, size_t at, unsigned bucket, firn_slice from)
{
    const gap *one = gap_at(t, at);
    return GET(one->bucket) == bucket && compare(from, &one->to) <= 0;
}

/* Adds the pending gap. Those that it overlaps or touches become one with it, good from the
 * greatest of their numbers on; but those that it holds count for nothing, and where one holds it,
 * that one stays as it is. */
static void join(gap_table *t)
{
    gap_key low = t->bounds.from, high = t->bounds.to;
    uint64_t seq = t->seq;
    size_t end = count_up_to(t, t->bucket, gap_slice(&high));
    while (end > 0 && reaches(t, end - 1, t->bucket, gap_slice(&t->bounds.from))) {
        const gap *one = gap_at(t, --end);
        int begins = compare(gap_slice(&t->bounds.from), &one->from);
        int ends = compare(gap_slice(&t->bounds.to), &one->to);
        if (begins >= 0 && ends <= 0 && (begins > 0 || ends < 0 || GET(one->seq) <= seq))
            return; /* it holds the new one, and no other touches that (A1) */
        if (begins > 0)
            get_bound(&one->from, &low);
        if (ends < 0)
            get_bound(&one->to, &high);
        if ((begins > 0 || ends < 0) && GET(one->seq) > seq)
            seq = GET(one->seq);
        remove_at(t, end);
    }
    insert(t, t->bucket, gap_slice(&low), gap_slice(&high), seq, 1);
}

/* ---- Calls ---- */

void gaps_init(gaps *g, memory_budget *budget)
{
    atomic_init(&g->any, 0);
    atomic_init(&g->version, 0);
    atomic_init(&g->table, NULL);
    atomic_init(&g->learned, 0);
    g->budget = budget;
    mutex_init(&g->gaps_mu);
    mutex_not_shared(&g->gaps_mu);
    g->pending = g->spoiled = false;
}

size_t gaps_memory(const gaps *g)
{
    return GET(g->table) ? sizeof(gap_table) : 0;
}

void gaps_release(gaps *g)
{
    if (g->budget)
        budget_release(g->budget, BUDGET_SCRATCH, gaps_memory(g));
    heap_free(GET(g->table));
    mutex_release(&g->gaps_mu);
}

bool gaps_find(gaps *g, unsigned bucket, firn_slice key, uint64_t seq, gap_bounds *out)
{
    gap_table *t = GET(g->table);
    uint64_t version = GET(g->version);
    if (!t || version % 2)
        return false;
    size_t at;
    gap *one = around(t, bucket, key, &at);
    if (!one || GET(one->seq) > seq)
        return false;
    get_bound(&one->from, &out->from);
    get_bound(&one->to, &out->to);
    if (GET(g->version) != version)
        return false;
    if (GET(one->used) == 0) /* whichever gap it is by now, it does no harm */
        SET(one->used, 1);
    return true;
}

static gap_table *table_of(gaps *g) REQUIRES(g->gaps_mu)
{
    gap_table *t = GET(g->table);
    if (t)
        return t;
    t = heap_zalloc(sizeof *t);
    if (!t)
        return NULL;
    for (uint16_t i = 0; i < GAPS_MOST; i++)
        atomic_init(&t->order[i], i);
    if (g->budget)
        budget_charge(g->budget, BUDGET_SCRATCH, sizeof *t);
    SET(g->table, t);
    return t;
}

/* Moved inwards, where keys are too long. */
static bool pending_bounds(gap_edge from, gap_edge to, gap_bounds *out)
{
    round_down(&out->to, to.key);
    if (to.after && to.key.size < GAP_KEY_BYTES)
        out->to.data[out->to.size++] = 0;
    return (from.after ? round_after(&out->from, from.key) : round_up(&out->from, from.key)) &&
           slice_compare(gap_slice(&out->from), gap_slice(&out->to)) < 0; /* A3 */
}

bool gaps_begin(gaps *g, unsigned bucket, gap_edge from, gap_edge to, uint64_t seq, gap_bounds *out)
{
    if (!pending_bounds(from, to, out) || !mutex_try(&g->gaps_mu))
        return false;
    gap_table *t = g->pending ? NULL : table_of(g);
    if (t) {
        t->bucket = (uint16_t)bucket;
        t->seq = seq;
        t->bounds = *out;
        g->pending = true;
        g->spoiled = false;
        SET(g->any, GET(t->count) + 1);
    }
    mutex_unlock(&g->gaps_mu);
    return t != NULL;
}

void gaps_end(gaps *g, bool holds)
{
    mutex_lock(&g->gaps_mu);
    begin_change(g);
    assert(g->pending);
    holds = holds && !g->spoiled;
    g->pending = false;
    if (holds)
        join(GET(g->table));
    end_change(g);
    mutex_unlock(&g->gaps_mu);
    if (holds)
        atomic_fetch_add_explicit(&g->learned, 1, memory_order_relaxed);
}

static bool lies_in_pending(const gaps *g, const gap_table *t, unsigned bucket, firn_slice key)
    REQUIRES(g->gaps_mu)
{
    return g->pending && t->bucket == bucket &&
           slice_compare(gap_slice(&t->bounds.from), key) <= 0 &&
           slice_compare(key, gap_slice(&t->bounds.to)) < 0;
}

/* What is left of a gap on both sides of a key in it. */
static void cut_at(gap_table *t, size_t at, firn_slice key)
{
    const gap *one = gap_at(t, at);
    gap_key from, to, end, begin;
    unsigned bucket = GET(one->bucket);
    uint64_t seq = GET(one->seq);
    uint32_t used = GET(one->used);
    get_bound(&one->from, &from);
    get_bound(&one->to, &to);
    round_down(&end, key);
    bool behind = round_after(&begin, key);
    remove_at(t, at);
    if (slice_compare(gap_slice(&from), gap_slice(&end)) < 0)
        insert(t, bucket, gap_slice(&from), gap_slice(&end), seq, used);
    if (behind && slice_compare(gap_slice(&begin), gap_slice(&to)) < 0)
        insert(t, bucket, gap_slice(&begin), gap_slice(&to), seq, used);
}

void gaps_cut(gaps *g, unsigned bucket, firn_slice key)
{
    size_t at;
    mutex_lock(&g->gaps_mu);
    gap_table *t = GET(g->table);
    if (t && lies_in_pending(g, t, bucket, key))
        g->spoiled = true;
    if (t && around(t, bucket, key, &at)) {
        begin_change(g);
        cut_at(t, at, key);
        end_change(g);
    }
    mutex_unlock(&g->gaps_mu);
}

void gaps_age(gaps *g)
{
    mutex_lock(&g->gaps_mu);
    gap_table *t = GET(g->table);
    if (t && GET(t->count)) {
        begin_change(g);
        for (size_t at = GET(t->count); at-- > 0;) {
            gap *one = gap_at(t, at);
            if (GET(one->used) == 0)
                remove_at(t, at);
            SET(one->used, 0);
        }
        end_change(g);
    }
    mutex_unlock(&g->gaps_mu);
}

/* ---- For tests ---- */

static const char *flaw_of_order(gap_table *t)
{
    gap_bounds last = {0}, now;
    uint32_t count = GET(t->count);
    for (size_t at = 0; at < count; at++, last = now) {
        const gap *one = gap_at(t, at), *before = at > 0 ? gap_at(t, at - 1) : one;
        bool same = at > 0 && GET(before->bucket) == GET(one->bucket);
        get_bound(&one->from, &now.from);
        get_bound(&one->to, &now.to);
        if (slice_compare(gap_slice(&now.from), gap_slice(&now.to)) >= 0)
            return "one is empty (A3)";
        if (GET(before->bucket) > GET(one->bucket))
            return "the order of buckets (A1)";
        if (same && slice_compare(gap_slice(&last.to), gap_slice(&now.from)) >= 0)
            return "two overlap, or touch (A1)";
    }
    return NULL;
}

const char *gaps_flaw(gaps *g)
{
    bool there[GAPS_MOST] = {false}, twice = false;
    mutex_lock(&g->gaps_mu);
    gap_table *t = GET(g->table);
    for (size_t i = 0; t && i < GAPS_MOST; i++) {
        twice = twice || there[GET(t->order[i])];
        there[GET(t->order[i])] = true;
    }
    const char *flaw = twice ? "one is listed twice" : t ? flaw_of_order(t) : NULL;
    if (GET(g->any) != (t ? GET(t->count) : 0) + g->pending)
        flaw = "their number";
    if (GET(g->version) % 2)
        flaw = "a change that has not ended";
    mutex_unlock(&g->gaps_mu);
    return flaw;
}
