/* script_lua_udp_test.c -- sockets of datagrams in scripts.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "alloc.h"
#include "fake_dns.h"
#include "script_rig.h"

#include <sys/resource.h>
#include <sys/socket.h>

static struct rig_request request;

static int set_up(void **state)
{
    fake_dns_reset();
    return rig_set_up(state);
}

/* The statements see a server, bound to host and port, and a client of it. */
static void run(const char *statements)
{
    static char text[12 * 1024];

    snprintf(text, sizeof(text),
             "local server <close> = fcgi.udp()\n"
             "assert(server:setsockname('127.0.0.1', 0))\n"
             "local host, port = server:getsockname()\n"
             "local client <close> = fcgi.udp()\n"
             "assert(client:setpeername(host, port))\n%s",
             statements);
    rig_run_lua(text);
}

/* --- datagrams ------------------------------------------------------------ */

static void datagrams_go_to_and_fro(void **state)
{
    (void)state;
    run("equal(client:send('hello'), 1)\n"
        "local text, ip, number = server:receivefrom()\n"
        "equal(show(text, ip, number), show('hello', client:getsockname())\n"
        "  :match('^(.*), inet$'))\n"
        "equal(server:sendto('world', ip, number), 1)\n"
        "equal(client:receive(), 'world')\n"
        "equal(client:send(''), 1)\n"
        "equal(server:receive(), '')\n"
        "client:send('hello')\n"
        "equal(server:receive(4), 'hell')\n"
        "client:send('hello')\n"
        "equal(server:receive(0), '')\n"
        "local long = ('x'):rep(65507)\n"
        "equal(client:send(long), 1)\n"
        "equal(server:receive(1 << 40) == long, true)\n"
        "equal(show(client:send(long .. 'x')), 'nil, Message too long')\n"
        "server:settimeout(0)\n"
        "equal(show(server:receive()), 'nil, timeout')\n"
        "equal(show(server:receivefrom()), 'nil, timeout')\n");
}

static void what_is_sent_may_be_a_list(void **state)
{
    (void)state;
    run("client:send { 'SET ', { 'a', { 1, 2.5 } }, {} }\n"
        "equal(server:receive(), 'SET a12.5')\n"
        "client:send(12)\n"
        "equal(server:receive(), '12')\n"
        "server:sendto({ 'x', 'y' }, client:getsockname())\n"
        "equal(client:receive(), 'xy')\n"
        "client:send {}\n"
        "equal(server:receive(), '')\n"
        "raises('got boolean', client.send, client, { true })\n"
        "raises('string expected, got nil', client.send, client)\n"
        "raises('string expected, got boolean', client.sendto, client, true,\n"
        "  host, port)\n");
}

static void who_waits_gets_what_comes_later(void **state)
{
    (void)state;
    run("local t = fcgi.spawn(server.receive, server)\n"
        "fcgi.sleep(0.001)\n"
        "client:send('late')\n"
        "equal(t:join(), 'late')\n"
        "for i = 1, 200 do client:send(i) end\n"
        "for i = 1, 200 do equal(server:receive(), tostring(i)) end\n");
}

static void limits_of_time_hold(void **state)
{
    (void)state;
    run("equal(show(client:gettimeout()), '-1.0, -1.0')\n"
        "equal(client:settimeout(0.02), 1)\n"
        "equal(client:settimeout(5, 't'), 1)\n"
        "equal(show(client:gettimeout()), '0.02, 5.0')\n"
        "local start = fcgi.now()\n"
        "equal(show(client:receive()), 'nil, timeout')\n"
        "equal(fcgi.now() - start >= 0.02, true)\n"
        "client:settimeout(0.01, 't')\n"
        "client:settimeout(-1)\n"
        "equal(show(client:receive()), 'nil, timeout')\n"
        "client:settimeout()\n"
        "client:settimeout(math.huge, 'r')\n"
        "equal(show(client:gettimeout()), '-1.0, -1.0')\n"
        "raises('invalid timeout mode', client.settimeout, client, 1, 'x')\n"
        "raises('number expected', client.settimeout, client, {})\n");
}

static void one_task_reads_at_a_time(void **state)
{
    (void)state;
    run("local t = fcgi.spawn(server.receive, server)\n"
        "fcgi.sleep(0)\n"
        "equal(show(server:receive()), 'nil, socket busy reading')\n"
        "client:send('x')\n"
        "equal(t:join(), 'x')\n"
        "t = fcgi.spawn(server.receive, server)\n"
        "fcgi.sleep(0)\n"
        "t:cancel('enough')\n"
        "equal(show(t:join()), 'nil, enough')\n"
        "client:send('y')\n"
        "equal(server:receive(), 'y')\n");
}

/* A unix socket whose peer does not read waits; a name of its own for each run.
 */
