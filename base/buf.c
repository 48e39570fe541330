/* buf: a growable byte buffer (include/base/buf.h). Grows by doubling, so that appending n bytes
 * one at a time copies O(n). */
#include <base/alloc.h>
#include <base/buf.h>

#include <assert.h>
#include <string.h>

#define SMALLEST_CAPACITY 64

void buf_release(buf *b)
{
    heap_free(b->data);
    *b = (buf){0};
}

int buf_reserve(buf *b, size_t more)
{
    assert(b->size <= b->capacity);
    if (more <= b->capacity - b->size)
        return FIRN_OK;
    if (more > SIZE_MAX / 2 - b->size)
        return FIRN_NO_MEMORY;
    size_t needed = b->size + more;
    size_t capacity = b->capacity ? b->capacity : SMALLEST_CAPACITY;
    while (capacity < needed)
        capacity *= 2; /* needed <= SIZE_MAX / 2: cannot wrap */
    uint8_t *data = heap_realloc(b->data, capacity);
    if (!data)
        return FIRN_NO_MEMORY;
    b->data = data;
    b->capacity = capacity;
    return FIRN_OK;
}

void buf_fit(buf *b)
{
    if (b->size == 0) {
        buf_release(b);
        return;
    }
    uint8_t *data = heap_realloc(b->data, b->size);
    if (!data)
        return;
    b->data = data;
    b->capacity = b->size;
}

/* Growing moves the bytes: what is appended must not be a part of the buffer. */
__attribute__((unused)) /* in builds without assertions */
static bool
is_outside(const buf *b, const void *data)
{
    uintptr_t p = (uintptr_t)data;
    uintptr_t start = (uintptr_t)b->data;
    return p < start || p >= start + b->capacity;
}

int buf_append(buf *b, const void *data, size_t size)
{
    assert(size == 0 || is_outside(b, data));
    int rc = buf_reserve(b, size);
    if (rc != FIRN_OK)
        return rc;
    if (size > 0)
        memcpy(b->data + b->size, data, size);
    b->size += size;
    return FIRN_OK;
}

int buf_assign(buf *b, const void *data, size_t size)
{
    assert(size == 0 || is_outside(b, data));
    if (size > b->size) {
        int rc = buf_reserve(b, size - b->size);
        if (rc != FIRN_OK)
            return rc;
    }
    if (size > 0)
        memcpy(b->data, data, size);
    b->size = size;
    return FIRN_OK;
}
