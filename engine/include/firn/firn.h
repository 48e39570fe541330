/* <firn/firn.h>: firn, an embedded, ordered key-value store.
 *
 *     firn *db;
 *     firn_open("folder", NULL, &db, &error);
 *     firn_put(db, "k", 1, "v", 1, NULL, &error);           // durable when it returns
 *     firn_value v;
 *     if (firn_get(db, "k", 1, NULL, &v, &error) == FIRN_OK) {
 *         fwrite(v.data, 1, v.size, stdout);
 *         firn_value_release(&v);
 *     }
 *     firn_close(db, NULL);
 *
 * Keys are ordered by memcmp, a prefix before its continuation. Empty keys and values, and NUL
 * bytes, are ordinary. Limits: <firn/types.h>.
 *
 * Thread-safety: every function that takes a firn may be called from any thread at any time, except
 * firn_close, which must be the last call, after all iterators, snapshots, transactions, values and
 * handles of buckets have been given back; it refuses while some are not. (Of a bucket's handle:
 * "Buckets".) An iterator, a batch and a transaction belong to one thread at a time. Readers never
 * wait for writers. After fork, the child must not use the handle, nor its iterators and
 * transactions: calls return FIRN_INVALID, firn_close too. What it gives back there
 * (firn_iter_free, firn_snapshot_free, firn_txn_free, firn_value_release) stays the parent's, and
 * goes with the child's memory; these calls, and firn_txn_reset, neither wait nor touch a file.
 *
 * `error` may be NULL everywhere; it is filled in on failure, untouched otherwise. Any other
 * pointer that is NULL, where that is not said to be allowed, makes a call return FIRN_INVALID; one
 * that returns no status does nothing then, or returns 0, false or an empty slice. A key, value or
 * bound of no bytes may be NULL. `*out` is NULL after a failure. What firn_close, firn_iter_free
 * and the like have taken must not be passed to any call again: that it is gone cannot be seen from
 * it. */
#ifndef FIRN_FIRN_H
#define FIRN_FIRN_H

#include <firn/types.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct firn firn;
typedef struct firn_snapshot firn_snapshot;
typedef struct firn_iter firn_iter;
typedef struct firn_txn firn_txn;

/* ---- Options ----
 * Structs that begin with `size` grow: later versions add fields at the end, and `size` says how
 * far the program's reaches. One rule for all of them, options and figures:
 *   - the initialiser of options sets it, and firn_get_stats does, to what the struct had when the
 *     program was compiled. firn reads and writes no byte behind it;
 *   - the shorter struct of an earlier version is taken: options that it lacks have their defaults,
 *     figures that it lacks are not given;
 *   - longer options, which a later version knows, are FIRN_INVALID, and so is a size that no
 *     version has had; what longer figures have room for beyond those of this version is zero.
 * Where a program cannot say (a binding that calls one of them by its name), it is the struct of
 * the first version. The functions with _sized are for bindings that know better. */
typedef enum firn_compression {
    FIRN_COMPRESSION_AUTO = 0, /* young levels plain, so that they are read in place; LZ4 below */
    FIRN_COMPRESSION_NONE,
    FIRN_COMPRESSION_LZ4,
    FIRN_COMPRESSION_ZLIB,
} firn_compression;

typedef struct firn_options {
    size_t size;                /* set by firn_options_init; see above */
    uint64_t memory;            /* bytes for memtables (their part of the log, and its index),
                                   cached blocks, filters, indexes, open tables and the buffers of
                                   background work together. Of a process that may use less, blocks,
                                   filters and indexes take no more than a quarter. Default 256 MiB,
                                   at least 1 MiB. More memory: fewer, larger flushes and more
                                   blocks in reach. On top, and in firn_stats.memory_bytes:
                                   - what callers hold: blocks, of which beyond twice as much a
                                     read that would have to unpack another one is FIRN_NO_MEMORY;
                                     and memtables, of which an iterator has up to four that are
                                     filled, and a value one;
                                   - windows of iterators with bypass_cache: an eighth of it, or 512
                                     KiB if that is more;
                                   - of an earlier life's log, when a store is opened, what is not
                                     flushed, until it is; in a handle that only reads, until it is
                                     closed: up to six segments, and their index;
                                   - batches larger than a memtable (memory/4 at most), and their
                                     index (in each bucket that has any of it 4 KiB or more), until
                                     they are flushed: at most four;
                                   - where memory is little, background work: for each of four
                                     jobs 1 MiB, a few times the largest entry, and 64 KiB for
                                     each table that it reads and that is not mapped; where memory
                                     is 16 MiB or more, for each that it reads, and more with more
                                     memory: a 256th of it, at most 256 KiB.
                                   Not counted:
                                   - firn_batch objects, which are the caller's, and while it is
                                     written, a copy of one whose operations name no bucket, and
                                     that is not written to bucket 0;
                                   - of firn_get_many, 32 bytes a key;
                                   - of an iterator, its bounds, a key, up to 16 KiB of a value,
                                     what firn_iter_next_many gave, and of each run below it a key
                                     and 1 KiB;
                                   - of a table that is being written, 1 MiB at its beginning, and
                                     filter and index once more at its end;
                                   - up to 3 MiB in which the log puts writes together;
                                   - the lists of tables, stacks of threads, and mapped tables,
                                     whose pages the system takes back;
                                   - firn_check and firn_repair: a few times the largest entry, and
                                     filter and index of a table */
    firn_durability durability; /* what a write waits for. Default SYNC */
    uint32_t batch_ms;          /* BATCH: synced after so many milliseconds, also when idle. Default
                                   50 */
    uint32_t batch_writes;      /* BATCH: or after so many writes. Default 1000 */
    bool create_if_missing;     /* default true */
    bool error_if_exists;       /* default false */
    bool read_only;             /* default false. Writes nothing, takes no lock, sees the store as
                                   it was at open; any number of processes beside a writer */
    firn_recovery recovery;     /* default TAIL */
    firn_compression compression; /* default AUTO */
    uint32_t filter_bits;         /* bits per key of the filters; default 10; 0: none */
    uint64_t segment_bytes; /* size of a log segment, and so of a memtable's data. 0 (default):
                                   memory/8, at least 64 KiB, at most 64 MiB. 8 KiB to 1 GiB. The
                                   log as a whole takes at most six of them, also while readers
                                   stay; a batch larger than one has one of its own size. What an
                                   iterator or value still holds of it keeps its room until then: at
                                   most four each */
    uint64_t table_bytes;   /* size at which compaction ends a table; default 32 MiB, 4 KiB to 1
                                   GiB */
    firn_log_fn log;        /* where warnings go; default NULL: nowhere */
    void *log_ctx;
    bool never_map;      /* default false. No file is mapped into memory: what cannot be read
                                   is an error of a call, where touching it in a mapping would kill
                                   the process (SIGBUS), and a file that another program changes is
                                   checked before it is looked at. Slower */
    uint8_t reserved[7]; /* not looked at */
    bool latencies;      /* default false. Counts how long calls and background work take
                                   (firn_get_latency), and which keys filters deny (firn_stats):
                                   two looks at the clock and two shared additions for each read,
                                   seek and write, and one for each table that is not looked into.
                                   300 KB of memory at most, which is not counted */
} firn_options;

