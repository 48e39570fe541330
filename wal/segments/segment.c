/* segment: one segment file and its bytes in memory (<segments/segment.h>).
 *
 * A segment comes from wal_segment_new (made by this log) or wal_segment_open (found in the
 * folder), and both give the caller one reference. What is found in the folder may be anything: its
 * header counts only when its checksum is right, and nothing beyond the end of the file is ever
 * promised by base_bytes.
 *
 * A mapping is brought in before it is read: a bad sector is an error that names the file
 * here, and would be a SIGBUS later.
 */
#include <segments/segment.h>

#include <assert.h>
#include <base/alloc.h>
#include <base/error.h>
#include <segments/cursor.h>
#include <segments/recycler.h>
#include <string.h>

/* What is read at a time to prove that a mapping can be read. */
#define PROBE_BYTES ((size_t)256 << 10)

static void add_one(atomic_uint *count)
{
    /* Relaxed: the caller has a reference already, so the segment cannot go meanwhile. */
    unsigned before = atomic_fetch_add_explicit(count, 1, memory_order_relaxed);
    assert(before > 0);
    (void)before;
}

void wal_segment_ref(wal_segment *s)
{
    add_one(&s->files);
}

void wal_segment_hold(wal_segment *s)
{
    add_one(&s->refs);
}

void wal_segment_unref(wal_segment *s)
{
    /* Release and acquire as below: no thread uses the file any more. */
    if (!s || atomic_fetch_sub_explicit(&s->files, 1, memory_order_acq_rel) != 1)
        return;
    if (!s->recycler)
        fs_rest(s->file);
    else
        wal_recycler_let_rest(s->recycler, s);
    wal_segment_drop(s);
}

void wal_segment_drop(wal_segment *s)
{
    if (!s)
        return;
    /* Release: our reads are over. Acquire in the last one: so are those of all other threads. */
    unsigned before = atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel);
    assert(before > 0);
    if (before != 1)
        return;
    wal_recycler *recycler = s->recycler;
    if (!recycler || !wal_recycler_take(recycler, s))
        wal_segment_free(s);
    wal_recycler_unref(recycler);
}

const uint8_t *wal_segment_base(const wal_segment *s)
{
    return s->base;
}

uint64_t wal_segment_bytes(const wal_segment *s)
{
    return s->base_bytes;
}

uint64_t wal_segment_no(const wal_segment *s)
{
    return s->no;
}

uint64_t wal_segment_seq_first(const wal_segment *s)
{
    return s->seq_first;
}

bool wal_has_magic(fs_dir *dir, const char *name)
{
    uint8_t first[WAL_MAGIC_BYTES];
    fs_file *file = NULL;
    bool has = fs_open(dir, name, FS_READ, &file, NULL) == FIRN_OK &&
               fs_read(file, first, sizeof first, 0, NULL) == FIRN_OK && wal_magic_is(first);
    fs_close(file);
    return has;
}

uint64_t wal_segment_seq_last(const wal_segment *s)
{
    return s->seq_last;
}

uint64_t wal_segment_used(const wal_segment *s)
{
    return atomic_load_explicit(&s->visible_end, memory_order_acquire);
}

/* A segment's bytes in memory: a mapping, or a private buffer. */
typedef struct held_bytes {
    uint8_t *base;
    uint64_t size;
    bool mapped;
} held_bytes;

static void bytes_free(fs_file *file, const held_bytes *held)
{
    if (held->base && held->mapped)
        fs_unmap(file, held->base, (size_t)held->size);
    else if (held->base)
        pages_free(held->base, (size_t)held->size);
}

static held_bytes bytes_of(const wal_segment *s)
{
    return (held_bytes){s->base, s->base_bytes, s->mapped};
}

static void bytes_take(wal_segment *s, const held_bytes *held)
{
    s->base = held->base;
    s->base_bytes = held->size;
    s->mapped = held->mapped;
}

void wal_segment_free(wal_segment *s)
{
    held_bytes held = bytes_of(s);
    bytes_free(s->file, &held);
    fs_close(s->file);
    heap_free(s);
}

static wal_segment *segment_alloc(uint64_t no, bool writable, firn_error *err)
{
    wal_segment *s = heap_zalloc(sizeof *s);
    if (!s) {
        error_no_memory(err);
        return NULL;
    }
    atomic_init(&s->refs, 1);
    atomic_init(&s->files, 1);
    s->no = no;
    s->writable = writable;
    wal_name_format(no, s->name);
    s->seq_first = 1;
    s->end = WAL_DATA_OFFSET;
    atomic_init(&s->visible_end, WAL_DATA_OFFSET);
    atomic_init(&s->populated, 0);
    return s;
}

/* ---- A new one ---- */

