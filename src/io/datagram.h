/* datagram.h -- a socket of datagrams that this process opened: UDP or unix.
 *
 * Nothing waits here: what the kernel does not grant at once is DATAGRAM_WAIT,
 * and news of that side come in the hear phase of the loop.  A datagram stays
 * in the kernel until somebody receives it.
 *
 * Who reads is watched once and stays so until a datagram comes that nobody
 * wants: an exchange is one send, one wait for events and one recv.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef IO_DATAGRAM_H
#define IO_DATAGRAM_H

#include "base/slice.h"
#include "io/endpoint.h"
#include "io/loop.h"

struct datagram;

enum datagram_side { DATAGRAM_IN, DATAGRAM_OUT };

enum datagram_result {
    DATAGRAM_DONE,
    DATAGRAM_WAIT,
    DATAGRAM_FAILED /* with errno; EBADF: it is closed */
};

/* No datagram is longer. */
enum { DATAGRAM_MAX = 65535 };

/* Whose socket it is. */
struct datagram_ops {
    /* Ask again for what DATAGRAM_WAIT was said of. */
    void (*news)(void *owner, enum datagram_side side);
    /* Does somebody still wait for them? */
    bool (*is_awaited)(void *owner, enum datagram_side side);
};

/* A closed one.  Returns NULL when there is no memory. */
struct datagram *datagram_new(struct loop *loop, const struct datagram_ops *ops,
                              void *owner);

/* Closes it first.  NULL is accepted. */
void datagram_del(struct datagram *datagram);

/* Makes the socket of a closed one: AF_INET, AF_INET6 or AF_UNIX.  Returns 0,
 * or -1 with errno. */
int datagram_open(struct datagram *datagram, int family);

/* Takes a descriptor, which becomes non-blocking and close-on-exec and is its
 * own from here on, or with -1 (and errno) still the caller's. */
int datagram_adopt(struct datagram *datagram, int fd);

/* Lets go of the descriptor: -1 if it is closed. */
int datagram_release(struct datagram *datagram);

void datagram_close(struct datagram *datagram);

/* -1 when it is closed. */
int datagram_fd(const struct datagram *datagram);

/* 0 when it is closed. */
int datagram_family(const struct datagram *datagram);

int datagram_bind(struct datagram *datagram, const struct endpoint *own);

/* From now on it speaks with that peer only, with NULL with all again.  A unix
 * socket gets an address of its own, so that the peer can answer. */
int datagram_connect(struct datagram *datagram, const struct endpoint *peer);

/* Sends one, to the peer if `to` is NULL. */
enum datagram_result datagram_send(struct datagram *datagram,
                                   struct slice bytes,
                                   const struct endpoint *to);

/* Receives one, or as much of it as there is room.  The kernel is asked only if
 * something may be there, or with must_ask. */
enum datagram_result datagram_receive(struct datagram *datagram, char *room,
                                      size_t size, bool must_ask, size_t *len,
                                      struct endpoint *from);

#endif
