/* linear: is a history of concurrent calls linearizable? That is: is there an order of the calls in
 * which each call that had returned before another one began stands in front of it, and in which
 * each result is what a plain map would have given?
 *
 * The search is that of Wing and Gong (1993) with Lowe's memory (2017): it tries the calls that may
 * come next, one after the other, and goes back where none fits. It never goes on from the same set
 * of calls and the same map twice.
 *
 * The map has LINEAR_KEYS keys. A value is a number; 0: the key is not there. */
#ifndef TESTS_ENGINE_LINEAR_H
#define TESTS_ENGINE_LINEAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LINEAR_KEYS = 4, LINEAR_OPS = 64 };

typedef enum linear_if {
    LINEAR_NO_CONDITION = 0,
    LINEAR_IF_VALUE, /* `wanted`; 0: the key must not be there */
    LINEAR_IF_PRESENT,
} linear_if;

/* What a call has to do with one key. */
typedef struct linear_part {
    linear_if condition;
    bool reads, writes;
    uint16_t wanted, read, written;
} linear_part;

/* A call: it reads, sees whether its conditions hold, and writes if all do; all at one moment. */
typedef struct linear_op {
    uint64_t invoked, returned; /* of one clock that all threads share; no two are the same */
    bool conflict;              /* it has said that a condition does not hold */
    linear_part parts[LINEAR_KEYS];
} linear_op;

typedef struct linear_map {
    uint16_t values[LINEAR_KEYS];
} linear_map;

/* At most LINEAR_OPS calls, on a map that holds `first`. *longest (may be NULL): so many calls at
 * most have an order, from the beginning on. */
bool linear_check(linear_map first, const linear_op *ops, size_t count, size_t *longest);

/* Does the call fit here? If so, the map is what it leaves. */
bool linear_step(linear_map *map, const linear_op *op);

/* A history as text, call by call, each with a `;` behind it, and the reverse:
 *
 *     0-5 a=1;         invoked at 0, returned at 5: a becomes 1
 *     1-2 a:0 b:7;     reads: a is not there, b is 7
 *     3-8 a?1 a=2;     a condition: a is 1. It holds, and a becomes 2
 *     4-6 b?* b=0 !;   a condition: b is there. It does not hold: a conflict
 *
 * linear_print ends with a NUL, and cuts off what does not fit. */
void linear_print(const linear_op *ops, size_t count, char *out, size_t size);
size_t linear_parse(const char *text, linear_op ops[LINEAR_OPS]);

#endif
