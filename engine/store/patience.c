/* patience: a call that waits for more than MUTE_MS says why, once, and says that it goes on. Also
 * afterwards, when what it waits for cannot be waited for with a limit (a thread that ends). */
#include <inttypes.h>

#include <store/store.h>

#define MUTE_MS 1000

uint64_t patience_left_ms(firn *db, const patience *p)
{
    uint64_t waited_ms = (fs_mono_us(db->fs) - p->started_us) / 1000;
    if (p->told)
        return UINT64_MAX;
    return waited_ms < MUTE_MS ? MUTE_MS - waited_ms : 0;
}

void patience_wait(firn *db, patience *p, patience_why why)
{
    uint64_t left_ms = patience_left_ms(db, p);
    if (left_ms == UINT64_MAX) {
        cond_wait(&db->state_changed, &db->state_mu);
    } else if (left_ms > 0) {
        cond_wait_ms(&db->state_changed, &db->state_mu, left_ms);
    } else {
        char text[200];
        p->told = true;
        why(db, text, sizeof text);
        mutex_unlock(&db->state_mu);
        store_log(db, FIRN_LOG_WARNING, "%s", text);
        mutex_lock(&db->state_mu);
    }
}

void patience_end(firn *db, const patience *p, const char *who)
{
    if (p->told)
        store_log(db, FIRN_LOG_INFO, "%s goes on after %" PRIu64 " ms", who,
                  (fs_mono_us(db->fs) - p->started_us) / 1000);
}

void patience_was(firn *db, uint64_t started_us, const char *who, const char *what)
{
    uint64_t waited_ms = (fs_mono_us(db->fs) - started_us) / 1000;
    if (waited_ms >= MUTE_MS)
        store_log(db, FIRN_LOG_INFO, "%s waited %" PRIu64 " ms until %s", who, waited_ms, what);
}
