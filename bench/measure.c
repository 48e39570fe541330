/* measure: see measure.h. */
#include "measure.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "adapter.h"

void *bench_alloc(size_t size)
{
    void *memory = calloc(1, size);
    if (!memory)
        bench_fail("bench", "allocation", "out of memory");
    return memory;
}

uint64_t proc_number(const char *file, const char *name)
{
    char line[256];
    unsigned long long value = 0;
    size_t length = strlen(name);
    FILE *in = fopen(file, "r");
    while (in && fgets(line, sizeof line, in))
        if (strncmp(line, name, length) == 0 && line[length] == ':')
            value = strtoull(line + length + 1, NULL, 10);
    if (in)
        fclose(in);
    return value;
}

usage measure_usage(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (usage){.cpu_s = (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
                            (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6,
                   .written_bytes = proc_number("/proc/self/io", "write_bytes")};
}

/* nftw has no context. */
static uint64_t folder_bytes;

static int add_file(const char *path, const struct stat *s, int type, struct FTW *at)
{
    (void)path, (void)at;
    if (type == FTW_F)
        folder_bytes += (uint64_t)s->st_blocks * 512;
    return 0;
}

uint64_t measure_folder(const char *path)
{
    folder_bytes = 0;
    nftw(path, add_file, 16, FTW_PHYS);
    return folder_bytes;
}

/* "5" resets the peak of the resident set (proc(5)). */
void measure_peak_reset(void)
{
    FILE *out = fopen("/proc/self/clear_refs", "w");
    if (out) {
        fputs("5", out);
        fclose(out);
    }
}

uint64_t measure_peak(void)
{
    return proc_number("/proc/self/status", "VmHWM") * 1024;
}

double bench_wait_until_quiet(void)
{
    const struct timespec nap = {0, 50000000};
    uint64_t quiet_since = now_ns();
    for (int quiet = 0; quiet < 5;) {
        double before = measure_usage().cpu_s;
        nanosleep(&nap, NULL);
        if (measure_usage().cpu_s - before < 0.004) {
            quiet++;
        } else {
            quiet = 0;
            quiet_since = now_ns();
        }
    }
    return (double)(now_ns() - quiet_since) * 1e-9;
}
