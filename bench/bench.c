/* bench: firn beside other engines on the same work, in the same run (bench/README.md).
 *
 * Rounds are interleaved: A B C, A B C, ... Each engine runs in a child process of its own, so that
 * memory, threads and page tables of one do not weigh on another. The child reports a line per
 * workload through a pipe; the parent takes medians and prints ratios. Every read is checked, so
 * that no engine can be fast by being wrong.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "adapter.h"

#define KEY_BYTES     16
#define VALUE_MAX     65536
#define ROUNDS_MAX    99
#define WORKLOADS_MAX 16

typedef struct settings {
    uint64_t records, reads;
    size_t value_bytes;
    unsigned rounds;
    uint64_t seed;
    const char *folder;
    const char *workloads;
    const char *engines;
    bench_config config;
} settings;

static const bench_engine *const engines[] = {
#ifdef BENCH_LEVELDB
    &bench_leveldb,
#endif
    &bench_firn,
    &bench_empty,
};
#define ENGINES (sizeof engines / sizeof *engines)

void bench_fail(const char *engine, const char *what, const char *why)
{
    fprintf(stderr, "bench: %s: %s failed: %s\n", engine, what, why);
    exit(1);
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double cpu_s(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

void bench_wait_until_quiet(void)
{
    const struct timespec nap = {0, 50000000};
    for (int quiet = 0; quiet < 4;) {
        double before = cpu_s();
        nanosleep(&nap, NULL);
        quiet = cpu_s() - before < 0.002 ? quiet + 1 : 0;
    }
}

/* ---- data: record i has a key that is a bijection of i, and a value that follows from the key
 * ---- */

