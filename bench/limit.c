/* limit: see limit.h. */
#include "limit.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "adapter.h"

#define ROOT "/sys/fs/cgroup"

/* Whether the group is of version 1 or 2 shows in the name of the file that holds the bound. */
static const struct version {
    const char *root, *controller, *bound;
} versions[] = {{ROOT "/memory", "memory", "memory.limit_in_bytes"},
                {ROOT, "", "memory.max"},
                {ROOT "/unified", "", "memory.max"}};
#define VERSIONS (sizeof versions / sizeof *versions)

/* The group that this process is in, of the hierarchy with that controller ("": version 2). */
static bool own_group(const char *controller, char *path, size_t size)
{
    char line[512];
    bool found = false;
    FILE *in = fopen("/proc/self/cgroup", "r");
    while (in && !found && fgets(line, sizeof line, in)) {
        char *controllers = strchr(line, ':');
        char *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group)
            continue;
        *group++ = 0;
        group[strcspn(group, "\n")] = 0;
        found = strcmp(controllers + 1, controller) == 0;
        if (found)
            snprintf(path, size, "%s", group);
    }
    if (in)
        fclose(in);
    return found;
}

static bool put(const char *folder, const char *file, const char *text)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder, file);
    FILE *out = fopen(path, "w");
    if (!out)
        return false;
    bool written = fputs(text, out) >= 0;
    return fclose(out) == 0 && written;
}

/* Where the group of process `pid` is, or would be; false when there is no such hierarchy. In a
 * container the path in /proc may be one that is not mounted: then it is the root of the mount. */
static bool group_of(const struct version *v, long pid, char *path, size_t size)
{
    char own[512], parent[800];
    struct stat s;
    if (!own_group(v->controller, own, sizeof own))
        return false;
    snprintf(parent, sizeof parent, "%s%s", v->root, own);
    if (stat(parent, &s) != 0)
        snprintf(parent, sizeof parent, "%s", v->root);
    snprintf(path, size, "%s/firn-bench-%ld", parent, pid);
    return stat(parent, &s) == 0;
}

static bool enter(const struct version *v, uint64_t bytes)
{
    char path[900], text[32];
    if (!group_of(v, (long)getpid(), path, sizeof path) || mkdir(path, 0755) != 0)
        return false;
    snprintf(text, sizeof text, "%llu", (unsigned long long)bytes);
    if (put(path, v->bound, text)) {
        snprintf(text, sizeof text, "%ld", (long)getpid());
        if (put(path, "cgroup.procs", text))
            return true;
    }
    rmdir(path);
    return false;
}

void limit_enter(uint64_t bytes)
{
    for (size_t i = 0; i < VERSIONS; i++)
        if (enter(&versions[i], bytes))
            return;
    bench_fail("bench", "memory-limit",
               "no control group could be made for it here. As root, or all at once: "
               "systemd-run --scope -p MemoryMax=... firn-bench ...");
}

void limit_remove(long pid)
{
    char path[900];
    for (size_t i = 0; i < VERSIONS; i++)
        if (group_of(&versions[i], pid, path, sizeof path))
            rmdir(path);
}
