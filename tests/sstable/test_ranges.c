/* Range deletes in a table: which ones a writer takes, what bounds they give the table, that a reader
 * lists them as they were written, and that it believes none that the file makes up. */
#include "table.h"

#include "cache.h"
#include "format.h"
#include "props.h"
#include "ranges.h"

#include <base/alloc.h>
#include <base/coding.h>

static table t;
static firn_error err;

static int setup(void **state)
{
    (void)state;
    table_init(&t, 1 << 16);
    t.wo.block_bytes = 128;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    alloc_fail_at(0);
    simfs_heal(t.sim);
    table_release(&t);
    return 0;
}

static firn_slice str(const char *s)
{
    return slice_of_str(s);
}

/* ---- What a table with range deletes must say ---- */

static void check_properties(const sst_reader *r, const model *m)
{
    const sst_properties *p = sst_reader_properties(r);
    uint64_t deletes = 0;
    for (size_t i = 0; i < m->count; i++)
        deletes += m->v[i].kind != FIRN_PUT;
    CHECK(p->entries == m->count && p->deletes == deletes);
    CHECK(slice_equal(p->key_min, m->v[0].key) && slice_equal(p->key_max, table_key_max(&t, m)));
}

static void build(const model *m)
{
    CHECK(table_build(&t, m, &err) == FIRN_OK);
}

static sst_reader *open_right(const model *m)
{
    sst_reader *r = NULL;
    build(m);
    CHECK(table_open(&t, &r, &err) == FIRN_OK);
    table_check_ranges(&t, r, m);
    check_properties(r, m);
    CHECK(sst_verify(r, &err) == FIRN_OK);
    return r;
}

static void delete_range(model *m, const char *first, const char *end, uint64_t seq)
{
    model_add(m, str(first), seq, FIRN_DELETE_RANGE, str(end));
}

/* ---- The writer ---- */

typedef struct given {
    const char *key;
    uint64_t seq;
    const char *end; /* NULL: the entry is a put */
} given;

/* Adds them in order; the status of the last one. The others must be taken. */
static int add_all(const given *g, size_t count)
{
    sst_writer *w = NULL;
    int rc = FIRN_OK;
    simfs_remove(t.sim, TABLE_PATH);
    CHECK(sst_writer_open(t.dir, TABLE_NAME, &t.wo, &w, &err) == FIRN_OK);
    for (size_t i = 0; i < count && g[i].key; i++) {
        CHECK(rc == FIRN_OK);
        rc = sst_writer_add(w, str(g[i].key), g[i].seq, g[i].end ? FIRN_DELETE_RANGE : FIRN_PUT,
                            str(g[i].end ? g[i].end : "value"), &err);
        CHECK(rc != FIRN_OK || slice_equal(sst_writer_last_key(w), str(g[i].key)));
    }
    const sst_properties *p;
    CHECK(sst_writer_finish(w, &p, &err) == rc);
    sst_writer_free(w);
    return rc;
}

static void a_writer_takes_ranges_that_are_apart_or_the_same(void **state)
{
    (void)state;
    static const given taken[][6] = {
        {{"a", 5, "b"}, {"b", 5, "c"}, {"b", 4, "c"}, {"c", 9, "d"}},
        {{"a", 5, "z"}, {"a", 4, NULL}, {"a", 3, "z"}, {"a", 2, "z"}, {"m", 9, NULL}},
        {{"", 5, "a"}, {"a", 5, NULL}, {"a", 4, "b"}},
        {{"a", 7, NULL}, {"a", 6, "aa"}, {"aa", 6, "b"}, {"c", 6, "d"}},
        {{"a", 7, "c"}, {"b", 8, NULL}, {"c", 1, "d"}, {"z", 1, NULL}},
    };
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++) {
        snprintf(table_case, sizeof table_case, "case %zu", i);
        CHECK(add_all(taken[i], 6) == FIRN_OK);
    }
}

