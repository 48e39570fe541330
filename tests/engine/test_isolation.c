/* What transactions see of each other: the anomalies of the literature, one after the other. Which
 * a level prevents is said by Adya ("Weak consistency", 1999: G0, G1a to c, G-single, G2) and by
 * Berenson and others ("A critique of ANSI SQL isolation levels", 1995: lost updates, write skew,
 * phantoms); the anomaly of a transaction that only reads is by Fekete, O'Neil and O'Neil (2004).
 * Kleppmann's Hermitage has tried them on other stores. Snapshot isolation allows write skew and
 * that last one; `serializable` allows none.
 *
 * Each is played by one thread, with every way to read, and with what others have written still in
 * memory, flushed, or compacted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "txns.h"

typedef enum way { BY_GET, BY_MANY, BY_SEEK, BY_SEEK_BACK, BY_WALK, BY_WALK_BACK, WAYS } way;
typedef enum place { IN_MEMORY, FLUSHED, COMPACTED, PLACES } place;

typedef struct scene {
    bed b;
    way how;
    place where;
    bool serializable;
    firn_txn *t[4]; /* t[1] to t[3] */
} scene;

/* ---- Steps of a play ---- */

static void starts(scene *s, unsigned i)
{
    s->t[i] = txn_begin(s->b.db, s->serializable);
}

static void puts_in(scene *s, unsigned i, const char *key, const char *value)
{
    txn_put(s->t[i], s->b.db, key, value);
}

static void commits(scene *s, unsigned i, int expected)
{
    firn_error err = {0};
    int rc = firn_txn_commit(s->t[i], NULL, &err);
    if (rc != expected)
        fail_msg("transaction %u: %d and not %d (%s); %s, way %u, place %u", i, rc, expected,
                 err.message, s->serializable ? "serializable" : "snapshot", s->how, s->where);
    if (s->where == FLUSHED)
        bed_flush(&s->b);
    if (s->where == COMPACTED)
        MUST(firn_compact(s->b.db, NULL, 0, NULL, 0, error));
}

/* Where snapshot isolation lets it pass, and `serializable` does not. */
static void commits_unless_serializable(scene *s, unsigned i)
{
    commits(s, i, s->serializable ? FIRN_CONFLICT : FIRN_OK);
}

static void read_by_iterator(scene *s, firn_txn *t, const char *key, const char *value)
{
    bool back = s->how == BY_SEEK_BACK || s->how == BY_WALK_BACK;
    bool walks = s->how == BY_WALK || s->how == BY_WALK_BACK;
    char end[8];
    snprintf(end, sizeof end, "%s!", key); /* the key alone lies between */
    firn_iter *it = iter_in(t, s->b.db, walks ? key : NULL, walks ? end : NULL);
    int rc = walks  ? back ? firn_iter_last(it) : firn_iter_first(it)
              : back ? firn_iter_seek_for_prev(it, key, strlen(key))
                    : firn_iter_seek(it, key, strlen(key));
    bool found = rc == FIRN_OK && is_text(firn_iter_key(it), key);
    assert_int_equal(found, value != NULL);
    if (value)
        assert_true(is_text(firn_iter_value(it), value));
    firn_iter_free(it);
}

/* Transaction i reads the key; value NULL: it is not there. */
static void reads(scene *s, unsigned i, const char *key, const char *value)
{
    firn_value v = {0};
    int status = 0;
    const firn_slice k = slice_of_str(key);
    if (s->how == BY_GET) {
        expect_in(s->t[i], s->b.db, key, value);
        return;
    }
    if (s->how != BY_MANY) {
        read_by_iterator(s, s->t[i], key, value);
        return;
    }
    MUST(firn_get_many(s->b.db, &k, 1, IN(s->t[i]), &v, &status, error));
    assert_int_equal(status, value ? FIRN_OK : FIRN_NOT_FOUND);
    if (value)
        assert_true(is_text(slice_of(v.data, v.size), value));
    firn_value_release(&v);
}

