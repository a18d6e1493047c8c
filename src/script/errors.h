/* errors.h -- private to this room: errors of the script with the tracebacks
 * that belong to them.
 *
 * An error keeps its value all the way, because to-be-closed variables and
 * pcall see it; what is known of it besides is kept beside the stack.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SCRIPT_ERRORS_H
#define SCRIPT_ERRORS_H

#include "core/request.h"

#include <lua.h>

/* The message handler of a task's protected calls. */
int errors_collect(lua_State *L);

/* Replaces the error on top of the stack by a table, { error, text, traceback
 * }, if errors_collect saw it; else leaves it. */
void errors_take(lua_State *L);

/* Logs what errors_take left on top of the stack, and leaves it. */
void errors_log(lua_State *L, struct request *req);

#endif
