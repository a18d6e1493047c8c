/* lua_socket.h -- private to this room: sockets of scripts, with LuaSocket's
 * names.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SCRIPT_LUA_SOCKET_H
#define SCRIPT_LUA_SOCKET_H

#include "script/lua_stream.h"

#include <lauxlib.h>

/* What LuaSocket calls the kinds of a socket. */
enum lua_socket_kind {
    LUA_SOCKET_MASTER, /* it has done nothing yet */
    LUA_SOCKET_CLIENT, /* it is or was connected */
    LUA_SOCKET_SERVER  /* it listens */
};

/* User values, besides that of the stream: the name of its pool. */
enum { LUA_SOCKET_POOL = LUA_STREAM_TLS + 1 };

enum { LUA_SOCKET_OPTIONS = 16 };

struct lua_socket {
    struct lua_stream io; /* first: see lua_stream.h */
    enum lua_socket_kind kind;
    int family;               /* that it may have; AF_UNSPEC: any */
    struct endpoint to;       /* of the last connect */
    bool has_pools;           /* it looks for connections there */
    lua_Integer reused;       /* how often this one came from there */
    struct socket_pool *pool; /* that counts it; or NULL */
    unsigned options_set;
    int options[LUA_SOCKET_OPTIONS]; /* see lua_socket_options.c */
};

/* The socket at index 1 of a method; raises if it is none.  Methods have the
 * classes of sockets as upvalues: those of fcgi.ngx and of LuaSocket's unix
 * sockets look alike but in Lua. */
struct lua_socket *lua_socket_check(lua_State *L);
enum {
    LUA_SOCKET_CLASS = 1,
    LUA_SOCKET_NGX_CLASS,
    LUA_SOCKET_UNIX_CLASS,
    LUA_SOCKET_CLASSES = LUA_SOCKET_UNIX_CLASS
};

/* The same, but NULL if it is none; for who is no method. */
struct lua_socket *lua_socket_test(lua_State *L);

/* The rest of fcgi.wait (lua_socket_await.c) for the socket at index 1; the
 * mode is of ready.h, and for as long as it takes if seconds is negative. */
int lua_socket_await(lua_State *L, unsigned mode, double seconds);

/* Pushes a new one, closed, of one of the classes; for methods. */
struct lua_socket *lua_socket_push(lua_State *L, int class, int family);

/* Closes the socket at index 1; leaves nothing else on the stack. */
void lua_socket_close(lua_State *L, struct lua_socket *self);

/* Asks the layer of TLS that the socket at index 1 has: calls a method, "dirty"
 * or "is_broken", that says yes or no; one that is missing says no.  May raise.
 */
bool lua_socket_ask_tls(lua_State *L, const char *question);

/* Pushes 1, which is LuaSocket's yes. */
int lua_socket_push_one(lua_State *L);

/* Makes a descriptor for a socket that needs one, with the options that were
 * set.  Sockets that nobody holds any more are closed by the collector, which
 * does not know how few descriptors there are: where there are none it runs.
 * false: errno says why. */
bool lua_socket_make(lua_State *L, struct lua_socket *self, int family);

/* Methods (lua_socket_listen.c). */
int lua_socket_bind(lua_State *L);
int lua_socket_listen(lua_State *L);
int lua_socket_accept(lua_State *L);

/* Methods (lua_socket_options.c):
 *     sock:setoption(name, value) -> 1 | nil, err
 *     sock:getoption(name) -> value | nil, err */
int lua_socket_setoption(lua_State *L);
int lua_socket_getoption(lua_State *L);

/* Sets on a new descriptor what was set before.  Returns 0, or -1 with errno.
 */
int lua_socket_apply(const struct lua_socket *self);

/* Parts of the table below, with the upvalues of methods: lua_socket_connect.c,
 * lua_socket_layer.c. */
extern const luaL_Reg lua_socket_connecting[], lua_socket_layering[];

/* Adds to the table on top of the stack, which only lua/fcgi gets:
 *     methods                   the table in which methods are looked up
 *     ngx_methods, unix_methods likewise for fcgi.ngx and for unix sockets of
 *                               fcgi.socket; they are empty
 *     tcp([4 or 6[, has_pools]])
 *                               -> socket, closed
 *     ngx_tcp(), unix()         -> sockets of the other classes
 *     receive_bytes             the method receive of fcgi.ngx
 *     is_address(text)          -> is it a numeric address?
 *     connect_address(socket, address or path[, port[, seconds]])
 *                               -> 1 | nil, err: one attempt; without a port
 *                               it is the path of a unix socket
 *     connect_limit(socket)     -> seconds that a connect may take | nil
 *     is_socket(value)          -> is it one of these?
 *     state_of(socket)          -> 4, 6 or nil: the family that it may have;
 *                               a number that changes when it is closed
 *     busy(socket)              -> what another task does with it: "socket busy
 *                               reading" or "writing" | nil
 *     set_raw(socket, bool)     nothing is received into the buffer
 *     wait_raw(socket, mode[, seconds[, side]])
 *                               -> true | nil, "timeout" | nil, "closed": for
 *                               the descriptor of a raw socket, "r", "w", "rw";
 *                               side "r" or "w": as who receives or sends
 *     set_tls(socket, object)   see lua_stream.h
 *     tls_of(socket)            -> the object | nil
 * May raise. */
void lua_socket_open(lua_State *L);

#endif
