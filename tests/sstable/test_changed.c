/* A mapped table that changes after its blocks were found right: what is read again must not reach out of the block, nor
 * out of an iterator's buffer. */
#include "table.h"

#include <base/alloc.h>
#include <base/entry.h>

enum { PAGE = 4096 };

static table t;
static model m;
static sst_reader *reader;
static const uint8_t *file; /* what the mapping shows */
static size_t file_bytes, data_bytes, key_max;
static uint8_t *saved;

static void begin(uint64_t seed)
{
    const shape s = {
        .keys = 900, .versions_max = 3, .key_max = 20, .prefix = 3, .value_max = 60, .alphabet = 4};
    firn_error err;
    rng r = rng_init(seed);
    table_seed = seed;
    table_init(&t, 1 << 16);
    t.wo.compression = SST_COMPRESSION_NONE;
    t.wo.block_bytes = 512;
    t.ro.mapped = true;
    m = model_random(&r, &s);
    CHECK(table_build(&t, &m, &err) == FIRN_OK);
    CHECK(table_open(&t, &reader, &err) == FIRN_OK);
    CHECK(table_read_all(reader, &m, SST_FILL, &err) ==
          FIRN_OK); /* now each block has been found right */
    file = simfs_peek(t.sim, TABLE_PATH, &file_bytes);
    data_bytes = (size_t)sst_reader_properties(reader)->data_bytes;
    saved = malloc(file_bytes);
    CHECK(saved);
    memcpy(saved, file, file_bytes);
    key_max = 0;
    for (size_t i = 0; i < m.count; i++)
        key_max = m.v[i].key.size > key_max ? m.v[i].key.size : key_max;
}

static void end(void)
{
    sst_reader_close(reader);
    free(saved);
    model_release(&m);
    table_release(&t);
}

static void restore(void)
{
    simfs_poke(t.sim, TABLE_PATH, 0, saved, file_bytes);
}

static void touch(firn_slice s)
{
    volatile uint8_t sum = 0;
    for (size_t i = 0; i < s.size; i++)
        sum = (uint8_t)(sum + s.data[i]);
}

/* The value lies in the mapping: in its data, where blocks are. */
static void touch_value(firn_slice s)
{
    CHECK(s.size == 0 || (s.data >= file && s.data + s.size <= file + data_bytes));
    touch(s);
}

static unsigned use_gets(void)
{
    unsigned told = 0;
    for (size_t i = 0; i < m.count; i++) {
        sst_hit hit;
        firn_error err = {0};
        firn_slice key = m.v[i].key;
        int rc = sst_get(reader, key, sst_key_hash(key), m.v[i].seq, &hit, &err);
        CHECK(rc == FIRN_OK || rc == FIRN_NOT_FOUND || rc == FIRN_DAMAGED);
        if (rc == FIRN_OK) {
            CHECK(entry_kind_known(hit.kind));
            touch_value(hit.value);
            sst_pin_release(&hit.pin);
        }
        if (rc == FIRN_DAMAGED)
            CHECK(strstr(err.message, "changed") && err.hint[0] && strstr(err.file, TABLE_NAME));
        told += rc == FIRN_DAMAGED;
    }
    return told;
}

static unsigned walk(iter *it, bool backward)
{
    for (size_t steps = 0; it->valid; steps++) {
        CHECK(steps <= data_bytes);
        CHECK(it->key.size <= key_max);
        CHECK(entry_kind_known(it->kind));
        touch(it->key);
        touch_value(it->value);
        backward ? it->ops->prev(it) : it->ops->next(it);
    }
    CHECK(it->status == FIRN_OK || it->status == FIRN_DAMAGED);
    return it->status == FIRN_DAMAGED;
}

static unsigned use_iterators_within(rng *r, const iter_limits *limits)
{
    unsigned told = 0;
    for (unsigned way = 0; way < 8; way++) {
        iter *it = NULL;
        firn_slice key = m.v[rng_below(r, m.count)].key;
        CHECK(sst_iter_new(reader, way & 4 ? SST_FILL : SST_PASS, &it) == FIRN_OK);
        it->limits = limits;
        if (way & 1)
            way & 2 ? it->ops->seek_before(it, key, FIRN_MAX_SEQ) : it->ops->last(it);
        else
            way & 2 ? it->ops->seek(it, key, FIRN_MAX_SEQ) : it->ops->first(it);
        told += walk(it, way & 1);
        it->ops->close(it);
    }
    return told;
}

