/* fuzz_memory: how many bytes firn holds, and a limit that is part of a target's oracle.
 *
 * The linker sends every call of base/alloc.h here first (--wrap, tests.cmake), so what the target and
 * its simulated disk allocate for themselves is not counted.
 */
#ifndef FUZZ_FUZZ_MEMORY_H
#define FUZZ_FUZZ_MEMORY_H

#include <stddef.h>

/* From here on firn may hold `bytes` more than it holds now; an allocation that exceeds them aborts. */
void fuzz_memory_limit(size_t bytes);
/* The limit is so much higher, or lower again. */
void fuzz_memory_more(size_t bytes);
void fuzz_memory_less(size_t bytes);
/* What was allocated since fuzz_memory_limit has been given back, and there is no limit any more. */
void fuzz_memory_all_back(void);
/* The most that was held at once since fuzz_memory_limit. */
size_t fuzz_memory_peak(void);

#endif
