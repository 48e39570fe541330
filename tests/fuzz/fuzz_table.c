/* fuzz_table: the file of a whole table, right checksums included (sstable/README.md).
 *
 * An input chooses how a table is written, its versions (fuzz_run.h), and what is then changed
 * (fuzz_table_bytes.c). The table is opened, walked, searched, verified and salvaged.
 *
 * What must hold: each call answers, or refuses with a status that fits and a whole error; a walk
 * backward gives what the walk forward gave; of a table that passes sst_verify, every version is found
 * by seek, seek_before and get, through the mapping and through the cache, and salvaged, and its range
 * deletes are those that the reader lists; what was not changed passes; nothing is written, and little memory is held.
 */
#include <string.h>
#include <support/simfs.h>

#include "fuzz_memory.h"
#include "fuzz_table_bytes.h"

#define TABLE_NAME   "000000000003.tbl"
#define TABLE_PATH   "t/000000000003.tbl"
#define CACHE_BYTES  (64 << 10)
#define MEMORY_MORE  (64 << 10) /* small things: handles, buckets of the cache */
#define SALVAGE_MORE (4 << 20)  /* what a search takes, however small the file is */
#define LOADING      24         /* what loading range deletes takes for each byte of their blocks */

typedef struct bench {
    simfs *sim;
    fs_dir *dir;
    sst_cache *cache;
    size_t file_bytes;
    size_t loading_bytes; /* an opening may take so much more while it lasts */
    bool whole;           /* the table says of no bytes that they may be anything */
    bool as_written;
    fuzz_input numbers;
} bench;

/* ---- Errors ---- */

static bool refused(int rc, const firn_error *err)
{
    FUZZ_CHECK(rc == FIRN_OK || rc == FIRN_DAMAGED || rc == FIRN_UNSUPPORTED);
    if (rc == FIRN_OK)
        return false;
    FUZZ_CHECK(err->status == rc && err->file[0] && err->message[0] && err->hint[0]);
    return true;
}

/* ---- Walking ---- */

/* Everything that the iterator shows, forward; whether it got to the end. */
static bool walk_forward(const bench *b, iter *it, fuzz_run *out)
{
    (void)b;
    for (it->ops->first(it); it->valid; it->ops->next(it)) {
        FUZZ_CHECK(it->status == FIRN_OK);
        fuzz_run_add(out, it->key, it->seq, it->kind, it->value);
    }
    return !refused(it->status, it->error);
}

static bool shows(const iter *it, const fuzz_run *r, size_t i)
{
    return it->valid && it->status == FIRN_OK && it->kind == fuzz_run_at(r, i)->kind &&
           fuzz_run_compare(r, i, it->key, it->seq) == 0 &&
           slice_equal(it->value, fuzz_run_value(r, i));
}

static void walk_backward(iter *it, const fuzz_run *r, bool whole)
{
    size_t left = fuzz_run_count(r);
    for (it->ops->last(it); it->valid; it->ops->prev(it)) {
        FUZZ_CHECK(!whole || (left > 0 && shows(it, r, left - 1)));
        left -= left > 0;
    }
    bool to_the_end = !refused(it->status, it->error);
    FUZZ_CHECK(to_the_end == whole && (!whole || left == 0));
}

/* ---- Searching ---- */

/* i: the element that must be shown; the count, or SIZE_MAX: none. */
static void must_show(const iter *it, const fuzz_run *r, size_t i)
{
    if (i < fuzz_run_count(r))
        FUZZ_CHECK(shows(it, r, i));
    else
        FUZZ_CHECK(!it->valid && it->status == FIRN_OK);
}

static void search(iter *it, const fuzz_run *r, bool right, firn_slice key, uint64_t seq)
{
    size_t at = right ? fuzz_run_seek(r, key, seq) : 0;
    it->ops->seek(it, key, seq);
    if (right)
        must_show(it, r, at);
    else
        (void)refused(it->status, it->error);
    it->ops->seek_before(it, key, seq);
    if (right)
        must_show(it, r, at - 1);
    else
        (void)refused(it->status, it->error);
}

