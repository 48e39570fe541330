/* manifest: see manifest.h. The bytes:
 *
 *   header   0   8  magic 89 'f' 'i' 'r' 'n' 'm' 'a' 'n'
 *            8   4  format version, 1
 *           12   4  required features (unknown bit: refuse)
 *           16  16  store id
 *           32   8  manifest number (equals the name)
 *           40   4  timeline
 *           44   4  optional features
 *           48   8  salt: a random number, so that no record of another manifest passes
 *           56   4  zero
 *           60   4  CRC-32 of bytes 0..59
 *   record   0   4  CRC-32 of bytes 4.. to the end of the payload, the salt (8), the file offset (8):
 *                   what another manifest or another place left on the disk does not pass
 *            4   4  payload bytes
 *            8   8  record number, from 0
 *           16   -  payload: items, each {varint tag, varint length, body}; a tag >= 128 that a
 *                   reader does not know may be skipped; then zeros to a multiple of 8
 */
#include "manifest.h"

#include <base/alloc.h>
#include <base/checksum.h>
#include <base/coding.h>
#include <base/error.h>
#include <inttypes.h>
#include <string.h>

#include "names.h"

#define HEADER_BYTES 64
#define RECORD_BYTES 16
#define VERSION_1    1
#define SEARCH_BYTES                                                                               \
    (UINT64_C(256) << 20) /* checksummed at most in search of a record behind damage */
#define MANIFEST_MAX                                                                               \
    (UINT64_C(1) << 30) /* far beyond any store; bounds what a damaged size can ask for */

static const uint8_t MAGIC[8] = {0x89, 'f', 'i', 'r', 'n', 'm', 'a', 'n'};

enum item_tag {
    TAG_FLUSHED_SEQ = 1,
    TAG_NEXT_FILE = 2,
    TAG_ADD_TABLE = 3,
    TAG_DROP_TABLE = 4,
    TAG_COVERED_SEGMENT = 5,
    TAG_CLOSED = 128, /* a clean close: the log's last number */
};

