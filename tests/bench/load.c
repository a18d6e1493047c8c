/* load.c -- plays a web server under load: sends prebuilt requests as nginx
 * makes them (27 parameters, about 1 KB) and checks every byte that comes
 * back.
 *
 *   close  a connection per request
 *   keep   KEEP_CONN, one request at a time on each connection
 *   mux    KEEP_CONN, K ids on each connection: K requests leave in one send,
 *          the next K when all are answered
 *
 * Before the load one request, and in mux mode two interleaved ones, show
 * what the server answers: that answer is checked against what was asked for,
 * and all later ones must equal it byte for byte.  A server that refuses to
 * multiplex, serves one connection only or closes kept ones is reported, not
 * waited for.
 *
 * The result is one line of JSON on stdout.
 *
 * SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "bench.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum {
    RECV_SIZE = 256 * 1024,
    EVENTS = 256,
    STDIN_RECORD = 32768, /* as large as nginx makes them */
    PROBE_SECONDS = 5,
    TICK_MS = 50,
    STARVED_MS = 200, /* silence after which one never served is given up */
    LOST_MS = 2000,   /* and one that was */
    ERRORS_MAX = 1000 /* a broken server is not worth more */
};

enum mode { MODE_CLOSE, MODE_KEEP, MODE_MUX };

static const char *const params[][2] = {
    { "QUERY_STRING", "page=3&sort=price&order=asc" },
    { "REQUEST_METHOD", NULL }, /* these two depend on the body */
    { "CONTENT_LENGTH", NULL },
    { "CONTENT_TYPE", "" },
    { "SCRIPT_NAME", "/shop/items" },
    { "REQUEST_URI", ANSWER_URI },
    { "DOCUMENT_URI", "/shop/items" },
    { "DOCUMENT_ROOT", "/var/www/html" },
    { "SERVER_PROTOCOL", "HTTP/1.1" },
    { "REQUEST_SCHEME", "https" },
    { "HTTPS", "on" },
    { "GATEWAY_INTERFACE", "CGI/1.1" },
    { "SERVER_SOFTWARE", "nginx/1.22.1" },
    { "REMOTE_ADDR", "203.0.113.57" },
    { "REMOTE_PORT", "51234" },
    { "SERVER_ADDR", "192.0.2.10" },
    { "SERVER_PORT", "443" },
    { "SERVER_NAME", "www.example.org" },
    { "REDIRECT_STATUS", "200" },
    { "SCRIPT_FILENAME", "/var/www/html/shop/items" },
    { "HTTP_HOST", "www.example.org" },
    { "HTTP_USER_AGENT",
      "Mozilla/5.0 (X11; Linux x86_64; rv:115.0) Gecko/20100101 "
      "Firefox/115.0" },
    { "HTTP_ACCEPT", "text/html,application/xhtml+xml,application/xml;q=0.9,"
                     "image/avif,image/webp,*/*;q=0.8" },
    { "HTTP_ACCEPT_LANGUAGE", "en-US,en;q=0.5" },
    { "HTTP_ACCEPT_ENCODING", "gzip, deflate, br" },
    { "HTTP_COOKIE",
      "session=4f8a1c2e9b7d4a6f8c3e5d7b9a1f2c4e; theme=dark; lang=en; "
      "_ga=GA1.2.1234567890.1234567890" },
    { "HTTP_REFERER", "https://www.example.org/shop/" },
};

struct bytes {
    uint8_t *at;
    size_t len, room;
};

/* What has come of one answer. */
struct slot {
    size_t got; /* bytes of STDOUT */
    bool ended; /* its empty STDOUT record was there */
    bool done;
};

struct conn {
    int fd; /* -1: to be opened */
    uint32_t events;
    size_t sent;       /* bytes of the batch */
    unsigned left;     /* unanswered requests of the batch */
    unsigned answered; /* in all */
    bool heard;        /* since the batch was begun */
    uint8_t head[RECORD_HEAD];
    size_t have, content, padding; /* of the record under way */
    uint8_t end[RECORD_BODY];
    struct slot *slots;
};

static enum mode mode = MODE_CLOSE;
static unsigned n_conns = 16, n_ids = 1;
static double seconds = 1;
static unsigned long long max_requests;
static size_t body_size, answer_size;
static union address addr;
static socklen_t addr_len;

