/* script_hooks_test.c -- on_start, on_worker and on_exit, step by step.
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

/* What the end of a hook was told. */
static struct outcome {
    unsigned calls;
    bool went_well;
} outcome;

static void note(void *arg, bool went_well)
{
    struct outcome *to = arg;

    to->calls++;
    to->went_well = went_well;
}

static int set_up(void **state)
{
    outcome = (struct outcome){ 0 };
    return rig_set_up(state);
}

#define HANDLER "local fcgi = require 'fcgi'\nfunction on_request() end\n"

/* --- on_start ------------------------------------------------------------- */

static void on_start_runs_when_it_is_told_to(void **state)
{
    (void)state;
    rig_open(HANDLER "function on_start(...)\n"
                     "  print('start', select('#', ...), fcgi.worker) end");
    assert_lacks(rig_log(), "start");
    assert_int_equal(script_start(rig.script, rig.error), SCRIPT_OK);
    rig_assert_logged("start\t0\tnil");
}

static void without_on_start_nothing_happens(void **state)
{
    (void)state;
    rig_open(HANDLER);
    assert_int_equal(script_start(rig.script, rig.error), SCRIPT_OK);
    assert_int_equal(lua_gettop(rig.script->L), 0);
}

static void an_error_in_on_start_is_told_with_its_place(void **state)
{
    (void)state;
    rig_open(HANDLER "function on_start() error('oops') end");
    assert_int_equal(script_start(rig.script, rig.error), SCRIPT_FAILED);
    assert_contains(rig.error, "app.lua:3: oops\nstack traceback:");
    assert_int_equal(lua_gettop(rig.script->L), 0);
}

static void on_start_cannot_wait(void **state)
{
    (void)state;
    rig_open(HANDLER "function on_start() fcgi.sleep(1) end");
    assert_int_equal(script_start(rig.script, rig.error), SCRIPT_FAILED);
    assert_contains(rig.error,
                    "app.lua:3: cannot wait here: on_start runs before");
}

static void on_start_is_limited_as_loading_is(void **state)
{
    (void)state;
    rig.config.load_timeout = 0.05;
    rig_open(HANDLER "function on_start() while true do end end");
    assert_int_equal(script_start(rig.script, rig.error), SCRIPT_FAILED);
    assert_contains(rig.error, "(--load-timeout)");
}

/* --- on_worker ------------------------------------------------------------ */

static void on_worker_is_a_task_of_the_worker(void **state)
{
    (void)state;
    rig_open(HANDLER "function on_worker(...)\n"
                     "  print('begun', select('#', ...), ...)\n"
                     "  fcgi.sleep(0.002) print('slept') end");
    script_run_on_worker(rig.script, 7, note, &outcome);
    assert_int_equal(script_tasks(rig.script), 1);
    assert_int_equal(script_worker_tasks(rig.script), 1);
    rig_turns(1);
    rig_assert_logged("begun\t1\t7");
    assert_int_equal(outcome.calls, 0);
    rig_run();
    rig_assert_logged("slept");
    assert_int_equal(outcome.calls, 1);
    assert_true(outcome.went_well);
    assert_int_equal(script_worker_tasks(rig.script), 0);
}

static void without_the_hook_all_is_well_at_once(void **state)
{
    (void)state;
    rig_open(HANDLER);
    script_run_on_worker(rig.script, 1, note, &outcome);
    assert_int_equal(outcome.calls, 1);
    assert_true(outcome.went_well);
    script_run_on_exit(rig.script, 1, "stop", note, &outcome);
    assert_int_equal(outcome.calls, 2);
    assert_int_equal(script_tasks(rig.script), 0);
}

static void an_error_is_logged_and_told(void **state)
{
    (void)state;
    rig_open(HANDLER "function on_worker() fcgi.sleep(0) error('oops') end");
    script_run_on_worker(rig.script, 1, note, &outcome);
    rig_run();
    assert_int_equal(outcome.calls, 1);
    assert_false(outcome.went_well);
    rig_assert_logged("app.lua:3: oops\n    stack traceback:");
}

static void an_error_that_is_no_text_is_logged_too(void **state)
{
    (void)state;
    rig_open(HANDLER "function on_worker() error({}) end");
    script_run_on_worker(rig.script, 1, note, &outcome);
    rig_run();
    assert_false(outcome.went_well);
    rig_assert_logged("table: 0x");
}

static void on_worker_is_cancelled_after_load_timeout(void **state)
{
    (void)state;
    rig.config.load_timeout = 0.01;
    rig_open(HANDLER "function on_worker() fcgi.sleep(3600) end");
    script_run_on_worker(rig.script, 1, note, &outcome);
    rig_run();
    assert_int_equal(outcome.calls, 1);
    assert_false(outcome.went_well);
    rig_assert_logged("app.lua: on_worker was cancelled: timeout");
}

static void one_that_never_began_is_told_to_be_cancelled(void **state)
{
    (void)state;
    rig_open(HANDLER "function on_worker() print('begun') end");
    script_run_on_worker(rig.script, 1, note, &outcome);
    script_cancel_all(rig.script, "stop");
    rig_run();
    assert_int_equal(outcome.calls, 1);
    assert_false(outcome.went_well);
    rig_assert_logged("on_worker was cancelled: stop");
    assert_lacks(rig_log(), "begun");
}

