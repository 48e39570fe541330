/* Another process writes into the tables and the log while the store has them mapped. What it reads may be wrong, or be
 * refused; but no call may leave the bytes that it has, or end the process. The other process is a thread here, with mappings of
 * its own of the same files. */
#include "base/check.h"

#include <base/entry.h>
#include <base/error.h>
#include <base/thread.h>
#include <dirent.h>
#include <engine/engine.h>
#include <fcntl.h>
#include <firn/wal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/rng.h"
#include "support/tempdir.h"

enum { KEYS = 4000, IN_LOG = 1500, FILES_MAX = 64, ROUNDS = 8, VALUE_MAX = 300 };

typedef struct mapped_file {
    uint8_t *data;
    size_t size;
} mapped_file;

typedef struct changer {
    mapped_file files[FILES_MAX];
    unsigned count;
    atomic_bool stop;
    _Atomic uint64_t changes;
    uint64_t seed;
    thread thread;
} changer;

static char folder[4096];
static firn *db;
static firn_error err;

static void must(int rc)
{
    char text[1024];
    if (rc == FIRN_OK)
        return;
    firn_error_format(&err, text, sizeof text);
    fail_msg("%s", text);
}

static size_t key_of(unsigned i, char out[64])
{
    return (size_t)snprintf(out, 64, "%s%06u", i % 3 ? "a common beginning " : "k",
                            i * 7919 % KEYS);
}

static void put_some(unsigned first, unsigned count)
{
    char value[VALUE_MAX];
    memset(value, 'v', sizeof value);
    for (unsigned i = first; i < first + count; i++) {
        char key[64];
        size_t n = key_of(i, key);
        must(i % 11 ? firn_put(db, key, n, value, i % VALUE_MAX, NULL, &err)
                    : firn_delete(db, key, n, NULL, &err));
    }
}

static void begin(uint64_t seed)
{
    firn_options o;
    firn_options_init(&o);
    o.memory = 4 << 20;
    o.table_bytes = 64 << 10;
    o.compression = FIRN_COMPRESSION_NONE;
    o.durability = FIRN_DURABILITY_NONE;
    must(firn_open(folder, &o, &db, &err));
    put_some((unsigned)seed * 100, KEYS);
    must(firn_flush(db, &err));
    put_some((unsigned)seed * 100, KEYS);
    must(firn_compact(db, NULL, 0, NULL, 0, &err));
    put_some(0, IN_LOG);
    must(firn_flush(db, &err));
    put_some(0, IN_LOG);
}

static void changer_map(changer *v, const char *suffix)
{
    DIR *d = opendir(folder);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        char path[8192];
        struct stat st;
        size_t n = strlen(e->d_name);
        if (n < 4 || strcmp(e->d_name + n - 4, suffix) != 0 || v->count == FILES_MAX)
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        int fd = open(path, O_RDWR);
        if (fd < 0)
            continue;
        assert_int_equal(fstat(fd, &st), 0);
        void *data = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        close(fd);
        if (data != MAP_FAILED)
            v->files[v->count++] = (mapped_file){data, (size_t)st.st_size};
    }
    closedir(d);
}

/* Mostly where there is something, and bytes that are likely to make a length odd. */
static void changer_run(void *arg)
{
    static const uint8_t likely[] = {0, 1, 0x3f, 0x7f, 0x80, 0xc0, 0xff};
    changer *v = arg;
    rng r = rng_init(v->seed);
    while (!atomic_load(&v->stop)) {
        const mapped_file *f = &v->files[rng_below(&r, v->count)];
        size_t used = f->size < 200 << 10 ? f->size : 200 << 10;
        uint8_t *at = f->data + rng_below(&r, used);
        uint8_t before = *at;
        *at = rng_below(&r, 2) ? likely[rng_below(&r, sizeof likely)] : (uint8_t)rng_below(&r, 256);
        atomic_fetch_add(&v->changes, 1);
        for (unsigned spin = (unsigned)rng_below(&r, 2000); spin > 0; spin--)
            __asm__ volatile("" ::: "memory");
        if (rng_below(&r, 64)) /* most are put back, so that not all is refused at once */
            *at = before;
    }
}

static void changer_start(changer *v, uint64_t seed, bool tables, bool logs)
{
    *v = (changer){.seed = seed};
    if (tables)
        changer_map(v, ".tbl");
    if (logs)
        changer_map(v, ".wal");
    assert_true(v->count > 0);
    assert_int_equal(thread_start(&v->thread, "changer", changer_run, v), 0);
}

