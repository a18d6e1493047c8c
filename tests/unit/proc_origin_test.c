/* proc_origin_test.c -- how the program was started, and its start anew.
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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "alloc.h"
#include "proc/origin.h"

static char folder[64], path[PATH_MAX], self[PATH_MAX];

static int set_up(void **state)
{
    ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);

    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/fcgi-lua-origin.XXXXXX");
    if (mkdtemp(folder) == NULL || len <= 0)
        return -1;
    self[len] = '\0';
    snprintf(path, sizeof(path), "%s/program", folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

/* The program that an argv[0] means; the caller's. */
static char *program_of(const char *name)
{
    char copy[PATH_MAX], *argv[] = { copy, NULL };
    struct origin origin;
    char *program;

    snprintf(copy, sizeof(copy), "%s", name);
    assert_int_equal(origin_init(&origin, 1, argv), 0);
    program = origin.program;
    origin.program = NULL;
    origin_free(&origin);
    return program;
}

static void assert_program(const char *name, const char *expected)
{
    char *program = program_of(name);

    assert_string_equal(program, expected);
    free(program);
}

static void the_path_is_that_of_the_start(void **state)
{
    char here[PATH_MAX], old[PATH_MAX];
    const char *search = getenv("PATH");

    (void)state;
    snprintf(old, sizeof(old), "%s", search == NULL ? "" : search);
    assert_int_equal(symlink(self, path), 0);
    assert_non_null(getcwd(here, sizeof(here)));
    assert_int_equal(chdir(folder), 0);
    assert_program(path, path);
    assert_program("./program", path);
    setenv("PATH", "/nowhere::/bin", 1); /* an empty one is the current */
    assert_program("program", path);
    setenv("PATH", folder, 1);
    assert_program("program", path);
    assert_program("no-such-program", self);
    setenv("PATH", old, 1);
    assert_int_equal(chdir(here), 0);
}

static void a_name_that_means_another_file_is_not_believed(void **state)
{
    (void)state;
    assert_program("/bin/sh", self);
    assert_program("sh", self);
    assert_program("-", self);
    assert_program("", self);
}

static bool has(char **environment, const char *variable)
{
    for (; *environment != NULL; environment++)
        if (strcmp(*environment, variable) == 0)
            return true;
    return false;
}

static void the_environment_is_that_of_the_start(void **state)
{
    char name[] = "x", *argv[] = { name, NULL };
    struct origin origin;

    (void)state;
    setenv("COLOUR", "red", 1);
    setenv("LISTEN_PID", "1", 1);
    setenv("LISTEN_FDS", "1", 1);
    setenv("LISTEN_FDNAMES", "x", 1);
    setenv(UPGRADE_VARIABLE, "1 x", 1);
    setenv(UPGRADE_VARIABLE "_NOT", "1", 1);
    assert_int_equal(origin_init(&origin, 1, argv), 0);
    assert_string_equal(origin.left, "1 x");
    assert_null(getenv(UPGRADE_VARIABLE));
    setenv("COLOUR", "green", 1);
    assert_true(has(origin.environment, "COLOUR=red"));
    assert_true(has(origin.environment, UPGRADE_VARIABLE "_NOT=1"));
    for (char **at = origin.environment; *at != NULL; at++) {
        assert_int_not_equal(strncmp(*at, "LISTEN_", 7), 0);
        assert_int_not_equal(strncmp(*at, UPGRADE_VARIABLE "=", 17), 0);
    }
    origin_free(&origin);
    unsetenv(UPGRADE_VARIABLE "_NOT");
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
}

/* A state with the least that must be. */
static struct upgrade_state small_state(void)
{
    static struct listen_socket sock = { .fd = 999 };
    struct upgrade_state state;

    sock.name = path;
    upgrade_state_init(&state);
    state.pid = getpid();
    state.program = path;
    state.listening = (struct listen_set){ &sock, 1 };
    return state;
}

static void an_exec_that_fails_changes_nothing(void **state)
{
    char name[] = "x", *argv[] = { name, NULL };
    struct upgrade_state left = small_state();
    struct origin origin;
    char before[PATH_MAX], after[PATH_MAX];
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    (void)state;
    assert_int_not_equal(fd, -1);
    left.log = fd;
    assert_int_equal(chdir(folder), 0);
    assert_int_equal(origin_init(&origin, 1, argv), 0);
    assert_int_equal(chdir("/"), 0);
    free(origin.program);
    origin.program = strdup(path); /* there is nothing */
    assert_non_null(getcwd(before, sizeof(before)));
    errno = 0;
    assert_int_equal(origin_exec(&origin, &left), -1);
    assert_int_equal(errno, ENOENT);
    assert_non_null(getcwd(after, sizeof(after)));
    assert_string_equal(before, after);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    for (char **at = origin.environment; *at != NULL; at++)
        assert_int_not_equal(strncmp(*at, UPGRADE_VARIABLE "=", 17), 0);
    close(fd);
    origin_free(&origin);
}

