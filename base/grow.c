/* grow: see base/grow.h. */
#include <base/grow.h>

#include <base/alloc.h>
#include <base/error.h>
#include <string.h>

int array_double(void *array, size_t *capacity, size_t element_bytes, firn_error *err)
{
    void *old, *grown = NULL;
    size_t wanted = *capacity ? *capacity * 2 : ARRAY_FIRST;
    /* Pointers to objects of all types look alike: POSIX wants them to. */
    memcpy(&old, array, sizeof old);
    if (*capacity <= SIZE_MAX / 2 / element_bytes)
        grown = heap_realloc(old, wanted * element_bytes);
    if (!grown && !err)
        return FIRN_NO_MEMORY; /* the caller describes it (error_no_memory) */
    if (!grown)
        return error_no_memory(err);
    memcpy(array, &grown, sizeof grown);
    *capacity = wanted;
    return FIRN_OK;
}
