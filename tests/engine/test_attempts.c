/* Background work that fails: what is told of it, when it is tried again, and that what has been cured goes on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <unistd.h>

#include <commit/commit.h>
#include <jobs/work.h>
#include <tree/names.h>

#include "level0.h"

/* ---- Work that fails for want of room ---- */

static void the_pause_before_the_next_attempt_doubles_up_to_ten_seconds(void **state)
{
    (void)state;
    const uint64_t pauses[] = {100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000};
    for (unsigned i = 0; i < sizeof pauses / sizeof *pauses; i++)
        assert_int_equal(retry_pause_ms(i + 1), pauses[i]);
    assert_int_equal(retry_pause_ms(UINT_MAX), 10000);
}

static uint64_t writes(bed *b)
{
    return simfs_calls(b->sim, SIMFS_CREATE | SIMFS_WRITE | SIMFS_ALLOCATE);
}

/* Tables in level 0 that overlap all of level 1, and less room than that takes. */
static void fill_the_disk(bed *b)
{
    char value[4000];
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    for (char key[2] = "a"; key[0] <= 'h'; key[0]++)
        bed_put(b, key, value);
    MUST(firn_compact(b->db, NULL, 0, NULL, 0, error));
    stop_compaction(b);
    for (unsigned i = 0; i < L0_COMPACT_AT + 2; i++) {
        bed_put(b, "a", "small");
        for (char key[2] = "b"; key[0] <= 'h'; key[0]++)
            bed_delete(b, key);
        bed_flush(b);
    }
    mutex_lock(&b->db->store->state_mu);
    b->db->store->compaction_rests = false;
    mutex_unlock(&b->db->store->state_mu);
    simfs_capacity(b->sim, simfs_used(b->sim) + 10000);
}

static void a_compaction_without_room_writes_nothing_until_there_is_some(void **state)
{
    (void)state;
    bed b;
    bed_on_simfs(&b, 1);
    bed_must_open(&b);
    fill_the_disk(&b);
    uint64_t before = writes(&b), used = simfs_used(b.sim);
    uint64_t tables = bed_stats(&b).level_tables[0];
    for (int attempt = 0; attempt < 10; attempt++) {
        firn_error err = {0};
        assert_int_equal(firn_settle(b.db, &err), FIRN_NO_SPACE);
        assert_non_null(strstr(err.message, "compaction of level 0 may need"));
        assert_non_null(strstr(err.hint, "make room"));
    }
    assert_int_equal(writes(&b), before);
    assert_int_equal(simfs_used(b.sim), used);
    assert_false(bed_stats(&b).poisoned);
    bed_put(&b, "c", "writing goes on"); /* and so does flushing */
    bed_flush(&b);
    assert_int_equal(bed_stats(&b).level_tables[0], tables + 1);
    simfs_capacity(b.sim, UINT64_MAX);
    MUST(firn_settle(b.db, error));
    assert_int_equal(bed_stats(&b).level_tables[0], 0);
    bed_expect(&b, NULL, "c", "writing goes on");
    bed_release(&b);
}

/* Nearly all of it is garbage: who knows that, may say so. */
static void a_caller_may_have_compacted_what_may_not_fit(void **state)
{
    (void)state;
    bed b;
    bed_on_simfs(&b, 1);
    bed_must_open(&b);
    fill_the_disk(&b);
    assert_int_equal(firn_settle(b.db, NULL), FIRN_NO_SPACE);
    MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
    assert_int_equal(bed_stats(&b).level_tables[0], 0);
    mutex_lock(&b.db->store->state_mu);
    assert_int_equal(b.db->store->stuck[WORK_COMPACTION].status, FIRN_OK);
    mutex_unlock(&b.db->store->state_mu);
    bed_release(&b);
}

static int no_room_for_tables(void *ctx, unsigned call, uint64_t index, const char *name)
{
    (void)ctx;
    (void)index;
    return call == SIMFS_CREATE && strstr(name, ".tbl") ? ENOSPC : 0;
}

static void set_stuck(bed *b, background_work work, int rc)
{
    mutex_lock(&b->db->store->state_mu);
    b->db->store->stuck[work].status = b->db->store->stuck[work].error.status = rc;
    b->db->store->compaction_stuck_at = 1;
    snprintf(b->db->store->stuck[work].error.message,
             sizeof b->db->store->stuck[work].error.message, "%s",
             work == WORK_FLUSH ? "of the flush" : "of the compaction");
    mutex_unlock(&b->db->store->state_mu);
}

