/* script_socket_pool_test.c -- connections that lie in pools, and their ends.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "alloc.h"
#include "script/socket_pool.h"
#include "script_rig.h"

static struct rig_request request;

/* A server in the script itself; pair(name) gives both ends of a connection. */
#define PRELUDE                                                                \
    "local fcgi = require 'fcgi'\n"                                            \
    "local server\n"                                                           \
    "function pair(name)\n"                                                    \
    "  if not server then\n"                                                   \
    "    server = fcgi.tcp()\n"                                                \
    "    assert(server:bind('127.0.0.1', 0) and server:listen())\n"            \
    "  end\n"                                                                  \
    "  local host, port = server:getsockname()\n"                              \
    "  local near, err = fcgi.connect(host .. ':' .. port, { pool = name })\n" \
    "  if not near then error(err) end\n"                                      \
    "  if near:getreusedtimes() > 0 then return near end\n"                    \
    "  local far, why = server:accept()\n"                                     \
    "  if not far then error(why) end\n"                                       \
    "  return near, far\n"                                                     \
    "end\n"

static void open_handler(const char *statements)
{
    char source[4096];
    int n = snprintf(source, sizeof(source),
                     PRELUDE "function on_request(req)\n%s\n"
                             "return 200, nil, 'ok'\nend",
                     statements);

    assert_true((size_t)n < sizeof(source));
    rig_unload();
    rig_open(source);
}

static void serve(const char *statements)
{
    open_handler(statements);
    rig_serve(&request);
    rig_check(&request);
}

static void what_was_put_in_is_taken_out(void **state)
{
    (void)state;
    serve("local a, b = pair('p')\n"
          "local _, port = a:getsockname()\n"
          "assert(a:setkeepalive() == 1)\n"
          "local c, none = pair('p')\n"
          "assert(none == nil and select(2, c:getsockname()) == port)\n"
          "assert(c:send('x\\n') and b:receive() == 'x')\n"
          "assert(b:send('y\\n') and c:receive() == 'y')\n"
          "assert(a:send('x') == nil)");
    serve("local a, b = pair('p')\n"
          "a:setkeepalive()\n"
          "local c, d = pair('q')\n"
          "assert(d)");
}

static void the_last_one_comes_first(void **state)
{
    (void)state;
    serve("local ports, socks = {}, {}\n"
          "for i = 1, 5 do\n"
          "  socks[i] = pair('p')\n"
          "  ports[i] = select(2, socks[i]:getsockname())\n"
          "end\n"
          "for _, sock in ipairs(socks) do sock:setkeepalive(60, 3) end\n"
          "for i = 5, 3, -1 do\n"
          "  socks[i] = pair('p')\n"
          "  assert(select(2, socks[i]:getsockname()) == ports[i])\n"
          "end\n"
          "assert(select(2, pair('p')))");
}

static void they_end_when_their_time_is_over(void **state)
{
    (void)state;
    serve("local a, b = pair('p')\n"
          "local c, d = pair('p')\n"
          "a:setkeepalive(0.03)\n"
          "c:setkeepalive(0.01)\n"
          "local before = fcgi.now()\n"
          "assert(select(2, d:receive()) == 'closed')\n"
          "assert(fcgi.now() - before >= 0.01)\n"
          "assert(select(2, b:receive()) == 'closed')\n"
          "assert(fcgi.now() - before >= 0.03)\n"
          "assert(select(2, pair('p')))");
}

static void they_end_with_their_peer(void **state)
{
    (void)state;
    serve("local a, b = pair('p')\n"
          "local c, d = pair('p')\n"
          "a:setkeepalive() c:setkeepalive()\n"
          "b:close()\n"
          "d:send('unasked')\n"
          "assert(select(2, d:receive()) == 'closed')\n"
          "fcgi.sleep(0)\n"
          "assert(select(2, pair('p')))");
}

static void what_is_of_no_use_is_not_put_in(void **state)
{
    (void)state;
    serve("local a, b = pair('p')\n"
          "b:send('xy') a:receive(1)\n"
          "local ok, err = a:setkeepalive()\n"
          "assert(not ok and err == 'unread data in buffer')\n"
          "assert(a:getfd() == -1)\n"
          "a, b = pair('p')\n"
          "b:close()\n"
          "a:receive()\n"
          "ok, err = a:setkeepalive()\n"
          "assert(not ok and err == 'closed')\n"
          "assert(select(2, pair('p')))");
}

/* The kernel has more than the buffer took: found out by the way. */
static void what_is_not_received_yet_counts(void **state)
{
    (void)state;
    serve("local a, b = pair('p')\n"
          "b:send(('x'):rep(4096))\n"
          "assert(a:receive(4096))\n"
          "b:send('y')\n"
          "local ok, err = a:setkeepalive()\n"
          "assert(ok or err == 'unread data in buffer')\n"
          "assert(select(2, b:receive()) == 'closed')\n"
          "assert(select(2, pair('p')))");
}

/* Bytes that are left after many pools of a kind were used and are empty. */
static size_t memory_after(const char *kind)
{
    assert_true(rig_begin(&request, REQUEST_RESPONDER));
    rig_param(&request, "KIND", kind);
    rig_ready(&request);
    rig_run();
    rig_check(&request);
    for (int i = 0; i < 2; i++)
        lua_gc(rig.script->L, LUA_GCCOLLECT, 0);
    return script_memory(rig.script);
}

