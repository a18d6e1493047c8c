/* accept.c -- see accept.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "io/accept.h"

#include "base/log.h"
#include "io/loop_ev.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static const double pause_seconds = 0.1;   /* before accept is tried again */
static const double share_seconds = 0.001; /* that are left to others */
static const double log_seconds = 60;      /* between two lines about it */
enum {
    BURST_MAX = 64,
    LATE_MAX = 4 /* of those that others should have taken */
};

struct acceptor {
    struct acceptors *all;
    const struct acceptor_protocol *protocol;
    struct ev_io watcher;
    unsigned burst; /* accepts to try at the next event */
};

struct acceptors {
    struct loop *loop;
    struct conns *conns;
    struct ev_timer retry;
    double logged;
    uint32_t (*room)(void *arg); /* or NULL */
    void *arg;
    bool has_waited; /* left them to others: takes what is there now */
    bool stopped, paused;
    size_t count;
    struct acceptor items[];
};

static void resume(struct acceptors *all)
{
    if (all->stopped || conns_are_full(all->conns))
        return;
    all->paused = false;
    for (size_t i = 0; i < all->count; i++)
        ev_io_start(all->loop->ev, &all->items[i].watcher);
}

static void pause_all(struct acceptors *all)
{
    all->paused = true;
    for (size_t i = 0; i < all->count; i++)
        ev_io_stop(all->loop->ev, &all->items[i].watcher);
}

static void on_retry(struct ev_loop *ev, struct ev_timer *watcher, int events)
{
    (void)ev;
    (void)events;
    resume(watcher->data);
}

static void on_conn_close(void *arg)
{
    struct acceptors *all = arg;

    if (all->paused && !ev_is_active(&all->retry))
        resume(all);
}

/* No descriptors or no memory: trying again at once would only spin. */
static void pause_for_a_while(struct acceptors *all, int error)
{
    if (all->logged <= 0 || all->loop->now - all->logged >= log_seconds) {
        all->logged = all->loop->now;
        log_write(LOG_LEVEL_ERROR, "accept: %s; new connections wait",
                  strerror(error));
    }
    pause_all(all);
    ev_timer_set(&all->retry, pause_seconds, 0);
    ev_timer_start(all->loop->ev, &all->retry);
}

/* What accept says of one connection, not of us (accept(2)). */
static bool concerns_one(int error)
{
    switch (error) {
    case ECONNABORTED:
    case EINTR:
    case EPROTO:
    case EPERM:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
        return true;
    default:
        return false;
    }
}

/* Returns false when there is nothing more to accept for now. */
static bool accept_one(struct acceptor *acceptor)
{
    struct acceptors *all = acceptor->all;
    const struct peers *peers = acceptor->protocol->peers;
    struct sockaddr_storage from;
    socklen_t len = sizeof(from);
    bool ask = peers != NULL && peers->is_restricted;
    int fd =
        accept4(acceptor->watcher.fd, ask ? (struct sockaddr *)&from : NULL,
                ask ? &len : NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd == -1 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return false;
    if (fd == -1 && concerns_one(errno))
        return true;
    if (fd == -1) {
        pause_for_a_while(all, errno);
        return false;
    }
    if (ask && !peers_allow(peers, (struct sockaddr *)&from, len)) {
        log_write(LOG_LEVEL_WARN, "a connection from an address that is not "
                                  "in FCGI_WEB_SERVER_ADDRS was closed");
        close(fd);
        return true;
    }
    if (!conns_open(all->conns, fd, acceptor->protocol->open_wire)) {
        pause_for_a_while(all, ENOMEM);
        return false;
    }
    if (conns_are_full(all->conns)) {
        pause_all(all); /* until one closes */
        return false;
    }
    return true;
}

/* How many of burst to accept now.  None are left to the others not for longer
 * than a millisecond: these may be busy. */
static unsigned share(struct acceptors *all, unsigned burst)
{
    uint32_t room;

    if (all->room == NULL)
        return burst;
    room = all->room(all->arg);
    if (room == 0 && !all->has_waited) {
        all->has_waited = true;
        pause_all(all);
        ev_timer_set(&all->retry, share_seconds, 0);
        ev_timer_start(all->loop->ev, &all->retry);
        return 0;
    }
    all->has_waited = false;
    if (room == 0)
        room = LATE_MAX;
    return room < burst ? room : burst;
}

/* As many as last time and one more: asking until there are none would cost a
 * system call each time. */
static void on_acceptable(struct ev_loop *ev, struct ev_io *watcher, int events)
{
    struct acceptor *acceptor = watcher->data;
    unsigned n = 0, most;

    (void)ev;
    (void)events;
    if (conns_are_full(acceptor->all->conns)) {
        pause_all(acceptor->all);
        return;
    }
    most = share(acceptor->all, acceptor->burst);
    if (most == 0)
        return;
    while (n < most && accept_one(acceptor))
        n++;
    if (n == most && most < acceptor->burst)
        return;
    if (n == acceptor->burst)
        acceptor->burst = n < BURST_MAX ? n + 1 : BURST_MAX;
    else
        acceptor->burst = n > 0 ? n : 1;
}

struct acceptors *acceptors_new(struct loop *loop, struct conns *conns,
                                const struct listen_set *set,
                                const struct acceptor_protocol *protocols)
{
    struct acceptors *all =
        calloc(1, sizeof(*all) + set->count * sizeof(all->items[0]));

    if (all == NULL)
        return NULL;
    all->loop = loop;
    all->conns = conns;
    all->count = set->count;
    ev_timer_init(&all->retry, on_retry, 0, 0);
    all->retry.data = all;
    for (size_t i = 0; i < set->count; i++) {
        struct acceptor *acceptor = &all->items[i];

        acceptor->all = all;
        acceptor->protocol = &protocols[set->items[i].protocol];
        acceptor->burst = 1;
        ev_io_init(&acceptor->watcher, on_acceptable, set->items[i].fd,
                   EV_READ);
        acceptor->watcher.data = acceptor;
    }
    conns_on_close(conns, on_conn_close, all);
    resume(all);
    return all;
}

void acceptors_share(struct acceptors *acceptors, uint32_t (*room)(void *arg),
                     void *arg)
{
    acceptors->room = room;
    acceptors->arg = arg;
}

void acceptors_stop(struct acceptors *acceptors)
{
    acceptors->stopped = true;
    pause_all(acceptors);
    ev_timer_stop(acceptors->loop->ev, &acceptors->retry);
}

void acceptors_del(struct acceptors *acceptors)
{
    if (acceptors == NULL)
        return;
    acceptors_stop(acceptors);
    conns_on_close(acceptors->conns, NULL, NULL);
    free(acceptors);
}
