/* names: see names.h. */
#include <tree/names.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <wal/wal.h>

#define DIGITS 12

void name_table(uint64_t no, char out[NAME_BYTES])
{
    snprintf(out, NAME_BYTES, "%0*" PRIu64 ".tbl", DIGITS, no);
}

void name_manifest(uint64_t no, bool temporary, char out[NAME_BYTES])
{
    snprintf(out, NAME_BYTES, "%0*" PRIu64 ".manifest%s", DIGITS, no, temporary ? ".new" : "");
}

name_kind name_parse(const char *name, uint64_t *no)
{
    if (strcmp(name, NAME_LOCK) == 0 || strcmp(name, NAME_LOST) == 0)
        return NAME_OTHER;
    if (wal_owns_name(name))
        return NAME_LOG;
    uint64_t value = 0;
    size_t n = 0;
    while (name[n] >= '0' && name[n] <= '9' && n < 19)
        value = value * 10 + (uint64_t)(name[n++] - '0');
    /* Twelve digits with leading zeros, or more without: one spelling a number. */
    if (n < DIGITS || (n > DIGITS && name[0] == '0') || value == 0 ||
        value > FILE_NO_MAX + FILE_NO_SLACK)
        return NAME_FOREIGN;
    *no = value;
    if (strcmp(name + n, ".tbl") == 0)
        return NAME_TABLE;
    if (strcmp(name + n, ".manifest") == 0)
        return NAME_MANIFEST;
    if (strcmp(name + n, ".manifest.new") == 0)
        return NAME_TEMPORARY;
    return NAME_FOREIGN;
}
