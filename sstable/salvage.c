/* salvage: what can still be read of a table that may be damaged anywhere.
 *
 * Every data block stands for itself: its trailer knows its place and its table, so that an intact
 * one is told even when the index that should name it is gone. With an intact index the blocks are
 * taken as it names them. Without, the file is walked (salvage_walk.c). Either way it is gone over
 * once, and what it may cost is bounded (salvage.h, Z1 and Z2).
 *
 * A sector that cannot be read counts as damage, not as the end. Start reading at sst_salvage.
 */
#include "salvage.h"

#include "block.h"
#include "compress.h"
#include "filter.h"
#include "index.h"
#include "props.h"

#include <base/alloc.h>
#include <base/checksum.h>

/* ---- One block ---- */

static int tell_gap(salvage *s, firn_slice before)
{
    if (!s->gap)
        return FIRN_OK;
    s->gap = false;
    firn_slice after = s->any ? slice_somewhere(buf_slice(&s->last_key)) : (firn_slice){0};
    return s->sink->gap(s->sink->ctx, s->gap_from, s->gap_to - s->gap_from, after, before);
}

/* *refused: there are versions that the sink has no use for. */
static int pass_entries(salvage *s, const sst_block *b, bool *refused)
{
    int rc = FIRN_OK;
    for (uint32_t i = 0; i < b->count && rc == FIRN_OK; i++) {
        sst_block_entry e;
        sst_block_decode(sst_block_body(b, i), b->seq_base, &e);
        buf_clear(&s->key);
        if (buf_append(&s->key, b->prefix, b->prefix_size) != FIRN_OK ||
            buf_append(&s->key, e.suffix, e.suffix_size) != FIRN_OK)
            return FIRN_NO_MEMORY;
        firn_slice key = slice_somewhere(buf_slice(&s->key));
        rc = tell_gap(s, key);
        if (rc == FIRN_OK)
            rc = s->sink->entry(s->sink->ctx, key, e.seq, e.kind,
                                (firn_slice){e.value, e.value_size});
        if (rc == SST_SALVAGE_REFUSED) {
            *refused = true;
            rc = FIRN_OK;
        }
        buf keep = s->last_key;
        s->last_key = s->key;
        s->key = keep;
        s->any = true;
    }
    return rc;
}

/* The block that was found, unpacked if need be. FIRN_DAMAGED when it does not unpack. */
static int load_block(salvage *s, const salvage_found *f, firn_slice *out)
{
    const uint8_t *stored = salvage_bytes(s, f->at, f->size);
    if (!stored)
        return FIRN_NO_MEMORY;
    *out = (firn_slice){stored, (size_t)f->size};
    if (f->trailer.compression == SST_COMPRESSION_NONE)
        return FIRN_OK;
    if (s->budget < 0) /* blocks have unpacked to nothing of use before */
        return FIRN_DAMAGED;
    buf_clear(&s->raw);
    if (buf_reserve(&s->raw, (size_t)f->trailer.raw_size + SALVAGE_PAD_BYTES) != FIRN_OK)
        return FIRN_NO_MEMORY;
    int rc = sst_unpack(f->trailer.compression, *out, s->raw.data, f->trailer.raw_size);
    memset(s->raw.data + f->trailer.raw_size, 0, SALVAGE_PAD_BYTES);
    *out = (firn_slice){s->raw.data, f->trailer.raw_size};
    return rc;
}

/* FIRN_OK, FIRN_NO_MEMORY, or FIRN_DAMAGED: it is no block of versions. Then *loaded are its bytes,
 * if they were read. */
static int view_block(salvage *s, const salvage_found *f, sst_block *out, firn_slice *loaded)
{
    const char *why;
    *loaded = (firn_slice){0};
    if (f->size > SST_BLOCK_BYTES_MAX)
        return FIRN_DAMAGED;
    int rc = load_block(s, f, loaded);
    if (rc == FIRN_OK &&
        sst_block_check(loaded->data, (uint32_t)loaded->size, FIRN_MAX_KEY_BYTES, &why) != FIRN_OK)
        rc = FIRN_DAMAGED;
    if (rc == FIRN_OK)
        *out = sst_block_view(loaded->data, (uint32_t)loaded->size);
    else if (f->trailer.compression != SST_COMPRESSION_NONE)
        salvage_owe(s, f->trailer.raw_size);
    return rc;
}

