/* Manifests that no firn has written: many records, many tables, numbers that make no sense under checksums that are right,
 * and files of any size. What they cost is counted in steps, not in time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <base/alloc.h>
#include <base/buf.h>
#include <base/error.h>
#include <base/hash.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wal/wal.h>

#include "bed.h"
#include <store/manifest.h>
#include "manifest_format.h"
#include <tree/names.h>
#include "support/counted_fs.h"
#include "support/tempdir.h"
#include <tree/version_build.h>

#define FOLDER          "/store"
#define SALT            UINT64_C(0x5a17)
#define NO              3 /* of the manifest */
#define END(w, payload) (buf_release(payload), world_free(w))

/* ---- Bytes ---- */

static void add_number(buf *b, uint64_t v)
{
    uint8_t bytes[VARINT_MAX_BYTES];
    assert_int_equal(buf_append(b, bytes, (size_t)(varint_put(bytes, v) - bytes)), FIRN_OK);
}

static void add_key(buf *b, const char *key)
{
    add_number(b, strlen(key));
    assert_int_equal(buf_append(b, key, strlen(key)), FIRN_OK);
}

static void add_item(buf *b, uint64_t tag, const buf *body)
{
    add_number(b, tag);
    add_number(b, body->size);
    assert_int_equal(buf_append(b, body->data, body->size), FIRN_OK);
}

static void add_single(buf *b, uint64_t tag, uint64_t v)
{
    buf body = {0};
    add_number(&body, v);
    add_item(b, tag, &body);
    buf_release(&body);
}

/* What an item of a table says. */
typedef struct said {
    uint64_t bucket, level, no, file_bytes, entries, deletes, raw_bytes, data_bytes, blocks,
        seq_min, seq_max;
    const char *key_min, *key_max;
    const uint64_t *kept; /* what stands behind the keys; NULL: nothing */
    size_t kept_count;
    uint64_t ranges; /* 0: not said */
} said;

static said table_said(uint64_t lvl, uint64_t no)
{
    static char keys[64][2][24];
    static unsigned next;
    char(*k)[24] = keys[next++ % 64];
    snprintf(k[0], sizeof k[0], "%012llu", (unsigned long long)no);
    snprintf(k[1], sizeof k[1], "%012llu~", (unsigned long long)no);
    return (said){0, lvl, no, 5000, 10, 1, 4000, 4500, 2, no, no, k[0], k[1], NULL, 0, 0};
}

static void add_table(buf *b, said t)
{
    buf body = {0};
    const uint64_t numbers[] = {t.bucket,  t.level,   t.no,        t.file_bytes,
                                t.entries, t.deletes, t.raw_bytes, t.data_bytes,
                                t.blocks,  t.seq_min, t.seq_max,   1 /* created */};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        add_number(&body, numbers[i]);
    add_key(&body, t.key_min);
    add_key(&body, t.key_max);
    buf kept = {0};
    for (size_t i = 0; i < t.kept_count; i++)
        add_number(&kept, t.kept[i]);
    if (t.kept || t.ranges) {
        add_number(&body, kept.size);
        assert_int_equal(buf_append(&body, kept.data, kept.size), FIRN_OK);
    }
    if (t.ranges) {
        add_number(&body, 1); /* byte */
        add_number(&body, t.ranges);
    }
    add_item(b, TAG_ADD_TABLE, &body);
    buf_release(&kept);
    buf_release(&body);
}

static void add_form(buf *b, uint64_t bucket, uint64_t compression, uint64_t filter_bits)
{
    buf body = {0};
    add_number(&body, bucket);
    add_number(&body, compression);
    add_number(&body, filter_bits);
    add_item(b, TAG_BUCKET_FORM, &body);
    buf_release(&body);
}

static void add_drop(buf *b, uint64_t lvl, uint64_t no)
{
    buf body = {0};
    add_number(&body, 0);
    add_number(&body, lvl);
    add_number(&body, no);
    add_item(b, TAG_DROP_TABLE, &body);
    buf_release(&body);
}

static void add_bucket(buf *b, uint64_t bucket, const char *name, const char *order)
{
    buf body = {0};
    add_number(&body, bucket);
    add_number(&body, 0);
    add_key(&body, name);
    add_key(&body, order);
    add_item(b, TAG_CREATE_BUCKET, &body);
    buf_release(&body);
}

static void add_header(buf *b)
{
    uint8_t h[MANIFEST_HEADER_BYTES] = {0};
    memcpy(h, MANIFEST_MAGIC, 8);
    put_u32(h + 8, MANIFEST_VERSION);
    memcpy(h + 16, "store id 16 byte", 16);
    put_u64(h + 32, NO);
    put_u64(h + 48, SALT);
    put_u32(h + 60, crc32_update(0, h, 60));
    assert_int_equal(buf_append(b, h, sizeof h), FIRN_OK);
}

