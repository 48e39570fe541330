/* options: defaults, ranges, and setting by name. */
#include <base/error.h>
#include <base/sized.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <store/store.h>

#define KIB UINT64_C(1024)
#define MIB (KIB * 1024)
#define GIB (MIB * 1024)

#define MEM_INDEX_LEAST (128 * KIB)
#define BATCH_LEAST     UINT64_C(300000) /* operations of a batch that any store takes */

/* An active and two frozen memtables with their index take about half. */
#define SEGMENT_PER_MEMORY 8

static const sized_kind options_kind = {"the options", "fill them in with firn_options_init first",
                                        sizeof(firn_options)};

void firn_options_init_sized(firn_options *o, size_t size)
{
    const firn_options defaults = {.memory = 256 * MIB,
                                   .durability = FIRN_DURABILITY_SYNC,
                                   .batch_ms = 50,
                                   .batch_writes = 1000,
                                   .create_if_missing = true,
                                   .recovery = FIRN_RECOVERY_TAIL,
                                   .compression = FIRN_COMPRESSION_AUTO,
                                   .filter_bits = 10,
                                   .table_bytes = 32 * MIB};
    sized_init(&options_kind, o, size, &defaults);
}

void(firn_options_init)(firn_options *o)
{
    firn_options_init_sized(o, SIZED_FIRST(firn_options, never_map));
}

static int out_of_range(firn_error *err, const char *name, uint64_t value, const char *range)
{
    error_set(err, FIRN_INVALID, "option %s is %" PRIu64, name, value);
    error_hint(err, "allowed: %s", range);
    return FIRN_INVALID;
}

/* What each number may be, whether it comes in the struct or by name. */
typedef struct range {
    const char *name;
    uint64_t least, most;
    bool zero; /* allowed too: a default */
    const char *allowed;
} range;

static const range ranges[] = {
    {"memory", MIB, UINT64_C(1) << 46, false, "1MiB to 64TiB"},
    {"segment_bytes", 8 * KIB, GIB, true, "0 (automatic), 8KiB to 1GiB"},
    {"table_bytes", 4 * KIB, GIB, false, "4KiB to 1GiB"},
    {"filter_bits", 0, FILTER_BITS_MOST, false, "0 to 64"},
    {"batch_ms", 1, 60000, false, "1 to 60000"},
    {"batch_writes", 1, UINT32_MAX, false, "1 to 4294967295"},
};

static int check_range(const char *name, uint64_t value, firn_error *err)
{
    const range *r = ranges;
    while (strcmp(r->name, name) != 0)
        r++;
    if ((value >= r->least && value <= r->most) || (value == 0 && r->zero))
        return FIRN_OK;
    return out_of_range(err, name, value, r->allowed);
}

static int check_numbers(const firn_options *o, firn_error *err)
{
    const struct {
        const char *name;
        uint64_t value;
    } numbers[] = {{"memory", o->memory},           {"segment_bytes", o->segment_bytes},
                   {"table_bytes", o->table_bytes}, {"filter_bits", o->filter_bits},
                   {"batch_ms", o->batch_ms},       {"batch_writes", o->batch_writes}};
    int rc = FIRN_OK;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers && rc == FIRN_OK; i++)
        rc = check_range(numbers[i].name, numbers[i].value, err);
    return rc;
}

static int check_enums(const firn_options *o, firn_error *err)
{
    if (o->durability < FIRN_DURABILITY_SYNC || o->durability > FIRN_DURABILITY_NONE)
        return out_of_range(err, "durability", (uint64_t)o->durability, "sync, batch, none");
    if ((unsigned)o->recovery > FIRN_RECOVERY_INSPECT)
        return out_of_range(err, "recovery", (uint64_t)o->recovery,
                            "tail, strict, prefix, salvage, inspect");
    if ((unsigned)o->compression > FIRN_COMPRESSION_ZLIB)
        return out_of_range(err, "compression", (uint64_t)o->compression, "auto, none, lz4, zlib");
    return FIRN_OK;
}

static uint64_t clamp(uint64_t v, uint64_t low, uint64_t high)
{
    return v < low ? low : v > high ? high : v;
}

