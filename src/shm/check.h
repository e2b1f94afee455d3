/* The whole-zone validator: every structural rule of layout.h, checked. */
#ifndef SHM_CHECK_H
#define SHM_CHECK_H

#include "shm/zone.h"

struct check_report {
    uint64_t entries; /* reachable through the table */
    uint64_t bytes;
    uint64_t problems; /* 0 = clean */
    char first[256];   /* the first problem, in words */
};

/* Check everything. live: other processes are writing; each stripe is locked for its check and
 * only rules that hold at every instant count. Not live: also totals, slab accounting, no odd
 * version, no lock held, no owner's leftovers. Returns ERR_OK and the report (problems may be > 0),
 * or ERR_TIMEOUT when a stripe could not be locked (report->first says by whom). */
int check_zone(struct zone *zone, bool live, struct check_report *report) MUST_CHECK;

/* The same for stripes [first, first + n) only, added to the report: a live check in steps. */
int check_stripes(struct zone *zone, unsigned first, unsigned n,
                  struct check_report *report) MUST_CHECK;

#endif
