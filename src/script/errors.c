/* errors.c -- see errors.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "script/errors.h"

#include "script/report.h"
#include "script/task.h"

#include <string.h>

/* Of a traceback: from how many levels on it is cut, and to how many. */
enum { DEEP_LEVELS = 200, SHOWN_LEVELS = 20 };

static int tostring_call(lua_State *L)
{
    luaL_tolstring(L, 1, NULL);
    return 1;
}

/* Pushes an error as text, whatever it is and whatever its __tostring does. */
static void push_error_text(lua_State *L, int index)
{
    index = lua_absindex(L, index);
    if (lua_type(L, index) == LUA_TSTRING) {
        lua_pushvalue(L, index);
        return;
    }
    lua_pushcfunction(L, tostring_call);
    lua_pushvalue(L, index);
    if (lua_pcall(L, 1, 1, 0) != LUA_OK) {
        lua_pop(L, 1);
        lua_pushfstring(L, "(error object is a %s value)",
                        luaL_typename(L, index));
    }
}

/* A traceback of the levels that called; luaL_traceback looks for the last
 * one first, which takes half a second where a stack has overflowed. */
static void push_traceback(lua_State *L)
{
    luaL_Buffer text;
    lua_Debug ar;

    if (!lua_getstack(L, DEEP_LEVELS, &ar)) {
        luaL_traceback(L, L, NULL, 1);
        return;
    }
    luaL_buffinit(L, &text);
    luaL_addstring(&text, "stack traceback:");
    for (int level = 1; level <= SHOWN_LEVELS; level++) {
        if (!lua_getstack(L, level, &ar) || !lua_getinfo(L, "Sln", &ar))
            break;
        lua_pushfstring(L, "\n\t%s:%d: in %s %s", ar.short_src, ar.currentline,
                        *ar.namewhat != 0 ? ar.namewhat : "?",
                        ar.name != NULL ? ar.name : "?");
        luaL_addvalue(&text);
    }
    luaL_addstring(&text, "\n\t...\t(more levels)");
    luaL_pushresult(&text);
}

/* The message handler: keeps the error, its text and its traceback beside the
 * stack, and leaves the error itself as it is: to-be-closed variables see it.
 */
int errors_collect(lua_State *L)
{
    size_t len;

    lua_settop(L, 1);
    if (task_cancelled_reason(L, 1) != NULL)
        return 1;
    lua_createtable(L, 3, 0);
    lua_pushvalue(L, 1);
    lua_rawseti(L, 2, 1);
    push_error_text(L, 1);
    lua_tolstring(L, -1, &len);
    if (len > REPORT_TEXT_MAX) {
        lua_pushlstring(L, lua_tostring(L, -1), REPORT_TEXT_MAX);
        lua_replace(L, -2);
    }
    lua_rawseti(L, 2, 2);
    push_traceback(L);
    lua_rawseti(L, 2, 3);
    lua_rawsetp(L, LUA_REGISTRYINDEX, task_running(L));
    return 1;
}

/* Replaces the error on top of the stack by what errors_collect kept of it. */
void errors_take(lua_State *L)
{
    struct task *task = task_running(L);

    if (lua_rawgetp(L, LUA_REGISTRYINDEX, task) == LUA_TTABLE) {
        lua_rawgeti(L, -1, 1);
        if (lua_rawequal(L, -1, -3)) {
            lua_pop(L, 1);
            lua_replace(L, -2);
        } else {
            lua_pop(L, 2);
        }
    } else {
        lua_pop(L, 1);
    }
    lua_pushnil(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, task);
}

/* A stack that overflowed is large, and so is what the C heap keeps of it. */
static void note_overflow(lua_State *L, struct slice text)
{
    static const char what[] = "stack overflow";

    if (text.len > 0 &&
        memmem(text.data, text.len, what, sizeof(what) - 1) != NULL)
        task_running(L)->has_overflowed = true;
}

/* Logs what errors_take left on top of the stack. */
void errors_log(lua_State *L, struct request *req)
{
    struct script *script = script_of(L);
    struct slice text = slice_of("an error in the error handling"),
                 trace = { 0 };

    if (lua_istable(L, -1)) {
        lua_rawgeti(L, -1, 2);
        lua_rawgeti(L, -2, 3);
        text.data = lua_tolstring(L, -2, &text.len);
        trace.data = lua_tolstring(L, -1, &trace.len);
        report_error(script, req, text, trace);
        note_overflow(L, text);
        lua_pop(L, 2);
        return;
    }
    if (lua_type(L, -1) == LUA_TSTRING) /* no memory: there is no table */
        text.data = lua_tolstring(L, -1, &text.len);
    report_error(script, req, text, trace);
}
