/* The figures as text: JSON that is valid, and says what the structs say; and what counts them. */
#include <errno.h>
#include <inttypes.h>
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <base/alloc.h>
#include <tree/run.h>

#include "bed.h"
#include "json.h"
#include <store/store.h>

enum { KEYS = 400, VALUE = 25 };

/* What a field of a struct is called in the text; count 0: something else than such numbers. */
typedef struct named {
    const char *name;
    size_t at, size, count;
} named;
/* clang-format off */
#define NUMBER(type, name)  {#name, offsetof(type, name), sizeof(((type *)0)->name), 1}
#define LEVELS(type, name)  {#name, offsetof(type, name), sizeof(((type *)0)->name), FIRN_LEVELS}
#define ANOTHER(type, name) {#name, offsetof(type, name), sizeof(((type *)0)->name), 0}

#define S(name) NUMBER(firn_stats, name)
#define L(name) LEVELS(firn_stats, name)
#define A(name) ANOTHER(firn_stats, name)
static const named of_store[] = {
    A(size), S(last_seq), S(durable_seq), S(flushed_seq), S(memtable_entries), S(memtable_bytes),
    S(memtables), S(log_segments), S(log_bytes), S(log_first_segment), S(log_last_segment),
    L(level_tables), L(level_bytes), L(level_entries), L(level_deletes), S(cache_bytes),
    S(cache_capacity), S(cache_hits), S(cache_misses), S(bytes_put), S(bytes_logged),
    S(bytes_flushed), S(bytes_compacted), S(flushes), S(compactions), S(syncs), S(stall_us),
    S(snapshots), S(recovered_entries), S(recovery_cut_bytes), A(store_id), A(poisoned),
    A(read_only), A(log_mapped), S(log_used_bytes), S(newest_seq), S(lost_files), S(lost_bytes),
    S(total_bytes), S(memory_bytes), A(waits), A(waiting_for), S(waiting), S(waiting_us),
    A(flush_error), A(compaction_error), S(memtable_deletes), S(iterators),
    L(level_range_deletes), L(level_read), L(level_written), L(level_jobs), S(bucket_count),
    S(values), S(oldest_snapshot), S(memory_log), S(memory_index), S(memory_blocks),
    S(memory_filters), S(memory_indexes), S(memory_tables), S(memory_work), S(memory_limit),
    S(filter_loads), S(index_loads), L(level_filter_wrong), L(level_filter_denied),
};
/* That are in the text and in no struct: version, two amplifications, buckets, latencies; but not `size`. */
enum { STORE_FIELDS = sizeof of_store / sizeof *of_store, STORE_NAMES = STORE_FIELDS - 1 + 5 };

#define BS(name) NUMBER(firn_bucket_stats, name)
#define BL(name) LEVELS(firn_bucket_stats, name)
static const named of_bucket[] = {
    ANOTHER(firn_bucket_stats, size), BS(memtable_entries), BS(memtable_deletes), BS(iterators),
    BL(level_tables), BL(level_bytes), BL(level_entries), BL(level_deletes),
    BL(level_range_deletes), BL(level_read), BL(level_written), BL(level_jobs),
};
/* Number, name, two amplifications; but not `size`. */
enum { BUCKET_FIELDS = sizeof of_bucket / sizeof *of_bucket, BUCKET_NAMES = BUCKET_FIELDS - 1 + 4 };

/* clang-format on */
static const named of_latency[] = {
    ANOTHER(firn_latency, size),   NUMBER(firn_latency, count),  NUMBER(firn_latency, sum_ns),
    NUMBER(firn_latency, p50_ns),  NUMBER(firn_latency, p90_ns), NUMBER(firn_latency, p99_ns),
    NUMBER(firn_latency, p999_ns), NUMBER(firn_latency, max_ns),
};
enum { LATENCY_FIELDS = sizeof of_latency / sizeof *of_latency };

/* ---- A store with something of each ---- */

static const char odd[] = "\x01 \"q\\ \xc3\xa9\xff";

static firn *make_bucket(bed *b, const char *name)
{
    firn *out = NULL;
    firn_bucket_options o;
    firn_bucket_options_init(&o);
    o.create = true;
    MUST(firn_bucket_open(b->db, name, &o, &out, error));
    return out;
}

