/* params.c -- see params.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/params.h"

#include <stddef.h>
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

/* The pairs that nearly all are, with both lengths in one byte, in a form that
 * the compiler keeps in registers: every request is looked through at least
 * once. */
struct short_pairs {
    const char *at, *end;
};

static inline struct short_pairs all_pairs(struct slice params)
{
    const char *at = params.len > 0 ? params.data : "";

    return (struct short_pairs){ at, at + params.len };
}

static inline bool next_short(struct short_pairs *pairs, const char **name,
                              size_t *name_len, size_t *value_len)
{
    const char *at = pairs->at;
    size_t n, v;

    if (pairs->end - at < 2)
        return false;
    n = (uint8_t)at[0];
    v = (uint8_t)at[1];
    if (((n | v) & 0x80) != 0 || n + v > (size_t)(pairs->end - at) - 2)
        return false;
    *name = at + 2;
    *name_len = n;
    *value_len = v;
    pairs->at = at + 2 + n + v;
    return true;
}

bool params_find(struct slice params, struct slice name, struct slice *value)
{
    struct short_pairs pairs = all_pairs(params);
    struct slice rest, key, found;
    const char *at;
    size_t len, value_len;

    for (;;) {
        while (next_short(&pairs, &at, &len, &value_len)) {
            if (len == name.len && memcmp(at, name.data, len) == 0) {
                *value = (struct slice){ at + len, value_len };
                return true;
            }
        }
        rest = (struct slice){ pairs.at, (size_t)(pairs.end - pairs.at) };
        if (params_next(&rest, &key, &found) != PARAMS_PAIR)
            return false;
        if (slice_equal(key, name)) {
            *value = found;
            return true;
        }
        pairs.at = rest.data;
    }
}

bool params_scan(struct slice params, size_t len,
                 void (*found)(void *arg, struct slice name,
                               struct slice value),
                 void *arg)
{
    struct short_pairs pairs = all_pairs(params);
    struct slice rest, name, value;
    const char *at;
    size_t name_len, value_len;
    enum params_status status;

    for (;;) {
        while (next_short(&pairs, &at, &name_len, &value_len)) {
            if (name_len == len)
                found(arg, (struct slice){ at, len },
                      (struct slice){ at + len, value_len });
        }
        rest = (struct slice){ pairs.at, (size_t)(pairs.end - pairs.at) };
        status = params_next(&rest, &name, &value);
        if (status != PARAMS_PAIR)
            return status == PARAMS_END;
        if (name.len == len)
            found(arg, name, value);
        pairs.at = rest.data;
    }
}

/* The first and the last eight bytes of a name: all of it up to sixteen, which
 * most are. */
static inline void ends_of(const char *name, size_t len, uint64_t *head,
                           uint64_t *tail)
{
    *head = *tail = 0;
    if (len < sizeof(*head)) {
        memcpy(head, name, len);
        return;
    }
    memcpy(head, name, sizeof(*head));
    memcpy(tail, name + len - sizeof(*tail), sizeof(*tail));
}

/* May it be a wanted name?  Of most it is said that they are not.  len is below
 * 128, and there is a byte before the name. */
static inline bool may_be_wanted(const struct params_wanted *wanted,
                                 const char *name, size_t len)
{
    return (wanted->ends[len] >> ((uint8_t)name[(ptrdiff_t)len - 1] & 63) &
            1) != 0;
}

/* 0, or the index of a wanted name and one. */
static inline unsigned find_wanted(const struct params_wanted *wanted,
                                   const char *name, size_t len)
{
    unsigned i;
    uint64_t head, tail;

    ends_of(name, len, &head, &tail);
    for (i = wanted->first[len]; i > 0; i = wanted->next[i - 1])
        if (wanted->tails[i - 1] == tail && wanted->heads[i - 1] == head &&
            (len <= 2 * sizeof(tail) ||
             memcmp(wanted->names[i - 1].data, name, len) == 0))
            break;
    return i;
}

int params_want(struct params_wanted *wanted, struct slice name)
{
    unsigned i;

    if (name.len == 0 || name.len > PARAMS_WANTED_NAME_MAX)
        return -1;
    i = find_wanted(wanted, name.data, name.len);
    if (i > 0)
        return (int)i - 1;
    if (wanted->count == PARAMS_WANTED_MAX)
        return -1;
    i = wanted->count++;
    wanted->names[i] = name;
    ends_of(name.data, name.len, &wanted->heads[i], &wanted->tails[i]);
    wanted->next[i] = wanted->first[name.len];
    wanted->first[name.len] = (uint8_t)(i + 1);
    wanted->ends[name.len] |= (uint64_t)1 << (name.data[name.len - 1] & 63);
    return (int)i;
}

static inline void note(const struct params_wanted *wanted, struct slice name,
                        size_t value_len, struct slice values[], bool *repeats)
{
    unsigned i = find_wanted(wanted, name.data, name.len);

    if (i == 0)
        return;
    if (values[i - 1].data == NULL)
        values[i - 1] = (struct slice){ name.data + name.len, value_len };
    else
        *repeats = true;
}

bool params_scan_wanted(struct slice params, const struct params_wanted *wanted,
                        struct slice values[], bool *repeats)
{
    struct short_pairs pairs = all_pairs(params);
    struct slice rest, name, value;
    const char *at;
    size_t len, value_len;
    enum params_status status;

    for (;;) {
        while (next_short(&pairs, &at, &len, &value_len))
            if (may_be_wanted(wanted, at, len))
                note(wanted, (struct slice){ at, len }, value_len, values,
                     repeats);
        rest = (struct slice){ pairs.at, (size_t)(pairs.end - pairs.at) };
        status = params_next(&rest, &name, &value);
        if (status != PARAMS_PAIR)
            return status == PARAMS_END;
        if (name.len <= PARAMS_WANTED_NAME_MAX)
            note(wanted, name, value.len, values, repeats);
        pairs.at = rest.data;
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
