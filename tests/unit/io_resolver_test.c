/* io_resolver_test.c -- what is remembered, and who waits for what.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "alloc.h"
#include "fake_dns.h"
#include "io/loop_ev.h"
#include "io/resolver.h"

enum { WAITS = 8 };

static struct loop *loop;
static struct resolver *resolver;
static struct resolver_config config;
static struct resolve_wait waits[WAITS];
static struct resolve_answer answer, heard[WAITS];
static unsigned calls[WAITS];
static char folder[64], hosts[96], resolv_conf[96];

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int set_up(void **state)
{
    (void)state;
    memset(waits, 0, sizeof(waits));
    memset(calls, 0, sizeof(calls));
    memset(&config, 0, sizeof(config));
    fake_dns_reset();
    snprintf(folder, sizeof(folder), "/tmp/fcgi-lua-resolver.XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(hosts, sizeof(hosts), "%s/hosts", folder);
    snprintf(resolv_conf, sizeof(resolv_conf), "%s/resolv.conf", folder);
    write_file(hosts, "");
    write_file(resolv_conf, "");
    setenv("CARES_HOSTS", hosts, 1);
    config.resolv_conf = resolv_conf;
    loop = loop_new();
    resolver = loop == NULL ? NULL : resolver_new(loop, &config);
    return resolver == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    resolver_del(resolver);
    loop_del(loop);
    assert_int_equal(fake_dns.made, fake_dns.deleted);
    assert_int_equal(fake_dns.count, 0);
    unlink(hosts);
    unlink(resolv_conf);
    return rmdir(folder);
}

static void on_end(struct resolve_wait *wait, const struct resolve_answer *said)
{
    calls[wait - waits]++;
    heard[wait - waits] = *said;
}

static enum resolve_status ask_for(int i, const char *name,
                                   enum resolve_family family)
{
    waits[i].on_end = on_end;
    return resolver_ask(resolver, slice_of(name), family, &waits[i], &answer);
}

static enum resolve_status ask(int i, const char *name)
{
    return ask_for(i, name, RESOLVE_BOTH);
}

static const char *text_of(const struct resolve_answer *said, unsigned i)
{
    static char text[INET6_ADDRSTRLEN];

    assert_true(i < said->count);
    return inet_ntop(said->addresses[i].is_inet6 ? AF_INET6 : AF_INET,
                     said->addresses[i].bytes, text, sizeof(text));
}

static void pass(double seconds)
{
    loop->now += seconds;
}

/* --- what needs no asking ------------------------------------------------- */

static void addresses_are_their_own_answer(void **state)
{
    (void)state;
    assert_int_equal(ask(0, "192.0.2.1"), RESOLVE_OK);
    assert_int_equal(answer.count, 1);
    assert_string_equal(text_of(&answer, 0), "192.0.2.1");
    assert_int_equal(ask_for(0, "2001:DB8::0001", RESOLVE_INET6), RESOLVE_OK);
    assert_string_equal(text_of(&answer, 0), "2001:db8::1");
    assert_int_equal(ask_for(0, "192.0.2.1", RESOLVE_INET6), RESOLVE_NOT_FOUND);
    assert_int_equal(answer.count, 0);
    assert_int_equal(ask_for(0, "::1", RESOLVE_INET), RESOLVE_NOT_FOUND);
    assert_int_equal(fake_dns.made, 0);
}

static void localhost_is_known(void **state)
{
    static const char *const names[] = { "localhost", "LOCALHOST.",
                                         "a.b.localhost" };

    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(ask(0, names[i]), RESOLVE_OK);
        assert_int_equal(answer.count, 2);
        assert_string_equal(text_of(&answer, 0), "127.0.0.1");
        assert_string_equal(text_of(&answer, 1), "::1");
        assert_int_equal(ask_for(0, names[i], RESOLVE_INET), RESOLVE_OK);
        assert_int_equal(answer.count, 1);
        assert_string_equal(text_of(&answer, 0), "127.0.0.1");
        assert_int_equal(ask_for(0, names[i], RESOLVE_INET6), RESOLVE_OK);
        assert_string_equal(text_of(&answer, 0), "::1");
    }
    assert_int_equal(fake_dns.asked, 0);
    assert_int_equal(ask(0, "xlocalhost"), RESOLVE_LATER);
}

