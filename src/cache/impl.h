/* What the files of src/cache share; nobody else includes this.
 *
 * keyname.c  names of keys in Redis          l1.c      reads and read-modify-write in shared memory
 * work.c     operations that wait            read.c    cache_get: L1, then L2, then fill
 * write.c    cache_put, cache_delete         change.c  cache_change
 * once.c     cache_fetch, cache_fill         wait.c    waiting for another's computation
 * l2.c       the way to Redis                scan.c    walk of a cache's keys there
 * tags.c     tags in Redis
 * telemetry.c  events of operations, for subscribers
 * pass.c     commands passed on to Redis
 * job.c      the table of long jobs          clear.c   clears and purges
 * hold.c     several operations as one
 * window.c   acknowledged writes that Redis may lose
 * invalidate.c  messages of other nodes, epoch, journal replay
 */
#ifndef CACHE_IMPL_H
#define CACHE_IMPL_H

#include "cache/cache.h"
#include "cache/telemetry.h"
#include "common/buf.h"
#include "common/list.h"
#include "redis/envelope.h"
#include "redis/message.h"
#include "redis/pool.h"
#include "shm/lease.h"
#include "shm/table.h"

struct cache {
    struct caches *set;
    unsigned number;
    const struct config_cache *config;
    struct zone *zone;
    bool l2;                 /* Redis stands behind */
    bool l1;                 /* reads look in shared memory first (backends memory and layered) */
    bool fallback;           /* without Redis, shared memory takes over (backup = "memory") */
    struct slice prefix;     /* of its keys in Redis, with the colon; owned */
    struct slice tag_prefix; /* of its tags there; owned */
    bool escape_at;          /* a leading '@' of a key is doubled in Redis */
    bool held;               /* by this process: cache_hold() */
    bool mending;            /* a clear of distrusted L2 is under way (master) */
    size_t value_max;
    size_t key_max;
};

/* Which tickets of the loss window were given when. Master only. */
#define WINDOW_TICKS 64
struct window_clock {
    struct {
        uint64_t at_ms, ticket;
    } tick[WINDOW_TICKS];
    unsigned first, n;
};

struct caches {
    const struct heritage *heritage;
    uv_loop_t *loop;
    uint32_t owner; /* HERITAGE_OWNER of this process */
    struct events *events;
    struct pool *pool;
    struct cache *cache;
    size_t n;
    struct list works; /* everything that has not ended */
    struct list
        parked; /* of those, what waits for a lock or a ban slot; the timer runs while any does */
    uv_timer_t timer;
    struct keyspec_table *commands; /* of Redis, for pass-through; NULL: not asked yet */
    struct list learning;           /* pass.c's: commands that wait for it */
    struct pool_call learn_call;
    bool is_learning;
    char policy[32]; /* Redis' maxmemory-policy; "" = not known yet */
    struct pool_call policy_call;
    bool is_asking;
    uint64_t n_own;      /* connections of single clients */
    struct list waiting; /* works that look again when this worker is rung */
    uv_timer_t wait_timer;
    unsigned replaying; /* journal replays on their way */
    uint64_t replay_ticket;
    struct window_clock window_clock;
    uint64_t window_expired;                /* tickets up to this one are over */
    uint64_t window_doubt, window_doubt_ms; /* the one that is being seen to, and since when */
    uint64_t window_taken;                  /* the one whose keys the journal has */
    uint64_t suspects_since_ms; /* since when the replay waits for them; 0 = it does not */
    uint64_t escaped;           /* suspects that were dealt with */
    bool closing;
    bool pool_gone;
    unsigned timers; /* open */
    void (*gone)(void *arg);
    void *gone_arg;
};

/* One operation that waits: for Redis (call) or for a lock (retry). Owns copies of what it needs.
 */
