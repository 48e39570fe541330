/* cleaner: see cleaner.h. */
#include <tree/cleaner.h>

void cleaner_init(cleaner *c)
{
    mutex_init(&c->m);
    cond_init(&c->given);
    cond_init(&c->idle);
}

void cleaner_release(cleaner *c)
{
    mutex_release(&c->m);
    cond_release(&c->given);
    cond_release(&c->idle);
}

static dead *take_first(cleaner *c) REQUIRES(c->m)
{
    dead *d = c->first;
    c->first = d->next;
    if (!c->first)
        c->last = NULL;
    return d;
}

static void end_all(cleaner *c) REQUIRES(c->m)
{
    while (c->first) {
        dead *d = take_first(c);
        c->busy = true;
        mutex_unlock(&c->m);
        d->end(d); /* may give us more */
        mutex_lock(&c->m);
        c->busy = false;
    }
}

static void cleaner_run(void *arg)
{
    cleaner *c = arg;
    mutex_lock(&c->m);
    for (;;) {
        end_all(c);
        cond_broadcast(&c->idle);
        if (!c->works)
            break;
        cond_wait(&c->given, &c->m);
    }
    mutex_unlock(&c->m);
}

int cleaner_start(cleaner *c)
{
    mutex_lock(&c->m);
    c->works = true;
    mutex_unlock(&c->m);
    int rc = thread_start(&c->thread, "firn-clean", cleaner_run, c);
    if (rc == 0)
        return 0;
    mutex_lock(&c->m);
    c->works = false;
    end_all(c); /* what another thread has given meanwhile */
    cond_broadcast(&c->idle);
    mutex_unlock(&c->m);
    return rc;
}

void cleaner_stop(cleaner *c)
{
    mutex_lock(&c->m);
    c->works = false;
    cond_signal(&c->given);
    mutex_unlock(&c->m);
    thread_join(&c->thread);
}

void cleaner_give(cleaner *c, dead *d, void (*end)(dead *d))
{
    bool taken = false;
    *d = (dead){.end = end};
    if (c) {
        mutex_lock(&c->m);
        taken = c->works;
        if (taken && c->last)
            c->last->next = d;
        else if (taken)
            c->first = d;
        if (taken)
            c->last = d;
        cond_signal(&c->given);
        mutex_unlock(&c->m);
    }
    if (!taken)
        end(d);
}

void cleaner_wait(cleaner *c)
{
    mutex_lock(&c->m);
    while (c->first || c->busy)
        cond_wait(&c->idle, &c->m);
    mutex_unlock(&c->m);
}
