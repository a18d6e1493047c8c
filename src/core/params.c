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
    const char *data;
    size_t at, len;
};

static inline struct short_pairs all_pairs(struct slice params)
{
    return (struct short_pairs){ params.data, 0, params.len };
}

static inline bool next_short(struct short_pairs *pairs, const char **name,
                              size_t *name_len, size_t *value_len)
{
    size_t at = pairs->at, n, v, end;

    if (at + 2 > pairs->len)
        return false;
    n = (uint8_t)pairs->data[at];
    v = (uint8_t)pairs->data[at + 1];
    end = at + 2 + n + v;
    if (((n | v) & 0x80) != 0 || end > pairs->len)
        return false;
    *name = pairs->data + at + 2;
    *name_len = n;
    *value_len = v;
    pairs->at = end;
    return true;
}

/* What comes where that ends. */
static inline struct slice rest_of(const struct short_pairs *pairs)
{
    return pairs->len == 0 ? (struct slice){ "", 0 }
                           : (struct slice){ pairs->data + pairs->at,
                                             pairs->len - pairs->at };
}

/* It goes on behind a pair that was taken off the front of the rest. */
static inline void go_on_with(struct short_pairs *pairs, struct slice rest)
{
    pairs->at = pairs->len - rest.len;
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
        rest = rest_of(&pairs);
        if (params_next(&rest, &key, &found) != PARAMS_PAIR)
            return false;
        if (slice_equal(key, name)) {
            *value = found;
            return true;
        }
        go_on_with(&pairs, rest);
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
        rest = rest_of(&pairs);
        status = params_next(&rest, &name, &value);
        if (status != PARAMS_PAIR)
            return status == PARAMS_END;
        if (name.len == len)
            found(arg, name, value);
        go_on_with(&pairs, rest);
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

/* Where the search for a name begins; there is a byte before it. */
static inline size_t place_of(const char *name, size_t len)
{
    return (len << 4) + (uint8_t)name[(ptrdiff_t)len - 1];
}

/* 0, or the index of a wanted name and one; i is the first to look at. */
static inline unsigned find_wanted(const struct params_wanted *wanted,
                                   unsigned i, const char *name, size_t len)
{
    uint64_t head, tail;

    ends_of(name, len, &head, &tail);
    for (; i > 0; i = wanted->next[i - 1])
        if (wanted->tails[i - 1] == tail && wanted->heads[i - 1] == head &&
            wanted->names[i - 1].len == len &&
            (len <= 2 * sizeof(tail) ||
             memcmp(wanted->names[i - 1].data, name, len) == 0))
            break;
    return i;
}

int params_want(struct params_wanted *wanted, struct slice name)
{
    uint8_t *first;
    unsigned i;

    if (name.len == 0 || name.len > PARAMS_WANTED_NAME_MAX)
        return -1;
    first = &wanted->first[place_of(name.data, name.len)];
    i = find_wanted(wanted, *first, name.data, name.len);
    if (i > 0)
        return (int)i - 1;
    if (wanted->count == PARAMS_WANTED_MAX)
        return -1;
    i = wanted->count++;
    wanted->names[i] = name;
    ends_of(name.data, name.len, &wanted->heads[i], &wanted->tails[i]);
    wanted->next[i] = *first;
    *first = (uint8_t)(i + 1);
    return (int)i;
}

/* Apart, for most names need no call: what calls keeps less in registers. */
static __attribute__((noinline)) unsigned
find_other(const struct params_wanted *wanted, unsigned first, const char *name,
           size_t len)
{
    return find_wanted(wanted, first, name, len);
}

static inline void note(const struct params_wanted *wanted, unsigned first,
                        struct slice name, size_t value_len,
                        struct slice values[], bool *repeats)
{
    unsigned i = first;
    uint64_t head, tail;

    if (name.len >= sizeof(head) && name.len <= 2 * sizeof(head)) {
        memcpy(&head, name.data, sizeof(head));
        memcpy(&tail, name.data + name.len - sizeof(tail), sizeof(tail));
        while (i > 0 &&
               (wanted->tails[i - 1] != tail || wanted->heads[i - 1] != head ||
                wanted->names[i - 1].len != name.len))
            i = wanted->next[i - 1];
    } else {
        i = find_other(wanted, first, name.data, name.len);
    }
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
    unsigned first;
    enum params_status status;

    for (;;) {
        while (next_short(&pairs, &at, &len, &value_len)) {
            first = wanted->first[place_of(at, len)];
            if (first > 0)
                note(wanted, first, (struct slice){ at, len }, value_len,
                     values, repeats);
        }
        rest = rest_of(&pairs);
        status = params_next(&rest, &name, &value);
        if (status != PARAMS_PAIR)
            return status == PARAMS_END;
        first = name.len > PARAMS_WANTED_NAME_MAX
                    ? 0
                    : wanted->first[place_of(name.data, name.len)];
        if (first > 0)
            note(wanted, first, name, value.len, values, repeats);
        go_on_with(&pairs, rest);
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
