/* open: opening the store that a verb was given, and in it the bucket; and the options that verbs
 * share for that. */
#ifndef TOOLS_OPEN_H
#define TOOLS_OPEN_H

#include <firn/firn.h>

#include "command.h"

/* `--set NAME=VALUE`: an option of the library by name. False when it is wrong, and the user has
 * been told. */
bool open_set(const verb *v, firn_options *options, const char *assignment);

#define OPEN_NAME_MAX ((size_t)FIRN_MAX_BUCKET_NAME)

/* What is to be opened. A bucket that is not there is made under the same condition as the store:
 * options.create_if_missing. */
typedef struct open_wish {
    firn_options options;
    char bucket[OPEN_NAME_MAX + 1]; /* empty: bucket 0, which has no name */
} open_wish;

/* The options of getopt_long that open_take understands; a verb adds its own behind them. */
#define OPEN_SET                                                                                   \
    {                                                                                              \
        "set", required_argument, NULL, 'S'                                                        \
    }
#define OPEN_BUCKET                                                                                \
    {                                                                                              \
        "bucket", required_argument, NULL, 'B'                                                     \
    }
#define OPEN_NO_CREATE                                                                             \
    {                                                                                              \
        "no-create", no_argument, NULL, 'n'                                                        \
    }

#define OPEN_SET_HELP "  --set NAME=VALUE    an option of the store, such as memory=64MiB\n"
#define OPEN_BUCKET_HELP                                                                           \
    "  --bucket NAME       in the bucket of that name, not in the default one\n"

/* `create`: are the store and the bucket made when they are not there? */
void open_wish_init(open_wish *w, bool create);

/* Takes option `c`, with its value in optarg. -1: go on with the next one; else the exit code: of a
 * wrong value, which the user has been told, or of an option that is none of these (args_stop). */
int open_take(const verb *v, open_wish *w, int c);

/* A bucket's name with escapes taken out: 1 to 63 bytes, none of them NUL. False when it is wrong,
 * and the user has been told. */
bool open_take_name(const verb *v, const char *text, char name[OPEN_NAME_MAX + 1]);

/* A bucket's name as messages show it: with escapes, so that it can be given back as it is. */
typedef struct open_shown {
    char s[4 * OPEN_NAME_MAX + 1];
} open_shown;
open_shown open_show(firn_slice name);

typedef struct opened {
    const char *path; /* borrowed */
    firn *store;
    firn *db; /* of the bucket that was wished for. Without one, the store's */
} opened;

/* Opens for looking: nothing in the folder changes, and a writer may have it open. EXIT_DONE and
 * *out, or an exit code, the user having been told: EXIT_NOT_FOUND when there is a store, but no
 * such bucket in it. */
int open_to_look(const char *path, const open_wish *w, opened *out);

/* Opens for writing, making store and bucket when the options allow. */
int open_to_write(const char *path, const open_wish *w, opened *out);

/* A handle of one more bucket of the store, and its end; `code` as for open_close. */
int open_bucket(const opened *o, const char *name, bool create, firn **out);
int open_close_bucket(const opened *o, firn *db, int code);

/* Closes all; the exit code is `code`, or that of closing when `code` is EXIT_DONE. */
int open_close(opened *o, int code);

#endif
