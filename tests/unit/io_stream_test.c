/* io_stream_test.c -- streams that this process opened: real sockets and pipes,
 * whose other ends are ours.
 *
 * Nothing here sleeps: the loop is turned until what is expected has happened,
 * and a stream that never does it is ended by the runner's time limit.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "alloc.h"
#include "core/limits.h"
#include "io/loop_ev.h"
#include "io/stream.h"

enum { BIG = 10 * 1024 * 1024, PORTION = 256 * 1024 };

static const unsigned both = STREAM_READS | STREAM_WRITES;

static struct loop *loop;
static struct streams *streams;
static struct stream *stream;
static int peer, listener;
static struct endpoint there;
static unsigned news[2];
static bool awaits[2];
static bool closes_at_news;
static unsigned open_before;
static char folder[64];
static char big[PORTION];

static void take_news(void *owner, enum stream_side side)
{
    assert_ptr_equal(owner, news);
    news[side]++;
    if (closes_at_news)
        stream_close(stream);
}

static bool is_awaited(void *owner, enum stream_side side)
{
    assert_ptr_equal(owner, news);
    return awaits[side];
}

static const struct stream_ops ops = { take_news, is_awaited };

static unsigned open_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned n = 0;

    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n;
}

static int set_up(void **state)
{
    (void)state;
    open_before = open_fds();
    loop = loop_new();
    streams = loop == NULL ? NULL : streams_new(loop);
    stream = streams == NULL ? NULL : stream_new(streams);
    if (stream == NULL)
        return -1;
    stream_set_owner(stream, &ops, news);
    peer = listener = -1;
    memset(news, 0, sizeof(news));
    awaits[0] = awaits[1] = true;
    closes_at_news = false;
    strcpy(folder, "/tmp/stream_test.XXXXXX");
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static void shut(int *fd)
{
    if (*fd != -1)
        close(*fd);
    *fd = -1;
}

static int tear_down(void **state)
{
    (void)state;
    shut(&peer);
    shut(&listener);
    stream_del(stream);
    streams_del(streams);
    loop_del(loop);
    if (there.as.any.sa_family == AF_UNIX && there.len > 0)
        unlink(there.as.local.sun_path);
    there.len = 0;
    if (rmdir(folder) == -1)
        return -1;
    return open_fds() == open_before ? 0 : -1;
}

/* --- the other end -------------------------------------------------------- */

static void set_non_blocking(int fd)
{
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
}

/* A stream that is connected to peer. */
static void adopt_pair(void)
{
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    set_non_blocking(fds[1]);
    assert_int_equal(stream_adopt(stream, fds[0], both), 0);
    peer = fds[1];
}

/* A listener, at `there`. */
static void listen_on(int family, int backlog)
{
    char path[96];

    if (family == AF_UNIX) {
        snprintf(path, sizeof(path), "%s/socket", folder);
        assert_true(endpoint_unix(&there, path));
    } else {
        assert_true(
            endpoint_ip(&there, family == AF_INET6 ? "::1" : "127.0.0.1", 0));
    }
    listener = socket(family, SOCK_STREAM, 0);
    assert_int_not_equal(listener, -1);
    assert_int_equal(bind(listener, &there.as.any, there.len), 0);
    assert_int_equal(listen(listener, backlog), 0);
    assert_int_equal(endpoint_own(listener, &there), 0);
}

static void accept_peer(void)
{
    peer = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    assert_int_not_equal(peer, -1);
}

static void say(const char *text)
{
    assert_int_equal(send(peer, text, strlen(text), MSG_NOSIGNAL),
                     (ssize_t)strlen(text));
}

/* What peer can receive now, of at most size - 1 bytes. */
static void hear(char *out, size_t size)
{
    ssize_t n = recv(peer, out, size - 1, 0);

    assert_true(n >= 0);
    out[n] = '\0';
}

static size_t drain_peer(void)
{
    size_t all = 0;
    ssize_t n;

    while ((n = recv(peer, big, sizeof(big), 0)) > 0)
        all += (size_t)n;
    assert_true(n == 0 || errno == EAGAIN);
    return all;
}

