/* io_child_test.c -- child processes: real programs, what they see of us and
 * what is left of them.
 *
 * Nothing here sleeps: the loop is turned until what is expected has happened,
 * and what never happens is ended by the runner's time limit.
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
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "alloc.h"
#include "io/child.h"
#include "io/fds.h"
#include "io/loop_ev.h"

enum { TEXT = 64 * 1024 };

static struct loop *loop;
static unsigned open_before;
static int pipes[3];
static const char *failed;
static char text[TEXT];
static char folder[64];
static const char *const usual_env[] = { "PATH=/usr/bin:/bin", NULL };

static unsigned open_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned n = 0;

    assert_non_null(dir);
    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n;
}

static int set_up(void **state)
{
    (void)state;
    open_before = open_descriptors();
    loop = loop_new();
    snprintf(folder, sizeof(folder), "/tmp/fcgi-lua-child.XXXXXX");
    return loop == NULL || mkdtemp(folder) == NULL ? -1 : 0;
}

static void close_pipes(void)
{
    for (int fd = 0; fd < 3; fd++) {
        if (pipes[fd] != -1)
            close(pipes[fd]);
        pipes[fd] = -1;
    }
}

/* No child is left, and no descriptor. */
static int tear_down(void **state)
{
    (void)state;
    close_pipes();
    loop_del(loop);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
    assert_int_equal(open_descriptors(), open_before);
    return rmdir(folder);
}

/* --- children --------------------------------------------------------------
 */

static struct child *start(const char *const *argv, enum child_stdio in,
                           enum child_stdio out, enum child_stdio err)
{
    const struct child_spec spec = { .argv = argv,
                                     .env = usual_env,
                                     .stdio = { in, out, err } };

    return child_start(loop, &spec, pipes, &failed);
}

/* Runs a command of the shell, whose output comes to us. */
static struct child *start_shell(const char *command)
{
    const char *const argv[] = { "sh", "-c", command, NULL };
    struct child *child = start(argv, CHILD_NULL, CHILD_PIPE, CHILD_INHERIT);

    assert_non_null(child);
    return child;
}

static void count(void *arg)
{
    ++*(unsigned *)arg;
}

static int wait_for_end(struct child *child)
{
    while (!child_has_ended(child))
        loop_turn(loop, true);
    return child_status(child);
}

/* All of a pipe, up to its end. */
static const char *read_pipe(int fd)
{
    size_t len = 0;
    ssize_t n;

    while ((n = read(fd, text + len, TEXT - 1 - len)) != 0) {
        struct pollfd readable = { .fd = fd, .events = POLLIN };

        if (n == -1)
            assert_int_equal(errno, EAGAIN);
        else
            len += (size_t)n;
        poll(&readable, 1, -1);
    }
    text[len] = '\0';
    return text;
}

/* The output of a child that ends with status 0. */
static const char *output_of(struct child *child)
{
    assert_non_null(child);
    read_pipe(pipes[1]);
    assert_int_equal(wait_for_end(child), 0);
    child_reap(child);
    child_del(child);
    close_pipes();
    return text;
}

static const char *shell(const char *command)
{
    return output_of(start_shell(command));
}

static long long number_after(const char *name, int base)
{
    const char *at = strstr(text, name);

    assert_non_null(at);
    return at == NULL ? -1 : strtoll(at + strlen(name), NULL, base);
}

/* Is there such a process, which is no zombie? */
static bool is_alive(pid_t pid)
{
    char path[64], line[512];
    FILE *file;
    bool is_zombie;

    snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
    file = fopen(path, "re");
    if (file == NULL)
        return false;
    is_zombie = fgets(line, sizeof(line), file) == NULL ||
                strstr(line, ") Z ") != NULL || strstr(line, ") X ") != NULL;
    fclose(file);
    return !is_zombie;
}

static void wait_until_dead(pid_t pid)
{
    while (is_alive(pid))
        poll(NULL, 0, 1);
}

static void write_program(const char *name, const char *content, mode_t mode)
{
    char path[128];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    file = fopen(path, "we");
    assert_non_null(file);
    fputs(content, file);
    fclose(file);
    assert_int_equal(chmod(path, mode), 0);
}

static void remove_program(const char *name)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    assert_int_equal(unlink(path), 0);
}

/* --- running ---------------------------------------------------------------
 */

