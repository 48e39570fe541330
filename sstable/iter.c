/* iter: walks a table both ways (base/iter.h). Start with place().
 *
 * The key is put together in the iterator's own buffer: the block's prefix once per block, an
 * entry's suffix once per step. The value lies in the block, which the iterator holds.
 *
 * With SST_FILL the blocks come as for a get, and of a mapped table from the mapping. Else windows
 * of whole blocks are read into a private buffer, from which each block is unpacked, past the
 * cache: for SST_PASS beside what the cache has, as long as there is room for so many windows, and
 * for SST_WORK without a look at it (C6).
 *
 * A merge touches each page of a mapping once, and bringing a page into the address space costs
 * more than copying it, most of all in a virtual machine. So with SST_WORK a mapped table is read
 * by windows too, where memory is not scarce; and a block that is stored as it is lies in the
 * window while it is held.
 *
 * What comes next in the file is asked for ahead: with SST_FILL once the walk has gone on for a few
 * blocks, since most are short, else at once. Verified blocks of a mapped table are no
 * exception: their pages may have left the memory since.
 *
 * Whether the table is read in place is asked for each block, since that may change at any time.
 *
 * Invariants
 *   N1  base.valid: `ref` holds block `block`, `b` views it, base shows its entry `at`, and
 *       `behind` is where that entry's body ends in it, which is where the next one begins (B1).
 *   N2  the window holds whole blocks [window_first, window_end) as they are stored. Nothing is
 *       read into it while `ref` lies there.
 *   N3  what the bounds allow lies in blocks [block_first, block_end), and of the held block in
 *       entries [from, to). So a step compares no keys with the bounds. Versions newer than seq_max
 *       are stepped over inside of a block; between two blocks the index leads past all of one key.
 */
#include "reader.h"

#include <assert.h>
#include <base/alloc.h>
#include <base/error.h>
#include <base/iter.h>

enum {
    WINDOW_BYTES = 256 << 10, /* what is read, or asked for, at a time */
    WINDOW_BYTES_MIN = 32 << 10,
    WINDOW_BYTES_LEAST = 64 << 10,
    WINDOW_MEMORY_SHARE = 256, /* of the budget, at most this part for one window */
    WINDOW_MEMORY_MIN = WINDOW_MEMORY_SHARE * WINDOW_BYTES_LEAST, /* less is scarce */
    WALK_BLOCKS_MIN = 2, /* movements to the next block, after which more are expected */
};

typedef struct table_iter {
    iter base;
    sst_reader *r;
    sst_part *part; /* the index, pinned since the first movement */
    const sst_index *ix;
    sst_block_ref ref;
    sst_block b;
    uint32_t block, at;
    uint32_t behind;
    /* The limits (N3). */
    uint64_t seq_max;
    uint32_t block_first, block_end; /* the blocks in which the bounds leave something */
    uint32_t from, to;               /* of the held block, the entries that they leave */
    bool measured;                   /* the two above are known */
    bool large;                      /* `ref` is one that defer may let go of */
    sst_use use;
    bool backward;   /* the way the last movement between blocks went */
    uint8_t *window; /* pages: window_room bytes, charged; NULL: not needed yet */
    size_t window_room;
    uint32_t window_first, window_end;
    /* Of the mapping, by this iterator: what is ready, and what was asked for and lies ahead. */
    uint64_t populated_from, populated_to;
    uint64_t asked;        /* the far end */
    uint32_t window_bytes; /* of the next request */
    uint32_t walked;       /* blocks, without a jump or a turn */
    bool asked_backward;
    uint8_t key[]; /* key_bytes_max, and 16 so that copies may overshoot */
} table_iter;

static table_iter *self(iter *it)
{
    return (table_iter *)it;
}

static void leave(table_iter *t)
{
    t->base.valid = t->base.deferred = false;
    sst_block_unref(&t->ref);
}

static void fail(table_iter *t, int rc)
{
    leave(t);
    t->base.status = rc;
}

/* The block at hand is not what it was (B4). Always false. */
static bool fail_changed(table_iter *t)
{
    fail(t, sst_reader_changed(t->r, t->ix->offsets[t->block], t->base.error));
    return false;
}

