/* fuzz_log: a whole log folder, opened by every policy, used, closed, and opened again.
 *
 * The input begins with how the log is opened (choose_config) and what is done with it afterwards;
 * the rest are its files (fuzz_log_bytes.h).
 *
 * What must hold, whatever the files are:
 *   - Looking (INSPECT, or read_only) changes no byte. INSPECT opens everything that this version
 *     can read.
 *   - STRICT opens what has no finding; TAIL refuses proven loss. A policy that refuses after the first look
 *     has changed nothing.
 *   - A policy that may write ends with what the same policy shows when it may not.
 *   - Every byte that counts is in its place or in lost/; other files are untouched (fuzz_log_kept.h).
 *   - Replay, iterate, the owner's frames and verify agree; numbers ascend (fuzz_log_open.h).
 *   - An appended number is greater than every number seen.
 *   - What was closed opens with TAIL, has lost nothing, and reads the same; closing it again leaves
 *     the files as they are, but for one segment more that holds no number.
 *   - No handle and no mapping stays open.
 */
#include <string.h>

#include "fuzz_log_bytes.h"
#include "fuzz_memory.h"
#include "fuzz_log_kept.h"
#include "fuzz_log_open.h"

#define MEMORY_MAX ((size_t)8 << 20) /* that firn may hold for one input */

/* Log numbers that the harness does not take the owner to have covered: skipping up to them would
 * take as many frames as they have multiples of 2^32. */
#define COVERED_MAX (UINT64_C(1) << 34)

/* Recovery need not skip more numbers than this. */
#define SKIPPED_MAX (UINT64_C(32) * UINT32_MAX)

/* ---- What is there ---- */

typedef struct known {
    int scan_status; /* of looking at the folder: FIRN_OK, or what every policy says */
    uint64_t max_seen;
    uint64_t last_seen; /* the newest number that a look found */
    uint64_t highest_no;
    bool exhausted; /* numbers, or names of segments, are used up or nearly */
    fuzz_kept kept;
} known;

static void look_first(known *k, const fuzz_log *l, simfs *sim, const wal_config *config)
{
    fs_dir *dir;
    firn_error error = {0};
    wal_scan scan;
    wal_scan_options o = {
        .store_id = config->store_id,
        .covered_seq = config->covered_seq,
        .covered_no = config->covered_no,
    };
    FUZZ_CHECK(fs_dir_open(simfs_fs(sim), LOG_FOLDER, &dir, &error) == FIRN_OK);
    k->scan_status = wal_scan_folder(dir, &o, &scan, &error);
    FUZZ_CHECK(k->scan_status == FIRN_OK || k->scan_status == FIRN_UNSUPPORTED ||
               (k->scan_status == FIRN_DAMAGED && l->folder_under_a_name));
    k->max_seen = scan.max_seen_seq > config->covered_seq ? scan.max_seen_seq : config->covered_seq;
    k->highest_no = wal_scan_next_no(&scan) - 1;
    k->exhausted = k->max_seen > FIRN_MAX_SEQ - 65536 || k->highest_no > UINT64_C(999999999000);
    fuzz_kept_init(&k->kept, sim, &scan);
    wal_scan_release(&scan);
    fs_dir_close(dir);
    FUZZ_CHECK(simfs_open_count(sim) == 0);
}

/* ---- How it is opened ---- */

static wal_config choose_config(fuzz_input *in)
{
    wal_config config = log_config(FIRN_RECOVERY_TAIL);
    uint8_t choice = fuzz_u8(in);
    config.options.segment_bytes = fuzz_segment_bytes(in);
    config.options.backing = choice & 1 ? FIRN_WAL_MAPPED : FIRN_WAL_BUFFERED;
    config.options.durability = choice & 2 ? FIRN_DURABILITY_NONE : FIRN_DURABILITY_SYNC;
    if (choice & 4)
        memcpy(config.store_id, "a store of tests", 16);
    if (choice & 8) {
        config.covered_seq = fuzz_number(in);
        if (config.covered_seq > COVERED_MAX)
            config.covered_seq %= COVERED_MAX;
    }
    if (choice & 16)
        config.covered_no = fuzz_number(in) % WAL_SEGMENT_NO_MAX;
    return config;
}

static const char *const names[] = {"tail", "strict", "prefix", "salvage", "inspect"};

/* ---- Looking ---- */

