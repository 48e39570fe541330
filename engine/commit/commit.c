/* commit: the way of a write, from top to bottom.
 *
 *   room_take        a large write has its turn, before it is slowed (slow.c)
 *   slow_down        before it queues, so that no thread sleeps while others wait behind it
 *                    (slow.c)
 *   look             a write with conditions looks at what they are about (calls/apply.c)
 *   join the queue   the log's; one writer leads, and writes for all that queue behind it
 *   guard            what a write with conditions has seen is still so (guard.c): it always leads,
 *                    and nothing comes between that and its entries; else it looks again
 *   make room        in the log: a full segment is sealed, and the next one takes over; then its
 *                    memtable (E1, E2)
 *   append           the log gives out the numbers, and writes the frames
 *   index            the memtable's nodes point at the bytes in the log. Where the leader's own
 *                    entry goes is looked for before the log is written (approach_index). What is
 *                    known of dead keys (gaps.h) ends where keys have been put
 *   publish          readers see it
 *   end              the next writer leads
 *   wait             until the log has synced it, if that was asked for
 *
 * One leader at a time is between joining and ending: what leaders share among themselves needs no
 * lock. A leader takes state_mu only where a memtable is frozen.
 */
#include <base/entry.h>
#include <base/error.h>
#include <base/fence.h>
#include <base/sized.h>
#include <base/slice.h>
#include <inttypes.h>
#include <string.h>
#include <wal/group.h>

#include <commit/commit.h>
#include <store/ranges.h>
#include <store/store.h>
#include <tree/view.h>

#define RANGE_LOOKS  64
#define RANGE_WEIGHT UINT64_C(4)

/* ---- Leading ---- */

/* The log has gone on to the segment `taking`: entries that lie there get a memtable of their own,
 * and the old one is frozen with all that lies in front. Also behind a change of segment that was
 * not ours. FIRN_NO_MEMORY: the next leader tries again. */
static int follow_log(store *db, wal_segment *taking, firn_error *err)
{
    mem *active = db->active;
    if (__builtin_expect(active->segment == taking, 1))
        return FIRN_OK;
    mem *fresh = NULL;
    uint64_t seq_first = wal_segment_seq_first(taking);
    int rc = store_new_mem(db, taking, seq_first, &fresh);
    if (rc == FIRN_OK) {
        active->seq_last = seq_first - 1;
        atomic_store_explicit(&db->filled, 0, memory_order_relaxed); /* the fresh one is empty */
        rc = store_install_mem(db, fresh);
    }
    if (rc == FIRN_OK)
        db->active = fresh;
    else
        error_no_memory(err);
    mem_unref(fresh); /* the view has its own reference */
    return rc;
}

static bool has_ranges(const wal_group *g)
{
    bool any = false;
    for (const wal_request *r = g->first; r && !any; r = r == g->last ? NULL : r->newer)
        any = r->ranges != 0;
    return any;
}

/* A store without other buckets does not look for any. */
static int reserve_index(store *db, const wal_group *g)
{
    mem *m = db->active;
    int rc = FIRN_OK;
    if (atomic_load_explicit(&db->bucket_limit, memory_order_relaxed) <= 1 && !has_ranges(g))
        return mem_reserve_main(m, (size_t)g->entries);
    mem_reserve_begin(m);
    for (const wal_request *r = g->first; r && rc == FIRN_OK; r = r == g->last ? NULL : r->newer) {
        firn_slice entries = r->single ? slice_of(r->head, sizeof r->head) : r->key;
        rc = store_reserve_entries(db, m, entries, r->count);
    }
    return rc == FIRN_OK ? mem_reserve(m) : rc;
}

/* Room for the group in the log and in the index. */
static int make_room(store *db, wal_group *g, wal_request *leader, firn_error *err)
{
    int rc = wal_group_start(db->wal, g, leader, err);
    if (rc == FIRN_OK)
        rc = follow_log(db, g->segment, err);
    if (rc == FIRN_OK && reserve_index(db, g) != FIRN_OK)
        rc = error_no_memory(err);
    return rc;
}

/* The leader's own entry, if it is the only one of its request: its key, and where it will be
 * indexed. NULL: not known. */
static memtable *index_of(const store *db, const wal_request *leader, firn_slice *key)
{
    if (leader->count != 1)
        return NULL;
    const uint8_t *header = leader->single ? leader->head : leader->key.data;
    mem_part *part = mem_part_of(db->active, entry_bucket(header));
    *key = leader->single ? leader->key : entry_key(header);
    return part ? part->table : NULL;
}

