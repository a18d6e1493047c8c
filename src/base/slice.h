/* slice.h -- bytes that somebody else owns: a pointer and a length.
 *
 * Everything that arrives from a peer is handled as a slice: it is never
 * assumed to end with NUL, and no length is ever added to another.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef BASE_SLICE_H
#define BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct slice {
    const char *data;
    size_t len;
};

/* The bytes of a C string, without its NUL. */
static inline struct slice slice_of(const char *text)
{
    return (struct slice){ text, strlen(text) };
}

static inline bool slice_equal(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* Takes up to n bytes off the front of *in. */
static inline struct slice slice_take(struct slice *in, size_t n)
{
    struct slice front = { in->data, n < in->len ? n : in->len };

    in->data += front.len;
    in->len -= front.len;
    return front;
}

/* The byte where c first stands, or NULL. */
static inline const char *slice_find(struct slice in, char c)
{
    return in.len == 0 ? NULL : memchr(in.data, (unsigned char)c, in.len);
}

/* Equal when ASCII letters are compared without their case. */
bool slice_equal_nocase(struct slice a, struct slice b);

/* in without blanks and tabs at both ends. */
struct slice slice_trim(struct slice in);

/* Reads all of in as a decimal number without sign.  Returns false, and leaves
 * *value alone, when in is empty, has another byte or is over max. */
bool slice_to_number(struct slice in, unsigned long long max,
                     unsigned long long *value);

#endif