FIRN_API void firn_options_init(firn_options *options);
FIRN_API void firn_options_init_sized(firn_options *options, size_t size);
#define firn_options_init(options) firn_options_init_sized((options), sizeof(firn_options))
/* Sets one option by name from text: sizes as 4096, 64KiB, 512MiB, 2GiB; durability as sync, batch,
 * none; recovery as strict, tail, prefix, salvage; compression as auto, none, lz4, zlib; booleans
 * as true, false. FIRN_INVALID, saying which values are allowed; *options stays as it was. */
FIRN_API int firn_options_set(firn_options *options, const char *name, const char *value,
                              firn_error *error);

/* ---- Open and close ---- */

/* Opens the store in the folder `path`, making it (and missing parents) if it is not there and the
 * options allow. What the log holds beyond the last flush is replayed. `options` NULL: defaults.
 * The folder is locked until firn_close, which gives the lock up also when a fork has copied the
 * handle. The folder and the file LOCK in it must stay what they are: once another program removes,
 * renames or replaces one of them, writing stops (FIRN_IO, then FIRN_POISONED) before the next
 * segment of the log is opened. FIRN_NOT_FOUND (no store there), FIRN_INVALID (not a folder; a
 * folder of something else; a wrong option), FIRN_LOCKED (names the process), FIRN_DAMAGED (file,
 * offset, what to do), FIRN_UNSUPPORTED, FIRN_NO_SPACE, FIRN_NO_MEMORY, FIRN_IO. */
FIRN_API int firn_open(const char *path, const firn_options *options, firn **out,
                       firn_error *error);

/* The store's own handle. (A bucket's is only given back: see "Buckets".)
 * Makes everything durable, and frees the handle, also when that fails; the first error is
 * returned. NULL is allowed. Opening replays what is only in the log. So when that is much (more
 * than 10,000 entries, or 1 MiB of log), it is written to tables first, as firn_flush does; what
 * cannot be written, for want of room say, stays in the log, and is no failure. Less stays in the
 * log: closing a store that was written to a little flushes nothing. FIRN_INVALID frees nothing:
 * iterators, snapshots, transactions, values or handles of buckets have not been given back, and
 * the message says how many of each. The store stays open and usable; give them back and close
 * again. */
FIRN_API int firn_close(firn *db, firn_error *error);

/* ---- Buckets ----
 * A store has bucket 0, which has no name and is what firn_open gives a handle of, and any number
 * of others, which have: each with its own keys. A handle of a bucket is a firn, and every call
 * takes either. Reads and writes, estimates and compaction are of the handle's bucket; everything
 * else (syncs, numbers, snapshots, flushes, figures) is of the store, whichever handle is given. A
 * batch may write to several buckets, and happens in all of them or in none; a snapshot shows all
 * of them at one moment, and a bucket that was made later as empty.
 *
 * Names have 1 to 63 bytes, any but NUL. Handles of one bucket are counted, and are one and the
 * same pointer: each is given back with firn_close, which makes nothing durable. The last one's
 * close is FIRN_INVALID, and frees nothing, while iterators of the bucket are out; snapshots and
 * values need no handle. The store's own is closed behind all others. */
typedef struct firn_bucket_options {
    size_t size;          /* set by firn_bucket_options_init; see "Options" */
    bool create;          /* default false: a name that is not there is FIRN_NOT_FOUND */
    bool error_if_exists; /* default false; with `create` */
    /* Of the tables of one that is made; kept with it. Behind the making firn_bucket_set changes
     * them, and they do not count here. */
    uint32_t compression; /* firn_compression. Default FIRN_AS_STORE: what the store is opened
                             with, each time */
    uint32_t filter_bits; /* as in firn_options. Default FIRN_AS_STORE */
} firn_bucket_options;
#define FIRN_AS_STORE UINT32_MAX
FIRN_API void firn_bucket_options_init(firn_bucket_options *options);
FIRN_API void firn_bucket_options_init_sized(firn_bucket_options *options, size_t size);
#define firn_bucket_options_init(options)                                                          \
    firn_bucket_options_init_sized((options), sizeof(firn_bucket_options))

/* A handle of the bucket called `name` in the store of `db`. `options` NULL: defaults. One that is
 * made is durable when this returns. FIRN_NOT_FOUND (described); FIRN_INVALID (a name of the wrong
 * length; it is there, and error_if_exists is set); FIRN_READ_ONLY; FIRN_TOO_LARGE (the store has
 * given out all of its numbers for buckets: it has 32,767 of them, and never uses one again);
 * FIRN_NO_SPACE and FIRN_NO_MEMORY (nothing happened); FIRN_IO, FIRN_POISONED. */
FIRN_API int firn_bucket_open(firn *db, const char *name, const firn_bucket_options *options,
                              firn **out, firn_error *error);
/* What the bucket has of these options; `create` and `error_if_exists` are false. `options` comes
 * from firn_bucket_options_init. FIRN_INVALID, FIRN_DROPPED. */
FIRN_API int firn_bucket_get(firn *bucket, firn_bucket_options *options, firn_error *error);
/* Changes `compression` and `filter_bits`, for tables that are made from now on: get, change, set.
 * Durable when it returns. FIRN_INVALID (out of range; bucket 0, which has the store's),
 * FIRN_DROPPED, FIRN_READ_ONLY, FIRN_NO_SPACE and FIRN_NO_MEMORY (nothing happened), FIRN_IO,
 * FIRN_POISONED. */
