/* script_watchdog_test.c -- Lua that never yields is ended.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <cmocka.h>

#include "script_rig.h"

static struct rig_request request;

static void open_with_limit(double limit, const char *source)
{
    rig.limits.block_limit = limit;
    rig_open(source);
}

static void assert_was_stopped(void)
{
    assert_failed_with(&request, "Status: 500 ");
    rig_assert_logged("(--block-limit)");
}

/* The same script serves on. */
static void assert_serves_on(void)
{
    assert_true(rig_begin(&request, REQUEST_RESPONDER));
    rig_param(&request, "GOOD", "1");
    rig_ready(&request);
    rig_run();
    assert_string_equal(request.body.data, "good");
}

#define GOOD "  if req:param('GOOD') then return 200, nil, 'good' end\n"

static void an_endless_loop_is_stopped(void **state)
{
    (void)state;
    open_with_limit(0.08,
                    "function on_request(req)\n" GOOD "  while true do end\n"
                    "end");
    for (int i = 0; i < 2; i++) {
        rig_serve(&request);
        assert_was_stopped();
        assert_serves_on();
    }
}

static void not_before_the_limit(void **state)
{
    double begun, took;

    (void)state;
    open_with_limit(0.08, "function on_request(req) while true do end end");
    begun = loop_now();
    rig_serve(&request);
    took = loop_now() - begun;
    assert_was_stopped();
    assert_true(took >= 0.06);
}

static void catching_the_error_does_not_help(void **state)
{
    (void)state;
    open_with_limit(0.08, "function on_request(req)\n" GOOD
                          "  local function spin() while true do end end\n"
                          "  while true do pcall(spin) end\n"
                          "end");
    rig_serve(&request);
    assert_was_stopped();
    assert_serves_on();
}

static void a_loop_in_a_coroutine_is_stopped(void **state)
{
    (void)state;
    open_with_limit(0.08, "function on_request(req)\n" GOOD "  while true do\n"
                          "    coroutine.wrap(function()\n"
                          "      pcall(coroutine.wrap(function()\n"
                          "        while true do end end)) end)()\n"
                          "  end\n"
                          "end");
    rig_serve(&request);
    assert_was_stopped();
    assert_serves_on();
}

static void a_loop_in_on_error_is_stopped(void **state)
{
    (void)state;
    open_with_limit(0.08, "function on_request(req)\n" GOOD "  error('x')\n"
                          "end\n"
                          "function on_error() while true do end end");
    rig_serve(&request);
    assert_was_stopped();
    assert_serves_on();
}

static void a_loop_while_closing_is_stopped(void **state)
{
    (void)state;
    open_with_limit(0.08, "function on_request(req)\n" GOOD
                          "  local x <close> = setmetatable({}, { __close =\n"
                          "    function() while true do end end })\n"
                          "  coroutine.yield()\n"
                          "end");
    rig_serve(&request);
    assert_failed_with(&request, "Status: 500 ");
    assert_serves_on();
}

/* Stretches of less than the limit, but together over it. */
static void many_short_stretches_are_no_long_one(void **state)
{
    (void)state;
    open_with_limit(0.1, "local fcgi = require 'fcgi'\n"
                         "function on_request(req)\n"
                         "  for i = 1, 20 do\n"
                         "    local t = fcgi.now() + 0.01\n"
                         "    while fcgi.now() < t do end\n"
                         "    fcgi.sleep(0)\n"
                         "  end\n"
                         "  return 200, nil, 'good'\n"
                         "end");
    rig_serve(&request);
    assert_string_equal(request.body.data, "good");
}

static void waiting_is_not_running(void **state)
{
    (void)state;
    open_with_limit(0.01, "local fcgi = require 'fcgi'\n"
                          "function on_request(req)\n"
                          "  fcgi.sleep(0.05)\n"
                          "  return 200, nil, 'good'\n"
                          "end");
    rig_serve(&request);
    assert_string_equal(request.body.data, "good");
    assert_false(rig.script->watchdog.is_raising);
}

