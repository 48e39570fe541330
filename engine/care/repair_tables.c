/* repair_tables: which tables a repaired store has.
 *
 * An intact table stays as it is. A damaged one is read block by block, and what is left of it goes
 * into a new table in its place: the same level, the same range of keys, so that the order of
 * levels (V1, V2, V3) holds as before. When no manifest tells the levels any more, all tables are
 * merged. Nothing is removed here: a new table that no manifest comes to list is an orphan, as is
 * an old one that the new manifest does not list.
 */
#include <base/alloc.h>
#include <base/entry.h>
#include <base/error.h>
#include <base/grow.h>
#include <base/slice.h>
#include <inttypes.h>
#include <stdio.h>

#include <tree/names.h>
#include "repair.h"
#include <tree/run.h>

static int add_part(repair *r, unsigned lvl, table *t)
{
    int rc = array_grow(&r->parts, &r->capacity, r->count, sizeof r->parts[0], r->err);
    if (rc != FIRN_OK)
        return rc;
    table_ref(t);
    r->parts[r->count++] = (part){lvl, t};
    return FIRN_OK;
}

void repair_drop_parts(repair *r)
{
    for (size_t i = 0; i < r->count; i++)
        table_unref(r->parts[i].table);
    heap_free(r->parts);
    r->parts = NULL;
    r->count = r->capacity = 0;
}

/* ---- One damaged table ---- */

enum { TOLD_MOST = 1024, TOLD_BYTES = 1 << 20 };

/* What is told of a gap once the whole table has been read. Its keys stand in saving.keys, one
 * behind the other. */
typedef struct table_gap {
    uint64_t offset, bytes;
    size_t after_at, before_at; /* behind it: before_size */
    size_t before_size;
    bool has_after, has_before;
    bool many; /* so many gaps that the last ones were made one */
} table_gap;

typedef struct saving {
    repair *r;
    /* what the manifest says of the table; NULL: nothing says anything */
    const sst_properties *listed;
    char name[NAME_BYTES];
    build build;
    buf last_key;
    uint64_t last_seq;
    uint64_t saved, strange;
    buf range_first, range_end; /* of the last range delete */
    buf behind;                 /* where one is cut: right behind the table's last key */
    uint64_t ranges;            /* that were saved */
    table_gap *gaps;
    size_t gap_count, gap_room;
    buf keys;
} saving;

/* A table that is not the one the manifest lists could break the order of levels: only what fits
 * into its place is taken. */
static bool fits(const saving *s, firn_slice key, uint64_t seq)
{
    const sst_properties *listed = s->listed;
    if (listed &&
        (slice_compare(key, listed->key_min) < 0 || slice_compare(key, listed->key_max) > 0 ||
         seq < listed->seq_min || seq > listed->seq_max))
        return false;
    if (s->saved == 0)
        return true;
    int c = slice_compare(buf_slice(&s->last_key), key);
    return c < 0 || (c == 0 && seq < s->last_seq);
}

/* What a range delete covers behind the listed table's last key is another table's. The end is
 * replaced. */
static int cut_range(saving *s, firn_slice *end)
{
    if (!s->listed || slice_compare(range_last(*end), s->listed->key_max) <= 0)
        return FIRN_OK;
    firn_slice last = s->listed->key_max;
    if (buf_assign(&s->behind, last.data, last.size) != FIRN_OK ||
        entry_key_behind(&s->behind) != FIRN_OK)
        return error_no_memory(s->r->err);
    *end = buf_slice(&s->behind);
    return FIRN_OK;
}

/* A table takes no range deletes that overlap. */
static bool range_fits(const saving *s, firn_slice first, firn_slice end)
{
    const fragment last = {buf_slice(&s->range_first), buf_slice(&s->range_end), 0},
                   next = {first, end, 0};
    return entry_range_fits(first, end) && (s->ranges == 0 || range_may_follow(&last, &next));
}

static int note_range(saving *s, firn_slice first, firn_slice end)
{
    s->ranges++;
    return buf_assign(&s->range_first, first.data, first.size) == FIRN_OK &&
                   buf_assign(&s->range_end, end.data, end.size) == FIRN_OK
               ? FIRN_OK
               : error_no_memory(s->r->err);
}

