#include "common/addr.h"

#include <stdlib.h>

#include "common/units.h"

#include <arpa/inet.h>
#include <string.h>

#define UNIX_SCHEME "unix:"

const char *addr_unix_path(const char *text)
{
    size_t len = strlen(UNIX_SCHEME);

    return strncmp(text, UNIX_SCHEME, len) == 0 ? text + len : NULL;
}

static int parse_port(const char *text, uint16_t *port)
{
    int64_t value;

    if (units_parse_int(slice_cstr(text), &value) != ERR_OK || value < 1 || value > 65535)
        return ERR_INVALID;
    *port = (uint16_t)value;
    return ERR_OK;
}

int addr_split(const char *text, char host[ADDR_HOST_MAX], uint16_t *port, struct errmsg *msg)
{
    const char *colon = strrchr(text, ':');
    const char *start = text;
    size_t len;

    if (colon == NULL)
        return err_set(msg, ERR_INVALID, "\"%s\" has no port; write HOST:PORT", text);
    if (parse_port(colon + 1, port) != ERR_OK)
        return err_set(msg, ERR_INVALID, "\"%s\": the port must be a number from 1 to 65535", text);
    len = (size_t)(colon - text);
    if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
        start++;
        len -= 2;
    } else if (memchr(text, ':', len) != NULL) {
        return err_set(msg, ERR_INVALID, "\"%s\": an IPv6 address stands in brackets: [::1]:8080",
                       text);
    }
    if (len == 0 || len >= ADDR_HOST_MAX)
        return err_set(msg, ERR_INVALID, "\"%s\": the host must be 1 to %d bytes long", text,
                       ADDR_HOST_MAX - 1);
    memcpy(host, start, len);
    host[len] = '\0';
    return ERR_OK;
}

static int parse_unix(const char *path, struct addr *out, struct errmsg *msg)
{
    size_t len = strlen(path);

    if (len == 0 || len >= sizeof(out->sock.un.sun_path))
        return err_set(msg, ERR_INVALID,
                       "a unix socket's path must be 1 to %zu bytes long, not %zu",
                       sizeof(out->sock.un.sun_path) - 1, len);
    out->sock.un.sun_family = AF_UNIX;
    memcpy(out->sock.un.sun_path, path, len + 1);
    out->len = sizeof(out->sock.un);
    return ERR_OK;
}

int addr_parse(const char *text, struct addr *out, struct errmsg *msg)
{
    const char *path = addr_unix_path(text);
    char host[ADDR_HOST_MAX];
    uint16_t port;
    int rc;

    *out = (struct addr){0};
    if (path != NULL)
        return parse_unix(path, out, msg);
    rc = addr_split(text, host, &port, msg);
    if (rc != ERR_OK)
        return rc;
    if (inet_pton(AF_INET, host, &out->sock.in.sin_addr) == 1) {
        out->sock.in.sin_family = AF_INET;
        out->sock.in.sin_port = htons(port);
        out->len = sizeof(out->sock.in);
        return ERR_OK;
    }
    if (text[0] == '[' && inet_pton(AF_INET6, host, &out->sock.in6.sin6_addr) == 1) {
        out->sock.in6.sin6_family = AF_INET6;
        out->sock.in6.sin6_port = htons(port);
        out->len = sizeof(out->sock.in6);
        return ERR_OK;
    }
    return err_set(
        msg, ERR_INVALID,
        "\"%s\" is no IP address and port; write 127.0.0.1:8080, [::1]:8080 or unix:PATH", text);
}

bool addr_is_unix(const struct addr *addr)
{
    return addr->sock.sa.sa_family == AF_UNIX;
}

bool addr_is_loopback(const struct addr *addr)
{
    const struct in6_addr *in6 = &addr->sock.in6.sin6_addr;

    if (addr->sock.sa.sa_family == AF_INET)
        return ntohl(addr->sock.in.sin_addr.s_addr) >> 24 == 127;
    if (addr->sock.sa.sa_family != AF_INET6)
        return false;
    return IN6_IS_ADDR_LOOPBACK(in6) || (IN6_IS_ADDR_V4MAPPED(in6) && in6->s6_addr[12] == 127);
}

/* An IP literal as 16 bytes, IPv4 mapped into IPv6. False: it is none. */
static bool ip_bytes(const char *text, unsigned char out[16], bool *v4)
{
    static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};

    *v4 = inet_pton(AF_INET, text, out + 12) == 1;
    if (*v4)
        memcpy(out, mapped, sizeof(mapped));
    return *v4 || inet_pton(AF_INET6, text, out) == 1;
}

int addr_in_net(const char *address, const char *net)
{
    unsigned char a[16], n[16];
    char text[INET6_ADDRSTRLEN];
    const char *slash = strchr(net, '/');
    size_t len = slash == NULL ? strlen(net) : (size_t)(slash - net);
    unsigned long bits = 128;
    bool v4, ignored;
    char *end;

    if (len >= sizeof(text))
        return -1;
    memcpy(text, net, len);
    text[len] = '\0';
    if (!ip_bytes(text, n, &v4))
        return -1;
    if (slash != NULL) {
        bits = strtoul(slash + 1, &end, 10);
        if (slash[1] < '0' || slash[1] > '9' || *end != '\0' || bits > (v4 ? 32 : 128))
            return -1;
        bits += v4 ? 96 : 0;
    }
    if (!ip_bytes(address, a, &ignored))
        return 0;
    for (size_t i = 0; i < bits; i++)
        if (((a[i / 8] ^ n[i / 8]) >> (7 - i % 8) & 1) != 0)
            return 0;
    return 1;
}
