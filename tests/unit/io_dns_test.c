/* io_dns_test.c -- c-ares in the loop, against a name server in this process.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <arpa/inet.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "alloc.h"
#include "io/dns.h"

enum { TYPE_A = 1, TYPE_CNAME = 5, TYPE_AAAA = 28, TTL = 300 };
enum { NOERROR, SERVFAIL = 2, NXDOMAIN = 3, REFUSED = 5 };
enum { MESSAGE_MAX = 4096, HEAD = 12 };

static struct loop *loop;
static struct dns *dns;
static struct question question;
static struct resolve_answer heard;
static unsigned answers, heard_ttl;
static char servers[64], hosts[64];

/* How the server behaves. */
static struct {
    int udp, tcp;
    int code;
    unsigned addresses; /* of each family */
    bool is_silent, truncates, has_cname, is_garbage;
    unsigned udp_queries, tcp_queries;
} server;

/* --- the server ----------------------------------------------------------- */

static size_t put16(unsigned char *at, unsigned value)
{
    at[0] = (unsigned char)(value >> 8);
    at[1] = (unsigned char)value;
    return 2;
}

/* A record whose name is the question's, or the one of the record before. */
static size_t put_record(unsigned char *at, unsigned name, unsigned type,
                         unsigned ttl, const void *data, size_t len)
{
    size_t n = put16(at, 0xc000 | name);

    n += put16(at + n, type);
    n += put16(at + n, 1);
    n += put16(at + n, ttl >> 16);
    n += put16(at + n, ttl & 0xffff);
    n += put16(at + n, (unsigned)len);
    memcpy(at + n, data, len);
    return n + len;
}

/* The query, which ends with its question, becomes the answer. */
static size_t answer_to(unsigned char *message, size_t len, bool over_udp)
{
    unsigned type = message[len - 3], count = 0, name = HEAD;
    unsigned char address[16] = { 192, 0, 2, 0 };

    if (server.is_garbage) {
        memset(message + 2, 0xff, len - 2);
        return len;
    }
    put16(message + 2, 0x8180u | (unsigned)server.code);
    if (server.truncates && over_udp) {
        message[2] |= 2;
    } else if (server.code == NOERROR) {
        if (server.has_cname) { /* "real" below the same root */
            unsigned char alias[] = { 4, 'r', 'e', 'a', 'l', 0 };

            name = (unsigned)len + 12;
            len += put_record(message + len, HEAD, TYPE_CNAME, 7, alias,
                              sizeof(alias));
            count++;
        }
        for (unsigned i = 1; i <= server.addresses; i++) {
            address[type == TYPE_A ? 3 : 15] = (unsigned char)i;
            len += put_record(message + len, name, type, TTL, address,
                              type == TYPE_A ? 4 : 16);
            count++;
        }
    }
    put16(message + 6, count);
    return len;
}

static void serve_udp(void)
{
    unsigned char message[MESSAGE_MAX];
    struct sockaddr_storage from;
    socklen_t from_len = sizeof(from);
    ssize_t n = recvfrom(server.udp, message, sizeof(message), MSG_DONTWAIT,
                         (struct sockaddr *)&from, &from_len);

    if (n <= 0)
        return;
    server.udp_queries++;
    if (server.is_silent)
        return;
    n = (ssize_t)answer_to(message, (size_t)n, true);
    assert_int_equal(sendto(server.udp, message, (size_t)n, 0,
                            (struct sockaddr *)&from, from_len),
                     n);
}

/* Queries come one behind the other on one connection. */
static void serve_tcp(void)
{
    static int conn = -1;
    unsigned char message[MESSAGE_MAX];

    if (conn == -1)
        conn = accept4(server.tcp, NULL, NULL, SOCK_NONBLOCK);
    while (conn != -1) {
        ssize_t n = recv(conn, message, 2, MSG_PEEK);

        if (n == 2)
            n = recv(conn, message, 2 + (size_t)message[1], 0);
        if (n > 2) {
            size_t len;

            server.tcp_queries++;
            len = answer_to(message + 2, (size_t)n - 2, false);
            put16(message, (unsigned)len);
            assert_int_equal(send(conn, message, len + 2, MSG_NOSIGNAL),
                             len + 2);
        } else if (n == 0) {
            close(conn);
            conn = -1;
        } else {
            return;
        }
    }
}

static void turn(void)
{
    serve_udp();
    serve_tcp();
    loop_turn(loop, false);
}

static int open_server(void)
{
    struct sockaddr_in at = { .sin_family = AF_INET };
    socklen_t len = sizeof(at);

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server.udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    server.tcp = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (bind(server.tcp, (struct sockaddr *)&at, sizeof(at)) == -1 ||
        listen(server.tcp, 8) == -1 ||
        getsockname(server.tcp, (struct sockaddr *)&at, &len) == -1 ||
        bind(server.udp, (struct sockaddr *)&at, sizeof(at)) == -1)
        return -1;
    snprintf(servers, sizeof(servers), "127.0.0.1:%d", ntohs(at.sin_port));
    return 0;
}

