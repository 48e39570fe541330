/* crash_walk: one walk over a recording, shared by crash.c (the walk), crash_pick.c (which states)
 * and crash_line.c (writing a state down).
 */
#ifndef SUPPORT_CRASH_WALK_H
#define SUPPORT_CRASH_WALK_H

#include "crash.h"
#include "crash_disk.h"

typedef struct crash_set { /* of hashes; open addressing, 0 is kept apart */
    uint64_t *slots;
    uint64_t room;
    uint64_t count;
    bool zero;
} crash_set;

bool crash_set_add(crash_set *set, uint64_t hash); /* false: was there */
void crash_set_release(crash_set *set);

typedef struct crash_walk {
    const crash_options *options;
    crash_stats *stats;
    crash_set *seen;
    const struct crash_walk *outer; /* the walk whose recovery is crashed here, or NULL */
    const simfs *recorded;          /* what is walked */
    size_t op;                      /* the operation that comes next */
    uint64_t seed;
    unsigned depth;
    disk d;
    uint16_t *choice; /* the state in hand: one number an item of d */
    uint32_t choice_room;
    crash_model model;
    int64_t tear; /* CRASH_KILL: 0 none; n: the change under way got n bytes far; -n: all but n */
    const sim_op *under_way; /* the change after this point, or NULL */
    uint64_t marks[SIMFS_MARKS];
    bool marked[SIMFS_MARKS];
    rng chance;
    bool stop;
} crash_walk;

/* crash.c: verifies the state in hand, unless it was seen. */
void crash_try(crash_walk *w);

/* crash_pick.c: all states to try at this point. */
void crash_pick_kill(crash_walk *w);
void crash_pick_ordered(crash_walk *w);
void crash_pick_strict(crash_walk *w);

/* crash_pick.c: these set the choice only. */
void crash_choose_all(crash_walk *w);     /* what a process sees; zeros where a file grew */
void crash_choose_ordered(crash_walk *w); /* a random one of the model */
void crash_choose_random(crash_walk *w);  /* a random one of CRASH_STRICT */

/* crash_line.c */
const char *crash_model_name(crash_model model);
size_t crash_write_line(const crash_walk *w, char *line, size_t size);

typedef struct crash_step { /* one level of a replay line */
    crash_model model;
    uint64_t point;
    int64_t tear;
    const char *choice; /* "count*value,..." up to the next '/' or the end */
} crash_step;
/* False when the line is not of this script. *rest: behind the first blank, see crash_read_step. */
bool crash_read_line(const char *line, const char *name, uint64_t *seed, const char **rest);
/* Reads a step at *rest and moves it behind the '/', or to NULL. False when it makes no sense. */
bool crash_read_step(const char **rest, crash_step *step);
/* False when the numbers do not fit the items. */
bool crash_read_choice(crash_walk *w, const char *text);

#endif