static void a_writer_refuses_ranges_that_overlap_or_are_empty(void **state)
{
    (void)state;
    static const given refused[][4] = {
        {{"a", 5, "a"}},                                /* empty */
        {{"b", 5, "a"}},                                /* ends in front of its first key */
        {{"a", 5, ""}},                                 /* likewise */
        {{"a", 5, "c"}, {"b", 5, "c"}},                 /* within the other */
        {{"a", 5, "c"}, {"b", 5, "d"}},                 /* begins within the other */
        {{"a", 5, "c"}, {"a", 4, "b"}},                 /* shorter, from the same key */
        {{"a", 5, "c"}, {"a", 4, "d"}},                 /* longer, from the same key */
        {{"a", 5, "c"}, {"a", 5, "c"}},                 /* the same number again */
        {{"a", 5, "c"}, {"a", 6, "c"}},                 /* numbers that ascend */
        {{"a", 5, "c"}, {"b", 9, NULL}, {"a", 4, "c"}}, /* behind a greater key */
        {{"a", 5, "c"}, {"b", 9, NULL}, {"b", 8, "d"}},
        {{"a", 0, "c"}},
        {{"a", FIRN_MAX_SEQ + 1, "c"}},
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        snprintf(table_case, sizeof table_case, "case %zu", i);
        CHECK(add_all(refused[i], 4) == FIRN_INVALID);
        CHECK(err.status == FIRN_INVALID && err.message[0] != 0);
        CHECK(!simfs_exists(t.sim, TABLE_PATH));
    }
}

static int add_one(firn_slice first, firn_slice end)
{
    sst_writer *w = NULL;
    simfs_remove(t.sim, TABLE_PATH);
    CHECK(sst_writer_open(t.dir, TABLE_NAME, &t.wo, &w, &err) == FIRN_OK);
    int rc = sst_writer_add(w, first, 1, FIRN_DELETE_RANGE, end, &err);
    sst_writer_free(w);
    return rc;
}

static void the_longest_end_is_right_behind_the_longest_key(void **state)
{
    (void)state;
    uint8_t *key = malloc(FIRN_MAX_KEY_BYTES + 2);
    assert_non_null(key);
    memset(key, 0xff, FIRN_MAX_KEY_BYTES + 2);
    CHECK(add_one(str("a"), (firn_slice){key, FIRN_MAX_KEY_BYTES}) == FIRN_OK);
    CHECK(add_one(str("a"), (firn_slice){key, FIRN_MAX_KEY_BYTES + 1}) == FIRN_INVALID);
    CHECK(add_one((firn_slice){key, FIRN_MAX_KEY_BYTES + 1}, str("z")) == FIRN_TOO_LARGE);
    key[FIRN_MAX_KEY_BYTES] = key[FIRN_MAX_KEY_BYTES + 1] = 0;
    CHECK(add_one(str("a"), (firn_slice){key, FIRN_MAX_KEY_BYTES + 1}) == FIRN_OK);
    CHECK(add_one(str("a"), (firn_slice){key, FIRN_MAX_KEY_BYTES + 2}) == FIRN_INVALID);
    for (unsigned with = 0; with < 8; with++) { /* from the longest key, or from another one */
        model m = {0};
        firn_slice end = {key, FIRN_MAX_KEY_BYTES + (with & 1)};
        firn_slice first = with & 2 ? (firn_slice){key, FIRN_MAX_KEY_BYTES - 1U} : str("a");
        snprintf(table_case, sizeof table_case, "with %u", with);
        t.cut = with & 4;
        model_add(&m, first, 3, FIRN_DELETE_RANGE, end);
        sst_reader_close(open_right(&m));
        model_release(&m);
    }
    free(key);
}

/* ---- Bounds ---- */

static void bounds_reach_as_far_as_range_deletes(void **state)
{
    (void)state;
    static const struct {
        firn_slice first, end;
        const char *put, *last; /* of the table; NULL: the put is */
        size_t last_bytes;
    } cases[] = {
        {{(const uint8_t *)"a", 1}, {(const uint8_t *)"c", 1}, "b", "c", 1},
        {{(const uint8_t *)"a", 1}, {(const uint8_t *)"c", 1}, "c", NULL, 0},
        {{(const uint8_t *)"a", 1}, {(const uint8_t *)"c", 1}, "d", NULL, 0},
        {{(const uint8_t *)"a", 1}, {(const uint8_t *)"c\0", 2}, "b", "c", 1},
        {{(const uint8_t *)"a", 1}, {(const uint8_t *)"c\0", 2}, "c", NULL, 0},
        {{(const uint8_t *)"a", 1}, {(const uint8_t *)"c\0\0", 3}, "b", "c\0", 2},
        {{(const uint8_t *)"b", 1}, {(const uint8_t *)"b\0", 2}, "b", NULL, 0},
        {{(const uint8_t *)"a", 1}, {(const uint8_t *)"aaaaaaaaaaaa", 12}, "a", "aaaaaaaaaaaa", 12},
        {{NULL, 0}, {(const uint8_t *)"\0", 1}, "", NULL, 0},
        {{NULL, 0}, {(const uint8_t *)"a", 1}, "", "a", 1},
        {{NULL, 0}, {(const uint8_t *)"\xff\xff", 2}, "b", "\xff\xff", 2},
    };
    for (size_t i = 0; i < 2 * (sizeof cases / sizeof *cases); i++) {
        model m = {0};
        size_t c = i / 2;
        t.cut = i % 2;
        snprintf(table_case, sizeof table_case, "case %zu, %s", c, t.cut ? "cut" : "not cut");
        model_add(&m, slice_somewhere(cases[c].first), 5, FIRN_DELETE_RANGE, cases[c].end);
        model_add(&m, str(cases[c].put), 4, FIRN_PUT, str("v"));
        sst_reader *r = open_right(&m);
        firn_slice last = str(cases[c].put);
        if (cases[c].last && !t.cut)
            last = (firn_slice){(const uint8_t *)cases[c].last, cases[c].last_bytes};
        CHECK(slice_equal(sst_reader_properties(r)->key_max, last));
        sst_reader_close(r);
        model_release(&m);
    }
}

