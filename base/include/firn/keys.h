/* <firn/keys.h>: keys of several fields, as bytes that memcmp orders as their fields are ordered.
 *
 *     firn_field f[] = {firn_text("ice", 3), firn_i64(-40), firn_descending(firn_u64(time))};
 *     uint8_t key[64];
 *     size_t size;
 *     firn_key_encode(f, 3, key, sizeof key, &size, NULL);
 *     firn_put(db, key, size, ...);
 *
 * The first field decides, then the second, and so on; a key goes before those that begin with all
 * of its fields. Fields of different kinds in one place are ordered by their kind, as listed below;
 * a store may mix them. All of this is in the bytes: two keys are equal as fields exactly when they
 * are equal as bytes, and each has one encoding.
 *
 * The bytes of ascending fields are those of FoundationDB's tuple layer, so other languages have
 * encoders and decoders for them. A field in descending order has the first byte 0xFE - t where the
 * ascending one has t, and behind it the complement of its bytes.
 *
 *   kind     first byte    behind it
 *   null     00            -
 *   bytes    01            the bytes, each 00 followed by FF; then 00
 *   text     02            the same
 *   integer  14 - n, 14,   its n bytes, big-endian, as few as hold it. Of a negative one, the value
 *            14 + n        plus 2^(8n) - 1
 *   double   21            eight bytes of an IEEE double, big-endian: all complemented if it is
 *                          negative, else the sign bit
 *   bool     26, 27        -; false, true
 *
 * The 00 that ends bytes or text is FF FF in descending order. No field begins with FF: so a key
 * with FF behind it goes behind all keys that begin with its fields (firn_key_bounds).
 *
 * Pure functions of their arguments: any thread. They keep nothing and allocate nothing. */
#ifndef FIRN_KEYS_H
#define FIRN_KEYS_H

#include <firn/types.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum firn_field_kind {
    FIRN_FIELD_NULL = 1,
    FIRN_FIELD_BYTES,
    FIRN_FIELD_TEXT, /* UTF-8, which is not checked; ordered by its bytes */
    FIRN_FIELD_I64,  /* integers are one kind: an I64 and a U64 of one value are equal, and ... */
    FIRN_FIELD_U64,  /* ... decoding gives a U64 only where an I64 is too small */
    FIRN_FIELD_F64,  /* -NaN, -infinity, ..., -0, 0, ..., infinity, NaN: by its bits */
    FIRN_FIELD_BOOL, /* false, true */
} firn_field_kind;

typedef struct firn_field {
    firn_field_kind kind;
    bool descending; /* in reverse order */
    bool open;       /* BYTES and TEXT, the last field of bounds: it only begins so */
    union {
        firn_slice bytes; /* BYTES, TEXT. Borrowed */
        int64_t i64;
        uint64_t u64;
        double f64;
        bool truth; /* BOOL */
    };
} firn_field;

/* Encodes `count` fields into `room`. *size is the whole size, also when it does not fit.
 * FIRN_TOO_LARGE: it is more than `capacity`, and what fits has been written; or more than
 * FIRN_MAX_KEY_BYTES. FIRN_INVALID: a field is of no kind, or open. */
FIRN_API int firn_key_encode(const firn_field *fields, size_t count, void *room, size_t capacity,
                             size_t *size, firn_error *error);

/* Decodes a key. *count is how many fields it has, also when they do not fit. Bytes and text point
 * into the key, or, where they are escaped or descending, into `room`; `key_size` bytes of it are
 * always enough. FIRN_TOO_LARGE: more fields than `capacity`, of which the first are there, or
 * `room` is too small. FIRN_DAMAGED: this is no such key; the error has the offset, and *count is
 * how many fields were in front of it. FIRN_UNSUPPORTED: a kind of FoundationDB's that firn has
 * not (nested tuples, floats, large integers, UUIDs, version stamps), likewise. */
FIRN_API int firn_key_decode(const void *key, size_t key_size, firn_field *fields, size_t capacity,
                             size_t *count, void *room, size_t room_size, firn_error *error);

/* The bounds of all keys that begin with these fields, for an iterator: *lower is the first key,
 * *upper is behind the last one. Both lie in `room`, which needs twice the encoded size and one
 * byte (2 * FIRN_MAX_KEY_BYTES are always enough). The key of exactly these fields is among them.
 * The last field may be open: then all keys whose field begins with it are. No fields: all keys
 * that firn_key_encode makes. FIRN_TOO_LARGE (*lower and *upper are empty), FIRN_INVALID. */
FIRN_API int firn_key_bounds(const firn_field *fields, size_t count, void *room, size_t capacity,
                             firn_slice *lower, firn_slice *upper, firn_error *error);

/* For keys of any other form: turns `*size` bytes into the smallest key that is behind all keys
 * which begin with them. False: there is none (no bytes, or all are FF), and nothing was
 * changed. */
FIRN_API bool firn_prefix_end(void *prefix, size_t *size);

/* ---- Fields, for arrays of them ---- */

static inline firn_field firn_null(void)
{
    firn_field f = {FIRN_FIELD_NULL, false, false, {{NULL, 0}}};
    return f;
}

static inline firn_field firn_bytes(const void *data, size_t size)
{
    firn_field f = {FIRN_FIELD_BYTES, false, false, {{(const uint8_t *)data, size}}};
    return f;
}

static inline firn_field firn_text(const char *data, size_t size)
{
    firn_field f = {FIRN_FIELD_TEXT, false, false, {{(const uint8_t *)data, size}}};
    return f;
}

static inline firn_field firn_i64(int64_t value)
{
    firn_field f = firn_null();
    f.kind = FIRN_FIELD_I64;
    f.i64 = value;
    return f;
}

static inline firn_field firn_u64(uint64_t value)
{
    firn_field f = firn_null();
    f.kind = FIRN_FIELD_U64;
    f.u64 = value;
    return f;
}

static inline firn_field firn_f64(double value)
{
    firn_field f = firn_null();
    f.kind = FIRN_FIELD_F64;
    f.f64 = value;
    return f;
}

static inline firn_field firn_bool(bool value)
{
    firn_field f = firn_null();
    f.kind = FIRN_FIELD_BOOL;
    f.truth = value;
    return f;
}

/* The same field in reverse order. */
static inline firn_field firn_descending(firn_field field)
{
    field.descending = true;
    return field;
}

/* BYTES or TEXT, of which only the beginning is given. */
static inline firn_field firn_open_field(firn_field field)
{
    field.open = true;
    return field;
}

#ifdef __cplusplus
}
#endif
#endif
