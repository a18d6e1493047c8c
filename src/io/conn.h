/* conn.h -- connections: each a socket and a wire.
 *
 * A connection that is accepted, read, answered and closed in one turn costs
 * no registration with the kernel; its watchers and its timer start only when
 * it outlives the turn.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef IO_CONN_H
#define IO_CONN_H

#include "core/service.h"
#include "core/wire.h"
#include "io/loop.h"

struct conns;

/* All connections of one worker.  The service must outlive them.  Returns NULL
 * when there is no memory. */
struct conns *conns_new(struct loop *loop, struct service *service);

/* Closes every connection at once and frees the rest after the next reap. */
void conns_del(struct conns *conns);

/* Takes a connected, non-blocking socket and reads from it at once.  The fd is
 * the connection's from here on, also when (false) there is no memory. */
bool conns_open(struct conns *conns, int fd, wire_open_fn *open_wire);

/* Are there as many as may be? */
bool conns_are_full(const struct conns *conns);

unsigned conns_count(const struct conns *conns);

/* Closes the connection that has been silent for longest, of those that no
 * request runs on; so that who only sits there keeps nobody out.  false: there
 * is none. */
bool conns_close_quietest(struct conns *conns);

/* Calls fn(arg) whenever a connection has closed. */
void conns_on_close(struct conns *conns, void (*fn)(void *arg), void *arg);

/* What becomes of connections that are idle, between two requests, when this
 * process is to have none or fewer of them: give_away(arg, fd) gives the socket
 * to somebody else and returns true.  It may be NULL. */
void conns_on_idle(struct conns *conns, bool (*give_away)(void *arg, int fd),
                   void *arg);

/* Gives away the next n connections that are idle. */
void conns_shed(struct conns *conns, unsigned n);

/* Gives away (or closes) idle connections, and each other one as soon as it is
 * idle. */
void conns_drain(struct conns *conns);

#endif
