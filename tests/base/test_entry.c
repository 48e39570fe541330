/* Encoded operations: what is written comes back, and nothing else passes. */
#include "check.h"

#include <base/entry.h>
#include <base/slice.h>
#include <support/guarded.h>
#include <support/rng.h>

#define SEED 20240104

static size_t encode(uint8_t *p, uint8_t kind, uint16_t bucket, firn_slice key, firn_slice value)
{
    entry_put_header(p, kind, bucket, key.size, value.size);
    if (key.size > 0)
        memcpy(p + ENTRY_HEADER_BYTES, key.data, key.size);
    if (value.size > 0)
        memcpy(p + ENTRY_HEADER_BYTES + key.size, value.data, value.size);
    return entry_size(key.size, value.size);
}

static void APutHasTheBytesOfTheFormat(void **state)
{
    (void)state;
    uint8_t p[64];
    size_t size = encode(p, FIRN_PUT, 0, slice_of_str("key"), slice_of_str("value"));
    assert_int_equal(size, 16);
    assert_memory_equal(p, "\x01\x00\x03\x00\x05\x00\x00\x00keyvalue", 16);
    entry e;
    size_t used;
    assert_int_equal(entry_decode(p, sizeof p, &e, &used), FIRN_OK);
    assert_int_equal(used, 16);
    assert_int_equal(e.kind, FIRN_PUT);
    assert_int_equal(e.bucket, 0);
    assert_true(slice_equal(e.key, slice_of_str("key")));
    assert_true(slice_equal(e.value, slice_of_str("value")));
    assert_ptr_equal(e.key.data, p + ENTRY_HEADER_BYTES);
    assert_true(slice_equal(entry_key(p), e.key));
    assert_true(slice_equal(entry_value(p), e.value));
}

static void EmptyKeysAndValuesAreOrdinary(void **state)
{
    (void)state;
    uint8_t p[ENTRY_HEADER_BYTES];
    entry e;
    size_t used;
    encode(p, FIRN_PUT, 0, slice_of(NULL, 0), slice_of(NULL, 0));
    assert_int_equal(entry_decode(p, sizeof p, &e, &used), FIRN_OK);
    assert_int_equal(used, ENTRY_HEADER_BYTES);
    assert_int_equal(e.key.size, 0);
    assert_int_equal(e.value.size, 0);
    encode(p, FIRN_DELETE, 0, slice_of(NULL, 0), slice_of(NULL, 0));
    assert_int_equal(entry_decode(p, sizeof p, &e, &used), FIRN_OK);
    assert_int_equal(e.kind, FIRN_DELETE);
}

static void AnEntryThatIsCutAnywhereIsDamaged(void **state)
{
    (void)state;
    uint8_t p[64];
    size_t size = encode(p, FIRN_PUT, 0, slice_of_str("some key"), slice_of_str("some value"));
    for (size_t cut = 0; cut < size; cut++) {
        guarded g = guarded_new(cut);
        memcpy(g.data, p, cut);
        entry e = {.kind = 77};
        size_t used = 99;
        assert_int_equal(entry_decode(g.data, cut, &e, &used), FIRN_DAMAGED);
        assert_int_equal(e.kind, 77);
        assert_int_equal(used, 99);
        guarded_release(&g);
    }
}

static void KindsOfLaterVersionsAreUnsupportedAndZeroIsDamage(void **state)
{
    (void)state;
    uint8_t p[64];
    for (unsigned kind = 0; kind < 16; kind++) {
        encode(p, (uint8_t)kind, 0, slice_of_str("k"), slice_of(NULL, 0));
        entry e;
        size_t used;
        int expected = kind == 0 || kind == FIRN_DELETE_RANGE    ? FIRN_DAMAGED /* no end */
                       : kind == FIRN_PUT || kind == FIRN_DELETE ? FIRN_OK
                                                                 : FIRN_UNSUPPORTED;
        assert_int_equal(entry_decode(p, sizeof p, &e, &used), expected);
    }
}

