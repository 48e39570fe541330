/* Allocations and system calls that fail, each once, at every place. */
#include "table.h"

#include <base/alloc.h>

#include <errno.h>

static table t;
static model m;
static firn_error err;

static int setup(void **state)
{
    (void)state;
    table_init(&t, 1 << 16);
    t.wo.block_bytes = 256;
    table_seed = 21;
    rng rnd = rng_init(table_seed);
    m = model_random(&rnd, &(shape){60, 2, 10, 4, 60, 4});
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    alloc_fail_at(0);
    simfs_heal(t.sim);
    model_release(&m);
    table_release(&t);
    return 0;
}

static int read_everything(void)
{
    sst_reader *r;
    int rc = table_open(&t, &r, &err);
    if (rc != FIRN_OK)
        return rc;
    for (int use = SST_WORK; use >= SST_FILL && rc == FIRN_OK; use--)
        rc = table_read_all(r, &m, (sst_use)use, &err);
    if (rc == FIRN_OK)
        rc = sst_verify(r, &err);
    sst_reader_close(r);
    return rc;
}

static void a_failed_allocation_while_writing_leaves_no_file(void **state)
{
    (void)state;
    for (unsigned c = 0; c < 3; c++) {
        t.wo.compression = (sst_compression)c;
        int rc = FIRN_NO_MEMORY;
        uint64_t n;
        for (n = 1; rc != FIRN_OK; n++) {
            snprintf(table_case, sizeof table_case, "compression %u, allocation %llu", c,
                     (unsigned long long)n);
            alloc_fail_at(n);
            memset(&err, 0, sizeof err);
            rc = table_build(&t, &m, &err);
            alloc_fail_at(0);
            CHECK(rc == FIRN_OK || (rc == FIRN_NO_MEMORY && err.status == rc));
            CHECK(simfs_exists(t.sim, TABLE_PATH) == (rc == FIRN_OK));
        }
        CHECK(n > 8); /* some were failed */
        CHECK(read_everything() == FIRN_OK);
    }
}

static void a_failed_allocation_while_reading_is_a_status(void **state)
{
    (void)state;
    for (unsigned o = 0; o < 4; o++) {
        t.wo.compression = (sst_compression)(o % 3);
        t.ro.mapped = o == 0;
        CHECK(table_build(&t, &m, &err) == FIRN_OK);
        int rc = FIRN_NO_MEMORY;
        for (uint64_t n = 1; rc != FIRN_OK; n++) {
            snprintf(table_case, sizeof table_case, "option set %u, allocation %llu", o,
                     (unsigned long long)n);
            alloc_fail_at(n);
            rc = read_everything();
            alloc_fail_at(0);
            /* A hash table in the cache that cannot grow is no failure: its chains are longer. */
            CHECK(rc == FIRN_NO_MEMORY || rc == FIRN_OK);
            if (rc == FIRN_OK && alloc_count() >= n)
                rc = FIRN_NO_MEMORY;
        }
    }
}

/* Fails each call of these kinds in turn and expects `expected`, or success if it may be
 * survived. */
static void fail_each_while_writing(unsigned calls, int error, int expected)
{
    uint64_t before = simfs_calls(t.sim, calls);
    CHECK(table_build(&t, &m, &err) == FIRN_OK);
    uint64_t count = simfs_calls(t.sim, calls) - before;
    CHECK(count > 0);
    for (uint64_t at = 1; at <= count; at++) {
        snprintf(table_case, sizeof table_case, "calls %x, error %d, at %llu", calls, error,
                 (unsigned long long)at);
        uint64_t hit = simfs_faults_hit(t.sim);
        simfs_fail(t.sim, (simfs_fault){.calls = calls, .at = at, .error = error});
        memset(&err, 0, sizeof err);
        int rc = table_build(&t, &m, &err);
        CHECK(simfs_faults_hit(t.sim) == hit + 1);
        simfs_heal(t.sim);
        CHECK(rc == expected);
        CHECK(rc == FIRN_OK || (err.status == rc && err.file[0] != 0));
        CHECK(simfs_exists(t.sim, TABLE_PATH) == (rc == FIRN_OK));
        CHECK(rc != FIRN_OK || read_everything() == FIRN_OK);
    }
}

static void a_failed_call_while_writing_leaves_no_file(void **state)
{
    (void)state;
    fail_each_while_writing(SIMFS_CREATE | SIMFS_WRITE | SIMFS_SYNC, EIO, FIRN_IO);
    fail_each_while_writing(SIMFS_CREATE | SIMFS_WRITE | SIMFS_SYNC, ENOSPC, FIRN_NO_SPACE);
    fail_each_while_writing(SIMFS_WRITE, SIMFS_SHORT, FIRN_OK);
    fail_each_while_writing(SIMFS_WRITE, EINTR, FIRN_OK);
}

static void a_full_disk_is_told_and_the_space_is_given_back(void **state)
{
    (void)state;
    CHECK(table_build(&t, &m, &err) == FIRN_OK);
    size_t size;
    simfs_peek(t.sim, TABLE_PATH, &size);
    simfs_remove(t.sim, TABLE_PATH);
    for (size_t room = 0; room < size; room += 97) {
        snprintf(table_case, sizeof table_case, "room for %zu", room);
        simfs_capacity(t.sim, room);
        int rc = table_build(&t, &m, &err);
        CHECK(rc == FIRN_NO_SPACE || rc == FIRN_OK); /* blocks are counted whole */
        CHECK(rc == FIRN_OK || simfs_used(t.sim) == 0);
        simfs_remove(t.sim, TABLE_PATH);
    }
    simfs_capacity(t.sim, UINT64_MAX);
    CHECK(table_build(&t, &m, &err) == FIRN_OK);
}

