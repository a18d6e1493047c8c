/* lua_udp_options.c -- setoption and getoption of datagrams: see lua_udp.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "script/lua_udp.h"
#include "script/socket_error.h"

#include <arpa/inet.h>
#include <errno.h>
#include <lauxlib.h>
#include <limits.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

enum { AT_NAME = 2, AT_VALUE };

enum kind {
    KIND_BOOLEAN,
    KIND_NUMBER,
    KIND_ADDRESS, /* of IPv4, as text */
    KIND_DEVICE,  /* its name */
    KIND_GROUP,   /* { multiaddr = address, interface = address } */
    KIND_GROUP6,  /* { multiaddr = address, interface = number } */
    KIND_ERROR    /* what failed last; not to be set */
};

struct option {
    const char *name;
    int level, number;
    enum kind kind;
};

static const struct option options[] = {
    { "reuseaddr", SOL_SOCKET, SO_REUSEADDR, KIND_BOOLEAN },
    { "reuseport", SOL_SOCKET, SO_REUSEPORT, KIND_BOOLEAN },
    { "broadcast", SOL_SOCKET, SO_BROADCAST, KIND_BOOLEAN },
    { "dontroute", SOL_SOCKET, SO_DONTROUTE, KIND_BOOLEAN },
    { "recv-buffer-size", SOL_SOCKET, SO_RCVBUF, KIND_NUMBER },
    { "send-buffer-size", SOL_SOCKET, SO_SNDBUF, KIND_NUMBER },
    { "bindtodevice", SOL_SOCKET, SO_BINDTODEVICE, KIND_DEVICE },
    { "error", SOL_SOCKET, SO_ERROR, KIND_ERROR },
    { "ip-multicast-if", IPPROTO_IP, IP_MULTICAST_IF, KIND_ADDRESS },
    { "ip-multicast-ttl", IPPROTO_IP, IP_MULTICAST_TTL, KIND_NUMBER },
    { "ip-multicast-loop", IPPROTO_IP, IP_MULTICAST_LOOP, KIND_BOOLEAN },
    { "ip-add-membership", IPPROTO_IP, IP_ADD_MEMBERSHIP, KIND_GROUP },
    { "ip-drop-membership", IPPROTO_IP, IP_DROP_MEMBERSHIP, KIND_GROUP },
    { "ipv6-v6only", IPPROTO_IPV6, IPV6_V6ONLY, KIND_BOOLEAN },
    { "ipv6-unicast-hops", IPPROTO_IPV6, IPV6_UNICAST_HOPS, KIND_NUMBER },
    { "ipv6-multicast-hops", IPPROTO_IPV6, IPV6_MULTICAST_HOPS, KIND_NUMBER },
    { "ipv6-multicast-loop", IPPROTO_IPV6, IPV6_MULTICAST_LOOP, KIND_BOOLEAN },
    { "ipv6-add-membership", IPPROTO_IPV6, IPV6_JOIN_GROUP, KIND_GROUP6 },
    { "ipv6-drop-membership", IPPROTO_IPV6, IPV6_LEAVE_GROUP, KIND_GROUP6 },
    { NULL, 0, 0, KIND_ERROR },
};

/* What the kernel takes. */
union value {
    int number;
    struct in_addr address;
    struct ip_mreqn group;
    struct ipv6_mreq group6;
    char text[IF_NAMESIZE];
};

static const struct option *check_option(lua_State *L, bool to_set)
{
    const char *name = luaL_checkstring(L, AT_NAME);
    const struct option *option = options;
    const char *what = to_set ? "cannot be set" : "cannot be asked for";

    while (option->name != NULL && strcmp(option->name, name) != 0)
        option++;
    if (option->name == NULL)
        what = "unsupported option";
    else if (to_set ? option->kind != KIND_ERROR
                    : option->kind != KIND_GROUP && option->kind != KIND_GROUP6)
        return option;
    luaL_argerror(L, AT_NAME, lua_pushfstring(L, "%s '%s'", what, name));
    return NULL;
}

static int fail(lua_State *L, int error)
{
    luaL_pushfail(L);
    lua_pushstring(L, socket_error(error));
    return 2;
}

/* --- setting -------------------------------------------------------------- */

static int check_int(lua_State *L, int index)
{
    lua_Integer number = luaL_checkinteger(L, index);

    luaL_argcheck(L, number >= INT_MIN && number <= INT_MAX, AT_VALUE,
                  "out of range");
    return (int)number;
}

