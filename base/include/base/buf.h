/* buf: a growable byte buffer with one owner. All-zero is the empty buffer; release makes it so
 * again. Not thread-safe. Growth that fails returns FIRN_NO_MEMORY and leaves the buffer as it
 * was. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <firn/types.h>

typedef struct buf {
    uint8_t *data;
    size_t size;
    size_t capacity;
} buf;

void buf_release(buf *b);
static inline void buf_clear(buf *b)
{
    b->size = 0;
}

/* Makes room for `more` bytes behind size. */
int buf_reserve(buf *b, size_t more);
int buf_append(buf *b, const void *data, size_t size);
/* Gives back what it has grown beyond its size, if the heap can do that. */
void buf_fit(buf *b);
/* Replaces the contents. */
int buf_assign(buf *b, const void *data, size_t size);
static inline firn_slice buf_slice(const buf *b)
{
    return (firn_slice){b->data, b->size};
}

#endif
