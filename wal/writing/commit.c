/* commit: the way of a request into the log (README.md, "The queue").
 *
 * Callers push their request onto `newest` with one compare-and-swap. A caller that finds the list
 * empty leads. The leader makes room (rotating when the first request does not fit), takes a group
 * from the list, writes a frame for each, leaves the list (one compare-and-swap; or it names the
 * next leader), and only then completes its followers, because newer requests still point at them
 * until it has left. A request of entries is led by its own caller, which may be an owner of the
 * log that does more in between (<wal/group.h>); what the log asks of itself is led here.
 *
 *     newest -> D -> C -> B -> A (leads)      `older` links, made by the callers that push
 *               D <- C <- B <- A              `newer` links, made by the leader
 *
 * Locks: none on the way of a group that fits. See log.h for what the leader owns. Start
 * reading at wal_submit, which is the whole way of a write.
 */
#include <assert.h>
#include <base/coding.h>
#include <base/error.h>

#include "lead.h"

/* Long enough for a leader with a short group; with few processors a longer spin steals the
 * leader's. */
#define SPINS 100

/* ---- The queue ---- */

/* True: the list was empty and the caller leads. */
static bool queue_join(wal *w, wal_request *r)
{
    wal_request *newest = atomic_load_explicit(&w->newest, memory_order_relaxed);
    do {
        r->older = newest;
        /* Release: the leader that finds us finds our request filled in. Acquire: the leader
         * before us has left, and what it did to the leader's fields is seen. */
    } while (!atomic_compare_exchange_weak_explicit(&w->newest, &newest, r, memory_order_acq_rel,
                                                    memory_order_relaxed));
    return newest == NULL;
}

/* Makes the `newer` links from `newest` back to the first request that has one. */
static void queue_link(wal_request *newest)
{
    for (wal_request *r = newest; r->older && !r->older->newer; r = r->older)
        r->older->newer = r;
}

/* Gives leadership to the request behind `last`, or empties the list. */
static void queue_leave(wal *w, wal_request *last)
{
    wal_request *newest = last;
    if (atomic_compare_exchange_strong_explicit(&w->newest, &newest, NULL, memory_order_acq_rel,
                                                memory_order_acquire))
        return;
    queue_link(newest);
    wal_request *next = last->newer;
    next->older = NULL;
    wal_request_set(w, next, WAL_LEAD);
}

static uint32_t queue_wait(wal *w, wal_request *r)
{
    for (int i = 0; i < SPINS; i++) {
        uint32_t state = atomic_load_explicit(&r->state, memory_order_acquire);
        if (state != WAL_WAITING)
            return state;
        cpu_relax();
    }
    return wal_request_wait(w, r);
}

/* ---- A group ---- */

/* Takes along the requests behind the leader, as far as the segment has room. */
static void group_collect(wal *w, wal_group *g, uint64_t room)
{
    wal_request *newest = atomic_load_explicit(&w->newest, memory_order_acquire);
    if (newest == g->first)
        return;
    queue_link(newest);
    for (wal_request *r = g->first; r != newest && g->frames < WAL_GROUP_MAX;) {
        r = r->newer;
        if (r->type != WAL_REQUEST_DATA || r->leads ||
            g->payload + r->payload_bytes > WAL_GROUP_BYTES_MAX ||
            g->bytes + wal_frame_size(r->payload_bytes) > room)
            return;
        wal_group_add(g, r);
    }
}

/* ---- Leading ---- */

void wal_step_begin(wal *w, wal_step *s)
{
    *s = (wal_step){.inner = w->in_step};
    if (s->inner)
        return;
    w->in_step = true;
    patience_begin(&s->p, w->config.waits, FIRN_WAIT_LOG);
    s->start_us = s->p.of ? s->p.started_us : fs_mono_us(w->fs);
}