/* Several numbers over the same keys are cut alike. */
static void a_cut_ends_ranges_of_all_numbers(void **state)
{
    (void)state;
    model m = {0};
    for (uint64_t seq = 9; seq > 5; seq--)
        delete_range(&m, "b", "k", seq);
    model_add(&m, str("a"), 1, FIRN_PUT, str("v"));
    model_add(&m, str("f"), 1, FIRN_PUT, str("v"));
    model_sort(&m);
    t.cut = true;
    sst_reader *r = open_right(&m);
    size_t count;
    const sst_range *range = sst_reader_ranges(r, &count);
    CHECK(count == 4);
    for (size_t i = 0; i < count; i++)
        CHECK(slice_equal(range[i].end, (firn_slice){(const uint8_t *)"f", 2}));
    sst_reader_close(r);
    model_release(&m);
}

/* ---- Many of them ---- */

static model model_with_ranges(uint64_t seed, const shape *s)
{
    table_seed = seed;
    rng rnd = rng_init(seed);
    model m = model_random(&rnd, s);
    model_add_ranges(&m, &rnd);
    return m;
}

static void a_reader_shows_ranges_as_versions_and_lists_them(void **state)
{
    (void)state;
    static const shape shapes[] = {
        {.keys = 6, .versions_max = 2, .key_max = 3, .value_max = 9, .alphabet = 2},
        {.keys = 300, .versions_max = 2, .key_max = 12, .value_max = 60, .alphabet = 4},
        {.keys = 30, .versions_max = 30, .key_max = 9, .value_max = 20, .alphabet = 3},
        {.keys = 80, .versions_max = 1, .key_max = 9, .prefix = 900, .value_max = 9, .alphabet = 3},
    };
    for (uint64_t seed = 1; seed <= 48; seed++) {
        model m = model_with_ranges(seed, &shapes[seed % 4]);
        rng rnd = rng_init(seed);
        t.wo.compression = (sst_compression)(seed % 3);
        t.wo.block_bytes = seed % 5 ? 128 : 4096;
        t.ro.mapped = seed % 2;
        t.cut = seed % 7 < 3;
        snprintf(table_case, sizeof table_case, "random");
        sst_reader *r = open_right(&m);
        table_check_gets(r, &m, &rnd);
        table_check_iter(r, &m, SST_FILL);
        table_check_seeks(r, &m, &rnd, SST_PASS);
        table_check_walk(r, &m, &rnd, 200);
        CHECK(table_read_all(r, &m, SST_WORK, &err) == FIRN_OK);
        sst_reader_close(r);
        model_release(&m);
    }
}

static void the_list_of_blocks_keeps_all_and_stays_short(void **state)
{
    (void)state;
    buf list = {0};
    for (uint32_t n = 0; n < 3 * SST_RANGE_BLOCKS_MOST; n++) {
        assert_int_equal(sst_range_blocks_add(&list, 3 * n + 5), FIRN_OK);
        if (n % 2 == 0) /* its neighbour makes a pair longer */
            assert_int_equal(sst_range_blocks_add(&list, 3 * n + 6), FIRN_OK);
        assert_int_equal(sst_range_blocks_add(&list, get_u32(list.data + list.size - 8)), FIRN_OK);
        uint64_t blocks = 3 * (uint64_t)n + (n % 2 ? 6 : 7);
        assert_true(sst_range_blocks_fit(buf_slice(&list), blocks));
        assert_false(sst_range_blocks_fit(buf_slice(&list), blocks - 1));
        assert_true(list.size == 8 * (size_t)(n + 1) || list.size == SST_RANGE_BLOCKS_BYTES);
    }
    for (uint32_t n = 0; n < SST_RANGE_BLOCKS_MOST - 1; n++) {
        assert_int_equal(get_u32(list.data + 8 * (size_t)n), 3 * n + 5);
        assert_int_equal(get_u32(list.data + 8 * (size_t)n + 4), n % 2 ? 1 : 2);
    }
    assert_int_equal(buf_append(&list, "\0\0\0\1\0\0\0\1", 8), FIRN_OK);
    assert_false(sst_range_blocks_fit(buf_slice(&list), UINT64_MAX));
    buf_release(&list);
}

