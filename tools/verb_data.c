/* verb_data: get, put, del: single keys, and a range that is deleted. */
#include <base/slice.h>
#include <firn/firn.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bounds.h"
#include "command.h"
#include "decode.h"
#include "escape.h"
#include "open.h"
#include "output.h"

#define READ_BYTES ((size_t)64 << 10)

static int decode_key(const verb *v, const char *text, buf *out)
{
    int code = args_decode(v, "key", text, out);
    if (code == EXIT_DONE && out->size > FIRN_MAX_KEY_BYTES)
        return fail_usage(v, "the key has %zu bytes; 65,535 are the most", out->size);
    return code;
}

/* ---- get ---- */

typedef enum form { FORM_LINE, FORM_RAW, FORM_JSON } form;

static void print_json(output *out, firn_slice key, firn_slice value)
{
    output_text(out, "{\"key\": ");
    output_json(out, key);
    output_text(out, ", \"value\": ");
    output_json(out, value);
    output_text(out, "}\n");
}

static int print_value(const opened *o, const buf *key, form how)
{
    firn_value value;
    firn_error error = {0};
    output out;
    int rc = firn_get(o->db, key->data, key->size, NULL, &value, &error);
    if (rc == FIRN_NOT_FOUND) {
        buf text = {0};
        escape_encode(buf_slice(key), ESCAPE_TERMINAL, &text);
        int code = fail_text(EXIT_NOT_FOUND, NULL, "the key is not there: %.*s", (int)text.size,
                             text.size > 0 ? (const char *)text.data : "");
        buf_release(&text);
        return code;
    }
    if (rc != FIRN_OK)
        return fail(rc, &error, o->path);
    output_init(&out, STDOUT_FILENO, "standard output");
    firn_slice bytes = slice_of(value.data, value.size);
    if (how == FORM_RAW) {
        output_raw(&out, bytes);
    } else if (how == FORM_JSON) {
        print_json(&out, buf_slice(key), bytes);
    } else {
        output_escaped(&out, bytes);
        output_text(&out, "\n");
    }
    int code = output_finish(&out);
    firn_value_release(&value);
    return code;
}

static int run_get(const verb *v, int argc, char **argv)
{
    static const struct option longs[] = {{"raw", no_argument, NULL, 'r'},
                                          {"json", no_argument, NULL, 'j'},
                                          OPEN_BUCKET,
                                          OPEN_SET,
                                          {0}};
    open_wish wish;
    opened o;
    buf key = {0};
    form how = FORM_LINE;
    int c, code;
    open_wish_init(&wish, false);
    while ((c = args_next(v, argc, argv, "r", longs)) != -1) {
        if (c == 'r')
            how = FORM_RAW;
        else if (c == 'j')
            how = FORM_JSON;
        else if ((code = open_take(v, &wish, c)) != -1)
            return code;
    }
    if (!args_count(v, argc, 2, 2))
        return EXIT_USAGE;
    const char *path = argv[optind];
    code = decode_key(v, argv[optind + 1], &key);
    if (code == EXIT_DONE)
        code = open_to_look(path, &wish, &o);
    if (code == EXIT_DONE)
        code = open_close(&o, print_value(&o, &key, how));
    buf_release(&key);
    return code;
}

const verb verb_get = {
    .name = "get",
    .usage = "DB KEY [--raw|--json] [--bucket NAME]",
    .summary = "print a value",
    .help =
        "Prints the value of KEY, with escapes, as a line. Exit code 1 when KEY, or the\n"
        "bucket, is not there.\n"
        "\n"
        "options:\n"
        "  --raw               the bytes of the value and nothing else; on a terminal, control\n"
        "                      characters are escaped all the same\n"
        "  --json              an object with key and value, for programs\n" OPEN_BUCKET_HELP
            OPEN_SET_HELP "\n"
        "examples:\n"
        "  firn get fruits grape\n"
        "  firn get photos 2026/matterhorn.jpg --raw > matterhorn.jpg\n",
    .run = run_get,
};

/* ---- put ---- */

/* All of standard input, at most one byte more than a value may have. */
static int read_input(buf *out)
{
    for (;;) {
        if (out->size > FIRN_MAX_VALUE_BYTES)
            return fail_text(EXIT_IO, "split the value over several keys",
                             "the value on standard input is longer than 256 MiB");
        if (buf_reserve(out, READ_BYTES) != FIRN_OK)
            return fail_text(EXIT_IO, NULL, "out of memory");
        ssize_t n = read(STDIN_FILENO, out->data + out->size, READ_BYTES);
        if (n == 0)
            return EXIT_DONE;
        if (n > 0)
            out->size += (size_t)n;
        else if (errno != EINTR)
            return fail_system("cannot read", "standard input", errno);
    }
}

