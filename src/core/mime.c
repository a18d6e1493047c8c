/* mime.c -- see mime.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/mime.h"

#include <stdint.h>

struct slice mime_kind(struct slice *in)
{
    const char *end = slice_find(*in, ';');

    return slice_trim(
        slice_take(in, end != NULL ? (size_t)(end - in->data) : in->len));
}

static void skip_blanks(struct slice *in)
{
    while (in->len > 0 && (*in->data == ' ' || *in->data == '\t'))
        slice_take(in, 1);
}

/* The offset of the quote that ends a value; its length when there is none.
 * Browsers do not escape a backslash, so one at the very end of a name stands
 * before the quote that ends it. */
static size_t find_quote(struct slice in)
{
    size_t last = in.len; /* the last quote behind a backslash */

    for (size_t i = 0; i < in.len; i++) {
        if (in.data[i] == '"')
            return i;
        if (in.data[i] == '\\' && i + 1 < in.len &&
            (in.data[i + 1] == '"' || in.data[i + 1] == '\\')) {
            i++;
            if (in.data[i] == '"')
                last = i;
        }
    }
    if (last < in.len &&
        slice_trim((struct slice){ in.data + last + 1, in.len - last - 1 })
                .len == 0)
        return last;
    return in.len;
}

static bool take_quoted(struct slice *in, struct mime_param *param)
{
    size_t end;

    slice_take(in, 1);
    end = find_quote(*in);
    if (end == in->len)
        return false;
    param->value = slice_take(in, end);
    param->is_quoted = true;
    slice_take(in, 1);
    skip_blanks(in);
    return in->len == 0 || *in->data == ';';
}

enum mime_status mime_param_next(struct slice *in, struct mime_param *param)
{
    struct slice rest = *in; /* becomes *in only when the parameter is whole */
    const char *equals;

    *param = (struct mime_param){ .is_quoted = false };
    skip_blanks(&rest);
    while (rest.len > 0 && *rest.data == ';') { /* also "a;; b=c;" */
        slice_take(&rest, 1);
        skip_blanks(&rest);
    }
    if (rest.len == 0)
        return MIME_END;
    equals = slice_find(rest, '=');
    if (equals == NULL)
        return MIME_BROKEN;
    param->name = slice_trim(slice_take(&rest, (size_t)(equals - rest.data)));
    if (param->name.len == 0 || slice_find(param->name, ';') != NULL)
        return MIME_BROKEN;
    slice_take(&rest, 1);
    skip_blanks(&rest);
    if (rest.len > 0 && *rest.data == '"') {
        if (!take_quoted(&rest, param))
            return MIME_BROKEN;
    } else {
        param->value = mime_kind(&rest);
    }
    *in = rest;
    return MIME_PARAM;
}

size_t mime_param_decode(const struct mime_param *param, char *out)
{
    struct slice in = param->value;
    size_t len = 0;

    for (size_t i = 0; i < in.len; i++) {
        if (param->is_quoted && in.data[i] == '\\' && i + 1 < in.len &&
            (in.data[i + 1] == '"' || in.data[i + 1] == '\\'))
            i++;
        out[len++] = in.data[i];
    }
    return len;
}

/* --- extended values ------------------------------------------------------ */

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The byte whose escape begins at i; -1: none does. */
static int escaped(struct slice in, size_t i)
{
    int high, low;

    if (in.len - i < 3)
        return -1;
    high = hex(in.data[i + 1]);
    low = hex(in.data[i + 2]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/* The length of the UTF-8 sequence that in begins with; 0: it is none. */
static size_t sequence_length(struct slice in)
{
    uint8_t first = (uint8_t)in.data[0];
    size_t len = first < 0x80                     ? 1
                 : first >= 0xc2 && first <= 0xdf ? 2
                 : first >= 0xe0 && first <= 0xef ? 3
                 : first >= 0xf0 && first <= 0xf4 ? 4
                                                  : 0;
    uint8_t second;

    if (len > in.len)
        return 0;
    for (size_t i = 1; i < len; i++)
        if (((uint8_t)in.data[i] & 0xc0) != 0x80)
            return 0;
    second = len > 1 ? (uint8_t)in.data[1] : 0;
    if ((first == 0xe0 && second < 0xa0) ||  /* longer than it need be */
        (first == 0xed && second >= 0xa0) || /* half of a pair */
        (first == 0xf0 && second < 0x90) ||
        (first == 0xf4 && second >= 0x90)) /* over U+10FFFF */
        return 0;
    return len;
}

static bool is_clean_utf8(struct slice in)
{
    while (in.len > 0) {
        size_t len = sequence_length(in);

        if (len == 0 ||
            (len == 1 && ((uint8_t)in.data[0] < ' ' || in.data[0] == 0x7f)))
            return false;
        slice_take(&in, len);
    }
    return true;
}

bool mime_extended_decode(struct slice value, char *out, size_t *len)
{
    static const char charset[] = "utf-8'";
    struct slice rest = value;
    const char *quote;
    size_t n = 0;

    if (!slice_equal_nocase(slice_take(&rest, sizeof(charset) - 1),
                            slice_of(charset)))
        return false;
    quote = slice_find(rest, '\''); /* before it: the language */
    if (quote == NULL)
        return false;
    slice_take(&rest, (size_t)(quote + 1 - rest.data));
    for (size_t i = 0; i < rest.len; i++) {
        int byte = rest.data[i];

        if (byte == '%') {
            byte = escaped(rest, i);
            if (byte < 0)
                return false;
            i += 2;
        }
        out[n++] = (char)byte;
    }
    if (!is_clean_utf8((struct slice){ out, n }))
        return false;
    *len = n;
    return true;
}

/* --- forms ---------------------------------------------------------------- */

size_t mime_form_decode(struct slice in, char *out)
{
    size_t n = 0;

    for (size_t i = 0; i < in.len; i++) {
        int byte = in.data[i] == '%' ? escaped(in, i) : -1;

        if (byte >= 0)
            i += 2;
        else
            byte = in.data[i] == '+' ? ' ' : in.data[i];
        out[n++] = (char)byte;
    }
    return n;
}
