/* script_lua_socket_wait_test.c -- waiting for the descriptor of a socket.
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

static void it_says_what_it_is_ready_for(void **state)
{
    (void)state;
    socket_rig_run("equal(show(fcgi.wait(near, 'r', 0)), 'nil, timeout')\n"
                   "equal(show(fcgi.wait(near, 'r', 0.005)), 'nil, timeout')\n"
                   "equal(fcgi.wait(near, 'rw'), 'w') equal(fcgi.wait(near, "
                   "'w', 0), 'w')\n"
                   "far:send 'xy' equal(fcgi.wait(near, 'r'), 'r')\n"
                   "equal(fcgi.wait(near, 'rw', 0), 'rw') near:receive(1)\n"
                   "equal(fcgi.wait(near, 'r', 0), 'r') near:receive(1)\n"
                   "far:close() equal(fcgi.wait(near, 'r'), 'r')\n"
                   "equal(show(near:receive()), 'nil, closed, ')\n"
                   "equal(fcgi.wait(near, 'r', 0), 'r')\n");
}

static void many_may_wait(void **state)
{
    (void)state;
    socket_rig_run("local tasks = {}\n"
                   "for i = 1, 5 do\n"
                   "  tasks[i] = fcgi.spawn(fcgi.wait, near, 'r', 60)\n"
                   "end\n"
                   "fcgi.sleep(0)\n"
                   "local t = fcgi.spawn(near.receive, near) fcgi.sleep(0)\n"
                   "far:send 'some'\n"
                   "for i = 1, 5 do equal(tasks[i]:join(), 'r') end\n"
                   "far:send 'thing\\n' equal(t:join(), 'something')\n");
}

static void who_reads_tells_the_others(void **state)
{
    (void)state;
    socket_rig_run("local t = fcgi.spawn(fcgi.wait, near, 'r') fcgi.sleep(0)\n"
                   "far:send(('x'):rep(300000))\n"
                   "near:receive(100000) equal(t:join(), 'r')\n");
}

static void room_is_waited_for_beside_who_sends(void **state)
{
    (void)state;
    socket_rig_run(SOCKET_BIG
                   "near:settimeout(0) near:send(big)\n"
                   "local a = fcgi.spawn(fcgi.wait, near, 'w')\n"
                   "local b = fcgi.spawn(fcgi.wait, near, 'rw', 60)\n"
                   "fcgi.sleep(0) near:settimeout()\n"
                   "local t = fcgi.spawn(near.send, near, 'x') fcgi.sleep(0)\n"
                   "local u = fcgi.spawn(function()\n"
                   "  while far:receiveany(1 << 20) do end end)\n"
                   "equal(a:join(), 'w') equal(b:join(), 'w')\n"
                   "equal(t:join(), 1) u:cancel()\n");
}

static void a_close_ends_it(void **state)
{
    (void)state;
    socket_rig_run("local t = fcgi.spawn(fcgi.wait, near, 'r') fcgi.sleep(0)\n"
                   "near:close() equal(show(t:join()), 'nil, closed')\n"
                   "equal(show(fcgi.wait(near, 'w')), 'nil, closed')\n"
                   "equal(show(fcgi.wait(fcgi.tcp(), 'r', 0)), 'nil, closed')\n"
                   "raises('not \"r\"', fcgi.wait, near, 'x')\n");
}

static void a_server_is_ready_for_accept(void **state)
{
    (void)state;
    socket_rig_run("local t = fcgi.spawn(fcgi.wait, server, 'r')\n"
                   "fcgi.sleep(0)\n"
                   "local s <close> = fcgi.tcp() s:connect(host, port)\n"
                   "equal(t:join(), 'r') server:accept():close()\n");
}

static void where_nothing_can_wait_it_raises(void **state)
{
    (void)state;
    socket_rig_run("raises('inside table.sort', table.sort, { 2, 1 },\n"
                   "  function() fcgi.wait(near, 'r') end)\n"
                   "equal(show(fcgi.wait(near, 'r', 0)), 'nil, timeout')\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRIPT_TEST(it_says_what_it_is_ready_for),
        SCRIPT_TEST(many_may_wait),
        SCRIPT_TEST(who_reads_tells_the_others),
        SCRIPT_TEST(room_is_waited_for_beside_who_sends),
        SCRIPT_TEST(a_close_ends_it),
        SCRIPT_TEST(a_server_is_ready_for_accept),
        SCRIPT_TEST(where_nothing_can_wait_it_raises),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
