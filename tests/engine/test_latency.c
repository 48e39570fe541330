/* Latencies: what is counted, how long it took by the store's clock, and that it costs nothing unless it is asked for. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bed.h"
#include <store/store.h>

#define SEED   UINT64_C(20261101)
#define SECOND UINT64_C(1000000000)

static firn_latency latency_of(firn *db, firn_latency_kind which)
{
    firn_latency l;
    MUST(firn_get_latency(db, which, &l, error));
    assert_int_equal(l.size, sizeof l);
    return l;
}

static void begin(bed *b)
{
    bed_on_simfs(b, 1);
    MUST(firn_options_set(&b->options, "memory", "64MiB", error));
    b->options.segment_bytes = 1 << 20;
    MUST(firn_options_set(&b->options, "latencies", "true", error));
    bed_must_open(b);
}

/* ---- The bins ---- */

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void percentiles_are_those_of_the_sorted_values_within_a_bin(void **state)
{
    (void)state;
    enum { MOST = 5000 };
    static uint64_t values[MOST];
    static latency_sum sum;
    rng r = rng_init(SEED);
    for (unsigned count = 1; count <= MOST; count = count * 3 + 1) {
        latencies *l = latencies_new();
        uint64_t total = 0;
        for (unsigned i = 0; i < count; i++) {
            values[i] = rng_next(&r) >> (23 + rng_below(&r, 41)); /* 0 to 2^41 */
            total += values[i];
            latency_note(l, FIRN_LATENCY_SEEK, values[i]);
        }
        qsort(values, count, sizeof *values, compare);
        latency_look(l, FIRN_LATENCY_SEEK, &sum);
        assert_int_equal(sum.count, count);
        assert_int_equal(sum.sum_ns, total);
        assert_int_equal(sum.max_ns, values[count - 1]);
        for (unsigned mille = 1; mille <= 1000; mille++) {
            uint64_t exact = values[((uint64_t)count * mille + 999) / 1000 - 1];
            uint64_t told = latency_quantile(&sum, mille);
            if (told < exact || told - exact > exact / 16 || told > sum.max_ns)
                fail_msg("%u of a thousand of %u: %llu told, %llu exact (seed %llu)", mille, count,
                         (unsigned long long)told, (unsigned long long)exact,
                         (unsigned long long)SEED);
        }
        latency_look(l, FIRN_LATENCY_GET, &sum);
        assert_int_equal(sum.count + sum.max_ns, 0);
        latencies_free(l);
    }
}

static void what_takes_longer_than_any_bin_is_in_the_last_one(void **state)
{
    (void)state;
    static latency_sum sum;
    const uint64_t most = (UINT64_C(1) << 42) - 1, longer[] = {most, most + 1, UINT64_MAX / 4};
    assert_int_equal(bin_end(LATENCY_BINS - 1, LATENCY_SPLIT), most);
    latencies *l = latencies_new();
    for (unsigned i = 0; i < 3; i++) {
        latency_note(l, FIRN_LATENCY_GET, longer[i]);
        latency_look(l, FIRN_LATENCY_GET, &sum);
        assert_int_equal(sum.bins[LATENCY_BINS - 1], i + 1);
        assert_int_equal(sum.max_ns, longer[i]);
        assert_int_equal(latency_quantile(&sum, 999), longer[i]);
    }
    latencies_free(l);
}

/* ---- What is counted ---- */

/* How often each kind was counted since the last call. */
static void expect_counts(firn *db, const uint64_t wanted[LATENCY_KINDS], int line)
{
    static uint64_t before[LATENCY_KINDS];
    for (unsigned i = 0; i < LATENCY_KINDS; i++) {
        uint64_t now = latency_of(db, (firn_latency_kind)i).count;
        if (wanted && now - before[i] != wanted[i])
            fail_msg("line %d: %s was counted %llu times, should be %llu", line,
                     firn_latency_name((firn_latency_kind)i), (unsigned long long)(now - before[i]),
                     (unsigned long long)wanted[i]);
        before[i] = now;
    }
}
#define COUNTS(...) expect_counts(b.db, (const uint64_t[LATENCY_KINDS]){__VA_ARGS__}, __LINE__)

