/* Writes that fill much of a memtable: however many come together, level 0 and the memtables that wait stay within their limits,
 * and writers have their turns. What is asked is counted in tables and writes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <wal/group.h>

#include <commit/commit.h>
#include <store/load.h>
#include "bed.h"
#include <store/store.h>

#define KIB UINT64_C(1024)
#define MIB (KIB * 1024)

static void a_write_counts_by_what_it_may_freeze(void **state)
{
    (void)state;
    assert_int_equal(slow_weight(0, MIB), 0);
    assert_int_equal(slow_weight(MIB / 64 - 1, MIB), 0);
    assert_int_equal(slow_weight(MIB / 64, MIB), SLOW_ONE / 32);
    assert_int_equal(slow_weight(MIB / 4, MIB), SLOW_ONE / 2);
    assert_int_equal(slow_weight(MIB / 2, MIB), SLOW_ONE);
    assert_int_equal(slow_weight(UINT64_MAX, MIB), SLOW_ONE);
    for (uint64_t bytes = 0; bytes < MIB; bytes += 1000)
        assert_true(slow_weight(bytes, MIB) <= slow_weight(bytes + 1000, MIB));
}

static void writes_ahead_count_as_memtables_that_wait(void **state)
{
    (void)state;
    for (uint32_t tables = 0; tables <= L0_STOP_AT; tables++)
        for (size_t frozen = 0; frozen <= FROZEN_MAX + 1; frozen++) {
            /* One alone always gets on where writers do not wait. */
            assert_true(slow_admits(tables, frozen, 0, SLOW_ONE) == !slow_stops(tables, frozen));
            for (unsigned ahead = 1; ahead <= FROZEN_MAX + 1; ahead++)
                assert_true(slow_admits(tables, frozen, ahead * SLOW_ONE, SLOW_ONE) ==
                            !slow_stops(tables, frozen + ahead));
        }
    /* Those of less weight go together. */
    assert_true(slow_admits(0, FROZEN_MAX, SLOW_ONE / 2, SLOW_ONE / 2));
    assert_false(slow_admits(0, FROZEN_MAX, SLOW_ONE / 2, SLOW_ONE / 2 + 1));
}

/* ---- In virtual time ---- */

/* Writers of batches of which each fills a memtable, a flush, and a compaction that takes all of level 0, beside 8 MiB below. */
enum { WRITERS = 24, BATCHES = 4000, BATCH_BYTES = 820000, TICK_US = 100, WRITE_US = 500 };
enum { BELOW_BYTES = 8 << 20 };

typedef struct world {
    uint64_t now_us, flush_per_ms, merge_per_ms; /* bytes */
    uint32_t tables, merging;                    /* merging: tables of the job; 0: there is none */
    size_t frozen;
    double flushed, merged; /* bytes, of the one that is under way */
} world;

static double job_bytes(const world *w)
{
    return (double)w->merging * BATCH_BYTES + BELOW_BYTES;
}

static void pass_tick(world *w)
{
    w->now_us += TICK_US;
    if (w->frozen && (w->flushed += (double)w->flush_per_ms * TICK_US / 1000) >= BATCH_BYTES) {
        w->flushed = 0;
        w->frozen--;
        w->tables++;
    }
    if (!w->merging && w->tables >= L0_COMPACT_AT) {
        w->merging = w->tables;
        w->merged = 0;
    }
    if (w->merging && (w->merged += (double)w->merge_per_ms * TICK_US / 1000) >= job_bytes(w)) {
        w->tables -= w->merging;
        w->merging = 0;
    }
    assert_true(w->tables + w->frozen <= L0_STOP_AT);
    assert_true(w->frozen <= FROZEN_MAX + 1);
}

