/* bed: see bed.h. */
#include "at.h"
#include "bed.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <base/hash.h>

#include "support/tempdir.h"

/* ---- keys ---- */

static int by_key(const void *a, const void *b)
{
    return slice_compare(*(const firn_slice *)a, *(const firn_slice *)b);
}

#define LONG_KEY 700

static size_t random_key(rng *r, uint8_t *out)
{
    static const uint8_t letters[] = {0, 0, 'a', 'a', 'b', 0xff};
    size_t size = rng_below(r, 24) == 0 ? 100 + rng_below(r, LONG_KEY - 100) : rng_below(r, 21);
    /* Few letters in short keys: prefixes of each other; many in long ones. */
    for (size_t i = 0; i < size; i++)
        out[i] = letters[rng_below(r, sizeof letters)];
    return size;
}

static void *bed_alloc(size_t size)
{
    void *p = malloc(size ? size : 1);
    if (!p)
        abort();
    return p;
}

void keyset_random(keyset *k, rng *r, size_t count)
{
    k->keys = bed_alloc(count * sizeof *k->keys);
    k->bytes = bed_alloc(count * LONG_KEY);
    k->count = 0;
    while (k->count < count) {
        uint8_t *room = k->bytes + k->count * LONG_KEY;
        firn_slice key = {room, random_key(r, room)};
        bool known = false;
        for (size_t i = 0; i < k->count && !known; i++)
            known = slice_equal(k->keys[i], key);
        if (!known)
            k->keys[k->count++] = key;
    }
    qsort(k->keys, count, sizeof *k->keys, by_key);
}

void keyset_plain(keyset *k, size_t count)
{
    k->keys = bed_alloc(count * sizeof *k->keys);
    k->bytes = bed_alloc(count * 24);
    k->count = count;
    for (size_t i = 0; i < count; i++) {
        char *room = (char *)k->bytes + i * 24;
        snprintf(room, 24, "k%03zu", i);
        k->keys[i] = slice_of_str(room);
    }
}

void keyset_release(keyset *k)
{
    free(k->keys);
    free(k->bytes);
    *k = (keyset){0};
}

