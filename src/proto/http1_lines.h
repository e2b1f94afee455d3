/* The lines of a message's head, watched beside llhttp, which lets bare line feeds, folded lines,
 * surplus blanks in the request line and other protocols' names pass in places: other programs on
 * the way may have read them otherwise (RFC 9112 sections 2.2, 3 and 5.2), so they are refused. No
 * allocation. */
#ifndef PROTO_HTTP1_LINES_H
#define PROTO_HTTP1_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zeroed, but for request, at the beginning of each message. */
struct http1_lines {
    bool request;    /* the first line is METHOD SP target SP HTTP/version */
    unsigned blanks; /* in the first line so far */
    unsigned after;  /* bytes behind the second of them */
    uint64_t lines;  /* of the head, ended so far; empty ones before the first do not count */
    size_t line_len; /* of the line that has not ended */
    char last;       /* byte of the head */
    bool done;       /* the empty line that ends the head was seen */
};

/* How many of these bytes of a head are in order: all of them, or those before the first that
 * stands wrong. Bytes behind the head are not looked at. */
size_t http1_lines_scan(struct http1_lines *lines, const char *data, size_t len);

#endif
