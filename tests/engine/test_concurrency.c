/* Writers, readers, walkers and maintenance threads on one store at once, with an oracle.
 *
 * Writer i counts n up. Its n-th batch puts n under the keys "ia" and "iz", and a third key "im" that
 * is there exactly when n is odd, so a reader that sees the store at one moment sees a == z, and m as n
 * says. A writer announces n before and after each write: a get that starts after the announcement of
 * a completed n must find at least n, and never more than what had been begun when it ended.
 *
 * The others rest until something was written since they last began, or for a moment, so that the
 * writers have the processors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <base/thread.h>

#include "at.h"
#include "bed.h"

#define WRITERS   3
#define READERS   2
#define PADDING   40
#define KEYS_EACH 50  /* more keys of each writer, so that tables have something to hold */
#define LOOKS     16  /* of a reader, before it rests */
#define REST_US   200 /* at most, of those that look: also while a write is under way */

typedef struct shared {
    bed bed;
    unsigned batches; /* of each writer */
    _Atomic uint64_t begun[WRITERS], completed[WRITERS];
    _Atomic uint32_t writing; /* writers that have not finished */
    _Atomic uint64_t looked;  /* what readers and walkers have compared */
    _Atomic bool failed;
    MUTEX(why_mu);
    char why[WHY];
    wakeup written; /* after each batch, and at the end of each writer */
} shared;

typedef struct worker {
    shared *s;
    unsigned no;
    thread thread;
    rng chance;
    uint32_t looked; /* of `written`, before what this thread does now */
} worker;

