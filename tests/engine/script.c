/* script: see script.h. */
#include "at.h"
#include "script_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bucket 0 has no name. */
static const char *const names[BUCKETS] = {"", "left", "right"};

/* ---- making ---- */

static const struct {
    script_kind kind;
    unsigned weight;
} menu[] = {
    {SCRIPT_PUT, 220},       {SCRIPT_DELETE, 80},       {SCRIPT_BATCH, 70},
    {SCRIPT_GET, 90},        {SCRIPT_GET_INTO, 30},     {SCRIPT_PIN, 40},
    {SCRIPT_SNAPSHOT, 24},   {SCRIPT_ITER_NEW, 24},     {SCRIPT_ITER_FIRST, 12},
    {SCRIPT_ITER_LAST, 12},  {SCRIPT_ITER_SEEK, 40},    {SCRIPT_ITER_SEEK_FOR_PREV, 40},
    {SCRIPT_ITER_NEXT, 110}, {SCRIPT_ITER_PREV, 110},   {SCRIPT_FLUSH, 8},
    {SCRIPT_GET_MANY, 30},   {SCRIPT_ITER_MANY, 40},    {SCRIPT_ITER_REFRESH, 40},
    {SCRIPT_COMPACT, 4},     {SCRIPT_SYNC, 4},          {SCRIPT_SETTLE, 4},
    {SCRIPT_REOPEN, 4},      {SCRIPT_COMPARE, 4},       {SCRIPT_DROP, 4},
    {SCRIPT_APPLY, 60},      {SCRIPT_DELETE_RANGE, 24},
};

/* Every other script is about dead keys. */
static const unsigned bury_weight = 60;

static script_kind pick_kind(rng *r, bool buries)
{
    unsigned total = buries ? bury_weight : 0;
    for (size_t i = 0; i < sizeof menu / sizeof *menu; i++)
        total += menu[i].weight;
    uint64_t at = rng_below(r, total);
    size_t i = 0;
    if (buries && at >= total - bury_weight)
        return SCRIPT_BURY;
    while (at >= menu[i].weight)
        at -= menu[i++].weight;
    return menu[i].kind;
}

void script_new(script *s, uint64_t seed, size_t count)
{
    rng r = rng_init(seed);
    keyset_random(&s->keys, &r, KEYS);
    s->ops = malloc(count * sizeof *s->ops);
    if (!s->ops)
        abort();
    s->count = count;
    for (size_t i = 0; i < count; i++) {
        s->ops[i].kind = pick_kind(&r, seed % 2);
        s->ops[i].a = rng_next(&r);
        s->ops[i].b = rng_next(&r);
        s->ops[i].c = rng_next(&r);
    }
}

void script_release(script *s)
{
    keyset_release(&s->keys);
    free(s->ops);
    *s = (script){0};
}

/* ---- running ---- */

bool status_is(run *r, const char *what, int rc, int wanted, const firn_error *err)
{
    if (rc == wanted)
        return true;
    if (rc == FIRN_OK || err->status == FIRN_OK)
        return wrong(r->why, "%s: %s, should be %s", what, firn_status_name(rc),
                     firn_status_name(wanted));
    return wrong_status(r->why, what, rc, err);
}

static int open_bucket(run *r, size_t bucket, bool create, firn **out, firn_error *err)
{
    firn_bucket_options o;
    firn_bucket_options_init(&o);
    o.create = o.error_if_exists = create;
    return firn_bucket_open(r->bed->db, names[bucket], &o, out, err);
}

/* Handles of all buckets, which are made or are there. */
static bool open_all(run *r, bool create)
{
    firn_error err = {0};
    r->handles[0] = r->bed->db;
    for (size_t i = 1; i < BUCKETS; i++) {
        int rc = open_bucket(r, i, create, &r->handles[i], &err);
        if (!status_is(r, "bucket_open", rc, FIRN_OK, &err))
            return false;
    }
    return true;
}

static void free_iter(held_iter *h)
{
    firn_iter_free(h->it);
    firn_close(h->handle, NULL);
    h->it = NULL;
    h->handle = NULL;
}

