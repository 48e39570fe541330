/* Concurrent calls are linearizable: whatever threads do at once, the results are those of some
 * order of the calls in which each has happened at one moment between its beginning and its
 * return. Beside them the store's memtables are rotated, flushed and compacted.
 *
 * There are many short rounds on few keys, each of which is looked at as a whole (linear.h). A
 * round that is wrong is printed in the form that linear_parse reads. The seed gives the calls of
 * each thread, not how they meet. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <base/thread.h>

#include "at.h"
#include "buckets.h"
#include "linear.h"
#include "support/tempdir.h"

/* ---- The checker itself ---- */

static bool is_linearizable(const char *text)
{
    linear_op ops[LINEAR_OPS];
    size_t count = linear_parse(text, ops);
    assert_true(count > 0);
    return linear_check((linear_map){{0}}, ops, count, NULL);
}

static void an_order_is_found_where_there_is_one(void **state)
{
    (void)state;
    static const char *const right[] = {
        "0-1 a=1; 2-3 a:1",
        "0-1 a:0; 2-3 a=1",
        /* Calls at once may come in either order. */
        "0-3 a=1; 1-2 a:0; 4-5 a:1",
        "0-3 a=1; 1-2 a:1",
        "0-9 a=1; 1-2 a:0; 3-4 a:0; 5-6 a:1; 7-8 a:1",
        "0-5 a=1; 1-6 a=2; 7-8 a:1",
        "0-5 a=1; 1-6 a=2; 7-8 a:2",
        /* A write that returns long after it was seen. */
        "0-9 a=1; 1-3 a:1; 4-5 a?1 a=2; 6-7 a:2; 10-11 a:2",
        /* Two batches, read while both are under way. */
        "0-9 a=1 b=1; 1-8 a=2 b=2; 2-3 a:1 b:1; 4-5 a:2 b:2",
        /* Conditions and conflicts. */
        "0-1 a?0 a=1; 2-3 a?* a?1 a=2; 4-5 a?1 a=3 !; 6-7 a:2",
        "0-3 a?0 a=1; 1-2 a?0 a=2 !; 4-5 a:1",
        "0-3 a=1; 1-2 a?* b=1 !; 4-5 a:1 b:0",
        "0-3 a=1; 1-2 a?* b=1; 4-5 a:1 b:1",
        "0-1 a=1; 2-7 a=0; 3-6 a?0 b=1; 4-5 a:1 b:0; 8-9 a:0 b:1",
        /* Only one of all orders is right, and it is not that of the beginnings. */
        "0-20 a?3 a=4; 1-19 a?2 a=3; 2-18 a?1 a=2; 3-17 a?0 a=1; 21-22 a:4",
    };
    for (size_t i = 0; i < sizeof right / sizeof *right; i++)
        if (!is_linearizable(right[i]))
            fail_msg("no order was found of: %s", right[i]);
}

static void what_is_wrong_has_no_order(void **state)
{
    (void)state;
    static const struct {
        const char *what, *text;
    } wrong_ones[] = {
        {"a stale read", "0-1 a=1; 2-3 a:0"},
        {"a stale read of an older value", "0-1 a=1; 2-3 a=2; 4-5 a:1"},
        {"a value from nowhere", "0-1 a=1; 0-5 a:2"},
        {"a read of what is written later", "0-1 a:1; 2-3 a=1"},
        {"a write that is seen, and then not", "0-9 a=1; 1-2 a:1; 3-4 a:0"},
        {"two readers see two writes in different orders",
         "0-9 a=1; 1-10 a=2; 2-3 a:1; 4-5 a:2; 6-7 a:1"},
        {"a lost write", "0-3 a=1; 1-2 b=1; 4-5 a:0 b:1"},
        {"a lost update", "0-1 a=1; 2-5 a?1 a=2; 3-6 a?1 a=3; 7-8 a:3"},
        {"a lost update that no read shows", "0-1 a=1; 2-5 a?1 a=2; 3-6 a?1 a=3"},
        {"two creators", "0-3 a?0 a=1; 1-2 a?0 a=2"},
        {"two deleters of what is there once", "0-1 a=1; 2-5 a?* a=0; 3-4 a?* a=0"},
        {"a conflict that was none", "0-1 a=1; 2-3 a?1 a=2 !"},
        {"a conflict that came too early", "0-1 a?0 a=1 !; 2-3 a=2"},
        {"a refused call that has written", "0-1 a=1; 2-3 a?0 b=1 !; 4-5 b:1"},
        {"a call that went through beside a failed condition", "0-1 a=1; 2-3 a?0 b=1"},
        {"a torn batch", "0-9 a=1 b=1; 1-2 a:1 b:0"},
        {"a torn batch of an overwritten one", "0-1 a=1 b=1; 2-3 a=2 b=2; 4-5 a:2 b:1"},
        {"a torn read", "0-1 a=1 b=1; 2-9 a=2 b=2; 3-4 a=3; 5-8 a:2 b:1"},
        {"two snapshots that contradict each other", "0-9 a=1; 1-8 b=1; 2-3 a:1 b:0; 4-5 a:0 b:1"},
        {"conditions that never held together", "0-1 a=1; 2-3 b=1 a=0; 4-5 a?1 b?1 c=1"},
    };
    for (size_t i = 0; i < sizeof wrong_ones / sizeof *wrong_ones; i++)
        if (is_linearizable(wrong_ones[i].text))
            fail_msg("%s was not noticed: %s", wrong_ones[i].what, wrong_ones[i].text);
}

