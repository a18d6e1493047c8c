/* script_lua_metrics_test.c -- fcgi.counter and fcgi.gauge.  What they refuse
 * is in tests/behaviour/test_metrics.py.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/metrics.h"
#include "script_rig.h"

static struct metrics metrics; /* of zeroes: emptied before each test */
static struct metrics *own;
static struct rig_request request;

static int set_up(void **state)
{
    memset(&metrics, 0, sizeof(metrics));
    if (metrics_init(&metrics) != 0)
        return -1;
    own = metrics_shared();
    metrics_share(&metrics);
    return rig_set_up(state);
}

static int tear_down(void **state)
{
    metrics_share(own);
    return rig_tear_down(state);
}

static void assert_value(int index, const char *name, const char *labels,
                         double value)
{
    assert_true((uint32_t)index < metrics.count);
    assert_string_equal(metrics.items[index].name, name);
    assert_string_equal(metrics.items[index].labels, labels);
    assert_true(metric_value(&metrics.items[index]) >= value &&
                metric_value(&metrics.items[index]) <= value);
}

static void they_count_in_the_shared_table(void **state)
{
    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "local c = fcgi.counter('c', 'Help.')\n"
             "local g = fcgi.gauge('g', nil, { b = 2, a = 'x\"y' })\n"
             "function on_request(req)\n"
             "  c:inc() c:inc(2) c:inc(0.5)\n"
             "  g:set(5) g:inc(-7)\n"
             "  assert(fcgi.counter 'c' ~= c)\n"
             "  fcgi.counter('c'):inc()\n"
             "  req:send(200, nil, 'ok')\n"
             "end");
    rig_serve(&request);
    rig_check(&request);
    assert_int_equal(metrics.count, 2);
    assert_value(0, "c", "", 4.5);
    assert_string_equal(metrics.items[0].help, "Help.");
    assert_value(1, "g", "a=\"x\\\"y\",b=\"2\"", -2);
}

static void what_was_not_accepted_made_nothing(void **state)
{
    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "function on_request(req)\n"
             "  assert(not pcall(fcgi.counter, 'a b'))\n"
             "  assert(not pcall(fcgi.counter, 'a', 'x', { a = {} }))\n"
             "  assert(not pcall(fcgi.gauge, 'fcgi_lua_x'))\n"
             "  local good, why = pcall(fcgi.counter('c').inc, 'c')\n"
             "  assert(not good and why:find 'metric expected')\n"
             "  local class = debug.getmetatable(fcgi.gauge 'g')\n"
             "  local fake = debug.setmetatable(io.stdout, class)\n"
             "  assert(not pcall(fcgi.gauge('g').set, fake, 1))\n"
             "  req:send(200, nil, 'ok')\n"
             "end");
    rig_serve(&request);
    rig_check(&request);
    assert_int_equal(metrics.count, 2);
}

static void without_memory_they_raise(void **state)
{
    (void)state;
    rig_open("local fcgi = require 'fcgi'\n"
             "function on_request(req)\n"
             "  fcgi.gauge('g', 'x', { a = 1, b = 'y' }):set(1)\n"
             "  req:send(200, nil, 'ok')\n"
             "end");
    rig_serve_short_of_memory("ok", 16);
    assert_true(metrics.count <= 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(they_count_in_the_shared_table),
        TEST(what_was_not_accepted_made_nothing),
        TEST(without_memory_they_raise),
    };

    return cmocka_run_group_tests_name("script/lua_metrics", tests, NULL, NULL);
}
