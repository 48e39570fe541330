/* crash_disk: applies recorded changes to the durability model. Start at disk_apply; invariants D1
 * to D4 stand in crash_disk.h. Building a state from a choice is in crash_build.c.
 */
#include "crash_disk.h"
#include <base/hash.h>
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define ORDER_SHIFT      24 /* parts of one change: sectors and sizes */
#define ALTERNATIVES_MAX 60000

static uint32_t sectors_of(uint64_t size)
{
    return (uint32_t)((size + SIM_SECTOR - 1) / SIM_SECTOR);
}

/* ---- Names and nodes ---- */

static uint32_t name_number(disk *d, const char *text)
{
    for (uint32_t i = 0; i < d->name_count; i++) {
        if (strcmp(d->names[i].text, text) == 0)
            return i;
    }
    DISK_ROOM(d->names, d->name_count, d->name_room);
    size_t length = strlen(text);
    assert(length <= FS_NAME_MAX);
    memset(&d->names[d->name_count], 0, sizeof d->names[0]);
    memcpy(d->names[d->name_count].text, text, length);
    uint64_t sum = UINT64_C(0x9e3779b97f4a7c15);
    for (size_t i = 0; i < length; i++)
        sum = (sum ^ (uint8_t)text[i]) * UINT64_C(0x100000001b3);
    d->names[d->name_count].sum = sum;
    return d->name_count++;
}

static disk_node *node_at(disk *d, uint32_t number, bool is_dir)
{
    if (number >= d->node_room) {
        uint32_t room = d->node_room ? d->node_room : 16;
        while (room <= number)
            room *= 2;
        d->nodes = sim_grow(d->nodes, room * sizeof *d->nodes);
        memset(d->nodes + d->node_room, 0, (room - d->node_room) * sizeof *d->nodes);
        d->node_room = room;
    }
    disk_node *n = &d->nodes[number];
    if (!n->there) {
        n->there = true;
        n->is_dir = is_dir;
    }
    return n;
}

static void node_reserve(disk_node *n, uint64_t size)
{
    if (size <= n->room)
        return;
    size_t room = n->room ? n->room : 4 * SIM_SECTOR;
    while (room < size)
        room *= 2;
    uint32_t before = (uint32_t)(n->room / SIM_SECTOR);
    uint32_t after = (uint32_t)(room / SIM_SECTOR);
    n->now = sim_grow(n->now, room);
    n->durable = sim_grow(n->durable, room);
    n->sums = sim_grow(n->sums, after * sizeof *n->sums);
    n->slot_of = sim_grow(n->slot_of, after * sizeof *n->slot_of);
    n->spoiled = sim_grow(n->spoiled, after * sizeof *n->spoiled);
    memset(n->now + n->room, 0, room - n->room);
    memset(n->durable + n->room, 0, room - n->room);
    for (uint32_t i = before; i < after; i++) {
        n->sums[i] = 0;
        n->slot_of[i] = -1;
        n->spoiled[i] = false;
    }
    n->room = room;
}

/* ---- Pending sectors and sizes ---- */

static uint8_t *version_data(disk *d)
{
    uint8_t *data = d->spare;
    if (!data)
        return sim_grow(NULL, SIM_SECTOR);
    memcpy(&d->spare, data, sizeof d->spare);
    return data;
}

static void version_free(disk *d, uint8_t *data)
{
    memcpy(data, &d->spare, sizeof d->spare);
    d->spare = data;
}

static void sector_add(disk *d, disk_node *n, uint32_t index, const uint8_t *data, uint64_t order)
{
    if (n->slot_of[index] < 0) {
        DISK_ROOM(n->sectors, n->sector_count, n->sector_room);
        n->slot_of[index] = (int32_t)n->sector_count;
        n->sectors[n->sector_count++] = (disk_sector){.index = index};
    }
    disk_sector *s = &n->sectors[n->slot_of[index]];
    if (s->count == ALTERNATIVES_MAX)
        sim_die("more than %d unsynced versions of one sector", ALTERNATIVES_MAX);
    DISK_ROOM(s->versions, s->count, s->room);
    disk_version *v = &s->versions[s->count++];
    v->order = order;
    v->lost = n->spoiled[index];
    v->data = version_data(d);
    memcpy(v->data, data, SIM_SECTOR);
    v->sum = disk_sector_sum(data, index);
}

