/* repair: makes a damaged store usable again with all that is intact in it, and says what is gone.
 *
 *   1  the manifest is read. When it is damaged, or proves to be an old one: the tables in the
 *      folder count, all of them
 *   2  tables: the intact ones stay; of others what can be read goes into new ones
 *      (repair_tables.c)
 *   3  the log is salvaged, as recovery=salvage does (wal/)
 *   4  a new manifest lists the tables: the commit point
 *   5  the store is opened and closed, which removes what the manifest does not list, and checked
 *
 * Files that are given up have got a second name in lost/ before step 4. A crash before it leaves
 * the damaged store, with some orphans more and perhaps a log without damage; a crash behind it a
 * repaired one.
 *
 * Which numbers do tables hold that no manifest lists? Everything up to the greatest in an intact
 * one, since memtables are flushed in the order of their numbers. What is left of a damaged one
 * proves nothing: it may never have been finished, and then the log has it all.
 */
#include "repair.h"

#include <base/alloc.h>
#include <base/coding.h>
#include <base/entry.h>
#include <base/error.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tree/names.h>
#include <tree/version_build.h>

/* ---- Telling ---- */

/* Of a bucket that an event does not name, nothing is known. */
static void pass_on(const repair *r, const firn_repair_event *event)
{
    firn_repair_event e = *event;
    if (!e.bucket)
        e.bucket = "";
    if (r->tell)
        r->tell(r->ctx, &e);
}

void repair_note(const repair *r, const char *file, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    pass_on(r, &(firn_repair_event){.kind = FIRN_REPAIR_NOTE, .text = text, .file = file});
}

void repair_loss(repair *r, const firn_repair_event *event)
{
    r->summary.losses++;
    pass_on(r, event);
}

static void lost_operations(repair *r, const char *text, const char *file, uint64_t first,
                            uint64_t last)
{
    if (first)
        r->summary.operations_lost += last - first + 1;
    repair_loss(r, &(firn_repair_event){.kind = FIRN_REPAIR_LOST_OPERATIONS,
                                        .text = text,
                                        .file = file,
                                        .seq_first = first,
                                        .seq_last = last});
}

void repair_note_error(repair *r, const char *file, const firn_error *why)
{
    pass_on(r, &(firn_repair_event){
                   .kind = FIRN_REPAIR_NOTE,
                   .text = why->message,
                   .file = file,
                   .offset = why->offset == FIRN_NO_OFFSET ? 0 : why->offset,
               });
}

static const bucket_state *find_bucket(const repair *r, uint16_t bucket)
{
    for (size_t i = 0; i < r->state.bucket_count; i++)
        if (r->state.buckets[i].bucket == bucket)
            return &r->state.buckets[i];
    return NULL;
}

const char *repair_bucket_name(const repair *r, uint16_t bucket)
{
    const bucket_state *b = find_bucket(r, bucket);
    return b ? b->name.bytes : "";
}

bool repair_is_dropped(const repair *r, uint16_t bucket)
{
    return bucket > 0 && bucket < r->state.bucket_limit && !find_bucket(r, bucket);
}

bool repair_is_damage(int rc, const firn_error *err)
{
    return rc == FIRN_DAMAGED || (rc == FIRN_IO && err->sys_errno == EIO);
}

/* ---- The manifest that is there ---- */

static int read_manifest(repair *r)
{
    size_t count = folder_count(&r->folder.manifests);
    firn_error why = {0};
    if (count == 0) {
        repair_note(r, "", "%s",
                    folder_count(&r->folder.tables)
                        ? "the folder holds no manifest"
                        : "the folder holds a log and nothing else: it becomes a store");
        return FIRN_OK;
    }
    /* A damaged one may be no manifest at all; then the one before it counts, unless it proves to
     * be an old one. */
    for (size_t i = count; i-- > 0;) {
        char name[NAME_BYTES];
        uint64_t no = folder_at(&r->folder.manifests, i);
        name_manifest(no, false, name);
        int rc = manifest_load(&r->db->env, no, &r->state, &why);
        if (rc == FIRN_OK) {
            handle_set_id(r->db, r->state.store_id);
            r->changed = i + 1 < count;
            return FIRN_OK;
        }
        if (!repair_is_damage(rc, &why)) {
            if (r->err)
                *r->err = why;
            return rc;
        }
        repair_note_error(r, name, &why);
        rc = lost_keep(&r->lost, name, r->err);
        if (rc != FIRN_OK)
            return rc;
    }
    return FIRN_OK;
}

