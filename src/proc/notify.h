/* notify.h -- telling systemd (or who speaks its protocol) how the service is.
 *
 * systemd names a datagram socket in NOTIFY_SOCKET and hears there that the
 * service is ready, reloads, stops; and, every half of WATCHDOG_USEC, that it
 * is alive.  Only the process that systemd started may speak: the variables
 * are taken out of the environment before the script can see them, so neither
 * it nor what it starts does.
 *
 * A message that cannot be sent is told in the log once; the service goes on.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PROC_NOTIFY_H
#define PROC_NOTIFY_H

#include <stdbool.h>

struct notify {
    int fd;          /* -1: there is nobody to tell */
    double watchdog; /* seconds between two signs of life; 0: none wanted */
    bool has_failed; /* it was told in the log */
    char *socket;    /* the variables; or NULL */
    char *watchdog_usec, *watchdog_pid;
};

/* Nobody to tell; what a worker of a supervisor has. */
#define NOTIFY_NOBODY                                                          \
    {                                                                          \
        .fd = -1                                                               \
    }

/* Takes NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID out of the environment
 * and connects, which root's rights may be needed for.  What is wrong with
 * them is told in the log. */
void notify_open(struct notify *notify);

/* The same with a socket that is connected already: by the program whose place
 * this one has taken.  -1: there is none. */
void notify_use(struct notify *notify, int fd);

/* Closes the socket.  The struct is as NOTIFY_NOBODY then. */
void notify_close(struct notify *notify);

/* What the service is doing: it accepts connections, also after a reload that
 * failed; it reloads, and will be ready; it stops.  status is a line for
 * people, shown by `systemctl status`; or NULL. */
void notify_ready(struct notify *notify, const char *status);
void notify_reloading(struct notify *notify);
void notify_stopping(struct notify *notify, const char *status);

/* A line for people, nothing else. */
void notify_status(struct notify *notify, const char *status);

/* A sign of life. */
void notify_watchdog(struct notify *notify);

#endif