static void size_add(disk_node *n, uint64_t size, uint64_t order)
{
    if (n->size_count == ALTERNATIVES_MAX)
        sim_die("more than %d unsynced sizes of one file", ALTERNATIVES_MAX);
    DISK_ROOM(n->sizes, n->size_count, n->size_room);
    n->sizes[n->size_count++] = (disk_size){order, size, false};
}

static void durable_sector_set(disk_node *n, uint32_t index, const uint8_t *data, uint64_t sum)
{
    memcpy(n->durable + (size_t)index * SIM_SECTOR, data, SIM_SECTOR);
    n->durable_sum += sum - n->sums[index];
    n->sums[index] = sum;
}

static void sector_release(disk *d, disk_sector *s)
{
    for (uint32_t i = 0; i < s->count; i++)
        version_free(d, s->versions[i].data);
    free(s->versions);
}

/* A write under way may be cut inside a mapped sector, because the kernel may write a page back
 * while the process stores into it. Stores of an aligned word are not torn, so the cut is at one.
 */
static void torn_store(disk *d, disk_node *n, const sim_op *op, uint32_t index, uint64_t order)
{
    uint64_t start = (uint64_t)index * SIM_SECTOR;
    uint64_t from = op->offset > start ? op->offset : start;
    uint64_t end = op->offset + op->size;
    uint64_t to = end < start + SIM_SECTOR ? end : start + SIM_SECTOR;
    uint64_t first = from / 8 * 8 + 8;
    if (first >= to)
        return;
    uint64_t words = (to - first + 7) / 8;
    uint64_t cut = first + mix64(d->seed ^ order) % words * 8;
    uint8_t half[SIM_SECTOR];
    memcpy(half, n->now + start, SIM_SECTOR);
    memcpy(half + (from - start), op->data + (from - op->offset), cut - from);
    sector_add(d, n, index, half, order);
}

static void apply_write(disk *d, const sim_op *op, uint64_t order)
{
    disk_node *n = node_at(d, op->node, false);
    uint64_t end = op->offset + op->size;
    node_reserve(n, end);
    uint32_t first = (uint32_t)(op->offset / SIM_SECTOR);
    uint32_t last = (uint32_t)((end - 1) / SIM_SECTOR);
    for (uint32_t i = first; i <= last; i++) {
        uint64_t start = (uint64_t)i * SIM_SECTOR;
        uint64_t from = op->offset > start ? op->offset : start;
        uint64_t to = end < start + SIM_SECTOR ? end : start + SIM_SECTOR;
        if (op->kind == SIM_OP_STORED && (i == first || i == last))
            torn_store(d, n, op, i, order++);
        memcpy(n->now + from, op->data + (from - op->offset), to - from);
        sector_add(d, n, i, n->now + start, order++);
        /* Data before the size that shows it; a long append may end at any sector. */
        if (to > n->now_size) {
            n->now_size = to;
            size_add(n, to, order++);
        }
    }
}

static void apply_resize(disk *d, const sim_op *op, uint64_t order)
{
    disk_node *n = node_at(d, op->node, false);
    uint64_t size = op->offset;
    node_reserve(n, size);
    if (size < n->now_size) {
        uint32_t last = sectors_of(n->now_size);
        memset(n->now + size, 0, n->now_size - size);
        /* Should the file grow again, what was cut off reads as zeros, once that is on disk. */
        for (uint32_t i = (uint32_t)(size / SIM_SECTOR); i < last; i++)
            sector_add(d, n, i, n->now + (size_t)i * SIM_SECTOR, order++);
    }
    n->now_size = size;
    size_add(n, size, order);
}

/* Does a sync of these bytes take the sector along? Of no bytes: of the whole file. */
static bool syncs_sector(const sim_op *op, uint32_t index)
{
    uint64_t start = (uint64_t)index * SIM_SECTOR;
    return op->size == 0 || (start < op->offset + op->size && op->offset < start + SIM_SECTOR);
}

