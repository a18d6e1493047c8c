/* script_lua_task_test.c -- tasks that a script spawns: what they give, who
 * ends with whom, and what the log hears of them.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "alloc.h"
#include "script/lua_task.h"
#include "script_rig.h"

static struct rig_request request;

/* Two looks at the errors that nobody has joined. */
static void look_twice(void)
{
    rig_fire(&rig.script->failures_timer);
    rig_fire(&rig.script->failures_timer);
}

/* --- spawn and join ------------------------------------------------------- */

static void a_task_begins_when_its_maker_waits(void **state)
{
    (void)state;
    rig_run_lua("local begun = false\n"
                "local t = fcgi.spawn(function(...)\n"
                "  begun = show(...)\n"
                "end, 1, nil, 'x', nil)\n"
                "equal(begun, false)\n"
                "fcgi.sleep(0)\n"
                "equal(begun, '1, nil, x, nil')\n"
                "equal(select('#', t:join()), 0)\n");
}

static void join_gives_the_results_again_and_again(void **state)
{
    (void)state;
    rig_run_lua(
        "for _, list in ipairs { {n = 0}, {n = 1}, {n = 3, 1, nil, 3},\n"
        "    {n = 2, false, nil}, {n = 230, 7, [230] = 8} } do\n"
        "  local t = fcgi.spawn(function()\n"
        "    fcgi.sleep(0) return table.unpack(list, 1, list.n)\n"
        "  end)\n"
        "  for _ = 1, 3 do\n"
        "    local got = table.pack(t:join())\n"
        "    equal(got.n, list.n)\n"
        "    for i = 1, list.n do equal(got[i], list[i]) end\n"
        "  end\n"
        "end\n");
}

static void tasks_run_in_the_order_in_which_they_were_spawned(void **state)
{
    (void)state;
    rig_run_lua(
        "local log, tasks = {}, {}\n"
        "for i = 1, 20 do\n"
        "  tasks[i] = fcgi.spawn(function()\n"
        "    log[#log + 1] = i fcgi.sleep(0) log[#log + 1] = -i\n"
        "  end)\n"
        "end\n"
        "for i = 1, 20 do tasks[i]:join() end\n"
        "for i = 1, 20 do equal(log[i], i) equal(log[20 + i], -i) end\n");
}

static void what_can_be_called_can_be_spawned(void **state)
{
    (void)state;
    rig_run_lua(
        "local callable = setmetatable({}, { __call = function(self, ...)\n"
        "  fcgi.sleep(0) return self, ... end })\n"
        "local self, x = fcgi.spawn(callable, 5):join()\n"
        "equal(self, callable) equal(x, 5)\n"
        "equal(show(fcgi.spawn(select, '#', 1, 2):join()), '2')\n"
        "for _, bad in ipairs { 1, 'x', {}, true } do\n"
        "  raises(\"bad argument #1 to 'spawn' (function expected, got \" ..\n"
        "    type(bad) .. ')', function() fcgi.spawn(bad) end)\n"
        "end\n"
        "raises(\"bad argument #1 to 'spawn'\", function() fcgi.spawn() end)\n"
        "raises(':' .. debug.getinfo(1).currentline + 1 .. ':', function()\n"
        "  fcgi.spawn(nil) end)\n");
}

static void many_may_join_one(void **state)
{
    (void)state;
    rig_run_lua(
        "local t = fcgi.spawn(function() fcgi.sleep(0) return 'r', 's' end)\n"
        "local joiners = {}\n"
        "for i = 1, 10 do\n"
        "  joiners[i] = fcgi.spawn(function() return i, t:join() end)\n"
        "end\n"
        "for i = 1, 10 do equal(show(joiners[i]:join()), i .. ', r, s') end\n");
}

static void join_has_a_timeout(void **state)
{
    (void)state;
    rig_run_lua(
        "local t = fcgi.spawn(function() fcgi.sleep(100) end)\n"
        "equal(show(t:join(0)), 'nil, timeout')\n"
        "equal(show(t:join(0.001)), 'nil, timeout')\n"
        "equal(show(t:join(0)), 'nil, timeout')\n"
        "t:cancel()\n"
        "equal(show(t:join(math.huge)), 'nil, cancelled')\n"
        "local quick = fcgi.spawn(function() return 'x' end)\n"
        "equal(show(quick:join(100)), 'x')\n"
        "equal(show(quick:join(0)), 'x')\n"
        "for _, bad in ipairs { -1, 0/0, -math.huge } do\n"
        "  raises(\"bad argument #1 to 'join' (not a number of seconds)\",\n"
        "    function() quick:join(bad) end)\n"
        "end\n"
        "raises('number expected', quick.join, quick, {})\n"
        "raises('task expected', quick.join, io.stdout)\n");
}

static void nobody_can_join_for_ever(void **state)
{
    (void)state;
    rig_run_lua(
        "local self\n"
        "self = fcgi.spawn(function() return self:join() end)\n"
        "local _, err = self:join()\n"
        "assert(tostring(err):find('app.lua:%d+: a task cannot join itself'), "
        "err)\n"
        "-- in a circle, with a limit in it or without one\n"
        "local a, b, c\n"
        "a = fcgi.spawn(function() return select('#', b:join()) end)\n"
        "b = fcgi.spawn(function() return select('#', c:join()) end)\n"
        "c = fcgi.spawn(function()\n"
        "  equal(show(a:join(0.001)), 'nil, timeout')\n"
        "  return a:join()\n"
        "end)\n"
        "_, err = c:join()\n"
        "assert(tostring(err):find('app.lua:%d+: tasks that wait for one "
        "another "
        "never'),\n"
        "  err)\n"
        "equal(a:join(), 1) -- the others have gone on\n"
        "-- the handler's own task has no object: who joins what waits for it\n"
        "-- waits as long as that does\n"
        "equal(show(fcgi.spawn(function() return 'x' end):join()), 'x')\n");
}

