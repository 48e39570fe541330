/* jobs: claims, and parts of jobs (jobs.h). */
#include "jobs.h"

#include <base/alloc.h>
#include <base/error.h>
#include <inttypes.h>
#include <string.h>

/* What a decision looks at. */
typedef struct sight {
    schedule_state state;
    buf claims, snapshots;
} sight;

static void sight_release(sight *s)
{
    buf_release(&s->claims);
    buf_release(&s->snapshots);
}

/* What running jobs may still write is not free. What cannot be asked is tried. */
static uint64_t free_bytes(store *db) REQUIRES(db->jobs_mu)
{
    fs_space space = {0};
    if (fs_dir_space(db->dir, &space, NULL) != FIRN_OK)
        return UINT64_MAX;
    uint64_t left = space.free_bytes;
    for (const job *j = db->jobs; j; j = j->next) {
        uint64_t taken = j->what.bytes_out_most; /* 0: one that waits has not been decided */
        left = left > taken ? left - taken : 0;
    }
    return left;
}

/* A caller that waits is in the way of workers, and of callers that came later. */
static bool is_in_the_way(const job *j, uint64_t ticket)
{
    return !j->waits || ticket == 0 || j->ticket < ticket;
}

/* Under jobs_mu: a claim that is gone has changed the view that is seen here. */
static int look_around(store *db, const tree *t, const version *v, uint64_t ticket, sight *s)
    REQUIRES(db->jobs_mu)
{
    *s = (sight){.state = {.version = v}};
    int rc = snapshots_list(db, &s->snapshots);
    for (const job *j = db->jobs; rc == FIRN_OK && j; j = j->next)
        if (j->tree == t && is_in_the_way(j, ticket))
            rc = buf_append(&s->claims, &j->claim, sizeof j->claim);
    s->state.claims = (const claim *)(const void *)s->claims.data;
    s->state.claim_count = s->claims.size / sizeof(claim);
    s->state.snapshots = (const uint64_t *)(const void *)s->snapshots.data;
    s->state.snapshot_count = s->snapshots.size / sizeof(uint64_t);
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        s->state.cursor[n] = t->cursor[n];
    return rc;
}

static void enter(store *db, job *j) REQUIRES(db->jobs_mu)
{
    j->claim = schedule_claim(&j->what);
    j->next = db->jobs;
    db->jobs = j;
    j->tree->held++;
}

static void leave(store *db, const job *j) REQUIRES(db->jobs_mu)
{
    job **at = &db->jobs;
    while (*at != j)
        at = &(*at)->next;
    *at = j->next;
    j->tree->held--;
}

static void release(job *j)
{
    schedule_job_release(&j->what);
    buf_release(&j->snapshots);
    version_unref(j->version);
    *j = (job){0};
}

/* With a reference. The view would keep its memtables from being given back, flushed or not, for as
 * long as the job runs. */
static version *version_now(tree *t)
{
    view *seen = tree_view(t);
    version *v = seen->version;
    version_ref(v);
    view_unref(seen);
    return v;
}

static int no_room(const store *db, const job *j, uint64_t free_now, firn_error *err)
{
    error_file(err, FIRN_NO_SPACE, db->dir->path, FIRN_NO_OFFSET,
               "a compaction of level %u may need %" PRIu64 " bytes, and %" PRIu64 " are free",
               j->what.level, j->what.bytes_out_most, free_now);
    error_hint_curable(err, ": compaction goes on by itself");
    return FIRN_NO_SPACE;
}

/* A bucket may be compressed in another way than the store. */
static schedule_rules rules_of(const tree *t)
{
    schedule_rules r = t->store->rules;
    r.plain_levels = options_plain_levels(store_form(t->store, t->bucket).compression);
    return r;
}

/* What is due in one tree. free_now: what there is room for. */
static int next_of(store *db, tree *t, bool calm, job *out, uint64_t free_now, firn_error *err)
    REQUIRES(db->jobs_mu)
{
    sight s;
    *out = (job){.db = db, .tree = t};
    out->version = version_now(t);
    int rc = look_around(db, t, out->version, 0, &s);
    if (rc == FIRN_OK) {
        s.state.free_bytes = free_now;
        schedule_rules rules = rules_of(t);
        rc = schedule_find(&rules, &s.state, calm, &out->what);
    }
    if (rc == FIRN_NO_SPACE && db->jobs)
        rc = FIRN_NOT_FOUND; /* when what runs has ended, there may be room */
    if (rc == FIRN_OK) {
        t->cursor[out->what.level] = out->what.next;
        enter(db, out);
    } else if (rc == FIRN_NO_SPACE) {
        no_room(db, out, free_now, err);
    } else if (rc == FIRN_NO_MEMORY) {
        error_no_memory(err);
    }
    sight_release(&s);
    if (rc != FIRN_OK)
        release(out);
    return rc;
}

