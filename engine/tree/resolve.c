/* resolve: see resolve.h. */
#include <tree/resolve.h>

#include <base/error.h>
#include <base/search.h>

/* ---- For a reader ---- */

resolve_answer resolve_seldom(const read_point *at, uint64_t seq, uint8_t kind, uint64_t erased)
{
    if (seq > at->seq)
        return RESOLVE_GO_ON;
    if (seq < erased)
        return RESOLVE_NOTHING; /* the range delete is newer */
    switch (kind) {
    case FIRN_PUT:
        return RESOLVE_VALUE;
    case FIRN_DELETE:
    case FIRN_DELETE_RANGE: /* which covers its own key */
        return RESOLVE_NOTHING;
    default:
        return RESOLVE_UNKNOWN;
    }
}

int resolve_refuse(uint8_t kind, firn_error *err)
{
    error_set(err, FIRN_UNSUPPORTED,
              "an entry of kind %u, which this version of firn does not know", kind);
    error_hint(err, "open the store with the version of firn that wrote it");
    return FIRN_UNSUPPORTED;
}

/* ---- For a merge ---- */

void keeper_init(keeper *k, const uint64_t *snapshots, size_t count)
{
    *k = (keeper){.snapshots = snapshots, .count = count};
}

void keeper_next_key(keeper *k)
{
    k->any = false;
    k->held = 0;
}

static bool cannot_see(const void *snapshots, size_t at, void *seq)
{
    return ((const uint64_t *)snapshots)[at] < *(const uint64_t *)seq;
}

size_t snapshots_below(const uint64_t *snapshots, size_t count, uint64_t seq)
{
    return search_first(snapshots, 0, count, &seq, cannot_see);
}

size_t snapshots_between(const uint64_t *snapshots, size_t count, uint64_t from, uint64_t to)
{
    return snapshots_below(snapshots, count, to + 1) - snapshots_below(snapshots, count, from);
}

/* All readers that see a version of a stripe see its newest one. */
static size_t stripe_of(const keeper *k, uint64_t seq)
{
    return snapshots_below(k->snapshots, k->count, seq);
}

/* False: something newer in the same stripe hides it from every reader (K1). */
static bool is_seen(keeper *k, uint64_t seq)
{
    size_t stripe = k->count ? stripe_of(k, seq) : 0;
    bool seen = !k->any || stripe != k->stripe;
    k->any = true;
    k->stripe = stripe;
    return seen;
}

keeper_verdict keeper_feed(keeper *k, uint64_t seq, uint8_t kind)
{
    if (kind != FIRN_PUT && kind != FIRN_DELETE)
        return KEEPER_UNKNOWN;
    if (!is_seen(k, seq))
        return KEEPER_DROP;
    if (kind == FIRN_PUT)
        return KEEPER_KEEP;
    /* A tombstone that is held already goes: a reader that sees it sees this one without it, which
     * says the same (K2). */
    k->held = seq;
    k->held_kind = kind;
    return KEEPER_HOLD;
}

void keeper_erase(keeper *k, uint64_t seq)
{
    (void)is_seen(k, seq);
}

void keeper_let_go(keeper *k)
{
    k->held = 0;
}

bool keeper_take_held(keeper *k, uint64_t *seq, uint8_t *kind)
{
    if (k->held == 0)
        return false;
    *seq = k->held;
    *kind = k->held_kind;
    k->held = 0;
    return true;
}
