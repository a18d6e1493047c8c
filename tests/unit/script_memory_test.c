/* script_memory_test.c -- Lua's allocator counts and refuses.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <lauxlib.h>
#include <lualib.h>
#include <cmocka.h>

#include "alloc.h"
#include "script/memory.h"

static void bytes_are_counted(void **state)
{
    struct memory memory = { 0 };
    char *a = memory_alloc(&memory, NULL, 0, 100), *b;

    (void)state;
    assert_non_null(a);
    assert_int_equal(memory.used, 100);
    b = memory_alloc(&memory, NULL, 0, 50);
    assert_int_equal(memory.used, 150);
    memset(a, 'x', 100);
    a = memory_alloc(&memory, a, 100, 300);
    assert_int_equal(memory.used, 350);
    assert_int_equal(a[99], 'x');
    a = memory_alloc(&memory, a, 300, 10);
    assert_int_equal(memory.used, 60);
    assert_null(memory_alloc(&memory, a, 10, 0));
    assert_null(memory_alloc(&memory, b, 50, 0));
    assert_null(memory_alloc(&memory, NULL, 0, 0));
    assert_int_equal(memory.used, 0);
}

/* For a new block Lua says what it is for, where the old size would be. */
static void the_kind_of_a_new_block_is_no_size(void **state)
{
    struct memory memory = { 0 };
    void *block = memory_alloc(&memory, NULL, LUA_TTHREAD, 64);

    (void)state;
    assert_int_equal(memory.used, 64);
    memory_alloc(&memory, NULL, LUA_TSTRING, 0);
    assert_int_equal(memory.used, 64);
    memory_alloc(&memory, block, 64, 0);
    assert_int_equal(memory.used, 0);
}

static void the_limit_is_kept_to_the_byte(void **state)
{
    struct memory memory = { .limit = 100 };
    void *block = memory_alloc(&memory, NULL, 0, 60);

    (void)state;
    assert_null(memory_alloc(&memory, NULL, 0, 41));
    assert_int_equal(memory.used, 60);
    assert_null(memory_alloc(&memory, block, 60, 101));
    assert_int_equal(memory.used, 60);
    block = memory_alloc(&memory, block, 60, 100);
    assert_non_null(block);
    assert_null(memory_alloc(&memory, NULL, 0, 1));
    assert_null(memory_alloc(&memory, NULL, 0, SIZE_MAX));
    memory_alloc(&memory, block, 100, 0);
}

/* As when a script has loaded more than it may use when it serves. */
static void a_limit_below_what_is_used_refuses_growth(void **state)
{
    struct memory memory = { 0 };
    void *block = memory_alloc(&memory, NULL, 0, 1000);

    (void)state;
    memory.limit = 500;
    assert_null(memory_alloc(&memory, NULL, 0, 1));
    assert_null(memory_alloc(&memory, block, 1000, 1001));
    assert_int_equal(memory.used, 1000);
    block = memory_alloc(&memory, block, 1000, 600); /* may shrink */
    assert_non_null(block);
    assert_int_equal(memory.used, 600);
    memory_alloc(&memory, block, 600, 0);
    assert_int_equal(memory.used, 0);
}

static void what_malloc_refuses_is_not_counted(void **state)
{
    struct memory memory = { 0 };
    void *block = memory_alloc(&memory, NULL, 0, 10);

    (void)state;
    alloc_fail_at(1);
    assert_null(memory_alloc(&memory, NULL, 0, 10));
    alloc_fail_at(1);
    assert_null(memory_alloc(&memory, block, 10, 20));
    alloc_fail_at(0);
    assert_int_equal(memory.used, 10);
    memory_alloc(&memory, block, 10, 0);
}

static void the_count_is_that_of_the_collector(void **state)
{
    struct memory memory = { 0 };
    lua_State *L = lua_newstate(memory_alloc, &memory);
    size_t counted;

    (void)state;
    luaL_openlibs(L);
    assert_int_equal(luaL_dostring(L, "t = {} for i = 1, 1000 do t[i] = "
                                      "('x'):rep(i) end t = nil"),
                     LUA_OK);
    lua_gc(L, LUA_GCCOLLECT, 0);
    counted = (size_t)lua_gc(L, LUA_GCCOUNT, 0) * 1024 +
              (size_t)lua_gc(L, LUA_GCCOUNTB, 0);
    assert_int_equal(memory.used, counted);
    lua_close(L);
    assert_int_equal(memory.used, 0);
}

static void over_the_limit_lua_collects_then_raises(void **state)
{
    struct memory memory = { 0 };
    lua_State *L = lua_newstate(memory_alloc, &memory);

    (void)state;
    luaL_openlibs(L);
    memory.limit = memory.used + 256 * 1024;
    assert_int_equal(luaL_dostring(L, "collectgarbage('stop')\n"
                                      "for i = 1, 100 do\n"
                                      "  local s = ('x'):rep(32768 + i)\n"
                                      "end"),
                     LUA_OK); /* 3 MiB of garbage */
    assert_int_equal(luaL_dostring(L, "local s = ('x'):rep(1 << 30)"), 1);
    assert_string_equal(lua_tostring(L, -1), "not enough memory");
    assert_true(memory.used <= memory.limit);
    lua_close(L);
    assert_int_equal(memory.used, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_are_counted),
        cmocka_unit_test(the_kind_of_a_new_block_is_no_size),
        cmocka_unit_test(the_limit_is_kept_to_the_byte),
        cmocka_unit_test(a_limit_below_what_is_used_refuses_growth),
        cmocka_unit_test(what_malloc_refuses_is_not_counted),
        cmocka_unit_test(the_count_is_that_of_the_collector),
        cmocka_unit_test(over_the_limit_lua_collects_then_raises),
    };

    return cmocka_run_group_tests_name("script/memory", tests, NULL, NULL);
}
