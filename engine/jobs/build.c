/* build: tables from a sorted stream. A table ends between two keys, never between versions of one
 * (V2). Which versions of a key stay is decided in resolve.c; the loop that asks it is
 * build_add_all. */
#include <assert.h>
#include <base/alloc.h>
#include <base/coding.h>
#include <base/entry.h>
#include <base/error.h>
#include <base/grow.h>
#include <base/slice.h>
#include <base/thread.h>

#include <jobs/build.h>
#include <tree/names.h>
#include <store/store.h>

enum { CHARGE_EVERY = 256, CHARGE_BYTES = 64 << 10 };

static sst_compression compression_of(bucket_form f, unsigned lvl)
{
    switch ((firn_compression)f.compression) {
    case FIRN_COMPRESSION_NONE:
        return SST_COMPRESSION_NONE;
    case FIRN_COMPRESSION_LZ4:
        return SST_COMPRESSION_LZ4;
    case FIRN_COMPRESSION_ZLIB:
        return SST_COMPRESSION_ZLIB;
    case FIRN_COMPRESSION_AUTO:
        break;
    }
    return lvl < PLAIN_LEVELS ? SST_COMPRESSION_NONE : SST_COMPRESSION_LZ4;
}

void build_init(build *b, store *db, unsigned lvl, uint64_t table_bytes)
{
    *b = (build){.db = db, .level = lvl, .table_bytes = table_bytes};
}

static int start_table(build *b, firn_error *err)
{
    sst_writer_options o;
    sst_writer_options_init(&o);
    bucket_form form = store_form(b->db, b->bucket);
    o.filter_bits_per_key = form.filter_bits;
    o.compression = compression_of(form, b->level);
    o.store_id[0] = b->db->env.store_id[0];
    o.store_id[1] = b->db->env.store_id[1];
    o.table_no = b->writer_no = store_next_file_no(b->db);
    o.bucket = b->bucket;
    char name[NAME_BYTES];
    name_table(b->writer_no, name);
    return sst_writer_open(b->db->dir, name, &o, &b->writer, err);
}

static int end_table(build *b, firn_error *err)
{
    const sst_properties *properties = NULL;
    table *t = NULL;
    int rc = array_grow(&b->tables, &b->capacity, b->count, sizeof t, err);
    if (rc == FIRN_OK)
        rc = sst_writer_finish(b->writer, &properties, err);
    if (rc != FIRN_OK)
        return rc;
    rc = table_new(&b->db->env, b->writer_no, properties, &t);
    if (rc == FIRN_OK)
        rc = table_say_kept(t, b->kept, b->kept_count);
    if (rc != FIRN_OK) {
        table_unref(t);
        char name[NAME_BYTES];
        name_table(b->writer_no, name);
        (void)fs_unlink(b->db->dir, name, NULL); /* else an orphan, which opening removes */
        return error_no_memory(err);
    }
    b->tables[b->count++] = t;
    b->bytes += properties->file_bytes;
    sst_writer_free(b->writer);
    b->writer = NULL;
    b->cut = b->hold = false;
    b->kept_count = 0;
    budget_adjust(&b->db->budget, BUDGET_SCRATCH, &b->charged, 0);
    return FIRN_OK;
}

/* Every CHARGE_EVERY entries, and where much comes at once: asking costs more than adding a small
 * entry. */
static void charge(build *b, size_t entry_bytes)
{
    if (++b->adds % CHARGE_EVERY == 0 || entry_bytes >= CHARGE_BYTES)
        budget_adjust(&b->db->budget, BUDGET_SCRATCH, &b->charged, sst_writer_memory(b->writer));
}

/* The writer sees to the order inside of a table. */
static bool is_behind_tables(const build *b, firn_slice key)
{
    return b->count == 0 || slice_compare(b->tables[b->count - 1]->properties.key_max, key) < 0;
}

