/* script_errors_test.c -- errors keep their value, and the log gets the
 * traceback that belongs to them.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "alloc.h"
#include "script/errors.h"
#include "script_rig.h"

static struct rig_request request;

static void serve(const char *source)
{
    rig_forget_log();
    rig_unload();
    rig_open(source);
    rig_serve(&request);
}

/* --- values --------------------------------------------------------------- */

static void a_value_of_any_kind_becomes_one_line(void **state)
{
    static const struct {
        const char *value, *text;
    } cases[] = {
        { "'text'", "text" },
        { "nil", "nil" },
        { "false", "false" },
        { "5.5", "5.5" },
        { "{}", "table: 0x" },
        { "print", "function: " },
        { "setmetatable({}, { __tostring = function() return 'told' end })",
          "told" },
        { "setmetatable({}, { __tostring = function() error('x') end })",
          "(error object is a table value)" },
        { "setmetatable({}, { __tostring = function() return {} end })",
          "(error object is a table value)" },
        { "setmetatable({}, { __tostring = function() fcgi.sleep(0) end })",
          "(error object is a table value)" },
        { "setmetatable({}, { __name = 'a name' })", "a name: 0x" },
        { "io.stderr", "file (0x" },
        { "coroutine.create(print)", "thread: 0x" },
    };
    char source[512];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        snprintf(source, sizeof(source),
                 "fcgi = require 'fcgi'\n"
                 "local function fail() error(%s, 0) end\n"
                 "function on_request(req)\n"
                 "  if req:param('TASK') then fcgi.spawn(fail) fcgi.sleep(0)\n"
                 "  else fail() end\n"
                 "end",
                 cases[i].value);
        serve(source);
        assert_failed_with(&request, "Status: 500 ");
        rig_assert_logged(cases[i].text);
        rig_assert_logged("app.lua:2: in ");
        assert_true(rig_begin(&request, REQUEST_RESPONDER));
        rig_param(&request, "TASK", "1");
        rig_ready(&request);
        rig_forget_log();
        rig_run();
        rig_assert_logged(cases[i].text);
        rig_assert_logged("app.lua:2: in ");
    }
}

static void a_long_error_is_cut(void **state)
{
    (void)state;
    serve("function on_request() error(('x'):rep(1024):rep(1024), 0) end");
    assert_failed_with(&request, "Status: 500 ");
    rig_assert_logged("xxxxxxxx");
    assert_true(strlen(rig_log()) < 16 * 1024);
}

static void closing_variables_and_pcall_see_the_value_itself(void **state)
{
    (void)state;
    rig_run_lua("local value, seen = {}, {}\n"
                "local function fail()\n"
                "  local x <close> = on_close(function(_, err) seen[#seen + 1] "
                "= err end)\n"
                "  fcgi.sleep(0)\n"
                "  error(value)\n"
                "end\n"
                "local through = {\n"
                "  function() fail() end,\n"
                "  function() coroutine.wrap(fail)() end,\n"
                "  function() coroutine.wrap(function() coroutine.wrap(fail)() "
                "end)() end,\n"
                "  function() fcgi.timeout(100, fail) end,\n"
                "  function() error(select(2, fcgi.spawn(fail):join())) end,\n"
                "}\n"
                "for i, f in ipairs(through) do\n"
                "  local ok, err = pcall(f)\n"
                "  equal(ok, false) equal(err, value) equal(#seen, i) "
                "equal(seen[i], value)\n"
                "end\n");
    assert_string_equal(rig_log(), "");
}

/* --- tracebacks ----------------------------------------------------------- */

/* Asserts that these stand in the log, in this order. */
static void assert_order(const char *const *parts)
{
    const char *at = rig_log();

    for (; *parts != NULL; parts++) {
        const char *found = strstr(at, *parts);

        if (found == NULL)
            fail_msg("no \"%s\" from there: %s\nin: %s", *parts, at, rig.log);
        at = found;
    }
}

