/* tree: see tree.h. */
#include "tree.h"

#include <base/slice.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TABLE_BYTES 1000.0 /* properties, footer, ends of blocks */

static void *need(void *memory)
{
    if (!memory)
        stop("no memory left");
    return memory;
}

static void need_ok(int rc, const firn_error *err)
{
    if (rc != FIRN_OK)
        stop("the tree cannot be changed: %s", err && err->message[0] ? err->message : "no memory");
}

void tree_init(sim_tree *t, const settings *s, const schedule_rules *rules)
{
    *t = (sim_tree){.settings = s, .rules = rules, .next_no = 1, .seq = 1};
    sizes_init(&t->sizes, s);
    keys_init(&t->keys, s, s->tree_bytes > 0);
    need_ok(version_new_empty(&t->version), NULL);
}

static content **slot(sim_tree *t, uint64_t no)
{
    if (no >= t->contents_count) {
        uint64_t wanted = no * 2 + 1024;
        t->contents = need(realloc(t->contents, wanted * sizeof *t->contents));
        memset(t->contents + t->contents_count, 0,
               (wanted - t->contents_count) * sizeof *t->contents);
        t->contents_count = wanted;
    }
    return &t->contents[no];
}

void tree_release(sim_tree *t)
{
    for (unsigned n = 0; n < FIRN_LEVELS; n++) {
        level *l = &t->version->levels[n];
        for (size_t i = 0; i < l->count; i++)
            table_unref(l->tables[i]);
        free(l->tables);
    }
    version_unref(t->version);
    for (uint64_t i = 0; i < t->contents_count; i++)
        free(t->contents[i]);
    free(t->contents);
}

const content *tree_content(const sim_tree *t, const table *x)
{
    return t->contents[x->no];
}

/* The numbers lie behind the struct. */
static content *content_new(const sim_tree *t, const counts *c)
{
    unsigned classes = t->keys.classes;
    content *made = need(malloc(sizeof *made + classes * KINDS * sizeof *made->of));
    made->of = (double *)(void *)(made + 1);
    memcpy(made->of, c->of, classes * KINDS * sizeof *made->of);
    return made;
}

static void place_key(uint64_t place, uint8_t key[8])
{
    for (unsigned i = 0; i < 8; i++)
        key[i] = (uint8_t)(place >> (56 - 8 * i));
}

/* Its properties follow from what it holds. */
static table *make_table(sim_tree *t, unsigned lvl, const content *about, const counts *c)
{
    uint8_t low[8], high[8];
    const settings *s = t->settings;
    double all = counts_entries(c, t->keys.classes), deleted = counts_deleted(c, t->keys.classes);
    merging measure = {
        .keys = &t->keys, .sizes = &t->sizes, .packed = lvl >= t->rules->plain_levels};
    sst_properties p = {.entries = (uint64_t)fmax(1, round(all)),
                        .deletes = (uint64_t)round(deleted),
                        .seq_min = about->seq_min,
                        .seq_max = about->seq_max,
                        .created_us = t->now_us};
    place_key(about->low, low);
    place_key(about->high, high);
    p.deletes = p.deletes > p.entries ? p.entries : p.deletes;
    p.key_min = (firn_slice){low, sizeof low};
    p.key_max = (firn_slice){high, sizeof high};
    p.data_bytes = (uint64_t)content_bytes(&measure, about->low, about->high, c);
    p.file_bytes = p.data_bytes + (uint64_t)TABLE_BYTES;
    p.raw_bytes = (uint64_t)(all * s->key_bytes + (all - deleted) * s->value_bytes);
    p.blocks = p.raw_bytes / 4096 + 1;
    table *made = NULL;
    need_ok(table_new(NULL, t->next_no++, &p, &made), NULL);
    content *kept = content_new(t, c);
    kept->low = about->low;
    kept->high = about->high;
    kept->seq_min = about->seq_min;
    kept->seq_max = about->seq_max;
    *slot(t, made->no) = kept;
    return made;
}

static void add_to(edit *e, unsigned lvl, table *made)
{
    need_ok(edit_add(e, lvl, made), NULL);
}

