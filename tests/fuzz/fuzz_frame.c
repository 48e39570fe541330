/* fuzz_frame: one frame, the payloads of LINK and SEAL, the header of a segment, and names
 * (segments/format.h).
 *
 * The first byte chooses what the rest is and, for frames and headers, which checksums are made
 * right first, so that a fuzzer gets behind them.
 *
 * What must hold: nothing is touched behind the end (guarded.h); a decoder fills its result in or
 * leaves it alone, as its declaration says; what it lets pass encodes to the same bytes; and no bit
 * of a frame can be changed without being noticed.
 */
#include <base/checksum.h>
#include <string.h>
#include <support/guarded.h>
#include <wal/wal.h>

#include "fuzz.h"
#include "fuzz_memory.h"
#include "fuzz_fix.h"
#include "scan.h"

#define MEMORY_MAX ((size_t)1 << 20) /* that firn may hold for one input */

enum {
    FIX_HEADER = 8,   /* the checksum of a frame's header, or of a segment's */
    FIX_PAYLOAD = 16, /* the payload's checksum and the padding behind it */
    FIX_LENGTH = 32,  /* the payload is what there is */
};

static guarded copy_of(firn_slice bytes)
{
    guarded g = guarded_new(bytes.size);
    if (bytes.size > 0)
        memcpy(g.data, bytes.data, bytes.size);
    return g;
}

/* ---- A frame ---- */

static void fix_frame(uint8_t choice, uint64_t salt, uint64_t offset, guarded *g)
{
    if (g->size < WAL_FRAME_BYTES)
        return;
    uint8_t *p = g->data;
    uint64_t room = g->size - WAL_FRAME_BYTES;
    if (choice & FIX_LENGTH)
        put_u32(p + 8, (uint32_t)(room / 8 * 8 - (room >= 8 ? p[8] % 8 : 0)));
    if (choice & FIX_PAYLOAD)
        fuzz_fix_payload(p, g->size);
    if (choice & FIX_HEADER) {
        uint8_t before[WAL_FRAME_BYTES];
        memcpy(before, p, sizeof before);
        fuzz_fix_header(p, salt, offset);
        FUZZ_CHECK(memcmp(before + 4, p + 4, WAL_FRAME_BYTES - 4) == 0);
    }
}

/* A frame that passes no longer does with any of its bits changed, or elsewhere. */
static void check_noticed(guarded *g, uint64_t salt, uint64_t offset, const wal_frame *f,
                          uint64_t bit)
{
    wal_frame other;
    uint64_t size = wal_frame_size(f->payload_bytes);
    bit %= size * 8;
    g->data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    FUZZ_CHECK(wal_frame_decode(g->data, g->size, salt, offset, &other) != WAL_FRAME_OK);
    g->data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    FUZZ_CHECK(wal_frame_decode(g->data, g->size, salt + 1, offset, &other) ==
               WAL_FRAME_BAD_HEADER);
    FUZZ_CHECK(wal_frame_decode(g->data, g->size, salt, offset + 8, &other) ==
               WAL_FRAME_BAD_HEADER);
    FUZZ_CHECK(wal_frame_decode(g->data, size - 1, salt, offset, &other) == WAL_FRAME_BAD_LENGTH ||
               size - 1 < WAL_FRAME_BYTES);
    FUZZ_CHECK(wal_frame_decode(g->data, size, salt, offset, &other) == WAL_FRAME_OK);
}

static void check_payload(const wal_frame *f, firn_slice payload)
{
    wal_link link;
    wal_seal seal;
    if (wal_link_decode(payload, &link) == FIRN_OK) {
        uint8_t bytes[WAL_LINK_BYTES];
        FUZZ_CHECK(payload.size == WAL_LINK_BYTES);
        wal_link_encode(&link, bytes);
        FUZZ_CHECK(memcmp(bytes, payload.data, 48) == 0);
        FUZZ_CHECK(get_u32(bytes + 48) == (get_u32(payload.data + 48) & 3u));
    } else {
        FUZZ_CHECK(payload.size != WAL_LINK_BYTES);
    }
    if (wal_seal_decode(payload, &seal) == FIRN_OK) {
        uint8_t bytes[WAL_SEAL_BYTES];
        FUZZ_CHECK(payload.size == WAL_SEAL_BYTES);
        FUZZ_CHECK(seal.kind == WAL_SEAL_ROTATION || seal.kind == WAL_SEAL_CLOSE);
        wal_seal_encode(&seal, bytes);
        FUZZ_CHECK(memcmp(bytes, payload.data, 20) == 0);
    }
    FUZZ_CHECK(crc32_update(0, payload.data, payload.size) == f->payload_crc);
}

