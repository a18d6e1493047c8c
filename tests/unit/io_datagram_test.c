/* io_datagram_test.c -- sockets of datagrams.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "alloc.h"
#include "io/datagram.h"

static struct loop *loop;
static struct datagram *a, *b;
static struct endpoint at_a, at_b, from;
static unsigned news_in, news_out;
static bool is_wanted;
static char room[DATAGRAM_MAX];
static size_t len;

static void take_news(void *owner, enum datagram_side side)
{
    (void)owner;
    if (side == DATAGRAM_IN)
        news_in++;
    else
        news_out++;
}

static bool is_awaited(void *owner, enum datagram_side side)
{
    (void)owner;
    (void)side;
    return is_wanted;
}

static const struct datagram_ops ops = { take_news, is_awaited };

static struct datagram *open_one(struct endpoint *at)
{
    struct datagram *datagram = datagram_new(loop, &ops, NULL);

    if (datagram == NULL || datagram_open(datagram, AF_INET) == -1 ||
        !endpoint_ip(at, "127.0.0.1", 0) || datagram_bind(datagram, at) == -1 ||
        endpoint_own(datagram_fd(datagram), at) == -1)
        return NULL;
    return datagram;
}

static int set_up(void **state)
{
    (void)state;
    news_in = news_out = 0;
    is_wanted = true;
    loop = loop_new();
    if (loop == NULL)
        return -1;
    a = open_one(&at_a);
    b = open_one(&at_b);
    return a == NULL || b == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    datagram_del(a);
    datagram_del(b);
    loop_del(loop);
    return 0;
}

static void turn(void)
{
    loop_turn(loop, false);
}

static void send_one(struct datagram *by, const char *text,
                     const struct endpoint *to)
{
    assert_int_equal(datagram_send(by, slice_of(text), to), DATAGRAM_DONE);
}

static enum datagram_result receive(struct datagram *by, bool must_ask)
{
    memset(room, 0, 100);
    return datagram_receive(by, room, sizeof(room), must_ask, &len, &from);
}

static void assert_received(struct datagram *by, const char *text)
{
    assert_int_equal(receive(by, true), DATAGRAM_DONE);
    assert_int_equal(len, strlen(text));
    assert_string_equal(room, text);
}

/* --- datagrams ------------------------------------------------------------ */

static void one_comes_as_it_was_sent(void **state)
{
    (void)state;
    send_one(a, "hello", &at_b);
    send_one(a, "", &at_b);
    send_one(a, "again", &at_b);
    assert_received(b, "hello");
    assert_int_equal(endpoint_port(&from), endpoint_port(&at_a));
    assert_received(b, "");
    assert_int_equal(datagram_receive(b, room, 3, true, &len, &from),
                     DATAGRAM_DONE);
    assert_int_equal(len, 3); /* the rest is lost */
    assert_int_equal(receive(b, true), DATAGRAM_WAIT);
}

static void who_waits_hears_of_one(void **state)
{
    (void)state;
    assert_int_equal(receive(b, false), DATAGRAM_WAIT);
    turn();
    assert_int_equal(news_in, 0);
    send_one(a, "x", &at_b);
    assert_int_equal(receive(b, false), DATAGRAM_WAIT); /* not looked for */
    turn();
    assert_int_equal(news_in, 1);
    assert_received(b, "x");
    turn();
    assert_int_equal(news_in, 1);
}

static void what_nobody_wants_is_told_once_and_stays(void **state)
{
    (void)state;
    receive(b, false);
    is_wanted = false;
    send_one(a, "x", &at_b);
    for (int i = 0; i < 3; i++)
        turn();
    assert_int_equal(news_in, 0);
    is_wanted = true;
    assert_int_equal(receive(b, false), DATAGRAM_DONE);
    assert_int_equal(receive(b, false), DATAGRAM_WAIT);
    send_one(a, "y", &at_b);
    turn();
    assert_int_equal(news_in, 1);
}

