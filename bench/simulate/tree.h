/* tree: the virtual store. Its version is a real one, of tables that no file stands behind. */
#ifndef SIMULATE_TREE_H
#define SIMULATE_TREE_H

#include <tree/edit.h>
#include <tree/schedule.h>

#include "content.h"

typedef struct sim_tree {
    const settings *settings;
    const schedule_rules *rules;
    sizes sizes;
    keys keys;
    version *version; /* its levels are ours, and change in place */
    size_t room[FIRN_LEVELS];
    content **contents; /* by table number */
    uint64_t contents_count, next_no, seq;
    uint64_t now_us;
} sim_tree;

void tree_init(sim_tree *t, const settings *s, const schedule_rules *rules);
void tree_release(sim_tree *t);
/* Fills an empty tree: every key in the last level, and its share in those above; `target` says how many bytes a level has. */
void tree_fill(sim_tree *t, const uint64_t *target, unsigned last);

/* A table in the making: counted once for its maker. */
table *tree_table(sim_tree *t, unsigned lvl, const content *c);
const content *tree_content(const sim_tree *t, const table *x);
/* The version becomes the one that version_apply would make; that one takes as many steps as there are tables in the levels that
 * change, which is too much for a day of ten terabytes. Forgets what was dropped, unless it stays elsewhere. */
void tree_apply(sim_tree *t, const edit *e);

/* What merging these gives, as tables of `level`, into e->added. The inputs, newest first. */
typedef struct tree_inputs {
    table *const *tables[2];
    size_t counts[2];
} tree_inputs;
void tree_merge(sim_tree *t, const tree_inputs *in, unsigned lvl, edit *e);
/* The writes that a memtable holds. */
typedef struct memory_run {
    double writes, loaded; /* loaded: so many of them */
    double first;          /* number of the first write */
} memory_run;
/* The table that a memtable becomes, into e->added. */
void tree_flush(sim_tree *t, const memory_run *m, edit *e);

double tree_bytes(const sim_tree *t);
/* Bytes of all keys there are, in one level. */
double tree_last_bytes(const sim_tree *t);
/* On average: how many runs a get of a key that is there looks into, not counting memtables. */
double tree_get_runs(const sim_tree *t);
unsigned tree_seek_runs(const sim_tree *t);

#endif
