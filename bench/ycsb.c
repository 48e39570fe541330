/* ycsb: the core workloads A to F of the Yahoo! Cloud Serving Benchmark (Cooper et al., SoCC 2010).
 *
 *   A  50 % reads, 50 % updates            D  95 % reads of the latest, 5 % inserts
 *   B  95 % reads,  5 % updates            E  95 % scans of 1 to 100, 5 % inserts
 *   C  reads                               F  50 % reads, 50 % read-modify-writes
 *
 * Zipfian numbers come from Gray et al. (SIGMOD 1994) with theta 0.99, scrambled over the keys.
 *
 * Inserts number the new records from one counter. A thread announces its insert before it takes a
 * number, so that a reader can take the smallest announced number as the end of what is surely
 * there, and every read can demand an answer:
 *   Y1  in_flight is stored before next_record is increased, and cleared after the put returned.
 *   Y2  a reader loads next_record first, then every in_flight.
 */
#include "bench.h"

#include <math.h>
#include <string.h>

#define THETA 0.99

typedef struct ycsb {
    const char *name;
    unsigned read, update, insert, scan; /* percent; the rest is read-modify-write */
    bool latest;
} ycsb;

static const ycsb mixes[] = {
    {"ycsba", 50, 50, 0, 0, false}, {"ycsbb", 95, 5, 0, 0, false}, {"ycsbc", 100, 0, 0, 0, false},
    {"ycsbd", 95, 0, 5, 0, true},   {"ycsbe", 0, 0, 5, 95, false}, {"ycsbf", 50, 0, 0, 0, false},
};

/* ---- zipfian ranks: 0 is the most frequent of n ---- */

static struct {
    uint64_t n;
    double zeta_n, eta, alpha;
} zipf;

static void zipf_init(uint64_t n)
{
    double zeta_2 = 1 + pow(0.5, THETA);
    if (zipf.n == n)
        return;
    zipf.n = n;
    zipf.zeta_n = 0;
    for (uint64_t i = 1; i <= n; i++)
        zipf.zeta_n += pow(1.0 / (double)i, THETA);
    zipf.alpha = 1 / (1 - THETA);
    zipf.eta = (1 - pow(2.0 / (double)n, 1 - THETA)) / (1 - zeta_2 / zipf.zeta_n);
}

static uint64_t zipf_rank(uint64_t random)
{
    double u = (double)(random >> 11) * 0x1p-53, uz = u * zipf.zeta_n;
    if (uz < 1 || zipf.n < 3)
        return 0;
    if (uz < 1 + pow(0.5, THETA))
        return 1;
    uint64_t rank = (uint64_t)((double)zipf.n * pow(zipf.eta * u - zipf.eta + 1, zipf.alpha));
    return rank < zipf.n ? rank : zipf.n - 1;
}

/* ---- choosing ---- */

/* One beyond the last record that is surely there (Y2). */
static uint64_t visible(const run *r)
{
    uint64_t end = atomic_load(&r->next_record);
    for (unsigned i = 0; i < r->worker_count; i++) {
        uint64_t at = atomic_load(&r->workers[i].in_flight);
        end = at < end ? at : end;
    }
    return end;
}

static uint64_t choose(worker *w)
{
    const run *r = w->run;
    uint64_t random = data_random(&w->random), end = visible(r);
    distribution d = r->ycsb->latest ? LATEST : r->s->distribution;
    if (d == UNIFORM)
        return random % end;
    uint64_t rank = zipf_rank(random);
    return d == LATEST ? end - 1 - rank % end : data_mix(rank + 1) % end;
}

static void insert(worker *w)
{
    run *r = w->run;
    atomic_store(&w->in_flight, atomic_load(&r->next_record));
    uint64_t index = atomic_fetch_add(&r->next_record, 1);
    worker_put(w, index, r->stamp_max);
    atomic_store(&w->in_flight, UINT64_MAX);
}

typedef struct scan_check {
    const run *run;
    uint64_t seen;
    bool wrong;
    const char *first; /* the key it must begin with */
    char last[KEY_MAX + 1];
} scan_check;

static void visit(void *ctx, const void *key, size_t key_size, const void *value, size_t value_size)
{
    scan_check *s = ctx;
    uint64_t stamp = 0;
    if (key_size != s->run->data.key_bytes || value_size != s->run->data.value_bytes) {
        s->wrong = true;
        return;
    }
    memcpy(&stamp, value, sizeof stamp);
    s->wrong |= s->seen == 0 && memcmp(key, s->first, key_size) != 0;
    s->wrong |= s->seen > 0 && memcmp(key, s->last, key_size) <= 0;
    s->wrong |= stamp < s->run->stamp_min || stamp > s->run->stamp_max;
    memcpy(s->last, key, key_size);
    s->seen++;
}

static void scan_some(worker *w)
{
    run *r = w->run;
    scan_check check = {.run = r, .first = w->key};
    data_key(&r->data, choose(w), w->key);
    uint64_t count = data_random(&w->random) % 100 + 1;
    uint64_t n = r->e->scan(w->session, w->key, r->data.key_bytes, count, false, visit, &check);
    bool cut = n < count && memcmp(check.last, r->last_key, r->data.key_bytes) < 0;
    if (r->e != &bench_empty && (n == 0 || check.wrong || check.seen != n || cut))
        run_fail(r, "a scan did not show what is there");
}

static void mix_body(worker *w)
{
    run *r = w->run;
    const ycsb *y = r->ycsb;
    for (uint64_t i = w->begin; i < w->end; i++) {
        unsigned percent = (unsigned)(data_random(&w->random) % 100);
        if (percent < y->read) {
            worker_read(w, choose(w));
        } else if (percent < y->read + y->update) {
            worker_put(w, choose(w), r->stamp_max);
        } else if (percent < y->read + y->update + y->insert) {
            insert(w);
        } else if (percent < y->read + y->update + y->insert + y->scan) {
            scan_some(w);
        } else {
            uint64_t index = choose(w);
            worker_read(w, index);
            worker_put(w, index, r->stamp_max);
        }
        if (!worker_tick(w, 1))
            break;
    }
}

bool workload_ycsb(run *r, const char *name)
{
    bench_row row = {0};
    const ycsb *y = NULL;
    for (size_t i = 0; i < sizeof mixes / sizeof *mixes; i++)
        if (strcmp(mixes[i].name, name) == 0)
            y = &mixes[i];
    if (!y)
        return false;
    if (r->records == 0)
        run_fail(r, "the store is empty; put a fill before it");
    r->ycsb = y;
    r->stamp_max++;
    r->compacted = r->compacted && y->read == 100;
    atomic_store(&r->next_record, r->records);
    zipf_init(r->records);
    run_survey(r);
    bench_work work = {.name = y->name,
                       .body = mix_body,
                       .total = y->scan > 0 ? r->s->reads / 10 + 1 : r->s->reads,
                       .seconds = r->s->seconds,
                       .threads = r->threads};
    run_work(r, &work, &row, NULL);
    r->records = atomic_load(&r->next_record);
    run_emit(r, &row);
    return true;
}
