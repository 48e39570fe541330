/* scan: read a whole log and say what is intact, what is torn, and what is proven lost
 * (README.md, "Telling a torn tail from loss"). Reads only; wal_recover then carries a policy out.
 *
 *   segments/cursor.c  from one intact frame to the next, over damage
 *   scan.c             open the files, decide which of them are the log, read every frame
 *   judge.c            put the segments one behind the other and judge what does not fit
 *
 * Everything here is used by one thread at a time.
 */
#ifndef RECOVERING_SCAN_H
#define RECOVERING_SCAN_H

#include <recovering/recovered.h>
#include <segments/cursor.h>

/* ---- Scan ---- */
typedef enum wal_part {
    WAL_PART_LIVE = 0,
    WAL_PART_UNUSED,     /* made ahead, never used: behind everything else, no intact frame */
    WAL_PART_TRUNCATED,  /* holds nothing above the floor: a truncation had not removed it yet */
    WAL_PART_SUPERSEDED, /* a recovery cut it off and had not removed it yet */
    WAL_PART_HEADLESS,   /* both copies of the header are damaged */
    WAL_PART_WRONG,      /* another log's, or another segment's, file under this name */
} wal_part;

typedef struct wal_scanned {
    /* owned: one reference; seq_first, seq_last, end, frames, chain are filled in */
    wal_segment *segment;
    wal_header header;
    int copies_ok;
    uint64_t file_bytes;
    wal_part part;
    bool linked; /* starts with an intact LINK, which is in `link` */
    wal_link link;
    bool head_ok;     /* starts with an intact frame */
    bool stands_in;   /* for segments that were lost: says its LINK, or what replaced that */
    uint64_t limit;   /* frames end here: where the next segment's LINK says, else what there is */
    bool limit_known; /* by a LINK */
    uint64_t seq_first;   /* number of the first frame; 0: there is none */
    uint64_t seq_next;    /* number behind the last intact frame */
    uint64_t floor_seq;   /* the greatest that its frames know */
    uint32_t seal;        /* kind of the SEAL that is the last intact frame, or 0 */
    bool chain_known;     /* segment->chain is what the writer had there */
    bool salvaged;        /* holds a SKIP for lost numbers: the next LINK is not held against it */
    bool short_file;      /* ends before the bytes that the header promises */
    uint64_t note_at;     /* the last NOTE behind the last intact frame; 0: none */
    uint64_t note_intent; /* the most that its NOTEs say */
    uint64_t frames, frame_bytes; /* intact */
    uint64_t operations, operation_first, operation_last;
} wal_scanned;

/* Counts the operations of a DATA frame with numbers > after_seq. */
static inline void wal_scanned_count(wal_scanned *p, const wal_frame *data, uint64_t after_seq)
{
    uint64_t first = data->seq_first > after_seq ? data->seq_first : after_seq + 1;
    uint64_t last = data->seq_first + data->count - 1;
    if (first > last)
        return;
    p->operations += last - first + 1;
    if (p->operation_first == 0)
        p->operation_first = first;
    p->operation_last = last;
}

/* A place that does not fit, with the finding that it became. */
typedef enum wal_spot_what {
    WAL_SPOT_RANGE,   /* [offset, end) of `segment` */
    WAL_SPOT_BETWEEN, /* segments are missing, headless or wrong between `segment` and `follower` */
    WAL_SPOT_SEAL,    /* the SEAL at `offset` of `segment` disagrees with what was read */
    WAL_SPOT_LINK,    /* the LINK of `follower` disagrees with what was read */
    WAL_SPOT_HEADER,  /* one of two header copies of `segment` */
} wal_spot_what;

typedef struct wal_spot {
    wal_spot_what what;
    firn_wal_finding_kind kind;
    size_t segment;  /* index; WAL_NOWHERE: in front of the first */
    size_t follower; /* index of the next live segment; WAL_NOWHERE: none */
    size_t bad;      /* BETWEEN: index of the first headless or wrong file; WAL_NOWHERE: none */
    uint64_t offset, end;
    uint64_t seq_first;  /* the first number that could be missing */
    uint64_t seq_next;   /* the number that follows; == seq_first: none is missing; 0: unknown */
    bool may_be_durable; /* TORN: see firn_wal_finding */
} wal_spot;

#define WAL_NOWHERE SIZE_MAX

typedef struct wal_gap {
    size_t segment;
    uint64_t offset, end;
    uint64_t expected, next; /* numbers; expected 0: unknown */
    bool seal;               /* not damage: the SEAL at `offset` disagrees */
} wal_gap;

typedef struct wal_scan {
    wal_scanned *segments; /* every numbered file that is not covered, ascending */
    size_t count;
    wal_gap *gaps; /* inside segments, in log order */
    size_t gap_count, gap_capacity;
    wal_spot *spots;
    size_t spot_count, spot_capacity;
    firn_wal_report report; /* findings in log order */

    uint64_t last_seq;     /* end of what is there when nothing is cut */
    uint64_t max_seen_seq; /* greatest number in any intact frame, durable line, floor or LINK */
    uint64_t durable_seq;  /* greatest durable line ... */
    uint64_t durable_no, durable_offset; /* ... and the frame, or NOTE, that says it */
    /* a sync of everything up to here was about to start: the most that any NOTE of a live segment
     * says */
    uint64_t intent_seq;
    uint64_t floor_seq;
    uint64_t covered_seq, covered_no; /* as given */
    uint64_t life;                    /* greatest seen */
    uint8_t store_id[16];
    bool torn, lost, harmless; /* kinds of findings present */
} wal_scan;

typedef struct wal_scan_options {
    bool writable, mapped;            /* as for wal_segment_open */
    const uint8_t *store_id;          /* NULL or all zero: what most segments say */
    uint64_t covered_seq, covered_no; /* as in wal_config */
} wal_scan_options;

/* FIRN_OK whatever the findings are; errors only for what could not be read or allocated, or needs
 * a newer version. *out is to be released in every case. */
int wal_scan_folder(fs_dir *dir, const wal_scan_options *o, wal_scan *out, firn_error *err);
void wal_scan_release(wal_scan *scan);

/* The running checksum at a frame boundary of a segment. */
uint64_t wal_scan_chain_at(const wal_scanned *p, uint64_t offset);

/* From `seq` on, the first number that has not been truncated. */
static inline uint64_t wal_scan_behind_floor(const wal_scan *scan, uint64_t seq)
{
    return seq > scan->floor_seq ? seq : scan->floor_seq + 1;
}

/* Fills in spots and the report of a log whose frames have been read. Called by wal_scan_folder. */
int wal_scan_judge(wal_scan *scan, firn_error *err);

/* What a policy keeps: everything before this spot. NULL: nothing is cut. */
const wal_spot *wal_scan_cut(const wal_scan *scan, firn_recovery policy);

/* The number of a segment that comes behind all there are. */
uint64_t wal_scan_next_no(const wal_scan *scan);

#endif