static bool misses_a_table(const repair *r)
{
    for (size_t t = 0; t < manifest_state_count(&r->state); t++) {
        const version *v = manifest_state_version(&r->state, t);
        for (unsigned n = 0; n < FIRN_LEVELS; n++)
            for (size_t i = 0; i < v->levels[n].count; i++)
                if (!folder_has(&r->folder.tables, v->levels[n].tables[i]->no))
                    return true;
    }
    return false;
}

/* ---- The log, as it is ---- */

typedef struct log_look {
    bool front_damaged;    /* something is lost in front of its first operation */
    uint64_t before_first; /* the last number in front of what the log holds */
    uint64_t last_seq;     /* the last number that the log holds */
    uint8_t store_id[16];
} log_look;

static void log_config(const repair *r, firn_recovery recovery, wal_config *c)
{
    wal_config_init(c);
    c->options.segment_bytes = r->db->options.segment_bytes;
    c->options.recovery = recovery;
    if (r->db->options.never_map)
        c->options.backing = FIRN_WAL_BUFFERED;
    c->options.mark_ms = 0;
    c->inline_work = r->db->inline_work;
    c->covered_seq = r->flushed_seq;
    c->covered_no = r->covered_no;
    memcpy(c->store_id, r->db->store_id, sizeof c->store_id);
}

static void buckets_of_frame(const wal_applied *frame, bucket_set *out)
{
    firn_slice payload = {wal_segment_base(frame->segment) + frame->offset, frame->bytes};
    entries_buckets(payload, frame->count, out);
}

static int see_buckets(void *ctx, const wal_applied *frame)
{
    buckets_of_frame(frame, ctx);
    return 0;
}

/* *buckets: gets those that the log has entries of; NULL: they are not looked for. Only a lack of
 * memory, descriptors or room is an error: of a damaged log, there is what can be read. */
static int look_at_log(const repair *r, log_look *out, bucket_set *buckets)
{
    wal_config config;
    firn_wal_report report;
    wal_stats stats;
    wal *w = NULL;
    log_config(r, FIRN_RECOVERY_INSPECT, &config);
    config.options.read_only = true;
    *out = (log_look){0};
    firn_wal_report_init(&report);
    firn_error why = {0};
    int rc = wal_open(r->db->dir, &config, &report, &w, &why);
    if (rc == FIRN_OK) {
        wal_get_stats(w, &stats);
        out->before_first = report.seq_first ? report.seq_first - 1 : 0;
        out->last_seq = stats.last_seq;
        if (stats.floor_seq > out->before_first)
            out->before_first = stats.floor_seq;
        memcpy(out->store_id, stats.store_id, sizeof out->store_id);
        for (size_t i = 0; i < report.count; i++)
            out->front_damaged =
                out->front_damaged || (firn_wal_is_loss(&report.findings[i]) &&
                                       report.findings[i].seq_first <= out->before_first);
        if (buckets) /* of a log that cannot be read to its end, what is in front */
            rc = wal_recovered(w, 0, see_buckets, buckets, &why);
    }
    firn_wal_close(w, NULL);
    firn_wal_report_release(&report);
    return error_curable(rc) ? error_give(r->err, rc, &why) : FIRN_OK;
}

/* The manifest says that operations far beyond the end of the log are in tables: no writer can have
 * given out their sequence numbers. */
static int manifest_exceeds_log(const repair *r, bool *beyond)
{
    log_look look;
    *beyond = false;
    if (r->flushed_seq <= WAL_SKIP_MAX)
        return FIRN_OK;
    int rc = look_at_log(r, &look, NULL);
    *beyond = rc == FIRN_OK && look.last_seq < r->flushed_seq - WAL_SKIP_MAX;
    return rc;
}

/* A manifest whose end has been lost is an older one: tables that it lists have been removed since,
 * or the log has been given up beyond what it knows of. Then there are tables that it does not list
 * and that say so. */
static int manifest_is_old(repair *r, bool *old)
{
    uint64_t seq_max;
    bool any;
    int rc = repair_orphans(r, &any, &seq_max);
    *old = rc == FIRN_OK && any && misses_a_table(r);
    if (rc != FIRN_OK || !any || *old || seq_max <= r->flushed_seq)
        return rc;
    log_look look;
    rc = look_at_log(r, &look, NULL);
    if (rc != FIRN_OK)
        return rc;
    *old = look.front_damaged || look.before_first > r->flushed_seq;
    return FIRN_OK;
}

