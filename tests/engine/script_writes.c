/* script_writes: the operations of a script that write (script.h). */
#include "script_inside.h"

#include <string.h>

#include <base/hash.h>

/* Mostly small, some larger than a block, few larger than a segment. */
static size_t pick_size(uint64_t chance)
{
    uint64_t kind = chance % 200, size = mix64(chance);
    if (kind == 0)
        return 8000 + size % 30000;
    if (kind < 20)
        return size % 4001;
    if (kind < 40)
        return 0;
    return size % 200;
}

static firn_write_options write_options(uint64_t chance)
{
    firn_write_options o;
    firn_write_options_init(&o);
    o.durability = (firn_durability)(chance % 8 < 4 ? chance % 8 : FIRN_DURABILITY_DEFAULT);
    return o;
}

bool do_put(run *r, const script_op *op)
{
    firn_error err = {0};
    firn_slice key = key_of(r, op->a);
    uint64_t number = value_number(r->op * (BATCH_MOST + 1) + 1, pick_size(op->b));
    firn_write_options o = write_options(op->c);
    size_t bucket = bucket_of(op);
    int rc = firn_put(r->handles[bucket], key.data, key.size, value_bytes(number),
                      value_size(number), &o, &err);
    r->now.of[bucket][op->a % KEYS] = number;
    return status_is(r, "put", rc, FIRN_OK, &err);
}

bool do_delete(run *r, const script_op *op)
{
    firn_error err = {0};
    firn_slice key = key_of(r, op->a);
    firn_write_options o = write_options(op->c);
    size_t bucket = bucket_of(op);
    int rc = firn_delete(r->handles[bucket], key.data, key.size, &o, &err);
    r->now.of[bucket][op->a % KEYS] = 0;
    return status_is(r, "delete", rc, FIRN_OK, &err);
}

bool do_bury(run *r, const script_op *op)
{
    firn_error err = {0};
    size_t bucket = bucket_of(op), from = op->a % KEYS, count = 4 + op->b % (KEYS / 3);
    firn_write_options o = write_options(op->c);
    int rc = FIRN_OK;
    for (size_t k = from; rc == FIRN_OK && k < from + count && k < KEYS; k++) {
        firn_slice key = r->script->keys.keys[k];
        rc = firn_delete(r->handles[bucket], key.data, key.size, &o, &err);
        r->now.of[bucket][k] = 0;
    }
    return status_is(r, "delete", rc, FIRN_OK, &err);
}

/* A range between two keys, or without one of the bounds; mostly of few keys. */
typedef struct picked_range {
    firn_slice first, end;
    firn_range range;
} picked_range;

