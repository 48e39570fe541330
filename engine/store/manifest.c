/* manifest: writing one (manifest.h; the bytes are in manifest_format.h). Reading is in
 * manifest_read.c. */
#include <store/manifest.h>

#include <base/alloc.h>
#include <base/error.h>
#include <string.h>

#include "manifest_format.h"
#include <tree/names.h>

struct manifest {
    fs_file *file;
    fs_dir *dir;
    uint64_t no;
    uint64_t salt;
    uint64_t end;
    uint64_t records;
    bool poisoned;
    bool shared; /* the file has another name, under which it must not change */
    bool worn;   /* the file is an earlier life's: a write into it may have failed then */
    buf scratch;
};

/* ---- encoding ---- */

static int put_varint(buf *b, uint64_t v)
{
    uint8_t bytes[VARINT_MAX_BYTES];
    return buf_append(b, bytes, (size_t)(varint_put(bytes, v) - bytes));
}

static int put_bytes(buf *b, firn_slice s)
{
    int rc = put_varint(b, s.size);
    return rc == FIRN_OK ? buf_append(b, s.data, s.size) : rc;
}

static int put_item(buf *b, uint64_t tag, const uint64_t *numbers, size_t count,
                    const firn_slice *strings, size_t string_count)
{
    size_t size = 0;
    for (size_t i = 0; i < count; i++)
        size += varint_size(numbers[i]);
    for (size_t i = 0; i < string_count; i++)
        size += varint_size(strings[i].size) + strings[i].size;
    int rc = put_varint(b, tag);
    if (rc == FIRN_OK)
        rc = put_varint(b, size);
    for (size_t i = 0; rc == FIRN_OK && i < count; i++)
        rc = put_varint(b, numbers[i]);
    for (size_t i = 0; rc == FIRN_OK && i < string_count; i++)
        rc = put_bytes(b, strings[i]);
    return rc;
}

/* Which snapshots the hidden versions were kept for: a count, then the ranges. Empty: unknown. If
 * any was made of several, what tells more about each follows: an earlier version of firn does not
 * look for it. */
static int put_kept(buf *b, const table *t)
{
    bool joined = false;
    int rc = t->kept_known ? put_varint(b, t->kept_count) : FIRN_OK;
    for (size_t i = 0; rc == FIRN_OK && i < t->kept_count; i++) {
        const kept_range *k = &t->kept[i];
        rc = put_varint(b, k->from);
        if (rc == FIRN_OK)
            rc = put_varint(b, k->to - k->from);
        if (rc == FIRN_OK)
            rc = put_varint(b, k->count);
        joined = joined || k->snapshots;
    }
    for (size_t i = 0; rc == FIRN_OK && joined && i < t->kept_count; i++) {
        rc = put_varint(b, t->kept[i].snapshots);
        if (rc == FIRN_OK)
            rc = put_varint(b, t->kept[i].seen);
    }
    return rc;
}

static int put_table(buf *b, unsigned lvl, const table *t)
{
    const sst_properties *p = &t->properties;
    const uint64_t numbers[] = {t->bucket,  lvl,        t->no,        p->file_bytes,
                                p->entries, p->deletes, p->raw_bytes, p->data_bytes,
                                p->blocks,  p->seq_min, p->seq_max,   p->created_us};
    buf kept = {0}, ranges = {0};
    int rc = put_kept(&kept, t);
    if (rc == FIRN_OK && p->ranges)
        rc = put_varint(&ranges, p->ranges);
    const firn_slice strings[] = {p->key_min, p->key_max, buf_slice(&kept), buf_slice(&ranges)};
    /* The last two are optional: an earlier version of firn looks no further than the keys. Of a
     * table with range deletes it does not know what they are, and does not open it. */
    if (rc == FIRN_OK)
        rc = put_item(b, TAG_ADD_TABLE, numbers, sizeof numbers / sizeof *numbers, strings,
                      ranges.size ? 4
                      : kept.size ? 3
                                  : 2);
    buf_release(&kept);
    buf_release(&ranges);
    return rc;
}

static int put_bucket(buf *b, uint16_t bucket, const bucket_name *name)
{
    const uint64_t numbers[] = {bucket, 0 /* flags */};
    const firn_slice strings[] = {slice_of(name->bytes, name->size), {NULL, 0} /* the order */};
    return put_item(b, TAG_CREATE_BUCKET, numbers, 2, strings, 2);
}

