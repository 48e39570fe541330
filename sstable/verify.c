/* verify: whether a table is what its writer meant: everything that sst_block_check and opening
 * take on the checksum's word is looked at here. Reads the file anew, past cache and mapping.
 *
 * Checked: checksums of all blocks and of the footer; structure (B1, B2); order within and across
 * blocks; separators (X1); tags, heads and the filter's answer for each key; and the properties. */
#include "compress.h"
#include "ranges.h"

#include <base/alloc.h>
#include <base/hash.h>

#include <string.h>

enum { AHEAD_BYTES = 1 << 20 };

typedef struct verifier {
    sst_reader *r;
    sst_part *filter, *index; /* pinned; the table may have no filter */
    firn_error *err;
    buf stored, raw, key, last_key;
    uint64_t last_seq;
    buf range_blocks, range_end; /* which blocks have range deletes, and where the last one ends */
    uint64_t asked;              /* up to here the file has been asked for ahead */
    sst_props found;             /* counted anew */
    sst_place place;             /* of the block at hand */
} verifier;

static int wrong(const verifier *v, const char *why)
{
    return sst_refuse(&v->place, FIRN_DAMAGED, why, v->err);
}

static int room(verifier *v, buf *b, size_t size)
{
    buf_clear(b);
    return buf_reserve(b, size) == FIRN_OK ? FIRN_OK : error_no_memory(v->err);
}

/* From `at` on, blocks come in the order of the file. */
static void ask_ahead(verifier *v, uint64_t at)
{
    const sst_index *ix = &v->index->index;
    uint64_t end = ix->offsets[ix->count];
    if (v->asked < at)
        v->asked = at;
    if (v->asked - at > AHEAD_BYTES / 2 || v->asked >= end)
        return;
    uint64_t size = end - v->asked < AHEAD_BYTES ? end - v->asked : AHEAD_BYTES;
    fs_read_ahead(v->r->file, v->asked, (size_t)size);
    v->asked += size;
}

/* Reads a block as stored and checks its checksum. */
static int stored_load(verifier *v, uint64_t offset, uint64_t size, sst_trailer *trailer)
{
    v->place = sst_reader_place(v->r, offset);
    size_t bytes = (size_t)size + SST_TRAILER_BYTES;
    int rc = room(v, &v->stored, bytes);
    if (rc == FIRN_OK)
        rc = fs_read(v->r->file, v->stored.data, bytes, offset, v->err);
    if (rc != FIRN_OK)
        return rc;
    v->stored.size = bytes;
    ask_ahead(v, offset + bytes);
    return sst_trailer_check(&v->place, v->stored.data, (uint32_t)size, trailer, v->err);
}

/* Unpacks the stored block, if need be, and hands it out with a trailer's room behind it (B3). */
static int raw_load(verifier *v, const sst_trailer *trailer, firn_slice *out)
{
    size_t size = v->stored.size - SST_TRAILER_BYTES;
    *out = (firn_slice){v->stored.data, size};
    if (trailer->compression == SST_COMPRESSION_NONE)
        return FIRN_OK;
    int rc = room(v, &v->raw, (size_t)trailer->raw_size + SST_TRAILER_BYTES);
    if (rc != FIRN_OK)
        return rc;
    rc = sst_unpack(trailer->compression, *out, v->raw.data, trailer->raw_size);
    if (rc == FIRN_NO_MEMORY)
        return error_no_memory(v->err);
    if (rc != FIRN_OK)
        return wrong(v, "a block does not unpack to what it says");
    memset(v->raw.data + trailer->raw_size, 0, SST_TRAILER_BYTES);
    v->found.compressed_blocks++;
    *out = (firn_slice){v->raw.data, trailer->raw_size};
    return FIRN_OK;
}

static void count_entry(verifier *v, const sst_block_entry *e, size_t key_size)
{
    sst_properties *p = &v->found.shown;
    if (p->entries == 0 || e->seq < p->seq_min)
        p->seq_min = e->seq;
    if (e->seq > p->seq_max)
        p->seq_max = e->seq;
    if (key_size > v->found.key_bytes_max)
        v->found.key_bytes_max = key_size;
    p->entries++;
    p->deletes += entry_kind_is_tombstone(e->kind);
    p->raw_bytes += key_size + e->value_size;
}

/* W6 was looked at when the table was opened, of those in the blocks that the properties name. */
static int count_range(verifier *v, uint32_t block, const sst_block_entry *e)
{
    if (e->kind != FIRN_DELETE_RANGE)
        return FIRN_OK;
    v->found.shown.ranges++;
    if (sst_range_blocks_add(&v->range_blocks, block) != FIRN_OK ||
        buf_assign(&v->range_end, e->value, e->value_size) != FIRN_OK)
        return error_no_memory(v->err);
    return FIRN_OK;
}

