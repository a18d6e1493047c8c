/* status_listener.h -- --status-listen: the status page on sockets of its own,
 * in FastCGI or HTTP.
 *
 * The main process answers there, whatever its workers do: the supervisor, or
 * the one that serves alone.  What is asked there has limits of its own and
 * takes nothing from the service.
 *
 *     /, /status, and what --status names    the status page
 *     /metrics                               the same, in OpenMetrics
 *     /ping, and what --ping names           "pong"
 *
 * Where the query names no format, the Accept header may.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PROC_STATUS_LISTENER_H
#define PROC_STATUS_LISTENER_H

#include "core/service.h"
#include "io/listen.h"
#include "io/loop.h"
#include "ops/status.h"
#include "proc/options.h"

struct status_listener; /* NULL stands for none in all of these */

/* A line of the log for each, and another where strangers may reach it. */
void status_listener_log(const struct listen_set *listening);

/* Answers on those sockets from now on, out of status; all must outlive it.
 * NULL, with errno, when there is no memory. */
struct status_listener *status_listener_new(struct loop *loop,
                                            const struct listen_set *listening,
                                            struct status *status,
                                            const struct options *options);

/* These options hold from now on. */
void status_listener_apply(struct status_listener *listener,
                           const struct options *options);

/* Closes its connections, but not the sockets; also in a forked child, where
 * those of the parent go on. */
void status_listener_del(struct status_listener *listener);

#endif
