/* bounds: the part of the store that scan, count and dump look at, and that del deletes. */
#ifndef TOOLS_BOUNDS_H
#define TOOLS_BOUNDS_H

#include <base/buf.h>

#include "open.h"

typedef struct bounds {
    buf from, to; /* first key; first key beyond the end */
    bool has_from, has_to;
    buf prefix;
    bool has_prefix;
    bool reverse;
    uint64_t limit; /* UINT64_MAX: none */
} bounds;

/* Options of getopt_long that bounds_take understands; a verb adds its own behind them. */
#define BOUNDS_RANGE_LONGS                                                                         \
    {"from", required_argument, NULL, 'f'}, {"to", required_argument, NULL, 't'},                  \
    {                                                                                              \
        "prefix", required_argument, NULL, 'p'                                                     \
    }
#define BOUNDS_LONGS                                                                               \
    BOUNDS_RANGE_LONGS,                                                                            \
    {                                                                                              \
        "limit", required_argument, NULL, 'l'                                                      \
    }

#define BOUNDS_RANGE_HELP                                                                          \
    "  --from KEY          begin with this key, or the next one\n"                                 \
    "  --to KEY            end before this key\n"                                                  \
    "  --prefix P          only keys that begin with P\n"

void bounds_init(bounds *b);
void bounds_release(bounds *b);

/* Takes option `c`. False when its value is wrong, and the user has been told. */
bool bounds_take(const verb *v, bounds *b, int c, const char *value);

/* After the last option: makes one range of what was given. */
bool bounds_settle(const verb *v, bounds *b);

/* The first key; the first key beyond the end. data NULL: no bound. */
firn_slice bounds_from(const bounds *b);
firn_slice bounds_to(const bounds *b);

/* Calls fn for each element of the range, in order or in reverse, until it returns non-zero (which
 * is returned) or the limit is reached. EXIT_DONE, or the exit code of a failure, the user having
 * been told. */
typedef int (*bounds_fn)(void *ctx, firn_slice key, firn_slice value);
int bounds_walk(const bounds *b, firn *db, const char *path, bounds_fn fn, void *ctx);

#endif