/* What a writer that has to wait is told: FIRN_OK to wait on, or an error with this message. */
static void writers_are_told(bed *b, int wanted, const char *message)
{
    firn_error err = {0};
    mutex_lock(&b->db->store->state_mu);
    background_work of;
    int rc = store_stopped(b->db->store, &of, &err);
    mutex_unlock(&b->db->store->state_mu);
    assert_int_equal(rc, wanted);
    assert_string_equal(err.message, message);
}

static void who_waits_for_a_healthy_flush_is_not_told_of_a_compaction(void **state)
{
    (void)state;
    bed b;
    bed_on_simfs(&b, 1);
    bed_must_open(&b);
    simfs_on_call(b.sim, no_room_for_tables, NULL);
    for (unsigned i = 0; i <= FROZEN_MAX; i++) {
        bed_put(&b, "k", "v");
        MUST(store_rotate(b.db->store, error));
    }
    simfs_on_call(b.sim, NULL, NULL);
    assert_true(pressure(&b) & PRESSURE_STOP);
    set_stuck(&b, WORK_FLUSH, FIRN_OK);
    set_stuck(&b, WORK_COMPACTION, FIRN_NO_SPACE);
    writers_are_told(&b, FIRN_OK, "");
    set_stuck(&b, WORK_FLUSH, FIRN_NO_MEMORY);
    writers_are_told(&b, FIRN_NO_MEMORY, "of the flush");
    bed_flush(&b);
    /* And the other way round. */
    stop_compaction(&b);
    fill_level0(&b, L0_STOP_AT);
    mutex_lock(&b.db->store->state_mu);
    b.db->store->compaction_rests = false;
    mutex_unlock(&b.db->store->state_mu);
    set_stuck(&b, WORK_FLUSH, FIRN_NO_SPACE);
    set_stuck(&b, WORK_COMPACTION, FIRN_OK);
    writers_are_told(&b, FIRN_OK, "");
    set_stuck(&b, WORK_COMPACTION, FIRN_NO_SPACE);
    writers_are_told(&b, FIRN_NO_SPACE, "of the compaction");
    mutex_lock(&b.db->store->state_mu);
    b.db->store->stuck[WORK_COMPACTION].deep = true; /* level 0 does not wait for it */
    mutex_unlock(&b.db->store->state_mu);
    writers_are_told(&b, FIRN_OK, "");
    bed_release(&b);
}

/* What waits to be flushed becomes a table, whatever writers do: so it counts before it is one. */
static void a_memtable_that_waits_counts_as_a_table_of_level_0(void **state)
{
    (void)state;
    for (unsigned tables = L0_STOP_AT - 2; tables < L0_STOP_AT; tables++) {
        bed b;
        bed_on_simfs(&b, 1);
        bed_must_open(&b);
        stop_compaction(&b);
        fill_level0(&b, tables);
        assert_false(pressure(&b) & PRESSURE_STOP);
        simfs_on_call(b.sim, no_room_for_tables, NULL);
        bed_put(&b, "k", "v");
        MUST(store_rotate(b.db->store, error));
        assert_true(!(pressure(&b) & PRESSURE_STOP) == (tables + 1 < L0_STOP_AT));
        simfs_on_call(b.sim, NULL, NULL);
        bed_release(&b);
    }
}

/* With threads: while compaction has no room, a caller that flushes waits for the flush and hears of nothing else. */
static void a_flush_succeeds_while_a_compaction_waits_for_room(void **state)
{
    (void)state;
    bed b;
    bed_on_disk(&b);
    bed_must_open(&b);
    stop_compaction(&b);
    set_stuck(&b, WORK_COMPACTION, FIRN_NO_SPACE);
    for (unsigned i = 0; i < 3; i++) {
        bed_put(&b, "k", "v");
        bed_flush(&b);
        mutex_lock(&b.db->store->state_mu);
        assert_int_equal(b.db->store->stuck[WORK_COMPACTION].status, FIRN_NO_SPACE);
        mutex_unlock(&b.db->store->state_mu);
    }
    bed_release(&b);
}

/* ---- What an attempt has found may have been cured ---- */

/* The real file system, but for what is done when a table is made. */
static struct {
    fs base;
    fs_ops ops;
    atomic_bool full;
    atomic_bool for_compaction; /* and not for flushes */
    _Atomic unsigned refused;
    _Atomic uint64_t last_us,
        least_us; /* the last attempt that was refused, and the least time between two */
} full_disk;

