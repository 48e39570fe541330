/* work: what is done in the background, or, where there are no threads, behind a write. */
#ifndef ENGINE_WORK_H
#define ENGINE_WORK_H

#include <store/store.h>

/* Flushes the oldest frozen memtable, if there is one. *did says whether there was. */
int flush_oldest(store *db, bool *did, firn_error *err);

/* With inline_work: flushes what is frozen, or shall be. */
int flush_inline(store *db, firn_error *err);
/* With inline_work: does what is due; `calm`: what can wait, too. */
int compact_inline(store *db, bool calm, firn_error *err);
/* Nothing is being compacted, and nothing is due, as far as the last worker that looked for all
 * could see. */
bool compaction_is_idle(const store *db) REQUIRES(db->state_mu);
int compactors_start(store *db, firn_error *err);
void compactors_stop(store *db);

/* How long failed work waits before its next attempt, behind so many failures in a row: twice as
 * long each time. */
uint64_t retry_pause_ms(unsigned failures);
#define RETRY_MS     100
#define RETRY_MS_MAX 10000

int workers_start(store *db, firn_error *err);
void workers_stop(store *db);
/* With inline_work: does what the threads would do. Otherwise nothing. */
int work_inline(store *db, firn_error *err);

#endif
