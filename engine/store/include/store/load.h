/* load: how much there is to do, and how much a writer is slowed for it (P16). Pure: numbers go in,
 * numbers come out; the simulation uses the same.
 *
 * Too many unflushed memtables, or too many tables in level 0, and writers wait until there are
 * fewer. Before it comes to that they are slowed: a write owes nanoseconds for each of its bytes,
 * by the load that there is now: tables in level 0, and what deeper levels owe, less what running
 * jobs have done of it already, so that the load changes a little at a time, and not by a whole
 * job. Nothing is remembered from one write to the next. A debt that is shorter than a sleep can be
 * is served by chance: a write that owes a tenth of a sleep sleeps once in ten times. */
#ifndef ENGINE_LOAD_H
#define ENGINE_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How much there is to do, in units of a table in level 0, of which each is SLOW_ONE: the tables in
 * level 0 (`tables`), and what deeper levels owe (`debt` as schedule_debt has it, in units of
 * schedule_unit). Without a limit: what running jobs have done is taken off before that. */
#define SLOW_ONE 256
uint32_t slow_load(uint32_t tables, uint64_t debt, uint64_t unit);
/* Must writers wait for compaction? A memtable that waits for its flush is as good as a table of
 * level 0. */
bool slow_level0_full(uint32_t tables, size_t frozen);
/* Must they wait, for compaction or for a flush? */
bool slow_stops(uint32_t tables, size_t frozen);
/* How much of a memtable a write of so many bytes, its index included, may freeze, in SLOW_ONEths,
 * when a memtable takes `memtable_bytes`. One of more than half of that may be the only one in its
 * memtable. 0: so little that it need not be counted. */
uint32_t slow_weight(uint64_t bytes, uint64_t memtable_bytes);
/* Is there room for a write of this weight behind those of `ahead` in all, which have been let
 * through and are not in their memtables yet? So writers that come together do not all pass where
 * there is room for one. Without any ahead, it is as slow_stops says. */
bool slow_admits(uint32_t tables, size_t frozen, uint64_t ahead, uint32_t weight);
/* The load that is left when running jobs have done `relief` of it, with so many tables in level 0.
 */
uint32_t slow_load_left(uint32_t load, uint32_t relief, uint32_t tables);
/* What a job has taken off the load when all is merged, before it ends: of level 0 most of its
 * tables, else (0) the bytes that it reads. */
uint32_t slow_worth(size_t tables, uint64_t bytes, uint64_t unit);
/* What a write of so many bytes owes under such a load. */
uint64_t slow_delay_ns(uint32_t load, uint64_t bytes);
/* What it owes while as many memtables wait as may: writers wait when the active one is full before
 * the oldest is flushed. So it owes more the further filling is ahead of the flush, and the less
 * is left to fill: `filled` of the active one and `done` of the flush are in SLOW_ONEths. One that
 * is full by its share, but not its segment, goes on at that: it is rotated behind the flush. */
uint64_t slow_flush_delay_ns(size_t frozen, uint32_t done, uint32_t filled, uint64_t bytes);
#define SLOW_FLUSH_READ 0.75 /* of a flush that is `done` when all is read: then it is synced */
/* What there is to do now, all of it. */
typedef struct slow_state {
    uint32_t load, relief, tables; /* as in slow_load_left */
    uint32_t frozen, done, filled; /* as in slow_flush_delay_ns */
    uint32_t others;               /* writers that sleep for what they owe */
} slow_state;
/* What a write owes: for its bytes, and as many again for each other writer that sleeps, since what
 * all of them write comes to compaction and flush. These are each kept up with: the one that is
 * further behind decides; *for_flush: the flush. */
uint64_t slow_owed_ns(const slow_state *s, uint64_t bytes, bool *for_flush);
/* How long it sleeps for that, by a random number. On average as long as it owes. */
uint32_t slow_sleep_ms(uint64_t delay_ns, uint64_t chance);

#endif