int wal_segment_new(fs_file *file, const wal_header *header, bool mapped, wal_segment **out,
                    firn_error *err)
{
    wal_segment *s = segment_alloc(header->segment_no, true, err);
    if (!s)
        return FIRN_NO_MEMORY;
    s->bytes = header->segment_bytes;
    s->salt = header->salt;
    s->chain = header->salt;
    s->mapped = mapped;
    int rc = FIRN_OK;
    if (mapped) {
        void *address;
        rc = fs_map(file, (size_t)s->bytes, true, &address, err);
        if (rc == FIRN_OK)
            s->base = address;
    } else {
        s->base = pages_alloc((size_t)s->bytes);
        if (!s->base)
            rc = error_no_memory(err);
    }
    if (rc != FIRN_OK) {
        heap_free(s);
        return rc;
    }
    s->base_bytes = s->bytes;
    s->file = file;
    s->ours = true;
    *out = s;
    return FIRN_OK;
}

/* ---- One that is there ---- */

/* Judges the header copy at `offset`. FIRN_DAMAGED also when the file ends before it. */
static int read_header_copy(fs_file *file, uint64_t file_bytes, uint64_t offset, wal_header *out,
                            firn_error *err)
{
    uint8_t bytes[WAL_HEADER_BYTES];
    if (file_bytes < offset + sizeof bytes)
        return FIRN_DAMAGED;
    int rc = fs_read(file, bytes, sizeof bytes, offset, err);
    if (rc != FIRN_OK)
        return rc;
    rc = wal_header_decode(bytes, out);
    if (rc == FIRN_UNSUPPORTED) {
        error_file(err, rc, file->path, offset,
                   "the segment needs a format version or feature that this version does not have");
        error_hint(err, "open it with the version of firn that wrote it, or a later one");
    }
    return rc;
}

static bool same_header(const wal_header *a, const wal_header *b)
{
    uint8_t x[WAL_HEADER_BYTES], y[WAL_HEADER_BYTES];
    wal_header_encode(a, x);
    wal_header_encode(b, y);
    return memcmp(x, y, sizeof x) == 0;
}

/* Reads both copies. *out is the first intact one; *copies_ok is their number: a second one that
 * says something else is as good as damaged. */
static int read_header(fs_file *file, uint64_t file_bytes, wal_header *out, int *copies_ok,
                       firn_error *err)
{
    static const uint64_t offsets[] = {0, WAL_HEADER_COPY_OFFSET};
    *copies_ok = 0;
    for (size_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++) {
        wal_header header;
        int rc = read_header_copy(file, file_bytes, offsets[i], &header, err);
        if (rc != FIRN_OK && rc != FIRN_DAMAGED)
            return rc;
        if (rc == FIRN_OK && *copies_ok == 0)
            *out = header;
        if (rc == FIRN_OK && same_header(&header, out))
            (*copies_ok)++;
    }
    return FIRN_OK;
}

static size_t probe_bytes(uint64_t left)
{
    return left < PROBE_BYTES ? (size_t)left : PROBE_BYTES;
}

/* Reads everything once through the file, where pages of a mapping cannot be brought in otherwise.
 */
static int probe(fs_file *file, uint64_t size, firn_error *err)
{
    uint8_t *scratch = heap_alloc(probe_bytes(size));
    if (!scratch)
        return error_no_memory(err);
    int rc = FIRN_OK;
    for (uint64_t at = 0; at < size && rc == FIRN_OK; at += PROBE_BYTES)
        rc = fs_read(file, scratch, probe_bytes(size - at), at, err);
    heap_free(scratch);
    return rc;
}

/* Where the zeros begin that reach to the end of the file, to a page. Reads them, from the end on,
 * without keeping them. */
static int find_used_end(fs_file *file, uint64_t size, uint64_t *out, firn_error *err)
{
    uint8_t *scratch = heap_alloc(probe_bytes(size));
    if (!scratch)
        return error_no_memory(err);
    int rc = FIRN_OK;
    uint64_t end = size;
    while (end > 0 && rc == FIRN_OK) {
        size_t piece = probe_bytes(end);
        rc = fs_read(file, scratch, piece, end - piece, err);
        uint64_t used = rc == FIRN_OK ? wal_used_end(scratch, 0, piece) : 0;
        end -= piece;
        if (used > 0) {
            end += used;
            break;
        }
    }
    heap_free(scratch);
    end = (end + WAL_PAGE_BYTES - 1) & ~(uint64_t)(WAL_PAGE_BYTES - 1);
    *out = end < size ? end : size;
    return rc;
}

/* `size` bytes of the segment's file in memory, of which the first `used` are brought in now; what
 * lies behind them is zero: it has been read a moment ago, or was allocated and never written, so
 * that reading it cannot fail for a bad sector. What the segment holds so far is left alone. *out
 * is empty after a failure. */
