/* request: what a caller asks of the log becomes a request, which commit.c carries out
 * (<firn/wal.h>, <wal/wal.h>, <wal/group.h>). Everything that can be refused is refused here,
 * before the request is queued.
 */
#include <base/checksum.h>
#include <base/entry.h>
#include <base/error.h>
#include <base/sized.h>
#include <string.h>

#include "log.h"

static int too_large(const wal *w, uint64_t bytes, firn_error *err)
{
    int rc =
        error_set(err, FIRN_TOO_LARGE, "a write of %llu encoded bytes is over the limit of %llu",
                  (unsigned long long)bytes, (unsigned long long)w->config.options.max_batch_bytes);
    error_hint(err, "split it, or raise max_batch_bytes (at most %u)", FIRN_MAX_BATCH_BYTES);
    return rc;
}

static int check_put(uint8_t kind, firn_slice key, firn_slice value, firn_error *err)
{
    int rc = entry_check_limits(key.data, key.size, value.data, value.size);
    if (rc == FIRN_TOO_LARGE) {
        error_set(err, rc, "a key of %llu or a value of %llu bytes is over its limit",
                  (unsigned long long)key.size, (unsigned long long)value.size);
        error_hint(err, "keys have at most %u bytes, values %u", FIRN_MAX_KEY_BYTES,
                   FIRN_MAX_VALUE_BYTES);
    } else if (rc != FIRN_OK) {
        error_set(err, rc, "a key or value is NULL and has a size");
    } else if (!entry_kind_known(kind)) {
        rc = error_set(err, FIRN_INVALID, "there is no operation %u", (unsigned)kind);
    } else if (kind == FIRN_DELETE_RANGE) {
        if (!entry_range_fits(key, value))
            rc = error_set(err, FIRN_INVALID, "a range ends in front of its first key, or with it");
    } else if (!entry_kind_fits(kind, value.size)) {
        rc = error_set(err, FIRN_INVALID, "a delete has a value");
        error_hint(err, "pass NULL and 0");
    }
    return rc;
}

static bool durability_known(firn_durability durability)
{
    return (int)durability >= FIRN_DURABILITY_DEFAULT && durability <= FIRN_DURABILITY_NONE;
}

static void entry_encode(uint8_t *p, uint8_t kind, uint16_t bucket, firn_slice key,
                         firn_slice value)
{
    entry_put_header(p, kind, bucket, key.size, value.size);
    p += ENTRY_HEADER_BYTES;
    if (key.size > 0)
        memcpy(p, key.data, key.size);
    if (value.size > 0)
        memcpy(p + key.size, value.data, value.size);
}

/* What every request of entries has. The fields that others set, and `small`, are left alone. */
static void request_fill(const wal *w, wal_request *r, firn_durability durability, firn_error *err)
{
    r->type = WAL_REQUEST_DATA;
    r->frame_type = WAL_DATA;
    r->single = r->leads = false;
    r->err = err;
    if (durability == FIRN_DURABILITY_DEFAULT)
        durability = w->config.options.durability;
    r->durable = durability == FIRN_DURABILITY_SYNC;
    r->batched = durability == FIRN_DURABILITY_BATCH;
}

int wal_request_put(wal *w, wal_request *r, uint8_t kind, uint16_t bucket, firn_slice key,
                    firn_slice value, firn_durability durability, firn_error *err)
{
    int rc = wal_check_writable(w, err);
    if (rc == FIRN_OK)
        rc = check_put(kind, key, value, err);
    if (rc != FIRN_OK)
        return rc;
    uint64_t bytes = entry_size(key.size, value.size);
    if (bytes > w->config.options.max_batch_bytes)
        return too_large(w, bytes, err);
    request_fill(w, r, durability, err);
    r->count = 1;
    r->ranges = kind == FIRN_DELETE_RANGE;
    r->payload_bytes = bytes;
    if (bytes <= sizeof r->small) {
        entry_encode(r->small, kind, bucket, key, value);
        r->key = (firn_slice){r->small, (size_t)bytes};
        r->payload_crc = crc32_update(0, r->small, (size_t)bytes);
        return FIRN_OK;
    }
    r->single = true;
    r->key = key;
    r->value = value;
    entry_put_header(r->head, kind, bucket, key.size, value.size);
    uint32_t crc = crc32_update(0, r->head, sizeof r->head);
    crc = crc32_update(crc, key.data, key.size);
    r->payload_crc = crc32_update(crc, value.data, value.size);
    return FIRN_OK;
}

