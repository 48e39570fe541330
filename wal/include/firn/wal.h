/* <firn/wal.h>: firn's write-ahead log on its own, for programs that only want a log.
 *
 * A log is a folder of segment files. It takes batches of operations, gives each operation a number
 * (from 1, dense, never reused), makes them durable in order, and gives them back: all of them, or
 * those after a number. A batch is atomic: it is wholly there after a crash or not at all.
 *
 *     firn_wal *log;
 *     firn_wal_open("folder", NULL, NULL, &log, &error);
 *     // durable when it returns:
 *     firn_wal_append(log, FIRN_PUT, "k", 1, "v", 1, NULL, &seq, &error);
 *     firn_wal_replay(log, 0, on_operation, ctx, NULL, &error);
 *     firn_wal_close(log, NULL);
 *
 * Thread-safety: every function that takes a firn_wal may be called from any thread at any time,
 * except firn_wal_close, which must be the last call.
 * After fork, the child must not use the handle: calls return FIRN_INVALID.
 *
 * `error` may be NULL everywhere. Any other pointer that is NULL, where that is not said to be
 * allowed, makes a call return FIRN_INVALID; one that returns no status does nothing then, or
 * returns 0. A key or value of no bytes may be NULL. `*out` is NULL after a failure. A handle that
 * firn_wal_close has taken must not be passed to any call again.
 */
#ifndef FIRN_WAL_H
#define FIRN_WAL_H

#include <firn/types.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct firn_wal firn_wal;

typedef enum firn_wal_backing {
    FIRN_WAL_AUTO = 0, /* mapped where the file system makes that sound, else buffered */
    FIRN_WAL_MAPPED,
    FIRN_WAL_BUFFERED, /* a private buffer, written with pwrite before each acknowledgement */
} firn_wal_backing;

typedef struct firn_wal_options {
    /* set by firn_wal_options_init. Later versions add fields at the end: a shorter struct is
     * taken, with defaults for what it lacks; a longer one is FIRN_INVALID */
    size_t size;
    firn_durability durability; /* default SYNC */
    /* BATCH: sync after so many appends (default 1000, at least 1) ... */
    uint32_t batch_writes;
    uint64_t batch_bytes;     /* ... or so many bytes (default 1 MiB) ... */
    uint32_t batch_ms;        /* ... or so many milliseconds, also when idle (default 50) */
    uint64_t segment_bytes;   /* default 64 MiB; 8 KiB to 4 GiB - 4 KiB; rounded up to 4 KiB. Each
                                 segment takes a file descriptor until it is truncated */
    uint64_t max_batch_bytes; /* default and limit FIRN_MAX_BATCH_BYTES */
    firn_recovery recovery;   /* default TAIL */
    bool create_if_missing;   /* default true: makes the folder and its parents */
    bool read_only;           /* default false; writes nothing, takes no lock */
    firn_wal_backing backing; /* default AUTO */
    /* an idle log proves its last sync after so long; default 100; 0: never */
    uint32_t mark_ms;
    firn_log_fn log; /* default NULL: silent */
    void *log_ctx;
} firn_wal_options;

FIRN_API void firn_wal_options_init(firn_wal_options *options);
/* for bindings */
FIRN_API void firn_wal_options_init_sized(firn_wal_options *options, size_t size);
#define firn_wal_options_init(options)                                                             \
    firn_wal_options_init_sized((options), sizeof(firn_wal_options))

/* ---- What recovery and verification found ---- */
typedef enum firn_wal_finding_kind {
    /* the end of the log is not intact, and nothing proves that it was durable; normal after a
     * crash. See may_be_durable */
    FIRN_WAL_TORN = 1,
    FIRN_WAL_LOST,            /* proven loss: the log had been synced beyond these bytes */
    FIRN_WAL_MISSING_SEGMENT, /* a segment file that must be there is not (proven) */
    /* a file under a segment's name that belongs elsewhere: another log's, a swapped, duplicated or
     * stale one (proven) */
    FIRN_WAL_WRONG_SEGMENT,
    /* damage that holds no operation (an idle mark, unused space, one of two header copies) */
    FIRN_WAL_HARMLESS,
} firn_wal_finding_kind;

