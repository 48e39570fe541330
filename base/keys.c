/* keys: see <firn/keys.h>, which has the bytes. */
#include <firn/keys.h>

#include <assert.h>
#include <base/error.h>
#include <base/slice.h>
#include <inttypes.h>
#include <string.h>

#define TAG_NULL      0x00
#define TAG_BYTES     0x01
#define TAG_TEXT      0x02
#define TAG_ZERO      0x14 /* of integers: plus or minus how many bytes follow */
#define TAG_F64       0x21
#define TAG_FALSE     0x26
#define TAG_TRUE      0x27
#define TAG_LAST      0x4f /* of FoundationDB's, those of kinds of users included */
#define TAG_REVERSED  0xfe /* less this one: in descending order */
#define ESCAPE        0xff
#define INTEGER_BYTES 8

static_assert(sizeof(void *) != 8 || sizeof(firn_field) == 24, "as the header says");
static_assert(offsetof(firn_field, as) == 8, "likewise");

firn_field firn_field_str(const char *text)
{
    return firn_field_text(slice_of_str(text ? text : ""));
}

/* ---- Encoding ---- */

/* Bytes behind the room are counted, and not written. */
typedef struct writer {
    uint8_t *room;
    size_t capacity, size;
    uint8_t flip; /* 0xff in a descending field */
} writer;

static void put(writer *w, uint8_t byte)
{
    if (w->size < w->capacity)
        w->room[w->size] = (uint8_t)(byte ^ w->flip);
    w->size++;
}

static void put_tag(writer *w, const firn_field *f, uint8_t tag)
{
    w->flip = 0;
    put(w, f->descending ? (uint8_t)(TAG_REVERSED - tag) : tag);
    w->flip = f->descending ? 0xff : 0;
}

/* The `count` low bytes, the greatest first. */
static void put_big_endian(writer *w, uint64_t v, unsigned count)
{
    while (count-- > 0)
        put(w, (uint8_t)(v >> (8 * count)));
}

static void put_string(writer *w, const firn_field *f, uint8_t tag)
{
    put_tag(w, f, tag);
    for (size_t i = 0; i < f->as.bytes.size; i++) {
        put(w, f->as.bytes.data[i]);
        if (f->as.bytes.data[i] == 0)
            put(w, ESCAPE);
    }
    if (f->prefix)
        return;
    put(w, 0);
    /* Descending: what goes on, or is escaped, is in front of what ends. */
    if (f->descending)
        put(w, 0);
}

static unsigned bytes_of(uint64_t v)
{
    unsigned count = 0;
    for (; v > 0; v >>= 8)
        count++;
    return count;
}

static void put_integer(writer *w, const firn_field *f, bool negative, uint64_t magnitude)
{
    unsigned count = bytes_of(magnitude);
    put_tag(w, f, (uint8_t)(negative ? TAG_ZERO - count : TAG_ZERO + count));
    put_big_endian(w, negative ? ~magnitude : magnitude, count);
}

static void put_f64(writer *w, const firn_field *f)
{
    uint64_t bits;
    memcpy(&bits, &f->as.f64, sizeof bits);
    put_tag(w, f, TAG_F64);
    put_big_endian(w, bits >> 63 ? ~bits : bits | UINT64_C(1) << 63, 8);
}

/* False: no field. */
static bool put_field(writer *w, const firn_field *f)
{
    bool string = f->kind == FIRN_FIELD_BYTES || f->kind == FIRN_FIELD_TEXT;
    if ((f->prefix && !string) || (string && f->as.bytes.size && !f->as.bytes.data))
        return false;
    if (string && f->as.bytes.size > FIRN_MAX_KEY_BYTES) { /* it need not be read */
        w->size = FIRN_MAX_KEY_BYTES + (size_t)1;
        return true;
    }
    switch (f->kind) {
    case FIRN_FIELD_NULL:
        put_tag(w, f, TAG_NULL);
        return true;
    case FIRN_FIELD_BYTES:
        put_string(w, f, TAG_BYTES);
        return true;
    case FIRN_FIELD_TEXT:
        put_string(w, f, TAG_TEXT);
        return true;
    case FIRN_FIELD_I64:
        put_integer(w, f, f->as.i64 < 0,
                    f->as.i64 < 0 ? 0 - (uint64_t)f->as.i64 : (uint64_t)f->as.i64);
        return true;
    case FIRN_FIELD_U64:
        put_integer(w, f, false, f->as.u64);
        return true;
    case FIRN_FIELD_F64:
        put_f64(w, f);
        return true;
    case FIRN_FIELD_BOOL:
        put_tag(w, f, f->as.truth ? TAG_TRUE : TAG_FALSE);
        return true;
    default:
        return false;
    }
}