static void its_exit_code_is_its_status(void **state)
{
    struct child *child = start_shell("exit 7");
    unsigned ends = 0;

    (void)state;
    child_on_end(child, count, &ends);
    assert_false(child_has_ended(child));
    assert_int_equal(wait_for_end(child), 7);
    assert_int_equal(ends, 1);
    loop_turn(loop, false);
    assert_int_equal(ends, 1);
    child_del(child);
}

static void a_signal_is_128_and_its_number(void **state)
{
    struct child *child = start_shell("kill -15 $$");

    (void)state;
    assert_int_equal(wait_for_end(child), 128 + SIGTERM);
    child_del(child);
    close_pipes();
    child = start_shell("exec sleep 1000");
    assert_int_equal(child_kill(child, SIGUSR1), 0);
    assert_int_equal(wait_for_end(child), 128 + SIGUSR1);
    child_del(child);
}

static void pipes_go_both_ways(void **state)
{
    static const char *const argv[] = { "cat", NULL };
    struct child *child = start(argv, CHILD_PIPE, CHILD_PIPE, CHILD_PIPE);

    (void)state;
    assert_non_null(child);
    for (int fd = 0; fd < 3; fd++) {
        assert_true(pipes[fd] > 2);
        assert_int_equal(fcntl(pipes[fd], F_GETFD), FD_CLOEXEC);
        assert_true((fcntl(pipes[fd], F_GETFL) & O_NONBLOCK) != 0);
    }
    assert_int_equal(write(pipes[0], "hello", 5), 5);
    close(pipes[0]);
    pipes[0] = -1;
    assert_string_equal(read_pipe(pipes[1]), "hello");
    assert_string_equal(read_pipe(pipes[2]), "");
    assert_int_equal(wait_for_end(child), 0);
    child_del(child);
}

/* The other ends block, as programs expect. */
static void its_ends_block(void **state)
{
    (void)state;
    shell("grep flags /proc/self/fdinfo/1");
    assert_int_equal(number_after("flags:", 8) & O_NONBLOCK, 0);
}

static void its_stderr_is_a_pipe_of_its_own_or_merged(void **state)
{
    static const char *const argv[] = { "sh", "-c", "echo a; echo b >&2",
                                        NULL };
    struct child *child = start(argv, CHILD_NULL, CHILD_PIPE, CHILD_PIPE);

    (void)state;
    assert_string_equal(read_pipe(pipes[2]), "b\n");
    assert_string_equal(output_of(child), "a\n");
    child = start(argv, CHILD_NULL, CHILD_PIPE, CHILD_MERGE);
    assert_int_equal(pipes[2], -1);
    assert_string_equal(output_of(child), "a\nb\n");
    child = start(argv, CHILD_NULL, CHILD_NULL, CHILD_MERGE);
    assert_int_equal(pipes[1], -1);
    assert_int_equal(wait_for_end(child), 0);
    child_del(child);
}

static void what_is_null_has_no_end_and_takes_all(void **state)
{
    (void)state;
    assert_string_equal(shell("cat; readlink /proc/self/fd/0"), "/dev/null\n");
}

static void it_sees_the_environment_it_is_given(void **state)
{
    static const char *const argv[] = { "/usr/bin/env", NULL };
    static const char *const env[] = { "A=1", "B=x=y", "C=", NULL };
    const struct child_spec spec = { .argv = argv,
                                     .env = env,
                                     .stdio = { CHILD_NULL, CHILD_PIPE,
                                                CHILD_INHERIT } };

    (void)state;
    assert_string_equal(output_of(child_start(loop, &spec, pipes, &failed)),
                        "A=1\nB=x=y\nC=\n");
}

/* --- which program ---------------------------------------------------------
 */

static struct child *start_in(const char *name, const char *path,
                              const char *cwd)
{
    const char *const argv[] = { name, "x", NULL };
    const char *const env[] = { path, NULL };
    const struct child_spec spec = { .argv = argv,
                                     .env = env,
                                     .cwd = cwd,
                                     .stdio = { CHILD_NULL, CHILD_PIPE,
                                                CHILD_INHERIT } };

    return child_start(loop, &spec, pipes, &failed);
}

static void assert_refused(struct child *child, const char *step, int code)
{
    int err = errno;

    assert_null(child);
    assert_string_equal(failed, step);
    assert_int_equal(err, code);
    for (int fd = 0; fd < 3; fd++)
        assert_int_equal(pipes[fd], -1);
    assert_true(list_is_empty(&loop->children));
}

