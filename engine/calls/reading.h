/* reading: what the calls that read share. */
#ifndef ENGINE_READING_H
#define ENGINE_READING_H

#include <base/buf.h>

#include <store/store.h>
#include <tree/run.h>

/* Are they of this store, and not both given? NULL is. FIRN_INVALID. */
int check_view(const store *db, const firn_snapshot *snapshot, const firn_txn *txn,
               firn_error *err);

/* Between readers_enter and readers_exit. FIRN_OK: *out holds a value until then, or until
 * run_drop; FIRN_NOT_FOUND, FIRN_DROPPED. */
int read_key(const tree *t, firn_slice key, const firn_snapshot *snapshot, run_hit *out,
             firn_error *err);

/* Does the condition hold of a key that has this value (NULL: is not there)? FIRN_CONFLICT,
 * described. */
int condition_judge(const firn_op *o, const firn_slice *value, firn_error *err);

/* *out: what was given over the defaults; NULL is allowed. FIRN_INVALID: that, or as check_view. */
int read_options_take(const store *db, const firn_read_options *given, firn_read_options *out,
                      firn_error *err);

/* ---- stretch.c ---- */

/* Dead keys that one movement of an iterator passes one after the other, and what becomes known by
 * that (gaps.h). It belongs to the iterator, which sets the first two fields. */
typedef struct stretch {
    const tree *tree;
    uint64_t seq; /* at which they are dead */
    bool backward;
    bool touched;     /* something below is not as stretch_step leaves it */
    bool has_edge;    /* where it began is known: `begin`, the far end of a gap, or a dead key */
    bool edge_after;  /* has_edge, and it begins behind it: backwards, from a dead key */
    bool from_gap;    /* has_edge, and up to there it is known: a gap ends, or was learned, there */
    unsigned dead;    /* keys, or erased versions, since it began or has left a gap */
    unsigned looks;   /* the next call of stretch_look is at so many of them */
    firn_slice begin; /* where it began, until there is a dead key; NULL data: not known */
    buf edge;
    gap_bounds crossed; /* the gap that was crossed last */
} stretch;

static inline void stretch_init(stretch *s)
{
    s->touched = s->has_edge = s->edge_after = s->from_gap = false;
    s->dead = 0;
    s->looks = s->tree->store->learns.asks;
    s->begin.data = NULL;
}

/* A movement by one step. */
static inline void stretch_step(stretch *s, bool backward)
{
    s->backward = backward;
    if (__builtin_expect(s->touched, 0))
        stretch_init(s);
}

bool stretch_leap(stretch *s, firn_slice *key); /* the slow half of stretch_seek */
/* A movement to a key. True: that lies in a gap, and *key becomes the far end of it. The key's
 * bytes must stay until the first call of stretch_cross. */
static inline bool stretch_seek(stretch *s, firn_slice *key, bool backward)
{
    s->backward = backward;
    stretch_init(s);
    s->touched = true;
    if (gaps_any(&s->tree->store->gaps) && stretch_leap(s, key))
        return true;
    if (!backward) {
        s->begin = *key;
        s->looks = 1;
    }
    return false;
}

bool stretch_look(stretch *s, firn_slice key); /* the slow half of stretch_cross */
/* A movement stands at a dead key, or at an erased version of a key, which it has come to from
 * another one. True: it lies in a gap, *crossed, behind which the movement goes on. Not at every
 * key, since to look costs more than a step. */
static inline bool stretch_cross(stretch *s, firn_slice key)
{
    s->touched = true;
    return ++s->dead >= s->looks && stretch_look(s, key);
}

void stretch_learn(stretch *s, gap_edge end);
/* The movement ends at `end`, up to which it has found no key. */
static inline void stretch_end(stretch *s, gap_edge end)
{
    const gap_limits *l = &s->tree->store->learns;
    if (__builtin_expect(s->dead >= (s->from_gap ? l->more : l->steps), 0))
        stretch_learn(s, end);
}

#endif