/* Clears what it deletes of the state. False: it is empty. */
static bool pick_range(const run *r, uint64_t chance, picked_range *out, uint64_t state[KEYS])
{
    const keyset *k = &r->script->keys;
    size_t first = chance % KEYS, width = (chance >> 8) % (chance >> 16 & 7 ? 6 : KEYS);
    size_t end = first + width < KEYS ? first + width : KEYS - 1;
    bool open = chance >> 24 & 1, closed = chance >> 25 & 1;
    bool all_before = (chance >> 32) % 16 == 0, all_behind = (chance >> 40) % 16 == 0;
    *out = (picked_range){.first = k->keys[first], .end = k->keys[end]};
    out->range.first = all_before ? NULL : &out->first;
    out->range.end = all_behind ? NULL : &out->end;
    out->range.flags = (open ? FIRN_FIRST_OPEN : 0) | (closed ? FIRN_END_CLOSED : 0);
    size_t from = all_before ? 0 : first + open, to = all_behind ? KEYS : end + closed;
    /* By its bounds it may hold keys that are not in the set. */
    bool empty = !all_behind &&
                 slice_compare(k->keys[end], all_before ? (firn_slice){0} : k->keys[first]) <= 0;
    if (empty && closed)
        empty = !all_before && open && end == first;
    if (!empty && open && !closed && !all_before && !all_behind) {
        /* Right behind the first key lies that key and a 0, which may be the end. */
        firn_slice a = k->keys[first], b = k->keys[end];
        empty = b.size == a.size + 1 && b.data[a.size] == 0 &&
                (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
    }
    for (size_t i = from; !empty && i < to; i++)
        state[i] = 0;
    return !empty;
}

bool do_delete_range(run *r, const script_op *op)
{
    firn_error err = {0};
    picked_range p;
    firn_write_options o = write_options(op->c);
    size_t bucket = bucket_of(op);
    bool any = pick_range(r, op->a, &p, r->now.of[bucket]);
    int rc = firn_delete_range(r->handles[bucket], &p.range, &o, &err);
    return status_is(r, "delete_range", rc, any ? FIRN_OK : FIRN_INVALID, &err);
}

/* 0: a delete. Bucket BUCKETS: none is named. */
static int fill_batch(run *r, size_t bucket, firn_slice key, uint64_t number)
{
    firn_slice value = number ? slice_of(value_bytes(number), value_size(number)) : (firn_slice){0};
    if (bucket == BUCKETS && number)
        return firn_batch_put(r->batch, key.data, key.size, value.data, value.size);
    if (bucket == BUCKETS)
        return firn_batch_delete(r->batch, key.data, key.size);
    firn_op o = {.size = sizeof o,
                 .kind = number ? FIRN_PUT : FIRN_DELETE,
                 .bucket = r->handles[bucket],
                 .key = key,
                 .value = value};
    return firn_batch_add(r->batch, &o, 1, NULL);
}

bool do_batch(run *r, const script_op *op)
{
    size_t bucket = bucket_of(op);
    bool several = (op->c >> 50) % 2;
    firn_error err = {0};
    rng chance = rng_init(op->a);
    size_t count = rng_below(&chance, BATCH_MOST);
    uint64_t seq = 0, before = firn_last_seq(r->bed->db);
    size_t left_out = 0;
    firn_batch_clear(r->batch);
    /* A third of the key space, so that a batch hits one key several times. */
    for (size_t i = 0; i < count; i++) {
        size_t k = (op->b + rng_below(&chance, KEYS / 3)) % KEYS;
        uint64_t serial = r->op * (BATCH_MOST + 1) + 2 + i;
        uint64_t number =
            rng_below(&chance, 3) == 0 ? 0 : value_number(serial, pick_size(rng_next(&chance)));
        /* Of the bucket that the batch is written to, or of one that it names. */
        size_t named = several ? rng_below(&chance, BUCKETS + 1) : BUCKETS;
        if (rng_below(&chance, 12) == 0) {
            picked_range p;
            size_t of = named < BUCKETS ? named : bucket;
            bool any = pick_range(r, rng_next(&chance), &p, r->now.of[of]);
            firn_op range = {.size = sizeof range,
                             .kind = FIRN_OP_DELETE_RANGE,
                             .bucket = named < BUCKETS ? r->handles[named] : NULL,
                             .range = p.range};
            int rc = firn_batch_add(r->batch, &range, 1, NULL);
            if (rc != (any ? FIRN_OK : FIRN_INVALID))
                return wrong(r->why, "a range in a batch: %s", firn_status_name(rc));
            left_out += !any;
            continue;
        }
        int rc = fill_batch(r, named, r->script->keys.keys[k], number);
        if (rc != FIRN_OK)
            return wrong(r->why, "filling a batch: %s", firn_status_name(rc));
        r->now.of[named < BUCKETS ? named : bucket][k] = number;
    }
    firn_write_options o = write_options(op->c);
    int rc = firn_write(r->handles[bucket], r->batch, &o, &seq, &err);
    if (!status_is(r, "write", rc, FIRN_OK, &err))
        return false;
    count -= left_out;
    return seq >= before + count || wrong(r->why, "write of %zu: number %llu follows %llu", count,
                                          (unsigned long long)seq, (unsigned long long)before);
}

/* value_bytes has room for one at a time. */
static firn_slice copy_value(uint64_t number, uint8_t *room)
{
    memcpy(room, value_bytes(number), value_size(number));
    return slice_of(room, value_size(number));
}

/* A condition on a key, which mostly holds; *holds: does it? */
static firn_op pick_condition(run *r, rng *chance, uint8_t *room, bool *holds)
{
    size_t bucket = rng_below(chance, BUCKETS), k = rng_below(chance, KEYS);
    uint64_t now = r->now.of[bucket][k];
    bool wrong_way = rng_below(chance, 8) == 0, by_value = rng_below(chance, 2);
    firn_op o = {.size = sizeof o, .bucket = r->handles[bucket], .key = r->script->keys.keys[k]};
    o.kind = (now != 0) != wrong_way ? FIRN_OP_IF_PRESENT : FIRN_OP_IF_ABSENT;
    if (now && by_value) {
        o.kind = FIRN_OP_IF_VALUE;
        o.value = copy_value(now, room);
        if (wrong_way && o.value.size)
            o.value.size--;
        else
            wrong_way = false;
    }
    *holds = *holds && !wrong_way;
    return o;
}

/* The same as firn_apply, by a transaction: it sees what it has added before others do. */
static int apply_in_txn(run *r, const script_op *op, const firn_op *ops, size_t count,
                        const world *next, firn_error *err)
{
    firn_txn *txn;
    firn_txn_options o;
    firn_read_options in;
    size_t bucket = bucket_of(op);
    uint64_t found = 0, there = 0;
    firn_txn_options_init(&o);
    o.durability = write_options(op->c).durability;
    o.serializable = (op->c >> 52) % 2;
    firn_read_options_init(&in);
    int rc = firn_txn_new(r->handles[bucket], &o, &txn, err);
    if (rc != FIRN_OK)
        return rc;
    in.txn = txn;
    rc = firn_txn_add(txn, r->handles[bucket], ops, count, err);
    if (rc == FIRN_OK)
        rc = firn_count(r->handles[bucket], NULL, &in, &found, err);
    for (size_t i = 0; i < KEYS; i++)
        there += next->of[bucket][i] != 0;
    if (rc == FIRN_OK && found != there) {
        firn_txn_free(txn);
        err->message[0] = 0;
        return FIRN_DAMAGED;
    }
    if (rc == FIRN_OK)
        rc = firn_txn_commit(txn, NULL, err);
    firn_txn_free(txn);
    return rc;
}

bool do_apply(run *r, const script_op *op)
{
    enum { MOST = 12 };
    firn_error err = {0};
    static _Thread_local uint8_t rooms[MOST][40000]; /* pick_size gives less */
    firn_op ops[MOST];
    picked_range ranges[MOST];
    rng chance = rng_init(op->a);
    size_t count = rng_below(&chance, MOST);
    bool holds = true;
    world next = r->now;
    for (size_t i = 0; i < count; i++) {
        if (rng_below(&chance, 3) == 0) {
            ops[i] = pick_condition(r, &chance, rooms[i], &holds);
            continue;
        }
        size_t bucket = rng_below(&chance, BUCKETS), k = rng_below(&chance, KEYS);
        uint64_t number =
            value_number(r->op * (BATCH_MOST + 1) + 2 + i, pick_size(rng_next(&chance)));
        bool put = rng_below(&chance, 3) > 0;
        if (rng_below(&chance, 8) == 0 &&
            pick_range(r, rng_next(&chance), &ranges[i], next.of[bucket])) {
            ops[i] = (firn_op){.size = sizeof *ops,
                               .kind = FIRN_OP_DELETE_RANGE,
                               .bucket = r->handles[bucket],
                               .range = ranges[i].range};
            continue;
        }
        ops[i] = (firn_op){.size = sizeof *ops,
                           .kind = put ? FIRN_OP_PUT : FIRN_OP_DELETE,
                           .bucket = r->handles[bucket],
                           .key = r->script->keys.keys[k]};
        if (put)
            ops[i].value = copy_value(number, rooms[i]);
        next.of[bucket][k] = put ? number : 0;
    }
    firn_write_options o = write_options(op->c);
    int rc = (op->c >> 51) % 2 ? apply_in_txn(r, op, ops, count, &next, &err)
                               : firn_apply(r->handles[bucket_of(op)], ops, count, &o, NULL, &err);
    if (holds)
        r->now = next;
    return status_is(r, "apply", rc, holds ? FIRN_OK : FIRN_CONFLICT, &err);
}