/* The definition itself: all orders, one after the other. */
static bool some_order_is_right(const linear_op *ops, size_t count, unsigned done, linear_map map)
{
    if (done == (1u << count) - 1)
        return true;
    for (size_t i = 0; i < count; i++) {
        bool next = !(done >> i & 1);
        for (size_t k = 0; k < count && next; k++)
            next = done >> k & 1 || ops[k].returned >= ops[i].invoked;
        linear_map behind = map;
        if (next && linear_step(&behind, &ops[i]) &&
            some_order_is_right(ops, count, done | 1u << i, behind))
            return true;
    }
    return false;
}

static linear_op random_op(rng *r, uint64_t *clock)
{
    linear_op op = {.invoked = *clock + rng_below(r, 8) * 16};
    op.returned = op.invoked + 1 + rng_below(r, 4) * 16;
    *clock += 2;
    for (size_t k = 0; k < 2; k++) {
        linear_part *p = &op.parts[k];
        uint64_t what = rng_below(r, 6);
        p->reads = what == 0;
        p->writes = what == 1 || what == 2;
        p->condition = what == 2 ? LINEAR_IF_VALUE : what == 3 ? LINEAR_IF_PRESENT : 0;
        p->read = (uint16_t)rng_below(r, 3);
        p->wanted = (uint16_t)rng_below(r, 3);
        p->written = (uint16_t)rng_below(r, 3);
    }
    bool conditions = op.parts[0].condition || op.parts[1].condition;
    op.conflict = conditions && rng_below(r, 3) == 0;
    return op;
}

static void the_checker_agrees_with_a_trial_of_all_orders(void **state)
{
    (void)state;
    uint64_t seed = seed_from_environment(1);
    rng r = rng_init(seed);
    unsigned counts[2] = {0};
    for (unsigned round = 0; round < 20000; round++) {
        linear_op ops[6], again[LINEAR_OPS];
        size_t count = 1 + rng_below(&r, 6);
        uint64_t clock = 0;
        char text[1000];
        for (size_t i = 0; i < count; i++)
            ops[i] = random_op(&r, &clock);
        bool right = some_order_is_right(ops, count, 0, (linear_map){{0}});
        linear_print(ops, count, text, sizeof text);
        if (linear_check((linear_map){{0}}, ops, count, NULL) != right)
            fail_msg("repeat with FIRN_SEED=%llu: a history is%s linearizable: %s",
                     (unsigned long long)seed, right ? "" : " not", text);
        /* What was printed reads as the same. */
        assert_int_equal(linear_parse(text, again), count);
        if (linear_check((linear_map){{0}}, again, count, NULL) != right)
            fail_msg("repeat with FIRN_SEED=%llu: it reads as another history: %s",
                     (unsigned long long)seed, text);
        counts[right]++;
    }
    assert_true(counts[0] > 1000 && counts[1] > 1000);
}

/* ---- A store ---- */

