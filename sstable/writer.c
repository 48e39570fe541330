/* writer: builds a table from versions that come in order (README.md, "The file").
 *
 *   sst_writer_add -> block builder -> (full) block_end -> compress -> output buffer -> file
 *                                   -> (the next key is known) block_index -> index builder
 *   sst_writer_finish -> last block, filter, index, properties, footer, sync
 *
 * Invariants
 *   W1  Entries are strictly ascending: key, then sequence number downwards. Anything else is
 *       refused.
 *   W2  What is in the file is a prefix of the table; it is a table only once the footer, written
 *       last and followed by a sync, is whole. A file without one is refused by the reader.
 *   W3  A file that was not finished is removed by sst_writer_free; nothing else is ever removed.
 *   W4  After the first error nothing more is written.
 *   W5  A block over the target has one entry. It ends at once if it is large, so that
 *       sst_writer_file_bytes counts what it packs to; else in front of the next entry.
 *   W6  Range deletes are disjoint, or have the same range.
 * One thread at a time.
 */
#include "block.h"
#include "block_builder.h"
#include "compress.h"
#include "filter.h"
#include "format.h"
#include "index.h"
#include "props.h"
#include "ranges.h"

#include <base/alloc.h>
#include <base/hash.h>

#include <assert.h>

enum {
    WRITE_BYTES = 256 << 10,   /* handed to the system at once */
    WRITE_OUT_BYTES = 2 << 20, /* of which the disk is told at once */
    LARGE_BYTES = 64 << 10,    /* of a block over the target: it ends at once */
};

struct sst_writer {
    fs_dir *dir;
    fs_file *file;
    char name[FS_NAME_MAX + 1];
    sst_writer_options options;
    uint32_t salt;
    int status;    /* W4 */
    bool finished; /* W3 */

    sst_block_builder block;
    sst_handle ended; /* a block that waits for its separator; size 0: none does */
    sst_packer packer;
    sst_index_builder index;
    buf hashes;       /* uint64_t of every distinct key, for the filter */
    buf out;          /* what is not yet in the file, */
    uint64_t written; /* which has this many bytes */
    uint64_t told;    /* so many of them the disk was given already */

    buf last_key; /* of the newest entry */
    uint64_t last_seq;
    buf range_first, range_end; /* of the last range delete */
    buf range_blocks;           /* which blocks have any (ranges.h) */
    bool cut;                   /* what range deletes cover behind the last key is not ours */
    buf key_min;
    sst_props props;
};

void sst_writer_options_init(sst_writer_options *o)
{
    *o = (sst_writer_options){
        .block_bytes = 4096,
        .filter_bits_per_key = 10,
        .compression = SST_COMPRESSION_NONE,
    };
}

static int options_check(const char *name, const sst_writer_options *o, firn_error *err)
{
    if (o->block_bytes < SST_BLOCK_TARGET_MIN || o->block_bytes > SST_BLOCK_TARGET_MAX)
        return error_set(err, FIRN_INVALID, "block size %u is not within %u to %u bytes",
                         o->block_bytes, SST_BLOCK_TARGET_MIN, SST_BLOCK_TARGET_MAX);
    if (o->filter_bits_per_key > SST_FILTER_BITS_MAX)
        return error_set(err, FIRN_INVALID, "%u filter bits per key are more than %u",
                         o->filter_bits_per_key, SST_FILTER_BITS_MAX);
    if ((unsigned)o->compression > SST_COMPRESSION_ZLIB)
        return error_set(err, FIRN_INVALID, "compression %d is unknown", (int)o->compression);
    size_t size = strlen(name);
    if (size == 0 || size > FS_NAME_MAX)
        return error_set(err, FIRN_INVALID, "a table's file name has 1 to %d bytes", FS_NAME_MAX);
    return FIRN_OK;
}

int sst_writer_open(fs_dir *dir, const char *name, const sst_writer_options *o, sst_writer **out,
                    firn_error *err)
{
    int rc = options_check(name, o, err);
    if (rc != FIRN_OK)
        return rc;
    sst_writer *w = heap_zalloc(sizeof *w);
    if (!w)
        return error_no_memory(err);
    w->dir = dir;
    w->options = *o;
    memcpy(w->name, name, strlen(name) + 1);
    w->salt = sst_salt(o->store_id, o->table_no);
    rc = sst_packer_init(&w->packer, o->compression);
    if (rc != FIRN_OK)
        error_no_memory(err);
    /* The file comes last, so that every earlier failure leaves the folder alone. */
    if (rc == FIRN_OK)
        rc = fs_open(dir, name, FS_WRITE | FS_CREATE_NEW, &w->file, err);
    if (rc != FIRN_OK) {
        sst_writer_free(w);
        return rc;
    }
    w->props.shown.created_us = fs_wall_us(dir->owner);
    w->props.shown.bucket = o->bucket;
    *out = w;
    return FIRN_OK;
}

