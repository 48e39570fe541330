/* read: get. The view is looked through from new to old; the first version found at or below the
 * reader's number is the answer; what it says is asked of resolve.h.
 *
 * The order of the two loads matters: first the view, then the number. Everything <= the number
 * that a later view would show is then either in this view or newer than all of it; the other way
 * round, a flush and a compaction in between could have dropped the version that the number asks
 * for. */
#include <base/error.h>
#include <base/slice.h>
#include <string.h>

#include "store.h"

/* firn_value.pin[0]: a mem or a table that holds the bytes, told apart by the lowest bit; pin[1]:
 * the block; pin[2]: the store, which counts the values that are held. */
#define PIN_IS_MEM ((uintptr_t)1)

typedef struct found {
    firn_slice value;
    mem *mem;     /* borrowed from the view */
    table *table; /* a reference */
    sst_pin pin;
} found;

static inline resolve_answer look_in_mem(mem *m, firn_slice key, const read_point *at, found *out,
                                         uint8_t *kind)
{
    memtable_hit hit;
    if (!memtable_get(m->table, key, at->seq, &hit))
        return RESOLVE_GO_ON;
    out->value = hit.value;
    out->mem = m;
    *kind = hit.kind;
    return resolve_version(at, hit.seq, hit.kind, 0);
}

/* FIRN_OK: *out holds a value, from the newest run that has something to say. */
static int look_in_view(const view *v, firn_slice key, const read_point *at, found *out,
                        firn_error *err)
{
    uint8_t kind = 0;
    resolve_answer answer = RESOLVE_GO_ON;
    if (v->active)
        answer = look_in_mem(v->active, key, at, out, &kind);
    for (size_t i = 0; answer == RESOLVE_GO_ON && i < v->frozen_count; i++)
        answer = look_in_mem(v->frozen[i], key, at, out, &kind);
    if (answer == RESOLVE_GO_ON) {
        table_hit hit = {0};
        int rc = version_get(v->version, key, at, &hit, err);
        if (rc != FIRN_OK)
            return rc;
        answer = hit.answer;
        kind = hit.hit.kind;
        out->value = hit.hit.value;
        out->pin = hit.hit.pin;
        out->table = hit.holder;
    }
    if (answer == RESOLVE_UNKNOWN) /* no entry has the kind 0: the log's bytes have changed */
        return kind == 0 ? memtable_changed(err) : resolve_refuse(kind, err);
    return answer == RESOLVE_VALUE ? FIRN_OK : FIRN_NOT_FOUND;
}

/* Between readers_enter and readers_exit. First the view, then the number: see above. FIRN_OK: *out holds a value. */
static int look(firn *db, firn_slice key, const firn_snapshot *snapshot, found *out,
                firn_error *err)
{
    view *v = atomic_load_explicit(&db->view, memory_order_seq_cst);
    uint64_t seq =
        snapshot ? snapshot->seq : atomic_load_explicit(&db->visible_seq, memory_order_acquire);
    read_point at = {.seq = seq};
    return look_in_view(v, slice_somewhere(key), &at, out, err);
}

static void let_go(found *f)
{
    sst_pin_release(&f->pin);
    table_unref(f->table);
}

static int check_read(firn *db, const void *key, size_t key_size, const firn_snapshot *snapshot,
                      firn_error *err)
{
    int rc = store_check_handle(db, err);
    if (rc != FIRN_OK)
        return rc;
    if (!key && key_size)
        return error_set(err, FIRN_INVALID, "the key is NULL but has a size");
    if (snapshot && snapshot->db != db)
        return error_set(err, FIRN_INVALID, "the snapshot belongs to another store");
    return FIRN_OK;
}

int firn_get(firn *db, const void *key, size_t key_size, const firn_snapshot *snapshot,
             firn_value *value, firn_error *error)
{
    if (value)
        *value = (firn_value){0};
    int rc = check_read(db, key, key_size, snapshot, error);
    if (rc != FIRN_OK)
        return rc;
    if (!value)
        return error_set(error, FIRN_INVALID, "there is nowhere to put the value");
    found f = {0};
    uint32_t ticket = readers_enter(&db->readers);
    rc = look(db, slice_of(key, key_size), snapshot, &f, error);
    if (rc == FIRN_OK && f.mem)
        mem_ref(f.mem);
    if (rc == FIRN_OK)
        readers_exit_pinned(&db->readers, ticket);
    else
        readers_exit(&db->readers, ticket);
    store_trim(db);
    if (rc != FIRN_OK)
        return rc;
    value->data = f.value.data;
    value->size = f.value.size;
    value->pin[0] = f.mem ? (void *)((uintptr_t)f.mem | PIN_IS_MEM) : (void *)f.table;
    value->pin[1] = f.pin.block;
    value->pin[2] = db;
    return FIRN_OK;
}

void firn_value_release(firn_value *value)
{
    if (!value)
        return;
    uintptr_t holder = (uintptr_t)value->pin[0];
    firn *db = value->pin[2];
    if (holder && store_is_parents(db))
        holder = 0;
    if (holder & PIN_IS_MEM) {
        mem_unref((mem *)(holder & ~PIN_IS_MEM));
    } else if (holder) {
        sst_pin pin = {value->pin[1]};
        sst_pin_release(&pin);
        table_unref((table *)holder);
    }
    if (holder)
        readers_unpin(&db->readers); /* last: closing may come next */
    *value = (firn_value){0};
}

int firn_get_into(firn *db, const void *key, size_t key_size, const firn_snapshot *snapshot,
                  void *buffer, size_t capacity, size_t *value_size, firn_error *error)
{
    int rc = check_read(db, key, key_size, snapshot, error);
    if (rc != FIRN_OK)
        return rc;
    if (!buffer && capacity)
        return error_set(error, FIRN_INVALID, "the buffer is NULL but has a size");
    if (!value_size)
        return error_set(error, FIRN_INVALID, "there is nowhere to put the value's size");
    found f = {0};
    uint32_t ticket = readers_enter(&db->readers);
    rc = look(db, slice_of(key, key_size), snapshot, &f, error);
    if (rc == FIRN_OK) {
        size_t n = f.value.size < capacity ? f.value.size : capacity;
        if (n)
            memcpy(buffer, f.value.data, n);
        *value_size = f.value.size;
    }
    readers_exit(&db->readers, ticket);
    store_trim(db);
    if (rc == FIRN_OK && f.value.size > capacity)
        rc = error_set(error, FIRN_TOO_LARGE, "the value has %zu bytes, the buffer %zu",
                       f.value.size, capacity);
    let_go(&f);
    return rc;
}
