/* Transactions of several threads at once, beside plain writers, flushes, compactions and buckets
 * that come and go. What they have read and written is looked at as a whole (serial.h). The seed
 * gives what each thread does, not how they meet; all counts are fixed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <base/thread.h>

#include "serial.h"
#include "support/tempdir.h"
#include "txns.h"

/* ---- The checker itself ---- */

/* "3 a0 b1 > a2; ...": of number 3, has read versions 0 of a and 1 of b, and written version 2 of a.
 */
static size_t parse(const char *text, serial_txn *out)
{
    size_t count = 0;
    while (*text) {
        char *end;
        serial_txn *t = &out[count++];
        *t = (serial_txn){.seq = strtoull(text, &end, 10)};
        bool writes = false;
        for (text = end; *text && *text != ';';) {
            if (*text == '>' || *text == ' ') {
                writes |= *text++ == '>';
                continue;
            }
            serial_version v = {.key = (uint32_t)*text};
            v.version = strtoull(text + 1, &end, 10);
            text = end;
            if (writes)
                t->writes[t->write_count++] = v;
            else
                t->reads[t->read_count++] = v;
        }
        text += *text == ';';
        text += strspn(text, " ");
    }
    return count;
}

static bool is_serializable(const char *text, char why[WHY])
{
    serial_txn txns[8];
    why[0] = 0;
    return serial_check(txns, parse(text, txns), why, WHY);
}

static void an_order_is_found_where_there_is_one(void **state)
{
    (void)state;
    static const char *const right[] = {
        "1 > a1",
        "1 a0 > a1; 2 a1 > a2; 3 a2 > a3",
        "2 a1 > a2; 1 a0 > a1", /* told in any order */
        "0 a0; 1 > a1",
        "0 a1; 1 > a1",
        "0 a0 b0; 1 a0 > a1; 0 a1 b0; 2 b0 > b2; 0 a1 b2",
        "1 a0 > b1; 2 b1 > a2", /* the first one has read in front of the second one's write */
        "1 a0 > b1; 2 a0 > c2",
        "5 a5 > a5", /* it has read what it wrote */
        "1 > a1 b1; 2 > a2 b2; 0 a1 b1; 0 a2 b2",
    };
    char why[WHY];
    for (size_t i = 0; i < sizeof right / sizeof *right; i++)
        if (!is_serializable(right[i], why))
            fail_msg("no order was found of %s: %s", right[i], why);
}

static void what_is_wrong_has_no_order(void **state)
{
    (void)state;
    static const struct {
        const char *what, *text;
    } wrong_ones[] = {
        {"a lost update", "1 a0 > a1; 2 a0 > a2"},
        {"a write skew", "1 a0 b0 > a1; 2 a0 b0 > b2"},
        {"a read skew", "0 a0 b1; 1 > a1 b1"},
        {"a read that is not repeated", "0 a0 a1; 1 > a1"},
        {"circular information", "1 b2 > a1; 2 a1 > b2"},
        {"two orders of writes", "1 > a1; 2 > b2 a3; 0 a3 b0"},
        {"the anomaly of one that only reads", "1 b0 > b1; 2 a0 b0 > a2; 0 a0 b1"},
        {"a phantom", "1 c0 d0 > c1; 2 c0 d0 > d2"},
        {"a version from nowhere", "1 > a1; 0 a7"},
        {"a version of another key", "1 > a1; 0 b1"},
        {"two writes at once", "1 > a1; 1 > a2"},
        {"three in a circle", "1 a0 > b1; 2 b0 > c2; 3 c0 > a3"},
        {"a circle behind what is right", "1 > x1; 2 x1 a0 > b2; 3 x1 b0 > a3; 4 a3 > y4"},
    };
    char why[WHY];
    for (size_t i = 0; i < sizeof wrong_ones / sizeof *wrong_ones; i++) {
        if (is_serializable(wrong_ones[i].text, why))
            fail_msg("%s was not noticed: %s", wrong_ones[i].what, wrong_ones[i].text);
        assert_true(why[0] != 0);
    }
}

/* The definition itself: in some order, each reads what was written last, and the versions of each
 * key follow their numbers. */
