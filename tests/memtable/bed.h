/* bed: a log in plain memory and a memtable over it, for the tests of the memtable.
 *
 * Entries are numbered from BED_SEQ_BASE on, one number each, in the order of bed_append. Appending
 * fails the test when the log is full.
 */
#ifndef MEMTABLE_BED_H
#define MEMTABLE_BED_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include <base/alloc.h>
#include <base/entry.h>
#include <base/slice.h>
#include <memtable/memtable.h>

#define BED_SEQ_BASE 1000

typedef struct bed {
    uint8_t *log;
    size_t log_size;
    size_t used;
    uint64_t seq_last;
    memtable *m;
} bed;

static inline bed bed_new_at(size_t log_size, firn_slice prefix, uint64_t seq_base)
{
    bed b = {.log_size = log_size, .seq_last = seq_base - 1};
    b.log = heap_alloc(log_size);
    assert_non_null(b.log);
    memtable_options options = {.log_base = b.log, .seq_base = seq_base, .prefix = prefix};
    assert_int_equal(memtable_new(&options, &b.m), FIRN_OK);
    return b;
}

static inline bed bed_new(size_t log_size, const char *prefix)
{
    return bed_new_at(log_size, slice_of_str(prefix), BED_SEQ_BASE);
}

static inline void bed_free(bed *b)
{
    memtable_free(b->m);
    heap_free(b->log);
}

/* Writes an entry to the log and returns its offset; the memtable does not know it yet. */
static inline uint32_t bed_append(bed *b, uint8_t kind, firn_slice key, firn_slice value)
{
    size_t size = entry_size(key.size, value.size);
    assert_true(size <= b->log_size - b->used);
    uint8_t *p = b->log + b->used;
    entry_put_header(p, kind, 0, key.size, value.size);
    if (key.size)
        memcpy(p + ENTRY_HEADER_BYTES, key.data, key.size);
    if (value.size)
        memcpy(p + ENTRY_HEADER_BYTES + key.size, value.data, value.size);
    uint32_t offset = (uint32_t)b->used;
    b->used += size;
    return offset;
}

/* Appends and adds; the entry's number. */
static inline uint64_t bed_add(bed *b, uint8_t kind, firn_slice key, firn_slice value)
{
    uint32_t offset = bed_append(b, kind, key, value);
    assert_int_equal(memtable_reserve(b->m, 1), FIRN_OK);
    memtable_add(b->m, offset, ++b->seq_last);
    return b->seq_last;
}

static inline uint64_t bed_put(bed *b, const char *key, const char *value)
{
    return bed_add(b, FIRN_PUT, slice_of_str(key), slice_of_str(value));
}

#endif
