/* workloads: the plain ones, by the names that db_bench gave them. Each body runs on every thread
 * and takes its share; every answer is checked. */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

#define BATCH        100
#define SYNCED       5000 /* durable writes in fillsync, for each thread a share */
#define CHECK_EVERY  16   /* in a scan, every such value is compared byte by byte */
#define EVERY_RECORD UINT64_MAX

static bool is_empty(const worker *w)
{
    return w->run->e == &bench_empty;
}

/* ---- writing ---- */

void worker_put(worker *w, uint64_t index, uint64_t stamp)
{
    const data *d = &w->run->data;
    data_key(d, index, w->key);
    data_value(d, w->key, stamp, w->value);
    bench_op op = {w->key, w->value, d->key_bytes, d->value_bytes, false};
    w->run->e->write(w->session, &op, 1);
    w->bytes += d->key_bytes + d->value_bytes;
}

static void fill_body(worker *w)
{
    for (uint64_t i = w->begin; i < w->end; i++) {
        worker_put(w, i, w->run->stamp_max);
        if (!worker_tick(w, 1))
            run_fail(w->run, "a fill has no time limit");
    }
}

static void overwrite_body(worker *w)
{
    for (uint64_t i = w->begin; i < w->end; i++) {
        worker_put(w, data_shuffled(i, w->run->records), w->run->stamp_max);
        worker_tick(w, 1);
    }
}

static void delete_body(worker *w)
{
    const data *d = &w->run->data;
    for (uint64_t i = w->begin; i < w->end; i++) {
        data_key(d, data_shuffled(i, w->run->records), w->key);
        bench_op op = {.key = w->key, .key_size = d->key_bytes, .remove = true};
        w->run->e->write(w->session, &op, 1);
        w->bytes += d->key_bytes;
        worker_tick(w, 1);
    }
}

static void batch_body(worker *w)
{
    const data *d = &w->run->data;
    bench_op ops[BATCH];
    char *keys = bench_alloc(BATCH * (KEY_MAX + 1));
    char *values = bench_alloc(BATCH * d->value_bytes);
    for (uint64_t i = w->begin; i < w->end;) {
        size_t n = 0;
        for (; n < BATCH && i < w->end; n++, i++) {
            char *key = keys + n * (KEY_MAX + 1), *value = values + n * d->value_bytes;
            data_key(d, i, key);
            data_value(d, key, w->run->stamp_max, value);
            ops[n] = (bench_op){key, value, d->key_bytes, d->value_bytes, false};
        }
        w->run->e->write(w->session, ops, n);
        w->bytes += n * (d->key_bytes + d->value_bytes);
        worker_tick(w, n);
    }
    free(keys);
    free(values);
}

/* ---- reading ---- */

void worker_read(worker *w, uint64_t index)
{
    run *r = w->run;
    uint64_t stamp;
    data_key(&r->data, index, w->key);
    int64_t size = r->e->get(w->session, w->key, r->data.key_bytes, w->got, sizeof w->got);
    if (size != (int64_t)r->data.value_bytes)
        run_fail(r, "a key that is there was not found");
    bool right = data_check(&r->data, w->key, w->got, w->scratch, &stamp) &&
                 stamp >= r->stamp_min && stamp <= r->stamp_max;
    if (!right && !is_empty(w))
        run_fail(r, "a value is not what was written");
}

static void read_body(worker *w)
{
    for (uint64_t i = w->begin; i < w->end; i++) {
        worker_read(w, data_random(&w->random) % w->run->records);
        if (!worker_tick(w, 1))
            break;
    }
}

/* One record in a hundred, spread over all keys. */
static void hot_body(worker *w)
{
    uint64_t hot = w->run->records / 100 + 1;
    for (uint64_t i = w->begin; i < w->end; i++) {
        worker_read(w, data_random(&w->random) % hot * 97 % w->run->records);
        if (!worker_tick(w, 1))
            break;
    }
}