/* What the index will wait for is on its way while the log is written. */
static memtable *approach_index(const store *db, const wal_request *leader)
{
    firn_slice key;
    memtable *index = index_of(db, leader, &key);
    if (index)
        memtable_approach(index, key);
    return index;
}

static void index_group(store *db, const wal_group *g)
{
    wal_applied frame;
    for (const wal_request *at = NULL; wal_group_next(g, &at, &frame);)
        mem_apply(db->active, &frame);
    fence_light(); /* a walk that learns a gap now finds what was applied, or we find the gap */
    if (gaps_any(&db->gaps))
        for (const wal_request *at = NULL; wal_group_next(g, &at, &frame);)
            mem_cut_gaps(&db->gaps, &frame);
    if (watches_any(&db->watches))
        for (const wal_request *at = NULL; wal_group_next(g, &at, &frame);)
            watches_note(&db->watches, &frame);
    mem_publish(db->active, g->seq_last);
    mem_charge(db->active);
}

/* Everything up to the group's last number may be seen. */
static void publish(store *db, const wal_group *g)
{
    uint64_t before = atomic_load_explicit(&db->counters.bytes_put, memory_order_relaxed);
    uint64_t put = g->payload - g->entries * ENTRY_HEADER_BYTES; /* keys and values */
    atomic_store_explicit(&db->counters.bytes_put, before + put, memory_order_relaxed);
    atomic_store_explicit(&db->newest_seq, g->seq_last, memory_order_relaxed);
    atomic_store_explicit(&db->visible_seq, g->seq_last, memory_order_release);
}

/* Carries out the leader's request and those behind it. A failure reaches all of them, and uses no
 * number. False: the guard wants another look, and nothing was done. */
static bool lead(store *db, wal_request *leader, commit_guard *guard)
{
    wal_group g;
    firn_error error;
    error.status = FIRN_OK; /* the rest is not looked at until a failure has filled it in */
    int held = guard ? wal_group_may(db->wal, &error) : FIRN_OK;
    if (guard && held == FIRN_OK) /* what a failed write has left is no conflict */
        held = guard->check(guard, &error);
    if (held != FIRN_OK) {
        wal_group_refuse(db->wal, &g, leader);
        wal_group_end(db->wal, &g, held, &error);
        return held != FIRN_CONFLICT;
    }
    const mem *active = db->active;
    memtable *index = approach_index(db, leader);
    int rc = make_room(db, &g, leader, &error);
    if (index && db->active == active) /* else it is another one's, and may be gone */
        memtable_arrive(index);
    if (rc == FIRN_OK)
        rc = wal_group_append(db->wal, &g, &error);
    if (rc == FIRN_OK) {
        index_group(db, &g);
        publish(db, &g);
        store_check_share(db, db->active);
        store_tell_filled(db, db->active);
    }
    wal_group_end(db->wal, &g, rc, &error);
    return true;
}

/* False: the guard wants another look, and nothing was done. */
static bool submit(store *db, wal_request *r, commit_guard *guard)
{
    r->leads = guard != NULL; /* nothing comes between the guard's answer and the write */
    return !wal_join(db->wal, r) || lead(db, r, guard);
}

/* A round that the guard has refused leaves the request as it was. */
static int submit_guarded(store *db, wal_request *r, commit_guard *guard, firn_error *err)
{
    int rc;
    do
        rc = guard->look(guard, err);
    while (rc == FIRN_OK && !submit(db, r, guard));
    return rc;
}

/* What operations take in the index, in puts: a range delete has two nodes in a map of its own. */
static uint64_t weight_of(uint64_t count, uint64_t ranges)
{
    return count + (RANGE_WEIGHT - 1) * ranges;
}

/* Of many, the first ones are enough to find a table that can go. */
static void want_space(store *db, const wal_request *r)
{
    if (r->single) {
        store_want_space(db, entry_bucket(r->head), r->key, r->value, r->seq_last);
        return;
    }
    unsigned looks = RANGE_LOOKS;
    const uint8_t *end = r->key.data + r->key.size;
    for (const uint8_t *p = r->key.data; looks && p < end; p += entry_bytes(p)) {
        if (entry_kind(p) != FIRN_DELETE_RANGE)
            continue;
        store_want_space(db, entry_bucket(p), entry_key(p), entry_value(p), r->seq_last);
        looks--;
    }
}

