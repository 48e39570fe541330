/* bounds: see bounds.h. */
#include "bounds.h"

#include <base/slice.h>
#include <firn/keys.h>

#include "decode.h"

void bounds_init(bounds *b)
{
    *b = (bounds){.limit = UINT64_MAX};
}

void bounds_release(bounds *b)
{
    buf_release(&b->from);
    buf_release(&b->to);
    buf_release(&b->prefix);
}

/* An empty key is a key: whether a bound was given is kept apart from its bytes. */
static bool take_key(const verb *v, const char *what, const char *text, buf *out)
{
    return args_decode(v, what, text, out) == EXIT_DONE;
}

bool bounds_take(const verb *v, bounds *b, int c, const char *value)
{
    switch (c) {
    case 'f':
        b->has_from = true;
        return take_key(v, "value of --from", value, &b->from);
    case 't':
        b->has_to = true;
        return take_key(v, "value of --to", value, &b->to);
    case 'p':
        b->has_prefix = true;
        return take_key(v, "value of --prefix", value, &b->prefix);
    default:
        return args_number(v, "--limit", value, 0, UINT64_MAX - 1, &b->limit);
    }
}

bool bounds_settle(const verb *v, bounds *b)
{
    int rc = FIRN_OK;
    (void)v;
    if (!b->has_prefix || b->prefix.size == 0)
        return true;
    if (!b->has_from || slice_compare(buf_slice(&b->from), buf_slice(&b->prefix)) < 0) {
        b->has_from = true;
        rc = buf_assign(&b->from, b->prefix.data, b->prefix.size);
    }
    if (rc == FIRN_OK && firn_prefix_end(b->prefix.data, &b->prefix.size) &&
        (!b->has_to || slice_compare(buf_slice(&b->prefix), buf_slice(&b->to)) < 0)) {
        b->has_to = true;
        rc = buf_assign(&b->to, b->prefix.data, b->prefix.size);
    }
    if (rc != FIRN_OK)
        fail_text(EXIT_IO, NULL, "out of memory");
    return rc == FIRN_OK;
}

/* A bound that was given and is empty still needs an address: NULL means that there is none. */
static firn_slice bound(bool has, const buf *b)
{
    if (!has)
        return (firn_slice){0};
    return b->size > 0 ? buf_slice(b) : slice_of_str("");
}

firn_slice bounds_from(const bounds *b)
{
    return bound(b->has_from, &b->from);
}

firn_slice bounds_to(const bounds *b)
{
    return bound(b->has_to, &b->to);
}

int bounds_walk(const bounds *b, firn *db, const char *path, bounds_fn fn, void *ctx)
{
    firn_iter *it = NULL;
    firn_error error = {0};
    firn_iter_options o;
    int code = EXIT_DONE;
    firn_iter_options_init(&o);
    o.lower = bounds_from(b).data;
    o.lower_size = bounds_from(b).size;
    o.upper = bounds_to(b).data;
    o.upper_size = bounds_to(b).size;
    o.bypass_cache = true;
    int rc = firn_iter_new(db, &o, &it, &error);
    if (rc != FIRN_OK)
        return fail(rc, &error, path);
    rc = b->reverse ? firn_iter_last(it) : firn_iter_first(it);
    for (uint64_t n = 0; rc == FIRN_OK && code == EXIT_DONE && n < b->limit; n++) {
        code = fn(ctx, firn_iter_key(it), firn_iter_value(it));
        rc = b->reverse ? firn_iter_prev(it) : firn_iter_next(it);
    }
    if (rc != FIRN_OK && rc != FIRN_END && code == EXIT_DONE) {
        firn_iter_status(it, &error);
        code = fail(rc, &error, path);
    }
    firn_iter_free(it);
    return code;
}
