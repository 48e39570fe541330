/* Transactions against a model: several of them at once, beside writes without one, flushes and
 * compactions. What each one reads is known, and of each commit it is known whether it must be a
 * conflict. FIRN_SEED repeats a round. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <store/store.h>

#include "bed.h"

enum { KEYS = 20, BUCKETS = 2, TXNS = 3, SAVES = 4, ITERS = 2, VALUE = 16, STEPS = 400 };

/* A state of the store, by bucket and key: the number of the value, 0: not there. */
typedef struct contents {
    uint32_t at[BUCKETS][KEYS];
} contents;

typedef struct marks {
    bool at[BUCKETS][KEYS];
} marks;

typedef struct model_iter {
    firn_iter *it;                /* NULL: none */
    int bucket, lower, upper, at; /* `at`: -1: on no key */
    bool over;
} model_iter;

typedef struct model_txn {
    firn_txn *txn;
    bool serializable;
    uint64_t began;     /* the number of writes then */
    contents saw, sees; /* when it began, and now */
    marks wrote, looked;
    bool failed;
    struct {
        uint64_t point;
        contents sees;
        marks wrote;
        bool failed;
    } saves[SAVES];
    size_t save_count;
    model_iter iters[ITERS];
} model_txn;

typedef struct world {
    bed bed;
    rng rng;
    firn *handles[BUCKETS];
    contents now;
    uint64_t written[BUCKETS][KEYS]; /* the number of the last write */
    uint64_t writes;
    uint32_t values;
    model_txn txns[TXNS];
    bool compacts;
    bool commits_now, inside; /* a commit; a write in the middle of it */
    /* What happened. */
    unsigned commits, conflicts, between;
} world;

static unsigned draw(world *w, unsigned n)
{
    return (unsigned)rng_below(&w->rng, n);
}

static firn_slice key_of(int i)
{
    static char keys[KEYS + 1][16];
    snprintf(keys[i], sizeof keys[i], "k%02d", i);
    return slice_of_str(keys[i]);
}

static firn_slice value_of(uint32_t number)
{
    static char values[64][VALUE];
    static unsigned next;
    char *text = values[next++ % 64];
    snprintf(text, VALUE, "v%u", number);
    return slice_of_str(text);
}

static bool is_value(firn_slice bytes, uint32_t number)
{
    return slice_equal(bytes, value_of(number));
}

/* ---- Operations ---- */

typedef struct change {
    firn_op op;
    int bucket, first, end; /* [first, end) */
    uint32_t number;        /* of a put; 0: deleted */
    firn_slice bounds[2];
} change;

static void draw_change(world *w, change *c)
{
    *c = (change){.bucket = (int)draw(w, BUCKETS), .first = (int)draw(w, KEYS)};
    c->end = c->first + 1;
    c->op =
        (firn_op){.size = sizeof c->op, .bucket = w->handles[c->bucket], .key = key_of(c->first)};
    unsigned what = draw(w, w->commits_now ? 20 : 10); /* then half of them are ranges */
    if (what < 6) {
        c->number = ++w->values;
        c->op.kind = FIRN_OP_PUT;
        c->op.value = value_of(c->number);
    } else if (what < 9) {
        c->op.kind = FIRN_OP_DELETE;
    } else {
        c->op.kind = FIRN_OP_DELETE_RANGE;
        c->op.key = (firn_slice){0};
        c->end = c->first + 1 + (int)draw(w, 6);
        if (c->end > KEYS)
            c->end = KEYS;
        c->bounds[0] = key_of(c->first);
        c->bounds[1] = key_of(c->end);
        c->op.range = (firn_range){.first = &c->bounds[0], .end = &c->bounds[1]};
        if (c->end == KEYS && draw(w, 2))
            c->op.range.end = NULL;
    }
}

static void carry_out(const change *c, contents *s)
{
    for (int i = c->first; i < c->end; i++)
        s->at[c->bucket][i] = c->number;
}

static void write_outside(world *w)
{
    change c;
    draw_change(w, &c);
    MUST(firn_apply(w->handles[0], &c.op, 1, NULL, NULL, error));
    carry_out(&c, &w->now);
    w->writes++;
    for (int i = c.first; i < c.end; i++)
        w->written[c.bucket][i] = w->writes;
}

/* ---- Transactions ---- */