int build_add(build *b, const iter *it, firn_error *err)
{
    int rc = FIRN_OK;
    if (b->writer && !b->hold &&
        (b->cut || (sst_writer_file_bytes(b->writer) >= b->table_bytes &&
                    !slice_equal(buf_slice(&b->last_key), it->key))))
        rc = end_table(b, err);
    if (rc == FIRN_OK && !b->writer)
        rc = is_behind_tables(b, it->key) ? start_table(b, err) : FIRN_INVALID;
    if (rc == FIRN_OK)
        rc = sst_writer_add(b->writer, it->key, it->seq, it->kind, it->value, err);
    b->table_failed = rc != FIRN_OK && rc != FIRN_INVALID;
    /* A writer of tables refuses what no table may hold: the order that a memtable found when its
     * entries were written has changed, or the merge gives what a table gives. */
    if (rc == FIRN_INVALID)
        rc = b->from_log ? memtable_changed(err) : refuse_order(b->db->dir->path, err);
    if (b->writer)
        charge(b, it->value.size);
    /* The last key is only needed once the table is about to be full. */
    if (rc == FIRN_OK && sst_writer_file_bytes(b->writer) >= b->table_bytes &&
        buf_assign(&b->last_key, it->key.data, it->key.size) != FIRN_OK)
        rc = error_no_memory(err);
    return rc;
}

/* ---- From a stream of all versions ---- */

typedef struct filling {
    build *b;
    const build_rules *rules;
    keeper keeper;
    buf key; /* of the last version, if `any` */
    bool any;
    /* Number of what hides older versions of the key: the last one that was added, or a range
     * delete; 0: nothing yet. */
    uint64_t written;
    uint64_t turn_bytes;
    iter tombstone; /* only to hand it to build_add */
    /* Of rules->ranges, which of them comes next, and the first that does not end in front of the
     * key; the keeper knows of those over it that have greater numbers. */
    size_t next, over;
    uint64_t erased_to;
    /* The last one that came: from which on the others have the same range, and whether the present
     * table has it. What it covers behind the table begins with `behind`. */
    size_t last;
    bool last_stays;
    buf behind;
} filling;

/* Between a kept range and the next one. They ascend by where they begin, and may overlap. */
static uint64_t gap_behind(const kept_range *k)
{
    return k[1].from > k->to ? k[1].from - k->to : 0;
}

/* Of the kept ranges, makes the two that lie closest one. */
static void join_kept(build *b, const keeper *alive)
{
    size_t best = 0;
    for (size_t i = 1; i + 1 < b->kept_count; i++)
        if (gap_behind(&b->kept[i]) < gap_behind(&b->kept[best]))
            best = i;
    kept_range *k = &b->kept[best];
    k->to = k[1].to > k->to ? k[1].to : k->to;
    k->count += k[1].count;
    k->seen += k[1].seen;
    k->snapshots = snapshots_between(alive->snapshots, alive->count, k->from, k->to);
    memmove(k + 1, k + 2, (b->kept_count - best - 2) * sizeof *k);
    b->kept_count--;
}

/* A version stays that only the snapshots [first, end) of those that are alive can see. */
static void note_kept(build *b, const keeper *alive, size_t first, size_t end)
{
    uint64_t from = alive->snapshots[first], to = alive->snapshots[end - 1];
    size_t i = 0;
    while (i < b->kept_count &&
           (b->kept[i].from < from || (b->kept[i].from == from && b->kept[i].to < to)))
        i++;
    if (i < b->kept_count && b->kept[i].from == from && b->kept[i].to == to) {
        b->kept[i].count++;
        b->kept[i].seen += end - first;
        return;
    }
    memmove(&b->kept[i + 1], &b->kept[i], (b->kept_count - i) * sizeof b->kept[0]);
    b->kept[i] = (kept_range){.from = from, .to = to, .count = 1, .seen = end - first};
    b->kept_count++;
    if (b->kept_count > KEPT_MOST)
        join_kept(b, alive);
}

