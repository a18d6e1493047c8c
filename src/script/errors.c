/* errors.c -- see errors.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "script/errors.h"

#include "script/cancel.h"
#include "script/report.h"

#include <string.h>

/* Of a traceback: from how many levels on it is cut, and to how many. */
enum { DEEP_LEVELS = 200, SHOWN_LEVELS = 20 };

/* What is kept of an error, in the registry under the task. */
enum { KEPT_ERROR = 1, KEPT_TEXT, KEPT_TRACE };

static int tostring_call(lua_State *L)
{
    luaL_tolstring(L, 1, NULL);
    return 1;
}

/* Pushes an error as text, whatever it is and whatever its __tostring does. */
static void push_error_text(lua_State *L, int index)
{
    size_t len;

    index = lua_absindex(L, index);
    lua_pushcfunction(L, tostring_call);
    lua_pushvalue(L, index);
    if (lua_pcall(L, 1, 1, 0) != LUA_OK) {
        lua_pop(L, 1);
        lua_pushfstring(L, "(error object is a %s value)",
                        luaL_typename(L, index));
    }
    lua_tolstring(L, -1, &len);
    if (len > REPORT_TEXT_MAX) {
        lua_pushlstring(L, lua_tostring(L, -1), REPORT_TEXT_MAX);
        lua_replace(L, -2);
    }
}

/* Pushes the levels of `of` from the given one on; luaL_traceback looks for the
 * last one first, which takes half a second where a stack has overflowed. */
static void push_levels(lua_State *L, lua_State *of, int level)
{
    luaL_Buffer text;
    lua_Debug ar;
    int last = level + SHOWN_LEVELS;

    if (!lua_getstack(of, DEEP_LEVELS, &ar)) {
        luaL_traceback(L, of, NULL, level);
        return;
    }
    luaL_buffinit(L, &text);
    luaL_addstring(&text, "stack traceback:");
    for (; level < last; level++) {
        if (!lua_getstack(of, level, &ar) || !lua_getinfo(of, "Sln", &ar))
            break;
        lua_pushfstring(L, "\n\t%s:%d: in %s %s", ar.short_src, ar.currentline,
                        *ar.namewhat != 0 ? ar.namewhat : "?",
                        ar.name != NULL ? ar.name : "?");
        luaL_addvalue(&text);
    }
    luaL_addstring(&text, "\n\t...\t(more levels)");
    luaL_pushresult(&text);
}

/* Puts what is kept of the error at index below the traceback on top: the
 * levels of the coroutines that the error has come through. */
static void add_inner_levels(lua_State *L, int index)
{
    size_t heading = strlen("stack traceback:\n");

    if (lua_rawgetp(L, LUA_REGISTRYINDEX, task_running(L)) != LUA_TTABLE) {
        lua_pop(L, 1);
        return;
    }
    lua_rawgeti(L, -1, KEPT_ERROR);
    lua_rawgeti(L, -2, KEPT_TRACE);
    if (lua_rawequal(L, -2, index) && lua_isstring(L, -1) &&
        lua_rawlen(L, -4) > heading) {
        lua_pushliteral(L, "\n\t(resumed by)\n");
        lua_pushstring(L, lua_tostring(L, -5) + heading);
        lua_concat(L, 3);
        lua_replace(L, -4);
        lua_pop(L, 2);
    } else {
        lua_pop(L, 3);
    }
}

void errors_push_traceback(lua_State *L, int index)
{
    index = lua_absindex(L, index);
    push_levels(L, L, 1);
    add_inner_levels(L, index);
}

/* Keeps the table on top, or nil, for the task that runs. */
static void keep(lua_State *L)
{
    struct task *task = task_running(L);

    if (task != NULL)
        task->has_kept_error = !lua_isnil(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, task);
}

void errors_forget(lua_State *L, struct task *task)
{
    if (!task->has_kept_error)
        return;
    task->has_kept_error = false;
    lua_pushnil(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, task); /* allocates nothing */
}

/* A cancellation is no fault of the script, and there may be many at once; but
 * of a handler one wants to know where it was. */
