/* fuzz_folder_bytes: see fuzz_folder_bytes.h. Start with `change`. */
#include "fuzz_folder_bytes.h"

#include <base/coding.h>
#include <inttypes.h>
#include <string.h>

#include "fuzz_fix.h"
#include "fuzz_manifest_bytes.h"
#include "fuzz_table_bytes.h"
#include <store/manifest.h>

#define FILES_MAX  64
#define PATH_BYTES 320
#define FILE_MAX   ((size_t)256 << 10) /* no file grows beyond this */

void fuzz_folder_init(fuzz_folder *f, unsigned which, unsigned age)
{
    const fuzz_image *image = fuzz_folder_image(which, age);
    *f = (fuzz_folder){.sim = simfs_new(1), .store = which, .age = age};
    for (size_t i = 0; i < image->count; i++)
        simfs_write_file(f->sim, image->files[i].path, image->files[i].data, image->files[i].size);
}

void fuzz_folder_release(fuzz_folder *f)
{
    simfs_free(f->sim);
    f->sim = NULL;
}

/* ---- Files ---- */

typedef struct listing {
    char paths[FILES_MAX][PATH_BYTES];
    size_t count;
} listing;

static int note_path(void *ctx, const char *path, uint64_t size)
{
    listing *l = ctx;
    (void)size;
    if (l->count < FILES_MAX && strlen(path) < PATH_BYTES)
        snprintf(l->paths[l->count++], PATH_BYTES, "%s", path);
    return 0;
}

/* A file of the folder, or of lost/; false: there is none. */
static bool pick(fuzz_folder *f, fuzz_input *in, char path[PATH_BYTES])
{
    static listing l;
    l.count = 0;
    simfs_each(f->sim, FUZZ_FOLDER, note_path, &l);
    uint8_t i = fuzz_u8(in);
    if (l.count == 0)
        return false;
    snprintf(path, PATH_BYTES, "%s", l.paths[i % l.count]);
    return true;
}

static fuzz_buf read_file(fuzz_folder *f, const char *path)
{
    fuzz_buf b = {0};
    size_t size;
    const uint8_t *data = simfs_peek(f->sim, path, &size);
    fuzz_append(&b, data, size < FILE_MAX ? size : FILE_MAX);
    return b;
}

/* Also in place of a folder of that name, when it can be. */
static void write_file(fuzz_folder *f, const char *path, const void *data, size_t size)
{
    char below[PATH_BYTES + 4];
    snprintf(below, sizeof below, "%s/x", path);
    simfs_remove(f->sim, below);
    if (simfs_exists(f->sim, path))
        simfs_remove(f->sim, path);
    simfs_write_file(f->sim, path, data, size);
}

/* The newest file whose name ends so. */
static bool newest(fuzz_folder *f, const char *ending, char path[PATH_BYTES])
{
    static listing l;
    l.count = 0;
    simfs_each(f->sim, FUZZ_FOLDER, note_path, &l);
    for (size_t i = l.count; i-- > 0;) {
        size_t size = strlen(l.paths[i]), want = strlen(ending);
        if (size > want && strcmp(l.paths[i] + size - want, ending) == 0 &&
            strstr(l.paths[i], "/lost/") == NULL) {
            snprintf(path, PATH_BYTES, "%s", l.paths[i]);
            return true;
        }
    }
    return false;
}

static void new_name(fuzz_input *in, char path[PATH_BYTES])
{
    static const char *const forms[] = {"%012" PRIu64 ".tbl",
                                        "%012" PRIu64 ".manifest",
                                        "%012" PRIu64 ".wal",
                                        "%012" PRIu64 ".manifest.new",
                                        "%012" PRIu64 ".wal.new",
                                        "lost/%012" PRIu64 ".tbl",
                                        "RESERVE",
                                        "LOCK",
                                        "lost",
                                        "foreign",
                                        "%" PRIu64 ".tbl",
                                        "%012" PRIu64 ".wal.recycled"};
    char name[64];
    uint32_t form = fuzz_small(in) % (sizeof forms / sizeof *forms);
    uint64_t no = fuzz_number(in);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(name, sizeof name, forms[form], no);
#pragma GCC diagnostic pop
    snprintf(path, PATH_BYTES, FUZZ_FOLDER "/%s", name);
}

/* ---- By structure ---- */

static void change_table(fuzz_folder *f, fuzz_input *in)
{
    static fuzz_table t;
    char path[PATH_BYTES];
    fuzz_buf out = {0};
    if (!pick(f, in, path))
        return;
    fuzz_buf file = read_file(f, path);
    if (fuzz_table_split(&t, fuzz_slice(&file))) {
        fuzz_table_change(&t, in);
        fuzz_table_join(&t, &out);
        if (t.unpacked_max > f->unpacked_max)
            f->unpacked_max = t.unpacked_max;
        write_file(f, path, out.data, out.size);
        fuzz_table_release(&t);
    }
    fuzz_buf_release(&out);
    fuzz_buf_release(&file);
}

