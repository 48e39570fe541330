/* verb_care: flush, compact, drop, destroy: what is done to a store, or a bucket, as a whole. */
#include <base/slice.h>
#include <firn/firn.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bounds.h"
#include "command.h"
#include "open.h"

/* ---- flush and compact ---- */

/* -1 to go on, or an exit code. `range`: where the verb takes one. */
static int take_arguments(const verb *v, int argc, char **argv, const struct option *longs,
                          open_wish *wish, bounds *range)
{
    int c, code;
    open_wish_init(wish, false);
    while ((c = args_next(v, argc, argv, "", longs)) != -1) {
        if (c == 'f' || c == 't') {
            if (!bounds_take(v, range, c, optarg))
                return EXIT_USAGE;
        } else if ((code = open_take(v, wish, c)) != -1) {
            return code;
        }
    }
    return args_count(v, argc, 1, 1) ? -1 : EXIT_USAGE;
}

static int run_flush(const verb *v, int argc, char **argv)
{
    static const struct option longs[] = {OPEN_SET, {0}};
    open_wish wish;
    opened o;
    firn_error error = {0};
    int code = take_arguments(v, argc, argv, longs, &wish, NULL);
    if (code != -1)
        return code;
    code = open_to_write(argv[optind], &wish, &o);
    if (code != EXIT_DONE)
        return code;
    int rc = firn_flush(o.store, &error);
    return open_close(&o, rc == FIRN_OK ? EXIT_DONE : fail(rc, &error, o.path));
}

const verb verb_flush = {
    .name = "flush",
    .usage = "DB",
    .summary = "move what is in the log to a table",
    .help = "Writes what only the log holds to a table, and gives that part of the log up. Opening "
            "the\n"
            "store is then quick. The store must not be open elsewhere.\n"
            "\n"
            "options:\n" OPEN_SET_HELP "\n"
            "examples:\n"
            "  firn flush packages\n",
    .run = run_flush,
};

static int compact(const opened *o, firn *db, const bounds *range)
{
    firn_error error = {0};
    firn_slice from = bounds_from(range), to = bounds_to(range);
    int rc = firn_compact(db, from.data, from.size, to.data, to.size, &error);
    return rc == FIRN_OK ? EXIT_DONE : fail(rc, &error, o->path);
}

/* Each bucket that has a name. */
static int compact_named(const opened *o, const bounds *range)
{
    char name[OPEN_NAME_MAX + 1] = "";
    firn_error error = {0};
    int rc, code = EXIT_DONE;
    while ((rc = firn_bucket_next(o->store, name, name, sizeof name, &error)) == FIRN_OK) {
        firn *db = NULL;
        code = open_bucket(o, name, false, &db);
        if (code == EXIT_DONE)
            code = open_close_bucket(o, db, compact(o, db, range));
        if (code != EXIT_DONE)
            return code;
    }
    return rc == FIRN_END ? EXIT_DONE : fail(rc, &error, o->path);
}

static int run_compact(const verb *v, int argc, char **argv)
{
    static const struct option longs[] = {{"from", required_argument, NULL, 'f'},
                                          {"to", required_argument, NULL, 't'},
                                          OPEN_BUCKET,
                                          OPEN_SET,
                                          {0}};
    open_wish wish;
    opened o;
    bounds range;
    bounds_init(&range);
    int code = take_arguments(v, argc, argv, longs, &wish, &range);
    if (code == -1) {
        code = open_to_write(argv[optind], &wish, &o);
        if (code == EXIT_DONE) {
            code = compact(&o, o.db, &range);
            if (code == EXIT_DONE && o.db == o.store)
                code = compact_named(&o, &range);
            code = open_close(&o, code);
        }
    }
    bounds_release(&range);
    return code;
}