static void fill(firn *bucket, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%04u", i);
        MUST(firn_put(bucket, key, 5, "some value of some length", VALUE, NULL, error));
    }
}

static void begin(bed *b)
{
    bed_on_simfs(b, 1);
    MUST(firn_options_set(&b->options, "memory", "64MiB", error));
    b->options.segment_bytes = 1 << 20;
    b->options.table_bytes = 4 << 10;
    b->options.latencies = true;
    bed_must_open(b);
}

/* Of the whole text, which the caller frees. */
static char *text_of(firn *db, bool json)
{
    size_t needed = 0, again = 0;
    firn_error err = {0};
    assert_int_equal(firn_stats_text(db, json, NULL, 0, &needed, &err), FIRN_TOO_LARGE);
    assert_int_equal(err.status, FIRN_TOO_LARGE);
    char *text = malloc(needed + 1);
    MUST(firn_stats_text(db, json, text, needed + 1, &again, error));
    assert_int_equal(again, needed);
    assert_int_equal(strlen(text), needed);
    return text;
}

static char *json_of(firn *db)
{
    char *text = text_of(db, true);
    if (!json_is_valid(text))
        fail_msg("this is no JSON: %s", text);
    return text;
}

static uint64_t value_at(const void *from, const named *f, size_t i)
{
    uint64_t wide;
    uint32_t narrow;
    const char *at = (const char *)from + f->at + i * (f->size / f->count);
    if (f->size / f->count == sizeof narrow) {
        memcpy(&narrow, at, sizeof narrow);
        return narrow;
    }
    assert_int_equal(f->size / f->count, sizeof wide);
    memcpy(&wide, at, sizeof wide);
    return wide;
}

/* The object says what the struct says. */
static void must_say(const char *object, const named *fields, size_t count, const void *from)
{
    for (size_t f = 0; f < count; f++) {
        const char *said = json_named(object, fields[f].name);
        if (!said && strcmp(fields[f].name, "size") != 0)
            fail_msg("there is no %s", fields[f].name);
        if (fields[f].count > 1)
            assert_int_equal(json_count(said), fields[f].count);
        for (size_t i = 0; i < fields[f].count; i++)
            if (!json_is_u64(fields[f].count > 1 ? json_at(said, i) : said,
                             value_at(from, &fields[f], i)))
                fail_msg("%s: %.40s, should be %" PRIu64, fields[f].name, said,
                         value_at(from, &fields[f], i));
    }
}

static void must_say_latencies(firn *db, const char *all)
{
    firn_latency l;
    assert_int_equal(json_count(all), LATENCY_KINDS);
    for (unsigned i = 0; i < LATENCY_KINDS; i++) {
        const char *one = json_named(all, firn_latency_name((firn_latency_kind)i));
        assert_non_null(one);
        MUST(firn_get_latency(db, (firn_latency_kind)i, &l, error));
        must_say(one, of_latency, LATENCY_FIELDS, &l);
        assert_int_equal(json_count(one), LATENCY_FIELDS - 1 + 1);
        const char *bins = json_named(one, "bins");
        uint64_t seen = 0, before = 0;
        for (size_t b = 0; b < json_count(bins); b++) {
            uint64_t end = strtoull(json_at(json_at(bins, b), 0), NULL, 10);
            uint64_t count = strtoull(json_at(json_at(bins, b), 1), NULL, 10);
            assert_int_equal(json_count(json_at(bins, b)), 2);
            assert_true(count > 0 && end > before);
            if (seen * 2 < l.count && (seen + count) * 2 >= l.count)
                assert_int_equal(l.p50_ns, end < l.max_ns ? end : l.max_ns);
            seen += count;
            before = end;
        }
        assert_int_equal(seen, l.count);
    }
}

