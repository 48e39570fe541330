/* fs_posix: what the files of the real file system share. */
#ifndef FS_POSIX_H
#define FS_POSIX_H

#include <stdint.h>

/* The process that holds a lock on the file behind fd, for a message; 0 when it cannot be found. */
long lock_holder_find(int fd);

/* How much memory this process may use: the machine's, or less when a control group says so, its
 * own or one around it. `groups` is the list of the groups that it is in, `root` where their
 * folders are. */
uint64_t memory_limit_find(const char *groups, const char *root);

/* How much address space the process has taken; 0: unknown. */
uint64_t memory_address_space(void);

#endif
