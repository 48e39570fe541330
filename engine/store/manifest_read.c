/* manifest_read: from a manifest's bytes to the state of a store (engine/README.md, "The
 * manifest").
 *
 * The file may be anything of any size. The header is judged before anything else is read; then the
 * file goes through a window, twice for each record: its checksum first, its items once it has
 * passed. No length is believed before it has been compared with what is left. Tables go into a set
 * (version_build.h), so the work grows with the bytes that are read and not with the square of
 * anything.
 *
 * A checksum says that the bytes are a writer's, not that they make sense: every number is compared
 * with what a store can have, and so is the version that comes out. Start reading at manifest_load.
 */
#include <store/manifest.h>

#include <assert.h>
#include <base/search.h>
#include <base/alloc.h>
#include <base/error.h>
#include <base/grow.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <wal/wal.h>

#include <store/folder.h>
#include "manifest_format.h"
#include <tree/names.h>
#include <tree/version_build.h>

#define HINT_BACKUP "restore the store from a backup" HINT_REPAIR
#define HINT_NEWER  "open the store with the newer firn that wrote it"

/* What is in memory of the file at a time. No item is larger: two keys and a dozen numbers. */
#define WINDOW_BYTES ((size_t)256 << 10)
#define ITEM_MAX     ((uint64_t)2 * FIRN_MAX_KEY_BYTES + (20 + 5 * KEPT_MOST) * VARINT_MAX_BYTES)
/* Checksummed at a time. */
#define PIECE_BYTES ((uint64_t)64 << 10)
/* Checksummed at most in search of a record behind damage. */
#define SEARCH_BYTES (UINT64_C(256) << 20)

/* ---- The window ---- */

typedef struct window {
    fs_file *file;
    uint8_t *bytes; /* room for WINDOW_BYTES, or for the whole file if it is smaller */
    uint64_t at;    /* where they lie in the file */
    size_t count;
} window;

static size_t window_bytes(uint64_t left)
{
    return left < WINDOW_BYTES ? (size_t)left : WINDOW_BYTES;
}

static int window_new(fs_file *file, uint64_t file_bytes, window *w, firn_error *err)
{
    *w = (window){.file = file, .bytes = heap_alloc(window_bytes(file_bytes))};
    return w->bytes ? FIRN_OK : error_no_memory(err);
}

/* The bytes [offset, offset + size) of a file of `file_bytes`; they stay until the window moves. */
static int window_at(window *w, uint64_t file_bytes, uint64_t offset, uint64_t size,
                     const uint8_t **out, firn_error *err)
{
    assert(size <= WINDOW_BYTES && offset <= file_bytes && size <= file_bytes - offset);
    if (offset < w->at || offset + size > w->at + w->count) {
        size_t count = window_bytes(file_bytes - offset);
        w->count = 0;
        int rc = fs_read(w->file, w->bytes, count, offset, err);
        if (rc != FIRN_OK)
            return rc;
        w->at = offset;
        w->count = count;
    }
    *out = w->bytes + (offset - w->at);
    return FIRN_OK;
}

/* ---- The reader ---- */

/* A bucket beside the default one, on its way. */
typedef struct bucket_build {
    version_build build;
    bucket_name name;
    bucket_form form;
} bucket_build;

typedef struct reader {
    const table_env *env;
    fs_file *file;
    window window; /* moves along */
    window probe;  /* looks ahead, in search of records behind damage; made when it is wanted */
    version_build build;    /* of the default bucket */
    bucket_build **buckets; /* of the others, by number; NULL: there is none of it */
    size_t bucket_room;
    by_name names;
    uint64_t seed;
    uint64_t where; /* of the record that is being applied */
    manifest_state *s;
    firn_error *err;
} reader;

static int damaged(const reader *r, uint64_t offset, const char *message)
{
    error_file(r->err, FIRN_DAMAGED, r->file->path, offset, "%s", message);
    error_hint(r->err, HINT_BACKUP);
    return FIRN_DAMAGED;
}

