/* open: from a file's name to a reader, and back. Reads footer, properties, index and filter,
 * checks each, keeps the first two in memory and the others while there is room, and maps the data
 * blocks when they can be read in place. */
#include "ranges.h"

#include <base/alloc.h>

/* A filter or index of this size gets pages of its own, which go back to the system with it; a
 * large filter huge ones, if they come. */
enum { PART_PAGES_MIN = 1 << 15, PAGE_BYTES = 4096 };

/* Of a block of this size the trailer is read before memory is asked for: a footer may claim what
 * is not there. */
enum { TRAILER_FIRST_MIN = 1 << 20 };

static int refuse(const fs_file *file, uint64_t offset, int rc, const char *why, firn_error *err)
{
    sst_place place = {file, 0, offset};
    return sst_refuse(&place, rc, why, err);
}

/* Reads one of the blocks that the footer names into `to`, which has room for its trailer. */
static int meta_read(const sst_reader *r, sst_handle h, uint8_t *to, firn_error *err)
{
    int rc = fs_read(r->file, to, (size_t)h.size + SST_TRAILER_BYTES, h.offset, err);
    if (rc != FIRN_OK)
        return rc;
    sst_place place = sst_reader_place(r, h.offset);
    sst_trailer trailer;
    rc = sst_trailer_check(&place, to, (uint32_t)h.size, &trailer, err);
    if (rc == FIRN_OK && trailer.compression != SST_COMPRESSION_NONE)
        rc = sst_refuse(&place, FIRN_UNSUPPORTED,
                        "a filter, index or properties block is compressed", err);
    return rc;
}

/* Does the trailer of a large block fit its handle? That of a small one is looked at when it has
 * been read. */
static int trailer_fits(const sst_reader *r, sst_handle h, firn_error *err)
{
    uint8_t bytes[SST_TRAILER_BYTES];
    sst_trailer trailer;
    const char *why;
    if (h.size < TRAILER_FIRST_MIN)
        return FIRN_OK;
    int rc = fs_read(r->file, bytes, sizeof bytes, h.offset + h.size, err);
    if (rc != FIRN_OK)
        return rc;
    rc = sst_trailer_get(bytes, (uint32_t)h.size, &trailer, &why);
    return rc == FIRN_OK ? FIRN_OK : refuse(r->file, h.offset, rc, why, err);
}

static int meta_load(const sst_reader *r, sst_handle h, uint8_t **out, firn_error *err)
{
    size_t size = (size_t)h.size + SST_TRAILER_BYTES;
    int rc = trailer_fits(r, h, err);
    if (rc != FIRN_OK)
        return rc;
    *out = heap_alloc(size);
    if (!*out)
        return error_no_memory(err);
    return meta_read(r, h, *out, err);
}

static int footer_load(sst_reader *r, const sst_reader_options *o, firn_error *err)
{
    uint64_t size;
    uint8_t bytes[SST_FOOTER_BYTES];
    const char *why;
    int rc = fs_size(r->file, &size, err);
    if (rc != FIRN_OK)
        return rc;
    if (size < SST_FOOTER_BYTES)
        return refuse(r->file, 0, FIRN_DAMAGED, "the file is too short to be a table", err);
    uint64_t at = size - SST_FOOTER_BYTES;
    rc = fs_read(r->file, bytes, sizeof bytes, at, err);
    if (rc != FIRN_OK)
        return rc;
    rc = sst_footer_get(bytes, &r->footer, &why);
    if (rc != FIRN_OK)
        return refuse(r->file, at, rc, why, err);
    if (r->footer.file_bytes != size || (o->file_bytes != 0 && o->file_bytes != size))
        return refuse(r->file, at, FIRN_DAMAGED, "the table is not as long as it should be", err);
    if (r->footer.store_id[0] != o->store_id[0] || r->footer.store_id[1] != o->store_id[1])
        return refuse(r->file, at, FIRN_DAMAGED, "the table belongs to another store", err);
    if (r->footer.table_no != o->table_no)
        return refuse(r->file, at, FIRN_DAMAGED, "the file holds another table of this store", err);
    r->salt = r->footer.salt;
    return FIRN_OK;
}