/* ---- Getting a block ---- */

static void window_release(table_iter *t)
{
    if (t->window && t->use != SST_WORK)
        sst_cache_give_window(t->r->cache, t->window_room);
    budget_release(sst_cache_budget(t->r->cache), BUDGET_SCRATCH, t->window_room);
    pages_free(t->window, t->window_room);
    t->window = NULL;
    t->window_room = 0;
}

/* Room for what one read may bring, if there is none yet: less where memory is short, and no more
 * than there is data. None when other scans have all that there is for them: then no block fits,
 * and each is read alone. */
static int window_begin(table_iter *t, firn_error *err)
{
    if (t->window)
        return FIRN_OK;
    memory_budget *b = sst_cache_budget(t->r->cache);
    uint64_t room = b->limit / WINDOW_MEMORY_SHARE;
    room = room < WINDOW_BYTES_LEAST ? WINDOW_BYTES_LEAST : room;
    room = room > WINDOW_BYTES ? WINDOW_BYTES : room;
    if (room > t->ix->offsets[t->ix->count])
        room = t->ix->offsets[t->ix->count];
    if (t->use != SST_WORK && !sst_cache_take_window(t->r->cache, room))
        return FIRN_OK;
    t->window = pages_alloc((size_t)room);
    if (!t->window) {
        if (t->use != SST_WORK)
            sst_cache_give_window(t->r->cache, room);
        return error_no_memory(err);
    }
    t->window_room = (size_t)room;
    budget_charge(b, BUDGET_SCRATCH, t->window_room);
    return FIRN_OK;
}

/* Reads the whole blocks [first, end) as they are stored; they fit. */
static int window_read(table_iter *t, uint32_t first, uint32_t end, firn_error *err)
{
    const sst_index *ix = t->ix;
    size_t size = (size_t)(ix->offsets[end] - ix->offsets[first]);
    t->window_first = t->window_end = 0;
    int rc = fs_read(t->r->file, t->window, size, ix->offsets[first], err);
    if (rc != FIRN_OK)
        return rc;
    t->window_first = first;
    t->window_end = end;
    return FIRN_OK;
}

/* Asks for the window that comes behind [first, end) on the way. */
static void ask_for_window(table_iter *t, uint32_t first, uint32_t end)
{
    const sst_index *ix = t->ix;
    uint64_t from = t->backward ? 0 : ix->offsets[end];
    uint64_t to = t->backward ? ix->offsets[first] : ix->offsets[ix->count];
    uint64_t size = to - from < t->window_room ? to - from : t->window_room;
    if (size > 0)
        fs_read_ahead(t->r->file, t->backward ? to - size : from, (size_t)size);
}

/* The window around i, in the direction of travel. */
static int window_load(table_iter *t, uint32_t i, firn_error *err)
{
    const sst_index *ix = t->ix;
    uint32_t first = i;
    uint32_t end = i + 1;
    if (t->backward) {
        while (first > 0 && ix->offsets[end] - ix->offsets[first - 1] <= t->window_room)
            first--;
    } else {
        while (end < ix->count && ix->offsets[end + 1] - ix->offsets[first] <= t->window_room)
            end++;
    }
    /* What lies ahead may be unreadable; that concerns us only when we get there. */
    bool alone = end - first == 1;
    int rc = window_read(t, first, end, alone ? err : NULL);
    if (rc == FIRN_OK)
        ask_for_window(t, first, end);
    else if (!alone)
        rc = window_read(t, i, i + 1, err);
    return rc;
}

/* Is there a window that block i fits into? */
static bool window_holds(const table_iter *t, uint32_t i)
{
    return t->ix->offsets[i + 1] - t->ix->offsets[i] <= t->window_room;
}

/* Brings block i, which fits, into the window. */
static int window_bring(table_iter *t, uint32_t i, firn_error *err)
{
    return i >= t->window_first && i < t->window_end ? FIRN_OK : window_load(t, i, err);
}

/* Block i, by way of the window: a reader's is unpacked, and a large one is shared with others that
 * have it, like what a get holds. */
