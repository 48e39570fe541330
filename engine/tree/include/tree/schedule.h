/* schedule: which job is due next. Pure: numbers and key ranges go in, a job comes out. No file, no
 * lock, no clock; a table that was never opened, and that has no store, will do.
 *
 * Shape     Levels `base` to `last` hold the data below level 0, and the levels between 0 and
 *           `base` are empty or are being emptied. All bytes together give their number: one level
 *           up to SCHEDULE_SPLIT times level_base_bytes, and one more for each further factor
 *           `ratio`. The last level may hold all there is, each level above it 1/ratio of the one
 *           below, and no level has a share under level_base_bytes.
 * Due       range deletes cover a whole table; level 0 has too many tables or bytes; a level is
 *           over its share; a table has many tombstones, or much that only readers needed who are
 *           gone; small neighbours lie side by side. The level that is over its share the most goes
 *           first, the other reasons wait until no level is over its share.
 * A job     takes at most job_bytes, or what one table and its overlap take; of level 0 as many of
 *           the oldest tables, and what they overlap of the level that they go to. It claims its
 *           range of keys in the levels from the inputs' to the output's.
 *
 * Invariants
 *   J1  A job overlaps no claim, in any of the levels that it claims.
 *   J2  Of level 0 a job takes no table without all older ones: what stays is newer than what goes
 *       down (V3).
 *   J3  A job leads to fewer bytes in a level that has too many, to fewer tables, to fewer
 *       versions, or to tombstones nearer to where nothing lies below: without writers, jobs end.
 *
 * The cost of a decision: SCHEDULE_LOOKS tables of a level are looked at, beginning at the level's
 * cursor; all of them only for `whole`. Overlaps are found by binary search. */
#ifndef ENGINE_SCHEDULE_H
#define ENGINE_SCHEDULE_H

#include <tree/fragments.h>
#include <tree/version.h>

#define SCHEDULE_SPLIT   2  /* times level_base_bytes: more than so much gets one level more */
#define SCHEDULE_OVERLAP 10 /* a table overlaps so many tables' worth of the next level, no more */
#define SCHEDULE_LOOKS   64
#define SCHEDULE_UNIT    1000 /* such a part of a large tree is little */
#define SCHEDULE_PASSES  8    /* of a request through the last level, at most */
#define SCHEDULE_CHEAP   1    /* level 0 may be merged early with so many times its own bytes */

typedef enum schedule_why {
    DUE_COVERED,    /* range deletes above a table cover all of it */
    DUE_LEVEL0,     /* level 0 has too many tables or bytes */
    DUE_SIZE,       /* a level is over its share */
    DUE_TOMBSTONES, /* a table has many tombstones; in a calm, also few that may hide much */
    DUE_GARBAGE,    /* it has many versions that no reader needs any more; in a calm, any */
    DUE_SMALL,      /* small neighbours become one table */
    DUE_ASKED,      /* by a caller */
} schedule_why;

/* A merge whose output level is the inputs' own is a rewrite. What is dropped is not even read. */
typedef enum schedule_kind { JOB_MOVE, JOB_MERGE, JOB_DROP } schedule_kind;

/* From the options; never changes while a store is open. */
typedef struct schedule_rules {
    uint64_t level_base_bytes; /* the smallest share of a level */
    unsigned ratio;
    /* Tables in level 0 that make it due when that is cheap, or nothing is written; and at all
     * events. */
    unsigned level0_at, level0_most;
    unsigned plain_levels; /* from this level on, tables are compressed; FIRN_LEVELS: none is */
    uint64_t table_bytes;  /* where outputs are cut */
    uint64_t job_bytes;    /* read by a job */
} schedule_rules;

/* What a job that runs has to itself: these keys in these levels. */
typedef struct claim {
    unsigned level_from, level_to; /* both inclusive */
    firn_slice from, to;           /* both inclusive; borrowed */
} claim;

typedef struct schedule_state {
    const version *version;
    const claim *claims;
    size_t claim_count;
    const uint64_t *snapshots; /* ascending */
    size_t snapshot_count;
    uint64_t free_bytes;        /* on the disk, for outputs; UINT64_MAX: unknown */
    bool calm;                  /* little is written: what is not urgent in level 0 is due too */
    bool whole;                 /* look at all tables */
    size_t cursor[FIRN_LEVELS]; /* index of the first table to look at */
} schedule_state;

typedef struct schedule_job {
    schedule_kind kind;
    schedule_why why;
    unsigned level, target; /* inputs[0] lies in level, inputs[1] in target; outputs go to target */
    table **inputs[2];      /* borrowed from the version; the arrays are the job's */
    size_t counts[2];
    uint64_t bytes_in, bytes_out_most; /* a move: 0 */
    firn_slice from, to;               /* all keys of the inputs lie in there; borrowed from them */
    size_t next;                       /* the cursor of `level` behind this job */
} schedule_job;

/* FIRN_OK, FIRN_NOT_FOUND (nothing is due that no claim stands in the way of), FIRN_NO_MEMORY,
 * FIRN_NO_SPACE (something is due, and nothing of it fits; *out says what the smallest needs:
 * bytes_out_most and level). */