static int pass_block(salvage *s, const salvage_found *f, const sst_block *b)
{
    bool refused = false;
    int rc = pass_entries(s, b, &refused);
    if (refused && f->trailer.compression != SST_COMPRESSION_NONE)
        salvage_owe(s, f->trailer.raw_size);
    return rc;
}

static void add_gap(salvage *s, uint64_t from, uint64_t to)
{
    if (!s->gap)
        s->gap_from = from;
    s->gap_to = to;
    s->gap = true;
}

/* ---- With the index ---- */

/* The index block, in memory of its own; false when it is damaged. Its checksum comes first: it may
 * claim to be large. */
static bool load_index(salvage *s, sst_handle h, buf *out)
{
    const char *why;
    sst_trailer t;
    uint8_t trailer[SST_TRAILER_BYTES];
    memcpy(trailer, salvage_peek(s, h.offset + h.size, sizeof trailer), sizeof trailer);
    if (sst_trailer_get(trailer, (uint32_t)h.size, &t, &why) != FIRN_OK ||
        t.compression != SST_COMPRESSION_NONE)
        return false;
    uint32_t sum = salvage_sum(s, s->salt, h.offset, h.size);
    if (sst_trailer_sum(sum, trailer, h.offset) != get_u32(trailer + 5))
        return false;
    const uint8_t *bytes = salvage_bytes(s, h.offset, h.size);
    return bytes && buf_append(out, bytes, (size_t)h.size) == FIRN_OK;
}

/* The index, if it and the footer are intact. */
static bool find_index(salvage *s, buf *bytes, sst_index *out)
{
    sst_footer f;
    const char *why;
    if (s->size < SST_FOOTER_BYTES ||
        sst_footer_get(salvage_peek(s, s->size - SST_FOOTER_BYTES, SST_FOOTER_BYTES), &f, &why) !=
            FIRN_OK ||
        f.file_bytes != s->size || f.salt != s->salt)
        return false;
    s->end = f.filter.size ? f.filter.offset : f.index.offset;
    s->bounded = true;
    if (!load_index(s, f.index, bytes) || sst_index_open(buf_slice(bytes), out) != FIRN_OK)
        return false;
    if (out->count > 0 && out->offsets[out->count] <= s->end)
        return true;
    sst_index_release(out);
    return false;
}

/* Is the block that the index names there, with the right checksum? Its trailer is looked at
 * first. */
static bool is_intact(salvage *s, uint64_t at, uint64_t behind, salvage_found *out)
{
    const char *why;
    uint64_t hole, size = behind - at - SST_TRAILER_BYTES, end = at + size;
    *out = (salvage_found){.at = at, .size = size};
    if (size > SST_BLOCK_BYTES_MAX || (salvage_hole(s, end, &hole) && hole >= behind))
        return false;
    if (behind > s->to && behind - at <= SALVAGE_WINDOW_BYTES - SALVAGE_KEPT_BYTES &&
        !salvage_hole(s, at, &hole))
        salvage_move(s, at);
    uint8_t trailer[SST_TRAILER_BYTES];
    memcpy(trailer, salvage_peek(s, end, sizeof trailer), sizeof trailer);
    if (sst_trailer_get(trailer, (uint32_t)size, &out->trailer, &why) != FIRN_OK)
        return false;
    salvage_earn(s, behind);
    if (!salvage_pay_sum(s, at, size))
        return false;
    return sst_trailer_sum(salvage_sum(s, s->salt, at, size), trailer, at) == get_u32(trailer + 5);
}

static int by_index(salvage *s, const sst_index *ix)
{
    int rc = FIRN_OK;
    for (uint32_t i = 0; i < ix->count && rc == FIRN_OK; i++) {
        salvage_found f;
        firn_slice loaded;
        sst_block b;
        uint64_t at = ix->offsets[i], behind = ix->offsets[i + 1];
        int found = is_intact(s, at, behind, &f) ? view_block(s, &f, &b, &loaded) : FIRN_DAMAGED;
        if (found == FIRN_OK)
            rc = pass_block(s, &f, &b);
        else if (found == FIRN_DAMAGED)
            add_gap(s, at, behind);
        else
            rc = found;
    }
    return rc;
}

/* ---- Without ---- */