/* The entry's place in the order, and what is derived from its key. */
static int entry_check(verifier *v, const sst_block *b, uint32_t at, const sst_block_entry *e)
{
    firn_slice key = buf_slice(&v->key);
    const sst_properties *said = &v->r->props.shown;
    if (v->found.shown.entries == 0) {
        if (!slice_equal(key, said->key_min))
            return wrong(v, "the table's first key is not the one its properties name");
    } else {
        int c = slice_compare(key, buf_slice(&v->last_key));
        if (c < 0 || (c == 0 && e->seq >= v->last_seq))
            return wrong(v, "entries are out of order");
    }
    uint64_t hash = hash64(key.data, key.size, 0);
    if (b->tags[at] != sst_block_tag(hash) ||
        get_u32(b->heads + (size_t)at * 4) != sst_block_head(key, b->prefix_size))
        return wrong(v, "a tag or a head does not belong to its key");
    if (v->filter && !sst_filter_may_contain(&v->filter->filter, hash))
        return wrong(v, "the filter denies a key of the table");
    return FIRN_OK;
}

static int block_entries_check(verifier *v, uint32_t block, const sst_block *b)
{
    for (uint32_t at = 0; at < b->count; at++) {
        sst_block_entry e;
        sst_block_decode(sst_block_body(b, at), b->seq_base, &e);
        buf_clear(&v->key);
        if (buf_append(&v->key, b->prefix, b->prefix_size) != FIRN_OK ||
            buf_append(&v->key, e.suffix, e.suffix_size) != FIRN_OK)
            return error_no_memory(v->err);
        int rc = entry_check(v, b, at, &e);
        if (rc == FIRN_OK)
            rc = count_range(v, block, &e);
        if (rc != FIRN_OK)
            return rc;
        count_entry(v, &e, v->key.size);
        v->last_seq = e.seq;
        buf keep = v->last_key;
        v->last_key = v->key;
        v->key = keep;
    }
    return FIRN_OK;
}

static int first_key(verifier *v, const sst_block *b, sst_block_entry *first)
{
    sst_block_decode(sst_block_body(b, 0), b->seq_base, first);
    buf_clear(&v->key);
    if (buf_append(&v->key, b->prefix, b->prefix_size) != FIRN_OK ||
        buf_append(&v->key, first->suffix, first->suffix_size) != FIRN_OK)
        return error_no_memory(v->err);
    return FIRN_OK;
}

/* X1: the separator in front of block i lies below its first entry, which is (v->key, seq). Its key
 * does, too; or the key goes on, and then it is the last entry itself: any other number would hide
 * versions from a get. */
static bool is_separated(const verifier *v, uint32_t i, uint64_t seq, bool goes_on,
                         uint64_t last_seq)
{
    const sst_index *ix = &v->index->index;
    firn_slice key = slice_somewhere(buf_slice(&v->key));
    if (sst_index_compare(ix, i - 1, key, seq) >= 0)
        return false;
    return goes_on ? sst_index_compare(ix, i - 1, key, last_seq) == 0
                   : sst_index_compare(ix, i - 1, key, UINT64_MAX) < 0;
}

static int block_check(verifier *v, uint32_t i)
{
    const sst_index *ix = &v->index->index;
    sst_trailer trailer;
    firn_slice raw;
    const char *why;
    int rc = stored_load(v, ix->offsets[i], sst_index_size(ix, i), &trailer);
    if (rc == FIRN_OK)
        rc = raw_load(v, &trailer, &raw);
    if (rc != FIRN_OK)
        return rc;
    rc = sst_block_check(raw.data, (uint32_t)raw.size, (uint32_t)v->r->props.key_bytes_max, &why);
    if (rc != FIRN_OK)
        return sst_refuse(&v->place, rc, why, v->err);

    sst_block b = sst_block_view(raw.data, (uint32_t)raw.size);
    uint64_t before = v->found.shown.entries, last_seq = v->last_seq;
    sst_block_entry first;
    rc = first_key(v, &b, &first);
    bool goes_on = before != 0 && slice_equal(buf_slice(&v->key), buf_slice(&v->last_key));
    if (rc == FIRN_OK)
        rc = block_entries_check(v, i, &b);
    if (rc == FIRN_OK && before != 0)
        rc = first_key(v, &b, &first);
    if (rc != FIRN_OK)
        return rc;
    if (before != 0 && !is_separated(v, i, first.seq, goes_on, last_seq))
        return wrong(v, "the index sends a key of this block to the one before");
    if (sst_index_compare(ix, i, slice_somewhere(buf_slice(&v->last_key)), v->last_seq) < 0)
        return wrong(v, "the index sends a key of this block to the one behind");
    return FIRN_OK;
}