/* --- the tests' own ------------------------------------------------------- */

static void note(struct question *asked, const struct resolve_answer *answer,
                 unsigned ttl)
{
    assert_ptr_equal(asked, &question);
    heard = *answer;
    heard_ttl = ttl;
    answers++;
}

static unsigned count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned n = 0;

    assert_non_null(dir);
    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n;
}

static int set_up(void **state)
{
    int fd;

    (void)state;
    memset(&server, 0, sizeof(server));
    answers = 0;
    question = (struct question){ .answered = note };
    snprintf(hosts, sizeof(hosts), "/tmp/fcgi-lua-hosts.XXXXXX");
    fd = mkstemp(hosts);
    if (fd == -1)
        return -1;
    dprintf(fd, "192.0.2.77 file.test\n2001:db8::77 file.test\n");
    close(fd);
    setenv("CARES_HOSTS", hosts, 1);
    setenv("LOCALDOMAIN", "", 1); /* no search */
    loop = loop_new();
    if (loop == NULL || open_server() == -1)
        return -1;
    dns = dns_new(loop, servers, NULL);
    return dns == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    dns_del(dns);
    server.is_silent = true;
    turn(); /* takes back a connection that was closed */
    loop_del(loop);
    close(server.udp);
    close(server.tcp);
    return unlink(hosts);
}

static void ask(const char *name, enum resolve_family family)
{
    double end = loop_now() + 20;

    answers = 0;
    dns_ask(dns, &question, name, family);
    while (answers == 0 && loop_now() < end)
        turn();
    assert_int_equal(answers, 1);
}

static void assert_address(unsigned i, const char *text)
{
    char out[INET6_ADDRSTRLEN];

    assert_true(i < heard.count);
    inet_ntop(heard.addresses[i].is_inet6 ? AF_INET6 : AF_INET,
              heard.addresses[i].bytes, out, sizeof(out));
    assert_string_equal(out, text);
}

/* --- answers -------------------------------------------------------------- */

static void addresses_come_with_their_ttl(void **state)
{
    (void)state;
    server.addresses = 2;
    ask("www.test", RESOLVE_INET);
    assert_int_equal(heard.status, RESOLVE_OK);
    assert_int_equal(heard.count, 2);
    assert_address(0, "192.0.2.1");
    assert_address(1, "192.0.2.2");
    assert_int_equal(heard_ttl, TTL);
    assert_int_equal(server.udp_queries, 1);
}

static void both_families_are_asked_for(void **state)
{
    (void)state;
    server.addresses = 1;
    ask("www.test", RESOLVE_BOTH);
    assert_int_equal(heard.count, 2);
    assert_int_equal(heard.addresses[0].is_inet6 + heard.addresses[1].is_inet6,
                     1);
    ask("www.test", RESOLVE_INET6);
    assert_int_equal(heard.count, 1);
    assert_address(0, "c000:200::1");
    assert_int_equal(server.udp_queries, 3);
}

static void the_ttl_of_an_alias_counts(void **state)
{
    (void)state;
    server.addresses = 1;
    server.has_cname = true;
    ask("www.test", RESOLVE_INET);
    assert_int_equal(heard.count, 1);
    assert_int_equal(heard_ttl, 7);
}

static void failures_are_told_apart(void **state)
{
    static const struct {
        int code;
        enum resolve_status status;
        unsigned ttl;
    } all[] = {
        { NOERROR, RESOLVE_NOT_FOUND, RESOLVE_TTL_NEGATIVE }, /* no address */
        { NXDOMAIN, RESOLVE_NOT_FOUND, RESOLVE_TTL_NEGATIVE },
        { SERVFAIL, RESOLVE_FAILED, 0 },
        { REFUSED, RESOLVE_FAILED, 0 },
    };

    (void)state;
    for (int i = 0; i < 4; i++) {
        server.code = all[i].code;
        ask("www.test", RESOLVE_BOTH);
        assert_int_equal(heard.status, all[i].status);
        assert_int_equal(heard.count, 0);
        assert_int_equal(heard_ttl, all[i].ttl);
    }
}

static void what_is_cut_off_is_asked_for_over_tcp(void **state)
{
    (void)state;
    server.addresses = 40;
    server.truncates = true;
    ask("www.test", RESOLVE_BOTH);
    assert_int_equal(heard.status, RESOLVE_OK);
    assert_int_equal(heard.count, RESOLVE_ADDRESSES_MAX); /* of 80 */
    assert_int_equal(server.tcp_queries, 2);
}

static void the_hosts_file_answers_at_once(void **state)
{
    (void)state;
    dns_ask(dns, &question, "file.test", RESOLVE_BOTH);
    assert_int_equal(answers, 1);
    assert_int_equal(heard.status, RESOLVE_OK);
    assert_int_equal(heard.count, 2);
    dns_ask(dns, &question, "file.test", RESOLVE_INET);
    assert_int_equal(heard.count, 1);
    assert_address(0, "192.0.2.77");
    assert_int_equal(server.udp_queries, 0);
}