static bool is_added(const edit *e, const table *x)
{
    for (size_t i = 0; i < e->added_count; i++)
        if (e->added[i].table == x)
            return true;
    return false;
}

/* Where the table stands in its level; those of deeper levels are in order. */
static size_t find_table(const level *l, unsigned lvl, const table *x)
{
    size_t at = lvl == 0 ? 0 : level_find(l, x->properties.key_min);
    while (at < l->count && l->tables[at] != x)
        at++;
    if (at == l->count)
        stop("table %llu is dropped and is not there", (unsigned long long)x->no);
    return at;
}

/* Takes out the tables from the i-th dropped one on that stand side by side. Returns how many. */
static size_t drop_row(sim_tree *t, const edit *e, size_t i)
{
    unsigned lvl = e->dropped[i].level;
    level *l = &t->version->levels[lvl];
    size_t at = find_table(l, lvl, e->dropped[i].table), count = 0;
    while (i + count < e->dropped_count && at + count < l->count &&
           e->dropped[i + count].level == lvl &&
           l->tables[at + count] == e->dropped[i + count].table) {
        l->bytes -= l->tables[at + count]->properties.file_bytes;
        count++;
    }
    l->count -= count;
    memmove(l->tables + at, l->tables + at + count, (l->count - at) * sizeof *l->tables);
    return count;
}

/* Does the i-th added table stand behind the one before it, and in front of the table that is at `at`? */
static bool goes_on(const sim_tree *t, const edit *e, size_t i, size_t at)
{
    unsigned lvl = e->added[i].level;
    const level *l = &t->version->levels[lvl];
    const sst_properties *p = &e->added[i].table->properties;
    return lvl > 0 && e->added[i - 1].level == lvl &&
           slice_compare(e->added[i - 1].table->properties.key_max, p->key_min) < 0 &&
           (at == l->count || slice_compare(p->key_max, l->tables[at]->properties.key_min) < 0);
}

/* Likewise for what is added: the newest of level 0 stands first (V1), other levels are in order (V2). */
static size_t add_row(sim_tree *t, const edit *e, size_t i)
{
    unsigned lvl = e->added[i].level;
    level *l = &t->version->levels[lvl];
    size_t at = lvl == 0 ? 0 : level_find(l, e->added[i].table->properties.key_min), count = 1;
    while (i + count < e->added_count && goes_on(t, e, i + count, at))
        count++;
    if (l->count + count > t->room[lvl]) {
        t->room[lvl] = 2 * (l->count + count);
        l->tables = need(realloc(l->tables, t->room[lvl] * sizeof *l->tables));
    }
    if (l->count > at)
        memmove(l->tables + at + count, l->tables + at, (l->count - at) * sizeof *l->tables);
    l->count += count;
    for (size_t k = 0; k < count; k++) {
        l->tables[at + k] = e->added[i + k].table;
        l->bytes += l->tables[at + k]->properties.file_bytes;
        table_ref(l->tables[at + k]);
    }
    return count;
}

void tree_apply(sim_tree *t, const edit *e)
{
    for (size_t i = 0; i < e->dropped_count;)
        i += drop_row(t, e, i);
    for (size_t i = 0; i < e->added_count;)
        i += add_row(t, e, i);
    for (size_t i = 0; i < e->dropped_count; i++) {
        if (!is_added(e, e->dropped[i].table)) {
            content **gone = slot(t, e->dropped[i].table->no);
            free(*gone);
            *gone = NULL;
        }
        table_unref(e->dropped[i].table);
    }
}

/* ---- merging ---- */

typedef struct making {
    sim_tree *tree;
    unsigned level;
    content about;
    edit *edit;
} making;

static bool lies_below(void *ctx, uint64_t low, uint64_t high)
{
    const making *m = ctx;
    uint8_t from[8], to[8];
    place_key(low, from);
    place_key(high, to);
    for (unsigned n = m->level + 1; n < FIRN_LEVELS; n++) {
        size_t first, end;
        level_overlap(&m->tree->version->levels[n], (firn_slice){from, sizeof from},
                      (firn_slice){to, sizeof to}, &first, &end);
        if (first < end)
            return true;
    }
    return false;
}

