/* salvage_front: where does the block begin that ends here?
 *
 * A packed block does not say how long it is. Its trailer holds the checksum of the bytes from its
 * beginning, so each place in front is tried; summing anew for each would take the square of the
 * length. Instead the sum grows at its front:
 *
 *   CRC-32 is linear: the sum of a message is the XOR of what each of its bytes gives, and what a
 *   byte gives depends on the byte and on how many follow it. So one byte more in front is one XOR
 *   more. What the eight bits of a byte give at each distance stands in a table, which is the same
 *   for every file.
 *
 * In front of the payload stands the salt, which moves along; behind it the trailer's first five
 * bytes, which stay, and the block's offset, which changes with the beginning: its low byte by a
 * table, the others once in 256 steps.
 *
 * "Register" below is the checksum without the complement that CRC-32 begins and ends with.
 */
#include "salvage.h"

#include <base/alloc.h>
#include <base/checksum.h>

#define POLYNOMIAL UINT32_C(0xedb88320) /* reflected: bit 31 is the coefficient of x^0 */

enum { TAIL_BYTES = 5 + 8 }; /* what is summed behind the payload: compression, raw size, offset */

static uint32_t times_x(uint32_t v)
{
    return (v >> 1) ^ (POLYNOMIAL & (0U - (v & 1)));
}

/* The register after the bytes, from a register of zeros. */
static uint32_t register_of(const uint8_t *bytes, size_t size)
{
    return ~crc32_update(UINT32_MAX, bytes, size);
}

/* What does not depend on the file. */
struct salvage_front_table {
    uint32_t by_byte[256];                  /* a register's low byte, pushed on by one zero */
    uint32_t by_low[256];                   /* an offset's low byte */
    uint32_t bits[SALVAGE_SEARCH_BYTES][8]; /* of a byte, by how many of the payload follow it */
};

salvage_front_table *salvage_front_table_new(void)
{
    salvage_front_table *t = heap_alloc(sizeof *t);
    if (!t)
        return NULL;
    for (unsigned i = 0; i < 256; i++) {
        uint8_t low[8] = {(uint8_t)i};
        t->by_byte[i] = register_of(low, 1);
        t->by_low[i] = register_of(low, 8);
    }
    uint8_t last[1 + TAIL_BYTES] = {0x80};
    uint32_t v = register_of(last, sizeof last);
    for (size_t distance = 0; distance < SALVAGE_SEARCH_BYTES; distance++) {
        t->bits[distance][7] = v;
        for (int bit = 6; bit >= 0; bit--) /* a bit less is one power of x more */
            t->bits[distance][bit] = times_x(t->bits[distance][bit + 1]);
        v = times_x(t->bits[distance][0]);
    }
    return t;
}

/* What the byte gives that so many of the payload's bytes follow. */
static uint32_t given_by(const uint32_t bits[8], uint8_t byte)
{
    uint32_t sum = 0;
    for (unsigned bit = 0; bit < 8; bit++)
        sum ^= bits[bit] & (0U - ((uint32_t)byte >> bit & 1U));
    return sum;
}

/* What the trailer's first bytes and an offset give. */
static uint32_t given_by_tail(const salvage_end *e, uint64_t offset)
{
    uint8_t tail[TAIL_BYTES];
    memcpy(tail, e->trailer, 5);
    put_u64(tail + 5, offset);
    return register_of(tail, sizeof tail);
}

uint32_t salvage_front(const salvage_front_table *t, const salvage_end *e, uint32_t salt)
{
    static const uint8_t zeros[TAIL_BYTES];
    uint32_t salted = ~crc32_update(salt, zeros, sizeof zeros);
    uint32_t payload = 0, wanted = ~get_u32(e->trailer + 5), high = 0;
    for (uint32_t size = 1; size <= e->max; size++) {
        uint64_t at = e->at - size;
        payload ^= given_by(t->bits[size - 1], e->trailer[-(ptrdiff_t)size]);
        salted = (salted >> 8) ^ t->by_byte[salted & 255];
        if (size == 1 || (at & 255) == 255)
            high = wanted ^ given_by_tail(e, at & ~UINT64_C(255));
        if ((salted ^ payload ^ t->by_low[at & 255]) == high && size >= e->min)
            return size;
    }
    return 0;
}