static bool is_full_for_me(void)
{
    char name[16] = "";
    if (!atomic_load(&full_disk.for_compaction))
        return atomic_load(&full_disk.full);
    pthread_getname_np(pthread_self(), name, sizeof name);
    return atomic_load(&full_disk.full) && strncmp(name, "firn-compact", 12) == 0;
}

static int full_disk_open(fs_dir *dir, const char *name, unsigned flags, fs_file **out)
{
    if (!(flags & FS_CREATE_NEW) || !strstr(name, ".tbl") || !is_full_for_me())
        return fs_posix()->ops->open(dir, name, flags, out);
    uint64_t now = fs_mono_us(fs_posix()), last = atomic_exchange(&full_disk.last_us, now);
    if (atomic_fetch_add(&full_disk.refused, 1) > 0 &&
        now - last < atomic_load(&full_disk.least_us))
        atomic_store(&full_disk.least_us, now - last);
    return -ENOSPC;
}

static void open_on_full_disk(bed *b, bool for_compaction)
{
    bed_on_disk(b);
    full_disk.ops = *fs_posix()->ops;
    full_disk.ops.open = full_disk_open;
    full_disk.base.ops = &full_disk.ops;
    atomic_store(&full_disk.full, true);
    atomic_store(&full_disk.for_compaction, for_compaction);
    atomic_store(&full_disk.refused, 0);
    atomic_store(&full_disk.least_us, UINT64_MAX);
    b->config.fs = &full_disk.base;
    bed_must_open(b);
}

/* A store whose flusher has found the disk full so often that it pauses for seconds. */
static void bed_on_full_disk(bed *b)
{
    open_on_full_disk(b, false);
    bed_put(b, "k", "v");
    for (unsigned calls = 1; calls <= 7; calls++) {
        unsigned before = atomic_load(&full_disk.refused);
        assert_int_equal(firn_flush(b->db, NULL), FIRN_NO_SPACE);
        /* One attempt that was under way, and one that was asked for. */
        assert_true(atomic_load(&full_disk.refused) > before);
        assert_true(atomic_load(&full_disk.refused) <= before + 2);
    }
    assert_true(atomic_load(&full_disk.least_us) >= RETRY_MS * 1000);
}

static void a_flush_that_is_cured_is_told_as_cured(void **state)
{
    (void)state;
    for (unsigned way = 0; way < 3; way++) {
        bed b;
        bed_on_full_disk(&b);
        assert_int_equal(way == 0   ? firn_flush(b.db, NULL)
                         : way == 1 ? firn_settle(b.db, NULL)
                                    : firn_compact(b.db, NULL, 0, NULL, 0, NULL),
                         FIRN_NO_SPACE);
        atomic_store(&full_disk.full, false);
        MUST(way == 0   ? firn_flush(b.db, error)
             : way == 1 ? firn_settle(b.db, error)
                        : firn_compact(b.db, NULL, 0, NULL, 0, error));
        assert_true(bed_tables(&b) > 0);
        bed_expect(&b, NULL, "k", "v");
        bed_release(&b);
    }
}

/* The same for who settles: workers that pause for seconds try again, and what they had found before is not told. */
static void a_compaction_that_is_cured_is_told_as_cured(void **state)
{
    (void)state;
    bed b;
    open_on_full_disk(&b, true);
    for (unsigned i = 0; i < L0_COMPACT_AT; i++) {
        bed_put(&b, i % 2 ? "a" : "b", "value");
        bed_put(&b, "c", "value");
        bed_flush(&b);
    }
    for (unsigned calls = 1; calls <= 8; calls++) {
        firn_error err = {0};
        unsigned before = atomic_load(&full_disk.refused);
        assert_int_equal(firn_settle(b.db, &err), FIRN_NO_SPACE);
        assert_true(atomic_load(&full_disk.refused) > before);
    }
    assert_true(bed_stats(&b).level_tables[0] > 1);
    atomic_store(&full_disk.full, false);
    MUST(firn_settle(b.db, error));
    assert_true(bed_stats(&b).level_tables[0] <= 1);
    bed_expect(&b, NULL, "c", "value");
    bed_release(&b);
}

static void a_writer_is_not_refused_for_what_is_cured(void **state)
{
    (void)state;
    bed b;
    bed_on_full_disk(&b);
    for (unsigned i = 0; i < FROZEN_MAX; i++) {
        bed_put(&b, "k", "w");
        MUST(store_rotate(b.db->store, error));
    }
    assert_true(pressure(&b) & PRESSURE_STOP);
    assert_int_equal(firn_put(b.db, "k", 1, "x", 1, NULL, NULL), FIRN_NO_SPACE);
    assert_true(atomic_load(&full_disk.least_us) >= RETRY_MS * 1000);
    atomic_store(&full_disk.full, false);
    bed_put(&b, "k", "y");
    bed_flush(&b);
    bed_expect(&b, NULL, "k", "y");
    bed_release(&b);
}