static void complain(shared *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void complain(shared *s, const char *format, ...)
{
    va_list args;
    mutex_lock(&s->why_mu);
    if (!atomic_exchange(&s->failed, true)) {
        va_start(args, format);
        vsnprintf(s->why, sizeof s->why, format, args);
        va_end(args);
    }
    mutex_unlock(&s->why_mu);
}

/* FIRN_OK, or the complaint is made. */
static bool fine(shared *s, const char *what, int rc, const firn_error *err)
{
    char text[WHY];
    if (rc == FIRN_OK)
        return true;
    wrong_status(text, what, rc, err);
    complain(s, "%s", text);
    return false;
}

/* Rests until there is something new, or for so long, if not 0; false: that is the end. */
static bool go_on(worker *w, uint32_t rest_us)
{
    shared *s = w->s;
    if (atomic_load(&s->writing) > 0 && !atomic_load(&s->failed))
        wakeup_sleep(&s->written, w->looked, WAKEUP_ALL, rest_us);
    w->looked = wakeup_look(&s->written);
    return atomic_load(&s->writing) > 0 && !atomic_load(&s->failed);
}

/* ---- writers ---- */

static size_t key_of(char out[16], unsigned writer, char which)
{
    return (size_t)snprintf(out, 16, "%u%c", writer, which);
}

static void put(firn_batch *b, unsigned writer, char which, uint64_t n)
{
    char key[16], value[64];
    size_t size = key_of(key, writer, which);
    snprintf(value, sizeof value, "%0*llu", PADDING, (unsigned long long)n);
    if (firn_batch_put(b, key, size, value, PADDING) != FIRN_OK)
        abort();
}

static void fill(worker *w, firn_batch *b, uint64_t n)
{
    char key[16];
    firn_batch_clear(b);
    put(b, w->no, 'z', 0); /* replaced below: the last one counts */
    put(b, w->no, 'a', n);
    put(b, w->no, 'z', n);
    size_t size = key_of(key, w->no, 'm');
    if (n % 2)
        put(b, w->no, 'm', n);
    else if (firn_batch_delete(b, key, size) != FIRN_OK)
        abort();
    char more[24];
    int length =
        snprintf(more, sizeof more, "%u-%03u", w->no, (unsigned)rng_below(&w->chance, KEYS_EACH));
    if (firn_batch_put(b, more, (size_t)length, value_bytes(value_number(n, 300)), 300) != FIRN_OK)
        abort();
}

static void write_on(void *arg)
{
    worker *w = arg;
    shared *s = w->s;
    firn_batch *b = NULL;
    if (firn_batch_new(&b) != FIRN_OK)
        abort();
    for (uint64_t n = 1; n <= s->batches && !atomic_load(&s->failed); n++) {
        firn_error err = {0};
        firn_write_options o;
        firn_write_options_init(&o);
        o.durability = n % 64 == 0 ? FIRN_DURABILITY_SYNC : FIRN_DURABILITY_DEFAULT;
        fill(w, b, n);
        atomic_store(&s->begun[w->no], n);
        if (!fine(s, "write", firn_write(s->bed.db, b, &o, NULL, &err), &err))
            break;
        atomic_store(&s->completed[w->no], n);
        wakeup_wake(&s->written, WAKEUP_ALL);
    }
    firn_batch_free(b);
    atomic_fetch_sub(&s->writing, 1);
    wakeup_wake(&s->written, WAKEUP_ALL);
}

/* ---- readers ---- */

static uint64_t number_in(firn_slice value)
{
    char text[PADDING + 1] = "";
    if (value.size != PADDING)
        return UINT64_MAX;
    memcpy(text, value.data, PADDING);
    return strtoull(text, NULL, 10);
}

/* 0: not there. */
static bool read_number(shared *s, const firn_snapshot *snapshot, unsigned writer, char which,
                        uint64_t *n)
{
    char key[16];
    firn_value v = {0};
    firn_error err = {0};
    size_t size = key_of(key, writer, which);
    int rc = firn_get(s->bed.db, key, size, AT(snapshot), &v, &err);
    *n = 0;
    if (rc == FIRN_NOT_FOUND)
        return true;
    if (!fine(s, "get", rc, &err))
        return false;
    *n = number_in((firn_slice){v.data, v.size});
    firn_value_release(&v);
    return true;
}

static bool read_newest(shared *s, unsigned writer, uint64_t *seen)
{
    uint64_t low = atomic_load(&s->completed[writer]), n;
    if (!read_number(s, NULL, writer, 'a', &n))
        return false;
    uint64_t high = atomic_load(&s->begun[writer]);
    if (n < low || n > high || n < *seen) {
        complain(s, "writer %u: get found %llu, between %llu and %llu were written, %llu was seen",
                 writer, (unsigned long long)n, (unsigned long long)low, (unsigned long long)high,
                 (unsigned long long)*seen);
        return false;
    }
    *seen = n;
    return true;
}

/* With `rests`, writes go on between two of its reads. */
static bool read_snapshot(shared *s, unsigned writer, bool rests)
{
    firn_snapshot *snapshot = NULL;
    firn_error err = {0};
    uint64_t a = 0, z = 0, m = 0, again = 0, low = atomic_load(&s->completed[writer]);
    if (!fine(s, "snapshot", firn_snapshot_new(s->bed.db, &snapshot, &err), &err))
        return false;
    uint64_t high = atomic_load(&s->begun[writer]);
    bool right =
        read_number(s, snapshot, writer, 'a', &a) && read_number(s, snapshot, writer, 'm', &m);
    if (rests)
        thread_sleep_ms(1);
    right = right && read_number(s, snapshot, writer, 'z', &z) &&
            read_number(s, snapshot, writer, 'a', &again);
    firn_snapshot_free(snapshot);
    if (right && (a != z || a != again || m != (a % 2 ? a : 0) || a < low || a > high)) {
        complain(s, "writer %u: one snapshot of %llu to %llu shows a=%llu m=%llu z=%llu a=%llu",
                 writer, (unsigned long long)low, (unsigned long long)high, (unsigned long long)a,
                 (unsigned long long)m, (unsigned long long)z, (unsigned long long)again);
        return false;
    }
    return right;
}

/* What each writer has written last, in one call, as of one moment. */
static bool read_many(shared *s)
{
    enum { COUNT = 3 * WRITERS };
    char room[COUNT][16];
    firn_slice keys[COUNT];
    firn_value values[COUNT];
    int statuses[COUNT];
    uint64_t n[COUNT], low[WRITERS];
    firn_error err = {0};
    bool right = true;
    for (unsigned i = 0; i < COUNT; i++)
        keys[i] = slice_of(room[i], key_of(room[i], i % WRITERS, "amz"[i / WRITERS]));
    for (unsigned i = 0; i < WRITERS; i++)
        low[i] = atomic_load(&s->completed[i]);
    int rc = firn_get_many(s->bed.db, keys, COUNT, NULL, values, statuses, &err);
    if (!fine(s, "get_many", rc, &err))
        return false;
    for (unsigned i = 0; i < COUNT; i++) {
        n[i] = statuses[i] == FIRN_OK ? number_in((firn_slice){values[i].data, values[i].size}) : 0;
        firn_value_release(&values[i]);
    }
    for (unsigned i = 0; i < WRITERS && right; i++) {
        uint64_t a = n[i], m = n[WRITERS + i], z = n[2 * WRITERS + i];
        uint64_t high = atomic_load(&s->begun[i]);
        if (a != z || m != (a % 2 ? a : 0) || a < low[i] || a > high) {
            complain(s, "writer %u: many of %llu to %llu show a=%llu m=%llu z=%llu", i,
                     (unsigned long long)low[i], (unsigned long long)high, (unsigned long long)a,
                     (unsigned long long)m, (unsigned long long)z);
            right = false;
        }
    }
    return right;
}

static void read_on(void *arg)
{
    worker *w = arg;
    uint64_t seen[WRITERS] = {0};
    for (unsigned look = 0; look % LOOKS || go_on(w, REST_US); look++) {
        unsigned writer = (unsigned)rng_below(&w->chance, WRITERS);
        if (!read_newest(w->s, writer, &seen[writer]))
            return;
        if (rng_below(&w->chance, 4) == 0 &&
            !read_snapshot(w->s, writer, rng_below(&w->chance, 4) == 0))
            return;
        if (rng_below(&w->chance, 4) == 0 && !read_many(w->s))
            return;
        atomic_fetch_add(&w->s->looked, 1);
    }
}

/* One walk over everything: order, and a, m, z of each writer as one moment. The iterator stays for the next
 * one, if it is to be refreshed there. */
static bool walk_once(shared *s, bool backward, firn_iter **kept)
{
    firn_iter *it = *kept;
    firn_error err = {0};
    uint64_t a[WRITERS] = {0}, m[WRITERS] = {0}, z[WRITERS] = {0}, low[WRITERS], high[WRITERS];
    uint8_t before[32];
    size_t before_size = 0;
    bool any = false, right = true;
    for (unsigned i = 0; i < WRITERS; i++)
        low[i] = atomic_load(&s->completed[i]);
    if (it && !fine(s, "refresh", firn_iter_refresh(it), &err))
        return false;
    if (!it && !fine(s, "iter_new", firn_iter_new(s->bed.db, NULL, &it, &err), &err))
        return false;
    *kept = it;
    for (unsigned i = 0; i < WRITERS; i++)
        high[i] = atomic_load(&s->begun[i]);
    int rc = backward ? firn_iter_last(it) : firn_iter_first(it);
    for (; rc == FIRN_OK && right; rc = backward ? firn_iter_prev(it) : firn_iter_next(it)) {
        firn_slice key = firn_iter_key(it);
        int order = any ? slice_compare(slice_of(before, before_size), key) : 0;
        if (key.size > sizeof before || (any && (backward ? order <= 0 : order >= 0))) {
            complain(s, "a walk is out of order at %s", key_text(key));
            right = false;
            break;
        }
        memcpy(before, key.data, key.size);
        before_size = key.size;
        any = true;
        if (key.size == 2) {
            uint64_t n = number_in(firn_iter_value(it));
            unsigned writer = (unsigned)(key.data[0] - '0');
            *(key.data[1] == 'a' ? &a[writer] : key.data[1] == 'm' ? &m[writer] : &z[writer]) = n;
        }
    }
    if (right && rc != FIRN_END)
        right = fine(s, "walk", firn_iter_status(it, &err), &err) && rc == FIRN_END;
    for (unsigned i = 0; i < WRITERS && right; i++)
        if (a[i] != z[i] || m[i] != (a[i] % 2 ? a[i] : 0) || a[i] < low[i] || a[i] > high[i]) {
            complain(s, "writer %u: one walk of %llu to %llu shows a=%llu m=%llu z=%llu", i,
                     (unsigned long long)low[i], (unsigned long long)high[i],
                     (unsigned long long)a[i], (unsigned long long)m[i], (unsigned long long)z[i]);
            right = false;
        }
    return right;
}

static void walk_on(void *arg)
{
    worker *w = arg;
    firn_iter *it = NULL;
    for (bool backward = false; go_on(w, REST_US); backward = !backward) {
        if (!walk_once(w->s, backward, &it))
            break;
        atomic_fetch_add(&w->s->looked, 1);
        if (rng_below(&w->chance, 4) == 0) {
            firn_iter_free(it);
            it = NULL;
        }
    }
    firn_iter_free(it);
}

/* ---- maintenance threads ---- */

static void flush_on(void *arg)
{
    worker *w = arg;
    while (go_on(w, 0)) {
        firn_error err = {0};
        firn_stats stats = {.size = sizeof stats};
        int rc = rng_below(&w->chance, 2) ? firn_flush(w->s->bed.db, &err)
                                          : firn_sync(w->s->bed.db, &err);
        if (!fine(w->s, "flush or sync", rc, &err) ||
            !fine(w->s, "stats", firn_get_stats(w->s->bed.db, &stats, &err), &err))
            return;
        if (stats.durable_seq > stats.last_seq + WRITERS * 8 || stats.poisoned) {
            complain(w->s, "the figures cannot be");
            return;
        }
    }
}

static void compact_on(void *arg)
{
    worker *w = arg;
    while (go_on(w, 0)) {
        firn_error err = {0};
        char from = (char)('0' + rng_below(&w->chance, WRITERS));
        int rc = rng_below(&w->chance, 3) ? firn_compact(w->s->bed.db, &from, 1, NULL, 0, &err)
                                          : firn_settle(w->s->bed.db, &err);
        if (!fine(w->s, "compact or settle", rc, &err))
            return;
    }
}

/* ---- all together ---- */

static void check_the_end(shared *s)
{
    for (unsigned i = 0; i < WRITERS; i++) {
        uint64_t n = 0;
        assert_true(read_number(s, NULL, i, 'a', &n));
        assert_int_equal(n, s->batches);
    }
    firn_iter *it = NULL;
    assert_true(walk_once(s, false, &it) && walk_once(s, true, &it));
    firn_iter_free(it);
}

static void run_all(const char *durability, const char *compression, unsigned batches)
{
    static void (*const jobs[])(void *) = {walk_on, flush_on, compact_on};
    enum { COUNT = WRITERS + READERS + 3 };
    uint64_t seed = seed_from_environment(1);
    shared *s = calloc(1, sizeof *s);
    worker workers[COUNT] = {0};
    assert_non_null(s);
    bed_on_disk(&s->bed);
    MUST(firn_options_set(&s->bed.options, "durability", durability, error));
    MUST(firn_options_set(&s->bed.options, "compression", compression, error));
    s->bed.options.batch_ms = 1;
    s->batches = long_run() ? batches * 40 : batches;
    mutex_init(&s->why_mu);
    atomic_store(&s->writing, WRITERS);
    bed_must_open(&s->bed);
    for (unsigned i = 0; i < COUNT; i++) {
        workers[i] = (worker){.s = s, .no = i, .chance = rng_init(seed * 100 + i)};
        void (*run)(void *) = i < WRITERS             ? write_on
                              : i < WRITERS + READERS ? read_on
                                                      : jobs[i - WRITERS - READERS];
        assert_int_equal(thread_start(&workers[i].thread, "test", run, &workers[i]), 0);
    }
    for (unsigned i = 0; i < COUNT; i++)
        thread_join(&workers[i].thread);
    if (atomic_load(&s->failed))
        fail_msg("seed %llu: %s", (unsigned long long)seed, s->why);
    assert_true(atomic_load(&s->looked) > 0);
    check_the_end(s);
    bed_must_close(&s->bed);
    MUST(firn_check(s->bed.folder, NULL, NULL, NULL, error));
    bed_must_open(&s->bed);
    check_the_end(s);
    bed_release(&s->bed);
    mutex_release(&s->why_mu);
    free(s);
}

static void all_threads_at_once_without_waiting_for_the_disk(void **state)
{
    (void)state;
    run_all("none", "auto", 1500);
}

static void all_threads_at_once_with_batched_syncs(void **state)
{
    (void)state;
    run_all("batch", "lz4", 700);
}

static void all_threads_at_once_with_every_write_synced(void **state)
{
    (void)state;
    run_all("sync", "zlib", 150);
}

/* ---- one value, many hands ---- */

typedef struct handed {
    firn_value values[64];
    _Atomic bool ok;
} handed;

static void release_all(void *arg)
{
    handed *h = arg;
    for (int i = 0; i < 64; i++) {
        if (h->values[i].size != 300)
            atomic_store(&h->ok, false);
        firn_value_release(&h->values[i]);
    }
}

static void values_may_be_released_by_any_thread(void **state)
{
    (void)state;
    bed b;
    bed_on_disk(&b);
    bed_must_open(&b);
    for (int round = 0; round < 20; round++) {
        handed h = {.ok = true};
        thread t = {0};
        for (int i = 0; i < 64; i++) {
            char key[16];
            int size = snprintf(key, sizeof key, "%d", i);
            MUST(firn_put(b.db, key, (size_t)size, value_bytes(value_number(1, 300)), 300, NULL,
                          error));
            MUST(firn_get(b.db, key, (size_t)size, NULL, &h.values[i], error));
        }
        assert_int_equal(thread_start(&t, "test", release_all, &h), 0);
        bed_flush(&b);
        thread_join(&t);
        assert_true(atomic_load(&h.ok));
    }
    bed_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_threads_at_once_without_waiting_for_the_disk),
        cmocka_unit_test(all_threads_at_once_with_batched_syncs),
        cmocka_unit_test(all_threads_at_once_with_every_write_synced),
        cmocka_unit_test(values_may_be_released_by_any_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
