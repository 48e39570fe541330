/* A leader that is held up between showing its group to readers and leaving the log's queue.
 *
 * This program compiles the way of a write once more, with a stop before the leader leaves. What a reader does there is done
 * by the leader's own thread: no reader waits for a leader. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <wal/group.h>

#include "bed.h"
#include <store/store.h>

static struct {
    void (*there)(void);
    bed *b;
    unsigned met;
} stop;

static void leave(wal *w, wal_group *g, int rc, firn_error *error)
{
    void (*there)(void) = stop.there;
    stop.there = NULL; /* once */
    if (there) {
        stop.met++;
        there();
    }
    wal_group_end(w, g, rc, error);
}

#define wal_group_end leave
#include "commit.c"
#undef wal_group_end

/* ---- What a reader sees is given out ---- */

static void sync_what_is_seen(void)
{
    bed_expect(stop.b, NULL, "k", "new");
    uint64_t seen = firn_last_seq(stop.b->db);
    MUST(firn_sync(stop.b->db, error));
    assert_int_equal(firn_durable_seq(stop.b->db), seen);
}

static void wait_for_what_is_seen(void)
{
    bed_expect(stop.b, NULL, "k", "new");
    uint64_t seen = firn_last_seq(stop.b->db);
    MUST(firn_wait_durable(stop.b->db, seen, 0, error));
    assert_int_equal(firn_durable_seq(stop.b->db), seen);
}

static void wait_with_a_limit(void)
{
    MUST(firn_wait_durable(stop.b->db, firn_last_seq(stop.b->db), 60000, error));
}

static void snapshot_and_sync(void)
{
    firn_snapshot *s = NULL;
    MUST(firn_snapshot_new(stop.b->db, &s, error));
    bed_expect(stop.b, s, "k", "new");
    MUST(firn_wait_durable(stop.b->db, firn_snapshot_seq(s), 0, error));
    firn_snapshot_free(s);
}

static void what_a_reader_sees_can_be_synced_before_its_leader_has_left(void **state)
{
    (void)state;
    void (*const all[])(void) = {sync_what_is_seen, wait_for_what_is_seen, wait_with_a_limit,
                                 snapshot_and_sync};
    for (unsigned disk = 0; disk < 2; disk++)
        for (unsigned durability = FIRN_DURABILITY_SYNC; durability <= FIRN_DURABILITY_NONE;
             durability++)
            for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
                bed b;
                if (disk)
                    bed_on_disk(&b);
                else
                    bed_on_simfs(&b, 1);
                b.options.durability = (firn_durability)durability;
                bed_must_open(&b);
                bed_put(&b, "k", "old");
                MUST(firn_sync(b.db, error));
                stop.b = &b;
                stop.met = 0;
                stop.there = all[i];
                bed_put(&b, "k", "new");
                assert_int_equal(stop.met, 1);
                bed_put(&b, "j", "behind it");
                bed_release(&b);
            }
}

/* Keys and values, and nothing of how they are written. */
static void bytes_that_are_put_are_those_of_keys_and_values(void **state)
{
    (void)state;
    bed b;
    firn_batch *batch;
    bed_on_simfs(&b, 1);
    bed_must_open(&b);
    bed_put(&b, "key", "value");
    assert_int_equal(bed_stats(&b).bytes_put, 8);
    bed_delete(&b, "key");
    assert_int_equal(bed_stats(&b).bytes_put, 11);
    assert_int_equal(firn_batch_new(&batch), FIRN_OK);
    assert_int_equal(firn_batch_put(batch, "a", 1, "bc", 2), FIRN_OK);
    assert_int_equal(firn_batch_put(batch, "", 0, "", 0), FIRN_OK);
    assert_int_equal(firn_batch_delete(batch, "def", 3), FIRN_OK);
    MUST(firn_write(b.db, batch, NULL, NULL, error));
    firn_batch_free(batch);
    assert_int_equal(bed_stats(&b).bytes_put, 17);
    bed_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_reader_sees_can_be_synced_before_its_leader_has_left),
        cmocka_unit_test(bytes_that_are_put_are_those_of_keys_and_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
