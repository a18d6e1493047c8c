/* lua_udp.c -- see lua_udp.h for the contract.  Names of hosts are looked up in
 * lua/fcgi/udp.lua.
 *
 * The descriptor is opened when it is known of which family it has to be.
 *
 * SPDX-License-Identifier: MIT
 */
#include "script/lua_udp.h"

#include "script/errors.h"
#include "script/lua_stream.h"
#include "script/socket_error.h"
#include "script/wait.h"

#include <errno.h>
#include <limits.h>
#include <unistd.h>

enum { UDP_MAGIC = 0x75647073 };

/* Upvalue 1 is the class; debug.setmetatable can lend it to anything. */
struct lua_udp *lua_udp_check(lua_State *L)
{
    struct lua_udp *self = lua_touserdata(L, 1);

    if (self != NULL && lua_getmetatable(L, 1)) {
        bool is_ours = lua_rawequal(L, -1, lua_upvalueindex(1)) &&
                       lua_rawlen(L, 1) == sizeof(*self) &&
                       self->magic == UDP_MAGIC;

        lua_pop(L, 1);
        if (is_ours)
            return self;
    }
    return (void)errors_bad_self(L, "udp", "udp"), NULL;
}

int lua_udp_push_one(lua_State *L)
{
    lua_pushinteger(L, 1); /* LuaSocket's yes */
    return 1;
}

int lua_udp_fail(lua_State *L, int error)
{
    if (error == EDESTADDRREQ || error == ENOTCONN)
        return lua_stream_fail(L, "not connected");
    return lua_stream_fail(L, socket_error(error));
}

int lua_udp_fd(const struct lua_udp *self)
{
    return self->datagram == NULL ? -1 : datagram_fd(self->datagram);
}

/* That it has, or may have. */
static int family_of(const struct lua_udp *self)
{
    return lua_udp_fd(self) == -1 ? self->family
                                  : datagram_family(self->datagram);
}

/* --- news ----------------------------------------------------------------- */

static struct list *waiters(struct lua_udp *self, enum datagram_side side)
{
    return side == DATAGRAM_IN ? &self->readers : &self->writers;
}

static void take_news(void *owner, enum datagram_side side)
{
    task_wake_list(waiters(owner, side));
}

static bool is_awaited(void *owner, enum datagram_side side)
{
    return !list_is_empty(waiters(owner, side));
}

static const struct datagram_ops ops = { take_news, is_awaited };

/* --- its life ------------------------------------------------------------- */

/* udp([4 or 6]) -> socket */
static int l_udp(lua_State *L)
{
    lua_Integer version = luaL_optinteger(L, 1, 0);
    struct lua_udp *self;

    luaL_argcheck(L, version == 0 || version == 4 || version == 6, 1, "4 or 6");
    self = lua_newuserdatauv(L, sizeof(*self), 0);
    *self = (struct lua_udp){ .magic = UDP_MAGIC,
                              .family = version == 4   ? AF_INET
                                        : version == 6 ? AF_INET6
                                                       : AF_UNSPEC,
                              .limit = -1,
                              .total = -1 };
    list_init(&self->readers);
    list_init(&self->writers);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_setmetatable(L, -2);
    return 1;
}

/* Raises while the script is loaded, and when there is no memory. */
static void need(lua_State *L, struct lua_udp *self)
{
    struct script *script = script_of(L);

    if (self->datagram != NULL)
        return;
    if (script->is_closing)
        luaL_error(L, "cannot wait here: the script is ending");
    else if (script->loop == NULL)
        task_begin_wait(L); /* raises */
    self->datagram = datagram_new(script->loop, &ops, self);
    if (self->datagram == NULL)
        luaL_error(L, "not enough memory");
}

/* Opens the descriptor unless it is; returns 0, or an errno.  Descriptors that
 * nobody holds any more are closed by the collector, which does not know how
 * few there are. */
