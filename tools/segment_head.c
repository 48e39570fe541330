/* segment_head: see segment_head.h. */
#include "segment_head.h"

#include <base/checksum.h>
#include <base/coding.h>
#include <base/error.h>
#include <base/fs.h>

#define HEADER_BYTES    128
#define CHECKSUM_OFFSET 124
#define SECOND_COPY     512

static bool decode(const uint8_t *p, segment_head *out)
{
    if (crc32_update(0, p, CHECKSUM_OFFSET) != get_u32(p + CHECKSUM_OFFSET))
        return false;
    out->segment_no = get_u64(p + 32);
    out->segment_bytes = get_u64(p + 40);
    out->salt = get_u64(p + 48);
    out->created_us = get_u64(p + 72);
    return true;
}

int segment_head_read(const char *folder, const char *file, segment_head *out, firn_error *error)
{
    static const uint64_t copies[] = {0, SECOND_COPY};
    uint8_t bytes[HEADER_BYTES];
    segment_head head = {0};
    fs_dir *dir = NULL;
    fs_file *f = NULL;
    bool found = false;
    int rc = fs_dir_open(fs_posix(), folder, &dir, error);
    if (rc == FIRN_OK)
        rc = fs_open(dir, file, FS_READ, &f, error);
    if (rc == FIRN_OK)
        rc = fs_size(f, &head.file_bytes, error);
    for (size_t i = 0; rc == FIRN_OK && !found && i < sizeof copies / sizeof copies[0]; i++) {
        rc = fs_read(f, bytes, sizeof bytes, copies[i], error);
        found = rc == FIRN_OK && decode(bytes, &head);
    }
    if (rc == FIRN_OK && !found)
        rc = error_file(error, FIRN_DAMAGED, file, 0, "neither copy of the header is intact");
    if (rc == FIRN_OK)
        *out = head;
    fs_close(f);
    fs_dir_close(dir);
    return rc;
}
