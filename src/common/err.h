/* Failures, one negative enum for the whole program, and a message for the person who must act.
 *
 * Expected outcomes (a miss, a full slab, a parser that wants more bytes) have enums of their own
 * beside the function that returns them; this enum is for what should not have happened.
 */
#ifndef COMMON_ERR_H
#define COMMON_ERR_H

#include <stdarg.h>

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

enum err {
    ERR_OK = 0,
    ERR_NOMEM = -1,    /* the process or the machine has no memory left */
    ERR_SYSTEM = -2,   /* a system call failed; errno is in the message */
    ERR_INVALID = -3,  /* the caller's input is wrong; the message says what and where */
    ERR_LIMIT = -4,    /* a configured limit was reached; the message names it */
    ERR_TIMEOUT = -5,  /* a deadline passed; the outcome may be unknown */
    ERR_DOWN = -6,     /* the other side is not reachable; nothing was done */
    ERR_PROTOCOL = -7, /* the other side sent what its protocol does not allow */
    ERR_LOST = -8,     /* the connection ended with the command unanswered: outcome unknown */
    ERR_REMOTE = -9,   /* the other side answered with an error of its own */
};

/* A sentence for people: filled by the function that failed, printed once by whoever handles it. */
struct errmsg {
    char text[512];
};

/* Write a formatted sentence into msg (NULL is allowed and ignored); returns code, so that
 * `return err_set(msg, ERR_INVALID, "...")` reads as one thing. */
int err_set(struct errmsg *msg, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* As err_set, with ": strerror(errno)" appended; returns ERR_SYSTEM. Keeps errno. */
int err_set_errno(struct errmsg *msg, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* The name of a code, such as "timeout"; "unknown" outside the enum. Static storage. */
const char *err_name(int code);

#endif