/* What the reader holds in memory must still be what the file says. */
static int meta_check(verifier *v, sst_handle h, const uint8_t *held)
{
    sst_trailer trailer;
    if (h.size == 0)
        return FIRN_OK;
    int rc = stored_load(v, h.offset, h.size, &trailer);
    if (rc == FIRN_OK && memcmp(v->stored.data, held, (size_t)h.size) != 0)
        rc = wrong(v, "a block has changed since the table was opened");
    return rc;
}

static int footer_check(verifier *v)
{
    uint8_t expected[SST_FOOTER_BYTES];
    uint8_t found[SST_FOOTER_BYTES];
    sst_footer footer;
    const char *why;
    uint64_t size;
    uint64_t at = v->r->footer.file_bytes - SST_FOOTER_BYTES;
    v->place = sst_reader_place(v->r, at);
    int rc = fs_size(v->r->file, &size, v->err);
    if (rc == FIRN_OK)
        rc = fs_read(v->r->file, found, sizeof found, at, v->err);
    if (rc != FIRN_OK)
        return rc;
    rc = sst_footer_get(found, &footer, &why);
    if (rc != FIRN_OK)
        return sst_refuse(&v->place, rc, why, v->err);
    sst_footer_put(&v->r->footer, expected);
    if (size != v->r->footer.file_bytes || memcmp(expected, found, sizeof found) != 0)
        return wrong(v, "the footer or the file's size has changed since the table was opened");
    return FIRN_OK;
}

/* Does the last range delete cover what lies behind the last entry, and end with that key? */
static bool covers_last_key(const verifier *v, firn_slice key_max)
{
    firn_slice covered = range_last(buf_slice(&v->range_end));
    return slice_compare(covered, buf_slice(&v->last_key)) > 0 && slice_equal(covered, key_max);
}

static int props_check(verifier *v)
{
    const sst_props *said = &v->r->props;
    const sst_properties *a = &v->found.shown;
    const sst_properties *b = &said->shown;
    v->place = sst_reader_place(v->r, v->r->footer.props.offset);
    bool covers = covers_last_key(v, b->key_max);
    if (covers && b->key_max.size > v->found.key_bytes_max)
        v->found.key_bytes_max = b->key_max.size;
    if (a->entries != b->entries || a->deletes != b->deletes || a->raw_bytes != b->raw_bytes ||
        a->seq_min != b->seq_min || a->seq_max != b->seq_max || a->ranges != b->ranges ||
        v->found.compressed_blocks != said->compressed_blocks ||
        v->found.key_bytes_max != said->key_bytes_max ||
        !slice_equal(buf_slice(&v->range_blocks), said->range_blocks))
        return wrong(v, "the properties do not agree with the entries");
    if (a->entries != 0 && !covers && !slice_equal(buf_slice(&v->last_key), b->key_max))
        return wrong(v, "the table's last key is not the one its properties name");
    return FIRN_OK;
}

static int all_check(verifier *v)
{
    const sst_reader *r = v->r;
    int rc = FIRN_OK;
    for (uint32_t i = 0; i < v->index->index.count && rc == FIRN_OK; i++)
        rc = block_check(v, i);
    if (rc == FIRN_OK && v->filter)
        rc = meta_check(v, r->footer.filter, v->filter->bytes);
    if (rc == FIRN_OK)
        rc = meta_check(v, r->footer.index, v->index->bytes);
    if (rc == FIRN_OK)
        rc = meta_check(v, r->footer.props, r->props_bytes);
    if (rc == FIRN_OK)
        rc = footer_check(v);
    return rc == FIRN_OK ? props_check(v) : rc;
}

int sst_verify(sst_reader *r, firn_error *err)
{
    verifier v = {.r = r, .err = err};
    int rc = sst_reader_filter(r, &v.filter, err);
    if (rc == FIRN_OK)
        rc = sst_reader_index(r, &v.index, err);
    if (rc == FIRN_OK)
        rc = all_check(&v);
    sst_reader_unpin(r, v.index);
    sst_reader_unpin(r, v.filter);
    buf_release(&v.stored);
    buf_release(&v.raw);
    buf_release(&v.key);
    buf_release(&v.last_key);
    buf_release(&v.range_blocks);
    buf_release(&v.range_end);
    return rc;
}
