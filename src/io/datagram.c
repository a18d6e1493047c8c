/* datagram.c -- see datagram.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "io/datagram.h"

#include "io/loop_ev.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* Received one behind the other without the loop having its turn: a peer that
 * sends faster than we read must not keep others waiting. */
enum { IN_A_ROW_MAX = 32 };

struct datagram {
    struct loop *loop;
    const struct datagram_ops *ops;
    void *owner;
    int fd, family;
    struct ev_io reader, writer;
    unsigned in_a_row;
    bool may_have_one; /* the kernel, for us to receive */
};

/* --- news ----------------------------------------------------------------- */

static void on_readable(struct ev_loop *ev, struct ev_io *watcher, int events)
{
    struct datagram *datagram = watcher->data;

    (void)events;
    datagram->may_have_one = true;
    datagram->in_a_row = 0;
    if (datagram->ops->is_awaited(datagram->owner, DATAGRAM_IN))
        datagram->ops->news(datagram->owner, DATAGRAM_IN);
    else
        ev_io_stop(ev, watcher);
}

static void on_writable(struct ev_loop *ev, struct ev_io *watcher, int events)
{
    struct datagram *datagram = watcher->data;

    (void)events;
    ev_io_stop(ev, watcher);
    datagram->ops->news(datagram->owner, DATAGRAM_OUT);
}

/* --- its life ------------------------------------------------------------- */

struct datagram *datagram_new(struct loop *loop, const struct datagram_ops *ops,
                              void *owner)
{
    struct datagram *datagram = calloc(1, sizeof(*datagram));

    if (datagram == NULL)
        return NULL;
    datagram->loop = loop;
    datagram->ops = ops;
    datagram->owner = owner;
    datagram->fd = -1;
    ev_init(&datagram->reader, on_readable);
    ev_init(&datagram->writer, on_writable);
    datagram->reader.data = datagram->writer.data = datagram;
    return datagram;
}

void datagram_del(struct datagram *datagram)
{
    if (datagram == NULL)
        return;
    datagram_close(datagram);
    free(datagram);
}

static void use(struct datagram *datagram, int fd, int family)
{
    datagram->fd = fd;
    datagram->family = family;
    datagram->may_have_one = true;
    datagram->in_a_row = 0;
    ev_io_set(&datagram->reader, fd, EV_READ);
    ev_io_set(&datagram->writer, fd, EV_WRITE);
}

int datagram_open(struct datagram *datagram, int family)
{
    int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd == -1)
        return -1;
    use(datagram, fd, family);
    return 0;
}

int datagram_adopt(struct datagram *datagram, int fd)
{
    struct endpoint own;
    int type;
    socklen_t len = sizeof(type);

    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == -1)
        return -1;
    if (type != SOCK_DGRAM) {
        errno = EPROTOTYPE;
        return -1;
    }
    if (endpoint_own(fd, &own) == -1 || fcntl(fd, F_SETFD, FD_CLOEXEC) == -1 ||
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) == -1)
        return -1;
    use(datagram, fd, own.as.any.sa_family);
    return 0;
}

int datagram_release(struct datagram *datagram)
{
    int fd = datagram->fd;

    if (fd == -1)
        return -1;
    ev_io_stop(datagram->loop->ev, &datagram->reader);
    ev_io_stop(datagram->loop->ev, &datagram->writer);
    datagram->fd = -1;
    datagram->family = 0;
    return fd;
}

void datagram_close(struct datagram *datagram)
{
    int fd = datagram_release(datagram);

    if (fd != -1)
        close(fd);
}

int datagram_fd(const struct datagram *datagram)
{
    return datagram->fd;
}

int datagram_family(const struct datagram *datagram)
{
    return datagram->family;
}

/* --- addresses ------------------------------------------------------------ */

int datagram_bind(struct datagram *datagram, const struct endpoint *own)
{
    return bind(datagram->fd, &own->as.any, own->len);
}

/* With nothing but its family the kernel chooses an abstract address (unix(7),
 * autobind).  One that has an address keeps it. */
static void bind_to_any_path(struct datagram *datagram)
{
    const struct sockaddr_un any = { .sun_family = AF_UNIX };
    struct endpoint own;

    if (endpoint_own(datagram->fd, &own) == 0 &&
        own.len <= sizeof(any.sun_family))
        bind(datagram->fd, (const struct sockaddr *)&any,
             sizeof(any.sun_family)); /* else there are no answers */
}

/* With its peer a socket loses its port if the kernel had chosen that, though
 * others may know it by now: it is taken again. */
static int end_peer(struct datagram *datagram)
{
    static const struct sockaddr none = { .sa_family = AF_UNSPEC };
    struct endpoint before, after;

    if (endpoint_own(datagram->fd, &before) == -1 ||
        connect(datagram->fd, &none, sizeof(none)) == -1)
        return -1;
    if (endpoint_port(&before) == 0 ||
        endpoint_own(datagram->fd, &after) == -1 || endpoint_port(&after) != 0)
        return 0;
    if (after.as.any.sa_family == AF_INET6)
        after.as.v6.sin6_port = before.as.v6.sin6_port;
    else
        after.as.v4.sin_port = before.as.v4.sin_port;
    bind(datagram->fd, &after.as.any, after.len); /* or it gets another one */
    return 0;
}

int datagram_connect(struct datagram *datagram, const struct endpoint *peer)
{
    if (peer == NULL)
        return end_peer(datagram);
    if (datagram->family == AF_UNIX)
        bind_to_any_path(datagram);
    return connect(datagram->fd, &peer->as.any, peer->len);
}

/* --- datagrams ------------------------------------------------------------ */

static enum datagram_result failed(struct datagram *datagram,
                                   struct ev_io *watcher)
{
    if (errno != EAGAIN && errno != EWOULDBLOCK)
        return DATAGRAM_FAILED;
    ev_io_start(datagram->loop->ev, watcher); /* no-op if it runs */
    return DATAGRAM_WAIT;
}

enum datagram_result datagram_send(struct datagram *datagram,
                                   struct slice bytes,
                                   const struct endpoint *to)
{
    ssize_t n;

    do {
        n = sendto(datagram->fd, bytes.data, bytes.len, MSG_NOSIGNAL,
                   to == NULL ? NULL : &to->as.any, to == NULL ? 0 : to->len);
    } while (n == -1 && errno == EINTR);
    if (n == -1)
        return failed(datagram, &datagram->writer);
    if (to == NULL)
        datagram->may_have_one = false; /* the answer takes its time */
    return DATAGRAM_DONE;
}

enum datagram_result datagram_receive(struct datagram *datagram, char *room,
                                      size_t size, bool must_ask, size_t *len,
                                      struct endpoint *from)
{
    ssize_t n;

    errno = EAGAIN;
    if (!must_ask && datagram->fd != -1 &&
        (!datagram->may_have_one || datagram->in_a_row >= IN_A_ROW_MAX))
        return failed(datagram, &datagram->reader);
    do {
        *from = (struct endpoint){ .len = sizeof(from->as) };
        n = recvfrom(datagram->fd, room, size, 0, &from->as.any, &from->len);
    } while (n == -1 && errno == EINTR);
    if (n == -1) {
        datagram->may_have_one = errno != EAGAIN && errno != EWOULDBLOCK;
        return failed(datagram, &datagram->reader);
    }
    datagram->may_have_one = true;
    datagram->in_a_row++;
    *len = (size_t)n;
    return DATAGRAM_DONE;
}
