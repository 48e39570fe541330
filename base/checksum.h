/* checksum: the ways to compute it, and how one is chosen. Private to the room and its tests. */
#ifndef CHECKSUM_H
#define CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* The constants of checksum_pclmul.c, here so that a test can compute them again. P is the
 * polynomial 0x104C11DB7; all are reflected and shifted left by one. */
#define FOLD_512_LOW  UINT64_C(0x154442bd4) /* x^(512+32) mod P: for the low half of a lane */
#define FOLD_512_HIGH UINT64_C(0x1c6e41596) /* x^(512-32) mod P: for its high half */
#define FOLD_256_LOW  UINT64_C(0x0f1da05aa)
#define FOLD_256_HIGH UINT64_C(0x15a546366)
#define FOLD_128_LOW  UINT64_C(0x1751997d0)
#define FOLD_128_HIGH UINT64_C(0x0ccaa009e)
#define FOLD_64       UINT64_C(0x163cd6124) /* x^64 mod P */
#define POLYNOMIAL    UINT64_C(0x1db710641) /* P itself, all 33 bits, not shifted */
#define QUOTIENT      UINT64_C(0x1f7011641) /* x^64 / P, all 33 bits, not shifted: for Barrett */

typedef uint32_t (*crc32_fn)(uint32_t crc, const void *data, size_t size);

/* What the processor at hand can run, or NULL. */
crc32_fn crc32_pclmul_if_supported(void);
crc32_fn crc32_armv8_if_supported(void);

#endif
