/* proc_post_test.c -- messages to somebody who may not read.
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
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "alloc.h"
#include "proc/post.h"

static struct ev_loop *loop;
static struct post post;
static int ends[2];

static int set_up(void **state)
{
    (void)state;
    loop = ev_loop_new(EVFLAG_NOENV);
    if (loop == NULL || link_pair(ends) == -1)
        return -1;
    post_init(&post, loop, ends[0]);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    post_free(&post);
    for (int i = 0; i < 2; i++)
        if (ends[i] != -1)
            close(ends[i]);
    ev_loop_destroy(loop);
    return 0;
}

/* Sends until so many messages wait; returns how many were sent. */
static unsigned fill(unsigned waiting)
{
    unsigned n = 0;

    while (post.count < waiting) {
        struct link_message message = { .kind = LINK_DRAIN, .id = n++ };

        snprintf(message.text, sizeof(message.text), "%u", message.id);
        assert_int_equal(post_send(&post, &message, -1), 0);
    }
    return n;
}

static bool receive(struct link_message *got)
{
    int fd, status = link_receive(ends[1], got, &fd);

    assert_int_equal(fd, -1);
    return status == 1;
}

static void what_can_be_sent_does_not_wait(void **state)
{
    struct link_message got;

    (void)state;
    assert_int_equal(post_tell(&post, LINK_DRAIN, "reload"), 0);
    assert_int_equal(post.count, 0);
    assert_false(ev_is_active(&post.writer));
    assert_true(receive(&got));
    assert_int_equal(got.kind, LINK_DRAIN);
    assert_string_equal(got.text, "reload");
}

static void what_waits_goes_in_order_when_there_is_room(void **state)
{
    unsigned sent = fill(100), got = 0;
    struct link_message message;
    char text[16];

    (void)state;
    while (got < sent) {
        while (receive(&message)) {
            snprintf(text, sizeof(text), "%u", got);
            assert_int_equal(message.id, got++);
            assert_string_equal(message.text, text);
        }
        ev_run(loop, EVRUN_NOWAIT);
    }
    assert_int_equal(post.count, 0);
    assert_false(ev_is_active(&post.writer));
}

static void a_descriptor_waits_with_its_message(void **state)
{
    const struct link_message message = { .kind = LINK_CONN };
    struct link_message got;
    int pipes[2], fd = -1;

    (void)state;
    fill(1);
    assert_int_equal(pipe(pipes), 0);
    assert_int_equal(post_send(&post, &message, pipes[1]), 0);
    close(pipes[1]); /* the post has its own */
    while (fd == -1) {
        if (link_receive(ends[1], &got, &fd) != 1)
            ev_run(loop, EVRUN_NOWAIT);
    }
    assert_int_equal(got.kind, LINK_CONN);
    assert_int_equal(write(fd, "x", 1), 1);
    close(fd);
    close(pipes[0]);
}

static void what_waits_can_be_taken_back(void **state)
{
    const struct link_message message = { .kind = LINK_CONN };
    int fd, null = open("/dev/null", O_WRONLY | O_CLOEXEC);

    (void)state;
    fill(1);
    assert_int_equal(post_send(&post, &message, null), 0);
    assert_int_equal(post_tell(&post, LINK_STOP, NULL), 0);
    assert_int_equal(post.count, 3);
    fd = post_take_back(&post, LINK_CONN);
    assert_true(fd != -1 && fd != null);
    assert_int_equal(post.count, 2);
    assert_int_equal(post_take_back(&post, LINK_CONN), -1);
    assert_int_equal(post_take_back(&post, LINK_STOP), -1); /* it has none */
    assert_int_equal(post.count, 2);
    close(fd);
    close(null);
}

static void there_is_an_end_to_what_waits(void **state)
{
    (void)state;
    fill(POST_WAITING_MAX);
    assert_int_equal(post_tell(&post, LINK_STOP, NULL), -1);
    assert_int_equal(errno, ENOBUFS);
}

static void nothing_waits_for_one_who_has_gone(void **state)
{
    (void)state;
    fill(10);
    close(ends[1]);
    ends[1] = -1;
    for (int i = 0; i < 3; i++)
        ev_run(loop, EVRUN_NOWAIT);
    assert_false(ev_is_active(&post.writer)); /* it would spin */
    post_free(&post);
    assert_int_equal(post.count, 0);
    assert_int_equal(post_tell(&post, LINK_STOP, NULL), -1);
    assert_int_equal(errno, EPIPE);
}

static void no_memory_loses_that_message_only(void **state)
{
    const struct link_message message = { .kind = LINK_CONN };

    (void)state;
    fill(1);
    alloc_fail_at(1);
    assert_int_equal(post_send(&post, &message, ends[0]), -1);
    assert_int_equal(errno, ENOMEM);
    alloc_fail_at(0);
    assert_int_equal(post.count, 1);
    assert_int_equal(post_send(&post, &message, ends[0]), 0);
    assert_int_equal(post.count, 2);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_can_be_sent_does_not_wait),
        TEST(what_waits_goes_in_order_when_there_is_room),
        TEST(a_descriptor_waits_with_its_message),
        TEST(what_waits_can_be_taken_back),
        TEST(there_is_an_end_to_what_waits),
        TEST(nothing_waits_for_one_who_has_gone),
        TEST(no_memory_loses_that_message_only),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
