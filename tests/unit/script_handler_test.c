/* script_handler_test.c -- a request's way through its hook.
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

static void serve(const char *source)
{
    rig_unload();
    rig_open(source);
    rig_serve(&request);
}

static void serve_role(const char *source, enum request_role role)
{
    rig_unload();
    rig_open(source);
    assert_true(rig_begin(&request, role));
    rig_ready(&request);
    if (request.req != NULL)
        rig_input_end(&request);
    rig_run();
}

/* --- what a hook returns -------------------------------------------------- */

static void a_returned_status_is_the_answer(void **state)
{
    (void)state;
    serve("function on_request() return 204 end");
    assert_answer(&request, "Status: 204 No Content\r\n\r\n", "");
    serve("function on_request() return 200, nil, 'body' end");
    assert_answer(&request, "Status: 200 OK\r\nContent-Length: 4\r\n\r\n",
                  "body");
    serve("function on_request()\n"
          "  return 404, { ['X-A'] = 'b' }, { 'no', { 1, ' ' }, 'where' }\n"
          "end");
    assert_answer(&request,
                  "Status: 404 Not Found\r\nX-A: b\r\nContent-Length: 9\r\n"
                  "\r\n",
                  "no1 where");
    assert_int_equal(request.app_status, 0);
    assert_int_equal(request.end, EXCHANGE_COMPLETE);
}

static void a_returned_iterator_may_wait(void **state)
{
    (void)state;
    serve("local fcgi = require 'fcgi'\n"
          "function on_request()\n"
          "  local n = 0\n"
          "  return 200, { ['Content-Type'] = 'text/plain' }, function()\n"
          "    n = n + 1 fcgi.sleep(0)\n"
          "    if n < 4 then return 'line ' .. n .. '\\n' end\n"
          "  end\n"
          "end");
    assert_answer(&request,
                  "Status: 200 OK\r\nContent-Type: text/plain\r\n\r\n",
                  "line 1\nline 2\nline 3\n");
}

static void a_returned_file_is_sent_and_closed(void **state)
{
    (void)state;
    serve("local file\n"
          "function on_request(req)\n"
          "  file = io.tmpfile()\n"
          "  file:write('some bytes') file:seek('set', 5)\n"
          "  return 200, nil, file\n"
          "end\n"
          "function check() return io.type(file) end");
    assert_answer(&request, "Status: 200 OK\r\nContent-Length: 5\r\n\r\n",
                  "bytes");
    lua_getglobal(rig.script->L, "check");
    lua_call(rig.script->L, 0, 1);
    assert_string_equal(lua_tostring(rig.script->L, -1), "closed file");
    lua_settop(rig.script->L, 0);
}

static void other_results_mean_that_it_has_answered(void **state)
{
    static const char *const results[] = { "",           "nil",      "true",
                                           "req",        "false, 9", "'200'",
                                           "{ 1, 2, 3 }" };
    char source[256];

    (void)state;
    for (size_t i = 0; i < sizeof(results) / sizeof(*results); i++) {
        snprintf(source, sizeof(source),
                 "function on_request(req)\n"
                 "  req:set_status(202):write('done') return %s\n"
                 "end",
                 results[i]);
        serve(source);
        assert_answer(&request, "Status: 202 Accepted\r\n\r\n", "done");
        assert_int_equal(request.app_status, 0);
    }
    assert_string_equal(rig_log(), "");
}

static void a_bad_status_or_body_is_a_500(void **state)
{
    static const char *const results[] = {
        "100",
        "199",
        "200.5",
        "600",
        "-1",
        "math.maxinteger",
        "200, 'headers'",
        "200, nil, true",
        "200, nil, { {}, true }",
        "200, { [{}] = 1 }",
        "200, { ['A B'] = 1 }",
        "200, { A = 'a\\nb' }",
        "200, nil, { { { print } } }",
    };
    char source[256];

    (void)state;
    for (size_t i = 0; i < sizeof(results) / sizeof(*results); i++) {
        snprintf(source, sizeof(source),
                 "function on_request(req) return %s end", results[i]);
        rig_forget_log();
        serve(source);
        assert_failed_with(&request, "Status: 500 ");
        assert_true(strlen(rig_log()) > 0);
    }
}

static void a_status_after_the_head_is_an_error_in_the_log(void **state)
{
    (void)state;
    serve("function on_request(req)\n"
          "  req:write('Status: 200\\r\\n\\r\\nbody') return 404\n"
          "end");
    assert_string_equal(request.body.data, "body");
    assert_int_equal(request.heads, 1);
    assert_int_equal(request.ends, 1);
    rig_assert_logged("a status was returned after the head had gone");
}

