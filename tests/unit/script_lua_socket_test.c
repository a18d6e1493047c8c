/* script_lua_socket_test.c -- the class of sockets: what it is, its descriptor,
 * its figures, its end.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "alloc.h"
#include "io/stream.h"
#include "script/lua_socket.h"
#include "socket_rig.h"

static void a_new_one_is_closed(void **state)
{
    (void)state;
    socket_rig_run("local s <close> = fcgi.tcp()\n"
                   "assert(tostring(s):find '^tcp{master}: 0x')\n"
                   "equal(s:getfd(), -1) equal(s:dirty(), false)\n"
                   "equal(show(s:receive()), 'nil, closed, ')\n"
                   "equal(show(s:receive(1, 'x')), 'nil, closed, x')\n"
                   "equal(show(s:receiveany(1)), 'nil, closed')\n"
                   "equal(show(s:receiveuntil 'x'()), 'nil, closed, ')\n"
                   "equal(show(s:send 'x'), 'nil, closed, 0')\n"
                   "equal(show(s:shutdown()), 'nil, closed')\n"
                   "equal(show(s:getpeername()), 'nil, closed')\n"
                   "equal(show(s:getsockname()), 'nil, closed')\n"
                   "equal(show(s:setstats(1)), 'nil, closed')\n"
                   "equal(show(s:getstats()), '0, 0, 0.0')\n"
                   "equal(show(s:gettimeout()), '-1.0, -1.0')\n"
                   "equal(s:close(), 1) equal(s:close(), 1)\n");
}

static void only_sockets_are_sockets(void **state)
{
    (void)state;
    socket_rig_run(
        "local class = debug.getmetatable(near)\n"
        "equal(type(class.__index), 'table')\n"
        "equal(near.receive, class.__index.receive)\n"
        "local others = { io.stdout, fcgi.channel(), 1, {}, false,\n"
        "  fcgi.spawn(print) }\n"
        "for _, other in ipairs(others) do\n"
        "  for name, f in pairs(class.__index) do\n"
        "    if name ~= 'connect' and name ~= 'sslhandshake' then\n"
        "      raises('socket', f, other, 'x')\n"
        "    end\n"
        "  end\n"
        "  raises('socket', class.__gc, other)\n"
        "  raises('socket', class.__close, other)\n"
        "end\n"
        "local lent = io.tmpfile()\n" /* a userdata of another size */
        "debug.setmetatable(lent, class)\n"
        "raises('socket', lent.receive, lent)\n"
        "debug.setmetatable(lent, debug.getmetatable(io.stdout))\n"
        "raises('socket expected', near.receive)\n"
        "raises('write sock:receive, with a colon', function()\n"
        "  near.receive() end)\n");
}

static void it_can_be_finalized_by_hand(void **state)
{
    (void)state;
    socket_rig_run("local class = debug.getmetatable(near)\n"
                   "local t = fcgi.spawn(near.receive, near) fcgi.sleep(0)\n"
                   "class.__gc(near) class.__gc(near)\n"
                   "equal(show(t:join()), 'nil, closed, ')\n"
                   "equal(near:getfd(), -1)\n"
                   "assert(near:connect(host, port))\n");
}

static void descriptors_change_hands(void **state)
{
    (void)state;
    socket_rig_run(
        "local fd, other <close> = near:getfd(), fcgi.tcp()\n"
        "equal(near:setfd(fd), 1) equal(near:getfd(), fd)\n"
        "local t = fcgi.spawn(near.receive, near) fcgi.sleep(0)\n"
        "equal(near:setfd(-1), 1) equal(show(t:join()), 'nil, closed, ')\n"
        "equal(near:getfd(), -1) equal(near:setfd(-1), 1)\n"
        "equal(other:setfd(fd), 1) equal(other:getfd(), fd)\n"
        "far:send 'x\\n' equal(other:receive(), 'x')\n"
        "equal(show(near:setfd(9999)), 'nil, closed')\n"
        "raises('number expected', near.setfd, near, 'x')\n");
}

