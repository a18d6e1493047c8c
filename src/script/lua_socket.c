/* lua_socket.c -- see lua_socket.h for the contract.  How sockets are read and
 * written is in lua_stream*.c.
 *
 * SPDX-License-Identifier: MIT
 */
#include "script/lua_socket.h"

#include "script/errors.h"
#include "script/lua_pool.h"
#include "script/socket_error.h"
#include "script/socket_pool.h"
#include "script/wait.h"

#include <errno.h>
#include <limits.h>
#include <unistd.h>

enum { SOCKET_MAGIC = 0x736f636b };

static bool is_class(lua_State *L, const void *metatable)
{
    const void *const *classes = script_of(L)->socket_classes;

    return metatable == classes[0] || metatable == classes[1] ||
           metatable == classes[2];
}

/* debug.setmetatable can lend the classes to anything. */
struct lua_socket *lua_socket_test(lua_State *L)
{
    struct lua_socket *self = lua_touserdata(L, 1);

    if (self != NULL && lua_getmetatable(L, 1)) {
        bool is_ours = is_class(L, lua_topointer(L, -1)) &&
                       lua_rawlen(L, 1) == sizeof(*self) &&
                       self->io.magic == SOCKET_MAGIC;

        lua_pop(L, 1);
        if (is_ours)
            return self;
    }
    return NULL;
}

struct lua_socket *lua_socket_check(lua_State *L)
{
    struct lua_socket *self = lua_socket_test(L);

    if (self == NULL)
        errors_bad_self(L, "socket", "sock"); /* raises */
    return self;
}

int lua_socket_push_one(lua_State *L)
{
    lua_pushinteger(L, 1); /* LuaSocket's yes */
    return 1;
}

struct lua_socket *lua_socket_push(lua_State *L, int class, int family)
{
    struct lua_socket *self =
        lua_newuserdatauv(L, sizeof(*self), LUA_SOCKET_POOL);

    *self = (struct lua_socket){ .kind = LUA_SOCKET_MASTER, .family = family };
    lua_stream_init(&self->io, SOCKET_MAGIC);
    lua_pushvalue(L, lua_upvalueindex(class));
    lua_setmetatable(L, -2);
    return self;
}

/* tcp([4 or 6[, has_pools]]) -> socket */
static int l_tcp(lua_State *L)
{
    lua_Integer version = luaL_optinteger(L, 1, 0);

    luaL_argcheck(L, version == 0 || version == 4 || version == 6, 1,
                  "4 or 6 expected");
    lua_socket_push(L, LUA_SOCKET_CLASS,
                    version == 4   ? AF_INET
                    : version == 6 ? AF_INET6
                                   : AF_UNSPEC)
        ->has_pools = lua_toboolean(L, 2);
    return 1;
}

/* unix() -> socket, whose methods are in unix_methods */
static int l_unix(lua_State *L)
{
    lua_socket_push(L, LUA_SOCKET_UNIX_CLASS, AF_UNIX);
    return 1;
}

/* ngx_tcp() -> socket, with the limits of time that OpenResty has */
static int l_ngx_tcp(lua_State *L)
{
    struct lua_socket *self =
        lua_socket_push(L, LUA_SOCKET_NGX_CLASS, AF_UNSPEC);

    self->has_pools = true;
    lua_stream_set_limit(&self->io, NGX_TIMEOUT, false);
    return 1;
}

/* --- reading and writing -------------------------------------------------- */

static int l_receive(lua_State *L)
{
    lua_socket_check(L);
    return lua_stream_receive(L);
}

/* As OpenResty has it: nothing is there at once. */
static int l_receive_bytes(lua_State *L)
{
    lua_socket_check(L);
    if (lua_isinteger(L, 2) && lua_tointeger(L, 2) == 0) {
        lua_pushliteral(L, "");
        return 1;
    }
    return lua_stream_receive(L);
}

static int l_receiveany(lua_State *L)
{
    lua_socket_check(L);
    return lua_stream_receive_any(L);
}

static int l_receiveuntil(lua_State *L)
{
    lua_socket_check(L);
    return lua_stream_receive_until(L);
}