FIRN_API int firn_bucket_set(firn *bucket, const firn_bucket_options *options, firn_error *error);
/* Ends the handle's bucket and all that is in it, for good: durable when it returns, and then its
 * files go, except for those that iterators and values still read. From then on calls that need the
 * bucket are FIRN_DROPPED, with any handle of it and at older snapshots, too; so is a batch with an
 * operation for it, as a whole, and any write with a handle of it. Handles of it are still to be
 * closed. Iterators that were made before go on over what they saw, and values stay. A bucket that
 * is made again under the name is another one. Waits for compactions in it, for callers of
 * firn_compact, and for a flush. FIRN_INVALID: bucket 0. FIRN_READ_ONLY, FIRN_NO_SPACE and
 * FIRN_NO_MEMORY (nothing happened), FIRN_IO, FIRN_POISONED. */
FIRN_API int firn_bucket_drop(firn *bucket, firn_error *error);
/* The name behind `after` (NULL: the first one), in the order of their bytes; 64 bytes are enough,
 * with the NUL. `name` and `after` may be the same. FIRN_END: there is none behind it.
 * FIRN_TOO_LARGE. */
FIRN_API int firn_bucket_next(firn *db, const char *after, char *name, size_t capacity,
                              firn_error *error);

/* ---- Write ---- */
typedef struct firn_write_options {
    size_t size;
    firn_durability durability; /* DEFAULT: the store's */
} firn_write_options;
FIRN_API void firn_write_options_init(firn_write_options *options);
FIRN_API void firn_write_options_init_sized(firn_write_options *options, size_t size);
#define firn_write_options_init(options)                                                           \
    firn_write_options_init_sized((options), sizeof(firn_write_options))

/* FIRN_TOO_LARGE, FIRN_INVALID; FIRN_NO_SPACE and FIRN_NO_MEMORY (nothing happened; try again);
 * FIRN_IO (unknown whether the write survives; readers may see it until the store is closed) and
 * from then on FIRN_POISONED (nothing happened): reading goes on, reopen to write; FIRN_READ_ONLY.
 * While compaction can read or write no tables, writing goes on until level 0 is full. Then a write
 * is what compaction has found (FIRN_IO, FIRN_DAMAGED, ...), and nothing has happened; it is in
 * firn_stats.compaction_error, too. Once that is cured, the next write succeeds; a damaged table
 * needs firn_repair. Deleting what is not there is FIRN_OK. */
FIRN_API int firn_put(firn *db, const void *key, size_t key_size, const void *value,
                      size_t value_size, const firn_write_options *options, firn_error *error);
FIRN_API int firn_delete(firn *db, const void *key, size_t key_size,
                         const firn_write_options *options, firn_error *error);
/* All operations of the batch, in their order, or none; those that name no bucket, in that of the
 * handle. An empty batch is FIRN_OK. *seq (may be NULL) is the number of the last operation. The
 * batch is not changed. A batch may have 300,000 operations, and with more than 12 MB of
 * firn_options.memory one for every 48 bytes of that, since all of it is indexed in memory before
 * any of it is visible; a range delete counts as four. With more, it is FIRN_TOO_LARGE. */
FIRN_API int firn_write(firn *db, const firn_batch *batch, const firn_write_options *options,
                        uint64_t *seq, firn_error *error);

/* A range of keys. NULL: no bound. */
typedef struct firn_range {
    const firn_slice *first; /* the first key */
    const firn_slice *end;   /* the first key that is not in it */
    uint32_t flags;          /* FIRN_FIRST_OPEN: `first` itself is not in it, either.
                                FIRN_END_CLOSED: `end` itself is */
} firn_range;
#define FIRN_FIRST_OPEN 1u
#define FIRN_END_CLOSED 2u

/* Deletes every key of the range (NULL, or without bounds: all keys of the bucket), at a cost that
 * does not grow with how many there are, for the call or for reads behind it; while a snapshot
 * needs what was deleted, other reads may have to step over that. The room on the disk comes back
 * in the background. FIRN_INVALID: the range is empty by its bounds, has a bound that is NULL with
 * a size, or flags that do not exist (flags of a bound that is not there say nothing);
 * FIRN_TOO_LARGE: a bound longer than any key. A range without keys is FIRN_OK. One without an end
 * takes 64 KiB of log. Else as firn_delete. */
FIRN_API int firn_delete_range(firn *db, const firn_range *range, const firn_write_options *options,
                               firn_error *error);

/* What an operation does. The first ones are firn_kind's; 4, 5 and 8 are kept. */
typedef enum firn_op_kind {
    FIRN_OP_PUT = 1,
    FIRN_OP_DELETE = 2,
    FIRN_OP_DELETE_RANGE = 3,
    /* Conditions, of firn_apply: the key is not there; it is; it is, with this value. */
    FIRN_OP_IF_ABSENT = 6,
    FIRN_OP_IF_PRESENT = 7,
    FIRN_OP_IF_VALUE = 9,
} firn_op_kind;
typedef struct firn_op {
    size_t size;      /* sizeof(firn_op). In an array, all have the same: it says how far they lie
                         apart */
    uint32_t kind;    /* firn_op_kind */
    firn *bucket;     /* NULL: that of the handle that it is written with */
    firn_slice key;   /* not of DELETE_RANGE */
    firn_slice value; /* PUT, IF_VALUE */
    firn_range range; /* DELETE_RANGE */
} firn_op;
/* Adds operations behind those of the batch, all or none; both copy what they are given. A batch
 * keeps no handle, but which buckets of which store it is for: to be written with a handle of that
 * store, as long as they are there. FIRN_INVALID (a kind that does not exist; a condition; a
 * delete with a value; an empty range, or one beside a key; buckets of two stores; a pointer that
 * is NULL with a size), FIRN_TOO_LARGE, FIRN_NO_MEMORY, FIRN_DROPPED. The error says which
 * operation it is, counted from 0. A copy of a store's folder counts as the same store: its buckets
 * are told apart by their numbers. */
FIRN_API int firn_batch_add(firn_batch *batch, const firn_op *ops, size_t count, firn_error *error);

