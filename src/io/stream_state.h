/* stream_state.h -- private to this room: what a stream is made of.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef IO_STREAM_STATE_H
#define IO_STREAM_STATE_H

#include "io/loop_ev.h"
#include "io/stream.h"
#include "io/stream_buffer.h"

struct stream_retry;

struct streams {
    struct loop *loop;
    struct pool blocks;  /* of buffers */
    struct pool streams; /* of struct stream */
    unsigned count;
};

enum stream_state {
    STREAM_CLOSED,
    STREAM_OPENED,
    STREAM_CONNECTING,
    STREAM_UP
};

struct stream {
    struct streams *streams;
    const struct stream_ops *ops; /* or NULL */
    void *owner;
    struct ev_io reader, writer;
    struct stream_buffer in;
    size_t want;      /* bytes that somebody waits for; 0: nobody does */
    size_t read_size; /* what one recv asks for at least */
    struct stream_stats stats;
    struct stream_retry *retry; /* of connecting; or NULL */
    enum stream_state state;
    int fd;
    int error;
    bool is_socket, is_raw;
    bool can_read, can_write;
    bool has_ended, has_failed; /* no more comes */
    bool may_have_more;         /* the kernel, than it gave last */
    bool wants_out;             /* somebody waits for STREAM_OUT */
    bool wants_in;              /* ... for STREAM_IN, of a raw one */
};

/* The descriptor is connected. */
void stream_is_up(struct stream *stream, unsigned directions);

/* The socket that connects is writable. */
void stream_go_on_connecting(struct stream *stream);

/* Takes back what stream_connect has begun beside the descriptor. */
void stream_stop_connecting(struct stream *stream);

static inline void stream_tell(struct stream *stream, enum stream_side side)
{
    if (stream->ops != NULL)
        stream->ops->news(stream->owner, side);
}

#endif
