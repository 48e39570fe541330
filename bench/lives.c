/* lives: workloads about the life of a store rather than about single operations: settle, compact,
 * bulkload, reopen, recover, reads over a range that was deleted, and a queue. */
#include "bench.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define TOMBSTONES    200000
#define REOPENS       5
#define SEEK_SECONDS  3.0 /* some engines show a handful of seeks over tombstones a second */
#define SORTED_BATCH  1000
#define QUEUE_LENGTH  1000
#define QUEUE_SECONDS 20.0 /* some engines become slower with each message */

/* Fills in what the time between two usages tells. */
static void close_row(bench_row *row, const char *name, uint64_t started_ns, usage before)
{
    usage now = measure_usage();
    snprintf(row->name, sizeof row->name, "%s", name);
    row->seconds += (double)(now_ns() - started_ns) * 1e-9;
    row->cpu_s += now.cpu_s - before.cpu_s;
    row->written_bytes += now.written_bytes - before.written_bytes;
    if (measure_peak() > row->peak_bytes)
        row->peak_bytes = measure_peak();
}

/* The write before it and the wait together: no engine wins by leaving work for later. */
static void settle(run *r)
{
    bench_row row = r->last_write;
    char name[sizeof row.name];
    usage before = measure_usage();
    uint64_t started = now_ns();
    if (row.ops == 0)
        run_fail(r, "there is no write before it");
    snprintf(name, sizeof name, "%.20s+settle", row.name);
    double idle = r->e->settle(r->db);
    close_row(&row, name, started, before);
    row.seconds -= idle;
    row.disk_bytes = measure_folder(r->path);
    row.p50_us = row.p99_us = row.p999_us = row.max_us = 0;
    row.samples = 0;
    run_emit(r, &row);
}

static void compact(run *r)
{
    bench_row row = {.ops = r->records, .threads = 1};
    usage before = measure_usage();
    uint64_t started = now_ns();
    if (r->e->compact)
        r->e->compact(r->db);
    r->e->settle(r->db);
    close_row(&row, "compact", started, before);
    row.disk_bytes = measure_folder(r->path);
    r->compacted = true;
    if (r->e->compact)
        run_emit(r, &row);
}

/* ---- bulk ---- */

typedef struct sorted {
    const data *data;
    uint64_t next, count;
    char key[KEY_MAX + 1], value[VALUE_MAX];
} sorted;

static bool next_sorted(void *ctx, bench_op *op)
{
    sorted *s = ctx;
    if (s->next == s->count)
        return false;
    data_key(s->data, s->next++, s->key);
    data_value(s->data, s->key, 1, s->value);
    *op = (bench_op){s->key, s->value, s->data->key_bytes, s->data->value_bytes, false};
    return true;
}

/* For an engine without a way of its own. */
static void bulk_in_batches(run *r, sorted *s)
{
    const data *d = s->data;
    size_t size = d->key_bytes + d->value_bytes;
    size_t most = (4U << 20) / size < SORTED_BATCH ? (4U << 20) / size : SORTED_BATCH;
    bench_op ops[SORTED_BATCH];
    char *bytes = bench_alloc(most * size);
    void *session = r->e->join(r->db);
    for (bool more = true; more;) {
        size_t n = 0;
        while (n < most && (more = next_sorted(s, &ops[n]))) {
            char *key = bytes + n * size;
            memcpy(key, ops[n].key, d->key_bytes);
            memcpy(key + d->key_bytes, ops[n].value, d->value_bytes);
            ops[n].key = key;
            ops[n].value = key + d->key_bytes;
            n++;
        }
        if (n > 0)
            r->e->write(session, ops, n);
    }
    r->e->leave(session);
    free(bytes);
}

static void bulkload(run *r)
{
    if (r->records > 0)
        run_fail(r, "a bulk load needs an empty store; put a / before it");
    bench_row row = {.ops = r->s->records, .threads = 1};
    sorted *s = bench_alloc(sizeof *s);
    usage before = measure_usage();
    r->data.in_order = true;
    s->data = &r->data;
    s->count = r->s->records;
    measure_peak_reset();
    uint64_t started = now_ns();
    if (r->e->bulk)
        r->e->bulk(r->db, next_sorted, s);
    else
        bulk_in_batches(r, s);
    close_row(&row, "bulkload", started, before);
    free(s);
    r->records = r->s->records;
    r->stamp_min = r->stamp_max = 1;
    row.user_bytes = r->records * (r->data.key_bytes + r->data.value_bytes);
    row.disk_bytes = measure_folder(r->path);
    r->last_write = row;
    run_emit(r, &row);
}

