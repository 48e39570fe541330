/* fuzz_log_open: see fuzz_log_open.h. */
#include "fuzz_log_open.h"

#include <base/entry.h>
#include <base/hash.h>
#include <errno.h>
#include <recovering/recovered.h>
#include <string.h>
#include <wal/build_log.h>

#include "log.h"

/* ---- Operations ---- */

void fuzz_entries_add(fuzz_entries *e, uint64_t seq, firn_kind op, firn_slice key, firn_slice value)
{
    if (seq <= e->above)
        return;
    if (e->count == e->capacity) {
        e->capacity = e->capacity ? e->capacity * 2 : 64;
        e->list = realloc(e->list, e->capacity * sizeof e->list[0]);
        FUZZ_CHECK(e->list != NULL);
    }
    if (e->count > 0 && e->list[e->count - 1].seq >= seq)
        e->disordered = true;
    uint64_t hash = hash64(value.data, value.size, hash64(key.data, key.size, (uint64_t)op));
    e->list[e->count++] = (fuzz_entry){seq, hash};
}

void fuzz_entries_release(fuzz_entries *e)
{
    free(e->list);
    memset(e, 0, sizeof *e);
}

static bool same_entry(const fuzz_entry *a, const fuzz_entry *b)
{
    return a->seq == b->seq && a->hash == b->hash;
}

bool fuzz_entries_equal(const fuzz_entries *a, const fuzz_entries *b)
{
    bool equal = a->count == b->count;
    for (size_t i = 0; i < a->count && equal; i++)
        equal = same_entry(&a->list[i], &b->list[i]);
    return equal;
}

void fuzz_entries_drop(fuzz_entries *e, uint64_t floor_seq)
{
    size_t below = 0;
    while (below < e->count && e->list[below].seq <= floor_seq)
        below++;
    e->count -= below;
    if (below > 0)
        memmove(e->list, e->list + below, e->count * sizeof e->list[0]);
}

/* ---- Opening ---- */

bool fuzz_found(const firn_wal_report *report, firn_wal_finding_kind kind)
{
    for (size_t i = 0; i < report->count; i++)
        if (report->findings[i].kind == kind)
            return true;
    return false;
}

bool fuzz_found_loss(const firn_wal_report *report)
{
    for (size_t i = 0; i < report->count; i++)
        if (firn_wal_is_loss(&report->findings[i]))
            return true;
    return false;
}

static void print_line(void *ctx, const char *text)
{
    (void)ctx;
    fprintf(stderr, "    %s\n", text);
}

void fuzz_describe(const fuzz_opened *o)
{
    char text[1024] = "";
    if (o->error.status != FIRN_OK)
        firn_error_format(&o->error, text, sizeof text);
    fprintf(stderr, "%s: %s: %s\n", o->what, firn_status_name(o->status), text);
    firn_wal_report_text(&o->report, print_line, NULL);
    fprintf(stderr, "  read back: %zu operations", o->entries.count);
    if (o->entries.count > 0)
        fprintf(stderr, ", %llu to %llu", (unsigned long long)o->entries.list[0].seq,
                (unsigned long long)o->entries.list[o->entries.count - 1].seq);
    if (o->log)
        fprintf(stderr, "; newest number %llu, floor %llu",
                (unsigned long long)firn_wal_last_seq(o->log),
                (unsigned long long)firn_wal_floor_seq(o->log));
    fprintf(stderr, "; covered up to %llu, segment %llu\n",
            (unsigned long long)o->config.covered_seq, (unsigned long long)o->config.covered_no);
}

static void check_report(const fuzz_opened *o)
{
    const firn_wal_report *r = &o->report;
    for (size_t i = 0; i < r->count; i++) {
        const firn_wal_finding *f = &r->findings[i];
        FUZZ_CHECK_LOG(o, f->kind >= FIRN_WAL_TORN && f->kind <= FIRN_WAL_HARMLESS);
        FUZZ_CHECK_LOG(o, memchr(f->file, '\0', sizeof f->file) && f->file[0] != '\0');
        FUZZ_CHECK_LOG(o, memchr(f->proof, '\0', sizeof f->proof) && f->proof[0] != '\0');
        FUZZ_CHECK_LOG(o, f->seq_first <= f->seq_last);
    }
    FUZZ_CHECK_LOG(o, r->seq_first <= r->seq_last);
    FUZZ_CHECK_LOG(o, r->operations == 0 || r->seq_first > r->floor_seq);
}