static void write_program(const char *text, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_int_not_equal(fd, -1);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

/* The status of a child that becomes path. */
static int run(bool is_check, struct upgrade_state *left)
{
    char name[] = "x", one[] = "a b", *argv[] = { name, one, NULL };
    struct origin origin;
    int status;
    pid_t child = fork();

    assert_int_not_equal(child, -1);
    if (child == 0) {
        if (chdir(folder) == -1 || origin_init(&origin, 2, argv) == -1 ||
            chdir("/") == -1)
            _exit(99);
        origin.program = strdup(path);
        if (is_check)
            origin_check(&origin, left);
        else
            origin_exec(&origin, left);
        _exit(98);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void the_program_finds_what_it_had_and_what_is_left(void **state)
{
    struct upgrade_state left = small_state();
    int inherited = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int closed = open("/dev/null", O_RDONLY); /* as a script leaves it */
    char text[512];

    (void)state;
    left.log = inherited;
    snprintf(text, sizeof(text),
             "#!/bin/sh\n"
             "test \"$1\" = 'a b' && test $# = 1 && test $(pwd -P) = %s && "
             "test -e /proc/$$/fd/%d && ! test -e /proc/$$/fd/%d && "
             "case \"$" UPGRADE_VARIABLE "\" in '1 pid='*) exit 7;; esac\n",
             folder, inherited, closed);
    write_program(text, 0700);
    assert_int_equal(run(false, &left), 7 << 8);
    snprintf(text, sizeof(text),
             "#!/bin/sh\n"
             "test \"$1\" = --check && test \"$2\" = 'a b' && test $# = 2 && "
             "! test -e /proc/$$/fd/%d && test -e /proc/$$/fd/%d && "
             "case \"$" UPGRADE_VARIABLE "\" in '1 check='*) exit 8;; esac\n",
             inherited, closed);
    write_program(text, 0700);
    left.check = closed;
    assert_int_equal(run(true, &left), 8 << 8);
    close(inherited);
    close(closed);
}

static void what_cannot_be_started_is_named(void **state)
{
    struct origin origin = { .program = path, .folder = -1 };
    char why[ORIGIN_WHY_MAX], expected[ORIGIN_WHY_MAX];

    (void)state;
    assert_false(origin_may_start(&origin, why));
    snprintf(expected, sizeof(expected), "%s: No such file or directory", path);
    assert_string_equal(why, expected);
    write_program("", 0644);
    assert_false(origin_may_start(&origin, why));
    snprintf(expected, sizeof(expected), "%s: Permission denied", path);
    assert_string_equal(why, expected);
    assert_int_equal(chmod(path, 0755), 0);
    assert_true(origin_may_start(&origin, why));
    assert_int_equal(chmod(path, 0777), 0);
    assert_int_equal(origin_may_start(&origin, why), geteuid() != 0);
    if (geteuid() == 0)
        assert_non_null(strstr(why, "everybody can write to"));
}

static void init_and_free(void *arg)
{
    char name[] = "x", *argv[] = { name, NULL };
    struct origin origin;

    (void)arg;
    setenv(UPGRADE_VARIABLE, "1 x", 1);
    if (origin_init(&origin, 1, argv) == 0)
        origin_free(&origin);
    else
        assert_int_equal(errno, ENOMEM);
}

static void exec_and_fail(void *arg)
{
    struct upgrade_state left = small_state();

    assert_int_equal(origin_exec(arg, &left), -1);
}

static void without_memory_it_says_so(void **state)
{
    char name[] = "x", *argv[] = { name, NULL };
    struct origin origin;

    (void)state;
    alloc_each_fails(init_and_free, NULL);
    unsetenv(UPGRADE_VARIABLE);
    assert_int_equal(origin_init(&origin, 1, argv), 0);
    free(origin.program);
    origin.program = strdup(path);
    alloc_each_fails(exec_and_fail, &origin);
    origin_free(&origin);
}

#define ORIGIN_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ORIGIN_TEST(the_path_is_that_of_the_start),
        ORIGIN_TEST(a_name_that_means_another_file_is_not_believed),
        ORIGIN_TEST(the_environment_is_that_of_the_start),
        ORIGIN_TEST(an_exec_that_fails_changes_nothing),
        ORIGIN_TEST(the_program_finds_what_it_had_and_what_is_left),
        ORIGIN_TEST(what_cannot_be_started_is_named),
        ORIGIN_TEST(without_memory_it_says_so),
    };

    return cmocka_run_group_tests_name("proc/origin", tests, NULL, NULL);
}
