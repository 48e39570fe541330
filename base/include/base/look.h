/* look: reading a folder while another process may write in it.
 *
 * Files come and go meanwhile, and what does not fit together then means nothing. So the reader
 * takes a fingerprint of the folder, reads, and, when something did not fit, reads again as long as
 * the fingerprint has changed. A folder in which no process writes is read once.
 *
 *     folder_look l = {.dir = dir, .fingerprint = fs_dir_fingerprint, .most = 50};
 *     do {
 *         rc = look_begin(&l, err);
 *         ...
 *     } while (rc != FIRN_OK && look_again(&l));
 */
#ifndef BASE_LOOK_H
#define BASE_LOOK_H

#include <base/fs.h>

typedef struct folder_look {
    fs_dir *dir;
    /* A number that changes whenever a writer changes what the reading depends on. */
    int (*fingerprint)(fs_dir *dir, uint64_t *out, firn_error *err);
    unsigned most;   /* how often the folder is read at most */
    unsigned count;  /* how often it has been */
    uint64_t before; /* its fingerprint when the newest reading began */
} folder_look;

/* Before each reading. What it returns is that of the fingerprint. */
static inline int look_begin(folder_look *l, firn_error *err)
{
    l->count++;
    l->before = 0;
    return l->fingerprint(l->dir, &l->before, err);
}

static inline bool look_may(const folder_look *l)
{
    return l->count < l->most;
}

/* Behind a reading that found what does not fit: has the folder changed meanwhile, and may it be
 * read once more? */
static inline bool look_again(const folder_look *l)
{
    uint64_t now = 0;
    return look_may(l) && (l->fingerprint(l->dir, &now, NULL) != FIRN_OK || now != l->before);
}

#endif
