/* script_lua_fcgi_test.c -- the module fcgi, print and io.stdout.
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
#include "version.h"

static struct rig_request request;

static void serve(const char *statements)
{
    char source[4096];

    snprintf(source, sizeof(source),
             "local fcgi = require 'fcgi'\n"
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
    rig_serve(&request);
    rig_check(&request);
}

/* --- sleep and time ------------------------------------------------------- */

static void a_sleep_never_ends_early(void **state)
{
    (void)state;
    serve("for _, s in ipairs { 0, 0.001, 0.004, 0.01 } do\n"
          "  local before = fcgi.now()\n"
          "  fcgi.sleep(s)\n"
          "  assert(fcgi.now() - before >= s)\n"
          "end\n"
          "local busy = fcgi.now() + 0.02\n"
          "while fcgi.now() < busy do end\n"
          "local before = fcgi.now()\n"
          "fcgi.sleep(0.01)\n"
          "assert(fcgi.now() - before >= 0.01)");
}

static void a_bad_time_raises(void **state)
{
    (void)state;
    serve("refused('not a number of seconds', fcgi.sleep, -1)\n"
          "refused('not a number of seconds', fcgi.sleep, 0/0)\n"
          "refused('not a number of seconds', fcgi.sleep, math.huge)\n"
          "refused('number expected', fcgi.sleep)\n"
          "refused('number expected', fcgi.sleep, 'soon')\n"
          "assert(select('#', fcgi.sleep('0')) == 0)");
}

static void sleeps_end_in_their_order(void **state)
{
    static struct rig_request sleepers[4];
    static const char *const times[] = { "0.012", "0.004", "0.008", "0" };

    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "local n = 0\n"
             "function on_request(req)\n"
             "  fcgi.sleep(tonumber(req:param('T')))\n"
             "  n = n + 1\n"
             "  return 200, nil, n\n"
             "end");
    for (int i = 0; i < 4; i++) {
        assert_true(rig_begin(&sleepers[i], REQUEST_RESPONDER));
        rig_param(&sleepers[i], "T", times[i]);
        rig_ready(&sleepers[i]);
    }
    rig_run();
    assert_string_equal(sleepers[0].body.data, "4");
    assert_string_equal(sleepers[1].body.data, "2");
    assert_string_equal(sleepers[2].body.data, "3");
    assert_string_equal(sleepers[3].body.data, "1");
}

static void the_clock_is_that_of_the_process(void **state)
{
    double before = loop_now(), told;

    (void)state;
    serve("req.ctx = req.ctx print(('%.9f'):format(fcgi.now()))");
    told = strtod(strstr(rig_log(), "] ") + 2, NULL);
    assert_true(told >= before - 1e-6 && told <= loop_now() + 1e-6);
}

static void the_version_is_that_of_the_program(void **state)
{
    (void)state;
    serve("print('version ' .. fcgi.version)");
    rig_assert_logged("version " FCGI_LUA_VERSION);
}

static void only_a_cancellation_has_a_reason(void **state)
{
    (void)state;
    serve("for _, v in ipairs { 'cancelled: x', 1, {}, io.stdout, print } do\n"
          "  assert(fcgi.cancelled(v) == nil)\n"
          "end\n"
          "assert(fcgi.cancelled(nil) == nil and fcgi.cancelled() == nil)");
}

static void a_reason_that_was_replaced_is_none(void **state)
{
    (void)state;
    serve("local task = fcgi.spawn(pcall, fcgi.sleep, 100)\n"
          "fcgi.sleep(0)\n"
          "task:cancel()\n"
          "local _, err = task:join()\n"
          "assert(fcgi.cancelled(err) == 'cancelled')\n"
          "debug.setuservalue(err, 12.5)\n"
          "assert(fcgi.cancelled(err) == nil)");
}

/* --- the log -------------------------------------------------------------- */

static void log_adds_the_line_and_the_request(void **state)
{
    (void)state;
    serve("fcgi.log('error', 'one ', 2, ' ', nil, ' ', true)");
    rig_assert_logged(" error [");
    rig_assert_logged("app.lua:9: one 2 nil true (GET -, -, req ");
}

