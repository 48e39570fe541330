/* fuzz_log_bytes: see fuzz_log_bytes.h.
 *
 * n is a small number ('0' to '9' stand for themselves), N any number, S a segment (small), F a frame
 * (any number, counted from the newest).
 *
 *   frames                                   what the builder believes
 *   b n      batch of n + 1 operations       s        everything so far is synced
 *   p n n .. put with bytes of the input     d n N    so much is synced
 *   m        MARK                            q n N    the next number
 *   k N      CHECKPOINT                      files
 *   f n      FLOOR, n below the newest       r        seal it, and the next segment
 *   z n N    SKIP                            n        the next segment without a seal
 *   e n N    SEAL of any kind                u        a segment that was made ahead
 *   l n ..   LINK of any kind                c        close
 *   t ..     any frame                       o        close, and a new life
 *   damage                                   a S n N  any size
 *   w F n N  change a field of a frame, with right checksums
 *   x S n N. change bytes                    i S n N  another name, or none
 *   y n F    zeros, or bytes of an earlier   v n S N  a stray file
 *            use                             h S n N  change a field of the header
 *   j F F    copy a piece                    g n      a gap
 */
#include "fuzz_log_bytes.h"

#include <base/checksum.h>
#include <base/entry.h>
#include <string.h>

#include "fuzz_fix.h"

#define NAME_NO_MAX (UINT64_C(1000000000000) + 100) /* a little beyond what a name can hold */

static log_segment *newest(fuzz_log *l)
{
    return &l->b.segments[l->b.count - 1];
}

static bool room_for(fuzz_log *l, size_t payload)
{
    const log_segment *s = newest(l);
    return s->end % 8 == 0 && s->end + wal_frame_size(payload) <= s->size;
}

static void note(fuzz_log *l, uint64_t offset)
{
    if (l->frame_count < FUZZ_FRAMES_MAX)
        l->frames[l->frame_count++] = (fuzz_place){l->b.count - 1, offset};
}

static void put_frame(fuzz_log *l, uint8_t type, const void *payload, size_t size, uint32_t count)
{
    if (room_for(l, size))
        note(l, log_frame(&l->b, type, payload, size, count));
}

/* A frame that was put earlier; false: there is none. */
static bool pick_frame(const fuzz_log *l, fuzz_input *in, fuzz_place *out)
{
    uint64_t back = fuzz_number(in);
    if (l->frame_count == 0)
        return false;
    *out = l->frames[l->frame_count - 1 - back % l->frame_count];
    return true;
}

static log_segment *pick_segment(fuzz_log *l, fuzz_input *in, size_t *index)
{
    *index = fuzz_small(in) % l->b.count;
    return &l->b.segments[*index];
}

/* Any number, or one near `about`. */
static uint64_t number_near(fuzz_input *in, uint64_t about)
{
    uint32_t how = fuzz_small(in);
    return how == 0 ? fuzz_number(in) : about + how - 8;
}

/* ---- Checksums ---- */

static void fix_frame(uint8_t *p, uint64_t left, uint64_t salt, uint64_t offset)
{
    fuzz_fix_payload(p, left);
    fuzz_fix_header(p, salt, offset);
}

void fuzz_fix_frames(uint8_t *base, uint64_t limit, uint64_t salt, bool dense)
{
    uint64_t seq = 1;
    for (uint64_t at = WAL_DATA_OFFSET; at + WAL_FRAME_BYTES <= limit;) {
        uint8_t *p = base + at;
        uint64_t size = wal_frame_size(get_u32(p + 8));
        if (dense && p[4] != 0) {
            put_u64(p + 16, seq);
            if (get_u64(p + 24) >= seq)
                put_u64(p + 24, seq - 1);
            seq += get_u32(p + 32);
        }
        if (p[4] != 0)
            fix_frame(p, limit - at, salt, at);
        at += size <= limit - at ? size : WAL_FRAME_BYTES;
    }
}

/* ---- Frames ---- */

