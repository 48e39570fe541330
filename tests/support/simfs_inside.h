/* simfs_inside: what the files of the simulator share, and what crash_disk.c reads: the tree, the
 * recording, and the verdict of the fault injector.
 *
 * Invariants
 *   N1  A node lives while a name, a handle or a mapping holds it (names + holds > 0); the root
 * lives as long as the file system. N2  node.data is one address range of `room` bytes; it moves
 * only while nothing is mapped. N3  Bytes of node.data at or behind `touched` are zero. N4  Node
 * numbers are never used twice within one file system, and a clone keeps them.
 */
#ifndef SUPPORT_SIMFS_INSIDE_H
#define SUPPORT_SIMFS_INSIDE_H

#include "simfs.h"
#include <string.h>
#include "rng.h"
#include <base/thread.h>

#define SIM_SECTOR  512
#define SIM_PAGE    4096
#define SIM_NO_NODE UINT32_MAX

/* ---- Memory that never fails and that alloc_fail_at does not see ---- */
void *sim_alloc(size_t size);          /* zeroed */
void *sim_grow(void *p, size_t bytes); /* realloc */
void sim_die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* A region of at least `size` zero bytes; *room is its size. Recycled, so that building thousands
 * of small file systems a second costs no system calls. `touched` bytes may be non-zero when it
 * returns. */
uint8_t *sim_region_take(size_t size, size_t *room);
void sim_region_give(uint8_t *data, size_t room, size_t touched);
/* Makes it at least `size` bytes long without moving it; false when that cannot be. */
bool sim_region_extend(uint8_t *data, size_t *room, size_t size);
/* Lets AddressSanitizer report who touches what lies behind the last page of a file of this size: a
 * process would be killed. */
void sim_region_fence(uint8_t *data, size_t room, uint64_t size);

/* A run of memory that is freed in one go: for recordings. */
typedef struct sim_arena {
    struct sim_chunk *chunk;
    size_t left;
} sim_arena;
void *sim_arena_take(sim_arena *a, size_t size);
void sim_arena_release(sim_arena *a);

/* ---- The tree ---- */
typedef struct sim_node sim_node;

typedef struct sim_entry {
    char name[FS_NAME_MAX + 1];
    sim_node *node;
} sim_entry;

struct sim_node {
    sim_node *next; /* all nodes of a file system */
    sim_node *prev;
    uint32_t number;
    uint32_t names;
    uint32_t holds; /* handles and mappings */
    uint32_t maps;
    bool is_dir;
    /* a file */
    uint8_t *data;
    size_t room;
    size_t touched;
    uint64_t size;
    uint64_t charged;      /* blocks it takes of the capacity, in bytes */
    const void *locked_by; /* also of a folder */
    /* a folder */
    sim_entry *entries;
    size_t entry_count;
    size_t entry_room;
};

/* ---- The recording ---- */
typedef enum sim_op_kind {
    SIM_OP_CREATE, /* name in dir -> node */
    SIM_OP_MKDIR,
    SIM_OP_LINK,
    SIM_OP_UNLINK,
    SIM_OP_RENAME, /* name to `to`, both in dir */
    SIM_OP_DIR_SYNC,
    SIM_OP_WRITE,      /* data at offset of node */
    SIM_OP_STORED,     /* the same through a mapping */
    SIM_OP_TRUNCATE,   /* node to offset bytes */
    SIM_OP_ALLOCATE,   /* node to at least offset bytes */
    SIM_OP_SYNC,       /* of size bytes from offset on; size 0: of all of node, its size too */
    SIM_OP_SYNC_LOST,  /* a failed one (S4, S7) */
    SIM_OP_WRITE_LOST, /* a failed write of size bytes at offset of node (S7) */
    SIM_OP_MARK,       /* mark `node` is now `offset`; not a change */
} sim_op_kind;

typedef struct sim_op {
    sim_op_kind kind;
    uint32_t node;
    uint32_t dir;
    uint64_t offset;
    size_t size;
    const uint8_t *data;
    const char *name;
    const char *to;
} sim_op;

typedef struct sim_recording {
    bool on;
    simfs *base; /* what was durable when it began; NULL: never began */
    sim_op *ops;
    size_t count;
    size_t room;
    uint64_t changes; /* ops that are not marks */
    sim_arena arena;
} sim_recording;

