/* What the parts of the configuration share: a configuration in the making, and where each value in
 * it came from, so that every complaint names its place. For src/common/config*.c only.
 *
 * The loader (config.c) makes the defaults, the reader (config_reader.c) fills in a file, the
 * checker (config_check.c) completes and judges the whole; config_value.c turns text into values
 * and back.
 */
#ifndef COMMON_CONFIG_PARTS_H
#define COMMON_CONFIG_PARTS_H

#include "common/config.h"

/* Elements of a scope at most; single groups have one. */
#define CONFIG_MAX_ELEMENTS CONFIG_MAX_CACHES

/* Where a value came from. file NULL: nobody said anything, it is the default. */
struct config_place {
    const char *file; /* a file's name, or a flag such as "--memory" */
    unsigned line;    /* 0: no line */
};

struct config_work {
    struct config *config;
    struct config_place *places; /* of row r in element e: [e * n_rows + r] */
    struct config_place elements[SCOPE_LISTS][CONFIG_MAX_ELEMENTS]; /* of a list's whole elements */
    struct config_file *file; /* the reader's; places point into it */
    struct errmsg *msg;
};

/* Whether a scope is a list of groups; how many there are, and may be. */
bool config_scope_is_list(enum config_scope scope);
size_t *config_count(struct config *config, enum config_scope scope, size_t *limit);

/* The row with this key; NULL when there is none. */
const struct config_row *config_row_find(enum config_scope scope, const char *name);
/* The struct that holds a scope's values. */
void *config_base(struct config *config, enum config_scope scope, size_t element);
struct config_place *config_place(struct config_work *work, const struct config_row *row,
                                  size_t element);
/* Of a listener or a cache as a whole: where its "{" stands. */
struct config_place *config_element_place(struct config_work *work, enum config_scope scope,
                                          size_t element);

/* Append an element with every default. ERR_LIMIT without a message when there are too many. */
int config_add(struct config_work *work, enum config_scope scope) MUST_CHECK;

/* Write "PLACE: KEY: " and the sentence into work->msg; returns ERR_INVALID. row NULL: the element
 * as a whole. */
int config_fault(struct config_work *work, enum config_scope scope, const struct config_row *row,
                 size_t element, const char *fmt, ...) PRINTF_LIKE(5, 6);
int config_fault_at(struct config_work *work, struct config_place place, const char *key,
                    const char *fmt, ...) PRINTF_LIKE(4, 5);

/* "redis.pool_size", "caches.memory", "workers"; row NULL: "caches". */
struct config_key {
    char text[80];
};
struct config_key config_key(enum config_scope scope, const struct config_row *row);

/* Set a value in base (config_base()). ERR_INVALID with a sentence in why: what is wrong with the
 * value and how to write it, its limits with their unit; ERR_NOMEM. */
int config_set_text(const struct config_row *row, void *base, const char *text,
                    struct errmsg *why) MUST_CHECK;
int config_set_int(const struct config_row *row, void *base, int64_t value,
                   struct errmsg *why) MUST_CHECK;
void config_set_bool(const struct config_row *row, void *base, bool value);
/* Append to a list of strings. */
int config_add_string(const struct config_row *row, void *base, const char *text,
                      struct errmsg *why) MUST_CHECK;

/* How a value of this type is written, for messages: "a quoted size such as \"64K\"". */
const char *config_type_hint(enum config_type type);

/* Print a row's value as the file would write it, quotes included. */
void config_print_value(const struct config_row *row, const void *base, FILE *out);
/* Print a string with its quotes and escapes. */
void config_print_string(const char *text, FILE *out);
/* A number in the row's unit as the file would write it, without quotes: "64K", "10s", "5". */
void config_format_number(const struct config_row *row, int64_t value, char out[32]);

/* Free what a scope's struct owns through its rows. */
void config_clear_values(enum config_scope scope, void *base);

/* config_reader.c. Read path into work->config; work->file must be closed after the checks. */
int config_file_read(struct config_work *work, const char *path) MUST_CHECK;
void config_file_close(struct config_file *file);

/* config_check.c. Complete what depends on other values, read the secrets' files, judge the whole.
 */
int config_complete(struct config_work *work) MUST_CHECK;
/* The first line of a secret's file, without its end; *secret is the caller's. */
int config_read_secret(struct config_work *work, enum config_scope scope, const char *key,
                       size_t element, const char *path, char **secret) MUST_CHECK;

/* config_routes.c. The caches are complete. */
int config_check_route(struct config_work *work, size_t route) MUST_CHECK;

/* config_users.c. The caches are complete. */
int config_complete_users(struct config_work *work) MUST_CHECK;
int config_complete_trust(struct config_work *work, size_t listener) MUST_CHECK;

#endif