/* ---- Without a manifest ---- */

typedef struct store_id {
    uint64_t words[2];
} store_id;

static int by_id(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(store_id));
}

/* The id that most of them are. */
static store_id most_frequent(store_id *ids, size_t count)
{
    size_t best = 0, best_votes = 0, votes = 0;
    qsort(ids, count, sizeof *ids, by_id);
    for (size_t i = 0; i < count; i++) {
        votes = i > 0 && by_id(&ids[i - 1], &ids[i]) == 0 ? votes + 1 : 1;
        if (votes > best_votes) {
            best = i;
            best_votes = votes;
        }
    }
    return ids[best];
}

/* The store is the one that most tables belong to; without tables, the log's. */
static int find_store_id(repair *r, const log_look *look)
{
    size_t count = folder_count(&r->folder.tables), known = 0;
    store_id *ids = heap_zalloc((count + 1) * sizeof *ids);
    if (!ids)
        return error_no_memory(r->err);
    for (size_t i = 0; i < count; i++) {
        char name[NAME_BYTES];
        uint64_t no;
        name_table(folder_at(&r->folder.tables, i), name);
        if (sst_identify(r->db->dir, name, ids[known].words, &no, NULL) == FIRN_OK)
            known++;
    }
    store_id best = known ? most_frequent(ids, known) : (store_id){{0}};
    heap_free(ids);
    uint8_t id[16], none[16] = {0};
    put_u64(id, best.words[0]);
    put_u64(id + 8, best.words[1]);
    if (!known)
        memcpy(id, look->store_id, sizeof id);
    if (memcmp(id, none, sizeof id) == 0) {
        int rc = fs_random(r->db->fs, id, sizeof id, r->err);
        if (rc != FIRN_OK)
            return rc;
    }
    handle_set_id(r->db, id);
    return FIRN_OK;
}

static int rebuild(repair *r)
{
    log_look look;
    uint64_t seq_max = 0;
    r->changed = true;
    r->summary.manifest_rebuilt = true;
    r->covered_no = r->folder.log_files ? r->folder.log_first - 1 : r->state.covered_no;
    r->flushed_seq = 0;
    int rc = look_at_log(r, &look, &r->in_log);
    if (rc == FIRN_OK && r->state.version)
        repair_tell_missing(r);
    if (rc == FIRN_OK && !r->state.version)
        rc = find_store_id(r, &look);
    if (rc == FIRN_OK)
        rc = repair_found_tables(r, &seq_max);
    if (rc != FIRN_OK)
        return rc;
    repair_note(r, "", "%zu tables were found; all of them are merged into new ones", r->count);
    if (!r->state.version)
        repair_note(
            r, "",
            "a damaged manifest no longer says where the store was closed: whether the log's last "
            "operations are all there is not known");
    if (look.before_first > seq_max) {
        if (look.front_damaged)
            lost_operations(r, "these operations are neither in a table nor in the log", "",
                            seq_max + 1, look.before_first);
        else
            repair_note(r, "",
                        "operations %" PRIu64 " to %" PRIu64
                        " are neither in a table nor in the log: deletes that have been "
                        "completed, or a table that is missing",
                        seq_max + 1, look.before_first);
        seq_max = look.before_first;
    }
    r->flushed_seq = seq_max;
    return repair_merge(r);
}

/* ---- The log is salvaged ---- */

static void tell_finding(repair *r, const firn_wal_finding *f)
{
    firn_repair_event e = {.kind =
                               firn_wal_is_loss(f) ? FIRN_REPAIR_LOST_OPERATIONS : FIRN_REPAIR_NOTE,
                           .text = f->proof,
                           .file = f->file,
                           .offset = f->offset,
                           .bytes = f->bytes,
                           .seq_first = f->seq_first,
                           .seq_last = f->seq_last};
    r->summary.doubts += f->may_be_durable;
    if (firn_wal_is_loss(f)) {
        if (f->seq_first)
            r->summary.operations_lost += f->seq_last - f->seq_first + 1;
        repair_loss(r, &e);
    } else if (r->tell) {
        r->tell(r->ctx, &e);
    }
}

static int open_log(repair *r, firn_recovery recovery, firn_wal_report *report, wal **out,
                    firn_error *err)
{
    wal_config config;
    log_config(r, recovery, &config);
    firn_wal_report_release(report);
    firn_wal_report_init(report);
    return wal_open(r->db->dir, &config, report, out, err);
}

