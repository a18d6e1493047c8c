/* io_accept_test.c -- listening sockets at work.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#include "alloc.h"
#include "base/log.h"
#include "io/accept.h"
#include "io/loop_ev.h"

enum { CLIENTS = 200 };

static struct loop *loop;
static struct service service;
static struct conns *conns;
static struct listen_set set;
static struct peers peers;
static unsigned opened_other; /* of the wires opened */
static struct acceptors *acceptors;
static int clients[CLIENTS];
static unsigned client_count;
static unsigned opened, refused_wires;
static char folder[64], sock_path[96], log_path[96], log_text_read[4096];

/* --- a wire that only waits for its peer ---------------------------------- */

static void feed(struct wire *wire, struct block *block, struct slice bytes)
{
    (void)wire;
    (void)block;
    (void)bytes;
}

static void eof(struct wire *wire)
{
    wire->state = WIRE_CLOSE;
}

static bool yes(const struct wire *wire)
{
    (void)wire;
    return true;
}

static double owes_nothing(const struct wire *wire)
{
    (void)wire;
    return 0;
}

static void ignore(struct wire *wire)
{
    (void)wire;
}

static void close_wire(struct wire *wire)
{
    chain_free(&wire->out);
    free(wire);
}

static const struct wire_ops ops = {
    .feed = feed,
    .eof = eof,
    .want_read = yes,
    .is_busy = yes,
    .owed_since = owes_nothing,
    .drained = ignore,
    .close = close_wire,
};

static struct wire *open_wire(struct service *of)
{
    struct wire *wire = NULL;

    if (refused_wires > 0)
        refused_wires--;
    else
        wire = calloc(1, sizeof(*wire));
    if (wire == NULL)
        return NULL;
    opened++;
    wire->ops = &ops;
    chain_init(&wire->out, &of->chunks);
    return wire;
}

static struct wire *open_other_wire(struct service *of)
{
    struct wire *wire = open_wire(of);

    if (wire != NULL)
        opened_other++;
    return wire;
}

/* --- the surroundings ----------------------------------------------------- */

static int set_up(void **state)
{
    struct limits limits = limits_default();

    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/fcgi-lua-accept.XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(sock_path, sizeof(sock_path), "%s/sock", folder);
    snprintf(log_path, sizeof(log_path), "%s/log", folder);
    if (log_open(log_path) == -1)
        return -1;
    opened = opened_other = refused_wires = client_count = 0;
    loop = loop_new();
    if (loop == NULL)
        return -1;
    service_init(&service, &limits, loop_clock(loop), "/tmp", 64);
    conns = conns_new(loop, &service);
    return conns == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    acceptors_del(acceptors);
    acceptors = NULL;
    conns_del(conns);
    while (client_count > 0)
        close(clients[--client_count]);
    listen_close(&set);
    peers_free(&peers);
    memset(&peers, 0, sizeof(peers));
    service_free(&service);
    loop_del(loop);
    log_close();
    unlink(log_path);
    return rmdir(folder); /* fails if a test left something */
}

static void listen_on(const char *text)
{
    struct address address;
    struct listen_error error;
    char message[ADDRESS_ERROR_TEXT];

    assert_true(address_parse(text, &address, message, sizeof(message)));
    assert_int_equal(listen_open(&address, &set, &error), 0);
}

static void listen_on_path(void)
{
    char text[128];

    snprintf(text, sizeof(text), "unix:%s", sock_path);
    listen_on(text);
}

static const struct acceptor_protocol protocols[] = {
    { open_wire, &peers },
    { open_other_wire, NULL },
};

static void start(void)
{
    acceptors = acceptors_new(loop, conns, &set, protocols);
    assert_non_null(acceptors);
}

/* A client's socket, which is not connected yet. */
static int new_client(int family)
{
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_not_equal(fd, -1);
    assert_true(client_count < CLIENTS);
    clients[client_count++] = fd;
    return fd;
}

static void connect_to(int fd, const struct listen_socket *sock)
{
    struct sockaddr_storage to;
    socklen_t len = sizeof(to);

    assert_int_equal(getsockname(sock->fd, (struct sockaddr *)&to, &len), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, len), 0);
}

static int connect_new(const struct listen_socket *sock)
{
    int fd = new_client(sock->is_tcp ? AF_INET : AF_UNIX);

    connect_to(fd, sock);
    return fd;
}

/* Ends the client that connected last. */
static void hang_up(void)
{
    close(clients[--client_count]);
}

static void until_opened(unsigned count)
{
    while (opened < count)
        loop_turn(loop, true);
}

static void until_count(unsigned count)
{
    while (conns_count(conns) != count)
        loop_turn(loop, true);
}

static void some_turns(void)
{
    for (int i = 0; i < 10; i++)
        loop_turn(loop, false);
}