static int window_block(table_iter *t, uint32_t i, sst_block_ref *out)
{
    const sst_wanted w = {t->ix, i, t->use};
    sst_cached *e;
    int rc = window_bring(t, i, t->base.error);
    if (rc != FIRN_OK)
        return rc;
    const uint64_t *offsets = t->ix->offsets;
    const uint8_t *stored = t->window + (offsets[i] - offsets[t->window_first]);
    rc = FIRN_NOT_FOUND;
    if (t->use == SST_WORK)
        rc = sst_reader_stored(t->r, &w, stored, out, t->base.error);
    if (rc != FIRN_NOT_FOUND)
        return rc;
    rc = sst_reader_unpack(t->r, &w, stored, &e, t->base.error);
    if (rc == FIRN_OK && t->use != SST_WORK && sst_cached_is_large(e))
        e = sst_cache_insert(e, false);
    if (rc == FIRN_OK)
        *out = (sst_block_ref){e->data, e, e->size};
    return rc;
}

static int block_by_window(table_iter *t, uint32_t i)
{
    sst_load load;
    bool shares = t->use != SST_WORK;
    int rc = window_begin(t, t->base.error);
    if (rc != FIRN_OK)
        return rc;
    if (!window_holds(t, i))
        return sst_reader_cache_block(t->r, &(sst_wanted){t->ix, i, t->use}, &t->ref,
                                      t->base.error);
    sst_cached *e = shares ? sst_cache_begin(t->r->cache, t->r->owner, i, &load) : NULL;
    if (e) {
        t->ref = (sst_block_ref){e->data, e, e->size};
    } else {
        rc = window_block(t, i, &t->ref);
        if (shares)
            sst_cache_end(&load);
    }
    return rc;
}

/* Brings the window of a mapped table to block i. False: block i is read in place. So a mapping is
 * good for as long as it is there, whatever has become of the file's name or of the descriptors. */
static bool mapped_by_window(table_iter *t, uint32_t i)
{
    if (t->use != SST_WORK || sst_cache_budget(t->r->cache)->limit < WINDOW_MEMORY_MIN)
        return false;
    return window_begin(t, NULL) == FIRN_OK && window_holds(t, i) &&
           window_bring(t, i, NULL) == FIRN_OK;
}

/* ---- Reading ahead ---- */

/* Notes that the walk has come to block i, and asks for the pages that come next on the way when
 * those that were asked for before are half used up. The first request is small, the later ones
 * larger: how far a walk will go shows in how far it has gone. */
static void ask_ahead(table_iter *t, uint32_t i, bool in_place)
{
    const uint64_t *offsets = t->ix->offsets;
    uint64_t edge = t->backward ? offsets[i] : offsets[i + 1];
    bool walks = t->backward ? i + 1 == t->block : i == t->block + 1;
    if (!walks || t->asked_backward != t->backward) {
        t->walked = 0;
        t->window_bytes = t->use == SST_FILL ? WINDOW_BYTES_MIN : WINDOW_BYTES;
        t->asked = edge;
        t->asked_backward = t->backward;
    }
    if (t->backward ? t->asked > edge : t->asked < edge)
        t->asked = edge;
    uint64_t left = t->backward ? edge - t->asked : t->asked - edge;
    uint64_t more = t->backward ? t->asked : offsets[t->ix->count] - t->asked;
    if ((t->walked++ < WALK_BLOCKS_MIN && t->use == SST_FILL) || left > t->window_bytes / 2 ||
        more == 0)
        return;
    if (more > t->window_bytes)
        more = t->window_bytes;
    uint64_t from = t->backward ? t->asked - more : t->asked;
    t->asked = t->backward ? from : from + more;
    if (in_place)
        fs_advise(t->r->file, t->r->map + from, (size_t)more, FS_ADVICE_WILL_NEED);
    else
        fs_read_ahead(t->r->file, from, (size_t)more);
    if (t->window_bytes < WINDOW_BYTES)
        t->window_bytes *= 2;
}

/* Block i of a mapped table, which has not been found right yet, together with what was asked for
 * behind it: one call for many blocks. When that fails, the block is tried alone: what lies ahead
 * concerns us only when we get there. */
