/* Buckets, as their users have them: handles, names, batches over several, drops. What trees do inside is in test_tree.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <base/alloc.h>
#include <base/thread.h>
#include <store/store.h>

#include "bed.h"

static firn *open_one(firn *db, const char *name, bool create)
{
    firn *out = NULL;
    firn_bucket_options o;
    firn_bucket_options_init(&o);
    o.create = create;
    MUST(firn_bucket_open(db, name, &o, &out, error));
    return out;
}

static void put(firn *db, const char *key, const char *value)
{
    MUST(firn_put(db, key, strlen(key), value, strlen(value), NULL, error));
}

/* NULL: the key is not there. */
static void expect_at(firn *db, const firn_snapshot *at, const char *key, const char *value)
{
    firn_value v = {0};
    firn_error err = {0};
    int rc = firn_get(db, key, strlen(key), at, &v, &err);
    assert_int_equal(rc, value ? FIRN_OK : FIRN_NOT_FOUND);
    if (value)
        assert_true(slice_equal(slice_of(v.data, v.size), slice_of_str(value)));
    firn_value_release(&v);
}

static void expect(firn *db, const char *key, const char *value)
{
    expect_at(db, NULL, key, value);
}

static void expect_walk(firn *db, const char *keys)
{
    firn_iter *it = NULL;
    MUST(firn_iter_new(db, NULL, &it, error));
    int rc = firn_iter_first(it);
    for (; *keys; keys++, rc = firn_iter_next(it)) {
        assert_int_equal(rc, FIRN_OK);
        assert_true(slice_equal(firn_iter_key(it), slice_of(keys, 1)));
    }
    assert_int_equal(rc, FIRN_END);
    firn_iter_free(it);
}

static void begin(bed *b)
{
    bed_on_simfs(b, 1);
    bed_must_open(b);
}

static void each_bucket_has_keys_of_its_own(void **state)
{
    (void)state;
    bed b;
    begin(&b);
    for (int life = 0; life < 3; life++) {
        firn *users = open_one(b.db, "users", life == 0), *jobs = open_one(b.db, "jobs", life == 0);
        if (life == 0) {
            put(b.db, "a", "0");
            put(users, "a", "1");
            put(users, "b", "1");
            put(jobs, "c", "2");
            MUST(firn_delete(b.db, "b", 1, NULL, error));
            MUST(firn_delete(jobs, "a", 1, NULL, error));
        } else {
            bed_flush(&b);
        }
        expect(b.db, "a", "0");
        expect(b.db, "b", NULL);
        expect(users, "a", "1");
        expect(users, "b", "1");
        expect(jobs, "a", NULL);
        expect(jobs, "c", "2");
        expect_walk(b.db, "a");
        expect_walk(users, "ab");
        expect_walk(jobs, "c");
        uint64_t entries = 0;
        MUST(firn_estimate(users, NULL, NULL, &entries, error));
        assert_int_equal(entries, 2);
        firn_slice keys[] = {slice_of_str("b"), slice_of_str("c")};
        firn_value values[2];
        int statuses[2];
        MUST(firn_get_many(users, keys, 2, NULL, values, statuses, error));
        assert_int_equal(statuses[0], FIRN_OK);
        assert_int_equal(statuses[1], FIRN_NOT_FOUND);
        firn_value_release(&values[0]);
        /* What is about the store is the same with each handle. */
        assert_int_equal(firn_last_seq(users), firn_last_seq(b.db));
        assert_int_equal(firn_durable_seq(jobs), firn_durable_seq(b.db));
        MUST(firn_sync(users, error));
        MUST(firn_flush(jobs, error));
        MUST(firn_settle(users, error));
        firn_stats s;
        MUST(firn_get_stats(jobs, &s, error));
        assert_int_equal(s.last_seq, firn_last_seq(b.db));
        MUST(firn_close(users, error));
        MUST(firn_close(jobs, error));
        bed_must_close(&b);
        bed_must_open(&b);
    }
    bed_release(&b);
}

