/* stretch: what a movement learns of the dead keys that it passes (reading.h, gaps.h).
 *
 *   key      a   b   c   d   e   f   g   h   i   j   k        a..j are dead, k is there
 *   gap                          [f ......... i)
 *   seek a   a > b > c > d > e > f                            f: a gap; a..e were walked
 *                                              i > j > k      k: i and j were walked
 *   learned  [a ................ f)           [i ..... k)     if there were more of them
 *   then     [a ...................................... k)     they touch, and are one
 *
 * A seek has looked from its key on. A step, and a walk backwards, learn from the dead key on at
 * which they first look for a gap.
 *
 * What is learned holds at the walk's number. That nothing has been put there since is looked for
 * behind gaps_begin and fence_heavy, in memtables, leaf by leaf. So a walk learns nothing once
 * something has been flushed that is newer than its number; a long one learns in between.
 */
#include "reading.h"

#include <base/fence.h>
#include <tree/run.h>

#define LEARN_BETWEEN 8 /* times as many as make a gap: then a walk learns before it has come by */

/* Are all puts behind the number still where may_have_puts looks? A merge forgets one that was
 * deleted again, as if there had been none; so tables cannot tell. What is not visible yet has not
 * been flushed; the flushed number alone may be beyond it, since checkpoints have numbers, too. */
static bool is_in_memory(const tree *t, uint64_t seq)
{
    const store *db = t->store;
    return atomic_load_explicit(&db->flushed_seq, memory_order_seq_cst) <= seq ||
           atomic_load_explicit(&db->visible_seq, memory_order_seq_cst) <= seq;
}

/* Has a key between the bounds perhaps been put behind the number? The view comes first: a flush
 * says how far it has come before it takes memtables out of it. */
static bool may_have_puts(const tree *t, const gap_bounds *b, uint64_t seq)
{
    firn_slice from = gap_slice(&b->from), to = gap_slice(&b->to);
    view *now = tree_view(t);
    bool any = !now || !is_in_memory(t, seq);
    for (size_t i = 0; !any && i < view_mem_count(now); i++)
        any = run_has_puts_behind(view_mem_run(now, i), from, to, seq);
    view_unref(now);
    return any;
}

void stretch_learn(stretch *s, gap_edge end)
{
    gaps *g = &s->tree->store->gaps;
    gap_bounds b;
    gap_edge begin = {buf_slice(&s->edge), s->edge_after};
    gap_edge from = s->backward ? end : begin, to = s->backward ? begin : end;
    if (s->has_edge && !tree_is_dropped(s->tree) && is_in_memory(s->tree, s->seq) &&
        gaps_begin(g, s->tree->bucket, from, to, s->seq, &b))
        gaps_end(g, fence_heavy() && !may_have_puts(s->tree, &b, s->seq));
}

static void keep_edge(stretch *s, firn_slice key, bool after, bool known)
{
    s->has_edge = buf_assign(&s->edge, key.data, key.size) == FIRN_OK;
    s->edge_after = after;
    s->from_gap = known && s->has_edge;
}

/* The gap *crossed is left at its far end. */
static firn_slice leave_gap(stretch *s)
{
    firn_slice far = gap_slice(s->backward ? &s->crossed.from : &s->crossed.to);
    keep_edge(s, far, false, true);
    s->dead = 0;
    s->looks = s->tree->store->learns.asks;
    return far;
}

static bool find_gap(stretch *s, firn_slice key)
{
    return gaps_find(&s->tree->store->gaps, s->tree->bucket, key, s->seq, &s->crossed);
}

bool stretch_leap(stretch *s, firn_slice *key)
{
    if (!find_gap(s, *key))
        return false;
    *key = leave_gap(s);
    return true;
}

/* A long walk learns part after part: before its end, a flush may take away what it would look at
 * (is_in_memory). They touch, and become one. */
static void learn_between(stretch *s, firn_slice key)
{
    if (s->dead < LEARN_BETWEEN * s->tree->store->learns.steps)
        return;
    stretch_learn(s, (gap_edge){key, s->backward});
    keep_edge(s, key, s->backward, true);
}

bool stretch_look(stretch *s, firn_slice key)
{
    const store *db = s->tree->store;
    if (s->begin.data) {
        keep_edge(s, s->begin, false, false);
        s->begin.data = NULL;
        s->looks = db->learns.asks;
        if (s->dead < s->looks)
            return false;
    }
    if (!s->has_edge) /* should a newer version of it be there, the walk ends with that */
        keep_edge(s, key, s->backward, false);
    bool asks = (s->dead & (s->dead - 1)) == 0 || s->dead == s->looks;
    if (!asks)
        return false;
    if (!gaps_any(&db->gaps) || !find_gap(s, key)) {
        learn_between(s, key);
        return false;
    }
    /* Between two gaps it is worth learning, however little it is: they become one. */
    if (s->from_gap || s->dead >= db->learns.steps)
        stretch_learn(
            s, (gap_edge){gap_slice(s->backward ? &s->crossed.to : &s->crossed.from), false});
    (void)leave_gap(s);
    return true;
}
