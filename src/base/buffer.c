/* buffer.c -- see buffer.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/buffer.h"

#include <stdlib.h>

enum { FIRST_SIZE = 256 };

void buffer_free(struct buffer *buf)
{
    if (buf->data == NULL)
        return;
    free(buf->data);
    buf->data = NULL;
    buf->len = buf->cap = 0;
}

void buffer_reset(struct buffer *buf, size_t keep)
{
    if (buf->cap > keep)
        buffer_free(buf);
    buf->len = 0;
}

enum buffer_status buffer_reserve(struct buffer *buf, size_t n)
{
    size_t need, cap = buf->cap;
    char *grown;

    if (n > buf->max - buf->len)
        return BUFFER_FULL;
    need = buf->len + n; /* cannot overflow: it is at most max */
    if (need <= buf->cap)
        return BUFFER_OK;
    if (cap == 0) /* often all there will be: doubling would waste half */
        cap = need < FIRST_SIZE ? FIRST_SIZE : need;
    while (cap < need)
        cap = cap > buf->max / 2 ? buf->max : cap * 2;
    grown = realloc(buf->data, cap);
    if (grown == NULL)
        return BUFFER_NO_MEMORY;
    buf->data = grown;
    buf->cap = cap;
    return BUFFER_OK;
}

enum buffer_status buffer_append(struct buffer *buf, struct slice bytes)
{
    enum buffer_status status;

    if (bytes.len == 0)
        return BUFFER_OK;
    status = buffer_reserve(buf, bytes.len);
    if (status != BUFFER_OK)
        return status;
    memcpy(buf->data + buf->len, bytes.data, bytes.len);
    buf->len += bytes.len;
    return BUFFER_OK;
}