/* Appends a record whose checksum is right; returns where it begins. */
static uint64_t add_record(buf *b, uint64_t number, uint64_t salt, uint64_t base,
                           const buf *payload)
{
    static const uint8_t zeros[MANIFEST_RECORD_BYTES];
    size_t start = b->size;
    assert_int_equal(buf_append(b, zeros, MANIFEST_RECORD_BYTES), FIRN_OK);
    assert_int_equal(buf_append(b, payload->data, payload->size), FIRN_OK);
    uint8_t *r = b->data + start;
    put_u32(r + 4, (uint32_t)payload->size);
    put_u64(r + 8, number);
    put_u32(r,
            manifest_record_crc(crc32_update(0, r + 4, b->size - start - 4), salt, base + start));
    assert_int_equal(buf_append(b, zeros, (8 - b->size % 8) % 8), FIRN_OK);
    return base + start;
}

/* ---- Loading ---- */

typedef struct world {
    simfs *sim;
    fs_dir *dir;
    table_env env;
    buf file;
    manifest_state state;
    firn_error err;
} world;

static world world_new(void)
{
    world w = {.sim = simfs_new(1)};
    add_header(&w.file);
    return w;
}

static int load(world *w)
{
    simfs_write_file(w->sim, FOLDER "/000000000003.manifest", w->file.data, w->file.size);
    if (!w->dir)
        assert_int_equal(fs_dir_open(simfs_fs(w->sim), FOLDER, &w->dir, NULL), FIRN_OK);
    w->env.dir = w->dir;
    w->err = (firn_error){0};
    manifest_state_release(&w->state);
    return manifest_load(&w->env, NO, &w->state, &w->err);
}

static void world_free(world *w)
{
    manifest_state_release(&w->state);
    fs_dir_close(w->dir);
    buf_release(&w->file);
    simfs_free(w->sim);
}

/* The first record: numbers that leave room for tables below 2^40. */
static void add_numbers(buf *b)
{
    add_single(b, TAG_FLUSHED_SEQ, UINT64_C(1) << 40);
    add_single(b, TAG_NEXT_FILE, UINT64_C(1) << 40);
}

/* ---- What much costs ---- */

/* As many slots and comparisons as sorting so many takes. */
static void assert_steps(uint64_t steps, uint64_t tables)
{
    uint64_t bits = 64 - (uint64_t)__builtin_clzll(tables | 1);
    if (steps > tables * (bits + 16))
        fail_msg("%llu tables took %llu steps", (unsigned long long)tables,
                 (unsigned long long)steps);
}

static void one_record_of_many_tables_is_sorted_once(void **state)
{
    (void)state;
    enum { TABLES = 80000 };
    world w = world_new();
    buf payload = {0};
    add_numbers(&payload);
    for (uint64_t i = 0; i < TABLES; i++) /* in no order */
        add_table(&payload, table_said(i % 3 ? 3 : 0, 1 + i * 30011 % TABLES));
    add_record(&w.file, 0, SALT, 0, &payload);
    assert_int_equal(load(&w), FIRN_OK);
    assert_int_equal(version_tables(w.state.version), TABLES);
    assert_steps(w.state.steps, TABLES);
    assert_true(simfs_calls(w.sim, SIMFS_READ) < w.file.size / 50000 + 20); /* through a window */
    const level *l = &w.state.version->levels[3];
    for (size_t i = 1; i < l->count; i++)
        assert_true(l->tables[i - 1]->no < l->tables[i]->no);
    l = &w.state.version->levels[0];
    for (size_t i = 1; i < l->count; i++) /* V1 */
        assert_true(l->tables[i - 1]->properties.seq_max > l->tables[i]->properties.seq_max);
    END(&w, &payload);
}

static void many_records_of_one_table_cost_what_one_record_does(void **state)
{
    (void)state;
    enum { TABLES = 40000 };
    world w = world_new();
    buf payload = {0};
    add_numbers(&payload);
    add_record(&w.file, 0, SALT, 0, &payload);
    for (uint64_t i = 1; i <= TABLES; i++) {
        buf_clear(&payload);
        if (i > 1 && i % 2 == 0) /* every other one replaces the one before */
            add_drop(&payload, 2, i - 1);
        add_table(&payload, table_said(2, i));
        add_record(&w.file, i, SALT, 0, &payload);
    }
    assert_int_equal(load(&w), FIRN_OK);
    assert_int_equal(version_tables(w.state.version), TABLES / 2);
    assert_steps(w.state.steps, TABLES);
    assert_true(simfs_calls(w.sim, SIMFS_READ) < w.file.size / 50000 + 20);
    END(&w, &payload);
}

