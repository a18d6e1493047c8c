/* script_task_test.c -- tasks: how they start, wait, are cancelled and end.
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

/* --- starting and ending -------------------------------------------------- */

static void nothing_runs_before_the_think_phase(void **state)
{
    (void)state;
    rig_open("function on_request(req) return 200, nil, 'x' end");
    rig_start(&request);
    assert_int_equal(request.ends, 0);
    assert_int_equal(script_tasks(rig.script), 1);
    assert_int_equal(rig_task()->state, TASK_NEW);
    rig_turns(1);
    assert_int_equal(request.ends, 1);
    assert_int_equal(script_tasks(rig.script), 0);
}

static void a_coroutine_is_used_again(void **state)
{
    lua_State *co;

    (void)state;
    rig_open("function on_request(req) return 200, nil, 'x' end");
    rig_serve(&request);
    assert_int_equal(rig.script->idle_count, 1);
    co = list_entry(rig.script->idle.next, struct task, link)->co;
    rig_start(&request);
    assert_ptr_equal(rig_task()->co, co);
    assert_int_equal(rig.script->idle_count, 0);
    rig_run();
    assert_int_equal(lua_gettop(co), 0);
    assert_int_equal(lua_status(co), LUA_OK);
}

static void one_that_failed_is_used_again_as_well(void **state)
{
    (void)state;
    rig_open("function on_request(req)\n"
             "  if req:param('BAD') then error('x') end\n"
             "  return 200, nil, 'good'\n"
             "end");
    assert_true(rig_begin(&request, REQUEST_RESPONDER));
    rig_param(&request, "BAD", "1");
    rig_ready(&request);
    rig_run();
    assert_failed_with(&request, "Status: 500 ");
    rig_serve(&request);
    assert_string_equal(request.body.data, "good");
    assert_int_equal(rig.script->idle_count, 1);
}

static void idle_coroutines_can_be_freed(void **state)
{
    (void)state;
    rig_open("function on_request(req) return 200, nil, 'x' end");
    rig_serve(&request);
    task_free_idle(rig.script);
    assert_int_equal(rig.script->idle_count, 0);
    rig_serve(&request);
    assert_string_equal(request.body.data, "x");
}

static void tasks_run_beside_each_other(void **state)
{
    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "function on_request(req)\n"
             "  if req:param('T') then fcgi.sleep(0.002) else req:read() end\n"
             "  return 200, nil, req:param('T') or 'read'\n"
             "end");
    assert_true(rig_begin(&request, REQUEST_RESPONDER));
    rig_ready(&request);
    assert_true(rig_begin(&other, REQUEST_RESPONDER));
    rig_param(&other, "T", "slept");
    rig_ready(&other);
    while (other.ends == 0)
        loop_turn(rig.loop, true);
    assert_int_equal(request.ends, 0);
    rig_input_end(&request);
    rig_run();
    assert_string_equal(request.body.data, "read");
    assert_string_equal(other.body.data, "slept");
}

static void the_end_of_the_script_ends_tasks_in_every_state(void **state)
{
    static struct rig_request three[3];

    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "function on_request(req)\n"
             "  local x <close> = setmetatable({}, { __close = function()\n"
             "    pcall(fcgi.sleep, 1) print('closed ' .. req:param('N')) end "
             "})\n"
             "  if req:param('N') == '0' then fcgi.sleep(100) end\n"
             "  req:read()\n"
             "end");
    for (int i = 0; i < 3; i++) {
        char number[2] = { (char)('0' + i), '\0' };

        assert_true(rig_begin(&three[i], REQUEST_RESPONDER));
        rig_param(&three[i], "N", number);
        rig_ready(&three[i]);
        if (i == 1)
            rig_turns(1); /* two wait, one is new */
    }
    rig_unload();
    for (int i = 0; i < 3; i++) {
        assert_int_equal(three[i].ends, 1);
        assert_contains(three[i].head.data, "Status: 503 ");
    }
    rig_assert_logged("closed 0");
    rig_assert_logged("closed 1");
    assert_lacks(rig_log(), "closed 2");
}

/* --- waiting -------------------------------------------------------------- */