static uint64_t mix(uint64_t x)
{
    x ^= x >> 30;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 27;
    x *= UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static void make_key(uint64_t i, bool in_order, uint64_t seed, char key[KEY_BYTES + 1])
{
    uint64_t id = in_order ? i : mix(i + seed);
    static const char digits[] = "0123456789abcdef";
    for (int d = 0; d < KEY_BYTES; d++)
        key[d] = digits[id >> (60 - 4 * d) & 15];
    key[KEY_BYTES] = 0;
}

/* Half of it compresses. */
static void make_value(const char *key, size_t size, char *value)
{
    uint64_t state;
    memcpy(&state, key, sizeof state);
    for (size_t at = 0; at < size; at += 8) {
        uint64_t word = at % 16 == 0 ? mix(state + at) : UINT64_C(0x2020202020202020);
        memcpy(value + at, &word, size - at < 8 ? size - at : 8);
    }
}

/* ---- workloads ---- */

typedef struct run {
    const settings *s;
    const bench_engine *e;
    void *db;
    bool in_order;
    uint64_t checked;
} run;

static void fill(run *r, bool in_order, bool sync, uint64_t count)
{
    char key[KEY_BYTES + 1], value[VALUE_MAX];
    r->in_order = in_order;
    for (uint64_t i = 0; i < count; i++) {
        make_key(i, in_order, r->s->seed, key);
        make_value(key, r->s->value_bytes, value);
        r->e->put(r->db, key, KEY_BYTES, value, r->s->value_bytes, sync);
    }
}

static void read_random(run *r, bool missing)
{
    char key[KEY_BYTES + 1], value[VALUE_MAX], expected[VALUE_MAX];
    uint64_t state = mix(r->s->seed ^ 77);
    for (uint64_t n = 0; n < r->s->reads; n++) {
        state = mix(state + n);
        uint64_t i = state % r->s->records + (missing ? r->s->records : 0);
        make_key(i, r->in_order, r->s->seed, key);
        int64_t size = r->e->get(r->db, key, KEY_BYTES, value, sizeof value);
        if (r->e == &bench_empty)
            continue;
        if (missing ? size != -1 : size != (int64_t)r->s->value_bytes)
            bench_fail(r->e->name, "readrandom", "a key was not answered rightly");
        if (missing)
            continue;
        make_value(key, r->s->value_bytes, expected);
        if (memcmp(value, expected, r->s->value_bytes) != 0)
            bench_fail(r->e->name, "readrandom", "a value is wrong");
    }
}

static void count_one(void *ctx, const void *key, size_t key_size, const void *value,
                      size_t value_size)
{
    run *r = ctx;
    uint64_t word = 0;
    memcpy(&word, (const char *)value + value_size - 8, 8);
    r->checked += key_size == KEY_BYTES && value_size == r->s->value_bytes && word != 0;
    (void)key;
}

static void read_all(run *r, bool backwards)
{
    r->checked = 0;
    uint64_t n = r->e->scan(r->db, NULL, 0, UINT64_MAX, backwards, count_one, r);
    if (r->e != &bench_empty && (n != r->s->records || r->checked != n))
        bench_fail(r->e->name, "readseq", "the scan did not show every record");
}

static void seek_random(run *r, uint64_t next)
{
    char key[KEY_BYTES + 1];
    uint64_t state = mix(r->s->seed ^ 99);
    r->checked = 0;
    for (uint64_t n = 0; n < r->s->reads / 10; n++) {
        state = mix(state + n);
        make_key(state % r->s->records, r->in_order, r->s->seed, key);
        if (r->e->scan(r->db, key, KEY_BYTES, next, false, count_one, r) == 0 &&
            r->e != &bench_empty)
            bench_fail(r->e->name, "seekrandom", "a key was not found");
    }
}

/* Runs one workload; returns the number of operations, 0 for an unknown name. */
static uint64_t work(run *r, const char *name)
{
    uint64_t synced = r->s->records < 5000 ? r->s->records : 5000;
    if (strcmp(name, "fillseq") == 0)
        fill(r, true, false, r->s->records);
    else if (strcmp(name, "fillrandom") == 0)
        fill(r, false, false, r->s->records);
    else if (strcmp(name, "overwrite") == 0)
        fill(r, r->in_order, false, r->s->records);
    else if (strcmp(name, "fillsync") == 0)
        return fill(r, r->in_order, true, synced), synced;
    else if (strcmp(name, "readrandom") == 0)
        return read_random(r, false), r->s->reads;
    else if (strcmp(name, "readmissing") == 0)
        return read_random(r, true), r->s->reads;
    else if (strcmp(name, "readseq") == 0)
        read_all(r, false);
    else if (strcmp(name, "readreverse") == 0)
        read_all(r, true);
    else if (strcmp(name, "seek10") == 0)
        return seek_random(r, 10), r->s->reads / 10;
    else if (strcmp(name, "settle") == 0)
        return r->e->settle(r->db), 1;
    else
        return 0;
    return r->s->records;
}

/* In the child: all workloads in their order, on one store; a line "name ops seconds cpu" each. */
static void run_engine(const settings *s, const bench_engine *e, const char *path, FILE *out)
{
    char list[512];
    run r = {.s = s, .e = e};
    r.db = e->open(path, &s->config);
    snprintf(list, sizeof list, "%s", s->workloads);
    double filled = 0;
    for (char *save = NULL, *name = strtok_r(list, ",", &save); name;
         name = strtok_r(NULL, ",", &save)) {
        double started = now_s(), cpu = cpu_s();
        uint64_t ops = work(&r, name);
        if (ops == 0)
            bench_fail(e->name, name, "there is no such workload");
        double took = now_s() - started;
        /* "until settled": the fill before and the wait together. */
        bool settle = strcmp(name, "settle") == 0;
        fprintf(out, "%s %llu %.9f %.6f\n", settle ? "fill+settle" : name,
                (unsigned long long)(settle ? s->records : ops), settle ? took + filled : took,
                cpu_s() - cpu);
        filled = took;
    }
    fflush(out);
    e->close(r.db);
}

/* ---- parent ---- */

typedef struct result {
    char name[32];
    double rate[ENGINES][ROUNDS_MAX];
    unsigned count[ENGINES];
} result;

static result results[WORKLOADS_MAX];
static size_t result_count;

static result *result_of(const char *name)
{
    for (size_t i = 0; i < result_count; i++)
        if (strcmp(results[i].name, name) == 0)
            return &results[i];
    if (result_count == WORKLOADS_MAX)
        bench_fail("bench", "run", "too many workloads");
    result *r = &results[result_count++];
    snprintf(r->name, sizeof r->name, "%s", name);
    return r;
}

static void remove_folder(const char *path)
{
    pid_t pid = fork();
    if (pid == 0) {
        execlp("rm", "rm", "-rf", "--", path, (char *)NULL);
        _exit(127);
    }
    waitpid(pid, NULL, 0);
}

static void run_round(const settings *s, size_t which)
{
    char path[512];
    int ends[2];
    snprintf(path, sizeof path, "%s/firn-bench-%ld-%s", s->folder, (long)getpid(),
             engines[which]->name);
    remove_folder(path);
    if (pipe(ends) != 0)
        bench_fail("bench", "pipe", strerror(errno));
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[0]);
        FILE *out = fdopen(ends[1], "w");
        if (!out)
            _exit(1);
        run_engine(s, engines[which], path, out);
        fclose(out);
        exit(0);
    }
    close(ends[1]);
    FILE *in = fdopen(ends[0], "r");
    char name[32];
    unsigned long long ops;
    double took, cpu;
    while (in && fscanf(in, "%31s %llu %lf %lf", name, &ops, &took, &cpu) == 4) {
        result *r = result_of(name);
        if (r->count[which] < ROUNDS_MAX)
            r->rate[which][r->count[which]++] = (double)ops / took;
    }
    if (in)
        fclose(in);
    int status = 0;
    waitpid(pid, &status, 0);
    remove_folder(path);
    if (status != 0)
        bench_fail(engines[which]->name, "the run", "see above");
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *rates, unsigned count)
{
    if (count == 0)
        return 0;
    qsort(rates, count, sizeof *rates, by_value);
    return count % 2 ? rates[count / 2] : (rates[count / 2 - 1] + rates[count / 2]) / 2;
}

