/* txns: what the tests of transactions share. Keys and values are text. */
#ifndef TESTS_ENGINE_TXNS_H
#define TESTS_ENGINE_TXNS_H

#include <stdio.h>
#include <string.h>

#include "buckets.h"

#define IN(t) (&(firn_read_options){.size = sizeof(firn_read_options), .txn = (t)})

static inline bool is_text(firn_slice s, const char *text)
{
    size_t size = strlen(text);
    return s.size == size && (size == 0 || memcmp(s.data, text, size) == 0);
}

static inline void begin_with_rows(bed *b)
{
    begin(b);
    put(b->db, "a", "1");
    put(b->db, "b", "2");
    put(b->db, "c", "3");
    put(b->db, "d", "4");
}

static inline firn_txn *txn_begin(firn *db, bool serializable)
{
    firn_txn *out = NULL;
    firn_txn_options o;
    firn_txn_options_init(&o);
    o.serializable = serializable;
    MUST(firn_txn_new(db, &o, &out, error));
    return out;
}

/* value NULL: none. */
static inline firn_op op_one(firn_op_kind kind, const char *key, const char *value)
{
    return (firn_op){.size = sizeof(firn_op),
                     .kind = kind,
                     .key = slice_of_str(key),
                     .value = value ? slice_of_str(value) : (firn_slice){0}};
}

static inline int txn_add_one(firn_txn *t, firn *bucket, firn_op_kind kind, const char *key,
                              const char *value, firn_error *err)
{
    const firn_op op = op_one(kind, key, value);
    return firn_txn_add(t, bucket, &op, 1, err);
}

static inline void txn_put(firn_txn *t, firn *bucket, const char *key, const char *value)
{
    MUST(txn_add_one(t, bucket, FIRN_OP_PUT, key, value, error));
}

static inline void txn_delete(firn_txn *t, firn *bucket, const char *key)
{
    MUST(txn_add_one(t, bucket, FIRN_OP_DELETE, key, NULL, error));
}

/* NULL: no bound. */
static inline void txn_delete_range(firn_txn *t, firn *bucket, const char *first, const char *end)
{
    firn_slice a = slice_of_str(first ? first : ""), b = slice_of_str(end ? end : "");
    const firn_op op = {.size = sizeof op,
                        .kind = FIRN_OP_DELETE_RANGE,
                        .range = {.first = first ? &a : NULL, .end = end ? &b : NULL}};
    MUST(firn_txn_add(t, bucket, &op, 1, error));
}

static inline uint64_t txn_save(firn_txn *t)
{
    uint64_t point = 0;
    MUST(firn_txn_save(t, &point, error));
    return point;
}

/* NULL: the key is not there. */
static inline void expect_in(firn_txn *t, firn *bucket, const char *key, const char *value)
{
    firn_value v = {0};
    int rc = firn_get(bucket, key, strlen(key), IN(t), &v, NULL);
    assert_int_equal(rc, value ? FIRN_OK : FIRN_NOT_FOUND);
    if (value)
        assert_true(is_text(slice_of(v.data, v.size), value));
    firn_value_release(&v);
}

/* lower and upper NULL: no bound. */
static inline firn_iter *iter_in(firn_txn *t, firn *bucket, const char *lower, const char *upper)
{
    firn_iter *it = NULL;
    firn_iter_options o;
    firn_iter_options_init(&o);
    o.txn = t;
    o.lower = lower;
    o.lower_size = lower ? strlen(lower) : 0;
    o.upper = upper;
    o.upper_size = upper ? strlen(upper) : 0;
    MUST(firn_iter_new(bucket, &o, &it, error));
    return it;
}

/* "key=value " of each element of a walk to its end. */
#define WALK_TEXT 256
static inline void walk_text(firn_iter *it, bool backward, char out[WALK_TEXT])
{
    size_t n = 0;
    out[0] = 0;
    int rc = backward ? firn_iter_last(it) : firn_iter_first(it);
    for (; rc == FIRN_OK && n < WALK_TEXT;
         rc = backward ? firn_iter_prev(it) : firn_iter_next(it)) {
        firn_slice k = firn_iter_key(it), v = firn_iter_value(it);
        n += (size_t)snprintf(out + n, WALK_TEXT - n, "%.*s=%.*s ", (int)k.size,
                              k.size ? (const char *)k.data : "", (int)v.size,
                              v.size ? (const char *)v.data : "");
    }
    assert_int_equal(rc, FIRN_END);
}

/* Both ways: `forward` and `backward` are what walk_text says. */
static inline void expect_walks_in(firn_txn *t, firn *bucket, const char *forward,
                                   const char *backward)
{
    char text[WALK_TEXT];
    firn_iter *it = iter_in(t, bucket, NULL, NULL);
    walk_text(it, false, text);
    assert_string_equal(text, forward);
    walk_text(it, true, text);
    assert_string_equal(text, backward);
    firn_iter_free(it);
}

static inline void expect_element(firn_iter *it, const char *key, const char *value)
{
    assert_true(firn_iter_valid(it));
    assert_true(is_text(firn_iter_key(it), key));
    assert_true(is_text(firn_iter_value(it), value));
}

static inline int txn_commit(firn_txn *t)
{
    return firn_txn_commit(t, NULL, NULL);
}

#endif
