/* fuzz_run: a sorted run of versions that an input describes: key ascending, number descending, as a
 * table wants them, range deletes that are disjoint or the same among them. Also the oracles' idea of what a block or a table holds. */
#ifndef FUZZ_FUZZ_RUN_H
#define FUZZ_FUZZ_RUN_H

#include <base/slice.h>

#include "fuzz_edit.h"

typedef struct fuzz_version {
    uint64_t seq;
    uint64_t key_at, value_at; /* in bytes */
    uint32_t key_size, value_size;
    uint8_t kind;
} fuzz_version;

typedef struct fuzz_run {
    fuzz_buf bytes;
    fuzz_buf versions; /* fuzz_version */
} fuzz_run;

static inline size_t fuzz_run_count(const fuzz_run *r)
{
    return r->versions.size / sizeof(fuzz_version);
}

static inline fuzz_version *fuzz_run_at(const fuzz_run *r, size_t i)
{
    return (fuzz_version *)(void *)r->versions.data + i;
}

static inline firn_slice fuzz_run_key(const fuzz_run *r, size_t i)
{
    const fuzz_version *v = fuzz_run_at(r, i);
    return (firn_slice){r->bytes.data + v->key_at, v->key_size};
}

static inline firn_slice fuzz_run_value(const fuzz_run *r, size_t i)
{
    const fuzz_version *v = fuzz_run_at(r, i);
    return (firn_slice){r->bytes.data + v->value_at, v->value_size};
}

/* Copies. */
void fuzz_run_add(fuzz_run *r, firn_slice key, uint64_t seq, uint8_t kind, firn_slice value);
/* Takes so many versions as the next byte of the input says from it. */
void fuzz_run_read(fuzz_run *r, fuzz_input *in);
/* < 0, 0, > 0: version i against (key, seq), in the table's order. */
int fuzz_run_compare(const fuzz_run *r, size_t i, firn_slice key, uint64_t seq);
bool fuzz_run_ascends(const fuzz_run *r);
/* The first version >= (key, seq), looked for one by one; the count when there is none. */
size_t fuzz_run_seek(const fuzz_run *r, firn_slice key, uint64_t seq);
void fuzz_run_release(fuzz_run *r);

/* A key near those of the run: one of them, shortened, lengthened or with a byte changed. In `room`, which
 * has FIRN_MAX_KEY_BYTES + 1 bytes. */
firn_slice fuzz_run_near(const fuzz_run *r, fuzz_input *in, uint8_t *room);

#endif
