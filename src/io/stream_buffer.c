/* stream_buffer.c -- see stream_buffer.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "io/stream_buffer.h"

#include "core/limits.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { KEEP_BLOCKS = 64 };

void stream_buffer_pool_init(struct pool *pool)
{
    pool_init(pool, STREAM_BLOCK, KEEP_BLOCKS);
}

/* Blocks of the pool are the buffers of that size, and only those: malloc made
 * them all, so it does not matter which way one of them came. */
static void *get(struct pool *pool, size_t size)
{
    return size == STREAM_BLOCK ? pool_get(pool) : malloc(size);
}

static void put(struct pool *pool, void *data, size_t size)
{
    if (size == STREAM_BLOCK)
        pool_put(pool, data);
    else
        free(data);
}

static void move_to_front(struct stream_buffer *buf)
{
    if (buf->start == 0)
        return;
    memmove(buf->data, buf->data + buf->start, buf->len);
    buf->start = 0;
}

/* At least doubles it, so that many bytes in small portions are copied but
 * once or twice each. */
static bool grow(struct stream_buffer *buf, struct pool *pool, size_t n)
{
    size_t cap = STREAM_BLOCK;
    char *data;

    if (n > SIZE_MAX / 4 - buf->len)
        return false;
    while (cap < buf->len + n)
        cap *= 2;
    if (buf->cap > STREAM_BLOCK && buf->start == 0) {
        data = realloc(buf->data, cap); /* of much it only moves the pages */
        if (data == NULL)
            return false;
    } else {
        data = get(pool, cap);
        if (data == NULL)
            return false;
        if (buf->len > 0)
            memcpy(data, buf->data + buf->start, buf->len);
        put(pool, buf->data, buf->cap);
    }
    buf->data = data;
    buf->start = 0;
    buf->cap = cap;
    return true;
}

bool stream_buffer_reserve(struct stream_buffer *buf, struct pool *pool,
                           size_t n, char **at, size_t *room)
{
    size_t end = buf->start + buf->len;

    if (buf->cap - end < n) {
        if (buf->cap - buf->len >= n)
            move_to_front(buf);
        else if (!grow(buf, pool, n))
            return false;
        end = buf->start + buf->len;
    }
    *at = buf->data + end;
    *room = buf->cap - end;
    return true;
}

void stream_buffer_drop(struct stream_buffer *buf, struct pool *pool)
{
    if (buf->data != NULL)
        put(pool, buf->data, buf->cap);
    *buf = (struct stream_buffer){ .data = NULL };
}
