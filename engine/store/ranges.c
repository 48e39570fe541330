/* ranges: see store/ranges.h. */
#include <base/entry.h>
#include <base/error.h>
#include <base/slice.h>

#include <store/ranges.h>

static int take_bound(buf *b, const firn_slice *given, bool behind, firn_slice *out)
{
    int rc = given ? buf_assign(b, given->data, given->size) : FIRN_OK;
    if (rc == FIRN_OK && given && behind)
        rc = entry_key_behind(b);
    *out = given ? slice_somewhere(buf_slice(b)) : (firn_slice){0};
    return rc;
}

static bool is_too_long(const firn_slice *bound)
{
    return bound && bound->size > FIRN_MAX_KEY_BYTES;
}

int range_bounds_take(const firn_range *range, range_bounds *out, firn_error *err)
{
    const firn_range all = {0}, *r = range ? range : &all;
    *out = (range_bounds){0};
    if ((r->first && r->first->size && !r->first->data) ||
        (r->end && r->end->size && !r->end->data))
        return error_set(err, FIRN_INVALID, "a bound is NULL but has a size");
    if (r->flags & ~(FIRN_FIRST_OPEN | FIRN_END_CLOSED))
        return error_set(err, FIRN_INVALID, "the range has flags that this version does not know");
    out->too_long = is_too_long(r->first) || is_too_long(r->end);
    int rc = take_bound(&out->lower, r->first, r->flags & FIRN_FIRST_OPEN, &out->first);
    if (rc == FIRN_OK)
        rc = take_bound(&out->upper, r->end, r->flags & FIRN_END_CLOSED, &out->end);
    return rc == FIRN_OK ? rc : error_no_memory(err);
}

void range_bounds_release(range_bounds *b)
{
    buf_release(&b->lower);
    buf_release(&b->upper);
}

static int end_behind_all(range_bounds *b)
{
    int rc = buf_reserve(&b->upper, FIRN_MAX_KEY_BYTES + 1);
    if (rc != FIRN_OK)
        return rc;
    memset(b->upper.data, 0xff, FIRN_MAX_KEY_BYTES);
    b->upper.size = FIRN_MAX_KEY_BYTES;
    rc = entry_key_behind(&b->upper);
    b->end = buf_slice(&b->upper);
    return rc;
}

int range_bounds_close(range_bounds *b, firn_error *err)
{
    if (b->too_long)
        return error_set(err, FIRN_TOO_LARGE, "a bound is longer than any key");
    b->first = slice_somewhere(b->first);
    if (!b->end.data && end_behind_all(b) != FIRN_OK)
        return error_no_memory(err);
    if (entry_range_fits(b->first, b->end))
        return FIRN_OK;
    error_set(err, FIRN_INVALID, "the range is empty: it ends with its first key, or before it");
    error_hint(err, "`end` is the first key that stays");
    return FIRN_INVALID;
}
