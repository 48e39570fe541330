/* checksum: chooses the fastest CRC-32 that the processor can run (include/base/checksum.h).
 *
 * The choice is made at the first call and kept in a pointer. Threads that race there all find the
 * same answer, so the pointer needs no order: relaxed.
 */
#include "checksum.h"

#include <base/checksum.h>

#include <stdatomic.h>
#include <zlib.h>

static uint32_t choose_and_update(uint32_t crc, const void *data, size_t size);

static _Atomic(crc32_fn) chosen = choose_and_update;

static uint32_t choose_and_update(uint32_t crc, const void *data, size_t size)
{
    crc32_fn best = crc32_pclmul_if_supported();
    if (!best)
        best = crc32_armv8_if_supported();
    if (!best)
        best = crc32_portable;
    atomic_store_explicit(&chosen, best, memory_order_relaxed);
    return best(crc, data, size);
}

uint32_t crc32_update(uint32_t crc, const void *data, size_t size)
{
    return atomic_load_explicit(&chosen, memory_order_relaxed)(crc, data, size);
}

uint32_t crc32_portable(uint32_t crc, const void *data, size_t size)
{
    /* To zlib, NULL means "give me the initial value": keep the checksum of nothing what it was. */
    if (size == 0)
        return crc;
    return (uint32_t)crc32_z(crc, data, size);
}
