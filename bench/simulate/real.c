/* real: see real.h. */
#include "real.h"

#include <base/slice.h>
#include <base/thread.h>
#include <engine/engine.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <store/store.h>
#include <tree/run.h>

#include "../data.h"
#include "keys.h"

#define KEY_BYTES_MOST   1024
#define VALUE_BYTES_MOST (1 << 20)
#define GETS             200 /* at each look */

typedef struct real {
    const settings *s;
    keys keys;
    firn *db;
    uint64_t random;
    uint64_t put_bytes;              /* keys and values */
    uint64_t sampled;                /* the state of what chooses keys to look for */
    MUTEX(now_mu);                   /* the store's threads tell of their edits */
    figures *now GUARDED_BY(now_mu); /* of the present phase; NULL: nothing is counted */
    uint64_t stamp;
    uint64_t started_ns;
    uint8_t key[KEY_BYTES_MOST];
    char *value;
} real;

static void check(int rc, const firn_error *err, const char *what)
{
    char text[700];
    if (rc == FIRN_OK)
        return;
    firn_error_format(err, text, sizeof text);
    stop("%s: %s", what, text);
}

static uint64_t next_random(void *ctx)
{
    return data_random(ctx);
}

static void make_key(real *r, uint64_t n)
{
    data d = {.seed = r->s->seed,
              .key_bytes = r->s->key_bytes,
              .in_order = r->s->pattern == PATTERN_ASCENDING};
    data_key(&d, n, (char *)r->key);
}

static void put(real *r, uint64_t n)
{
    firn_error err = {0};
    const settings *s = r->s;
    make_key(r, n);
    data d = {.value_bytes = s->value_bytes, .compressible = s->compressible};
    data_value(&d, (const char *)r->key, r->stamp++, r->value);
    check(firn_put(r->db, r->key, s->key_bytes, r->value, s->value_bytes, NULL, &err), &err,
          "the real store refuses a write");
    r->put_bytes += s->key_bytes + s->value_bytes;
}

static void delete (real *r, uint64_t n)
{
    firn_error err = {0};
    make_key(r, n);
    check(firn_delete(r->db, r->key, r->s->key_bytes, NULL, &err), &err,
          "the real store refuses a delete");
    r->put_bytes += r->s->key_bytes;
}