static void no_answer_is_a_500(void **state)
{
    (void)state;
    serve("function on_request(req) end");
    assert_failed_with(&request, "Status: 500 ");
    rig_assert_logged("app.lua: the handler ended without an answer");
    assert_contains(request.err.data, "without an answer");
}

static void a_raw_head_is_checked(void **state)
{
    (void)state;
    serve("function on_request(req) req:write('no head at all\\n\\n') end");
    assert_failed_with(&request, "Status: 500 ");
    rig_assert_logged("the head of the answer is not valid");
    serve("function on_request(req) req:write('Content-Type: text/plain') end");
    assert_failed_with(&request, "Status: 500 ");
    rig_assert_logged("ended before the empty line");
}

/* --- errors --------------------------------------------------------------- */

static void an_error_is_a_500_and_told_with_its_place(void **state)
{
    (void)state;
    serve("local function inner() error('oops') end\n"
          "function on_request(req) inner() end");
    assert_failed_with(&request, "Status: 500 ");
    assert_string_equal(request.body.data, "500 Internal Server Error\n");
    rig_assert_logged("app.lua:1: oops (GET -, -, req ");
    rig_assert_logged("stack traceback:");
    rig_assert_logged("in upvalue 'inner'");
    assert_contains(request.err.data, "app.lua:1: oops");
    assert_contains(request.err.data, "stack traceback:");
    assert_lacks(request.body.data, "oops");
}

static void error_values_of_any_kind_become_text(void **state)
{
    static const struct {
        const char *value, *logged;
    } cases[] = {
        { "nil", "nil (GET" },
        { "42", "42 (GET" },
        { "{}", "table: 0x" },
        { "true", "true (GET" },
        { "print", "function: " },
        { "setmetatable({}, { __tostring = function() return 'me' end })",
          "me (GET" },
        { "setmetatable({}, { __tostring = function() error('x') end })",
          "(error object is a table value)" },
        { "setmetatable({}, { __tostring = function() return 1 end })",
          "1 (GET" },
        { "setmetatable({}, { __tostring = function()\n"
          "  require('fcgi').sleep(0) return 'x' end })",
          "(error object is a table value)" },
        { "setmetatable({}, { __name = 'My Type' })", "My Type: 0x" },
        { "'a\\0b\\27[31m\\nforged'", "a\\x00b\\x1b[31m\\x0aforged" },
        { "('x'):rep(1024):rep(1024)", "xxxxxxxx" },
    };
    char source[512];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        snprintf(source, sizeof(source),
                 "function on_request(req) error(%s, 0) end", cases[i].value);
        rig_forget_log();
        serve(source);
        assert_failed_with(&request, "Status: 500 ");
        rig_assert_logged(cases[i].logged);
        assert_true(strlen(rig_log()) < LOG_ENTRY_MAX + 100);
        assert_true(request.err.len < 20000);
    }
}

/* The error is the handler's own: only on_error sees it with its traceback. */
static void a_close_variable_sees_the_error_itself(void **state)
{
    (void)state;
    serve("local seen\n"
          "function on_request(req)\n"
          "  if req:param('X') then return 200 end\n"
          "  local object = { 'mine' }\n"
          "  local x <close> = setmetatable({}, { __close = function(_, e)\n"
          "    print(e == object, type(e), e[1]) end })\n"
          "  error(object)\n"
          "end");
    assert_failed_with(&request, "Status: 500 ");
    rig_assert_logged("true\ttable\tmine");
}

static void an_error_in_a_reader_of_load_is_text(void **state)
{
    (void)state;
    serve("function on_request(req)\n"
          "  local f, err = load(function() error('in the reader', 0) end)\n"
          "  return 200, nil, { type(err), ' ', tostring(err) }\n"
          "end");
    assert_string_equal(request.body.data, "string in the reader");
}

static void an_error_after_the_head_breaks_the_answer_off(void **state)
{
    (void)state;
    serve("function on_request(req)\n"
          "  req:write('Status: 200\\r\\n\\r\\nbegun') error('late')\n"
          "end");
    assert_string_equal(request.body.data, "begun");
    assert_int_equal(request.heads, 1);
    assert_int_equal(request.ends, 1);
    assert_int_equal(request.app_status, 1);
    rig_assert_logged("the answer had begun");
}

static void an_error_before_the_head_has_gone_drops_it(void **state)
{
    (void)state;
    serve("function on_request(req)\n"
          "  req:set_status(200):set_header('X-Secret', 'a') error('x')\n"
          "end");
    assert_failed_with(&request, "Status: 500 ");
    assert_lacks(request.head.data, "X-Secret");
    serve("function on_request(req)\n"
          "  req:write('X-Secret: a\\r\\n') error('x')\n"
          "end");
    assert_failed_with(&request, "Status: 500 ");
    assert_lacks(request.head.data, "X-Secret");
}

