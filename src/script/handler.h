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

/* Writes a line about a request to the log: "text (GET /a?b, 10.0.0.7, req
 * 8f3)", and detail below it.  req may be NULL. */
void handler_log(enum log_level level, struct request *req, struct slice text,
                 struct slice detail);

/* The id of a request, as in the log: X-Request-Id if the web server sent a
 * sound one, else our own. */
enum { HANDLER_ID_MAX = 64 };
struct slice handler_request_id(const struct request *req,
                                char buffer[HANDLER_ID_MAX]);

#endif