/* Closes it so that the other end gets a reset. */
static void reset_peer(void)
{
    struct linger linger = { .l_onoff = 1, .l_linger = 0 };

    assert_int_equal(
        setsockopt(peer, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
    shut(&peer);
}

/* --- our end -------------------------------------------------------------- */

static void turns(unsigned n)
{
    while (n-- > 0)
        loop_turn(loop, false);
}

static void turn_until(enum stream_side side)
{
    unsigned before = news[side];

    while (news[side] == before)
        loop_turn(loop, true);
}

static void assert_input(const char *text)
{
    struct slice in = stream_input(stream);

    assert_int_equal(in.len, strlen(text));
    assert_memory_equal(in.data, text, in.len);
}

static enum stream_result write_text(const char *text)
{
    struct slice piece = slice_of(text);
    size_t sent;
    enum stream_result result = stream_write(stream, &piece, 1, &sent);

    assert_int_equal(sent, result == STREAM_DONE ? strlen(text) : 0);
    return result;
}

/* Writes until the kernel takes no more; returns how much it took. */
static size_t fill(void)
{
    struct slice piece = { big, sizeof(big) };
    size_t all = 0, sent;

    memset(big, 'x', sizeof(big));
    while (stream_write(stream, &piece, 1, &sent) == STREAM_DONE)
        all += sent;
    return all + sent;
}

static void connect_stream(void)
{
    enum stream_result result = stream_connect(stream, &there);

    if (result == STREAM_WAIT) {
        assert_true(stream_is_connecting(stream));
        turn_until(STREAM_OUT);
        result = stream_connected(stream);
    }
    assert_int_equal(result, STREAM_DONE);
    assert_false(stream_is_connecting(stream));
}

/* --- connecting ----------------------------------------------------------- */

static void assert_connects(int family)
{
    char text[16];
    int on = 0;
    socklen_t len = sizeof(on);

    listen_on(family, 8);
    connect_stream();
    accept_peer();
    assert_int_equal(fcntl(stream_fd(stream), F_GETFD) & FD_CLOEXEC,
                     FD_CLOEXEC);
    if (family != AF_UNIX)
        assert_int_equal(
            getsockopt(stream_fd(stream), IPPROTO_TCP, TCP_NODELAY, &on, &len),
            0);
    assert_int_equal(on != 0, family != AF_UNIX);
    assert_int_equal(write_text("ping"), STREAM_DONE);
    hear(text, sizeof(text));
    assert_string_equal(text, "ping");
    say("pong");
    assert_int_equal(stream_read(stream, 4), STREAM_WAIT);
    turn_until(STREAM_IN);
    assert_input("pong");
}

static void connects_over_ipv4(void **state)
{
    (void)state;
    assert_connects(AF_INET);
}

static void connects_over_ipv6(void **state)
{
    (void)state;
    assert_connects(AF_INET6);
}

static void connects_to_a_unix_socket(void **state)
{
    (void)state;
    assert_connects(AF_UNIX);
}

static void refused_it_is_closed_and_says_why(void **state)
{
    (void)state;
    listen_on(AF_INET, 8);
    shut(&listener);
    if (stream_connect(stream, &there) == STREAM_WAIT)
        turn_until(STREAM_OUT);
    assert_int_equal(stream_connected(stream), STREAM_FAILED);
    assert_int_equal(stream_error(stream), ECONNREFUSED);
    assert_int_equal(stream_fd(stream), -1);
    assert_int_equal(write_text("x"), STREAM_END);
    assert_int_equal(stream_read(stream, 1), STREAM_END);
}

static void a_path_without_a_socket_fails_at_once(void **state)
{
    struct endpoint nowhere;

    (void)state;
    assert_true(endpoint_unix(&nowhere, "/no/such/socket"));
    assert_int_equal(stream_connect(stream, &nowhere), STREAM_FAILED);
    assert_int_equal(stream_error(stream), ENOENT);
    assert_int_equal(stream_fd(stream), -1);
}

static void what_failed_can_connect_again(void **state)
{
    (void)state;
    a_path_without_a_socket_fails_at_once(NULL);
    assert_connects(AF_INET);
    stream_close(stream);
    shut(&peer);
    connect_stream();
    assert_input(""); /* nothing is left of the time before */
    accept_peer();
    assert_int_equal(write_text("again"), STREAM_DONE);
}

/* The kernel refuses with EAGAIN, and never tells when to try again. */
static void waits_while_the_queue_of_a_unix_socket_is_full(void **state)
{
    int first;

    (void)state;
    listen_on(AF_UNIX, 0);
    first = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(first, &there.as.any, there.len), 0);
    assert_int_equal(stream_connect(stream, &there), STREAM_WAIT);
    turns(3);
    assert_int_equal(stream_connected(stream), STREAM_WAIT);
    assert_int_equal(news[STREAM_OUT], 0);
    close(accept(listener, NULL, NULL));
    close(first);
    turn_until(STREAM_OUT);
    assert_int_equal(stream_connected(stream), STREAM_DONE);
    accept_peer();
}

static void the_end_of_a_full_queue_is_heard(void **state)
{
    int first;

    (void)state;
    listen_on(AF_UNIX, 0);
    first = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(first, &there.as.any, there.len), 0);
    assert_int_equal(stream_connect(stream, &there), STREAM_WAIT);
    shut(&listener);
    turn_until(STREAM_OUT);
    assert_int_equal(stream_connected(stream), STREAM_FAILED);
    assert_int_equal(stream_error(stream), ECONNREFUSED);
    close(first);
}

