/* replace: a file of the user's that is written beside its name and takes the name when it is
 * complete and durable. An older file of that name stays as it was until then.
 *
 * The folder may be one where others can write. So the file gets a random name that is free
 * (O_EXCL, O_NOFOLLOW), and everything happens relative to the one folder that was opened. A link
 * of the target's name is replaced, never followed. SIGINT, SIGTERM and SIGHUP remove the
 * unfinished file before they end the process; one at a time.
 */
#ifndef TOOLS_REPLACE_H
#define TOOLS_REPLACE_H

#include <base/buf.h>

typedef struct replace {
    const char *target; /* borrowed */
    const char *base;   /* its last part */
    int dir, fd;
    char part[32]; /* the name until it is complete */
} replace;

/* EXIT_DONE, or an exit code, the user having been told. Then replace_end must follow. */
int replace_begin(replace *r, const char *target);
/* With EXIT_DONE: syncs, renames, syncs the folder. Else removes what was written. Returns `code`,
 * or that of a failure. */
int replace_end(replace *r, int code);

#endif