static int epoll_fd;
static struct bytes batch, want; /* what is sent; the STDOUT to be had */
static struct conn *conns;
static uint8_t buffer[RECV_SIZE];
static unsigned long long started, answered, errors, closed;
static bool refuses, stopping;

static double now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void bytes_add(struct bytes *bytes, const void *data, size_t len)
{
    if (bytes->room - bytes->len < len) {
        bytes->room = (bytes->len + len) * 2;
        bytes->at = must_alloc(bytes->at, bytes->room);
    }
    if (len > 0)
        memcpy(bytes->at + bytes->len, data, len);
    bytes->len += len;
}

static void add_record(struct bytes *out, enum record_type type, unsigned id,
                       const void *data, size_t len)
{
    uint8_t head[RECORD_HEAD];
    size_t padding = (8 - len % 8) % 8; /* nginx pads to eight */

    record_head(head, type, id, len, padding);
    bytes_add(out, head, sizeof(head));
    bytes_add(out, data, len);
    bytes_add(out, "\0\0\0\0\0\0\0", padding);
}

static void add_length(struct bytes *out, size_t len)
{
    uint8_t wide[4] = { (uint8_t)(len >> 24 | 0x80), (uint8_t)(len >> 16),
                        (uint8_t)(len >> 8), (uint8_t)len };

    if (len < 128)
        bytes_add(out, wide + 3, 1);
    else
        bytes_add(out, wide, sizeof(wide));
}

static void add_begin(struct bytes *out, unsigned id, bool keep)
{
    uint8_t body[RECORD_BODY] = { 0, 1, keep ? BEGIN_KEEP_CONN : 0 };

    add_record(out, RECORD_BEGIN, id, body, sizeof(body));
}

static void add_params(struct bytes *out, unsigned id)
{
    struct bytes pairs = { 0 };
    char length[32] = ""; /* nginx sends it empty without a body */

    if (body_size > 0)
        snprintf(length, sizeof(length), "%zu", body_size);
    for (size_t i = 0; i < sizeof(params) / sizeof(params[0]); i++) {
        const char *name = params[i][0], *value = params[i][1];

        if (value == NULL)
            value = strcmp(name, "CONTENT_LENGTH") == 0 ? length
                    : body_size > 0                     ? "POST"
                                                        : "GET";
        add_length(&pairs, strlen(name));
        add_length(&pairs, strlen(value));
        bytes_add(&pairs, name, strlen(name));
        bytes_add(&pairs, value, strlen(value));
    }
    add_record(out, RECORD_PARAMS, id, pairs.at, pairs.len);
    add_record(out, RECORD_PARAMS, id, NULL, 0);
    free(pairs.at);
}

static void add_stdin(struct bytes *out, unsigned id)
{
    static const uint8_t zeros[STDIN_RECORD];

    for (size_t left = body_size, n; left > 0; left -= n) {
        n = left < sizeof(zeros) ? left : sizeof(zeros);
        add_record(out, RECORD_STDIN, id, zeros, n);
    }
    add_record(out, RECORD_STDIN, id, NULL, 0);
}

static void build_batch(void)
{
    for (unsigned id = 1; id <= n_ids; id++) {
        add_begin(&batch, id, mode != MODE_CLOSE);
        add_params(&batch, id);
        add_stdin(&batch, id);
    }
}

/* ---- the probe: blocking, before anything is measured ---- */

