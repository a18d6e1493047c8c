/* lua_pool.c -- what scripts, and lua/fcgi/connect.lua, do with pools of
 * connections: see socket_pool.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "script/lua_pool.h"

#include "core/limits.h"
#include "script/errors.h"
#include "script/socket_pool.h"
#include "script/wait.h"

#include <limits.h>
#include <math.h>
#include <string.h>

enum { TICKET_MAGIC = 0x7469636b };

/* --- methods of sockets --------------------------------------------------- */

/* Why the connection cannot be put into a pool, or NULL; *closes: it is of no
 * use to anybody. */
static const char *find_obstacle(lua_State *L, const struct lua_socket *self,
                                 bool *closes)
{
    *closes = false;
    if (!lua_stream_is_up(&self->io) || self->kind != LUA_SOCKET_CLIENT)
        return "closed";
    if (!list_is_empty(&self->io.readers) ||
        !list_is_empty(&self->io.raw_waiters))
        return "socket busy reading";
    if (!list_is_empty(&self->io.writers))
        return "socket busy writing";
    *closes = true;
    if (stream_input(self->io.stream).len > 0 ||
        (self->io.has_tls && lua_socket_ask_tls(L, "dirty")))
        return "unread data in buffer";
    if (self->io.has_tls && lua_socket_ask_tls(L, "is_broken"))
        return "closed";
    return NULL;
}

static unsigned check_count(lua_State *L, int index, unsigned otherwise,
                            lua_Integer least)
{
    lua_Integer count = luaL_optinteger(L, index, otherwise);

    luaL_argcheck(L, count >= least && count <= INT_MAX / 2, index,
                  "not a number of connections");
    return (unsigned)count;
}

/* sock:setkeepalive([seconds[, size]]) -> 1 | nil, err */
int lua_pool_setkeepalive(lua_State *L)
{
    struct lua_socket *self = lua_socket_check(L);
    double seconds = luaL_optnumber(L, 2, POOL_IDLE);
    unsigned size = check_count(L, 3, POOL_SIZE, 1);
    struct socket_pool *pool;
    const char *why;
    bool closes;

    luaL_argcheck(L, seconds >= 0, 2, "not a number of seconds");
    lua_settop(L, 1);
    why = find_obstacle(L, self, &closes);
    if (why == NULL && script_of(L)->is_closing) {
        why = "closed"; /* so are the pools */
        closes = true;
    }
    if (why != NULL) {
        if (closes)
            lua_socket_close(L, self);
        return lua_stream_fail(L, why);
    }
    if (lua_getiuservalue(L, 1, LUA_SOCKET_POOL) != LUA_TSTRING)
        return lua_stream_fail(L, "no pool");
    pool = socket_pool_find(L, 2); /* stays on the stack */
    if (pool == NULL)
        pool = socket_pool_make(L, 2, size);
    why = socket_pool_put(L, pool, self, seconds > 0 ? seconds : INFINITY);
    if (why != NULL)
        return lua_stream_fail(L, why);
    return lua_socket_push_one(L);
}

/* sock:getreusedtimes() -> how often the connection was taken from a pool |
 * nil, "closed" */
int lua_pool_getreusedtimes(lua_State *L)
{
    const struct lua_socket *self = lua_socket_check(L);

    if (!lua_stream_is_up(&self->io))
        return lua_stream_fail(L, "closed");
    lua_pushinteger(L, self->reused);
    return 1;
}

/* --- for connect.lua ------------------------------------------------------ */

static bool is_in_use(const struct lua_socket *self)
{
    return lua_stream_is_up(&self->io) || self->pool != NULL ||
           (self->io.stream != NULL && stream_is_connecting(self->io.stream));
}

/* Raises because an option of a connect is of no use. */
static int bad_option(lua_State *L, const char *option, const char *expected,
                      int index)
{
    errors_push_where(L);
    lua_pushfstring(L, "bad option '%s' (%s expected, got %s)", option,
                    expected, luaL_tolstring(L, index, NULL));
    lua_remove(L, -2); /* the value as text */
    lua_concat(L, 2);
    return lua_error(L);
}

/* An option at index that is a number of connections, or none. */
static unsigned check_option(lua_State *L, int index, const char *option,
                             unsigned otherwise, lua_Integer least)
{
    lua_Integer count = otherwise;

    if (lua_isnoneornil(L, index))
        return otherwise;
    if (lua_isinteger(L, index))
        count = lua_tointeger(L, index);
    if (!lua_isinteger(L, index) || count < least || count > INT_MAX / 2)
        bad_option(L, option, "a number of connections", index);
    return (unsigned)count;
}