static int open_for(lua_State *L, struct lua_udp *self, int family)
{
    need(L, self);
    if (lua_udp_fd(self) == -1) {
        if (self->family != AF_UNSPEC && self->family != family)
            return EAFNOSUPPORT;
        if (datagram_open(self->datagram, family) == 0)
            return 0;
        if (errno != EMFILE)
            return errno;
        lua_gc(L, LUA_GCCOLLECT, 0);
        return self->datagram == NULL ||
                       datagram_open(self->datagram, family) == -1
                   ? EMFILE
                   : 0;
    }
    return datagram_family(self->datagram) == family ? 0 : EAFNOSUPPORT;
}

static void wake_all(struct lua_udp *self)
{
    self->closings++;
    self->is_bound = self->has_peer = false;
    task_wake_list(&self->readers);
    task_wake_list(&self->writers);
}

static int l_close(lua_State *L)
{
    struct lua_udp *self = lua_udp_check(L);

    datagram_del(self->datagram);
    self->datagram = NULL;
    wake_all(self);
    return lua_udp_push_one(L);
}

/* udp:getfd() -> number; -1: it is closed, or was never used */
static int l_getfd(lua_State *L)
{
    lua_pushinteger(L, lua_udp_fd(lua_udp_check(L)));
    return 1;
}

/* udp:setfd(fd): the socket lets go of its descriptor, and takes that one
 * unless it is -1 -> 1 | nil, err */
static int l_setfd(lua_State *L)
{
    struct lua_udp *self = lua_udp_check(L);
    lua_Integer number = luaL_checkinteger(L, 2);
    int fd = number < 0 ? -1 : (int)number;
    struct endpoint peer;

    luaL_argcheck(L, number <= INT_MAX, 2, "not a descriptor");
    if (lua_udp_fd(self) == fd)
        return lua_udp_push_one(L);
    if (self->datagram != NULL) {
        datagram_release(self->datagram);
        wake_all(self);
    }
    if (fd < 0)
        return lua_udp_push_one(L);
    need(L, self);
    if (datagram_adopt(self->datagram, fd) == -1)
        return lua_udp_fail(L, errno);
    self->has_peer = endpoint_peer(fd, &peer) == 0;
    return lua_udp_push_one(L);
}

/* --- addresses ------------------------------------------------------------ */

int lua_udp_read_endpoint(lua_State *L, struct lua_udp *self, int index,
                          struct endpoint *out)
{
    size_t len;
    const char *host = luaL_checklstring(L, index, &len);
    lua_Integer port;

    if (lua_isnoneornil(L, index + 1) && strncmp(host, "unix:", 5) == 0) {
        luaL_argcheck(L, len > 5 && strlen(host) == len, index, "not a path");
        if (!endpoint_unix(out, host + 5))
            return ENAMETOOLONG;
        return open_for(L, self, AF_UNIX);
    }
    port = luaL_checkinteger(L, index + 1);
    luaL_argcheck(L, port >= 0 && port <= UINT16_MAX, index + 1, "not a port");
    if (strlen(host) != len)
        return LUA_UDP_IS_NAME; /* that nobody has */
    if (strcmp(host, "*") == 0)
        host = family_of(self) == AF_INET6 ? "::" : "0.0.0.0";
    if (!endpoint_ip(out, host, (uint16_t)port))
        return LUA_UDP_IS_NAME;
    return open_for(L, self, out->as.any.sa_family);
}

/* What lua/fcgi/udp.lua gave is on the stack: 1 and nil, or nil and err. */
static int looked_up_k(lua_State *L, int status, lua_KContext ctx)
{
    (void)status;
    (void)ctx;
    if (lua_isnil(L, -2))
        return 2;
    lua_pop(L, 1);
    return 1;
}

/* Calls the method again for the addresses of the host, which is a name, at
 * index; its port is the last argument. */
int lua_udp_look_up(lua_State *L, const char *method, int index)
{
    lua_settop(L, index + 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, script_of(L)->private);
    lua_getfield(L, -1, "udp_by_name");
    lua_replace(L, -2);
    lua_pushstring(L, method);
    lua_pushinteger(L, index - 1); /* of the arguments, without self */
    for (int i = 1; i <= index + 1; i++)
        lua_pushvalue(L, i);
    lua_callk(L, index + 3, 2, 0, looked_up_k);
    return looked_up_k(L, LUA_OK, 0);
}