static void it_is_found_in_the_path_that_it_gets(void **state)
{
    char path[256];

    (void)state;
    write_program("prog", "#!/bin/sh\necho mine $0 $1", 0755);
    snprintf(path, sizeof(path), "PATH=/nonexistent:/etc/passwd:%s:/bin",
             folder);
    output_of(start_in("prog", path, NULL));
    assert_memory_equal(text, "mine ", 5);
    assert_non_null(strstr(text, "/prog x"));
    assert_refused(start_in("prog", "PATH=/bin:/usr/bin", NULL), "exec",
                   ENOENT);
    remove_program("prog");
}

static void without_a_path_the_usual_folders_are_searched(void **state)
{
    (void)state;
    assert_string_equal(output_of(start_in("echo", "A=1", NULL)), "x\n");
}

static void an_empty_folder_of_the_path_is_its_own(void **state)
{
    (void)state;
    write_program("prog", "#!/bin/sh\necho $0", 0755);
    assert_string_equal(output_of(start_in("prog", "PATH=", folder)), "prog\n");
    assert_string_equal(output_of(start_in("prog", "PATH=/bin:", folder)),
                        "prog\n");
    remove_program("prog");
}

static void a_name_with_a_slash_is_relative_to_its_folder(void **state)
{
    (void)state;
    write_program("prog", "#!/bin/sh\npwd", 0755);
    assert_refused(start_in("./prog", "PATH=/bin", NULL), "exec", ENOENT);
    output_of(start_in("./prog", "PATH=/bin", folder));
    assert_memory_equal(text, folder, strlen(folder));
    remove_program("prog");
}

static void what_cannot_be_run_is_told(void **state)
{
    char path[128];

    (void)state;
    write_program("secret", "#!/bin/sh\n", 0644);
    write_program("text", "echo hello\n", 0755);
    snprintf(path, sizeof(path), "PATH=%s:/bin", folder);
    assert_refused(start_in("no-such-program", "PATH=/bin", NULL), "exec",
                   ENOENT);
    assert_refused(start_in("", "PATH=/bin", NULL), "exec", ENOENT);
    assert_refused(start_in("/bin", "PATH=/bin", NULL), "exec", EACCES);
    assert_refused(start_in("secret", path, NULL), "exec", EACCES);
    assert_refused(start_in("text", path, NULL), "exec", ENOEXEC);
    assert_refused(start_in("sh", "PATH=/bin", "/no/such/folder"), "chdir",
                   ENOENT);
    assert_refused(start_in("sh", "PATH=/bin", "/etc/passwd"), "chdir",
                   ENOTDIR);
    remove_program("secret");
    remove_program("text");
}

/* One that may not be run hides no other further on in the PATH. */
static void a_forbidden_one_is_passed_over(void **state)
{
    char path[128];

    (void)state;
    write_program("echo", "#!/bin/sh\n", 0644);
    snprintf(path, sizeof(path), "PATH=%s:/bin", folder);
    assert_string_equal(output_of(start_in("echo", path, NULL)), "x\n");
    remove_program("echo");
}

/* --- what it does not inherit ----------------------------------------------
 */

static void it_has_no_other_descriptors(void **state)
{
    int leaky[2];

    (void)state;
    assert_int_equal(pipe(leaky), 0); /* as a library may do */
    assert_int_equal(dup2(leaky[0], 500), 500);
    shell("ls /proc/self/fd");
    close(500);
    close(leaky[0]);
    close(leaky[1]);
    assert_string_equal(text, "0\n1\n2\n3\n"); /* 3 is that of ls */
}

static void signals_are_as_they_should_be(void **state)
{
    sigset_t blocked, before;

    (void)state;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigaddset(&blocked, SIGUSR2);
    sigprocmask(SIG_BLOCK, &blocked, &before);
    signal(SIGHUP, SIG_IGN);
    shell("grep Sig /proc/self/status");
    sigprocmask(SIG_SETMASK, &before, NULL);
    assert_true(signal(SIGHUP, SIG_DFL) == SIG_IGN); /* ours are untouched */
    assert_int_equal(number_after("SigBlk:\t", 16), 0);
    assert_int_equal(number_after("SigIgn:\t", 16), 0);
}

static void it_has_a_session_of_its_own(void **state)
{
    struct child *child = start_shell("exec cat /proc/self/stat");
    char expected[64];

    (void)state;
    snprintf(expected, sizeof(expected), "%ld %ld %ld ", (long)getpid(),
             (long)child_pid(child), (long)child_pid(child));
    output_of(child);
    assert_non_null(strstr(text, expected)); /* parent, group, session */
}