static void a_task_that_waits_hears_of_its_request(void **state)
{
    (void)state;
    rig_open("function on_request(req)\n"
             "  return 200, nil, { req:read(3), '+', req:read(3) }\n"
             "end");
    assert_true(rig_begin(&request, REQUEST_RESPONDER));
    rig_ready(&request);
    rig_turns(1);
    assert_int_equal(rig_task()->state, TASK_WAITING);
    rig_input(&request, "ab");
    rig_turns(2);
    rig_input(&request, "cde");
    rig_run();
    assert_string_equal(request.body.data, "ab+cde");
}

static void news_for_nobody_is_no_trouble(void **state)
{
    (void)state;
    rig_open("function on_request(req)\n"
             "  return 200, nil, req:read()\n"
             "end");
    assert_true(rig_begin(&request, REQUEST_RESPONDER));
    rig_ready(&request);
    request_wake(request.req); /* new */
    task_wake(rig_task());
    rig_turns(1);
    task_wake(rig_task()); /* waiting, for nothing that came */
    task_wake(rig_task());
    request_wake(request.req);
    rig_turns(3);
    assert_int_equal(rig_task()->state, TASK_WAITING);
    rig_input(&request, "all");
    rig_input_end(&request);
    rig_run();
    assert_string_equal(request.body.data, "all");
}

static void a_wait_may_end_in_the_same_turn(void **state)
{
    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "function on_request(req)\n"
             "  for i = 1, 100 do fcgi.sleep(0) end\n"
             "  return 200, nil, 'x'\n"
             "end");
    rig_serve(&request);
    assert_string_equal(request.body.data, "x");
}

/* --- cancellation --------------------------------------------------------- */

static const char cancel_source[] =
    "local fcgi = require 'fcgi'\n"
    "function on_request(req)\n"
    "  local ok, err = pcall(fcgi.sleep, 100)\n"
    "  local reason = fcgi.cancelled(err)\n"
    "  fcgi.sleep(0)\n" /* works again */
    "  return 200, nil, { tostring(ok), ' ', tostring(err), ' ', reason }\n"
    "end";

static void cancelling_raises_once_at_the_wait(void **state)
{
    (void)state;
    rig_open(cancel_source);
    rig_start(&request);
    rig_turns(1);
    task_cancel(rig_task(), "stop");
    task_cancel(rig_task(), "twice"); /* the first counts */
    assert_false(loop_timer_is_running(&rig_task()->timer));
    rig_run();
    assert_string_equal(request.body.data, "false cancelled: stop stop");
}

static void one_that_was_cancelled_before_the_start_never_does(void **state)
{
    (void)state;
    rig_open("function on_request(req) print('begun') end");
    rig_start(&request);
    task_cancel(rig_task(), "stop");
    rig_run();
    assert_failed_with(&request, "Status: 503 ");
    assert_lacks(rig_log(), "begun");
}

static void a_wait_that_was_over_is_not_taken_back(void **state)
{
    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "function on_request(req)\n"
             "  fcgi.sleep(100)\n"
             "  local ok, err = pcall(fcgi.sleep, 100)\n"
             "  return 200, nil, { 'slept, ', tostring(err) }\n"
             "end");
    rig_start(&request);
    rig_turns(1);
    task_wake(rig_task());
    task_cancel(rig_task(), "stop");
    rig_run();
    assert_string_equal(request.body.data, "slept, cancelled: stop");
}

static void one_that_never_waits_is_not_disturbed(void **state)
{
    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "function on_request(req)\n"
             "  fcgi.sleep(0)\n"
             "  return 200, nil, 'x'\n"
             "end");
    rig_start(&request);
    rig_turns(1);
    task_wake(rig_task());
    task_cancel(rig_task(), "stop");
    rig_run();
    assert_string_equal(request.body.data, "x");
}

