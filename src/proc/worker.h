/* worker.h -- one process that serves: the one place that sees every room and
 * plugs them together.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PROC_WORKER_H
#define PROC_WORKER_H

#include "io/listen.h"
#include "io/peers.h"
#include "proc/options.h"
#include "script/script.h"

/* Serves until it is told to stop (TERM, INT, QUIT) and everything that runs
 * has ended, or grace is over.  Closes the listening sockets when it stops
 * accepting.  is_spawned: a web server started the process, on fd 0.  Returns
 * the exit code. */
int worker_run(const struct options *options, struct script *script,
               struct listen_set *listening, const struct peers *peers,
               double grace, bool is_spawned);

#endif
