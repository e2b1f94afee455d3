#include "common/units.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct unit {
    const char *suffix;
    uint64_t factor;
};

/* Largest first: formatting takes the first one that divides. */
static const struct unit size_units[] = {
    {"T", UINT64_C(1) << 40},
    {"G", UINT64_C(1) << 30},
    {"M", UINT64_C(1) << 20},
    {"K", UINT64_C(1) << 10},
    {"", 1},
};

static const struct unit time_units[] = {
    {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1},
};

#define N_UNITS(table) (sizeof(table) / sizeof((table)[0]))

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Digits without a leading zero (010 would be read as 8 by some and 10 by others), up to int64. */
static int parse_number(const char **text, uint64_t *number)
{
    const char *p = *text;
    int64_t n = 0;

    if (!is_digit(p[0]) || (p[0] == '0' && is_digit(p[1])))
        return ERR_INVALID;
    for (; is_digit(*p); p++)
        if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, *p - '0', &n))
            return ERR_INVALID;
    *text = p;
    *number = (uint64_t)n;
    return ERR_OK;
}

static int scale(uint64_t number, const char *suffix, const struct unit *units, size_t n_units,
                 uint64_t *value)
{
    int64_t product;

    for (size_t i = 0; i < n_units; i++) {
        if (strcmp(suffix, units[i].suffix) != 0)
            continue;
        if (__builtin_mul_overflow(number, units[i].factor, &product))
            return ERR_INVALID;
        *value = (uint64_t)product;
        return ERR_OK;
    }
    return ERR_INVALID;
}

int units_parse_size(const char *text, uint64_t *bytes)
{
    char suffix[2] = "";
    uint64_t number;

    if (parse_number(&text, &number) != ERR_OK)
        return ERR_INVALID;
    if (text[0] != '\0' && text[0] != 'B')
        suffix[0] = *text++;
    if (text[0] == 'B')
        text++;
    if (text[0] != '\0')
        return ERR_INVALID;
    return scale(number, suffix, size_units, N_UNITS(size_units), bytes);
}

int units_parse_time(const char *text, uint64_t *ms)
{
    uint64_t number;

    if (parse_number(&text, &number) != ERR_OK)
        return ERR_INVALID;
    if (number == 0 && text[0] == '\0') {
        *ms = 0;
        return ERR_OK;
    }
    return scale(number, text, time_units, N_UNITS(time_units), ms);
}

int units_parse_mode(const char *text, uint32_t *mode)
{
    uint32_t value = 0;
    size_t len = strlen(text);

    if (text[0] != '0' || len > strlen("07777"))
        return ERR_INVALID;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '7')
            return ERR_INVALID;
        value = value * 8 + (uint32_t)(text[i] - '0');
    }
    *mode = value;
    return ERR_OK;
}

int units_parse_int(struct slice text, int64_t *value)
{
    bool negative = text.len > 0 && text.data[0] == '-';
    size_t i = negative ? 1 : 0;
    int64_t n = 0;

    if (i == text.len)
        return ERR_INVALID;
    if (text.data[i] == '0' && text.len > 1)
        return ERR_INVALID;
    /* Counted downwards, since INT64_MIN has no positive counterpart. */
    for (; i < text.len; i++)
        if (!is_digit(text.data[i]) || __builtin_mul_overflow(n, 10, &n) ||
            __builtin_sub_overflow(n, text.data[i] - '0', &n))
            return ERR_INVALID;
    if (!negative && __builtin_sub_overflow((int64_t)0, n, &n))
        return ERR_INVALID;
    *value = n;
    return ERR_OK;
}

static void format(uint64_t value, const struct unit *units, size_t n_units, char out[32])
{
    size_t i = 0;

    if (value == 0) {
        snprintf(out, 32, "0");
        return;
    }
    while (i < n_units - 1 && value % units[i].factor != 0)
        i++;
    snprintf(out, 32, "%llu%s", (unsigned long long)(value / units[i].factor), units[i].suffix);
}

void units_format_size(uint64_t bytes, char out[32])
{
    format(bytes, size_units, N_UNITS(size_units), out);
}

void units_format_time(uint64_t ms, char out[32])
{
    format(ms, time_units, N_UNITS(time_units), out);
}
