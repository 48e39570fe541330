/* fuzz_manifest: a manifest, right checksums included (engine/manifest.h).
 *
 * The first byte chooses: bit 0 set, and what follows are the bytes of one record; else what follows
 * are operations (fuzz_manifest_bytes.c).
 *
 * What must hold: the manifest is read, or refused with a whole error that names it; nothing is
 * written, and little memory is held; what was read keeps what a version promises (V1, V2, and that
 * no table stands in it twice); written as a new manifest it reads as the same state; and it can be
 * gone on with.
 */
#include <base/search.h>
#include <base/slice.h>
#include <string.h>
#include <support/simfs.h>

#include "fuzz_manifest_bytes.h"
#include "fuzz_memory.h"
#include <store/manifest.h>

/* A table of a few bytes becomes an object with a lock; the file is read through a window. */
#define MEMORY_TIMES 96
#define MEMORY_MORE  (1 << 20)

/* ---- What a version promises ---- */

static void check_table(const table *t)
{
    const sst_properties *p = &t->properties;
    FUZZ_CHECK(t->no > 0);
    FUZZ_CHECK(slice_compare(p->key_min, p->key_max) <= 0);
    FUZZ_CHECK(p->key_min.size <= FIRN_MAX_KEY_BYTES && p->key_max.size <= FIRN_MAX_KEY_BYTES);
    FUZZ_CHECK(p->seq_min <= p->seq_max && p->seq_max <= FIRN_MAX_SEQ);
}

static void check_version(const version *v)
{
    size_t count = 0, room = (size_t)version_tables(v);
    uint64_t *numbers = malloc((room + 1) * sizeof *numbers);
    FUZZ_CHECK(numbers);
    for (unsigned n = 0; n < FIRN_LEVELS; n++) {
        const level *l = &v->levels[n];
        uint64_t bytes = 0;
        size_t ranged = 0;
        for (size_t i = 0; i < l->count; i++) {
            const sst_properties *p = &l->tables[i]->properties;
            const sst_properties *before = i > 0 ? &l->tables[i - 1]->properties : NULL;
            check_table(l->tables[i]);
            FUZZ_CHECK(!before || n > 0 || before->seq_max >= p->seq_max);
            FUZZ_CHECK(!before || n == 0 || slice_compare(before->key_max, p->key_min) < 0);
            bytes += p->file_bytes;
            ranged += p->ranges > 0;
            FUZZ_CHECK(p->ranges <= p->deletes);
            numbers[count++] = l->tables[i]->no;
        }
        FUZZ_CHECK(l->bytes == bytes && l->ranged == ranged);
    }
    FUZZ_CHECK(count == room);
    qsort(numbers, count, sizeof *numbers, order_u64);
    for (size_t i = 1; i < count; i++)
        FUZZ_CHECK(numbers[i - 1] < numbers[i]);
    free(numbers);
}

/* ---- The same state ---- */

static bool same_table(const table *a, const table *b)
{
    const sst_properties *x = &a->properties, *y = &b->properties;
    return a->no == b->no && x->file_bytes == y->file_bytes && x->entries == y->entries &&
           x->deletes == y->deletes && x->ranges == y->ranges && x->raw_bytes == y->raw_bytes &&
           x->data_bytes == y->data_bytes && x->blocks == y->blocks && x->seq_min == y->seq_min &&
           x->seq_max == y->seq_max && x->created_us == y->created_us &&
           slice_equal(x->key_min, y->key_min) && slice_equal(x->key_max, y->key_max);
}

static void check_same_version(const version *a, const version *b)
{
    for (unsigned n = 0; n < FIRN_LEVELS; n++) {
        FUZZ_CHECK(a->levels[n].count == b->levels[n].count);
        for (size_t i = 0; i < a->levels[n].count; i++)
            FUZZ_CHECK(same_table(a->levels[n].tables[i], b->levels[n].tables[i]));
    }
}

static void check_same(const manifest_state *a, const manifest_state *b)
{
    FUZZ_CHECK(memcmp(a->store_id, b->store_id, 16) == 0);
    FUZZ_CHECK(a->flushed_seq == b->flushed_seq && a->covered_no == b->covered_no &&
               a->next_file_no == b->next_file_no);
    check_same_version(a->version, b->version);
}

