/* Stores that earlier versions of firn have written, and this one: tests/golden/. Each is copied,
 * and must hold what its text says, whatever is done to it. tests/golden/README.md has the form
 * of the texts. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "bed.h"
#include "support/tempdir.h"

#define GOLDEN FIRN_SOURCE_DIR "/tests/golden"

/* ---- A text: what a store must hold, by bucket and key ---- */

typedef struct holding {
    uint8_t *bucket, *key, *value; /* each with a NUL behind it */
    size_t bucket_size, key_size, value_size;
    bool is_key; /* else this line names a bucket */
    bool there;
} holding;

enum { HOLDINGS_MOST = 1000 };

typedef struct text {
    const char *name;
    size_t count;
    holding all[HOLDINGS_MOST];
} text;

static int compare_bytes(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size)
{
    return slice_compare((firn_slice){a, a_size}, (firn_slice){b, b_size});
}

/* A bucket's own line stands in front of those of its keys. */
static int compare_holdings(const holding *a, const holding *b)
{
    int order = compare_bytes(a->bucket, a->bucket_size, b->bucket, b->bucket_size);
    if (order == 0 && a->is_key != b->is_key)
        order = a->is_key ? 1 : -1;
    return order ? order : compare_bytes(a->key, a->key_size, b->key, b->key_size);
}

static void holding_release(holding *h)
{
    free(h->bucket);
    free(h->key);
    free(h->value);
}

static void text_release(text *t)
{
    for (size_t i = 0; i < t->count; i++)
        holding_release(&t->all[i]);
    free(t);
}

/* Puts it into its place, instead of what is there. */
static void text_set(text *t, holding h)
{
    size_t at = t->count;
    while (at > 0 && compare_holdings(&t->all[at - 1], &h) >= 0)
        at--;
    if (at < t->count && compare_holdings(&t->all[at], &h) == 0) {
        holding_release(&t->all[at]);
    } else {
        assert_true(t->count < HOLDINGS_MOST);
        memmove(t->all + at + 1, t->all + at, (t->count - at) * sizeof h);
        t->count++;
    }
    t->all[at] = h;
}

static uint8_t *copy_bytes(const void *bytes, size_t size, size_t repeats)
{
    uint8_t *copy = malloc(size * repeats + 1);
    assert_non_null(copy);
    for (size_t i = 0; i < repeats && size; i++)
        memcpy(copy + i * size, bytes, size);
    copy[size * repeats] = 0;
    return copy;
}