static void numbered(model *m, uint32_t n, uint8_t kind, size_t end_more)
{
    static uint8_t value[100];
    uint8_t key[4];
    for (unsigned i = 0; i < 4; i++)
        key[i] = value[i] = (uint8_t)(n >> (24 - 8 * i));
    memset(value + 4, 'v', sizeof value - 4);
    model_add(m, (firn_slice){key, 4}, 1 + n % 9, kind, (firn_slice){value, 4 + end_more});
}

/* A block with a range delete, a block without, and so on: too many to tell each. */
static void more_blocks_than_can_be_told_apart_lose_none(void **state)
{
    (void)state;
    model m = {0};
    for (uint32_t n = 0; n < 2 * (SST_RANGE_BLOCKS_MOST + 500); n++)
        numbered(&m, n, n % 2 ? FIRN_DELETE_RANGE : FIRN_PUT, 90);
    t.wo.block_bytes = 64;
    for (unsigned way = 0; way < 4; way++) {
        snprintf(table_case, sizeof table_case, "way %u", way);
        t.wo.compression = way & 1 ? SST_COMPRESSION_LZ4 : SST_COMPRESSION_NONE;
        t.ro.mapped = way & 2;
        sst_reader *r = open_right(&m);
        CHECK(sst_reader_properties(r)->blocks == m.count);
        CHECK(r->props.range_blocks.size == SST_RANGE_BLOCKS_BYTES);
        sst_reader_close(r);
    }
    model_release(&m);
}

static uint64_t reads_of_opening(void)
{
    sst_reader *r = NULL;
    uint64_t before = simfs_calls(t.sim, SIMFS_READ);
    CHECK(table_open(&t, &r, &err) == FIRN_OK);
    uint64_t reads = simfs_calls(t.sim, SIMFS_READ) - before;
    sst_reader_close(r);
    return reads;
}

static void opening_reads_the_blocks_that_have_some_and_no_others(void **state)
{
    (void)state;
    uint64_t reads[3];
    for (unsigned ranges = 0; ranges < 3; ranges++) {
        model m = {0};
        for (uint32_t n = 0; n < 400; n++)
            numbered(&m, n, n % 150 == 100 && n / 150 < ranges ? FIRN_DELETE_RANGE : FIRN_PUT, 90);
        build(&m);
        reads[ranges] = reads_of_opening();
        model_release(&m);
    }
    CHECK(reads[1] == reads[0] + 1 && reads[2] == reads[0] + 2);
}

/* ---- Properties that lie ---- */

enum { TAIL = 80 };

/* A key that fills most of a block: its letter, and TAIL times the same. */
static firn_slice long_key(char letter, uint8_t room[TAIL + 1])
{
    memset(room, 'x', TAIL + 1);
    room[0] = (uint8_t)letter;
    return (firn_slice){room, TAIL + 1};
}

/* Blocks: 0 put a, 1 range b to c, 2 range c to d, 3 put d, 4 range e to g, 5 put f. */
static model six_blocks(void)
{
    static const char letters[] = "abcdef", ends[] = "\0cd\0g";
    uint8_t key[TAIL + 1], end[TAIL + 1];
    model m = {0};
    for (size_t i = 0; i < 6; i++)
        model_add(&m, long_key(letters[i], key), 7, ends[i] ? FIRN_DELETE_RANGE : FIRN_PUT,
                  long_key(ends[i] ? ends[i] : 'v', end));
    return m;
}

typedef struct claim {
    uint64_t count;
    uint32_t list[6];
    size_t list_bytes;
    char key_min, key_max; /* another one; 0: the right one */
    int open, verify;      /* what these say */
} claim;

enum { NO_PROPERTY = 100 };

static void put_claim(const claim *c, buf *out)
{
    uint8_t bytes[12 + sizeof c->list] = {0};
    if (c->list_bytes == NO_PROPERTY)
        return;
    put_u16(bytes, 0x8002);
    put_u16(bytes + 2, (uint16_t)(8 + c->list_bytes));
    put_u64(bytes + 4, c->count);
    for (size_t i = 0; i < 6; i++)
        put_u32(bytes + 12 + 4 * i, c->list[i]);
    CHECK(buf_append(out, bytes, 12 + c->list_bytes) == FIRN_OK);
}

