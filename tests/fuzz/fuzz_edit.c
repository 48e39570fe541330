/* fuzz_edit: see fuzz_edit.h. */
#include "fuzz_edit.h"

#include <string.h>

void fuzz_reserve(fuzz_buf *b, size_t more)
{
    size_t need = b->size + more;
    if (need <= b->capacity)
        return;
    size_t capacity = need < 64 ? 64 : need + need / 2;
    uint8_t *data = realloc(b->data, capacity);
    FUZZ_CHECK(data);
    b->data = data;
    b->capacity = capacity;
}

void fuzz_append(fuzz_buf *b, const void *data, size_t size)
{
    fuzz_reserve(b, size);
    if (size > 0)
        memcpy(b->data + b->size, data, size);
    b->size += size;
}

void fuzz_buf_release(fuzz_buf *b)
{
    free(b->data);
    *b = (fuzz_buf){0};
}

static uint64_t read_field(const uint8_t *p, uint32_t width)
{
    uint8_t bytes[8] = {0};
    memcpy(bytes, p, width);
    return get_u64(bytes);
}

static void write_field(uint8_t *p, uint32_t width, uint64_t value)
{
    uint8_t bytes[8];
    put_u64(bytes, value);
    memcpy(p, bytes, width);
}

static void insert(fuzz_buf *b, uint64_t at, firn_slice bytes)
{
    if (bytes.size == 0 || bytes.size > FUZZ_EDIT_MAX - b->size)
        return;
    fuzz_reserve(b, bytes.size);
    memmove(b->data + at + bytes.size, b->data + at, b->size - at);
    memcpy(b->data + at, bytes.data, bytes.size);
    b->size += bytes.size;
}

static void take_out(fuzz_buf *b, uint64_t at, uint64_t size)
{
    if (size > b->size - at)
        size = b->size - at;
    if (size == 0)
        return;
    memmove(b->data + at, b->data + at + size, b->size - at - size);
    b->size -= size;
}

static void repeat(fuzz_buf *b, uint64_t at, uint64_t size, uint64_t to)
{
    uint8_t some[512];
    if (size > b->size - at)
        size = b->size - at;
    if (size > sizeof some)
        size = sizeof some;
    if (size > 0)
        memcpy(some, b->data + at, size);
    insert(b, to % (b->size + 1), (firn_slice){some, size});
}

static void set_field(fuzz_buf *b, fuzz_field f, uint32_t how, fuzz_input *in)
{
    if (f.width == 0 || f.at > b->size || f.width > b->size - f.at)
        return;
    uint8_t *p = b->data + f.at;
    uint64_t was = read_field(p, f.width);
    uint64_t n = how == 1 ? fuzz_u8(in) - UINT64_C(128) : fuzz_number(in);
    write_field(p, f.width, how == 1 ? was + n : how == 2 ? was ^ n : n);
}

/* The digit chooses: 0 to 2 set, shift or flip a field; 3 to 5 the same anywhere; 6 removes, 7
 * inserts, 8 repeats, 9 cuts the end off. */
void fuzz_edit(fuzz_buf *b, fuzz_input *in, fuzz_field_fn fields)
{
    uint32_t how = fuzz_small(in) % 10;
    if (how < 3 && fields) {
        uint32_t which = fuzz_small(in);
        set_field(b, fields(fuzz_slice(b), which, fuzz_number(in)), how, in);
        return;
    }
    uint64_t at = fuzz_number(in) % (b->size + 1);
    switch (how) {
    case 6:
        take_out(b, at, fuzz_number(in));
        break;
    case 7:
        insert(b, at, fuzz_bytes(in, fuzz_small(in)));
        break;
    case 8:
        repeat(b, at, fuzz_number(in), fuzz_number(in));
        break;
    case 9:
        b->size = at;
        break;
    default:
        set_field(b, (fuzz_field){at, UINT32_C(1) << fuzz_small(in) % 4}, how % 3, in);
        break;
    }
}

void fuzz_edit_some(fuzz_buf *b, fuzz_input *in, fuzz_field_fn fields)
{
    for (uint32_t n = fuzz_small(in); n > 0; n--)
        fuzz_edit(b, in, fields);
}
