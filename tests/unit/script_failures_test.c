/* script_failures_test.c -- errors of tasks that nobody has joined: each is
 * logged, once, whatever becomes of the task's object.
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

static void one_of_a_request_is_logged_at_its_end(void **state)
{
    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "function on_request(req)\n"
             "  kept = fcgi.spawn(error, 'unjoined')\n"
             "  fcgi.sleep(0)\n"
             "  fcgi.sleep(0)\n"
             "  print 'still working'\n"
             "end\n");
    rig_serve(&request);
    rig_assert_logged("unjoined (");
    assert_non_null(strstr(strstr(rig_log(), "still working"), "unjoined"));
    assert_int_equal(rig_logged("unjoined ("), 1);
}

static void one_that_was_logged_can_be_joined(void **state)
{
    static struct rig_request other;

    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "function on_request(req)\n"
             "  if kept then return 200, nil, select(2, kept:join()) end\n"
             "  kept = fcgi.spawn(error, 'late')\n"
             "  fcgi.sleep(0)\n"
             "  fcgi.sleep(0)\n"
             "end\n");
    rig_serve(&request);
    assert_int_equal(rig_logged("late ("), 1);
    rig_serve(&other);
    assert_string_equal(other.body.data, "late");
    assert_int_equal(rig_logged("late ("), 1);
}

static void
those_of_the_worker_are_logged_at_its_end_at_the_latest(void **state)
{
    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "kept = fcgi.spawn(error, 'of the worker')\n"
             "function on_request(req) end\n");
    rig_turns(2);
    assert_int_equal(rig_logged("of the worker"), 0);
    rig_unload();
    assert_int_equal(rig_logged("of the worker"), 1);
}

/* Lua gives up a finalizer for which there is no room on the C stack. */
static void one_outlives_its_object_without_finalizer(void **state)
{
    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "local objects = {}\n"
             "local function deep(n)\n"
             "  objects[n] = nil\n"
             "  collectgarbage()\n"
             "  pcall(deep, n + 1)\n"
             "end\n"
             "function on_request(req)\n"
             "  for i = 1, 250 do\n"
             "    objects[i] = fcgi.spawn(error, 'of number ' .. i)\n"
             "  end\n"
             "  fcgi.sleep(0)\n"
             "  deep(1)\n"
             "  objects = nil\n"
             "  collectgarbage()\n"
             "  collectgarbage()\n"
             "  return 200, nil, 'x'\n"
             "end\n");
    rig_serve(&request);
    assert_string_equal(request.body.data, "x");
    for (int i = 1; i <= 250; i++) {
        char text[32];

        snprintf(text, sizeof(text), "of number %d (", i);
        assert_int_equal(rig_logged(text), 1);
    }
}

static void fail_once(void *arg)
{
    (void)arg;
    if (!rig_begin(&request, REQUEST_RESPONDER))
        return;
    rig_ready(&request);
    rig_run();
    task_free_idle(rig.script);
    assert_int_equal(request.ends, 1);
}

static void without_memory_to_wait_it_is_logged_at_once(void **state)
{
    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "function on_request(req)\n"
             "  local task = fcgi.spawn(error, 'short')\n"
             "  fcgi.sleep(0)\n"
             "  fcgi.sleep(0)\n"
             "end\n");
    alloc_each_fails(fail_once, NULL);
    rig_assert_logged("short (");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRIPT_TEST(one_of_a_request_is_logged_at_its_end),
        SCRIPT_TEST(one_that_was_logged_can_be_joined),
        SCRIPT_TEST(those_of_the_worker_are_logged_at_its_end_at_the_latest),
        SCRIPT_TEST(one_outlives_its_object_without_finalizer),
        SCRIPT_TEST(without_memory_to_wait_it_is_logged_at_once),
    };

    return cmocka_run_group_tests_name("script/failures", tests, NULL, NULL);
}