enum { THREADS = 4, CALLS = 6, VALUE_ROOM = 256 };

typedef struct worker worker;

typedef struct shared {
    bed bed;
    firn *handles[LINEAR_KEYS]; /* of each key */
    bool two_buckets;
    unsigned keys;                   /* in this round */
    _Atomic uint64_t clock;          /* calls that have begun or ended, in this round */
    _Atomic uint32_t written;        /* counts the values */
    _Atomic uint32_t arrived, phase; /* of all threads, at the beginning and end of a round */
    _Atomic bool failed, over;
    MUTEX(why_mu);
    char why[WHY];
    worker *workers;
} shared;

struct worker {
    shared *s;
    thread thread;
    rng chance;
    firn_iter *it; /* is refreshed */
    uint16_t seen[LINEAR_KEYS];
    linear_op ops[CALLS];
};

static void complain(shared *s, const char *why)
{
    mutex_lock(&s->why_mu);
    if (!atomic_exchange(&s->failed, true))
        snprintf(s->why, sizeof s->why, "%s", why);
    mutex_unlock(&s->why_mu);
}

static bool fine(shared *s, const char *what, int rc, const firn_error *err)
{
    char why[WHY];
    if (rc == FIRN_OK)
        return true;
    wrong_status(why, what, rc, err);
    complain(s, why);
    return false;
}

/* All threads wait here for each other. */
static void meet(shared *s)
{
    uint32_t phase = atomic_load(&s->phase);
    if (atomic_fetch_add(&s->arrived, 1) == THREADS) {
        atomic_store(&s->arrived, 0);
        atomic_store(&s->phase, phase + 1);
        return;
    }
    for (unsigned looks = 0; atomic_load(&s->phase) == phase; looks++)
        if (looks % 64 == 63)
            thread_yield();
        else
            cpu_relax();
}

/* ---- Keys and values ---- */

static firn_slice key_of(size_t k)
{
    static const char keys[LINEAR_KEYS][2] = {"ka", "kb", "kc", "kd"};
    return slice_of(keys[k], 2);
}

/* Long enough that memtables fill up; all of it follows from the number. */
static firn_slice value_of(uint16_t number, uint8_t room[VALUE_ROOM])
{
    size_t size = (size_t)snprintf((char *)room, VALUE_ROOM, "%u:", number);
    size_t padding = number * 37u % 190;
    memset(room + size, 'a' + number % 26, padding);
    return slice_of(room, size + padding);
}

static uint16_t number_in(shared *s, firn_slice value)
{
    uint8_t room[VALUE_ROOM];
    unsigned long number = value.size ? strtoul((const char *)value.data, NULL, 10) : 0;
    if (number == 0 || number > UINT16_MAX || !slice_equal(value, value_of((uint16_t)number, room)))
        complain(s, "a value is not one that was written");
    return (uint16_t)number;
}

static uint16_t new_number(shared *s)
{
    return (uint16_t)(atomic_fetch_add(&s->written, 1) % UINT16_MAX + 1);
}

/* ---- Calls: each notes what it asks for, and what it was told ---- */

static uint64_t tick(shared *s)
{
    return atomic_fetch_add(&s->clock, 1);
}

/* What a thread has read or written last is what it expects later. */
static void note_read(worker *w, linear_op *op, size_t k, uint16_t number)
{
    op->parts[k].reads = true;
    op->parts[k].read = number;
    w->seen[k] = number;
}

static const firn_write_options *some_durability(worker *w, firn_write_options *o)
{
    firn_write_options_init(o);
    o->durability = FIRN_DURABILITY_SYNC;
    return rng_below(&w->chance, 4) == 0 ? o : NULL;
}

static bool call_put(worker *w, linear_op *op, size_t k)
{
    shared *s = w->s;
    uint8_t room[VALUE_ROOM];
    firn_error err = {0};
    firn_write_options o;
    linear_part *p = &op->parts[k];
    p->writes = true;
    p->written = rng_below(&w->chance, 3) ? new_number(s) : 0;
    firn_slice key = key_of(k), value = p->written ? value_of(p->written, room) : (firn_slice){0};
    const firn_write_options *options = some_durability(w, &o);
    op->invoked = tick(s);
    int rc = p->written ? firn_put(s->handles[k], key.data, key.size, value.data, value.size,
                                   options, &err)
                        : firn_delete(s->handles[k], key.data, key.size, options, &err);
    op->returned = tick(s);
    w->seen[k] = p->written;
    return fine(s, "put or delete", rc, &err);
}

