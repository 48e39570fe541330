/* escape: see escape.h. */
#include "escape.h"

static bool is_continuation(uint8_t c)
{
    return (c & 0xc0) == 0x80;
}

/* The length of the well-formed UTF-8 character at p, or 0 (the table of Unicode, "Well-Formed
 * UTF-8 Byte Sequences": no overlong forms, no surrogates, nothing above U+10FFFF). */
static size_t utf8_length(const uint8_t *p, size_t available)
{
    uint8_t low = 0x80, high = 0xbf; /* what the second byte may be */
    size_t n;
    if (p[0] < 0x80)
        return 1;
    if (p[0] >= 0xc2 && p[0] <= 0xdf) {
        n = 2;
    } else if (p[0] >= 0xe0 && p[0] <= 0xef) {
        n = 3;
        low = p[0] == 0xe0 ? 0xa0 : low;
        high = p[0] == 0xed ? 0x9f : high;
    } else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
        n = 4;
        low = p[0] == 0xf0 ? 0x90 : low;
        high = p[0] == 0xf4 ? 0x8f : high;
    } else {
        return 0;
    }
    if (available < n || p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++)
        if (!is_continuation(p[i]))
            return 0;
    return n;
}

/* Characters that show nothing of their own but change what is shown around them: they turn the
 * direction of the text, join or split letters, end lines, or are not there at all (Unicode's
 * classes Cf, Zl and Zp, less those that are seen, and the supplementary selectors). */
static bool is_invisible(uint32_t c)
{
    static const struct {
        uint32_t first, last;
    } ranges[] = {
        {0x00ad, 0x00ad},   {0x034f, 0x034f},   {0x061c, 0x061c},   {0x115f, 0x1160},
        {0x17b4, 0x17b5},   {0x180b, 0x180f},   {0x200b, 0x200f},   {0x2028, 0x202e},
        {0x2060, 0x206f},   {0x3164, 0x3164},   {0xfeff, 0xfeff},   {0xffa0, 0xffa0},
        {0xfff0, 0xfffb},   {0x13430, 0x1343f}, {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a},
        {0xe0000, 0xe0fff},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
        if (c >= ranges[i].first && c <= ranges[i].last)
            return true;
    return false;
}

/* The character of n bytes at p, which is well-formed. */
static uint32_t utf8_value(const uint8_t *p, size_t n)
{
    static const uint8_t masks[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t c = p[0] & masks[n];
    for (size_t i = 1; i < n; i++)
        c = c << 6 | (p[i] & 0x3f);
    return c;
}

/* How many bytes from p on stand for themselves as one character; 0: the byte must be escaped. */
static size_t plain_length(const uint8_t *p, size_t available, unsigned what)
{
    if (p[0] == '\\')
        return !(what & ESCAPE_BACKSLASH);
    if (p[0] == '\n' || p[0] == '\t')
        return !(what & ESCAPE_LINES);
    if (p[0] < 0x20 || p[0] == 0x7f)
        return 0;
    if (p[0] < 0x7f)
        return 1;
    if (p[0] == 0xc2 && available > 1 && p[1] < 0xa0)
        return 0; /* U+0080..U+009F, and what is not well-formed */
    size_t n = utf8_length(p, available);
    return n && (what & ESCAPE_INVISIBLE) && is_invisible(utf8_value(p, n)) ? 0 : n;
}

static size_t put_escape(uint8_t c, uint8_t out[4])
{
    static const char digits[] = "0123456789abcdef";
    out[0] = '\\';
    switch (c) {
    case '\t':
        out[1] = 't';
        return 2;
    case '\n':
        out[1] = 'n';
        return 2;
    case '\r':
        out[1] = 'r';
        return 2;
    case '\\':
        out[1] = '\\';
        return 2;
    default:
        out[1] = 'x';
        out[2] = (uint8_t)digits[c >> 4];
        out[3] = (uint8_t)digits[c & 15];
        return 4;
    }
}

int escape_encode(firn_slice bytes, unsigned what, buf *out)
{
    const uint8_t *p = bytes.data;
    size_t i = 0;
    while (i < bytes.size) {
        size_t from = i, n = 0;
        while (i < bytes.size && (n = plain_length(p + i, bytes.size - i, what)) > 0)
            i += n;
        int rc = i > from ? buf_append(out, p + from, i - from) : FIRN_OK;
        if (rc == FIRN_OK && i < bytes.size) {
            uint8_t text[4];
            rc = buf_append(out, text, put_escape(p[i++], text));
        }
        if (rc != FIRN_OK)
            return rc;
    }
    return FIRN_OK;
}

size_t escape_cut(firn_slice bytes, size_t size)
{
    size_t cut = size;
    if (size >= bytes.size)
        return size;
    /* A character has at most three continuation bytes: behind four of them nothing can be split.
     */
    while (cut > 0 && size - cut < 3 && is_continuation(bytes.data[cut]))
        cut--;
    return is_continuation(bytes.data[cut]) || cut == 0 ? size : cut;
}

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

escape_verdict escape_read(firn_slice text, uint8_t *byte, size_t *used)
{
    if (text.size < 2)
        return ESCAPE_MORE;
    *used = 2;
    switch (text.data[1]) {
    case 't':
        *byte = '\t';
        return ESCAPE_OK;
    case 'n':
        *byte = '\n';
        return ESCAPE_OK;
    case 'r':
        *byte = '\r';
        return ESCAPE_OK;
    case '\\':
        *byte = '\\';
        return ESCAPE_OK;
    case 'x':
        break;
    default:
        return ESCAPE_BAD;
    }
    if (text.size > 2 && hex_value(text.data[2]) < 0)
        return ESCAPE_BAD;
    if (text.size < 4)
        return ESCAPE_MORE;
    if (hex_value(text.data[3]) < 0)
        return ESCAPE_BAD;
    *byte = (uint8_t)(hex_value(text.data[2]) << 4 | hex_value(text.data[3]));
    *used = 4;
    return ESCAPE_OK;
}

int escape_decode(firn_slice text, buf *out, size_t *bad)
{
    const uint8_t *p = text.data;
    size_t i = 0;
    while (i < text.size) {
        size_t from = i;
        while (i < text.size && p[i] != '\\')
            i++;
        int rc = i > from ? buf_append(out, p + from, i - from) : FIRN_OK;
        if (rc == FIRN_OK && i < text.size) {
            uint8_t byte;
            size_t used;
            if (escape_read((firn_slice){p + i, text.size - i}, &byte, &used) != ESCAPE_OK) {
                *bad = i;
                return FIRN_INVALID;
            }
            i += used;
            rc = buf_append(out, &byte, 1);
        }
        if (rc != FIRN_OK)
            return rc;
    }
    return FIRN_OK;
}
