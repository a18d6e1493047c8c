/* io_pump_test.c -- streams that are fed and emptied by the loop: real pipes,
 * whose other ends are ours.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "alloc.h"
#include "io/loop_ev.h"
#include "io/pump.h"

enum { BIG = 8 * 1024 * 1024 };

static struct loop *loop;
static struct streams *streams;
static struct stream *stream;
static struct pump pump;
static int other; /* end of the stream's pipe */
static unsigned overs;
static char *big, *copy;

static int set_up(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    loop = loop_new();
    streams = streams_new(loop);
    stream = stream_new(streams);
    big = malloc(BIG);
    copy = malloc(BIG);
    if (big == NULL || copy == NULL)
        return -1;
    for (size_t i = 0; i < BIG; i++)
        big[i] = (char)(i * 31 + i / 997);
    pump = (struct pump){ .state = PUMP_IDLE };
    overs = 0;
    other = -1;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    pump_free(&pump);
    stream_del(stream);
    streams_del(streams);
    loop_del(loop);
    if (other != -1)
        close(other);
    free(big);
    free(copy);
    return 0;
}

static void count(void *arg)
{
    assert_ptr_equal(arg, &pump);
    overs++;
}

/* Makes the stream an end of a pipe, of which the other is ours. */
static void open_pipe(bool reads)
{
    int fds[2];

    assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
    other = fds[reads ? 1 : 0];
    assert_int_equal(stream_adopt(stream, fds[reads ? 0 : 1],
                                  reads ? STREAM_READS : STREAM_WRITES),
                     0);
}

static void shut_other(void)
{
    close(other);
    other = -1;
}

static void feed(const char *text, size_t len)
{
    open_pipe(false);
    pump_feed(&pump, loop, stream, (struct slice){ text, len }, count, &pump);
}

static void collect(size_t max)
{
    open_pipe(true);
    pump_collect(&pump, loop, stream, max, count, &pump);
}

static void say(const char *text)
{
    assert_int_equal(write(other, text, strlen(text)), strlen(text));
}

static void assert_output(const char *text)
{
    assert_int_equal(pump.output.len, strlen(text));
    assert_memory_equal(pump.output.data, text, strlen(text));
}

/* --- feeding ---------------------------------------------------------------
 */

static void what_fits_is_written_at_once(void **state)
{
    char got[8];

    (void)state;
    feed("hello", 5);
    assert_int_equal(pump.state, PUMP_DONE);
    assert_int_equal(overs, 0); /* the caller sees it */
    assert_int_equal(stream_fd(stream), -1);
    assert_int_equal(read(other, got, sizeof(got)), 5);
    assert_memory_equal(got, "hello", 5);
    assert_int_equal(read(other, got, sizeof(got)), 0);
}

static void nothing_is_written_and_ends(void **state)
{
    char got;

    (void)state;
    feed("", 0);
    assert_int_equal(pump.state, PUMP_DONE);
    assert_int_equal(read(other, &got, 1), 0);
}

static void much_is_written_as_it_is_read(void **state)
{
    size_t len = 0;
    ssize_t n;

    (void)state;
    feed(big, BIG);
    assert_int_equal(pump.state, PUMP_RUNS);
    while ((n = read(other, copy + len, BIG - len)) != 0) {
        if (n > 0)
            len += (size_t)n;
        else
            loop_turn(loop, true);
        if (len == BIG)
            break;
    }
    assert_int_equal(len, BIG);
    assert_memory_equal(big, copy, BIG);
    while (pump.state == PUMP_RUNS)
        loop_turn(loop, true);
    assert_int_equal(overs, 1);
    assert_int_equal(stream_fd(stream), -1);
}

static void a_reader_that_goes_ends_it(void **state)
{
    (void)state;
    feed(big, BIG);
    shut_other();
    while (pump.state == PUMP_RUNS)
        loop_turn(loop, true);
    assert_int_equal(pump.state, PUMP_DONE);
    assert_int_equal(overs, 1);
}

/* --- collecting ------------------------------------------------------------
 */

static void what_comes_is_collected_to_its_end(void **state)
{
    (void)state;
    collect(100);
    assert_int_equal(pump.state, PUMP_RUNS);
    say("one ");
    loop_turn(loop, true);
    say("two");
    loop_turn(loop, true);
    shut_other();
    while (pump.state == PUMP_RUNS)
        loop_turn(loop, true);
    assert_int_equal(pump.state, PUMP_DONE);
    assert_int_equal(overs, 1);
    assert_output("one two");
    pump_free(&pump);
    assert_int_equal(pump.output.len, 0);
}

