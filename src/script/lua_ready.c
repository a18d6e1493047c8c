/* lua_ready.c -- see lua_ready.h: waiting for a descriptor that a library of
 * the script has opened.
 *
 * SPDX-License-Identifier: MIT
 */
#include "script/lua_ready.h"

#include "script/lua_socket.h"
#include "script/wait.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <string.h>

/* The descriptor of a number, or of an object with getfd.  Negative ones are
 * closed: so LuaSocket's getfd says it. */
static int check_fd(lua_State *L)
{
    lua_Integer fd;
    int is_integer;

    if (lua_type(L, 1) == LUA_TNUMBER) {
        lua_pushvalue(L, 1);
    } else {
        if (!lua_istable(L, 1) && !lua_isuserdata(L, 1))
            return luaL_typeerror(L, 1, "descriptor");
        if (!lua_istable(L, 1) &&
            luaL_getmetafield(L, 1, "__index") == LUA_TNIL)
            return luaL_argerror(L, 1, "it has no getfd");
        lua_getfield(L, 1, "getfd");
        luaL_argcheck(L, !lua_isnil(L, -1), 1, "it has no getfd");
        lua_pushvalue(L, 1);
        lua_call(L, 1, 1);
    }
    fd = lua_tointegerx(L, -1, &is_integer);
    luaL_argcheck(L, is_integer, 1, "not a number of a descriptor");
    return fd < 0 || fd > INT_MAX ? -1 : (int)fd;
}

/* Has an object received more than was asked for?  Sockets of LuaSocket's kind
 * say so: what they hold their descriptor does not tell. */
static bool is_dirty(lua_State *L)
{
    bool is_dirty = false;

    if (lua_type(L, 1) == LUA_TNUMBER)
        return false;
    if (lua_getfield(L, 1, "dirty") == LUA_TFUNCTION) {
        lua_pushvalue(L, 1);
        lua_call(L, 1, 1);
        is_dirty = lua_toboolean(L, -1);
    }
    lua_settop(L, 3);
    return is_dirty;
}

static unsigned check_mode(lua_State *L)
{
    const char *mode = luaL_checkstring(L, 2);

    if (strcmp(mode, "r") == 0)
        return READY_READ;
    if (strcmp(mode, "w") == 0)
        return READY_WRITE;
    luaL_argcheck(L, strcmp(mode, "rw") == 0, 2, "not \"r\", \"w\" or \"rw\"");
    return READY_BOTH;
}

/* Negative: for as long as it takes. */
static double check_seconds(lua_State *L)
{
    double seconds;

    if (lua_isnoneornil(L, 3))
        return -1;
    seconds = luaL_checknumber(L, 3);
    luaL_argcheck(L, seconds >= 0, 3, "not a number of seconds");
    return isfinite(seconds) ? seconds : -1;
}

static int push_modes(lua_State *L, unsigned got)
{
    static const char *const names[] = {
        [READY_READ] = "r", [READY_WRITE] = "w", [READY_BOTH] = "rw"
    };

    lua_pushstring(L, names[got]);
    return 1;
}

static int push_failure(lua_State *L, const char *what)
{
    luaL_pushfail(L);
    lua_pushstring(L, what);
    return 2;
}

/* What there is to say when no wait is under way. */
static int push_status(lua_State *L, enum ready_status status, unsigned got)
{
    switch (status) {
    case READY_LATER:
        return push_failure(L, "timeout");
    case READY_NOW:
        return push_modes(L, got);
    case READY_CLOSED:
        return push_failure(L, "closed");
    case READY_FAILED:
        break;
    }
    return push_failure(L, strerror(errno));
}

static void on_ready(struct ready *ready)
{
    task_wake(list_entry(ready, struct task, ready));
}

static void time_has_passed(struct loop_timer *timer)
{
    task_wake(list_entry(timer, struct task, timer));
}

static void undo(struct task *task)
{
    ready_stop(&task->ready);
    loop_timer_stop(&task->timer);
}

static int waited_k(lua_State *L, int status, lua_KContext ctx)
{
    unsigned got = task_running(L)->ready.got;

    (void)status;
    (void)ctx;
    if (got == 0)
        return push_failure(L, "timeout");
    return got == READY_GONE ? push_failure(L, "closed") : push_modes(L, got);
}

/* fcgi.wait(fd or object, mode[, seconds]) -> mode | nil, "timeout" |
 * nil, "closed" */
static int l_wait(lua_State *L)
{
    struct script *script = script_of(L);
    enum ready_status status = READY_FAILED;
    unsigned mode, got;
    struct task *task;
    double seconds;
    int fd;

    lua_settop(L, 3);
    mode = got = check_mode(L);
    seconds = check_seconds(L);
    if (lua_socket_test(L) != NULL)
        return lua_socket_await(L, mode, seconds);
    fd = check_fd(L);
    lua_settop(L, 3);
    if (fd >= 0 && (mode & READY_READ) != 0 && is_dirty(L)) {
        if (ready_look(fd, mode, &got) != READY_NOW)
            got = READY_READ;
        return push_modes(L, (got | READY_READ) & mode);
    }
    if (seconds == 0) {
        status = ready_look(fd, mode, &got);
        return push_status(L, status, got);
    }
    task = task_begin_wait(L);
    if (script->readies == NULL)
        script->readies = readies_new(script->loop);
    if (script->readies != NULL)
        status = ready_start(script->readies, &task->ready, fd, mode, on_ready);
    if (status != READY_LATER)
        return push_status(L, status, got);
    if (seconds > 0)
        loop_timer_start(script->loop, &task->timer, seconds, time_has_passed);
    return task_yield(L, undo, 0, waited_k);
}

const luaL_Reg lua_ready[] = {
    { "wait", l_wait },
    { NULL, NULL },
};
