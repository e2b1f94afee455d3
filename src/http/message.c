#include "http/message.h"

#include "common/glob.h"

#include <stdlib.h>

#define PARAMETERS_MAX 128 /* that are sorted; a longer query stays as it is */

bool message_is_hop(struct fields fields, struct slice name)
{
    static const char *const names[] = {"connection",
                                        "keep-alive",
                                        "proxy-authenticate",
                                        "proxy-authentication-info",
                                        "proxy-authorization",
                                        "proxy-connection",
                                        "te",
                                        "trailer",
                                        "transfer-encoding",
                                        "upgrade"};
    struct field_walk walk = field_walk(fields, "connection");
    struct slice element;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (slice_ieq(name, names[i]))
            return true;
    while (field_next(&walk, &element))
        if (element.len == name.len && strncasecmp(element.data, name.data, name.len) == 0)
            return true;
    return false;
}

int message_line(struct buf *out, struct slice name, struct slice value)
{
    char *to = buf_reserve(out, name.len + value.len + 4);

    if (to == NULL)
        return ERR_NOMEM;
    memcpy(to, name.data, name.len);
    to += name.len;
    *to++ = ':';
    *to++ = ' ';
    if (value.len > 0)
        memcpy(to, value.data, value.len);
    to += value.len;
    *to++ = '\r';
    *to++ = '\n';
    buf_commit(out, name.len + value.len + 4);
    return ERR_OK;
}

static bool is_host_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-' || c == '_';
}

bool message_host_valid(struct slice text)
{
    size_t i = 0, digits = 0;

    if (text.len > 0 && text.data[0] == '[') {
        for (i = 1; i < text.len && text.data[i] != ']'; i++)
            if (text.data[i] != ':' && !is_host_char(text.data[i]))
                return false;
        if (i++ >= text.len)
            return false;
    } else {
        while (i < text.len && is_host_char(text.data[i]))
            i++;
    }
    if (i == 0)
        return false;
    if (i == text.len)
        return true;
    if (text.data[i++] != ':')
        return false;
    for (; i < text.len; i++, digits++)
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
    return digits <= 5;
}

static int append_host(struct slice host, bool https, struct buf *key)
{
    struct slice port = https ? SLICE_LIT(":443") : SLICE_LIT(":80");
    char *to;

    if (host.len > port.len && memcmp(host.data + host.len - port.len, port.data, port.len) == 0)
        host.len -= port.len;
    else if (host.len > 1 && host.data[host.len - 1] == ':')
        host.len--;
    to = buf_reserve(key, host.len);
    if (to == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < host.len; i++)
        to[i] =
            host.data[i] >= 'A' && host.data[i] <= 'Z' ? (char)(host.data[i] | 0x20) : host.data[i];
    buf_commit(key, host.len);
    return ERR_OK;
}

static bool next_parameter(struct slice *query, struct slice *parameter)
{
    const char *end;
    size_t len, taken;

    if (query->len == 0)
        return false;
    end = memchr(query->data, '&', query->len);
    len = end == NULL ? query->len : (size_t)(end - query->data);
    taken = end == NULL ? len : len + 1;
    *parameter = slice_make(query->data, len);
    *query = slice_make(query->data + taken, query->len - taken);
    return true;
}

static bool is_named(struct slice parameter, char *const *globs, size_t n)
{
    const char *equals = memchr(parameter.data, '=', parameter.len);
    struct slice name = parameter;

    if (equals != NULL)
        name.len = (size_t)(equals - parameter.data);
    for (size_t i = 0; i < n; i++)
        if (glob_match(slice_cstr(globs[i]), name))
            return true;
    return false;
}

static bool counts(struct slice parameter, const struct message_query *how)
{
    return (how->n_keep == 0 || is_named(parameter, how->keep, how->n_keep)) &&
           !is_named(parameter, how->ignore, how->n_ignore);
}

bool message_has_parameter(struct slice query, char *const *globs, size_t n)
{
    struct slice parameter;

    while (n > 0 && next_parameter(&query, &parameter))
        if (is_named(parameter, globs, n))
            return true;
    return false;
}

static int compare(const void *a, const void *b)
{
    const struct slice *x = a, *y = b;
    size_t len = x->len < y->len ? x->len : y->len;
    int order = memcmp(x->data, y->data, len);

    return order != 0 ? order : (x->len > y->len) - (x->len < y->len);
}

static int append_query(struct slice query, const struct message_query *how, struct buf *key)
{
    static const struct message_query as_it_is = {0};
    struct slice list[PARAMETERS_MAX];
    struct slice rest = query;
    size_t n = 0;
    int status = ERR_OK;

    if (how->n_keep == 0 && how->n_ignore == 0 && !how->sort) {
        status = buf_append(key, "?", 1);
        return status == ERR_OK ? buf_append(key, query.data, query.len) : status;
    }
    while (n < PARAMETERS_MAX && next_parameter(&rest, &list[n]))
        n += counts(list[n], how);
    if (n == PARAMETERS_MAX)
        return append_query(query, &as_it_is, key);
    if (how->sort)
        qsort(list, n, sizeof(list[0]), compare);
    for (size_t i = 0; i < n && status == ERR_OK; i++) {
        status = buf_append(key, i == 0 ? "?" : "&", 1);
        if (status == ERR_OK)
            status = buf_append(key, list[i].data, list[i].len);
    }
    return status;
}

bool message_page_of(struct slice url, struct message_page *page)
{
    size_t scheme = 7;
    const char *slash, *mark;

    *page =
        (struct message_page){.https = url.len > 8 && strncasecmp(url.data, "https://", 8) == 0};
    if (page->https)
        scheme = 8;
    else if (url.len < 8 || strncasecmp(url.data, "http://", 7) != 0)
        return false;
    url = slice_make(url.data + scheme, url.len - scheme);
    slash = memchr(url.data, '/', url.len);
    if (slash == NULL)
        return false;
    page->host = slice_make(url.data, (size_t)(slash - url.data));
    page->path = slice_make(slash, url.len - page->host.len);
    mark = memchr(page->path.data, '?', page->path.len);
    if (mark != NULL) {
        page->query = slice_make(mark + 1, page->path.len - (size_t)(mark - page->path.data) - 1);
        page->path.len = (size_t)(mark - page->path.data);
    }
    return message_host_valid(page->host);
}

int message_key(const struct message_page *page, const struct message_query *how, struct buf *key)
{
    int status = page->https ? buf_append(key, "https://", 8) : buf_append(key, "http://", 7);

    if (status == ERR_OK)
        status = append_host(page->host, page->https, key);
    if (status == ERR_OK)
        status = buf_append(key, page->path.data, page->path.len);
    if (status == ERR_OK && page->query.data != NULL)
        status = append_query(page->query, how, key);
    return status;
}