static void what_has_ended_is_collected_at_once(void **state)
{
    int fds[2];

    (void)state;
    assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
    assert_int_equal(write(fds[1], "x", 1), 1);
    close(fds[1]);
    assert_int_equal(stream_adopt(stream, fds[0], STREAM_READS), 0);
    pump_collect(&pump, loop, stream, 100, count, &pump);
    while (pump.state == PUMP_RUNS)
        loop_turn(loop, true);
    assert_int_equal(pump.state, PUMP_DONE);
    assert_output("x");
}

static void just_enough_is_not_too_much(void **state)
{
    (void)state;
    collect(3);
    say("abc");
    loop_turn(loop, true);
    assert_int_equal(pump.state, PUMP_RUNS);
    shut_other();
    while (pump.state == PUMP_RUNS)
        loop_turn(loop, true);
    assert_int_equal(pump.state, PUMP_DONE);
    assert_output("abc");
}

static void too_much_is_cut(void **state)
{
    (void)state;
    collect(5);
    say("abc");
    loop_turn(loop, true);
    say("defg");
    while (pump.state == PUMP_RUNS)
        loop_turn(loop, true);
    assert_int_equal(pump.state, PUMP_FULL);
    assert_int_equal(overs, 1);
    assert_output("abcde");
}

static void nothing_may_be_all(void **state)
{
    (void)state;
    collect(0);
    say("a");
    while (pump.state == PUMP_RUNS)
        loop_turn(loop, true);
    assert_int_equal(pump.state, PUMP_FULL);
    assert_int_equal(pump.output.len, 0);
}

/* Whoever writes without a pause holds nobody up. */
static void much_is_collected_in_turns(void **state)
{
    size_t len = 0;
    unsigned turns = 0;

    (void)state;
    collect(BIG);
    while (len < BIG) {
        ssize_t n = write(other, big + len, BIG - len);

        if (n > 0)
            len += (size_t)n;
        loop_turn(loop, false);
        turns++;
    }
    shut_other();
    while (pump.state == PUMP_RUNS)
        loop_turn(loop, true);
    assert_true(turns > 8);
    assert_int_equal(pump.state, PUMP_DONE);
    assert_int_equal(pump.output.len, BIG);
    assert_memory_equal(pump.output.data, big, BIG);
}

/* --- its end ---------------------------------------------------------------
 */

static void one_that_is_stopped_hears_nothing(void **state)
{
    (void)state;
    collect(100);
    say("abc");
    loop_turn(loop, true);
    pump_stop(&pump);
    pump_stop(&pump);
    assert_int_equal(pump.state, PUMP_IDLE);
    assert_output("abc");
    say("def");
    loop_turn(loop, true);
    stream_close(stream);
    assert_int_equal(overs, 0);
    assert_output("abc");
}

static void one_that_never_ran_can_be_freed(void **state)
{
    (void)state;
    pump_stop(&pump);
    pump_free(&pump);
    assert_int_equal(pump.state, PUMP_IDLE);
}

static void collect_or_fail(void *arg)
{
    (void)arg;
    collect(1000);
    say("some bytes");
    shut_other();
    while (pump.state == PUMP_RUNS)
        loop_turn(loop, true);
    if (pump.state == PUMP_DONE)
        assert_output("some bytes");
    else
        assert_int_equal(pump.state, PUMP_NO_MEMORY);
    pump_free(&pump);
    stream_close(stream);
}

static void memory_may_run_out(void **state)
{
    (void)state;
    alloc_each_fails(collect_or_fail, NULL);
}

#define PUMP_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PUMP_TEST(what_fits_is_written_at_once),
        PUMP_TEST(nothing_is_written_and_ends),
        PUMP_TEST(much_is_written_as_it_is_read),
        PUMP_TEST(a_reader_that_goes_ends_it),
        PUMP_TEST(what_comes_is_collected_to_its_end),
        PUMP_TEST(what_has_ended_is_collected_at_once),
        PUMP_TEST(just_enough_is_not_too_much),
        PUMP_TEST(too_much_is_cut),
        PUMP_TEST(nothing_may_be_all),
        PUMP_TEST(much_is_collected_in_turns),
        PUMP_TEST(one_that_is_stopped_hears_nothing),
        PUMP_TEST(one_that_never_ran_can_be_freed),
        PUMP_TEST(memory_may_run_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
