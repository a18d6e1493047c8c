/* supervisor.h -- the process that keeps a number of workers serving.
 *
 * It opens nothing but the listening sockets and runs no Lua: what it does is
 * fork, wait and tell.
 *
 *     generation:  LOADING -- LINK_LOADED --> RISING -- all workers ready -->
 *                  CURRENT -- a newer one is --> FALLING -- workers gone -->
 * ended worker:      STARTING -- LINK_READY --> SERVING -- LINK_DRAIN -->
 *                  DRAINING -- ends, or is killed after --grace --> gone
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PROC_SUPERVISOR_H
#define PROC_SUPERVISOR_H

#include "proc/load.h"
#include "proc/template.h"

/* How a generation comes to its script, in a new process: *script is the one
 * that is loaded already, or NULL, and then it is loaded anew with its
 * settings, which are setup's from then on.  On return on_start has run and the
 * process is the user that serves.  Returns EX_OK; or an exit code and message,
 * of LOAD_MESSAGE_MAX bytes, says why: it is empty when the log tells it
 * already. */
typedef int supervisor_prepare_fn(void *arg, struct service_setup *setup,
                                  struct script **script, char *message);

/* Supervises until it is told to stop.  The first generation runs the script
 * that is loaded already, which is left as it is in this process.  Returns the
 * exit code; also in the processes that it forks, when they have ended. */
int supervisor_run(struct service_setup *setup, struct script *script,
                   supervisor_prepare_fn *prepare, void *arg);

#endif