static int save_entry(void *ctx, firn_slice key, uint64_t seq, uint8_t kind, firn_slice value)
{
    saving *s = ctx;
    bool is_range = kind == FIRN_DELETE_RANGE;
    int rc = is_range ? cut_range(s, &value) : FIRN_OK;
    if (rc != FIRN_OK)
        return rc;
    if (!fits(s, key, seq) || (is_range && !range_fits(s, key, value))) {
        s->strange++;
        return SST_SALVAGE_REFUSED;
    }
    iter here = {.key = key, .value = value, .seq = seq, .kind = kind, .valid = true};
    if (buf_assign(&s->last_key, key.data, key.size) != FIRN_OK)
        return error_no_memory(s->r->err);
    s->last_seq = seq;
    s->saved++;
    rc = is_range ? note_range(s, key, value) : FIRN_OK;
    if (rc != FIRN_OK)
        return rc;
    return build_add(&s->build, &here, s->r->err);
}

/* Keeps one of the two keys of a gap. */
static int keep_key(saving *s, firn_slice key, bool *has, size_t *at)
{
    *has = key.data != NULL;
    *at = s->keys.size;
    return buf_append(&s->keys, key.data, key.size) == FIRN_OK ? FIRN_OK
                                                               : error_no_memory(s->r->err);
}

/* The last gap then reaches from where it began to where this one ends. */
static int widen_gap(saving *s, uint64_t behind, firn_slice before)
{
    table_gap *g = &s->gaps[s->gap_count - 1];
    s->keys.size = g->before_at;
    g->bytes = behind - g->offset;
    g->before_size = before.size;
    g->many = true;
    return keep_key(s, before, &g->has_before, &g->before_at);
}

/* Not told yet: a table of which all versions are saved has lost nothing. Memory stays within
 * bounds, however many there are. */
static int keep_gap(void *ctx, uint64_t offset, uint64_t bytes, firn_slice after, firn_slice before)
{
    saving *s = ctx;
    if (s->gap_count == TOLD_MOST || (s->gap_count && s->keys.size > TOLD_BYTES))
        return widen_gap(s, offset + bytes, before);
    int rc = array_grow(&s->gaps, &s->gap_room, s->gap_count, sizeof s->gaps[0], s->r->err);
    if (rc != FIRN_OK)
        return rc;
    table_gap *g = &s->gaps[s->gap_count++];
    *g = (table_gap){.offset = offset, .bytes = bytes, .before_size = before.size};
    rc = keep_key(s, after, &g->has_after, &g->after_at);
    return rc == FIRN_OK ? keep_key(s, before, &g->has_before, &g->before_at) : rc;
}

static void tell_gap(const saving *s, const table_gap *g)
{
    const uint8_t *keys = s->keys.data ? s->keys.data : (const uint8_t *)"";
    firn_slice after = {0}, before = {0};
    if (g->has_after)
        after = (firn_slice){keys + g->after_at, g->before_at - g->after_at};
    else if (s->listed)
        after = s->listed->key_min;
    if (g->has_before)
        before = (firn_slice){keys + g->before_at, g->before_size};
    else if (s->listed)
        before = s->listed->key_max;
    repair_loss(s->r, &(firn_repair_event){
                          .kind = FIRN_REPAIR_LOST_KEYS,
                          .text = g->many    ? "a table is damaged in very many places"
                                  : g->bytes ? "a part of a table is damaged"
                                             : "a table was cut, perhaps between two of its blocks",
                          .file = s->name,
                          .offset = g->offset,
                          .bytes = g->bytes,
                          .after = after,
                          .before = before,
                          .bucket = repair_bucket_name(s->r, s->build.bucket),
                      });
}

static void tell_whole_table(repair *r, const char *name, const sst_properties *listed,
                             const char *text)
{
    firn_repair_event e = {.kind = FIRN_REPAIR_LOST_KEYS, .text = text, .file = name};
    if (listed) {
        e.bucket = repair_bucket_name(r, listed->bucket);
        e.after = listed->key_min;
        e.before = listed->key_max;
    }
    repair_loss(r, &e);
}

static int salvage(saving *s, uint64_t no)
{
    const repair *r = s->r;
    sst_salvage_sink sink = {.ctx = s, .entry = save_entry, .gap = keep_gap};
    return sst_salvage(r->db->dir, s->name, r->db->env.store_id, no, &sink, r->err);
}