size_t keyset_find(const keyset *k, firn_slice key)
{
    size_t low = 0, high = k->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (slice_compare(k->keys[middle], key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* ---- values ---- */

static _Thread_local uint8_t value_room[VALUE_MAX + 8];

const uint8_t *value_bytes(uint64_t number)
{
    size_t size = value_size(number);
    for (size_t i = 0; i < size; i += 8) {
        uint64_t word = mix64(number ^ (i / 16));
        memcpy(value_room + i, &word, 8);
    }
    return value_room;
}

bool value_is(uint64_t number, firn_slice bytes)
{
    return bytes.size == value_size(number) &&
           (bytes.size == 0 || memcmp(bytes.data, value_bytes(number), bytes.size) == 0);
}

/* ---- comparing ---- */

bool wrong(char *why, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(why, WHY, format, args);
    va_end(args);
    return false;
}

bool wrong_status(char *why, const char *what, int rc, const firn_error *err)
{
    char text[400] = "";
    firn_error_format(err, text, sizeof text);
    return wrong(why, "%s: %s: %s", what, firn_status_name(rc), text);
}

const char *key_text(firn_slice key)
{
    static _Thread_local char ring[4][96];
    static _Thread_local unsigned at;
    char *out = ring[at++ % 4];
    size_t used = 0;
    out[0] = 0;
    for (size_t i = 0; i < key.size && used < 80; i++) {
        bool plain = key.data[i] > ' ' && key.data[i] < 0x7f;
        used += (size_t)snprintf(out + used, 96 - used, plain ? "%c" : "\\x%02x", key.data[i]);
    }
    snprintf(out + used, 96 - used, "(%zu)", key.size);
    return out;
}

bool compare_get(firn *db, const firn_snapshot *snapshot, firn_slice key, uint64_t number,
                 char *why)
{
    firn_value v = {0};
    firn_error err = {0};
    int rc = firn_get(db, key.data, key.size, AT(snapshot), &v, &err);
    if (rc != FIRN_OK && rc != FIRN_NOT_FOUND)
        return wrong_status(why, "get", rc, &err);
    if (rc == FIRN_NOT_FOUND)
        return number == 0 || wrong(why, "get %s: not found, should have %zu bytes", key_text(key),
                                    value_size(number));
    bool right = number != 0 && value_is(number, (firn_slice){v.data, v.size});
    if (!right)
        wrong(why, "get %s: %zu bytes found, should be %s (%zu bytes)", key_text(key), v.size,
              number ? "another value" : "absent", value_size(number));
    firn_value_release(&v);
    return right;
}

static bool compare_element(const firn_iter *it, firn_slice key, uint64_t number, char *why)
{
    if (!slice_equal(firn_iter_key(it), key))
        return wrong(why, "iterator at %s, should be at %s", key_text(firn_iter_key(it)),
                     key_text(key));
    return value_is(number, firn_iter_value(it)) ||
           wrong(why, "iterator at %s: %zu bytes, should be another value of %zu bytes",
                 key_text(key), firn_iter_value(it).size, value_size(number));
}

static bool compare_end(const firn_iter *it, int rc, char *why)
{
    firn_error err = {0};
    if (rc == FIRN_END)
        return true;
    if (rc == FIRN_OK)
        return wrong(why, "iterator at %s, should be at its end", key_text(firn_iter_key(it)));
    return wrong_status(why, "iterator", firn_iter_status(it, &err), &err);
}

static bool walk(firn_iter *it, bool backward, const keyset *k, const uint64_t *state, char *why)
{
    int rc = backward ? firn_iter_last(it) : firn_iter_first(it);
    for (size_t n = 0; n < k->count; n++) {
        size_t i = backward ? k->count - 1 - n : n;
        if (state[i] == 0)
            continue;
        if (rc == FIRN_END)
            return wrong(why, "iterator at its end, should be at %s", key_text(k->keys[i]));
        if (rc != FIRN_OK)
            return compare_end(it, rc, why);
        if (!compare_element(it, k->keys[i], state[i], why))
            return false;
        rc = backward ? firn_iter_prev(it) : firn_iter_next(it);
    }
    return compare_end(it, rc, why);
}

static bool compare_walk(firn *db, const firn_snapshot *snapshot, bool backward, const keyset *k,
                         const uint64_t *state, char *why)
{
    firn_iter_options o;
    firn_iter *it = NULL;
    firn_error err = {0};
    firn_iter_options_init(&o);
    o.snapshot = snapshot;
    int rc = firn_iter_new(db, &o, &it, &err);
    if (rc != FIRN_OK)
        return wrong_status(why, "firn_iter_new", rc, &err);
    bool right = walk(it, backward, k, state, why);
    firn_iter_free(it);
    return right;
}

bool compare_forward(firn *db, const firn_snapshot *snapshot, const keyset *k,
                     const uint64_t *state, char *why)
{
    return compare_walk(db, snapshot, false, k, state, why);
}

bool compare_backward(firn *db, const firn_snapshot *snapshot, const keyset *k,
                      const uint64_t *state, char *why)
{
    return compare_walk(db, snapshot, true, k, state, why);
}

bool compare_all(firn *db, const firn_snapshot *snapshot, const keyset *k, const uint64_t *state,
                 char *why)
{
    for (size_t i = 0; i < k->count; i++)
        if (!compare_get(db, snapshot, k->keys[i], state[i], why))
            return false;
    return compare_forward(db, snapshot, k, state, why) &&
           compare_backward(db, snapshot, k, state, why);
}

/* ---- a store ---- */

void bed_small(firn_options *options)
{
    firn_options_init(options);
    options->memory = 1 << 20;
    options->segment_bytes = 8 << 10;
    options->table_bytes = 4 << 10;
}

void bed_on_simfs(bed *b, uint64_t seed)
{
    *b = (bed){.sim = simfs_new(seed)};
    b->folder = strdup("/store");
    b->config = (engine_config){.fs = simfs_fs(b->sim), .inline_work = true, .gap_steps = 2};
    bed_small(&b->options);
}

void bed_on_disk(bed *b)
{
    *b = (bed){.root = tempdir_new()};
    size_t size = strlen(b->root) + sizeof "/store";
    b->folder = bed_alloc(size);
    snprintf(b->folder, size, "%s/store", b->root);
    b->config.gap_steps = 2;
    bed_small(&b->options);
}

int bed_open(bed *b, firn_error *err)
{
    return engine_open(b->folder, &b->options, &b->config, &b->db, err);
}

void bed_must_open(bed *b)
{
    MUST(bed_open(b, error));
}

void bed_must_close(bed *b)
{
    firn *db = b->db;
    b->db = NULL;
    MUST(firn_close(db, error));
}

void bed_put(bed *b, const char *key, const char *value)
{
    MUST(firn_put(b->db, key, strlen(key), value, strlen(value), NULL, error));
}

void bed_delete(bed *b, const char *key)
{
    MUST(firn_delete(b->db, key, strlen(key), NULL, error));
}

void bed_expect(bed *b, const firn_snapshot *snapshot, const char *key, const char *value)
{
    firn_value v = {0};
    firn_error err = {0};
    int rc = firn_get(b->db, key, strlen(key), AT(snapshot), &v, &err);
    if (rc == FIRN_NOT_FOUND && !value)
        return;
    if (rc == FIRN_NOT_FOUND)
        fail_msg("%s is not there, should be \"%s\"", key, value);
    must_ok(rc, &err, "firn_get", __FILE__, __LINE__);
    if (!value)
        fail_msg("%s is there, should not be", key);
    if (v.size != strlen(value) || memcmp(v.data, value, v.size) != 0)
        fail_msg("%s is \"%.*s\", should be \"%s\"", key, (int)v.size, (const char *)v.data, value);
    firn_value_release(&v);
}

void bed_flush(bed *b)
{
    MUST(firn_flush(b->db, error));
}

firn_stats bed_stats(bed *b)
{
    firn_stats s = {.size = sizeof s};
    MUST(firn_get_stats(b->db, &s, error));
    return s;
}

uint64_t bed_tables(bed *b)
{
    firn_stats s = bed_stats(b);
    uint64_t tables = 0;
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        tables += s.level_tables[n];
    return tables;
}

void bed_release(bed *b)
{
    firn_close(b->db, NULL);
    if (b->sim)
        simfs_free(b->sim);
    tempdir_remove(b->root);
    free(b->folder);
    *b = (bed){0};
}

void must_ok(int rc, const firn_error *err, const char *call, const char *file, int line)
{
    if (rc == FIRN_OK)
        return;
    char text[600] = "";
    firn_error_format(err, text, sizeof text);
    print_error("%s:%d: %s: %s: %s\n", file, line, call, firn_status_name(rc), text);
    fail();
}

uint64_t seed_from_environment(uint64_t otherwise)
{
    const char *text = getenv("FIRN_SEED");
    return text && text[0] ? strtoull(text, NULL, 0) : otherwise;
}

bool long_run(void)
{
    const char *text = getenv("FIRN_LONG");
    return text && text[0] && strcmp(text, "0") != 0;
}

int bed_fail_reads(void *ctx, unsigned call, uint64_t index, const char *name)
{
    (void)index;
    return *(bool *)ctx && call == SIMFS_READ && strstr(name, ".tbl") ? EIO : 0;
}
