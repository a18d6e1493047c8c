/* proc_held_test.c -- signals wait for who hears them.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "proc/held.h"

static volatile sig_atomic_t heard[NSIG];

static void hear(int signo)
{
    heard[signo]++;
}

static void listen_to(int signo)
{
    signal(signo, hear);
}

static void what_came_is_heard_once(void **state)
{
    (void)state;
    held_begin();
    raise(SIGTERM);
    raise(SIGTERM);
    raise(SIGHUP);
    listen_to(SIGTERM);
    listen_to(SIGHUP);
    listen_to(SIGINT);
    assert_int_equal(heard[SIGTERM] + heard[SIGHUP], 0);
    held_end();
    assert_int_equal(heard[SIGTERM], 1);
    assert_int_equal(heard[SIGHUP], 1);
    assert_int_equal(heard[SIGINT], 0);
    held_end();
    assert_int_equal(heard[SIGTERM], 1);
}

static void nothing_is_blocked(void **state)
{
    sigset_t mask;

    (void)state;
    held_begin();
    assert_int_equal(sigprocmask(SIG_SETMASK, NULL, &mask), 0);
    assert_int_equal(sigismember(&mask, SIGTERM), 0);
    assert_int_equal(sigismember(&mask, SIGHUP), 0);
    held_end();
}

static void what_is_blocked_waits(void **state)
{
    (void)state;
    listen_to(SIGUSR2);
    held_block();
    raise(SIGUSR2);
    assert_int_equal(heard[SIGUSR2], 0);
    held_unblock();
    assert_int_equal(heard[SIGUSR2], 1);
}

static void a_child_forgets(void **state)
{
    int status;
    pid_t child;

    (void)state;
    listen_to(SIGTERM);
    held_block();
    child = fork();
    assert_int_not_equal(child, -1);
    if (child == 0) {
        held_forget();
        raise(SIGTERM);
        _exit(1);
    }
    held_unblock();
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGTERM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_came_is_heard_once),
        cmocka_unit_test(nothing_is_blocked),
        cmocka_unit_test(what_is_blocked_waits),
        cmocka_unit_test(a_child_forgets),
    };

    return cmocka_run_group_tests_name("proc/held", tests, NULL, NULL);
}
