/* proc_elders_test.c -- those who served before, and what they hand over.
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
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "alloc.h"
#include "base/log.h"
#include "proc/elders.h"

static struct elders elders;
static struct ev_loop *ev;
static int taken;

static int set_up(void **state)
{
    (void)state;
    log_set_level(LOG_LEVEL_ERROR);
    taken = 0;
    elders_init(&elders);
    ev = ev_loop_new(EVFLAG_NOENV);
    return ev == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    elders_unwatch(&elders);
    elders_free(&elders);
    ev_loop_destroy(ev);
    return 0;
}

static void take(void *arg, int fd)
{
    (void)arg;
    taken++;
    close(fd);
}

/* In the elder: hands a connection over, waits for one word, and ends. */
static _Noreturn void be_elder(int link)
{
    const struct link_message handover = { .kind = LINK_HANDOVER };
    struct link_message message;
    int fd, got;

    if (link_send(link, &handover, STDIN_FILENO) == -1)
        _exit(3);
    do
        got = link_receive(link, &message, &fd);
    while (got == -1 && errno == EAGAIN && usleep(1000) == 0);
    _exit(got == 1 && message.kind == LINK_DRAIN ? 0 : 4);
}

/* Forks one as an upgrade does, whose execve has gone well. */
static pid_t fork_elder(void)
{
    int link;
    pid_t pid = elders_fork(&elders, 1, 0, &link);

    if (pid == 0)
        be_elder(link);
    assert_int_not_equal(pid, -1);
    close(elders.fork_pipe); /* as execve closes it */
    elders.fork_pipe = -1;
    return pid;
}

static void run_until_gone(void)
{
    while (!elders_are_gone(&elders))
        ev_run(ev, EVRUN_ONCE);
}

static void an_elder_hands_over_drains_and_ends(void **state)
{
    pid_t pid = fork_elder();

    (void)state;
    assert_true(elders_serve(&elders));
    elders_watch(&elders, ev);
    elders_take(&elders, take, NULL);
    while (taken == 0)
        ev_run(ev, EVRUN_ONCE);
    elders_drain(&elders, "upgrade", true);
    assert_false(elders_serve(&elders));
    elders_drain(&elders, "stop", false); /* it is told once */
    run_until_gone();
    assert_int_equal(taken, 1);
    assert_int_equal(waitpid(pid, NULL, WNOHANG), -1); /* it was waited for */
}

static void last_words_wait_for_who_hears_them(void **state)
{
    pid_t pid = fork_elder();

    (void)state;
    elders_watch(&elders, ev);
    elders_drain(&elders, "upgrade", true);
    while (waitpid(pid, NULL, WNOHANG) == 0) /* the loop may do it, too */
        ev_run(ev, EVRUN_NOWAIT);
    ev_run(ev, EVRUN_NOWAIT);
    assert_int_equal(taken, 0);
    assert_false(elders_are_gone(&elders));
    assert_false(elders_serve(&elders));
    elders_take(&elders, take, NULL);
    run_until_gone();
    assert_int_equal(taken, 1);
}

static void one_that_is_taken_back_was_never_there(void **state)
{
    int link;
    pid_t pid = elders_fork(&elders, 1, 0, &link);

    (void)state;
    if (pid == 0)
        _exit(5); /* it must not come so far */
    assert_int_not_equal(pid, -1);
    elders_take_back(&elders);
    assert_true(elders_are_gone(&elders));
    assert_int_equal(elders.fork_pipe, -1);
}

static void a_killed_one_serves_no_more(void **state)
{
    pid_t pid = fork_elder();

    (void)state;
    elders_watch(&elders, ev);
    elders_take(&elders, take, NULL);
    log_set_level(LOG_LEVEL_ERROR);
    kill(pid, SIGKILL);
    run_until_gone();
    assert_false(elders_serve(&elders));
}

static void they_pass_through_a_state(void **state)
{
    struct upgrade_state left, again;
    int fds[2];

    (void)state;
    assert_int_equal(link_pair(fds), 0);
    upgrade_state_init(&left);
    assert_true(upgrade_state_add(
        &left, &(struct upgrade_process){ .role = UPGRADE_ELDER,
                                          .pid = 4711,
                                          .fd = fds[0],
                                          .slot = 3,
                                          .generation = 2,
                                          .state = 1 }));
    assert_true(upgrade_state_add(
        &left,
        &(struct upgrade_process){ .role = UPGRADE_TEMPLATE, .fd = -1 }));
    assert_true(elders_inherit(&elders, &left));
    upgrade_state_init(&again);
    assert_true(elders_describe(&elders, &again));
    assert_int_equal(again.count, 1);
    assert_int_equal(again.processes[0].role, UPGRADE_ELDER);
    assert_int_equal(again.processes[0].pid, 4711);
    assert_int_equal(again.processes[0].fd, fds[0]);
    assert_int_equal(again.processes[0].slot, 3);
    assert_int_equal(again.processes[0].generation, 2);
    assert_int_equal(again.processes[0].state, 1);
    upgrade_state_free(&left);
    upgrade_state_free(&again);
    close(fds[1]);
}

static void fork_and_take_back(void *arg)
{
    int link;
    pid_t pid = elders_fork(&elders, 1, 0, &link);

    (void)arg;
    if (pid == 0)
        _exit(5);
    if (pid == -1)
        assert_int_equal(errno, ENOMEM);
    else
        elders_take_back(&elders);
    assert_true(elders_are_gone(&elders));
}

static void without_memory_there_is_none(void **state)
{
    (void)state;
    alloc_each_fails(fork_and_take_back, NULL);
}

#define ELDERS_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ELDERS_TEST(an_elder_hands_over_drains_and_ends),
        ELDERS_TEST(last_words_wait_for_who_hears_them),
        ELDERS_TEST(one_that_is_taken_back_was_never_there),
        ELDERS_TEST(a_killed_one_serves_no_more),
        ELDERS_TEST(they_pass_through_a_state),
        ELDERS_TEST(without_memory_there_is_none),
    };

    return cmocka_run_group_tests_name("proc/elders", tests, NULL, NULL);
}
