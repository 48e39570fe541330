/* error: the firn_error that public calls hand back (include/base/error.h).
 *
 * An error is described once, where it is noticed, because only that place knows the file, the
 * offset and the errno. Nothing here allocates: running out of memory must be describable too.
 * Texts that do not fit are cut; of a path the end is kept, since the end names the file.
 */
#include <base/alloc.h>
#include <base/error.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *firn_status_name(int rc)
{
    static const char *const names[] = {
        [FIRN_OK] = "FIRN_OK",
        [FIRN_NOT_FOUND] = "FIRN_NOT_FOUND",
        [FIRN_END] = "FIRN_END",
        [FIRN_INVALID] = "FIRN_INVALID",
        [FIRN_TOO_LARGE] = "FIRN_TOO_LARGE",
        [FIRN_IO] = "FIRN_IO",
        [FIRN_NO_SPACE] = "FIRN_NO_SPACE",
        [FIRN_NO_MEMORY] = "FIRN_NO_MEMORY",
        [FIRN_DAMAGED] = "FIRN_DAMAGED",
        [FIRN_LOCKED] = "FIRN_LOCKED",
        [FIRN_READ_ONLY] = "FIRN_READ_ONLY",
        [FIRN_POISONED] = "FIRN_POISONED",
        [FIRN_UNSUPPORTED] = "FIRN_UNSUPPORTED",
        [FIRN_TIMED_OUT] = "FIRN_TIMED_OUT",
        [FIRN_CANCELLED] = "FIRN_CANCELLED",
        [FIRN_CONFLICT] = "FIRN_CONFLICT",
        [FIRN_DROPPED] = "FIRN_DROPPED",
    };
    if (rc < 0 || (size_t)rc >= sizeof names / sizeof names[0])
        return "unknown firn_status";
    return names[rc];
}

/* Appends to buf at *length, which goes on counting what does not fit. */
__attribute__((format(printf, 4, 5))) static void append(char *buf, size_t size, size_t *length,
                                                         const char *format, ...)
{
    va_list args;
    va_start(args, format);
    bool fits = *length < size;
    int n = vsnprintf(fits ? buf + *length : NULL, fits ? size - *length : 0, format, args);
    va_end(args);
    if (n > 0)
        *length += (size_t)n;
}

size_t firn_error_format(const firn_error *error, char *buf, size_t size)
{
    size_t length = 0;
    if (!buf)
        size = 0;
    if (size > 0)
        buf[0] = '\0';
    if (!error)
        return 0;
    append(buf, size, &length, "%s",
           error->message[0] ? error->message : firn_status_name(error->status));
    if (error->file[0])
        append(buf, size, &length, ": %s", error->file);
    if (error->offset != FIRN_NO_OFFSET)
        append(buf, size, &length, " at offset %llu", (unsigned long long)error->offset);
    if (error->sys_errno != 0) {
        char text[128];
        /* GNU's strerror_r: thread-safe, and returns its text instead of always copying it. */
        append(buf, size, &length, ": %s", strerror_r(error->sys_errno, text, sizeof text));
    }
    if (error->hint[0])
        append(buf, size, &length, " (%s)", error->hint);
    return length;
}

/* Copies the end of `path` and marks a cut with dots. */
static void set_file(firn_error *err, const char *path)
{
    size_t length = strlen(path);
    if (length < sizeof err->file) {
        memcpy(err->file, path, length + 1);
        return;
    }
    const size_t room = sizeof err->file - 4;
    memcpy(err->file, "...", 3);
    memcpy(err->file + 3, path + length - room, room + 1);
}

/* The arguments of the message may lie in *err itself (a message that wraps an earlier one), so it
 * is formatted aside first. */
__attribute__((format(printf, 5, 0))) static int
set(firn_error *err, int rc, const char *file, uint64_t offset, const char *format, va_list args)
{
    if (!err)
        return rc;
    char message[sizeof err->message];
    char kept_file[sizeof err->file];
    vsnprintf(message, sizeof message, format, args);
    if (file == err->file) {
        memcpy(kept_file, err->file, sizeof kept_file);
        file = kept_file;
    }
    error_clear(err);
    err->status = rc;
    err->offset = offset;
    memcpy(err->message, message, sizeof message);
    if (file)
        set_file(err, file);
    return rc;
}

int error_set(firn_error *err, int rc, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    set(err, rc, NULL, FIRN_NO_OFFSET, format, args);
    va_end(args);
    return rc;
}

int error_file(firn_error *err, int rc, const char *file, uint64_t offset, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    set(err, rc, file, offset, format, args);
    va_end(args);
    return rc;
}

static int status_of_errno(int sys_errno)
{
    switch (sys_errno) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return FIRN_NO_SPACE;
    case ENOMEM:
    case EMFILE:
    case ENFILE:
        return FIRN_NO_MEMORY;
    case ENOENT:
        return FIRN_NOT_FOUND;
    default:
        return FIRN_IO;
    }
}