/* Its answer cannot be there yet: one recv is spared. */
static void who_asked_a_peer_waits_at_once(void **state)
{
    (void)state;
    assert_int_equal(datagram_connect(b, &at_a), 0);
    send_one(b, "question", NULL);
    assert_received(a, "question");
    send_one(a, "answer", &from);
    assert_int_equal(receive(b, false), DATAGRAM_WAIT);
    turn();
    assert_int_equal(news_in, 1);
    assert_int_equal(receive(b, false), DATAGRAM_DONE);
    assert_string_equal(room, "answer");
}

static void many_in_a_row_give_others_their_turn(void **state)
{
    unsigned n = 0;

    (void)state;
    for (int i = 0; i < 100; i++)
        send_one(a, "x", &at_b);
    for (unsigned turns = 0; n < 100; turns++) {
        while (receive(b, false) == DATAGRAM_DONE)
            n++;
        assert_true(n <= 40 * (turns + 1));
        turn();
    }
    assert_true(news_in >= 2);
}

static void a_full_socket_waits_for_room(void **state)
{
    static char big[1000];
    struct endpoint peer;
    struct slice bytes = { big, sizeof(big) };
    char path[64];
    int small = 1;

    (void)state;
    snprintf(path, sizeof(path), "@fcgi-lua-datagram-%d", (int)getpid());
    assert_true(endpoint_unix(&peer, path));
    datagram_close(a);
    datagram_close(b);
    assert_int_equal(datagram_open(a, AF_UNIX), 0);
    assert_int_equal(datagram_open(b, AF_UNIX), 0);
    assert_int_equal(datagram_bind(b, &peer), 0);
    setsockopt(datagram_fd(a), SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    assert_int_equal(datagram_connect(a, &peer), 0);
    while (datagram_send(a, bytes, NULL) == DATAGRAM_DONE)
        ;
    turn();
    assert_int_equal(news_out, 0);
    while (receive(b, true) == DATAGRAM_DONE)
        ;
    turn();
    assert_int_equal(news_out, 1);
    assert_int_equal(datagram_send(a, bytes, NULL), DATAGRAM_DONE);
    turn();
    assert_int_equal(news_out, 1);
}

/* --- peers ---------------------------------------------------------------- */

static void with_a_peer_it_hears_nobody_else(void **state)
{
    (void)state;
    assert_int_equal(datagram_connect(b, &at_a), 0);
    datagram_close(a);
    assert_int_equal(datagram_open(a, AF_INET), 0);
    send_one(a, "stranger", &at_b);
    assert_int_equal(receive(b, true), DATAGRAM_WAIT);
    assert_int_equal(datagram_connect(b, NULL), 0);
    send_one(a, "stranger", &at_b); /* its port is what it was */
    assert_received(b, "stranger");
}

static void a_peer_that_is_not_there_refuses(void **state)
{
    (void)state;
    assert_int_equal(datagram_connect(b, &at_a), 0);
    datagram_close(a);
    send_one(b, "x", NULL);
    assert_int_equal(receive(b, false), DATAGRAM_WAIT);
    turn();
    assert_int_equal(news_in, 1);
    assert_int_equal(receive(b, false), DATAGRAM_FAILED);
    assert_int_equal(errno, ECONNREFUSED);
    assert_int_equal(receive(b, false), DATAGRAM_WAIT); /* it goes on */
}

static void without_a_peer_nothing_is_sent(void **state)
{
    (void)state;
    assert_int_equal(datagram_send(a, slice_of("x"), NULL), DATAGRAM_FAILED);
    assert_int_equal(errno, EDESTADDRREQ);
    assert_int_equal(
        datagram_send(a, (struct slice){ room, sizeof(room) }, &at_b),
        DATAGRAM_FAILED);
    assert_int_equal(errno, EMSGSIZE);
}

/* A unix socket that has no path could not be answered. */
static void a_unix_socket_with_a_peer_has_an_address(void **state)
{
    struct endpoint peer, own;
    char path[64], text[ENDPOINT_TEXT];

    (void)state;
    snprintf(path, sizeof(path), "/tmp/fcgi-lua-datagram-%d", (int)getpid());
    assert_true(endpoint_unix(&peer, path));
    datagram_close(a);
    datagram_close(b);
    assert_int_equal(datagram_open(a, AF_UNIX), 0);
    assert_int_equal(datagram_open(b, AF_UNIX), 0);
    assert_int_equal(datagram_bind(b, &peer), 0);
    assert_int_equal(datagram_connect(a, &peer), 0);
    unlink(path);
    send_one(a, "question", NULL);
    assert_received(b, "question");
    endpoint_print(&from, text);
    assert_int_equal(text[0], '@');
    assert_true(endpoint_unix(&own, text));
    send_one(b, "answer", &own);
    assert_received(a, "answer");
    assert_int_equal(datagram_connect(a, NULL), 0);
    assert_int_equal(endpoint_own(datagram_fd(a), &from), 0);
    assert_int_equal(from.len, own.len); /* it keeps it */
}

/* --- descriptors ---------------------------------------------------------- */

static void a_descriptor_is_taken_and_let_go(void **state)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0), stream[2];
    struct datagram *c = datagram_new(loop, &ops, NULL);

    (void)state;
    assert_int_equal(datagram_fd(c), -1);
    assert_int_equal(datagram_family(c), 0);
    assert_int_equal(datagram_adopt(c, fd), 0);
    assert_int_equal(datagram_fd(c), fd);
    assert_int_equal(datagram_family(c), AF_INET);
    assert_true((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    receive(c, true);
    assert_int_equal(datagram_release(c), fd);
    assert_int_equal(datagram_release(c), -1);
    assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    close(fd);
    assert_int_equal(datagram_adopt(c, fd), -1);
    assert_int_equal(errno, EBADF);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, stream), 0);
    assert_int_equal(datagram_adopt(c, stream[0]), -1);
    assert_int_equal(errno, EPROTOTYPE);
    close(stream[0]);
    close(stream[1]);
    datagram_del(c);
    datagram_del(NULL);
}

