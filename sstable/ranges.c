/* ranges: see ranges.h. */
#include "ranges.h"

#include <base/alloc.h>
#include <base/entry.h>

enum { PAIR_BYTES = 8 };

/* ---- Which blocks ---- */

int sst_range_blocks_add(buf *list, uint32_t i)
{
    uint8_t pair[PAIR_BYTES];
    uint8_t *last = list->size ? list->data + list->size - PAIR_BYTES : NULL;
    uint32_t end = last ? get_u32(last) + get_u32(last + 4) : 0;
    if (last && i < end)
        return FIRN_OK;
    if (last && (i == end || list->size == SST_RANGE_BLOCKS_BYTES)) {
        put_u32(last + 4, i + 1 - get_u32(last));
        return FIRN_OK;
    }
    put_u32(pair, i);
    put_u32(pair + 4, 1);
    return buf_append(list, pair, sizeof pair);
}

bool sst_range_blocks_fit(firn_slice list, uint64_t blocks)
{
    uint64_t free_from = 0;
    if (list.size == 0 || list.size % PAIR_BYTES || list.size > SST_RANGE_BLOCKS_BYTES)
        return false;
    for (size_t at = 0; at < list.size; at += PAIR_BYTES) {
        uint64_t first = get_u32(list.data + at), count = get_u32(list.data + at + 4);
        if (first < free_from || count == 0 || count > blocks || first > blocks - count)
            return false;
        free_from = first + count + 1;
    }
    return true;
}

/* ---- Loading ---- */

typedef struct loading {
    sst_reader *r;
    const sst_index *ix;
    buf bytes;  /* the bounds, of those that have the same ones once */
    buf places; /* of each range delete: bounds_at */
    buf key;    /* of the entry at hand */
    firn_error *err;
} loading;

/* Where its bounds stand in `bytes`, one behind the other. */
typedef struct bounds_at {
    size_t at, first_size, end_size;
    uint64_t seq;
} bounds_at;

static int refuse(const loading *l, uint64_t offset, const char *why)
{
    sst_place place = sst_reader_place(l->r, offset);
    return sst_refuse(&place, FIRN_DAMAGED, why, l->err);
}

static sst_range range_at(const loading *l, size_t i)
{
    bounds_at p;
    memcpy(&p, l->places.data + i * sizeof p, sizeof p);
    const uint8_t *at = l->bytes.data + p.at;
    return (sst_range){{at, p.first_size}, {at + p.first_size, p.end_size}, p.seq};
}

static size_t count_of(const loading *l)
{
    return l->places.size / sizeof(bounds_at);
}

static int keep(loading *l, const sst_range *next, bool same)
{
    bounds_at p = {l->bytes.size, next->first.size, next->end.size, next->seq};
    if (same)
        p.at -= p.first_size + p.end_size;
    bool room = same || (buf_append(&l->bytes, next->first.data, next->first.size) == FIRN_OK &&
                         buf_append(&l->bytes, next->end.data, next->end.size) == FIRN_OK);
    return room && buf_append(&l->places, &p, sizeof p) == FIRN_OK ? FIRN_OK
                                                                   : error_no_memory(l->err);
}

static int take_entry(loading *l, const sst_block *b, const sst_block_entry *e)
{
    size_t count = count_of(l);
    if (buf_assign(&l->key, b->prefix, b->prefix_size) != FIRN_OK ||
        buf_append(&l->key, e->suffix, e->suffix_size) != FIRN_OK)
        return error_no_memory(l->err);
    sst_range next = {slice_somewhere(buf_slice(&l->key)), {e->value, e->value_size}, e->seq};
    sst_range last = count ? range_at(l, count - 1) : (sst_range){{0}, {0}, 0};
    /* Then what is kept is not much more than the file has: of entries that share most of their
     * keys, only those with the same range could be many. */
    if (!entry_range_fits(next.first, next.end) ||
        (count && (!range_may_follow(&last, &next) ||
                   (slice_equal(last.first, next.first) && last.seq <= next.seq))))
        return refuse(l, l->r->footer.props.offset,
                      "the table's range deletes are empty, or overlap each other");
    return keep(l, &next, count && slice_equal(last.first, next.first));
}

