#include "proto/http1_lines.h"

/* One blank between the three parts, none around them, and the third begins with "HTTP/". */
static bool request_line_byte(struct http1_lines *lines, char c)
{
    static const char protocol[] = "HTTP/";

    if (c == '\t')
        return false;
    if (c == ' ') {
        bool first = lines->line_len == 0;

        return !first && lines->last != ' ' && ++lines->blanks <= 2;
    }
    if (c == '\r')
        return lines->last != ' ';
    if (lines->blanks == 2 && lines->after < sizeof(protocol) - 1)
        return c == protocol[lines->after++];
    return true;
}

static bool scan_byte(struct http1_lines *lines, char c)
{
    bool pair = lines->last == '\r';

    if ((c == '\n') != pair)
        return false;
    if (lines->line_len == 0 && lines->lines > 0 && (c == ' ' || c == '\t'))
        return false;
    if (lines->request && lines->lines == 0 && c != '\n' && !request_line_byte(lines, c))
        return false;
    lines->last = c;
    if (c != '\n') {
        lines->line_len++;
        return true;
    }
    if (lines->line_len > 1) /* not only the CR */
        lines->lines++;
    else if (lines->lines > 0)
        lines->done = true;
    lines->line_len = 0;
    return true;
}

size_t http1_lines_scan(struct http1_lines *lines, const char *data, size_t len)
{
    for (size_t i = 0; i < len && !lines->done; i++)
        if (!scan_byte(lines, data[i]))
            return i;
    return len;
}
