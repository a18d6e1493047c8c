/* script_lua_answer_test.c -- answering from Lua.
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

static void open_handler(const char *statements)
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
             "function on_request(req) %s end",
             statements);
    rig_unload();
    rig_open(source);
}

static void serve(const char *statements)
{
    open_handler(statements);
    rig_serve(&request);
}

/* The statements hold, and nothing of the answer was touched by them. */
static void check(const char *statements)
{
    char whole[3072];

    snprintf(whole, sizeof(whole), "%s\nreq:send(200, nil, 'ok')", statements);
    serve(whole);
    rig_check(&request);
    assert_string_equal(request.head.data,
                        "Status: 200 OK\r\nContent-Length: 2\r\n\r\n");
}

static void assert_error(const char *part)
{
    assert_failed_with(&request, "Status: 500 ");
    rig_assert_logged(part);
}

/* --- the head ------------------------------------------------------------- */

static void the_head_is_built_from_calls_in_a_chain(void **state)
{
    (void)state;
    serve("req:set_status(201, 'Made'):set_header('X-A', 'one')\n"
          "  :add_header('X-A', 2):set_header('X-B', { 'x', 3.5 })\n"
          "  :set_header('X-C', 'gone'):set_header('x-c', nil):write('body')");
    assert_answer(&request,
                  "Status: 201 Made\r\nX-A: one\r\nX-A: 2\r\nX-B: x\r\n"
                  "X-B: 3.5\r\n\r\n",
                  "body");
}

static void setting_replaces_and_adding_does_not(void **state)
{
    (void)state;
    serve("req:add_header('A', 1):add_header('a', 2):set_header('A', 3)\n"
          "req:add_header('B', { 1, 2 }) req:write('x')");
    assert_answer(&request, "A: 3\r\nB: 1\r\nB: 2\r\n\r\n", "x");
}

static void the_status_may_be_set_as_a_header(void **state)
{
    (void)state;
    serve("req:set_header('status', '404 Not Here'):write('x')");
    assert_answer(&request, "Status: 404 Not Here\r\n\r\n", "x");
    serve("req:set_header('Status', 204)");
    assert_answer(&request, "Status: 204 No Content\r\n\r\n", "");
}

static void a_location_alone_redirects(void **state)
{
    (void)state;
    serve("req:set_header('Location', '/x')");
    assert_answer(&request, "Status: 302 Found\r\nLocation: /x\r\n\r\n", "");
}

static void bad_heads_raise_and_change_nothing(void **state)
{
    (void)state;
    check("refused('from 200 to 599', req.set_status, req, 199)\n"
          "refused('from 200 to 599', req.set_status, req, 600)\n"
          "refused('from 200 to 599', req.set_status, req, -200)\n"
          "refused('number expected', req.set_status, req)\n"
          "refused('number expected', req.set_status, req, 'OK')\n"
          "refused('no integer', req.set_status, req, 200.5)\n"
          "refused('control byte', req.set_status, req, 200, 'a\\r\\nb')\n"
          "refused('too long', req.set_status, req, 200, ('x'):rep(200))\n"
          "refused('string expected', req.set_status, req, 200, {})\n"
          "for _, name in ipairs { '', 'a b', 'a:', 'a\\n', 'a\\0', '\\xc3' }\n"
          "do\n"
          "  refused('not the name', req.set_header, req, name, 'x')\n"
          "  refused('not the name', req.add_header, req, name, 'x')\n"
          "end\n"
          "for _, v in ipairs { 'a\\nb', 'a\\rb', 'a\\0b', 'a\\27b' } do\n"
          "  refused('control byte', req.set_header, req, 'A', v)\n"
          "  refused('control byte', req.add_header, req, 'A', { 'ok', v })\n"
          "end\n"
          "refused('string expected', req.set_header, req, 'A', true)\n"
          "refused('string expected', req.set_header, req, 'A', print)\n"
          "refused('strings or numbers', req.set_header, req, 'A',\n"
          "  { 'ok', {} })\n"
          "refused('value expected', req.add_header, req, 'A')\n"
          "refused('string expected, got nil', req.add_header, req, 'A', nil)\n"
          "refused('string expected', req.set_header, req)\n"
          "refused('200 to 599', req.set_header, req, 'Status', '99 x')\n"
          "refused('200 to 599', req.set_header, req, 'Status', '2000')\n"
          "refused('200 to 599', req.set_header, req, 'Status', 'OK')\n");
}

