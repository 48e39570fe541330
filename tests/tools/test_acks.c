/* Acks say no more than what is durable, and never less than what they can (tools/acks.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "acks.h"
#include "support/rng.h"

typedef struct bench {
    int fd;
    output out;
    acks acks;
} bench;

static void start(bench *b)
{
    b->fd = memfd_create("acks", MFD_CLOEXEC);
    assert_true(b->fd >= 0);
    output_init(&b->out, b->fd, "acks");
    b->acks = (acks){.out = &b->out};
}

static void stop(bench *b)
{
    assert_int_equal(output_finish(&b->out), 0);
    close(b->fd);
}

/* All that has been printed since the start. */
static void expect_printed(bench *b, const char *expected)
{
    char text[4096];
    ssize_t n = pread(b->fd, text, sizeof text - 1, 0);
    assert_true(n >= 0);
    text[n] = '\0';
    assert_string_equal(text, expected);
}

static void nothing_is_printed_before_it_is_durable(void **state)
{
    (void)state;
    bench b;
    start(&b);
    acks_add(&b.acks, 10, 100);
    acks_print(&b.acks, 9);
    expect_printed(&b, "");
    acks_print(&b.acks, 10);
    expect_printed(&b, "ack 100\n");
    acks_print(&b.acks, 11);
    expect_printed(&b, "ack 100\n");
    stop(&b);
}

static void only_the_newest_durable_batch_is_printed(void **state)
{
    (void)state;
    bench b;
    start(&b);
    for (uint64_t i = 1; i <= 5; i++)
        acks_add(&b.acks, i * 10, i * 100);
    acks_print(&b.acks, 39);
    expect_printed(&b, "ack 300\n");
    acks_print(&b.acks, 50);
    expect_printed(&b, "ack 300\nack 500\n");
    stop(&b);
}

static void too_many_open_batches_make_fewer_acks_but_lose_not_the_last(void **state)
{
    (void)state;
    bench b;
    start(&b);
    const uint64_t n = 10 * ACKS_MAX + 3;
    for (uint64_t i = 1; i <= n; i++) {
        acks_add(&b.acks, i, 7 * i);
        assert_true(b.acks.count <= ACKS_MAX);
        assert_int_equal(b.acks.pending[b.acks.count - 1].seq, i);
    }
    /* An ack in the middle says what is true: lines of a batch that is durable. */
    acks_print(&b.acks, n / 2);
    char text[64];
    ssize_t size = pread(b.fd, text, sizeof text - 1, 0);
    assert_true(size > 4);
    text[size] = '\0';
    uint64_t acked = strtoull(text + 4, NULL, 10);
    assert_true(acked <= 7 * (n / 2) && acked > 7 * (n / 2 - n / 100));
    acks_print(&b.acks, n);
    assert_int_equal(b.acks.count, 0);
    stop(&b);
}

static void without_an_output_nothing_is_kept(void **state)
{
    (void)state;
    static acks a;
    acks_add(&a, 1, 1);
    assert_int_equal(a.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_printed_before_it_is_durable),
        cmocka_unit_test(only_the_newest_durable_batch_is_printed),
        cmocka_unit_test(too_many_open_batches_make_fewer_acks_but_lose_not_the_last),
        cmocka_unit_test(without_an_output_nothing_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
