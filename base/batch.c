/* batch: operations encoded once, in the form that the log stores (<firn/types.h>, batch.h).
 *
 * The entries are those of base/entry.h, back to back. The smallest is 8 bytes, so
 * FIRN_MAX_BATCH_BYTES also bounds `count` far below 2^32. Not thread-safe.
 */
#include "batch.h"

#include <base/alloc.h>
#include <base/entry.h>
#include <base/slice.h>

#include <string.h>

int firn_batch_new(firn_batch **out)
{
    if (!out)
        return FIRN_INVALID;
    *out = heap_zalloc(sizeof **out);
    return *out ? FIRN_OK : FIRN_NO_MEMORY;
}

void firn_batch_free(firn_batch *batch)
{
    if (!batch)
        return;
    buf_release(&batch->payload);
    buf_release(&batch->in_zero);
    heap_free(batch);
}

bool batch_has_room(size_t used, size_t key_size, size_t value_size)
{
    return entry_size(key_size, value_size) <= FIRN_MAX_BATCH_BYTES - used;
}

/* Everything that can fail happens before the first byte is written: a failed call changes nothing.
 */
int batch_add(firn_batch *batch, unsigned bucket, firn_kind kind, firn_slice key, firn_slice value)
{
    if (!batch)
        return FIRN_INVALID;
    int rc = entry_check_limits(key.data, key.size, value.data, value.size);
    if (rc != FIRN_OK)
        return rc;
    if (kind == FIRN_DELETE_RANGE && !entry_range_fits(key, value))
        return FIRN_INVALID;
    if (!batch_has_room(batch->payload.size, key.size, value.size))
        return FIRN_TOO_LARGE;
    size_t size = entry_size(key.size, value.size);
    rc = buf_reserve(&batch->payload, size);
    if (rc != FIRN_OK)
        return rc;

    uint8_t *p = batch->payload.data + batch->payload.size;
    entry_put_header(p, (uint8_t)kind, bucket, key.size, value.size);
    p += ENTRY_HEADER_BYTES;
    if (key.size > 0)
        memcpy(p, key.data, key.size);
    if (value.size > 0)
        memcpy(p + key.size, value.data, value.size);
    batch->payload.size += size;
    batch->count++;
    batch->ranges += kind == FIRN_DELETE_RANGE;
    return FIRN_OK;
}

int batch_add_named(firn_batch *batch, const uint8_t owner[16], unsigned bucket, firn_kind kind,
                    firn_slice key, firn_slice value)
{
    uint32_t at = (uint32_t)batch->payload.size;
    if (!batch_is_of(batch, owner))
        return FIRN_INVALID;
    if (bucket == 0 && buf_reserve(&batch->in_zero, sizeof at) != FIRN_OK)
        return FIRN_NO_MEMORY;
    int rc = batch_add(batch, bucket, kind, key, value);
    if (rc != FIRN_OK)
        return rc;
    if (bucket == 0)
        (void)buf_append(&batch->in_zero, &at, sizeof at); /* there is room */
    batch->named++;
    batch->owned = true;
    memcpy(batch->owner, owner, sizeof batch->owner);
    return FIRN_OK;
}

bool batch_is_of(const firn_batch *batch, const uint8_t owner[16])
{
    return !batch->owned || memcmp(batch->owner, owner, sizeof batch->owner) == 0;
}

uint32_t batch_ranges(const firn_batch *batch)
{
    return batch->ranges;
}

uint32_t batch_named(const firn_batch *batch)
{
    return batch->named;
}

batch_mark batch_here(const firn_batch *batch)
{
    return (batch_mark){batch->payload.size, batch->in_zero.size, batch->count, batch->named,
                        batch->ranges};
}

void batch_back_to(firn_batch *batch, batch_mark mark)
{
    batch->payload.size = mark.bytes;
    batch->in_zero.size = mark.in_zero;
    batch->count = mark.count;
    batch->named = mark.named;
    batch->ranges = mark.ranges;
    batch->owned = mark.named > 0;
}

int batch_move(const firn_batch *batch, unsigned bucket, firn_batch **out)
{
    int rc = firn_batch_new(out);
    if (rc == FIRN_OK)
        rc = buf_assign(&(*out)->payload, batch->payload.data, batch->payload.size);
    if (rc != FIRN_OK) {
        firn_batch_free(*out);
        *out = NULL;
        return rc;
    }
    (*out)->count = batch->count;
    (*out)->ranges = batch->ranges;
    const uint8_t *stay = slice_somewhere(buf_slice(&batch->in_zero)).data;
    const uint8_t *end = stay + batch->in_zero.size;
    for (size_t at = 0; at < batch->payload.size;) {
        uint8_t *p = (*out)->payload.data + at;
        uint32_t next = UINT32_MAX;
        if (stay < end)
            memcpy(&next, stay, sizeof next);
        if (next == at)
            stay += sizeof next;
        else if (entry_bucket(p) == 0)
            entry_put_header(p, (uint8_t)entry_kind(p), bucket, entry_key(p).size,
                             entry_value_size(p));
        at += entry_bytes(p);
    }
    return FIRN_OK;
}

int firn_batch_put(firn_batch *batch, const void *key, size_t key_size, const void *value,
                   size_t value_size)
{
    return batch_add(batch, ENTRY_BUCKET_DEFAULT, FIRN_PUT, (firn_slice){key, key_size},
                     (firn_slice){value, value_size});
}

int firn_batch_delete(firn_batch *batch, const void *key, size_t key_size)
{
    return batch_add(batch, ENTRY_BUCKET_DEFAULT, FIRN_DELETE, (firn_slice){key, key_size},
                     (firn_slice){NULL, 0});
}

void firn_batch_clear(firn_batch *batch)
{
    if (!batch)
        return;
    buf_clear(&batch->payload);
    buf_clear(&batch->in_zero);
    batch->count = batch->named = batch->ranges = 0;
    batch->owned = false;
}

uint32_t firn_batch_count(const firn_batch *batch)
{
    return batch ? batch->count : 0;
}

size_t firn_batch_bytes(const firn_batch *batch)
{
    return batch ? batch->payload.size : 0;
}

firn_slice batch_payload(const firn_batch *batch)
{
    return buf_slice(&batch->payload);
}
