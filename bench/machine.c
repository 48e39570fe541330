/* machine: see machine.h. */
#include "machine.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "measure.h"

/* Copies what can stand in any of the outputs; runs of blanks become one. */
static void clean(char *to, size_t size, const char *from)
{
    size_t n = 0;
    for (; *from && n + 1 < size; from++) {
        bool plain = *from > ' ' && *from < 0x7f && !strchr("\",\\'<>&", *from);
        if (plain)
            to[n++] = *from;
        else if (n > 0 && to[n - 1] != ' ')
            to[n++] = ' ';
    }
    while (n > 0 && to[n - 1] == ' ')
        n--;
    to[n] = 0;
}

/* x86 says "model name"; others a board, or nothing but the name of the architecture. */
static void read_cpu(machine *m, const struct utsname *u)
{
    static const char *const names[] = {"model name", "Model", "cpu model", "uarch"};
    char line[256];
    FILE *in = fopen("/proc/cpuinfo", "r");
    clean(m->cpu, sizeof m->cpu, u->machine);
    while (in && fgets(line, sizeof line, in)) {
        const char *colon = strchr(line, ':');
        for (size_t i = 0; colon && i < sizeof names / sizeof *names; i++)
            if (strncmp(line, names[i], strlen(names[i])) == 0) {
                clean(m->cpu, sizeof m->cpu, colon + 1);
                fclose(in);
                return;
            }
    }
    if (in)
        fclose(in);
}

static void read_file_system(machine *m, const char *folder)
{
    static const struct {
        unsigned long magic;
        const char *name;
    } known[] = {{0xef53, "ext4"},         {0x58465342, "xfs"},  {0x9123683e, "btrfs"},
                 {0x01021994, "tmpfs"},    {0xf2f52010, "f2fs"}, {0x794c7630, "overlayfs"},
                 {0x2fc12fc1, "zfs"},      {0x6969, "nfs"},      {0xff534d42, "cifs"},
                 {0xca451a4e, "bcachefs"}, {0x65735546, "fuse"}, {0x01021997, "9p"}};
    struct statfs s;
    if (statfs(folder, &s) != 0) {
        snprintf(m->file_system, sizeof m->file_system, "unknown");
        return;
    }
    unsigned long magic = (unsigned long)s.f_type & 0xffffffff;
    snprintf(m->file_system, sizeof m->file_system, "type %lx", magic);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].magic == magic)
            snprintf(m->file_system, sizeof m->file_system, "%s", known[i].name);
}

void machine_read(machine *m, const char *folder)
{
    struct utsname u;
    char kernel[160] = "Linux";
    time_t now = time(NULL);
    struct tm utc;
    *m = (machine){.cores = (unsigned)sysconf(_SC_NPROCESSORS_ONLN)};
    memset(&u, 0, sizeof u);
    if (uname(&u) == 0)
        snprintf(kernel, sizeof kernel, "%s %s", u.sysname, u.release);
    clean(m->kernel, sizeof m->kernel, kernel);
    read_cpu(m, &u);
    m->memory_bytes = proc_number("/proc/meminfo", "MemTotal") * 1024;
    read_file_system(m, folder);
    if (!gmtime_r(&now, &utc) || !strftime(m->date, sizeof m->date, "%Y-%m-%d %H:%M UTC", &utc))
        m->date[0] = 0;
}