static uint64_t form_number(uint32_t choice)
{
    return choice == FIRN_AS_STORE ? 0 : choice + UINT64_C(1);
}

static int put_form(buf *b, uint16_t bucket, const bucket_form *f)
{
    const uint64_t numbers[] = {bucket, form_number(f->compression), form_number(f->filter_bits)};
    return put_item(b, TAG_BUCKET_FORM, numbers, 3, NULL, 0);
}

/* A bucket that begins to be. Only a form of its own is written. */
static int put_new_bucket(buf *b, uint16_t bucket, const bucket_name *name, const bucket_form *f)
{
    int rc = put_bucket(b, bucket, name);
    bool own = f->compression != FIRN_AS_STORE || f->filter_bits != FIRN_AS_STORE;
    return rc == FIRN_OK && own ? put_form(b, bucket, f) : rc;
}

static int put_edit(buf *b, const edit *e)
{
    int rc = FIRN_OK;
    if (e->flushed_seq)
        rc = put_item(b, TAG_FLUSHED_SEQ, &e->flushed_seq, 1, NULL, 0);
    if (rc == FIRN_OK && e->covered_no)
        rc = put_item(b, TAG_COVERED_SEGMENT, &e->covered_no, 1, NULL, 0);
    if (rc == FIRN_OK && e->next_file_no)
        rc = put_item(b, TAG_NEXT_FILE, &e->next_file_no, 1, NULL, 0);
    if (rc == FIRN_OK && e->create)
        rc = put_new_bucket(b, e->create->bucket, &e->create->name, &e->create->form);
    if (rc == FIRN_OK && e->reform)
        rc = put_form(b, e->reform->bucket, &e->form);
    if (rc == FIRN_OK && e->drop) {
        const uint64_t bucket = e->drop->bucket;
        rc = put_item(b, TAG_DROP_BUCKET, &bucket, 1, NULL, 0);
    }
    for (size_t i = 0; rc == FIRN_OK && i < e->dropped_count; i++) {
        const uint64_t numbers[] = {e->dropped[i].table->bucket, e->dropped[i].level,
                                    e->dropped[i].table->no};
        rc = put_item(b, TAG_DROP_TABLE, numbers, 3, NULL, 0);
    }
    for (size_t i = 0; rc == FIRN_OK && i < e->added_count; i++)
        rc = put_table(b, e->added[i].level, e->added[i].table);
    if (rc == FIRN_OK && e->closed)
        rc = put_item(b, TAG_CLOSED, &e->closed_seq, 1, NULL, 0);
    return rc;
}

/* Fills in the record around the payload that starts MANIFEST_RECORD_BYTES behind `start`. */
static int finish_record(buf *b, size_t start, uint64_t salt, uint64_t offset, uint64_t number)
{
    uint8_t *r = b->data + start;
    size_t bytes = b->size - start;
    put_u32(r + 4, (uint32_t)(bytes - MANIFEST_RECORD_BYTES));
    put_u64(r + 8, number);
    put_u32(r, manifest_record_crc(crc32_update(0, r + 4, bytes - 4), salt, offset));
    static const uint8_t zeros[8];
    return buf_append(b, zeros, (8 - bytes % 8) % 8);
}

/* ---- writing ---- */

static int put_tables(buf *b, const version *v)
{
    int rc = FIRN_OK;
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        for (size_t i = 0; rc == FIRN_OK && i < v->levels[n].count; i++)
            rc = put_table(b, n, v->levels[n].tables[i]);
    return rc;
}