typedef struct trial {
    const serial_txn *txns;
    size_t count;
    uint64_t versions[3], numbers[3];
} trial;

static bool some_order_is_right(trial t, unsigned done)
{
    if (done == (1u << t.count) - 1)
        return true;
    for (size_t i = 0; i < t.count; i++) {
        const serial_txn *x = &t.txns[i];
        bool fits = !(done >> i & 1);
        for (size_t r = 0; r < x->read_count && fits; r++)
            fits = t.versions[x->reads[r].key] == x->reads[r].version;
        trial behind = t;
        for (size_t w = 0; w < x->write_count && fits; w++) {
            fits = t.numbers[x->writes[w].key] < x->seq;
            behind.versions[x->writes[w].key] = x->writes[w].version;
            behind.numbers[x->writes[w].key] = x->seq;
        }
        if (fits && some_order_is_right(behind, done | 1u << i))
            return true;
    }
    return false;
}

static void the_checker_agrees_with_a_trial_of_all_orders(void **state)
{
    (void)state;
    uint64_t seed = seed_from_environment(1);
    rng r = rng_init(seed);
    unsigned counts[2] = {0};
    for (unsigned round = 0; round < 20000; round++) {
        serial_txn txns[5] = {{0}};
        trial t = {.txns = txns, .count = 1 + rng_below(&r, 5)};
        char why[WHY] = "";
        for (size_t i = 0; i < t.count; i++) {
            txns[i].seq = i + 1;
            for (uint32_t key = 0; key < 3; key++)
                if (rng_below(&r, 3) == 0)
                    txns[i].writes[txns[i].write_count++] = (serial_version){key, 10 * i + 10};
        }
        for (size_t i = 0; i < t.count; i++)
            for (uint32_t key = 0; key < 3; key++) {
                uint64_t version = rng_below(&r, t.count + 1) * 10;
                bool is_there = version == 0;
                for (size_t w = 0; version && w < txns[version / 10 - 1].write_count; w++)
                    is_there |= txns[version / 10 - 1].writes[w].key == key;
                if (is_there && version != 10 * i + 10 && rng_below(&r, 2))
                    txns[i].reads[txns[i].read_count++] = (serial_version){key, version};
            }
        bool right = some_order_is_right(t, 0);
        if (serial_check(txns, t.count, why, sizeof why) != right)
            fail_msg("repeat with FIRN_SEED=%llu: round %u is%s serializable (%s)",
                     (unsigned long long)seed, round, right ? "" : " not", why);
        counts[right]++;
    }
    assert_true(counts[0] > 1000 && counts[1] > 1000);
}

/* ---- Threads on a store ---- */

enum { THREADS = 4, KEYS = 12, VALUE_ROOM = 256 };

typedef struct worker worker;
typedef struct shared {
    bed bed;
    firn *buckets[2]; /* even keys are in the first one, odd ones in the second */
    bool serializable;
    unsigned attempts;
    uint64_t seed;
    _Atomic uint64_t written; /* counts the versions */
    _Atomic uint64_t committed;
    _Atomic bool failed;
    MUTEX(why_mu);
    char why[WHY];
} shared;

