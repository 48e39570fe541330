/* What one bad sector can take (wal/README.md). A log that was not closed loses one sector of 512 bytes, or of 4,096: any
 * one around its end, in every manner, behind every sync. Let the syncs that were acknowledged cover the numbers up to a,
 * and those before the last of them the numbers up to b. Then
 *
 *   what is lost up to b             is proven to be lost: the log is refused
 *   what is lost behind b, up to a   is cut, and told: a sync was started, and whether it ended, nothing says. Or it is proven,
 *                                    when more has been written since
 *   what is lost behind a            is cut, and known never to have been acknowledged
 */
#include "bed.h"

#include <base/error.h>

enum { STEPS = 64, WINDOW = 5 * WAL_PAGE_BYTES };

typedef enum mode {
    EACH_WRITE,   /* every write waits for its sync */
    NOW_AND_THEN, /* three writes, a sync, two writes more */
    BATCHES,      /* synced behind every fourth write */
} mode;

typedef struct sectors {
    bed b;
    mode mode;
    size_t value;                  /* bytes; 0: of all sizes */
    uint64_t acknowledged, before; /* a and b */
    uint64_t proven, told, known;  /* damage of each kind that was met */
    rng rng;
} sectors;

/* ---- The log ---- */

static void put(sectors *t, uint64_t i, firn_durability durability)
{
    static uint8_t value[6000];
    size_t size =
        t->value ? t->value : (size_t)rng_below(&t->rng, rng_below(&t->rng, 8) ? 300 : 6000);
    firn_slice key = {(const uint8_t *)&i, sizeof i}, v = {value, size};
    OK(wal_put(t->b.log, FIRN_PUT, key, v, durability, NULL, err));
}

/* Takes note of what has been acknowledged by now. */
static void look(sectors *t)
{
    uint64_t durable = firn_wal_durable_seq(t->b.log);
    if (durable == t->acknowledged)
        return;
    t->before = t->acknowledged;
    t->acknowledged = durable;
}

static void step(sectors *t, uint64_t i)
{
    static const firn_durability wants[] = {FIRN_DURABILITY_SYNC, FIRN_DURABILITY_NONE,
                                            FIRN_DURABILITY_BATCH};
    put(t, i, wants[t->mode]);
    look(t);
    if (t->mode == NOW_AND_THEN && i % 5 == 2) {
        OK(firn_wal_sync(t->b.log, err));
        look(t);
    }
}

/* ---- A bad sector ---- */

enum { MANNERS = 5 };

static void destroy(rng *r, int manner, uint8_t *p, size_t size)
{
    switch (manner) {
    case 0:
        memset(p, 0, size);
        break;
    case 1:
        memset(p, 0xff, size);
        break;
    case 2:
        rng_fill(r, p, size);
        break;
    case 3:
        for (size_t at = rng_below(r, 40); at < size; at += 40)
            p[at] ^= (uint8_t)(1 << rng_below(r, 8));
        break;
    default:
        memset(p, 0, size / 2); /* a half of it is still to be had */
        break;
    }
}

static const firn_wal_finding *torn(const firn_wal_report *report)
{
    for (size_t i = 0; i < report->count; i++)
        if (report->findings[i].kind == FIRN_WAL_TORN)
            return &report->findings[i];
    return NULL;
}

/* Opens the log with one sector destroyed, and writes nothing. `behind`: all frames lie before it, and perhaps the NOTE in
 * it: then nothing is missing, but nothing says so. */
