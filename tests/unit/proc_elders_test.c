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

/* A program of its own session, as an elder runs it; it ends when told to. */
static pid_t fork_ward(int go)
{
    pid_t pid = fork();
    char byte;

    if (pid == 0) {
        setsid();
        _exit(read(go, &byte, 1) == 1 ? 0 : 1);
    }
    while (getpgid(pid) != pid)
        usleep(1000);
    return pid;
}

static void what_an_elder_runs_ends_with_it(void **state)
{
    int go[2], quick_go[2];
    siginfo_t info = { .si_pid = 0 };
    pid_t elder = fork_elder(), slow, quick;

    (void)state;
    assert_int_equal(pipe(go), 0);
    assert_int_equal(pipe(quick_go), 0);
    slow = fork_ward(go[0]);
    quick = fork_ward(quick_go[0]);
    elders_add_ward(&elders, slow);
    elders_add_ward(&elders, quick);
    elders_watch(&elders, ev);
    elders_take(&elders, take, NULL);
    assert_int_equal(write(quick_go[1], "", 1), 1);
    waitid(P_PID, (id_t)quick, &info, WEXITED | WNOWAIT);
    ev_run(ev, EVRUN_NOWAIT); /* the elder may want to see how it ended */
    assert_int_equal(kill(quick, 0), 0);
    kill(elder, SIGKILL);
    run_until_gone();
    assert_int_equal(waitpid(slow, NULL, WNOHANG), -1);
    assert_int_equal(waitpid(quick, NULL, WNOHANG), -1);
    for (int i = 0; i < 2; i++) {
        close(go[i]);
        close(quick_go[i]);
    }
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
    for (unsigned id = 4710; id < 4713; id++) /* one of them is known */
        assert_true(upgrade_state_add(
            &left,
            &(struct upgrade_process){
                .role = UPGRADE_WARD, .pid = 4715, .fd = -1, .id = id }));
    assert_true(elders_inherit(&elders, &left));
    upgrade_state_init(&again);
    assert_true(elders_describe(&elders, &again));
    assert_int_equal(again.count, 2);
    assert_int_equal(again.processes[0].role, UPGRADE_ELDER);
    assert_int_equal(again.processes[0].pid, 4711);
    assert_int_equal(again.processes[0].fd, fds[0]);
    assert_int_equal(again.processes[0].slot, 3);
    assert_int_equal(again.processes[0].generation, 2);
    assert_int_equal(again.processes[0].state, 1);
    assert_int_equal(again.processes[1].role, UPGRADE_WARD);
    assert_int_equal(again.processes[1].pid, 4715);
    assert_int_equal(again.processes[1].fd, -1);
    assert_int_equal(again.processes[1].id, 4711);
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
        ELDERS_TEST(what_an_elder_runs_ends_with_it),
        ELDERS_TEST(they_pass_through_a_state),
        ELDERS_TEST(without_memory_there_is_none),
    };

    return cmocka_run_group_tests_name("proc/elders", tests, NULL, NULL);
}
