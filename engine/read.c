/* read: get. The view is looked through from new to old; the first version found at or below the
 * reader's number is the answer.
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
    uint8_t kind;
    mem *mem;     /* borrowed from the view */
    table *table; /* a reference */
    sst_pin pin;
} found;

static bool look_in_mem(mem *m, firn_slice key, uint64_t seq, found *out)
{
    memtable_hit hit;
    if (!memtable_get(m->table, key, seq, &hit))
        return false;
    out->value = hit.value;
    out->kind = hit.kind;
    out->mem = m;
    return true;
}

static int look_in_view(const view *v, firn_slice key, uint64_t seq, found *out, firn_error *err)
{
    if (v->active && look_in_mem(v->active, key, seq, out))
        return FIRN_OK;
    for (size_t i = 0; i < v->frozen_count; i++)
        if (look_in_mem(v->frozen[i], key, seq, out))
            return FIRN_OK;
    sst_hit hit = {0};
    int rc = version_get(v->version, key, seq, &hit, &out->table, err);
    if (rc == FIRN_OK) {
        out->value = hit.value;
        out->kind = hit.kind;
        out->pin = hit.pin;
    }
    return rc;
}

/* Between readers_enter and readers_exit. First the view, then the number: see above. */
static int look(firn *db, firn_slice key, const firn_snapshot *snapshot, found *out,
                firn_error *err)
{
    view *v = atomic_load_explicit(&db->view, memory_order_seq_cst);
    uint64_t seq =
        snapshot ? snapshot->seq : atomic_load_explicit(&db->visible_seq, memory_order_acquire);
    return look_in_view(v, slice_somewhere(key), seq, out, err);
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
    bool got = rc == FIRN_OK && f.kind == FIRN_PUT;
    if (got && f.mem)
        mem_ref(f.mem);
    if (got)
        readers_exit_pinned(&db->readers, ticket);
    else
        readers_exit(&db->readers, ticket);
    if (rc != FIRN_OK)
        return rc;
    if (!got) {
        let_go(&f);
        return FIRN_NOT_FOUND;
    }
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
    if (rc == FIRN_OK && f.kind == FIRN_PUT) {
        size_t n = f.value.size < capacity ? f.value.size : capacity;
        if (n)
            memcpy(buffer, f.value.data, n);
        *value_size = f.value.size;
    } else if (rc == FIRN_OK) {
        rc = FIRN_NOT_FOUND;
    }
    readers_exit(&db->readers, ticket);
    if (rc == FIRN_OK && f.value.size > capacity)
        rc = error_set(error, FIRN_TOO_LARGE, "the value has %zu bytes, the buffer %zu",
                       f.value.size, capacity);
    let_go(&f);
    return rc;
}