static void what_cannot_be_a_name_is_not_found(void **state)
{
    static const char *const names[] = {
        "",       ".",     "..",    ".test",    "a..test", "a b.test",
        "a/test", "a\n",   "ü.de",  "[::1]",    "a:80",    "*.test",
        "::1%lo", "1.2:3", "a.b..", "%00.test", "a\\.b"
    };
    char label[70], name[260];

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        assert_int_equal(ask(0, names[i]), RESOLVE_NOT_FOUND);
    assert_int_equal(resolver_ask(resolver, (struct slice){ "a\0b", 3 },
                                  RESOLVE_BOTH, &waits[0], &answer),
                     RESOLVE_NOT_FOUND);
    memset(label, 'x', sizeof(label));
    label[64] = '\0';
    assert_int_equal(ask(0, label), RESOLVE_NOT_FOUND);
    for (int i = 0; i < 254; i++)
        name[i] = i % 2 == 0 ? 'x' : '.';
    name[253] = 'x';
    name[254] = '\0';
    assert_int_equal(ask(0, name), RESOLVE_NOT_FOUND);
    assert_int_equal(fake_dns.asked, 0);
}

static void what_can_be_a_name_is_asked_for_in_small_letters(void **state)
{
    static const char *const names[] = {
        "WWW.Example", "www.example.", "a", "_x._y", "xn--a.de", "1.2.3"
    };
    static const char *const asked[] = {
        "www.example", "www.example.", "a", "_x._y", "xn--a.de", "1.2.3"
    };
    char name[260];

    (void)state;
    for (int i = 0; i < 6; i++) {
        assert_int_equal(ask(i, names[i]), RESOLVE_LATER);
        assert_string_equal(fake_dns.open[i].name, asked[i]);
    }
    for (int i = 0; i < 254; i++)
        name[i] = i % 2 == 0 ? 'x' : '.';
    name[254] = '\0'; /* 253, and the last dot */
    assert_int_equal(ask(6, name), RESOLVE_LATER);
    name[253] = '\0';
    assert_int_equal(ask(7, name), RESOLVE_LATER);
}

/* --- waiting -------------------------------------------------------------- */

static void who_waits_hears_the_answer(void **state)
{
    static const char *const both[] = { "192.0.2.1", "2001:db8::1", NULL };

    (void)state;
    assert_int_equal(ask(0, "www.test"), RESOLVE_LATER);
    assert_string_equal(fake_dns.open[0].name, "www.test");
    assert_int_equal(fake_dns.open[0].family, RESOLVE_BOTH);
    assert_int_equal(calls[0], 0);
    fake_answer(0, RESOLVE_OK, both, 60);
    assert_int_equal(calls[0], 1);
    assert_int_equal(heard[0].status, RESOLVE_OK);
    assert_int_equal(heard[0].count, 2);
    assert_string_equal(text_of(&heard[0], 0), "192.0.2.1");
    assert_string_equal(text_of(&heard[0], 1), "2001:db8::1");
    resolver_stop(&waits[0]); /* too late is no trouble */
}

static void who_asks_for_the_same_shares_the_query(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++)
        assert_int_equal(ask(i, i % 2 == 0 ? "www.test" : "WWW.test"),
                         RESOLVE_LATER);
    ask_for(4, "www.test", RESOLVE_INET);
    ask(5, "other.test");
    assert_int_equal(fake_dns.count, 3);
    resolver_stop(&waits[1]);
    fake_address(0, "192.0.2.1", 0);
    for (int i = 0; i < 6; i++)
        assert_int_equal(calls[i], i < 4 && i != 1);
    assert_int_equal(ask(0, "www.test"), RESOLVE_LATER); /* a TTL of 0 */
    assert_int_equal(fake_dns.asked, 4);
}

static void a_query_that_nobody_waits_for_is_remembered(void **state)
{
    (void)state;
    ask(0, "www.test");
    resolver_stop(&waits[0]);
    resolver_stop(&waits[0]);
    fake_address(0, "192.0.2.1", 60);
    assert_int_equal(calls[0], 0);
    assert_int_equal(ask(1, "www.test"), RESOLVE_OK);
    assert_string_equal(text_of(&answer, 0), "192.0.2.1");
}

static void failures_are_told_and_not_remembered(void **state)
{
    static const enum resolve_status all[] = { RESOLVE_TIMEOUT, RESOLVE_FAILED,
                                               RESOLVE_NO_MEMORY,
                                               RESOLVE_ABSENT };

    (void)state;
    for (int i = 0; i < 4; i++) {
        assert_int_equal(ask(i, "www.test"), RESOLVE_LATER);
        fake_answer(0, all[i], NULL, 0);
        assert_int_equal(calls[i], 1);
        assert_int_equal(heard[i].status, all[i]);
        assert_int_equal(heard[i].count, 0);
    }
}

