/* patience: see base/patience.h. */
#include <base/patience.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* What the log calls a cause, and the one who waits for it. */
typedef struct cause_words {
    const char *name, *many, *one, *what;
} cause_words;

#define CALLER "a caller waits", "a caller"
#define WRITER "writers wait", "a writer"

static const cause_words words[] = {
    [FIRN_WAIT_NONE] = {"none", CALLER, "nothing"},
    [FIRN_WAIT_SLOWED_LEVEL0] = {"slowed_level0", WRITER, "compaction, which is behind"},
    [FIRN_WAIT_SLOWED_FLUSH] = {"slowed_flush", WRITER, "a flush, which is behind"},
    [FIRN_WAIT_LEVEL0] = {"level0", WRITER, "room in level 0"},
    [FIRN_WAIT_FLUSH] = {"flush", WRITER, "a memtable to be flushed"},
    [FIRN_WAIT_LOG] = {"log", WRITER, "the log"},
    [FIRN_WAIT_BACKGROUND] = {"background", CALLER, "work in the background"},
    [FIRN_WAIT_COMPACTION] = {"compaction", CALLER, "other compactions"},
    [FIRN_WAIT_READERS] = {"readers", CALLER, "reads that had begun before"},
    [FIRN_WAIT_BLOCK] = {"block", CALLER, "another thread to read a block"},
    [FIRN_WAIT_DESCRIPTOR] = {"descriptor", CALLER, "a descriptor"},
};
#define CAUSES (sizeof words / sizeof *words)

const char *firn_wait_name(firn_wait cause)
{
    return (size_t)cause < CAUSES ? words[cause].name : "unknown";
}

static _Thread_local bool own_thread;

void patience_own_thread(void)
{
    own_thread = true;
}

void wait_list_init(wait_list *w, fs *clock, firn_log_fn log, void *log_ctx)
{
    mutex_init(&w->waits_mu);
    mutex_not_shared(&w->waits_mu);
    w->fs = clock;
    w->log = log;
    w->log_ctx = log_ctx;
    w->first = NULL;
    memset(w->done, 0, sizeof w->done);
}

void wait_list_release(wait_list *w)
{
    mutex_release(&w->waits_mu);
}

void wait_list_look(wait_list *w, wait_list_now *out)
{
    *out = (wait_list_now){0};
    uint64_t first_us = UINT64_MAX, now = fs_mono_us(w->fs);
    mutex_lock(&w->waits_mu);
    memcpy(out->done, w->done, sizeof out->done);
    for (const patience *p = w->first; p; p = p->next) {
        if (p->cause == FIRN_WAIT_LOG && now < p->started_us + PATIENCE_MUTE_US)
            continue; /* the ordinary way of a write */
        out->waiting++;
        if (p->started_us >= first_us)
            continue;
        first_us = p->started_us;
        out->longest = p->cause;
    }
    mutex_unlock(&w->waits_mu);
    if (out->waiting && now > first_us) /* it may have begun behind our look at the clock */
        out->longest_us = now - first_us;
}

static void enter(patience *p)
{
    if (own_thread)
        return;
    wait_list *w = p->of;
    mutex_lock(&w->waits_mu);
    p->prev = NULL;
    p->next = w->first;
    if (p->next)
        p->next->prev = p;
    w->first = p;
    mutex_unlock(&w->waits_mu);
}

static void leave(patience *p, uint64_t us)
{
    if (own_thread)
        return;
    wait_list *w = p->of;
    mutex_lock(&w->waits_mu);
    *(p->prev ? &p->prev->next : &w->first) = p->next;
    if (p->next)
        p->next->prev = p->prev;
    if (us >= PATIENCE_MUTE_US || p->cause != FIRN_WAIT_LOG) {
        w->done[p->cause].count++;
        w->done[p->cause].us += us;
    }
    mutex_unlock(&w->waits_mu);
}

void patience_begun(patience *p, wait_list *w, firn_wait cause, uint64_t us_ago)
{
    if (!w || p->of)
        return;
    uint64_t now = fs_mono_us(w->fs);
    *p = (patience){.of = w, .cause = cause, .started_us = now > us_ago ? now - us_ago : 0};
    enter(p);
}

void patience_begin(patience *p, wait_list *w, firn_wait cause)
{
    if (!p->of) {
        patience_begun(p, w, cause, 0);
    } else if (p->cause != cause) {
        mutex_lock(&p->of->waits_mu); /* it is looked at by others */
        p->cause = cause;
        mutex_unlock(&p->of->waits_mu);
    }
}

static uint64_t waited_us(const patience *p)
{
    uint64_t now = fs_mono_us(p->of->fs);
    return now > p->started_us ? now - p->started_us : 0;
}

bool patience_due(const patience *p)
{
    return p->of && !p->told && waited_us(p) >= PATIENCE_MUTE_US;
}

static void say(const patience *p, firn_log_level level, const char *who, const char *what)
{
    char line[300];
    if (!p->of->log)
        return;
    snprintf(line, sizeof line, "%s %s", who, what);
    p->of->log(p->of->log_ctx, level, line);
}

void patience_tell(patience *p, const char *what)
{
    p->told = true;
    say(p, FIRN_LOG_WARNING, own_thread ? "work in the background waits" : words[p->cause].many,
        what);
}

bool patience_sleep_any(patience *p, cond *c, mutex *m)
{
    uint64_t us = p->of && !p->told ? waited_us(p) : 0;
    if (us >= PATIENCE_MUTE_US)
        return false;
    if (!p->of || p->told)
        cond_wait_any(c, m);
    else
        cond_wait_ms_any(c, m, (PATIENCE_MUTE_US - us + 999) / 1000);
    return true;
}

void patience_wait_any(patience *p, cond *c, mutex *m, const char *what)
{
    if (patience_sleep_any(p, c, m))
        return;
    mutex_unlock_any(m);
    patience_tell(p, what);
    mutex_lock_any(m);
}

void patience_over(patience *p)
{
    if (!p->of || p->over)
        return;
    p->over = true;
    p->lasted_us = waited_us(p);
    leave(p, p->lasted_us);
}

void patience_end_begun(patience *p)
{
    char what[100];
    const cause_words *of = &words[p->cause];
    patience_over(p);
    uint64_t us = p->lasted_us;
    if (p->told)
        snprintf(what, sizeof what, "goes on after %" PRIu64 " ms", us / 1000);
    else
        snprintf(what, sizeof what, "waited %" PRIu64 " ms for %s", us / 1000, of->what);
    /* What takes the log long, it says itself. */
    if (p->told || (us >= PATIENCE_MUTE_US && p->cause != FIRN_WAIT_LOG))
        say(p, FIRN_LOG_INFO, own_thread ? "work in the background" : of->one, what);
    *p = (patience){0};
}
