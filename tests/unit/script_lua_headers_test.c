/* script_lua_headers_test.c -- a request's headers.
 *
 * The checks are written in Lua, as scripts are.
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
static enum request_role role;
static const char *const *params; /* name, value, ..., NULL */

static int set_up(void **state)
{
    static const char *const none[] = { NULL };

    role = REQUEST_RESPONDER;
    params = none;
    return rig_set_up(state);
}

static void serve_params(void)
{
    assert_true(rig_begin(&request, role));
    for (int i = 0; params[i] != NULL; i += 2)
        rig_param(&request, params[i], params[i + 1]);
    rig_ready(&request);
    rig_input_end(&request);
    rig_run();
}

/* What the results of an expression are: "a|1|nil". */
static const char *ask(const char *expression)
{
    char source[4096];

    snprintf(source, sizeof(source),
             "local function show(v)\n"
             "  if type(v) ~= 'table' then return tostring(v) end\n"
             "  local keys = {}\n"
             "  for k, w in pairs(v) do\n"
             "    keys[#keys + 1] = k .. '=' .. tostring(w)\n"
             "  end\n"
             "  table.sort(keys)\n"
             "  return '{' .. table.concat(keys, ',') .. '}'\n"
             "end\n"
             "local function all(...)\n"
             "  local t = table.pack(...)\n"
             "  for i = 1, t.n do t[i] = show(t[i]) end\n"
             "  return table.concat(t, '|')\n"
             "end\n"
             "return { on_request = function(req)\n"
             "  return 200, nil, all(%s)\n"
             "end, on_authorize = function(req)\n"
             "  return 403, nil, all(%s)\n"
             "end, on_filter = function(req)\n"
             "  return 200, nil, all(%s)\n"
             "end }",
             expression, expression, expression);
    rig_unload();
    rig_open(source);
    serve_params();
    assert_int_equal(request.ends, 1);
    return request.body.data;
}

static void assert_gives(const char *expression, const char *expected)
{
    const char *got = ask(expression);

    if (strcmp(got, expected) != 0)
        fail_msg("%s is %s, not %s\n%s", expression, got, expected, rig_log());
}

/* The expression raises, and the message has a part like that. */
static void assert_raises(const char *expression, const char *part)
{
    char whole[1024];

    snprintf(whole, sizeof(whole), "pcall(function() return %s end)",
             expression);
    assert_contains(ask(whole), "false|");
    assert_contains(request.body.data, part);
}

static void headers_are_found_in_any_spelling(void **state)
{
    static const char *const sent[] = { "HTTP_X_FORWARDED_FOR",
                                        "1.2.3.4",
                                        "HTTP_ACCEPT",
                                        "a",
                                        "HTTP_ACCEPT",
                                        "b",
                                        "HTTP_COOKIE",
                                        "x=1",
                                        "HTTP_COOKIE",
                                        "y=2",
                                        "CONTENT_TYPE",
                                        "text/plain",
                                        "CONTENT_LENGTH",
                                        "",
                                        "HTTP_PROXY",
                                        "http://evil/",
                                        "HTTP_",
                                        "nameless",
                                        "HTTPS",
                                        "on",
                                        "HTTP_PROXY_X",
                                        "harmless",
                                        NULL };

    (void)state;
    params = sent;
    assert_gives("req:header('X-Forwarded-For')", "1.2.3.4");
    assert_gives("req:header('x_forwarded_for')", "1.2.3.4");
    assert_gives("req:header('Accept')", "a, b");
    assert_gives("req:header('cookie')", "x=1; y=2");
    assert_gives("req:header('Content-Type')", "text/plain");
    assert_gives("req:header('content-length')", "");
    assert_gives("req:header('Proxy'), req:header('PROXY')", "nil|nil");
    assert_gives("req:header('proxy-x')", "harmless");
    assert_gives("req:header('')", "nil");
    assert_gives("req:header()",
                 "{accept=a, b,content-length=,content-type=text/plain,"
                 "cookie=x=1; y=2,proxy-x=harmless,x-forwarded-for=1.2.3.4}");
    assert_raises("req:header(nil)", "string expected, got nil");
}

static void many_headers_of_one_name_are_joined(void **state)
{
    static char expected[2000 * 3 + 1];

    (void)state;
    rig_open("function on_request(req)\n"
             "  assert(req:header()['x'] == req:header('X'))\n"
             "  return 200, nil, req:header('X')\n"
             "end");
    assert_true(rig_begin(&request, REQUEST_RESPONDER));
    for (int i = 0; i < 2000; i++) {
        rig_param(&request, "HTTP_X", "v");
        memcpy(expected + 3 * i, "v, ", 4);
    }
    expected[2000 * 3 - 2] = '\0';
    rig_ready(&request);
    rig_run();
    assert_string_equal(request.body.data, expected);
}

#define HEADERS_TEST(f)                                                        \
    cmocka_unit_test_setup_teardown(f, set_up, rig_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEADERS_TEST(headers_are_found_in_any_spelling),
        HEADERS_TEST(many_headers_of_one_name_are_joined),
    };

    return cmocka_run_group_tests_name("script/lua_headers", tests, NULL, NULL);
}
