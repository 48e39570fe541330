/* Wrong calls: NULL in the place of every pointer of every public function, and closing what is still in use.
 *
 * CASES has a line for each pointer that a public function takes; tests/house/nulls.sh compares them with the headers
 * and with what the library exports, so that a new function is not forgotten. `--list` prints them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <base/alloc.h>
#include <firn/keys.h>
#include <firn/wal.h>
#include <pthread.h>

#include "bed.h"
#include "support/tempdir.h"

typedef enum answer {
    REFUSED, /* FIRN_INVALID, and the error is filled in */
    QUIET,   /* FIRN_INVALID, without an error to fill in */
    ALLOWED, /* FIRN_OK: the header says that NULL may be given */
    EMPTY,   /* 0, false, or nothing: there is no status to return */
} answer;

typedef struct table {
    bed bed;      /* a store that is open and has the key "k" */
    bed closed;   /* one that is not open */
    char *folder; /* for a log */
    char log_path[512];
    firn_wal *log;
    firn_batch *batch;
    firn_iter *it; /* on "k" */
    firn_snapshot *snapshot;
    firn_txn *txn;
    firn_value value;
    firn_error some; /* an error to be told */
    char text[64];
    size_t size, one;
    int status;
    firn_field field;
    firn_op op;
    firn_bucket_options bucket_options;
    firn_slice lower, upper;
    uint64_t seq;
    firn_stats stats;
    firn_bucket_stats figures;
    firn_latency latency;
    char figures_text[16 << 10];
    firn_options options;
    firn_wal_report report;
    firn *db;
    firn_iter *new_it;
    firn_snapshot *new_snapshot;
    firn_txn *new_txn;
    firn_wal *new_log;
} table;

static void on_line(void *ctx, const char *text)
{
    (void)ctx;
    (void)text;
}

static void on_event(void *ctx, const firn_repair_event *event)
{
    (void)ctx;
    (void)event;
}

static void on_file(void *ctx, const firn_lost_file *file)
{
    (void)ctx;
    (void)file;
}

static int on_entry(void *ctx, const firn_wal_entry *entry)
{
    (void)ctx;
    (void)entry;
    return FIRN_OK;
}

static int on_record(void *ctx, const firn_wal_record *record)
{
    (void)ctx;
    (void)record;
    return FIRN_OK;
}

static void on_durable(void *ctx, uint64_t seq, int rc)
{
    (void)ctx;
    (void)seq;
    (void)rc;
}

static const firn_slice an_x = {(const uint8_t *)"x", 1}, a_y = {(const uint8_t *)"y", 1};
static const firn_range a_range = {.first = &an_x, .end = &a_y};

/* And what the other cases want is put back. */
static int all_deleted(firn *db, firn_error *err)
{
    int rc = firn_delete_range(db, NULL, NULL, err);
    MUST(firn_put(db, "k", 1, "v", 1, NULL, error));
    MUST(firn_put(db, "b", 1, "w", 1, NULL, error));
    return rc;
}

/* What a successful call has made is given back. */
static int given_back(table *t, int rc)
{
    firn_iter_free(t->new_it);
    firn_snapshot_free(t->new_snapshot);
    firn_txn_free(t->new_txn);
    firn_value_release(&t->value);
    firn_wal_close(t->new_log, NULL);
    firn_close(t->db, NULL);
    t->new_it = NULL;
    t->new_snapshot = NULL;
    t->new_txn = NULL;
    t->new_log = NULL;
    t->db = NULL;
    return rc;
}

/* Function, parameter, what NULL there means, and the call: t is the table, e where the error goes. */
#define DB     t->bed.db
#define PATH   t->bed.folder
#define CLOSED t->closed.folder
/* clang-format off */
#define TYPES_CASES(X) \
    X(firn_error_format, error, EMPTY, (int)firn_error_format(NULL, t->text, sizeof t->text)) \
    X(firn_error_format, buf, EMPTY, firn_error_format(&t->some, NULL, 8) == 0) \
    X(firn_batch_new, out, QUIET, firn_batch_new(NULL)) \
    X(firn_batch_free, batch, EMPTY, (firn_batch_free(NULL), 0)) \
    X(firn_batch_put, batch, QUIET, firn_batch_put(NULL, "k", 1, "v", 1)) \
    X(firn_batch_put, key, QUIET, firn_batch_put(t->batch, NULL, 1, "v", 1)) \
    X(firn_batch_put, value, QUIET, firn_batch_put(t->batch, "k", 1, NULL, 1)) \
    X(firn_batch_delete, batch, QUIET, firn_batch_delete(NULL, "k", 1)) \
    X(firn_batch_delete, key, QUIET, firn_batch_delete(t->batch, NULL, 1)) \
    X(firn_batch_clear, batch, EMPTY, (firn_batch_clear(NULL), 0)) \
    X(firn_batch_count, batch, EMPTY, (int)firn_batch_count(NULL)) \
    X(firn_batch_bytes, batch, EMPTY, (int)firn_batch_bytes(NULL)) \
    X(firn_field_str, text, EMPTY, (int)firn_field_str(NULL).as.bytes.size) \
    X(firn_key_encode, fields, REFUSED, firn_key_encode(NULL, 1, t->text, 8, &t->size, e)) \
    X(firn_key_encode, room, REFUSED, firn_key_encode(&t->field, 1, NULL, 8, &t->size, e)) \
    X(firn_key_encode, size, REFUSED, firn_key_encode(&t->field, 1, t->text, 8, NULL, e)) \
    X(firn_key_encode, error, QUIET, firn_key_encode(NULL, 1, t->text, 8, &t->size, NULL)) \
    X(firn_key_decode, key, REFUSED, firn_key_decode(NULL, 1, &t->field, 1, &t->size, t->text, 8, e)) \
    X(firn_key_decode, fields, REFUSED, firn_key_decode("", 1, NULL, 1, &t->size, t->text, 8, e)) \
    X(firn_key_decode, count, REFUSED, firn_key_decode("", 1, &t->field, 1, NULL, t->text, 8, e)) \
    X(firn_key_decode, room, REFUSED, firn_key_decode("", 1, &t->field, 1, &t->size, NULL, 8, e)) \
    X(firn_key_decode, error, QUIET, firn_key_decode(NULL, 1, &t->field, 1, &t->size, NULL, 0, NULL)) \
    X(firn_key_bounds, fields, REFUSED, firn_key_bounds(NULL, 1, t->text, 8, &t->lower, &t->upper, &t->size, e)) \
    X(firn_key_bounds, room, REFUSED, firn_key_bounds(&t->field, 1, NULL, 8, &t->lower, &t->upper, &t->size, e)) \
    X(firn_key_bounds, lower, REFUSED, firn_key_bounds(&t->field, 1, t->text, 8, NULL, &t->upper, &t->size, e)) \
    X(firn_key_bounds, upper, REFUSED, firn_key_bounds(&t->field, 1, t->text, 8, &t->lower, NULL, &t->size, e)) \
    X(firn_key_bounds, size, REFUSED, firn_key_bounds(&t->field, 1, t->text, 8, &t->lower, &t->upper, NULL, e)) \
    X(firn_key_bounds, error, QUIET, firn_key_bounds(NULL, 1, t->text, 8, &t->lower, &t->upper, &t->size, NULL)) \
    X(firn_prefix_end, prefix, EMPTY, firn_prefix_end(NULL, &t->one)) \
    X(firn_prefix_end, size, EMPTY, firn_prefix_end(t->text, NULL))
