/* options_value.c -- see options_value.h for the contract.
 *
 * By hand and not with strtoull and strtod: those take signs, blanks, hex,
 * "inf" and the locale's decimal point.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proc/options_value.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { NANOSECONDS = 1000000000 };

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The digits that text begins with; more than fits stays at ULLONG_MAX. */
static unsigned long long take_digits(const char **text)
{
    unsigned long long number = 0;

    for (; is_digit(**text); ++*text) {
        unsigned digit = (unsigned)(**text - '0');

        if (number > (ULLONG_MAX - digit) / 10)
            number = ULLONG_MAX;
        else
            number = number * 10 + digit;
    }
    return number;
}

enum value_status value_count(const char *text, unsigned long long min,
                              unsigned long long max, unsigned long long *count)
{
    unsigned long long number;

    if (!is_digit(*text))
        return VALUE_MALFORMED;
    number = take_digits(&text);
    if (*text != '\0')
        return VALUE_MALFORMED;
    if (number < min || number > max)
        return VALUE_RANGE;
    *count = number;
    return VALUE_OK;
}

enum value_status value_size(const char *text, unsigned long long min,
                             unsigned long long max, unsigned long long *size)
{
    unsigned long long number;
    int shift = 0;

    if (!is_digit(*text))
        return VALUE_MALFORMED;
    number = take_digits(&text);
    switch (*text) {
    case 'k':
    case 'K':
        shift = 10;
        break;
    case 'm':
    case 'M':
        shift = 20;
        break;
    case 'g':
    case 'G':
        shift = 30;
        break;
    case '\0':
        break;
    default:
        return VALUE_MALFORMED;
    }
    if (shift > 0 && text[1] != '\0')
        return VALUE_MALFORMED;
    if (number > max >> shift || number << shift < min)
        return VALUE_RANGE;
    *size = number << shift;
    return VALUE_OK;
}

enum value_status value_time(const char *text, double max, double *seconds)
{
    static const struct {
        const char *unit;
        double times, over;
    } units[] = {
        { "", 1, 1 },   { "s", 1, 1 },       { "ms", 1, 1000 },
        { "m", 60, 1 }, { "h", 60 * 60, 1 },
    };
    double digits, place = 1;

    if (!is_digit(*text))
        return VALUE_MALFORMED;
    digits = (double)take_digits(&text);
    if (*text == '.') {
        if (!is_digit(*++text))
            return VALUE_MALFORMED;
        for (; is_digit(*text); text++) {
            if (place == NANOSECONDS)
                continue; /* nobody measures finer */
            digits = digits * 10 + (*text - '0');
            place *= 10;
        }
    }
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        double time = digits / place * units[i].times / units[i].over;

        if (strcmp(text, units[i].unit) != 0)
            continue;
        if (time > max)
            return VALUE_RANGE;
        *seconds = time;
        return VALUE_OK;
    }
    return VALUE_MALFORMED;
}

int value_choice(const char *text, const char *choices)
{
    size_t len = strlen(text);

    for (int i = 0; *choices != '\0'; i++) {
        size_t choice = strcspn(choices, "|");

        if (choice == len && memcmp(choices, text, len) == 0)
            return i;
        choices += choice;
        choices += *choices == '|' ? 1 : 0;
    }
    return -1;
}

void value_print_size(unsigned long long size, char out[VALUE_SIZE_TEXT])
{
    static const char units[][2] = { "", "k", "M", "G" };
    size_t unit = 0;

    while (unit < 3 && size != 0 && size % 1024 == 0) {
        size /= 1024;
        unit++;
    }
    snprintf(out, VALUE_SIZE_TEXT, "%llu%s", size, units[unit]);
}

void value_quote(const char *text, char *out, size_t room)
{
    static const char hex[] = "0123456789abcdef";
    char *end = out + room - sizeof("\\x00..."); /* the longest step fits */

    for (; *text != '\0' && out <= end; text++) {
        unsigned char c = (unsigned char)*text;

        if (c == '"' || c == '\\') {
            *out++ = '\\';
            *out++ = (char)c;
        } else if (c < 0x20 || c == 0x7f) {
            *out++ = '\\';
            *out++ = 'x';
            *out++ = hex[c >> 4];
            *out++ = hex[c & 15];
        } else {
            *out++ = (char)c;
        }
    }
    if (*text != '\0') {
        memcpy(out, "...", 3);
        out += 3;
    }
    *out = '\0';
}
