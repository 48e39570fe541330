/* options: what may be asked of a log, and what it does unasked (<firn/wal.h>,
 * firn_wal_options). */
#include <base/error.h>
#include <base/sized.h>
#include <string.h>

#include "log.h"

static const sized_kind options_kind = {
    "the log's options", "fill them in with firn_wal_options_init first", sizeof(firn_wal_options)};

void firn_wal_options_init_sized(firn_wal_options *options, size_t size)
{
    const firn_wal_options defaults = {
        .durability = FIRN_DURABILITY_SYNC,
        .batch_writes = 1000,
        .batch_bytes = UINT64_C(1) << 20,
        .batch_ms = 50,
        .segment_bytes = UINT64_C(64) << 20,
        .max_batch_bytes = FIRN_MAX_BATCH_BYTES,
        .recovery = FIRN_RECOVERY_TAIL,
        .create_if_missing = true,
        .backing = FIRN_WAL_AUTO,
        .mark_ms = 100,
    };
    sized_init(&options_kind, options, size, &defaults);
}

void(firn_wal_options_init)(firn_wal_options *options)
{
    firn_wal_options_init_sized(options, SIZED_FIRST(firn_wal_options, log_ctx));
}

void wal_config_init(wal_config *config)
{
    memset(config, 0, sizeof *config);
    firn_wal_options_init(&config->options);
}

static int out_of_range(firn_error *err, const char *name, uint64_t value, uint64_t least,
                        uint64_t most)
{
    int rc = error_set(err, FIRN_INVALID, "option %s is %llu", name, (unsigned long long)value);
    error_hint(err, "allowed are %llu to %llu", (unsigned long long)least,
               (unsigned long long)most);
    return rc;
}

typedef struct range {
    const char *name;
    uint64_t value, least, most;
} range;

int wal_options_take(const firn_wal_options *given, firn_wal_options *out, firn_error *err)
{
    firn_wal_options_init(out);
    return sized_take(&options_kind, given, out, err);
}

int wal_options_check(const firn_wal_options *given, firn_wal_options *out, firn_error *err)
{
    firn_wal_options o;
    int rc = wal_options_take(given, &o, err);
    if (rc != FIRN_OK)
        return rc;
    if (o.durability == FIRN_DURABILITY_DEFAULT)
        o.durability = FIRN_DURABILITY_SYNC;
    const range ranges[] = {
        {"durability", (uint64_t)o.durability, FIRN_DURABILITY_SYNC, FIRN_DURABILITY_NONE},
        {"batch_writes", o.batch_writes, 1, UINT32_MAX},
        {"batch_bytes", o.batch_bytes, 1, UINT64_MAX},
        {"batch_ms", o.batch_ms, 1, UINT32_MAX},
        {"segment_bytes", o.segment_bytes, WAL_SEGMENT_MIN, WAL_SEGMENT_MAX},
        {"max_batch_bytes", o.max_batch_bytes, 1, FIRN_MAX_BATCH_BYTES},
        {"recovery", (uint64_t)o.recovery, FIRN_RECOVERY_TAIL, FIRN_RECOVERY_INSPECT},
        {"backing", (uint64_t)o.backing, FIRN_WAL_AUTO, FIRN_WAL_BUFFERED},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        const range *r = &ranges[i];
        if (r->value < r->least || r->value > r->most)
            return out_of_range(err, r->name, r->value, r->least, r->most);
    }
    o.segment_bytes = (o.segment_bytes + WAL_PAGE_BYTES - 1) / WAL_PAGE_BYTES * WAL_PAGE_BYTES;
    *out = o;
    return FIRN_OK;
}
