/* segment_head: what the header of a log segment says, for drawing it. The bytes are those of
 * wal/README.md, "Segment"; either copy will do when its checksum holds. */
#ifndef TOOLS_SEGMENT_HEAD_H
#define TOOLS_SEGMENT_HEAD_H

#include <firn/types.h>

typedef struct segment_head {
    uint64_t segment_no, segment_bytes, salt, created_us;
    uint64_t file_bytes; /* what the file has now */
} segment_head;

/* FIRN_OK, FIRN_DAMAGED (neither copy is intact), FIRN_NOT_FOUND, FIRN_IO. */
int segment_head_read(const char *folder, const char *file, segment_head *out, firn_error *error);

#endif
