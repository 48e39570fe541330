/* sizes: see sizes.h. The figures follow the formats (wal/README.md, sstable/README.md, memtable/README.md); a test
 * compares them with real tables. */
#include "sizes.h"

#include <lz4.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "../data.h"

#define FRAME_BYTES   40.0 /* in the log, around an entry ... */
#define ENTRY_HEAD    8.0  /* ... and of it */
#define BLOCK_BYTES   4096
#define BLOCK_ENDS    43.0 /* head, trailer, and its part of the index */
#define SLOT_BYTES    10   /* tag 1, head 4, slot 2; in the body its kind and two lengths */
#define DIGITS        16.0
#define DIGITS_MOST   16
#define INDEX_RANDOM  66.0
#define INDEX_ORDERED 22.0

static double aligned(double bytes)
{
    return ceil(bytes / 8) * 8;
}

/* A body stores its number as the difference to the least in the block. */
static unsigned number_bytes(const settings *s)
{
    unsigned bytes = 1;
    if (s->pattern == PATTERN_ASCENDING)
        return bytes; /* neighbours were written one behind the other */
    for (double most = 256; most < (double)s->records && bytes < 8; most *= 256)
        bytes++;
    return bytes;
}

static double packed_size(const uint8_t *raw, size_t size, firn_compression how)
{
    size_t room = size * 2 + 1024;
    char *out = malloc(room);
    uLongf deflated = room;
    if (!out)
        stop("no memory left");
    double packed;
    if (how == FIRN_COMPRESSION_ZLIB)
        packed = compress2((Bytef *)out, &deflated, raw, size, 6) == Z_OK ? (double)deflated
                                                                          : (double)size;
    else
        packed = LZ4_compress_default((const char *)raw, out, (int)size, (int)room);
    free(out);
    return packed;
}

/* A block's keys share n digits where no boundary between such beginnings lies between the first and the last. */
static double shared_digits(double in_block, unsigned key_bytes, double entries)
{
    double blocks = entries / in_block, shared = 0, beginnings = DIGITS;
    for (unsigned n = 0; n < DIGITS_MOST && n < key_bytes && beginnings < blocks; n++) {
        shared += 1 - beginnings / blocks;
        beginnings *= DIGITS;
    }
    return shared;
}

/* As many keys as there would be if all there can be were as close together. Ascending ones are consecutive even numbers. */
static double keys_near(const settings *s)
{
    return s->pattern == PATTERN_ASCENDING ? ldexp(1, 63) : (double)s->records;
}

static void *need_zeros(size_t size)
{
    void *made = calloc(1, size);
    if (!made)
        stop("no memory left");
    return made;
}

/* One block as the format has it: tags, heads and slots of all entries, then their bodies. */
static size_t sample_block(const settings *s, unsigned value_bytes, const entry_size *e,
                           uint8_t *raw)
{
    data d = {.key_bytes = s->key_bytes < KEY_MIN ? KEY_MIN : s->key_bytes,
              .value_bytes = value_bytes,
              .compressible = s->compressible,
              .in_order = s->pattern == PATTERN_ASCENDING};
    char key[2048];
    uint64_t random = 1;
    size_t in_block = (size_t)e->in_block, shared = (size_t)e->shared;
    char *value = need_zeros((size_t)value_bytes + 16);
    uint8_t *tags = raw, *heads = tags + in_block, *slots = heads + 4 * in_block;
    uint8_t *body = slots + 2 * in_block;
    for (size_t i = 0; i < in_block; i++) {
        uint64_t number = data_random(&random);
        size_t slot = (size_t)(body - raw);
        data_key(&d, i, key);
        tags[i] = (uint8_t)number;
        for (unsigned k = 0; k < 4; k++)
            heads[4 * i + k] = (uint8_t)key[shared + 3 - k];
        slots[2 * i] = (uint8_t)slot;
        slots[2 * i + 1] = (uint8_t)(slot >> 8);
        *body++ = 9;
        memcpy(body, &number, number_bytes(s));
        body += number_bytes(s);
        *body++ = (uint8_t)(s->key_bytes - shared);
        *body++ = (uint8_t)value_bytes;
        memcpy(body, key + shared, s->key_bytes - shared);
        body += s->key_bytes - shared;
        if (value_bytes)
            data_value(&d, key, number % s->records, value);
        memcpy(body, value, value_bytes);
        body += value_bytes;
    }
    free(value);
    return (size_t)(body - raw);
}

static double packed_part(const settings *s, unsigned value_bytes, const entry_size *e)
{
    size_t in_block = (size_t)e->in_block;
    uint8_t *raw = need_zeros(in_block * (64 + s->key_bytes + value_bytes));
    size_t size = sample_block(s, value_bytes, e, raw);
    double part = packed_size(raw, size, s->options.compression) / (double)size;
    free(raw);
    return part <= 7.0 / 8 ? part : 1; /* such a block is stored as it is */
}

static void fill(entry_size *e, const settings *s, unsigned value_bytes)
{
    double key = s->key_bytes, filter = s->options.filter_bits / 8.0;
    double body = key + value_bytes + SLOT_BYTES + number_bytes(s) + (value_bytes >= 128);
    e->in_block = ceil(BLOCK_BYTES / body);
    double ends = BLOCK_ENDS / e->in_block + filter;
    e->log = aligned(FRAME_BYTES + ENTRY_HEAD + key + value_bytes);
    e->plain = body + ends;
    e->shared = floor(shared_digits(e->in_block, s->key_bytes, keys_near(s)));
    double stored = body - e->shared;
    e->part = packed_part(s, value_bytes, e);
    e->packed = stored * e->part + e->shared + ends;
}

void sizes_init(sizes *z, const settings *s)
{
    fill(&z->put, s, s->value_bytes);
    fill(&z->dead, s, 0);
    z->index = s->pattern == PATTERN_ASCENDING ? INDEX_ORDERED : INDEX_RANDOM;
    z->key_bytes = s->key_bytes;
}

double sizes_shared(const sizes *z, double entries)
{
    return shared_digits(z->put.in_block, z->key_bytes, entries);
}
