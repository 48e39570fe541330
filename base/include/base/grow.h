/* grow: arrays that double when they are full. */
#ifndef BASE_GROW_H
#define BASE_GROW_H

#include <firn/types.h>

#define ARRAY_FIRST 8 /* elements of an array that was empty */

int array_double(void *array, size_t *capacity, size_t element_bytes, firn_error *err);

/* Room for one more element behind `count` of `element_bytes` each. `array` is the address of the
 * pointer to the first one (NULL: there is none yet), which heap_free frees in the end; it and
 * *capacity change only on success. FIRN_NO_MEMORY; `err` may be NULL. */
static inline int array_grow(void *array, size_t *capacity, size_t count, size_t element_bytes,
                             firn_error *err)
{
    return count < *capacity ? FIRN_OK : array_double(array, capacity, element_bytes, err);
}

#endif