/* Carries out what writes, in its order, if all conditions hold, wherever they stand among it; else
 * FIRN_CONFLICT, and nothing has happened. Conditions look at what was there before all of it: no
 * write of another caller comes between what they have seen and what is written. A condition that
 * fails did not hold at a moment of the call. Each costs a read. With nothing to write, all hold at
 * one moment. *seq (may be NULL) is the number of the last operation, or, with nothing to write, of
 * the newest write that they have seen. Operations that name no bucket are in the handle's. Where
 * one of them is what is wrong, the error says which, counted from 0; that of a conflict tells the
 * key, too. FIRN_INVALID (as of firn_batch_add; buckets of another store), FIRN_DROPPED; else as
 * firn_write, and as firn_get of what is read. */
FIRN_API int firn_apply(firn *bucket, const firn_op *ops, size_t count,
                        const firn_write_options *options, uint64_t *seq, firn_error *error);

/* Makes all writes so far durable. */
FIRN_API int firn_sync(firn *db, firn_error *error);
/* The newest number: that of the newest visible write, or of a checkpoint behind it, which takes
 * one too. */
FIRN_API uint64_t firn_last_seq(const firn *db);
FIRN_API uint64_t firn_durable_seq(const firn *db); /* all writes <= this survive power loss */
/* timeout_ms 0: no limit. FIRN_TIMED_OUT; FIRN_READ_ONLY on a handle that only reads and would have
 * to wait. */
FIRN_API int firn_wait_durable(firn *db, uint64_t seq, uint32_t timeout_ms, firn_error *error);

/* ---- Transactions ----
 * Reads and writes that belong together. A transaction sees the store as it was when it began, and
 * its own writes, which others see when it is committed, all at once; or, if others have written
 * meanwhile what it must find unchanged, not at all: the commit is FIRN_CONFLICT, whose message
 * tells the key (or the beginning of the range) and the bucket, and the caller runs the transaction
 * again. It locks nothing, so it never waits for another one.
 *
 * What must be unchanged since it began: each key that it puts or deletes, each range that it
 * deletes, the keys of its conditions. That is snapshot isolation: no write is lost, but two
 * transactions may each read what the other one writes, and both be committed. With `serializable`
 * it is also all that it has read: each key that it has looked for, found or not, and each stretch
 * of keys that its iterators have passed: from where a movement was sent (a key or a bound) to
 * where it stopped, or to the bound. Then there is an order in which those that were committed
 * could have run one after the other. One that writes nothing is never in conflict. Each write by
 * others counts, whatever calls made it, also one that puts what was there before. But a key that
 * had not been there, and was deleted, also after it had been put, may be taken for unchanged.
 *
 * A transaction is used by one thread at a time, together with its iterators. It keeps what it
 * sees, as a snapshot does. What it has written, and what it must find unchanged, is in memory of
 * its own, which is not counted in firn_options.memory, as a batch is not, and given back when it
 * is committed or reset, also that of writes that were replaced or rolled back. What may be
 * committed at once is what a batch may have. It may read from and write to any bucket of its
 * store; until then, a handle of one that it has used may be closed. */
typedef struct firn_txn_options {
    size_t size;                /* set by firn_txn_options_init; see "Options" */
    firn_durability durability; /* of the commit. DEFAULT: the store's */
    bool serializable;          /* default false: snapshot isolation */
} firn_txn_options;
FIRN_API void firn_txn_options_init(firn_txn_options *options);
FIRN_API void firn_txn_options_init_sized(firn_txn_options *options, size_t size);
#define firn_txn_options_init(options)                                                             \
    firn_txn_options_init_sized((options), sizeof(firn_txn_options))

/* Begins one. `options` NULL: defaults. FIRN_INVALID, FIRN_NO_MEMORY. On a handle that only reads,
 * too; what writes there is refused by the commit. */
FIRN_API int firn_txn_new(firn *db, const firn_txn_options *options, firn_txn **out,
                          firn_error *error);
FIRN_API void firn_txn_free(firn_txn *txn);  /* with its writes and its view. NULL is allowed */
FIRN_API void firn_txn_reset(firn_txn *txn); /* empty again, and sees what is newest. Likewise */
/* Adds operations, all or none; those that name no bucket are in `bucket`. Conditions look at what
 * the transaction sees in front of all of them: one that does not hold is FIRN_CONFLICT, and tells
 * which operation. Everything is copied. FIRN_INVALID, FIRN_DROPPED, FIRN_TOO_LARGE as of
 * firn_batch_add; FIRN_NO_MEMORY; what reading may return. Behind an add that failed the commit is
 * FIRN_INVALID, until firn_txn_rollback to a savepoint that was made before it, or a reset: so an
 * error that was overlooked does not commit a half. */
FIRN_API int firn_txn_add(firn_txn *txn, firn *bucket, const firn_op *ops, size_t count,
                          firn_error *error);
/* A savepoint: *point names it. Costs little, whatever was written. FIRN_NO_MEMORY. */
FIRN_API int firn_txn_save(firn_txn *txn, uint64_t *point, firn_error *error);
/* What was written behind the savepoint is gone, and so are later savepoints; it stays itself. What
 * was read, and conditions, still count. FIRN_INVALID: there is no such savepoint. FIRN_NO_MEMORY:
 * nothing was rolled back. */
FIRN_API int firn_txn_rollback(firn_txn *txn, uint64_t point, firn_error *error);
/* Writes what was added, as one batch. *seq (may be NULL): as of firn_write; with nothing written,
 * the number that it sees. FIRN_OK and FIRN_CONFLICT (nothing was written): the transaction is
 * reset (firn_txn_reset), and goes on as a new one. Everything else as of firn_write, and as of
 * firn_get of what has to be looked at: it stays as it is, and may be committed again, unless the
 * store is poisoned. */
FIRN_API int firn_txn_commit(firn_txn *txn, uint64_t *seq, firn_error *error);
/* Iterators of a transaction see what is added later when they move. Where one ends (a commit that
 * was FIRN_OK or FIRN_CONFLICT, a reset, a rollback, firn_txn_free), they stand on no element, what
 * they gave is gone, and their movements are FIRN_INVALID; they are still to be freed. */

/* ---- Cancel ----
 * A flag of the caller's, 0 at first, which ends calls that were given it with FIRN_CANCELLED:
 * those that run, soon, and those that begin while it is set. Movements and refreshes of an
 * iterator end before the next block, table or leaf of a memtable that they come to; firn_get_many
 * before the next group of keys (32 at most). The flag stays where it is until they have returned,
 * and the iterators that were given it are freed. Set to 0 again by the caller, between calls, it
 * lets them go on. */