/* Operations of a batch or of firn_apply, with the room of their values. */
typedef struct op_list {
    size_t count;
    firn_op ops[8];
    uint8_t room[8][VALUE_ROOM];
} op_list;

static void add_op(worker *w, op_list *l, size_t k, firn_op_kind kind, uint16_t number)
{
    firn_op *op = &l->ops[l->count];
    *op = (firn_op){
        .size = sizeof *op, .kind = (uint32_t)kind, .bucket = w->s->handles[k], .key = key_of(k)};
    if (number)
        op->value = value_of(number, l->room[l->count]);
    l->count++;
}

/* A put, or a delete; now and then behind a put of the same key that never shows. */
static void add_write(worker *w, op_list *l, linear_op *op, size_t k)
{
    linear_part *p = &op->parts[k];
    if (rng_below(&w->chance, 4) == 0)
        add_op(w, l, k, FIRN_OP_PUT, new_number(w->s));
    p->writes = true;
    p->written = rng_below(&w->chance, 4) ? new_number(w->s) : 0;
    add_op(w, l, k, p->written ? FIRN_OP_PUT : FIRN_OP_DELETE, p->written);
}

static void add_condition(worker *w, op_list *l, linear_op *op, size_t k)
{
    linear_part *p = &op->parts[k];
    if (rng_below(&w->chance, 4) == 0) {
        p->condition = LINEAR_IF_PRESENT;
        add_op(w, l, k, FIRN_OP_IF_PRESENT, 0);
        return;
    }
    p->condition = LINEAR_IF_VALUE;
    p->wanted = w->seen[k];
    add_op(w, l, k, p->wanted ? FIRN_OP_IF_VALUE : FIRN_OP_IF_ABSENT, p->wanted);
}

static void note_writes(worker *w, const linear_op *op)
{
    for (size_t k = 0; k < LINEAR_KEYS; k++)
        if (op->parts[k].writes)
            w->seen[k] = op->parts[k].written;
}

static bool call_write(worker *w, linear_op *op, size_t k, size_t other)
{
    shared *s = w->s;
    op_list l = {.count = 0};
    firn_error err = {0};
    firn_write_options o;
    firn_batch *batch = NULL;
    add_write(w, &l, op, k);
    add_write(w, &l, op, other);
    if (!fine(s, "batch", firn_batch_new(&batch), &err))
        return false;
    int rc = firn_batch_add(batch, l.ops, l.count, &err);
    const firn_write_options *options = some_durability(w, &o);
    op->invoked = tick(s);
    if (rc == FIRN_OK)
        rc = firn_write(s->bed.db, batch, options, NULL, &err);
    op->returned = tick(s);
    firn_batch_free(batch);
    note_writes(w, op);
    return fine(s, "write", rc, &err);
}

/* Conditions on one or two keys, and writes to none, one or two. */
static bool call_apply(worker *w, linear_op *op, size_t k, size_t other)
{
    shared *s = w->s;
    op_list l = {.count = 0};
    firn_error err = {0};
    firn_write_options o;
    uint64_t what = rng_below(&w->chance, 8);
    add_condition(w, &l, op, k);
    if (what % 2)
        add_condition(w, &l, op, other);
    if (what != 0)
        add_write(w, &l, op, k);
    if (what > 4)
        add_write(w, &l, op, other);
    const firn_write_options *options = some_durability(w, &o);
    op->invoked = tick(s);
    int rc = firn_apply(s->bed.db, l.ops, l.count, options, NULL, &err);
    op->returned = tick(s);
    op->conflict = rc == FIRN_CONFLICT;
    if (!op->conflict)
        note_writes(w, op);
    return op->conflict || fine(s, "apply", rc, &err);
}

