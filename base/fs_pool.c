/* fs_pool: see base/fs_pool.h. A file system of its own, of files only, each in front of one of the
 * real one.
 *
 * Invariants
 *   L1  `open` files have a descriptor, and `open` <= `limit`. They are on the ring, and no others.
 *   L2  A file's descriptor is given back only while its state is OPEN alone: no call is using it.
 *       A call counts itself in first, and then looks whether the file is open.
 *   L3  Nothing is read through a descriptor of another file than the one that was opened first
 *       (fs_ops.resume).
 * Locks: `pool_mu` for opening and giving back; a call on an open file takes none. A leaf: nothing
 * but the system is called under it.
 */
#include <base/alloc.h>
#include <base/error.h>
#include <base/fs_pool.h>
#include <base/thread.h>

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

#define OPEN UINT32_C(0x80000000) /* of the state; the rest counts the calls that use the file */

MUTEX_KIND(pool_mu);

typedef struct pooled pooled;
struct pooled {
    fs_file base;
    fs_pool *pool;
    fs_dir *dir;
    fs_file *inner;
    _Atomic uint32_t state;
    atomic_bool touched; /* since the hand last came by; relaxed: it costs or saves time */
    bool keeps;
    /* The file in memory, for when it is removed; set before it first rests. */
    void *kept GUARDED_BY(pool_mu);
    size_t kept_bytes GUARDED_BY(pool_mu);
    pooled *next GUARDED_BY(pool_mu), *prev GUARDED_BY(pool_mu); /* the ring of open files */
    char name[FS_NAME_MAX + 1];
};

struct fs_pool {
    fs base;
    fs *under;
    unsigned limit;
    wait_list *waits; /* NULL: nowhere */
    MUTEX_MEMBER(pool_mu);
    cond freed;               /* a call has ended while others wait, or a file was closed */
    _Atomic uint32_t waiting; /* calls that wait for a descriptor */
    unsigned open GUARDED_BY(pool_mu);
    pooled *hand GUARDED_BY(pool_mu); /* NULL: the ring is empty */
};

static pooled *of(fs_file *file)
{
    return (pooled *)file;
}

/* ---- The ring of open files ---- */

static void ring_insert(fs_pool *p, pooled *f) REQUIRES(p->pool_mu)
{
    if (!p->hand) {
        f->next = f->prev = f;
        p->hand = f;
    } else { /* the last place that the hand comes to */
        f->next = p->hand;
        f->prev = p->hand->prev;
        f->prev->next = f;
        p->hand->prev = f;
    }
    p->open++;
}

static void ring_remove(fs_pool *p, pooled *f) REQUIRES(p->pool_mu)
{
    if (p->hand == f)
        p->hand = f->next == f ? NULL : f->next;
    f->prev->next = f->next;
    f->next->prev = f->prev;
    p->open--;
}

/* ---- Giving a descriptor back ---- */

/* A mapping that nothing touches: what it maps stays on the disk, whatever becomes of its name. */
static void keep(pooled *f) REQUIRES_ANY(pool_mu)
{
    uint64_t size;
    void *address;
    if (!f->keeps || f->kept || f->inner->owner->ops->size(f->inner, &size) != 0 || size == 0 ||
        size > SIZE_MAX / 2 ||
        f->inner->owner->ops->map(f->inner, (size_t)size, false, &address) != 0)
        return;
    f->kept = address;
    f->kept_bytes = (size_t)size;
}

/* False when a call is using it, or the system will not. */
static bool put_to_rest(fs_pool *p, pooled *f) REQUIRES(p->pool_mu)
{
    uint32_t idle = OPEN;
    const fs_ops *ops = p->under->ops;
    if (!ops->rest || !atomic_compare_exchange_strong(&f->state, &idle, 0))
        return false;
    keep(f);
    if (ops->rest(f->inner) != 0) {
        atomic_fetch_or(&f->state, OPEN);
        return false;
    }
    ring_remove(p, f);
    return true;
}

/* Gives back the descriptor of a file that has not been used since the hand last came by, or else
 * of any that is not used now. */
static bool rest_one(fs_pool *p) REQUIRES(p->pool_mu)
{
    for (unsigned steps = p->open * 2; steps > 0 && p->hand; steps--) {
        pooled *f = p->hand;
        p->hand = f->next;
        if (atomic_exchange_explicit(&f->touched, false, memory_order_relaxed))
            continue;
        if (put_to_rest(p, f))
            return true;
    }
    return false;
}

static bool is_open(const pooled *f)
{
    return (atomic_load(&f->state) & OPEN) != 0;
}

/* Room for one more descriptor; waits until there is, or until another call has opened the file
 * (NULL: a new one): a caller that waited on would keep a descriptor that others wait for. The
 * caller ends `wait`, without the lock. */