static const char stuck[] =
    "local a <close> = fcgi.udp()\n"
    "local path = 'unix:@' .. fcgi.now()\n"
    "local b <close> = fcgi.udp()\n"
    "assert(b:setsockname(path)) assert(a:setpeername(path))\n"
    "a:settimeout(0)\n"
    "local sent = 0\n"
    "while a:send(sent) do sent = sent + 1 end\n"
    "a:settimeout()\n";

static void who_sends_waits_for_room(void **state)
{
    static char text[2048];

    (void)state;
    snprintf(text, sizeof(text),
             "%slocal t = fcgi.spawn(a.send, a, 'late')\n"
             "fcgi.sleep(0)\n"
             "equal(show(a:send('x')), 'nil, socket busy writing')\n"
             "for i = 0, sent - 1 do equal(b:receive(), tostring(i)) end\n"
             "equal(t:join(), 1)\n"
             "equal(b:receive(), 'late')\n"
             "a:settimeout(0.01)\n"
             "while a:send('x') do end\n"
             "equal(show(a:send('x')), 'nil, timeout')\n"
             "t = fcgi.spawn(a.sendto, a, 'to', path)\n"
             "a:settimeout()\n"
             "fcgi.sleep(0)\n"
             "b:settimeout(0.05)\n"
             "local last\n"
             "for text in function() return (b:receive()) end do\n"
             "  last = text\n"
             "end\n"
             "equal(t:join(), 1)\n"
             "equal(last, 'to')\n",
             stuck);
    rig_run_lua(text);
}

/* --- addresses ------------------------------------------------------------ */

static void a_peer_may_come_and_go(void **state)
{
    (void)state;
    run("local _, mine = client:getsockname()\n"
        "equal(show(client:getpeername()), show(host, port, 'inet'))\n"
        "equal(tostring(client):match('^udp{(%a+)}: 0x'), 'connected')\n"
        "equal(client:setpeername('*'), 1)\n"
        "equal(show(client:getpeername()), 'nil, not connected')\n"
        "equal(tostring(client):match('^udp{(%a+)}'), 'unconnected')\n"
        "equal(show(client:send('x')), 'nil, not connected')\n"
        "equal(show(select(2, client:getsockname())), show(mine, 'inet'))\n"
        "equal(client:sendto('x', host, port), 1)\n"
        "equal(select(3, server:receivefrom()), mine)\n"
        "equal(client:setpeername(host, port), 1)\n"
        "equal(client:setpeername('unix:/nowhere'), nil)\n"
        "equal(client:getfamily(), 'unix')\n"
        "equal(client:setpeername(host, port), 1)\n" /* it may change */
        "equal(show(server:setpeername('unix:/nowhere')),\n"
        "  'nil, Address family not supported by protocol')\n"
        "equal(fcgi.udp():setpeername('*'), 1)\n");
}

static void a_peer_that_is_not_there_refuses(void **state)
{
    (void)state;
    run("server:close()\n"
        "equal(client:send('x'), 1)\n"
        "client:settimeout(5)\n"
        "equal(show(client:receive()), 'nil, connection refused')\n");
}

static void what_has_no_address_yet_says_so(void **state)
{
    (void)state;
    run("local udp = fcgi.udp()\n"
        "equal(udp:getfd(), -1)\n"
        "equal(udp:getfamily(), 'unspec')\n"
        "equal(show(udp:getsockname()), 'nil, closed')\n"
        "equal(show(udp:send('x')), 'nil, not connected')\n"
        "equal(show(udp:receive()), 'nil, not connected')\n"
        "equal(udp:dirty(), false)\n"
        "equal(udp:setsockname('*', 0), 1)\n"
        "equal((udp:getsockname()), '0.0.0.0')\n"
        "equal(udp:getfamily(), 'inet4')\n"
        "equal(show(udp:setsockname('127.0.0.1', 0)),\n"
        "  'nil, Invalid argument')\n"
        "equal(show(udp:sendto('x', '::1', port)),\n"
        "  'nil, Address family not supported by protocol')\n"
        "equal(udp:close(), 1)\n"
        "equal(udp:close(), 1)\n");
}

static void unix_sockets_have_paths(void **state)
{
    (void)state;
    run("local path = os.tmpname()\n"
        "os.remove(path)\n"
        "local a <close> = fcgi.udp()\n"
        "equal(a:setsockname('unix:' .. path), 1)\n"
        "local c <close> = fcgi.udp()\n"
        "equal(c:setpeername('unix:' .. path), 1)\n"
        "equal(show(c:getpeername()), show(path, nil, 'unix'))\n"
        "c:send('question')\n"
        "local text, from, none = a:receivefrom()\n"
        "equal(show(text, from:sub(1, 1), none), 'question, @, nil')\n"
        "equal(a:sendto('answer', 'unix:' .. from), 1)\n"
        "equal(c:receive(), 'answer')\n"
        "os.remove(path)\n"
        "equal(show(c:sendto('x', 'unix:/nowhere/at/all')),\n"
        "  'nil, No such file or directory')\n"
        "equal(show(c:setpeername('unix:' .. ('x'):rep(200))),\n"
        "  'nil, File name too long')\n");
}

