/* io_peers_test.c -- FCGI_WEB_SERVER_ADDRS.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>
#include <sys/un.h>
#include <cmocka.h>

#include "alloc.h"
#include "io/peers.h"

static struct peers peers;
static struct slice junk;

static int tear_down(void **state)
{
    (void)state;
    peers_free(&peers);
    return 0;
}

static bool allows_v4(const char *text)
{
    struct sockaddr_in from = { .sin_family = AF_INET,
                                .sin_port = htons(40000) };

    assert_int_equal(inet_pton(AF_INET, text, &from.sin_addr), 1);
    return peers_allow(&peers, (struct sockaddr *)&from, sizeof(from));
}

static bool allows_v6(const char *text)
{
    struct sockaddr_in6 from = { .sin6_family = AF_INET6,
                                 .sin6_port = htons(40000) };

    assert_int_equal(inet_pton(AF_INET6, text, &from.sin6_addr), 1);
    return peers_allow(&peers, (struct sockaddr *)&from, sizeof(from));
}

static bool allows_unix(void)
{
    struct sockaddr_un from = { .sun_family = AF_UNIX };

    return peers_allow(&peers, (struct sockaddr *)&from, sizeof(sa_family_t));
}

static void without_the_variable_everybody_may_connect(void **state)
{
    (void)state;
    assert_int_equal(peers_parse(&peers, NULL, &junk), PEERS_OK);
    assert_false(peers.is_restricted);
    assert_true(allows_v4("10.0.0.7"));
    assert_true(allows_v6("::1"));
    assert_true(allows_unix());
}

static void only_the_listed_may_connect(void **state)
{
    (void)state;
    assert_int_equal(
        peers_parse(&peers, "199.170.183.28, 199.170.183.71 ,::1", &junk),
        PEERS_OK);
    assert_true(peers.is_restricted);
    assert_int_equal(peers.count, 3);
    assert_true(allows_v4("199.170.183.28"));
    assert_true(allows_v4("199.170.183.71"));
    assert_false(allows_v4("199.170.183.29"));
    assert_true(allows_v6("::1"));
    assert_false(allows_v6("::2"));
}

static void mapped_addresses_are_their_ipv4_ones(void **state)
{
    (void)state;
    assert_int_equal(peers_parse(&peers, "127.0.0.1,::ffff:10.0.0.7", &junk),
                     PEERS_OK);
    assert_true(allows_v6("::ffff:127.0.0.1"));
    assert_false(allows_v6("::127.0.0.1"));
    assert_true(allows_v4("10.0.0.7"));
}

static void a_peer_that_is_not_tcp_is_refused_by_a_list(void **state)
{
    struct sockaddr_in cut = { .sin_family = AF_INET };

    (void)state;
    assert_int_equal(peers_parse(&peers, "0.0.0.0", &junk), PEERS_OK);
    assert_false(allows_unix());
    assert_false(peers_allow(&peers, (struct sockaddr *)&cut, 4));
}

static void junk_in_the_list_is_shown(void **state)
{
    static const struct {
        const char *text, *junk;
    } bad[] = {
        { "", "" },
        { ",", "" },
        { "127.0.0.1,", "" },
        { "127.0.0.1,,::1", "" },
        { "127.0.0.1, local host ,::1", "local host" },
        { "127.0.0.1 10.0.0.1", "127.0.0.1 10.0.0.1" },
        { "10.0.0.0/8", "10.0.0.0/8" },
        { "1.2.3", "1.2.3" },
        { "1.2.3.4:80", "1.2.3.4:80" },
        { "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000",
          "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(peers_parse(&peers, bad[i].text, &junk), PEERS_BAD);
        assert_true(slice_equal(junk, slice_of(bad[i].junk)));
    }
}

static void a_bad_list_leaves_the_old_one(void **state)
{
    (void)state;
    assert_int_equal(peers_parse(&peers, "127.0.0.1", &junk), PEERS_OK);
    assert_int_equal(peers_parse(&peers, "nobody", &junk), PEERS_BAD);
    assert_true(allows_v4("127.0.0.1"));
    assert_false(allows_v4("127.0.0.2"));
    assert_int_equal(peers_parse(&peers, "127.0.0.2", &junk), PEERS_OK);
    assert_false(allows_v4("127.0.0.1"));
}

static void parse_once(void *arg)
{
    enum peers_status status = peers_parse(&peers, "10.0.0.7,::1", &junk);

    (void)arg;
    if (status == PEERS_OK) {
        assert_true(allows_v4("10.0.0.7"));
        assert_false(allows_v4("127.0.0.1"));
    } else {
        assert_int_equal(status, PEERS_NO_MEMORY);
        assert_false(allows_v4("10.0.0.7")); /* the old list holds */
        assert_true(allows_v4("127.0.0.1"));
    }
}

static void running_out_of_memory_is_an_error(void **state)
{
    (void)state;
    assert_int_equal(peers_parse(&peers, "127.0.0.1", &junk), PEERS_OK);
    alloc_each_fails(parse_once, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(without_the_variable_everybody_may_connect,
                                  tear_down),
        cmocka_unit_test_teardown(only_the_listed_may_connect, tear_down),
        cmocka_unit_test_teardown(mapped_addresses_are_their_ipv4_ones,
                                  tear_down),
        cmocka_unit_test_teardown(a_peer_that_is_not_tcp_is_refused_by_a_list,
                                  tear_down),
        cmocka_unit_test_teardown(junk_in_the_list_is_shown, tear_down),
        cmocka_unit_test_teardown(a_bad_list_leaves_the_old_one, tear_down),
        cmocka_unit_test_teardown(running_out_of_memory_is_an_error, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
