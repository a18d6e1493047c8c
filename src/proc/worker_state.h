/* worker_state.h -- what a worker is made of.  Private to the files worker*.c.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PROC_WORKER_STATE_H
#define PROC_WORKER_STATE_H

#include "io/accept.h"
#include "io/conn.h"
#include "io/loop_ev.h"
#include "proc/age.h"
#include "proc/generation.h"
#include "proc/link.h"
#include "proc/monitor.h"
#include "proc/protocol.h"
#include "proc/reload.h"
#include "proc/status_listener.h"
#include "proc/upgrade.h"
#include "proc/worker.h"

enum { WORKER_SIGNALS = 8 };

struct worker {
    const struct worker_config *config;
    struct generation *current;
    struct list retired; /* generations before it */
    const char *reason;  /* why it drains */
    struct reload reload;
    struct loop *loop;
    struct service service;
    struct conns *conns;
    struct acceptors *acceptors;
    struct acceptor_protocol protocols[PROTOCOLS];
    wire_open_fn *open_kept; /* speaks on connections of other processes */
    struct ev_signal signals[WORKER_SIGNALS];
    struct ev_timer patience;
    struct ev_timer heartbeat; /* for systemd's watchdog */
    struct ev_timer retry;     /* of writing the access log */
    struct elders *elders;     /* or NULL */
    struct upgrade upgrade;
    struct upgrade_config upgrade_config;
    struct ev_io link; /* its fd is -1 without one */
    struct monitor monitor;
    struct age age;
    struct status_listener *status_listener;
    int status;      /* to exit with */
    bool was_told;   /* a signal has stopped it */
    bool draining;   /* accepts no more */
    bool hands_over; /* its connections, to whoever holds the link */
    bool cancelled;  /* grace is over */
    bool stopped;    /* ends at once */
};

/* --- worker.c --- */

/* Accepts no more, and ends once all has ended; reason: for on_exit.
 * can_hand_over: there may be other workers that serve. */
void worker_drain(struct worker *worker, const char *reason,
                  bool can_hand_over);

/* --- worker_link.c --- */

/* Prepares the link; without one that is all. */
void worker_open_link(struct worker *worker);

/* Hears whoever holds the other end: the supervisor, or the process that this
 * one was an elder of. */
void worker_watch_link(struct worker *worker, int link);

/* The worker takes its place under a supervisor: it is ready to serve. */
void worker_take_place(struct worker *worker);

/* Gives a kept connection between two requests, with what the peer has sent and
 * nobody has read, to another worker; false: it is to be closed. */
bool worker_hand_over(void *arg, int fd);

/* Has the process done enough?  Then another one takes its place: a supervisor
 * sees to that; else whoever started it. */
void worker_look_at_age(struct worker *worker);

/* --- worker_signals.c --- */

void worker_watch_signals(struct worker *worker);

/* At the end: what comes from now on is for whoever cares for the elders. */
void worker_hold_signals(struct worker *worker);

/* --- worker_upgrade.c: of one that serves alone --- */

void worker_prepare_upgrades(struct worker *worker);

/* Between two turns: does what is next, and returns as another process, the
 * elder, when it is time. */
void worker_step_upgrade(struct worker *worker);

/* May a reload begin, or go on? */
bool worker_may_reload(const struct worker *worker);

/* It serves: those before it need not any more. */
void worker_relieve_elders(struct worker *worker);

#endif
