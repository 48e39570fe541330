/* verb_scan: scan, count, dump: many keys in order. */
#include <base/slice.h>
#include <engine/engine.h>
#include <firn/firn.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bounds.h"
#include "command.h"
#include "open.h"
#include "output.h"
#include "replace.h"

typedef struct scan {
    const char *path;
    open_wish wish;
    bounds bounds;
    bool keys_only, json;
    const char *format; /* dump */
    const char *target; /* dump: a file, or NULL */
    bool whole;         /* dump: what is left out is told */
    bool about;         /* count: without looking at each */
    output out;
    uint64_t count, bytes; /* bytes: with `about` */
} scan;

static int print_element(void *ctx, firn_slice key, firn_slice value)
{
    scan *s = ctx;
    if (s->json) {
        output_text(&s->out, "{\"key\": ");
        output_json(&s->out, key);
        if (!s->keys_only) {
            output_text(&s->out, ", \"value\": ");
            output_json(&s->out, value);
        }
        output_text(&s->out, "}\n");
        return output_ok(&s->out) ? EXIT_DONE : EXIT_IO;
    }
    output_escaped(&s->out, key);
    if (!s->keys_only) {
        output_bytes(&s->out, "\t", 1);
        output_escaped(&s->out, value);
    }
    output_bytes(&s->out, "\n", 1);
    return output_ok(&s->out) ? EXIT_DONE : EXIT_IO; /* told by output_finish */
}

static int count_element(void *ctx, firn_slice key, firn_slice value)
{
    (void)key;
    (void)value;
    ((scan *)ctx)->count++;
    return EXIT_DONE;
}

/* A dump has one bucket, since load puts all lines into one. */
static void tell_left_out(void *ctx, const engine_bucket *b)
{
    char text[sizeof "bucket 32767, , is not in the dump" + sizeof(open_shown)];
    if (b->bucket == 0)
        return;
    snprintf(text, sizeof text, "bucket %u, %s, is not in the dump", b->bucket,
             open_show(b->name).s);
    tell_warning(text);
    *(bool *)ctx = true;
}

static int tell_all_left_out(const opened *o)
{
    bool any = false;
    firn_error error = {0};
    int rc = engine_buckets(o->store, tell_left_out, &any, &error);
    if (any)
        tell_hint("`firn dump DB --bucket NAME` prints a bucket");
    return rc == FIRN_OK ? EXIT_DONE : fail(rc, &error, o->path);
}

/* Walks the range of the store at s->path. */
static int walk(scan *s, bounds_fn fn)
{
    opened o;
    int code = open_to_look(s->path, &s->wish, &o);
    if (code != EXIT_DONE)
        return code;
    code = bounds_walk(&s->bounds, o.db, s->path, fn, s);
    if (s->whole && o.db == o.store) {
        int left_out_code = tell_all_left_out(&o);
        code = code == EXIT_DONE ? left_out_code : code;
    }
    return open_close(&o, code);
}

/* Walks and prints to `fd`. A failure of the output is told once, and a reader that went away is
 * none. */
static int print_to(scan *s, int fd, const char *name)
{
    output_init(&s->out, fd, name);
    int code = walk(s, print_element);
    bool broken = !output_ok(&s->out);
    int output_code = output_finish(&s->out);
    return code == EXIT_DONE || broken ? output_code : code;
}

/* The options that the three verbs share. -1: go on with the next one. */
static int take_option(const verb *v, scan *s, int c)
{
    bool good = true;
    switch (c) {
    case 'R':
        s->bounds.reverse = true;
        break;
    case 'k':
        s->keys_only = true;
        break;
    case 'j':
        s->json = true;
        break;
    case 'F':
        good = strcmp(optarg, "tsv") == 0;
        if (!good)
            fail_usage(v, "--format takes tsv, not \"%s\"", optarg);
        break;
    case 'A':
        s->about = true;
        break;
    case 'o':
        s->target = optarg;
        break;
    case 'f':
    case 't':
    case 'p':
    case 'l':
        good = bounds_take(v, &s->bounds, c, optarg);
        break;
    default:
        return open_take(v, &s->wish, c);
    }
    return good ? -1 : EXIT_USAGE;
}

