/* lua_socket_listen.c -- sockets that listen: LuaSocket's masters and servers.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/limits.h"
#include "script/lua_socket.h"
#include "script/socket_error.h"
#include "script/wait.h"

#include <errno.h>

/* The stack of an accept. */
enum { AT_SELF = 1, AT_CLIENT, AT_STARTED, AT_CLOSINGS };

/* "*" is every address. */
static const char *read_address(lua_State *L, const struct lua_socket *self,
                                struct endpoint *to)
{
    const char *host = luaL_checkstring(L, 2);
    lua_Integer port;

    if (lua_isnoneornil(L, 3) && strncmp(host, "unix:", 5) == 0)
        return endpoint_unix(to, host + 5) ? NULL : socket_error(ENAMETOOLONG);
    port = luaL_checkinteger(L, 3);
    luaL_argcheck(L, port >= 0 && port <= UINT16_MAX, 3, "not a port");
    if (strcmp(host, "*") == 0)
        host = self->family == AF_INET6 ? "::" : "0.0.0.0";
    luaL_argcheck(L, endpoint_ip(to, host, (uint16_t)port), 2,
                  "not an address");
    if (self->family != AF_UNSPEC && to->as.any.sa_family != self->family)
        return socket_error(EAFNOSUPPORT);
    return NULL;
}

/* sock:bind(address, port) or sock:bind("unix:/path") -> 1 | nil, err */
int lua_socket_bind(lua_State *L)
{
    struct lua_socket *self = lua_socket_check(L);
    struct endpoint to;
    const char *wrong = read_address(L, self, &to);

    if (wrong != NULL)
        return lua_stream_fail(L, wrong);
    lua_stream_need(L, &self->io);
    if (!lua_socket_make(L, self, to.as.any.sa_family) ||
        stream_bind(self->io.stream, &to) == -1)
        return lua_stream_fail(L, socket_error(errno));
    return lua_socket_push_one(L);
}

/* sock:listen([backlog]) -> 1 | nil, err */
int lua_socket_listen(lua_State *L)
{
    struct lua_socket *self = lua_socket_check(L);
    lua_Integer backlog = luaL_optinteger(L, 2, LISTEN_BACKLOG);

    luaL_argcheck(L, backlog >= 0 && backlog <= INT32_MAX, 2,
                  "not a number of connections");
    if (self->kind == LUA_SOCKET_CLIENT)
        return lua_stream_fail(L, socket_error(EISCONN));
    if (self->io.stream == NULL)
        return lua_stream_fail(L, "closed");
    if (stream_listen(self->io.stream, (int)backlog) == -1)
        return lua_stream_fail(L, socket_error(errno));
    self->kind = LUA_SOCKET_SERVER;
    return lua_socket_push_one(L);
}

static bool was_closed(lua_State *L, const struct lua_socket *self)
{
    return self->io.stream == NULL ||
           (unsigned)lua_tointeger(L, AT_CLOSINGS) != self->io.closings;
}

/* Where there are no descriptors the collector runs: see lua_socket_make. */
static enum stream_result take_next(lua_State *L, struct lua_socket *self,
                                    struct lua_socket *client)
{
    enum stream_result result =
        stream_accept(self->io.stream, client->io.stream);

    if (result != STREAM_FAILED || stream_error(self->io.stream) != EMFILE)
        return result;
    lua_gc(L, LUA_GCCOLLECT, 0);
    if (was_closed(L, self)) /* by a finalizer */
        return STREAM_END;
    return stream_accept(self->io.stream, client->io.stream);
}

static int accept_k(lua_State *L, int status, lua_KContext ctx)
{
    struct lua_socket *self = lua_touserdata(L, AT_SELF);
    struct lua_socket *client = lua_touserdata(L, AT_CLIENT);
    enum stream_result result;
    double seconds;

    (void)status;
    (void)ctx;
    if (was_closed(L, self))
        return lua_stream_fail(L, "closed");
    if (!list_is_empty(&self->io.readers))
        return lua_stream_fail(L, "socket busy reading");
    result = take_next(L, self, client);
    if (result == STREAM_DONE) {
        client->kind = LUA_SOCKET_CLIENT;
        lua_pushvalue(L, AT_CLIENT);
        return 1;
    }
    if (result != STREAM_WAIT)
        return lua_stream_fail_with(L, &self->io, result);
    seconds = lua_stream_left(&self->io, LUA_STREAM_RECEIVE,
                              lua_tonumber(L, AT_STARTED));
    if (seconds == 0)
        return lua_stream_fail(L, "timeout");
    return task_wait_in(L, &self->io.readers, seconds, 0, accept_k);
}

/* server:accept() -> socket | nil, err */
int lua_socket_accept(lua_State *L)
{
    struct lua_socket *self = lua_socket_check(L), *client;

    lua_settop(L, 1);
    if (self->io.stream == NULL || self->kind != LUA_SOCKET_SERVER)
        return lua_stream_fail(L, "closed");
    client = lua_socket_push(L, LUA_SOCKET_CLASS, AF_UNSPEC);
    lua_stream_need(L, &client->io);
    lua_pushnumber(L, loop_now());
    lua_pushinteger(L, self->io.closings);
    return accept_k(L, LUA_OK, 0);
}