static void begin(world *w, model_txn *t)
{
    t->began = w->writes;
    t->saw = t->sees = w->now;
    t->wrote = t->looked = (marks){0};
    t->failed = false;
    t->save_count = 0;
    for (int i = 0; i < ITERS; i++)
        t->iters[i].over = true;
}

static void look(model_txn *t, int bucket, int from, int to)
{
    for (int i = from; i <= to && i < KEYS; i++)
        if (i >= 0 && t->serializable)
            t->looked.at[bucket][i] = true;
}

static void condition(model_txn *t, change *c, world *w, int *must)
{
    uint32_t there = t->sees.at[c->bucket][c->first];
    c->op.key = key_of(c->first);
    c->op.value = (firn_slice){0};
    c->op.range = (firn_range){0};
    switch (draw(w, 3)) {
    case 0:
        c->op.kind = FIRN_OP_IF_ABSENT;
        *must = there ? FIRN_CONFLICT : FIRN_OK;
        break;
    case 1:
        c->op.kind = FIRN_OP_IF_PRESENT;
        *must = there ? FIRN_OK : FIRN_CONFLICT;
        break;
    default:
        c->op.kind = FIRN_OP_IF_VALUE;
        c->op.value = value_of(there && draw(w, 4) ? there : 1);
        *must = there && is_value(c->op.value, there) ? FIRN_OK : FIRN_CONFLICT;
    }
}

static void add(world *w, model_txn *t)
{
    change c[4];
    firn_op ops[4];
    int must = FIRN_OK;
    size_t count = 1 + draw(w, 3);
    bool conditional = draw(w, 8) == 0;
    for (size_t i = 0; i < count; i++) {
        draw_change(w, &c[i]);
        if (conditional && i == count - 1)
            condition(t, &c[i], w, &must);
        ops[i] = c[i].op;
    }
    firn_error e;
    assert_int_equal(firn_txn_add(t->txn, w->handles[0], ops, count, &e), must);
    const change *last = &c[count - 1];
    /* What it has written itself is not looked for. A range delete of its own counts as that. */
    if (conditional && !t->wrote.at[last->bucket][last->first])
        t->looked.at[last->bucket][last->first] = true;
    t->failed = t->failed || must != FIRN_OK;
    for (size_t i = 0; must == FIRN_OK && i < count - conditional; i++) {
        carry_out(&c[i], &t->sees);
        for (int k = c[i].first; k < c[i].end; k++)
            t->wrote.at[c[i].bucket][k] = true;
    }
}

static void get(world *w, model_txn *t)
{
    int bucket = (int)draw(w, BUCKETS), i = (int)draw(w, KEYS);
    firn_read_options o;
    firn_read_options_init(&o);
    o.txn = t->txn;
    firn_slice key = key_of(i);
    uint32_t there = t->sees.at[bucket][i];
    char room[VALUE];
    size_t size = 0;
    firn_value v;
    int status = FIRN_OK, rc;
    switch (draw(w, 3)) {
    case 0:
        rc = firn_get(w->handles[bucket], key.data, key.size, &o, &v, NULL);
        assert_int_equal(rc, there ? FIRN_OK : FIRN_NOT_FOUND);
        assert_true(!there || is_value((firn_slice){v.data, v.size}, there));
        firn_value_release(&v);
        break;
    case 1:
        rc = firn_get_into(w->handles[bucket], key.data, key.size, &o, room, sizeof room, &size,
                           NULL);
        assert_int_equal(rc, there ? FIRN_OK : FIRN_NOT_FOUND);
        assert_true(!there || is_value(slice_of(room, size), there));
        break;
    default:
        assert_int_equal(firn_get_many(w->handles[bucket], &key, 1, &o, &v, &status, NULL),
                         FIRN_OK);
        assert_int_equal(status, there ? FIRN_OK : FIRN_NOT_FOUND);
        assert_true(!there || is_value((firn_slice){v.data, v.size}, there));
        firn_value_release(&v);
    }
    if (t->serializable && !t->wrote.at[bucket][i])
        t->looked.at[bucket][i] = true;
}