static void each_figure_is_in_the_json(void **state)
{
    (void)state;
    bed b;
    firn_value value;
    firn_iter *it = NULL;
    firn_snapshot *snapshot = NULL;
    firn_slice first = slice_of_str("k0100"), end = slice_of_str("k0200");
    begin(&b);
    firn *left = make_bucket(&b, "left"), *strange = make_bucket(&b, odd);
    firn *empty = make_bucket(&b, "empty");
    fill(left, 0, KEYS);
    fill(b.db, 0, 10);
    bed_flush(&b);
    MUST(firn_compact(left, NULL, 0, NULL, 0, error));
    MUST(firn_snapshot_new(b.db, &snapshot, error));
    fill(left, 50, 150);
    MUST(firn_delete(left, "k0001", 5, NULL, error));
    MUST(firn_delete_range(left, &(firn_range){&first, &end, 0}, NULL, error));
    bed_flush(&b);
    fill(strange, 0, 3);
    MUST(firn_delete(left, "k0002", 5, NULL, error));
    MUST(firn_iter_new(left, NULL, &it, error));
    MUST(firn_iter_first(it));
    MUST(firn_get(left, "k0300", 5, NULL, &value, error));
    firn_stats s = bed_stats(&b);
    char *text = json_of(left); /* of the store, with any handle */
    must_say(text, of_store, STORE_FIELDS, &s);
    assert_int_equal(json_count(text), STORE_NAMES);
    assert_true(json_is_bytes(json_named(text, "version"), firn_version(), strlen(firn_version())));
    assert_true(json_is_bytes(json_named(text, "store_id"), s.store_id, strlen(s.store_id)));
    assert_true(s.iterators == 1 && s.values == 1 && s.snapshots == 1);
    assert_int_equal(s.oldest_snapshot, firn_snapshot_seq(snapshot));
    assert_int_equal(s.bucket_count, 4);
    assert_int_equal(s.memtable_deletes, 1);

    firn *const handles[] = {b.db, left, strange};
    const char *const names[] = {"", "left", odd};
    const char *buckets = json_named(text, "buckets");
    assert_int_equal(json_count(buckets), 3);
    for (size_t i = 0; i < 3; i++) {
        firn_bucket_stats figures;
        const char *one = json_at(buckets, i);
        MUST(firn_get_bucket_stats(handles[i], &figures, error));
        must_say(one, of_bucket, BUCKET_FIELDS, &figures);
        assert_int_equal(json_count(one), BUCKET_NAMES);
        assert_true(json_is_u64(json_named(one, "bucket"), i));
        assert_true(json_is_bytes(json_named(one, "name"), names[i], strlen(names[i])));
    }
    const char *waits = json_named(text, "waits");
    assert_int_equal(json_count(waits), FIRN_WAIT_DESCRIPTOR);
    for (unsigned i = 1; i <= FIRN_WAIT_DESCRIPTOR; i++) {
        const char *one = json_named(waits, firn_wait_name((firn_wait)i));
        assert_true(json_is_u64(json_named(one, "count"), s.waits[i].count));
        assert_true(json_is_u64(json_named(one, "us"), s.waits[i].us));
    }
    must_say_latencies(b.db, json_named(text, "latencies"));
    free(text);
    firn_value_release(&value);
    firn_iter_free(it);
    firn_snapshot_free(snapshot);
    MUST(firn_close(empty, error));
    MUST(firn_close(left, error));
    MUST(firn_close(strange, error));
    bed_release(&b);
}

/* Each byte of a struct is in the lists above, or is padding. */
static void no_field_is_forgotten(void **state)
{
    (void)state;
    const struct {
        const named *fields;
        size_t count, size;
    } all[] = {{of_store, STORE_FIELDS, sizeof(firn_stats)},
               {of_bucket, BUCKET_FIELDS, sizeof(firn_bucket_stats)},
               {of_latency, LATENCY_FIELDS, sizeof(firn_latency)}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        uint8_t *listed = calloc(1, all[i].size);
        for (size_t f = 0; f < all[i].count; f++)
            memset(listed + all[i].fields[f].at, 1, all[i].fields[f].size);
        for (size_t at = 0, left = 0; at < all[i].size; at++) {
            left = listed[at] ? 0 : left + 1;
            if (left >= sizeof(uint32_t) + 1) /* no padding is so long */
                fail_msg("struct %zu, offset %zu", i, at);
        }
        free(listed);
    }
}

