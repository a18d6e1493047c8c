/* script_wait_test.c -- how a task waits, and where it cannot.
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

static struct rig_request request, other;

/* --- where one cannot wait ------------------------------------------------ */

/* Each chunk waits where C cannot be left: its wait() is in line 2 or below,
 * and raises "cannot wait here (inside WHAT)" with the line of the call. */
static const struct {
    const char *what, *chunk;
} places[] = {
    { "table.sort", "table.sort({ 2, 1 }, function()\n wait() end)" },
    { "table.sort", "table.sort({ 2, 1 }, function() pcall(error)\n"
                    " wait() end)" },
    { "table.sort", "table.sort({ 2, 1 }, function()\n"
                    " coroutine.wrap(function() wait() end)() end)" },
    { "table.sort", "table.sort({ 2, 1 }, function() coroutine.wrap(function()"
                    " local co = coroutine.wrap(function()\n"
                    " wait() end) co() end)() end)" },
    { "table.sort", "\ntable.sort({ 2, 1 }, function() return wait() end)" },
    { "string.gsub", "('x'):gsub('x', function()\n wait() end)" },
    { "string.gsub", "('x'):gsub('x', function()\n"
                     " local ok, err = pcall(function() wait() end)\n"
                     " error(err, 0) end)" },
    { "string.gsub", "string.gsub('x', 'x', setmetatable({}, { __index = "
                     "function()\n wait() end }))" },
    { "tostring", "tostring(setmetatable({}, { __tostring = function()\n"
                  " wait() end }))" },
    { "string.format", "('%s'):format(setmetatable({}, { __tostring = "
                       "function()\n wait() end }))" },
    { "table.concat", "table.concat(setmetatable({}, { __len = function() "
                      "return 1 end, __index = function()\n wait() end }))" },
    { "table.concat", "table.concat(setmetatable({}, { __len = function()\n"
                      " wait() end }))" },
    { "table.unpack", "table.unpack(setmetatable({}, { __index = function()\n"
                      " wait() end }), 1, 1)" },
    { "table.insert", "table.insert(setmetatable({}, { __newindex = "
                      "function()\n wait() end }), 1)" },
    { "table.remove", "table.remove(setmetatable({ 1 }, { __len = function()\n"
                      " wait() return 1 end }))" },
    { "table.move", "table.move({ 1 }, 1, 1, 1, setmetatable({}, "
                    "{ __newindex = function()\n wait() end }))" },
    { "table.sort", "package.preload.waits = function()\n wait() end\n"
                    "table.sort({ 2, 1 }, function() require('waits') end)" },
    { "load", "local ok, err = load(function()\n wait() end) error(err, 0)" },
    { "coroutine.close", "local co = coroutine.create(function()\n"
                         " local x <close> = on_close(function() wait() end)\n"
                         " coroutine.yield() end) coroutine.resume(co)\n"
                         "local _, err = coroutine.close(co) error(err, 0)" },
    { "coroutine.close", "local co = coroutine.create(function()\n"
                         " local x <close> = on_close(function()\n"
                         "  coroutine.wrap(function() wait() end)() end)\n"
                         " coroutine.yield() end) coroutine.resume(co)\n"
                         "local _, err = coroutine.close(co) error(err, 0)" },
    { "print", "print(setmetatable({}, { __tostring = function()\n"
               " wait() end }))" },
    { "fcgi.log", "fcgi.log('notice', setmetatable({}, { __tostring = "
                  "function()\n wait() end }))" },
    { "a finalizer", "local err setmetatable({}, { __gc = function()\n"
                     " err = select(2, pcall(function() wait() end)) end })\n"
                     "collectgarbage() error(err, 0)" },
    { "a finalizer", "local err setmetatable({}, { __gc = function()\n"
                     " err = select(2, pcall(coroutine.wrap(function()\n"
                     " wait() end))) end })\n"
                     "collectgarbage() error(err, 0)" },
};

static const char *const waits[] = {
    "fcgi.sleep(0)",          "fcgi.wait(0, 'r')",
    "fcgi.timeout(1, print)", "fcgi.channel():get()",
    "fcgi.channel():put(1)",  "fcgi.spawn(fcgi.sleep, 0):join()",
};

