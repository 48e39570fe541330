/* What the versions of a key mean, compared with the plain definition, for every history that is short.
 *
 * A history is up to six operations on two keys: a put or a delete of either, or a range delete over both. Operation n has the
 * number n. Up to two snapshots stand anywhere. By definition, a reader at number s sees a key as the operations 1 to s leave
 * it, done one after the other in an array.
 *
 *   every reader      each history, each number: newest first, the first answer but GO_ON; oldest first, the last one
 *   every merge       each history, each two snapshots, with something below or not: what the keeper keeps is written down, and
 *                     every reader who may still come must see of that what it saw before; and without any one version of
 *                     what was kept, some reader must see something else */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <base/error.h>

#include <tree/resolve.h>

#define OPS_MAX 6
#define NOTHING 0
#define BELOW   99 /* the value of a key that lies below, older than everything */

typedef enum op { PUT_A, PUT_B, DELETE_A, DELETE_B, DELETE_BOTH, OPS } op;

typedef struct history {
    op ops[OPS_MAX + 1]; /* from 1 */
    unsigned count;
} history;

/* What a reader at `seq` sees of key `k`: the number of a put, BELOW, or NOTHING. */
static unsigned defined(const history *h, unsigned k, unsigned seq, unsigned below)
{
    unsigned value[2] = {below, below};
    for (unsigned n = 1; n <= seq; n++) {
        switch (h->ops[n]) {
        case PUT_A:
        case PUT_B:
            value[h->ops[n] - PUT_A] = n;
            break;
        case DELETE_A:
        case DELETE_B:
            value[h->ops[n] - DELETE_A] = NOTHING;
            break;
        default:
            value[0] = value[1] = NOTHING;
        }
    }
    return value[k];
}

static bool is_version(const history *h, unsigned n, unsigned k)
{
    return h->ops[n] == PUT_A + k || h->ops[n] == DELETE_A + k;
}

static uint8_t kind_of(const history *h, unsigned n)
{
    return h->ops[n] <= PUT_B ? FIRN_PUT : FIRN_DELETE;
}

/* The greatest number, not above `seq`, of a range delete. */
static unsigned erased_at(const history *h, unsigned seq)
{
    while (seq > 0 && h->ops[seq] != DELETE_BOTH)
        seq--;
    return seq;
}

/* What a reader at `seq` sees of the versions in `there` (a bit a number). Range deletes always stay. */
static unsigned seen(const history *h, unsigned k, unsigned seq, unsigned there, unsigned below)
{
    read_point at = {.seq = seq};
    unsigned erased = erased_at(h, seq);
    for (unsigned n = h->count; n > 0; n--) {
        if (!is_version(h, n, k) || !(there >> n & 1))
            continue;
        switch (resolve_version(&at, n, kind_of(h, n), erased)) {
        case RESOLVE_VALUE:
            return n;
        case RESOLVE_NOTHING:
            return NOTHING;
        case RESOLVE_GO_ON:
            break;
        case RESOLVE_UNKNOWN:
            fail_msg("a put or a delete is unknown");
        }
    }
    return erased ? NOTHING : below;
}

static unsigned seen_backwards(const history *h, unsigned k, unsigned seq)
{
    read_point at = {.seq = seq};
    unsigned erased = erased_at(h, seq), value = NOTHING;
    for (unsigned n = 1; n <= h->count; n++) {
        if (!is_version(h, n, k))
            continue;
        resolve_answer answer = resolve_version(&at, n, kind_of(h, n), erased);
        if (answer != RESOLVE_GO_ON)
            value = answer == RESOLVE_VALUE ? n : NOTHING;
    }
    return value;
}

#define ALL ((1U << (OPS_MAX + 1)) - 1)

static void each_history(void (*check)(const history *h))
{
    for (unsigned count = 0; count <= OPS_MAX; count++) {
        history h = {.count = count};
        unsigned many = 1;
        for (unsigned i = 0; i < count; i++)
            many *= OPS;
        for (unsigned code = 0; code < many; code++) {
            unsigned rest = code;
            for (unsigned n = 1; n <= count; n++, rest /= OPS)
                h.ops[n] = (op)(rest % OPS);
            check(&h);
        }
    }
}

static void text_of(const history *h, char *text)
{
    static const char *const words[] = {"a", "b", "-a", "-b", "-ab"};
    for (unsigned n = 1; n <= h->count; n++)
        text += sprintf(text, "%s ", words[h->ops[n]]);
    *text = 0;
}

static void check_readers(const history *h)
{
    char text[64];
    for (unsigned seq = 0; seq <= h->count; seq++)
        for (unsigned k = 0; k < 2; k++) {
            unsigned value = defined(h, k, seq, NOTHING);
            bool right = seen(h, k, seq, ALL, NOTHING) == value &&
                         seen_backwards(h, k, seq) == value &&
                         seen(h, k, seq, ALL, BELOW) == defined(h, k, seq, BELOW);
            if (right)
                continue;
            text_of(h, text);
            fail_msg("%s: a reader of key %c at %u sees something else", text, "ab"[k], seq);
        }
}

static void every_reader_of_every_history_sees_what_the_definition_says(void **state)
{
    (void)state;
    each_history(check_readers);
}

/* ---- Merges ---- */