/* What the log should hold and, without damage that tells, does not. `last`: where numbers
 * go on, with losses marked. */
static void compare_with_manifest(repair *r, uint64_t floor_seq, uint64_t last)
{
    uint64_t flushed = r->flushed_seq, closed = r->state.closed_seq;
    if (r->folder.log_files == 0 && closed <= last)
        lost_operations(r, "the log is missing", "", 0, 0);
    if (floor_seq > flushed) {
        lost_operations(r, "the log begins behind what the tables hold", "", flushed + 1,
                        floor_seq);
        r->flushed_seq = floor_seq;
        r->changed = true;
    }
    if (closed > last) {
        if (r->summary.operations_lost == 0)
            lost_operations(r, "the log ends before the number at which the store was closed", "",
                            last + 1, closed);
        r->changed = true; /* the new manifest does not ask for them */
    }
}

/* Where a loss cannot be marked, what is behind it is given up. */
static int keep_front(repair *r, uint64_t seq_last, wal **out, firn_error *err)
{
    firn_wal_report report;
    wal_stats stats;
    firn_wal_report_init(&report);
    int rc = open_log(r, FIRN_RECOVERY_PREFIX, &report, out, err);
    firn_wal_report_release(&report);
    if (rc != FIRN_OK)
        return rc;
    wal_get_stats(*out, &stats);
    if (seq_last > stats.last_seq)
        lost_operations(r, "what is behind damage that cannot be marked in the log is in lost/", "",
                        stats.last_seq + 1, seq_last);
    return FIRN_OK;
}

/* A manifest that is lost, or older than the log, does not list all buckets that have entries
 * there. */
static int see_frame(void *ctx, const wal_applied *frame)
{
    repair *r = ctx;
    bucket_set buckets = {0};
    buckets_of_frame(frame, &buckets);
    for (unsigned b = r->state.bucket_limit ? r->state.bucket_limit : 1;
         (b = bucket_set_next(&buckets, b)) < ENTRY_BUCKETS; b++) {
        bucket_set_add(&r->seen, b);
        r->changed = true;
    }
    return 0;
}

static int salvage_log(repair *r)
{
    firn_wal_report report;
    firn_error why = {0};
    wal *w = NULL;
    firn_wal_report_init(&report);
    int rc = open_log(r, FIRN_RECOVERY_SALVAGE, &report, &w, &why);
    for (size_t i = 0; i < report.count;
         i++) /* also when it failed half way: what is marked is not found again */
        tell_finding(r, &report.findings[i]);
    if (rc == FIRN_DAMAGED) {
        repair_note_error(r, "", &why);
        rc = keep_front(r, report.seq_last, &w, &why);
    }
    if (rc == FIRN_OK) {
        wal_stats stats;
        wal_get_stats(w, &stats);
        r->summary.log_operations = report.operations;
        compare_with_manifest(r, stats.floor_seq, stats.last_seq);
        rc = wal_recovered(w, r->flushed_seq, see_frame, r, &why);
        int closed = firn_wal_close(w, rc == FIRN_OK ? &why : NULL);
        rc = rc == FIRN_OK ? closed : rc;
    }
    firn_wal_report_release(&report);
    if (rc != FIRN_OK && r->err)
        *r->err = why;
    return rc;
}

/* ---- The new manifest ---- */

/* The highest number counts. What has a number that no manifest of this store can have reached, and
 * is none, as has been found, is in lost/ by a second name. */
static int remove_beyond(repair *r, uint64_t no)
{
    for (size_t i = folder_count(&r->folder.manifests); i-- > 0;) {
        uint64_t other = folder_at(&r->folder.manifests, i);
        char name[NAME_BYTES];
        if (other < no)
            break;
        name_manifest(other, false, name);
        int rc = fs_unlink(r->db->dir, name, r->err);
        if (rc != FIRN_OK && rc != FIRN_NOT_FOUND)
            return rc;
    }
    return FIRN_OK;
}

/* The version that the parts of a bucket make. */
static int version_of_parts(const repair *r, const edit *e, uint16_t bucket, version **out)
{
    version *empty = NULL;
    if (version_new_empty(&empty) != FIRN_OK)
        return error_no_memory(r->err);
    empty->bucket = bucket;
    int rc = version_apply(empty, e, out, r->err);
    version_unref(empty);
    return rc;
}