static void can_be_closed_while_it_connects(void **state)
{
    int first;

    (void)state;
    listen_on(AF_UNIX, 0);
    first = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(first, &there.as.any, there.len), 0);
    assert_int_equal(stream_connect(stream, &there), STREAM_WAIT);
    stream_close(stream);
    assert_int_equal(stream_connected(stream), STREAM_END);
    unlink(there.as.local.sun_path);
    shut(&listener);
    close(first);
    listen_on(AF_INET, 8);
    if (stream_connect(stream, &there) == STREAM_WAIT)
        assert_int_equal(write_text("x"), STREAM_END);
    stream_close(stream);
    turns(3);
    assert_int_equal(news[STREAM_OUT], 0);
}

static void options_can_be_set_before_it_connects(void **state)
{
    (void)state;
    listen_on(AF_INET, 8);
    assert_int_equal(stream_open(stream, AF_INET), 0);
    assert_int_not_equal(stream_fd(stream), -1);
    assert_int_equal(write_text("x"), STREAM_END);
    connect_stream();
}

/* --- listening ------------------------------------------------------------ */

static void a_listener_gives_connections(void **state)
{
    struct stream *client = stream_new(streams);
    char text[8];

    (void)state;
    assert_int_equal(stream_listen(stream, 8), -1);
    assert_int_equal(errno, EBADF);
    assert_true(endpoint_ip(&there, "127.0.0.1", 0));
    assert_int_equal(stream_bind(stream, &there), 0);
    assert_int_equal(stream_listen(stream, 8), 0);
    assert_int_equal(endpoint_own(stream_fd(stream), &there), 0);
    assert_int_equal(stream_accept(stream, client), STREAM_WAIT);
    peer = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(peer, &there.as.any, there.len), 0);
    turn_until(STREAM_IN);
    assert_int_equal(stream_accept(stream, client), STREAM_DONE);
    say("hello");
    stream_set_owner(client, &ops, news);
    if (stream_read(client, 5) == STREAM_WAIT)
        turn_until(STREAM_IN);
    assert_int_equal(stream_input(client).len, 5);
    stream_consume(client, 5);
    assert_int_equal(
        stream_write(client, &(struct slice){ "hi", 2 }, 1, &(size_t){ 0 }),
        STREAM_DONE);
    hear(text, sizeof(text));
    assert_string_equal(text, "hi");
    assert_int_equal(fcntl(stream_fd(client), F_GETFL) & O_NONBLOCK,
                     O_NONBLOCK);
    assert_int_equal(stream_read(stream, 1), STREAM_END);
    assert_int_equal(write_text("x"), STREAM_END);
    stream_del(client);
}

static void a_port_in_use_is_refused(void **state)
{
    (void)state;
    listen_on(AF_INET, 8);
    assert_int_equal(stream_bind(stream, &there), -1);
    assert_int_equal(errno, EADDRINUSE);
}