static void each_write_and_sync_counts_once(void **state)
{
    (void)state;
    bed b;
    firn_batch *batch = NULL;
    firn_write_options none;
    firn_write_options_init(&none);
    none.durability = FIRN_DURABILITY_NONE;
    begin(&b);
    expect_counts(b.db, NULL, __LINE__);
    MUST(firn_put(b.db, "k", 1, "v", 1, NULL, error));
    COUNTS([FIRN_LATENCY_WRITE] = 1, [FIRN_LATENCY_SYNC] = 1);
    MUST(firn_put(b.db, "l", 1, "v", 1, &none, error));
    MUST(firn_delete(b.db, "m", 1, &none, error));
    MUST(firn_delete_range(b.db, &(firn_range){.first = &(firn_slice){(const uint8_t *)"m", 1}},
                           &none, error));
    assert_int_equal(firn_batch_new(&batch), FIRN_OK);
    MUST(firn_write(b.db, batch, &none, NULL, error)); /* empty: writes nothing */
    COUNTS([FIRN_LATENCY_WRITE] = 3);
    assert_int_equal(firn_batch_put(batch, "b", 1, "w", 1), FIRN_OK);
    MUST(firn_write(b.db, batch, &none, NULL, error));
    const firn_op ops[] = {
        {.size = sizeof *ops, .kind = FIRN_OP_IF_PRESENT, .key = slice_of_str("b")},
        {.size = sizeof *ops, .kind = FIRN_OP_PUT, .key = slice_of_str("c")}};
    MUST(firn_apply(b.db, ops, 2, &none, NULL, error));
    COUNTS([FIRN_LATENCY_WRITE] = 2);
    assert_int_equal(firn_put(b.db, NULL, 1, "v", 1, NULL, NULL), FIRN_INVALID);
    COUNTS(0);
    MUST(firn_sync(b.db, error));
    MUST(firn_wait_durable(b.db, 1, 0, error));
    COUNTS([FIRN_LATENCY_SYNC] = 2);
    firn_batch_free(batch);
    bed_release(&b);
}

static void each_read_counts_once(void **state)
{
    (void)state;
    bed b;
    firn_value value, values[2];
    int statuses[2];
    char buffer[8];
    size_t size;
    begin(&b);
    bed_put(&b, "k", "v");
    expect_counts(b.db, NULL, __LINE__);
    MUST(firn_get(b.db, "k", 1, NULL, &value, error));
    firn_value_release(&value);
    assert_int_equal(firn_get(b.db, "x", 1, NULL, &value, NULL), FIRN_NOT_FOUND);
    COUNTS([FIRN_LATENCY_GET] = 2);
    MUST(firn_get_into(b.db, "k", 1, NULL, buffer, sizeof buffer, &size, error));
    assert_int_equal(firn_get_into(b.db, "k", 1, NULL, buffer, 0, &size, NULL), FIRN_TOO_LARGE);
    COUNTS([FIRN_LATENCY_GET] = 2);
    assert_int_equal(firn_get(b.db, NULL, 1, NULL, &value, NULL), FIRN_INVALID);
    COUNTS(0);
    const firn_slice keys[] = {slice_of_str("k"), slice_of_str("x")};
    MUST(firn_get_many(b.db, keys, 2, NULL, values, statuses, error));
    firn_value_release(&values[0]);
    COUNTS([FIRN_LATENCY_GET_MANY] = 1);
    bed_release(&b);
}

static void each_seek_counts_once_and_no_step(void **state)
{
    (void)state;
    bed b;
    firn_iter *it = NULL;
    begin(&b);
    bed_put(&b, "k", "v");
    bed_put(&b, "l", "v");
    expect_counts(b.db, NULL, __LINE__);
    MUST(firn_iter_new(b.db, NULL, &it, error));
    COUNTS(0);
    assert_int_equal(firn_iter_first(it), FIRN_OK);
    COUNTS([FIRN_LATENCY_SEEK] = 1);
    assert_int_equal(firn_iter_next(it), FIRN_OK);
    assert_int_equal(firn_iter_prev(it), FIRN_OK);
    COUNTS(0);
    assert_int_equal(firn_iter_last(it), FIRN_OK);
    COUNTS([FIRN_LATENCY_SEEK] = 1);
    assert_int_equal(firn_iter_seek(it, "k", 1), FIRN_OK);
    COUNTS([FIRN_LATENCY_SEEK] = 1);
    assert_int_equal(firn_iter_seek_for_prev(it, "k", 1), FIRN_OK);
    COUNTS([FIRN_LATENCY_SEEK] = 1);
    assert_int_equal(firn_iter_refresh(it), FIRN_OK);
    COUNTS([FIRN_LATENCY_SEEK] = 1);
    assert_int_equal(firn_iter_seek(it, "zz", 2), FIRN_END);
    COUNTS([FIRN_LATENCY_SEEK] = 1);
    firn_iter_free(it);
    bed_release(&b);
}

