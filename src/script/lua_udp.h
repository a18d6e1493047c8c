/* lua_udp.h -- private to this room: sockets of datagrams, UDP and unix, with
 * LuaSocket's names.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SCRIPT_LUA_UDP_H
#define SCRIPT_LUA_UDP_H

#include "base/list.h"
#include "io/datagram.h"

#include <lua.h>

struct lua_udp {
    unsigned magic;
    int family; /* that it may have; AF_UNSPEC: any */
    bool is_bound, has_peer;
    struct datagram *datagram; /* NULL: it was never used, or is closed */
    struct list readers;       /* tasks that wait, by wait_link */
    struct list writers;       /* likewise */
    unsigned closings;         /* how often it was closed */
    double limit, total;       /* s; negative: none */
};

/* The socket at index 1 of a method; raises if it is none. */
struct lua_udp *lua_udp_check(lua_State *L);

/* -1: it is closed. */
int lua_udp_fd(const struct lua_udp *self);

/* Push 1, which is LuaSocket's yes; nil and the words for an errno. */
int lua_udp_push_one(lua_State *L);
int lua_udp_fail(lua_State *L, int error);

/* What became of an address that was read, besides an errno. */
enum { LUA_UDP_IS_NAME = -1, LUA_UDP_OK };

/* Reads the host at index and the port above it, and opens the descriptor for
 * it.  Without a port it is "unix:/path"; "*" is any host.  Raises for what is
 * neither. */
int lua_udp_read_endpoint(lua_State *L, struct lua_udp *self, int index,
                          struct endpoint *out);

/* The host at index is a name, and the port above it the last argument: calls
 * the method again for the addresses of it. */
int lua_udp_look_up(lua_State *L, const char *method, int index);

/* Pushes an address and a port, or a path and nil. */
void lua_udp_push_endpoint(lua_State *L, const struct endpoint *endpoint);

/* Methods (lua_udp_data.c). */
int lua_udp_send(lua_State *L);
int lua_udp_sendto(lua_State *L);
int lua_udp_receive(lua_State *L);
int lua_udp_receivefrom(lua_State *L);

/* What is left of setoption(self, name, value) -> 1 | nil, err and of
 * getoption(self, name) -> value | nil, err for a descriptor, which may be -1
 * (lua_udp_options.c). */
int lua_udp_set_option(lua_State *L, int fd);
int lua_udp_get_option(lua_State *L, int fd);

/* Adds to the table on top of the stack, which only lua/fcgi gets:
 *     udp_methods      the table in which methods are looked up
 *     udp([4 or 6])    -> socket, closed
 *     udp_limit(socket) -> seconds that a call may take | nil
 * and needs of lua/fcgi/udp.lua, which adds it:
 *     udp_by_name(method, at, socket, ...) -> 1, nil | nil, err
 * May raise. */
void lua_udp_open(lua_State *L);

#endif
