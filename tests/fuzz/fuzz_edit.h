/* fuzz_edit: an input changes bytes that were right. Each change goes to a field of the structure, or
 * to any place, and sets, shifts, removes, inserts or repeats. Checksums are made right afterwards, by
 * the target. */
#ifndef FUZZ_FUZZ_EDIT_H
#define FUZZ_FUZZ_EDIT_H

#include "fuzz.h"

/* Nothing that is edited grows beyond this. */
#define FUZZ_EDIT_MAX ((size_t)128 << 10)

/* Bytes of the bench, not of firn: they do not count as firn's memory (fuzz_memory.h). */
typedef struct fuzz_buf {
    uint8_t *data;
    size_t size, capacity;
} fuzz_buf;

/* Makes room for `more` bytes behind size, or ends the program. */
void fuzz_reserve(fuzz_buf *b, size_t more);
void fuzz_append(fuzz_buf *b, const void *data, size_t size);
void fuzz_buf_release(fuzz_buf *b);

static inline firn_slice fuzz_slice(const fuzz_buf *b)
{
    return (firn_slice){b->data, b->size};
}

typedef struct fuzz_field {
    uint64_t at;
    uint32_t width; /* 1, 2, 4 or 8 bytes; 0: there is no such field */
} fuzz_field;

/* The i-th field of a kind `which`; both are any numbers. */
typedef fuzz_field (*fuzz_field_fn)(firn_slice bytes, uint32_t which, uint64_t i);

/* One change, of the input's choice. `fields` may be NULL. */
void fuzz_edit(fuzz_buf *b, fuzz_input *in, fuzz_field_fn fields);
/* So many changes as the next digit of the input says. */
void fuzz_edit_some(fuzz_buf *b, fuzz_input *in, fuzz_field_fn fields);

#endif
