/* template.h -- the process that a generation's workers are forked from.
 *
 * It has loaded the script and run on_start, serves nothing and only forks: so
 * a worker that is replaced runs the code of its generation, whatever lies on
 * the disk by now, and starts in a millisecond.
 *
 *     supervisor -- LINK_SPAWN, with the worker's link --> template -- fork -->
 *     supervisor <-- LINK_SPAWNED, later LINK_EXITED -- template
 *
 * When its link ends the template does; its workers then are the supervisor's
 * own children.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PROC_TEMPLATE_H
#define PROC_TEMPLATE_H

#include "io/listen.h"
#include "io/peers.h"
#include "ops/access_log.h"
#include "ops/board.h"
#include "proc/notify.h"
#include "proc/options.h"
#include "proc/origin.h"
#include "proc/watch.h"
#include "script/script.h"

/* What all processes of a service have in common. */
struct service_setup {
    const struct options *options;
    struct listen_set *listening;
    struct listen_set *status_listening; /* the supervisor's alone */
    const struct peers *peers;
    struct notify *notify;         /* the supervisor's */
    struct access_log *access_log; /* or NULL */
    struct board *board;
    /* For upgrades, see upgrade.h: how the program was started, what every kind
     * of process leaves, and what another program has left to this one, or
     * NULL. */
    const struct origin *origin;
    bool (*describe)(void *arg, struct upgrade_state *state);
    void *describe_arg;
    const struct upgrade_state *left;
    struct watch *watch; /* the supervisor's, with --watch; or NULL */
};

/* Serves the link until it ends; in a worker that it forks, serves as that.
 * Returns the exit code of the process.  The script, which on_start has run of,
 * is taken over; count is how many workers there are to be. */
int template_run(const struct service_setup *setup, struct script *script,
                 unsigned generation, int link);

#endif