static void a_traceback_goes_through_coroutines(void **state)
{
    static const char *const order[] = { "app.lua:3: deep", "stack traceback:",
                                         "app.lua:3: in ",  "(resumed by)",
                                         "app.lua:6: in ",  "(resumed by)",
                                         "app.lua:9: in ",  "(resumed by)",
                                         "app.lua:12: in ", NULL };

    (void)state;
    for (int waits = 0; waits < 2; waits++) {
        char source[1024];

        snprintf(source, sizeof(source),
                 "local fcgi = require 'fcgi'\n"
                 "local function a() %s\n"
                 "  error('deep')\n"
                 "end\n"
                 "local function b()\n"
                 "  coroutine.wrap(a)()\n"
                 "end\n"
                 "local function c()\n"
                 "  coroutine.wrap(b)()\n"
                 "end\n"
                 "function on_request()\n"
                 "  coroutine.wrap(c)()\n"
                 "end",
                 waits == 1 ? "fcgi.sleep(0)" : "");
        serve(source);
        assert_order(order);
        assert_int_equal(rig_logged("(resumed by)"), 3);
    }
}

static void
a_traceback_goes_through_resume_when_the_error_is_passed_on(void **state)
{
    static const char *const order[] = { "app.lua:3: deep",
                                         "app.lua:3: in ",
                                         "(resumed by)",
                                         "app.lua:8: in ",
                                         "(resumed by)",
                                         "app.lua:14: in ",
                                         NULL };

    (void)state;
    serve("local fcgi = require 'fcgi'\n"
          "local function a() fcgi.sleep(0)\n"
          "  error('deep')\n"
          "end\n"
          "local function b()\n"
          "  local ok, err = coroutine.resume(coroutine.create(a))\n"
          "  if not ok then\n"
          "    error(err, 0)\n"
          "  end\n"
          "end\n"
          "function on_request()\n"
          "  local ok, err = coroutine.resume(coroutine.create(b))\n"
          "  if not ok then\n"
          "    error(err, 0)\n"
          "  end\n"
          "end\n");
    assert_order(order);
}

static void a_traceback_goes_through_timeout(void **state)
{
    static const char *const order[] = { "app.lua:3: deep",
                                         "app.lua:3: in ",
                                         "(resumed by)",
                                         "app.lua:6: in ",
                                         "(resumed by)",
                                         "app.lua:9: in ",
                                         NULL };

    (void)state;
    serve("local fcgi = require 'fcgi'\n"
          "local function a() fcgi.sleep(0)\n"
          "  error('deep')\n"
          "end\n"
          "local function b()\n"
          "  fcgi.timeout(100, a)\n"
          "end\n"
          "function on_request()\n"
          "  fcgi.timeout(100, coroutine.wrap(b))\n"
          "end\n");
    assert_int_equal(rig_logged("deep"), 1);
    rig_assert_logged("app.lua:3: in ");
    rig_assert_logged("app.lua:6: in ");
    rig_assert_logged("app.lua:9: in ");
    assert_order(order);
}

static void no_stale_traceback_is_shown(void **state)
{
    (void)state;
    serve("local fcgi = require 'fcgi'\n"
          "local function stale() fcgi.sleep(0) error('first') end\n"
          "function on_request()\n"
          "  pcall(coroutine.wrap(stale))\n"
          "  coroutine.resume(coroutine.create(stale))\n"
          "  pcall(fcgi.timeout, 100, stale)\n"
          "  fcgi.spawn(stale):join()\n"
          "  error('second')\n"
          "end\n");
    rig_assert_logged("app.lua:8: second");
    assert_lacks(rig_log(), "stale");
    assert_lacks(rig_log(), "resumed by");
    assert_lacks(rig_log(), "app.lua:2:");
}

static void a_handler_of_xpcall_does_not_confuse_it(void **state)
{
    (void)state;
    serve("local function caught() error('first') end\n"
          "function on_request()\n"
          "  xpcall(caught, debug.traceback)\n"
          "  xpcall(function() coroutine.wrap(caught)() end, function(err)\n"
          "    return { err } end)\n"
          "  error('second')\n"
          "end\n");
    rig_assert_logged("app.lua:6: second");
    assert_lacks(rig_log(), "caught");
    assert_lacks(rig_log(), "resumed by");
}

static void another_tasks_error_does_not_come_between(void **state)
{
    static const char *const order[] = { "app.lua:5: mine", "app.lua:5: in ",
                                         "(resumed by)", "app.lua:10: in ",
                                         NULL };

    (void)state;
    serve("local fcgi = require 'fcgi'\n"
          "local function other() coroutine.wrap(error)('of the other') end\n"
          "function on_request()\n"
          "  local function mine()\n"
          "    error('mine')\n"
          "  end\n"
          "  local function run()\n"
          "    local x <close> = setmetatable({}, { __close = function()\n"
          "      fcgi.spawn(other) fcgi.sleep(0) fcgi.sleep(0) end })\n"
          "    coroutine.wrap(mine)()\n"
          "  end\n"
          "  run()\n"
          "end\n");
    assert_order(order);
    assert_int_equal(rig_logged("error "), 2);
}