static void op_batch(fuzz_log *l, uint32_t operations)
{
    uint8_t payload[4096];
    if (operations == 0)
        operations = 1;
    size_t size = log_batch_encode(l->b.next_seq, operations, payload, sizeof payload);
    put_frame(l, WAL_DATA, payload, size, operations);
}

static void op_put(fuzz_log *l, fuzz_input *in)
{
    uint8_t payload[2048] = {0};
    uint32_t how = fuzz_small(in);
    firn_slice key = fuzz_bytes(in, fuzz_small(in));
    firn_slice value = fuzz_bytes(in, fuzz_small(in));
    size_t more = how & 8 ? fuzz_u8(in) * (size_t)7 : 0; /* zeros behind the value */
    uint8_t kind = how & 1 ? (uint8_t)(1 + how / 2) : FIRN_PUT;
    entry_put_header(payload, kind, 0, key.size, value.size + more);
    if (key.size > 0)
        memcpy(payload + ENTRY_HEADER_BYTES, key.data, key.size);
    if (value.size > 0)
        memcpy(payload + ENTRY_HEADER_BYTES + key.size, value.data, value.size);
    put_frame(l, WAL_DATA, payload, entry_size(key.size, value.size + more), 1);
}

static void op_u64(fuzz_log *l, uint8_t type, uint64_t value, uint32_t count)
{
    uint8_t payload[8];
    put_u64(payload, value);
    put_frame(l, type, payload, sizeof payload, count);
}

static void op_floor(fuzz_log *l, fuzz_input *in)
{
    uint64_t below = fuzz_small(in);
    uint64_t newest_seq = l->b.next_seq - 1;
    uint64_t floor = below < newest_seq ? newest_seq - below : newest_seq;
    if (floor > l->b.floor_seq)
        l->b.floor_seq = floor;
    op_u64(l, WAL_FLOOR, floor, 0);
}

static void op_skip(fuzz_log *l, fuzz_input *in)
{
    uint8_t payload[128] = {0};
    uint32_t how = fuzz_small(in);
    put_u32(payload, how % 4);
    put_frame(l, WAL_SKIP, payload, how & 4 ? 4 : how * (size_t)8, (uint32_t)fuzz_number(in));
}

static void op_seal(fuzz_log *l, fuzz_input *in)
{
    uint8_t payload[WAL_SEAL_BYTES];
    uint32_t how = fuzz_small(in);
    wal_seal seal = {
        .chain = newest(l)->chain,
        .frames = newest(l)->frames,
        .kind = how & 1 ? WAL_SEAL_ROTATION : WAL_SEAL_CLOSE,
    };
    if (how & 2)
        seal.chain ^= fuzz_number(in);
    if (how & 4)
        seal.frames += fuzz_number(in);
    if (how & 8)
        seal.kind = (uint32_t)fuzz_number(in);
    wal_seal_encode(&seal, payload);
    put_frame(l, WAL_SEAL, payload, sizeof payload, 0);
}

/* A LINK to any place; as the first frame of a new segment when `how` says so. */
static void op_link(fuzz_log *l, fuzz_input *in)
{
    uint32_t how = fuzz_small(in);
    const log_segment *to = newest(l);
    if ((how & 1) && l->b.count < l->segments_max)
        log_made_ahead(&l->b);
    wal_link link = {
        .prev_no = to->header.segment_no,
        .prev_end = to->end,
        .prev_chain = to->chain,
        .floor_seq = l->b.floor_seq,
        .life = l->b.life,
        .seq_first = l->b.next_seq,
        .reopened = (how & 2) != 0,
        .stand_in = (how & 4) != 0,
    };
    uint32_t change = how & 8 ? fuzz_small(in) : 0;
    uint64_t *fields[] = {&link.prev_no,   &link.prev_end, &link.prev_chain,
                          &link.floor_seq, &link.life,     &link.seq_first};
    for (; change > 0; change /= 2) {
        uint64_t *field = fields[fuzz_small(in) % 6];
        *field = number_near(in, *field);
    }
    uint8_t payload[WAL_LINK_BYTES];
    wal_link_encode(&link, payload);
    put_frame(l, WAL_LINK, payload, sizeof payload, 0);
}

