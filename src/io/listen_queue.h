/* listen_queue.h -- how many connections wait to be accepted, from the kernel:
 * of TCP sockets by TCP_INFO, of unix sockets by sock_diag(7).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef IO_LISTEN_QUEUE_H
#define IO_LISTEN_QUEUE_H

#include "io/listen.h"

#include <stdint.h>

struct listen_queue {
    uint32_t waiting; /* connections, in all queues of the set */
    uint32_t most;    /* that they hold */
};

/* Sockets of which the kernel does not tell (or may not: sock_diag needs a
 * socket of AF_NETLINK) count nothing.  Does not wait. */
struct listen_queue listen_queue(const struct listen_set *set);

#endif