/* Notes the pool in which the next connection of a socket is to lie: that of
 * the name at index 2, or none. */
static void note_name(lua_State *L, struct lua_socket *self)
{
    if (lua_type(L, 2) == LUA_TSTRING)
        lua_pushvalue(L, 2);
    else
        lua_pushnil(L);
    lua_setiuservalue(L, 1, LUA_SOCKET_POOL);
    self->reused = 0;
}

/* pool_take(socket, name[, size[, backlog]]) -> true | nil | false | nil, err;
 * the name false: none */
static int l_pool_take(lua_State *L)
{
    struct lua_socket *self = lua_socket_check(L);
    unsigned size = check_option(L, 3, "pool_size", POOL_SIZE, 1);
    unsigned backlog = check_option(L, 4, "backlog", 0, 0);
    bool is_limited = !lua_isnoneornil(L, 4);
    struct socket_pool *pool;

    if (lua_type(L, 2) != LUA_TSTRING &&
        (!lua_isboolean(L, 2) || lua_toboolean(L, 2)))
        return bad_option(L, "pool", "a name", 2);
    lua_settop(L, 4);
    if (!self->has_pools)
        return 0;
    if (!list_is_empty(&self->io.writers))
        return lua_stream_fail(L, "socket busy connecting");
    if (lua_stream_is_up(&self->io))
        return 0; /* connect_address says so */
    note_name(L, self);
    if (is_in_use(self) || lua_isboolean(L, 2))
        return 0; /* connect_address goes on, or connects to another place */
    pool = socket_pool_find(L, 2);
    if (pool == NULL && (is_limited || !lua_isnil(L, 3))) {
        pool = socket_pool_make(L, 2, size);
        pool->is_limited = is_limited;
        pool->backlog = backlog;
    }
    if (pool == NULL || (pool->idle_count == 0 && !pool->is_limited))
        return 0;
    if (pool->idle_count > 0 && socket_pool_has_place(pool)) {
        socket_pool_take(L, pool, 1);
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_pushboolean(L, 0);
    return 1;
}

/* Is the option of fcgi.connect on top of the stack, with its name below,
 * sound and simple?  *seconds becomes that of timeout. */
static bool is_plain(lua_State *L, double *seconds)
{
    const char *name =
        lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";

    if (strcmp(name, "timeout") == 0) {
        *seconds = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : -1;
        return *seconds >= 0;
    }
    if (strcmp(name, "pool_size") == 0 || strcmp(name, "backlog") == 0)
        return lua_isinteger(L, -1) && lua_tointeger(L, -1) >= 1;
    return strcmp(name, "pool") != 0;
}

static bool are_plain(lua_State *L, int options, double *seconds)
{
    *seconds = -1;
    if (lua_isnil(L, options))
        return true;
    if (!lua_istable(L, options) || lua_getmetatable(L, options))
        return false;
    lua_pushnil(L);
    while (lua_next(L, options) != 0) {
        if (!is_plain(L, seconds))
            return false;
        lua_pop(L, 1);
    }
    return true;
}

static bool is_ready(const struct socket_pool *pool)
{
    return pool != NULL && pool->idle_count > 0 && socket_pool_has_place(pool);
}

/* pool_connect(address[, options]) -> socket | nothing: the short way to a
 * connection that lies in its pool */
static int l_pool_connect(lua_State *L)
{
    struct lua_socket *sock;
    struct socket_pool *pool;
    double seconds;

    lua_settop(L, 2);
    if (lua_type(L, 1) != LUA_TSTRING || !are_plain(L, 2, &seconds))
        return 0;
    pool = socket_pool_find(L, 1);
    if (!is_ready(pool))
        return 0;
    sock = lua_socket_push(L, LUA_SOCKET_CLASS, AF_UNSPEC);
    if (!is_ready(pool)) /* a finalizer was faster */
        return 0;
    sock->has_pools = true;
    if (seconds >= 0)
        lua_stream_set_limit(&sock->io, seconds, false);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, LUA_SOCKET_POOL);
    socket_pool_take(L, pool, lua_gettop(L));
    return 1;
}

