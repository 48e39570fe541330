/* engine_bare: no engine but the cheapest way to make bytes durable one write at a time: a file of
 * full size whose every block was written before, a pwrite and an fdatasync. What a log can at best
 * reach with one writer, and the measure of what group commit gains with many. It keeps nothing that
 * could be read back. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "adapter.h"

#define FILE_BYTES  (UINT64_C(64) << 20)
#define PIECE_BYTES (1 << 20)
#define ALIGN       8

typedef struct bare {
    int fd;
    _Atomic uint64_t end;
} bare;

static void check(bool ok, const char *what)
{
    if (!ok)
        bench_fail("bare", what, strerror(errno));
}

static void *open_bare(const char *path, const bench_config *config)
{
    bare *b = bench_alloc(sizeof *b);
    char file[600], *piece = bench_alloc(PIECE_BYTES);
    (void)config;
    snprintf(file, sizeof file, "%s/log", path);
    check(mkdir(path, 0700) == 0, "make the folder");
    b->fd = open(file, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    check(b->fd >= 0, "create the file");
    for (uint64_t at = 0; at < FILE_BYTES; at += PIECE_BYTES)
        check(pwrite(b->fd, piece, PIECE_BYTES, (off_t)at) == PIECE_BYTES, "prewrite");
    check(fsync(b->fd) == 0, "sync");
    free(piece);
    return b;
}

static void close_bare(void *db)
{
    bare *b = db;
    close(b->fd);
    free(b);
}

static void *join_bare(void *db)
{
    return db;
}

static void leave_bare(void *session)
{
    (void)session;
}

static void write_bare(void *session, const bench_op *ops, size_t count)
{
    bare *b = session;
    for (const bench_op *op = ops; op < ops + count; op++) {
        uint64_t size = (op->key_size + op->value_size + ALIGN - 1) / ALIGN * ALIGN;
        uint64_t at = atomic_fetch_add(&b->end, size) % (FILE_BYTES - size);
        check(pwrite(b->fd, op->value, op->value_size, (off_t)at) == (ssize_t)op->value_size,
              "write");
    }
    check(fdatasync(b->fd) == 0, "sync");
}

static int64_t get_bare(void *session, const void *key, size_t key_size, void *value,
                        size_t capacity)
{
    (void)session, (void)key, (void)key_size, (void)value, (void)capacity;
    return -1;
}

static uint64_t scan_bare(void *session, const void *key, size_t key_size, uint64_t count,
                          bool backwards, bench_visit visit, void *ctx)
{
    (void)session, (void)key, (void)key_size, (void)count, (void)backwards, (void)visit, (void)ctx;
    return 0;
}

static double settle_bare(void *db)
{
    (void)db;
    return 0;
}

const bench_engine bench_bare = {
    .name = "bare",
    .settings = "no engine: pwrite and fdatasync on a prewritten file; takes part in fillsync",
    .classes = BENCH_D2,
    .reference = true,
    .only_syncs = true,
    .logless = true,
    .open = open_bare,
    .close = close_bare,
    .join = join_bare,
    .leave = leave_bare,
    .write = write_bare,
    .get = get_bare,
    .scan = scan_bare,
    .settle = settle_bare,
};