static void count(world *w, model_txn *t)
{
    int bucket = (int)draw(w, BUCKETS);
    firn_read_options o;
    firn_read_options_init(&o);
    o.txn = t->txn;
    uint64_t found, there = 0;
    for (int i = 0; i < KEYS; i++)
        there += t->sees.at[bucket][i] != 0;
    assert_int_equal(firn_count(w->handles[bucket], NULL, &o, &found, NULL), FIRN_OK);
    assert_int_equal(found, there);
    look(t, bucket, 0, KEYS - 1);
}

static void save(world *w, model_txn *t)
{
    (void)w;
    if (t->save_count == SAVES)
        return;
    MUST(firn_txn_save(t->txn, &t->saves[t->save_count].point, error));
    t->saves[t->save_count].sees = t->sees;
    t->saves[t->save_count].wrote = t->wrote;
    t->saves[t->save_count++].failed = t->failed;
}

static void roll_back(world *w, model_txn *t)
{
    if (t->save_count == 0)
        return;
    size_t i = draw(w, (unsigned)t->save_count);
    MUST(firn_txn_rollback(t->txn, t->saves[i].point, error));
    t->sees = t->saves[i].sees;
    t->wrote = t->saves[i].wrote;
    t->failed = t->saves[i].failed;
    t->save_count = i + 1;
    for (int k = 0; k < ITERS; k++)
        t->iters[k].over = true;
}

/* ---- Iterators ---- */

static void new_iter(world *w, model_txn *t, model_iter *m)
{
    firn_iter_free(m->it);
    *m = (model_iter){.bucket = (int)draw(w, BUCKETS), .upper = KEYS, .at = -1};
    firn_iter_options o;
    firn_iter_options_init(&o);
    o.txn = t->txn;
    if (draw(w, 3) == 0) {
        m->lower = (int)draw(w, KEYS);
        firn_slice k = key_of(m->lower);
        o.lower = k.data;
        o.lower_size = k.size;
    }
    if (draw(w, 3) == 0) {
        m->upper = (int)draw(w, KEYS);
        firn_slice k = key_of(m->upper);
        o.upper = k.data;
        o.upper_size = k.size;
    }
    MUST(firn_iter_new(w->handles[m->bucket], &o, &m->it, error));
}

static int next_from(const model_txn *t, const model_iter *m, int i)
{
    i = i < m->lower ? m->lower : i;
    while (i < m->upper && !t->sees.at[m->bucket][i])
        i++;
    return i < m->upper ? i : -1;
}

static int last_up_to(const model_txn *t, const model_iter *m, int i)
{
    i = i >= m->upper ? m->upper - 1 : i;
    while (i >= m->lower && !t->sees.at[m->bucket][i])
        i--;
    return i >= m->lower ? i : -1;
}

static void expect_at(world *w, model_txn *t, model_iter *m, int rc)
{
    (void)w;
    assert_int_equal(rc, m->at < 0 ? FIRN_END : FIRN_OK);
    if (m->at < 0)
        return;
    assert_true(slice_equal(firn_iter_key(m->it), key_of(m->at)));
    assert_true(is_value(firn_iter_value(m->it), t->sees.at[m->bucket][m->at]));
}

static void move(world *w, model_txn *t)
{
    model_iter *m = &t->iters[draw(w, ITERS)];
    if (m->it && m->over) {
        assert_int_equal(firn_iter_first(m->it), FIRN_INVALID);
        assert_int_equal(firn_iter_status(m->it, NULL), FIRN_INVALID);
    }
    if (!m->it || m->over || draw(w, 20) == 0)
        new_iter(w, t, m);
    int i = (int)draw(w, KEYS), from = m->at, rc;
    firn_slice key = key_of(i);
    switch (draw(w, m->at < 0 ? 4 : 12)) {
    case 0:
        rc = firn_iter_first(m->it);
        m->at = next_from(t, m, 0);
        look(t, m->bucket, m->lower, m->at < 0 ? m->upper - 1 : m->at);
        break;
    case 1:
        rc = firn_iter_last(m->it);
        m->at = last_up_to(t, m, KEYS);
        look(t, m->bucket, m->at < 0 ? m->lower : m->at, m->upper - 1);
        break;
    case 2:
        rc = firn_iter_seek(m->it, key.data, key.size);
        m->at = next_from(t, m, i);
        look(t, m->bucket, i < m->lower ? m->lower : i, m->at < 0 ? m->upper - 1 : m->at);
        break;
    case 3:
        rc = firn_iter_seek_for_prev(m->it, key.data, key.size);
        m->at = last_up_to(t, m, i);
        look(t, m->bucket, m->at < 0 ? m->lower : m->at, i < m->upper ? i : m->upper - 1);
        break;
    case 4:
    case 5:
    case 6:
    case 7:
        rc = firn_iter_next(m->it);
        m->at = next_from(t, m, from + 1);
        look(t, m->bucket, from, m->at < 0 ? m->upper - 1 : m->at);
        break;
    default:
        rc = firn_iter_prev(m->it);
        m->at = last_up_to(t, m, from - 1);
        look(t, m->bucket, m->at < 0 ? m->lower : m->at, from);
    }
    expect_at(w, t, m, rc);
}