/* It reads all keys from `first` to `end`: "key=value " of each. With gets, that is each key that
 * there could be. */
static void reads_range(scene *s, unsigned i, const char *first, const char *end,
                        const char *expected)
{
    char text[WALK_TEXT] = "", reversed[WALK_TEXT] = "";
    if (s->how == BY_GET || s->how == BY_MANY) {
        size_t n = 0;
        for (char key[2] = {first[0], 0}; key[0] < end[0]; key[0]++) {
            firn_value v = {0};
            if (firn_get(s->b.db, key, 1, IN(s->t[i]), &v, NULL) == FIRN_OK)
                n += (size_t)snprintf(text + n, sizeof text - n, "%s=%.*s ", key, (int)v.size,
                                      (const char *)v.data);
            firn_value_release(&v);
        }
        assert_string_equal(text, expected);
        return;
    }
    firn_iter *it = iter_in(s->t[i], s->b.db, first, end);
    bool back = s->how == BY_SEEK_BACK || s->how == BY_WALK_BACK;
    walk_text(it, back, text);
    firn_iter_free(it);
    const char *from = expected + strlen(expected);
    while (back && from > expected) { /* element by element */
        const char *stop = from--;
        while (from > expected && from[-1] != ' ')
            from--;
        strncat(reversed, from, (size_t)(stop - from));
    }
    assert_string_equal(text, back ? reversed : expected);
}

static void counts(scene *s, unsigned i, const char *first, const char *end, uint64_t expected)
{
    uint64_t count = 0;
    firn_slice a = slice_of_str(first), b = slice_of_str(end);
    const firn_range range = {.first = &a, .end = &b};
    MUST(firn_count(s->b.db, &range, IN(s->t[i]), &count, error));
    assert_int_equal(count, expected);
}

static void ends_with(scene *s, const char *key, const char *value)
{
    expect(s->b.db, key, value);
}

typedef void (*play)(scene *s);

static void perform(play p)
{
    for (unsigned serializable = 0; serializable < 2; serializable++)
        for (way how = 0; how < WAYS; how++)
            for (place where = 0; where < PLACES; where++) {
                scene s = {.how = how, .where = where, .serializable = serializable};
                begin(&s.b);
                put(s.b.db, "x", "10");
                put(s.b.db, "y", "20");
                if (where != IN_MEMORY)
                    bed_flush(&s.b);
                p(&s);
                for (unsigned i = 1; i < 4; i++)
                    firn_txn_free(s.t[i]);
                bed_must_close(&s.b);
                bed_release(&s.b);
            }
}

/* ---- G0: two transactions overwrite each other's writes ---- */

static void play_dirty_writes(scene *s)
{
    starts(s, 1);
    starts(s, 2);
    puts_in(s, 1, "x", "11");
    puts_in(s, 2, "x", "12");
    puts_in(s, 1, "y", "21");
    commits(s, 1, FIRN_OK);
    puts_in(s, 2, "y", "22");
    commits(s, 2, FIRN_CONFLICT);
    ends_with(s, "x", "11");
    ends_with(s, "y", "21");
}

/* ---- G1a: what was read is never committed ---- */

static void play_aborted_read(scene *s)
{
    starts(s, 1);
    starts(s, 2);
    puts_in(s, 1, "x", "101");
    reads(s, 2, "x", "10");
    reads_range(s, 2, "a", "z", "x=10 y=20 ");
    firn_txn_reset(s->t[1]);
    reads(s, 2, "x", "10");
    puts_in(s, 2, "y", "22");
    commits(s, 2, FIRN_OK);
    ends_with(s, "x", "10");
}

/* ---- G1b: what was read is not the last that was written ---- */

