/* io_name_server_test.c -- name servers as users write them.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "alloc.h"
#include "io/name_server.h"
#include "io/resolver.h"

static const struct {
    const char *text, *printed;
} good[] = {
    { "192.0.2.1", "192.0.2.1:53" },
    { "192.0.2.1:5353", "192.0.2.1:5353" },
    { "192.0.2.1:65535", "192.0.2.1:65535" },
    { "::1", "[::1]:53" },
    { "2001:db8::1", "[2001:db8::1]:53" },
    { "[2001:db8::1]", "[2001:db8::1]:53" },
    { "[2001:db8::1]:1", "[2001:db8::1]:1" },
    { "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255",
      "[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:53" },
};

static const char *const bad[] = {
    "",
    "dns.test",
    "192.0.2",
    "192.0.2.1:",
    ":53",
    "192.0.2.1:0",
    "192.0.2.1:x",
    "192.0.2.1:65536",
    "[::1",
    "[::1]x",
    "[::1]:",
    "[192.0.2.1]",
    "[]",
    "[",
    "::1]",
    "192.0.2.1 ",
    "192.0.2.1:53:53",
    "[::1]:53:53",
    "unix:/x",
    "fe80::1%lo",
    "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.2555",
};

static void each_form_is_read(void **state)
{
    char out[NAME_SERVER_TEXT];

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        assert_true(name_server_print(slice_of(good[i].text), out));
        assert_string_equal(out, good[i].printed);
        assert_true(resolver_check_servers(good[i].text));
    }
}

static void nothing_else_is(void **state)
{
    char out[NAME_SERVER_TEXT];

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        assert_false(name_server_print(slice_of(bad[i]), out));
        assert_false(resolver_check_servers(bad[i]));
    }
    assert_false(name_server_print((struct slice){ "192.0.2.1\0", 10 }, out));
}

static void lists_have_commas(void **state)
{
    (void)state;
    assert_true(resolver_check_servers("192.0.2.1,[::1]:5353,::2"));
    assert_false(resolver_check_servers("192.0.2.1,"));
    assert_false(resolver_check_servers(",192.0.2.1"));
    assert_false(resolver_check_servers("192.0.2.1,,::1"));
    assert_false(resolver_check_servers("192.0.2.1, ::1"));
    assert_false(resolver_check_servers("192.0.2.1,x"));
}

static void lists_are_joined(void **state)
{
    char one[] = "192.0.2.1,::1", two[] = "x", three[] = "192.0.2.3:7,";
    char *lists[] = { one, two, three };
    char *all = name_servers_join(lists, 3);

    (void)state;
    assert_string_equal(all, "192.0.2.1:53,[::1]:53,192.0.2.3:7");
    free(all);
    all = name_servers_join(NULL, 0);
    assert_string_equal(all, "");
    free(all);
    alloc_fail_at(1);
    assert_null(name_servers_join(lists, 3));
    alloc_fail_at(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_form_is_read),
        cmocka_unit_test(nothing_else_is),
        cmocka_unit_test(lists_have_commas),
        cmocka_unit_test(lists_are_joined),
    };

    return cmocka_run_group_tests_name("io/name_server", tests, NULL, NULL);
}
