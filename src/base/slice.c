/* slice.c -- see slice.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/slice.h"

/* tolower() asks the locale; a protocol must not. */
static unsigned char lower(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

bool slice_equal_nocase(struct slice a, struct slice b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (lower(a.data[i]) != lower(b.data[i]))
            return false;
    return true;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

struct slice slice_trim(struct slice in)
{
    while (in.len > 0 && is_blank(in.data[0]))
        slice_take(&in, 1);
    while (in.len > 0 && is_blank(in.data[in.len - 1]))
        in.len--;
    return in;
}

bool slice_to_number(struct slice in, unsigned long long max,
                     unsigned long long *value)
{
    unsigned long long n = 0;

    if (in.len == 0)
        return false;
    for (size_t i = 0; i < in.len; i++) {
        unsigned digit = (unsigned)(unsigned char)in.data[i] - '0';

        if (digit > 9 || digit > max || n > (max - digit) / 10)
            return false;
        n = n * 10 + digit;
    }
    *value = n;
    return true;
}
