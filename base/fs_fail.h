/* fs_fail: what the functions of fs.h have in common when the system fails them. Internal to
 * base/. */
#ifndef BASE_FS_FAIL_H
#define BASE_FS_FAIL_H

#include <base/fs.h>

#define MESSAGE_PATH_BYTES 512

/* S2: an interruption is repeated and seen by no caller. */
#define REPEAT_EINTR(result, call)                                                                 \
    do {                                                                                           \
        (result) = (call);                                                                         \
    } while ((result) == -EINTR)

/* Each describes -result, the errno, and returns the status. `name` NULL: the folder itself. */
int fs_fail_dir(const fs_dir *dir, const char *name, int result, const char *verb, firn_error *err);
/* The same where a name was needed: missing, it is no answer to anything. */
int fs_fail_change(const fs_dir *dir, const char *name, int result, const char *verb,
                   firn_error *err);
int fs_fail_file(const fs_file *file, uint64_t offset, int result, const char *verb,
                 firn_error *err);

#endif
