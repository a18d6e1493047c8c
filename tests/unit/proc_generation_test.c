/* proc_generation_test.c -- a script's life in a process, state by state.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sysexits.h>
#include <cmocka.h>

#include "alloc.h"
#include "proc/generation.h"
#include "proc/load.h"
#include "script_rig.h"

static const struct script_worker who = { 1, 1, 4 };
static struct generation *generation;
static struct rig_request request;
static char message[LOAD_MESSAGE_MAX];
static char program[] = "fcgi-lua", option[] = "--load-timeout=0.1";

static int set_up(void **state)
{
    generation = NULL;
    return rig_set_up(state);
}

static int tear_down(void **state)
{
    generation_del(generation);
    return rig_tear_down(state);
}

static int load(const char *source)
{
    char *argv[] = { program, option, rig.path, NULL };

    if (source != NULL)
        rig_write_file(rig.path, source);
    return generation_load(&generation, 3, argv, &who, message);
}

static void start(const char *source)
{
    if (load(source) != EX_OK)
        fail_msg("%s", message);
    assert_int_equal(generation_start(generation, rig.loop, &rig.service), 0);
}

static void until_started(void)
{
    while (!generation->hook_has_ended)
        loop_turn(rig.loop, true);
    generation->state = GENERATION_SERVING;
    script_serve(generation->script);
}

static void until_over(void)
{
    while (!generation_step(generation))
        loop_turn(rig.loop, true);
}

#define HOOKS                                                                  \
    "local fcgi = require 'fcgi'\n"                                            \
    "function on_request() fcgi.sleep(0.005) print('answered') end\n"          \
    "function on_start() print('start') end\n"                                 \
    "function on_worker(id)\n"                                                 \
    "  print('worker', id, fcgi.worker.generation)\n"                          \
    "  fcgi.spawn(function() print(pcall(fcgi.sleep, 3600)) end)\n"            \
    "end\n"                                                                    \
    "function on_exit(id, why) fcgi.sleep(0.005) print('exit', id, why) end\n"

static void assert_order(const char *first, const char *second)
{
    const char *log = rig_log(), *a = strstr(log, first),
               *b = strstr(log, second);

    if (a == NULL || b == NULL || a > b)
        fail_msg("\"%s\" is not before \"%s\" in: %s", first, second, log);
}

static void its_life_has_an_order(void **state)
{
    (void)state;
    start(HOOKS);
    assert_false(generation->hook_has_ended);
    until_started();
    assert_true(generation->hook_went_well);
    assert_order("start", "worker\t1\t4");
    rig_start(&request);
    rig_turns(1);
    generation_retire(generation, "reload", 30);
    assert_false(generation_step(generation));
    assert_int_equal(generation->state, GENERATION_RETIRED);
    until_over();
    assert_int_equal(request.ends, 1);
    assert_order("answered", "exit\t1\treload");
    assert_order("exit\t1\treload", "false\tcancelled: reload");
}

static void without_hooks_it_is_over_at_once(void **state)
{
    (void)state;
    start("function on_request() end");
    assert_true(generation->hook_has_ended && generation->hook_went_well);
    until_started();
    generation_retire(generation, "reload", 30);
    assert_true(generation_step(generation));
}

static void after_grace_it_is_cancelled(void **state)
{
    (void)state;
    start("local fcgi = require 'fcgi'\n"
          "function on_request() fcgi.sleep(3600) end\n"
          "function on_exit(_, why) print('exit', why) end");
    until_started();
    rig_start(&request);
    rig_turns(1);
    generation_retire(generation, "reload", 0.01);
    until_over();
    assert_failed_with(&request, "Status: 503 ");
    rig_assert_logged("--grace is over: 1 tasks of generation 4");
    rig_assert_logged("exit\treload");
}

static void what_does_not_end_is_closed(void **state)
{
    (void)state;
    start("local fcgi = require 'fcgi'\n"
          "function on_request() fcgi.sleep(3600) end\n");
    until_started();
    rig_start(&request);
    rig_turns(1);
    generation_retire(generation, "reload", -1);
    assert_false(generation_step(generation));
    generation->is_hopeless = true; /* as its timer says in the end */
    assert_true(generation_step(generation));
    generation_del(generation);
    generation = NULL;
    assert_failed_with(&request, "Status: 503 ");
}

static void one_that_starts_can_be_dropped(void **state)
{
    (void)state;
    start("local fcgi = require 'fcgi'\n"
          "function on_request() end\n"
          "function on_worker() fcgi.sleep(3600) end");
    rig_turns(1);
    generation_del(generation);
    generation = NULL;
    generation_del(NULL);
}

static void a_failure_to_load_is_told(void **state)
{
    (void)state;
    assert_int_equal(load("x ="), EX_DATAERR);
    assert_contains(message, "app.lua:1:");
    assert_null(generation);
    assert_int_equal(load("error('oops')"), EX_CONFIG);
    assert_contains(message, "app.lua:1: oops\nstack traceback:");
    assert_int_equal(load("return { on_request = print, max_body = 'x' }"),
                     EX_CONFIG);
    assert_contains(message, "app.lua: max_body: \"x\" is not a size");
    assert_int_equal(load("function on_request() end\n"
                          "function on_start() error('late') end"),
                     EX_CONFIG);
    assert_contains(message, "app.lua:2: late");
    assert_int_equal(load("while true do end"), EX_CONFIG);
    assert_contains(message, "(--load-timeout)");
    unlink(rig.path);
    assert_int_equal(load(NULL), EX_NOINPUT);
}

static void settings_of_the_table_are_its_own(void **state)
{
    (void)state;
    start("return { on_request = print, timeout = 7, max_body = 9 }");
    assert_int_equal(generation->options->max_body, 9);
    assert_ptr_equal(generation->options, &generation->own);
    assert_true(generation->options->load_timeout < 1);
}

static void load_once(void *arg)
{
    int code = load(NULL);

    (void)arg;
    if (code == EX_OK) {
        generation_del(generation);
        generation = NULL;
    } else {
        assert_null(generation);
        assert_true(strlen(message) > 0);
    }
}

/* Each allocation of all would take long, so some are left out. */
static void comes_through_without_memory(void **state)
{
    (void)state;
    rig_write_file(rig.path, "return { on_request = print, timeout = 7 }");
    for (size_t k = 1;; k += k < 40 ? 1 : 37) {
        bool done;

        alloc_fail_at(k);
        load_once(NULL);
        done = alloc_count() < k;
        alloc_fail_at(0);
        if (done)
            break;
    }
}

#define GENERATION_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        GENERATION_TEST(its_life_has_an_order),
        GENERATION_TEST(without_hooks_it_is_over_at_once),
        GENERATION_TEST(after_grace_it_is_cancelled),
        GENERATION_TEST(what_does_not_end_is_closed),
        GENERATION_TEST(one_that_starts_can_be_dropped),
        GENERATION_TEST(a_failure_to_load_is_told),
        GENERATION_TEST(settings_of_the_table_are_its_own),
        GENERATION_TEST(comes_through_without_memory),
    };

    return cmocka_run_group_tests_name("proc/generation", tests, NULL, NULL);
}