static void a_failed_task_gives_its_error(void **state)
{
    (void)state;
    rig_run_lua(
        "local value = setmetatable({}, { __tostring = error })\n"
        "for _, err in ipairs { value, 'text', 5, false, true, error } do\n"
        "  local t = fcgi.spawn(error, err, 0)\n"
        "  for _ = 1, 2 do\n"
        "    local got = table.pack(t:join())\n"
        "    equal(got.n, 2) equal(got[1], nil) equal(got[2], err)\n"
        "  end\n"
        "end\n"
        "local t = fcgi.spawn(error)\n"
        "equal(show(t:join()), 'nil, nil')\n"
        "equal(show(t:join()), 'nil, nil')\n"
        "t = fcgi.spawn(function() local x = nil; return x.y end)\n"
        "assert(select(2, t:join()):find('app.lua:%d+: attempt to index'))\n");
    assert_string_equal(rig_log(), ""); /* each was joined */
}

static void an_object_says_what_it_is(void **state)
{
    (void)state;
    rig_run_lua(
        "local t = fcgi.spawn(fcgi.sleep, 100)\n"
        "assert(tostring(t):find('^task %(running%): '), tostring(t))\n"
        "t:cancel()\n"
        "assert(tostring(t):find('^task %(cancelled%): '), tostring(t))\n"
        "t:join()\n"
        "assert(tostring(t):find('^task %(ended%): '), tostring(t))\n"
        "equal(getmetatable(t), false)\n"
        "equal(type(t), 'userdata')\n"
        "-- methods lent to other values\n"
        "local class = debug.getmetatable(t)\n"
        "for _, name in ipairs { 'join', 'cancel', 'detach' } do\n"
        "  raises('task expected', t[name])\n"
        "  raises('task expected', t[name], debug.setmetatable(io.tmpfile(), "
        "class))\n"
        "end\n"
        "raises('task expected', class.__close, 1)\n"
        "raises('task expected', class.__tostring, {})\n");
}

/* --- cancel --------------------------------------------------------------- */

static void a_cancelled_task_gives_its_reason(void **state)
{
    (void)state;
    rig_run_lua(
        "local seen\n"
        "local function work()\n"
        "  local ok, err = pcall(fcgi.sleep, 100)\n"
        "  seen = fcgi.cancelled(err) .. ', ' .. tostring(err)\n"
        "  error(err, 0)\n"
        "end\n"
        "for _, case in ipairs { {'cancelled'}, {'my reason', 'my reason'}, "
        "{'7', 7},\n"
        "    {'', ''} } do\n"
        "  local t = fcgi.spawn(work)\n"
        "  fcgi.sleep(0)\n"
        "  equal(t:cancel(case[2]), true)\n"
        "  equal(t:cancel('later'), true) -- the first reason counts\n"
        "  equal(show(t:join()), 'nil, ' .. case[1])\n"
        "  equal(show(t:join()), 'nil, ' .. case[1])\n"
        "  equal(seen, case[1] .. ', cancelled: ' .. case[1])\n"
        "  equal(t:cancel('again'), false) -- it has ended\n"
        "  equal(show(t:join()), 'nil, ' .. case[1])\n"
        "end\n"
        "local t = fcgi.spawn(fcgi.sleep, 100)\n"
        "raises('string expected', t.cancel, t, {})\n"
        "equal(show(t:join(0)), 'nil, timeout') -- and was not cancelled\n"
        "t:cancel()\n");
    assert_string_equal(rig_log(), ""); /* a cancellation is no error */
}

static void a_reason_outlives_whoever_made_it(void **state)
{
    (void)state;
    rig_run_lua("local t = fcgi.spawn(fcgi.sleep, 100)\n"
                "fcgi.sleep(0)\n"
                "t:cancel(('r'):rep(100) .. #arg)\n"
                "collectgarbage() collectgarbage()\n"
                "local _, reason = t:join()\n"
                "t = nil\n"
                "collectgarbage() collectgarbage()\n"
                "equal(reason, ('r'):rep(100) .. #arg)\n");
}

static void one_that_has_not_begun_never_does(void **state)
{
    (void)state;
    rig_run_lua("local t = fcgi.spawn(function() print('begun') end)\n"
                "equal(t:cancel('too early'), true)\n"
                "equal(show(t:join(0)), 'nil, timeout')\n"
                "equal(show(t:join()), 'nil, too early')\n");
    assert_lacks(rig_log(), "begun");
}