static void judge(sectors *t, simfs *sim, bool behind, const char *what)
{
    wal_config c = t->b.config;
    wal *log = NULL;
    firn_wal_report report;
    firn_error error = {0};
    c.options.read_only = true;
    firn_wal_report_init(&report);
    int rc = wal_open_path(simfs_fs(sim), BED_PATH, &c, &report, &log, &error);
    const firn_wal_finding *tear = torn(&report);
    uint64_t last = log ? firn_wal_last_seq(log) : 0;
    bool right = false;
    if (rc == FIRN_OK && last < t->acknowledged) {
        right = last >= t->before && tear && tear->may_be_durable && tear->seq_first == last + 1 &&
                tear->seq_last >= t->acknowledged && tear->proof[0];
        t->told++;
    } else if (rc == FIRN_OK) {
        right = !tear || !tear->may_be_durable || behind;
        t->known += tear != NULL;
    } else if (rc == FIRN_DAMAGED) {
        c.options.recovery = FIRN_RECOVERY_PREFIX;
        firn_wal_report_release(&report);
        OK(wal_open_path(simfs_fs(sim), BED_PATH, &c, &report, &log, err));
        right = firn_wal_last_seq(log) < t->acknowledged && error.hint[0];
        t->proven++;
    }
    if (!right) {
        print_error("%s: %s %s; %llu and %llu are acknowledged, %llu is the last\n", what,
                    firn_status_name(rc), error.message, (unsigned long long)t->before,
                    (unsigned long long)t->acknowledged, (unsigned long long)last);
        if (tear)
            print_error("torn: %llu to %llu, %s\n", (unsigned long long)tear->seq_first,
                        (unsigned long long)tear->seq_last, tear->proof);
    }
    assert_true(right);
    OK(firn_wal_close(log, err));
    firn_wal_report_release(&report);
}

/* Recovery cuts what is left, and leaves nothing to recover. */
static void recover(sectors *t, simfs *sim)
{
    wal_config c = t->b.config;
    wal *log = NULL;
    firn_wal_report report;
    simfs *copy = simfs_clone(sim);
    uint64_t seq = 0;
    firn_wal_report_init(&report);
    if (wal_open_path(simfs_fs(copy), BED_PATH, &c, NULL, &log, NULL) == FIRN_DAMAGED) {
        c.options.recovery = FIRN_RECOVERY_SALVAGE;
        OK(wal_open_path(simfs_fs(copy), BED_PATH, &c, NULL, &log, err));
    }
    OK(firn_wal_append(log, FIRN_PUT, "on", 2, NULL, 0, NULL, &seq, err));
    OK(firn_wal_close(log, err));
    c.options.recovery = FIRN_RECOVERY_STRICT;
    OK(wal_open_path(simfs_fs(copy), BED_PATH, &c, &report, &log, err));
    assert_int_equal(firn_wal_last_seq(log), seq);
    assert_int_equal(report.count, 0);
    OK(firn_wal_close(log, err));
    firn_wal_report_release(&report);
    assert_int_equal(simfs_open_count(copy), 0);
    simfs_free(copy);
}

/* Each sector around the end of a segment, one after the other. */
static void each_sector(sectors *t, simfs *sim, const wal_segment *s, size_t sector)
{
    char path[64], what[128];
    uint64_t from = s->end > WAL_DATA_OFFSET + WINDOW ? s->end - WINDOW : WAL_DATA_OFFSET;
    uint64_t to = s->end + WINDOW < s->bytes ? s->end + WINDOW : s->bytes;
    snprintf(path, sizeof path, "%s/%s", BED_PATH, s->name);
    for (uint64_t at = from / sector * sector; at < to; at += sector) {
        uint8_t kept[WAL_PAGE_BYTES], bad[WAL_PAGE_BYTES];
        size_t size;
        memcpy(kept, simfs_peek(sim, path, &size) + at, sector);
        int manner = (int)rng_below(&t->rng, MANNERS);
        memcpy(bad, kept, sector);
        destroy(&t->rng, manner, bad, sector);
        simfs_poke(sim, path, at, bad, sector);
        snprintf(what, sizeof what, "mode %d, %zu bytes at %llu of %s in manner %d", (int)t->mode,
                 sector, (unsigned long long)at, path, manner);
        judge(t, sim, at >= s->end, what);
        if (rng_below(&t->rng, 16) == 0)
            recover(t, sim);
        simfs_poke(sim, path, at, kept, sector);
    }
}

/* ---- Tests ---- */

static void start(sectors *t, mode m, firn_wal_backing backing, size_t value)
{
    wal_config c = bed_config();
    c.options.segment_bytes = WAL_NOTE_SEGMENT_MIN;
    c.options.backing = backing;
    c.options.batch_writes = 4;
    c.options.batch_ms = 1000000;
    c.options.recovery = FIRN_RECOVERY_TAIL;
    *t = (sectors){.mode = m, .value = value, .rng = rng_init((uint64_t)m * 100 + value)};
    t->b = bed_new_with(&c);
}