static int l_send(lua_State *L)
{
    lua_socket_check(L);
    return lua_stream_send(L);
}

bool lua_socket_ask_tls(lua_State *L, const char *question)
{
    bool answer;

    lua_getiuservalue(L, 1, LUA_STREAM_TLS);
    if (lua_getfield(L, -1, question) != LUA_TFUNCTION) {
        lua_pop(L, 2);
        return false;
    }
    lua_insert(L, -2);
    lua_call(L, 1, 1);
    answer = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return answer;
}

/* sock:dirty() -> are bytes there that were not asked for? */
static int l_dirty(lua_State *L)
{
    const struct lua_socket *self = lua_socket_check(L);
    bool is_dirty =
        lua_stream_is_open(&self->io) && stream_input(self->io.stream).len > 0;

    if (!is_dirty && self->io.has_tls)
        is_dirty = lua_socket_ask_tls(L, "dirty");
    lua_pushboolean(L, is_dirty);
    return 1;
}

/* --- time ----------------------------------------------------------------- */

/* sock:settimeout([seconds[, mode]]): "b" limits each wait, "t" the call */
static int l_settimeout(lua_State *L)
{
    struct lua_socket *self = lua_socket_check(L);
    double seconds = lua_stream_check_limit(L, 2);
    const char *mode = luaL_optstring(L, 3, "b");

    luaL_argcheck(L, *mode == 'b' || *mode == 't' || *mode == 'r', 3,
                  "invalid timeout mode");
    lua_stream_set_limit(&self->io, seconds, *mode != 'b');
    return lua_socket_push_one(L);
}

/* sock:settimeouts(connect, send, receive) */
static int l_settimeouts(lua_State *L)
{
    struct lua_socket *self = lua_socket_check(L);
    double limits[LUA_STREAM_LIMITS];

    for (int i = 0; i < LUA_STREAM_LIMITS; i++)
        limits[i] = lua_stream_check_limit(L, 2 + i);
    memcpy(self->io.limits, limits, sizeof(limits));
    return lua_socket_push_one(L);
}

/* sock:gettimeout() -> seconds of a wait to receive, of a call; -1: no limit */
static int l_gettimeout(lua_State *L)
{
    const struct lua_socket *self = lua_socket_check(L);

    lua_pushnumber(L, self->io.limits[LUA_STREAM_RECEIVE]);
    lua_pushnumber(L, self->io.total);
    return 2;
}

/* --- the end -------------------------------------------------------------- */

/* The object of TLS may say goodbye first, but not wait.  What it raises is
 * nobody's: the socket closes in any case. */
static void close_tls(lua_State *L, struct lua_socket *self)
{
    if (!self->io.has_tls)
        return;
    self->io.has_tls = false;
    lua_getiuservalue(L, 1, LUA_STREAM_TLS);
    lua_pushnil(L);
    lua_setiuservalue(L, 1, LUA_STREAM_TLS);
    if (luaL_getmetafield(L, -1, "__index") == LUA_TTABLE &&
        lua_getfield(L, -1, "close") == LUA_TFUNCTION) {
        lua_pushvalue(L, -3);
        lua_pcall(L, 1, 0, 0);
    }
    lua_settop(L, 1);
}

void lua_socket_close(lua_State *L, struct lua_socket *self)
{
    lua_settop(L, 1);
    close_tls(L, self);
    lua_stream_close(&self->io);
    socket_pool_leave(self);
}

static int l_close(lua_State *L)
{
    lua_socket_close(L, lua_socket_check(L));
    return lua_socket_push_one(L);
}

static int l_gc(lua_State *L)
{
    struct lua_socket *self = lua_socket_check(L);

    lua_settop(L, 1);
    close_tls(L, self);
    lua_stream_free(&self->io);
    socket_pool_leave(self);
    return 0;
}