static int block_mapped(table_iter *t, uint32_t i)
{
    const uint64_t *offsets = t->ix->offsets;
    bool ready = t->populated_from <= offsets[i] && offsets[i + 1] <= t->populated_to;
    if (!ready) {
        uint64_t from = t->backward ? t->asked : offsets[i];
        uint64_t to = t->backward ? offsets[i + 1] : t->asked;
        ready = sst_reader_populate(t->r, from, to - from, NULL) == FIRN_OK;
        if (ready) {
            t->populated_from = from;
            t->populated_to = to;
        }
    }
    return sst_reader_map_block(t->r, t->ix, i, ready, t->base.error);
}

/* What the bounds leave of the block that has just been entered: only the outermost two are cut.
 * False when the block is not what it was (B4). */
static bool narrow(table_iter *t)
{
    const iter_limits *l = t->base.limits;
    if (l->lower.data && t->block == t->block_first)
        t->from = sst_block_seek(&t->b, l->lower, FIRN_MAX_SEQ);
    if (l->upper.data && t->block + 1 == t->block_end)
        t->to = sst_block_seek(&t->b, l->upper, FIRN_MAX_SEQ);
    return t->from != SST_BLOCK_CHANGED && t->to != SST_BLOCK_CHANGED;
}

/* Holds block i and starts the key with its prefix. */
static bool block_enter(table_iter *t, uint32_t i)
{
    int rc = iter_is_cancelled(&t->base) ? error_cancelled(t->base.error) : FIRN_OK;
    if (rc != FIRN_OK) {
        fail(t, rc);
        return false;
    }
    sst_block_unref(&t->ref);
    t->backward = i < t->block;
    bool in_place = sst_reader_in_place(t->r);
    if (in_place ? mapped_by_window(t, i) : t->use != SST_FILL) {
        rc = block_by_window(t, i);
    } else {
        ask_ahead(t, i, in_place);
        if (in_place && !sst_reader_verified(t->r, i))
            rc = block_mapped(t, i);
        if (rc == FIRN_OK)
            rc = sst_reader_block(t->r, &(sst_wanted){t->ix, i, t->use}, &t->ref, t->base.error);
    }
    if (rc != FIRN_OK) {
        fail(t, rc);
        return false;
    }
    t->block = i;
    t->large = t->base.lazy && t->ref.pin && sst_cached_is_large(t->ref.pin);
    if (!sst_block_again(t->ref.data, t->ref.size, &t->b) ||
        t->b.prefix_size > t->r->props.key_bytes_max)
        return fail_changed(t);
    t->from = 0;
    t->to = t->b.count;
    if (t->base.limits && !narrow(t))
        return fail_changed(t);
    if (t->b.prefix_size)
        memcpy(t->key, t->b.prefix, t->b.prefix_size);
    return true;
}

/* ---- Showing an entry ---- */

/* Behind it `valid` tells whether the entry is still one (B4). */
static inline void show(table_iter *t, uint32_t body)
{
    sst_block_entry e;
    if (!sst_block_entry_at(&t->b, body, &e) ||
        t->b.prefix_size + e.suffix_size > t->r->props.key_bytes_max) {
        fail_changed(t);
        return;
    }
    uint8_t *to = t->key + t->b.prefix_size;
    /* Most suffixes are short, and the block's end is far: two fixed copies instead of a call. */
    if (e.suffix_size <= 16 && t->b.data + t->b.size - e.suffix >= 16) {
        uint64_t low, high;
        memcpy(&low, e.suffix, 8);
        memcpy(&high, e.suffix + 8, 8);
        memcpy(to, &low, 8);
        memcpy(to + 8, &high, 8);
    } else if (e.suffix_size) {
        memcpy(to, e.suffix, e.suffix_size);
    }
    t->behind = (uint32_t)(e.value + e.value_size - t->b.data);
    t->base.key = (firn_slice){t->key, t->b.prefix_size + e.suffix_size};
    t->base.value = (firn_slice){e.value, e.value_size};
    t->base.seq = e.seq;
    t->base.kind = e.kind;
    t->base.valid = true;
    t->base.deferred = false;
}

/* Lets go of a large block, if blocks take more than all memory that the store may use; for its own
 * work, with those of all its work. fetch unpacks it again. */