/* As compact.c cuts. */
static uint64_t reach(void *ctx, uint64_t low)
{
    const making *m = ctx;
    uint8_t from[8];
    if (m->level == 0 || m->level + 1 >= FIRN_LEVELS)
        return UINT64_MAX;
    const level *l = &m->tree->version->levels[m->level + 1];
    place_key(low, from);
    size_t end = schedule_reach(m->tree->rules, l, level_find(l, (firn_slice){from, sizeof from}));
    return end < l->count ? tree_content(m->tree, l->tables[end])->low - 1 : UINT64_MAX;
}

static bool always_below(void *ctx, uint64_t low, uint64_t high)
{
    (void)ctx;
    (void)low;
    (void)high;
    return true;
}

static void take_table(void *ctx, uint64_t low, uint64_t high, const counts *c)
{
    making *m = ctx;
    m->about.low = low;
    m->about.high = high;
    add_to(m->edit, m->level, make_table(m->tree, m->level, &m->about, c));
}

static void merge_contents(making *m, const content *const *inputs, size_t count,
                           uint64_t table_bytes)
{
    sim_tree *t = m->tree;
    merging work = {.keys = &t->keys,
                    .sizes = &t->sizes,
                    .inputs = inputs,
                    .count = count,
                    .packed = m->level >= t->rules->plain_levels,
                    .table_bytes = table_bytes,
                    .lies_below = m->level == 0 ? always_below : lies_below,
                    .reach = reach,
                    .give = take_table,
                    .ctx = m};
    m->about.seq_min = UINT64_MAX;
    m->about.seq_max = 0;
    for (size_t i = 0; i < count; i++) {
        if (inputs[i]->seq_min < m->about.seq_min)
            m->about.seq_min = inputs[i]->seq_min;
        if (inputs[i]->seq_max > m->about.seq_max)
            m->about.seq_max = inputs[i]->seq_max;
    }
    content_merge(&work);
}

void tree_merge(sim_tree *t, const tree_inputs *in, unsigned lvl, edit *e)
{
    size_t count = in->counts[0] + in->counts[1], at = 0;
    const content **inputs = need(malloc((count + 1) * sizeof(content *)));
    for (unsigned side = 0; side < 2; side++)
        for (size_t i = 0; i < in->counts[side]; i++)
            inputs[at++] = tree_content(t, in->tables[side][i]);
    making m = {.tree = t, .level = lvl, .edit = e};
    merge_contents(&m, inputs, count, t->rules->table_bytes);
    free(inputs);
}

/* ---- flushing ---- */

void tree_flush(sim_tree *t, const memory_run *mem, edit *e)
{
    counts c;
    making m = {.tree = t, .edit = e};
    keys_of_writes(&t->keys, mem->loaded, mem->writes, &c);
    content *all = content_new(t, &c);
    all->low = 0;
    all->high = UINT64_MAX;
    if (t->keys.pattern == PATTERN_ASCENDING) {
        all->low = keys_place(mem->first);
        all->high = keys_place(mem->first + mem->writes) - 1;
    }
    all->seq_min = t->seq;
    t->seq += (uint64_t)fmax(1, mem->writes);
    all->seq_max = t->seq - 1;
    const content *inputs[] = {all};
    merge_contents(&m, inputs, 1, UINT64_MAX);
    free(all);
}

/* ---- a tree that stands ---- */

/* One level of full tables. */
static void fill_level(sim_tree *t, unsigned lvl, const counts *c, edit *e)
{
    making m = {.tree = t, .level = lvl, .edit = e};
    content *all = content_new(t, c);
    all->low = 0;
    all->high = t->keys.pattern == PATTERN_ASCENDING ? keys_place(t->keys.written) - 1 : UINT64_MAX;
    all->seq_min = all->seq_max = t->seq++;
    const content *inputs[] = {all};
    merge_contents(&m, inputs, 1, t->rules->table_bytes);
    free(all);
}