/* With a rate, the store's threads have the time that they have in the simulation. */
static void keep_rate(const real *r, uint64_t done)
{
    if (r->s->rate <= 0 || done % 256 != 0)
        return;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    double passed =
        (double)((uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec - r->started_ns);
    double due = (double)done * (r->s->key_bytes + r->s->value_bytes) / r->s->rate * 1e9;
    if (due > passed + 1e6)
        usleep((useconds_t)((due - passed) / 1000));
}

static void begin_clock(real *r)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    r->started_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void load(real *r)
{
    begin_clock(r);
    for (uint64_t i = 0; i < r->s->records; i++) {
        put(r, data_shuffled(i, r->s->records));
        keep_rate(r, i + 1);
    }
}

static void take_stats(real *r, firn_stats *stats)
{
    firn_error err = {0};
    check(firn_get_stats(r->db, stats, &err), &err, "the real store has no figures");
}

/* How many runs of the version a get of this key asks; 0: it has no value there. */
static double runs_of_get(real *r, const version *v, uint64_t n)
{
    firn_error err = {0};
    run_hit hit = {.answer = RESOLVE_GO_ON};
    double asked = 0;
    size_t at = 0;
    make_key(r, n);
    firn_slice key = {r->key, r->s->key_bytes};
    lookup l = {.key = key, .hash = sst_key_hash(key), .at = {.seq = firn_last_seq(r->db)}};
    for (run next; hit.answer == RESOLVE_GO_ON && (next = version_next_run(v, &at)).kind;) {
        table *t = run_table(next, key);
        if (!t)
            continue;
        check(run_get_in_table(t, &l, &hit, &err), &err, "the real store cannot be read");
        asked++;
    }
    if (hit.answer != RESOLVE_VALUE)
        return 0;
    run_drop(&hit);
    return asked;
}

/* What reading costs, counted in runs: of gets that find their keys, and of a seek. */
static void look_for_keys(real *r, figures *f, uint64_t done)
{
    gauge asked = {0};
    size_t runs = 0, at = 0;
    uint64_t there = r->s->pattern == PATTERN_ASCENDING ? done : r->s->records;
    view *v = store_view(r->db->store);
    while (version_next_run(v->version, &at).kind)
        runs++;
    for (unsigned i = 0; i < GETS; i++) {
        double count = runs_of_get(r, v->version, data_random(&r->sampled) % there);
        if (count > 0)
            gauge_add(&asked, count);
    }
    view_unref(v);
    gauge_add(&f->get_runs, gauge_mean(&asked));
    gauge_add(&f->seek_runs, (double)runs);
}

static void count_edit(void *ctx, firn *db, const edit *e)
{
    real *r = ctx;
    view *v = store_view(db->store);
    mutex_lock(&r->now_mu);
    if (r->now)
        figures_edit(r->now, e, (unsigned)v->version->levels[0].count,
                     schedule_debt(&db->store->rules, v->version),
                     schedule_unit(&db->store->rules, v->version));
    mutex_unlock(&r->now_mu);
    view_unref(v);
}

static void count_into(real *r, figures *f)
{
    mutex_lock(&r->now_mu);
    r->now = f;
    mutex_unlock(&r->now_mu);
}

/* As often as the simulation does. */
static void look(real *r, real_figures *out, uint64_t done)
{
    firn_stats stats;
    if (done * LOOKS / r->s->writes == (done - 1) * LOOKS / r->s->writes)
        return;
    take_stats(r, &stats);
    for (unsigned n = 0; n < FIRN_LEVELS; n++) {
        out->writes.level_sum[n] += (double)stats.level_bytes[n];
        out->writes.tables_sum[n] += (double)stats.level_tables[n];
    }
    out->writes.looks++;
    look_for_keys(r, &out->writes, done);
}

static void write_all(real *r, real_figures *out)
{
    begin_clock(r);
    for (uint64_t i = 0; i < r->s->writes; i++) {
        if (r->s->pattern == PATTERN_ASCENDING) {
            put(r, i);
        } else {
            uint64_t n = keys_draw(&r->keys, next_random, &r->random);
            bool deletes = r->keys.deletes > 0 && (next_random(&r->random) & 1);
            if (deletes)
                delete (r, n);
            else
                put(r, n);
        }
        look(r, out, i + 1);
        keep_rate(r, i + 1);
    }
}

static double count_live(real *r)
{
    firn_iter *it = NULL;
    firn_error err = {0};
    double live = 0;
    check(firn_iter_new(r->db, NULL, &it, &err), &err, "the real store cannot be read");
    for (firn_iter_first(it); firn_iter_valid(it); firn_iter_next(it))
        live++;
    check(firn_iter_status(it, &err), &err, "the real store cannot be read");
    firn_iter_free(it);
    return live;
}

/* Nothing is under way any more, and what was counted from the edits agrees with what the store
 * says. */
static void end_phase(real *r, figures *f, const firn_stats *before, firn_stats *now)
{
    firn_error err = {0};
    check(firn_flush(r->db, &err), &err, "the real store cannot flush");
    check(firn_settle(r->db, &err), &err, "the real store does not come to rest");
    take_stats(r, now);
    f->put_bytes = (double)r->put_bytes;
    r->put_bytes = 0;
    f->log_bytes = (double)(now->bytes_logged - before->bytes_logged);
    if (f->flushed_bytes != (double)(now->bytes_flushed - before->bytes_flushed) ||
        figures_merged(f) != (double)(now->bytes_compacted - before->bytes_compacted) ||
        f->flushes != now->flushes - before->flushes ||
        f->merges + f->moves != now->compactions - before->compactions)
        stop("the real store's statistics disagree with its edits");
}

static double seconds_since(uint64_t started_ns)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return ((double)now.tv_sec * 1e9 + (double)now.tv_nsec - (double)started_ns) / 1e9;
}

static void measure(real *r, real_figures *out)
{
    firn_stats start, loaded, end;
    take_stats(r, &start);
    count_into(r, &out->load);
    if (r->s->pattern != PATTERN_ASCENDING)
        load(r);
    end_phase(r, &out->load, &start, &loaded);
    count_into(r, &out->writes);
    write_all(r, out);
    out->seconds = seconds_since(r->started_ns);
    end_phase(r, &out->writes, &loaded, &end);
    count_into(r, NULL);
    out->stalled = (double)(end.stall_us - loaded.stall_us) / 1e6;
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        out->table_bytes += (double)end.level_bytes[n];
    out->live = count_live(r);
}

static void remove_folder(const char *path)
{
    firn_error err = {0};
    check(firn_destroy(path, &err), &err, "the temporary store cannot be removed");
    (void)rmdir(path);
}

void real_run(const settings *s, real_figures *out)
{
    real r = {.s = s, .random = s->seed, .sampled = s->seed + 1};
    char path[4096];
    firn_error err = {0};
    firn_options o = s->options;
    engine_config config = {.inline_work = !s->threads, .installed = count_edit, .ctx = &r};
    const char *base = s->folder ? s->folder : getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/firn-simulate-XXXXXX", base && *base ? base : "/tmp");
    if (!mkdtemp(path))
        stop("no folder can be made in %s", base && *base ? base : "/tmp");
    o.durability = FIRN_DURABILITY_NONE;
    keys_init(&r.keys, s, false);
    mutex_init(&r.now_mu);
    r.value = malloc(VALUE_BYTES_MOST + 8);
    if (!r.value)
        stop("no memory left");
    check(engine_open(path, &o, &config, &r.db, &err), &err, "the real store cannot be opened");
    measure(&r, out);
    check(firn_close(r.db, &err), &err, "the real store cannot be closed");
    mutex_release(&r.now_mu);
    remove_folder(path);
    free(r.value);
}