static void play_intermediate_read(scene *s)
{
    starts(s, 1);
    starts(s, 2);
    puts_in(s, 1, "x", "101");
    reads(s, 2, "x", "10");
    puts_in(s, 1, "x", "11");
    commits(s, 1, FIRN_OK);
    reads(s, 2, "x", "10");
    starts(s, 3);
    reads(s, 3, "x", "11");
    commits(s, 3, FIRN_OK);
    commits(s, 2, FIRN_OK);
}

/* ---- G1c: each reads what the other one writes ---- */

static void play_circular_information(scene *s)
{
    starts(s, 1);
    starts(s, 2);
    puts_in(s, 1, "x", "11");
    puts_in(s, 2, "y", "22");
    reads(s, 1, "y", "20");
    reads(s, 2, "x", "10");
    commits(s, 1, FIRN_OK);
    commits_unless_serializable(s, 2); /* it is a write skew, too */
}

/* ---- OTV: a transaction's writes vanish while they are read ---- */

static void play_observed_transaction_vanishes(scene *s)
{
    starts(s, 1);
    starts(s, 2);
    puts_in(s, 1, "x", "11");
    puts_in(s, 1, "y", "19");
    puts_in(s, 2, "x", "12");
    commits(s, 1, FIRN_OK);
    starts(s, 3);
    reads(s, 3, "x", "11");
    puts_in(s, 2, "y", "18");
    reads(s, 3, "y", "19");
    commits(s, 2, FIRN_CONFLICT);
    reads(s, 3, "y", "19");
    reads(s, 3, "x", "11");
    commits(s, 3, FIRN_OK);
}

/* ---- PMP: a predicate has other keys the second time ---- */

static void play_predicate_many_preceders(scene *s)
{
    starts(s, 1);
    starts(s, 2);
    reads_range(s, 1, "a", "e", "");
    counts(s, 1, "a", "e", 0);
    puts_in(s, 2, "c", "30");
    commits(s, 2, FIRN_OK);
    reads_range(s, 1, "a", "e", "");
    counts(s, 1, "a", "e", 0);
    commits(s, 1, FIRN_OK);
    reads_range(s, 1, "a", "e", "c=30 ");
}

/* The same, where the predicate is what is deleted. */
static void play_predicate_that_writes(scene *s)
{
    starts(s, 1);
    starts(s, 2);
    puts_in(s, 1, "xx", "15"); /* it would have been deleted, too */
    txn_delete_range(s->t[2], s->b.db, "x", "y");
    commits(s, 1, FIRN_OK);
    reads_range(s, 2, "x", "z", "y=20 ");
    commits(s, 2, FIRN_CONFLICT);
    ends_with(s, "x", "10");
    ends_with(s, "xx", "15");
}

static void play_predicate_that_deletes_first(scene *s)
{
    starts(s, 1);
    starts(s, 2);
    puts_in(s, 1, "x", "15");
    txn_delete_range(s->t[2], s->b.db, "w", "y");
    commits(s, 2, FIRN_OK);
    commits(s, 1, FIRN_CONFLICT);
    ends_with(s, "x", NULL);
}

/* ---- P4: an update is lost ---- */

static void play_lost_update(scene *s)
{
    starts(s, 1);
    starts(s, 2);
    reads(s, 1, "x", "10");
    reads(s, 2, "x", "10");
    puts_in(s, 1, "x", "11");
    puts_in(s, 2, "x", "11");
    commits(s, 1, FIRN_OK);
    commits(s, 2, FIRN_CONFLICT);
    reads(s, 2, "x", "11"); /* it goes on as a new one */
    puts_in(s, 2, "x", "12");
    commits(s, 2, FIRN_OK);
    ends_with(s, "x", "12");
}