static void a_closed_listener_accepts_nothing(void **state)
{
    struct stream *client = stream_new(streams);

    (void)state;
    assert_true(endpoint_ip(&there, "127.0.0.1", 0));
    assert_int_equal(stream_bind(stream, &there), 0);
    assert_int_equal(stream_accept(stream, client), STREAM_END);
    assert_int_equal(stream_listen(stream, 8), 0);
    assert_int_equal(stream_accept(stream, client), STREAM_WAIT);
    stream_close(stream);
    assert_int_equal(stream_accept(stream, client), STREAM_END);
    stream_del(client);
}

/* --- reading -------------------------------------------------------------- */

static void news_come_when_what_was_wanted_is_there(void **state)
{
    (void)state;
    adopt_pair();
    assert_int_equal(stream_read(stream, 5), STREAM_WAIT);
    say("one");
    turns(3);
    assert_int_equal(news[STREAM_IN], 0);
    assert_int_equal(stream_read(stream, 5), STREAM_WAIT);
    say("two");
    turn_until(STREAM_IN);
    assert_int_equal(stream_read(stream, 5), STREAM_DONE);
    assert_input("onetwo");
    stream_consume(stream, 4);
    assert_input("wo");
    stream_consume(stream, 2);
    assert_input("");
    stream_consume(stream, 0);
}

static void what_comes_unasked_waits_in_the_buffer(void **state)
{
    (void)state;
    adopt_pair();
    say("early");
    turns(2);
    assert_input("early");
    assert_int_equal(stream_read(stream, 5), STREAM_DONE);
    assert_int_equal(news[STREAM_IN], 0);
}

/* One recv too many would cost as much as the exchange. */
static void the_kernel_is_not_asked_for_what_it_has_not(void **state)
{
    (void)state;
    adopt_pair();
    assert_int_equal(stream_read(stream, 1), STREAM_WAIT);
    say("a");
    turn_until(STREAM_IN);
    stream_consume(stream, 1);
    say("b");
    assert_int_equal(stream_read(stream, 1), STREAM_WAIT);
    assert_input("");
    stream_poll(stream, 1);
    assert_input("b");
}

static void beyond_the_high_mark_bytes_stay_in_the_kernel(void **state)
{
    size_t said = 0;
    ssize_t n;

    (void)state;
    adopt_pair();
    memset(big, 'y', sizeof(big));
    for (int i = 0; i < 100; i++) {
        while ((n = send(peer, big, sizeof(big), MSG_NOSIGNAL)) > 0)
            said += (size_t)n;
        turns(1);
    }
    assert_true(said > STREAM_HIGH);
    assert_true(stream_input(stream).len >= STREAM_HIGH);
    assert_true(stream_input(stream).len < 2 * STREAM_HIGH);
    assert_int_equal(news[STREAM_IN], 0);
    while (said > 0) { /* none of it is lost */
        struct slice in = stream_input(stream);

        said -= in.len;
        stream_consume(stream, in.len);
        if (said > 0 && stream_read(stream, 1) == STREAM_WAIT)
            turn_until(STREAM_IN);
    }
    assert_input("");
}

static void who_gave_up_holds_back_the_peer(void **state)
{
    (void)state;
    adopt_pair();
    assert_int_equal(stream_read(stream, BIG), STREAM_WAIT);
    awaits[STREAM_IN] = false;
    memset(big, 'y', sizeof(big));
    for (int i = 0; i < 100; i++) {
        while (send(peer, big, sizeof(big), MSG_NOSIGNAL) > 0)
            ;
        turns(1);
    }
    assert_true(stream_input(stream).len < 2 * STREAM_HIGH);
}

