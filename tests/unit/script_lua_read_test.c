/* script_lua_read_test.c -- reading a body, however it comes.
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

/* Loads a handler whose results, from show(...), are its answer. */
static void open_handler(const char *statements)
{
    char source[4096];

    snprintf(source, sizeof(source),
             "local fcgi = require 'fcgi'\n"
             "local function show(...)\n"
             "  local t = table.pack(...)\n"
             "  for i = 1, t.n do t[i] = tostring(t[i]) end\n"
             "  return table.concat(t, '|')\n"
             "end\n"
             "local function serve(req) %s end\n"
             "return { on_request = function(req)\n"
             "  return 200, nil, serve(req) or 'nothing'\n"
             "end, on_filter = function(req)\n"
             "  return 200, nil, serve(req)\n"
             "end }",
             statements);
    rig_unload();
    rig_open(source);
}

/* Starts a request with a body of that length; -1: not told. */
static void start(const char *statements, long length)
{
    char text[32];

    open_handler(statements);
    assert_true(rig_begin(&request, REQUEST_RESPONDER));
    if (length >= 0) {
        snprintf(text, sizeof(text), "%ld", length);
        rig_param(&request, "CONTENT_LENGTH", text);
    }
    rig_ready(&request);
    rig_turns(1);
}

/* A piece comes, and the handler has the time to take it. */
static void piece(const char *text)
{
    rig_input(&request, text);
    rig_turns(2);
}

static void finish(void)
{
    rig_input_end(&request);
    rig_run();
    assert_int_equal(request.ends, 1);
}

static void assert_result(const char *expected)
{
    if (strcmp(request.body.data, expected) != 0)
        fail_msg("%s, not %s\n%s", request.body.data, expected, rig_log());
}

/* --- read ----------------------------------------------------------------- */

static void read_n_gives_what_there_is(void **state)
{
    (void)state;
    start("return show(req:read(4), req:read(4), req:read(4), req:read(4),\n"
          "  req:read(4))",
          -1);
    piece("ab");
    piece("cdefgh");
    finish();
    assert_result("ab|cdef|gh|nil|nil");
}

static void read_without_n_gives_the_rest(void **state)
{
    (void)state;
    start("return show(req:read(2), req:read(), req:read(), req:read(1))", -1);
    piece("abc");
    piece("def");
    assert_true(request.req->body.want_all);
    finish();
    assert_result("ab|cdef|nil|nil");
}

static void an_empty_body_ends_at_once(void **state)
{
    (void)state;
    start("return show(req:read(), req:read(1), req:read_line())", -1);
    finish();
    assert_result("nil|nil|nil");
    start("return show(req:read(nil))", 0);
    finish();
    assert_result("nil");
}

static void a_length_ends_the_body(void **state)
{
    (void)state;
    start("return show(req:read(), req:read())", 4);
    rig_input(&request, "ab");
    rig_turns(2);
    rig_input(&request, "cdef"); /* more than was said */
    rig_run();
    assert_result("abcd|nil");
}

static void a_body_that_ends_too_early_was_aborted(void **state)
{
    (void)state;
    start("return show(req:read(3), req:read(3)) .. ' ' .. show(req:read(3))",
          10);
    piece("abc");
    piece("def");
    finish();
    assert_result("abc|def nil|aborted");
    start("return show(req:read()) .. ' ' .. show(req:read())", 10);
    piece("abc");
    finish();
    assert_result("abc nil|aborted");
}

static void a_bad_amount_raises(void **state)
{
    (void)state;
    start("return show(pcall(req.read, req, 0)) ..\n"
          "  show(pcall(req.read, req, -1)) ..\n"
          "  show(pcall(req.read, req, 1.5)) ..\n"
          "  show(pcall(req.read, req, {})) .. show(req:read('2'))",
          -1);
    piece("ab");
    finish();
    assert_contains(request.body.data, "must be positive");
    assert_contains(request.body.data, "no integer representation");
    assert_contains(request.body.data, "number expected, got table");
}

