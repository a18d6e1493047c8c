/* worker.h -- one process that serves: the one place that sees every room and
 * plugs them together.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PROC_WORKER_H
#define PROC_WORKER_H

#include "io/listen.h"
#include "io/peers.h"
#include "ops/access_log.h"
#include "ops/board.h"
#include "proc/elders.h"
#include "proc/notify.h"
#include "proc/options.h"
#include "proc/origin.h"
#include "proc/watch.h"
#include "script/script.h"

/* Where a worker of a supervisor stands. */
struct worker_place {
    int link; /* to the supervisor */
};

/* What a worker is made of; must outlive it. */
struct worker_config {
    const struct options *options;
    struct script *script; /* the worker's from when it is called */
    struct listen_set *listening;
    const struct peers *peers;
    struct notify *notify; /* hears when it serves, reloads, stops, lives */
    struct access_log *access_log;       /* or NULL */
    struct listen_set *status_listening; /* of one that serves alone */
    bool is_spawned;          /* a web server started the process, on fd 0 */
    struct script_worker who; /* the id also stands in the log */
    /* Of the program, to load the script anew at HUP; NULL: somebody else sees
     * to that. */
    int argc;
    char **argv;
    const struct worker_place *place; /* NULL: it serves alone */
    struct board *board;
    struct board_slot *slot; /* its own */
    /* Of one that serves alone, for its upgrades; see upgrade.h.  NULL: there
     * are none. */
    const struct origin *origin;
    bool (*describe)(void *arg, struct upgrade_state *state);
    void *describe_arg;
    struct elders *elders; /* or NULL: they drain when it serves */
    struct watch *watch;   /* of one that serves alone, with --watch; or NULL */
};

/* Serves until it is told to stop (TERM, INT, QUIT) and everything that runs
 * has ended, or grace is over.  Closes the listening sockets when it stops
 * accepting.  Returns the exit code. */
int worker_run(const struct worker_config *config);

#endif