int schedule_next(const schedule_rules *r, const schedule_state *s, schedule_job *out);
/* What a worker does next: what is due where the cursors stand; if there is nothing, or no room for
 * it, what is due anywhere (`whole`) and, in a calm, what can wait. Changes whole and calm in *s.
 * Returns what schedule_next does. */
int schedule_find(const schedule_rules *r, schedule_state *s, bool calm, schedule_job *out);
/* Tables, side by side in one level, that range deletes of one table above each cover, so that
 * neither a new reader nor a snapshot sees anything of them. Of the tables above, those count that
 * have been opened. FIRN_OK (out NULL: there are some), FIRN_NOT_FOUND, FIRN_NO_MEMORY. Goes before
 * all other jobs. */
int schedule_covered(const schedule_state *s, schedule_job *out);
/* May a merge of range deletes (settled) leave a table out, since nothing of it stays? */
bool schedule_is_covered(const table *t, const fragments *by, const uint64_t *snapshots,
                         size_t count);
/* Is anything due, claimed or not, whether it fits or not? */
bool schedule_due(const schedule_rules *r, const schedule_state *s);

/* What a caller wants to have compacted, and how far that has come. */
typedef struct schedule_request {
    firn_slice from, to; /* NULL data: no bound */
    uint64_t seq;        /* tables of level 0 that hold nothing up to this number are left alone */
    /* Where it stands; begins with zeros. */
    unsigned level; /* of which the next job takes tables */
    /* in that level, tables that begin at or before this key are done with; NULL data: none is.
     * Borrowed */
    firn_slice done;
    unsigned passes; /* through the last level: what has become smaller may fit together now */
    bool wrote;      /* in this pass */
    bool gave_way;   /* level 0 has had its turn since the request's last job */
    bool alone;      /* the caller's: it gives way to level 0 no more */
} schedule_request;

/* The next job of a request: level by level down to the deepest that has anything of the range, and
 * there what does not belong. Each of those that take tables of the level that level 0 goes to lets
 * a job of level 0 pass that is due (DUE_LEVEL0) and that there is room for: it is the caller's to
 * do, too.
 *
 *   FIRN_OK         for DUE_ASKED, the caller sets `done` to a copy of the greatest key of the last
 *                   of inputs[0]
 *   FIRN_NOT_FOUND  the request is done
 *   FIRN_END        a claim stands in the way: to be asked again when one has ended. *out says what
 *                   it will claim, and has no inputs
 *   FIRN_NO_MEMORY
 *
 * Goes on in *q to the next level. For what was asked, space is not looked at: the caller may know
 * that much of it is garbage. */
int schedule_range(const schedule_rules *r, const schedule_state *s, schedule_request *q,
                   schedule_job *out);
void schedule_job_release(schedule_job *j);
claim schedule_claim(const schedule_job *j);
bool schedule_overlaps(const claim *a, const claim *b);

/* In how many parts a job is done where so many workers may help: 1 and more. */
unsigned schedule_parts(const schedule_rules *r, const schedule_job *j, unsigned workers);
/* Where an output ends because of the level below its own, of which it overlaps no table in front
 * of `first`: index of the first one that it may not reach, greater than `first` (one table may
 * always be overlapped); at least below->count: there is none. */
size_t schedule_reach(const schedule_rules *r, const level *below, size_t first);

/* Which levels are used, and what each may hold. */
typedef struct schedule_shape {
    unsigned base, last;
    unsigned landing; /* where level 0 goes to: base, or a level above it that is not empty yet */
    uint64_t share[FIRN_LEVELS]; /* of level 0: 0; of the last: UINT64_MAX */
} schedule_shape;
/* How many levels below level 0 so many bytes need. */
unsigned schedule_levels_for(const schedule_rules *r, uint64_t bytes);
/* The shares of `count` levels, of which `last` is the last and holds so many bytes with those
 * above it. Other levels' are left as they are. */
void schedule_share(const schedule_rules *r, uint64_t bytes, unsigned last, unsigned count,
                    uint64_t share[FIRN_LEVELS]);
void schedule_shape_of(const schedule_rules *r, const version *v, schedule_shape *out);

/* Bytes that must be written before no level below level 0 is over its share. */
uint64_t schedule_debt(const schedule_rules *r, const version *v);
/* In what debt is counted: the smallest share of a level or, in a large tree, where jobs come and
 * go in greater numbers, the SCHEDULE_UNITth part of all bytes. */
uint64_t schedule_unit(const schedule_rules *r, const version *v);
/* Hidden versions in the table that one of these snapshots may still see. Where ranges were made
 * one, an estimate: none only if there are none. */
uint64_t schedule_needed(const table *t, const uint64_t *snapshots, size_t count);
/* Versions in the table that no reader can see: neither a new one nor one of these snapshots. If
 * there are any, a merge of the table leaves fewer, unless an estimate was wrong; behind it, there
 * are none until a snapshot goes. `bottom`: nothing lies below, so tombstones that hide nothing
 * which a snapshot needs are among them; one that is hidden itself may count twice. */
uint64_t schedule_garbage(const table *t, const uint64_t *snapshots, size_t count, bool bottom);
/* Does the table not say, or not say exactly, whether there are any? */
bool schedule_may_have_garbage(const table *t, const uint64_t *snapshots, size_t count);
/* Bytes of a sorted level that overlap [from, to]. */
uint64_t schedule_overlap_bytes(const level *l, firn_slice from, firn_slice to);

#endif