int wal_request_batch(wal *w, wal_request *r, const firn_batch *batch, firn_durability durability,
                      firn_error *err)
{
    int rc = wal_check_writable(w, err);
    if (rc != FIRN_OK)
        return rc;
    if (!batch || firn_batch_count(batch) == 0) {
        rc = error_set(err, FIRN_INVALID, "the batch is empty");
        error_hint(err, "put at least one operation into it");
        return rc;
    }
    firn_slice payload = batch_payload(batch);
    if (payload.size > w->config.options.max_batch_bytes)
        return too_large(w, payload.size, err);
    request_fill(w, r, durability, err);
    r->count = firn_batch_count(batch);
    r->ranges = batch_ranges(batch);
    r->key = payload;
    r->payload_bytes = payload.size;
    r->payload_crc = crc32_update(0, payload.data, payload.size);
    return FIRN_OK;
}

int wal_request_rotate(wal *w, wal_request *r, firn_error *err)
{
    int rc = wal_check_writable(w, err);
    if (rc != FIRN_OK)
        return rc;
    request_fill(w, r, FIRN_DURABILITY_NONE, err);
    r->type = WAL_REQUEST_ROTATE;
    r->frame_type = 0;
    r->count = r->ranges = 0;
    r->payload_bytes = 0;
    return FIRN_OK;
}

int wal_put(wal *w, uint8_t kind, firn_slice key, firn_slice value, firn_durability durability,
            uint64_t *seq_last, firn_error *err)
{
    wal_request r;
    int rc = wal_request_put(w, &r, kind, ENTRY_BUCKET_DEFAULT, key, value, durability, err);
    if (rc == FIRN_OK)
        rc = wal_submit(w, &r);
    if (rc == FIRN_OK && seq_last)
        *seq_last = r.seq_last;
    return rc;
}

int wal_write(wal *w, const firn_batch *batch, firn_durability durability, uint64_t *seq_last,
              firn_error *err)
{
    wal_request r;
    int rc = wal_request_batch(w, &r, batch, durability, err);
    if (rc == FIRN_OK)
        rc = wal_submit(w, &r);
    if (rc == FIRN_OK && seq_last)
        *seq_last = r.seq_last;
    return rc;
}

static const sized_kind write_kind = {"the write's options", "set size to sizeof(firn_wal_write)",
                                      sizeof(firn_wal_write)};

/* What a caller's firn_wal_write asks for. */
static int write_class(const firn_wal_write *write, firn_durability *durability, firn_error *err)
{
    firn_wal_write w = {.size = sizeof w};
    int rc = write ? sized_take(&write_kind, write, &w, err) : FIRN_OK;
    if (rc != FIRN_OK)
        return rc;
    if (!durability_known(w.durability)) {
        rc = error_set(err, FIRN_INVALID, "durability %d does not exist", (int)w.durability);
        error_hint(err, "set durability to a FIRN_DURABILITY_");
        return rc;
    }
    if (w.durability != FIRN_DURABILITY_DEFAULT)
        *durability = w.durability;
    return FIRN_OK;
}

int firn_wal_append(firn_wal *log, firn_kind op, const void *key, size_t key_size,
                    const void *value, size_t value_size, const firn_wal_write *write,
                    uint64_t *seq, firn_error *error)
{
    firn_durability durability = FIRN_DURABILITY_DEFAULT;
    int rc = write_class(write, &durability, error);
    if (rc != FIRN_OK)
        return rc;
    if ((unsigned)op > UINT8_MAX)
        op = (firn_kind)0;
    return wal_put(log, (uint8_t)op, (firn_slice){key, key_size}, (firn_slice){value, value_size},
                   durability, seq, error);
}

int firn_wal_append_batch(firn_wal *log, const firn_batch *batch, const firn_wal_write *write,
                          uint64_t *seq_last, firn_error *error)
{
    firn_durability durability = FIRN_DURABILITY_SYNC;
    int rc = write_class(write, &durability, error);
    if (rc != FIRN_OK)
        return rc;
    return wal_write(log, batch, durability, seq_last, error);
}

int firn_wal_rotate(firn_wal *log, firn_error *error)
{
    wal_request r;
    int rc = wal_request_rotate(log, &r, error);
    return rc == FIRN_OK ? wal_submit(log, &r) : rc;
}

/* ---- Waiting ---- */

uint32_t wal_request_wait_long(wal *w, wal_request *r)
{
    wait_list *of = w->config.waits;
    uint64_t start = of ? fs_mono_us(w->fs) : 0;
    uint64_t us = 0; /* that it has lasted, until it is told: however often its thread is woken */
    patience p = {0};
    uint32_t state;
    do {
        bool mute = of && !p.told;
        state = wal_request_sleep(w, r, mute ? (uint32_t)(PATIENCE_MUTE_US - us) : 0);
        us = mute && state <= WAL_SLEEPING ? fs_mono_us(w->fs) - start : 0;
        if (us >= PATIENCE_MUTE_US) {
            patience_begun(&p, of, FIRN_WAIT_LOG, us);
            patience_tell(&p, "until the log has written and synced what stands before them");
        }
    } while (state <= WAL_SLEEPING);
    patience_end(&p);
    return state;
}