static int take_value(const verb *v, const char *text, bool raw, buf *out)
{
    if (strcmp(text, "-") == 0)
        return read_input(out);
    if (!raw)
        return args_decode(v, "value", text, out);
    return buf_assign(out, text, strlen(text)) == FIRN_OK
               ? EXIT_DONE
               : fail_text(EXIT_IO, NULL, "out of memory");
}

static int run_put(const verb *v, int argc, char **argv)
{
    static const struct option longs[] = {
        {"raw", no_argument, NULL, 'r'}, OPEN_NO_CREATE, OPEN_BUCKET, OPEN_SET, {0}};
    open_wish wish;
    opened o;
    buf key = {0}, value = {0};
    bool raw = false;
    int c, code;
    open_wish_init(&wish, true);
    while ((c = args_next(v, argc, argv, "r", longs)) != -1) {
        if (c == 'r')
            raw = true;
        else if ((code = open_take(v, &wish, c)) != -1)
            return code;
    }
    if (!args_count(v, argc, 3, 3))
        return EXIT_USAGE;
    const char *path = argv[optind];
    code = decode_key(v, argv[optind + 1], &key);
    if (code == EXIT_DONE)
        code = take_value(v, argv[optind + 2], raw, &value);
    if (code == EXIT_DONE)
        code = open_to_write(path, &wish, &o);
    if (code == EXIT_DONE) {
        firn_error error = {0};
        int rc = firn_put(o.db, key.data, key.size, value.data, value.size, NULL, &error);
        if (rc != FIRN_OK)
            code = fail(rc, &error, path);
        code = open_close(&o, code);
    }
    buf_release(&key);
    buf_release(&value);
    return code;
}

const verb verb_put = {
    .name = "put",
    .usage = "DB KEY VALUE|- [option...]",
    .summary = "store a value",
    .help =
        "Stores VALUE, or the bytes of standard input when VALUE is -, under KEY. It is "
        "durable when\n"
        "the command ends. The store and the bucket are made when they are not there.\n"
        "\n"
        "options:\n"
        "  --raw               VALUE holds no escapes\n"
        "  --no-create         fail when the store or the bucket is not there\n" OPEN_BUCKET_HELP
            OPEN_SET_HELP "\n"
        "examples:\n"
        "  firn put fruits grape 'blue, or\\nwhite'\n"
        "  firn put fruits potato brown --bucket vegetables\n"
        "  firn put photos 2026/matterhorn.jpg - < matterhorn.jpg\n"
        "  firn put fruits melon -- -1\n",
    .run = run_put,
};

/* ---- del ---- */

typedef struct deletion {
    open_wish wish;
    bounds range;
    bool bounded; /* some bound was given */
    bool all;     /* --all */
} deletion;

/* -1 to go on, or an exit code. */
static int take_del_options(const verb *v, deletion *d, int argc, char **argv)
{
    static const struct option longs[] = {
        BOUNDS_RANGE_LONGS, {"all", no_argument, NULL, 'a'}, OPEN_BUCKET, OPEN_SET, {0}};
    int c, code;
    while ((c = args_next(v, argc, argv, "", longs)) != -1) {
        if (c == 'a') {
            d->all = true;
        } else if (c == 'f' || c == 't' || c == 'p') {
            d->bounded = true;
            if (!bounds_take(v, &d->range, c, optarg))
                return EXIT_USAGE;
        } else if ((code = open_take(v, &d->wish, c)) != -1) {
            return code;
        }
    }
    return -1;
}

/* Arguments: a store and keys, or a store alone and a range; all of a bucket only where that is
 * said. */
static int check_what(const verb *v, const deletion *d, int count)
{
    bool range = d->bounded || d->all;
    if (count < 1 || (count == 1 && !range))
        return fail_usage(v, "`firn del` needs a store and keys, a range of keys, or --all");
    if (count > 1 && range)
        return fail_usage(v, "`firn del` takes keys or a range, not both");
    if (d->bounded && d->all)
        return fail_usage(v, "--all is every key, and takes no --from, --to or --prefix");
    return EXIT_DONE;
}

