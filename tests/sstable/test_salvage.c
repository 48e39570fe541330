/* What is salvaged from a damaged table: every version of every block that is intact, in order, and for
 * each that is missing a gap that names the keys around it. Also without an index, without a footer,
 * and from a disk that cannot read some sectors. */
#include "table.h"

#include "format.h"
#include "index.h"

#include <base/alloc.h>

#include <errno.h>

static table t;
static model m;
static firn_error err;

/* Where the blocks lie, by the intact table's index, and which versions each holds. */
#define BLOCKS_MOST 200
static size_t block_count;
static uint64_t block_from[BLOCKS_MOST + 1];
static size_t block_first[BLOCKS_MOST + 1];
static size_t file_size;
static sst_footer footer;

static int setup(void **state)
{
    (void)state;
    table_init(&t, 1 << 16);
    t.wo.block_bytes = 256;
    table_seed = 71;
    rng rnd = rng_init(table_seed);
    m = model_random(&rnd, &(shape){150, 3, 10, 4, 60, 4});
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    alloc_fail_at(0);
    simfs_heal(t.sim);
    simfs_on_call(t.sim, NULL, NULL);
    model_release(&m);
    table_release(&t);
    return 0;
}

/* ---- What was passed on ---- */

typedef struct gap {
    uint64_t offset, bytes;
    buf after, before;
    bool has_after, has_before;
    size_t at; /* how many versions had been passed on */
} gap;

typedef struct catch
{
    bool *there; /* by version of the model */
    size_t next, passed;
    gap gaps[64];
    size_t gap_count;
    int stop_with; /* returned by the first entry */
}
catch;

static int catch_entry(void *ctx, firn_slice key, uint64_t seq, uint8_t kind, firn_slice value)
{
    catch *c = ctx;
    size_t at = model_seek(&m, key, seq);
    CHECK(at < m.count && at >= c->next); /* in order, and each once */
    const version *v = &m.v[at];
    CHECK(v->seq == seq && v->kind == kind && slice_equal(v->key, key) &&
          slice_equal(v->value, value));
    c->there[at] = true;
    c->next = at + 1;
    c->passed++;
    return c->stop_with;
}

static int catch_gap(void *ctx, uint64_t offset, uint64_t bytes, firn_slice after,
                     firn_slice before)
{
    catch *c = ctx;
    CHECK(c->gap_count < 64);
    gap *g = &c->gaps[c->gap_count++];
    *g = (gap){.offset = offset, .bytes = bytes, .at = c->passed};
    g->has_after = after.data != NULL;
    g->has_before = before.data != NULL;
    assert_int_equal(buf_append(&g->after, after.data, after.size), FIRN_OK);
    assert_int_equal(buf_append(&g->before, before.data, before.size), FIRN_OK);
    return FIRN_OK;
}

static void catch_init(catch *c)
{
    *c = (catch){.there = calloc(m.count + 1, sizeof(bool))};
    assert_non_null(c->there);
}

static void catch_release(catch *c)
{
    for (size_t i = 0; i < c->gap_count; i++) {
        buf_release(&c->gaps[i].after);
        buf_release(&c->gaps[i].before);
    }
    free(c->there);
}

static int salvage(catch *c)
{
    sst_salvage_sink sink = {.ctx = c, .entry = catch_entry, .gap = catch_gap};
    return sst_salvage(t.dir, TABLE_NAME, t.wo.store_id, t.wo.table_no, &sink, &err);
}

static bool within(const gap *g, firn_slice key)
{
    return (!g->has_after || slice_compare(slice_somewhere(buf_slice(&g->after)), key) <= 0) &&
           (!g->has_before || slice_compare(key, slice_somewhere(buf_slice(&g->before))) <= 0);
}

/* Everything outside of [from, to) of the file must be there; what is not lies within a gap. */
static void check_salvaged(const catch *c, uint64_t from, uint64_t to)
{
    for (size_t b = 0; b < block_count; b++) {
        bool hit = from < block_from[b + 1] && to > block_from[b];
        for (size_t i = block_first[b]; i < block_first[b + 1]; i++) {
            CHECK(hit || c->there[i]);
            bool told = c->there[i];
            for (size_t g = 0; g < c->gap_count && !told; g++)
                told = within(&c->gaps[g], m.v[i].key);
            CHECK(told);
        }
    }
}

/* ---- The table ---- */

static void build(sst_compression compression)
{
    sst_index ix;
    const char *why;
    t.wo.compression = compression;
    snprintf(table_case, sizeof table_case, "compression %d", compression);
    CHECK(table_build(&t, &m, &err) == FIRN_OK);
    const uint8_t *bytes = simfs_peek(t.sim, TABLE_PATH, &file_size);
    CHECK(sst_footer_get(bytes + file_size - SST_FOOTER_BYTES, &footer, &why) == FIRN_OK);
    CHECK(sst_index_open((firn_slice){bytes + footer.index.offset, footer.index.size}, &ix) ==
          FIRN_OK);
    block_count = ix.count;
    CHECK(block_count > 20 && block_count <= BLOCKS_MOST);
    memcpy(block_from, ix.offsets, (block_count + 1) * sizeof(uint64_t));
    size_t at = 0;
    for (uint32_t b = 0; b < ix.count; b++) {
        block_first[b] = at;
        while (at < m.count && sst_index_compare(&ix, b, m.v[at].key, m.v[at].seq) >= 0)
            at++;
    }
    block_first[block_count] = at;
    CHECK(at == m.count);
    sst_index_release(&ix);
}