/* A version that stays behind a newer one of its key is there for the snapshots between the two. */
static int add_one(filling *f, const iter *it, firn_error *err)
{
    int rc = build_add(f->b, it, err);
    if (rc == FIRN_OK && f->written) {
        const keeper *k = &f->keeper;
        size_t first = snapshots_below(k->snapshots, k->count, it->seq);
        size_t end = snapshots_below(k->snapshots, k->count, f->written);
        if (first < end)
            note_kept(f->b, k, first, end);
    }
    f->written = it->seq;
    return rc;
}

static int add_held(filling *f, firn_error *err)
{
    iter *t = &f->tombstone;
    if (!keeper_take_held(&f->keeper, &t->seq, &t->kind))
        return FIRN_OK;
    t->key = buf_slice(&f->key);
    return add_one(f, t, err);
}

/* All versions of the last key have been fed. */
static int end_key(filling *f, firn_error *err)
{
    const build_rules *r = f->rules;
    if (!f->any || f->keeper.held == 0 || !r->lies_below ||
        !r->lies_below(r->ctx, buf_slice(&f->key)))
        return FIRN_OK;
    return add_held(f, err);
}

/* ---- Range deletes ---- */

static const fragment *range_at(const filling *f, size_t i)
{
    const fragment_list *l = f->rules->ranges;
    return l && i < l->count ? &l->list[i] : NULL;
}

/* Does it come before the version at which the stream stands (NULL: that has ended)? */
static bool comes_first(const fragment *r, const iter *it)
{
    int c = it ? slice_compare(r->first, it->key) : -1;
    return c < 0 || (c == 0 && r->seq > it->seq);
}

/* The present table ends in front of `next`. What the last range delete covers behind the table's
 * own last key, if it is not over before that, begins the next table: *again. */
static int end_in_range(filling *f, firn_slice next, bool *again, firn_error *err)
{
    build *b = f->b;
    fragment_list *l = f->rules->ranges;
    firn_slice first = l->list[f->last].first, end = l->list[f->last].end;
    firn_slice key = sst_writer_last_key(b->writer);
    if (slice_compare(range_last(end), next) < 0)
        return FIRN_OK;
    /* With the range delete alone, be it as long as a table, the next table would begin as this one
     * did. And behind a key of the greatest length the next key is another one, of which a table's
     * bounds do not say what lies in front of it. */
    bool alone = slice_equal(sst_writer_first_key(b->writer), first) && slice_equal(key, first);
    if (alone || key.size == FIRN_MAX_KEY_BYTES) {
        b->hold = true;
        return FIRN_OK;
    }
    if (buf_assign(&f->behind, key.data, key.size) != FIRN_OK ||
        entry_key_behind(&f->behind) != FIRN_OK)
        return error_no_memory(err);
    for (size_t i = f->last; i < l->count && slice_equal(l->list[i].end, end); i++)
        l->list[i].first = buf_slice(&f->behind);
    f->next = f->last;
    f->last_stays = false;
    sst_writer_cut(b->writer);
    *again = true;
    return end_table(b, err);
}

/* In front of a key: does the table end there? */
static int turn_table(filling *f, firn_slice key, bool *again, firn_error *err)
{
    build *b = f->b;
    const build_rules *r = f->rules;
    *again = b->hold = false;
    if (r->cuts && r->cuts(r->ctx, b, key))
        b->cut = true;
    if (!f->last_stays || !b->writer ||
        (!b->cut && sst_writer_file_bytes(b->writer) < b->table_bytes))
        return FIRN_OK;
    return end_in_range(f, key, again, err);
}

/* It stays while it hides something: what may lie below, or what is kept for older snapshots. In
 * the last case it goes with them. */