static void much_is_received_as_it_was_said(void **state)
{
    size_t said = 0;

    (void)state;
    adopt_pair();
    assert_int_equal(stream_read(stream, BIG), STREAM_WAIT);
    while (news[STREAM_IN] == 0) {
        size_t room = sizeof(big) < BIG - said ? sizeof(big) : BIG - said;
        ssize_t n;

        for (size_t i = 0; i < room; i++)
            big[i] = (char)((said + i) * 2654435761u >> 16);
        n = room == 0 ? 0 : send(peer, big, room, MSG_NOSIGNAL);
        said += n > 0 ? (size_t)n : 0;
        loop_turn(loop, false);
    }
    assert_int_equal(stream_read(stream, BIG), STREAM_DONE);
    assert_int_equal(stream_input(stream).len, BIG);
    for (size_t i = 0; i < BIG; i++)
        if (stream_input(stream).data[i] != (char)(i * 2654435761u >> 16))
            fail_msg("byte %zu", i);
    assert_int_equal(stream_stats(stream)->received, BIG);
}

static void the_end_comes_after_the_last_bytes(void **state)
{
    (void)state;
    adopt_pair();
    say("last");
    shut(&peer);
    assert_int_equal(stream_read(stream, 5), STREAM_WAIT);
    turn_until(STREAM_IN);
    assert_int_equal(stream_read(stream, 4), STREAM_DONE);
    assert_int_equal(stream_read(stream, 5), STREAM_END);
    assert_int_equal(stream_read(stream, 5), STREAM_END);
    assert_input("last");
    turns(2);
    assert_int_equal(news[STREAM_IN], 1);
}

static void a_reset_is_told_from_an_end(void **state)
{
    (void)state;
    listen_on(AF_INET, 8);
    connect_stream();
    accept_peer();
    say("last");
    assert_int_equal(stream_read(stream, 4), STREAM_WAIT);
    turn_until(STREAM_IN);
    reset_peer();
    assert_int_equal(stream_read(stream, 5), STREAM_WAIT);
    turn_until(STREAM_IN);
    assert_int_equal(stream_read(stream, 5), STREAM_FAILED);
    assert_int_equal(stream_error(stream), ECONNRESET);
    assert_int_equal(stream_read(stream, 5), STREAM_FAILED);
    assert_input("last");
}

static void what_came_before_it_was_closed_can_be_read(void **state)
{
    (void)state;
    adopt_pair();
    say("late");
    turns(2);
    stream_close(stream);
    assert_int_equal(stream_fd(stream), -1);
    assert_int_equal(stream_read(stream, 4), STREAM_DONE);
    assert_input("late");
    assert_int_equal(stream_read(stream, 5), STREAM_END);
    assert_int_equal(write_text("x"), STREAM_END);
    assert_int_equal(recv(peer, big, 1, 0), 0);
}

static void news_may_close_it(void **state)
{
    (void)state;
    adopt_pair();
    closes_at_news = true;
    assert_int_equal(stream_read(stream, 1), STREAM_WAIT);
    say("x");
    turn_until(STREAM_IN);
    assert_int_equal(stream_fd(stream), -1);
    turns(2);
}

static void a_layer_between_feeds_the_buffer(void **state)
{
    (void)state;
    adopt_pair();
    stream_set_raw(stream, true);
    say("secret");
    turns(2);
    assert_input("");
    assert_int_equal(stream_read(stream, 1), STREAM_END);
    assert_true(stream_feed(stream, slice_of("")));
    assert_true(stream_feed(stream, slice_of("plain")));
    assert_int_equal(stream_read(stream, 5), STREAM_DONE);
    assert_input("plain");
    stream_await(stream, STREAM_IN);
    turn_until(STREAM_IN);
    turns(2);
    assert_int_equal(news[STREAM_IN], 1);
    stream_await(stream, STREAM_OUT);
    turn_until(STREAM_OUT);
    stream_await(stream, STREAM_IN);
    awaits[STREAM_IN] = false;
    turns(2);
    assert_int_equal(news[STREAM_IN], 1);
    awaits[STREAM_IN] = true;
    stream_set_raw(stream, false);
    stream_consume(stream, 5);
    if (stream_read(stream, 6) == STREAM_WAIT)
        turn_until(STREAM_IN);
    assert_input("secret");
}

/* --- writing -------------------------------------------------------------- */