static int encode_state(buf *b, const manifest_state *s, uint64_t salt)
{
    static const uint8_t head[MANIFEST_RECORD_BYTES];
    size_t start = b->size;
    int rc = buf_append(b, head, sizeof head);
    edit e = {.flushed_seq = s->flushed_seq,
              .covered_no = s->covered_no,
              .next_file_no = s->next_file_no,
              .closed = s->closed_seq != 0,
              .closed_seq = s->closed_seq};
    if (rc == FIRN_OK)
        rc = put_edit(b, &e);
    const uint64_t limit = s->bucket_limit;
    for (size_t i = 0; rc == FIRN_OK && i < s->bucket_count; i++)
        rc = put_new_bucket(b, s->buckets[i].bucket, &s->buckets[i].name, &s->buckets[i].form);
    if (rc == FIRN_OK &&
        limit > 1) /* a store that never had another one is as old firn writes it */
        rc = put_item(b, TAG_BUCKET_LIMIT, &limit, 1, NULL, 0);
    for (size_t i = 0; rc == FIRN_OK && i < manifest_state_count(s); i++)
        rc = put_tables(b, manifest_state_version(s, i));
    return rc == FIRN_OK ? finish_record(b, start, salt, MANIFEST_HEADER_BYTES, 0) : rc;
}

static void encode_header(uint8_t h[MANIFEST_HEADER_BYTES], uint64_t no, const uint8_t store_id[16],
                          uint64_t salt)
{
    memset(h, 0, MANIFEST_HEADER_BYTES);
    memcpy(h, MANIFEST_MAGIC, 8);
    put_u32(h + 8, MANIFEST_VERSION);
    memcpy(h + 16, store_id, 16);
    put_u64(h + 32, no);
    put_u64(h + 48, salt);
    put_u32(h + 60, crc32_update(0, h, 60));
}

/* Gives the file its name, durably. A new manifest that may or may not be the one that the next
 * open finds must not stay beside an older one that goes on. A curable error: it is gone. */
static int give_name(manifest *m, const char *temporary, const char *name, firn_error *err)
{
    fs_dir *dir = m->dir;
    int rc = fs_rename_file(dir, temporary, name, m->file, err);
    if (rc == FIRN_OK)
        rc = fs_dir_sync(dir, err);
    if (error_curable(rc) && fs_remove(dir, name, NULL) != FIRN_OK) {
        rc = FIRN_IO;
        if (err)
            err->status = rc;
        error_hint(err, "find the cause, then open the store again");
    }
    return rc;
}

int manifest_create(fs_dir *dir, uint64_t no, const manifest_state *state, manifest **out,
                    firn_error *err)
{
    char temporary[NAME_BYTES], name[NAME_BYTES];
    uint8_t header[MANIFEST_HEADER_BYTES];
    name_manifest(no, true, temporary);
    name_manifest(no, false, name);
    manifest *m = heap_zalloc(sizeof *m);
    if (!m)
        return error_no_memory(err);
    int rc = fs_random(dir->owner, &m->salt, sizeof m->salt, err);
    if (rc != FIRN_OK)
        goto fail;
    encode_header(header, no, state->store_id, m->salt);
    m->dir = dir;
    m->no = no;
    m->records = 1;
    rc = buf_append(&m->scratch, header, sizeof header);
    if (rc == FIRN_OK)
        rc = encode_state(&m->scratch, state, m->salt);
    if (rc != FIRN_OK) {
        error_no_memory(err);
        goto fail;
    }
    m->end = m->scratch.size;
    (void)fs_unlink(dir, temporary, NULL); /* left behind by an attempt that failed */
    rc = fs_open(dir, temporary, FS_WRITE | FS_CREATE_NEW, &m->file, err);
    if (rc == FIRN_OK)
        rc = fs_write(m->file, m->scratch.data, m->scratch.size, 0, err);
    if (rc == FIRN_OK)
        rc = fs_sync(m->file, err);
    if (rc == FIRN_OK)
        rc = give_name(m, temporary, name, err);
    if (rc != FIRN_OK)
        goto fail;
    *out = m;
    return FIRN_OK;
fail:
    manifest_close(m);
    return rc;
}

/* Without room for a new file: all that can be done, unless a write into this very file has
 * failed. */
static int settle_in_place(fs_dir *dir, const manifest_state *state, firn_error *err)
{
    char name[NAME_BYTES];
    fs_file *file = NULL;
    uint64_t end = state->end < state->file_bytes ? state->end : state->file_bytes;
    size_t bytes = (size_t)(end - state->last);
    name_manifest(state->manifest_no, false, name);
    uint8_t *record = heap_alloc(bytes);
    /* The bytes stay what they are, also under another name. */
    int rc = record ? error_needed(err, fs_open(dir, name, FS_WRITE | FS_ANY_LINKS, &file, err))
                    : error_no_memory(err);
    if (rc == FIRN_OK)
        rc = fs_read(file, record, bytes, state->last, err);
    if (rc == FIRN_OK)
        rc = fs_write(file, record, bytes, state->last, err);
    if (rc == FIRN_OK)
        rc = fs_sync(file, err);
    if (rc == FIRN_OK) /* and so must its name be */
        rc = fs_dir_sync(dir, err);
    fs_close(file);
    heap_free(record);
    return rc;
}

