/* bucket: numbers of buckets, as entries of the log carry them (base/entry.h). */
#ifndef BASE_BUCKET_H
#define BASE_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

#define ENTRY_BUCKETS 255 /* numbers of buckets are below */

/* Any of the numbers that an entry can carry. */
typedef struct bucket_set {
    uint64_t words[4];
} bucket_set;

static inline void bucket_set_add(bucket_set *s, uint8_t bucket)
{
    s->words[bucket / 64] |= UINT64_C(1) << (bucket % 64);
}

static inline bool bucket_set_has(const bucket_set *s, uint8_t bucket)
{
    return s->words[bucket / 64] >> (bucket % 64) & 1;
}

/* Is there any from this number on? */
static inline bool bucket_set_reaches(const bucket_set *s, unsigned from)
{
    bool any = from < 256 && s->words[from / 64] >> (from % 64) != 0;
    for (unsigned i = from / 64 + 1; i < 4; i++)
        any = any || s->words[i] != 0;
    return any;
}

#endif
