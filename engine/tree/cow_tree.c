/* cow_tree: see cow_tree.h. */
#include <tree/cow_tree.h>

#include <base/alloc.h>
#include <base/slice.h>

#include <string.h>

struct cow_chunk {
    cow_chunk *older;
    uint64_t nodes[];
};

enum { CHUNK_MOST = 16384 };

/* ---- Nodes ---- */

void cow_pool_release(cow_pool *p)
{
    for (cow_chunk *older, *c = p->chunks; c; c = older) {
        older = c->older;
        heap_free(c);
    }
    p->chunks = NULL;
    p->edit = p->nodes = p->free_nodes = 0;
    atomic_store_explicit(&p->memory, 0, memory_order_relaxed);
}

void cow_more_memory(cow_pool *p, size_t bytes)
{
    size_t before = atomic_load_explicit(&p->memory, memory_order_relaxed); /* one writer */
    atomic_store_explicit(&p->memory, before + bytes, memory_order_relaxed);
}

/* A split copies a path, and its joins, whose differences of height add up to that of the tree,
 * copy what they descend and what one rotation takes; there are two splits, and joins of what they
 * leave. */
static size_t nodes_for_one(size_t nodes)
{
    size_t height = 2;
    for (; nodes; nodes >>= 1)
        height += 2; /* more than an AVL tree has */
    return 32 + 16 * height;
}

int cow_reserve(cow_pool *p, size_t changes)
{
    /* In front of one seal each node is copied once at most, and each change makes two. */
    size_t each = nodes_for_one(p->nodes + 2 * changes), all = p->nodes + 2 * changes;
    size_t most = changes < all / each ? changes * each : all;
    if (p->free_nodes >= most)
        return FIRN_OK;
    size_t count = 4 * most > p->nodes ? 4 * most : p->nodes;
    count = count < CHUNK_MOST ? count : CHUNK_MOST;
    count = count > most ? count : most;
    size_t bytes = sizeof(cow_chunk) + count * p->node_bytes;
    cow_chunk *c = heap_alloc(bytes);
    if (!c)
        return FIRN_NO_MEMORY;
    c->older = p->chunks;
    p->chunks = c;
    p->free_nodes = count;
    cow_more_memory(p, bytes);
    return FIRN_OK;
}

static cow_node *take(cow_pool *p)
{
    uint8_t *nodes = (uint8_t *)p->chunks->nodes;
    return (cow_node *)(void *)(nodes + --p->free_nodes * p->node_bytes);
}

cow_node *cow_new(cow_pool *p, firn_slice key)
{
    cow_node *n = take(p);
    *n = (cow_node){.key = key, .edit = p->edit, .height = 1};
    p->nodes++;
    return n;
}

/* The node itself, if no older form has it, or a copy (G1). */
static cow_node *own(cow_pool *p, cow_node *n)
{
    if (n->edit == p->edit)
        return n;
    cow_node *copy = take(p);
    memcpy(copy, n, p->node_bytes);
    copy->edit = p->edit;
    return copy;
}

/* ---- Balance: an AVL tree. Nodes that are changed are the writer's own ---- */

static unsigned height_of(const cow_node *n)
{
    return n ? n->height : 0;
}

static void set_height(cow_node *n)
{
    unsigned l = height_of(n->left), r = height_of(n->right);
    n->height = (l > r ? l : r) + 1;
}

static cow_node *turn_right(cow_pool *p, cow_node *n)
{
    cow_node *up = own(p, n->left);
    n->left = up->right;
    up->right = n;
    set_height(n);
    set_height(up);
    return up;
}

static cow_node *turn_left(cow_pool *p, cow_node *n)
{
    cow_node *up = own(p, n->right);
    n->right = up->left;
    up->left = n;
    set_height(n);
    set_height(up);
    return up;
}

static cow_node *balance(cow_pool *p, cow_node *n)
{
    if (height_of(n->left) > height_of(n->right) + 1) {
        n->left = own(p, n->left);
        if (height_of(n->left->left) < height_of(n->left->right))
            n->left = turn_left(p, n->left);
        return turn_right(p, n);
    }
    if (height_of(n->right) > height_of(n->left) + 1) {
        n->right = own(p, n->right);
        if (height_of(n->right->right) < height_of(n->right->left))
            n->right = turn_right(p, n->right);
        return turn_left(p, n);
    }
    set_height(n);
    return n;
}

cow_node *cow_join(cow_pool *p, cow_node *left, cow_node *mid, cow_node *right)
{
    if (height_of(left) > height_of(right) + 1) {
        left = own(p, left);
        left->right = cow_join(p, left->right, mid, right);
        return balance(p, left);
    }
    if (height_of(right) > height_of(left) + 1) {
        right = own(p, right);
        right->left = cow_join(p, left, mid, right->left);
        return balance(p, right);
    }
    mid->left = left;
    mid->right = right;
    set_height(mid);
    return mid;
}

void cow_split(cow_pool *p, cow_node *n, firn_slice key, cow_node **below, cow_node **others)
{
    if (!n) {
        *below = *others = NULL;
        return;
    }
    cow_node *mine = own(p, n), *left = n->left, *right = n->right;
    if (slice_compare(n->key, key) < 0) {
        cow_split(p, right, key, &right, others);
        *below = cow_join(p, left, mine, right);
    } else {
        cow_split(p, left, key, below, &left);
        *others = cow_join(p, left, mine, right);
    }
}

cow_node *cow_pop_first(cow_pool *p, cow_node *n, cow_node **first)
{
    n = own(p, n);
    if (!n->left) {
        *first = n;
        return n->right;
    }
    n->left = cow_pop_first(p, n->left, first);
    return balance(p, n);
}

cow_node *cow_concat(cow_pool *p, cow_node *left, cow_node *right)
{
    cow_node *mid;
    if (!right)
        return left;
    right = cow_pop_first(p, right, &mid);
    return cow_join(p, left, mid, right);
}

/* ---- Asking ---- */

const cow_node *cow_not_above(const cow_node *n, firn_slice key, const cow_node **next)
{
    const cow_node *found = NULL;
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

const cow_node *cow_below(const cow_node *n, firn_slice key)
{
    const cow_node *found = NULL;
    while (n) {
        if (slice_compare(n->key, key) < 0) {
            found = n;
            n = n->right;
        } else {
            n = n->left;
        }
    }
    return found;
}

const cow_node *cow_first(const cow_node *n)
{
    while (n && n->left)
        n = n->left;
    return n;
}

const cow_node *cow_last(const cow_node *n)
{
    while (n && n->right)
        n = n->right;
    return n;
}