/* Is this one of the blocks that stand behind the data? */
static bool is_meta(const salvage_found *f, firn_slice bytes)
{
    sst_filter filter;
    sst_index index;
    sst_props props;
    if (f->trailer.compression != SST_COMPRESSION_NONE)
        return false;
    if (f->size > SST_BLOCK_BYTES_MAX || sst_filter_open(bytes, &filter) == FIRN_OK ||
        sst_props_get(bytes, &props) == FIRN_OK)
        return true;
    if (sst_index_open(bytes, &index) != FIRN_OK)
        return false;
    sst_index_release(&index);
    return true;
}

/* Behind the data stand blocks of other kinds: they are no gap, unless data come once more. */
static int by_walking(salvage *s)
{
    salvage_walk w;
    salvage_found f;
    uint64_t at = 0; /* behind the last data; or where the first other block stands, and `beyond` */
    bool beyond = false;
    int rc = FIRN_OK;
    salvage_walk_start(&w, s);
    while (rc == FIRN_OK && salvage_walk_next(&w, &f, &rc)) {
        sst_block b;
        firn_slice loaded;
        int found = view_block(s, &f, &b, &loaded);
        if (found == FIRN_NO_MEMORY) {
            rc = found;
        } else if (found != FIRN_OK && !is_meta(&f, loaded)) {
            beyond = false;
        } else if (found == FIRN_OK || !beyond) {
            if (f.at > at)
                add_gap(s, at, f.at);
            beyond = found != FIRN_OK;
            at = beyond ? f.at : f.at + f.size + SST_TRAILER_BYTES;
            if (!beyond)
                rc = pass_block(s, &f, &b);
        }
    }
    salvage_walk_release(&w);
    if (!beyond && !(s->bounded && at == s->end)) /* nothing says that the data ended here */
        add_gap(s, at, s->end);
    return rc;
}

/* ---- All of it ---- */

int sst_identify(fs_dir *dir, const char *name, uint64_t store_id[2], uint64_t *table_no,
                 firn_error *err)
{
    fs_file *file = NULL;
    uint64_t size = 0;
    uint8_t bytes[SST_FOOTER_BYTES];
    sst_footer f;
    const char *why = "the file is too short to be a table";
    int rc = fs_open(dir, name, FS_READ, &file, err);
    if (rc == FIRN_OK)
        rc = fs_size(file, &size, err);
    if (rc == FIRN_OK && size >= SST_FOOTER_BYTES)
        rc = fs_read(file, bytes, sizeof bytes, size - SST_FOOTER_BYTES, err);
    if (rc == FIRN_OK) {
        sst_place place = {file, 0, size >= SST_FOOTER_BYTES ? size - SST_FOOTER_BYTES : 0};
        int found = size < SST_FOOTER_BYTES ? FIRN_DAMAGED : sst_footer_get(bytes, &f, &why);
        if (found != FIRN_OK)
            rc = sst_refuse(&place, found, why, err);
    }
    fs_close(file);
    if (rc != FIRN_OK)
        return rc;
    store_id[0] = f.store_id[0];
    store_id[1] = f.store_id[1];
    *table_no = f.table_no;
    return FIRN_OK;
}

int sst_salvage_counted(fs_dir *dir, const char *name, const uint64_t store_id[2],
                        uint64_t table_no, const sst_salvage_sink *sink, sst_salvage_cost *cost,
                        firn_error *err)
{
    salvage s = {.sink = sink, .salt = sst_salt(store_id, table_no)};
    sst_index ix = {0};
    buf index = {0};
    int rc = fs_open(dir, name, FS_READ, &s.file, err);
    if (rc == FIRN_OK)
        rc = salvage_open(&s, err);
    if (rc == FIRN_OK) {
        if (find_index(&s, &index, &ix)) {
            rc = by_index(&s, &ix);
            sst_index_release(&ix);
        } else {
            rc = by_walking(&s);
        }
        if (rc == FIRN_OK)
            rc = tell_gap(&s, (firn_slice){0});
        if (rc == FIRN_NO_MEMORY)
            error_no_memory(err);
    }
    *cost = s.cost;
    salvage_close(&s);
    buf_release(&index);
    buf_release(&s.raw);
    buf_release(&s.key);
    buf_release(&s.last_key);
    return rc;
}

int sst_salvage(fs_dir *dir, const char *name, const uint64_t store_id[2], uint64_t table_no,
                const sst_salvage_sink *sink, firn_error *err)
{
    sst_salvage_cost cost;
    return sst_salvage_counted(dir, name, store_id, table_no, sink, &cost, err);
}