static void errors_name_the_line_of_the_script(void **state)
{
    (void)state;
    serve("req:set_header('A', 'b')\n\n  req:set_status(99)");
    assert_error("app.lua:10: bad argument #1 to 'set_status'");
}

static void a_head_has_a_limit(void **state)
{
    (void)state;
    serve("req:set_header('A', ('x'):rep(70000))");
    assert_error("the head is too large");
    serve("for i = 1, 70 do req:add_header('A', ('x'):rep(1000)) end");
    assert_error("the head is too large");
    serve("req:write(('x'):rep(70000))");
    assert_failed_with(&request, "Status: 500 ");
}

static void after_the_head_has_gone_it_cannot_change(void **state)
{
    (void)state;
    serve("req:set_status(200):write('x')\n"
          "refused('the head has gone', req.set_status, req, 404)\n"
          "refused('the head has gone', req.set_header, req, 'A', 'b')\n"
          "refused('the head has gone', req.add_header, req, 'A', 'b')\n"
          "refused('the head has gone', req.set_header, req, 'A', nil)\n"
          "refused('the head has gone', req.send, req, 200)\n"
          "req:write('y')");
    assert_answer(&request, "Status: 200 OK\r\n\r\n", "xy");
    assert_string_equal(rig_log(), "");
}

static void a_head_that_was_begun_by_write_cannot_be_set(void **state)
{
    (void)state;
    serve("req:write('Content-Type: a/b\\r\\n')\n"
          "refused('was begun by req:write', req.set_header, req, 'A', 'b')\n"
          "req:write('\\r\\nbody')");
    assert_answer(&request, "Content-Type: a/b\r\n\r\n", "body");
}

/* --- write ---------------------------------------------------------------- */

static void write_takes_strings_numbers_and_lists(void **state)
{
    (void)state;
    serve("req:set_status(200)\n"
          "local t = { 'a', { 1, { 2.5, {} } }, '' }\n"
          "assert(req:write('x', t, 7, '') == true)\n"
          "assert(req:write() == true and req:write('') == true)\n"
          "assert(req:write({}) == true)\n"
          "assert(math.type(t[2][1]) == 'integer')");
    assert_answer(&request, "Status: 200 OK\r\n\r\n", "xa12.57");
}

static void everything_is_checked_before_the_first_byte(void **state)
{
    (void)state;
    check("refused(\"bad argument #2 to 'write'\", function()\n"
          "  req:write('a', nil) end)\n"
          "refused('got boolean', req.write, req, 'a', { 'b', true })\n"
          "refused('got function', req.write, req, { { print } })\n"
          "refused('got userdata', req.write, req, io.stdout)\n"
          "local deep = 'x'\n"
          "for i = 1, 100 do deep = { deep } end\n"
          "refused('too deep', req.write, req, deep)\n"
          "local loop = {} loop[1] = loop\n"
          "refused('too deep', req.write, req, loop)\n");
}

static void a_raw_head_may_come_in_any_pieces(void **state)
{
    (void)state;
    serve("for c in ('Status: 404 No\\nA: b\\n\\nbody'):gmatch('.') do\n"
          "  req:write(c)\n"
          "end");
    assert_string_equal(request.body.data, "body");
    assert_contains(request.head.data, "Status: 404 No\r\nA: b\r\n");
}

static void over_the_mark_write_waits(void **state)
{
    (void)state;
    open_handler("req:set_status(200)\n"
                 "print(req:write(('0123456789'):rep(10)))\n"
                 "req:write('end')");
    assert_true(rig_begin(&request, REQUEST_RESPONDER));
    request.room = 25;
    rig_ready(&request);
    rig_turns(3);
    assert_int_equal(request.body_bytes, 25);
    assert_int_equal(rig_task()->state, TASK_WAITING);
    rig_make_room(&request, 50);
    rig_turns(3);
    assert_int_equal(request.body_bytes, 75);
    assert_lacks(rig_log(), "true");
    rig_make_room(&request, SIZE_MAX);
    rig_run();
    assert_int_equal(request.body_bytes, 103);
    assert_string_equal(request.body.data + 70,
                        "012345678901234567890123456789end");
    rig_assert_logged("true");
}

static void many_arguments_wait_as_one(void **state)
{
    (void)state;
    open_handler("req:set_status(200):write('abc', 1, { 'def', 2 }, 'ghi')");
    assert_true(rig_begin(&request, REQUEST_RESPONDER));
    request.room = 1;
    rig_ready(&request);
    for (int i = 0; i < 20 && request.req != NULL; i++) {
        rig_turns(1);
        if (request.req != NULL)
            rig_make_room(&request, 1);
    }
    rig_run();
    assert_string_equal(request.body.data, "abc1def2ghi");
}