static void work_is_counted_as_in_the_figures(void **state)
{
    (void)state;
    bed b;
    begin(&b);
    bed_put(&b, "k", "v");
    expect_counts(b.db, NULL, __LINE__);
    firn_stats before = bed_stats(&b);
    bed_flush(&b);
    firn_stats after = bed_stats(&b);
    uint64_t flushes = after.flushes - before.flushes;
    assert_true(flushes > 0);
    COUNTS([FIRN_LATENCY_FLUSH] = flushes);
    before = after;
    MUST(firn_compact(b.db, NULL, 0, NULL, 0, error)); /* flushes first */
    after = bed_stats(&b);
    flushes = after.flushes - before.flushes;
    uint64_t compactions = after.compactions - before.compactions;
    assert_true(compactions > 0);
    COUNTS([FIRN_LATENCY_FLUSH] = flushes, [FIRN_LATENCY_COMPACTION] = compactions);
    bed_must_close(&b);
    bed_must_open(&b); /* another life */
    for (unsigned i = 0; i < LATENCY_KINDS; i++)
        assert_int_equal(latency_of(b.db, (firn_latency_kind)i).count, 0);
    bed_release(&b);
}

/* ---- How long ---- */

/* Syncs of the log take three seconds, those of tables five. */
static int slow_disk(void *ctx, unsigned call, uint64_t index, const char *name)
{
    (void)index;
    if (call == SIMFS_SYNC)
        simfs_advance(ctx, name && strstr(name, ".wal") ? 3000000 : 5000000);
    return 0;
}

static void they_last_as_long_as_the_clock_says(void **state)
{
    (void)state;
    bed b;
    begin(&b);
    for (unsigned i = 0; i < 4; i++)
        bed_expect(&b, NULL, "k", NULL);
    /* The simulated clock goes on by a microsecond with each look, and a get in memory has no other. */
    firn_latency l = latency_of(b.db, FIRN_LATENCY_GET);
    assert_int_equal(l.count, 4);
    assert_int_equal(l.sum_ns, 4000);
    assert_int_equal(l.max_ns, 1000);
    assert_int_equal(l.p50_ns, 1000);
    assert_int_equal(l.p999_ns, 1000);
    simfs_on_call(b.sim, slow_disk, b.sim);
    MUST(firn_put(b.db, "k", 1, "v", 1, NULL, error));
    firn_latency sync = latency_of(b.db, FIRN_LATENCY_SYNC);
    firn_latency write = latency_of(b.db, FIRN_LATENCY_WRITE);
    assert_in_range(sync.max_ns, 3 * SECOND, 4 * SECOND);
    assert_in_range(write.max_ns, sync.max_ns + 1, 4 * SECOND); /* it has the sync inside */
    assert_in_range(write.p50_ns, write.max_ns, write.max_ns);
    bed_flush(&b);
    assert_in_range(latency_of(b.db, FIRN_LATENCY_FLUSH).max_ns, 5 * SECOND, 60 * SECOND);
    bed_put(&b, "k", "v");
    bed_flush(&b);
    MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
    assert_in_range(latency_of(b.db, FIRN_LATENCY_COMPACTION).max_ns, 5 * SECOND, 60 * SECOND);
    assert_int_equal(latency_of(b.db, FIRN_LATENCY_GET).max_ns, 1000);
    simfs_on_call(b.sim, NULL, NULL);
    bed_release(&b);
}