static void closing_variables_may_wait_after_a_cancellation(void **state)
{
    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "local function guard(name)\n"
             "  return setmetatable({}, { __close = function(_, err)\n"
             "    for i = 1, 2 do fcgi.sleep(0) end\n"
             "    print(name .. ' ' .. fcgi.cancelled(err))\n"
             "  end })\n"
             "end\n"
             "function on_request(req)\n"
             "  local a <close> = guard('a')\n"
             "  local b <close> = guard('b')\n"
             "  fcgi.sleep(100)\n"
             "end");
    rig_start(&request);
    rig_turns(1);
    task_cancel(rig_task(), "stop");
    rig_run();
    assert_failed_with(&request, "Status: 503 ");
    rig_assert_logged("a stop");
    rig_assert_logged("b stop");
    rig_assert_logged("cancelled: stop");
}

static void over_the_timeout_a_request_gets_504(void **state)
{
    (void)state;
    rig.limits.timeout = 0.005;
    rig_open("local fcgi = require 'fcgi'\n"
             "function on_request(req) fcgi.sleep(100) end");
    rig_serve(&request);
    assert_failed_with(&request, "Status: 504 ");
    rig_assert_logged("cancelled: timeout");
}

static void a_timeout_after_the_head_breaks_the_answer_off(void **state)
{
    (void)state;
    rig.limits.timeout = 0.005;
    rig_open("local fcgi = require 'fcgi'\n"
             "function on_request(req)\n"
             "  req:write('Status: 200\\r\\n\\r\\nbegun') fcgi.sleep(100)\n"
             "end");
    rig_serve(&request);
    assert_string_equal(request.body.data, "begun");
    assert_int_equal(request.heads, 1);
    assert_int_equal(request.app_status, 1);
}

static void one_in_time_is_not_disturbed_later(void **state)
{
    (void)state;
    rig.limits.timeout = 0.4;
    rig_open("local fcgi = require 'fcgi'\n"
             "function on_request(req)\n"
             "  fcgi.sleep(0.21) return 200, nil, 'x'\n"
             "end");
    rig_serve(&request); /* together they take longer, in one coroutine */
    rig_serve(&other);
    assert_string_equal(request.body.data, "x");
    assert_string_equal(other.body.data, "x");
}

static void after_its_patience_every_wait_raises(void **state)
{
    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "function on_request(req)\n"
             "  local errors = 0\n"
             "  for i = 1, 5 do\n"
             "    if not pcall(fcgi.sleep, 100) then errors = errors + 1 end\n"
             "  end\n"
             "  return 200, nil, errors\n"
             "end");
    rig_start(&request);
    rig_turns(1);
    task_cancel(rig_task(), "stop");
    rig_turns(1); /* cleans up, it says, in the second sleep */
    assert_int_equal(rig_task()->state, TASK_WAITING);
    rig_fire(&rig_task()->deadline);
    rig_run();
    assert_string_equal(request.body.data, "5");
}

static void one_that_never_stops_waiting_is_closed(void **state)
{
    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "function on_request(req)\n"
             "  local x <close> = setmetatable({}, { __close = function()\n"
             "    print('closed at last') end })\n"
             "  while not req:param('GOOD') do pcall(fcgi.sleep, 100) end\n"
             "end");
    rig_start(&request);
    rig_turns(1);
    task_cancel(rig_task(), "stop");
    rig_turns(1);
    rig_fire(&rig_task()->deadline);
    rig_run();
    assert_failed_with(&request, "Status: 503 ");
    rig_assert_logged("it does not end after its cancellation");
    rig_assert_logged("closed at last");
    assert_true(rig_begin(&other, REQUEST_RESPONDER));
    rig_param(&other, "GOOD", "1");
    rig_ready(&other);
    rig_run();
    assert_int_equal(other.ends, 1);
}

static void a_wait_that_is_not_granted_is_taken_back(void **state)
{
    struct task *other_task;

    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "local other = fcgi.spawn(fcgi.sleep, 100)\n"
             "function on_request(req)\n"
             "  while true do pcall(other.join, other) end\n"
             "end");
    other_task = rig_task();
    rig_start(&request);
    rig_turns(1);
    task_cancel(request.req->handler, "stop");
    rig_turns(1);
    rig_fire(&((struct task *)request.req->handler)->deadline);
    rig_turns(1);
    assert_failed_with(&request, "Status: 503 ");
    assert_true(list_is_empty(&other_task->joiners));
    rig_fire(&other_task->timer);
    rig_run();
}

