/* error: fill in a firn_error once, where the failure is noticed.
 *
 * Every function here returns the status that it recorded, so that `return error_set(...)` reads
 * well. `err` may be NULL everywhere. Thread-safe: the caller owns the struct.
 */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <firn/types.h>

/* Records a status with a printf-style message and no file. */
int error_set(firn_error *err, int rc, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* As error_set, about `file` at `offset` (FIRN_NO_OFFSET for none). */
int error_file(firn_error *err, int rc, const char *file, uint64_t offset, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* A failed system call: the status follows from sys_errno (ENOSPC, EDQUOT, EFBIG: NO_SPACE; ENOMEM:
 * NO_MEMORY, as EMFILE and ENFILE; ENOENT: NOT_FOUND; else IO), and so does a first hint. `verb` as
 * in "write". */
int error_system(firn_error *err, const char *file, uint64_t offset, int sys_errno,
                 const char *verb);

/* A thread that could not be started; `file` tells for what, or "". EAGAIN and ENOMEM:
 * NO_MEMORY. */
int error_thread(firn_error *err, const char *file, int sys_errno);

/* The end of a call that has collected its failure in a struct of its own: hands *found to the
 * caller, who sees nothing of it when the call succeeded. A failure that has no description gets
 * one. Returns `rc`. */
int error_give(firn_error *err, int rc, const firn_error *found);

/* What was missing was needed: NOT_FOUND, which is an answer, becomes IO, and any other status
 * stays. Returns the status. */
int error_needed(firn_error *err, int rc);

/* Told behind NO_SPACE or NO_MEMORY, when nothing has happened: sets a hint that fits the cause and
 * ends with `then`. */
void error_hint_curable(firn_error *err, const char *then);

/* The newest allocation of this thread that failed. How much it had asked for, the allocator knows
 * (heap_refused); that is told when it is 1 MiB or more. */
int error_no_memory(firn_error *err);
/* A call whose cancel flag was set; always FIRN_CANCELLED. */
int error_cancelled(firn_error *err);

/* Does it pass by itself? A full disk and a lack of memory or descriptors do: nothing has happened,
 * and trying again is right. */
static inline bool error_curable(int rc)
{
    return rc == FIRN_NO_SPACE || rc == FIRN_NO_MEMORY;
}

/* Replaces the hint. */
void error_hint(firn_error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Makes *err empty: status 0, no offset. */
void error_clear(firn_error *err);

#endif
