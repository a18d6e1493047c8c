/* accept.h -- listening sockets at work: connections in, bounded.
 *
 * Nothing is accepted that cannot be served: at the connection cap, or when
 * the kernel has no descriptors or memory left, connections wait in the queue.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef IO_ACCEPT_H
#define IO_ACCEPT_H

#include "io/conn.h"
#include "io/listen.h"
#include "io/peers.h"

struct acceptors;

/* What is spoken on a socket, and with whom. */
struct acceptor_protocol {
    wire_open_fn *open_wire;
    const struct peers *peers; /* NULL: with everybody */
};

/* Accepts on every socket of the set; each connection speaks the protocol that
 * its socket has the number of.  Set and protocols must outlive the acceptors.
 * Returns NULL when there is no memory. */
struct acceptors *acceptors_new(struct loop *loop, struct conns *conns,
                                const struct listen_set *set,
                                const struct acceptor_protocol *protocols);

/* Shares the sockets with other processes: room(arg) says how many connections
 * to take now.  If none, they are left to the others for a millisecond, and
 * what still waits then is taken, a few each millisecond. */
void acceptors_share(struct acceptors *acceptors, uint32_t (*room)(void *arg),
                     void *arg);

/* Accepts no more; the sockets stay open, they are the set's. */
void acceptors_stop(struct acceptors *acceptors);

/* Stops and frees. */
void acceptors_del(struct acceptors *acceptors);

#endif
