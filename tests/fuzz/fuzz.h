/* fuzz: what the fuzz targets share: reading an input, and failing.
 *
 * A target is one function, LLVMFuzzerTestOneInput. libFuzzer calls it (preset fuzz), or driver.c
 * does (the default tests). It must not keep anything from one input to the next.
 */
#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H

#include <base/coding.h>
#include <firn/types.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An oracle. It holds in optimised builds, too. */
#define FUZZ_CHECK(condition)                                                                      \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fuzz_fail(__FILE__, __LINE__, #condition);                                             \
    } while (0)

__attribute__((noreturn)) static inline void fuzz_fail(const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: this does not hold: %s\n", file, line, what);
    abort();
}

/* ---- The input, read from front to back; behind its end everything is zero ---- */
typedef struct fuzz_input {
    const uint8_t *data;
    size_t size, at;
} fuzz_input;

static inline bool fuzz_more(const fuzz_input *in)
{
    return in->at < in->size;
}

static inline uint8_t fuzz_u8(fuzz_input *in)
{
    return in->at < in->size ? in->data[in->at++] : 0;
}

/* 0 to 15; the digits of ASCII stand for themselves, so that an input can be written by hand. */
static inline uint32_t fuzz_small(fuzz_input *in)
{
    return fuzz_u8(in) & 15u;
}

/* Up to `size` bytes, borrowed from the input. */
static inline firn_slice fuzz_bytes(fuzz_input *in, size_t size)
{
    size_t left = in->size - in->at;
    firn_slice s = {in->data + in->at, size < left ? size : left};
    in->at += s.size;
    return s;
}

/* All that is left, as an input of its own. */
static inline fuzz_input fuzz_rest(fuzz_input *in)
{
    fuzz_input rest = *in;
    in->at = in->size;
    return rest;
}

/* The letter of the next operation, of which only the low five bits count; 'q' when there is none. */
static inline char fuzz_letter(fuzz_input *in)
{
    return fuzz_more(in) ? (char)('`' + (fuzz_u8(in) & 31)) : 'q';
}

/* Any number; those at which something changes are likely. 0 to 191 take one byte. */
static inline uint64_t fuzz_number(fuzz_input *in)
{
    static const uint64_t edges[] = {
        UINT8_MAX,         UINT16_MAX, UINT32_MAX,        FIRN_MAX_SEQ,      UINT64_C(1) << 40,
        UINT64_C(1) << 63, UINT64_MAX, UINT64_C(1) << 32, UINT64_C(1) << 20, FIRN_MAX_VALUE_BYTES,
    };
    uint8_t b = fuzz_u8(in);
    if (b < 192)
        return b;
    if (b < 224) { /* an edge and what is beside it */
        uint64_t edge = edges[(b - 192u) % (sizeof edges / sizeof edges[0])];
        return edge + fuzz_u8(in) - 8;
    }
    uint8_t bytes[8] = {0};
    firn_slice s = fuzz_bytes(in, 1 + b % 8u);
    for (size_t i = 0; i < s.size; i++)
        bytes[i] = s.data[i];
    return get_u64(bytes);
}

#endif