/* Its number lies in three places of the header, beside a kind and a length, which stay what they are. */
static void EveryBucketIsCarried(void **state)
{
    (void)state;
    uint8_t p[64];
    for (unsigned bucket = 0; bucket < ENTRY_BUCKETS; bucket++) {
        encode(p, FIRN_PUT, (uint16_t)bucket, slice_of_str("k"), slice_of_str("v"));
        entry e;
        size_t used;
        assert_int_equal(entry_decode(p, sizeof p, &e, &used), FIRN_OK);
        assert_int_equal(e.bucket, bucket);
        assert_int_equal(entry_bucket(p), bucket);
        assert_int_equal(e.kind, FIRN_PUT);
        assert_int_equal(entry_kind(p), FIRN_PUT);
        assert_int_equal(used, ENTRY_HEADER_BYTES + 2);
        assert_int_equal(entry_bytes(p), used);
        assert_int_equal(entry_value(p).size, 1);
        assert_true(slice_equal(e.value, slice_of_str("v")));
    }
    entry_put_header(p, FIRN_PUT, ENTRY_BUCKETS - 1, FIRN_MAX_KEY_BYTES, FIRN_MAX_VALUE_BYTES);
    assert_int_equal(entry_value_size(p), FIRN_MAX_VALUE_BYTES);
    assert_int_equal(entry_bucket(p), ENTRY_BUCKETS - 1);
    /* As versions that knew 255 buckets wrote them. */
    encode(p, FIRN_DELETE, 200, slice_of_str("k"), (firn_slice){0});
    assert_memory_equal(p, "\x02\xc8\x01\x00\x00\x00\x00\x00k", 9);
    encode(p, FIRN_PUT, 0x7abc, slice_of_str("k"), slice_of_str("v"));
    assert_memory_equal(p, "\xa1\xbc\x01\x00\x01\x00\x00\xe0kv", 10);
}

