/* open: from a file's name to a reader, and back. Reads footer, properties, index and filter,
 * checks each, keeps them in memory, and maps the data blocks when they can be read in place. */
#include "reader.h"

#include <base/alloc.h>

/* A filter of this size gets pages of its own, huge ones if they come. */
enum { FILTER_PAGES_MIN = 1 << 18 };

/* Of a block of this size the trailer is read before memory is asked for: a footer may claim what is not there. */
enum { TRAILER_FIRST_MIN = 1 << 20 };

static int refuse(const fs_file *file, uint64_t offset, int status, const char *why,
                  firn_error *err)
{
    sst_place place = {file, 0, offset};
    return sst_refuse(&place, status, why, err);
}

/* Reads one of the blocks that the footer names into `to`, which has room for its trailer. */
static int meta_read(const sst_reader *r, sst_handle h, uint8_t *to, firn_error *err)
{
    int status = fs_read(r->file, to, (size_t)h.size + SST_TRAILER_BYTES, h.offset, err);
    if (status != FIRN_OK)
        return status;
    sst_place place = sst_reader_place(r, h.offset);
    sst_trailer trailer;
    status = sst_trailer_check(&place, to, (uint32_t)h.size, &trailer, err);
    if (status == FIRN_OK && trailer.compression != SST_COMPRESSION_NONE)
        status = sst_refuse(&place, FIRN_UNSUPPORTED,
                            "a filter, index or properties block is compressed", err);
    return status;
}

/* Does the trailer of a large block fit its handle? That of a small one is looked at when it has been read. */
static int trailer_fits(const sst_reader *r, sst_handle h, firn_error *err)
{
    uint8_t bytes[SST_TRAILER_BYTES];
    sst_trailer trailer;
    const char *why;
    if (h.size < TRAILER_FIRST_MIN)
        return FIRN_OK;
    int status = fs_read(r->file, bytes, sizeof bytes, h.offset + h.size, err);
    if (status != FIRN_OK)
        return status;
    status = sst_trailer_get(bytes, (uint32_t)h.size, &trailer, &why);
    return status == FIRN_OK ? FIRN_OK : refuse(r->file, h.offset, status, why, err);
}

static int meta_load(const sst_reader *r, sst_handle h, uint8_t **out, firn_error *err)
{
    size_t size = (size_t)h.size + SST_TRAILER_BYTES;
    int status = trailer_fits(r, h, err);
    if (status != FIRN_OK)
        return status;
    *out = mem_alloc(size);
    if (!*out)
        return error_no_memory(err, size);
    return meta_read(r, h, *out, err);
}

static int footer_load(sst_reader *r, const sst_reader_options *o, firn_error *err)
{
    uint64_t size;
    uint8_t bytes[SST_FOOTER_BYTES];
    const char *why;
    int status = fs_size(r->file, &size, err);
    if (status != FIRN_OK)
        return status;
    if (size < SST_FOOTER_BYTES)
        return refuse(r->file, 0, FIRN_DAMAGED, "the file is too short to be a table", err);
    uint64_t at = size - SST_FOOTER_BYTES;
    status = fs_read(r->file, bytes, sizeof(bytes), at, err);
    if (status != FIRN_OK)
        return status;
    status = sst_footer_get(bytes, &r->footer, &why);
    if (status != FIRN_OK)
        return refuse(r->file, at, status, why, err);
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
    int status = meta_load(r, h, &r->props_bytes, err);
    if (status != FIRN_OK)
        return status;
    status = sst_props_get((firn_slice){r->props_bytes, (size_t)h.size}, &r->props);
    if (status != FIRN_OK)
        return refuse(r->file, h.offset, status, "the properties block cannot be understood", err);
    r->props.shown.file_bytes = r->footer.file_bytes;
    return FIRN_OK;
}

static int index_load(sst_reader *r, firn_error *err)
{
    sst_handle h = r->footer.index;
    int status = meta_load(r, h, &r->index_bytes, err);
    if (status != FIRN_OK)
        return status;
    status = sst_index_open((firn_slice){r->index_bytes, (size_t)h.size}, &r->index);
    if (status == FIRN_NO_MEMORY)
        return error_no_memory(err, 0);
    if (status != FIRN_OK)
        return refuse(r->file, h.offset, status, "the index block cannot be understood", err);

    /* Blocks end where the filter or the index begins; with a gap only if a feature explains it. */
    uint64_t limit = r->footer.filter.size ? r->footer.filter.offset : h.offset;
    uint64_t end = r->index.offsets[r->index.count];
    if (end > limit || (end < limit && r->footer.features_optional == 0) ||
        end != r->props.shown.data_bytes || r->index.count != r->props.shown.blocks)
        return refuse(r->file, h.offset, FIRN_DAMAGED,
                      "the index does not agree with the file and its properties", err);
    for (uint32_t i = 0; i < r->index.count; i++) {
        if (sst_index_size(&r->index, i) > SST_BLOCK_BYTES_MAX)
            return refuse(r->file, r->index.offsets[i], FIRN_DAMAGED,
                          "the index names a block larger than the limit", err);
    }
    return FIRN_OK;
}

