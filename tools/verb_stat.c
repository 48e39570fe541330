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

static void print_levels(output *out, const firn_bucket_stats *s)
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
    firn_bucket_stats all = {.size = sizeof all};
    memcpy(all.level_tables, s->level_tables, sizeof all.level_tables);
    memcpy(all.level_bytes, s->level_bytes, sizeof all.level_bytes);
    memcpy(all.level_entries, s->level_entries, sizeof all.level_entries);
    memcpy(all.level_deletes, s->level_deletes, sizeof all.level_deletes);
    memcpy(all.level_range_deletes, s->level_range_deletes, sizeof all.level_range_deletes);
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
        print_levels(out, &b.is.figures);
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

#define JSON_SPARE ((size_t)4 << 10)

/* Figures may grow between two calls. */
static int take_json(firn *db, buf *out, firn_error *err)
{
    size_t needed = 0;
    int rc;
    do {
        if (buf_reserve(out, needed + JSON_SPARE) != FIRN_OK)
            return error_no_memory(err);
        rc = firn_stats_text(db, true, (char *)out->data, out->capacity, &needed, err);
    } while (rc == FIRN_TOO_LARGE);
    out->size = rc == FIRN_OK ? needed : 0;
    return rc;
}

static int take_table(firn *db, firn_stats *stats, shown_list *buckets, firn_error *err)
{
    int rc = firn_get_stats(db, stats, err);
    if (rc == FIRN_OK)
        rc = engine_buckets(db, keep_bucket, buckets, err);
    return rc == FIRN_OK && buckets->status != FIRN_OK ? error_no_memory(err) : rc;
}

static int run(const verb *v, int argc, char **argv)
{
    static const struct option longs[] = {{"json", no_argument, NULL, 'j'}, OPEN_SET, {0}};
    open_wish wish;
    opened o;
    firn_stats stats = {.size = sizeof stats};
    firn_error error = {0};
    shown_list buckets = {0};
    buf text = {0};
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
    int rc = json ? take_json(o.db, &text, &error) : take_table(o.db, &stats, &buckets, &error);
    code = open_close(&o, rc == FIRN_OK ? EXIT_DONE : fail(rc, &error, path));
    if (code == EXIT_DONE) {
        output_init(&out, STDOUT_FILENO, "standard output");
        if (json)
            output_bytes(&out, text.data, text.size);
        else
            print_table(&out, path, &stats, &buckets);
        code = output_finish(&out);
    }
    buf_release(&buckets.all);
    buf_release(&text);
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
        "  --json              one object, for programs: all figures "
        "(firn_stats_text)\n" OPEN_SET_HELP "\n"
        "examples:\n"
        "  firn stat packages\n"
        "  firn stat packages --json\n",
    .run = run,
};
