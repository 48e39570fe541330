/* lines: see lines.h.
 *
 * A line is decoded in place: decoded bytes are never more than their text, so they can be written
 * over the text that has been read. `decode` keeps two positions in the buffer: what it has read
 * and what it has written. When the input runs out in the middle of a line, the gap between the two
 * is closed and more is read behind.
 */
#include "lines.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "escape.h"

#define CHUNK_BYTES ((size_t)256 << 10)

void lines_init(lines *in, int fd, const volatile int *stop)
{
    *in = (lines){.fd = fd, .stop = stop};
}

void lines_release(lines *in)
{
    buf_release(&in->in);
}

static lines_verdict fail_with(lines *in, lines_verdict verdict)
{
    in->failed = verdict;
    return verdict;
}

/* Reads more behind `in.size`. LINES_OK, also at the end of the input (at_end is then set). */
static lines_verdict fill(lines *in)
{
    if (buf_reserve(&in->in, CHUNK_BYTES) != FIRN_OK)
        return fail_with(in, LINES_NO_MEMORY);
    for (;;) {
        if (in->stop && *in->stop)
            return fail_with(in, LINES_INTERRUPTED);
        ssize_t n = read(in->fd, in->in.data + in->in.size, CHUNK_BYTES);
        if (n > 0) {
            in->in.size += (size_t)n;
            in->bytes_read += (uint64_t)n;
            return LINES_OK;
        }
        if (n == 0) {
            in->at_end = true;
            return LINES_OK;
        }
        if (errno != EINTR) {
            in->sys_errno = errno;
            return fail_with(in, LINES_SYSTEM);
        }
    }
}

/* A line in the making. All positions are offsets in the buffer; the line begins at `start`. */
typedef struct decoding {
    size_t read;    /* next byte to look at */
    size_t written; /* end of the decoded bytes */
    size_t key_end; /* SIZE_MAX: no tab yet */
} decoding;

#define NO_KEY SIZE_MAX

/* Closes the gap between decoded and unread bytes, and moves the line to the front of the buffer.
 */
static void compact(lines *in, decoding *d)
{
    uint8_t *p = in->in.data;
    size_t decoded = d->written - in->start, rest = in->in.size - d->read;
    if (decoded > 0)
        memmove(p, p + in->start, decoded);
    if (rest > 0)
        memmove(p + decoded, p + d->read, rest);
    if (d->key_end != NO_KEY)
        d->key_end -= in->start;
    in->start = 0;
    in->in.size = decoded + rest;
    d->read = d->written = decoded;
}

static lines_verdict bad(lines *in, const char *problem, const char *remedy)
{
    snprintf(in->problem, sizeof in->problem, "%s", problem);
    snprintf(in->remedy, sizeof in->remedy, "%s", remedy);
    return fail_with(in, LINES_BAD);
}

static lines_verdict check_limits(lines *in, const decoding *d)
{
    size_t key_end = d->key_end == NO_KEY ? d->written : d->key_end;
    if (key_end - in->start > FIRN_MAX_KEY_BYTES) {
        if (d->key_end == NO_KEY)
            return bad(in, "no tab within the first 65,535 bytes, the most a key may have",
                       "a line is KEY<TAB>VALUE; shorten the key");
        return bad(in, "the key is longer than 65,535 bytes", "shorten the key");
    }
    if (d->key_end != NO_KEY && d->written - d->key_end > FIRN_MAX_VALUE_BYTES)
        return bad(in, "the value is longer than 256 MiB", "split the value over several keys");
    return LINES_OK;
}

static lines_verdict bad_escape(lines *in, const uint8_t *p)
{
    if (p[1] == 'x')
        return bad(in, "\\x is not followed by two hexadecimal digits",
                   "write a backslash that means itself as \\\\");
    if (p[1] > 0x20 && p[1] < 0x7f) {
        char text[64];
        snprintf(text, sizeof text, "\\%c is no escape", p[1]);
        return bad(in, text,
                   "write \\t \\n \\r \\\\ or \\xHH; a backslash that means itself is \\\\");
    }
    return bad(in, "a backslash that begins no escape",
               "write \\t \\n \\r \\\\ or \\xHH; a backslash that means itself is \\\\");
}

