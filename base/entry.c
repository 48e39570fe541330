/* entry: checks encoded operations (include/base/entry.h; README.md, "Entry").
 *
 * What arrives here may have been read from a file that an attacker prepared: every length is
 * compared with the bytes that remain before it is used, and nothing behind `available` is touched.
 */
#include <base/entry.h>
#include <base/slice.h>

/* How many bytes are left without the FF at its end. */
static size_t without_ff(const uint8_t *data, size_t size)
{
    while (size > 0 && data[size - 1] == 0xff)
        size--;
    return size;
}

static bool is_behind_all(firn_slice end)
{
    return end.size == FIRN_MAX_KEY_BYTES + 1 && end.data[FIRN_MAX_KEY_BYTES] == 0 &&
           without_ff(end.data, FIRN_MAX_KEY_BYTES) == 0;
}

bool entry_range_fits(firn_slice first, firn_slice end)
{
    return slice_compare(first, end) < 0 && first.size <= FIRN_MAX_KEY_BYTES &&
           (end.size <= FIRN_MAX_KEY_BYTES || is_behind_all(end));
}

/* Mostly that is the key and a 0. One that cannot be longer is followed by no key that begins as it
 * does. */
int entry_key_behind(buf *key)
{
    size_t left = without_ff(key->data, key->size);
    if (key->size < FIRN_MAX_KEY_BYTES || left == 0)
        return buf_append(key, "", 1);
    key->size = left;
    key->data[left - 1]++;
    return FIRN_OK;
}

int entry_decode(const uint8_t *p, size_t available, entry *out, size_t *used)
{
    if (available < ENTRY_HEADER_BYTES)
        return FIRN_DAMAGED;
    unsigned kind = once_u32(entry_kind(p));
    uint16_t bucket = (uint16_t)entry_bucket(p);
    /* Another process may change the file that these bytes are mapped from: what is compared is
     * what is used. */
    size_t key_size = once_u32(get_u16(p + 2));
    size_t value_size = once_u32(entry_value_size(p));

    if (kind == ENTRY_KIND_NONE)
        return FIRN_DAMAGED;
    if (!entry_kind_known(kind))
        return FIRN_UNSUPPORTED;
    available -= ENTRY_HEADER_BYTES;
    if (key_size > available || value_size > available - key_size)
        return FIRN_DAMAGED;
    if (value_size > FIRN_MAX_VALUE_BYTES || !entry_kind_fits(kind, value_size))
        return FIRN_DAMAGED;

    firn_slice key = {p + ENTRY_HEADER_BYTES, key_size}, value = {key.data + key_size, value_size};
    if (kind == FIRN_DELETE_RANGE && !entry_range_fits(key, value))
        return FIRN_DAMAGED;
    *out = (entry){.kind = (uint8_t)kind, .bucket = bucket, .key = key, .value = value};
    *used = entry_size(key_size, value_size);
    return FIRN_OK;
}

int entries_check(firn_slice payload, uint32_t count)
{
    size_t offset = 0;
    for (uint32_t i = 0; i < count; i++) {
        entry e;
        size_t used;
        if (offset == payload.size)
            return FIRN_DAMAGED;
        int rc = entry_decode(payload.data + offset, payload.size - offset, &e, &used);
        if (rc != FIRN_OK)
            return rc;
        offset += used;
    }
    return offset == payload.size ? FIRN_OK : FIRN_DAMAGED;
}

void entries_buckets(firn_slice payload, uint32_t count, bucket_set *out)
{
    size_t offset = 0;
    for (uint32_t i = 0; i < count && offset + ENTRY_HEADER_BYTES <= payload.size; i++) {
        const uint8_t *p = payload.data + offset;
        bucket_set_add(out, entry_bucket(p));
        offset += entry_bytes(p);
    }
}

unsigned entries_bucket_most(firn_slice payload, uint32_t count)
{
    unsigned most = 0;
    size_t offset = 0;
    for (uint32_t i = 0; i < count && offset + ENTRY_HEADER_BYTES <= payload.size; i++) {
        const uint8_t *p = payload.data + offset;
        unsigned bucket = entry_bucket(p);
        most = bucket > most ? bucket : most;
        offset += entry_bytes(p);
    }
    return most;
}

int entry_check_limits(const void *key, size_t key_size, const void *value, size_t value_size)
{
    if ((!key && key_size > 0) || (!value && value_size > 0))
        return FIRN_INVALID;
    if (key_size > FIRN_MAX_KEY_BYTES || value_size > FIRN_MAX_VALUE_BYTES)
        return FIRN_TOO_LARGE;
    return FIRN_OK;
}
