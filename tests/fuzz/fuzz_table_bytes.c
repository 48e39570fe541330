/* fuzz_table_bytes: see fuzz_table_bytes.h. Start with fuzz_table_change. */
#include "fuzz_table_bytes.h"

#include <base/checksum.h>
#include <string.h>
#include <support/simfs.h>

#include "compress.h"
#include "fuzz_block_fields.h"
#include "index.h"

static const fuzz_field_fn fields_of[] = {fuzz_block_field, fuzz_filter_field, fuzz_index_field,
                                          fuzz_props_field};

static void part_release(fuzz_part *p)
{
    fuzz_buf_release(&p->raw);
    fuzz_buf_release(&p->stored);
}

void fuzz_table_release(fuzz_table *t)
{
    for (size_t i = 0; i < t->count; i++)
        part_release(&t->parts[i]);
    *t = (fuzz_table){0};
}

/* ---- Making and taking apart ---- */

void fuzz_table_make(fuzz_table *t, const fuzz_run *r, const fuzz_shape *shape)
{
    simfs *sim = simfs_new(1);
    fs_dir *dir;
    sst_writer *w;
    sst_writer_options o;
    const sst_properties *p;
    size_t size;
    simfs_write_file(sim, "t/note", "", 0);
    FUZZ_CHECK(fs_dir_open(simfs_fs(sim), "t", &dir, NULL) == FIRN_OK);
    sst_writer_options_init(&o);
    o.block_bytes = shape->block_bytes;
    o.filter_bits_per_key = shape->filter_bits;
    o.compression = shape->compression;
    o.store_id[0] = 1;
    o.store_id[1] = 2;
    o.table_no = 3;
    FUZZ_CHECK(sst_writer_open(dir, "table", &o, &w, NULL) == FIRN_OK);
    for (size_t i = 0; i < fuzz_run_count(r); i++)
        FUZZ_CHECK(sst_writer_add(w, fuzz_run_key(r, i), fuzz_run_at(r, i)->seq,
                                  fuzz_run_at(r, i)->kind, fuzz_run_value(r, i), NULL) == FIRN_OK);
    if (shape->cut)
        sst_writer_cut(w);
    FUZZ_CHECK(sst_writer_finish(w, &p, NULL) == FIRN_OK);
    sst_writer_free(w);
    const uint8_t *data = simfs_peek(sim, "t/table", &size);
    FUZZ_CHECK(fuzz_table_split(t, (firn_slice){data, size}));
    fs_dir_close(dir);
    simfs_free(sim);
}

static bool take_part(fuzz_table *t, firn_slice file, fuzz_role role, sst_handle h)
{
    if (t->count == FUZZ_PARTS_MAX || h.offset > file.size ||
        h.size + SST_TRAILER_BYTES > file.size - h.offset)
        return false;
    fuzz_part *p = &t->parts[t->count++];
    firn_slice payload = {file.data + h.offset, (size_t)h.size};
    *p = (fuzz_part){.role = role, .compression = payload.data[h.size]};
    if (p->compression == SST_COMPRESSION_NONE) {
        fuzz_append(&p->raw, payload.data, payload.size);
        return true;
    }
    uint32_t raw_size = get_u32(payload.data + h.size + 1);
    if (p->compression > SST_COMPRESSION_ZLIB || raw_size > FUZZ_EDIT_MAX)
        return false;
    fuzz_reserve(&p->raw, (size_t)raw_size + 1);
    p->raw.size = raw_size;
    return sst_unpack(p->compression, payload, p->raw.data, raw_size) == FIRN_OK;
}

bool fuzz_table_split(fuzz_table *t, firn_slice file)
{
    sst_footer f;
    const char *why;
    sst_index ix;
    *t = (fuzz_table){0};
    if (file.size < SST_FOOTER_BYTES ||
        sst_footer_get(file.data + file.size - SST_FOOTER_BYTES, &f, &why) != FIRN_OK ||
        f.file_bytes != file.size)
        return false;
    firn_slice index = {file.data + f.index.offset, (size_t)f.index.size};
    if (sst_index_open(index, &ix) != FIRN_OK)
        return false;
    t->store_id[0] = f.store_id[0];
    t->store_id[1] = f.store_id[1];
    t->table_no = f.table_no;
    bool good = true;
    for (uint32_t i = 0; good && i < ix.count; i++)
        good = take_part(t, file, FUZZ_DATA, (sst_handle){ix.offsets[i], sst_index_size(&ix, i)});
    if (good && f.filter.size)
        good = take_part(t, file, FUZZ_FILTER, f.filter);
    good =
        good && take_part(t, file, FUZZ_INDEX, f.index) && take_part(t, file, FUZZ_PROPS, f.props);
    sst_index_release(&ix);
    if (!good)
        fuzz_table_release(t);
    return good;
}

