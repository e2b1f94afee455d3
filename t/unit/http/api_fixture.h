/* The API over caches in the test's own process: requests as text, responses in parts. */
#ifndef API_FIXTURE_H
#define API_FIXTURE_H

#include "cache_fixture.h"
#include "http/api.h"

struct api_fixture {
    struct cache_fixture caches;
    struct api *api;
    struct http1_parser *parser;
    /* How the next requests come in; api_open() sets an unix socket's. */
    bool local, loopback, admin;
    /* The last response. */
    struct buf text; /* NUL-terminated */
    int status;
    const char *body;
    size_t body_len;
    bool keep_alive;
    bool waited; /* it was answered later */
};

/* As fixture_open(). */
void api_open(struct api_fixture *fixture, size_t n_caches, const char *redis,
              void (*prepare)(struct config *config));
void api_close(struct api_fixture *fixture);

/* Send a whole request and take its response apart. Returns the status. */
int api_ask(struct api_fixture *fixture, const char *bytes, size_t len);
/* METHOD PATH with "Host: localhost" and these header lines (each with its CRLF, or ""); body may
 * be NULL. */
int api_request(struct api_fixture *fixture, const char *method, const char *path,
                const char *headers, const char *body);

/* The value of a response header, in a static buffer; NULL: it is not there. */
const char *api_response_header(const struct api_fixture *fixture, const char *name);

/* Shorthands that fail the test. */
void api_expect(struct api_fixture *fixture, int status, const char *method, const char *path,
                const char *headers, const char *body);
void api_expect_body(const struct api_fixture *fixture, const char *body);
void api_expect_header(const struct api_fixture *fixture, const char *name, const char *value);
/* The body is {"error": "..."} and the sentence contains part. */
void api_expect_error(const struct api_fixture *fixture, const char *part);

#endif
