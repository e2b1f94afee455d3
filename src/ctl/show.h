/* Statistics for people. */
#ifndef CTL_SHOW_H
#define CTL_SHOW_H

#include <jansson.h>
#include <stdio.h>

/* The whole daemon: its state in a few lines, then a table of the caches and their total. */
void show_daemon(const json_t *stats, FILE *out);

/* One cache: every figure on a line of its own. */
void show_cache(json_t *stats, FILE *out);

#endif
