/* bucket: numbers of buckets, as entries of the log carry them (base/entry.h). */
#ifndef BASE_BUCKET_H
#define BASE_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

#define ENTRY_BUCKETS 32768 /* numbers of buckets are below */

/* Any of the numbers that an entry can carry. 4 KiB. */
typedef struct bucket_set {
    uint64_t words[ENTRY_BUCKETS / 64];
} bucket_set;

static inline void bucket_set_add(bucket_set *s, unsigned bucket)
{
    s->words[bucket / 64] |= UINT64_C(1) << (bucket % 64);
}

static inline bool bucket_set_has(const bucket_set *s, unsigned bucket)
{
    return s->words[bucket / 64] >> (bucket % 64) & 1;
}

/* The first one from this number on; ENTRY_BUCKETS: there is none. */
static inline unsigned bucket_set_next(const bucket_set *s, unsigned from)
{
    while (from < ENTRY_BUCKETS) {
        uint64_t rest = s->words[from / 64] >> (from % 64);
        if (rest)
            return from + (unsigned)__builtin_ctzll(rest);
        from = (from / 64 + 1) * 64;
    }
    return ENTRY_BUCKETS;
}

#endif