static void an_error_after_the_end_is_only_logged(void **state)
{
    (void)state;
    serve("function on_request(req)\n"
          "  req:send(200, nil, 'whole') error('afterwards')\n"
          "end");
    assert_answer(&request, "Status: 200 OK\r\nContent-Length: 5\r\n\r\n",
                  "whole");
    assert_int_equal(request.app_status, 0);
    rig_assert_logged("afterwards");
    assert_lacks(rig_log(), "the answer had begun");
}

static void endless_recursion_is_a_500_and_the_next_is_served(void **state)
{
    (void)state;
    serve("local function f() return 1 + f() end\n"
          "function on_request(req)\n"
          "  if req:param('GOOD') then return 200, nil, 'good' end\n"
          "  f()\n"
          "end");
    assert_failed_with(&request, "Status: 500 ");
    rig_assert_logged("stack overflow");
    assert_int_equal(rig.script->idle_count, 0);
    assert_true(rig_begin(&request, REQUEST_RESPONDER));
    rig_param(&request, "GOOD", "1");
    rig_ready(&request);
    rig_run();
    assert_string_equal(request.body.data, "good");
}

static void errors_can_go_to_the_log_alone(void **state)
{
    (void)state;
    rig.limits.stderr_to_log = true;
    serve("function on_request(req) error('oops') end");
    rig_assert_logged("oops");
    assert_int_equal(request.err.len, 0);
}

/* --- on_error ------------------------------------------------------------- */

static void on_error_may_answer(void **state)
{
    (void)state;
    serve("local fcgi = require 'fcgi'\n"
          "function on_request(req)\n"
          "  req:set_header('X-Gone', 'a') fcgi.sleep(0) error({ code = 42 })\n"
          "end\n"
          "function on_error(req, err, traceback)\n"
          "  fcgi.sleep(0)\n"
          "  local has = traceback:find('stack traceback', 1, true)\n"
          "  return 503, nil, { err.code, ' ', has and 'traced' or '' }\n"
          "end");
    assert_answer(&request,
                  "Status: 503 Service Unavailable\r\nContent-Length: 9\r\n"
                  "\r\n",
                  "42 traced");
}

static void on_error_may_write_by_itself(void **state)
{
    (void)state;
    serve("function on_request(req) error('x', 0) end\n"
          "function on_error(req, err)\n"
          "  req:set_status(500):write('sorry: ', err)\n"
          "end");
    assert_string_equal(request.body.data, "sorry: x");
    assert_int_equal(request.heads, 1);
    assert_int_equal(request.ends, 1);
}

static void without_an_answer_of_on_error_it_is_a_500(void **state)
{
    (void)state;
    serve("function on_request(req) error('x') end\n"
          "function on_error(req, err) end");
    assert_failed_with(&request, "Status: 500 ");
}

static void an_error_in_on_error_tells_of_both(void **state)
{
    (void)state;
    serve("function on_request(req) error('first') end\n"
          "function on_error(req, err) error('second') end");
    assert_failed_with(&request, "Status: 500 ");
    rig_assert_logged("first");
    rig_assert_logged("second");
}

static void an_error_in_the_answer_of_on_error_is_a_500(void **state)
{
    (void)state;
    serve("function on_request(req) error('first') end\n"
          "function on_error(req, err) return 9999 end");
    assert_failed_with(&request, "Status: 500 ");
}

static void on_error_after_the_head_changes_nothing_for_the_client(void **state)
{
    (void)state;
    serve("function on_request(req)\n"
          "  req:write('Status: 200\\r\\n\\r\\nbegun') error('late')\n"
          "end\n"
          "function on_error(req, err) return 500, nil, 'page' end");
    assert_string_equal(request.body.data, "begun");
    assert_int_equal(request.heads, 1);
    assert_int_equal(request.ends, 1);
}

static void a_late_error_is_logged_whatever_on_error_does(void **state)
{
    static const char *const hooks[] = { "", "return 500, nil, 'page'",
                                         "req:set_status(500)", "req:finish()",
                                         "error('second')" };
    static const char *const answers[] = {
        "req:write('Status: 200\\r\\n\\r\\nbegun')",
        "req:write('Status: 200\\r\\n\\r\\nbegun') req:finish()"
    };
    char source[512];

    (void)state;
    for (size_t i = 0; i < sizeof(hooks) / sizeof(hooks[0]); i++)
        for (size_t j = 0; j < 2; j++) {
            snprintf(source, sizeof(source),
                     "function on_request(req) %s error('late') end\n"
                     "function on_error(req) %s end",
                     answers[j], hooks[i]);
            rig_forget_log();
            serve(source);
            assert_string_equal(request.body.data, "begun");
            assert_int_equal(rig_logged("app.lua:1: late"), 1);
        }
}

