/* verb_buckets: the names of the buckets. */
#include <engine/engine.h>
#include <firn/firn.h>

#include <unistd.h>

#include "command.h"
#include "open.h"
#include "output.h"

typedef struct printer {
    output out;
    bool json;
} printer;

static void print_bucket(void *ctx, const engine_bucket *b)
{
    printer *p = ctx;
    if (b->bucket == 0) /* it has no name */
        return;
    if (p->json) {
        output_format(&p->out, "{\"bucket\": %u, \"name\": ", b->bucket);
        output_json(&p->out, b->name);
        output_text(&p->out, "}\n");
    } else {
        output_escaped(&p->out, b->name);
        output_text(&p->out, "\n");
    }
}

static int run(const verb *v, int argc, char **argv)
{
    static const struct option longs[] = {{"json", no_argument, NULL, 'j'}, OPEN_SET, {0}};
    open_wish wish;
    opened o;
    firn_error error = {0};
    printer p = {0};
    int c, code;
    open_wish_init(&wish, false);
    while ((c = args_next(v, argc, argv, "", longs)) != -1) {
        if (c == 'j')
            p.json = true;
        else if ((code = open_take(v, &wish, c)) != -1)
            return code;
    }
    if (!args_count(v, argc, 1, 1))
        return EXIT_USAGE;
    code = open_to_look(argv[optind], &wish, &o);
    if (code != EXIT_DONE)
        return code;
    output_init(&p.out, STDOUT_FILENO, "standard output");
    int rc = engine_buckets(o.store, print_bucket, &p, &error);
    int output_code = output_finish(&p.out);
    return open_close(&o, rc == FIRN_OK ? output_code : fail(rc, &error, o.path));
}

const verb verb_buckets = {
    .name = "buckets",
    .usage = "DB [--json]",
    .summary = "list the buckets",
    .help =
        "Prints the names of the buckets, with escapes, one a line, in the order in which they "
        "were made.\n"
        "The default bucket has no name, and is not listed. `firn stat` shows how large each "
        "is.\n"
        "\n"
        "options:\n"
        "  --json              an object a line with number and name, for programs\n" OPEN_SET_HELP
        "\n"
        "examples:\n"
        "  firn buckets fruits\n"
        "  firn put fruits potato brown --bucket vegetables && firn buckets fruits\n",
    .run = run,
};
