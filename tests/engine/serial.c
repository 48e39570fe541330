/* serial: see serial.h. */
#include "serial.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* A write, in the order of keys and then of numbers. */
typedef struct written {
    serial_version v;
    uint64_t seq;
    size_t by;
} written;

typedef struct edge {
    size_t from, to;
} edge;

typedef struct graph {
    const serial_txn *txns;
    size_t count;
    written *writes;
    size_t write_count;
    edge *edges;
    size_t edge_count;
    char *why;
    size_t why_size;
} graph;

static int by_key_and_number(const void *a, const void *b)
{
    const written *x = a, *y = b;
    if (x->v.key != y->v.key)
        return x->v.key < y->v.key ? -1 : 1;
    return x->seq < y->seq ? -1 : x->seq > y->seq;
}

static int by_end(const void *a, const void *b)
{
    const edge *x = a, *y = b;
    return x->to < y->to ? -1 : x->to > y->to;
}

static void add_edge(graph *g, size_t from, size_t to)
{
    if (from != to)
        g->edges[g->edge_count++] = (edge){from, to};
}

static size_t first_of_key(const graph *g, uint32_t key)
{
    size_t low = 0, high = g->write_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (g->writes[middle].v.key < key)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool same_key(const graph *g, size_t at, uint32_t key)
{
    return at < g->write_count && g->writes[at].v.key == key;
}

static bool add_writes(graph *g)
{
    for (size_t i = 0; i < g->count; i++)
        for (size_t w = 0; w < g->txns[i].write_count; w++)
            g->writes[g->write_count++] = (written){g->txns[i].writes[w], g->txns[i].seq, i};
    qsort(g->writes, g->write_count, sizeof *g->writes, by_key_and_number);
    for (size_t i = 1; i < g->write_count; i++) {
        const written *w = &g->writes[i];
        if (w->v.key != w[-1].v.key)
            continue;
        if (w->seq == w[-1].seq) {
            snprintf(g->why, g->why_size, "key %" PRIu32 " has two versions with number %" PRIu64,
                     w->v.key, w->seq);
            return false;
        }
        add_edge(g, w[-1].by, w->by);
    }
    return true;
}

static bool add_read(graph *g, size_t by, serial_version v)
{
    size_t next = first_of_key(g, v.key);
    if (v.version) {
        while (same_key(g, next, v.key) && g->writes[next].v.version != v.version)
            next++;
        if (!same_key(g, next, v.key)) {
            snprintf(g->why, g->why_size,
                     "transaction %zu has read version %" PRIu64 " of key %" PRIu32
                     ", which none has committed",
                     by, v.version, v.key);
            return false;
        }
        add_edge(g, g->writes[next++].by, by);
    }
    if (same_key(g, next, v.key))
        add_edge(g, by, g->writes[next].by);
    return true;
}

/* Takes away what nothing comes before, until nothing is left; what is left comes, going back, to a
 * transaction a second time. */
static bool has_order(graph *g)
{
    size_t *before = calloc(g->count + 1, sizeof *before); /* where each one's edges begin */
    size_t *left = calloc(g->count + 1, sizeof *left);
    bool *gone = calloc(g->count + 1, sizeof *gone);
    if (!before || !left || !gone)
        abort();
    qsort(g->edges, g->edge_count, sizeof *g->edges, by_end);
    for (size_t i = g->edge_count; i > 0; i--)
        before[g->edges[i - 1].to] = i - 1;
    for (size_t i = 0; i < g->edge_count; i++)
        left[g->edges[i].to]++;
    size_t remaining = g->count;
    for (bool found = true; found;) {
        found = false;
        for (size_t i = 0; i < g->count; i++) {
            if (gone[i])
                continue;
            size_t e = before[i], end = before[i] + left[i];
            while (e < end && gone[g->edges[e].from])
                e++;
            if (e < end)
                continue;
            gone[i] = found = true;
            remaining--;
        }
    }
    if (remaining) {
        size_t at = 0, n = 0;
        while (gone[at])
            at++;
        for (size_t step = 0; step < 2 * g->count + 12; step++) {
            if (step >= 2 * g->count && n + 32 < g->why_size)
                n += (size_t)snprintf(g->why + n, g->why_size - n, "%s%zu",
                                      n ? " behind " : "these come before themselves: ", at);
            size_t e = before[at];
            while (gone[g->edges[e].from])
                e++;
            at = g->edges[e].from;
        }
    }
    free(before);
    free(left);
    free(gone);
    return remaining == 0;
}

bool serial_check(const serial_txn *txns, size_t count, char *why, size_t size)
{
    graph g = {.txns = txns, .count = count, .why = why, .why_size = size};
    size_t writes = 0, reads = 0;
    for (size_t i = 0; i < count; i++) {
        writes += txns[i].write_count;
        reads += txns[i].read_count;
    }
    g.writes = calloc(writes + 1, sizeof *g.writes);
    g.edges = calloc(writes + 2 * reads + 1, sizeof *g.edges);
    if (!g.writes || !g.edges)
        abort();
    bool right = add_writes(&g);
    for (size_t i = 0; right && i < count; i++)
        for (size_t r = 0; right && r < txns[i].read_count; r++)
            right = add_read(&g, i, txns[i].reads[r]);
    if (right)
        right = has_order(&g);
    free(g.writes);
    free(g.edges);
    return right;
}