static void names_are_looked_up(void **state)
{
    (void)state;
    fake_dns.at_once = "127.0.0.1";
    run("local udp <close> = fcgi.udp()\n"
        "equal(udp:sendto('x', 'www.test', port), 1)\n"
        "equal(server:receive(), 'x')\n"
        "equal(udp:setpeername('WWW.test', port), 1)\n"
        "equal((udp:getpeername()), '127.0.0.1')\n"
        "local other <close> = fcgi.udp()\n"
        "equal(select('#', other:setsockname('localhost', 0)), 1)\n"
        "equal((other:getsockname()), '127.0.0.1')\n"
        "equal(show(other:sendto('x', 'no name', port)),\n"
        "  'nil, host not found')\n"
        "equal(show(other:sendto('x', '127.0.0.1\\0', port)),\n"
        "  'nil, host not found')\n");
}

/* The first is one that a socket of IPv4 does not take. */
static void the_addresses_of_a_name_are_tried_in_turn(void **state)
{
    static const char *const two[] = { "::1", "127.0.0.1", NULL };
    static const char source[] =
        "local fcgi = require 'fcgi'\n"
        "function on_request()\n"
        "  local udp <close> = fcgi.udp()\n"
        "  udp:setsockname('127.0.0.1', 0)\n"
        "  local ok, err = udp:setpeername('www.test', 9)\n"
        "  return 200, nil, ok and udp:getpeername() or err\n"
        "end";

    (void)state;
    rig_open(source);
    rig_start(&request);
    rig_turns(1);
    assert_int_equal(fake_dns.open[0].family, RESOLVE_INET);
    fake_answer(0, RESOLVE_OK, two, 60);
    rig_run();
    assert_string_equal(request.body.data, "127.0.0.1");
}

static void misuse_raises(void **state)
{
    (void)state;
    run("raises('#3', client.setsockname, client, '127.0.0.1')\n"
        "raises('#3', client.setpeername, client, '127.0.0.1')\n"
        "raises('#4', client.sendto, client, 'x', '127.0.0.1')\n"
        "raises('not a port', client.sendto, client, 'x', host, 65536)\n"
        "raises('not a port', client.setpeername, client, host, -1)\n"
        "raises('not a path', client.setpeername, client, 'unix:')\n"
        "raises('not a path', client.setpeername, client, 'unix:/\\0')\n"
        "raises('string expected', client.setpeername, client)\n"
        "raises('not a size', client.receive, client, -1)\n"
        "raises('number expected', client.receive, client, '*a')\n"
        "raises('udp expected', client.send, io.stdout, 'x')\n"
        "local ok, err = pcall(function() client.getfd() end)\n"
        "equal(err:match('bad self.*'), 'bad self (write udp:getfd, with a '"
        " .. 'colon)')\n"
        "raises('udp expected', client.close,\n"
        "  debug.setmetatable(io.tmpfile(), debug.getmetatable(client)))\n");
}

/* --- its end -------------------------------------------------------------- */

static void closing_wakes_who_waits(void **state)
{
    static char text[2048];

    (void)state;
    run("local t = fcgi.spawn(server.receive, server)\n"
        "fcgi.sleep(0)\n"
        "server:close()\n"
        "equal(show(t:join()), 'nil, closed')\n"
        "equal(show(server:receive()), 'nil, closed')\n"
        "equal(show(server:send('x')), 'nil, closed')\n"
        "equal(show(server:getoption('broadcast')), 'nil, closed')\n"
        "equal(server:getfd(), -1)\n"
        "t = fcgi.spawn(client.receive, client)\n" /* and anew at once */
        "fcgi.sleep(0)\n"
        "client:close()\n"
        "client:setpeername(host, port)\n"
        "equal(show(t:join()), 'nil, closed')\n"
        "do\n"
        "  local udp <close> = fcgi.udp()\n"
        "  udp:setsockname('*', 0)\n"
        "  t = udp\n"
        "end\n"
        "equal(t:getfd(), -1)\n");
    snprintf(text, sizeof(text),
             "%slocal t = fcgi.spawn(a.send, a, 'late')\n"
             "fcgi.sleep(0)\n"
             "a:close()\n"
             "equal(show(t:join()), 'nil, closed')\n",
             stuck);
    rig_run_lua(text);
}

