/* floor.c -- the least that a FastCGI responder can cost: epoll, records,
 * a canned answer and nothing else.  What fcgi-lua spends above it is the
 * price of parameters, Lua and features.
 *
 * It is an honest floor: records may be cut anywhere and padded, any ids may
 * be multiplexed, KEEP_CONN is obeyed, a slow reader blocks nobody.  And it
 * is a fast one: a connection is read straight after accept and, when it is
 * closed in the same turn, never meets epoll_ctl; all answers to one read
 * leave in one send; a short read means that nothing is left; nothing is
 * allocated in the steady state.
 *
 * Management records and the content of PARAMS are skipped: no parameter
 * changes a canned answer.
 *
 * SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "bench.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
    RECV_SIZE = 64 * 1024,
    SEND_SIZE = 64 * 1024, /* small answers are gathered up to this */
    EVENTS = 256,
    BACKLOG = 4096,
    ID_KEEP = 0x10000 /* beside an id: its BEGIN had KEEP_CONN */
};

/* Grows and never shrinks: a connection's lists live as long as the program. */
struct ids {
    uint32_t *at;
    size_t n, room;
};

struct conn {
    int fd;
    uint32_t events; /* what epoll watches; 0: not added */
    bool closing;    /* the last queued answer ends it */
    size_t have;     /* bytes of a cut record in head */
    uint8_t head[RECORD_HEAD + RECORD_BODY];
    size_t skip;                /* content and padding still to come */
    struct ids active, answers; /* begun; to be answered, in this order */
    size_t sent;                /* bytes of answers.at[0] already gone */
    struct conn *next_free;
};

/* One answer, framed.  The ids in its record heads are set before it is
 * sent, so a 1 MiB answer needs no copy. */
static struct {
    uint8_t *bytes;
    size_t len;
    size_t *heads; /* where each record begins */
    size_t records;
} answer;

static int epoll_fd, listen_fd;
static struct conn *free_conns;
static uint8_t recv_buffer[RECV_SIZE], send_buffer[SEND_SIZE];

static void ids_add(struct ids *ids, uint32_t id)
{
    if (ids->n == ids->room) {
        ids->room = ids->room == 0 ? 16 : ids->room * 2;
        ids->at = must_alloc(ids->at, ids->room * sizeof(*ids->at));
    }
    ids->at[ids->n++] = id;
}

/* Takes id out of ids, whose youngest is the likeliest.  False: not there. */
static bool ids_take(struct ids *ids, unsigned id, bool *keep)
{
    for (size_t i = ids->n; i-- > 0;)
        if ((ids->at[i] & 0xffff) == id) {
            *keep = (ids->at[i] & ID_KEEP) != 0;
            ids->at[i] = ids->at[--ids->n];
            return true;
        }
    return false;
}

static void answer_record(enum record_type type, size_t len)
{
    answer.heads[answer.records++] = answer.len;
    record_head(answer.bytes + answer.len, type, 0, len, 0);
    answer.len += RECORD_HEAD;
}

/* Frames the hello, or size bytes of x as a body. */
static void answer_build(size_t size)
{
    const char *text = ANSWER_HEAD ANSWER_BODY;
    size_t head = strlen(ANSWER_HEAD);
    size_t total = size > 0 ? head + size : strlen(text);
    uint8_t *all = must_alloc(NULL, total);

    memset(all, 'x', total);
    memcpy(all, text, size > 0 ? head : total);
    answer.bytes = must_alloc(NULL, total + total / 1024 + 256);
    answer.heads =
        must_alloc(NULL, (total / RECORD_MAX + 3) * sizeof(*answer.heads));
    for (size_t done = 0, n; done < total; done += n) {
        n = total - done < RECORD_MAX ? total - done : RECORD_MAX;
        answer_record(RECORD_STDOUT, n);
        memcpy(answer.bytes + answer.len, all + done, n);
        answer.len += n;
    }
    answer_record(RECORD_STDOUT, 0);
    answer_record(RECORD_END, RECORD_BODY);
    memset(answer.bytes + answer.len, 0, RECORD_BODY);
    answer.len += RECORD_BODY;
    free(all);
}

