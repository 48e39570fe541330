/* real: see real.h. */
#include "real.h"

#include <engine/engine.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../data.h"
#include "figures.h"
#include "keys.h"

#define KEY_BYTES_MOST   1024
#define VALUE_BYTES_MOST (1 << 20)

typedef struct real {
    const settings *s;
    keys keys;
    firn *db;
    uint64_t random;
    uint64_t put_bytes, loaded_bytes; /* keys and values */
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

/* As often as the simulation does. */
static void look(real *r, real_figures *out, uint64_t done)
{
    firn_stats stats;
    if (done * LOOKS / r->s->writes == (done - 1) * LOOKS / r->s->writes)
        return;
    take_stats(r, &stats);
    for (unsigned n = 0; n < FIRN_LEVELS; n++)
        out->level_bytes[n] += (double)stats.level_bytes[n] / LOOKS;
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

static void measure(real *r, real_figures *out)
{
    firn_error err = {0};
    firn_stats loaded = {0}, end;
    if (r->s->pattern != PATTERN_ASCENDING) {
        load(r);
        take_stats(r, &loaded);
        r->loaded_bytes = r->put_bytes;
    }
    write_all(r, out);
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    out->seconds = ((double)now.tv_sec * 1e9 + (double)now.tv_nsec - (double)r->started_ns) / 1e9;
    check(firn_flush(r->db, &err), &err, "the real store cannot flush");
    check(firn_settle(r->db, &err), &err, "the real store does not come to rest");
    take_stats(r, &end);
    out->load_put_bytes = (double)r->loaded_bytes;
    out->load_written_bytes = (double)(loaded.bytes_flushed + loaded.bytes_compacted);
    out->put_bytes = (double)(r->put_bytes - r->loaded_bytes);
    out->log_bytes = (double)(end.bytes_logged - loaded.bytes_logged);
    out->flushed_bytes = (double)(end.bytes_flushed - loaded.bytes_flushed);
    out->merged_bytes = (double)(end.bytes_compacted - loaded.bytes_compacted);
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
    real r = {.s = s, .random = s->seed};
    char path[4096];
    firn_error err = {0};
    firn_options o = s->options;
    engine_config config = {.inline_work = !s->threads};
    const char *base = s->folder ? s->folder : getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/firn-simulate-XXXXXX", base && *base ? base : "/tmp");
    if (!mkdtemp(path))
        stop("no folder can be made in %s", base && *base ? base : "/tmp");
    o.durability = FIRN_DURABILITY_NONE;
    keys_init(&r.keys, s, false);
    r.value = malloc(VALUE_BYTES_MOST + 8);
    if (!r.value)
        stop("no memory left");
    check(engine_open(path, &o, &config, &r.db, &err), &err, "the real store cannot be opened");
    measure(&r, out);
    check(firn_close(r.db, &err), &err, "the real store cannot be closed");
    remove_folder(path);
    free(r.value);
}