static bool is_plain(uint8_t c)
{
    return c != '\\' && c != '\n' && c != '\t';
}

/* Decodes until the line is complete (*complete) or what has been read is used up. */
static lines_verdict decode(lines *in, decoding *d, bool *complete)
{
    uint8_t *p = in->in.data;
    const size_t end = in->in.size;
    while (d->read < end) {
        size_t from = d->read;
        while (d->read < end && is_plain(p[d->read]))
            d->read++;
        if (d->written != from && d->read > from)
            memmove(p + d->written, p + from, d->read - from);
        d->written += d->read - from;
        if (d->read == end)
            break;
        if (p[d->read] == '\n') {
            *complete = true;
            return LINES_OK;
        }
        if (p[d->read] == '\t') {
            if (d->key_end == NO_KEY)
                d->key_end = d->written;
            else
                p[d->written++] = '\t'; /* only the first one separates */
            d->read++;
            continue;
        }
        size_t used = 0;
        uint8_t byte = 0;
        switch (escape_read((firn_slice){p + d->read, end - d->read}, &byte, &used)) {
        case ESCAPE_OK:
            p[d->written++] = byte;
            d->read += used;
            break;
        case ESCAPE_MORE:
            return LINES_OK;
        case ESCAPE_BAD:
            return bad_escape(in, p + d->read);
        }
    }
    return LINES_OK;
}

/* The line's text is used up at the end of the input, where the last newline may be missing. */
static lines_verdict finish_at_end(lines *in, const decoding *d)
{
    if (d->read < in->in.size)
        return bad(in, "the input ends in the middle of an escape", "is the file complete?");
    return LINES_OK;
}

lines_verdict lines_next(lines *in, firn_slice *key, firn_slice *value)
{
    decoding d = {in->start, in->start, NO_KEY};
    bool complete = false;
    lines_verdict verdict = in->failed;
    if (verdict != LINES_OK)
        return verdict;
    in->line_no++;
    for (;;) {
        verdict = decode(in, &d, &complete);
        if (verdict == LINES_OK)
            verdict = check_limits(in, &d);
        if (verdict != LINES_OK)
            return verdict;
        if (complete)
            break;
        if (in->at_end) {
            if (d.read == in->start) {
                in->line_no--;
                return LINES_END;
            }
            verdict = finish_at_end(in, &d);
            if (verdict != LINES_OK)
                return verdict;
            break;
        }
        compact(in, &d);
        verdict = fill(in);
        if (verdict != LINES_OK) {
            in->line_no--;
            return verdict;
        }
    }
    if (d.key_end == NO_KEY)
        return bad(in, "no tab", "a line is KEY<TAB>VALUE; an empty value still needs its tab");
    *key = (firn_slice){in->in.data + in->start, d.key_end - in->start};
    *value = (firn_slice){in->in.data + d.key_end, d.written - d.key_end};
    in->start = d.read + (complete ? 1 : 0);
    return LINES_OK;
}

lines_verdict lines_skip(lines *in)
{
    bool any = false;
    if (in->failed != LINES_OK)
        return in->failed;
    for (;;) {
        size_t rest = in->in.size - in->start;
        const uint8_t *from = rest > 0 ? in->in.data + in->start : NULL;
        const uint8_t *newline = rest > 0 ? memchr(from, '\n', rest) : NULL;
        any = any || rest > 0;
        if (newline || (in->at_end && any)) {
            in->start = newline ? in->start + (size_t)(newline - from) + 1 : in->in.size;
            in->line_no++;
            return LINES_OK;
        }
        if (in->at_end)
            return LINES_END;
        in->start = 0;
        buf_clear(&in->in);
        lines_verdict verdict = fill(in);
        if (verdict != LINES_OK)
            return verdict;
    }
}
