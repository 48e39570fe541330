/* table: see table.h. */
#include "table.h"

uint64_t table_seed;
char table_case[256] = "";

/* ---- The model ---- */

static firn_slice copy(firn_slice s)
{
    uint8_t *p = malloc(s.size + 1); /* exactly as long as needed, for the sanitizers; never NULL */
    assert_non_null(p);
    if (s.size)
        memcpy(p, s.data, s.size);
    return (firn_slice){p, s.size};
}

void model_add(model *m, firn_slice key, uint64_t seq, uint8_t kind, firn_slice value)
{
    if (m->count == m->capacity) {
        m->capacity = m->capacity ? m->capacity * 2 : 64;
        m->v = realloc(m->v, m->capacity * sizeof *m->v);
        assert_non_null(m->v);
    }
    m->v[m->count++] = (version){copy(key), copy(value), seq, kind};
    if (seq >= m->seq_top)
        m->seq_top = seq + 1;
}

static int order(const version *a, firn_slice key, uint64_t seq)
{
    int c = slice_compare(a->key, key);
    if (c != 0)
        return c;
    return a->seq > seq ? -1 : a->seq < seq;
}

static int order_versions(const void *a, const void *b)
{
    const version *y = b;
    return order(a, y->key, y->seq);
}

static void version_free(version *v)
{
    free((void *)(uintptr_t)v->key.data);
    free((void *)(uintptr_t)v->value.data);
}

void model_sort(model *m)
{
    size_t kept = 0;
    if (m->count != 0)
        qsort(m->v, m->count, sizeof *m->v, order_versions);
    for (size_t i = 0; i < m->count; i++) {
        if (kept != 0 && order(&m->v[kept - 1], m->v[i].key, m->v[i].seq) == 0)
            version_free(&m->v[i]);
        else
            m->v[kept++] = m->v[i];
    }
    m->count = kept;
}

model model_random(rng *r, const shape *s)
{
    model m = {0};
    size_t room = s->prefix + s->key_max;
    uint8_t *key = malloc(room + 1);
    uint8_t *value = malloc(s->value_max + 1);
    assert_non_null(key);
    assert_non_null(value);
    memset(key, 'p', s->prefix);
    for (size_t k = 0; k < s->keys; k++) {
        size_t size = s->prefix + (size_t)rng_below(r, s->key_max + 1);
        for (size_t i = s->prefix; i < size; i++)
            key[i] = (uint8_t)rng_below(r, s->alphabet);
        size_t versions = 1 + (size_t)rng_below(r, s->versions_max);
        for (size_t n = 0; n < versions; n++) {
            uint64_t seq = 1 + rng_below(r, s->keys * s->versions_max * 4);
            bool deleted = rng_below(r, 5) == 0;
            size_t value_size = deleted ? 0 : (size_t)rng_below(r, s->value_max + 1);
            memset(value, (int)rng_below(r, 256), value_size); /* compressible, */
            rng_fill(r, value, value_size / 2);                /* by half */
            model_add(&m, (firn_slice){key, size}, seq, deleted ? FIRN_DELETE : FIRN_PUT,
                      (firn_slice){value, value_size});
        }
    }
    free(key);
    free(value);
    model_sort(&m);
    return m;
}

/* Key i of the model, or what lies right behind it. */
static firn_slice bound_at(const model *m, size_t i, bool behind, uint8_t *room)
{
    firn_slice key = m->v[i].key;
    memcpy(room, key.data, key.size);
    room[key.size] = 0;
    return (firn_slice){room, key.size + behind};
}