static unsigned use_iterators(rng *r)
{
    return use_iterators_within(r, NULL);
}

static unsigned use_iterators_with_limits(rng *r)
{
    iter_limits limits = {.seq_max = m.v[rng_below(r, m.count)].seq};
    if (rng_below(r, 2))
        limits.lower = m.v[rng_below(r, m.count)].key;
    if (rng_below(r, 2))
        limits.upper = m.v[rng_below(r, m.count)].key;
    return use_iterators_within(r, &limits);
}

/* An iterator that stands in a block while the block changes. */
static void change_under_an_iterator(rng *r, bool backward)
{
    iter *it = NULL;
    CHECK(sst_iter_new(reader, SST_FILL, &it) == FIRN_OK);
    it->ops->seek(it, m.v[m.count / 2].key, FIRN_MAX_SEQ);
    CHECK(it->valid);
    uint8_t noise[2 * PAGE];
    rng_fill(r, noise, sizeof noise);
    size_t at = it->value.data ? (size_t)(it->value.data - file) : data_bytes / 2;
    at = at > PAGE ? at - PAGE : 0;
    size_t room = data_bytes - at < sizeof noise ? data_bytes - at : sizeof noise;
    simfs_poke(t.sim, TABLE_PATH, at, noise, room);
    backward ? it->ops->prev(it) : it->ops->next(it);
    (void)walk(it, backward);
    it->ops->close(it);
    restore();
}

static void what_changes_in_a_mapping_is_told_and_never_left(void **state)
{
    (void)state;
    rng r = rng_init(21);
    begin(20);
    CHECK(use_gets() == 0 && use_iterators(&r) == 0 && use_iterators_with_limits(&r) == 0);
    /* Everything as great as can be written, or nothing at all. */
    static uint8_t full[1 << 20];
    CHECK(data_bytes <= sizeof full);
    memset(full, 0xff, sizeof full);
    simfs_poke(t.sim, TABLE_PATH, 0, full, data_bytes);
    CHECK(use_gets() > 0 && use_iterators(&r) == 8);
    (void)use_iterators_with_limits(&r);
    memset(full, 0, sizeof full);
    simfs_poke(t.sim, TABLE_PATH, 0, full, data_bytes);
    CHECK(use_gets() > 0 && use_iterators(&r) == 8);
    (void)use_iterators_with_limits(&r);
    restore();
    unsigned told = 0, told_within = 0;
    for (unsigned round = 0; round < 400; round++) {
        unsigned changes = 1 + round % 60;
        snprintf(table_case, sizeof table_case, "round %u", round);
        for (unsigned n = 0; n < changes; n++) {
            static const uint8_t likely[] = {0, 1, 0x7f, 0x80, 0xff};
            uint8_t byte =
                round % 2 ? likely[rng_below(&r, sizeof likely)] : (uint8_t)rng_below(&r, 256);
            simfs_poke(t.sim, TABLE_PATH, rng_below(&r, data_bytes), &byte, 1);
        }
        told += use_gets() + use_iterators(&r);
        told_within += use_iterators_with_limits(&r);
        restore();
        change_under_an_iterator(&r, round & 1);
    }
    CHECK(told > 100 && told_within > 100);
    CHECK(use_gets() == 0 && use_iterators(&r) == 0);
    end();
}

/* The key of an entry outgrows what the table says of its longest. Found by shape: a body whose suffix is short. */
static void a_key_that_grows_does_not_leave_the_buffer(void **state)
{
    (void)state;
    rng r = rng_init(3);
    begin(77);
    unsigned told = 0;
    for (size_t at = 16; at + 1 < data_bytes; at += 1 + rng_below(&r, 9)) {
        static const uint8_t sizes[] = {21, 22, 40, 60, 100, 200};
        simfs_poke(t.sim, TABLE_PATH, at, &sizes[at % sizeof sizes], 1);
        told += at % 8 == 0 ? use_iterators(&r) + use_iterators_with_limits(&r) : 0;
        if (at % 64 < 8)
            restore();
    }
    CHECK(told > 0);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_changes_in_a_mapping_is_told_and_never_left),
        cmocka_unit_test(a_key_that_grows_does_not_leave_the_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