typedef struct firn_cancel {
    uint32_t fired;
} firn_cancel;
FIRN_API void firn_cancel_fire(firn_cancel *cancel); /* any thread, and a signal handler */

/* ---- Read ---- */

/* A found value, in place: nothing was copied, unless it is one that a transaction has written and
 * reads itself. `data` stays valid until firn_value_release. Holding one keeps memory and files
 * from being given back, so release soon. */
typedef struct firn_value {
    const uint8_t *data;
    size_t size;
    void *pin[3]; /* private */
} firn_value;

typedef struct firn_read_options {
    size_t size;
    const firn_snapshot *snapshot; /* NULL: the newest */
    const firn_cancel *cancel;     /* NULL: the call cannot be cancelled */
    firn_txn *txn; /* instead of a snapshot: what the transaction sees, with what it has written.
                      Default NULL */
} firn_read_options;
FIRN_API void firn_read_options_init(firn_read_options *options);
FIRN_API void firn_read_options_init_sized(firn_read_options *options, size_t size);
#define firn_read_options_init(options)                                                            \
    firn_read_options_init_sized((options), sizeof(firn_read_options))

/* `options` NULL: defaults. FIRN_OK or FIRN_NOT_FOUND; FIRN_DAMAGED, FIRN_IO, FIRN_DROPPED,
 * FIRN_CANCELLED (the flag is looked at once, in the beginning), FIRN_INVALID; FIRN_NO_MEMORY.
 * *value is empty unless FIRN_OK. */
FIRN_API int firn_get(firn *db, const void *key, size_t key_size, const firn_read_options *options,
                      firn_value *value, firn_error *error);
FIRN_API void firn_value_release(firn_value *value); /* once; any thread; empties it */

/* Copies the value into the caller's buffer: at most `capacity` bytes, *value_size is the whole
 * size. FIRN_TOO_LARGE when it did not fit (what fits was copied). */
FIRN_API int firn_get_into(firn *db, const void *key, size_t key_size,
                           const firn_read_options *options, void *buffer, size_t capacity,
                           size_t *value_size, firn_error *error);

/* The values of `count` keys, in any order, also of one key twice, as they are at one moment.
 * statuses[i] is what firn_get would return for keys[i]; values[i] is empty unless that is FIRN_OK,
 * and released on its own. Faster than so many calls of firn_get. FIRN_OK: no status is an error.
 * FIRN_CANCELLED: some keys were not looked for, which have that status. FIRN_INVALID (a pointer,
 * the options), and in a transaction FIRN_NO_MEMORY: all have it. Else the status of the first key
 * that has an error, with its detail; the others have been looked for all the same. */
FIRN_API int firn_get_many(firn *db, const firn_slice *keys, size_t count,
                           const firn_read_options *options, firn_value *values, int *statuses,
                           firn_error *error);

/* A snapshot keeps the store as it is now readable. Cheap; release it when done, so that old
 * versions can go. */
FIRN_API int firn_snapshot_new(firn *db, firn_snapshot **out, firn_error *error);
FIRN_API void firn_snapshot_free(firn_snapshot *snapshot); /* NULL is allowed */
FIRN_API uint64_t firn_snapshot_seq(const firn_snapshot *snapshot);

/* ---- Iterate ---- */
typedef struct firn_iter_options {
    size_t size;
    const firn_snapshot *snapshot; /* NULL: the store as it is when the iterator is made */
    const void *lower;
    size_t lower_size; /* first key; NULL: no bound. Copied */
    const void *upper;
    size_t upper_size;         /* first key beyond the end; NULL: no bound. Copied */
    bool bypass_cache;         /* a long scan that should leave the block cache alone */
    const firn_cancel *cancel; /* default NULL: movements cannot be cancelled */
    firn_txn *txn;             /* instead of a snapshot: what the transaction sees, with what it has
                                  written, also behind the making. Default NULL */
} firn_iter_options;
FIRN_API void firn_iter_options_init(firn_iter_options *options);
FIRN_API void firn_iter_options_init_sized(firn_iter_options *options, size_t size);
#define firn_iter_options_init(options)                                                            \
    firn_iter_options_init_sized((options), sizeof(firn_iter_options))

/* Not positioned at first. `options` NULL: everything, newest.
 *
 * Deleted keys stay as tombstones until compaction drops them, and a walk steps over them. Where
 * more than a hundred follow each other that differ in their first 80 bytes, the store remembers
 * that once a walk has passed them, and later walks go from one end to the other. So a queue (put
 * behind the last key, take the first one and delete it) may look for its first key with
 * firn_iter_first: that takes some hundred steps as a rule, however much was taken. */
FIRN_API int firn_iter_new(firn *db, const firn_iter_options *options, firn_iter **out,
                           firn_error *error);
FIRN_API void firn_iter_free(firn_iter *it); /* NULL is allowed */

/* Positioning and movement return FIRN_OK (on an element), FIRN_END, or an error, after which the
 * iterator is on no element and may be positioned again. next and prev on an iterator that is not
 * on an element are FIRN_INVALID, or, behind an error, that error once more. */
FIRN_API int firn_iter_first(firn_iter *it);
FIRN_API int firn_iter_last(firn_iter *it);
/* To the first key >= this one, and to the last key <= this one. */
FIRN_API int firn_iter_seek(firn_iter *it, const void *key, size_t key_size);
FIRN_API int firn_iter_seek_for_prev(firn_iter *it, const void *key, size_t key_size);
FIRN_API int firn_iter_next(firn_iter *it);
FIRN_API int firn_iter_prev(firn_iter *it);
/* From now on the iterator sees what is newest, and holds nothing of what it saw before. It stands
 * at the same key, or where that is gone at the next one: FIRN_OK, FIRN_END or an error, as of a
 * movement. (A walk backwards keeps its key, and goes on with firn_iter_seek_for_prev.) One that
 * stood on no element stands on none: FIRN_OK. FIRN_INVALID of one that was made with a snapshot or
 * a transaction, FIRN_DROPPED when its bucket is gone, and FIRN_NO_MEMORY while firn_iter_valid
 * says so or it stood on none: it is as it was, and firn_iter_status too. */