/* A userdata; user value 1 anchors its socket. */
struct ticket {
    unsigned magic;
    struct socket_ticket in; /* in.pool is NULL when it was used, or closed */
    bool is_used;            /* for a place that the socket has now */
    unsigned closings;       /* of the socket before */
};

static struct ticket *check_ticket(lua_State *L)
{
    struct ticket *ticket = lua_touserdata(L, 1);

    luaL_argcheck(L,
                  ticket != NULL && lua_rawlen(L, 1) == sizeof(*ticket) &&
                      ticket->magic == TICKET_MAGIC,
                  1, "not a ticket");
    return ticket;
}

/* A place that was not used, or a connection that did not come about, is for
 * the next one. */
static int close_ticket(lua_State *L)
{
    struct ticket *ticket = check_ticket(L);
    struct socket_pool *pool = ticket->in.pool;

    ticket->in.pool = NULL;
    if (pool != NULL && ticket->in.is_granted) {
        pool->granted--;
        socket_pool_grant(pool);
    } else if (pool != NULL) {
        list_remove(&ticket->in.link);
        pool->waiting_count--;
    }
    if (ticket->is_used && !lua_stream_is_up(&ticket->in.sock->io))
        socket_pool_leave(ticket->in.sock);
    ticket->is_used = false;
    return 0;
}

static struct ticket *push_ticket(lua_State *L, struct lua_socket *sock)
{
    struct ticket *ticket = lua_newuserdatauv(L, sizeof(*ticket), 1);

    *ticket = (struct ticket){ .magic = TICKET_MAGIC,
                               .in.sock = sock,
                               .closings = sock->io.closings };
    list_init(&ticket->in.link);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1);
    lua_createtable(L, 0, 2);
    lua_pushcfunction(L, close_ticket);
    lua_setfield(L, -2, "__close");
    lua_pushcfunction(L, close_ticket);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    return ticket;
}

/* pool_ticket(socket) -> ticket | nil, err */
static int l_pool_ticket(lua_State *L)
{
    struct lua_socket *self = lua_socket_check(L);
    struct socket_pool *pool;
    struct ticket *ticket;

    lua_settop(L, 1);
    ticket = push_ticket(L, self);
    lua_getiuservalue(L, 1, LUA_SOCKET_POOL);
    pool = socket_pool_find(L, -1);
    lua_settop(L, 2);
    if (pool == NULL)
        return lua_stream_fail(L, "no pool");
    if (socket_pool_has_place(pool)) {
        pool->granted++;
        ticket->in.is_granted = true;
    } else if (pool->waiting_count < pool->backlog) {
        list_append(&pool->waiting, &ticket->in.link);
        pool->waiting_count++;
    } else {
        return lua_stream_fail(L, "too many waiting connect operations");
    }
    ticket->in.pool = pool;
    return 1;
}

static int wait_k(lua_State *L, int status, lua_KContext ctx)
{
    struct ticket *ticket = check_ticket(L);
    struct socket_pool *pool = ticket->in.pool;
    struct lua_socket *sock = ticket->in.sock;

    (void)status;
    (void)ctx;
    if (sock->io.closings != ticket->closings)
        return lua_stream_fail(L, "closed");
    if (is_in_use(sock))
        return lua_stream_fail(L, "already connected");
    if (!ticket->in.is_granted)
        return lua_stream_fail(L, "timeout");
    pool->granted--;
    ticket->in.pool = NULL;
    ticket->is_used = true;
    if (pool->idle_count > 0) {
        lua_settop(L, 1);
        lua_getiuservalue(L, 1, 1);
        socket_pool_take(L, pool, 2);
        lua_pushboolean(L, 1);
        return 1;
    }
    socket_pool_enter(pool, sock);
    lua_pushboolean(L, 0);
    return 1;
}

/* pool_wait(ticket[, seconds]) -> true | false | nil, err */
static int l_pool_wait(lua_State *L)
{
    struct ticket *ticket = check_ticket(L);
    double seconds = lua_stream_check_limit(L, 2);

    if (ticket->in.is_granted || seconds == 0)
        return wait_k(L, LUA_OK, 0);
    return task_wait_in(L, &ticket->in.sock->io.writers, seconds, 0, wait_k);
}

const luaL_Reg lua_pool_functions[] = {
    { "pool_take", l_pool_take },
    { "pool_connect", l_pool_connect },
    { "pool_ticket", l_pool_ticket },
    { "pool_wait", l_pool_wait },
    { NULL, NULL },
};
