/* proc_link_test.c -- messages and descriptors between processes.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "proc/link.h"

static int ends[2];

static int set_up(void **state)
{
    (void)state;
    return link_pair(ends);
}

static int tear_down(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++)
        if (ends[i] != -1)
            close(ends[i]);
    return 0;
}

static void a_message_arrives_as_it_was_sent(void **state)
{
    const struct link_message sent = {
        .kind = LINK_EXITED, .id = 3, .slot = 7, .value = -9, .text = "why"
    };
    struct link_message got;
    int fd;

    (void)state;
    assert_int_equal(link_send(ends[0], &sent, -1), 0);
    assert_int_equal(link_receive(ends[1], &got, &fd), 1);
    assert_int_equal(fd, -1);
    assert_int_equal(got.kind, LINK_EXITED);
    assert_int_equal(got.id, 3);
    assert_int_equal(got.slot, 7);
    assert_int_equal(got.value, -9);
    assert_string_equal(got.text, "why");
    assert_int_equal(link_receive(ends[1], &got, &fd), -1);
    assert_int_equal(errno, EAGAIN);
}

static void messages_keep_their_bounds_and_their_order(void **state)
{
    struct link_message got;
    int fd;

    (void)state;
    link_tell(ends[0], LINK_DRAIN, "one");
    link_try(ends[0], LINK_SNAPSHOT);
    link_tell(ends[0], LINK_STOP, NULL);
    assert_int_equal(link_receive(ends[1], &got, &fd), 1);
    assert_string_equal(got.text, "one");
    assert_int_equal(link_receive(ends[1], &got, &fd), 1);
    assert_int_equal(got.kind, LINK_SNAPSHOT);
    assert_int_equal(link_receive(ends[1], &got, &fd), 1);
    assert_int_equal(got.kind, LINK_STOP);
    assert_string_equal(got.text, "");
}

static void a_text_that_is_too_long_is_cut(void **state)
{
    static char text[2 * LINK_TEXT_MAX];
    struct link_message message = { .kind = LINK_FAILED }, got;
    int fd;

    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    assert_int_equal(link_tell(ends[0], LINK_FAILED, text), 0);
    assert_int_equal(link_receive(ends[1], &got, &fd), 1);
    assert_int_equal(strlen(got.text), LINK_TEXT_MAX - 1);
    memset(message.text, 'y', sizeof(message.text)); /* no end at all */
    assert_int_equal(link_send(ends[0], &message, -1), 0);
    assert_int_equal(link_receive(ends[1], &got, &fd), 1);
    assert_int_equal(strlen(got.text), LINK_TEXT_MAX - 1);
}

static void a_descriptor_comes_with_its_message(void **state)
{
    const struct link_message message = { .kind = LINK_CONN };
    struct link_message got;
    int pipes[2], fd;
    char byte = 0;

    (void)state;
    assert_int_equal(pipe(pipes), 0);
    assert_int_equal(link_send(ends[0], &message, pipes[1]), 0);
    close(pipes[1]);
    assert_int_equal(link_receive(ends[1], &got, &fd), 1);
    assert_true(fd >= 0);
    assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    assert_int_equal(write(fd, "x", 1), 1);
    assert_int_equal(read(pipes[0], &byte, 1), 1);
    close(fd);
    assert_int_equal(read(pipes[0], &byte, 1), 0); /* it was the last */
    close(pipes[0]);
}

static void an_offer_to_one_who_does_not_read_is_refused(void **state)
{
    const struct link_message message = { .kind = LINK_PING };
    struct link_message got;
    unsigned sent = 0;
    int fd;

    (void)state;
    while (link_offer(ends[0], &message, -1) == 0)
        sent++;
    assert_int_equal(errno, EAGAIN);
    assert_int_equal(link_try(ends[0], LINK_PING), -1);
    assert_true(sent > 0);
    while (link_receive(ends[1], &got, &fd) == 1)
        sent--;
    assert_int_equal(sent, 0);
    assert_int_equal(link_offer(ends[0], &message, -1), 0);
}

static void the_end_of_a_link_comes_after_its_messages(void **state)
{
    struct link_message got;
    int fd;

    (void)state;
    link_tell(ends[0], LINK_READY, NULL);
    close(ends[0]);
    ends[0] = -1;
    assert_int_equal(link_receive(ends[1], &got, &fd), 1);
    assert_int_equal(link_receive(ends[1], &got, &fd), 0);
    assert_int_equal(link_tell(ends[1], LINK_STOP, NULL), -1); /* no signal */
    assert_int_equal(errno, EPIPE);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_message_arrives_as_it_was_sent),
        TEST(messages_keep_their_bounds_and_their_order),
        TEST(a_text_that_is_too_long_is_cut),
        TEST(a_descriptor_comes_with_its_message),
        TEST(an_offer_to_one_who_does_not_read_is_refused),
        TEST(the_end_of_a_link_comes_after_its_messages),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
