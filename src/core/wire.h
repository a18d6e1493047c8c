/* wire.h -- a protocol as a connection sees it: bytes in, bytes out.
 *
 * A connection owns one wire, gives it what the socket brought, and writes
 * what stands in `out`.  The wire knows no socket and no clock of its own, so
 * it can be driven by a test byte by byte.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef CORE_WIRE_H
#define CORE_WIRE_H

#include "base/block.h"
#include "base/chain.h"
#include "base/slice.h"

#include <stdint.h>

struct service;
struct wire;

enum wire_state {
    WIRE_OPEN,
    WIRE_CLOSE,  /* close when the output has been written */
    WIRE_LINGER, /* likewise, but the peer may still be sending: end our side,
                    read and drop until it ends its own */
    WIRE_BROKEN  /* close at once, the output is not worth sending */
};

struct wire_ops {
    /* Takes all of bytes, which lie in block; what is kept holds a reference
     * to it.  Not called in another state than WIRE_OPEN. */
    void (*feed)(struct wire *wire, struct block *block, struct slice bytes);
    /* The peer has gone: all requests are aborted.  Output of requests that
     * had ended before stays. */
    void (*eof)(struct wire *wire);
    /* May the connection read on? */
    bool (*want_read)(const struct wire *wire);
    /* Does a request run?  (No: the connection is idle.) */
    bool (*is_busy)(const struct wire *wire);
    /* Since when (service's clock) the peer owes the rest of something that it
     * has begun; 0: it owes nothing. */
    double (*owed_since)(const struct wire *wire);
    /* Bytes have left wire->out. */
    void (*drained)(struct wire *wire);
    /* Aborts what runs and frees the wire. */
    void (*close)(struct wire *wire);
};

/* The addresses of a connection's two ends; empty where there is none, as on
 * unix sockets. */
struct wire_ends {
    char remote[46], local[46]; /* INET6_ADDRSTRLEN */
    uint16_t remote_port, local_port;
};

struct wire {
    const struct wire_ops *ops;
    struct chain out;
    enum wire_state state;
    /* Set by the owner: called when out, state or want_read may have changed
     * outside feed, eof and drained. */
    void (*changed)(void *owner);
    /* Likewise; or NULL: nobody knows.  Tells the addresses. */
    void (*ends)(void *owner, struct wire_ends *ends);
    void *owner;
    /* Set by feed: another wire speaks from here on, which has been fed what
     * this one had; or NULL.  The owner takes it over and closes this one. */
    struct wire *successor;
};

static inline void wire_changed(struct wire *wire)
{
    if (wire->changed != NULL)
        wire->changed(wire->owner);
}

/* Makes a wire for a new connection, or NULL when there is no memory. */
typedef struct wire *wire_open_fn(struct service *service);

#endif