static void one_may_cancel_itself(void **state)
{
    (void)state;
    rig_run_lua("local t, after\n"
                "t = fcgi.spawn(function()\n"
                "  equal(t:cancel('enough'), true)\n"
                "  after = true\n"
                "  fcgi.sleep(0)\n"
                "  after = 'waited'\n"
                "end)\n"
                "equal(show(t:join()), 'nil, enough')\n"
                "equal(after, true)\n"
                "t = fcgi.spawn(function() t:cancel() return 'done without a "
                "wait' end)\n"
                "equal(show(t:join()), 'done without a wait')\n"
                "t = fcgi.spawn(function()\n"
                "  t:cancel()\n"
                "  raises('cancelled: cancelled', fcgi.sleep, 0)\n"
                "  fcgi.sleep(0)\n"
                "  return 'cleaned up'\n"
                "end)\n"
                "equal(show(t:join()), 'cleaned up')\n");
}

static void an_ended_task_is_not_cancelled(void **state)
{
    (void)state;
    rig_run_lua("local t = fcgi.spawn(function() return 'r' end)\n"
                "t:join()\n"
                "equal(t:cancel(), false)\n"
                "equal(show(t:join()), 'r')\n"
                "t = fcgi.spawn(error, 'x')\n"
                "t:join()\n"
                "equal(t:cancel(), false)\n"
                "equal(show(t:join()), 'nil, x')\n");
}

static void a_task_that_never_stops_waiting_is_closed_by_force(void **state)
{
    struct task *task;

    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "function on_request(req)\n"
             "  local t = fcgi.spawn(function()\n"
             "    local x <close> = setmetatable({}, { __close = function()\n"
             "      local ok, err = pcall(function() fcgi.sleep(0) end)\n"
             "      print('closed: ' .. tostring(err))\n"
             "      fcgi.spawn(print, 'of the request')\n"
             "    end })\n"
             "    while true do pcall(fcgi.sleep, 100) end\n"
             "  end)\n"
             "  fcgi.sleep(0)\n"
             "  t:cancel()\n"
             "  local _, err = t:join()\n"
             "  return 200, nil, err\n"
             "end\n");
    assert_true(rig_begin(&request, REQUEST_RESPONDER));
    rig_param(&request, "HTTP_X_REQUEST_ID", "mine");
    rig_ready(&request);
    rig_turns(4);
    task = list_entry(rig.script->tasks.prev, struct task, link);
    assert_non_null(task->cancel_reason);
    rig_fire(&task->deadline);
    rig_run();
    assert_string_equal(request.body.data,
                        "it does not end after its cancellation");
    rig_assert_logged("app.lua: it does not end after its cancellation (GET");
    rig_assert_logged("app.lua:5: cannot wait here (inside the closing of a "
                      "task) (GET -, -, req mine)");
    rig_assert_logged("of the request (GET");
}

/* --- who ends with whom --------------------------------------------------- */

static void a_requests_tasks_end_with_its_handler(void **state)
{
    (void)state;
    rig_open(
        "local fcgi = require 'fcgi'\n"
        "local function work(name)\n"
        "  local ok, err = pcall(fcgi.sleep, 100)\n"
        "  print(name .. ' ' .. fcgi.cancelled(err))\n"
        "end\n"
        "function on_request(req)\n"
        "  fcgi.spawn(function() fcgi.spawn(work, 'inner') work('outer') end)\n"
        "  fcgi.sleep(0) fcgi.sleep(0)\n"
        "  req:send(200, nil, 'x') -- the answer's end is not the handler's\n"
        "  fcgi.sleep(0)\n"
        "  print('returns')\n"
        "end\n");
    rig_serve(&request);
    assert_string_equal(request.body.data, "x");
    assert_int_equal(rig.service.serving, 0);
    rig_assert_logged("outer finished (GET");
    rig_assert_logged("inner finished (GET");
    assert_true(strstr(rig.log, "returns") < strstr(rig.log, "finished"));
}

static void a_handler_that_fails_ends_its_tasks_too(void **state)
{
    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "function on_request(req)\n"
             "  fcgi.spawn(function()\n"
             "    local _, err = pcall(fcgi.sleep, 100)\n"
             "    print('child ' .. tostring(err))\n"
             "  end)\n"
             "  fcgi.sleep(0)\n"
             "  error('handler')\n"
             "end\n");
    rig_serve(&request);
    assert_failed_with(&request, "Status: 500 ");
    rig_assert_logged("child cancelled: finished");
}

static void an_abort_ends_no_task(void **state)
{
    (void)state;
    rig_open(
        "local fcgi = require 'fcgi'\n"
        "function on_request(req)\n"
        "  local t = fcgi.spawn(function() fcgi.sleep(0.01) return 'unharmed' "
        "end)\n"
        "  print(tostring(t:join()) .. ' ' .. tostring(req:is_aborted()))\n"
        "end\n");
    rig_start(&request);
    rig_turns(2);
    rig_abort(&request);
    rig_run();
    rig_assert_logged("unharmed true");
}

static const char orphan_source[] =
    "local fcgi = require 'fcgi'\n"
    "function on_request(req)\n"
    "  if req:param('BROKEN') then error('x') end\n"
    "  fcgi.spawn(function()\n"
    "    local x <close> = setmetatable({}, { __close = function()\n"
    "      print(select('#', fcgi.timeout(100, function()\n"
    "        fcgi.sleep(0.002) print('cleaning') return 1, 2, 3 end)))\n"
    "      print(tostring(fcgi.timeout(0.001, fcgi.sleep, 100)))\n"
    "      pcall(fcgi.timeout, 1, error, 'of a clean-up')\n"
    "      local t = fcgi.spawn(function() return 'helped' end)\n"
    "      print((t:join()))\n"
    "    end })\n"
    "    fcgi.sleep(100)\n"
    "  end)\n"
    "  fcgi.sleep(0)\n"
    "  return 200, nil, 'x'\n"
    "end\n";

