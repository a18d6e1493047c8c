/* stream.c -- see stream.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/limits.h"
#include "io/stream_state.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    KEEP_STREAMS = 64,
    READ_CAP = 1024 * 1024 /* bytes a call: others want to read, too */
};

/* --- the watchers --------------------------------------------------------- */

static bool is_awaited(const struct stream *stream, enum stream_side side)
{
    return stream->ops != NULL && stream->ops->is_awaited(stream->owner, side);
}

static void start_reader(struct stream *stream)
{
    ev_io_start(stream->streams->loop->ev, &stream->reader);
}

static void stop_reader(struct stream *stream)
{
    ev_io_stop(stream->streams->loop->ev, &stream->reader);
}

static void start_writer(struct stream *stream)
{
    ev_io_start(stream->streams->loop->ev, &stream->writer);
}

static void stop_writer(struct stream *stream)
{
    ev_io_stop(stream->streams->loop->ev, &stream->writer);
}

/* Nothing more comes. */
static void end_input(struct stream *stream, int error)
{
    stream->has_ended = true;
    stream->has_failed = error != 0;
    if (error != 0)
        stream->error = error;
    stream->may_have_more = false;
    stop_reader(stream);
}

/* How much room a recv should have: more for who wants much, so that a long
 * answer is received in few calls. */
static size_t room_wanted(const struct stream *stream)
{
    size_t room = stream->read_size;

    if (stream->want > stream->in.len + room) {
        size_t missing = stream->want - stream->in.len;

        room = missing < stream->in.len ? missing : stream->in.len;
        if (room < stream->read_size)
            room = stream->read_size;
    }
    return room;
}

/* Asks for more where much comes at once. */
static void adapt_read_size(struct stream *stream, size_t got, size_t room)
{
    if (got == room && stream->read_size < STREAM_HIGH)
        stream->read_size *= 2;
    else if (got < stream->read_size / 4 && stream->read_size > STREAM_READ)
        stream->read_size /= 2;
}

/* One recv.  Afterwards may_have_more says whether another may bring more. */
static void receive(struct stream *stream)
{
    struct pool *blocks = &stream->streams->blocks;
    size_t room;
    ssize_t n;
    char *at;

    if (!stream_buffer_reserve(&stream->in, blocks, room_wanted(stream), &at,
                               &room)) {
        end_input(stream, ENOMEM);
        return;
    }
    if (stream->is_socket)
        n = recv(stream->fd, at, room, 0);
    else
        n = read(stream->fd, at, room);
    if (n > 0) {
        stream_buffer_add(&stream->in, (size_t)n);
        stream->stats.received += (size_t)n;
        stream->stats.last_in = stream->streams->loop->now;
        stream->may_have_more = (size_t)n == room;
        adapt_read_size(stream, (size_t)n, room);
        return;
    }
    if (n == 0)
        end_input(stream, 0);
    else if (errno != EAGAIN && errno != EINTR)
        end_input(stream, errno);
    else
        stream->may_have_more = errno == EINTR;
    if (stream->in.len == 0)
        stream_buffer_drop(&stream->in, blocks);
}

/* News for whoever waits, or nobody does and the watcher is of no use. */
static void tell_or_stop(struct stream *stream, enum stream_side side)
{
    bool *wants = side == STREAM_IN ? &stream->wants_in : &stream->wants_out;

    if (*wants && is_awaited(stream, side)) {
        *wants = false;
        stream_tell(stream, side);
        return;
    }
    *wants = false;
    if (side == STREAM_IN)
        stop_reader(stream);
    else
        stop_writer(stream);
}

/* What somebody waits for may be there. */
static void tell_of_input(struct stream *stream)
{
    if (stream->want == 0 ||
        (stream->in.len < stream->want && !stream->has_ended))
        return;
    stream->want = 0;
    stream_tell(stream, STREAM_IN);
}

static void on_readable(struct ev_loop *ev, struct ev_io *watcher, int events)
{
    struct stream *stream = watcher->data;

    (void)ev;
    (void)events;
    if (stream->is_raw) {
        tell_or_stop(stream, STREAM_IN);
        return;
    }
    receive(stream);
    if (stream->in.len >= STREAM_HIGH &&
        (stream->want <= stream->in.len || !is_awaited(stream, STREAM_IN))) {
        stop_reader(stream);
        stream->may_have_more = true;
    }
    tell_of_input(stream);
}

static void on_writable(struct ev_loop *ev, struct ev_io *watcher, int events)
{
    struct stream *stream = watcher->data;

    (void)ev;
    (void)events;
    if (stream->state == STREAM_CONNECTING)
        stream_go_on_connecting(stream);
    else
        tell_or_stop(stream, STREAM_OUT);
}

/* --- reading -------------------------------------------------------------- */

