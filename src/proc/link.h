/* link.h -- what the processes of a service tell one another: short messages
 * over a pair of sockets, with a descriptor now and then.
 *
 * The kernel keeps the bounds of messages (SOCK_SEQPACKET), and the end of a
 * process is the end of its link: nobody needs a signal to hear of it.
 *
 * After an upgrade the two ends may be different programs: who changes what a
 * message means, or the order of the kinds, changes UPGRADE_VERSION
 * (upgrade_state.h).  New kinds come last; others are not understood and
 * ignored.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PROC_LINK_H
#define PROC_LINK_H

#include <stdint.h>

enum link_kind {
    /* the supervisor to a template */
    LINK_SPAWN, /* a worker: id, slot, value: how many there are to be; with
                   the worker's end of its link */
    /* a template to the supervisor */
    LINK_LOADED,  /* text: --grace and --block-limit of the script, in ms */
    LINK_FAILED,  /* value: the exit code; text says why, or "": it was told */
    LINK_SPAWNED, /* slot, value: the process id; 0: fork failed */
    LINK_EXITED,  /* slot, value: the status of waitpid */
    /* the supervisor to a worker */
    LINK_DRAIN,    /* text: the reason for on_exit; value: are idle connections
                      to be handed over? */
    LINK_STOP,     /* at once */
    LINK_CONN,     /* serve this connection, which comes with it */
    LINK_SHED,     /* hand over so many connections (id) that are idle */
    LINK_PING,     /* answer, if your loop turns */
    LINK_SNAPSHOT, /* write down what runs: see ops/snapshot.h */
    LINK_BROKEN,   /* --dev: the newest code does not load; text: why */
    /* ... and to a template as well */
    LINK_REOPEN, /* value: enum link_log; text: its target; with the file, if
                    it is one */
    /* a worker to the supervisor */
    LINK_READY,    /* value: its process id */
    LINK_PONG,     /* value: its process id */
    LINK_RECYCLE,  /* wants to be replaced; text: the reason */
    LINK_HANDOVER, /* a kept connection that is idle, for another worker */
    LINK_WANT_SNAPSHOTS, /* of all workers */
    /* a template or a worker to the supervisor, with --watch: text is a file of
     * code, id and slot its print (watch.h).  With --dev also back to workers:
     * the file may be shown */
    LINK_FILE
};

enum link_log { LINK_LOG_ERRORS, LINK_LOG_ACCESS };

enum { LINK_TEXT_MAX = 4096 + 256 };

struct link_message {
    uint32_t kind; /* enum link_kind */
    uint32_t id, slot;
    int32_t value;
    char text[LINK_TEXT_MAX]; /* ends with NUL */
};

/* Makes a pair of links.  Returns 0, or -1 with errno. */
int link_pair(int fds[2]);

/* Sends a message, with a descriptor unless fd is -1; the descriptor stays
 * open here.  Waits for a second at most.  Returns 0, or -1 with errno. */
int link_send(int link, const struct link_message *message, int fd);

/* The same without waiting: EAGAIN when the other end does not read. */
int link_offer(int link, const struct link_message *message, int fd);

/* link_send for a message of nothing but its kind, and text or NULL. */
int link_tell(int link, enum link_kind kind, const char *text);

/* The same if there is room for it: never waits.  For what is no loss. */
int link_try(int link, enum link_kind kind);

/* Takes a message.  *fd is the descriptor that came with it, close-on-exec, or
 * -1.  Returns 1; 0 at the end of the link; -1 with errno, EAGAIN when there is
 * nothing yet. */
int link_receive(int link, struct link_message *message, int *fd);

#endif