static void a_wait_where_c_cannot_be_left_says_where(void **state)
{
    static char source[4096];

    (void)state;
    for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
        for (size_t j = 0; j < sizeof(waits) / sizeof(*waits); j++) {
            snprintf(source, sizeof(source),
                     "local chunk = [==[%s]==]\n"
                     "local call = [==[%s]==]\n"
                     "chunk = chunk:gsub('wait%%(%%)', function()\n"
                     "  return call end)\n"
                     "local wanted\n"
                     "local at = chunk:find(call, 1, true)\n"
                     "local _, line = chunk:sub(1, at):gsub('\\n', '')\n"
                     "local f = assert(load(chunk, '=place', 't',\n"
                     "  setmetatable({ fcgi = fcgi, req = req,\n"
                     "    on_close = on_close }, { __index = _G })))\n"
                     "local ok, err = pcall(f)\n"
                     "equal(ok, false)\n"
                     "wanted = 'place:' .. line + 1 ..\n"
                     "  ': cannot wait here (inside %s)'\n"
                     "if not tostring(err):find(wanted, 1, true) then\n"
                     "  error(wanted .. ' is not in ' .. tostring(err), 0)\n"
                     "end\n"
                     "fcgi.sleep(0)", /* elsewhere it works still */
                     places[i].chunk, waits[j], places[i].what);
            rig_run_lua(source);
        }
    }
}

/* in_c(f): a library that resumes coroutines by itself. */
static int in_c(lua_State *L)
{
    lua_State *co = lua_newthread(L);
    int nresults;

    lua_pushvalue(L, 1);
    lua_xmove(L, co, 1);
    lua_pushboolean(L, lua_resume(co, L, 0, &nresults) == LUA_OK);
    lua_xmove(co, L, 1);
    return 2;
}

static void nor_can_one_wait_in_what_a_library_in_c_has_resumed(void **state)
{
    static const char wanted[] = "cannot wait here (inside a coroutine that a "
                                 "library in C has resumed)";

    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "local function sleep() fcgi.sleep(0) end\n"
             "local function wraps()\n"
             "  return coroutine.wrap(function() sleep() end)()\n"
             "end\n"
             "function on_request(req)\n"
             "  local all = ''\n"
             "  for _, f in ipairs { sleep, wraps } do\n"
             "    local ok, err = in_c(f)\n"
             "    assert(not ok)\n"
             "    if not err:find(req:param 'WANTED', 1, true) then\n"
             "      all = all .. err\n"
             "    end\n"
             "  end\n"
             "  sleep()\n"
             "  req:send(200, nil, all)\n"
             "end\n");
    lua_register(rig.script->L, "in_c", in_c);
    assert_true(rig_begin(&request, REQUEST_RESPONDER));
    rig_param(&request, "WANTED", wanted);
    rig_ready(&request);
    rig_run();
    assert_int_equal(request.ends, 1);
    assert_string_equal(request.body.data, "");
    assert_contains(request.head.data, "Status: 200");
}

static void where_nothing_waits_nothing_is_refused(void **state)
{
    (void)state;
    rig_run_lua(
        "table.sort({ 2, 1 }, function()\n"
        "  local ch = fcgi.channel(1)\n"
        "  equal(ch:put('v'), true)\n"
        "  equal(show(ch:put('w', 0)), 'nil, timeout')\n"
        "  equal(show(ch:get()), 'v')\n"
        "  equal(show(ch:get(0)), 'nil, timeout')\n"
        "  ch:close()\n"
        "  equal(show(ch:get()), 'nil, closed')\n"
        "  equal(show(fcgi.spawn(fcgi.sleep, 0):join(0)), 'nil, timeout')\n"
        "  return false\n"
        "end)\n");
}

static void a_module_and_a_message_handler_say_it_too(void **state)
{
    (void)state;
    rig_run_lua("local seen\n"
                "xpcall(error, function()\n"
                "  seen = select(2, pcall(function() fcgi.sleep(0) end))\n"
                "end)\n"
                "assert(seen:find('cannot wait here %(inside '), seen)\n"
                "seen = nil\n"
                "xpcall(function() local x = nil; return x.y end, function()\n"
                "  seen = select(2, pcall(function() fcgi.sleep(0) end))\n"
                "end)\n"
                "assert(seen:find('cannot wait here %(inside '), seen)\n");
}

