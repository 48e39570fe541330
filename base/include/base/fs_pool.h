/* fs_pool: any number of open files with a bounded number of descriptors.
 *
 * A file of a pool is used like any other that was opened for reading (base/fs.h). When the pool
 * has as many descriptors open as it may, it gives back that of a file which has not been used for
 * long; the next use opens it again by its name, in the folder that it came from. A file that was
 * meanwhile removed, replaced or changed in size is told to be (FIRN_DAMAGED) and nothing of
 * another file is read. A call waits while all descriptors are in use, and
 * names that as the cause (fs_pool_watch).
 *
 * A mapped file needs no descriptor, so it holds none once it has been mapped.
 *
 * Thread-safe. A pool belongs to one store.
 */
#ifndef BASE_FS_POOL_H
#define BASE_FS_POOL_H

#include <base/fs.h>
#include <base/patience.h>

typedef struct fs_pool fs_pool;

/* Of this many descriptors that a process may have, tables take one in so many, but at least so
 * many. */
#define FS_POOL_SHARE 4
#define FS_POOL_MIN   4

/* What a store takes of the descriptors that the process may have. */
unsigned fs_pool_limit(fs *f);
/* At most `limit` descriptors, at least 1. FIRN_NO_MEMORY. */
int fs_pool_new(fs *f, unsigned limit, fs_pool **out);
/* Where waits for a descriptor are counted and told; NULL, as at first: nowhere. Before files are
 * opened. */
void fs_pool_watch(fs_pool *p, wait_list *w);
void fs_pool_free(fs_pool *p); /* its files have been closed; NULL is allowed */
unsigned fs_pool_open_now(fs_pool *p);

/* As fs_open with FS_READ and FS_SCATTERED. The folder must outlive the file. `keeps`: what is
 * removed by another process can still be read: a mapping, which is otherwise not looked at, holds
 * it while it rests. */
int fs_pool_open(fs_pool *p, fs_dir *dir, const char *name, bool keeps, fs_file **out,
                 firn_error *err);

#endif
