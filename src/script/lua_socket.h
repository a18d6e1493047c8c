/* lua_socket.h -- private to this room: sockets of scripts, with LuaSocket's
 * names.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SCRIPT_LUA_SOCKET_H
#define SCRIPT_LUA_SOCKET_H

#include "script/lua_stream.h"

/* What LuaSocket calls the kinds of a socket. */
enum lua_socket_kind {
    LUA_SOCKET_MASTER, /* it has done nothing yet */
    LUA_SOCKET_CLIENT, /* it is or was connected */
    LUA_SOCKET_SERVER  /* it listens */
};

struct lua_socket {
    struct lua_stream io; /* first: see lua_stream.h */
    enum lua_socket_kind kind;
    int family;         /* that it may have; AF_UNSPEC: any */
    struct endpoint to; /* of the last connect */
};

/* The socket at index 1 of a method; raises if it is none. */
struct lua_socket *lua_socket_check(lua_State *L);

/* Pushes a new one, closed; for a function that has the class as upvalue 1. */
struct lua_socket *lua_socket_push(lua_State *L, int family);

/* Pushes 1, which is LuaSocket's yes. */
int lua_socket_push_one(lua_State *L);

/* Methods (lua_socket_listen.c). */
int lua_socket_bind(lua_State *L);
int lua_socket_listen(lua_State *L);
int lua_socket_accept(lua_State *L);

/* Adds to the table on top of the stack, which only lua/fcgi gets:
 *     methods                   the table in which methods are looked up
 *     tcp([4 or 6])             -> socket, closed
 *     is_address(text)          -> is it a numeric address?
 *     connect_address(socket, address or path[, port[, seconds]])
 *                               -> 1 | nil, err: one attempt; without a port
 *                               it is the path of a unix socket
 *     connect_limit(socket)     -> seconds that a connect may take | nil
 *     set_raw(socket, bool)     nothing is received into the buffer
 *     wait_raw(socket, mode[, seconds])
 *                               -> true | nil, "timeout" | nil, "closed": for
 *                               the descriptor of a raw socket, "r", "w", "rw"
 *     set_tls(socket, object)   see lua_stream.h
 * May raise. */
void lua_socket_open(lua_State *L);

#endif