/* Those that are long are written from where they lie. */
static void long_and_short_arguments_keep_their_order(void **state)
{
    static char expected[20000];
    size_t len;

    (void)state;
    open_handler("req:set_status(200)\n"
                 "req:write('a', 1, ('b'):rep(3000), 'c', { 'd', 2.5 },\n"
                 "  ('e'):rep(2000), ('f'):rep(100), { ('g'):rep(5000), {} },\n"
                 "  '', 'h', ('i'):rep(2048), 7)");
    len = (size_t)snprintf(expected, sizeof(expected), "a1");
    memset(expected + len, 'b', 3000);
    len += 3000;
    memcpy(expected + len, "cd2.5", 5);
    len += 5;
    memset(expected + len, 'e', 2000);
    memset(expected + len + 2000, 'f', 100);
    memset(expected + len + 2100, 'g', 5000);
    len += 7100;
    expected[len++] = 'h';
    memset(expected + len, 'i', 2048);
    len += 2048;
    expected[len++] = '7';
    for (size_t room = 1; room < 6000; room += room < 3 ? 1 : 997) {
        assert_true(rig_begin(&request, REQUEST_RESPONDER));
        request.room = room;
        rig_ready(&request);
        rig_turns(1);
        while (request.req != NULL) {
            rig_make_room(&request, room);
            rig_turns(1);
        }
        rig_run();
        assert_int_equal(request.body.len, len);
        assert_memory_equal(request.body.data, expected, len);
    }
}

static void very_many_arguments_are_written(void **state)
{
    (void)state;
    serve("local t = {}\n"
          "for i = 1, 5000 do t[i] = i % 10 end\n"
          "req:set_status(200):write(table.unpack(t))");
    assert_int_equal(request.body_bytes, 5000);
    assert_memory_equal(request.body.data, "12345678901", 11);
}

static void without_a_body_nothing_waits(void **state)
{
    (void)state;
    open_handler("req:set_status(200):write(('x'):rep(100))");
    assert_true(rig_begin(&request, REQUEST_RESPONDER));
    rig_param(&request, "REQUEST_METHOD", "HEAD");
    request.room = 0;
    rig_ready(&request);
    rig_run();
    assert_answer(&request, "Status: 200 OK\r\n\r\n", "");
}

static void a_write_in_a_wait_may_be_cancelled(void **state)
{
    (void)state;
    open_handler("req:set_status(200)\n"
                 "local ok, err = pcall(req.write, req, ('x'):rep(100))\n"
                 "print(ok, fcgi.cancelled(err))");
    assert_true(rig_begin(&request, REQUEST_RESPONDER));
    request.room = 10;
    rig_ready(&request);
    rig_turns(3);
    task_cancel(rig_task(), "stop");
    rig_run();
    rig_assert_logged("false\tstop");
    assert_int_equal(request.ends, 1);
    assert_int_equal(request.body_bytes, 10);
}

/* --- write_err ------------------------------------------------------------ */

static void errors_go_to_the_web_server_and_to_our_log(void **state)
{
    (void)state;
    serve("assert(req:write_err('one\\ntwo ', 3, { '!' }) == true)\n"
          "req:write_err('') return 204");
    assert_string_equal(request.err.data, "one\ntwo 3!");
    rig_assert_logged("one (GET");
    rig_assert_logged("two 3! (GET");
}

static void errors_may_go_to_our_log_alone(void **state)
{
    (void)state;
    rig.limits.stderr_to_log = true;
    serve("assert(req:write_err('line\\n') == true) return 204");
    assert_int_equal(request.err.len, 0);
    rig_assert_logged("line (GET");
}

static void write_err_waits_and_hears_of_the_end(void **state)
{
    (void)state;
    open_handler("print(req:write_err('x'))\n"
                 "print(req:write_err('y'))\n"
                 "req:send(200) print(req:write_err('z'))");
    assert_true(rig_begin(&request, REQUEST_RESPONDER));
    request.room = 0;
    rig_ready(&request);
    rig_turns(3);
    assert_int_equal(request.err.len, 0);
    rig_make_room(&request, SIZE_MAX);
    rig_run();
    assert_string_equal(request.err.data, "xy");
    rig_assert_logged("nil\tfinished");
}

