/* build_log: see build_log.h. */
#include "build_log.h"

#include <base/checksum.h>
#include <base/coding.h>
#include <base/entry.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void must(bool condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "build_log: %s\n", what);
    abort();
}

size_t log_key(uint64_t seq, char out[32])
{
    return (size_t)snprintf(out, 32, "key-%06llu", (unsigned long long)(seq * 7919 % 1000));
}

size_t log_value(uint64_t seq, char out[64])
{
    if (seq % 7 == 0)
        return SIZE_MAX;
    int width = (int)(seq % 5) * 9;
    return (size_t)snprintf(out, 64, "value-%llu-%0*d", (unsigned long long)seq, width, 0);
}

void log_builder_init(log_builder *b)
{
    memset(b, 0, sizeof *b);
    b->first_no = 1;
    b->next_seq = 1;
    b->life = 1;
    b->segment_bytes = LOG_SEGMENT_BYTES;
    memcpy(b->store_id, "a store of tests", 16);
}

void log_builder_release(log_builder *b)
{
    for (size_t i = 0; i < b->count; i++)
        free(b->segments[i].bytes);
    memset(b, 0, sizeof *b);
}

static log_segment *newest(log_builder *b)
{
    must(b->count > 0, "no segment");
    return &b->segments[b->count - 1];
}

uint64_t log_frame(log_builder *b, uint8_t type, const void *payload, size_t size, uint32_t count)
{
    log_segment *s = newest(b);
    uint64_t offset = s->end;
    must(offset + wal_frame_size(size) <= s->size, "the segment is full");
    wal_frame f = {
        .type = type,
        .payload_bytes = (uint32_t)size,
        .payload_crc = crc32_update(0, payload, size),
        .count = count,
        .seq_first = b->next_seq,
        .durable_seq = b->durable_seq,
        .time_ms = 1700000000000 + b->next_seq,
    };
    if (size > 0)
        memcpy(s->bytes + offset + WAL_FRAME_BYTES, payload, size);
    wal_frame_encode(&f, s->header.salt, offset, s->bytes + offset);
    s->chain = wal_chain_next(s->chain, f.header_crc);
    s->frames++;
    s->end += wal_frame_size(size);
    b->next_seq += count;
    return offset;
}

size_t log_batch_encode(uint64_t seq_first, uint32_t operations, uint8_t *out, size_t room)
{
    size_t size = 0;
    for (uint32_t i = 0; i < operations; i++) {
        char key[32], value[64];
        size_t key_size = log_key(seq_first + i, key);
        size_t value_size = log_value(seq_first + i, value);
        bool removes = value_size == SIZE_MAX;
        if (removes)
            value_size = 0;
        must(size + entry_size(key_size, value_size) <= room, "the batch is too large");
        entry_put_header(out + size, removes ? FIRN_DELETE : FIRN_PUT, ENTRY_BUCKET_DEFAULT,
                         key_size, value_size);
        memcpy(out + size + ENTRY_HEADER_BYTES, key, key_size);
        memcpy(out + size + ENTRY_HEADER_BYTES + key_size, value, value_size);
        size += entry_size(key_size, value_size);
    }
    return size;
}

uint64_t log_batch(log_builder *b, uint32_t operations)
{
    uint8_t payload[4096];
    size_t size = log_batch_encode(b->next_seq, operations, payload, sizeof payload);
    must(b->next_seq + operations <= LOG_NUMBERS_MAX, "too many numbers");
    for (uint32_t i = 0; i < operations; i++)
        b->is_operation[b->next_seq + i] = true;
    return log_frame(b, WAL_DATA, payload, size, operations);
}

uint64_t log_lone_batch(log_builder *b)
{
    uint8_t payload[256];
    size_t size = log_batch_encode(b->next_seq, 1, payload, sizeof payload);
    return log_frame(b, WAL_DATA, payload, size, 1);
}

uint64_t log_link(log_builder *b, const wal_link *link)
{
    uint8_t payload[WAL_LINK_BYTES];
    wal_link_encode(link, payload);
    return log_frame(b, WAL_LINK, payload, sizeof payload, 0);
}

uint64_t log_skip(log_builder *b, uint32_t reason, uint32_t count)
{
    uint8_t payload[4];
    put_u32(payload, reason);
    return log_frame(b, WAL_SKIP, payload, sizeof payload, count);
}

uint64_t log_mark(log_builder *b)
{
    return log_frame(b, WAL_MARK, "", 0, 0);
}

uint64_t log_seal(log_builder *b, uint32_t kind)
{
    log_segment *s = newest(b);
    uint8_t payload[WAL_SEAL_BYTES];
    wal_seal seal = {.chain = s->chain, .frames = s->frames, .kind = kind};
    wal_seal_encode(&seal, payload);
    return log_frame(b, WAL_SEAL, payload, sizeof payload, 0);
}

static uint64_t log_u64(log_builder *b, uint8_t type, uint64_t value, uint32_t count)
{
    uint8_t payload[8];
    put_u64(payload, value);
    return log_frame(b, type, payload, sizeof payload, count);
}

uint64_t log_floor(log_builder *b, uint64_t floor_seq)
{
    b->floor_seq = floor_seq;
    return log_u64(b, WAL_FLOOR, floor_seq, 0);
}

uint64_t log_checkpoint(log_builder *b, uint64_t covered)
{
    return log_u64(b, WAL_CHECKPOINT, covered, 1);
}

void log_synced(log_builder *b)
{
    b->durable_seq = b->next_seq - 1;
}

