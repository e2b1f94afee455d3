#include "api_fixture.h"

#include <check.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

static char *unconst(const char *text)
{
    return (char *)(uintptr_t)text;
}

static void (*prepare_more)(struct config *config);

static void prepare_all(struct config *config)
{
    config->api_hosts[0] = unconst("cache.example");
    config->n_api_hosts = 1;
    if (prepare_more != NULL)
        prepare_more(config);
}

void api_open(struct api_fixture *fixture, size_t n_caches, const char *redis,
              void (*prepare)(struct config *config))
{
    static const struct http1_limits limits = {
        .line_bytes = 8192, .header_bytes = 32768, .header_count = 100, .body_bytes = 16u << 20};

    *fixture = (struct api_fixture){.local = true};
    prepare_more = prepare;
    fixture_open(&fixture->caches, n_caches, redis, prepare_all);
    ck_assert_int_eq(api_create(fixture->caches.caches, &fixture->caches.heritage, &fixture->api),
                     ERR_OK);
    fixture->parser = http1_parser_create(&limits);
    ck_assert_ptr_nonnull(fixture->parser);
}

void api_close(struct api_fixture *fixture)
{
    api_destroy(fixture->api);
    http1_parser_destroy(fixture->parser);
    buf_fini(&fixture->text);
    fixture_close(&fixture->caches);
}

struct exchange {
    struct api_exchange api;
    bool done;
};

static void on_done(struct api_exchange *api)
{
    ((struct exchange *)(void *)api)->done = true;
}

/* Take fixture->text apart; what it says about its length must be true. */
static void dissect(struct api_fixture *fixture, bool head)
{
    const char *text, *length;
    char *end;

    ck_assert_uint_gt(buf_len(&fixture->text), 0);
    ck_assert_int_eq(buf_append(&fixture->text, "", 1), ERR_OK);
    text = buf_head(&fixture->text);
    ck_assert_int_eq(sscanf(text, "HTTP/1.1 %d ", &fixture->status), 1);
    end = strstr(text, "\r\n\r\n");
    ck_assert_ptr_nonnull(end);
    fixture->body = end + 4;
    fixture->body_len = buf_len(&fixture->text) - 1 - (size_t)(fixture->body - text);
    length = api_response_header(fixture, "Content-Length");
    if (fixture->status == 204 || fixture->status == 304)
        ck_assert_ptr_null(length);
    else if (!head)
        ck_assert_uint_eq(strtoull(length, NULL, 10), fixture->body_len);
    if (fixture->status == 204 || fixture->status == 304 || head)
        ck_assert_uint_eq(fixture->body_len, 0);
    ck_assert_int_eq(fixture->keep_alive,
                     api_response_header(fixture, "Connection") == NULL ||
                         strcmp(api_response_header(fixture, "Connection"), "close") != 0);
}

int api_ask(struct api_fixture *fixture, const char *bytes, size_t len)
{
    struct exchange exchange = {.api = {.out = &fixture->text,
                                        .local = fixture->local,
                                        .loopback = fixture->loopback,
                                        .admin = fixture->admin,
                                        .done = on_done}};
    const struct http1_request *request;
    bool head;
    size_t used;

    buf_truncate(&fixture->text, 0);
    ck_assert_int_eq(http1_parse(fixture->parser, slice_make(bytes, len), &used, &request),
                     PARSE_OK);
    ck_assert_uint_eq(used, len);
    head = request->method == HTTP1_HEAD;
    exchange.api.keep_alive = request->keep_alive;
    fixture->waited = api_handle(fixture->api, request, &exchange.api) == API_PENDING;
    /* The request is borrowed for the call only. */
    http1_parser_reset(fixture->parser);
    if (fixture->waited) {
        ck_assert_uint_eq(buf_len(&fixture->text), 0);
        while (!exchange.done)
            uv_run(&fixture->caches.loop, UV_RUN_ONCE);
    }
    ck_assert_int_eq(exchange.done, fixture->waited);
    fixture->keep_alive = exchange.api.keep_alive;
    dissect(fixture, head);
    return fixture->status;
}

int api_request(struct api_fixture *fixture, const char *method, const char *path,
                const char *headers, const char *body)
{
    struct buf text = {0};
    int status, rc;

    rc = buf_printf(&text, "%s %s HTTP/1.1\r\nHost: localhost\r\n%s", method, path, headers);
    if (rc == ERR_OK && body != NULL)
        rc = buf_printf(&text, "Content-Length: %zu\r\n", strlen(body));
    if (rc == ERR_OK)
        rc = buf_printf(&text, "\r\n%s", body == NULL ? "" : body);
    ck_assert_int_eq(rc, ERR_OK);
    status = api_ask(fixture, buf_head(&text), buf_len(&text));
    buf_fini(&text);
    return status;
}

const char *api_response_header(const struct api_fixture *fixture, const char *name)
{
    static char value[512];
    const char *line = buf_head(&fixture->text);
    size_t len = strlen(name);

    while ((line = strstr(line, "\r\n")) != NULL && strncmp(line, "\r\n\r\n", 4) != 0) {
        line += 2;
        if (strncmp(line, name, len) != 0 || strncmp(line + len, ": ", 2) != 0)
            continue;
        snprintf(value, sizeof(value), "%.*s", (int)strcspn(line + len + 2, "\r"), line + len + 2);
        return value;
    }
    return NULL;
}

void api_expect(struct api_fixture *fixture, int status, const char *method, const char *path,
                const char *headers, const char *body)
{
    int got = api_request(fixture, method, path, headers, body);

    ck_assert_msg(got == status, "%s %s: %d instead of %d: %s", method, path, got, status,
                  fixture->body);
}

void api_expect_body(const struct api_fixture *fixture, const char *body)
{
    ck_assert_str_eq(fixture->body, body);
}

void api_expect_header(const struct api_fixture *fixture, const char *name, const char *value)
{
    const char *got = api_response_header(fixture, name);

    ck_assert_msg(got != NULL, "there is no %s", name);
    ck_assert_str_eq(got, value);
}

void api_expect_error(const struct api_fixture *fixture, const char *part)
{
    json_t *json = json_loads(fixture->body, 0, NULL);
    const char *error = json_string_value(json_object_get(json, "error"));

    ck_assert_msg(error != NULL && strstr(error, part) != NULL, "\"%s\" is not in %s", part,
                  fixture->body);
    api_expect_header(fixture, "Content-Type", "application/json");
    json_decref(json);
}