static bool get(worker *w, linear_op *op, size_t k, const firn_snapshot *snapshot)
{
    firn_value v = {0};
    firn_error err = {0};
    firn_slice key = key_of(k);
    int rc = firn_get(w->s->handles[k], key.data, key.size, AT(snapshot), &v, &err);
    if (rc != FIRN_NOT_FOUND && !fine(w->s, "get", rc, &err))
        return false;
    note_read(w, op, k, rc == FIRN_OK ? number_in(w->s, slice_of(v.data, v.size)) : 0);
    firn_value_release(&v);
    return true;
}

static bool call_get(worker *w, linear_op *op, size_t k)
{
    op->invoked = tick(w->s);
    bool right = get(w, op, k, NULL);
    op->returned = tick(w->s);
    return right;
}

/* Two keys at a snapshot, one after the other. */
static bool call_get_at(worker *w, linear_op *op, size_t k, size_t other)
{
    firn_snapshot *snapshot = NULL;
    firn_error err = {0};
    op->invoked = tick(w->s);
    int rc = firn_snapshot_new(w->s->bed.db, &snapshot, &err);
    bool right =
        fine(w->s, "snapshot", rc, &err) && get(w, op, k, snapshot) && get(w, op, other, snapshot);
    firn_snapshot_free(snapshot);
    op->returned = tick(w->s);
    return right;
}

/* Two keys in one call; of one bucket. */
static bool call_get_many(worker *w, linear_op *op, size_t k, size_t other)
{
    shared *s = w->s;
    firn_slice keys[2] = {key_of(k), key_of(other)};
    size_t which[2] = {k, other}, count = s->handles[k] == s->handles[other] ? 2 : 1;
    firn_value values[2] = {{0}};
    int statuses[2] = {0};
    firn_error err = {0};
    op->invoked = tick(s);
    int rc = firn_get_many(s->handles[k], keys, count, NULL, values, statuses, &err);
    op->returned = tick(s);
    for (size_t i = 0; i < count && rc == FIRN_OK; i++) {
        firn_slice value = {values[i].data, values[i].size};
        note_read(w, op, which[i], statuses[i] == FIRN_OK ? number_in(s, value) : 0);
        firn_value_release(&values[i]);
    }
    return fine(s, "get_many", rc, &err);
}

static firn_iter *new_iter(shared *s, firn *handle, const firn_snapshot *snapshot)
{
    firn_iter *it = NULL;
    firn_iter_options o;
    firn_error err = {0};
    firn_iter_options_init(&o);
    o.snapshot = snapshot;
    o.lower = "k";
    o.upper = "l";
    o.lower_size = o.upper_size = 1;
    fine(s, "iter_new", firn_iter_new(handle, &o, &it, &err), &err);
    return it;
}

/* All keys of one bucket that the iterator shows. */
static bool walk(worker *w, linear_op *op, firn_iter *it, const firn *handle)
{
    shared *s = w->s;
    firn_error err = {0};
    bool backward = rng_below(&w->chance, 2);
    for (size_t k = 0; k < LINEAR_KEYS; k++)
        if (s->handles[k] == handle)
            note_read(w, op, k, 0);
    int rc = backward ? firn_iter_last(it) : firn_iter_first(it);
    for (; rc == FIRN_OK; rc = backward ? firn_iter_prev(it) : firn_iter_next(it)) {
        size_t k = (size_t)(firn_iter_key(it).data[1] - 'a');
        note_read(w, op, k, number_in(s, firn_iter_value(it)));
    }
    return rc == FIRN_END || fine(s, "a walk", firn_iter_status(it, &err), &err);
}

/* A walk by a new iterator, or by one that is refreshed. */
static bool call_walk(worker *w, linear_op *op)
{
    shared *s = w->s;
    firn_error err = {0};
    bool right = true;
    op->invoked = tick(s);
    if (w->it)
        right = fine(s, "refresh", firn_iter_refresh(w->it), &err);
    else
        w->it = new_iter(s, s->bed.db, NULL);
    right = right && w->it && walk(w, op, w->it, s->bed.db);
    op->returned = tick(s);
    if (rng_below(&w->chance, 3) == 0) {
        firn_iter_free(w->it);
        w->it = NULL;
    }
    return right;
}

