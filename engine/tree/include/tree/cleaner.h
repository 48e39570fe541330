/* cleaner: a thread that frees what has no references any more.
 *
 * The last reference to a table, a memtable or a view is often a reader's: of a value, or of an
 * iterator. To end one means to remove a file, to sweep the cache, to unmap a segment, or to go
 * through all tables of a level. No reader pays for that: it hands the dead over, and the cleaner
 * takes them in their order; but memtables first, since the next ones want the memory that they
 * leave (memtable_pool), and many files may take long.
 *
 * A busy disk removes files slowly. A thread that replaces tables and memtables helps as soon as
 * more than CLEANER_BEHIND wait: so what is dead stays bounded, and writers come to feel it as they
 * feel a slow flush.
 *
 *   table_unref, mem_unref, view_unref -> cleaner_give -> [the cleaner's thread] end
 *
 * Without a thread (inline work, before opening and after closing) the caller that hands over ends
 * it at once. Locks: m, innermost; nothing is ended under it.
 */
#ifndef ENGINE_CLEANER_H
#define ENGINE_CLEANER_H

#include <base/patience.h>
#include <base/thread.h>
#include <stdbool.h>

MUTEX_KIND(cleaner_mu);

/* Part of what may die. */
typedef struct dead dead;
struct dead {
    dead *next GUARDED_BY(cleaner_mu);
    void (*end)(dead *d); /* frees what it is part of */
};

typedef struct cleaner {
    MUTEX_MEMBER(cleaner_mu);
    cond given, idle;
    dead *first GUARDED_BY(cleaner_mu), *last GUARDED_BY(cleaner_mu);
    bool works GUARDED_BY(cleaner_mu);     /* there is a thread, and it takes what is given */
    size_t waiting GUARDED_BY(cleaner_mu); /* length of the list */
    unsigned busy GUARDED_BY(cleaner_mu);  /* threads that end something */
    thread thread;
    wait_list *waits; /* where a wait is counted; NULL: nowhere. Set before it starts */
} cleaner;

void cleaner_init(cleaner *c);
void cleaner_release(cleaner *c);
/* Returns 0 or an errno. */
int cleaner_start(cleaner *c);
/* Ends what was given, and the thread. Does nothing when it never started. */
void cleaner_stop(cleaner *c);
/* From now on *d belongs to the cleaner. `c` NULL: it is ended at once. Any thread. */
void cleaner_give(cleaner *c, dead *d, void (*end)(dead *d));
/* Before all that waits. */
void cleaner_give_soon(cleaner *c, dead *d, void (*end)(dead *d));
/* Ends some, until no more than CLEANER_BEHIND wait. For threads that do work in the background. */
#define CLEANER_BEHIND 4
void cleaner_help(cleaner *c);
/* Waits until all that was given has been ended. */
void cleaner_wait(cleaner *c);

#endif
