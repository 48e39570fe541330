/* Repair of stores so small that every key tells which file it was in: what is lost is said, and no more than that. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "bed.h"

/* ---- what was told ---- */

typedef struct told {
    uint64_t losses;
    unsigned ranges;
    char after[8][16], before[8][16]; /* of keys; "" and "~": open */
} told;

static void copy_key(char to[16], firn_slice key, const char *open)
{
    snprintf(to, 16, "%.*s", key.data ? (int)key.size : 1,
             key.data ? (const char *)key.data : open);
}

static void on_event(void *ctx, const firn_repair_event *e)
{
    told *t = ctx;
    t->losses += e->kind != FIRN_REPAIR_NOTE;
    if (e->kind != FIRN_REPAIR_LOST_KEYS)
        return;
    assert_in_range(t->ranges, 0, 7);
    copy_key(t->after[t->ranges], e->after, "");
    copy_key(t->before[t->ranges++], e->before, "~");
}

static bool told_lost(const told *t, const char *key)
{
    for (unsigned i = 0; i < t->ranges; i++)
        if (strcmp(t->after[i], key) <= 0 && strcmp(key, t->before[i]) <= 0)
            return true;
    return false;
}

/* ---- a store of one table for each key ---- */

typedef struct files {
    char tables[8][64]; /* ascending by number */
    char manifest[64], log[64];
    uint64_t manifest_bytes;
    unsigned count;
} files;

static int note_file(void *ctx, const char *path, uint64_t size)
{
    files *f = ctx;
    if (strstr(path, ".manifest")) {
        snprintf(f->manifest, sizeof f->manifest, "%s", path);
        f->manifest_bytes = size;
    } else if (strstr(path, ".wal")) {
        snprintf(f->log, sizeof f->log, "%s", path);
    } else if (strstr(path, ".tbl") && !strstr(path, "/lost/")) {
        assert_in_range(f->count, 0, 7);
        unsigned at = f->count++;
        for (; at > 0 && strcmp(f->tables[at - 1], path) > 0; at--)
            memcpy(f->tables[at], f->tables[at - 1], sizeof f->tables[0]);
        snprintf(f->tables[at], sizeof f->tables[at], "%s", path);
    }
    return 0;
}

static files look(bed *b)
{
    files f = {0};
    simfs_each(b->sim, b->folder, note_file, &f);
    return f;
}

static void flush_key(bed *b, const char *key)
{
    bed_put(b, key, key);
    bed_flush(b);
}

static void begin(bed *b)
{
    bed_on_simfs(b, 1);
    bed_must_open(b);
}

static told repair(bed *b)
{
    told t = {0};
    firn_repair_summary summary = {0};
    firn_error err = {0};
    int rc = engine_repair(b->folder, &b->options, &b->config, on_event, &t, &summary, &err);
    if (rc != FIRN_OK)
        fail_msg("repair says %s: %s", firn_status_name(rc), err.message);
    assert_int_equal(t.losses, summary.losses);
    return t;
}

/* After a repair the key is there, or was told to be lost; and the store is like any other. */
static void expect(bed *b, const told *t, const char *key, bool there)
{
    if (there)
        bed_expect(b, NULL, key, key);
    else
        bed_expect(b, NULL, key, NULL);
    if (there == told_lost(t, key))
        fail_msg("key %s is %s, and repair says otherwise", key, there ? "there" : "lost");
}

static void a_missing_table_is_told(void **state)
{
    (void)state;
    for (unsigned missing = 0; missing < 3; missing++) {
        bed b;
        begin(&b);
        flush_key(&b, "a");
        flush_key(&b, "b");
        flush_key(&b, "c");
        bed_must_close(&b);
        files f = look(&b);
        assert_int_equal(f.count, 3);
        simfs_remove(b.sim, f.tables[missing]);
        told t = repair(&b);
        assert_int_equal(t.losses, 1);
        bed_must_open(&b);
        for (unsigned i = 0; i < 3; i++)
            expect(&b, &t, (const char *[]){"a", "b", "c"}[i], i != missing);
        bed_release(&b);
    }
}

