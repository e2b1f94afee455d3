/* Composing responses. */
#include "http/api_impl.h"

#include "common/log.h"

#include <stdio.h>
#include <stdlib.h>

/* On every response: nothing that comes from a cache is to be interpreted by a browser as part of a
 * site. */
static const char safety[] =
    "X-Content-Type-Options: nosniff\r\nContent-Security-Policy: sandbox\r\n";

void api_header(struct api_call *call, const char *fmt, ...)
{
    struct buf *headers = &call->api->headers;
    char line[512];
    va_list args;
    int len;

    va_start(args, fmt);
    len = vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);
    if (len < 0 || (size_t)len >= sizeof(line) ||
        buf_append(headers, line, (size_t)len) != ERR_OK ||
        buf_append(headers, "\r\n", 2) != ERR_OK)
        call->no_memory = true;
}

void api_send(struct api_call *call, int status, struct slice body)
{
    struct api_exchange *exchange = call->exchange;
    struct buf *headers = &call->api->headers;
    size_t before = buf_len(exchange->out);
    bool empty = status == 204 || status == 304;
    int rc = call->no_memory ? ERR_NOMEM : buf_append(headers, safety, sizeof(safety) - 1);

    if (call->http10 && exchange->keep_alive)
        api_header(call, "Connection: keep-alive");
    if (rc == ERR_OK)
        rc = http1_response(exchange->out, status, buf_slice(headers),
                            empty ? -1 : (int64_t)body.len, exchange->keep_alive);
    if (rc == ERR_OK && !empty && !call->head)
        rc = buf_append(exchange->out, body.data, body.len);
    buf_truncate(headers, 0);
    if (rc == ERR_OK && !call->no_memory)
        return;
    buf_truncate(exchange->out, before);
    exchange->keep_alive = false;
    log_warn("a response was not sent: no memory for it");
}

void api_send_json(struct api_call *call, int status, json_t *json)
{
    char *text = json == NULL ? NULL : json_dumps(json, JSON_COMPACT);

    json_decref(json);
    if (text == NULL) {
        api_send(call, 500, slice_make("", 0));
        return;
    }
    api_header(call, "Content-Type: application/json");
    api_header(call, "Cache-Control: no-store");
    api_send(call, status, slice_cstr(text));
    free(text);
}

void api_send_error(struct api_call *call, int status, const char *fmt, ...)
{
    char text[512];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    for (char *p = text; *p != '\0'; p++)
        if (*p < ' ' || *p > '~')
            *p = '?';
    api_send_json(call, status, json_pack("{s:s}", "error", text));
}

static int http_status(enum cache_status status)
{
    switch (status) {
    case CACHE_MISS:
        return 404;
    case CACHE_NOT_INTEGER:
    case CACHE_OVERFLOW:
        return 409;
    case CACHE_TOO_LARGE:
        return 413;
    case CACHE_FULL:
        return 507;
    case CACHE_DOWN:
    case CACHE_BUSY:
        return 503;
    case CACHE_TIMEOUT:
        return 504;
    case CACHE_REMOTE:
        return 502;
    case CACHE_REFUSED:
        return 501;
    default:
        return 500;
    }
}

void api_send_failure(struct api_call *call, enum cache_status status)
{
    int code = http_status(status);

    if (code == 503)
        api_header(call, "Retry-After: 1");
    if (status == CACHE_TOO_LARGE)
        api_send_error(call, code, "the value is over limits.value (%llu bytes for this cache)",
                       (unsigned long long)api_value_max(call->api, call->cache));
    else
        api_send_error(call, code, "%s",
                       call->op.error[0] != '\0' ? call->op.error
                                                 : cache_status_text(call->cache, status));
}

void api_send_allow(struct api_call *call, const char *methods)
{
    bool options = call->request->method == HTTP1_OPTIONS;

    api_header(call, "Allow: %s", methods);
    if (options)
        api_send(call, 204, slice_make("", 0));
    else
        api_send_error(call, 405, "this resource takes %s", methods);
}

int api_refuse(struct buf *out, int status, const char *why)
{
    static const char type[] = "Content-Type: application/json\r\n";
    json_t *json = json_pack("{s:s}", "error", why);
    char *text = json == NULL ? NULL : json_dumps(json, JSON_COMPACT);
    struct slice body = text == NULL ? slice_make("", 0) : slice_cstr(text);
    int rc = http1_response(out, status, slice_cstr(type), (int64_t)body.len, false);

    if (rc == ERR_OK)
        rc = buf_append(out, body.data, body.len);
    free(text);
    json_decref(json);
    return rc;
}
