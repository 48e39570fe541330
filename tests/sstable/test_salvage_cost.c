/* What a salvage costs, whatever the file holds: a file twice as large takes no more than twice the steps. Steps are
 * counted, not timed: bytes read, places looked at, and the units of everything else. And what is intact between all that is
 * found all the same. */
#include "table.h"

#include "compress.h"
#include "block.h"
#include "index.h"
#include "salvage.h"

#include "support/tempdir.h"

static table t;
static firn_error err;
static uint8_t *bytes; /* of the file */
static size_t room, used;
static uint32_t salt;

enum { SMALLEST = 1 << 18, DOUBLINGS = 3, UNITS_PER_BYTE = 6, FIRST_UNITS = 2 << 20 };

static int setup(void **state)
{
    (void)state;
    table_init(&t, 1 << 16);
    salt = sst_salt(t.wo.store_id, t.wo.table_no);
    room = ((size_t)SMALLEST << DOUBLINGS) + (4 << 20);
    bytes = calloc(1, room);
    assert_non_null(bytes);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(bytes);
    table_release(&t);
    return 0;
}

/* ---- The sink ---- */

typedef struct catch
{
    uint64_t versions, gaps;
    bool refuses;
}
catch;

static int catch_entry(void *ctx, firn_slice key, uint64_t seq, uint8_t kind, firn_slice value)
{
    catch *c = ctx;
    (void)seq, (void)kind, (void)value;
    CHECK(key.size == 8);
    c->versions++;
    return c->refuses ? SST_SALVAGE_REFUSED : FIRN_OK;
}

static int catch_gap(void *ctx, uint64_t offset, uint64_t size, firn_slice after, firn_slice before)
{
    catch *c = ctx;
    (void)offset, (void)size, (void)after, (void)before;
    c->gaps++;
    return FIRN_OK;
}

static catch salvaged(fs_dir *dir, bool refuses, sst_salvage_cost *cost)
{
    catch c = {.refuses = refuses};
    sst_salvage_sink sink = {.ctx = &c, .entry = catch_entry, .gap = catch_gap};
    CHECK(sst_salvage_counted(dir, TABLE_NAME, t.wo.store_id, t.wo.table_no, &sink, cost, &err) ==
          FIRN_OK);
    return c;
}

/* ---- What files are made of ---- */

static void add(const void *data, size_t size)
{
    CHECK(size <= room - used);
    memcpy(bytes + used, data, size);
    used += size;
}

static void add_byte(uint8_t byte)
{
    add(&byte, 1);
}

/* A data block of one version; keys ascend with `number`. The value is noise, zeros, or a word. */
static size_t plain_block(uint8_t *out, uint64_t number, size_t value_size, const uint8_t *noise)
{
    enum { KEY_BYTES = 8, BODIES = SST_BLOCK_HEADER_BYTES + 1 + 4 + 4 };
    memset(out, 0, BODIES);
    put_u32(out, 1);
    out[6] = SST_BLOCK_WIDE;
    put_u64(out + 8, 5);
    for (unsigned i = 0; i < 4; i++)
        out[17 + i] = (uint8_t)(number >> (8 * (4 + i)));
    put_u32(out + 21, BODIES);
    uint8_t *p = out + BODIES;
    *p++ = FIRN_PUT | 2 << 6;
    *p++ = KEY_BYTES;
    put_u32(p, (uint32_t)value_size);
    p += 4;
    for (unsigned i = 0; i < KEY_BYTES; i++)
        *p++ = (uint8_t)(number >> (8 * (KEY_BYTES - 1 - i)));
    if (noise)
        memcpy(p, noise, value_size);
    else
        memset(p, 0, value_size);
    return (size_t)(p - out) + value_size;
}

static uint64_t next_number;

static void add_plain(size_t value_size, const uint8_t *noise)
{
    CHECK(room - used > value_size + 64);
    size_t size = plain_block(bytes + used, ++next_number, value_size, noise);
    sst_trailer_put(bytes + used, (uint32_t)size, SST_COMPRESSION_NONE, (uint32_t)size, salt, used);
    used += size + SST_TRAILER_BYTES;
}