static void any_amount_may_be_asked_for(void **state)
{
    (void)state;
    start("return show(req:read(math.maxinteger))", -1);
    piece("abc");
    finish();
    assert_result("abc");
}

static void reading_lets_the_protocol_go_on(void **state)
{
    unsigned before;

    (void)state;
    start("while req:read(2) do fcgi.sleep(0) end return 'x'", -1);
    before = request.consumed;
    piece("abcdef");
    finish();
    assert_true(request.consumed >= before + 3);
}

static void bytes_stay_bytes(void **state)
{
    static char all[256];
    struct block *block;

    (void)state;
    for (int i = 0; i < 256; i++)
        all[i] = (char)i;
    start("local s = req:read()\n"
          "for i = 1, 256 do assert(s:byte(i) == i - 1) end\n"
          "return show(#s)",
          -1);
    block = block_new(&rig.service.blocks);
    memcpy(block->data, all, sizeof(all));
    request_input(request.req, &request.req->body, block,
                  (struct slice){ block->data, sizeof(all) }, false);
    block_unref(block);
    finish();
    assert_result("256");
}

static void a_spooled_body_is_read_like_another(void **state)
{
    struct block *block;

    (void)state;
    start("pcall(fcgi.sleep, 100)\n"
          "local n, sum = 0, 0\n"
          "for s in function() return req:read(1000) end do\n"
          "  n = n + #s sum = sum + s:byte(1) + s:byte(-1)\n"
          "end\n"
          "return show(n, sum > 0)",
          -1);
    block = block_new(&rig.service.blocks);
    memset(block->data, 'x', BLOCK_SIZE);
    for (int i = 0; i < 10; i++)
        request_input(request.req, &request.req->body, block,
                      (struct slice){ block->data, 50000 }, true);
    block_unref(block);
    assert_int_equal(rig.service.spooled, 500000);
    task_cancel(rig_task(), "woken");
    finish();
    assert_result("500000|true");
    assert_int_equal(rig.service.spooled, 0);
}

static void a_body_over_the_limit_is_refused(void **state)
{
    (void)state;
    rig.service.limits.max_body = 4;
    start("local s, why = req:read() print(show(s, why))", -1);
    piece("abc");
    piece("def");
    rig_run();
    assert_failed_with(&request, "Status: 413 ");
    rig_assert_logged("too large");
}

/* --- read_line and lines -------------------------------------------------- */

static void lines_come_with_their_newlines(void **state)
{
    (void)state;
    start("return show(req:read_line(), req:read_line(), req:read_line(),\n"
          "  req:read_line(), req:read_line())",
          -1);
    piece("one\n\ntw");
    piece("o\nlast");
    finish();
    assert_result("one\n|\n|two\n|last|nil");
}

static void a_line_in_many_pieces_is_put_together(void **state)
{
    (void)state;
    start("return show(req:read_line(), req:read_line())", -1);
    for (int i = 0; i < 20; i++)
        piece("abc");
    piece("\nrest");
    finish();
    assert_result("abcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabc"
                  "abc\n|rest");
}

static void a_line_has_a_limit(void **state)
{
    (void)state;
    start("return show(req:read_line(4), req:read_line(4), req:read_line(4),\n"
          "  req:read_line(4))",
          -1);
    piece("ab");
    piece("cdefgh\nxyz\n");
    finish();
    assert_result("abcd|efgh|\n|xyz\n");
}

static void lines_iterate_without_newlines(void **state)
{
    (void)state;
    start("local t = {}\n"
          "for line in req:lines() do t[#t + 1] = line end\n"
          "return table.concat(t, ',')",
          -1);
    piece("a\r\n\nb");
    piece("c\nd");
    finish();
    assert_result("a\r,,bc,d");
}

static void lines_and_reads_may_be_mixed(void **state)
{
    (void)state;
    start("return show(req:read_line(), req:read(2), req:read_line(),\n"
          "  req:read())",
          -1);
    piece("one\ntwo\nthree\nfour");
    finish();
    assert_result("one\n|tw|o\n|three\nfour");
}