/* Once what could be saved has been. A table whose versions are all there has lost nothing,
 * wherever it is damaged. */
static void tell_what_is_missing(const saving *s)
{
    repair *r = s->r;
    if (s->listed)
        repair_note(r, s->name, "%" PRIu64 " of %" PRIu64 " versions were saved", s->saved,
                    s->listed->entries);
    else
        repair_note(r, s->name, "%" PRIu64 " versions were saved", s->saved);
    if (s->listed && s->saved == s->listed->entries && !s->strange)
        return;
    for (size_t i = 0; i < s->gap_count; i++)
        tell_gap(s, &s->gaps[i]);
    if (s->listed && s->ranges < s->listed->ranges)
        tell_whole_table(r, s->name, s->listed,
                         "a table has lost range deletes: what they deleted may be there again");
    if (s->strange || (s->listed && s->gap_count == 0))
        tell_whole_table(r, s->name, s->listed, "a table does not hold what it should");
}

/* Makes a new table of what is left of the one in the file; none when nothing is. */
static int save_table(repair *r, uint64_t no, unsigned lvl, uint16_t bucket,
                      const sst_properties *listed)
{
    saving s = {.r = r, .listed = listed};
    name_table(no, s.name);
    build_init(&s.build, r->db, lvl, UINT64_MAX);
    s.build.bucket = bucket;
    int rc = lost_keep(&r->lost, s.name, r->err);
    if (rc == FIRN_OK)
        rc = salvage(&s, no);
    if (rc == FIRN_OK)
        rc = build_finish(&s.build, r->err);
    for (size_t i = 0; rc == FIRN_OK && i < s.build.count; i++)
        rc = add_part(r, lvl, s.build.tables[i]);
    r->summary.tables_rewritten += s.build.count > 0;
    r->summary.tables_lost += s.build.count == 0;
    if (rc == FIRN_OK)
        tell_what_is_missing(&s);
    build_release(&s.build, rc == FIRN_OK);
    buf_release(&s.last_key);
    buf_release(&s.keys);
    buf_release(&s.range_first);
    buf_release(&s.range_end);
    buf_release(&s.behind);
    heap_free(s.gaps);
    return rc;
}

/* ---- Every table ---- */

static int take_listed(repair *r, unsigned lvl, table *t)
{
    firn_error why = {0};
    char name[NAME_BYTES];
    name_table(t->no, name);
    int rc = run_verify(run_of_table(t), &why);
    if (rc == FIRN_OK)
        return add_part(r, lvl, t);
    if (!repair_is_damage(rc, &why)) {
        if (r->err)
            *r->err = why;
        return rc;
    }
    r->changed = true;
    if (!folder_has(&r->folder.tables, t->no)) {
        r->summary.tables_lost++;
        tell_whole_table(r, name, &t->properties, "a table is missing");
        return FIRN_OK;
    }
    repair_note_error(r, name, &why);
    return save_table(r, t->no, lvl, t->bucket, &t->properties);
}

int repair_listed_tables(repair *r)
{
    int rc = FIRN_OK;
    for (size_t t = 0; t < manifest_state_count(&r->state); t++) {
        const version *v = manifest_state_version(&r->state, t);
        for (unsigned n = 0; rc == FIRN_OK && n < FIRN_LEVELS; n++)
            for (size_t i = 0; rc == FIRN_OK && i < v->levels[n].count; i++)
                rc = take_listed(r, n, v->levels[n].tables[i]);
    }
    return rc;
}

#define BUCKET_UNKNOWN ENTRY_BUCKETS

/* The table in the file, by what it says of itself, if all of it is intact. *bucket: also that of
 * one that is not, if it can still be read. */
static int take_found(repair *r, uint64_t no, table **out, uint16_t *bucket, firn_error *why)
{
    const table_env *env = &r->db->env;
    sst_reader_options o = {
        .cache = env->cache, .store_id = {env->store_id[0], env->store_id[1]}, .table_no = no};
    sst_reader *reader = NULL;
    char name[NAME_BYTES];
    name_table(no, name);
    int rc = sst_reader_open(env->dir, name, &o, &reader, why);
    *bucket = rc == FIRN_OK ? sst_reader_properties(reader)->bucket : BUCKET_UNKNOWN;
    if (rc == FIRN_OK)
        rc = sst_verify(reader, why);
    if (rc == FIRN_OK && table_new(env, no, sst_reader_properties(reader), out) != FIRN_OK)
        rc = error_no_memory(why);
    sst_reader_close(reader);
    return rc;
}