/* Opens without writing; `entries` goes to the caller when it opened. */
static int look(known *k, simfs *sim, const wal_config *given, firn_recovery policy,
                firn_wal_report *report, fuzz_entries *entries)
{
    wal_config config = *given;
    fuzz_opened o;
    char what[64];
    snprintf(what, sizeof what, "%s, read only", names[policy]);
    config.options.recovery = policy;
    config.options.read_only = policy != FIRN_RECOVERY_INSPECT;
    uint64_t changes = simfs_calls(sim, SIMFS_CHANGING);
    fuzz_open(&o, sim, &config, what);
    int rc = o.status;
    if (rc == FIRN_OK) {
        uint64_t seq;
        firn_error error = {0};
        fuzz_read_back(&o);
        k->last_seen = firn_wal_last_seq(o.log);
        FUZZ_CHECK_LOG(&o, firn_wal_append(o.log, FIRN_PUT, "k", 1, "", 0, NULL, &seq, &error) ==
                               FIRN_READ_ONLY);
        FUZZ_CHECK_LOG(&o, error.message[0] != '\0');
    }
    *report = o.report;
    o.report = (firn_wal_report){0};
    fuzz_close(&o, sim);
    *entries = o.entries;
    FUZZ_CHECK(simfs_calls(sim, SIMFS_CHANGING) == changes);
    FUZZ_CHECK(fuzz_same_files(k->kept.before, sim));
    return rc;
}

/* ---- Using ---- */

/* What is done with an open log. */
typedef struct usage {
    const uint8_t *steps;
    size_t count;
} usage;

static void step_put(fuzz_opened *o, const known *k, uint32_t operations)
{
    uint64_t before = firn_wal_last_seq(o->log), seq = 0;
    char key[32], value[64];
    firn_batch *batch;
    FUZZ_CHECK(firn_batch_new(&batch) == FIRN_OK);
    for (uint32_t i = 0; i < operations; i++) {
        size_t key_size = log_key(before + i, key);
        FUZZ_CHECK(firn_batch_put(batch, key, key_size, value, log_value(6, value)) == FIRN_OK);
    }
    if (operations == 1)
        o->status = firn_wal_append(o->log, FIRN_PUT, key, log_key(before, key), value,
                                    log_value(6, value), NULL, &seq, &o->error);
    else
        o->status = firn_wal_append_batch(o->log, batch, NULL, &seq, &o->error);
    firn_batch_free(batch);
    if (o->status != FIRN_OK) {
        FUZZ_CHECK_LOG(o, k->exhausted && o->status == FIRN_TOO_LARGE);
        return;
    }
    FUZZ_CHECK_LOG(o, seq == before + operations && before >= k->max_seen);
    FUZZ_CHECK_LOG(o, firn_wal_last_seq(o->log) == seq);
    for (uint32_t i = 0; i < operations; i++) {
        size_t key_size = log_key(before + i, key);
        size_t value_size = log_value(6, value);
        fuzz_entries_add(&o->entries, before + 1 + i, FIRN_PUT,
                         (firn_slice){(const uint8_t *)key, key_size},
                         (firn_slice){(const uint8_t *)value, value_size});
    }
}

static void step_other(fuzz_opened *o, const known *k, uint8_t step)
{
    uint64_t seq = 0, floor = 0, last = firn_wal_last_seq(o->log);
    uint64_t upto = last - (last > step / 32u ? step / 32u : last);
    switch (step % 32) {
    case 'r' % 32:
        o->status = firn_wal_rotate(o->log, &o->error);
        break;
    case 'c' % 32:
        o->status = firn_wal_checkpoint(o->log, &seq, &o->error);
        break;
    case 's' % 32:
        o->status = firn_wal_sync(o->log, &o->error);
        FUZZ_CHECK_LOG(o, o->status != FIRN_OK || firn_wal_durable_seq(o->log) == last);
        break;
    case 't' % 32:
        o->status = firn_wal_truncate(o->log, upto, &floor, &o->error);
        if (o->status == FIRN_OK) {
            FUZZ_CHECK_LOG(o, floor <= last && floor == firn_wal_floor_seq(o->log));
            fuzz_entries_drop(&o->entries, floor);
        }
        break;
    default:
        step_put(o, k, 1 + step / 32);
        return;
    }
    FUZZ_CHECK_LOG(o, o->status == FIRN_OK || (k->exhausted && o->status == FIRN_TOO_LARGE));
}

