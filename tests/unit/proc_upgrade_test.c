/* proc_upgrade_test.c -- the way to another program, up to its start.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "alloc.h"
#include "base/log.h"
#include "proc/upgrade.h"

/* A program that finds where to answer, and does. */
#define SOUND                                                                  \
    "#!/bin/sh\n"                                                              \
    "fd=${FCGI_LUA_UPGRADE#1 check=}\n"                                        \
    "fd=${fd%% *}\n"                                                           \
    "eval \"printf 'fcgi-lua 1\\n' >&$fd\"\n"

static char folder[64], path[96], log_path[96], text[8192];
static char name[] = "program", *argv[] = { name, NULL };
static struct origin origin;
static struct notify notify = NOTIFY_NOBODY;
static struct ev_loop *ev;
static struct upgrade_config config;
static struct upgrade upgrade;
static struct listen_socket sock;

static bool describe(void *arg, struct upgrade_state *state)
{
    (void)arg;
    sock = (struct listen_socket){ .fd = 999, .name = path };
    state->listening = (struct listen_set){ &sock, 1 };
    return true;
}

static void write_program(const char *what)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0700);

    assert_int_not_equal(fd, -1);
    assert_int_equal(write(fd, what, strlen(what)), strlen(what));
    close(fd);
}

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/fcgi-lua-upgrade.XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof(path), "%s/program", folder);
    snprintf(log_path, sizeof(log_path), "%s/log", folder);
    ev = ev_loop_new(EVFLAG_NOENV);
    if (ev == NULL || log_open(log_path) == -1 ||
        origin_init(&origin, 1, argv) == -1)
        return -1;
    free(origin.program);
    origin.program = strdup(path);
    config = (struct upgrade_config){ .ev = ev,
                                      .origin = &origin,
                                      .notify = &notify,
                                      .load_timeout = 60,
                                      .describe = describe };
    upgrade_init(&upgrade, &config);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    upgrade_stop(&upgrade);
    log_close();
    origin_free(&origin);
    ev_loop_destroy(ev);
    unlink(path);
    unlink(log_path);
    return rmdir(folder);
}

static const char *logged(void)
{
    int fd = open(log_path, O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, text, sizeof(text) - 1);

    close(fd);
    assert_true(n >= 0);
    text[n] = '\0';
    return text;
}

/* Steps until the check is over. */
static void finish_check(void)
{
    assert_false(upgrade_step(&upgrade, false));
    while (upgrade.phase == UPGRADE_CHECKING)
        ev_run(ev, EVRUN_ONCE);
}

static void check(void)
{
    upgrade_ask(&upgrade);
    finish_check();
}

static bool is_blocked(int signo)
{
    sigset_t mask;

    assert_int_equal(sigprocmask(SIG_SETMASK, NULL, &mask), 0);
    return sigismember(&mask, signo) == 1;
}

static void what_is_not_asked_for_does_not_happen(void **state)
{
    (void)state;
    assert_false(upgrade_is_busy(&upgrade));
    assert_false(upgrade_step(&upgrade, true));
    assert_string_equal(logged(), "");
}

static void a_sound_program_may_go_a_turn_later(void **state)
{
    (void)state;
    write_program(SOUND);
    check();
    assert_int_equal(upgrade.phase, UPGRADE_CHECKED);
    assert_false(upgrade_step(&upgrade, false)); /* something is under way */
    assert_false(is_blocked(SIGTERM));
    assert_false(upgrade_step(&upgrade, true));
    assert_true(is_blocked(SIGTERM));
    ev_run(ev, EVRUN_ONCE); /* does not wait */
    assert_true(upgrade_step(&upgrade, true));
    upgrade_stop(&upgrade);
    assert_false(is_blocked(SIGTERM));
    assert_false(upgrade_is_busy(&upgrade));
}

static void what_comes_between_comes_first(void **state)
{
    (void)state;
    write_program(SOUND);
    check();
    assert_false(upgrade_step(&upgrade, true));
    assert_false(upgrade_step(&upgrade, false));
    assert_false(is_blocked(SIGTERM));
    assert_int_equal(upgrade.phase, UPGRADE_CHECKED);
    assert_false(upgrade_step(&upgrade, true));
    assert_true(upgrade_step(&upgrade, true));
}

static void another_wish_has_it_checked_again(void **state)
{
    (void)state;
    write_program(SOUND);
    check();
    assert_false(upgrade_step(&upgrade, true)); /* armed */
    write_program("#!/bin/sh\nexit 1\n");
    upgrade_ask(&upgrade);
    assert_false(upgrade_step(&upgrade, true));
    assert_false(is_blocked(SIGTERM));
    assert_int_equal(upgrade.phase, UPGRADE_CHECKING);
    upgrade_ask(&upgrade); /* while it is being checked */
    finish_check();
    assert_int_equal(upgrade.phase, UPGRADE_IDLE);
    write_program(SOUND);
    finish_check();
    assert_int_equal(upgrade.phase, UPGRADE_CHECKED);
    assert_false(upgrade.is_asked);
}

