/* fuzz_log_bytes: turns an input into the files of a log. Most inputs give a log that a writer could
 * have left, with something wrong in it: checksums, offsets and the running checksum are right where
 * the input does not say otherwise, so that a fuzzer gets past them.
 *
 * The input is a list of operations, a byte each with arguments behind it. Only the low five bits of
 * an operation count, so that its letter can stand for it: "rbsmbrbsc" is a log of two segments that
 * was closed clean. fuzz_log_bytes.c lists the letters and their arguments.
 */
#ifndef FUZZ_LOG_BYTES_H
#define FUZZ_LOG_BYTES_H

#include <wal/build_log.h>

#include "fuzz.h"

#define FUZZ_FRAMES_MAX   512
#define FUZZ_STRAYS_MAX   8
#define FUZZ_SEGMENT_MAX  (UINT64_C(64) << 10) /* bytes of a segment */
#define FUZZ_FILE_MAX     (FUZZ_SEGMENT_MAX + 4 * WAL_PAGE_BYTES)
#define FUZZ_SEGMENTS_MAX 8

/* Where a frame was put. */
typedef struct fuzz_place {
    size_t segment;
    uint64_t offset;
} fuzz_place;

typedef struct fuzz_stray {
    uint32_t kind;
    size_t segment;
    uint64_t no;
} fuzz_stray;

typedef struct fuzz_log {
    log_builder b;
    size_t segments_max;
    uint64_t name_no[LOG_SEGMENTS_MAX];    /* the file's name; 0: it is missing */
    uint64_t file_bytes[LOG_SEGMENTS_MAX]; /* 0: as the builder has it */
    fuzz_place frames[FUZZ_FRAMES_MAX];
    size_t frame_count;
    fuzz_stray strays[FUZZ_STRAYS_MAX];
    size_t stray_count;
    /* Set by fuzz_log_write: things in the way that are no log's fault. */
    bool lost_is_a_file;
    bool folder_under_a_name;
} fuzz_log;

/* A log without a segment; its sizes and first number are the input's. */
void fuzz_log_init(fuzz_log *l, fuzz_input *in, size_t segments_max);
/* Builds what the rest of the input says, with at most segments_max segments. */
void fuzz_log_build(fuzz_log *l, fuzz_input *in, size_t segments_max);
void fuzz_log_release(fuzz_log *l);

/* Puts all files into LOG_FOLDER, strays too. */
void fuzz_log_write(fuzz_log *l, simfs *sim);

/* A size for segments: 8 to 64 KiB, the small ones more often. */
uint64_t fuzz_segment_bytes(fuzz_input *in);

/* Takes the bytes from WAL_DATA_OFFSET on for frames and makes their checksums right, one behind the
 * other; with `dense`, their numbers too. */
void fuzz_fix_frames(uint8_t *base, uint64_t limit, uint64_t salt, bool dense);

#endif