static int props_load(sst_reader *r, firn_error *err)
{
    sst_handle h = r->footer.props;
    int rc = meta_load(r, h, &r->props_bytes, err);
    if (rc != FIRN_OK)
        return rc;
    rc = sst_props_get((firn_slice){r->props_bytes, (size_t)h.size}, &r->props);
    if (rc != FIRN_OK)
        return refuse(r->file, h.offset, rc, "the properties block cannot be understood", err);
    r->props.shown.file_bytes = r->footer.file_bytes;
    return FIRN_OK;
}

/* ---- Filter and index, in memory while they are used (part.h) ---- */

/* Blocks end where the filter or the index begins; with a gap only if a feature explains it. */
static int index_judge(const sst_reader *r, const sst_index *ix, firn_error *err)
{
    sst_handle h = r->footer.index;
    uint64_t limit = r->footer.filter.size ? r->footer.filter.offset : h.offset;
    uint64_t end = ix->offsets[ix->count];
    if (end > limit || (end < limit && r->footer.features_optional == 0) ||
        end != r->props.shown.data_bytes || ix->count != r->props.shown.blocks)
        return refuse(r->file, h.offset, FIRN_DAMAGED,
                      "the index does not agree with the file and its properties", err);
    for (uint32_t i = 0; i < ix->count; i++) {
        if (sst_index_size(ix, i) > SST_BLOCK_BYTES_MAX)
            return refuse(r->file, ix->offsets[i], FIRN_DAMAGED,
                          "the index names a block larger than the limit", err);
    }
    return FIRN_OK;
}

static int index_open(const sst_reader *r, sst_part *part, firn_error *err)
{
    sst_handle h = r->footer.index;
    int rc = sst_index_open((firn_slice){part->bytes, (size_t)h.size}, &part->index);
    if (rc == FIRN_NO_MEMORY)
        return error_no_memory(err);
    if (rc != FIRN_OK)
        return refuse(r->file, h.offset, rc, "the index block cannot be understood", err);
    return index_judge(r, &part->index, err);
}

static int filter_open(const sst_reader *r, sst_part *part, firn_error *err)
{
    sst_handle h = r->footer.filter;
    int rc = sst_filter_open((firn_slice){part->bytes, (size_t)h.size}, &part->filter);
    if (rc != FIRN_OK)
        return refuse(r->file, h.offset, rc, "the filter block cannot be understood", err);
    return FIRN_OK;
}

/* Memory for a block of the footer. Lines of a filter stay aligned. */
static bool part_room(sst_part *part, size_t size)
{
    if (size >= PART_PAGES_MIN) {
        part->room = size;
        part->bytes = pages_alloc(size);
        part->charge = (size + PAGE_BYTES - 1) & ~(uint64_t)(PAGE_BYTES - 1);
    } else {
        size = (size + SST_FILTER_LINE_BYTES - 1) & ~(size_t)(SST_FILTER_LINE_BYTES - 1);
        part->bytes = heap_aligned(SST_FILTER_LINE_BYTES, size);
        part->charge = size;
    }
    part->charge += sizeof *part;
    return part->bytes != NULL;
}

