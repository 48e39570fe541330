/* verb_repair: makes the most of a damaged store, and says what is gone. */
#include <base/slice.h>
#include <firn/firn.h>

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "command.h"
#include "open.h"
#include "output.h"
#include "text.h"

#define KEY_SHOWN 60 /* bytes of a key */

typedef struct printer {
    output out;
    bool colour, quiet, json;
} printer;

static void print_json_key(output *out, const char *name, firn_slice key)
{
    output_format(out, ", \"%s\": ", name);
    if (key.data)
        output_json(out, key);
    else
        output_text(out, "null");
}

static void print_json_event(output *out, const firn_repair_event *e)
{
    static const char *const kinds[] = {[FIRN_REPAIR_NOTE] = "note",
                                        [FIRN_REPAIR_LOST_KEYS] = "lost_keys",
                                        [FIRN_REPAIR_LOST_OPERATIONS] = "lost_operations"};
    output_format(out, "{\"event\": \"%s\", \"file\": ", kinds[e->kind]);
    output_json(out, slice_of_str(e->file));
    output_format(out, ", \"offset\": %" PRIu64 ", \"bytes\": %" PRIu64, e->offset, e->bytes);
    if (e->kind == FIRN_REPAIR_LOST_KEYS) {
        print_json_key(out, "from", e->after);
        print_json_key(out, "to", e->before);
        if (e->bucket[0]) {
            output_text(out, ", \"bucket\": ");
            output_json(out, slice_of_str(e->bucket));
        }
    }
    if (e->kind == FIRN_REPAIR_LOST_OPERATIONS)
        output_format(out, ", \"seq_first\": %" PRIu64 ", \"seq_last\": %" PRIu64, e->seq_first,
                      e->seq_last);
    output_text(out, ", \"text\": ");
    output_json(out, slice_of_str(e->text));
    output_text(out, "}\n");
}

static void print_json_summary(output *out, const firn_repair_summary *s)
{
    output_format(out,
                  "{\"losses\": %" PRIu64 ", \"tables\": %" PRIu64 ", \"entries\": %" PRIu64
                  ", \"tables_rewritten\": %" PRIu64 ", \"tables_lost\": %" PRIu64
                  ", \"log_operations\": %" PRIu64 ", \"operations_lost\": %" PRIu64
                  ", \"doubts\": %" PRIu64 ", \"manifest_rebuilt\": %s}\n",
                  s->losses, s->tables, s->entries, s->tables_rewritten, s->tables_lost,
                  s->log_operations, s->operations_lost, s->doubts,
                  s->manifest_rebuilt ? "true" : "false");
}

static void print_key(output *out, firn_slice key, const char *unbounded)
{
    if (!key.data) {
        output_text(out, unbounded);
        return;
    }
    output_text(out, "\"");
    output_shortened(out, key, KEY_SHOWN);
    output_text(out, "\"");
}

static void print_place(output *out, const firn_repair_event *e)
{
    output_escaped(out, slice_of_str(e->file));
    if (e->bytes)
        output_format(out, "%s%s bytes at offset %" PRIu64, e->file[0] ? ", " : "",
                      text_count(e->bytes).s, e->offset);
    else if (e->offset)
        output_format(out, "%soffset %" PRIu64, e->file[0] ? ", " : "", e->offset);
    if (e->file[0] || e->bytes || e->offset)
        output_text(out, ": ");
}

static void on_event(void *ctx, const firn_repair_event *e)
{
    printer *p = ctx;
    output *out = &p->out;
    bool loss = e->kind != FIRN_REPAIR_NOTE;
    if (!loss && p->quiet)
        return;
    if (p->json) {
        print_json_event(out, e);
        return;
    }
    output_format(out, "%s%s%s  ", loss && p->colour ? COLOUR_RED : "", loss ? "LOST" : "note",
                  loss && p->colour ? COLOUR_OFF : "");
    print_place(out, e);
    if (e->kind == FIRN_REPAIR_LOST_KEYS) {
        output_text(out, "versions of keys from ");
        print_key(out, e->after, "the first");
        output_text(out, " to ");
        print_key(out, e->before, "the last");
        if (e->bucket[0]) {
            output_text(out, " in bucket ");
            output_escaped(out, slice_of_str(e->bucket));
        }
        output_text(out, ": ");
    } else if (e->kind == FIRN_REPAIR_LOST_OPERATIONS && e->seq_first) {
        output_format(out, "operations %s to %s: ", text_count(e->seq_first).s,
                      text_count(e->seq_last).s);
    }
    output_message(out, e->text);
    output_text(out, "\n");
}

