/* numbers: trees of tables that no store has, for what decides by numbers and ranges of keys alone (schedule.h). A table's keys
 * are numbers of eight bytes, the greatest first. */
#ifndef TESTS_ENGINE_NUMBERS_H
#define TESTS_ENGINE_NUMBERS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <tree/schedule.h>
#include <tree/version_build.h>

enum { TABLE = 1000, BASE = 8000 };

static const schedule_rules rules = {.level_base_bytes = BASE,
                                     .ratio = 4,
                                     .level0_at = 4,
                                     .level0_most = 10,
                                     .plain_levels = FIRN_LEVELS,
                                     .table_bytes = TABLE,
                                     .job_bytes = 24 * TABLE};

typedef struct tree {
    version *v;
    uint64_t next_no, next_seq;
} tree;

static inline uint64_t number_of(firn_slice key)
{
    uint64_t x = 0;
    for (size_t i = 0; i < 8; i++)
        x = x << 8 | key.data[i];
    return x;
}

static inline table *new_table(tree *t, uint64_t from, uint64_t to, uint64_t bytes,
                               uint64_t entries, uint64_t deletes)
{
    uint8_t keys[2][8];
    table *out = NULL;
    for (size_t i = 0; i < 8; i++) {
        keys[0][i] = (uint8_t)(from >> (56 - 8 * i));
        keys[1][i] = (uint8_t)(to >> (56 - 8 * i));
    }
    sst_properties p = {.file_bytes = bytes,
                        .entries = entries,
                        .deletes = deletes,
                        .raw_bytes = bytes,
                        .data_bytes = bytes,
                        .blocks = 1,
                        .seq_min = t->next_seq,
                        .seq_max = t->next_seq,
                        .key_min = {keys[0], 8},
                        .key_max = {keys[1], 8}};
    assert_int_equal(table_new(NULL, ++t->next_no, &p, &out), FIRN_OK);
    assert_int_equal(table_say_kept(out, NULL, 0), FIRN_OK);
    return out;
}

static inline void apply(tree *t, edit *e)
{
    version *next = NULL;
    firn_error err = {0};
    if (version_apply(t->v, e, &next, &err) != FIRN_OK)
        fail_msg("%s", err.message);
    version_unref(t->v);
    t->v = next;
    edit_release(e);
}

static inline table *add(tree *t, unsigned lvl, uint64_t from, uint64_t to, uint64_t bytes,
                         uint64_t entries, uint64_t deletes)
{
    edit e = {0};
    t->next_seq++;
    table *made = new_table(t, from, to, bytes, entries, deletes);
    assert_int_equal(edit_add(&e, lvl, made), FIRN_OK);
    apply(t, &e);
    table_unref(made); /* the version keeps it */
    return made;
}

static inline void tree_init(tree *t)
{
    *t = (tree){0};
    assert_int_equal(version_new_empty(&t->v), FIRN_OK);
}

static inline void tree_end(tree *t)
{
    version_unref(t->v);
}

static inline schedule_state calm_state(const tree *t)
{
    return (schedule_state){.version = t->v, .free_bytes = UINT64_MAX, .calm = true, .whole = true};
}

/* ---- Doing a job ---- */

/* Outputs in [from, to], cut as build.c cuts them: by bytes, and by what they overlap below. */
static inline void add_outputs(tree *t, const schedule_job *j, edit *e, uint64_t from, uint64_t to,
                               uint64_t bytes, uint64_t entries)
{
    table *out = new_table(t, from, to, bytes ? bytes : 1, entries ? entries : 1, 0);
    const sst_properties *p = &out->properties;
    bool wide = j->target + 1 < FIRN_LEVELS &&
                schedule_overlap_bytes(&t->v->levels[j->target + 1], p->key_min, p->key_max) >
                    SCHEDULE_OVERLAP * TABLE;
    if ((bytes > TABLE || wide) && to > from) {
        uint64_t middle = from + (to - from) / 2;
        table_unref(out);
        add_outputs(t, j, e, from, middle, bytes / 2, entries / 2);
        add_outputs(t, j, e, middle + 1, to, bytes - bytes / 2, entries - entries / 2);
        return;
    }
    assert_int_equal(edit_add(e, j->target, out), FIRN_OK);
}

/* What becomes of the job; `share` of 100 of what it reads is written. */
static inline void finish(tree *t, const schedule_job *j, unsigned share)
{
    edit e = {0};
    uint64_t bytes = 0, entries = 0, seq_min = UINT64_MAX, seq_max = 0, now = t->next_seq;
    for (unsigned side = 0; side < 2; side++)
        for (size_t i = 0; i < j->counts[side]; i++) {
            table *in = j->inputs[side][i];
            const sst_properties *p = &in->properties;
            assert_int_equal(edit_drop(&e, side ? j->target : j->level, in), FIRN_OK);
            if (j->kind == JOB_MOVE)
                assert_int_equal(edit_add(&e, j->target, in), FIRN_OK);
            bytes += p->file_bytes;
            entries += p->entries - p->deletes;
            seq_min = p->seq_min < seq_min ? p->seq_min : seq_min;
            seq_max = p->seq_max > seq_max ? p->seq_max : seq_max;
        }
    t->next_seq = seq_max;
    size_t moved = e.added_count;
    if (j->kind == JOB_MERGE && entries)
        add_outputs(t, j, &e, number_of(j->from), number_of(j->to), bytes * share / 100, entries);
    t->next_seq = now;
    table *made[256];
    size_t count = 0;
    for (size_t i = moved; i < e.added_count && count < 256; i++)
        made[count++] = e.added[i].table;
    apply(t, &e);
    for (size_t i = 0; i < count; i++)
        table_unref(made[i]);
}

#endif
