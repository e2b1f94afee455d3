/* The journal of design rule 2: keys whose last write has an unknown or failed outcome in Redis. In
 * memory shared by fork, one per daemon, bounded, one record a key. While a key is here L2 is not
 * read for it; the master replays each key as UNLINK + publish (never a value) and then removes it.
 * On overflow the cache's whole L2 is distrusted until it has been cleared.
 */
#ifndef SHM_JOURNAL_H
#define SHM_JOURNAL_H

#include "common/err.h"
#include "common/slice.h"

#include <stdbool.h>
#include <stdint.h>

struct journal;

/* capacity: records. key_max: bytes a key, at most 65535. Memory is touched only as records are
 * used. Keys of up to 600 bytes on average fit; with longer ones it is full earlier. */
int journal_create(uint32_t capacity, uint32_t key_max, struct journal **out,
                   struct errmsg *msg) MUST_CHECK;
void journal_destroy(struct journal *journal);

/* owner: the caller's id for the journal's lock, 1..SCOREBOARD_MAX (worker slot + 1; the master
 * SCOREBOARD_MAX). Remember the key. Bounded wait; a full journal marks the cache distrusted
 * instead. Never fails. */
void journal_add(struct journal *journal, uint32_t owner, unsigned cache, struct slice key);

/* The same without the last resort: false when the key could not be recorded. */
bool journal_note(struct journal *journal, uint32_t owner, unsigned cache,
                  struct slice key) MUST_CHECK;

/* Whether L2 must not be read for this key: it is recorded, or its cache is distrusted. One
 * relaxed load when the cache has no record; else a few, without the lock. Very rarely true for a
 * key that is not recorded (equal hashes). cache: below 64. */
bool journal_has(struct journal *journal, unsigned cache, struct slice key);

/* Master only. The oldest recorded key, copied: 1 and *cache, key[0..*key_len), *ticket; 0 when
 * there is none. key: at least key_max bytes. Skips records taken after `after` (a ticket; 0 = from
 * the start). */
int journal_next(struct journal *journal, uint64_t after, unsigned *cache, char *key,
                 size_t *key_len, uint64_t *ticket);

/* Forget a key that has been replayed, unless it was recorded again since (then the ticket
 * differs). Returns whether it was removed. */
bool journal_done(struct journal *journal, uint32_t owner, unsigned cache, struct slice key,
                  uint64_t ticket);

/* Tickets grow with time: the last one given. */
uint64_t journal_ticket(struct journal *journal);
/* Forget the records with a ticket of up to `ticket`, at most max of them; returns how many went.
 * Master only. */
uint32_t journal_trim(struct journal *journal, uint64_t ticket, uint32_t max);

bool journal_distrusted(struct journal *journal, unsigned cache);
void journal_distrust(struct journal *journal, unsigned cache, bool distrusted);
uint32_t journal_count(const struct journal *journal);

/* Free the lock if this dead owner held it, and drop a half-written record. Master only. */
void journal_repair(struct journal *journal, uint32_t owner);

/* Look at everything: index, list, counts and key memory must agree. For tests and `check`; takes
 * the lock. ERR_INVALID and what is wrong; ERR_TIMEOUT when the lock is held. */
int journal_check(struct journal *journal, struct errmsg *msg) MUST_CHECK;

#endif
