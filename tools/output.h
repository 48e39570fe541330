/* output: a buffered stream of what a verb prints. Failures are kept and told once, by
 * output_finish.
 *
 * A reader that goes away (EPIPE, as in `firn dump DB | head`) is no failure: output_ok turns
 * false, so that the verb stops, and output_finish returns EXIT_DONE.
 */
#ifndef TOOLS_OUTPUT_H
#define TOOLS_OUTPUT_H

#include <base/buf.h>

typedef struct output {
    int fd;
    const char *name;
    buf pending;
    int sys_errno; /* first failure; 0: none */
    bool terminal;
} output;

/* `name` is for messages and borrowed. */
void output_init(output *out, int fd, const char *name);

static inline bool output_ok(const output *out)
{
    return out->sys_errno == 0;
}

/* All of these do nothing when an earlier one failed. */
void output_bytes(output *out, const void *data, size_t size);
void output_text(output *out, const char *text);
void output_format(output *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* As text with escapes (escape.h): for a terminal, more of them. */
void output_escaped(output *out, firn_slice bytes);
/* As output_escaped, at most about `limit` bytes of it, with dots behind a cut. */
void output_shortened(output *out, firn_slice bytes, size_t limit);
/* As it is; on a terminal, made harmless. */
void output_raw(output *out, firn_slice bytes);
/* A line for people that may quote names and keys: made harmless everywhere. */
void output_message(output *out, const char *text);
/* As a string of JSON: every byte outside of printable ASCII as \u00XX, so that any bytes survive.
 */
void output_json(output *out, firn_slice bytes);
void output_flush(output *out);

/* Flushes, frees, and returns EXIT_DONE or EXIT_IO, having told the user. */
int output_finish(output *out);

#endif