static void the_timer_stands_still_while_nothing_runs(void **state)
{
    double begun = loop_now();

    (void)state;
    open_with_limit(0.01, "function on_request(req) return 200, nil, 'x' end");
    rig_serve(&request);
    while (rig.script->watchdog.is_armed && loop_now() - begun < 5)
        loop_turn(rig.loop, false);
    assert_false(rig.script->watchdog.is_armed);
    rig_serve(&request);
    assert_true(rig.script->watchdog.is_armed);
}

static void without_a_limit_there_is_no_timer(void **state)
{
    (void)state;
    open_with_limit(0, "local fcgi = require 'fcgi'\n"
                       "function on_request(req)\n"
                       "  local t = fcgi.now() + 0.02\n"
                       "  while fcgi.now() < t do end\n"
                       "  return 200, nil, 'good'\n"
                       "end");
    assert_false(rig.script->watchdog.has_timer);
    rig_serve(&request);
    assert_string_equal(request.body.data, "good");
}

static void a_coroutine_left_with_the_hook_is_used_on(void **state)
{
    (void)state;
    open_with_limit(0.08, "local kept = coroutine.create(function()\n"
                          "  pcall(function() while true do end end)\n"
                          "  while true do coroutine.yield('kept') end\n"
                          "end)\n"
                          "function on_request(req)\n"
                          "  if not req:param('GOOD') then\n"
                          "    coroutine.resume(kept) while true do end\n"
                          "  end\n"
                          "  local ok, got = coroutine.resume(kept)\n"
                          "  return 200, nil, 'good'\n"
                          "end");
    rig_serve(&request);
    assert_was_stopped();
    assert_serves_on();
    assert_serves_on();
}

/* Both uses share the ticks, which come more often then. */
static void telling_of_blocks_leaves_the_limit_as_it_is(void **state)
{
    double begun;

    (void)state;
    rig.limits.blocked = 0.01;
    open_with_limit(0.2,
                    "function on_request(req)\n" GOOD "  while true do end\n"
                    "end");
    begun = loop_now();
    rig_serve(&request);
    assert_true(loop_now() - begun >= 0.19);
    assert_was_stopped();
    rig_assert_logged("blocked the loop for");
    assert_serves_on();
}

static void a_block_in_a_coroutine_leaves_no_hook(void **state)
{
    (void)state;
    rig.limits.blocked = 0.01;
    open_with_limit(0,
                    "local fcgi = require 'fcgi'\n"
                    "local co = coroutine.wrap(function() while true do\n"
                    "  local t = fcgi.now() + 0.05\n"
                    "  while fcgi.now() < t do end\n"
                    "  local hook = debug.gethook()\n" /* a tick, just now? */
                    "  hook = hook and debug.gethook()\n"
                    "  coroutine.yield(hook)\n"
                    "end end)\n"
                    "function on_request(req)\n"
                    "  local hook = co()\n"
                    "  return 200, nil, tostring(hook)\n"
                    "end");
    for (int i = 0; i < 3; i++) {
        rig_serve(&request);
        assert_string_equal(request.body.data, "nil");
        rig_assert_logged("blocked the loop for");
        assert_false(rig.script->watchdog.is_noted);
        rig_forget_log();
    }
}

static void a_short_stretch_is_not_told_of(void **state)
{
    (void)state;
    rig.limits.blocked = 30;
    open_with_limit(0.08, "function on_request(req) while true do end end");
    rig_serve(&request);
    assert_was_stopped();
    assert_null(strstr(rig_log(), "blocked the loop"));
}

/* Where no hook runs: a pattern that backtracks for ever. */
static void c_code_that_never_returns_ends_the_process(void **state)
{
    pid_t child;
    int status = 0;

    (void)state;
    child = fork();
    assert_int_not_equal(child, -1);
    if (child == 0) {
        open_with_limit(0.08, "function on_request(req)\n"
                              "  local s = ('a'):rep(40)\n"
                              "  return s:find(('a-'):rep(40) .. 'b')\n"
                              "end");
        rig_start(&request);
        alarm(60);
        rig_turns(2);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), EX_SOFTWARE);
    rig_assert_logged("did not return within twice");
}

