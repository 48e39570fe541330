/* lost: the folder "lost" in a store's folder, which keeps what recovery and repair give up: bytes
 * cut off, damaged files. Opening never reads it; what is in it stays until the user has it removed
 * (firn_lost, firn_destroy).
 *
 * Names in it end with a number of their own, so that an interrupted run overwrites nothing. What
 * was put there is durable after lost_sync. What stands in the place of the folder itself is moved
 * to a name of its own first. Belongs to one thread at a time.
 */
#ifndef BASE_LOST_H
#define BASE_LOST_H

#include <base/fs.h>

#define LOST_FOLDER      "lost"
#define LOST_MOVED_BYTES (FS_NAME_MAX + 16)

typedef struct lost {
    fs_dir *store;  /* borrowed */
    fs_dir *dir;    /* open when something has been put there, else NULL */
    uint64_t files; /* greatest number of a name in it */
    /* where what stood in the folder's place is now; "": nothing did */
    char aside[FS_NAME_MAX + 1];
} lost;

void lost_close(lost *l);
/* "<beginning>-<n>", a name that is free; makes the folder when it is not there. */
int lost_name(lost *l, const char *beginning, char name[FS_NAME_MAX + 1], firn_error *err);
/* Gives the store's file `file` a second name in the folder, which costs no room. Where the file
 * system has no such thing, copies it; sectors that cannot be read are zeros in the copy. */
int lost_keep(lost *l, const char *file, firn_error *err);
/* The same under "<beginning>-<n>". */
int lost_keep_as(lost *l, const char *file, const char *beginning, firn_error *err);
/* Moves `name`, whatever it is, into the folder, or, where that cannot be, to a name of its own
 * beside it. It is neither opened nor followed. `moved` says where it is now, for messages. Durable
 * after lost_sync. NOT_FOUND. */
int lost_set_aside(lost *l, const char *name, char moved[LOST_MOVED_BYTES], firn_error *err);
/* The same for all names that `ours` knows and that do not stand for a plain file. `tell` (or NULL)
 * hears what each was and where it is now. */
int lost_set_odd_aside(lost *l, bool (*ours)(const char *name),
                       void (*tell)(void *ctx, const char *name, const char *what,
                                    const char *moved),
                       void *ctx, firn_error *err);
/* Gives a file that has another name too bytes of its own: a copy takes its name in `dir`, durably,
 * and the other name keeps the old bytes. Uses the name "<file>.new". */
int lost_unshare(fs_dir *dir, const char *file, firn_error *err);
int lost_sync(lost *l, firn_error *err);

#endif
