/* fuzz_manifest_bytes: see fuzz_manifest_bytes.h. Start with `change`. */
#include "fuzz_manifest_bytes.h"

#include <base/checksum.h>
#include <string.h>

enum {
    TAG_FLUSHED_SEQ = 1,
    TAG_NEXT_FILE = 2,
    TAG_ADD_TABLE = 3,
    TAG_DROP_TABLE = 4,
    TAG_COVERED_SEGMENT = 5,
    TAG_CLOSED = 128,
    NUMBERS = 12,     /* of an added table, in front of its keys */
    RANGES = NUMBERS, /* behind them: how many range deletes it has, if any */
    ALL_NUMBERS,
    BULK_MAX = 512,
};

static void put_varint(fuzz_buf *b, uint64_t v)
{
    uint8_t bytes[VARINT_MAX_BYTES];
    fuzz_append(b, bytes, (size_t)(varint_put(bytes, v) - bytes));
}

static void put_item(fuzz_manifest *m, uint64_t tag, const fuzz_buf *body)
{
    put_varint(&m->payload, tag);
    put_varint(&m->payload, body->size);
    fuzz_append(&m->payload, body->data, body->size);
}

void fuzz_manifest_number(fuzz_manifest *m, uint64_t tag, uint64_t number)
{
    fuzz_buf body = {0};
    put_varint(&body, number);
    put_item(m, tag, &body);
    fuzz_buf_release(&body);
}

static void put_table(fuzz_manifest *m, const uint64_t numbers[ALL_NUMBERS], firn_slice low,
                      firn_slice high)
{
    fuzz_buf body = {0};
    for (size_t i = 0; i < NUMBERS; i++)
        put_varint(&body, numbers[i]);
    put_varint(&body, low.size);
    fuzz_append(&body, low.data, low.size);
    put_varint(&body, high.size);
    fuzz_append(&body, high.data, high.size);
    if (numbers[RANGES]) {
        uint8_t bytes[VARINT_MAX_BYTES];
        put_varint(&body, 0); /* what is kept for snapshots is not known */
        put_varint(&body, (uint64_t)(varint_put(bytes, numbers[RANGES]) - bytes));
        put_varint(&body, numbers[RANGES]);
    }
    put_item(m, TAG_ADD_TABLE, &body);
    fuzz_buf_release(&body);
}

static void numbers_of(const fuzz_known_table *t, uint64_t numbers[ALL_NUMBERS])
{
    const sst_properties *p = &t->properties;
    const uint64_t all[ALL_NUMBERS] = {0,          t->level,   t->no,        p->file_bytes,
                                       p->entries, p->deletes, p->raw_bytes, p->data_bytes,
                                       p->blocks,  p->seq_min, p->seq_max,   p->created_us,
                                       p->ranges};
    memcpy(numbers, all, sizeof all);
}

void fuzz_manifest_add(fuzz_manifest *m, const fuzz_known_table *t)
{
    uint64_t numbers[ALL_NUMBERS];
    numbers_of(t, numbers);
    put_table(m, numbers, t->properties.key_min, t->properties.key_max);
}

void fuzz_manifest_begin(fuzz_manifest *m, const uint8_t store_id[16], uint64_t no, uint64_t salt)
{
    static const uint8_t magic[8] = {0x89, 'f', 'i', 'r', 'n', 'm', 'a', 'n'};
    uint8_t h[FUZZ_MANIFEST_HEADER] = {0};
    memcpy(h, magic, sizeof magic);
    put_u32(h + 8, 1);
    memcpy(h + 16, store_id, 16);
    put_u64(h + 32, no);
    put_u64(h + 48, salt);
    put_u32(h + 60, crc32_update(0, h, 60));
    fuzz_append(&m->bytes, h, sizeof h);
    m->salt = salt;
    m->table_no = 1;
}

