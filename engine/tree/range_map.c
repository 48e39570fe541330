/* range_map: see range_map.h. */
#include <tree/range_map.h>

#include <base/alloc.h>
#include <base/slice.h>

#include <string.h>

struct range_node {
    firn_slice key; /* from here on ... */
    uint64_t seq;   /* ... to the next key this is the newest range delete; 0: there is none */
    uint64_t edit;  /* in which it was made: the writer's, as long as that is not published */
    range_node *left, *right;
    unsigned height;
};

struct range_chunk {
    range_chunk *older;
    range_node nodes[];
};

enum { CHUNK_MOST = 16384 };

/* ---- Nodes ---- */

static unsigned height_of(const range_node *n)
{
    return n ? n->height : 0;
}

static range_node *new_node(range_map *m)
{
    range_node *n = &m->chunks->nodes[--m->free_nodes];
    n->edit = m->edit;
    return n;
}

/* The node itself, if no reader has come to it, or a copy (G1). */
static range_node *own(range_map *m, range_node *n)
{
    if (n->edit == m->edit)
        return n;
    range_node *copy = new_node(m);
    *copy = *n;
    copy->edit = m->edit;
    return copy;
}

/* ---- Balance: an AVL tree. Nodes that are changed are the writer's own ---- */

static void set_height(range_node *n)
{
    unsigned l = height_of(n->left), r = height_of(n->right);
    n->height = (l > r ? l : r) + 1;
}

static range_node *turn_right(range_map *m, range_node *n)
{
    range_node *up = own(m, n->left);
    n->left = up->right;
    up->right = n;
    set_height(n);
    set_height(up);
    return up;
}

static range_node *turn_left(range_map *m, range_node *n)
{
    range_node *up = own(m, n->right);
    n->right = up->left;
    up->left = n;
    set_height(n);
    set_height(up);
    return up;
}

static range_node *balance(range_map *m, range_node *n)
{
    if (height_of(n->left) > height_of(n->right) + 1) {
        n->left = own(m, n->left);
        if (height_of(n->left->left) < height_of(n->left->right))
            n->left = turn_left(m, n->left);
        return turn_right(m, n);
    }
    if (height_of(n->right) > height_of(n->left) + 1) {
        n->right = own(m, n->right);
        if (height_of(n->right->right) < height_of(n->right->left))
            n->right = turn_right(m, n->right);
        return turn_left(m, n);
    }
    set_height(n);
    return n;
}

/* One tree of all keys of `left`, the node `mid`, which is the writer's own, and all of `right`. */
static range_node *join(range_map *m, range_node *left, range_node *mid, range_node *right)
{
    if (height_of(left) > height_of(right) + 1) {
        left = own(m, left);
        left->right = join(m, left->right, mid, right);
        return balance(m, left);
    }
    if (height_of(right) > height_of(left) + 1) {
        right = own(m, right);
        right->left = join(m, left, mid, right->left);
        return balance(m, right);
    }
    mid->left = left;
    mid->right = right;
    set_height(mid);
    return mid;
}

/* Into the keys below `key`, and the others. */
static void split(range_map *m, range_node *n, firn_slice key, range_node **below,
                  range_node **others)
{
    if (!n) {
        *below = *others = NULL;
        return;
    }
    range_node *mine = own(m, n), *left = n->left, *right = n->right;
    if (slice_compare(n->key, key) < 0) {
        split(m, right, key, &right, others);
        *below = join(m, left, mine, right);
    } else {
        split(m, left, key, below, &left);
        *others = join(m, left, mine, right);
    }
}

/* ---- Adding ---- */

/* A split copies a path, and its joins, whose differences of height add up to that of the tree,
 * copy what they descend and what one rotation takes; there are two splits, and two joins more. */
static size_t nodes_for_one(size_t nodes)
{
    size_t height = 2;
    for (; nodes; nodes >>= 1)
        height += 2; /* more than an AVL tree has */
    return 32 + 16 * height;
}

static void more_memory(range_map *m, size_t bytes)
{
    size_t before = atomic_load_explicit(&m->memory, memory_order_relaxed); /* one writer */
    atomic_store_explicit(&m->memory, before + bytes, memory_order_relaxed);
}

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
        more_memory(m, room * sizeof(range_root));
    return m->roots[i] ? FIRN_OK : FIRN_NO_MEMORY;
}