static void changer_end(changer *v)
{
    atomic_store(&v->stop, true);
    thread_join(&v->thread);
    for (unsigned i = 0; i < v->count; i++)
        munmap(v->files[i].data, v->files[i].size);
}

static void touch(const uint8_t *data, size_t size)
{
    volatile uint8_t sum = 0;
    for (size_t i = 0; i < size; i++)
        sum = (uint8_t)(sum + data[i]);
}

static void get_many(rng *r)
{
    enum { COUNT = 40 };
    char room[COUNT][64];
    firn_slice keys[COUNT];
    firn_value values[COUNT];
    int statuses[COUNT];
    for (unsigned i = 0; i < COUNT; i++)
        keys[i] =
            (firn_slice){(const uint8_t *)room[i], key_of((unsigned)rng_below(r, KEYS), room[i])};
    (void)firn_get_many(db, keys, COUNT, NULL, values, statuses, &err);
    for (unsigned i = 0; i < COUNT; i++) {
        assert_true(values[i].size <= 8 << 20);
        touch(values[i].data, values[i].size);
        firn_value_release(&values[i]);
    }
}

static void get_some(rng *r, unsigned count)
{
    while (count-- > 0) {
        if (count % 50 == 0)
            get_many(r);
        char key[64];
        firn_value v;
        size_t n = key_of((unsigned)rng_below(r, KEYS), key), size = 0;
        if (firn_get(db, key, n, NULL, &v, &err) == FIRN_OK) {
            assert_true(v.size <= 8 << 20); /* a segment, or a table */
            touch(v.data, v.size);
            firn_value_release(&v);
        }
        char into[VALUE_MAX];
        (void)firn_get_into(db, key, n, NULL, into, sizeof into, &size, &err);
    }
}

static void walk(rng *r, bool backward)
{
    firn_iter_options io;
    firn_iter *it = NULL;
    char key[64];
    firn_iter_options_init(&io);
    io.bypass_cache = rng_below(r, 2);
    must(firn_iter_new(db, &io, &it, &err));
    size_t n = key_of((unsigned)rng_below(r, KEYS), key);
    int rc = rng_below(r, 2) ? (backward ? firn_iter_last(it) : firn_iter_first(it))
             : backward      ? firn_iter_seek_for_prev(it, key, n)
                             : firn_iter_seek(it, key, n);
    for (unsigned steps = 0; rc == FIRN_OK && steps < 2 * KEYS; steps++) {
        firn_slice k = firn_iter_key(it), v = firn_iter_value(it);
        assert_true(k.size <= FIRN_MAX_KEY_BYTES && v.size <= 8 << 20);
        touch(k.data, k.size);
        touch(v.data, v.size);
        rc = backward ? firn_iter_prev(it) : firn_iter_next(it);
    }
    firn_iter_free(it);
}

static void ignore_line(void *ctx, const char *text)
{
    (void)ctx;
    (void)text;
}

static int ignore_entry(void *ctx, const firn_wal_entry *e)
{
    (void)ctx;
    touch(e->key.data, e->key.size);
    touch(e->value.data, e->value.size);
    return 0;
}

/* The log on its own, read while it changes. */
static void replay(void)
{
    firn_wal *log = NULL;
    firn_wal_options o;
    firn_wal_options_init(&o);
    o.read_only = true;
    o.recovery = FIRN_RECOVERY_SALVAGE;
    if (firn_wal_open(folder, &o, NULL, &log, &err) != FIRN_OK)
        return;
    (void)firn_wal_replay(log, 0, ignore_entry, NULL, NULL, &err);
    firn_wal_close(log, NULL);
}

static void live_with_a_changer(uint64_t seed)
{
    rng r = rng_init(seed + 100);
    changer v;
    char *temp = tempdir_new();
    snprintf(folder, sizeof folder, "%s/store", temp);
    begin(seed);
    changer_start(&v, seed, seed % 3 != 1, seed % 3 != 2);
    for (unsigned round = 0; round < 12; round++) {
        get_some(&r, 2000);
        walk(&r, round & 1);
        if (round == 4)
            (void)firn_flush(db, &err); /* from the log */
        if (round == 6)
            (void)firn_compact(db, NULL, 0, NULL, 0, &err);
        if (round == 8)
            (void)firn_check(folder, ignore_line, NULL, NULL, &err);
        if (round == 9)
            replay();
        char key[64];
        size_t n = key_of(round, key);
        (void)firn_put(db, key, n, "x", 1, NULL, &err);
    }
    assert_true(atomic_load(&v.changes) > 100);
    changer_end(&v); /* closing cuts the log, and it would fall off its end */
    (void)firn_close(db, &err);
    changer_start(&v, seed, true, false);
    for (unsigned i = 0; i < 2; i++) {
        if (firn_open(folder, NULL, &db, &err) == FIRN_OK) {
            get_some(&r, 1000);
            walk(&r, i);
            (void)firn_close(db, &err);
        }
        (void)firn_repair(folder, NULL, NULL, NULL, NULL, &err);
    }
    changer_end(&v);
    tempdir_remove(temp);
}