/* What a bucket is called whose name has been lost: no other one is called so. */
static size_t make_name(const repair *r, uint16_t bucket, char name[TREE_NAME_MAX + 1])
{
    bool taken = true;
    int size = snprintf(name, TREE_NAME_MAX + 1, "bucket-%u", bucket);
    while (taken && size < TREE_NAME_MAX) {
        taken = false;
        for (size_t i = 0; i < r->state.bucket_count; i++)
            taken = taken || strcmp(r->state.buckets[i].name.bytes, name) == 0;
        if (taken)
            name[size++] = '-';
        name[size] = 0;
    }
    repair_note(r, "", "bucket %u has lost its name: it is called %s", bucket, name);
    return (size_t)size;
}

static int add_bucket(const repair *r, manifest_state *s, const edit *e, uint16_t bucket)
{
    const bucket_state *listed = find_bucket(r, bucket);
    char name[TREE_NAME_MAX + 1];
    version *v = NULL;
    static const bucket_form unknown = {FIRN_AS_STORE, FIRN_AS_STORE};
    const bucket_form *form = listed ? &listed->form : &unknown;
    firn_slice called = listed ? slice_of(listed->name.bytes, listed->name.size)
                               : slice_of(name, make_name(r, bucket, name));
    int rc = version_of_parts(r, e, bucket, &v);
    if (rc == FIRN_OK && manifest_state_add(s, bucket, called, form, v) != FIRN_OK)
        rc = error_no_memory(r->err);
    version_unref(v);
    if (s->bucket_limit <= bucket)
        s->bucket_limit = bucket + 1U;
    return rc;
}

/* All buckets that were listed, or of which there is something, with what is left of their tables.
 */
static int state_of_parts(const repair *r, manifest_state *s)
{
    edit e = {0};
    int rc = FIRN_OK;
    s->bucket_limit = r->state.bucket_limit;
    for (size_t i = 0; rc == FIRN_OK && i < r->count; i++)
        if (edit_add(&e, r->parts[i].level, r->parts[i].table) != FIRN_OK)
            rc = error_no_memory(r->err);
    if (rc == FIRN_OK)
        rc = version_of_parts(r, &e, 0, &s->version);
    bucket_set all = r->seen;
    for (size_t i = 0; i < r->state.bucket_count; i++)
        bucket_set_add(&all, r->state.buckets[i].bucket);
    for (unsigned b = 1; rc == FIRN_OK && (b = bucket_set_next(&all, b)) < ENTRY_BUCKETS; b++)
        rc = add_bucket(r, s, &e, (uint16_t)b);
    edit_release(&e);
    return rc;
}

static int write_manifest(repair *r)
{
    manifest_state s = {.flushed_seq = r->flushed_seq, .covered_no = r->covered_no};
    manifest *m = NULL;
    memcpy(s.store_id, r->db->store_id, sizeof s.store_id);
    int rc = state_of_parts(r, &s);
    if (rc == FIRN_OK)
        rc = lost_sync(&r->lost, r->err);
    if (rc == FIRN_OK)
        rc = store_check_held(r->db, r->err); /* reading all tables may have taken long */
    if (rc == FIRN_OK) {
        uint64_t no = store_next_file_no(r->db);
        s.next_file_no = no + 1;
        rc = remove_beyond(r, no);
        if (rc == FIRN_OK)
            rc = manifest_create(r->db->dir, no, &s, &m, r->err);
    }
    manifest_close(m);
    manifest_state_release(&s);
    return rc;
}

/* What the log is told that the tables hold must be on the disk before it removes anything. */
static int settle_manifest(repair *r)
{
    manifest *m = NULL;
    uint64_t no = store_next_file_no(r->db);
    r->state.next_file_no = no + 1;
    int rc = manifest_settle(r->db->dir, no, &r->state, &m, r->err);
    manifest_close(m);
    return rc;
}

/* ---- All of it ---- */