/* An attacker knows the hash, but not its seed. */
static void numbers_that_are_chosen_to_collide_do_not(void **state)
{
    (void)state;
    enum { TABLES = 2000 };
    world w = world_new();
    buf payload = {0};
    add_numbers(&payload);
    uint64_t found = 0;
    for (uint64_t no = 1; found < TABLES; no++) {
        if (mix64(no) & 4095)
            continue;
        add_table(&payload, table_said(1, no));
        found++;
    }
    add_record(&w.file, 0, SALT, 0, &payload);
    assert_int_equal(load(&w), FIRN_OK);
    assert_steps(w.state.steps, TABLES);
    END(&w, &payload);
}

/* ---- What makes no sense ---- */

/* A record behind a good one, which lists tables 1 to 3 of level 1 and 4 and 5 of level 0. */
typedef struct forgery {
    const char *words; /* that the error must have */
    int status;
    void (*write)(buf *payload);
} forgery;

static said said_of(uint64_t no)
{
    return table_said(1, no);
}

#define FORGE(name, statements)                                                                    \
    static void name(buf *b)                                                                       \
    {                                                                                              \
        said t = said_of(9);                                                                       \
        statements;                                                                                \
    }
FORGE(same_level, t = said_of(2); add_table(b, t))
FORGE(two_levels, t = table_said(2, 2); add_table(b, t))
FORGE(twice_in_a_record, add_table(b, t); t.level = 3; add_table(b, t))
FORGE(keys_reversed, t.key_min = "z"; t.key_max = "a"; add_table(b, t))
FORGE(seqs_reversed, t.seq_min = 8; t.seq_max = 7; add_table(b, t))
FORGE(seq_zero, t.seq_min = 0; add_table(b, t))
FORGE(seq_huge, t.seq_max = FIRN_MAX_SEQ + 1; add_table(b, t))
FORGE(seq_unflushed, t.seq_max = (UINT64_C(1) << 40) + 1; add_table(b, t))
FORGE(level_seven, t.level = FIRN_LEVELS; add_table(b, t))
FORGE(level_huge, t.level = UINT64_C(1) << 32; add_table(b, t))
FORGE(number_zero, t.no = 0; add_table(b, t))
FORGE(number_huge, t.no = UINT64_MAX; add_table(b, t))
FORGE(number_ahead, t.no = UINT64_C(1) << 40; add_table(b, t))
FORGE(overlap, t.key_min = "000000000002!"; t.key_max = "000000000002}"; add_table(b, t))
FORGE(overlap_below, t.key_min = "000000000001~~"; t.key_max = "000000000002"; add_table(b, t))
FORGE(equal_bounds, t.key_min = "000000000002~"; t.key_max = "000000000002~"; add_table(b, t))
FORGE(no_entries, t.entries = 0; t.deletes = 0; add_table(b, t))
FORGE(many_deletes, t.deletes = 11; add_table(b, t))
FORGE(no_blocks, t.blocks = 0; add_table(b, t))
FORGE(many_blocks, t.blocks = 11; add_table(b, t))
FORGE(huge_file, t.file_bytes = UINT64_MAX; add_table(b, t))
FORGE(more_data_than_file, t.data_bytes = 5001; add_table(b, t))
FORGE(huge_raw, t.raw_bytes = UINT64_MAX; add_table(b, t))
/* Ranges as a manifest has them: a count; from, width and versions of each; snapshots in each. */
#define KEPT(...)                                                                                  \
    const uint64_t numbers[] = {__VA_ARGS__};                                                      \
    t.kept = numbers;                                                                              \
    t.kept_count = sizeof numbers / sizeof *numbers;                                               \
    add_table(b, t)
FORGE(kept_ranges_many, KEPT(KEPT_MOST + 1))
FORGE(kept_ranges_cut, KEPT(2, 5, 0, 1))
FORGE(kept_beyond_numbers, KEPT(1, FIRN_MAX_SEQ, 1, 1))
FORGE(kept_more_than_all, KEPT(2, 5, 0, 6, 7, 0, 5))
FORGE(kept_snapshots_many, KEPT(2, 5, 0, 1, 7, 3, 9, 0, 1, 5, 9))
FORGE(kept_seen_by_few, KEPT(2, 5, 0, 1, 7, 3, 9, 0, 1, 4, 8))
FORGE(kept_for_nothing, KEPT(2, 5, 0, 1, 7, 3, 0, 0, 1, 4, 8))
FORGE(kept_snapshots_cut, KEPT(2, 5, 0, 1, 7, 3, 9, 1, 1, 4))
FORGE(ranges_many, t.ranges = 2; add_table(b, t))
FORGE(bucket, t.bucket = 1; add_table(b, t))
FORGE(bucket_twice, (void)t; add_bucket(b, 3, "x", ""); add_bucket(b, 3, "y", ""))
FORGE(bucket_after_drop, (void)t; add_bucket(b, 3, "x", ""); add_single(b, TAG_DROP_BUCKET, 3);
      add_bucket(b, 3, "x", ""))
