/* sized: see base/sized.h. */
#include <base/error.h>
#include <base/sized.h>
#include <string.h>

/* Every such struct begins with its size, and is aligned like it: no version's struct ends between
 * two of these. */
#define STEP sizeof(size_t)

static size_t size_of(const void *given)
{
    size_t size;
    memcpy(&size, given, sizeof size);
    return size;
}

void sized_init(const sized_kind *kind, void *to, size_t size, const void *defaults)
{
    size_t known = size < kind->size ? size : kind->size;
    if (!to || size < STEP)
        return;
    memcpy(to, defaults, known);
    memset((uint8_t *)to + known, 0, size - known);
    memcpy(to, &size, sizeof size);
}

int sized_check(const sized_kind *kind, const void *given, firn_error *err)
{
    size_t size = size_of(given);
    if (size > kind->size) {
        error_set(err, FIRN_INVALID, "%s have size %zu, and this version of firn knows only %zu",
                  kind->what, size, kind->size);
        error_hint(err,
                   "%s; a program that was compiled for a later version needs that version to run",
                   kind->remedy);
        return FIRN_INVALID;
    }
    if (size < 2 * STEP || size % STEP != 0) {
        error_set(err, FIRN_INVALID, "%s have size %zu, which no version of firn has given them",
                  kind->what, size);
        error_hint(err, "%s", kind->remedy);
        return FIRN_INVALID;
    }
    return FIRN_OK;
}

int sized_take(const sized_kind *kind, const void *given, void *out, firn_error *err)
{
    int rc = sized_check(kind, given, err);
    if (rc != FIRN_OK)
        return rc;
    size_t size = size_of(given);
    memcpy((uint8_t *)out + STEP, (const uint8_t *)given + STEP, size - STEP);
    return FIRN_OK;
}

bool sized_give(const sized_kind *kind, void *given, const void *from, const void *before)
{
    size_t size = size_of(given);
    if (memcmp((const uint8_t *)from + size, (const uint8_t *)before + size, kind->size - size) !=
        0)
        return false;
    memcpy((uint8_t *)given + STEP, (const uint8_t *)from + STEP, size - STEP);
    return true;
}