static void the_end_is_not_told(void **state)
{
    (void)state;
    ask(0, "www.test");
    ask(1, "www.test");
    ask(2, "other.test");
    resolver_del(resolver);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(calls[i], 0);
        assert_null(waits[i].lookup);
        resolver_stop(&waits[i]);
    }
    resolver = NULL;
}

/* --- remembering ---------------------------------------------------------- */

static void an_answer_holds_for_its_time(void **state)
{
    (void)state;
    ask(0, "www.test");
    fake_address(0, "192.0.2.1", 60);
    pass(59);
    assert_int_equal(ask(0, "www.test"), RESOLVE_OK);
    assert_string_equal(text_of(&answer, 0), "192.0.2.1");
    pass(2);
    assert_int_equal(ask(0, "www.test"), RESOLVE_LATER);
    fake_address(0, "192.0.2.2", 60);
    assert_int_equal(ask(0, "www.test"), RESOLVE_OK);
    assert_string_equal(text_of(&answer, 0), "192.0.2.2");
}

static void so_does_that_there_is_none(void **state)
{
    (void)state;
    ask(0, "www.test");
    fake_answer(0, RESOLVE_NOT_FOUND, NULL, 5);
    assert_int_equal(ask(0, "www.test"), RESOLVE_NOT_FOUND);
    pass(6);
    assert_int_equal(ask(0, "www.test"), RESOLVE_LATER);
}

static void what_a_file_says_is_known_at_once_and_holds(void **state)
{
    (void)state;
    fake_dns.at_once = "192.0.2.7";
    assert_int_equal(ask(0, "www.test"), RESOLVE_OK);
    assert_string_equal(text_of(&answer, 0), "192.0.2.7");
    fake_dns.at_once = NULL;
    assert_int_equal(ask(0, "www.test"), RESOLVE_OK);
    assert_int_equal(fake_dns.asked, 1);
    assert_int_equal(calls[0], 0);
    pass(RESOLVE_TTL_HOSTS + 1);
    assert_int_equal(ask(0, "www.test"), RESOLVE_LATER);
}

static void the_one_used_longest_ago_makes_room(void **state)
{
    char name[32];

    (void)state;
    for (int i = 0; i < RESOLVE_CACHE_MAX; i++) {
        snprintf(name, sizeof(name), "n%d.test", i);
        assert_int_equal(ask(0, name), RESOLVE_LATER);
        fake_address(0, "192.0.2.1", 60);
    }
    assert_int_equal(ask(0, "n0.test"), RESOLVE_OK);
    assert_int_equal(ask(0, "more.test"), RESOLVE_LATER);
    fake_address(0, "192.0.2.1", 60);
    assert_int_equal(ask(0, "n0.test"), RESOLVE_OK);
    assert_int_equal(ask(0, "n2.test"), RESOLVE_OK);
    assert_int_equal(ask(0, "more.test"), RESOLVE_OK);
    assert_int_equal(ask(0, "n1.test"), RESOLVE_LATER);
}

static void only_so_many_are_asked_for_at_once(void **state)
{
    static struct resolve_wait many[RESOLVE_AT_ONCE];
    char name[32];

    (void)state;
    for (int i = 0; i < RESOLVE_AT_ONCE; i++) {
        snprintf(name, sizeof(name), "n%d.test", i);
        many[i].on_end = NULL;
        resolver_ask(resolver, slice_of(name), RESOLVE_BOTH, &many[i], &answer);
        resolver_stop(&many[i]);
    }
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof(name), "late%d.test", i / 2 * 2); /* two share */
        assert_int_equal(ask(i, name), RESOLVE_LATER);
    }
    assert_int_equal(ask(4, "later.test"), RESOLVE_LATER);
    assert_int_equal(fake_dns.count, RESOLVE_AT_ONCE);
    resolver_stop(&waits[2]); /* nobody waits for the second any more */
    resolver_stop(&waits[3]);
    fake_answer(0, RESOLVE_TIMEOUT, NULL, 0);
    fake_answer(0, RESOLVE_TIMEOUT, NULL, 0);
    assert_int_equal(fake_dns.count, RESOLVE_AT_ONCE);
    assert_int_equal(fake_dns.asked, RESOLVE_AT_ONCE + 2);
    for (unsigned i = 0; i < fake_dns.count;) {
        if (strncmp(fake_dns.open[i].name, "late", 4) == 0)
            fake_address(i, "192.0.2.1", 0);
        else
            i++;
    }
    assert_int_equal(calls[0] + calls[1] + calls[4], 3);
    assert_int_equal(calls[2] + calls[3], 0);
}

