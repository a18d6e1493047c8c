/* io_address_test.c -- addresses as users write them.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <grp.h>
#include <pwd.h>
#include <unistd.h>
#include <cmocka.h>

#include "alloc.h"
#include "io/address.h"

static struct address address;
static char message[ADDRESS_ERROR_TEXT];

static bool parse(const char *text)
{
    return address_parse(text, &address, message, sizeof(message));
}

static void assert_refused(const char *text, const char *why)
{
    assert_false(parse(text));
    assert_string_equal(message, why);
}

static void host_and_port_are_taken_apart(void **state)
{
    (void)state;
    assert_true(parse("127.0.0.1:9000"));
    assert_int_equal(address.kind, ADDRESS_TCP);
    assert_string_equal(address.host, "127.0.0.1");
    assert_int_equal(address.port, 9000);
    assert_true(parse(":65535"));
    assert_string_equal(address.host, "");
    assert_int_equal(address.port, 65535);
    assert_true(parse("localhost:0"));
    assert_string_equal(address.host, "localhost");
    assert_int_equal(address.port, 0);
}

static void ipv6_stands_in_brackets(void **state)
{
    (void)state;
    assert_true(parse("[::1]:9000"));
    assert_int_equal(address.kind, ADDRESS_TCP);
    assert_string_equal(address.host, "::1");
    assert_int_equal(address.port, 9000);
    assert_true(parse("[fe80::1%eth0]:1"));
    assert_string_equal(address.host, "fe80::1%eth0");
}

static void unix_paths_take_attributes(void **state)
{
    char text[128];

    (void)state;
    assert_true(parse("unix:/run/app.sock"));
    assert_int_equal(address.kind, ADDRESS_UNIX);
    assert_string_equal(address.path, "/run/app.sock");
    assert_false(address.has_mode || address.has_owner || address.has_group);
    assert_true(parse("unix:/a:b,mode=0660,owner=root,group=12"));
    assert_string_equal(address.path, "/a:b");
    assert_true(address.has_mode && address.has_owner && address.has_group);
    assert_int_equal(address.mode, 0660);
    assert_int_equal(address.owner, 0);
    assert_int_equal(address.group, 12);
    snprintf(text, sizeof(text), "unix:/a,group=%s", getgrgid(0)->gr_name);
    assert_true(parse(text));
    assert_int_equal(address.group, 0);
}

static void a_descriptor_is_a_number(void **state)
{
    (void)state;
    assert_true(parse("fd:0"));
    assert_int_equal(address.kind, ADDRESS_FD);
    assert_int_equal(address.fd, 0);
    assert_true(parse("fd:2147483647"));
    assert_int_equal(address.fd, 2147483647);
    assert_refused("fd:", "has no descriptor number (try fd:0)");
    assert_refused("fd:-1", "has no descriptor number (try fd:0)");
    assert_refused("fd:2147483648", "has no descriptor number (try fd:0)");
}

static void every_mistake_in_a_host_or_port_has_its_message(void **state)
{
    char endless[600];

    (void)state;
    assert_refused("", "is empty");
    assert_refused("localhost", "has no port (try :9000 or 127.0.0.1:9000)");
    assert_refused("9000", "has no colon before its port (try :9000)");
    assert_refused("http://127.0.0.1:8080",
                   "is a URL (try its host and port: 127.0.0.1:8080)");
    assert_refused("localhost:", "has no port (try :9000)");
    assert_refused(":65536", "has a bad port (it must be 0 to 65535)");
    assert_refused(":99999999999999999999",
                   "has a bad port (it must be 0 to 65535)");
    assert_refused(":-1", "has a bad port (it must be 0 to 65535)");
    assert_refused(":+1", "has a bad port (it must be 0 to 65535)");
    assert_refused(":http", "has a bad port (it must be 0 to 65535)");
    assert_refused("::1:9000",
                   "has too many colons (try [::1]:9000, unix:/PATH)");
    assert_refused("/run/app.sock",
                   "is not an address (a path needs unix: before it)");
    assert_refused("local host:1", "has a blank or control byte in its host");
    memset(endless, 'x', sizeof(endless));
    memcpy(endless + 256, ":1", 3);
    assert_refused(endless, "is too long");
    assert_true(parse(endless + 1));
}

static void every_mistake_in_brackets_has_its_message(void **state)
{
    char endless[600];

    (void)state;
    assert_refused("[::1:9000", "has no ] behind its address");
    assert_refused("[::1]", "has no port (try [::1]:9000)");
    assert_refused("[::1]:", "has no port (try :9000)");
    assert_refused("[::1]9000", "has no : behind its ]");
    assert_refused("[]:1", "has no IPv6 address in its brackets");
    assert_refused("[127.0.0.1]:1", "has no IPv6 address in its brackets");
    assert_refused("[localhost]:1", "has no IPv6 address in its brackets");
    assert_refused("[::1]:x", "has a bad port (it must be 0 to 65535)");
    memset(endless, 'x', sizeof(endless));
    endless[0] = '[';
    memcpy(endless + 400, "]:1", 4);
    assert_refused(endless, "is too long");
}

static void every_mistake_in_a_unix_address_has_its_message(void **state)
{
    static const char unknown[] =
        "has an unknown attribute (known: mode=, owner=, group=)";
    static const char bad_mode[] =
        "has a bad mode (it must be octal, try mode=0660)";
    char path[200] = "unix:/";

    (void)state;
    assert_refused("unix:", "has no absolute path (try unix:/run/app.sock)");
    assert_refused("unix:a", "has no absolute path (try unix:/run/app.sock)");
    assert_refused("unix:/a,", unknown);
    assert_refused("unix:/a,,mode=0660", unknown);
    assert_refused("unix:/a,mod=0660", unknown);
    assert_refused("unix:/a,mode", unknown);
    assert_refused("unix:/a,mode=", bad_mode);
    assert_refused("unix:/a,mode=rw", bad_mode);
    assert_refused("unix:/a,mode=0680", bad_mode);
    assert_refused("unix:/a,mode=1777", bad_mode);
    assert_refused("unix:/a,owner=", "has an unknown owner");
    assert_refused("unix:/a,owner=no-such-user,mode=0600",
                   "has an unknown owner");
    assert_refused("unix:/a,owner=4294967295", "has an unknown owner");
    assert_refused("unix:/a,group=no-such-group", "has an unknown group");
    memset(path + 6, 'x', 106);
    assert_true(parse(path)); /* 107 bytes */
    assert_int_equal(strlen(address.path), 107);
    path[6 + 106] = 'x';
    assert_refused(path, "has a path that is too long for a unix socket (at"
                         " most 107 bytes)");
}

