/* conn.c -- see conn.h for the contract.
 *
 *     OPEN -- wire says close, output written --> closed
 *      |  `-- wire says linger, output written --> LINGERING -- eof --> closed
 *      `-- eof or error --> (aborts; output of what had ended) --> closed
 *
 * SPDX-License-Identifier: MIT
 */
#include "io/conn.h"

#include "io/ends.h"
#include "io/loop_ev.h"
#include "io/send.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    WRITE_CAP = 1024 * 1024, /* bytes a turn: others want to speak too */
    READ_ROOM = 16 * 1024,   /* below this a shared block is not read into */
    KEEP_CONNS = 256
};

/* Who has its answer and still sends must not hold up the end. */
static const double drain_linger = 1;

struct conns {
    struct loop *loop;
    struct service *service;
    struct list all;
    struct list paused; /* not being read: asked once a second for their end */
    struct ev_timer pulse;
    struct pool pool;
    struct block *block; /* that input is received into */
    size_t block_used;
    unsigned count;
    bool draining;
    unsigned surplus; /* connections that others should have */
    void (*on_close)(void *arg);
    void *on_close_arg;
    bool (*give_away)(void *arg, int fd);
    void *give_away_arg;
};

struct conn {
    struct loop_speaker speaker; /* first: the one is the other */
    struct list link;            /* in all */
    struct list paused;
    struct conns *conns;
    struct wire *wire;
    struct ev_io reader, writer;
    struct ev_timer timer;
    double last_read, last_write;
    double read_since; /* when reading went on after a pause */
    double linger_until;
    double timer_at;
    uint64_t lingered; /* bytes dropped */
    int fd;
    bool lingering;
    bool got_eof;
    bool is_closed;
};

static void conn_close(struct conn *conn);
static void conn_speak(struct loop_speaker *speaker);

static void conn_touch(struct conn *conn)
{
    loop_touch(conn->conns->loop, &conn->speaker);
}

static void wire_has_changed(void *owner)
{
    conn_touch(owner);
}

/* The peer has gone. */
static void conn_eof(struct conn *conn)
{
    if (conn->got_eof)
        return;
    conn->got_eof = true;
    conn->wire->ops->eof(conn->wire);
    conn_touch(conn);
}

static void drop_input(struct conn *conn, size_t n)
{
    conn->lingered += n;
    if (conn->lingered > conn->conns->service->limits.linger_bytes)
        conn_eof(conn);
}

/* The block that all connections receive into, with room to read.  Bodies that
 * kept bytes hold their own references. */
static bool have_block(struct conns *conns)
{
    if (conns->block != NULL && conns->block->refs == 1)
        conns->block_used = 0;
    if (conns->block != NULL && BLOCK_SIZE - conns->block_used >= READ_ROOM)
        return true;
    block_unref(conns->block);
    conns->block = block_new(&conns->service->blocks);
    conns->block_used = 0;
    return conns->block != NULL;
}

static void tell_ends(void *owner, struct wire_ends *ends)
{
    ends_of(((struct conn *)owner)->fd, ends);
}

static void conn_own(struct conn *conn)
{
    conn->wire->changed = wire_has_changed;
    conn->wire->ends = tell_ends;
    conn->wire->owner = conn;
}

/* The wire has found out who is to speak in its place. */
static void conn_succeed(struct conn *conn)
{
    struct wire *last = conn->wire;

    conn->wire = last->successor;
    conn_own(conn);
    last->successor = NULL;
    last->changed = NULL;
    last->ops->close(last);
}

static void conn_read(struct conn *conn)
{
    struct conns *conns = conn->conns;
    struct block *block;
    char *at;
    ssize_t n;

    if (!have_block(conns))
        return; /* the bytes wait in the kernel */
    block = conns->block;
    at = block->data + conns->block_used;
    n = recv(conn->fd, at, BLOCK_SIZE - conns->block_used, 0);
    if (n > 0) {
        conn->last_read = conns->loop->now;
        conn_touch(conn);
        if (conn->lingering || conn->wire->state != WIRE_OPEN) {
            drop_input(conn, (size_t)n);
            return;
        }
        conn->wire->ops->feed(conn->wire, block,
                              (struct slice){ at, (size_t)n });
        if (conn->wire->successor != NULL)
            conn_succeed(conn);
        if (block->refs > 1)
            conns->block_used += (size_t)n;
        return;
    }
    if (n == -1 && (errno == EAGAIN || errno == EINTR))
        return;
    conn_eof(conn);
    if (n == -1) /* a reset: nobody reads what is left */
        conn->wire->state = WIRE_BROKEN;
}

