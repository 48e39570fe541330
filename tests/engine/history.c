/* history: see history.h. */
#include "history.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOUCHED     (HISTORY_KEYS - 1)
#define TOUCH_VALUE value_number(77, 33)

void history_init(history *h, uint64_t seed, simfs *sim)
{
    *h = (history){.chance = rng_init(seed), .sim = sim};
    keyset_plain(&h->keys, HISTORY_KEYS);
    h->states = calloc(HISTORY_MOST, sizeof *h->states);
    if (!h->states || firn_batch_new(&h->batch) != FIRN_OK)
        abort();
}

void history_release(history *h)
{
    keyset_release(&h->keys);
    free(h->states);
    firn_batch_free(h->batch);
}

static void mark(const history *h, unsigned which, size_t value)
{
    if (h->sim)
        simfs_mark(h->sim, which, value);
}

static int add_put(history *h, size_t key, uint64_t number)
{
    firn_slice k = h->keys.keys[key];
    h->states[h->count][key] = number;
    return firn_batch_put(h->batch, k.data, k.size, value_bytes(number), value_size(number));
}

static int add_delete(history *h, size_t key)
{
    firn_slice k = h->keys.keys[key];
    h->states[h->count][key] = 0;
    return firn_batch_delete(h->batch, k.data, k.size);
}

/* Up to some key behind it, but never the verifier's own. */
static int add_range(history *h, size_t key)
{
    size_t end = key + 1 + rng_below(&h->chance, 4);
    end = end < TOUCHED ? end : TOUCHED;
    firn_op o = {.size = sizeof o,
                 .kind = FIRN_OP_DELETE_RANGE,
                 .range = {.first = &h->keys.keys[key], .end = &h->keys.keys[end]}};
    for (size_t i = key; i < end; i++)
        h->states[h->count][i] = 0;
    return firn_batch_add(h->batch, &o, 1, NULL);
}

static int fill_batch(history *h)
{
    size_t j = h->count, most = h->value_most ? h->value_most : 120;
    firn_batch_clear(h->batch);
    memcpy(h->states[j], h->states[j - 1], sizeof h->states[j]);
    int rc = add_put(h, 0, value_number(j, rng_below(&h->chance, 300)));
    /* A batch of one operation can be lost by an error of one in a number. */
    size_t ops = rng_below(&h->chance, 2) * rng_below(&h->chance, 7);
    size_t key = 1;
    for (size_t i = 0; i < ops && rc == FIRN_OK; i++) {
        /* Every third operation hits the key of the one before. */
        if (i == 0 || rng_below(&h->chance, 3) != 0)
            key = 1 + rng_below(&h->chance, HISTORY_KEYS - 2);
        uint64_t kind = rng_below(&h->chance, 9);
        if (kind == 0)
            rc = add_range(h, key);
        else if (kind < 4)
            rc = add_delete(h, key);
        else
            rc = add_put(h, key, value_number(j * 8 + i, rng_below(&h->chance, most)));
    }
    return rc;
}

void history_note_durable(history *h, firn *db)
{
    uint64_t durable = firn_durable_seq(db);
    size_t j = h->durable;
    while (j < h->completed && h->seqs[j + 1] <= durable)
        j++;
    h->durable = j;
    mark(h, MARK_DURABLE, j);
}

bool history_write(history *h, firn *db, firn_durability durability, char *why)
{
    firn_error err = {0};
    firn_write_options o;
    if (h->count + 1 >= HISTORY_MOST)
        return wrong(why, "the history is longer than %d", HISTORY_MOST);
    h->count++;
    h->status = fill_batch(h);
    if (h->status != FIRN_OK) {
        h->count--;
        return wrong(why, "a batch could not be filled: %s", firn_status_name(h->status));
    }
    mark(h, MARK_BEGUN, h->count);
    firn_write_options_init(&o);
    o.durability = durability;
    int rc = firn_write(db, h->batch, &o, &h->seqs[h->count], &err);
    h->status = rc;
    if (rc != FIRN_OK)
        return wrong_status(why, "write", rc, &err);
    h->completed = h->count;
    mark(h, MARK_COMPLETED, h->completed);
    history_note_durable(h, db);
    if (durability == FIRN_DURABILITY_SYNC && h->durable != h->count)
        return wrong(why, "batch %zu was acknowledged, firn_durable_seq covers only %zu", h->count,
                     h->durable);
    return true;
}

void history_imagine(history *h)
{
    h->count++;
    if (h->count >= HISTORY_MOST || fill_batch(h) != FIRN_OK)
        abort();
}

/* Which state's counter the store shows; false: none in the range. */
static bool find_state(const history *h, firn *db, size_t low, size_t high, size_t *found,
                       char *why)
{
    firn_value v = {0};
    firn_error err = {0};
    firn_slice key = h->keys.keys[0];
    int rc = firn_get(db, key.data, key.size, NULL, &v, &err);
    if (rc != FIRN_OK && rc != FIRN_NOT_FOUND)
        return wrong_status(why, "get", rc, &err);
    size_t j = 0;
    if (rc == FIRN_OK) {
        j = high;
        while (j > 0 && !value_is(h->states[j][0], (firn_slice){v.data, v.size}))
            j--;
        if (j == 0)
            return firn_value_release(&v), wrong(why, "the counter is of no batch up to %zu", high);
        firn_value_release(&v);
    }
    if (j < low)
        return wrong(why, "batches up to %zu were safe, those up to %zu are there", low, j);
    *found = j;
    return true;
}

bool history_compare(const history *h, firn *db, size_t low, size_t high, size_t *found, char *why)
{
    uint64_t state[HISTORY_KEYS];
    char inner[WHY];
    size_t j = 0;
    if (!find_state(h, db, low, high, &j, why))
        return false;
    memcpy(state, h->states[j], sizeof state);
    /* What a verifier added may be there or not, but is nothing else. */
    firn_slice touched = h->keys.keys[TOUCHED];
    if (!compare_get(db, NULL, touched, 0, inner))
        state[TOUCHED] = TOUCH_VALUE;
    if (!compare_all(db, NULL, &h->keys, state, inner))
        return wrong(why, "counter %zu of %zu..%zu: %.400s", j, low, high, inner);
    *found = j;
    return true;
}

bool history_touch(firn *db, const history *h, char *why)
{
    firn_error err = {0};
    firn_slice key = h->keys.keys[TOUCHED];
    int rc = firn_put(db, key.data, key.size, value_bytes(TOUCH_VALUE), value_size(TOUCH_VALUE),
                      NULL, &err);
    if (rc != FIRN_OK)
        return wrong_status(why, "put behind a recovery", rc, &err);
    return compare_get(db, NULL, key, TOUCH_VALUE, why);
}

void history_cut(history *h, size_t j)
{
    h->count = h->completed = h->durable = j;
    mark(h, MARK_DURABLE, j);
    mark(h, MARK_BEGUN, j);
    mark(h, MARK_COMPLETED, j);
}