static void names_that_are_made_up_are_forgotten(void **state)
{
    size_t before;

    (void)state;
    open_handler("for i = 1, 500 do\n"
                 "  local name = req:param 'KIND' .. i\n"
                 "  local a, b = pair(name)\n"
                 "  assert(a:setkeepalive())\n"
                 "  assert(pair(name)):close()\n"
                 "  b:close()\n"
                 "end");
    before = memory_after("first ");
    assert_true(memory_after("second ") < before + 32 * 1024);
}

static void pools_that_are_used_are_kept(void **state)
{
    (void)state;
    serve("local kept = {}\n"
          "for i = 1, 150 do\n"
          "  local a, b = pair('pool ' .. i)\n"
          "  assert(a:setkeepalive(0))\n"
          "  if i % 3 == 0 then kept[i] = b else b:close() fcgi.sleep(0) end\n"
          "end\n"
          "for i in pairs(kept) do\n"
          "  local a, b = pair('pool ' .. i)\n"
          "  assert(a:getreusedtimes() == 1 and b == nil)\n"
          "end");
}

static void they_end_with_the_script(void **state)
{
    (void)state;
    serve("kept = {}\n"
          "for i = 1, 5 do\n"
          "  kept[i] = { pair('p') }\n"
          "end\n"
          "for i = 1, 5 do kept[i][1]:setkeepalive() end\n"
          "kept[1][2]:close()");
    rig_unload(); /* all streams must have gone */
    serve("local a, b = pair('p') a:setkeepalive(0.001)");
    rig_turns(1);
    rig_unload();
}

/* As TLS is: a table between. */
static void a_layer_moves_with_its_connection(void **state)
{
    (void)state;
    open_handler(
        "local closed = {}\n"
        "local function layer(sock)\n"
        "  local class = {}\n"
        "  class.__index = class\n"
        "  function class.read() return nil, 'timeout' end\n"
        "  function class.close(self) closed[#closed + 1] = self.sock end\n"
        "  local tls = setmetatable({ sock = sock }, class)\n"
        "  set_tls(sock, tls)\n"
        "  return tls\n"
        "end\n"
        "local a, b = pair('p')\n"
        "local tls = layer(a)\n"
        "assert(a:setkeepalive(60, 1) == 1)\n"
        "assert(debug.getuservalue(a, 1) == nil and tls.sock ~= a)\n"
        "local c = pair('p')\n"
        "assert(debug.getuservalue(c, 1) == tls and tls.sock == c)\n"
        "assert(select(2, c:receive()) == 'timeout' and #closed == 0)\n"
        "local d, e = pair('q')\n"
        "layer(d)\n"
        "c:setkeepalive(60)\n"
        "d:setkeepalive(60)\n"
        "b:close()\n"
        "fcgi.sleep(0.001)\n"
        "while #closed == 0 do fcgi.sleep(0) end\n"
        "assert(#closed == 1 and closed[1] == tls.sock)\n"
        "assert(select(2, pair('p')))");
    lua_rawgeti(rig.script->L, LUA_REGISTRYINDEX, rig.script->private);
    lua_getfield(rig.script->L, -1, "set_tls");
    lua_setglobal(rig.script->L, "set_tls");
    lua_settop(rig.script->L, 0);
    rig_serve(&request);
    rig_check(&request);
}

#define USE                                                                    \
    "local a, b = pair('p')\n"                                                 \
    "local ok, err = a:setkeepalive(0.001)\n"                                  \
    "if not ok then error(err) end\n"                                          \
    "local c = pair('p')\n"                                                    \
    "ok, err = c:setkeepalive(60)\n"                                           \
    "if not ok then error(err) end\n"                                          \
    "if b then b:close() end"

static void without_memory_they_fail_cleanly(void **state)
{
    (void)state;
    open_handler(USE);
    alloc_each_fails(rig_serve_or_fail, (void *)(size_t)(const void *)"ok");
}

static void over_the_limit_they_fail_cleanly(void **state)
{
    (void)state;
    open_handler(USE);
    rig_serve_short_of_memory("ok", 64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRIPT_TEST(what_was_put_in_is_taken_out),
        SCRIPT_TEST(the_last_one_comes_first),
        SCRIPT_TEST(they_end_when_their_time_is_over),
        SCRIPT_TEST(they_end_with_their_peer),
        SCRIPT_TEST(what_is_of_no_use_is_not_put_in),
        SCRIPT_TEST(what_is_not_received_yet_counts),
        SCRIPT_TEST(names_that_are_made_up_are_forgotten),
        SCRIPT_TEST(pools_that_are_used_are_kept),
        SCRIPT_TEST(they_end_with_the_script),
        SCRIPT_TEST(a_layer_moves_with_its_connection),
        SCRIPT_TEST(without_memory_they_fail_cleanly),
        SCRIPT_TEST(over_the_limit_they_fail_cleanly),
    };

    return cmocka_run_group_tests_name("script/socket_pool", tests, NULL, NULL);
}
