/* build: tables from a sorted stream. A table ends between two keys, never between versions of one
 * (V2). Which versions of a key stay is decided in resolve.c; the loop that asks it is
 * build_add_all. */
#include <assert.h>
#include <base/alloc.h>
#include <base/coding.h>
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
    b->cut = false;
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
    if (b->writer && (b->cut || (sst_writer_file_bytes(b->writer) >= b->table_bytes &&
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
    uint64_t written; /* number of the last version of the key that was added; 0: none was */
    /* the keeper knows of all range deletes of this key with a greater sequence number */
    uint64_t erased_to;
    uint64_t turn_bytes;
    iter tombstone; /* only to hand it to build_add */
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

static int begin_key(filling *f, firn_slice key, firn_error *err)
{
    int rc = end_key(f, err);
    if (rc == FIRN_OK && buf_assign(&f->key, key.data, key.size) != FIRN_OK)
        rc = error_no_memory(err);
    keeper_next_key(&f->keeper);
    f->any = true;
    f->written = 0;
    if (rc == FIRN_OK && f->rules->cuts && f->rules->cuts(f->rules->ctx, f->b, key))
        f->b->cut = true;
    f->erased_to = FIRN_MAX_SEQ;
    return rc;
}

/* The keeper hears of range deletes in their place among the versions: those that are newer than
 * this one. */
static void tell_erased(filling *f, const iter *it)
{
    const erasures *e = f->rules->erased;
    if (!e || e->count == 0)
        return;
    for (uint64_t seq; (seq = erasures_find(e, it->key, f->erased_to)) > it->seq;) {
        keeper_erase(&f->keeper, seq);
        f->erased_to = seq - 1;
    }
}

static int add_version(filling *f, const iter *it, firn_error *err)
{
    int rc = FIRN_OK;
    if (!f->any || !slice_equal(buf_slice(&f->key), it->key))
        rc = begin_key(f, it->key, err);
    if (rc != FIRN_OK)
        return rc;
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

int build_add_all(build *b, iter *it, const build_rules *rules, firn_error *err)
{
    filling f = {.b = b, .rules = rules};
    uint64_t seen = 0;
    int rc = FIRN_OK;
    assert(it->error == err);
    keeper_init(&f.keeper, (const uint64_t *)(const void *)rules->snapshots->data,
                rules->snapshots->size / sizeof(uint64_t));
    for (it->ops->first(it); rc == FIRN_OK && it->valid;) {
        rc = add_version(&f, it, err);
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
        rc = end_key(&f, err);
    buf_release(&f.key);
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