/* The payload, packed, with a right checksum. */
static void add_packed(const uint8_t *raw, size_t size, sst_compression how)
{
    sst_packer p;
    firn_slice packed;
    CHECK(sst_packer_init(&p, how) == FIRN_OK);
    CHECK(sst_pack(&p, (firn_slice){raw, size}, &packed) == FIRN_OK);
    CHECK(packed.size + SST_TRAILER_BYTES <= room - used);
    memcpy(bytes + used, packed.data, packed.size);
    sst_trailer_put(bytes + used, (uint32_t)packed.size, (uint8_t)how, (uint32_t)size, salt, used);
    used += packed.size + SST_TRAILER_BYTES;
    sst_packer_release(&p);
}

static void add_packed_block(size_t value_size, const uint8_t *noise, sst_compression how)
{
    uint8_t raw[8192];
    CHECK(value_size < sizeof raw / 2);
    size_t size = plain_block(raw, ++next_number, value_size, noise);
    memset(raw + size - value_size / 2, 'a', value_size / 2); /* so that it packs */
    add_packed(raw, size, how);
}

/* ---- Kinds of files; each goes on until there are `size` bytes ---- */

typedef struct kind {
    const char *name;
    void (*add)(rng *r, size_t round);
    bool found;    /* all versions that are put in are passed on */
    bool refuses;  /* the sink wants none of them */
    uint64_t owed; /* what one block can cost that proves to be of no use */
} kind;

static const uint8_t *noise_of(rng *r)
{
    static uint8_t noise[4096];
    rng_fill(r, noise, sizeof noise);
    return noise;
}

static void add_random(rng *r, size_t round)
{
    (void)round;
    add(noise_of(r), 4096);
}

static void add_ones(rng *r, size_t round)
{
    (void)r, (void)round;
    add_byte(1);
}

static void add_zero(rng *r, size_t round)
{
    (void)r, (void)round;
    add_byte(0);
}

/* Every fifth place is the trailer of a packed block that may begin at any place of the 64 KiB in front of it. */
static void add_packed_ends(rng *r, size_t round)
{
    (void)r, (void)round;
    add("\1\0\0\1\0", 5);
}

/* Lengths that lead back to before: 64 bytes, 16 KiB, 4 MiB. */
static void add_plain_ends(rng *r, size_t round)
{
    (void)r, (void)round;
    add("\0\100\0\0", 4);
}

/* Beginnings of blocks that end together, far ahead, and one trailer for each. */
static void add_far_lengths(rng *r, size_t round)
{
    (void)r;
    uint8_t block[64];
    plain_block(block, round + 1, 0, NULL);
    put_u32(block + 27, (uint32_t)(1 << 16) - (uint32_t)(used & ((1 << 16) - 1)));
    if (used & 1 << 16)
        add(block, 39);
    else
        add((uint8_t[]){0, (uint8_t)round, (uint8_t)(round >> 8), 0, 0}, 5);
}

static void add_stray(rng *r, size_t round)
{
    (void)round;
    add_plain(rng_below(r, 4000), noise_of(r));
    add_byte((uint8_t)rng_below(r, 256));
}

static void add_stray_lz4(rng *r, size_t round)
{
    (void)round;
    add_packed_block(500 + rng_below(r, 3000), noise_of(r), SST_COMPRESSION_LZ4);
    add_byte((uint8_t)rng_below(r, 256));
}

static void add_stray_zlib(rng *r, size_t round)
{
    (void)round;
    add_packed_block(500 + rng_below(r, 3000), noise_of(r), SST_COMPRESSION_ZLIB);
    for (uint64_t n = rng_below(r, 40); n > 0; n--)
        add_byte((uint8_t)rng_below(r, 256));
}

/* What costs as much as there is to spend, in front of every block. */
static void add_drained(rng *r, size_t round)
{
    for (unsigned i = 0; i < 2000; i++)
        add_packed_ends(r, round);
    add_plain(1000, noise_of(r));
}

/* Zeros, of which the file system makes holes, behind every block and inside of every second. */
static void add_holes(rng *r, size_t round)
{
    static const uint8_t zeros[20000];
    add_plain(round % 2 ? 30000 : rng_below(r, 4000), round % 2 ? NULL : noise_of(r));
    add(zeros, sizeof zeros);
}

/* The same intact block everywhere: right in one place, if at all. */
static void add_repeated(rng *r, size_t round)
{
    static size_t size;
    if (round == 0) {
        add_plain(1000, noise_of(r));
        size = used;
    }
    add(bytes, size);
}

/* Blocks that begin within others. */
static void add_overlapping(rng *r, size_t round)
{
    add_plain(1000, noise_of(r));
    used -= 1 + rng_below(r, 900 + round % 2);
}