/* Also where the other one is a plain write, and where it deletes. */
static void play_lost_update_of_a_plain_write(scene *s)
{
    starts(s, 1);
    starts(s, 2);
    reads(s, 1, "x", "10");
    reads(s, 2, "y", "20");
    put(s->b.db, "x", "11");
    MUST(firn_delete(s->b.db, "y", 1, NULL, error));
    if (s->where != IN_MEMORY)
        bed_flush(&s->b);
    puts_in(s, 1, "x", "12");
    puts_in(s, 2, "y", "22");
    commits(s, 1, FIRN_CONFLICT);
    commits(s, 2, FIRN_CONFLICT);
    ends_with(s, "x", "11");
    ends_with(s, "y", NULL);
}

/* ---- G-single: reads before and behind another transaction ---- */

static void play_read_skew(scene *s)
{
    starts(s, 1);
    starts(s, 2);
    reads(s, 1, "x", "10");
    reads(s, 2, "x", "10");
    reads(s, 2, "y", "20");
    puts_in(s, 2, "x", "12");
    puts_in(s, 2, "y", "18");
    commits(s, 2, FIRN_OK);
    reads(s, 1, "y", "20");
    reads_range(s, 1, "a", "z", "x=10 y=20 ");
    commits(s, 1, FIRN_OK); /* it has written nothing */
}

static void play_read_skew_with_a_write(scene *s)
{
    starts(s, 1);
    starts(s, 2);
    reads(s, 1, "x", "10");
    puts_in(s, 2, "x", "12");
    puts_in(s, 2, "y", "18");
    commits(s, 2, FIRN_OK);
    txn_delete(s->t[1], s->b.db, "y");
    commits(s, 1, FIRN_CONFLICT);
    ends_with(s, "y", "18");
}

static void play_read_skew_of_a_predicate(scene *s)
{
    starts(s, 1);
    starts(s, 2);
    reads_range(s, 1, "a", "d", "");
    puts_in(s, 2, "c", "30");
    puts_in(s, 2, "f", "30");
    commits(s, 2, FIRN_OK);
    reads_range(s, 1, "e", "h", "");
    puts_in(s, 1, "k", "1");
    commits_unless_serializable(s, 1);
}

/* ---- G2-item: write skew ---- */

static void play_write_skew(scene *s)
{
    starts(s, 1);
    starts(s, 2);
    for (unsigned i = 1; i < 3; i++) {
        reads(s, i, "x", "10");
        reads(s, i, "y", "20");
    }
    puts_in(s, 1, "x", "11");
    puts_in(s, 2, "y", "21");
    commits(s, 1, FIRN_OK);
    commits_unless_serializable(s, 2);
    ends_with(s, "x", "11");
    ends_with(s, "y", s->serializable ? "20" : "21");
}

/* A condition must stay true at either level: so it prevents what a read does not. */
static void play_write_skew_with_conditions(scene *s)
{
    starts(s, 1);
    starts(s, 2);
    MUST(txn_add_one(s->t[1], s->b.db, FIRN_OP_IF_VALUE, "y", "20", error));
    MUST(txn_add_one(s->t[2], s->b.db, FIRN_OP_IF_PRESENT, "x", NULL, error));
    puts_in(s, 1, "x", "11");
    puts_in(s, 2, "y", "21");
    commits(s, 1, FIRN_OK);
    commits(s, 2, FIRN_CONFLICT);
}

/* ---- G2: the same with predicates: phantoms ---- */

static void play_phantoms(scene *s)
{
    starts(s, 1);
    starts(s, 2);
    reads_range(s, 1, "a", "h", "");
    reads_range(s, 2, "a", "h", "");
    puts_in(s, 1, "c", "30");
    puts_in(s, 2, "d", "42");
    commits(s, 1, FIRN_OK);
    commits_unless_serializable(s, 2);
    ends_with(s, "d", s->serializable ? NULL : "42");
}

static void play_phantoms_that_are_counted(scene *s)
{
    starts(s, 1);
    starts(s, 2);
    counts(s, 1, "a", "h", 0);
    counts(s, 2, "a", "h", 0);
    puts_in(s, 1, "c", "30");
    puts_in(s, 2, "d", "42");
    commits(s, 1, FIRN_OK);
    commits_unless_serializable(s, 2);
}