int options_resolve(const firn_options *given, firn_options *out, firn_error *err)
{
    firn_options o;
    int rc = FIRN_OK;
    firn_options_init(&o);
    if (given) {
        rc = sized_take(&options_kind, given, &o, err);
        if (rc != FIRN_OK)
            return rc;
    }
    if (o.durability == FIRN_DURABILITY_DEFAULT)
        o.durability = FIRN_DURABILITY_SYNC;
    rc = check_enums(&o, err);
    if (rc == FIRN_OK)
        rc = check_numbers(&o, err);
    if (rc != FIRN_OK)
        return rc;
    if (o.segment_bytes == 0)
        o.segment_bytes = clamp(o.memory / SEGMENT_PER_MEMORY, 64 * KIB, 64 * MIB);
    if (o.recovery == FIRN_RECOVERY_INSPECT)
        o.read_only = true;
    o.segment_bytes = (o.segment_bytes + 4095) & ~UINT64_C(4095);
    *out = o;
    return FIRN_OK;
}

/* What one memtable may take, log and index: a segment of log and half of that again, but not more
 * than a quarter of all memory. A memtable of a few entries has an index of 16 KiB already. */
uint64_t options_mem_share(const firn_options *o)
{
    uint64_t index = clamp(o->segment_bytes / 2, MEM_INDEX_LEAST, UINT64_MAX);
    return clamp(o->segment_bytes + index, 2 * MEM_INDEX_LEAST, o->memory / 4);
}

/* The active memtable and FROZEN_MAX that wait or are being flushed have their share; what is left
 * is the cache's. */
void options_budget(const firn_options *o, memory_budget *b)
{
    *b = (memory_budget){.limit = o->memory,
                         .share =
                             clamp(options_mem_share(o) * (FROZEN_MAX + 1), 0, o->memory / 4 * 3),
                         .most = 2 * o->memory};
}

/* All of a batch becomes visible at once, so one memtable has all of its index. That is about as
 * large as all memory at most, or as what a batch may have in any store. */
uint64_t options_batch_most(const firn_options *o)
{
    return clamp(o->memory / MEM_ENTRY_INDEX, BATCH_LEAST, UINT64_MAX);
}

unsigned options_plain_levels(uint32_t c)
{
    return c == FIRN_COMPRESSION_NONE ? FIRN_LEVELS : c == FIRN_COMPRESSION_AUTO ? PLAIN_LEVELS : 0;
}

/* A level holds several tables at least. */
void options_rules(firn_options *o, schedule_rules *r)
{
    *r = (schedule_rules){.level_base_bytes = o->segment_bytes * BASE_SEGMENTS,
                          .ratio = LEVEL_RATIO,
                          .level0_at = L0_COMPACT_AT,
                          .level0_most = L0_MERGE_AT,
                          .plain_levels = options_plain_levels(o->compression)};
    o->table_bytes = clamp(o->table_bytes, 0, r->level_base_bytes / 2);
    r->table_bytes = o->table_bytes;
    r->job_bytes = clamp(JOB_TABLES * r->table_bytes, 2 * r->level_base_bytes, UINT64_MAX);
}

/* ---- by name ---- */

typedef struct choice {
    const char *name;
    int value;
} choice;

static const choice durabilities[] = {{"sync", FIRN_DURABILITY_SYNC},
                                      {"batch", FIRN_DURABILITY_BATCH},
                                      {"none", FIRN_DURABILITY_NONE},
                                      {0}};
static const choice recoveries[] = {
    {"tail", FIRN_RECOVERY_TAIL},       {"strict", FIRN_RECOVERY_STRICT},
    {"prefix", FIRN_RECOVERY_PREFIX},   {"salvage", FIRN_RECOVERY_SALVAGE},
    {"inspect", FIRN_RECOVERY_INSPECT}, {0}};
static const choice compressions[] = {{"auto", FIRN_COMPRESSION_AUTO},
                                      {"none", FIRN_COMPRESSION_NONE},
                                      {"lz4", FIRN_COMPRESSION_LZ4},
                                      {"zlib", FIRN_COMPRESSION_ZLIB},
                                      {0}};
static const choice booleans[] = {{"true", 1}, {"false", 0}, {0}};

static int choose(const choice *list, const char *name, const char *value, int *out,
                  firn_error *err)
{
    char allowed[128] = "";
    for (const choice *c = list; c->name; c++) {
        if (strcmp(c->name, value) == 0) {
            *out = c->value;
            return FIRN_OK;
        }
        strncat(allowed, c == list ? "" : ", ", sizeof allowed - strlen(allowed) - 1);
        strncat(allowed, c->name, sizeof allowed - strlen(allowed) - 1);
    }
    error_set(err, FIRN_INVALID, "option %s cannot be \"%s\"", name, value);
    error_hint(err, "allowed: %s", allowed);
    return FIRN_INVALID;
}

