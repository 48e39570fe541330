/* verb_check: reads every byte of a store and says what is wrong with it. */
#include <base/slice.h>
#include <firn/firn.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "output.h"
#include "text.h"

static void on_line(void *ctx, const char *line)
{
    output_message(ctx, line); /* it may quote the name of a strange file */
    output_text(ctx, "\n");
}

static void print_summary(output *out, const firn_check_summary *s, int rc)
{
    const bool colour = text_colour(STDOUT_FILENO);
    output_format(out, "checked %s tables (%s, %s entries) and %s log segments (%s operations)\n",
                  text_count(s->tables).s, text_size(s->table_bytes).s,
                  text_count(s->table_entries).s, text_count(s->log_segments).s,
                  text_count(s->log_operations).s);
    if (s->log_torn_bytes > 0 && s->doubts == 0)
        output_format(out,
                      "the log ends in %s that are not intact, and of which no sync was ever "
                      "started: normal after a crash\n",
                      text_size(s->log_torn_bytes).s);
    if (rc == FIRN_DAMAGED)
        output_format(out, "%sdamaged%s: %s finding%s\n", colour ? COLOUR_RED : "",
                      colour ? COLOUR_OFF : "", text_count(s->findings).s,
                      s->findings == 1 ? "" : "s");
    else if (s->doubts > 0)
        output_format(out, "%sin doubt%s: the last writes of the log\n", colour ? COLOUR_RED : "",
                      colour ? COLOUR_OFF : "");
    else
        output_format(out, "%sclean%s\n", colour ? COLOUR_GREEN : "", colour ? COLOUR_OFF : "");
}

/* As JSON the lines come behind the figures, which are known last. */
static void keep_line(void *ctx, const char *line)
{
    buf *lines = ctx;
    if (buf_append(lines, line, strlen(line) + 1) != FIRN_OK)
        buf_clear(lines); /* out of memory: the figures are still right */
}

static void print_json_lines(output *out, const buf *lines)
{
    for (size_t at = 0; at < lines->size;) {
        const char *line = (const char *)lines->data + at;
        output_text(out, at > 0 ? ",\n    " : "\n    ");
        output_json(out, slice_of_str(line));
        at += strlen(line) + 1;
    }
}

static void print_json(output *out, const firn_check_summary *s, int rc, const buf *lines)
{
    const struct {
        const char *name;
        uint64_t value;
    } fields[] = {
        {"tables", s->tables},
        {"table_bytes", s->table_bytes},
        {"table_entries", s->table_entries},
        {"log_segments", s->log_segments},
        {"log_operations", s->log_operations},
        {"log_torn_bytes", s->log_torn_bytes},
        {"findings", s->findings},
        {"doubts", s->doubts},
        {"doubt_first", s->doubt_first},
        {"doubt_last", s->doubt_last},
        {"lost_files", s->lost_files},
        {"lost_bytes", s->lost_bytes},
    };
    output_format(out, "{\n  \"damaged\": %s,\n", rc == FIRN_DAMAGED ? "true" : "false");
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        output_format(out, "  \"%s\": %llu,\n", fields[i].name,
                      (unsigned long long)fields[i].value);
    output_text(out, "  \"lines\": [");
    print_json_lines(out, lines);
    output_text(out, "\n  ]\n}\n");
}

static int end_code(int code, int rc, const firn_check_summary *s, const firn_error *error,
                    const char *path)
{
    if (rc != FIRN_OK)
        return fail(rc, error, path);
    return code == EXIT_DONE && s->doubts > 0 ? EXIT_DOUBT : code;
}

static int check_json(const char *path)
{
    firn_check_summary summary = {0};
    firn_error error = {0};
    buf lines = {0};
    output out;
    output_init(&out, STDOUT_FILENO, "standard output");
    int rc = firn_check(path, keep_line, &lines, &summary, &error);
    if (rc == FIRN_OK || rc == FIRN_DAMAGED)
        print_json(&out, &summary, rc, &lines);
    int code = output_finish(&out);
    buf_release(&lines);
    return end_code(code, rc, &summary, &error, path);
}

static int run(const verb *v, int argc, char **argv)
{
    static const struct option longs[] = {
        {"quiet", no_argument, NULL, 'q'}, {"json", no_argument, NULL, 'j'}, {0}};
    firn_check_summary summary = {0};
    firn_error error = {0};
    output out;
    bool quiet = false, json = false;
    int c;
    while ((c = args_next(v, argc, argv, "q", longs)) != -1) {
        if (c == 'q')
            quiet = true;
        else if (c == 'j')
            json = true;
        else
            return args_stop(c);
    }
    if (!args_count(v, argc, 1, 1))
        return EXIT_USAGE;
    const char *path = argv[optind];
    if (json)
        return check_json(path);
    output_init(&out, STDOUT_FILENO, "standard output");
    int rc = firn_check(path, quiet ? NULL : on_line, &out, &summary, &error);
    if ((rc == FIRN_OK || rc == FIRN_DAMAGED) && !quiet)
        print_summary(&out, &summary, rc);
    int code = output_finish(&out);
    return end_code(code, rc, &summary, &error, path);
}

const verb verb_check = {
    .name = "check",
    .usage = "DB [-q] [--json]",
    .summary = "read every byte and look for damage",
    .help =
        "Reads everything that no process is writing: the list of tables, the log, each table, the "
        "order of\n"
        "the levels, and whether files are missing or do not belong. Changes nothing. Exit "
        "code 4 when\n"
        "something is damaged, 3 when something could not be read: no memory or descriptors, or a\n"
        "device that failed.\n"
        "\n"
        "Exit code 6 when nothing is known to be damaged, but the log was not closed, and its end "
        "is not\n"
        "intact: the power failed while the last writes were being synced, which no caller was "
        "promised, or a bad\n"
        "sector has taken what the last sync had made durable. The bytes are the same in both "
        "cases. The report\n"
        "says which file, offset and operations; opening the store cuts them off, and keeps them "
        "in "
        "lost/.\n"
        "\n"
        "options:\n"
        "  -q, --quiet         no report, only the exit code and the first damage\n"
        "  --json              the report as one object, for programs\n"
        "\n"
        "examples:\n"
        "  firn check packages\n"
        "  firn check -q packages || echo 'restore the last backup'\n",
    .run = run,
};
