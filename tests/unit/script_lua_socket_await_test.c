/* script_lua_socket_await_test.c -- fcgi.wait for sockets of ours.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "alloc.h"
#include "script_rig.h"

/* Two ends of a connection. */
#define ENDS                                                                   \
    "local server = fcgi.tcp()\n"                                              \
    "assert(server:bind('127.0.0.1', 0)) assert(server:listen())\n"            \
    "local host, port = server:getsockname()\n"                                \
    "local near = assert(fcgi.connect(host .. ':' .. port))\n"                 \
    "local far = assert(server:accept())\n"

static void what_has_come_is_ready(void **state)
{
    (void)state;
    rig_run_lua(ENDS "equal(show(fcgi.wait(near, 'r', 0)), 'nil, timeout')\n"
                     "equal(show(fcgi.wait(near, 'w', 0)), 'w')\n"
                     "equal(show(fcgi.wait(near, 'rw', 0)), 'w')\n"
                     "far:send('hello')\n"
                     "while not near:dirty() do fcgi.sleep(0) end\n"
                     "for _, seconds in ipairs { 0, 100 } do\n"
                     "  equal(show(fcgi.wait(near, 'r', seconds)), 'r')\n"
                     "  equal(show(fcgi.wait(near, 'rw', seconds)), 'rw')\n"
                     "end\n"
                     "equal(near:receive(5), 'hello')\n"
                     "equal(show(fcgi.wait(near, 'r', 0)), 'nil, timeout')\n");
}

static void what_comes_is_waited_for(void **state)
{
    (void)state;
    rig_run_lua(
        ENDS "for i = 1, 3 do\n"
             "  local task = fcgi.spawn(fcgi.wait, near, 'r', i > 1 and 100\n"
             "    or nil)\n"
             "  fcgi.sleep(0)\n"
             "  far:send('x')\n"
             "  equal(show(task:join()), 'r')\n"
             "  equal(near:receive(1), 'x') -- it is still there\n"
             "end\n"
             "equal(show(fcgi.wait(near, 'r', 0.001)), 'nil, timeout')\n"
             "local task = fcgi.spawn(fcgi.wait, near, 'r')\n"
             "fcgi.sleep(0)\n"
             "far:close()\n"
             "equal(show(task:join()), 'r')\n"
             "equal(show(fcgi.wait(near, 'r')), 'r')\n"
             "equal(show(near:receive()), 'nil, closed, ')\n");
}

static void room_is_waited_for(void **state)
{
    (void)state;
    rig_run_lua(ENDS "near:settimeout(0)\n"
                     "local data = ('x'):rep(1 << 20)\n"
                     "repeat local ok = near:send(data) until not ok\n"
                     "equal(show(fcgi.wait(near, 'w', 0.001)), "
                     "'nil, timeout')\n"
                     "local task = fcgi.spawn(fcgi.wait, near, 'w')\n"
                     "fcgi.sleep(0)\n"
                     "far:settimeout(0.01)\n"
                     "far:receive('*a')\n"
                     "equal(show(task:join()), 'w')\n");
}

static void a_server_is_ready_for_a_client(void **state)
{
    (void)state;
    rig_run_lua(ENDS "equal(show(fcgi.wait(server, 'r', 0)), 'nil, timeout')\n"
                     "local task = fcgi.spawn(fcgi.wait, server, 'r')\n"
                     "fcgi.sleep(0)\n"
                     "local sock = fcgi.connect(host .. ':' .. port)\n"
                     "equal(show(task:join()), 'r')\n"
                     "assert(server:accept())\n");
}

static void who_closes_ends_the_wait(void **state)
{
    (void)state;
    rig_run_lua(ENDS "local tasks = { fcgi.spawn(fcgi.wait, near, 'r'),\n"
                     "  fcgi.spawn(fcgi.wait, near, 'rw') }\n"
                     "fcgi.sleep(0)\n"
                     "near:close()\n"
                     "equal(show(tasks[1]:join()), 'nil, closed')\n"
                     "equal(show(tasks[2]:join()), 'w')\n"
                     "equal(show(fcgi.wait(near, 'r')), 'nil, closed')\n"
                     "equal(show(fcgi.wait(near, 'w', 0)), 'nil, closed')\n"
                     "equal(show(fcgi.wait(fcgi.tcp(), 'r')), "
                     "'nil, closed')\n");
}

static void others_may_read_and_write(void **state)
{
    (void)state;
    rig_run_lua(ENDS "local reader = fcgi.spawn(near.receive, near)\n"
                     "local waiter = fcgi.spawn(fcgi.wait, near, 'r')\n"
                     "fcgi.sleep(0)\n"
                     "equal(show(fcgi.wait(near, 'w')), 'w')\n"
                     "far:send('li') equal(waiter:join(), 'r')\n"
                     "far:send('ne\\n') equal(reader:join(), 'line')\n");
}

static void many_may_wait(void **state)
{
    (void)state;
    rig_run_lua(ENDS "local tasks = {}\n"
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
    rig_run_lua(ENDS
                "local t = fcgi.spawn(fcgi.wait, near, 'r') fcgi.sleep(0)\n"
                "far:send(('x'):rep(300000))\n"
                "near:receive(100000) equal(t:join(), 'r')\n");
}

static void room_is_waited_for_beside_who_sends(void **state)
{
    (void)state;
    rig_run_lua(ENDS
                "local big = ('x'):rep(4096):rep(4096)\n"
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

static void misuse_and_cancellation(void **state)
{
    (void)state;
    rig_run_lua(ENDS
                "raises('not \"r\", \"w\" or \"rw\"', fcgi.wait, near, 'x')\n"
                "raises('not a number of seconds', fcgi.wait, near, 'r', -1)\n"
                "local task = fcgi.spawn(fcgi.wait, near, 'r')\n"
                "fcgi.sleep(0)\n"
                "task:cancel()\n"
                "equal(show(task:join()), 'nil, cancelled')\n"
                "far:send('x')\n"
                "equal(show(fcgi.wait(near, 'r')), 'r')\n"
                "equal(near:receive(1), 'x')\n"
                "raises('inside table.sort', table.sort, { 2, 1 }, function()\n"
                "  fcgi.wait(near, 'r')\n"
                "end)\n");
}

static void comes_through_without_memory(void **state)
{
    static char wanted[] = "r";

    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "function on_request(req)\n" ENDS
             "  fcgi.spawn(function() far:send('x') end)\n"
             "  req:send(200, nil, (assert(fcgi.wait(near, 'r'))))\n"
             "  near:close() far:close() server:close()\n"
             "end\n");
    alloc_each_fails(rig_serve_or_fail, wanted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRIPT_TEST(what_has_come_is_ready),
        SCRIPT_TEST(what_comes_is_waited_for),
        SCRIPT_TEST(room_is_waited_for),
        SCRIPT_TEST(a_server_is_ready_for_a_client),
        SCRIPT_TEST(who_closes_ends_the_wait),
        SCRIPT_TEST(others_may_read_and_write),
        SCRIPT_TEST(many_may_wait),
        SCRIPT_TEST(who_reads_tells_the_others),
        SCRIPT_TEST(room_is_waited_for_beside_who_sends),
        SCRIPT_TEST(misuse_and_cancellation),
        SCRIPT_TEST(comes_through_without_memory),
    };

    return cmocka_run_group_tests_name("script/lua_socket_await", tests, NULL,
                                       NULL);
}
