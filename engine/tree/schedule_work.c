/* schedule_work: how a worker comes to its next job, what a job claims, in how many parts it is
 * done, and where its outputs end (schedule.h). */
#include <tree/schedule.h>

#include <base/alloc.h>
#include <base/slice.h>

#define PARTS_MOST  4
#define PART_TABLES 2 /* a part has the bytes of so many tables, or more */

static int next_job(const schedule_rules *r, const schedule_state *s, schedule_job *out)
{
    int rc = schedule_covered(s, out);
    return rc == FIRN_NOT_FOUND ? schedule_next(r, s, out) : rc;
}

int schedule_find(const schedule_rules *r, schedule_state *s, bool calm, schedule_job *out)
{
    s->whole = s->calm = false;
    int rc = next_job(r, s, out);
    if (rc != FIRN_NOT_FOUND && rc != FIRN_NO_SPACE)
        return rc;
    s->whole = true;
    s->calm = calm;
    return next_job(r, s, out);
}

void schedule_job_release(schedule_job *j)
{
    heap_free(j->inputs[0]);
    heap_free(j->inputs[1]);
    *j = (schedule_job){0};
}

claim schedule_claim(const schedule_job *j)
{
    return (claim){j->level, j->target, j->from, j->to};
}

bool schedule_overlaps(const claim *a, const claim *b)
{
    return a->level_from <= b->level_to && b->level_from <= a->level_to &&
           slice_compare(a->from, b->to) <= 0 && slice_compare(b->from, a->to) <= 0;
}

unsigned schedule_parts(const schedule_rules *r, const schedule_job *j, unsigned workers)
{
    uint64_t count = j->bytes_in / (r->table_bytes * PART_TABLES);
    if (workers < 2 || j->kind != JOB_MERGE || count < 2)
        return 1;
    return count < PARTS_MOST ? (unsigned)count : PARTS_MOST;
}

size_t schedule_reach(const schedule_rules *r, const level *below, size_t first)
{
    uint64_t most = r->table_bytes * SCHEDULE_OVERLAP, bytes = 0;
    for (size_t i = first; i < below->count; i++) {
        bytes += below->tables[i]->properties.file_bytes;
        if (i > first && bytes > most)
            return i;
    }
    return below->count;
}
