/* build: tables from a sorted stream. A table ends between two keys, never between versions of one
 * (V2). */
#include <base/alloc.h>
#include <base/coding.h>
#include <base/error.h>
#include <base/slice.h>

#include "names.h"
#include "store.h"

#define AUTO_PLAIN_LEVELS 2 /* levels 0 and 1 are read most and live shortest: not compressed */

static sst_compression compression_of(const firn *db, unsigned lvl)
{
    switch (db->options.compression) {
    case FIRN_COMPRESSION_NONE:
        return SST_COMPRESSION_NONE;
    case FIRN_COMPRESSION_LZ4:
        return SST_COMPRESSION_LZ4;
    case FIRN_COMPRESSION_ZLIB:
        return SST_COMPRESSION_ZLIB;
    case FIRN_COMPRESSION_AUTO:
        break;
    }
    return lvl < AUTO_PLAIN_LEVELS ? SST_COMPRESSION_NONE : SST_COMPRESSION_LZ4;
}

void build_init(build *b, firn *db, unsigned lvl, uint64_t table_bytes)
{
    *b = (build){.db = db, .level = lvl, .table_bytes = table_bytes};
}

static int start_table(build *b, firn_error *err)
{
    sst_writer_options o;
    sst_writer_options_init(&o);
    o.filter_bits_per_key = b->db->options.filter_bits;
    o.compression = compression_of(b->db, b->level);
    o.store_id[0] = b->db->env.store_id[0];
    o.store_id[1] = b->db->env.store_id[1];
    o.table_no = b->writer_no = store_next_file_no(b->db);
    char name[NAME_BYTES];
    name_table(b->writer_no, name);
    return sst_writer_open(b->db->dir, name, &o, &b->writer, err);
}

static int end_table(build *b, firn_error *err)
{
    const sst_properties *properties = NULL;
    table *t = NULL;
    if (b->count == b->capacity) {
        size_t wanted = b->capacity ? b->capacity * 2 : 4;
        table **grown = mem_realloc(b->tables, wanted * sizeof *grown);
        if (!grown)
            return error_no_memory(err, wanted * sizeof *grown);
        b->tables = grown;
        b->capacity = wanted;
    }
    int rc = sst_writer_finish(b->writer, &properties, err);
    if (rc != FIRN_OK)
        return rc;
    rc = table_new(&b->db->env, b->writer_no, properties, &t);
    if (rc != FIRN_OK) {
        char name[NAME_BYTES];
        name_table(b->writer_no, name);
        (void)fs_unlink(b->db->dir, name, NULL); /* else an orphan, which opening removes */
        return error_no_memory(err, 0);
    }
    b->tables[b->count++] = t;
    b->bytes += properties->file_bytes;
    sst_writer_free(b->writer);
    b->writer = NULL;
    return FIRN_OK;
}

/* The merge gives what the tables give. A writer of tables refuses what no table may hold. */
static int refuse_entry(const build *b, firn_error *err)
{
    error_file(err, FIRN_DAMAGED, b->db->dir->path, FIRN_NO_OFFSET,
               "a table holds entries that are out of order, although its checksums are right");
    error_hint(err, "`firn check` names the table; restore it from a backup" HINT_REPAIR);
    return FIRN_DAMAGED;
}

int build_add(build *b, const iter *it, firn_error *err)
{
    int rc = FIRN_OK;
    if (b->writer && sst_writer_file_bytes(b->writer) >= b->table_bytes &&
        !slice_equal(buf_slice(&b->last_key), it->key))
        rc = end_table(b, err);
    if (rc == FIRN_OK && !b->writer)
        rc = start_table(b, err);
    if (rc == FIRN_OK)
        rc = sst_writer_add(b->writer, it->key, it->seq, it->kind, it->value, err);
    if (rc == FIRN_INVALID)
        rc = refuse_entry(b, err);
    /* The last key is only needed once the table is about to be full. */
    if (rc == FIRN_OK && sst_writer_file_bytes(b->writer) >= b->table_bytes &&
        buf_assign(&b->last_key, it->key.data, it->key.size) != FIRN_OK)
        rc = error_no_memory(err, 0);
    return rc;
}

int build_finish(build *b, firn_error *err)
{
    int rc = b->writer ? end_table(b, err) : FIRN_OK;
    if (rc == FIRN_OK && b->count)
        rc = fs_dir_sync(b->db->dir, err);
    return rc;
}

void build_release(build *b, bool kept)
{
    sst_writer_free(b->writer); /* removes what was not finished */
    for (size_t i = 0; i < b->count; i++) {
        if (!kept)
            atomic_store_explicit(&b->tables[i]->obsolete, true, memory_order_release);
        table_unref(b->tables[i]);
    }
    mem_free(b->tables);
    buf_release(&b->last_key);
}