static void orphans_may_clean_up_and_count_as_serving(void **state)
{
    (void)state;
    rig_open(orphan_source);
    rig_start(&request);
    while (request.req != NULL)
        rig_turns(1);
    assert_string_equal(request.body.data, "x");
    assert_int_equal(rig.service.serving, 1);
    assert_int_equal(script_worker_tasks(rig.script), 0);
    rig_run();
    assert_int_equal(rig.service.serving, 0);
    rig_assert_logged("cleaning (GET"); /* the log knows whose it was */
    rig_assert_logged("3");
    rig_assert_logged("nil");
    rig_assert_logged("helped");
    assert_lacks(rig_log(), "of a clean-up"); /* it was caught */
}

static void a_finalizer_that_is_called_by_hand_does_no_harm(void **state)
{
    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "function on_request(req)\n"
             "  local fails = fcgi.spawn(function() fcgi.sleep(0) error('of "
             "an unknown') end)\n"
             "  local ends = fcgi.spawn(fcgi.sleep, 0)\n"
             "  fcgi.sleep(0)\n"
             "  for _, task in ipairs { fails, ends } do\n"
             "    debug.getmetatable(task).__gc(task)\n"
             "  end\n"
             "  fcgi.sleep(0.001)\n"
             "  ends:cancel()\n"
             "  return 200, nil, select('#', ends:join())\n"
             "end\n");
    rig_serve(&request);
    assert_string_equal(request.body.data, "0");
    rig_assert_logged("of an unknown");
}

static void no_task_begins_when_the_script_has_ended(void **state)
{
    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "kept = setmetatable({}, { __gc = function()\n"
             "  print(pcall(fcgi.spawn, print))\n"
             "end })\n"
             "function on_request(req) end\n");
    rig_serve(&request);
    rig_unload();
    rig_assert_logged("cannot spawn here: the script is ending");
}

/* Many tasks of one request must not keep other requests out. */
static void the_orphans_of_a_request_count_as_one(void **state)
{
    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "function on_request(req)\n"
             "  for i = 1, 10 do\n"
             "    fcgi.spawn(function()\n"
             "      pcall(fcgi.sleep, 100)\n"
             "      fcgi.spawn(fcgi.sleep, 0):join()\n"
             "      fcgi.sleep(0.001)\n"
             "    end)\n"
             "  end\n"
             "  fcgi.sleep(0)\n"
             "end\n");
    for (int i = 0; i < 2; i++) {
        rig_start(&request);
        while (request.req != NULL)
            rig_turns(1);
        assert_true(script_tasks(rig.script) >= 10);
        while (script_tasks(rig.script) > 0) {
            assert_int_equal(rig.service.serving, 1);
            rig_turns(1);
        }
        assert_int_equal(rig.service.serving, 0);
    }
}

static void what_helps_an_orphan_has_its_patience_at_most(void **state)
{
    struct task *helper;

    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "function on_request(req)\n"
             "  fcgi.spawn(function()\n"
             "    local x <close> = setmetatable({}, { __close = function()\n"
             "      fcgi.spawn(function()\n"
             "        local _, err = pcall(fcgi.sleep, 100)\n"
             "        print('helper ' .. fcgi.cancelled(err))\n"
             "      end)\n"
             "    end })\n"
             "    fcgi.sleep(100)\n"
             "  end)\n"
             "  fcgi.sleep(0)\n"
             "  return 200, nil, 'x'\n"
             "end\n");
    rig_start(&request);
    while (script_tasks(rig.script) != 1 || rig_task()->state != TASK_WAITING ||
           !rig_task()->is_orphan || rig_task()->cancel_reason != NULL)
        rig_turns(1);
    helper = rig_task();
    rig_fire(&helper->deadline);
    rig_run();
    rig_assert_logged("helper timeout");
    assert_int_equal(rig.service.serving, 0);
}

static void the_error_of_an_orphan_is_logged(void **state)
{
    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "function on_request(req)\n"
             "  fcgi.spawn(function() pcall(fcgi.sleep, 100) error('of an "
             "orphan') end)\n"
             "  fcgi.sleep(0)\n"
             "  return 200, nil, 'x'\n"
             "end\n");
    rig_serve(&request);
    rig_unload();
    assert_int_equal(rig_logged("of an orphan"), 1);
    rig_assert_logged("app.lua:3: of an orphan (GET");
    rig_assert_logged("stack traceback:");
}

/* --- detach --------------------------------------------------------------- */

static void a_detached_task_outlives_its_request(void **state)
{
    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "function on_request(req)\n"
             "  local t = fcgi.spawn(function()\n"
             "    print('with its request')\n"
             "    fcgi.sleep(0.005)\n"
             "    print('without its request')\n"
             "    local child = fcgi.spawn(function()\n"
             "      fcgi.sleep(0) print('child') return 'r' end)\n"
             "    print('joined ' .. child:join())\n"
             "  end)\n"
             "  fcgi.sleep(0)\n"
             "  assert(t:detach() == t and t:detach() == t)\n"
             "  return 200, nil, 'x'\n"
             "end\n");
    assert_true(rig_begin(&request, REQUEST_RESPONDER));
    rig_param(&request, "REMOTE_ADDR", "10.0.0.7");
    rig_ready(&request);
    while (request.req != NULL)
        rig_turns(1);
    assert_int_equal(script_tasks(rig.script), 1);
    assert_int_equal(rig.service.active, 0); /* nothing holds the request */
    assert_int_equal(rig.service.serving, 0);
    assert_int_equal(script_worker_tasks(rig.script), 0);
    assert_null(rig_task()->req);
    rig_run();
    rig_assert_logged("with its request (GET -, 10.0.0.7, ");
    rig_assert_logged("without its request\n");
    rig_assert_logged("child\n");
    rig_assert_logged("joined r\n");
}