static void pieces_go_in_one_message(void **state)
{
    static const struct slice pieces[] = {
        { "one", 3 }, { "", 0 }, { "two", 3 }, { "three", 5 }
    };
    char text[32];
    size_t sent;

    (void)state;
    adopt_pair();
    assert_int_equal(stream_write(stream, pieces, 4, &sent), STREAM_DONE);
    assert_int_equal(sent, 11);
    hear(text, sizeof(text));
    assert_string_equal(text, "onetwothree");
    assert_int_equal(stream_write(stream, pieces, 0, &sent), STREAM_DONE);
    assert_int_equal(stream_write(stream, pieces + 1, 1, &sent), STREAM_DONE);
    assert_int_equal(sent, 0);
    assert_int_equal(stream_stats(stream)->sent, 11);
}

static void news_come_when_there_is_room_again(void **state)
{
    size_t sent;

    (void)state;
    adopt_pair();
    sent = fill();
    turns(3);
    assert_int_equal(news[STREAM_OUT], 0);
    assert_int_equal(drain_peer(), sent);
    turn_until(STREAM_OUT);
    sent = fill(); /* the watcher is still there */
    assert_int_equal(drain_peer(), sent);
    turn_until(STREAM_OUT);
    assert_int_equal(write_text("end"), STREAM_DONE);
    turns(3);
    assert_int_equal(news[STREAM_OUT], 2);
    assert_int_equal(drain_peer(), 3);
}

static void who_does_not_wait_for_room_is_not_told(void **state)
{
    (void)state;
    adopt_pair();
    fill();
    awaits[STREAM_OUT] = false;
    drain_peer();
    turns(3);
    assert_int_equal(news[STREAM_OUT], 0);
}

static void writing_to_who_has_gone_fails(void **state)
{
    (void)state;
    adopt_pair();
    say("last");
    shut(&peer);
    assert_int_equal(write_text("x"), STREAM_FAILED);
    assert_int_equal(stream_error(stream), EPIPE);
    if (stream_read(stream, 4) == STREAM_WAIT)
        turn_until(STREAM_IN);
    assert_input("last");
}

static void who_waits_for_room_hears_that_the_peer_has_gone(void **state)
{
    size_t sent;

    (void)state;
    adopt_pair();
    fill();
    shut(&peer);
    turn_until(STREAM_OUT);
    assert_int_equal(stream_write(stream, &(struct slice){ "x", 1 }, 1, &sent),
                     STREAM_FAILED);
}

static void each_direction_ends_by_itself(void **state)
{
    char text[8];

    (void)state;
    assert_int_equal(stream_shutdown(stream, SHUT_WR), -1);
    assert_int_equal(errno, ENOTCONN);
    adopt_pair();
    assert_int_equal(write_text("bye"), STREAM_DONE);
    assert_int_equal(stream_shutdown(stream, SHUT_WR), 0);
    assert_int_equal(write_text("x"), STREAM_END);
    hear(text, sizeof(text));
    assert_string_equal(text, "bye");
    assert_int_equal(recv(peer, text, 1, 0), 0);
    say("hi");
    if (stream_read(stream, 2) == STREAM_WAIT)
        turn_until(STREAM_IN);
    assert_input("hi");
    assert_int_equal(stream_shutdown(stream, SHUT_RD), 0);
    if (stream_read(stream, 3) == STREAM_WAIT)
        turn_until(STREAM_IN);
    assert_int_equal(stream_read(stream, 3), STREAM_END);
}

/* --- pipes and descriptors ------------------------------------------------ */