/* ---- Reading and writing ---- */

static bool load(const table_env *env, uint64_t no, manifest_state *s)
{
    firn_error err = {0};
    *s = (manifest_state){0};
    int rc = manifest_load(env, no, s, &err);
    FUZZ_CHECK(rc == FIRN_OK || rc == FIRN_DAMAGED || rc == FIRN_UNSUPPORTED);
    if (rc == FIRN_OK)
        return true;
    FUZZ_CHECK(err.status == rc && err.message[0] && err.hint[0] && strstr(err.file, ".manifest"));
    FUZZ_CHECK(!s->version);
    return false;
}

/* A store that was closed at operation 7 says so in `m`, which is manifest `no` and holds `s` in `records` records. */
static void check_close(const table_env *env, uint64_t no, manifest *m, const manifest_state *s,
                        uint64_t records)
{
    manifest_state after;
    const edit e = {.closed = true, .closed_seq = 7};
    FUZZ_CHECK(manifest_write(m, &e, NULL) == FIRN_OK);
    manifest_close(m);
    FUZZ_CHECK(load(env, no, &after));
    FUZZ_CHECK(after.records == records + 1 && after.closed_clean && after.closed_seq == 7 &&
               !after.torn);
    check_same(s, &after);
    manifest_state_release(&after);
}

/* In a new manifest, and, as where there is no room for one, in the one that was read. */
static void check_goes_on(const table_env *env, const manifest_state *s)
{
    manifest *m;
    FUZZ_CHECK(manifest_settle(env->dir, 5, s, &m, NULL) == FIRN_OK && m);
    FUZZ_CHECK(!manifest_is_worn(m));
    check_close(env, 5, m, s, 1);
    FUZZ_CHECK(manifest_continue(env->dir, s, &m, NULL) == FIRN_OK);
    FUZZ_CHECK(manifest_is_worn(m));
    check_close(env, s->manifest_no, m, s, s->records);
}

static void check_state(const table_env *env, const manifest_state *s, uint64_t file_bytes)
{
    manifest *m;
    manifest_state again;
    FUZZ_CHECK(s->manifest_no == 3 && s->records > 0 && s->file_bytes == file_bytes);
    FUZZ_CHECK(s->last >= FUZZ_MANIFEST_HEADER && s->last < s->end && s->end % 8 == 0);
    FUZZ_CHECK(s->torn ? s->end < file_bytes : s->end - file_bytes < 8);
    check_version(s->version);
    FUZZ_CHECK(manifest_create(env->dir, 4, s, &m, NULL) == FIRN_OK);
    manifest_close(m);
    FUZZ_CHECK(load(env, 4, &again));
    FUZZ_CHECK(again.records == 1 && !again.torn);
    check_same(s, &again);
    manifest_state_release(&again);
    check_goes_on(env, s);
}

static void check_file(firn_slice file)
{
    simfs *sim = simfs_new(1);
    table_env env = {0};
    manifest_state s;
    simfs_write_file(sim, "m/000000000003.manifest", file.data, file.size);
    FUZZ_CHECK(fs_dir_open(simfs_fs(sim), "m", &env.dir, NULL) == FIRN_OK);
    fuzz_memory_limit(file.size * MEMORY_TIMES + MEMORY_MORE);
    if (load(&env, 3, &s)) {
        FUZZ_CHECK(simfs_calls(sim, SIMFS_CHANGING) == 0);
        check_state(&env, &s, file.size);
        manifest_state_release(&s);
    }
    fuzz_memory_all_back();
    fs_dir_close(env.dir);
    FUZZ_CHECK(simfs_open_count(sim) == 0);
    simfs_free(sim);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t store_id[16] = "a store's number";
    fuzz_input in = {.data = data, .size = size};
    fuzz_manifest m = {0};
    uint8_t choice = fuzz_u8(&in);
    fuzz_manifest_begin(&m, store_id, 3, 42);
    if (choice & 1) {
        firn_slice bytes = fuzz_bytes(&in, SIZE_MAX);
        fuzz_append(&m.payload, bytes.data, bytes.size);
    } else {
        fuzz_manifest_change(&m, &in);
    }
    fuzz_manifest_finish(&m);
    check_file(fuzz_slice(&m.bytes));
    fuzz_manifest_release(&m);
    return 0;
}