/* Which versions of key k a merge keeps, as build_add_all asks for them. */
static unsigned kept_of(const history *h, unsigned k, keeper *keep, bool lies_below)
{
    unsigned kept = 0;
    uint64_t seq;
    uint8_t kind;
    keeper_next_key(keep);
    for (unsigned n = h->count; n > 0; n--) {
        if (h->ops[n] == DELETE_BOTH)
            keeper_erase(keep, n);
        if (!is_version(h, n, k))
            continue;
        keeper_verdict v = keeper_feed(keep, n, kind_of(h, n));
        assert_int_not_equal(v, KEEPER_UNKNOWN);
        if (v == KEEPER_HOLD)
            assert_int_equal(kind_of(h, n), FIRN_DELETE);
        if (v != KEEPER_KEEP)
            continue;
        if (keeper_take_held(keep, &seq, &kind)) {
            assert_int_equal(kind, FIRN_DELETE);
            assert_true(seq > n);
            kept |= 1U << seq;
        }
        kept |= 1U << n;
        assert_int_equal(keeper_feed(keep, n, kind_of(h, n)), KEEPER_DROP); /* the same once more */
    }
    if (lies_below && keeper_take_held(keep, &seq, &kind))
        kept |= 1U << seq;
    return kept;
}

/* Does every reader who may come see of `there` what the definition says? */
static bool all_see(const history *h, unsigned k, const uint64_t *snapshots, size_t count,
                    unsigned there, unsigned below)
{
    bool right = seen(h, k, h->count, there, below) == defined(h, k, h->count, below);
    for (size_t i = 0; i < count; i++)
        right = right && seen(h, k, (unsigned)snapshots[i], there, below) ==
                             defined(h, k, (unsigned)snapshots[i], below);
    return right;
}

static void check_merge(const history *h, const uint64_t *snapshots, size_t count, bool lies_below)
{
    keeper keep;
    char text[64];
    unsigned below = lies_below ? BELOW : NOTHING;
    keeper_init(&keep, snapshots, count);
    for (unsigned k = 0; k < 2; k++) {
        unsigned kept = kept_of(h, k, &keep, lies_below);
        text_of(h, text);
        if (!all_see(h, k, snapshots, count, kept, below))
            fail_msg("%swith %zu snapshots (%u, %u), kept of %c: %#x: a reader notices (K1)", text,
                     count, count > 0 ? (unsigned)snapshots[0] : 0,
                     count > 1 ? (unsigned)snapshots[1] : 0, "ab"[k], kept);
        for (unsigned n = 1; n <= h->count; n++) {
            /* A range delete may hide the same as a tombstone, which then stays without need. */
            if (!(kept >> n & 1) || (kind_of(h, n) == FIRN_DELETE && erased_at(h, h->count) != 0))
                continue;
            if (all_see(h, k, snapshots, count, kept & ~(1U << n), below))
                fail_msg("%swith %zu snapshots (%u, %u), kept of %c: %#x: no reader needs %u (K2)",
                         text, count, count > 0 ? (unsigned)snapshots[0] : 0,
                         count > 1 ? (unsigned)snapshots[1] : 0, "ab"[k], kept, n);
        }
    }
}

static void check_merges(const history *h)
{
    for (unsigned below = 0; below < 2; below++) {
        check_merge(h, NULL, 0, below);
        for (uint64_t one = 0; one <= h->count; one++) {
            check_merge(h, &one, 1, below);
            for (uint64_t two = one + 1; two <= h->count; two++) {
                uint64_t both[2] = {one, two};
                check_merge(h, both, 2, below);
            }
        }
    }
}

static void every_merge_of_every_history_keeps_what_is_needed_and_no_more(void **state)
{
    (void)state;
    each_history(check_merges);
}

static void a_kind_from_the_future_is_refused_and_never_dropped(void **state)
{
    (void)state;
    keeper keep;
    firn_error err;
    read_point at = {.seq = 5};
    for (unsigned kind = 0; kind < 256; kind++) {
        if (kind == FIRN_PUT || kind == FIRN_DELETE)
            continue;
        /* A range delete covers its own key; a merge takes it apart from the versions. */
        assert_int_equal(resolve_version(&at, 5, (uint8_t)kind, 0),
                         kind == FIRN_DELETE_RANGE ? RESOLVE_NOTHING : RESOLVE_UNKNOWN);
        assert_int_equal(resolve_version(&at, 6, (uint8_t)kind, 0), RESOLVE_GO_ON);
        assert_int_equal(resolve_version(&at, 3, (uint8_t)kind, 4), RESOLVE_NOTHING);
        keeper_init(&keep, NULL, 0);
        assert_int_equal(keeper_feed(&keep, 6, FIRN_PUT), KEEPER_KEEP);
        assert_int_equal(keeper_feed(&keep, 5, (uint8_t)kind), KEEPER_UNKNOWN);
        error_clear(&err);
        assert_int_equal(resolve_refuse((uint8_t)kind, &err), FIRN_UNSUPPORTED);
        assert_int_equal(err.status, FIRN_UNSUPPORTED);
        assert_true(err.message[0] && err.hint[0]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_reader_of_every_history_sees_what_the_definition_says),
        cmocka_unit_test(every_merge_of_every_history_keeps_what_is_needed_and_no_more),
        cmocka_unit_test(a_kind_from_the_future_is_refused_and_never_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
