/* Reads and the one moment that may hurt them, tried without chance.
 *
 * A read loads what other threads replace: the view, and the newest visible number. This program compiles the reading
 * files once more, with a stop before each such load. At the stop that a test names, another thread overwrites the key and
 * flushes, to the end, before the read goes on: the memtable that held both versions has become a table that holds the
 * newer one alone. Whatever the stop, the read must find one of the two. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <base/thread.h>

#include "bed.h"
#include "merge.h"
#include <store/store.h>

static struct {
    firn *db;
    char key[8]; /* a new one for each read: nothing older lies in a table */
    unsigned wanted,
        met; /* stops: the one at which the other thread runs, those that the read came to */
    thread other;
} scenario;

static void overwrite_and_flush(void *arg)
{
    (void)arg;
    MUST(firn_put(scenario.db, scenario.key, strlen(scenario.key), "new", 3, NULL, error));
    MUST(firn_flush(scenario.db, error));
}

static void stop_here(void)
{
    if (!scenario.db || scenario.met++ != scenario.wanted)
        return;
    scenario.other = (thread){0};
    assert_int_equal(thread_start(&scenario.other, "other", overwrite_and_flush, NULL), 0);
    thread_join(&scenario.other);
}

/* To read an atomic object by its name is a load in sequential order: no weaker than what was asked for. */
#undef atomic_load_explicit
#define atomic_load_explicit(object, order) (stop_here(), (void)(order), *(object))
#define tree_view(t)                        (stop_here(), (tree_view)(t))
#include "iterator.c"
#include "many.c"
#include "read.c"

static void must_be_old_or_new(firn_slice value)
{
    assert_int_equal(value.size, 3);
    assert_true(memcmp(value.data, "old", 3) == 0 || memcmp(value.data, "new", 3) == 0);
}

static void get_once(firn *db)
{
    firn_value value = {0};
    MUST(firn_get(db, scenario.key, strlen(scenario.key), NULL, &value, error));
    must_be_old_or_new(slice_of(value.data, value.size));
    firn_value_release(&value);
}

static void get_into_once(firn *db)
{
    char into[8];
    size_t size = 0;
    MUST(firn_get_into(db, scenario.key, strlen(scenario.key), NULL, into, sizeof into, &size,
                       error));
    must_be_old_or_new(slice_of(into, size));
}

static void get_many_once(firn *db)
{
    firn_slice key = slice_of_str(scenario.key);
    firn_value value = {0};
    int status;
    MUST(firn_get_many(db, &key, 1, NULL, &value, &status, error));
    must_be_old_or_new(slice_of(value.data, value.size));
    firn_value_release(&value);
}

static void walk_once(firn *db)
{
    firn_iter *it = NULL;
    MUST(firn_iter_new(db, NULL, &it, error));
    MUST(firn_iter_seek(it, scenario.key, strlen(scenario.key)));
    assert_true(slice_equal(firn_iter_key(it), slice_of(scenario.key, strlen(scenario.key))));
    must_be_old_or_new(firn_iter_value(it));
    firn_iter_free(it);
}

/* The read with the other thread at its first stop, at its second, and so on, until it comes to no further one. */
static void at_every_stop(void (*read_once)(firn *db))
{
    bed b;
    unsigned stops = 0;
    bed_on_disk(&b);
    bed_must_open(&b);
    do {
        snprintf(scenario.key, sizeof scenario.key, "key%u", stops);
        bed_put(&b, scenario.key, "old");
        /* A flusher that still frees what an earlier round replaced would wait for this read to end. */
        MUST(firn_settle(b.db, error));
        scenario.wanted = stops++;
        scenario.met = 0;
        scenario.db = b.db;
        read_once(b.db);
        scenario.db = NULL;
    } while (scenario.met > scenario.wanted);
    assert_true(stops >
                2); /* the view and the number are loaded: two stops, and once without any */
    bed_release(&b);
}

static void a_get_finds_the_key_whatever_happens_between_its_loads(void **state)
{
    (void)state;
    at_every_stop(get_once);
}

static void a_get_into_finds_the_key_whatever_happens_between_its_loads(void **state)
{
    (void)state;
    at_every_stop(get_into_once);
}

static void many_gets_find_the_key_whatever_happens_between_their_loads(void **state)
{
    (void)state;
    at_every_stop(get_many_once);
}

static void a_walk_finds_the_key_whatever_happens_between_its_loads(void **state)
{
    (void)state;
    at_every_stop(walk_once);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_get_finds_the_key_whatever_happens_between_its_loads),
        cmocka_unit_test(a_get_into_finds_the_key_whatever_happens_between_its_loads),
        cmocka_unit_test(many_gets_find_the_key_whatever_happens_between_their_loads),
        cmocka_unit_test(a_walk_finds_the_key_whatever_happens_between_its_loads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
