/* verb_check: reads every byte of a store and says what is wrong with it. */
#include <base/slice.h>
#include <firn/firn.h>

#include <stdio.h>
#include <unistd.h>

#include "command.h"
#include "output.h"
#include "text.h"

static void on_line(void *ctx, const char *line)
{
    output_escaped(ctx, slice_of_str(line)); /* it may quote the name of a strange file */
    output_text(ctx, "\n");
}

static void print_summary(output *out, const firn_check_summary *s, int status)
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
    if (status == FIRN_DAMAGED)
        output_format(out, "%sdamaged%s: %s finding%s\n", colour ? COLOUR_RED : "",
                      colour ? COLOUR_OFF : "", text_count(s->findings).s,
                      s->findings == 1 ? "" : "s");
    else if (s->doubts > 0)
        output_format(out, "%sin doubt%s: the last writes of the log\n", colour ? COLOUR_RED : "",
                      colour ? COLOUR_OFF : "");
    else
        output_format(out, "%sclean%s\n", colour ? COLOUR_GREEN : "", colour ? COLOUR_OFF : "");
}

static int run(const verb *v, int argc, char **argv)
{
    static const struct option longs[] = {{"quiet", no_argument, NULL, 'q'}, {0}};
    firn_check_summary summary = {0};
    firn_error error = {0};
    output out;
    bool quiet = false;
    int c;
    while ((c = args_next(v, argc, argv, "q", longs)) != -1) {
        if (c != 'q')
            return args_stop(c);
        quiet = true;
    }
    if (!args_count(v, argc, 1, 1))
        return EXIT_USAGE;
    const char *path = argv[optind];
    output_init(&out, STDOUT_FILENO, "standard output");
    int status = firn_check(path, quiet ? NULL : on_line, &out, &summary, &error);
    if ((status == FIRN_OK || status == FIRN_DAMAGED) && !quiet)
        print_summary(&out, &summary, status);
    int code = output_finish(&out);
    if (status != FIRN_OK)
        return fail(status, &error, path);
    return code == EXIT_DONE && summary.doubts > 0 ? EXIT_DOUBT : code;
}

const verb verb_check = {
    .name = "check",
    .usage = "DB [-q]",
    .summary = "read every byte and look for damage",
    .help =
        "Reads everything that nobody is writing: the list of tables, the log, each table, the "
        "order of\n"
        "the levels, and whether files are missing or do not belong. Changes nothing. Exit "
        "code 4 when\n"
        "something is damaged.\n"
        "\n"
        "Exit code 6 when nothing is known to be damaged, but the log was not closed, and its end "
        "is not\n"
        "intact: the power failed while the last writes were being synced, which nobody was "
        "promised, or a bad\n"
        "sector has taken what the last sync had made durable. The bytes are the same in both "
        "cases. The report\n"
        "says which file, offset and operations; opening the store cuts them off, and keeps them "
        "in "
        "lost/.\n"
        "\n"
        "options:\n"
        "  -q, --quiet         no report, only the exit code and the first damage\n"
        "\n"
        "examples:\n"
        "  firn check packages\n"
        "  firn check -q packages || echo 'restore the last backup'\n",
    .run = run,
};
