/* A log that changes under its memtable: what is read again must not reach out of it. */
#include "../base/check.h"

#include <base/coding.h>
#include <base/entry.h>
#include <base/slice.h>
#include <memtable/memtable.h>
#include <stdio.h>
#include <string.h>

#include "support/guarded.h"
#include "support/rng.h"

enum { ENTRIES = 700, LOG_ROOM = 64 << 10 };

typedef struct log {
    guarded g; /* ends where the last entry does, before a page that may not be touched */
    uint32_t offsets[ENTRIES];
    uint8_t *saved;
    memtable *m;
    uint32_t keys; /* different ones */
} log_bed;

/* Of half of the keys the first eight bytes tell which they are, of the others the log must be asked. */
static int key_of(uint32_t i, char out[16])
{
    return snprintf(out, 16, i % 2 ? "key%05u" : "the same%05u", i);
}

static size_t one_entry(uint32_t i, uint32_t keys, uint8_t *to)
{
    char key[16], value[32];
    int key_size = key_of(i * 11 % ENTRIES % keys, key);
    int value_size = i % 5 == 0 ? 0 : snprintf(value, sizeof value, "value %u", i);
    entry_put_header(to, i % 5 == 0 ? FIRN_DELETE : FIRN_PUT, 0, (size_t)key_size,
                     (size_t)value_size);
    memcpy(to + ENTRY_HEADER_BYTES, key, (size_t)key_size);
    memcpy(to + ENTRY_HEADER_BYTES + key_size, value, (size_t)value_size);
    return entry_size((size_t)key_size, (size_t)value_size);
}

static void begin(log_bed *b, uint32_t keys)
{
    static uint8_t bytes[LOG_ROOM];
    size_t size = 0;
    b->keys = keys;
    for (uint32_t i = 0; i < ENTRIES; i++) {
        b->offsets[i] = (uint32_t)size;
        size += one_entry(i, keys, bytes + size);
    }
    b->g = guarded_new(size);
    memcpy(b->g.data, bytes, size);
    b->saved = bytes;
    memtable_options o = {.log_base = b->g.data, .log_bytes = size, .seq_base = 1};
    assert_int_equal(memtable_new(&o, &b->m), FIRN_OK);
    assert_int_equal(memtable_reserve(b->m, ENTRIES), FIRN_OK);
    for (uint32_t i = 0; i < ENTRIES; i++)
        memtable_add(b->m, b->offsets[i], i + 1);
}

static void end(log_bed *b)
{
    memtable_free(b->m);
    guarded_release(&b->g);
}

/* Looks at each byte: one outside kills the test. */
static void touch(const log_bed *b, firn_slice s)
{
    volatile uint8_t sum = 0;
    assert_true(s.size == 0 || (s.data >= b->g.data && s.size <= b->g.size &&
                                s.data + s.size <= b->g.data + b->g.size));
    for (size_t i = 0; i < s.size; i++)
        sum = (uint8_t)(sum + s.data[i]);
}

/* Gets, walks and seeks; how many of them said that the log has changed. */
static unsigned use(const log_bed *b)
{
    unsigned told = 0;
    iter *it = NULL;
    for (uint32_t i = 0; i < ENTRIES; i++) {
        char key[16];
        memtable_hit hit;
        int n = key_of(i, key);
        if (!memtable_get(b->m, (firn_slice){(uint8_t *)key, (size_t)n}, FIRN_MAX_SEQ, &hit))
            continue;
        touch(b, hit.value);
        told += hit.kind == 0;
        assert_true(hit.kind <= FIRN_DELETE_RANGE && (hit.kind != 0 || hit.value.size == 0));
    }
    firn_error err = {0};
    assert_int_equal(memtable_iter_new(b->m, &it), FIRN_OK);
    it->error = &err;
    for (unsigned way = 0; way < 4; way++) {
        firn_slice middle = slice_of_str("the same00350");
        if (way < 2)
            way == 0 ? it->ops->first(it) : it->ops->last(it);
        else
            way == 2 ? it->ops->seek(it, middle, FIRN_MAX_SEQ)
                     : it->ops->seek_before(it, middle, 0);
        for (unsigned steps = 0; it->valid && steps < 2 * ENTRIES; steps++) {
            touch(b, it->key);
            touch(b, it->value);
            way % 2 ? it->ops->prev(it) : it->ops->next(it);
        }
        assert_true(it->valid || it->status == FIRN_OK || it->status == FIRN_DAMAGED);
        told += it->status == FIRN_DAMAGED && err.message[0] && err.hint[0];
    }
    it->ops->close(it);
    return told;
}

