/* fragments: see fragments.h. */
#include <tree/fragments.h>
#include <tree/range_map.h>
#include <tree/resolve.h>

#include <base/alloc.h>
#include <base/grow.h>
#include <base/search.h>

#include <stdlib.h>

static bool ends_before(const void *list, size_t at, void *key)
{
    return slice_compare(((const fragment *)list)[at].end, *(const firn_slice *)key) <= 0;
}

/* The first fragment that does not end in front of the key. */
static size_t first_at(const fragments *f, firn_slice key)
{
    return search_first(f->list, 0, f->count, &key, ends_before);
}

static bool begins_behind(const fragments *f, size_t i, firn_slice key)
{
    return i == f->count || slice_compare(f->list[i].first, key) > 0;
}

uint64_t fragments_find(const fragments *f, firn_slice key, uint64_t seq_max)
{
    for (size_t i = first_at(f, key); !begins_behind(f, i, key); i++)
        if (f->list[i].seq <= seq_max)
            return f->list[i].seq;
    return 0;
}

void fragments_cover(const fragments *f, firn_slice key, uint64_t seq_max, cover *out)
{
    size_t i = first_at(f, key);
    *out = (cover){0};
    if (begins_behind(f, i, key)) {
        if (i > 0)
            out->from = f->list[i - 1].end;
        if (i < f->count)
            out->to = f->list[i].first;
        return;
    }
    out->from = f->list[i].first;
    out->to = f->list[i].end;
    out->seq = fragments_find(f, key, seq_max);
}

/* Of the numbers of one range, from `i` on, the greatest that is not above `most`. */
static uint64_t number_up_to(const fragments *f, size_t i, uint64_t most)
{
    firn_slice end = f->list[i].end;
    for (; i < f->count && slice_equal(f->list[i].end, end); i++)
        if (f->list[i].seq <= most)
            return f->list[i].seq;
    return 0;
}

bool fragments_cover_all(const fragments *f, firn_slice first, firn_slice last, bool open,
                         uint64_t above, uint64_t most)
{
    size_t i = first_at(f, first);
    /* Two searches answer for most; what is covered at both ends is looked at piece by piece. */
    if (begins_behind(f, i, first) || (!open && fragments_find(f, last, most) <= above))
        return false;
    for (firn_slice to = first; open ? slice_compare(to, last) < 0 : slice_compare(to, last) <= 0;
         i++) {
        if (i == f->count)
            return false;
        if (slice_compare(f->list[i].end, to) <= 0)
            continue; /* one more number of the last range */
        if (slice_compare(f->list[i].first, to) > 0 || number_up_to(f, i, most) <= above)
            return false;
        to = f->list[i].end;
    }
    return true;
}

bool cover_has(const cover *c, firn_slice key)
{
    int from = c->from.data ? slice_compare(c->from, key) : -1;
    int to = c->to.data ? slice_compare(key, c->to) : -1;
    return (from < 0 || (from == 0 && !c->from_open)) && (to < 0 || (to == 0 && c->to_closed));
}

void cover_meet(cover *c, const cover *with)
{
    int from = c->from.data && with->from.data ? slice_compare(c->from, with->from)
                                               : (c->from.data != NULL) - (with->from.data != NULL);
    int to = c->to.data && with->to.data ? slice_compare(with->to, c->to)
                                         : (c->to.data != NULL) - (with->to.data != NULL);
    c->from_open = from == 0  ? c->from_open || with->from_open
                   : from > 0 ? c->from_open
                              : with->from_open;
    c->to_closed = to == 0  ? c->to_closed && with->to_closed
                   : to > 0 ? c->to_closed
                            : with->to_closed;
    if (from < 0)
        c->from = with->from;
    if (to < 0)
        c->to = with->to;
    if (with->seq > c->seq)
        c->seq = with->seq;
}

/* ---- Lists ---- */

int fragment_list_add(fragment_list *l, fragment f)
{
    int rc = array_grow(&l->list, &l->capacity, l->count, sizeof f, NULL);
    if (rc == FIRN_OK)
        l->list[l->count++] = f;
    return rc;
}

void fragment_list_release(fragment_list *l)
{
    heap_free(l->list);
    *l = (fragment_list){0};
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = ((const fragment *)a)->seq, y = ((const fragment *)b)->seq;
    return (x > y) - (x < y);
}