/* www.test, then in each of them. */
static void resolv_conf_says_where_to_search(void **state)
{
    char path[] = "/tmp/fcgi-lua-resolv.XXXXXX";
    int fd = mkstemp(path);

    (void)state;
    assert_int_not_equal(fd, -1);
    dprintf(fd, "nameserver 192.0.2.53\nsearch one.test two.test\n");
    close(fd);
    unsetenv("LOCALDOMAIN");
    dns_del(dns);
    dns = dns_new(loop, servers, path);
    unlink(path);
    assert_non_null(dns);
    server.code = NXDOMAIN;
    ask("www.test", RESOLVE_INET);
    assert_int_equal(heard.status, RESOLVE_NOT_FOUND);
    assert_int_equal(server.udp_queries, 3);
}

/* Nobody listens there. */
static void a_refused_query_is_a_failure(void **state)
{
    (void)state;
    close(server.udp);
    server.udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ask("www.test", RESOLVE_INET);
    assert_int_equal(heard.status, RESOLVE_FAILED);
}

/* --- its end -------------------------------------------------------------- */

static void begin_in_silence(void)
{
    server.is_silent = true;
    dns_ask(dns, &question, "www.test", RESOLVE_BOTH);
    while (server.udp_queries < 2)
        turn();
    assert_int_equal(answers, 0);
}

static void garbage_is_no_answer(void **state)
{
    (void)state;
    server.is_garbage = true;
    dns_ask(dns, &question, "www.test", RESOLVE_BOTH);
    while (server.udp_queries < 2)
        turn();
    for (int i = 0; i < 3; i++)
        turn();
    assert_int_equal(answers, 0);
}

static void sockets_are_open_while_there_are_questions(void **state)
{
    unsigned before = count_fds();

    (void)state;
    begin_in_silence();
    assert_true(count_fds() > before);
    server.is_silent = false;
    server.addresses = 1;
    dns_ask(dns, &question, "other.test", RESOLVE_INET);
    while (answers == 0)
        turn();
    assert_address(0, "192.0.2.1");
}

static void who_asks_when_it_is_deleted_hears_of_it(void **state)
{
    unsigned before = count_fds();

    (void)state;
    begin_in_silence();
    dns_del(dns);
    dns = NULL;
    assert_int_equal(answers, 1);
    assert_int_equal(heard.status, RESOLVE_FAILED);
    assert_int_equal(count_fds(), before);
    for (int i = 0; i < 3; i++)
        turn();
}

static void a_retired_one_lives_until_its_last_answer(void **state)
{
    struct list retired;
    unsigned before = count_fds();

    (void)state;
    list_init(&retired);
    server.addresses = 1;
    dns_ask(dns, &question, "www.test", RESOLVE_BOTH);
    dns_retire(dns, &retired);
    dns = NULL;
    assert_false(list_is_empty(&retired));
    while (answers == 0)
        turn();
    assert_int_equal(heard.count, 2);
    assert_true(list_is_empty(&retired));
    assert_int_equal(count_fds(), before);
}

static void a_retired_one_may_be_deleted_before(void **state)
{
    struct list retired;

    (void)state;
    list_init(&retired);
    begin_in_silence();
    dns_retire(dns, &retired);
    dns_del_retired(&retired);
    assert_int_equal(answers, 1);
    assert_int_equal(heard.status, RESOLVE_FAILED);
    dns = dns_new(loop, servers, NULL);
    assert_non_null(dns);
    dns_retire(dns, &retired); /* nobody has asked it */
    assert_true(list_is_empty(&retired));
    dns = NULL;
}

static void make_and_delete(void *arg)
{
    (void)arg;
    dns_del(dns_new(loop, servers, NULL));
}

static void without_memory_there_is_none(void **state)
{
    (void)state;
    alloc_each_fails(make_and_delete, NULL);
    assert_non_null(strstr(resolver_library(), "c-ares "));
}

#define DNS_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        DNS_TEST(addresses_come_with_their_ttl),
        DNS_TEST(both_families_are_asked_for),
        DNS_TEST(the_ttl_of_an_alias_counts),
        DNS_TEST(failures_are_told_apart),
        DNS_TEST(what_is_cut_off_is_asked_for_over_tcp),
        DNS_TEST(the_hosts_file_answers_at_once),
        DNS_TEST(resolv_conf_says_where_to_search),
        DNS_TEST(a_refused_query_is_a_failure),
        DNS_TEST(garbage_is_no_answer),
        DNS_TEST(sockets_are_open_while_there_are_questions),
        DNS_TEST(who_asks_when_it_is_deleted_hears_of_it),
        DNS_TEST(a_retired_one_lives_until_its_last_answer),
        DNS_TEST(a_retired_one_may_be_deleted_before),
        DNS_TEST(without_memory_there_is_none),
    };

    return cmocka_run_group_tests_name("io/dns", tests, NULL, NULL);
}
