/* commit: the way of a write (commit.c), and what holds it back (slow.c). */
#ifndef ENGINE_COMMIT_H
#define ENGINE_COMMIT_H

#include <store/store.h>

/* The log goes on in another segment, and what lies in front of it is frozen. */
int store_rotate(store *db, firn_error *err);

/* A write with conditions. Once it need not wait any more, `look` looks at what they are about;
 * then it leads, and asks `check` whether that is still so, and is carried out: else it looks
 * again. */
typedef struct commit_guard commit_guard;
struct commit_guard {
    int (*look)(commit_guard *guard, firn_error *err); /* FIRN_OK, or what ends the write */
    /* The leader: nothing is written meanwhile. FIRN_OK; FIRN_CONFLICT: look again; or what ends
     * the write. */
    int (*check)(commit_guard *guard, firn_error *err);
};

/* May this handle write, and are the options right? *durability: what they come to. As firn_write.
 */
int commit_begin(const tree *t, const firn_write_options *options, store **out,
                 firn_durability *durability, firn_error *err);
/* firn_write, with conditions (NULL: there are none). */
int commit_batch(tree *t, const firn_batch *batch, const firn_write_options *options,
                 commit_guard *guard, uint64_t *seq, firn_error *err);

/* ---- guard.c ---- */
/* Keys that have been looked at. */
typedef struct guarded {
    const tree *tree;
    firn_slice key;
} guarded;
typedef struct key_guard {
    commit_guard guard; /* first; its `check` is key_guard_check */
    const guarded *keys;
    size_t count;
    /* What `look` sets: store.flushed_seq, loaded first, and then the number. */
    uint64_t flushed, seq;
} key_guard;
/* Have the keys no version beyond the number? FIRN_CONFLICT: one has, or something was flushed.
 * FIRN_DROPPED. */
int key_guard_check(commit_guard *guard, firn_error *err);

/* ---- ops.c ---- */
static inline const firn_op *op_at(const firn_op *ops, size_t stride, size_t i)
{
    return (const firn_op *)(const void *)((const char *)ops + i * stride);
}
static inline bool op_is_condition(const firn_op *o)
{
    return o->kind >= FIRN_OP_IF_ABSENT;
}
/* What an operation says, if it is one of this version. FIRN_INVALID. */
int op_take(const firn_op *given, size_t stride, firn_op *out, firn_error *err);
/* Adds one that writes; its bucket is the one that it names, or `unnamed` (NULL: none). */
int op_add(firn_batch *batch, const firn_op *o, firn *unnamed, firn_error *err);
/* The beginning of a key, with what is not plain text as \xHH. */
void show_key(firn_slice key, char *text, size_t size);
/* Says of which operation an error is. */
int op_blame(firn_error *error, const firn_error *why, size_t index, int rc);
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
