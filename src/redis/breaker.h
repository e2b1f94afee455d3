/* The circuit breaker of one Redis, in memory shared by every process of the daemon (design rule
 * 7). closed: calls go. open: calls are refused at once. half-open: one caller (by
 * compare-and-swap) may probe; its success closes, its failure opens again. A prober that dies is
 * replaced after breaker_open_ms. */
#ifndef REDIS_BREAKER_H
#define REDIS_BREAKER_H

#include "common/err.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_HALF_OPEN };

struct breaker; /* shared memory */

int breaker_create(uint32_t failures, uint64_t open_ms, struct breaker **out,
                   struct errmsg *msg) MUST_CHECK;
void breaker_destroy(struct breaker *breaker);

/* May this caller send now? In half-open state a true answer makes it the prober. */
bool breaker_allow(struct breaker *breaker, uint64_t now_ms);
void breaker_success(struct breaker *breaker);
/* A connection failure or a timeout (an error reply is no failure). */
void breaker_failure(struct breaker *breaker, uint64_t now_ms);
enum breaker_state breaker_state(const struct breaker *breaker);
/* Times it went from closed or half-open to open. */
uint64_t breaker_opened(const struct breaker *breaker);

#endif