log_segment *log_made_ahead(log_builder *b)
{
    must(b->count < LOG_SEGMENTS_MAX, "too many segments");
    log_segment *s = &b->segments[b->count++];
    *s = (log_segment){.size = b->segment_bytes, .end = WAL_DATA_OFFSET};
    s->header = (wal_header){
        .segment_no = b->first_no + b->count - 1,
        .segment_bytes = b->segment_bytes,
        .salt = 0x5a17 * (b->first_no + b->count),
        .created_us = 1700000000000000,
    };
    s->chain = s->header.salt;
    memcpy(s->header.store_id, b->store_id, sizeof b->store_id);
    s->bytes = calloc(1, s->size);
    must(s->bytes != NULL, "no memory");
    wal_header_encode(&s->header, s->bytes);
    wal_header_encode(&s->header, s->bytes + WAL_HEADER_COPY_OFFSET);
    return s;
}

void log_next_segment(log_builder *b)
{
    wal_link link = {.floor_seq = b->floor_seq, .life = b->life, .seq_first = b->next_seq};
    if (b->count > 0) {
        link.prev_no = newest(b)->header.segment_no;
        link.prev_end = newest(b)->end;
        link.prev_chain = newest(b)->chain;
    } else if (b->first_no > 1) {
        link.prev_no = b->first_no - 1;
        link.prev_end = WAL_DATA_OFFSET + 96;
    }
    log_made_ahead(b);
    uint8_t payload[WAL_LINK_BYTES];
    wal_link_encode(&link, payload);
    log_frame(b, WAL_LINK, payload, sizeof payload, 0);
}

void log_rotate(log_builder *b)
{
    if (b->count > 0)
        log_seal(b, WAL_SEAL_ROTATION);
    log_next_segment(b);
}

void log_close(log_builder *b)
{
    log_synced(b);
    log_seal(b, WAL_SEAL_CLOSE);
    log_segment *s = newest(b);
    s->size = (s->end + WAL_PAGE_BYTES - 1) / WAL_PAGE_BYTES * WAL_PAGE_BYTES;
}

void log_reopen(log_builder *b)
{
    log_segment *s = newest(b);
    s->size = s->header.segment_bytes;
    wal_link link = {
        .prev_no = s->header.segment_no,
        .prev_end = s->end,
        .prev_chain = s->chain,
        .floor_seq = b->floor_seq,
        .life = ++b->life,
        .seq_first = get_u64(s->bytes + WAL_DATA_OFFSET + 16), /* of its first frame */
        .reopened = true,
    };
    uint8_t payload[WAL_LINK_BYTES];
    wal_link_encode(&link, payload);
    log_frame(b, WAL_LINK, payload, sizeof payload, 0);
}

const char *log_path(uint64_t segment_no, char out[64])
{
    char name[WAL_NAME_BYTES];
    wal_name_format(segment_no, name);
    snprintf(out, 64, LOG_FOLDER "/%s", name);
    return out;
}

void log_write(const log_builder *b, simfs *sim)
{
    for (size_t i = 0; i < b->count; i++) {
        char path[64];
        const log_segment *s = &b->segments[i];
        simfs_write_file(sim, log_path(b->first_no + i, path), s->bytes, s->size);
    }
}

void log_one_segment(log_builder *b, uint64_t first, uint32_t operations)
{
    b->next_seq = first;
    b->floor_seq = first - 1;
    log_rotate(b);
    log_batch(b, operations);
}

void log_sample(log_builder *b)
{
    log_builder_init(b);
    b->segment_bytes = 3 * WAL_PAGE_BYTES; /* so that closing cuts the last one shorter */
    log_rotate(b);
    log_batch(b, 1);
    log_batch(b, 3);
    log_synced(b);
    log_mark(b);
    log_batch(b, 2);
    log_rotate(b);
    log_synced(b);
    log_batch(b, 5);
    log_checkpoint(b, 6);
    log_synced(b);
    log_batch(b, 1);
    log_rotate(b);
    log_batch(b, 1);
    log_synced(b);
    log_batch(b, 2);
    log_mark(b);
    log_batch(b, 4);
}

int log_read_entry(void *ctx, const firn_wal_entry *op)
{
    log_read *r = ctx;
    char key[32], value[64];
    size_t key_size = log_key(op->seq, key);
    size_t value_size = log_value(op->seq, value);
    bool removes = value_size == SIZE_MAX;
    bool right = op->op == (removes ? FIRN_DELETE : FIRN_PUT) && op->key.size == key_size &&
                 memcmp(op->key.data, key, key_size) == 0;
    if (right && !removes)
        right = op->value.size == value_size && memcmp(op->value.data, value, value_size) == 0;
    bool ours = !r->of || op->seq == r->extra ||
                (op->seq < LOG_NUMBERS_MAX && r->of->is_operation[op->seq]);
    if (!right || !ours || op->seq <= r->last)
        r->wrong++;
    if (r->count == 0)
        r->first = op->seq;
    else if (r->of)
        for (uint64_t seq = r->last + 1; seq < op->seq && seq < LOG_NUMBERS_MAX; seq++)
            r->jumps += r->of->is_operation[seq];
    r->last = op->seq;
    r->count++;
    return 0;
}

wal_config log_config(firn_recovery policy)
{
    wal_config config;
    wal_config_init(&config);
    config.inline_work = true;
    config.options.segment_bytes = LOG_SEGMENT_BYTES;
    config.options.recovery = policy;
    config.options.mark_ms = 0;
    return config;
}