static void ARangeEndsBehindItsFirstKey(void **state)
{
    (void)state;
    static uint8_t p[ENTRY_HEADER_BYTES + 4 * FIRN_MAX_KEY_BYTES], bytes[FIRN_MAX_KEY_BYTES + 2];
    memset(bytes, 0xff, sizeof bytes);
    firn_slice greatest = {bytes, FIRN_MAX_KEY_BYTES}, behind = {bytes, FIRN_MAX_KEY_BYTES + 1},
               longer = {bytes, FIRN_MAX_KEY_BYTES + 2}, none = {bytes, 0};
    const struct {
        firn_slice first, end;
        bool ends_in_zero, fits;
    } cases[] = {
        {slice_of_str("a"), slice_of_str("b"), false, true},
        {none, slice_of_str("a"), false, true},
        {slice_of_str("a"), slice_of_str("a"), false, false},
        {slice_of_str("b"), slice_of_str("a"), false, false},
        {slice_of_str("a"), none, false, false},
        {greatest, behind, true, true}, /* of the greatest key alone */
        {none, behind, true, true},     /* of all keys */
        {none, behind, false, false},
        {none, longer, true, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        entry e;
        size_t used;
        bytes[FIRN_MAX_KEY_BYTES] = cases[i].ends_in_zero ? 0 : 0xff;
        assert_int_equal(entry_range_fits(cases[i].first, cases[i].end), cases[i].fits);
        encode(p, FIRN_DELETE_RANGE, 7, cases[i].first, cases[i].end);
        int rc = entry_decode(p, sizeof p, &e, &used);
        assert_int_equal(rc, cases[i].fits ? FIRN_OK : FIRN_DAMAGED);
        if (rc != FIRN_OK)
            continue;
        assert_true(slice_equal(e.key, cases[i].first) && slice_equal(e.value, cases[i].end));
        assert_int_equal(e.bucket, 7);
    }
}

/* Mostly the key and a 0; there is nothing longer than the longest one. */
static void TheKeyBehindAKeyIsTheNextOne(void **state)
{
    (void)state;
    enum { MOST = FIRN_MAX_KEY_BYTES };
    static uint8_t bytes[MOST], expected[MOST + 1];
    const struct {
        size_t size, ff; /* of the key, and at its end */
        size_t behind;   /* bytes of it that stay, with a last one that is one more */
    } cases[] = {
        {0, 0, 0},           {1, 1, 0}, {2, 1, 0},           {2, 2, 0},
        {MOST - 1, 1, 0},    {3, 0, 0}, {MOST, 0, MOST},     {MOST, 1, MOST - 1},
        {MOST, 2, MOST - 2}, {9, 9, 0}, {MOST, MOST - 1, 1}, {MOST, MOST, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        buf key = {0};
        size_t size = cases[i].size, stays = cases[i].behind ? cases[i].behind : size + 1;
        memset(bytes, 'm', sizeof bytes);
        memset(bytes + size - cases[i].ff, 0xff, cases[i].ff);
        memcpy(expected, bytes, size);
        if (cases[i].behind)
            expected[stays - 1]++;
        else
            expected[size] = 0;
        assert_int_equal(buf_append(&key, bytes, size), FIRN_OK);
        assert_int_equal(entry_key_behind(&key), FIRN_OK);
        assert_true(slice_equal(buf_slice(&key), slice_of(expected, stays)));
        assert_true(entry_range_fits(slice_of(bytes, size), buf_slice(&key)));
        buf_release(&key);
    }
}

static void ADeleteWithAValueIsDamaged(void **state)
{
    (void)state;
    uint8_t p[64];
    encode(p, FIRN_DELETE, 0, slice_of_str("k"), slice_of_str("v"));
    entry e;
    size_t used;
    assert_int_equal(entry_decode(p, sizeof p, &e, &used), FIRN_DAMAGED);
}

/* `available` is a claim here: lengths are judged without touching key or value. */
static void ValuesAreReadUpToTheirLimitAndNotBeyond(void **state)
{
    (void)state;
    uint8_t p[ENTRY_HEADER_BYTES];
    entry e;
    size_t used;
    const size_t plenty = (size_t)1 << 31;
    entry_put_header(p, FIRN_PUT, 0, FIRN_MAX_KEY_BYTES, FIRN_MAX_VALUE_BYTES - 1);
    assert_int_equal(entry_decode(p, plenty, &e, &used), FIRN_OK);
    entry_put_header(p, FIRN_PUT, 0, FIRN_MAX_KEY_BYTES, FIRN_MAX_VALUE_BYTES);
    assert_int_equal(entry_decode(p, plenty, &e, &used), FIRN_OK);
    assert_int_equal(used, entry_size(FIRN_MAX_KEY_BYTES, FIRN_MAX_VALUE_BYTES));
    entry_put_header(p, FIRN_PUT, 0, FIRN_MAX_KEY_BYTES, FIRN_MAX_VALUE_BYTES + 1);
    assert_int_equal(entry_decode(p, plenty, &e, &used), FIRN_DAMAGED);
    entry_put_header(p, FIRN_PUT, 0, 0, UINT32_MAX);
    assert_int_equal(entry_decode(p, SIZE_MAX, &e, &used), FIRN_DAMAGED);
}

static void LimitsHoldOneBelowAtAndOneAbove(void **state)
{
    (void)state;
    uint8_t b;
    static const struct {
        size_t key, value;
        int expected;
    } cases[] = {
        {0, 0, FIRN_OK},
        {FIRN_MAX_KEY_BYTES - 1, 0, FIRN_OK},
        {FIRN_MAX_KEY_BYTES, 0, FIRN_OK},
        {FIRN_MAX_KEY_BYTES + (size_t)1, 0, FIRN_TOO_LARGE},
        {1, FIRN_MAX_VALUE_BYTES - 1, FIRN_OK},
        {1, FIRN_MAX_VALUE_BYTES, FIRN_OK},
        {1, FIRN_MAX_VALUE_BYTES + (size_t)1, FIRN_TOO_LARGE},
        {SIZE_MAX, 0, FIRN_TOO_LARGE},
        {0, SIZE_MAX, FIRN_TOO_LARGE},
        {FIRN_MAX_KEY_BYTES, FIRN_MAX_VALUE_BYTES, FIRN_OK},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_int_equal(entry_check_limits(&b, cases[i].key, &b, cases[i].value),
                         cases[i].expected);
    assert_int_equal(entry_check_limits(NULL, 0, NULL, 0), FIRN_OK);
    assert_int_equal(entry_check_limits(NULL, 1, &b, 1), FIRN_INVALID);
    assert_int_equal(entry_check_limits(&b, 1, NULL, 1), FIRN_INVALID);
}

static void APayloadIsExactlyItsCountOfEntries(void **state)
{
    (void)state;
    uint8_t p[128];
    size_t size = 0;
    for (unsigned i = 0; i < 3; i++)
        size += encode(p + size, FIRN_PUT, 0, slice_of_str("key"), slice_of_str("v"));
    p[size] = 0;
    assert_int_equal(entries_check(slice_of(p, size), 3), FIRN_OK);
    assert_int_equal(entries_check(slice_of(p, size), 2), FIRN_DAMAGED);
    assert_int_equal(entries_check(slice_of(p, size), 4), FIRN_DAMAGED);
    assert_int_equal(entries_check(slice_of(p, size), UINT32_MAX), FIRN_DAMAGED);
    assert_int_equal(entries_check(slice_of(p, size + 1), 3), FIRN_DAMAGED);
    assert_int_equal(entries_check(slice_of(p, size - 1), 3), FIRN_DAMAGED);
    assert_int_equal(entries_check(slice_of(NULL, 0), 0), FIRN_OK);
    assert_int_equal(entries_check(slice_of(NULL, 0), 1), FIRN_DAMAGED);
    p[1] = 3; /* a bucket: whether it exists, others know */
    assert_int_equal(entries_check(slice_of(p, size), 3), FIRN_OK);
    p[0] |= 0xf0; /* likewise */
    assert_int_equal(entries_check(slice_of(p, size), 3), FIRN_OK);
}

static void RandomBytesAreNeverReadBeyondTheirEnd(void **state)
{
    (void)state;
    rng r = rng_init(SEED);
    guarded g = guarded_new(4096);
    unsigned good = 0;
    for (int round = 0; round < 200000; round++) {
        size_t size = rng_below(&r, 64);
        uint8_t *p = g.data + g.size - size;
        rng_fill(&r, p, size);
        if (size >= ENTRY_HEADER_BYTES && round % 2 == 0) {
            /* Near misses: a header whose lengths are about right. */
            entry_put_header(p, (uint8_t)rng_below(&r, 4), 0, rng_below(&r, 32), rng_below(&r, 32));
        }
        entry e;
        size_t used;
        if (entry_decode(p, size, &e, &used) != FIRN_OK)
            continue;
        good++;
        if (used > size || e.key.data + e.key.size != e.value.data ||
            e.value.data + e.value.size != p + used)
            fail_msg("seed %d, round %d", SEED, round);
    }
    assert_true(good > 1000);
    guarded_release(&g);
}

static void TheBucketsOfEntriesAreASet(void **state)
{
    (void)state;
    static const uint16_t buckets[] = {0, 3, 63, 64, 200, 255, 256, 4095, 4096, 32767};
    const unsigned count = sizeof buckets / sizeof *buckets;
    firn_batch *batch = NULL;
    bucket_set set = {{0}};
    assert_int_equal(firn_batch_new(&batch), FIRN_OK);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(batch_add(batch, buckets[i], FIRN_PUT, slice_of("k", 1), slice_of("v", 1)),
                         FIRN_OK);
    entries_buckets(batch_payload(batch), count, &set);
    assert_int_equal(entries_bucket_most(batch_payload(batch), count), 32767);
    assert_int_equal(entries_bucket_most(batch_payload(batch), count - 1), 4096);
    size_t at = 0;
    for (unsigned b = 0; b < ENTRY_BUCKETS; b++) {
        bool is_there = at < count && buckets[at] == b;
        assert_int_equal(bucket_set_has(&set, b), is_there);
        assert_int_equal(bucket_set_next(&set, b), at < count ? buckets[at] : ENTRY_BUCKETS);
        at += is_there;
    }
    assert_int_equal(bucket_set_next(&set, ENTRY_BUCKETS), ENTRY_BUCKETS);
    firn_batch_free(batch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(APutHasTheBytesOfTheFormat),
        cmocka_unit_test(EmptyKeysAndValuesAreOrdinary),
        cmocka_unit_test(AnEntryThatIsCutAnywhereIsDamaged),
        cmocka_unit_test(KindsOfLaterVersionsAreUnsupportedAndZeroIsDamage),
        cmocka_unit_test(EveryBucketIsCarried),
        cmocka_unit_test(ARangeEndsBehindItsFirstKey),
        cmocka_unit_test(TheKeyBehindAKeyIsTheNextOne),
        cmocka_unit_test(ADeleteWithAValueIsDamaged),
        cmocka_unit_test(ValuesAreReadUpToTheirLimitAndNotBeyond),
        cmocka_unit_test(LimitsHoldOneBelowAtAndOneAbove),
        cmocka_unit_test(APayloadIsExactlyItsCountOfEntries),
        cmocka_unit_test(TheBucketsOfEntriesAreASet),
        cmocka_unit_test(RandomBytesAreNeverReadBeyondTheirEnd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