FORGE(bucket_zero, (void)t; add_bucket(b, 0, "x", ""))
FORGE(bucket_long, (void)t; add_bucket(b, TREES_MAX, "x", ""))
FORGE(bucket_same_name, (void)t; add_bucket(b, 3, "x", ""); add_bucket(b, 4, "x", ""))
FORGE(bucket_without_name, (void)t; add_bucket(b, 3, "", ""))
FORGE(bucket_order, (void)t; add_bucket(b, 3, "x", "reverse"))
FORGE(form_unknown, (void)t; add_form(b, 5, 1, 1))
FORGE(form_compression, (void)t; add_bucket(b, 3, "x", ""); add_form(b, 3, 5, 1))
FORGE(form_filter, (void)t; add_bucket(b, 3, "x", ""); add_form(b, 3, 1, 66))
FORGE(form_huge, (void)t; add_bucket(b, 3, "x", ""); add_form(b, 3, UINT64_C(1) << 32, 1))
FORGE(form_of_default, (void)t; add_form(b, 0, 1, 1))
FORGE(drop_default, (void)t; add_single(b, TAG_DROP_BUCKET, 0))
FORGE(drop_unknown, (void)t; add_single(b, TAG_DROP_BUCKET, 5))
FORGE(limit_huge, (void)t; add_single(b, TAG_BUCKET_LIMIT, TREES_MAX + 1))
FORGE(drop_unlisted, (void)t; add_drop(b, 1, 9))
FORGE(drop_from_another_level, (void)t; add_drop(b, 2, 2))
FORGE(drop_twice, (void)t; add_drop(b, 1, 2); add_drop(b, 1, 2))
FORGE(drop_from_level_seven, (void)t; add_drop(b, 7, 2))
FORGE(next_file_huge, (void)t; add_single(b, TAG_NEXT_FILE, FILE_NO_MAX + 1))
FORGE(next_file_low, (void)t; add_single(b, TAG_NEXT_FILE, 3))
FORGE(flushed_huge, (void)t; add_single(b, TAG_FLUSHED_SEQ, FIRN_MAX_SEQ))
FORGE(flushed_low, (void)t; add_single(b, TAG_FLUSHED_SEQ, 3))
FORGE(covered_huge, (void)t; add_single(b, TAG_COVERED_SEGMENT, WAL_SEGMENT_NO_MAX))
FORGE(closed_huge, (void)t; add_single(b, TAG_CLOSED, FIRN_MAX_SEQ + 1))
FORGE(unknown_item, (void)t; add_single(b, 99, 1))
FORGE(cut_item, add_table(b, t); b->size -= 3)
FORGE(empty_item, (void)t; add_number(b, TAG_NEXT_FILE); add_number(b, 0))
FORGE(long_item, (void)t; add_number(b, TAG_NEXT_FILE); add_number(b, UINT64_MAX))

static void long_key(buf *b)
{
    static char key[FIRN_MAX_KEY_BYTES + 2];
    memset(key, 'k', sizeof key - 1);
    said t = said_of(9);
    t.key_max = key;
    add_table(b, t);
}

static void large_item(buf *b)
{
    static const uint8_t zeros[300000];
    add_number(b, TAG_NEXT_FILE);
    add_number(b, sizeof zeros);
    assert_int_equal(buf_append(b, zeros, sizeof zeros), FIRN_OK);
}