static int number(const char *name, const char *value, uint64_t *out, firn_error *err)
{
    static const struct {
        const char *name;
        uint64_t factor;
    } units[] = {{"", 1},    {"B", 1},     {"KiB", KIB}, {"K", KIB},         {"MiB", MIB},
                 {"M", MIB}, {"GiB", GIB}, {"G", GIB},   {"TiB", GIB * 1024}};
    char *end = NULL;
    uint64_t v = isdigit((unsigned char)value[0]) ? strtoull(value, &end, 10) : 0;
    for (size_t i = 0; end && i < sizeof units / sizeof *units; i++) {
        if (strcasecmp(end, units[i].name) != 0 || v > UINT64_MAX / units[i].factor)
            continue;
        v *= units[i].factor;
        int rc = check_range(name, v, err);
        if (rc == FIRN_OK)
            *out = v;
        return rc;
    }
    error_set(err, FIRN_INVALID, "option %s cannot be \"%s\"", name, value);
    error_hint(err, "give a number, or a size such as 4096, 64KiB, 512MiB, 2GiB");
    return FIRN_INVALID;
}

static int number32(const char *name, const char *value, uint32_t *out, firn_error *err)
{
    uint64_t v;
    int rc = number(name, value, &v, err); /* no range of these reaches further */
    if (rc == FIRN_OK)
        *out = (uint32_t)v;
    return rc;
}

static int set_choice(firn_options *o, const char *name, const char *value, bool *known,
                      firn_error *err)
{
    int v = 0, rc;
    *known = true;
    if (strcmp(name, "durability") == 0) {
        if ((rc = choose(durabilities, name, value, &v, err)) == FIRN_OK)
            o->durability = (firn_durability)v;
        return rc;
    }
    if (strcmp(name, "recovery") == 0) {
        if ((rc = choose(recoveries, name, value, &v, err)) == FIRN_OK)
            o->recovery = (firn_recovery)v;
        return rc;
    }
    if (strcmp(name, "compression") == 0) {
        if ((rc = choose(compressions, name, value, &v, err)) == FIRN_OK)
            o->compression = (firn_compression)v;
        return rc;
    }
    bool *flag = strcmp(name, "create_if_missing") == 0 ? &o->create_if_missing
                 : strcmp(name, "error_if_exists") == 0 ? &o->error_if_exists
                 : strcmp(name, "read_only") == 0       ? &o->read_only
                 : strcmp(name, "never_map") == 0       ? &o->never_map
                 : strcmp(name, "latencies") == 0       ? &o->latencies
                                                        : NULL;
    *known = flag != NULL;
    if (!flag)
        return FIRN_OK;
    if ((rc = choose(booleans, name, value, &v, err)) == FIRN_OK)
        *flag = v != 0;
    return rc;
}

static int set_by_name(firn_options *o, const char *name, const char *value, firn_error *error)
{
    bool known;
    int rc = set_choice(o, name, value, &known, error);
    if (known)
        return rc;
    if (strcmp(name, "memory") == 0)
        return number(name, value, &o->memory, error);
    if (strcmp(name, "segment_bytes") == 0)
        return number(name, value, &o->segment_bytes, error);
    if (strcmp(name, "table_bytes") == 0)
        return number(name, value, &o->table_bytes, error);
    if (strcmp(name, "batch_ms") == 0)
        return number32(name, value, &o->batch_ms, error);
    if (strcmp(name, "batch_writes") == 0)
        return number32(name, value, &o->batch_writes, error);
    if (strcmp(name, "filter_bits") == 0)
        return number32(name, value, &o->filter_bits, error);
    error_set(error, FIRN_INVALID, "there is no option \"%s\"", name);
    error_hint(error,
               "options: memory, durability, batch_ms, batch_writes, create_if_missing, "
               "error_if_exists, read_only, recovery, compression, filter_bits, segment_bytes, "
               "table_bytes, never_map, latencies");
    return FIRN_INVALID;
}

int firn_options_set(firn_options *o, const char *name, const char *value, firn_error *error)
{
    firn_options all, before;
    if (!o || !name || !value)
        return error_set(error, FIRN_INVALID, "options, name and value must not be NULL");
    firn_options_init(&all);
    int rc = sized_take(&options_kind, o, &all, error);
    if (rc != FIRN_OK)
        return rc;
    memcpy(&before, &all, sizeof before);
    rc = set_by_name(&all, name, value, error);
    if (rc == FIRN_OK && !sized_give(&options_kind, o, &all, &before)) {
        rc = error_set(error, FIRN_INVALID,
                       "option %s has no place in options of size %zu, which end before it", name,
                       o->size);
        error_hint(error, "compile the program for this version of firn to set it");
    }
    return rc;
}
