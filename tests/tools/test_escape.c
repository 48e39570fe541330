/* The escapes, in both directions (tools/escape.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <base/slice.h>
#include <string.h>

#include "escape.h"
#include "support/rng.h"

static buf encode(firn_slice bytes)
{
    buf out = {0};
    assert_int_equal(escape_encode(bytes, ESCAPE_DATA, &out), FIRN_OK);
    return out;
}

static void expect_text(const void *bytes, size_t size, const char *expected)
{
    buf text = encode(slice_of(bytes, size));
    assert_int_equal(text.size, strlen(expected));
    assert_memory_equal(text.data, expected, text.size);
    buf_release(&text);
}

static void expect_round_trip(firn_slice bytes)
{
    buf text = encode(bytes), back = {0}, again = {0};
    size_t bad;
    for (size_t i = 0; i < text.size; i++)
        assert_true(text.data[i] >= 0x20 && text.data[i] != 0x7f);
    assert_int_equal(escape_decode(buf_slice(&text), &back, &bad), FIRN_OK);
    assert_true(slice_equal(buf_slice(&back), bytes));
    again = encode(buf_slice(&back));
    assert_true(slice_equal(buf_slice(&again), buf_slice(&text)));
    buf_release(&text);
    buf_release(&back);
    buf_release(&again);
}

static void every_single_byte_comes_back(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 256; i++) {
        uint8_t c = (uint8_t)i;
        expect_round_trip(slice_of(&c, 1));
    }
}

static void every_pair_of_bytes_comes_back(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 65536; i++) {
        uint8_t pair[2] = {(uint8_t)(i >> 8), (uint8_t)i};
        expect_round_trip(slice_of(pair, 2));
    }
}

static void random_bytes_come_back(void **state)
{
    (void)state;
    const uint64_t seed = 20;
    rng r = rng_init(seed);
    for (int round = 0; round < 20000; round++) {
        /* Bytes from around the borders of UTF-8's ranges: well-formed sequences come about too. */
        static const uint8_t likely[] = {0x00, 0x41, 0x5c, 0x78, 0x7f, 0x80, 0x8f, 0x90,
                                         0x9f, 0xa0, 0xbf, 0xc1, 0xc2, 0xdf, 0xe0, 0xe2,
                                         0xed, 0xef, 0xf0, 0xf4, 0xf5, 0xff};
        uint8_t bytes[12];
        size_t size = rng_below(&r, sizeof bytes + 1);
        for (size_t i = 0; i < size; i++)
            bytes[i] = likely[rng_below(&r, sizeof likely)];
        expect_round_trip(slice_of(bytes, size));
    }
}

