#include "proto/proxyhead.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>

/* Version 1: "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n" and the like. */
#define V1_MAX 107

#define V2_HEAD    16 /* signature, version and command, family, length */
#define V2_VERSION 0x20
#define V2_LOCAL   0x0
#define V2_PROXY   0x1
#define V2_TCP4    0x11
#define V2_TCP6    0x21

static const char v2_signature[] = "\r\n\r\n\0\r\nQUIT\n";

#define V2_SIGNATURE_LEN (sizeof(v2_signature) - 1)

static void name4(struct proxyhead *head, const struct in_addr *address, unsigned port)
{
    char text[INET_ADDRSTRLEN] = "";

    inet_ntop(AF_INET, address, text, sizeof(text));
    snprintf(head->peer, sizeof(head->peer), "%s:%u", text, port);
    head->known = true;
}

static void name6(struct proxyhead *head, const struct in6_addr *address, unsigned port)
{
    char text[INET6_ADDRSTRLEN] = "";

    inet_ntop(AF_INET6, address, text, sizeof(text));
    snprintf(head->peer, sizeof(head->peer), "[%s]:%u", text, port);
    head->known = true;
}

/* The word up to the next blank or the end; moves behind the blank. */
static bool take_word(struct slice *line, char out[INET6_ADDRSTRLEN])
{
    size_t len = 0;

    while (len < line->len && line->data[len] != ' ')
        len++;
    if (len == 0 || len >= INET6_ADDRSTRLEN)
        return false;
    memcpy(out, line->data, len);
    out[len] = '\0';
    *line = slice_make(line->data + len, line->len - len);
    if (line->len > 0)
        *line = slice_make(line->data + 1, line->len - 1);
    return true;
}

static bool take_port(struct slice *line, unsigned *port)
{
    char text[INET6_ADDRSTRLEN];
    size_t len;

    if (!take_word(line, text))
        return false;
    len = strlen(text);
    *port = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9' || len > 5 || (text[0] == '0' && len > 1))
            return false;
        *port = *port * 10 + (unsigned)(text[i] - '0');
    }
    return *port <= 65535;
}

/* "TCP4 SOURCE DESTINATION SOURCE-PORT DESTINATION-PORT" */
static bool parse_line(struct slice line, struct proxyhead *head)
{
    char family[INET6_ADDRSTRLEN], from[INET6_ADDRSTRLEN], to[INET6_ADDRSTRLEN];
    struct in6_addr address, target;
    unsigned port, target_port;
    bool six;
    int type;

    if (!take_word(&line, family))
        return false;
    if (strcmp(family, "UNKNOWN") == 0)
        return true;
    six = strcmp(family, "TCP6") == 0;
    type = six ? AF_INET6 : AF_INET;
    if ((!six && strcmp(family, "TCP4") != 0) || !take_word(&line, from) || !take_word(&line, to) ||
        !take_port(&line, &port) || !take_port(&line, &target_port) || line.len > 0 ||
        inet_pton(type, from, &address) != 1 || inet_pton(type, to, &target) != 1)
        return false;
    if (six)
        name6(head, &address, port);
    else
        name4(head, (const struct in_addr *)(const void *)&address, port);
    return true;
}

static enum parse_status parse_v1(struct slice input, size_t *used, struct proxyhead *head)
{
    size_t max = input.len < V1_MAX ? input.len : V1_MAX;
    const char *end = memchr(input.data, '\n', max);
    struct slice line;

    if (end == NULL)
        return max == V1_MAX ? PARSE_INVALID : PARSE_MORE;
    *used = (size_t)(end - input.data) + 1;
    if (*used < 8 || end[-1] != '\r')
        return PARSE_INVALID;
    line = slice_make(input.data + 6, *used - 8);
    return parse_line(line, head) ? PARSE_OK : PARSE_INVALID;
}

static enum parse_status parse_v2(struct slice input, size_t *used, struct proxyhead *head)
{
    const unsigned char *data = (const unsigned char *)input.data;
    struct in6_addr six;
    struct in_addr four;
    size_t len;

    if (input.len < V2_HEAD)
        return PARSE_MORE;
    len = (size_t)data[14] << 8 | data[15];
    if ((data[12] & 0xf0) != V2_VERSION || (data[12] & 0x0f) > V2_PROXY)
        return PARSE_INVALID;
    if (len > PROXYHEAD_MAX - V2_HEAD)
        return PARSE_TOO_LARGE;
    if (input.len < V2_HEAD + len)
        return PARSE_MORE;
    *used = V2_HEAD + len;
    if ((data[12] & 0x0f) == V2_LOCAL)
        return PARSE_OK;
    if (data[13] == V2_TCP4 && len >= 12) {
        memcpy(&four, data + 16, sizeof(four));
        name4(head, &four, (unsigned)data[24] << 8 | data[25]);
    } else if (data[13] == V2_TCP6 && len >= 36) {
        memcpy(&six, data + 16, sizeof(six));
        name6(head, &six, (unsigned)data[48] << 8 | data[49]);
    } else if (data[13] == V2_TCP4 || data[13] == V2_TCP6) {
        return PARSE_INVALID; /* too short for its addresses */
    }
    return PARSE_OK;
}

static bool begins(struct slice input, const char *text, size_t len)
{
    return memcmp(input.data, text, input.len < len ? input.len : len) == 0;
}

enum parse_status proxyhead_parse(struct slice input, size_t *used, struct proxyhead *head)
{
    *used = 0;
    *head = (struct proxyhead){0};
    if (input.len == 0)
        return PARSE_MORE;
    if (begins(input, v2_signature, V2_SIGNATURE_LEN))
        return parse_v2(input, used, head);
    if (begins(input, "PROXY ", 6))
        return parse_v1(input, used, head);
    return PARSE_INVALID;
}