static void a_cancelled_line_is_not_lost(void **state)
{
    (void)state;
    start("local ok = pcall(req.read_line, req)\n"
          "return show(ok, req:read_line(), req:read())",
          -1);
    piece("beg");
    task_cancel(rig_task(), "stop");
    rig_turns(2);
    rig_input(&request, "un\nrest");
    finish();
    assert_result("false|begun\n|rest");
}

static void a_cancelled_line_comes_first_in_read(void **state)
{
    (void)state;
    start("local ok = pcall(req.read_line, req)\n"
          "return show(ok, req:read(2), req:read())",
          -1);
    piece("begun");
    task_cancel(rig_task(), "stop");
    rig_turns(2);
    rig_input(&request, " rest");
    finish();
    /* of read(n) never more than n */
    assert_result("false|be|gun rest");
}

static void an_abort_in_a_line_gives_what_there_was(void **state)
{
    (void)state;
    start("print(show(req:read_line())) print(show(req:read_line()))", -1);
    piece("half");
    rig_detach(&request);
    rig_run();
    rig_assert_logged("half");
    rig_assert_logged("nil|aborted");
}

/* --- body ----------------------------------------------------------------- */

static void body_gives_all_of_it_twice(void **state)
{
    (void)state;
    start("local a = req:body() return show(a, a == req:body())", -1);
    piece("ab");
    piece("cd");
    finish();
    assert_result("abcd|true");
}

static void an_empty_body_is_an_empty_string(void **state)
{
    (void)state;
    start("return show(req:body(), req:body())", -1);
    finish();
    assert_result("|");
}

static void a_body_over_what_is_asked_for_is_too_large(void **state)
{
    (void)state;
    start("return show(req:body(4)) .. ' ' .. show(req:body(4))", -1);
    piece("abc");
    piece("de");
    finish();
    assert_result("nil|too large nil|too large");
    start("return show(req:body(4))", 100); /* it will be: does not wait */
    rig_run();
    assert_result("nil|too large");
    start("return show(req:body(4))", 4);
    piece("abcd");
    rig_run();
    assert_result("abcd");
    start("return show(req:body(0))", -1);
    finish();
    assert_result("");
}

static void after_too_large_the_rest_is_dropped(void **state)
{
    (void)state;
    start("req:body(4) pcall(fcgi.sleep, 100) return 'x'", -1);
    piece("abcdefgh");
    assert_true(request.req->body.dropped);
    assert_int_equal(request.req->body.in_memory, 0);
    task_cancel(rig_task(), "stop");
    rig_run();
    assert_result("x");
}

static void a_body_is_taken_in_one_way(void **state)
{
    (void)state;
    start("local s = req:body()\n"
          "return show(select(2, pcall(req.read, req))) ..\n"
          "  show(select(2, pcall(req.read_line, req))) ..\n"
          "  show(select(2, pcall(function() req:lines()() end)))",
          -1);
    finish();
    assert_contains(request.body.data, "already being taken by req:body");
    start("req:read(1) return show(select(2, pcall(req.body, req)))", -1);
    finish();
    assert_contains(request.body.data,
                    "already being taken by req:read, read_line or lines");
}

/* --- looking at what comes next ------------------------------------------- */

static void peeking_takes_nothing(void **state)
{
    (void)state;
    start("return show(req.input:read(0), req.input:read('n'), req:read(9),\n"
          "  req.input:read(0), (req.input:read(0)), (req:read()))",
          -1);
    piece("1");
    piece("2 ");
    finish();
    assert_result("|12| |nil|nil|nil");
}

static void peeking_waits_for_a_byte_or_the_end(void **state)
{
    (void)state;
    start("local some = req.input:read(0) print('some ' .. some)\n"
          "return show(some, req:read(), (req.input:read(0)))",
          -1);
    assert_lacks(rig_log(), "some");
    piece("x");
    rig_assert_logged("some ");
    finish();
    assert_result("|x|nil");
}