static void a_pipe_is_read(void **state)
{
    int fds[2];

    (void)state;
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(stream_adopt(stream, fds[0], STREAM_READS), 0);
    assert_int_equal(fcntl(fds[0], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    assert_int_equal(write_text("x"), STREAM_END);
    assert_int_equal(write(fds[1], "hello", 5), 5);
    close(fds[1]);
    assert_int_equal(stream_read(stream, 6), STREAM_WAIT);
    turn_until(STREAM_IN);
    assert_int_equal(stream_read(stream, 6), STREAM_END);
    assert_input("hello");
}

static void a_pipe_is_written(void **state)
{
    size_t sent;
    int fds[2];

    (void)state;
    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(stream_adopt(stream, fds[1], STREAM_WRITES), 0);
    assert_int_equal(stream_read(stream, 1), STREAM_END);
    sent = fill();
    set_non_blocking(fds[0]);
    while (sent > 0) {
        ssize_t n = read(fds[0], big, sizeof(big));

        assert_true(n > 0);
        sent -= (size_t)n;
    }
    turn_until(STREAM_OUT);
    assert_int_equal(write_text("end"), STREAM_DONE);
    assert_int_equal(read(fds[0], big, sizeof(big)), 3);
    assert_int_equal(stream_shutdown(stream, SHUT_WR), 0);
    assert_int_equal(read(fds[0], big, sizeof(big)), 0);
    assert_int_equal(stream_fd(stream), -1);
    close(fds[0]);
    signal(SIGPIPE, SIG_DFL);
}

static void writing_to_a_pipe_that_nobody_reads_fails(void **state)
{
    int fds[2];

    (void)state;
    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(stream_adopt(stream, fds[1], STREAM_WRITES), 0);
    close(fds[0]);
    assert_int_equal(write_text("x"), STREAM_FAILED);
    assert_int_equal(stream_error(stream), EPIPE);
    signal(SIGPIPE, SIG_DFL);
}

static void what_is_no_descriptor_is_not_adopted(void **state)
{
    (void)state;
    assert_int_equal(stream_adopt(stream, 9999, both), -1);
    assert_int_equal(errno, EBADF);
    assert_int_equal(stream_fd(stream), -1);
}

static void a_released_descriptor_stays_open(void **state)
{
    struct stream *other = stream_new(streams);
    int fd;

    (void)state;
    assert_int_equal(stream_release(stream), -1);
    adopt_pair();
    say("lost");
    turns(2);
    fd = stream_release(stream);
    assert_int_equal(stream_fd(stream), -1);
    assert_input("");
    assert_int_equal(stream_adopt(other, fd, both), 0);
    stream_set_owner(other, &ops, news);
    say("kept");
    if (stream_read(other, 4) == STREAM_WAIT)
        turn_until(STREAM_IN);
    assert_int_equal(stream_input(other).len, 4);
    stream_del(other);
    assert_int_equal(recv(peer, big, 1, 0), 0);
}

/* A child that goes on with the loop hears on its own. */
static void a_forked_child_serves_its_streams(void **state)
{
    int status;
    pid_t pid;

    (void)state;
    adopt_pair();
    assert_int_equal(stream_read(stream, 4), STREAM_WAIT);
    turns(1);
    pid = fork();
    assert_int_not_equal(pid, -1);
    if (pid == 0) {
        ev_loop_fork(loop->ev);
        while (news[STREAM_IN] == 0)
            loop_turn(loop, true);
        _exit(stream_input(stream).len == 4 ? 0 : 1);
    }
    say("ping");
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* --- memory --------------------------------------------------------------- */

static void an_empty_buffer_holds_no_memory(void **state)
{
    (void)state;
    adopt_pair();
    say("x");
    turns(2);
    stream_consume(stream, 1);
    alloc_fail_at(0);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(stream_read(stream, 1), STREAM_WAIT);
        say("x");
        turn_until(STREAM_IN);
        stream_consume(stream, 1);
        turns(1);
    }
    /* under AddressSanitizer pools keep nothing: one block each time */
    assert_true(alloc_count() <= 10);
}

static void without_memory_for_input_it_goes_on_later(void **state)
{
    (void)state;
    adopt_pair();
    assert_int_equal(stream_read(stream, 1), STREAM_WAIT);
    say("x");
    alloc_fail_at(1);
    turn_until(STREAM_IN);
    alloc_fail_at(0);
    assert_int_equal(stream_read(stream, 1), STREAM_FAILED);
    assert_int_equal(stream_error(stream), ENOMEM);
    if (stream_read(stream, 1) == STREAM_WAIT)
        turn_until(STREAM_IN);
    assert_input("x");
}

static void exchange_or_fail(void *arg)
{
    struct loop *own = loop_new();
    struct streams *all = own == NULL ? NULL : streams_new(own);
    struct stream *one = all == NULL ? NULL : stream_new(all);
    struct slice bytes = { big, sizeof(big) };
    size_t sent;
    int fds[2];

    (void)arg;
    if (one != NULL) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
        assert_int_equal(stream_adopt(one, fds[0], both), 0);
        set_non_blocking(fds[1]);
        stream_write(one, &bytes, 1, &sent);
        assert_true(send(fds[1], big, sizeof(big), MSG_NOSIGNAL) > 0);
        stream_poll(one, sizeof(big));
        stream_feed(one, bytes);
        loop_turn(own, false);
        close(fds[1]);
    }
    stream_del(one);
    streams_del(all);
    loop_del(own);
}

static void comes_through_without_memory(void **state)
{
    (void)state;
    alloc_each_fails(exchange_or_fail, NULL);
}

static void connect_or_fail(void *arg)
{
    struct stream *one = stream_new(streams);

    (void)arg;
    if (one == NULL)
        return;
    if (stream_connect(one, &there) == STREAM_FAILED)
        assert_int_equal(stream_error(one), ENOMEM);
    stream_del(one);
}

static void a_full_queue_without_memory_fails(void **state)
{
    int first;

    (void)state;
    listen_on(AF_UNIX, 0);
    first = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(first, &there.as.any, there.len), 0);
    alloc_each_fails(connect_or_fail, NULL);
    close(first);
}