typedef struct firn_wal_finding {
    firn_wal_finding_kind kind;
    char file[64];                /* segment file name */
    uint64_t offset, bytes;       /* the damaged range; bytes 0 when unknown */
    uint64_t seq_first, seq_last; /* numbers that are gone; 0, 0 when none or unknown */
    /* TORN: a power cut during a sync leaves this, and so does a bad sector in what the last sync
     * before the end had made durable: the two cannot be told apart. Else no sync of these bytes
     * was ever started, so none was acknowledged */
    bool may_be_durable;
    char proof[160]; /* why it counts as what it is, in words */
} firn_wal_finding;

/* Something that was, or may have been, acknowledged is gone. */
static inline bool firn_wal_is_loss(const firn_wal_finding *finding)
{
    return finding->kind != FIRN_WAL_TORN && finding->kind != FIRN_WAL_HARMLESS;
}

/* Caller-owned; zero it or pass it to firn_wal_report_init before use, release it afterwards. */
typedef struct firn_wal_report {
    firn_wal_finding *findings; /* in log order; owned by the report */
    size_t count;
    uint64_t segments, frames, operations, bytes; /* intact */
    uint64_t seq_first, seq_last;                 /* of the intact operations; 0, 0 when none */
    uint64_t durable_seq;                         /* proven durable by what the log says */
    uint64_t floor_seq;                           /* truncated up to here */
    uint64_t cut_bytes;                           /* moved to lost/ */
    bool closed_clean;                            /* ends with the seal of a clean close */
} firn_wal_report;

FIRN_API void firn_wal_report_init(firn_wal_report *report);
FIRN_API void firn_wal_report_release(firn_wal_report *report);
/* The report as text, a line per finding, each passed to `line` without its newline. */
FIRN_API void firn_wal_report_text(const firn_wal_report *report,
                                   void (*line)(void *ctx, const char *text), void *ctx);

/* ---- Open and close ---- */

/* Opens the log in `path`. `options` NULL: defaults. `report` NULL: not wanted; else filled in,
 * also when opening fails for damage; empty when it failed before the log was looked at.
 * FIRN_LOCKED (another opener), FIRN_DAMAGED (see the report and firn_recovery), FIRN_NOT_FOUND,
 * FIRN_UNSUPPORTED, FIRN_INVALID, FIRN_TOO_LARGE (its numbers are used up), FIRN_NO_SPACE,
 * FIRN_NO_MEMORY, FIRN_IO. */
FIRN_API int firn_wal_open(const char *path, const firn_wal_options *options,
                           firn_wal_report *report, firn_wal **out, firn_error *error);

/* Syncs what is not synced, seals the log, and frees the handle, also when that fails; but not in a
 * child after fork. Returns the first error, which is also logged. NULL is allowed. */
FIRN_API int firn_wal_close(firn_wal *log, firn_error *error);

/* ---- Append ---- */
typedef struct firn_wal_write {
    size_t size;
    firn_durability durability; /* DEFAULT: the log's mode for append, SYNC for append_batch */
} firn_wal_write;

/* Appends one operation. Durable on return as far as was asked. *seq (may be NULL) is its number.
 * `write` NULL: defaults. FIRN_TOO_LARGE, FIRN_INVALID, FIRN_NO_SPACE (nothing happened, try again
 * later), FIRN_POISONED (nothing happened), FIRN_IO (unknown whether it survives; the log is
 * poisoned), FIRN_READ_ONLY. */
FIRN_API int firn_wal_append(firn_wal *log, firn_kind op, const void *key, size_t key_size,
                             const void *value, size_t value_size, const firn_wal_write *write,
                             uint64_t *seq, firn_error *error);

/* Appends all operations of a batch as one: atomic, synced by default in every mode. *seq_last is
 * the number of the last one; operation i has *seq_last - count + 1 + i. An empty batch is
 * FIRN_INVALID. */
FIRN_API int firn_wal_append_batch(firn_wal *log, const firn_batch *batch,
                                   const firn_wal_write *write, uint64_t *seq_last,
                                   firn_error *error);

/* Makes everything appended so far durable. */
FIRN_API int firn_wal_sync(firn_wal *log, firn_error *error);
/* Waits until `seq` is durable, syncing if no other thread does. timeout_ms 0: no limit.
 * FIRN_TIMED_OUT; FIRN_INVALID for a number that was not given out. */
FIRN_API int firn_wal_wait_durable(firn_wal *log, uint64_t seq, uint32_t timeout_ms,
                                   firn_error *error);
/* Calls fn once, from some thread, when `seq` is durable (FIRN_OK) or can no longer become so (a
 * status). fn must not call into the log. Asks for no sync of its own. */