static void make_room(fs_pool *p, const pooled *f, patience *wait) REQUIRES(p->pool_mu)
{
    while (p->open >= p->limit && p->under->ops->rest && !(f && is_open(f)) && !rest_one(p)) {
        /* A call that ends looks at `waiting` behind its own step, this one looks at the states
         * behind its own: one of them sees the other. */
        atomic_fetch_add(&p->waiting, 1);
        if (!rest_one(p)) {
            patience_begin(wait, p->waits, FIRN_WAIT_DESCRIPTOR);
            patience_wait(
                wait, &p->freed, &p->pool_mu,
                "for a file descriptor: all that tables may have are in use by other reads");
        }
        atomic_fetch_sub(&p->waiting, 1);
    }
}

/* ---- Using a file ---- */

static void leave(pooled *f)
{
    fs_pool *p = f->pool;
    atomic_fetch_sub(&f->state, 1);
    if (atomic_load(&p->waiting) == 0)
        return;
    mutex_lock(&p->pool_mu);
    cond_broadcast(&p->freed);
    mutex_unlock(&p->pool_mu);
}

static bool is_lack(int result)
{
    return result == -EMFILE || result == -ENFILE;
}

/* Opens it again, unless another thread was first. */
static int resume(pooled *f)
{
    fs_pool *p = f->pool;
    patience wait = {0};
    int result = 0;
    mutex_lock(&p->pool_mu);
    while (!is_open(f)) {
        make_room(p, f, &wait);
        if (is_open(f))
            break;
        result = p->under->ops->resume(f->dir, f->name, f->inner);
        if (result == -ENOENT || result == -ESTALE)
            result = -EIDRM;
        if (is_lack(result) && rest_one(p))
            continue;
        if (result != 0)
            break;
        ring_insert(p, f);
        atomic_fetch_or(&f->state, OPEN);
        cond_broadcast(&p->freed);
    }
    mutex_unlock(&p->pool_mu);
    patience_end(&wait);
    return result;
}

/* Counts the call in; the file has a descriptor until `leave`, unless this fails. */
static int enter(pooled *f)
{
    int result = 0;
    if (!(atomic_fetch_add(&f->state, 1) & OPEN))
        result = resume(f);
    if (result != 0)
        leave(f);
    else if (!atomic_load_explicit(&f->touched, memory_order_relaxed))
        atomic_store_explicit(&f->touched, true, memory_order_relaxed);
    return result;
}

/* Its bytes in memory, or NULL. They stay until it is closed. */
static uint8_t *kept_bytes_of(pooled *f, size_t *bytes)
{
    mutex_lock(&f->pool->pool_mu);
    uint8_t *kept = f->kept;
    *bytes = f->kept_bytes;
    mutex_unlock(&f->pool->pool_mu);
    return kept;
}

/* Its name is gone or means another file, but it was kept. */
static ssize_t read_kept(pooled *f, void *data, size_t size, uint64_t offset)
{
    size_t kept_bytes;
    uint8_t *kept = kept_bytes_of(f, &kept_bytes);
    if (!kept)
        return -EIDRM;
    if (offset >= kept_bytes)
        return 0;
    if (size > kept_bytes - offset)
        size = kept_bytes - (size_t)offset;
    int result = f->inner->owner->ops->populate(f->inner, kept + offset, size, false);
    if (result != 0 && result != -EINVAL && result != -ENOSYS)
        return result == -EFAULT ? -EIO : result;
    memcpy(data, kept + offset, size);
    return (ssize_t)size;
}

static ssize_t pool_pread(fs_file *file, void *data, size_t size, uint64_t offset)
{
    pooled *f = of(file);
    int result = enter(f);
    if (result == -EIDRM)
        return read_kept(f, data, size, offset);
    if (result != 0)
        return result;
    ssize_t n = f->inner->owner->ops->pread(f->inner, data, size, offset);
    leave(f);
    return n;
}

static int pool_size(fs_file *file, uint64_t *out)
{
    pooled *f = of(file);
    int result = enter(f);
    size_t kept_bytes;
    if (result == -EIDRM && kept_bytes_of(f, &kept_bytes)) {
        *out = kept_bytes;
        return 0;
    }
    if (result != 0)
        return result;
    result = f->inner->owner->ops->size(f->inner, out);
    leave(f);
    return result;
}

static int pool_next_data(fs_file *file, uint64_t from, uint64_t *start, uint64_t *end)
{
    pooled *f = of(file);
    if (!f->inner->owner->ops->next_data)
        return -EOPNOTSUPP;
    int result = enter(f);
    if (result != 0)
        return result;
    result = f->inner->owner->ops->next_data(f->inner, from, start, end);
    leave(f);
    return result;
}

