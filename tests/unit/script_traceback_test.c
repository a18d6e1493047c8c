/* script_traceback_test.c -- where coroutines are, without Lua's help.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "script/traceback.h"
#include "script_rig.h"

static struct rig_request request;
static struct traceback trace;

static int set_up(void **state)
{
    trace.len = 0;
    return rig_set_up(state);
}

/* Of the first task, which waits. */
static const char *traced(void)
{
    assert_false(list_is_empty(&rig.script->tasks));
    trace.len = 0;
    traceback_task(&trace,
                   list_entry(rig.script->tasks.next, struct task, link));
    trace.text[trace.len] = '\0';
    return trace.text;
}

static void start(const char *source)
{
    rig_open(source);
    rig_start(&request);
    rig_turns(2);
}

static void end(void)
{
    rig_unload();
    rig_detach(&request);
}

static void a_waiting_task(void **state)
{
    (void)state;
    start("local fcgi = require 'fcgi'\n"
          "local t = {}\n"
          "function t:method() fcgi.sleep(3600) return 1 end\n"
          "local function up() t:method() return 1 end\n"
          "function global() up() return 1 end\n"
          "function on_request(req) global() end\n");
    assert_contains(traced(), "'sleep'\n");
    assert_contains(trace.text, "app.lua:3: in method 'method'\n");
    assert_contains(trace.text, "app.lua:4: in upvalue 'up'\n");
    assert_contains(trace.text, "app.lua:5: in function 'global'\n");
    assert_contains(trace.text, "app.lua:6: in function <");
    end();
}

static void one_that_has_not_begun(void **state)
{
    (void)state;
    rig_open("function on_request() end");
    rig_start(&request);
    assert_string_equal(traced(), "\t(has not begun)\n");
    rig_run();
}

static void coroutines_the_innermost_first(void **state)
{
    const char *at;

    (void)state;
    start("local fcgi = require 'fcgi'\n"
          "function on_request(req)\n"
          "  local f = coroutine.wrap(function()\n"
          "    fcgi.sleep(3600)\n"
          "  end)\n"
          "  f()\n"
          "end\n");
    at = strstr(traced(), "app.lua:4:");
    assert_non_null(at);
    at = strstr(at, "\t(resumed by)\n");
    assert_non_null(at);
    assert_contains(at, "app.lua:6:");
    end();
}

static void too_many_coroutines_leave_out_the_outermost(void **state)
{
    unsigned n = 0;

    (void)state;
    start("local fcgi = require 'fcgi'\n"
          "local function deep(n)\n"
          "  if n == 0 then fcgi.sleep(3600) end\n"
          "  coroutine.wrap(deep)(n - 1)\n"
          "end\n"
          "function on_request(req) deep(30) end\n");
    assert_contains(traced(), "app.lua:3:");
    assert_null(strstr(trace.text, "app.lua:6:"));
    for (const char *at = trace.text; (at = strstr(at, "(resumed by)")); at++)
        n++;
    assert_int_equal(n, 7);
    end();
}

static void many_levels_are_cut(void **state)
{
    (void)state;
    start("local fcgi = require 'fcgi'\n"
          "local function deep(n)\n"
          "  if n == 0 then fcgi.sleep(3600) end\n"
          "  deep(n - 1)\n"
          "  return 1\n"
          "end\n"
          "function on_request(req) deep(1000) end\n");
    assert_contains(traced(), "app.lua:3:");
    assert_contains(trace.text, "\t...\n");
    assert_true(trace.len < 2000);
    end();
}

static void what_does_not_fit_is_left_out_by_lines(void **state)
{
    char line[101];

    (void)state;
    memset(line, 'x', 100);
    line[100] = '\0';
    for (int i = 0; i < 100; i++)
        traceback_line(&trace, line);
    assert_int_equal(trace.len, (TRACEBACK_MAX - 1) / 101 * 101);
    assert_int_equal(trace.text[trace.len - 1], '\n');
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, rig_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_waiting_task),
        TEST(one_that_has_not_begun),
        TEST(coroutines_the_innermost_first),
        TEST(too_many_coroutines_leave_out_the_outermost),
        TEST(many_levels_are_cut),
        TEST(what_does_not_fit_is_left_out_by_lines),
    };

    return cmocka_run_group_tests_name("script/traceback", tests, NULL, NULL);
}