static void while_a_script_is_loaded_nothing_waits(void **state)
{
    static const char *const calls[] = {
        "fcgi.sleep(0)",
        "fcgi.timeout(1, print)",
        "fcgi.channel():get()",
        "fcgi.channel():put(1)",
        "fcgi.spawn(print):join()",
        "coroutine.wrap(function() fcgi.sleep(0) end)()"
    };
    char source[256];

    (void)state;
    for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
        snprintf(source, sizeof(source), "local fcgi = require 'fcgi'\n\n%s\n",
                 calls[i]);
        assert_int_equal(rig_load(source), SCRIPT_FAILED);
        assert_contains(
            rig.error,
            "app.lua:3: cannot wait here: the script is being loaded");
    }
}

/* --- waiting -------------------------------------------------------------- */

static void what_wakes_twice_wakes_once(void **state)
{
    struct task *task;

    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "function on_request(req)\n"
             "  fcgi.sleep(100) print('one') fcgi.sleep(100)\n"
             "  return 200, nil, 'x'\n"
             "end");
    rig_start(&request);
    rig_turns(1);
    task = rig_task();
    task_wake(task);
    task_wake(task);
    assert_false(loop_timer_is_running(&task->timer));
    rig_turns(2);
    assert_int_equal(task->state, TASK_WAITING);
    assert_int_equal(rig_logged("one"), 1);
    assert_true(loop_timer_is_running(&task->timer));
    task_wake(task);
    rig_run();
    assert_string_equal(request.body.data, "x");
}

static void a_list_wakes_its_tasks_in_order(void **state)
{
    (void)state;
    rig_run_lua(
        "local log, t = {}, fcgi.spawn(fcgi.sleep, 100)\n"
        "local joiners = {}\n"
        "for i = 1, 5 do\n"
        "  joiners[i] = fcgi.spawn(function() t:join() log[#log + 1] = i end)\n"
        "end\n"
        "fcgi.sleep(0)\n"
        "joiners[3]:cancel()\n"
        "fcgi.sleep(0)\n"
        "t:cancel()\n"
        "for i = 1, 5 do joiners[i]:join() end\n"
        "equal(table.concat(log), '1245')\n");
}

static void a_wait_takes_back_what_it_has_registered(void **state)
{
    struct task *task;

    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "function on_request(req)\n"
             "  local t = fcgi.spawn(fcgi.sleep, 100)\n"
             "  if req:param('READS') then pcall(req.read, req, 1)\n"
             "  else pcall(t.join, t, 100) end\n"
             "  fcgi.sleep(0)\n"
             "  return 200, nil, 'x'\n"
             "end");
    for (int reads = 0; reads < 2; reads++) {
        assert_true(rig_begin(&request, REQUEST_RESPONDER));
        if (reads)
            rig_param(&request, "READS", "1");
        rig_ready(&request);
        rig_turns(2);
        task = request.req->handler;
        assert_int_equal(task->state, TASK_WAITING);
        assert_int_equal(list_is_empty(&task->waiter.link), !reads);
        assert_int_equal(list_is_empty(&task->wait_link), reads);
        assert_int_equal(loop_timer_is_running(&task->timer), !reads);
        task_cancel(task, "stop");
        assert_true(list_is_empty(&task->waiter.link));
        assert_true(list_is_empty(&task->wait_link));
        assert_false(loop_timer_is_running(&task->timer));
        rig_run();
        assert_string_equal(request.body.data, "x");
    }
}

static void several_tasks_may_wait_for_one_request(void **state)
{
    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "function on_request(req)\n"
             "  local tasks, all = {}, {}\n"
             "  for i = 1, 3 do\n"
             "    tasks[i] = fcgi.spawn(function() return req:read(1) end)\n"
             "  end\n"
             "  for i = 1, 3 do all[i] = tasks[i]:join() end\n"
             "  return 200, nil, table.concat(all)\n"
             "end");
    assert_true(rig_begin(&request, REQUEST_RESPONDER));
    rig_ready(&request);
    rig_turns(2);
    rig_input(&request, "abc");
    rig_run();
    assert_int_equal(strlen(request.body.data), 3);
}

