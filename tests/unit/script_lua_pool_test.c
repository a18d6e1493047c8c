/* script_lua_pool_test.c -- what scripts do with pools, and who waits for a
 * place in one.
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

static struct rig_request request, another;

/* A server in the script itself; open(size, backlog) is a connection to it, of
 * a pool with a limit. */
#define PRELUDE                                                                \
    "local fcgi = require 'fcgi'\n"                                            \
    "local server\n"                                                           \
    "local function where()\n"                                                 \
    "  if not server then\n"                                                   \
    "    server = fcgi.tcp()\n"                                                \
    "    assert(server:bind('127.0.0.1', 0) and server:listen())\n"            \
    "  end\n"                                                                  \
    "  return server:getsockname()\n"                                          \
    "end\n"                                                                    \
    "function open(size, backlog, seconds)\n"                                  \
    "  local host, port = where()\n"                                           \
    "  local sock = fcgi.tcp()\n"                                              \
    "  sock:settimeout(seconds)\n"                                             \
    "  local ok, err = sock:connect(host, port,\n"                             \
    "    { pool = 'p', pool_size = size, backlog = backlog })\n"               \
    "  if not ok then return nil, err end\n"                                   \
    "  return sock\n"                                                          \
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

static void the_first_to_wait_is_the_first_served(void **state)
{
    (void)state;
    serve("local a, order, tasks = open(1, 9), {}, {}\n"
          "for i = 1, 4 do\n"
          "  tasks[i] = fcgi.spawn(function()\n"
          "    local sock = assert(open())\n"
          "    order[#order + 1] = i\n"
          "    fcgi.sleep(0)\n"
          "    if i % 2 == 0 then sock:close() else sock:setkeepalive() end\n"
          "    return 1\n"
          "  end)\n"
          "  fcgi.sleep(0)\n"
          "end\n"
          "a:setkeepalive()\n"
          "for i = 1, 4 do assert(tasks[i]:join() == 1) end\n"
          "assert(table.concat(order) == '1234')");
}

/* Nobody comes between a place that is free and the one that waited for it. */
static void who_comes_later_does_not_come_first(void **state)
{
    (void)state;
    serve("local a = open(1, 9)\n"
          "local first = fcgi.spawn(open)\n"
          "fcgi.sleep(0)\n"
          "a:setkeepalive()\n"
          "local late, err = open(nil, nil, 0)\n"
          "assert(not late and err == 'timeout')\n"
          "assert(first:join():getreusedtimes() == 1)");
}

static void a_place_is_not_lost(void **state)
{
    static const char *const ends[] = {
        "task:cancel() task:join()", /* while it waits */
        "a:close() a = open(nil, nil, 0) assert(not a) task:cancel()",
        "a:setkeepalive() task:cancel() task:join():close()",
        "fcgi.sleep(0.002) assert(select(2, task:join()) == 'timeout')",
        "a:close() task:join() task = nil collectgarbage() collectgarbage()",
    };
    char statements[1024];

    (void)state;
    for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++) {
        snprintf(statements, sizeof(statements),
                 "local a = open(1, 9)\n"
                 "local task = fcgi.spawn(open, 1, 9, %s)\n"
                 "fcgi.sleep(0)\n"
                 "do %s end\n"
                 "if a then a:close() end\n"
                 "local got = task and task:join()\n"
                 "if got then got:close() end\n"
                 "assert(open(1, 9, 1))",
                 i == 3 ? "0.001" : "nil", ends[i]);
        serve(statements);
    }
}

static void a_coroutine_that_is_closed_gives_its_place_back(void **state)
{
    (void)state;
    serve("local a = open(1, 9)\n"
          "local co = coroutine.create(open)\n"
          "fcgi.spawn(coroutine.resume, co)\n"
          "fcgi.sleep(0)\n"
          "local second = fcgi.spawn(open)\n"
          "fcgi.sleep(0)\n"
          "a:setkeepalive()\n"
          "coroutine.close(co)\n"
          "assert(second:join():getreusedtimes() == 1)");
}

static void a_socket_that_is_closed_waits_no_more(void **state)
{
    (void)state;
    serve("local a = open(1, 9)\n"
          "local sock = fcgi.tcp()\n"
          "local host, port = where()\n"
          "local task = fcgi.spawn(sock.connect, sock, host, port,\n"
          "  { pool = 'p' })\n"
          "fcgi.sleep(0)\n"
          "sock:close()\n"
          "local ok, err = task:join()\n"
          "assert(not ok and err == 'closed' and sock:getfd() == -1)\n"
          "a:close()\n"
          "assert(open(1, 9, 0.01))");
}

