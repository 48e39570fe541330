/* <firn/keys.h>: keys of several fields, as bytes that memcmp orders as their fields are ordered.
 *
 *     firn_field f[] = {firn_field_str("ice"), firn_field_i64(-40),
 *                       firn_field_descending(firn_field_u64(time))};
 *     uint8_t key[64];
 *     size_t size;
 *     int rc = firn_key_encode(f, 3, key, sizeof key, &size, &error);
 *     if (rc == FIRN_OK)
 *         rc = firn_put(db, key, size, value, value_size, NULL, &error);
 *
 * The first field decides, then the second, and so on; a key goes before those that begin with all
 * of its fields. Fields of different kinds in one place are ordered by their kind, as listed below
 * (so any integer goes before any double); descending ones go behind all others there, in reverse
 * order of kind, too. All of this is in the bytes: two keys are equal as fields exactly when they
 * are equal as bytes, and each has one encoding.
 *
 * The bytes of ascending fields are those of FoundationDB's tuple layer, so other languages have
 * encoders and decoders for them (some of which write 2^64 - 1 in a longer form). A field in
 * descending order has the first byte 0xFE - t where the ascending one has t, and behind it the
 * complement of its bytes.
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
 * Doubles keep all of their bits, so that decoding gives what was encoded: -0 and 0 are two keys,
 * and so are NaNs with different bits. Encode `v == 0 ? 0 : v` where the zeros shall be one key.
 *
 * The 00 that ends bytes or text is FF FF in descending order. No field begins with FF: so a key
 * with FF behind it goes behind all keys that begin with its fields (firn_key_bounds).
 *
 * Pure functions of their arguments: any thread. They keep nothing and allocate nothing. What is
 * given and where the result goes must not overlap. */
#ifndef FIRN_KEYS_H
#define FIRN_KEYS_H

#include <firn/types.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    FIRN_FIELD_NULL = 1,
    FIRN_FIELD_BYTES,
    FIRN_FIELD_TEXT, /* UTF-8, which is not checked; ordered by its bytes */
    FIRN_FIELD_I64,  /* integers are one kind: an I64 and a U64 of one value are equal, and ... */
    FIRN_FIELD_U64,  /* ... decoding gives a U64 only where an I64 is too small. Of one that is not
                        negative, either member of `as` can be read */
    FIRN_FIELD_F64,  /* -NaN, -infinity, ..., -0, 0, ..., infinity, NaN: by its bits */
    FIRN_FIELD_BOOL, /* false, true */
};

/* 24 bytes, the value at 8, on every machine with pointers of 64 bits. What is not set is 0. */
typedef struct firn_field {
    uint8_t kind;
    uint8_t descending; /* not 0: in reverse order */
    uint8_t prefix;     /* not 0: BYTES or TEXT, the last field of bounds, which only begins so */
    uint8_t reserved[5];
    union {
        firn_slice bytes; /* BYTES, TEXT. Borrowed */
        int64_t i64;
        uint64_t u64;
        double f64;
        uint8_t truth; /* BOOL: 0 or 1 */
        uint8_t room[16];
    } as;
} firn_field;

/* Encodes `count` fields into `room`. *size is the whole size, also when that is more than
 * `capacity`: FIRN_TOO_LARGE, and what fits has been written. More than FIRN_MAX_KEY_BYTES is
 * FIRN_TOO_LARGE, too: then no room is large enough, and *size is no exact figure. FIRN_INVALID
 * (*size is 0): a field is of no kind, or a prefix. */
FIRN_API int firn_key_encode(const firn_field *fields, size_t count, void *room, size_t capacity,
                             size_t *size, firn_error *error);

/* Decodes a key. *count is how many fields it has, also when they do not fit. Bytes and text point
 * into the key, or, where they are escaped or descending, into `room`; `key_size` bytes of it are
 * always enough. FIRN_TOO_LARGE: more fields than `capacity`, of which the first are there; or
 * `room` is too small, and bytes and text that found none are empty. FIRN_INVALID: this is no such
 * key; error.offset says from which of its bytes on, and *count how many fields are in front.
 * FIRN_UNSUPPORTED, likewise: a kind of FoundationDB's that firn has not (nested tuples, floats,
 * integers of more than 64 bits, UUIDs, version stamps, kinds of users). */
FIRN_API int firn_key_decode(const void *key, size_t key_size, firn_field *fields, size_t capacity,
                             size_t *count, void *room, size_t room_size, firn_error *error);

/* The bounds of all keys that begin with these fields, for an iterator or a firn_range: *lower is
 * the first key, *upper is behind the last one, and there always is one. The key of exactly these
 * fields is among them. The last field may be a prefix: then all keys whose field begins with it
 * are. No fields: all keys that firn_key_encode makes. Both lie in `room`, of which *size is what
 * they take: at most 2 * FIRN_MAX_KEY_BYTES. FIRN_TOO_LARGE (both are empty) and FIRN_INVALID as
 * for firn_key_encode. */
FIRN_API int firn_key_bounds(const firn_field *fields, size_t count, void *room, size_t capacity,
                             firn_slice *lower, firn_slice *upper, size_t *size, firn_error *error);

/* For keys of any other form: turns `*size` bytes into the smallest key that is behind all keys
 * which begin with them. False: there is none (no bytes, or all are FF), so the range has no upper
 * bound: NULL, in a firn_range or for an iterator. Nothing was changed. */
FIRN_API bool firn_prefix_end(void *prefix, size_t *size);

/* ---- Fields, for arrays of them ---- */

static inline firn_field firn_field_of(uint8_t kind)
{
    firn_field f = {0, 0, 0, {0, 0, 0, 0, 0}, {{NULL, 0}}};
    f.kind = kind;
    return f;
}

static inline firn_field firn_field_null(void)
{
    return firn_field_of(FIRN_FIELD_NULL);
}

static inline firn_field firn_field_bytes(const uint8_t *data, size_t size)
{
    firn_field f = firn_field_of(FIRN_FIELD_BYTES);
    f.as.bytes.data = data;
    f.as.bytes.size = size;
    return f;
}

static inline firn_field firn_field_text(firn_slice text)
{
    firn_field f = firn_field_of(FIRN_FIELD_TEXT);
    f.as.bytes = text;
    return f;
}

/* Up to the byte 0, which is not part of it. */
FIRN_API firn_field firn_field_str(const char *text);

static inline firn_field firn_field_i64(int64_t value)
{
    firn_field f = firn_field_of(FIRN_FIELD_I64);
    f.as.i64 = value;
    return f;
}

static inline firn_field firn_field_u64(uint64_t value)
{
    firn_field f = firn_field_of(FIRN_FIELD_U64);
    f.as.u64 = value;
    return f;
}

static inline firn_field firn_field_f64(double value)
{
    firn_field f = firn_field_of(FIRN_FIELD_F64);
    f.as.f64 = value;
    return f;
}

static inline firn_field firn_field_bool(bool value)
{
    firn_field f = firn_field_of(FIRN_FIELD_BOOL);
    f.as.truth = value ? 1 : 0;
    return f;
}

/* The same field in reverse order. */
static inline firn_field firn_field_descending(firn_field field)
{
    field.descending = 1;
    return field;
}

/* BYTES or TEXT, of which only the beginning is given. */
static inline firn_field firn_field_prefix(firn_field field)
{
    field.prefix = 1;
    return field;
}

#ifdef __cplusplus
}
#endif
#endif