static int take_block(loading *l, uint32_t i)
{
    sst_block_ref ref;
    sst_wanted w = {l->ix, i, SST_WORK};
    int rc = sst_reader_cache_block(l->r, &w, &ref, l->err);
    if (rc != FIRN_OK)
        return rc;
    sst_block b = sst_block_view(ref.data, ref.size);
    for (uint32_t at = 0; rc == FIRN_OK && at < b.count; at++) {
        sst_block_entry e;
        sst_block_decode(sst_block_body(&b, at), b.seq_base, &e);
        if (e.kind == FIRN_DELETE_RANGE)
            rc = take_entry(l, &b, &e);
    }
    sst_block_unref(&ref);
    return rc;
}

static int take_blocks(loading *l)
{
    firn_slice list = l->r->props.range_blocks;
    int rc = FIRN_OK;
    for (size_t at = 0; rc == FIRN_OK && at < list.size; at += PAIR_BYTES)
        for (uint32_t i = 0; rc == FIRN_OK && i < get_u32(list.data + at + 4); i++)
            rc = take_block(l, get_u32(list.data + at) + i);
    return rc;
}

/* What one covers behind the table's last key, as sst_writer_cut left it, is another table's. */
static void clip(sst_range *range, firn_slice key_max, firn_slice behind)
{
    if (slice_compare(range_last(range->end), key_max) > 0)
        range->end = behind;
}

static int point(const loading *l, size_t count)
{
    sst_reader *r = l->r;
    const sst_properties *p = &r->props.shown;
    for (size_t i = 0; i < count; i++) {
        sst_range *range = &r->ranges[i];
        *range = range_at(l, i);
        clip(range, p->key_max, buf_slice(&r->range_behind));
        if (slice_compare(range->first, range->end) >= 0 ||
            slice_compare(range->first, p->key_min) < 0)
            return refuse(l, r->footer.props.offset,
                          "the table's range deletes leave the keys that it lists");
    }
    return FIRN_OK;
}

static int take_all(loading *l)
{
    sst_reader *r = l->r;
    firn_slice last = r->props.shown.key_max;
    size_t count = 0;
    int rc = take_blocks(l);
    if (rc != FIRN_OK)
        return rc;
    count = count_of(l);
    if (count == 0 || count != r->props.shown.ranges)
        return refuse(l, r->footer.props.offset,
                      "the table has another number of range deletes than its properties say");
    r->ranges = heap_alloc(count * sizeof *r->ranges);
    if (!r->ranges || buf_assign(&r->range_behind, last.data, last.size) != FIRN_OK ||
        entry_key_behind(&r->range_behind) != FIRN_OK)
        return error_no_memory(l->err);
    buf_fit(&l->bytes); /* it is held for as long as the table is open */
    buf_fit(&r->range_behind);
    rc = point(l, count);
    if (rc != FIRN_OK)
        return rc;
    r->range_count = count;
    /* The last separator is not below the last entry. */
    r->ends_open =
        slice_equal(r->ranges[count - 1].end, last) &&
        sst_index_compare(l->ix, l->ix->count - 1, slice_somewhere(last), FIRN_MAX_SEQ) < 0;
    r->range_bytes = l->bytes;
    l->bytes = (buf){0};
    return FIRN_OK;
}

int sst_ranges_load(sst_reader *r, firn_error *err)
{
    loading l = {.r = r, .err = err};
    sst_part *index;
    if (r->props.shown.ranges == 0)
        return FIRN_OK;
    int rc = sst_reader_index(r, &index, err);
    if (rc != FIRN_OK)
        return rc;
    l.ix = &index->index;
    rc = take_all(&l);
    sst_reader_unpin(r, index);
    buf_release(&l.bytes);
    buf_release(&l.places);
    buf_release(&l.key);
    return rc;
}

bool sst_reader_ends_open(const sst_reader *r)
{
    return r->ends_open;
}

const sst_range *sst_reader_ranges(const sst_reader *r, size_t *count)
{
    *count = r->range_count;
    return r->ranges;
}