static int part_load(sst_reader *r, budget_kind kind, sst_part **out, firn_error *err)
{
    bool filters = kind == BUDGET_FILTERS;
    sst_handle h = filters ? r->footer.filter : r->footer.index;
    size_t size = (size_t)h.size + SST_TRAILER_BYTES;
    memory_budget *b = sst_cache_budget(r->cache);
    sst_parts *parts = sst_cache_parts(r->cache);
    int rc = trailer_fits(r, h, err);
    if (rc != FIRN_OK)
        return rc;
    sst_part *part = heap_zalloc(sizeof *part);
    if (!part || !part_room(part, size)) {
        heap_free(part);
        return error_no_memory(err);
    }
    mutex_not_shared(&parts->parts_mu);
    part->refs = 1;
    part->kind = kind;
    rc = meta_read(r, h, part->bytes, err);
    if (rc == FIRN_OK)
        rc = filters ? filter_open(r, part, err) : index_open(r, part, err);
    atomic_fetch_add_explicit(filters ? &parts->filter_loads : &parts->index_loads, 1,
                              memory_order_relaxed);
    part->charge += part->index.memory_bytes;
    budget_charge(b, kind, part->charge);
    if (rc != FIRN_OK) {
        sst_part_free(b, part);
        return rc;
    }
    *out = part;
    return FIRN_OK;
}

static int part_get(sst_reader *r, budget_kind kind, sst_part **out, firn_error *err)
{
    sst_parts *parts = sst_cache_parts(r->cache);
    _Atomic(sst_part *) *home = kind == BUDGET_FILTERS ? &r->filter : &r->index;
    *out = sst_part_pin(parts, home);
    if (*out)
        return FIRN_OK;
    int rc = part_load(r, kind, out, err);
    if (rc == FIRN_OK) {
        *out = sst_part_publish(parts, home, *out);
        sst_cache_shrink(r->cache, false); /* blocks make room for it */
    }
    return rc;
}

int sst_reader_index(sst_reader *r, sst_part **out, firn_error *err)
{
    return part_get(r, BUDGET_INDEXES, out, err);
}

int sst_reader_filter(sst_reader *r, sst_part **out, firn_error *err)
{
    *out = NULL;
    if (r->footer.filter.size == 0)
        return FIRN_OK;
    return part_get(r, BUDGET_FILTERS, out, err);
}

void sst_reader_unpin(sst_reader *r, sst_part *part)
{
    if (part)
        sst_part_unpin(sst_cache_parts(r->cache), part);
}

/* Opening looks at both, so that damage is told now. They stay where there is room. */
static int parts_look(sst_reader *r, firn_error *err)
{
    sst_part *part;
    int rc = sst_reader_index(r, &part, err);
    if (rc != FIRN_OK)
        return rc;
    sst_reader_unpin(r, part);
    rc = sst_reader_filter(r, &part, err);
    if (rc == FIRN_OK)
        sst_reader_unpin(r, part);
    return rc;
}

static size_t verified_words(const sst_reader *r)
{
    return ((size_t)r->props.shown.blocks + 63) / 64;
}

/* Mapping is an optimisation: where the file system, the address space or a lack of memory says no,
 * blocks come through the cache, and no caller is bothered with an error. */
static void map_try(sst_reader *r, fs_dir *dir)
{
    fs_space space;
    void *address;
    if (r->props.shown.blocks == 0 || r->props.compressed_blocks != 0 ||
        r->footer.file_bytes > SIZE_MAX / 2 || fs_dir_space(dir, &space, NULL) != FIRN_OK ||
        !space.mapping_ok)
        return;
    size_t words = verified_words(r);
    _Atomic uint64_t *verified = heap_zalloc(words * sizeof *verified);
    if (!verified)
        return;
    if (fs_map(r->file, (size_t)r->footer.file_bytes, false, &address, NULL) != FIRN_OK) {
        heap_free((void *)verified);
        return;
    }
    r->verified = verified;
    r->map = address;
    r->map_bytes = (size_t)r->footer.file_bytes;
    /* Else a get of one block may read megabytes around it. An iterator says what it needs next. */
    fs_advise(r->file, r->map, r->map_bytes, FS_ADVICE_RANDOM);
}

/* What the open table takes besides its parts. */
static uint64_t own_bytes(const sst_reader *r)
{
    return sizeof *r + r->footer.props.size + SST_TRAILER_BYTES +
           r->range_count * sizeof *r->ranges + r->range_bytes.capacity + r->range_behind.capacity +
           (r->map ? verified_words(r) * sizeof *r->verified : 0);
}