struct work {
    struct list link;
    struct list park;
    struct pool_call call;
    struct cache *cache;
    struct cache_op *op; /* NULL: nobody asks (publish, replay) */
    struct cache_sink *sink;
    void (*retry)(struct work *work);
    uint64_t park_until_ms;
    char *copy; /* key, value and content type, one allocation */
    struct table_key key;
    struct slice value;
    struct cache_attrs attrs;
    struct lease lease;
    uint64_t began_seq;
    uint64_t sent_ms;
    bool had;                 /* delete: L1 had the key */
    int fail;                 /* work_fail_later() */
    enum cache_status answer; /* change: what the caller will get once L1 is invalidated */
    struct cache_change change;
    unsigned tries; /* exchange: so often somebody else was first */
    uint64_t ticket;  /* replay: the journal record */
    char *tag_values; /* put: ENVELOPE_TAG_VALUE bytes for each of attrs.tags; owned */
    struct {          /* put: what follows when they are known */
        void (*send)(struct work *work);
        void (*done)(struct pool_call *call, int status, const struct reply *reply);
    } tags_next;
    char *stored;             /* get: what Redis had, while its tags are checked; owned */
    struct envelope envelope; /* get: points into that */
    uint64_t expires_ms;      /* get: of it */
    struct cache_fetch how;
    bool fetching;          /* a fetch or a fill: the lease outlives a look into L2 */
    bool found;             /* fetch: a stale value is in the sink */
    bool waited;            /* for another's computation */
    uint64_t wait_until_ms; /* and no longer than this */
    uint64_t began_ns;      /* telemetry: its end is to be told; 0 = not */
    enum telemetry_kind kind;
    uint64_t look_ms; /* when to look again without having been rung */
};

/* keyname.c. Append the Redis name of a key. */
int keyname_encode(const struct cache *cache, struct slice key, struct buf *out) MUST_CHECK;
/* The key that a Redis name stands for; false: the name is not this cache's. Points into name. */
bool keyname_decode(const struct cache *cache, struct slice name, struct slice *key);
/* The glob for SCAN that finds at least every key of the cache that can match pattern. */
int keyname_scan_glob(const struct cache *cache, struct slice pattern, struct buf *out) MUST_CHECK;
int keyname_init(struct cache *cache, const struct config *config) MUST_CHECK;
void keyname_fini(struct cache *cache);
/* Append the Redis name of a tag; its length. */
int keyname_encode_tag(const struct cache *cache, struct slice tag, struct buf *out) MUST_CHECK;
size_t keyname_tag_len(const struct cache *cache, struct slice tag);

/* tags.c. Whether a put may be sent: true when the values of its tags in Redis are known (or it has
 * none). Otherwise they are asked for, then send runs; or done, with what went wrong. */
bool tags_known(struct work *work, void (*send)(struct work *work),
                void (*done)(struct pool_call *call, int status,
                             const struct reply *reply)) MUST_CHECK;
/* The tags of a put with their values, for its envelope. */
void tags_of(const struct work *work, struct envelope *envelope,
             struct envelope_tag tags[TABLE_TAGS_MAX]);
/* Ask whether the tags of work->envelope still have their values; read_checked() follows. */
int tags_check(struct work *work) MUST_CHECK;

/* revise.c. An entry that is being changed. */
struct draft {
    struct buf value; /* the older one; what becomes of it */
    struct buf meta;
    struct cache_info info; /* of the older entry */
    bool present;           /* there is an older one */
    struct table_hit hit;   /* l1.c's */
    uint32_t tag_hashes[TABLE_TAGS_MAX];
    /* What revise() made of it. */
    struct slice result;
    uint64_t expires_ms;
    uint32_t flags, mark;
};
void draft_fini(struct draft *draft);
/* Whether the change needs the older value. */
bool revise_reads(const struct cache_change *change);
bool revise_holds(const struct cache *cache, const struct cache_change *change,
                  const struct draft *draft);
enum cache_status revise(const struct cache *cache, const struct cache_change *change,
                         struct draft *draft, int64_t *integer);