static void handles_are_counted(void **state)
{
    (void)state;
    bed b;
    firn_error err = {0};
    begin(&b);
    firn *first = open_one(b.db, "users", true), *second = open_one(first, "users", false);
    assert_ptr_equal(first, second);
    assert_int_equal(firn_close(b.db, &err), FIRN_INVALID);
    assert_non_null(strstr(err.message, "buckets: 2"));
    firn_iter *it = NULL;
    MUST(firn_iter_new(first, NULL, &it, error));
    MUST(firn_close(second, error));
    assert_int_equal(firn_close(first, &err), FIRN_INVALID);
    assert_non_null(
        strstr(err.message, "the bucket users stays open: not given back are iterators: 1"));
    put(first, "still", "usable");
    firn_iter_free(it);
    MUST(firn_close(first, error));
    first = open_one(b.db, "users", false);
    expect(first, "still", "usable");
    MUST(firn_close(first, error));
    bed_release(&b);
}

static void what_is_asked_of_a_name_is_done(void **state)
{
    (void)state;
    bed b;
    firn *out = NULL;
    firn_error err = {0};
    firn_bucket_options o;
    char longest[TREE_NAME_MAX + 2];
    memset(longest, 'n', sizeof longest);
    longest[sizeof longest - 1] = 0;
    begin(&b);
    assert_int_equal(firn_bucket_open(b.db, "users", NULL, &out, &err), FIRN_NOT_FOUND);
    assert_null(out);
    assert_int_equal(err.status, FIRN_OK); /* an answer, and no failure */
    firn_bucket_options_init(&o);
    o.error_if_exists = true; /* asks for nothing without `create` */
    assert_int_equal(firn_bucket_open(b.db, "users", &o, &out, NULL), FIRN_NOT_FOUND);
    o.create = true;
    MUST(firn_bucket_open(b.db, "users", &o, &out, error));
    MUST(firn_close(out, error));
    assert_int_equal(firn_bucket_open(b.db, "users", &o, &out, &err), FIRN_INVALID);
    assert_non_null(strstr(err.hint, "error_if_exists"));
    assert_null(out);
    o.error_if_exists = false;
    MUST(firn_bucket_open(b.db, "users", &o, &out, error));
    MUST(firn_close(out, error));
    assert_int_equal(firn_bucket_open(b.db, "", &o, &out, &err), FIRN_INVALID);
    assert_int_equal(firn_bucket_open(b.db, longest, &o, &out, &err), FIRN_INVALID);
    o.size = sizeof o + 8;
    assert_int_equal(firn_bucket_open(b.db, "users", &o, &out, &err), FIRN_INVALID);
    bed_release(&b);
}

static void names_are_listed_in_their_order(void **state)
{
    (void)state;
    static const char *const names[] = {"\x01", "A", "a", "aa", "b", "\xff\xfe"},
                             *const made[] = {"b", "\xff\xfe", "aa", "A", "\x01", "a"};
    const size_t count = sizeof names / sizeof *names;
    bed b;
    char name[64] = "";
    firn_error err = {0};
    begin(&b);
    assert_int_equal(firn_bucket_next(b.db, NULL, name, sizeof name, NULL), FIRN_END);
    for (size_t i = 0; i < count; i++)
        MUST(firn_close(open_one(b.db, made[i], true), error));
    for (int life = 0; life < 2; life++) {
        for (size_t i = 0; i < count; i++) {
            MUST(firn_bucket_next(b.db, i ? name : NULL, name, sizeof name, error));
            assert_string_equal(name, names[i]);
        }
        assert_int_equal(firn_bucket_next(b.db, name, name, sizeof name, NULL), FIRN_END);
        assert_string_equal(name, names[count - 1]);
        MUST(firn_bucket_next(b.db, "AZ", name, 2, error)); /* one that is not there */
        assert_string_equal(name, "a");
        assert_int_equal(firn_bucket_next(b.db, "a", name, 2, &err), FIRN_TOO_LARGE);
        assert_string_equal(name, "a");
        bed_must_close(&b);
        bed_must_open(&b);
    }
    bed_release(&b);
}

/* ---- How their tables are made ---- */

typedef struct stored {
    uint64_t tables, raw, data;
    uint64_t beside; /* bytes that are no data: filters, indexes and the like */
} stored;

static stored stored_of(firn *db)
{
    stored s = {0};
    MUST(firn_compact(db, NULL, 0, NULL, 0, error));
    view *v = tree_view(db);
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        for (size_t i = 0; i < v->version->levels[n].count; i++) {
            sst_reader *r = NULL;
            MUST(table_reader(v->version->levels[n].tables[i], &r, error));
            const sst_properties *p = sst_reader_properties(r);
            s.raw += p->raw_bytes;
            s.data += p->data_bytes;
            s.beside += p->file_bytes - p->data_bytes;
            s.tables++;
        }
    view_unref(v);
    return s;
}