static void op_any(fuzz_log *l, fuzz_input *in)
{
    uint8_t payload[256] = {0};
    uint8_t type = fuzz_u8(in);
    uint32_t count = (uint32_t)fuzz_number(in);
    firn_slice bytes = fuzz_bytes(in, fuzz_u8(in));
    if (bytes.size > 0)
        memcpy(payload, bytes.data, bytes.size);
    put_frame(l, type, payload, bytes.size, count);
}

/* ---- Segments ---- */

static void op_next(fuzz_log *l, bool sealed)
{
    if (l->b.count >= l->segments_max)
        return;
    if (sealed && !room_for(l, WAL_SEAL_BYTES))
        return;
    if (sealed)
        note(l, log_seal(&l->b, WAL_SEAL_ROTATION));
    log_next_segment(&l->b);
    note(l, WAL_DATA_OFFSET);
}

static void op_close(fuzz_log *l, bool again)
{
    if (!room_for(l, WAL_SEAL_BYTES + wal_frame_size(WAL_LINK_BYTES)))
        return;
    note(l, newest(l)->end);
    log_close(&l->b);
    if (again) {
        note(l, newest(l)->end);
        log_reopen(&l->b);
    }
}

/* Bytes where frames should be, and the next frame behind them. */
static void op_gap(fuzz_log *l, fuzz_input *in)
{
    log_segment *s = newest(l);
    uint64_t bytes = (1 + (uint64_t)fuzz_small(in)) * 8;
    if (s->end + bytes > s->size)
        return;
    firn_slice junk = fuzz_bytes(in, fuzz_small(in));
    if (junk.size > bytes)
        junk.size = bytes;
    if (junk.size > 0)
        memcpy(s->bytes + s->end, junk.data, junk.size);
    s->end += bytes;
}

/* ---- Damage ---- */

/* Makes one field of a frame another, and its checksums right. */
static void op_tweak(fuzz_log *l, fuzz_input *in)
{
    static const struct {
        uint8_t at, size;
    } fields[] = {{4, 1}, {5, 1}, {8, 4}, {16, 8}, {24, 8}, {32, 4}, {36, 4}};
    fuzz_place place;
    uint32_t which = fuzz_small(in);
    if (!pick_frame(l, in, &place))
        return;
    const log_segment *s = &l->b.segments[place.segment];
    uint8_t *p = s->bytes + place.offset;
    uint64_t left = s->header.segment_bytes - place.offset;
    if (which < sizeof fields / sizeof fields[0]) {
        uint8_t at = fields[which].at;
        uint64_t value = number_near(in, fields[which].size == 8   ? get_u64(p + at)
                                         : fields[which].size == 4 ? get_u32(p + at)
                                                                   : p[at]);
        for (uint8_t i = 0; i < fields[which].size; i++)
            p[at + i] = (uint8_t)(value >> (8 * i));
    } else { /* a byte of the payload */
        uint64_t at = WAL_FRAME_BYTES + fuzz_u8(in);
        if (at < left)
            p[at] = fuzz_u8(in);
    }
    fix_frame(p, left, s->header.salt, place.offset);
}

static void op_poke(fuzz_log *l, fuzz_input *in)
{
    size_t index;
    log_segment *s = pick_segment(l, in, &index);
    uint32_t how = fuzz_small(in);
    uint64_t at = fuzz_number(in);
    if (how & 4)
        at += WAL_DATA_OFFSET;
    else if (how & 8)
        at += s->end > 128 ? s->end - 128 : 0;
    firn_slice bytes = fuzz_bytes(in, 1 + (how & 3u) * 5);
    for (size_t i = 0; i < bytes.size && at < s->header.segment_bytes; i++, at++)
        s->bytes[at] = bytes.data[i];
}