static void names_and_figures_are_known(void **state)
{
    (void)state;
    socket_rig_run("equal(show(near:getpeername()), show(host, port, 'inet'))\n"
                   "equal(show(far:getsockname()), show(host, port, 'inet'))\n"
                   "near:send 'abc' far:receive(2)\n"
                   "local r, s, age = far:getstats()\n"
                   "equal(r, 3) equal(s, 0) assert(age >= 0)\n"
                   "equal(far:setstats(10, 20, 30), 1)\n"
                   "r, s, age = far:getstats()\n"
                   "equal(r, 10) equal(s, 20) assert(age >= 30)\n"
                   "assert(tostring(server):find '^tcp{server}')\n"
                   "assert(tostring(far):find '^tcp{client}')\n"
                   "raises('invalid option', near.shutdown, near, 'x')\n"
                   "equal(near:shutdown 'send', 1)\n"
                   "equal(far:receive '*a', 'c')\n");
}

static void limits_are_kept(void **state)
{
    (void)state;
    socket_rig_run("local s = fcgi.tcp()\n"
                   "equal(s:settimeout(2), 1) equal(s:settimeout(3, 't'), 1)\n"
                   "equal(show(s:gettimeout()), '2.0, 3.0')\n"
                   "equal(s:settimeouts(1, nil, 4), 1)\n"
                   "equal(show(s:gettimeout()), '4.0, 3.0')\n"
                   "s:settimeout() s:settimeout(-5, 'r')\n"
                   "equal(show(s:gettimeout()), '-1.0, -1.0')\n"
                   "s:settimeout(math.huge)\n"
                   "equal(show(s:gettimeout()), '-1.0, -1.0')\n"
                   "raises('number expected', s.settimeouts, s, 1, {})\n"
                   "raises('seconds', s.settimeout, s, 0/0)\n"
                   "raises('timeout mode', s.settimeout, s, 1, 'x')\n");
}

static void the_collector_closes_them(void **state)
{
    unsigned before;

    (void)state;
    socket_rig_run("equal(near:getfd() > 0, true)\n"); /* modules are loaded */
    rig_open("local fcgi = require 'fcgi'\n"
             "function on_request(req)\n"
             "local server = fcgi.tcp()\n"
             "server:bind('127.0.0.1', 0) server:listen()\n"
             "local all = {}\n"
             "for i = 1, 5 do local s = fcgi.tcp()\n"
             "  all[i] = s:connect(server:getsockname())\n"
             "  local c = server:accept() c:send 'x' end\n"
             "req:send(200, nil, 'ok')\n"
             "end\n");
    before = socket_rig_fds();
    for (int i = 0; i < 3; i++) {
        static struct rig_request request;

        rig_serve(&request);
        rig_check(&request);
        task_free_idle(rig.script);
        lua_gc(rig.script->L, LUA_GCCOLLECT, 0);
        assert_int_equal(socket_rig_fds(), before);
    }
}

static const char using[] =
    "near:setstats(1, 2, 3) near:settimeout(60) near:getpeername()\n"
    "assert(tostring(near):find 'client' and near:getsockname())\n"
    "local fd = near:getfd() near:setfd(-1) near:setfd(fd)\n"
    "near:send 'x' assert(far:receive(1) == 'x')\n"
    "near:shutdown() near:close()\n";

static void comes_through_without_memory(void **state)
{
    (void)state;
    socket_rig_run_without_memory(using);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRIPT_TEST(a_new_one_is_closed),
        SCRIPT_TEST(only_sockets_are_sockets),
        SCRIPT_TEST(it_can_be_finalized_by_hand),
        SCRIPT_TEST(descriptors_change_hands),
        SCRIPT_TEST(names_and_figures_are_known),
        SCRIPT_TEST(limits_are_kept),
        SCRIPT_TEST(the_collector_closes_them),
        SCRIPT_TEST(comes_through_without_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
