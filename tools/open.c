/* open: see open.h. */
#include "open.h"

#include <stdio.h>
#include <string.h>

#include "text.h"

bool open_set(const verb *v, firn_options *options, const char *assignment)
{
    char name[64];
    firn_error error = {0};
    const char *equals = strchr(assignment, '=');
    if (!equals || equals == assignment || (size_t)(equals - assignment) >= sizeof name) {
        fail_usage(v, "--set takes NAME=VALUE, not \"%s\"", assignment);
        return false;
    }
    memcpy(name, assignment, (size_t)(equals - assignment));
    name[equals - assignment] = '\0';
    if (firn_options_set(options, name, equals + 1, &error) == FIRN_OK)
        return true;
    fail_usage(v, "--set %s: %s%s%s", assignment, error.message, error.hint[0] ? "; " : "",
               error.hint);
    return false;
}

int open_to_look(const char *path, const firn_options *options, firn **db)
{
    firn_options o = *options;
    firn_error error = {0};
    o.read_only = true;
    o.create_if_missing = false;
    int rc = firn_open(path, &o, db, &error);
    return rc == FIRN_OK ? EXIT_DONE : fail(rc, &error, path);
}

/* What recovery had to say goes to the user: there is no other log. */
static void on_warning(void *ctx, firn_log_level level, const char *line)
{
    (void)ctx;
    if (level >= FIRN_LOG_WARNING)
        tell_warning(line);
}

int open_to_write(const char *path, const firn_options *options, firn **db)
{
    firn_options o = *options;
    firn_error error = {0};
    o.log = on_warning;
    int rc = firn_open(path, &o, db, &error);
    if (rc == FIRN_NOT_FOUND)
        return fail_text(EXIT_IO, "check the path; `firn load` and `firn put` make a new store",
                         "there is no store in this folder: %s", path);
    return rc == FIRN_OK ? EXIT_DONE : fail(rc, &error, path);
}

int open_close(const char *path, firn *db, int code)
{
    firn_error error = {0};
    int rc = firn_close(db, &error);
    if (rc == FIRN_OK || code != EXIT_DONE)
        return code;
    return fail(rc, &error, path);
}