static void let_go(run *r)
{
    for (size_t i = 1; i < BUCKETS; i++) {
        firn_close(r->handles[i], NULL);
        r->handles[i] = NULL;
    }
    for (size_t i = 0; i < SLOTS; i++) {
        free_iter(&r->iters[i]);
        firn_snapshot_free(r->snapshots[i].snapshot);
        if (r->pins[i].held)
            firn_value_release(&r->pins[i].value);
        r->snapshots[i].snapshot = NULL;
        r->pins[i].held = false;
    }
}

/* The state to read from: a snapshot's when the slot has one, else the newest. */
static const uint64_t *reading(const run *r, size_t bucket, uint64_t chance,
                               firn_snapshot **snapshot)
{
    const held_snapshot *h = &r->snapshots[chance % SLOTS];
    *snapshot = chance % 8 < SLOTS ? h->snapshot : NULL;
    return *snapshot ? h->world.of[bucket] : r->now.of[bucket];
}

static bool do_get(run *r, const script_op *op)
{
    firn_snapshot *snapshot;
    size_t bucket = bucket_of(op);
    firn *db = r->handles[bucket];
    const uint64_t *state = reading(r, bucket, op->b, &snapshot);
    if (op->c % 8 == 0) {
        /* A key that was never written. */
        uint8_t other[LONG_KEY_ROOM];
        firn_slice key = key_of(r, op->a);
        memcpy(other, key.data, key.size);
        other[key.size] = 0x55;
        return compare_get(db, snapshot, slice_of(other, key.size + 1), 0, r->why);
    }
    return compare_get(db, snapshot, key_of(r, op->a), state[op->a % KEYS], r->why);
}

static bool do_get_into(run *r, const script_op *op)
{
    static _Thread_local uint8_t room[VALUE_MAX];
    firn_error err = {0};
    firn_snapshot *snapshot;
    firn_slice key = key_of(r, op->a);
    size_t bucket = bucket_of(op);
    uint64_t number = reading(r, bucket, op->b, &snapshot)[op->a % KEYS];
    size_t whole = value_size(number), size = 0;
    size_t capacity = op->c % 3 == 0 ? whole : op->c % 3 == 1 ? whole / 2 : whole + 7;
    int rc = firn_get_into(r->handles[bucket], key.data, key.size, AT(snapshot), room, capacity, &size,
                           &err);
    int wanted = number == 0 ? FIRN_NOT_FOUND : capacity < whole ? FIRN_TOO_LARGE : FIRN_OK;
    if (!status_is(r, "get_into", rc, wanted, &err))
        return false;
    if (number == 0)
        return true;
    size_t got = capacity < whole ? capacity : whole;
    if (size != whole || memcmp(room, value_bytes(number), got) != 0)
        return wrong(r->why, "get_into %s: wrong bytes or size %zu", key_text(key), size);
    return true;
}

static bool do_get_many(run *r, const script_op *op)
{
    enum { MOST = 3 * KEYS };
    firn_error err = {0};
    firn_slice keys[MOST];
    firn_value values[MOST];
    int statuses[MOST];
    uint64_t numbers[MOST];
    rng chance = rng_init(op->a);
    firn_snapshot *snapshot;
    size_t bucket = bucket_of(op);
    const uint64_t *state = reading(r, bucket, op->b, &snapshot);
    size_t count = rng_below(&chance, op->c % 4 ? 8 : MOST);
    for (size_t i = 0; i < count; i++) {
        size_t k = rng_below(&chance, KEYS);
        keys[i] = r->script->keys.keys[k];
        numbers[i] = state[k];
    }
    firn_read_options o;
    firn_read_options_init(&o);
    o.snapshot = snapshot;
    int rc = firn_get_many(r->handles[bucket], keys, count, &o, values, statuses, &err);
    bool right = status_is(r, "get_many", rc, FIRN_OK, &err);
    for (size_t i = 0; i < count; i++) {
        if (right && statuses[i] != (numbers[i] ? FIRN_OK : FIRN_NOT_FOUND))
            right = wrong(r->why, "get_many: key %zu of %zu is %s", i, count,
                          firn_status_name(statuses[i]));
        if (right && numbers[i] &&
            !value_is(numbers[i], (firn_slice){values[i].data, values[i].size}))
            right = wrong(r->why, "get_many: key %zu of %zu has a wrong value", i, count);
        firn_value_release(&values[i]);
    }
    return right;
}