static int commit(store *db, wal_request *r, commit_guard *guard, firn_error *err)
{
    uint32_t room = room_needed(db, r->payload_bytes, weight_of(r->count, r->ranges));
    int rc = room ? room_take(db, room, err) : FIRN_OK;
    if (rc != FIRN_OK)
        return rc;
    rc = slow_down(db, r->payload_bytes, err);
    if (rc == FIRN_OK && guard)
        rc = submit_guarded(db, r, guard, err);
    else if (rc == FIRN_OK)
        (void)submit(db, r, NULL);
    if (room)
        room_give(db, room);
    if (rc != FIRN_OK)
        return rc;
    uint64_t began = latency_begin(db);
    rc = wal_await(db->wal, r);
    if (r->durable)
        (void)latency_end(db, FIRN_LATENCY_SYNC, began, rc);
    if (rc == FIRN_OK && r->ranges)
        want_space(db, r);
    if (rc == FIRN_OK && db->work_behind) /* the write stands, whatever becomes of that work */
        (void)db->work_behind(db, NULL);
    return rc;
}

int store_rotate(store *db, firn_error *err)
{
    wal_request r;
    int rc = wal_request_rotate(db->wal, &r, err);
    if (rc != FIRN_OK)
        return rc;
    if (wal_join(db->wal, &r)) {
        wal_group g;
        firn_error error;
        error.status = FIRN_OK;
        rc = wal_group_rotate(db->wal, &g, &r, &error);
        if (rc == FIRN_OK)
            rc = follow_log(db, g.segment, &error);
        wal_group_end(db->wal, &g, rc, &error);
    }
    return wal_await(db->wal, &r);
}

/* ---- calls ---- */

static const sized_kind write_options_kind = {"the write options",
                                              "fill them in with firn_write_options_init first",
                                              sizeof(firn_write_options)};

void firn_write_options_init_sized(firn_write_options *options, size_t size)
{
    const firn_write_options defaults = {.durability = FIRN_DURABILITY_DEFAULT};
    sized_init(&write_options_kind, options, size, &defaults);
}

void(firn_write_options_init)(firn_write_options *options)
{
    firn_write_options_init_sized(options, SIZED_FIRST(firn_write_options, durability));
}

static int given_durability(const firn_write_options *options, firn_durability *out,
                            firn_error *err)
{
    firn_write_options o;
    firn_write_options_init(&o);
    int rc = sized_take(&write_options_kind, options, &o, err);
    *out = o.durability;
    return rc;
}

int commit_begin(const tree *t, const firn_write_options *options, store **out,
                 firn_durability *durability, firn_error *err)
{
    int rc = store_of(t, out, err);
    if (rc != FIRN_OK)
        return rc;
    const store *db = *out;
    if (tree_is_dropped(t))
        return tree_dropped(t, err);
    if (db->options.read_only)
        return store_read_only(err);
    *durability = FIRN_DURABILITY_DEFAULT;
    if (options)
        rc = given_durability(options, durability, err);
    if (rc != FIRN_OK)
        return rc;
    if (*durability == FIRN_DURABILITY_DEFAULT)
        *durability = db->options.durability;
    if ((unsigned)*durability > FIRN_DURABILITY_NONE)
        return error_set(err, FIRN_INVALID, "durability %d does not exist", (int)*durability);
    return FIRN_OK;
}

static int write_one(tree *t, uint8_t kind, firn_slice key, firn_slice value,
                     const firn_write_options *options, firn_error *err)
{
    store *db;
    wal_request r;
    firn_durability durability = FIRN_DURABILITY_DEFAULT;
    int rc = commit_begin(t, options, &db, &durability, err);
    if (rc != FIRN_OK)
        return rc;
    uint64_t began = latency_begin(db);
    rc = wal_request_put(db->wal, &r, kind, t->bucket, key, value, durability, err);
    if (rc == FIRN_OK)
        rc = latency_end(db, FIRN_LATENCY_WRITE, began, commit(db, &r, NULL, err));
    return rc;
}

int firn_put(tree *t, const void *key, size_t key_size, const void *value, size_t value_size,
             const firn_write_options *options, firn_error *error)
{
    return write_one(t, FIRN_PUT, slice_of(key, key_size), slice_of(value, value_size), options,
                     error);
}