/* The first tree behind `t` (NULL: of all) in which jobs may begin. It stays while jobs_mu is held.
 */
static tree *tree_behind(store *db, const tree *t) REQUIRES(db->jobs_mu)
{
    mutex_lock(&db->state_mu);
    tree *found = store_next_tree(db, t);
    while (found && (found->ending || found->pending))
        found = found->next;
    mutex_unlock(&db->state_mu);
    return found;
}

static bool is_closing(store *db)
{
    mutex_lock(&db->state_mu);
    bool yes = db->closing;
    mutex_unlock(&db->state_mu);
    return yes;
}

static bool has_ranged(const version *v)
{
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        if (v->levels[n].ranged)
            return true;
    return false;
}

/* The next bucket behind `t` that has tables with range deletes; *v: a reference to its version. */
static tree *ranged_behind(store *db, tree *t, version **v) REQUIRES(db->jobs_mu)
{
    while ((t = tree_behind(db, t))) {
        *v = version_now(t);
        if (has_ranged(*v))
            return t;
        version_unref(*v);
    }
    return NULL;
}

void jobs_open_ranged(store *db)
{
    sst_reader *ignored;
    buf versions = {0};
    version *v;
    mutex_lock(&db->jobs_mu);
    for (tree *t = NULL; (t = ranged_behind(db, t, &v));)
        if (buf_append(&versions, &v, sizeof v) != FIRN_OK)
            version_unref(v);
    mutex_unlock(&db->jobs_mu);
    for (size_t at = 0; at < versions.size; at += sizeof v) {
        memcpy(&v, versions.data + at, sizeof v);
        for (unsigned n = 0; n < FIRN_LEVELS; n++)
            for (size_t i = 0; v->levels[n].ranged && i < v->levels[n].count; i++)
                if (v->levels[n].tables[i]->properties.ranges && !is_closing(db))
                    (void)table_reader(v->levels[n].tables[i], &ignored, NULL);
        version_unref(v);
    }
    buf_release(&versions);
}

/* The bucket in which the search for a job begins: the one whose level 0 slows writers most, or, if
 * none does, the one whose turn it is. */
static unsigned first_turn(store *db) REQUIRES(db->jobs_mu)
{
    unsigned first = db->turn;
    size_t most = L0_SLOW_AT;
    mutex_lock(&db->state_mu);
    bool fails =
        db->stuck[WORK_COMPACTION].status != FIRN_OK; /* perhaps that one's: each in turn */
    for (tree *t = NULL; !fails && (t = store_next_tree(db, t));) {
        const view *v = atomic_load_explicit(&t->view, memory_order_relaxed);
        size_t tables = v ? v->version->levels[0].count : 0;
        if (tables > most) {
            first = t->bucket;
            most = tables;
        }
    }
    mutex_unlock(&db->state_mu);
    return first;
}

int jobs_next(store *db, bool calm, job *out, bool *others, firn_error *err)
{
    int rc = FIRN_NOT_FOUND, full = FIRN_NOT_FOUND;
    mutex_lock(&db->jobs_mu);
    unsigned start = first_turn(db);
    uint64_t free_now = free_bytes(db);
    *others = db->jobs != NULL;
    /* From that bucket on, and then from the first one to it. */
    for (unsigned pass = 0; rc == FIRN_NOT_FOUND && pass < 2; pass++)
        for (tree *t = NULL; rc == FIRN_NOT_FOUND && (t = tree_behind(db, t));) {
            if ((t->bucket >= start) != (pass == 0))
                continue;
            rc = next_of(db, t, calm, out, free_now, err);
            if (rc == FIRN_OK)
                db->turn = t->bucket + 1U;
            if (rc == FIRN_NO_SPACE) {
                full = rc; /* another one may need less */
                rc = FIRN_NOT_FOUND;
            }
        }
    mutex_unlock(&db->jobs_mu);
    return rc == FIRN_NOT_FOUND ? full : rc;
}

bool jobs_hold(tree *t)
{
    store *db = t->store;
    patience p = {0};
    mutex_lock(&db->jobs_mu);
    while (t->ending && !tree_is_dropped(t) && !is_closing(db)) {
        patience_begin(&p, &db->waits, FIRN_WAIT_COMPACTION);
        patience_wait(&p, &db->jobs_changed, &db->jobs_mu,
                      "until it is known whether the bucket that it compacts is dropped");
    }
    bool may = !tree_is_dropped(t);
    t->held += may;
    mutex_unlock(&db->jobs_mu);
    patience_end(&p);
    return may;
}

void jobs_let_go(tree *t)
{
    mutex_lock(&t->store->jobs_mu);
    t->held--;
    cond_broadcast(&t->store->jobs_changed);
    mutex_unlock(&t->store->jobs_mu);
}

