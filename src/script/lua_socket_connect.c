/* lua_socket_connect.c -- connecting sockets, one attempt at a time: the rest
 * is in lua/fcgi/connect.lua.
 *
 * SPDX-License-Identifier: MIT
 */
#include "script/lua_socket.h"
#include "script/socket_error.h"
#include "script/wait.h"

#include <errno.h>

/* The stack of a connect. */
enum { AT_SELF = 1, AT_HOST, AT_PORT, AT_SECONDS, AT_STARTED, AT_CLOSINGS };

static double left(lua_State *L, const struct lua_socket *self)
{
    double started = lua_tonumber(L, AT_STARTED), seconds;

    if (lua_isnil(L, AT_SECONDS))
        return lua_stream_left(&self->io, LUA_STREAM_CONNECT, started);
    seconds = started + lua_tonumber(L, AT_SECONDS) - loop_now();
    return seconds > 0 ? seconds : 0;
}

/* With no time at all it goes on, and whoever waits for the socket to be
 * writable may ask again, as with LuaSocket. */
static int give_up(lua_State *L, struct lua_socket *self)
{
    if (!lua_isnil(L, AT_SECONDS) ||
        (self->io.limits[LUA_STREAM_CONNECT] != 0 && self->io.total != 0))
        stream_close(self->io.stream);
    return lua_stream_fail(L, "timeout");
}

static int connect_k(lua_State *L, int status, lua_KContext ctx)
{
    struct lua_socket *self = lua_touserdata(L, AT_SELF);
    enum stream_result result;
    double seconds;

    (void)status;
    (void)ctx;
    if (self->io.stream == NULL ||
        (unsigned)lua_tointeger(L, AT_CLOSINGS) != self->io.closings)
        return lua_stream_fail(L, "closed");
    result = stream_connected(self->io.stream);
    if (result == STREAM_DONE) {
        self->kind = LUA_SOCKET_CLIENT;
        return lua_socket_push_one(L);
    }
    if (result != STREAM_WAIT)
        return lua_stream_fail_with(L, &self->io, result);
    if (!list_is_empty(&self->io.writers))
        return lua_stream_fail(L, "socket busy connecting");
    seconds = left(L, self);
    if (seconds == 0)
        return give_up(L, self);
    return task_wait_in(L, &self->io.writers, seconds, 0, connect_k);
}

/* Reads where to connect: an address and a port, or the path of a unix socket.
 */
static const char *read_endpoint(lua_State *L, struct lua_socket *self,
                                 struct endpoint *to)
{
    const char *host = luaL_checkstring(L, AT_HOST);
    lua_Integer port = luaL_optinteger(L, AT_PORT, 0);

    luaL_argcheck(L, port >= 0 && port <= UINT16_MAX, AT_PORT, "not a port");
    if (lua_isnoneornil(L, AT_PORT))
        return endpoint_unix(to, host) ? NULL : socket_error(ENAMETOOLONG);
    luaL_argcheck(L, endpoint_ip(to, host, (uint16_t)port), AT_HOST,
                  "not an address");
    if (self->family != AF_UNSPEC && to->as.any.sa_family != self->family)
        return socket_error(EAFNOSUPPORT);
    return NULL;
}

bool lua_socket_make(lua_State *L, struct lua_socket *self, int family)
{
    int status;

    if (stream_fd(self->io.stream) != -1)
        return true; /* it was bound */
    status = stream_open(self->io.stream, family);
    if (status == -1 && errno == EMFILE) {
        lua_gc(L, LUA_GCCOLLECT, 0);
        if (self->io.stream == NULL) { /* a finalizer has closed it */
            errno = EBADF;
            return false;
        }
        status = stream_open(self->io.stream, family);
    }
    return status == 0 && lua_socket_apply(self) == 0;
}

/* An option may be one that the new socket cannot have. */
static int fail_to_open(lua_State *L, struct lua_socket *self)
{
    int error = errno;

    if (self->io.stream != NULL)
        stream_close(self->io.stream);
    return lua_stream_fail(L, socket_error(error));
}

static bool is_same(const struct endpoint *a, const struct endpoint *b)
{
    return a->len == b->len && memcmp(&a->as, &b->as, a->len) == 0;
}

/* connect_address(socket, address or path[, port[, seconds]]) -> 1 | nil, err:
 * one attempt; without a port the first is a path */
static int l_connect_address(lua_State *L)
{
    struct lua_socket *self = lua_socket_check(L);
    struct endpoint to;
    const char *wrong = read_endpoint(L, self, &to);
    bool goes_on;

    luaL_argcheck(L,
                  lua_isnoneornil(L, AT_SECONDS) ||
                      luaL_checknumber(L, AT_SECONDS) >= 0,
                  AT_SECONDS, "not a number of seconds");
    lua_settop(L, AT_SECONDS);
    if (wrong != NULL)
        return lua_stream_fail(L, wrong);
    lua_stream_need(L, &self->io);
    if (!task_can_wait(L))
        task_begin_wait(L); /* raises, before anything was begun */
    if (lua_stream_is_up(&self->io))
        return lua_stream_fail(L, "already connected");
    goes_on = stream_is_connecting(self->io.stream);
    if (goes_on && !list_is_empty(&self->io.writers))
        return lua_stream_fail(L, "socket busy connecting");
    if (goes_on && !is_same(&self->to, &to)) {
        stream_close(self->io.stream);
        goes_on = false;
    }
    self->to = to;
    if (!goes_on && !lua_socket_make(L, self, to.as.any.sa_family))
        return fail_to_open(L, self);
    if (!goes_on)
        stream_connect(self->io.stream, &to);
    lua_pushnumber(L, loop_now());
    lua_pushinteger(L, self->io.closings);
    return connect_k(L, LUA_OK, 0);
}

/* is_address(text): is it numeric? */
static int l_is_address(lua_State *L)
{
    struct endpoint endpoint;

    lua_pushboolean(L, endpoint_ip(&endpoint, luaL_checkstring(L, 1), 0));
    return 1;
}

/* is_socket(value) */
static int l_is_socket(lua_State *L)
{
    luaL_checkany(L, 1);
    lua_pushboolean(L, lua_socket_test(L) != NULL);
    return 1;
}

/* state_of(socket) -> 4 or 6 or nil, the family that it may have; a number that
 * changes when it is closed */
static int l_state_of(lua_State *L)
{
    const struct lua_socket *self = lua_socket_check(L);

    if (self->family == AF_INET || self->family == AF_INET6)
        lua_pushinteger(L, self->family == AF_INET ? 4 : 6);
    else
        lua_pushnil(L);
    lua_pushinteger(L, self->io.closings);
    return 2;
}

/* connect_limit(socket) -> the seconds that a connect may take, or nil */
static int l_connect_limit(lua_State *L)
{
    const struct lua_socket *self = lua_socket_check(L);
    double limit = self->io.limits[LUA_STREAM_CONNECT];

    if (self->io.total >= 0 && (limit < 0 || self->io.total < limit))
        limit = self->io.total;
    if (limit < 0)
        luaL_pushfail(L);
    else
        lua_pushnumber(L, limit);
    return 1;
}

const luaL_Reg lua_socket_connecting[] = {
    { "connect_address", l_connect_address },
    { "connect_limit", l_connect_limit },
    { "is_address", l_is_address },
    { "is_socket", l_is_socket },
    { "state_of", l_state_of },
    { NULL, NULL },
};
