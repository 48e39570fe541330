/* linear: see linear.h. */
#include "linear.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- One call ---- */

static bool holds(const linear_part *p, uint16_t value)
{
    if (p->condition == LINEAR_NO_CONDITION)
        return true;
    return p->condition == LINEAR_IF_PRESENT ? value != 0 : value == p->wanted;
}

bool linear_step(linear_map *map, const linear_op *op)
{
    bool all_hold = true;
    for (size_t k = 0; k < LINEAR_KEYS; k++) {
        const linear_part *p = &op->parts[k];
        if (p->reads && map->values[k] != p->read)
            return false;
        all_hold = all_hold && holds(p, map->values[k]);
    }
    if (all_hold == op->conflict)
        return false;
    for (size_t k = 0; k < LINEAR_KEYS && all_hold; k++)
        if (op->parts[k].writes)
            map->values[k] = op->parts[k].written;
    return true;
}

/* ---- What the search has been at: the calls that are done, and the map behind them ---- */

typedef struct place {
    uint64_t done; /* one bit a call */
    linear_map map;
} place;

typedef struct memory {
    place *places; /* `done` 0: free. No place is kept where no call is done */
    size_t count, capacity;
} memory;

static uint64_t hash_of(const place *p)
{
    uint64_t map = 0;
    memcpy(&map, &p->map, sizeof p->map);
    uint64_t x = (p->done ^ map * UINT64_C(0x9e3779b97f4a7c15)) * UINT64_C(0xbf58476d1ce4e5b9);
    return x ^ x >> 32;
}

/* Where it is, or the free place where it belongs. */
static place *find(const memory *m, const place *p)
{
    size_t at = hash_of(p) & (m->capacity - 1);
    while (m->places[at].done && memcmp(&m->places[at], p, sizeof *p) != 0)
        at = (at + 1) & (m->capacity - 1);
    return &m->places[at];
}

static void grow(memory *m)
{
    memory larger = {.count = m->count, .capacity = m->capacity ? m->capacity * 2 : 256};
    larger.places = calloc(larger.capacity, sizeof *larger.places);
    if (!larger.places)
        abort();
    for (size_t i = 0; i < m->capacity; i++)
        if (m->places[i].done)
            *find(&larger, &m->places[i]) = m->places[i];
    free(m->places);
    *m = larger;
}

/* False: the search has been there. */
static bool is_new(memory *m, const place *p)
{
    if (m->count * 2 >= m->capacity)
        grow(m);
    place *at = find(m, p);
    if (at->done)
        return false;
    *at = *p;
    m->count++;
    return true;
}

/* ---- The search ---- */

/* A call may be next that began before any of those that are not done has returned. */
static uint64_t next_return(const linear_op *ops, size_t count, uint64_t done)
{
    uint64_t first = UINT64_MAX;
    for (size_t i = 0; i < count; i++)
        if (!(done >> i & 1) && ops[i].returned < first)
            first = ops[i].returned;
    return first;
}

/* From call *at on, one that may be next and leads to a new place. */
static bool find_next(const linear_op *ops, size_t count, const place *here, size_t *at,
                      memory *seen, place *next)
{
    uint64_t limit = next_return(ops, count, here->done);
    for (; *at < count; ++*at) {
        *next = *here;
        if (here->done >> *at & 1 || ops[*at].invoked > limit)
            continue;
        next->done |= UINT64_C(1) << *at;
        if (linear_step(&next->map, &ops[*at]) && is_new(seen, next))
            return true;
    }
    return false;
}

bool linear_check(linear_map first, const linear_op *ops, size_t count, size_t *longest)
{
    place way[LINEAR_OPS + 1] = {{.map = first}};
    size_t tried[LINEAR_OPS + 1] = {0}; /* of each place on the way: the call to try next */
    size_t depth = 0, best = 0;
    memory seen = {0};
    bool lost = count > LINEAR_OPS;
    while (!lost && depth < count) {
        if (find_next(ops, count, &way[depth], &tried[depth], &seen, &way[depth + 1])) {
            tried[depth]++;
            tried[++depth] = 0;
            best = depth > best ? depth : best;
        } else if (depth == 0) {
            lost = true;
        } else {
            depth--;
        }
    }
    free(seen.places);
    if (longest)
        *longest = best;
    return !lost;
}

/* ---- Text ---- */

static void print_part(char *out, size_t size, size_t *used, char key, const linear_part *p)
{
    char text[80];
    int n = 0;
    if (p->condition == LINEAR_IF_PRESENT)
        n += snprintf(text + n, sizeof text - (size_t)n, " %c?*", key);
    if (p->condition == LINEAR_IF_VALUE)
        n += snprintf(text + n, sizeof text - (size_t)n, " %c?%u", key, p->wanted);
    if (p->reads)
        n += snprintf(text + n, sizeof text - (size_t)n, " %c:%u", key, p->read);
    if (p->writes)
        n += snprintf(text + n, sizeof text - (size_t)n, " %c=%u", key, p->written);
    for (int i = 0; i < n && *used + 1 < size; i++)
        out[(*used)++] = text[i];
}

void linear_print(const linear_op *ops, size_t count, char *out, size_t size)
{
    size_t used = 0;
    out[0] = 0;
    for (size_t i = 0; i < count && used + 64 < size; i++) {
        used += (size_t)snprintf(out + used, size - used, "%llu-%llu",
                                 (unsigned long long)ops[i].invoked,
                                 (unsigned long long)ops[i].returned);
        for (size_t k = 0; k < LINEAR_KEYS; k++)
            print_part(out, size, &used, (char)('a' + k), &ops[i].parts[k]);
        for (const char *end = ops[i].conflict ? " !; " : "; "; *end && used + 1 < size; end++)
            out[used++] = *end;
        out[used] = 0;
    }
}

static void parse_part(const char *word, linear_op *op)
{
    linear_part *p = &op->parts[(size_t)(word[0] - 'a') % LINEAR_KEYS];
    uint16_t value = (uint16_t)strtoul(word + 2, NULL, 10);
    if (word[1] == '?') {
        p->condition = word[2] == '*' ? LINEAR_IF_PRESENT : LINEAR_IF_VALUE;
        p->wanted = value;
    } else if (word[1] == ':') {
        p->reads = true;
        p->read = value;
    } else {
        p->writes = true;
        p->written = value;
    }
}

size_t linear_parse(const char *text, linear_op ops[LINEAR_OPS])
{
    size_t count = 0;
    while (count < LINEAR_OPS) {
        linear_op op = {0};
        char *end = NULL;
        op.invoked = strtoull(text, &end, 10);
        if (end == text)
            break;
        text = end + 1;
        op.returned = strtoull(text, &end, 10);
        text = end;
        while (*text && *text != ';') {
            text += strspn(text, " ");
            if (*text == '!')
                op.conflict = true;
            else if (*text && *text != ';')
                parse_part(text, &op);
            text += strcspn(text, " ;");
        }
        text += *text == ';';
        ops[count++] = op;
    }
    return count;
}
