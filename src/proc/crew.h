/* crew.h -- the generations of a supervisor and their workers, as the
 * supervisor sees them.
 *
 * A crew is a generation: a template (template.h) and the workers that it has
 * forked.  Private to supervisor.c, crew.c and crew_worker.c.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PROC_CREW_H
#define PROC_CREW_H

#include "base/list.h"
#include "proc/desk.h"
#include "proc/supervisor.h"

#include <ev.h>

enum {
    SUPERVISOR_SIGNALS = 8,
    WORKERS_LIMIT = BOARD_SLOTS / 2 /* the old drain while the new start */
};

enum crew_state { CREW_LOADING, CREW_RISING, CREW_CURRENT, CREW_FALLING };

struct crew {
    struct list link;
    struct supervisor *supervisor;
    unsigned number;
    enum crew_state state;
    pid_t pid; /* of its template; 0: it has ended */
    int fd;    /* the link to it, or -1 */
    struct ev_io watcher;
    struct ev_timer patience; /* --load-timeout */
    const char *old_reason;   /* for on_exit of those it replaces */
};

enum crew_worker_state { WORKER_STARTING, WORKER_SERVING, WORKER_DRAINING };

struct crew_worker {
    struct list link;
    struct supervisor *supervisor;
    struct crew *crew;
    enum crew_worker_state state;
    unsigned id;
    pid_t pid; /* 0: not known yet */
    int fd;
    struct board_slot *slot;
    struct crew_worker *replaces; /* recycled: drains when this one is ready */
    char reason[16];              /* why it drains, or is to */
    bool was_stuck;               /* it had to be killed */
    double started;
    struct ev_io watcher;
    struct ev_timer killer;
};

struct supervisor {
    struct service_setup *setup;
    supervisor_prepare_fn *prepare;
    void *prepare_arg;
    struct ev_loop *ev;
    struct list crews; /* the newest last */
    struct list workers;
    struct crew *current; /* or NULL */
    unsigned crew_count;
    unsigned target; /* workers */
    double delay;    /* before the next respawn */
    unsigned tries;  /* without any worker having been ready */
    bool was_ready, reload_again;
    bool stopping, ended;
    int exit_code;
    struct ev_signal signals[SUPERVISOR_SIGNALS];
    struct ev_signal child;
    struct ev_timer respawn, look;
    struct desk desk;
};

/* --- crew_worker.c --- */

/* Starts the workers that are missing, and ends those that are too many. */
void crew_fill(struct supervisor *supervisor);

/* Tells a worker to end once it has nothing to do, for a reason of on_exit. */
void crew_worker_drain(struct crew_worker *worker, const char *reason);

/* It has ended; status is waitpid's.  Frees it. */
void crew_worker_gone(struct crew_worker *worker, int status);

/* The worker of a slot of the board, or NULL. */
struct crew_worker *crew_worker_of_slot(struct supervisor *supervisor,
                                        uint32_t slot);

/* --- crew.c --- */

/* Forks the template of a new generation, of the script that is loaded already
 * or (NULL) of what the disk has now.  Those before it end for that reason when
 * all of its workers are ready. */
void crew_start(struct supervisor *supervisor, struct script *script,
                const char *old_reason);

/* Ends a generation that never came to serve. */
void crew_abandon(struct crew *crew);

/* Its template has ended.  May free other workers. */
void crew_template_gone(struct crew *crew);

/* Reads what a template says. */
void crew_hear(struct ev_loop *ev, struct ev_io *watcher, int events);

/* Lets go of templates that have no workers left to tell of, and of
 * generations that have neither.  May free crews. */
void crews_sweep(struct supervisor *supervisor);

/* Finds workers whose end a template had seen, but could not tell of. */
void crews_find_dead(struct supervisor *supervisor);

/* --- supervisor.c --- */

/* Begins the end of the service. */
void supervisor_stop(struct supervisor *supervisor, const char *why,
                     int exit_code);

/* Ends the loop of the supervisor at once. */
void supervisor_end(struct supervisor *supervisor, int exit_code);

#endif