FIRN_API int firn_iter_refresh(firn_iter *it);
/* Many elements in one call: the current one first, unless the last of these calls has given it,
 * then those behind it (in front of it), until there are `count`, or `bytes` bytes of keys and
 * values together. *got of them are in `keys` and `values` (NULL: keys alone), in the order of the
 * movement; they stay until the next one. The iterator stands on the last of them, or, where the
 * elements or an error ended it, on none. FIRN_OK: at least one; fewer than asked for also where
 * there is no memory to keep more. FIRN_END, or an error: none, and the iterator is on no element.
 * FIRN_INVALID: nothing was moved. */
FIRN_API int firn_iter_next_many(firn_iter *it, firn_slice *keys, firn_slice *values, size_t count,
                                 size_t bytes, size_t *got);
FIRN_API int firn_iter_prev_many(firn_iter *it, firn_slice *keys, firn_slice *values, size_t count,
                                 size_t bytes, size_t *got);
FIRN_API bool firn_iter_valid(const firn_iter *it);
/* Of the current element; valid until the next movement. Empty when there is none. */
FIRN_API firn_slice firn_iter_key(const firn_iter *it);
FIRN_API firn_slice firn_iter_value(const firn_iter *it);
/* FIRN_OK at an element, at an end, or when never positioned; else what the last movement returned,
 * with the detail. */
FIRN_API int firn_iter_status(const firn_iter *it, firn_error *error);

/* ---- Ranges ---- */

/* About how many bytes the range takes in tables and log, and how many entries there are: of
 * compacted data (firn_compact) within a tenth; else versions that newer ones hide count, too.
 * Reads indexes of tables. A range of few entries is walked: then they are counted exactly, and the
 * bytes are those of keys and values. `range` NULL: all. `bytes` and `entries` may be NULL. */
FIRN_API int firn_estimate(firn *db, const firn_range *range, uint64_t *bytes, uint64_t *entries,
                           firn_error *error);
/* How many keys of the range a reader sees. No count is kept, since of a put it is not known
 * whether its key is there already: the range is walked, some ten million keys a second in memory.
 * `range` NULL: all. *count is left alone unless FIRN_OK. FIRN_CANCELLED, and what a walk may
 * return. */
FIRN_API int firn_count(firn *db, const firn_range *range, const firn_read_options *options,
                        uint64_t *count, firn_error *error);

/* ---- Care ---- */

/* Writes what is in memory to a table and waits for it; then the log that held it is given up. */
FIRN_API int firn_flush(firn *db, firn_error *error);
/* Flushes, then merges everything between the two keys (NULL: no bound) down to the last level that
 * holds any of it, and waits. What already lies in that level alone stays as it is, unless it holds
 * what no reader and no snapshot can see, is of an earlier version of firn, or fits into one table
 * with its neighbours.
 *
 * Goes on step by step; a step writes new tables beside those that it then replaces, usually no
 * more than 24 times table_bytes or 16 times segment_bytes (firn_options), whichever is more. It is
 * tried whether or not there is room for it, since it may free more than it takes: so near a full
 * disk, it may fill the disk. Then the step's new tables are removed again, and FIRN_NO_SPACE is
 * returned. Nothing is lost, and earlier steps stand; until the tables are removed, writes may be
 * FIRN_NO_SPACE, too. To get further: make room; release iterators and values, which keep replaced
 * tables on the disk; or compact smaller ranges of keys, one after the other. */
FIRN_API int firn_compact(firn *db, const void *from, size_t from_size, const void *to,
                          size_t to_size, firn_error *error);
/* Waits until no background work is due. What keeps that from ending is returned: an attempt that
 * began behind the call has found it. */
FIRN_API int firn_settle(firn *db, firn_error *error);

#define FIRN_LEVELS 7

typedef struct firn_stats {
    size_t size; /* set by firn_get_stats; see "Options" */
    uint64_t last_seq, durable_seq, flushed_seq;
    uint64_t memtable_entries, memtable_bytes; /* all memtables; log bytes they keep and index */
    uint32_t memtables;
    uint64_t log_segments, log_bytes;
    uint64_t log_first_segment, log_last_segment;
    uint64_t level_tables[FIRN_LEVELS], level_bytes[FIRN_LEVELS], level_entries[FIRN_LEVELS],
        level_deletes[FIRN_LEVELS];
    uint64_t cache_bytes, cache_capacity, cache_hits, cache_misses;
    uint64_t bytes_put; /* keys and values given to put and write in this life */
    uint64_t bytes_logged, bytes_flushed, bytes_compacted; /* written in this life */
    uint64_t flushes, compactions, syncs;
    uint64_t stall_us; /* writers held back, in all: the first four causes of `waits` */
    uint64_t snapshots; /* that callers hold, by themselves and in transactions */
    uint64_t recovered_entries;  /* replayed from the log when opening */
    uint64_t recovery_cut_bytes; /* of a torn tail, moved to lost/; or that would be, in a handle
                                    that only reads */
    char store_id[33];
    bool poisoned, read_only, log_mapped;
    uint64_t log_used_bytes; /* of log_bytes, which are the files': up to the end of each one's
                                 last frame */
    uint64_t newest_seq;     /* the newest write; last_seq may be a checkpoint's. Once open, of
                                 this life; when opening, the greatest that tables and log still
                                 hold: 0 for none */
    uint64_t lost_files, lost_bytes; /* in lost/, see firn_lost */
    uint64_t total_bytes;  /* the room that log, tables, manifest, reserve and lost/ take on the
                                 disk. Tables that compaction has replaced count until they are
                                 removed: when the last iterator or value is released that may
                                 read them. So there may be, beside the sum of level_bytes: for each
                                 iterator the tables that there were when it was made, which others
                                 may share; for each value one table; and until they end, what
                                 running compactions have finished: as much as they read, of which
                                 firn_compact tells. A table counts when it is finished, not while
                                 it is written. A snapshot holds no table: what it sees is in
                                 level_bytes. Not in it: what segment_bytes (firn_options) tells of
                                 the log that iterators and values hold */
    uint64_t memory_bytes; /* what the store holds of firn_options.memory, all kinds together */
    firn_waited waits[FIRN_WAITS_MAX]; /* in this life, by firn_wait; causes that this version does
                                          not know are 0. Calls only: what the store's own threads
                                          wait for counts when a call waits for them */
    firn_wait waiting_for; /* why that call waits now which has waited longest; FIRN_WAIT_NONE:
                                 none waits. A wait in the log shows when it is a second old */
    uint32_t waiting;      /* how many calls wait now */
    uint64_t waiting_us;   /* how long that one has waited */
    firn_error flush_error, compaction_error; /* why this work has failed: it is tried again, or,
                                                 with `poisoned`, has stopped until the store is
                                                 opened again. Status 0: it goes on */
    /* Of all buckets together, what firn_bucket_stats tells of one. */
    uint64_t memtable_deletes, iterators;
    uint64_t level_range_deletes[FIRN_LEVELS];
    uint64_t level_read[FIRN_LEVELS], level_written[FIRN_LEVELS], level_jobs[FIRN_LEVELS];
    uint64_t bucket_count;    /* that are there; bucket 0 is one */
    uint64_t values;          /* that callers hold */
    uint64_t oldest_snapshot; /* its number; 0: there is none */
    /* The parts of memory_bytes: the log that memtables point at, and their index; unpacked blocks;
     * filters and indexes of tables; open tables without those; what scans, flushes and merges work
     * with. And what firn_options.memory comes to in this process. */
    uint64_t memory_log, memory_index, memory_blocks, memory_filters, memory_indexes, memory_tables,
        memory_work, memory_limit;
    /* Filters and indexes that were read from their tables, in this life; other uses have found
     * one in memory. (cache_hits and cache_misses are of blocks.) */
    uint64_t filter_loads, index_loads;
    /* In this life, by the level of the table that a get has asked for a key: how often it was
     * looked into, since its filter had let the key pass, and did not have it (at this snapshot);
     * and, with firn_options.latencies, else 0, how often its filter spared that. */
    uint64_t level_filter_wrong[FIRN_LEVELS], level_filter_denied[FIRN_LEVELS];
} firn_stats;