/* Of an empty store, and nothing but its log would tell that it was not. */
static void a_missing_log_is_told(void **state)
{
    (void)state;
    for (int closed = 0; closed < 2; closed++) {
        bed b, left;
        begin(&b);
        bed_put(&b, "k", "k");
        if (closed)
            bed_must_close(&b);
        bed_on_simfs(&left, 1);
        simfs_free(left.sim);
        left.sim = simfs_clone(b.sim); /* if it is not closed: as after a kill */
        left.config.fs = simfs_fs(left.sim);
        bed_release(&b);
        for (files f; (f = look(&left)).log[0];)
            simfs_remove(left.sim, f.log);
        told t = repair(&left);
        assert_int_equal(t.losses, 1);
        bed_must_open(&left);
        bed_expect(&left, NULL, "k", NULL);
        bed_release(&left);
    }
}

/* The file is intact, of this store and of this number, but from a copy of the store that went its own way. */
static void a_table_of_another_life_is_not_taken_for_the_listed_one(void **state)
{
    (void)state;
    bed b, other;
    firn_value v = {0};
    begin(&b);
    bed_put(&b, "k", "k");
    bed_must_close(&b);
    other = b;
    other.sim = simfs_clone(b.sim);
    other.config.fs = simfs_fs(other.sim);
    other.db = NULL;
    bed_must_open(&b);
    flush_key(&b, "a");
    bed_must_close(&b);
    bed_must_open(&other);
    flush_key(&other, "z");
    bed_must_close(&other);
    files f = look(&b), g = look(&other);
    assert_int_equal(f.count, 1);
    assert_string_equal(f.tables[0], g.tables[0]);
    size_t size = 0;
    const uint8_t *bytes = simfs_peek(other.sim, g.tables[0], &size);
    simfs_write_file(b.sim, f.tables[0], bytes, size);
    simfs_free(other.sim);

    bed_must_open(&b);
    assert_int_equal(firn_get(b.db, "a", 1, NULL, &v, NULL), FIRN_DAMAGED);
    bed_must_close(&b);
    told t = repair(&b);
    assert_int_equal(t.losses, 1);
    bed_must_open(&b);
    expect(&b, &t, "a", false);
    bed_expect(&b, NULL, "k", "k");
    bed_expect(&b, NULL, "z", NULL);
    bed_release(&b);
}

/* Three tables, and the manifest as it was before the last two of them. */
static files begin_with_an_older_manifest(bed *b)
{
    begin(b);
    flush_key(b, "a");
    uint64_t older = look(b).manifest_bytes;
    flush_key(b, "b");
    flush_key(b, "c");
    bed_put(b, "d", "d");
    bed_must_close(b);
    files f = look(b);
    assert_int_equal(f.count, 3);
    assert_true(older < f.manifest_bytes);
    simfs_cut(b->sim, f.manifest, older);
    return f;
}

static void nothing_in_tables_is_lost_with_the_end_of_the_manifest(void **state)
{
    (void)state;
    bed b;
    begin_with_an_older_manifest(&b);
    told t = repair(&b);
    assert_int_equal(t.losses, 0);
    bed_must_open(&b);
    for (unsigned i = 0; i < 4; i++)
        expect(&b, &t, (const char *[]){"a", "b", "c", "d"}[i], true);
    bed_release(&b);
}

static void a_table_that_is_missing_from_an_older_manifest_is_told(void **state)
{
    (void)state;
    bed b;
    files f = begin_with_an_older_manifest(&b);
    simfs_remove(b.sim, f.tables[0]);
    told t = repair(&b);
    assert_int_equal(t.losses, 1);
    bed_must_open(&b);
    for (unsigned i = 0; i < 4; i++)
        expect(&b, &t, (const char *[]){"a", "b", "c", "d"}[i], i != 0);
    bed_release(&b);
}