enum { FILLED = 200 };

static void fill(firn *db)
{
    char key[16], value[200];
    memset(value, 'v', sizeof value);
    for (unsigned i = 0; i < FILLED; i++) {
        snprintf(key, sizeof key, "%06u", i);
        MUST(firn_put(db, key, strlen(key), value, sizeof value, NULL, error));
    }
}

static firn *open_formed(firn *db, const char *name, uint32_t compression, uint32_t filter_bits)
{
    firn *out = NULL;
    firn_bucket_options o;
    firn_bucket_options_init(&o);
    o.create = true;
    o.compression = compression;
    o.filter_bits = filter_bits;
    MUST(firn_bucket_open(db, name, &o, &out, error));
    return out;
}

static void expect_form(firn *db, uint32_t compression, uint32_t filter_bits)
{
    firn_bucket_options o;
    firn_bucket_options_init(&o);
    o.create = o.error_if_exists = true;
    MUST(firn_bucket_get(db, &o, error));
    assert_int_equal(o.compression, compression);
    assert_int_equal(o.filter_bits, filter_bits);
    assert_false(o.create || o.error_if_exists);
}

static void set_form(firn *db, uint32_t compression, uint32_t filter_bits)
{
    firn_bucket_options o;
    firn_bucket_options_init(&o);
    o.compression = compression;
    o.filter_bits = filter_bits;
    MUST(firn_bucket_set(db, &o, error));
}

static void each_bucket_is_stored_in_its_own_way(void **state)
{
    (void)state;
    bed b;
    bed_on_simfs(&b, 1);
    b.options.compression = FIRN_COMPRESSION_NONE;
    b.options.filter_bits = 10;
    bed_must_open(&b);
    for (int life = 0; life < 3; life++) {
        bool own = life < 2;
        /* What is given to those that are there does not count. */
        firn *plain = open_one(b.db, "as the store", true),
             *packed = open_formed(b.db, "packed", FIRN_COMPRESSION_ZLIB, FIRN_AS_STORE),
             *bare = open_formed(b.db, "bare", FIRN_AS_STORE, 0);
        expect_form(plain, FIRN_AS_STORE, FIRN_AS_STORE);
        expect_form(packed, own ? FIRN_COMPRESSION_ZLIB : FIRN_COMPRESSION_NONE,
                    own ? FIRN_AS_STORE : 64);
        expect_form(bare, FIRN_AS_STORE, own ? 0 : FIRN_AS_STORE);
        expect_form(b.db, FIRN_AS_STORE, FIRN_AS_STORE);
        fill(plain);
        fill(packed);
        fill(bare);
        stored p = stored_of(plain), q = stored_of(packed), r = stored_of(bare);
        assert_true(p.data > p.raw / 2);
        assert_int_equal(q.data < q.raw / 2, own);
        assert_int_equal(p.tables, r.tables);
        assert_true(own ? r.beside + FILLED <= p.beside : r.beside == p.beside);
        if (life == 1) {
            set_form(packed, FIRN_COMPRESSION_NONE, 64);
            set_form(bare, FIRN_AS_STORE, FIRN_AS_STORE);
        }
        MUST(firn_close(plain, error));
        MUST(firn_close(packed, error));
        MUST(firn_close(bare, error));
        bed_must_close(&b);
        bed_must_open(&b);
    }
    bed_release(&b);
}