/* A key of the predicate goes, by a delete or by that of a range. */
static void play_phantom_that_goes(scene *s)
{
    for (unsigned by_range = 0; by_range < 2; by_range++) {
        const char *key = by_range ? "y" : "x";
        starts(s, 1);
        starts(s, 2);
        reads_range(s, 1, by_range ? "y" : "x", by_range ? "z" : "y", by_range ? "y=20 " : "x=10 ");
        if (by_range)
            txn_delete_range(s->t[2], s->b.db, "xx", "z");
        else
            txn_delete(s->t[2], s->b.db, key);
        commits(s, 2, FIRN_OK);
        puts_in(s, 1, "k", "1");
        commits_unless_serializable(s, 1);
        ends_with(s, key, NULL);
        firn_txn_free(s->t[1]);
        firn_txn_free(s->t[2]);
        s->t[1] = s->t[2] = NULL;
    }
}

/* ---- Fekete and others: one that only reads sees what no order explains ---- */

static void play_read_only_anomaly(scene *s)
{
    starts(s, 2); /* takes 10 from x; with less than that in both together, a fine of 1 */
    reads(s, 2, "x", "10");
    reads(s, 2, "y", "20");
    starts(s, 1); /* puts 20 more on y */
    reads(s, 1, "y", "20");
    puts_in(s, 1, "y", "40");
    commits(s, 1, FIRN_OK);
    starts(s, 3); /* only reads: 1 has happened, 2 has not */
    reads(s, 3, "x", "10");
    reads(s, 3, "y", "40");
    commits(s, 3, FIRN_OK);
    puts_in(s, 2, "x", "-1"); /* which says that 2 came before 1 */
    commits_unless_serializable(s, 2);
    ends_with(s, "x", s->serializable ? "10" : "-1");
}

/* ---- What is no conflict ---- */

static void play_apart(scene *s)
{
    starts(s, 1);
    starts(s, 2);
    reads(s, 1, "x", "10");
    puts_in(s, 1, "x", "11");
    puts_in(s, 2, "yy", "21");
    txn_delete_range(s->t[2], s->b.db, "z", "zz");
    commits(s, 1, FIRN_OK);
    if (s->how != BY_SEEK && s->how != BY_SEEK_BACK) /* the others pass nothing but the key */
        reads(s, 2, "y", "20");
    commits(s, 2, FIRN_OK);
    ends_with(s, "x", "11");
    ends_with(s, "yy", "21");
}

/* It reads what it has written itself, which others do not touch. */
static void play_own_writes(scene *s)
{
    starts(s, 1);
    puts_in(s, 1, "x", "11");
    reads(s, 1, "x", "11");
    txn_delete(s->t[1], s->b.db, "y");
    expect_in(s->t[1], s->b.db, "y", NULL);
    put(s->b.db, "k", "other");
    commits(s, 1, FIRN_OK);
    ends_with(s, "x", "11");
    ends_with(s, "y", NULL);
}

/* What was deleted before it began, also as a range, is no conflict; beside it something is newer. */
static void play_ranges_deleted_before(scene *s)
{
    put(s->b.db, "d", "1");
    put(s->b.db, "e", "1");
    delete_range(s->b.db, "c", "ee");
    starts(s, 1);
    reads_range(s, 1, "b", "h", "");
    puts_in(s, 1, "k", "1");
    put(s->b.db, "p", "other");
    if (s->where != IN_MEMORY)
        bed_flush(&s->b);
    commits(s, 1, FIRN_OK);
}