static bool do_pin(run *r, const script_op *op)
{
    held_pin *p = &r->pins[op->a % SLOTS];
    if (p->held) {
        bool right = value_is(p->number, (firn_slice){p->value.data, p->value.size});
        firn_value_release(&p->value);
        p->held = false;
        return right || wrong(r->why, "a value changed while it was held");
    }
    firn_error err = {0};
    firn_slice key = key_of(r, op->b);
    size_t bucket = bucket_of(op);
    int rc = firn_get(r->handles[bucket], key.data, key.size, NULL, &p->value, &err);
    p->number = r->now.of[bucket][op->b % KEYS];
    p->held = rc == FIRN_OK;
    return status_is(r, "get", rc, p->number ? FIRN_OK : FIRN_NOT_FOUND, &err);
}

static bool do_snapshot(run *r, const script_op *op)
{
    held_snapshot *h = &r->snapshots[op->a % SLOTS];
    if (h->snapshot) {
        firn_snapshot_free(h->snapshot);
        h->snapshot = NULL;
        return true;
    }
    firn_error err = {0};
    h->world = r->now;
    int rc = firn_snapshot_new(r->handles[bucket_of(op)], &h->snapshot, &err);
    return status_is(r, "snapshot", rc, FIRN_OK, &err);
}

/* ---- iterators ---- */

static bool do_iter_new(run *r, const script_op *op)
{
    held_iter *h = &r->iters[op->a % SLOTS];
    firn_error err = {0};
    firn_iter_options o;
    firn_snapshot *snapshot;
    free_iter(h);
    firn_iter_options_init(&o);
    h->bucket = bucket_of(op);
    h->dropped = false;
    const uint64_t *state = reading(r, h->bucket, op->b, &snapshot);
    memcpy(h->state, state, sizeof h->state);
    o.snapshot = snapshot;
    h->at_snapshot = snapshot != NULL;
    h->given = false;
    o.bypass_cache = op->c % 2;
    h->lower = 0;
    h->upper = KEYS;
    if (op->c % 8 < 2) {
        h->lower = (op->c >> 8) % KEYS;
        o.lower = r->script->keys.keys[h->lower].data;
        o.lower_size = r->script->keys.keys[h->lower].size;
    }
    if (op->c % 16 < 4) {
        h->upper = (op->c >> 16) % KEYS;
        o.upper = r->script->keys.keys[h->upper].data;
        o.upper_size = r->script->keys.keys[h->upper].size;
    }
    h->placed = false;
    int rc = h->bucket ? open_bucket(r, h->bucket, false, &h->handle, &err) : FIRN_OK;
    if (rc == FIRN_OK)
        rc = firn_iter_new(h->handle ? h->handle : r->bed->db, &o, &h->it, &err);
    if (!status_is(r, "iter_new", rc, FIRN_OK, &err))
        return false;
    return !firn_iter_valid(h->it) || wrong(r->why, "a new iterator is on an element");
}

/* The first present key at or behind `from`, or before it; false: none in bounds. */
static bool place_forward(held_iter *h, size_t from)
{
    for (size_t i = from < h->lower ? h->lower : from; i < h->upper; i++)
        if (h->state[i]) {
            h->at = i;
            return true;
        }
    return false;
}

static bool place_backward(held_iter *h, size_t end)
{
    for (size_t i = end > h->upper ? h->upper : end; i > h->lower; i--)
        if (h->state[i - 1]) {
            h->at = i - 1;
            return true;
        }
    return false;
}