static void wrong_forms_are_refused(void **state)
{
    (void)state;
    bed b;
    firn *out = NULL;
    firn_bucket_options o;
    begin(&b);
    firn_bucket_options_init(&o);
    assert_int_equal(o.compression, FIRN_AS_STORE);
    assert_int_equal(o.filter_bits, FIRN_AS_STORE);
    o.create = true;
    o.compression = FIRN_COMPRESSION_ZLIB + 1;
    assert_int_equal(firn_bucket_open(b.db, "users", &o, &out, NULL), FIRN_INVALID);
    o.compression = FIRN_COMPRESSION_LZ4;
    o.filter_bits = 65;
    assert_int_equal(firn_bucket_open(b.db, "users", &o, &out, NULL), FIRN_INVALID);
    o.filter_bits = 64;
    MUST(firn_bucket_open(b.db, "users", &o, &out, error));
    assert_int_equal(firn_bucket_set(b.db, &o, NULL), FIRN_INVALID); /* it has the store's */
    o.filter_bits = 65;
    assert_int_equal(firn_bucket_set(out, &o, NULL), FIRN_INVALID);
    expect_form(out, FIRN_COMPRESSION_LZ4, 64);
    o.size = sizeof o + 1;
    assert_int_equal(firn_bucket_get(out, &o, NULL), FIRN_INVALID);
    firn_bucket_options_init(&o);
    MUST(firn_bucket_drop(out, error));
    assert_int_equal(firn_bucket_set(out, &o, NULL), FIRN_DROPPED);
    assert_int_equal(firn_bucket_get(out, &o, NULL), FIRN_DROPPED);
    MUST(firn_close(out, error));
    bed_release(&b);
}

/* ---- Batches ---- */

static firn_op op_put(firn *bucket, const char *key, const char *value)
{
    return (firn_op){.size = sizeof(firn_op),
                     .kind = FIRN_PUT,
                     .bucket = bucket,
                     .key = slice_of_str(key),
                     .value = slice_of_str(value)};
}

static firn_batch *new_batch(void)
{
    firn_batch *batch = NULL;
    assert_int_equal(firn_batch_new(&batch), FIRN_OK);
    return batch;
}

static void a_batch_goes_to_the_buckets_that_it_names(void **state)
{
    (void)state;
    bed b;
    begin(&b);
    firn *users = open_one(b.db, "users", true), *jobs = open_one(b.db, "jobs", true);
    firn_batch *batch = new_batch();
    firn_op ops[] = {op_put(users, "u", "named"), op_put(b.db, "z", "named"),
                     op_put(NULL, "n", "named by none")};
    assert_int_equal(firn_batch_put(batch, "p", 1, "named by none", 13), FIRN_OK);
    MUST(firn_batch_add(batch, ops, 3, error));
    assert_int_equal(firn_batch_count(batch), 4);
    firn_op gone = {
        .size = sizeof gone, .kind = FIRN_DELETE, .bucket = b.db, .key = slice_of_str("n")};
    MUST(firn_batch_add(batch, &gone, 1, error));
    uint64_t before = firn_last_seq(b.db), seq = 0;
    MUST(firn_write(jobs, batch, NULL, &seq, error));
    assert_int_equal(seq, before + 5);
    expect_walk(users, "u");
    expect_walk(jobs, "np");
    expect_walk(b.db, "z");
    MUST(firn_write(b.db, batch, NULL, NULL,
                    error)); /* the same again, elsewhere: it was not changed */
    expect_walk(b.db, "pz");
    expect_walk(jobs, "np");
    MUST(firn_write(users, batch, NULL, NULL, error));
    expect_walk(users, "npu");
    firn_batch_clear(batch);
    assert_int_equal(firn_batch_put(batch, "x", 1, "", 0), FIRN_OK);
    MUST(firn_write(users, batch, NULL, NULL, error));
    expect_walk(users, "npux");
    firn_batch_free(batch);
    MUST(firn_close(users, error));
    MUST(firn_close(jobs, error));
    bed_release(&b);
}

static void expect_refused(firn_batch *batch, firn_op bad, int status)
{
    firn_error err = {0};
    firn_op ops[] = {op_put(NULL, "good", "1"), bad, op_put(NULL, "never", "1")};
    uint32_t count = firn_batch_count(batch);
    size_t bytes = firn_batch_bytes(batch);
    assert_int_equal(firn_batch_add(batch, ops, 3, &err), status);
    assert_int_equal(err.status, status);
    assert_int_equal(err.offset, 1);
    assert_int_equal(firn_batch_count(batch), count);
    assert_int_equal(firn_batch_bytes(batch), bytes);
}