static void what_another_process_writes_into_the_files_ends_no_call(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < ROUNDS; seed++)
        live_with_a_changer(seed);
}

/* Where the store's log has these bytes. */
static uint8_t *find_in_log(const changer *v, const char *text)
{
    for (unsigned i = 0; i < v->count; i++) {
        uint8_t *at = memmem(v->files[i].data, v->files[i].size, text, strlen(text));
        if (at)
            return at;
    }
    fail_msg("the log has no %s", text);
    return NULL;
}

/* A store with one entry, which lies in the log that is mapped for changing. Returns the folder to remove. */
static char *begin_with_one(const char *key, const char *value, changer *v)
{
    char *temp = tempdir_new();
    snprintf(folder, sizeof folder, "%s/store", temp);
    begin(1);
    must(firn_put(db, key, strlen(key), value, strlen(value), NULL, &err));
    changer_map(v, ".wal");
    return temp;
}

static void an_entry_of_the_log_that_has_changed_is_told(void **state)
{
    (void)state;
    static const char key[] = "the key", value[] = "the value that will not be one";
    firn_value got;
    firn_iter *it = NULL;
    changer v = {0};
    char *temp = begin_with_one(key, value, &v);
    uint8_t *header = find_in_log(&v, value) - strlen(key) - ENTRY_HEADER_BYTES;
    uint8_t kind = *header;
    *header = 0;
    assert_int_equal(firn_get(db, key, strlen(key), NULL, &got, &err), FIRN_DAMAGED);
    assert_true(strstr(err.message, "changed") && err.hint[0]);
    must(firn_iter_new(db, NULL, &it, &err));
    assert_int_equal(firn_iter_seek(it, key, strlen(key)), FIRN_DAMAGED);
    assert_int_equal(firn_iter_status(it, &err), FIRN_DAMAGED);
    assert_true(strstr(err.message, "changed") && err.hint[0]);
    *header = kind;
    assert_int_equal(firn_iter_seek(it, key, strlen(key)), FIRN_OK);
    firn_iter_free(it);
    must(firn_get(db, key, strlen(key), NULL, &got, &err));
    assert_int_equal(got.size, strlen(value));
    firn_value_release(&got);
    for (unsigned i = 0; i < v.count; i++)
        munmap(v.files[i].data, v.files[i].size);
    must(firn_close(db, &err));
    tempdir_remove(temp);
}

/* The key of an entry is another one now, and stands where it does not belong: no table is to blame. */
static void a_flush_of_an_entry_that_has_changed_blames_the_log(void **state)
{
    (void)state;
    static const char key[] = "the key", value[] = "the value of a key that changes";
    firn_value got;
    changer v = {0};
    char *temp = begin_with_one(key, value, &v);
    uint8_t *first = find_in_log(&v, value) - strlen(key);
    assert_int_equal(*first, key[0]);
    *first = 'a'; /* its place is in front of the keys that begin with k now */
    /* Writing has stopped, and this is why. */
    assert_int_equal(firn_flush(db, &err), FIRN_POISONED);
    assert_non_null(strstr(err.message, "an entry of the log has changed"));
    assert_non_null(strstr(err.hint, "another program writes into the store's files"));
    *first = (uint8_t)key[0];
    for (unsigned i = 0; i < v.count; i++)
        munmap(v.files[i].data, v.files[i].size);
    (void)firn_close(db, &err);
    must(firn_open(folder, NULL, &db, &err));
    must(firn_get(db, key, strlen(key), NULL, &got, &err));
    assert_int_equal(got.size, strlen(value));
    firn_value_release(&got);
    must(firn_close(db, &err));
    tempdir_remove(temp);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_entry_of_the_log_that_has_changed_is_told),
        cmocka_unit_test(a_flush_of_an_entry_that_has_changed_blames_the_log),
        cmocka_unit_test(what_another_process_writes_into_the_files_ends_no_call),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