/* udp:setsockname(host, port) -> 1 | nil, err */
static int l_setsockname(lua_State *L)
{
    struct lua_udp *self = lua_udp_check(L);
    struct endpoint own;
    int error = lua_udp_read_endpoint(L, self, 2, &own);

    if (error == LUA_UDP_IS_NAME)
        return lua_udp_look_up(L, "setsockname", 2);
    if (error == LUA_UDP_OK && datagram_bind(self->datagram, &own) == -1)
        error = errno;
    if (error != LUA_UDP_OK)
        return lua_udp_fail(L, error);
    self->is_bound = true;
    return lua_udp_push_one(L);
}

static int end_peer(lua_State *L, struct lua_udp *self)
{
    if (lua_udp_fd(self) != -1 && datagram_connect(self->datagram, NULL) == -1)
        return lua_udp_fail(L, errno);
    self->has_peer = false;
    return lua_udp_push_one(L);
}

/* udp:setpeername(host, port) -> 1 | nil, err; "*" alone: it has none */
static int l_setpeername(lua_State *L)
{
    struct lua_udp *self = lua_udp_check(L);
    struct endpoint peer;
    int error;

    if (lua_isnoneornil(L, 3) && lua_type(L, 2) == LUA_TSTRING &&
        strcmp(lua_tostring(L, 2), "*") == 0)
        return end_peer(L, self);
    error = lua_udp_read_endpoint(L, self, 2, &peer);
    if (error == EAFNOSUPPORT && self->family == AF_UNSPEC && !self->is_bound) {
        datagram_close(self->datagram); /* nobody knows its address */
        wake_all(self);
        error = lua_udp_read_endpoint(L, self, 2, &peer);
    }
    if (error == LUA_UDP_IS_NAME)
        return lua_udp_look_up(L, "setpeername", 2);
    if (error == LUA_UDP_OK && datagram_connect(self->datagram, &peer) == -1)
        error = errno;
    if (error != LUA_UDP_OK)
        return lua_udp_fail(L, error);
    self->has_peer = true;
    return lua_udp_push_one(L);
}

/* Pushes the address and the port; of a unix socket the path and nil. */
void lua_udp_push_endpoint(lua_State *L, const struct endpoint *endpoint)
{
    char text[ENDPOINT_TEXT];

    endpoint_print(endpoint, text);
    lua_pushstring(L, text);
    if (endpoint->as.any.sa_family == AF_UNIX)
        lua_pushnil(L);
    else
        lua_pushinteger(L, endpoint_port(endpoint));
}

static int push_name(lua_State *L, int (*get)(int fd, struct endpoint *out))
{
    const struct lua_udp *self = lua_udp_check(L);
    struct endpoint endpoint;

    if (get(lua_udp_fd(self), &endpoint) == -1)
        return lua_udp_fail(L, errno);
    lua_udp_push_endpoint(L, &endpoint);
    lua_pushstring(L, endpoint.as.any.sa_family == AF_UNIX    ? "unix"
                      : endpoint.as.any.sa_family == AF_INET6 ? "inet6"
                                                              : "inet");
    return 3;
}

/* -> address, port, "inet" or "inet6" | path, nil, "unix" | nil, err */
static int l_getsockname(lua_State *L)
{
    return push_name(L, endpoint_own);
}

static int l_getpeername(lua_State *L)
{
    return push_name(L, endpoint_peer);
}

/* udp:getfamily() -> "inet4", "inet6", "unix" or "unspec" */
static int l_getfamily(lua_State *L)
{
    const struct lua_udp *self = lua_udp_check(L);
    int family = family_of(self);

    lua_pushstring(L, family == AF_INET    ? "inet4"
                      : family == AF_INET6 ? "inet6"
                      : family == AF_UNIX  ? "unix"
                                           : "unspec");
    return 1;
}

/* --- settings ------------------------------------------------------------- */

/* udp:dirty() -> false: nothing is kept here */
static int l_dirty(lua_State *L)
{
    lua_udp_check(L);
    lua_pushboolean(L, 0);
    return 1;
}

/* udp:settimeout([seconds[, mode]]); a call has one wait, so that the modes are
 * two limits of the same */
