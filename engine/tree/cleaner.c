/* cleaner: see cleaner.h. */
#include <tree/cleaner.h>

void cleaner_init(cleaner *c)
{
    mutex_init(&c->cleaner_mu);
    cond_init(&c->given);
    cond_init(&c->idle);
    c->waits = NULL;
}

void cleaner_release(cleaner *c)
{
    mutex_release(&c->cleaner_mu);
    cond_release(&c->given);
    cond_release(&c->idle);
}

static dead *take_first(cleaner *c) REQUIRES(c->cleaner_mu)
{
    dead *d = c->first;
    c->first = d->next;
    if (!c->first)
        c->last = NULL;
    c->waiting--;
    return d;
}

/* Until so many are left. */
static void end_down_to(cleaner *c, size_t left) REQUIRES(c->cleaner_mu)
{
    while (c->waiting > left) {
        dead *d = take_first(c);
        c->busy++;
        mutex_unlock(&c->cleaner_mu);
        d->end(d); /* may give us more */
        mutex_lock(&c->cleaner_mu);
        c->busy--;
    }
}

static void cleaner_run(void *arg)
{
    cleaner *c = arg;
    patience_own_thread();
    mutex_lock(&c->cleaner_mu);
    for (;;) {
        end_down_to(c, 0);
        cond_broadcast(&c->idle);
        if (!c->works)
            break;
        cond_wait(&c->given, &c->cleaner_mu);
    }
    mutex_unlock(&c->cleaner_mu);
}

int cleaner_start(cleaner *c)
{
    mutex_lock(&c->cleaner_mu);
    c->works = true;
    mutex_unlock(&c->cleaner_mu);
    int rc = thread_start(&c->thread, "firn-clean", cleaner_run, c);
    if (rc == 0)
        return 0;
    mutex_lock(&c->cleaner_mu);
    c->works = false;
    end_down_to(c, 0); /* what another thread has given meanwhile */
    cond_broadcast(&c->idle);
    mutex_unlock(&c->cleaner_mu);
    return rc;
}

void cleaner_stop(cleaner *c)
{
    mutex_lock(&c->cleaner_mu);
    c->works = false;
    cond_signal(&c->given);
    mutex_unlock(&c->cleaner_mu);
    thread_join(&c->thread);
}

static void give(cleaner *c, dead *d, void (*end)(dead *d), bool soon)
{
    bool taken = false;
    *d = (dead){.end = end};
    if (c) {
        mutex_lock(&c->cleaner_mu);
        taken = c->works;
        if (taken && (soon || !c->first)) {
            d->next = c->first;
            c->first = d;
            if (!c->last)
                c->last = d;
        } else if (taken) {
            c->last->next = d;
            c->last = d;
        }
        c->waiting += taken;
        cond_signal(&c->given);
        mutex_unlock(&c->cleaner_mu);
    }
    if (!taken)
        end(d);
}

void cleaner_give(cleaner *c, dead *d, void (*end)(dead *d))
{
    give(c, d, end, false);
}

void cleaner_give_soon(cleaner *c, dead *d, void (*end)(dead *d))
{
    give(c, d, end, true);
}

void cleaner_help(cleaner *c)
{
    mutex_lock(&c->cleaner_mu);
    end_down_to(c, CLEANER_BEHIND);
    if (!c->first && !c->busy)
        cond_broadcast(&c->idle);
    mutex_unlock(&c->cleaner_mu);
}

void cleaner_wait(cleaner *c)
{
    patience p = {0};
    mutex_lock(&c->cleaner_mu);
    while (c->first || c->busy) {
        patience_begin(&p, c->waits, FIRN_WAIT_BACKGROUND);
        patience_wait(&p, &c->idle, &c->cleaner_mu,
                      "until replaced tables and memtables have been removed");
    }
    mutex_unlock(&c->cleaner_mu);
    patience_end(&p);
}
