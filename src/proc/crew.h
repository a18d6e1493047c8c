/* crew.h -- the generations of a supervisor and their workers, as the
 * supervisor sees them.
 *
 * A crew is a generation: a template (template.h) and the workers that it has
 * forked.  Private to supervisor.c and the files crew*.c.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PROC_CREW_H
#define PROC_CREW_H

#include "base/list.h"
#include "proc/desk.h"
#include "proc/link.h"
#include "proc/post.h"
#include "proc/supervisor.h"
#include "proc/upgrade.h"

#include "io/loop_ev.h"
#include "proc/status_listener.h"

enum {
    SUPERVISOR_SIGNALS = 8,
    WORKERS_LIMIT = BOARD_SLOTS / 2, /* the old drain while the new start */
    CREW_STATUS_UNKNOWN = -1 /* of a process that somebody else reaped */
};

/* What a process has that was told to end and need not finish anything, s. */
static const double crew_kill_margin = 2;

enum crew_state { CREW_LOADING, CREW_RISING, CREW_CURRENT, CREW_FALLING };

struct crew {
    struct list link;
    struct supervisor *supervisor;
    unsigned number;
    enum crew_state state;
    pid_t pid; /* of its template; 0: it has ended */
    int fd;    /* the link to it, or -1 */
    struct post post;
    struct ev_io watcher;
    struct ev_timer patience;  /* --load-timeout; later, to end */
    const char *old_reason;    /* for on_exit of those it replaces */
    double grace, block_limit; /* its script may have changed them */
    double silent;             /* s that it owes an answer; see crew_look.c */
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
    struct post post;
    bool link_has_ended; /* so the process has */
    struct board_slot *slot;
    struct crew_worker *replaces; /* that one drains when this one is ready */
    char wish[16];                /* why it wants to be replaced, or "" */
    char reason[16];              /* why it drains */
    double started;
    uint32_t surplus; /* connections that it was told to hand over */
    struct ev_io watcher;
    struct ev_timer killer;
    uint64_t seen_busy; /* see crew_look.c */
    double silent, unasked;
    bool is_asked, is_killed;
};

struct supervisor {
    struct service_setup *setup;
    supervisor_prepare_fn *prepare;
    void *prepare_arg;
    struct loop *loop;
    struct ev_loop *ev; /* the loop's */
    struct list crews;  /* the newest last */
    struct list workers;
    struct crew *current; /* or NULL */
    unsigned crew_count;
    unsigned target; /* workers */
    double delay;    /* before the next respawn */
    double last_death;
    unsigned tries;         /* without any worker having been ready */
    unsigned hook_failures; /* those of them in which on_worker failed */
    bool was_ready, reload_again;
    bool stopping, at_once, ended;
    int exit_code;
    struct ev_signal signals[SUPERVISOR_SIGNALS];
    struct ev_signal child;
    struct upgrade upgrade;
    struct upgrade_config upgrade_config;
    struct ev_prepare upgrade_step;
    struct ev_timer respawn, look;
    struct list homeless; /* connections that nobody can take yet */
    struct ev_timer homes;
    struct desk desk;
    struct status_listener *status_listener;
    char broken[LINK_TEXT_MAX]; /* --dev: why the newest code does not load */
};

/* --- crew_worker.c: one worker --- */

/* Asks a template for a worker, which may be to replace another.  Returns
 * false when that must be tried again later. */
bool crew_worker_start(struct crew *crew, unsigned id,
                       struct crew_worker *replaces);

/* Hears what the worker says. */
void crew_worker_watch(struct crew_worker *worker);

/* Tells a worker to end once it has nothing to do, for a reason of on_exit. */
void crew_worker_drain(struct crew_worker *worker, const char *reason);

/* It has ended; status is waitpid's, or CREW_STATUS_UNKNOWN.  Frees it. */
void crew_worker_gone(struct crew_worker *worker, int status);

/* The state of a process, a letter as in proc(5), and its parent.  Returns
 * false when there is none.  In crew_look.c. */
bool crew_process_look(pid_t pid, char *state, pid_t *parent);

/* Kills a worker that does not do what it should; why is a part of a line. */
void crew_worker_kill(struct crew_worker *worker, const char *why);

/* The worker of a slot of the board, or NULL. */
struct crew_worker *crew_worker_of_slot(struct supervisor *supervisor,
                                        uint32_t slot);

/* Frees workers that have ended and of whom nobody else will tell, because
 * their template has ended, too. */
void crews_find_dead(struct supervisor *supervisor);

/* --- crew_fill.c: how many workers there are --- */

/* Starts the workers that are missing, ends those that are too many, replaces
 * those that wish it. */
void crew_fill(struct supervisor *supervisor);

/* The same after a while, which grows as workers die; or at once. */
void crew_fill_later(struct supervisor *supervisor, bool at_once);

/* Makes a generation that rises the current one if all of its workers are
 * ready: those before it drain. */
void crew_check_risen(struct crew *crew);

/* --- crew_conns.c: kept connections that change workers --- */

/* Gives a connection, which is the caller's no more, to a worker that serves:
 * at once, or as soon as there is one. */
void crew_conn_pass(struct supervisor *supervisor, int fd);

/* Passes on those that a worker was given and has not received. */
void crew_conns_take_back(struct crew_worker *worker);

/* Looks for workers for those that have none. */
void crew_conns_settle(struct supervisor *supervisor);

/* Has workers with many more connections than others hand some over. */
void crew_conns_balance(struct supervisor *supervisor);

/* Closes those. */
void crew_conns_drop(struct supervisor *supervisor);

/* --- crew_look.c --- */

/* To be called so many seconds after the last time: kills processes that have
 * not done anything for too long. */
void crews_look(struct supervisor *supervisor, double seconds);

/* --- crew.c: generations --- */

/* Forks the template of a new generation, of the script that is loaded already
 * or (NULL) of what the disk has now.  Those before it end for that reason when
 * all of its workers are ready.  Returns whether that went well. */
bool crew_start(struct supervisor *supervisor, struct script *script,
                const char *old_reason);

/* Hears what its template says. */
void crew_watch(struct crew *crew);

/* With --dev: has all workers answer with the reason. */
void crews_break(struct supervisor *supervisor, const char *why);

/* Ends a generation that never came to serve. */
void crew_abandon(struct crew *crew);

/* Tells its template to end, and sees to it.  Its workers are the supervisor's
 * own children then. */
void crew_let_template_end(struct crew *crew);

/* Its template has ended; status is waitpid's.  May free workers. */
void crew_template_gone(struct crew *crew, int status);

/* Reads what a template says. */
void crew_hear(struct ev_loop *ev, struct ev_io *watcher, int events);

/* Reads what a template has said and lets it say no more: of workers that end
 * from now on SIGCHLD tells, once it has ended. */
void crew_hear_out(struct crew *crew);

/* Lets go of templates that have no workers left to tell of, and of
 * generations that have neither.  May free crews. */
void crews_sweep(struct supervisor *supervisor);

/* --- crew_upgrade.c --- */

/* Prepares for upgrades. */
void crews_open_upgrade(struct supervisor *supervisor);
void crews_close_upgrade(struct supervisor *supervisor);

/* Takes over the generations and workers of another program.  Returns false
 * when there is no memory. */
bool crews_inherit(struct supervisor *supervisor,
                   const struct upgrade_state *left);

/* --- supervisor.c --- */

/* Begins the end of the service. */
void supervisor_stop(struct supervisor *supervisor, const char *why,
                     int exit_code);

/* Ends the loop of the supervisor at once. */
void supervisor_end(struct supervisor *supervisor, int exit_code);

#endif