struct worker {
    shared *s;
    unsigned index;
    thread thread;
    rng chance;
    void (*work)(worker *w);
    serial_txn *done; /* those that were committed */
    size_t done_count;
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

static firn *bucket_of(shared *s, unsigned k)
{
    return s->buckets[k % 2];
}

static firn_slice key_of(unsigned k, char room[8])
{
    snprintf(room, 8, "k%02u", k);
    return slice_of(room, 3);
}

/* Long enough that memtables fill up. */
static firn_slice value_of(uint64_t number, char room[VALUE_ROOM])
{
    size_t size = (size_t)snprintf(room, VALUE_ROOM, "%llu:", (unsigned long long)number);
    size_t padding = number * 37 % 190;
    memset(room + size, 'a' + (int)(number % 26), padding);
    return slice_of(room, size + padding);
}

static uint64_t number_in(shared *s, firn_slice value)
{
    char room[VALUE_ROOM];
    uint64_t number = value.size ? strtoull((const char *)value.data, NULL, 10) : 0;
    if (!slice_equal(value, value_of(number, room)))
        complain(s, "a value is not one that was written");
    return number;
}

/* What is there, 0 for nothing. txn NULL: what is newest. */
static uint64_t get(shared *s, firn_txn *t, unsigned k)
{
    char room[8];
    firn_value v = {0};
    firn_error err = {0};
    firn_slice key = key_of(k, room);
    int rc = firn_get(bucket_of(s, k), key.data, key.size, IN(t), &v, &err);
    if (rc != FIRN_NOT_FOUND && !fine(s, "get", rc, &err))
        return 0;
    uint64_t number = rc == FIRN_OK ? number_in(s, slice_of(v.data, v.size)) : 0;
    firn_value_release(&v);
    return number;
}

static void put_in(shared *s, firn_txn *t, unsigned k, uint64_t number)
{
    char room[8], value[VALUE_ROOM];
    firn_error err = {0};
    const firn_op op = {.size = sizeof op,
                        .kind = FIRN_OP_PUT,
                        .key = key_of(k, room),
                        .value = value_of(number, value)};
    fine(s, "add", firn_txn_add(t, bucket_of(s, k), &op, 1, &err), &err);
}

/* All keys from `first` to `last` of one bucket, in numbers[k]. */
static void walk(shared *s, firn_txn *t, unsigned first, unsigned last, bool backward,
                 uint64_t numbers[KEYS])
{
    char from[8], to[8];
    firn_iter *it = NULL;
    firn_iter_options o;
    firn_error err = {0};
    firn_iter_options_init(&o);
    o.txn = t;
    o.lower = key_of(first, from).data;
    o.upper = key_of(last + 1, to).data;
    o.lower_size = o.upper_size = 3;
    for (unsigned k = first; k <= last; k += 2)
        numbers[k] = 0;
    if (!fine(s, "iterator", firn_iter_new(bucket_of(s, first), &o, &it, &err), &err))
        return;
    int rc = backward ? firn_iter_last(it) : firn_iter_first(it);
    for (; rc == FIRN_OK; rc = backward ? firn_iter_prev(it) : firn_iter_next(it)) {
        firn_slice key = firn_iter_key(it);
        unsigned k = (unsigned)(10 * (key.data[1] - '0') + key.data[2] - '0');
        if (k < first || k > last || k % 2 != first % 2)
            complain(s, "a walk has left its bounds");
        else
            numbers[k] = number_in(s, firn_iter_value(it));
    }
    if (rc != FIRN_END)
        fine(s, "walk", firn_iter_status(it, &err), &err);
    firn_iter_free(it);
}

/* True: committed. False: a conflict, or a failure, which is told. */
static bool commit(shared *s, firn_txn *t, uint64_t *seq)
{
    firn_error err = {0};
    thread_yield(); /* the others are to have a turn in between */
    int rc = firn_txn_commit(t, seq, &err);
    if (rc == FIRN_CONFLICT)
        return false;
    return fine(s, "commit", rc, &err);
}

static firn_txn *new_txn(shared *s)
{
    firn_txn *t = NULL;
    firn_txn_options o;
    firn_error err = {0};
    firn_txn_options_init(&o);
    o.serializable = s->serializable;
    fine(s, "begin", firn_txn_new(s->bed.db, &o, &t, &err), &err);
    return t;
}

static void run_worker(void *ctx)
{
    worker *w = ctx;
    w->work(w);
}

/* Flushes, compactions, and a bucket that comes and goes. */
static void disturb(shared *s)
{
    for (unsigned i = 0; i < s->attempts / 40 && !atomic_load(&s->failed); i++) {
        firn_error err = {0};
        if (i % 3 == 2)
            fine(s, "compact", firn_compact(s->buckets[i % 2], NULL, 0, NULL, 0, &err), &err);
        else
            fine(s, "flush", firn_flush(s->bed.db, &err), &err);
        firn_bucket_options o;
        firn *other = NULL;
        firn_bucket_options_init(&o);
        o.create = true;
        if (!fine(s, "bucket", firn_bucket_open(s->bed.db, "other", &o, &other, &err), &err))
            continue;
        fine(s, "put", firn_put(other, "k", 1, "v", 1, NULL, &err), &err);
        if (i % 2)
            fine(s, "drop", firn_bucket_drop(other, &err), &err);
        fine(s, "close", firn_close(other, &err), &err);
    }
}

static void open_shared(shared *s, bool serializable)
{
    *s = (shared){.serializable = serializable,
                  .attempts = long_run() ? 50000 : 3000,
                  .seed = seed_from_environment(1)};
    bed_on_disk(&s->bed);
    s->bed.options.durability = FIRN_DURABILITY_NONE;
    bed_must_open(&s->bed);
    mutex_init(&s->why_mu);
    s->buckets[0] = s->bed.db;
    s->buckets[1] = open_one(s->bed.db, "odd", true);
}

static void close_shared(shared *s)
{
    MUST(firn_close(s->buckets[1], error));
    bed_must_close(&s->bed);
    bed_release(&s->bed);
    mutex_release(&s->why_mu);
}

/* workers[i] does work[i]. */
static void run(shared *s, worker workers[THREADS], void (*const work[THREADS])(worker *w))
{
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (worker){.s = s,
                              .index = i,
                              .work = work[i],
                              .chance = rng_init(s->seed * 100 + i),
                              .done = calloc(s->attempts, sizeof(serial_txn))};
        assert_non_null(workers[i].done);
        assert_int_equal(thread_start(&workers[i].thread, "test", run_worker, &workers[i]), 0);
    }
    disturb(s);
    for (unsigned i = 0; i < THREADS; i++)
        thread_join(&workers[i].thread);
}

