/* simfs_map: mappings of files on the simulated tree; what is stored into one is announced (S5, S7 in simfs.h). */
#include "simfs_inside.h"
#include <errno.h>

static int do_map(simfs *s, sim_file *f, size_t size, bool writable, void **out)
{
    sim_node *n = f->node;
    if (writable && !f->writable)
        return -EACCES;
    /* The real call allows a mapping that reaches behind the file's last page, and kills the
     * process at the first access there. Here such a mistake shows at once. */
    if (size == 0 || size > (n->size + 4095) / 4096 * 4096)
        return -EINVAL;
    sim_node_reserve(n, size);
    if (size > n->touched)
        n->touched = size;
    n->maps++;
    n->holds++;
    s->open_count++;
    *out = n->data;
    return 0;
}

int sim_map(fs_file *file, size_t size, bool writable, void **out)
{
    simfs *s = sim_of(file->owner);
    sim_verdict v = sim_enter(s, SIMFS_MAP, sim_file_name(file));
    return (int)sim_leave(s, v,
                          v.error ? -v.error : do_map(s, sim_file_of(file), size, writable, out));
}

void sim_unmap(fs_file *file, void *address, size_t size)
{
    simfs *s = sim_of(file->owner);
    sim_node *n = sim_file_of(file)->node;
    mutex_lock(&s->lock);
    if (address != n->data || n->maps == 0 || size > n->room)
        sim_die("%s: unmapped what was not mapped", file->path);
    n->maps--;
    n->holds--;
    s->open_count--;
    mutex_unlock(&s->lock);
}

int sim_populate(fs_file *file, void *address, size_t size, bool write)
{
    simfs *s = sim_of(file->owner);
    sim_node *n = sim_file_of(file)->node;
    sim_verdict v = sim_enter(s, SIMFS_POPULATE, sim_file_name(file));
    if (v.error)
        return (int)sim_leave(s, v, -v.error);
    const uint8_t *p = address;
    if (n->maps == 0 || p < n->data || size > n->room - (size_t)(p - n->data))
        sim_die("%s: populated what is not mapped", file->path);
    uint64_t end = (uint64_t)(p - n->data) + size;
    if (end > n->size)
        end = n->size;
    uint64_t before = n->charged;
    if (write && sim_charge(s, n, end) < end) {
        sim_uncharge(s, n, before);
        return (int)sim_leave(s, v, -ENOSPC);
    }
    return (int)sim_leave(s, v, 0);
}

void sim_stored(fs_file *file, uint64_t offset, size_t size)
{
    simfs *s = sim_of(file->owner);
    const sim_node *n = sim_file_of(file)->node;
    mutex_lock(&s->lock);
    if (n->maps == 0 || offset > n->size || size > n->size - offset)
        sim_die("%s: announced a store of %zu bytes at %llu, outside of the file or without a "
                "mapping",
                file->path, size, (unsigned long long)offset);
    sim_note_bytes(s, SIM_OP_STORED, n, offset, size);
    mutex_unlock(&s->lock);
}
