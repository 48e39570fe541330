/* A process that writes is killed, at no particular moment, with flushes and compactions under way.
 * Whatever it acknowledged over a pipe is there when the store is opened again, in every durability
 * class: that needs no power cut, only that nothing is kept in the process alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "history.h"

#define ROUNDS 20

/* Writes until it is killed; tells each batch that is done. Never returns. */
static void live(bed *b, history *h, int acks, uint64_t seed, firn_durability durability)
{
    rng chance = rng_init(seed);
    firn_error err = {0};
    char why[WHY];
    int rc = bed_open(b, &err);
    for (uint32_t n = 0; rc == FIRN_OK; n++) {
        uint64_t j;
        if (h->count + 2 >= HISTORY_MOST || !history_write(h, b->db, durability, why))
            break;
        j = h->count;
        if (write(acks, &j, sizeof j) != sizeof j)
            break;
        if (rng_below(&chance, 60) == 0)
            rc = rng_below(&chance, 2) ? firn_flush(b->db, &err)
                                       : firn_compact(b->db, NULL, 0, NULL, 0, &err);
    }
    _exit(3); /* the parent did not kill it in time, or something failed */
}

/* Waits for `wanted` acknowledgements, kills, and takes in those that were still on their way. */
static uint64_t kill_behind(pid_t pid, int acks, uint64_t wanted, bool *by_us)
{
    uint64_t j = 0, last = 0;
    for (uint64_t n = 0;; n++) {
        if (n == wanted)
            kill(pid, SIGKILL);
        ssize_t got = read(acks, &j, sizeof j);
        if (got < 0 && errno == EINTR)
            continue;
        if (got != sizeof j)
            break;
        last = j;
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    *by_us = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    return last;
}

static void one_life(bed *b, history *h, uint64_t seed, rng *chance)
{
    static const firn_durability classes[] = {FIRN_DURABILITY_NONE, FIRN_DURABILITY_SYNC,
                                              FIRN_DURABILITY_BATCH};
    firn_durability durability = classes[rng_below(chance, 3)];
    uint64_t wanted = 1 + rng_below(chance, durability == FIRN_DURABILITY_SYNC ? 40 : 150);
    size_t before = h->count, j = 0;
    int ends[2];
    bool by_us = false;
    char why[WHY];
    firn_error err = {0};
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(ends[0]);
        live(b, h, ends[1], seed, durability);
    }
    close(ends[1]);
    uint64_t acked = kill_behind(pid, ends[0], wanted, &by_us);
    close(ends[0]);
    if (!by_us)
        fail_msg("seed %llu: the writer ended by itself behind batch %llu",
                 (unsigned long long)seed, (unsigned long long)acked);
    assert_true(acked >= before + wanted);
    while (h->count < acked + 1) /* the one under way when it was killed */
        history_imagine(h);
    int rc = bed_open(b, &err);
    must_ok(rc, &err, "open behind a kill", __FILE__, __LINE__);
    if (!history_compare(h, b->db, acked, acked + 1, &j, why))
        fail_msg("seed %llu: %s", (unsigned long long)seed, why);
    history_cut(h, j);
    bed_must_close(b);
    MUST(firn_check(b->folder, NULL, NULL, NULL, error));
}

static void a_killed_process_loses_nothing_it_acknowledged(void **state)
{
    (void)state;
    uint64_t seed = seed_from_environment(1);
    unsigned rounds = long_run() ? ROUNDS * 50 : ROUNDS;
    rng chance = rng_init(seed);
    for (unsigned round = 0; round < rounds;) {
        bed b;
        history h;
        bed_on_disk(&b);
        history_init(&h, seed * 1000 + round, NULL);
        h.value_most = 300;
        for (; round < rounds && h.count < HISTORY_MOST / 2; round++)
            one_life(&b, &h, seed * 1000 + round, &chance);
        history_release(&h);
        bed_release(&b);
    }
}

/* Writers of two lives meet at the lock only. */
static void the_lock_goes_with_the_killed_process(void **state)
{
    (void)state;
    bed b;
    bed_on_disk(&b);
    for (int i = 0; i < 10; i++) {
        int ends[2];
        char byte = 0;
        assert_int_equal(pipe(ends), 0);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            byte = (char)bed_open(&b, NULL);
            if (write(ends[1], &byte, 1) != 1)
                _exit(1);
            for (;;)
                pause();
        }
        assert_int_equal(read(ends[0], &byte, 1), 1);
        assert_int_equal(byte, FIRN_OK);
        assert_int_equal(bed_open(&b, NULL), FIRN_LOCKED);
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        bed_must_open(&b);
        bed_put(&b, "k", "v");
        bed_must_close(&b);
        close(ends[0]);
        close(ends[1]);
    }
    bed_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_process_loses_nothing_it_acknowledged),
        cmocka_unit_test(the_lock_goes_with_the_killed_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