static void get(sst_reader *reader, const fuzz_run *r, bool right, firn_slice key, uint64_t seq)
{
    sst_hit hit;
    firn_error err = {0};
    sst_prefetch(reader, sst_key_hash(key));
    int rc = sst_get(reader, key, sst_key_hash(key), seq, &hit, &err);
    if (rc == FIRN_OK)
        FUZZ_CHECK(hit.seq <= seq && (hit.kind != FIRN_DELETE || hit.value.size == 0));
    if (right) {
        size_t at = fuzz_run_seek(r, key, seq);
        bool there = at < fuzz_run_count(r) && slice_equal(fuzz_run_key(r, at), key);
        FUZZ_CHECK(rc == (there ? FIRN_OK : FIRN_NOT_FOUND));
        FUZZ_CHECK(!there || (fuzz_run_compare(r, at, key, hit.seq) == 0 &&
                              hit.kind == fuzz_run_at(r, at)->kind &&
                              slice_equal(hit.value, fuzz_run_value(r, at))));
    }
    if (rc == FIRN_OK)
        sst_pin_release(&hit.pin);
    else if (rc != FIRN_NOT_FOUND)
        (void)refused(rc, &err);
}

/* `right`: the table keeps its promises, and r is what it holds. */
static void search_all(const bench *b, sst_reader *reader, iter *it, const fuzz_run *r, bool right)
{
    static uint8_t room[FIRN_MAX_KEY_BYTES + 1];
    fuzz_input numbers = b->numbers;
    size_t n = fuzz_run_count(r);
    for (size_t i = 0; i < n && i < 128; i++) {
        firn_slice key = fuzz_run_key(r, i);
        uint64_t seq = fuzz_run_at(r, i)->seq;
        search(it, r, right, key, seq);
        search(it, r, right, key, seq - 1);
        get(reader, r, right, key, seq);
        get(reader, r, right, key, seq - 1);
        get(reader, r, right, key, FIRN_MAX_SEQ);
    }
    for (int i = 0; i < 8; i++) {
        firn_slice key = fuzz_run_near(r, &numbers, room);
        uint64_t seq = fuzz_number(&numbers);
        search(it, r, right, key, seq);
        get(reader, r, right, key, seq);
        uint64_t offset = UINT64_MAX;
        FUZZ_CHECK(sst_approximate_offset(reader, key, &offset, NULL) == FIRN_OK);
        FUZZ_CHECK(offset <= b->file_bytes);
    }
}

/* ---- Range deletes ---- */

/* Whatever a table says, what its reader lists keeps what sstable.h promises. */
static void check_listed(const sst_reader *reader)
{
    const sst_properties *p = sst_reader_properties(reader);
    size_t count;
    const sst_range *l = sst_reader_ranges(reader, &count);
    FUZZ_CHECK(count == p->ranges);
    for (size_t i = 0; i < count; i++) {
        FUZZ_CHECK(slice_compare(l[i].first, l[i].end) < 0);
        FUZZ_CHECK(slice_compare(p->key_min, l[i].first) <= 0);
        FUZZ_CHECK(slice_compare(range_last(l[i].end), p->key_max) <= 0);
        FUZZ_CHECK(l[i].seq > 0 && l[i].seq <= FIRN_MAX_SEQ);
        if (i > 0 && slice_compare(l[i - 1].end, l[i].first) > 0)
            FUZZ_CHECK(slice_equal(l[i - 1].first, l[i].first) &&
                       slice_equal(l[i - 1].end, l[i].end) && l[i - 1].seq > l[i].seq);
    }
}