int manifest_settle(fs_dir *dir, uint64_t no, const manifest_state *state, manifest **out,
                    firn_error *err)
{
    *out = NULL;
    int rc = manifest_create(dir, no, state, out, err);
    if (rc != FIRN_NO_SPACE)
        return rc;
    error_clear(err);
    return settle_in_place(dir, state, err);
}

int manifest_continue(fs_dir *dir, const manifest_state *state, manifest **out, firn_error *err)
{
    char name[NAME_BYTES];
    name_manifest(state->manifest_no, false, name);
    manifest *m = heap_zalloc(sizeof *m);
    if (!m)
        return error_no_memory(err);
    m->dir = dir;
    m->no = state->manifest_no;
    m->worn = true;
    m->salt = state->salt;
    m->end = state->end;
    m->records = state->records;
    m->shared = state->shared;
    int rc = error_needed(err, fs_open(dir, name, FS_WRITE | FS_ANY_LINKS, &m->file, err));
    if (rc == FIRN_OK && state->end < state->file_bytes && !m->shared) {
        rc = fs_truncate(m->file, state->end, err);
        if (rc == FIRN_OK)
            rc = fs_sync(m->file, err);
    }
    if (rc != FIRN_OK) {
        manifest_close(m);
        return rc;
    }
    *out = m;
    return FIRN_OK;
}

int manifest_write(manifest *m, const edit *e, firn_error *err)
{
    if (m->poisoned) {
        error_file(err, FIRN_POISONED, m->file->path, m->end,
                   "an earlier write to the manifest failed");
        error_hint(err, "close the store and open it again");
        return FIRN_POISONED;
    }
    static const uint8_t head[MANIFEST_RECORD_BYTES];
    buf_clear(&m->scratch);
    int rc = buf_append(&m->scratch, head, sizeof head);
    if (rc == FIRN_OK)
        rc = put_edit(&m->scratch, e);
    if (rc == FIRN_OK)
        rc = finish_record(&m->scratch, 0, m->salt, m->end, m->records);
    if (rc != FIRN_OK)
        return error_no_memory(err);
    rc = fs_write(m->file, m->scratch.data, m->scratch.size, m->end, err);
    /* A full disk before the sync: nothing relies on the record, and the next one overwrites it. */
    if (error_curable(rc))
        return rc;
    if (rc == FIRN_OK)
        rc = fs_sync(m->file, err); /* <- the commit point of every flush and compaction */
    if (rc != FIRN_OK) {
        m->poisoned = true;
        if (err)
            err->status = FIRN_IO; /* a sync that failed is no "try again", whatever errno was */
        error_hint(err,
                   "whether the edit survives is unknown; find the cause, then close the store "
                   "and open it again");
        return FIRN_IO;
    }
    m->end += m->scratch.size;
    m->records++;
    return FIRN_OK;
}

void manifest_poison(manifest *m)
{
    m->poisoned = true;
}

bool manifest_has_magic(fs_dir *dir, const char *name)
{
    uint8_t first[8];
    fs_file *file = NULL;
    bool has = fs_open(dir, name, FS_READ, &file, NULL) == FIRN_OK &&
               fs_read(file, first, sizeof first, 0, NULL) == FIRN_OK &&
               memcmp(first, MANIFEST_MAGIC, sizeof first) == 0;
    fs_close(file);
    return has;
}

bool manifest_is_shared(const manifest *m)
{
    return m->shared;
}

bool manifest_is_worn(const manifest *m)
{
    return m->worn;
}

uint64_t manifest_bytes(const manifest *m)
{
    return m->end;
}

uint64_t manifest_no(const manifest *m)
{
    return m->no;
}

void manifest_close(manifest *m)
{
    if (!m)
        return;
    fs_close(m->file);
    buf_release(&m->scratch);
    heap_free(m);
}
