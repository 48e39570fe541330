/* told: is what a call says about its failure true to the promise of <firn/types.h>? The struct is filled with 0xa5 before the
 * call; a call that succeeds leaves it alone, one that fails fills in all of it.
 *
 *   TOLD(&t, firn_put(db, "k", 1, "v", 1, NULL, error));
 */
#ifndef SUPPORT_TOLD_H
#define SUPPORT_TOLD_H

#include <base/alloc.h>
#include <firn/types.h>
#include <stdio.h>
#include <string.h>

typedef struct told {
    const char *run;  /* for messages */
    char wrong[1024]; /* the first thing that is, or "" */
    unsigned failures;
    int last;           /* the newest status that was not FIRN_OK */
    firn_error error;   /* and what came with it */
    bool looking;       /* NOT_FOUND is an answer to this call, without a description */
    bool missing_is_ok; /* NOT_FOUND may come back, and is described */
} told;

#define TOLD_POISON 0xa5

static inline bool told_text(const char *text, size_t room, bool may_be_empty)
{
    size_t n = 0;
    while (n < room && text[n])
        if ((unsigned char)text[n++] == TOLD_POISON)
            return false;
    return n < room && (n > 0 || may_be_empty);
}

static inline bool told_untouched(const firn_error *e)
{
    for (size_t i = 0; i < sizeof *e; i++)
        if (((const unsigned char *)e)[i] != TOLD_POISON)
            return false;
    return true;
}

/* What is wrong with the description, or NULL. */
static inline const char *told_fault(const told *t, int rc, const firn_error *e)
{
    if (rc == FIRN_OK || (rc == FIRN_NOT_FOUND && t->looking))
        return told_untouched(e) ? NULL : "the error was touched";
    if (rc == FIRN_NOT_FOUND && !t->missing_is_ok)
        return "nothing was looked for";
    if (e->status != rc)
        return "another status in the error";
    if (!told_text(e->message, sizeof e->message, false))
        return "no message";
    if (!told_text(e->file, sizeof e->file, true) || !told_text(e->hint, sizeof e->hint, true))
        return "file or hint is no text";
    if (e->sys_errno < 0 || e->sys_errno > 4095)
        return "no errno";
    if (e->offset != FIRN_NO_OFFSET && e->offset >> 56)
        return "no offset";
    bool of_the_system = rc == FIRN_IO || rc == FIRN_NO_SPACE || rc == FIRN_POISONED ||
                         rc == FIRN_LOCKED || rc == FIRN_DAMAGED;
    /* Chance comes from no file. */
    if (of_the_system && !e->file[0] && !strstr(e->message, "random"))
        return "no file";
    if ((of_the_system || rc == FIRN_NO_MEMORY) && !e->hint[0])
        return "no hint";
    return NULL;
}

static inline int told_check(told *t, const char *call, int rc, const firn_error *e)
{
    const char *fault = told_fault(t, rc, e);
    if (rc != FIRN_OK && !(rc == FIRN_NOT_FOUND && t->looking)) {
        t->failures++;
        t->last = rc;
        t->error = *e;
    }
    if (fault && !t->wrong[0])
        snprintf(t->wrong, sizeof t->wrong,
                 "%s: %.60s: %s, and %s: \"%.100s\" of \"%.100s\" (%.100s)", t->run, call,
                 firn_status_name(rc), fault,
                 told_text(e->message, sizeof e->message, true) ? e->message : "?",
                 told_text(e->file, sizeof e->file, true) ? e->file : "?",
                 told_text(e->hint, sizeof e->hint, true) ? e->hint : "?");
    return rc;
}

/* `call` uses `error`, a pointer. */
#define TOLD(t, call)                                                                              \
    __extension__({                                                                                \
        firn_error told_error_;                                                                    \
        firn_error *error = &told_error_;                                                          \
        memset(error, TOLD_POISON, sizeof *error);                                                 \
        int told_status_ = (call);                                                                 \
        told_check(t, #call, told_status_, error);                                                 \
    })

/* Does the newest failure say what the allocation that was made to fail had asked for, if that was 1 MiB or more? */
static inline bool told_what_was_asked_for(const told *t)
{
    char wanted[64] = "out of memory";
    if (alloc_failed_bytes() >= 1 << 20)
        snprintf(wanted, sizeof wanted, "out of memory: %zu MiB were asked for",
                 alloc_failed_bytes() >> 20);
    return strcmp(t->error.message, wanted) == 0;
}

#endif