static int by_place(const void *a, const void *b)
{
    const fragment *x = a, *y = b;
    int c = slice_compare(x->first, y->first);
    return c ? c : -by_number(a, b);
}

static int by_key(const void *a, const void *b)
{
    return slice_compare(*(const firn_slice *)a, *(const firn_slice *)b);
}

/* A map whose roots are what new readers and those of each snapshot see. */
static int map_of(const fragment_list *l, const uint64_t *snapshots, size_t count, range_map *m)
{
    int rc = FIRN_OK;
    size_t at = 0;
    for (size_t i = 0; rc == FIRN_OK && i <= count; i++) {
        uint64_t most = i < count ? snapshots[i] : FIRN_MAX_SEQ;
        size_t end = at;
        while (end < l->count && l->list[end].seq <= most)
            end++;
        if (end == at)
            continue;
        rc = range_map_reserve(m, end - at);
        for (; rc == FIRN_OK && at < end; at++)
            range_map_add(m, l->list[at].first, l->list[at].end, l->list[at].seq);
        if (rc == FIRN_OK)
            range_map_publish(m, most);
    }
    return rc;
}

/* Cuts pieces at each other's bounds, which makes them disjoint or the same. */
static int cut_all(const fragment_list *from, fragment_list *out)
{
    int rc = FIRN_OK;
    firn_slice *cuts = heap_alloc((2 * from->count + 1) * sizeof *cuts);
    size_t count = 0, unique = 0;
    if (!cuts)
        return FIRN_NO_MEMORY;
    for (size_t i = 0; i < from->count; i++) {
        cuts[count++] = from->list[i].first;
        cuts[count++] = from->list[i].end;
    }
    qsort(cuts, count, sizeof *cuts, by_key);
    for (size_t i = 0; i < count; i++)
        if (unique == 0 || slice_compare(cuts[unique - 1], cuts[i]) != 0)
            cuts[unique++] = cuts[i];
    for (size_t i = 0; rc == FIRN_OK && i < from->count; i++) {
        const fragment *f = &from->list[i];
        const firn_slice *c = bsearch(&f->first, cuts, unique, sizeof *cuts, by_key);
        /* Another process may have changed the bounds, which then lead nowhere. */
        for (; rc == FIRN_OK && c && c + 1 < cuts + unique && slice_compare(*c, f->end) < 0; c++)
            rc = fragment_list_add(out, (fragment){c[0], c[1], f->seq});
    }
    heap_free(cuts);
    return rc;
}

/* The numbers of one range: from `i` on, how many. */
static size_t numbers_at(const fragment_list *l, size_t i)
{
    size_t n = 1;
    while (i + n < l->count && slice_equal(l->list[i + n].first, l->list[i].first))
        n++;
    return n;
}

/* Neighbours with the same numbers become one. */
static void join_neighbours(fragment_list *l)
{
    size_t kept = 0, last = 0, last_count = 0; /* the range that was kept last */
    for (size_t i = 0, n; i < l->count; i += n) {
        n = numbers_at(l, i);
        bool same = last_count == n && slice_equal(l->list[last].end, l->list[i].first);
        for (size_t j = 0; same && j < n; j++)
            same = l->list[last + j].seq == l->list[i + j].seq;
        if (same) {
            firn_slice end = l->list[i].end;
            for (size_t j = 0; j < n; j++)
                l->list[last + j].end = end;
            continue;
        }
        last = kept;
        last_count = n;
        for (size_t j = 0; j < n; j++)
            l->list[kept++] = l->list[i + j];
    }
    l->count = kept;
}

int fragments_settle(fragment_list *l, const uint64_t *snapshots, size_t count)
{
    range_map m = {0};
    fragment_list pieces = {0}, out = {0};
    if (l->count == 0)
        return FIRN_OK;
    qsort(l->list, l->count, sizeof *l->list, by_number);
    int rc = map_of(l, snapshots, count, &m);
    if (rc == FIRN_OK)
        rc = range_map_list(&m, snapshots, count, &pieces);
    if (rc == FIRN_OK)
        rc = cut_all(&pieces, &out);
    if (rc == FIRN_OK) {
        if (out.count)
            qsort(out.list, out.count, sizeof *out.list, by_place);
        join_neighbours(&out);
        fragment_list_release(l);
        *l = out;
        out = (fragment_list){0};
    }
    fragment_list_release(&pieces);
    fragment_list_release(&out);
    range_map_release(&m);
    return rc;
}