static void waits_and_errors_are_told(void **state)
{
    (void)state;
    bed b;
    begin(&b);
    store *db = b.db->store;
    patience p = {0};
    mutex_lock(&db->waits.waits_mu);
    db->waits.done[FIRN_WAIT_LEVEL0] = (firn_waited){3, 2500000};
    db->waits.done[FIRN_WAIT_DESCRIPTOR] = (firn_waited){1000, 999};
    mutex_unlock(&db->waits.waits_mu);
    patience_begin(&p, &db->waits, FIRN_WAIT_READERS);
    firn_error why = {.status = FIRN_NO_SPACE, .file = "a\"b\n", .offset = FIRN_NO_OFFSET};
    snprintf(why.message, sizeof why.message, "no room");
    store_background_error(db, WORK_FLUSH, FIRN_NO_SPACE, &why);
    char *text = json_of(b.db);
    assert_true(json_is_u64(json_named(text, "stall_us"), 2500000));
    const char *waits = json_named(text, "waits");
    assert_true(json_is_u64(json_named(json_named(waits, "level0"), "count"), 3));
    assert_true(json_is_u64(json_named(json_named(waits, "descriptor"), "us"), 999));
    assert_true(json_is_u64(json_named(text, "waiting"), 1));
    assert_true(json_is_bytes(json_named(text, "waiting_for"), "readers", 7));
    const char *failed = json_named(text, "flush_error");
    assert_true(json_is_bytes(json_named(failed, "status"), "FIRN_NO_SPACE", 13));
    assert_true(json_is_bytes(json_named(failed, "text"), "no room: a\"b\n", 13));
    assert_int_equal(strncmp(json_named(text, "compaction_error"), "null", 4), 0);
    assert_int_equal(strncmp(json_named(text, "poisoned"), "false", 5), 0);
    free(text);
    text = text_of(b.db, false);
    assert_non_null(strstr(text, "\nflush_error FIRN_NO_SPACE: no room: a\"b\\x0a\n"));
    assert_null(strstr(text, "compaction_error"));
    assert_non_null(strstr(text, "\n  level0             2500000 us in 3\n"));
    assert_non_null(strstr(text, "\n  descriptor         999 us in 1000\n"));
    assert_null(strstr(text, " us in 0\n"));
    assert_non_null(strstr(text, "\n  waiting            1, for readers, "));
    free(text);
    patience_end(&p);
    store_background_works(db, WORK_FLUSH);
    bed_release(&b);
}

/* The row of a level, or of "all", behind the words that begin a section. */
static void must_have_row(const char *text, const char *section, const char *row, unsigned column,
                          const char *wanted)
{
    char head[32], got[64] = "";
    const char *p = strstr(text, section);
    assert_non_null(p);
    snprintf(head, sizeof head, "\n  %s ", row);
    p = strstr(p, head);
    assert_non_null(p);
    p += strlen(head);
    for (unsigned i = 0; i <= column; i++) {
        p += strspn(p, " ");
        snprintf(got, sizeof got, "%.*s", (int)strcspn(p, " \n"), p);
        p += strlen(got);
    }
    if (strcmp(got, wanted) != 0)
        fail_msg("%s, level %s, column %u: %s, should be %s", section, row, column, got, wanted);
}

static void the_plain_text_has_the_same_figures(void **state)
{
    (void)state;
    bed b;
    char line[64];
    begin(&b);
    firn *left = make_bucket(&b, "left"), *strange = make_bucket(&b, odd);
    fill(left, 0, KEYS);
    fill(strange, 0, 3);
    bed_flush(&b);
    MUST(firn_compact(left, NULL, 0, NULL, 0, error));
    fill(left, 0, 3);
    bed_expect(&b, NULL, "k0000", NULL);
    firn_stats s = bed_stats(&b);
    char *text = text_of(b.db, false);
    for (size_t f = 0; f < STORE_FIELDS; f++) {
        if (of_store[f].count != 1 || strncmp(of_store[f].name, "waiting", 7) == 0)
            continue;
        snprintf(line, sizeof line, "\n  %-18s %" PRIu64 "\n", of_store[f].name,
                 value_at(&s, &of_store[f], 0));
        if (!strstr(text, line))
            fail_msg("there is no line%s in %s", line, text);
    }
    snprintf(line, sizeof line, "%" PRIu64, s.level_written[0]);
    must_have_row(text, "\nlevels\n", "0", 6, line);
    must_have_row(text, "\nlevels\n", "0", 8, "1.00");
    must_have_row(text, "\nlevels\n", "all", 2, "403");
    must_have_row(text, "\nlevels\n", "all", 10, "0");
    must_have_row(text, "\nbucket 1, left\n", "all", 2, "400");
    must_have_row(text, "\nbucket 2, \\x01 \"q\\x5c \\xc3\\xa9\\xff\n", "all", 2, "3");
    assert_non_null(strstr(text, "memtable_entries 3, memtable_deletes 0, iterators 0\n"));
    assert_non_null(strstr(text, "\nlatencies\n"));
    assert_non_null(strstr(text, "\n  get                    1          1000          1000 "));
    for (const char *p = text; *p; p++)
        assert_true(*p == '\n' || (*p >= 0x20 && *p <= 0x7e));
    free(text);
    MUST(firn_close(left, error));
    MUST(firn_close(strange, error));
    bed_must_close(&b);
    b.options.read_only = true;
    b.options.latencies = false;
    bed_must_open(&b);
    text = text_of(b.db, false);
    assert_null(strstr(text, "latencies"));
    assert_non_null(strstr(text, ", read only\n"));
    must_have_row(text, "\nlevels\n", "0", 8, "-");
    free(text);
    text = json_of(b.db);
    assert_int_equal(strncmp(json_named(text, "latencies"), "null", 4), 0);
    assert_int_equal(strncmp(json_named(text, "read_only"), "true", 4), 0);
    assert_int_equal(strncmp(json_named(text, "write_amplification"), "null", 4), 0);
    free(text);
    bed_release(&b);
}