static void operations_are_added_all_or_none(void **state)
{
    (void)state;
    bed b, other;
    begin(&b);
    bed_on_simfs(&other, 2); /* its id is another one */
    bed_must_open(&other);
    firn *users = open_one(b.db, "users", true);
    firn_batch *batch = new_batch();
    firn_op bad = op_put(NULL, "k", "v");
    bad.kind = 3;
    expect_refused(batch, bad, FIRN_INVALID);
    bad.kind = FIRN_DELETE;
    expect_refused(batch, bad, FIRN_INVALID);
    bad.kind = FIRN_PUT;
    bad.key.data = NULL;
    expect_refused(batch, bad, FIRN_INVALID);
    bad = op_put(NULL, "k", "v");
    bad.key.size = FIRN_MAX_KEY_BYTES + 1;
    expect_refused(batch, bad, FIRN_TOO_LARGE);
    bad = op_put(NULL, "k", "v");
    bad.size = sizeof bad + 8; /* not that of the first one */
    expect_refused(batch, bad, FIRN_INVALID);
    MUST(firn_batch_add(batch, (firn_op[]){op_put(users, "k", "v")}, 1, error));
    expect_refused(batch, op_put(other.db, "k", "v"), FIRN_INVALID); /* of two stores */
    assert_int_equal(firn_write(other.db, batch, NULL, NULL, NULL), FIRN_INVALID);
    assert_int_equal(firn_last_seq(other.db), 0);
    MUST(firn_batch_add(batch, NULL, 0, error));
    firn_batch_clear(batch); /* and it is no store's */
    MUST(firn_batch_add(batch, (firn_op[]){op_put(other.db, "k", "v")}, 1, error));
    MUST(firn_write(other.db, batch, NULL, NULL, error));
    expect(other.db, "k", "v");
    /* What has failed leaves nothing that a later write would find. */
    firn_batch_clear(batch);
    expect_refused(batch, (firn_op){.size = sizeof(firn_op), .bucket = b.db}, FIRN_INVALID);
    MUST(firn_batch_add(batch, (firn_op[]){op_put(NULL, "late", "v")}, 1, error));
    MUST(firn_write(users, batch, NULL, NULL, error));
    expect(users, "late", "v");
    firn_batch_free(batch);
    MUST(firn_close(users, error));
    bed_release(&b);
    bed_release(&other);
}

/* The first element's size says how far they lie apart: programs of later versions, whose operations are longer, and those of this
 * one. */
static void operations_lie_as_far_apart_as_they_say(void **state)
{
    (void)state;
    struct {
        firn_op op;
        uint64_t more;
    } longer[2];
    bed b;
    begin(&b);
    firn_batch *batch = new_batch();
    for (unsigned i = 0; i < 2; i++) {
        longer[i].op = op_put(NULL, i ? "b" : "a", "v");
        longer[i].op.size = sizeof *longer;
        longer[i].more = 0;
    }
    assert_int_equal(firn_batch_add(batch, &longer[0].op, 2, NULL),
                     FIRN_INVALID); /* it asks for more than there is */
    assert_int_equal(firn_batch_count(batch), 0);
    firn_batch_free(batch);
    bed_release(&b);
}

/* Whichever allocation fails: nothing has happened, and trying again helps. */
static void a_lack_of_memory_leaves_all_as_it_was(void **state)
{
    (void)state;
    bool failed = true;
    for (unsigned n = 1; failed; n++) {
        bed b;
        firn *users = NULL;
        firn_bucket_options o;
        begin(&b);
        firn_batch *batch = new_batch();
        firn_op ops[] = {op_put(b.db, "a", "1"), op_put(NULL, "b", "2")};
        firn_bucket_options_init(&o);
        o.create = true;
        alloc_fail_at(n);
        int opened = firn_bucket_open(b.db, "users", &o, &users, NULL);
        int added = firn_batch_add(batch, ops, 2, NULL);
        int wrote =
            users && added == FIRN_OK ? firn_write(users, batch, NULL, NULL, NULL) : FIRN_NO_MEMORY;
        alloc_fail_at(0);
        failed = alloc_count() >= n;
        assert_true(opened == FIRN_OK || opened == FIRN_NO_MEMORY);
        assert_true(added == FIRN_OK || added == FIRN_NO_MEMORY);
        assert_true(wrote == FIRN_OK || wrote == FIRN_NO_MEMORY);
        if (opened != FIRN_OK)
            assert_int_equal(firn_bucket_open(b.db, "users", NULL, &users, NULL), FIRN_NOT_FOUND);
        if (!users)
            users = open_one(b.db, "users", true);
        if (added != FIRN_OK) {
            assert_int_equal(firn_batch_count(batch), 0);
            MUST(firn_batch_add(batch, ops, 2, error));
        }
        if (wrote != FIRN_OK) {
            assert_int_equal(firn_last_seq(b.db), 0);
            MUST(firn_write(users, batch, NULL, NULL, error));
        }
        expect_walk(b.db, "a");
        expect_walk(users, "b");
        assert_int_equal(atomic_load(&users->store->bucket_limit), 2); /* no number was lost */
        firn_batch_free(batch);
        MUST(firn_close(users, error));
        bed_release(&b);
    }
}

