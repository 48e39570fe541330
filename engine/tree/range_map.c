/* range_map: see range_map.h. */
#include <tree/range_map.h>

#include <base/alloc.h>
#include <base/slice.h>

#include <string.h>

struct range_node {
    cow_node n;   /* from its key on ... */
    uint64_t seq; /* ... to the next key this is the newest range delete; 0: there is none */
};

/* ---- Adding ---- */

static int reserve_roots(range_map *m)
{
    size_t at = atomic_load_explicit(&m->count, memory_order_relaxed), room = RANGE_ROOTS_FIRST;
    unsigned i = 0;
    for (; at >= room; i++, room *= 2)
        at -= room;
    if (i == RANGE_ROOTS_MOST)
        return FIRN_NO_MEMORY;
    if (m->roots[i])
        return FIRN_OK;
    m->roots[i] = heap_alloc(room * sizeof(range_root));
    if (m->roots[i])
        cow_more_memory(&m->pool, room * sizeof(range_root));
    return m->roots[i] ? FIRN_OK : FIRN_NO_MEMORY;
}

int range_map_reserve(range_map *m, size_t adds)
{
    m->pool.node_bytes = sizeof(range_node);
    int rc = cow_reserve(&m->pool, adds);
    return rc == FIRN_OK ? reserve_roots(m) : rc;
}

static uint64_t seq_of(const cow_node *n)
{
    return n ? ((const range_node *)(const void *)n)->seq : 0;
}

static cow_node *edge(range_map *m, firn_slice key, uint64_t seq)
{
    cow_node *n = cow_new(&m->pool, key);
    ((range_node *)(void *)n)->seq = seq;
    return n;
}

void range_map_add(range_map *m, firn_slice first, firn_slice end, uint64_t seq)
{
    cow_node *below, *inside, *behind;
    const cow_node *next;
    if (slice_compare(first, end) >= 0)
        return;
    const cow_node *at_end = cow_not_above(m->top, end, &next);
    bool is_edge = at_end && slice_compare(at_end->key, end) == 0;
    uint64_t goes_on = seq_of(at_end);
    cow_split(&m->pool, m->top, first, &below, &inside);
    cow_split(&m->pool, inside, end, &inside, &behind); /* what lies inside is of older ones */
    if (!is_edge)
        behind = cow_join(&m->pool, NULL, edge(m, end, goes_on), behind);
    m->top = cow_join(&m->pool, below, edge(m, first, seq), behind);
    m->pending = true;
}

static range_root *root_at(const range_map *m, size_t i)
{
    size_t room = RANGE_ROOTS_FIRST;
    unsigned array = 0;
    for (; i >= room; array++, room *= 2)
        i -= room;
    return &m->roots[array][i];
}

void range_map_publish(range_map *m, uint64_t seq)
{
    size_t count = atomic_load_explicit(&m->count, memory_order_relaxed);
    *root_at(m, count) = (range_root){m->top, seq};
    cow_seal(&m->pool);
    m->pending = false;
    atomic_store_explicit(&m->count, count + 1, memory_order_release);
}

size_t range_map_memory(const range_map *m)
{
    return atomic_load_explicit(&m->pool.memory, memory_order_relaxed);
}

void range_map_release(range_map *m)
{
    cow_pool_release(&m->pool);
    for (unsigned i = 0; i < RANGE_ROOTS_MOST; i++)
        heap_free(m->roots[i]);
    memset(m, 0, sizeof *m);
}

/* ---- Asking ---- */

/* The newest tree that a reader at this number sees. Most see the newest of all. */
static const cow_node *tree_at(const range_map *m, uint64_t seq_max)
{
    size_t first = 0, end = atomic_load_explicit(&m->count, memory_order_acquire);
    if (end && root_at(m, end - 1)->seq <= seq_max)
        return root_at(m, end - 1)->top;
    while (first < end) {
        size_t middle = first + (end - first) / 2;
        if (root_at(m, middle)->seq <= seq_max)
            first = middle + 1;
        else
            end = middle;
    }
    return first ? root_at(m, first - 1)->top : NULL;
}

uint64_t range_map_find(const range_map *m, firn_slice key, uint64_t seq_max)
{
    const cow_node *next, *n = cow_not_above(tree_at(m, seq_max), key, &next);
    return seq_of(n);
}

void range_map_cover(const range_map *m, firn_slice key, uint64_t seq_max, cover *out)
{
    const cow_node *next, *n = cow_not_above(tree_at(m, seq_max), key, &next);
    *out = (cover){.seq = seq_of(n)};
    if (n)
        out->from = n->key;
    if (next)
        out->to = next->key;
}

/* In order; those above a number. What *last says ends where the next node begins. */
static int list_below(const cow_node *n, uint64_t above, const cow_node **last, fragment_list *out)
{
    if (!n)
        return FIRN_OK;
    int rc = list_below(n->left, above, last, out);
    if (rc == FIRN_OK && *last && seq_of(*last) > above)
        rc = fragment_list_add(out, (fragment){(*last)->key, n->key, seq_of(*last)});
    *last = n;
    return rc == FIRN_OK ? list_below(n->right, above, last, out) : rc;
}

/* Behind the last edge of all, which is the end of a range, nothing is covered. What an older
 * snapshot sees, too, is listed for that one. */
int range_map_list(const range_map *m, const uint64_t *snapshots, size_t count, fragment_list *out)
{
    int rc = FIRN_OK;
    const cow_node *before = NULL;
    for (size_t i = 0; rc == FIRN_OK && i <= count; i++) {
        const cow_node *last = NULL;
        const cow_node *top = tree_at(m, i < count ? snapshots[i] : FIRN_MAX_SEQ);
        if (top != before)
            rc = list_below(top, i > 0 ? snapshots[i - 1] : 0, &last, out);
        before = top;
    }
    return rc;
}