/* A store of one bucket has all of its figures in those of the store. */
static void bucket_0_alone_is_not_listed(void **state)
{
    (void)state;
    bed b;
    begin(&b);
    fill(b.db, 0, 10);
    char *text = json_of(b.db), *plain = text_of(b.db, false);
    assert_int_equal(strncmp(json_named(text, "buckets"), "[]", 2), 0);
    assert_true(json_is_u64(json_named(text, "bucket_count"), 1));
    assert_null(strstr(plain, "\nbucket "));
    free(text);
    free(plain);
    bed_release(&b);
}

static void a_bucket_with_nothing_but_an_iterator_is_listed(void **state)
{
    (void)state;
    bed b;
    firn_iter *it = NULL;
    begin(&b);
    firn *left = make_bucket(&b, "left");
    char *text = json_of(b.db);
    assert_int_equal(json_count(json_named(text, "buckets")), 0);
    free(text);
    MUST(firn_iter_new(left, NULL, &it, error));
    text = json_of(b.db);
    assert_int_equal(json_count(json_named(text, "buckets")), 1);
    assert_true(json_is_u64(json_named(json_at(json_named(text, "buckets"), 0), "iterators"), 1));
    free(text);
    firn_iter_free(it);
    MUST(firn_close(left, error));
    bed_release(&b);
}

/* "12.05" of 241 and 20. */
static const char *ratio_of(uint64_t written, uint64_t flushed)
{
    static char text[32];
    uint64_t hundredths = written * 100 / flushed;
    snprintf(text, sizeof text, "%" PRIu64 ".%02" PRIu64, hundredths / 100, hundredths % 100);
    return text;
}

/* Whatever the locale says of decimals. */
static void amplification_is_what_was_written_for_each_flushed_byte(void **state)
{
    (void)state;
    bed b;
    (void)setlocale(LC_ALL, "de_DE.UTF-8");
    begin(&b);
    for (unsigned i = 0; i < 3; i++) {
        fill(b.db, i * 70, KEYS);
        bed_flush(&b);
    }
    MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
    firn_stats s = bed_stats(&b);
    char *text = json_of(b.db);
    const char *levels = json_named(text, "level_write_amplification"), *said;
    uint64_t written = 0;
    assert_int_equal(json_count(levels), FIRN_LEVELS);
    for (unsigned n = 0; n < FIRN_LEVELS; n++) {
        const char *wanted = ratio_of(s.level_written[n], s.level_written[0]);
        said = json_at(levels, n);
        assert_int_equal(strncmp(said, wanted, strlen(wanted)), 0);
        written += s.level_written[n];
    }
    const char *wanted = ratio_of(written, s.bytes_flushed);
    said = json_named(text, "write_amplification");
    assert_int_equal(strncmp(said, wanted, strlen(wanted)), 0);
    assert_true(written > s.bytes_flushed && said[strlen(wanted)] == ',');
    free(text);
    bed_release(&b);
    (void)setlocale(LC_ALL, "C");
}