/* So many of the last writes that they are `part` of all keys. */
static void last_writes(sim_tree *t, double part, counts *c)
{
    double low = 0, high = t->keys.total * 1000;
    for (unsigned i = 0; i < 100; i++) {
        double middle = (low + high) / 2;
        keys_of_writes(&t->keys, 0, middle, c);
        if (counts_entries(c, t->keys.classes) < part * t->keys.total)
            low = middle;
        else
            high = middle;
    }
}

void tree_fill(sim_tree *t, const uint64_t *target, unsigned last)
{
    edit e = {0};
    counts c;
    memset(&c, 0, sizeof c);
    for (unsigned i = 0; i < t->keys.classes; i++)
        c.of[i][COUNT_LOADED] = t->keys.live[i];
    fill_level(t, last, &c, &e); /* the oldest numbers lie deepest */
    for (unsigned n = last - 1; n >= 1; n--)
        if (target[n] > 0 && t->keys.pattern != PATTERN_ASCENDING) {
            last_writes(t, (double)target[n] / (double)target[last], &c);
            fill_level(t, n, &c, &e);
        }
    tree_apply(t, &e);
    for (size_t i = 0; i < e.added_count; i++)
        table_unref(e.added[i].table);
    edit_release(&e);
}

/* ---- figures ---- */

double tree_bytes(const sim_tree *t)
{
    double sum = 0;
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        sum += (double)t->version->levels[n].bytes;
    return sum;
}

double tree_last_bytes(const sim_tree *t)
{
    counts c;
    memset(&c, 0, sizeof c);
    for (unsigned i = 0; i < t->keys.classes; i++)
        c.of[i][COUNT_LOADED] = t->keys.live[i];
    merging measure = {
        .keys = &t->keys, .sizes = &t->sizes, .packed = FIRN_LEVELS - 1 >= t->rules->plain_levels};
    return content_bytes(&measure, 0, UINT64_MAX, &c);
}

/* How gets of one class of keys fare, run by run. */
typedef struct search {
    double on; /* keys that no run so far has, as a part of all */
    double found,
        runs;      /* keys that were found, likewise, and in how many runs they were looked for */
    double passed; /* runs so far; of one that has gaps, the part that has none */
} search;

/* A tombstone ends the search, too, and nothing is found. */
static void search_run(const sim_tree *t, unsigned class, table *const *tables, size_t count,
                       search *s)
{
    double entries = 0, deleted = 0, width = 0;
    for (size_t i = 0; i < count; i++) {
        const content *c = tree_content(t, tables[i]);
        const double *of = c->of + class * KINDS;
        width += (double)(c->high - c->low) / (double)UINT64_MAX;
        entries += of[COUNT_LOADED] + of[COUNT_PUT] + of[COUNT_DELETED];
        deleted += of[COUNT_DELETED];
    }
    double found = s->on * fmin(1, (entries - deleted) / t->keys.keys[class]);
    s->found += found;
    s->runs += found * (s->passed + 1);
    s->passed += width;
    s->on *= fmax(0, 1 - entries / t->keys.keys[class]);
}

double tree_get_runs(const sim_tree *t)
{
    double found = 0, runs = 0;
    const level *levels = t->version->levels;
    if (t->keys.pattern == PATTERN_ASCENDING) /* no two tables have keys between the same */
        return tree_seek_runs(t) > 0;
    for (unsigned c = 0; c < t->keys.classes; c++) {
        search s = {.on = 1};
        for (size_t i = 0; i < levels[0].count; i++)
            search_run(t, c, &levels[0].tables[i], 1, &s);
        for (unsigned n = 1; n < FIRN_LEVELS; n++)
            if (levels[n].count)
                search_run(t, c, levels[n].tables, levels[n].count, &s);
        found += s.found * t->keys.keys[c];
        runs += s.runs * t->keys.keys[c];
    }
    return found > 0 ? runs / found : 0;
}

unsigned tree_seek_runs(const sim_tree *t)
{
    unsigned runs = (unsigned)t->version->levels[0].count;
    for (unsigned n = 1; n < FIRN_LEVELS; n++)
        runs += t->version->levels[n].count > 0;
    return runs;
}