static void descriptors_are_handed_over(void **state)
{
    (void)state;
    run("local other <close> = fcgi.udp()\n"
        "local fd = client:getfd()\n"
        "equal(client:setfd(fd), 1)\n"
        "equal(client:setfd(-1), 1)\n"
        "equal(client:getfd(), -1)\n"
        "equal(client:setfd(-1), 1)\n"
        "equal(other:setfd(fd), 1)\n"
        "equal(tostring(other):match('^udp{(%a+)}'), 'connected')\n"
        "equal(other:send('x'), 1)\n"
        "equal(server:receive(), 'x')\n"
        "equal(show(client:setfd(100000)), 'nil, closed')\n");
}

static void the_end_of_the_script_closes_them(void **state)
{
    int before = dup(0), after;

    (void)state;
    close(before);
    rig_open("local fcgi = require 'fcgi'\n"
             "kept = fcgi.udp()\n"
             "function on_request(req)\n"
             "  kept:setsockname('127.0.0.1', 0)\n"
             "  kept:receive()\n"
             "end");
    rig_start(&request);
    rig_turns(1);
    rig_unload();
    assert_int_equal(request.ends, 1);
    after = dup(0);
    close(after);
    assert_int_equal(after, before);
}

static void nothing_is_opened_at_the_top_level(void **state)
{
    static const char *const bad[] = {
        "setsockname('127.0.0.1', 0)",
        "setpeername('127.0.0.1', 9)",
        "sendto('x', '127.0.0.1', 9)",
        "setoption('broadcast', true)",
        "setfd(0)",
        "setpeername('www.test', 9)",
    };
    char text[256];

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        snprintf(text, sizeof(text), "require('fcgi').udp():%s", bad[i]);
        assert_int_equal(rig_load(text), SCRIPT_FAILED);
        assert_contains(rig.error, "app.lua:1: cannot wait here");
    }
    assert_int_equal(rig_load("local udp = require('fcgi').udp()\n"
                              "udp:settimeout(1) udp:close()\n"
                              "function on_request() end"),
                     SCRIPT_OK);
}

static void descriptors_that_nobody_holds_are_found(void **state)
{
    struct rlimit limit, few;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    few = limit;
    few.rlim_cur = 40;
    rig_open("local fcgi = require 'fcgi'\n"
             "function on_request(req)\n"
             "  collectgarbage('stop')\n"
             "  for _ = 1, 200 do\n"
             "    assert(fcgi.udp():setsockname('127.0.0.1', 0))\n"
             "  end\n"
             "  collectgarbage('restart')\n"
             "  return 200, nil, 'ok'\n"
             "end");
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    rig_serve(&request);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    rig_check(&request);
}

static const char exchange[] = "local fcgi = require 'fcgi'\n"
                               "function on_request(req)\n"
                               "  local a <close> = fcgi.udp()\n"
                               "  local b <close> = fcgi.udp()\n"
                               "  a:setsockname('127.0.0.1', 0)\n"
                               "  b:setpeername(a:getsockname())\n"
                               "  b:send { 'x', { 'y' } }\n"
                               "  local text, ip, port = a:receivefrom()\n"
                               "  a:sendto(text .. 'z', ip, port)\n"
                               "  return 200, nil, b:receive()\n"
                               "end";

static void over_the_limit_it_fails_cleanly(void **state)
{
    (void)state;
    rig_open(exchange);
    rig_serve_short_of_memory("xyz", 32);
}

static void without_memory_it_fails_cleanly(void **state)
{
    (void)state;
    rig_open(exchange);
    alloc_each_fails(rig_serve_or_fail, (void *)(size_t)(const void *)"xyz");
}

#define UDP_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, rig_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        UDP_TEST(datagrams_go_to_and_fro),
        UDP_TEST(what_is_sent_may_be_a_list),
        UDP_TEST(who_waits_gets_what_comes_later),
        UDP_TEST(limits_of_time_hold),
        UDP_TEST(one_task_reads_at_a_time),
        UDP_TEST(who_sends_waits_for_room),
        UDP_TEST(a_peer_may_come_and_go),
        UDP_TEST(a_peer_that_is_not_there_refuses),
        UDP_TEST(what_has_no_address_yet_says_so),
        UDP_TEST(unix_sockets_have_paths),
        UDP_TEST(names_are_looked_up),
        UDP_TEST(the_addresses_of_a_name_are_tried_in_turn),
        UDP_TEST(misuse_raises),
        UDP_TEST(closing_wakes_who_waits),
        UDP_TEST(descriptors_are_handed_over),
        UDP_TEST(the_end_of_the_script_closes_them),
        UDP_TEST(nothing_is_opened_at_the_top_level),
        UDP_TEST(descriptors_that_nobody_holds_are_found),
        UDP_TEST(over_the_limit_it_fails_cleanly),
        UDP_TEST(without_memory_it_fails_cleanly),
    };

    return cmocka_run_group_tests_name("script/lua_udp", tests, NULL, NULL);
}
