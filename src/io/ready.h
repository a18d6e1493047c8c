/* ready.h -- waits for descriptors that belong to somebody else: a library of
 * the script has opened them, and may close them whenever it likes.
 *
 * They have an epoll instance of their own, which the loop watches.  libev
 * trusts its descriptors: one that is closed while it is watched, or is used
 * again for another file, ends the process or is never heard of again.  Here
 * the kernel's answer is seen at once, each registration is good for one event,
 * so that nothing spins, and a look each second finds those that have closed
 * or changed under their waiters.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef IO_READY_H
#define IO_READY_H

#include "io/loop.h"

/* What to wait for; and what one gets that was closed meanwhile. */
enum { READY_READ = 1, READY_WRITE = 2, READY_BOTH = 3, READY_GONE = 4 };

struct readies;

/* One wait; embedded in whoever waits.  Any number may wait for one descriptor.
 */
struct ready {
    struct list link;        /* with those that wait for the same; or alone */
    struct readies *readies; /* NULL: the wait is over, or never began */
    void (*on_ready)(struct ready *ready);
    int fd;
    unsigned char wanted; /* READY_ */
    unsigned char got;    /* of these, or READY_GONE; 0: not over */
};

enum ready_status {
    READY_LATER,  /* on_ready will be called */
    READY_NOW,    /* epoll does not take it, as a file: it never blocks */
    READY_CLOSED, /* no descriptor is open under this number */
    READY_FAILED  /* errno says why */
};

/* The waits of one loop.  Returns NULL, with errno, when the kernel gives no
 * event queue or there is no memory. */
struct readies *readies_new(struct loop *loop);

/* All waits are over by now. */
void readies_del(struct readies *readies);

/* Waits for fd.  on_ready is called once, when the wait is over; `got` says
 * how. Errors and hang-ups count as all that was wanted.  It starts no wait. It
 * may be called from here for others, who wait for a file that had this number
 * before. */
enum ready_status ready_start(struct readies *readies, struct ready *ready,
                              int fd, unsigned wanted,
                              void (*on_ready)(struct ready *ready));

/* Ends a wait if it is under way. */
void ready_stop(struct ready *ready);

/* How fd is ready at this moment; as ready_start, but READY_LATER says that it
 * is not, and READY_NOW sets *got. */
enum ready_status ready_look(int fd, unsigned wanted, unsigned *got);

#endif
