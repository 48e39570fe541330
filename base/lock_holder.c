/* lock_holder: who holds the lock that we were refused? Asked only for the message of FIRN_LOCKED.
 *
 * The kernel does not tell: an open-file-description lock belongs to no process. But /proc shows
 * every descriptor of every process that we may look at, what file it refers to, and in fdinfo
 * whether a lock is held through it. The answer may be stale when it is read, and 0 when the holder
 * is hidden from us.
 *
 * A descriptor that a fork copied shares the lock, so several processes may match. In order of
 * belief: our parent with the lock (ours is then the copy), ourselves, another process with the
 * lock (its is then the copy, if we have one), another one that has the file open.
 */
#include <base/fs.h>

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
    struct statx file;
    long self;
    bool self_locked;
    long other_locked;
    long other_open;
} candidates;

/* Does the name lead to our file? What is known about a file is enough: to ask the server of a dead
 * network file system, because some process has a file open there, would hang. */
static bool is_file(const candidates *c, int at, const char *name)
{
    struct statx st;
    return statx(at, name, AT_STATX_DONT_SYNC, STATX_INO, &st) == 0 &&
           st.stx_ino == c->file.stx_ino && st.stx_dev_major == c->file.stx_dev_major &&
           st.stx_dev_minor == c->file.stx_dev_minor;
}

/* Is a lock held through descriptor `name` of the process whose folder is `process`? */
static bool has_lock(int process, const char *name)
{
    char path[64];
    snprintf(path, sizeof path, "fdinfo/%.20s", name);
    int fd = openat(process, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    char text[4096]; /* a few short lines; locks come right after position and flags */
    ssize_t n = read(fd, text, sizeof text - 1);
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
        if (d->d_name[0] == '.' || !is_file(c, dirfd(descriptors), d->d_name))
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

/* `name` is that of a process in /proc. */
static void look_at(candidates *c, int proc, const char *name, long pid)
{
    int process = openat(proc, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (process < 0)
        return;
    look_at_process(c, process, pid);
    close(process);
}

static void look_at_pid(candidates *c, int proc, long pid)
{
    char name[24];
    snprintf(name, sizeof name, "%ld", pid);
    look_at(c, proc, name, pid);
}

long lock_holder_find(int fd)
{
    candidates c = {.self = getpid()};
    const long parent = getppid();
    if (statx(fd, "", AT_EMPTY_PATH, STATX_INO, &c.file) != 0)
        return 0;
    DIR *processes = open_stream(AT_FDCWD, "/proc");
    if (!processes)
        return 0;
    look_at_pid(&c, dirfd(processes), parent);
    if (c.other_locked == 0)
        look_at_pid(&c, dirfd(processes), c.self);
    const struct dirent *d;
    while (c.other_locked == 0 && !c.self_locked && (d = readdir(processes)) != NULL) {
        char *end;
        long pid = strtol(d->d_name, &end, 10);
        if (*end == '\0' && pid > 0 && pid != parent && pid != c.self)
            look_at(&c, dirfd(processes), d->d_name, pid);
    }
    closedir(processes);
    if (c.other_locked != 0)
        return c.other_locked;
    return c.self_locked ? FS_HOLDER_SELF : c.other_open;
}
