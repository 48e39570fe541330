/* fuzz_folder: the folder of a whole store whose files were changed from outside (fuzz_folder_bytes.c).
 *
 * The first byte chooses a store and its age; what follows is done to its folder. Then it is checked,
 * opened to read, opened to write, and repaired, each on a copy.
 *
 * What must hold:
 *   - every refusal has a status that fits and a whole error; nothing stays open or allocated, and
 *     memory stays within twice the options' budget;
 *   - looking writes nothing;
 *   - what firn_check passes opens, reads without an error, forward, backward and by get alike, takes
 *     writes, flushes and compactions, and passes again; repair finds no loss in it and changes no
 *     value;
 *   - what does not pass may be refused, or give errors where the damage is; but what opens once, opens
 *     again, whatever was written in between;
 *   - repair of any folder that held a store ends with one that passes, opens and reads; a second
 *     repair finds no loss.
 *
 * FIRN_FUZZ_TALK=1 in the environment says what each step did.
 */
#include <base/slice.h>
#include <engine/engine.h>
#include <string.h>

#include "fuzz_folder_bytes.h"
#include "fuzz_memory.h"
#include "fuzz_run.h"

#define MEMORY_BUDGET ((size_t)4 << 20) /* as fuzz_folder_options has it */

static void talk(const char *what, int rc, const firn_error *err)
{
    if (!getenv("FIRN_FUZZ_TALK"))
        return;
    fprintf(stderr, "%s: %s", what, firn_status_name(rc));
    if (rc != FIRN_OK)
        fprintf(stderr, ": %s: %s (%s)", err->file, err->message, err->hint);
    fputc('\n', stderr);
}

/* Statuses that the files can be the reason of; nothing else is wrong here. */
static bool refused(const char *what, int rc, const firn_error *err)
{
    talk(what, rc, err);
    if (rc == FIRN_OK)
        return false;
    FUZZ_CHECK(rc == FIRN_DAMAGED || rc == FIRN_UNSUPPORTED || rc == FIRN_INVALID ||
               rc == FIRN_NOT_FOUND || rc == FIRN_IO || rc == FIRN_POISONED ||
               rc == FIRN_TOO_LARGE);
    FUZZ_CHECK(err->status == rc && err->message[0] && err->hint[0]);
    return true;
}

/* ---- Reading ---- */

/* `must`: the tables are in order, as they say. */
static bool walk_forward(firn_iter *it, fuzz_run *r, bool must)
{
    firn_error err = {0};
    int rc = firn_iter_first(it);
    for (; rc == FIRN_OK; rc = firn_iter_next(it)) {
        firn_slice key = firn_iter_key(it);
        FUZZ_CHECK(!must || fuzz_run_count(r) == 0 ||
                   slice_compare(fuzz_run_key(r, fuzz_run_count(r) - 1), key) < 0);
        fuzz_run_add(r, key, 1, FIRN_PUT, firn_iter_value(it));
    }
    return rc == FIRN_END || !refused("forward", firn_iter_status(it, &err), &err);
}

/* `whole`: the walk forward came through. */
static bool walk_backward(firn_iter *it, const fuzz_run *r, bool whole)
{
    firn_error err = {0};
    size_t left = fuzz_run_count(r);
    bool same = true;
    int rc = firn_iter_last(it);
    for (; rc == FIRN_OK; rc = firn_iter_prev(it)) {
        same = same && left > 0 && slice_equal(firn_iter_key(it), fuzz_run_key(r, left - 1)) &&
               slice_equal(firn_iter_value(it), fuzz_run_value(r, left - 1));
        left -= left > 0;
    }
    if (rc != FIRN_END)
        return !refused("backward", firn_iter_status(it, &err), &err);
    FUZZ_CHECK(!whole || (same && left == 0));
    return true;
}

