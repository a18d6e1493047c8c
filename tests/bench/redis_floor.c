/* redis_floor.c -- the least that a GET of redis can cost on libev: a
 * connection that stays, one write, one turn of the loop, one read, and a look
 * at the answer.  What a GET costs above it in a handler is the price of Lua,
 * tasks and pools.
 *
 * It prints, as JSON, how many GETs it made and the CPU seconds of the process
 * for them.  Each connection has one GET under way.
 *
 * SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "bench.h"

#include <ev.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER = 16 * 1024 };

static const char command[] = "*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n";

struct client {
    ev_io readable;
    size_t have; /* bytes of an answer that came in parts */
    char buffer[BUFFER];
};

static long left, under_way; /* GETs */
static size_t value_size;

static void client_send(struct client *client)
{
    if (left == 0)
        return;
    left--;
    under_way++;
    client->have = 0;
    if (write(client->readable.fd, command, sizeof(command) - 1) !=
        sizeof(command) - 1)
        die("write");
}

/* The length of the value in "$LENGTH\r\nVALUE\r\n", or -1: it has not all
 * come yet. */
static long parse(const char *in, size_t n)
{
    const char *end = memchr(in, '\n', n);
    long len;

    if (end == NULL)
        return -1;
    if (in[0] != '$') {
        fprintf(stderr, "redis_floor: %.*s\n", (int)n, in);
        exit(1);
    }
    len = strtol(in + 1, NULL, 10);
    return (size_t)(end + 1 - in) + (size_t)len + 2 <= n ? len : -1;
}

static void on_readable(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct client *client = watcher->data;
    ssize_t n =
        read(watcher->fd, client->buffer + client->have, BUFFER - client->have);
    long len;

    (void)events;
    if (n <= 0)
        die("read");
    client->have += (size_t)n;
    len = parse(client->buffer, client->have);
    if (len == -1)
        return;
    if ((size_t)len != value_size) {
        fprintf(stderr, "redis_floor: a value of %ld bytes\n", len);
        exit(1);
    }
    under_way--;
    client_send(client);
    if (under_way == 0)
        ev_break(loop, EVBREAK_ALL);
}

static void client_open(struct client *client, const union address *addr,
                        socklen_t addr_len)
{
    int on = 1;
    int fd = socket(addr->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd == -1 || connect(fd, &addr->any, addr_len) == -1)
        die("connect");
    if (addr->any.sa_family == AF_INET)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    ev_io_init(&client->readable, on_readable, fd, EV_READ);
    client->readable.data = client;
}

static double cpu_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    struct ev_loop *loop = EV_DEFAULT;
    union address addr;
    socklen_t addr_len;
    struct client *clients;
    long gets, n_clients;
    double spent;

    if (argc != 5) {
        fprintf(stderr,
                "Usage: %s GETS CONNECTIONS VALUE_BYTES "
                "/SOCKET|HOST:PORT\n",
                argv[0]);
        return 2;
    }
    gets = left = (long)must_number(argv[1]);
    n_clients = (long)must_number(argv[2]);
    value_size = (size_t)must_number(argv[3]);
    addr_len = address_parse(argv[4], &addr);
    clients = must_alloc(NULL, (size_t)n_clients * sizeof(*clients));
    for (long i = 0; i < n_clients; i++) {
        client_open(&clients[i], &addr, addr_len);
        ev_io_start(loop, &clients[i].readable);
    }
    ev_run(loop, EVRUN_NOWAIT); /* epoll hears of all of them */
    spent = cpu_seconds();
    for (long i = 0; i < n_clients; i++)
        client_send(&clients[i]);
    ev_run(loop, 0);
    spent = cpu_seconds() - spent;
    printf("{\"gets\": %ld, \"cpu\": %.9f}\n", gets, spent);
    for (long i = 0; i < n_clients; i++)
        close(clients[i].readable.fd);
    free(clients);
    return 0;
}
