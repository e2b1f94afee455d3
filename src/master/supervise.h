/* Workers: fork, reap, repair after the dead, respawn with back-off, and let live ones accept for
 * empty slots. */
#ifndef MASTER_SUPERVISE_H
#define MASTER_SUPERVISE_H

#include "master/state.h"

/* Fork a worker for every slot. */
int supervise_start(struct master *master, struct errmsg *msg) MUST_CHECK;

/* After SIGCHLD: for every dead worker free what it held, then respawn it (at once, or later when
 * it keeps dying). Never waits. */
void supervise_reap(struct master *master);

/* Start what is due, adopt and release slots; keeps master->supervise running while there is
 * something to watch. */
void supervise_check(struct master *master);

/* Send a signal to every worker. */
void supervise_signal(const struct master *master, int signo);
unsigned supervise_alive(const struct master *master);

/* How long to wait before the next start, after so many deaths within a second of the start in a
 * row: none after the first, then min_ms, doubling up to max_ms. */
uint64_t supervise_delay(unsigned quick_deaths, uint64_t min_ms, uint64_t max_ms);

/* Who accepts for an empty slot: the serving slot with the fewest connections; SCOREBOARD_NOBODY
 * when none serves. */
uint32_t supervise_adopter(const struct scoreboard *board, unsigned slot);

#endif
