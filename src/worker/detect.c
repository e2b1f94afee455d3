#include "worker/detect.h"

static bool is_upper(char c)
{
    return c >= 'A' && c <= 'Z';
}

/* Whether text is a beginning of word, or word of it. */
static bool begins_alike(struct slice text, const char *word)
{
    size_t len = strlen(word);

    return memcmp(text.data, word, text.len < len ? text.len : len) == 0;
}

/* Whether the request target after the method can still become, or is, one of RFC 9112 section 3.2:
 * origin form, asterisk form or absolute form. */
static bool is_target(struct slice rest)
{
    if (rest.len == 0)
        return true;
    return rest.data[0] == '/' || rest.data[0] == '*' || begins_alike(rest, "http://") ||
           begins_alike(rest, "https://");
}

/* A whole first line that begins like a request: does it end in an HTTP version? */
static bool ends_in_version(struct slice line)
{
    static const struct slice version = SLICE_LIT(" HTTP/1.1");

    if (line.len > 0 && line.data[line.len - 1] == '\r')
        line.len--;
    if (line.len < version.len)
        return false;
    return memcmp(line.data + line.len - version.len, version.data, version.len - 3) == 0;
}

static enum detect_result detect_http(struct slice text, const char *newline, size_t line_max)
{
    size_t method = 0;

    while (method < text.len && is_upper(text.data[method]))
        method++;
    if (method == text.len)
        return text.len < line_max ? DETECT_MORE : DETECT_MEMCACHED;
    if (method == 0 || text.data[method] != ' ' ||
        !is_target(slice_make(text.data + method + 1, text.len - method - 1)))
        return DETECT_MEMCACHED;
    if (newline == NULL)
        return text.len < line_max ? DETECT_MORE : DETECT_HTTP;
    if (ends_in_version(slice_make(text.data, (size_t)(newline - text.data))))
        return DETECT_HTTP;
    return DETECT_MEMCACHED;
}

/* PING alone on its line, in either case: what a health check types. */
static enum detect_result detect_ping(struct slice text)
{
    static const char ping[] = "ping";
    size_t i;

    for (i = 0; i < 4; i++) {
        if (i == text.len)
            return DETECT_MORE;
        if ((text.data[i] | 0x20) != ping[i])
            return DETECT_MEMCACHED;
    }
    if (i < text.len && text.data[i] == '\r')
        i++;
    if (i == text.len)
        return DETECT_MORE;
    return text.data[i] == '\n' ? DETECT_RESP : DETECT_MEMCACHED;
}

enum detect_result detect_protocol(struct slice input, size_t line_max)
{
    struct slice text = input;
    enum detect_result ping;

    while (text.len > 0 && (text.data[0] == '\r' || text.data[0] == '\n')) {
        text.data++;
        text.len--;
    }
    if (text.len == 0)
        return input.len < line_max ? DETECT_MORE : DETECT_MEMCACHED;
    if (text.data[0] == '*')
        return DETECT_RESP;
    ping = detect_ping(text);
    if (ping == DETECT_RESP || (ping == DETECT_MORE && text.len < line_max))
        return ping;
    return detect_http(text, memchr(text.data, '\n', text.len), line_max);
}