static void a_text_that_does_not_fit_is_cut(void **state)
{
    (void)state;
    bed b;
    begin(&b);
    char *whole = text_of(b.db, true);
    size_t size = strlen(whole);
    const size_t capacities[] = {0, 1, 2, 100, size - 1, size, size + 1, size + 50};
    for (size_t i = 0; i < sizeof capacities / sizeof *capacities; i++) {
        size_t capacity = capacities[i], needed = 0, fits = capacity > size ? size : capacity - 1;
        firn_error err = {0};
        char *text = malloc(capacity +
                            1); /* a write behind `capacity` shows, with a sanitizer and without */
        memset(text, '#', capacity + 1);
        int rc = firn_stats_text(b.db, true, text, capacity, &needed, &err);
        assert_int_equal(rc, capacity > size ? FIRN_OK : FIRN_TOO_LARGE);
        assert_int_equal(err.status, rc);
        assert_int_equal(needed, size);
        if (capacity > 0) {
            assert_memory_equal(text, whole, fits);
            assert_int_equal(text[fits], '\0');
        }
        for (size_t at = capacity ? fits + 1 : 0; at <= capacity; at++)
            assert_int_equal(text[at], '#');
        free(text);
    }
    free(whole);
    bed_release(&b);
}

static void each_allocation_may_fail(void **state)
{
    (void)state;
    bed b;
    begin(&b);
    firn *left = make_bucket(&b, "left");
    fill(left, 0, 10);
    char *whole = text_of(b.db, true);
    char *text = malloc(strlen(whole) + 1);
    int rc = FIRN_NO_MEMORY;
    for (uint64_t n = 1; rc == FIRN_NO_MEMORY; n++) {
        firn_error err = {0};
        size_t needed = 77;
        text[0] = '#';
        alloc_fail_at(n);
        rc = firn_stats_text(b.db, true, text, strlen(whole) + 1, &needed, &err);
        alloc_fail_at(0);
        assert_int_equal(err.status, rc);
        if (rc == FIRN_OK) {
            assert_string_equal(text, whole);
            assert_true(n > 3);
            continue;
        }
        assert_int_equal(rc, FIRN_NO_MEMORY);
        assert_int_equal(text[0], '#');
        assert_int_equal(needed, 77);
    }
    free(text);
    free(whole);
    MUST(firn_close(left, error));
    bed_release(&b);
}

/* ---- What is counted ---- */

static void memory_is_told_by_kind(void **state)
{
    (void)state;
    bed b;
    begin(&b);
    fill(b.db, 0, KEYS);
    firn_stats s = bed_stats(&b);
    memory_budget *budget = &b.db->store->budget;
    assert_true(s.memory_log > 0 && s.memory_index > 0);
    bed_flush(&b);
    bed_expect(&b, NULL, "k0000", "some value of some length");
    budget_charge(budget, BUDGET_SCRATCH, 12345); /* as a merge that runs */
    s = bed_stats(&b);
    budget_release(budget, BUDGET_SCRATCH, 12345);
    assert_true(s.memory_filters > 0 && s.memory_indexes > 0 && s.memory_tables > 0);
    assert_int_equal(s.memory_log, budget_held(budget, BUDGET_LOG));
    assert_int_equal(s.memory_index, budget_held(budget, BUDGET_INDEX));
    assert_int_equal(s.memory_blocks, budget_held(budget, BUDGET_BLOCKS));
    assert_int_equal(s.memory_filters, budget_held(budget, BUDGET_FILTERS));
    assert_int_equal(s.memory_indexes, budget_held(budget, BUDGET_INDEXES));
    assert_int_equal(s.memory_tables, budget_held(budget, BUDGET_TABLES));
    assert_int_equal(s.memory_work, budget_held(budget, BUDGET_SCRATCH) + 12345);
    assert_int_equal(s.memory_bytes, budget_total(budget) + 12345);
    assert_int_equal(s.memory_limit, 64 << 20);
    /* The filter has KEYS times ten bits, the index a key for each block: they are not each other. */
    assert_true(s.memory_filters >= KEYS * 10 / 8);
    bed_release(&b);
}