static void end(shared *s, worker workers[THREADS])
{
    bool failed = atomic_load(&s->failed);
    for (unsigned i = 0; i < THREADS; i++)
        free(workers[i].done);
    if (failed)
        print_error("repeat with FIRN_SEED=%llu: %s\n", (unsigned long long)s->seed, s->why);
    close_shared(s);
    assert_false(failed);
}

/* ---- Histories ---- */

static void note_read(worker *w, serial_txn *t, unsigned k, uint64_t version)
{
    for (size_t i = 0; i < t->write_count; i++)
        if (t->writes[i].key == k) {
            if (t->writes[i].version != version)
                complain(w->s, "a transaction does not see its own write");
            return;
        }
    if (t->read_count < SERIAL_READS)
        t->reads[t->read_count++] = (serial_version){k, version};
}

static void read_some(worker *w, firn_txn *txn, serial_txn *t)
{
    unsigned k = (unsigned)rng_below(&w->chance, KEYS);
    if (rng_below(&w->chance, 2)) {
        note_read(w, t, k, get(w->s, txn, k));
        return;
    }
    uint64_t numbers[KEYS] = {0};
    unsigned last = k + 2 * (unsigned)rng_below(&w->chance, (KEYS - k + 1) / 2);
    walk(w->s, txn, k, last, rng_below(&w->chance, 2), numbers);
    for (; k <= last; k += 2)
        note_read(w, t, k, numbers[k]);
}

static void write_one(worker *w, firn_txn *txn, serial_txn *t)
{
    unsigned k = (unsigned)rng_below(&w->chance, KEYS);
    for (size_t i = 0; i < t->write_count; i++)
        if (t->writes[i].key == k)
            return;
    uint64_t version = atomic_fetch_add(&w->s->written, 1) + 1;
    put_in(w->s, txn, k, version);
    t->writes[t->write_count++] = (serial_version){k, version};
}

static void transact(worker *w)
{
    shared *s = w->s;
    firn_txn *txn = new_txn(s);
    for (unsigned i = 0; i < s->attempts && !atomic_load(&s->failed); i++) {
        serial_txn t = {0};
        uint64_t point = 0;
        if (rng_below(&w->chance, 8) == 0)
            firn_txn_reset(txn);
        for (uint64_t n = 1 + rng_below(&w->chance, 3); n > 0; n--)
            read_some(w, txn, &t);
        for (uint64_t n = rng_below(&w->chance, 3); n > 0; n--)
            write_one(w, txn, &t);
        if (rng_below(&w->chance, 4) == 0) { /* some that is taken back */
            firn_error err = {0};
            fine(s, "save", firn_txn_save(txn, &point, &err), &err);
            put_in(s, txn, (unsigned)rng_below(&w->chance, KEYS), UINT64_C(1) << 40);
            fine(s, "rollback", firn_txn_rollback(txn, point, &err), &err);
        }
        if (rng_below(&w->chance, 2))
            read_some(w, txn, &t);
        if (commit(s, txn, &t.seq))
            w->done[w->done_count++] = t;
    }
    firn_txn_free(txn);
}

