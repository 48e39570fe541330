/* fail: errors, told in one shape, and the exit codes that go with them. */
#include "command.h"

#include <base/slice.h>

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "escape.h"

exit_code exit_code_of(int rc)
{
    switch (rc) {
    case FIRN_OK:
    case FIRN_END:
        return EXIT_DONE;
    case FIRN_DAMAGED:
        return EXIT_DAMAGE;
    case FIRN_LOCKED:
        return EXIT_LOCKED;
    default:
        return EXIT_IO;
    }
}

/* A file's name may hold anything, also what moves the cursor of a terminal or turns the direction
 * of the text: it is shown harmless, on one line, wherever standard error leads. */
static void tell_piece(const char *prefix, const char *text, const char *suffix)
{
    buf line = {0};
    if (escape_encode(slice_of_str(text), ESCAPE_MESSAGE, &line) == FIRN_OK && line.size > 0)
        fprintf(stderr, "%s%.*s%s", prefix, (int)line.size, (const char *)line.data, suffix);
    else
        fprintf(stderr, "%sout of memory%s", prefix,
                suffix); /* rather than a text that may do harm */
    buf_release(&line);
}

static void tell(const char *prefix, const char *text)
{
    tell_piece(prefix, text, "\n");
}

void tell_warning(const char *text)
{
    tell("firn: warning: ", text);
}

void tell_hint(const char *text)
{
    tell("hint: ", text);
}

void tell_question(const char *question, const char *path)
{
    tell_piece("firn: ", path, ": ");
    fprintf(stderr, "%s", question);
    fflush(stderr);
}

int fail(int rc, const firn_error *error, const char *path)
{
    char line[1024], hint[sizeof error->hint];
    firn_error e = *error;
    if (e.message[0] == '\0') {
        /* Not found is an answer that the library does not describe: here it is a failure. */
        e = (firn_error){.status = rc, .offset = FIRN_NO_OFFSET};
        snprintf(e.file, sizeof e.file, "%s", path);
        snprintf(e.message, sizeof e.message, "%s",
                 rc == FIRN_NOT_FOUND ? "there is no store in this folder" : firn_status_name(rc));
        snprintf(e.hint, sizeof e.hint,
                 "check the path; `firn load` and `firn put` make a new store");
    }
    memcpy(hint, e.hint, sizeof hint);
    e.hint[0] = '\0'; /* gets a line of its own */
    firn_error_format(&e, line, sizeof line);
    tell("firn: ", line);
    if (hint[0])
        tell_hint(hint);
    return (int)exit_code_of(rc);
}

int fail_usage(const verb *v, const char *format, ...)
{
    char line[768];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    tell("firn: ", line);
    fprintf(stderr, "usage: firn %s%s%s\n", v->name, v->usage[0] ? " " : "", v->usage);
    fprintf(stderr, "hint: `firn help %s` explains it and gives examples\n", v->name);
    return EXIT_USAGE;
}

int fail_system(const char *what, const char *file, int sys_errno)
{
    char line[768];
    snprintf(line, sizeof line, "%s: %s: %s", what, file, strerror(sys_errno));
    tell("firn: ", line);
    return EXIT_IO;
}

int fail_text(int code, const char *hint, const char *format, ...)
{
    char line[768];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    tell("firn: ", line);
    if (hint)
        tell_hint(hint);
    return code;
}
