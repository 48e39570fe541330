/* What the log tells its owner while it works. */
#include "bed.h"

typedef struct long_call {
    simfs *sim;
    unsigned calls; /* which ones take two seconds */
    unsigned lines;
    char text[200];
} long_call;

static int lasts(void *ctx, unsigned call, uint64_t index, const char *name)
{
    long_call *l = ctx;
    (void)index, (void)name;
    if (call & l->calls)
        simfs_advance(l->sim, 2000000);
    return 0;
}

static void note_line(void *ctx, firn_log_level level, const char *text)
{
    long_call *l = ctx;
    if (level != FIRN_LOG_WARNING)
        return;
    if (l->lines++ == 0 || strstr(text, "the next segment"))
        snprintf(l->text, sizeof l->text, "%s", text);
}

static void WhatTakesWritersASecondIsTold(void **state)
{
    (void)state;
    for (int way = 0; way < 2; way++) {
        long_call l = {0};
        wal_config c = bed_config();
        c.options.durability = FIRN_DURABILITY_NONE;
        c.options.log = note_line;
        c.options.log_ctx = &l;
        bed b = bed_new_with(&c);
        l.sim = b.sim;
        bed_put(&b, 1);
        OK(firn_wal_sync(b.log, err));
        assert_int_equal(l.lines, 0);
        l.calls = way == 0 ? SIMFS_SYNC : SIMFS_ANY;
        simfs_on_call(b.sim, lasts, &l);
        bed_put(&b, 2);
        if (way == 0)
            OK(firn_wal_sync(b.log, err));
        for (uint64_t i = 3; way == 1 && !strstr(l.text, "the next segment") && i < 100000; i++)
            bed_put(&b, i);
        simfs_on_call(b.sim, NULL, NULL);
        assert_true(l.lines > 0);
        assert_non_null(strstr(l.text, way == 0 ? "a sync of the log took" : "the next segment"));
        bed_release(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(WhatTakesWritersASecondIsTold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
