/* The reader of KEY<TAB>VALUE lines (tools/lines.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <base/alloc.h>
#include <base/slice.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "escape.h"
#include "lines.h"
#include "support/rng.h"

#define CHUNK ((size_t)256 << 10) /* what the reader takes at once: the borders to test lie there */

static int file_of(const void *data, size_t size)
{
    int fd = memfd_create("lines", MFD_CLOEXEC);
    assert_true(fd >= 0);
    for (size_t done = 0; done < size;) {
        ssize_t n = write(fd, (const uint8_t *)data + done, size - done);
        assert_true(n > 0);
        done += (size_t)n;
    }
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

typedef struct bench {
    int fd;
    lines in;
} bench;

static bench start(const void *data, size_t size)
{
    bench b = {.fd = file_of(data, size)};
    lines_init(&b.in, b.fd, NULL);
    return b;
}

static bench start_text(const char *text)
{
    return start(text, strlen(text));
}

static void stop(bench *b)
{
    lines_release(&b->in);
    close(b->fd);
}

static void expect_line(bench *b, const char *key, const char *value)
{
    firn_slice k, v;
    assert_int_equal(lines_next(&b->in, &k, &v), LINES_OK);
    assert_true(slice_equal(k, slice_of_str(key)));
    assert_true(slice_equal(v, slice_of_str(value)));
}

static void expect_verdict(bench *b, lines_verdict expected)
{
    firn_slice k, v;
    assert_int_equal(lines_next(&b->in, &k, &v), expected);
    /* And it stays so. */
    assert_int_equal(lines_next(&b->in, &k, &v), expected);
}

static void an_empty_input_has_no_lines(void **state)
{
    (void)state;
    bench b = start_text("");
    expect_verdict(&b, LINES_END);
    assert_int_equal(b.in.line_no, 0);
    stop(&b);
}

static void lines_are_cut_at_newlines_and_at_their_first_tab(void **state)
{
    (void)state;
    bench b = start_text("a\t1\n\t\nb\t\n\tonly a value\nc\tx\ty\n");
    expect_line(&b, "a", "1");
    expect_line(&b, "", "");
    expect_line(&b, "b", "");
    expect_line(&b, "", "only a value");
    expect_line(&b, "c", "x\ty");
    assert_int_equal(b.in.line_no, 5);
    expect_verdict(&b, LINES_END);
    assert_int_equal(b.in.line_no, 5);
    assert_int_equal(lines_bytes_passed(&b.in), b.in.bytes_read);
    stop(&b);
}

static void the_last_newline_may_be_missing(void **state)
{
    (void)state;
    bench b = start_text("a\t1\nb\t2");
    expect_line(&b, "a", "1");
    expect_line(&b, "b", "2");
    expect_verdict(&b, LINES_END);
    stop(&b);
}

static void escapes_are_taken_out_of_keys_and_values(void **state)
{
    (void)state;
    bench b = start_text("a\\tb\t\\n\\r\\\\\\x41\nno escape\there\n");
    expect_line(&b, "a\tb", "\n\r\\A");
    expect_line(&b, "no escape", "here");
    stop(&b);
}

static void a_wrong_line_is_named_by_number_with_its_problem(void **state)
{
    (void)state;
    static const struct {
        const char *text, *problem;
    } cases[] = {
        {"a\t1\nno tab here\nb\t2\n", "no tab"},
        {"a\t1\n\nb\t2\n", "no tab"},
        {"a\t1\nno tab at the end", "no tab"},
        {"a\t1\nb\t\\q\n", "\\q is no escape"},
        {"a\t1\n\\0\tx\n", "\\0 is no escape"},
        {"a\t1\nb\t\\xag\n", "\\x is not followed by two hexadecimal digits"},
        {"a\t1\nb\t\\\nc\t3\n", "a backslash that begins no escape"},
        {"a\t1\nb\t\\", "the input ends in the middle of an escape"},
        {"a\t1\nb\t\\x4", "the input ends in the middle of an escape"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bench b = start_text(cases[i].text);
        expect_line(&b, "a", "1");
        expect_verdict(&b, LINES_BAD);
        assert_int_equal(b.in.line_no, 2);
        assert_string_equal(b.in.problem, cases[i].problem);
        assert_true(b.in.remedy[0] != '\0');
        stop(&b);
    }
}

static void lines_read_the_same_wherever_chunks_end(void **state)
{
    (void)state;
    static const char tail[] = "key\\t\\x41end\tval\\n\\\\ue\n";
    /* A first line that ends `shift` bytes before the border of a chunk moves every part of the
     * second one over it. */
    uint8_t *text = heap_alloc(CHUNK + sizeof tail);
    assert_non_null(text);
    for (size_t shift = 0; shift <= sizeof tail; shift++) {
        size_t first = CHUNK - shift;
        memset(text, 'x', first);
        text[1] = '\t';
        text[first - 1] = '\n';
        memcpy(text + first, tail, sizeof tail - 1);
        bench b = start(text, first + sizeof tail - 1);
        firn_slice k, v;
        assert_int_equal(lines_next(&b.in, &k, &v), LINES_OK);
        assert_int_equal(v.size, first - 3);
        expect_line(&b, "key\tAend", "val\n\\ue");
        expect_verdict(&b, LINES_END);
        stop(&b);
    }
    heap_free(text);
}

static void long_lines_full_of_escapes_come_back_whole(void **state)
{
    (void)state;
    const size_t size = 3 * CHUNK + 77;
    const uint64_t seed = 30;
    rng r = rng_init(seed);
    buf bytes = {0}, text = {0};
    assert_int_equal(buf_reserve(&bytes, size), FIRN_OK);
    bytes.size = size;
    rng_fill(&r, bytes.data, size);
    assert_int_equal(buf_append(&text, "k\t", 2), FIRN_OK);
    assert_int_equal(escape_encode(buf_slice(&bytes), ESCAPE_DATA, &text), FIRN_OK);
    assert_int_equal(buf_append(&text, "\nnext\tline\n", 11), FIRN_OK);
    bench b = start(text.data, text.size);
    firn_slice k, v;
    assert_int_equal(lines_next(&b.in, &k, &v), LINES_OK);
    assert_true(slice_equal(v, buf_slice(&bytes)));
    expect_line(&b, "next", "line");
    stop(&b);
    buf_release(&bytes);
    buf_release(&text);
}

static void a_key_of_the_greatest_size_is_taken_and_one_byte_more_is_not(void **state)
{
    (void)state;
    for (int more = -1; more <= 1; more++) {
        size_t size = (size_t)((int)FIRN_MAX_KEY_BYTES + more);
        uint8_t *text = heap_alloc(size + 3);
        assert_non_null(text);
        memset(text, 'k', size);
        memcpy(text + size, "\tv\n", 3);
        bench b = start(text, size + 3);
        firn_slice k, v;
        assert_int_equal(lines_next(&b.in, &k, &v), more > 0 ? LINES_BAD : LINES_OK);
        if (more > 0)
            assert_string_equal(b.in.problem, "the key is longer than 65,535 bytes");
        else
            assert_int_equal(k.size, size);
        stop(&b);
        heap_free(text);
    }
}

static void a_line_without_a_tab_is_refused_before_it_fills_the_memory(void **state)
{
    (void)state;
    const size_t size = 8 * CHUNK;
    uint8_t *text = heap_alloc(size);
    assert_non_null(text);
    memset(text, 'x', size);
    bench b = start(text, size);
    expect_verdict(&b, LINES_BAD);
    assert_int_equal(b.in.line_no, 1);
    assert_true(b.in.bytes_read <= CHUNK);
    stop(&b);
    heap_free(text);
}

static void skipped_lines_are_not_looked_at(void **state)
{
    (void)state;
    bench b = start_text("no tab\n\\q\twrong\n\nc\t3\nlast");
    for (uint64_t i = 1; i <= 3; i++) {
        assert_int_equal(lines_skip(&b.in), LINES_OK);
        assert_int_equal(b.in.line_no, i);
    }
    expect_line(&b, "c", "3");
    assert_int_equal(lines_skip(&b.in), LINES_OK);
    assert_int_equal(lines_skip(&b.in), LINES_END);
    assert_int_equal(b.in.line_no, 5);
    stop(&b);
}

static void long_lines_are_skipped_in_little_memory(void **state)
{
    (void)state;
    const size_t size = 20 * CHUNK;
    uint8_t *text = heap_alloc(size);
    assert_non_null(text);
    memset(text, 'x', size);
    memcpy(text + size - 5, "\na\t1\n", 5);
    bench b = start(text, size);
    assert_int_equal(lines_skip(&b.in), LINES_OK);
    assert_true(b.in.in.capacity <= 2 * CHUNK);
    expect_line(&b, "a", "1");
    stop(&b);
    heap_free(text);
}

static void a_failed_read_names_its_errno(void **state)
{
    (void)state;
    lines in;
    firn_slice k, v;
    lines_init(&in, -1, NULL);
    assert_int_equal(lines_next(&in, &k, &v), LINES_SYSTEM);
    assert_int_equal(in.sys_errno, EBADF);
    lines_release(&in);
}

static void a_stop_ends_the_reading(void **state)
{
    (void)state;
    int asked = 1;
    int fd = file_of("a\t1\n", 4);
    lines in;
    firn_slice k, v;
    lines_init(&in, fd, &asked);
    assert_int_equal(lines_next(&in, &k, &v), LINES_INTERRUPTED);
    assert_int_equal(in.line_no, 0);
    lines_release(&in);
    close(fd);
}

static void running_out_of_memory_is_said(void **state)
{
    (void)state;
    bench b = start_text("a\t1\n");
    firn_slice k, v;
    alloc_fail_at(1);
    lines_verdict verdict = lines_next(&b.in, &k, &v);
    alloc_fail_at(0);
    assert_int_equal(verdict, LINES_NO_MEMORY);
    stop(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_input_has_no_lines),
        cmocka_unit_test(lines_are_cut_at_newlines_and_at_their_first_tab),
        cmocka_unit_test(the_last_newline_may_be_missing),
        cmocka_unit_test(escapes_are_taken_out_of_keys_and_values),
        cmocka_unit_test(a_wrong_line_is_named_by_number_with_its_problem),
        cmocka_unit_test(lines_read_the_same_wherever_chunks_end),
        cmocka_unit_test(long_lines_full_of_escapes_come_back_whole),
        cmocka_unit_test(a_key_of_the_greatest_size_is_taken_and_one_byte_more_is_not),
        cmocka_unit_test(a_line_without_a_tab_is_refused_before_it_fills_the_memory),
        cmocka_unit_test(skipped_lines_are_not_looked_at),
        cmocka_unit_test(long_lines_are_skipped_in_little_memory),
        cmocka_unit_test(a_failed_read_names_its_errno),
        cmocka_unit_test(a_stop_ends_the_reading),
        cmocka_unit_test(running_out_of_memory_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