/* Other properties stand at the end of the file, with right checksums. */
static void forge(const claim *c)
{
    uint8_t min[TAIL + 1], max[TAIL + 1], footer[SST_FOOTER_BYTES] = {0};
    sst_footer f;
    sst_props p;
    const char *why;
    size_t size;
    buf props = {0}, file = {0};
    const uint8_t *data = simfs_peek(t.sim, TABLE_PATH, &size);
    CHECK(sst_footer_get(data + size - SST_FOOTER_BYTES, &f, &why) == FIRN_OK);
    CHECK(sst_props_get((firn_slice){data + f.props.offset, (size_t)f.props.size}, &p) == FIRN_OK);
    p.shown.ranges = 0;
    if (c->key_min)
        p.shown.key_min = long_key(c->key_min, min);
    if (c->key_max)
        p.shown.key_max = long_key(c->key_max, max);
    CHECK(sst_props_put(&p, &props) == FIRN_OK);
    put_claim(c, &props);
    f.props.size = props.size;
    f.file_bytes = f.props.offset + props.size + SST_TRAILER_BYTES + SST_FOOTER_BYTES;
    sst_footer_put(&f, footer);
    CHECK(buf_append(&file, data, (size_t)f.props.offset) == FIRN_OK);
    CHECK(buf_append(&file, props.data, props.size) == FIRN_OK);
    CHECK(buf_append(&file, footer, SST_TRAILER_BYTES) == FIRN_OK);
    sst_trailer_put(file.data + f.props.offset, (uint32_t)props.size, SST_COMPRESSION_NONE,
                    (uint32_t)props.size, f.salt, f.props.offset);
    CHECK(buf_append(&file, footer, sizeof footer) == FIRN_OK);
    simfs_write_file(t.sim, TABLE_PATH, file.data, file.size);
    buf_release(&props);
    buf_release(&file);
}

static void expect_told(int open, int verify)
{
    sst_reader *r = NULL;
    err = (firn_error){0};
    int rc = table_open(&t, &r, &err);
    CHECK(rc == open && err.status == open);
    if (rc == FIRN_OK) {
        rc = sst_verify(r, &err);
        CHECK(rc == verify && err.status == verify);
    }
    CHECK(rc == FIRN_OK || (err.file[0] && err.message[0] && err.hint[0]));
    sst_reader_close(r);
    CHECK(budget_held(sst_cache_budget(t.cache), BUDGET_TABLES) == 0);
}

static void properties_that_lie_about_ranges_are_told(void **state)
{
    (void)state;
    enum { OK = FIRN_OK, BAD = FIRN_DAMAGED };
    static const claim claims[] = {
        {3, {1, 2, 4, 1}, 16, 0, 0, OK, OK},
        {2, {1, 2, 4, 1}, 16, 0, 0, BAD, 0},
        {4, {1, 2, 4, 1}, 16, 0, 0, BAD, 0},
        {0, {1, 2, 4, 1}, 16, 0, 0, BAD, 0},
        {UINT64_MAX, {1, 2, 4, 1}, 16, 0, 0, BAD, 0},
        {0, {0}, 0, 0, 0, BAD, 0},
        {3, {0}, 0, 0, 0, BAD, 0},
        {3, {1, 2}, 8, 0, 0, BAD, 0}, /* a block is missing */
        {2, {1, 2}, 8, 0, 0, OK, BAD},
        {1, {4, 1}, 8, 0, 0, OK, BAD},
        {0, {0}, NO_PROPERTY, 0, 0, OK, BAD},
        {1, {3, 1}, 8, 0, 0, BAD, 0},  /* it has none */
        {3, {1, 4}, 8, 0, 0, OK, BAD}, /* blocks that have none are listed, too */
        {3, {0, 6}, 8, 0, 0, OK, BAD},
        {3, {1, 1, 2, 1, 4, 1}, 24, 0, 0, BAD, 0}, /* pairs touch each other, */
        {3, {4, 1, 1, 2}, 16, 0, 0, BAD, 0},       /* descend, */
        {5, {1, 2, 1, 2, 4, 1}, 24, 0, 0, BAD, 0}, /* are there twice, */
        {4, {1, 2, 2, 3}, 16, 0, 0, BAD, 0},       /* overlap, */
        {3, {1, 2, 3, 0, 4, 1}, 24, 0, 0, BAD, 0}, /* are empty, */
        {3, {1, 2, 4, 3}, 16, 0, 0, BAD, 0},       /* or leave the table */
        {3, {1, 2, 6, 1}, 16, 0, 0, BAD, 0},
        {3, {1, UINT32_MAX}, 8, 0, 0, BAD, 0},
        {3, {UINT32_MAX, 2}, 8, 0, 0, BAD, 0},
        {3, {1, 2, 4, 1}, 12, 0, 0, BAD, 0}, /* half a pair */
        {3, {1, 2, 4, 1}, 9, 0, 0, BAD, 0},
        {3, {1, 2, 4, 1}, 16, 'c', 0, BAD, 0}, /* one begins in front of the table, */
        {3, {1, 2, 4, 1}, 16, 0, 'd', BAD, 0}, /* or behind it */
        {3, {1, 2, 4, 1}, 16, 0, 'f', OK, OK}, /* as if it had been cut */
        {3, {1, 2, 4, 1}, 16, 0, 'e', OK, BAD},
        {3, {1, 2, 4, 1}, 16, 0, 'h', OK, BAD},
    };
    model m = six_blocks();
    t.wo.block_bytes = 64;
    for (size_t i = 0; i < 2 * (sizeof claims / sizeof *claims); i++) {
        snprintf(table_case, sizeof table_case, "claim %zu", i / 2);
        t.ro.mapped = i % 2;
        build(&m);
        forge(&claims[i / 2]);
        expect_told(claims[i / 2].open, claims[i / 2].verify);
    }
    model_release(&m);
}