static int filter_load(sst_reader *r, firn_error *err)
{
    sst_handle h = r->footer.filter;
    if (h.size == 0)
        return FIRN_OK;
    size_t size = (size_t)h.size + SST_TRAILER_BYTES;
    int status = trailer_fits(r, h, err);
    if (status != FIRN_OK)
        return status;
    if (size >= FILTER_PAGES_MIN) {
        r->filter_room = size;
        r->filter_bytes = mem_pages(size);
    } else {
        r->filter_bytes =
            mem_aligned(SST_FILTER_LINE_BYTES,
                        (size + SST_FILTER_LINE_BYTES - 1) & ~(size_t)(SST_FILTER_LINE_BYTES - 1));
    }
    if (!r->filter_bytes)
        return error_no_memory(err, 0);
    status = meta_read(r, h, r->filter_bytes, err);
    if (status != FIRN_OK)
        return status;
    status = sst_filter_open((firn_slice){r->filter_bytes, (size_t)h.size}, &r->filter);
    if (status != FIRN_OK)
        return refuse(r->file, h.offset, status, "the filter block cannot be understood", err);
    return FIRN_OK;
}

/* Mapping is an optimisation: where the file system, the address space or a lack of memory says no, blocks come
 * through the cache, and no caller is bothered with an error. */
static void map_try(sst_reader *r, fs_dir *dir)
{
    fs_space space;
    void *address;
    if (r->index.count == 0 || r->props.compressed_blocks != 0 ||
        r->footer.file_bytes > SIZE_MAX / 2 || fs_dir_space(dir, &space, NULL) != FIRN_OK ||
        !space.mapping_ok)
        return;
    size_t words = ((size_t)r->index.count + 63) / 64;
    _Atomic uint64_t *verified = mem_zalloc(words * sizeof(*verified));
    if (!verified)
        return;
    if (fs_map(r->file, (size_t)r->footer.file_bytes, false, &address, NULL) != FIRN_OK) {
        mem_free((void *)verified);
        return;
    }
    r->verified = verified;
    r->map = address;
    r->map_bytes = (size_t)r->footer.file_bytes;
    /* Else a get of one block may read megabytes around it. Who walks says what comes next. */
    fs_advise(r->file, r->map, r->map_bytes, FS_ADVICE_RANDOM);
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
    if (!mapped)
        r->cached = true;
    atomic_store_explicit(&r->in_place, mapped && r->map, memory_order_release);
    if (!mapped)
        fs_advise(r->file, r->map, r->map_bytes, FS_ADVICE_DONE);
}

int sst_reader_open(fs_dir *dir, const char *name, const sst_reader_options *o, sst_reader **out,
                    firn_error *err)
{
    sst_reader *r = mem_zalloc(sizeof(*r));
    if (!r)
        return error_no_memory(err, sizeof(*r));
    r->cache = o->cache;
    r->owner = sst_cache_owner(o->cache);
    int status = o->files ? fs_pool_open(o->files, dir, name, o->keeps, &r->file, err)
                          : fs_open(dir, name, FS_READ, &r->file, err);
    if (status == FIRN_OK)
        status = footer_load(r, o, err);
    if (status == FIRN_OK)
        status = props_load(r, err);
    if (status == FIRN_OK)
        status = index_load(r, err);
    if (status == FIRN_OK)
        status = filter_load(r, err);
    if (status == FIRN_OK && o->mapped)
        sst_reader_set_mapped(r, dir, true);
    if (status != FIRN_OK) {
        sst_reader_close(r);
        return status;
    }
    *out = r;
    return FIRN_OK;
}

void sst_reader_close(sst_reader *r)
{
    if (!r)
        return;
    if (r->map)
        fs_unmap(r->file, r->map, r->map_bytes);
    if (r->cached || !r->map)
        sst_cache_forget(r->cache, r->owner, r->index.count);
    mem_free((void *)r->verified);
    if (r->filter_room)
        mem_pages_free(r->filter_bytes, r->filter_room);
    else
        mem_free(r->filter_bytes);
    sst_index_release(&r->index);
    mem_free(r->index_bytes);
    mem_free(r->props_bytes);
    fs_close(r->file);
    mem_free(r);
}

size_t sst_reader_memory(const sst_reader *r)
{
    size_t filter = r->filter.lines ? (size_t)r->footer.filter.size : 0;
    size_t verified = r->map ? ((size_t)r->index.count + 63) / 64 * 8 : 0;
    return sizeof(*r) + filter + (size_t)r->footer.index.size + (size_t)r->footer.props.size +
           r->index.memory_bytes + verified + 3 * SST_TRAILER_BYTES;
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
