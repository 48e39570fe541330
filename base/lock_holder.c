/* lock_holder: who holds the lock that we were refused? Asked only for the message of FIRN_LOCKED.
 *
 * The kernel does not tell: an open-file-description lock belongs to no process. But /proc shows
 * every descriptor of every process that we may look at, what file it refers to, and in fdinfo
 * whether a lock is held through it. The answer may be stale when it is read, and 0 when the holder
 * is hidden from us.
 *
 * A descriptor that a fork copied shares the lock, so several processes may match. In order of
 * belief: another process with the lock, ourselves with the lock, another one that has the file
 * open.
 */
#include "fs_posix.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct candidates {
    dev_t device;
    ino_t inode;
    long self;
    bool self_locked;
    long other_locked;
    long other_open;
} candidates;

/* Is a lock held through descriptor `name` of the process whose folder is `process`? */
static bool has_lock(int process, const char *name)
{
    char path[64];
    snprintf(path, sizeof(path), "fdinfo/%.20s", name);
    int fd = openat(process, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    char text[4096]; /* a few short lines; locks come right after position and flags */
    ssize_t n = read(fd, text, sizeof(text) - 1);
    close(fd);
    if (n <= 0)
        return false;
    text[n] = '\0';
    return strstr(text, "\nlock:") != NULL;
}

/* An open stream over the folder `name` in `at`, or NULL. */
static DIR *open_stream(int at, const char *name)
{
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    DIR *stream = fdopendir(fd);
    if (!stream)
        close(fd);
    return stream;
}

static void look_at_process(candidates *c, int process, long pid)
{
    DIR *descriptors = open_stream(process, "fd");
    if (!descriptors)
        return; /* gone meanwhile, or not ours to see */
    const struct dirent *d;
    while ((d = readdir(descriptors)) != NULL) {
        struct stat st;
        if (d->d_name[0] == '.' || fstatat(dirfd(descriptors), d->d_name, &st, 0) != 0 ||
            st.st_dev != c->device || st.st_ino != c->inode)
            continue;
        bool locked = has_lock(process, d->d_name);
        if (pid == c->self)
            c->self_locked = c->self_locked || locked;
        else if (locked)
            c->other_locked = pid;
        else
            c->other_open = pid;
    }
    closedir(descriptors);
}

long lock_holder_find(int fd)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return 0;
    candidates c = {.device = st.st_dev, .inode = st.st_ino, .self = getpid()};
    DIR *processes = open_stream(AT_FDCWD, "/proc");
    if (!processes)
        return 0;
    const struct dirent *d;
    while (c.other_locked == 0 && (d = readdir(processes)) != NULL) {
        char *end;
        long pid = strtol(d->d_name, &end, 10);
        if (*end != '\0' || pid <= 0)
            continue;
        int process = openat(dirfd(processes), d->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (process < 0)
            continue;
        look_at_process(&c, process, pid);
        close(process);
    }
    closedir(processes);
    if (c.other_locked != 0)
        return c.other_locked;
    return c.self_locked ? c.self : c.other_open;
}
