/* acks: tells a program, line by line, how much of its input is durable (`firn load --ack`).
 *
 * Each committed batch leaves a pair (its last sequence number, input lines stored so far). When
 * the store's durable number has passed pairs, the newest of them is printed: `ack N` says that the
 * first N lines of the input survive a power cut. N never falls.
 *
 * Bounded: when there are too many pairs, every second one is dropped, never the newest. Fewer acks
 * are then printed, each as true as before.
 */
#ifndef TOOLS_ACKS_H
#define TOOLS_ACKS_H

#include "output.h"

#define ACKS_MAX 1024

typedef struct ack {
    uint64_t seq, lines;
} ack;

typedef struct acks {
    output *out; /* NULL: no acks are wanted */
    size_t count;
    uint64_t stride, since; /* pairs that one stands for; how many of them the newest stands for */
    ack pending[ACKS_MAX];  /* ascending in both */
} acks;

void acks_add(acks *a, uint64_t seq, uint64_t lines);

/* Prints, and flushes, the newest ack that durable_seq covers, if any. */
void acks_print(acks *a, uint64_t durable_seq);

#endif