bool sst_reader_is_mapped(const sst_reader *r)
{
    return sst_reader_in_place(r);
}

void sst_reader_set_mapped(sst_reader *r, fs_dir *dir, bool mapped)
{
    if (mapped == sst_reader_in_place(r))
        return;
    if (mapped && !r->map)
        map_try(r, dir);
    if (r->charged) /* else opening does */
        budget_adjust(sst_cache_budget(r->cache), BUDGET_TABLES, &r->charged, own_bytes(r));
    if (!mapped)
        r->cached = true;
    atomic_store_explicit(&r->in_place, mapped && r->map, memory_order_release);
    if (!mapped)
        fs_advise(r->file, r->map, r->map_bytes, FS_ADVICE_DONE);
}

int sst_reader_open(fs_dir *dir, const char *name, const sst_reader_options *o, sst_reader **out,
                    firn_error *err)
{
    sst_reader *r = heap_zalloc(sizeof *r);
    if (!r)
        return error_no_memory(err);
    r->cache = o->cache;
    r->owner = sst_cache_owner(o->cache);
    r->grace = sst_cache_parts(o->cache)->grace.wait != NULL;
    int rc = o->files ? fs_pool_open(o->files, dir, name, o->keeps, &r->file, err)
                      : fs_open(dir, name, FS_READ, &r->file, err);
    if (rc == FIRN_OK)
        rc = footer_load(r, o, err);
    if (rc == FIRN_OK)
        rc = props_load(r, err);
    if (rc == FIRN_OK)
        rc = parts_look(r, err);
    if (rc == FIRN_OK)
        rc = sst_ranges_load(r, err);
    if (rc == FIRN_OK && o->mapped)
        sst_reader_set_mapped(r, dir, true);
    if (rc != FIRN_OK) {
        sst_reader_close(r);
        return rc;
    }
    budget_adjust(sst_cache_budget(r->cache), BUDGET_TABLES, &r->charged, own_bytes(r));
    *out = r;
    return FIRN_OK;
}

void sst_reader_close(sst_reader *r)
{
    if (!r)
        return;
    if (r->map)
        fs_unmap(r->file, r->map, r->map_bytes);
    if (r->charged && (r->cached || !r->map)) /* else it was never open, or never in the cache */
        sst_cache_forget(r->cache, r->owner, (uint32_t)r->props.shown.blocks);
    sst_part_leave(sst_cache_parts(r->cache), &r->filter);
    sst_part_leave(sst_cache_parts(r->cache), &r->index);
    budget_adjust(sst_cache_budget(r->cache), BUDGET_TABLES, &r->charged, 0);
    heap_free((void *)r->verified);
    heap_free(r->props_bytes);
    heap_free(r->ranges);
    buf_release(&r->range_bytes);
    buf_release(&r->range_behind);
    fs_close(r->file);
    heap_free(r);
}

size_t sst_reader_memory(sst_reader *r)
{
    sst_parts *parts = sst_cache_parts(r->cache);
    _Atomic(sst_part *) *homes[] = {&r->filter, &r->index};
    uint64_t bytes = own_bytes(r);
    for (int i = 0; i < 2; i++) {
        sst_part *part = sst_part_pin(parts, homes[i]);
        if (part)
            bytes += part->charge;
        sst_reader_unpin(r, part);
    }
    return (size_t)bytes;
}

bool sst_has_magic(fs_dir *dir, const char *name)
{
    uint8_t last[SST_MAGIC_BYTES];
    uint64_t size = 0;
    fs_file *file = NULL;
    bool has = fs_open(dir, name, FS_READ, &file, NULL) == FIRN_OK &&
               fs_size(file, &size, NULL) == FIRN_OK && size >= SST_FOOTER_BYTES &&
               fs_read(file, last, sizeof last, size - sizeof last, NULL) == FIRN_OK &&
               memcmp(last, SST_MAGIC, SST_MAGIC_BYTES) == 0;
    fs_close(file);
    return has;
}
