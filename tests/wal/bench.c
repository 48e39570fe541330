#include "bench.h"

int bench_setup(void **state)
{
    bench *b = calloc(1, sizeof *b);
    log_builder_init(&b->log);
    b->sim = simfs_new(5);
    *state = b;
    return 0;
}

void bench_shut(bench *b)
{
    if (b->w)
        assert_int_equal(firn_wal_close(b->w, NULL), FIRN_OK);
    b->w = NULL;
    fs_dir_close(b->dir);
    b->dir = NULL;
    firn_wal_report_release(&b->report);
}

int bench_teardown(void **state)
{
    bench *b = *state;
    bench_shut(b);
    assert_int_equal(simfs_open_count(b->sim), 0);
    simfs_free(b->sim);
    log_builder_release(&b->log);
    free(b);
    return 0;
}

int bench_open_with(bench *b, const wal_config *config)
{
    bench_shut(b);
    memset(&b->error, 0, sizeof b->error);
    b->read = (log_read){.of = &b->log};
    assert_int_equal(fs_dir_open(simfs_fs(b->sim), LOG_FOLDER, &b->dir, NULL), FIRN_OK);
    int rc = wal_open(b->dir, config, &b->report, &b->w, &b->error);
    if (rc == FIRN_OK)
        rc = firn_wal_replay(b->w, 0, log_read_entry, &b->read, NULL, &b->error);
    assert_true(b->read.wrong <= b->appended);
    return rc;
}

int bench_open(bench *b, firn_recovery policy)
{
    wal_config config = log_config(policy);
    return bench_open_with(b, &config);
}

uint64_t bench_append(bench *b)
{
    uint64_t seq = 0;
    assert_int_equal(firn_wal_append(b->w, FIRN_PUT, "n", 1, "", 0, NULL, &seq, &b->error),
                     FIRN_OK);
    b->appended++;
    return seq;
}

void bench_write(bench *b)
{
    simfs_write_file(b->sim, LOG_FOLDER "/note", "", 0);
    log_write(&b->log, b->sim);
}

bool bench_in_lost(bench *b, const char *name)
{
    char path[96];
    snprintf(path, sizeof path, LOG_FOLDER "/lost/%s", name);
    return simfs_exists(b->sim, path);
}
