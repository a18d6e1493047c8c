/* params.c -- see params.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/params.h"

#include <stdint.h>

/* Lengths may claim 2 GiB: compare with what is left, never add them up. */
static bool take(struct slice *in, size_t n, struct slice *out)
{
    if (in->len < n)
        return false;
    *out = slice_take(in, n);
    return true;
}

/* One length: a byte below 0x80, or four with the top bit set. */
static bool take_length(struct slice *in, size_t *len)
{
    bool wide = in->len > 0 && ((uint8_t)in->data[0] & 0x80) != 0;
    struct slice raw;

    if (!take(in, wide ? 4 : 1, &raw))
        return false;
    *len = (uint8_t)raw.data[0] & 0x7f;
    for (size_t i = 1; i < raw.len; i++)
        *len = *len << 8 | (uint8_t)raw.data[i];
    return true;
}

enum params_status params_next(struct slice *in, struct slice *name,
                               struct slice *value)
{
    struct slice rest = *in; /* becomes *in only when the pair is whole */
    size_t name_len, value_len;

    if (in->len == 0)
        return PARAMS_END;
    if (!take_length(&rest, &name_len) || !take_length(&rest, &value_len) ||
        !take(&rest, name_len, name) || !take(&rest, value_len, value))
        return PARAMS_TRUNCATED;
    *in = rest;
    return PARAMS_PAIR;
}

/* The same for the pairs that nearly all are: both lengths in one byte, which
 * is why looking one up costs next to nothing. */
static bool take_short(struct slice *in, struct slice *name,
                       struct slice *value)
{
    const uint8_t *at = (const uint8_t *)in->data;
    size_t len;

    if (in->len < 2 || ((at[0] | at[1]) & 0x80) != 0)
        return false;
    len = (size_t)2 + at[0] + at[1];
    if (len > in->len)
        return false;
    *name = (struct slice){ in->data + 2, at[0] };
    *value = (struct slice){ in->data + 2 + at[0], at[1] };
    in->data += len;
    in->len -= len;
    return true;
}

bool params_find(struct slice params, struct slice name, struct slice *value)
{
    struct slice key;

    while (take_short(&params, &key, value) ||
           params_next(&params, &key, value) == PARAMS_PAIR)
        if (key.len == name.len && memcmp(key.data, name.data, key.len) == 0)
            return true;
    return false;
}

bool params_scan(struct slice params, size_t len,
                 void (*found)(void *arg, struct slice name,
                               struct slice value),
                 void *arg)
{
    struct slice name, value;

    for (;;) {
        if (!take_short(&params, &name, &value)) {
            enum params_status status = params_next(&params, &name, &value);

            if (status != PARAMS_PAIR)
                return status == PARAMS_END;
        }
        if (name.len == len)
            found(arg, name, value);
    }
}

static size_t put_length(char *out, size_t len)
{
    if (len < 0x80) {
        out[0] = (char)len;
        return 1;
    }
    out[0] = (char)(0x80 | len >> 24);
    out[1] = (char)(len >> 16);
    out[2] = (char)(len >> 8);
    out[3] = (char)len;
    return 4;
}

enum buffer_status params_append(struct buffer *out, struct slice name,
                                 struct slice value)
{
    char lengths[8];
    size_t n;
    enum buffer_status status;

    if (name.len > INT32_MAX || value.len > INT32_MAX)
        return BUFFER_FULL;
    n = put_length(lengths, name.len);
    n += put_length(lengths + n, value.len);
    status = buffer_reserve(out, n + name.len + value.len);
    if (status != BUFFER_OK)
        return status;
    buffer_append(out, (struct slice){ lengths, n });
    buffer_append(out, name);
    buffer_append(out, value);
    return BUFFER_OK;
}
