/* mapping: which tables are read in a mapping, and which by way of the cache.
 *
 * A mapping is best while the data fits into the memory that the process may use: nothing is
 * copied, and nothing is looked up. Beyond that, each page that is not there is a fault that stops
 * the thread, page by page, and scans push out what gets need. So young and small levels are mapped
 * first, as long as they and all above them fit together; what lies deeper is read, and asked for
 * ahead.
 *
 * Decided anew whenever the store gets a new version, since tables come and go, and a control
 * group's limit may be changed at any time. */
#include <store/store.h>

/* Of the memory that the store's own does not take, what the pages of mapped tables may. The rest
 * is for the application, and for what the system keeps of the files that are read. */
#define SHARE_OF(bytes) ((bytes) / 4 * 3)

/* And at least this, also when the store's own is more than there is: the youngest levels are what
 * most reads touch. */
#define LEAST_OF(bytes) ((bytes) / 4)

/* A table that is mapped stays so until the data is beyond the limit by this part: it does not
 * change to and fro. */
#define SLACK_OF(bytes) ((bytes) / 8)

uint64_t mapping_room(uint64_t limit, uint64_t memory)
{
    if (limit == UINT64_MAX)
        return UINT64_MAX;
    uint64_t share = limit > memory ? SHARE_OF(limit - memory) : 0;
    return share > LEAST_OF(limit) ? share : LEAST_OF(limit);
}

/* Adds a level to those above it. */
static void decide_level(const level *l, uint64_t room, uint64_t *sum)
{
    for (size_t i = 0; i < l->count; i++) {
        table *t = l->tables[i];
        bool is_mapped = atomic_load_explicit(&t->mapped, memory_order_relaxed);
        uint64_t slack = is_mapped && room < UINT64_MAX / 2 ? SLACK_OF(room) : 0;
        *sum += t->properties.file_bytes;
        table_set_mapped(t, *sum <= room + slack);
    }
}

void mapping_decide(const version *const *v, size_t count, uint64_t room)
{
    uint64_t sum = 0;
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        for (size_t i = 0; i < count; i++)
            decide_level(&v[i]->levels[n], room, &sum);
}

void store_decide_mapping(store *db, const version *const *v, size_t count)
{
    if (db->env.mapped)
        mapping_decide(v, count, mapping_room(fs_memory_limit(db->fs), db->options.memory));
}