/* Zeros from a frame on, or what an earlier use of the file left behind the end. */
static void op_fill(fuzz_log *l, fuzz_input *in)
{
    fuzz_place place;
    uint32_t how = fuzz_small(in);
    if (!pick_frame(l, in, &place))
        return;
    log_segment *s = &l->b.segments[place.segment];
    uint64_t size = s->header.segment_bytes;
    if (how < 8) {
        uint64_t bytes = how == 0 ? size : how * (uint64_t)WAL_FRAME_BYTES;
        if (bytes > size - place.offset)
            bytes = size - place.offset;
        memset(s->bytes + place.offset, 0, bytes);
        return;
    }
    uint64_t from = s->end + (how & 1 ? WAL_FRAME_BYTES : 0);
    const log_segment *former = &l->b.segments[0];
    for (uint64_t at = from; at < size && at < former->size; at++)
        s->bytes[at] = former->bytes[how & 2 ? at : at - from + WAL_DATA_OFFSET];
    if (how & 4)
        return;
    for (uint64_t at = 0; at <= WAL_HEADER_COPY_OFFSET; at += WAL_HEADER_COPY_OFFSET) {
        s->bytes[at + 60] |= WAL_OPTIONAL_RECYCLED;
        put_u32(s->bytes + at + 124, crc32_update(0, s->bytes + at, 124));
    }
}

static void op_copy(fuzz_log *l, fuzz_input *in)
{
    fuzz_place from, to;
    uint32_t sectors = fuzz_small(in);
    if (!pick_frame(l, in, &from) || !pick_frame(l, in, &to))
        return;
    const log_segment *s = &l->b.segments[from.segment], *t = &l->b.segments[to.segment];
    uint64_t size = sectors == 0 ? wal_frame_size(get_u32(s->bytes + from.offset + 8))
                                 : sectors * (uint64_t)512;
    if (size > s->header.segment_bytes - from.offset)
        size = s->header.segment_bytes - from.offset;
    if (size > t->header.segment_bytes - to.offset)
        size = t->header.segment_bytes - to.offset;
    memmove(t->bytes + to.offset, s->bytes + from.offset, size);
}

/* May a header promise this many bytes? What is refused may, and what is small. */
static bool harmless_size(uint64_t bytes)
{
    return bytes <= FUZZ_SEGMENT_MAX || bytes % WAL_PAGE_BYTES != 0 || bytes > WAL_SEGMENT_MAX;
}

static void op_header(fuzz_log *l, fuzz_input *in)
{
    static const struct {
        uint8_t at, size;
    } fields[] = {{32, 8}, {40, 8}, {60, 4}, {16, 1}, {48, 8},  {8, 4},
                  {12, 4}, {56, 4}, {64, 4}, {80, 1}, {124, 4}, {72, 8}};
    size_t index;
    const log_segment *s = pick_segment(l, in, &index);
    uint32_t copies = fuzz_small(in);
    uint32_t which = fuzz_small(in) % (sizeof fields / sizeof fields[0]);
    uint8_t at = fields[which].at;
    uint64_t value = number_near(in, s->bytes[at]);
    if (at == 40 && value <= 64)
        value *= WAL_PAGE_BYTES;
    if (at == 40 && !harmless_size(value))
        return;
    for (uint64_t copy = 0; copy < 2; copy++) {
        uint8_t *p = s->bytes + copy * WAL_HEADER_COPY_OFFSET;
        if (copies & (1u << copy))
            continue;
        for (uint8_t i = 0; i < fields[which].size; i++)
            p[at + i] = (uint8_t)(value >> (8 * i));
        if (at != 124)
            put_u32(p + 124, crc32_update(0, p, 124));
    }
}