static void a_failed_answer_of_the_hook_is_on_errors_affair(void **state)
{
    (void)state;
    serve("function on_request(req) return 9999 end\n"
          "function on_error(req, err) return 500, nil, 'mine' end");
    assert_string_equal(request.body.data, "mine");
    serve("function on_request(req)\n"
          "  return 200, nil, function() error('in the iterator') end\n"
          "end\n"
          "function on_error(req, err) return 500, nil, 'mine' end");
    assert_string_equal(request.body.data, "mine");
}

/* --- roles ---------------------------------------------------------------- */

static void a_role_without_a_hook_is_not_served(void **state)
{
    const struct service_ops *service_ops;

    (void)state;
    rig_open("function on_request() end");
    service_ops = rig.service.ops;
    assert_true(service_ops->serves(&rig.service, REQUEST_RESPONDER));
    assert_false(service_ops->serves(&rig.service, REQUEST_AUTHORIZER));
    assert_false(service_ops->serves(&rig.service, REQUEST_FILTER));
    rig_unload();
    rig_open("function on_authorize() end function on_filter() end");
    service_ops = rig.service.ops;
    assert_false(service_ops->serves(&rig.service, REQUEST_RESPONDER));
    assert_true(service_ops->serves(&rig.service, REQUEST_AUTHORIZER));
    assert_true(service_ops->serves(&rig.service, REQUEST_FILTER));
}

static void an_authorizer_allows_with_variables(void **state)
{
    (void)state;
    serve_role("function on_authorize(req)\n"
               "  return true, { USER = 'ann' }\n"
               "end",
               REQUEST_AUTHORIZER);
    assert_answer(&request, "Status: 200 OK\r\nVariable-USER: ann\r\n\r\n", "");
    serve_role("function on_authorize(req) return true end",
               REQUEST_AUTHORIZER);
    assert_answer(&request, "Status: 200 OK\r\n\r\n", "");
}

static void an_authorizer_refuses_with_an_answer(void **state)
{
    (void)state;
    serve_role("function on_authorize(req)\n"
               "  return 401, { ['WWW-Authenticate'] = 'Basic' }, 'who?'\n"
               "end",
               REQUEST_AUTHORIZER);
    assert_answer(&request,
                  "Status: 401 Unauthorized\r\nWWW-Authenticate: Basic\r\n"
                  "Content-Length: 4\r\n\r\n",
                  "who?");
}

static void an_authorizer_that_says_nothing_refuses(void **state)
{
    static const char *const results[] = { "", "nil", "false" };
    char source[128];

    (void)state;
    for (int i = 0; i < 3; i++) {
        snprintf(source, sizeof(source),
                 "function on_authorize(req) return %s end", results[i]);
        serve_role(source, REQUEST_AUTHORIZER);
        assert_contains(request.head.data, "Status: 403 Forbidden\r\n");
        assert_int_equal(request.ends, 1);
    }
    serve_role("function on_authorize(req) return 'yes' end",
               REQUEST_AUTHORIZER);
    assert_lacks(request.head.data, "Status: 200");
}

/* Only true does, and only when nothing else was said. */
static void an_authorizer_allows_by_nothing_else(void **state)
{
    static const char *const bodies[] = {
        "return 'yes'",
        "return '200'",
        "return 1",
        "return 0",
        "return {}",
        "return req",
        "return 200",
        "return 200.0, {}, 'welcome'",
        "return 204",
        "return 299",
        "return 0/0",
        "return nil, 'not you'",
        "return false, { A = 'b' }",
        "return true, 'ann'",
        "return true, { [true] = 1 }",
        "return true, { A = {} , B = true }",
        "req:set_header('X', 'y')",
        "req:set_header('X', 'y') return false",
        "return req:set_header('X', 'y')",
        "req:set_status(200)",
        "req:set_status(401) return true",
        "return req:send(200)",
        "req:send(200) return true",
        "req:send(403) return true",
        "req:finish() return true",
        "req:write('Status: 200\\r\\n\\r\\n')",
        "return req:write('Content-Type: text/plain\\r\\n\\r\\n')",
        "req:set_status(200) req:flush() return true",
        "error()",
        "error(nil)",
        "error({})",
        ("local x <close> = setmetatable({}, { __close = function() error 'x' "
         "end }) return true"),
    };
    static const char *const on_errors[] = {
        "",
        "function on_error(req) return 200, {}, 'sorry' end",
        "function on_error(req) return true end",
        "function on_error(req) req:set_status(200):write('sorry') end",
        "function on_error(req) req:write('A: b\\n\\nsorry') end",
        "function on_error(req) req:set_header('A', 'b') end",
    };
    char source[512];

    (void)state;
    for (size_t i = 0; i < sizeof(bodies) / sizeof(*bodies); i++) {
        for (size_t k = 0; k < sizeof(on_errors) / sizeof(*on_errors); k++) {
            const char *status;

            snprintf(source, sizeof(source),
                     "function on_authorize(req) %s end %s", bodies[i],
                     on_errors[k]);
            serve_role(source, REQUEST_AUTHORIZER);
            assert_int_equal(request.ends, 1);
            assert_int_equal(request.heads, 1);
            status = strstr(request.head.data, "Status: ");
            if (status == NULL || strtol(status + 8, NULL, 10) < 400)
                fail_msg("%s is let in: %s", source, request.head.data);
        }
    }
}