static const forgery forgeries[] = {
    {"listed twice", FIRN_DAMAGED, same_level},
    {"listed twice", FIRN_DAMAGED, two_levels},
    {"listed twice", FIRN_DAMAGED, twice_in_a_record},
    {"smallest key", FIRN_DAMAGED, keys_reversed},
    {"sequence numbers", FIRN_DAMAGED, seqs_reversed},
    {"sequence numbers", FIRN_DAMAGED, seq_zero},
    {"sequence numbers", FIRN_DAMAGED, seq_huge},
    {"beyond the flushed", FIRN_DAMAGED, seq_unflushed},
    {"a level", FIRN_DAMAGED, level_seven},
    {"a level", FIRN_DAMAGED, level_huge},
    {"a number that no table", FIRN_DAMAGED, number_zero},
    {"a number that no table", FIRN_DAMAGED, number_huge},
    {"not been given out", FIRN_DAMAGED, number_ahead},
    {"overlap", FIRN_DAMAGED, overlap},
    {"overlap", FIRN_DAMAGED, overlap_below},
    {"overlap", FIRN_DAMAGED, equal_bounds},
    {"counts", FIRN_DAMAGED, no_entries},
    {"counts", FIRN_DAMAGED, many_deletes},
    {"counts", FIRN_DAMAGED, no_blocks},
    {"counts", FIRN_DAMAGED, many_blocks},
    {"sizes", FIRN_DAMAGED, huge_file},
    {"sizes", FIRN_DAMAGED, more_data_than_file},
    {"sizes", FIRN_DAMAGED, huge_raw},
    {"more range deletes than", FIRN_DAMAGED, ranges_many},
    {"for too many snapshots", FIRN_DAMAGED, kept_ranges_many},
    {"middle of an item", FIRN_DAMAGED, kept_ranges_cut},
    {"versions that it cannot have", FIRN_DAMAGED, kept_beyond_numbers},
    {"versions that it cannot have", FIRN_DAMAGED, kept_more_than_all},
    {"snapshots that cannot be", FIRN_DAMAGED, kept_snapshots_many},
    {"snapshots that cannot be", FIRN_DAMAGED, kept_seen_by_few},
    {"snapshots that cannot be", FIRN_DAMAGED, kept_for_nothing},
    {"middle of an item", FIRN_DAMAGED, kept_snapshots_cut},
    {"bucket 1, which does not exist", FIRN_DAMAGED, bucket},
    {"number of bucket 3 again", FIRN_DAMAGED, bucket_twice},
    {"number of bucket 3 again", FIRN_DAMAGED, bucket_after_drop},
    {"number of bucket 0 again", FIRN_DAMAGED, bucket_zero},
    {"number of bucket 32768 again", FIRN_DAMAGED, bucket_long},
    {"a name that it cannot have", FIRN_DAMAGED, bucket_same_name},
    {"a name that it cannot have", FIRN_DAMAGED, bucket_without_name},
    {"of a kind that this version has not", FIRN_UNSUPPORTED, bucket_order},
    {"bucket 5, which does not exist", FIRN_DAMAGED, form_unknown},
    {"are to be made as none can be", FIRN_DAMAGED, form_compression},
    {"are to be made as none can be", FIRN_DAMAGED, form_filter},
    {"are to be made as none can be", FIRN_DAMAGED, form_huge},
    {"bucket 0, which does not exist", FIRN_DAMAGED, form_of_default},
    {"drops the default bucket", FIRN_DAMAGED, drop_default},
    {"bucket 5, which does not exist", FIRN_DAMAGED, drop_unknown},
    {"bucket limit", FIRN_DAMAGED, limit_huge},
    {"where it is not", FIRN_DAMAGED, drop_unlisted},
    {"where it is not", FIRN_DAMAGED, drop_from_another_level},
    {"where it is not", FIRN_DAMAGED, drop_twice},
    {"where it is not", FIRN_DAMAGED, drop_from_level_seven},
    {"next file number", FIRN_DAMAGED, next_file_huge},
    {"not been given out", FIRN_DAMAGED, next_file_low},
    {"flushed number", FIRN_DAMAGED, flushed_huge},
    {"beyond the flushed", FIRN_DAMAGED, flushed_low},
    {"covered segment", FIRN_DAMAGED, covered_huge},
    {"last number", FIRN_DAMAGED, closed_huge},
    {"unknown kind", FIRN_UNSUPPORTED, unknown_item},
    {"middle of an item", FIRN_DAMAGED, cut_item},
    {"middle of an item", FIRN_DAMAGED, empty_item},
    {"middle of an item", FIRN_DAMAGED, long_item},
    {"longer than keys", FIRN_DAMAGED, long_key},
    {"larger than items", FIRN_DAMAGED, large_item},
};
#define FORGERIES (sizeof forgeries / sizeof *forgeries)

static void refused_as(const forgery *f, int rc, const firn_error *err, uint64_t offset)
{
    char text[800];
    firn_error_format(err, text, sizeof text);
    bool named = strstr(err->file, ".manifest") && err->offset == offset;
    bool remedy = strstr(err->hint, rc == FIRN_UNSUPPORTED ? "newer firn" : "firn repair");
    if (rc != f->status || err->status != rc || !strstr(text, f->words) || !named || !remedy)
        fail_msg("%s: %s: \"%s\", should be at %llu", f->words, firn_status_name(rc), text,
                 (unsigned long long)offset);
}

