/* io_fds_test.c -- the descriptors that a process starts with.
 *
 * Each test runs in a child: it does to its descriptors what would hurt the
 * test program.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <stdio.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "alloc.h"
#include "io/fds.h"

enum { FORBIDDEN = 77 };

/* The exit status of body in a child of its own. */
static int run(int (*body)(void))
{
    int status;
    pid_t child = fork();

    assert_int_not_equal(child, -1);
    if (child == 0)
        _exit(body());
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static bool is_null_device(int fd)
{
    struct stat here, null;

    return fstat(fd, &here) == 0 && stat("/dev/null", &null) == 0 &&
           S_ISCHR(here.st_mode) && here.st_rdev == null.st_rdev;
}

static bool is_cloexec(int fd)
{
    return (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0;
}

static int close_some(void)
{
    int pipes[2];

    close(0);
    close(1);
    close(2);
    if (pipe(pipes) == -1 || pipes[0] != 0 || pipes[1] != 1)
        return 1;
    close(0);
    if (fds_open_missing() == -1)
        return 2;
    if (!is_null_device(0) || is_null_device(1) || !is_null_device(2))
        return 3;
    if (is_cloexec(0) || is_cloexec(2)) /* children want them */
        return 4;
    return write(2, "x", 1) == 1 && read(0, pipes, 1) == 0 ? 0 : 5;
}

static void closed_standard_descriptors_become_dev_null(void **state)
{
    (void)state;
    assert_int_equal(run(close_some), 0);
}

static int close_none(void)
{
    int before = open("/dev/null", O_RDONLY), after;

    close(before);
    if (fds_open_missing() == -1)
        return 1;
    after = open("/dev/null", O_RDONLY);
    return after == before ? 0 : 2;
}

static void open_standard_descriptors_stay(void **state)
{
    (void)state;
    assert_int_equal(run(close_none), 0);
}

static int mark(void)
{
    int low = fcntl(0, F_DUPFD, 3), high = fcntl(0, F_DUPFD, 200);

    if (low == -1 || high == -1 || is_cloexec(low) || is_cloexec(high))
        return 1;
    if (fds_cloexec_above(2) == -1)
        return 2;
    if (!is_cloexec(low) || !is_cloexec(high))
        return 3;
    return is_cloexec(0) || is_cloexec(1) || is_cloexec(2) ? 4 : 0;
}

static void what_is_above_is_marked_close_on_exec(void **state)
{
    (void)state;
    assert_int_equal(run(mark), 0);
}

/* Takes close_range away from this process, as an old kernel would. */
static int mark_without_close_range(void)
{
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_close_range, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { sizeof(rules) / sizeof(rules[0]), rules };

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == -1)
        return FORBIDDEN; /* a container may forbid it */
    return mark();
}

static void an_old_kernel_gets_the_same_marks(void **state)
{
    int status = run(mark_without_close_range);

    (void)state;
    if (status == FORBIDDEN) {
        print_message("not tested: seccomp filters are forbidden here\n");
        return;
    }
    assert_int_equal(status, 0);
}

static int lower_then_raise(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == -1)
        return 1;
    limit.rlim_cur = 64;
    if (setrlimit(RLIMIT_NOFILE, &limit) == -1)
        return 2;
    for (int again = 0; again < 2; again++)
        if (fds_raise_limit() == -1)
            return 3;
    if (getrlimit(RLIMIT_NOFILE, &limit) == -1)
        return 4;
    return limit.rlim_cur == limit.rlim_max ? 0 : 5;
}

/* The first of two raises has noted what was there. */
static int raise_then_restore(void)
{
    struct rlimit limit;

    if (lower_then_raise() != 0)
        return 1;
    for (int again = 0; again < 2; again++)
        fds_restore_limit();
    return getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur == 64 ? 0
                                                                         : 2;
}

static int restore_what_was_not_raised(void)
{
    struct rlimit before, after;

    getrlimit(RLIMIT_NOFILE, &before);
    fds_restore_limit();
    getrlimit(RLIMIT_NOFILE, &after);
    return before.rlim_cur == after.rlim_cur ? 0 : 1;
}

static void the_soft_limit_can_be_set_back(void **state)
{
    (void)state;
    assert_int_equal(run(raise_then_restore), 0);
    assert_int_equal(run(restore_what_was_not_raised), 0);
}

static void the_soft_limit_becomes_the_hard_one(void **state)
{
    (void)state;
    assert_int_equal(run(lower_then_raise), 0);
}

static int run_out_of_descriptors(void)
{
    struct rlimit limit;

    close(0);
    if (getrlimit(RLIMIT_NOFILE, &limit) == -1)
        return 1;
    limit.rlim_cur = 0;
    if (setrlimit(RLIMIT_NOFILE, &limit) == -1)
        return 1;
    return fds_open_missing() == -1 && errno == EMFILE ? 0 : 2;
}

static void a_descriptor_that_cannot_be_opened_is_an_error(void **state)
{
    (void)state;
    assert_int_equal(run(run_out_of_descriptors), 0);
}

static int count_allocations(void)
{
    alloc_fail_at(1);
    if (fds_open_missing() == -1 || fds_cloexec_above(2) == -1 ||
        fds_raise_limit() == -1)
        return 1;
    return alloc_count() == 0 ? 0 : 2;
}

static void nothing_is_allocated(void **state)
{
    (void)state;
    assert_int_equal(run(count_allocations), 0);
}

static int close_my_talks(void)
{
    int pair[2], pipes[2], mine[2], kept[2];

    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == -1 || pipe(pipes) == -1 ||
        pipe2(mine, O_NONBLOCK) == -1 || pipe2(kept, O_NONBLOCK) == -1)
        return 1;
    for (int fd = 100; fd < 150; fd++) /* a folder is read in pieces */
        if (dup2(pair[0], fd) == -1)
            return 2;
    fds_close_talks(pair[0], kept[1]);
    if (fcntl(pair[0], F_GETFD) == -1 || fcntl(pair[1], F_GETFD) != -1)
        return 3;
    for (int fd = 100; fd < 150; fd++)
        if (fcntl(fd, F_GETFD) != -1)
            return 4;
    if (fcntl(mine[0], F_GETFD) != -1 || fcntl(mine[1], F_GETFD) != -1 ||
        fcntl(kept[0], F_GETFD) != -1 || fcntl(kept[1], F_GETFD) == -1)
        return 6;
    return fcntl(pipes[0], F_GETFD) != -1 && fcntl(pipes[1], F_GETFD) != -1 ? 0
                                                                            : 5;
}

static void only_sockets_and_quick_pipes_above_are_closed(void **state)
{
    (void)state;
    assert_int_equal(run(close_my_talks), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(closed_standard_descriptors_become_dev_null),
        cmocka_unit_test(open_standard_descriptors_stay),
        cmocka_unit_test(what_is_above_is_marked_close_on_exec),
        cmocka_unit_test(an_old_kernel_gets_the_same_marks),
        cmocka_unit_test(the_soft_limit_becomes_the_hard_one),
        cmocka_unit_test(the_soft_limit_can_be_set_back),
        cmocka_unit_test(a_descriptor_that_cannot_be_opened_is_an_error),
        cmocka_unit_test(nothing_is_allocated),
        cmocka_unit_test(only_sockets_and_quick_pipes_above_are_closed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
