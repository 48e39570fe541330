/* stats_text: the figures as text, or as JSON (README.md, "Figures"). No figure is gathered here,
 * and each has its name from the header's field. No number is printed by the locale's rules: JSON
 * knows no decimal comma. */
#include <base/buf.h>
#include <base/error.h>
#include <base/slice.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "figures.h"

enum { LINE = 1024 };

typedef struct text {
    buf all;
    int status; /* the first failure */
} text;

static void add(text *t, const void *data, size_t size)
{
    if (t->status == FIRN_OK)
        t->status = buf_append(&t->all, data, size);
}

/* Up to LINE bytes. */
static void say(text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(text *t, const char *format, ...)
{
    char line[LINE];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (n > 0)
        add(t, line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
}

/* Any bytes; each that is not printable ASCII as `format` says, and so are \ and, in quotes, ". */
static void say_bytes(text *t, firn_slice bytes, bool json)
{
    for (size_t i = 0; i < bytes.size; i++) {
        uint8_t c = bytes.data[i];
        if (c < 0x20 || c > 0x7e || c == '\\' || (json && c == '"'))
            say(t, json ? "\\u%04x" : "\\x%02x", c);
        else
            add(t, &c, 1);
    }
}

static void say_string(text *t, firn_slice bytes)
{
    add(t, "\"", 1);
    say_bytes(t, bytes, true);
    add(t, "\"", 1);
}

/* ---- What there is ---- */

typedef struct field {
    const char *name;
    uint64_t value;
} field;

enum { FIELDS_MOST = 64 };

/* Those of the store that are one number. Returns how many. */
static size_t list_fields(const firn_stats *s, field out[FIELDS_MOST])
{
    const field fields[] = {
        {"newest_seq", s->newest_seq},
        {"last_seq", s->last_seq},
        {"durable_seq", s->durable_seq},
        {"flushed_seq", s->flushed_seq},
        {"total_bytes", s->total_bytes},
        {"lost_files", s->lost_files},
        {"lost_bytes", s->lost_bytes},
        {"recovered_entries", s->recovered_entries},
        {"recovery_cut_bytes", s->recovery_cut_bytes},
        {"log_segments", s->log_segments},
        {"log_first_segment", s->log_first_segment},
        {"log_last_segment", s->log_last_segment},
        {"log_bytes", s->log_bytes},
        {"log_used_bytes", s->log_used_bytes},
        {"syncs", s->syncs},
        {"memtables", s->memtables},
        {"memtable_entries", s->memtable_entries},
        {"memtable_deletes", s->memtable_deletes},
        {"memtable_bytes", s->memtable_bytes},
        {"bytes_put", s->bytes_put},
        {"bytes_logged", s->bytes_logged},
        {"bytes_flushed", s->bytes_flushed},
        {"bytes_compacted", s->bytes_compacted},
        {"flushes", s->flushes},
        {"compactions", s->compactions},
        {"memory_limit", s->memory_limit},
        {"memory_bytes", s->memory_bytes},
        {"memory_log", s->memory_log},
        {"memory_index", s->memory_index},
        {"memory_blocks", s->memory_blocks},
        {"memory_filters", s->memory_filters},
        {"memory_indexes", s->memory_indexes},
        {"memory_tables", s->memory_tables},
        {"memory_work", s->memory_work},
        {"cache_capacity", s->cache_capacity},
        {"cache_bytes", s->cache_bytes},
        {"cache_hits", s->cache_hits},
        {"cache_misses", s->cache_misses},
        {"filter_loads", s->filter_loads},
        {"index_loads", s->index_loads},
        {"snapshots", s->snapshots},
        {"oldest_snapshot", s->oldest_snapshot},
        {"iterators", s->iterators},
        {"values", s->values},
        {"bucket_count", s->bucket_count},
    };
    _Static_assert(sizeof fields / sizeof *fields <= FIELDS_MOST, "all have room");
    memcpy(out, fields, sizeof fields);
    return sizeof fields / sizeof *fields;
}

/* Those by level. */
static const struct {
    const char *name;
    size_t at;
} columns[] = {
    {"tables", offsetof(firn_bucket_stats, level_tables)},
    {"bytes", offsetof(firn_bucket_stats, level_bytes)},
    {"entries", offsetof(firn_bucket_stats, level_entries)},
    {"deletes", offsetof(firn_bucket_stats, level_deletes)},
    {"range_deletes", offsetof(firn_bucket_stats, level_range_deletes)},
    {"read", offsetof(firn_bucket_stats, level_read)},
    {"written", offsetof(firn_bucket_stats, level_written)},
    {"jobs", offsetof(firn_bucket_stats, level_jobs)},
};
enum { COLUMNS = sizeof columns / sizeof *columns };

static const uint64_t *column(const firn_bucket_stats *b, size_t i)
{
    return (const uint64_t *)(const void *)((const char *)b + columns[i].at);
}

static uint64_t sum(const uint64_t levels[FIRN_LEVELS])
{
    uint64_t all = 0;
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        all += levels[n];
    return all;
}

/* All buckets as one. */
static firn_bucket_stats as_bucket(const firn_stats *s)
{
    firn_bucket_stats b = {.size = sizeof b};
    memcpy(b.level_tables, s->level_tables, sizeof b.level_tables);
    memcpy(b.level_bytes, s->level_bytes, sizeof b.level_bytes);
    memcpy(b.level_entries, s->level_entries, sizeof b.level_entries);
    memcpy(b.level_deletes, s->level_deletes, sizeof b.level_deletes);
    memcpy(b.level_range_deletes, s->level_range_deletes, sizeof b.level_range_deletes);
    memcpy(b.level_read, s->level_read, sizeof b.level_read);
    memcpy(b.level_written, s->level_written, sizeof b.level_written);
    memcpy(b.level_jobs, s->level_jobs, sizeof b.level_jobs);
    return b;
}

static bool has_any(const firn_bucket_stats *b)
{
    uint64_t any = b->memtable_entries | b->iterators;
    for (size_t i = 0; i < COLUMNS; i++)
        any |= sum(column(b, i));
    return any != 0;
}

typedef struct ratio {
    char s[24];
} ratio;

/* Of what was written for what flushes have written; `none`: they have written nothing. */
static ratio amplification(uint64_t written, uint64_t flushed, const char *none)
{
    ratio r;
    if (flushed)
        snprintf(r.s, sizeof r.s, "%" PRIu64 ".%02u", written / flushed,
                 (unsigned)(written % flushed * 100 / flushed));
    else
        snprintf(r.s, sizeof r.s, "%s", none);
    return r;
}

/* ---- JSON ---- */

static void json_levels(text *t, const char *name, const uint64_t levels[FIRN_LEVELS],
                        const char *behind)
{
    say(t, "\"level_%s\": [", name);
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        say(t, "%s%" PRIu64, n ? ", " : "", levels[n]);
    say(t, "]%s", behind);
}

/* `between` stands behind each, the last one too. */
static void json_columns(text *t, const firn_bucket_stats *b, const char *between)
{
    const uint64_t flushed = b->level_written[0];
    for (size_t i = 0; i < COLUMNS; i++)
        json_levels(t, columns[i].name, column(b, i), between);
    say(t, "\"level_write_amplification\": [");
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        say(t, "%s%s", n ? ", " : "", amplification(b->level_written[n], flushed, "null").s);
    say(t, "]%s\"write_amplification\": %s%s", between,
        amplification(sum(b->level_written), flushed, "null").s, between);
}

static void json_buckets(text *t, const sights *seen)
{
    const char *before = "\n";
    say(t, "\"buckets\": [");
    for (size_t i = 0; seen->count > 1 && i < seen->count; i++) {
        const sight *of = &seen->all[i];
        firn_bucket_stats b;
        figures_of_bucket(of, &b);
        if (!has_any(&b))
            continue;
        say(t, "%s    {\"bucket\": %u, \"name\": ", before, of->view->version->bucket);
        say_string(t, slice_of(of->name.bytes, of->name.size));
        say(t, ", ");
        json_columns(t, &b, ", ");
        say(t,
            "\"memtable_entries\": %" PRIu64 ", \"memtable_deletes\": %" PRIu64
            ", \"iterators\": %" PRIu64 "}",
            b.memtable_entries, b.memtable_deletes, b.iterators);
        before = ",\n";
    }
    say(t, "%s],\n  ", *before == ',' ? "\n  " : "");
}

static void json_waits(text *t, const firn_stats *s)
{
    say(t, "\"stall_us\": %" PRIu64 ",\n  \"waits\": {", s->stall_us);
    for (unsigned i = FIRN_WAIT_NONE + 1; i <= FIRN_WAIT_DESCRIPTOR; i++)
        say(t, "%s\"%s\": {\"count\": %" PRIu64 ", \"us\": %" PRIu64 "}", i > 1 ? ", " : "",
            firn_wait_name((firn_wait)i), s->waits[i].count, s->waits[i].us);
    say(t, "},\n  \"waiting\": %u,\n  \"waiting_for\": \"%s\",\n  \"waiting_us\": %" PRIu64 ",\n  ",
        s->waiting, firn_wait_name(s->waiting_for), s->waiting_us);
}

static void json_latencies(text *t, const latencies *l)
{
    say(t, l ? "\"latencies\": {\n" : "\"latencies\": null,\n  ");
    for (unsigned i = 0; l && i < LATENCY_KINDS; i++) {
        latency_sum all;
        firn_latency told;
        const char *before = "";
        latency_look(l, (firn_latency_kind)i, &all);
        latency_tell(&all, &told);
        say(t,
            "    \"%s\": {\"count\": %" PRIu64 ", \"sum_ns\": %" PRIu64 ", \"p50_ns\": %" PRIu64
            ", \"p90_ns\": %" PRIu64 ", \"p99_ns\": %" PRIu64 ", \"p999_ns\": %" PRIu64
            ", \"max_ns\": %" PRIu64 ", \"bins\": [",
            firn_latency_name((firn_latency_kind)i), told.count, told.sum_ns, told.p50_ns,
            told.p90_ns, told.p99_ns, told.p999_ns, told.max_ns);
        for (unsigned b = 0; b < LATENCY_BINS; b++) {
            if (!all.bins[b])
                continue;
            say(t, "%s[%" PRIu64 ", %" PRIu64 "]", before, bin_end(b, LATENCY_SPLIT), all.bins[b]);
            before = ", ";
        }
        say(t, i + 1 < LATENCY_KINDS ? "]},\n" : "]}\n  },\n  ");
    }
}

static void json_error(text *t, const char *name, const firn_error *e)
{
    char line[LINE];
    say(t, "\"%s\": ", name);
    if (e->status == FIRN_OK) {
        say(t, "null,\n  ");
        return;
    }
    firn_error_format(e, line, sizeof line);
    say(t, "{\"status\": \"%s\", \"text\": ", firn_status_name(e->status));
    say_string(t, slice_of_str(line));
    say(t, "},\n  ");
}

static const char *json_bool(bool yes)
{
    return yes ? "true" : "false";
}

static void write_json(text *t, const store *db, const firn_stats *s, const sights *seen)
{
    const char *line = ",\n  ";
    const firn_bucket_stats all = as_bucket(s);
    field fields[FIELDS_MOST];
    size_t count = list_fields(s, fields);
    say(t, "{\n  \"version\": \"%s\",\n  \"store_id\": \"%s\"%s", firn_version(), s->store_id,
        line);
    for (size_t i = 0; i < count; i++)
        say(t, "\"%s\": %" PRIu64 "%s", fields[i].name, fields[i].value, line);
    json_columns(t, &all, line);
    json_levels(t, "filter_wrong", s->level_filter_wrong, line);
    json_levels(t, "filter_denied", s->level_filter_denied, line);
    json_buckets(t, seen);
    json_waits(t, s);
    json_latencies(t, db->latencies);
    json_error(t, "flush_error", &s->flush_error);
    json_error(t, "compaction_error", &s->compaction_error);
    say(t, "\"poisoned\": %s,\n  \"read_only\": %s,\n  \"log_mapped\": %s\n}\n",
        json_bool(s->poisoned), json_bool(s->read_only), json_bool(s->log_mapped));
}

/* ---- Plain text ---- */

/* A level's row, or with FIRN_LEVELS that of all; `s`: the store's, for what its filters did. */
static void say_row(text *t, const firn_bucket_stats *b, const firn_stats *s, unsigned n)
{
    bool every = n == FIRN_LEVELS;
    const uint64_t *written = b->level_written;
    if (every)
        say(t, "  all  ");
    else
        say(t, "  %-5u", n);
    for (size_t i = 0; i < COLUMNS; i++)
        say(t, " %13" PRIu64, every ? sum(column(b, i)) : column(b, i)[n]);
    say(t, " %13s", amplification(every ? sum(written) : written[n], written[0], "-").s);
    if (s)
        say(t, " %13" PRIu64 " %13" PRIu64,
            every ? sum(s->level_filter_wrong) : s->level_filter_wrong[n],
            every ? sum(s->level_filter_denied) : s->level_filter_denied[n]);
    say(t, "\n");
}

static void say_levels(text *t, const firn_bucket_stats *b, const firn_stats *s)
{
    say(t, "  level");
    for (size_t i = 0; i < COLUMNS; i++)
        say(t, " %13s", columns[i].name);
    say(t, " %13s%s\n", "amplification", s ? "  filter_wrong filter_denied" : "");
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        if (b->level_tables[n] || b->level_jobs[n])
            say_row(t, b, s, n);
    say_row(t, b, s, FIRN_LEVELS);
}

static void say_buckets(text *t, const sights *seen)
{
    for (size_t i = 0; seen->count > 1 && i < seen->count; i++) {
        const sight *of = &seen->all[i];
        firn_bucket_stats b;
        figures_of_bucket(of, &b);
        if (!has_any(&b))
            continue;
        say(t, "bucket %u%s", of->view->version->bucket, of->name.size ? ", " : "");
        say_bytes(t, slice_of(of->name.bytes, of->name.size), false);
        say(t,
            "\n  memtable_entries %" PRIu64 ", memtable_deletes %" PRIu64 ", iterators %" PRIu64
            "\n",
            b.memtable_entries, b.memtable_deletes, b.iterators);
        say_levels(t, &b, NULL);
    }
}

static void say_waits(text *t, const firn_stats *s)
{
    say(t, "waits\n  %-18s %" PRIu64 "\n", "stall_us", s->stall_us);
    for (unsigned i = FIRN_WAIT_NONE + 1; i <= FIRN_WAIT_DESCRIPTOR; i++)
        if (s->waits[i].count)
            say(t, "  %-18s %" PRIu64 " us in %" PRIu64 "\n", firn_wait_name((firn_wait)i),
                s->waits[i].us, s->waits[i].count);
    if (s->waiting)
        say(t, "  %-18s %u, for %s, %" PRIu64 " us\n", "waiting", s->waiting,
            firn_wait_name(s->waiting_for), s->waiting_us);
}

static void say_latencies(text *t, const latencies *l)
{
    if (l)
        say(t, "latencies\n  %-10s %13s %13s %13s %13s %13s %13s %13s\n", "", "count", "mean_ns",
            "p50_ns", "p90_ns", "p99_ns", "p999_ns", "max_ns");
    for (unsigned i = 0; l && i < LATENCY_KINDS; i++) {
        latency_sum all;
        firn_latency told;
        latency_look(l, (firn_latency_kind)i, &all);
        latency_tell(&all, &told);
        say(t,
            "  %-10s %13" PRIu64 " %13" PRIu64 " %13" PRIu64 " %13" PRIu64 " %13" PRIu64
            " %13" PRIu64 " %13" PRIu64 "\n",
            firn_latency_name((firn_latency_kind)i), told.count,
            told.count ? told.sum_ns / told.count : 0, told.p50_ns, told.p90_ns, told.p99_ns,
            told.p999_ns, told.max_ns);
    }
}

static void say_error(text *t, const char *name, const firn_error *e)
{
    char line[LINE];
    if (e->status == FIRN_OK)
        return;
    firn_error_format(e, line, sizeof line);
    say(t, "%s %s: ", name, firn_status_name(e->status));
    say_bytes(t, slice_of_str(line), false);
    say(t, "\n");
}

static void write_plain(text *t, const store *db, const firn_stats *s, const sights *seen)
{
    const firn_bucket_stats all = as_bucket(s);
    field fields[FIELDS_MOST];
    size_t count = list_fields(s, fields);
    say(t, "store %s, firn %s%s%s\n", s->store_id, firn_version(),
        s->poisoned ? ", writing has stopped" : "", s->read_only ? ", read only" : "");
    say_error(t, "flush_error", &s->flush_error);
    say_error(t, "compaction_error", &s->compaction_error);
    for (size_t i = 0; i < count; i++)
        say(t, "  %-18s %" PRIu64 "\n", fields[i].name, fields[i].value);
    say(t, "levels\n");
    say_levels(t, &all, s);
    say_buckets(t, seen);
    say_waits(t, s);
    say_latencies(t, db->latencies);
}

/* ---- The call ---- */

static int give(const text *t, char *buffer, size_t capacity, size_t *needed, firn_error *err)
{
    size_t fits = t->all.size < capacity ? t->all.size : capacity - (capacity > 0);
    if (fits)
        memcpy(buffer, t->all.data, fits);
    if (capacity)
        buffer[fits] = '\0';
    if (needed)
        *needed = t->all.size;
    if (t->all.size < capacity)
        return FIRN_OK;
    return error_set(err, FIRN_TOO_LARGE, "the text has %zu bytes and a final 0, the buffer %zu",
                     t->all.size, capacity);
}

int firn_stats_text(tree *handle, bool json, char *buffer, size_t capacity, size_t *needed,
                    firn_error *error)
{
    store *db;
    sights seen;
    firn_stats s;
    text t = {0};
    int rc = store_of(handle, &db, error);
    if (rc != FIRN_OK)
        return rc;
    if (!buffer && capacity)
        return error_set(error, FIRN_INVALID, "the buffer is NULL but has a size");
    if (sights_take(db, &seen) != FIRN_OK)
        return error_no_memory(error);
    rc = figures_of_store(db, &seen, &s, error);
    if (rc == FIRN_OK) {
        (json ? write_json : write_plain)(&t, db, &s, &seen);
        rc = t.status == FIRN_OK ? give(&t, buffer, capacity, needed, error)
                                 : error_no_memory(error);
    }
    sights_release(&seen);
    buf_release(&t.all);
    return rc;
}
