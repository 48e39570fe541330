/* Many threads on one log: writers of every class, one that rotates, checkpoints and truncates, one
 * that reads. What comes back is compared with what was acknowledged; numbers must be dense. Run
 * with ThreadSanitizer, too. */
#include "bed.h"

#include <base/entry.h>
#include <base/error.h>
#include <base/thread.h>
#include <support/tempdir.h>

/* Of an owner with an index: groups form only when writers meet, no frame is left out, and leaders take turns. */
typedef struct turns {
    _Atomic int inside;
    uint64_t applied, frames;
    bool wrong;
} turns;

typedef struct stress {
    wal *log;
    model m;
    uint64_t seed;
    int steps;           /* of each writer */
    _Atomic int writing; /* writers that are not done */
    _Atomic int failures;
    _Atomic uint64_t checkpoints;
    bool truncates;
    turns *owner; /* NULL: the log alone */
} stress;

typedef struct worker {
    thread t;
    stress *s;
    uint64_t id;
} worker;

static void note(stress *s, const char *what, int rc, const firn_error *error)
{
    char text[1024] = "";
    firn_error_format(error, text, sizeof text);
    fprintf(stderr, "seed %llu: %s: %s: %s\n", (unsigned long long)s->seed, what,
            firn_status_name(rc), text);
    atomic_fetch_add(&s->failures, 1);
}

static firn_durability any_class(rng *r)
{
    uint64_t n = rng_below(r, 20);
    return n == 0 ? FIRN_DURABILITY_SYNC : n < 8 ? FIRN_DURABILITY_BATCH : FIRN_DURABILITY_NONE;
}

/* Leads as an owner with an index does. */
static void lead_in_turn(stress *s, wal_request *r)
{
    turns *t = s->owner;
    wal_group g;
    wal_applied f;
    firn_error error;
    if (atomic_fetch_add(&t->inside, 1) != 0)
        t->wrong = true;
    int rc = wal_group_start(s->log, &g, r, &error);
    if (rc == FIRN_OK)
        rc = wal_group_append(s->log, &g, &error);
    for (const wal_request *at = NULL; rc == FIRN_OK && wal_group_next(&g, &at, &f);) {
        if (f.seq_first <= t->applied)
            t->wrong = true;
        t->applied = f.seq_first + f.count - 1;
        t->frames++;
    }
    atomic_fetch_sub(&t->inside, 1);
    wal_group_end(s->log, &g, rc, &error);
}

static int submit(stress *s, wal_request *r)
{
    if (!s->owner)
        return wal_submit(s->log, r);
    if (wal_join(s->log, r))
        lead_in_turn(s, r);
    return wal_await(s->log, r);
}

static int write_one(stress *s, rng *r, firn_error *err)
{
    uint8_t bytes[300];
    size_t size = (size_t)rng_below(r, sizeof bytes - 8);
    rng_fill(r, bytes, sizeof bytes);
    firn_slice key = {bytes, 8}, value = {bytes + 8, size};
    firn_durability d = any_class(r);
    wal_request request;
    int rc = wal_request_put(s->log, &request, FIRN_PUT, ENTRY_BUCKET_DEFAULT, key, value, d, err);
    if (rc == FIRN_OK)
        rc = submit(s, &request);
    uint64_t seq = rc == FIRN_OK ? request.seq_last : 0;
    if (rc == FIRN_OK)
        model_add_put(&s->m, FIRN_PUT, key, value, seq);
    if (rc == FIRN_OK && d == FIRN_DURABILITY_SYNC && firn_wal_durable_seq(s->log) < seq)
        return error_set(err, FIRN_INVALID, "%llu was acknowledged and is not durable",
                         (unsigned long long)seq);
    return rc;
}

static int write_batch(stress *s, rng *r, firn_error *err)
{
    firn_batch *batch;
    if (firn_batch_new(&batch) != FIRN_OK)
        abort();
    for (uint64_t n = 1 + rng_below(r, 5); n > 0; n--) {
        uint8_t bytes[64];
        rng_fill(r, bytes, sizeof bytes);
        if (firn_batch_put(batch, bytes, 16, bytes + 16, 48) != FIRN_OK)
            abort();
    }
    wal_request request;
    int rc = wal_request_batch(s->log, &request, batch, any_class(r), err);
    if (rc == FIRN_OK)
        rc = submit(s, &request);
    if (rc == FIRN_OK)
        model_add_batch(&s->m, batch, request.seq_last);
    firn_batch_free(batch);
    return rc;
}

static void run_writer(void *arg)
{
    worker *w = arg;
    stress *s = w->s;
    rng r = rng_init(s->seed * 1000 + w->id);
    for (int i = 0; i < s->steps && atomic_load(&s->failures) == 0; i++) {
        firn_error error = {0};
        int rc = rng_below(&r, 5) == 0 ? write_batch(s, &r, &error) : write_one(s, &r, &error);
        if (rc != FIRN_OK)
            note(s, "write", rc, &error);
    }
    atomic_fetch_sub(&s->writing, 1);
}

static void run_keeper(void *arg)
{
    worker *w = arg;
    stress *s = w->s;
    rng r = rng_init(s->seed * 1000 + 777);
    while (atomic_load(&s->writing) > 0) {
        firn_error error = {0};
        int rc = FIRN_OK;
        uint64_t seq = 0, last = firn_wal_last_seq(s->log);
        switch (rng_below(&r, 5)) {
        case 0:
            rc = firn_wal_rotate(s->log, &error);
            break;
        case 1:
            rc = firn_wal_checkpoint(s->log, &seq, &error);
            atomic_fetch_add(&s->checkpoints, 1);
            break;
        case 2:
            rc = firn_wal_sync(s->log, &error);
            if (rc == FIRN_OK && firn_wal_durable_seq(s->log) < last)
                note(s, "sync did not cover what was appended before it", FIRN_INVALID, &error);
            break;
        case 3:
            rc = firn_wal_wait_durable(s->log, last, 600000, &error);
            break;
        default:
            if (s->truncates)
                rc = firn_wal_truncate(s->log, last / 2, NULL, &error);
            break;
        }
        if (rc != FIRN_OK)
            note(s, "upkeep", rc, &error);
    }
}