/* Reads all arguments. EXIT_DONE with *go, or an exit code. */
static int take_arguments(const verb *v, scan *s, int argc, char **argv, const struct option *longs)
{
    int c;
    *s = (scan){0};
    open_wish_init(&s->wish, false);
    bounds_init(&s->bounds);
    while ((c = args_next(v, argc, argv, "o:", longs)) != -1) {
        int code = take_option(v, s, c);
        if (code != -1) {
            bounds_release(&s->bounds);
            return code;
        }
    }
    if (!args_count(v, argc, 1, 1) || !bounds_settle(v, &s->bounds)) {
        bounds_release(&s->bounds);
        return EXIT_USAGE;
    }
    s->path = argv[optind];
    return -1;
}

#define BOUNDS_HELP BOUNDS_RANGE_HELP "  --limit N           at most N\n"

/* ---- scan ---- */

static int run_scan(const verb *v, int argc, char **argv)
{
    static const struct option longs[] = {BOUNDS_LONGS,
                                          {"reverse", no_argument, NULL, 'R'},
                                          {"keys", no_argument, NULL, 'k'},
                                          {"json", no_argument, NULL, 'j'},
                                          OPEN_BUCKET,
                                          OPEN_SET,
                                          {0}};
    scan s;
    int code = take_arguments(v, &s, argc, argv, longs);
    if (code != -1)
        return code;
    code = print_to(&s, STDOUT_FILENO, "standard output");
    bounds_release(&s.bounds);
    return code;
}

const verb verb_scan = {
    .name = "scan",
    .usage = "DB [option...]",
    .summary = "print a range of keys and values",
    .help = "Prints lines KEY<TAB>VALUE in the order of the keys, with escapes. On a terminal, "
            "characters that\n"
            "turn the direction of text or are not seen are escaped too.\n"
            "\n"
            "options:\n" BOUNDS_HELP "  --reverse           from the last key to the first\n"
            "  --keys              keys only\n"
            "  --json              an object a line, for programs; bytes beyond ASCII as "
            "\\u00XX\n" OPEN_BUCKET_HELP OPEN_SET_HELP "\n"
            "examples:\n"
            "  firn scan fruits --from grape --limit 10\n"
            "  firn scan photos --prefix 2026/ --keys\n"
            "  firn scan fruits --reverse --limit 1\n",
    .run = run_scan,
};

/* ---- count ---- */

static int estimate(scan *s)
{
    opened o;
    firn_error error = {0};
    firn_slice from = bounds_from(&s->bounds), to = bounds_to(&s->bounds);
    firn_range range = {from.data ? &from : NULL, to.data ? &to : NULL, 0};
    int code = open_to_look(s->path, &s->wish, &o);
    if (code != EXIT_DONE)
        return code;
    int rc = firn_estimate(o.db, &range, &s->bytes, &s->count, &error);
    if (rc != FIRN_OK)
        code = fail(rc, &error, s->path);
    return open_close(&o, code);
}

static void print_count(scan *s)
{
    unsigned long long count = s->count, bytes = s->bytes;
    if (s->about)
        output_format(&s->out,
                      s->json ? "{\"about\": %llu, \"bytes\": %llu}\n"
                              : "about %llu keys, which take %llu bytes\n",
                      count, bytes);
    else
        output_format(&s->out, s->json ? "{\"count\": %llu}\n" : "%llu\n", count);
}