static int l_settimeout(lua_State *L)
{
    struct lua_udp *self = lua_udp_check(L);
    double seconds = lua_stream_check_limit(L, 2);
    const char *mode = luaL_optstring(L, 3, "b");

    luaL_argcheck(L, *mode == 'b' || *mode == 't' || *mode == 'r', 3,
                  "invalid timeout mode");
    if (*mode == 'b')
        self->limit = seconds;
    else
        self->total = seconds;
    return lua_udp_push_one(L);
}

/* udp:gettimeout() -> seconds of a wait, of a call; -1: no limit */
static int l_gettimeout(lua_State *L)
{
    const struct lua_udp *self = lua_udp_check(L);

    lua_pushnumber(L, self->limit);
    lua_pushnumber(L, self->total);
    return 2;
}

/* udp_limit(socket) -> the seconds that a call may take, or nil */
static int l_limit(lua_State *L)
{
    const struct lua_udp *self = lua_udp_check(L);

    if (self->total >= 0 && (self->limit < 0 || self->total < self->limit))
        lua_pushnumber(L, self->total);
    else if (self->limit >= 0)
        lua_pushnumber(L, self->limit);
    else
        luaL_pushfail(L);
    return 1;
}

/* udp:setoption(name, value) -> 1 | nil, err: IPv4 unless it is known better */
static int l_setoption(lua_State *L)
{
    struct lua_udp *self = lua_udp_check(L);
    const char *name = luaL_checkstring(L, 2);
    int family = self->family, error = 0;

    if (family == AF_UNSPEC)
        family = strncmp(name, "ipv6-", 5) == 0 ? AF_INET6 : AF_INET;
    if (lua_udp_fd(self) == -1)
        error = open_for(L, self, family);
    return error != 0 ? lua_udp_fail(L, error)
                      : lua_udp_set_option(L, lua_udp_fd(self));
}

/* udp:getoption(name) -> value | nil, err */
static int l_getoption(lua_State *L)
{
    return lua_udp_get_option(L, lua_udp_fd(lua_udp_check(L)));
}

static int l_tostring(lua_State *L)
{
    const struct lua_udp *self = lua_udp_check(L);

    lua_pushfstring(L, "udp{%s}: %p",
                    self->has_peer ? "connected" : "unconnected",
                    (const void *)self);
    return 1;
}

/* --- the class ------------------------------------------------------------ */

/* Makes the class, and leaves it and the table of its methods on the stack. */
static void make_class(lua_State *L)
{
    static const luaL_Reg methods[] = {
        { "setsockname", l_setsockname },
        { "setpeername", l_setpeername },
        { "send", lua_udp_send },
        { "sendto", lua_udp_sendto },
        { "receive", lua_udp_receive },
        { "receivefrom", lua_udp_receivefrom },
        { "dirty", l_dirty },
        { "settimeout", l_settimeout },
        { "gettimeout", l_gettimeout },
        { "setoption", l_setoption },
        { "getoption", l_getoption },
        { "getsockname", l_getsockname },
        { "getpeername", l_getpeername },
        { "getfamily", l_getfamily },
        { "getfd", l_getfd },
        { "setfd", l_setfd },
        { "close", l_close },
        { NULL, NULL },
    };
    static const luaL_Reg metamethods[] = {
        { "__close", l_close },
        { "__gc", l_close },
        { "__tostring", l_tostring },
        { NULL, NULL },
    };

    lua_newtable(L);
    lua_pushliteral(L, "udp");
    lua_setfield(L, -2, "__name");
    lua_pushvalue(L, -1);
    luaL_setfuncs(L, metamethods, 1);
    lua_newtable(L);
    lua_pushvalue(L, -2);
    luaL_setfuncs(L, methods, 1);
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, "__index");
}

void lua_udp_open(lua_State *L)
{
    static const luaL_Reg private[] = {
        { "udp", l_udp },
        { "udp_limit", l_limit },
        { NULL, NULL },
    };
    int table = lua_gettop(L);

    make_class(L);
    lua_setfield(L, table, "udp_methods");
    luaL_setfuncs(L, private, 1);
}
