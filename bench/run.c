/* run: a child process: workloads on one store, and the measuring of each.
 *
 * Each worker thread has a session, a histogram and a counter of its own; nothing is shared while
 * they work but the counters that a sampler reads. The time of an operation is that between the end
 * of the one before and its own end, so it contains the making of key and value, which is the same
 * for all engines (the column "empty" shows how much), and costs one reading of the clock. */
#include "bench.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define SAMPLE_NS UINT64_C(20000000)

void run_fail(const run *r, const char *why)
{
    bench_fail(r->e->name, r->workload, why);
}

/* ---- the series ---- */

typedef struct sampler {
    const worker *workers;
    unsigned count;
    uint64_t started_ns;
    atomic_bool stop;
    bench_row *row;
} sampler;

/* When the row is full, pairs are merged and each sample stands for twice the time. */
static void add_sample(bench_row *row, float rate)
{
    if (row->samples == SAMPLES_MAX) {
        for (unsigned i = 0; i < SAMPLES_MAX / 2; i++)
            row->series[i] = (row->series[2 * i] + row->series[2 * i + 1]) / 2;
        row->samples = SAMPLES_MAX / 2;
        row->sample_s *= 2;
    }
    row->series[row->samples++] = rate;
}

static void *sample(void *ctx)
{
    sampler *s = ctx;
    uint64_t before = 0, next_ns = s->started_ns, last_ns = s->started_ns;
    s->row->sample_s = (double)SAMPLE_NS * 1e-9;
    for (;;) {
        next_ns += (uint64_t)(s->row->sample_s * 1e9);
        struct timespec t = {(time_t)(next_ns / 1000000000), (long)(next_ns % 1000000000)};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
        if (atomic_load(&s->stop))
            return NULL;
        uint64_t done = 0, now = now_ns();
        for (unsigned i = 0; i < s->count; i++)
            done += atomic_load_explicit(&s->workers[i].done, memory_order_relaxed);
        add_sample(s->row, (float)((double)(done - before) * 1e9 / (double)(now - last_ns)));
        before = done;
        last_ns = now;
    }
}

/* ---- threads ---- */

typedef struct start {
    worker *worker;
    worker_body body;
    pthread_barrier_t *barrier;
} start;

static void *work_thread(void *ctx)
{
    start *s = ctx;
    worker *w = s->worker;
    w->session = w->run->e->join(w->run->db);
    pthread_barrier_wait(s->barrier);
    w->last_ns = now_ns();
    s->body(w);
    pthread_barrier_wait(s->barrier);
    w->run->e->leave(w->session);
    return NULL;
}

static void init_worker(run *r, const bench_work *work, unsigned index)
{
    worker *w = &r->workers[index];
    w->run = r;
    w->index = index;
    w->random = data_mix(r->s->data.seed * 1000 + index + 1);
    w->begin = work->total * index / work->threads;
    w->end = work->total * (index + 1) / work->threads;
    w->deadline_ns = work->seconds > 0 ? now_ns() + (uint64_t)(work->seconds * 1e9) : UINT64_MAX;
    atomic_init(&w->done, 0);
    atomic_init(&w->in_flight, UINT64_MAX);
}

/* One row from the workers from `first` on, whose threads have ended. */
static void gather(const run *r, bench_row *row, unsigned first, unsigned count)
{
    histogram *all = bench_alloc(sizeof *all);
    for (unsigned i = first; i < first + count; i++) {
        histogram_merge(all, &r->workers[i].latency);
        row->ops += r->workers[i].count;
        row->user_bytes += r->workers[i].bytes;
    }
    row->p50_us = (double)histogram_quantile(all, 0.5) * 1e-3;
    row->p99_us = (double)histogram_quantile(all, 0.99) * 1e-3;
    row->p999_us = (double)histogram_quantile(all, 0.999) * 1e-3;
    row->max_us = (double)all->max * 1e-3;
    free(all);
}

static void start_thread(pthread_t *thread, void *(*body)(void *), void *ctx)
{
    if (pthread_create(thread, NULL, body, ctx) != 0)
        bench_fail("bench", "a thread", "it could not be started");
}