/* Workers that pause for seconds, behind compactions that had no room: a writer at a full level 0 ends the pause. */
static void a_writer_is_not_refused_for_a_compaction_that_is_cured(void **state)
{
    (void)state;
    bed b;
    open_on_full_disk(&b, true);
    fill_level0(&b, L0_COMPACT_AT);
    for (unsigned calls = 1; calls <= 7; calls++)
        assert_int_equal(firn_settle(b.db, NULL), FIRN_NO_SPACE);
    fill_level0(&b, L0_STOP_AT);
    assert_true(pressure(&b) & PRESSURE_STOP);
    for (unsigned calls = 1; calls <= 2; calls++) {
        unsigned before = atomic_load(&full_disk.refused);
        assert_int_equal(firn_put(b.db, "k", 1, "x", 1, NULL, NULL), FIRN_NO_SPACE);
        assert_true(atomic_load(&full_disk.refused) >
                    before); /* it was tried, and not told of an older one */
    }
    atomic_store(&full_disk.full, false);
    bed_put(&b, "k", "y");
    MUST(firn_settle(b.db, error));
    bed_expect(&b, NULL, "k", "y");
    bed_release(&b);
}

static void ask_in_vain(void *arg)
{
    bed *b = arg;
    for (unsigned i = 0; i < 3; i++)
        if (firn_flush(b->db, NULL) != FIRN_NO_SPACE)
            abort();
}

/* However many ask, attempts keep their distance. */
static void a_full_disk_is_tried_only_now_and_then(void **state)
{
    (void)state;
    bed b;
    thread callers[8];
    bed_on_full_disk(&b);
    unsigned before = atomic_load(&full_disk.refused);
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(thread_start(&callers[i], "caller", ask_in_vain, &b), 0);
    for (size_t i = 0; i < 8; i++)
        thread_join(&callers[i]);
    assert_true(atomic_load(&full_disk.refused) >= before + 3);
    assert_true(atomic_load(&full_disk.least_us) >= RETRY_MS * 1000);
    atomic_store(&full_disk.full, false);
    bed_flush(&b);
    bed_release(&b);
}

/* ---- Tables that compaction cannot read ---- */

/* The real file system, but for reads of the workers. */
static struct {
    fs base;
    fs_ops ops;
    _Atomic int refuses; /* so many more */
    _Atomic unsigned refused;
} bad_sector;

static ssize_t bad_sector_read(fs_file *file, void *data, size_t size, uint64_t offset)
{
    char name[16] = "";
    pthread_getname_np(pthread_self(), name, sizeof name);
    if (strncmp(name, "firn-compact", 12) == 0 && atomic_load(&bad_sector.refuses) > 0 &&
        atomic_fetch_sub(&bad_sector.refuses, 1) > 0) {
        atomic_fetch_add(&bad_sector.refused, 1);
        return -EIO;
    }
    return fs_posix()->ops->pread(file, data, size, offset);
}

/* It is tried again by itself, and writing goes on. */
static void a_table_that_could_not_be_read_for_a_while_is_compacted(void **state)
{
    (void)state;
    bed b;
    bed_on_disk(&b);
    bad_sector.ops = *fs_posix()->ops;
    bad_sector.ops.pread = bad_sector_read;
    bad_sector.base.ops = &bad_sector.ops;
    atomic_store(&bad_sector.refuses, 3);
    atomic_store(&bad_sector.refused, 0);
    b.config.fs = &bad_sector.base;
    b.options.never_map = true;
    bed_must_open(&b);
    fill_level0(&b, L0_COMPACT_AT - 1);
    bed_put(&b, "a", "last");
    bed_flush(&b);
    while (atomic_load(&bad_sector.refused) < 3 || bed_stats(&b).level_tables[0] >= L0_COMPACT_AT) {
        bed_put(&b, "b", "writing goes on");
        usleep(1000);
    }
    MUST(firn_settle(b.db, error));
    assert_int_equal(bed_stats(&b).compaction_error.status, FIRN_OK);
    bed_expect(&b, NULL, "a", "last");
    bed_release(&b);
}