/* Carries out the steps; afterwards the log reads as it should. */
static void use(fuzz_opened *o, const known *k, const usage *u)
{
    for (size_t i = 0; i < u->count; i++)
        step_other(o, k, u->steps[i]);
    o->status = FIRN_OK;
    fuzz_entries wanted = o->entries;
    o->entries = (fuzz_entries){0};
    fuzz_read_back(o);
    FUZZ_CHECK_LOG(o, fuzz_entries_equal(&wanted, &o->entries));
    fuzz_entries_release(&wanted);
}

/* ---- Writing ---- */

/* What was closed opens clean, reads the same, and is left alone; but an owner keeps the segment that
 * was made because the last one is full. Returns how many of those there are. */
static size_t reopen(simfs *sim, const known *k, const wal_config *given, const fuzz_opened *first,
                     bool appended)
{
    wal_config config = *given;
    fuzz_opened o;
    char what[64];
    size_t made = 0;
    snprintf(what, sizeof what, "%s, opened again", first->what);
    config.options.recovery = FIRN_RECOVERY_TAIL;
    /* Where files of several logs lie in one folder, most of them decide whose it is; after a repair
     * that may be others. An owner knows. */
    memcpy(config.store_id, first->store_id, sizeof config.store_id);
    simfs *closed = simfs_clone(sim);
    fuzz_open(&o, sim, &config, what);
    bool full = k->exhausted && o.status == FIRN_TOO_LARGE; /* there is no number for a segment */
    FUZZ_CHECK_LOG(&o, (o.status == FIRN_OK || full) && !fuzz_found_loss(&o.report));
    FUZZ_CHECK_LOG(&o, !fuzz_found(&o.report, FIRN_WAL_TORN));
    FUZZ_CHECK_LOG(&o, o.report.closed_clean || !appended);
    bool left_alone = appended && o.report.count == 0; /* else a header may be mended */
    uint64_t new_no = 0;
    if (!full) {
        fuzz_read_back(&o);
        FUZZ_CHECK_LOG(&o, fuzz_entries_equal(&o.entries, &first->entries));
        new_no = fuzz_newest_segment(&o);
    }
    fuzz_close(&o, sim);
    fuzz_entries_release(&o.entries);
    bool same = fuzz_no_other_files(closed, sim, new_no, &made);
    FUZZ_CHECK_LOG(&o, !left_alone || (same && made <= 1));
    simfs_free(closed);
    return made;
}

static void check_refusal(const fuzz_opened *o, const fuzz_log *l, const known *k, simfs *sim,
                          int looked)
{
    if (looked != FIRN_OK) {
        /* What is no file is moved away before the log can be judged. */
        bool moved =
            l->folder_under_a_name && (o->config.options.recovery == FIRN_RECOVERY_PREFIX ||
                                       o->config.options.recovery == FIRN_RECOVERY_SALVAGE);
        FUZZ_CHECK_LOG(o, o->status == looked);
        FUZZ_CHECK_LOG(o, moved || simfs_calls(sim, SIMFS_CHANGING) == 0);
        return;
    }
    /* What can be seen can also be had, unless there is no number or no place for it. */
    firn_recovery policy = o->config.options.recovery;
    bool no_place = o->status == FIRN_IO && l->folder_under_a_name;
    bool no_number =
        (k->exhausted && o->status == FIRN_TOO_LARGE) ||
        ((k->exhausted || k->max_seen - k->last_seen > SKIPPED_MAX) && o->status == FIRN_DAMAGED);
    bool no_repair = policy == FIRN_RECOVERY_SALVAGE &&
                     (o->status == FIRN_DAMAGED || o->status == FIRN_UNSUPPORTED);
    FUZZ_CHECK_LOG(o, no_place || no_number || no_repair);
}

static int find_inside(void *ctx, const char *path, uint64_t size)
{
    (void)size;
    *(bool *)ctx = *(bool *)ctx || strstr(path, "/inside");
    return 0;
}