/* Appends the record, whose length is said to be `more` greater than it is. */
static void end_record(fuzz_manifest *m, uint64_t more)
{
    static const uint8_t zeros[8];
    uint8_t head[FUZZ_MANIFEST_RECORD], where[16];
    uint64_t offset = m->bytes.size;
    put_u32(head + 4, (uint32_t)(m->payload.size + more));
    put_u64(head + 8, m->records++);
    put_u64(where, m->salt);
    put_u64(where + 8, offset);
    uint32_t crc = crc32_update(0, head + 4, sizeof head - 4);
    crc = crc32_update(crc, m->payload.data, m->payload.size);
    put_u32(head, crc32_update(crc, where, sizeof where));
    fuzz_append(&m->bytes, head, sizeof head);
    fuzz_append(&m->bytes, m->payload.data, m->payload.size);
    fuzz_append(&m->bytes, zeros, (8 - m->bytes.size % 8) % 8);
    m->payload.size = 0;
}

void fuzz_manifest_end_record(fuzz_manifest *m)
{
    end_record(m, 0);
}

void fuzz_manifest_finish(fuzz_manifest *m)
{
    if (m->payload.size > 0)
        end_record(m, 0);
    if (fuzz_more(&m->edits))
        fuzz_edit_some(&m->bytes, &m->edits, NULL);
}

void fuzz_manifest_release(fuzz_manifest *m)
{
    fuzz_buf_release(&m->bytes);
    fuzz_buf_release(&m->payload);
}

/* ---- What an input can say ---- */

/* A table that is there, or one of the input's invention: of a level, with a low and a high key. */
static void op_add(fuzz_manifest *m, fuzz_input *in, bool odd)
{
    uint64_t numbers[ALL_NUMBERS] = {0, 0, 0, 1000, 10, 1, 100, 800, 1, 1, 9, 7};
    uint8_t keys[2];
    unsigned level = fuzz_small(in);
    uint8_t which = fuzz_u8(in);
    firn_slice low = {keys, 1}, high = {keys + 1, 1};
    if (which >= 128 && m->known_count > 0) {
        const fuzz_known_table *t = &m->known[which % m->known_count];
        numbers_of(t, numbers);
        low = t->properties.key_min;
        high = t->properties.key_max;
    } else {
        keys[0] = fuzz_u8(in);
        keys[1] = fuzz_u8(in);
        numbers[2] = which & 127 ? which & 127 : m->table_no++;
        numbers[9] += keys[0];
        numbers[10] += keys[0];
    }
    if (level < 8)
        numbers[1] = level;
    for (uint32_t n = odd ? fuzz_small(in) : 0; n > 0; n--) {
        uint32_t field = fuzz_small(in);
        if (field < NUMBERS)
            numbers[field] = fuzz_number(in);
        else if (field == NUMBERS)
            low.size = 0;
        else if (field == NUMBERS + 2)
            numbers[RANGES] = fuzz_number(in);
        else
            high.size = 0;
    }
    put_table(m, numbers, low, high);
}

/* So many tables behind each other, in one record or one each. */
static void op_bulk(fuzz_manifest *m, fuzz_input *in)
{
    uint32_t how = fuzz_small(in);
    size_t count = (size_t)fuzz_number(in) % BULK_MAX;
    for (size_t i = 0; i < count; i++) {
        uint64_t place = how & 1 ? count - i : i;
        uint8_t key[4] = {'m', (uint8_t)(place >> 8), (uint8_t)place, 0};
        uint64_t numbers[ALL_NUMBERS] = {0,   how / 4, m->table_no++, 1000,      10, 1, 100,
                                         800, 1,       place + 1,     place + 1, 7};
        put_table(m, numbers, (firn_slice){key, 3}, (firn_slice){key, 4});
        if (how & 2)
            end_record(m, 0);
    }
}

