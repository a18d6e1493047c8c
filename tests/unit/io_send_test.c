/* io_send_test.c -- the front of a chain into a socket.
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
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/log.h"
#include "file_rig.h"
#include "io/send.h"

static struct pool pool;
static struct chain chain;
static int fds[2];
static size_t asked;

static int set_up(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN); /* as in the program */
    log_set_level(LOG_LEVEL_ERROR);
    chain_pool_init(&pool, 4);
    chain_init(&chain, &pool);
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
                      fds);
}

static int tear_down(void **state)
{
    (void)state;
    chain_free(&chain);
    pool_free(&pool);
    close(fds[0]);
    close(fds[1]);
    return 0;
}

static void put_file(struct shared_fd *file, off_t offset, size_t n)
{
    assert_true(chain_append_file(&chain, file, offset, n));
    shared_fd_unref(file);
}

static void assert_heard(const char *text)
{
    char got[64];
    ssize_t n = recv(fds[1], got, sizeof(got), 0);

    assert_int_equal(n, strlen(text));
    assert_memory_equal(got, text, (size_t)n);
}

static void bytes_go_as_far_as_the_next_file(void **state)
{
    (void)state;
    chain_append(&chain, slice_of("ab"));
    chain_append_ref(&chain, slice_of("cd"), NULL, NULL);
    put_file(file_of(slice_of("01234")), 1, 3);
    chain_append(&chain, slice_of("ef"));
    assert_int_equal(send_front(fds[0], &chain, &asked), 4);
    assert_int_equal(asked, 4);
    assert_heard("abcd");
    chain_drain(&chain, 4);
    assert_int_equal(send_front(fds[0], &chain, &asked), 3);
    assert_int_equal(asked, 3);
    assert_heard("123");
    chain_drain(&chain, 3);
    assert_int_equal(send_front(fds[0], &chain, &asked), 2);
    assert_heard("ef");
}

static void of_a_file_there_is_what_there_is(void **state)
{
    struct shared_fd *file = file_of(slice_of("01234"));

    (void)state;
    put_file(file, 3, 5);
    assert_int_equal(send_front(fds[0], &chain, &asked), 2);
    assert_int_equal(asked, 5);
    chain_drain(&chain, 2);
    assert_int_equal(send_front(fds[0], &chain, &asked), -1);
    assert_int_equal(errno, EIO);
    assert_heard("34");
}

/* Some kernels do not send what is in /proc. */
static void what_the_kernel_does_not_send_is_copied(void **state)
{
    int fd = open("/proc/self/mounts", O_RDONLY | O_CLOEXEC);
    char text[17] = "";

    (void)state;
    assert_int_equal(pread(fd, text, 16, 0), 16);
    put_file(shared_fd_new(fd), 0, 16);
    assert_int_equal(send_front(fds[0], &chain, &asked), 16);
    assert_heard(text);
}

static void what_cannot_be_read_is_an_error(void **state)
{
    int fd = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    (void)state;
    put_file(shared_fd_new(fd), 0, 16);
    assert_int_equal(send_front(fds[0], &chain, &asked), -1);
    assert_int_equal(errno, EISDIR);
}

/* The text of the log while the front is sent. */
static const char *said_of_sending(void)
{
    static char text[256];
    char path[] = "/tmp/fcgi-lua-log-XXXXXX";
    int fd = mkstemp(path);
    ssize_t n;

    assert_true(fd >= 0);
    assert_int_equal(log_open(path), 0);
    log_set_level(LOG_LEVEL_WARN);
    assert_int_equal(send_front(fds[0], &chain, &asked), -1);
    log_close();
    n = read(fd, text, sizeof(text) - 1);
    assert_true(n >= 0);
    text[n] = '\0';
    close(fd);
    unlink(path);
    return text;
}

static void operators_hear_of_files_and_not_of_clients(void **state)
{
    int fd = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    (void)state;
    put_file(shared_fd_new(fd), 0, 16);
    assert_non_null(
        strstr(said_of_sending(), "a file cannot be read: Is a directory"));
    chain_free(&chain);
    shutdown(fds[1], SHUT_RDWR);
    put_file(file_of(slice_of("01234")), 0, 5);
    assert_string_equal(said_of_sending(), "");
}

static void a_socket_without_room_is_tried_again(void **state)
{
    static char bytes[1024 * 1024];
    size_t taken = 0;
    ssize_t n;

    (void)state;
    put_file(file_of((struct slice){ bytes, sizeof(bytes) }), 0, sizeof(bytes));
    while ((n = send_front(fds[0], &chain, &asked)) > 0) {
        chain_drain(&chain, (size_t)n);
        taken += (size_t)n;
    }
    assert_int_equal(errno, EAGAIN);
    assert_true(taken > 0 && taken < sizeof(bytes));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(bytes_go_as_far_as_the_next_file),
        TEST(of_a_file_there_is_what_there_is),
        TEST(what_the_kernel_does_not_send_is_copied),
        TEST(what_cannot_be_read_is_an_error),
        TEST(operators_hear_of_files_and_not_of_clients),
        TEST(a_socket_without_room_is_tried_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
