/* io_stream_test.c -- streams that this process opened: real sockets and pipes,
 * whose other ends are ours.
 *
 * Nothing here sleeps: the loop is turned until what is expected has happened.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "alloc.h"
#include "core/limits.h"
#include "io/loop_ev.h"
#include "io/stream.h"

static struct loop *loop;
static struct streams *streams;
static struct stream *stream;
static int peer;
static unsigned news[2];
static bool awaits[2];
static bool closes_at_news;
static char folder[64];

static void take_news(void *owner, enum stream_side side)
{
    assert_ptr_equal(owner, news);
    news[side]++;
    if (closes_at_news)
        stream_close(stream);
}

static bool is_awaited(void *owner, enum stream_side side)
{
    (void)owner;
    return awaits[side];
}

static const struct stream_ops ops = { take_news, is_awaited };

static int set_up(void **state)
{
    (void)state;
    loop = loop_new();
    streams = loop == NULL ? NULL : streams_new(loop);
    stream = streams == NULL ? NULL : stream_new(streams);
    if (stream == NULL)
        return -1;
    stream_set_owner(stream, &ops, news);
    peer = -1;
    memset(news, 0, sizeof(news));
    awaits[0] = awaits[1] = true;
    closes_at_news = false;
    strcpy(folder, "/tmp/stream_test.XXXXXX");
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    if (peer != -1)
        close(peer);
    stream_del(stream);
    streams_del(streams);
    loop_del(loop);
    return rmdir(folder);
}

/* A stream and its peer, which does not block either. */
static void adopt_pair(void)
{
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(fcntl(fds[1], F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(stream_adopt(stream, fds[0], STREAM_READS | STREAM_WRITES),
                     0);
    peer = fds[1];
}

static void say(const char *text)
{
    assert_int_equal(send(peer, text, strlen(text), MSG_NOSIGNAL),
                     (ssize_t)strlen(text));
}

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
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(news_come_when_what_was_wanted_is_there,
                                        set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
