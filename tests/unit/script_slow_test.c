/* script_slow_test.c -- the slow log.
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

static void open_slow(double slow, const char *source)
{
    rig.limits.slow = slow;
    rig_open(source);
}

static unsigned count(const char *part)
{
    unsigned n = 0;

    for (const char *at = rig_log(); (at = strstr(at, part)) != NULL; at++)
        n++;
    return n;
}

#define SLEEPER                                                                \
    "local fcgi = require 'fcgi'\n"                                            \
    "function on_request(req)\n"                                               \
    "  if req:param('FAST') then return 200, nil, 'x' end\n"                   \
    "  fcgi.sleep(0.1)\n"                                                      \
    "  return 200, nil, 'x'\n"                                                 \
    "end"

static void a_slow_handler_is_told_of_twice(void **state)
{
    const char *at;

    (void)state;
    open_slow(0.03, SLEEPER);
    rig_serve(&request);
    assert_string_equal(request.body.data, "x");
    assert_int_equal(count(" s so far"), 1);
    assert_int_equal(count("slow: took "), 1);
    at = strstr(rig_log(), " s so far");
    assert_true(at < strstr(at, "slow: took "));
    assert_contains(at, "\n    stack traceback:\n    \t[C]: in ");
    assert_contains(at, "app.lua:4: in function <");
    assert_false(loop_timer_is_running(&rig.script->slow_timer));
}

static void a_fast_one_is_not(void **state)
{
    (void)state;
    open_slow(30, SLEEPER);
    rig_serve(&request);
    assert_int_equal(count("slow"), 0);
}

static void without_a_limit_there_is_no_timer(void **state)
{
    (void)state;
    open_slow(0, SLEEPER);
    rig_serve(&request);
    assert_int_equal(count("slow"), 0);
    assert_null(rig.script->slow_timer.loop);
}

/* The timer that was set for the first is set anew for the second. */
static void the_next_one_is_told_of_in_time(void **state)
{
    static struct rig_request second;

    (void)state;
    open_slow(0.03, SLEEPER);
    assert_true(rig_begin(&request, REQUEST_RESPONDER));
    rig_param(&request, "FAST", "1");
    rig_ready(&request);
    assert_true(rig_begin(&second, REQUEST_RESPONDER));
    rig_param(&second, "REQUEST_URI", "/second");
    rig_ready(&second);
    rig_run();
    assert_int_equal(count(" s so far (GET /second,"), 1);
    assert_int_equal(count(" s (GET /second,"), 1);
}

static void one_that_was_aborted_and_goes_on_is_told_of(void **state)
{
    (void)state;
    open_slow(0.03, SLEEPER);
    rig_start(&request);
    rig_turns(1);
    rig_detach(&request);
    rig_run();
    assert_int_equal(count(" s so far"), 1);
    assert_int_equal(count("slow: took "), 1);
}

static void the_script_may_end_before(void **state)
{
    (void)state;
    open_slow(30, SLEEPER);
    rig_start(&request);
    rig_turns(1);
    assert_true(loop_timer_is_running(&rig.script->slow_timer));
    rig_unload();
    assert_int_equal(count("slow"), 0);
    rig_detach(&request);
}

static void what_blocks_the_loop_is_told_of(void **state)
{
    (void)state;
    rig.limits.blocked = 0.02;
    rig_open("local fcgi = require 'fcgi'\n"
             "function on_request(req)\n"
             "  local t = fcgi.now() + 0.1\n"
             "  while fcgi.now() < t do end\n"
             "  return 200, nil, 'x'\n"
             "end");
    rig_serve(&request);
    assert_int_equal(count("blocked the loop for "), 1);
    assert_contains(rig_log(), "\n    stack traceback:\n");
    assert_contains(rig_log(), "app.lua:4: in function <");
    assert_true(rig.script->watchdog.blocked >= 0.1);
}

static void closing_may_block_it_too(void **state)
{
    (void)state;
    rig.limits.blocked = 0.02;
    rig_open("local fcgi = require 'fcgi'\n"
             "function on_request(req)\n"
             "  local x <close> = setmetatable({}, { __close = function()\n"
             "    local t = fcgi.now() + 0.1\n"
             "    while fcgi.now() < t do end\n"
             "  end })\n"
             "  fcgi.sleep(3600)\n"
             "end");
    rig_start(&request);
    rig_turns(2);
    rig_unload();
    assert_int_equal(count("blocked the loop for "), 1);
    rig_detach(&request);
}

static void serve_slowly(void *arg)
{
    (void)arg;
    if (!rig_begin(&request, REQUEST_RESPONDER))
        return;
    rig_ready(&request);
    rig_run();
}

static void without_memory_blocks_are_not_told_of(void **state)
{
    (void)state;
    rig_write_file(rig.path, SLEEPER);
    assert_int_equal(script_load(&rig.config, &rig.script, rig.error),
                     SCRIPT_OK);
    rig.limits.blocked = 0.02;
    alloc_fail_at(1);
    assert_int_equal(
        script_attach(rig.script, rig.loop, &rig.service, &rig.limits), 0);
    script_serve(rig.script);
    alloc_fail_at(0);
    assert_false(rig.script->watchdog.has_timer);
    rig_serve(&request);
    assert_string_equal(request.body.data, "x");
}

static void it_needs_no_memory(void **state)
{
    (void)state;
    open_slow(0.001, SLEEPER);
    rig_serve(&request); /* makes what is kept */
    rig_forget_log();
    alloc_fail_at(0);
    rig_serve(&request);
    assert_int_equal(count(" s so far"), 1);
    alloc_each_fails(serve_slowly, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRIPT_TEST(a_slow_handler_is_told_of_twice),
        SCRIPT_TEST(a_fast_one_is_not),
        SCRIPT_TEST(without_a_limit_there_is_no_timer),
        SCRIPT_TEST(the_next_one_is_told_of_in_time),
        SCRIPT_TEST(one_that_was_aborted_and_goes_on_is_told_of),
        SCRIPT_TEST(the_script_may_end_before),
        SCRIPT_TEST(what_blocks_the_loop_is_told_of),
        SCRIPT_TEST(closing_may_block_it_too),
        SCRIPT_TEST(it_needs_no_memory),
        SCRIPT_TEST(without_memory_blocks_are_not_told_of),
    };

    return cmocka_run_group_tests_name("script/slow", tests, NULL, NULL);
}
