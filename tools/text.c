/* text: see text.h. */
#include "text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

text_short text_size(uint64_t bytes)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    text_short t;
    if (bytes < 1024) {
        snprintf(t.s, sizeof t.s, "%u B", (unsigned)bytes);
        return t;
    }
    double n = (double)bytes / 1024;
    size_t unit = 0;
    /* 1023.95 would be printed as 1024.0. */
    while (n >= 1023.95 && unit + 1 < sizeof units / sizeof units[0]) {
        n /= 1024;
        unit++;
    }
    snprintf(t.s, sizeof t.s, "%.1f %s", n, units[unit]);
    return t;
}

text_short text_count(uint64_t n)
{
    char digits[24];
    text_short t;
    size_t length = (size_t)snprintf(digits, sizeof digits, "%llu", (unsigned long long)n);
    size_t at = 0;
    for (size_t i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0)
            t.s[at++] = ',';
        t.s[at++] = digits[i];
    }
    t.s[at] = '\0';
    return t;
}

text_short text_time(uint64_t us)
{
    text_short t;
    uint64_t s = us / 1000000;
    if (us < 1000)
        snprintf(t.s, sizeof t.s, "%u us", (unsigned)us);
    else if (s < 1)
        snprintf(t.s, sizeof t.s, "%.1f ms", (double)us / 1e3);
    else if (s < 60)
        snprintf(t.s, sizeof t.s, "%.1f s", (double)us / 1e6);
    else if (s < 3600)
        snprintf(t.s, sizeof t.s, "%u min %02u s", (unsigned)(s / 60), (unsigned)(s % 60));
    else
        snprintf(t.s, sizeof t.s, "%llu h %02u min", (unsigned long long)(s / 3600),
                 (unsigned)(s / 60 % 60));
    return t;
}

text_short text_date_ms(uint64_t time_ms)
{
    struct tm tm;
    text_short t;
    time_t seconds = (time_t)(time_ms / 1000);
    char day[24];
    if (!gmtime_r(&seconds, &tm) || strftime(day, sizeof day, "%Y-%m-%d %H:%M:%S", &tm) == 0) {
        snprintf(t.s, sizeof t.s, "%llu ms", (unsigned long long)time_ms);
        return t;
    }
    snprintf(t.s, sizeof t.s, "%s.%03u", day, (unsigned)(time_ms % 1000));
    return t;
}

bool text_colour(int fd)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    return isatty(fd) && !(no && no[0]) && term && strcmp(term, "dumb") != 0;
}
