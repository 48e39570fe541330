/* Threads that cannot be started: opening fails with what the system said, leaves nothing behind, and has lost nothing. The
 * linker sends pthread_create through here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include <commit/commit.h>
#include "bed.h"
#include <store/store.h>

static struct {
    unsigned asked, fails; /* 1: the first; 0: none */
    int error;
    void (*meanwhile)(void *arg); /* what other threads do until then */
    void *arg;
} starts;

int __real_pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*run)(void *), void *arg);
int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*run)(void *), void *arg);
int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*run)(void *), void *arg)
{
    if (++starts.asked != starts.fails)
        return __real_pthread_create(t, a, run, arg);
    if (starts.meanwhile)
        starts.meanwhile(starts.arg);
    return starts.error;
}

/* Descriptors and mappings that this process has of the folder. */
static unsigned held_of(const char *path_of)
{
    char line[1200], path[300];
    unsigned count = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    DIR *fds = opendir("/proc/self/fd");
    assert_non_null(maps);
    assert_non_null(fds);
    while (fgets(line, sizeof line, maps))
        count += strstr(line, path_of) != NULL;
    for (struct dirent *e; (e = readdir(fds)) != NULL;) {
        snprintf(path, sizeof path, "/proc/self/fd/%s", e->d_name);
        ssize_t size = readlink(path, line, sizeof line - 1);
        line[size > 0 ? size : 0] = '\0';
        count += strstr(line, path_of) != NULL;
    }
    fclose(maps);
    closedir(fds);
    return count;
}

/* Leaves memtables for the flusher of the next life, which gives the cleaner work at once. */
static void leave_frozen_mems(bed *b, unsigned *serial)
{
    starts.fails = 0;
    bed_must_open(b);
    mutex_lock(&b->db->store->flush_mu);
    while (!(atomic_load(&b->db->store->pressure) & PRESSURE_STOP)) {
        char value[16];
        snprintf(value, sizeof value, "%u", ++*serial);
        bed_put(b, "k", value);
        MUST(store_rotate(b->db->store, error));
    }
    mutex_lock(&b->db->store->state_mu);
    b->db->store->closing = true; /* the flusher gives up */
    mutex_unlock(&b->db->store->state_mu);
    mutex_unlock(&b->db->store->flush_mu);
    bed_must_close(b);
}

static void expect_serial(bed *b, unsigned serial)
{
    char value[16];
    snprintf(value, sizeof value, "%u", serial);
    bed_expect(b, NULL, "k", value);
}

static void opening_survives_each_thread_that_cannot_be_started(void **state)
{
    (void)state;
    const int errors[] = {EAGAIN, ENOMEM, EPERM};
    bed b;
    unsigned serial = 0, threads = 0;
    bed_on_disk(&b);
    leave_frozen_mems(&b, &serial);
    starts.asked = 0;
    bed_must_open(&b);
    threads = starts.asked;
    bed_must_close(&b);
    assert_int_equal(
        threads, thread_cpus() > 1 ? 5 : 4); /* the log's helper, cleaner, flusher, compactors */
    for (size_t n = 0; n < sizeof errors / sizeof *errors; n++)
        for (unsigned fails = 1; fails <= threads; fails++) {
            firn_error e = {0};
            firn *db = NULL;
            leave_frozen_mems(&b, &serial);
            assert_int_equal(held_of(b.folder), 0);
            starts.asked = 0;
            starts.fails = fails;
            starts.error = errors[n];
            int rc = engine_open(b.folder, &b.options, &b.config, &db, &e);
            assert_int_equal(rc, errors[n] == EPERM ? FIRN_IO : FIRN_NO_MEMORY);
            assert_int_equal(e.sys_errno, errors[n]);
            assert_non_null(strstr(e.message, "start a thread"));
            assert_null(db);
            assert_int_equal(held_of(b.folder), 0);
            starts.fails = 0;
            bed_must_open(&b);
            expect_serial(&b, serial);
            bed_must_close(&b);
        }
    MUST(firn_check(b.folder, NULL, NULL, NULL, error));
    bed_release(&b);
}

/* ---- A cleaner that does not start ---- */

typedef struct item {
    dead grave;
    bool ended;
} item;

static void end_item(dead *d)
{
    ((item *)(void *)((char *)d - offsetof(item, grave)))->ended = true;
}

typedef struct giving {
    cleaner *c;
    item *i;
} giving;

static void give(void *arg)
{
    giving *g = arg;
    cleaner_give(g->c, &g->i->grave, end_item);
}

static void what_a_cleaner_was_given_that_does_not_start_is_ended(void **state)
{
    (void)state;
    cleaner c = {0};
    item i = {0};
    giving g = {&c, &i};
    cleaner_init(&c);
    starts.asked = 0;
    starts.fails = 1;
    starts.error = EAGAIN;
    starts.meanwhile = give;
    starts.arg = &g;
    assert_int_equal(cleaner_start(&c), EAGAIN);
    starts.meanwhile = NULL;
    starts.fails = 0;
    assert_true(i.ended);
    cleaner_wait(&c);
    cleaner_stop(&c);
    cleaner_release(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opening_survives_each_thread_that_cannot_be_started),
        cmocka_unit_test(what_a_cleaner_was_given_that_does_not_start_is_ended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
