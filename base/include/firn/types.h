/* <firn/types.h>: what the store (<firn/firn.h>) and the log (<firn/wal.h>) share.
 *
 * Statuses, slices, the error detail, durability, and the batch. Everything here is plain C11,
 * usable from C++, and starts with firn_ or FIRN_.
 */
#ifndef FIRN_TYPES_H
#define FIRN_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FIRN_API __attribute__((visibility("default")))

/* ---- Limits. Each is checked before a sequence number is used. ---- */

#define FIRN_MAX_KEY_BYTES   UINT32_C(65535)           /* 64 KiB - 1 */
#define FIRN_MAX_VALUE_BYTES (UINT32_C(256) << 20)     /* 256 MiB */
#define FIRN_MAX_BATCH_BYTES (UINT32_C(1) << 30)       /* 1 GiB, encoded */
#define FIRN_MAX_SEQ         ((UINT64_C(1) << 56) - 1) /* sequence numbers run from 1 */
#define FIRN_MAX_BUCKET_NAME 63                        /* bytes; with its NUL, 64 */
#define FIRN_MAX_BUCKETS     32767                     /* that a store makes, dropped ones too */

/* ---- Statuses ----
 * Every call that can fail returns one of these as an int; 0 is success. END, and NOT_FOUND of a
 * get, are answers and not failures: no firn_error is filled in for them. No write returns
 * NOT_FOUND. */
typedef enum firn_status {
    FIRN_OK = 0,
    FIRN_NOT_FOUND, /* the key, bucket, file or folder is not there */
    FIRN_END,       /* an iteration has no further element */
    /* a wrong argument or option, or a call in a wrong state; nothing was changed */
    FIRN_INVALID,
    /* what was given is over its limit, or a buffer too small; nothing was changed */
    FIRN_TOO_LARGE,
    FIRN_IO, /* the system failed a call; firn_error.sys_errno says how */
    /* disk full, or a quota or limit of file sizes reached; nothing was acknowledged; try again
     * later */
    FIRN_NO_SPACE,
    FIRN_NO_MEMORY, /* an allocation failed, or descriptors ran out; nothing was acknowledged */
    FIRN_DAMAGED,   /* bytes on disk are not what was written; firn_error names file and offset */
    FIRN_LOCKED,    /* another opener holds the folder */
    FIRN_READ_ONLY, /* the handle was opened for reading only */
    /* an earlier write or sync failed: its outcome is unknown, writing has stopped; reading goes
     * on; close and open again */
    FIRN_POISONED,
    FIRN_UNSUPPORTED, /* the file needs a feature this version does not have */
    FIRN_TIMED_OUT,   /* a wait reached its limit */
    FIRN_CANCELLED,   /* the call's cancel flag is set; see firn_cancel in <firn/firn.h> */
    FIRN_CONFLICT,    /* a condition of firn_apply does not hold; nothing was changed */
    FIRN_DROPPED,     /* a bucket that the call needs has been dropped; nothing was changed */
} firn_status;

/* The name of a status, such as "FIRN_DAMAGED". Never NULL; static storage. */
FIRN_API const char *firn_status_name(int status);

/* ---- Error detail ----
 * The optional last argument of calls that can fail. Caller-owned, fixed size, never allocates. All
 * of it is filled in, once, where the error is noticed; untouched on success and by answers. */
#define FIRN_NO_OFFSET UINT64_MAX

typedef struct firn_error {
    int status;        /* the firn_status that the call returned */
    int sys_errno;     /* errno of the failed system call, or 0 */
    uint64_t offset;   /* byte offset in `file`, or FIRN_NO_OFFSET; with "", in what was given */
    char file[192];    /* path of the file concerned, or "" */
    char message[256]; /* what happened, one sentence without a full stop */
    char hint[256];    /* what the user can do, or "" */
} firn_error;

/* Writes "message: file at offset N: strerror (hint)" into buf, always NUL-terminated when size >
 * 0, and returns the length it would need, as snprintf does. `buf` NULL: as size 0. `error` NULL:
 * "", 0. */
FIRN_API size_t firn_error_format(const firn_error *error, char *buf, size_t size);

/* ---- Slices: borrowed bytes. The function that returns one says until when it is valid. ---- */
typedef struct firn_slice {
    const uint8_t *data; /* may be NULL when size is 0 */
    size_t size;
} firn_slice;

/* ---- Durability ----
 * What a write has survived when the call returns. Every class survives the death of the
 * process. */
typedef enum firn_durability {
    FIRN_DURABILITY_DEFAULT = 0, /* what the store or log was opened with */
    /* survives power loss: waits for fdatasync, shared with other waiters */
    FIRN_DURABILITY_SYNC,
    /* synced in the background every n writes, bytes or milliseconds */
    FIRN_DURABILITY_BATCH,
    FIRN_DURABILITY_NONE, /* synced when a caller asks, and on close */
} firn_durability;