void wal_step_end(wal *w, wal_step *s, const char *what)
{
    if (s->inner)
        return;
    patience_over(&s->p);
    uint64_t us = s->p.of ? s->p.lasted_us : fs_mono_us(w->fs) - s->start_us;
    w->in_step = false;
    if (us >= w->slow.us)
        w->slow = (wal_slow){what, us};
}

static int control_frame(wal *w, wal_request *r, uint8_t type, uint32_t count, firn_error *err)
{
    uint8_t payload[8];
    r->frame_type = type;
    r->count = count;
    uint64_t bytes = wal_frame_size(sizeof payload);
    if (type == WAL_MARK && bytes > wal_room_left(w))
        return FIRN_OK; /* no reason to start a segment: the SEAL will prove as much */
    int rc = wal_make_room(w, bytes, r->durable, err);
    if (rc != FIRN_OK)
        return rc;
    if (type == WAL_CHECKPOINT && r->argument == UINT64_MAX)
        r->argument = atomic_load_explicit(&w->last_seq, memory_order_relaxed);
    put_u64(payload, r->argument);
    if (type == WAL_SKIP)
        put_u64(payload, WAL_SKIP_SEEN);
    r->key = type == WAL_MARK ? (firn_slice){NULL, 0} : (firn_slice){payload, sizeof payload};
    if (type == WAL_SKIP)
        r->key.size = 4;
    rc = wal_frame_append(w, r, err);
    if (rc == FIRN_OK && type == WAL_FLOOR && w->floor_appended < r->argument)
        w->floor_appended = r->argument;
    return rc;
}

static int control_carry_out(wal *w, wal_request *r, firn_error *err)
{
    switch ((wal_request_type)r->type) {
    case WAL_REQUEST_CHECKPOINT:
        return control_frame(w, r, WAL_CHECKPOINT, 1, err);
    case WAL_REQUEST_FLOOR:
        return control_frame(w, r, WAL_FLOOR, 0, err);
    case WAL_REQUEST_MARK:
        return control_frame(w, r, WAL_MARK, 0, err);
    case WAL_REQUEST_NOTE:
        return wal_note_append(w, err);
    case WAL_REQUEST_SKIP:
        return control_frame(w, r, WAL_SKIP, (uint32_t)r->argument, err);
    case WAL_REQUEST_ROTATE:
        return w->current->seq_last < w->current->seq_first ? FIRN_OK
                                                            : wal_rotate(w, 0, r->durable, err);
    case WAL_REQUEST_SEAL:
        return wal_seal_append(w, WAL_SEAL_CLOSE, true, err);
    case WAL_REQUEST_DATA:
        break;
    }
    assert(r->type != WAL_REQUEST_DATA);
    return FIRN_INVALID;
}

int wal_group_may(wal *w, firn_error *err)
{
    bool poisoned = atomic_load_explicit(&w->poisoned, memory_order_acquire);
    return poisoned ? wal_poisoned_error(w, err) : FIRN_OK;
}

/* A request of the log's own; a group of one. */
static int group_control(wal *w, wal_group *g, wal_request *leader, firn_error *err)
{
    wal_group_init(w, g, leader);
    int rc = wal_group_may(w, err);
    if (rc != FIRN_OK)
        return rc;
    rc = control_carry_out(w, leader, err);
    g->segment = w->current;
    leader->tick = atomic_load_explicit(&w->tick, memory_order_relaxed);
    return rc;
}

int wal_group_rotate(wal *w, wal_group *g, wal_request *leader, firn_error *err)
{
    assert(leader->type == WAL_REQUEST_ROTATE);
    return group_control(w, g, leader, err);
}

void wal_group_refuse(wal *w, wal_group *g, wal_request *leader)
{
    wal_group_init(w, g, leader);
}

int wal_group_start(wal *w, wal_group *g, wal_request *leader, firn_error *err)
{
    assert(leader->type == WAL_REQUEST_DATA);
    wal_group_init(w, g, leader);
    int rc = wal_group_may(w, err);
    if (rc != FIRN_OK)
        return rc;
    rc = wal_make_room(w, g->bytes, leader->durable, err);
    g->segment = w->current;
    if (rc == FIRN_OK)
        group_collect(w, g, wal_room_left(w));
    return rc;
}