static void headers_go_with_an_admission(void **state)
{
    (void)state;
    serve_role("function on_authorize(req)\n"
               "  req:set_header('X-New', 'cookie')\n"
               "  return true, { USER = 'ann', N = 7 }\n"
               "end",
               REQUEST_AUTHORIZER);
    assert_contains(request.head.data, "Status: 200 OK\r\nX-New: cookie\r\n");
    assert_contains(request.head.data, "Variable-USER: ann\r\n");
    assert_contains(request.head.data, "Variable-N: 7\r\n");
}

static void an_authorizer_that_fails_does_not_allow(void **state)
{
    (void)state;
    serve_role("function on_authorize(req) error('x') end", REQUEST_AUTHORIZER);
    assert_failed_with(&request, "Status: 500 ");
    serve_role("function on_authorize(req)\n"
               "  return true, { ['A\\n'] = 1 } end",
               REQUEST_AUTHORIZER);
    assert_failed_with(&request, "Status: 500 ");
}

static void a_filter_is_served(void **state)
{
    (void)state;
    serve_role("function on_filter(req) return 200, nil, req.role end",
               REQUEST_FILTER);
    assert_string_equal(request.body.data, "filter");
}

/* --- abort ---------------------------------------------------------------- */

static const char reading_source[] =
    "function on_request(req)\n"
    "  local got, why = req:read(10)\n"
    "  print(got, why, req:is_aborted(), req:write('x'))\n"
    "  return 200, nil, 'answer'\n"
    "end";

static void an_abort_while_reading_wakes_the_reader(void **state)
{
    (void)state;
    rig_open(reading_source);
    assert_true(rig_begin(&request, REQUEST_RESPONDER));
    rig_ready(&request);
    rig_turns(1);
    rig_abort(&request);
    assert_int_equal(request.ends, 1);
    rig_run();
    assert_int_equal(request.heads, 0);
    assert_int_equal(request.ends, 1);
    rig_assert_logged("nil\taborted\ttrue\tnil\taborted");
}

static void a_handler_whose_client_left_before_is_not_begun(void **state)
{
    (void)state;
    rig_open(reading_source);
    assert_true(rig_begin(&request, REQUEST_RESPONDER));
    rig_ready(&request);
    rig_detach(&request);
    rig_run();
    assert_int_equal(request.heads + request.ends, 0);
    assert_string_equal(rig_log(), "");
}

static void an_abort_while_writing_wakes_the_writer(void **state)
{
    (void)state;
    rig_open("function on_request(req)\n"
             "  local ok, why = req:write('Status: 200\\r\\n\\r\\n',\n"
             "    ('x'):rep(100))\n"
             "  print(ok, why, req:write('more'))\n"
             "end");
    assert_true(rig_begin(&request, REQUEST_RESPONDER));
    request.room = 10;
    rig_ready(&request);
    rig_turns(2);
    assert_int_equal(rig_task()->state, TASK_WAITING);
    assert_int_equal(request.body_bytes, 10);
    rig_detach(&request);
    rig_run();
    rig_assert_logged("nil\taborted\tnil\taborted");
}

static void after_an_abort_what_had_come_is_read(void **state)
{
    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "function on_request(req)\n"
             "  fcgi.sleep(0.002)\n"
             "  print(req:read(3), req:read(3))\n"
             "  print(req:read(3))\n"
             "end");
    assert_true(rig_begin(&request, REQUEST_RESPONDER));
    rig_ready(&request);
    rig_input(&request, "abcde");
    rig_turns(1);
    rig_abort(&request);
    rig_run();
    rig_assert_logged("abc\tde");
    rig_assert_logged("nil\taborted");
}

