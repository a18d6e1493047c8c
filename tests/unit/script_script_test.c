/* script_script_test.c -- loading a script and letting it go.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "alloc.h"
#include "script_rig.h"

static struct rig_request request;

static void assert_refused(const char *source, enum script_status status,
                           const char *part)
{
    assert_int_equal(rig_load(source), status);
    assert_contains(rig.error, part);
    rig_unload();
}

static void assert_serves(const char *source, const char *body)
{
    rig_unload();
    rig_open(source);
    rig_serve(&request);
    assert_string_equal(request.body.data, body);
}

/* --- what a script may be ------------------------------------------------- */

static void a_handler_is_found_in_each_form(void **state)
{
    (void)state;
    assert_serves("function on_request() return 200, nil, 'global' end",
                  "global");
    assert_serves("return function() return 200, nil, 'function' end",
                  "function");
    assert_serves("return { on_request = function()\n"
                  "  return 200, nil, 'table' end }",
                  "table");
    assert_serves("function on_request() return 200, nil, 'global' end\n"
                  "return function() return 200, nil, 'returned' end",
                  "returned");
    assert_serves("#!/usr/bin/env fcgi-lua\n"
                  "function on_request() return 200, nil, 'after #!' end",
                  "after #!");
}

static void a_script_without_a_handler_is_refused(void **state)
{
    (void)state;
    assert_refused(
        "", SCRIPT_FAILED,
        "app.lua: no handler: define the global function on_request");
    assert_refused("return { }", SCRIPT_FAILED, "no handler");
    assert_refused("return 42", SCRIPT_FAILED, "no handler");
    /* who returns a table means it */
    assert_refused("function on_request() end return {}", SCRIPT_FAILED,
                   "no handler");
    assert_refused("on_request = 'x'", SCRIPT_FAILED,
                   "on_request is not a function but a string");
    assert_refused("return { on_request = print, on_error = 1 }", SCRIPT_FAILED,
                   "on_error is not a function but a number");
}

static void a_mistake_is_told_with_its_place(void **state)
{
    (void)state;
    assert_refused("local x =\n\n= 1", SCRIPT_SYNTAX, "app.lua:3: ");
    assert_refused("local function f() error('oops') end\nf()", SCRIPT_FAILED,
                   "app.lua:1: oops\nstack traceback:");
    assert_refused("error({})", SCRIPT_FAILED, "table: 0x");
    assert_refused("error()", SCRIPT_FAILED, "nil");
    assert_refused("error(42)", SCRIPT_FAILED, "42");
    assert_refused("error(setmetatable({}, { __tostring = function()\n"
                   "  return 'as text' end }))",
                   SCRIPT_FAILED, "as text");
    assert_refused("error(setmetatable({}, { __tostring = error }))",
                   SCRIPT_FAILED, "");
    assert_refused("coroutine.yield()", SCRIPT_FAILED,
                   "attempt to yield from outside a coroutine");
    assert_refused("error(('x'):rep(100000))", SCRIPT_FAILED, "xxxxx");
    assert_refused("local function f() return 1 + f() end f()", SCRIPT_FAILED,
                   "stack overflow");
    assert_refused("\x1bLua", SCRIPT_SYNTAX, "bytecode is refused");
}

static void a_file_that_cannot_be_read_is_told(void **state)
{
    (void)state;
    assert_refused(NULL, SCRIPT_UNREADABLE, "app.lua");
    assert_int_equal(mkdir(rig.path, 0700), 0);
    assert_refused(NULL, SCRIPT_UNREADABLE, "app.lua");
    assert_int_equal(rmdir(rig.path), 0);
}

/* --- the surroundings ----------------------------------------------------- */

static void chunks_of_eval_run_first(void **state)
{
    static char first[] = "who = 'eval'", second[] = "who = who .. ' twice'";
    static char bad[] = "x =", raises[] = "error('in eval')";
    static char *chunks[2];

    (void)state;
    chunks[0] = first;
    chunks[1] = second;
    rig.config.eval = chunks;
    rig.config.evals = 2;
    assert_serves("local who = who\n"
                  "function on_request() return 200, nil, who end",
                  "eval twice");
    rig_unload();
    chunks[1] = bad;
    assert_refused(NULL, SCRIPT_SYNTAX, "(--eval):1:");
    chunks[1] = raises;
    assert_refused(NULL, SCRIPT_FAILED, "(--eval):1: in eval");
}

