/* open: opening the store that a verb was given, and the options that every verb takes for it. */
#ifndef TOOLS_OPEN_H
#define TOOLS_OPEN_H

#include <firn/firn.h>

#include "command.h"

/* `--set NAME=VALUE`: an option of the library by name. False when it is wrong, and the user has
 * been told. */
bool open_set(const verb *v, firn_options *options, const char *assignment);

/* Opens for looking: nothing in the folder changes, and a writer may have it open. EXIT_DONE and
 * *db, or an exit code, the user having been told. */
int open_to_look(const char *path, const firn_options *options, firn **db);

/* Opens for writing, making the store when the options allow. */
int open_to_write(const char *path, const firn_options *options, firn **db);

/* Closes; the exit code is `code`, or that of closing when `code` is EXIT_DONE. */
int open_close(const char *path, firn *db, int code);

#endif
