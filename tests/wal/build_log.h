/* build_log: writes logs byte by byte with the format functions, so that the reading half is tested
 * without the writing half, and in states that a writer would never leave.
 *
 * Operation number n is always the same (log_key, log_value), so that a test that reads a log back can
 * tell what it should have got from the number alone.
 */
#ifndef TESTS_WAL_BUILD_LOG_H
#define TESTS_WAL_BUILD_LOG_H

#include <support/simfs.h>
#include <wal/wal.h>

#include <segments/format.h>

#define LOG_FOLDER        "log"
#define LOG_SEGMENT_BYTES 8192
#define LOG_SEGMENTS_MAX  16
#define LOG_NUMBERS_MAX   1024

/* The operation with this number. Every seventh is a delete. */
size_t log_key(uint64_t seq, char out[32]);
size_t log_value(uint64_t seq, char out[64]); /* SIZE_MAX: a delete */

typedef struct log_segment {
    uint8_t *bytes;
    uint64_t size; /* of the file */
    uint64_t end;  /* of the frames */
    uint64_t chain, frames;
    wal_header header;
} log_segment;

typedef struct log_builder {
    log_segment segments[LOG_SEGMENTS_MAX]; /* number i + first_no */
    size_t count;
    uint64_t first_no;
    uint64_t next_seq;
    uint64_t durable_seq;
    uint64_t floor_seq;
    uint64_t life;
    uint64_t segment_bytes;
    uint8_t store_id[16];
    bool is_operation[LOG_NUMBERS_MAX]; /* which numbers belong to an operation */
} log_builder;

void log_builder_init(log_builder *b);
void log_builder_release(log_builder *b);

/* Everything below appends to the newest segment. Each returns the offset of its frame. */
uint64_t log_frame(log_builder *b, uint8_t type, const void *payload, size_t size, uint32_t count);
uint64_t log_batch(log_builder *b, uint32_t operations);
/* The payload of such a batch; returns its size. */
size_t log_batch_encode(uint64_t seq_first, uint32_t operations, uint8_t *out, size_t room);
/* A DATA frame with one operation; the builder does not note its number. */
uint64_t log_lone_batch(log_builder *b);
uint64_t log_link(log_builder *b, const wal_link *link);
uint64_t log_skip(log_builder *b, uint32_t reason, uint32_t count);
uint64_t log_mark(log_builder *b);
uint64_t log_seal(log_builder *b, uint32_t kind);
uint64_t log_floor(log_builder *b, uint64_t floor_seq);
uint64_t log_checkpoint(log_builder *b, uint64_t covered);

/* What follows knows that everything so far has been synced. */
void log_synced(log_builder *b);
/* A segment of zeros with a header, without frames. */
log_segment *log_made_ahead(log_builder *b);
/* Seals the newest segment (if there is one) and starts the next. */
void log_rotate(log_builder *b);
/* The same without a seal. */
void log_next_segment(log_builder *b);
/* Syncs, seals and cuts the file as a clean close does. */
void log_close(log_builder *b);
/* Grows the file of a closed log again and goes on behind the seal with the LINK of a new life. */
void log_reopen(log_builder *b);

/* Writes all files into the folder of a simulated disk. */
void log_write(const log_builder *b, simfs *sim);
const char *log_path(uint64_t segment_no, char out[64]);

/* A log of one segment with this number of operations, whose first number is `first`. */
void log_one_segment(log_builder *b, uint64_t first, uint32_t operations);
/* A log of three segments with batches of several sizes, marks, a checkpoint; synced now and then,
 * not closed. */
void log_sample(log_builder *b);

/* ---- Reading back ---- */

typedef struct log_read {
    const log_builder *of;       /* what was written; operations behind it are not compared */
    uint64_t extra;              /* one more operation that may be there */
    uint64_t first, last, count; /* numbers that were passed on */
    uint64_t jumps;              /* operations that were left out between two that were passed on */
    uint64_t wrong; /* operations that are not what their number says, or out of order */
} log_read;

int log_read_entry(void *ctx, const firn_wal_entry *op); /* ctx: a log_read */

/* Configuration for small logs in tests: no threads, small segments. */
wal_config log_config(firn_recovery policy);

#endif
