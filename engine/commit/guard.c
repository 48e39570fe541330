/* guard: has anything been written to a key behind a number? Asked by a leader of the log, so the
 * answer stays true until its own entries are there.
 *
 * As long as nothing has been flushed since the key was looked at, all that is newer is in memory,
 * and the leader reads no file. Behind a flush, something newer may be in a table, and a delete may
 * be gone together with all that it hid: then the key is to be looked at again. Flushes are rare.
 */
#include <base/error.h>
#include <base/slice.h>

#include <commit/commit.h>
#include <tree/run.h>

/* Newest first: the first run that knows the key decides. */
static bool is_newer(const view *v, firn_slice key, uint64_t seq)
{
    const lookup l = {.key = slice_somewhere(key), .at = {.seq = FIRN_MAX_SEQ}};
    run_hit hit = {.answer = RESOLVE_GO_ON};
    for (size_t i = 0; hit.answer == RESOLVE_GO_ON && i < view_mem_count(v); i++)
        (void)run_get(view_mem_run(v, i), &l, &hit, NULL); /* in memory: cannot fail */
    return hit.answer != RESOLVE_GO_ON && hit.seq > seq;
}

/* The view comes first: a flush says how far it has come before it takes memtables out of it. */
static int check_key(const guarded *g, const key_guard *guard, firn_error *err)
{
    store *db = g->tree->store;
    uint32_t ticket = readers_enter(&db->readers);
    const view *v = atomic_load_explicit(&g->tree->view, memory_order_seq_cst);
    bool changed =
        v && (is_newer(v, g->key, guard->seq) ||
              atomic_load_explicit(&db->flushed_seq, memory_order_seq_cst) != guard->flushed);
    readers_exit(&db->readers, ticket);
    if (!v)
        return tree_dropped(g->tree, err);
    return changed ? error_set(err, FIRN_CONFLICT, "a key has been written meanwhile") : FIRN_OK;
}

int key_guard_check(commit_guard *guard, firn_error *err)
{
    const key_guard *g = (const key_guard *)(const void *)guard;
    int rc = FIRN_OK;
    for (size_t i = 0; rc == FIRN_OK && i < g->count; i++)
        rc = check_key(&g->keys[i], g, err);
    return rc;
}