static void detaching_changes_nothing_else(void **state)
{
    (void)state;
    rig_run_lua(
        "local t = fcgi.spawn(function(...) fcgi.sleep(0) return ... end, 1, "
        "2)\n"
        "equal(show(t:detach():join()), '1, 2') -- one that has not begun\n"
        "equal(show(t:detach():join()), '1, 2') -- one that has ended\n"
        "t = fcgi.spawn(fcgi.sleep, 100):detach()\n"
        "equal(t:cancel('r'), true)\n"
        "equal(show(t:join()), 'nil, r')\n"
        "t = fcgi.spawn(error, 'joined'):detach()\n"
        "equal(show(t:join()), 'nil, joined')\n"
        "t = fcgi.spawn(function() -- one that waits for its request\n"
        "  return req:read(1)\n"
        "end)\n"
        "fcgi.sleep(0)\n"
        "t:detach():join()\n");
    assert_string_equal(rig_log(), "");
}

static void
a_detached_task_that_waits_for_its_request_is_woken_at_its_end(void **state)
{
    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "function on_request(req)\n"
             "  fcgi.spawn(function()\n"
             "    local ok, err, more = pcall(req.read, req, 1)\n"
             "    print('reader: ', ok, err, more)\n"
             "  end):detach()\n"
             "  fcgi.sleep(0) fcgi.sleep(0)\n"
             "  return 200, nil, 'x'\n"
             "end\n");
    assert_true(rig_begin(&request, REQUEST_RESPONDER));
    rig_ready(&request); /* its body never ends */
    rig_run();
    assert_string_equal(request.body.data, "x");
    rig_assert_logged("reader: ");
}

static void the_error_of_a_detached_task_is_logged_after_a_while(void **state)
{
    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "function on_request(req)\n"
             "  fcgi.spawn(error, 'of a detached one'):detach()\n"
             "  kept = fcgi.spawn(error, 'another'):detach() -- no finalizer "
             "tells of it\n"
             "  return 200, nil, 'x'\n"
             "end\n");
    rig_serve(&request);
    assert_string_equal(rig_log(), "");
    rig_fire(&rig.script->failures_timer);
    assert_string_equal(rig_log(), ""); /* somebody may still join it */
    rig_fire(&rig.script->failures_timer);
    assert_int_equal(rig_logged("of a detached one"), 1);
    assert_int_equal(rig_logged("another"), 1);
    assert_false(loop_timer_is_running(&rig.script->failures_timer));
    rig_unload();
    assert_int_equal(rig_logged("of a detached one"), 1);
    assert_int_equal(rig_logged("another"), 1);
}

/* --- the top level -------------------------------------------------------- */

static const char top_level_source[] =
    "local fcgi = require 'fcgi'\n"
    "worker = fcgi.spawn(function(...)\n"
    "  print('begun ', ...)\n"
    "  fcgi.sleep(0)\n"
    "  return 'r'\n"
    "end, 'x')\n"
    "broken = fcgi.spawn(error, 'at the top level')\n"
    "fcgi.spawn(print, 'never'):cancel()\n"
    "assert(worker:join(0) == nil)\n"
    "local ok, err = pcall(worker.join, worker)\n"
    "assert(err:find('cannot wait here: the script is being loaded', 1, true), "
    "err)\n"
    "function on_request(req)\n"
    "  fcgi.spawn(fcgi.sleep, 0)\n"
    "  return 200, nil, worker:join()\n"
    "end\n";

static void top_level_tasks_begin_when_the_script_serves(void **state)
{
    (void)state;
    rig_write_file(rig.path, top_level_source);
    assert_int_equal(script_load(&rig.config, &rig.script, rig.error),
                     SCRIPT_OK);
    assert_int_equal(script_tasks(rig.script), 3);
    assert_int_equal(script_worker_tasks(rig.script), 3);
    rig_turns(3);
    assert_string_equal(rig_log(), "");
    assert_int_equal(
        script_attach(rig.script, rig.loop, &rig.service, &rig.limits), 0);
    script_serve(rig.script);
    rig_serve(&request);
    assert_string_equal(request.body.data, "r");
    assert_int_equal(script_worker_tasks(rig.script), 0);
    rig_assert_logged("begun \tx\n");
    assert_lacks(rig_log(), "at the top level");
    look_twice();
    rig_assert_logged("at the top level");
    assert_lacks(rig_log(), "never");
}

static void they_never_begin_in_a_script_that_is_only_loaded(void **state)
{
    (void)state;
    rig_write_file(rig.path, top_level_source);
    assert_int_equal(script_load(&rig.config, &rig.script, rig.error),
                     SCRIPT_OK);
    rig_unload();
    assert_int_equal(
        rig_load("require('fcgi').spawn(print, 'begun') error('x')"),
        SCRIPT_FAILED);
    assert_int_equal(rig_load("require('fcgi').spawn(print, 'begun')"),
                     SCRIPT_FAILED); /* it has no handler */
    rig_turns(2);
    assert_string_equal(rig_log(), "");
}