/* A folder under a segment's name, which is why nothing could be seen: it is moved, and what is left is a log or none. */
static void write_in_the_way(const known *k, const wal_config *given, firn_recovery policy)
{
    wal_config config = *given;
    fuzz_opened o;
    simfs *sim = simfs_clone(k->kept.before);
    bool kept = false;
    config.options.recovery = policy;
    fuzz_open(&o, sim, &config, names[policy]);
    FUZZ_CHECK_LOG(&o, o.status != FIRN_INVALID);
    if (o.status == FIRN_OK)
        fuzz_read_back(&o);
    simfs_each(sim, LOG_FOLDER, find_inside, &kept);
    FUZZ_CHECK_LOG(&o, kept);
    fuzz_close(&o, sim);
    fuzz_entries_release(&o.entries);
    simfs_free(sim);
}

static void write_with(known *k, const fuzz_log *l, const wal_config *given, firn_recovery policy,
                       const usage *u, int looked, const fuzz_entries *seen)
{
    wal_config config = *given;
    fuzz_opened o;
    simfs *sim = simfs_clone(k->kept.before);
    config.options.recovery = policy;
    fuzz_open(&o, sim, &config, names[policy]);
    FUZZ_CHECK_LOG(&o, fuzz_is_kept(&k->kept, sim));
    if (o.status != FIRN_OK) {
        check_refusal(&o, l, k, sim, looked);
        fuzz_close(&o, sim);
        simfs_free(sim);
        return;
    }
    FUZZ_CHECK_LOG(&o, looked == FIRN_OK);
    FUZZ_CHECK_LOG(&o, firn_wal_durable_seq(o.log) == firn_wal_last_seq(o.log));
    FUZZ_CHECK_LOG(&o, firn_wal_last_seq(o.log) >= k->max_seen);
    fuzz_read_back(&o);
    FUZZ_CHECK_LOG(&o, fuzz_entries_equal(&o.entries, seen));
    uint64_t before = firn_wal_last_seq(o.log);
    use(&o, k, u);
    bool appended = firn_wal_last_seq(o.log) > before;
    fuzz_close(&o, sim);
    if (reopen(sim, k, given, &o, appended) > 0 &&
        appended) /* it is used, and not another one made */
        FUZZ_CHECK(reopen(sim, k, given, &o, appended) == 0);
    fuzz_entries_release(&o.entries);
    simfs_free(sim);
}

/* ---- The target ---- */

static void check_policy(known *k, const fuzz_log *l, simfs *sim, const wal_config *config,
                         firn_recovery policy, const usage *u, const firn_wal_report *inspected)
{
    firn_wal_report report;
    fuzz_entries seen;
    int rc = look(k, sim, config, policy, &report, &seen);
    bool refused = (policy == FIRN_RECOVERY_STRICT && inspected->count > 0) ||
                   (policy == FIRN_RECOVERY_TAIL && fuzz_found_loss(inspected));
    int wanted = k->scan_status != FIRN_OK ? k->scan_status : refused ? FIRN_DAMAGED : FIRN_OK;
    FUZZ_CHECK(rc == wanted);
    bool moves = policy == FIRN_RECOVERY_PREFIX || policy == FIRN_RECOVERY_SALVAGE;
    if (k->scan_status == FIRN_DAMAGED && moves)
        write_in_the_way(k, config, policy);
    else
        write_with(k, l, config, policy, u, rc, &seen);
    firn_wal_report_release(&report);
    fuzz_entries_release(&seen);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static fuzz_log l;
    fuzz_input in = {.data = data, .size = size};
    fuzz_memory_limit(MEMORY_MAX);
    wal_config config = choose_config(&in);
    firn_slice steps = fuzz_bytes(&in, fuzz_small(&in));
    const usage u = {.steps = steps.data, .count = steps.size};
    simfs *sim = simfs_new(1);
    fuzz_log_build(&l, &in, FUZZ_SEGMENTS_MAX);
    fuzz_log_write(&l, sim);

    known k;
    look_first(&k, &l, sim, &config);
    firn_wal_report inspected;
    fuzz_entries seen;
    int rc = look(&k, sim, &config, FIRN_RECOVERY_INSPECT, &inspected, &seen);
    FUZZ_CHECK(rc == k.scan_status);
    fuzz_entries_release(&seen);
    for (int policy = FIRN_RECOVERY_TAIL; policy <= FIRN_RECOVERY_SALVAGE; policy++)
        check_policy(&k, &l, sim, &config, (firn_recovery)policy, &u, &inspected);
    firn_wal_report_release(&inspected);
    fuzz_kept_release(&k.kept);
    fuzz_log_release(&l);
    simfs_free(sim);
    fuzz_memory_all_back();
    return 0;
}
