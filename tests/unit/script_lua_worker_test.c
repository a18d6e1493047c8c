/* script_lua_worker_test.c -- fcgi.worker, fcgi.stats, and the seed.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "script_rig.h"

static const struct script_worker who = { 3, 8, 5 };
static struct rig_request request;

#define CHECK(code)                                                            \
    "local fcgi = require 'fcgi'\n"                                            \
    "function on_request(req)\n" code "\n"                                     \
    "  req:send(200, nil, 'ok')\n"                                             \
    "end\n"

static void a_worker_knows_which_it_is(void **state)
{
    (void)state;
    rig_open("assert(require 'fcgi'.worker == nil)\n" CHECK(
        "  local w, n = fcgi.worker, 0\n"
        "  for name, value in pairs(w) do\n"
        "    assert(math.type(value) == 'integer')\n"
        "    n = n + 1\n"
        "  end\n"
        "  assert(n == 4 and w.id == 3)\n"
        "  assert(w.count == 8)\n"
        "  assert(w.generation == 5 and w.pid > 1)"));
    assert_true(script_set_worker(rig.script, &who));
    rig_serve(&request);
    rig_check(&request);
}

static void the_module_is_found_whatever_the_script_did(void **state)
{
    (void)state;
    rig_open(CHECK("  assert(fcgi.worker.id == 3)") "package.loaded.fcgi = nil "
                                                    "require = nil");
    assert_true(script_set_worker(rig.script, &who));
    rig_serve(&request);
    rig_check(&request);
}

static void without_memory_it_says_so(void **state)
{
    size_t more = 0;

    (void)state;
    rig_open(CHECK("  assert(fcgi.worker.id == 3)"));
    for (;; more += 16) {
        rig_limit_memory(more);
        if (script_set_worker(rig.script, &who))
            break;
        assert_int_equal(lua_gettop(rig.script->L), 0);
    }
    assert_true(more > 0);
    rig.script->memory.limit = 0;
    rig_serve(&request);
    rig_check(&request);
}

static void stats_tell_what_the_process_does(void **state)
{
    (void)state;
    rig.service.accepted = 42;
    rig.service.started_at = 1700000000;
    rig.service.started = loop_now() - 10;
    rig_open(
        CHECK("  local s = fcgi.stats()\n"
              "  assert(s ~= fcgi.stats())\n"
              "  assert(s.requests == 1 and s.active == 1 and s.tasks == 1)\n"
              "  assert(s.accepted == 42 and s.started == 1700000000)\n"
              "  assert(s.uptime >= 10 and s.uptime < 3600)\n"
              "  assert(s.memory > 10000 and math.type(s.memory))\n"
              "  collectgarbage() collectgarbage()\n"
              "  s = fcgi.stats()\n"
              "  local held = ('x'):rep(100000)\n"
              "  assert(fcgi.stats().memory > s.memory + 90000, held)"));
    rig_serve(&request);
    rig_check(&request);
}

static void before_there_is_a_process_stats_know_the_script(void **state)
{
    (void)state;
    rig_open("local s = require 'fcgi'.stats()\n"
             "assert(s.memory > 0 and s.tasks == 0)\n"
             "assert(s.requests == nil and s.uptime == nil)\n"
             "function on_request() end");
}

/* What fork does with two copies of a state. */
static void a_new_seed_draws_other_numbers(void **state)
{
    (void)state;
    rig_open("math.randomseed(42)\n"
             "local a = math.random(0)\n"
             "math.randomseed(42)\n" CHECK("  assert(math.random(0) ~= a)"));
    script_seed_random(rig.script);
    rig_serve(&request);
    rig_check(&request);
}

static void a_script_that_took_randomseed_away_is_no_trouble(void **state)
{
    (void)state;
    rig_open("math.randomseed = nil " CHECK(""));
    script_seed_random(rig.script);
    assert_int_equal(lua_gettop(rig.script->L), 0);
    rig_serve(&request);
    rig_check(&request);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRIPT_TEST(a_worker_knows_which_it_is),
        SCRIPT_TEST(the_module_is_found_whatever_the_script_did),
        SCRIPT_TEST(without_memory_it_says_so),
        SCRIPT_TEST(stats_tell_what_the_process_does),
        SCRIPT_TEST(before_there_is_a_process_stats_know_the_script),
        SCRIPT_TEST(a_new_seed_draws_other_numbers),
        SCRIPT_TEST(a_script_that_took_randomseed_away_is_no_trouble),
    };

    return cmocka_run_group_tests_name("script/lua_worker", tests, NULL, NULL);
}