static size_t know_tables(const version *v, fuzz_known_table *known, size_t room)
{
    size_t count = 0;
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        for (size_t i = 0; i < v->levels[n].count && count < room; i++) {
            const table *t = v->levels[n].tables[i];
            known[count++] = (fuzz_known_table){t->no, n, t->properties};
        }
    return count;
}

/* The newest manifest is written anew, with what the input adds, or one with the next number is. */
static void change_manifest(fuzz_folder *f, fuzz_input *in)
{
    char path[PATH_BYTES];
    fs_dir *dir;
    manifest_state s;
    fuzz_known_table known[FILES_MAX];
    fuzz_manifest m = {0};
    uint32_t more = fuzz_small(in) % 4;
    if (!newest(f, ".manifest", path) ||
        fs_dir_open(simfs_fs(f->sim), FUZZ_FOLDER, &dir, NULL) != FIRN_OK)
        return;
    const table_env env = {.dir = dir};
    uint64_t no = strtoull(path + sizeof FUZZ_FOLDER, NULL, 10);
    if (manifest_load(&env, no, &s, NULL) == FIRN_OK) {
        m.known = known;
        m.known_count = know_tables(s.version, known, FILES_MAX);
        fuzz_manifest_begin(&m, s.store_id, no + more, s.salt + more);
        fuzz_manifest_number(&m, 1, s.flushed_seq);
        fuzz_manifest_number(&m, 5, s.covered_no);
        fuzz_manifest_number(&m, 2, s.next_file_no + more);
        for (size_t i = 0; i < m.known_count; i++)
            fuzz_manifest_add(&m, &known[i]);
        fuzz_manifest_change(&m, in);
        fuzz_manifest_finish(&m);
        snprintf(path, sizeof path, FUZZ_FOLDER "/%012" PRIu64 ".manifest", no + more);
        write_file(f, path, m.bytes.data, m.bytes.size);
        fuzz_manifest_release(&m);
        manifest_state_release(&s);
    }
    fs_dir_close(dir);
}

static fuzz_field frame_field(firn_slice s, uint32_t which, uint64_t i)
{
    static const fuzz_field frame[] = {{4, 1},  {5, 1},  {6, 2},  {8, 4}, {16, 8},
                                       {24, 8}, {32, 4}, {36, 4}, {40, 8}};
    uint64_t at = WAL_DATA_OFFSET;
    for (i %= 64; i > 0 && at + WAL_FRAME_BYTES <= s.size; i--) {
        uint64_t bytes = wal_frame_size(get_u32(s.data + at + 8));
        at += bytes < s.size - at ? bytes : 0;
    }
    fuzz_field f = frame[which % (sizeof frame / sizeof *frame)];
    f.at += at;
    return f;
}

static void fix_frames(fuzz_buf *b, uint64_t salt)
{
    for (uint64_t at = WAL_DATA_OFFSET; at + WAL_FRAME_BYTES <= b->size;) {
        uint8_t *p = b->data + at;
        uint64_t size = wal_frame_size(get_u32(p + 8));
        if (p[4] == 0)
            return;
        fuzz_fix_payload(p, b->size - at);
        fuzz_fix_header(p, salt, at);
        if (size > b->size - at)
            return;
        at += size;
    }
}

/* Frames of a segment, or its header. */
static void change_segment(fuzz_folder *f, fuzz_input *in)
{
    static const fuzz_field header[] = {{8, 4},  {12, 4}, {16, 8}, {24, 8}, {32, 8}, {40, 8},
                                        {48, 8}, {56, 4}, {60, 4}, {64, 4}, {72, 8}, {80, 8}};
    char path[PATH_BYTES];
    wal_header h;
    uint32_t how = fuzz_small(in);
    if (!pick(f, in, path))
        return;
    fuzz_buf b = read_file(f, path);
    if (b.size >= WAL_DATA_OFFSET && wal_header_decode(b.data, &h) == FIRN_OK) {
        if (how < 8) {
            fuzz_edit_some(&b, in, frame_field);
            fix_frames(&b, h.salt);
        } else {
            uint8_t value[8];
            fuzz_field at = header[fuzz_small(in) % (sizeof header / sizeof *header)];
            put_u64(value, fuzz_number(in));
            memcpy(b.data + at.at, value, at.width);
            put_u32(b.data + 124, crc32_update(0, b.data, 124));
            if (how & 1)
                memcpy(b.data + WAL_HEADER_COPY_OFFSET, b.data, WAL_HEADER_BYTES);
        }
        write_file(f, path, b.data, b.size);
    }
    fuzz_buf_release(&b);
}