uint64_t sst_writer_file_bytes(const sst_writer *w)
{
    return w->written + w->out.size;
}

uint64_t sst_writer_memory(const sst_writer *w)
{
    return sizeof *w + sst_block_builder_memory(&w->block) + w->packer.out.capacity +
           w->index.keys.capacity + w->index.columns.capacity + w->hashes.capacity +
           w->out.capacity + w->last_key.capacity + w->key_min.capacity + w->range_first.capacity +
           w->range_end.capacity + w->range_blocks.capacity;
}

/* Records the first failure (W4) and describes the kinds that are not described yet. */
static int fail(sst_writer *w, int rc, firn_error *err)
{
    if (rc == FIRN_NO_MEMORY)
        error_no_memory(err);
    if (rc == FIRN_TOO_LARGE) {
        error_file(err, rc, w->file->path, w->written,
                   "a table's index or filter would pass its limit");
        error_hint(err, "end the table and begin another one");
    }
    w->status = rc;
    return rc;
}

static int refuse_failed(const sst_writer *w, firn_error *err)
{
    return error_file(err, w->status, w->file->path, FIRN_NO_OFFSET,
                      "an earlier step of building this table failed");
}

static int out_write(sst_writer *w, firn_error *err)
{
    if (w->out.size == 0)
        return FIRN_OK;
    int rc = fs_write(w->file, w->out.data, w->out.size, w->written, err);
    if (rc != FIRN_OK) {
        w->status = rc;
        return rc;
    }
    w->written += w->out.size;
    buf_clear(&w->out);
    if (w->written - w->told >= WRITE_OUT_BYTES) {
        fs_write_out(w->file, w->told, (size_t)(w->written - w->told));
        w->told = w->written;
    }
    return FIRN_OK;
}

/* The payload is the output buffer from `start` on: adds the trailer and tells the handle. */
static int block_seal(sst_writer *w, size_t start, sst_trailer t, sst_handle *out)
{
    uint32_t size = (uint32_t)(w->out.size - start);
    if (buf_reserve(&w->out, SST_TRAILER_BYTES) != FIRN_OK)
        return FIRN_NO_MEMORY;
    *out = (sst_handle){w->written + start, size};
    sst_trailer_put(w->out.data + start, size, t.compression, t.raw_size, w->salt, out->offset);
    w->out.size += SST_TRAILER_BYTES;
    return FIRN_OK;
}

static int block_put(sst_writer *w, sst_handle *out)
{
    size_t start = w->out.size;
    int rc = sst_block_builder_finish(&w->block, &w->out);
    if (rc != FIRN_OK)
        return rc;
    firn_slice raw = {w->out.data + start, w->out.size - start};
    sst_trailer t = {SST_COMPRESSION_NONE, (uint32_t)raw.size};
    firn_slice packed;
    rc = sst_pack(&w->packer, raw, &packed);
    if (rc == FIRN_OK) {
        t.compression = (uint8_t)w->options.compression;
        memcpy(w->out.data + start, packed.data, packed.size);
        w->out.size = start + packed.size;
        w->props.compressed_blocks++;
    } else if (rc != FIRN_NOT_FOUND) {
        return rc;
    }
    return block_seal(w, start, t, out);
}

/* Writes the current block. Its place in the index follows when the next key is known. */
static int block_end(sst_writer *w, firn_error *err)
{
    int rc = block_put(w, &w->ended);
    if (rc != FIRN_OK)
        return fail(w, rc, err);
    w->props.shown.blocks++;
    w->props.shown.data_bytes += w->ended.size + SST_TRAILER_BYTES;
    sst_block_builder_clear(&w->block);
    return w->out.size >= WRITE_BYTES ? out_write(w, err) : FIRN_OK;
}

/* Enters the block that has ended in the index. `next` is the first key behind it (NULL: nothing
 * follows at all). */
static int block_index(sst_writer *w, const firn_slice *next, firn_error *err)
{
    firn_slice last = buf_slice(&w->last_key);
    uint64_t seq = 0;
    firn_slice separator = last;
    if (next && slice_equal(last, *next))
        seq = w->last_seq; /* the key goes on in the next block (X1) */
    else if (next)
        separator = sst_index_separator(last, *next);
    int rc = sst_index_builder_add(&w->index, (uint32_t)w->ended.size, separator, seq);
    if (rc != FIRN_OK)
        return fail(w, rc, err);
    w->ended = (sst_handle){0};
    return FIRN_OK;
}

