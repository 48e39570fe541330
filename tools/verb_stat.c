/* verb_stat: what the store is made of, as a table or as JSON. */
#include <base/buf.h>
#include <base/error.h>
#include <base/slice.h>
#include <engine/engine.h>
#include <firn/firn.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "open.h"
#include "output.h"
#include "text.h"
#include "waits.h"

/* One line for each number of firn_stats that stays meaningful after the process that counted it,
 * so that the JSON and the header can be compared by eye.
 */
typedef struct field {
    const char *name;
    uint64_t value;
} field;

/* A bucket, kept until the store has been closed. */
typedef struct shown {
    engine_bucket is;
    char name[256];
} shown;

typedef struct shown_list {
    buf all;
    int status;
} shown_list;

static void keep_bucket(void *ctx, const engine_bucket *b)
{
    shown_list *list = ctx;
    shown s = {.is = *b};
    if (b->name.size > 0)
        memcpy(s.name, b->name.data, b->name.size);
    if (list->status == FIRN_OK)
        list->status = buf_append(&list->all, &s, sizeof s);
}

/* None when there is only bucket 0: the store's figures are its own. */
static size_t shown_count(const shown_list *list)
{
    size_t count = list->all.size / sizeof(shown);
    return count > 1 ? count : 0;
}

static shown shown_at(const shown_list *list, size_t i)
{
    shown s;
    memcpy(&s, list->all.data + i * sizeof s, sizeof s);
    return s;
}

static void print_json_array(output *out, const char *name, const uint64_t values[FIRN_LEVELS],
                             const char *end)
{
    output_format(out, "\"%s\": [", name);
    for (unsigned i = 0; i < FIRN_LEVELS; i++)
        output_format(out, "%s%llu", i > 0 ? ", " : "", (unsigned long long)values[i]);
    output_format(out, "]%s", end);
}

static void print_json_buckets(output *out, const shown_list *buckets)
{
    size_t count = shown_count(buckets);
    if (count == 0)
        return;
    output_text(out, "  \"buckets\": [\n");
    for (size_t i = 0; i < count; i++) {
        shown s = shown_at(buckets, i);
        output_format(out, "    {\"bucket\": %u, \"name\": ", s.is.bucket);
        output_json(out, slice_of(s.name, s.is.name.size));
        output_text(out, ", ");
        print_json_array(out, "level_tables", s.is.level_tables, ", ");
        print_json_array(out, "level_bytes", s.is.level_bytes, ", ");
        print_json_array(out, "level_entries", s.is.level_entries, ", ");
        print_json_array(out, "level_deletes", s.is.level_deletes, ", ");
        print_json_array(out, "level_range_deletes", s.is.level_range_deletes, "}");
        output_text(out, i + 1 < count ? ",\n" : "\n  ],\n");
    }
}

/* Those of all buckets, which firn_stats does not tell. */
static engine_bucket range_deletes(const shown_list *buckets)
{
    engine_bucket all = {0};
    for (size_t i = 0; i < buckets->all.size / sizeof(shown); i++) {
        shown s = shown_at(buckets, i);
        for (unsigned n = 0; n < FIRN_LEVELS; n++)
            all.level_range_deletes[n] += s.is.level_range_deletes[n];
    }
    return all;
}