/* A byte of block `i`, counted from its beginning, or from its end if it is negative. */
static void forge_byte(uint32_t i, int which, uint8_t value)
{
    sst_footer f;
    const char *why;
    size_t size;
    const uint8_t *data = simfs_peek(t.sim, TABLE_PATH, &size);
    CHECK(sst_footer_get(data + size - SST_FOOTER_BYTES, &f, &why) == FIRN_OK);
    const uint8_t *sizes = data + f.index.offset + 8 + get_u16(data + f.index.offset + 4);
    uint64_t at = 0;
    for (uint32_t n = 0; n < i; n++)
        at += get_u32(sizes + (size_t)n * 4) + SST_TRAILER_BYTES;
    uint32_t bytes = get_u32(sizes + (size_t)i * 4);
    uint8_t block[1024];
    CHECK(bytes + SST_TRAILER_BYTES <= sizeof block);
    memcpy(block, data + at, bytes);
    block[which < 0 ? (int)bytes + which : which] = value;
    sst_trailer_put(block, bytes, SST_COMPRESSION_NONE, bytes, f.salt, at);
    simfs_poke(t.sim, TABLE_PATH, at, block, bytes + SST_TRAILER_BYTES);
}

static void ranges_that_break_the_rules_are_told(void **state)
{
    (void)state;
    static const struct {
        uint32_t block;
        char end;
        int open, verify;
    } cases[] = {
        {1, 'c', FIRN_OK, FIRN_OK},      {1, 'd', FIRN_DAMAGED, 0}, {1, 'b', FIRN_DAMAGED, 0},
        {1, 'a', FIRN_DAMAGED, 0},       {2, 'f', FIRN_DAMAGED, 0}, {2, 'c', FIRN_DAMAGED, 0},
        {2, 'z', FIRN_DAMAGED, 0},       {4, 'd', FIRN_DAMAGED, 0}, {4, 'h', FIRN_OK, FIRN_DAMAGED},
        {4, 'f', FIRN_OK, FIRN_DAMAGED},
    };
    model m = six_blocks();
    t.wo.block_bytes = 64;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(table_case, sizeof table_case, "case %zu", i);
        build(&m);
        forge_byte(cases[i].block, -TAIL - 1, (uint8_t)cases[i].end);
        expect_told(cases[i].open, cases[i].verify);
    }
    model_release(&m);
}

/* The same range twice: the number in the second block is its sequence base. */
static void numbers_of_a_range_that_do_not_descend_are_told(void **state)
{
    (void)state;
    uint8_t key[TAIL + 1], end[TAIL + 1];
    model m = {0};
    model_add(&m, long_key('b', key), 7, FIRN_DELETE_RANGE, long_key('c', end));
    model_add(&m, long_key('b', key), 5, FIRN_DELETE_RANGE, long_key('c', end));
    t.wo.block_bytes = 64;
    for (uint8_t seq = 1; seq < 10; seq++) {
        snprintf(table_case, sizeof table_case, "%u behind 7", seq);
        build(&m);
        forge_byte(1, 8, seq);
        /* The properties name 5 as the smallest number. */
        expect_told(seq < 7 ? FIRN_OK : FIRN_DAMAGED, seq == 5 ? FIRN_OK : FIRN_DAMAGED);
    }
    model_release(&m);
}