static void peeking_sees_a_cancelled_line(void **state)
{
    (void)state;
    start("local ok = pcall(req.read_line, req)\n"
          "return show(ok, req.input:read(0, 'n', 1, 'a'))",
          -1);
    piece("1");
    task_cancel(rig_task(), "stop");
    rig_turns(2);
    rig_input(&request, "2 rest");
    finish();
    assert_result("false||12| |rest");
}

static void peeking_takes_the_body_in_its_way(void **state)
{
    (void)state;
    start("local ok, err = pcall(function() req.input:read(0) req:body() end)\n"
          "return show(ok, err)",
          -1);
    finish();
    assert_contains(request.body.data,
                    "already being taken by req:read, read_line or lines");
    start("req:body() return show(pcall(req.input.read, req.input, 0))", -1);
    finish();
    assert_contains(request.body.data, "already being taken by req:body");
}

static void an_aborted_body_shows_nothing(void **state)
{
    (void)state;
    start("print('got', req.input:read(0))", -1);
    rig_abort(&request);
    rig_run();
    rig_assert_logged("got\tnil\taborted\t103");
}

static void of_a_request_that_is_over_nothing_is_seen(void **state)
{
    static struct rig_request second;

    (void)state;
    open_handler("local last = kept kept = req.input\n"
                 "return last and show(last:read(0)) or 'first'");
    rig_serve(&request);
    assert_result("first");
    rig_serve(&second);
    assert_string_equal(second.body.data, "nil|finished|32");
}

static void an_aborted_body_says_so(void **state)
{
    (void)state;
    start("print(show(req:body()))", -1);
    piece("part");
    rig_detach(&request);
    rig_run();
    rig_assert_logged("nil|aborted");
}

/* --- data ----------------------------------------------------------------- */

static void a_filter_reads_two_streams(void **state)
{
    struct block *block;

    (void)state;
    open_handler("return show(req:read(), req:data(2), req:data(),\n"
                 "  req:data())");
    assert_true(rig_begin(&request, REQUEST_FILTER));
    rig_ready(&request);
    rig_turns(1);
    rig_input(&request, "stdin");
    rig_input_end(&request);
    rig_turns(2);
    block = block_new(&rig.service.blocks);
    memcpy(block->data, "data", 4);
    request_input(request.req, &request.req->data, block,
                  (struct slice){ block->data, 4 }, false);
    block_unref(block);
    rig_turns(2);
    request_input_end(request.req, &request.req->data);
    rig_run();
    assert_result("stdin|da|ta|nil");
}

static void data_is_for_filters(void **state)
{
    (void)state;
    start("return show(select(2, pcall(req.data, req)))", -1);
    finish();
    assert_contains(request.body.data, "req:data is for the role of a filter");
}

/* --- on_abort ------------------------------------------------------------- */

static void on_abort_wants_a_function(void **state)
{
    (void)state;
    start("return show(pcall(req.on_abort, req)) ..\n"
          "  show(pcall(req.on_abort, req, 1)) ..\n"
          "  show(req:on_abort(print) == req, req:is_aborted())",
          -1);
    finish();
    assert_contains(request.body.data, "function expected, got no value");
    assert_contains(request.body.data, "function expected, got number");
    assert_contains(request.body.data, "true|false");
}

/* --- memory --------------------------------------------------------------- */

static const char *const ways[] = {
    "return show(req:read())",
    "return show(req:body())",
    "return show(req:read_line(), req:read_line())",
    "local t = '' for s in req:lines() do t = t .. s end return t",
    "return show(req:read(3), req:read(1000), req:read())",
    "return show(req.input:read('n', 'l', 0, 3, 'a'))",
};

enum { WAYS = sizeof(ways) / sizeof(*ways) };

static void give_two_pieces(void)
{
    assert_true(rig_begin(&request, REQUEST_RESPONDER));
    rig_ready(&request);
    rig_turns(1);
    if (request.req != NULL)
        rig_input(&request, "first");
    rig_turns(2);
    if (request.req != NULL)
        rig_input(&request, " line\nsecond");
    rig_turns(2);
    rig_input_end(&request);
    rig_run();
    assert_int_equal(request.ends, 1);
}

