/* memory_limit: how much memory this process may use, and uses (fs_posix.h).
 *
 * A control group may allow less than the machine has, and so may each group around it: the least
 * counts. In /proc/self/cgroup, the line "0::/a/b" names the group of version 2, "4:memory:/a/b"
 * that of version 1; both may be there. Inside a container the path may name folders that only the
 * host sees: what cannot be read limits nothing, and the walk ends at the root, which is then the
 * container's own group.
 */
#include "fs_posix.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { GROUP_PATH_BYTES = 1024, LIST_BYTES = 8192 };

/* The beginning of a small file, as a string. */
static bool text_read(const char *path, char *out, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return false;
    size_t length = 0;
    ssize_t n;
    while (length + 1 < size && (n = read(fd, out + length, size - 1 - length)) > 0)
        length += (size_t)n;
    out[length] = '\0';
    close(fd);
    return length > 0;
}

/* What one group says: a number of bytes, or "max". */
static uint64_t one_limit(const char *root, const char *kind, const char *group, const char *file)
{
    char path[GROUP_PATH_BYTES], text[64];
    char *end;
    int length = snprintf(path, sizeof path, "%s%s%s/%s", root, kind, group, file);
    if (length < 0 || (size_t)length >= sizeof path || !text_read(path, text, sizeof text))
        return UINT64_MAX;
    uint64_t bytes = strtoull(text, &end, 10);
    return end == text ? UINT64_MAX : bytes;
}

/* The least of the group's limit and those of the groups around it. Cuts `group` down to
 * nothing. */
static uint64_t group_limit(const char *root, const char *kind, char *group, const char *file)
{
    uint64_t least = UINT64_MAX;
    for (;;) {
        size_t length = strlen(group);
        while (length > 0 && group[length - 1] == '/')
            group[--length] = '\0';
        uint64_t bytes = one_limit(root, kind, group, file);
        if (bytes < least)
            least = bytes;
        char *slash = strrchr(group, '/');
        if (!slash)
            return least;
        *slash = '\0';
    }
}

/* Is `word` one of those that the commas in [from, to) part? */
static bool has_word(const char *from, const char *to, const char *word)
{
    size_t length = strlen(word);
    while (from < to) {
        const char *comma = memchr(from, ',', (size_t)(to - from));
        const char *end = comma ? comma : to;
        if ((size_t)(end - from) == length && memcmp(from, word, length) == 0)
            return true;
        from = end + 1;
    }
    return false;
}

/* One line of the list: number, controllers, path. */
static uint64_t line_limit(const char *root, char *line)
{
    char *first = strchr(line, ':');
    char *second = first ? strchr(first + 1, ':') : NULL;
    if (!second)
        return UINT64_MAX;
    if (first + 1 == second)
        return group_limit(root, "", second + 1, "memory.max");
    if (has_word(first + 1, second, "memory"))
        return group_limit(root, "/memory", second + 1, "memory.limit_in_bytes");
    return UINT64_MAX;
}

static uint64_t machine_bytes(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    return pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : UINT64_MAX;
}

uint64_t memory_limit_find(const char *groups, const char *root)
{
    char list[LIST_BYTES];
    uint64_t least = machine_bytes();
    if (!text_read(groups, list, sizeof list))
        return least;
    for (char *line = list, *next; line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        uint64_t bytes = line_limit(root, line);
        if (bytes < least)
            least = bytes;
    }
    return least;
}

uint64_t memory_address_space(void)
{
    char text[128];
    if (!text_read("/proc/self/statm", text, sizeof text))
        return 0;
    return strtoull(text, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE); /* the first number: pages */
}