/* The current block ends if `next` is not to join it (NULL: nothing follows), and an ended block
 * enters the index. */
static int next_begins(sst_writer *w, const firn_slice *next, bool joins, firn_error *err)
{
    int rc = w->block.count != 0 && !joins ? block_end(w, err) : FIRN_OK;
    if (rc == FIRN_OK && w->ended.size != 0)
        rc = block_index(w, next, err);
    return rc;
}

/* W5 */
static bool block_is_large(const sst_writer *w)
{
    uint64_t bytes = sst_block_builder_bytes(&w->block);
    return bytes >= LARGE_BYTES && bytes > w->options.block_bytes;
}

/* W6 */
static bool range_fits(const sst_writer *w, firn_slice first, firn_slice end)
{
    const sst_range last = {buf_slice(&w->range_first), buf_slice(&w->range_end), 0},
                    next = {first, end, 0};
    return entry_range_fits(first, end) &&
           (w->props.shown.ranges == 0 || range_may_follow(&last, &next));
}

/* FIRN_INVALID or FIRN_TOO_LARGE for what cannot stand behind the last entry; *new_key
 * otherwise. */
static int order_check(const sst_writer *w, firn_slice key, const sst_pending *e, firn_slice value,
                       bool *new_key)
{
    if (key.size > FIRN_MAX_KEY_BYTES || value.size > FIRN_MAX_VALUE_BYTES)
        return FIRN_TOO_LARGE;
    if (e->seq == 0 || e->seq > FIRN_MAX_SEQ || !entry_kind_fits(e->kind, value.size))
        return FIRN_INVALID;
    if (e->kind == FIRN_DELETE_RANGE && !range_fits(w, key, value))
        return FIRN_INVALID;
    int c = w->props.shown.entries == 0 ? 1 : slice_compare(key, buf_slice(&w->last_key));
    if (c < 0 || (c == 0 && e->seq >= w->last_seq))
        return FIRN_INVALID;
    *new_key = c != 0;
    return FIRN_OK;
}

static void count_entry(sst_writer *w, firn_slice key, const sst_pending *e, size_t value_size)
{
    sst_properties *p = &w->props.shown;
    if (p->entries == 0 || e->seq < p->seq_min)
        p->seq_min = e->seq;
    if (e->seq > p->seq_max)
        p->seq_max = e->seq;
    if (key.size > w->props.key_bytes_max)
        w->props.key_bytes_max = key.size;
    p->entries++;
    p->deletes += entry_kind_is_tombstone(e->kind);
    p->raw_bytes += key.size + value_size;
}

/* What a key that was not there before needs: its hash kept for the filter, and itself
 * remembered. */
static int key_begin(sst_writer *w, firn_slice key, uint64_t hash)
{
    int rc = FIRN_OK;
    if (w->options.filter_bits_per_key != 0)
        rc = buf_append(&w->hashes, &hash, sizeof hash);
    if (rc == FIRN_OK && w->props.shown.entries == 0)
        rc = buf_assign(&w->key_min, key.data, key.size);
    if (rc == FIRN_OK)
        rc = buf_assign(&w->last_key, key.data, key.size);
    return rc;
}

/* A range delete has become an entry of the open block. */
static int range_begin(sst_writer *w, firn_slice first, firn_slice end)
{
    int rc = buf_assign(&w->range_first, first.data, first.size);
    if (rc == FIRN_OK)
        rc = buf_assign(&w->range_end, end.data, end.size);
    if (rc == FIRN_OK)
        rc = sst_range_blocks_add(&w->range_blocks, (uint32_t)w->props.shown.blocks);
    w->props.shown.ranges++;
    return rc;
}

firn_slice sst_writer_first_key(const sst_writer *w)
{
    return buf_slice(&w->key_min);
}

firn_slice sst_writer_last_key(const sst_writer *w)
{
    return buf_slice(&w->last_key);
}

void sst_writer_cut(sst_writer *w)
{
    w->cut = true;
}