/* A variable of a script that is empty makes bounds that leave nothing out, or everything. */
static int check_bounds(const verb *v, firn_slice from, firn_slice to)
{
    if (from.size == 0 && !to.data)
        return fail_usage(v, "every key is within these bounds: --all deletes every key");
    if (from.size > FIRN_MAX_KEY_BYTES || to.size > FIRN_MAX_KEY_BYTES)
        return fail_usage(v, "a bound has %zu bytes; 65,535 are the most",
                          from.size > to.size ? from.size : to.size);
    if (to.data && slice_compare(from, to) >= 0)
        return fail_usage(v, "no key is within these bounds: they end where they begin, or before");
    return EXIT_DONE;
}

static int add_range(const verb *v, firn_batch *batch, deletion *d)
{
    firn_error error = {0};
    if (!bounds_settle(v, &d->range))
        return EXIT_IO;
    firn_slice from = bounds_from(&d->range), to = bounds_to(&d->range);
    firn_op op = {.size = sizeof op,
                  .kind = FIRN_OP_DELETE_RANGE,
                  .range = {from.data ? &from : NULL, to.data ? &to : NULL, 0}};
    int code = d->all ? EXIT_DONE : check_bounds(v, from, to);
    if (code != EXIT_DONE)
        return code;
    int rc = firn_batch_add(batch, &op, 1, &error);
    return rc == FIRN_OK ? EXIT_DONE
                         : fail_text(EXIT_IO, NULL, "cannot take the range: %s", error.message);
}

static int add_keys(const verb *v, firn_batch *batch, int count, char **keys)
{
    buf key = {0};
    int code = EXIT_DONE, rc = FIRN_OK;
    for (int i = 0; i < count && code == EXIT_DONE; i++) {
        code = decode_key(v, keys[i], &key);
        if (code == EXIT_DONE)
            rc = firn_batch_delete(batch, key.data, key.size);
        if (rc != FIRN_OK)
            code = fail_text(EXIT_IO, NULL, "cannot take the keys: %s", firn_status_name(rc));
    }
    buf_release(&key);
    return code;
}

static int write_batch(const char *path, const open_wish *wish, const firn_batch *batch)
{
    opened o;
    firn_error error = {0};
    int code = open_to_write(path, wish, &o);
    if (code != EXIT_DONE)
        return code;
    int rc = firn_write(o.db, batch, NULL, NULL, &error);
    return open_close(&o, rc == FIRN_OK ? EXIT_DONE : fail(rc, &error, path));
}

/* What is wrong with the arguments shows before the store is opened, and touches nothing. */
static int carry_out(const verb *v, deletion *d, int count, char **arguments)
{
    firn_batch *batch = NULL;
    int code = check_what(v, d, count);
    if (code != EXIT_DONE)
        return code;
    if (firn_batch_new(&batch) != FIRN_OK)
        return fail_text(EXIT_IO, NULL, "out of memory");
    code = count > 1 ? add_keys(v, batch, count - 1, arguments + 1) : add_range(v, batch, d);
    if (code == EXIT_DONE)
        code = write_batch(arguments[0], &d->wish, batch);
    firn_batch_free(batch);
    return code;
}

static int run_del(const verb *v, int argc, char **argv)
{
    deletion d = {0};
    open_wish_init(&d.wish, false);
    bounds_init(&d.range);
    int code = take_del_options(v, &d, argc, argv);
    if (code == -1)
        code = carry_out(v, &d, argc - optind, argv + optind);
    bounds_release(&d.range);
    return code;
}

const verb verb_del = {
    .name = "del",
    .usage = "DB KEY...|RANGE [--bucket NAME]",
    .summary = "delete keys, or a range of them",
    .help =
        "Deletes all KEYs together, or every key of RANGE, which --from, --to and --prefix make "
        "as for\n"
        "`firn scan`: after a crash all of them are gone, or none. Deleting what is not there "
        "is no failure.\n"
        "A range is deleted at once, however many keys are in it; compaction gives their room "
        "back later.\n"
        "Other buckets stay as they are.\n"
        "\n"
        "options:\n" BOUNDS_RANGE_HELP
        "  --all               every key, and no bounds\n" OPEN_BUCKET_HELP OPEN_SET_HELP "\n"
        "examples:\n"
        "  firn del fruits grape pear\n"
        "  firn del fruits potato --bucket vegetables\n"
        "  firn del photos --prefix 2025/\n"
        "  firn del photos --from 2024/ --to 2026/\n"
        "  firn del fruits --all --bucket vegetables\n",
    .run = run_del,
};