static void answer_address(uint8_t *bytes, uint32_t id)
{
    for (size_t i = 0; i < answer.records; i++) {
        bytes[answer.heads[i] + 2] = (uint8_t)(id >> 8);
        bytes[answer.heads[i] + 3] = (uint8_t)id;
    }
}

static void conn_del(struct conn *conn)
{
    close(conn->fd); /* leaves epoll by this, too */
    conn->next_free = free_conns;
    free_conns = conn;
}

static struct conn *conn_new(int fd)
{
    struct conn *conn = free_conns;
    struct ids active, answers;

    if (conn == NULL) {
        conn = must_alloc(NULL, sizeof(*conn));
        *conn = (struct conn){ .fd = fd };
        return conn;
    }
    free_conns = conn->next_free;
    active = conn->active;
    answers = conn->answers;
    active.n = answers.n = 0;
    *conn = (struct conn){ .fd = fd, .active = active, .answers = answers };
    return conn;
}

static void conn_watch(struct conn *conn, uint32_t events)
{
    struct epoll_event ev = { .events = events, .data.ptr = conn };
    int op = conn->events == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;

    if (conn->events != events && epoll_ctl(epoll_fd, op, conn->fd, &ev) != 0)
        die("epoll_ctl");
    conn->events = events;
}

/* The head of a record, for BEGIN with its body, says all.  False: the peer
 * does not speak FastCGI 1. */
static bool conn_record(struct conn *conn, const uint8_t *head)
{
    size_t len = record_length(head);
    bool keep;

    if (head[0] != 1)
        return false;
    conn->skip = len + head[6];
    switch (head[1]) {
    case RECORD_BEGIN:
        if (len != RECORD_BODY)
            return false;
        conn->skip -= RECORD_BODY;
        keep = (head[RECORD_HEAD + 2] & BEGIN_KEEP_CONN) != 0;
        ids_add(&conn->active, record_id(head) | (keep ? ID_KEEP : 0));
        break;
    case RECORD_STDIN: /* a body is swallowed; its end is answered */
        if (len > 0)
            break;
        /* fallthrough */
    case RECORD_ABORT: /* a whole answer is soon enough */
        if (ids_take(&conn->active, record_id(head), &keep)) {
            ids_add(&conn->answers, record_id(head));
            conn->closing = !keep;
        }
        break;
    default:
        break;
    }
    return true;
}

static bool conn_feed(struct conn *conn, const uint8_t *in, size_t n)
{
    while (n > 0 && !conn->closing) {
        const uint8_t *head = conn->have > 0 ? conn->head : in;
        size_t known = conn->have > 0 ? conn->have : n;
        size_t size = RECORD_HEAD, take;

        if (conn->skip > 0) {
            take = n < conn->skip ? n : conn->skip;
            conn->skip -= take;
            in += take;
            n -= take;
            continue;
        }
        if (known >= RECORD_HEAD && head[1] == RECORD_BEGIN)
            size += RECORD_BODY;
        if (conn->have == 0 && n >= size) { /* nearly always: in place */
            in += size;
            n -= size;
            if (!conn_record(conn, head))
                return false;
            continue;
        }
        take = size - conn->have < n ? size - conn->have : n;
        memcpy(conn->head + conn->have, in, take);
        conn->have += take;
        in += take;
        n -= take;
        if (conn->have < RECORD_HEAD ||
            (conn->head[1] == RECORD_BEGIN && conn->have < sizeof(conn->head)))
            continue;
        conn->have = 0;
        if (!conn_record(conn, conn->head))
            return false;
    }
    return true;
}

/* As many answers as one send may take: large ones from where they are. */
static const uint8_t *conn_output(struct conn *conn, size_t *len)
{
    size_t fit = SEND_SIZE / answer.len;
    size_t n = conn->answers.n < fit ? conn->answers.n : fit;

    if (fit < 2) {
        answer_address(answer.bytes, conn->answers.at[0]);
        *len = answer.len - conn->sent;
        return answer.bytes + conn->sent;
    }
    for (size_t i = 0; i < n; i++) {
        memcpy(send_buffer + i * answer.len, answer.bytes, answer.len);
        answer_address(send_buffer + i * answer.len, conn->answers.at[i]);
    }
    *len = n * answer.len - conn->sent;
    return send_buffer + conn->sent;
}

