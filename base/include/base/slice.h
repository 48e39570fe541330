/* slice: comparing and cutting borrowed bytes. Keys are ordered by memcmp, a prefix before its
 * continuation. */
#ifndef BASE_SLICE_H
#define BASE_SLICE_H

#include <firn/types.h>
#include <string.h>

static inline firn_slice slice_of(const void *data, size_t size)
{
    return (firn_slice){data, size};
}

/* The empty slice may be NULL, to which C allows no arithmetic: this one never is. For keys that
 * are handed down to where they are cut. */
static inline firn_slice slice_somewhere(firn_slice s)
{
    static const uint8_t nothing;
    return s.data ? s : (firn_slice){&nothing, 0};
}

static inline firn_slice slice_of_str(const char *s)
{
    return (firn_slice){(const uint8_t *)s, strlen(s)};
}

static inline int slice_compare(firn_slice a, firn_slice b)
{
    size_t n = a.size < b.size ? a.size : b.size;
    int c = n ? memcmp(a.data, b.data, n) : 0;
    if (c != 0)
        return c;
    return (a.size > b.size) - (a.size < b.size);
}

/* Keys that follow each other differ in their last bytes: most answers are known without a call. */
static inline bool slice_equal(firn_slice a, firn_slice b)
{
    if (a.size == b.size && a.size >= 8) {
        uint64_t x, y;
        memcpy(&x, a.data + a.size - 8, 8);
        memcpy(&y, b.data + b.size - 8, 8);
        if (x != y)
            return false;
    }
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* The length of the longest common prefix. */
static inline size_t slice_common(firn_slice a, firn_slice b)
{
    size_t n = a.size < b.size ? a.size : b.size;
    size_t i = 0;
    while (i < n && a.data[i] == b.data[i])
        i++;
    return i;
}

/* Eight bytes of the key from `skip` on, as a big-endian number padded with zeros: for keys that
 * agree in their first `skip` bytes, piece(a) < piece(b) implies a < b; equal pieces decide
 * nothing. */
static inline uint64_t slice_piece(firn_slice key, size_t skip)
{
    uint64_t v = 0;
    if (key.size >= skip + 8) {
        memcpy(&v, key.data + skip, 8);
        return __builtin_bswap64(v);
    }
    for (size_t i = skip; i < key.size; i++)
        v |= (uint64_t)key.data[i] << (56 - 8 * (i - skip));
    return v;
}

#endif
