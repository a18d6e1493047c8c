/* script_lua_resolve_test.c -- fcgi.resolve.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "alloc.h"
#include "fake_dns.h"
#include "script_rig.h"

static struct rig_request request, other;

static int set_up(void **state)
{
    fake_dns_reset();
    return rig_set_up(state);
}

static int tear_down(void **state)
{
    int result = rig_tear_down(state);

    assert_int_equal(fake_dns.made, fake_dns.deleted);
    return result;
}

/* A handler that answers with what an expression gives, as text. */
static void open_handler(const char *expression)
{
    static char text[2048];

    snprintf(text, sizeof(text),
             "local fcgi = require 'fcgi'\n"
             "local function show(list, err)\n"
             "  return list and table.concat(list, ' ') or 'nil ' .. err\n"
             "end\n"
             "function on_request(req)\n"
             "  return 200, nil, show(%s)\n"
             "end",
             expression);
    rig_unload();
    rig_open(text);
}

static void start(struct rig_request *one)
{
    rig_start(one);
    rig_turns(1);
}

/* --- without waiting ------------------------------------------------------ */

static void addresses_are_their_own_answer(void **state)
{
    (void)state;
    rig_run_lua(
        "local function one(...)\n"
        "  local list, err = fcgi.resolve(...)\n"
        "  if not list then return err end\n"
        "  equal(#list, 1)\n"
        "  return list[1]\n"
        "end\n"
        "equal(one('192.0.2.1'), '192.0.2.1')\n"
        "equal(one('192.0.2.1', 'inet'), '192.0.2.1')\n"
        "equal(one('192.0.2.1', 6), 'not found')\n"
        "equal(one('2001:DB8::0001', 6), '2001:db8::1')\n"
        "equal(one('::1', 'inet6'), '::1')\n"
        "equal(one('::1', 4), 'not found')\n"
        "equal(one('::1', 'unspec'), '::1')\n"
        "equal(one('fe80::1%lo', nil, 5), 'fe80::1%lo')\n"
        "table.sort({ 1, 2 }, function() fcgi.resolve('192.0.2.1') end)\n");
    assert_null(rig.script->resolver);
}

static void localhost_is_known(void **state)
{
    (void)state;
    rig_run_lua("local list = fcgi.resolve('localhost')\n"
                "equal(show(list[1], list[2], #list), '127.0.0.1, ::1, 2')\n"
                "equal(#fcgi.resolve('localhost', 'inet6'), 1)\n"
                "equal(fcgi.resolve('localhost', 4)[1], '127.0.0.1')\n");
    assert_int_equal(fake_dns.asked, 0);
}

static void what_cannot_be_a_name_is_not_found(void **state)
{
    (void)state;
    rig_run_lua("for _, name in ipairs { '', 'a b', 'a\\0b', '192.0.2.1\\0',\n"
                "    ('x'):rep(64), ('x.'):rep(127) .. 'xx', 'ü.test' } do\n"
                "  equal(show(fcgi.resolve(name)), 'nil, not found')\n"
                "end\n");
    assert_int_equal(fake_dns.asked, 0);
}

static void misuse_raises(void **state)
{
    (void)state;
    rig_run_lua(
        "raises('string expected, got nil', fcgi.resolve)\n"
        "raises('string expected, got table', fcgi.resolve, {})\n"
        "raises('invalid option \\'ipv4\\'', fcgi.resolve, 'a', 'ipv4')\n"
        "raises('invalid option \\'5\\'', fcgi.resolve, 'a', 5)\n"
        "raises('not a number of seconds', fcgi.resolve, 'a', nil, -1)\n"
        "raises('not a number of seconds', fcgi.resolve, 'a', nil, 0/0)\n"
        "raises('number expected', fcgi.resolve, 'a', nil, {})\n");
}