typedef void (*firn_wal_durable_fn)(void *ctx, uint64_t seq, int status);
FIRN_API int firn_wal_on_durable(firn_wal *log, uint64_t seq, firn_wal_durable_fn fn, void *ctx,
                                 firn_error *error);

FIRN_API uint64_t firn_wal_last_seq(const firn_wal *log); /* newest number given out */
/* all numbers <= this survive power loss */
FIRN_API uint64_t firn_wal_durable_seq(const firn_wal *log);
/* all numbers <= this have been truncated */
FIRN_API uint64_t firn_wal_floor_seq(const firn_wal *log);

/* ---- Maintenance ---- */

/* Closes the current segment and goes on in a new one. Does nothing when the current one is
 * empty. */
FIRN_API int firn_wal_rotate(firn_wal *log, firn_error *error);

/* Records a CHECKPOINT, makes everything up to it durable, and returns its number in *seq (may be
 * NULL). */
FIRN_API int firn_wal_checkpoint(firn_wal *log, uint64_t *seq, firn_error *error);

/* Gives up all operations with numbers <= upto_seq: no replay or iteration shows them again, also
 * after a crash at any step, and files that hold nothing else are removed. A number inside a batch
 * keeps that batch whole: *floor_seq (may be NULL) is the number that truncation really reached.
 * Numbers beyond the last one are FIRN_INVALID. Needs no sync from the caller. */
FIRN_API int firn_wal_truncate(firn_wal *log, uint64_t upto_seq, uint64_t *floor_seq,
                               firn_error *error);

/* ---- Reading back ---- */
typedef struct firn_wal_entry {
    uint64_t seq;
    uint64_t time_ms; /* when its batch was appended, milliseconds since 1970 */
    firn_kind op;
    uint16_t bucket; /* which space of keys; 0: the default */
    firn_slice key;  /* valid during the call */
    firn_slice value;
} firn_wal_entry;

static inline bool firn_wal_entry_is_tombstone(const firn_wal_entry *e)
{
    return e && (e->op == FIRN_DELETE || e->op == FIRN_DELETE_RANGE);
}

/* A non-zero return stops the replay and is returned by it. */
typedef int (*firn_wal_entry_fn)(void *ctx, const firn_wal_entry *entry);

/* Every operation with a number > after_seq, in order, of batches wholly in the log; sees
 * everything that was appended before the call. An after_seq below the floor starts at the floor.
 * `report` (may be NULL) lists every gap. FIRN_DAMAGED when bytes no longer read back; what came
 * before was passed on. */
FIRN_API int firn_wal_replay(firn_wal *log, uint64_t after_seq, firn_wal_entry_fn fn, void *ctx,
                             firn_wal_report *report, firn_error *error);

typedef enum firn_wal_record_kind {
    FIRN_WAL_RECORD_ENTRY = 1,
    FIRN_WAL_RECORD_COMMIT, /* the end of a batch; seq is its last number */
    FIRN_WAL_RECORD_CHECKPOINT,
    FIRN_WAL_RECORD_MARK,
    FIRN_WAL_RECORD_LINK,
    FIRN_WAL_RECORD_SEAL,
    FIRN_WAL_RECORD_SKIP,
    FIRN_WAL_RECORD_FLOOR,
} firn_wal_record_kind;

typedef struct firn_wal_record {
    firn_wal_record_kind kind;
    firn_wal_entry entry; /* ENTRY; for others only seq and time_ms */
    /* COMMIT: operations in the batch; SKIP: numbers skipped; SEAL: 1 rotation, 2 clean close;
     * CHECKPOINT: number covered; FLOOR: the floor */
    uint64_t count;
    uint64_t durable_seq;   /* how far the log had been synced when this was written */
    char file[64];          /* segment file name */
    uint64_t offset, bytes; /* of the frame in the file, header included */
} firn_wal_record;

typedef int (*firn_wal_record_fn)(void *ctx, const firn_wal_record *record);

/* Every raw record in log order, with commit boundaries and checkpoints. */
FIRN_API int firn_wal_iterate(firn_wal *log, firn_wal_record_fn fn, void *ctx, firn_error *error);

/* Reads everything back from the files and checks it; changes nothing. `report` may be NULL.
 * FIRN_DAMAGED when there is proven loss. For a log that is not open: firn_wal_verify_path. */
FIRN_API int firn_wal_verify(firn_wal *log, firn_wal_report *report, firn_error *error);
FIRN_API int firn_wal_verify_path(const char *path, firn_wal_report *report, firn_error *error);

#ifdef __cplusplus
}
#endif
#endif
