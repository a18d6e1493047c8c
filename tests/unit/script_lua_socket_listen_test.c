/* script_lua_socket_listen_test.c -- sockets that others connect to.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "alloc.h"
#include "socket_rig.h"

static void connections_come_in_order(void **state)
{
    (void)state;
    socket_rig_run("local all = {}\n"
                   "for i = 1, 5 do\n"
                   "  all[i] = fcgi.tcp() assert(all[i]:connect(host, port))\n"
                   "  all[i]:send(i .. '\\n')\n"
                   "end\n"
                   "for i = 1, 5 do\n"
                   "  local c <close> = assert(server:accept())\n"
                   "  equal(c:receive(), tostring(i)) all[i]:close()\n"
                   "end\n");
}

static void accept_waits_as_long_as_it_may(void **state)
{
    (void)state;
    socket_rig_run(
        "server:settimeout(0) equal(show(server:accept()), 'nil, timeout')\n"
        "server:settimeout(0.005)\n"
        "equal(show(server:accept()), 'nil, timeout')\n"
        "server:settimeout()\n"
        "local t = fcgi.spawn(server.accept, server) fcgi.sleep(0)\n"
        "equal(show(server:accept()), 'nil, socket busy reading')\n"
        "t:cancel() t:join()\n"
        "t = fcgi.spawn(server.accept, server) fcgi.sleep(0)\n"
        "local s <close> = fcgi.tcp() s:connect(host, port)\n"
        "local c <close> = t:join() c:send 'x' equal(s:receive(1), 'x')\n"
        "t = fcgi.spawn(server.accept, server) fcgi.sleep(0)\n"
        "server:close() equal(show(t:join()), 'nil, closed')\n"
        "equal(show(server:accept()), 'nil, closed')\n");
}

static void what_does_not_listen_accepts_nothing(void **state)
{
    (void)state;
    socket_rig_run("local s <close> = fcgi.tcp()\n"
                   "equal(show(s:accept()), 'nil, closed')\n"
                   "equal(show(s:listen()), 'nil, closed')\n"
                   "assert(s:bind('127.0.0.1', 0))\n"
                   "equal(show(s:accept()), 'nil, closed')\n"
                   "equal(show(near:accept()), 'nil, closed')\n"
                   "equal(show(near:listen()), 'nil, already connected')\n"
                   "equal(show(server:receive()), 'nil, closed, ')\n"
                   "equal(show(server:send 'x'), 'nil, closed, 0')\n"
                   "equal(server:listen(2), 1)\n");
}

static void addresses_are_those_of_the_family(void **state)
{
    (void)state;
    socket_rig_run(
        "local s <close> = fcgi.tcp()\n"
        "equal(show(s:bind(host, port)), 'nil, address already in use')\n"
        "s:close() assert(s:bind('::1', 0))\n"
        "equal(select(3, s:getsockname()), 'inet6')\n"
        "s:close() assert(s:bind('*', 0))\n"
        "equal((s:getsockname()), '0.0.0.0')\n"
        "equal(show(s:bind('unix:' .. ('x'):rep(200))),\n"
        "  'nil, File name too long')\n"
        "raises('not an address', s.bind, s, 'localhost', 1)\n"
        "raises('not a port', s.bind, s, '*', 70000)\n"
        "raises('number expected', s.bind, s, '*')\n"
        "raises('number of connections', s.listen, s, -1)\n");
}

static void a_bound_socket_can_connect(void **state)
{
    (void)state;
    socket_rig_run("local s <close> = fcgi.tcp()\n"
                   "assert(s:bind('127.0.0.1', 0))\n"
                   "local _, own = s:getsockname()\n"
                   "equal(s:connect(host, port), 1)\n"
                   "equal(select(2, s:getsockname()), own)\n");
}

static const char serving[] =
    "local other <close> = fcgi.tcp()\n"
    "assert(other:bind('127.0.0.1', 0) and other:listen(4))\n"
    "local s <close> = fcgi.tcp()\n"
    "local _, number = other:getsockname()\n"
    "assert(s:connect('127.0.0.1', number))\n"
    "local c <close> = assert(other:accept())\n"
    "other:settimeout(0)\n"
    "assert(select(2, other:accept()) == 'timeout')\n";

static void comes_through_without_memory(void **state)
{
    (void)state;
    socket_rig_run_without_memory(serving);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRIPT_TEST(connections_come_in_order),
        SCRIPT_TEST(accept_waits_as_long_as_it_may),
        SCRIPT_TEST(what_does_not_listen_accepts_nothing),
        SCRIPT_TEST(addresses_are_those_of_the_family),
        SCRIPT_TEST(a_bound_socket_can_connect),
        SCRIPT_TEST(comes_through_without_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
