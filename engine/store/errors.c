/* errors: a handle that is no good, and what the store says of damage and to its log. */
#include <base/error.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <store/store.h>

int store_refuse(const tree *handle, firn_error *err)
{
    if (!handle)
        return error_set(err, FIRN_INVALID, "the store handle is NULL");
    error_set(err, FIRN_INVALID,
              "the store was opened before fork and cannot be used in the child");
    error_hint(err, "open the store in the child after the parent has closed it");
    return FIRN_INVALID;
}

int store_read_only(firn_error *err)
{
    error_set(err, FIRN_READ_ONLY, "the store was opened for reading only");
    error_hint(err, "open it without read_only");
    return FIRN_READ_ONLY;
}

int store_hint_repair(int rc, firn_error *err)
{
    char hint[sizeof err->hint];
    if (rc != FIRN_DAMAGED || !err || strstr(err->hint, "repair"))
        return rc;
    size_t room = sizeof hint - sizeof HINT_REPAIR;
    snprintf(hint, sizeof hint, "%.*s", (int)room, err->hint[0] ? err->hint : "restore a backup");
    error_hint(err, "%s" HINT_REPAIR, hint);
    return rc;
}

void store_log(store *db, firn_log_level lvl, const char *format, ...)
{
    if (!db->options.log)
        return;
    char line[512];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    db->options.log(db->options.log_ctx, lvl, line);
}
