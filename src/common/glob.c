#include "common/glob.h"

/* One set, "[...]": reads it from pattern[*p], the byte after the '[', moves *p past its end and
 * says whether c is in it. As in Redis, a set that is never closed ends with the pattern, and the
 * bounds of a range may stand in either order. */
static bool set_has(struct slice pattern, size_t *p, unsigned char c, uint64_t *steps)
{
    const unsigned char *bytes = (const unsigned char *)pattern.data;
    size_t i = *p;
    bool negated = i < pattern.len && bytes[i] == '^';
    bool found = false;

    if (negated)
        i++;
    while (i < pattern.len && bytes[i] != ']') {
        ++*steps;
        if (bytes[i] == '\\' && i + 1 < pattern.len) {
            found |= bytes[i + 1] == c;
            i += 2;
        } else if (i + 2 < pattern.len && bytes[i + 1] == '-') {
            unsigned char a = bytes[i];
            unsigned char b = bytes[i + 2];

            found |= a <= b ? (a <= c && c <= b) : (b <= c && c <= a);
            i += 3;
        } else {
            found |= bytes[i] == c;
            i++;
        }
    }
    *p = i < pattern.len ? i + 1 : i;
    return found != negated;
}

/* One element that is not '*', read from pattern[*p], against one byte; moves *p past it. */
static bool element_matches(struct slice pattern, size_t *p, char c, uint64_t *steps)
{
    char e = pattern.data[*p];

    ++*steps;
    ++*p;
    if (e == '?')
        return true;
    if (e == '[')
        return set_has(pattern, p, (unsigned char)c, steps);
    if (e == '\\' && *p < pattern.len)
        e = pattern.data[(*p)++];
    return e == c;
}

/* Only the last '*' is ever taken back: what an earlier one could swallow, the last one can too. So
 * the elements between two stars are tried at most once for each byte of text. */
bool glob_match_counted(struct slice pattern, struct slice text, uint64_t *steps)
{
    bool starred = false;
    size_t after_star = 0; /* in pattern: the first element after the last '*' */
    size_t retry = 0;      /* in text: where the elements after it are tried next */
    size_t p = 0;
    size_t t = 0;

    while (t < text.len) {
        if (p < pattern.len && pattern.data[p] == '*') {
            starred = true;
            after_star = ++p;
            retry = t;
            if (p == pattern.len)
                return true;
        } else if (p < pattern.len && element_matches(pattern, &p, text.data[t], steps)) {
            t++;
        } else if (starred) {
            p = after_star;
            t = ++retry;
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.data[p] == '*')
        p++;
    return p == pattern.len;
}

bool glob_match(struct slice pattern, struct slice text)
{
    uint64_t steps = 0;

    return glob_match_counted(pattern, text, &steps);
}

int glob_escape(struct slice text, struct buf *out)
{
    size_t plain = 0; /* start of the bytes not yet appended */
    int rc = ERR_OK;

    for (size_t i = 0; i < text.len && rc == ERR_OK; i++) {
        if (text.data[i] == '\0' || strchr("*?[]\\", text.data[i]) == NULL)
            continue;
        rc = buf_append(out, text.data + plain, i - plain);
        if (rc == ERR_OK)
            rc = buf_append(out, "\\", 1);
        plain = i;
    }
    if (rc != ERR_OK || text.len == 0)
        return rc;
    return buf_append(out, text.data + plain, text.len - plain);
}
