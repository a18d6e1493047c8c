/* script_lua_ngx_test.c -- what lua/fcgi/ngx.lua needs of C, seen through it.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "script_rig.h"

static struct rig_request request, another;

static void serve(const char *statements)
{
    char source[4096];

    snprintf(source, sizeof(source),
             "local fcgi, ngx = require 'fcgi', require 'fcgi.ngx'\n"
             "local function refused(part, f, ...)\n"
             "  local ok, err = pcall(f, ...)\n"
             "  if ok or not tostring(err):find(part, 1, true) then\n"
             "    error('not refused: ' .. tostring(err), 2)\n"
             "  end\n"
             "end\n"
             "function on_request(req)\n%s\n"
             "  return 200, nil, 'ok'\n"
             "end",
             statements);
    rig_unload();
    rig_open(source);
    assert_true(rig_begin(&request, REQUEST_RESPONDER));
    rig_param(&request, "REQUEST_METHOD", "PUT");
    rig_ready(&request);
    rig_input_end(&request);
    rig_run();
    rig_check(&request);
}

static void the_request_is_found_wherever_its_task_is(void **state)
{
    (void)state;
    serve("local function method() return ngx.var.request_method end\n"
          "assert(method() == 'PUT')\n"
          "assert(coroutine.wrap(method)() == 'PUT')\n"
          "coroutine.wrap(function()\n"
          "  coroutine.wrap(function()\n"
          "    fcgi.sleep(0)\n"
          "    assert(method() == 'PUT' and ngx.ctx == req.ctx)\n"
          "  end)()\n"
          "end)()\n"
          "assert(select(2, pcall(method)) == 'PUT')\n"
          "table.sort({ 2, 1 }, function() return not method() end)\n"
          "local deep\n"
          "function deep(n) return n == 0 and method() or (deep(n - 1)) end\n"
          "assert(deep(150) == 'PUT')\n"
          "local child = fcgi.spawn(function()\n"
          "  local grandchild = fcgi.spawn(function()\n"
          "    return method(), ngx.ctx\n"
          "  end)\n"
          "  return grandchild:join()\n"
          "end)\n"
          "local got, ctx = child:join()\n"
          "assert(got == 'PUT' and ctx == req.ctx)");
}

static void an_abort_hook_has_the_request(void **state)
{
    (void)state;
    rig_open("local fcgi, ngx = require 'fcgi', require 'fcgi.ngx'\n"
             "function on_request(req)\n"
             "  req:on_abort(function()\n"
             "    print('aborted', ngx.req.get_method(), ngx.get_phase())\n"
             "  end)\n"
             "  req:read()\n"
             "end");
    assert_true(rig_begin(&request, REQUEST_RESPONDER));
    rig_ready(&request);
    rig_turns(2);
    rig_abort(&request);
    rig_run();
    rig_assert_logged("aborted\tGET\tcontent");
}

static void there_is_none_after_the_handler_or_in_other_tasks(void **state)
{
    (void)state;
    rig_open("local fcgi, ngx = require 'fcgi', require 'fcgi.ngx'\n"
             "local function check()\n"
             "  local ok, err = pcall(ngx.req.get_method)\n"
             "  print(ok, tostring(err):match('[^:]+$'))\n"
             "end\n"
             "check()\n"
             "function on_request(req)\n"
             "  fcgi.spawn(function()\n"
             "    local ok, err = pcall(fcgi.sleep, 60)\n"
             "    fcgi.sleep(0)\n"
             "    check()\n"
             "  end)\n"
             "  fcgi.spawn(check):detach():join()\n"
             "  return 200, nil, 'ok'\n"
             "end");
    rig_serve(&request);
    assert_int_equal(
        rig_logged("false\t no request is being served here (init)"), 1);
    assert_int_equal(
        rig_logged("false\t no request is being served here (timer)"), 1);
    assert_int_equal(
        rig_logged("false\t no request is being served here (content)"), 1);
}

static void tasks_without_a_request_have_a_ctx_of_their_own(void **state)
{
    (void)state;
    serve("local seen = {}\n"
          "local function look()\n"
          "  local ctx = ngx.ctx\n"
          "  assert(next(ctx) == nil and not seen[ctx])\n"
          "  seen[ctx] = true\n"
          "  ctx.name = 1\n"
          "  coroutine.wrap(function() assert(ngx.ctx == ctx) end)()\n"
          "  fcgi.sleep(0)\n"
          "  assert(ngx.ctx == ctx)\n"
          "  ngx.ctx = { 5 }\n"
          "  assert(ngx.ctx[1] == 5)\n"
          "  return true\n"
          "end\n"
          "for _ = 1, 5 do\n"
          "  assert(fcgi.spawn(look):detach():join())\n"
          "end\n"
          "ngx.ctx.a = 1\n"
          "assert(req.ctx.a == 1)\n"
          "ngx.ctx = { b = 2 }\n"
          "assert(req.ctx.b == 2)\n"
          "refused('must be a table', function() ngx.ctx = 1 end)");
}

static void note(void *arg, bool went_well)
{
    (void)arg;
    assert_true(went_well);
}

static void phases_have_the_names_of_nginx(void **state)
{
    (void)state;
    rig_open("local fcgi, ngx = require 'fcgi', require 'fcgi.ngx'\n"
             "assert(ngx.get_phase() == 'init' and not ngx.worker.exiting())\n"
             "function on_worker()\n"
             "  print('in on_worker', ngx.get_phase())\n"
             "end\n"
             "function on_exit()\n"
             "  print('in on_exit', ngx.get_phase(), ngx.worker.exiting())\n"
             "end\n"
             "function on_request()\n"
             "  assert(ngx.get_phase() == 'content')\n"
             "  assert(not ngx.worker.exiting())\n"
             "  ngx.timer.at(0, function(premature)\n"
             "    print('in a timer', ngx.get_phase(), premature)\n"
             "  end)\n"
             "  return 200, nil, 'ok'\n"
             "end");
    script_run_on_worker(rig.script, 1, note, NULL);
    rig_run();
    rig_serve(&request);
    rig_check(&request);
    script_run_on_exit(rig.script, 1, "stop", note, NULL);
    rig_run();
    rig_assert_logged("in on_worker\tinit_worker");
    rig_assert_logged("in a timer\ttimer\tfalse");
    rig_assert_logged("in on_exit\texit_worker\ttrue");
}

static void a_timer_is_the_workers(void **state)
{
    (void)state;
    rig_open("local fcgi, ngx = require 'fcgi', require 'fcgi.ngx'\n"
             "function on_request()\n"
             "  ngx.timer.at(60, function(premature, a)\n"
             "    print('premature', premature, a, ngx.timer.running_count())\n"
             "  end, 'x')\n"
             "  ngx.timer.every(60, function(premature) error('e') end)\n"
             "  fcgi.sleep(0)\n"
             "  assert(ngx.timer.pending_count() == 2)\n"
             "  return 200, nil, 'ok'\n"
             "end");
    rig_start(&request);
    rig_turns(4);
    assert_null(request.req);
    assert_int_equal(script_tasks(rig.script), 2);
    assert_int_equal(script_worker_tasks(rig.script), 2);
    rig_begin(&another, REQUEST_RESPONDER); /* hears nothing of it */
    script_cancel_all(rig.script, "stop");
    rig_run();
    rig_assert_logged("premature\ttrue\tx\t1");
    rig_assert_logged("app.lua:6: e");
    rig_detach(&another);
}