static void frame_target(fuzz_input *in, uint8_t choice)
{
    uint64_t salt = fuzz_number(in);
    uint64_t offset = fuzz_number(in) * 8;
    uint64_t bit = fuzz_number(in);
    guarded g = copy_of(fuzz_bytes(in, SIZE_MAX));
    fix_frame(choice, salt, offset, &g);

    wal_frame f;
    memset(&f, 0x77, sizeof f);
    const wal_frame untouched = f;
    wal_verdict verdict = wal_frame_decode(g.data, g.size, salt, offset, &f);
    bool left_alone = memcmp(&f, &untouched, sizeof f) == 0;
    FUZZ_CHECK(left_alone == (verdict == WAL_FRAME_EMPTY || verdict == WAL_FRAME_BAD_HEADER));
    FUZZ_CHECK(g.size >= WAL_FRAME_BYTES || verdict == WAL_FRAME_EMPTY);
    if (verdict == WAL_FRAME_EMPTY)
        for (size_t i = 0; i < WAL_FRAME_BYTES && g.size >= WAL_FRAME_BYTES; i++)
            FUZZ_CHECK(g.data[i] == 0);
    if (!left_alone) {
        uint8_t again[WAL_FRAME_BYTES];
        wal_frame copy = f;
        wal_frame_encode(&copy, salt, offset, again);
        FUZZ_CHECK(memcmp(again, g.data, sizeof again) == 0 && copy.header_crc == f.header_crc);
        bool fits = wal_frame_size(f.payload_bytes) <= g.size;
        FUZZ_CHECK(fits == (verdict != WAL_FRAME_BAD_LENGTH));
        FUZZ_CHECK(verdict != WAL_FRAME_BAD_PAYLOAD || !(choice & FIX_PAYLOAD));
    } else if (choice & FIX_HEADER) {
        FUZZ_CHECK(verdict == WAL_FRAME_EMPTY);
    }
    if (verdict == WAL_FRAME_OK) {
        check_payload(&f, (firn_slice){g.data + WAL_FRAME_BYTES, f.payload_bytes});
        check_noticed(&g, salt, offset, &f, bit);
    }
    guarded_release(&g);
}

/* ---- A cursor over frames from the start of some bytes ---- */

static void cursor_target(fuzz_input *in, uint8_t choice)
{
    uint64_t salt = fuzz_number(in);
    uint64_t expected = choice & FIX_LENGTH ? fuzz_number(in) : 0;
    guarded g = copy_of(fuzz_bytes(in, SIZE_MAX));
    fix_frame(choice & (FIX_HEADER | FIX_PAYLOAD), salt, 0, &g);
    wal_cursor c = {.base = g.data, .limit = g.size, .salt = salt, .expected = expected};
    int rc;
    size_t frames = 0;
    for (uint64_t before = 0; (rc = wal_cursor_next(&c)) == FIRN_OK; before = c.offset) {
        wal_frame f;
        FUZZ_CHECK(c.gap_from == before && c.at >= before && c.offset > c.at && c.offset <= g.size);
        FUZZ_CHECK(wal_frame_decode(g.data + c.at, g.size - c.at, salt, c.at, &f) == WAL_FRAME_OK);
        FUZZ_CHECK(c.expected == f.seq_first + f.count && f.seq_first > 0);
        firn_slice payload = wal_cursor_payload(&c);
        FUZZ_CHECK(payload.data + payload.size <= g.data + g.size);
        check_payload(&f, payload);
        FUZZ_CHECK(++frames <= g.size / WAL_FRAME_BYTES);
    }
    FUZZ_CHECK(rc == FIRN_END || rc == FIRN_UNSUPPORTED);
    guarded_release(&g);
}

