/* report: what recovery and verification found, as a list and as text (<firn/wal.h>). */
#include <firn/wal.h>

#include <base/alloc.h>
#include <base/error.h>
#include <base/grow.h>
#include <stdio.h>
#include <string.h>

#include "scan.h"

/* A report is for reading. A log damaged at more places than this says so in the last finding. */
#define FINDINGS_MAX 1024

void firn_wal_report_init(firn_wal_report *report)
{
    if (report)
        memset(report, 0, sizeof *report);
}

void firn_wal_report_release(firn_wal_report *report)
{
    if (!report)
        return;
    heap_free(report->findings);
    memset(report, 0, sizeof *report);
}

int wal_report_add(firn_wal_report *report, const firn_wal_finding *finding, firn_error *err)
{
    if (report->count == FINDINGS_MAX) {
        firn_wal_finding *last = &report->findings[FINDINGS_MAX - 1];
        snprintf(last->proof, sizeof last->proof, "the first of more places than are listed");
        return FIRN_OK;
    }
    /* It is full at powers of two, so that the capacity need not be kept. */
    size_t capacity = report->count;
    bool full = capacity == 0 || (capacity >= ARRAY_FIRST && (capacity & (capacity - 1)) == 0);
    int rc = full ? array_grow(&report->findings, &capacity, report->count,
                               sizeof report->findings[0], err)
                  : FIRN_OK;
    if (rc != FIRN_OK)
        return rc;
    report->findings[report->count++] = *finding;
    return FIRN_OK;
}

int wal_report_refuse(const fs_dir *dir, const firn_wal_finding *f, firn_recovery policy,
                      firn_error *err)
{
    char path[512];
    char numbers[80] = "how much is not known";
    snprintf(path, sizeof path, "%s/%s", dir->path, f->file);
    if (f->seq_first != 0)
        snprintf(numbers, sizeof numbers, "numbers %llu to %llu are gone",
                 (unsigned long long)f->seq_first, (unsigned long long)f->seq_last);
    if (f->kind == FIRN_WAL_TORN || f->kind == FIRN_WAL_HARMLESS) {
        error_file(err, FIRN_DAMAGED, path, f->offset,
                   "the log was not closed clean, and recovery is strict: %s", f->proof);
        error_hint(err,
                   f->may_be_durable
                       ? "open with recovery tail, which cuts these bytes off and keeps them in "
                         "lost/, or restore from a backup"
                       : "open with recovery tail, which cuts what was never durable");
        return FIRN_DAMAGED;
    }
    error_file(err, FIRN_DAMAGED, path, f->offset, "durable data is lost (%s): %s", numbers,
               f->proof);
    if (policy == FIRN_RECOVERY_PREFIX || policy == FIRN_RECOVERY_SALVAGE)
        error_hint(err, "restore from a backup; this damage cannot be repaired");
    else
        error_hint(err, "restore from a backup, or copy the folder and open it with recovery "
                        "prefix (keep what is before) or salvage (keep all that is intact); see "
                        "`firn wal`");
    return FIRN_DAMAGED;
}

/* ---- Text ---- */

static const char *kind_name(firn_wal_finding_kind kind)
{
    switch (kind) {
    case FIRN_WAL_TORN:
        return "torn";
    case FIRN_WAL_LOST:
        return "LOST";
    case FIRN_WAL_MISSING_SEGMENT:
        return "MISSING SEGMENT";
    case FIRN_WAL_WRONG_SEGMENT:
        return "WRONG SEGMENT";
    case FIRN_WAL_HARMLESS:
        return "harmless";
    }
    return "?";
}

static void finding_text(const firn_wal_finding *f, char *text, size_t size)
{
    char bytes[48] = "";
    char numbers[64] = "";
    if (f->bytes != 0)
        snprintf(bytes, sizeof bytes, ", %llu bytes", (unsigned long long)f->bytes);
    if (f->seq_first != 0)
        snprintf(numbers, sizeof numbers, ", numbers %llu to %llu",
                 (unsigned long long)f->seq_first, (unsigned long long)f->seq_last);
    snprintf(text, size, "%s: %s at offset %llu%s%s: %s", kind_name(f->kind), f->file,
             (unsigned long long)f->offset, bytes, numbers, f->proof);
}

void firn_wal_report_text(const firn_wal_report *report, void (*line)(void *ctx, const char *text),
                          void *ctx)
{
    char text[512];
    if (!report || !line)
        return;
    for (size_t i = 0; i < report->count; i++) {
        finding_text(&report->findings[i], text, sizeof text);
        line(ctx, text);
    }
    snprintf(text, sizeof text,
             "%llu operations (numbers %llu to %llu) in %llu frames, %llu segments, %llu bytes",
             (unsigned long long)report->operations, (unsigned long long)report->seq_first,
             (unsigned long long)report->seq_last, (unsigned long long)report->frames,
             (unsigned long long)report->segments, (unsigned long long)report->bytes);
    line(ctx, text);
    snprintf(text, sizeof text, "durable up to %llu, truncated up to %llu, %s",
             (unsigned long long)report->durable_seq, (unsigned long long)report->floor_seq,
             report->closed_clean ? "closed clean" : "not closed clean");
    line(ctx, text);
    if (report->cut_bytes != 0) {
        snprintf(text, sizeof text, "%llu bytes were moved to the folder lost/",
                 (unsigned long long)report->cut_bytes);
        line(ctx, text);
    }
}
