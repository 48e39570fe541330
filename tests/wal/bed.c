/* bed: see bed.h. */
#include "bed.h"

#include <base/entry.h>
#include <base/hash.h>

void check_status(int rc, int wanted, const firn_error *error, const char *where)
{
    if (rc == wanted)
        return;
    char text[1024] = "";
    if (rc != FIRN_OK && error->status == rc)
        firn_error_format(error, text, sizeof text);
    print_error("%s\n  returned %s, not %s: %s\n", where, firn_status_name(rc),
                firn_status_name(wanted), text);
    fail();
}

wal_config bed_config(void)
{
    wal_config c;
    wal_config_init(&c);
    c.options.segment_bytes = 16384;
    c.options.backing = FIRN_WAL_MAPPED;
    c.inline_work = true;
    return c;
}

bed bed_new_with(const wal_config *config)
{
    bed b = {.sim = simfs_new(1), .config = *config};
    bed_open(&b);
    return b;
}

bed bed_new(void)
{
    wal_config c = bed_config();
    return bed_new_with(&c);
}

void bed_open(bed *b)
{
    assert_null(b->log);
    OK(wal_open_path(simfs_fs(b->sim), BED_PATH, &b->config, NULL, &b->log, err));
}

void bed_close(bed *b)
{
    wal *log = b->log;
    b->log = NULL;
    OK(firn_wal_close(log, err));
}

void bed_reopen(bed *b)
{
    bed_close(b);
    bed_open(b);
}

void bed_release(bed *b)
{
    if (b->log)
        bed_close(b);
    assert_int_equal(simfs_open_count(b->sim), 0);
    simfs_free(b->sim);
}

uint64_t bed_put_sized(bed *b, uint64_t i, size_t size)
{
    char key[32];
    int n = snprintf(key, sizeof key, "key%llu", (unsigned long long)i);
    uint8_t *value = calloc(1, size + 1);
    memset(value, 'v', size);
    uint64_t seq = 0;
    OK(firn_wal_append(b->log, FIRN_PUT, key, (size_t)n, value, size, NULL, &seq, err));
    free(value);
    return seq;
}

uint64_t bed_put(bed *b, uint64_t i)
{
    return bed_put_sized(b, i, 20);
}

typedef struct file_count {
    const char *ending;
    size_t count;
} file_count;

static int count_file(void *ctx, const char *path, uint64_t size)
{
    (void)size;
    file_count *c = ctx;
    size_t n = strlen(path), e = strlen(c->ending);
    if (n >= e && strcmp(path + n - e, c->ending) == 0)
        c->count++;
    return 0;
}

size_t bed_files(bed *b, const char *ending)
{
    file_count c = {.ending = ending};
    simfs_each(b->sim, BED_PATH, count_file, &c);
    return c.count;
}

size_t bed_segment_files(bed *b)
{
    return bed_files(b, ".wal");
}

/* ---- The model ---- */

void model_init(model *m)
{
    memset(m, 0, sizeof *m);
    mutex_init(&m->model_mu);
}

void model_release(model *m)
{
    mutex_release(&m->model_mu);
    free(m->entries);
}

void model_add(model *m, const model_entry *e)
{
    mutex_lock(&m->model_mu);
    if (m->count == m->capacity) {
        m->capacity = m->capacity ? m->capacity * 2 : 1024;
        m->entries = realloc(m->entries, m->capacity * sizeof m->entries[0]);
        if (!m->entries)
            abort();
    }
    m->entries[m->count++] = *e;
    mutex_unlock(&m->model_mu);
}

static uint64_t hash_of(firn_slice s)
{
    return s.size == 0 ? 0 : hash64(s.data, s.size, 7);
}

static model_entry entry_for(uint8_t op, firn_slice key, firn_slice value, uint64_t seq)
{
    return (model_entry){
        .seq = seq,
        .first = seq,
        .last = seq,
        .op = op,
        .key_hash = hash_of(key),
        .value_hash = hash_of(value),
        .key_size = key.size,
        .value_size = value.size,
    };
}

