/* script_lua_request_test.c -- what a handler can ask of a request.
 *
 * The checks are written in Lua, as scripts are: ask(expression) gives what a
 * handler gets, as text.
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

static void parameters_are_as_they_were_sent(void **state)
{
    static const char *const sent[] = { "A",      "one", "B",      "",
                                        "A",      "two", "http_x", "low",
                                        "SPACE ", " x ", NULL };

    (void)state;
    params = sent;
    assert_gives("req:param('A')", "one"); /* the first */
    assert_gives("req:param('B')", "");
    assert_gives("req:param('a')", "nil");
    assert_gives("req:param('')", "nil");
    assert_gives("req:param('SPACE ')", " x ");
    assert_gives("req:param()", "{A=one,B=,SPACE = x ,http_x=low}");
    assert_gives("req:params()", "{A=one,B=,SPACE = x ,http_x=low}");
    assert_gives("req:param(42)", "nil");
    assert_raises("req:param(nil)", "string expected, got nil");
    assert_raises("req:param({})", "string expected, got table");
}

static void parameters_are_bytes(void **state)
{
    (void)state;
    rig_open("function on_request(req)\n"
             "  local v = req:param('A\\0B')\n"
             "  return 200, nil, { #v, ' ', v:byte(1, -1) == 0 and 'nul' }\n"
             "end");
    assert_true(rig_begin(&request, REQUEST_RESPONDER));
    rig_param_bytes(&request, (struct slice){ "A\0B", 3 },
                    (struct slice){ "\0\xff\n", 3 });
    rig_ready(&request);
    rig_run();
    assert_string_equal(request.body.data, "3 nul");
}

static void without_parameters_there_are_defaults(void **state)
{
    (void)state;
    assert_gives("req:method()", "GET");
    assert_gives("req:path()", "/");
    assert_gives("req:query_string()", "");
    assert_gives("req:script_name(), req:path_info(), req:uri()",
                 "nil|nil|nil");
    assert_gives("req:protocol(), req:host(), req:remote_addr(), req:user()",
                 "nil|nil|nil|nil");
    assert_gives("req:scheme()", "http");
    assert_gives("req:content_length()", "nil");
    assert_gives("req:param()", "{}");
    assert_gives("req:header()", "{}");
    assert_gives("req:header('Host')", "nil");
}

static void accessors_name_what_web_servers_send(void **state)
{
    static const char *const sent[] = { "REQUEST_METHOD",
                                        "PUT",
                                        "SCRIPT_NAME",
                                        "/app",
                                        "PATH_INFO",
                                        "/a b",
                                        "QUERY_STRING",
                                        "x=1",
                                        "REQUEST_URI",
                                        "/app/a%20b",
                                        "SERVER_PROTOCOL",
                                        "HTTP/1.1",
                                        "SERVER_NAME",
                                        "internal",
                                        "HTTP_HOST",
                                        "example.org:81",
                                        "REMOTE_ADDR",
                                        "192.0.2.1",
                                        "REMOTE_USER",
                                        "ann",
                                        "CONTENT_LENGTH",
                                        "12",
                                        NULL };

    (void)state;
    params = sent;
    assert_gives("req:method(), req:path(), req:script_name(), "
                 "req:path_info()",
                 "PUT|/app/a b|/app|/a b");
    assert_gives("req:query_string(), req:uri(), req:protocol()",
                 "x=1|/app/a%20b|HTTP/1.1");
    assert_gives("req:host(), req:remote_addr(), req:user()",
                 "example.org:81|192.0.2.1|ann");
    assert_gives("req:content_length(), math.type(req:content_length())",
                 "12|integer");
}

static void the_scheme_is_found_out(void **state)
{
    static const struct {
        const char *sent[5], *scheme;
    } cases[] = {
        { { "REQUEST_SCHEME", "https", NULL }, "https" },
        { { "HTTPS", "on", NULL }, "https" },
        { { "HTTPS", "1", NULL }, "https" },
        { { "HTTPS", "OFF", NULL }, "http" },
        { { "HTTPS", "", NULL }, "http" },
        { { "HTTPS", "on", "REQUEST_SCHEME", "http", NULL }, "http" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        params = cases[i].sent;
        assert_gives("req:scheme()", cases[i].scheme);
    }
}

static void a_length_is_an_integer_or_nil(void **state)
{
    static const char *const bad[] = { "",
                                       "-1",
                                       "1.5",
                                       "0x10",
                                       " 1",
                                       "1 2",
                                       "abc",
                                       "99999999999999999999",
                                       "9223372036854775808" };
    const char *sent[] = { "CONTENT_LENGTH", NULL, NULL };

    (void)state;
    params = sent;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        sent[1] = bad[i];
        assert_gives("req:content_length()", "nil");
    }
    sent[1] = "0";
    assert_gives("req:content_length()", "0");
}

static void fields_say_what_it_is(void **state)
{
    static const char *const sent[] = { "FCGI_DATA_LENGTH",
                                        "1234",
                                        "FCGI_DATA_LAST_MOD",
                                        "99",
                                        "HTTP_X_REQUEST_ID",
                                        "id-7",
                                        NULL };

    (void)state;
    params = sent;
    assert_gives("req.role, req.id", "responder|id-7");
    role = REQUEST_AUTHORIZER;
    assert_gives("req.role", "authorizer");
    role = REQUEST_FILTER;
    assert_gives("req.role, req.data_length, req.data_mtime", "filter|1234|99");
    assert_gives("math.type(req.started), req.started <= "
                 "require('fcgi').now()",
                 "float|true");
    assert_gives("req.nothing, req[1], req[true]", "nil|nil|nil");
    assert_gives("type(req.read)", "function");
}

