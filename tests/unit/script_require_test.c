/* script_require_test.c -- modules that wait while they are loaded.  What they
 * share with Lua's own require tests/behaviour/test_require.py compares.
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

static void assert_nothing_is_loading(void)
{
    assert_true(list_is_empty(&rig.script->loading));
}

static void a_module_may_wait(void **state)
{
    (void)state;
    rig_run_lua("local loads = 0\n"
                "package.preload.m = function(name, data)\n"
                "  fcgi.sleep(0.001)\n"
                "  loads = loads + 1\n"
                "  return { name = name, data = data }\n"
                "end\n"
                "local a = fcgi.spawn(require, 'm')\n"
                "local b = fcgi.spawn(require, 'm')\n"
                "local m, data = require 'm'\n"
                "equal(m.name, 'm') equal(m.data, data) equal(loads, 1)\n"
                "equal(a:join(), m) equal(b:join(), m)\n"
                "equal(select('#', require 'm'), 1)\n");
    assert_nothing_is_loading();
}

static void however_a_load_ends_it_is_over(void **state)
{
    (void)state;
    rig_run_lua(
        "local ends\n"
        "package.preload.m = function()\n"
        "  fcgi.sleep(0)\n"
        "  return ends()\n"
        "end\n"
        "for _, f in ipairs {\n"
        "  function() error('x') end, function() error() end,\n"
        "  function() coroutine.yield() end,\n"
        "  function() local function f() return f() + 1 end return f() end,\n"
        "} do\n"
        "  ends = f\n"
        "  equal(pcall(require, 'm'), false)\n"
        "  equal(pcall(coroutine.wrap(require), 'm'), false)\n"
        "  equal(coroutine.resume(coroutine.create(require), 'm'), false)\n"
        "  equal(fcgi.spawn(require, 'm'):join(), nil)\n"
        "  equal(package.loaded.m, nil)\n"
        "end\n"
        "ends = function() return 'at last' end\n"
        "equal(require 'm', 'at last')\n");
    assert_nothing_is_loading();
}

static void a_killed_load_is_over(void **state)
{
    static struct rig_request request;

    (void)state;
    rig_open(
        "local fcgi = require 'fcgi'\n"
        "package.preload.m = function()\n"
        "  while true do pcall(fcgi.sleep, 100) end\n"
        "end\n"
        "function on_request() fcgi.spawn(require, 'm') require 'm' end\n");
    rig_start(&request);
    rig_turns(3);
    assert_int_equal(script_tasks(rig.script), 2);
    assert_false(list_is_empty(&rig.script->loading));
    while (script_tasks(rig.script) > 0)
        task_kill(list_entry(rig.script->tasks.next, struct task, link));
    assert_nothing_is_loading();
    assert_int_equal(request.ends, 1);
}

static void a_script_ends_with_loads_under_way(void **state)
{
    static struct rig_request request;

    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "package.preload.m = function() fcgi.sleep(100) end\n"
             "function on_request()\n"
             "  for i = 1, 3 do fcgi.spawn(coroutine.wrap(require), 'm') end\n"
             "  require 'm'\n"
             "end\n");
    rig_start(&request);
    rig_turns(3);
    assert_int_equal(script_tasks(rig.script), 4);
    rig_unload(); /* the sanitizer sees what it touches */
    assert_int_equal(request.ends, 1);
}

static void require_can_be_left_but_not_what_calls_it(void **state)
{
    (void)state;
    rig_run_lua("package.preload.m = function() fcgi.sleep(0) end\n"
                "local _, err = pcall(table.sort, { 2, 1 }, function()\n"
                "  require 'm'\n"
                "end)\n"
                "assert(err:find('(inside table.sort)', 1, true), err)\n"
                "equal(require 'm', true)\n");
}

static void what_require_keeps_is_its_own(void **state)
{
    (void)state;
    rig_run_lua("local class = select(2, debug.getupvalue(require, 3))\n"
                "raises('loading expected', class.__close)\n"
                "raises('loading expected', class.__close, {})\n"
                "raises('loading expected', class.__close, io.stdout)\n"
                "raises('loading expected', class.__gc, fcgi.spawn(print))\n"
                "local loading\n"
                "package.preload.m = function()\n"
                "  local loads = select(2, debug.getupvalue(require, 2))\n"
                "  loading = loads.m\n"
                "  class.__gc(loading)\n"
                "  return 'm'\n"
                "end\n"
                "equal(require 'm', 'm')\n"
                "class.__close(loading) class.__gc(loading)\n");
}

static const char meeting_source[] =
    "local fcgi = require 'fcgi'\n"
    "package.preload.inner = function() fcgi.sleep(0) return 'i' end\n"
    "package.preload.m = function()\n"
    "  fcgi.sleep(0)\n"
    "  return require 'inner' .. 'm'\n"
    "end\n"
    "function on_request(req)\n"
    "  package.loaded.m, package.loaded.inner = nil, nil\n"
    "  local task = fcgi.spawn(coroutine.wrap(function()\n"
    "    return require 'm'\n"
    "  end))\n"
    "  fcgi.sleep(0)\n"
    "  local m = require 'm'\n"
    "  req:send(200, nil, m .. assert(task:join()))\n"
    "end\n";

static void comes_through_without_lua_memory(void **state)
{
    (void)state;
    rig_open(meeting_source);
    rig_serve_short_of_memory("imim", 16);
    assert_nothing_is_loading();
}

static void comes_through_without_memory(void **state)
{
    static char wanted[] = "imim";

    (void)state;
    rig_open(meeting_source);
    alloc_each_fails(rig_serve_or_fail, wanted);
    assert_nothing_is_loading();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRIPT_TEST(a_module_may_wait),
        SCRIPT_TEST(however_a_load_ends_it_is_over),
        SCRIPT_TEST(a_killed_load_is_over),
        SCRIPT_TEST(a_script_ends_with_loads_under_way),
        SCRIPT_TEST(require_can_be_left_but_not_what_calls_it),
        SCRIPT_TEST(what_require_keeps_is_its_own),
        SCRIPT_TEST(comes_through_without_lua_memory),
        SCRIPT_TEST(comes_through_without_memory),
    };

    return cmocka_run_group_tests_name("script/require", tests, NULL, NULL);
}
