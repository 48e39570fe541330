/* lines: reads "key<TAB>value" lines from a file or pipe and takes the escapes out, in one pass.
 *
 * Memory is bounded by what a key and a value may be at most, plus two chunks, however long the
 * lines of the input are: a line is decoded as it comes in, and refused where it grows over a
 * limit.
 *
 * Invariants
 *   L1  0 <= start <= end <= capacity; data[start, end) has been read and belongs to no line yet.
 *   L2  line_no is the number of the line that was read last (or is wrong), counted from 1; 0
 * before the first. L3  after anything but LINES_OK the reader gives the same answer again.
 */
#ifndef TOOLS_LINES_H
#define TOOLS_LINES_H

#include <base/buf.h>

typedef enum lines_verdict {
    LINES_OK,
    LINES_END,
    LINES_BAD,    /* the line is wrong: see problem and remedy */
    LINES_SYSTEM, /* reading failed: see sys_errno */
    LINES_NO_MEMORY,
    LINES_INTERRUPTED, /* *stop was set before more input had come */
} lines_verdict;

typedef struct lines {
    int fd;                   /* borrowed */
    const volatile int *stop; /* looked at before each read; may be NULL */
    buf in;
    size_t start;
    bool at_end;
    lines_verdict failed; /* LINES_OK: nothing */
    uint64_t line_no;
    uint64_t bytes_read;
    int sys_errno;
    char problem[160];
    char remedy[160];
} lines;

void lines_init(lines *in, int fd, const volatile int *stop);
void lines_release(lines *in);

/* The next line. The slices are valid until the next call. */
lines_verdict lines_next(lines *in, firn_slice *key, firn_slice *value);

/* Passes over a line without looking at it. */
lines_verdict lines_skip(lines *in);

/* Bytes of the input that lie in lines already passed. */
static inline uint64_t lines_bytes_passed(const lines *in)
{
    return in->bytes_read - (in->in.size - in->start);
}

#endif