static void everything_is_cancelled_at_once(void **state)
{
    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "function on_request(req)\n"
             "  local ok, err = pcall(fcgi.sleep, 100)\n"
             "  return 200, nil, fcgi.cancelled(err)\n"
             "end");
    rig_start(&request);
    rig_start(&other);
    rig_turns(1);
    script_cancel_all(rig.script, "stop");
    rig_run();
    assert_string_equal(request.body.data, "stop");
    assert_string_equal(other.body.data, "stop");
}

static void a_wait_outside_of_a_request_says_so(void **state)
{
    (void)state;
    assert_int_equal(rig_load("require('fcgi').sleep(0)"), SCRIPT_FAILED);
    assert_contains(rig.error, "app.lua:1: cannot wait here: the script is");
}

static void an_error_that_a_clean_up_joins_is_not_logged(void **state)
{
    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "local function at_end(f)\n"
             "  return setmetatable({}, { __close = f })\n"
             "end\n"
             "local first\n"
             "function on_request(req)\n"
             "  first = fcgi.spawn(function()\n"
             "    local _ <close> = at_end(function()\n"
             "      pcall(fcgi.sleep, 100) error('bad', 0) end)\n"
             "    fcgi.sleep(100)\n"
             "  end)\n"
             "  fcgi.spawn(function()\n"
             "    local _ <close> = at_end(function()\n"
             "      print('got ' .. select(2, first:join())) end)\n"
             "    fcgi.sleep(100)\n"
             "  end)\n"
             "  fcgi.sleep(0)\n"
             "  first:cancel()\n"
             "  fcgi.sleep(0)\n"
             "  return 200, nil, 'x'\n"
             "end");
    rig_start(&request);
    while (request.req != NULL)
        rig_turns(1);
    rig_turns(2); /* the first cleans up, the second waits for it */
    for (struct list *link = rig.script->tasks.next;
         link != &rig.script->tasks;) {
        struct task *task = list_entry(link, struct task, link);

        link = link->next;
        if (loop_timer_is_running(&task->timer))
            rig_fire(&task->timer);
    }
    rig_run();
    rig_assert_logged("got bad");
    assert_lacks(rig_log(), "error");
}

/* --- memory --------------------------------------------------------------- */

static const char steady_source[] =
    "local fcgi = require 'fcgi'\n"
    "function on_request(req)\n"
    "  local x <close> = setmetatable({}, { __close = function()\n"
    "    fcgi.sleep(0) end })\n"
    "  req:set_header('X-A', 'b')\n"
    "  fcgi.sleep(0)\n"
    "  return 200, nil, req:read()\n"
    "end";

/* The first allocation that is over the limit is another one each time. */
static void over_the_limit_a_request_fails_cleanly(void **state)
{
    bool served = false;

    (void)state;
    rig_open(steady_source);
    for (size_t more = 0; !served; more += 8) {
        rig_limit_memory(more);
        assert_true(rig_begin(&request, REQUEST_RESPONDER));
        rig_ready(&request);
        rig_turns(1);
        if (request.req != NULL) {
            rig_input(&request, "body");
            rig_input_end(&request);
        }
        rig_run();
        assert_int_equal(request.ends, 1);
        served = request.app_status == 0;
        if (!served) {
            assert_failed_with(&request, "Status: 500 ");
            rig_assert_logged("not enough memory");
        } else {
            assert_string_equal(request.body.data, "body");
        }
        rig_forget_log();
        rig.script->memory.limit = 0;
    }
}

static void serve_or_fail(void *arg)
{
    (void)arg;
    if (!rig_begin(&request, REQUEST_RESPONDER))
        return;
    rig_ready(&request);
    rig_turns(1);
    rig_input_end(&request);
    rig_run();
    assert_int_equal(request.ends, 1);
    assert_int_equal(request.heads, 1);
    task_free_idle(rig.script);
}

static void comes_through_without_memory(void **state)
{
    (void)state;
    rig_open(steady_source);
    alloc_each_fails(serve_or_fail, NULL);
}