static void what_makes_no_sense_is_damage_of_the_manifest(void **state)
{
    (void)state;
    for (size_t i = 0; i < FORGERIES; i++) {
        world w = world_new();
        buf payload = {0};
        add_numbers(&payload);
        for (uint64_t no = 1; no <= 5; no++)
            add_table(&payload, table_said(no <= 3, no));
        add_record(&w.file, 0, SALT, 0, &payload);
        assert_int_equal(load(&w), FIRN_OK);
        buf_clear(&payload);
        forgeries[i].write(&payload);
        uint64_t at = add_record(&w.file, 1, SALT, 0, &payload);
        int rc = load(&w);
        refused_as(&forgeries[i], rc, &w.err, at);
        assert_null(w.state.version);
        buf_release(&payload);
        world_free(&w);
    }
}

/* Writes the forgery behind the records of a real store's manifest, whose name goes to `name`. */
static void forge_store(bed *b, const forgery *f, char name[NAME_BYTES])
{
    buf bytes = {0}, payload = {0};
    manifest_state s = {0};
    fs_dir *dir = NULL;
    uint64_t no = 0, listed = 0;
    size_t size;
    char path[100];
    do {
        name_manifest(++no, false, name);
        snprintf(path, sizeof path, "%s/%s", b->folder, name);
    } while (!simfs_exists(b->sim, path));
    MUST(fs_dir_open(b->config.fs, b->folder, &dir, error));
    table_env env = {.dir = dir};
    MUST(manifest_load(&env, no, &s, error));
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        if (s.version->levels[n].count)
            listed = s.version->levels[n].tables[0]->no;
    /* Of what is listed already, tell it again. */
    if (f->write == same_level || f->write == two_levels)
        add_table(&payload, table_said(f->write == same_level ? 0 : 2, listed));
    else
        f->write(&payload);
    const uint8_t *old = simfs_peek(b->sim, path, &size);
    assert_int_equal(s.end, size);
    assert_int_equal(buf_append(&bytes, old, size), FIRN_OK);
    add_record(&bytes, s.records, s.salt, 0, &payload);
    simfs_write_file(b->sim, path, bytes.data, bytes.size);
    manifest_state_release(&s);
    fs_dir_close(dir);
    buf_release(&bytes);
    buf_release(&payload);
}

static void closed_store(bed *b)
{
    bed_on_simfs(b, 5);
    bed_must_open(b);
    bed_put(b, "table", "1");
    bed_flush(b);
    bed_put(b, "log", "2");
    bed_must_close(b);
}

/* The same in a real store: check sees it, opening refuses, repair makes a store of what is there. */
static void a_store_with_such_a_manifest_is_repaired(void **state)
{
    (void)state;
    for (size_t i = 0; i < FORGERIES; i++) {
        bed b;
        firn_error err = {0};
        char name[NAME_BYTES];
        if (forgeries[i].status != FIRN_DAMAGED)
            continue;
        closed_store(&b);
        forge_store(&b, &forgeries[i], name);
        int rc = engine_check(b.config.fs, b.folder, NULL, NULL, NULL, &err);
        if (rc == FIRN_OK) { /* low numbers that are not too low for this store */
            assert_true(forgeries[i].write == flushed_low || forgeries[i].write == next_file_low);
        } else {
            assert_int_equal(rc, FIRN_DAMAGED);
            assert_non_null(strstr(err.file, name));
            assert_int_equal(bed_open(&b, &err), FIRN_DAMAGED);
            assert_non_null(strstr(err.file, name));
            MUST(engine_repair(b.folder, &b.options, &b.config, NULL, NULL, NULL, error));
            MUST(engine_check(b.config.fs, b.folder, NULL, NULL, NULL, error));
            bed_must_open(&b);
            bed_expect(&b, NULL, "table", "1");
            bed_expect(&b, NULL, "log", "2");
        }
        bed_release(&b);
    }
}

