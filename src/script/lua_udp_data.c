/* lua_udp_data.c -- how tasks send and receive datagrams: see lua_udp.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "script/lua_stream.h"
#include "script/lua_udp.h"
#include "script/wait.h"

#include <errno.h>
#include <math.h>

/* The stacks of a send and of a receive. */
enum { AT_SELF = 1, AT_BYTES, AT_HOST, AT_PORT, AT_STARTED, AT_CLOSINGS };
enum { AT_SIZE = AT_BYTES, AT_WITH_PEER = AT_HOST };

/* --- waiting -------------------------------------------------------------- */

static bool was_closed(lua_State *L, const struct lua_udp *self)
{
    return (unsigned)lua_tointeger(L, AT_CLOSINGS) != self->closings;
}

/* Notes when a call began, and of which descriptor it is. */
static void begin(lua_State *L, const struct lua_udp *self)
{
    lua_settop(L, AT_PORT);
    lua_pushnumber(L, loop_now());
    lua_pushinteger(L, self->closings);
}

/* Seconds that are left; negative: no limit. */
static double left(lua_State *L, const struct lua_udp *self)
{
    double limit = self->limit;

    if (self->total >= 0 && (limit < 0 || self->total < limit))
        limit = self->total;
    if (limit <= 0)
        return limit;
    return fmax(lua_tonumber(L, AT_STARTED) + limit - loop_now(), 0);
}

static int wait_in(lua_State *L, const struct lua_udp *self, struct list *list,
                   lua_KFunction k)
{
    double seconds = left(L, self);

    if (seconds == 0)
        return lua_stream_fail(L, "timeout");
    return task_wait_in(L, list, seconds, 0, k);
}

/* --- sending -------------------------------------------------------------- */

static int send_k(lua_State *L, int status, lua_KContext ctx);

/* Sends, or waits until it can; the call has begun.  `to` is NULL, or what is
 * kept at AT_HOST if it was not sent at once. */
static int send_or_wait(lua_State *L, struct lua_udp *self,
                        const struct endpoint *to)
{
    struct slice bytes;

    if (!list_is_empty(&self->writers))
        return lua_stream_fail(L, "socket busy writing");
    bytes.data = lua_tolstring(L, AT_BYTES, &bytes.len);
    switch (datagram_send(self->datagram, bytes, to)) {
    case DATAGRAM_DONE:
        return lua_udp_push_one(L);
    case DATAGRAM_FAILED:
        return lua_udp_fail(L, errno);
    case DATAGRAM_WAIT:
        break;
    }
    if (to != NULL && !lua_isuserdata(L, AT_HOST)) {
        struct endpoint *kept = lua_newuserdatauv(L, sizeof(*kept), 0);

        *kept = *to;
        lua_replace(L, AT_HOST);
        if (was_closed(L, self)) /* by a finalizer */
            return lua_stream_fail(L, "closed");
    }
    return wait_in(L, self, &self->writers, send_k);
}

static int send_k(lua_State *L, int status, lua_KContext ctx)
{
    struct lua_udp *self = lua_touserdata(L, AT_SELF);

    (void)status;
    (void)ctx;
    if (was_closed(L, self))
        return lua_stream_fail(L, "closed");
    return send_or_wait(L, self, lua_touserdata(L, AT_HOST));
}

/* A string, a number, or nested lists of them. */
static void check_bytes(lua_State *L)
{
    if (lua_istable(L, AT_BYTES))
        lua_stream_join(L);
    else
        luaL_checkstring(L, AT_BYTES);
}

/* What is not open was closed, or has nobody to speak with yet. */
static int fail_unopened(lua_State *L, const struct lua_udp *self)
{
    return lua_stream_fail(L, self->closings > 0 ? "closed" : "not connected");
}

/* udp:send(text or list) -> 1 | nil, err */
int lua_udp_send(lua_State *L)
{
    struct lua_udp *self = lua_udp_check(L);

    lua_settop(L, AT_BYTES);
    check_bytes(L);
    if (lua_udp_fd(self) == -1)
        return fail_unopened(L, self);
    begin(L, self);
    return send_or_wait(L, self, NULL);
}

/* udp:sendto(text or list, host, port) -> 1 | nil, err */
int lua_udp_sendto(lua_State *L)
{
    struct lua_udp *self = lua_udp_check(L);
    struct endpoint to;
    int error;

    lua_settop(L, AT_PORT);
    check_bytes(L);
    error = lua_udp_read_endpoint(L, self, AT_HOST, &to);
    if (error == LUA_UDP_IS_NAME)
        return lua_udp_look_up(L, "sendto", AT_HOST);
    if (error != LUA_UDP_OK)
        return lua_udp_fail(L, error);
    begin(L, self);
    return send_or_wait(L, self, &to);
}

/* --- receiving ------------------------------------------------------------ */

static int receive_k(lua_State *L, int status, lua_KContext ctx)
{
    struct lua_udp *self = lua_touserdata(L, AT_SELF);
    bool with_peer = lua_toboolean(L, AT_WITH_PEER);
    char room[DATAGRAM_MAX];
    struct endpoint from;
    size_t len;

    (void)status;
    (void)ctx;
    if (was_closed(L, self))
        return lua_stream_fail(L, "closed");
    if (!list_is_empty(&self->readers))
        return lua_stream_fail(L, "socket busy reading");
    switch (datagram_receive(self->datagram, room,
                             (size_t)lua_tointeger(L, AT_SIZE),
                             left(L, self) == 0, &len, &from)) {
    case DATAGRAM_DONE:
        lua_pushlstring(L, room, len);
        if (!with_peer)
            return 1;
        lua_udp_push_endpoint(L, &from);
        return 3;
    case DATAGRAM_WAIT:
        return wait_in(L, self, &self->readers, receive_k);
    case DATAGRAM_FAILED:
        break;
    }
    return lua_udp_fail(L, errno);
}

static int receive(lua_State *L, bool with_peer)
{
    struct lua_udp *self = lua_udp_check(L);
    lua_Integer size = luaL_optinteger(L, AT_SIZE, DATAGRAM_MAX);

    luaL_argcheck(L, size >= 0, AT_SIZE, "not a size");
    if (lua_udp_fd(self) == -1)
        return fail_unopened(L, self);
    lua_settop(L, AT_SELF);
    lua_pushinteger(L, size < DATAGRAM_MAX ? size : DATAGRAM_MAX);
    lua_pushboolean(L, with_peer);
    begin(L, self);
    return receive_k(L, LUA_OK, 0);
}

/* udp:receive([size]) -> text | nil, err */
int lua_udp_receive(lua_State *L)
{
    return receive(L, false);
}

/* udp:receivefrom([size]) -> text, address, port | nil, err */
int lua_udp_receivefrom(lua_State *L)
{
    return receive(L, true);
}