static void what_is_printed_reads_the_same(void **state)
{
    static const char *const texts[] = {
        ":9000",
        "127.0.0.1:9000",
        "localhost:1",
        "[::1]:9000",
        "[fe80::1%lo]:65535",
        "unix:/run/app.sock",
        "unix:/run/app.sock,mode=0660,owner=root,group=0",
        "unix:/run/app.sock,mode=0007",
        "unix:/a,group=12",
        "fd:3",
    };
    char printed[ADDRESS_TEXT];

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        assert_true(parse(texts[i]));
        address_print(&address, printed);
        assert_string_equal(printed, texts[i]);
    }
}

static void nothing_is_allocated(void **state)
{
    (void)state;
    alloc_fail_at(1);
    assert_true(parse("unix:/a,mode=0660,owner=root"));
    assert_true(parse("[::1]:9000"));
    assert_int_equal(alloc_count(), 0);
    alloc_fail_at(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(host_and_port_are_taken_apart),
        cmocka_unit_test(ipv6_stands_in_brackets),
        cmocka_unit_test(unix_paths_take_attributes),
        cmocka_unit_test(a_descriptor_is_a_number),
        cmocka_unit_test(every_mistake_in_a_host_or_port_has_its_message),
        cmocka_unit_test(every_mistake_in_brackets_has_its_message),
        cmocka_unit_test(every_mistake_in_a_unix_address_has_its_message),
        cmocka_unit_test(what_is_printed_reads_the_same),
        cmocka_unit_test(nothing_is_allocated),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