int sst_writer_add(sst_writer *w, firn_slice key, uint64_t seq, uint8_t kind, firn_slice value,
                   firn_error *err)
{
    assert(!w->finished);
    if (w->status != FIRN_OK)
        return refuse_failed(w, err);
    sst_pending e = {.seq = seq, .kind = kind};
    bool new_key;
    int rc = order_check(w, key, &e, value, &new_key);
    if (rc != FIRN_OK) {
        w->status = rc;
        return error_file(err, rc, w->file->path, FIRN_NO_OFFSET,
                          "entry %llu is out of order, over a limit or of an unknown kind",
                          (unsigned long long)w->props.shown.entries);
    }
    uint64_t hash = hash64(key.data, key.size, 0);
    e.tag = sst_block_tag(hash);
    bool joins =
        sst_block_builder_bytes_with(&w->block, key, value.size, seq) <= w->options.block_bytes;
    rc = next_begins(w, &key, joins, err);
    if (rc != FIRN_OK)
        return rc;
    rc = sst_block_builder_add(&w->block, key, value, &e);
    if (rc == FIRN_OK && new_key)
        rc = key_begin(w, key, hash);
    if (rc == FIRN_OK && kind == FIRN_DELETE_RANGE)
        rc = range_begin(w, key, value);
    if (rc != FIRN_OK)
        return fail(w, rc, err);
    count_entry(w, key, &e, value.size);
    w->last_seq = seq;
    return block_is_large(w) ? block_end(w, err) : FIRN_OK;
}

/* The last key, or the last one that a range delete covers. */
static firn_slice key_max_of(const sst_writer *w)
{
    firn_slice last = buf_slice(&w->last_key), covered = range_last(buf_slice(&w->range_end));
    return !w->cut && slice_compare(covered, last) > 0 ? covered : last;
}

/* Filter, index and properties, each a block of its own at the end of the output. */
static int meta_put(sst_writer *w, sst_footer *f)
{
    size_t start = w->out.size;
    int rc = sst_filter_build((const uint64_t *)(const void *)w->hashes.data,
                              w->hashes.size / sizeof(uint64_t), w->options.filter_bits_per_key,
                              &w->out);
    if (rc == FIRN_OK && w->out.size > start)
        rc = block_seal(w, start, (sst_trailer){0, (uint32_t)(w->out.size - start)}, &f->filter);
    if (rc != FIRN_OK)
        return rc;

    start = w->out.size;
    rc = sst_index_builder_finish(&w->index, &w->out);
    if (rc == FIRN_OK)
        rc = block_seal(w, start, (sst_trailer){0, (uint32_t)(w->out.size - start)}, &f->index);
    if (rc != FIRN_OK)
        return rc;

    start = w->out.size;
    w->props.shown.key_min = buf_slice(&w->key_min);
    w->props.shown.key_max = key_max_of(w);
    w->props.range_blocks = buf_slice(&w->range_blocks);
    if (w->props.shown.key_max.size > w->props.key_bytes_max)
        w->props.key_bytes_max = w->props.shown.key_max.size;
    rc = sst_props_put(&w->props, &w->out);
    if (rc == FIRN_OK)
        rc = block_seal(w, start, (sst_trailer){0, (uint32_t)(w->out.size - start)}, &f->props);
    return rc;
}

int sst_writer_finish(sst_writer *w, const sst_properties **out, firn_error *err)
{
    assert(!w->finished);
    if (w->status != FIRN_OK)
        return refuse_failed(w, err);
    int rc = next_begins(w, NULL, false, err);
    if (rc != FIRN_OK)
        return rc;
    sst_footer f = {
        .store_id = {w->options.store_id[0], w->options.store_id[1]},
        .table_no = w->options.table_no,
        .salt = w->salt,
    };
    rc = meta_put(w, &f);
    if (rc == FIRN_OK)
        rc = buf_reserve(&w->out, SST_FOOTER_BYTES);
    if (rc != FIRN_OK)
        return fail(w, rc, err);
    f.file_bytes = w->written + w->out.size + SST_FOOTER_BYTES;
    sst_footer_put(&f, w->out.data + w->out.size);
    w->out.size += SST_FOOTER_BYTES;

    rc = out_write(w, err);
    if (rc == FIRN_OK)
        rc = fs_sync(w->file, err); /* W2: from here on it is a table */
    if (rc != FIRN_OK) {
        w->status = rc;
        return rc;
    }
    w->finished = true;
    w->props.shown.file_bytes = f.file_bytes;
    *out = &w->props.shown;
    return FIRN_OK;
}

void sst_writer_free(sst_writer *w)
{
    if (!w)
        return;
    if (w->file) {
        fs_close(w->file);
        /* W3. A failure leaves an orphan, which no manifest names and opening removes. */
        if (!w->finished)
            (void)fs_unlink(w->dir, w->name, NULL);
    }
    sst_block_builder_release(&w->block);
    sst_packer_release(&w->packer);
    sst_index_builder_release(&w->index);
    buf_release(&w->hashes);
    buf_release(&w->out);
    buf_release(&w->last_key);
    buf_release(&w->key_min);
    buf_release(&w->range_first);
    buf_release(&w->range_end);
    buf_release(&w->range_blocks);
    heap_free(w);
}