static void nothing_is_looked_up_at_the_top_level(void **state)
{
    (void)state;
    assert_int_equal(rig_load("require('fcgi').resolve('www.test')"),
                     SCRIPT_FAILED);
    assert_contains(rig.error, "app.lua:1: cannot wait here");
    assert_int_equal(
        rig_load("assert(require('fcgi').resolve('::1')[1] == '::1')\n"
                 "function on_request() end"),
        SCRIPT_OK);
}

/* --- waiting -------------------------------------------------------------- */

static void the_answer_is_a_list(void **state)
{
    static const char *const both[] = { "192.0.2.1", "2001:db8::1", NULL };

    (void)state;
    open_handler("fcgi.resolve('www.test')");
    start(&request);
    assert_int_equal(rig_task()->state, TASK_WAITING);
    assert_string_equal(fake_dns.open[0].name, "www.test");
    assert_int_equal(fake_dns.open[0].family, RESOLVE_BOTH);
    start(&other);
    assert_int_equal(fake_dns.count, 1);
    fake_answer(0, RESOLVE_OK, both, 60);
    rig_run();
    assert_string_equal(request.body.data, "192.0.2.1 2001:db8::1");
    assert_string_equal(other.body.data, "192.0.2.1 2001:db8::1");
    rig_serve(&request); /* remembered */
    assert_string_equal(request.body.data, "192.0.2.1 2001:db8::1");
    assert_int_equal(fake_dns.asked, 1);
}

static void each_gets_a_list_of_its_own(void **state)
{
    (void)state;
    fake_dns.at_once = "192.0.2.1";
    rig_run_lua("local list = fcgi.resolve('www.test')\n"
                "list[1] = 'changed'\n"
                "equal(fcgi.resolve('www.test')[1], '192.0.2.1')\n");
}

static void the_family_is_asked_for(void **state)
{
    (void)state;
    open_handler("fcgi.resolve('www.test', 6)");
    start(&request);
    assert_int_equal(fake_dns.open[0].family, RESOLVE_INET6);
    open_handler("fcgi.resolve('www.test', 'inet')");
    start(&request);
    assert_int_equal(fake_dns.open[0].family, RESOLVE_INET);
}

static void each_failure_has_its_words(void **state)
{
    static const struct {
        enum resolve_status status;
        const char *text;
    } all[] = {
        { RESOLVE_NOT_FOUND, "nil not found" },
        { RESOLVE_TIMEOUT, "nil timeout" },
        { RESOLVE_FAILED, "nil server failure" },
        { RESOLVE_ABSENT, "nil built without c-ares" },
    };

    (void)state;
    open_handler("fcgi.resolve('www.test')");
    for (int i = 0; i < 4; i++) {
        start(&request);
        fake_answer(0, all[i].status, NULL, 0);
        rig_run();
        assert_string_equal(request.body.data, all[i].text);
    }
    start(&request);
    fake_answer(0, RESOLVE_NO_MEMORY, NULL, 0);
    rig_run();
    assert_failed_with(&request, "Status: 500 ");
    rig_assert_logged("not enough memory");
}

static void it_gives_up_in_time_and_the_query_goes_on(void **state)
{
    (void)state;
    open_handler("fcgi.resolve('www.test', nil, 0.01)");
    rig_serve(&request);
    assert_string_equal(request.body.data, "nil timeout");
    assert_int_equal(fake_dns.count, 1);
    rig_serve(&request);
    assert_int_equal(fake_dns.asked, 1);
    fake_address(0, "192.0.2.1", 60);
    rig_serve(&request);
    assert_string_equal(request.body.data, "192.0.2.1");
    open_handler("fcgi.resolve('other.test', nil, 0)");
    rig_serve(&request);
    assert_string_equal(request.body.data, "nil timeout");
}