FIRN_API int firn_get_stats(firn *db, firn_stats *out, firn_error *error);
FIRN_API int firn_get_stats_sized(firn *db, firn_stats *out, size_t size, firn_error *error);
#define firn_get_stats(db, out, error)                                                             \
    firn_get_stats_sized((db), (out), sizeof(firn_stats), (error))

/* Of one bucket. What flushes and merges have written, over what flushes have, is how often the
 * bytes of this life were written: the write amplification without the log. */
typedef struct firn_bucket_stats {
    size_t size;                                 /* set by firn_get_bucket_stats; see "Options" */
    uint64_t memtable_entries, memtable_deletes; /* in all memtables; deletes are entries, too */
    uint64_t iterators;                          /* that callers hold */
    uint64_t level_tables[FIRN_LEVELS], level_bytes[FIRN_LEVELS];
    /* Versions; those of them that are deletes; and those of these that are range deletes. */
    uint64_t level_entries[FIRN_LEVELS], level_deletes[FIRN_LEVELS],
        level_range_deletes[FIRN_LEVELS];
    /* In this life: bytes of tables that merges into the level have read and written, level 0: that
     * flushes have written; and how many merges or flushes that were. A table that goes down as it
     * is counts for nothing. */
    uint64_t level_read[FIRN_LEVELS], level_written[FIRN_LEVELS], level_jobs[FIRN_LEVELS];
} firn_bucket_stats;
FIRN_API int firn_get_bucket_stats(firn *bucket, firn_bucket_stats *out, firn_error *error);
FIRN_API int firn_get_bucket_stats_sized(firn *bucket, firn_bucket_stats *out, size_t size,
                                         firn_error *error);
#define firn_get_bucket_stats(bucket, out, error)                                                  \
    firn_get_bucket_stats_sized((bucket), (out), sizeof(firn_bucket_stats), (error))

/* How long something took, in nanoseconds, since the store was opened with the option latencies;
 * also where it has failed, but not where its arguments were refused. */
typedef enum firn_latency_kind {
    FIRN_LATENCY_GET = 0,    /* firn_get, firn_get_into */
    FIRN_LATENCY_GET_MANY,   /* firn_get_many, a call */
    FIRN_LATENCY_SEEK,       /* firn_iter_first, _last, _seek, _seek_for_prev, _refresh */
    FIRN_LATENCY_WRITE,      /* every call that writes operations, all of it */
    FIRN_LATENCY_SYNC,       /* a wait until the log is durable: the last part of a write with
                                FIRN_DURABILITY_SYNC; firn_sync, firn_wait_durable */
    FIRN_LATENCY_FLUSH,      /* of a memtable, wherever it is done */
    FIRN_LATENCY_COMPACTION, /* one, also one that only moves or drops tables */
} firn_latency_kind;
/* "get", "get_many", ...; "unknown" for none of them. Static storage. Any thread. */
FIRN_API const char *firn_latency_name(firn_latency_kind which);
typedef struct firn_latency {
    size_t size;            /* set by firn_get_latency; see "Options" */
    uint64_t count, sum_ns; /* how many there were, and of all of them; with 0, all is 0 */
    /* What 50, 90, 99 and 99.9 percent of them did not exceed: the true value, or up to a sixteenth
     * more. And the longest. */
    uint64_t p50_ns, p90_ns, p99_ns, p999_ns, max_ns;
} firn_latency;
/* FIRN_INVALID: without the option latencies, too. */
FIRN_API int firn_get_latency(firn *db, firn_latency_kind which, firn_latency *out,
                              firn_error *error);
FIRN_API int firn_get_latency_sized(firn *db, firn_latency_kind which, firn_latency *out,
                                    size_t size, firn_error *error);
#define firn_get_latency(db, which, out, error)                                                    \
    firn_get_latency_sized((db), (which), (out), sizeof(firn_latency), (error))

/* All figures as text, for logs and people, or as one object of JSON: firn_stats, firn_bucket_stats
 * of each bucket that has any that is not 0, and with the option latencies firn_latency, under the
 * names of their fields; engine/FIGURES.md has the rest. Writes at most `capacity`
 * bytes, a final 0 among them. *needed (may be NULL) is how many the whole has, without it.
 * FIRN_TOO_LARGE: that did not fit, and the text is cut. `buffer` may be NULL with a capacity of 0.
 * Figures grow between two calls, so ask with some room to spare. Also FIRN_INVALID,
 * FIRN_NO_MEMORY, and FIRN_IO, as of firn_get_stats. */
FIRN_API int firn_stats_text(firn *db, bool json, char *buffer, size_t capacity, size_t *needed,
                             firn_error *error);