static void a_closed_one_fails(void **state)
{
    (void)state;
    receive(b, false);
    datagram_close(b);
    datagram_close(b);
    assert_int_equal(receive(b, false), DATAGRAM_FAILED);
    assert_int_equal(errno, EBADF);
    assert_int_equal(datagram_send(b, slice_of("x"), &at_a), DATAGRAM_FAILED);
    assert_int_equal(errno, EBADF);
    turn();
    assert_int_equal(news_in, 0);
}

static void without_memory_there_is_none(void **state)
{
    (void)state;
    alloc_fail_at(1);
    assert_null(datagram_new(loop, &ops, NULL));
    alloc_fail_at(0);
}

#define DATAGRAM_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        DATAGRAM_TEST(one_comes_as_it_was_sent),
        DATAGRAM_TEST(who_waits_hears_of_one),
        DATAGRAM_TEST(what_nobody_wants_is_told_once_and_stays),
        DATAGRAM_TEST(who_asked_a_peer_waits_at_once),
        DATAGRAM_TEST(many_in_a_row_give_others_their_turn),
        DATAGRAM_TEST(a_full_socket_waits_for_room),
        DATAGRAM_TEST(with_a_peer_it_hears_nobody_else),
        DATAGRAM_TEST(a_peer_that_is_not_there_refuses),
        DATAGRAM_TEST(without_a_peer_nothing_is_sent),
        DATAGRAM_TEST(a_unix_socket_with_a_peer_has_an_address),
        DATAGRAM_TEST(a_descriptor_is_taken_and_let_go),
        DATAGRAM_TEST(a_closed_one_fails),
        DATAGRAM_TEST(without_memory_there_is_none),
    };

    return cmocka_run_group_tests_name("io/datagram", tests, NULL, NULL);
}