/* Another store's file says so in a footer that is intact. */
static bool belongs_elsewhere(const repair *r, const char *name)
{
    uint64_t id[2], no;
    return sst_identify(r->db->dir, name, id, &no, NULL) == FIRN_OK &&
           (id[0] != r->db->env.store_id[0] || id[1] != r->db->env.store_id[1]);
}

/* Tables of a list that is old: what compactions made of them may be there under another name, and
 * may not. */
static void tell_missing(repair *r, const version *v)
{
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        for (size_t i = 0; i < v->levels[n].count; i++) {
            const table *t = v->levels[n].tables[i];
            char name[NAME_BYTES];
            name_table(t->no, name);
            if (!folder_has(&r->folder.tables, t->no))
                tell_whole_table(r, name, &t->properties,
                                 "a table is missing; others may hold what was in it");
        }
}

void repair_tell_missing(repair *r)
{
    for (size_t i = 0; i < manifest_state_count(&r->state); i++)
        tell_missing(r, manifest_state_version(&r->state, i));
}

int repair_orphans(repair *r, bool *any, uint64_t *seq_max)
{
    buf listed = {0};
    *any = false;
    *seq_max = 0;
    if (manifest_state_numbers(&r->state, &listed) != FIRN_OK) {
        buf_release(&listed);
        return error_no_memory(r->err);
    }
    for (size_t i = 0; i < folder_count(&r->folder.tables); i++) {
        uint64_t no = folder_at(&r->folder.tables, i);
        table *t = NULL;
        uint16_t bucket;
        if (folder_has(&listed, no) || take_found(r, no, &t, &bucket, NULL) != FIRN_OK)
            continue;
        *any = true;
        if (t->properties.entries && t->properties.seq_max > *seq_max)
            *seq_max = t->properties.seq_max;
        table_unref(t);
    }
    buf_release(&listed);
    return FIRN_OK;
}

static int save_found(repair *r, uint64_t no, uint16_t bucket)
{
    if (bucket)
        bucket_set_add(&r->seen, bucket);
    return save_table(r, no, 0, bucket, NULL);
}

/* One that is intact is a part; one that does not say of which bucket it is waits in `unknown`. */
static int take_one(repair *r, uint64_t no, uint64_t *seq_max, buf *unknown)
{
    firn_error why = {0};
    table *t = NULL;
    uint16_t bucket;
    char name[NAME_BYTES];
    name_table(no, name);
    int rc = take_found(r, no, &t, &bucket, &why);
    if (rc == FIRN_OK && t->properties.entries && t->properties.seq_max > *seq_max)
        *seq_max = t->properties.seq_max;
    if (rc != FIRN_OK && !repair_is_damage(rc, &why)) {
        if (r->err)
            *r->err = why;
    } else if (bucket != BUCKET_UNKNOWN && repair_is_dropped(r, bucket)) {
        repair_note(r, name, "is of bucket %u, which was dropped", bucket);
        rc = FIRN_OK;
    } else if (rc == FIRN_OK) {
        if (bucket)
            bucket_set_add(&r->seen, bucket);
        rc = add_part(r, 0, t);
    } else if (belongs_elsewhere(r, name)) {
        repair_note(r, name, "belongs to another store");
        rc = lost_keep(&r->lost, name, r->err);
    } else {
        repair_note_error(r, name, &why);
        if (bucket != BUCKET_UNKNOWN)
            rc = save_found(r, no, bucket);
        else if (buf_append(unknown, &no, sizeof no) == FIRN_OK)
            rc = FIRN_OK;
        else
            rc = error_no_memory(r->err);
    }
    table_unref(t);
    return rc;
}

/* What was put into a bucket lately may be in the log alone, and its table be the one that does not
 * say any more which bucket it is of. */
static bool has_several_buckets(const repair *r)
{
    return r->state.bucket_count > 0 || bucket_set_next(&r->seen, 1) < ENTRY_BUCKETS ||
           bucket_set_next(&r->in_log, 1) < ENTRY_BUCKETS;
}