typedef struct reading {
    uint64_t last;
    bool wrong;
} reading;

static int read_entry(void *ctx, const firn_wal_entry *e)
{
    reading *r = ctx;
    r->wrong = r->wrong || e->seq <= r->last || e->key.size < 8;
    r->last = e->seq;
    return 0;
}

static void run_reader(void *arg)
{
    worker *w = arg;
    stress *s = w->s;
    while (atomic_load(&s->writing) > 0) {
        firn_error error = {0};
        uint64_t last = firn_wal_last_seq(s->log);
        reading r = {0};
        int rc = firn_wal_replay(s->log, last / 4 * 3, read_entry, &r, NULL, &error);
        if (rc != FIRN_OK)
            note(s, "replay beside appends", rc, &error);
        if (r.wrong)
            note(s, "replay out of order", FIRN_DAMAGED, &error);
    }
}

/* Every number is an entry's or a checkpoint's. */
static void check_dense(stress *s)
{
    assert_int_equal(s->m.count + atomic_load(&s->checkpoints), firn_wal_last_seq(s->log));
}

enum { WRITERS = 4 };

static void run_stress(stress *s)
{
    worker workers[WRITERS + 2] = {0};
    model_init(&s->m);
    atomic_store(&s->writing, WRITERS);
    for (uint64_t i = 0; i < WRITERS + 2; i++) {
        workers[i].s = s;
        workers[i].id = i;
        void (*run)(void *) = i < WRITERS ? run_writer : i == WRITERS ? run_keeper : run_reader;
        assert_int_equal(thread_start(&workers[i].t, "stress", run, &workers[i]), 0);
    }
    for (int i = 0; i < WRITERS + 2; i++)
        thread_join(&workers[i].t);
    if (atomic_load(&s->failures) > 0)
        print_error("seed %llu\n", (unsigned long long)s->seed);
    assert_int_equal(atomic_load(&s->failures), 0);
}

static wal_config stress_config(firn_wal_backing backing)
{
    wal_config c = bed_config();
    c.options.backing = backing;
    c.options.segment_bytes = 65536;
    c.options.durability = FIRN_DURABILITY_NONE;
    c.options.batch_ms = 1;
    c.options.batch_writes = 50;
    c.options.mark_ms = 1;
    c.inline_work = false;
    return c;
}

static void in_memory(firn_wal_backing backing, uint64_t seed)
{
    wal_config c = stress_config(backing);
    bed b = bed_new_with(&c);
    stress s = {.log = b.log, .seed = seed, .steps = 1500, .truncates = seed % 2 == 0};
    run_stress(&s);
    check_dense(&s);
    model_check(&s.m, b.log, firn_wal_floor_seq(b.log));
    uint64_t floor = firn_wal_floor_seq(b.log);
    bed_reopen(&b);
    assert_int_equal(firn_wal_floor_seq(b.log), floor);
    model_check(&s.m, b.log, floor);
    model_release(&s.m);
    bed_release(&b);
}

static void WritersOfEveryClassGetDenseNumbersMapped(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++)
        in_memory(FIRN_WAL_MAPPED, seed);
}

static void WritersOfEveryClassGetDenseNumbersBuffered(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++)
        in_memory(FIRN_WAL_BUFFERED, seed);
}

static void TheSameHoldsOnTheRealFileSystem(void **state)
{
    (void)state;
    for (int backing = FIRN_WAL_AUTO; backing <= FIRN_WAL_BUFFERED; backing++) {
        char *path = tempdir_new();
        wal_config c = stress_config((firn_wal_backing)backing);
        wal *log;
        OK(firn_wal_open(path, &c.options, NULL, &log, err));
        stress s = {.log = log, .seed = 9, .steps = 1000, .truncates = true};
        run_stress(&s);
        check_dense(&s);
        uint64_t floor = firn_wal_floor_seq(log);
        model_check(&s.m, log, floor);
        OK(firn_wal_verify(log, NULL, err));
        OK(firn_wal_close(log, err));
        OK(firn_wal_open(path, &c.options, NULL, &log, err));
        model_check(&s.m, log, floor);
        OK(firn_wal_close(log, err));
        model_release(&s.m);
        tempdir_remove(path);
    }
}

static void AnOwnerHasOneLeaderAtATime(void **state)
{
    (void)state;
    turns t = {0};
    wal_config c = stress_config(FIRN_WAL_MAPPED);
    bed b = bed_new_with(&c);
    stress s = {.log = b.log, .seed = 21, .steps = 2000, .owner = &t};
    run_stress(&s);
    assert_false(t.wrong);
    wal_stats stats;
    wal_get_stats(b.log, &stats);
    assert_true(t.frames >= stats.appended_entries / 5);
    assert_true(stats.groups <= stats.appended_batches);
    model_release(&s.m);
    bed_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(WritersOfEveryClassGetDenseNumbersMapped),
        cmocka_unit_test(WritersOfEveryClassGetDenseNumbersBuffered),
        cmocka_unit_test(TheSameHoldsOnTheRealFileSystem),
        cmocka_unit_test(AnOwnerHasOneLeaderAtATime),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