/* Sends what is queued.  False: the connection is lost. */
static bool conn_speak(struct conn *conn)
{
    struct ids *queue = &conn->answers;

    while (queue->n > 0) {
        size_t len, gone;
        const uint8_t *out = conn_output(conn, &len);
        ssize_t n = send(conn->fd, out, len, MSG_NOSIGNAL);

        if (n == -1)
            return errno == EAGAIN || errno == EINTR;
        gone = (conn->sent + (size_t)n) / answer.len;
        conn->sent = (conn->sent + (size_t)n) % answer.len;
        queue->n -= gone;
        if (queue->n > 0)
            memmove(queue->at, queue->at + gone, queue->n * sizeof(*queue->at));
        if ((size_t)n < len)
            break;
    }
    return true;
}

/* One recv, one send.  What the buffer did not hold, epoll will report. */
static void conn_turn(struct conn *conn, uint32_t events)
{
    ssize_t n;

    if (conn->answers.n == 0 && (events & ~(uint32_t)EPOLLOUT) != 0) {
        n = recv(conn->fd, recv_buffer, sizeof(recv_buffer), 0);
        if (n == 0 || (n == -1 && errno != EAGAIN && errno != EINTR) ||
            (n > 0 && !conn_feed(conn, recv_buffer, (size_t)n))) {
            conn_del(conn);
            return;
        }
    }
    if (!conn_speak(conn) || (conn->closing && conn->answers.n == 0))
        conn_del(conn);
    else
        conn_watch(conn, conn->answers.n > 0 ? EPOLLOUT : EPOLLIN);
}

/* Takes as many as the last burst found, and tries one more only now and
 * then: an accept that finds nothing costs as much as one that does. */
static void accept_burst(void)
{
    static unsigned burst = 1, calm;
    unsigned max = burst + (calm == 0);

    calm = calm == 0 ? 3 : calm - 1;
    for (unsigned i = 0; i < max; i++) {
        int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd == -1 && (errno == EAGAIN || errno == EINTR)) {
            burst = i > 0 ? i : 1;
            return;
        }
        if (fd == -1)
            die("accept4");
        conn_turn(conn_new(fd), EPOLLIN);
    }
    burst = max;
}

static void listen_open(const char *where)
{
    union address addr;
    socklen_t len = address_parse(where, &addr);
    int family = addr.any.sa_family, on = 1;
    struct epoll_event ev = { .events = EPOLLIN };

    listen_fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listen_fd == -1)
        die("socket");
    if (family == AF_UNIX) {
        unlink(where);
    } else { /* accepted sockets inherit the second one */
        setsockopt(listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        setsockopt(listen_fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    }
    if (bind(listen_fd, &addr.any, len) != 0)
        die("bind");
    if (listen(listen_fd, BACKLOG) != 0)
        die("listen");
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd == -1 ||
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listen_fd, &ev) != 0)
        die("epoll");
}

int main(int argc, char **argv)
{
    struct epoll_event events[EVENTS];
    double size = 0;
    int opt, n;

    while ((opt = getopt(argc, argv, "o:")) == 'o')
        size = must_number(optarg);
    if (opt != -1 || optind + 1 != argc) {
        fprintf(stderr, "Usage: %s [-o BODY_BYTES] /SOCKET|HOST:PORT\n",
                argv[0]);
        return 2;
    }
    answer_build((size_t)size);
    listen_open(argv[optind]);
    for (;;) {
        n = epoll_wait(epoll_fd, events, EVENTS, -1);
        if (n == -1 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < n; i++)
            if (events[i].data.ptr == NULL)
                accept_burst();
            else
                conn_turn(events[i].data.ptr, events[i].events);
    }
}