static void filters_and_indexes_are_counted_when_they_are_read(void **state)
{
    (void)state;
    bed b;
    begin(&b);
    fill(b.db, 0, KEYS);
    bed_flush(&b);
    bed_must_close(&b);
    bed_must_open(&b);
    firn_stats s = bed_stats(&b);
    assert_int_equal(s.filter_loads + s.index_loads, 0);
    for (unsigned i = 0; i < 3; i++) {
        bed_expect(&b, NULL, "k0000", "some value of some length");
        s = bed_stats(&b);
        assert_int_equal(s.filter_loads, 1);
        assert_int_equal(s.index_loads, 1);
    }
    MUST(firn_options_set(&b.options, "filter_bits", "0", error));
    bed_must_close(&b);
    bed_must_open(&b);
    MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
    fill(b.db, 0, KEYS);
    bed_flush(&b);
    s = bed_stats(&b);
    uint64_t filters = s.filter_loads, indexes = s.index_loads;
    bed_expect(&b, NULL, "k0001", "some value of some length");
    s = bed_stats(&b);
    assert_int_equal(s.filter_loads, filters); /* the new table has none */
    assert_int_equal(s.index_loads, indexes + 1);
    bed_release(&b);
}

static void snapshots_tell_the_oldest_of_callers(void **state)
{
    (void)state;
    bed b;
    firn_snapshot own, *old = NULL, *young = NULL;
    firn_txn *txn = NULL;
    begin(&b);
    bed_put(&b, "a", "1");
    snapshot_take(b.db->store, &own, true);
    assert_int_equal(bed_stats(&b).oldest_snapshot, 0);
    bed_put(&b, "a", "2");
    MUST(firn_snapshot_new(b.db, &old, error));
    bed_put(&b, "a", "3");
    MUST(firn_snapshot_new(b.db, &young, error));
    assert_int_equal(bed_stats(&b).oldest_snapshot, firn_snapshot_seq(old));
    firn_snapshot_free(old);
    assert_int_equal(bed_stats(&b).oldest_snapshot, firn_snapshot_seq(young));
    assert_int_equal(bed_stats(&b).snapshots, 1);
    MUST(firn_txn_new(b.db, NULL, &txn, error)); /* it has one, too */
    assert_int_equal(bed_stats(&b).snapshots, 2);
    bed_put(&b, "a", "4");
    firn_snapshot_free(young);
    assert_int_equal(bed_stats(&b).oldest_snapshot, firn_last_seq(b.db) - 1);
    firn_txn_free(txn);
    assert_int_equal(bed_stats(&b).oldest_snapshot, 0);
    snapshot_give(&own);
    bed_release(&b);
}

/* Looks for keys that are not there, between those that are. */
static void miss(bed *b, unsigned count, bool many)
{
    static char keys[KEYS][16];
    static firn_slice slices[KEYS];
    static firn_value values[KEYS];
    static int statuses[KEYS];
    for (unsigned i = 0; i < count; i++) {
        snprintf(keys[i], sizeof keys[i], "k%04u-", i);
        slices[i] = slice_of(keys[i], 6);
        if (!many)
            bed_expect(b, NULL, keys[i], NULL);
    }
    if (many)
        MUST(firn_get_many(b->db, slices, count, NULL, values, statuses, error));
}

static uint64_t sum(const uint64_t levels[FIRN_LEVELS])
{
    uint64_t all = 0;
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        all += levels[n];
    return all;
}

/* Asks the same of a store whose filters have few bits, in the level that its one table is in. */
static void filters_in(bed *b, unsigned n)
{
    enum { ASKED = KEYS - 1 }; /* the last one lies behind the table's last key */
    firn_stats before = bed_stats(b), after;
    assert_int_equal(before.level_tables[n], 1);
    assert_int_equal(sum(before.level_tables), 1);
    for (unsigned way = 0; way < 2; way++) {
        miss(b, KEYS, way == 1);
        after = bed_stats(b);
        uint64_t wrong = after.level_filter_wrong[n] - before.level_filter_wrong[n];
        uint64_t denied = after.level_filter_denied[n] - before.level_filter_denied[n];
        assert_int_equal(wrong + (b->options.latencies ? denied : ASKED - wrong), ASKED);
        assert_int_equal(denied, b->options.latencies ? ASKED - wrong : 0);
        assert_true(wrong > ASKED / 20 && wrong < ASKED / 2); /* three bits a key: 1 in 7 or so */
        assert_int_equal(sum(after.level_filter_wrong), sum(before.level_filter_wrong) + wrong);
        before = after;
    }
    /* What is found, and what no filter is asked for, counts for nothing. */
    bed_expect(b, NULL, "k0007", "some value of some length");
    bed_expect(b, NULL, "j", NULL);
    after = bed_stats(b);
    assert_memory_equal(after.level_filter_wrong, before.level_filter_wrong,
                        sizeof after.level_filter_wrong);
    assert_memory_equal(after.level_filter_denied, before.level_filter_denied,
                        sizeof after.level_filter_denied);
}

