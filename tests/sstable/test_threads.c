/* One reader, one cache, several threads. Meant for ThreadSanitizer, and true without it. */
#include "table.h"

#include <base/thread.h>

enum { THREADS = 4, ROUNDS = 3000 };

typedef struct worker {
    thread thread;
    sst_reader *reader;
    const model *m;
    uint64_t seed;
    unsigned wrong; /* read after the join */
} worker;

/* cmocka's checks belong to the main thread: workers count. */
static void work(void *arg)
{
    worker *w = arg;
    rng rnd = rng_init(w->seed);
    iter *it;
    if (sst_iter_new(w->reader, (sst_use)(w->seed % (SST_WORK + 1)), &it) != FIRN_OK) {
        w->wrong++;
        return;
    }
    for (unsigned i = 0; i < ROUNDS; i++) {
        size_t at = (size_t)rng_below(&rnd, w->m->count);
        const version *v = &w->m->v[at];
        firn_error err;
        sst_hit hit;
        if (sst_get(w->reader, v->key, sst_key_hash(v->key), v->seq, &hit, &err) != FIRN_OK) {
            w->wrong++;
            continue;
        }
        w->wrong += !slice_equal(hit.value, v->value);
        sst_pin_release(&hit.pin);
        it->ops->seek(it, v->key, v->seq);
        for (size_t n = at; n < w->m->count && n < at + 5; n++, it->ops->next(it))
            w->wrong += !version_shown(&w->m->v[n], it);
    }
    it->ops->close(it);
}

static void check_threads(sst_compression compression, bool mapped, size_t cache_bytes)
{
    table t;
    sst_reader *r;
    firn_error err;
    worker workers[THREADS];
    table_init(&t, cache_bytes);
    t.wo.compression = compression;
    t.ro.mapped = mapped;
    table_seed = 41;
    rng rnd = rng_init(table_seed);
    model m = model_random(&rnd, &(shape){3000, 2, 12, 2, 60, 256});
    assert_int_equal(table_build(&t, &m, &err), FIRN_OK);
    assert_int_equal(table_open(&t, &r, &err), FIRN_OK);
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (worker){.reader = r, .m = &m, .seed = i};
        assert_int_equal(thread_start(&workers[i].thread, "reader", work, &workers[i]), 0);
    }
    assert_int_equal(sst_verify(r, &err), FIRN_OK);
    for (unsigned i = 0; i < THREADS; i++) {
        thread_join(&workers[i].thread);
        assert_int_equal(workers[i].wrong, 0);
    }
    sst_reader_close(r);
    model_release(&m);
    table_release(&t);
}

static void threads_share_a_mapped_table(void **state)
{
    (void)state;
    check_threads(SST_COMPRESSION_NONE, true, 0);
}

static void threads_share_a_roomy_cache(void **state)
{
    (void)state;
    check_threads(SST_COMPRESSION_NONE, false, 8 << 20);
}

static void threads_fight_over_a_tiny_cache(void **state)
{
    (void)state;
    check_threads(SST_COMPRESSION_LZ4, true, 400 << 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_share_a_mapped_table),
        cmocka_unit_test(threads_share_a_roomy_cache),
        cmocka_unit_test(threads_fight_over_a_tiny_cache),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