static const char *hint_of_errno(int sys_errno)
{
    switch (sys_errno) {
    case ENOSPC:
        return "free some space on the volume; writing resumes by itself";
    case EDQUOT:
        return "free some space or raise the quota; writing resumes by itself";
    case EFBIG:
        return "raise the limit on file sizes (ulimit -f), or use a file system without it";
    case ENOMEM:
        return "give the process more memory, or the store less (its option memory)";
    case EAGAIN:
        return "raise the limit of locked memory (ulimit -l), or try again";
    case EACCES:
    case EPERM:
        return "check the permissions of the folder and its files, and who runs the process";
    case EMFILE:
        return "raise the limit of open files (ulimit -n)";
    case ENFILE:
        return "the whole system is out of open files: raise fs.file-max";
    case EROFS:
        return "the volume is mounted read-only: remount it, or open for reading only";
    case EIO:
        return "the device failed: look at the kernel's log (dmesg) and at the disk's health";
    case EEXIST:
        return "something of this name is there already: use another name or move it away";
    case ENOTDIR:
        return "a folder is needed here: name one, or move the file away";
    case EISDIR:
    case ELOOP:
        return "a plain file is needed here; links are not followed";
    case ENAMETOOLONG:
        return "use a shorter path";
    case EXDEV:
        return "use a folder on the same file system";
    case EMLINK:
        return "the file has too many links: use another file system or remove some";
    case ESTALE:
    case ENODEV:
    case ENXIO:
        return "the volume went away: mount it again, then close and open again";
    case ENOENT:
        return "another program may have removed or moved it: put it back, then open again";
    default:
        return "find the cause of this error of the system, then close and open again";
    }
}

int error_system(firn_error *err, const char *file, uint64_t offset, int sys_errno,
                 const char *verb)
{
    int rc = status_of_errno(sys_errno);
    if (!err)
        return rc;
    error_file(err, rc, file, offset, "cannot %s", verb);
    err->sys_errno = sys_errno;
    error_hint(err, "%s", hint_of_errno(sys_errno));
    return rc;
}

int error_thread(firn_error *err, const char *file, int sys_errno)
{
    int rc = error_system(err, file, FIRN_NO_OFFSET, sys_errno, "start a thread");
    if (sys_errno != EAGAIN && sys_errno != ENOMEM)
        return rc;
    if (err)
        err->status = FIRN_NO_MEMORY;
    error_hint(err, "raise the limit of threads (ulimit -u), or free memory");
    return FIRN_NO_MEMORY;
}

int error_give(firn_error *err, int rc, const firn_error *found)
{
    if (rc == FIRN_OK || !err)
        return rc;
    if (found->status == rc && found->message[0])
        *err = *found;
    else
        error_set(err, rc, "the call failed with %s", firn_status_name(rc));
    return rc;
}

int error_needed(firn_error *err, int rc)
{
    if (rc != FIRN_NOT_FOUND)
        return rc;
    if (err)
        err->status = FIRN_IO;
    return FIRN_IO;
}

void error_hint_curable(firn_error *err, const char *then)
{
    if (!err)
        return;
    const char *first = "make room on the disk (or raise the quota)";
    if (err->sys_errno == EFBIG)
        first = "raise the limit on file sizes (ulimit -f)";
    else if (err->sys_errno == EMFILE)
        first = "raise the limit of open files (ulimit -n)";
    else if (err->sys_errno == ENFILE)
        first = "raise fs.file-max, the system's limit of open files";
    else if (err->status == FIRN_NO_MEMORY)
        first = "give the process more memory";
    error_hint(err, "%s%s", first, then);
}

/* A log segment, a batch or a large value: what is smaller is a struct of ours, whose size means
 * nothing to a user. */
#define BYTES_TOLD ((size_t)1 << 20)

int error_no_memory(firn_error *err)
{
    size_t bytes = heap_refused();
    if (bytes >= BYTES_TOLD)
        error_set(err, FIRN_NO_MEMORY, "out of memory: %zu MiB were asked for", bytes >> 20);
    else
        error_set(err, FIRN_NO_MEMORY, "out of memory");
    error_hint(err, "%s", hint_of_errno(ENOMEM));
    return FIRN_NO_MEMORY;
}

int error_cancelled(firn_error *err)
{
    return error_set(err, FIRN_CANCELLED, "the call was cancelled: its cancel flag is set");
}

void error_hint(firn_error *err, const char *format, ...)
{
    if (!err)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(err->hint, sizeof err->hint, format, args);
    va_end(args);
}

void error_clear(firn_error *err)
{
    if (!err)
        return;
    memset(err, 0, sizeof *err);
    err->offset = FIRN_NO_OFFSET;
}