static void print_summary(printer *p, const firn_repair_summary *s)
{
    output *out = &p->out;
    output_format(out, "the store has %s table%s with %s entries, and %s operations in its log\n",
                  text_count(s->tables).s, s->tables == 1 ? "" : "s", text_count(s->entries).s,
                  text_count(s->log_operations).s);
    if (s->manifest_rebuilt)
        output_text(out, "the list of tables was lost: all tables that were found are in new ones. "
                         "A deleted key can be\nthere again when a table was missing\n");
    if (s->tables_rewritten || s->tables_lost)
        output_format(out, "damaged tables: %s saved, as far as the above says, and %s lost\n",
                      text_count(s->tables_rewritten).s, text_count(s->tables_lost).s);
    if (s->losses)
        output_format(out,
                      "%slost%s: %s range%s of keys or operations. What was damaged is in lost/\n",
                      p->colour ? COLOUR_RED : "", p->colour ? COLOUR_OFF : "",
                      text_count(s->losses).s, s->losses == 1 ? "" : "s");
    else if (s->doubts)
        output_format(out,
                      "%sin doubt%s: nothing else was lost, but the last writes of the log may be: "
                      "see the note on its end\n",
                      p->colour ? COLOUR_RED : "", p->colour ? COLOUR_OFF : "");
    else
        output_format(out, "%snothing was lost%s\n", p->colour ? COLOUR_GREEN : "",
                      p->colour ? COLOUR_OFF : "");
}

static int run(const verb *v, int argc, char **argv)
{
    static const struct option longs[] = {{"quiet", no_argument, NULL, 'q'},
                                          {"json", no_argument, NULL, 'j'},
                                          {"set", required_argument, NULL, 's'},
                                          {0}};
    firn_repair_summary summary = {0};
    firn_error error = {0};
    firn_options options;
    printer p = {.colour = text_colour(STDOUT_FILENO)};
    firn_options_init(&options);
    int c;
    while ((c = args_next(v, argc, argv, "q", longs)) != -1) {
        if (c == 'q')
            p.quiet = true;
        else if (c == 'j')
            p.json = true;
        else if (c != 's')
            return args_stop(c);
        else if (!open_set(v, &options, optarg))
            return EXIT_USAGE;
    }
    if (!args_count(v, argc, 1, 1))
        return EXIT_USAGE;
    const char *path = argv[optind];
    output_init(&p.out, STDOUT_FILENO, "standard output");
    int rc = firn_repair(path, &options, on_event, &p, &summary, &error);
    if (rc == FIRN_OK && p.json)
        print_json_summary(&p.out, &summary);
    else if (rc == FIRN_OK && !p.quiet)
        print_summary(&p, &summary);
    int code = output_finish(&p.out);
    if (rc != FIRN_OK)
        return fail(rc, &error, path);
    if (summary.losses)
        return EXIT_DAMAGE;
    return code == EXIT_DONE && summary.doubts ? EXIT_DOUBT : code;
}

const verb verb_repair = {
    .name = "repair",
    .usage = "DB [-q] [--json] [--set NAME=VALUE]...",
    .summary = "save the most of a damaged store",
    .help = "For a store that does not open, or that `firn check` calls damaged, when there is no "
            "backup. Keeps\n"
            "all that is intact and makes a store that opens: damaged tables are read block by "
            "block, the log is\n"
            "salvaged, and without its list of tables the store is put together from the tables "
            "that are there.\n"
            "\n"
            "Every loss is printed, with its range of keys or of operations. In such a range a key "
            "may be missing,\n"
            "have an older value, or be there again although it had been deleted. Damaged files "
            "stay in DB/lost; see `firn help lost`.\n"
            "\n"
            "Can be stopped at any moment and started again. Better still, copy the folder first. "
            "Exit code 0 when\n"
            "nothing was lost, 4 when something was, 6 when nothing else was but the last writes "
            "of the "
            "log\n"
            "may be (see `firn help check`).\n"
            "\n"
            "options:\n"
            "  -q, --quiet         print losses only\n"
            "  --json              an object for each loss and note, a line each, then one with "
            "the sums\n"
            "  --set NAME=VALUE    an option of the store, such as compression=lz4: how new tables "
            "are written\n"
            "\n"
            "examples:\n"
            "  cp -a packages packages.copy && firn repair packages\n",
    .run = run,
};
