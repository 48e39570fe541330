/* ranges: what the tests of range deletes share: keys that are numbers, and a look at reads. */
#ifndef TESTS_ENGINE_RANGES_H
#define TESTS_ENGINE_RANGES_H

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <tree/names.h>

#include "buckets.h"

static inline void numbered(char room[16], unsigned i)
{
    snprintf(room, 16, "k%06u", i);
}

static inline void put_many(bed *b, unsigned first, unsigned end, const char *value)
{
    char key[16];
    for (unsigned i = first; i < end; i++) {
        numbered(key, i);
        put(b->db, key, value);
    }
}

static inline void delete_numbers(firn *db, unsigned first, unsigned end)
{
    char from[16], to[16];
    numbered(from, first);
    numbered(to, end);
    delete_range(db, from, to);
}

typedef struct edit_watch {
    bool fails; /* a table that is not new cannot be read */
    char newest[NAME_BYTES];
    uint64_t reads;
} edit_watch;

static inline int on_read(void *ctx, unsigned call, uint64_t index, const char *name)
{
    edit_watch *w = ctx;
    (void)index;
    size_t size = name ? strlen(name) : 0;
    bool is_table = size > 4 && strcmp(name + size - 4, ".tbl") == 0;
    if (call != SIMFS_READ || !is_table)
        return 0;
    w->reads++;
    return w->fails && strcmp(name, w->newest) < 0 ? EIO : 0;
}

#endif