static int pool_map(fs_file *file, size_t size, bool writable, void **out)
{
    pooled *f = of(file);
    int result = enter(f);
    if (result != 0)
        return result;
    result = f->inner->owner->ops->map(f->inner, size, writable, out);
    leave(f);
    if (result == 0) { /* the mapping is all that is needed now */
        mutex_lock(&f->pool->pool_mu);
        if (put_to_rest(f->pool, f))
            cond_broadcast(&f->pool->freed);
        mutex_unlock(&f->pool->pool_mu);
    }
    return result;
}

static void pool_unmap(fs_file *file, void *address, size_t size)
{
    fs_unmap(of(file)->inner, address, size);
}

static int pool_populate(fs_file *file, void *address, size_t size, bool write)
{
    fs_file *inner = of(file)->inner;
    return inner->owner->ops->populate(inner, address, size, write);
}

static void pool_advise(fs_file *file, void *address, size_t size, fs_advice advice)
{
    fs_advise(of(file)->inner, address, size, advice);
}

static void pool_read_ahead(fs_file *file, uint64_t offset, size_t size)
{
    pooled *f = of(file);
    if (!f->inner->owner->ops->read_ahead || enter(f) != 0)
        return;
    fs_read_ahead(f->inner, offset, size);
    leave(f);
}

static void pool_close(fs_file *file)
{
    pooled *f = of(file);
    fs_pool *p = f->pool;
    mutex_lock(&p->pool_mu);
    if (is_open(f))
        ring_remove(p, f);
    cond_broadcast(&p->freed);
    void *kept = f->kept;
    size_t kept_bytes = f->kept_bytes;
    mutex_unlock(&p->pool_mu);
    if (kept)
        fs_unmap(f->inner, kept, kept_bytes);
    fs_close(f->inner);
    heap_free(f);
}

static const fs_ops pool_ops = {
    .close = pool_close,
    .pread = pool_pread,
    .size = pool_size,
    .next_data = pool_next_data,
    .map = pool_map,
    .unmap = pool_unmap,
    .populate = pool_populate,
    .advise = pool_advise,
    .read_ahead = pool_read_ahead,
};

/* ---- Opening ---- */

int fs_pool_open(fs_pool *p, fs_dir *dir, const char *name, bool keeps, fs_file **out,
                 firn_error *err)
{
    pooled *f = heap_zalloc(sizeof *f);
    if (!f)
        return error_no_memory(err);
    firn_error why;
    patience wait = {0};
    error_clear(&why);
    mutex_lock(&p->pool_mu);
    int rc;
    do {
        make_room(p, NULL, &wait);
        rc = fs_open(dir, name, FS_READ | FS_SCATTERED, &f->inner, &why);
    } while (rc != FIRN_OK && is_lack(-why.sys_errno) && rest_one(p));
    if (rc == FIRN_OK) {
        f->base.owner = &p->base;
        memcpy(f->base.path, f->inner->path, sizeof f->base.path);
        memcpy(f->name, name,
               strlen(name) + 1); /* no longer than FS_NAME_MAX, or it would not be open */
        f->pool = p;
        f->dir = dir;
        f->keeps = keeps;
        atomic_init(&f->state, OPEN);
        atomic_init(&f->touched, true);
        ring_insert(p, f);
        *out = &f->base;
    }
    mutex_unlock(&p->pool_mu);
    patience_end(&wait);
    if (rc != FIRN_OK)
        heap_free(f);
    return error_give(err, rc, &why);
}

unsigned fs_pool_limit(fs *f)
{
    uint64_t all = fs_descriptor_limit(f);
    uint64_t share = all / FS_POOL_SHARE;
    if (share < FS_POOL_MIN)
        share = FS_POOL_MIN;
    return share < UINT_MAX ? (unsigned)share : UINT_MAX;
}

int fs_pool_new(fs *f, unsigned limit, fs_pool **out)
{
    assert(limit > 0);
    fs_pool *p = heap_zalloc(sizeof *p);
    if (!p)
        return FIRN_NO_MEMORY;
    p->base.ops = &pool_ops;
    p->under = f;
    p->limit = limit;
    mutex_init(&p->pool_mu);
    cond_init(&p->freed);
    *out = p;
    return FIRN_OK;
}

void fs_pool_watch(fs_pool *p, wait_list *w)
{
    p->waits = w;
}

void fs_pool_free(fs_pool *p)
{
    if (!p)
        return;
    mutex_not_shared(&p->pool_mu);
    assert(p->open == 0);
    cond_release(&p->freed);
    mutex_release(&p->pool_mu);
    heap_free(p);
}

unsigned fs_pool_open_now(fs_pool *p)
{
    mutex_lock(&p->pool_mu);
    unsigned n = p->open;
    mutex_unlock(&p->pool_mu);
    return n;
}
