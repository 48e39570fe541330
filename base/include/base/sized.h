/* sized: structs that a program and firn share, and whose first field is their size: options, which
 * the program fills in, and figures, which firn does.
 *
 * Later versions add fields at the end. So the struct of a program that was compiled for an earlier
 * version is shorter, and what it does not have keeps its default. A longer one asks for what this
 * version does not know: it is refused, as is a size that no version's struct has had (nothing
 * behind the size, or a part of a field): then the program has not filled the struct in.
 */
#ifndef BASE_SIZED_H
#define BASE_SIZED_H

#include <firn/types.h>
#include <stddef.h>

typedef struct sized_kind {
    const char *what;   /* "the options" */
    const char *remedy; /* how a program fills one in: "call firn_options_init first" */
    size_t size;        /* of this version's struct */
} sized_kind;

/* The size of the struct of the first version, which ended with this field: what every
 * program has. */
#define SIZED_FIRST(type, last) (offsetof(type, last) + sizeof(size_t))
/* Fills in the program's struct of `size` bytes with the defaults that it has room for. What lies
 * behind those that this version knows becomes zero. Nothing is read. */
void sized_init(const sized_kind *kind, void *to, size_t size, const void *defaults);
/* Is its size one that some version's struct has had, and no later one's? FIRN_INVALID. */
int sized_check(const sized_kind *kind, const void *given, firn_error *err);

/* *out holds the defaults and is of this version's size. Copies what `given` has, but not its size.
 * FIRN_INVALID, and *out is as it was. */
int sized_take(const sized_kind *kind, const void *given, void *out, firn_error *err);
/* The other way: copies into `given`, of whatever size it is, what it has room for. Behind
 * sized_take. False: something in `from` that differs from `before` lies beyond its end. Then
 * nothing was copied. */
bool sized_give(const sized_kind *kind, void *given, const void *from, const void *before);

#endif
