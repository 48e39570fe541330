/* fuzz_log_open: opens a log on a simulated disk and reads it back in every way there is, and checks
 * that the ways agree: replay, iterate, the frames that an owner indexes, and verify.
 */
#ifndef FUZZ_LOG_OPEN_H
#define FUZZ_LOG_OPEN_H

#include <support/simfs.h>
#include <wal/wal.h>

#include "fuzz.h"

/* One operation that was passed on. */
typedef struct fuzz_entry {
    uint64_t seq;
    uint64_t hash; /* of kind, key and value */
} fuzz_entry;

typedef struct fuzz_entries {
    fuzz_entry *list;
    size_t count, capacity;
    uint64_t above; /* only numbers > this are taken */
    bool disordered;
} fuzz_entries;

void fuzz_entries_add(fuzz_entries *e, uint64_t seq, firn_kind op, firn_slice key,
                      firn_slice value);
void fuzz_entries_release(fuzz_entries *e);
bool fuzz_entries_equal(const fuzz_entries *a, const fuzz_entries *b);
/* Forgets those with numbers <= floor. */
void fuzz_entries_drop(fuzz_entries *e, uint64_t floor_seq);

typedef struct fuzz_opened {
    const char *what; /* for messages */
    wal_config config;
    fs_dir *dir;
    wal *log;             /* NULL: it did not open */
    uint8_t store_id[16]; /* of a log that opened */
    int status;
    firn_error error;
    firn_wal_report report;
    fuzz_entries entries; /* filled in by fuzz_read_back */
} fuzz_opened;

/* An oracle about an opened log: says which, and what was found in it. */
#define FUZZ_CHECK_LOG(o, condition)                                                               \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fuzz_describe(o);                                                                      \
            fuzz_fail(__FILE__, __LINE__, #condition);                                             \
        }                                                                                          \
    } while (0)
void fuzz_describe(const fuzz_opened *o);

/* Opens the log in LOG_FOLDER. Only the statuses that files can cause are allowed, and each carries
 * a message. */
void fuzz_open(fuzz_opened *o, simfs *sim, const wal_config *config, const char *what);

/* Fills in `entries`. For a log that opened. */
void fuzz_read_back(fuzz_opened *o);

/* Closes it if it is open (which must succeed), and frees everything but `entries`. No handle and
 * no mapping may be left. */
void fuzz_close(fuzz_opened *o, simfs *sim);

uint64_t fuzz_newest_segment(const fuzz_opened *o);

/* Are there findings of this kind? */
bool fuzz_found(const firn_wal_report *report, firn_wal_finding_kind kind);
bool fuzz_found_loss(const firn_wal_report *report);

#endif