/* Only the last field may be a prefix, and only if `may_begin`. */
static int put_fields(writer *w, const firn_field *fields, size_t count, bool may_begin,
                      firn_error *err)
{
    if (count && !fields)
        return error_set(err, FIRN_INVALID, "NULL was given for the fields of a key");
    if (w->capacity && !w->room)
        return error_set(err, FIRN_INVALID, "NULL was given for the room of a key");
    for (size_t i = 0; i < count; i++) {
        if ((fields[i].prefix && (!may_begin || i + 1 < count)) || !put_field(w, &fields[i]))
            return error_set(err, FIRN_INVALID,
                             "field %zu of a key is of no kind, a prefix, or NULL with a size", i);
        if (w->size > FIRN_MAX_KEY_BYTES)
            return error_set(err, FIRN_TOO_LARGE, "a key has more than %" PRIu32 " bytes",
                             FIRN_MAX_KEY_BYTES);
    }
    return FIRN_OK;
}

static int too_small(size_t needed, size_t given, firn_error *err)
{
    return error_set(err, FIRN_TOO_LARGE, "room for a key takes %zu bytes, and %zu were given",
                     needed, given);
}

int firn_key_encode(const firn_field *fields, size_t count, void *room, size_t capacity,
                    size_t *size, firn_error *error)
{
    if (!size)
        return error_set(error, FIRN_INVALID, "NULL was given for a size");
    writer w = {.room = room, .capacity = capacity};
    int rc = put_fields(&w, fields, count, false, error);
    *size = rc == FIRN_INVALID ? 0 : w.size;
    return rc == FIRN_OK && w.size > capacity ? too_small(w.size, capacity, error) : rc;
}

/* ---- Bounds ---- */

bool firn_prefix_end(void *prefix, size_t *size)
{
    uint8_t *bytes = prefix;
    size_t n = bytes && size ? *size : 0;
    while (n > 0 && bytes[n - 1] == 0xff)
        n--;
    if (n == 0)
        return false;
    bytes[n - 1]++;
    *size = n;
    return true;
}

int firn_key_bounds(const firn_field *fields, size_t count, void *room, size_t capacity,
                    firn_slice *lower, firn_slice *upper, size_t *size, firn_error *error)
{
    if (!lower || !upper || !size)
        return error_set(error, FIRN_INVALID, "NULL was given for a bound, or for a size");
    *lower = *upper = (firn_slice){0};
    *size = 0;
    writer w = {.room = room, .capacity = capacity};
    int rc = put_fields(&w, fields, count, true, error);
    if (rc == FIRN_INVALID)
        return rc;
    /* Behind a key of the greatest size there is none that begins with it. */
    bool ends = (count && fields[count - 1].prefix) || w.size >= FIRN_MAX_KEY_BYTES;
    *size = 2 * w.size + !ends;
    if (rc == FIRN_OK && *size > capacity)
        rc = too_small(*size, capacity, error);
    if (rc != FIRN_OK)
        return rc;
    uint8_t *end = w.room + w.size;
    size_t end_size = w.size + !ends;
    memcpy(end, w.room, w.size);
    if (ends)
        (void)firn_prefix_end(end, &end_size); /* there is one: no field begins with FF */
    else
        end[w.size] = ESCAPE; /* likewise */
    *lower = (firn_slice){w.room, w.size};
    *upper = (firn_slice){end, end_size};
    return FIRN_OK;
}

/* ---- Decoding ---- */

typedef struct reader {
    const uint8_t *start, *at, *end;
    uint8_t *room;
    size_t capacity, used; /* of the room */
    uint8_t flip;
    const char *why; /* it is no key */
    bool unsupported, crowded;
} reader;

static bool refuse(reader *r, const char *why)
{
    r->why = why;
    return false;
}

/* The bytes of a string are given as they lie there if there is nothing to undo. */
static bool take_string(reader *r, firn_field *f)
{
    const uint8_t *p = r->at, nul = r->flip, escape = (uint8_t)(ESCAPE ^ r->flip);
    size_t size = 0, escaped = 0;
    for (;; p++, size++) {
        if (p == r->end)
            return refuse(r, "a string does not end");
        if (*p != nul)
            continue;
        if (p + 1 < r->end && p[1] == escape) {
            escaped++;
            p++;
        } else if (!f->descending || (p + 1 < r->end && p[1] == nul)) {
            break;
        } else {
            return refuse(r, "a string in descending order does not end");
        }
    }
    f->as.bytes = (firn_slice){r->at, size};
    if (escaped || (f->descending && size)) {
        if (size > r->capacity - r->used) {
            r->crowded = true;
            f->as.bytes = (firn_slice){0};
        } else {
            uint8_t *to = r->room + r->used;
            f->as.bytes.data = to;
            r->used += size;
            for (const uint8_t *from = r->at; from < p; from++) {
                *to++ = (uint8_t)(*from ^ r->flip);
                from += *from == nul;
            }
        }
    }
    r->at = p + (f->descending ? 2 : 1);
    return true;
}

