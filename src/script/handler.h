/* handler.h -- private to this room: one request in the hands of the script.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SCRIPT_HANDLER_H
#define SCRIPT_HANDLER_H

#include "base/log.h"
#include "script/task.h"

/* The operations by which a service hands its requests to a script. */
extern const struct service_ops handler_ops;

/* The task's coroutine died outside of all protection; what is one line, or
 * NULL when there is nothing to tell.  Its request, if any, gets a 500. */
void handler_failed(struct task *task, const char *what);

/* The task has ended and lets go of its request. */
void handler_ended(struct task *task, struct request *req);

#endif