static void nothing_is_no_stream(void **state)
{
    (void)state;
    stream_del(NULL);
    streams_del(NULL);
}

#define STREAM_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STREAM_TEST(connects_over_ipv4),
        STREAM_TEST(connects_over_ipv6),
        STREAM_TEST(connects_to_a_unix_socket),
        STREAM_TEST(refused_it_is_closed_and_says_why),
        STREAM_TEST(a_path_without_a_socket_fails_at_once),
        STREAM_TEST(what_failed_can_connect_again),
        STREAM_TEST(waits_while_the_queue_of_a_unix_socket_is_full),
        STREAM_TEST(the_end_of_a_full_queue_is_heard),
        STREAM_TEST(can_be_closed_while_it_connects),
        STREAM_TEST(options_can_be_set_before_it_connects),
        STREAM_TEST(a_listener_gives_connections),
        STREAM_TEST(a_port_in_use_is_refused),
        STREAM_TEST(a_closed_listener_accepts_nothing),
        STREAM_TEST(news_come_when_what_was_wanted_is_there),
        STREAM_TEST(what_comes_unasked_waits_in_the_buffer),
        STREAM_TEST(the_kernel_is_not_asked_for_what_it_has_not),
        STREAM_TEST(beyond_the_high_mark_bytes_stay_in_the_kernel),
        STREAM_TEST(who_gave_up_holds_back_the_peer),
        STREAM_TEST(much_is_received_as_it_was_said),
        STREAM_TEST(the_end_comes_after_the_last_bytes),
        STREAM_TEST(a_reset_is_told_from_an_end),
        STREAM_TEST(what_came_before_it_was_closed_can_be_read),
        STREAM_TEST(news_may_close_it),
        STREAM_TEST(a_layer_between_feeds_the_buffer),
        STREAM_TEST(pieces_go_in_one_message),
        STREAM_TEST(news_come_when_there_is_room_again),
        STREAM_TEST(who_does_not_wait_for_room_is_not_told),
        STREAM_TEST(writing_to_who_has_gone_fails),
        STREAM_TEST(who_waits_for_room_hears_that_the_peer_has_gone),
        STREAM_TEST(each_direction_ends_by_itself),
        STREAM_TEST(a_pipe_is_read),
        STREAM_TEST(a_pipe_is_written),
        STREAM_TEST(writing_to_a_pipe_that_nobody_reads_fails),
        STREAM_TEST(what_is_no_descriptor_is_not_adopted),
        STREAM_TEST(a_released_descriptor_stays_open),
        STREAM_TEST(a_forked_child_serves_its_streams),
        STREAM_TEST(an_empty_buffer_holds_no_memory),
        STREAM_TEST(without_memory_for_input_it_goes_on_later),
        STREAM_TEST(comes_through_without_memory),
        STREAM_TEST(a_full_queue_without_memory_fails),
        STREAM_TEST(nothing_is_no_stream),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
