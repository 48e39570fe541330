/* bench: firn beside other engines on the same work, in the same run (bench/README.md).
 *
 * Start reading at bench.h, then rounds.c, run.c, workloads.c. */
#include <errno.h>
#include <firn/firn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "results.h"

const bench_engine *const bench_engines[] = {
    &bench_firn,
#ifdef BENCH_LEVELDB
    &bench_leveldb,
#endif
#ifdef BENCH_ROCKSDB
    &bench_rocksdb,
#endif
#ifdef BENCH_LMDB
    &bench_lmdb,
#endif
#ifdef BENCH_WIREDTIGER
    &bench_wt_btree, &bench_wt_lsm,
#endif
#ifdef BENCH_SQLITE
    &bench_sqlite,
#endif
    &bench_bare,     &bench_empty,
};
const size_t bench_engine_count = sizeof bench_engines / sizeof *bench_engines;

const char *const bench_left_out = ""
#ifndef BENCH_LEVELDB
                                   "; without LevelDB (libleveldb-dev)"
#endif
#ifndef BENCH_ROCKSDB
                                   "; without RocksDB (librocksdb-dev)"
#endif
#ifndef BENCH_LMDB
                                   "; without LMDB (liblmdb-dev)"
#endif
#ifndef BENCH_WIREDTIGER
                                   "; without WiredTiger (libwiredtiger-dev)"
#endif
#ifndef BENCH_SQLITE
                                   "; without SQLite (libsqlite3-dev)"
#endif
    ;

void bench_fail(const char *engine, const char *what, const char *why)
{
    fflush(stdout);
    fprintf(stderr, "bench: %s: %s: %s\n", engine, what, why);
    exit(1);
}

static void print_settings(const settings *s)
{
    const machine *m = &s->machine;
    printf("%s; %s, %u core%s, %.1f GiB; %s, %s; firn %s\n", m->date, m->cpu, m->cores,
           m->cores == 1 ? "" : "s", (double)m->memory_bytes / (1 << 30), m->kernel, m->file_system,
           firn_version());
    printf("%llu records of %zu + %zu bytes (%u %% compressible), %llu reads, %u thread%s, "
           "%u rounds interleaved\n"
           "memtable %llu MiB, cache %llu MiB, %u filter bits a key, compression %s, %s\n",
           (unsigned long long)s->records, s->data.key_bytes, s->data.value_bytes,
           s->data.compressible, (unsigned long long)s->reads, s->threads,
           s->threads > 1 ? "s" : "", s->rounds,
           (unsigned long long)(s->config.memtable_bytes >> 20),
           (unsigned long long)(s->config.cache_bytes >> 20), s->config.filter_bits,
           s->config.compress ? "on" : "off", class_name(s->config.durability));
    if (s->limit_bytes > 0)
        printf("each store's process and its page cache may use %llu MiB\n",
               (unsigned long long)(s->limit_bytes >> 20));
    for (size_t i = 0; i < bench_engine_count; i++)
        if (bench_chosen(s->engines, bench_engines[i]->name))
            printf("  %-8s %s\n", bench_engines[i]->name, bench_engines[i]->settings);
    if (*bench_left_out)
        printf("  built%s\n", bench_left_out + 1);
}

/* ---- where results shall go: asked before they are measured ---- */

static void refuse_output(const char *option, const char *path, const char *why)
{
    fprintf(stderr, "bench: --%s %s: %s\n", option, path, why);
    exit(2);
}

static void check_folder(const char *option, const char *path, bool make)
{
    struct stat st;
    if (make && mkdir(path, 0777) != 0 && errno != EEXIST)
        refuse_output(option, path, strerror(errno));
    if (stat(path, &st) != 0)
        refuse_output(option, path, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        refuse_output(option, path, "this is not a folder");
    if (access(path, W_OK | X_OK) != 0)
        refuse_output(option, path, strerror(errno));
}

/* What is there stays as it is until there is something to put in its place. */
static void check_file(const char *option, const char *path)
{
    bool there = access(path, F_OK) == 0;
    FILE *out = fopen(path, "a");
    if (!out || fclose(out) != 0)
        refuse_output(option, path, strerror(errno));
    if (!there)
        remove(path);
}

static void check_outputs(const settings *s)
{
    check_folder("folder", s->folder, false);
    if (s->csv)
        check_file("csv", s->csv);
    if (s->json)
        check_file("json", s->json);
    if (s->plot)
        check_folder("plot", s->plot, true);
}

int main(int argc, char **argv)
{
    char all[512] = "";
    settings s = {.data = {.seed = 1, .key_bytes = 16, .value_bytes = 100, .compressible = 50},
                  .threads = 1,
                  .distribution = ZIPFIAN,
                  .folder = ".",
                  .engines = all,
                  .config = {.memtable_bytes = 64 << 20,
                             .cache_bytes = 512 << 20,
                             .filter_bits = 10,
                             .compress = true,
                             .durability = BENCH_D1}};
    for (size_t i = 0, at = 0; i < bench_engine_count; i++)
        at += (size_t)snprintf(all + at, sizeof all - at, "%s%s", i ? "," : "",
                               bench_engines[i]->name);
    options_parse(argc, argv, &s);
    check_outputs(&s);
    machine_read(&s.machine, s.folder);
    print_settings(&s);
    unsigned rounds = 0;
    outcome end = rounds_run(&s, &rounds);
    if (end == INTERRUPTED)
        printf("\nInterrupted in round %u of %u: what follows is what there is.\n", rounds + 1,
               s.rounds);
    else if (end == FAILED)
        printf("\nA failure ended round %u of %u: what follows is what there is.\n", rounds + 1,
               s.rounds);
    s.whole_rounds = rounds;
    if (results_count() > 0)
        report_print(&s);
    else
        printf("Nothing was measured: there are no figures and no charts.\n");
    if (s.csv)
        export_csv(&s, s.csv);
    if (s.json)
        export_json(&s, s.json);
    if (s.plot)
        plot_write(&s, s.plot);
    fflush(stdout);
    return end == INTERRUPTED ? 130 : end == FAILED || results_count() == 0 ? 1 : 0;
}
