/* io_ends_test.c -- who sits at the two ends of a socket.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "io/ends.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

static int listener = -1, client = -1, server = -1;

static int close_all(void **state)
{
    (void)state;
    close(listener);
    close(client);
    close(server);
    return 0;
}

static void pair(const struct sockaddr *to, socklen_t len, int family)
{
    struct sockaddr_storage bound = { .ss_family = AF_UNSPEC };
    const int no = 0;

    listener = socket(family, SOCK_STREAM, 0);
    setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof(no));
    assert_int_equal(bind(listener, to, len), 0);
    assert_int_equal(listen(listener, 1), 0);
    len = sizeof(bound);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&bound, &len), 0);
    client = socket(AF_INET, SOCK_STREAM, 0);
    if (family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const void *)&bound;
        struct sockaddr_in v4 = { .sin_family = AF_INET,
                                  .sin_port = v6->sin6_port };

        v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        memcpy(&bound, &v4, sizeof(v4));
    }
    assert_int_equal(connect(client, (const struct sockaddr *)&bound,
                             sizeof(struct sockaddr_in)),
                     0);
    server = accept(listener, NULL, NULL);
    assert_int_not_equal(server, -1);
}

static void expect_loopback(void)
{
    struct wire_ends of_server, of_client;

    ends_of(server, &of_server);
    ends_of(client, &of_client);
    assert_string_equal(of_server.remote, "127.0.0.1");
    assert_string_equal(of_server.local, "127.0.0.1");
    assert_int_not_equal(of_server.local_port, 0);
    assert_int_equal(of_server.remote_port, of_client.local_port);
    assert_int_equal(of_server.local_port, of_client.remote_port);
}

static void addresses_and_ports_are_told(void **state)
{
    struct sockaddr_in any = { .sin_family = AF_INET };

    (void)state;
    any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    pair((struct sockaddr *)&any, sizeof(any), AF_INET);
    expect_loopback();
}

static void ipv4_over_ipv6_is_ipv4(void **state)
{
    struct sockaddr_in6 any = { .sin6_family = AF_INET6 };

    (void)state;
    server = socket(AF_INET6, SOCK_STREAM, 0);
    if (server == -1) {
        print_message("no IPv6 here: not tested\n");
        return;
    }
    close(server);
    pair((struct sockaddr *)&any, sizeof(any), AF_INET6);
    expect_loopback();
}

static void others_have_none(void **state)
{
    struct wire_ends ends;
    int fds[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    ends_of(fds[0], &ends);
    assert_string_equal(ends.remote, "");
    assert_string_equal(ends.local, "");
    client = fds[0];
    server = fds[1];
    ends_of(-1, &ends);
    assert_string_equal(ends.remote, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(addresses_and_ports_are_told, close_all),
        cmocka_unit_test_teardown(ipv4_over_ipv6_is_ipv4, close_all),
        cmocka_unit_test_teardown(others_have_none, close_all),
    };

    return cmocka_run_group_tests_name("io/ends", tests, NULL, NULL);
}
