/* script_cancel_test.c -- cancellation in every state of a task.
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

static struct rig_request request;

/* What the handler says of three waits. */
static const char source[] =
    "local fcgi = require 'fcgi'\n"
    "local waits = {\n"
    "  sleep = function() fcgi.sleep(100) end,\n"
    "  read = function(req) req:read(1) end,\n"
    "  join = function() fcgi.spawn(fcgi.sleep, 100):join() end,\n"
    "  get = function() fcgi.channel():get() end,\n"
    "  put = function() fcgi.channel():put(1) end,\n"
    "  coroutine = function() coroutine.wrap(fcgi.sleep)(100) end,\n"
    "  timeout = function() fcgi.timeout(100, fcgi.sleep, 100) end,\n"
    "}\n"
    "function on_request(req)\n"
    "  local wait, said = waits[req:param 'WAIT'], {}\n"
    "  for i = 1, 3 do\n"
    "    local ok, err = pcall(wait, req)\n"
    "    said[i] = tostring(fcgi.cancelled(err))\n"
    "    if i == 1 then fcgi.sleep(0) end\n"
    "  end\n"
    "  return 200, nil, table.concat(said, ', ')\n"
    "end\n";

static const char *const waits[] = { "sleep", "read",      "join",   "get",
                                     "put",   "coroutine", "timeout" };

enum { WAITS = sizeof(waits) / sizeof(*waits) };

/* The handler waits; its task. */
static struct task *begin_wait(const char *wait)
{
    struct task *task;

    assert_true(rig_begin(&request, REQUEST_RESPONDER));
    rig_param(&request, "WAIT", wait);
    rig_ready(&request);
    rig_turns(3);
    task = request.req->handler;
    assert_int_equal(task->state, TASK_WAITING);
    return task;
}

/* --- each state, each wait ------------------------------------------------ */

static void
a_wait_raises_and_later_ones_work_while_there_is_patience(void **state)
{
    (void)state;
    rig_open(source);
    for (int i = 0; i < WAITS; i++) {
        struct task *task = begin_wait(waits[i]);

        task_cancel(task, "first");
        task_cancel(task, "second");
        assert_string_equal(task->cancel_reason, "first");
        rig_turns(4);
        assert_int_equal(task->state, TASK_WAITING); /* in the second wait */
        assert_false(task->out_of_patience);
        assert_true(loop_timer_is_running(&task->deadline));
        task_cancel(task, "third"); /* changes nothing */
        rig_turns(1);
        assert_int_equal(task->state, TASK_WAITING);
        rig_fire(&task->deadline);
        assert_true(task->out_of_patience);
        rig_run();
        assert_string_equal(request.body.data, "first, first, first");
    }
}

static void
a_wait_that_is_over_gives_what_it_has_and_the_next_raises(void **state)
{
    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "function on_request(req)\n"
             "  local got = req:read(4)\n"
             "  local ok, err = pcall(fcgi.sleep, 100)\n"
             "  return 200, nil, { got, ' ', fcgi.cancelled(err) }\n"
             "end");
    assert_true(rig_begin(&request, REQUEST_RESPONDER));
    rig_ready(&request);
    rig_turns(1);
    rig_input(&request, "data");
    task_cancel(request.req->handler, "why");
    rig_run();
    assert_string_equal(request.body.data, "data why");
}

static void one_that_runs_hears_of_it_at_its_next_wait(void **state)
{
    (void)state;
    rig_run_lua(
        "local t, log = nil, {}\n"
        "t = fcgi.spawn(function()\n"
        "  t:cancel('why')\n"
        "  log[1] = 'runs on'\n"
        "  for i = 2, 4 do\n"
        "    local ok, err = pcall(fcgi.sleep, 0)\n"
        "    log[i] = fcgi.cancelled(err) or 'slept'\n"
        "  end\n"
        "end)\n"
        "t:join()\n"
        "equal(table.concat(log, ', '), 'runs on, why, slept, slept')\n");
}

static void one_that_has_not_begun_ends_without_a_word(void **state)
{
    (void)state;
    rig_open("function on_request() print('begun') end");
    rig_start(&request);
    task_cancel(rig_task(), "timeout");
    rig_run();
    assert_failed_with(&request, "Status: 504 ");
    assert_lacks(rig_log(), "begun");
}

static void
patience_that_ends_while_nothing_waits_is_for_the_next_wait(void **state)
{
    struct task *task;

    (void)state;
    rig_open(source);
    task = begin_wait("sleep");
    task_cancel(task, "why");
    assert_true(task->is_woken); /* it raises, but has not run yet */
    rig_fire(&task->deadline);
    rig_run();
    /* the clean-up's wait between the first and the second raised, too */
    assert_failed_with(&request, "Status: 503 ");
}

static void an_ended_one_is_left_alone(void **state)
{
    struct task *task;

    (void)state;
    rig_open("function on_request() return 200, nil, 'x' end");
    rig_serve(&request);
    task = list_entry(rig.script->idle.next, struct task, link);
    assert_int_equal(task->state, TASK_ENDED);
    task_cancel(task, "why");
    assert_null(task->cancel_reason);
    assert_false(loop_timer_is_running(&task->deadline));
    rig_serve(&request);
    assert_string_equal(request.body.data, "x");
}