static bool is_told(lua_State *L, int index)
{
    const struct task *task = task_running(L);

    return task_cancelled_reason(L, index) == NULL ||
           (task != NULL && task->req != NULL && task->req->handler == task);
}

/* A stack that overflowed is large, and so is what the C heap keeps of it. */
static void note_overflow(lua_State *L, const char *text)
{
    struct task *task = task_running(L);

    if (task != NULL && strstr(text, "stack overflow") != NULL)
        task->has_overflowed = true;
}

int errors_collect(lua_State *L)
{
    lua_settop(L, 1);
    if (!is_told(L, 1))
        return 1;
    lua_createtable(L, 3, 0);
    lua_pushvalue(L, 1);
    lua_rawseti(L, 2, KEPT_ERROR);
    push_error_text(L, 1);
    note_overflow(L, lua_tostring(L, -1));
    lua_rawseti(L, 2, KEPT_TEXT);
    errors_push_traceback(L, 1);
    lua_rawseti(L, 2, KEPT_TRACE);
    keep(L);
    return 1;
}

void errors_keep_levels(lua_State *L, lua_State *dead)
{
    int error = lua_gettop(L);

    if (!is_told(L, error))
        return;
    luaL_checkstack(L, 8, "an error");
    push_levels(L, dead, 0);
    add_inner_levels(L, error);
    errors_keep_trace(L);
}

void errors_keep_trace(lua_State *L)
{
    lua_createtable(L, 3, 0);
    lua_insert(L, -2);
    lua_rawseti(L, -2, KEPT_TRACE);
    lua_pushvalue(L, -2);
    lua_rawseti(L, -2, KEPT_ERROR);
    keep(L);
}

void errors_rename(lua_State *L)
{
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, task_running(L)) == LUA_TTABLE) {
        lua_pushvalue(L, -2);
        lua_rawseti(L, -2, KEPT_ERROR);
    }
    lua_pop(L, 1);
}

int errors_bad_self(lua_State *L, const char *class, const char *object)
{
    lua_Debug ar;

    if (lua_type(L, 1) == LUA_TUSERDATA || !lua_getstack(L, 0, &ar) ||
        !lua_getinfo(L, "n", &ar) || ar.name == NULL || *ar.name == '_')
        return luaL_typeerror(L, 1, class);
    return luaL_error(L, "bad self (write %s:%s, with a colon)", object,
                      ar.name);
}

bool errors_take(lua_State *L)
{
    struct task *task = task_running(L);
    bool is_found = false;

    if (lua_rawgetp(L, LUA_REGISTRYINDEX, task) == LUA_TTABLE) {
        lua_rawgeti(L, -1, KEPT_ERROR);
        lua_rawgeti(L, -2, KEPT_TEXT);
        is_found = lua_rawequal(L, -2, -4) && !lua_isnil(L, -1);
        lua_pop(L, 2);
    }
    if (is_found)
        lua_replace(L, -2);
    else
        lua_pop(L, 1);
    if (task != NULL)
        errors_forget(L, task);
    return is_found;
}

void errors_show(lua_State *L, struct slice *text, struct slice *trace)
{
    *text = slice_of("an error in the error handling");
    *trace = (struct slice){ NULL, 0 };
    if (lua_istable(L, -1)) { /* which holds both strings */
        lua_rawgeti(L, -1, KEPT_TEXT);
        lua_rawgeti(L, -2, KEPT_TRACE);
        text->data = lua_tolstring(L, -2, &text->len);
        trace->data = lua_tolstring(L, -1, &trace->len);
        lua_pop(L, 2);
    } else if (lua_type(L, -1) == LUA_TSTRING) { /* no memory for a table */
        text->data = lua_tolstring(L, -1, &text->len);
    }
}

void errors_log(lua_State *L, struct request *req)
{
    struct slice text, trace;

    errors_show(L, &text, &trace);
    report_error(script_of(L), req, text, trace);
}

void errors_push_where(lua_State *L)
{
    lua_Debug ar;
    int level = 1;

    while (lua_getstack(L, level, &ar) && lua_getinfo(L, "S", &ar) &&
           (*ar.what == 'C' || strncmp(ar.source, "=fcgi/", 6) == 0))
        level++;
    luaL_where(L, level);
}
