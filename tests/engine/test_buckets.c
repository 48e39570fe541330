/* Buckets, as their users have them: handles, names, batches over several, drops. What trees do inside is in test_tree.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <store/store.h>

#include "buckets.h"

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
    assert_int_equal(firn_close(first, &err),
                     FIRN_INVALID); /* the bucket is there still: it can be seen */
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
    assert_int_equal(err.status, FIRN_NOT_FOUND);
    assert_non_null(strstr(err.message, "no bucket of that name"));
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
    assert_non_null(strstr(err.message, "operation 1: "));
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
    assert_int_equal(firn_get(gone, "k", 1, AT(at), &v, NULL), FIRN_DROPPED);
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
        cmocka_unit_test(a_dropped_bucket_is_gone_for_all_its_handles),
        cmocka_unit_test(a_handle_that_only_reads_makes_and_drops_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