/* ---- Drops ---- */

static void expect_dropped(firn *gone, firn_snapshot *at)
{
    firn_value v;
    firn_error err = {0};
    firn_iter *it = NULL;
    char room[8];
    size_t size = 0;
    uint64_t n = 0;
    firn_slice key = slice_of_str("k");
    int status = 0;
    assert_int_equal(firn_get(gone, "k", 1, NULL, &v, &err), FIRN_DROPPED);
    assert_non_null(strstr(err.message, "the bucket users has been dropped"));
    assert_int_equal(firn_get(gone, "k", 1, at, &v, NULL), FIRN_DROPPED);
    assert_int_equal(firn_get_into(gone, "k", 1, NULL, room, sizeof room, &size, NULL),
                     FIRN_DROPPED);
    assert_int_equal(firn_get_many(gone, &key, 1, NULL, &v, &status, NULL), FIRN_DROPPED);
    assert_int_equal(status, FIRN_DROPPED);
    assert_int_equal(firn_iter_new(gone, NULL, &it, &err), FIRN_DROPPED);
    assert_null(it);
    assert_int_equal(firn_put(gone, "k", 1, "v", 1, NULL, &err), FIRN_DROPPED);
    assert_int_equal(firn_delete(gone, "k", 1, NULL, NULL), FIRN_DROPPED);
    assert_int_equal(firn_estimate(gone, NULL, NULL, &n, NULL), FIRN_DROPPED);
    assert_int_equal(firn_compact(gone, NULL, 0, NULL, 0, NULL), FIRN_DROPPED);
    assert_int_equal(firn_bucket_drop(gone, &err), FIRN_DROPPED);
    /* What is of the store goes on. */
    MUST(firn_sync(gone, error));
    MUST(firn_flush(gone, error));
}

static void a_dropped_bucket_is_gone_for_all_its_handles(void **state)
{
    (void)state;
    bed b;
    firn_snapshot *before = NULL, *at = NULL;
    firn_value held = {0};
    firn_iter *it = NULL;
    begin(&b);
    MUST(firn_snapshot_new(b.db, &before, error));
    firn *users = open_one(b.db, "users", true), *more = open_one(b.db, "users", false);
    firn_batch *batch = new_batch();
    put(users, "k", "value");
    put(b.db, "k", "of bucket 0");
    expect_at(users, before, "k", NULL); /* a bucket that is younger than the snapshot */
    bed_flush(&b);
    put(users, "l", "logged");
    MUST(firn_snapshot_new(users, &at, error));
    MUST(firn_iter_new(users, NULL, &it, error));
    MUST(firn_get(users, "k", 1, NULL, &held, error));
    MUST(firn_batch_add(batch, (firn_op[]){op_put(b.db, "both", "1"), op_put(users, "both", "1")},
                        2, error));
    MUST(firn_bucket_drop(users, error));
    expect_dropped(users, at);
    expect_dropped(more, before);
    assert_int_equal(firn_write(b.db, batch, NULL, NULL, NULL), FIRN_DROPPED);
    expect(b.db, "both", NULL);
    assert_int_equal(firn_batch_add(batch, (firn_op[]){op_put(users, "k", "v")}, 1, NULL),
                     FIRN_DROPPED);
    firn_batch_clear(batch);
    assert_int_equal(firn_batch_put(batch, "k", 1, "v", 1), FIRN_OK);
    assert_int_equal(firn_write(users, batch, NULL, NULL, NULL), FIRN_DROPPED);
    /* What was out goes on over what there was. */
    assert_true(slice_equal(slice_of(held.data, held.size), slice_of_str("value")));
    firn_value_release(&held);
    assert_int_equal(firn_iter_first(it), FIRN_OK);
    assert_int_equal(firn_iter_next(it), FIRN_OK);
    assert_true(slice_equal(firn_iter_value(it), slice_of_str("logged")));
    assert_int_equal(firn_iter_refresh(it), FIRN_DROPPED);
    assert_true(slice_equal(firn_iter_value(it), slice_of_str("logged")));
    assert_int_equal(firn_iter_next(it), FIRN_END);
    /* Made again, it is another one: also to snapshots that saw the old one. */
    firn *fresh = open_one(b.db, "users", true);
    assert_ptr_not_equal(fresh, users);
    expect(fresh, "k", NULL);
    expect_at(fresh, at, "k", NULL);
    put(fresh, "k", "new");
    expect_dropped(users, at);
    firn_iter_free(it);
    MUST(firn_close(users, error));
    MUST(firn_close(more, error));
    expect(fresh, "k", "new");
    MUST(firn_close(fresh, error));
    firn_snapshot_free(before);
    firn_snapshot_free(at);
    firn_batch_free(batch);
    bed_must_close(&b);
    bed_must_open(&b);
    fresh = open_one(b.db, "users", false);
    expect_walk(fresh, "k");
    expect(b.db, "k", "of bucket 0");
    MUST(firn_close(fresh, error));
    bed_release(&b);
}