/* --- flush, finish and send ----------------------------------------------- */

static void flush_sends_the_head_and_waits_for_the_kernel(void **state)
{
    (void)state;
    open_handler("req:set_header('A', 'b')\n"
                 "print('flushed', req:flush())\n"
                 "req:write('x')");
    assert_true(rig_begin(&request, REQUEST_RESPONDER));
    request.is_stuck = true;
    rig_ready(&request);
    rig_turns(3);
    assert_string_equal(request.head.data, "A: b\r\n\r\n");
    assert_lacks(rig_log(), "flushed");
    request.is_stuck = false;
    request_wake(request.req);
    rig_run();
    rig_assert_logged("flushed\ttrue");
    assert_string_equal(request.body.data, "x");
}

static void flush_before_anything_is_no_answer(void **state)
{
    (void)state;
    serve("assert(req:flush() == true) req:set_status(204)");
    assert_answer(&request, "Status: 204 No Content\r\n\r\n", "");
}

static void flush_of_an_aborted_request_says_so(void **state)
{
    (void)state;
    open_handler("req:set_status(200) print(req:flush())");
    assert_true(rig_begin(&request, REQUEST_RESPONDER));
    request.is_stuck = true;
    rig_ready(&request);
    rig_turns(2);
    rig_detach(&request);
    rig_run();
    rig_assert_logged("nil\taborted");
}

static void finish_is_idempotent(void **state)
{
    (void)state;
    serve("req:set_status(200)\n"
          "assert(req:finish(3) and req:finish(4) and req:finish())");
    assert_int_equal(request.ends, 1);
    assert_int_equal(request.app_status, 3);
    serve("refused('out of range', req.finish, req, -1)\n"
          "refused('out of range', req.finish, req, 1 << 32)\n"
          "refused('number expected', req.finish, req, 'x')\n"
          "req:set_status(200) req:finish(0xffffffff)");
    assert_int_equal(request.app_status, UINT32_MAX);
}

static void finish_without_a_head_is_a_500(void **state)
{
    (void)state;
    serve("req:finish()");
    assert_failed_with(&request, "Status: 500 ");
    serve("req:write('A: b\\r\\n') req:finish()");
    assert_failed_with(&request, "Status: 500 ");
}

static void send_answers_and_finishes(void **state)
{
    (void)state;
    serve("assert(req:send(404, { A = 'b' }, { 'not ', 'here' }) == true)\n"
          "local ok, why = req:write('more') assert(why == 'finished')");
    assert_answer(&request,
                  "Status: 404 Not Found\r\nA: b\r\nContent-Length: 8\r\n\r\n",
                  "not here");
    serve("req:set_header('X', 'y') req:send(200)");
    assert_contains(request.head.data, "X: y\r\n");
    assert_contains(request.head.data, "Content-Length: 0\r\n");
    serve("req:send(204)");
    assert_answer(&request, "Status: 204 No Content\r\n\r\n", "");
    serve("req:send(200, { ['content-length'] = 3 }, 'abc')");
    assert_contains(request.head.data, "content-length: 3\r\n");
    assert_lacks(request.head.data, "Content-Length");
    serve("req:send(200, nil, 42)");
    assert_string_equal(request.body.data, "42");
}

static void send_checks_before_it_changes(void **state)
{
    (void)state;
    check("refused('headers are a table', req.send, req, 200, 'x')\n"
          "refused('a body is', req.send, req, 200, nil, true)\n"
          "refused('a list of strings', req.send, req, 200, nil, { true })\n"
          "refused('closed file', function()\n"
          "  local f = io.tmpfile() f:close() req:send(200, nil, f) end)\n"
          "refused('200 to 599', req.send, req, 100)\n");
}

static void an_aborted_request_takes_any_head(void **state)
{
    (void)state;
    open_handler("req:read(1)\n"
                 "req:set_status(200):set_header('A', 'b')\n"
                 "  :add_header('A', 'c')\n"
                 "print('sent', req:send(200, nil, 'x'))\n"
                 "print('written', req:write('x'))\n"
                 "print('finished', req:finish())");
    assert_true(rig_begin(&request, REQUEST_RESPONDER));
    rig_ready(&request);
    rig_turns(1);
    rig_detach(&request);
    rig_run();
    rig_assert_logged("sent\tnil\taborted");
    rig_assert_logged("written\tnil\taborted");
    rig_assert_logged("finished\ttrue");
}