/* ---- opening ---- */

/* One read, so that an engine that opens lazily has shown that it can serve. */
static void read_one(run *r, void *db, uint64_t index)
{
    worker *w = bench_alloc(sizeof *w);
    w->run = r;
    w->session = r->e->join(db);
    worker_read(w, index);
    r->e->leave(w->session);
    free(w);
}

static void reopen(run *r)
{
    bench_row row = {.ops = REOPENS, .threads = 1};
    if (r->records == 0)
        run_fail(r, "the store is empty; put a fill before it");
    for (uint64_t i = 0; i < REOPENS; i++) {
        r->e->close(r->db);
        usage before = measure_usage();
        uint64_t started = now_ns();
        r->db = r->e->open(r->path, &r->s->config);
        read_one(r, r->db, data_shuffled(i, r->records));
        close_row(&row, "reopen", started, before);
    }
    run_emit(r, &row);
}

/* In the grandchild: fills a log that no memtable flush cuts short, and dies. */
static void fill_and_die(run *r, const char *path, const bench_config *config, uint64_t count)
{
    worker *w = bench_alloc(sizeof *w);
    w->run = r;
    w->session = r->e->join(r->e->open(path, config));
    for (uint64_t i = 0; i < count; i++)
        worker_put(w, i, 1);
    raise(SIGKILL);
    _exit(1);
}

static void check_recovered(run *r, void *db)
{
    worker *w = bench_alloc(sizeof *w);
    w->run = r;
    w->session = r->e->join(db);
    for (uint64_t i = 0; i < r->records; i += 1 + r->records / 10000)
        worker_read(w, i);
    worker_read(w, r->records - 1);
    r->e->leave(w->session);
    free(w);
}

/* A child of a process in which an engine has threads and locks would have the locks without the
 * threads: it may wait for ever. So nothing has been opened yet, here or by an engine before. */
static void recover(run *r)
{
    run own = *r;
    bench_row row = {.threads = 1};
    bench_config config = r->s->config;
    int status = 0;
    if (r->e->logless)
        return;
    if (r->db)
        run_fail(r, "it wants a process that has opened no store yet; put a / before it");
    if (config.durability == BENCH_D0)
        run_fail(r, "what is lost with the process cannot be recovered");
    if (snprintf(own.path, sizeof own.path, "%.500s.recover", r->path) < 0)
        run_fail(r, "the path is too long");
    own.data.in_order = false;
    own.stamp_min = own.stamp_max = 1;
    own.records = r->s->recover_bytes / (r->data.key_bytes + r->data.value_bytes);
    config.memtable_bytes = r->s->recover_bytes * 2;
    pid_t pid = fork();
    if (pid == 0)
        fill_and_die(&own, own.path, &config, own.records);
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status))
        run_fail(r, "the process that fills the log did not come to its end");
    measure_peak_reset();
    usage before = measure_usage();
    uint64_t started = now_ns();
    void *db = r->e->open(own.path, &config);
    read_one(&own, db, own.records - 1);
    close_row(&row, "recover", started, before);
    check_recovered(&own, db);
    r->e->close(db);
    row.ops = own.records;
    run_emit(&own, &row);
}

/* ---- tombstones ---- */

typedef struct first_key {
    char key[KEY_MAX + 1];
    size_t size;
} first_key;

static void keep_first(void *ctx, const void *key, size_t key_size, const void *value,
                       size_t value_size)
{
    first_key *f = ctx;
    (void)value, (void)value_size;
    f->size = key_size < sizeof f->key ? key_size : 0;
    memcpy(f->key, key, f->size);
}

/* Looks for the first key from record `from` on, which must be that of record `is`; w->key is that
 * then. */
static void seek_first(worker *w, uint64_t from, uint64_t is, const char *otherwise)
{
    run *r = w->run;
    first_key found = {.size = 0};
    data_key(&r->data, from, w->key);
    uint64_t n = r->e->scan(w->session, w->key, r->data.key_bytes, 1, false, keep_first, &found);
    data_key(&r->data, is, w->key);
    if (r->e != &bench_empty &&
        (n != 1 || found.size != r->data.key_bytes || memcmp(found.key, w->key, found.size) != 0))
        run_fail(r, otherwise);
}