static void op_size(fuzz_log *l, fuzz_input *in)
{
    size_t index;
    const log_segment *s = pick_segment(l, in, &index);
    uint64_t bytes = 0;
    switch (fuzz_small(in)) {
    case 0:
        bytes = fuzz_number(in);
        break;
    case 1:
        bytes = (s->end + WAL_PAGE_BYTES - 1) / WAL_PAGE_BYTES * WAL_PAGE_BYTES;
        break;
    case 2:
        bytes = WAL_DATA_OFFSET + fuzz_number(in) * 8;
        break;
    case 3:
        bytes = s->header.segment_bytes + fuzz_number(in);
        break;
    default:
        bytes = number_near(in, s->end);
        break;
    }
    l->file_bytes[index] = bytes < FUZZ_FILE_MAX ? bytes + (bytes == 0) : FUZZ_FILE_MAX;
}

static void op_name(fuzz_log *l, fuzz_input *in)
{
    size_t index, other;
    (void)pick_segment(l, in, &index);
    uint32_t how = fuzz_small(in);
    if (how == 0) {
        l->name_no[index] = 0;
    } else if (how == 1) {
        (void)pick_segment(l, in, &other);
        uint64_t no = l->name_no[index];
        l->name_no[index] = l->name_no[other];
        l->name_no[other] = no;
    } else {
        uint64_t no = number_near(in, l->name_no[index]);
        l->name_no[index] = no < NAME_NO_MAX ? no : NAME_NO_MAX - no % 256;
    }
}

static void op_stray(fuzz_log *l, fuzz_input *in)
{
    fuzz_stray stray = {.kind = fuzz_small(in)};
    (void)pick_segment(l, in, &stray.segment);
    stray.no = fuzz_number(in) % NAME_NO_MAX;
    if (l->stray_count < FUZZ_STRAYS_MAX)
        l->strays[l->stray_count++] = stray;
}

/* ---- All of it ---- */

static void carry_out_frame(fuzz_log *l, fuzz_input *in, char op)
{
    switch (op) {
    case 'p':
        op_put(l, in);
        break;
    case 'm':
        put_frame(l, WAL_MARK, "", 0, 0);
        break;
    case 'k':
        op_u64(l, WAL_CHECKPOINT, fuzz_number(in), 1);
        break;
    case 'f':
        op_floor(l, in);
        break;
    case 'z':
        op_skip(l, in);
        break;
    case 'e':
        op_seal(l, in);
        break;
    case 'l':
        op_link(l, in);
        break;
    case 't':
        op_any(l, in);
        break;
    case 's':
        log_synced(&l->b);
        break;
    case 'd':
        l->b.durable_seq = number_near(in, l->b.next_seq - 1);
        break;
    case 'q':
        l->b.next_seq = number_near(in, l->b.next_seq);
        break;
    default:
        op_batch(l, fuzz_small(in));
        break;
    }
}

static void carry_out(fuzz_log *l, fuzz_input *in, char op)
{
    switch (op) {
    case 'r':
    case 'n':
        op_next(l, op == 'r');
        break;
    case 'u':
        if (l->b.count < l->segments_max)
            log_made_ahead(&l->b);
        break;
    case 'c':
    case 'o':
        op_close(l, op == 'o');
        break;
    case 'g':
        op_gap(l, in);
        break;
    case 'w':
        op_tweak(l, in);
        break;
    case 'x':
        op_poke(l, in);
        break;
    case 'y':
        op_fill(l, in);
        break;
    case 'j':
        op_copy(l, in);
        break;
    case 'h':
        op_header(l, in);
        break;
    case 'a':
        op_size(l, in);
        break;
    case 'i':
        op_name(l, in);
        break;
    case 'v':
        op_stray(l, in);
        break;
    default:
        carry_out_frame(l, in, op);
        break;
    }
}

uint64_t fuzz_segment_bytes(fuzz_input *in)
{
    static const uint8_t pages[16] = {2, 3, 2, 3, 4, 2, 3, 4, 2, 2, 3, 2, 5, 2, 16, 8};
    return pages[fuzz_small(in)] * (uint64_t)WAL_PAGE_BYTES;
}