static void defer_large(table_iter *t)
{
    const memory_budget *b = sst_cache_budget(t->r->cache);
    if (!t->base.valid)
        return;
    uint64_t outside = t->use == SST_WORK ? sst_cache_outside(t->r->cache) : 0;
    if (budget_held(b, BUDGET_BLOCKS) + outside <= b->limit)
        return;
    sst_block_unref(&t->ref);
    t->base.value.data = NULL;
    t->base.deferred = true;
}

/* Behind each movement. */
static inline void defer(table_iter *t)
{
    if (t->large)
        defer_large(t);
}

/* Before another entry of the block is shown: holds it again, if defer let go of it. */
static bool hold(table_iter *t)
{
    return !t->base.deferred || block_enter(t, t->block);
}

static void show_at(table_iter *t, uint32_t at)
{
    t->at = at;
    show(t, sst_block_slot(&t->b, at));
}

static void table_fetch(iter *it)
{
    table_iter *t = self(it);
    if (block_enter(t, t->block))
        show_at(t, t->at);
}

/* ---- Movements ---- */

/* Where the limits begin and end in this table. */
static void measure(table_iter *t)
{
    const iter_limits *l = t->base.limits;
    const sst_index *ix = t->ix;
    t->measured = true;
    t->seq_max = l ? l->seq_max : FIRN_MAX_SEQ;
    t->block_first = l && l->lower.data ? sst_index_find(ix, l->lower, FIRN_MAX_SEQ) : 0;
    t->block_end = ix->count;
    if (l && l->upper.data) {
        uint32_t last = sst_index_find(ix, l->upper, FIRN_MAX_SEQ);
        t->block_end = last < ix->count ? last + 1 : ix->count;
    }
}

/* Pins the index. False: it cannot be had. */
static bool take_index(table_iter *t)
{
    int rc = sst_reader_index(t->r, &t->part, t->base.error);
    if (rc != FIRN_OK) {
        fail(t, rc);
        return false;
    }
    t->ix = &t->part->index;
    sst_cache_ask_trim(t->r->cache);
    return true;
}

/* False: the limits leave nothing of the table, or the index cannot be had. */
static bool restart(table_iter *t)
{
    t->base.valid = t->base.deferred = false;
    t->base.status = FIRN_OK;
    if (!t->ix && !take_index(t))
        return false;
    if (!t->measured)
        measure(t);
    if (t->block_first < t->block_end)
        return true;
    leave(t);
    return false;
}

/* Shows the first entry from `at` of the held block on that is not too new. */
static void go_forward(table_iter *t, uint32_t at)
{
    for (;;) {
        bool passed = false; /* the key is that of the block's last entry, which is too new */
        if (t->b.seq_base > t->seq_max && at < t->to)
            at = t->to - 1; /* all of the block is */
        for (; at < t->to; at++) {
            show_at(t, at);
            if (!t->base.valid || t->base.seq <= t->seq_max) {
                defer(t);
                return;
            }
            passed = true;
        }
        uint32_t next = t->block + 1;
        if (passed && next < t->block_end) {
            uint32_t behind = sst_index_find(t->ix, t->base.key, t->seq_max);
            next = behind > next ? behind : next;
        }
        if (next >= t->block_end) {
            leave(t);
            return;
        }
        if (!block_enter(t, next))
            return;
        at = t->from;
    }
}

/* Shows the last entry in front of `at` of the held block that is not too new. */
static void go_backward(table_iter *t, uint32_t at)
{
    for (;;) {
        bool passed = false; /* the key is that of the block's first entry, which is too new */
        if (t->b.seq_base > t->seq_max && at > t->from)
            at = t->from + 1;
        while (at > t->from) {
            show_at(t, --at);
            if (!t->base.valid || t->base.seq <= t->seq_max) {
                defer(t);
                return;
            }
            passed = true;
        }
        if (t->block <= t->block_first) {
            leave(t);
            return;
        }
        uint32_t before = t->block - 1;
        if (passed) {
            /* What is newer than the first entry is too new as well. */
            uint32_t begins = sst_index_find(t->ix, t->base.key, FIRN_MAX_SEQ);
            before = begins < before ? begins : before;
        }
        if (!block_enter(t, before))
            return;
        at = t->to;
    }
}