static void zero(uint64_t from, uint64_t to)
{
    static const uint8_t zeros[65536];
    CHECK(to - from <= sizeof zeros);
    simfs_poke(t.sim, TABLE_PATH, from, zeros, (size_t)(to - from));
}

static void all_gone(const char *what, bool index)
{
    snprintf(table_case, sizeof table_case, "%s", what);
    if (index)
        zero(footer.index.offset, footer.index.offset + footer.index.size);
    else
        zero(file_size - SST_FOOTER_BYTES, file_size);
}

/* ---- Tests ---- */

static void an_intact_table_is_salvaged_without_a_gap(void **state)
{
    (void)state;
    for (int how = 0; how < 9; how++) {
        build((sst_compression)(how % 3));
        if (how / 3 > 0)
            all_gone(how / 3 == 1 ? "no index" : "no footer", how / 3 == 1);
        catch c;
        catch_init(&c);
        CHECK(salvage(&c) == FIRN_OK);
        CHECK(c.passed == m.count && c.gap_count == 0);
        catch_release(&c);
    }
}

/* Exactly the damaged block is missing, and the gap says where and between which keys. */
static void one_damaged_block_costs_one_block(void **state)
{
    (void)state;
    for (int how = 0; how < 9; how++) {
        build((sst_compression)(how % 3));
        if (how / 3 > 0)
            all_gone(how / 3 == 1 ? "no index" : "no footer", how / 3 == 1);
        for (size_t b = 0; b < block_count; b++) {
            uint64_t bit = (block_from[b] + (b * 7) % (block_from[b + 1] - block_from[b])) * 8;
            simfs_flip_bit(t.sim, TABLE_PATH, bit);
            catch c;
            catch_init(&c);
            CHECK(salvage(&c) == FIRN_OK);
            CHECK(c.gap_count == 1);
            const gap *g = &c.gaps[0];
            CHECK(g->offset == block_from[b] && g->offset + g->bytes == block_from[b + 1]);
            CHECK(g->at == block_first[b] && g->has_after == (b > 0) &&
                  g->has_before == (b + 1 < block_count));
            if (b > 0)
                CHECK(slice_equal(buf_slice(&g->after), m.v[block_first[b] - 1].key));
            if (b + 1 < block_count)
                CHECK(slice_equal(buf_slice(&g->before), m.v[block_first[b + 1]].key));
            for (size_t i = 0; i < m.count; i++)
                CHECK(c.there[i] == (i < block_first[b] || i >= block_first[b + 1]));
            catch_release(&c);
            simfs_flip_bit(t.sim, TABLE_PATH, bit);
        }
    }
}

/* Ranges that are zero, or noise, or a copy of other bytes of the table. */
static void every_damaged_range_is_told(void **state)
{
    (void)state;
    rng rnd = rng_init(table_seed + 1);
    for (int round = 0; round < 300; round++) {
        build((sst_compression)(round % 3));
        uint64_t from = rng_below(&rnd, file_size - 1);
        uint64_t most = file_size - from < 2000 ? file_size - from : 2000;
        uint64_t size = 1 + rng_below(&rnd, most);
        snprintf(table_case, sizeof table_case, "round %d: %llu bytes at %llu", round,
                 (unsigned long long)size, (unsigned long long)from);
        uint8_t noise[2000];
        if (round / 3 % 3 == 0)
            memset(noise, 0, size);
        else if (round / 3 % 3 == 1)
            rng_fill(&rnd, noise, size);
        else
            memcpy(noise, simfs_peek(t.sim, TABLE_PATH, &file_size) + (file_size - size) / 3, size);
        simfs_poke(t.sim, TABLE_PATH, from, noise, size);
        if (round % 2)
            zero(file_size - SST_FOOTER_BYTES, file_size);
        catch c;
        catch_init(&c);
        CHECK(salvage(&c) == FIRN_OK);
        check_salvaged(&c, from, from + size);
        catch_release(&c);
    }
}

static void a_file_cut_anywhere_gives_what_is_left(void **state)
{
    (void)state;
    for (int compression = 0; compression < 3; compression++) {
        build((sst_compression)compression);
        size_t whole = file_size;
        for (uint64_t cut = whole; cut > 0; cut -= cut < 97 ? cut : 97) {
            snprintf(table_case, sizeof table_case, "compression %d, cut to %llu", compression,
                     (unsigned long long)cut);
            simfs_cut(t.sim, TABLE_PATH, cut);
            catch c;
            catch_init(&c);
            CHECK(salvage(&c) == FIRN_OK);
            check_salvaged(&c, cut, whole);
            catch_release(&c);
        }
    }
}

