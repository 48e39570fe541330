/* verb_data: get, put, del: single keys. */
#include <base/slice.h>
#include <firn/firn.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

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

static int delete_keys(const verb *v, const opened *o, int count, char **keys)
{
    firn_batch *batch = NULL;
    firn_error error = {0};
    buf key = {0};
    int code = EXIT_DONE;
    int rc = firn_batch_new(&batch);
    for (int i = 0; i < count && code == EXIT_DONE && rc == FIRN_OK; i++) {
        code = decode_key(v, keys[i], &key);
        if (code == EXIT_DONE)
            rc = firn_batch_delete(batch, key.data, key.size);
    }
    if (code == EXIT_DONE && rc == FIRN_OK)
        rc = firn_write(o->db, batch, NULL, NULL, &error);
    if (rc != FIRN_OK)
        code = fail(rc, &error, o->path);
    firn_batch_free(batch);
    buf_release(&key);
    return code;
}

static int run_del(const verb *v, int argc, char **argv)
{
    static const struct option longs[] = {OPEN_BUCKET, OPEN_SET, {0}};
    open_wish wish;
    opened o;
    int c, code;
    open_wish_init(&wish, false);
    while ((c = args_next(v, argc, argv, "", longs)) != -1)
        if ((code = open_take(v, &wish, c)) != -1)
            return code;
    if (!args_count(v, argc, 2, argc))
        return EXIT_USAGE;
    code = open_to_write(argv[optind], &wish, &o);
    if (code != EXIT_DONE)
        return code;
    return open_close(&o, delete_keys(v, &o, argc - optind - 1, argv + optind + 1));
}

const verb verb_del = {
    .name = "del",
    .usage = "DB KEY... [--bucket NAME]",
    .summary = "delete keys",
    .help = "Deletes all KEYs together: after a crash all of them are gone, or none. Deleting what "
            "is not\n"
            "there is no failure.\n"
            "\n"
            "options:\n" OPEN_BUCKET_HELP OPEN_SET_HELP "\n"
            "examples:\n"
            "  firn del fruits grape pear\n"
            "  firn del fruits potato --bucket vegetables\n",
    .run = run_del,
};
