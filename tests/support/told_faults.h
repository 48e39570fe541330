/* told_faults: a script runs once for each call to the system that it makes and each errno that may come, and once for each
 * of its allocations. That one fails. What the script's calls say of it (told.h) must be true, and no failure may have
 * another status than the fault explains.
 *
 * A failure names the fault: FIRN_FAULT='<calls> <errno> <at>' of the message runs it alone. Include cmocka.h first.
 */
#ifndef SUPPORT_TOLD_FAULTS_H
#define SUPPORT_TOLD_FAULTS_H

#include "simfs.h"
#include "told.h"

#include <base/alloc.h>
#include <errno.h>
#include <stdlib.h>

typedef struct told_script {
    void *run;
    told *told;                                 /* of the run */
    simfs **sim;                                /* of the run */
    void (*start)(void *run, const char *name); /* on a fresh disk */
    void (*script)(void *run);                  /* every call is a TOLD */
    bool missing_is_damage; /* a file that is listed but cannot be found is called damaged */
    /* Without a fault, the script makes more calls and allocations than these: it does what it is here for. */
    uint64_t calls_above, allocs_above;
    /* Of a kind of call that the script makes often, an errno fails one in `step`, and the next errno another one. */
    uint64_t step;
} told_script;

/* Ends a run; fails the test when something that was told was wrong. */
static inline void told_finish(const told *t, simfs *sim)
{
    if (t->wrong[0])
        fail_msg("%s", t->wrong);
    simfs_free(sim);
}

static inline bool told_may_be(const told_script *s, int error, unsigned call)
{
    switch (s->told->last) {
    case FIRN_IO:
    case FIRN_POISONED:
    case FIRN_NO_MEMORY:
    case FIRN_NO_SPACE:
        return true;
    case FIRN_DAMAGED:
        return s->missing_is_damage && error == ENOENT && call == SIMFS_OPEN;
    case FIRN_LOCKED:
        return call == SIMFS_LOCK && error == EACCES;
    case FIRN_NOT_FOUND: /* to a reader */
        return true;
    default:
        return false;
    }
}

static inline void told_must(const told_script *s, const char *name, bool right)
{
    if (s->told->failures > 0 && !right)
        fail_msg("%s: %s: %s", name, firn_status_name(s->told->last), s->told->error.message);
}

static inline void told_fail_call(const told_script *s, unsigned call, int error, uint64_t at)
{
    char name[96];
    snprintf(name, sizeof name, "FIRN_FAULT='%u %d %llu' (%s: %s)", call, error,
             (unsigned long long)at, simfs_call_name(call), strerror(error));
    s->start(s->run, name);
    simfs_fail(*s->sim, (simfs_fault){.calls = call, .at = at, .error = error});
    s->script(s->run);
    told_must(s, name, error != EINTR && told_may_be(s, error, call)); /* no caller sees EINTR */
    told_finish(s->told, *s->sim);
}

static inline bool told_fail_asked(const told_script *s)
{
    unsigned call;
    int error;
    unsigned long long at;
    const char *asked = getenv("FIRN_FAULT");
    if (!asked || sscanf(asked, "%u %d %llu", &call, &error, &at) != 3)
        return false;
    told_fail_call(s, call, error, at);
    return true;
}

static inline void told_each_call(const told_script *s)
{
    static const int errors[] = {EIO,    ENOSPC, EDQUOT, EFBIG, ENOMEM, EMFILE, ENFILE, ENOENT,
                                 ESTALE, EACCES, EPERM,  EROFS, EINTR,  EBUSY,  ENODEV, ETXTBSY};
    uint64_t counts[SIMFS_CALLS], all = 0;
    if (told_fail_asked(s))
        return;
    s->start(s->run, "no fault");
    s->script(s->run);
    assert_int_equal(s->told->failures, 0);
    for (unsigned i = 0; i < SIMFS_CALLS; i++)
        all += counts[i] = simfs_calls(*s->sim, 1u << i);
    told_finish(s->told, *s->sim);
    assert_true(all > s->calls_above);
    for (size_t e = 0; e < sizeof errors / sizeof errors[0]; e++)
        for (unsigned i = 0; i < SIMFS_CALLS; i++)
            for (uint64_t at = 1 + (counts[i] > s->step ? e % s->step : 0); at <= counts[i];
                 at += counts[i] > 3 * s->step ? s->step : 1)
                told_fail_call(s, 1u << i, errors[e], at);
}

static inline void told_each_allocation(const told_script *s)
{
    s->start(s->run, "no fault");
    alloc_fail_at(UINT64_MAX);
    s->script(s->run);
    alloc_fail_at(0);
    uint64_t count = alloc_count();
    assert_int_equal(s->told->failures, 0);
    told_finish(s->told, *s->sim);
    assert_true(count > s->allocs_above);
    for (uint64_t at = 1; at <= count; at++) {
        char name[64];
        snprintf(name, sizeof name, "allocation %llu", (unsigned long long)at);
        s->start(s->run, name);
        alloc_fail_at(at);
        s->script(s->run);
        alloc_fail_at(0);
        told_must(s, name, s->told->last == FIRN_NO_MEMORY);
        if (s->told->failures > 0 && !told_what_was_asked_for(s->told))
            fail_msg("%s of %zu bytes: %s", name, alloc_failed_bytes(), s->told->error.message);
        told_finish(s->told, *s->sim);
    }
}

#endif