/* Each key is found by get and by seek, unless damage is met on the way. */
static bool look_up(firn *db, firn_iter *it, const fuzz_run *r)
{
    bool good = true;
    for (size_t i = 0; i < fuzz_run_count(r); i++) {
        firn_error err = {0};
        firn_value v = {0};
        firn_slice key = fuzz_run_key(r, i);
        int rc = firn_get(db, key.data, key.size, NULL, &v, &err);
        if (rc == FIRN_OK)
            FUZZ_CHECK(slice_equal((firn_slice){v.data, v.size}, fuzz_run_value(r, i)));
        FUZZ_CHECK(rc != FIRN_NOT_FOUND);
        good = !refused("get", rc, &err) && good;
        firn_value_release(&v);
        rc = firn_iter_seek(it, key.data, key.size);
        FUZZ_CHECK(rc != FIRN_END);
        if (rc == FIRN_OK)
            FUZZ_CHECK(slice_equal(firn_iter_key(it), key));
        else
            good = !refused("seek", firn_iter_status(it, &err), &err) && good;
    }
    return good;
}

/* Everything the store holds, into *r. `must`: without an error. `right`: its tables are as they
 * should be, so that all ways of reading agree. */
static void read_all(firn *db, fuzz_run *r, bool must)
{
    firn_iter *it;
    firn_error err = {0};
    int rc = firn_iter_new(db, NULL, &it, &err);
    if (refused("iterator", rc, &err)) {
        FUZZ_CHECK(!must);
        return;
    }
    bool whole = walk_forward(it, r, must);
    bool back = walk_backward(it, r, whole && must);
    bool found = !must || look_up(db, it, r);
    FUZZ_CHECK(!must || (whole && back && found));
    firn_iter_free(it);
}

/* ---- One copy of the folder ---- */

typedef struct copy {
    simfs *sim;
    engine_config config;
    firn_options options;
} copy;

static void copy_init(copy *c, simfs *of)
{
    *c = (copy){.sim = simfs_clone(of)};
    c->config = (engine_config){.fs = simfs_fs(c->sim), .inline_work = true};
    fuzz_folder_options(&c->options);
}

static void copy_release(copy *c)
{
    FUZZ_CHECK(simfs_open_count(c->sim) == 0);
    simfs_free(c->sim);
}

static void say(void *ctx, const char *line)
{
    (void)ctx;
    if (getenv("FIRN_FUZZ_TALK"))
        fprintf(stderr, "    %s\n", line);
}

static bool passes(copy *c, firn_check_summary *summary)
{
    enum { CHANGING = SIMFS_CHANGING & ~SIMFS_DIR_OPEN_IN }; /* lost/ is looked into, not made */
    firn_error err = {0};
    uint64_t changes = simfs_calls(c->sim, CHANGING);
    int rc = engine_check(simfs_fs(c->sim), FUZZ_FOLDER, say, NULL, summary, &err);
    FUZZ_CHECK(simfs_calls(c->sim, CHANGING) == changes);
    return !refused("check", rc, &err);
}

/* The lock is asked for by those who write: a check knows nothing of what stands in its place. */
static bool is_about_the_lock(int rc, const firn_error *err)
{
    return rc == FIRN_INVALID && strcmp(err->file, FUZZ_FOLDER "/LOCK") == 0;
}

/* Opens; NULL when it is refused. */
static firn *open_copy(copy *c, bool must)
{
    firn *db = NULL;
    firn_error err = {0};
    int rc = engine_open(FUZZ_FOLDER, &c->options, &c->config, &db, &err);
    if (refused(c->options.read_only ? "open to read" : "open", rc, &err)) {
        FUZZ_CHECK(!db && (!must || is_about_the_lock(rc, &err)));
        return NULL;
    }
    return db;
}

static void close_copy(firn *db, bool must)
{
    firn_error err = {0};
    FUZZ_CHECK(!refused("close", firn_close(db, &err), &err) || !must);
}

/* ---- What is tried ---- */

static void try_reading(simfs *sim, bool good)
{
    copy c;
    fuzz_run r = {0};
    copy_init(&c, sim);
    c.options.read_only = true;
    firn *db = open_copy(&c, good);
    if (db) {
        read_all(db, &r, good);
        close_copy(db, good);
    }
    FUZZ_CHECK(simfs_calls(c.sim, SIMFS_CHANGING) == 0);
    fuzz_run_release(&r);
    copy_release(&c);
}