int range_map_reserve(range_map *m, size_t adds)
{
    /* In front of one publish each node is copied once at most, and each add makes two. */
    size_t each = nodes_for_one(m->nodes + 2 * adds), all = m->nodes + 2 * adds;
    size_t most = adds < all / each ? adds * each : all;
    if (m->edit == 0)
        m->edit = 1;
    if (m->free_nodes < most) {
        size_t count = 4 * most > m->nodes ? 4 * most : m->nodes;
        count = count < CHUNK_MOST ? count : CHUNK_MOST;
        count = count > most ? count : most;
        range_chunk *c = heap_alloc(sizeof *c + count * sizeof c->nodes[0]);
        if (!c)
            return FIRN_NO_MEMORY;
        c->older = m->chunks;
        m->chunks = c;
        m->free_nodes = count;
        more_memory(m, sizeof *c + count * sizeof c->nodes[0]);
    }
    return reserve_roots(m);
}

static const range_node *last_not_above(const range_node *n, firn_slice key,
                                        const range_node **next)
{
    const range_node *found = NULL;
    *next = NULL;
    while (n) {
        if (slice_compare(n->key, key) <= 0) {
            found = n;
            n = n->right;
        } else {
            *next = n;
            n = n->left;
        }
    }
    return found;
}

static range_node *edge(range_map *m, firn_slice key, uint64_t seq)
{
    range_node *n = new_node(m);
    *n = (range_node){.key = key, .seq = seq, .edit = m->edit, .height = 1};
    m->nodes++;
    return n;
}

void range_map_add(range_map *m, firn_slice first, firn_slice end, uint64_t seq)
{
    range_node *below, *inside, *behind;
    const range_node *next;
    if (slice_compare(first, end) >= 0)
        return;
    const range_node *at_end = last_not_above(m->top, end, &next);
    bool is_edge = at_end && slice_compare(at_end->key, end) == 0;
    uint64_t goes_on = at_end ? at_end->seq : 0;
    split(m, m->top, first, &below, &inside);
    split(m, inside, end, &inside, &behind); /* what lies inside is of older ones */
    if (!is_edge)
        behind = join(m, NULL, edge(m, end, goes_on), behind);
    m->top = join(m, below, edge(m, first, seq), behind);
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
    m->edit++;
    m->pending = false;
    atomic_store_explicit(&m->count, count + 1, memory_order_release);
}

size_t range_map_memory(const range_map *m)
{
    return atomic_load_explicit(&m->memory, memory_order_relaxed);
}

void range_map_release(range_map *m)
{
    for (range_chunk *older, *c = m->chunks; c; c = older) {
        older = c->older;
        heap_free(c);
    }
    for (unsigned i = 0; i < RANGE_ROOTS_MOST; i++)
        heap_free(m->roots[i]);
    memset(m, 0, sizeof *m);
}

/* ---- Asking ---- */

/* The newest tree that a reader at this number sees. Most see the newest of all. */
static const range_node *tree_at(const range_map *m, uint64_t seq_max)
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
    const range_node *next, *n = last_not_above(tree_at(m, seq_max), key, &next);
    return n ? n->seq : 0;
}

void range_map_cover(const range_map *m, firn_slice key, uint64_t seq_max, cover *out)
{
    const range_node *next, *n = last_not_above(tree_at(m, seq_max), key, &next);
    *out = (cover){.seq = n ? n->seq : 0};
    if (n)
        out->from = n->key;
    if (next)
        out->to = next->key;
}

/* In order; those above a number. What *last says ends where the next node begins. */
static int list_below(const range_node *n, uint64_t above, const range_node **last,
                      fragment_list *out)
{
    if (!n)
        return FIRN_OK;
    int rc = list_below(n->left, above, last, out);
    if (rc == FIRN_OK && *last && (*last)->seq > above)
        rc = fragment_list_add(out, (fragment){(*last)->key, n->key, (*last)->seq});
    *last = n;
    return rc == FIRN_OK ? list_below(n->right, above, last, out) : rc;
}

/* Behind the last edge of all, which is the end of a range, nothing is covered. What an older
 * snapshot sees, too, is listed for that one. */
int range_map_list(const range_map *m, const uint64_t *snapshots, size_t count, fragment_list *out)
{
    int rc = FIRN_OK;
    const range_node *before = NULL;
    for (size_t i = 0; rc == FIRN_OK && i <= count; i++) {
        const range_node *last = NULL;
        const range_node *top = tree_at(m, i < count ? snapshots[i] : FIRN_MAX_SEQ);
        if (top != before)
            rc = list_below(top, i > 0 ? snapshots[i - 1] : 0, &last, out);
        before = top;
    }
    return rc;
}
