/* progress: a bar on a terminal, and nothing anywhere else. Drawn at most ten times a second. */
#ifndef TOOLS_PROGRESS_H
#define TOOLS_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct progress {
    bool shown; /* standard error is a terminal that can move its cursor */
    bool colour;
    bool drawn;
    uint64_t total_bytes; /* 0: unknown */
    uint64_t started_us, drawn_us;
} progress;

void progress_init(progress *p, uint64_t total_bytes);
void progress_update(progress *p, uint64_t bytes, uint64_t lines);
/* Takes the bar away, so that what is printed next begins on a line of its own. */
void progress_clear(progress *p);
uint64_t progress_elapsed_us(const progress *p);

#endif