static void the_line_is_that_of_the_script(void **state)
{
    (void)state;
    serve("pcall(fcgi.log, 'notice', 'through pcall')\n"
          "table.sort({ 1, 2 }, function()\n"
          "  fcgi.log('notice', 'in a comparator')\n"
          "end)\n"
          "fcgi.spawn(fcgi.log, 'notice', 'by nobody'):join()");
    rig_assert_logged("app.lua:9: through pcall");
    rig_assert_logged("app.lua:11: in a comparator");
    rig_assert_logged("] by nobody");
}

static void log_has_levels(void **state)
{
    (void)state;
    log_set_level(LOG_LEVEL_NOTICE);
    serve("fcgi.log('error', 'E!') fcgi.log('warn', 'W!')\n"
          "fcgi.log('notice', 'N!') fcgi.log('info', 'I!')\n"
          "fcgi.log('debug', 'D!')\n"
          "refused('a level expected: error, warn, notice, info or debug',\n"
          "  fcgi.log, 'loud', 'x')\n"
          "refused('string expected', fcgi.log)");
    rig_assert_logged(" error [");
    rig_assert_logged(" warn [");
    rig_assert_logged(" notice [");
    assert_lacks(rig_log(), "I!");
    assert_lacks(rig_log(), "D!");
    log_set_level(LOG_LEVEL_DEBUG);
    serve("fcgi.log('info', 'I!') fcgi.log('debug', 'D!')");
    rig_assert_logged(" info [");
    rig_assert_logged("D!");
}

/* A level that is off costs no conversion. */
static void a_level_that_is_off_converts_nothing(void **state)
{
    (void)state;
    serve("fcgi.log('debug', setmetatable({}, { __tostring = function()\n"
          "  error('converted') end }))");
}

static void more_lines_stand_below_the_first(void **state)
{
    (void)state;
    serve("fcgi.log('warn', 'first\\nsecond\\nthird')");
    rig_assert_logged("first (GET -, -, req 1)\n    second\n    third\n");
}

static void nothing_can_forge_a_line(void **state)
{
    (void)state;
    serve("print('a\\rb\\27[2Jc') fcgi.log('warn', 'd\\re')");
    rig_assert_logged("a\\x0db\\x1b[2Jc");
    rig_assert_logged("d\\x0de");
}

static void print_goes_to_the_log(void **state)
{
    (void)state;
    serve("print('a', 1, nil, setmetatable({}, { __tostring = function()\n"
          "  return 'object' end }))\n"
          "print()");
    rig_assert_logged(" notice [");
    rig_assert_logged("a\t1\tnil\tobject (GET");
    assert_string_equal(request.body.data, "ok");
}

static void tostring_may_not_wait_in_print(void **state)
{
    (void)state;
    serve("refused('cannot wait here', print, setmetatable({},\n"
          "  { __tostring = function() fcgi.sleep(0) return 'x' end }))\n"
          "refused('must return a string', print, setmetatable({},\n"
          "  { __tostring = function() return {} end }))\n"
          "fcgi.sleep(0)");
}

static void print_while_loading_names_no_request(void **state)
{
    (void)state;
    rig_open("print('loading') function on_request() end");
    rig_assert_logged("loading\n");
    assert_lacks(rig_log(), "req ");
}

/* --- io.stdout ------------------------------------------------------------ */

static void stdout_is_logged_by_lines(void **state)
{
    (void)state;
    serve(
        "io.write('one ', 'line\\ntwo') io.stdout:write(' lines\\n', 'left')\n"
        "io.stdout:flush()");
    rig_assert_logged("] one line\n");
    rig_assert_logged("] two lines\n");
    assert_lacks(rig_log(), "left");
    serve("io.write(' over\\n') io.stdout:write(('x'):rep(5000), '\\n')");
    rig_assert_logged("xxxxxxxx\n");
}

static void stdout_cannot_be_closed(void **state)
{
    (void)state;
    serve("local ok, why = io.stdout:close()\n"
          "assert(ok == nil and why:find('cannot close'))\n"
          "ok, why = io.close()\n"
          "assert(io.type(io.stdout) == 'file')\n"
          "io.stdout:write('still there\\n')");
    rig_assert_logged("still there");
}