#define PLAY(name)                                                                                 \
    static void name(void **state)                                                                 \
    {                                                                                              \
        (void)state;                                                                               \
        perform(play_##name);                                                                      \
    }
/* clang-format off */
#define PLAYS(X) \
    X(dirty_writes) X(aborted_read) X(intermediate_read) X(circular_information) \
    X(observed_transaction_vanishes) X(predicate_many_preceders) X(predicate_that_writes) \
    X(predicate_that_deletes_first) X(lost_update) X(lost_update_of_a_plain_write) X(read_skew) \
    X(read_skew_with_a_write) X(read_skew_of_a_predicate) X(write_skew) \
    X(write_skew_with_conditions) X(phantoms) X(phantoms_that_are_counted) X(phantom_that_goes) \
    X(ranges_deleted_before) X(read_only_anomaly) X(apart) X(own_writes)
/* clang-format on */
PLAYS(PLAY)

/* ---- What a walk has passed, and no more ---- */

/* The store has b, d, f and h. Movements: "(" and ")" to the first and the last key, "+" and "-" a
 * step, ">k" and "<k" a seek to the first key from k on and to the last one up to k. */
static void move(firn_iter *it, const char *movements)
{
    for (const char *m = movements; *m; m++) {
        int rc = FIRN_OK;
        switch (*m) {
        case '(':
            rc = firn_iter_first(it);
            break;
        case ')':
            rc = firn_iter_last(it);
            break;
        case '+':
            rc = firn_iter_next(it);
            break;
        case '-':
            rc = firn_iter_prev(it);
            break;
        case '>':
            rc = firn_iter_seek(it, ++m, 1);
            break;
        default:
            rc = firn_iter_seek_for_prev(it, ++m, 1);
        }
        assert_true(rc == FIRN_OK || rc == FIRN_END);
    }
}

static const struct passage {
    const char *lower, *upper, *movements;
    const char *passed, *free; /* keys that others must not write, and such that they may */
} passages[] = {
    {NULL, NULL, "", "", "abcdefghi"},
    {NULL, NULL, "(", "ab", "cdefghi"},
    {NULL, NULL, "(+", "abcd", "efghi"},
    {NULL, NULL, "(++", "abcdef", "ghi"},
    {NULL, NULL, "(++++", "abcdefghi", ""},
    {NULL, NULL, ")", "hi", "abcdefg"},
    {NULL, NULL, ")-", "fghi", "abcde"},
    {NULL, NULL, ")----", "abcdefghi", ""},
    {NULL, NULL, ">c", "cd", "abefghi"},
    {NULL, NULL, ">d", "d", "abcefghi"},
    {NULL, NULL, ">d+", "def", "abcghi"},
    {NULL, NULL, ">i", "i", "abcdefgh"},
    {NULL, NULL, "<e", "de", "abcfghi"},
    {NULL, NULL, "<d", "d", "abcefghi"},
    {NULL, NULL, "<d-", "bcd", "aefghi"},
    {NULL, NULL, "<a", "a", "bcdefghi"},
    /* Turned. */
    {NULL, NULL, ">d-", "bcd", "aefghi"},
    {NULL, NULL, ">d+-", "def", "abcghi"},
    {NULL, NULL, ">d+--", "bcdef", "aghi"},
    {NULL, NULL, "<f+", "fgh", "abcdei"},
    {NULL, NULL, "<f-+", "def", "abcghi"},
    {NULL, NULL, "<f-++", "defgh", "abci"},
    /* Sent elsewhere: both stretches count. */
    {NULL, NULL, ">d>h", "dh", "abcefgi"},
    {NULL, NULL, ">g<b", "bgh", "acdefi"},
    {NULL, NULL, "(>h", "abh", "cdefgi"},
    {NULL, NULL, ")>b", "bhi", "acdefg"},
    {NULL, NULL, "<c(", "abc", "defghi"},
    {NULL, NULL, "<e-)", "bcdehi", "afg"},
    /* Bounds. */
    {"c", "g", "(", "cd", "abefghi"},
    {"c", "g", "(++", "cdef", "abghi"},
    {"c", "g", ")", "f", "abcdeghi"},
    {"c", "g", ")--", "cdef", "abghi"},
    {"c", "g", ">a", "cd", "abefghi"},
    {"c", "g", "<z", "f", "abcdeghi"},
    {"c", "g", "<b", "", "abcdefghi"},
    {"c", "g", ">h", "", "abcdefghi"},
    {"d", "e", "(+", "d", "abcefghi"},
    {"e", "f", "(", "e", "abcdfghi"},
};

/* Others write the key: is the commit a conflict? `places` is where that key has come to. */
static bool is_watched(const struct passage *p, char key, unsigned kind, place where, unsigned end)
{
    bed b;
    begin(&b);
    for (const char *k = "bdfh"; *k; k++)
        put(b.db, (const char[]){*k, 0}, "1");
    firn_txn *t = txn_begin(b.db, true);
    firn_iter *it = iter_in(t, b.db, p->lower, p->upper);
    move(it, p->movements);
    if (end) { /* else the commit finds it open */
        firn_iter_free(it);
        it = NULL;
    }
    txn_put(t, b.db, "z", "z");
    const char text[] = {key, 0}, behind[] = {key, '!', 0};
    if (kind == 0)
        put(b.db, text, "2");
    if (kind == 1)
        delete_range(b.db, text, behind);
    if (kind == 2)
        MUST(firn_delete(b.db, text, 1, NULL, error));
    if (kind == 3)
        delete_range(b.db, text, (const char[]){(char)(key + 1), 0});
    if (kind == 4) /* from in front of the stretch, perhaps */
        delete_range(b.db, (const char[]){(char)(key - 1), 'z', 0}, behind);
    if (where == FLUSHED)
        bed_flush(&b);
    if (where == COMPACTED)
        MUST(firn_compact(b.db, NULL, 0, NULL, 0, error));
    int rc = txn_commit(t);
    assert_true(rc == FIRN_OK || rc == FIRN_CONFLICT);
    firn_iter_free(it);
    firn_txn_free(t);
    bed_release(&b);
    return rc == FIRN_CONFLICT;
}

static void what_a_walk_has_passed_is_watched_and_nothing_else(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof passages / sizeof *passages; i++)
        for (char key = 'a'; key <= 'i'; key++)
            for (unsigned kind = 0; kind < 5; kind++)
                for (place where = 0; where < PLACES; where++) {
                    const struct passage *p = &passages[i];
                    if (kind && !strchr("bdfh", key))
                        continue; /* deleting what is not there may be seen, or not */
                    bool watched = is_watched(p, key, kind, where, (i + kind) % 2);
                    if (watched && kind != 4 && !strchr(p->passed, key))
                        fail_msg("\"%s\" between %s and %s: %c is watched", p->movements,
                                 p->lower ? p->lower : "-", p->upper ? p->upper : "-", key);
                    if (!watched && !strchr(p->free, key))
                        fail_msg("\"%s\" between %s and %s: %c is not watched; kind %u, place %u",
                                 p->movements, p->lower ? p->lower : "-", p->upper ? p->upper : "-",
                                 key, kind, where);
                }
}