/* Reads every byte of a store and checks it: manifest, log, every table, the order of levels,
 * missing and unknown files. Changes nothing; beside a writer, it checks the store as it was at one
 * moment. Each finding and remark is passed to `line` (may be NULL). FIRN_DAMAGED when there is
 * damage, with the first one in *error. What the system refused (a device that failed, no memory or
 * descriptors left) is no damage but could not be checked: a line says so, the rest is checked, and
 * without damage the status is that of the first such failure.
 *
 * One thing cannot be told from the bytes: whether what is not intact at the end of a log that was
 * not closed is a write that the power cut off, which no caller was promised, or one that had been
 * acknowledged and that a bad sector has taken. Then the result is FIRN_OK, `doubts` says at how
 * many places, and `doubt_first` and `doubt_last` which sequence numbers may be concerned (0:
 * unknown). The next open cuts these bytes off. A store is as it should be when the result is
 * FIRN_OK and `doubts` is 0. `summary` may be NULL. */
typedef struct firn_check_summary {
    uint64_t tables, table_bytes, table_entries, log_segments, log_operations, log_torn_bytes;
    uint64_t findings; /* damage: more than 0 with FIRN_DAMAGED, or what else was returned */
    uint64_t doubts, doubt_first, doubt_last;
    uint64_t lost_files, lost_bytes; /* in lost/, see firn_lost; these are no findings */
} firn_check_summary;
FIRN_API int firn_check(const char *path, void (*line)(void *ctx, const char *text), void *ctx,
                        firn_check_summary *summary, firn_error *error);

/* ---- Repair: for when there is no backup ---- */
typedef enum firn_repair_kind {
    FIRN_REPAIR_NOTE = 1,        /* what was found, or done about it */
    FIRN_REPAIR_LOST_KEYS,       /* versions are gone of keys from `after` to `before`, themselves
                              included: such a key may be missing, have an older value again, or be
                              there again though it had been deleted */
    FIRN_REPAIR_LOST_OPERATIONS, /* operations seq_first to seq_last are gone; 0, 0: unknown */
} firn_repair_kind;

typedef struct firn_repair_event { /* everything is valid during the call */
    firn_repair_kind kind;
    const char *text;         /* a sentence, without the keys and numbers below */
    const char *file;         /* its name in the folder, or "" */
    uint64_t offset, bytes;   /* the damaged range of the file; 0, 0: all of it, or unknown */
    firn_slice after, before; /* data NULL: no bound */
    uint64_t seq_first, seq_last;
    const char *bucket; /* of these keys; "": bucket 0, or it is not known */
} firn_repair_event;

typedef struct firn_repair_summary {
    uint64_t losses;                          /* events of the two kinds of loss */
    uint64_t tables, entries;                 /* of the repaired store */
    uint64_t tables_rewritten, tables_lost;   /* damaged; missing, or nothing could be saved */
    uint64_t log_operations, operations_lost; /* in the log */
    uint64_t doubts;                          /* as in firn_check_summary; told in a note */
    bool manifest_rebuilt;                    /* it was lost: all tables were merged anew */
} firn_repair_summary;

/* Makes a store in the folder `path` that opens and passes firn_check, out of what is intact there.
 * Nothing intact is given up, nothing is invented; each loss is passed to `tell` (may be NULL).
 * Damaged files go to the folder lost/ in the store, which firn never reads. A store without damage
 * stays as it is. `options` as for firn_open (NULL: defaults) say how new tables are written. May
 * be interrupted at any moment, and be called again. Takes time in proportion to the data in the
 * folder, whatever they are: holes in files cost nothing, and what would take more to find in a
 * damaged table is told to be lost. Needs memory for the largest entry and for the index of a
 * table, and room on the disk for the tables that are written anew: of all, when the manifest is
 * lost. Buckets keep their keys then, but not their names: they are called bucket-1 and so on, and
 * a note tells each. FIRN_OK: the store is usable, see the summary. FIRN_NOT_FOUND, FIRN_LOCKED,
 * FIRN_UNSUPPORTED (a newer firn's; not touched), FIRN_NO_SPACE, FIRN_NO_MEMORY, FIRN_IO. */
FIRN_API int firn_repair(const char *path, const firn_options *options,
                         void (*tell)(void *ctx, const firn_repair_event *event), void *ctx,
                         firn_repair_summary *summary, firn_error *error);

/* ---- What recovery and repair set aside ----
 * Bytes that recovery cut off and files that repair replaced go to the folder lost/ in the store.
 * Opening never reads it, and nothing but these two calls removes anything from it. */
typedef struct firn_lost_file { /* everything is valid during the call */
    const char *name;           /* in lost/ */
    const char *from;           /* the store's file that it came from; "": it is not from firn */
    uint64_t offset; /* where in that file its first byte lay; FIRN_NO_OFFSET: it is the whole
                          file, or not from firn */
    uint64_t bytes;
    uint64_t time_ms; /* when it was put there, milliseconds since 1970 */
    bool ours;        /* firn put it there, as its name tells */
    bool removed;
} firn_lost_file;

typedef struct firn_lost_summary {
    uint64_t files, bytes;                 /* that firn put there */
    uint64_t removed_files, removed_bytes; /* of those */
    uint64_t others;                       /* with other names, and folders: they are never
                                              touched */
} firn_lost_summary;

/* Passes each file in lost/ to `tell` (may be NULL). With `remove`, removes those that firn put
 * there, under the store's lock; links are not followed. `summary` may be NULL. FIRN_NOT_FOUND (no
 * store in the folder), FIRN_LOCKED (only with `remove`), FIRN_INVALID (lost is no folder),
 * FIRN_NO_MEMORY, FIRN_IO. */
FIRN_API int firn_lost(const char *path, bool remove,
                       void (*tell)(void *ctx, const firn_lost_file *file), void *ctx,
                       firn_lost_summary *summary, firn_error *error);

/* Removes the store in the folder `path`, damaged or not, for good: every file whose name firn
 * gives, those in lost/ too, and the folder itself when nothing else is in it. A crash or a failure
 * in the middle leaves something that does not open and can be destroyed again, or, at its very
 * end, nothing of the store but the file LOCK or RESERVE. FIRN_NOT_FOUND (nothing there begins as
 * firn's files do; nothing was touched), FIRN_LOCKED (a writer has it open), FIRN_NO_MEMORY,
 * FIRN_IO. */
FIRN_API int firn_destroy(const char *path, firn_error *error);

/* "0.1.0" */
FIRN_API const char *firn_version(void);

#ifdef __cplusplus
}
#endif
#endif