static void over_the_limit_reading_fails_cleanly(void **state)
{
    (void)state;
    for (int i = 0; i < WAYS; i++) {
        bool served = false;

        open_handler(ways[i]);
        for (size_t more = 0; !served; more += 16) {
            rig_limit_memory(more);
            give_two_pieces();
            served = request.app_status == 0;
            if (!served)
                assert_failed_with(&request, "Status: 500 ");
            rig_forget_log();
            rig.script->memory.limit = 0;
        }
    }
}

static void read_or_fail(void *arg)
{
    struct block *block = arg;

    if (!rig_begin(&request, REQUEST_RESPONDER))
        return;
    rig_ready(&request);
    rig_turns(1);
    for (int i = 0; i < 3; i++) { /* in memory, then in the file */
        if (request.req != NULL)
            request_input(request.req, &request.req->body, block,
                          (struct slice){ block->data, i < 1 ? 20 : 20000 },
                          i > 0);
        rig_turns(2);
    }
    rig_input_end(&request);
    rig_run();
    assert_int_equal(request.ends, 1);
    task_free_idle(rig.script);
}

static void comes_through_without_memory(void **state)
{
    struct block *block = block_new(&rig.service.blocks);

    (void)state;
    memset(block->data, 'x', BLOCK_SIZE);
    for (int i = 0; i < WAYS; i++) {
        open_handler(ways[i]);
        alloc_each_fails(read_or_fail, block);
    }
    block_unref(block);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRIPT_TEST(read_n_gives_what_there_is),
        SCRIPT_TEST(read_without_n_gives_the_rest),
        SCRIPT_TEST(an_empty_body_ends_at_once),
        SCRIPT_TEST(a_length_ends_the_body),
        SCRIPT_TEST(a_body_that_ends_too_early_was_aborted),
        SCRIPT_TEST(a_bad_amount_raises),
        SCRIPT_TEST(any_amount_may_be_asked_for),
        SCRIPT_TEST(reading_lets_the_protocol_go_on),
        SCRIPT_TEST(bytes_stay_bytes),
        SCRIPT_TEST(a_spooled_body_is_read_like_another),
        SCRIPT_TEST(a_body_over_the_limit_is_refused),
        SCRIPT_TEST(lines_come_with_their_newlines),
        SCRIPT_TEST(a_line_in_many_pieces_is_put_together),
        SCRIPT_TEST(a_line_has_a_limit),
        SCRIPT_TEST(lines_iterate_without_newlines),
        SCRIPT_TEST(lines_and_reads_may_be_mixed),
        SCRIPT_TEST(a_cancelled_line_is_not_lost),
        SCRIPT_TEST(a_cancelled_line_comes_first_in_read),
        SCRIPT_TEST(an_abort_in_a_line_gives_what_there_was),
        SCRIPT_TEST(body_gives_all_of_it_twice),
        SCRIPT_TEST(an_empty_body_is_an_empty_string),
        SCRIPT_TEST(a_body_over_what_is_asked_for_is_too_large),
        SCRIPT_TEST(after_too_large_the_rest_is_dropped),
        SCRIPT_TEST(a_body_is_taken_in_one_way),
        SCRIPT_TEST(peeking_takes_nothing),
        SCRIPT_TEST(peeking_waits_for_a_byte_or_the_end),
        SCRIPT_TEST(peeking_sees_a_cancelled_line),
        SCRIPT_TEST(peeking_takes_the_body_in_its_way),
        SCRIPT_TEST(an_aborted_body_shows_nothing),
        SCRIPT_TEST(of_a_request_that_is_over_nothing_is_seen),
        SCRIPT_TEST(an_aborted_body_says_so),
        SCRIPT_TEST(a_filter_reads_two_streams),
        SCRIPT_TEST(data_is_for_filters),
        SCRIPT_TEST(on_abort_wants_a_function),
        SCRIPT_TEST(over_the_limit_reading_fails_cleanly),
        SCRIPT_TEST(comes_through_without_memory),
    };

    return cmocka_run_group_tests_name("script/lua_read", tests, NULL, NULL);
}