/* A write or sync of these bytes failed: whatever is written to their pages from now on, in this file, is
 * seen by those who read and is never durable, though syncing it succeeds (simfs.h, S7). */
static void spoil(disk_node *n, uint64_t offset, uint64_t size)
{
    uint64_t from = offset / SIM_PAGE * SIM_PAGE;
    uint64_t to = (offset + size + SIM_PAGE - 1) / SIM_PAGE * SIM_PAGE;
    node_reserve(n, to);
    for (uint64_t i = from / SIM_SECTOR; i < to / SIM_SECTOR; i++)
        n->spoiled[i] = true;
}

/* What is spoiled stays optional; everything else that is synced is on disk now. */
static void apply_sync(disk *d, disk_node *n, const sim_op *op)
{
    uint32_t kept = 0;
    uint64_t end = 0;
    for (uint32_t i = 0; i < n->sector_count; i++) {
        disk_sector s = n->sectors[i];
        const disk_version *newest = &s.versions[s.count - 1];
        if (n->spoiled[s.index] || !syncs_sector(op, s.index)) {
            n->slot_of[s.index] = (int32_t)kept;
            n->sectors[kept++] = s;
            continue;
        }
        durable_sector_set(n, s.index, newest->data, newest->sum);
        uint64_t sector_end = (uint64_t)(s.index + 1) * SIM_SECTOR;
        end = sector_end > end ? sector_end : end;
        n->slot_of[s.index] = -1;
        sector_release(d, &s);
    }
    n->sector_count = kept;
    if (n->size_count == 0)
        return;
    if (!n->sizes[n->size_count - 1].lost && op->size == 0) {
        n->durable_size = n->now_size;
        n->size_count = 0;
    } else if (end > n->durable_size) { /* synced bytes are not lost behind the end */
        n->durable_size = end < n->now_size ? end : n->now_size;
    }
}

static void apply_sync_lost(disk_node *n, const sim_op *op)
{
    for (uint32_t i = 0; i < n->sector_count; i++) {
        if (!syncs_sector(op, n->sectors[i].index))
            continue;
        for (uint32_t v = 0; v < n->sectors[i].count; v++)
            n->sectors[i].versions[v].lost = true;
        spoil(n, (uint64_t)n->sectors[i].index * SIM_SECTOR, SIM_SECTOR);
    }
    for (uint32_t i = 0; i < n->size_count && op->size == 0; i++)
        n->sizes[i].lost = true;
}

/* ---- Folders ---- */

static disk_entry *entry_in(disk_entry *entries, uint32_t count, uint32_t name)
{
    for (uint32_t i = 0; i < count; i++) {
        if (entries[i].name == name)
            return &entries[i];
    }
    return NULL;
}

static void entry_put(disk_entry **entries, uint32_t *count, uint32_t *room, disk_entry e)
{
    disk_entry *old = entry_in(*entries, *count, e.name);
    if (old) {
        old->node = e.node;
        return;
    }
    DISK_ROOM(*entries, *count, *room);
    (*entries)[(*count)++] = e;
}

/* One folder change on a list of entries. A change whose name does not mean its file does nothing:
 * the change before it, which would have made it so, did not survive. */
static void change_apply(disk_entry **entries, uint32_t *count, uint32_t *room,
                         const disk_change *c)
{
    if (c->kind == SIM_OP_UNLINK || c->kind == SIM_OP_RENAME) {
        disk_entry *from = entry_in(*entries, *count, c->name);
        if (!from || from->node != c->node)
            return;
        *from = (*entries)[--*count];
        if (c->kind == SIM_OP_RENAME)
            entry_put(entries, count, room, (disk_entry){c->to, c->node});
        return;
    }
    entry_put(entries, count, room, (disk_entry){c->name, c->node});
}

void disk_pick_entries(disk_node *n, const uint16_t *choice)
{
    n->picked_count = 0;
    for (uint32_t i = 0; i < n->entry_count; i++) {
        DISK_ROOM(n->picked, n->picked_count, n->picked_room);
        n->picked[n->picked_count++] = n->entries[i];
    }
    for (uint32_t i = 0; i < n->change_count; i++) {
        if (choice[i])
            change_apply(&n->picked, &n->picked_count, &n->picked_room, &n->changes[i]);
    }
}