static void cancel_or_fail(void *arg)
{
    (void)arg;
    if (!rig_begin(&request, REQUEST_RESPONDER))
        return;
    rig_ready(&request);
    rig_turns(1);
    script_cancel_all(rig.script, "stop");
    rig_run();
    assert_int_equal(request.ends, 1);
    task_free_idle(rig.script);
}

static void a_cancellation_comes_through_without_memory(void **state)
{
    (void)state;
    rig_open(cancel_source);
    alloc_each_fails(cancel_or_fail, NULL);
    for (size_t more = 0; more < 8192; more += 32) {
        task_free_idle(rig.script);
        lua_gc(rig.script->L, LUA_GCCOLLECT, 0);
        rig_start(&request);
        rig_turns(1);
        rig.script->memory.limit = rig.script->memory.used + 1 + more;
        script_cancel_all(rig.script, "stop");
        rig_run();
        assert_int_equal(request.ends, 1);
        rig.script->memory.limit = 0;
    }
    assert_string_equal(request.body.data, "false cancelled: stop stop");
}

static void close_or_fail(void *arg)
{
    struct task *task;

    (void)arg;
    if (!rig_begin(&request, REQUEST_RESPONDER))
        return;
    rig_ready(&request);
    rig_turns(1);
    task = request.req == NULL ? NULL : request.req->handler;
    if (task != NULL) {
        task_cancel(task, "stop");
        rig_turns(1);
    }
    if (request.req != NULL)
        rig_fire(&task->deadline);
    rig_run();
    assert_int_equal(request.ends, 1);
    task_free_idle(rig.script);
}

/* What Lua cannot get it looks for in its garbage, and the stack of what is
 * closed holds nothing any more. */
static void closing_by_force_comes_through_without_memory(void **state)
{
    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "function on_request(req)\n"
             "  while true do pcall(fcgi.sleep, 100) end\n"
             "end");
    alloc_each_fails(close_or_fail, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRIPT_TEST(nothing_runs_before_the_think_phase),
        SCRIPT_TEST(a_coroutine_is_used_again),
        SCRIPT_TEST(one_that_failed_is_used_again_as_well),
        SCRIPT_TEST(idle_coroutines_can_be_freed),
        SCRIPT_TEST(tasks_run_beside_each_other),
        SCRIPT_TEST(the_end_of_the_script_ends_tasks_in_every_state),
        SCRIPT_TEST(a_task_that_waits_hears_of_its_request),
        SCRIPT_TEST(news_for_nobody_is_no_trouble),
        SCRIPT_TEST(a_wait_may_end_in_the_same_turn),
        SCRIPT_TEST(cancelling_raises_once_at_the_wait),
        SCRIPT_TEST(one_that_was_cancelled_before_the_start_never_does),
        SCRIPT_TEST(a_wait_that_was_over_is_not_taken_back),
        SCRIPT_TEST(one_that_never_waits_is_not_disturbed),
        SCRIPT_TEST(closing_variables_may_wait_after_a_cancellation),
        SCRIPT_TEST(over_the_timeout_a_request_gets_504),
        SCRIPT_TEST(a_timeout_after_the_head_breaks_the_answer_off),
        SCRIPT_TEST(one_in_time_is_not_disturbed_later),
        SCRIPT_TEST(after_its_patience_every_wait_raises),
        SCRIPT_TEST(one_that_never_stops_waiting_is_closed),
        SCRIPT_TEST(a_wait_that_is_not_granted_is_taken_back),
        SCRIPT_TEST(everything_is_cancelled_at_once),
        SCRIPT_TEST(a_wait_outside_of_a_request_says_so),
        SCRIPT_TEST(an_error_that_a_clean_up_joins_is_not_logged),
        SCRIPT_TEST(over_the_limit_a_request_fails_cleanly),
        SCRIPT_TEST(comes_through_without_memory),
        SCRIPT_TEST(a_cancellation_comes_through_without_memory),
        SCRIPT_TEST(closing_by_force_comes_through_without_memory),
    };

    return cmocka_run_group_tests_name("script/task", tests, NULL, NULL);
}