/* change.c. L1 forgets the key, and work ends with work->answer. */
void change_end(struct work *work);
/* exchange.c. Whether it takes more than a command of Redis; then exchange_begin() does work's. */
bool exchange_needed(const struct cache_change *change);
void exchange_begin(struct work *work);

/* l1.c. Read from shared memory into the sink (may be NULL): TABLE_HIT, STALE, MISS or BUSY. */
enum table_result l1_read(struct cache *cache, const struct table_key *key, uint64_t now_ms,
                          struct cache_sink *sink, struct cache_info *info);
/* Metadata of attrs as stored beside the value; out is empty when there is none. */
int l1_meta(const struct cache_attrs *attrs, struct buf *out) MUST_CHECK;
void l1_info(const struct envelope *envelope, struct cache_info *info);
enum cache_status l1_change(struct cache *cache, const struct table_key *key,
                            const struct cache_change *change, struct cache_sink *sink,
                            int64_t *integer);
/* Record a ban, or clear when the pattern is too long for one; false: the ring is full, wait. */
bool ban_l1(struct cache *cache, struct slice pattern);
/* Whether a delete has settled: false means the stripe is locked, wait. */
bool l1_remove(struct cache *cache, const struct table_key *key, bool *had);

/* Copy what was found, as l1_read() does; TABLE_OVERTAKEN when it changed meanwhile, TABLE_FULL
 * when there was no place. */
enum table_result l1_copy(struct cache *cache, const struct table_hit *hit, struct cache_sink *sink,
                          struct cache_info *info);

/* cache.c. When it is closing: free it once nothing of it is open. */
void caches_gone_if_done(struct caches *caches);

/* pass.c. Ask Redis for its maxmemory-policy. */
void policy_ask(struct caches *caches);

/* wait.c. Wait until this worker is rung, or until_ms (0 = unknown), or work->wait_until_ms; then
 * retry. */
void wait_for_end(struct work *work, uint64_t until_ms, void (*retry)(struct work *work));
/* Rung: everything that waits looks again. */
void wait_wake(struct caches *caches);
/* For lease_on_ring(); arg: the caches. */
void wait_ring(void *arg, uint64_t slots);

/* read.c. Ask L2 for work's key, value and remaining time; work->call.done has EXEC's reply. */
void read_ask(struct work *work);
/* Ask L2 for work's key; for a fetch fetch_absent() follows when it has none. */
void read_send(struct work *work);
/* The tags of work->envelope were asked for: what went wrong, or whether they are as they were. */
void read_checked(struct work *work, int err, bool valid);
void read_count(struct cache *cache, bool counts, enum counter layer, bool found);
/* telemetry.c. work, whose began_ns is set, ends. */
void telemetry_done(const struct work *work, enum cache_status status);
/* once.c */
void fetch_absent(struct work *work);
/* write.c. Send a put whose stub is work->lease. */
void write_send(struct work *work);
enum cache_status write_count(struct cache *cache, enum cache_status status);
/* An expiry as it is stored: made earlier by up to the cache's ttl_jitter. */
uint64_t write_jitter(const struct cache *cache, uint64_t expires_ms);

/* work.c */
enum cache_status check_limits(const struct cache *cache, struct slice key, struct slice value);
struct work *work_begin(struct cache *cache, struct cache_op *op, struct slice key,
                        struct slice value, const struct cache_attrs *attrs);
/* End it: frees work and calls op->done. */
void work_end(struct work *work, enum cache_status status);
/* The work that a finished call belongs to; counts the times it was sent again. */
struct work *work_answered(struct pool_call *call);
/* Call retry again in a millisecond, for as long as the deadline allows; then end with CACHE_BUSY.
 */