static void two_scripts_have_two_watchdogs(void **state)
{
    struct script *first;

    (void)state;
    open_with_limit(0.08, "function on_request(req) while true do end end");
    first = rig.script;
    rig_open("function on_request(req) return 200, nil, 'x' end");
    script_del(first);
    rig_serve(&request);
    assert_string_equal(request.body.data, "x");
    rig_unload();
    open_with_limit(0.08, "function on_request(req) while true do end end");
    rig_serve(&request);
    assert_was_stopped();
}

static void each_of_two_scripts_is_stopped(void **state)
{
    static const char loop[] = "function on_request(req) while true do end end";
    struct script *first;

    (void)state;
    open_with_limit(0.08, loop);
    first = rig.script;
    open_with_limit(0.08, loop);
    for (int i = 0; i < 2; i++) {
        rig_forget_log();
        script_serve(first);
        rig_start(&request);
        while (script_tasks(first) > 0)
            loop_turn(rig.loop, true);
        assert_was_stopped();
        rig_forget_log();
        script_serve(rig.script);
        rig_serve(&request);
        assert_was_stopped();
    }
    script_del(first);
}

static void loading_is_stopped_too(void **state)
{
    (void)state;
    rig.config.load_timeout = 0.08;
    assert_int_equal(rig_load("local function f() while true do end end\n"
                              "while true do pcall(f) end"),
                     SCRIPT_FAILED);
    assert_contains(rig.error, "app.lua:2: stopped: loading took more than "
                               "0.08 s (--load-timeout)\nstack traceback:");
    assert_int_equal(rig_load("coroutine.wrap(function()\n"
                              "  while true do end end)()"),
                     SCRIPT_FAILED);
    assert_contains(rig.error, "app.lua:2: stopped: loading took more");
}

static void a_script_that_loads_in_time_is_not_stopped_later(void **state)
{
    (void)state;
    rig.config.load_timeout = 0.05;
    open_with_limit(0, "local fcgi = require 'fcgi'\n"
                       "function on_request(req)\n"
                       "  local t = fcgi.now() + 0.1\n"
                       "  while fcgi.now() < t do end\n"
                       "  return 200, nil, 'good'\n"
                       "end");
    assert_false(rig.script->watchdog.has_timer);
    rig_serve(&request);
    assert_string_equal(request.body.data, "good");
}

static void c_code_that_hangs_while_loading_ends_the_process(void **state)
{
    pid_t child;
    int status = 0;

    (void)state;
    child = fork();
    assert_int_not_equal(child, -1);
    if (child == 0) {
        alarm(60);
        rig.config.load_timeout = 0.05;
        rig_load("local s = ('a'):rep(40)\n"
                 "return s:find(('a-'):rep(40) .. 'b')");
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), EX_CONFIG);
    rig_assert_logged("did not return within --load-timeout");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRIPT_TEST(an_endless_loop_is_stopped),
        SCRIPT_TEST(not_before_the_limit),
        SCRIPT_TEST(catching_the_error_does_not_help),
        SCRIPT_TEST(a_loop_in_a_coroutine_is_stopped),
        SCRIPT_TEST(a_loop_in_on_error_is_stopped),
        SCRIPT_TEST(a_loop_while_closing_is_stopped),
        SCRIPT_TEST(many_short_stretches_are_no_long_one),
        SCRIPT_TEST(waiting_is_not_running),
        SCRIPT_TEST(the_timer_stands_still_while_nothing_runs),
        SCRIPT_TEST(without_a_limit_there_is_no_timer),
        SCRIPT_TEST(a_coroutine_left_with_the_hook_is_used_on),
        SCRIPT_TEST(telling_of_blocks_leaves_the_limit_as_it_is),
        SCRIPT_TEST(a_block_in_a_coroutine_leaves_no_hook),
        SCRIPT_TEST(a_short_stretch_is_not_told_of),
        SCRIPT_TEST(c_code_that_never_returns_ends_the_process),
        SCRIPT_TEST(two_scripts_have_two_watchdogs),
        SCRIPT_TEST(each_of_two_scripts_is_stopped),
        SCRIPT_TEST(loading_is_stopped_too),
        SCRIPT_TEST(a_script_that_loads_in_time_is_not_stopped_later),
        SCRIPT_TEST(c_code_that_hangs_while_loading_ends_the_process),
    };

    return cmocka_run_group_tests_name("script/watchdog", tests, NULL, NULL);
}