/* Pushes a field of the table that is the value; it must be of that type. */
static void push_field(lua_State *L, const char *name, int type)
{
    if (lua_getfield(L, AT_VALUE, name) != type)
        luaL_argerror(L, AT_VALUE,
                      lua_pushfstring(L, "its field '%s' is no %s", name,
                                      lua_typename(L, type)));
}

static void check_address(lua_State *L, int family, int index, void *address)
{
    const char *text = luaL_checkstring(L, index);

    if (family == AF_INET && strcmp(text, "*") == 0)
        ((struct in_addr *)address)->s_addr = htonl(INADDR_ANY);
    else
        luaL_argcheck(L, inet_pton(family, text, address) == 1, AT_VALUE,
                      "not an address");
}

static socklen_t check_group(lua_State *L, struct ip_mreqn *group)
{
    luaL_checktype(L, AT_VALUE, LUA_TTABLE);
    push_field(L, "multiaddr", LUA_TSTRING);
    check_address(L, AF_INET, -1, &group->imr_multiaddr);
    push_field(L, "interface", LUA_TSTRING);
    check_address(L, AF_INET, -1, &group->imr_address);
    return sizeof(*group);
}

static socklen_t check_group6(lua_State *L, struct ipv6_mreq *group)
{
    luaL_checktype(L, AT_VALUE, LUA_TTABLE);
    push_field(L, "multiaddr", LUA_TSTRING);
    check_address(L, AF_INET6, -1, &group->ipv6mr_multiaddr);
    if (lua_getfield(L, AT_VALUE, "interface") != LUA_TNIL) /* or any */
        group->ipv6mr_interface = (unsigned)check_int(L, -1);
    return sizeof(*group);
}

static socklen_t check_text(lua_State *L, char text[IF_NAMESIZE])
{
    size_t len;
    const char *name = luaL_checklstring(L, AT_VALUE, &len);

    luaL_argcheck(L, len < IF_NAMESIZE, AT_VALUE, "not the name of a device");
    memcpy(text, name, len + 1);
    return (socklen_t)len;
}

/* Returns how long it is. */
static socklen_t check_value(lua_State *L, const struct option *option,
                             union value *value)
{
    switch (option->kind) {
    case KIND_BOOLEAN:
        luaL_checktype(L, AT_VALUE, LUA_TBOOLEAN);
        value->number = lua_toboolean(L, AT_VALUE);
        break;
    case KIND_NUMBER:
        value->number = check_int(L, AT_VALUE);
        break;
    case KIND_ADDRESS:
        check_address(L, AF_INET, AT_VALUE, &value->address);
        return sizeof(value->address);
    case KIND_DEVICE:
        return check_text(L, value->text);
    case KIND_GROUP:
        return check_group(L, &value->group);
    case KIND_GROUP6:
        return check_group6(L, &value->group6);
    case KIND_ERROR:
        break; /* not reached: see check_option */
    }
    return sizeof(value->number);
}

int lua_udp_set_option(lua_State *L, int fd)
{
    const struct option *option = check_option(L, true);
    union value value;
    socklen_t len;

    memset(&value, 0, sizeof(value));
    len = check_value(L, option, &value);
    if (setsockopt(fd, option->level, option->number, &value, len) == -1)
        return fail(L, errno);
    lua_pushinteger(L, 1);
    return 1;
}

/* --- getting -------------------------------------------------------------- */

static void push_value(lua_State *L, const struct option *option,
                       union value *value)
{
    char text[INET_ADDRSTRLEN];

    switch (option->kind) {
    case KIND_BOOLEAN:
        lua_pushboolean(L, value->number);
        return;
    case KIND_NUMBER:
        lua_pushinteger(L, value->number);
        return;
    case KIND_ADDRESS:
        inet_ntop(AF_INET, &value->address, text, sizeof(text));
        lua_pushstring(L, text);
        return;
    case KIND_DEVICE:
        lua_pushlstring(L, value->text, strnlen(value->text, IF_NAMESIZE));
        return;
    case KIND_ERROR:
        if (value->number == 0)
            lua_pushnil(L);
        else
            lua_pushstring(L, socket_error(value->number));
        return;
    case KIND_GROUP: /* not reached: see check_option */
    case KIND_GROUP6:
        break;
    }
    lua_pushnil(L);
}

int lua_udp_get_option(lua_State *L, int fd)
{
    const struct option *option = check_option(L, false);
    union value value;
    socklen_t len = sizeof(value.number);

    memset(&value, 0, sizeof(value));
    if (option->kind == KIND_DEVICE)
        len = sizeof(value.text);
    if (getsockopt(fd, option->level, option->number, &value, &len) == -1)
        return fail(L, errno);
    push_value(L, option, &value);
    return 1;
}
