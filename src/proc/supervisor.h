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

/* How a new generation comes to its script: in a new process, which loads it
 * again and reads its settings.  Returns NULL with *error, of
 * SCRIPT_ERROR_MAX bytes, saying why; *setup may be changed to what the
 * settings say now. */
typedef struct script *
supervisor_load_fn(void *arg, struct service_setup *setup, char *error);

/* Supervises until it is told to stop.  The first generation runs the script
 * that is loaded already, which is left as it is in this process.  Returns the
 * exit code; also in the processes that it forks, when they have ended. */
int supervisor_run(struct service_setup *setup, struct script *script,
                   supervisor_load_fn *load, void *load_arg);

#endif
