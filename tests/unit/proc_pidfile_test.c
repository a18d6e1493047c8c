/* proc_pidfile_test.c -- the file that tells others our process id.
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
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "proc/pidfile.h"

static char folder[64], path[96], own[32], text[64];

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/fcgi-lua-pid.XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof(path), "%s/pid", folder);
    snprintf(own, sizeof(own), "%ld\n", (long)getpid());
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder); /* fails if a test left something */
}

static void write_text(const char *what)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_int_not_equal(fd, -1);
    assert_int_equal(write(fd, what, strlen(what)), strlen(what));
    close(fd);
}

static const char *read_text(void)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    if (fd == -1)
        return NULL;
    n = read(fd, text, sizeof(text) - 1);
    close(fd);
    assert_true(n >= 0);
    text[n] = '\0';
    return text;
}

static int write_own(void)
{
    int fd = pidfile_write(path);

    assert_int_not_equal(fd, -1);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    return fd;
}

static void the_file_has_the_id_and_a_newline(void **state)
{
    struct stat st;

    (void)state;
    close(write_own());
    assert_string_equal(read_text(), own);
    assert_int_equal(stat(path, &st), 0);
    assert_true((st.st_mode & 0133) == 0); /* others only read it */
}

static void an_old_file_is_replaced_as_a_whole(void **state)
{
    (void)state;
    write_text("1234567890 and more than that\n");
    close(write_own());
    assert_string_equal(read_text(), own);
    close(write_own()); /* our own, too */
    assert_string_equal(read_text(), own);
}

static void a_link_is_replaced_not_followed(void **state)
{
    char target[96];
    struct stat st;

    (void)state;
    snprintf(target, sizeof(target), "%s/target", folder);
    assert_int_equal(symlink(target, path), 0);
    close(write_own());
    assert_int_equal(lstat(path, &st), 0);
    assert_true(S_ISREG(st.st_mode));
    assert_int_equal(access(target, F_OK), -1);
}

static void what_is_no_file_is_not_replaced(void **state)
{
    struct stat st;

    (void)state;
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(pidfile_write(path), -1);
    assert_int_equal(errno, EEXIST);
    assert_int_equal(lstat(path, &st), 0);
    assert_true(S_ISFIFO(st.st_mode));
    assert_int_equal(pidfile_write(folder), -1);
    assert_int_equal(errno, EISDIR);
}

static void where_it_cannot_be_written_nothing_is_left(void **state)
{
    char elsewhere[128], longest[PATH_MAX + 8];

    (void)state;
    snprintf(elsewhere, sizeof(elsewhere), "%s/missing/pid", folder);
    assert_int_equal(pidfile_write(elsewhere), -1);
    assert_int_equal(errno, ENOENT);
    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    assert_int_equal(pidfile_write(longest), -1);
    assert_int_equal(errno, ENAMETOOLONG);
    assert_int_equal(mkdir(path, 0700), 0); /* it cannot be renamed to this */
    assert_int_equal(pidfile_write(path), -1);
    assert_int_equal(errno, EISDIR);
    assert_int_equal(rmdir(path), 0);
}

static void a_full_disk_leaves_the_old_file(void **state)
{
    struct rlimit before, none;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    int result, error;

    (void)state;
    write_text("old\n");
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    none = before;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    result = pidfile_write(path);
    error = errno;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, handler);
    assert_int_equal(result, -1);
    assert_int_equal(error, EFBIG);
    assert_string_equal(read_text(), "old\n");
}

static void only_our_own_file_is_removed(void **state)
{
    static const char *const texts[] = { "1\n", "", "no number" };

    (void)state;
    assert_int_equal(pidfile_remove(path, write_own()), 0);
    assert_null(read_text());
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        int fd = write_own();

        write_text(texts[i]);
        assert_int_equal(pidfile_remove(path, fd), 0);
        assert_string_equal(read_text(), texts[i]);
    }
}

static void a_file_that_is_gone_is_no_matter(void **state)
{
    int fd = write_own();

    (void)state;
    assert_int_equal(unlink(path), 0);
    assert_int_equal(pidfile_remove(path, fd), 0);
    fd = write_own();
    close(write_own()); /* as a successor would */
    assert_int_equal(pidfile_remove(path, fd), 0);
    assert_string_equal(read_text(), own);
}

/* In a child that becomes another user, which ends with 0 if all is as it
 * should. */
static int empty_as_another(mode_t mode)
{
    int fd = write_own();

    if (chmod(folder, mode) == -1 || setgid(65534) == -1 || setuid(65534) == -1)
        return 1;
    if (pidfile_remove(path, fd) != -1 || errno != EACCES)
        return 2;
    return fcntl(fd, F_GETFD) == -1 ? 0 : 3;
}

static void what_may_not_be_removed_is_emptied(void **state)
{
    static const mode_t modes[] = { 0755, 0700 };

    (void)state;
    if (geteuid() != 0) {
        print_message("not tested: only root can\n");
        return;
    }
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        int status;
        pid_t child = fork();

        assert_int_not_equal(child, -1);
        if (child == 0)
            _exit(empty_as_another(modes[i]));
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
        assert_string_equal(read_text(), "");
    }
}

#define PIDFILE_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PIDFILE_TEST(the_file_has_the_id_and_a_newline),
        PIDFILE_TEST(an_old_file_is_replaced_as_a_whole),
        PIDFILE_TEST(a_link_is_replaced_not_followed),
        PIDFILE_TEST(what_is_no_file_is_not_replaced),
        PIDFILE_TEST(where_it_cannot_be_written_nothing_is_left),
        PIDFILE_TEST(a_full_disk_leaves_the_old_file),
        PIDFILE_TEST(only_our_own_file_is_removed),
        PIDFILE_TEST(a_file_that_is_gone_is_no_matter),
        PIDFILE_TEST(what_may_not_be_removed_is_emptied),
    };

    return cmocka_run_group_tests_name("proc/pidfile", tests, NULL, NULL);
}