/* Lists the table of a store in another bucket, in a manifest that is newer than manifest `no`. */
static void list_in_another_bucket(fs_dir *dir, uint64_t no)
{
    table_env env = {.dir = dir};
    manifest_state s = {0};
    manifest *m = NULL;
    version *without = NULL, *with = NULL, *empty = NULL;
    table *moved = NULL;
    edit e = {0};
    MUST(manifest_load(&env, no, &s, error));
    assert_int_equal(s.version->levels[0].count, 1);
    const table *t = s.version->levels[0].tables[0];
    sst_properties p = t->properties;
    p.bucket = 1;
    MUST(table_new(&env, t->no, &p, &moved));
    MUST(edit_add(&e, 0, moved));
    MUST(version_new_empty(&without));
    MUST(version_new_empty(&empty));
    empty->bucket = 1;
    MUST(version_apply(empty, &e, &with, error));
    version_unref(s.version);
    s.version = without;
    bucket_form form = {FIRN_AS_STORE, FIRN_AS_STORE};
    MUST(manifest_state_add(&s, 1, slice_of_str("other"), &form, with));
    s.bucket_limit = 2;
    MUST(manifest_create(dir, s.next_file_no++, &s, &m, error));
    manifest_close(m);
    version_unref(with);
    version_unref(empty);
    edit_release(&e);
    table_unref(moved);
    manifest_state_release(&s);
}

/* Its keys would show in a bucket that they were never put into. */
static void a_table_is_of_the_bucket_that_it_says_it_is_of(void **state)
{
    (void)state;
    bed b;
    fs_dir *dir = NULL;
    firn_error err = {0};
    uint64_t no = 0;
    char name[NAME_BYTES], path[100];
    closed_store(&b);
    MUST(fs_dir_open(b.config.fs, b.folder, &dir, error));
    do {
        name_manifest(++no, false, name);
        snprintf(path, sizeof path, "%s/%s", b.folder, name);
    } while (!simfs_exists(b.sim, path));
    MUST(engine_check(b.config.fs, b.folder, NULL, NULL, NULL, error));
    list_in_another_bucket(dir, no);
    assert_int_equal(engine_check(b.config.fs, b.folder, NULL, NULL, NULL, &err), FIRN_DAMAGED);
    assert_non_null(strstr(err.file, ".tbl"));
    assert_non_null(strstr(err.message, "manifest"));
    fs_dir_close(dir);
    bed_release(&b);
}

FORGE(next_file_last, (void)t; add_single(b, TAG_NEXT_FILE, FILE_NO_LAST + 1))

/* Nothing is given out that the next open would refuse, and what is there can be read. */
static void a_store_whose_file_numbers_are_used_up_can_still_be_read(void **state)
{
    (void)state;
    bed b;
    firn_error err;
    char name[NAME_BYTES];
    closed_store(&b);
    forge_store(&b, &(forgery){"", FIRN_OK, next_file_last}, name);
    assert_int_equal(bed_open(&b, &err), FIRN_TOO_LARGE);
    assert_non_null(strstr(err.hint, "firn dump"));
    assert_int_equal(engine_repair(b.folder, &b.options, &b.config, NULL, NULL, NULL, &err),
                     FIRN_TOO_LARGE);
    MUST(engine_check(b.config.fs, b.folder, NULL, NULL, NULL, error));
    b.options.read_only = true;
    bed_must_open(&b);
    bed_expect(&b, NULL, "table", "1");
    bed_expect(&b, NULL, "log", "2");
    bed_release(&b);
}

/* What may be there: unknown items that may be skipped, of any size; a table that moves; one dropped and made anew. */
static void what_makes_sense_is_taken(void **state)
{
    (void)state;
    world w = world_new();
    buf payload = {0};
    static const uint8_t zeros[400000];
    add_numbers(&payload);
    add_table(&payload, table_said(1, 2));
    add_record(&w.file, 0, SALT, 0, &payload);
    buf_clear(&payload);
    add_number(&payload, 200);
    add_number(&payload, sizeof zeros);
    assert_int_equal(buf_append(&payload, zeros, sizeof zeros), FIRN_OK);
    add_drop(&payload, 1, 2);
    said t = table_said(2, 2);
    t.ranges = 1; /* what it keeps is not known */
    add_table(&payload, t);
    add_record(&w.file, 1, SALT, 0, &payload);
    assert_int_equal(load(&w), FIRN_OK);
    assert_true(w.state.version->levels[1].count == 0 && w.state.version->levels[2].count == 1);
    assert_int_equal(w.state.version->levels[2].tables[0]->properties.ranges, 1);
    assert_false(w.state.version->levels[2].tables[0]->kept_known);
    assert_int_equal(w.state.records, 2);
    END(&w, &payload);
}

/* ---- What large files cost ---- */

static int load_counted(const char *folder, manifest_state *s, firn_error *err)
{
    fs_dir *dir = NULL;
    MUST(fs_dir_open(counted_fs_new(), folder, &dir, error));
    table_env env = {.dir = dir};
    int rc = manifest_load(&env, NO, s, err);
    fs_dir_close(dir);
    return rc;
}