static uint32_t sleeps_ms(const world *w, uint64_t bytes, double filled)
{
    bool for_flush;
    double merged = w->merging ? w->merged / job_bytes(w) : 0;
    slow_state now = {.load = slow_load(w->tables, 0, BELOW_BYTES),
                      .relief = (uint32_t)(merged * w->merging * SLOW_ONE),
                      .tables = w->tables,
                      .frozen = (uint32_t)w->frozen,
                      .done = (uint32_t)(w->flushed / BATCH_BYTES * SLOW_FLUSH_READ * SLOW_ONE),
                      .filled = (uint32_t)(filled * SLOW_ONE)};
    uint64_t ns = slow_owed_ns(&now, bytes, &for_flush);
    return slow_sleep_ms(ns, (w->now_us * UINT64_C(0x9e3779b97f4a7c15)) >> 20);
}

typedef struct virtual_writer {
    bool let_through; /* sleeps or writes until `until_us`, in the order in which it came */
    uint64_t until_us, turn, writes;
} virtual_writer;

/* The first that came of those that wait for their turn, or that have been let through and do not sleep. */
static virtual_writer *first_of(virtual_writer *all, bool let_through, uint64_t now_us)
{
    virtual_writer *first = NULL;
    for (unsigned i = 0; i < WRITERS; i++)
        if (all[i].let_through == let_through && all[i].until_us <= now_us &&
            (!first || all[i].turn < first->turn))
            first = &all[i];
    return first;
}

static void write_batches(world *w)
{
    virtual_writer all[WRITERS] = {0};
    uint64_t turns = 0, ahead = 0, written = 0, log_free_us = 0;
    const uint32_t weight = slow_weight(BATCH_BYTES, MIB);
    for (unsigned i = 0; i < WRITERS; i++)
        all[i].turn = turns++;
    while (written < BATCHES) {
        pass_tick(w);
        virtual_writer *in_log = first_of(all, true, w->now_us);
        if (in_log && w->now_us >= log_free_us) {
            log_free_us = w->now_us + WRITE_US;
            w->frozen++; /* the batch before it */
            ahead -= weight;
            written++;
            *in_log = (virtual_writer){.turn = turns++, .writes = in_log->writes + 1};
        }
        for (virtual_writer *v; (v = first_of(all, false, w->now_us)) &&
                                !slow_stops(w->tables, w->frozen) &&
                                slow_admits(w->tables, w->frozen, ahead, weight);) {
            v->let_through = true;
            v->until_us = w->now_us + sleeps_ms(w, BATCH_BYTES, 1) * UINT64_C(1000);
            ahead += weight;
        }
    }
    /* Each has its turn; those that are let through at once may overtake each other. */
    for (unsigned i = 0; i < WRITERS; i++)
        assert_in_range(all[i].writes, BATCHES / WRITERS * 9 / 10, BATCHES / WRITERS * 11 / 10);
}

/* Puts behind them wait for what is there: for no more than one job and one flush, and soon for nothing. */
static void write_small(world *w)
{
    uint64_t wait_us = 0, puts = 0, until_us = 0;
    const uint64_t bytes = 1000, begun_us = w->now_us;
    const uint64_t most_us =
        1000 * (L0_STOP_AT * (uint64_t)BATCH_BYTES + BELOW_BYTES) / w->merge_per_ms +
        1000 * (uint64_t)BATCH_BYTES / w->flush_per_ms + 2 * TICK_US;
    double filled = 0;
    while (w->now_us < begun_us + 5000000) {
        pass_tick(w);
        if (w->now_us < until_us)
            continue;
        if (slow_stops(w->tables, w->frozen)) {
            wait_us += TICK_US;
            assert_true(wait_us <= most_us);
            continue;
        }
        wait_us = 0;
        until_us = w->now_us + sleeps_ms(w, bytes, filled) * UINT64_C(1000);
        assert_true(until_us <= w->now_us + 10000);
        puts++;
        filled += (double)bytes / (double)MIB;
        if (filled >= 1) {
            filled = 0;
            w->frozen++;
        }
    }
    assert_true(puts >= 5000);
}

static void batches_of_many_writers_stay_within_the_limits(void **state)
{
    (void)state;
    static const uint64_t flush_speeds[] = {20000, 200000, 2000000},
                          merge_speeds[] = {20000, 60000, 400000};
    for (unsigned f = 0; f < 3; f++)
        for (unsigned m = 0; m < 3; m++) {
            world w = {.flush_per_ms = flush_speeds[f], .merge_per_ms = merge_speeds[m]};
            write_batches(&w);
            write_small(&w);
        }
}

