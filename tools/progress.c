/* progress: see progress.h. */
#include "progress.h"

#include <base/fs.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "text.h"

#define REDRAW_US 100000
#define BAR_WIDTH 24

void progress_init(progress *p, uint64_t total_bytes)
{
    const char *term = getenv("TERM");
    *p = (progress){
        .shown = isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0,
        .colour = text_colour(STDERR_FILENO),
        .total_bytes = total_bytes,
        .started_us = fs_mono_us(fs_posix()),
    };
}

uint64_t progress_elapsed_us(const progress *p)
{
    return fs_mono_us(fs_posix()) - p->started_us;
}

static unsigned terminal_width(void)
{
    struct winsize w;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 0)
        return w.ws_col;
    return 80;
}

void progress_update(progress *p, uint64_t bytes, uint64_t lines)
{
    if (!p->shown)
        return;
    uint64_t now = fs_mono_us(fs_posix());
    if (now - p->drawn_us < REDRAW_US)
        return;
    uint64_t elapsed = now - p->started_us;
    double rate = elapsed > 0 ? (double)bytes * 1e6 / (double)elapsed : 0;
    char line[256], bar[BAR_WIDTH + 1];
    int n;
    if (p->total_bytes > 0 && bytes <= p->total_bytes) {
        double done = (double)bytes / (double)p->total_bytes;
        size_t filled = (size_t)(done * BAR_WIDTH);
        uint64_t left = rate > 0 ? (uint64_t)((double)(p->total_bytes - bytes) / rate * 1e6) : 0;
        memset(bar, '.', BAR_WIDTH);
        memset(bar, '#', filled);
        bar[BAR_WIDTH] = '\0';
        n = snprintf(line, sizeof line, "%3.0f%% [%s] %s of %s, %s/s, %s lines, %s left",
                     done * 100, bar, text_size(bytes).s, text_size(p->total_bytes).s,
                     text_size((uint64_t)rate).s, text_count(lines).s, text_time(left).s);
    } else {
        n = snprintf(line, sizeof line, "%s, %s/s, %s lines, %s", text_size(bytes).s,
                     text_size((uint64_t)rate).s, text_count(lines).s, text_time(elapsed).s);
    }
    /* A line that wraps could not be taken back with a carriage return. */
    unsigned width = terminal_width();
    if (n > 0 && (unsigned)n >= width)
        line[width - 1] = '\0';
    fprintf(stderr, "\r%s%s%s\033[K", p->colour ? COLOUR_CYAN : "", line,
            p->colour ? COLOUR_OFF : "");
    fflush(stderr);
    p->drawn = true;
    p->drawn_us = now;
}

void progress_clear(progress *p)
{
    if (p->drawn)
        fprintf(stderr, "\r\033[K");
    p->drawn = false;
}