static void a_deep_stack_is_cut(void **state)
{
    (void)state;
    serve("local function f(n) if n == 0 then error('deep') end\n"
          "  return 1 + f(n - 1) end\n"
          "function on_request() f(500) end");
    rig_assert_logged("deep");
    rig_assert_logged("...");
    assert_true(strlen(rig_log()) < 4096);
}

/* --- what is kept --------------------------------------------------------- */

static size_t registry_size(void)
{
    lua_State *L = rig.script->L;
    size_t n = 0;

    lua_pushnil(L);
    while (lua_next(L, LUA_REGISTRYINDEX) != 0) {
        lua_pop(L, 1);
        n++;
    }
    return n;
}

static void nothing_is_kept_of_ten_thousand_that_failed(void **state)
{
    size_t before;

    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "local function fail() coroutine.wrap(error)({}) end\n"
             "function on_request(req)\n"
             "  for i = 1, 1000 do\n"
             "    local t = fcgi.spawn(fail)\n"
             "    assert(t:join() == nil)\n"
             "    pcall(fcgi.timeout, 100, fail)\n"
             "  end\n"
             "  return 200, nil, 'x'\n"
             "end\n");
    rig_serve(&request);
    before = registry_size();
    for (int i = 0; i < 5; i++)
        rig_serve(&request);
    assert_string_equal(request.body.data, "x");
    assert_int_equal(registry_size(), before);
}

static void nothing_is_kept_when_the_error_was_caught(void **state)
{
    size_t before = 0;

    (void)state;
    rig_open("function on_request(req)\n"
             "  pcall(coroutine.wrap(error), {}) return 200, nil, 'x'\n"
             "end");
    for (int i = 0; i < 10; i++) {
        rig_serve(&request);
        assert_string_equal(request.body.data, "x");
        task_free_idle(rig.script);
        if (i == 0)
            before = registry_size();
        assert_int_equal(registry_size(), before);
    }
}

/* --- memory --------------------------------------------------------------- */

static const char failing_source[] =
    "local fcgi = require 'fcgi'\n"
    "local function fail() fcgi.sleep(0) error({ 'x' }) end\n"
    "function on_request(req)\n"
    "  pcall(coroutine.wrap(function() coroutine.wrap(fail)() end))\n"
    "  local _, err = pcall(fcgi.timeout, 100, fail)\n"
    "  local t = fcgi.spawn(fail)\n"
    "  kept = fcgi.spawn(fail)\n"
    "  local _, other = t:join()\n"
    "  if type(err) == 'table' and type(other) == 'table' and err[1] == 'x'\n"
    "    and other[1] == 'x' then\n"
    "    return 200, nil, 'caught'\n"
    "  end\n"
    "  error('short of memory')\n"
    "end\n";

static void over_the_limit_a_request_fails_cleanly(void **state)
{
    (void)state;
    rig_open(failing_source);
    rig_serve_short_of_memory("caught", 16);
}

static void comes_through_without_memory(void **state)
{
    char body[] = "caught";

    (void)state;
    rig_open(failing_source);
    alloc_each_fails(rig_serve_or_fail, body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRIPT_TEST(a_value_of_any_kind_becomes_one_line),
        SCRIPT_TEST(a_long_error_is_cut),
        SCRIPT_TEST(closing_variables_and_pcall_see_the_value_itself),
        SCRIPT_TEST(a_traceback_goes_through_coroutines),
        SCRIPT_TEST(
            a_traceback_goes_through_resume_when_the_error_is_passed_on),
        SCRIPT_TEST(a_traceback_goes_through_timeout),
        SCRIPT_TEST(no_stale_traceback_is_shown),
        SCRIPT_TEST(a_handler_of_xpcall_does_not_confuse_it),
        SCRIPT_TEST(another_tasks_error_does_not_come_between),
        SCRIPT_TEST(a_deep_stack_is_cut),
        SCRIPT_TEST(nothing_is_kept_of_ten_thousand_that_failed),
        SCRIPT_TEST(nothing_is_kept_when_the_error_was_caught),
        SCRIPT_TEST(over_the_limit_a_request_fails_cleanly),
        SCRIPT_TEST(comes_through_without_memory),
    };

    return cmocka_run_group_tests_name("script/errors", tests, NULL, NULL);
}