static void what_never_connects_holds_no_place(void **state)
{
    (void)state;
    serve("local a = open(1, 9)\n"
          "a:close()\n"
          "local host, port = where()\n"
          "server:close() server = nil\n"
          "for i = 1, 3 do\n"
          "  local sock = fcgi.tcp()\n"
          "  local ok, err = sock:connect(host, port,\n"
          "    { pool = 'p', pool_size = 1, backlog = 1 })\n"
          "  assert(not ok and err == 'connection refused', err)\n"
          "end\n"
          "assert(open(1, 9, 0.01))");
}

static void more_than_may_wait_do_not(void **state)
{
    (void)state;
    serve("local a = open(1, 1)\n"
          "local task = fcgi.spawn(open)\n"
          "fcgi.sleep(0)\n"
          "local sock, err = open()\n"
          "assert(not sock)\n"
          "assert(err == 'too many waiting connect operations')\n"
          "a:close()\n"
          "assert(task:join())");
}

/* Those that came without asking for a place fill it all the same. */
static void connections_of_before_count(void **state)
{
    (void)state;
    serve("local a, b = open(), open()\n"
          "local host, port = where()\n"
          "local c = open(1, 9)\n"
          "a:setkeepalive()\n" /* it takes the place of nobody */
          "local task = fcgi.spawn(open)\n"
          "fcgi.sleep(0)\n"
          "b:setkeepalive()\n"
          "c:close()\n"
          "assert(task:join())");
}

static void the_end_of_the_script_is_no_trouble(void **state)
{
    (void)state;
    open_handler("local a = open(1, 9)\n"
                 "kept = a\n"
                 "fcgi.spawn(open, 1, 9)\n"
                 "local co = coroutine.wrap(open)\n"
                 "co(1, 9)");
    rig_start(&request);
    rig_turns(3);
    rig_start(&another);
    rig_turns(2);
    rig_unload();
    rig_detach(&request);
    rig_detach(&another);
}

static void sockets_of_libraries_have_no_pools(void **state)
{
    (void)state;
    open_handler("local a = open()\n"
                 "a:setkeepalive()\n"
                 "local host, port = where()\n"
                 "local b = tcp()\n"
                 "assert(b:connect(host, port, { pool = 'p' }) == 1)\n"
                 "assert(b:getreusedtimes() == 0)\n"
                 "local ok, err = b:setkeepalive()\n"
                 "assert(not ok and err == 'no pool')");
    lua_rawgeti(rig.script->L, LUA_REGISTRYINDEX, rig.script->private);
    lua_getfield(rig.script->L, -1, "tcp");
    lua_setglobal(rig.script->L, "tcp");
    lua_settop(rig.script->L, 0);
    rig_serve(&request);
    rig_check(&request);
}

#define USE                                                                    \
    "local a <close>, err = open(1, 9)\n"                                      \
    "if not a then error(err) end\n"                                           \
    "local task <close> = fcgi.spawn(function()\n"                             \
    "  local b <close>, err = open()\n"                                        \
    "  if not b then error(err) end\n"                                         \
    "  return 'used'\n"                                                        \
    "end)\n"                                                                   \
    "fcgi.sleep(0)\n"                                                          \
    "local ok, why = a:setkeepalive()\n"                                       \
    "if not ok then error(why) end\n"                                          \
    "ok, err = task:join()\n"                                                  \
    "if not ok then error(err) end"

static void without_memory_it_fails_cleanly(void **state)
{
    (void)state;
    open_handler(USE);
    alloc_each_fails(rig_serve_or_fail, (void *)(size_t)(const void *)"ok");
    rig_serve(&request); /* no place was lost on the way */
    rig_check(&request);
}

static void over_the_limit_it_fails_cleanly(void **state)
{
    (void)state;
    open_handler(USE);
    rig_serve_short_of_memory("ok", 64);
    rig_serve(&request);
    rig_check(&request);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRIPT_TEST(the_first_to_wait_is_the_first_served),
        SCRIPT_TEST(who_comes_later_does_not_come_first),
        SCRIPT_TEST(a_place_is_not_lost),
        SCRIPT_TEST(a_coroutine_that_is_closed_gives_its_place_back),
        SCRIPT_TEST(a_socket_that_is_closed_waits_no_more),
        SCRIPT_TEST(what_never_connects_holds_no_place),
        SCRIPT_TEST(more_than_may_wait_do_not),
        SCRIPT_TEST(connections_of_before_count),
        SCRIPT_TEST(the_end_of_the_script_is_no_trouble),
        SCRIPT_TEST(sockets_of_libraries_have_no_pools),
        SCRIPT_TEST(without_memory_it_fails_cleanly),
        SCRIPT_TEST(over_the_limit_it_fails_cleanly),
    };

    return cmocka_run_group_tests_name("script/lua_pool", tests, NULL, NULL);
}