static void its_limit_of_files_is_the_one_we_were_started_with(void **state)
{
    pid_t tester = fork();
    int status;

    (void)state;
    if (tester == 0) {
        struct rlimit limit;

        getrlimit(RLIMIT_NOFILE, &limit);
        limit.rlim_cur = 200;
        if (setrlimit(RLIMIT_NOFILE, &limit) == -1 || fds_raise_limit() == -1)
            _exit(1);
        shell("ulimit -n");
        getrlimit(RLIMIT_NOFILE, &limit);
        _exit(strcmp(text, "200\n") == 0 && limit.rlim_cur > 200 ? 0 : 2);
    }
    assert_int_equal(waitpid(tester, &status, 0), tester);
    assert_int_equal(status, 0);
}

/* --- how it ends -----------------------------------------------------------
 */

/* Reads the number of a process that the shell has put into the background. */
static pid_t read_pid(void)
{
    char line[32] = "";
    size_t len = 0;

    while (strchr(line, '\n') == NULL) {
        struct pollfd readable = { .fd = pipes[1], .events = POLLIN };
        ssize_t n;

        poll(&readable, 1, -1);
        n = read(pipes[1], line + len, sizeof(line) - 1 - len);
        assert_true(n > 0);
        len += (size_t)n;
    }
    return (pid_t)strtol(line, NULL, 10);
}

static void who_is_let_go_of_is_killed_with_its_group(void **state)
{
    struct child *child =
        start_shell("trap '' TERM; sleep 1000 & echo $!; wait");
    pid_t pid = child_pid(child), grandchild = read_pid();

    (void)state;
    assert_true(is_alive(pid));
    assert_true(is_alive(grandchild));
    child_del(child);
    while (!list_is_empty(&loop->children))
        loop_turn(loop, true);
    assert_int_equal(kill(pid, 0), -1);
    wait_until_dead(grandchild);
}

/* It ended by itself, but what it has started holds our pipe. */
static void what_it_has_left_running_is_killed_too(void **state)
{
    struct child *child = start_shell("sleep 1000 & echo $!");
    pid_t grandchild = read_pid();

    (void)state;
    assert_int_equal(wait_for_end(child), 0);
    assert_true(is_alive(grandchild));
    assert_int_equal(child_kill(child, 0), 0);
    child_del(child);
    wait_until_dead(grandchild);
}

static void what_a_reaped_one_has_left_running_goes_on(void **state)
{
    struct child *child = start_shell("sleep 1000 >/dev/null & echo $!");
    pid_t grandchild = read_pid();

    (void)state;
    assert_int_equal(wait_for_end(child), 0);
    child_reap(child);
    child_reap(child);
    assert_int_equal(child_kill(child, SIGKILL), -1);
    assert_int_equal(errno, ESRCH);
    child_del(child);
    assert_true(is_alive(grandchild));
    kill(grandchild, SIGKILL);
    wait_until_dead(grandchild);
}

static void the_end_of_the_loop_ends_them(void **state)
{
    struct child *first = start_shell("exec sleep 1000"), *second;
    pid_t pids[2] = { child_pid(first), 0 };

    (void)state;
    close_pipes();
    second = start_shell("exec sleep 1000");
    pids[1] = child_pid(second);
    child_del(first);
    child_del(second);
    loop_del(loop); /* at once: neither was reaped */
    assert_int_equal(kill(pids[0], 0), -1);
    assert_int_equal(kill(pids[1], 0), -1);
    loop = loop_new();
    assert_non_null(loop);
}

static void a_child_that_was_stolen_has_no_status(void **state)
{
    struct child *child = start_shell("exit 3");
    pid_t pid = child_pid(child);

    (void)state;
    assert_int_equal(waitpid(pid, NULL, 0), pid); /* as a library may do */
    assert_int_equal(wait_for_end(child), CHILD_STATUS_UNKNOWN);
    assert_int_equal(child_kill(child, SIGKILL), -1); /* whose is it now? */
    assert_int_equal(errno, ESRCH);
    child_del(child);
}

static void other_children_are_not_touched(void **state)
{
    pid_t other = fork();
    int status;

    (void)state;
    if (other == 0)
        _exit(9);
    assert_string_equal(shell("echo mine"), "mine\n");
    assert_int_equal(waitpid(other, &status, 0), other);
    assert_int_equal(WEXITSTATUS(status), 9);
}

