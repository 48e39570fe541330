/* tempdir: see tempdir.h. */
#include <support/tempdir.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void tempdir_in_memory(void)
{
    if (access("/dev/shm", W_OK | X_OK) == 0)
        setenv("TMPDIR", "/dev/shm", 1);
}

char *tempdir_new(void)
{
    const char *parent = getenv("TMPDIR");
    if (!parent || !*parent)
        parent = "/tmp";
    char path[4096];
    int length = snprintf(path, sizeof path, "%s/firn-test-XXXXXX", parent);
    if (length < 0 || (size_t)length >= sizeof path || !mkdtemp(path)) {
        perror(path);
        abort();
    }
    char *real = realpath(path, NULL);
    if (!real) {
        perror(path);
        abort();
    }
    return real;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st;
    (void)type;
    (void)where;
    if (remove(path) != 0)
        perror(path);
    return 0;
}

void tempdir_remove(char *path)
{
    if (!path)
        return;
    /* Depth first, so that folders are empty when their turn comes; links are removed, not
     * followed. */
    nftw(path, remove_one, 32, FTW_DEPTH | FTW_PHYS);
    free(path);
}
