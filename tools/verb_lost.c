/* verb_lost: what recovery and repair have set aside, and removing it. */
#include <base/slice.h>
#include <firn/firn.h>

#include <stdio.h>
#include <unistd.h>

#include "command.h"
#include "output.h"
#include "text.h"

typedef struct printer {
    output out;
    bool json, any;
} printer;

static void print_json(output *out, const firn_lost_file *f)
{
    output_text(out, "{\"file\": ");
    output_json(out, slice_of_str(f->name));
    output_format(out,
                  ", \"bytes\": %llu, \"time_ms\": %llu, \"from\": ", (unsigned long long)f->bytes,
                  (unsigned long long)f->time_ms);
    output_json(out, slice_of_str(f->from));
    if (f->offset == FIRN_NO_OFFSET)
        output_text(out, ", \"offset\": null");
    else
        output_format(out, ", \"offset\": %llu", (unsigned long long)f->offset);
    output_format(out, ", \"ours\": %s, \"removed\": %s}\n", f->ours ? "true" : "false",
                  f->removed ? "true" : "false");
}

static void print_line(output *out, const firn_lost_file *f)
{
    output_format(out, "%12s  %-23s  ", text_size(f->bytes).s, text_date_ms(f->time_ms).s);
    output_message(out, f->name);
    if (!f->ours)
        output_text(out, "  not from firn");
    else if (f->offset == FIRN_NO_OFFSET)
        output_format(out, "  all of %s", f->from);
    else
        output_format(out, "  of %s, from offset %s on", f->from, text_count(f->offset).s);
    output_text(out, f->removed ? ", removed\n" : "\n");
}

static void on_file(void *ctx, const firn_lost_file *f)
{
    printer *p = ctx;
    if (p->json) {
        print_json(&p->out, f);
        return;
    }
    if (!p->any)
        output_format(&p->out, "%12s  %-23s  %s\n", "size", "put there (UTC)", "name in lost/");
    p->any = true;
    print_line(&p->out, f);
}

static void print_summary(const printer *p, output *out, const firn_lost_summary *s)
{
    if (p->json) {
        output_format(out,
                      "{\"files\": %llu, \"bytes\": %llu, \"removed_files\": %llu, "
                      "\"removed_bytes\": %llu, \"others\": %llu}\n",
                      (unsigned long long)s->files, (unsigned long long)s->bytes,
                      (unsigned long long)s->removed_files, (unsigned long long)s->removed_bytes,
                      (unsigned long long)s->others);
        return;
    }
    output_format(out, "%s file%s, %s", text_count(s->files).s, s->files == 1 ? "" : "s",
                  text_size(s->bytes).s);
    if (s->removed_files)
        output_format(out, "; removed %s, %s", text_count(s->removed_files).s,
                      text_size(s->removed_bytes).s);
    if (s->others)
        output_format(out, "; %s not from firn, left alone", text_count(s->others).s);
    output_text(out, "\n");
}

static int run(const verb *v, int argc, char **argv)
{
    static const struct option longs[] = {
        {"remove", no_argument, NULL, 'r'}, {"json", no_argument, NULL, 'j'}, {0}};
    firn_lost_summary summary;
    firn_error error = {0};
    printer p = {0};
    bool remove = false;
    int c;
    while ((c = args_next(v, argc, argv, "", longs)) != -1) {
        if (c == 'r')
            remove = true;
        else if (c == 'j')
            p.json = true;
        else
            return args_stop(c);
    }
    if (!args_count(v, argc, 1, 1))
        return EXIT_USAGE;
    const char *path = argv[optind];
    output_init(&p.out, STDOUT_FILENO, "standard output");
    int rc = firn_lost(path, remove, on_file, &p, &summary, &error);
    if (rc == FIRN_OK)
        print_summary(&p, &p.out, &summary);
    int code = output_finish(&p.out);
    return rc == FIRN_OK ? code : fail(rc, &error, path);
}

const verb verb_lost = {
    .name = "lost",
    .usage = "DB [--remove] [--json]",
    .summary = "list or remove what recovery set aside",
    .help =
        "Recovery and repair delete nothing: the bytes that they cut off, and the files that they\n"
        "replace, go to the folder DB/lost, where they stay until you have looked at them. Lists\n"
        "each with its size, when it was put there, and which file it came from and from where in\n"
        "it. Opening the store never reads them.\n"
        "\n"
        "options:\n"
        "  --remove            remove the files that firn put there, and nothing else; the store\n"
        "                      must not be open\n"
        "  --json              an object for each file, a line each, then one with the sums\n"
        "\n"
        "examples:\n"
        "  firn lost packages\n"
        "  firn check packages && firn lost packages --remove\n",
    .run = run,
};
