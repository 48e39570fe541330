/* commit: the way of a write (commit.c), and what holds it back (slow.c). */
#ifndef ENGINE_COMMIT_H
#define ENGINE_COMMIT_H

#include <store/store.h>

/* The log goes on in another segment, and what lies in front of it is frozen. */
int store_rotate(store *db, firn_error *err);

/* ---- ops.c ---- */
/* The batch as it is to be written with a handle of this bucket: itself, or a copy (*moved, which
 * the caller frees) whose operations that name no bucket are in it. FIRN_INVALID: of another store.
 * FIRN_DROPPED: one of its buckets, or this one. FIRN_NO_MEMORY. */
int batch_for(const tree *t, const firn_batch *batch, const firn_batch **out, firn_batch **moved,
              firn_error *err);

/* ---- slow.c ---- */
/* Delays a write of so many bytes, and waits while there is too much behind. Before it queues.
 * FIRN_POISONED, or what keeps the flush waiting. */
int slow_down(store *db, uint64_t bytes, firn_error *err);

/* The room that a write of so many bytes and operations needs, in the log and in the index
 * (slow_weight). Most need none. */
uint32_t room_needed(const store *db, uint64_t bytes, uint64_t operations);
/* Takes it, before slow_down: waits until there is room beside what other writes have taken; writes
 * have their turns in the order in which they came. Given back with room_give as soon as the write
 * is in its memtable, or has failed. FIRN_POISONED, or what keeps the flush waiting: then none was
 * taken. */
int room_take(store *db, uint32_t weight, firn_error *err);
void room_give(store *db, uint32_t weight);

#endif