/* The same payload time and again: packed once, and the trailer made for each place. */
typedef struct packed {
    uint8_t *data;
    size_t size;
} packed;

static void add_again(packed *p, const uint8_t *raw, uint32_t raw_size, sst_compression how)
{
    if (!p->data) {
        size_t at = used;
        add_packed(raw, raw_size, how);
        p->size = used - at - SST_TRAILER_BYTES;
        p->data = malloc(p->size);
        assert_non_null(p->data);
        memcpy(p->data, bytes + at, p->size);
        used = at;
    }
    CHECK(p->size + SST_TRAILER_BYTES <= room - used);
    memcpy(bytes + used, p->data, p->size);
    sst_trailer_put(bytes + used, (uint32_t)p->size, (uint8_t)how, raw_size, salt, used);
    used += p->size + SST_TRAILER_BYTES;
}

static void add_bomb(sst_compression how)
{
    enum { BOMB_BYTES = 8 << 20 };
    static packed packs[3];
    uint8_t *zeros = calloc(1, BOMB_BYTES);
    assert_non_null(zeros);
    add_again(&packs[how], zeros, BOMB_BYTES, how);
    free(zeros);
}

static void add_bomb_lz4(rng *r, size_t round)
{
    (void)r, (void)round;
    add_bomb(SST_COMPRESSION_LZ4);
}

static void add_bomb_zlib(rng *r, size_t round)
{
    (void)r, (void)round;
    add_bomb(SST_COMPRESSION_ZLIB);
}

/* A block like any other, but that it takes a thousand times as much when it is unpacked. */
static void add_large_when_unpacked(rng *r, size_t round)
{
    enum { BYTES = 8 << 20 };
    static packed once;
    (void)r, (void)round;
    uint8_t *raw = malloc(BYTES);
    assert_non_null(raw);
    add_again(&once, raw, (uint32_t)plain_block(raw, 1, BYTES - 64, NULL), SST_COMPRESSION_ZLIB);
    free(raw);
}

/* Packed blocks that claim the most their size allows, with checksums that are wrong, or right over noise. */
static void add_claims(rng *r, size_t round)
{
    size_t size = 256 + rng_below(r, 2000);
    add(noise_of(r), size);
    bytes[used - size] = 0xff; /* no stream */
    sst_trailer_put(bytes + used - size, (uint32_t)size, (uint8_t)(1 + round % 2),
                    (uint32_t)size * 250, salt, used - size);
    used += SST_TRAILER_BYTES;
    bytes[used - 1] ^= (uint8_t)(round % 3);
}

/* An intact table again and again, cut at its end or not: its filters, indexes and footers in the middle. */
static void add_tables(rng *r, size_t round)
{
    static uint8_t *whole;
    static size_t size;
    if (round == 0) {
        rng rnd = rng_init(table_seed);
        model m = model_random(&rnd, &(shape){150, 3, 10, 4, 60, 4});
        CHECK(table_build(&t, &m, &err) == FIRN_OK);
        const uint8_t *found = simfs_peek(t.sim, TABLE_PATH, &size);
        free(whole);
        whole = malloc(size);
        assert_non_null(whole);
        memcpy(whole, found, size);
        model_release(&m);
    }
    size_t from = round == 0 ? 4000 : 0; /* not its first blocks: what follows is in order */
    add(whole + from, size - from - (round % 3 == 0 ? rng_below(r, 200) : 0));
}

static const kind kinds[] = {
    {"random", add_random, false, false, 0},
    {"0x01", add_ones, false, false, 0},
    {"zeros", add_zero, false, false, 0},
    {"ends of packed blocks", add_packed_ends, false, false, 0},
    {"ends of plain blocks", add_plain_ends, false, false, 0},
    {"lengths that lead far ahead", add_far_lengths, false, false, 0},
    {"blocks with a stray byte between", add_stray, true, false, 0},
    {"LZ4 blocks with a stray byte between", add_stray_lz4, true, false, 0},
    {"deflate blocks with stray bytes between", add_stray_zlib, true, false, 0},
    {"blocks behind what costs much", add_drained, true, false, 0},
    {"blocks and holes", add_holes, true, false, 0},
    {"one block repeated", add_repeated, false, false, 0},
    {"overlapping blocks", add_overlapping, false, false, 0},
    {"LZ4 bombs", add_bomb_lz4, false, false, 8 << 20},
    {"deflate bombs", add_bomb_zlib, false, false, 8 << 20},
    {"large blocks that do not fit", add_large_when_unpacked, false, true, 8 << 20},
    {"claims", add_claims, false, false, 600000},
    {"tables in tables", add_tables, false, false, 0},
};

