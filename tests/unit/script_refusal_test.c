/* script_refusal_test.c -- errors that are the client's fault.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "script/refusal.h"

#include <lauxlib.h>
#include <lualib.h>

static lua_State *L;

static int set_up(void **state)
{
    (void)state;
    L = luaL_newstate();
    luaL_openlibs(L);
    refusal_push(L, 400, "too odd");
    lua_setglobal(L, "refusal");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    lua_close(L);
    return 0;
}

static void assert_gives(const char *expression, const char *expected)
{
    lua_settop(L, 0);
    lua_pushfstring(L, "return tostring(%s)", expression);
    assert_int_equal(luaL_dostring(L, lua_tostring(L, -1)), LUA_OK);
    assert_string_equal(lua_tostring(L, -1), expected);
}

static void it_reads_as_its_text(void **state)
{
    (void)state;
    assert_gives("refusal", "too odd");
    assert_gives("'oh: ' .. refusal", "oh: too odd");
    assert_gives("refusal .. 1", "too odd1");
    assert_gives("refusal .. refusal", "too oddtoo odd");
    assert_gives(
        "select(2, pcall(function() return refusal .. {} end)):match(': (.*)')",
        "attempt to concatenate a table value");
    assert_gives("getmetatable(refusal)", "false");
}

static void it_knows_its_status(void **state)
{
    (void)state;
    lua_getglobal(L, "refusal");
    assert_int_equal(refusal_status(L, -1), 400);
    lua_pushliteral(L, "too odd");
    assert_int_equal(refusal_status(L, -1), 0);
    lua_newtable(L);
    assert_int_equal(refusal_status(L, -1), 0);
    lua_pushnil(L);
    assert_int_equal(refusal_status(L, -1), 0);
}

/* debug.setmetatable can lend the class to anything. */
static void what_only_looks_like_one_is_none(void **state)
{
    (void)state;
    lua_newuserdatauv(L, 1, 0);
    luaL_setmetatable(L, "fcgi.refusal");
    assert_int_equal(refusal_status(L, -1), 0);
    lua_setglobal(L, "fake");
    assert_gives("pcall(tostring, fake)", "false");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_reads_as_its_text, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(it_knows_its_status, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_only_looks_like_one_is_none,
                                        set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