struct manifest {
    fs_file *file;
    fs_dir *dir;
    uint64_t no;
    uint64_t salt;
    uint64_t end;
    uint64_t records;
    bool poisoned;
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

static int put_table(buf *b, unsigned lvl, const table *t)
{
    const sst_properties *p = &t->properties;
    const uint64_t numbers[] = {0 /* bucket */, lvl,        t->no,        p->file_bytes,
                                p->entries,     p->deletes, p->raw_bytes, p->data_bytes,
                                p->blocks,      p->seq_min, p->seq_max,   p->created_us};
    const firn_slice keys[] = {p->key_min, p->key_max};
    return put_item(b, TAG_ADD_TABLE, numbers, sizeof numbers / sizeof *numbers, keys, 2);
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
    for (size_t i = 0; rc == FIRN_OK && i < e->dropped_count; i++) {
        const uint64_t numbers[] = {0, e->dropped[i].level, e->dropped[i].table->no};
        rc = put_item(b, TAG_DROP_TABLE, numbers, 3, NULL, 0);
    }
    for (size_t i = 0; rc == FIRN_OK && i < e->added_count; i++)
        rc = put_table(b, e->added[i].level, e->added[i].table);
    if (rc == FIRN_OK && e->closed)
        rc = put_item(b, TAG_CLOSED, &e->closed_seq, 1, NULL, 0);
    return rc;
}

static uint32_t record_crc(const uint8_t *record, size_t bytes, uint64_t salt, uint64_t offset)
{
    uint8_t where[16];
    put_u64(where, salt);
    put_u64(where + 8, offset);
    uint32_t crc = crc32_update(0, record + 4, bytes - 4);
    return crc32_update(crc, where, sizeof where);
}

/* Fills in the record around the payload that starts RECORD_BYTES behind `start`. */
static int finish_record(buf *b, size_t start, uint64_t salt, uint64_t offset, uint64_t number)
{
    uint8_t *r = b->data + start;
    size_t bytes = b->size - start;
    put_u32(r + 4, (uint32_t)(bytes - RECORD_BYTES));
    put_u64(r + 8, number);
    put_u32(r, record_crc(r, bytes, salt, offset));
    static const uint8_t zeros[8];
    return buf_append(b, zeros, (8 - bytes % 8) % 8);
}

/* ---- decoding ---- */

typedef struct cursor {
    const uint8_t *at, *end;
    bool bad;
} cursor;

static uint64_t take_varint(cursor *c)
{
    uint64_t v = 0;
    const uint8_t *next = c->bad ? NULL : varint_get(c->at, c->end, &v);
    if (!next) {
        c->bad = true;
        return 0;
    }
    c->at = next;
    return v;
}

static firn_slice take_bytes(cursor *c)
{
    uint64_t size = take_varint(c);
    if (c->bad || size > (uint64_t)(c->end - c->at)) {
        c->bad = true;
        return (firn_slice){0};
    }
    firn_slice s = {c->at, (size_t)size};
    c->at += size;
    return s;
}

static int take_table(cursor *c, const table_env *env, unsigned *lvl, table **out)
{
    sst_properties p = {0};
    uint64_t bucket = take_varint(c);
    uint64_t n = take_varint(c);
    uint64_t no = take_varint(c);
    p.file_bytes = take_varint(c);
    p.entries = take_varint(c);
    p.deletes = take_varint(c);
    p.raw_bytes = take_varint(c);
    p.data_bytes = take_varint(c);
    p.blocks = take_varint(c);
    p.seq_min = take_varint(c);
    p.seq_max = take_varint(c);
    p.created_us = take_varint(c);
    p.key_min = take_bytes(c);
    p.key_max = take_bytes(c);
    if (!c->bad && bucket != 0)
        return FIRN_UNSUPPORTED;
    if (c->bad || n >= FIRN_LEVELS || no == 0)
        return FIRN_DAMAGED;
    *lvl = (unsigned)n;
    return table_new(env, no, &p, out);
}

static int drop_table(cursor *c, const version *v, edit *e)
{
    uint64_t bucket = take_varint(c);
    uint64_t n = take_varint(c);
    uint64_t no = take_varint(c);
    if (!c->bad && bucket != 0)
        return FIRN_UNSUPPORTED;
    if (c->bad || n >= FIRN_LEVELS)
        return FIRN_DAMAGED;
    const level *l = &v->levels[n];
    for (size_t i = 0; i < l->count; i++)
        if (l->tables[i]->no == no)
            return edit_drop(e, (unsigned)n, l->tables[i]);
    return FIRN_DAMAGED;
}

/* Applies one record to the state. */
static int apply_payload(firn_slice payload, const table_env *env, manifest_state *s,
                         firn_error *err)
{
    edit e = {0};
    version *next = NULL;
    int rc = FIRN_OK;
    cursor c = {payload.data, payload.data + payload.size, false};
    s->closed_clean = false;
    while (rc == FIRN_OK && c.at < c.end) {
        uint64_t tag = take_varint(&c);
        firn_slice body = take_bytes(&c);
        if (c.bad) {
            rc = FIRN_DAMAGED;
            break;
        }
        cursor b = {body.data, body.data + body.size, false};
        unsigned lvl = 0;
        table *t = NULL;
        switch (tag) {
        case TAG_FLUSHED_SEQ:
            s->flushed_seq = take_varint(&b);
            break;
        case TAG_COVERED_SEGMENT:
            s->covered_no = take_varint(&b);
            break;
        case TAG_NEXT_FILE:
            s->next_file_no = take_varint(&b);
            break;
        case TAG_ADD_TABLE:
            rc = take_table(&b, env, &lvl, &t);
            if (rc == FIRN_OK && (rc = edit_add(&e, lvl, t)) != FIRN_OK)
                table_unref(t);
            break;
        case TAG_DROP_TABLE:
            rc = drop_table(&b, s->version, &e);
            break;
        case TAG_CLOSED:
            s->closed_clean = true;
            s->closed_seq = take_varint(&b);
            break;
        default:
            if (tag < 128)
                rc = FIRN_UNSUPPORTED;
        }
        if (b.bad)
            rc = FIRN_DAMAGED;
    }
    if (rc == FIRN_OK && (e.added_count || e.dropped_count)) {
        rc = version_apply(s->version, &e, &next, err);
        if (rc == FIRN_OK) {
            version_unref(s->version);
            s->version = next;
        }
    }
    for (size_t i = 0; i < e.added_count; i++)
        table_unref(e.added[i].table);
    edit_release(&e);
    return rc;
}

static int damaged(firn_error *err, const char *path, uint64_t offset, const char *message)
{
    error_file(err, FIRN_DAMAGED, path, offset, "%s", message);
    error_hint(err, "restore the store from a backup" HINT_REPAIR);
    return FIRN_DAMAGED;
}

static int check_header(const uint8_t *h, uint64_t no, manifest_state *s, const char *path,
                        firn_error *err)
{
    if (memcmp(h, MAGIC, sizeof MAGIC) != 0 || crc32_update(0, h, 60) != get_u32(h + 60))
        return damaged(err, path, 0, "the manifest's header is damaged");
    if (get_u32(h + 8) != VERSION_1 || get_u32(h + 12) != 0) {
        error_file(err, FIRN_UNSUPPORTED, path, 8,
                   "the manifest has format version %u, features %x", get_u32(h + 8),
                   get_u32(h + 12));
        error_hint(err, "open the store with the newer firn that wrote it");
        return FIRN_UNSUPPORTED;
    }
    if (get_u64(h + 32) != no)
        return damaged(err, path, 32, "the manifest was renamed: its number is another one");
    memcpy(s->store_id, h + 16, 16);
    s->salt = get_u64(h + 48);
    return FIRN_OK;
}

/* The size of the intact record at `offset`, or 0. */
static size_t record_at(const uint8_t *data, const manifest_state *s, uint64_t offset,
                        uint64_t number)
{
    uint64_t size = s->file_bytes;
    if (size - offset < RECORD_BYTES)
        return 0;
    const uint8_t *r = data + offset;
    uint64_t payload = get_u32(r + 4);
    if (payload > size - offset - RECORD_BYTES || get_u64(r + 8) != number)
        return 0;
    size_t bytes = (size_t)(RECORD_BYTES + payload);
    return record_crc(r, bytes, s->salt, offset) == get_u32(r) ? bytes : 0;
}

/* Every record is synced before the next is written: damage with an intact record behind it is
 * loss, not a tear. */
static bool intact_record_behind(const uint8_t *data, const manifest_state *s, uint64_t offset)
{
    uint64_t budget = SEARCH_BYTES;
    for (uint64_t at = offset + 8; at + RECORD_BYTES <= s->file_bytes; at += 8) {
        uint64_t n = get_u64(data + at + 8);
        uint64_t bytes = RECORD_BYTES + (uint64_t)get_u32(data + at + 4);
        if (n <= s->records || n - s->records >= (UINT64_C(1) << 32) || bytes > s->file_bytes - at)
            continue;
        /* No crash leaves so much that looks like records: somebody wants us to be busy for long. */
        if (bytes > budget || record_at(data, s, at, n))
            return true;
        budget -= bytes;
    }
    return false;
}

static int read_records(const uint8_t *data, const table_env *env, manifest_state *s,
                        const char *path, firn_error *err)
{
    uint64_t offset = HEADER_BYTES;
    while (offset < s->file_bytes) {
        size_t bytes = record_at(data, s, offset, s->records);
        if (bytes == 0) {
            if (s->records == 0 || intact_record_behind(data, s, offset)) {
                error_file(err, FIRN_DAMAGED, path, offset,
                           "manifest record %" PRIu64 " is damaged", s->records);
                error_hint(err, "restore the store from a backup" HINT_REPAIR);
                return FIRN_DAMAGED;
            }
            s->torn = true;
            break;
        }
        firn_error inner = {0};
        int rc = apply_payload((firn_slice){data + offset + RECORD_BYTES, bytes - RECORD_BYTES},
                               env, s, &inner);
        if (rc != FIRN_OK) {
            error_file(err, rc, path, offset, "manifest record %" PRIu64 " cannot be applied%s%s",
                       s->records, inner.message[0] ? ": " : "", inner.message);
            error_hint(err, rc == FIRN_UNSUPPORTED
                                ? "open the store with the newer firn that wrote it"
                                : "restore the store from a backup" HINT_REPAIR);
            return rc;
        }
        s->records++;
        s->last = offset;
        offset += (bytes + 7) & ~(size_t)7;
    }
    s->end = offset < s->file_bytes || s->torn ? offset : s->file_bytes;
    if (s->records == 0)
        return damaged(err, path, HEADER_BYTES, "the manifest has no records");
    return FIRN_OK;
}

void manifest_state_release(manifest_state *s)
{
    version_unref(s->version);
    s->version = NULL;
}

int manifest_load(const table_env *env, uint64_t no, manifest_state *out, firn_error *err)
{
    manifest_state s = {.manifest_no = no};
    char name[NAME_BYTES];
    fs_file *file = NULL;
    uint8_t *data = NULL;
    name_manifest(no, false, name);
    int rc = fs_open(env->dir, name, FS_READ, &file, err);
    if (rc == FIRN_OK)
        rc = fs_size(file, &s.file_bytes, err);
    if (rc == FIRN_OK && (s.file_bytes < HEADER_BYTES || s.file_bytes > MANIFEST_MAX)) {
        rc = error_file(err, FIRN_DAMAGED, file->path, FIRN_NO_OFFSET,
                        "the manifest has an impossible size of %" PRIu64 " bytes", s.file_bytes);
        error_hint(err, "restore the store from a backup" HINT_REPAIR);
    }
    if (rc != FIRN_OK)
        goto done;
    data = mem_alloc((size_t)s.file_bytes);
    rc = data ? version_new_empty(&s.version) : FIRN_NO_MEMORY;
    if (rc != FIRN_OK) {
        error_no_memory(err, (size_t)s.file_bytes);
        goto done;
    }
    rc = fs_read(file, data, (size_t)s.file_bytes, 0, err);
    if (rc == FIRN_OK)
        rc = check_header(data, no, &s, file->path, err);
    if (rc == FIRN_OK)
        rc = read_records(data, env, &s, file->path, err);
done:
    mem_free(data);
    fs_close(file);
    if (rc == FIRN_OK)
        *out = s;
    else
        manifest_state_release(&s);
    return rc;
}

/* ---- writing ---- */

static int encode_state(buf *b, const manifest_state *s, uint64_t salt)
{
    static const uint8_t head[RECORD_BYTES];
    size_t start = b->size;
    int rc = buf_append(b, head, sizeof head);
    edit e = {.flushed_seq = s->flushed_seq,
              .covered_no = s->covered_no,
              .next_file_no = s->next_file_no};
    if (rc == FIRN_OK)
        rc = put_edit(b, &e);
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        for (size_t i = 0; rc == FIRN_OK && i < s->version->levels[n].count; i++)
            rc = put_table(b, n, s->version->levels[n].tables[i]);
    return rc == FIRN_OK ? finish_record(b, start, salt, HEADER_BYTES, 0) : rc;
}

static void encode_header(uint8_t h[HEADER_BYTES], uint64_t no, const uint8_t store_id[16],
                          uint64_t salt)
{
    memset(h, 0, HEADER_BYTES);
    memcpy(h, MAGIC, sizeof MAGIC);
    put_u32(h + 8, VERSION_1);
    memcpy(h + 16, store_id, 16);
    put_u64(h + 32, no);
    put_u64(h + 48, salt);
    put_u32(h + 60, crc32_update(0, h, 60));
}

/* A new manifest that may or may not be the one that the next open finds must not stay beside an older one that goes on.
 * A curable error: it is gone. */
static int sync_name(fs_dir *dir, const char *name, firn_error *err)
{
    int rc = fs_dir_sync(dir, err);
    if (error_curable(rc) && fs_unlink(dir, name, NULL) != FIRN_OK) {
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
    uint8_t header[HEADER_BYTES];
    name_manifest(no, true, temporary);
    name_manifest(no, false, name);
    manifest *m = mem_zalloc(sizeof *m);
    if (!m)
        return error_no_memory(err, sizeof *m);
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
        error_no_memory(err, m->scratch.size);
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
        rc = fs_rename(dir, temporary, name, err);
    if (rc == FIRN_OK)
        rc = sync_name(dir, name, err);
    if (rc != FIRN_OK)
        goto fail;
    *out = m;
    return FIRN_OK;
fail:
    manifest_close(m);
    return rc;
}

int manifest_settle(fs_dir *dir, const manifest_state *state, firn_error *err)
{
    char name[NAME_BYTES];
    fs_file *file = NULL;
    size_t bytes = (size_t)(state->end - state->last);
    name_manifest(state->manifest_no, false, name);
    uint8_t *record = mem_alloc(bytes);
    int rc = record ? fs_open(dir, name, FS_WRITE, &file, err) : error_no_memory(err, bytes);
    if (rc == FIRN_OK)
        rc = fs_read(file, record, bytes, state->last, err);
    if (rc == FIRN_OK)
        rc = fs_write(file, record, bytes, state->last, err);
    if (rc == FIRN_OK)
        rc = fs_sync(file, err);
    if (rc == FIRN_OK) /* and so must its name be */
        rc = fs_dir_sync(dir, err);
    fs_close(file);
    mem_free(record);
    return rc;
}

int manifest_continue(fs_dir *dir, const manifest_state *state, manifest **out, firn_error *err)
{
    char name[NAME_BYTES];
    name_manifest(state->manifest_no, false, name);
    manifest *m = mem_zalloc(sizeof *m);
    if (!m)
        return error_no_memory(err, sizeof *m);
    m->dir = dir;
    m->no = state->manifest_no;
    m->salt = state->salt;
    m->end = state->end;
    m->records = state->records;
    int rc = fs_open(dir, name, FS_WRITE, &m->file, err);
    if (rc == FIRN_OK && state->end < state->file_bytes) {
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
    static const uint8_t head[RECORD_BYTES];
    buf_clear(&m->scratch);
    int rc = buf_append(&m->scratch, head, sizeof head);
    if (rc == FIRN_OK)
        rc = put_edit(&m->scratch, e);
    if (rc == FIRN_OK)
        rc = finish_record(&m->scratch, 0, m->salt, m->end, m->records);
    if (rc != FIRN_OK)
        return error_no_memory(err, m->scratch.size);
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
    mem_free(m);
}
