/* lua_fcgi.c -- the module `fcgi`, and where print and io.stdout go: to the
 * log, never into an answer.
 *
 * SPDX-License-Identifier: MIT
 */
#include "script/lua_fcgi.h"

#include "base/log.h"
#include "script/cancel.h"
#include "script/errors.h"
#include "script/lua_metrics.h"
#include "script/lua_ngx.h"
#include "script/lua_process.h"
#include "script/lua_ready.h"
#include "script/lua_resolve.h"
#include "script/lua_socket.h"
#include "script/lua_system.h"
#include "script/lua_task.h"
#include "script/lua_tools.h"
#include "script/lua_udp.h"
#include "script/lua_worker.h"
#include "script/report.h"
#include "script/wait.h"
#include "version.h"

#include <math.h>
#include <stdio.h>

static int sleep_k(lua_State *L, int status, lua_KContext ctx)
{
    (void)L;
    (void)status;
    (void)ctx;
    return 0;
}

/* fcgi.sleep(seconds) */
static int l_sleep(lua_State *L)
{
    lua_Number seconds = luaL_checknumber(L, 1);

    luaL_argcheck(L, seconds >= 0 && isfinite(seconds), 1,
                  "not a number of seconds");
    return task_sleep(L, seconds, sleep_k);
}

/* fcgi.now() -> seconds of a clock that never goes back */
static int l_now(lua_State *L)
{
    lua_pushnumber(L, loop_now());
    return 1;
}

/* fcgi.cancelled(err) -> reason | nil */
static int l_cancelled(lua_State *L)
{
    const char *reason = task_cancelled_reason(L, 1);

    if (reason == NULL)
        luaL_pushfail(L);
    else
        lua_pushstring(L, reason);
    return 1;
}

/* Replaces the values from index first on by one string, joined by with. */
static struct slice join_values(lua_State *L, int first, const char *with)
{
    int top = lua_gettop(L);
    luaL_Buffer buffer;
    struct slice text;

    for (int i = first; i <= top; i++) { /* __tostring may be anything */
        luaL_tolstring(L, i, NULL);
        lua_replace(L, i);
    }
    luaL_buffinit(L, &buffer);
    for (int i = first; i <= top; i++) {
        if (i > first)
            luaL_addstring(&buffer, with);
        lua_pushvalue(L, i);
        luaL_addvalue(&buffer);
    }
    luaL_pushresult(&buffer);
    text.data = lua_tolstring(L, -1, &text.len);
    return text;
}

static void log_values(lua_State *L, enum log_level level, struct slice text)
{
    struct task *task = task_running(L);
    const char *newline = slice_find(text, '\n');
    struct slice line = text;

    if (newline != NULL) {
        line = slice_take(&text, (size_t)(newline - text.data));
        slice_take(&text, 1);
    } else {
        text.len = 0;
    }
    report_log(level, task == NULL ? NULL : task->req, line, text);
}

/* fcgi.log(level, ...): error, warn, notice, info, debug */
static int l_log(lua_State *L)
{
    static const char *const names[] = { "error", "warn",  "notice",
                                         "info",  "debug", NULL };
    static const char bad_level[] = "a level expected: error, warn, notice, "
                                    "info or debug";
    const char *name = luaL_checkstring(L, 1);
    enum log_level level = LOG_LEVEL_ERROR;

    while (names[level] != NULL && strcmp(names[level], name) != 0)
        level++;
    if (names[level] == NULL)
        return luaL_argerror(L, 1, bad_level);
    if (!log_is_on(level))
        return 0;
    errors_push_where(L); /* "app.lua:12: " */
    lua_replace(L, 1);
    log_values(L, level, join_values(L, 1, ""));
    return 0;
}

static int l_print(lua_State *L)
{
    log_values(L, LOG_LEVEL_NOTICE, join_values(L, 1, "\t"));
    return 0;
}

/* --- io.stdout ------------------------------------------------------------ */

/* The C library calls it with pieces of any size. */
static ssize_t write_to_log(void *cookie, const char *data, size_t len)
{
    struct print_line *line = cookie;

    for (size_t i = 0; i < len; i++) {
        if (data[i] != '\n' && line->len < sizeof(line->text))
            line->text[line->len++] = data[i];
        if (data[i] == '\n' || line->len == sizeof(line->text)) {
            log_text(LOG_LEVEL_NOTICE, (struct slice){ line->text, line->len },
                     (struct slice){ NULL, 0 });
            line->len = 0;
        }
    }
    return (ssize_t)len;
}

