/* commit: the way of a write (commit.c), and what holds it back (slow.c). */
#ifndef ENGINE_COMMIT_H
#define ENGINE_COMMIT_H

#include <store/store.h>

/* The log goes on in another segment, and what lies in front of it is frozen. */
int store_rotate(firn *db, firn_error *err);

/* Delays a write of so many bytes, and waits while there is too much behind. Before it queues.
 * FIRN_POISONED, or what keeps the flush waiting. */
int slow_down(firn *db, uint64_t bytes, firn_error *err);

#endif