/* ---- very many gaps ---- */

#define MANY 2200

typedef struct counted {
    const char *name; /* of the table */
    uint64_t reads;
    bool lost[MANY];
    uint64_t losses;
} counted;

static int count_reads(void *ctx, unsigned call, uint64_t index, const char *name)
{
    counted *c = ctx;
    (void)index;
    c->reads += call == SIMFS_READ && strcmp(name, c->name) == 0;
    return 0;
}

static void many_key(char key[16], unsigned i)
{
    snprintf(key, 16, "k%05u", i);
}

static void on_many(void *ctx, const firn_repair_event *e)
{
    counted *c = ctx;
    if (e->kind != FIRN_REPAIR_LOST_KEYS)
        return;
    c->losses++;
    for (unsigned i = 0; i < MANY; i++) {
        char key[16];
        many_key(key, i);
        firn_slice k = slice_of_str(key);
        if ((!e->after.data || slice_compare(e->after, k) <= 0) &&
            (!e->before.data || slice_compare(k, e->before) <= 0))
            c->lost[i] = true;
    }
}

/* One key a block, and every second block damaged. What is told is bounded, whatever there is; and still covers what is
 * gone. The table is read once to be checked, up to its first damage, and once to be saved. */
static void a_table_with_very_many_gaps_is_read_once_and_told_in_few_words(void **state)
{
    (void)state;
    static uint8_t value[4000];
    bed b;
    bed_on_simfs(&b, 1);
    b.options.memory = UINT64_C(64) << 20;
    b.options.segment_bytes = UINT64_C(32) << 20;
    b.options.table_bytes = UINT64_C(32) << 20;
    bed_must_open(&b);
    for (unsigned i = 0; i < MANY; i++) {
        char key[16];
        many_key(key, i);
        assert_int_equal(firn_put(b.db, key, strlen(key), value, sizeof value, NULL, NULL),
                         FIRN_OK);
    }
    bed_flush(&b);
    bed_must_close(&b);
    files f = look(&b);
    assert_int_equal(f.count, 1);
    size_t size = 0;
    (void)simfs_peek(b.sim, f.tables[0], &size);
    for (unsigned i = 0; i < MANY; i += 2)
        simfs_flip_bit(b.sim, f.tables[0], (uint64_t)(i * (size / MANY) + 2000) * 8);
    counted c = {.name = strrchr(f.tables[0], '/') + 1};
    firn_repair_summary m = {0};
    firn_error err = {0};
    simfs_on_call(b.sim, count_reads, &c);
    assert_int_equal(engine_repair(b.folder, &b.options, &b.config, on_many, &c, &m, &err),
                     FIRN_OK);
    simfs_on_call(b.sim, NULL, NULL);
    assert_int_equal(c.losses, m.losses);
    assert_in_range(m.losses, 1000, 1024);
    assert_in_range(c.reads, 1, size / 65536 * 3 / 2 + 20);
    bed_must_open(&b);
    unsigned kept = 0;
    for (unsigned i = 0; i < MANY; i++) {
        char key[16];
        firn_value v;
        many_key(key, i);
        int rc = firn_get(b.db, key, strlen(key), NULL, &v, NULL);
        if (rc == FIRN_OK)
            firn_value_release(&v);
        assert_true(rc == FIRN_OK || c.lost[i]);
        kept += rc == FIRN_OK;
    }
    assert_in_range(kept, MANY / 2 - 50, MANY / 2 + 50);
    bed_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_missing_table_is_told),
        cmocka_unit_test(a_missing_log_is_told),
        cmocka_unit_test(a_table_of_another_life_is_not_taken_for_the_listed_one),
        cmocka_unit_test(nothing_in_tables_is_lost_with_the_end_of_the_manifest),
        cmocka_unit_test(a_table_that_is_missing_from_an_older_manifest_is_told),
        cmocka_unit_test(a_table_with_very_many_gaps_is_read_once_and_told_in_few_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
