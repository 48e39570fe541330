/* replace: see replace.h. */
#include "replace.h"

#include <base/fs.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "command.h"

#define TRIES 100 /* names; a second one is hardly ever needed */

/* ---- Signals ---- */

static const int endings[] = {SIGINT, SIGTERM, SIGHUP};
#define ENDINGS (sizeof endings / sizeof endings[0])
static struct sigaction before[ENDINGS];
static const replace *volatile unfinished; /* what the handler removes */

static void on_ending(int signal_no)
{
    const replace *r = unfinished;
    if (r)
        (void)unlinkat(r->dir, r->part, 0);
    signal(signal_no, SIG_DFL);
    raise(signal_no);
}

static void block(sigset_t *old)
{
    sigset_t all;
    sigemptyset(&all);
    for (size_t i = 0; i < ENDINGS; i++)
        sigaddset(&all, endings[i]);
    sigprocmask(SIG_BLOCK, &all, old);
}

static void catch_endings(void)
{
    struct sigaction remove = {.sa_handler = on_ending};
    for (size_t i = 0; i < ENDINGS; i++) {
        sigaction(endings[i], NULL, &before[i]);
        if (before[i].sa_handler != SIG_IGN) /* as under nohup */
            sigaction(endings[i], &remove, NULL);
    }
}

static void release_endings(void)
{
    for (size_t i = 0; i < ENDINGS; i++)
        sigaction(endings[i], &before[i], NULL);
}

/* ---- The file ---- */

/* Opens the folder of the target. */
static int open_folder(replace *r)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(r->target, '/');
    r->base = slash ? slash + 1 : r->target;
    size_t length = slash ? (size_t)(slash - r->target) : 0;
    if (length >= sizeof folder || strlen(r->base) > NAME_MAX)
        return ENAMETOOLONG;
    if (r->base[0] == '\0' || strcmp(r->base, ".") == 0 || strcmp(r->base, "..") == 0)
        return EISDIR;
    memcpy(folder, r->target, length);
    folder[length] = '\0';
    const char *path = length > 0 ? folder : slash ? "/" : ".";
    r->dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return r->dir < 0 ? errno : 0;
}

static int make_part(replace *r)
{
    for (int tries = 0; tries < TRIES; tries++) {
        uint64_t chance;
        if (fs_random(fs_posix(), &chance, sizeof chance, NULL) != FIRN_OK)
            return EIO;
        snprintf(r->part, sizeof r->part, ".firn-%016llx", (unsigned long long)chance);
        r->fd = openat(r->dir, r->part, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (r->fd >= 0)
            return 0;
        if (errno != EEXIST && errno != EINTR)
            return errno;
    }
    return EEXIST;
}

int replace_begin(replace *r, const char *target)
{
    struct stat st;
    *r = (replace){.target = target, .dir = -1, .fd = -1};
    int sys_errno = open_folder(r);
    /* A folder cannot be replaced by a file: better told before all of the file is written. */
    if (sys_errno == 0 && fstatat(r->dir, r->base, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISDIR(st.st_mode))
        sys_errno = EISDIR;
    if (sys_errno == 0) {
        sigset_t old;
        block(&old); /* from the file's beginning the handler knows it */
        sys_errno = make_part(r);
        if (sys_errno == 0) {
            unfinished = r;
            catch_endings();
        }
        sigprocmask(SIG_SETMASK, &old, NULL);
    }
    if (sys_errno == 0)
        return EXIT_DONE;
    if (r->dir >= 0)
        close(r->dir);
    return fail_system("cannot open", target, sys_errno);
}

int replace_end(replace *r, int code)
{
    sigset_t old;
    if (code == EXIT_DONE && fsync(r->fd) != 0)
        code = fail_system("cannot sync", r->target, errno);
    if (close(r->fd) != 0 && code == EXIT_DONE)
        code = fail_system("cannot close", r->target, errno);
    block(&old);
    bool named = code == EXIT_DONE && renameat(r->dir, r->part, r->dir, r->base) == 0;
    if (code == EXIT_DONE && !named)
        code = fail_system("cannot put the complete file in its place", r->target, errno);
    if (!named)
        (void)unlinkat(r->dir, r->part, 0);
    unfinished = NULL;
    release_endings();
    sigprocmask(SIG_SETMASK, &old, NULL);
    if (named && fsync(r->dir) != 0 &&
        errno != EINVAL) /* which some file systems answer for folders */
        code = fail_system("cannot sync the folder of", r->target, errno);
    close(r->dir);
    return code;
}