/* A read, a seek and a write do not even look at the clock. */
static void without_the_option_no_clock_is_read(void **state)
{
    (void)state;
    bed b;
    firn_iter *it = NULL;
    firn_latency l = {.size = 1};
    firn_error err = {0};
    firn_write_options none;
    firn_write_options_init(&none);
    none.durability = FIRN_DURABILITY_NONE;
    begin(&b);
    bed_must_close(&b);
    MUST(firn_options_set(&b.options, "latencies", "false", error));
    bed_must_open(&b);
    MUST(firn_put(b.db, "k", 1, "v", 1, &none, error));
    MUST(firn_iter_new(b.db, NULL, &it, error));
    fs *clock = simfs_fs(b.sim);
    uint64_t before = fs_mono_us(clock);
    bed_expect(&b, NULL, "k", "v");
    bed_expect(&b, NULL, "x", NULL);
    assert_int_equal(firn_iter_first(it), FIRN_OK);
    assert_int_equal(firn_iter_seek_for_prev(it, "z", 1), FIRN_OK);
    assert_int_equal(fs_mono_us(clock), before + 1);
    firn_iter_free(it);
    assert_int_equal(firn_get_latency(b.db, FIRN_LATENCY_GET, &l, &err), FIRN_INVALID);
    assert_non_null(strstr(err.message, "latencies"));
    assert_non_null(strstr(err.hint, "firn_options"));
    assert_int_equal(l.size, 1);
    bed_release(&b);
}

static void wrong_kinds_are_refused_and_have_no_name(void **state)
{
    (void)state;
    bed b;
    firn_latency l = {.size = 1};
    firn_error err = {0};
    begin(&b);
    for (unsigned i = 0; i < LATENCY_KINDS; i++)
        for (unsigned k = 0; k < i; k++)
            assert_string_not_equal(firn_latency_name((firn_latency_kind)i),
                                    firn_latency_name((firn_latency_kind)k));
    assert_string_equal(firn_latency_name(FIRN_LATENCY_GET_MANY), "get_many");
    const int wrong[] = {LATENCY_KINDS, -1, 1 << 20};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_string_equal(firn_latency_name((firn_latency_kind)wrong[i]), "unknown");
        assert_int_equal(firn_get_latency(b.db, (firn_latency_kind)wrong[i], &l, &err),
                         FIRN_INVALID);
        assert_non_null(strstr(err.message, "no latency"));
    }
    assert_int_equal(l.size, 1);
    bed_release(&b);
}

static void a_shorter_or_longer_struct_is_filled_as_far_as_it_goes(void **state)
{
    (void)state;
    bed b;
    begin(&b);
    bed_expect(&b, NULL, "k", NULL);
    const firn_latency whole = latency_of(b.db, FIRN_LATENCY_GET);
    uint8_t zeros[64] = {0};
    for (size_t size = 2 * sizeof(size_t); size <= sizeof whole + 64; size += sizeof(size_t)) {
        size_t known = size < sizeof whole ? size : sizeof whole;
        uint8_t *given = malloc(size);
        memset(given, 0x5a, size);
        MUST(firn_get_latency_sized(b.db, FIRN_LATENCY_GET, (firn_latency *)(void *)given, size,
                                    error));
        assert_memory_equal(given, &size, sizeof size);
        assert_memory_equal(given + sizeof size, (const uint8_t *)&whole + sizeof size,
                            known - sizeof size);
        assert_memory_equal(given + known, zeros, size - known);
        free(given);
    }
    firn_latency named;
    MUST((firn_get_latency)(b.db, FIRN_LATENCY_GET, &named, error));
    assert_memory_equal(&named, &whole, sizeof whole);
    bed_release(&b);
}

/* ---- Threads ---- */

enum { THREADS = 12, ROUNDS = 300 };

typedef struct shared {
    firn *db;
    atomic_bool over;
    _Atomic unsigned wrong;
} shared;

static void *work(void *arg)
{
    shared *s = arg;
    firn_write_options o;
    firn_write_options_init(&o);
    o.durability = FIRN_DURABILITY_NONE;
    for (unsigned i = 0; i < ROUNDS; i++) {
        char key[16];
        char value[64];
        size_t size;
        snprintf(key, sizeof key, "k%05u", i);
        bool bad = firn_put(s->db, key, 6, key, 6, &o, NULL) != FIRN_OK ||
                   firn_get_into(s->db, key, 6, NULL, value, sizeof value, &size, NULL) != FIRN_OK;
        bad = bad || firn_get_into(s->db, "k", 1, NULL, value, 0, &size, NULL) != FIRN_NOT_FOUND;
        atomic_fetch_add(&s->wrong, bad);
    }
    return NULL;
}