/* `again`: in a segment that has had an earlier use. Adds to *met what kinds of damage were met. */
static void one_bad_sector(mode m, firn_wal_backing backing, size_t value, bool again, sectors *met)
{
    sectors t;
    start(&t, m, backing, value);
    for (uint64_t i = 0; i < STEPS; i++) {
        step(&t, i);
        if (again && i % 16 == 15) {
            OK(firn_wal_rotate(t.b.log, err));
            OK(firn_wal_truncate(t.b.log, firn_wal_last_seq(t.b.log), NULL, err));
            look(&t);
        }
        if (again ? i < 40 : i % 5 != 0)
            continue;
        simfs *sim = simfs_clone(t.b.sim);
        each_sector(&t, sim, t.b.log->current, WAL_SECTOR_BYTES);
        each_sector(&t, sim, t.b.log->current, WAL_PAGE_BYTES);
        simfs_free(sim);
    }
    met->proven += t.proven;
    met->told += t.told;
    met->known += t.known;
    bed_release(&t.b);
}

static void OneBadSectorTakesNoMoreThanTheLastSync(void **state)
{
    (void)state;
    static const size_t values[] = {60, 700, 5000, 0};
    sectors met = {0};
    for (int backing = FIRN_WAL_MAPPED; backing <= FIRN_WAL_BUFFERED; backing++)
        for (int m = EACH_WRITE; m <= BATCHES; m++)
            for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
                one_bad_sector((mode)m, (firn_wal_backing)backing, values[i], false, &met);
    assert_true(met.proven > 2000 && met.told > 300 && met.known > 100);
}

static void NorDoesItInASegmentThatIsUsedAgain(void **state)
{
    (void)state;
    sectors met = {0};
    for (int backing = FIRN_WAL_MAPPED; backing <= FIRN_WAL_BUFFERED; backing++)
        for (int m = EACH_WRITE; m <= BATCHES; m++)
            one_bad_sector((mode)m, (firn_wal_backing)backing, 200, true, &met);
    assert_true(met.proven > 200 && met.told > 10 && met.known > 10);
}

/* The first group of a segment, alone with its LINK in the first page. */
static void NorDoesItAtTheBeginningOfASegment(void **state)
{
    (void)state;
    for (int backing = FIRN_WAL_MAPPED; backing <= FIRN_WAL_BUFFERED; backing++) {
        sectors t;
        start(&t, EACH_WRITE, (firn_wal_backing)backing, 60);
        for (uint64_t i = 0; i < 24; i++) {
            if (i % 4 == 0)
                OK(firn_wal_rotate(t.b.log, err));
            step(&t, i);
            simfs *sim = simfs_clone(t.b.sim);
            each_sector(&t, sim, t.b.log->current, WAL_SECTOR_BYTES);
            each_sector(&t, sim, t.b.log->current, WAL_PAGE_BYTES);
            simfs_free(sim);
        }
        assert_true(t.proven > 20 && t.told > 10);
        bed_release(&t.b);
    }
}

/* An idle log has proven its last sync, too: nothing can be taken without a proof. */
static void BehindAMarkOneBadSectorTakesNothingUnnoticed(void **state)
{
    (void)state;
    for (int m = EACH_WRITE; m <= NOW_AND_THEN; m++) {
        sectors t;
        start(&t, (mode)m, FIRN_WAL_MAPPED, 60);
        for (uint64_t i = 0; i < 33; i++)
            step(&t, i);
        OK(firn_wal_sync(t.b.log, err));
        wal_request mark = {.type = WAL_REQUEST_MARK, .durable = true};
        assert_int_equal(wal_submit(t.b.log, &mark), FIRN_OK);
        t.before = t.acknowledged = firn_wal_last_seq(t.b.log);
        simfs *sim = simfs_clone(t.b.sim);
        each_sector(&t, sim, t.b.log->current, WAL_SECTOR_BYTES);
        each_sector(&t, sim, t.b.log->current, WAL_PAGE_BYTES);
        assert_true(t.proven > 4 && t.told == 0);
        simfs_free(sim);
        bed_release(&t.b);
    }
}

