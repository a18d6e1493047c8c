/* stream_buffer.h -- private to this room: bytes that were received and not yet
 * taken, in one piece, so that whoever looks for the end of a line sees all.
 *
 * The memory of an empty one goes back to the pool at once: thousands of idle
 * sockets need none, and an exchange costs no allocation.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef IO_STREAM_BUFFER_H
#define IO_STREAM_BUFFER_H

#include "base/pool.h"
#include "base/slice.h"

struct stream_buffer {
    char *data;
    size_t start, len, cap; /* the bytes are the len ones from start on */
};

/* Makes pool one of the blocks that buffers begin with. */
void stream_buffer_pool_init(struct pool *pool);

/* Makes room for at least n bytes more, *at of *room bytes.  Returns false when
 * there is no memory. */
bool stream_buffer_reserve(struct stream_buffer *buf, struct pool *pool,
                           size_t n, char **at, size_t *room);

/* n bytes were written there. */
static inline void stream_buffer_add(struct stream_buffer *buf, size_t n)
{
    buf->len += n;
}

/* Empties it. */
void stream_buffer_drop(struct stream_buffer *buf, struct pool *pool);

/* Takes n of its bytes off the front. */
static inline void stream_buffer_consume(struct stream_buffer *buf,
                                         struct pool *pool, size_t n)
{
    buf->start += n;
    buf->len -= n;
    if (buf->len == 0)
        stream_buffer_drop(buf, pool);
}

#endif
