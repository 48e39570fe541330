/* simfs: a strict file system in memory, for tests. It implements base/fs.h.
 *
 * What a process sees (the volatile side) lives here; what a disk keeps lives in crash.h, which
 * replays the recording of a run against a model of durability. So this file answers "what would
 * a call return", and crash.h answers "what could be left after the power went".
 *
 *   simfs *sim = simfs_new(seed);
 *   simfs_record(sim);                      from here on every change is written down
 *   ... run the store on simfs_fs(sim), dropping simfs_mark()s when it acknowledges ...
 *   crash_run(sim, &options, &stats);       every crash point, every allowed state (crash.h)
 *   simfs_free(sim);
 *
 * Rules
 *   S1  One page cache: fs_map returns a pointer into the very bytes that fs_read reads and
 *       fs_write writes. A mapping stays valid after close and after unlink, until unmapped.
 *   S2  Stores into a mapping are recorded when fs_stored announces them. What is not announced is
 *       visible to this process only, and is lost in every crash. Touching what lies behind the
 *       file's last page, where a process is killed, is reported by AddressSanitizer.
 *   S3  Closing syncs nothing.
 *   S4  A failed fs_sync loses the unsynced data of that file on the durable side; reads go on
 *       seeing it, and the next sync reports success. EINTR loses nothing. A failed
 *       fs_write_durable does the same to the bytes that it was to write.
 *   S5  Paths: folders separated by '/', from one root; "a/b" and "/a/b" are the same.
 *   S6  Names and clocks are deterministic: the same seed and the same calls give the same answers.
 *   S7  A page (4096 bytes) of a file that a write or sync failed on stays lost in that file: it may be
 *       written and synced again, reads show that and the sync reports success, and a power cut leaves
 *       what was durable before, or zeros. So does ext4, whose extent stays unwritten. Another file is
 *       fine, under the same name too. A write that is refused for want of space or memory, or
 *       interrupted, has touched nothing and spoils nothing.
 *
 * The simulator allocates with malloc and aborts when that fails: alloc_fail_at() must hit the code
 * under test, never its test bench.
 *
 * Thread-safe: one mutex around every call. The helpers at the end of this header, simfs_record and
 * simfs_free want a file system that no other thread is using.
 */
#ifndef SUPPORT_SIMFS_H
#define SUPPORT_SIMFS_H

#include <base/fs.h>

typedef struct simfs simfs;

simfs *simfs_new(uint64_t seed);
/* Frees everything, also handles that were left open: a killed process closes nothing. */
void simfs_free(simfs *sim);
fs *simfs_fs(simfs *sim);
/* A copy of what a process sees now, with nothing recorded and nothing open. */
simfs *simfs_clone(simfs *sim);
/* Folders, files, and mappings that are open now. */
uint64_t simfs_open_count(simfs *sim);

/* ---- Recording ---- */

/* Everything that is there now counts as durable; every later change is recorded. */
void simfs_record(simfs *sim);
/* Later changes are not recorded; what was recorded stays. */
void simfs_record_stop(simfs *sim);
/* How many changes were recorded: crash points are 0 .. simfs_changes(). */
uint64_t simfs_changes(simfs *sim);

#define SIMFS_MARKS 24
/* Writes "the promise numbered `mark` is now `value`" into the recording, e.g. mark 0: batches up
 * to `value` were acknowledged as durable. A crash state carries the last value of each mark. */
void simfs_mark(simfs *sim, unsigned mark, uint64_t value);

/* ---- Calls, counted and failed ---- */

enum {
    SIMFS_DIR_OPEN = 1 << 0,
    SIMFS_DIR_MAKE = 1 << 1,
    SIMFS_DIR_OPEN_IN = 1 << 2,
    SIMFS_DIR_SYNC = 1 << 3,
    SIMFS_DIR_LIST = 1 << 4,
    SIMFS_DIR_SPACE = 1 << 5,
    SIMFS_RENAME = 1 << 6,
    SIMFS_UNLINK = 1 << 7,
    SIMFS_LINK = 1 << 8,
    SIMFS_OPEN = 1 << 9,    /* an existing file */
    SIMFS_CREATE = 1 << 10, /* a new one */
    SIMFS_READ = 1 << 11,
    SIMFS_WRITE = 1 << 12,
    SIMFS_SYNC = 1 << 13,
    SIMFS_SIZE = 1 << 14,
    SIMFS_TRUNCATE = 1 << 15,
    SIMFS_ALLOCATE = 1 << 16,
    SIMFS_MAP = 1 << 17,
    SIMFS_POPULATE = 1 << 18,
    SIMFS_LOCK = 1 << 19,
    SIMFS_RANDOM = 1 << 20,
    SIMFS_WRITE_DURABLE = 1 << 21,
    SIMFS_DIR_LOCK = 1 << 22,
    SIMFS_DIR_NAMED = 1 << 23,
    SIMFS_NAMED = 1 << 24,
    SIMFS_LOOK = 1 << 25, /* at a name, or for names that are no plain files */
    SIMFS_MOVE = 1 << 26,
    SIMFS_DIR_REMOVE = 1 << 27,
    SIMFS_CALLS = 28,
    SIMFS_ANY = (1 << 28) - 1,
    SIMFS_CHANGING = SIMFS_DIR_MAKE | SIMFS_DIR_OPEN_IN | SIMFS_DIR_SYNC | SIMFS_RENAME |
                     SIMFS_UNLINK | SIMFS_LINK | SIMFS_CREATE | SIMFS_WRITE | SIMFS_SYNC |
                     SIMFS_TRUNCATE | SIMFS_ALLOCATE | SIMFS_WRITE_DURABLE | SIMFS_MOVE |
                     SIMFS_DIR_REMOVE,
    SIMFS_TRANSFERS = SIMFS_READ | SIMFS_WRITE | SIMFS_WRITE_DURABLE,
};