/* Turned at the empty key, which is the first one of all. */
static void nothing_lies_in_front_of_the_empty_key(void **state)
{
    (void)state;
    bed b;
    begin(&b);
    put(b.db, "", "1");
    put(b.db, "f", "1");
    firn_txn *t = txn_begin(b.db, true);
    firn_iter *it = iter_in(t, b.db, NULL, NULL);
    assert_int_equal(firn_iter_first(it), FIRN_OK);
    assert_int_equal(firn_iter_prev(it), FIRN_END);
    txn_put(t, b.db, "z", "z");
    put(b.db, "c", "other");
    assert_int_equal(txn_commit(t), FIRN_OK);
    firn_iter_free(it);
    firn_txn_free(t);
    bed_release(&b);
}

/* ---- What comes while a commit looks ---- */

typedef struct intrusion {
    const char *first, *end; /* end NULL: a put of `first`; else a range delete */
    bool elsewhere;          /* in another bucket */
    bool conflicts;
} intrusion;

typedef struct intruder {
    const intrusion *what;
    firn *db, *other;
    bool came, armed;
} intruder;

/* A table is read: it is the commit's look. */
static int intrude(void *ctx, unsigned call, uint64_t index, const char *name)
{
    intruder *x = ctx;
    (void)index;
    if (call != SIMFS_READ || !name || !strstr(name, ".tbl") || !x->armed)
        return 0;
    x->armed = false;
    x->came = true;
    firn *to = x->what->elsewhere ? x->other : x->db;
    if (x->what->end)
        delete_range(to, x->what->first, x->what->end);
    else
        put(to, x->what->first, "intruder");
    return 0;
}