static bool take_big_endian(reader *r, unsigned count, uint64_t *out)
{
    uint64_t v = 0;
    if ((size_t)(r->end - r->at) < count)
        return refuse(r, "a field is cut short");
    while (count-- > 0)
        v = v << 8 | (uint8_t)(*r->at++ ^ r->flip);
    *out = v;
    return true;
}

static bool take_integer(reader *r, firn_field *f, int tag)
{
    bool negative = tag < TAG_ZERO;
    unsigned count = (unsigned)(negative ? TAG_ZERO - tag : tag - TAG_ZERO);
    uint64_t v;
    if (!take_big_endian(r, count, &v))
        return false;
    if (negative)
        v = ~v & (count < INTEGER_BYTES ? (UINT64_C(1) << (8 * count)) - 1 : UINT64_MAX);
    if (bytes_of(v) != count)
        return refuse(r, "an integer has more bytes than it needs");
    if (negative && v > UINT64_C(1) << 63) {
        r->unsupported = true;
        return refuse(r, "an integer is below those of 64 bits");
    }
    f->kind = negative || v <= INT64_MAX ? FIRN_FIELD_I64 : FIRN_FIELD_U64;
    if (negative)
        f->as.i64 = -(int64_t)(v - 1) - 1;
    else
        f->as.u64 = v; /* the same bytes as i64 */
    return true;
}

static bool take_f64(reader *r, firn_field *f)
{
    uint64_t bits;
    if (!take_big_endian(r, 8, &bits))
        return false;
    bits = bits >> 63 ? bits & ~(UINT64_C(1) << 63) : ~bits;
    memcpy(&f->as.f64, &bits, sizeof bits);
    f->kind = FIRN_FIELD_F64;
    return true;
}

static bool take_field(reader *r, firn_field *f)
{
    *f = (firn_field){.kind = FIRN_FIELD_NULL};
    uint8_t tag = *r->at++;
    f->descending = tag >= TAG_REVERSED - TAG_LAST && tag <= TAG_REVERSED ? 1 : 0;
    if (f->descending)
        tag = (uint8_t)(TAG_REVERSED - tag);
    r->flip = f->descending ? 0xff : 0;
    if (tag >= TAG_ZERO - INTEGER_BYTES && tag <= TAG_ZERO + INTEGER_BYTES)
        return take_integer(r, f, tag);
    switch (tag) {
    case TAG_NULL:
        return true;
    case TAG_BYTES:
    case TAG_TEXT:
        f->kind = tag == TAG_TEXT ? FIRN_FIELD_TEXT : FIRN_FIELD_BYTES;
        return take_string(r, f);
    case TAG_F64:
        return take_f64(r, f);
    case TAG_FALSE:
    case TAG_TRUE:
        f->kind = FIRN_FIELD_BOOL;
        f->as.truth = tag == TAG_TRUE ? 1 : 0;
        return true;
    default:
        r->unsupported = tag <= TAG_LAST;
        return refuse(r, r->unsupported ? "a field is of a kind that is not supported"
                                        : "a field is of no kind");
    }
}

int firn_key_decode(const void *key, size_t key_size, firn_field *fields, size_t capacity,
                    size_t *count, void *room, size_t room_size, firn_error *error)
{
    if (count)
        *count = 0;
    if (!count || (key_size && !key) || (capacity && !fields) || (room_size && !room))
        return error_set(error, FIRN_INVALID, "NULL was given for an argument of firn_key_decode");
    if (key_size > FIRN_MAX_KEY_BYTES)
        return error_set(error, FIRN_INVALID, "this is no key: it has more than %" PRIu32 " bytes",
                         FIRN_MAX_KEY_BYTES);
    firn_slice bytes = slice_somewhere((firn_slice){key, key_size});
    reader r = {.start = bytes.data,
                .at = bytes.data,
                .end = bytes.data + bytes.size,
                .room = room,
                .capacity = room_size};
    while (r.at < r.end) {
        firn_field f;
        const uint8_t *at = r.at;
        if (!take_field(&r, &f))
            return error_file(error, r.unsupported ? FIRN_UNSUPPORTED : FIRN_INVALID, "",
                              (uint64_t)(at - r.start), "this is no key of fields: %s", r.why);
        if (*count < capacity)
            fields[*count] = f;
        ++*count;
    }
    if (*count > capacity)
        return error_set(error, FIRN_TOO_LARGE, "a key has %zu fields, and there is room for %zu",
                         *count, capacity);
    return r.crowded ? too_small(key_size, room_size, error) : FIRN_OK;
}