const verb verb_compact = {
    .name = "compact",
    .usage = "DB [--from KEY] [--to KEY] [--bucket NAME]",
    .summary = "merge the tables into the last level",
    .help =
        "Flushes, then merges all tables, or those with keys of the range, down to the last level\n"
        "that holds any of it: in each bucket, one after the other. What was deleted or replaced\n"
        "gives its room back, but for what lies in that level already: it stays as it is. Needs\n"
        "room for the merged tables beside the old ones. The store must not be open elsewhere.\n"
        "\n"
        "options:\n"
        "  --from KEY          begin with this key\n"
        "  --to KEY            end with this key\n"
        "  --bucket NAME       only the bucket of that name\n"
        "  --set NAME=VALUE    an option of the store, such as compression=zlib\n"
        "\n"
        "examples:\n"
        "  firn compact packages\n"
        "  firn compact photos --from 2025/ --to 2026/\n"
        "  firn compact fruits --bucket vegetables\n",
    .run = run_compact,
};

/* ---- drop and destroy ---- */

/* Only a person at a terminal can be asked. */
static bool is_wanted(const char *path, const char *question)
{
    char answer[16];
    tell_question(question, path);
    if (!fgets(answer, sizeof answer, stdin))
        return false;
    return strcmp(answer, "yes\n") == 0;
}

/* Reads the options of both, and counts the arguments. -1 to go on, or an exit code. */
static int take_sure(const verb *v, int argc, char **argv, int count, open_wish *wish, bool *sure)
{
    static const struct option yes[] = {{"yes", no_argument, NULL, 'y'}, {0}},
                               both[] = {{"yes", no_argument, NULL, 'y'},
                                         {"set", required_argument, NULL, 'S'},
                                         {0}};
    int c, code;
    *sure = false;
    while ((c = args_next(v, argc, argv, "", wish ? both : yes)) != -1) {
        if (c == 'y')
            *sure = true;
        else if ((code = wish ? open_take(v, wish, c) : args_stop(c)) != -1)
            return code;
    }
    return args_count(v, argc, count, count) ? -1 : EXIT_USAGE;
}

/* -1 to go on, or an exit code. */
static int ask(const verb *v, bool sure, const char *path, const char *question)
{
    if (sure)
        return -1;
    if (!isatty(STDIN_FILENO))
        return fail_usage(v, "`firn %s` asks a person at a terminal, or needs --yes", v->name);
    if (is_wanted(path, question))
        return -1;
    return fail_text(EXIT_USAGE, "only the answer yes removes it", "nothing was removed: %s", path);
}

static int run_drop(const verb *v, int argc, char **argv)
{
    char question[64 + sizeof(open_shown)];
    firn_error error = {0};
    open_wish wish;
    opened o;
    bool sure;
    open_wish_init(&wish, false);
    int code = take_sure(v, argc, argv, 2, &wish, &sure);
    if (code != -1)
        return code;
    if (!open_take_name(v, argv[optind + 1], wish.bucket))
        return EXIT_USAGE;
    snprintf(question, sizeof question,
             "remove the bucket %s for good? Type yes: ", open_show(slice_of_str(wish.bucket)).s);
    code = ask(v, sure, argv[optind], question);
    if (code == -1)
        code = open_to_write(argv[optind], &wish, &o);
    if (code != EXIT_DONE)
        return code;
    int rc = firn_bucket_drop(o.db, &error);
    return open_close(&o, rc == FIRN_OK ? EXIT_DONE : fail(rc, &error, o.path));
}

const verb verb_drop = {
    .name = "drop",
    .usage = "DB NAME --yes [--set NAME=VALUE]",
    .summary = "remove a bucket for good",
    .help = "Removes the bucket of that name and all keys in it. Without --yes it asks, at a "
            "terminal. The\n"
            "store must not be open elsewhere. Exit code 1 when there is no such bucket.\n"
            "\n"
            "options:\n"
            "  --yes               do not ask\n" OPEN_SET_HELP "\n"
            "examples:\n"
            "  firn drop fruits vegetables --yes\n",
    .run = run_drop,
};

static int run_destroy(const verb *v, int argc, char **argv)
{
    firn_error error = {0};
    bool sure;
    int code = take_sure(v, argc, argv, 1, NULL, &sure);
    if (code != -1)
        return code;
    const char *path = argv[optind];
    code = ask(v, sure, path, "remove this store for good? Type yes: ");
    if (code != -1)
        return code;
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
