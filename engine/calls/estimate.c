/* estimate: how much a range of keys takes, told from indexes and counts. Where that comes to
 * little, the parts of blocks at its ends would be much of it, and it is walked instead. And how
 * many keys there are exactly, which always takes a walk. */
#include <base/error.h>
#include <base/slice.h>

#include "reading.h"
#include <store/ranges.h>
#include <store/store.h>
#include <tree/run.h>

#define FEW_ENTRIES  1000
#define WALKED_MOST  20000 /* entries, however large the blocks at the ends are */
#define WALKED_BYTES ((double)(4 << 20))
#define DOUBT        20 /* a part of all that may be in doubt */

static int measure(const view *v, const range_bounds *b, run_measured *out, firn_error *err)
{
    int rc = FIRN_OK;
    size_t at = 0;
    for (size_t i = 0; rc == FIRN_OK && i < view_mem_count(v); i++)
        rc = run_measure(view_mem_run(v, i), b->first, b->end, out, err);
    for (run r; rc == FIRN_OK && (r = version_next_run(v->version, &at)).kind != RUN_NONE;)
        rc = run_measure(r, b->first, b->end, out, err);
    return rc;
}

static int walk_over(tree *t, const range_bounds *b, const firn_read_options *options,
                     firn_iter **out, firn_error *err)
{
    firn_iter_options o;
    firn_iter_options_init(&o);
    o.lower = b->first.data;
    o.lower_size = b->first.size;
    o.upper = b->end.data;
    o.upper_size = b->end.size;
    o.bypass_cache = true;
    o.snapshot = options->snapshot;
    o.cancel = options->cancel;
    o.txn = options->txn;
    return firn_iter_new(t, &o, out, err);
}

/* Takes so much to walk that what is known already is good enough: then at least what was found. */
static int count_few(tree *t, const range_bounds *b, run_measured *out, firn_error *err)
{
    firn_iter *it;
    double count = 0, bytes = 0;
    int rc = walk_over(t, b, &(firn_read_options){0}, &it, err);
    if (rc != FIRN_OK)
        return rc;
    for (rc = firn_iter_first(it); rc == FIRN_OK && count < WALKED_MOST && bytes < WALKED_BYTES;
         rc = firn_iter_next(it)) {
        count++;
        bytes += (double)(firn_iter_key(it).size + firn_iter_value(it).size);
    }
    if (rc == FIRN_END) {
        *out = (run_measured){.bytes = bytes, .entries = count};
        rc = FIRN_OK;
    } else if (rc == FIRN_OK) {
        out->entries = out->entries > count ? out->entries : count;
        out->bytes = out->bytes > bytes ? out->bytes : bytes;
    } else {
        rc = firn_iter_status(it, err);
    }
    firn_iter_free(it);
    return rc;
}

static bool is_little(const run_measured *found)
{
    return found->entries < FEW_ENTRIES ||
           (found->doubt * DOUBT > found->entries && found->entries < WALKED_MOST);
}

static int estimate(tree *t, const firn_range *range, uint64_t *bytes, uint64_t *entries,
                    firn_error *err)
{
    range_bounds b = {0};
    run_measured found = {0};
    int rc = range_bounds_take(range, &b, err);
    bool none = b.first.data && b.end.data && slice_compare(b.first, b.end) >= 0;
    if (rc == FIRN_OK && !none) {
        view *v = tree_view(t);
        rc = v ? measure(v, &b, &found, err) : tree_dropped(t, err);
        view_unref(v);
        if (rc == FIRN_OK && is_little(&found))
            rc = count_few(t, &b, &found, err);
    }
    if (rc == FIRN_OK && bytes)
        *bytes = (uint64_t)(found.bytes + 0.5);
    if (rc == FIRN_OK && entries)
        *entries = (uint64_t)(found.entries + 0.5);
    range_bounds_release(&b);
    return rc;
}

int firn_estimate(tree *t, const firn_range *range, uint64_t *bytes, uint64_t *entries,
                  firn_error *error)
{
    store *db;
    int rc = store_of(t, &db, error);
    return rc == FIRN_OK ? estimate(t, range, bytes, entries, error) : rc;
}

static int count_all(tree *t, const range_bounds *b, const firn_read_options *options,
                     uint64_t *out, firn_error *err)
{
    firn_iter *it;
    uint64_t count = 0;
    int rc = walk_over(t, b, options, &it, err);
    if (rc != FIRN_OK)
        return rc;
    for (rc = firn_iter_first(it); rc == FIRN_OK; rc = firn_iter_next(it))
        count++;
    rc = firn_iter_status(it, err);
    firn_iter_free(it);
    if (rc == FIRN_OK)
        *out = count;
    return rc;
}

int firn_count(tree *t, const firn_range *range, const firn_read_options *options, uint64_t *count,
               firn_error *error)
{
    store *db;
    firn_read_options o;
    range_bounds b = {0};
    int rc = store_of(t, &db, error);
    if (rc == FIRN_OK && !count)
        rc = error_set(error, FIRN_INVALID, "there is nowhere to put the count");
    if (rc == FIRN_OK)
        rc = read_options_take(db, options, &o, error);
    if (rc == FIRN_OK)
        rc = range_bounds_take(range, &b, error);
    if (rc == FIRN_OK)
        rc = count_all(t, &b, &o, count, error);
    range_bounds_release(&b);
    return rc;
}
