/* stream_listen.c -- streams that listen, for those that others open.
 *
 * SPDX-License-Identifier: MIT
 */
#include "io/stream_state.h"

#include <errno.h>
#include <unistd.h>

int stream_bind(struct stream *stream, const struct endpoint *to)
{
    int family = to->as.any.sa_family, on = 1;

    if (stream->state == STREAM_CLOSED && stream_open(stream, family) == -1)
        return -1;
    /* Connections of a listener that was closed hold its port for a minute. */
    if (family != AF_UNIX)
        setsockopt(stream->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    return bind(stream->fd, &to->as.any, to->len);
}

int stream_listen(struct stream *stream, int backlog)
{
    if (stream->fd == -1) {
        errno = EBADF;
        return -1;
    }
    if (listen(stream->fd, backlog) == -1)
        return -1;
    if (stream->state == STREAM_OPENED) {
        stream_is_up(stream, 0);
        stream->is_raw = true;
    }
    return 0;
}

/* A connection that has gone while it waited in the queue is nobody's. */
enum stream_result stream_accept(struct stream *listener, struct stream *out)
{
    int fd;

    if (listener->state != STREAM_UP)
        return STREAM_END;
    do
        fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    while (fd == -1 && (errno == EINTR || errno == ECONNABORTED));
    if (fd != -1) {
        out->fd = fd;
        out->is_socket = true;
        stream_is_up(out, STREAM_READS | STREAM_WRITES);
        out->may_have_more = true;
        return STREAM_DONE;
    }
    if (errno == EAGAIN) {
        stream_await(listener, STREAM_IN);
        return STREAM_WAIT;
    }
    listener->error = errno;
    return STREAM_FAILED;
}