/* What io.stdout is stays a file for Lua, and never closes. */
static int keep_open(lua_State *L)
{
    luaL_Stream *stream = luaL_checkudata(L, 1, LUA_FILEHANDLE);

    stream->closef = keep_open;
    luaL_pushfail(L);
    lua_pushliteral(L, "cannot close the standard output");
    return 2;
}

/* The file outlives the state: finalizers may print to the last. */
static void replace_stdout(lua_State *L)
{
    static const cookie_io_functions_t functions = { .write = write_to_log };
    struct script *script = script_of(L);
    luaL_Stream *stream;

    script->out = fopencookie(&script->out_line, "w", functions);
    if (script->out == NULL)
        luaL_error(L, "not enough memory");
    setvbuf(script->out, NULL, _IONBF, 0);
    lua_getglobal(L, "io");
    lua_getfield(L, -1, "stdout");
    stream = luaL_checkudata(L, -1, LUA_FILEHANDLE);
    stream->f = script->out;
    stream->closef = keep_open;
    lua_pop(L, 2);
}

/* --- the module ----------------------------------------------------------- */

static void push_args(lua_State *L)
{
    const struct script_config *config = script_of(L)->config;

    lua_createtable(L, config->nargs, 1);
    for (int i = 0; i < config->nargs; i++) {
        lua_pushstring(L, config->args[i]);
        lua_rawseti(L, -2, i + 1);
    }
    lua_pushstring(L, config->path);
    lua_rawseti(L, -2, 0);
}

/* Leaves what a module of lua/fcgi returns on the stack. */
static void require_half(lua_State *L, const char *name)
{
    lua_getglobal(L, "require");
    lua_pushstring(L, name);
    lua_call(L, 1, 1);
}

/* Adds the functions of a module of lua/fcgi to the table at index module. */
static void add_lua_half(lua_State *L, const char *name, int module)
{
    require_half(L, name);
    lua_pushnil(L);
    while (lua_next(L, -2) != 0) {
        lua_pushvalue(L, -2); /* the name stays, for lua_next */
        lua_insert(L, -2);
        lua_rawset(L, module);
    }
    lua_pop(L, 1);
}

/* Adds to the module, on top of the stack, what tasks are. */
static void open_tasks(lua_State *L)
{
    int module = lua_gettop(L);

    require_half(L, "fcgi.tasks");
    lua_rawgeti(L, LUA_REGISTRYINDEX, script_of(L)->private);
    lua_pushvalue(L, module);
    lua_task_open(L);
    lua_insert(L, -2);
    lua_call(L, 2, 0);
}

/* Programs are run by few scripts: what that takes is loaded when it is used.
 */
static void open_processes(lua_State *L)
{
    int module = lua_gettop(L);

    require_half(L, "fcgi.lazy");
    lua_pushvalue(L, module);
    lua_pushliteral(L, "fcgi.process");
    lua_pushcfunction(L, lua_process_open);
    lua_pushliteral(L, "run");
    lua_pushliteral(L, "popen");
    lua_call(L, 5, 0);
}

/* The same for what sockets are. */
static void open_sockets(lua_State *L)
{
    int module = lua_gettop(L);

    require_half(L, "fcgi.connect");
    lua_pushvalue(L, module);
    lua_rawgeti(L, LUA_REGISTRYINDEX, script_of(L)->private);
    luaL_setfuncs(L, lua_system, 0);
    lua_socket_open(L);
    lua_call(L, 2, 0);
}

void lua_fcgi_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        { "sleep", l_sleep },         { "now", l_now }, { "log", l_log },
        { "cancelled", l_cancelled }, { NULL, NULL },
    };

    luaL_newlib(L, functions);
    luaL_setfuncs(L, lua_tools, 0);
    luaL_setfuncs(L, lua_worker, 0);
    luaL_setfuncs(L, lua_ready, 0);
    lua_metrics_open(L);
    lua_resolve_open(L);
    lua_pushvalue(L, -1);
    script_of(L)->module = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pushliteral(L, FCGI_LUA_VERSION);
    lua_setfield(L, -2, "version");
    push_args(L);
    lua_pushvalue(L, -1);
    lua_setglobal(L, "arg");
    lua_setfield(L, -2, "args");
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_pushvalue(L, -2);
    lua_setfield(L, -2, "fcgi");
    lua_pop(L, 1);
    lua_newtable(L);
    luaL_setfuncs(L, lua_ngx, 0);
    lua_udp_open(L);
    script_of(L)->private = luaL_ref(L, LUA_REGISTRYINDEX);
    add_lua_half(L, "fcgi.tools", lua_gettop(L));
    open_tasks(L);
    open_sockets(L);
    open_processes(L);
    lua_pop(L, 1);

    lua_pushcfunction(L, l_print);
    lua_setglobal(L, "print");
    replace_stdout(L);
}