static void make(const kind *k, size_t size)
{
    rng r = rng_init(table_seed);
    used = 0;
    next_number = 0;
    for (size_t round = 0; used < size; round++)
        k->add(&r, round);
}

static uint64_t steps(const sst_salvage_cost *c)
{
    return c->read + c->scanned + c->units;
}

static void twice_the_bytes_take_twice_the_steps(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const kind *k = &kinds[i];
        sst_salvage_cost before = {0};
        size_t size_before = 0;
        for (int n = 0; n <= DOUBLINGS; n++) {
            make(k, (size_t)SMALLEST << n);
            snprintf(table_case, sizeof table_case, "%s, %zu bytes", k->name, used);
            simfs_write_file(t.sim, TABLE_PATH, bytes, used);
            sst_salvage_cost c;
            catch found = salvaged(t.dir, k->refuses, &c);
            CHECK(!k->found || found.versions == next_number);
            CHECK(c.scanned <= used);
            CHECK(c.read <= used + used / 4 + c.units * 2 + 4096);
            CHECK(c.units <= FIRST_UNITS + UNITS_PER_BYTE * (uint64_t)used + k->owed);
            if (n > 0)
                CHECK(steps(&c) <= steps(&before) * used / size_before + FIRST_UNITS / 4);
            before = c;
            size_before = used;
        }
    }
}

/* A hole that the window cannot hold, in a value; and one in front of it. */
static void a_block_around_a_hole_is_found(void **state)
{
    (void)state;
    rng r = rng_init(table_seed);
    used = 0;
    next_number = 0;
    for (unsigned i = 0; i < 3; i++) {
        add_random(&r, 0);
        used += i == 1 ? 100000 : 0;
        add_plain(i == 2 ? 1000 : 2 * SALVAGE_WINDOW_BYTES - 500000, NULL);
    }
    simfs_write_file(t.sim, TABLE_PATH, bytes, used);
    sst_salvage_cost c;
    catch found = salvaged(t.dir, false, &c);
    CHECK(found.versions == 3 && found.gaps == 4);
}

/* ---- With an index ---- */

static void add_meta(const void *payload, size_t size, sst_handle *out)
{
    *out = (sst_handle){used, size};
    add(payload, size);
    CHECK(room - used > SST_TRAILER_BYTES);
    sst_trailer_put(bytes + used - size, (uint32_t)size, SST_COMPRESSION_NONE, (uint32_t)size, salt,
                    used - size);
    used += SST_TRAILER_BYTES;
}

/* An index over so many blocks of the kind, and a footer: as intact as a table can be that holds nothing. */
static void make_indexed(void (*add_block)(rng *, size_t), size_t size)
{
    sst_index_builder ix = {0};
    buf index = {0};
    rng r = rng_init(table_seed);
    used = 0;
    next_number = 0;
    for (size_t round = 0; used < size; round++) {
        size_t at = used;
        uint8_t key[8];
        add_block(&r, round);
        for (unsigned i = 0; i < 8; i++)
            key[i] = (uint8_t)(round >> (8 * (7 - i)));
        CHECK(sst_index_builder_add(&ix, (uint32_t)(used - at - SST_TRAILER_BYTES),
                                    (firn_slice){key, 8}, 0) == FIRN_OK);
    }
    CHECK(sst_index_builder_finish(&ix, &index) == FIRN_OK);
    sst_footer f = {
        .store_id = {t.wo.store_id[0], t.wo.store_id[1]}, .table_no = t.wo.table_no, .salt = salt};
    add_meta(index.data, index.size, &f.index);
    add_meta("props", 5, &f.props);
    f.file_bytes = used + SST_FOOTER_BYTES;
    CHECK(room - used >= SST_FOOTER_BYTES);
    sst_footer_put(&f, bytes + used);
    used += SST_FOOTER_BYTES;
    sst_index_builder_release(&ix);
    buf_release(&index);
}