static int probe_open(const struct bytes *out)
{
    struct timeval limit = { .tv_sec = PROBE_SECONDS };
    int fd = socket(addr.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    size_t sent = 0;

    if (fd == -1 || connect(fd, &addr.any, addr_len) != 0)
        die("connect");
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    while (sent < out->len) {
        ssize_t n = send(fd, out->at + sent, out->len - sent, MSG_NOSIGNAL);

        if (n == -1)
            break; /* what came back says why */
        sent += (size_t)n;
    }
    return fd;
}

static bool probe_recv(int fd, void *to, size_t len)
{
    return len == 0 || recv(fd, to, len, MSG_WAITALL) == (ssize_t)len;
}

/* One record: its head, its content in buffer.  False: there is none. */
static bool probe_record(int fd, uint8_t *head)
{
    uint8_t padding[255];

    return probe_recv(fd, head, RECORD_HEAD) &&
           probe_recv(fd, buffer, record_length(head)) &&
           probe_recv(fd, padding, head[6]);
}

static _Noreturn void probe_failed(const char *what)
{
    fprintf(stderr, "load: %s\n", what);
    exit(1);
}

static void probe_check(void)
{
    const char *body = ANSWER_BODY;
    size_t len = answer_size > 0 ? answer_size : strlen(body);
    size_t head = want.len - len;
    bool same = want.len > len;

    if (same && answer_size == 0)
        same = memcmp(want.at + head, body, len) == 0;
    for (size_t i = 0; same && answer_size > 0 && i < len; i++)
        same = want.at[head + i] == 'x';
    if (!same || head < 4 || memcmp(want.at + head - 4, "\r\n\r\n", 4) != 0) {
        fprintf(stderr, "load: the answer is not the one asked for: %.*s\n",
                want.len < 300 ? (int)want.len : 300, (char *)want.at);
        exit(1);
    }
}

/* Learns the answer, and that the connection is closed after it. */
static void probe_answer(void)
{
    uint8_t head[RECORD_HEAD] = { 0 };
    struct bytes out = { 0 };
    bool ended = false;
    int fd;

    add_begin(&out, 1, false);
    add_params(&out, 1);
    add_stdin(&out, 1);
    fd = probe_open(&out);
    while (head[1] != RECORD_END) {
        if (!probe_record(fd, head))
            probe_failed("no answer to a single request");
        if (head[1] == RECORD_STDOUT) {
            ended = record_length(head) == 0;
            bytes_add(&want, buffer, record_length(head));
        } else if (head[1] != RECORD_END) {
            probe_failed("a record that is neither STDOUT nor END_REQUEST");
        }
    }
    if (!ended)
        probe_failed("no empty STDOUT record before END_REQUEST");
    probe_check();
    if (recv(fd, buffer, 1, 0) != 0)
        probe_failed("the connection stays open without KEEP_CONN");
    close(fd);
    free(out.at);
}

/* Two ids, interleaved: a refusal is END_REQUEST(CANT_MPX_CONN), or an
 * answer that does not come. */
static void probe_mux(void)
{
    uint8_t head[RECORD_HEAD];
    struct bytes out = { 0 };
    unsigned ends = 0;
    int fd;

    for (unsigned id = 1; id <= 2; id++)
        add_begin(&out, id, true);
    for (unsigned id = 1; id <= 2; id++)
        add_params(&out, id);
    for (unsigned id = 1; id <= 2; id++)
        add_stdin(&out, id);
    fd = probe_open(&out);
    while (ends < 2 && !refuses) {
        if (!probe_record(fd, head))
            refuses = true;
        else if (head[1] == RECORD_END && buffer[4] == 0)
            ends++;
        else if (head[1] == RECORD_END && buffer[4] == END_CANT_MPX_CONN)
            refuses = true;
        else if (head[1] == RECORD_END)
            probe_failed("END_REQUEST with another status than complete");
    }
    close(fd);
    free(out.at);
}

/* ---- the load ---- */

static void conn_close(struct conn *conn)
{
    if (conn->fd != -1)
        close(conn->fd);
    conn->fd = -1;
    conn->events = 0;
}

static void conn_error(struct conn *conn, const char *what)
{
    if (errors++ < 3)
        fprintf(stderr, "load: %s\n", what);
    started -= conn->left;
    conn->left = 0;
    conn_close(conn);
}

static void conn_watch(struct conn *conn, uint32_t events)
{
    struct epoll_event ev = { .events = events, .data.ptr = conn };
    int op = conn->events == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;

    if (conn->events != events && epoll_ctl(epoll_fd, op, conn->fd, &ev) != 0)
        die("epoll_ctl");
    conn->events = events;
}

static void conn_send(struct conn *conn)
{
    while (conn->sent < batch.len) {
        ssize_t n = send(conn->fd, batch.at + conn->sent,
                         batch.len - conn->sent, MSG_NOSIGNAL);

        if (n == -1 && errno == EAGAIN) {
            conn_watch(conn, EPOLLIN | EPOLLOUT);
            return;
        }
        if (n == -1) /* recv tells what the server had to say before */
            break;
        conn->sent += (size_t)n;
    }
    conn_watch(conn, EPOLLIN);
}

/* Opens the connection if need be.  False: the backlog is full, try later. */
static bool conn_open(struct conn *conn)
{
    int on = 1;

    if (conn->fd != -1)
        return true;
    conn->fd = socket(addr.any.sa_family,
                      SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (conn->fd == -1)
        die("socket");
    if (addr.any.sa_family == AF_INET)
        setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (connect(conn->fd, &addr.any, addr_len) == 0 || errno == EINPROGRESS)
        return true;
    if (errno != EAGAIN)
        conn_error(conn, strerror(errno));
    conn_close(conn);
    return false;
}

/* Sends the next batch, unless it is time to stop.  A connection that could
 * not be opened is left with nothing under way: the main loop tries again. */
static void conn_begin(struct conn *conn)
{
    if (max_requests > 0 && started >= max_requests)
        stopping = true;
    if (stopping || !conn_open(conn))
        return;
    started += n_ids;
    conn->left = n_ids;
    conn->sent = conn->have = conn->content = conn->padding = 0;
    conn->heard = false;
    memset(conn->slots, 0, n_ids * sizeof(*conn->slots));
    conn_send(conn);
}

/* Content of the record under way.  Returns what is wrong with it, or NULL. */
static const char *conn_content(struct conn *conn, struct slot *slot,
                                const uint8_t *in, size_t n)
{
    size_t at = record_length(conn->head) - conn->content;

    if (conn->head[1] == RECORD_END) {
        memcpy(conn->end + at, in, n);
        if (conn->content > n)
            return NULL;
        if (memcmp(conn->end, "\0\0\0\0", 5) != 0)
            return "END_REQUEST tells a failure";
        if (slot->got != want.len || !slot->ended)
            return "END_REQUEST before the whole answer";
        slot->done = true;
        conn->left--;
        conn->answered++;
        answered++;
        return NULL;
    }
    if (slot->ended || n > want.len - slot->got ||
        memcmp(want.at + slot->got, in, n) != 0)
        return "another answer than the first one";
    slot->got += n;
    return NULL;
}

static const char *conn_record(struct conn *conn)
{
    unsigned id = record_id(conn->head);
    size_t len = record_length(conn->head);

    conn->content = len;
    conn->padding = conn->head[6];
    if (conn->head[0] != 1 || id < 1 || id > n_ids || conn->slots[id - 1].done)
        return "a record of no active request";
    if (conn->head[1] == RECORD_END)
        return len == RECORD_BODY ? NULL : "END_REQUEST of another length";
    if (conn->head[1] != RECORD_STDOUT)
        return "a record that is neither STDOUT nor END_REQUEST";
    if (len == 0)
        conn->slots[id - 1].ended = true;
    return NULL;
}

static const char *conn_feed(struct conn *conn, const uint8_t *in, size_t n)
{
    const char *wrong = NULL;

    while (n > 0 && wrong == NULL) {
        size_t take;

        if (conn->content > 0) {
            take = n < conn->content ? n : conn->content;
            wrong = conn_content(conn, &conn->slots[record_id(conn->head) - 1],
                                 in, take);
            conn->content -= take;
        } else if (conn->padding > 0) {
            take = n < conn->padding ? n : conn->padding;
            conn->padding -= take;
        } else {
            take = RECORD_HEAD - conn->have;
            take = n < take ? n : take;
            memcpy(conn->head + conn->have, in, take);
            conn->have += take;
            if (conn->have == RECORD_HEAD) {
                conn->have = 0;
                wrong = conn_record(conn);
            }
        }
        in += take;
        n -= take;
    }
    return wrong;
}

/* End of file: a kept connection may end between two batches, and the batch
 * that crossed it is sent anew. */
static void conn_eof(struct conn *conn)
{
    if (mode == MODE_CLOSE || conn->heard || conn->answered == 0) {
        conn_error(conn, "the connection ended within an answer");
        return;
    }
    closed++;
    started -= conn->left;
    conn->left = 0;
    conn_close(conn);
}

static void conn_turn(struct conn *conn, uint32_t events)
{
    const char *wrong;
    ssize_t n;

    if ((events & EPOLLOUT) != 0 && conn->sent < batch.len)
        conn_send(conn);
    n = recv(conn->fd, buffer, sizeof(buffer), 0);
    if (n == -1 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        conn_eof(conn);
        return;
    }
    conn->heard = true;
    wrong = conn->left > 0 ? conn_feed(conn, buffer, (size_t)n)
                           : "bytes after the last answer";
    if (wrong != NULL) {
        conn_error(conn, wrong);
        return;
    }
    if (conn->left > 0)
        return;
    if (mode == MODE_CLOSE)
        conn_close(conn); /* the probe saw that the server closes, too */
    conn_begin(conn);
}

/* Gives each idle connection its work; returns how many are under way. */
static unsigned begin_idle(void)
{
    unsigned busy = 0;

    for (unsigned i = 0; i < n_conns; i++) {
        if (conns[i].left == 0)
            conn_begin(&conns[i]);
        busy += conns[i].left > 0;
    }
    return busy;
}

/* Connections that wait for an answer, having had one before or not. */
static unsigned waiting(bool had_one)
{
    unsigned n = 0;

    for (unsigned i = 0; i < n_conns; i++)
        n += conns[i].left > 0 && (conns[i].answered > 0) == had_one;
    return n;
}

/* True when no answer will come any more.  A connection that was served
 * before gets more patience: giving it up is an error. */
static bool is_over(double silence)
{
    if (answered == started || silence > LOST_MS / 1000.0)
        return true;
    return silence > STARVED_MS / 1000.0 && waiting(true) == 0;
}

/* Returns how long it took to the last answer. */
static double run(void)
{
    struct epoll_event events[EVENTS];
    double start = now(), last = start, t = start;
    unsigned long long before = 0;
    bool all_busy = begin_idle() == n_conns;

    while (errors < ERRORS_MAX) {
        int n = epoll_wait(epoll_fd, events, EVENTS, all_busy ? TICK_MS : 1);

        if (n == -1 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < n; i++)
            conn_turn(events[i].data.ptr, events[i].events);
        t = now();
        if (answered != before)
            last = t;
        before = answered;
        if (t - start > seconds)
            stopping = true;
        if (stopping && is_over(t - last))
            break;
        all_busy = true; /* only what the events left idle is looked for */
        for (unsigned i = 0; i < n_conns && all_busy && !stopping; i++)
            all_busy = conns[i].left > 0;
        if (!all_busy)
            all_busy = begin_idle() == n_conns;
    }
    return last - start;
}

static void usage(const char *name)
{
    fprintf(stderr,
            "Usage: %s [-m close|keep|mux] [-c CONNECTIONS] [-k IDS]\n"
            "       [-s SECONDS] [-n REQUESTS] [-b BODY_BYTES]"
            " [-o ANSWER_BYTES] /SOCKET|HOST:PORT\n",
            name);
    exit(2);
}

static enum mode mode_parse(const char *text)
{
    static const char *const names[] = { "close", "keep", "mux" };

    for (unsigned i = 0; i < 3; i++)
        if (strcmp(text, names[i]) == 0)
            return (enum mode)i;
    fprintf(stderr, "not a mode: %s\n", text);
    exit(2);
}

static void options(int argc, char **argv)
{
    int opt;

    while ((opt = getopt(argc, argv, "m:c:k:s:n:b:o:")) != -1)
        switch (opt) {
        case 'm':
            mode = mode_parse(optarg);
            break;
        case 'c':
            n_conns = (unsigned)must_number(optarg);
            break;
        case 'k':
            n_ids = (unsigned)must_number(optarg);
            break;
        case 's':
            seconds = must_number(optarg);
            break;
        case 'n':
            max_requests = (unsigned long long)must_number(optarg);
            seconds = 60; /* unless -s follows */
            break;
        case 'b':
            body_size = (size_t)must_number(optarg);
            break;
        case 'o':
            answer_size = (size_t)must_number(optarg);
            break;
        default:
            usage(argv[0]);
        }
    if (optind + 1 != argc || n_conns < 1 || n_ids < 1 || n_ids > RECORD_MAX)
        usage(argv[0]);
    if (mode != MODE_MUX)
        n_ids = 1;
    addr_len = address_parse(argv[optind], &addr);
}

int main(int argc, char **argv)
{
    double took = 0;

    options(argc, argv);
    build_batch();
    probe_answer();
    if (mode == MODE_MUX)
        probe_mux();
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd == -1)
        die("epoll_create1");
    conns = must_alloc(NULL, n_conns * sizeof(*conns));
    for (unsigned i = 0; i < n_conns; i++) {
        conns[i] = (struct conn){ .fd = -1 };
        conns[i].slots = must_alloc(NULL, n_ids * sizeof(*conns[i].slots));
    }
    if (!refuses)
        took = run();
    printf("{\"requests\": %llu, \"seconds\": %.6f, \"errors\": %llu, "
           "\"refuses\": %s, \"starved\": %u, \"closed\": %llu}\n",
           answered, took, errors + waiting(true), refuses ? "true" : "false",
           waiting(false), closed);
    return 0;
}
