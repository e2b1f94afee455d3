/* The health of the servers behind the site's routes, in memory shared by every process of the
 * daemon: what one worker finds out holds for all of them. No locks: everything that decides is one
 * word, so that a process killed between two instructions leaves nothing half done.
 *
 * Two judges, and a server is used only while both let it. Passive: so many failed exchanges in a
 * row put it out for a time; then one caller at a time may try it. Active: a path is asked for
 * every so often, by one worker at a time, and the last answer counts. Who dies while it tries or
 * checks is replaced after the time it asked for. */
#ifndef SHM_HEALTH_H
#define SHM_HEALTH_H

#include "common/err.h"
#include "shm/scoreboard.h"

#include <stddef.h>

/* One server. */
struct health {
    _Atomic uint64_t word; /* failures in a row | ms until which it is out, 0 = it is not */
    _Atomic uint64_t
        trying_ms; /* someone tries whether it is back, until then at most; 0 = nobody */
    _Atomic uint64_t check_ms; /* the next check is due; while one runs, the end of its time */
    _Atomic uint32_t sick;     /* the last check failed */
    _Atomic uint32_t spare;
    _Atomic uint32_t busy[SCOREBOARD_MAX]; /* [worker of that slot] open exchanges */
};

/* n servers, shared with every process forked later, all well. */
int health_create(size_t n, struct health **out, struct errmsg *msg) MUST_CHECK;
void health_destroy(struct health *list, size_t n);

/* Whether an exchange may be sent now; changes nothing. */
bool health_usable(const struct health *health, uint64_t now_ms);
/* Take the right to send it: always given while the server is well, and to one caller at a time,
 * for try_ms, when its time out is over. *trial: whether it is such a try; health_good(),
 * health_bad() or health_leave() ends it. */
bool health_take(struct health *health, uint64_t now_ms, uint64_t try_ms, bool *trial);
/* An exchange went well. Returns whether the server was out. */
bool health_good(struct health *health);
/* One failed; `limit` in a row put it out for out_ms, as does one failed try. Returns whether it is
 * out only since now. */
bool health_bad(struct health *health, uint64_t now_ms, uint32_t limit, uint64_t out_ms);
/* A try ends without a result. */
void health_leave(struct health *health);

/* Whether the caller is to check now; it has time_ms for it, and nobody else does meanwhile. */
bool health_check_due(struct health *health, uint64_t now_ms, uint64_t time_ms);
/* The result; the next check is due at next_ms. Returns whether it differs from the last one. */
bool health_checked(struct health *health, bool well, uint64_t next_ms);

/* Exchanges that are open at it, of all workers. That of a worker that died counts until its
 * successor starts. */
uint32_t health_busy(const struct health *health, uint32_t n_slots);

#endif