static void functions_of_on_abort_run_as_tasks(void **state)
{
    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "function on_request(req)\n"
             "  req:on_abort(function()\n"
             "    fcgi.sleep(0) print('one ' .. tostring(req:is_aborted()))\n"
             "  end):on_abort(function() print('two') error('three') end)\n"
             "  fcgi.sleep(0.005)\n"
             "end");
    rig_start(&request);
    rig_turns(1);
    rig_detach(&request);
    assert_int_equal(script_tasks(rig.script), 3);
    rig_run();
    rig_assert_logged("one true");
    rig_assert_logged("two");
    rig_assert_logged("three");
}

static void without_an_abort_they_do_not_run(void **state)
{
    (void)state;
    serve("function on_request(req)\n"
          "  req:on_abort(function() print('ran') end)\n"
          "  return 200, nil, 'x'\n"
          "end");
    assert_lacks(rig_log(), "ran");
}

static void on_abort_after_the_abort_runs_at_once(void **state)
{
    (void)state;
    rig_open("function on_request(req)\n"
             "  req:read(1)\n"
             "  req:on_abort(function() print('ran') end)\n"
             "end");
    assert_true(rig_begin(&request, REQUEST_RESPONDER));
    rig_ready(&request);
    rig_turns(1);
    rig_detach(&request);
    rig_run();
    rig_assert_logged("ran");
}

static void an_abort_can_cancel(void **state)
{
    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "return { abort = 'cancel', on_request = function(req)\n"
             "  local ok, err = pcall(fcgi.sleep, 100)\n"
             "  print(fcgi.cancelled(err))\n"
             "end }");
    rig_start(&request);
    rig_turns(1);
    rig_detach(&request);
    rig_run();
    rig_assert_logged("abort");
}

static void an_abort_does_not_wake_a_sleeper(void **state)
{
    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "function on_request(req)\n"
             "  local before = fcgi.now()\n"
             "  fcgi.sleep(0.02)\n"
             "  print(fcgi.now() - before >= 0.02 and 'slept')\n"
             "end");
    rig_start(&request);
    rig_turns(1);
    rig_detach(&request);
    rig_run();
    rig_assert_logged("slept");
}

static void a_connection_may_die_of_any_output(void **state)
{
    static const char *const sources[] = {
        "function on_request(req) return 200, nil, 'x' end",
        "function on_request(req) req:write('A: b\\r\\n\\r\\nx') end",
        "function on_request(req) error('x') end",
        "function on_request(req) req:write_err('x') return 204 end",
        "function on_request(req) end",
        "function on_request(r) r:set_status(200):flush() r:write('x') end",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(sources) / sizeof(*sources); i++) {
        rig_unload();
        rig_open(sources[i]);
        assert_true(rig_begin(&request, REQUEST_RESPONDER));
        request.dies = true;
        rig_ready(&request);
        rig_run();
        assert_in_range(request.ends, 0, 1);
        rig_detach(&request);
    }
}

/* --- the end -------------------------------------------------------------- */

static void after_finish_the_handler_goes_on(void **state)
{
    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "function on_request(req)\n"
             "  req:send(200, nil, 'x')\n"
             "  fcgi.sleep(0)\n"
             "  print(req:write('more'))\n"
             "  print(req:read(5))\n"
             "  print(req:finish(), req:is_aborted(), req:flush())\n"
             "  print(pcall(req.set_header, req, 'A', 'b'))\n"
             "end");
    assert_true(rig_begin(&request, REQUEST_RESPONDER));
    rig_ready(&request);
    rig_input(&request, "unread");
    rig_turns(1);
    assert_int_equal(request.ends, 1);
    rig_run();
    rig_assert_logged("nil\tfinished");
    rig_assert_logged("true\tfalse\tnil\tfinished");
    rig_assert_logged("the answer is finished");
    assert_int_equal(request.ends, 1);
}

static void finish_has_a_status(void **state)
{
    (void)state;
    serve("function on_request(req)\n"
          "  req:set_status(200) req:finish(7)\n"
          "end");
    assert_int_equal(request.app_status, 7);
}