void model_add_put(model *m, firn_kind op, firn_slice key, firn_slice value, uint64_t seq)
{
    model_entry e = entry_for((uint8_t)op, key, value, seq);
    model_add(m, &e);
}

void model_add_batch(model *m, const firn_batch *batch, uint64_t seq_last)
{
    firn_slice payload = batch_payload(batch);
    uint32_t count = firn_batch_count(batch);
    size_t offset = 0;
    for (uint32_t i = 0; i < count; i++) {
        entry in;
        size_t used;
        assert_int_equal(entry_decode(payload.data + offset, payload.size - offset, &in, &used),
                         FIRN_OK);
        offset += used;
        model_entry e = entry_for(in.kind, in.key, in.value, seq_last - count + 1 + i);
        e.first = seq_last - count + 1;
        e.last = seq_last;
        model_add(m, &e);
    }
}

static int by_seq(const void *a, const void *b)
{
    const model_entry *x = a, *y = b;
    return (x->seq > y->seq) - (x->seq < y->seq);
}

typedef struct checking {
    const model *m;
    size_t next;
} checking;

static int check_entry(void *ctx, const firn_wal_entry *got)
{
    checking *c = ctx;
    if (c->next == c->m->count) {
        print_error("entry %llu was never appended\n", (unsigned long long)got->seq);
        return 1000;
    }
    const model_entry *want = &c->m->entries[c->next++];
    if (want->seq != got->seq || want->op != got->op || want->key_size != got->key.size ||
        want->value_size != got->value.size || want->key_hash != hash_of(got->key) ||
        want->value_hash != hash_of(got->value)) {
        print_error("expected entry %llu (key %zu, value %zu bytes), got %llu (%zu, %zu)\n",
                    (unsigned long long)want->seq, want->key_size, want->value_size,
                    (unsigned long long)got->seq, got->key.size, got->value.size);
        return 1000;
    }
    return 0;
}

void model_check(model *m, wal *w, uint64_t after_seq)
{
    if (m->count > 0)
        qsort(m->entries, m->count, sizeof m->entries[0], by_seq);
    checking c = {.m = m};
    while (c.next < m->count && m->entries[c.next].seq <= after_seq)
        c.next++;
    OK(firn_wal_replay(w, after_seq, check_entry, &c, NULL, err));
    if (c.next != m->count)
        print_error("entry %llu is missing\n", (unsigned long long)m->entries[c.next].seq);
    assert_int_equal(c.next, m->count);
}

static void random_bytes(rng *r, uint8_t *p, size_t *size, size_t most)
{
    *size = (size_t)rng_below(r, most + 1);
    if (rng_below(r, 8) == 0)
        *size = 0;
    rng_fill(r, p, *size);
}

void model_step(model *m, wal *w, rng *r, firn_durability durability)
{
    uint8_t key[64], value[600];
    size_t key_size, value_size;
    uint64_t seq;
    if (rng_below(r, 4) != 0) {
        random_bytes(r, key, &key_size, sizeof key);
        random_bytes(r, value, &value_size, sizeof value);
        bool is_delete = rng_below(r, 4) == 0;
        if (is_delete)
            value_size = 0;
        firn_slice k = {key, key_size}, v = {value, value_size};
        uint8_t op = is_delete ? FIRN_DELETE : FIRN_PUT;
        OK(wal_put(w, op, k, v, durability, &seq, err));
        model_add_put(m, (firn_kind)op, k, v, seq);
        return;
    }
    firn_batch *batch;
    assert_int_equal(firn_batch_new(&batch), FIRN_OK);
    for (uint64_t n = 1 + rng_below(r, 6); n > 0; n--) {
        random_bytes(r, key, &key_size, sizeof key);
        random_bytes(r, value, &value_size, sizeof value / 2);
        if (rng_below(r, 4) == 0)
            assert_int_equal(firn_batch_delete(batch, key, key_size), FIRN_OK);
        else
            assert_int_equal(firn_batch_put(batch, key, key_size, value, value_size), FIRN_OK);
    }
    OK(wal_write(w, batch, durability, &seq, err));
    model_add_batch(m, batch, seq);
    firn_batch_free(batch);
}