static void a_failed_call_while_reading_is_told_or_gone_around(void **state)
{
    (void)state;
    for (unsigned o = 0; o < 4; o++) {
        t.wo.compression = (sst_compression)(o % 3);
        t.ro.mapped = o != 3;
        CHECK(table_build(&t, &m, &err) == FIRN_OK);
        uint64_t before = simfs_calls(t.sim, SIMFS_ANY);
        CHECK(read_everything() == FIRN_OK);
        uint64_t count = simfs_calls(t.sim, SIMFS_ANY) - before;
        for (uint64_t at = 1; at <= count; at++) {
            snprintf(table_case, sizeof table_case, "option set %u, call %llu", o,
                     (unsigned long long)at);
            simfs_fail(t.sim, (simfs_fault){.calls = SIMFS_ANY, .at = at, .error = EIO});
            int rc = read_everything();
            simfs_heal(t.sim);
            /* Asking for mapping may fail: the table is then read through the cache. */
            CHECK(rc == FIRN_IO || rc == FIRN_OK);
        }
        simfs_fail(t.sim,
                   (simfs_fault){.calls = SIMFS_READ, .at = 1, .error = EIO, .forever = true});
        CHECK(read_everything() == FIRN_IO);
        simfs_heal(t.sim);
    }
}

static void without_populate_and_without_mapping_tables_are_read_all_the_same(void **state)
{
    (void)state;
    CHECK(table_build(&t, &m, &err) == FIRN_OK);
    simfs_fail(t.sim,
               (simfs_fault){.calls = SIMFS_POPULATE, .at = 1, .error = EINVAL, .forever = true});
    CHECK(read_everything() == FIRN_OK);
    CHECK(simfs_calls(t.sim, SIMFS_POPULATE) > 0);
    simfs_heal(t.sim);
    simfs_fail(t.sim, (simfs_fault){.calls = SIMFS_MAP, .at = 1, .error = ENOMEM, .forever = true});
    CHECK(read_everything() == FIRN_OK);
    simfs_heal(t.sim);
    simfs_mapping_ok(t.sim, false);
    uint64_t maps = simfs_calls(t.sim, SIMFS_MAP);
    CHECK(read_everything() == FIRN_OK);
    CHECK(simfs_calls(t.sim, SIMFS_MAP) == maps);
}

static void a_mapped_page_that_cannot_be_read_is_a_status(void **state)
{
    (void)state;
    sst_reader *r;
    CHECK(table_build(&t, &m, &err) == FIRN_OK);
    CHECK(table_open(&t, &r, &err) == FIRN_OK);
    simfs_fail(t.sim,
               (simfs_fault){.calls = SIMFS_POPULATE, .at = 1, .error = EFAULT, .forever = true});
    CHECK(table_read_all(r, &m, SST_FILL, &err) == FIRN_IO);
    CHECK(table_read_all(r, &m, SST_PASS, &err) == FIRN_IO);
    simfs_heal(t.sim);
    CHECK(table_read_all(r, &m, SST_FILL, &err) == FIRN_OK);
    sst_reader_close(r);
}

static void a_scan_goes_on_when_only_its_read_ahead_fails(void **state)
{
    (void)state;
    for (unsigned mapped = 0; mapped < 2; mapped++) {
        sst_reader *r;
        t.ro.mapped = mapped != 0;
        CHECK(table_build(&t, &m, &err) == FIRN_OK);
        CHECK(table_open(&t, &r, &err) == FIRN_OK);
        uint64_t hit = simfs_faults_hit(t.sim);
        simfs_fail(t.sim,
                   (simfs_fault){.calls = SIMFS_READ | SIMFS_POPULATE, .at = 1, .error = EIO});
        CHECK(table_read_all(r, &m, SST_PASS, &err) == FIRN_OK);
        CHECK(simfs_faults_hit(t.sim) == hit + 1);
        simfs_heal(t.sim);
        sst_reader_close(r);
    }
}

static void an_unsynced_table_is_not_a_table(void **state)
{
    (void)state;
    sst_writer *w;
    const sst_properties *p;
    simfs_fail(t.sim, (simfs_fault){.calls = SIMFS_SYNC, .at = 1, .error = EIO});
    CHECK(sst_writer_open(t.dir, TABLE_NAME, &t.wo, &w, &err) == FIRN_OK);
    CHECK(sst_writer_add(w, slice_of_str("k"), 1, FIRN_PUT, slice_of_str("v"), &err) == FIRN_OK);
    CHECK(sst_writer_finish(w, &p, &err) == FIRN_IO);
    /* W4: a second try would report success for data that is lost. */
    uint64_t syncs = simfs_calls(t.sim, SIMFS_SYNC);
    CHECK(sst_writer_finish(w, &p, &err) == FIRN_IO);
    CHECK(sst_writer_add(w, slice_of_str("l"), 1, FIRN_PUT, slice_of_str("v"), &err) == FIRN_IO);
    CHECK(simfs_calls(t.sim, SIMFS_SYNC) == syncs);
    sst_writer_free(w);
    CHECK(!simfs_exists(t.sim, TABLE_PATH));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_failed_allocation_while_writing_leaves_no_file),
        TEST(a_failed_allocation_while_reading_is_a_status),
        TEST(a_failed_call_while_writing_leaves_no_file),
        TEST(a_full_disk_is_told_and_the_space_is_given_back),
        TEST(a_failed_call_while_reading_is_told_or_gone_around),
        TEST(without_populate_and_without_mapping_tables_are_read_all_the_same),
        TEST(a_mapped_page_that_cannot_be_read_is_a_status),
        TEST(a_scan_goes_on_when_only_its_read_ahead_fails),
        TEST(an_unsynced_table_is_not_a_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