/* ---- Damage and failures ---- */

static const shape small = {
    .keys = 16, .versions_max = 2, .key_max = 10, .value_max = 30, .alphabet = 4};

/* What is not refused is right, and something complains. */
static void check_told(const model *m)
{
    sst_reader *r = NULL;
    int rc = table_open(&t, &r, &err);
    if (rc == FIRN_OK) {
        table_check_ranges(&t, r, m);
        rc = table_read_all(r, m, SST_FILL, &err);
        CHECK(rc == FIRN_OK || rc == FIRN_DAMAGED);
        rc = sst_verify(r, &err);
    }
    CHECK(rc == FIRN_DAMAGED && err.status == rc && err.file[0] && err.hint[0]);
    sst_reader_close(r);
}

static void every_flipped_bit_is_told(void **state)
{
    (void)state;
    model m = model_with_ranges(31, &small);
    for (unsigned o = 0; o < 4; o++) {
        t.wo.compression = (sst_compression)(o % 3);
        t.ro.mapped = o != 3;
        t.cut = o % 2;
        sst_reader *r = open_right(&m);
        CHECK(sst_reader_properties(r)->ranges > 3 && sst_reader_properties(r)->blocks > 3);
        sst_reader_close(r);
        table_flip_bits(&t, o, check_told, &m);
    }
    model_release(&m);
}

static void a_failed_allocation_while_writing_leaves_no_table(void **state)
{
    (void)state;
    model m = model_with_ranges(32, &small);
    for (unsigned o = 0; o < 3; o++) {
        int rc = FIRN_NO_MEMORY;
        t.wo.compression = (sst_compression)o;
        for (uint64_t n = 1; rc != FIRN_OK; n++) {
            snprintf(table_case, sizeof table_case, "compression %u, allocation %llu", o,
                     (unsigned long long)n);
            err = (firn_error){0};
            alloc_fail_at(n);
            rc = table_build(&t, &m, &err);
            alloc_fail_at(0);
            CHECK(rc == FIRN_OK || (rc == FIRN_NO_MEMORY && err.status == rc));
            CHECK(simfs_exists(t.sim, TABLE_PATH) == (rc == FIRN_OK));
        }
        sst_reader_close(open_right(&m));
    }
    model_release(&m);
}

static void check_no_charges(void)
{
    const memory_budget *b = sst_cache_budget(t.cache);
    CHECK(budget_held(b, BUDGET_TABLES) == 0 && budget_held(b, BUDGET_SCRATCH) == 0);
    CHECK(budget_parts(b) == 0 && budget_held(b, BUDGET_BLOCKS) == 0);
}

static void a_failed_allocation_while_opening_is_a_status(void **state)
{
    (void)state;
    model m = model_with_ranges(33, &small);
    for (unsigned o = 0; o < 4; o++) {
        bool failed = true;
        t.wo.compression = (sst_compression)(o % 3);
        t.ro.mapped = o != 3;
        build(&m);
        check_no_charges();
        for (uint64_t n = 1; failed; n++) {
            sst_reader *r = NULL;
            snprintf(table_case, sizeof table_case, "option set %u, allocation %llu", o,
                     (unsigned long long)n);
            err = (firn_error){0};
            alloc_fail_at(n);
            int rc = table_open(&t, &r, &err);
            alloc_fail_at(0);
            failed = alloc_count() >= n;
            /* Mapping is done without if it must. */
            CHECK(rc == FIRN_OK || (rc == FIRN_NO_MEMORY && err.status == rc && failed && !r));
            if (rc == FIRN_OK)
                table_check_ranges(&t, r, &m);
            sst_reader_close(r);
            check_no_charges();
        }
    }
    model_release(&m);
}

static void a_failed_allocation_while_verifying_is_a_status(void **state)
{
    (void)state;
    model m = model_with_ranges(34, &small);
    sst_reader *r = open_right(&m);
    int rc = FIRN_NO_MEMORY;
    for (uint64_t n = 1; rc != FIRN_OK; n++) {
        snprintf(table_case, sizeof table_case, "allocation %llu", (unsigned long long)n);
        alloc_fail_at(n);
        rc = sst_verify(r, &err);
        alloc_fail_at(0);
        CHECK(rc == FIRN_OK || (rc == FIRN_NO_MEMORY && err.status == rc));
    }
    sst_reader_close(r);
    model_release(&m);
}