static void a_handle_that_only_reads_makes_and_drops_nothing(void **state)
{
    (void)state;
    bed b;
    firn *out = NULL;
    firn_bucket_options o;
    begin(&b);
    firn *users = open_one(b.db, "users", true);
    put(users, "k", "v");
    MUST(firn_close(users, error));
    bed_must_close(&b);
    b.options.read_only = true;
    bed_must_open(&b);
    users = open_one(b.db, "users", true); /* it is there */
    expect(users, "k", "v");
    assert_int_equal(firn_bucket_drop(users, NULL), FIRN_READ_ONLY);
    firn_bucket_options_init(&o);
    assert_int_equal(firn_bucket_set(users, &o, NULL), FIRN_READ_ONLY);
    assert_int_equal(firn_bucket_open(b.db, "jobs", &o, &out, NULL), FIRN_NOT_FOUND);
    o.create = true;
    assert_int_equal(firn_bucket_open(b.db, "jobs", &o, &out, NULL), FIRN_READ_ONLY);
    MUST(firn_close(users, error));
    b.options.read_only = false;
    bed_release(&b);
}

/* ---- Many ---- */

/* An idle bucket takes little, and what is done for one does not grow with how many there are. */
static void thousands_of_buckets_are_idle_cheaply(void **state)
{
    (void)state;
    enum { COUNT = 10000 };
    bed b;
    char name[64];
    begin(&b);
    for (unsigned i = 0; i < COUNT; i++) {
        snprintf(name, sizeof name, "a bucket with the number %u", i);
        MUST(firn_close(open_one(b.db, name, true), error));
    }
    assert_true(sizeof(tree) + sizeof(view) + sizeof(version) + 2 * sizeof(void *) + 3 * 16 <=
                2048);
    for (int life = 0; life < 2; life++) {
        firn *one = open_one(b.db, "a bucket with the number 7777", false);
        put(one, "k", life ? "second" : "first");
        bed_flush(&b);
        expect(one, "k", life ? "second" : "first");
        MUST(firn_close(one, error));
        unsigned count = 0;
        for (int rc = firn_bucket_next(b.db, NULL, name, sizeof name, NULL); rc == FIRN_OK;
             rc = firn_bucket_next(b.db, name, name, sizeof name, NULL))
            count++;
        assert_int_equal(count, COUNT);
        bed_must_close(&b);
        bed_must_open(&b);
    }
    bed_release(&b);
}

/* ---- Threads ---- */

enum { ROUNDS = 150, DROPPERS = 2, USERS = 2 };

typedef struct shared {
    firn *db;
    atomic_bool ends;
    _Atomic unsigned writes, drops;
} shared;

/* Makes and drops one bucket after the other, under few names. */
static void make_and_drop(void *ctx)
{
    shared *s = ctx;
    firn_bucket_options o;
    firn_bucket_options_init(&o);
    o.create = true;
    for (unsigned i = 0; i < ROUNDS; i++) {
        firn *t = NULL;
        int rc = firn_bucket_open(s->db, i % 2 ? "one" : "two", &o, &t, NULL);
        assert_int_equal(rc, FIRN_OK);
        rc = firn_put(t, "made", 4, "v", 1, NULL, NULL);
        assert_true(rc == FIRN_OK || rc == FIRN_DROPPED);
        rc = firn_bucket_drop(t, NULL);
        assert_true(rc == FIRN_OK || rc == FIRN_DROPPED);
        atomic_fetch_add(&s->drops, rc == FIRN_OK);
        assert_int_equal(firn_close(t, NULL), FIRN_OK);
    }
}