static int bytes_load(const wal_segment *s, uint64_t size, uint64_t used, held_bytes *out,
                      firn_error *err)
{
    assert(used <= size);
    bool mapped = out->mapped;
    int rc = FIRN_OK;
    void *address;
    *out = (held_bytes){.mapped = mapped};
    if (size == 0)
        return FIRN_OK;
    if (mapped) {
        rc = fs_map(s->file, (size_t)size, s->writable, &address, err);
        if (rc != FIRN_OK)
            return rc;
        firn_error unsupported;
        rc = used == 0 ? FIRN_OK : fs_populate(s->file, address, (size_t)used, false, &unsupported);
        if (rc == FIRN_UNSUPPORTED)
            rc = probe(s->file, used, err);
        else if (rc != FIRN_OK && err)
            *err = unsupported;
    } else {
        address = pages_alloc((size_t)size);
        if (!address)
            return error_no_memory(err);
        rc = fs_read(s->file, address, (size_t)used, 0, err);
    }
    held_bytes loaded = {address, size, mapped};
    if (rc == FIRN_OK)
        *out = loaded;
    else
        bytes_free(s->file, &loaded);
    return rc;
}

int wal_segment_open(fs_dir *dir, uint64_t no, bool writable, bool mapped, wal_segment **out,
                     wal_header *header, int *copies_ok, uint64_t *file_bytes, firn_error *err)
{
    wal_segment *s = segment_alloc(no, writable, err);
    if (!s)
        return FIRN_NO_MEMORY;
    fs_entry entry = {.links = 1};
    int rc = fs_open(dir, s->name, writable ? FS_WRITE | FS_ANY_LINKS : FS_READ, &s->file, err);
    if (rc == FIRN_OK && writable)
        rc = fs_look(dir, s->name, &entry, err);
    s->shared = entry.links > 1;
    if (rc == FIRN_OK)
        rc = fs_size(s->file, file_bytes, err);
    if (rc == FIRN_OK)
        rc = read_header(s->file, *file_bytes, header, copies_ok, err);
    if (rc != FIRN_OK)
        goto fail;

    *out = s;
    if (*copies_ok > 0) {
        uint64_t size = header->segment_bytes < *file_bytes ? header->segment_bytes : *file_bytes;
        held_bytes held = {.mapped = mapped};
        rc = find_used_end(s->file, size, &s->used_end, err);
        if (rc == FIRN_OK)
            rc = bytes_load(s, size, s->used_end, &held, err);
        if (rc != FIRN_OK)
            goto fail;
        bytes_take(s, &held);
        s->bytes = header->segment_bytes;
        s->salt = s->chain = header->salt;
        return FIRN_OK;
    }
    /* Without its salt no frame can pass, so there is nothing to read, however long the file is. */
    rc = error_file(err, FIRN_DAMAGED, s->file->path, 0,
                    "both copies of the segment's header are damaged");
    error_hint(err, "restore the file from a backup, or open with recovery prefix or salvage after "
                    "copying the folder");
    return rc;

fail:
    *out = NULL;
    wal_segment_free(s);
    return rc;
}

int wal_segment_regrow(wal_segment *s, bool mapped, bool *grown, firn_error *err)
{
    assert(s->writable && atomic_load(&s->refs) == 1);
    *grown = false;
    int rc = fs_allocate(s->file, s->bytes, err);
    if (rc == FIRN_NO_SPACE) {
        (void)fs_truncate(s->file, s->base_bytes, NULL); /* what it got is wanted elsewhere */
        error_clear(err);
        return FIRN_OK;
    }
    if (rc == FIRN_OK)
        rc = fs_sync(s->file, err);
    /* The new bytes first: whatever fails here, the segment can still be read. */
    held_bytes held = bytes_of(s), wanted = {.mapped = mapped};
    if (rc == FIRN_OK)
        rc = bytes_load(s, s->bytes, s->base_bytes, &wanted, err);
    if (rc != FIRN_OK)
        return rc;
    bytes_take(s, &wanted);
    bytes_free(s->file, &held);
    atomic_store_explicit(&s->populated, 0, memory_order_relaxed);
    *grown = true;
    return FIRN_OK;
}

int wal_segment_move(wal_segment *s, fs_file *file, uint64_t size, uint64_t used, bool mapped,
                     firn_error *err)
{
    assert(s->writable && atomic_load(&s->refs) == 1);
    if (!mapped && !s->mapped && s->base_bytes == size) {
        /* The buffer has it all, and perhaps what was left behind the end. */
        if (s->end < size)
            memset(s->base + s->end, 0, (size_t)(wal_segment_used_end(s, s->end, size) - s->end));
        fs_close(s->file);
    } else {
        const wal_segment moved = {.file = file, .writable = true};
        held_bytes held = bytes_of(s), wanted = {.mapped = mapped};
        int rc = bytes_load(&moved, size, used, &wanted, err);
        if (rc != FIRN_OK) {
            fs_close(file);
            return rc;
        }
        bytes_free(s->file, &held);
        fs_close(s->file);
        bytes_take(s, &wanted);
    }
    s->file = file;
    s->ours = true;
    s->shared = false;
    atomic_store_explicit(&s->populated, 0, memory_order_relaxed);
    return FIRN_OK;
}