/* The first read of the whole file fails, and then one sector of it. */
static int fail_sector(void *ctx, unsigned call, uint64_t index, const char *name)
{
    uint64_t *reads = ctx; /* [0]: so far, [1]: the one to fail */
    (void)index;
    (void)name;
    if (call != SIMFS_READ)
        return 0;
    reads[0]++;
    return reads[0] == 1 || reads[0] == reads[1] ? EIO : 0;
}

static void a_sector_that_cannot_be_read_costs_its_blocks(void **state)
{
    (void)state;
    build(SST_COMPRESSION_NONE);
    uint64_t sectors = (file_size + 4095) / 4096;
    CHECK(sectors > 3 && file_size <= 65536);
    for (uint64_t s = 0; s < sectors; s++) {
        uint64_t reads[2] = {0, s + 2};
        simfs_on_call(t.sim, fail_sector, reads);
        snprintf(table_case, sizeof table_case, "sector %llu", (unsigned long long)s);
        catch c;
        catch_init(&c);
        CHECK(salvage(&c) == FIRN_OK);
        CHECK(reads[0] == sectors + 1);
        check_salvaged(&c, s * 4096, (s + 1) * 4096);
        CHECK(c.gap_count > 0 || s * 4096 >= block_from[block_count]);
        catch_release(&c);
    }
}

/* Blocks of another table, or of another place in this one, are not taken for its own. */
static void blocks_that_belong_elsewhere_are_not_believed(void **state)
{
    (void)state;
    build(SST_COMPRESSION_LZ4);
    catch c;
    catch_init(&c);
    t.wo.table_no = 2;
    CHECK(salvage(&c) == FIRN_OK);
    t.wo.table_no = 1;
    CHECK(c.passed == 0 && c.gap_count == 1);
    CHECK(c.gaps[0].offset == 0 && c.gaps[0].bytes == file_size);
    catch_release(&c);
}

static void what_the_sink_returns_stops_the_salvage(void **state)
{
    (void)state;
    for (int index = 0; index < 2; index++) {
        build(SST_COMPRESSION_NONE);
        if (!index)
            all_gone("no index", true);
        catch c;
        catch_init(&c);
        c.stop_with = FIRN_DAMAGED;
        CHECK(salvage(&c) == FIRN_DAMAGED);
        CHECK(c.passed == 1);
        catch_release(&c);
    }
}

static void a_failed_allocation_is_a_status(void **state)
{
    (void)state;
    build(SST_COMPRESSION_ZLIB);
    bool failed = true;
    uint64_t n;
    for (n = 1; failed; n++) {
        catch c;
        catch_init(&c);
        snprintf(table_case, sizeof table_case, "allocation %llu", (unsigned long long)n);
        err = (firn_error){0};
        alloc_fail_at(n);
        int rc = salvage(&c);
        alloc_fail_at(0);
        failed = alloc_count() >= n;
        /* Without memory for the index, the file is walked: as good. */
        CHECK(rc == FIRN_OK || (rc == FIRN_NO_MEMORY && err.status == rc && failed));
        CHECK(rc != FIRN_OK || c.passed == m.count);
        catch_release(&c);
    }
    CHECK(n > 4);
}

static void a_table_says_whose_it_is(void **state)
{
    (void)state;
    uint64_t id[2], no;
    build(SST_COMPRESSION_NONE);
    CHECK(sst_identify(t.dir, TABLE_NAME, id, &no, &err) == FIRN_OK);
    CHECK(id[0] == t.wo.store_id[0] && id[1] == t.wo.store_id[1] && no == t.wo.table_no);
    simfs_flip_bit(t.sim, TABLE_PATH, (file_size - 20) * 8);
    CHECK(sst_identify(t.dir, TABLE_NAME, id, &no, &err) == FIRN_DAMAGED);
    CHECK(err.file[0] && err.hint[0]);
    simfs_cut(t.sim, TABLE_PATH, 5);
    CHECK(sst_identify(t.dir, TABLE_NAME, id, &no, &err) == FIRN_DAMAGED);
    simfs_remove(t.sim, TABLE_PATH);
    CHECK(sst_identify(t.dir, TABLE_NAME, id, &no, &err) == FIRN_NOT_FOUND);
    CHECK(salvage(&(catch){0}) == FIRN_NOT_FOUND);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_intact_table_is_salvaged_without_a_gap),
        TEST(one_damaged_block_costs_one_block),
        TEST(every_damaged_range_is_told),
        TEST(a_file_cut_anywhere_gives_what_is_left),
        TEST(a_sector_that_cannot_be_read_costs_its_blocks),
        TEST(blocks_that_belong_elsewhere_are_not_believed),
        TEST(what_the_sink_returns_stops_the_salvage),
        TEST(a_failed_allocation_is_a_status),
        TEST(a_table_says_whose_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