static void what_a_workers_task_spawns_is_the_workers(void **state)
{
    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "local function work(n)\n"
             "  if n > 0 then fcgi.spawn(work, n - 1) end\n"
             "  local _, err = pcall(fcgi.sleep, 100)\n"
             "  print(n .. ' ' .. fcgi.cancelled(err))\n"
             "end\n"
             "fcgi.spawn(work, 2)\n"
             "function on_request(req) return 200, nil, 'x' end\n");
    rig_turns(4);
    assert_int_equal(script_worker_tasks(rig.script), 3);
    assert_int_equal(script_tasks(rig.script), 3);
    script_cancel_all(rig.script, "stop");
    rig_run();
    rig_assert_logged("0 stop\n");
    rig_assert_logged("2 stop\n");
}

/* --- errors that nobody joins --------------------------------------------- */

static void an_error_that_nobody_joined_is_logged_once(void **state)
{
    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "function on_request(req)\n"
             "  local joined = fcgi.spawn(error, 'of a joined one')\n"
             "  kept = fcgi.spawn(function()\n"
             "    coroutine.wrap(function() fcgi.sleep(0) error('of another') "
             "end)()\n"
             "  end)\n"
             "  req.ctx.t = fcgi.spawn(error, setmetatable({}, { __tostring = "
             "function()\n"
             "    return 'of a table' end }))\n"
             "  joined:join()\n"
             "  fcgi.sleep(0) fcgi.sleep(0)\n"
             "  print('returns')\n"
             "  return 200, nil, 'x'\n"
             "end\n");
    rig_serve(&request);
    rig_unload();
    assert_lacks(rig_log(), "of a joined one");
    assert_int_equal(rig_logged("of another"), 1);
    assert_int_equal(rig_logged("of a table"), 1);
    assert_int_equal(rig_logged("(GET -, -, req "), 3); /* and the print */
    assert_true(strstr(rig.log, "returns") < strstr(rig.log, "of another"));
    rig_assert_logged("(resumed by)");
}

static void the_collector_tells_of_it_too(void **state)
{
    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "function on_request(req)\n"
             "  fcgi.spawn(error, 'of a lost one')\n"
             "  fcgi.sleep(0) fcgi.sleep(0)\n"
             "  collectgarbage() collectgarbage()\n"
             "  print('returns')\n"
             "  return 200, nil, 'x'\n"
             "end\n");
    rig_serve(&request);
    assert_int_equal(rig_logged("of a lost one"), 1);
    rig_unload();
    assert_int_equal(rig_logged("of a lost one"), 1);
}

static void the_last_errors_are_logged_at_the_end_of_the_script(void **state)
{
    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "t = fcgi.spawn(error, 'of the last one')\n"
             "function on_request() end\n");
    rig_run();
    assert_string_equal(rig_log(), "");
    rig_unload();
    assert_int_equal(rig_logged("of the last one"), 1);
}

/* --- <close> -------------------------------------------------------------- */

static void the_end_of_a_block_sees_the_end_of_its_task(void **state)
{
    (void)state;
    rig_run_lua(
        "local log = {}\n"
        "local function work()\n"
        "  local x <close> = on_close(function(_, err)\n"
        "    fcgi.sleep(0) fcgi.sleep(0)\n"
        "    log[#log + 1] = fcgi.cancelled(err)\n"
        "  end)\n"
        "  fcgi.sleep(100)\n"
        "end\n"
        "local t\n"
        "do\n"
        "  local task <close> = fcgi.spawn(work)\n"
        "  t = task\n"
        "  fcgi.sleep(0)\n"
        "end\n"
        "equal(show(table.unpack(log)), 'closed')\n"
        "equal(show(t:join(0)), 'nil, closed')\n"
        "-- one that has ended is left alone\n"
        "do\n"
        "  local task <close> = fcgi.spawn(function() return 'r' end)\n"
        "  t = task\n"
        "  t:join()\n"
        "end\n"
        "equal(show(t:join()), 'r')\n"
        "-- with an error, and out of a function\n"
        "local ok, err = pcall(function()\n"
        "  local task <close> = fcgi.spawn(work)\n"
        "  fcgi.sleep(0)\n"
        "  error('mine', 0)\n"
        "end)\n"
        "equal(err, 'mine')\n"
        "equal(#log, 2)\n"
        "equal((function()\n"
        "  local task <close> = fcgi.spawn(work)\n"
        "  return 'result'\n"
        "end)(), 'result')\n"
        "equal(#log, 2) -- it had not begun\n"
        "-- the task may close itself\n"
        "local self\n"
        "self = fcgi.spawn(function() local s <close> = self return 'x' end)\n"
        "equal(show(self:join()), 'x')\n");
}