/* Plain writes: a batch is a transaction that reads nothing. */
static void write_plainly(worker *w)
{
    shared *s = w->s;
    firn_batch *batch = NULL;
    if (firn_batch_new(&batch) != FIRN_OK)
        abort();
    for (unsigned i = 0; i < s->attempts / 2 && !atomic_load(&s->failed); i++) {
        serial_txn t = {0};
        firn_error err = {0};
        unsigned k = (unsigned)rng_below(&w->chance, KEYS - 1);
        firn_batch_clear(batch);
        for (unsigned n = 0; n <= i % 2; n++) { /* in both buckets */
            char room[8], value[VALUE_ROOM];
            uint64_t version = atomic_fetch_add(&s->written, 1) + 1;
            const firn_op op = {.size = sizeof op,
                                .kind = FIRN_OP_PUT,
                                .bucket = bucket_of(s, k + n),
                                .key = key_of(k + n, room),
                                .value = value_of(version, value)};
            fine(s, "batch", firn_batch_add(batch, &op, 1, &err), &err);
            t.writes[t.write_count++] = (serial_version){k + n, version};
        }
        if (fine(s, "write", firn_write(s->bed.db, batch, NULL, &t.seq, &err), &err))
            w->done[w->done_count++] = t;
        for (unsigned n = 0; n < 8; n++) /* the others are to have a turn */
            thread_yield();
    }
    firn_batch_free(batch);
}

static void histories_are_serializable(void **state)
{
    (void)state;
    shared *s = calloc(1, sizeof *s);
    worker workers[THREADS];
    assert_non_null(s);
    open_shared(s, true);
    run(s, workers, (void (*const[])(worker *)){transact, transact, transact, write_plainly});
    size_t count = 0;
    serial_txn *all = calloc((size_t)THREADS * s->attempts + 1, sizeof *all);
    assert_non_null(all);
    for (unsigned i = 0; i < THREADS; i++)
        for (size_t n = 0; n < workers[i].done_count; n++)
            all[count++] = workers[i].done[n];
    for (unsigned k = 0; k < KEYS; k++) { /* what is there at the end comes last */
        all[count].reads[all[count].read_count++] = (serial_version){k, get(s, NULL, k)};
    }
    char why[WHY];
    if (!serial_check(all, count + 1, why, sizeof why))
        complain(s, why);
    free(all);
    end(s, workers);
    free(s);
}

/* ---- A bank: money moves, and none is made or lost ---- */

enum { MONEY = 1000 };

static void transfer(worker *w)
{
    shared *s = w->s;
    firn_txn *t = new_txn(s);
    for (unsigned i = 0; i < s->attempts && !atomic_load(&s->failed); i++) {
        unsigned from = (unsigned)rng_below(&w->chance, KEYS);
        unsigned to = (from + 1 + (unsigned)rng_below(&w->chance, KEYS - 1)) % KEYS;
        uint64_t has = get(s, t, from), other = get(s, t, to);
        uint64_t amount = rng_below(&w->chance, has);
        put_in(s, t, from, has - amount);
        put_in(s, t, to, other + amount);
        (void)commit(s, t, NULL);
    }
    firn_txn_free(t);
}

static uint64_t sum_of(shared *s, firn_txn *t, bool backward)
{
    uint64_t numbers[KEYS] = {0}, sum = 0;
    walk(s, t, 0, KEYS - 2, backward, numbers);
    walk(s, t, 1, KEYS - 1, !backward, numbers);
    for (unsigned k = 0; k < KEYS; k++)
        sum += numbers[k];
    return sum;
}

static void count_the_money(worker *w)
{
    shared *s = w->s;
    firn_txn *t = new_txn(s);
    for (unsigned i = 0; i < s->attempts / 4 && !atomic_load(&s->failed); i++) {
        if (sum_of(s, t, i % 2) != (uint64_t)KEYS * MONEY)
            complain(s, "the sum of all accounts is not what it was");
        firn_error err = {0};
        fine(s, "commit of reads alone", firn_txn_commit(t, NULL, &err), &err);
    }
    firn_txn_free(t);
}

