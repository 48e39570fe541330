/* fuzz_folder_make: stores for the folder target, made by firn itself. Of each kind there are images of
 * five ages, so that a file can be put back to what it was before.
 *
 *   store 0   some keys, two flushes, a range delete in the log, a log with more; at last closed
 *   store 1   flushes and compactions down to the last level, deletes, range deletes in tables; at last
 *             the process was killed
 *   store 2   values that fill several segments, compressed tables, a second life
 */
#include <base/slice.h>
#include <engine/engine.h>
#include <string.h>

#include "fuzz_folder_bytes.h"

static fuzz_image images[FUZZ_STORES][FUZZ_AGES];

/* ---- Images ---- */

static int take_file(void *ctx, const char *path, uint64_t size)
{
    fuzz_image *i = ctx;
    (void)size;
    i->files = realloc(i->files, (i->count + 1) * sizeof *i->files);
    FUZZ_CHECK(i->files);
    i->files[i->count++] = (fuzz_file){.path = strdup(path)};
    return 0;
}

static void take_image(fuzz_image *i, simfs *sim)
{
    simfs_each(sim, FUZZ_FOLDER, take_file, i);
    for (size_t n = 0; n < i->count; n++) {
        fuzz_file *f = &i->files[n];
        const uint8_t *data = simfs_peek(sim, f->path, &f->size);
        f->data = malloc(f->size + 1);
        FUZZ_CHECK(f->data);
        if (f->size > 0)
            memcpy(f->data, data, f->size);
    }
}

/* ---- Making ---- */

void fuzz_folder_options(firn_options *o)
{
    firn_options_init(o);
    o->memory = 4 << 20;
    o->segment_bytes = 8 << 10;
    o->table_bytes = 4 << 10;
}

static firn *open_store(simfs *sim, unsigned store)
{
    const engine_config config = {.fs = simfs_fs(sim), .inline_work = true};
    firn_options o;
    firn *db;
    fuzz_folder_options(&o);
    if (store == 2)
        o.compression = FIRN_COMPRESSION_LZ4;
    FUZZ_CHECK(engine_open(FUZZ_FOLDER, &o, &config, &db, NULL) == FIRN_OK);
    return db;
}

static void put_some(firn *db, unsigned from, unsigned count, size_t value_bytes)
{
    uint8_t value[4096];
    for (unsigned i = from; i < from + count; i++) {
        char key[16];
        snprintf(key, sizeof key, "key%02u", i % 100);
        memset(value, 'a' + (int)(i % 26), sizeof value);
        memcpy(value, key, 5);
        if (i % 7 == 6)
            FUZZ_CHECK(firn_delete(db, key, 5, NULL, NULL) == FIRN_OK);
        else
            FUZZ_CHECK(firn_put(db, key, 5, value, value_bytes, NULL, NULL) == FIRN_OK);
    }
}

static void delete_some(firn *db, unsigned from, unsigned end)
{
    char first_key[16], end_key[16];
    snprintf(first_key, sizeof first_key, "key%02u", from % 100);
    snprintf(end_key, sizeof end_key, "key%02u", end % 100);
    firn_slice first = slice_of_str(first_key), behind = slice_of_str(end_key);
    const firn_range range = {.first = &first, .end = &behind};
    (void)firn_delete_range(db, &range, NULL, NULL); /* refused when it is empty */
}

static void make_age(simfs *sim, firn **db, unsigned store, unsigned age)
{
    const size_t value_bytes = store == 2 ? 900 : 20;
    put_some(*db, age * (store == 1 ? 3 : 8), 10, value_bytes);
    if (age > 0)
        delete_some(*db, age * 4, age * 4 + 3);
    if (age > 2)
        delete_some(*db, 0, 60);
    if (age == 1 || age == 2 || store == 1)
        FUZZ_CHECK(firn_flush(*db, NULL) == FIRN_OK);
    if (age == 2 && store > 0)
        FUZZ_CHECK(firn_compact(*db, NULL, 0, NULL, 0, NULL) == FIRN_OK);
    if (age == 3 && store == 2) {
        FUZZ_CHECK(firn_close(*db, NULL) == FIRN_OK);
        *db = open_store(sim, store);
        put_some(*db, 50, 5, value_bytes);
    }
    if (age == FUZZ_AGES - 1 && store == 0) {
        FUZZ_CHECK(firn_close(*db, NULL) == FIRN_OK);
        *db = NULL;
    }
}

static void make_store(unsigned store)
{
    simfs *sim = simfs_new(store + 1);
    firn *db = open_store(sim, store);
    for (unsigned age = 0; age < FUZZ_AGES; age++) {
        make_age(sim, &db, store, age);
        take_image(&images[store][age], sim);
    }
    (void)firn_close(db, NULL);
    simfs_free(sim);
}

const fuzz_image *fuzz_folder_image(unsigned store, unsigned age)
{
    if (images[0][0].count == 0)
        for (unsigned i = 0; i < FUZZ_STORES; i++)
            make_store(i);
    return &images[store % FUZZ_STORES][age % FUZZ_AGES];
}

/* ---- More life in a store that may be damaged ---- */

/* Digits: 0 to 4 put so many keys, 5 deletes one, 6 flushes, 7 compacts, 8 reopens, 9 deletes a range,
 * others close. */
void fuzz_folder_operate(simfs *sim, fuzz_input *in)
{
    const engine_config config = {.fs = simfs_fs(sim), .inline_work = true};
    firn_options o;
    firn *db = NULL;
    fuzz_folder_options(&o);
    (void)engine_open(FUZZ_FOLDER, &o, &config, &db, NULL);
    for (int n = 0; n < 12 && db; n++) {
        uint32_t what = fuzz_small(in);
        uint8_t which = fuzz_u8(in);
        char key[16];
        snprintf(key, sizeof key, "key%02u", which % 100u);
        for (uint32_t i = 0; i <= what && what < 5; i++, key[4] ^= 1)
            (void)firn_put(db, key, 5, "another value", 13, NULL, NULL);
        if (what == 5)
            (void)firn_delete(db, key, 5, NULL, NULL);
        else if (what == 6)
            (void)firn_flush(db, NULL);
        else if (what == 7)
            (void)firn_compact(db, NULL, 0, NULL, 0, NULL);
        else if (what == 9)
            delete_some(db, which, which + 20U);
        if (what < 8 || what == 9)
            continue;
        (void)firn_close(db, NULL);
        db = NULL;
        if (what == 8)
            (void)engine_open(FUZZ_FOLDER, &o, &config, &db, NULL);
    }
    (void)firn_close(db, NULL);
}