#define STORE_CASES(X) \
    X(firn_options_init, options, EMPTY, ((firn_options_init)(NULL), 0)) \
    X(firn_options_init_sized, options, EMPTY, (firn_options_init_sized(NULL, 100), 0)) \
    X(firn_options_set, options, REFUSED, firn_options_set(NULL, "memory", "1GiB", e)) \
    X(firn_options_set, name, REFUSED, firn_options_set(&t->options, NULL, "1GiB", e)) \
    X(firn_options_set, value, REFUSED, firn_options_set(&t->options, "memory", NULL, e)) \
    X(firn_options_set, error, QUIET, firn_options_set(&t->options, "memory", "x", NULL)) \
    X(firn_open, path, REFUSED, firn_open(NULL, NULL, &t->db, e)) \
    X(firn_open, options, ALLOWED, given_back(t, firn_open(CLOSED, NULL, &t->db, e))) \
    X(firn_open, out, REFUSED, firn_open(CLOSED, NULL, NULL, e)) \
    X(firn_open, error, QUIET, firn_open(NULL, NULL, &t->db, NULL)) \
    X(firn_close, db, ALLOWED, firn_close(NULL, e)) \
    X(firn_close, error, QUIET, firn_close(DB, NULL)) \
    X(firn_write_options_init, options, EMPTY, ((firn_write_options_init)(NULL), 0)) \
    X(firn_write_options_init_sized, options, EMPTY, (firn_write_options_init_sized(NULL, 100), 0)) \
    X(firn_bucket_options_init, options, EMPTY, ((firn_bucket_options_init)(NULL), 0)) \
    X(firn_bucket_options_init_sized, options, EMPTY, (firn_bucket_options_init_sized(NULL, 100), 0)) \
    X(firn_bucket_open, db, REFUSED, firn_bucket_open(NULL, "b", NULL, &t->db, e)) \
    X(firn_bucket_open, name, REFUSED, firn_bucket_open(DB, NULL, NULL, &t->db, e)) \
    X(firn_bucket_open, options, ALLOWED, given_back(t, firn_bucket_open(DB, "b", NULL, &t->db, e))) \
    X(firn_bucket_open, out, REFUSED, firn_bucket_open(DB, "b", NULL, NULL, e)) \
    X(firn_bucket_open, error, QUIET, firn_bucket_open(DB, NULL, NULL, &t->db, NULL)) \
    X(firn_bucket_get, bucket, REFUSED, firn_bucket_get(NULL, &t->bucket_options, e)) \
    X(firn_bucket_get, options, REFUSED, firn_bucket_get(DB, NULL, e)) \
    X(firn_bucket_get, error, QUIET, firn_bucket_get(DB, NULL, NULL)) \
    X(firn_bucket_set, bucket, REFUSED, firn_bucket_set(NULL, &t->bucket_options, e)) \
    X(firn_bucket_set, options, REFUSED, firn_bucket_set(DB, NULL, e)) \
    X(firn_bucket_set, error, QUIET, firn_bucket_set(DB, NULL, NULL)) \
    X(firn_bucket_drop, bucket, REFUSED, firn_bucket_drop(NULL, e)) \
    X(firn_bucket_drop, error, QUIET, firn_bucket_drop(DB, NULL)) \
    X(firn_bucket_next, db, REFUSED, firn_bucket_next(NULL, NULL, t->text, sizeof t->text, e)) \
    X(firn_bucket_next, after, ALLOWED, firn_bucket_next(DB, NULL, t->text, sizeof t->text, e)) \
    X(firn_bucket_next, name, REFUSED, firn_bucket_next(DB, NULL, NULL, 64, e)) \
    X(firn_bucket_next, error, QUIET, firn_bucket_next(DB, NULL, NULL, 64, NULL)) \
    X(firn_put, db, REFUSED, firn_put(NULL, "k", 1, "v", 1, NULL, e)) \
    X(firn_put, key, REFUSED, firn_put(DB, NULL, 1, "v", 1, NULL, e)) \
    X(firn_put, value, REFUSED, firn_put(DB, "k", 1, NULL, 1, NULL, e)) \
    X(firn_put, options, ALLOWED, firn_put(DB, "k", 1, "v", 1, NULL, e)) \
    X(firn_put, error, QUIET, firn_put(DB, NULL, 1, "v", 1, NULL, NULL)) \
    X(firn_delete, db, REFUSED, firn_delete(NULL, "k", 1, NULL, e)) \
    X(firn_delete, key, REFUSED, firn_delete(DB, NULL, 1, NULL, e)) \
    X(firn_delete, options, ALLOWED, firn_delete(DB, "other", 5, NULL, e)) \
    X(firn_delete, error, QUIET, firn_delete(DB, NULL, 1, NULL, NULL)) \
    X(firn_batch_add, batch, REFUSED, firn_batch_add(NULL, &t->op, 1, e)) \
    X(firn_batch_add, ops, REFUSED, firn_batch_add(t->batch, NULL, 1, e)) \
    X(firn_batch_add, error, QUIET, firn_batch_add(t->batch, NULL, 1, NULL)) \
    X(firn_apply, bucket, REFUSED, firn_apply(NULL, &t->op, 0, NULL, &t->seq, e)) \
    X(firn_apply, ops, REFUSED, firn_apply(DB, NULL, 1, NULL, &t->seq, e)) \
    X(firn_apply, options, ALLOWED, firn_apply(DB, &t->op, 0, NULL, &t->seq, e)) \
    X(firn_apply, seq, ALLOWED, firn_apply(DB, &t->op, 0, NULL, NULL, e)) \
    X(firn_apply, error, QUIET, firn_apply(DB, NULL, 1, NULL, &t->seq, NULL)) \
    X(firn_write, db, REFUSED, firn_write(NULL, t->batch, NULL, &t->seq, e)) \
    X(firn_write, batch, REFUSED, firn_write(DB, NULL, NULL, &t->seq, e)) \
    X(firn_write, options, ALLOWED, firn_write(DB, t->batch, NULL, &t->seq, e)) \
    X(firn_write, seq, ALLOWED, firn_write(DB, t->batch, NULL, NULL, e)) \
    X(firn_write, error, QUIET, firn_write(DB, NULL, NULL, &t->seq, NULL)) \
    X(firn_sync, db, REFUSED, firn_sync(NULL, e)) \
    X(firn_sync, error, ALLOWED, firn_sync(DB, NULL)) \
    X(firn_last_seq, db, EMPTY, (int)firn_last_seq(NULL)) \
    X(firn_durable_seq, db, EMPTY, (int)firn_durable_seq(NULL)) \
    X(firn_wait_durable, db, REFUSED, firn_wait_durable(NULL, 1, 0, e)) \
    X(firn_wait_durable, error, QUIET, firn_wait_durable(DB, FIRN_MAX_SEQ, 0, NULL)) \
    X(firn_get, db, REFUSED, firn_get(NULL, "k", 1, NULL, &t->value, e)) \
    X(firn_get, key, REFUSED, firn_get(DB, NULL, 1, NULL, &t->value, e)) \
    X(firn_get, options, ALLOWED, given_back(t, firn_get(DB, "k", 1, NULL, &t->value, e))) \
    X(firn_get, value, REFUSED, firn_get(DB, "k", 1, NULL, NULL, e)) \
    X(firn_get, error, QUIET, firn_get(DB, NULL, 1, NULL, &t->value, NULL)) \
    X(firn_value_release, value, EMPTY, (firn_value_release(NULL), 0)) \
    X(firn_get_into, db, REFUSED, firn_get_into(NULL, "k", 1, NULL, t->text, 8, &t->size, e)) \
    X(firn_get_into, key, REFUSED, firn_get_into(DB, NULL, 1, NULL, t->text, 8, &t->size, e)) \
    X(firn_get_into, options, ALLOWED, firn_get_into(DB, "k", 1, NULL, t->text, 8, &t->size, e)) \
    X(firn_get_into, buffer, REFUSED, firn_get_into(DB, "k", 1, NULL, NULL, 8, &t->size, e)) \
    X(firn_get_into, value_size, REFUSED, firn_get_into(DB, "k", 1, NULL, t->text, 8, NULL, e)) \
    X(firn_get_into, error, QUIET, firn_get_into(DB, "k", 1, NULL, NULL, 8, &t->size, NULL)) \
    X(firn_cancel_fire, cancel, EMPTY, (firn_cancel_fire(NULL), 0)) \
    X(firn_read_options_init, options, EMPTY, ((firn_read_options_init)(NULL), 0)) \
    X(firn_read_options_init_sized, options, EMPTY, (firn_read_options_init_sized(NULL, 100), 0)) \
    X(firn_get_many, db, REFUSED, firn_get_many(NULL, &t->lower, 1, NULL, &t->value, &t->status, e)) \
    X(firn_get_many, keys, REFUSED, firn_get_many(DB, NULL, 1, NULL, &t->value, &t->status, e)) \
    X(firn_get_many, options, ALLOWED, given_back(t, firn_get_many(DB, &t->lower, 1, NULL, &t->value, &t->status, e))) \
    X(firn_get_many, values, REFUSED, firn_get_many(DB, &t->lower, 1, NULL, NULL, &t->status, e)) \
    X(firn_get_many, statuses, REFUSED, firn_get_many(DB, &t->lower, 1, NULL, &t->value, NULL, e)) \
    X(firn_get_many, error, QUIET, firn_get_many(DB, NULL, 1, NULL, &t->value, &t->status, NULL)) \
    X(firn_txn_options_init, options, EMPTY, ((firn_txn_options_init)(NULL), 0)) \
    X(firn_txn_options_init_sized, options, EMPTY, (firn_txn_options_init_sized(NULL, 100), 0)) \
    X(firn_txn_new, db, REFUSED, firn_txn_new(NULL, NULL, &t->new_txn, e)) \
    X(firn_txn_new, options, ALLOWED, given_back(t, firn_txn_new(DB, NULL, &t->new_txn, e))) \
    X(firn_txn_new, out, REFUSED, firn_txn_new(DB, NULL, NULL, e)) \
    X(firn_txn_new, error, QUIET, firn_txn_new(DB, NULL, NULL, NULL)) \
    X(firn_txn_free, txn, EMPTY, (firn_txn_free(NULL), 0)) \
    X(firn_txn_reset, txn, EMPTY, (firn_txn_reset(NULL), 0)) \
    X(firn_txn_add, txn, REFUSED, firn_txn_add(NULL, DB, &t->op, 0, e)) \
    X(firn_txn_add, bucket, REFUSED, firn_txn_add(t->txn, NULL, &t->op, 0, e)) \
    X(firn_txn_add, ops, REFUSED, firn_txn_add(t->txn, DB, NULL, 1, e)) \
    X(firn_txn_add, error, QUIET, firn_txn_add(t->txn, DB, NULL, 1, NULL)) \
    X(firn_txn_save, txn, REFUSED, firn_txn_save(NULL, &t->seq, e)) \
    X(firn_txn_save, point, REFUSED, firn_txn_save(t->txn, NULL, e)) \
    X(firn_txn_save, error, QUIET, firn_txn_save(t->txn, NULL, NULL)) \
    X(firn_txn_rollback, txn, REFUSED, firn_txn_rollback(NULL, 1, e)) \
    X(firn_txn_rollback, error, QUIET, firn_txn_rollback(t->txn, 0, NULL)) \
    X(firn_txn_commit, txn, REFUSED, firn_txn_commit(NULL, &t->seq, e)) \
    X(firn_txn_commit, seq, ALLOWED, (firn_txn_reset(t->txn), firn_txn_commit(t->txn, NULL, e))) \
    X(firn_txn_commit, error, QUIET, firn_txn_commit(NULL, &t->seq, NULL)) \
    X(firn_snapshot_new, db, REFUSED, firn_snapshot_new(NULL, &t->new_snapshot, e)) \
    X(firn_snapshot_new, out, REFUSED, firn_snapshot_new(DB, NULL, e)) \
    X(firn_snapshot_new, error, QUIET, firn_snapshot_new(DB, NULL, NULL)) \
    X(firn_snapshot_free, snapshot, EMPTY, (firn_snapshot_free(NULL), 0)) \
    X(firn_snapshot_seq, snapshot, EMPTY, (int)firn_snapshot_seq(NULL)) \
    X(firn_iter_options_init, options, EMPTY, ((firn_iter_options_init)(NULL), 0)) \
    X(firn_iter_options_init_sized, options, EMPTY, (firn_iter_options_init_sized(NULL, 100), 0)) \
    X(firn_iter_new, db, REFUSED, firn_iter_new(NULL, NULL, &t->new_it, e)) \
    X(firn_iter_new, options, ALLOWED, given_back(t, firn_iter_new(DB, NULL, &t->new_it, e))) \
    X(firn_iter_new, out, REFUSED, firn_iter_new(DB, NULL, NULL, e)) \
    X(firn_iter_new, error, QUIET, firn_iter_new(DB, NULL, NULL, NULL)) \
    X(firn_iter_free, it, EMPTY, (firn_iter_free(NULL), 0)) \
    X(firn_iter_first, it, QUIET, firn_iter_first(NULL)) \
    X(firn_iter_last, it, QUIET, firn_iter_last(NULL)) \
    X(firn_iter_seek, it, QUIET, firn_iter_seek(NULL, "k", 1)) \
    X(firn_iter_seek, key, QUIET, firn_iter_seek(t->it, NULL, 1)) \
    X(firn_iter_seek_for_prev, it, QUIET, firn_iter_seek_for_prev(NULL, "k", 1)) \
    X(firn_iter_seek_for_prev, key, QUIET, firn_iter_seek_for_prev(t->it, NULL, 1)) \
    X(firn_iter_next, it, QUIET, firn_iter_next(NULL)) \
    X(firn_iter_prev, it, QUIET, firn_iter_prev(NULL)) \
    X(firn_delete_range, db, REFUSED, firn_delete_range(NULL, NULL, NULL, e)) \
    X(firn_delete_range, range, ALLOWED, all_deleted(DB, e)) \
    X(firn_delete_range, options, ALLOWED, firn_delete_range(DB, &a_range, NULL, e)) \
    X(firn_delete_range, error, QUIET, firn_delete_range(DB, &(firn_range){.flags = 99}, NULL, NULL)) \
    X(firn_estimate, db, REFUSED, firn_estimate(NULL, NULL, &t->seq, &t->seq, e)) \
    X(firn_estimate, range, ALLOWED, firn_estimate(DB, NULL, &t->seq, &t->seq, e)) \
    X(firn_estimate, bytes, ALLOWED, firn_estimate(DB, NULL, NULL, &t->seq, e)) \
    X(firn_estimate, entries, ALLOWED, firn_estimate(DB, NULL, &t->seq, NULL, e)) \
    X(firn_count, db, REFUSED, firn_count(NULL, NULL, NULL, &t->seq, e)) \
    X(firn_count, range, ALLOWED, firn_count(DB, NULL, NULL, &t->seq, e)) \
    X(firn_count, options, ALLOWED, firn_count(DB, &a_range, NULL, &t->seq, e)) \
    X(firn_count, count, REFUSED, firn_count(DB, NULL, NULL, NULL, e)) \
    X(firn_count, error, QUIET, firn_count(DB, &(firn_range){.flags = 99}, NULL, &t->seq, NULL)) \
    X(firn_estimate, error, QUIET, firn_estimate(DB, &(firn_range){.flags = 99}, &t->seq, NULL, NULL)) \
    X(firn_iter_refresh, it, QUIET, firn_iter_refresh(NULL)) \
    X(firn_iter_valid, it, EMPTY, firn_iter_valid(NULL)) \
    X(firn_iter_key, it, EMPTY, (int)firn_iter_key(NULL).size + (firn_iter_key(NULL).data != NULL)) \
    X(firn_iter_value, it, EMPTY, (int)firn_iter_value(NULL).size + (firn_iter_value(NULL).data != NULL)) \
    X(firn_iter_status, it, REFUSED, firn_iter_status(NULL, e)) \
    X(firn_iter_status, error, QUIET, firn_iter_status(t->it, NULL)) /* the seeks above were refused */ \
    X(firn_iter_next_many, it, QUIET, firn_iter_next_many(NULL, &t->lower, &t->upper, 1, 1, &t->size)) \
    X(firn_iter_next_many, keys, QUIET, firn_iter_next_many(t->it, NULL, &t->upper, 1, 1, &t->size)) \
    X(firn_iter_next_many, values, ALLOWED, firn_iter_first(t->it) + firn_iter_next_many(t->it, &t->lower, NULL, 1, 1, &t->size)) \
    X(firn_iter_next_many, got, QUIET, firn_iter_next_many(t->it, &t->lower, &t->upper, 1, 1, NULL)) \
    X(firn_iter_prev_many, it, QUIET, firn_iter_prev_many(NULL, &t->lower, &t->upper, 1, 1, &t->size)) \
    X(firn_iter_prev_many, keys, QUIET, firn_iter_prev_many(t->it, NULL, &t->upper, 1, 1, &t->size)) \
    X(firn_iter_prev_many, values, ALLOWED, firn_iter_last(t->it) + firn_iter_prev_many(t->it, &t->lower, NULL, 1, 1, &t->size)) \
    X(firn_iter_prev_many, got, QUIET, firn_iter_prev_many(t->it, &t->lower, &t->upper, 1, 1, NULL)) \
    X(firn_flush, db, REFUSED, firn_flush(NULL, e)) \
    X(firn_flush, error, ALLOWED, firn_flush(DB, NULL)) \
    X(firn_compact, db, REFUSED, firn_compact(NULL, NULL, 0, NULL, 0, e)) \
    X(firn_compact, from, REFUSED, firn_compact(DB, NULL, 1, "k", 1, e)) \
    X(firn_compact, to, REFUSED, firn_compact(DB, "k", 1, NULL, 1, e)) \
    X(firn_compact, error, QUIET, firn_compact(DB, NULL, 1, NULL, 1, NULL)) \
    X(firn_settle, db, REFUSED, firn_settle(NULL, e)) \
    X(firn_settle, error, ALLOWED, firn_settle(DB, NULL)) \
    X(firn_get_stats, db, REFUSED, firn_get_stats(NULL, &t->stats, e)) \
    X(firn_get_stats, out, REFUSED, firn_get_stats(DB, NULL, e)) \
    X(firn_get_stats, error, QUIET, firn_get_stats(DB, NULL, NULL)) \
    X(firn_get_bucket_stats, bucket, REFUSED, firn_get_bucket_stats(NULL, &t->figures, e)) \
    X(firn_get_bucket_stats, out, REFUSED, firn_get_bucket_stats(DB, NULL, e)) \
    X(firn_get_bucket_stats, error, QUIET, firn_get_bucket_stats(DB, NULL, NULL)) \
    X(firn_get_bucket_stats_sized, bucket, REFUSED, firn_get_bucket_stats_sized(NULL, &t->figures, sizeof t->figures, e)) \
    X(firn_get_bucket_stats_sized, out, REFUSED, firn_get_bucket_stats_sized(DB, NULL, sizeof t->figures, e)) \
    X(firn_get_bucket_stats_sized, error, QUIET, firn_get_bucket_stats_sized(DB, NULL, 0, NULL)) \
    X(firn_get_stats_sized, db, REFUSED, firn_get_stats_sized(NULL, &t->stats, sizeof t->stats, e)) \
    X(firn_get_stats_sized, out, REFUSED, firn_get_stats_sized(DB, NULL, sizeof t->stats, e)) \
    X(firn_get_stats_sized, error, QUIET, firn_get_stats_sized(DB, NULL, 0, NULL)) \
    X(firn_get_latency, db, REFUSED, firn_get_latency(NULL, FIRN_LATENCY_GET, &t->latency, e)) \
    X(firn_get_latency, out, REFUSED, firn_get_latency(DB, FIRN_LATENCY_GET, NULL, e)) \
    X(firn_get_latency, error, QUIET, firn_get_latency(DB, FIRN_LATENCY_GET, NULL, NULL)) \
    X(firn_get_latency_sized, db, REFUSED, firn_get_latency_sized(NULL, FIRN_LATENCY_GET, &t->latency, sizeof t->latency, e)) \
    X(firn_get_latency_sized, out, REFUSED, firn_get_latency_sized(DB, FIRN_LATENCY_GET, NULL, sizeof t->latency, e)) \
    X(firn_get_latency_sized, error, QUIET, firn_get_latency_sized(DB, FIRN_LATENCY_GET, NULL, 0, NULL)) \
    X(firn_stats_text, db, REFUSED, firn_stats_text(NULL, false, t->figures_text, sizeof t->figures_text, &t->size, e)) \
    X(firn_stats_text, buffer, REFUSED, firn_stats_text(DB, false, NULL, 1, &t->size, e)) \
    X(firn_stats_text, needed, ALLOWED, firn_stats_text(DB, false, t->figures_text, sizeof t->figures_text, NULL, e)) \
    X(firn_stats_text, error, QUIET, firn_stats_text(DB, false, NULL, 1, &t->size, NULL)) \
    X(firn_check, path, REFUSED, firn_check(NULL, on_line, t, NULL, e)) \
    X(firn_check, line, ALLOWED, firn_check(CLOSED, NULL, t, NULL, e)) \
    X(firn_check, ctx, ALLOWED, firn_check(CLOSED, on_line, NULL, NULL, e)) \
    X(firn_check, summary, ALLOWED, firn_check(CLOSED, on_line, t, NULL, e)) \
    X(firn_check, error, QUIET, firn_check(NULL, on_line, t, NULL, NULL)) \
    X(firn_repair, path, REFUSED, firn_repair(NULL, NULL, on_event, t, NULL, e)) \
    X(firn_repair, options, ALLOWED, firn_repair(CLOSED, NULL, on_event, t, NULL, e)) \
    X(firn_repair, tell, ALLOWED, firn_repair(CLOSED, NULL, NULL, t, NULL, e)) \
    X(firn_repair, ctx, ALLOWED, firn_repair(CLOSED, NULL, on_event, NULL, NULL, e)) \
    X(firn_repair, summary, ALLOWED, firn_repair(CLOSED, NULL, on_event, t, NULL, e)) \
    X(firn_repair, error, QUIET, firn_repair(NULL, NULL, on_event, t, NULL, NULL)) \
    X(firn_lost, path, REFUSED, firn_lost(NULL, true, on_file, t, NULL, e)) \
    X(firn_lost, tell, ALLOWED, firn_lost(CLOSED, true, NULL, t, NULL, e)) \
    X(firn_lost, ctx, ALLOWED, firn_lost(CLOSED, false, on_file, NULL, NULL, e)) \
    X(firn_lost, summary, ALLOWED, firn_lost(CLOSED, false, on_file, t, NULL, e)) \
    X(firn_lost, error, QUIET, firn_lost(NULL, false, on_file, t, NULL, NULL)) \
    X(firn_destroy, path, REFUSED, firn_destroy(NULL, e)) \
    X(firn_destroy, error, QUIET, firn_destroy(NULL, NULL))