/* How many calls of these kinds were made so far, failed ones included. */
uint64_t simfs_calls(simfs *sim, unsigned calls);
/* "pwrite", for messages; of the lowest bit in `call`. */
const char *simfs_call_name(unsigned call);

#define SIMFS_SHORT (-1) /* instead of an errno: transfer half of the bytes */

typedef struct simfs_fault {
    unsigned calls;   /* which kinds */
    uint64_t at;      /* the at-th matching call from now on; 1: the next */
    int error;        /* an errno, or SIMFS_SHORT */
    bool forever;     /* also every matching call after it; EINTR: every second one */
    bool after;       /* the call has its effect and then reports the failure */
    const char *name; /* only calls about this file name; NULL: any. Borrowed until simfs_heal */
} simfs_fault;

#define SIMFS_FAULTS 8 /* at most so many at a time */
void simfs_fail(simfs *sim, simfs_fault fault);
/* Forgets all faults; capacity stays. */
void simfs_heal(simfs *sim);
/* How many calls were failed or shortened by simfs_fail so far. */
uint64_t simfs_faults_hit(simfs *sim);

/* Called before each call, without the lock: returns 0, or an errno with which the call then fails.
 * `index` counts all calls from 1. NULL removes it. */
typedef int (*simfs_hook)(void *ctx, unsigned call, uint64_t index, const char *name);
void simfs_on_call(simfs *sim, simfs_hook hook, void *ctx);

/* The size of the disk; UINT64_MAX: endless. Writes past it are cut short, then fail with ENOSPC. A
 * file's blocks are freed when its last name and its last handle or mapping are gone. */
void simfs_capacity(simfs *sim, uint64_t bytes);
uint64_t simfs_used(simfs *sim);
/* What fs_space.mapping_ok says. Default: true. */
void simfs_mapping_ok(simfs *sim, bool ok);
/* How far a file may reach; UINT64_MAX: no limit. A write or a growth beyond it kills a process, and so the test. */
void simfs_file_limit(simfs *sim, uint64_t bytes);
/* May folders be locked? Default: true. */
void simfs_dir_locks(simfs *sim, bool ok);
/* Descriptors: of folders, and of files that do not rest. A call that needs one too many fails with EMFILE. */
void simfs_descriptor_limit(simfs *sim, uint64_t limit);
/* The most that were open at once since the last call of this; and counts anew from what is open now. */
uint64_t simfs_descriptors_most(simfs *sim);
/* What a process may use, as the seam tells it. Default: not known. */
void simfs_memory_limit(simfs *sim, uint64_t bytes);
/* Bytes that were asked for ahead of reading so far. */
uint64_t simfs_read_ahead(simfs *sim);
/* Bytes that the disk was given to write before a sync asked for them. */
uint64_t simfs_write_out(simfs *sim);
/* Lets both clocks jump ahead. Each reading of one advances it by a microsecond. */
void simfs_advance(simfs *sim, uint64_t us);

/* ---- Looking and damaging from outside. Not recorded, never failed. ----
 * Paths name files; a missing one is the test's own mistake and aborts, except where said. */

bool simfs_exists(simfs *sim, const char *path);
/* The bytes of a file, borrowed until it changes or goes. */
const uint8_t *simfs_peek(simfs *sim, const char *path, size_t *size);
/* Creates or replaces a file; makes missing folders. */
void simfs_write_file(simfs *sim, const char *path, const void *data, size_t size);
void simfs_poke(simfs *sim, const char *path, uint64_t offset, const void *data, size_t size);
void simfs_flip_bit(simfs *sim, const char *path, uint64_t bit);
void simfs_cut(simfs *sim, const char *path, uint64_t size); /* grows with zeros */
void simfs_remove(simfs *sim, const char *path);             /* missing: fine */
void simfs_copy_file(simfs *sim, const char *from, const char *to);
void simfs_swap_files(simfs *sim, const char *a, const char *b);
/* Another program's hands on a folder: a new name, or its end with all that is in it. Handles stay open. */
void simfs_move_folder(simfs *sim, const char *from, const char *to);
void simfs_remove_folder(simfs *sim, const char *path);
/* Every file under `folder`, deeper ones too, sorted by path; "" for all. Non-zero stops. */
typedef int (*simfs_each_fn)(void *ctx, const char *path, uint64_t size);
int simfs_each(simfs *sim, const char *folder, simfs_each_fn fn, void *ctx);

#endif