static void no_money_is_made_or_lost(void **state)
{
    (void)state;
    for (unsigned serializable = 0; serializable < 2; serializable++) {
        shared *s = calloc(1, sizeof *s);
        worker workers[THREADS];
        assert_non_null(s);
        open_shared(s, serializable);
        firn_txn *t = new_txn(s);
        for (unsigned k = 0; k < KEYS; k++)
            put_in(s, t, k, MONEY);
        assert_true(commit(s, t, NULL));
        firn_txn_free(t);
        run(s, workers, (void (*const[])(worker *)){transfer, transfer, transfer, count_the_money});
        if (sum_of(s, NULL, false) != (uint64_t)KEYS * MONEY)
            complain(s, "at the end, the sum of all accounts is not what it was");
        end(s, workers);
        free(s);
    }
}

/* ---- Pairs, of which one at least stays: what a write skew would break ---- */

/* Key k and k + 1 are a pair, in different buckets; 1 is off, 2 is on. */
static void switch_one(worker *w)
{
    shared *s = w->s;
    firn_txn *t = new_txn(s);
    for (unsigned i = 0; i < s->attempts && !atomic_load(&s->failed); i++) {
        unsigned pair = 2 * (unsigned)rng_below(&w->chance, 2), mine = pair + w->index % 2;
        uint64_t one = get(s, t, pair), other = get(s, t, pair + 1);
        if (one + other < 3)
            complain(s, "both of a pair are off");
        put_in(s, t, mine, one + other == 4 ? 1 : 2);
        (void)commit(s, t, NULL);
    }
    firn_txn_free(t);
}

static void of_each_pair_one_stays(void **state)
{
    (void)state;
    shared *s = calloc(1, sizeof *s);
    worker workers[THREADS];
    assert_non_null(s);
    open_shared(s, true);
    firn_txn *t = new_txn(s);
    for (unsigned k = 0; k < 4; k++)
        put_in(s, t, k, 2);
    assert_true(commit(s, t, NULL));
    firn_txn_free(t);
    run(s, workers, (void (*const[])(worker *)){switch_one, switch_one, switch_one, switch_one});
    for (unsigned pair = 0; pair < 4; pair += 2)
        if (get(s, NULL, pair) + get(s, NULL, pair + 1) < 3)
            complain(s, "at the end, both of a pair are off");
    end(s, workers);
    free(s);
}

/* ---- Counters ---- */

static void count_up(worker *w)
{
    shared *s = w->s;
    firn_txn *t = new_txn(s);
    for (unsigned i = 0; i < s->attempts && !atomic_load(&s->failed); i++) {
        unsigned k = (unsigned)rng_below(&w->chance, 3);
        put_in(s, t, k, get(s, t, k) + 1);
        if (commit(s, t, NULL))
            atomic_fetch_add(&s->committed, 1);
    }
    firn_txn_free(t);
}

static void no_update_is_lost(void **state)
{
    (void)state;
    shared *s = calloc(1, sizeof *s);
    worker workers[THREADS];
    assert_non_null(s);
    open_shared(s, false);
    run(s, workers, (void (*const[])(worker *)){count_up, count_up, count_up, count_up});
    uint64_t sum = get(s, NULL, 0) + get(s, NULL, 1) + get(s, NULL, 2);
    uint64_t committed = atomic_load(&s->committed);
    if (sum != committed)
        complain(s, "the counters are not at the number of commits");
    if (committed == 0)
        complain(s, "nothing was committed");
    end(s, workers);
    free(s);
}

int main(void)
{
    tempdir_in_memory();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_order_is_found_where_there_is_one),
        cmocka_unit_test(what_is_wrong_has_no_order),
        cmocka_unit_test(the_checker_agrees_with_a_trial_of_all_orders),
        cmocka_unit_test(histories_are_serializable),
        cmocka_unit_test(no_money_is_made_or_lost),
        cmocka_unit_test(of_each_pair_one_stays),
        cmocka_unit_test(no_update_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