static int enter(repair *r, const char *path)
{
    store *db = r->db;
    int rc = fs_dir_open(db->fs, path, &db->dir, r->err);
    db->env.dir = r->lost.store = db->dir;
    if (rc == FIRN_OK)
        rc = folder_read(db->dir, &r->folder, r->err);
    bool nothing = folder_count(&r->folder.manifests) == 0 &&
                   folder_count(&r->folder.tables) == 0 && r->folder.log_files == 0;
    if (rc == FIRN_NOT_FOUND || (rc == FIRN_OK && nothing)) {
        rc = error_file(r->err, FIRN_NOT_FOUND, path, FIRN_NO_OFFSET,
                        "there is no store in the folder");
        error_hint(r->err, "check the path");
    }
    if (rc == FIRN_OK)
        rc = repair_clear_lock(r);
    if (rc == FIRN_OK)
        rc = fs_dir_lock(db->dir, &db->lock, r->err);
    db->env.lock = db->lock;
    if (rc == FIRN_OK)
        rc = repair_clear_folder(r);
    if (rc != FIRN_OK)
        return rc;
    folder_release(&r->folder);
    return folder_read(db->dir, &r->folder, r->err);
}

static int put_together(repair *r, const char *path)
{
    int rc = enter(r, path);
    if (rc == FIRN_OK)
        rc = read_manifest(r);
    if (rc != FIRN_OK)
        return rc;
    store_number_files(r->db, &r->folder, r->state.next_file_no);
    rc = store_check_file_no(r->db, r->err);
    if (rc != FIRN_OK)
        return rc;
    r->flushed_seq = r->state.flushed_seq;
    r->covered_no = r->state.covered_no;
    bool beyond = false, old = false;
    if (r->state.version)
        rc = manifest_exceeds_log(r, &beyond);
    if (rc == FIRN_OK && r->state.version && !beyond)
        rc = manifest_is_old(r, &old);
    if (beyond)
        repair_note(r, "", "the manifest speaks of operations that no log of the store can reach");
    if (old)
        repair_note(r, "", "the manifest is older than the tables and the log");
    if (rc == FIRN_OK)
        rc = r->state.version && !old && !beyond ? repair_listed_tables(r) : rebuild(r);
    if (rc == FIRN_OK && r->state.version)
        rc = settle_manifest(r);
    if (rc == FIRN_OK)
        rc = salvage_log(r);
    if (rc == FIRN_OK && r->changed)
        rc = write_manifest(r);
    if (r->lost.aside[0])
        repair_note(r, NAME_LOST, "what stood in the place of this folder is now %s",
                    r->lost.aside);
    r->summary.tables = r->count;
    for (size_t i = 0; i < r->count; i++)
        r->summary.entries += r->parts[i].table->properties.entries;
    return rc;
}

static void repair_release(repair *r)
{
    repair_drop_parts(r);
    manifest_state_release(&r->state);
    folder_release(&r->folder);
    lost_close(&r->lost);
    handle_free(r->db);
}

/* What a repair leaves must be a store like any other. */
static int prove(const char *path, const firn_options *options, const engine_config *config,
                 firn_error *err)
{
    firn *db = NULL;
    int rc = engine_open(path, options, config, &db, err);
    if (rc == FIRN_OK)
        rc = firn_close(db, err);
    return rc == FIRN_OK ? engine_check(config->fs, path, NULL, NULL, NULL, err) : rc;
}

int engine_repair(const char *path, const firn_options *options, const engine_config *config,
                  void (*tell)(void *ctx, const firn_repair_event *event), void *ctx,
                  firn_repair_summary *summary, firn_error *err)
{
    if (summary)
        *summary = (firn_repair_summary){0};
    if (!path)
        return error_set(err, FIRN_INVALID, "the path of the store is NULL");
    firn_error why;
    error_clear(&why);
    engine_config c = config ? *config : (engine_config){0};
    repair r = {.tell = tell, .ctx = ctx, .err = &why};
    int rc = handle_new(options, &c, &r.db, err);
    if (rc != FIRN_OK)
        return rc;
    firn_options o = r.db->options;
    o.create_if_missing = o.error_if_exists = o.read_only = false;
    o.recovery = FIRN_RECOVERY_TAIL;
    /* A sector that cannot be read is an error of a read, but kills the process that touches it in
     * a mapping. */
    r.db->env.mapped = false;
    rc = put_together(&r, path);
    if (summary)
        *summary = r.summary;
    repair_release(&r);
    if (rc == FIRN_OK)
        rc = prove(path, &o, &c, &why);
    return error_give(err, rc, &why);
}

int firn_repair(const char *path, const firn_options *options,
                void (*tell)(void *ctx, const firn_repair_event *event), void *ctx,
                firn_repair_summary *summary, firn_error *error)
{
    return engine_repair(path, options, NULL, tell, ctx, summary, error);
}