static void what_is_not_sound_is_refused(void **state)
{
    static const struct {
        const char *program, *why;
    } wrong[] = {
        { "exit 3", "program --check ended with exit code 3\n" },
        { "exit 0", "program does not know how to take over: restart" },
        { "kill -9 $$", "program --check was ended by SIGKILL\n" },
        { "echo x >&2", "program does not know how to take over: restart" },
        { "echo 'fcgi-lua: warning: w' >&2; echo 'fcgi-lua: it is' >&2;"
          "echo '  so' >&2; exit 1",
          "not upgraded: it is\n" },
        { "fd=${FCGI_LUA_UPGRADE#1 check=}; fd=${fd%% *};"
          "eval \"printf 'fcgi-lua 2\\n' >&$fd\"",
          "program does not know how to take over: restart" },
        { "fd=${FCGI_LUA_UPGRADE#1 check=}; fd=${fd%% *};"
          "eval \"printf 'fcgi-lua 1\\nfcgi-lua 1\\n' >&$fd\"",
          "program" },
        { "yes | head -c 1000000 >&2; exit 3", "ended with exit code 3\n" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        char program[512];

        assert_int_equal(truncate(log_path, 0), 0);
        snprintf(program, sizeof(program), "#!/bin/sh\n%s\n", wrong[i].program);
        write_program(program);
        check();
        assert_int_equal(upgrade.phase, UPGRADE_IDLE);
        assert_non_null(strstr(logged(), "not upgraded: "));
        if (strstr(logged(), wrong[i].why) == NULL)
            fail_msg("%s is not in: %s", wrong[i].why, logged());
        assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child is left */
    }
}

static void what_is_not_there_is_not_tried(void **state)
{
    (void)state;
    upgrade_ask(&upgrade);
    assert_false(upgrade_step(&upgrade, true));
    assert_int_equal(upgrade.phase, UPGRADE_IDLE);
    assert_non_null(strstr(logged(), "program: No such file or directory\n"));
}

static void a_check_that_hangs_is_ended(void **state)
{
    (void)state;
    config.load_timeout = 0.01;
    write_program("#!/bin/sh\nexec sleep 1000\n");
    check();
    assert_non_null(strstr(logged(), "the check was not over within "
                                     "--load-timeout\n"));
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static void a_stop_ends_the_check(void **state)
{
    (void)state;
    write_program("#!/bin/sh\nexec sleep 1000\n");
    upgrade_ask(&upgrade);
    assert_false(upgrade_step(&upgrade, true));
    assert_int_equal(upgrade.phase, UPGRADE_CHECKING);
    upgrade_stop(&upgrade);
    assert_false(upgrade_is_busy(&upgrade));
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static void somebody_else_may_wait_for_the_child(void **state)
{
    pid_t child;

    (void)state;
    write_program("#!/bin/sh\nexit 3\n");
    upgrade_ask(&upgrade);
    assert_false(upgrade_step(&upgrade, true));
    child = upgrade.child;
    assert_int_equal(waitpid(child, NULL, 0), child);
    upgrade_child_gone(&upgrade, child + 1);
    assert_int_equal(upgrade.child, child);
    upgrade_child_gone(&upgrade, child);
    finish_check();
    assert_non_null(strstr(logged(), "not upgraded: "));
}

static void an_exec_that_fails_is_told(void **state)
{
    (void)state;
    write_program(SOUND);
    check();
    assert_false(upgrade_step(&upgrade, true));
    assert_true(upgrade_step(&upgrade, true));
    assert_int_equal(unlink(path), 0);
    upgrade_go(&upgrade);
    assert_false(is_blocked(SIGTERM));
    assert_false(upgrade_is_busy(&upgrade));
    assert_non_null(strstr(logged(), "not upgraded: "));
    assert_non_null(strstr(logged(), "program: No such file or directory\n"));
}

static void ask_and_go(void *arg)
{
    (void)arg;
    write_program(SOUND);
    check();
    if (upgrade.phase == UPGRADE_CHECKED) {
        assert_int_equal(unlink(path), 0);
        assert_false(upgrade_step(&upgrade, true));
        assert_true(upgrade_step(&upgrade, true));
        upgrade_go(&upgrade);
    }
    assert_int_equal(upgrade.phase, UPGRADE_IDLE);
}

static void without_memory_it_is_refused(void **state)
{
    (void)state;
    alloc_each_fails(ask_and_go, NULL);
    assert_false(is_blocked(SIGTERM));
}

#define UPGRADE_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        UPGRADE_TEST(what_is_not_asked_for_does_not_happen),
        UPGRADE_TEST(a_sound_program_may_go_a_turn_later),
        UPGRADE_TEST(what_comes_between_comes_first),
        UPGRADE_TEST(another_wish_has_it_checked_again),
        UPGRADE_TEST(what_is_not_sound_is_refused),
        UPGRADE_TEST(what_is_not_there_is_not_tried),
        UPGRADE_TEST(a_check_that_hangs_is_ended),
        UPGRADE_TEST(a_stop_ends_the_check),
        UPGRADE_TEST(somebody_else_may_wait_for_the_child),
        UPGRADE_TEST(an_exec_that_fails_is_told),
        UPGRADE_TEST(without_memory_it_is_refused),
    };

    return cmocka_run_group_tests_name("proc/upgrade", tests, NULL, NULL);
}