static void missing_body(worker *w)
{
    run *r = w->run;
    for (uint64_t i = w->begin; i < w->end; i++) {
        data_missing_key(&r->data, data_random(&w->random) % r->records, w->key);
        if (r->e->get(w->session, w->key, r->data.key_bytes, w->got, sizeof w->got) != -1 &&
            !is_empty(w))
            run_fail(r, "a key that was never written has a value");
        if (!worker_tick(w, 1))
            break;
    }
}

/* ---- scanning ---- */

typedef struct scan {
    worker *w;
    uint64_t seen, sum;
    bool backwards, wrong;
    const char *first; /* the key it must begin with, or NULL */
    char last[KEY_MAX + 1];
} scan;

static void visit(void *ctx, const void *key, size_t key_size, const void *value, size_t value_size)
{
    scan *s = ctx;
    const run *r = s->w->run;
    if (key_size != r->data.key_bytes || value_size != r->data.value_bytes) {
        s->wrong = true;
        return;
    }
    int order = s->seen > 0 ? memcmp(key, s->last, key_size) : 0;
    if (s->seen > 0 && (s->backwards ? order >= 0 : order <= 0))
        s->wrong = true;
    if (s->seen == 0 && s->first && memcmp(key, s->first, key_size) != 0)
        s->wrong = true;
    memcpy(s->last, key, key_size);
    s->sum += data_key_sum(key);
    uint64_t stamp;
    memcpy(&stamp, value, sizeof stamp);
    if (s->seen % CHECK_EVERY == 0 && !data_check(&r->data, key, value, s->w->scratch, &stamp))
        s->wrong = true;
    s->wrong |= stamp < r->stamp_min || stamp > r->stamp_max;
    s->seen++;
}

void worker_scan_all(worker *w, bool backwards)
{
    run *r = w->run;
    uint64_t there = r->records - (r->hole_end - r->hole_begin);
    scan *s = bench_alloc(sizeof *s);
    s->w = w;
    s->backwards = backwards;
    uint64_t n = r->e->scan(w->session, NULL, 0, EVERY_RECORD, backwards, visit, s);
    w->last_ns = now_ns();
    w->count += n;
    if (!is_empty(w) && (s->wrong || n != there || s->seen != n || s->sum != r->key_sum))
        run_fail(r, "the scan did not show every record once, in order");
    free(s);
}

static void seq_body(worker *w)
{
    worker_scan_all(w, false);
}

static void reverse_body(worker *w)
{
    worker_scan_all(w, true);
}

static void seek(worker *w, uint64_t next)
{
    run *r = w->run;
    scan *s = bench_alloc(sizeof *s);
    s->w = w;
    for (uint64_t i = w->begin; i < w->end; i++) {
        data_key(&r->data, data_random(&w->random) % r->records, w->key);
        s->seen = 0;
        s->first = w->key;
        uint64_t n = r->e->scan(w->session, w->key, r->data.key_bytes, next, false, visit, s);
        bool cut = n < next && memcmp(s->last, r->last_key, r->data.key_bytes) != 0;
        if ((n == 0 || s->wrong || n != s->seen || cut) && !is_empty(w))
            run_fail(r, "a seek did not show what is there");
        if (!worker_tick(w, 1))
            break;
    }
    free(s);
}

void run_survey(run *r)
{
    char key[KEY_MAX + 1];
    memset(r->last_key, 0, sizeof r->last_key);
    r->key_sum = 0;
    for (uint64_t i = 0; i < r->records; i++) {
        if (i >= r->hole_begin && i < r->hole_end)
            continue;
        data_key(&r->data, i, key);
        r->key_sum += data_key_sum(key);
        if (memcmp(key, r->last_key, r->data.key_bytes) > 0)
            memcpy(r->last_key, key, r->data.key_bytes);
    }
}

static void seek10_body(worker *w)
{
    seek(w, 10);
}

static void seek100_body(worker *w)
{
    seek(w, 100);
}

/* ---- reading while another thread writes ---- */

static void reader_body(worker *w)
{
    read_body(w);
    atomic_fetch_sub(&w->run->readers_left, 1);
}

static void writer_body(worker *w)
{
    run *r = w->run;
    while (atomic_load_explicit(&r->readers_left, memory_order_relaxed) > 0) {
        worker_put(w, data_random(&w->random) % r->records, r->stamp_max);
        worker_tick(w, 1);
    }
}

