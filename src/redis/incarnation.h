/* What this daemon knows of who the Redis servers are: the run of each that it has talked to, and
 * which connections may still have commands under way there. In memory shared by every process of
 * the daemon; each change is one compare-and-swap.
 *
 * A server that is another run than before (a restart from a file, a failover to another server)
 * may have lost acknowledged writes: that is a doubt, which stands until somebody has seen to it
 * (design rule 2). A connection that was given up with commands unanswered is a suspect: the server
 * may still run them, at any time, until it has been told to end that connection. */
#ifndef REDIS_INCARNATION_H
#define REDIS_INCARNATION_H

#include "common/err.h"
#include "common/slice.h"

#include <stdbool.h>
#include <stdint.h>

struct incarnation; /* shared memory */

int incarnation_create(struct incarnation **out, struct errmsg *msg) MUST_CHECK;
void incarnation_destroy(struct incarnation *incarnation);

/* A connection to the server at this address has logged in; to be called before anything is read
 * through it. run_id: as the server calls its run; empty: it does not say, and nothing follows. The
 * first server of all is no doubt. */
void incarnation_login(struct incarnation *incarnation, struct slice server, struct slice run_id);
/* Another server has taken over, and with it what it holds. */
void incarnation_doubt(struct incarnation *incarnation);

/* 0: no doubt stands. Otherwise what to give incarnation_settle() when it has been seen to; a doubt
 * raised meanwhile goes on. */
uint64_t incarnation_doubted(const struct incarnation *incarnation);
void incarnation_settle(struct incarnation *incarnation, uint64_t doubt);
/* How many doubts were raised so far. */
uint64_t incarnation_doubts(const struct incarnation *incarnation);

/* The connection that the server's run calls client_id. More than there is room for are counted as
 * escaped. Suspects of a run that is over are gone with it. */
void incarnation_suspect(struct incarnation *incarnation, struct slice run_id, int64_t client_id);
/* Suspects of this run that may still be alive: their ids, at most max. */
size_t incarnation_list(struct incarnation *incarnation, struct slice run_id, int64_t *ids,
                        size_t max);
/* It has been ended, or has answered everything after all. */
void incarnation_acquit(struct incarnation *incarnation, struct slice run_id, int64_t client_id);
/* Wait for none of them any more. */
void incarnation_acquit_all(struct incarnation *incarnation);
uint32_t incarnation_suspects(const struct incarnation *incarnation);
uint64_t incarnation_escaped(const struct incarnation *incarnation);

#endif
