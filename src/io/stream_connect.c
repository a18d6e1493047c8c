/* stream_connect.c -- how streams are connected.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/limits.h"
#include "io/stream_state.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <unistd.h>

/* The kernel does not tell when the queue of a unix socket has room again. */
static const double retry_first = 0.002, retry_last = 0.1;

struct stream_retry {
    struct loop_timer timer;
    struct stream *stream;
    struct endpoint to;
    double pause;
};

int stream_open(struct stream *stream, int family)
{
    int on = 1, fd;

    fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd == -1)
        return -1;
    /* What is sent is whole messages, in one piece: nobody gains by waiting. */
    if (family != AF_UNIX)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    stream_buffer_drop(&stream->in, &stream->streams->blocks);
    stream->fd = fd;
    stream->state = STREAM_OPENED;
    stream->is_socket = true;
    return 0;
}

void stream_stop_connecting(struct stream *stream)
{
    if (stream->retry == NULL)
        return;
    loop_timer_stop(&stream->retry->timer);
    free(stream->retry);
    stream->retry = NULL;
}

static enum stream_result fail(struct stream *stream, int error)
{
    stream_close(stream);
    stream->error = error;
    return STREAM_FAILED;
}

static void try_again(struct loop_timer *timer);

static enum stream_result wait_for_queue(struct stream *stream,
                                         const struct endpoint *to)
{
    struct stream_retry *retry = stream->retry;

    if (retry == NULL) {
        retry = malloc(sizeof(*retry));
        if (retry == NULL)
            return fail(stream, ENOMEM);
        *retry = (struct stream_retry){ .stream = stream,
                                        .to = *to,
                                        .pause = retry_first };
        stream->retry = retry;
    } else if (retry->pause < retry_last) {
        retry->pause *= 2;
    }
    loop_timer_start(stream->streams->loop, &retry->timer, retry->pause,
                     try_again);
    stream->state = STREAM_CONNECTING;
    return STREAM_WAIT;
}

/* EINTR says that it goes on, as EINPROGRESS does. */
static enum stream_result attempt(struct stream *stream,
                                  const struct endpoint *to)
{
    if (connect(stream->fd, &to->as.any, to->len) == 0) {
        stream_stop_connecting(stream);
        stream_is_up(stream, STREAM_READS | STREAM_WRITES);
        return STREAM_DONE;
    }
    if (errno == EAGAIN && to->as.any.sa_family == AF_UNIX)
        return wait_for_queue(stream, to);
    if (errno != EINPROGRESS && errno != EINTR)
        return fail(stream, errno);
    stream->state = STREAM_CONNECTING;
    ev_io_set(&stream->writer, stream->fd, EV_WRITE);
    ev_io_start(stream->streams->loop->ev, &stream->writer);
    return STREAM_WAIT;
}

static void try_again(struct loop_timer *timer)
{
    struct stream *stream =
        list_entry(timer, struct stream_retry, timer)->stream;

    if (attempt(stream, &stream->retry->to) != STREAM_WAIT)
        stream_tell(stream, STREAM_OUT);
}

enum stream_result stream_connect(struct stream *stream,
                                  const struct endpoint *to)
{
    if (stream->state == STREAM_CLOSED &&
        stream_open(stream, to->as.any.sa_family) == -1)
        return fail(stream, errno);
    return attempt(stream, to);
}

void stream_go_on_connecting(struct stream *stream)
{
    struct ev_loop *ev = stream->streams->loop->ev;
    socklen_t len = sizeof(int);
    int error = 0;

    if (getsockopt(stream->fd, SOL_SOCKET, SO_ERROR, &error, &len) == -1)
        error = errno;
    ev_io_stop(ev, &stream->writer);
    if (error != 0)
        fail(stream, error);
    else
        stream_is_up(stream, STREAM_READS | STREAM_WRITES);
    stream_tell(stream, STREAM_OUT);
}

enum stream_result stream_connected(struct stream *stream)
{
    switch (stream->state) {
    case STREAM_UP:
        return STREAM_DONE;
    case STREAM_CONNECTING:
        return STREAM_WAIT;
    case STREAM_OPENED:
    case STREAM_CLOSED:
        break;
    }
    return stream->error != 0 ? STREAM_FAILED : STREAM_END;
}