/* A segment of two pages has no page left for a NOTE: one sector of 512 bytes is as much as it stands. */
static void InASmallSegmentTheNextSectorHoldsTheProof(void **state)
{
    (void)state;
    sectors t;
    start(&t, EACH_WRITE, FIRN_WAL_MAPPED, 60);
    wal_config c = t.b.config;
    bed_release(&t.b);
    c.options.segment_bytes = WAL_SEGMENT_MIN;
    t.b = bed_new_with(&c);
    for (uint64_t i = 0; t.b.log->current->end < WAL_SEGMENT_MIN - 2 * WAL_SECTOR_BYTES; i++) {
        step(&t, i);
        simfs *sim = simfs_clone(t.b.sim);
        each_sector(&t, sim, t.b.log->current, WAL_SECTOR_BYTES);
        simfs_free(sim);
    }
    assert_true(t.proven > 20 && t.told > 2);
    bed_release(&t.b);
}

/* A SEAL is shorter than what the NOTE in its way takes. */
static void ASealLeavesNothingOfANoteBehind(void **state)
{
    (void)state;
    for (size_t size = 3700; size < 4100; size += 8) {
        sectors t;
        firn_wal_report report;
        wal *log;
        start(&t, EACH_WRITE, size % 16 ? FIRN_WAL_MAPPED : FIRN_WAL_BUFFERED, size);
        step(&t, 1);
        bed_close(&t.b);
        wal_config c = t.b.config;
        c.options.recovery = FIRN_RECOVERY_STRICT;
        firn_wal_report_init(&report);
        OK(wal_open_path(simfs_fs(t.b.sim), BED_PATH, &c, &report, &log, err));
        assert_true(report.count == 0 && report.closed_clean);
        OK(firn_wal_close(log, err));
        firn_wal_report_release(&report);
        bed_release(&t.b);
    }
}

/* ---- Beside a writer ---- */

typedef struct moment {
    simfs *sim;
    const char *path, *name;
    uint64_t at;
    uint8_t bytes[WAL_SECTOR_BYTES];
    unsigned opens;
} moment;

/* The segment is opened for the second time: the write that the first look met in the middle is over. */
static int the_write_ends(void *ctx, unsigned call, uint64_t index, const char *name)
{
    moment *m = ctx;
    (void)index;
    if (call == SIMFS_OPEN && name && strcmp(name, m->name) == 0 && ++m->opens == 2)
        simfs_poke(m->sim, m->path, m->at, m->bytes, sizeof m->bytes);
    return 0;
}

static void WhatTheNextLookDoesNotFindWasAWriteUnderWay(void **state)
{
    (void)state;
    sectors t;
    char path[64];
    size_t size;
    start(&t, EACH_WRITE, FIRN_WAL_BUFFERED, 60);
    for (uint64_t i = 0; i < 20; i++)
        step(&t, i);
    const wal_segment *s = t.b.log->current;
    simfs *sim = simfs_clone(t.b.sim);
    snprintf(path, sizeof path, "%s/%s", BED_PATH, s->name);
    uint64_t last = (s->end - 1) / WAL_SECTOR_BYTES * WAL_SECTOR_BYTES;
    for (uint64_t at = last - WAL_SECTOR_BYTES; at <= last; at += WAL_SECTOR_BYTES) {
        moment m = {.sim = sim, .path = path, .name = s->name, .at = at};
        static const uint8_t none[WAL_SECTOR_BYTES];
        memcpy(m.bytes, simfs_peek(sim, path, &size) + at, sizeof m.bytes);
        simfs_poke(sim, path, at, none, sizeof none);
        simfs_on_call(sim, the_write_ends, &m);
        wal_config c = t.b.config;
        firn_wal_report report;
        wal *log;
        c.options.read_only = true;
        firn_wal_report_init(&report);
        OK(wal_open_path(simfs_fs(sim), BED_PATH, &c, &report, &log, err));
        assert_int_equal(report.count, 0);
        assert_int_equal(firn_wal_last_seq(log), 20);
        OK(firn_wal_close(log, err));
        firn_wal_report_release(&report);
        simfs_on_call(sim, NULL, NULL);
    }
    simfs_free(sim);
    bed_release(&t.b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(OneBadSectorTakesNoMoreThanTheLastSync),
        cmocka_unit_test(NorDoesItInASegmentThatIsUsedAgain),
        cmocka_unit_test(NorDoesItAtTheBeginningOfASegment),
        cmocka_unit_test(BehindAMarkOneBadSectorTakesNothingUnnoticed),
        cmocka_unit_test(InASmallSegmentTheNextSectorHoldsTheProof),
        cmocka_unit_test(ASealLeavesNothingOfANoteBehind),
        cmocka_unit_test(WhatTheNextLookDoesNotFindWasAWriteUnderWay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
