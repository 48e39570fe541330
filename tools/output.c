/* output: see output.h. */
#include "output.h"

#include <base/slice.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "escape.h"

#define FLUSH_BYTES ((size_t)64 << 10)
#define PIECE_BYTES ((size_t)16 << 10)

void output_init(output *out, int fd, const char *name)
{
    *out = (output){.fd = fd, .name = name, .terminal = isatty(fd) == 1};
}

void output_flush(output *out)
{
    size_t done = 0;
    while (output_ok(out) && done < out->pending.size) {
        ssize_t n = write(out->fd, out->pending.data + done, out->pending.size - done);
        if (n >= 0)
            done += (size_t)n;
        else if (errno != EINTR)
            out->sys_errno = errno;
    }
    buf_clear(&out->pending);
}

static void added(output *out, int rc)
{
    if (rc != FIRN_OK)
        out->sys_errno = ENOMEM;
    else if (out->pending.size >= FLUSH_BYTES)
        output_flush(out);
}

void output_bytes(output *out, const void *data, size_t size)
{
    for (const uint8_t *p = data; output_ok(out) && size > 0;) {
        size_t n = size < FLUSH_BYTES ? size : FLUSH_BYTES;
        added(out, buf_append(&out->pending, p, n));
        p += n;
        size -= n;
    }
}

void output_text(output *out, const char *text)
{
    output_bytes(out, text, strlen(text));
}

void output_format(output *out, const char *format, ...)
{
    char line[1024];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (n > 0)
        output_bytes(out, line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
}

static void encode(output *out, firn_slice bytes, unsigned what)
{
    while (output_ok(out) && bytes.size > 0) {
        size_t n = escape_cut(bytes, bytes.size < PIECE_BYTES ? bytes.size : PIECE_BYTES);
        added(out, escape_encode((firn_slice){bytes.data, n}, what, &out->pending));
        bytes.data += n;
        bytes.size -= n;
    }
}

void output_escaped(output *out, firn_slice bytes)
{
    encode(out, bytes, out->terminal ? ESCAPE_TERMINAL : ESCAPE_DATA);
}

void output_raw(output *out, firn_slice bytes)
{
    if (out->terminal)
        encode(out, bytes, ESCAPE_SHOWN);
    else
        output_bytes(out, bytes.data, bytes.size);
}

void output_message(output *out, const char *text)
{
    encode(out, slice_of_str(text), ESCAPE_MESSAGE);
}

void output_shortened(output *out, firn_slice bytes, size_t limit)
{
    if (bytes.size <= limit) {
        output_escaped(out, bytes);
        return;
    }
    output_escaped(out, (firn_slice){bytes.data, escape_cut(bytes, limit)});
    output_text(out, "...");
}

void output_json(output *out, firn_slice bytes)
{
    output_text(out, "\"");
    for (size_t i = 0; i < bytes.size && output_ok(out); i++) {
        uint8_t c = bytes.data[i];
        if (c < 0x20 || c > 0x7e || c == '"' || c == '\\')
            output_format(out, "\\u%04x", c);
        else
            output_bytes(out, &c, 1);
    }
    output_text(out, "\"");
}

int output_finish(output *out)
{
    output_flush(out);
    buf_release(&out->pending);
    if (output_ok(out) || out->sys_errno == EPIPE)
        return EXIT_DONE;
    return fail_system("cannot write", out->name, out->sys_errno);
}