void work_park(struct work *work, void (*retry)(struct work *work));
/* End call with err on a later turn of the loop: done never runs inside the call that began it. */
void work_fail_later(struct work *work, int err);
/* Copy a Redis error reply into op->error. */
enum cache_status work_remote(struct work *work, const struct reply *reply);
/* A failed call as the caller's status. */
enum cache_status status_of_err(int err);
struct buf *scratch(void);

/* l2.c. Whether L2 may be asked now: the breaker allows it. */
bool l2_usable(const struct cache *cache);
/* Whether Redis may decide on this key: what it holds of it is not about to be removed. */
bool l2_decides(const struct cache *cache, struct slice key);
/* Whether L2's answer for this key may be believed: as above, and no other machine is about to
 * remove it either. */
bool l2_readable(const struct cache *cache, struct slice key);
void journal_key(struct cache *cache, struct slice key);
/* The loss window: a write of this key is on its way to Redis, which may acknowledge it and lose it
 * all the same. */
void window_key(struct cache *cache, struct slice key);
/* The same of keys that nobody lists. */
void window_whole(struct cache *cache);
bool window_unlisted(const struct cache *cache);
/* window.c. Once a second or oftener, by the master: let go of what is older than the window, and
 * if the server has changed hand everything to the journal. */
void window_tend(struct caches *caches);
/* The DELETE (or other) message of this node about key, appended to out. */
/* clear.c. Tell the other nodes that this was purged from a cache in memory alone, where a Redis is
 * configured: nothing else reaches theirs. action: MESSAGE_PURGE, MESSAGE_PATTERN or MESSAGE_TAG.
 */
void tell_purge(struct cache *cache, enum message_action action, struct slice text);

int encode_message(const struct cache *cache, enum message_action action, struct slice key,
                   struct buf *out) MUST_CHECK;
/* Send `command` and PUBLISH of a delete of work's key, in one transaction; the reply is EXEC's. */
void send_and_publish(struct work *work, const struct pool_command *command);
/* The same with another message about work's key, or tag. */
void send_with_message(struct work *work, const struct pool_command *command,
                       enum message_action action);
/* Reply number i inside EXEC's, or NULL when the transaction as a whole failed. */
const struct reply *exec_item(const struct reply *reply, size_t i);

/* scan.c. Walk the names in Redis that match pattern; each() gets the cache's keys of one batch;
 * UNLINKs those for which it returns true. done: CACHE_OK or what stopped it. */
struct scan_plan {
    struct cache *cache;
    struct slice pattern;                                            /* copied */
    bool (*remove)(void *arg, struct slice key);                     /* NULL: count only */
    void (*progress)(void *arg, uint64_t scanned, uint64_t removed); /* may be NULL */
    void (*done)(void *arg, int status, uint64_t matched, uint64_t removed);
    void *arg;
};
int scan_start(const struct scan_plan *plan) MUST_CHECK;

/* job.c. Whether a job is taking this key out of L2, here or on another node: L2's answer is a miss
 * then. */
bool jobs_cover(const struct cache *cache, struct slice key);
/* A job of our own, in JOB_SETUP, or NULL when all are taken. */
struct job *job_claim(struct caches *caches);
/* It is filled in: from here on it is somebody's to finish, whatever becomes of us. */
void job_publish(struct cache *cache, struct job *job);
/* Take over one that a dead process began. */
bool job_adopt(struct caches *caches, struct job *job);
void job_release(struct cache *cache, struct job *job);

/* hold.c. Around an event of a memory cache, which must not cut into what another process does as
 * one. False: come again. */
bool hold_event(struct cache *cache, bool *took) MUST_CHECK;
void hold_event_end(struct cache *cache, bool took);

/* clear.c. L2 still has what should be gone: nothing of this cache there is believed until a clear
 * succeeds. */
enum cache_status job_failed(struct cache *cache, int err);
/* Go on with what dead processes began. */
void jobs_adopt(struct caches *caches);
/* Clear L2 of a distrusted cache (the journal overflowed, or a clear met a dead Redis). */
void job_clear_distrusted(struct cache *cache);

#endif