static void print_json(output *out, const firn_stats *s, const shown_list *buckets)
{
    const engine_bucket ranges = range_deletes(buckets);
    const field fields[] = {
        {"newest_seq", s->newest_seq},
        {"last_seq", s->last_seq},
        {"durable_seq", s->durable_seq},
        {"flushed_seq", s->flushed_seq},
        {"memtables", s->memtables},
        {"memtable_entries", s->memtable_entries},
        {"memtable_bytes", s->memtable_bytes},
        {"log_segments", s->log_segments},
        {"total_bytes", s->total_bytes},
        {"log_bytes", s->log_bytes},
        {"log_used_bytes", s->log_used_bytes},
        {"log_first_segment", s->log_first_segment},
        {"log_last_segment", s->log_last_segment},
        {"cache_bytes", s->cache_bytes},
        {"cache_capacity", s->cache_capacity},
        {"memory_bytes", s->memory_bytes},
        {"cache_hits", s->cache_hits},
        {"cache_misses", s->cache_misses},
        {"snapshots", s->snapshots},
        {"recovered_entries", s->recovered_entries},
        {"recovery_cut_bytes", s->recovery_cut_bytes},
        {"lost_files", s->lost_files},
        {"lost_bytes", s->lost_bytes},
    };
    output_format(out, "{\n  \"version\": \"%s\",\n  \"store_id\": \"%s\",\n", firn_version(),
                  s->store_id);
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        output_format(out, "  \"%s\": %llu,\n", fields[i].name,
                      (unsigned long long)fields[i].value);
    output_text(out, "  ");
    print_json_array(out, "level_tables", s->level_tables, ",\n");
    output_text(out, "  ");
    print_json_array(out, "level_bytes", s->level_bytes, ",\n");
    output_text(out, "  ");
    print_json_array(out, "level_entries", s->level_entries, ",\n");
    output_text(out, "  ");
    print_json_array(out, "level_deletes", s->level_deletes, ",\n");
    output_text(out, "  ");
    print_json_array(out, "level_range_deletes", ranges.level_range_deletes, ",\n");
    print_json_buckets(out, buckets);
    waits_json(out, s);
    output_format(out, "  \"log_mapped\": %s\n}\n", s->log_mapped ? "true" : "false");
}

static void print_levels(output *out, const engine_bucket *s)
{
    uint64_t tables = 0, bytes = 0, entries = 0, deletes = 0, ranges = 0;
    output_format(out, "  %-8s %8s %12s %14s %14s %14s\n", "level", "tables", "size", "entries",
                  "deletions", "of ranges");
    for (unsigned i = 0; i < FIRN_LEVELS; i++) {
        if (s->level_tables[i] == 0)
            continue;
        output_format(out, "  %-8u %8s %12s %14s %14s %14s\n", i, text_count(s->level_tables[i]).s,
                      text_size(s->level_bytes[i]).s, text_count(s->level_entries[i]).s,
                      text_count(s->level_deletes[i]).s, text_count(s->level_range_deletes[i]).s);
        tables += s->level_tables[i];
        bytes += s->level_bytes[i];
        entries += s->level_entries[i];
        deletes += s->level_deletes[i];
        ranges += s->level_range_deletes[i];
    }
    output_format(out, "  %-8s %8s %12s %14s %14s %14s\n", "all", text_count(tables).s,
                  text_size(bytes).s, text_count(entries).s, text_count(deletes).s,
                  text_count(ranges).s);
}

static void print_tables(output *out, const firn_stats *s, const shown_list *buckets,
                         const char *bold, const char *off)
{
    engine_bucket all = range_deletes(buckets);
    memcpy(all.level_tables, s->level_tables, sizeof all.level_tables);
    memcpy(all.level_bytes, s->level_bytes, sizeof all.level_bytes);
    memcpy(all.level_entries, s->level_entries, sizeof all.level_entries);
    memcpy(all.level_deletes, s->level_deletes, sizeof all.level_deletes);
    output_format(out, "%stables%s\n", bold, off);
    print_levels(out, &all);
    for (size_t i = 0; i < shown_count(buckets); i++) {
        shown b = shown_at(buckets, i);
        output_format(out, "%stables of bucket %u%s", bold, b.is.bucket, off);
        if (b.is.name.size > 0) {
            output_text(out, ", ");
            output_escaped(out, slice_of(b.name, b.is.name.size));
        }
        output_text(out, "\n");
        print_levels(out, &b.is);
    }
}

