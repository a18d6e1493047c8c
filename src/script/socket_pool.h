/* socket_pool.h -- private to this room: connections that nobody uses now, kept
 * for whoever connects to the same place next.
 *
 *     connect -- taken out --> in use -- setkeepalive --> idle, in its pool
 *        `------- a new one -----^                          `--> too old, too
 *                                                     many, ended by the peer
 *
 * A pool has a name, "host:port" or whatever the script says.  What lies in it
 * is watched as all streams are: a connection that its peer closes, or on which
 * it says anything, leaves the pool at once, so who takes one out need not look
 * at it.  A stream that lies there has no buffer.
 *
 * A pool can be limited: then it has `size` connections at most, used or not,
 * and who wants one more waits with a ticket (lua_pool.c).  Nobody waits while
 * there is a place, and a ticket that was granted has one for sure, whatever
 * becomes of the connections meanwhile:
 *
 *     places = size - open + idle_count - granted
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SCRIPT_SOCKET_POOL_H
#define SCRIPT_SOCKET_POOL_H

#include "base/list.h"
#include "script/lua_socket.h"

#include <lua.h>

struct socket_pools;

/* A userdata; the table of all pools anchors it while it is not empty. */
struct socket_pool {
    struct socket_pools *all;
    struct list link;
    struct list idle; /* connections, the last one used first */
    unsigned idle_count, size;
    bool is_limited;
    unsigned backlog;    /* how many may wait */
    unsigned open;       /* connections, if it is limited; idle ones, too */
    unsigned granted;    /* tickets that were not used yet */
    struct list waiting; /* tickets, in their order */
    unsigned waiting_count;
};

/* Who waits for a place in a pool. */
struct socket_ticket {
    struct socket_pool *pool;
    struct lua_socket *sock; /* its task is among the writers of that */
    struct list link;        /* in waiting, until it is granted */
    bool is_granted;
};

/* Pushes the pool whose name is the string at index, which anchors it; nil and
 * NULL: there is none. */
struct socket_pool *socket_pool_find(lua_State *L, int index);

/* Makes that pool, for so many connections, and pushes it.  May raise. */
struct socket_pool *socket_pool_make(lua_State *L, int index, unsigned size);

/* Puts the connection of a socket there, which nobody waits for, for so many
 * seconds (INFINITY: any time); the socket is closed then.  Returns NULL, or
 * why it was not put there; then it is closed, too.  May raise before it has
 * done anything. */
const char *socket_pool_put(lua_State *L, struct socket_pool *pool,
                            struct lua_socket *sock, double seconds);

/* Gives the socket at index, which is closed, the connection that was used
 * last.  There must be one. */
void socket_pool_take(lua_State *L, struct socket_pool *pool, int index);

/* Is there one more connection to be had, idle or new, that is promised to
 * nobody?  Always, in a pool without a limit. */
bool socket_pool_has_place(const struct socket_pool *pool);

/* The socket has, or is going to have, a connection of the pool. */
void socket_pool_enter(struct socket_pool *pool, struct lua_socket *sock);

/* It has none any more.  Raises nothing. */
void socket_pool_leave(struct lua_socket *sock);

/* Gives places to those who wait. */
void socket_pool_grant(struct socket_pool *pool);

/* Frees what the pools of a script share, after the state was closed.  NULL is
 * accepted. */
void socket_pools_del(struct socket_pools *pools);

#endif
