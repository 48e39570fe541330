/* salvage: what the files of a salvage share.
 *
 *   salvage.c         all of it: blocks by the index or by walking, versions and gaps to the sink
 *   salvage_walk.c    the walk: where the next block may be, without an index
 *   salvage_front.c   the walk's last means: where a packed block begins whose end is known
 *   salvage_bytes.c   the file through a window; what the salvage may still spend
 *
 * Z1  A file is gone over once, from front to back. What is looked at again, or further ahead, is
 *     paid for: every byte of data that the salvage comes to earns a few units (EARNED), and all
 *     work that is not part of going on costs some. What cannot be paid is not done; what it would
 *     have found stays in a gap, and gaps are told. So time grows with the data in the file,
 *     whatever they are.
 * Z2  Memory: the window, one block as stored, and one unpacked.
 */
#ifndef SSTABLE_SALVAGE_H
#define SSTABLE_SALVAGE_H

#include "format.h"

#include <base/buf.h>

enum {
    SALVAGE_PAYLOAD_MIN = 16 + 1 + 4 + 2 + 3, /* a block of one entry, not packed */
    SALVAGE_PACKED_MIN = 8,
    SALVAGE_SEARCH_BYTES =
        64 << 10, /* a packed block that begins behind damage unpacks to no more */
    SALVAGE_KEPT_BYTES =
        SALVAGE_SEARCH_BYTES + 4096, /* stay in the window behind where the walk is */
    SALVAGE_WINDOW_BYTES = 1 << 20,
    SALVAGE_PAD_BYTES =
        64, /* zeros behind the bytes of a block, so that they may be read in place (B3) */
};

/* What was done, for the tests: time would tell the same, but not twice. */
typedef struct sst_salvage_cost {
    uint64_t read;    /* bytes of the file */
    uint64_t scanned; /* places at which the end of a block was looked for */
    uint64_t units;   /* of work beyond that, about a nanosecond each */
    uint64_t asked;   /* how often the system was asked for holes */
} sst_salvage_cost;

typedef struct salvage {
    const sst_salvage_sink *sink;
    fs_file *file;
    uint64_t size;
    uint64_t end; /* of the data blocks, when `bounded`; else of the file */
    bool bounded;
    uint32_t salt;

    uint8_t *window; /* of the file: [from, to) */
    uint64_t from, to;
    uint64_t asked_from, stored_from,
        stored_to;      /* a hole up to stored_from, and the run of data behind it */
    buf large;          /* a block that is not in the window */
    uint8_t small[256]; /* a few bytes that are not */

    int64_t budget;
    uint64_t holes;     /* bytes of holes that may still be summed */
    uint64_t earned_to; /* up to there the file has been paid for */
    sst_salvage_cost cost;

    buf raw, key, last_key;
    bool any; /* last_key is meaningful */
    bool gap; /* there is damage that has not been told yet: */
    uint64_t gap_from, gap_to;
} salvage;

/* ---- salvage.c ---- */

/* As sst_salvage, and says what it took. */
int sst_salvage_counted(fs_dir *dir, const char *name, const uint64_t store_id[2],
                        uint64_t table_no, const sst_salvage_sink *sink, sst_salvage_cost *cost,
                        firn_error *err);

/* ---- salvage_bytes.c ---- */

int salvage_open(salvage *s, firn_error *err);
void salvage_close(salvage *s);

/* Is the place in a hole? Then *end is where that ends: data, or the end of the file. */
bool salvage_hole(salvage *s, uint64_t at, uint64_t *end);
/* Moves the window so that it holds what is there at `at`, and what is in front of and behind
 * it. */
void salvage_move(salvage *s, uint64_t at);
/* A few bytes (at most 64) at any place; zeros behind the file's end. Valid until the next call. */
const uint8_t *salvage_peek(salvage *s, uint64_t at, size_t size);
/* The bytes of a block that lies in the file, with some behind them; NULL: no memory. */
const uint8_t *salvage_bytes(salvage *s, uint64_t at, uint64_t size);
/* The checksum goes on over [at, at + size) without holding all of it. */
uint32_t salvage_sum(salvage *s, uint32_t sum, uint64_t at, uint64_t size);

/* What has been come to is earned, once. */
void salvage_earn(salvage *s, uint64_t to);
/* Pays, or says no. No single try takes more than a quarter of what is left, so that some is always
 * left for cheap ones. */
bool salvage_pay(salvage *s, uint64_t units);
/* Work that was done and proved to be for nothing: later tries wait until it has been earned
 * again. */
void salvage_owe(salvage *s, uint64_t units);
/* Pays for the checksum of so many bytes there. Holes within them have a budget of their own. */
bool salvage_pay_sum(salvage *s, uint64_t at, uint64_t size);

/* ---- salvage_walk.c ---- */

typedef struct salvage_front_table salvage_front_table;

typedef struct salvage_found {
    uint64_t at, size; /* of the payload */
    sst_trailer trailer;
} salvage_found;

typedef struct salvage_walk {
    salvage *s;
    uint64_t from; /* behind the last block that was found */
    uint64_t scan; /* where the next trailer may be */
    bool looked;   /* whether a block begins at `from` */
    /* The checksum of what is behind `from`, as far as it goes. */
    uint32_t sum;
    uint64_t summed;
    salvage_front_table *front; /* NULL until it is wanted */
} salvage_walk;

void salvage_walk_start(salvage_walk *w, salvage *s);
/* The next block whose checksum is right, of whatever kind; false: there is none that could be paid
 * for. *rc says whether it was for lack of memory. */
bool salvage_walk_next(salvage_walk *w, salvage_found *out, int *rc);
void salvage_walk_release(salvage_walk *w);

/* ---- salvage_front.c ---- */

/* The sizes that are tried, and where the trailer stands. */
typedef struct salvage_end {
    const uint8_t *trailer; /* with the payload in front of it in memory */
    uint64_t at;
    uint32_t min, max;
} salvage_end;

/* For salvage_front; the caller frees it. NULL: no memory. */
salvage_front_table *salvage_front_table_new(void);
/* The smallest size with which the trailer's checksum is right, or 0. Takes about five units a
 * size. */
uint32_t salvage_front(const salvage_front_table *t, const salvage_end *e, uint32_t salt);

#endif
