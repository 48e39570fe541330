/* ranges: a caller's range of keys. */
#ifndef ENGINE_RANGES_H
#define ENGINE_RANGES_H

#include <base/buf.h>
#include <firn/firn.h>

/* The bounds as half-open ones. NULL data: none. All zero: nothing to release. */
typedef struct range_bounds {
    buf lower, upper;
    firn_slice first, end;
    bool too_long; /* one of them is longer than any key */
} range_bounds;

/* Copies them (range NULL: all). FIRN_INVALID, FIRN_NO_MEMORY; released in any case. */
int range_bounds_take(const firn_range *range, range_bounds *out, firn_error *err);
void range_bounds_release(range_bounds *b);
/* As an operation has them: an end that is not there lies behind all keys. FIRN_INVALID: nothing
 * lies between them. FIRN_TOO_LARGE: of a bound. FIRN_NO_MEMORY. */
int range_bounds_close(range_bounds *b, firn_error *err);

#endif
