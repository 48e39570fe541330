/* crash_build: from a point of the durability model to states. disk_items lists what is undecided,
 * disk_hash says what a choice would look like without building it, disk_build builds it.
 *
 * The hash of a file is a sum over its sectors, so that a choice costs what is pending and not what
 * is stored. Equal states have equal hashes; different ones differ but for chance (64 bits).
 */
#include "crash_disk.h"
#include <base/hash.h>
#include <assert.h>
#include <stdlib.h>
#include <string.h>

static uint32_t sectors_of(uint64_t size)
{
    return (uint32_t)((size + SIM_SECTOR - 1) / SIM_SECTOR);
}

uint64_t disk_sector_sum(const uint8_t *data, uint32_t index)
{
    static const uint8_t zeros[SIM_SECTOR];
    if (memcmp(data, zeros, SIM_SECTOR) == 0)
        return 0;
    return hash64(data, SIM_SECTOR, index);
}

/* ---- What is undecided ---- */

static uint32_t item_add(disk *d, disk_item_kind kind, uint32_t node, uint32_t at, uint32_t count)
{
    DISK_ROOM(d->items, d->item_count, d->item_room);
    d->items[d->item_count] = (disk_item){kind, node, at, (uint16_t)count};
    return d->item_count++;
}

static void event_add(disk *d, disk_event e)
{
    DISK_ROOM(d->events, d->event_count, d->event_room);
    d->events[d->event_count++] = e;
}

static void items_of_file(disk *d, uint32_t number)
{
    disk_node *n = &d->nodes[number];
    uint64_t largest = 0;
    if (n->size_count > 0) {
        n->size_item = (int32_t)item_add(d, DISK_SIZE, number, 0, n->size_count);
        for (uint32_t i = 0; i < n->size_count; i++) {
            largest = n->sizes[i].size > largest ? n->sizes[i].size : largest;
            event_add(d, (disk_event){.order = n->sizes[i].order,
                                      .item = (uint32_t)n->size_item,
                                      .alternative = (uint16_t)(i + 1),
                                      .lost = n->sizes[i].lost});
        }
    }
    if (sectors_of(largest) > sectors_of(n->durable_size)) {
        bool stale = d->stale != SIM_NO_NODE && d->stale != number;
        n->fill_item = (int32_t)item_add(d, DISK_FILL, number, 0, stale ? 2 : 1);
    }
    n->first_item = d->item_count;
    for (uint32_t i = 0; i < n->sector_count; i++) {
        const disk_sector *s = &n->sectors[i];
        uint32_t item = item_add(d, DISK_SECTOR, number, i, s->count);
        for (uint32_t v = 0; v < s->count; v++)
            event_add(d, (disk_event){.order = s->versions[v].order,
                                      .item = item,
                                      .alternative = (uint16_t)(v + 1),
                                      .lost = s->versions[v].lost});
    }
}

static void items_of_folder(disk *d, uint32_t number)
{
    disk_node *n = &d->nodes[number];
    n->first_item = d->item_count;
    for (uint32_t i = 0; i < n->change_count; i++) {
        uint32_t item = item_add(d, DISK_CHANGE, number, i, 1);
        event_add(d, (disk_event){.order = n->changes[i].order,
                                  .item = item,
                                  .alternative = 1,
                                  .forced = n->changes[i].journaled});
    }
}

static int by_order(const void *a, const void *b)
{
    uint64_t x = ((const disk_event *)a)->order;
    uint64_t y = ((const disk_event *)b)->order;
    return (x > y) - (x < y);
}

void disk_items(disk *d)
{
    d->item_count = 0;
    d->event_count = 0;
    for (uint32_t i = 0; i < d->node_room; i++) {
        d->nodes[i].may_appear = i == d->root;
        d->nodes[i].size_item = d->nodes[i].fill_item = -1;
    }
    for (uint32_t i = 0; i < d->node_room; i++) {
        const disk_node *n = &d->nodes[i];
        for (uint32_t e = 0; e < n->entry_count; e++)
            d->nodes[n->entries[e].node].may_appear = true;
        for (uint32_t c = 0; c < n->change_count; c++) {
            if (n->changes[c].kind != SIM_OP_UNLINK)
                d->nodes[n->changes[c].node].may_appear = true;
        }
    }
    for (uint32_t i = 0; i < d->node_room; i++) {
        if (!d->nodes[i].may_appear)
            continue;
        if (d->nodes[i].is_dir)
            items_of_folder(d, i);
        else
            items_of_file(d, i);
    }
    if (d->event_count)
        qsort(d->events, d->event_count, sizeof *d->events, by_order);
}

/* ---- What a choice looks like ---- */

static uint64_t chosen_size(const disk_node *n, const uint16_t *choice)
{
    uint16_t c = n->size_item >= 0 ? choice[n->size_item] : 0;
    return c ? n->sizes[c - 1].size : n->durable_size;
}

/* Does a sector of the grown part show what lay on the disk before? */
static bool shows_fill(const disk_node *n, const uint16_t *choice, uint32_t index)
{
    int32_t slot = n->slot_of[index];
    return slot < 0 || choice[n->first_item + (uint32_t)slot] == 0;
}

