/* recycler: segments on their way from one use to the next (<segments/recycler.h>; README.md,
 * W7). */
#include <segments/recycler.h>

#include <assert.h>
#include <base/alloc.h>
#include <string.h>

int wal_recycler_new(wal_recycler **out)
{
    wal_recycler *r = heap_zalloc(sizeof *r);
    if (!r)
        return FIRN_NO_MEMORY;
    atomic_init(&r->refs, 1);
    mutex_init(&r->recycler_mu);
    *out = r;
    return FIRN_OK;
}

void wal_recycler_unref(wal_recycler *r)
{
    if (!r || atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) != 1)
        return;
    mutex_release(&r->recycler_mu);
    heap_free(r);
}

/* Its place among those that are on their way, or how many there are. */
static unsigned expected_at(wal_recycler *r, const wal_segment *s) REQUIRES(r->recycler_mu)
{
    unsigned i = 0;
    while (i < r->expected_count && r->expected[i] != s)
        i++;
    return i;
}

/* False: it was not expected (any more). */
static bool take_out(wal_recycler *r, const wal_segment *s) REQUIRES(r->recycler_mu)
{
    unsigned i = expected_at(r, s);
    if (i == r->expected_count)
        return false;
    r->expected_count--;
    memmove(r->expected + i, r->expected + i + 1, (r->expected_count - i) * sizeof r->expected[0]);
    return true;
}

/* Of a segment that will not be used again: the descriptor goes once only its bytes are held. */
static void let_rest(wal_recycler *r, wal_segment *s) REQUIRES(r->recycler_mu)
{
    (void)r;
    if (s->rests || atomic_load_explicit(&s->files, memory_order_acquire) != 0)
        return;
    s->rests = true;
    fs_rest(s->file);
}

void wal_recycler_let_rest(wal_recycler *r, wal_segment *s)
{
    mutex_lock(&r->recycler_mu);
    if (expected_at(r, s) == r->expected_count)
        let_rest(r, s);
    mutex_unlock(&r->recycler_mu);
}

bool wal_recycler_take(wal_recycler *r, wal_segment *s)
{
    if (!s->mapped && s->base)
        pages_clear(s->base, (size_t)s->base_bytes); /* no memtable is charged for them any more */
    mutex_lock(&r->recycler_mu);
    bool wanted = take_out(r, s) && !r->closed;
    if (wanted) {
        assert(r->count < WAL_SPARES_MAX);
        r->spares[r->count++] = s;
    }
    mutex_unlock(&r->recycler_mu);
    return wanted;
}

bool wal_recycler_expect(wal_recycler *r, wal_segment *s, uint64_t *given_up)
{
    *given_up = 0;
    mutex_lock(&r->recycler_mu);
    bool wanted = !r->closed && r->count < WAL_SPARES_MAX;
    if (wanted && r->count + r->expected_count == WAL_SPARES_MAX) {
        wal_segment *oldest = r->expected[0];
        *given_up = oldest->no;
        (void)take_out(r, oldest);
        let_rest(r, oldest); /* the holder of it waits for this lock before it goes */
    }
    if (wanted)
        r->expected[r->expected_count++] = s;
    mutex_unlock(&r->recycler_mu);
    return wanted;
}

void wal_recycler_forget(wal_recycler *r, const wal_segment *s)
{
    mutex_lock(&r->recycler_mu);
    (void)take_out(r, s);
    mutex_unlock(&r->recycler_mu);
}

wal_segment *wal_recycler_pop(wal_recycler *r)
{
    mutex_lock(&r->recycler_mu);
    wal_segment *s = r->count > 0 ? r->spares[--r->count] : NULL;
    mutex_unlock(&r->recycler_mu);
    return s;
}

unsigned wal_recycler_count(wal_recycler *r)
{
    mutex_lock(&r->recycler_mu);
    unsigned count = r->count + r->expected_count;
    mutex_unlock(&r->recycler_mu);
    return count;
}

unsigned wal_recycler_close(wal_recycler *r, uint64_t nos[WAL_SPARES_MAX])
{
    unsigned count = 0;
    mutex_lock(&r->recycler_mu);
    r->closed = true;
    for (unsigned i = 0; i < r->expected_count; i++)
        nos[count++] = r->expected[i]->no;
    for (unsigned i = 0; i < r->count; i++) {
        nos[count++] = r->spares[i]->no;
        wal_segment_free(r->spares[i]);
    }
    r->count = 0;
    mutex_unlock(&r->recycler_mu);
    return count;
}
