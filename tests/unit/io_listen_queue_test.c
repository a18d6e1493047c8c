/* io_listen_queue_test.c -- connections that wait, as the kernel counts them.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "io/listen_queue.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { CLIENTS = 3, BACKLOG = 7 };

static int open_listener(int family, struct sockaddr *sa, socklen_t *len)
{
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd != -1);
    assert_int_equal(bind(fd, sa, *len), 0);
    assert_int_equal(listen(fd, BACKLOG), 0);
    assert_int_equal(getsockname(fd, sa, len), 0);
    return fd;
}

/* Connects to it, and looks at its queue before and meanwhile. */
static void check(int fd, const struct sockaddr *sa, socklen_t len)
{
    struct listen_socket sockets[] = { { .fd = fd,
                                         .is_tcp = sa->sa_family == AF_INET } };
    const struct listen_set set = { .items = sockets, .count = 1 };
    struct listen_queue queue = listen_queue(&set);
    int clients[CLIENTS];

    assert_int_equal(queue.waiting, 0);
    assert_int_equal(queue.most, BACKLOG);
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(clients[i], sa, len), 0);
    }
    queue = listen_queue(&set);
    assert_int_equal(queue.waiting, CLIENTS);
    close(accept(fd, NULL, NULL));
    assert_int_equal(listen_queue(&set).waiting, CLIENTS - 1);
    for (int i = 0; i < CLIENTS; i++)
        close(clients[i]);
}

static void tcp_tells_its_queue(void **state)
{
    struct sockaddr_in sin = { .sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(sin);
    int fd = open_listener(AF_INET, (void *)&sin, &len);

    (void)state;
    check(fd, (void *)&sin, len);
    close(fd);
}

static void unix_sockets_tell_theirs(void **state)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    char folder[] = "/tmp/fcgi-lua-queue-XXXXXX";
    socklen_t len = sizeof(sun);
    int fd;

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/s", folder);
    fd = open_listener(AF_UNIX, (void *)&sun, &len);
    check(fd, (void *)&sun, len);
    close(fd);
    unlink(sun.sun_path);
    rmdir(folder);
}

static void what_tells_nothing_counts_nothing(void **state)
{
    int fds[2];
    struct listen_socket sockets[3];
    const struct listen_set set = { .items = sockets, .count = 3 },
                            none = { 0 };
    struct listen_queue queue;

    (void)state;
    assert_int_equal(pipe(fds), 0);
    sockets[0] = (struct listen_socket){ .fd = -1, .is_tcp = true };
    sockets[1] = (struct listen_socket){ .fd = -1, .is_tcp = false };
    sockets[2] = (struct listen_socket){ .fd = fds[0], .is_tcp = false };
    queue = listen_queue(&set);
    assert_int_equal(queue.waiting, 0);
    assert_int_equal(queue.most, 0);
    assert_int_equal(listen_queue(&none).waiting, 0);
    close(fds[0]);
    close(fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tcp_tells_its_queue),
        cmocka_unit_test(unix_sockets_tell_theirs),
        cmocka_unit_test(what_tells_nothing_counts_nothing),
    };

    return cmocka_run_group_tests_name("io/listen_queue", tests, NULL, NULL);
}
