/* Soft purges of a cache's pages by pattern and by tag, in memory shared by every process: pages
 * that were stored before one are to be asked about, and may be served while nobody answers.
 * Readers compare a page's time with the newest purge: one load while there has been none since.
 *
 * Patterns stand in a ring; the one that is overwritten leaves its time behind, and every page
 * from before it counts as purged, which is safe. Tags are a hashed table of times; two in one
 * place purge each other's pages, which is safe too. No locks: a process killed in the middle of
 * writing a pattern leaves a record without a time, which says nothing. */
#ifndef SHM_SOFT_H
#define SHM_SOFT_H

#include "common/err.h"
#include "common/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SOFT_PATTERN_MAX 240

struct soft;

/* n caches' places, shared with every process forked later. */
int soft_create(size_t n, struct soft **out, struct errmsg *msg) MUST_CHECK;
void soft_destroy(struct soft *list, size_t n);
struct soft *soft_at(struct soft *list, size_t i);

/* wall_ms: now. A pattern is a glob for keys. False: it is too long. */
bool soft_purge_pattern(struct soft *soft, struct slice pattern, uint64_t wall_ms);
void soft_purge_tag(struct soft *soft, struct slice tag, uint64_t wall_ms);

/* Whether a page stored at that time has been purged since. tags: its words, between blanks and
 * commas. */
bool soft_purged(const struct soft *soft, struct slice key, struct slice tags, uint64_t stored_ms);

#endif
