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

/* The same for a script that was broken by script_break: nothing of it runs. */
extern const struct service_ops handler_broken_ops;

#endif