#define LOG_CASES(X) \
    X(firn_wal_options_init, options, EMPTY, ((firn_wal_options_init)(NULL), 0)) \
    X(firn_wal_options_init_sized, options, EMPTY, (firn_wal_options_init_sized(NULL, 100), 0)) \
    X(firn_wal_report_init, report, EMPTY, (firn_wal_report_init(NULL), 0)) \
    X(firn_wal_report_release, report, EMPTY, (firn_wal_report_release(NULL), 0)) \
    X(firn_wal_report_text, report, EMPTY, (firn_wal_report_text(NULL, on_line, t), 0)) \
    X(firn_wal_report_text, line, EMPTY, (firn_wal_report_text(&t->report, NULL, t), 0)) \
    X(firn_wal_report_text, ctx, EMPTY, (firn_wal_report_text(&t->report, on_line, NULL), 0)) \
    X(firn_wal_open, path, REFUSED, firn_wal_open(NULL, NULL, NULL, &t->new_log, e)) \
    X(firn_wal_open, options, ALLOWED, given_back(t, firn_wal_open(t->log_path, NULL, NULL, &t->new_log, e))) \
    X(firn_wal_open, report, ALLOWED, given_back(t, firn_wal_open(t->log_path, NULL, NULL, &t->new_log, e))) \
    X(firn_wal_open, out, REFUSED, firn_wal_open(t->log_path, NULL, NULL, NULL, e)) \
    X(firn_wal_open, error, QUIET, firn_wal_open(NULL, NULL, NULL, &t->new_log, NULL)) \
    X(firn_wal_close, log, ALLOWED, firn_wal_close(NULL, e)) \
    X(firn_wal_close, error, ALLOWED, firn_wal_close(NULL, NULL)) \
    X(firn_wal_append, log, REFUSED, firn_wal_append(NULL, FIRN_PUT, "k", 1, "v", 1, NULL, &t->seq, e)) \
    X(firn_wal_append, key, REFUSED, firn_wal_append(t->log, FIRN_PUT, NULL, 1, "v", 1, NULL, &t->seq, e)) \
    X(firn_wal_append, value, REFUSED, firn_wal_append(t->log, FIRN_PUT, "k", 1, NULL, 1, NULL, &t->seq, e)) \
    X(firn_wal_append, write, ALLOWED, firn_wal_append(t->log, FIRN_PUT, "k", 1, "v", 1, NULL, &t->seq, e)) \
    X(firn_wal_append, seq, ALLOWED, firn_wal_append(t->log, FIRN_PUT, "k", 1, "v", 1, NULL, NULL, e)) \
    X(firn_wal_append, error, QUIET, firn_wal_append(t->log, FIRN_PUT, NULL, 1, "v", 1, NULL, &t->seq, NULL)) \
    X(firn_wal_append_batch, log, REFUSED, firn_wal_append_batch(NULL, t->batch, NULL, &t->seq, e)) \
    X(firn_wal_append_batch, batch, REFUSED, firn_wal_append_batch(t->log, NULL, NULL, &t->seq, e)) \
    X(firn_wal_append_batch, write, ALLOWED, firn_wal_append_batch(t->log, t->batch, NULL, &t->seq, e)) \
    X(firn_wal_append_batch, seq_last, ALLOWED, firn_wal_append_batch(t->log, t->batch, NULL, NULL, e)) \
    X(firn_wal_append_batch, error, QUIET, firn_wal_append_batch(t->log, NULL, NULL, &t->seq, NULL)) \
    X(firn_wal_sync, log, REFUSED, firn_wal_sync(NULL, e)) \
    X(firn_wal_sync, error, ALLOWED, firn_wal_sync(t->log, NULL)) \
    X(firn_wal_wait_durable, log, REFUSED, firn_wal_wait_durable(NULL, 1, 0, e)) \
    X(firn_wal_wait_durable, error, QUIET, firn_wal_wait_durable(t->log, FIRN_MAX_SEQ, 0, NULL)) \
    X(firn_wal_on_durable, log, REFUSED, firn_wal_on_durable(NULL, 1, on_durable, t, e)) \
    X(firn_wal_on_durable, fn, REFUSED, firn_wal_on_durable(t->log, 1, NULL, t, e)) \
    X(firn_wal_on_durable, ctx, ALLOWED, firn_wal_on_durable(t->log, 1, on_durable, NULL, e)) \
    X(firn_wal_on_durable, error, QUIET, firn_wal_on_durable(t->log, 1, NULL, t, NULL)) \
    X(firn_wal_last_seq, log, EMPTY, (int)firn_wal_last_seq(NULL)) \
    X(firn_wal_durable_seq, log, EMPTY, (int)firn_wal_durable_seq(NULL)) \
    X(firn_wal_floor_seq, log, EMPTY, (int)firn_wal_floor_seq(NULL)) \
    X(firn_wal_rotate, log, REFUSED, firn_wal_rotate(NULL, e)) \
    X(firn_wal_rotate, error, ALLOWED, firn_wal_rotate(t->log, NULL)) \
    X(firn_wal_checkpoint, log, REFUSED, firn_wal_checkpoint(NULL, &t->seq, e)) \
    X(firn_wal_checkpoint, seq, ALLOWED, firn_wal_checkpoint(t->log, NULL, e)) \
    X(firn_wal_checkpoint, error, ALLOWED, firn_wal_checkpoint(t->log, &t->seq, NULL)) \
    X(firn_wal_truncate, log, REFUSED, firn_wal_truncate(NULL, 1, &t->seq, e)) \
    X(firn_wal_truncate, floor_seq, ALLOWED, firn_wal_truncate(t->log, 0, NULL, e)) \
    X(firn_wal_truncate, error, QUIET, firn_wal_truncate(t->log, FIRN_MAX_SEQ, &t->seq, NULL)) \
    X(firn_wal_replay, log, REFUSED, firn_wal_replay(NULL, 0, on_entry, t, NULL, e)) \
    X(firn_wal_replay, fn, REFUSED, firn_wal_replay(t->log, 0, NULL, t, NULL, e)) \
    X(firn_wal_replay, ctx, ALLOWED, firn_wal_replay(t->log, 0, on_entry, NULL, NULL, e)) \
    X(firn_wal_replay, report, ALLOWED, firn_wal_replay(t->log, 0, on_entry, t, NULL, e)) \
    X(firn_wal_replay, error, QUIET, firn_wal_replay(t->log, 0, NULL, t, NULL, NULL)) \
    X(firn_wal_iterate, log, REFUSED, firn_wal_iterate(NULL, on_record, t, e)) \
    X(firn_wal_iterate, fn, REFUSED, firn_wal_iterate(t->log, NULL, t, e)) \
    X(firn_wal_iterate, ctx, ALLOWED, firn_wal_iterate(t->log, on_record, NULL, e)) \
    X(firn_wal_iterate, error, QUIET, firn_wal_iterate(t->log, NULL, t, NULL)) \
    X(firn_wal_verify, log, REFUSED, firn_wal_verify(NULL, NULL, e)) \
    X(firn_wal_verify, report, ALLOWED, firn_wal_verify(t->log, NULL, e)) \
    X(firn_wal_verify, error, ALLOWED, firn_wal_verify(t->log, NULL, NULL)) \
    X(firn_wal_verify_path, path, REFUSED, firn_wal_verify_path(NULL, NULL, e)) \
    X(firn_wal_verify_path, report, ALLOWED, firn_wal_verify_path(t->log_path, NULL, e)) \
    X(firn_wal_verify_path, error, QUIET, firn_wal_verify_path(NULL, NULL, NULL))