static int print_file(void *ctx, const char *path, uint64_t size)
{
    (void)ctx;
    fprintf(stderr, "    %s, %llu bytes\n", path, (unsigned long long)size);
    return 0;
}

/* For a person who repeats an input: FIRN_FUZZ_TALK=1 shows every opening. */
static void talk(const fuzz_opened *o, simfs *sim)
{
    if (!getenv("FIRN_FUZZ_TALK"))
        return;
    fuzz_describe(o);
    simfs_each(sim, "", print_file, NULL);
}

void fuzz_open(fuzz_opened *o, simfs *sim, const wal_config *config, const char *what)
{
    memset(o, 0, sizeof *o);
    o->what = what;
    o->config = *config;
    FUZZ_CHECK(fs_dir_open(simfs_fs(sim), LOG_FOLDER, &o->dir, &o->error) == FIRN_OK);
    o->status = wal_open(o->dir, config, &o->report, &o->log, &o->error);
    talk(o, sim);
    check_report(o);
    if (o->status == FIRN_OK) {
        FUZZ_CHECK_LOG(o, o->error.status == FIRN_OK);
        memcpy(o->store_id, o->log->store_id, sizeof o->store_id);
        return;
    }
    FUZZ_CHECK_LOG(o, o->log == NULL);
    FUZZ_CHECK_LOG(o, o->error.status == o->status && o->error.message[0] != '\0');
    FUZZ_CHECK_LOG(o, o->status == FIRN_DAMAGED || o->status == FIRN_UNSUPPORTED ||
                          o->status == FIRN_TOO_LARGE || o->status == FIRN_INVALID ||
                          (o->status == FIRN_IO && o->error.sys_errno == EISDIR));
    FUZZ_CHECK_LOG(o, o->status != FIRN_DAMAGED ||
                          (o->error.file[0] != '\0' && o->error.hint[0] != '\0'));
}

void fuzz_close(fuzz_opened *o, simfs *sim)
{
    if (o->log) {
        o->status = firn_wal_close(o->log, &o->error);
        o->log = NULL;
        FUZZ_CHECK_LOG(o, o->status == FIRN_OK);
    }
    fs_dir_close(o->dir);
    o->dir = NULL;
    FUZZ_CHECK_LOG(o, simfs_open_count(sim) == 0);
    firn_wal_report_release(&o->report);
}

uint64_t fuzz_newest_segment(const fuzz_opened *o)
{
    wal_stats stats;
    wal_get_stats(o->log, &stats);
    return stats.newest_segment;
}

/* ---- Reading back ---- */

static int take_entry(void *ctx, const firn_wal_entry *e)
{
    fuzz_entries_add(ctx, e->seq, e->op, e->key, e->value);
    return 0;
}

typedef struct iterated {
    fuzz_entries entries;
    char file[64];
    uint64_t offset;   /* behind the newest frame */
    uint64_t seq;      /* of the newest record */
    uint64_t in_batch; /* operations since the last COMMIT */
} iterated;

static int take_record(void *ctx, const firn_wal_record *r)
{
    iterated *it = ctx;
    FUZZ_CHECK(r->kind >= FIRN_WAL_RECORD_ENTRY && r->kind <= FIRN_WAL_RECORD_FLOOR);
    FUZZ_CHECK(wal_is_segment_name(r->file, NULL));
    FUZZ_CHECK(r->entry.seq >= it->seq && r->durable_seq < r->entry.seq);
    FUZZ_CHECK(r->offset >= WAL_DATA_OFFSET && r->bytes >= WAL_FRAME_BYTES);
    if (strcmp(r->file, it->file) == 0 && r->kind != FIRN_WAL_RECORD_COMMIT && it->in_batch == 0)
        FUZZ_CHECK(r->offset >= it->offset);
    it->seq = r->entry.seq;
    if (r->kind == FIRN_WAL_RECORD_ENTRY) {
        it->in_batch++;
        fuzz_entries_add(&it->entries, r->entry.seq, r->entry.op, r->entry.key, r->entry.value);
        return 0;
    }
    FUZZ_CHECK(it->in_batch == (r->kind == FIRN_WAL_RECORD_COMMIT ? r->count : 0));
    it->in_batch = 0;
    it->offset = r->offset + r->bytes;
    memcpy(it->file, r->file, sizeof it->file);
    return 0;
}