static unsigned ended;

static void count_end(struct resolve_wait *wait,
                      const struct resolve_answer *said)
{
    (void)wait;
    ended += said->status == RESOLVE_OK;
}

/* Each would begin the next inside the one before. */
static void many_that_a_file_answers_are_no_recursion(void **state)
{
    static struct resolve_wait many[RESOLVE_AT_ONCE + 20000];
    char name[32];

    (void)state;
    ended = 0;
    for (int i = 0; i < RESOLVE_AT_ONCE + 20000; i++) {
        snprintf(name, sizeof(name), "n%d.test", i);
        many[i].on_end = count_end;
        assert_int_equal(resolver_ask(resolver, slice_of(name), RESOLVE_BOTH,
                                      &many[i], &answer),
                         RESOLVE_LATER);
    }
    fake_dns.at_once = "192.0.2.7";
    fake_answer(0, RESOLVE_TIMEOUT, NULL, 0);
    assert_int_equal(ended, 20000);
}

/* --- changes -------------------------------------------------------------- */

static void remember_one(void)
{
    ask(0, "www.test");
    fake_address(0, "192.0.2.1", 600);
    assert_int_equal(ask(0, "www.test"), RESOLVE_OK);
}

static void a_change_of_the_hosts_file_is_noticed(void **state)
{
    (void)state;
    remember_one();
    write_file(hosts, "192.0.2.9 www.test\n");
    assert_int_equal(ask(0, "www.test"), RESOLVE_OK); /* within a second */
    pass(2);
    assert_int_equal(ask(0, "www.test"), RESOLVE_LATER);
    assert_int_equal(fake_dns.made, 1);
    fake_address(0, "192.0.2.9", 600);
    pass(2);
    assert_int_equal(ask(0, "www.test"), RESOLVE_OK);
    unlink(hosts);
    pass(2);
    assert_int_equal(ask(0, "www.test"), RESOLVE_LATER);
    fake_address(0, "192.0.2.1", 600);
    pass(2);
    assert_int_equal(ask(0, "www.test"), RESOLVE_OK); /* it is still missing */
    write_file(hosts, "");
    pass(2);
    assert_int_equal(ask(0, "www.test"), RESOLVE_LATER);
}

static void a_change_of_resolv_conf_is_noticed(void **state)
{
    (void)state;
    remember_one();
    ask(1, "slow.test");
    write_file(resolv_conf, "nameserver 192.0.2.53\n");
    pass(2);
    assert_int_equal(ask(0, "www.test"), RESOLVE_LATER);
    assert_int_equal(fake_dns.made, 2);
    assert_int_equal(fake_dns.deleted, 0); /* it is asked still */
    assert_int_equal(ask(2, "slow.test"), RESOLVE_LATER);
    assert_int_equal(fake_dns.count, 3);
    fake_address(0, "192.0.2.3", 600); /* the first one */
    assert_int_equal(fake_dns.deleted, 1);
    assert_int_equal(calls[1], 1);
    assert_int_equal(calls[2], 0);
    assert_int_equal(ask(3, "slow.test"), RESOLVE_LATER);
    write_file(resolv_conf, "nameserver 192.0.2.54\n\n");
    pass(2);
    ask(4, "more.test");
    assert_int_equal(fake_dns.made, 3);
}

/* Two with questions, and the one in use. */
static void the_end_ends_retired_ones(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        static const char *const texts[] = { "#", "##", "###" };

        assert_int_equal(ask(i, "www.test"), RESOLVE_LATER);
        write_file(resolv_conf, texts[i]);
        pass(2);
    }
    assert_int_equal(fake_dns.made, 3);
    assert_int_equal(fake_dns.deleted, 0);
}