/* ---- Putting together ---- */

/* Packs the part as a writer would; a block that does not shrink stays as it is. */
static void pack(fuzz_part *p)
{
    sst_packer packer;
    firn_slice out = {p->raw.data, p->raw.size};
    if (p->packed)
        return;
    uint8_t method = p->compression <= SST_COMPRESSION_ZLIB ? p->compression : 0;
    FUZZ_CHECK(sst_packer_init(&packer, (sst_compression)method) == FIRN_OK);
    if (sst_pack(&packer, fuzz_slice(&p->raw), &out) != FIRN_OK)
        p->compression = SST_COMPRESSION_NONE;
    fuzz_append(&p->stored, out.data, out.size);
    sst_packer_release(&packer);
    p->raw_size = (uint32_t)p->raw.size;
    p->packed = true;
}

/* The property `id` says `value`, where it stands and is a number. */
static void set_property(fuzz_buf *b, unsigned id, uint64_t value)
{
    for (size_t at = 0; at + 4 <= b->size;) {
        size_t size = get_u16(b->data + at + 2);
        if (size > b->size - at - 4)
            return;
        if (get_u16(b->data + at) == id && size == 8)
            put_u64(b->data + at + 4, value);
        at += 4 + size;
    }
}

/* Sizes of the stored blocks go into the index and the properties. */
static void fix_sizes(fuzz_table *t)
{
    uint64_t bytes = 0, blocks = 0, packed = 0;
    for (size_t i = 0; i < t->count; i++) {
        fuzz_part *p = &t->parts[i];
        if (p->role == FUZZ_DATA) {
            bytes += p->gap + p->stored.size + SST_TRAILER_BYTES;
            packed += p->compression != SST_COMPRESSION_NONE;
            blocks++;
        }
        if (p->role == FUZZ_PROPS) {
            set_property(&p->raw, 4, bytes);
            set_property(&p->raw, 5, blocks);
            set_property(&p->raw, 9, packed);
        }
        if (p->role != FUZZ_INDEX || p->raw.size < 8)
            continue;
        uint64_t at = 8 + (uint64_t)get_u16(p->raw.data + 4);
        for (size_t k = 0; k < i && at + 4 <= p->raw.size; k++) {
            if (t->parts[k].role != FUZZ_DATA)
                continue;
            put_u32(p->raw.data + at, (uint32_t)t->parts[k].stored.size);
            at += 4;
        }
    }
}

static void note_unpacked(fuzz_table *t, const fuzz_part *p)
{
    uint64_t size = p->stored.size; /* as format.c bounds it */
    if (p->compression != SST_COMPRESSION_NONE)
        size = size * 1032 + 1024;
    if (size > t->unpacked_max)
        t->unpacked_max = size;
    t->unpacked_all += size;
}

static void put_footer(fuzz_table *t, sst_footer *f, fuzz_buf *out)
{
    uint8_t bytes[SST_FOOTER_BYTES];
    f->file_bytes = out->size + SST_FOOTER_BYTES;
    sst_footer_put(f, bytes);
    for (size_t i = 0; i < t->lie_count; i++) {
        uint8_t value[8];
        put_u64(value, t->lie_is[i]);
        memcpy(bytes + t->lies[i].at, value, t->lies[i].width);
    }
    uint32_t crc = crc32_update(0, bytes, 116);
    put_u32(bytes + 116, crc32_update(crc, bytes + 120, 8));
    fuzz_append(out, bytes, sizeof bytes);
}

void fuzz_table_join(fuzz_table *t, fuzz_buf *out)
{
    static const uint8_t zeros[256];
    sst_footer f = {
        .store_id = {t->store_id[0], t->store_id[1]},
        .table_no = t->table_no,
        .salt = sst_salt(t->store_id, t->table_no),
    };
    for (size_t i = 0; i < t->count; i++)
        if (t->parts[i].role == FUZZ_DATA)
            pack(&t->parts[i]);
    if (!t->sizes_stay)
        fix_sizes(t);
    for (size_t i = 0; i < t->count; i++) {
        fuzz_part *p = &t->parts[i];
        pack(p);
        if (p->role == FUZZ_FILTER && p->stored.size == 0)
            continue; /* a filter of no keys is none */
        note_unpacked(t, p);
        fuzz_append(out, zeros, p->gap);
        if (p->gap > 0)
            f.features_optional = 1;
        sst_handle h = {out->size, p->stored.size};
        if (p->role == FUZZ_FILTER)
            f.filter = h;
        else if (p->role == FUZZ_INDEX)
            f.index = h;
        else if (p->role == FUZZ_PROPS)
            f.props = h;
        fuzz_append(out, p->stored.data, p->stored.size);
        fuzz_append(out, zeros, SST_TRAILER_BYTES);
        uint8_t *payload = out->data + h.offset;
        payload[h.size] = p->compression;
        put_u32(payload + h.size + 1, p->raw_size);
        uint32_t sum = crc32_update(f.salt, payload, (size_t)h.size);
        put_u32(payload + h.size + 5, sst_trailer_sum(sum, payload + h.size, h.offset));
    }
    put_footer(t, &f, out);
    if (fuzz_more(&t->edits))
        fuzz_edit_some(out, &t->edits, NULL);
}