static bool chosen(const char *list, const char *name)
{
    size_t n = strlen(name);
    for (const char *at = strstr(list, name); at; at = strstr(at + 1, name))
        if ((at == list || at[-1] == ',') && (at[n] == 0 || at[n] == ','))
            return true;
    return false;
}

static void report(const settings *s)
{
    size_t own = 0;
    for (size_t i = 0; i < ENGINES; i++)
        if (engines[i] == &bench_firn)
            own = i;
    printf("\n%-14s", "operations/s");
    for (size_t i = 0; i < ENGINES; i++)
        if (chosen(s->engines, engines[i]->name))
            printf("%14s", engines[i]->name);
    printf("%18s\n", "firn / best peer");
    for (size_t w = 0; w < result_count; w++) {
        double best = 0, mine = median(results[w].rate[own], results[w].count[own]);
        printf("%-14s", results[w].name);
        for (size_t i = 0; i < ENGINES; i++) {
            if (!chosen(s->engines, engines[i]->name))
                continue;
            double m = median(results[w].rate[i], results[w].count[i]);
            printf("%14.0f", m);
            if (i != own && engines[i] != &bench_empty && m > best)
                best = m;
        }
        if (best > 0 && mine > 0)
            printf("%17.2fx", mine / best);
        printf("\n");
    }
}

static uint64_t number(const char *text, const char *option)
{
    char *end;
    unsigned long long v = strtoull(text, &end, 10);
    if (end == text || *end) {
        fprintf(stderr, "bench: --%s needs a number, not \"%s\"\n", option, text);
        exit(2);
    }
    return v;
}

static void usage(void)
{
    puts("usage: firn-bench [options]\n"
         "  --records N     records to fill (2000000)     --reads N   random reads (1000000)\n"
         "  --value N       value bytes (100)             --rounds N  interleaved rounds (3)\n"
         "  --folder PATH   where stores are made (.)     --seed N    (1)\n"
         "  --engines LIST  of firn,leveldb,empty (all that were built)\n"
         "  --workloads LIST  in this order, on one store "
         "(fillrandom,settle,readrandom,readmissing,readseq,\n"
         "                  readreverse,seek10); also fillseq, overwrite, fillsync");
}

static void parse(int argc, char **argv, settings *s)
{
    static const struct option options[] = {{"records", 1, 0, 'n'}, {"reads", 1, 0, 'r'},
                                            {"value", 1, 0, 'v'},   {"rounds", 1, 0, 'k'},
                                            {"folder", 1, 0, 'd'},  {"seed", 1, 0, 's'},
                                            {"engines", 1, 0, 'e'}, {"workloads", 1, 0, 'w'},
                                            {"help", 0, 0, 'h'},    {0}};
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 'n':
            s->records = number(optarg, "records");
            break;
        case 'r':
            s->reads = number(optarg, "reads");
            break;
        case 'v':
            s->value_bytes = (size_t)number(optarg, "value");
            break;
        case 'k':
            s->rounds = (unsigned)number(optarg, "rounds");
            break;
        case 's':
            s->seed = number(optarg, "seed");
            break;
        case 'd':
            s->folder = optarg;
            break;
        case 'e':
            s->engines = optarg;
            break;
        case 'w':
            s->workloads = optarg;
            break;
        case 'h':
            usage();
            exit(0);
        default:
            usage();
            exit(2);
        }
    }
    if (s->value_bytes < 8 || s->value_bytes > VALUE_MAX || s->records == 0 || s->rounds == 0 ||
        s->rounds > ROUNDS_MAX) {
        fprintf(stderr, "bench: value must be 8 to %d bytes, records at least 1, rounds 1 to %d\n",
                VALUE_MAX, ROUNDS_MAX);
        exit(2);
    }
}

int main(int argc, char **argv)
{
    settings s = {.records = 2000000,
                  .reads = 1000000,
                  .value_bytes = 100,
                  .rounds = 3,
                  .seed = 1,
                  .folder = ".",
                  .workloads =
                      "fillrandom,settle,readrandom,readmissing,readseq,readreverse,seek10",
                  .engines = "firn,leveldb,empty",
                  .config = {.memtable_bytes = 64 << 20,
                             .cache_bytes = 512 << 20,
                             .filter_bits = 10,
                             .compress = true}};
    parse(argc, argv, &s);
    printf("%llu records of %d + %zu bytes, %llu reads, %u rounds interleaved, memtable 64 MiB, "
           "cache 512 MiB,\n"
           "10 filter bits, not synced (survives the process, not power loss) but for fillsync\n",
           (unsigned long long)s.records, KEY_BYTES, s.value_bytes, (unsigned long long)s.reads,
           s.rounds);
    for (size_t i = 0; i < ENGINES; i++)
        if (chosen(s.engines, engines[i]->name))
            printf("  %-8s %s\n", engines[i]->name, engines[i]->settings);
    fflush(stdout);
    for (unsigned round = 0; round < s.rounds; round++)
        for (size_t i = 0; i < ENGINES; i++)
            if (chosen(s.engines, engines[i]->name))
                run_round(&s, i);
    report(&s);
    return 0;
}