static void a_table_is_charged_for_its_ranges(void **state)
{
    (void)state;
    size_t memory[2];
    for (unsigned way = 0; way < 4; way++) {
        model m = {0};
        t.ro.mapped = way & 2;
        for (uint32_t n = 0; n < 400; n++)
            numbered(&m, n, way & 1 ? FIRN_DELETE_RANGE : FIRN_PUT, 90);
        sst_reader *r = open_right(&m);
        memory[way & 1] = sst_reader_memory(r);
        CHECK(budget_held(sst_cache_budget(t.cache), BUDGET_TABLES) >=
              (way & 1 ? 400 * (sizeof(sst_range) + 94 + 4) : 1));
        sst_reader_close(r);
        check_no_charges();
        model_release(&m);
    }
    CHECK(memory[1] >= memory[0] + 400 * (sizeof(sst_range) + 94 + 4));
}

/* ---- Salvage ---- */

typedef struct salvaged {
    const model *m;
    size_t next, passed, gaps;
} salvaged;

static int on_entry(void *ctx, firn_slice key, uint64_t seq, uint8_t kind, firn_slice value)
{
    salvaged *s = ctx;
    size_t at = model_seek(s->m, key, seq);
    CHECK(at >= s->next && at < s->m->count);
    const version *v = &s->m->v[at];
    CHECK(v->seq == seq && v->kind == kind && slice_equal(v->key, key));
    CHECK(
        slice_equal(v->value, value)); /* an end as it was written, also of a table that was cut */
    s->next = at + 1;
    s->passed++;
    return FIRN_OK;
}

static int on_gap(void *ctx, uint64_t offset, uint64_t bytes, firn_slice after, firn_slice before)
{
    salvaged *s = ctx;
    (void)offset;
    (void)bytes;
    (void)after;
    (void)before;
    s->gaps++;
    return FIRN_OK;
}

static salvaged salvage(const model *m)
{
    salvaged s = {.m = m};
    const sst_salvage_sink sink = {&s, on_entry, on_gap};
    CHECK(sst_salvage(t.dir, TABLE_NAME, t.wo.store_id, t.wo.table_no, &sink, &err) == FIRN_OK);
    return s;
}

static void range_deletes_are_salvaged(void **state)
{
    (void)state;
    model m = model_with_ranges(35, &small);
    for (unsigned way = 0; way < 12; way++) {
        static const uint8_t zeros[SST_FOOTER_BYTES];
        size_t size;
        snprintf(table_case, sizeof table_case, "way %u", way);
        t.wo.compression = (sst_compression)(way % 3);
        t.cut = way / 3 % 2;
        build(&m);
        simfs_peek(t.sim, TABLE_PATH, &size);
        if (way >= 6)
            simfs_poke(t.sim, TABLE_PATH, size - sizeof zeros, zeros, sizeof zeros);
        salvaged s = salvage(&m);
        CHECK(s.passed == m.count && s.gaps == 0);
        simfs_flip_bit(t.sim, TABLE_PATH, 8 * 300);
        s = salvage(&m);
        CHECK(s.passed < m.count && s.passed > m.count / 2 && s.gaps == 1);
    }
    model_release(&m);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_writer_takes_ranges_that_are_apart_or_the_same),
        TEST(a_writer_refuses_ranges_that_overlap_or_are_empty),
        TEST(the_longest_end_is_right_behind_the_longest_key),
        TEST(bounds_reach_as_far_as_range_deletes),
        TEST(a_cut_ends_ranges_of_all_numbers),
        TEST(a_reader_shows_ranges_as_versions_and_lists_them),
        TEST(the_list_of_blocks_keeps_all_and_stays_short),
        TEST(more_blocks_than_can_be_told_apart_lose_none),
        TEST(opening_reads_the_blocks_that_have_some_and_no_others),
        TEST(properties_that_lie_about_ranges_are_told),
        TEST(ranges_that_break_the_rules_are_told),
        TEST(numbers_of_a_range_that_do_not_descend_are_told),
        TEST(every_flipped_bit_is_told),
        TEST(a_failed_allocation_while_writing_leaves_no_table),
        TEST(a_failed_allocation_while_opening_is_a_status),
        TEST(a_failed_allocation_while_verifying_is_a_status),
        TEST(a_table_is_charged_for_its_ranges),
        TEST(range_deletes_are_salvaged),
    };
    return cmocka_run_group_tests_name("sstable.ranges", tests, NULL, NULL);
}
