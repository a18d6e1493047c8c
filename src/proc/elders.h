/* elders.h -- the processes that served before a single process was upgraded.
 *
 * A program that takes the place of another starts with nothing, so what is
 * under way goes on in a forked copy of the old one, the elder: it has all
 * connections and requests, and goes on accepting, too, while the new program
 * loads.  Only when that serves is the elder told to drain; it hands over its
 * kept connections and ends.  So nobody waits for the new program, and where
 * that cannot serve the elder does.
 *
 *     process -- fork --> elder -- LINK_HANDOVER, with a connection --> process
 *        `-- execve --> the new program -- LINK_DRAIN, STOP, REOPEN --> elder
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PROC_ELDERS_H
#define PROC_ELDERS_H

#include "base/list.h"
#include "ops/access_log.h"
#include "ops/board.h"
#include "proc/link.h"
#include "proc/upgrade_state.h"

#include <ev.h>
#include <stdbool.h>
#include <sys/types.h>

struct elders {
    struct list list;
    struct ev_loop *ev;              /* NULL: nobody watches */
    void (*take)(void *arg, int fd); /* NULL: what they say has to wait */
    void *arg;
    struct board *board; /* where they have their slots; or NULL */
    int fork_pipe;       /* keeps a new one waiting; or -1 */
};

void elders_init(struct elders *elders);

/* Adds those of a state.  Returns false when there is no memory. */
bool elders_inherit(struct elders *elders, const struct upgrade_state *state);

/* The main process keeps the board.  is_theirs: they have their slots on it,
 * too, which are free when they have ended. */
void elders_use_board(struct elders *elders, struct board *board,
                      bool is_theirs);

/* Adds them to one.  Returns what elders_inherit does. */
bool elders_describe(const struct elders *elders, struct upgrade_state *state);

/* Hears of their ends until elders_unwatch. */
void elders_watch(struct elders *elders, struct ev_loop *ev);
void elders_unwatch(struct elders *elders);

/* From now on, and until then, calls take(arg, fd) with each connection that
 * one of them hands over. */
void elders_take(struct elders *elders, void (*take)(void *arg, int fd),
                 void *arg);

/* Tells those that serve to drain; reason: for on_exit.  hand_over: their kept
 * connections. */
void elders_drain(struct elders *elders, const char *reason, bool hand_over);

/* Tells all of them, without waiting: LINK_STOP, REOPEN or SNAPSHOT. */
void elders_tell(struct elders *elders, enum link_kind kind);

/* Gives them the logs that were opened anew, with those names; access_log may
 * be NULL. */
void elders_pass_logs(struct elders *elders, const char *errors,
                      const char *access, const struct access_log *access_log);

/* Is there one that still accepts connections? */
bool elders_serve(const struct elders *elders);

/* Have all ended, and has all that they have said been heard? */
bool elders_are_gone(const struct elders *elders);

/* Makes this process an elder of what it is going to be: forks as fork does.
 * Returns 0 in the elder, and *link is its own; that is when the other program
 * has taken over: what is a copy of the parent's is told no more of them.  In
 * the parent its process id, or -1 with errno; execve is to follow at once, and
 * elders_take_back if that fails. */
pid_t elders_fork(struct elders *elders, unsigned generation, unsigned slot,
                  int *link);
void elders_take_back(struct elders *elders);

/* A program that the last elder has run is a child of this process: when the
 * elder has ended it is killed, if need be, and reaped; not before, or the
 * elder could not find out how it has ended. */
void elders_add_ward(struct elders *elders, pid_t pid);

/* Forgets them all. */
void elders_free(struct elders *elders);

#endif