static void change_add(disk *d, const sim_op *op, uint64_t order)
{
    bool is_dir = op->kind == SIM_OP_MKDIR;
    node_at(d, op->node, is_dir);
    disk_change c = {.kind = op->kind, .node = op->node, .order = order};
    c.name = name_number(d, op->name);
    c.to = op->to ? name_number(d, op->to) : 0;
    disk_node *dir = node_at(d, op->dir, true);
    DISK_ROOM(dir->changes, dir->change_count, dir->change_room);
    dir->changes[dir->change_count++] = c;
    if (op->kind == SIM_OP_UNLINK)
        d->stale = op->node;
}

static void dir_commit(disk_node *dir)
{
    for (uint32_t i = 0; i < dir->change_count; i++)
        change_apply(&dir->entries, &dir->entry_count, &dir->entry_room, &dir->changes[i]);
    dir->change_count = 0;
}

static void journal_commit(disk *d)
{
    for (uint32_t i = 0; i < d->node_room; i++) {
        for (uint32_t c = 0; c < d->nodes[i].change_count; c++)
            d->nodes[i].changes[c].journaled = true;
    }
}

void disk_apply(disk *d, const sim_op *op)
{
    if (op->kind == SIM_OP_MARK)
        return;
    uint64_t order = ++d->changes << ORDER_SHIFT;
    switch (op->kind) {
    case SIM_OP_WRITE:
    case SIM_OP_STORED:
        apply_write(d, op, order);
        break;
    case SIM_OP_TRUNCATE:
    case SIM_OP_ALLOCATE:
        apply_resize(d, op, order);
        break;
    case SIM_OP_SYNC:
        apply_sync(d, node_at(d, op->node, false), op);
        journal_commit(d);
        break;
    case SIM_OP_SYNC_LOST:
        apply_sync_lost(node_at(d, op->node, false), op);
        break;
    case SIM_OP_WRITE_LOST:
        spoil(node_at(d, op->node, false), op->offset, op->size);
        break;
    case SIM_OP_DIR_SYNC:
        dir_commit(node_at(d, op->node, true));
        journal_commit(d);
        break;
    default:
        change_add(d, op, order);
        break;
    }
}

/* ---- Life ---- */

void disk_init(disk *d, const simfs *base, uint64_t seed)
{
    memset(d, 0, sizeof *d);
    d->seed = seed;
    d->stale = SIM_NO_NODE;
    d->root = base->root->number;
    for (const sim_node *n = base->nodes; n; n = n->next) {
        disk_node *to = node_at(d, n->number, n->is_dir);
        if (n->size > 0) {
            node_reserve(to, n->size);
            memcpy(to->now, n->data, n->size);
            to->now_size = to->durable_size = n->size;
            for (uint32_t i = 0; i < sectors_of(n->size); i++) {
                const uint8_t *data = to->now + (size_t)i * SIM_SECTOR;
                durable_sector_set(to, i, data, disk_sector_sum(data, i));
            }
        }
        for (size_t i = 0; i < n->entry_count; i++) {
            disk_entry e = {name_number(d, n->entries[i].name), n->entries[i].node->number};
            entry_put(&to->entries, &to->entry_count, &to->entry_room, e);
        }
    }
}

void disk_release(disk *d)
{
    for (uint32_t i = 0; i < d->node_room; i++) {
        disk_node *n = &d->nodes[i];
        for (uint32_t s = 0; s < n->sector_count; s++)
            sector_release(d, &n->sectors[s]);
        free(n->now);
        free(n->durable);
        free(n->sums);
        free(n->sectors);
        free(n->slot_of);
        free(n->spoiled);
        free(n->sizes);
        free(n->entries);
        free(n->changes);
        free(n->picked);
    }
    while (d->spare) {
        uint8_t *next;
        memcpy(&next, d->spare, sizeof next);
        free(d->spare);
        d->spare = next;
    }
    free(d->nodes);
    free(d->names);
    free(d->items);
    free(d->events);
    free(d->visits);
    free(d->made);
    memset(d, 0, sizeof *d);
}