static int check_header(const reader *r, const uint8_t *h)
{
    manifest_state *s = r->s;
    if (memcmp(h, MANIFEST_MAGIC, 8) != 0 || crc32_update(0, h, 60) != get_u32(h + 60))
        return damaged(r, 0, "the manifest's header is damaged");
    if (get_u32(h + 8) != MANIFEST_VERSION || get_u32(h + 12) != 0) {
        error_file(r->err, FIRN_UNSUPPORTED, r->file->path, 8,
                   "the manifest has format version %u, features %x", get_u32(h + 8),
                   get_u32(h + 12));
        error_hint(r->err, HINT_NEWER);
        return FIRN_UNSUPPORTED;
    }
    if (get_u64(h + 32) != s->manifest_no)
        return damaged(r, 32, "the manifest was renamed: its number is another one");
    memcpy(s->store_id, h + 16, 16);
    s->salt = get_u64(h + 48);
    return FIRN_OK;
}

/* ---- Items ---- */

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

static cursor cursor_of(firn_slice bytes)
{
    bytes = slice_somewhere(bytes);
    return (cursor){bytes.data, bytes.data + bytes.size, false};
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

static int cut_short(firn_error *err)
{
    return error_set(err, FIRN_DAMAGED, "it ends in the middle of an item");
}

static bucket_build *bucket_of(const reader *r, uint64_t bucket)
{
    return bucket < r->bucket_room ? r->buckets[bucket] : NULL;
}

/* Where the tables of a bucket gather. */
static int build_of(reader *r, uint64_t bucket, version_build **out, firn_error *err)
{
    if (bucket == 0) {
        *out = &r->build;
    } else if (bucket_of(r, bucket)) {
        *out = &r->buckets[bucket]->build;
    } else {
        return error_set(err, FIRN_DAMAGED, "it is about bucket %" PRIu64 ", which does not exist",
                         bucket);
    }
    (*out)->where = r->where;
    return FIRN_OK;
}

/* A bucket, of which there is none of that number or name. FIRN_NO_MEMORY. */
static int begin_bucket(reader *r, uint64_t bucket, firn_slice name)
{
    bucket_build *b = heap_zalloc(sizeof *b);
    int rc = b ? FIRN_OK : FIRN_NO_MEMORY;
    while (rc == FIRN_OK && bucket >= r->bucket_room) {
        size_t before = r->bucket_room;
        rc = array_double(&r->buckets, &r->bucket_room, sizeof(bucket_build *), NULL);
        for (size_t i = before; rc == FIRN_OK && i < r->bucket_room; i++)
            r->buckets[i] = NULL;
    }
    if (rc == FIRN_OK) {
        bucket_name_set(&b->name, name);
        rc = by_name_add(&r->names, &b->name);
    }
    if (rc != FIRN_OK) {
        heap_free(b);
        return rc;
    }
    version_build_init(&b->build, NULL, r->seed);
    b->form = (bucket_form){FIRN_AS_STORE, FIRN_AS_STORE};
    r->buckets[bucket] = b;
    return FIRN_OK;
}

static int create_bucket(reader *r, cursor *c, firn_error *err)
{
    uint64_t bucket = take_varint(c), flags = take_varint(c);
    firn_slice name = take_bytes(c), order = take_bytes(c);
    if (c->bad)
        return cut_short(err);
    if (flags || order.size)
        return error_set(err, FIRN_UNSUPPORTED,
                         "it makes a bucket of a kind that this version has not");
    if (bucket == 0 || bucket >= TREES_MAX || bucket < r->s->bucket_limit || bucket_of(r, bucket))
        return error_set(err, FIRN_DAMAGED, "it gives out the number of bucket %" PRIu64 " again",
                         bucket);
    if (!bucket_name_fits(name) || by_name_find(&r->names, name))
        return error_set(err, FIRN_DAMAGED,
                         "it gives bucket %" PRIu64 " a name that it cannot have", bucket);
    if (begin_bucket(r, bucket, name) != FIRN_OK)
        return error_no_memory(err);
    if (r->s->records > 0) /* the first record says the limit itself, behind all that exist */
        r->s->bucket_limit = (unsigned)bucket + 1;
    return FIRN_OK;
}

static void end_bucket(reader *r, size_t bucket)
{
    bucket_build *b = r->buckets[bucket];
    by_name_remove(&r->names, &b->name);
    version_build_release(&b->build);
    heap_free(b);
    r->buckets[bucket] = NULL;
}

static int drop_bucket(reader *r, cursor *c, firn_error *err)
{
    uint64_t bucket = take_varint(c);
    version_build *ignored;
    if (c->bad)
        return cut_short(err);
    if (bucket == 0)
        return error_set(err, FIRN_DAMAGED, "it drops the default bucket");
    int rc = build_of(r, bucket, &ignored, err);
    if (rc == FIRN_OK)
        end_bucket(r, (size_t)bucket);
    return rc;
}

/* 0 is the store's; else one less. */
static bool take_choice(cursor *c, uint32_t most, uint32_t *out)
{
    uint64_t v = take_varint(c);
    *out = v == 0 ? FIRN_AS_STORE : (uint32_t)(v - 1);
    return v <= most + UINT64_C(1);
}

static int form_bucket(reader *r, cursor *c, firn_error *err)
{
    bucket_form f;
    uint64_t bucket = take_varint(c);
    bool good = take_choice(c, FIRN_COMPRESSION_ZLIB, &f.compression);
    good = take_choice(c, FILTER_BITS_MOST, &f.filter_bits) && good;
    bucket_build *b = bucket_of(r, bucket);
    if (c->bad)
        return cut_short(err);
    if (!b)
        return error_set(err, FIRN_DAMAGED, "it is about bucket %" PRIu64 ", which does not exist",
                         bucket);
    if (!good)
        return error_set(err, FIRN_DAMAGED,
                         "tables of bucket %" PRIu64 " are to be made as none can be", bucket);
    b->form = f;
    return FIRN_OK;
}

static unsigned level_of(uint64_t n)
{
    return n < FIRN_LEVELS ? (unsigned)n : FIRN_LEVELS; /* no level: version_build refuses it */
}

typedef struct kept_list {
    kept_range ranges[KEPT_MOST];
    size_t count;
    bool known;
} kept_list;

/* What stands behind the keys: nothing in manifests of earlier versions of firn. */
static int take_kept(cursor *c, uint64_t entries, kept_list *out, firn_error *err)
{
    *out = (kept_list){0};
    if (c->at == c->end)
        return FIRN_OK;
    cursor k = cursor_of(take_bytes(c));
    k.bad = c->bad;
    if (!k.bad && k.at == k.end && c->at < c->end)
        return FIRN_OK; /* not known, but something else is */
    uint64_t count = take_varint(&k), all = 0;
    if (k.bad)
        return cut_short(err);
    if (count > KEPT_MOST)
        return error_set(err, FIRN_DAMAGED, "a table keeps versions for too many snapshots");
    for (size_t i = 0; i < count; i++) {
        kept_range *r = &out->ranges[i];
        r->from = take_varint(&k);
        uint64_t width = take_varint(&k);
        r->count = take_varint(&k);
        if (k.bad)
            return cut_short(err);
        if (r->from > FIRN_MAX_SEQ || width > FIRN_MAX_SEQ - r->from || r->count > entries - all)
            return error_set(err, FIRN_DAMAGED, "a table keeps versions that it cannot have");
        r->to = r->from + width;
        all += r->count;
    }
    bool joined = k.at < k.end;
    for (size_t i = 0; joined && i < count; i++) {
        kept_range *r = &out->ranges[i];
        r->snapshots = take_varint(&k);
        r->seen = take_varint(&k);
        if (k.bad)
            return cut_short(err);
        if (r->snapshots > r->to - r->from + 1 || (r->snapshots && r->count == 0) ||
            r->seen < r->count)
            return error_set(err, FIRN_DAMAGED,
                             "a table keeps versions for snapshots that cannot be");
    }
    out->count = (size_t)count;
    out->known = true;
    return FIRN_OK;
}

/* Behind them; nothing if the table has no range deletes. */
static int take_ranges(cursor *c, uint64_t deletes, uint64_t *out, firn_error *err)
{
    *out = 0;
    if (c->at == c->end)
        return FIRN_OK;
    cursor n = cursor_of(take_bytes(c));
    n.bad = c->bad;
    *out = take_varint(&n);
    if (n.bad)
        return cut_short(err);
    if (*out > deletes)
        return error_set(err, FIRN_DAMAGED, "a table has more range deletes than deletes");
    return FIRN_OK;
}

static int add_table(reader *r, cursor *c, firn_error *err)
{
    kept_list kept;
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
    if (c->bad)
        return cut_short(err);
    table *t = NULL;
    version_build *build = NULL;
    int rc = build_of(r, bucket, &build, err);
    p.bucket = (uint16_t)bucket;
    if (rc == FIRN_OK)
        rc = take_kept(c, p.entries, &kept, err);
    if (rc == FIRN_OK)
        rc = take_ranges(c, p.deletes, &p.ranges, err);
    if (rc != FIRN_OK)
        return rc;
    if (table_new(r->env, no, &p, &t) != FIRN_OK ||
        (kept.known && table_say_kept(t, kept.ranges, kept.count) != FIRN_OK))
        rc = error_no_memory(err);
    if (rc == FIRN_OK)
        rc = version_build_add(build, level_of(n), t, err);
    table_unref(t);
    return rc;
}

static int drop_table(reader *r, cursor *c, firn_error *err)
{
    uint64_t bucket = take_varint(c);
    uint64_t n = take_varint(c);
    uint64_t no = take_varint(c);
    if (c->bad)
        return cut_short(err);
    version_build *build = NULL;
    int rc = build_of(r, bucket, &build, err);
    return rc == FIRN_OK ? version_build_drop(build, level_of(n), no, err) : rc;
}

/* One number that is at most `most`. */
static int take_number(cursor *c, uint64_t most, const char *what, uint64_t *out, firn_error *err)
{
    uint64_t v = take_varint(c);
    if (c->bad)
        return cut_short(err);
    if (v > most)
        return error_set(err, FIRN_DAMAGED, "no store has %s %" PRIu64, what, v);
    *out = v;
    return FIRN_OK;
}

static int apply_item(reader *r, uint64_t tag, firn_slice body, firn_error *err)
{
    manifest_state *s = r->s;
    cursor c = cursor_of(body);
    switch (tag) {
    case TAG_FLUSHED_SEQ:
        return take_number(&c, FIRN_MAX_SEQ - 1, "the flushed number", &s->flushed_seq, err);
    case TAG_COVERED_SEGMENT:
        return take_number(&c, WAL_SEGMENT_NO_MAX - 1, "the covered segment", &s->covered_no, err);
    case TAG_NEXT_FILE:
        return take_number(&c, FILE_NO_MAX, "the next file number", &s->next_file_no, err);
    case TAG_ADD_TABLE:
        return add_table(r, &c, err);
    case TAG_DROP_TABLE:
        return drop_table(r, &c, err);
    case TAG_CREATE_BUCKET:
        return create_bucket(r, &c, err);
    case TAG_DROP_BUCKET:
        return drop_bucket(r, &c, err);
    case TAG_BUCKET_LIMIT: {
        uint64_t limit = 0;
        int rc = take_number(&c, TREES_MAX, "the bucket limit", &limit, err);
        s->bucket_limit = limit > s->bucket_limit ? (unsigned)limit : s->bucket_limit;
        return rc;
    }
    case TAG_BUCKET_FORM:
        return form_bucket(r, &c, err);
    case TAG_CLOSED:
        s->closed_clean = true;
        return take_number(&c, FIRN_MAX_SEQ, "the last number", &s->closed_seq, err);
    default:
        return tag >= 128 ? FIRN_OK
                          : error_set(err, FIRN_UNSUPPORTED, "it has an item of an unknown kind");
    }
}

/* ---- Records ---- */

/* Applies the items in [at, end), whose checksum has passed. `err` gets what is wrong with the
 * record; what is wrong with the file is in r->err already, and *io is set. */
static int apply_payload(reader *r, uint64_t at, uint64_t end, bool *io, firn_error *err)
{
    int rc = FIRN_OK;
    r->s->closed_clean = false;
    while (rc == FIRN_OK && at < end) {
        const uint8_t *bytes;
        uint64_t room = end - at < ITEM_MAX ? end - at : ITEM_MAX;
        rc = window_at(&r->window, r->s->file_bytes, at, room, &bytes, r->err);
        *io = rc != FIRN_OK;
        if (*io)
            return rc;
        cursor c = {bytes, bytes + room, false};
        uint64_t tag = take_varint(&c);
        uint64_t size = take_varint(&c);
        uint64_t head = (uint64_t)(c.at - bytes);
        if (c.bad || size > end - at - head)
            return cut_short(err);
        bool known = tag < 128 || tag == TAG_CLOSED || tag == TAG_BUCKET_FORM;
        if (known && size > room - head)
            return error_set(err, FIRN_DAMAGED, "it has an item larger than items are");
        if (known)
            rc = apply_item(r, tag, (firn_slice){c.at, (size_t)size}, err);
        at += head + size;
    }
    return rc;
}

/* *bytes: the size of the intact record at `offset`, or 0. */
static int record_at(const reader *r, window *w, uint64_t offset, uint64_t number, uint64_t *bytes)
{
    const manifest_state *s = r->s;
    const uint8_t *p;
    *bytes = 0;
    if (s->file_bytes - offset < MANIFEST_RECORD_BYTES)
        return FIRN_OK;
    int rc = window_at(w, s->file_bytes, offset, MANIFEST_RECORD_BYTES, &p, r->err);
    if (rc != FIRN_OK)
        return rc;
    uint32_t stored = get_u32(p), crc = 0;
    uint64_t payload = get_u32(p + 4);
    if (payload > s->file_bytes - offset - MANIFEST_RECORD_BYTES || get_u64(p + 8) != number)
        return FIRN_OK;
    uint64_t end = offset + MANIFEST_RECORD_BYTES + payload, piece;
    for (uint64_t at = offset + 4; at < end; at += piece) {
        piece = end - at < PIECE_BYTES ? end - at : PIECE_BYTES;
        rc = window_at(w, s->file_bytes, at, piece, &p, r->err);
        if (rc != FIRN_OK)
            return rc;
        crc = crc32_update(crc, p, (size_t)piece);
    }
    if (manifest_record_crc(crc, s->salt, offset) == stored)
        *bytes = end - offset;
    return FIRN_OK;
}

/* Every record is synced before the next is written: damage with an intact record behind it is
 * loss, not a tear. */
static int intact_record_behind(reader *r, uint64_t offset, bool *found)
{
    const manifest_state *s = r->s;
    uint64_t budget = SEARCH_BYTES, intact = 0;
    int rc = window_new(r->file, s->file_bytes, &r->probe, r->err);
    *found = false;
    for (uint64_t at = offset + 8; rc == FIRN_OK && at + MANIFEST_RECORD_BYTES <= s->file_bytes;
         at += 8) {
        const uint8_t *p;
        rc = window_at(&r->window, s->file_bytes, at, MANIFEST_RECORD_BYTES, &p, r->err);
        if (rc != FIRN_OK)
            break;
        uint64_t n = get_u64(p + 8);
        uint64_t bytes = MANIFEST_RECORD_BYTES + (uint64_t)get_u32(p + 4);
        if (n <= s->records || n - s->records >= (UINT64_C(1) << 32) || bytes > s->file_bytes - at)
            continue;
        /* No crash leaves so much that looks like records: the file was made to take long. */
        *found = bytes > budget;
        if (!*found)
            rc = record_at(r, &r->probe, at, n, &intact);
        *found = *found || intact > 0;
        if (*found)
            break;
        budget -= bytes;
    }
    return rc;
}

static int refuse_record(const reader *r, int rc, uint64_t offset, const firn_error *why)
{
    if (rc == FIRN_NO_MEMORY) {
        if (r->err)
            *r->err = *why;
        return rc;
    }
    error_file(r->err, rc, r->file->path, offset,
               "manifest record %" PRIu64 " cannot be applied: %s", r->s->records, why->message);
    error_hint(r->err, rc == FIRN_UNSUPPORTED ? HINT_NEWER : HINT_BACKUP);
    return rc;
}

/* A record that does not pass: a tear, behind which nothing is intact, or damage. */
static int judge_tear(reader *r, uint64_t offset)
{
    bool behind = false;
    int rc = r->s->records == 0 ? FIRN_OK : intact_record_behind(r, offset, &behind);
    if (rc == FIRN_OK && (r->s->records == 0 || behind)) {
        rc = error_file(r->err, FIRN_DAMAGED, r->file->path, offset,
                        "manifest record %" PRIu64 " is damaged", r->s->records);
        error_hint(r->err, HINT_BACKUP);
    }
    r->s->torn = rc == FIRN_OK;
    return rc;
}

static int read_records(reader *r)
{
    manifest_state *s = r->s;
    uint64_t offset = MANIFEST_HEADER_BYTES, bytes;
    while (offset < s->file_bytes && !s->torn) {
        int rc = record_at(r, &r->window, offset, s->records, &bytes);
        if (rc == FIRN_OK && bytes == 0)
            rc = judge_tear(r, offset);
        if (rc != FIRN_OK)
            return rc;
        if (s->torn)
            break;
        firn_error why = {0};
        bool io = false;
        r->where = offset;
        rc = apply_payload(r, offset + MANIFEST_RECORD_BYTES, offset + bytes, &io, &why);
        if (rc != FIRN_OK)
            return io ? rc : refuse_record(r, rc, offset, &why);
        s->records++;
        s->last = offset;
        offset += (bytes + 7) & ~UINT64_C(7);
    }
    /* The next record's place, also when the file ends in the padding of the last one: it is looked
     * for there. */
    s->end = offset;
    if (s->records == 0)
        return damaged(r, MANIFEST_HEADER_BYTES, "the manifest has no records");
    return FIRN_OK;
}

/* ---- The version ---- */

/* E4, and that numbers are given out once. */
static int check_tables(const reader *r, const version *v)
{
    const manifest_state *s = r->s;
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        for (size_t i = 0; i < v->levels[n].count; i++) {
            const table *t = v->levels[n].tables[i];
            const char *flaw = NULL;
            if (t->no >= s->next_file_no)
                flaw = "a number that has not been given out yet";
            else if (t->properties.seq_max > s->flushed_seq)
                flaw = "sequence numbers beyond the flushed one";
            if (!flaw)
                continue;
            error_file(r->err, FIRN_DAMAGED, r->file->path, s->last,
                       "the manifest lists table %" PRIu64 " with %s", t->no, flaw);
            error_hint(r->err, HINT_BACKUP);
            return FIRN_DAMAGED;
        }
    return FIRN_OK;
}

/* T3: each builder sees to its own bucket alone. */
static int check_numbers(const reader *r)
{
    buf all = {0};
    if (r->s->bucket_count == 0)
        return FIRN_OK;
    int rc = manifest_state_numbers(r->s, &all);
    if (rc != FIRN_OK)
        rc = error_no_memory(r->err);
    for (size_t i = 1; rc == FIRN_OK && i < folder_count(&all); i++)
        if (folder_at(&all, i - 1) == folder_at(&all, i)) {
            rc = error_file(r->err, FIRN_DAMAGED, r->file->path, r->s->last,
                            "the manifest lists table %" PRIu64 " in two buckets",
                            folder_at(&all, i));
            error_hint(r->err, HINT_BACKUP);
        }
    buf_release(&all);
    return rc;
}

static int finish_one(reader *r, version_build *b, version **out)
{
    int rc = version_build_finish(b, out, r->err);
    r->s->steps += b->steps;
    if (rc == FIRN_OK)
        return check_tables(r, *out);
    return refuse_version(rc, r->file->path, b->blame, r->err);
}

static int finish(reader *r)
{
    int rc = finish_one(r, &r->build, &r->s->version);
    for (size_t i = 1; rc == FIRN_OK && i < r->bucket_room; i++) {
        bucket_build *b = r->buckets[i];
        version *v = NULL;
        if (!b)
            continue;
        if (i >= r->s->bucket_limit)
            r->s->bucket_limit = (unsigned)i + 1;
        rc = finish_one(r, &b->build, &v);
        if (rc == FIRN_OK) {
            v->bucket = (uint16_t)i;
            rc = manifest_state_add(r->s, (uint16_t)i, slice_of(b->name.bytes, b->name.size),
                                    &b->form, v);
            if (rc != FIRN_OK)
                error_no_memory(r->err);
        }
        version_unref(v);
    }
    return rc == FIRN_OK ? check_numbers(r) : rc;
}

/* ---- All of it ---- */

void manifest_state_release(manifest_state *s)
{
    version_unref(s->version);
    s->version = NULL;
    for (size_t i = 0; i < s->bucket_count; i++)
        version_unref(s->buckets[i].version);
    heap_free(s->buckets);
    s->buckets = NULL;
    s->bucket_count = s->bucket_capacity = 0;
}

int manifest_state_add(manifest_state *s, uint16_t bucket, firn_slice name, const bucket_form *form,
                       version *v)
{
    int rc =
        array_grow(&s->buckets, &s->bucket_capacity, s->bucket_count, sizeof *s->buckets, NULL);
    if (rc != FIRN_OK)
        return rc;
    bucket_state *b = &s->buckets[s->bucket_count++];
    *b = (bucket_state){.bucket = bucket, .form = *form, .version = v};
    bucket_name_set(&b->name, name);
    version_ref(v);
    return FIRN_OK;
}

size_t manifest_state_count(const manifest_state *s)
{
    return s->version ? s->bucket_count + 1 : 0;
}

version *manifest_state_version(const manifest_state *s, size_t i)
{
    return i == 0 ? s->version : s->buckets[i - 1].version;
}

int manifest_state_numbers(const manifest_state *s, buf *out)
{
    buf one = {0};
    int rc = FIRN_OK;
    buf_clear(out);
    for (size_t i = 0; rc == FIRN_OK && i < manifest_state_count(s); i++) {
        rc = version_numbers(manifest_state_version(s, i), &one);
        if (rc == FIRN_OK)
            rc = buf_append(out, one.data, one.size);
    }
    buf_release(&one);
    if (out->size)
        qsort(out->data, out->size / sizeof(uint64_t), sizeof(uint64_t), order_u64);
    return rc;
}

static int open_file(reader *r, const char *name)
{
    fs_entry entry;
    fs_dir *dir = r->env->dir;
    int rc = error_needed(r->err, fs_open(dir, name, FS_READ, &r->file, r->err));
    if (rc != FIRN_OK)
        return not_plain(rc, r->err);
    rc = fs_size(r->file, &r->s->file_bytes, r->err);
    if (rc == FIRN_OK && fs_look(dir, name, &entry, NULL) == FIRN_OK)
        r->s->shared = entry.links > 1;
    return rc;
}

static int read_header(reader *r)
{
    uint8_t header[MANIFEST_HEADER_BYTES];
    uint64_t size = r->s->file_bytes;
    int rc = FIRN_OK;
    if (size >= sizeof header)
        rc = fs_read(r->file, header, sizeof header, 0, r->err);
    if (rc == FIRN_OK && size >= sizeof header)
        rc = check_header(r, header);
    if (rc == FIRN_OK && (size < sizeof header || size > MANIFEST_BYTES_MAX)) {
        rc = error_file(r->err, FIRN_DAMAGED, r->file->path, FIRN_NO_OFFSET,
                        "the manifest has an impossible size of %" PRIu64 " bytes", size);
        error_hint(r->err, HINT_BACKUP);
    }
    return rc;
}

int manifest_load(const table_env *env, uint64_t no, manifest_state *out, firn_error *err)
{
    manifest_state s = {.manifest_no = no};
    reader r = {.env = env, .s = &s, .err = err};
    uint64_t seed = 0;
    char name[NAME_BYTES];
    name_manifest(no, false, name);
    int rc = open_file(&r, name);
    if (rc == FIRN_OK)
        rc = read_header(&r);
    if (rc == FIRN_OK)
        rc = fs_random(env->dir->owner, &seed, sizeof seed, err);
    if (rc == FIRN_OK)
        rc = window_new(r.file, s.file_bytes, &r.window, err);
    r.seed = seed;
    version_build_init(&r.build, NULL, seed);
    if (rc == FIRN_OK)
        rc = read_records(&r);
    if (rc == FIRN_OK)
        rc = finish(&r);
    version_build_release(&r.build);
    for (size_t i = 1; i < r.bucket_room; i++)
        if (r.buckets[i])
            end_bucket(&r, i);
    heap_free(r.buckets);
    by_name_release(&r.names);
    heap_free(r.window.bytes);
    heap_free(r.probe.bytes);
    fs_close(r.file);
    if (rc == FIRN_OK)
        *out = s;
    else
        manifest_state_release(&s);
    return rc;
}
