/* fields: the order of keys of fields (<firn/keys.h>), defined once more, field by field, without any bytes. */
#ifndef TESTS_FIELDS_H
#define TESTS_FIELDS_H

#include <firn/keys.h>
#include <string.h>

static inline int sign(int64_t v)
{
    return (v > 0) - (v < 0);
}

static inline bool is_integer(const firn_field *f)
{
    return f->kind == FIRN_FIELD_I64 || f->kind == FIRN_FIELD_U64;
}

static inline int rank(const firn_field *f)
{
    return is_integer(f) ? FIRN_FIELD_I64 : (int)f->kind;
}

static inline int compare_integers(const firn_field *a, const firn_field *b)
{
    bool a_below = a->kind == FIRN_FIELD_I64 && a->as.i64 < 0;
    bool b_below = b->kind == FIRN_FIELD_I64 && b->as.i64 < 0;
    if (a_below != b_below)
        return a_below ? -1 : 1;
    if (a_below)
        return a->as.i64 < b->as.i64 ? -1 : a->as.i64 > b->as.i64;
    return a->as.u64 < b->as.u64 ? -1
                                 : a->as.u64 > b->as.u64; /* not negative: the same bytes as i64 */
}

static inline int compare_doubles(double a, double b)
{
    if (a < b || a > b)
        return a < b ? -1 : 1;
    uint64_t x, y;
    memcpy(&x, &a, sizeof x);
    memcpy(&y, &b, sizeof y);
    if (x >> 63 != y >> 63) /* -0 and 0, or NaNs */
        return x >> 63 ? -1 : 1;
    int c = x < y ? -1 : x > y;
    return x >> 63 ? -c : c;
}

static inline int compare_strings(firn_slice a, firn_slice b)
{
    size_t common = a.size < b.size ? a.size : b.size;
    int c = common ? memcmp(a.data, b.data, common) : 0;
    return c ? sign(c) : (a.size > b.size) - (a.size < b.size);
}

static inline int compare_fields(const firn_field *a, const firn_field *b)
{
    int c = 0;
    if (!a->descending != !b->descending) /* all that descend are behind all others */
        return a->descending ? 1 : -1;
    if (rank(a) != rank(b))
        c = rank(a) < rank(b) ? -1 : 1;
    else if (is_integer(a))
        c = compare_integers(a, b);
    else if (a->kind == FIRN_FIELD_F64)
        c = compare_doubles(a->as.f64, b->as.f64);
    else if (a->kind == FIRN_FIELD_BOOL)
        c = a->as.truth - b->as.truth;
    else if (a->kind != FIRN_FIELD_NULL)
        c = compare_strings(a->as.bytes, b->as.bytes);
    return a->descending ? -c : c;
}

static inline int compare_keys(const firn_field *a, size_t a_count, const firn_field *b,
                               size_t b_count)
{
    for (size_t i = 0; i < a_count && i < b_count; i++) {
        int c = compare_fields(&a[i], &b[i]);
        if (c)
            return c;
    }
    return (a_count > b_count) - (a_count < b_count);
}

static inline bool begins_with(const firn_field *key, size_t count, const firn_field *with,
                               size_t with_count)
{
    if (count < with_count)
        return false;
    for (size_t i = 0; i < with_count; i++) {
        if (with[i].prefix) {
            if (key[i].kind != with[i].kind || !key[i].descending != !with[i].descending ||
                key[i].as.bytes.size < with[i].as.bytes.size ||
                (with[i].as.bytes.size &&
                 memcmp(key[i].as.bytes.data, with[i].as.bytes.data, with[i].as.bytes.size) != 0))
                return false;
        } else if (compare_fields(&key[i], &with[i]) != 0) {
            return false;
        }
    }
    return true;
}

#endif