static void a_handle_that_was_kept_says_how_it_ended(void **state)
{
    (void)state;
    serve(
        "local kept\n"
        "function on_request(req)\n"
        "  if not kept then kept = req return 200, nil, 'first' end\n"
        "  local function show(...)\n"
        "    local t = table.pack(...)\n"
        "    for i = 1, t.n do t[i] = tostring(t[i]) end\n"
        "    return table.concat(t, ',')\n"
        "  end\n"
        "  return 200, nil, { show(kept:read()), ' ', show(kept:write('x')),\n"
        "    ' ', show(kept:param('A')), ' ', show(kept:header()), ' ',\n"
        "    show(kept:is_aborted()), ' ', tostring(kept), ' ',\n"
        "    show(kept:body()), ' ', show(kept:finish()), ' ',\n"
        "    show(kept.role, type(kept.ctx)) }\n"
        "end");
    assert_string_equal(request.body.data, "first");
    rig_serve(&request);
    assert_string_equal(request.body.data,
                        "nil,finished nil,finished nil,finished nil,finished "
                        "false fcgi.request: over nil,finished nil,finished "
                        "nil,table");
}

static void a_kept_handle_of_another_that_runs_works(void **state)
{
    (void)state;
    rig_open("local first\n"
             "function on_request(req)\n"
             "  if not first then\n"
             "    first = req\n"
             "    req:read()\n"
             "    return\n"
             "  end\n"
             "  first:send(200, nil, 'from the other')\n"
             "  return 200, nil, 'own'\n"
             "end");
    assert_true(rig_begin(&request, REQUEST_RESPONDER));
    rig_ready(&request);
    rig_turns(1);
    rig_serve(&other);
    assert_string_equal(request.body.data, "from the other");
    assert_string_equal(other.body.data, "own");
    assert_int_equal(request.ends, 1);
}

static void two_tasks_may_wait_for_one_request(void **state)
{
    (void)state;
    rig_open("local first\n"
             "function on_request(req)\n"
             "  if not first then first = req end\n"
             "  print(req == first, first:read(100))\n"
             "  return 200, nil, 'x'\n"
             "end");
    assert_true(rig_begin(&request, REQUEST_RESPONDER));
    rig_ready(&request);
    rig_turns(1);
    rig_start(&other);
    rig_turns(2);
    rig_input(&request, "for one of them");
    rig_input_end(&request);
    rig_run();
    rig_assert_logged("true\tfor one of them");
    rig_assert_logged("false\tnil"); /* the end, or finished */
    assert_string_equal(request.body.data, "x");
    assert_string_equal(other.body.data, "x");
}

/* --- the log -------------------------------------------------------------- */

static void a_line_names_the_request(void **state)
{
    (void)state;
    rig_open("function on_request(req) error('x', 0) end");
    assert_true(rig_begin(&request, REQUEST_RESPONDER));
    rig_param(&request, "REQUEST_METHOD", "POST");
    rig_param(&request, "REQUEST_URI", "/a?b\nc");
    rig_param(&request, "REMOTE_ADDR", "10.0.0.7");
    rig_param(&request, "HTTP_X_REQUEST_ID", "abc-1");
    rig_ready(&request);
    rig_run();
    rig_assert_logged("x (POST /a?b\\x0ac, 10.0.0.7, req abc-1)");
}

static void an_unsound_request_id_is_replaced(void **state)
{
    static const char *const ids[] = {
        "", "a b", "a\nb", "\xc3\xa4",
        "1234567890123456789012345678901234567890123456789012345678901234x"
    };

    (void)state;
    rig_open("function on_request(req) return 200, nil, req.id end");
    for (size_t i = 0; i < sizeof(ids) / sizeof(*ids); i++) {
        char own[32];

        assert_true(rig_begin(&request, REQUEST_RESPONDER));
        rig_param(&request, "HTTP_X_REQUEST_ID", ids[i]);
        snprintf(own, sizeof(own), "%llx",
                 (unsigned long long)request.req->serial);
        rig_ready(&request);
        rig_run();
        assert_string_equal(request.body.data, own);
    }
}

/* --- memory --------------------------------------------------------------- */

static const char failing_source[] =
    "local fcgi = require 'fcgi'\n"
    "function on_request(req)\n"
    "  req:on_abort(function() print('aborted') end)\n"
    "  fcgi.sleep(0)\n"
    "  error({ 'x' })\n"
    "end\n"
    "function on_error(req, err, traceback)\n"
    "  return 418, { ['X-A'] = 'b' }, { err[1], 'y' }\n"
    "end";

static void over_the_limit_an_error_is_a_500(void **state)
{
    bool served = false;

    (void)state;
    rig_open(failing_source);
    for (size_t more = 0; !served; more += 16) {
        rig_limit_memory(more);
        rig_serve(&request);
        assert_int_equal(request.ends, 1);
        assert_int_equal(request.heads, 1);
        served = strstr(request.head.data, "Status: 418 ") != NULL;
        if (!served)
            assert_contains(request.head.data, "Status: 500 ");
        else
            assert_string_equal(request.body.data, "xy");
        rig_forget_log();
        rig.script->memory.limit = 0;
    }
}