/* sock:shutdown(["both" | "send" | "receive"]) -> 1 | nil, err */
static int l_shutdown(lua_State *L)
{
    static const char *const names[] = { "receive", "send", "both", NULL };
    static const int hows[] = { SHUT_RD, SHUT_WR, SHUT_RDWR };
    struct lua_socket *self = lua_socket_check(L);
    int how = hows[luaL_checkoption(L, 2, "both", names)];

    if (self->io.stream == NULL)
        return lua_stream_fail(L, "closed");
    if (stream_shutdown(self->io.stream, how) == -1)
        return lua_stream_fail(L, socket_error(errno));
    return lua_socket_push_one(L);
}

static int l_getfd(lua_State *L)
{
    const struct lua_socket *self = lua_socket_check(L);

    lua_pushinteger(L,
                    self->io.stream == NULL ? -1 : stream_fd(self->io.stream));
    return 1;
}

/* sock:setfd(fd): the socket lets go of its descriptor, and takes that one
 * unless it is -1 -> 1 | nil, err */
static int l_setfd(lua_State *L)
{
    struct lua_socket *self = lua_socket_check(L);
    lua_Integer number = luaL_checkinteger(L, 2);
    int fd = number < 0 ? -1 : (int)number;

    luaL_argcheck(L, number <= INT_MAX, 2, "not a descriptor");
    lua_settop(L, 1);
    if (self->io.stream != NULL && stream_fd(self->io.stream) == fd)
        return lua_socket_push_one(L);
    lua_stream_release(&self->io);
    socket_pool_leave(self);
    lua_pushnil(L);
    lua_setiuservalue(L, 1, LUA_SOCKET_POOL); /* nobody knows its peer */
    if (fd < 0)
        return lua_socket_push_one(L);
    lua_stream_need(L, &self->io);
    if (stream_adopt(self->io.stream, fd, STREAM_READS | STREAM_WRITES) == -1)
        return lua_stream_fail(L, socket_error(errno));
    self->kind = LUA_SOCKET_CLIENT;
    return lua_socket_push_one(L);
}

/* --- what a socket is ----------------------------------------------------- */

static int push_endpoint(lua_State *L, const struct endpoint *endpoint)
{
    char text[ENDPOINT_TEXT];

    endpoint_print(endpoint, text);
    lua_pushstring(L, text);
    if (endpoint->as.any.sa_family == AF_UNIX) {
        lua_pushnil(L);
        lua_pushliteral(L, "unix");
        return 3;
    }
    lua_pushinteger(L, endpoint_port(endpoint));
    lua_pushstring(L,
                   endpoint->as.any.sa_family == AF_INET6 ? "inet6" : "inet");
    return 3;
}

static int push_name(lua_State *L, int (*get)(int fd, struct endpoint *out))
{
    const struct lua_socket *self = lua_socket_check(L);
    struct endpoint endpoint;
    int fd = self->io.stream == NULL ? -1 : stream_fd(self->io.stream);

    if (get(fd, &endpoint) == -1)
        return lua_stream_fail(L, socket_error(errno));
    return push_endpoint(L, &endpoint);
}

/* -> address, port, "inet" or "inet6" | path, nil, "unix" | nil, err */
static int l_getpeername(lua_State *L)
{
    return push_name(L, endpoint_peer);
}

static int l_getsockname(lua_State *L)
{
    return push_name(L, endpoint_own);
}

static struct stream_stats *stats_of(const struct lua_socket *self)
{
    return self->io.stream == NULL ? NULL : stream_stats(self->io.stream);
}

/* sock:getstats() -> bytes received, bytes sent, seconds since it is open */
static int l_getstats(lua_State *L)
{
    const struct lua_socket *self = lua_socket_check(L);
    const struct stream_stats *stats = stats_of(self);

    lua_pushinteger(L, stats == NULL ? 0 : (lua_Integer)stats->received);
    lua_pushinteger(L, stats == NULL ? 0 : (lua_Integer)stats->sent);
    lua_pushnumber(L, stats == NULL ? 0 : loop_now() - stats->opened);
    return 3;
}

