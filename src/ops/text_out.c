/* text_out.c -- see text_out.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "ops/text_out.h"

#include "ops/plain.h"

static const char hex[] = "0123456789ABCDEF";

void text_put(struct text_out *out, struct slice text)
{
    struct slice part = slice_take(&text, out->size - out->len);

    if (part.len > 0)
        memcpy(out->data + out->len, part.data, part.len);
    out->len += part.len;
}

void text_put_digits(struct text_out *out, uint64_t number, unsigned least)
{
    char digits[24];
    size_t at = sizeof(digits);

    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0 || sizeof(digits) - at < least);
    text_put(out, (struct slice){ digits + at, sizeof(digits) - at });
}

void text_put_number(struct text_out *out, uint64_t number)
{
    if (number < 1000 && out->size - out->len >= 3) {
        char *to = out->data + out->len; /* all but a few are: no loops */
        unsigned n = (unsigned)number;

        if (n >= 100)
            *to++ = (char)('0' + n / 100);
        if (n >= 10)
            *to++ = (char)('0' + n / 10 % 10);
        *to++ = (char)('0' + n % 10);
        out->len = (size_t)(to - out->data);
        return;
    }
    text_put_digits(out, number, 1);
}

void text_put_decimal(struct text_out *out, double number, unsigned places)
{
    uint64_t scale = 1, scaled;

    for (unsigned i = 0; i < places; i++)
        scale *= 10;
    scaled = number > 0 ? (uint64_t)(number * (double)scale + 0.5) : 0;
    text_put_number(out, scaled / scale);
    text_put_char(out, '.');
    text_put_digits(out, scaled % scale, places);
}

/* Copies the bytes at the front of text, at most so many, that stand for
 * themselves; returns their number.  Few bytes are looked at alone. */
static inline size_t copy_plain(char *to, struct slice text, size_t most,
                                bool is_bare)
{
    size_t n = 0, len = text.len < most ? text.len : most;

    for (; len - n >= 16; n += 16)
        if (!plain_copy_16(to + n, text.data + n, is_bare))
            break;
    if (n < len && len - n < 16 &&
        plain_copy(to + n, (struct slice){ text.data + n, len - n }, is_bare))
        return len;
    for (; n < len && plain_is(text.data[n], is_bare); n++)
        to[n] = text.data[n];
    return n;
}

static inline void put_escaped(struct text_out *out, struct slice text,
                               size_t most, bool is_bare)
{
    size_t end = most < out->size - out->len ? out->len + most : out->size;

    while (text.len > 0) {
        char *at = out->data + out->len;
        size_t room = end - out->len, n = copy_plain(at, text, room, is_bare);
        unsigned char c;

        out->len += n;
        slice_take(&text, n);
        if (text.len == 0 || room - n < 4)
            return;
        c = (unsigned char)text.data[0];
        at[n] = '\\';
        at[n + 1] = 'x';
        at[n + 2] = hex[c >> 4];
        at[n + 3] = hex[c & 15];
        out->len += 4;
        slice_take(&text, 1);
    }
}

void text_put_escaped(struct text_out *out, struct slice text, size_t most,
                      bool is_bare)
{
    if (is_bare) /* two functions: neither asks for each byte */
        put_escaped(out, text, most, true);
    else
        put_escaped(out, text, most, false);
}

/* The length of the character that text begins with (RFC 3629), and which it
 * is; 0: it is none. */
static size_t utf8_length(struct slice text, uint32_t *character)
{
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    unsigned char c = (unsigned char)text.data[0];
    size_t len = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;

    if (len == 0 || c > 0xf4 || len > text.len)
        return 0;
    *character = len == 1 ? c : c & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        unsigned char next = (unsigned char)text.data[i];

        if ((next & 0xc0) != 0x80)
            return 0;
        *character = *character << 6 | (next & 0x3f);
    }
    if (*character < least[len] || *character > 0x10ffff ||
        (*character >= 0xd800 && *character < 0xe000))
        return 0;
    return len;
}

/* How one character stands in a JSON string: in at most 6 bytes. */
static struct slice json_escape(struct slice *text, char buffer[8])
{
    uint32_t character = 0;
    size_t len = utf8_length(*text, &character);
    unsigned char c = (unsigned char)text->data[0];

    if (len == 0) {
        memcpy(buffer, "\\\\x", 3);
        buffer[3] = hex[c >> 4];
        buffer[4] = hex[c & 15];
        slice_take(text, 1);
        return (struct slice){ buffer, 5 };
    }
    if (character == '"' || character == '\\') {
        buffer[0] = '\\';
        buffer[1] = (char)c;
        slice_take(text, 1);
        return (struct slice){ buffer, 2 };
    }
    if (character < 0x20 || (character >= 0x7f && character < 0xa0) ||
        character == 0x2028 || character == 0x2029) {
        memcpy(buffer, "\\u", 2);
        for (unsigned i = 0; i < 4; i++)
            buffer[2 + i] = hex[character >> (12 - 4 * i) & 15];
        slice_take(text, len);
        return (struct slice){ buffer, 6 };
    }
    return slice_take(text, len);
}

void text_put_json(struct text_out *out, struct slice text, size_t most)
{
    size_t end = most < out->size - out->len ? out->len + most : out->size;

    while (text.len > 0) {
        char buffer[8];
        struct slice part;
        size_t room = end - out->len,
               n = copy_plain(out->data + out->len, text, room, false);

        out->len += n;
        slice_take(&text, n);
        if (text.len == 0)
            return;
        part = json_escape(&text, buffer);
        if (part.len > room - n)
            return;
        memcpy(out->data + out->len, part.data, part.len);
        out->len += part.len;
    }
}
