/* simfs_limit: descriptors and memory of the simulated process; files that rest (base/fs.h). */
#include "simfs_inside.h"
#include <errno.h>

int sim_descriptor_take(simfs *s)
{
    if (s->descriptors >= s->descriptor_limit)
        return -EMFILE;
    if (++s->descriptors > s->descriptors_most)
        s->descriptors_most = s->descriptors;
    return 0;
}

int sim_rest(fs_file *file)
{
    simfs *s = sim_of(file->owner);
    sim_file *f = sim_file_of(file);
    int rc = 0;
    mutex_lock(&s->lock);
    if (f->rests)
        sim_die("%s: rests already", file->path);
    if (f->node->locked_by == f)
        rc = -EBUSY;
    if (rc == 0) {
        f->rests = true;
        f->size_at_rest = f->node->size;
        s->descriptors--;
    }
    mutex_unlock(&s->lock);
    return rc;
}

static int do_resume(simfs *s, const sim_node *dir, const char *name, sim_file *f)
{
    const sim_node *n = sim_find(dir, name);
    if (!f->rests)
        sim_die("%s: does not rest", f->pub.path);
    if (!n)
        return -ENOENT;
    /* The node stays while the handle does, so that nothing else is taken for it. */
    if (n != f->node || n->size != f->size_at_rest)
        return -ESTALE;
    int rc = sim_descriptor_take(s);
    if (rc == 0)
        f->rests = false;
    return rc;
}

int sim_resume(fs_dir *dir, const char *name, fs_file *file)
{
    simfs *s = sim_of(dir->owner);
    sim_verdict v = sim_enter(s, SIMFS_OPEN, name);
    return (int)sim_leave(
        s, v, v.error ? -v.error : do_resume(s, ((sim_dir *)dir)->node, name, sim_file_of(file)));
}

void sim_read_ahead(fs_file *file, uint64_t offset, size_t size)
{
    simfs *s = sim_of(file->owner);
    mutex_lock(&s->lock);
    if (sim_file_of(file)->rests)
        sim_die("%s: rests", file->path);
    (void)offset;
    s->read_ahead += size;
    mutex_unlock(&s->lock);
}

/* Nothing is durable by it. */
void sim_write_out(fs_file *file, uint64_t offset, size_t size)
{
    simfs *s = sim_of(file->owner);
    mutex_lock(&s->lock);
    if (sim_file_of(file)->rests)
        sim_die("%s: rests", file->path);
    if (offset + size > sim_file_of(file)->node->size)
        sim_die("%s: nothing was written there", file->path);
    s->write_out += size;
    mutex_unlock(&s->lock);
}

uint64_t sim_descriptor_limit(fs *f)
{
    simfs *s = sim_of(f);
    mutex_lock(&s->lock);
    uint64_t limit = s->descriptor_limit;
    mutex_unlock(&s->lock);
    return limit;
}

uint64_t sim_memory_limit(fs *f)
{
    simfs *s = sim_of(f);
    mutex_lock(&s->lock);
    uint64_t limit = s->memory_limit;
    mutex_unlock(&s->lock);
    return limit;
}

void simfs_descriptor_limit(simfs *sim, uint64_t limit)
{
    mutex_lock(&sim->lock);
    sim->descriptor_limit = limit;
    mutex_unlock(&sim->lock);
}

uint64_t simfs_descriptors_most(simfs *sim)
{
    mutex_lock(&sim->lock);
    uint64_t most = sim->descriptors_most;
    sim->descriptors_most = sim->descriptors;
    mutex_unlock(&sim->lock);
    return most;
}

void simfs_memory_limit(simfs *sim, uint64_t bytes)
{
    mutex_lock(&sim->lock);
    sim->memory_limit = bytes;
    mutex_unlock(&sim->lock);
}

uint64_t simfs_read_ahead(simfs *sim)
{
    mutex_lock(&sim->lock);
    uint64_t bytes = sim->read_ahead;
    mutex_unlock(&sim->lock);
    return bytes;
}

uint64_t simfs_write_out(simfs *sim)
{
    mutex_lock(&sim->lock);
    uint64_t bytes = sim->write_out;
    mutex_unlock(&sim->lock);
    return bytes;
}