/* ---- In a store ---- */

/* As an edit installs a version: tables of level 0, and all that writes have frozen. */
static struct {
    _Atomic unsigned most_tables, most_behind;
} seen;

static void look(void *ctx, firn *db, const struct edit *e)
{
    (void)ctx;
    (void)e;
    view *v = store_view(db->store);
    unsigned tables = (unsigned)v->version->levels[0].count;
    unsigned behind = tables + (unsigned)v->frozen_count;
    if (tables > atomic_load(&seen.most_tables))
        atomic_store(&seen.most_tables, tables);
    if (behind > atomic_load(&seen.most_behind))
        atomic_store(&seen.most_behind, behind);
    view_unref(v);
}

enum { THREADS = 12, EACH = 12 };

typedef struct batch_form {
    unsigned entries, value_bytes;
} batch_form;

static const batch_form large_values = {200, 4096};
static const batch_form only_keys = {16000, 0}; /* their index is much more than they are */

typedef struct batch_writer {
    thread t;
    bed *b;
    const batch_form *form;
    unsigned no, count;
    atomic_uint *written;
} batch_writer;

static void write_one_batch(bed *b, const batch_form *form, unsigned no)
{
    static const char value[4096];
    firn_batch *batch;
    firn_write_options options;
    firn_write_options_init(&options);
    options.durability = FIRN_DURABILITY_NONE;
    assert_int_equal(firn_batch_new(&batch), FIRN_OK);
    for (unsigned i = 0; i < form->entries; i++) {
        uint32_t key[2] = {no * UINT32_C(2654435761), i};
        assert_int_equal(firn_batch_put(batch, key, sizeof key, value, form->value_bytes), FIRN_OK);
    }
    MUST(firn_write(b->db, batch, &options, NULL, error));
    firn_batch_free(batch);
}

static void write_some(void *arg)
{
    batch_writer *w = arg;
    for (unsigned i = 0; i < w->count; i++) {
        write_one_batch(w->b, w->form, w->no * EACH + i);
        atomic_fetch_add(w->written, 1);
    }
}

static void start_all(batch_writer *all, bed *b, const batch_form *form, unsigned count,
                      atomic_uint *written)
{
    for (unsigned i = 0; i < THREADS; i++) {
        all[i] = (batch_writer){.b = b, .form = form, .no = i, .count = count, .written = written};
        assert_int_equal(thread_start(&all[i].t, "writer", write_some, &all[i]), 0);
    }
}

static void bed_of_small_memory(bed *b)
{
    bed_on_disk(b);
    b->options.memory = 8 * MIB;
    b->options.segment_bytes = 0;
    b->config.installed = look;
    atomic_store(&seen.most_tables, 0);
    atomic_store(&seen.most_behind, 0);
    bed_must_open(b);
}

static void assert_nothing_is_ahead(bed *b)
{
    mutex_lock(&b->db->store->state_mu);
    uint64_t ahead = b->db->store->ahead;
    bool none_waits = b->db->store->turns == NULL;
    mutex_unlock(&b->db->store->state_mu);
    assert_int_equal(ahead, 0);
    assert_true(none_waits);
}