static void another_default_output_is_none_of_ours(void **state)
{
    (void)state;
    serve("local f = io.tmpfile() io.output(f) io.write('to the file')\n"
          "f:seek('set') assert(f:read('a') == 'to the file')\n"
          "io.output(io.stdout) f:close()");
    assert_lacks(rig_log(), "to the file");
}

static void finalizers_may_print_to_the_last(void **state)
{
    (void)state;
    serve("keep = setmetatable({}, { __gc = function()\n"
          "  print('printed at the end') io.write('written at the end\\n')\n"
          "end })");
    rig_unload();
    rig_assert_logged("printed at the end");
    rig_assert_logged("written at the end");
}

/* --- arguments ------------------------------------------------------------ */

static void arguments_are_in_three_places(void **state)
{
    static char one[] = "one", empty[] = "", three[] = "--three";
    static char *args[] = { one, empty, three };

    (void)state;
    rig.config.args = args;
    rig.config.nargs = 3;
    rig_open("local a, b, c, d = ...\n"
             "assert(a == 'one' and b == '' and c == '--three' and not d)\n"
             "assert(select('#', ...) == 3)\n"
             "local fcgi = require 'fcgi'\n"
             "assert(fcgi.args == arg and #arg == 3 and arg[2] == '')\n"
             "assert(arg[0]:find('app.lua', 1, true))\n"
             "function on_request() end");
}

static void the_module_is_there_once(void **state)
{
    (void)state;
    serve("assert(require 'fcgi' == fcgi and package.loaded.fcgi == fcgi)");
}

/* --- memory --------------------------------------------------------------- */

static void over_the_limit_the_log_fails_cleanly(void **state)
{
    bool served = false;

    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "function on_request(req)\n"
             "  fcgi.log('warn', 'a', 1, {}, '\\n', ('x'):rep(3000))\n"
             "  print(2, print) io.write('line ', 1, '\\n')\n"
             "  fcgi.sleep(0)\n"
             "  return 204\n"
             "end");
    for (size_t more = 0; !served; more += 16) {
        rig_limit_memory(more);
        rig_serve(&request);
        assert_int_equal(request.ends, 1);
        served = request.app_status == 0;
        if (!served)
            assert_failed_with(&request, "Status: 500 ");
        rig_forget_log();
        rig.script->memory.limit = 0;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRIPT_TEST(a_sleep_never_ends_early),
        SCRIPT_TEST(a_bad_time_raises),
        SCRIPT_TEST(sleeps_end_in_their_order),
        SCRIPT_TEST(the_clock_is_that_of_the_process),
        SCRIPT_TEST(the_version_is_that_of_the_program),
        SCRIPT_TEST(only_a_cancellation_has_a_reason),
        SCRIPT_TEST(a_reason_that_was_replaced_is_none),
        SCRIPT_TEST(log_adds_the_line_and_the_request),
        SCRIPT_TEST(the_line_is_that_of_the_script),
        SCRIPT_TEST(log_has_levels),
        SCRIPT_TEST(a_level_that_is_off_converts_nothing),
        SCRIPT_TEST(more_lines_stand_below_the_first),
        SCRIPT_TEST(nothing_can_forge_a_line),
        SCRIPT_TEST(print_goes_to_the_log),
        SCRIPT_TEST(tostring_may_not_wait_in_print),
        SCRIPT_TEST(print_while_loading_names_no_request),
        SCRIPT_TEST(stdout_is_logged_by_lines),
        SCRIPT_TEST(stdout_cannot_be_closed),
        SCRIPT_TEST(another_default_output_is_none_of_ours),
        SCRIPT_TEST(finalizers_may_print_to_the_last),
        SCRIPT_TEST(arguments_are_in_three_places),
        SCRIPT_TEST(the_module_is_there_once),
        SCRIPT_TEST(over_the_limit_the_log_fails_cleanly),
    };

    return cmocka_run_group_tests_name("script/lua_fcgi", tests, NULL, NULL);
}