static const char *logged(void)
{
    int fd = open(log_path, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    assert_int_not_equal(fd, -1);
    n = read(fd, log_text_read, sizeof(log_text_read) - 1);
    close(fd);
    assert_true(n >= 0);
    log_text_read[n] = '\0';
    return log_text_read;
}

static unsigned log_lines(void)
{
    unsigned lines = 0;

    for (const char *at = logged(); *at != '\0'; at++)
        lines += *at == '\n' ? 1 : 0;
    return lines;
}

/* --- tests ---------------------------------------------------------------- */

static void every_socket_of_the_set_accepts(void **state)
{
    (void)state;
    listen_on("127.0.0.1:0");
    listen_on_path();
    start();
    connect_new(&set.items[0]);
    connect_new(&set.items[1]);
    until_opened(2);
    assert_int_equal(conns_count(conns), 2);
}

static void what_is_accepted_is_non_blocking_and_not_inherited(void **state)
{
    int next;

    (void)state;
    listen_on_path();
    start();
    connect_new(&set.items[0]);
    next = dup(set.items[0].fd); /* the lowest number that is free */
    close(next);
    until_opened(1);
    assert_true((fcntl(next, F_GETFL) & O_NONBLOCK) != 0);
    assert_true((fcntl(next, F_GETFD) & FD_CLOEXEC) != 0);
}

static void a_crowd_is_served(void **state)
{
    (void)state;
    listen_on_path();
    start();
    for (unsigned i = 0; i < 100; i++) /* fewer than the backlog */
        connect_new(&set.items[0]);
    until_opened(100);
    for (unsigned i = 0; i < 100; i++)
        hang_up();
    until_count(0);
    connect_new(&set.items[0]);
    until_opened(101);
}

static uint32_t room_left(void *arg)
{
    return *(const uint32_t *)arg;
}

static void others_get_a_millisecond_for_their_share(void **state)
{
    uint32_t room = 0;
    double begun;

    (void)state;
    listen_on_path();
    start();
    acceptors_share(acceptors, room_left, &room);
    for (int i = 0; i < 10; i++)
        connect_new(&set.items[0]);
    some_turns();
    assert_int_equal(opened, 0);
    begun = loop_now();
    until_opened(10); /* nobody else takes them */
    assert_true(loop_now() - begun >= 0.001);
    room = 2;
    for (int i = 0; i < 10; i++)
        connect_new(&set.items[0]);
    until_opened(20);
    assert_int_equal(log_lines(), 0);
}

static void at_the_cap_connections_wait(void **state)
{
    (void)state;
    service.limits.max_conns = 2;
    listen_on_path();
    start();
    for (int i = 0; i < 4; i++)
        connect_new(&set.items[0]);
    until_opened(2);
    some_turns();
    assert_int_equal(opened, 2);
    shutdown(clients[0], SHUT_RDWR); /* one goes, one comes */
    until_opened(3);
    some_turns();
    assert_int_equal(opened, 3);
    shutdown(clients[1], SHUT_RDWR);
    shutdown(clients[2], SHUT_RDWR);
    until_opened(4);
    assert_int_equal(log_lines(), 0);
}

/* Above what is open nothing can be opened, whatever gaps there are below. */
static void take_descriptors_away(struct rlimit *before, int *spare, int most,
                                  int *count)
{
    struct rlimit low;
    int fd = dup(STDERR_FILENO);

    assert_int_not_equal(fd, -1);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, before), 0);
    low = *before;
    low.rlim_cur = (rlim_t)fd + 1;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    *count = 0;
    spare[(*count)++] = fd;
    while (*count < most && (fd = dup(STDERR_FILENO)) != -1)
        spare[(*count)++] = fd;
    assert_int_equal(errno, EMFILE);
}

static void timer_is_up(struct loop_timer *timer)
{
    (void)timer;
}

static void without_descriptors_connections_wait_and_nothing_spins(void **state)
{
    struct rlimit before;
    struct loop_timer timer = { 0 };
    int spare[16], count;
    unsigned turns = 0;

    (void)state;
    listen_on_path();
    start();
    (void)new_client(AF_UNIX);
    loop_turn(loop, false);
    take_descriptors_away(&before, spare, 16, &count);
    connect_to(clients[0], &set.items[0]);
    loop_timer_start(loop, &timer, 0.25, timer_is_up);
    while (loop_timer_is_running(&timer)) {
        loop_turn(loop, true);
        turns++;
    }
    while (count > 0)
        close(spare[--count]);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(opened, 0);
    assert_in_range(turns, 1, 12); /* three tries, and few turns for each */
    assert_int_equal(log_lines(), 1);
    assert_non_null(strstr(logged(), strerror(EMFILE)));
    until_opened(1);
    assert_int_equal(log_lines(), 1);
}

static void without_memory_for_a_wire_the_rest_waits(void **state)
{
    (void)state;
    listen_on_path();
    start();
    refused_wires = 1;
    connect_new(&set.items[0]);
    connect_new(&set.items[0]);
    while (refused_wires > 0)
        loop_turn(loop, true);
    assert_int_equal(conns_count(conns), 0);
    some_turns();
    assert_int_equal(opened, 0);
    until_opened(1);
    assert_int_equal(log_lines(), 1);
}