/* ---- Changing ---- */

/* There is at least one. */
static fuzz_part *pick(fuzz_table *t, fuzz_input *in)
{
    size_t i = fuzz_u8(in);
    /* High numbers count from the end, where the blocks stand that are no data. */
    return &t->parts[i >= 240 ? t->count - 1 - (i - 240) % t->count : i % t->count];
}

static void op_repeat(fuzz_table *t, fuzz_part *p)
{
    size_t at = (size_t)(p - t->parts);
    if (t->count == FUZZ_PARTS_MAX)
        return;
    memmove(p + 1, p, (t->count - at) * sizeof *p);
    t->count++;
    const fuzz_part *from = p + 1;
    *p = *from;
    p->raw = p->stored = (fuzz_buf){0};
    fuzz_append(&p->raw, from->raw.data, from->raw.size);
    fuzz_append(&p->stored, from->stored.data, from->stored.size);
}

static void op_remove(fuzz_table *t, fuzz_part *p)
{
    size_t at = (size_t)(p - t->parts);
    part_release(p);
    t->count--;
    memmove(p, p + 1, (t->count - at) * sizeof *p);
}

static void op_footer(fuzz_table *t, fuzz_input *in)
{
    static const fuzz_field footer[16] = {{0, 8},  {8, 8},  {16, 8},  {24, 8}, {32, 8}, {40, 8},
                                          {48, 8}, {56, 8}, {64, 8},  {72, 8}, {80, 4}, {84, 4},
                                          {88, 4}, {92, 8}, {112, 4}, {120, 8}};
    fuzz_field f = footer[fuzz_small(in)];
    uint64_t value = fuzz_number(in);
    if (t->lie_count == sizeof t->lies / sizeof *t->lies)
        return;
    t->lies[t->lie_count] = f;
    t->lie_is[t->lie_count++] = value;
}

/* Operations; only the low five bits of a letter count.
 *   e part changes    its bytes, unpacked        p part changes    its bytes as they are stored
 *   z part n          what it says to be packed with
 *   s part n          and to unpack to
 *   c part n          packs it so
 *   d part            once more                  r part            not at all
 *   x part part       changes places             g part n          n bytes of nothing before it
 *   i                 index and all agree with the blocks
 *   k                 index and properties keep the sizes that they had
 *   f field n         a field of the footer
 *   n n               the table has another number
 *   h changes...      of the finished file; takes the rest
 *   q                 no more */
static void change(fuzz_table *t, fuzz_input *in, char op)
{
    fuzz_part *p, *q, keep;
    switch (op) {
    case 'e':
        p = pick(t, in);
        fuzz_edit_some(&p->raw, in, fields_of[p->role]);
        break;
    case 'p':
        p = pick(t, in);
        pack(p);
        fuzz_edit_some(&p->stored, in, fields_of[p->role]);
        break;
    case 'z':
    case 's':
        p = pick(t, in);
        pack(p);
        if (op == 'z')
            p->compression = (uint8_t)fuzz_number(in);
        else
            p->raw_size = (uint32_t)fuzz_number(in);
        break;
    case 'c':
        p = pick(t, in);
        if (!p->packed)
            p->compression = (uint8_t)(fuzz_small(in) % 3);
        break;
    case 'd':
        op_repeat(t, pick(t, in));
        break;
    case 'r':
        op_remove(t, pick(t, in));
        break;
    case 'x':
        p = pick(t, in);
        q = pick(t, in);
        keep = *p;
        *p = *q;
        *q = keep;
        break;
    case 'g':
        pick(t, in)->gap = fuzz_u8(in);
        break;
    case 'i':
        fuzz_table_tell_truth(t);
        break;
    case 'k':
        t->sizes_stay = true;
        break;
    case 'f':
        op_footer(t, in);
        break;
    case 'n':
        t->table_no = fuzz_number(in);
        break;
    case 'h':
        t->edits = fuzz_rest(in);
        break;
    default:
        break;
    }
}

void fuzz_table_change(fuzz_table *t, fuzz_input *in)
{
    char op;
    /* Packing takes a while, so there is an end. */
    for (int n = 0; n < 40 && t->count > 0 && (op = fuzz_letter(in)) != 'q'; n++)
        change(t, in, op);
}