/* What to do with a damaged log when opening. A torn tail is what a crash leaves behind: bytes that
 * were never acknowledged as durable. Proven loss is damage to bytes that the log is known to have
 * synced. Bytes that are cut go to the folder lost/ first; on a full disk long ones stay where they
 * are. */
typedef enum firn_recovery {
    FIRN_RECOVERY_TAIL = 0, /* default: cut a torn tail; refuse proven loss */
    FIRN_RECOVERY_STRICT,   /* refuse either */
    FIRN_RECOVERY_PREFIX,   /* keep everything before the first damage, move the rest aside */
    FIRN_RECOVERY_SALVAGE,  /* keep every intact frame, report every lost range */
    FIRN_RECOVERY_INSPECT,  /* report only; nothing is written */
} firn_recovery;

/* Where warnings go. Without one, the library prints nothing. Called from any thread, also in the
 * middle of a call: it must not call the store or log that it hears of, nor wait for a thread that
 * does. It should return at once: while it is told what a write waits for, other writers may wait
 * behind that one. */
typedef enum firn_log_level { FIRN_LOG_INFO = 0, FIRN_LOG_WARNING, FIRN_LOG_ERROR } firn_log_level;
typedef void (*firn_log_fn)(void *ctx, firn_log_level level, const char *line);

/* ---- Waits ----
 * What a call may have to wait for. Later versions may add causes. */
typedef enum firn_wait {
    FIRN_WAIT_NONE = 0,
    /* a write was delayed, by milliseconds, so that compaction or a flush keeps up */
    FIRN_WAIT_SLOWED_LEVEL0,
    FIRN_WAIT_SLOWED_FLUSH,
    FIRN_WAIT_LEVEL0, /* a write waited until compaction had made room in level 0 */
    FIRN_WAIT_FLUSH,  /* a write waited until a memtable had been flushed: for memory */
    /* a write or sync waited for more than a second in the log's queue, for its sync, or for the
     * disk to take what it wrote; shorter ones are the ordinary way of a write, and not counted */
    FIRN_WAIT_LOG,
    /* firn_flush, firn_settle, firn_compact, firn_close, or a call that makes, changes or drops a
     * bucket, waited for a flush, compactions, an edit of the manifest, or the removal of what was
     * replaced */
    FIRN_WAIT_BACKGROUND,
    /* a call that compacts, or drops a bucket, waited for compactions in its way, or for parts of
     * its own that the store's threads do */
    FIRN_WAIT_COMPACTION,
    FIRN_WAIT_READERS, /* before something is freed: for reads that had begun before */
    /* a read waited for another thread that was reading the same block, or opening the table */
    FIRN_WAIT_BLOCK,
    FIRN_WAIT_DESCRIPTOR, /* for a file descriptor, as all that the store may have were in use */
} firn_wait;
#define FIRN_WAITS_MAX 16 /* room for the causes of later versions */

/* A short name of a cause, such as "level0"; "unknown" for none of them. Static storage. Any
 * thread. */
FIRN_API const char *firn_wait_name(firn_wait cause);

/* Waits that are over: how many, and how long they lasted, in microseconds of all waiting threads
 * together. */
typedef struct firn_waited {
    uint64_t count, us;
} firn_waited;

/* ---- Operations ---- */
typedef enum firn_kind {
    FIRN_PUT = 1,
    FIRN_DELETE = 2,
    FIRN_DELETE_RANGE = 3, /* its key is the first one of the range, its value where that ends */
    /* 4 to 7 are given in the formats to: merge, put with expiry, value handle, timestamped put.
     * Nothing writes them yet; a reader refuses them with FIRN_UNSUPPORTED. */
} firn_kind;

/* ---- Batch: operations that happen together or not at all. ----
 * Encoded once, in the form the log stores. Not thread-safe. Reusable after firn_batch_clear. NULL
 * for a batch is FIRN_INVALID, and to calls that return no status an empty one. */
typedef struct firn_batch firn_batch;

FIRN_API int firn_batch_new(firn_batch **out);    /* FIRN_NO_MEMORY, and *out is NULL */
FIRN_API void firn_batch_free(firn_batch *batch); /* NULL is allowed */

/* Both copy what they are given. A failed call leaves the batch as it was.
 * FIRN_TOO_LARGE (key, value or batch over its limit), FIRN_NO_MEMORY, FIRN_INVALID (NULL with a
 * size). */
FIRN_API int firn_batch_put(firn_batch *batch, const void *key, size_t key_size, const void *value,
                            size_t value_size);
FIRN_API int firn_batch_delete(firn_batch *batch, const void *key, size_t key_size);

FIRN_API void firn_batch_clear(firn_batch *batch);
FIRN_API uint32_t firn_batch_count(const firn_batch *batch); /* operations */
FIRN_API size_t firn_batch_bytes(const firn_batch *batch);   /* encoded size */

#ifdef __cplusplus
}
#endif
#endif