/* They are those of the run, up to the table's last key, which some version reaches. */
static void check_ranges(const sst_reader *reader, const fuzz_run *r)
{
    const sst_properties *p = sst_reader_properties(reader);
    size_t count, next = 0, n = fuzz_run_count(r);
    const sst_range *l = sst_reader_ranges(reader, &count);
    bool reached = n == 0 || slice_equal(fuzz_run_key(r, n - 1), p->key_max);
    for (size_t i = 0; i < n; i++) {
        if (fuzz_run_at(r, i)->kind != FIRN_DELETE_RANGE)
            continue;
        FUZZ_CHECK(next < count && l[next].seq == fuzz_run_at(r, i)->seq);
        FUZZ_CHECK(slice_equal(l[next].first, fuzz_run_key(r, i)));
        firn_slice end = fuzz_run_value(r, i);
        bool inside = slice_compare(range_last(end), p->key_max) <= 0;
        FUZZ_CHECK(
            slice_equal(inside ? end : p->key_max, inside ? l[next].end : range_last(l[next].end)));
        reached = reached || slice_equal(range_last(end), p->key_max);
        next++;
    }
    FUZZ_CHECK(next == count && reached);
}

/* ---- A table that opened ---- */

static void check_reader(const bench *b, sst_reader *reader, sst_use use, fuzz_run *first)
{
    iter *it;
    firn_error err = {0}, why = {0};
    fuzz_run r = {0};
    check_listed(reader);
    bool right = !refused(sst_verify(reader, &err), &err);
    FUZZ_CHECK(right || !b->as_written);
    FUZZ_CHECK(sst_iter_new(reader, use, &it) == FIRN_OK);
    it->error = &why;
    bool whole = walk_forward(b, it, &r);
    FUZZ_CHECK(whole || !right);
    FUZZ_CHECK(!right || (fuzz_run_ascends(&r) &&
                          fuzz_run_count(&r) == sst_reader_properties(reader)->entries));
    if (right)
        check_ranges(reader, &r);
    walk_backward(it, &r, whole);
    search_all(b, reader, it, &r, right);
    it->ops->close(it);
    if (right && first)
        *first = r;
    else
        fuzz_run_release(&r);
}

/* What the list of range deletes takes: those that have the same bounds, these once. */
static size_t listed_bytes(const sst_reader *reader)
{
    size_t count;
    const sst_range *l = sst_reader_ranges(reader, &count);
    size_t bytes = count * sizeof *l;
    for (size_t i = 0; i < count; i++)
        if (i == 0 || l[i].first.data != l[i - 1].first.data)
            bytes += l[i].first.size + l[i].end.size;
    return bytes;
}

/* Opens in one of the ways. What a table that passed holds goes to *r, if that is not NULL. */
static bool check_open(const bench *b, bool mapped, sst_use use, fuzz_run *r)
{
    sst_reader *reader = NULL;
    firn_error err = {0};
    const sst_reader_options o = {
        .cache = b->cache, .mapped = mapped, .store_id = {1, 2}, .table_no = 3};
    fuzz_memory_more(b->loading_bytes);
    int rc = sst_reader_open(b->dir, TABLE_NAME, &o, &reader, &err);
    fuzz_memory_less(b->loading_bytes);
    if (refused(rc, &err)) {
        FUZZ_CHECK(!reader && !b->as_written);
        return false;
    }
    FUZZ_CHECK(sst_reader_properties(reader)->file_bytes == b->file_bytes);
    size_t listed = listed_bytes(reader);
    fuzz_memory_more(listed);
    check_reader(b, reader, use, r);
    fuzz_memory_less(listed);
    sst_reader_close(reader);
    return true;
}

/* ---- Salvage ---- */

typedef struct salvaged {
    const bench *b;
    fuzz_run run;
    uint64_t gaps, at;
} salvaged;

static int on_entry(void *ctx, firn_slice key, uint64_t seq, uint8_t kind, firn_slice value)
{
    salvaged *s = ctx;
    FUZZ_CHECK(seq > 0 && seq <= FIRN_MAX_SEQ && key.size <= FIRN_MAX_KEY_BYTES);
    FUZZ_CHECK(kind == FIRN_PUT || (kind == FIRN_DELETE && value.size == 0) ||
               (kind == FIRN_DELETE_RANGE && value.size > 0));
    fuzz_run_add(&s->run, key, seq, kind, value);
    return FIRN_OK;
}

static int on_gap(void *ctx, uint64_t offset, uint64_t bytes, firn_slice after, firn_slice before)
{
    salvaged *s = ctx;
    (void)after;
    (void)before;
    FUZZ_CHECK(offset >= s->at && offset <= s->b->file_bytes);
    FUZZ_CHECK(bytes <= s->b->file_bytes - offset);
    s->at = offset + bytes;
    s->gaps++;
    return FIRN_OK;
}

