/* options_value.h -- sizes, times and counts as users write them.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PROC_OPTIONS_VALUE_H
#define PROC_OPTIONS_VALUE_H

#include <stddef.h>

enum value_status {
    VALUE_OK,
    VALUE_MALFORMED, /* not written like one */
    VALUE_RANGE      /* written like one, but under min or over max */
};

/* Decimal digits only. */
enum value_status value_count(const char *text, unsigned long long min,
                              unsigned long long max,
                              unsigned long long *count);

/* Digits, then nothing for bytes, or k, M or G (either case) for the powers of
 * 1024. */
enum value_status value_size(const char *text, unsigned long long min,
                             unsigned long long max, unsigned long long *size);

/* Digits, maybe a point and digits, then nothing or s for seconds, ms, m or
 * h.  Gives seconds. */
enum value_status value_time(const char *text, double max, double *seconds);

/* Which of "a|b|c" text is, counted from 0; -1: none. */
int value_choice(const char *text, const char *choices);

enum { VALUE_SIZE_TEXT = 24, VALUE_QUOTED_TEXT = 80 };

/* Writes bytes the way value_size reads them, as short as is exact. */
void value_print_size(unsigned long long size, char out[VALUE_SIZE_TEXT]);

/* Copies text for a message: control bytes, quotes and backslashes escaped, cut
 * with "..." where out ends.  room is at least 8. */
void value_quote(const char *text, char *out, size_t room);

#endif