static void on_readable(struct ev_loop *ev, struct ev_io *watcher, int events)
{
    (void)ev;
    (void)events;
    conn_read(watcher->data);
}

static void on_writable(struct ev_loop *ev, struct ev_io *watcher, int events)
{
    (void)events;
    ev_io_stop(ev, watcher);
    conn_touch(watcher->data);
}

/* When something must have happened; INFINITY: nothing is owed. */
static double deadline(const struct conn *conn)
{
    const struct limits *limits = &conn->conns->service->limits;
    const struct wire *wire = conn->wire;
    double owed = wire->ops->owed_since(wire);
    double at = INFINITY;

    if (conn->lingering)
        return conn->linger_until;
    if (wire->out.len > 0)
        at = conn->last_write + limits->write_timeout;
    if (owed > 0 && list_is_empty(&conn->paused)) /* we are not reading else */
        at = fmin(at, fmax(owed, conn->read_since) + limits->header_timeout);
    else if (wire->out.len == 0 && !wire->ops->is_busy(wire))
        at = fmin(at, fmax(conn->last_read, conn->last_write) +
                          limits->idle_timeout);
    return at;
}

static void arm_timer(struct conn *conn, double at)
{
    struct loop *loop = conn->conns->loop;

    conn->timer_at = at;
    ev_timer_stop(loop->ev, &conn->timer);
    ev_timer_set(&conn->timer, fmax(at - loop->now, 0), 0);
    ev_timer_start(loop->ev, &conn->timer);
}

/* Time was only noted while things happened; here it is looked at. */
static void on_timer(struct ev_loop *ev, struct ev_timer *watcher, int events)
{
    struct conn *conn = watcher->data;
    double at;

    (void)ev;
    (void)events;
    conn->timer_at = INFINITY;
    if (!conn->got_eof && list_is_empty(&conn->paused))
        conn_read(conn); /* it may have come while the loop was busy */
    at = deadline(conn);
    if (at > conn->conns->loop->now) {
        if (at < INFINITY)
            arm_timer(conn, at);
        return;
    }
    conn_eof(conn);
    conn->wire->state = WIRE_BROKEN;
    conn_touch(conn);
}