static void print_table(output *out, const char *path, const firn_stats *s,
                        const shown_list *buckets)
{
    const bool colour = text_colour(STDOUT_FILENO);
    const char *bold = colour ? COLOUR_BOLD : "", *off = colour ? COLOUR_OFF : "";
    output_format(out, "%sstore%s ", bold, off);
    output_message(out, path);
    output_format(out, "\n  id                %s\n", s->store_id);
    output_format(out, "  size              %s\n", text_size(s->total_bytes).s);
    output_format(out, "  newest write      %s", text_count(s->newest_seq).s);
    if (s->last_seq > s->newest_seq)
        output_format(out, "; numbers are used up to %s: checkpoints take some too",
                      text_count(s->last_seq).s);
    output_text(out, "\n");
    output_format(out, "  in tables up to   %s\n", text_count(s->flushed_seq).s);
    output_format(out, "%slog%s\n", bold, off);
    output_format(out, "  segments          %s", text_count(s->log_segments).s);
    if (s->log_segments > 0)
        output_format(out, " (%llu to %llu)", (unsigned long long)s->log_first_segment,
                      (unsigned long long)s->log_last_segment);
    output_format(out, "\n  size              %s, %s of it used\n", text_size(s->log_bytes).s,
                  text_size(s->log_used_bytes).s);
    output_format(out, "  not yet in tables %s entries\n", text_count(s->memtable_entries).s);
    if (s->recovery_cut_bytes > 0)
        output_format(out, "  torn tail         %s, not known to be synced\n",
                      text_size(s->recovery_cut_bytes).s);
    print_tables(out, s, buckets, bold, off);
    if (s->lost_files > 0)
        output_format(
            out,
            "%sset aside%s by recovery or repair\n  files             %s, %s; see `firn lost`\n",
            bold, off, text_count(s->lost_files).s, text_size(s->lost_bytes).s);
    output_format(out, "%smemory%s\n", bold, off);
    output_format(out, "  memtables         %s in %u\n", text_size(s->memtable_bytes).s,
                  s->memtables);
    output_format(out, "  block cache       %s of %s\n", text_size(s->cache_bytes).s,
                  text_size(s->cache_capacity).s);
    waits_table(out, s, bold, off);
}

static int run(const verb *v, int argc, char **argv)
{
    static const struct option longs[] = {{"json", no_argument, NULL, 'j'}, OPEN_SET, {0}};
    open_wish wish;
    opened o;
    firn_stats stats = {.size = sizeof stats};
    firn_error error = {0};
    shown_list buckets = {0};
    output out;
    bool json = false;
    int c, code;
    open_wish_init(&wish, false);
    while ((c = args_next(v, argc, argv, "", longs)) != -1) {
        if (c == 'j')
            json = true;
        else if ((code = open_take(v, &wish, c)) != -1)
            return code;
    }
    if (!args_count(v, argc, 1, 1))
        return EXIT_USAGE;
    const char *path = argv[optind];
    code = open_to_look(path, &wish, &o);
    if (code != EXIT_DONE)
        return code;
    int rc = firn_get_stats(o.db, &stats, &error);
    if (rc == FIRN_OK)
        rc = engine_buckets(o.db, keep_bucket, &buckets, &error);
    if (rc == FIRN_OK && buckets.status != FIRN_OK)
        rc = error_no_memory(&error);
    code = open_close(&o, rc == FIRN_OK ? EXIT_DONE : fail(rc, &error, path));
    if (code == EXIT_DONE) {
        output_init(&out, STDOUT_FILENO, "standard output");
        if (json)
            print_json(&out, &stats, &buckets);
        else
            print_table(&out, path, &stats, &buckets);
        code = output_finish(&out);
    }
    buf_release(&buckets.all);
    return code;
}

const verb verb_stat = {
    .name = "stat",
    .usage = "DB [--json]",
    .summary = "show what the store is made of",
    .help =
        "Shows the room that the store takes on the disk, its log, the tables level by level, "
        "what\n"
        "recovery has set aside, and the memory that opening them takes. The files of a log that "
        "is\n"
        "open for writing are made in full size ahead: how much of them is used stands beside.\n"
        "Waits are those of this look at the store, by cause: those of another process are in the\n"
        "figures that it asks for itself.\n"
        "\n"
        "options:\n"
        "  --json              one object, for programs; sizes in bytes\n" OPEN_SET_HELP "\n"
        "examples:\n"
        "  firn stat packages\n"
        "  firn stat packages --json\n",
    .run = run,
};
