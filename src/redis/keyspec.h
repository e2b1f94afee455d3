/* Which arguments of a command are keys, and which of those it writes: learned from a server's
 * COMMAND (its key specifications, Redis 7: https://redis.io/docs/reference/key-specs/; of older
 * servers the first, last and step). No I/O. */
#ifndef REDIS_KEYSPEC_H
#define REDIS_KEYSPEC_H

#include "common/err.h"
#include "redis/reply.h"

#include <stdbool.h>

#define KEYSPEC_NAME_MAX 48 /* "object|encoding" */
#define KEYSPEC_MAX      6  /* of one command */

enum keyspec_flags {
    KEYSPEC_WRITE = 1,
    KEYSPEC_READONLY = 2,
    KEYSPEC_ADMIN = 4,    /* administers the server */
    KEYSPEC_BLOCKING = 8, /* may keep its connection waiting */
    KEYSPEC_PUBSUB = 16,
    KEYSPEC_UNKNOWN = 32, /* it may have keys at places that are not known */
    KEYSPEC_GROUP = 64,   /* has subcommands with rows of their own */
};

struct keyspec {
    bool writes;
    bool keyword; /* begins behind this word, searched from start on (negative: backwards) */
    bool keynum;  /* a count of keys stands there */
    char word[16];
    int start;         /* argument number */
    int last;          /* range: relative to the first, or negative from the end */
    int step, limit;   /* limit: the last negative one is divided by it */
    int at_num, first; /* keynum: the places of the count and the first key, from the start */
};

struct keyspec_command {
    char name[KEYSPEC_NAME_MAX]; /* lower case; "group|sub" */
    int arity;
    unsigned flags;
    unsigned n_specs;
    struct keyspec specs[KEYSPEC_MAX];
};

struct keyspec_table;

/* From the reply of COMMAND. ERR_INVALID: it is none; ERR_NOMEM. */
int keyspec_learn(const struct reply *reply, struct keyspec_table **out) MUST_CHECK;
void keyspec_free(struct keyspec_table *table);

/* The command, or its subcommand's row; NULL: the server does not know it. */
const struct keyspec_command *keyspec_find(const struct keyspec_table *table, int argc,
                                           const struct slice *argv);

/* Call each() for every key of the command: its argument number, and whether it is written. */
void keyspec_each(const struct keyspec_command *command, int argc, const struct slice *argv,
                  void (*each)(void *arg, int at, bool writes), void *arg);

#endif