struct slice stream_input(const struct stream *stream)
{
    if (stream->in.len == 0)
        return (struct slice){ "", 0 };
    return (struct slice){ stream->in.data + stream->in.start, stream->in.len };
}

void stream_consume(struct stream *stream, size_t n)
{
    if (n == 0)
        return;
    assert(n <= stream->in.len);
    stream_buffer_consume(&stream->in, &stream->streams->blocks, n);
}

static bool can_receive(const struct stream *stream)
{
    return stream->state == STREAM_UP && stream->can_read && !stream->is_raw &&
           !stream->has_ended;
}

/* Receives until nothing more is to be had, or that much is there. */
static void receive_up_to(struct stream *stream, size_t want)
{
    size_t before = stream->in.len, others = stream->want;

    stream->want = want;
    while (stream->may_have_more && stream->in.len < want &&
           stream->in.len - before < READ_CAP)
        receive(stream);
    stream->want = others;
    tell_of_input(stream);
}

/* Memory may be there by now. */
static void forget_no_memory(struct stream *stream)
{
    if (stream->has_failed && stream->error == ENOMEM) {
        stream->has_ended = stream->has_failed = false;
        stream->may_have_more = true;
    }
}

enum stream_result stream_read(struct stream *stream, size_t want)
{
    if (stream->in.len >= want)
        return STREAM_DONE;
    if (stream->may_have_more && can_receive(stream)) {
        receive_up_to(stream, want);
        if (stream->in.len >= want)
            return STREAM_DONE;
    }
    if (stream->has_failed) {
        forget_no_memory(stream);
        return STREAM_FAILED;
    }
    if (!can_receive(stream))
        return STREAM_END;
    if (stream->want == 0 || want < stream->want) /* another may wait, too */
        stream->want = want;
    start_reader(stream);
    return STREAM_WAIT;
}

void stream_poll(struct stream *stream, size_t want)
{
    if (stream->in.len >= want || !can_receive(stream))
        return;
    stream->may_have_more = true;
    receive_up_to(stream, want);
}

bool stream_feed(struct stream *stream, struct slice bytes)
{
    size_t room;
    char *at;

    if (bytes.len == 0)
        return true;
    if (!stream_buffer_reserve(&stream->in, &stream->streams->blocks, bytes.len,
                               &at, &room))
        return false;
    memcpy(at, bytes.data, bytes.len);
    stream_buffer_add(&stream->in, bytes.len);
    return true;
}

/* --- writing -------------------------------------------------------------- */

static ssize_t write_pieces(const struct stream *stream, struct iovec *iov,
                            size_t count)
{
    if (!stream->is_socket)
        return writev(stream->fd, iov, (int)count);
    if (count == 1)
        return send(stream->fd, iov->iov_base, iov->iov_len, MSG_NOSIGNAL);
    return sendmsg(stream->fd,
                   &(struct msghdr){ .msg_iov = iov, .msg_iovlen = count },
                   MSG_NOSIGNAL);
}

enum stream_result stream_write(struct stream *stream,
                                const struct slice *pieces, size_t count,
                                size_t *taken)
{
    struct iovec iov[STREAM_PIECES];
    size_t asked = 0, used = 0;
    ssize_t n;

    *taken = 0;
    if (stream->state != STREAM_UP || !stream->can_write)
        return STREAM_END;
    assert(count <= STREAM_PIECES);
    for (size_t i = 0; i < count; i++) {
        if (pieces[i].len == 0)
            continue;
        iov[used++] =
            (struct iovec){ .iov_base = (char *)(size_t)pieces[i].data,
                            .iov_len = pieces[i].len };
        asked += pieces[i].len;
    }
    if (asked == 0)
        return STREAM_DONE;
    do
        n = write_pieces(stream, iov, used);
    while (n == -1 && errno == EINTR);
    if (n == -1 && errno != EAGAIN && errno != ENOBUFS) {
        stream->error = errno;
        return STREAM_FAILED;
    }
    if (n > 0) {
        *taken = (size_t)n;
        stream->stats.sent += (size_t)n;
        stream->stats.last_out = stream->streams->loop->now;
    }
    if (*taken == asked) {
        if (!stream->wants_out) /* nobody else waits for room */
            stop_writer(stream);
        return STREAM_DONE;
    }
    stream->wants_out = true;
    start_writer(stream);
    return STREAM_WAIT;
}

/* --- for a layer between -------------------------------------------------- */

void stream_set_raw(struct stream *stream, bool is_raw)
{
    stream->is_raw = is_raw;
    stream->may_have_more = true;
    stream->wants_in = false;
    if (stream->state != STREAM_UP)
        return;
    if (is_raw)
        stop_reader(stream);
    else if (can_receive(stream))
        start_reader(stream);
}