/* ---- Commit ---- */

/* Must it be a conflict, and may it be one? What had not been there and is not there, may have been
 * forgotten. */
static void judge(const world *w, const model_txn *t, bool *must, bool *may, bool *writes)
{
    *must = *may = *writes = false;
    for (int b = 0; b < BUCKETS; b++)
        for (int i = 0; i < KEYS; i++) {
            *writes |= t->wrote.at[b][i];
            if (!t->wrote.at[b][i] && !t->looked.at[b][i])
                continue;
            bool written = w->written[b][i] > t->began;
            *may |= written;
            *must |= written && (!w->compacts || t->saw.at[b][i] || w->now.at[b][i]);
        }
}

/* A commit that watches reads a table: then another writer comes between, now and then. */
static int on_call(void *ctx, unsigned call, uint64_t index, const char *name)
{
    world *w = ctx;
    (void)index;
    (void)name;
    if (call != SIMFS_READ || !w->commits_now || w->inside ||
        !watches_any(&w->handles[0]->store->watches) || draw(w, 3) > 0)
        return 0;
    w->inside = true;
    write_outside(w);
    w->inside = false;
    w->between++;
    return 0;
}

static void commit(world *w, model_txn *t)
{
    bool must, may, writes;
    firn_error e = {0};
    uint64_t seq = 0;
    w->commits_now = true;
    int rc = firn_txn_commit(t->txn, &seq, &e);
    w->commits_now = false;
    judge(w, t, &must, &may, &writes);
    if (t->failed) {
        assert_int_equal(rc, FIRN_INVALID);
        firn_txn_reset(t->txn);
    } else if (!writes) {
        assert_int_equal(rc, FIRN_OK);
    } else {
        assert_true(rc == FIRN_OK || rc == FIRN_CONFLICT);
        assert_true(rc == FIRN_CONFLICT || !must);
        assert_true(rc == FIRN_OK || may);
        w->commits += rc == FIRN_OK;
        w->conflicts += rc == FIRN_CONFLICT;
    }
    if (rc == FIRN_OK && writes) {
        assert_int_equal(seq, firn_last_seq(w->handles[0]));
        w->writes++;
        for (int b = 0; b < BUCKETS; b++)
            for (int i = 0; i < KEYS; i++) {
                if (!t->wrote.at[b][i])
                    continue;
                w->now.at[b][i] = t->sees.at[b][i];
                w->written[b][i] = w->writes;
            }
    }
    begin(w, t);
}

static void step(world *w)
{
    model_txn *t = &w->txns[draw(w, TXNS)];
    unsigned what = draw(w, 100);
    if (what < 8)
        write_outside(w);
    else if (what < 30)
        add(w, t);
    else if (what < 42)
        get(w, t);
    else if (what < 43)
        count(w, t);
    else if (what < 85)
        move(w, t);
    else if (what < 89)
        save(w, t);
    else if (what < 92)
        roll_back(w, t);
    else if (what < 98)
        commit(w, t);
    else if (what < 99 && w->compacts)
        MUST(firn_compact(w->handles[draw(w, BUCKETS)], NULL, 0, NULL, 0, error));
    else if (w->compacts)
        bed_flush(&w->bed);
}

static void compare_now(world *w)
{
    for (int b = 0; b < BUCKETS; b++)
        for (int i = 0; i < KEYS; i++) {
            firn_value v;
            firn_slice key = key_of(i);
            uint32_t there = w->now.at[b][i];
            int rc = firn_get(w->handles[b], key.data, key.size, NULL, &v, NULL);
            assert_int_equal(rc, there ? FIRN_OK : FIRN_NOT_FOUND);
            assert_true(!there || is_value((firn_slice){v.data, v.size}, there));
            firn_value_release(&v);
        }
}

