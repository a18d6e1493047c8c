/* lua_pool.h -- private to this room: pools of connections for scripts.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SCRIPT_LUA_POOL_H
#define SCRIPT_LUA_POOL_H

#include <lauxlib.h>
#include <lua.h>

/* Methods of sockets. */
int lua_pool_setkeepalive(lua_State *L);
int lua_pool_getreusedtimes(lua_State *L);

/* Functions with the classes of sockets as upvalues, for lua/fcgi/pool.lua:
 *     pool_take(socket, name[, size[, backlog]])
 *         From now on the pool is the socket's, which is closed.  It is made,
 *         unless it is there, if a size or a backlog is given: for so many
 *         connections, with a backlog limited.
 *         -> true: the socket has got a connection
 *          | nil: it must connect by itself
 *          | false: it needs a ticket for that
 *          | nil, err: another task is about to connect it
 *     pool_connect(address[, options]) -> socket | nothing
 *         fcgi.connect where it is simple: a connection lies in its pool.
 *     pool_ticket(socket) -> ticket | nil, err
 *         It stands in the queue; to be closed when the connect is over.
 *     pool_wait(ticket[, seconds])
 *         -> true: the socket has got a connection
 *          | false: it may connect by itself
 *          | nil, err */
extern const luaL_Reg lua_pool_functions[];

#endif