/* A key of the set, or a neighbour of one that is in no store. */
static firn_slice target(run *r, const script_op *op, uint8_t *room)
{
    firn_slice key = key_of(r, op->b);
    if (op->c % 4 < 2)
        return key;
    memcpy(room, key.data, key.size);
    if (op->c % 4 == 2)
        room[key.size] = (uint8_t)(op->c >> 8);
    return slice_of(room, op->c % 4 == 2 ? key.size + 1 : key.size / 2);
}

static int move(run *r, held_iter *h, const script_op *op)
{
    const keyset *k = &r->script->keys;
    uint8_t room[LONG_KEY_ROOM];
    firn_slice to = target(r, op, room);
    size_t at = keyset_find(k, to);
    bool there = at < k->count && slice_equal(k->keys[at], to);
    switch (op->kind) {
    case SCRIPT_ITER_FIRST:
        h->placed = place_forward(h, 0);
        return firn_iter_first(h->it);
    case SCRIPT_ITER_LAST:
        h->placed = place_backward(h, KEYS);
        return firn_iter_last(h->it);
    case SCRIPT_ITER_SEEK:
        h->placed = place_forward(h, at);
        return firn_iter_seek(h->it, to.data, to.size);
    case SCRIPT_ITER_SEEK_FOR_PREV:
        h->placed = place_backward(h, there ? at + 1 : at);
        return firn_iter_seek_for_prev(h->it, to.data, to.size);
    case SCRIPT_ITER_NEXT:
        h->placed = place_forward(h, h->at + 1);
        return firn_iter_next(h->it);
    default:
        h->placed = place_backward(h, h->at);
        return firn_iter_prev(h->it);
    }
}

/* The iterator stands where the model says. */
static bool stands_right(run *r, const held_iter *h)
{
    if (firn_iter_valid(h->it) != h->placed)
        return wrong(r->why, "firn_iter_valid disagrees with the movement");
    if (!h->placed)
        return firn_iter_key(h->it).size == 0 || wrong(r->why, "a key behind the end");
    firn_slice key = r->script->keys.keys[h->at];
    if (!slice_equal(firn_iter_key(h->it), key))
        return wrong(r->why, "iterator at %s, should be at %s", key_text(firn_iter_key(h->it)),
                     key_text(key));
    return value_is(h->state[h->at], firn_iter_value(h->it)) ||
           wrong(r->why, "iterator at %s: wrong value of %zu bytes, should have %zu", key_text(key),
                 firn_iter_value(h->it).size, value_size(h->state[h->at]));
}

static bool do_iter_move(run *r, const script_op *op)
{
    held_iter *h = &r->iters[op->a % SLOTS];
    if (!h->it)
        return true;
    firn_error err = {0};
    bool step = op->kind == SCRIPT_ITER_NEXT || op->kind == SCRIPT_ITER_PREV;
    if (step && !h->placed) {
        int rc = op->kind == SCRIPT_ITER_NEXT ? firn_iter_next(h->it) : firn_iter_prev(h->it);
        return status_is(r, "a step from nowhere", rc, FIRN_INVALID, &err);
    }
    int rc = move(r, h, op);
    h->given = false;
    firn_iter_status(h->it, &err);
    if (!status_is(r, "iterator", rc, h->placed ? FIRN_OK : FIRN_END, &err))
        return false;
    return stands_right(r, h);
}

static bool do_iter_refresh(run *r, const script_op *op)
{
    held_iter *h = &r->iters[op->a % SLOTS];
    if (!h->it)
        return true;
    firn_error err = {0};
    int rc = firn_iter_refresh(h->it);
    if (h->at_snapshot)
        return status_is(r, "refresh at a snapshot", rc, FIRN_INVALID, &err) && stands_right(r, h);
    if (h->dropped) { /* it goes on over what it saw */
        err.status = FIRN_DROPPED;
        return status_is(r, "refresh", rc, FIRN_DROPPED, &err) && stands_right(r, h);
    }
    memcpy(h->state, r->now.of[h->bucket], sizeof h->state);
    bool stood = h->placed;
    size_t before = h->at;
    if (stood)
        h->placed = place_forward(h, h->at);
    h->given = h->given && h->placed && h->at == before;
    firn_iter_status(h->it, &err);
    return status_is(r, "refresh", rc, h->placed || !stood ? FIRN_OK : FIRN_END, &err) &&
           stands_right(r, h);
}

