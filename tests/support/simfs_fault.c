/* simfs_fault: counting calls, failing them, and the size of the disk. Every call of simfs_ops.c
 * begins with sim_enter and ends with sim_leave.
 */
#include "simfs_inside.h"
#include <assert.h>
#include <errno.h>
#include <string.h>

static unsigned call_bit(unsigned call)
{
    return (unsigned)__builtin_ctz(call);
}

const char *simfs_call_name(unsigned call)
{
    static const char *const names[SIMFS_CALLS] = {
        "dir_open", "dir_make", "dir_open_in", "dir_sync",       "dir_list", "dir_space",
        "rename",   "unlink",   "link",        "open",           "create",   "pread",
        "pwrite",   "sync",     "size",        "truncate",       "allocate", "map",
        "populate", "lock",     "random",      "pwrite_durable", "dir_lock", "dir_named",
        "named",    "look",     "move",        "dir_remove",
    };
    return call & SIMFS_ANY ? names[call_bit(call & SIMFS_ANY)] : "none";
}

/* The verdict of one armed fault; forgets it when it was for once. */
static bool fault_strikes(simfs *s, simfs_fault *f, unsigned call, const char *name)
{
    if (!(f->calls & call) || (f->name && (!name || strcmp(f->name, name) != 0)))
        return false;
    if (f->error == SIMFS_SHORT && !(call & SIMFS_TRANSFERS))
        return false;
    if (f->at > 1) {
        f->at--;
        return false;
    }
    if (!f->forever)
        f->calls = 0;
    else if (f->error == EINTR)
        f->at = 2; /* every other call: who repeats it makes progress */
    s->faults_hit++;
    return true;
}

sim_verdict sim_enter(simfs *s, unsigned call, const char *name)
{
    mutex_lock(&s->lock);
    s->call_count[call_bit(call)]++;
    uint64_t index = ++s->calls_total;
    simfs_hook hook = s->hook;
    void *ctx = s->hook_ctx;
    sim_verdict v = {0};
    for (unsigned i = 0; i < s->fault_count; i++) {
        simfs_fault *f = &s->faults[i];
        int error = f->error;
        bool after = f->after;
        if (!fault_strikes(s, f, call, name))
            continue;
        if (error == SIMFS_SHORT) {
            v.half = true;
        } else {
            v.error = error;
            v.after = after;
        }
    }
    if (hook) {
        /* The hook may ask or change the simulator, so it runs without the lock. */
        mutex_unlock(&s->lock);
        int error = hook(ctx, call, index, name);
        mutex_lock(&s->lock);
        if (error)
            v = (sim_verdict){.error = error};
    }
    return v;
}

ssize_t sim_leave(simfs *s, sim_verdict v, ssize_t result)
{
    mutex_unlock(&s->lock);
    return v.after && result >= 0 ? -v.error : result;
}

uint64_t simfs_calls(simfs *s, unsigned calls)
{
    uint64_t sum = 0;
    mutex_lock(&s->lock);
    for (unsigned i = 0; i < SIMFS_CALLS; i++) {
        if (calls & 1u << i)
            sum += s->call_count[i];
    }
    mutex_unlock(&s->lock);
    return sum;
}

void simfs_fail(simfs *s, simfs_fault fault)
{
    assert(fault.at > 0 && fault.error != 0);
    mutex_lock(&s->lock);
    unsigned slot = 0;
    while (slot < s->fault_count && s->faults[slot].calls != 0)
        slot++;
    if (slot == SIMFS_FAULTS)
        sim_die("more than %d faults at a time", SIMFS_FAULTS);
    s->faults[slot] = fault;
    if (slot == s->fault_count)
        s->fault_count++;
    mutex_unlock(&s->lock);
}

void simfs_heal(simfs *s)
{
    mutex_lock(&s->lock);
    s->fault_count = 0;
    mutex_unlock(&s->lock);
}

uint64_t simfs_faults_hit(simfs *s)
{
    mutex_lock(&s->lock);
    uint64_t n = s->faults_hit;
    mutex_unlock(&s->lock);
    return n;
}

void simfs_on_call(simfs *s, simfs_hook hook, void *ctx)
{
    mutex_lock(&s->lock);
    s->hook = hook;
    s->hook_ctx = ctx;
    mutex_unlock(&s->lock);
}

/* ---- The size of the disk ---- */

uint64_t sim_charge(simfs *s, sim_node *n, uint64_t end)
{
    if (end <= n->charged)
        return end;
    uint64_t left = s->used < s->capacity ? s->capacity - s->used : 0;
    uint64_t want = end - n->charged;
    uint64_t got = want < left ? want : left;
    n->charged += got;
    s->used += got;
    return n->charged;
}

void sim_uncharge(simfs *s, sim_node *n, uint64_t end)
{
    if (end >= n->charged)
        return;
    s->used -= n->charged - end;
    n->charged = end;
}

void simfs_capacity(simfs *s, uint64_t bytes)
{
    mutex_lock(&s->lock);
    s->capacity = bytes;
    mutex_unlock(&s->lock);
}

uint64_t simfs_used(simfs *s)
{
    mutex_lock(&s->lock);
    uint64_t n = s->used;
    mutex_unlock(&s->lock);
    return n;
}

void simfs_mapping_ok(simfs *s, bool ok)
{
    mutex_lock(&s->lock);
    s->mapping_ok = ok;
    mutex_unlock(&s->lock);
}

void simfs_file_limit(simfs *s, uint64_t bytes)
{
    mutex_lock(&s->lock);
    s->file_limit = bytes;
    mutex_unlock(&s->lock);
}

void simfs_dir_locks(simfs *s, bool ok)
{
    mutex_lock(&s->lock);
    s->dir_locks = ok;
    mutex_unlock(&s->lock);
}

void simfs_advance(simfs *s, uint64_t us)
{
    mutex_lock(&s->lock);
    s->clock_us += us;
    mutex_unlock(&s->lock);
}
