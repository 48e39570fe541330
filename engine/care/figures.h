/* figures: what stats.c gathers, for those who tell it. */
#ifndef ENGINE_FIGURES_H
#define ENGINE_FIGURES_H

#include <store/store.h>

/* A bucket as it is now, which may be dropped while its figures are told. */
typedef struct sight {
    view *view; /* a reference; NULL: it has been dropped */
    bucket_name name;
    uint64_t iterators;
    uint64_t read[FIRN_LEVELS], written[FIRN_LEVELS], jobs[FIRN_LEVELS];
} sight;

typedef struct sights {
    sight *all; /* bucket 0 first */
    size_t count;
} sights;

/* All buckets. FIRN_NO_MEMORY. */
int sights_take(store *db, sights *out);
void sights_release(sights *s);

void figures_of_bucket(const sight *s, firn_bucket_stats *out);
/* FIRN_IO, FIRN_NO_MEMORY: of what lies in lost/, or of the reserve. */
int figures_of_store(store *db, const sights *seen, firn_stats *out, firn_error *err);

#endif
