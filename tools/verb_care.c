/* verb_care: flush, compact, destroy: what is done to a store as a whole. */
#include <firn/firn.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bounds.h"
#include "command.h"
#include "open.h"

/* ---- flush and compact ---- */

/* Both take an option of the store, and compact a range. EXIT_DONE, or an exit code. */
static int take_arguments(const verb *v, int argc, char **argv, const struct option *longs,
                          firn_options *options, bounds *range)
{
    int c;
    firn_options_init(options);
    options->create_if_missing = false;
    while ((c = args_next(v, argc, argv, "", longs)) != -1) {
        if (c == 'S') {
            if (!open_set(v, options, optarg))
                return EXIT_USAGE;
        } else if (c == 'f' || c == 't') {
            if (!bounds_take(v, range, c, optarg))
                return EXIT_USAGE;
        } else {
            return args_stop(c) == EXIT_DONE ? -1 : EXIT_USAGE;
        }
    }
    return args_count(v, argc, 1, 1) ? EXIT_DONE : EXIT_USAGE;
}

static int run_flush(const verb *v, int argc, char **argv)
{
    static const struct option longs[] = {{"set", required_argument, NULL, 'S'}, {0}};
    firn_options options;
    firn_error error = {0};
    firn *db = NULL;
    int code = take_arguments(v, argc, argv, longs, &options, NULL);
    if (code != EXIT_DONE)
        return code < 0 ? EXIT_DONE : code;
    const char *path = argv[optind];
    code = open_to_write(path, &options, &db);
    if (code != EXIT_DONE)
        return code;
    int rc = firn_flush(db, &error);
    return open_close(path, db, rc == FIRN_OK ? EXIT_DONE : fail(rc, &error, path));
}

const verb verb_flush = {
    .name = "flush",
    .usage = "DB",
    .summary = "move what is in the log to a table",
    .help = "Writes what only the log holds to a table, and gives that part of the log up. Opening "
            "the\n"
            "store is then quick. The store must not be open elsewhere.\n"
            "\n"
            "options:\n"
            "  --set NAME=VALUE    an option of the store, such as memory=64MiB\n"
            "\n"
            "examples:\n"
            "  firn flush packages\n",
    .run = run_flush,
};

static int compact(firn *db, const char *path, const bounds *range)
{
    firn_error error = {0};
    firn_slice from = bounds_from(range), to = bounds_to(range);
    int rc = firn_compact(db, from.data, from.size, to.data, to.size, &error);
    return rc == FIRN_OK ? EXIT_DONE : fail(rc, &error, path);
}

static int run_compact(const verb *v, int argc, char **argv)
{
    static const struct option longs[] = {{"from", required_argument, NULL, 'f'},
                                          {"to", required_argument, NULL, 't'},
                                          {"set", required_argument, NULL, 'S'},
                                          {0}};
    firn_options options;
    firn *db = NULL;
    bounds range;
    bounds_init(&range);
    int code = take_arguments(v, argc, argv, longs, &options, &range);
    if (code == EXIT_DONE) {
        const char *path = argv[optind];
        code = open_to_write(path, &options, &db);
        if (code == EXIT_DONE)
            code = open_close(path, db, compact(db, path, &range));
    } else if (code < 0) {
        code = EXIT_DONE;
    }
    bounds_release(&range);
    return code;
}

const verb verb_compact = {
    .name = "compact",
    .usage = "DB [--from KEY] [--to KEY]",
    .summary = "merge the tables into the last level",
    .help =
        "Flushes, then merges all tables, or those with keys of the range, down to the last level\n"
        "that holds any of it. What was deleted or replaced gives its room back, but for what lies "
        "in that\n"
        "level already: it stays as it is. Needs room for the merged tables beside the old ones. "
        "The store\n"
        "must not be open elsewhere.\n"
        "\n"
        "options:\n"
        "  --from KEY          begin with this key\n"
        "  --to KEY            end with this key\n"
        "  --set NAME=VALUE    an option of the store, such as compression=zlib\n"
        "\n"
        "examples:\n"
        "  firn compact packages\n"
        "  firn compact photos --from 2025/ --to 2026/\n",
    .run = run_compact,
};

/* ---- destroy ---- */

/* Only a person at a terminal can be asked. */
static bool is_wanted(const char *path)
{
    char answer[16];
    tell_question("remove this store for good? Type yes: ", path);
    if (!fgets(answer, sizeof answer, stdin))
        return false;
    return strcmp(answer, "yes\n") == 0;
}

static int run_destroy(const verb *v, int argc, char **argv)
{
    static const struct option longs[] = {{"yes", no_argument, NULL, 'y'}, {0}};
    firn_error error = {0};
    bool sure = false;
    int c;
    while ((c = args_next(v, argc, argv, "", longs)) != -1) {
        if (c != 'y')
            return args_stop(c);
        sure = true;
    }
    if (!args_count(v, argc, 1, 1))
        return EXIT_USAGE;
    const char *path = argv[optind];
    if (!sure && !isatty(STDIN_FILENO))
        return fail_usage(v, "`firn destroy` asks a person at a terminal, or needs --yes");
    if (!sure && !is_wanted(path))
        return fail_text(EXIT_USAGE, "only the answer yes removes a store",
                         "nothing was removed: %s", path);
    int rc = firn_destroy(path, &error);
    if (rc != FIRN_OK)
        return fail(rc, &error, path);
    if (access(path, F_OK) == 0) {
        char line[4200];
        snprintf(line, sizeof line,
                 "the store is gone; the folder stays, since other files are in it or it cannot be "
                 "removed: %s",
                 path);
        tell_warning(line);
    }
    return EXIT_DONE;
}

const verb verb_destroy = {
    .name = "destroy",
    .usage = "DB --yes",
    .summary = "remove a store for good",
    .help = "Removes every file of the store, those in DB/lost too, and the folder when nothing "
            "else is in\n"
            "it. Files of other names stay. A folder in which no file begins as firn's do is not "
            "touched,\n"
            "nor is a store that a writer has open. Without --yes it asks, at a terminal.\n"
            "\n"
            "options:\n"
            "  --yes               do not ask\n"
            "\n"
            "examples:\n"
            "  firn destroy fruits --yes\n",
    .run = run_destroy,
};