static void AChangedLogIsToldAndNeverLeft(void **state)
{
    (void)state;
    log_bed b = {0};
    begin(&b, ENTRIES);
    assert_int_equal(use(&b), 0);
    /* Each length as great as can be written. */
    for (uint32_t i = 0; i < ENTRIES; i++)
        memset(b.g.data + b.offsets[i] + 4, 0xff, 4);
    assert_true(use(&b) > ENTRIES / 2);
    for (uint32_t i = 0; i < ENTRIES; i++)
        memset(b.g.data + b.offsets[i] + 2, 0xff, 6);
    (void)use(&b); /* no key is what it was */
    touch(&b, memtable_common_prefix(b.m));
    /* Keys that are alike to the end of the log, and would be behind it. */
    memset(b.g.data, 0xff, b.g.size);
    (void)use(&b);
    touch(&b, memtable_common_prefix(b.m));
    /* Kinds that there are not. */
    memcpy(b.g.data, b.saved, b.g.size);
    for (uint32_t i = 0; i < ENTRIES; i++)
        b.g.data[b.offsets[i]] = (uint8_t)(3 + i % 250);
    assert_true(use(&b) > ENTRIES / 2);
    /* Any bytes at all. */
    rng r = rng_init(7);
    for (unsigned round = 0; round < 200; round++) {
        memcpy(b.g.data, b.saved, b.g.size);
        for (unsigned n = 0; n < 1 + round % 40; n++)
            b.g.data[rng_below(&r, b.g.size)] = (uint8_t)rng_below(&r, 256);
        (void)use(&b);
        touch(&b, memtable_common_prefix(b.m));
    }
    memcpy(b.g.data, b.saved, b.g.size);
    assert_int_equal(use(&b), 0);
    end(&b);
}

/* A movement that leads round for ever would end the test by its time. */
static void walk_within(const log_bed *b, const iter_limits *limits, rng *r)
{
    iter *it = NULL;
    char key[16];
    int n = key_of((uint32_t)rng_below(r, b->keys), key);
    firn_slice any = {(uint8_t *)key, (size_t)n};
    assert_int_equal(memtable_iter_new(b->m, &it), FIRN_OK);
    it->limits = limits;
    for (unsigned way = 0; way < 4; way++) {
        if (way < 2)
            way == 0 ? it->ops->first(it) : it->ops->last(it);
        else
            way == 2 ? it->ops->seek(it, any, rng_below(r, ENTRIES))
                     : it->ops->seek_before(it, any, rng_below(r, ENTRIES));
        for (unsigned steps = 0; it->valid && steps < 2 * ENTRIES; steps++) {
            assert_true(it->seq <= limits->seq_max);
            touch(b, it->key);
            touch(b, it->value);
            way % 2 ? it->ops->prev(it) : it->ops->next(it);
        }
        assert_true(it->valid || it->status == FIRN_OK || it->status == FIRN_DAMAGED);
    }
    it->ops->close(it);
}

static void WithLimitsAChangedLogIsNeverLeft(void **state)
{
    (void)state;
    static const uint32_t keys[] = {1, 4, 40, ENTRIES};
    rng r = rng_init(8);
    for (unsigned round = 0; round < 2000; round++) {
        log_bed b = {0};
        char low[16], high[16];
        begin(&b, keys[round % 4]);
        int low_size = key_of((uint32_t)rng_below(&r, b.keys), low);
        int high_size = key_of((uint32_t)rng_below(&r, b.keys), high);
        iter_limits limits = {.seq_max = rng_below(&r, ENTRIES + 1)};
        if (rng_below(&r, 2))
            limits.lower = (firn_slice){(uint8_t *)low, (size_t)low_size};
        if (rng_below(&r, 2))
            limits.upper = (firn_slice){(uint8_t *)high, (size_t)high_size};
        walk_within(&b, &limits, &r);
        for (unsigned n = 0; n < 1 + round % 400; n++) {
            uint32_t at = b.offsets[rng_below(&r, ENTRIES)];
            /* Behind the first eight bytes of a key, so that the log must be asked. */
            size_t byte = at + (round % 8 < 4 ? ENTRY_HEADER_BYTES + 8 + rng_below(&r, 4)
                                              : rng_below(&r, 30));
            if (byte < b.g.size)
                b.g.data[byte] = (uint8_t)rng_below(&r, 256);
        }
        walk_within(&b, &limits, &r);
        end(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(AChangedLogIsToldAndNeverLeft),
        cmocka_unit_test(WithLimitsAChangedLogIsNeverLeft),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
