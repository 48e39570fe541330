/* fs_posix: what the two files of the real file system share. */
#ifndef FS_POSIX_H
#define FS_POSIX_H

/* The process that holds a lock on the file behind fd, for a message; 0 when it cannot be found. */
long lock_holder_find(int fd);

#endif
