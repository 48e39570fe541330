/* buckets: what the tests of buckets share. */
#ifndef TESTS_ENGINE_BUCKETS_H
#define TESTS_ENGINE_BUCKETS_H

#include "at.h"
#include "bed.h"

static inline firn *open_one(firn *db, const char *name, bool create)
{
    firn *out = NULL;
    firn_bucket_options o;
    firn_bucket_options_init(&o);
    o.create = create;
    MUST(firn_bucket_open(db, name, &o, &out, error));
    return out;
}

static inline void put(firn *db, const char *key, const char *value)
{
    MUST(firn_put(db, key, strlen(key), value, strlen(value), NULL, error));
}

/* NULL: the key is not there. */
static inline void expect_at(firn *db, const firn_snapshot *at, const char *key, const char *value)
{
    firn_value v = {0};
    firn_error err = {0};
    int rc = firn_get(db, key, strlen(key), AT(at), &v, &err);
    assert_int_equal(rc, value ? FIRN_OK : FIRN_NOT_FOUND);
    if (value)
        assert_true(v.size == strlen(value) && memcmp(v.data, value, v.size) == 0);
    firn_value_release(&v);
}

static inline void expect(firn *db, const char *key, const char *value)
{
    expect_at(db, NULL, key, value);
}

/* NULL: no bound. */
static inline void delete_range(firn *db, const char *first, const char *end)
{
    firn_slice a = slice_of_str(first ? first : ""), b = slice_of_str(end ? end : "");
    firn_range range = {.first = first ? &a : NULL, .end = end ? &b : NULL};
    MUST(firn_delete_range(db, &range, NULL, error));
}

static inline void expect_walk(firn *db, const char *keys)
{
    firn_iter *it = NULL;
    MUST(firn_iter_new(db, NULL, &it, error));
    int rc = firn_iter_first(it);
    for (; *keys; keys++, rc = firn_iter_next(it)) {
        assert_int_equal(rc, FIRN_OK);
        assert_true(slice_equal(firn_iter_key(it), slice_of(keys, 1)));
    }
    assert_int_equal(rc, FIRN_END);
    firn_iter_free(it);
}

static inline void begin(bed *b)
{
    bed_on_simfs(b, 1);
    bed_must_open(b);
}

static inline firn_op op_put(firn *bucket, const char *key, const char *value)
{
    return (firn_op){.size = sizeof(firn_op),
                     .kind = FIRN_PUT,
                     .bucket = bucket,
                     .key = slice_of_str(key),
                     .value = slice_of_str(value)};
}

static inline firn_batch *new_batch(void)
{
    firn_batch *batch = NULL;
    assert_int_equal(firn_batch_new(&batch), FIRN_OK);
    return batch;
}

#endif