static void a_close_does_not_cut_the_pause_short(void **state)
{
    double begun;

    (void)state;
    listen_on_path();
    start();
    connect_new(&set.items[0]);
    until_opened(1);
    refused_wires = 1;
    connect_new(&set.items[0]);
    while (refused_wires > 0)
        loop_turn(loop, true);
    begun = *loop_clock(loop);
    connect_new(&set.items[0]);
    shutdown(clients[0], SHUT_RDWR);
    until_opened(2);
    assert_true(loop_now() - begun >= 0.09);
}

static void only_listed_peers_may_connect(void **state)
{
    struct slice junk;
    char byte;

    (void)state;
    assert_int_equal(peers_parse(&peers, "192.0.2.1", &junk), PEERS_OK);
    listen_on("127.0.0.1:0");
    listen_on_path();
    start();
    for (int i = 0; i < 2; i++) {
        int fd = connect_new(&set.items[i]);

        while (recv(fd, &byte, 1, MSG_DONTWAIT) == -1)
            loop_turn(loop, true);
        assert_int_equal(recv(fd, &byte, 1, 0), 0);
    }
    assert_int_equal(opened, 0);
    assert_int_equal(log_lines(), 2);
    assert_int_equal(peers_parse(&peers, "127.0.0.1", &junk), PEERS_OK);
    connect_new(&set.items[0]);
    until_opened(1);
}

static void a_socket_has_its_protocol(void **state)
{
    struct slice junk;

    (void)state;
    listen_on("127.0.0.1:0");
    listen_on("127.0.0.1:0");
    set.items[1].protocol = 1;
    start();
    connect_new(&set.items[0]);
    until_opened(1);
    assert_int_equal(opened_other, 0);
    connect_new(&set.items[1]);
    until_opened(2);
    assert_int_equal(opened_other, 1);
    assert_int_equal(peers_parse(&peers, "192.0.2.1", &junk), PEERS_OK);
    connect_new(&set.items[1]); /* these do not speak with peers alone */
    until_opened(3);
    assert_int_equal(opened_other, 2);
}

static void a_client_that_left_before_is_no_trouble(void **state)
{
    struct linger at_once = { .l_onoff = 1 };
    int fd;

    (void)state;
    listen_on("127.0.0.1:0");
    start();
    fd = connect_new(&set.items[0]);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    hang_up();
    connect_new(&set.items[0]);
    while (opened < 1 || conns_count(conns) != 1)
        loop_turn(loop, true);
    assert_int_equal(log_lines(), 0);
}

static void who_has_stopped_accepts_no_more(void **state)
{
    (void)state;
    listen_on_path();
    start();
    connect_new(&set.items[0]);
    until_opened(1);
    acceptors_stop(acceptors);
    connect_new(&set.items[0]); /* the socket is still the set's */
    some_turns();
    assert_int_equal(opened, 1);
    shutdown(clients[0], SHUT_RDWR);
    until_count(0); /* nor when there is room again */
    some_turns();
    assert_int_equal(opened, 1);
}

static void stopping_ends_a_pause(void **state)
{
    (void)state;
    listen_on_path();
    start();
    refused_wires = 1;
    connect_new(&set.items[0]);
    connect_new(&set.items[0]);
    while (refused_wires > 0)
        loop_turn(loop, true);
    acceptors_del(acceptors); /* with its timer running */
    acceptors = NULL;
    some_turns();
    assert_int_equal(opened, 0);
}

static void serve_two(void *arg)
{
    struct acceptors *made = acceptors_new(loop, conns, &set, protocols);
    unsigned before = opened;

    (void)arg;
    if (made == NULL)
        return;
    connect_new(&set.items[0]);
    connect_new(&set.items[0]);
    while (opened == before) /* one may be lost to a failing allocation */
        loop_turn(loop, true);
    hang_up();
    hang_up();
    while (conns_count(conns) > 0)
        loop_turn(loop, true);
    acceptors_del(made);
}

static void comes_through_without_memory(void **state)
{
    (void)state;
    listen_on_path();
    alloc_each_fails(serve_two, NULL);
}

#define ACCEPT_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ACCEPT_TEST(every_socket_of_the_set_accepts),
        ACCEPT_TEST(what_is_accepted_is_non_blocking_and_not_inherited),
        ACCEPT_TEST(a_crowd_is_served),
        ACCEPT_TEST(others_get_a_millisecond_for_their_share),
        ACCEPT_TEST(at_the_cap_connections_wait),
        ACCEPT_TEST(without_descriptors_connections_wait_and_nothing_spins),
        ACCEPT_TEST(without_memory_for_a_wire_the_rest_waits),
        ACCEPT_TEST(a_close_does_not_cut_the_pause_short),
        ACCEPT_TEST(only_listed_peers_may_connect),
        ACCEPT_TEST(a_socket_has_its_protocol),
        ACCEPT_TEST(a_client_that_left_before_is_no_trouble),
        ACCEPT_TEST(who_has_stopped_accepts_no_more),
        ACCEPT_TEST(stopping_ends_a_pause),
        ACCEPT_TEST(comes_through_without_memory),
    };

    return cmocka_run_group_tests_name("io/accept", tests, NULL, NULL);
}