/* Walks over both buckets at one snapshot. */
static bool call_walk_at(worker *w, linear_op *op)
{
    shared *s = w->s;
    firn_snapshot *snapshot = NULL;
    firn_error err = {0};
    op->invoked = tick(s);
    bool right = fine(s, "snapshot", firn_snapshot_new(s->bed.db, &snapshot, &err), &err);
    for (size_t k = 0; k < 2 && right; k++) {
        firn_iter *it = new_iter(s, s->handles[k], snapshot);
        right = it && walk(w, op, it, s->handles[k]);
        firn_iter_free(it);
    }
    firn_snapshot_free(snapshot);
    op->returned = tick(s);
    return right;
}

/* All keys of a bucket from this one on. */
static bool call_delete_range(worker *w, linear_op *op, size_t k)
{
    shared *s = w->s;
    firn_error err = {0};
    firn_slice first = key_of(k), end = slice_of_str("l");
    firn_range range = {.first = &first, .end = &end};
    for (size_t i = k; i < LINEAR_KEYS; i++)
        if (s->handles[i] == s->handles[k]) {
            op->parts[i].writes = true;
            w->seen[i] = 0;
        }
    op->invoked = tick(s);
    int rc = firn_delete_range(s->handles[k], &range, NULL, &err);
    op->returned = tick(s);
    return fine(s, "delete_range", rc, &err);
}

static bool call(worker *w, linear_op *op)
{
    size_t k = rng_below(&w->chance, w->s->keys);
    size_t other = (k + 1 + rng_below(&w->chance, w->s->keys - 1)) % w->s->keys;
    switch (rng_below(&w->chance, 13)) {
    case 0:
    case 1:
        return call_put(w, op, k);
    case 2:
        return call_get(w, op, k);
    case 3:
    case 4:
        return call_write(w, op, k, other);
    case 5:
        return call_get_at(w, op, k, other);
    case 6:
        return call_get_many(w, op, k, other);
    case 7:
        return w->s->two_buckets ? call_walk_at(w, op) : call_walk(w, op);
    case 8:
        return call_delete_range(w, op, k);
    default:
        return call_apply(w, op, k, other);
    }
}

static void run_worker(void *arg)
{
    worker *w = arg;
    for (;;) {
        meet(w->s);
        if (atomic_load(&w->s->over))
            break;
        for (size_t i = 0; i < CALLS; i++) {
            w->ops[i] = (linear_op){0};
            call(w, &w->ops[i]);
            if (rng_below(&w->chance, 3) == 0)
                thread_yield();
        }
        meet(w->s);
    }
    firn_iter_free(w->it);
}

/* ---- What is done beside them ---- */

/* Fills memtables; in front of the keys of the rounds, and behind them. */
static bool fill(shared *s, rng *chance)
{
    char value[3000];
    firn_error err = {0};
    memset(value, 'f', sizeof value);
    for (unsigned i = 0; i < 3; i++) {
        char key[2] = {"az"[rng_below(chance, 2)], (char)('a' + rng_below(chance, 3))};
        firn *handle = s->handles[rng_below(chance, LINEAR_KEYS)];
        int rc = firn_put(handle, key, 2, value, 1 + rng_below(chance, sizeof value), NULL, &err);
        if (!fine(s, "put", rc, &err))
            return false;
    }
    return true;
}

static void disturb(shared *s, rng *chance, firn_snapshot **held)
{
    firn_error err = {0};
    firn *handle = s->handles[rng_below(chance, LINEAR_KEYS)];
    switch (rng_below(chance, 8)) {
    case 0:
    case 1:
        fine(s, "flush", firn_flush(s->bed.db, &err), &err);
        break;
    case 2:
        fine(s, "compact", firn_compact(handle, NULL, 0, NULL, 0, &err), &err);
        break;
    case 3:
    case 4:
        fill(s, chance);
        break;
    case 5: /* so that merges and flushes keep older versions */
        firn_snapshot_free(*held);
        *held = NULL;
        fine(s, "snapshot", firn_snapshot_new(s->bed.db, held, &err), &err);
        break;
    default:
        break;
    }
}

/* ---- Rounds ---- */

/* Reads all keys when no thread writes: the last call of the round, and what the next one begins
 * with. */