static int add_range(filling *f, const fragment *r, firn_error *err)
{
    const keeper *k = &f->keeper;
    size_t below = snapshots_below(k->snapshots, k->count, r->seq);
    const build_rules *rules = f->rules;
    bool hides = rules->range_lies_below && rules->range_lies_below(rules->ctx, r->first, r->end);
    const iter it = {.key = r->first, .value = r->end, .seq = r->seq, .kind = FIRN_DELETE_RANGE};
    f->last = f->next > 0 && slice_equal(r[-1].end, r->end) ? f->last : f->next;
    f->last_stays = f->last_stays && f->last < f->next;
    f->next++;
    if (!hides && below == 0)
        return FIRN_OK;
    f->last_stays = true;
    keeper_let_go(&f->keeper);
    int rc = build_add(f->b, &it, err);
    if (rc == FIRN_OK && !hides)
        note_kept(f->b, k, 0, below);
    return rc;
}

/* The keeper hears of range deletes in their place among the versions: those that are newer than
 * this one. */
static void tell_erased(filling *f, const iter *it)
{
    const fragment *r;
    while ((r = range_at(f, f->over)) && slice_compare(r->end, it->key) <= 0)
        f->over++;
    if (!r || slice_compare(r->first, it->key) > 0)
        return;
    firn_slice end = r->end;
    for (size_t i = f->over; (r = range_at(f, i)) && slice_equal(r->end, end); i++) {
        if (r->seq <= it->seq)
            return;
        if (r->seq > f->erased_to)
            continue;
        keeper_erase(&f->keeper, r->seq);
        f->written = r->seq;
        f->erased_to = r->seq - 1;
    }
}

/* ---- Versions ---- */

static int begin_key(filling *f, firn_slice key, bool *again, firn_error *err)
{
    int rc = end_key(f, err);
    f->any = false;
    if (rc == FIRN_OK)
        rc = turn_table(f, key, again, err);
    if (rc != FIRN_OK || *again)
        return rc;
    if (buf_assign(&f->key, key.data, key.size) != FIRN_OK)
        return error_no_memory(err);
    keeper_next_key(&f->keeper);
    f->any = true;
    f->written = 0;
    f->erased_to = FIRN_MAX_SEQ;
    return FIRN_OK;
}

static int add_version(filling *f, const iter *it, firn_error *err)
{
    int rc = FIRN_OK;
    tell_erased(f, it);
    switch (keeper_feed(&f->keeper, it->seq, it->kind)) {
    case KEEPER_KEEP:
        rc = add_held(f, err);
        return rc == FIRN_OK ? add_one(f, it, err) : rc;
    case KEEPER_UNKNOWN:
        return resolve_refuse(it->kind, err);
    case KEEPER_DROP:
    case KEEPER_HOLD:
        break;
    }
    return FIRN_OK;
}

/* Adds the version at which the stream stands (NULL: it has ended), behind the range deletes that
 * come before it. */
static int add_next(filling *f, const iter *it, firn_error *err)
{
    /* The range deletes of what is merged stand in rules->ranges, and not as they were. */
    if (it && it->kind == FIRN_DELETE_RANGE)
        return f->rules->ranges ? FIRN_OK : resolve_refuse(it->kind, err);
    for (;;) {
        bool again = false;
        const fragment *r = range_at(f, f->next);
        if (r && !comes_first(r, it))
            r = NULL;
        if (!r && !it)
            return end_key(f, err);
        firn_slice key = r ? r->first : it->key;
        int rc = f->any && slice_equal(buf_slice(&f->key), key) ? FIRN_OK
                                                                : begin_key(f, key, &again, err);
        if (rc == FIRN_OK && again)
            continue;
        if (rc == FIRN_OK && r)
            rc = add_range(f, r, err);
        if (rc != FIRN_OK || !r)
            return rc == FIRN_OK ? add_version(f, it, err) : rc;
    }
}

static void give_turns(filling *f, const iter *it, uint64_t seen)
{
    const build_rules *rules = f->rules;
    f->turn_bytes += 16 + it->key.size + it->value.size; /* an entry costs, whatever its size */
    if (f->turn_bytes < BUILD_TURN_BYTES)
        return;
    f->turn_bytes = 0;
    if (!rules->hurries || !rules->hurries(rules->ctx, seen))
        thread_yield();
}