static int run_count(const verb *v, int argc, char **argv)
{
    static const struct option longs[] = {BOUNDS_LONGS,
                                          {"about", no_argument, NULL, 'A'},
                                          {"json", no_argument, NULL, 'j'},
                                          OPEN_BUCKET,
                                          OPEN_SET,
                                          {0}};
    scan s;
    int code = take_arguments(v, &s, argc, argv, longs);
    if (code != -1)
        return code;
    if (s.about && s.bounds.limit != UINT64_MAX) {
        fail_usage(v, "--about counts all of a range, and takes no --limit");
        code = EXIT_USAGE;
    } else {
        code = s.about ? estimate(&s) : walk(&s, count_element);
    }
    if (code == EXIT_DONE) {
        output_init(&s.out, STDOUT_FILENO, "standard output");
        print_count(&s);
        code = output_finish(&s.out);
    }
    bounds_release(&s.bounds);
    return code;
}

const verb verb_count = {
    .name = "count",
    .usage = "DB [option...]",
    .summary = "count keys",
    .help =
        "Prints how many keys there are, by looking at each of them.\n"
        "\n"
        "options:\n" BOUNDS_HELP
        "  --about             about how many, and how many bytes they take, without looking at "
        "each\n"
        "  --json              an object, for programs\n" OPEN_BUCKET_HELP OPEN_SET_HELP "\n"
        "examples:\n"
        "  firn count fruits\n"
        "  firn count photos --prefix 2026/\n",
    .run = run_count,
};

/* ---- dump ---- */

/* A pipe or device is written to as it is: opened without making or cutting anything, and looked at
 * again, for what lies there now may be another file. */
static int dump_to_device(scan *s)
{
    struct stat st;
    int fd = open(s->target, O_WRONLY | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return fail_system("cannot open", s->target, errno);
    int code;
    if (fstat(fd, &st) != 0)
        code = fail_system("cannot look at", s->target, errno);
    else if (S_ISREG(st.st_mode))
        code =
            fail_text(EXIT_IO, "try again", "the file changed while it was opened: %s", s->target);
    else
        code = print_to(s, fd, s->target);
    if (close(fd) != 0 && code == EXIT_DONE)
        code = fail_system("cannot close", s->target, errno);
    return code;
}

/* A plain file is replaced when all of the dump is durable: a dump that fails leaves an older one
 * as it was. */
static int dump_to_file(scan *s)
{
    struct stat st;
    replace r;
    /* The path is the user's own word: a link to a device is followed, one to a plain file is
     * replaced. */
    if (stat(s->target, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
        return dump_to_device(s);
    int code = replace_begin(&r, s->target);
    if (code != EXIT_DONE)
        return code;
    return replace_end(&r, print_to(s, r.fd, s->target));
}

static int run_dump(const verb *v, int argc, char **argv)
{
    static const struct option longs[] = {{"format", required_argument, NULL, 'F'},
                                          {"output", required_argument, NULL, 'o'},
                                          OPEN_BUCKET,
                                          OPEN_SET,
                                          {0}};
    scan s;
    int code = take_arguments(v, &s, argc, argv, longs);
    if (code != -1)
        return code;
    s.whole = true;
    code = s.target ? dump_to_file(&s) : print_to(&s, STDOUT_FILENO, "standard output");
    bounds_release(&s.bounds);
    return code;
}

const verb verb_dump = {
    .name = "dump",
    .usage = "DB [-o FILE] [--format tsv] [--bucket NAME]",
    .summary = "print everything, as load takes it",
    .help = "Prints all keys and values in the order of the keys, as lines KEY<TAB>VALUE with "
            "escapes,\n"
            "which `firn load` takes. The dump shows the store as it was when the dump began, also "
            "while\n"
            "another process writes. It has the keys of one bucket, the default one without "
            "--bucket; a warning\n"
            "names each other one then.\n"
            "\n"
            "options:\n"
            "  -o, --output FILE   write to FILE, which is replaced when the dump is complete and "
            "durable;\n"
            "                      a link of that name is replaced, not followed\n"
            "  --format tsv        the format; tsv is the only one\n" OPEN_BUCKET_HELP OPEN_SET_HELP
            "\n"
            "examples:\n"
            "  firn dump fruits > fruits.tsv\n"
            "  firn dump old | firn load new\n"
            "  firn dump old --bucket users | firn load new --bucket users\n",
    .run = run_dump,
};