static void an_end_with_a_queue_is_no_trouble(void **state)
{
    static struct resolve_wait many[RESOLVE_AT_ONCE];
    char name[32];

    (void)state;
    for (int i = 0; i < RESOLVE_AT_ONCE; i++) {
        snprintf(name, sizeof(name), "n%d.test", i);
        resolver_ask(resolver, slice_of(name), RESOLVE_BOTH, &many[i], &answer);
    }
    assert_int_equal(ask(0, "late.test"), RESOLVE_LATER);
    assert_int_equal(ask(1, "late.test"), RESOLVE_LATER);
    resolver_del(resolver);
    resolver = NULL;
    assert_null(waits[0].lookup);
    assert_null(many[0].lookup);
    assert_int_equal(calls[0], 0);
}

/* --- trouble -------------------------------------------------------------- */

static void without_servers_it_fails(void **state)
{
    (void)state;
    fake_dns.cannot_be_made = true;
    assert_int_equal(ask(0, "www.test"), RESOLVE_FAILED);
    fake_dns.cannot_be_made = false;
    assert_int_equal(ask(0, "www.test"), RESOLVE_LATER);
}

static void servers_are_handed_on(void **state)
{
    char one[] = "192.0.2.1,[::1]:5353", two[] = "2001:db8::1";
    char *servers[] = { one, two };

    (void)state;
    resolver_del(resolver);
    config.servers = servers;
    config.server_count = 2;
    resolver = resolver_new(loop, &config);
    assert_non_null(resolver);
    ask(0, "www.test");
    assert_string_equal(fake_dns.servers,
                        "192.0.2.1:53,[::1]:5353,[2001:db8::1]:53");
}

static void look_up_or_fail(void *arg)
{
    char server[] = "192.0.2.1";
    char *servers[] = { server };
    struct resolver_config mine = { servers, 1, resolv_conf };
    struct resolver *one = resolver_new(loop, &mine);
    struct resolve_wait wait = { .on_end = count_end };
    enum resolve_status status;

    (void)arg;
    if (one == NULL)
        return;
    status =
        resolver_ask(one, slice_of("www.test"), RESOLVE_BOTH, &wait, &answer);
    if (status == RESOLVE_LATER) {
        ended = 0;
        fake_address(0, "192.0.2.1", 60);
        assert_int_equal(ended, 1); /* though it may not be remembered */
        status = resolver_ask(one, slice_of("www.test"), RESOLVE_BOTH, &wait,
                              &answer);
        assert_true(status == RESOLVE_OK || status == RESOLVE_LATER ||
                    status == RESOLVE_NO_MEMORY);
    } else {
        assert_true(status == RESOLVE_NO_MEMORY || status == RESOLVE_FAILED);
    }
    resolver_del(one);
}

static void without_memory_it_fails_cleanly(void **state)
{
    (void)state;
    alloc_each_fails(look_up_or_fail, NULL);
    resolver_del(NULL);
}

#define RESOLVER_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RESOLVER_TEST(addresses_are_their_own_answer),
        RESOLVER_TEST(localhost_is_known),
        RESOLVER_TEST(what_cannot_be_a_name_is_not_found),
        RESOLVER_TEST(what_can_be_a_name_is_asked_for_in_small_letters),
        RESOLVER_TEST(who_waits_hears_the_answer),
        RESOLVER_TEST(who_asks_for_the_same_shares_the_query),
        RESOLVER_TEST(a_query_that_nobody_waits_for_is_remembered),
        RESOLVER_TEST(failures_are_told_and_not_remembered),
        RESOLVER_TEST(the_end_is_not_told),
        RESOLVER_TEST(an_answer_holds_for_its_time),
        RESOLVER_TEST(so_does_that_there_is_none),
        RESOLVER_TEST(what_a_file_says_is_known_at_once_and_holds),
        RESOLVER_TEST(the_one_used_longest_ago_makes_room),
        RESOLVER_TEST(only_so_many_are_asked_for_at_once),
        RESOLVER_TEST(many_that_a_file_answers_are_no_recursion),
        RESOLVER_TEST(a_change_of_the_hosts_file_is_noticed),
        RESOLVER_TEST(a_change_of_resolv_conf_is_noticed),
        RESOLVER_TEST(the_end_ends_retired_ones),
        RESOLVER_TEST(an_end_with_a_queue_is_no_trouble),
        RESOLVER_TEST(without_servers_it_fails),
        RESOLVER_TEST(servers_are_handed_on),
        RESOLVER_TEST(without_memory_it_fails_cleanly),
    };

    return cmocka_run_group_tests_name("io/resolver", tests, NULL, NULL);
}