/* What a calm had found due and has failed is told until the next calm look: others find nothing to do meanwhile. */
static void what_has_failed_in_a_calm_is_told_until_the_next_one(void **state)
{
    (void)state;
    bed b;
    bed_on_disk(&b);
    bed_must_open(&b);
    bed_put(&b, "a", "value");
    MUST(firn_settle(b.db, error));
    uint64_t before, begun = 0;
    mutex_lock(&b.db->store->state_mu);
    b.db->store->calm_failed = true;
    before = b.db->store->compactions_begun;
    mutex_unlock(&b.db->store->state_mu);
    set_stuck(&b, WORK_COMPACTION, FIRN_IO);
    store_ring(b.db->store);
    while (begun < before + COMPACTORS_MOST) { /* at least one look has ended */
        usleep(1000);
        mutex_lock(&b.db->store->state_mu);
        begun = b.db->store->compactions_begun;
        bool calm = !b.db->store->calm_failed,
             told = b.db->store->stuck[WORK_COMPACTION].status == FIRN_IO;
        mutex_unlock(&b.db->store->state_mu);
        assert_true(told || calm);
        store_ring(b.db->store);
    }
    while (bed_stats(&b).compaction_error.status != FIRN_OK) /* until a calm look finds it well */
        usleep(1000);
    bed_release(&b);
}

/* Changes one byte in the middle of a file, or changes it back. */
static void flip_a_byte(const char *path)
{
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, 100, SEEK_SET), 0);
    int c = fgetc(f);
    assert_int_equal(fseek(f, 100, SEEK_SET), 0);
    assert_int_not_equal(fputc(c ^ 1, f), EOF);
    assert_int_equal(fclose(f), 0);
}

/* A caller that settles is told, and so are writers, once level 0 is full: of the table, and each time. When it is whole again,
 * all goes on. */
static void a_damaged_table_holds_compaction_up_and_is_told(void **state)
{
    (void)state;
    bed b;
    bed_on_disk(&b);
    b.options.never_map = true;
    bed_must_open(&b);
    char value[200], path[600];
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    bed_put(&b, "a", value);
    bed_put(&b, "b", value);
    MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
    view *v = store_view(b.db->store);
    snprintf(path, sizeof path, "%s/", b.folder);
    name_table(v->version->levels[1].tables[0]->no, path + strlen(path));
    view_unref(v);
    bed_must_close(&b);
    flip_a_byte(path);
    bed_must_open(&b);
    fill_level0(&b, L0_STOP_AT);
    for (unsigned calls = 0; calls < 3; calls++) {
        firn_error err = {0};
        assert_int_equal(firn_settle(b.db, &err), FIRN_DAMAGED);
        assert_non_null(strstr(err.file, ".tbl"));
        err = (firn_error){0};
        assert_int_equal(firn_put(b.db, "k", 1, "x", 1, NULL, &err), FIRN_DAMAGED);
        assert_non_null(strstr(err.file, ".tbl"));
    }
    assert_false(bed_stats(&b).poisoned);
    assert_int_equal(bed_stats(&b).compaction_error.status, FIRN_DAMAGED);
    bed_expect(&b, NULL, "b", "value");
    flip_a_byte(path);
    MUST(firn_settle(b.db, error));
    bed_put(&b, "k", "y");
    bed_expect(&b, NULL, "k", "y");
    assert_int_equal(bed_stats(&b).compaction_error.status, FIRN_OK);
    bed_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_pause_before_the_next_attempt_doubles_up_to_ten_seconds),
        cmocka_unit_test(a_compaction_without_room_writes_nothing_until_there_is_some),
        cmocka_unit_test(a_caller_may_have_compacted_what_may_not_fit),
        cmocka_unit_test(who_waits_for_a_healthy_flush_is_not_told_of_a_compaction),
        cmocka_unit_test(a_memtable_that_waits_counts_as_a_table_of_level_0),
        cmocka_unit_test(a_flush_succeeds_while_a_compaction_waits_for_room),
        cmocka_unit_test(a_flush_that_is_cured_is_told_as_cured),
        cmocka_unit_test(a_compaction_that_is_cured_is_told_as_cured),
        cmocka_unit_test(a_writer_is_not_refused_for_what_is_cured),
        cmocka_unit_test(a_writer_is_not_refused_for_a_compaction_that_is_cured),
        cmocka_unit_test(a_full_disk_is_tried_only_now_and_then),
        cmocka_unit_test(a_table_that_could_not_be_read_for_a_while_is_compacted),
        cmocka_unit_test(what_has_failed_in_a_calm_is_told_until_the_next_one),
        cmocka_unit_test(a_damaged_table_holds_compaction_up_and_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