/* ---- From outside ---- */

static void change_bytes(fuzz_folder *f, fuzz_input *in)
{
    char path[PATH_BYTES];
    if (!pick(f, in, path))
        return;
    fuzz_buf b = read_file(f, path);
    fuzz_edit_some(&b, in, NULL);
    write_file(f, path, b.data, b.size);
    fuzz_buf_release(&b);
}

static void change_size(fuzz_folder *f, fuzz_input *in)
{
    char path[PATH_BYTES];
    size_t size;
    if (!pick(f, in, path))
        return;
    (void)simfs_peek(f->sim, path, &size);
    uint32_t how = fuzz_small(in);
    uint64_t n = fuzz_number(in);
    uint64_t to = how == 0 ? n : how == 1 ? size + n : how == 2 ? size * (n % 256) / 256 : size - n;
    if (to <= FILE_MAX)
        simfs_cut(f->sim, path, to);
}

/* The same path in another store or at another age. */
static void take_from(fuzz_folder *f, fuzz_input *in, bool foreign)
{
    char path[PATH_BYTES];
    if (!pick(f, in, path))
        return;
    uint32_t which = fuzz_small(in);
    const fuzz_image *i = foreign ? fuzz_folder_image(f->store + 1 + which, f->age)
                                  : fuzz_folder_image(f->store, which);
    for (size_t n = 0; n < i->count; n++)
        if (strcmp(i->files[n].path, path) == 0)
            write_file(f, path, i->files[n].data, i->files[n].size);
}

static void two_files(fuzz_folder *f, fuzz_input *in, char op)
{
    char path[PATH_BYTES], other[PATH_BYTES];
    if (!pick(f, in, path))
        return;
    if (op == 'd')
        new_name(in, other);
    else
        (void)pick(f, in, other);
    if (strcmp(path, other) == 0)
        return;
    fuzz_buf b = read_file(f, path);
    if (op == 's')
        simfs_swap_files(f->sim, path, other);
    else
        write_file(f, other, b.data, b.size);
    fuzz_buf_release(&b);
}

static void new_file(fuzz_folder *f, fuzz_input *in)
{
    char path[PATH_BYTES];
    new_name(in, path);
    firn_slice s = fuzz_bytes(in, fuzz_small(in));
    write_file(f, path, s.data, s.size);
}

/* A folder in place of a file. */
static void make_folder(fuzz_folder *f, fuzz_input *in)
{
    char path[PATH_BYTES - 8], below[PATH_BYTES];
    char whole[PATH_BYTES];
    if (!pick(f, in, whole) || strlen(whole) >= sizeof path)
        return;
    memcpy(path, whole, strlen(whole) + 1);
    simfs_remove(f->sim, path);
    snprintf(below, sizeof below, "%s/x", path);
    simfs_write_file(f->sim, below, "", 0);
}

/* Operations; only the low five bits of a letter count. A file is a number, any one.
 *   s file file         changes contents       c file file       becomes a copy of the first
 *   d file name         once more, so named    r file            removed
 *   t file how n        cut or grown           e file changes    its bytes
 *   b file ... q        a table by structure (fuzz_table_bytes.c), checksums right
 *   m how ... q         the manifest by structure (fuzz_manifest_bytes.c), or a new one
 *   l how file changes  a segment's frames, checksums right; how >= 8: its header
 *   o file age          as it was at that age  x file store      of another store
 *   n name bytes        a new file             k file            a folder of that name
 *   w ...               the store is opened and worked with (fuzz_folder_make.c)
 *   q                   no more */
static void change(fuzz_folder *f, fuzz_input *in, char op)
{
    char path[PATH_BYTES];
    switch (op) {
    case 's':
    case 'c':
    case 'd':
        two_files(f, in, op);
        break;
    case 'r':
        if (pick(f, in, path))
            simfs_remove(f->sim, path);
        break;
    case 't':
        change_size(f, in);
        break;
    case 'e':
        change_bytes(f, in);
        break;
    case 'b':
        change_table(f, in);
        break;
    case 'm':
        change_manifest(f, in);
        break;
    case 'l':
        change_segment(f, in);
        break;
    case 'o':
    case 'x':
        take_from(f, in, op == 'x');
        break;
    case 'n':
        new_file(f, in);
        break;
    case 'k':
        make_folder(f, in);
        break;
    case 'w':
        if (f->operated++ < FUZZ_OPERATES)
            fuzz_folder_operate(f->sim, in);
        break;
    default:
        break;
    }
}

void fuzz_folder_change(fuzz_folder *f, fuzz_input *in)
{
    char op;
    for (int n = 0; n < 32 && (op = fuzz_letter(in)) != 'q'; n++)
        change(f, in, op);
}