static bool do_iter_many(run *r, const script_op *op)
{
    enum { MOST = 16 };
    held_iter *h = &r->iters[op->a % SLOTS];
    if (!h->it || !h->placed)
        return true;
    firn_error err = {0};
    firn_slice keys[MOST], values[MOST];
    size_t got = 0, count = 1 + op->b % MOST, n = 0;
    bool back = op->c % 2;
    int rc = (back ? firn_iter_prev_many : firn_iter_next_many)(h->it, keys, values, count,
                                                                1 + (op->c >> 8) % 4000, &got);
    if (h->given)
        h->placed = back ? place_backward(h, h->at) : place_forward(h, h->at + 1);
    firn_iter_status(h->it, &err);
    if (!status_is(r, "many", rc, h->placed ? FIRN_OK : FIRN_END, &err))
        return false;
    size_t at = h->at;
    for (; n < got && h->placed; n++) {
        at = h->at;
        if (!slice_equal(keys[n], r->script->keys.keys[at]) || !value_is(h->state[at], values[n]))
            return wrong(r->why, "many: element %zu of %zu is %s, should be %s", n, got,
                         key_text(keys[n]), key_text(r->script->keys.keys[at]));
        h->placed = back ? place_backward(h, at) : place_forward(h, at + 1);
    }
    if (n < got)
        return wrong(r->why, "many: %zu elements, there are %zu", got, n);
    if (rc == FIRN_OK && firn_iter_valid(h->it)) { /* on the last one */
        h->at = at;
        h->placed = true;
    } else if (h->placed) {
        return wrong(r->why, "many: %zu elements, and no more, though there are", got);
    }
    h->given = h->placed;
    return stands_right(r, h);
}

/* ---- care ---- */

static bool do_compact(run *r, const script_op *op)
{
    firn_error err = {0};
    firn_slice from = key_of(r, op->a), to = key_of(r, op->b);
    if (slice_compare(from, to) > 0) {
        firn_slice swap = from;
        from = to;
        to = swap;
    }
    int rc;
    if (op->c % 2)
        rc = firn_compact(r->handles[bucket_of(op)], NULL, 0, NULL, 0, &err);
    else
        rc = firn_compact(r->handles[bucket_of(op)], from.data, from.size, to.data, to.size, &err);
    return status_is(r, "compact", rc, FIRN_OK, &err);
}

static bool do_compare(run *r)
{
    const keyset *k = &r->script->keys;
    for (size_t b = 0; b < BUCKETS; b++) {
        if (!compare_all(r->handles[b], NULL, k, r->now.of[b], r->why))
            return false;
        for (size_t i = 0; i < SLOTS; i++) {
            held_snapshot *h = &r->snapshots[i];
            if (h->snapshot && !compare_all(r->handles[b], h->snapshot, k, h->world.of[b], r->why))
                return false;
        }
    }
    return true;
}

/* A bucket goes, and is made again: also older snapshots show it as empty. */
static bool do_drop(run *r, const script_op *op)
{
    firn_error err = {0};
    firn_value value;
    size_t b = 1 + op->a % (BUCKETS - 1);
    int rc = firn_bucket_drop(r->handles[b], &err);
    if (!status_is(r, "drop", rc, FIRN_OK, &err))
        return false;
    rc = firn_get(r->handles[b], "k", 1, NULL, &value, &err);
    if (!status_is(r, "a get in a dropped bucket", rc, FIRN_DROPPED, &err))
        return false;
    rc = firn_close(r->handles[b], &err);
    if (!status_is(r, "close", rc, FIRN_OK, &err))
        return false;
    memset(r->now.of[b], 0, sizeof r->now.of[b]);
    for (size_t i = 0; i < SLOTS; i++) {
        memset(r->snapshots[i].world.of[b], 0, sizeof r->now.of[b]);
        r->iters[i].dropped = r->iters[i].dropped || r->iters[i].bucket == b;
    }
    rc = open_bucket(r, b, true, &r->handles[b], &err);
    return status_is(r, "bucket_open", rc, FIRN_OK, &err);
}