static void the_clock_is_the_calendars(void **state)
{
    (void)state;
    serve("local a, t = ngx.now(), ngx.time()\n"
          "assert(math.type(a) == 'float' and math.type(t) == 'integer')\n"
          "assert(math.abs(a - t) < 2 and ngx.now() >= a)");
}

static void new_tables_are_empty(void **state)
{
    (void)state;
    serve("local new = require 'table.new'\n"
          "assert(next(new(10, 5)) == nil and next(new()) == nil)\n"
          "refused('not a size', new, -1, 0)\n"
          "refused('not a size', new, 0, 1 << 40)\n"
          "assert(type(ngx.null) == 'userdata')\n"
          "assert(tostring(ngx.null):match('nil') or\n"
          "  tostring(ngx.null):match('0'))");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRIPT_TEST(the_request_is_found_wherever_its_task_is),
        SCRIPT_TEST(an_abort_hook_has_the_request),
        SCRIPT_TEST(there_is_none_after_the_handler_or_in_other_tasks),
        SCRIPT_TEST(tasks_without_a_request_have_a_ctx_of_their_own),
        SCRIPT_TEST(phases_have_the_names_of_nginx),
        SCRIPT_TEST(a_timer_is_the_workers),
        SCRIPT_TEST(the_clock_is_the_calendars),
        SCRIPT_TEST(new_tables_are_empty),
    };

    return cmocka_run_group_tests_name("script/lua_ngx", tests, NULL, NULL);
}