/* They come while another write leads, so that all of them have been let through that are let through at all. */
static void three_of_many_pass(const batch_form *form)
{
    bed b;
    batch_writer all[THREADS];
    atomic_uint written = 0;
    wal_request r;
    wal_group g;
    firn_error err = {0};
    bed_of_small_memory(&b);
    mutex_lock(&b.db->store->flush_mu); /* a flush that takes long */
    MUST(wal_request_rotate(b.db->store->wal, &r, error));
    assert_true(wal_join(b.db->store->wal, &r));
    start_all(all, &b, form, 1, &written);
    for (unsigned tries = 0; bed_stats(&b).waiting < THREADS - FROZEN_MAX - 1 && tries < 5000;
         tries++)
        usleep(1000);
    firn_stats s = bed_stats(&b);
    int rc = wal_group_rotate(b.db->store->wal, &g, &r, &err); /* nothing lies in front of it */
    wal_group_end(b.db->store->wal, &g, rc, &err);
    assert_int_equal(wal_await(b.db->store->wal, &r), FIRN_OK);
    assert_int_equal(s.waiting, THREADS - FROZEN_MAX - 1);
    assert_int_equal(s.waiting_for, FIRN_WAIT_FLUSH);
    /* So many are written, and one more for each that is flushed. */
    while (atomic_load(&written) < FROZEN_MAX + 1)
        usleep(1000);
    assert_true(bed_stats(&b).memtables <= 1 + FROZEN_MAX + 1);
    mutex_unlock(&b.db->store->flush_mu);
    for (unsigned i = 0; i < THREADS; i++)
        thread_join(&all[i].t);
    assert_int_equal(atomic_load(&written), THREADS);
    assert_nothing_is_ahead(&b);
    bed_release(&b);
}

static void writers_that_come_together_do_not_all_pass(void **state)
{
    (void)state;
    three_of_many_pass(&large_values);
}

static void the_index_of_small_operations_takes_room_too(void **state)
{
    (void)state;
    three_of_many_pass(&only_keys);
}

static atomic_uint told_waits;

static void listen(void *ctx, firn_log_level lvl, const char *line)
{
    (void)ctx;
    (void)lvl;
    if (strstr(line, "writers wait"))
        atomic_fetch_add(&told_waits, 1);
}

/* Nothing else happens in the store: behind what it tells, a writer sleeps until it is woken. */
static void room_that_is_given_back_wakes_a_writer(void **state)
{
    (void)state;
    bed b;
    batch_writer writer;
    atomic_uint written = 0;
    bed_on_disk(&b);
    b.options.memory = 8 * MIB;
    b.options.segment_bytes = 0;
    b.options.log = listen;
    bed_must_open(&b);
    atomic_store(&told_waits, 0);
    for (unsigned i = 0; i < FROZEN_MAX + 1; i++)
        MUST(room_take(b.db->store, SLOW_ONE, error));
    writer = (batch_writer){.b = &b, .form = &large_values, .count = 1, .written = &written};
    assert_int_equal(thread_start(&writer.t, "writer", write_some, &writer), 0);
    while (atomic_load(&told_waits) == 0)
        usleep(1000);
    usleep(20000);
    assert_int_equal(atomic_load(&written), 0);
    for (unsigned i = 0; i < FROZEN_MAX + 1; i++)
        room_give(b.db->store, SLOW_ONE);
    thread_join(&writer.t);
    assert_int_equal(atomic_load(&written), 1);
    bed_release(&b);
}

static void level_0_stays_within_its_limit_under_batches(void **state)
{
    (void)state;
    bed b;
    batch_writer all[THREADS];
    atomic_uint written = 0;
    bed_of_small_memory(&b);
    start_all(all, &b, &large_values, EACH, &written);
    for (unsigned i = 0; i < THREADS; i++)
        thread_join(&all[i].t);
    for (unsigned i = 0; i < 1000; i++)
        bed_put(&b, i % 2 ? "odd" : "even", "small");
    assert_int_equal(atomic_load(&written), THREADS * EACH);
    assert_true(atomic_load(&seen.most_tables) > 0);
    assert_true(atomic_load(&seen.most_behind) <= L0_STOP_AT);
    MUST(firn_settle(b.db, error));
    assert_nothing_is_ahead(&b);
    bed_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_write_counts_by_what_it_may_freeze),
        cmocka_unit_test(writes_ahead_count_as_memtables_that_wait),
        cmocka_unit_test(batches_of_many_writers_stay_within_the_limits),
        cmocka_unit_test(writers_that_come_together_do_not_all_pass),
        cmocka_unit_test(the_index_of_small_operations_takes_room_too),
        cmocka_unit_test(room_that_is_given_back_wakes_a_writer),
        cmocka_unit_test(level_0_stays_within_its_limit_under_batches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
