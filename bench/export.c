/* export: every row of every round, for other programs. */
#include "results.h"

#include <errno.h>
#include <firn/firn.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static const struct {
    const char *name;
    row_figure figure;
} figures[] = {{"ops_per_second", row_rate}, {"user_mib_per_second", row_mib},
               {"p50_us", row_p50},          {"p99_us", row_p99},
               {"p999_us", row_p999},        {"max_us", row_max},
               {"cpu_us_per_op", row_cpu},   {"peak_mib", row_peak},
               {"write_amp", row_write_amp}, {"space_amp", row_space_amp}};
#define FIGURES (sizeof figures / sizeof *figures)

typedef void (*row_writer)(FILE *out, const result *r, size_t engine, unsigned round);

FILE *bench_create(const char *path)
{
    struct stat st;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (fd < 0 && errno == ELOOP && stat(path, &st) == 0 && !S_ISREG(st.st_mode))
        fd = open(path, O_WRONLY | O_CLOEXEC); /* such as /dev/stdout */
    FILE *out = fd < 0 ? NULL : fdopen(fd, "w");
    if (!out)
        bench_fail("bench", path, strerror(errno));
    return out;
}

static void finish(FILE *out, const char *path)
{
    bool failed = ferror(out) != 0;
    if (fclose(out) != 0 || failed)
        bench_fail("bench", path, "it could not be written");
}

static const char *class_word(bench_class c)
{
    return c == BENCH_D0 ? "D0" : c == BENCH_D1 ? "D1" : "D2";
}

static void each_row(FILE *out, row_writer write)
{
    for (size_t n = 0; n < results_count(); n++)
        for (size_t i = 0; i < bench_engine_count; i++)
            for (unsigned k = 0; k < results_at(n)->count[i]; k++)
                write(out, results_at(n), i, k);
}

static const settings *origin; /* of the rows that are written */

/* Where it was measured stands in every line: lines of several files may be put together. */
static void write_origin(FILE *out)
{
    const machine *m = &origin->machine;
    fprintf(out, ",%llu,%llu,%u,%u,%s,%s,%u,%llu,%s,%s,%s\n", (unsigned long long)origin->records,
            (unsigned long long)origin->reads, origin->rounds, origin->whole_rounds, m->date,
            m->cpu, m->cores, (unsigned long long)m->memory_bytes, m->kernel, m->file_system,
            firn_version());
}

static void write_csv(FILE *out, const result *r, size_t engine, unsigned round)
{
    const bench_row *row = r->rows[engine][round];
    fprintf(out, "%u,%u,%s,%s,%s,%u,%u,%u,%u,%llu,%.9f,%.6f,%llu,%llu,%llu", r->store, r->position,
            r->name, class_word(r->durability), bench_engines[engine]->name, round + 1,
            row->threads, row->key_bytes, row->value_bytes, (unsigned long long)row->ops,
            row->seconds, row->cpu_s, (unsigned long long)row->user_bytes,
            (unsigned long long)row->written_bytes, (unsigned long long)row->disk_bytes);
    for (size_t i = 0; i < FIGURES; i++)
        fprintf(out, ",%.3f", figures[i].figure(row));
    write_origin(out);
}

void export_csv(const settings *s, const char *path)
{
    FILE *out = bench_create(path);
    origin = s;
    fprintf(
        out,
        "store,position,workload,durability,engine,round,threads,key_bytes,value_bytes,ops,seconds,"
        "cpu_seconds,user_bytes,written_bytes,disk_bytes");
    for (size_t i = 0; i < FIGURES; i++)
        fprintf(out, ",%s", figures[i].name);
    fputs(",records,reads,rounds,whole_rounds,date,cpu,cores,memory_bytes,kernel,file_system,firn_"
          "version\n",
          out);
    each_row(out, write_csv);
    finish(out, path);
}

static bool first_row;

static void write_json(FILE *out, const result *r, size_t engine, unsigned round)
{
    const bench_row *row = r->rows[engine][round];
    fprintf(out,
            "%s\n  {\"store\": %u, \"position\": %u, \"workload\": \"%s\", \"durability\": \"%s\", "
            "\"engine\": \"%s\", ",
            first_row ? "" : ",", r->store, r->position, r->name, class_word(r->durability),
            bench_engines[engine]->name);
    first_row = false;
    fprintf(out,
            "\"round\": %u, \"threads\": %u, \"key_bytes\": %u, \"value_bytes\": %u, "
            "\"ops\": %llu, \"seconds\": %.9f, \"cpu_seconds\": %.6f, \"user_bytes\": %llu, "
            "\"written_bytes\": %llu, \"disk_bytes\": %llu",
            round + 1, row->threads, row->key_bytes, row->value_bytes, (unsigned long long)row->ops,
            row->seconds, row->cpu_s, (unsigned long long)row->user_bytes,
            (unsigned long long)row->written_bytes, (unsigned long long)row->disk_bytes);
    for (size_t i = 0; i < FIGURES; i++)
        fprintf(out, ", \"%s\": %.3f", figures[i].name, figures[i].figure(row));
    fprintf(out, ", \"sample_seconds\": %.3f, \"ops_per_second_series\": [", row->sample_s);
    for (unsigned i = 0; i < row->samples; i++)
        fprintf(out, "%s%.0f", i ? ", " : "", (double)row->series[i]);
    fprintf(out, "]}");
}

void export_json(const settings *s, const char *path)
{
    const machine *m = &s->machine;
    FILE *out = bench_create(path);
    fprintf(
        out,
        "{\"date\": \"%s\", \"machine\": {\"cpu\": \"%s\", \"cores\": %u, \"memory_bytes\": %llu, "
        "\"kernel\": \"%s\", \"file_system\": \"%s\"}, \"firn_version\": \"%s\", \"whole_rounds\": "
        "%u,\n "
        "\"records\": %llu, \"reads\": %llu, \"rounds\": %u, \"seed\": %llu, "
        "\"compressible_percent\": %u, \"memtable_bytes\": %llu, \"cache_bytes\": %llu, "
        "\"memory_limit_bytes\": %llu, \"filter_bits\": %u, \"compression\": %s,\n \"engines\": {",
        m->date, m->cpu, m->cores, (unsigned long long)m->memory_bytes, m->kernel, m->file_system,
        firn_version(), s->whole_rounds, (unsigned long long)s->records,
        (unsigned long long)s->reads, s->rounds, (unsigned long long)s->data.seed,
        s->data.compressible, (unsigned long long)s->config.memtable_bytes,
        (unsigned long long)s->config.cache_bytes, (unsigned long long)s->limit_bytes,
        s->config.filter_bits, s->config.compress ? "true" : "false");
    for (size_t i = 0; i < bench_engine_count; i++)
        fprintf(out, "%s\n  \"%s\": \"%s\"", i ? "," : "", bench_engines[i]->name,
                bench_engines[i]->settings);
    fprintf(out, "},\n \"rows\": [");
    first_row = true;
    each_row(out, write_json);
    fprintf(out, "\n]}\n");
    finish(out, path);
}
