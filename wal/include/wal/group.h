/* group: how an owner of the log writes when it keeps an index of what is in it. The log has no
 * callbacks here: the owner's thread does each step itself, in an order that can be read in one
 * place (engine/commit/commit.c).
 *
 *   wal_request r;
 *   firn_error error;
 *   wal_group g;
 *   int rc = wal_request_put(w, &r, kind, bucket, key, value, durability, err);
 *   if (rc != FIRN_OK)
 *       return rc;
 *   if (wal_join(w, &r)) {                         we lead: no other thread is in here
 *       rc = wal_group_start(w, &g, &r, &error);   makes room; takes along those behind us
 *       ...                                        the index makes room for g.entries entries
 *       rc = wal_group_append(w, &g, &error);      frames in g.segment, with numbers
 *       ...                                        the index takes each frame (wal_group_next), and
 *                                                  shows them to readers
 *       wal_group_end(w, &g, rc, &error);          the next request leads; followers are answered
 *   }
 *   return wal_await(w, &r);                       until r is carried out, and synced if it wants
 *
 * Sources: one writer that writes for all that queue behind it is LevelDB's (DBImpl::Write); a
 * queue that writers join with one compare-and-swap is RocksDB's (WriteThread).
 */
#ifndef WAL_GROUP_H
#define WAL_GROUP_H

#include <stdatomic.h>
#include <wal/wal.h>

/* An entry up to this size is put together in its request, before it queues: one checksum over one
 * piece costs half of three. */
#define WAL_SMALL_BYTES 512

/* A step that has taken long; `us` 0: there is none. */
typedef struct wal_slow {
    const char *what;
    uint64_t us;
} wal_slow;

/* ---- A request: what one caller wants of the log; lies on the caller's stack until wal_await
 * returns. Its fields are the log's own, but for the results.
 *
 * A request has one owner at a time, which alone touches its plain fields: its thread until the
 * request is published; the leader, from then on; the syncer, once it stands among the waiters
 * (that list belongs to the log's mutex); its thread again, once the state is DONE. ---- */
typedef struct wal_request wal_request;
struct wal_request {
    wal_request *older; /* towards the leader; set before the request is published */
    wal_request *newer; /* set by leaders */
    wal_request *next;  /* in the list of waiters for a sync */
    _Atomic uint32_t state;
    _Atomic uint32_t bit; /* under which it sleeps; 0 before it first does */
    uint32_t turn;        /* its thread's own: the state that it has seen last */
    uint32_t count;       /* entries */
    uint32_t ranges;      /* range deletes among them */
    uint32_t payload_crc;
    uint8_t type;       /* wal_request_type */
    uint8_t frame_type; /* wal_frame_type */
    bool durable;       /* wants to be acknowledged only when synced */
    bool batched;       /* counts for the timed sync */
    bool single;        /* payload is head, key, value; else it is `key` alone */
    bool leads;         /* always begins a group; the owner sets it */
    uint8_t head[8];
    firn_slice key, value;
    uint64_t payload_bytes;
    uint64_t argument;
    uint64_t seq_first, seq_last; /* results */
    uint64_t segment_no, offset;
    uint64_t tick;
    int status;
    firn_error *err; /* the caller's; may be NULL */
    wal_slow slow;   /* of its leading: told by wal_await, since writers wait for a leader */
    uint8_t small[WAL_SMALL_BYTES];
};

/* Fill a request in: one operation, the entries of a batch, or a change to the next segment. Keys,
 * values and batch stay the caller's, and are read until wal_await returns. FIRN_INVALID,
 * FIRN_TOO_LARGE, FIRN_READ_ONLY: `r` is not to be used. */
int wal_request_put(wal *w, wal_request *r, uint8_t kind, uint16_t bucket, firn_slice key,
                    firn_slice value, firn_durability durability, firn_error *err);
int wal_request_batch(wal *w, wal_request *r, const firn_batch *batch, firn_durability durability,
                      firn_error *err);
int wal_request_rotate(wal *w, wal_request *r, firn_error *err);

/* Queues the request. True: the caller leads, and must call wal_group_end soon; it may not sleep
 * for anything but the log's own steps. False: another thread has carried the request out. A change
 * of segment always leads. Any thread. */
bool wal_join(wal *w, wal_request *r);
/* Waits until the request is synced, if it asked for that and was carried out. Returns its status;
 * its error was put into the caller's. */
int wal_await(wal *w, wal_request *r);

/* ---- A group: what one leader writes at once. All calls are the leader's. ---- */
typedef struct wal_group {
    wal_request *first, *last; /* linked by `newer`; the first is the leader's */
    /* borrowed: the one that takes the group; valid until wal_group_end */
    wal_segment *segment;
    uint64_t frames;
    uint64_t bytes; /* of the frames */
    uint64_t payload;
    uint64_t numbers; /* that it uses */
    uint64_t entries;
    uint64_t seq_last;    /* behind wal_group_append: the last number of the group */
    uint64_t durable_seq; /* behind wal_group_append: what its frames say is durable */
    bool durable;         /* a caller waits for a sync */
    bool batched;         /* a caller counts on the timed sync */
} wal_group;

/* The leader: FIRN_POISONED, described, if nothing can be written any more. */
int wal_group_may(wal *w, firn_error *err);
/* Gives up the leader's request, alone, before anything is done for it: *g is filled in for
 * wal_group_end, with whatever status. */
void wal_group_refuse(wal *w, wal_group *g, wal_request *leader);
/* Starts a group with the leader's request of entries: makes room for it, if need be in a new
 * segment, and takes along the requests behind it as far as they fit. When the log went on to a new
 * segment, `segment` says so: its first number is wal_segment_seq_first, and everything below lies
 * in older segments. *g is filled in also on failure, for wal_group_end. */
int wal_group_start(wal *w, wal_group *g, wal_request *leader, firn_error *err);
/* The same for a request by wal_request_rotate: the log goes on in the next segment, unless the
 * current one has no numbers. */
int wal_group_rotate(wal *w, wal_group *g, wal_request *leader, firn_error *err);
/* Gives the group its numbers and writes its frames. All of it, or FIRN_NO_SPACE, FIRN_NO_MEMORY or
 * FIRN_TOO_LARGE and nothing has happened, or FIRN_IO and the log is poisoned. From here on the log
 * counts the numbers as given out: a sync that begins behind it covers them, so what the index
 * shows after this step can be synced and waited for by its readers. */
int wal_group_append(wal *w, wal_group *g, firn_error *err);
/* The frames of an appended group, in order. *at is NULL before the first. */
bool wal_group_next(const wal_group *g, const wal_request **at, wal_applied *frame);
/* Gives up leadership and answers the group: with FIRN_OK behind wal_group_append; with the failure
 * and its description, which reach each caller of the group, when a step before that failed. */
void wal_group_end(wal *w, wal_group *g, int rc, firn_error *error);

#endif
