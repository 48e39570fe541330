/* crash_disk: what a disk keeps. It takes recorded changes one by one and knows, at any point, what
 * is durable and what is pending; a choice says which of the pending things made it.
 *
 * Invariants
 *   D1  node.now is what the process sees: durable with every pending change applied in order.
 *   D2  A pending sector holds at least one version, oldest first; versions are whole sectors.
 *   D3  An item with n alternatives is chosen by 0 (as last synced) to n (1 is the oldest version).
 *   D4  Items are made in the order of nodes and then sectors, so the same recording and point give
 * the same items: a choice can be written down and used again.
 */
#ifndef SUPPORT_CRASH_DISK_H
#define SUPPORT_CRASH_DISK_H

#include "simfs_inside.h"

typedef struct disk_version {
    uint64_t order; /* of the change, and the part of it */
    uint8_t *data;  /* SIM_SECTOR bytes */
    uint64_t sum;
    bool
        lost; /* stays optional whatever is synced later: behind a failed sync, or in a spoiled page */
} disk_version;

typedef struct disk_sector {
    uint32_t index;
    uint32_t count;
    uint32_t room;
    disk_version *versions;
} disk_sector;

typedef struct disk_size {
    uint64_t order;
    uint64_t size;
    bool lost;
} disk_size;

typedef struct disk_entry {
    uint32_t name; /* number of an interned name */
    uint32_t node;
} disk_entry;

typedef struct disk_change { /* of a folder */
    sim_op_kind kind;
    uint32_t name;
    uint32_t to;
    uint32_t node;
    uint64_t order;
    bool journaled; /* something was synced since: CRASH_ORDERED keeps it */
} disk_change;

typedef struct disk_node {
    bool there; /* the number is in use */
    bool is_dir;
    bool may_appear; /* some choice has a name for it; computed by disk_items */
    /* a file; `now` and `durable` have `room` bytes, zero behind their sizes */
    uint8_t *now;
    uint8_t *durable;
    uint64_t now_size;
    uint64_t durable_size;
    size_t room;
    uint64_t *sums;       /* of each durable sector */
    uint64_t durable_sum; /* of them all */
    disk_sector *sectors; /* pending */
    uint32_t sector_count;
    uint32_t sector_room;
    int32_t *slot_of; /* sector -> its place in `sectors`, or -1 */
    bool *spoiled; /* of each sector: a write or sync of its page failed, so no later one counts */
    disk_size *sizes; /* pending */
    uint32_t size_count;
    uint32_t size_room;
    uint32_t first_item; /* of the last disk_items: size, fill, sectors in order */
    int32_t size_item;   /* or -1 */
    int32_t fill_item;   /* or -1 */
    /* a folder */
    disk_entry *entries; /* durable */
    uint32_t entry_count;
    uint32_t entry_room;
    disk_change *changes; /* pending */
    uint32_t change_count;
    uint32_t change_room;
    disk_entry *picked; /* scratch of disk_pick */
    uint32_t picked_count;
    uint32_t picked_room;
} disk_node;

typedef enum disk_item_kind {
    DISK_SECTOR,
    DISK_SIZE,
    DISK_FILL, /* 0 zeros, 1 garbage, 2 bytes of a removed file */
    DISK_CHANGE,
} disk_item_kind;

typedef struct disk_item {
    disk_item_kind kind;
    uint32_t node;
    uint32_t at; /* place in the node's sectors or changes */
    uint16_t alternatives;
} disk_item;

typedef struct disk_event { /* one alternative of one item, in time order */
    uint64_t order;
    uint32_t item;
    uint16_t alternative;
    bool forced; /* kept by CRASH_ORDERED in any case */
    bool lost;   /* never kept by CRASH_ORDERED */
} disk_event;

typedef struct disk {
    disk_node *nodes;
    uint32_t node_room;
    uint32_t root;
    uint32_t stale;   /* the last removed file, or SIM_NO_NODE */
    uint64_t changes; /* applied so far */
    uint64_t seed;
    struct disk_name {
        char text[FS_NAME_MAX + 1];
        uint64_t sum;
    } * names;
    uint32_t name_count;
    uint32_t name_room;
    uint8_t *spare; /* freed versions, linked through their first bytes */
    disk_item *items;
    uint32_t item_count;
    uint32_t item_room;
    disk_event *events;
    uint32_t event_count;
    uint32_t event_room;
    struct disk_visit { /* scratch: folders to visit */
        uint32_t node;
        uint64_t sum;
    } * visits;
    uint32_t visit_room;
    sim_node **made; /* scratch of disk_build: by number */
    uint32_t made_room;
} disk;

/* Starts with what `base` holds, all of it durable. */
void disk_init(disk *d, const simfs *base, uint64_t seed);
void disk_release(disk *d);
void disk_apply(disk *d, const sim_op *op);

/* The names of a folder under a choice of its pending changes (not 0: it happened), in n->picked.
 */
void disk_pick_entries(disk_node *n, const uint16_t *choice);

/* Computes items and events for this point. */
void disk_items(disk *d);

/* The state that a choice means (one number an item): its hash, and the file system itself. */
uint64_t disk_hash(disk *d, const uint16_t *choice);
simfs *disk_build(disk *d, const uint16_t *choice);

/* crash_build.c: the checksum of a sector as part of a file; zeros count nothing. */
uint64_t disk_sector_sum(const uint8_t *data, uint32_t index);

/* Grows an array to hold one more element. */
#define DISK_ROOM(array, count, room)                                                              \
    do {                                                                                           \
        if ((count) == (room)) {                                                                   \
            (room) = (room) ? (room)*2 : 8;                                                        \
            (array) = sim_grow((array), (size_t)(room) * sizeof *(array));                         \
        }                                                                                          \
    } while (0)

#endif
