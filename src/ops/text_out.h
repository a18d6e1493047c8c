/* text_out.h -- text put together in memory of a fixed size: what does not fit
 * is left out, an escape as a whole.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OPS_TEXT_OUT_H
#define OPS_TEXT_OUT_H

#include "base/slice.h"

#include <stdint.h>

struct text_out {
    char *data;
    size_t size, len;
};

void text_put(struct text_out *out, struct slice text);

static inline void text_put_char(struct text_out *out, char c)
{
    if (out->len < out->size)
        out->data[out->len++] = c;
}

/* Decimal digits; at least so many in the second. */
void text_put_number(struct text_out *out, uint64_t number);
void text_put_digits(struct text_out *out, uint64_t number, unsigned least);

/* A number that is not negative, with so many places. */
void text_put_decimal(struct text_out *out, double number, unsigned places);

/* Writes text in at most `most` bytes, with \xHH for quotes, backslashes,
 * control bytes, bytes over 0x7e and, if it is bare (not between quotes),
 * blanks and square brackets. */
void text_put_escaped(struct text_out *out, struct slice text, size_t most,
                      bool is_bare);

/* Writes text as the inside of a JSON string (RFC 8259) in at most `most`
 * bytes.  Bytes that are not UTF-8 are written as the four characters \xHH;
 * control characters of any kind are escaped. */
void text_put_json(struct text_out *out, struct slice text, size_t most);

#endif
