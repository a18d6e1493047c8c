/* lua_socket_layer.c -- what a layer of TLS needs of the socket below it: see
 * lua_stream.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "script/lua_socket.h"
#include "script/wait.h"

#include <math.h>

/* The stack of what waits. */
enum { AT_MODE = 2, AT_SECONDS, AT_STARTED, AT_CLOSINGS };

/* Seconds that are left; negative: no limit. */
static double left(lua_State *L)
{
    double seconds = lua_tonumber(L, AT_SECONDS);

    if (lua_isnil(L, AT_SECONDS) || seconds < 0)
        return -1;
    return fmax(seconds + lua_tonumber(L, AT_STARTED) - loop_now(), 0);
}

/* set_raw(socket, bool): nothing is received into the buffer, and wait_raw
 * works */
static int l_set_raw(lua_State *L)
{
    struct lua_socket *self = lua_socket_check(L);

    if (self->io.stream != NULL)
        stream_set_raw(self->io.stream, lua_toboolean(L, 2));
    return 0;
}

/* set_tls(socket, object or nil): see lua_stream.h; the socket becomes raw */
static int l_set_tls(lua_State *L)
{
    struct lua_socket *self = lua_socket_check(L);

    lua_settop(L, 2);
    self->io.has_tls = self->io.stream != NULL && !lua_isnil(L, 2);
    if (self->io.stream != NULL)
        stream_set_raw(self->io.stream, self->io.has_tls);
    lua_setiuservalue(L, 1, LUA_STREAM_TLS);
    return 0;
}

/* tls_of(socket) -> what set_tls has set | nil */
static int l_tls_of(lua_State *L)
{
    const struct lua_socket *self = lua_socket_check(L);

    if (self->io.has_tls)
        lua_getiuservalue(L, 1, LUA_STREAM_TLS);
    else
        lua_pushnil(L);
    return 1;
}

static int raw_k(lua_State *L, int status, lua_KContext ctx)
{
    const struct lua_socket *self = lua_touserdata(L, 1);

    (void)status;
    (void)ctx;
    if (self->io.stream == NULL ||
        (unsigned)lua_tointeger(L, AT_CLOSINGS) != self->io.closings)
        return lua_stream_fail(L, "closed");
    if (left(L) == 0)
        return lua_stream_fail(L, "timeout");
    lua_pushboolean(L, 1);
    return 1;
}

/* wait_raw(socket, "r" | "w" | "rw"[, seconds[, "r" | "w"]]) -> true | nil,
 * "timeout" or "closed"; it may say true too early */
static int l_wait_raw(lua_State *L)
{
    struct lua_socket *self = lua_socket_check(L);
    const char *mode = luaL_checkstring(L, 2);
    double seconds = lua_stream_check_limit(L, 3);
    const char *side = luaL_optstring(L, 4, "");
    struct list *waiters = *side == 'r'   ? &self->io.readers
                           : *side == 'w' ? &self->io.writers
                                          : &self->io.raw_waiters;

    lua_settop(L, 3);
    if (!lua_stream_is_up(&self->io))
        return lua_stream_fail(L, "closed");
    if (seconds == 0)
        return lua_stream_fail(L, "timeout");
    task_begin_wait(L);
    if (strchr(mode, 'r') != NULL)
        stream_await(self->io.stream, STREAM_IN);
    if (strchr(mode, 'w') != NULL)
        stream_await(self->io.stream, STREAM_OUT);
    lua_pushnumber(L, loop_now());
    lua_pushinteger(L, self->io.closings);
    return task_wait_in(L, waiters, seconds, 0, raw_k);
}

/* busy(socket) -> what another task does with it | nil */
static int l_busy(lua_State *L)
{
    const struct lua_socket *self = lua_socket_check(L);

    if (!list_is_empty(&self->io.readers))
        lua_pushliteral(L, "socket busy reading");
    else if (!list_is_empty(&self->io.writers))
        lua_pushliteral(L, "socket busy writing");
    else
        lua_pushnil(L);
    return 1;
}

const luaL_Reg lua_socket_layering[] = {
    { "busy", l_busy },         { "set_raw", l_set_raw },
    { "set_tls", l_set_tls },   { "tls_of", l_tls_of },
    { "wait_raw", l_wait_raw }, { NULL, NULL },
};