/* Works with whichever is there: each call does its work, or says that the bucket is gone. */
static void use_what_is_there(void *ctx)
{
    shared *s = ctx;
    for (unsigned i = 0; !atomic_load(&s->ends); i++) {
        firn *t = NULL;
        firn_iter *it = NULL;
        firn_value v;
        firn_error err = {0};
        int rc = firn_bucket_open(s->db, i % 2 ? "one" : "two", NULL, &t, &err);
        assert_true(rc == FIRN_OK || rc == FIRN_NOT_FOUND);
        if (rc == FIRN_NOT_FOUND)
            continue;
        rc = firn_put(t, "used", 4, "v", 1, NULL, &err);
        assert_true(rc == FIRN_OK || rc == FIRN_DROPPED);
        atomic_fetch_add(&s->writes, rc == FIRN_OK);
        int got = firn_get(t, "used", 4, NULL, &v, &err);
        assert_true(got == FIRN_DROPPED || (got == FIRN_OK && rc == FIRN_OK) ||
                    got == FIRN_NOT_FOUND);
        assert_false(rc == FIRN_DROPPED && got != FIRN_DROPPED); /* once gone, always gone */
        assert_false(rc == FIRN_OK &&
                     got == FIRN_NOT_FOUND); /* and until then, what was written is there */
        firn_value_release(&v);
        rc = firn_iter_new(t, NULL, &it, &err);
        assert_true(rc == FIRN_OK || rc == FIRN_DROPPED);
        while (it && (rc = rc == FIRN_OK && !firn_iter_valid(it) ? firn_iter_first(it)
                                                                 : firn_iter_next(it)) == FIRN_OK) {
        }
        firn_iter_free(it);
        assert_int_equal(firn_close(t, &err), FIRN_OK);
    }
}

static void buckets_come_and_go_beside_their_users(void **state)
{
    (void)state;
    bed b;
    bed_on_disk(&b);
    b.options.durability = FIRN_DURABILITY_NONE;
    bed_must_open(&b);
    shared s = {.db = b.db};
    thread droppers[DROPPERS] = {0}, users[USERS] = {0};
    for (unsigned i = 0; i < USERS; i++)
        assert_int_equal(thread_start(&users[i], "user", use_what_is_there, &s), 0);
    for (unsigned i = 0; i < DROPPERS; i++)
        assert_int_equal(thread_start(&droppers[i], "dropper", make_and_drop, &s), 0);
    for (unsigned i = 0; i < DROPPERS; i++)
        thread_join(&droppers[i]);
    atomic_store(&s.ends, true);
    for (unsigned i = 0; i < USERS; i++)
        thread_join(&users[i]);
    assert_true(atomic_load(&s.drops) >= ROUNDS);
    bed_must_close(&b);
    bed_must_open(&b);
    char name[64];
    assert_int_equal(firn_bucket_next(b.db, NULL, name, sizeof name, NULL), FIRN_END);
    bed_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_bucket_has_keys_of_its_own),
        cmocka_unit_test(handles_are_counted),
        cmocka_unit_test(what_is_asked_of_a_name_is_done),
        cmocka_unit_test(names_are_listed_in_their_order),
        cmocka_unit_test(each_bucket_is_stored_in_its_own_way),
        cmocka_unit_test(wrong_forms_are_refused),
        cmocka_unit_test(a_batch_goes_to_the_buckets_that_it_names),
        cmocka_unit_test(operations_are_added_all_or_none),
        cmocka_unit_test(operations_lie_as_far_apart_as_they_say),
        cmocka_unit_test(a_lack_of_memory_leaves_all_as_it_was),
        cmocka_unit_test(a_dropped_bucket_is_gone_for_all_its_handles),
        cmocka_unit_test(a_handle_that_only_reads_makes_and_drops_nothing),
        cmocka_unit_test(thousands_of_buckets_are_idle_cheaply),
        cmocka_unit_test(buckets_come_and_go_beside_their_users),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