static void what_an_index_names_takes_no_more(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        make_indexed(i ? add_bomb_zlib : add_large_when_unpacked, SMALLEST);
        snprintf(table_case, sizeof table_case, "index %u", i);
        simfs_write_file(t.sim, TABLE_PATH, bytes, used);
        sst_salvage_cost c;
        catch found = salvaged(t.dir, true, &c);
        CHECK(found.versions <= 1 && found.gaps == 1);
        CHECK(c.read <= used + used / 4);
        CHECK(c.units <= FIRST_UNITS + UNITS_PER_BYTE * (uint64_t)used + (8 << 20));
    }
}

/* ---- Sparse ---- */

static void put_file(fs_file *file, uint64_t at)
{
    CHECK(fs_write(file, bytes, used, at, &err) == FIRN_OK);
}

/* A terabyte, of which some megabytes are there. */
static void holes_take_no_time(void **state)
{
    (void)state;
    const uint64_t whole = UINT64_C(1) << 40;
    char *path = tempdir_new();
    fs_dir *dir;
    fs_file *file;
    CHECK(fs_dir_open(fs_posix(), path, &dir, &err) == FIRN_OK);
    CHECK(fs_open(dir, TABLE_NAME, FS_WRITE | FS_CREATE_NEW, &file, &err) == FIRN_OK);
    bool sparse = fs_truncate(file, whole, &err) == FIRN_OK;
    uint64_t begin, end;
    used = 0;
    next_number = 0;
    for (unsigned i = 0; i < 100; i++)
        add_plain(1000, NULL);
    put_file(file, 0);
    make(&(kind){.add = add_random}, 1 << 16);
    for (uint64_t at = 1 << 24; sparse && at < whole; at += whole / 256)
        put_file(file, at);
    sparse =
        sparse && fs_next_data(file, 1 << 20, &begin, &end, &err) == FIRN_OK && begin > 1 << 20;
    if (sparse) {
        sst_salvage_cost c;
        catch found = salvaged(dir, false, &c);
        CHECK(found.versions == 100 && found.gaps == 1);
        CHECK(c.scanned <= 257 * ((1 << 16) + 8192));
        CHECK(c.read <= UINT64_C(257) * (1 << 18) + (4 << 20));
    }
    fs_close(file);
    fs_dir_close(dir);
    tempdir_remove(path);
}

/* Thousands of small islands, and a page that claims again and again to end what they all are. */
static void islands_are_not_counted_again_for_each_claim(void **state)
{
    (void)state;
    enum { ISLANDS = 2000, DISTANCE = 16384, ISLAND = 4096 };
    static uint8_t island[ISLAND], claims[ISLAND];
    char *path = tempdir_new();
    fs_dir *dir;
    fs_file *file;
    uint64_t begin, end;
    memset(island, 0xff, sizeof island);
    memset(claims, 0xff, sizeof claims);
    for (unsigned i = 0; i < 3; i++) {
        uint8_t *p = island + 512 + i * 64;
        p[0] = SST_COMPRESSION_NONE;
        put_u32(p + 1, i < 2 ? 0xf000 : 0x3c00);
    }
    for (unsigned at = 0; at + 5 <= sizeof claims; at += 5)
        memcpy(claims + at, "\x02\xfe\xfe\xfe\x0f", 5);
    CHECK(fs_dir_open(fs_posix(), path, &dir, &err) == FIRN_OK);
    CHECK(fs_open(dir, TABLE_NAME, FS_WRITE | FS_CREATE_NEW, &file, &err) == FIRN_OK);
    for (uint64_t i = 0; i < ISLANDS; i++)
        CHECK(fs_write(file, island, sizeof island, i * DISTANCE, &err) == FIRN_OK);
    CHECK(fs_write(file, claims, sizeof claims, (uint64_t)ISLANDS * DISTANCE, &err) == FIRN_OK);
    CHECK(fs_truncate(file, (ISLANDS + 1) * DISTANCE, &err) == FIRN_OK);
    bool sparse = fs_next_data(file, ISLAND, &begin, &end, &err) == FIRN_OK && begin == DISTANCE;
    if (sparse) {
        sst_salvage_cost c;
        catch found = salvaged(dir, false, &c);
        CHECK(found.versions == 0);
        CHECK(c.asked < 100000);
    }
    fs_close(file);
    fs_dir_close(dir);
    tempdir_remove(path);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(twice_the_bytes_take_twice_the_steps),
        TEST(a_block_around_a_hole_is_found),
        TEST(what_an_index_names_takes_no_more),
        TEST(holes_take_no_time),
        TEST(islands_are_not_counted_again_for_each_claim),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
