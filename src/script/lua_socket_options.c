/* lua_socket_options.c -- LuaSocket's setoption and getoption.
 *
 * A socket has no descriptor before it is bound or connected, and gets another
 * one when it connects again: what was set is kept and set on each.
 *
 * SPDX-License-Identifier: MIT
 */
#include "script/lua_socket.h"
#include "script/socket_error.h"

#include <errno.h>
#include <lauxlib.h>
#include <netinet/tcp.h>

enum option_type { OPTION_BOOL, OPTION_INT, OPTION_LINGER, OPTION_ERROR };

static const struct option {
    const char *name;
    enum option_type type;
    int level, option;
} options[] = {
    { "keepalive", OPTION_BOOL, SOL_SOCKET, SO_KEEPALIVE },
    { "reuseaddr", OPTION_BOOL, SOL_SOCKET, SO_REUSEADDR },
    { "reuseport", OPTION_BOOL, SOL_SOCKET, SO_REUSEPORT },
    { "linger", OPTION_LINGER, SOL_SOCKET, SO_LINGER },
    { "recv-buffer-size", OPTION_INT, SOL_SOCKET, SO_RCVBUF },
    { "send-buffer-size", OPTION_INT, SOL_SOCKET, SO_SNDBUF },
    { "tcp-nodelay", OPTION_BOOL, IPPROTO_TCP, TCP_NODELAY },
    { "tcp-keepidle", OPTION_INT, IPPROTO_TCP, TCP_KEEPIDLE },
    { "tcp-keepcnt", OPTION_INT, IPPROTO_TCP, TCP_KEEPCNT },
    { "tcp-keepintvl", OPTION_INT, IPPROTO_TCP, TCP_KEEPINTVL },
    { "tcp-defer-accept", OPTION_INT, IPPROTO_TCP, TCP_DEFER_ACCEPT },
    { "tcp-fastopen", OPTION_INT, IPPROTO_TCP, TCP_FASTOPEN },
    { "tcp-fastopen-connect", OPTION_BOOL, IPPROTO_TCP, TCP_FASTOPEN_CONNECT },
    { "ipv6-v6only", OPTION_BOOL, IPPROTO_IPV6, IPV6_V6ONLY },
    { "error", OPTION_ERROR, SOL_SOCKET, SO_ERROR },
};

enum { OPTION_COUNT = sizeof(options) / sizeof(*options) };

_Static_assert((int)OPTION_COUNT <= (int)LUA_SOCKET_OPTIONS,
               "lua_socket.options is too small");

static unsigned check_name(lua_State *L)
{
    const char *name = luaL_checkstring(L, 2);

    for (unsigned i = 0; i < OPTION_COUNT; i++)
        if (strcmp(options[i].name, name) == 0)
            return i;
    return (unsigned)luaL_argerror(L, 2,
                                   lua_pushfstring(L, "no option '%s'", name));
}

static int fd_of(const struct lua_socket *self)
{
    return self->io.stream == NULL ? -1 : stream_fd(self->io.stream);
}

/* --- setting -------------------------------------------------------------- */

/* on, and how many seconds: both in one number, to be kept. */
static int check_linger(lua_State *L)
{
    lua_Integer seconds;
    bool is_on;

    luaL_checktype(L, 3, LUA_TTABLE);
    lua_getfield(L, 3, "on");
    luaL_argcheck(L, lua_isboolean(L, -1), 3, "boolean field 'on' expected");
    is_on = lua_toboolean(L, -1);
    lua_getfield(L, 3, "timeout");
    seconds = luaL_optinteger(L, -1, 0);
    luaL_argcheck(L, seconds >= 0 && seconds <= UINT16_MAX, 3,
                  "field 'timeout' is not a number of seconds");
    return (int)seconds << 1 | is_on;
}

static int check_value(lua_State *L, const struct option *option)
{
    lua_Integer value;

    switch (option->type) {
    case OPTION_BOOL:
        luaL_checktype(L, 3, LUA_TBOOLEAN);
        return lua_toboolean(L, 3);
    case OPTION_LINGER:
        return check_linger(L);
    case OPTION_INT:
        break;
    case OPTION_ERROR:
        return luaL_argerror(L, 2, "this option cannot be set");
    }
    value = luaL_checkinteger(L, 3);
    luaL_argcheck(L, value >= 0 && value <= INT32_MAX, 3, "out of range");
    return (int)value;
}

static int set(int fd, const struct option *option, int value)
{
    struct linger linger = { .l_onoff = value & 1, .l_linger = value >> 1 };

    if (option->type == OPTION_LINGER)
        return setsockopt(fd, option->level, option->option, &linger,
                          sizeof(linger));
    return setsockopt(fd, option->level, option->option, &value, sizeof(value));
}

int lua_socket_apply(const struct lua_socket *self)
{
    for (unsigned i = 0; i < OPTION_COUNT; i++)
        if ((self->options_set & 1u << i) != 0 &&
            set(fd_of(self), &options[i], self->options[i]) == -1)
            return -1;
    return 0;
}

int lua_socket_setoption(lua_State *L)
{
    struct lua_socket *self = lua_socket_check(L);
    unsigned i = check_name(L);
    int value = check_value(L, &options[i]);

    if (fd_of(self) != -1 && set(fd_of(self), &options[i], value) == -1)
        return lua_stream_fail(L, socket_error(errno));
    self->options[i] = value;
    self->options_set |= 1u << i;
    return lua_socket_push_one(L);
}

/* --- getting -------------------------------------------------------------- */

static int push_linger(lua_State *L, bool is_on, int seconds)
{
    lua_createtable(L, 0, 2);
    lua_pushboolean(L, is_on);
    lua_setfield(L, -2, "on");
    lua_pushinteger(L, seconds);
    lua_setfield(L, -2, "timeout");
    return 1;
}

static int push_value(lua_State *L, const struct option *option, int value)
{
    switch (option->type) {
    case OPTION_BOOL:
        lua_pushboolean(L, value != 0);
        return 1;
    case OPTION_ERROR:
        if (value == 0)
            lua_pushnil(L);
        else
            lua_pushstring(L, socket_error(value));
        return 1;
    case OPTION_LINGER:
        return push_linger(L, value & 1, value >> 1);
    case OPTION_INT:
        break;
    }
    lua_pushinteger(L, value);
    return 1;
}

int lua_socket_getoption(lua_State *L)
{
    const struct lua_socket *self = lua_socket_check(L);
    unsigned i = check_name(L);
    const struct option *option = &options[i];
    struct linger linger = { .l_onoff = 0 };
    bool is_linger = option->type == OPTION_LINGER;
    socklen_t len = is_linger ? sizeof(linger) : sizeof(int);
    int value = 0;

    if (fd_of(self) == -1 && (self->options_set & 1u << i) != 0)
        return push_value(L, option, self->options[i]);
    if (getsockopt(fd_of(self), option->level, option->option,
                   is_linger ? (void *)&linger : (void *)&value, &len) == -1)
        return lua_stream_fail(L, socket_error(errno));
    if (is_linger)
        return push_linger(L, linger.l_onoff != 0, linger.l_linger);
    return push_value(L, option, value);
}