/* Connections that are not read would not tell that their peer has gone. */
static void on_pulse(struct ev_loop *ev, struct ev_timer *watcher, int events)
{
    struct conns *conns = watcher->data;
    struct pollfd *fds;
    nfds_t n = 0;
    struct list *link, *next;

    (void)events;
    for (link = conns->paused.next; link != &conns->paused; link = link->next)
        n++;
    if (n == 0) {
        ev_timer_stop(ev, watcher);
        return;
    }
    fds = calloc(n, sizeof(*fds));
    if (fds == NULL)
        return;
    n = 0;
    for (link = conns->paused.next; link != &conns->paused; link = link->next)
        fds[n++] =
            (struct pollfd){ .fd = list_entry(link, struct conn, paused)->fd,
                             .events = POLLRDHUP };
    if (poll(fds, n, 0) > 0) {
        n = 0;
        for (link = conns->paused.next; link != &conns->paused; link = next) {
            next = link->next;
            if ((fds[n++].revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0)
                conn_eof(list_entry(link, struct conn, paused));
        }
    }
    free(fds);
}

static void set_reading(struct conn *conn, bool on)
{
    struct conns *conns = conn->conns;
    struct ev_loop *ev = conns->loop->ev;

    if (on) {
        if (!list_is_empty(&conn->paused))
            conn->read_since = conns->loop->now;
        list_remove(&conn->paused);
        ev_io_start(ev, &conn->reader);
        return;
    }
    ev_io_stop(ev, &conn->reader);
    if (conn->got_eof)
        list_remove(&conn->paused);
    else if (list_is_empty(&conn->paused))
        list_append(&conns->paused, &conn->paused);
    if (!conn->got_eof && !ev_is_active(&conns->pulse))
        ev_timer_again(ev, &conns->pulse);
}

/* Writes what the kernel takes.  Returns false when the peer has gone. */
static bool conn_write(struct conn *conn)
{
    struct wire *wire = conn->wire;
    size_t written = 0;

    while (wire->out.len > 0 && written < WRITE_CAP) {
        size_t asked;
        ssize_t n = send_front(conn->fd, &wire->out, &asked);

        if (n == -1 && errno == EINTR)
            continue;
        if (n == -1 && (errno == EAGAIN || errno == ENOBUFS))
            break;
        if (n == -1)
            return false;
        written += (size_t)n;
        chain_drain(&wire->out, (size_t)n);
        if ((size_t)n < asked)
            break;
    }
    if (written > 0) {
        conn->last_write = conn->conns->loop->now;
        wire->ops->drained(wire);
    }
    return true;
}

/* All is written that the wire wanted to say. */
static void conn_end(struct conn *conn)
{
    if (conn->wire->state != WIRE_LINGER || conn->got_eof) {
        conn_close(conn);
        return;
    }
    if (conn->lingering)
        return;
    conn->lingering = true;
    conn->linger_until =
        conn->conns->loop->now +
        (conn->conns->draining ? drain_linger
                               : conn->conns->service->limits.linger_timeout);
    shutdown(conn->fd, SHUT_WR);
}

/* The connection outlives this turn: what does it wait for? */
static void conn_settle(struct conn *conn)
{
    struct wire *wire = conn->wire;
    double at;

    set_reading(conn, !conn->got_eof && (wire->state != WIRE_OPEN ||
                                         wire->ops->want_read(wire)));
    if (wire->out.len > 0)
        ev_io_start(conn->conns->loop->ev, &conn->writer);
    at = deadline(conn);
    if (at < conn->timer_at)
        arm_timer(conn, at);
}

/* Is it between two requests, with nothing of either side under way? */
static bool is_idle(const struct conn *conn)
{
    const struct wire *wire = conn->wire;

    return wire->state == WIRE_OPEN && !wire->ops->is_busy(wire) &&
           wire->ops->owed_since(wire) <= 0;
}

/* An idle connection of a worker that drains, or has too many of them. */
static void conn_retire(struct conn *conn)
{
    struct conns *conns = conn->conns;
    struct wire *wire = conn->wire;

    if (conns->draining && (conns->give_away == NULL || conn->got_eof)) {
        wire->state = WIRE_CLOSE;
    } else if (conns->give_away != NULL && !conn->got_eof &&
               wire->out.len == 0) {
        bool is_given = conns->give_away(conns->give_away_arg, conn->fd);

        if (is_given || conns->draining)
            wire->state = WIRE_BROKEN; /* ours closes; nothing is shut down */
        if (is_given && conns->surplus > 0)
            conns->surplus--;
        else
            conns->surplus = 0;
    }
}

static void conn_speak(struct loop_speaker *speaker)
{
    struct conn *conn = (struct conn *)(void *)speaker;
    struct wire *wire = conn->wire;

    if (wire->state != WIRE_BROKEN && wire->out.len > 0 &&
        !ev_is_active(&conn->writer) && !conn_write(conn)) {
        conn_eof(conn);
        wire->state = WIRE_BROKEN;
    }
    if ((conn->conns->draining || conn->conns->surplus > 0) && is_idle(conn))
        conn_retire(conn);
    if (wire->state == WIRE_BROKEN)
        conn_close(conn);
    else if (wire->state != WIRE_OPEN && wire->out.len == 0)
        conn_end(conn);
    if (!conn->is_closed)
        conn_settle(conn);
}

static void conn_del(struct loop_speaker *speaker)
{
    struct conn *conn = (struct conn *)(void *)speaker;
    struct conns *conns = conn->conns;

    conn->wire->changed = NULL;
    conn->wire->ops->close(conn->wire);
    pool_put(&conns->pool, conn);
}

/* The socket goes at once; the memory, which a caller may be using, in reap. */
static void conn_close(struct conn *conn)
{
    struct conns *conns = conn->conns;
    struct ev_loop *ev = conns->loop->ev;

    conn->is_closed = true;
    ev_io_stop(ev, &conn->reader);
    ev_io_stop(ev, &conn->writer);
    ev_timer_stop(ev, &conn->timer);
    close(conn->fd);
    list_remove(&conn->link);
    list_remove(&conn->paused);
    conns->count--;
    loop_bury(conns->loop, &conn->speaker, conn_del);
    if (conns->on_close != NULL)
        conns->on_close(conns->on_close_arg);
}

bool conns_open(struct conns *conns, int fd, wire_open_fn *open_wire)
{
    struct conn *conn = pool_get(&conns->pool);
    struct wire *wire = conn == NULL ? NULL : open_wire(conns->service);

    if (wire == NULL) {
        pool_put(&conns->pool, conn);
        close(fd);
        return false;
    }
    *conn = (struct conn){
        .conns = conns,
        .wire = wire,
        .fd = fd,
        .last_read = conns->loop->now,
        .last_write = conns->loop->now,
        .timer_at = INFINITY,
        .speaker.speak = conn_speak,
    };
    conns->service->accepted++;
    conn_own(conn);
    list_init(&conn->speaker.link);
    list_init(&conn->paused);
    list_append(&conns->all, &conn->link);
    ev_io_init(&conn->reader, on_readable, fd, EV_READ);
    ev_io_init(&conn->writer, on_writable, fd, EV_WRITE);
    ev_timer_init(&conn->timer, on_timer, 0, 0);
    conn->reader.data = conn->writer.data = conn->timer.data = conn;
    conns->count++;
    conn_touch(conn);
    conn_read(conn); /* the web server has nearly always written already */
    return true;
}

bool conns_are_full(const struct conns *conns)
{
    return conns->count >= conns->service->limits.max_conns;
}

unsigned conns_count(const struct conns *conns)
{
    return conns->count;
}

bool conns_close_quietest(struct conns *conns)
{
    struct conn *quietest = NULL;
    double since = INFINITY;

    for (struct list *link = conns->all.next; link != &conns->all;
         link = link->next) {
        struct conn *conn = list_entry(link, struct conn, link);
        double last = fmax(conn->last_read, conn->last_write);

        if (!conn->wire->ops->is_busy(conn->wire) && last < since) {
            quietest = conn;
            since = last;
        }
    }
    if (quietest != NULL)
        conn_close(quietest);
    return quietest != NULL;
}

void conns_on_close(struct conns *conns, void (*fn)(void *arg), void *arg)
{
    conns->on_close = fn;
    conns->on_close_arg = arg;
}

void conns_on_idle(struct conns *conns, bool (*give_away)(void *arg, int fd),
                   void *arg)
{
    conns->give_away = give_away;
    conns->give_away_arg = arg;
}

void conns_shed(struct conns *conns, unsigned n)
{
    conns->surplus = n;
    for (struct list *link = conns->all.next; link != &conns->all && n > 0;
         link = link->next)
        conn_touch(list_entry(link, struct conn, link));
}

void conns_drain(struct conns *conns)
{
    conns->draining = true;
    for (struct list *link = conns->all.next; link != &conns->all;
         link = link->next) {
        struct conn *conn = list_entry(link, struct conn, link);

        /* A request may have come that the loop has not heard of yet: it is
         * served here, unless another process takes over with all bytes. */
        if (!conn->got_eof && !conn->wire->ops->is_busy(conn->wire) &&
            conns->give_away == NULL)
            conn_read(conn);
        if (conn->lingering)
            conn->linger_until =
                fmin(conn->linger_until, conns->loop->now + drain_linger);
        conn_touch(conn);
    }
}

struct conns *conns_new(struct loop *loop, struct service *service)
{
    struct conns *conns = calloc(1, sizeof(*conns));

    if (conns == NULL)
        return NULL;
    conns->loop = loop;
    conns->service = service;
    list_init(&conns->all);
    list_init(&conns->paused);
    pool_init(&conns->pool, sizeof(struct conn), KEEP_CONNS);
    ev_timer_init(&conns->pulse, on_pulse, 0, 1.0);
    conns->pulse.data = conns;
    return conns;
}

static void free_conns(struct conns *conns)
{
    block_unref(conns->block);
    pool_free(&conns->pool);
    free(conns);
}

void conns_del(struct conns *conns)
{
    if (conns == NULL)
        return;
    conns->on_close = NULL;
    ev_timer_stop(conns->loop->ev, &conns->pulse);
    while (!list_is_empty(&conns->all))
        conn_close(list_entry(conns->all.next, struct conn, link));
    while (!list_is_empty(&conns->loop->dead)) {
        struct loop_speaker *speaker = list_entry(list_take(&conns->loop->dead),
                                                  struct loop_speaker, link);

        speaker->speak(speaker);
    }
    free_conns(conns);
}
