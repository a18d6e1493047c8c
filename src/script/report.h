/* report.h -- private to this room: lines about requests for operators and for
 * the authors of scripts.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SCRIPT_REPORT_H
#define SCRIPT_REPORT_H

#include "base/log.h"
#include "core/request.h"
#include "script/script_state.h"

enum { REPORT_TEXT_MAX = 8192 }; /* of an error, and of its traceback */

/* Writes a line about a request to the log: "text (GET /a?b, 10.0.0.7, req
 * 8f3)", and detail below it.  req may be NULL. */
void report_log(enum log_level level, struct request *req, struct slice text,
                struct slice detail);

/* The same for an error, which the author of the script should read: in our
 * log, and in the web server's. */
void report_error(struct script *script, struct request *req, struct slice text,
                  struct slice detail);

/* The same for what ended a task without an error value; NULL: nothing. */
void report_fault(struct task *task, const char *what);

#endif
