/* handle: the memory of an open store, the folder's lock, and the store's name for itself. */
#include <base/alloc.h>
#include <base/coding.h>
#include <base/error.h>
#include <base/fence.h>
#include <inttypes.h>
#include <string.h>

#include <tree/names.h>
#include <store/store.h>

static void init_handle(store *db, const engine_config *config)
{
    db->fs = config && config->fs ? config->fs : fs_posix();
    db->inline_work = config && config->inline_work;
    db->close_entries = config ? config->close_entries : 0;
    db->learns = gap_limits_for(config ? config->gap_steps : 0);
    db->installed = config ? config->installed : NULL;
    db->installed_ctx = config ? config->ctx : NULL;
    db->fork_generation = fork_generation();
    fence_prepare();
    gaps_init(&db->gaps, &db->budget);
    wait_list_init(&db->waits, db->fs, NULL, NULL);
    readers_init(&db->readers);
    db->readers.waits = &db->waits;
    db->main.store = db;
    db->main.form = (bucket_form){FIRN_AS_STORE, FIRN_AS_STORE};
    atomic_init(&db->bucket_limit, 1);
    mutex_init(&db->state_mu);
    mutex_init(&db->manifest_mu);
    mutex_init(&db->snapshot_mu);
    mutex_init(&db->watches.watch_mu);
    mutex_init(&db->flush_mu);
    mutex_init(&db->jobs_mu);
    cond_init(&db->jobs_changed);
    cond_init(&db->state_changed);
    cleaner_init(&db->cleaner);
    db->cleaner.waits = &db->waits;
    db->env.cleaner = &db->cleaner;
}

static void wait_for_readers(void *ctx)
{
    readers_wait(ctx);
}

static int prepare_env(store *db, firn_error *err)
{
    /* A cache that grew to what the options say, in a process that may not use so much, would get
     * it killed. */
    uint64_t most = fs_memory_limit(db->fs) / 4;
    options_budget(&db->options, &db->budget);
    if (db->budget.limit - db->budget.share > most)
        db->budget.limit = db->budget.share + most;
    db->mem_share = options_mem_share(&db->options);
    if (db->options.latencies && !(db->latencies = latencies_new()))
        return error_no_memory(err);
    int rc = sst_cache_new_in(&db->budget, (sst_grace){wait_for_readers, &db->readers}, &db->cache);
    if (rc != FIRN_OK)
        return error_no_memory(err);
    sst_cache_watch(db->cache, &db->waits);
    sst_cache_set_trimmer(db->cache, store_ask_trim, db);
    rc = fs_pool_new(db->fs, fs_pool_limit(db->fs), &db->env.files);
    if (rc != FIRN_OK)
        return error_no_memory(err);
    fs_pool_watch(db->env.files, &db->waits);
    db->env.cache = db->cache;
    db->env.budget = &db->budget;
    db->env.waits = &db->waits;
    db->env.file_bytes = &db->table_bytes;
    db->env.filters = db->filters;
    db->env.counts_denials = db->options.latencies;
    db->env.mapped = !db->options.never_map;
    db->env.keeps = db->options.read_only && !db->options.never_map;
    options_rules(&db->options, &db->rules);
    db->mem_env = (mem_env){.cleaner = &db->cleaner, .budget = &db->budget};
    rc = memtable_pool_new(&db->budget, db->mem_share / 4 * 3, &db->mem_env.pool);
    return rc == FIRN_OK ? rc : error_no_memory(err);
}

int handle_new(const firn_options *options, const engine_config *config, store **out,
               firn_error *err)
{
    store *db = heap_aligned(_Alignof(firn), sizeof *db);
    if (!db)
        return error_no_memory(err);
    memset(db, 0, sizeof *db);
    init_handle(db, config);
    int rc = options_resolve(options, &db->options, err);
    db->waits.log = db->options.log;
    db->waits.log_ctx = db->options.log_ctx;
    if (rc == FIRN_OK)
        rc = prepare_env(db, err);
    if (rc != FIRN_OK) {
        handle_free(db);
        return rc;
    }
    *out = db;
    return FIRN_OK;
}

void handle_free(store *db)
{
    mutex_lock(&db->manifest_mu);
    manifest_close(db->manifest);
    db->manifest = NULL;
    mutex_unlock(&db->manifest_mu);
    sst_cache_free(db->cache);
    memtable_pool_free(db->mem_env.pool);
    fs_pool_free(db->env.files);
    fs_close(db->lock); /* gives the lock up */
    fs_dir_close(db->dir);
    gaps_release(&db->gaps);
    readers_release(&db->readers);
    mutex_release(&db->state_mu);
    mutex_release(&db->manifest_mu);
    mutex_release(&db->snapshot_mu);
    mutex_release(&db->watches.watch_mu);
    mutex_release(&db->flush_mu);
    mutex_release(&db->jobs_mu);
    cond_release(&db->jobs_changed);
    cond_release(&db->state_changed);
    cleaner_release(&db->cleaner);
    wait_list_release(&db->waits);
    latencies_free(db->latencies);
    heap_free(db);
}

void handle_set_id(store *db, const uint8_t id[16])
{
    memcpy(db->store_id, id, 16);
    db->env.store_id[0] = get_u64(id);
    db->env.store_id[1] = get_u64(id + 8);
}

void store_number_files(store *db, const folder *f, uint64_t next_file_no)
{
    const buf *lists[] = {&f->tables, &f->manifests};
    uint64_t next = next_file_no ? next_file_no : 1;
    /* Without a manifest, no file says which file numbers have been given out. */
    uint64_t most = next_file_no ? next + FILE_NO_SLACK : FILE_NO_MAX - FILE_NO_SLACK;
    for (size_t i = 0; i < 2; i++)
        for (size_t at = folder_count(lists[i]); at-- > 0;) {
            uint64_t no = folder_at(lists[i], at);
            if (no > most)
                continue;
            if (no >= next)
                next = no + 1;
            break;
        }
    atomic_store_explicit(&db->next_file_no, next, memory_order_relaxed);
}