static void
a_cancellation_passes_its_reason_to_the_tasks_of_a_block(void **state)
{
    (void)state;
    rig_run_lua("local log = {}\n"
                "local outer = fcgi.spawn(function()\n"
                "  local inner <close> = fcgi.spawn(function()\n"
                "    local inmost <close> = fcgi.spawn(function()\n"
                "      local ok, err = pcall(fcgi.sleep, 100)\n"
                "      log[#log + 1] = fcgi.cancelled(err)\n"
                "      error(err, 0)\n"
                "    end)\n"
                "    local ok, err = pcall(fcgi.sleep, 100)\n"
                "    log[#log + 1] = fcgi.cancelled(err)\n"
                "    error(err, 0)\n"
                "  end)\n"
                "  fcgi.sleep(100)\n"
                "end)\n"
                "for _ = 1, 4 do fcgi.sleep(0) end\n"
                "outer:cancel('the reason')\n"
                "equal(show(outer:join()), 'nil, the reason')\n"
                "equal(show(table.unpack(log)), 'the reason, the reason')\n");
}

static void
where_nothing_can_wait_the_task_is_cancelled_all_the_same(void **state)
{
    (void)state;
    rig_run_lua(
        "local t\n"
        "local co = coroutine.create(function()\n"
        "  local task <close> = fcgi.spawn(fcgi.sleep, 100)\n"
        "  t = task\n"
        "  fcgi.sleep(0)\n"
        "  coroutine.yield()\n"
        "end)\n"
        "assert(coroutine.resume(co))\n"
        "equal(show(coroutine.close(co)), 'true')\n"
        "equal(show(t:join(0)), 'nil, timeout') -- it was not waited for\n"
        "equal(show(t:join()), 'nil, closed')\n"
        "table.sort({ 2, 1 }, function()\n"
        "  local task <close> = fcgi.spawn(fcgi.sleep, 100)\n"
        "  t = task\n"
        "  return false\n"
        "end)\n"
        "equal(show(t:join()), 'nil, closed')\n");
}

/* --- timeout and every, on real tasks ------------------------------------- */

static void timeout_ends_what_it_has_begun(void **state)
{
    (void)state;
    rig_run_lua(
        "equal(show(fcgi.timeout(100, function(...)\n"
        "  fcgi.sleep(0) return ..., nil, 3, nil end, 1)), '1, nil, 3, nil')\n"
        "equal(select('#', fcgi.timeout(1, function() end)), 0)\n"
        "local seen\n"
        "equal(show(fcgi.timeout(0.001, function()\n"
        "  local x <close> = on_close(function(_, err)\n"
        "    fcgi.sleep(0.001) seen = fcgi.cancelled(err) end)\n"
        "  fcgi.sleep(100)\n"
        "end)), 'nil, timeout')\n"
        "equal(seen, 'timeout') -- it has cleaned up by now\n"
        "equal(show(fcgi.timeout(0, function() return 'never begun' end)),\n"
        "  'nil, timeout')\n"
        "local value = {}\n"
        "local ok, err = pcall(fcgi.timeout, 100, error, value)\n"
        "equal(ok, false) equal(err, value)\n"
        "-- what comes during the clean-up is a result all the same\n"
        "equal(show(fcgi.timeout(0.001, function()\n"
        "  pcall(fcgi.sleep, 100) return 'late' end)), 'late')\n"
        "ok, err = pcall(fcgi.timeout, 0.001, function()\n"
        "  pcall(fcgi.sleep, 100) error('late', 0) end)\n"
        "equal(ok, false) equal(err, 'late')\n"
        "-- the inner of two\n"
        "equal(show(fcgi.timeout(0.001, function()\n"
        "  return fcgi.timeout(100, fcgi.sleep, 100) end)), 'nil, timeout')\n"
        "equal(show(fcgi.timeout(100, function()\n"
        "  return 'outer', fcgi.timeout(0.001, fcgi.sleep, 100)\n"
        "end)), 'outer, nil, timeout')\n");
    assert_string_equal(rig_log(), "");
}

static void every_goes_on_after_an_error_until_it_is_cancelled(void **state)
{
    (void)state;
    rig_run_lua("local rounds = 0\n"
                "local t\n"
                "t = fcgi.every(0.001, function(...)\n"
                "  equal(show(...), 'a, nil')\n"
                "  rounds = rounds + 1\n"
                "  if rounds == 2 then error('of round 2') end\n"
                "  if rounds == 4 then t:cancel('enough') fcgi.sleep(0) end\n"
                "end, 'a', nil)\n"
                "equal(show(t:join()), 'nil, enough')\n"
                "equal(rounds, 4)\n");
    assert_int_equal(rig_logged("of round 2"), 1);
    rig_assert_logged("stack traceback:");
    rig_assert_logged("(GET -, -, req ");
}

/* --- memory --------------------------------------------------------------- */

static const char busy_source[] =
    "local fcgi = require 'fcgi'\n"
    "function on_request(req)\n"
    "  local a = fcgi.spawn(function(x) fcgi.sleep(0) return x, 2 end, 1)\n"
    "  local b = fcgi.spawn(error, {})\n"
    "  local c <close> = fcgi.spawn(fcgi.sleep, 100)\n"
    "  local d = fcgi.spawn(fcgi.sleep, 100)\n"
    "  fcgi.spawn(error, 'x')\n"
    "  local x, y = a:join()\n"
    "  local ok, err = b:join()\n"
    "  d:cancel('r' .. #arg)\n"
    "  local _, reason = d:join()\n"
    "  local late, timeout = fcgi.timeout(0, fcgi.sleep, 100)\n"
    "  local ch = fcgi.channel()\n"
    "  fcgi.spawn(function() ch:put('v') end)\n"
    "  if ok == nil and type(err) == 'table' and (fcgi.sleep(0) or ch:get(0)) "
    "== 'v' then\n"
    "    return 200, nil, { x, y, ' ', reason, ' ', timeout }\n"
    "  end\n"
    "  return 500\n"
    "end\n";

