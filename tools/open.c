/* open: see open.h. */
#include "open.h"

#include <base/slice.h>

#include <stdio.h>
#include <string.h>

#include "decode.h"
#include "escape.h"

bool open_set(const verb *v, firn_options *options, const char *assignment)
{
    char name[64];
    firn_error error = {0};
    const char *equals = strchr(assignment, '=');
    if (!equals || equals == assignment || (size_t)(equals - assignment) >= sizeof name) {
        fail_usage(v, "--set takes NAME=VALUE, not \"%s\"", assignment);
        return false;
    }
    memcpy(name, assignment, (size_t)(equals - assignment));
    name[equals - assignment] = '\0';
    if (firn_options_set(options, name, equals + 1, &error) == FIRN_OK)
        return true;
    fail_usage(v, "--set %s: %s%s%s", assignment, error.message, error.hint[0] ? "; " : "",
               error.hint);
    return false;
}

void open_wish_init(open_wish *w, bool create)
{
    *w = (open_wish){.bucket = ""};
    firn_options_init(&w->options);
    w->options.create_if_missing = create;
}

int open_take(const verb *v, open_wish *w, int c)
{
    bool good = true;
    switch (c) {
    case 'B':
        good = open_take_name(v, optarg, w->bucket);
        break;
    case 'n':
        w->options.create_if_missing = false;
        break;
    case 'S':
        good = open_set(v, &w->options, optarg);
        break;
    default:
        return args_stop(c);
    }
    return good ? -1 : EXIT_USAGE;
}

bool open_take_name(const verb *v, const char *text, char name[OPEN_NAME_MAX + 1])
{
    buf bytes = {0};
    bool good = args_decode(v, "bucket's name", text, &bytes) == EXIT_DONE;
    if (good && (bytes.size == 0 || bytes.size > OPEN_NAME_MAX)) {
        fail_usage(v, "the bucket's name has %zu bytes; 1 to %zu are allowed", bytes.size,
                   OPEN_NAME_MAX);
        good = false;
    } else if (good && memchr(bytes.data, '\0', bytes.size)) {
        fail_usage(v, "the bucket's name has a NUL byte, which is not allowed: %s", text);
        good = false;
    }
    if (good) {
        memcpy(name, bytes.data, bytes.size);
        name[bytes.size] = '\0';
    }
    buf_release(&bytes);
    return good;
}

open_shown open_show(firn_slice name)
{
    open_shown shown = {.s = "(out of memory)"};
    buf text = {0};
    if (escape_encode(name, ESCAPE_TERMINAL, &text) == FIRN_OK && text.size < sizeof shown.s)
        snprintf(shown.s, sizeof shown.s, "%.*s", (int)text.size,
                 text.size > 0 ? (const char *)text.data : "");
    buf_release(&text);
    return shown;
}

int open_bucket(const opened *o, const char *name, bool create, firn **out)
{
    firn_bucket_options options;
    firn_error error = {0};
    firn_bucket_options_init(&options);
    options.create = create;
    int rc = firn_bucket_open(o->store, name, &options, out, &error);
    if (rc == FIRN_NOT_FOUND)
        return fail_text(EXIT_NOT_FOUND, "`firn buckets DB` lists them",
                         "there is no bucket of that name: %s", open_show(slice_of_str(name)).s);
    return rc == FIRN_OK ? EXIT_DONE : fail(rc, &error, o->path);
}

/* The store is open: now the bucket. */
static int open_wished(opened *o, const open_wish *w, bool create)
{
    o->db = o->store;
    if (!w->bucket[0])
        return EXIT_DONE;
    int code = open_bucket(o, w->bucket, create, &o->db);
    if (code == EXIT_DONE)
        return EXIT_DONE;
    o->db = o->store;
    return open_close(o, code);
}

int open_to_look(const char *path, const open_wish *w, opened *out)
{
    firn_options o = w->options;
    firn_error error = {0};
    o.read_only = true;
    o.create_if_missing = false;
    *out = (opened){.path = path};
    int rc = firn_open(path, &o, &out->store, &error);
    return rc == FIRN_OK ? open_wished(out, w, false) : fail(rc, &error, path);
}

/* What recovery had to say goes to the user: there is no other log. */
static void on_warning(void *ctx, firn_log_level level, const char *line)
{
    (void)ctx;
    if (level >= FIRN_LOG_WARNING)
        tell_warning(line);
}

int open_to_write(const char *path, const open_wish *w, opened *out)
{
    firn_options o = w->options;
    firn_error error = {0};
    o.log = on_warning;
    *out = (opened){.path = path};
    int rc = firn_open(path, &o, &out->store, &error);
    if (rc == FIRN_NOT_FOUND)
        return fail_text(EXIT_IO, "check the path; `firn load` and `firn put` make a new store",
                         "there is no store in this folder: %s", path);
    return rc == FIRN_OK ? open_wished(out, w, o.create_if_missing) : fail(rc, &error, path);
}

/* Of any handle: a failure is told, unless something else has been. */
int open_close_bucket(const opened *o, firn *db, int code)
{
    firn_error error = {0};
    int rc = firn_close(db, &error);
    return rc == FIRN_OK || code != EXIT_DONE ? code : fail(rc, &error, o->path);
}

int open_close(opened *o, int code)
{
    if (o->db != o->store)
        code = open_close_bucket(o, o->db, code);
    code = open_close_bucket(o, o->store, code);
    *o = (opened){.path = o->path};
    return code;
}