/* `r`: what the table holds, if that is known. */
static void check_salvage(const bench *b, const fuzz_run *r)
{
    const uint64_t store_id[2] = {1, 2};
    salvaged s = {.b = b};
    firn_error err = {0};
    uint64_t id[2], no;
    sst_salvage_sink sink = {&s, on_entry, on_gap};
    FUZZ_CHECK(sst_salvage(b->dir, TABLE_NAME, store_id, 3, &sink, &err) == FIRN_OK);
    (void)refused(sst_identify(b->dir, TABLE_NAME, id, &no, &err), &err);
    if (r && b->whole) {
        size_t n = fuzz_run_count(r);
        FUZZ_CHECK(s.gaps == 0 && fuzz_run_count(&s.run) == n);
        for (size_t i = 0; i < n; i++)
            FUZZ_CHECK(fuzz_run_compare(&s.run, i, fuzz_run_key(r, i), fuzz_run_at(r, i)->seq) ==
                           0 &&
                       slice_equal(fuzz_run_value(&s.run, i), fuzz_run_value(r, i)));
    }
    fuzz_run_release(&s.run);
}

/* ---- The target ---- */

static void check_file(bench *b, const fuzz_table *t, firn_slice file)
{
    b->sim = simfs_new(1);
    b->file_bytes = file.size;
    b->whole = file.size >= SST_FOOTER_BYTES &&
               get_u32(file.data + file.size - SST_FOOTER_BYTES + 84) == 0;
    simfs_write_file(b->sim, TABLE_PATH, file.data, file.size);
    FUZZ_CHECK(fs_dir_open(simfs_fs(b->sim), "t", &b->dir, NULL) == FIRN_OK);
    b->loading_bytes = LOADING * (size_t)t->unpacked_all;
    size_t memory = 2 * (CACHE_BYTES + file.size + (size_t)t->unpacked_max);
    fuzz_memory_limit(memory + MEMORY_MORE);
    FUZZ_CHECK(sst_cache_new(CACHE_BYTES, &b->cache) == FIRN_OK);
    fuzz_run r = {0};
    bool opens = check_open(b, true, SST_FILL, &r);
    FUZZ_CHECK(check_open(b, true, SST_PASS, NULL) == opens);
    FUZZ_CHECK(check_open(b, false, SST_FILL, NULL) == opens);
    FUZZ_CHECK(check_open(b, false, SST_PASS, NULL) == opens);
    FUZZ_CHECK(check_open(b, false, SST_WORK, NULL) == opens);
    sst_cache_free(b->cache);
    fuzz_memory_all_back();
    fuzz_memory_limit(memory + SALVAGE_MORE);
    check_salvage(b, fuzz_run_count(&r) > 0 ? &r : NULL);
    fuzz_memory_all_back();
    fuzz_run_release(&r);
    fs_dir_close(b->dir);
    FUZZ_CHECK(simfs_open_count(b->sim) == 0 && simfs_calls(b->sim, SIMFS_CHANGING) == 0);
    simfs_free(b->sim);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static fuzz_table t;
    fuzz_input in = {.data = data, .size = size};
    uint8_t choice = fuzz_u8(&in);
    const fuzz_shape shape = {
        .block_bytes = SST_BLOCK_TARGET_MIN << (choice & 7),
        .filter_bits = choice & 8 ? 0 : 10,
        .compression = (sst_compression)((choice >> 4) % 3),
        .cut = choice & 128,
    };
    fuzz_run r = {0};
    fuzz_buf file = {0};
    bench b = {.numbers = in};
    fuzz_run_read(&r, &in);
    fuzz_table_make(&t, &r, &shape);
    b.as_written = !fuzz_more(&in);
    fuzz_table_change(&t, &in);
    fuzz_table_join(&t, &file);
    check_file(&b, &t, fuzz_slice(&file));
    fuzz_buf_release(&file);
    fuzz_table_release(&t);
    fuzz_run_release(&r);
    return 0;
}