static bool do_reopen(run *r)
{
    firn_error err = {0};
    let_go(r);
    int rc = firn_close(r->bed->db, &err);
    r->bed->db = NULL;
    if (!status_is(r, "close", rc, FIRN_OK, &err))
        return false;
    rc = bed_open(r->bed, &err);
    return status_is(r, "open", rc, FIRN_OK, &err) && open_all(r, false) && do_compare(r);
}

static bool do_op(run *r, const script_op *op)
{
    firn_error err = {0};
    switch (op->kind) {
    case SCRIPT_PUT:
        return do_put(r, op);
    case SCRIPT_DELETE:
        return do_delete(r, op);
    case SCRIPT_BURY:
        return do_bury(r, op);
    case SCRIPT_DELETE_RANGE:
        return do_delete_range(r, op);
    case SCRIPT_BATCH:
        return do_batch(r, op);
    case SCRIPT_APPLY:
        return do_apply(r, op);
    case SCRIPT_GET:
        return do_get(r, op);
    case SCRIPT_GET_INTO:
        return do_get_into(r, op);
    case SCRIPT_GET_MANY:
        return do_get_many(r, op);
    case SCRIPT_PIN:
        return do_pin(r, op);
    case SCRIPT_SNAPSHOT:
        return do_snapshot(r, op);
    case SCRIPT_ITER_NEW:
        return do_iter_new(r, op);
    case SCRIPT_ITER_MANY:
        return do_iter_many(r, op);
    case SCRIPT_ITER_REFRESH:
        return do_iter_refresh(r, op);
    case SCRIPT_FLUSH:
        return status_is(r, "flush", firn_flush(r->bed->db, &err), FIRN_OK, &err);
    case SCRIPT_COMPACT:
        return do_compact(r, op);
    case SCRIPT_SYNC:
        return status_is(r, "sync", firn_sync(r->bed->db, &err), FIRN_OK, &err);
    case SCRIPT_SETTLE:
        return status_is(r, "settle", firn_settle(r->bed->db, &err), FIRN_OK, &err);
    case SCRIPT_REOPEN:
        return do_reopen(r);
    case SCRIPT_COMPARE:
        return do_compare(r);
    case SCRIPT_DROP:
        return do_drop(r, op);
    default:
        return do_iter_move(r, op);
    }
}

static bool run_ops(run *r, const bool *kept)
{
    char why[WHY];
    for (size_t i = 0; i < r->script->count; i++) {
        if (kept && !kept[i])
            continue;
        r->op = i;
        if (do_op(r, &r->script->ops[i]))
            continue;
        memcpy(why, r->why, sizeof why);
        return wrong(r->why, "operation %zu: %.400s", i, why);
    }
    return do_reopen(r);
}

bool script_run(const script *s, const bool *kept, bed *b, char *why)
{
    run *r = calloc(1, sizeof *r);
    firn_error err = {0};
    if (!r || firn_batch_new(&r->batch) != FIRN_OK)
        abort();
    r->script = s;
    r->bed = b;
    r->why = why;
    int rc = bed_open(b, &err);
    bool right =
        rc == FIRN_OK ? open_all(r, true) && run_ops(r, kept) : wrong_status(why, "open", rc, &err);
    let_go(r);
    rc = firn_close(b->db, &err);
    b->db = NULL;
    if (right && rc != FIRN_OK)
        right = wrong_status(why, "close", rc, &err);
    if (right && (rc = engine_check(b->config.fs, b->folder, NULL, NULL, NULL, &err)) != FIRN_OK)
        right = wrong_status(why, "check", rc, &err);
    firn_batch_free(r->batch);
    free(r);
    return right;
}
