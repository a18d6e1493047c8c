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

/* Functions with the classes of sockets as upvalues, for lua/fcgi/connect.lua:
 *     pool_limit(name, size, backlog)
 *                          makes the pool, if it is not there, for so many
 *                          connections; with a backlog it is limited
 *     pool_connect(address[, options])
 *                          fcgi.connect, where it is that simple: a socket from
 *                          the pool, or nothing
 *     pool_take(socket, name)
 *                          the pool is the socket's, which is closed, from now
 *                          on; true: it has got a connection; nil: it must
 *                          connect by itself; false: it needs a ticket for
 *                          that; nil, err: another task is about to connect it
 *     pool_ticket(socket)  -> a to-be-closed value that stands in the queue,
 *                          and is closed after the connect | nil, err
 *     pool_wait(ticket[, seconds])
 *                          -> true: it has got a connection | false: it may
 *                          connect | nil, err */
extern const luaL_Reg lua_pool_functions[];

#endif