int firn_delete(tree *t, const void *key, size_t key_size, const firn_write_options *options,
                firn_error *error)
{
    return write_one(t, FIRN_DELETE, slice_of(key, key_size), (firn_slice){0}, options, error);
}

int firn_delete_range(tree *t, const firn_range *range, const firn_write_options *options,
                      firn_error *error)
{
    range_bounds b;
    int rc = range_bounds_take(range, &b, error);
    if (rc == FIRN_OK)
        rc = range_bounds_close(&b, error);
    if (rc == FIRN_OK)
        rc = write_one(t, FIRN_DELETE_RANGE, b.first, b.end, options, error);
    range_bounds_release(&b);
    return rc;
}

static int check_batch(const store *db, uint64_t count, uint64_t ranges, firn_error *err)
{
    uint64_t most = options_batch_most(&db->options);
    if (weight_of(count, ranges) <= most)
        return FIRN_OK;
    error_set(err, FIRN_TOO_LARGE,
              "the batch has %" PRIu64 " operations; with the option memory of %" PRIu64
              " bytes it may have %" PRIu64,
              count, db->options.memory, most);
    error_hint(err, "write it as several batches, or open the store with a larger memory");
    return FIRN_TOO_LARGE;
}

int firn_write(tree *t, const firn_batch *batch, const firn_write_options *options, uint64_t *seq,
               firn_error *error)
{
    return commit_batch(t, batch, options, NULL, seq, error);
}

int commit_batch(tree *t, const firn_batch *batch, const firn_write_options *options,
                 commit_guard *guard, uint64_t *seq, firn_error *error)
{
    store *db;
    firn_durability durability = FIRN_DURABILITY_DEFAULT;
    int rc = commit_begin(t, options, &db, &durability, error);
    if (rc != FIRN_OK)
        return rc;
    if (!batch)
        return error_set(error, FIRN_INVALID, "the batch is NULL");
    if (firn_batch_count(batch) == 0) {
        if (seq)
            *seq = firn_last_seq(t);
        return FIRN_OK;
    }
    wal_request r;
    firn_batch *moved = NULL;
    uint64_t began = latency_begin(db);
    rc = check_batch(db, firn_batch_count(batch), batch_ranges(batch), error);
    if (rc == FIRN_OK)
        rc = batch_for(t, batch, &batch, &moved, error);
    if (rc == FIRN_OK)
        rc = wal_request_batch(db->wal, &r, batch, durability, error);
    if (rc == FIRN_OK)
        rc = latency_end(db, FIRN_LATENCY_WRITE, began, commit(db, &r, guard, error));
    firn_batch_free(moved);
    if (rc == FIRN_OK && seq)
        *seq = r.seq_last;
    return rc;
}

int firn_sync(tree *t, firn_error *error)
{
    store *db;
    int rc = store_of(t, &db, error);
    if (rc != FIRN_OK || db->options.read_only)
        return rc;
    uint64_t began = latency_begin(db);
    return latency_end(db, FIRN_LATENCY_SYNC, began, firn_wal_sync(db->wal, error));
}

int firn_wait_durable(tree *t, uint64_t seq, uint32_t timeout_ms, firn_error *error)
{
    store *db;
    int rc = store_of(t, &db, error);
    if (rc != FIRN_OK)
        return rc;
    if (db->options.read_only && seq <= firn_last_seq(t)) {
        /* The writing process syncs the store; we can neither do that nor see it happen. */
        if (seq <= firn_durable_seq(t))
            return FIRN_OK;
        error_set(error, FIRN_READ_ONLY, "the store was opened for reading only");
        error_hint(error, "wait where it is written");
        return FIRN_READ_ONLY;
    }
    uint64_t began = latency_begin(db);
    rc = firn_wal_wait_durable(db->wal, seq, timeout_ms, error);
    return latency_end(db, FIRN_LATENCY_SYNC, began, rc);
}

uint64_t firn_last_seq(const tree *t)
{
    return t ? atomic_load_explicit(&t->store->visible_seq, memory_order_acquire) : 0;
}

uint64_t firn_durable_seq(const tree *t)
{
    if (!t)
        return 0;
    /* The log numbers its checkpoints, too: those are nothing that was written here. */
    uint64_t durable = firn_wal_durable_seq(t->store->wal), last = firn_last_seq(t);
    return durable < last ? durable : last;
}
