/* sample: see sample.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <base/alloc.h>

#include <errno.h>

#include "sample.h"

static void write_batches(sample *s, unsigned count)
{
    char why[WHY];
    for (unsigned i = 0; i < count; i++)
        if (!history_write(&s->history, s->bed.db, FIRN_DURABILITY_SYNC, why))
            fail_msg("%s", why);
}

int sample_note_file(void *ctx, const char *path, uint64_t size)
{
    sample *s = ctx;
    assert_true(s->file_count < FILES);
    snprintf(s->files[s->file_count], sizeof s->files[0], "%s", path);
    s->sizes[s->file_count++] = size;
    return 0;
}

/* No table is made any more: the log keeps more than one segment. */
static int refuse_tables(void *ctx, unsigned call, uint64_t index, const char *name)
{
    (void)ctx;
    (void)index;
    return call == SIMFS_CREATE && strstr(name, ".tbl") ? ENOSPC : 0;
}

/* The last file with something in it is where the log goes on. */
static int find_log_end(void *ctx, const char *path, uint64_t size)
{
    sample *s = ctx;
    size_t used = 0;
    if (!sample_is_log(path))
        return 0;
    const uint8_t *bytes = simfs_peek(s->bed.sim, path, &used);
    for (used = size; used > 0 && bytes[used - 1] == 0;)
        used--;
    if (used <= 4096) /* headers only */
        return 0;
    snprintf(s->last_log, sizeof s->last_log, "%s", path);
    s->last_header = (used + 7) / 8 * 8;
    return 0;
}

/* Two levels of tables, and a log of several segments with batches that are in no table. */
void sample_init(sample *s, bool closed, uint64_t seed)
{
    *s = (sample){0};
    bed_on_simfs(&s->bed, 5);
    MUST(firn_options_set(&s->bed.options, "compression", closed ? "lz4" : "none", error));
    history_init(&s->history, seed, NULL);
    s->history.value_most = 250;
    bed_must_open(&s->bed);
    write_batches(s, 12);
    MUST(firn_compact(s->bed.db, NULL, 0, NULL, 0, error));
    write_batches(s, 8);
    bed_flush(&s->bed);
    write_batches(s, 8);
    s->older = simfs_clone(s->bed.sim);
    simfs_on_call(s->bed.sim, refuse_tables, NULL);
    write_batches(s, 50);
    simfs_each(s->bed.sim, "", find_log_end, s);
    write_batches(s, 1);
    s->durable = s->history.count - (closed ? 0 : 1);
    if (closed)
        bed_must_close(&s->bed);
    s->intact = simfs_clone(s->bed.sim);
    simfs_each(s->intact, "", sample_note_file, s);
}

void sample_release(sample *s)
{
    history_release(&s->history);
    simfs_free(s->older);
    simfs_free(s->intact);
    bed_release(&s->bed);
}

static int setup(void **state, bool closed, uint64_t seed)
{
    sample *s = malloc(sizeof *s);
    assert_non_null(s);
    sample_init(s, closed, seed);
    *state = s;
    return 0;
}

int sample_setup_closed(void **state)
{
    return setup(state, true, 5);
}

int sample_setup_unclean(void **state)
{
    return setup(state, false, 5);
}

int sample_setup_other(void **state)
{
    return setup(state, true, 6);
}

int sample_teardown(void **state)
{
    alloc_fail_at(0);
    sample_release(*state);
    free(*state);
    return 0;
}