static void what_is_written_while_a_commit_looks_is_noticed(void **state)
{
    (void)state;
    /* It watches the range from d to h, and the key p. */
    static const intrusion all[] = {
        {"d", NULL, false, true},  {"e", NULL, false, true},  {"g", NULL, false, true},
        {"h", NULL, false, false}, {"c", NULL, false, false}, {"i", NULL, false, false},
        {"p", NULL, false, true},  {"o", NULL, false, false}, {"q", NULL, false, false},
        {"a", "z", false, true},   {"a", "e", false, true},   {"a", "d", false, false},
        {"g", "i", false, true},   {"h", "p", false, false},  {"h", "q", false, true},
        {"i", "z", false, true},   {"pp", "z", false, false}, {"d", NULL, true, false},
        {"p", NULL, true, false},  {"a", "z", true, false},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        for (unsigned swapped = 0; swapped < 2; swapped++) { /* which bucket has which number */
            bed b;
            bed_on_simfs(&b, 1);
            simfs_mapping_ok(b.sim, false);
            bed_must_open(&b);
            firn *other = open_one(b.db, "other", true);
            intruder x = {
                .what = &all[i], .db = swapped ? other : b.db, .other = swapped ? b.db : other};
            put(x.db, "b", "1");
            put(x.db, "e", "1");
            firn_txn *t = txn_begin(b.db, true);
            firn_iter *it = iter_in(t, x.db, "d", "h");
            char text[WALK_TEXT];
            walk_text(it, i % 2, text);
            assert_string_equal(text, "e=1 ");
            txn_put(t, x.db, "p", "own");
            put(x.db, "z", "other"); /* so that the table has something newer */
            bed_flush(&b);
            simfs_on_call(b.sim, intrude, &x);
            x.armed = true;
            firn_error err = {0};
            int rc = firn_txn_commit(t, NULL, &err);
            simfs_on_call(b.sim, NULL, NULL);
            assert_true(x.came);
            if (rc != (all[i].conflicts ? FIRN_CONFLICT : FIRN_OK))
                fail_msg("\"%s\" to \"%s\"%s: %d, %s", all[i].first, all[i].end ? all[i].end : "-",
                         all[i].elsewhere ? " elsewhere" : "", rc, err.message);
            expect(x.db, "p",
                   rc == FIRN_OK               ? "own"
                   : strcmp(all[i].first, "p") ? NULL
                                               : "intruder");
            firn_iter_free(it);
            firn_txn_free(t);
            MUST(firn_close(other, error));
            bed_release(&b);
        }
}

int main(void)
{
#define AS_TEST(name) cmocka_unit_test(name),
    const struct CMUnitTest tests[] = {
        PLAYS(AS_TEST) cmocka_unit_test(what_a_walk_has_passed_is_watched_and_nothing_else),
        cmocka_unit_test(nothing_lies_in_front_of_the_empty_key),
        cmocka_unit_test(what_is_written_while_a_commit_looks_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