static unsigned digit_of(char c)
{
    assert_true((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'));
    return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

/* A field as bytes, and how often a `*` repeats them. */
static uint8_t *read_field(const char *field, size_t *size)
{
    uint8_t room[512];
    size_t used = 0, repeats = 1;
    if (strcmp(field, "-") == 0)
        field = "";
    for (; *field && *field != '*'; field++) {
        assert_true(used < sizeof room);
        if (*field == '\\') {
            assert_int_equal(field[1], 'x');
            room[used++] = (uint8_t)(digit_of(field[2]) * 16 + digit_of(field[3]));
            field += 3;
        } else {
            room[used++] = (uint8_t)*field;
        }
    }
    if (*field == '*')
        repeats = strtoul(field + 1, NULL, 10);
    *size = used * repeats;
    return copy_bytes(room, used, repeats);
}

static void text_read_line(text *t, char *line)
{
    line[strcspn(line, "\n")] = 0;
    if (line[0] == '#')
        return;
    holding h = {0};
    char *rest = NULL, *field = strtok_r(line, " ", &rest);
    assert_non_null(field);
    h.bucket = read_field(field, &h.bucket_size);
    field = strtok_r(NULL, " ", &rest);
    h.is_key = field != NULL;
    h.key = read_field(field ? field : "-", &h.key_size);
    field = strtok_r(NULL, " ", &rest);
    h.there = field != NULL;
    h.value = read_field(field ? field : "-", &h.value_size);
    text_set(t, h);
}

static text *text_read(const char *name)
{
    char path[4096], line[4096];
    text *t = calloc(1, sizeof *t);
    assert_non_null(t);
    t->name = name;
    snprintf(path, sizeof path, "%s/%s.txt", GOLDEN, name);
    FILE *f = fopen(path, "r");
    if (!f)
        fail_msg("%s is not there", path);
    while (fgets(line, sizeof line, f))
        text_read_line(t, line);
    fclose(f);
    return t;
}

/* ---- A copy of a store ---- */

static void copy_file(const char *from, const char *to)
{
    char room[4096];
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    assert_non_null(in);
    assert_non_null(out);
    for (size_t size; (size = fread(room, 1, sizeof room, in)) > 0;)
        assert_int_equal(fwrite(room, 1, size, out), size);
    assert_int_equal(fclose(in), 0);
    assert_int_equal(fclose(out), 0);
}

static char *copy_store(const char *name)
{
    char folder[2048], from[4096], to[4096];
    char *copy = tempdir_new();
    snprintf(folder, sizeof folder, "%s/%s", GOLDEN, name);
    DIR *d = opendir(folder);
    if (!d)
        fail_msg("%s is not there", folder);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        if (e->d_name[0] == '.')
            continue;
        snprintf(from, sizeof from, "%s/%s", folder, e->d_name);
        snprintf(to, sizeof to, "%s/%s", copy, e->d_name);
        copy_file(from, to);
    }
    closedir(d);
    return copy;
}

/* ---- A store beside its text ---- */

static bool compare_key(firn *db, const holding *h, char *why)
{
    firn_slice key = {h->key, h->key_size};
    firn_value v = {0};
    firn_error err = {0};
    int rc = firn_get(db, h->key, h->key_size, NULL, &v, &err);
    if (rc != FIRN_OK && rc != FIRN_NOT_FOUND)
        return wrong_status(why, "firn_get", rc, &err);
    if ((rc == FIRN_OK) != h->there)
        return wrong(why, "%s is %s", key_text(key), h->there ? "not there" : "there");
    bool right = rc != FIRN_OK || compare_bytes(v.data, v.size, h->value, h->value_size) == 0;
    firn_value_release(&v);
    return right || wrong(why, "%s has another value", key_text(key));
}

static bool compare_walked(firn_iter *it, bool backward, const holding *all, size_t count,
                           char *why)
{
    firn_error err = {0};
    int rc = backward ? firn_iter_last(it) : firn_iter_first(it);
    for (size_t i = 0; i < count; i++) {
        const holding *h = &all[backward ? count - 1 - i : i];
        firn_slice key = {h->key, h->key_size}, value = {h->value, h->value_size};
        if (!h->there)
            continue;
        if (rc != FIRN_OK || !slice_equal(firn_iter_key(it), key))
            return wrong(why, "a walk is at %s instead of %s", key_text(firn_iter_key(it)),
                         key_text(key));
        if (!slice_equal(firn_iter_value(it), value))
            return wrong(why, "a walk has another value of %s", key_text(key));
        rc = backward ? firn_iter_prev(it) : firn_iter_next(it);
    }
    if (rc == FIRN_OK)
        return wrong(why, "a walk goes on to %s", key_text(firn_iter_key(it)));
    return rc == FIRN_END || wrong_status(why, "a walk", firn_iter_status(it, &err), &err);
}

/* These are the keys of one bucket. */
static bool compare_bucket(firn *db, const holding *all, size_t count, char *why)
{
    firn_iter *it = NULL;
    firn_error err = {0};
    for (size_t i = 0; i < count; i++)
        if (!compare_key(db, &all[i], why))
            return false;
    int rc = firn_iter_new(db, NULL, &it, &err);
    if (rc != FIRN_OK)
        return wrong_status(why, "firn_iter_new", rc, &err);
    bool right =
        compare_walked(it, false, all, count, why) && compare_walked(it, true, all, count, why);
    firn_iter_free(it);
    return right;
}

/* Of each bucket: its handle, and its keys. */
typedef bool (*bucket_fn)(firn *db, const holding *all, size_t count, char *why);

static bool each_bucket(firn *db, const text *t, bucket_fn call, char *why)
{
    char name[FIRN_MAX_BUCKET_NAME + 1] = "";
    firn_error err = {0};
    bool right = true;
    for (size_t i = 0, end; i < t->count && right; i = end) {
        firn *bucket = db;
        assert_false(t->all[i].is_key);
        assert_int_equal(i == 0, t->all[i].bucket_size == 0);
        for (end = i + 1; end < t->count && t->all[end].is_key; end++)
            ;
        if (i > 0) {
            int rc = firn_bucket_next(db, name[0] ? name : NULL, name, sizeof name, &err);
            if (rc != FIRN_OK || strcmp(name, (const char *)t->all[i].bucket) != 0)
                return wrong(why, "bucket %s is not the next one", (char *)t->all[i].bucket);
            rc = firn_bucket_open(db, name, NULL, &bucket, &err);
            if (rc != FIRN_OK)
                return wrong_status(why, "firn_bucket_open", rc, &err);
        }
        right = call(bucket, t->all + i + 1, end - i - 1, why);
        if (i > 0)
            MUST(firn_close(bucket, error));
    }
    return right;
}

static void must_hold(firn *db, const text *t, const char *when)
{
    char why[WHY] = "", last[FIRN_MAX_BUCKET_NAME + 1] = "";
    if (!each_bucket(db, t, compare_bucket, why))
        fail_msg("golden store %s, %s: %s", t->name, when, why);
    for (size_t i = 0; i < t->count; i++)
        memcpy(last, t->all[i].bucket, t->all[i].bucket_size + 1);
    assert_int_equal(firn_bucket_next(db, last[0] ? last : NULL, last, sizeof last, NULL),
                     FIRN_END);
}

/* As small as what has written them, so that there are several segments and tables again. */
static firn *open_copy(const char *folder, const text *t, bool read_only)
{
    firn_options o;
    firn *db = NULL;
    firn_error err = {0};
    bed_small(&o);
    o.durability = FIRN_DURABILITY_NONE;
    o.read_only = read_only;
    o.create_if_missing = false;
    int rc = firn_open(folder, &o, &db, &err);
    if (rc != FIRN_OK) {
        char why[WHY] = "";
        wrong_status(why, "firn_open", rc, &err);
        fail_msg("golden store %s: %s", t->name, why);
    }
    return db;
}

static void must_be_sound(const char *folder, const text *t, const char *when)
{
    firn_check_summary s = {0};
    firn_error err = {0};
    int rc = firn_check(folder, NULL, NULL, &s, &err);
    if (rc != FIRN_OK || s.findings || s.doubts || s.lost_files) {
        char why[WHY] = "";
        wrong_status(why, "firn_check", rc, &err);
        fail_msg("golden store %s, %s: %s, %llu findings, %llu doubts, %llu lost files", t->name,
                 when, why, (unsigned long long)s.findings, (unsigned long long)s.doubts,
                 (unsigned long long)s.lost_files);
    }
}

static void must_still_hold(const char *folder, const text *t, const char *when)
{
    must_be_sound(folder, t, when);
    firn *db = open_copy(folder, t, true);
    must_hold(db, t, when);
    MUST(firn_close(db, error));
}

/* ---- What is done to each of them ---- */

static int is_text(const struct dirent *e)
{
    size_t size = strlen(e->d_name);
    return size > 4 && strcmp(e->d_name + size - 4, ".txt") == 0;
}

/* At least so many are there, so that a wrong folder is noticed. */
enum { GOLDEN_LEAST = 9 };

static void each_store(void (*call)(const char *folder, text *t))
{
    struct dirent **texts = NULL;
    int count = scandir(GOLDEN, &texts, is_text, alphasort);
    assert_true(count >= GOLDEN_LEAST);
    for (int i = 0; i < count; i++) {
        char name[256];
        snprintf(name, sizeof name, "%.*s", (int)strlen(texts[i]->d_name) - 4, texts[i]->d_name);
        text *t = text_read(name);
        char *folder = copy_store(name);
        call(folder, t);
        tempdir_remove(folder);
        text_release(t);
        free(texts[i]);
    }
    free(texts);
}

static void read_one(const char *folder, text *t)
{
    must_still_hold(folder, t, "as it is");
}

static void every_golden_store_is_sound_and_holds_what_its_text_says(void **state)
{
    (void)state;
    each_store(read_one);
}

/* What is written to each bucket; the same in the text. */
static const char *const added_keys[] = {"", "added-0", "added-1", "k001", "k002", "zz"};

static bool add_to_bucket(firn *db, const holding *all, size_t count, char *why)
{
    (void)all;
    (void)count;
    (void)why;
    for (unsigned i = 0; i < sizeof added_keys / sizeof *added_keys; i++) {
        size_t size = strlen(added_keys[i]);
        if (i % 2 == 0)
            MUST(firn_put(db, added_keys[i], size, "added", 5, NULL, error));
        else
            MUST(firn_delete(db, added_keys[i], size, NULL, error));
    }
    return true;
}

static void add(firn *db, text *t)
{
    char why[WHY] = "";
    if (!each_bucket(db, t, add_to_bucket, why))
        fail_msg("golden store %s, when written to: %s", t->name, why);
    for (size_t i = 0; i < t->count; i++) {
        if (t->all[i].is_key)
            continue;
        for (unsigned k = 0; k < sizeof added_keys / sizeof *added_keys; k++) {
            const holding *b = &t->all[i];
            holding h = {.bucket_size = b->bucket_size, .is_key = true, .there = k % 2 == 0};
            h.bucket = copy_bytes(b->bucket, b->bucket_size, 1);
            h.key_size = strlen(added_keys[k]);
            h.key = copy_bytes(added_keys[k], h.key_size, 1);
            h.value_size = h.there ? 5 : 0;
            h.value = copy_bytes("added", h.value_size, 1);
            text_set(t, h);
        }
    }
}

static void write_one(const char *folder, text *t)
{
    firn *db = open_copy(folder, t, false);
    must_hold(db, t, "open for writing");
    add(db, t);
    must_hold(db, t, "written to");
    MUST(firn_close(db, error));
    must_still_hold(folder, t, "written to and closed");
    db = open_copy(folder, t, false);
    must_hold(db, t, "opened again");
    MUST(firn_flush(db, error));
    must_hold(db, t, "flushed");
    MUST(firn_close(db, error));
    must_still_hold(folder, t, "flushed and closed");
}

static void every_golden_store_is_written_to(void **state)
{
    (void)state;
    each_store(write_one);
}

static bool compact_bucket(firn *db, const holding *all, size_t count, char *why)
{
    firn_error err = {0};
    (void)all;
    (void)count;
    int rc = firn_compact(db, NULL, 0, NULL, 0, &err);
    return rc == FIRN_OK || wrong_status(why, "firn_compact", rc, &err);
}

/* Only what is there is left in its tables: no tombstone, nothing that a snapshot was for. */
static void must_have_no_garbage(firn *db, const text *t)
{
    firn_stats s = {.size = sizeof s};
    uint64_t there = 0, entries = 0;
    MUST(firn_get_stats(db, &s, error));
    for (size_t i = 0; i < t->count; i++)
        there += t->all[i].there;
    for (unsigned i = 0; i < FIRN_LEVELS; i++)
        entries += s.level_entries[i];
    if (entries != there)
        fail_msg("golden store %s has %llu entries in tables, should have %llu", t->name,
                 (unsigned long long)entries, (unsigned long long)there);
}

static void compact_one(const char *folder, text *t)
{
    firn *db = open_copy(folder, t, false);
    char why[WHY] = "";
    if (!each_bucket(db, t, compact_bucket, why))
        fail_msg("golden store %s: %s", t->name, why);
    must_hold(db, t, "compacted");
    MUST(firn_settle(db, error));
    must_hold(db, t, "settled");
    must_have_no_garbage(db, t);
    MUST(firn_close(db, error));
    must_still_hold(folder, t, "compacted and closed");
}

static void every_golden_store_is_compacted(void **state)
{
    (void)state;
    each_store(compact_one);
}

static void repair_one(const char *folder, text *t)
{
    firn_repair_summary s = {0};
    firn_error err = {0};
    char why[WHY] = "";
    int rc = firn_repair(folder, NULL, NULL, NULL, &s, &err);
    if (rc != FIRN_OK)
        wrong_status(why, "firn_repair", rc, &err);
    if (rc != FIRN_OK || s.losses || s.tables_rewritten || s.tables_lost || s.doubts ||
        s.manifest_rebuilt)
        fail_msg("golden store %s: repair has found something to do %s", t->name, why);
    must_still_hold(folder, t, "repaired");
}

static void repair_has_nothing_to_do_in_any_golden_store(void **state)
{
    (void)state;
    each_store(repair_one);
}

int main(void)
{
    tempdir_in_memory();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_golden_store_is_sound_and_holds_what_its_text_says),
        cmocka_unit_test(every_golden_store_is_written_to),
        cmocka_unit_test(every_golden_store_is_compacted),
        cmocka_unit_test(repair_has_nothing_to_do_in_any_golden_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
