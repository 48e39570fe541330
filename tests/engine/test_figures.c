/* The figures of "An LSM tree in one page" (engine/README.md) are those of the code. Each sentence is made here from the constants
 * and options that the engine works with, and must stand in the README, whatever its line breaks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bed.h"
#include <store/store.h>

/* For what only these files know. */
#include "build.c"

static char *readme; /* in one line, single blanks */

static int read_the_readme(void **state)
{
    (void)state;
    FILE *f = fopen(FIRN_SOURCE_DIR "/engine/README.md", "r");
    size_t size = 0, capacity = 0;
    if (!f)
        return -1;
    for (int c = getc(f); c != EOF; c = getc(f)) {
        if (size + 2 > capacity) {
            capacity = capacity * 2 + 4096;
            readme = realloc(readme, capacity);
        }
        if (c == '\n')
            c = ' ';
        if (c != ' ' || size == 0 || readme[size - 1] != ' ')
            readme[size++] = (char)c;
        readme[size] = '\0';
    }
    fclose(f);
    return readme ? 0 : -1;
}

static int forget_the_readme(void **state)
{
    (void)state;
    free(readme);
    return 0;
}

static void says(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void says(const char *format, ...)
{
    char sentence[256];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    if (!strstr(readme, sentence))
        fail_msg("engine/README.md does not say: %s", sentence);
}

static const char *size_text(uint64_t bytes)
{
    static char text[4][24];
    static unsigned next;
    char *out = text[next++ % 4];
    bool gib = bytes % (UINT64_C(1) << 30) == 0;
    snprintf(out, sizeof text[0], "%llu %s", (unsigned long long)(bytes >> (gib ? 30 : 20)),
             gib ? "GiB" : "MiB");
    return out;
}

static void the_readme_names_what_makes_a_level_due(void **state)
{
    (void)state;
    bed b;
    bed_on_simfs(&b, 1);
    firn_options_init(&b.options);
    bed_must_open(&b);
    const firn *db = b.db;
    const schedule_rules *r = &db->store->rules;
    says("%u tables: compaction", L0_COMPACT_AT);
    says("%u tables, or as many bytes as the smallest share", r->level0_at);
    says("%u segments of log", BASE_SEGMENTS);
    assert_int_equal(r->level_base_bytes, db->store->options.segment_bytes * BASE_SEGMENTS);
    assert_int_equal(db->store->options.memory, db->store->options.segment_bytes * 8);
    says("for a log segment of %s, the default (an eighth of `memory`, %s): the smallest share is "
         "%s",
         size_text(db->store->options.segment_bytes), size_text(db->store->options.memory),
         size_text(r->level_base_bytes));
    uint64_t most = r->level_base_bytes * SCHEDULE_SPLIT;
    for (unsigned count = 1; count < FIRN_LEVELS - 2; count++, most *= r->ratio) {
        says("| up to %s | %u |", size_text(most), count);
        assert_int_equal(schedule_levels_for(r, most), count);
        assert_int_equal(schedule_levels_for(r, most + 1), count + 1);
    }
    says("%u times as large", r->ratio);
    says("more than %u tables' worth of the next level", SCHEDULE_OVERLAP);
    says("into new tables of %s there", size_text(r->table_bytes));
    bed_release(&b);
}

static void the_readme_names_from_where_tables_are_compressed(void **state)
{
    (void)state;
    bed b;
    bed_on_simfs(&b, 1);
    firn_options_init(&b.options);
    bed_must_open(&b);
    unsigned n = 0;
    while (n < FIRN_LEVELS && compression_of(store_form(b.db->store, 0), n) == SST_COMPRESSION_NONE)
        n++;
    says("not from level %u to level %u when compression is automatic, since tables are compressed "
         "from level %u on",
         n - 1, n, n);
    bed_release(&b);
}

static void the_readme_names_what_holds_writers_back(void **state)
{
    (void)state;
    says("Above %u tables in level 0 writers are slowed", L0_SLOW_AT);
    says("at %u tables, or when more than %u memtables wait for their flush, they wait", L0_STOP_AT,
         FROZEN_MAX);
}

/* The versions 90 (a put), 70 (a delete), 50 and 30 of one key, with a snapshot at `seq` or, when that is 0, without any. */
static void row_of_versions(const char *words, uint64_t seq, const char *behind)
{
    static const uint64_t versions[] = {90, 70, 50, 30};
    char row[128];
    keeper k;
    keeper_init(&k, &seq, seq ? 1 : 0);
    int at = snprintf(row, sizeof row, "%s", words);
    for (unsigned i = 0; i < 4; i++) {
        keeper_verdict v = keeper_feed(&k, versions[i], i == 1 ? FIRN_DELETE : FIRN_PUT);
        uint64_t held_seq;
        uint8_t held_kind;
        if (v == KEEPER_KEEP)
            assert_false(
                keeper_take_held(&k, &held_seq, &held_kind)); /* it would be kept without a mark */
        at += snprintf(row + at, sizeof row - (size_t)at, " %s%s",
                       v == KEEPER_DROP ? "dropped" : "kept", v == KEEPER_HOLD ? "*" : "");
    }
    says("%s %s", row, behind);
}

static void the_readme_says_which_versions_stay(void **state)
{
    (void)state;
    row_of_versions("no snapshot", 0, "a snapshot");
    row_of_versions("a snapshot at 60", 60, "it reads k = 2");
    row_of_versions("a snapshot at 80", 80, "it reads \"not there\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_readme_names_what_makes_a_level_due),
        cmocka_unit_test(the_readme_names_from_where_tables_are_compressed),
        cmocka_unit_test(the_readme_names_what_holds_writers_back),
        cmocka_unit_test(the_readme_says_which_versions_stay),
    };
    return cmocka_run_group_tests(tests, read_the_readme, forget_the_readme);
}