static uint64_t file_sum(const disk *d, const disk_node *n, const uint16_t *choice)
{
    uint64_t size = chosen_size(n, choice);
    uint64_t sum = n->durable_sum;
    uint32_t count = sectors_of(size);
    uint32_t durable_count = sectors_of(n->durable_size);
    for (uint32_t i = count; i < durable_count; i++)
        sum -= n->sums[i];
    for (uint32_t i = 0; i < n->sector_count; i++) {
        uint16_t c = choice[n->first_item + i];
        const disk_sector *s = &n->sectors[i];
        if (c && s->index < count)
            sum += s->versions[c - 1].sum - (s->index < durable_count ? n->sums[s->index] : 0);
    }
    uint16_t fill = n->fill_item >= 0 ? choice[n->fill_item] : 0;
    uint64_t source = fill == 2 ? d->stale : (uint64_t)(n - d->nodes);
    for (uint32_t i = durable_count; fill && i < count; i++) {
        if (shows_fill(n, choice, i))
            sum += mix64((uint64_t)fill << 60 ^ source << 32 ^ i) | 1;
    }
    return mix64(sum + mix64(size + UINT64_C(0x9e3779b97f4a7c15)));
}

static void visit_add(disk *d, uint32_t *count, uint32_t node, uint64_t sum)
{
    DISK_ROOM(d->visits, *count, d->visit_room);
    d->visits[(*count)++] = (struct disk_visit){node, sum};
}

uint64_t disk_hash(disk *d, const uint16_t *choice)
{
    uint64_t total = 0;
    uint32_t count = 0;
    visit_add(d, &count, d->root, 1);
    for (uint32_t v = 0; v < count; v++) { /* grows while it runs */
        struct disk_visit at = d->visits[v];
        disk_node *dir = &d->nodes[at.node];
        disk_pick_entries(dir, choice + dir->first_item);
        for (uint32_t i = 0; i < dir->picked_count; i++) {
            disk_entry e = dir->picked[i];
            uint64_t path = mix64(at.sum ^ d->names[e.name].sum);
            if (d->nodes[e.node].is_dir)
                visit_add(d, &count, e.node, path);
            else
                path += file_sum(d, &d->nodes[e.node], choice);
            total += mix64(path);
        }
    }
    return mix64(total);
}

/* ---- Building it ---- */

static void fill_sector(const disk *d, const disk_node *n, uint32_t index, uint16_t fill,
                        uint8_t out[SIM_SECTOR])
{
    memset(out, 0, SIM_SECTOR);
    if (fill == 2) {
        const disk_node *old = &d->nodes[d->stale];
        if ((size_t)(index + 1) * SIM_SECTOR <= old->room)
            memcpy(out, old->now + (size_t)index * SIM_SECTOR, SIM_SECTOR);
        return;
    }
    rng r = rng_init(d->seed ^ mix64((uint64_t)(n - d->nodes) << 32 | index));
    rng_fill(&r, out, SIM_SECTOR);
}

static void build_content(const disk *d, const disk_node *n, const uint16_t *choice, sim_node *to)
{
    uint64_t size = chosen_size(n, choice);
    uint32_t count = sectors_of(size);
    size_t room = (size_t)count * SIM_SECTOR;
    if (size == 0)
        return;
    sim_node_reserve(to, room);
    memcpy(to->data, n->durable, size < n->durable_size ? size : n->durable_size);
    for (uint32_t i = 0; i < n->sector_count; i++) {
        uint16_t c = choice[n->first_item + i];
        const disk_sector *s = &n->sectors[i];
        if (c && s->index < count)
            memcpy(to->data + (size_t)s->index * SIM_SECTOR, s->versions[c - 1].data, SIM_SECTOR);
    }
    uint16_t fill = n->fill_item >= 0 ? choice[n->fill_item] : 0;
    for (uint32_t i = sectors_of(n->durable_size); fill && i < count; i++) {
        if (shows_fill(n, choice, i))
            fill_sector(d, n, i, fill, to->data + (size_t)i * SIM_SECTOR);
    }
    memset(to->data + size, 0, room - size);
    to->size = size;
    to->touched = (size_t)size;
    to->charged = size;
    sim_region_fence(to->data, to->room, size);
}

simfs *disk_build(disk *d, const uint16_t *choice)
{
    simfs *s = simfs_new(d->seed ^ d->changes);
    assert(s->root->number == d->root);
    /* A crash of what goes on from here knows the nodes that are gone, too: their numbers are taken. */
    for (uint32_t i = 0; i < d->node_room; i++)
        if (d->nodes[i].there && s->next_number <= i)
            s->next_number = i + 1;
    if (d->made_room < d->node_room) {
        d->made_room = d->node_room;
        d->made = sim_grow(d->made, d->made_room * sizeof(sim_node *));
    }
    memset(d->made, 0, d->node_room * sizeof(sim_node *));
    d->made[d->root] = s->root;
    uint32_t count = 0;
    visit_add(d, &count, d->root, 0);
    for (uint32_t v = 0; v < count; v++) { /* grows while it runs */
        uint32_t number = d->visits[v].node;
        disk_node *dir = &d->nodes[number];
        disk_pick_entries(dir, choice + dir->first_item);
        for (uint32_t i = 0; i < dir->picked_count; i++) {
            disk_entry e = dir->picked[i];
            disk_node *n = &d->nodes[e.node];
            sim_node **made = &d->made[e.node];
            if (!*made) {
                *made = sim_node_new(s, n->is_dir, e.node);
                if (n->is_dir)
                    visit_add(d, &count, e.node, 0);
                else
                    build_content(d, n, choice, *made);
                s->used += (*made)->charged;
            }
            sim_name_set(s, d->made[number], d->names[e.name].text, *made);
        }
    }
    return s;
}