static void readable_text_stays_readable(void **state)
{
    (void)state;
    const char *texts[] = {"",
                           "plain text",
                           "Gr\xc3\xbc\xc3\x9f",
                           "\xe6\xb0\xb7\xe6\xb2\xb3",
                           "\xf0\x9f\x8f\x94",
                           "\xc2\xa0 and \xed\x9f\xbf and \xf4\x8f\xbf\xbf"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        expect_text(texts[i], strlen(texts[i]), texts[i]);
}

static void what_does_not_print_is_escaped(void **state)
{
    (void)state;
    expect_text("a\tb\nc\rd\\e", 9, "a\\tb\\nc\\rd\\\\e");
    expect_text("\0\x01\x1f\x7f", 4, "\\x00\\x01\\x1f\\x7f");
    expect_text("\x1b[31m", 5, "\\x1b[31m");
}

static void what_is_not_utf8_is_escaped(void **state)
{
    (void)state;
    expect_text("\xff", 1, "\\xff");
    expect_text("\xc3", 1, "\\xc3"); /* cut short */
    expect_text("\xc3q", 2, "\\xc3q");
    expect_text("\xc0\xaf", 2, "\\xc0\\xaf");                   /* overlong */
    expect_text("\xe0\x80\xaf", 3, "\\xe0\\x80\\xaf");          /* overlong */
    expect_text("\xed\xa0\x80", 3, "\\xed\\xa0\\x80");          /* a surrogate */
    expect_text("\xf4\x90\x80\x80", 4, "\\xf4\\x90\\x80\\x80"); /* above U+10FFFF */
    expect_text("\xe6\xb0", 2, "\\xe6\\xb0");
}

static void control_characters_of_two_bytes_are_escaped(void **state)
{
    (void)state;
    expect_text("\xc2\x9b"
                "31m",
                5, "\\xc2\\x9b31m");
    expect_text("\xc2\x80\xc2\x9f", 4, "\\xc2\\x80\\xc2\\x9f");
}

static void upper_case_digits_and_needless_escapes_are_read(void **state)
{
    (void)state;
    buf out = {0};
    size_t bad;
    assert_int_equal(escape_decode(slice_of_str("\\x41\\xFf\\xfF\\x5C"), &out, &bad), FIRN_OK);
    assert_int_equal(out.size, 4);
    assert_memory_equal(out.data, "A\xff\xff\\", 4);
    buf_release(&out);
}

static void wrong_escapes_are_refused_where_they_begin(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t bad;
    } cases[] = {{"\\", 0},    {"ab\\", 2},   {"\\q", 0},   {"a\\0", 1},
                 {"\\x", 0},   {"\\x4", 0},   {"\\xg0", 0}, {"ok\\t\\x4g", 4},
                 {"\\X41", 0}, {"\\\\\\", 2}, {"\\ ", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        buf out = {0};
        size_t bad = SIZE_MAX;
        assert_int_equal(escape_decode(slice_of_str(cases[i].text), &out, &bad), FIRN_INVALID);
        assert_int_equal(bad, cases[i].bad);
        buf_release(&out);
    }
}

static void encoding_in_pieces_gives_the_same_text(void **state)
{
    (void)state;
    const uint64_t seed = 21;
    rng r = rng_init(seed);
    for (int round = 0; round < 5000; round++) {
        static const char *const parts[] = {"a",    "\xc3\xbc", "\xe6\xb0\xb7", "\xf0\x9f\x8f\x94",
                                            "\x80", "\xbf\xbf", "\xf0\x9f",     "\\",
                                            "\n"};
        buf bytes = {0}, pieces = {0};
        for (uint64_t n = rng_below(&r, 12); n > 0; n--) {
            const char *part = parts[rng_below(&r, sizeof parts / sizeof parts[0])];
            assert_int_equal(buf_append(&bytes, part, strlen(part)), FIRN_OK);
        }
        buf whole = encode(buf_slice(&bytes));
        firn_slice rest = buf_slice(&bytes);
        while (rest.size > 0) {
            size_t limit = 4 + rng_below(&r, 5);
            size_t n = escape_cut(rest, rest.size < limit ? rest.size : limit);
            assert_true(n > 0 && n <= rest.size);
            assert_int_equal(escape_encode(slice_of(rest.data, n), ESCAPE_DATA, &pieces), FIRN_OK);
            rest = slice_of(rest.data + n, rest.size - n);
        }
        if (!slice_equal(buf_slice(&pieces), buf_slice(&whole)))
            fail_msg("seed %llu, round %d: the pieces give another text", (unsigned long long)seed,
                     round);
        buf_release(&bytes);
        buf_release(&pieces);
        buf_release(&whole);
    }
}

static size_t utf8_of(uint32_t c, uint8_t out[4])
{
    if (c < 0x80) {
        out[0] = (uint8_t)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (uint8_t)(0xc0 | c >> 6);
        out[1] = (uint8_t)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (uint8_t)(0xe0 | c >> 12);
        out[1] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        out[2] = (uint8_t)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (uint8_t)(0xf0 | c >> 18);
    out[1] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
    out[2] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
    out[3] = (uint8_t)(0x80 | (c & 0x3f));
    return 4;
}

static bool is_escaped(uint32_t c, unsigned what)
{
    uint8_t bytes[4];
    buf out = {0}, back = {0};
    size_t bad, n = utf8_of(c, bytes);
    assert_int_equal(escape_encode(slice_of(bytes, n), what, &out), FIRN_OK);
    bool escaped = out.size != n || memcmp(out.data, bytes, n) != 0;
    for (size_t i = 0; escaped && i < out.size; i++)
        assert_true(out.data[i] > 0x20 && out.data[i] < 0x7f);
    if (what & ESCAPE_BACKSLASH) { /* it decodes to what it was */
        assert_int_equal(escape_decode(buf_slice(&out), &back, &bad), FIRN_OK);
        assert_int_equal(back.size, n);
        assert_memory_equal(back.data, bytes, n);
    }
    buf_release(&out);
    buf_release(&back);
    return escaped;
}

/* The ends of each range, and the neighbours that are letters or signs. */
static void ATerminalGetsNothingThatTurnsTheTextOrIsNotSeen(void **state)
{
    (void)state;
    static const uint32_t hidden[] = {0x00ad,  0x061c,  0x180e,  0x200b,  0x200c, 0x200d,  0x200e,
                                      0x200f,  0x2028,  0x2029,  0x202a,  0x202b, 0x202c,  0x202d,
                                      0x202e,  0x2060,  0x2064,  0x2066,  0x2067, 0x2068,  0x2069,
                                      0x206a,  0x206f,  0xfeff,  0xfff9,  0xfffb, 0x1d173, 0x1d17a,
                                      0xe0001, 0xe0020, 0xe007f, 0xe0100, 0xe01ef};
    static const uint32_t seen[] = {0xa0,   0xac,   0xae,   0xe9,    0x61b,   0x61d,  0x5d3,
                                    0x200a, 0x2010, 0x2027, 0x202f,  0x205f,  0x2070, 0xfefe - 0x10,
                                    0xff01, 0xfffd, 0x4e2d, 0x1f600, 0x1d172, 0x1d17b};
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++) {
        if (!is_escaped(hidden[i], ESCAPE_TERMINAL) || !is_escaped(hidden[i], ESCAPE_MESSAGE) ||
            !is_escaped(hidden[i], ESCAPE_SHOWN) || is_escaped(hidden[i], ESCAPE_DATA))
            fail_msg("U+%04X", hidden[i]);
    }
    for (size_t i = 0; i < sizeof seen / sizeof *seen; i++)
        if (is_escaped(seen[i], ESCAPE_TERMINAL))
            fail_msg("U+%04X is escaped", seen[i]);
    for (uint32_t c = 0; c < 0xa0; c++) {
        bool control = c < 0x20 || c >= 0x7f;
        assert_int_equal(is_escaped(c, ESCAPE_TERMINAL), control || c == '\\');
        assert_int_equal(is_escaped(c, ESCAPE_MESSAGE), control);
        assert_int_equal(is_escaped(c, ESCAPE_SHOWN), control && c != '\n' && c != '\t');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ATerminalGetsNothingThatTurnsTheTextOrIsNotSeen),
        cmocka_unit_test(every_single_byte_comes_back),
        cmocka_unit_test(every_pair_of_bytes_comes_back),
        cmocka_unit_test(random_bytes_come_back),
        cmocka_unit_test(readable_text_stays_readable),
        cmocka_unit_test(what_does_not_print_is_escaped),
        cmocka_unit_test(what_is_not_utf8_is_escaped),
        cmocka_unit_test(control_characters_of_two_bytes_are_escaped),
        cmocka_unit_test(upper_case_digits_and_needless_escapes_are_read),
        cmocka_unit_test(wrong_escapes_are_refused_where_they_begin),
        cmocka_unit_test(encoding_in_pieces_gives_the_same_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