/* Looks while others count: what it sees never goes back. */
static void *look(void *arg)
{
    shared *s = arg;
    static char text[64 << 10];
    uint64_t before = 0;
    while (!atomic_load(&s->over)) {
        firn_latency l;
        bool bad = firn_get_latency(s->db, FIRN_LATENCY_GET, &l, NULL) != FIRN_OK ||
                   firn_stats_text(s->db, true, text, sizeof text, NULL, NULL) != FIRN_OK;
        bad = bad || l.count < before || l.p50_ns > l.p99_ns;
        before = l.count;
        atomic_fetch_add(&s->wrong, bad);
    }
    return NULL;
}

static void no_call_is_missed_among_threads(void **state)
{
    (void)state;
    bed b;
    pthread_t threads[THREADS], looker;
    bed_on_disk(&b);
    b.options.latencies = true;
    bed_must_open(&b);
    shared s = {.db = b.db};
    assert_int_equal(pthread_create(&looker, NULL, look, &s), 0);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work, &s), 0);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    atomic_store(&s.over, true);
    pthread_join(looker, NULL);
    assert_int_equal(s.wrong, 0);
    assert_int_equal(latency_of(b.db, FIRN_LATENCY_WRITE).count, THREADS * ROUNDS);
    firn_latency l = latency_of(b.db, FIRN_LATENCY_GET);
    assert_int_equal(l.count, 2 * THREADS * ROUNDS);
    assert_true(l.max_ns >= l.p999_ns && l.p999_ns >= l.p50_ns && l.p50_ns > 0);
    assert_true(l.sum_ns >= l.max_ns && l.sum_ns <= l.max_ns * l.count);
    bed_release(&b);
}

static void *miss(void *arg)
{
    shared *s = arg;
    for (unsigned i = 0; i < ROUNDS; i++) {
        char key[16];
        size_t size;
        snprintf(key, sizeof key, "k%05u-", i);
        bool bad = firn_get_into(s->db, key, 7, NULL, NULL, 0, &size, NULL) != FIRN_NOT_FOUND;
        atomic_fetch_add(&s->wrong, bad);
    }
    return NULL;
}

/* One table, in whose range all keys lie that are asked for. */
static void no_denial_is_missed_among_threads(void **state)
{
    (void)state;
    bed b;
    pthread_t threads[THREADS];
    bed_on_disk(&b);
    MUST(firn_options_set(&b.options, "memory", "64MiB", error));
    b.options.segment_bytes = 1 << 20;
    b.options.latencies = true;
    bed_must_open(&b);
    shared s = {.db = b.db};
    bed_put(&b, "k", "the first one");
    bed_put(&b, "l", "the last one");
    bed_flush(&b);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, miss, &s), 0);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(s.wrong, 0);
    firn_stats figures = bed_stats(&b);
    assert_int_equal(figures.level_tables[0], 1);
    assert_int_equal(figures.level_filter_denied[0] + figures.level_filter_wrong[0],
                     THREADS * ROUNDS);
    bed_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(percentiles_are_those_of_the_sorted_values_within_a_bin),
        cmocka_unit_test(what_takes_longer_than_any_bin_is_in_the_last_one),
        cmocka_unit_test(each_write_and_sync_counts_once),
        cmocka_unit_test(each_read_counts_once),
        cmocka_unit_test(each_seek_counts_once_and_no_step),
        cmocka_unit_test(work_is_counted_as_in_the_figures),
        cmocka_unit_test(they_last_as_long_as_the_clock_says),
        cmocka_unit_test(without_the_option_no_clock_is_read),
        cmocka_unit_test(wrong_kinds_are_refused_and_have_no_name),
        cmocka_unit_test(a_shorter_or_longer_struct_is_filled_as_far_as_it_goes),
        cmocka_unit_test(no_call_is_missed_among_threads),
        cmocka_unit_test(no_denial_is_missed_among_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