static void table_first(iter *it)
{
    table_iter *t = self(it);
    if (!restart(t))
        return;
    t->block = t->block_first;
    if (block_enter(t, t->block_first))
        go_forward(t, t->from);
}

static void table_last(iter *it)
{
    table_iter *t = self(it);
    if (!restart(t))
        return;
    t->block = UINT32_MAX; /* from beyond the end: read ahead towards the beginning */
    if (block_enter(t, t->block_end - 1))
        go_backward(t, t->to);
}

/* Enters the block that (key, seq) falls into and tells the position of the first entry not before
 * it, which may be behind the block's last. False when there is no such block, or on an error. */
static bool place(table_iter *t, firn_slice key, uint64_t seq, uint32_t *at)
{
    uint32_t i = sst_index_find(t->ix, key, seq);
    if (i >= t->block_end) {
        leave(t);
        return false;
    }
    if (!t->ref.data || t->block != i) {
        t->block = i;
        if (!block_enter(t, i))
            return false;
        sst_block_prefetch(&t->ref);
    }
    *at = sst_block_seek(&t->b, key, seq);
    return *at != SST_BLOCK_CHANGED || fail_changed(t);
}

static void table_seek(iter *it, firn_slice key, uint64_t seq)
{
    table_iter *t = self(it);
    uint32_t at;
    if (!restart(t))
        return;
    if (it->limits)
        iter_clamp_seek(it->limits, &key, &seq);
    if (place(t, key, seq, &at))
        go_forward(t, at);
}

static void table_seek_before(iter *it, firn_slice key, uint64_t seq)
{
    table_iter *t = self(it);
    uint32_t at;
    if (!restart(t))
        return;
    const iter_limits *l = it->limits;
    if (l && limits_begin_behind(l, key)) {
        leave(t); /* nothing is before the lower bound */
        return;
    }
    if (l)
        iter_clamp_seek_before(l, &key, &seq);
    if (place(t, key, seq, &at))
        go_backward(t, at);
    else if (t->base.status == FIRN_OK)
        table_last(it); /* nothing reaches (key, seq): everything is before it */
}

static void table_next(iter *it)
{
    table_iter *t = self(it);
    if (t->at + 1 < t->to) {
        if (!hold(t))
            return;
        t->at++;
        show(t, t->behind);
        if (!t->base.valid || t->base.seq <= t->seq_max) {
            defer(t);
            return;
        }
    }
    go_forward(t, t->at + 1);
}

static void table_prev(iter *it)
{
    table_iter *t = self(it);
    if (t->at > t->from) {
        if (!hold(t))
            return;
        show_at(t, t->at - 1);
        if (!t->base.valid || t->base.seq <= t->seq_max) {
            defer(t);
            return;
        }
    }
    go_backward(t, t->at);
}

/* Where would a seek to the newest version come to? */
static bool table_is_newest(const iter *it)
{
    const table_iter *t = (const table_iter *)it;
    assert(!it->deferred);
    return sst_index_find(t->ix, it->key, t->seq_max) == t->block &&
           sst_block_seek(&t->b, it->key, t->seq_max) == t->at;
}

static void table_close(iter *it)
{
    table_iter *t = self(it);
    sst_block_unref(&t->ref);
    sst_reader_unpin(t->r, t->part);
    window_release(t);
    heap_free(t);
}

static const iter_ops table_iter_ops = {
    .first = table_first,
    .last = table_last,
    .seek = table_seek,
    .seek_before = table_seek_before,
    .next = table_next,
    .prev = table_prev,
    .close = table_close,
    .fetch = table_fetch,
    .is_newest = table_is_newest,
};

int sst_iter_new(sst_reader *r, sst_use use, iter **out)
{
    table_iter *t = heap_alloc(sizeof *t + (size_t)r->props.key_bytes_max + 16);
    if (!t)
        return FIRN_NO_MEMORY;
    memset(t, 0, sizeof *t);
    t->base.ops = &table_iter_ops;
    t->r = r;
    t->use = use;
    *out = &t->base;
    return FIRN_OK;
}