void model_add_ranges(model *m, rng *rnd)
{
    static uint8_t from[FIRN_MAX_KEY_BYTES + 1], to[FIRN_MAX_KEY_BYTES + 1];
    size_t count = m->count;
    for (size_t i = 0; i < count;) {
        size_t j = i + rng_below(rnd, 6);
        bool behind = rng_below(rnd, 3) == 0;
        if (j >= count || rng_below(rnd, 3)) {
            i++;
            continue;
        }
        firn_slice first = bound_at(m, i, rng_below(rnd, 4) == 0, from);
        firn_slice end = bound_at(m, j, behind, to);
        i++;
        if (slice_compare(first, end) >= 0)
            continue;
        for (uint64_t n = 1 + rng_below(rnd, 3); n > 0; n--)
            model_add(m, first, 1 + rng_below(rnd, 1000), FIRN_DELETE_RANGE, end);
        for (i = j; i < count && slice_compare(m->v[i].key, end) < 0;)
            i++;
    }
    model_sort(m);
}

void model_release(model *m)
{
    for (size_t i = 0; i < m->count; i++)
        version_free(&m->v[i]);
    free(m->v);
    *m = (model){0};
}

size_t model_seek(const model *m, firn_slice key, uint64_t seq)
{
    size_t low = 0;
    size_t high = m->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (order(&m->v[middle], key, seq) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* ---- The table ---- */

void table_init(table *t, size_t cache_bytes)
{
    *t = (table){.sim = simfs_new(1)};
    assert_int_equal(fs_dir_make(simfs_fs(t->sim), "t", NULL), FIRN_OK);
    assert_int_equal(fs_dir_open(simfs_fs(t->sim), "t", &t->dir, NULL), FIRN_OK);
    assert_int_equal(sst_cache_new(cache_bytes, &t->cache), FIRN_OK);
    sst_writer_options_init(&t->wo);
    t->wo.store_id[0] = t->ro.store_id[0] = UINT64_C(0x0123456789abcdef);
    t->wo.store_id[1] = t->ro.store_id[1] = UINT64_C(0xfedcba9876543210);
    t->wo.table_no = t->ro.table_no = 1;
    t->ro.cache = t->cache;
    t->ro.mapped = true;
}

void table_release(table *t)
{
    sst_cache_free(t->cache);
    fs_dir_close(t->dir);
    assert_int_equal(simfs_open_count(t->sim), 0);
    simfs_free(t->sim);
}

int table_build(table *t, const model *m, firn_error *err)
{
    sst_writer *w = NULL;
    const sst_properties *p;
    simfs_remove(t->sim, TABLE_PATH);
    int rc = sst_writer_open(t->dir, TABLE_NAME, &t->wo, &w, err);
    for (size_t i = 0; i < m->count && rc == FIRN_OK; i++)
        rc = sst_writer_add(w, m->v[i].key, m->v[i].seq, m->v[i].kind, m->v[i].value, err);
    if (rc == FIRN_OK && t->cut)
        sst_writer_cut(w);
    if (rc == FIRN_OK)
        rc = sst_writer_finish(w, &p, err);
    if (rc == FIRN_OK)
        CHECK(p->entries == m->count);
    sst_writer_free(w);
    return rc;
}

int table_open(table *t, sst_reader **out, firn_error *err)
{
    return sst_reader_open(t->dir, TABLE_NAME, &t->ro, out, err);
}

/* ---- Questions ---- */

static bool lies_right_behind(firn_slice end, firn_slice key)
{
    return end.size == key.size + 1 && end.data[key.size] == 0 &&
           slice_equal((firn_slice){end.data, key.size}, key);
}

firn_slice table_key_max(const table *t, const model *m)
{
    firn_slice key = m->v[m->count - 1].key;
    for (size_t i = 0; i < m->count && !t->cut; i++)
        if (m->v[i].kind == FIRN_DELETE_RANGE && slice_compare(range_last(m->v[i].value), key) > 0)
            key = range_last(m->v[i].value);
    return key;
}

void table_check_ranges(const table *t, const sst_reader *r, const model *m)
{
    size_t count, next = 0;
    const sst_range *listed = sst_reader_ranges(r, &count);
    firn_slice last = table_key_max(t, m);
    for (size_t i = 0; i < m->count; i++) {
        const version *v = &m->v[i];
        if (v->kind != FIRN_DELETE_RANGE)
            continue;
        CHECK(next < count);
        const sst_range *range = &listed[next++];
        CHECK(range->seq == v->seq && slice_equal(range->first, v->key));
        if (slice_compare(range_last(v->value), last) > 0)
            CHECK(t->cut && lies_right_behind(range->end, last));
        else
            CHECK(slice_equal(range->end, v->value));
    }
    CHECK(next == count && sst_reader_properties(r)->ranges == count);
}

/* FIRN_INVALID when table and model differ. */
static int get_like_model(sst_reader *r, const model *m, firn_slice key, uint64_t seq,
                          firn_error *err)
{
    sst_hit hit;
    size_t at = model_seek(m, key, seq);
    bool there = at < m->count && slice_equal(m->v[at].key, key);
    int rc = sst_get(r, key, sst_key_hash(key), seq, &hit, err);
    if (rc == FIRN_NOT_FOUND)
        return there ? FIRN_INVALID : FIRN_OK;
    if (rc != FIRN_OK)
        return rc;
    bool same = there && hit.seq == m->v[at].seq && hit.kind == m->v[at].kind &&
                slice_equal(hit.value, m->v[at].value);
    sst_pin_release(&hit.pin);
    return same ? FIRN_OK : FIRN_INVALID;
}

/* A key near one of the model's: itself, shortened, lengthened or with a byte changed. */
static firn_slice near(const model *m, rng *rnd, uint8_t *room)
{
    if (m->count == 0)
        return (firn_slice){room, 0};
    firn_slice key = m->v[rng_below(rnd, m->count)].key;
    memcpy(room, key.data, key.size);
    size_t size = key.size;
    switch (rng_below(rnd, 4)) {
    case 0:
        size = (size_t)rng_below(rnd, size + 1);
        break;
    case 1:
        if (size < FIRN_MAX_KEY_BYTES)
            room[size++] = (uint8_t)rng_below(rnd, 3);
        break;
    case 2:
        if (size != 0)
            room[rng_below(rnd, size)] ^= (uint8_t)(1U << rng_below(rnd, 8));
        break;
    default:
        break;
    }
    return (firn_slice){room, size};
}

void table_check_gets(sst_reader *r, const model *m, rng *rnd)
{
    static uint8_t room[FIRN_MAX_KEY_BYTES + 1];
    for (size_t i = 0; i < m->count; i++) {
        const version *v = &m->v[i];
        CHECK(get_like_model(r, m, v->key, v->seq, NULL) == FIRN_OK);
        CHECK(get_like_model(r, m, v->key, v->seq - 1, NULL) == FIRN_OK);
        CHECK(get_like_model(r, m, v->key, FIRN_MAX_SEQ, NULL) == FIRN_OK);
        sst_prefetch(r, sst_key_hash(v->key));
        CHECK(get_like_model(r, m, near(m, rnd, room), rng_below(rnd, m->seq_top + 1), NULL) ==
              FIRN_OK);
    }
}

void table_check_iter(sst_reader *r, const model *m, sst_use use)
{
    iter *it;
    CHECK(sst_iter_new(r, use, &it) == FIRN_OK);
    CHECK(!it->valid);
    it->ops->first(it);
    for (size_t i = 0; i < m->count; i++, it->ops->next(it))
        CHECK(version_shown(&m->v[i], it));
    CHECK(!it->valid && it->status == FIRN_OK);
    it->ops->last(it);
    for (size_t i = m->count; i-- > 0; it->ops->prev(it))
        CHECK(version_shown(&m->v[i], it));
    CHECK(!it->valid && it->status == FIRN_OK);
    it->ops->close(it);
}

static void check_at(iter *it, const model *m, size_t at)
{
    if (at < m->count)
        CHECK(version_shown(&m->v[at], it));
    else
        CHECK(!it->valid && it->status == FIRN_OK);
}

static void check_seek(iter *it, const model *m, firn_slice key, uint64_t seq)
{
    size_t at = model_seek(m, key, seq);
    it->ops->seek(it, key, seq);
    check_at(it, m, at);
    it->ops->seek_before(it, key, seq);
    check_at(it, m, at == 0 ? SIZE_MAX : at - 1);
}

void table_check_seeks(sst_reader *r, const model *m, rng *rnd, sst_use use)
{
    static uint8_t room[FIRN_MAX_KEY_BYTES + 1];
    iter *it;
    CHECK(sst_iter_new(r, use, &it) == FIRN_OK);
    for (size_t i = 0; i < m->count; i++) {
        const version *v = &m->v[i];
        check_seek(it, m, v->key, v->seq);
        check_seek(it, m, v->key, v->seq - 1);
        check_seek(it, m, v->key, v->seq + 1);
        check_seek(it, m, v->key, FIRN_MAX_SEQ);
        check_seek(it, m, near(m, rnd, room), rng_below(rnd, m->seq_top + 1));
    }
    check_seek(it, m, (firn_slice){NULL, 0}, FIRN_MAX_SEQ);
    it->ops->close(it);
}

void table_check_walk(sst_reader *r, const model *m, rng *rnd, size_t steps)
{
    iter *it;
    size_t at = SIZE_MAX;
    CHECK(sst_iter_new(r, (sst_use)rng_below(rnd, SST_WORK + 1), &it) == FIRN_OK);
    for (size_t i = 0; i < steps && m->count != 0; i++) {
        if (at >= m->count) {
            at = (size_t)rng_below(rnd, m->count);
            it->ops->seek(it, m->v[at].key, m->v[at].seq);
        } else if (rng_below(rnd, 2) == 0) {
            it->ops->next(it);
            at++;
        } else {
            it->ops->prev(it);
            at--; /* wraps to SIZE_MAX before the first */
        }
        check_at(it, m, at);
    }
    it->ops->close(it);
}

int table_read_all(sst_reader *r, const model *m, sst_use use, firn_error *err)
{
    iter *it;
    int rc = sst_iter_new(r, use, &it);
    if (rc != FIRN_OK)
        return rc;
    size_t i = 0;
    firn_error why = {0};
    it->error = &why;
    for (it->ops->first(it); it->valid && rc == FIRN_OK; it->ops->next(it), i++) {
        if (i >= m->count || !version_shown(&m->v[i], it))
            rc = FIRN_INVALID;
    }
    if (rc == FIRN_OK)
        rc = it->status != FIRN_OK ? it->status : i == m->count ? FIRN_OK : FIRN_INVALID;
    if (rc != FIRN_OK)
        *err = why;
    if (rc == FIRN_OK || rc == FIRN_DAMAGED) {
        i = m->count;
        for (it->ops->last(it); it->valid && rc != FIRN_INVALID; it->ops->prev(it)) {
            if (i == 0 || !version_shown(&m->v[--i], it))
                rc = FIRN_INVALID;
        }
        if (rc == FIRN_OK)
            rc = it->status;
    }
    it->ops->close(it);
    for (i = 0; i < m->count && (rc == FIRN_OK || rc == FIRN_DAMAGED); i++) {
        int got = get_like_model(r, m, m->v[i].key, m->v[i].seq, err);
        rc = got != FIRN_OK ? got : rc;
    }
    return rc;
}

void table_flip_bits(table *t, unsigned set, void (*check)(const model *m), const model *m)
{
    size_t size;
    simfs_peek(t->sim, TABLE_PATH, &size);
    for (uint64_t bit = 0; bit < size * 8; bit++) {
        snprintf(table_case, sizeof table_case, "option set %u, bit %llu", set,
                 (unsigned long long)bit);
        simfs_flip_bit(t->sim, TABLE_PATH, bit);
        check(m);
        simfs_flip_bit(t->sim, TABLE_PATH, bit);
    }
}
