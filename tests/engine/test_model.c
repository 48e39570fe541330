/* The store against a sorted array with snapshots: random histories of every operation, under
 * ordinary and degenerate options, in memory without threads and in a real folder with them.
 *
 * A history that disagrees is shrunk, and printed as one line:
 *
 *   FIRN_REPLAY='model set=3 seed=17 count=600 ops=4,17-19,230' tests/.../test_engine_model
 *
 * FIRN_SEED chooses the seeds, FIRN_LONG=1 runs many more.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "script.h"

typedef enum place { MEMORY, MEMORY_UNMAPPED, DISK } place;

typedef struct option_set {
    const char *name;
    place place;
    const char *options[16]; /* name, value, ... over bed_small's */
} option_set;

static const option_set sets[] = {
    {"smallest", MEMORY, {"durability", "sync"}},
    {"smallest, unmapped log", MEMORY_UNMAPPED, {"durability", "sync"}},
    {"plain, no filter", MEMORY, {"compression", "none", "filter_bits", "0", "durability", "none"}},
    {"lz4, larger segments",
     MEMORY,
     {"compression", "lz4", "segment_bytes", "16KiB", "durability", "batch", "batch_writes", "3"}},
    {"zlib, larger tables", MEMORY, {"compression", "zlib", "table_bytes", "64KiB"}},
    {"roomy", MEMORY, {"memory", "64MiB", "segment_bytes", "0", "table_bytes", "32MiB"}},
    {"smallest with threads", DISK, {"durability", "none"}},
    {"synced with threads", DISK, {"durability", "sync", "compression", "lz4"}},
    {"batched with threads",
     DISK,
     {"durability", "batch", "batch_ms", "1", "batch_writes", "2", "compression", "zlib",
      "filter_bits", "64"}},
    {"plain with threads",
     DISK,
     {"durability", "none", "compression", "none", "filter_bits", "1", "segment_bytes", "64KiB",
      "table_bytes", "8KiB"}},
    {"nothing is mapped", MEMORY, {"never_map", "true", "compression", "none"}},
    {"nothing is mapped, zlib", MEMORY_UNMAPPED, {"never_map", "true", "compression", "zlib"}},
    {"nothing is mapped, no filter",
     MEMORY,
     {"never_map", "true", "compression", "lz4", "filter_bits", "0", "table_bytes", "16KiB"}},
    {"long filters",
     MEMORY,
     {"filter_bits", "64", "durability", "none", "latencies", "true"}},
    {"filters of one bit", MEMORY, {"filter_bits", "1", "compression", "zlib"}},
    {"a sync for each write of a batch",
     MEMORY,
     {"durability", "batch", "batch_writes", "1", "segment_bytes", "32KiB"}},
    {"small segments, one table", MEMORY, {"table_bytes", "1GiB", "durability", "batch"}},
    {"large segments, small tables", MEMORY, {"segment_bytes", "128KiB", "table_bytes", "4KiB"}},
    {"two MiB and what follows from it",
     MEMORY,
     {"memory", "2MiB", "segment_bytes", "0", "table_bytes", "256KiB"}},
    {"unmapped log, larger tables",
     MEMORY_UNMAPPED,
     {"table_bytes", "128KiB", "segment_bytes", "16KiB", "compression", "none"}},
    {"nothing is mapped, with threads", DISK, {"never_map", "true", "durability", "none"}},
    {"roomy, with threads",
     DISK,
     {"memory", "64MiB", "segment_bytes", "0", "table_bytes", "32MiB", "latencies", "true"}},
    {"a sync for each write of a batch, with threads",
     DISK,
     {"durability", "batch", "batch_writes", "1", "filter_bits", "0"}},
    {"nothing is mapped, zlib, with threads",
     DISK,
     {"never_map", "true", "durability", "none", "compression", "zlib", "segment_bytes", "16KiB"}},
};

_Static_assert(sizeof sets / sizeof *sets >= 24, "as many ways to set the options");
#define SETS (sizeof sets / sizeof *sets)

static void bed_for(const option_set *set, bed *b, uint64_t seed)
{
    if (set->place == DISK) {
        bed_on_disk(b);
    } else {
        bed_on_simfs(b, seed);
        simfs_mapping_ok(b->sim, set->place == MEMORY);
    }
    b->config.gap_steps = (unsigned)(1 + seed % 5);
    for (size_t i = 0; set->options[i]; i += 2)
        MUST(firn_options_set(&b->options, set->options[i], set->options[i + 1], error));
}

static bool run_once(const option_set *set, const script *s, const bool *kept, uint64_t seed,
                     char *why)
{
    bed b;
    bed_for(set, &b, seed);
    bool right = script_run(s, kept, &b, why);
    bed_release(&b);
    return right;
}