int build_list_ranges(const run *runs, size_t count, const buf *snapshots, uint64_t seq_max,
                      fragment_list *out, firn_error *err)
{
    const uint64_t *at = (const uint64_t *)(const void *)snapshots->data;
    size_t n = snapshots->size / sizeof *at;
    int rc = FIRN_OK;
    for (size_t i = 0; rc == FIRN_OK && i < count; i++)
        rc = run_list_ranges(runs[i], at, n, out, err);
    size_t kept = 0;
    for (size_t i = 0; i < out->count; i++)
        if (out->list[i].seq <= seq_max)
            out->list[kept++] = out->list[i];
    out->count = kept;
    if (rc == FIRN_OK && fragments_settle(out, at, n) != FIRN_OK)
        rc = error_no_memory(err);
    return rc;
}

int build_add_all(build *b, iter *it, const build_rules *rules, firn_error *err)
{
    filling f = {.b = b, .rules = rules};
    uint64_t seen = 0;
    int rc = FIRN_OK;
    assert(it->error == err);
    keeper_init(&f.keeper, (const uint64_t *)(const void *)rules->snapshots->data,
                rules->snapshots->size / sizeof(uint64_t));
    for (it->ops->first(it); rc == FIRN_OK && it->valid;) {
        rc = add_next(&f, it, err);
        give_turns(&f, it, ++seen);
        if (rc == FIRN_OK && seen % BUILD_STOP_ENTRIES == 0 && rules->stop &&
            rules->stop(rules->ctx))
            rc = FIRN_END;
        if (rc == FIRN_OK)
            it->ops->next(it);
    }
    if (rc == FIRN_OK)
        rc = it->status;
    if (rc == FIRN_OK)
        rc = add_next(&f, NULL, err);
    buf_release(&f.key);
    buf_release(&f.behind);
    return rc;
}

/* A sync of the folder that failed is no "try again", whatever errno was: what it has lost, a later
 * one that succeeds does not say (F3). */
static int folder_fails(firn_error *err)
{
    if (err)
        err->status = FIRN_IO;
    error_hint(err, "which new files survive is unknown; find the cause, then close the store and "
                    "open it again");
    return FIRN_IO;
}

int build_finish(build *b, firn_error *err)
{
    int rc = b->writer ? end_table(b, err) : FIRN_OK;
    b->table_failed = rc != FIRN_OK;
    if (rc == FIRN_OK && b->count) {
        rc = fs_dir_sync(b->db->dir, err);
        b->folder_failed = rc != FIRN_OK;
        if (error_curable(rc))
            rc = folder_fails(err);
    }
    sst_reader *ignored; /* jobs look at range deletes of open tables (jobs_open_ranged) */
    for (size_t i = 0; rc == FIRN_OK && i < b->count; i++)
        if (b->tables[i]->properties.ranges)
            (void)table_reader(b->tables[i], &ignored, NULL);
    return rc;
}

int build_list(const build *b, edit *e)
{
    int rc = FIRN_OK;
    for (size_t i = 0; rc == FIRN_OK && i < b->count; i++)
        rc = edit_add(e, b->level, b->tables[i]);
    return rc;
}

int build_commit(store *db, int made, edit *e, mem *flushed, bool *stay, firn_error *err)
{
    int rc = made == FIRN_OK ? store_commit_edit(db, e, flushed, err) : made;
    *stay = rc == FIRN_OK || (made == FIRN_OK && !error_curable(rc));
    return rc;
}

void build_release(build *b, bool kept)
{
    sst_writer_free(b->writer); /* removes what was not finished */
    budget_adjust(&b->db->budget, BUDGET_SCRATCH, &b->charged, 0);
    for (size_t i = 0; i < b->count; i++) {
        if (!kept)
            atomic_store_explicit(&b->tables[i]->obsolete, true, memory_order_release);
        table_unref(b->tables[i]);
    }
    heap_free(b->tables);
    buf_release(&b->last_key);
}