static linear_map read_all(shared *s, linear_op *op)
{
    worker reader = {.s = s};
    linear_map map = {{0}};
    *op = (linear_op){.invoked = tick(s)};
    for (size_t k = 0; k < LINEAR_KEYS; k++) {
        get(&reader, op, k, NULL);
        map.values[k] = op->parts[k].read;
    }
    op->returned = tick(s);
    return map;
}

static void round_is_wrong(uint64_t seed, unsigned round, const linear_map *first,
                           const linear_op *ops, size_t count, size_t longest)
{
    print_error(
        "repeat with FIRN_SEED=%llu: round %u is not linearizable; at most %zu of %zu calls "
        "have an order. At first: a=%u b=%u c=%u d=%u\n",
        (unsigned long long)seed, round, longest, count, first->values[0], first->values[1],
        first->values[2], first->values[3]);
    for (size_t i = 0; i < count; i++) {
        char text[400];
        linear_print(&ops[i], 1, text, sizeof text);
        print_error("  %s\n", text);
    }
}

/* The calls of all threads, and the last look, have an order. */
static bool round_is_right(shared *s, uint64_t seed, unsigned round, linear_map *map)
{
    linear_op ops[THREADS * CALLS + 1];
    size_t count = 0, longest = 0;
    for (unsigned i = 0; i < THREADS; i++)
        for (size_t n = 0; n < CALLS; n++)
            ops[count++] = s->workers[i].ops[n];
    linear_map last = read_all(s, &ops[count++]);
    if (atomic_load(&s->failed)) {
        print_error("repeat with FIRN_SEED=%llu: round %u: %s\n", (unsigned long long)seed, round,
                    s->why);
        return false;
    }
    bool right = linear_check(*map, ops, count, &longest);
    if (!right)
        round_is_wrong(seed, round, map, ops, count, longest);
    *map = last;
    return right;
}

static void run_rounds(bool two_buckets, unsigned rounds)
{
    uint64_t seed = seed_from_environment(1);
    rng chance = rng_init(seed * 100);
    shared *s = calloc(1, sizeof *s);
    worker *workers = calloc(THREADS, sizeof *workers);
    firn_snapshot *held = NULL;
    linear_map map = {{0}};
    bool right = true;
    assert_true(s && workers);
    bed_on_disk(&s->bed);
    s->bed.options.durability = FIRN_DURABILITY_NONE;
    bed_must_open(&s->bed);
    mutex_init(&s->why_mu);
    s->workers = workers;
    s->two_buckets = two_buckets;
    firn *other = two_buckets ? open_one(s->bed.db, "other", true) : NULL;
    for (size_t k = 0; k < LINEAR_KEYS; k++)
        s->handles[k] = two_buckets && k % 2 ? other : s->bed.db;
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (worker){.s = s, .chance = rng_init(seed * 100 + 1 + i)};
        assert_int_equal(thread_start(&workers[i].thread, "test", run_worker, &workers[i]), 0);
    }
    for (unsigned round = 0; round < rounds && right; round++) {
        s->keys = 2 + round / 8 % 3;
        atomic_store(&s->clock, 0);
        meet(s);
        disturb(s, &chance, &held);
        meet(s);
        right = round_is_right(s, seed, round, &map);
    }
    atomic_store(&s->over, true);
    meet(s);
    for (unsigned i = 0; i < THREADS; i++)
        thread_join(&workers[i].thread);
    firn_snapshot_free(held);
    if (other)
        MUST(firn_close(other, error));
    bed_must_close(&s->bed);
    bed_release(&s->bed);
    mutex_release(&s->why_mu);
    free(workers);
    free(s);
    assert_true(right);
}

static void concurrent_calls_are_linearizable(void **state)
{
    (void)state;
    run_rounds(false, long_run() ? 40000 : 2000);
}

static void concurrent_calls_over_two_buckets_are_linearizable(void **state)
{
    (void)state;
    run_rounds(true, long_run() ? 40000 : 2000);
}

int main(void)
{
    tempdir_in_memory();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_order_is_found_where_there_is_one),
        cmocka_unit_test(what_is_wrong_has_no_order),
        cmocka_unit_test(the_checker_agrees_with_a_trial_of_all_orders),
        cmocka_unit_test(concurrent_calls_are_linearizable),
        cmocka_unit_test(concurrent_calls_over_two_buckets_are_linearizable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
