/* fuzz_keys: keys of fields (firn/keys.h). Two keys in one input.
 *
 * What must hold: nothing is touched behind the end, of key or room (guarded.h); what is refused has an offset in it, and what
 * lies in front of that is a key; what is taken is, byte for byte, what encoding gives; the bounds of its first fields hold it;
 * and a key whose last field is cut off lies in front of it. */
#include <base/fields.h>
#include <base/slice.h>
#include <string.h>
#include <support/guarded.h>

#include "fuzz.h"
#include "fuzz_memory.h"

#define KEY_MAX 512

typedef struct decoded {
    guarded key, room;
    firn_field fields[KEY_MAX];
    size_t count;
    bool is_key;
} decoded;

static void decode(decoded *d, firn_slice given)
{
    d->key = guarded_new(given.size);
    d->room = guarded_new(given.size);
    if (given.size)
        memcpy(d->key.data, given.data, given.size);
    firn_error error = {0};
    int rc = firn_key_decode(d->key.data, given.size, d->fields, KEY_MAX, &d->count, d->room.data,
                             given.size, &error);
    d->is_key = rc == FIRN_OK;
    if (d->is_key)
        return;
    FUZZ_CHECK(rc == FIRN_INVALID || rc == FIRN_UNSUPPORTED);
    FUZZ_CHECK(error.status == rc && error.offset < given.size);
    size_t before = 0;
    FUZZ_CHECK(firn_key_decode(d->key.data, (size_t)error.offset, d->fields, KEY_MAX, &before,
                               d->room.data, given.size, NULL) == FIRN_OK);
    FUZZ_CHECK(before == d->count);
}

static void check(const decoded *d)
{
    uint8_t room[2 * KEY_MAX + 1];
    size_t size = 0;
    firn_slice key = {d->key.data, d->key.size}, lower, upper;
    FUZZ_CHECK(firn_key_encode(d->fields, d->count, room, sizeof room, &size, NULL) == FIRN_OK);
    FUZZ_CHECK(slice_equal((firn_slice){room, size}, key));
    for (size_t count = 0; count <= d->count; count++) {
        FUZZ_CHECK(firn_key_bounds(d->fields, count, room, sizeof room, &lower, &upper, &size,
                                   NULL) == FIRN_OK);
        FUZZ_CHECK(slice_compare(lower, key) <= 0 && slice_compare(key, upper) < 0);
        FUZZ_CHECK((slice_compare(lower, key) == 0) == (count == d->count));
    }
}

/* Two keys are ordered as their fields are, and each is within the bounds of what it begins with, also where the last field is
 * one that only begins so. */
static void check_both(const decoded *a, const decoded *b, uint8_t choice)
{
    uint8_t room[2 * KEY_MAX + 1];
    firn_field with[KEY_MAX];
    firn_slice x = {a->key.data, a->key.size}, y = {b->key.data, b->key.size}, lower, upper;
    FUZZ_CHECK(sign(slice_compare(x, y)) == compare_keys(a->fields, a->count, b->fields, b->count));
    size_t size = 0, count = a->count ? 1 + choice % a->count : 0;
    memcpy(with, a->fields, count * sizeof *with);
    firn_field *last = count ? &with[count - 1] : NULL;
    if (last && (last->kind == FIRN_FIELD_BYTES || last->kind == FIRN_FIELD_TEXT) &&
        last->as.bytes.size) {
        last->as.bytes.size = choice % last->as.bytes.size;
        last->prefix = 1;
    }
    FUZZ_CHECK(firn_key_bounds(with, count, room, sizeof room, &lower, &upper, &size, NULL) ==
               FIRN_OK);
    FUZZ_CHECK((slice_compare(lower, y) <= 0 && slice_compare(y, upper) < 0) ==
               begins_with(b->fields, b->count, with, count));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static decoded a, b;
    fuzz_input in = {.data = data, .size = size};
    fuzz_memory_limit((size_t)1 << 20);
    decode(&a, fuzz_bytes(&in, fuzz_u8(&in)));
    decode(&b, fuzz_bytes(&in, KEY_MAX));
    if (a.is_key)
        check(&a);
    if (b.is_key)
        check(&b);
    if (a.is_key && b.is_key)
        check_both(&a, &b, (uint8_t)(size * 31 + (size ? data[size / 2] : 0)));
    guarded_release(&a.key);
    guarded_release(&a.room);
    guarded_release(&b.key);
    guarded_release(&b.room);
    fuzz_memory_all_back();
    return 0;
}