static void ctx_is_a_free_table(void **state)
{
    (void)state;
    assert_gives("(function() req.ctx.a = 1 return req.ctx end)()", "{a=1}");
    assert_gives("(function() req.ctx = { b = 2 } return req.ctx end)()",
                 "{b=2}");
    assert_raises("(function() req.ctx = 1 end)()", "table expected");
    assert_raises("(function() req.other = 1 end)()", "use req.ctx");
    assert_raises("(function() req[1] = 1 end)()", "use req.ctx");
}

static void file_objects_are_made_once(void **state)
{
    (void)state;
    assert_gives("tostring(req.input), tostring(req.out), tostring(req.err)",
                 "file (request input)|file (request output)|"
                 "file (request errors)");
    assert_gives("req.input == req.input, req.out == req.out, "
                 "req.err == req.err, req.input == req.out",
                 "true|true|true|false");
    assert_gives("req.inputs, req.ou", "nil|nil");
    assert_raises("(function() req.input = 1 end)()", "use req.ctx");
    assert_raises("(function() req.err = nil end)()", "use req.ctx");
}

static void query_and_cookies_are_decoded(void **state)
{
    static const char *const sent[] = { "QUERY_STRING", "a=1&b=%41+x&a=2&c",
                                        "HTTP_COOKIE", "s=1; t=\"2\"; s=3",
                                        NULL };

    (void)state;
    params = sent;
    assert_gives("req:query('a'), req:query('b'), req:query('c'), "
                 "req:query('d')",
                 "1|A x||nil");
    assert_gives("req:query_all('a')", "{1=1,2=2}");
    assert_gives("req:query()", "{a=1,b=A x,c=}");
    assert_gives("req:cookie('s'), req:cookie('t'), req:cookie_all('s')",
                 "1|2|{1=1,2=3}");
}

static void the_class_cannot_be_lent(void **state)
{
    (void)state;
    assert_gives("getmetatable(req)", "false");
    assert_raises("req.read(io.stdout)", "fcgi.request expected");
    assert_raises("req.method()", "write req:method, with");
    assert_raises("req.param({}, 'A')", "write req:param, with");
    assert_raises("req.write('x')", "write req:write, with");
    assert_raises("(function() local mt = debug.getmetatable(req)\n"
                  "  return req.method(debug.setmetatable(\n"
                  "    io.tmpfile(), mt)) end)()",
                  "fcgi.request expected");
    assert_raises("(function() local mt = debug.getmetatable(req)\n"
                  "  return req.method(setmetatable({},\n"
                  "    { __index = mt.__index })) end)()",
                  "bad self (write req:method, with a colon)");
    assert_raises("debug.getmetatable(req).__index({}, 'role')",
                  "fcgi.request expected");
    assert_raises("debug.getmetatable(req).__newindex({}, 'ctx', {})",
                  "fcgi.request expected");
}

static void as_text_it_has_its_id(void **state)
{
    static const char *const sent[] = { "HTTP_X_REQUEST_ID", "abc", NULL };

    (void)state;
    params = sent;
    assert_gives("req", "fcgi.request: abc");
}

static const char asking_source[] =
    "function on_request(req)\n"
    "  local t = { req:param('A'), req:header('X'), req:query('q'),\n"
    "    req:path(), req.id, tostring(req) }\n"
    "  req.ctx.n = #t\n"
    "  for k, v in pairs(req:header()) do t[#t + 1] = v end\n"
    "  for k, v in pairs(req:param()) do t[#t + 1] = v end\n"
    "  assert(req.input ~= req.out and req.err == req.err)\n"
    "  return 200, nil, #t\n"
    "end";

static void over_the_limit_asking_fails_cleanly(void **state)
{
    static const char *const sent[] = {
        "A",      "a", "HTTP_X", "one", "HTTP_X", "two", "QUERY_STRING",
        "q=%20x", NULL
    };
    bool served = false;

    (void)state;
    params = sent;
    rig_open(asking_source);
    for (size_t more = 0; !served; more += 16) {
        rig_limit_memory(more);
        serve_params();
        assert_int_equal(request.ends, 1);
        served = request.app_status == 0;
        if (!served)
            assert_failed_with(&request, "Status: 500 ");
        rig_forget_log();
        rig.script->memory.limit = 0;
    }
    assert_string_equal(request.body.data, "10");
}

#define REQUEST_TEST(f)                                                        \
    cmocka_unit_test_setup_teardown(f, set_up, rig_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        REQUEST_TEST(parameters_are_as_they_were_sent),
        REQUEST_TEST(parameters_are_bytes),
        REQUEST_TEST(without_parameters_there_are_defaults),
        REQUEST_TEST(accessors_name_what_web_servers_send),
        REQUEST_TEST(the_scheme_is_found_out),
        REQUEST_TEST(a_length_is_an_integer_or_nil),
        REQUEST_TEST(fields_say_what_it_is),
        REQUEST_TEST(ctx_is_a_free_table),
        REQUEST_TEST(file_objects_are_made_once),
        REQUEST_TEST(query_and_cookies_are_decoded),
        REQUEST_TEST(the_class_cannot_be_lent),
        REQUEST_TEST(as_text_it_has_its_id),
        REQUEST_TEST(over_the_limit_asking_fails_cleanly),
    };

    return cmocka_run_group_tests_name("script/lua_request", tests, NULL, NULL);
}