/* Entries as an owner finds them, in place. */
static int take_applied(void *ctx, const wal_applied *frame)
{
    fuzz_entries *entries = ctx;
    const uint8_t *p = wal_segment_base(frame->segment) + frame->offset;
    size_t left = frame->bytes;
    FUZZ_CHECK(frame->offset >= WAL_DATA_OFFSET + WAL_FRAME_BYTES && frame->count > 0);
    FUZZ_CHECK(frame->offset + frame->bytes <= wal_segment_used(frame->segment));
    for (uint32_t i = 0; i < frame->count; i++) {
        entry e;
        size_t used;
        FUZZ_CHECK(entry_decode(p, left, &e, &used) == FIRN_OK);
        fuzz_entries_add(entries, frame->seq_first + i, (firn_kind)e.kind, e.key, e.value);
        p += used;
        left -= used;
    }
    FUZZ_CHECK(left == 0);
    return 0;
}

static void check_iterate(fuzz_opened *o)
{
    iterated it = {.entries.above = firn_wal_floor_seq(o->log)};
    o->status = firn_wal_iterate(o->log, take_record, &it, &o->error);
    FUZZ_CHECK_LOG(o, o->status == FIRN_OK && it.in_batch == 0);
    FUZZ_CHECK_LOG(o, fuzz_entries_equal(&it.entries, &o->entries));
    fuzz_entries_release(&it.entries);
}

static void check_recovered(fuzz_opened *o)
{
    fuzz_entries entries = {.above = firn_wal_floor_seq(o->log)};
    o->status = wal_recovered(o->log, 0, take_applied, &entries, &o->error);
    FUZZ_CHECK_LOG(o, o->status == FIRN_OK);
    FUZZ_CHECK_LOG(o, fuzz_entries_equal(&entries, &o->entries));
    fuzz_entries_release(&entries);
}

/* The files say the same as what is in memory. */
static void check_verify(fuzz_opened *o)
{
    firn_wal_report report;
    o->status = firn_wal_verify(o->log, &report, &o->error);
    bool loss = fuzz_found_loss(&report);
    FUZZ_CHECK_LOG(o, o->status == (loss ? FIRN_DAMAGED : FIRN_OK));
    FUZZ_CHECK_LOG(o, report.operations == o->entries.count);
    firn_recovery policy = o->config.options.recovery;
    if (policy != FIRN_RECOVERY_INSPECT && policy != FIRN_RECOVERY_SALVAGE)
        FUZZ_CHECK_LOG(o, !loss);
    firn_wal_report_release(&report);
}

void fuzz_read_back(fuzz_opened *o)
{
    firn_wal_report report;
    uint64_t last_seq = firn_wal_last_seq(o->log), floor_seq = firn_wal_floor_seq(o->log);
    FUZZ_CHECK_LOG(o, floor_seq <= last_seq && last_seq <= FIRN_MAX_SEQ);
    FUZZ_CHECK_LOG(o, firn_wal_durable_seq(o->log) <= last_seq);
    o->status = firn_wal_replay(o->log, 0, take_entry, &o->entries, &report, &o->error);
    FUZZ_CHECK_LOG(o, o->status == FIRN_OK);
    const fuzz_entries *e = &o->entries;
    FUZZ_CHECK_LOG(o, !e->disordered && report.operations == e->count);
    if (e->count > 0) {
        FUZZ_CHECK_LOG(o, e->list[0].seq > floor_seq && e->list[e->count - 1].seq <= last_seq);
        FUZZ_CHECK_LOG(o, report.seq_first == e->list[0].seq);
        FUZZ_CHECK_LOG(o, report.seq_last == e->list[e->count - 1].seq);
        /* From any number on it is the rest. */
        uint64_t after = e->list[e->count / 2].seq;
        fuzz_entries rest = {0};
        firn_wal_report_release(&report);
        o->status = firn_wal_replay(o->log, after, take_entry, &rest, &report, &o->error);
        FUZZ_CHECK_LOG(o, o->status == FIRN_OK && rest.count == e->count - e->count / 2 - 1);
        fuzz_entries_release(&rest);
    }
    firn_wal_report_release(&report);
    check_iterate(o);
    check_recovered(o);
    check_verify(o);
    o->status = FIRN_OK;
}