bool stream_is_raw(const struct stream *stream)
{
    return stream->is_raw;
}

void stream_await(struct stream *stream, enum stream_side side)
{
    if (stream->state != STREAM_UP)
        return;
    if (side == STREAM_IN) {
        stream->wants_in = true;
        start_reader(stream);
    } else {
        stream->wants_out = true;
        start_writer(stream);
    }
}

/* --- the life of a stream ------------------------------------------------- */

struct streams *streams_new(struct loop *loop)
{
    struct streams *streams = malloc(sizeof(*streams));

    if (streams == NULL)
        return NULL;
    *streams = (struct streams){ .loop = loop };
    stream_buffer_pool_init(&streams->blocks);
    pool_init(&streams->streams, sizeof(struct stream), KEEP_STREAMS);
    return streams;
}

void streams_del(struct streams *streams)
{
    if (streams == NULL)
        return;
    assert(streams->count == 0);
    pool_free(&streams->blocks);
    pool_free(&streams->streams);
    free(streams);
}

struct stream *stream_new(struct streams *streams)
{
    struct stream *stream = pool_get(&streams->streams);

    if (stream == NULL)
        return NULL;
    *stream = (struct stream){ .streams = streams, .fd = -1 };
    ev_io_init(&stream->reader, on_readable, -1, EV_READ);
    ev_io_init(&stream->writer, on_writable, -1, EV_WRITE);
    stream->reader.data = stream->writer.data = stream;
    streams->count++;
    return stream;
}

void stream_del(struct stream *stream)
{
    struct streams *streams;

    if (stream == NULL)
        return;
    streams = stream->streams;
    stream_close(stream);
    stream_buffer_drop(&stream->in, &streams->blocks);
    pool_put(&streams->streams, stream);
    streams->count--;
}

void stream_set_owner(struct stream *stream, const struct stream_ops *ops,
                      void *owner)
{
    stream->ops = ops;
    stream->owner = owner;
}

void stream_is_up(struct stream *stream, unsigned directions)
{
    double now = stream->streams->loop->now;

    stream->state = STREAM_UP;
    stream->error = 0;
    stream->can_read = (directions & STREAM_READS) != 0;
    stream->can_write = (directions & STREAM_WRITES) != 0;
    stream->has_ended = stream->has_failed = false;
    stream->is_raw = stream->wants_in = stream->wants_out = false;
    stream->may_have_more = false;
    stream->want = 0;
    stream->read_size = STREAM_READ;
    stream->stats =
        (struct stream_stats){ .opened = now, .last_in = now, .last_out = now };
    ev_io_set(&stream->reader, stream->fd, EV_READ);
    ev_io_set(&stream->writer, stream->fd, EV_WRITE);
    if (stream->can_read)
        start_reader(stream);
}

int stream_adopt(struct stream *stream, int fd, unsigned directions)
{
    int flags = fcntl(fd, F_GETFL);
    struct stat what;

    assert(stream->state == STREAM_CLOSED);
    if (flags == -1 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) == -1 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) == -1 || fstat(fd, &what) == -1)
        return -1;
    stream->fd = fd;
    stream->is_socket = S_ISSOCK(what.st_mode);
    stream_buffer_drop(&stream->in, &stream->streams->blocks);
    stream_is_up(stream, directions);
    stream->may_have_more = true;
    return 0;
}

int stream_release(struct stream *stream)
{
    int fd = stream->fd;

    stop_reader(stream);
    stop_writer(stream);
    stream_stop_connecting(stream);
    stream_buffer_drop(&stream->in, &stream->streams->blocks);
    stream->fd = -1;
    stream->state = STREAM_CLOSED;
    stream->error = 0;
    stream->want = 0;
    return fd;
}

void stream_close(struct stream *stream)
{
    stop_reader(stream);
    stop_writer(stream);
    stream_stop_connecting(stream);
    if (stream->fd != -1)
        close(stream->fd);
    stream->fd = -1;
    stream->state = STREAM_CLOSED;
    stream->error = 0;
    stream->has_failed = false;
    stream->is_raw = false;
    stream->want = 0;
}

int stream_shutdown(struct stream *stream, int how)
{
    if (stream->state != STREAM_UP) {
        errno = ENOTCONN;
        return -1;
    }
    if (!stream->is_socket) {
        stream_close(stream);
        return 0;
    }
    if (how != SHUT_RD)
        stream->can_write = false;
    return shutdown(stream->fd, how);
}

int stream_fd(const struct stream *stream)
{
    return stream->fd;
}

bool stream_is_connecting(const struct stream *stream)
{
    return stream->state == STREAM_CONNECTING;
}

int stream_error(const struct stream *stream)
{
    return stream->error;
}

struct stream_stats *stream_stats(struct stream *stream)
{
    return &stream->stats;
}