/* What a round has beside transactions and writes. */
typedef enum kind {
    ALONE,    /* all stays in one memtable, and nothing is forgotten */
    COMPACTS, /* small memtables, flushes and compactions */
    BETWEEN,  /* those that are asked for; and writes in the middle of a commit */
} kind;

static void open_world(world *w, uint64_t seed, kind k)
{
    *w = (world){.rng = rng_init(seed), .compacts = k != ALONE};
    bed_on_simfs(&w->bed, seed);
    if (k != COMPACTS) {
        w->bed.options.memory = 64 << 20;
        w->bed.options.segment_bytes = 1 << 20;
    }
    w->bed.options.never_map = true; /* tables are read, by calls */
    bed_must_open(&w->bed);
    if (k == BETWEEN) {
        /* The write is a call in the middle of a read: it must not wait for readers. */
        store *db = w->bed.db->store;
        mutex_lock(&db->state_mu);
        db->compaction_rests = true;
        mutex_unlock(&db->state_mu);
        simfs_on_call(w->bed.sim, on_call, w);
    }
    w->handles[0] = w->bed.db;
    firn_bucket_options o;
    firn_bucket_options_init(&o);
    o.create = true;
    MUST(firn_bucket_open(w->bed.db, "other", &o, &w->handles[1], error));
    for (int i = 0; i < TXNS; i++) {
        firn_txn_options to;
        firn_txn_options_init(&to);
        to.serializable = w->txns[i].serializable = i > 0;
        MUST(firn_txn_new(w->handles[i % BUCKETS], &to, &w->txns[i].txn, error));
        begin(w, &w->txns[i]);
    }
}

static void close_world(world *w)
{
    for (int i = 0; i < TXNS; i++) {
        firn_txn_free(w->txns[i].txn);
        for (int k = 0; k < ITERS; k++)
            firn_iter_free(w->txns[i].iters[k].it);
    }
    MUST(firn_close(w->handles[1], error));
    bed_must_close(&w->bed);
    bed_release(&w->bed);
}

static void run(uint64_t first, unsigned rounds, kind k, unsigned *conflicts, unsigned *commits)
{
    static world w;
    unsigned between = 0;
    *conflicts = *commits = 0;
    for (uint64_t seed = first; seed < first + rounds; seed++) {
        printf("# to repeat: FIRN_SEED=%llu\n", (unsigned long long)seed);
        open_world(&w, seed, k);
        for (int i = 0; i < STEPS; i++)
            step(&w);
        compare_now(&w);
        *conflicts += w.conflicts;
        *commits += w.commits;
        between += w.between;
        close_world(&w);
    }
    assert_true(k != BETWEEN || rounds == 1 || between > rounds);
}

static unsigned rounds_of(unsigned usual)
{
    return getenv("FIRN_SEED") ? 1 : getenv("FIRN_LONG") ? 20 * usual : usual;
}

static void transactions_see_and_end_as_they_must(void **state)
{
    (void)state;
    unsigned conflicts, commits, rounds = rounds_of(200);
    run(seed_from_environment(1), rounds, ALONE, &conflicts, &commits);
    assert_true(rounds == 1 || (conflicts > rounds && commits > rounds));
}

/* Then what was put and deleted again may have been forgotten. */
static void so_they_do_beside_flushes_and_compactions(void **state)
{
    (void)state;
    unsigned conflicts, commits, rounds = rounds_of(100);
    run(seed_from_environment(100000), rounds, COMPACTS, &conflicts, &commits);
    assert_true(rounds == 1 || (conflicts > rounds && commits > rounds));
}

/* The leader compares what it writes with what is watched. */
static void what_is_written_in_the_middle_of_a_commit_is_noticed(void **state)
{
    (void)state;
    unsigned conflicts, commits, rounds = rounds_of(100);
    run(seed_from_environment(200000), rounds, BETWEEN, &conflicts, &commits);
    assert_true(rounds == 1 || (conflicts > rounds && commits > rounds));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(transactions_see_and_end_as_they_must),
        cmocka_unit_test(so_they_do_beside_flushes_and_compactions),
        cmocka_unit_test(what_is_written_in_the_middle_of_a_commit_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