/* ---- the table ---- */

typedef enum kind { FILLS, OVERWRITES, DELETES, READS, SCANS, SEEKS, MIXES } kind;

static const struct basic {
    const char *name;
    kind kind;
    bool in_order;
    worker_body body;
} basics[] = {
    {"fillseq", FILLS, true, fill_body},
    {"fillrandom", FILLS, false, fill_body},
    {"fillbatch", FILLS, false, batch_body},
    {"fillsync", FILLS, false, fill_body},
    {"overwrite", OVERWRITES, false, overwrite_body},
    {"deleterandom", DELETES, false, delete_body},
    {"readrandom", READS, false, read_body},
    {"readhot", READS, false, hot_body},
    {"readmissing", READS, false, missing_body},
    {"readseq", SCANS, false, seq_body},
    {"readreverse", SCANS, false, reverse_body},
    {"seek10", SEEKS, false, seek10_body},
    {"seekrandom", SEEKS, false, seek10_body},
    {"seek100", SEEKS, false, seek100_body},
    {"readwhilewriting", MIXES, false, reader_body},
};

static const struct basic *find_basic(const char *name)
{
    for (size_t i = 0; i < sizeof basics / sizeof *basics; i++)
        if (strcmp(basics[i].name, name) == 0)
            return &basics[i];
    return NULL;
}

bool workload_writes(const char *name)
{
    const struct basic *b = find_basic(name);
    return b ? b->kind <= DELETES : strcmp(name, "bulkload") == 0;
}

static uint64_t operations(const run *r, const struct basic *b)
{
    uint64_t synced = r->s->records < SYNCED ? r->s->records : SYNCED;
    switch (b->kind) {
    case FILLS:
        return strcmp(b->name, "fillsync") == 0 ? synced : r->s->records;
    case OVERWRITES:
    case DELETES:
        return r->records;
    case SCANS:
        return r->threads;
    case SEEKS:
        return r->s->reads / 10 + 1;
    default:
        return r->s->reads;
    }
}

static void before(run *r, const struct basic *b)
{
    if (r->hole_end > 0)
        run_fail(r, "a range of the records was deleted; put a / before it");
    if (b->kind == FILLS) {
        if (r->records > 0 && r->data.in_order != b->in_order)
            run_fail(r, "the store already holds keys of the other order; put a / before it");
        r->data.in_order = b->in_order;
        if (r->records == 0)
            r->stamp_min = r->stamp_max = 1;
    } else if (r->records == 0 && (b->kind != SCANS || r->stamp_max == 0)) {
        run_fail(r, "the store is empty; put a fill before it");
    }
    if (b->kind == OVERWRITES || b->kind == MIXES || (b->kind == FILLS && r->records > 0))
        r->stamp_max++;
    if (b->kind <= DELETES || b->kind == MIXES)
        r->compacted = false;
    if (b->kind == SEEKS || b->kind == SCANS)
        run_survey(r);
}

static void after(run *r, const struct basic *b, uint64_t total)
{
    if (b->kind == DELETES)
        r->records = 0;
    if (b->kind == FILLS && r->records < total)
        r->records = total;
    if (b->kind == OVERWRITES || (b->kind == FILLS && r->records == total))
        r->stamp_min = r->stamp_max;
}

bool workload_basic(run *r, const char *name)
{
    const struct basic *b = find_basic(name);
    bench_row done = {0}, extra = {0};
    if (!b)
        return false;
    before(r, b);
    bench_work work = {.name = b->name,
                       .body = b->body,
                       .total = operations(r, b),
                       .seconds = b->kind <= DELETES || b->kind == SCANS ? 0 : r->s->seconds,
                       .threads = r->threads};
    if (b->kind == MIXES) {
        work.extra = writer_body;
        work.extra_name = "writewhilereading";
    }
    run_work(r, &work, &done, &extra);
    after(r, b, work.total);
    if (b->kind <= DELETES) {
        done.disk_bytes = measure_folder(r->path);
        r->last_write = done;
    }
    run_emit(r, &done);
    if (b->kind == MIXES)
        run_emit(r, &extra);
    return true;
}