static void over_the_limit_a_request_fails_cleanly(void **state)
{
    (void)state;
    rig_open(busy_source);
    rig_serve_short_of_memory("12 r0 timeout", 16);
}

static void comes_through_without_memory(void **state)
{
    char body[] = "12 r0 timeout";

    (void)state;
    rig_open(busy_source);
    alloc_each_fails(rig_serve_or_fail, body);
}

static void orphans_come_through_without_memory(void **state)
{
    char body[] = "x";

    (void)state;
    rig_open(orphan_source);
    rig_serve_short_of_memory("x", 24);
    alloc_each_fails(rig_serve_or_fail, body);
}

static bool was_raised;

static int no_limit(lua_State *L)
{
    script_of(L)->memory.limit = 0;
    was_raised = task_cancelled_reason(L, 1) != NULL;
    return 0;
}

/* Whatever of it fails, the cancellation comes at the next wait. */
static void no_cancellation_is_lost_without_memory(void **state)
{
    size_t more = 0;

    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "function on_request(req)\n"
             "  local ok, err = pcall(fcgi.sleep, 100)\n"
             "  no_limit(err)\n"
             "  if err == 'not enough memory' then\n"
             "    ok, err = pcall(fcgi.sleep, 0)\n"
             "  end\n"
             "  error(err, 0)\n"
             "end\n");
    lua_register(rig.script->L, "no_limit", no_limit);
    for (was_raised = false; !was_raised; more += 16) {
        struct task *task;

        rig_start(&request);
        rig_turns(1);
        task = rig_task();
        rig_limit_memory(more);
        task_cancel(task, "timeout");
        rig_run();
        assert_contains(request.head.data, "Status: 504 ");
    }
    assert_true(more > 16); /* some were short of it */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRIPT_TEST(a_task_begins_when_its_maker_waits),
        SCRIPT_TEST(join_gives_the_results_again_and_again),
        SCRIPT_TEST(tasks_run_in_the_order_in_which_they_were_spawned),
        SCRIPT_TEST(what_can_be_called_can_be_spawned),
        SCRIPT_TEST(many_may_join_one),
        SCRIPT_TEST(join_has_a_timeout),
        SCRIPT_TEST(nobody_can_join_for_ever),
        SCRIPT_TEST(a_failed_task_gives_its_error),
        SCRIPT_TEST(an_object_says_what_it_is),
        SCRIPT_TEST(a_cancelled_task_gives_its_reason),
        SCRIPT_TEST(a_reason_outlives_whoever_made_it),
        SCRIPT_TEST(one_that_has_not_begun_never_does),
        SCRIPT_TEST(one_may_cancel_itself),
        SCRIPT_TEST(an_ended_task_is_not_cancelled),
        SCRIPT_TEST(a_task_that_never_stops_waiting_is_closed_by_force),
        SCRIPT_TEST(a_requests_tasks_end_with_its_handler),
        SCRIPT_TEST(a_handler_that_fails_ends_its_tasks_too),
        SCRIPT_TEST(an_abort_ends_no_task),
        SCRIPT_TEST(orphans_may_clean_up_and_count_as_serving),
        SCRIPT_TEST(a_finalizer_that_is_called_by_hand_does_no_harm),
        SCRIPT_TEST(no_task_begins_when_the_script_has_ended),
        SCRIPT_TEST(no_cancellation_is_lost_without_memory),
        SCRIPT_TEST(the_orphans_of_a_request_count_as_one),
        SCRIPT_TEST(what_helps_an_orphan_has_its_patience_at_most),
        SCRIPT_TEST(the_error_of_an_orphan_is_logged),
        SCRIPT_TEST(a_detached_task_outlives_its_request),
        SCRIPT_TEST(detaching_changes_nothing_else),
        SCRIPT_TEST(
            a_detached_task_that_waits_for_its_request_is_woken_at_its_end),
        SCRIPT_TEST(the_error_of_a_detached_task_is_logged_after_a_while),
        SCRIPT_TEST(top_level_tasks_begin_when_the_script_serves),
        SCRIPT_TEST(they_never_begin_in_a_script_that_is_only_loaded),
        SCRIPT_TEST(what_a_workers_task_spawns_is_the_workers),
        SCRIPT_TEST(an_error_that_nobody_joined_is_logged_once),
        SCRIPT_TEST(the_collector_tells_of_it_too),
        SCRIPT_TEST(the_last_errors_are_logged_at_the_end_of_the_script),
        SCRIPT_TEST(the_end_of_a_block_sees_the_end_of_its_task),
        SCRIPT_TEST(a_cancellation_passes_its_reason_to_the_tasks_of_a_block),
        SCRIPT_TEST(where_nothing_can_wait_the_task_is_cancelled_all_the_same),
        SCRIPT_TEST(timeout_ends_what_it_has_begun),
        SCRIPT_TEST(every_goes_on_after_an_error_until_it_is_cancelled),
        SCRIPT_TEST(over_the_limit_a_request_fails_cleanly),
        SCRIPT_TEST(comes_through_without_memory),
        SCRIPT_TEST(orphans_come_through_without_memory),
    };

    return cmocka_run_group_tests_name("script/lua_task", tests, NULL, NULL);
}
