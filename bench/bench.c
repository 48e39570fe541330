/* bench: firn beside other engines on the same work, in the same run (bench/README.md).
 *
 * Start reading at bench.h, then rounds.c, run.c, workloads.c. */
#include <stdlib.h>
#include <string.h>

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

int main(int argc, char **argv)
{
    char all[512] = "";
    settings s = {.records = 2000000,
                  .reads = 1000000,
                  .data = {.seed = 1, .key_bytes = 16, .value_bytes = 100, .compressible = 50},
                  .rounds = 3,
                  .threads = 1,
                  .distribution = ZIPFIAN,
                  .recover_bytes = UINT64_C(256) << 20,
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
    print_settings(&s);
    rounds_run(&s);
    report_print(&s);
    if (s.csv)
        export_csv(s.csv);
    if (s.json)
        export_json(&s, s.json);
    if (s.plot)
        plot_write(s.plot);
    return 0;
}