static void op_drop(fuzz_manifest *m, fuzz_input *in)
{
    fuzz_buf body = {0};
    unsigned level = fuzz_small(in);
    uint64_t no = fuzz_number(in);
    if (m->known_count > 0 && no < 64) {
        level = m->known[no % m->known_count].level;
        no = m->known[no % m->known_count].no;
    }
    put_varint(&body, 0);
    put_varint(&body, level);
    put_varint(&body, no);
    put_item(m, TAG_DROP_TABLE, &body);
    fuzz_buf_release(&body);
}

static void op_item(fuzz_manifest *m, fuzz_input *in)
{
    fuzz_buf body = {0};
    uint64_t tag = fuzz_number(in);
    firn_slice s = fuzz_bytes(in, fuzz_small(in));
    fuzz_append(&body, s.data, s.size);
    put_item(m, tag, &body);
    fuzz_buf_release(&body);
}

static void op_header(fuzz_manifest *m, fuzz_input *in)
{
    static const fuzz_field header[] = {{0, 8},  {8, 4},  {12, 4}, {16, 8}, {32, 8},
                                        {40, 4}, {44, 4}, {48, 8}, {56, 4}};
    fuzz_field f = header[fuzz_small(in) % (sizeof header / sizeof *header)];
    uint8_t value[8];
    put_u64(value, fuzz_number(in));
    memcpy(m->bytes.data + f.at, value, f.width);
    put_u32(m->bytes.data + 60, crc32_update(0, m->bytes.data, 60));
}

/* Operations; only the low five bits of a letter count.
 *   a level table [low high]        adds a table: one that is known (table >= 128), or one made up
 *   b level table ... n {field n}   the same, with n of its numbers or keys another; field 14: so
 *                                   many range deletes
 *   m how n                         adds n made up ones; how: 1 descending, 2 a record each, 4 a level
 *   d level n                       drops one
 *   f n   c n   n n   z n           flushed up to; covered segment; next file; closed at
 *   u n bytes                       an item with any tag
 *   x bytes                         no item
 *   r                               the record ends      l n   with a length that is n more
 *   g n                             the next record's number is n more
 *   j n                             junk between records
 *   h field n                       a field of the header
 *   e changes                       of the record so far
 *   w changes                       of the finished file, checksums left alone; takes the rest
 *   q                               no more */
static void change(fuzz_manifest *m, fuzz_input *in, char op)
{
    firn_slice s;
    switch (op) {
    case 'a':
    case 'b':
        op_add(m, in, op == 'b');
        break;
    case 'm':
        op_bulk(m, in);
        break;
    case 'd':
        op_drop(m, in);
        break;
    case 'f':
        fuzz_manifest_number(m, TAG_FLUSHED_SEQ, fuzz_number(in));
        break;
    case 'c':
        fuzz_manifest_number(m, TAG_COVERED_SEGMENT, fuzz_number(in));
        break;
    case 'n':
        fuzz_manifest_number(m, TAG_NEXT_FILE, fuzz_number(in));
        break;
    case 'z':
        fuzz_manifest_number(m, TAG_CLOSED, fuzz_number(in));
        break;
    case 'u':
        op_item(m, in);
        break;
    case 'x':
    case 'j':
        s = fuzz_bytes(in, fuzz_small(in));
        fuzz_append(op == 'x' ? &m->payload : &m->bytes, s.data, s.size);
        break;
    case 'r':
    case 'l':
        end_record(m, op == 'l' ? fuzz_number(in) : 0);
        break;
    case 'g':
        m->records += fuzz_number(in);
        break;
    case 'h':
        op_header(m, in);
        break;
    case 'e':
        fuzz_edit_some(&m->payload, in, NULL);
        break;
    case 'w':
        m->edits = fuzz_rest(in);
        break;
    default:
        break;
    }
}

void fuzz_manifest_change(fuzz_manifest *m, fuzz_input *in)
{
    char op;
    while (m->bytes.size + m->payload.size < FUZZ_EDIT_MAX && (op = fuzz_letter(in)) != 'q')
        change(m, in, op);
}