static void nothing_comes_of_deleting_nobody(void **state)
{
    (void)state;
    child_del(NULL);
}

static void they_end_with_the_process_that_started_them(void **state)
{
    int report[2];
    pid_t worker, pid = 0;

    (void)state;
    assert_int_equal(pipe(report), 0);
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    worker = fork();
    if (worker == 0) {
        pid = child_pid(start_shell("exec sleep 1000"));
        if (write(report[1], &pid, sizeof(pid)) != sizeof(pid))
            _exit(1);
        pause();
    }
    assert_int_equal(read(report[0], &pid, sizeof(pid)), sizeof(pid));
    assert_true(is_alive(pid));
    kill(worker, SIGKILL);
    assert_int_equal(waitpid(worker, NULL, 0), worker);
    wait_until_dead(pid);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    prctl(PR_SET_CHILD_SUBREAPER, 0);
    close(report[0]);
    close(report[1]);
}

/* --- in a fork that goes on ------------------------------------------------
 */

/* The child is not the fork's, and nobody reaps it. */
static int go_on(struct child *child, int status)
{
    ev_loop_fork(loop->ev);
    children_forked(loop);
    if (wait_for_end(child) != status)
        return 1;
    child_del(child);
    return list_is_empty(&loop->children) ? 0 : 2;
}

static void check_fork(const char *command, int signo, int status)
{
    struct child *child = start_shell(command);
    pid_t heir = fork();
    int result;

    if (heir == 0)
        _exit(go_on(child, status));
    if (signo != 0)
        assert_int_equal(child_kill(child, signo), 0);
    assert_int_equal(waitpid(heir, &result, 0), heir);
    assert_int_equal(result, 0);
    assert_int_equal(wait_for_end(child), status);
    child_del(child);
    close_pipes();
}

static void a_fork_hears_how_they_end(void **state)
{
    (void)state;
    check_fork("exit 42", 0, 42);
    check_fork("exec sleep 1000", SIGTERM, 128 + SIGTERM);
}

static int kill_it(struct child *child)
{
    ev_loop_fork(loop->ev);
    children_forked(loop);
    child_del(child);
    while (!list_is_empty(&loop->children))
        loop_turn(loop, true);
    return 0;
}

static void a_fork_can_kill_them(void **state)
{
    struct child *child = start_shell("exec sleep 1000");
    pid_t heir = fork();
    int result;

    (void)state;
    if (heir == 0)
        _exit(kill_it(child));
    assert_int_equal(waitpid(heir, &result, 0), heir);
    assert_int_equal(result, 0);
    assert_int_equal(wait_for_end(child), 128 + SIGKILL);
    child_del(child);
}

static void add_pid(void *arg, pid_t pid)
{
    long *sum = arg;

    *sum += pid;
}

/* As before execve. */
static void all_are_killed_at_once(void **state)
{
    struct child *child = start_shell("exec sleep 1000"), *gone;
    unsigned ends = 0;
    long sum = 0;

    (void)state;
    close_pipes();
    gone = start_shell("exec sleep 1000");
    child_on_end(child, count, &ends);
    children_each(loop, add_pid, &sum);
    assert_int_equal(sum, (long)child_pid(child) + child_pid(gone));
    child_del(gone);
    children_kill(loop);
    assert_int_equal(ends, 1);
    assert_int_equal(child_status(child), 128 + SIGKILL);
    assert_int_equal(kill(child_pid(child), 0), -1); /* it was reaped */
    sum = 0;
    children_each(loop, add_pid, &sum);
    assert_int_equal(sum, 0);
    children_kill(loop);
    child_del(child);
    assert_int_equal(ends, 1);
}

/* --- what runs out ---------------------------------------------------------
 */

static void start_or_fail(void *arg)
{
    static const char *const argv[] = { "true", NULL };
    struct child *child = start(argv, CHILD_PIPE, CHILD_PIPE, CHILD_PIPE);

    (void)arg;
    if (child == NULL) {
        assert_refused(child, "fork", ENOMEM);
        return;
    }
    assert_int_equal(wait_for_end(child), 0);
    child_del(child);
    close_pipes();
}

static void memory_may_run_out(void **state)
{
    (void)state;
    alloc_each_fails(start_or_fail, NULL);
}