/* One look. FIRN_END: `out` is entered as one that waits. */
static int ask_once(store *db, tree *t, schedule_request *q, job *out) REQUIRES(db->jobs_mu)
{
    sight s;
    out->version = version_now(t);
    int rc = look_around(db, t, out->version, out->ticket, &s);
    if (rc == FIRN_OK) {
        s.state.free_bytes = free_bytes(db);
        schedule_rules rules = rules_of(t);
        /* One that failed is not the request's to try again. */
        rc = q->alone ? FIRN_NOT_FOUND : schedule_covered(&s.state, &out->what);
        if (rc == FIRN_NOT_FOUND)
            rc = schedule_range(&rules, &s.state, q, &out->what);
    }
    sight_release(&s);
    out->waits = rc == FIRN_END;
    if (rc == FIRN_OK || rc == FIRN_END)
        enter(db, out);
    return rc;
}

int jobs_ask(tree *t, schedule_request *q, job *out, firn_error *err)
{
    int rc = FIRN_NOT_FOUND;
    store *db = t->store;
    patience p = {0};
    *out = (job){.db = db, .tree = t};
    mutex_lock(&db->jobs_mu);
    uint64_t ticket = ++db->tickets;
    while (!t->ending) {
        out->db = db;
        out->tree = t;
        out->ticket = ticket;
        rc = ask_once(db, t, q, out);
        if (rc != FIRN_END)
            break;
        if (!is_closing(db)) {
            patience_begin(&p, &db->waits, FIRN_WAIT_COMPACTION);
            patience_wait(&p, &db->jobs_changed, &db->jobs_mu,
                          "until compactions of the keys that it wants to compact have ended");
        }
        leave(db, out);
        release(out);
        if (is_closing(db))
            break;
        rc = FIRN_NOT_FOUND;
    }
    if (t->ending && rc == FIRN_NOT_FOUND)
        rc = is_closing(db) ? FIRN_END : FIRN_DROPPED;
    mutex_unlock(&db->jobs_mu);
    patience_end(&p);
    if (rc == FIRN_NO_MEMORY)
        error_no_memory(err);
    if (rc != FIRN_OK)
        release(out);
    return rc;
}

void jobs_end(store *db, job *j)
{
    mutex_lock(&db->jobs_mu);
    leave(db, j);
    cond_broadcast(&db->jobs_changed);
    mutex_unlock(&db->jobs_mu);
    store_ring(db); /* what stood behind its claim can be done now */
    release(j);
}

/* ---- Parts ---- */

/* Takes the next part of a job, and does it without the lock. */
static bool do_a_part(store *db, job *j) REQUIRES(db->jobs_mu)
{
    if (j->part_failed || j->part_next >= j->part_count)
        return false;
    part *p = &j->parts[j->part_next++];
    j->parts_running++;
    mutex_unlock(&db->jobs_mu);
    job_run_part(j, p);
    mutex_lock(&db->jobs_mu);
    j->parts_running--;
    j->part_failed = j->part_failed || p->status != FIRN_OK;
    cond_broadcast(&db->jobs_changed);
    return true;
}

bool jobs_help(store *db)
{
    bool did = false;
    mutex_lock(&db->jobs_mu);
    for (job *j = db->jobs; j && !did; j = did ? NULL : j->next)
        did = do_a_part(db, j); /* behind it, j may be gone */
    mutex_unlock(&db->jobs_mu);
    return did;
}

/* What a job has failed in is what its first part has, unless a part could not sync the folder. */
static const part *failed_part(const job *j)
{
    const part *failed = NULL;
    for (size_t i = 0; i < j->part_count; i++) {
        const part *p = &j->parts[i];
        if (p->status != FIRN_OK && (!failed || p->fault == FAULT_FOLDER))
            failed = p;
    }
    return failed;
}

int jobs_run_parts(job *j, firn_error *err)
{
    store *db = j->db;
    patience rest = {0};
    if (j->part_count > 1)
        store_ring(db);
    mutex_lock(&db->jobs_mu);
    while (do_a_part(db, j)) {
    }
    while (j->parts_running) {
        /* A worker holds up nothing that way: the parts are being done. */
        patience_begin(&rest, j->ticket ? &db->waits : NULL, FIRN_WAIT_COMPACTION);
        patience_wait(&rest, &db->jobs_changed, &db->jobs_mu,
                      "until other threads have done their parts of a compaction");
    }
    mutex_unlock(&db->jobs_mu);
    patience_end(&rest);
    const part *failed = failed_part(j);
    if (!failed)
        return FIRN_OK;
    j->fault = failed->fault;
    if (err)
        *err = failed->error;
    /* Be it a worker's job or a caller's, and whatever else has failed in it. */
    if (j->fault == FAULT_FOLDER)
        store_background_error(db, WORK_COMPACTION, failed->status, &failed->error);
    return failed->status;
}
