/* limit: a bound on the memory of a process and of the page cache that it fills, for stores that do
 * not fit. It takes a control group of Linux, version 1 or 2, and so in general root. */
#ifndef BENCH_LIMIT_H
#define BENCH_LIMIT_H

#include <stdint.h>

/* Puts the calling process into a group of its own that may use so many bytes; ends the process
 * with a message when that cannot be done. */
void limit_enter(uint64_t bytes);
/* Removes the group that the process `pid`, which has ended, was in. */
void limit_remove(long pid);

#endif