/* ---- The header of a segment ---- */

static void header_target(fuzz_input *in, uint8_t choice)
{
    guarded g = guarded_new(WAL_HEADER_BYTES);
    firn_slice given = fuzz_bytes(in, WAL_HEADER_BYTES);
    if (given.size > 0)
        memcpy(g.data, given.data, given.size);
    if (choice & FIX_LENGTH)
        memcpy(g.data,
               "\x89"
               "firnwal\x01\0\0\0\x80\0\0",
               16);
    if (choice & FIX_HEADER)
        put_u32(g.data + 124, crc32_update(0, g.data, 124));

    wal_header h;
    memset(&h, 0x77, sizeof h);
    const wal_header untouched = h;
    int rc = wal_header_decode(g.data, &h);
    FUZZ_CHECK(rc == FIRN_OK || rc == FIRN_DAMAGED || rc == FIRN_UNSUPPORTED);
    FUZZ_CHECK((rc == FIRN_OK) == (memcmp(&h, &untouched, sizeof h) != 0));
    if (rc == FIRN_OK) {
        uint8_t again[WAL_HEADER_BYTES];
        wal_header h2 = untouched; /* also what lies between its fields */
        FUZZ_CHECK(h.segment_no > 0 && h.required == 0);
        FUZZ_CHECK(h.segment_bytes >= WAL_SEGMENT_MIN && h.segment_bytes <= WAL_SEGMENT_MAX &&
                   h.segment_bytes % WAL_PAGE_BYTES == 0);
        wal_header_encode(&h, again);
        FUZZ_CHECK(memcmp(again, g.data, 68) == 0 && memcmp(again + 72, g.data + 72, 8) == 0);
        FUZZ_CHECK(wal_header_decode(again, &h2) == FIRN_OK && memcmp(&h, &h2, sizeof h) == 0);
    }
    if (rc != FIRN_DAMAGED) { /* any bit counts */
        uint64_t bit = fuzz_number(in) % ((uint64_t)WAL_HEADER_BYTES * 8);
        g.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        FUZZ_CHECK(wal_header_decode(g.data, &h) == FIRN_DAMAGED);
    }
    guarded_release(&g);
}

/* ---- Names of files ---- */

static void name_target(fuzz_input *in)
{
    char name[80], again[WAL_NAME_BYTES];
    firn_slice given = fuzz_bytes(in, sizeof name - 1);
    if (given.size > 0)
        memcpy(name, given.data, given.size);
    name[given.size] = '\0';
    guarded g = copy_of((firn_slice){(const uint8_t *)name, strlen(name) + 1});
    const char *guarded_name = (const char *)g.data;
    uint64_t no = 77;
    bool is_segment = wal_name_parse(guarded_name, &no);
    FUZZ_CHECK(is_segment || no == 77);
    FUZZ_CHECK(is_segment == wal_is_segment_name(guarded_name, NULL));
    if (is_segment) {
        wal_name_format(no, again);
        FUZZ_CHECK(strcmp(again, name) == 0 && wal_owns_name(guarded_name));
        FUZZ_CHECK(!wal_name_is_temporary(guarded_name));
    }
    if (wal_name_is_temporary(guarded_name)) {
        FUZZ_CHECK(wal_owns_name(guarded_name) && strlen(name) == strlen("000000000001.wal.new"));
        name[strlen(name) - strlen(".new")] = '\0';
        FUZZ_CHECK(wal_is_segment_name(name, NULL));
    }
    guarded_release(&g);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input in = {.data = data, .size = size};
    fuzz_memory_limit(MEMORY_MAX);
    uint8_t choice = fuzz_u8(&in);
    switch (choice & 7) {
    case 0:
    case 1:
    case 2:
        frame_target(&in, choice);
        break;
    case 3:
    case 4:
        cursor_target(&in, choice);
        break;
    case 5:
    case 6:
        header_target(&in, choice);
        break;
    default:
        name_target(&in);
        break;
    }
    fuzz_memory_all_back();
    return 0;
}