static void folders_are_searched_in_their_order(void **state)
{
    static char a[96], b[96];
    static char *folders[2] = { a, b };
    char file[160];

    (void)state;
    snprintf(a, sizeof(a), "%s/a", rig.folder);
    snprintf(b, sizeof(b), "%s/b", rig.folder);
    assert_int_equal(mkdir(a, 0700), 0);
    assert_int_equal(mkdir(b, 0700), 0);
    snprintf(file, sizeof(file), "%s/unit_x.lua", a);
    rig_write_file(file, "return 'a'");
    snprintf(file, sizeof(file), "%s/unit_x.lua", b);
    rig_write_file(file, "return 'b'");
    snprintf(file, sizeof(file), "%s/unit_y.lua", b);
    rig_write_file(file, "return 'y'");
    rig.config.include = folders;
    rig.config.includes = 2;
    assert_serves("local x, y = require 'unit_x', require 'unit_y'\n"
                  "function on_request() return 200, nil, x .. y end",
                  "ay");
    unlink(file);
    snprintf(file, sizeof(file), "%s/unit_x.lua", b);
    unlink(file);
    snprintf(file, sizeof(file), "%s/unit_x.lua", a);
    unlink(file);
    rmdir(a);
    rmdir(b);
}

static void modules_of_another_lua_come_last(void **state)
{
    (void)state;
    rig.config.lua_compat = "5.1";
    assert_serves("local path = package.path\n"
                  "function on_request() return 200, nil,\n"
                  "  path:match('[^;]*;[^;]*$') end",
                  "/usr/share/lua/5.1/?.lua;/usr/share/lua/5.1/?/init.lua");
}

static void random_numbers_differ_between_states(void **state)
{
    static struct rig_request second;

    (void)state;
    assert_serves("local r = math.random(0)\n"
                  "function on_request() return 200, nil, 'x' .. r end",
                  request.body.data);
    second = request;
    rig_unload();
    rig_open(NULL);
    rig_serve(&request);
    assert_string_not_equal(request.body.data, second.body.data);
}

static void the_library_needs_no_files(void **state)
{
    (void)state;
    assert_serves("package.path, package.cpath = '', ''\n"
                  "local cookie = require 'fcgi.cookie'\n"
                  "local n = #cookie.decode('a=1; b=2')\n"
                  "function on_request() return 200, nil, n end",
                  "2");
}

/* --- settings ------------------------------------------------------------- */

static char seen_settings[1024];

static bool note_setting(void *arg, const char *name, const char *value)
{
    const char *stop = arg;
    size_t len = strlen(seen_settings);

    snprintf(seen_settings + len, sizeof(seen_settings) - len, "%s=%s;", name,
             value);
    return stop == NULL || strcmp(stop, name) != 0;
}

static bool read_settings(const char *source, const char *stop)
{
    rig_unload();
    rig_open(source);
    seen_settings[0] = '\0';
    return script_each_setting(rig.script, note_setting, (void *)(size_t)stop);
}

static void fields_that_are_no_hooks_are_settings(void **state)
{
    (void)state;
    assert_true(
        read_settings("return { on_request = print, workers = 3 }", NULL));
    assert_string_equal(seen_settings, "workers=3;");
    assert_true(read_settings("return { on_request = print,\n"
                              "  listen = { ':1', 'unix:/x', 3 } }",
                              NULL));
    assert_string_equal(seen_settings, "listen=:1;listen=unix:/x;listen=3;");
    assert_true(read_settings("return { on_request = print, a = true }", NULL));
    assert_string_equal(seen_settings, "a=true;");
    assert_true(read_settings("return { on_request = print, a = 1.5 }", NULL));
    assert_string_equal(seen_settings, "a=1.5;");
    assert_true(read_settings("return { on_request = print, on_error = print,\n"
                              "  on_authorize = print, on_filter = print,\n"
                              "  abort = 'cancel' }",
                              NULL));
    assert_string_equal(seen_settings, "");
    assert_true(read_settings("function on_request() end", NULL));
    assert_string_equal(seen_settings, "");
}

