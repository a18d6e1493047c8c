/* script_running_test.c -- the requests that a script has under way.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "script_rig.h"

static struct rig_request a, b;
static unsigned seen;
static enum script_request_state states[4];
static char where[4][128];

static void note(void *arg, const struct script_running *running)
{
    assert_ptr_equal(arg, &seen);
    assert_non_null(running->req);
    assert_true(seen < 4);
    states[seen] = running->state;
    snprintf(where[seen], sizeof(where[0]), "%.*s", (int)running->where.len,
             running->where.data);
    seen++;
}

static unsigned look(void)
{
    seen = 0;
    script_each_running(rig.script, note, &seen);
    return seen;
}

static void requests_are_told_of_from_their_beginning_to_their_end(void **state)
{
    (void)state;
    rig_open("function on_request(req)\n"
             "  req:read()\n"
             "  req:send(200, nil, 'ok')\n"
             "  require 'fcgi'.sleep(1000)\n"
             "end");
    assert_int_equal(look(), 0);
    assert_true(rig_begin(&a, REQUEST_RESPONDER));
    rig_ready(&a);
    assert_int_equal(look(), 1);
    assert_int_equal(states[0], SCRIPT_REQUEST_STARTING);
    assert_string_equal(where[0], "(has not begun)");
    rig_turns(2);
    assert_int_equal(look(), 1);
    assert_int_equal(states[0], SCRIPT_REQUEST_WAITING);
    assert_non_null(strstr(where[0], ".lua:2:"));
    rig_input_end(&a);
    assert_int_equal(look(), 1);
    assert_int_equal(states[0], SCRIPT_REQUEST_READY);
    rig_turns(2);
    assert_int_equal(look(), 1);
    assert_int_equal(states[0], SCRIPT_REQUEST_FINISHING);
    assert_non_null(strstr(where[0], ".lua:4:"));
    script_cancel_all(rig.script, "stop");
    rig_turns(3);
    assert_int_equal(look(), 0);
}

static void the_place_is_in_the_innermost_coroutine(void **state)
{
    (void)state;
    rig_open("local function inner(req)\n"
             "  req:read()\n"
             "end\n"
             "function on_request(req)\n"
             "  coroutine.wrap(inner)(req)\n"
             "  req:send(200, nil, 'ok')\n"
             "end");
    assert_true(rig_begin(&a, REQUEST_RESPONDER));
    rig_ready(&a);
    rig_turns(2);
    assert_int_equal(look(), 1);
    assert_non_null(strstr(where[0], ".lua:2:"));
    rig_abort(&a);
    assert_int_equal(look(), 1);
    assert_int_equal(states[0], SCRIPT_REQUEST_ABORTED);
    rig_turns(3);
    assert_int_equal(look(), 0);
}

static void tasks_of_a_request_are_not_requests(void **state)
{
    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "fcgi.spawn(function() fcgi.sleep(1000) end)\n"
             "function on_request(req)\n"
             "  fcgi.spawn(function() fcgi.sleep(1000) end)\n"
             "  req:read()\n"
             "end");
    assert_true(rig_begin(&a, REQUEST_RESPONDER));
    assert_true(rig_begin(&b, REQUEST_RESPONDER));
    rig_ready(&a);
    rig_ready(&b);
    rig_turns(3);
    assert_int_equal(look(), 2);
    assert_true(script_memory(rig.script) > 1000);
    rig_detach(&a);
    rig_detach(&b);
    script_cancel_all(rig.script, "stop");
    rig_turns(3);
    assert_int_equal(look(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRIPT_TEST(requests_are_told_of_from_their_beginning_to_their_end),
        SCRIPT_TEST(the_place_is_in_the_innermost_coroutine),
        SCRIPT_TEST(tasks_of_a_request_are_not_requests),
    };

    return cmocka_run_group_tests_name("script/running", tests, NULL, NULL);
}