/* Seeks to random keys of a deleted range: the answer is always the first key behind it. */
static void tombstone_body(worker *w)
{
    const run *r = w->run;
    uint64_t range = r->hole_end - r->hole_begin;
    for (uint64_t i = w->begin; i < w->end; i++) {
        seek_first(w, r->hole_begin + data_random(&w->random) % range, r->hole_end,
                   "a seek over deletes found the wrong key");
        if (!worker_tick(w, 1))
            break;
    }
}

/* Deletes up to TOMBSTONES records in the middle, once for each store. */
static void dig_hole(run *r)
{
    uint64_t range = r->records / 2 < TOMBSTONES ? r->records / 2 : TOMBSTONES;
    char key[KEY_MAX + 1];
    if (r->hole_end > 0)
        return;
    if (range == 0 || !r->data.in_order)
        run_fail(r, "it needs keys in order; put fillseq before it");
    r->hole_begin = r->records / 4;
    r->hole_end = r->hole_begin + range;
    void *session = r->e->join(r->db);
    for (uint64_t i = r->hole_begin; i < r->hole_end; i++) {
        data_key(&r->data, i, key);
        bench_op op = {.key = key, .key_size = r->data.key_bytes, .remove = true};
        r->e->write(session, &op, 1);
    }
    r->e->leave(session);
}

static void over_hole(run *r, const char *name, worker_body body, uint64_t total)
{
    bench_row row = {0};
    dig_hole(r);
    run_survey(r);
    bench_work work = {
        .name = name, .body = body, .total = total, .seconds = SEEK_SECONDS, .threads = r->threads};
    run_work(r, &work, &row, NULL);
    run_emit(r, &row);
}

static void seek_deleted(run *r)
{
    over_hole(r, "seekdeleted", tombstone_body, r->s->reads / 10 + 1);
}

static void scan_body(worker *w)
{
    worker_scan_all(w, false);
}

static void scan_deleted(run *r)
{
    over_hole(r, "scandeleted", scan_body, r->threads);
}

/* ---- a queue ---- */

/* A message: one record is put behind the last one, and the first one is looked for and deleted. */
static void queue_body(worker *w)
{
    const run *r = w->run;
    for (uint64_t i = w->begin; i < w->end; i++) {
        worker_put(w, i, r->stamp_max);
        if (i >= QUEUE_LENGTH) {
            seek_first(w, 0, i - QUEUE_LENGTH, "the first key of the queue is another one");
            bench_op op = {.key = w->key, .key_size = r->data.key_bytes, .remove = true};
            r->e->write(w->session, &op, 1);
        }
        if (!worker_tick(w, 1))
            break;
    }
}

static void queue(run *r)
{
    bench_row row = {0};
    if (r->records > 0 || r->hole_end > 0)
        run_fail(r, "it begins with an empty store; put a / before it");
    if (r->threads > 1)
        run_fail(r, "it has one thread");
    r->data.in_order = true;
    r->stamp_min = r->stamp_max = 1;
    r->hole_end = 1; /* no other workload may follow on this store */
    bench_work work = {.name = "queue",
                       .body = queue_body,
                       .total = r->s->records,
                       .seconds = r->s->seconds > 0 ? r->s->seconds : QUEUE_SECONDS,
                       .threads = 1};
    run_work(r, &work, &row, NULL);
    run_emit(r, &row);
}

bool workload_recover(run *r, const char *name)
{
    if (strcmp(name, "recover") != 0)
        return false;
    recover(r);
    return true;
}

bool workload_life(run *r, const char *name)
{
    static const struct {
        const char *name;
        void (*run)(run *r);
    } lives[] = {{"settle", settle}, {"compact", compact},          {"bulkload", bulkload},
                 {"reopen", reopen}, {"seekdeleted", seek_deleted}, {"scandeleted", scan_deleted},
                 {"queue", queue}};
    for (size_t i = 0; i < sizeof lives / sizeof *lives; i++)
        if (strcmp(lives[i].name, name) == 0) {
            lives[i].run(r);
            return true;
        }
    return false;
}