static void the_first_that_is_refused_ends_it(void **state)
{
    (void)state;
    assert_false(read_settings("return { on_request = print,\n"
                               "  listen = { ':1', ':2' } }",
                               "listen"));
    assert_string_equal(seen_settings, "listen=:1;");
}

static void settings_that_are_no_text_are_refused(void **state)
{
    (void)state;
    assert_false(
        read_settings("return { on_request = print, a = { {} } }", NULL));
    rig_unload();
    assert_refused("return { on_request = print, on_reload = print }",
                   SCRIPT_FAILED, "this version knows no hook on_reload");
    assert_refused("return { on_request = print, [1] = 2 }", SCRIPT_FAILED,
                   "a field that is no name");
    assert_refused("return { on_request = print, abort = true }", SCRIPT_FAILED,
                   "abort can only be \"cancel\"");
}

/* --- letting go ----------------------------------------------------------- */

static void two_scripts_live_beside_each_other(void **state)
{
    struct script *first;
    static struct rig_request second;

    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "function on_request()\n"
             "  fcgi.sleep(0.002) return 200, nil, 'old' end");
    rig_start(&request);
    rig_turns(1);
    first = rig.script;
    rig_open("function on_request() return 200, nil, 'new' end");
    rig_serve(&second);
    assert_string_equal(second.body.data, "new");
    while (script_tasks(first) > 0)
        loop_turn(rig.loop, true);
    assert_string_equal(request.body.data, "old");
    script_del(first);
}

static void nothing_is_accepted(void **state)
{
    (void)state;
    script_del(NULL);
    assert_contains(script_lua_version(), "Lua 5.4");
}

/* --- memory --------------------------------------------------------------- */

static void under_any_limit_loading_ends_cleanly(void **state)
{
    enum script_status status = SCRIPT_NO_MEMORY;
    size_t whole;

    (void)state;
    rig_open("local t = {} for i = 1, 100 do t[i] = { 'x' .. i } end\n"
             "return { on_request = print, abort = 'cancel', listen = ':1' }");
    whole = rig.script->memory.used;
    rig_unload();
    for (size_t limit = 1; limit < whole; limit += whole / 500) {
        rig.config.memory_limit = limit;
        status = script_load(&rig.config, &rig.script, rig.error);
        if (status == SCRIPT_OK) /* garbage was collected more often */
            rig_unload();
        else
            assert_contains(rig.error, "not enough memory");
        assert_null(rig.script);
    }
    rig.config.memory_limit = 4 * whole;
    assert_int_equal(rig_load(NULL), SCRIPT_OK);
}

static void load_once(void *arg)
{
    (void)arg;
    seen_settings[0] = '\0';
    if (script_load(&rig.config, &rig.script, rig.error) == SCRIPT_OK) {
        (void)script_each_setting(rig.script, note_setting, NULL);
        rig_unload();
    } else {
        assert_contains(rig.error, "not enough memory");
        assert_null(rig.script);
    }
}

static void comes_through_without_memory(void **state)
{
    (void)state;
    rig_write_file(rig.path, "return { on_request = print, listen = ':1' }");
    alloc_some_fail(load_once, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRIPT_TEST(a_handler_is_found_in_each_form),
        SCRIPT_TEST(a_script_without_a_handler_is_refused),
        SCRIPT_TEST(a_mistake_is_told_with_its_place),
        SCRIPT_TEST(a_file_that_cannot_be_read_is_told),
        SCRIPT_TEST(chunks_of_eval_run_first),
        SCRIPT_TEST(folders_are_searched_in_their_order),
        SCRIPT_TEST(modules_of_another_lua_come_last),
        SCRIPT_TEST(random_numbers_differ_between_states),
        SCRIPT_TEST(the_library_needs_no_files),
        SCRIPT_TEST(fields_that_are_no_hooks_are_settings),
        SCRIPT_TEST(the_first_that_is_refused_ends_it),
        SCRIPT_TEST(settings_that_are_no_text_are_refused),
        SCRIPT_TEST(two_scripts_live_beside_each_other),
        SCRIPT_TEST(nothing_is_accepted),
        SCRIPT_TEST(under_any_limit_loading_ends_cleanly),
        SCRIPT_TEST(comes_through_without_memory),
    };

    return cmocka_run_group_tests_name("script/script", tests, NULL, NULL);
}