/* Drops runs of operations, half as many at a time each round, as long as the rest still fails. */
static void shrink(const option_set *set, const script *s, bool *kept, uint64_t seed, char *why)
{
    bool *tried = malloc(s->count * sizeof *tried);
    assert_non_null(tried);
    int budget = 400;
    for (size_t run = s->count / 2; run > 0 && budget > 0; run /= 2) {
        for (size_t from = 0; from < s->count && budget > 0; from += run) {
            size_t dropped = 0;
            memcpy(tried, kept, s->count * sizeof *tried);
            for (size_t i = from; i < from + run && i < s->count; i++) {
                dropped += tried[i];
                tried[i] = false;
            }
            char other[WHY];
            if (dropped == 0 || (budget--, run_once(set, s, tried, seed, other)))
                continue;
            memcpy(kept, tried, s->count * sizeof *tried);
            memcpy(why, other, WHY);
        }
    }
    free(tried);
}

static void print_replay(size_t set, const script *s, const bool *kept, uint64_t seed)
{
    print_error("  FIRN_REPLAY='model set=%zu seed=%llu count=%zu ops=", set,
                (unsigned long long)seed, s->count);
    const char *comma = "";
    for (size_t i = 0; i < s->count; i++) {
        if (!kept[i])
            continue;
        size_t last = i;
        while (last + 1 < s->count && kept[last + 1])
            last++;
        print_error(last > i ? "%s%zu-%zu" : "%s%zu", comma, i, last);
        comma = ",";
        i = last;
    }
    print_error("'\n");
}

static void run_seed(size_t set, uint64_t seed, size_t count)
{
    script s;
    char why[WHY] = "";
    script_new(&s, seed, count);
    if (!run_once(&sets[set], &s, NULL, seed, why)) {
        bool *kept = malloc(count * sizeof *kept);
        assert_non_null(kept);
        memset(kept, true, count * sizeof *kept);
        print_error("set %zu (%s), seed %llu: %s\n", set, sets[set].name, (unsigned long long)seed,
                    why);
        shrink(&sets[set], &s, kept, seed, why);
        print_error("shrunk: %s\n", why);
        print_replay(set, &s, kept, seed);
        free(kept);
        script_release(&s);
        fail();
    }
    script_release(&s);
}

static void replay(const char *line)
{
    size_t set, count;
    unsigned long long seed;
    int used = 0;
    script s;
    char why[WHY] = "";
    if (sscanf(line, "model set=%zu seed=%llu count=%zu ops=%n", &set, &seed, &count, &used) < 3 ||
        used == 0 || set >= SETS || count > 1000000)
        fail_msg("FIRN_REPLAY: cannot read \"%s\"", line);
    bool *kept = calloc(count, sizeof *kept);
    assert_non_null(kept);
    const char *p = line + used;
    while (*p) {
        char *end = NULL;
        size_t from = strtoull(p, &end, 10), to = from;
        if (*end == '-')
            to = strtoull(end + 1, &end, 10);
        if (end == p || to >= count)
            fail_msg("FIRN_REPLAY: cannot read \"%s\"", p);
        for (size_t i = from; i <= to; i++)
            kept[i] = true;
        p = *end == ',' ? end + 1 : end;
    }
    script_new(&s, seed, count);
    bool right = run_once(&sets[set], &s, kept, seed, why);
    script_release(&s);
    free(kept);
    if (!right)
        fail_msg("%s", why);
}

/* Returns true when a single line was asked for. */
static bool replayed(void)
{
    const char *line = getenv("FIRN_REPLAY");
    if (!line || strncmp(line, "model ", 6) != 0)
        return false;
    replay(line);
    return true;
}

static void run_place(bool disk, uint64_t scripts, size_t count)
{
    if (replayed())
        return;
    uint64_t seed = seed_from_environment(1);
    if (long_run())
        scripts *= 20;
    for (uint64_t i = 0; i < scripts; i++)
        for (size_t set = 0; set < SETS; set++)
            if ((sets[set].place == DISK) == disk)
                run_seed(set, seed * 1000000 + i * SETS + set, count);
}

static void the_store_in_memory_answers_as_a_sorted_array_does(void **state)
{
    (void)state;
    run_place(false, 20, 700);
}

static void the_store_on_disk_with_threads_answers_as_a_sorted_array_does(void **state)
{
    (void)state;
    run_place(true, 2, 700);
}

static void long_histories_answer_as_a_sorted_array_does(void **state)
{
    (void)state;
    run_place(false, 1, 12000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_store_in_memory_answers_as_a_sorted_array_does),
        cmocka_unit_test(the_store_on_disk_with_threads_answers_as_a_sorted_array_does),
        cmocka_unit_test(long_histories_answer_as_a_sorted_array_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