static void fail_or_abort(void *arg)
{
    bool aborts = *(bool *)arg;

    if (!rig_begin(&request, REQUEST_RESPONDER))
        return;
    rig_ready(&request);
    rig_input_end(&request);
    rig_turns(1);
    if (aborts)
        rig_detach(&request);
    rig_run();
    if (!aborts)
        assert_int_equal(request.ends, 1);
    task_free_idle(rig.script);
}

static void comes_through_without_memory(void **state)
{
    bool aborts = false;

    (void)state;
    rig_open(failing_source);
    alloc_each_fails(fail_or_abort, &aborts);
    aborts = true;
    alloc_each_fails(fail_or_abort, &aborts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRIPT_TEST(a_returned_status_is_the_answer),
        SCRIPT_TEST(a_returned_iterator_may_wait),
        SCRIPT_TEST(a_returned_file_is_sent_and_closed),
        SCRIPT_TEST(other_results_mean_that_it_has_answered),
        SCRIPT_TEST(a_bad_status_or_body_is_a_500),
        SCRIPT_TEST(a_status_after_the_head_is_an_error_in_the_log),
        SCRIPT_TEST(no_answer_is_a_500),
        SCRIPT_TEST(a_raw_head_is_checked),
        SCRIPT_TEST(an_error_is_a_500_and_told_with_its_place),
        SCRIPT_TEST(error_values_of_any_kind_become_text),
        SCRIPT_TEST(a_close_variable_sees_the_error_itself),
        SCRIPT_TEST(an_error_in_a_reader_of_load_is_text),
        SCRIPT_TEST(an_error_after_the_head_breaks_the_answer_off),
        SCRIPT_TEST(an_error_before_the_head_has_gone_drops_it),
        SCRIPT_TEST(an_error_after_the_end_is_only_logged),
        SCRIPT_TEST(endless_recursion_is_a_500_and_the_next_is_served),
        SCRIPT_TEST(errors_can_go_to_the_log_alone),
        SCRIPT_TEST(on_error_may_answer),
        SCRIPT_TEST(on_error_may_write_by_itself),
        SCRIPT_TEST(without_an_answer_of_on_error_it_is_a_500),
        SCRIPT_TEST(an_error_in_on_error_tells_of_both),
        SCRIPT_TEST(an_error_in_the_answer_of_on_error_is_a_500),
        SCRIPT_TEST(on_error_after_the_head_changes_nothing_for_the_client),
        SCRIPT_TEST(a_late_error_is_logged_whatever_on_error_does),
        SCRIPT_TEST(a_failed_answer_of_the_hook_is_on_errors_affair),
        SCRIPT_TEST(a_role_without_a_hook_is_not_served),
        SCRIPT_TEST(an_authorizer_allows_with_variables),
        SCRIPT_TEST(an_authorizer_refuses_with_an_answer),
        SCRIPT_TEST(an_authorizer_that_says_nothing_refuses),
        SCRIPT_TEST(an_authorizer_allows_by_nothing_else),
        SCRIPT_TEST(headers_go_with_an_admission),
        SCRIPT_TEST(an_authorizer_that_fails_does_not_allow),
        SCRIPT_TEST(a_filter_is_served),
        SCRIPT_TEST(an_abort_while_reading_wakes_the_reader),
        SCRIPT_TEST(a_handler_whose_client_left_before_is_not_begun),
        SCRIPT_TEST(an_abort_while_writing_wakes_the_writer),
        SCRIPT_TEST(after_an_abort_what_had_come_is_read),
        SCRIPT_TEST(functions_of_on_abort_run_as_tasks),
        SCRIPT_TEST(without_an_abort_they_do_not_run),
        SCRIPT_TEST(on_abort_after_the_abort_runs_at_once),
        SCRIPT_TEST(an_abort_can_cancel),
        SCRIPT_TEST(an_abort_does_not_wake_a_sleeper),
        SCRIPT_TEST(a_connection_may_die_of_any_output),
        SCRIPT_TEST(after_finish_the_handler_goes_on),
        SCRIPT_TEST(finish_has_a_status),
        SCRIPT_TEST(a_handle_that_was_kept_says_how_it_ended),
        SCRIPT_TEST(a_kept_handle_of_another_that_runs_works),
        SCRIPT_TEST(two_tasks_may_wait_for_one_request),
        SCRIPT_TEST(a_line_names_the_request),
        SCRIPT_TEST(an_unsound_request_id_is_replaced),
        SCRIPT_TEST(over_the_limit_an_error_is_a_500),
        SCRIPT_TEST(comes_through_without_memory),
    };

    return cmocka_run_group_tests_name("script/handler", tests, NULL, NULL);
}
