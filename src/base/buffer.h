/* buffer.h -- bytes that grow at the end, up to a maximum.
 *
 * Whatever a peer or a script can make longer lives in one of these: the
 * maximum is stated where the buffer is made, and going over it is an ordinary
 * answer, not a crash.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef BASE_BUFFER_H
#define BASE_BUFFER_H

#include "base/slice.h"

struct buffer {
    char *data;
    size_t len, cap;
    size_t max; /* len never passes it */
};

enum buffer_status {
    BUFFER_OK,
    BUFFER_FULL,     /* it would pass max; nothing was added */
    BUFFER_NO_MEMORY /* nothing was added */
};

/* An empty buffer; nothing is allocated before the first byte. */
static inline void buffer_init(struct buffer *buf, size_t max)
{
    *buf = (struct buffer){ .max = max };
}

/* Frees the bytes; the buffer is empty and may be used again. */
void buffer_free(struct buffer *buf);

/* Empties it; memory of at most keep bytes stays for the next user. */
void buffer_reset(struct buffer *buf, size_t keep);

/* Makes room for n bytes more without adding them. */
enum buffer_status buffer_reserve(struct buffer *buf, size_t n);

/* Adds a copy of bytes, all of it or nothing. */
enum buffer_status buffer_append(struct buffer *buf, struct slice bytes);

/* What is in it; valid until the next call that changes it. */
static inline struct slice buffer_slice(const struct buffer *buf)
{
    return (struct slice){ buf->data, buf->len };
}

#endif