/* sock:setstats([received[, sent[, seconds]]]) -> 1 | nil, err */
static int l_setstats(lua_State *L)
{
    struct lua_socket *self = lua_socket_check(L);
    struct stream_stats *stats = stats_of(self);
    lua_Integer received = luaL_optinteger(L, 2, -1);
    lua_Integer sent = luaL_optinteger(L, 3, -1);
    double age = luaL_optnumber(L, 4, -1);

    if (stats == NULL)
        return lua_stream_fail(L, "closed");
    if (received >= 0)
        stats->received = (uint64_t)received;
    if (sent >= 0)
        stats->sent = (uint64_t)sent;
    if (age >= 0)
        stats->opened = loop_now() - age;
    return lua_socket_push_one(L);
}

static int l_tostring(lua_State *L)
{
    static const char *const kinds[] = { "master", "client", "server" };
    const struct lua_socket *self = lua_socket_check(L);

    lua_pushfstring(L, "tcp{%s}: %p", kinds[self->kind], (const void *)self);
    return 1;
}

/* --- the class ------------------------------------------------------------ */

/* Adds functions to the table at index; the classes are on top of the stack. */
static void add_functions(lua_State *L, int index, const luaL_Reg *functions)
{
    lua_pushvalue(L, index);
    for (int i = 0; i < LUA_SOCKET_CLASSES; i++)
        lua_pushvalue(L, -1 - LUA_SOCKET_CLASSES);
    luaL_setfuncs(L, functions, LUA_SOCKET_CLASSES);
    lua_pop(L, 1);
}

static void fill_class(lua_State *L, int class, int methods)
{
    static const luaL_Reg metamethods[] = {
        { "__close", l_close },
        { "__gc", l_gc },
        { "__tostring", l_tostring },
        { NULL, NULL },
    };

    add_functions(L, class, metamethods);
    lua_pushliteral(L, "socket");
    lua_setfield(L, class, "__name");
    lua_pushvalue(L, methods);
    lua_setfield(L, class, "__index");
}

void lua_socket_open(lua_State *L)
{
    static const luaL_Reg methods[] = {
        { "bind", lua_socket_bind },
        { "listen", lua_socket_listen },
        { "accept", lua_socket_accept },
        { "receive", l_receive },
        { "receiveany", l_receiveany },
        { "receiveuntil", l_receiveuntil },
        { "send", l_send },
        { "dirty", l_dirty },
        { "setoption", lua_socket_setoption },
        { "getoption", lua_socket_getoption },
        { "settimeout", l_settimeout },
        { "settimeouts", l_settimeouts },
        { "gettimeout", l_gettimeout },
        { "close", l_close },
        { "setkeepalive", lua_pool_setkeepalive },
        { "getreusedtimes", lua_pool_getreusedtimes },
        { "shutdown", l_shutdown },
        { "getfd", l_getfd },
        { "setfd", l_setfd },
        { "getpeername", l_getpeername },
        { "getsockname", l_getsockname },
        { "getstats", l_getstats },
        { "setstats", l_setstats },
        { NULL, NULL },
    };
    static const luaL_Reg private[] = {
        { "tcp", l_tcp },   { "ngx_tcp", l_ngx_tcp },
        { "unix", l_unix }, { "receive_bytes", l_receive_bytes },
        { NULL, NULL },
    };
    static const char *const names[] = { "methods", "ngx_methods",
                                         "unix_methods" };
    int table = lua_gettop(L), own = table + 1;
    int classes = own + LUA_SOCKET_CLASSES;

    for (int i = 0; i < 2 * LUA_SOCKET_CLASSES; i++)
        lua_newtable(L); /* tables of methods, then the classes */
    add_functions(L, table, private);
    add_functions(L, table, lua_socket_connecting);
    add_functions(L, table, lua_socket_layering);
    add_functions(L, table, lua_pool_functions);
    add_functions(L, own, methods);
    for (int i = 0; i < LUA_SOCKET_CLASSES; i++) {
        fill_class(L, classes + i, own + i);
        script_of(L)->socket_classes[i] = lua_topointer(L, classes + i);
        lua_pushvalue(L, own + i);
        lua_setfield(L, table, names[i]);
    }
    lua_settop(L, table);
}