/* Whether it could be opened; *r: what it held then. */
static bool try_writing(simfs *sim, bool good, fuzz_run *r)
{
    static const char key[] = "key05", value[] = "written now";
    copy c;
    firn_error err = {0};
    firn_value v = {0};
    copy_init(&c, sim);
    firn *db = open_copy(&c, good);
    if (!db) {
        copy_release(&c);
        return false;
    }
    read_all(db, r, good);
    bool wrote = !refused("put", firn_put(db, key, 5, value, sizeof value, NULL, &err), &err) &&
                 !refused("flush", firn_flush(db, &err), &err) &&
                 !refused("compact", firn_compact(db, NULL, 0, NULL, 0, &err), &err);
    FUZZ_CHECK(wrote || !good);
    if (wrote) {
        int rc = firn_get(db, key, 5, NULL, &v, &err);
        if (rc == FIRN_OK)
            FUZZ_CHECK(v.size == sizeof value && memcmp(v.data, value, sizeof value) == 0);
        else
            FUZZ_CHECK(!good && (rc == FIRN_NOT_FOUND || refused("get", rc, &err)));
        firn_value_release(&v);
    }
    close_copy(db, good);
    FUZZ_CHECK(passes(&c, NULL) || !good);
    close_copy(open_copy(&c, true), good);
    copy_release(&c);
    return true;
}

static void told(void *ctx, const firn_repair_event *e)
{
    uint64_t *losses = ctx;
    *losses += e->kind != FIRN_REPAIR_NOTE;
    FUZZ_CHECK(e->text && e->text[0] && e->file);
    say(NULL, e->text);
}

enum { NOT_REPAIRED = -1, LOCK_IN_THE_WAY = -2 };

/* The number of losses, or why there is none. */
static int64_t repair(copy *c)
{
    firn_error err = {0};
    firn_repair_summary summary = {0};
    uint64_t losses = 0;
    int rc = engine_repair(FUZZ_FOLDER, &c->options, &c->config, told, &losses, &summary, &err);
    if (refused("repair", rc, &err)) {
        FUZZ_CHECK(rc == FIRN_UNSUPPORTED || rc == FIRN_NOT_FOUND || is_about_the_lock(rc, &err));
        return is_about_the_lock(rc, &err) ? LOCK_IN_THE_WAY : NOT_REPAIRED;
    }
    FUZZ_CHECK(losses == summary.losses);
    return (int64_t)losses;
}

/* `before`: what the store held, if that is known. */
static void try_repair(simfs *sim, bool good, const fuzz_run *before)
{
    copy c;
    fuzz_run r = {0};
    copy_init(&c, sim);
    int64_t losses = repair(&c);
    FUZZ_CHECK(!good || losses == 0 || losses == LOCK_IN_THE_WAY);
    if (losses >= 0) {
        FUZZ_CHECK(passes(&c, NULL));
        FUZZ_CHECK(repair(&c) == 0);
        firn *db = open_copy(&c, true);
        read_all(db, &r, true);
        close_copy(db, true);
        FUZZ_CHECK(passes(&c, NULL));
    }
    bool known = good && before && losses == 0;
    FUZZ_CHECK(!known || fuzz_run_count(&r) == fuzz_run_count(before));
    for (size_t i = 0; known && i < fuzz_run_count(&r); i++)
        FUZZ_CHECK(slice_equal(fuzz_run_key(&r, i), fuzz_run_key(before, i)) &&
                   slice_equal(fuzz_run_value(&r, i), fuzz_run_value(before, i)));
    fuzz_run_release(&r);
    copy_release(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input in = {.data = data, .size = size};
    uint32_t choice = fuzz_u8(&in);
    fuzz_folder f;
    fuzz_run before = {0};
    copy c;
    fuzz_folder_init(&f, choice % 16 % FUZZ_STORES, choice / 16 % FUZZ_AGES);
    bool untouched = !fuzz_more(&in);
    fuzz_folder_change(&f, &in);

    fuzz_memory_limit(2 * (MEMORY_BUDGET + (size_t)f.unpacked_max));
    copy_init(&c, f.sim);
    bool good = passes(&c, NULL);
    copy_release(&c);
    FUZZ_CHECK(good || !untouched);
    try_reading(f.sim, good);
    bool opened = try_writing(f.sim, good, &before);
    try_repair(f.sim, good, opened ? &before : NULL);
    if (getenv("FIRN_FUZZ_TALK"))
        fprintf(stderr, "%zu bytes held at most\n", fuzz_memory_peak());
    fuzz_memory_all_back();
    fuzz_run_release(&before);
    fuzz_folder_release(&f);
    return 0;
}