static void no_wait_goes_on_for_ever(void **state)
{
    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "function on_request(req)\n"
             "  local n = 0\n"
             "  local x <close> = setmetatable({}, { __close = function()\n"
             "    print('refused ' .. n) end })\n"
             "  while true do\n"
             "    pcall(req:param('WAIT') == 'sleep' and fcgi.sleep or\n"
             "      function() fcgi.channel():get() end, 100)\n"
             "    n = n + 1\n"
             "  end\n"
             "end");
    for (int i = 0; i < 2; i++) {
        struct task *task = begin_wait(i == 0 ? "sleep" : "get");

        task_cancel(task, "why");
        rig_turns(1);
        rig_fire(&task->deadline);
        rig_run();
        assert_failed_with(&request, "Status: 503 ");
        rig_assert_logged("it does not end after its cancellation");
        rig_assert_logged("refused 10"); /* once, patience, and eight */
        rig_forget_log();
    }
}

/* --- the deadline --------------------------------------------------------- */

static void a_deadline_cancels_with_timeout(void **state)
{
    (void)state;
    rig.limits.timeout = 0.002;
    rig_open("local fcgi = require 'fcgi'\n"
             "function on_request(req)\n"
             "  local ok, err = pcall(fcgi.sleep, 100)\n"
             "  return 200, nil, fcgi.cancelled(err)\n"
             "end");
    rig_serve(&request);
    assert_string_equal(request.body.data, "timeout");
}

static void a_deadline_does_not_come_after_a_cancellation(void **state)
{
    struct task *task;

    (void)state;
    rig.limits.timeout = 60;
    rig_open(source);
    task = begin_wait("sleep");
    task_cancel(task, "why");
    rig_turns(2);
    rig_fire(&task->deadline); /* it is the end of patience by now */
    assert_true(task->out_of_patience);
    rig_run();
    assert_string_equal(request.body.data, "why, why, why");
}

/* --- the error value ------------------------------------------------------ */

static void the_error_has_its_reason(void **state)
{
    (void)state;
    rig_run_lua("local t, err\n"
                "t = fcgi.spawn(function()\n"
                "  t:cancel('why')\n"
                "  err = select(2, pcall(fcgi.sleep, 0))\n"
                "end)\n"
                "t:join()\n"
                "equal(type(err), 'userdata')\n"
                "equal(tostring(err), 'cancelled: why')\n"
                "equal(fcgi.cancelled(err), 'why')\n"
                "equal(getmetatable(err), false)\n"
                "for _, v in ipairs { 1, 'cancelled: why', {}, print, "
                "io.stdout, true } do\n"
                "  equal(fcgi.cancelled(v), nil)\n"
                "end\n"
                "equal(show(fcgi.cancelled(nil)), 'nil')\n"
                "equal(show(fcgi.cancelled()), 'nil')\n"
                "-- one without a reason cannot be made to crash\n"
                "local class = debug.getmetatable(err)\n"
                "local lent = debug.setmetatable(io.tmpfile(), class)\n"
                "equal(fcgi.cancelled(lent), nil)\n"
                "equal(tostring(lent), 'cancelled: ?')\n");
}

/* --- memory --------------------------------------------------------------- */

static void cancel_or_fail(void *arg)
{
    (void)arg;
    if (!rig_begin(&request, REQUEST_RESPONDER))
        return;
    rig_ready(&request);
    rig_turns(3);
    script_cancel_all(rig.script, "why");
    rig_run();
    assert_int_equal(request.ends, 1);
    assert_int_equal(rig.service.serving, 0);
    task_free_idle(rig.script);
}

static const char cancelled_source[] =
    "local fcgi = require 'fcgi'\n"
    "function on_request(req)\n"
    "  local t <close> = fcgi.spawn(function()\n"
    "    local x <close> = setmetatable({}, { __close = function()\n"
    "      fcgi.sleep(0) end })\n"
    "    coroutine.wrap(fcgi.sleep)(100)\n"
    "  end)\n"
    "  local ok, err = pcall(t.join, t)\n"
    "  return 200, nil, fcgi.cancelled(err)\n"
    "end\n";

static void comes_through_without_memory(void **state)
{
    (void)state;
    rig_open(cancelled_source);
    alloc_each_fails(cancel_or_fail, NULL);
    assert_string_equal(request.body.data, "why");
}

static void over_the_limit_a_cancelled_request_ends(void **state)
{
    bool served = false;

    (void)state;
    rig_open(cancelled_source);
    for (size_t more = 0; !served; more += 16) {
        task_free_idle(rig.script);
        lua_gc(rig.script->L, LUA_GCCOLLECT, 0);
        rig_start(&request);
        rig_turns(3);
        lua_gc(rig.script->L, LUA_GCCOLLECT, 0);
        rig.script->memory.limit = rig.script->memory.used + 1 + more;
        script_cancel_all(rig.script, "why");
        rig_run();
        assert_int_equal(request.ends, 1);
        served = strcmp(request.body.data, "why") == 0;
        rig.script->memory.limit = 0;
        rig_forget_log();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRIPT_TEST(a_wait_raises_and_later_ones_work_while_there_is_patience),
        SCRIPT_TEST(a_wait_that_is_over_gives_what_it_has_and_the_next_raises),
        SCRIPT_TEST(one_that_runs_hears_of_it_at_its_next_wait),
        SCRIPT_TEST(one_that_has_not_begun_ends_without_a_word),
        SCRIPT_TEST(
            patience_that_ends_while_nothing_waits_is_for_the_next_wait),
        SCRIPT_TEST(an_ended_one_is_left_alone),
        SCRIPT_TEST(no_wait_goes_on_for_ever),
        SCRIPT_TEST(a_deadline_cancels_with_timeout),
        SCRIPT_TEST(a_deadline_does_not_come_after_a_cancellation),
        SCRIPT_TEST(the_error_has_its_reason),
        SCRIPT_TEST(comes_through_without_memory),
        SCRIPT_TEST(over_the_limit_a_cancelled_request_ends),
    };

    return cmocka_run_group_tests_name("script/cancel", tests, NULL, NULL);
}