void fuzz_log_init(fuzz_log *l, fuzz_input *in, size_t segments_max)
{
    memset(l, 0, sizeof *l);
    log_builder_init(&l->b);
    l->segments_max = segments_max;
    l->b.segment_bytes = fuzz_segment_bytes(in);
    l->b.first_no = fuzz_number(in) % NAME_NO_MAX + 1;
    for (uint64_t i = 0; i < LOG_SEGMENTS_MAX; i++)
        l->name_no[i] = l->b.first_no + i;
}

void fuzz_log_build(fuzz_log *l, fuzz_input *in, size_t segments_max)
{
    fuzz_log_init(l, in, segments_max);
    while (fuzz_more(in)) {
        char op = "babcdefghijklmnopqrstuvwxyzsbrbo"[fuzz_u8(in) & 31u];
        if (l->b.count == 0 && op == 'u')
            log_made_ahead(&l->b);
        else if (l->b.count == 0)
            log_next_segment(&l->b);
        if (l->frame_count == 0 && newest(l)->frames > 0)
            note(l, WAL_DATA_OFFSET);
        carry_out(l, in, op);
    }
}

void fuzz_log_release(fuzz_log *l)
{
    log_builder_release(&l->b);
}

/* ---- Files ---- */

static void write_segment(const fuzz_log *l, simfs *sim, size_t index, const char *path)
{
    const log_segment *s = &l->b.segments[index];
    if (simfs_exists(sim, path))
        return;
    simfs_write_file(sim, path, s->bytes, s->size);
    if (l->file_bytes[index] != 0)
        simfs_cut(sim, path, l->file_bytes[index]);
}

static void write_stray(fuzz_log *l, simfs *sim, const fuzz_stray *stray)
{
    char path[64 + 16], name[64];
    static const char *const plain[] = {
        "CURRENT", "12.wal", "000000000000.wal", "RESERVE", "000000000007.wal.new", "LOCK"};
    switch (stray->kind) {
    case 0: /* a copy of a segment under another number */
    case 1:
        write_segment(l, sim, stray->segment, log_path(stray->no + (stray->no == 0), name));
        return;
    case 2:
        if (!simfs_exists(sim, LOG_FOLDER "/lost")) {
            simfs_write_file(sim, LOG_FOLDER "/lost", "file", 4);
            l->lost_is_a_file = true;
        }
        return;
    case 3: /* what an earlier recovery saved */
        snprintf(path, sizeof path, LOG_FOLDER "/lost/000000000001-4096-%llu",
                 (unsigned long long)stray->no);
        if (!l->lost_is_a_file)
            simfs_write_file(sim, path, "saved", 5);
        return;
    case 4:
        if (!l->lost_is_a_file)
            simfs_write_file(sim, LOG_FOLDER "/lost/x-18446744073709551615", "x", 1);
        return;
    case 5: /* a folder under a segment's name */
        snprintf(path, sizeof path, "%s/inside", log_path(stray->no + 1, name));
        if (!simfs_exists(sim, name) && stray->no + 1 < NAME_NO_MAX - 100) {
            simfs_write_file(sim, path, "x", 1);
            l->folder_under_a_name = true;
        }
        return;
    default:
        snprintf(path, sizeof path, LOG_FOLDER "/%s",
                 plain[stray->kind % (sizeof plain / sizeof plain[0])]);
        write_segment(l, sim, stray->segment, path);
        return;
    }
}

void fuzz_log_write(fuzz_log *l, simfs *sim)
{
    fs_dir *dir;
    firn_error error;
    /* The folder is there even when nothing is in it. */
    if (fs_dir_make(simfs_fs(sim), LOG_FOLDER, &error) != FIRN_OK ||
        fs_dir_open(simfs_fs(sim), LOG_FOLDER, &dir, &error) != FIRN_OK)
        fuzz_fail(__FILE__, __LINE__, error.message);
    fs_dir_close(dir);
    for (size_t i = 0; i < l->b.count; i++) {
        char path[64];
        if (l->name_no[i] != 0)
            write_segment(l, sim, i, log_path(l->name_no[i], path));
    }
    for (size_t i = 0; i < l->stray_count; i++)
        write_stray(l, sim, &l->strays[i]);
}