static void what_it_spawns_is_the_workers(void **state)
{
    (void)state;
    rig_open(HANDLER "function on_worker()\n"
                     "  fcgi.spawn(function()\n"
                     "    print(pcall(fcgi.sleep, 3600)) end) end");
    script_run_on_worker(rig.script, 1, note, &outcome);
    rig_turns(3);
    assert_int_equal(outcome.calls, 1);
    assert_int_equal(script_tasks(rig.script), 1);
    assert_int_equal(script_worker_tasks(rig.script), 1);
    script_cancel_all(rig.script, "reload");
    rig_run();
    rig_assert_logged("false\tcancelled: reload");
}

static void a_script_can_go_while_the_hook_waits(void **state)
{
    (void)state;
    rig_open(HANDLER "function on_worker() fcgi.sleep(3600) end");
    script_run_on_worker(rig.script, 1, note, &outcome);
    rig_turns(1);
    rig_unload();
    assert_int_equal(outcome.calls, 1);
    assert_false(outcome.went_well);
}

/* --- on_exit -------------------------------------------------------------- */

static void on_exit_gets_the_reason(void **state)
{
    (void)state;
    rig_open(HANDLER "function on_exit(id, reason, ...)\n"
                     "  fcgi.sleep(0)\n"
                     "  print(id, reason, select('#', ...)) end");
    script_run_on_exit(rig.script, 3, "max-requests", note, &outcome);
    rig_run();
    assert_true(outcome.went_well);
    rig_assert_logged("3\tmax-requests\t0");
}

static void load_timeout_does_not_limit_on_exit(void **state)
{
    (void)state;
    rig.config.load_timeout = 0.002;
    rig_open(HANDLER "function on_exit() fcgi.sleep(0.02) end");
    script_run_on_exit(rig.script, 1, "stop", note, &outcome);
    rig_run();
    assert_true(outcome.went_well);
}

static void on_exit_runs_beside_a_hanging_on_worker(void **state)
{
    static struct outcome other;

    (void)state;
    rig_open(HANDLER "function on_worker() fcgi.sleep(3600) end\n"
                     "function on_exit() print('exit') end");
    script_run_on_worker(rig.script, 1, note, &outcome);
    rig_turns(1);
    script_run_on_exit(rig.script, 1, "stop", note, &other);
    rig_turns(2);
    assert_int_equal(other.calls, 1);
    assert_true(other.went_well);
    assert_int_equal(outcome.calls, 0);
}

/* --- memory --------------------------------------------------------------- */

static void under_any_limit_a_hook_ends_once(void **state)
{
    (void)state;
    rig_open(HANDLER "function on_exit(id, why)\n"
                     "  fcgi.sleep(0) return why .. id end");
    for (size_t more = 0;; more += 64) {
        outcome = (struct outcome){ 0 };
        rig_limit_memory(more);
        script_run_on_exit(rig.script, 1, "a reason of its own", note,
                           &outcome);
        rig_run();
        assert_int_equal(outcome.calls, 1);
        if (outcome.went_well)
            break;
    }
    rig_assert_logged("not enough memory");
}

static void run_hooks(void *arg)
{
    (void)arg;
    outcome = (struct outcome){ 0 };
    task_free_idle(rig.script);
    script_run_on_worker(rig.script, 1, note, &outcome);
    rig_run();
    assert_int_equal(outcome.calls, 1);
}

static void without_c_memory_a_hook_ends_once(void **state)
{
    (void)state;
    rig_open(HANDLER "function on_worker() end");
    alloc_each_fails(run_hooks, NULL);
    assert_true(outcome.went_well);
    rig_assert_logged("not enough memory for on_worker");
}

#define HOOK_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, rig_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOOK_TEST(on_start_runs_when_it_is_told_to),
        HOOK_TEST(without_on_start_nothing_happens),
        HOOK_TEST(an_error_in_on_start_is_told_with_its_place),
        HOOK_TEST(on_start_cannot_wait),
        HOOK_TEST(on_start_is_limited_as_loading_is),
        HOOK_TEST(on_worker_is_a_task_of_the_worker),
        HOOK_TEST(without_the_hook_all_is_well_at_once),
        HOOK_TEST(an_error_is_logged_and_told),
        HOOK_TEST(an_error_that_is_no_text_is_logged_too),
        HOOK_TEST(on_worker_is_cancelled_after_load_timeout),
        HOOK_TEST(one_that_never_began_is_told_to_be_cancelled),
        HOOK_TEST(what_it_spawns_is_the_workers),
        HOOK_TEST(a_script_can_go_while_the_hook_waits),
        HOOK_TEST(on_exit_gets_the_reason),
        HOOK_TEST(load_timeout_does_not_limit_on_exit),
        HOOK_TEST(on_exit_runs_beside_a_hanging_on_worker),
        HOOK_TEST(under_any_limit_a_hook_ends_once),
        HOOK_TEST(without_c_memory_a_hook_ends_once),
    };

    return cmocka_run_group_tests_name("script/hooks", tests, NULL, NULL);
}
