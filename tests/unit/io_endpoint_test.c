/* io_endpoint_test.c -- addresses as the kernel takes them.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "io/endpoint.h"

static struct endpoint endpoint;
static char text[ENDPOINT_TEXT];

static const char *print(void)
{
    endpoint_print(&endpoint, text);
    return text;
}

static void numeric_addresses_are_read(void **state)
{
    (void)state;
    assert_true(endpoint_ip(&endpoint, "192.0.2.7", 80));
    assert_int_equal(endpoint.as.any.sa_family, AF_INET);
    assert_string_equal(print(), "192.0.2.7");
    assert_int_equal(endpoint_port(&endpoint), 80);
    assert_true(endpoint_ip(&endpoint, "2001:db8::7", 65535));
    assert_int_equal(endpoint.as.any.sa_family, AF_INET6);
    assert_string_equal(print(), "2001:db8::7");
    assert_int_equal(endpoint_port(&endpoint), 65535);
    assert_true(endpoint_ip(&endpoint, "::ffff:192.0.2.7", 0));
    assert_string_equal(print(), "::ffff:192.0.2.7");
}

static void an_interface_belongs_to_the_address(void **state)
{
    (void)state;
    assert_true(endpoint_ip(&endpoint, "fe80::1%lo", 80));
    assert_int_not_equal(endpoint.as.v6.sin6_scope_id, 0);
    assert_string_equal(print(), "fe80::1%lo");
    assert_false(endpoint_ip(&endpoint, "fe80::1%nosuch", 80));
    assert_false(endpoint_ip(&endpoint, "fe80::1%", 80));
}

static void anything_else_is_none(void **state)
{
    static const char *const bad[] = {
        "",
        "localhost",
        "1.2.3",
        "1.2.3.4.5",
        "1.2.3.256",
        "0x7f.1",
        "[::1]",
        " 127.0.0.1",
        "::1 ",
        ":::",
        "12345",
        "%lo",
        "1.2.3.4%lo",
        "1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111"
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        if (endpoint_ip(&endpoint, bad[i], 80))
            fail_msg("\"%s\" is an address", bad[i]);
}

static void paths_have_a_length(void **state)
{
    char path[sizeof(endpoint.as.local.sun_path) + 1];

    (void)state;
    assert_true(endpoint_unix(&endpoint, "/run/x"));
    assert_string_equal(print(), "/run/x");
    assert_int_equal(endpoint_port(&endpoint), 0);
    memset(path, 'x', sizeof(path));
    path[sizeof(path) - 1] = '\0';
    assert_false(endpoint_unix(&endpoint, path));
    path[sizeof(path) - 2] = '\0';
    assert_true(endpoint_unix(&endpoint, path));
    assert_string_equal(print(), path);
    assert_false(endpoint_unix(&endpoint, ""));
}

static void abstract_ones_begin_with_an_at_sign(void **state)
{
    (void)state;
    assert_true(endpoint_unix(&endpoint, "@name"));
    assert_memory_equal(endpoint.as.local.sun_path, "\0name", 5);
    assert_int_equal(endpoint.len, offsetof(struct sockaddr_un, sun_path) + 5);
    assert_string_equal(print(), "@name");
}

static void both_ends_of_a_socket_have_one(void **state)
{
    int fds[2], sock = socket(AF_UNIX, SOCK_STREAM, 0);
    struct endpoint abstract = { .len = 0 };

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(endpoint_own(fds[0], &endpoint), 0);
    assert_string_equal(print(), ""); /* bound to nothing */
    assert_int_equal(endpoint_peer(fds[0], &endpoint), 0);
    assert_string_equal(print(), "");
    abstract.as.local.sun_family = AF_UNIX; /* the kernel chooses a name */
    abstract.len = sizeof(sa_family_t);
    assert_int_equal(bind(sock, &abstract.as.any, abstract.len), 0);
    assert_int_equal(endpoint_own(sock, &endpoint), 0);
    assert_int_equal(print()[0], '@');
    assert_int_equal(endpoint_peer(sock, &endpoint), -1);
    assert_int_equal(errno, ENOTCONN);
    assert_int_equal(endpoint_own(-1, &endpoint), -1);
    assert_int_equal(errno, EBADF);
    close(fds[0]);
    close(fds[1]);
    close(sock);
}

static void another_family_has_no_text(void **state)
{
    (void)state;
    endpoint = (struct endpoint){ .len = sizeof(endpoint.as.any) };
    endpoint.as.any.sa_family = AF_PACKET;
    assert_string_equal(print(), "");
    assert_int_equal(endpoint_port(&endpoint), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numeric_addresses_are_read),
        cmocka_unit_test(an_interface_belongs_to_the_address),
        cmocka_unit_test(anything_else_is_none),
        cmocka_unit_test(paths_have_a_length),
        cmocka_unit_test(abstract_ones_begin_with_an_at_sign),
        cmocka_unit_test(both_ends_of_a_socket_have_one),
        cmocka_unit_test(another_family_has_no_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