struct simfs {
    fs base;
    MUTEX(lock); /* guards everything below */
    sim_node *nodes;
    sim_node *root;
    uint32_t next_number;
    struct sim_file *files; /* open handles */
    struct sim_dir *dirs;
    uint64_t open_count;
    uint64_t descriptors, descriptors_most; /* folders, and files that do not rest */
    uint64_t descriptor_limit;
    uint64_t memory_limit;
    uint64_t read_ahead; /* bytes that were asked for */
    uint64_t write_out;  /* bytes that were to be written out before a sync */
    uint64_t capacity;
    uint64_t used;
    bool mapping_ok;
    bool dir_locks;
    uint64_t file_limit;
    uint64_t clock_us;
    rng chance;
    uint64_t call_count[SIMFS_CALLS];
    uint64_t calls_total;
    simfs_fault faults[SIMFS_FAULTS];
    unsigned fault_count;
    uint64_t faults_hit;
    simfs_hook hook;
    void *hook_ctx;
    sim_recording recording;
};

typedef struct sim_dir {
    fs_dir pub;
    sim_node *node;
    bool way_noted;
    struct sim_dir *prev;
    struct sim_dir *next;
} sim_dir;

typedef struct sim_file {
    fs_file pub;
    sim_node *node;
    bool writable;
    bool rests;
    uint64_t size_at_rest;
    struct sim_file *prev;
    struct sim_file *next;
} sim_file;

static inline simfs *sim_of(fs *f)
{
    return (simfs *)f;
}

static inline sim_file *sim_file_of(fs_file *file)
{
    return (sim_file *)file;
}

static inline const char *sim_file_name(const fs_file *file)
{
    const char *slash = strrchr(file->path, '/');
    return slash ? slash + 1 : file->path;
}

/* simfs.c: nodes and names. The caller holds the lock. */
sim_node *sim_node_new(simfs *s, bool is_dir, uint32_t number); /* SIM_NO_NODE: the next free one */
void sim_node_drop(simfs *s, sim_node *n);                      /* frees it when nothing holds it */
void sim_node_reserve(sim_node *n, size_t size);
void sim_node_resize(simfs *s, sim_node *n, uint64_t size); /* zeros behind the old or new end */
sim_node *sim_find(const sim_node *dir, const char *name);
void sim_name_set(simfs *s, sim_node *dir, const char *name, sim_node *node); /* replaces */
void sim_name_clear(simfs *s, sim_node *dir, const char *name);
/* Walks a path; 0 or -errno. With `parent`, stops before the last name, which *last then is. */
int sim_walk(simfs *s, const char *path, sim_node **out);
int sim_walk_parent(simfs *s, const char *path, sim_node **out, char last[FS_NAME_MAX + 1]);

/* simfs.c: the recording. The caller holds the lock; does nothing while recording is off. */
void sim_note_name(simfs *s, sim_op_kind kind, const sim_node *dir, const char *name,
                   const sim_node *node);
void sim_note_rename(simfs *s, const sim_node *dir, const char *from, const char *to,
                     const sim_node *node);
void sim_note_bytes(simfs *s, sim_op_kind kind, const sim_node *node, uint64_t offset, size_t size);
void sim_note(simfs *s, sim_op_kind kind, uint32_t node, uint64_t offset);
void sim_note_range(simfs *s, sim_op_kind kind, uint32_t node, uint64_t offset, size_t size);

/* simfs_fault.c: every call passes through here first. Takes the lock; sim_leave gives it back. */
typedef struct sim_verdict {
    int error; /* errno; 0: go on */
    bool after;
    bool half;
} sim_verdict;
sim_verdict sim_enter(simfs *s, unsigned call, const char *name) ACQUIRES(s->lock);
/* Returns what the call returns: `result`, or the failure that comes after the effect. */
ssize_t sim_leave(simfs *s, sim_verdict v, ssize_t result) RELEASES(s->lock);
static inline bool sim_refused(sim_verdict v)
{
    return v.error && !v.after;
}
/* Takes up to `end - charged` bytes of the capacity for a node; returns the end that could be had.
 */
uint64_t sim_charge(simfs *s, sim_node *n, uint64_t end);
void sim_uncharge(simfs *s, sim_node *n, uint64_t end);

extern const fs_ops sim_ops; /* simfs_ops.c */

/* simfs_limit.c: what a process may have of descriptors and memory. */
int sim_descriptor_take(simfs *s); /* 0 or -EMFILE */
int sim_rest(fs_file *file);
int sim_resume(fs_dir *dir, const char *name, fs_file *file);
void sim_read_ahead(fs_file *file, uint64_t offset, size_t size);
void sim_write_out(fs_file *file, uint64_t offset, size_t size);
uint64_t sim_descriptor_limit(fs *f);
uint64_t sim_memory_limit(fs *f);

/* simfs_map.c: calls of base/fs.h */
int sim_map(fs_file *file, size_t size, bool writable, void **out);
void sim_unmap(fs_file *file, void *address, size_t size);
int sim_populate(fs_file *file, void *address, size_t size, bool write);
void sim_stored(fs_file *file, uint64_t offset, size_t size);

#endif