void run_work(run *r, const bench_work *work, bench_row *main_row, bench_row *extra_row)
{
    unsigned count = work->threads + (work->extra != NULL);
    pthread_t threads[THREADS_MAX + 1], sampling;
    start starts[THREADS_MAX + 1];
    pthread_barrier_t barrier;
    r->workers = bench_alloc(count * sizeof *r->workers);
    r->worker_count = count;
    atomic_store(&r->readers_left, work->threads);
    pthread_barrier_init(&barrier, NULL, count + 1);
    for (unsigned i = 0; i < count; i++) {
        init_worker(r, work, i);
        starts[i] = (start){&r->workers[i], i < work->threads ? work->body : work->extra, &barrier};
        start_thread(&threads[i], work_thread, &starts[i]);
    }
    measure_peak_reset();
    usage before = measure_usage();
    sampler ctx = {.workers = r->workers, .count = work->threads, .row = main_row};
    ctx.started_ns = now_ns();
    pthread_barrier_wait(&barrier);
    start_thread(&sampling, sample, &ctx);
    pthread_barrier_wait(&barrier);
    double seconds = (double)(now_ns() - ctx.started_ns) * 1e-9;
    usage after = measure_usage();
    atomic_store(&ctx.stop, true);
    for (unsigned i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    pthread_join(sampling, NULL);
    pthread_barrier_destroy(&barrier);
    bench_row *rows[] = {main_row, work->extra ? extra_row : NULL};
    for (unsigned i = 0; i < 2 && rows[i]; i++) {
        snprintf(rows[i]->name, sizeof rows[i]->name, "%s", i ? work->extra_name : work->name);
        gather(r, rows[i], i ? work->threads : 0, i ? 1 : work->threads);
        rows[i]->threads = work->threads;
        rows[i]->seconds = seconds;
        rows[i]->cpu_s = after.cpu_s - before.cpu_s;
        rows[i]->written_bytes = after.written_bytes - before.written_bytes;
        rows[i]->peak_bytes = measure_peak();
    }
    free(r->workers);
    r->workers = NULL;
}

/* Completes the row and sends it. Its name tells what differs from the plain case. */
void run_emit(run *r, bench_row *row)
{
    char name[sizeof row->name], suffix[64] = "";
    size_t at = 0;
    if (row->threads > 1)
        at += (size_t)snprintf(suffix, sizeof suffix, "@%u", row->threads);
    if (r->compacted && !workload_writes(row->name) && strcmp(row->name, "compact") != 0)
        at += (size_t)snprintf(suffix + at, sizeof suffix - at, " compacted");
    if (r->data.value_bytes != 100)
        snprintf(suffix + at, sizeof suffix - at, " v%zu", r->data.value_bytes);
    snprintf(name, sizeof name, "%.20s%.19s", row->name, suffix);
    memcpy(row->name, name, sizeof row->name);
    row->durability = r->s->config.durability;
    row->store = r->s->store;
    row->position = r->position;
    row->value_bytes = (uint32_t)r->data.value_bytes;
    row->key_bytes = (uint32_t)r->data.key_bytes;
    row->records = r->records;
    row->live_bytes = r->records * (r->data.value_bytes + r->data.key_bytes);
    if (fwrite(row, sizeof *row, 1, r->out) != 1)
        run_fail(r, "the row could not be sent");
    fflush(r->out);
}

void run_engine(const settings *s, const bench_engine *e, const char *path, FILE *out)
{
    char list[1024];
    run r = {.s = s, .e = e, .out = out, .data = s->data};
    snprintf(r.path, sizeof r.path, "%s", path);
    snprintf(list, sizeof list, "%s", s->workloads);
    for (char *save = NULL, *name = strtok_r(list, ",", &save); name;
         name = strtok_r(NULL, ",", &save)) {
        char *threads = strchr(name, '@');
        r.threads = s->threads;
        if (threads) {
            *threads = 0;
            r.threads = (unsigned)strtoul(threads + 1, NULL, 10);
        }
        if (r.threads < 1 || r.threads > THREADS_MAX)
            bench_fail("bench", name, "threads are 1 to 64");
        r.workload = name;
        r.position++;
        if (workload_recover(&r, name))
            continue;
        if (!r.db)
            r.db = e->open(path, &s->config);
        if (!workload_basic(&r, name) && !workload_life(&r, name) && !workload_ycsb(&r, name))
            bench_fail("bench", name, "it is in the list of --help but nothing carries it out");
    }
    r.workload = "close";
    if (r.db)
        e->close(r.db);
}