/* In a store of several buckets, its keys might go into the wrong one. */
static int take_unknown(repair *r, uint64_t no)
{
    if (!has_several_buckets(r))
        return save_found(r, no, 0);
    char name[NAME_BYTES];
    name_table(no, name);
    r->summary.tables_lost++;
    tell_whole_table(r, name, NULL, "a table does not say any more of which bucket it is");
    return lost_keep(&r->lost, name, r->err);
}

int repair_found_tables(repair *r, uint64_t *seq_max)
{
    buf unknown = {0};
    int rc = FIRN_OK;
    *seq_max = 0;
    for (size_t i = 0; rc == FIRN_OK && i < folder_count(&r->folder.tables); i++)
        rc = take_one(r, folder_at(&r->folder.tables, i), seq_max, &unknown);
    for (size_t i = 0; rc == FIRN_OK && i < folder_count(&unknown); i++)
        rc = take_unknown(r, folder_at(&unknown, i));
    buf_release(&unknown);
    return rc;
}

/* ---- All tables become one level ---- */

static const buf no_snapshots;

/* What the log will bring again must not be in the tables, too: the limits leave it out. */
static int open_parts(const repair *r, uint16_t bucket, const iter_limits *limits, walk *out,
                      fragment_list *ranges)
{
    run *runs = heap_alloc((r->count ? r->count : 1) * sizeof *runs);
    size_t count = 0;
    int rc = runs ? FIRN_OK : FIRN_NO_MEMORY;
    for (size_t i = 0; runs && i < r->count; i++)
        if (r->parts[i].table->bucket == bucket)
            runs[count++] = run_of_table(r->parts[i].table);
    if (rc == FIRN_OK)
        rc = walk_open(runs, count, SST_WORK, limits, r->err, out);
    if (rc != FIRN_OK)
        rc = error_no_memory(r->err);
    else
        rc = build_list_ranges(runs, count, &no_snapshots, limits->seq_max, ranges, r->err);
    heap_free(runs);
    return rc;
}

/* Two tables may hold the same version (what a compaction was made of and what it made): the keeper
 * lets one of them pass. Nothing lies below that a tombstone could hide. */
static int merge_parts(const repair *r, const walk *w, fragment_list *ranges, build *b)
{
    build_rules rules = {.snapshots = &no_snapshots, .ranges = ranges};
    int rc = build_add_all(b, w->it, &rules, r->err);
    return rc == FIRN_OK ? build_finish(b, r->err) : rc;
}

/* Adds what the parts of a bucket become to `to`. */
static int merge_bucket(repair *r, uint16_t bucket, repair *to)
{
    build b;
    walk w = {0};
    fragment_list ranges = {0};
    const iter_limits limits = {.seq_max = r->flushed_seq};
    uint64_t bytes = 0;
    for (size_t i = 0; i < r->count; i++)
        if (r->parts[i].table->bucket == bucket)
            bytes += r->parts[i].table->properties.file_bytes;
    if (bytes == 0)
        return FIRN_OK;
    unsigned lvl = schedule_levels_for(&r->db->rules, bytes);
    build_init(&b, r->db, lvl, r->db->options.table_bytes);
    b.bucket = bucket;
    int rc = open_parts(r, bucket, &limits, &w, &ranges);
    if (rc == FIRN_OK)
        rc = merge_parts(r, &w, &ranges, &b);
    walk_close(&w);
    fragment_list_release(&ranges);
    for (size_t i = 0; rc == FIRN_OK && i < b.count; i++)
        rc = add_part(to, lvl, b.tables[i]);
    build_release(&b, rc == FIRN_OK);
    return rc;
}

int repair_merge(repair *r)
{
    repair merged = {.err = r->err};
    int rc = FIRN_OK;
    bucket_set all = {0};
    for (size_t i = 0; i < r->count; i++)
        bucket_set_add(&all, r->parts[i].table->bucket);
    for (unsigned b = 0; rc == FIRN_OK && (b = bucket_set_next(&all, b)) < ENTRY_BUCKETS; b++)
        rc = merge_bucket(r, (uint16_t)b, &merged);
    repair_drop_parts(rc == FIRN_OK ? r : &merged);
    if (rc == FIRN_OK) {
        r->parts = merged.parts;
        r->count = merged.count;
        r->capacity = merged.capacity;
    }
    return rc;
}