static void a_large_manifest_is_not_read_before_its_header_and_never_as_a_whole(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {UINT64_C(1) << 30, UINT64_C(1) << 40};
    for (int good = 0; good < 3; good++) {
        for (size_t i = 0; i < 2; i++) {
            char *folder = tempdir_new(), path[4200];
            manifest_state s = {0};
            firn_error err = {0};
            buf bytes = {0}, payload = {0};
            add_header(&bytes);
            if (good == 0)
                bytes.data[17] ^= 1;
            add_numbers(&payload);
            if (good == 2)
                add_record(&bytes, 0, SALT, 0, &payload);
            snprintf(path, sizeof path, "%s/000000000003.manifest", folder);
            int fd = open(path, O_WRONLY | O_CREAT, 0600);
            assert_int_equal(write(fd, bytes.data, bytes.size), bytes.size);
            bool possible = ftruncate(fd, (off_t)sizes[i]) == 0; /* not on every file system */
            close(fd);
            if (possible) {
                int rc = load_counted(folder, &s, &err);
                assert_int_equal(rc, good == 2 && i == 0 ? FIRN_OK : FIRN_DAMAGED);
                if (rc == FIRN_OK)
                    assert_true(s.torn && s.records == 1);
                else
                    assert_true(the_counted_fs.bytes < 1 << 20);
                assert_true(the_counted_fs.largest <= 1 << 20);
            }
            manifest_state_release(&s);
            buf_release(&bytes);
            buf_release(&payload);
            tempdir_remove(folder);
        }
    }
}

/* What looks like records without being any is checksummed only so far. */
static void a_tail_of_false_records_is_read_a_few_times_at_most(void **state)
{
    (void)state;
    enum { TAIL = 8 << 20 };
    world w = world_new();
    buf payload = {0};
    add_numbers(&payload);
    add_record(&w.file, 0, SALT, 0, &payload);
    size_t from = w.file.size;
    uint8_t *tail = malloc(TAIL);
    assert_non_null(tail);
    for (size_t at = 0; at < TAIL; at += 16) {
        put_u64(tail + at, 1 | (uint64_t)(TAIL - at - 16) << 32); /* as long as can be */
        put_u64(tail + at + 8, 2 + at);
    }
    assert_int_equal(buf_append(&w.file, tail, TAIL), FIRN_OK);
    free(tail);
    uint64_t before = simfs_calls(w.sim, SIMFS_READ);
    assert_int_equal(load(&w), FIRN_DAMAGED);
    assert_int_equal(w.err.offset, from);
    /* 256 MiB, in pieces of 64 KiB at least */
    assert_true(simfs_calls(w.sim, SIMFS_READ) - before < 4000);
    END(&w, &payload);
}

static void each_allocation_of_a_load_may_fail(void **state)
{
    (void)state;
    world w = world_new();
    buf payload = {0};
    add_numbers(&payload);
    for (uint64_t no = 1; no <= 20; no++)
        add_table(&payload, table_said(no % 3, no));
    add_record(&w.file, 0, SALT, 0, &payload);
    assert_int_equal(buf_append(&w.file, "torn tail", 9), FIRN_OK);
    for (uint64_t at = 1;; at++) {
        simfs_write_file(w.sim, FOLDER "/000000000003.manifest", w.file.data, w.file.size);
        alloc_fail_at(at);
        int rc = load(&w);
        bool hit = alloc_count() >= at;
        alloc_fail_at(0);
        assert_int_equal(rc, hit ? FIRN_NO_MEMORY : FIRN_OK);
        assert_true(rc == FIRN_OK || w.err.status == FIRN_NO_MEMORY);
        if (!hit)
            break;
    }
    END(&w, &payload);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_record_of_many_tables_is_sorted_once),
        cmocka_unit_test(many_records_of_one_table_cost_what_one_record_does),
        cmocka_unit_test(numbers_that_are_chosen_to_collide_do_not),
        cmocka_unit_test(what_makes_no_sense_is_damage_of_the_manifest),
        cmocka_unit_test(a_store_with_such_a_manifest_is_repaired),
        cmocka_unit_test(a_table_is_of_the_bucket_that_it_says_it_is_of),
        cmocka_unit_test(what_makes_sense_is_taken),
        cmocka_unit_test(a_store_whose_file_numbers_are_used_up_can_still_be_read),
        cmocka_unit_test(a_large_manifest_is_not_read_before_its_header_and_never_as_a_whole),
        cmocka_unit_test(a_tail_of_false_records_is_read_a_few_times_at_most),
        cmocka_unit_test(each_allocation_of_a_load_may_fail),
    };
    /* Holes cost nothing where memory is a file system. */
    if (!getenv("TMPDIR") && access("/dev/shm", W_OK | X_OK) == 0)
        assert_int_equal(setenv("TMPDIR", "/dev/shm", 1), 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