static void what_filters_did_is_told_by_level(void **state)
{
    (void)state;
    for (unsigned way = 0; way < 4; way++) {
        bed b;
        bed_on_simfs(&b, 1);
        MUST(firn_options_set(&b.options, "memory", "64MiB", error));
        b.options.segment_bytes = 1 << 20;
        b.options.table_bytes = 1 << 20;
        b.options.filter_bits = 3;
        b.options.latencies = way % 2;
        b.options.never_map = way / 2;
        bed_must_open(&b);
        fill(b.db, 0, KEYS);
        bed_flush(&b);
        filters_in(&b, 0);
        MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
        firn_stats s = bed_stats(&b);
        unsigned deep = 0;
        while (deep < FIRN_LEVELS && !s.level_tables[deep])
            deep++;
        assert_in_range(deep, 1, FIRN_LEVELS - 1);
        filters_in(&b, deep);
        bed_must_close(&b);
        bed_must_open(&b); /* where a table is, is known from the start */
        filters_in(&b, deep);
        bed_release(&b);
    }
}

static void a_table_without_a_filter_counts_nothing(void **state)
{
    (void)state;
    bed b;
    begin(&b);
    bed_must_close(&b);
    b.options.filter_bits = 0;
    bed_must_open(&b);
    fill(b.db, 0, KEYS);
    bed_flush(&b);
    miss(&b, KEYS, false);
    miss(&b, KEYS, true);
    firn_stats s = bed_stats(&b);
    assert_int_equal(sum(s.level_filter_wrong) + sum(s.level_filter_denied), 0);
    bed_release(&b);
}

/* What the strict reader of the tests is worth. */
static void the_reader_of_json_is_strict(void **state)
{
    (void)state;
    static const char *const good[] = {"{}", "[]", " {\"a\" : [1, -0.5e+3, null], \"b\":{}} \n",
                                       "\"\\u00e9\\n\"", "0"};
    static const char *const bad[] = {"",
                                      "{",
                                      "{\"a\":1,}",
                                      "[1,]",
                                      "[,1]",
                                      "{a:1}",
                                      "01",
                                      "1.",
                                      "+1",
                                      "nul",
                                      "\"\\x\"",
                                      "\"\\u12\"",
                                      "\"\n\"",
                                      "\"\xc3\"",
                                      "{\"a\" 1}",
                                      "1,5",
                                      "[1 2]",
                                      "{\"a\":1}}",
                                      "-",
                                      "{\"a\":1,\"a\":2}",
                                      "{\"b\":[{\"a\":1,\"a\":2}]}"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!json_is_valid(good[i]))
            fail_msg("%s is good", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (json_is_valid(bad[i]))
            fail_msg("%s is bad", bad[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_reader_of_json_is_strict),
        cmocka_unit_test(each_figure_is_in_the_json),
        cmocka_unit_test(no_field_is_forgotten),
        cmocka_unit_test(waits_and_errors_are_told),
        cmocka_unit_test(the_plain_text_has_the_same_figures),
        cmocka_unit_test(bucket_0_alone_is_not_listed),
        cmocka_unit_test(a_bucket_with_nothing_but_an_iterator_is_listed),
        cmocka_unit_test(amplification_is_what_was_written_for_each_flushed_byte),
        cmocka_unit_test(a_text_that_does_not_fit_is_cut),
        cmocka_unit_test(each_allocation_may_fail),
        cmocka_unit_test(memory_is_told_by_kind),
        cmocka_unit_test(filters_and_indexes_are_counted_when_they_are_read),
        cmocka_unit_test(snapshots_tell_the_oldest_of_callers),
        cmocka_unit_test(what_filters_did_is_told_by_level),
        cmocka_unit_test(a_table_without_a_filter_counts_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
