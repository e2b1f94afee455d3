/* The parts of HTTP/1 that are plain text work: looking into a request, escapes, response heads. */
#include "proto/http1.h"

#include "common/clock.h"

#include <stdio.h>
#include <time.h>

struct slice http1_header(const struct http1_request *request, const char *name)
{
    for (size_t i = 0; i < request->n_headers; i++)
        if (slice_ieq(request->headers[i].name, name))
            return request->headers[i].value;
    return slice_make(NULL, 0);
}

struct slice http1_query(const struct http1_request *request, const char *name)
{
    const char *p = request->query.data;
    const char *end = p + request->query.len;
    size_t name_len = strlen(name);

    while (p < end) {
        const char *amp = memchr(p, '&', (size_t)(end - p));
        const char *stop = amp == NULL ? end : amp;
        size_t len = (size_t)(stop - p);

        if (len >= name_len && memcmp(p, name, name_len) == 0) {
            if (len == name_len)
                return slice_make(stop, 0);
            if (p[name_len] == '=')
                return slice_make(p + name_len + 1, len - name_len - 1);
        }
        p = stop + 1;
    }
    return slice_make(NULL, 0);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int http1_decode(struct slice text, bool plus_is_space, struct buf *out)
{
    size_t before = buf_len(out);
    char *to = buf_reserve(out, text.len + 1); /* decoding never lengthens */
    size_t len = 0;

    if (to == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];

        if (c == '%') {
            if (text.len - i < 3 || hex_digit(text.data[i + 1]) < 0 ||
                hex_digit(text.data[i + 2]) < 0) {
                buf_truncate(out, before);
                return ERR_INVALID;
            }
            c = (char)(hex_digit(text.data[i + 1]) * 16 + hex_digit(text.data[i + 2]));
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        to[len++] = c;
    }
    buf_commit(out, len);
    return ERR_OK;
}

const char *http1_reason(int status)
{
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {
        {100, "Continue"},
        {200, "OK"},
        {201, "Created"},
        {204, "No Content"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {417, "Expectation Failed"},
        {421, "Misdirected Request"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
    };

    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "Unknown";
}

void http1_date(uint64_t wall_ms, char out[HTTP1_DATE_LEN + 1])
{
    /* Written here because strftime's names follow the locale. */
    static const char days[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t seconds = (time_t)(wall_ms / 1000);
    char text[64];
    struct tm tm;

    gmtime_r(&seconds, &tm);
    snprintf(text, sizeof(text), "%s, %02d %s %04d %02d:%02d:%02d GMT", days[tm.tm_wday],
             tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
    memcpy(out, text, HTTP1_DATE_LEN);
    out[HTTP1_DATE_LEN] = '\0';
}

/* The Date of this second, formatted once a second. */
static const char *date_now(void)
{
    static uint64_t shown_s;
    static char text[HTTP1_DATE_LEN + 1];
    uint64_t now_ms = clock_wall_ms();

    if (now_ms / 1000 != shown_s) {
        http1_date(now_ms, text);
        shown_s = now_ms / 1000;
    }
    return text;
}

int http1_response(struct buf *out, int status, struct slice headers, int64_t content_length,
                   bool keep_alive)
{
    char length[48] = "";

    if (content_length >= 0)
        snprintf(length, sizeof(length), "Content-Length: %lld\r\n", (long long)content_length);
    return buf_printf(out, "HTTP/1.1 %d %s\r\nDate: %s\r\n%.*s%s%s\r\n", status,
                      http1_reason(status), date_now(), (int)headers.len,
                      headers.len == 0 ? "" : headers.data, length,
                      keep_alive ? "" : "Connection: close\r\n");
}