int wal_group_append(wal *w, wal_group *g, firn_error *err)
{
    int rc = wal_group_write(w, g, err);
    if (rc != FIRN_OK)
        return rc;
    wal_group_count(w, g);
    wal_ask_for_successor(w);
    return FIRN_OK;
}

/* Each follower of the group gets its answer, or waits for the sync. Returns the chain of those
 * that wait, the leader included. */
static wal_request *group_complete(wal *w, const wal_group *g, int rc, const firn_error *error)
{
    uint32_t bits = 0;
    wal_request *waiting = NULL, **tail = &waiting;
    for (wal_request *r = g->first, *next;; r = next) {
        bool is_last = r == g->last;
        next = is_last ? NULL : r->newer;
        r->status = rc;
        if (rc != FIRN_OK && r->err)
            *r->err = *error;
        if (rc == FIRN_OK && r->durable) {
            *tail = r;
            tail = &r->next;
        } else if (r != g->first) {
            bits |= wal_request_tell(r, WAL_DONE);
        }
        if (is_last)
            break;
    }
    *tail = NULL;
    wal_wake(w, bits);
    return waiting;
}

void wal_group_end(wal *w, wal_group *g, int rc, firn_error *error)
{
    wal_request *leader = g->first;
    if (rc != FIRN_OK) {
        rc = error_needed(error, rc); /* a write looks for nothing */
        (void)error_give(error, rc, error);
    }
    leader->slow = w->slow;
    w->slow = (wal_slow){0};
    queue_leave(w, g->last);
    wal_request *waiting = group_complete(w, g, rc, error);
    if (rc == FIRN_OK && g->batched)
        wal_sync_batched(w);
    leader->turn = WAL_DONE;
    if (!waiting)
        return;
    wal_request *own = rc == FIRN_OK && leader->durable ? leader : NULL;
    uint32_t state = wal_sync_enlist(w, waiting, own);
    if (own)
        leader->turn = state;
}

/* ---- The way of a request ---- */

static void request_init(wal_request *r)
{
    atomic_init(&r->state, WAL_WAITING);
    atomic_init(&r->bit, 0);
    r->newer = r->older = NULL;
    r->slow.us = 0;
}

bool wal_join(wal *w, wal_request *r)
{
    request_init(r);
    r->turn = queue_join(w, r) ? WAL_LEAD : queue_wait(w, r);
    if (r->turn != WAL_LEAD)
        return false;
    atomic_store_explicit(&r->state, WAL_WAITING, memory_order_relaxed);
    return true;
}

int wal_await(wal *w, wal_request *r)
{
    wal_sync_wait(w, r, r->turn);
    wal_log_slow(w, &r->slow);
    return r->status;
}

/* Leads one group, for an owner that does nothing in between. */
static void lead(wal *w, wal_request *leader)
{
    firn_error error;
    wal_group g;
    int rc;
    error.status = FIRN_OK; /* the rest is not looked at until a failure has filled it in */
    if (leader->type == WAL_REQUEST_DATA) {
        rc = wal_group_start(w, &g, leader, &error);
        if (rc == FIRN_OK)
            rc = wal_group_append(w, &g, &error);
    } else {
        rc = group_control(w, &g, leader, &error);
    }
    wal_group_end(w, &g, rc, &error);
}

int wal_submit(wal *w, wal_request *r)
{
    if (wal_join(w, r))
        lead(w, r);
    return wal_await(w, r);
}

bool wal_submit_if_idle(wal *w, wal_request *r)
{
    assert(!r->durable && !r->batched);
    wal_request *none = NULL;
    request_init(r);
    /* Release and acquire as in queue_join. */
    if (!atomic_compare_exchange_strong_explicit(&w->newest, &none, r, memory_order_acq_rel,
                                                 memory_order_relaxed))
        return false;
    lead(w, r);
    return true;
}
