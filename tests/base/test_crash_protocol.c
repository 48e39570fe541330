/* The crash enumerator at work: protocols that are known to be right and wrong, repeating a
 * failure, and crashes of a recovery. */
#include "check.h"
#include "support/crash_script.h"

/* ---- A toy store: one file CURRENT that holds a number, replaced as a whole ---- */

typedef struct protocol {
    bool sync_file;
    bool sync_dir;
    bool in_place; /* no second file, no rename */
} protocol;

static void toy_store(script *s, const protocol *p, uint8_t value)
{
    uint8_t data[2 * SECTOR];
    memset(data, value, sizeof data);
    fs_file *f = NULL;
    if (p->in_place) {
        f = reopen(s, "CURRENT");
    } else {
        fs_unlink(s->dir, "new", NULL);
        f = create(s, "new");
    }
    assert_int_equal(fs_write(f, data, sizeof data, 0, NULL), FIRN_OK);
    if (p->sync_file)
        sync_file(f);
    fs_close(f);
    if (!p->in_place)
        assert_int_equal(fs_rename(s->dir, "new", "CURRENT", NULL), FIRN_OK);
    if (p->sync_dir)
        sync_dir(s);
}

static int toy_verify(void *ctx, crash_state *state)
{
    (void)ctx;
    size_t size = 0;
    if (!simfs_exists(state->sim, "CURRENT"))
        return crash_wrong(state, "CURRENT is gone");
    const uint8_t *data = simfs_peek(state->sim, "CURRENT", &size);
    uint64_t acknowledged = state->marks[0];
    if (size != 2 * SECTOR || letter(data, size) == '?')
        return crash_wrong(state, "CURRENT is torn");
    if ((uint64_t)(data[0] - 'A') < acknowledged && state->model != CRASH_KILL)
        return crash_wrong(state, "%d was acknowledged", (int)acknowledged);
    return 0;
}

/* How many violations the enumerator finds in three replacements by this protocol. */
static uint64_t toy_wrong(const protocol *p, unsigned models, crash_stats *stats)
{
    script s = script_new();
    given(&s, "CURRENT", "AA");
    simfs_record(s.sim);
    for (uint8_t i = 1; i <= 3; i++) {
        toy_store(&s, p, (uint8_t)('A' + i));
        simfs_mark(s.sim, 0, i);
    }
    crash_options options = {.name = "toy",
                             .verify = toy_verify,
                             .models = models,
                             .max_wrong = UINT32_MAX,
                             .quiet = true};
    uint64_t wrong = crash_run(s.sim, &options, stats);
    fs_dir_close(s.dir);
    simfs_free(s.sim);
    return wrong;
}

static void TheRightProtocolPassesAndEachMutantIsCaught(void **state)
{
    (void)state;
    crash_stats right = {0}, wrong = {0};
    assert_int_equal(toy_wrong(&(protocol){true, true, false}, CRASH_ALL, &right), 0);
    assert_true(right.states > 20);
    assert_true(toy_wrong(&(protocol){false, true, false}, CRASH_STRICT, &wrong) > 0);
    assert_non_null(strstr(wrong.first_wrong, "torn"));
    assert_true(toy_wrong(&(protocol){true, false, false}, CRASH_STRICT, &wrong) > 0);
    assert_true(toy_wrong(&(protocol){true, true, true}, CRASH_STRICT, &wrong) > 0);
    /* Also where the disk is kind: */
    assert_true(toy_wrong(&(protocol){false, true, false}, CRASH_ORDERED, &wrong) > 0);
    assert_true(toy_wrong(&(protocol){true, true, true}, CRASH_ORDERED, &wrong) > 0);
    assert_true(toy_wrong(&(protocol){true, true, true}, CRASH_KILL, &wrong) > 0);
}

typedef struct replayed {
    char text[DRAWING_SIZE];
    int count;
    unsigned depth;
} replayed;

static int note_replay(void *ctx, crash_state *state)
{
    replayed *r = ctx;
    draw(state->sim, r->text);
    r->count++;
    r->depth = state->depth;
    return 0;
}

static int reject_hole(void *ctx, crash_state *state)
{
    note_replay(ctx, state);
    return strstr(((replayed *)ctx)->text, "XAX") ? crash_wrong(state, "a hole") : 0;
}