/* One descriptor more each time, until there are enough. */
static void descriptors_may_run_out(void **state)
{
    static const char *const argv[] = { "true", NULL };
    struct rlimit limit, before;
    struct child *child = NULL;
    unsigned failures = 0, here;

    (void)state;
    here = open_descriptors();
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    limit = before;
    for (limit.rlim_cur = 3; child == NULL; limit.rlim_cur++) {
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
        child = start(argv, CHILD_PIPE, CHILD_NULL, CHILD_PIPE);
        if (child != NULL)
            break;
        assert_int_equal(errno, EMFILE);
        assert_true(strcmp(failed, "pipe") == 0 || strcmp(failed, "fork") == 0);
        failures++;
    }
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_true(failures >= 8);
    assert_int_equal(wait_for_end(child), 0);
    child_del(child);
    close_pipes();
    assert_int_equal(open_descriptors(), here);
}

/* Root is not limited, so this is done as somebody else. */
static int start_one_too_many(void)
{
    const struct rlimit one = { 1, 1 };
    static const char *const argv[] = { "true", NULL };

    if (getuid() == 0 && setresuid(54321, 54321, 54321) == -1)
        return 1;
    if (setrlimit(RLIMIT_NPROC, &one) == -1)
        return 2;
    if (start(argv, CHILD_PIPE, CHILD_PIPE, CHILD_PIPE) != NULL)
        return 3;
    return errno == EAGAIN && strcmp(failed, "fork") == 0 ? 0 : 4;
}

static void processes_may_run_out(void **state)
{
    pid_t tester = fork();
    int status;

    (void)state;
    if (tester == 0)
        _exit(start_one_too_many());
    assert_int_equal(waitpid(tester, &status, 0), tester);
    assert_int_equal(status, 0);
}

static void standard_descriptors_may_be_closed(void **state)
{
    pid_t tester = fork();
    int status;

    (void)state;
    if (tester == 0) {
        static const char *const argv[] = { "cat", NULL };
        struct child *child;

        close(0);
        close(1);
        child = start(argv, CHILD_PIPE, CHILD_PIPE, CHILD_INHERIT);
        if (child == NULL || pipes[0] < 3 || pipes[1] < 3 ||
            write(pipes[0], "x", 1) != 1)
            _exit(1);
        close(pipes[0]);
        pipes[0] = -1;
        _exit(strcmp(output_of(child), "x") == 0 ? 0 : 2);
    }
    assert_int_equal(waitpid(tester, &status, 0), tester);
    assert_int_equal(status, 0);
}

#define CHILD_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHILD_TEST(its_exit_code_is_its_status),
        CHILD_TEST(a_signal_is_128_and_its_number),
        CHILD_TEST(pipes_go_both_ways),
        CHILD_TEST(its_ends_block),
        CHILD_TEST(its_stderr_is_a_pipe_of_its_own_or_merged),
        CHILD_TEST(what_is_null_has_no_end_and_takes_all),
        CHILD_TEST(it_sees_the_environment_it_is_given),
        CHILD_TEST(it_is_found_in_the_path_that_it_gets),
        CHILD_TEST(without_a_path_the_usual_folders_are_searched),
        CHILD_TEST(an_empty_folder_of_the_path_is_its_own),
        CHILD_TEST(a_name_with_a_slash_is_relative_to_its_folder),
        CHILD_TEST(what_cannot_be_run_is_told),
        CHILD_TEST(a_forbidden_one_is_passed_over),
        CHILD_TEST(it_has_no_other_descriptors),
        CHILD_TEST(signals_are_as_they_should_be),
        CHILD_TEST(it_has_a_session_of_its_own),
        CHILD_TEST(its_limit_of_files_is_the_one_we_were_started_with),
        CHILD_TEST(who_is_let_go_of_is_killed_with_its_group),
        CHILD_TEST(what_it_has_left_running_is_killed_too),
        CHILD_TEST(what_a_reaped_one_has_left_running_goes_on),
        CHILD_TEST(the_end_of_the_loop_ends_them),
        CHILD_TEST(a_child_that_was_stolen_has_no_status),
        CHILD_TEST(other_children_are_not_touched),
        CHILD_TEST(nothing_comes_of_deleting_nobody),
        CHILD_TEST(they_end_with_the_process_that_started_them),
        CHILD_TEST(a_fork_hears_how_they_end),
        CHILD_TEST(a_fork_can_kill_them),
        CHILD_TEST(all_are_killed_at_once),
        CHILD_TEST(memory_may_run_out),
        CHILD_TEST(descriptors_may_run_out),
        CHILD_TEST(processes_may_run_out),
        CHILD_TEST(standard_descriptors_may_be_closed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