static void who_is_cancelled_hears_nothing_later(void **state)
{
    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "function on_request(req)\n"
             "  local t = fcgi.spawn(fcgi.resolve, 'www.test')\n"
             "  fcgi.sleep(0)\n"
             "  t:cancel('enough')\n"
             "  local _, err = t:join()\n"
             "  collectgarbage()\n"
             "  fcgi.sleep(0.01)\n"
             "  return 200, nil, err\n"
             "end");
    rig_start(&request);
    rig_turns(4);
    assert_int_equal(fake_dns.count, 1);
    fake_address(0, "192.0.2.1", 60);
    rig_run();
    assert_string_equal(request.body.data, "enough");
}

/* The answer comes first, but the task has not gone on yet. */
static void who_is_cancelled_with_the_answer_gets_it(void **state)
{
    (void)state;
    open_handler("fcgi.resolve('www.test')");
    start(&request);
    fake_address(0, "192.0.2.1", 60);
    task_cancel(rig_task(), "late");
    rig_run();
    assert_string_equal(request.body.data, "192.0.2.1");
}

static void the_end_of_the_script_ends_look_ups(void **state)
{
    (void)state;
    open_handler("fcgi.resolve('www.test')");
    start(&request);
    start(&other);
    rig_unload();
    assert_int_equal(request.ends, 1);
    assert_int_equal(other.ends, 1);
    assert_int_equal(fake_dns.count, 0);
}

static void what_waits_has_no_face(void **state)
{
    (void)state;
    open_handler("(function()\n"
                 "  local co = coroutine.create(fcgi.resolve)\n"
                 "  fcgi.spawn(coroutine.resume, co, 'www.test')\n"
                 "  fcgi.sleep(0)\n"
                 "  local found\n"
                 "  for i = 1, 10 do\n"
                 "    local _, value = debug.getlocal(co, 0, i)\n"
                 "    if type(value) == 'userdata' then\n"
                 "      found = debug.getmetatable(value) or found\n"
                 "    end\n"
                 "  end\n"
                 "  found.__gc(io.stdout) found.__gc(1) found.__gc()\n"
                 "  local fake = debug.setmetatable(io.tmpfile(), found)\n"
                 "  found.__gc(fake)\n"
                 "  return { 'well' }\n"
                 "end)()");
    rig_serve(&request);
    assert_string_equal(request.body.data, "well");
}

static void over_the_limit_it_fails_cleanly(void **state)
{
    (void)state;
    fake_dns.at_once = "192.0.2.1";
    open_handler("fcgi.resolve('www.test')");
    rig_serve_short_of_memory("192.0.2.1", 16);
}

static void without_memory_it_fails_cleanly(void **state)
{
    (void)state;
    fake_dns.at_once = "192.0.2.1";
    open_handler("assert(fcgi.resolve('www.test'))");
    alloc_each_fails(rig_serve_or_fail,
                     (void *)(size_t)(const void *)"192.0.2.1");
}

#define RESOLVE_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RESOLVE_TEST(addresses_are_their_own_answer),
        RESOLVE_TEST(localhost_is_known),
        RESOLVE_TEST(what_cannot_be_a_name_is_not_found),
        RESOLVE_TEST(misuse_raises),
        RESOLVE_TEST(nothing_is_looked_up_at_the_top_level),
        RESOLVE_TEST(the_answer_is_a_list),
        RESOLVE_TEST(each_gets_a_list_of_its_own),
        RESOLVE_TEST(the_family_is_asked_for),
        RESOLVE_TEST(each_failure_has_its_words),
        RESOLVE_TEST(it_gives_up_in_time_and_the_query_goes_on),
        RESOLVE_TEST(who_is_cancelled_hears_nothing_later),
        RESOLVE_TEST(who_is_cancelled_with_the_answer_gets_it),
        RESOLVE_TEST(the_end_of_the_script_ends_look_ups),
        RESOLVE_TEST(what_waits_has_no_face),
        RESOLVE_TEST(over_the_limit_it_fails_cleanly),
        RESOLVE_TEST(without_memory_it_fails_cleanly),
    };

    return cmocka_run_group_tests_name("script/lua_resolve", tests, NULL, NULL);
}