static void AFailureIsRepeatedFromItsLine(void **state)
{
    (void)state;
    script s = script_new();
    given(&s, "a", "AAA");
    fs_file *f = reopen(&s, "a");
    simfs_record(s.sim);
    write_letters(f, 0, "XXX");
    write_letters(f, 0, "Z");
    replayed r = {.count = 0};
    crash_stats stats = {0};
    crash_options options = {
        .name = "hole", .verify = reject_hole, .ctx = &r, .seed = 3, .quiet = true};
    assert_int_equal(crash_run(s.sim, &options, &stats), 1);
    const char *line = strstr(stats.first_wrong, "hole seed=3 strict@1:");
    assert_non_null(line);
    char found[DRAWING_SIZE];
    memcpy(found, r.text, sizeof found);
    r = (replayed){.count = 0};
    options.replay = line;
    assert_int_equal(crash_run(s.sim, &options, &stats), 1);
    assert_int_equal(r.count, 1);
    assert_string_equal(r.text, found);
    options.name = "other"; /* a line of another script is not for us */
    assert_int_equal(crash_run(s.sim, &options, &stats), 0);
    assert_int_equal(r.count, 1);
    script_end(&s, f);
}

/* ---- Crashes of a recovery ---- */

/* A store that finishes on open what a crash interrupted: "intent" says what to write to "a". The
 * wrong one removes the intent before what it wrote is safe. */
typedef struct recovery {
    bool right;
    replayed last;
    unsigned deepest;
} recovery;

static void recover(simfs *sim, bool right)
{
    script s = {.sim = sim};
    fs_file *f = NULL;
    assert_int_equal(fs_dir_open(simfs_fs(sim), "/", &s.dir, NULL), FIRN_OK);
    if (simfs_exists(sim, "intent")) {
        f = reopen(&s, "a");
        write_letters(f, 0, "XX");
        if (right)
            sync_file(f);
        fs_close(f);
        assert_int_equal(fs_unlink(s.dir, "intent", NULL), FIRN_OK);
        sync_dir(&s);
    }
    fs_dir_close(s.dir);
}

static int recover_and_look(void *ctx, crash_state *state)
{
    recovery *r = ctx;
    recover(state->sim, r->right);
    note_replay(&r->last, state);
    r->deepest = state->depth > r->deepest ? state->depth : r->deepest;
    if (state->marks[0] == 1 && strcmp(r->last.text, "a=XX") != 0)
        return crash_wrong(state, "the intent was acknowledged, but it is %s", r->last.text);
    return 0;
}

static uint64_t recovery_wrong(recovery *r, crash_stats *stats, const char *replay)
{
    script s = script_new();
    given(&s, "a", "AA");
    simfs_record(s.sim);
    fs_file *f = create(&s, "intent");
    sync_dir(&s);
    simfs_mark(s.sim, 0, 1);
    crash_options options = {.name = "recovery",
                             .verify = recover_and_look,
                             .ctx = r,
                             .seed = 7,
                             .nest_every = 1,
                             .replay = replay,
                             .quiet = true};
    uint64_t wrong = crash_run(s.sim, &options, stats);
    script_end(&s, f);
    return wrong;
}

static void ARecoveryIsCrashedToo(void **state)
{
    (void)state;
    crash_stats stats = {0};
    recovery right = {.right = true};
    assert_int_equal(recovery_wrong(&right, &stats, NULL), 0);
    assert_int_equal(right.deepest, 1);
    assert_true(stats.nested > 4);

    crash_stats bad = {0};
    recovery wrong = {.right = false};
    assert_int_equal(recovery_wrong(&wrong, &bad, NULL), 1);
    const char *line = strstr(bad.first_wrong, "recovery seed=7 ");
    assert_non_null(line);
    assert_non_null(strchr(line, '/'));
    recovery again = {.right = false};
    assert_int_equal(recovery_wrong(&again, &bad, line), 1);
    assert_string_equal(again.last.text, wrong.last.text);
    assert_int_equal(again.last.depth, 1);
    assert_int_equal(again.last.count, 2); /* the state, and the crash of its recovery */
}

static int leave_open(void *ctx, crash_state *state)
{
    (void)ctx;
    fs_dir *d = NULL;
    return fs_dir_open(state->fs, "/", &d, NULL);
}

static void AVerifierThatLeaksHandlesIsTold(void **state)
{
    (void)state;
    simfs *sim = simfs_new(1);
    simfs_record(sim);
    crash_stats stats = {0};
    crash_options options = {.name = "leak", .verify = leave_open, .quiet = true};
    assert_int_equal(crash_run(sim, &options, &stats), 1);
    assert_non_null(strstr(stats.first_wrong, "left open"));
    simfs_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(TheRightProtocolPassesAndEachMutantIsCaught),
        cmocka_unit_test(AFailureIsRepeatedFromItsLine),
        cmocka_unit_test(ARecoveryIsCrashedToo),
        cmocka_unit_test(AVerifierThatLeaksHandlesIsTold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