/* clang-format on */
#define CASES(X) TYPES_CASES(X) STORE_CASES(X) LOG_CASES(X)

#define AS_FUNCTION(function, param, answer, call)                                                 \
    static int null_##function##_##param(table *t, firn_error *e)                                  \
    {                                                                                              \
        (void)t;                                                                                   \
        (void)e;                                                                                   \
        return call;                                                                               \
    }
CASES(AS_FUNCTION)

typedef struct null_case {
    const char *function, *param;
    answer answer;
    int (*call)(table *t, firn_error *e);
} null_case;

#define AS_CASE(function, param, answer, call)                                                     \
    {#function, #param, answer, null_##function##_##param},
static const null_case cases[] = {CASES(AS_CASE)};
#define CASE_COUNT (sizeof cases / sizeof cases[0])

static int setup(void **state)
{
    table *t = calloc(1, sizeof *t);
    bed_on_disk(&t->bed);
    bed_on_disk(&t->closed);
    bed_must_open(&t->closed);
    bed_must_close(&t->closed);
    t->bed.options.latencies = true;
    bed_must_open(&t->bed);
    firn_bucket_options o;
    firn_bucket_options_init(&o);
    o.create = true;
    MUST(firn_bucket_open(DB, "b", &o, &t->db, error));
    MUST(firn_close(t->db, error));
    t->db = NULL;
    bed_put(&t->bed, "k", "v");
    MUST(firn_iter_new(DB, NULL, &t->it, error));
    assert_int_equal(firn_iter_first(t->it), FIRN_OK);
    MUST(firn_snapshot_new(DB, &t->snapshot, error));
    MUST(firn_txn_new(DB, NULL, &t->txn, error));
    assert_int_equal(firn_batch_new(&t->batch), FIRN_OK);
    assert_int_equal(firn_batch_put(t->batch, "b", 1, "w", 1), FIRN_OK);
    t->folder = tempdir_new();
    snprintf(t->log_path, sizeof t->log_path, "%s/other", t->folder);
    MUST(firn_wal_open(t->folder, NULL, NULL, &t->log, error));
    MUST(firn_wal_append(t->log, FIRN_PUT, "k", 1, "v", 1, NULL, NULL, error));
    t->some = (firn_error){.status = FIRN_IO, .offset = FIRN_NO_OFFSET, .message = "something"};
    firn_options_init(&t->options);
    *state = t;
    return 0;
}

static int teardown(void **state)
{
    table *t = *state;
    firn_batch_free(t->batch);
    firn_iter_free(t->it);
    firn_snapshot_free(t->snapshot);
    firn_txn_free(t->txn);
    MUST(firn_wal_close(t->log, error));
    bed_release(&t->bed);
    bed_release(&t->closed);
    tempdir_remove(t->folder);
    free(t);
    return 0;
}

/* Bytes that no error has: what a call leaves of them, it did not fill in. */
static bool is_filled_in(const firn_error *e)
{
    return e->status == FIRN_INVALID && e->sys_errno == 0 && e->offset == FIRN_NO_OFFSET &&
           memchr(e->file, 0, sizeof e->file) && memchr(e->hint, 0, sizeof e->hint) &&
           e->message[0] && memchr(e->message, 0, sizeof e->message) && (e->message[0] & 0x80) == 0;
}

static void null_is_answered_in_the_place_of_every_pointer(void **state)
{
    table *t = *state;
    unsigned failures = 0;
    for (size_t i = 0; i < CASE_COUNT; i++) {
        const null_case *c = &cases[i];
        firn_error e, before;
        memset(&e, 0xa5, sizeof e);
        before = e;
        int rc = c->call(t, &e);
        bool same = memcmp(&e, &before, sizeof e) == 0;
        bool right = c->answer == REFUSED ? rc == FIRN_INVALID && is_filled_in(&e)
                     : c->answer == QUIET ? rc == FIRN_INVALID && same
                                          : rc == 0 && same;
        if (!right) {
            print_error("%s, %s NULL: returned %d, \"%.80s\"\n", c->function, c->param, rc,
                        same ? "error untouched" : e.message);
            failures++;
        }
    }
    assert_int_equal(failures, 0);
    bed_expect(&t->bed, NULL, "k", "v");
    bed_expect(&t->bed, NULL, "b", "w");
}

static void a_handle_is_null_after_a_failure(void **state)
{
    table *t = *state;
    firn *db = DB;
    firn_iter *it = t->it;
    firn_snapshot *snapshot = t->snapshot;
    firn_wal *log = t->log;
    firn_options options;
    firn_wal_options log_options;
    firn_iter_options iter_options = {0};
    firn_wal_report report;
    memset(&report, 0xa5, sizeof report);
    assert_int_equal(firn_open(PATH, NULL, &db, NULL), FIRN_LOCKED);
    assert_null(db);
    db = DB;
    firn_options_init(&options);
    options.create_if_missing = false;
    assert_int_equal(firn_open(t->log_path, &options, &db, NULL), FIRN_NOT_FOUND);
    assert_null(db);
    db = DB;
    assert_int_equal(firn_open(NULL, NULL, &db, NULL), FIRN_INVALID);
    assert_null(db);
    db = DB;
    firn_options_init(&options);
    options.memory = 12;
    assert_int_equal(firn_open(CLOSED, &options, &db, NULL), FIRN_INVALID);
    assert_null(db);
    assert_int_equal(firn_iter_new(NULL, NULL, &it, NULL), FIRN_INVALID);
    assert_null(it);
    it = t->it;
    assert_int_equal(firn_iter_new(DB, &iter_options, &it, NULL), FIRN_INVALID);
    assert_null(it);
    assert_int_equal(firn_snapshot_new(NULL, &snapshot, NULL), FIRN_INVALID);
    assert_null(snapshot);
    firn_txn *txn = t->txn;
    firn_txn_options txn_options = {0};
    assert_int_equal(firn_txn_new(DB, &txn_options, &txn, NULL), FIRN_INVALID);
    assert_null(txn);
    assert_int_equal(firn_wal_open(t->folder, NULL, &report, &log, NULL), FIRN_LOCKED);
    assert_null(log);
    assert_null(report.findings); /* and the report can be released */
    firn_wal_report_release(&report);
    log = t->log;
    firn_wal_options_init(&log_options);
    log_options.segment_bytes = 1;
    memset(&report, 0xa5, sizeof report);
    assert_int_equal(firn_wal_open(t->log_path, &log_options, &report, &log, NULL), FIRN_INVALID);
    assert_null(log);
    firn_wal_report_release(&report);
    firn_value value;
    memset(&value, 0xa5, sizeof value);
    assert_int_equal(firn_get(DB, "none", 4, NULL, &value, NULL), FIRN_NOT_FOUND);
    assert_null(value.data);
    firn_value_release(&value); /* nothing to give back, and no harm */
    memset(&value, 0xa5, sizeof value);
    assert_int_equal(firn_get(NULL, "none", 4, NULL, &value, NULL), FIRN_INVALID);
    firn_value_release(&value);
}

/* ---- Closing what is in use ---- */

static void refuses_to_close(table *t, const char *counts)
{
    firn_error e;
    memset(&e, 0xa5, sizeof e);
    assert_int_equal(firn_close(DB, &e), FIRN_INVALID);
    assert_int_equal(e.status, FIRN_INVALID);
    if (!strstr(e.message, counts))
        fail_msg("\"%s\" does not say \"%s\"", e.message, counts);
    assert_non_null(strstr(e.hint, "firn_value_release"));
    assert_string_equal(e.file, PATH);
    bed_expect(&t->bed, NULL, "k", "v"); /* it stays open and usable */
}

typedef struct elsewhere {
    firn *db;
    firn_value taken, given;
} elsewhere;

static void *take_and_give(void *arg)
{
    elsewhere *x = arg;
    assert_int_equal(firn_get(x->db, "k", 1, NULL, &x->taken, NULL), FIRN_OK);
    firn_value_release(&x->given);
    return NULL;
}

static void closing_says_what_is_still_out_and_refuses(void **state)
{
    table *t = *state;
    firn_value values[70], in_table = {0};
    elsewhere x = {.db = DB};
    pthread_t threads[2];
    refuses_to_close(t, "iterators: 1, snapshots: 1, values: 0");
    firn_iter_free(t->it);
    t->it = NULL;
    refuses_to_close(t, "iterators: 0, snapshots: 1, values: 0");
    firn_snapshot_free(t->snapshot);
    t->snapshot = NULL;
    refuses_to_close(t, "snapshots: 0, values: 0, buckets: 0, transactions: 1");
    firn_txn_free(t->txn);
    t->txn = NULL;
    for (size_t i = 0; i < 70; i++)
        MUST(firn_get(DB, "k", 1, NULL, &values[i], error));
    refuses_to_close(t, "iterators: 0, snapshots: 0, values: 70");
    MUST(firn_flush(DB, error));
    MUST(firn_get(DB, "k", 1, NULL, &in_table, error)); /* now from a table */
    refuses_to_close(t, "values: 71");
    /* Taken by one thread, given back by another, the other way round in the next. */
    x.given = values[0];
    assert_int_equal(pthread_create(&threads[0], NULL, take_and_give, &x), 0);
    assert_int_equal(pthread_join(threads[0], NULL), 0);
    refuses_to_close(t, "values: 71");
    firn_value_release(&x.taken);
    for (size_t i = 1; i < 70; i++)
        firn_value_release(&values[i]);
    refuses_to_close(t, "values: 1");
    firn_value_release(&in_table);
    firn_value_release(&in_table); /* it is empty now: nothing is given back twice */
    firn_value none;
    assert_int_equal(firn_get(DB, "none", 4, NULL, &none, NULL), FIRN_NOT_FOUND);
    bed_must_close(&t->bed);
    bed_must_open(&t->bed);
    bed_expect(&t->bed, NULL, "k", "v");
}

/* What failed to be made is not counted. */
static void what_failed_is_not_counted(void **state)
{
    table *t = *state;
    firn_iter_options wrong;
    firn_iter *it;
    firn_iter_options_init(&wrong);
    wrong.lower_size = 1;
    assert_int_equal(firn_iter_new(DB, &wrong, &it, NULL), FIRN_INVALID);
    for (uint64_t at = 1; at < 40; at++) {
        alloc_fail_at(at);
        int rc = firn_iter_new(DB, NULL, &it, NULL);
        alloc_fail_at(0);
        if (rc == FIRN_OK)
            firn_iter_free(it);
        else
            assert_null(it);
    }
    refuses_to_close(t, "iterators: 1, snapshots: 1, values: 0");
}

static void wrong_arguments_are_refused(void **state)
{
    (void)state;
    bed b;
    bed_on_simfs(&b, 1);
    bed_must_open(&b);
    bed_put(&b, "a", "1");
    firn_error err = {0};
    firn_value v;
    size_t size;
    firn_write_options w = {0};
    firn_iter_options io = {0};
    firn_iter *it = NULL;
    assert_int_equal(firn_get(b.db, "a", 1, NULL, NULL, &err), FIRN_INVALID);
    assert_int_equal(firn_get(b.db, NULL, 1, NULL, &v, &err), FIRN_INVALID);
    assert_int_equal(firn_get_into(b.db, "a", 1, NULL, NULL, 0, NULL, &err), FIRN_INVALID);
    assert_int_equal(firn_get_into(b.db, "a", 1, NULL, NULL, 5, &size, &err), FIRN_INVALID);
    assert_int_equal(firn_put(b.db, NULL, 1, "v", 1, NULL, &err), FIRN_INVALID);
    assert_int_equal(firn_put(b.db, "k", 1, NULL, 1, NULL, &err), FIRN_INVALID);
    assert_int_equal(firn_put(b.db, "k", 1, "v", 1, &w, &err), FIRN_INVALID);
    assert_int_equal(firn_iter_new(b.db, &io, &it, &err), FIRN_INVALID);
    assert_int_equal(firn_iter_new(b.db, NULL, NULL, &err), FIRN_INVALID);
    assert_int_equal(firn_snapshot_new(b.db, NULL, &err), FIRN_INVALID);
    assert_int_equal(firn_get_stats(b.db, NULL, &err), FIRN_INVALID);
    firn_iter_options_init(&io);
    io.lower_size = 3;
    assert_int_equal(firn_iter_new(b.db, &io, &it, &err), FIRN_INVALID);
    MUST(firn_iter_new(b.db, NULL, &it, error));
    assert_int_equal(firn_iter_seek(it, NULL, 3), FIRN_INVALID);
    assert_int_equal(firn_iter_seek_for_prev(it, NULL, 3), FIRN_INVALID);
    assert_false(firn_iter_valid(it));
    assert_int_equal(firn_iter_status(it, &err), FIRN_INVALID);
    assert_int_equal(firn_iter_seek(it, NULL, 0), FIRN_OK);
    firn_iter_free(it);
    bed_release(&b);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        for (size_t i = 0; i < CASE_COUNT; i++)
            printf("%s %s\n", cases[i].function, cases[i].param);
        return 0;
    }
    const struct CMUnitTest tests[] = {
        TEST(null_is_answered_in_the_place_of_every_pointer),
        TEST(a_handle_is_null_after_a_failure),
        TEST(closing_says_what_is_still_out_and_refuses),
        TEST(what_failed_is_not_counted),
        cmocka_unit_test(wrong_arguments_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
