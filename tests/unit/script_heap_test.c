/* script_heap_test.c -- the heap as it was last collected.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "script_rig.h"

enum { MIB = 1 << 20 };

static void collect(void)
{
    lua_gc(rig.script->L, LUA_GCCOLLECT, 0);
}

static void run(const char *chunk)
{
    assert_int_equal(luaL_dostring(rig.script->L, chunk), LUA_OK);
}

static void it_is_known_once_it_was_collected(void **state)
{
    (void)state;
    rig_open("on_request = print");
    collect();
    assert_int_equal(script_heap(rig.script), 0); /* nobody asked */
    assert_true(script_watch_heap(rig.script));
    assert_int_equal(script_heap(rig.script), 0);
    collect();
    assert_in_range(script_heap(rig.script), 10000, MIB);
}

static void it_follows_what_is_kept(void **state)
{
    size_t before;

    (void)state;
    rig_open("on_request = print");
    assert_true(script_watch_heap(rig.script));
    collect();
    before = script_heap(rig.script);
    run("kept = ('x'):rep(1024):rep(4 << 10)");
    collect();
    assert_in_range(script_heap(rig.script), before + 3 * MIB,
                    before + 5 * MIB);
    run("kept = nil");
    collect();
    assert_true(script_heap(rig.script) < before + MIB);
    for (int i = 0; i < 100; i++) /* again and again */
        collect();
    run("kept = ('x'):rep(1024):rep(4 << 10)");
    collect();
    assert_true(script_heap(rig.script) > before + 3 * MIB);
}

/* Far more than the limit goes through the heap, and none of it stays. */
static void garbage_is_not_in_it(void **state)
{
    (void)state;
    rig_open("on_request = print");
    assert_true(script_watch_heap(rig.script));
    for (int i = 0; i < 64; i++) {
        run("local page = ('x'):rep(1024)\n"
            "for i = 1, 16 do local s = page:rep(64 + i) end");
        assert_true(script_heap(rig.script) < MIB);
    }
    assert_true(script_heap(rig.script) > 0); /* Lua has collected by itself */
}

static void scripts_may_collect_as_they_like(void **state)
{
    (void)state;
    rig_open("on_request = print");
    assert_true(script_watch_heap(rig.script));
    run("collectgarbage 'generational'");
    run("local page = ('x'):rep(1024) kept = {}\n"
        "for i = 1, 64 do kept[i] = page:rep(64 + i) end collectgarbage()");
    assert_true(script_heap(rig.script) > 4 * MIB);
    run("kept = nil collectgarbage() collectgarbage 'incremental'");
    collect();
    assert_true(script_heap(rig.script) < MIB);
}

static void without_memory_it_says_so(void **state)
{
    size_t more = 0;

    (void)state;
    rig_open("on_request = print");
    for (;; more += 16) {
        rig_limit_memory(more);
        if (script_watch_heap(rig.script))
            break;
        assert_int_equal(lua_gettop(rig.script->L), 0);
    }
    assert_true(more > 0);
    rig.script->memory.limit = 0;
    collect();
    assert_true(script_heap(rig.script) > 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_set_up, rig_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_is_known_once_it_was_collected),
        TEST(it_follows_what_is_kept),
        TEST(garbage_is_not_in_it),
        TEST(scripts_may_collect_as_they_like),
        TEST(without_memory_it_says_so),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