static void waits_of_two_requests_are_apart(void **state)
{
    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "local ch = fcgi.channel()\n"
             "function on_request(req)\n"
             "  if req:param('GETS') then return 200, nil, ch:get() end\n"
             "  assert(ch:put('from the other'))\n"
             "  return 200, nil, 'put'\n"
             "end");
    assert_true(rig_begin(&request, REQUEST_RESPONDER));
    rig_param(&request, "GETS", "1");
    rig_ready(&request);
    rig_turns(2);
    assert_int_equal(request.ends, 0);
    rig_serve(&other);
    assert_string_equal(request.body.data, "from the other");
    assert_string_equal(other.body.data, "put");
}

static void a_coroutine_that_waits_can_be_found_and_closed(void **state)
{
    lua_State *inner;
    struct task *task;

    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "function on_request(req)\n"
             "  inner = coroutine.create(function()\n"
             "    local x <close> = setmetatable({}, { __close = function()\n"
             "      print('closed') end })\n"
             "    coroutine.wrap(fcgi.sleep)(100)\n"
             "  end)\n"
             "  local ok, err = coroutine.resume(inner)\n"
             "  return 200, nil, err\n"
             "end");
    rig_start(&request);
    rig_turns(1);
    task = rig_task();
    lua_getglobal(rig.script->L, "inner");
    inner = lua_tothread(rig.script->L, -1);
    assert_true(task_is_waiting(task->co));
    assert_true(task_is_waiting(inner));
    assert_false(task_is_waiting(rig.script->L));
    assert_ptr_equal(task_waiting_in(rig.script, inner), task);
    assert_ptr_equal(task_waiting_in(rig.script, task->co), task);
    assert_null(task_waiting_in(rig.script, rig.script->L));
    assert_int_equal(task_close_waiting(task, inner, rig.script->L), LUA_OK);
    assert_false(task_is_waiting(inner));
    assert_false(loop_timer_is_running(&task->timer));
    lua_settop(rig.script->L, 0);
    rig_run();
    assert_string_equal(request.body.data, "cannot resume closed coroutine");
    assert_int_equal(rig_logged("closed"), 1);
}

/* --- memory --------------------------------------------------------------- */

static const char waiting_source[] =
    "local fcgi = require 'fcgi'\n"
    "function on_request(req)\n"
    "  local ok, err = pcall(table.sort, { 2, 1 }, function() fcgi.sleep(0) "
    "end)\n"
    "  local refused = tostring(err):find('inside table.sort', 1, true)\n"
    "  local ch = fcgi.channel()\n"
    "  local t <close> = fcgi.spawn(function() ch:put(ch:get()) end)\n"
    "  fcgi.sleep(0)\n"
    "  ch:put('v', 0.002)\n"
    "  local v = coroutine.wrap(function() return (ch:get(0.002)) end)()\n"
    "  t:cancel()\n"
    "  return 200, nil, { v, refused and ' refused' or '' }\n"
    "end\n";

static void over_the_limit_a_request_fails_cleanly(void **state)
{
    (void)state;
    rig_open(waiting_source);
    rig_serve_short_of_memory("v refused", 16);
}

static void comes_through_without_memory(void **state)
{
    char body[] = "v refused";

    (void)state;
    rig_open(waiting_source);
    alloc_each_fails(rig_serve_or_fail, body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRIPT_TEST(a_wait_where_c_cannot_be_left_says_where),
        SCRIPT_TEST(nor_can_one_wait_in_what_a_library_in_c_has_resumed),
        SCRIPT_TEST(where_nothing_waits_nothing_is_refused),
        SCRIPT_TEST(a_module_and_a_message_handler_say_it_too),
        SCRIPT_TEST(while_a_script_is_loaded_nothing_waits),
        SCRIPT_TEST(what_wakes_twice_wakes_once),
        SCRIPT_TEST(a_list_wakes_its_tasks_in_order),
        SCRIPT_TEST(a_wait_takes_back_what_it_has_registered),
        SCRIPT_TEST(several_tasks_may_wait_for_one_request),
        SCRIPT_TEST(waits_of_two_requests_are_apart),
        SCRIPT_TEST(a_coroutine_that_waits_can_be_found_and_closed),
        SCRIPT_TEST(over_the_limit_a_request_fails_cleanly),
        SCRIPT_TEST(comes_through_without_memory),
    };

    return cmocka_run_group_tests_name("script/wait", tests, NULL, NULL);
}