/* --- memory --------------------------------------------------------------- */

static const char *const ways[] = {
    "req:set_status(200, 'Fine'):set_header('A', { 'b', 1 })\n"
    "req:write('x', 1, { 'y' })",
    "req:write('Content-Type: a/b\\r\\n') req:write('\\r\\n', 'x1y')",
    "req:write_err('e', 1) req:send(200, { A = 'b' }, { 'x', 1, 'y' })",
    "return 200, { A = { 'b', 'c' } }, function()\n"
    "  if not req.ctx.done then req.ctx.done = 1 return 'x1y' end end",
    "req:set_status(200) req:flush() req:write('x1', 'y')",
};

enum { WAYS = sizeof(ways) / sizeof(*ways) };

static void over_the_limit_answering_fails_cleanly(void **state)
{
    (void)state;
    for (int i = 0; i < WAYS; i++) {
        bool served = false;

        open_handler(ways[i]);
        for (size_t more = 0; !served; more += 16) {
            rig_limit_memory(more);
            rig_serve(&request);
            assert_int_equal(request.ends, 1);
            assert_int_equal(request.heads, 1);
            served = request.app_status == 0;
            rig_forget_log();
            rig.script->memory.limit = 0;
        }
        assert_string_equal(request.body.data, "x1y");
    }
}

static void answer_or_fail(void *arg)
{
    (void)arg;
    if (!rig_begin(&request, REQUEST_RESPONDER))
        return;
    request.room = 2;
    rig_ready(&request);
    for (int i = 0; i < 10 && request.req != NULL; i++) {
        rig_turns(1);
        if (request.req != NULL)
            rig_make_room(&request, 2);
    }
    rig_run();
    assert_int_equal(request.ends, 1);
    assert_int_equal(request.heads, 1);
    if (request.app_status == 0)
        assert_string_equal(request.body.data, "x1y");
    task_free_idle(rig.script);
}

static void comes_through_without_memory(void **state)
{
    (void)state;
    for (int i = 0; i < WAYS; i++) {
        open_handler(ways[i]);
        alloc_each_fails(answer_or_fail, NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRIPT_TEST(the_head_is_built_from_calls_in_a_chain),
        SCRIPT_TEST(setting_replaces_and_adding_does_not),
        SCRIPT_TEST(the_status_may_be_set_as_a_header),
        SCRIPT_TEST(a_location_alone_redirects),
        SCRIPT_TEST(bad_heads_raise_and_change_nothing),
        SCRIPT_TEST(errors_name_the_line_of_the_script),
        SCRIPT_TEST(a_head_has_a_limit),
        SCRIPT_TEST(after_the_head_has_gone_it_cannot_change),
        SCRIPT_TEST(a_head_that_was_begun_by_write_cannot_be_set),
        SCRIPT_TEST(write_takes_strings_numbers_and_lists),
        SCRIPT_TEST(everything_is_checked_before_the_first_byte),
        SCRIPT_TEST(a_raw_head_may_come_in_any_pieces),
        SCRIPT_TEST(over_the_mark_write_waits),
        SCRIPT_TEST(many_arguments_wait_as_one),
        SCRIPT_TEST(long_and_short_arguments_keep_their_order),
        SCRIPT_TEST(very_many_arguments_are_written),
        SCRIPT_TEST(without_a_body_nothing_waits),
        SCRIPT_TEST(a_write_in_a_wait_may_be_cancelled),
        SCRIPT_TEST(errors_go_to_the_web_server_and_to_our_log),
        SCRIPT_TEST(errors_may_go_to_our_log_alone),
        SCRIPT_TEST(write_err_waits_and_hears_of_the_end),
        SCRIPT_TEST(flush_sends_the_head_and_waits_for_the_kernel),
        SCRIPT_TEST(flush_before_anything_is_no_answer),
        SCRIPT_TEST(flush_of_an_aborted_request_says_so),
        SCRIPT_TEST(finish_is_idempotent),
        SCRIPT_TEST(finish_without_a_head_is_a_500),
        SCRIPT_TEST(send_answers_and_finishes),
        SCRIPT_TEST(send_checks_before_it_changes),
        SCRIPT_TEST(an_aborted_request_takes_any_head),
        SCRIPT_TEST(over_the_limit_answering_fails_cleanly),
        SCRIPT_TEST(comes_through_without_memory),
    };

    return cmocka_run_group_tests_name("script/lua_answer", tests, NULL, NULL);
}
