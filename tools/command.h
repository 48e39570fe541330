/* command: what the verbs of the `firn` command share. Start reading at the table in command.c.
 *
 * A verb is a function that gets its own arguments and returns an exit code. It prints what was
 * asked for on standard output and everything else on standard error. Single-threaded: nothing here
 * is locked.
 *
 * The command's own streams (standard input and output, the file to load, the file to dump to) are
 * opened with plain system calls: they may be pipes, terminals or devices, which the seam of
 * base/fs.h refuses on purpose. Whatever lies in a store's folder is reached through the library or
 * that seam.
 */
#ifndef TOOLS_COMMAND_H
#define TOOLS_COMMAND_H

#include <firn/types.h>
#include <getopt.h>

typedef enum exit_code {
    EXIT_DONE = 0,
    EXIT_NOT_FOUND = 1,
    EXIT_USAGE = 2,
    EXIT_IO = 3, /* the system, the input, or anything else that is neither usage nor damage */
    EXIT_DAMAGE = 4,
    EXIT_LOCKED = 5,
    /* check, repair: nothing is known to be damaged, but the end of the log may lack acknowledged
     * writes */
    EXIT_DOUBT = 6,
    EXIT_INTERRUPTED = 130,
    EXIT_TERMINATED = 143,
} exit_code;

typedef struct verb verb;
struct verb {
    const char *name;
    const char *usage;   /* the arguments, after "firn NAME" */
    const char *summary; /* one line */
    const char *help;    /* options, explanation, examples; ends with a newline */
    int (*run)(const verb *v, int argc, char **argv); /* argv[0] is the verb */
};

extern const verb verb_load, verb_get, verb_put, verb_del, verb_scan, verb_count, verb_dump,
    verb_buckets, verb_stat, verb_wal, verb_check, verb_repair, verb_lost, verb_flush, verb_compact,
    verb_drop, verb_destroy;

int command_run(int argc, char **argv);

/* The verb that the user probably meant, or NULL when none is near. */
const char *command_nearest(const char *word);

/* ---- Arguments ---- */

/* The next option as getopt_long returns it; -1 behind the last one; ARG_HELP when help was asked
 * for and has been printed; ARG_WRONG when the option is wrong and the user has been told. Every
 * verb knows -h and
 * --help without listing them. `longs` ends with a zero entry. */
enum { ARG_HELP = 0x10000, ARG_WRONG };
int args_next(const verb *v, int argc, char **argv, const char *shorts, const struct option *longs);

/* For the switch over args_next: the exit code of ARG_HELP and ARG_WRONG. */
int args_stop(int c);

/* Are there between `min` and `max` arguments left from optind on? Tells the user when not. */
bool args_count(const verb *v, int argc, int min, int max);

/* Decimal numbers. Tells the user when `text` is none, or outside of [min, max]. */
bool args_number(const verb *v, const char *option, const char *text, uint64_t min, uint64_t max,
                 uint64_t *out);

/* ---- Telling what went wrong: one line "firn: ...", then "hint: ..." ---- */

/* Prints `error`, which came with `rc`, and returns the exit code for it. An error that was not
 * filled in (a folder that is not there) is described with `path`. */
int fail(int rc, const firn_error *error, const char *path);
/* A wrong command line: EXIT_USAGE. */
int fail_usage(const verb *v, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A failed system call on one of the command's own streams: EXIT_IO. */
int fail_system(const char *what, const char *file, int sys_errno);
/* A line that is no failure. */
void tell_warning(const char *text);
void tell_hint(const char *text);
/* "firn: PATH: QUESTION", without a line's end. */
void tell_question(const char *question, const char *path);
/* Anything else. `hint` NULL: none. */
int fail_text(int code, const char *hint, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

exit_code exit_code_of(int rc);

#endif
