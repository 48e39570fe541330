/* bins: counting numbers of any size in little room. Below 2^bits each number has a bin of its own;
 * above, each power of two is cut into 2^bits bins of one width. So the end of a bin is at most a
 * 2^bits-th above the least number in it. Pure. After HdrHistogram (Tene). */
#ifndef BASE_BINS_H
#define BASE_BINS_H

#include <stdint.h>

/* How many there are for the numbers below 2^top. */
#define BINS_BELOW(top, bits) (((top) - (bits) + 1U) << (bits))

static inline unsigned bin_of(uint64_t value, unsigned bits)
{
    if (value >> bits == 0)
        return (unsigned)value;
    unsigned shift = 63U - (unsigned)__builtin_clzll(value) - bits;
    return ((shift + 1) << bits) + (unsigned)(value >> shift) - (1U << bits);
}

/* The largest number in a bin. */
static inline uint64_t bin_end(unsigned bin, unsigned bits)
{
    if (bin >> bits == 0)
        return bin;
    unsigned shift = (bin >> bits) - 1;
    uint64_t first = (uint64_t)((1U << bits) + (bin & ((1U << bits) - 1))) << shift;
    return first + ((UINT64_C(1) << shift) - 1);
}

#endif
