/* desk.h -- where a process answers for the status page: the page, and what it
 * needs of a loop and of the listening sockets.
 *
 * In a worker, in the process that serves alone and in the supervisor alike.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PROC_DESK_H
#define PROC_DESK_H

#include "io/listen.h"
#include "ops/status.h"

#include <ev.h>

struct desk {
    struct status status;
    struct ev_loop *ev;
    const struct listen_set *listening;
    void (*ask)(void *arg);
    void *arg;
    struct ev_timer step; /* while somebody waits for snapshots */
    struct ev_timer look; /* for the maxima and the history */
    unsigned looks;
};

/* Opens it; path is the script's.  ask(arg) has all workers write down their
 * running requests (see snapshot.h) for the wish board->wish, and does not
 * wait. */
void desk_open(struct desk *desk, struct ev_loop *ev, struct board *board,
               const char *path, bool is_single,
               const struct listen_set *listening, void (*ask)(void *arg),
               void *arg);

/* Keeps the maxima and the history of the board: the main process's to do. */
void desk_keep_history(struct desk *desk, bool does);

/* Is that what req:path() would be?  So a page is where the web server's own
 * rules for the path hold. */
bool desk_is_path(const struct request *req, const char *path);

/* The same where SCRIPT_NAME and PATH_INFO are known; without data: there is
 * none. */
bool desk_are_path(const struct request *req, struct slice path,
                   struct slice script_name, struct slice path_info);

/* Requests that still wait get no answer. */
void desk_close(struct desk *desk);

#endif
