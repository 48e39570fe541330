/* cow_tree: a balanced tree of keys of which older forms stay as they are: a change copies the
 * nodes on its way, but for those that no older form has ("copy on write").
 *
 * A tree is the pointer to its top node; NULL is the empty one. Functions take such pointers and
 * give new ones, so that a pointer that is kept keeps that form. Nodes come from a pool, which
 * several trees may share, and go with it. Between two calls of cow_seal a node is copied once at
 * most: what was made since the last one is changed in place.
 *
 * The user's node begins with a cow_node. (Driscoll, Sarnak, Sleator, Tarjan, "Making data
 * structures persistent"; splits and joins of AVL trees as in Blelloch, Ferizovic, Sun, "Just join
 * for parallel ordered sets".)
 *
 * Invariants
 *   G1  What a sealed tree reaches never changes, and stays until the pool is released.
 *   G3  A change needs no memory but what was reserved.
 * One thread changes trees; any number may look at sealed ones meanwhile.
 */
#ifndef ENGINE_COW_TREE_H
#define ENGINE_COW_TREE_H

#include <firn/types.h>
#include <stdatomic.h>
#include <stdbool.h>

typedef struct cow_node {
    firn_slice key; /* borrowed */
    uint64_t edit;  /* in which it was made: the writer's, as long as that is not sealed */
    struct cow_node *left, *right;
    unsigned height;
} cow_node;

typedef struct cow_chunk cow_chunk;
typedef struct cow_pool {
    size_t node_bytes; /* of the user's nodes: a multiple of 8 */
    uint64_t edit;
    size_t nodes;      /* of all trees, at most */
    size_t free_nodes; /* in the newest chunk */
    cow_chunk *chunks;
    atomic_size_t memory; /* read by all threads */
} cow_pool;

/* All zero, but for node_bytes, is an empty one. */
void cow_pool_release(cow_pool *p); /* makes it that */
/* Memory that is the user's, but goes with the pool. */
void cow_more_memory(cow_pool *p, size_t bytes);
/* Room for so many changes. One takes two nodes and two cow_split, and what joins them, at most.
 * FIRN_NO_MEMORY. */
int cow_reserve(cow_pool *p, size_t changes);
/* All trees stay as they are now. */
static inline void cow_seal(cow_pool *p)
{
    p->edit++;
}

/* A node of its own, without children; what is behind its cow_node is not set. */
cow_node *cow_new(cow_pool *p, firn_slice key);
/* Into the keys below `key`, and the others. */
void cow_split(cow_pool *p, cow_node *n, firn_slice key, cow_node **below, cow_node **others);
/* One tree of all keys of `left`, the node `mid`, which is the writer's own, and all of `right`. */
cow_node *cow_join(cow_pool *p, cow_node *left, cow_node *mid, cow_node *right);
/* The same without a node between them. */
cow_node *cow_concat(cow_pool *p, cow_node *left, cow_node *right);
/* Without its first key, which becomes *first, the writer's own. The tree is not empty. */
cow_node *cow_pop_first(cow_pool *p, cow_node *n, cow_node **first);

/* The last key that is not above `key`; *next: the one behind it. NULL: there is none. */
const cow_node *cow_not_above(const cow_node *n, firn_slice key, const cow_node **next);
/* The last key below it. */
const cow_node *cow_below(const cow_node *n, firn_slice key);
const cow_node *cow_first(const cow_node *n);
const cow_node *cow_last(const cow_node *n);

#endif
