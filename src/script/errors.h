/* errors.h -- private to this room: errors of the script with the tracebacks
 * that belong to them.
 *
 * An error keeps its value all the way, because to-be-closed variables and
 * pcall see it; what is known of it besides is kept beside the stack, for each
 * task that of its last error.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SCRIPT_ERRORS_H
#define SCRIPT_ERRORS_H

#include "core/request.h"

#include <lua.h>

struct task;

/* The message handler of a task's protected calls. */
int errors_collect(lua_State *L);

/* Pushes the traceback of the error at index as seen from a message handler,
 * with the levels of the coroutines that it came through. */
void errors_push_traceback(lua_State *L, int index);

/* The coroutine `dead` died of the error on top of L's stack: keeps its levels
 * for the traceback of whoever does not catch it.  May raise. */
void errors_keep_levels(lua_State *L, lua_State *dead);

/* The same with a traceback as text, on top of the stack above the error, which
 * is popped.  May raise. */
void errors_keep_trace(lua_State *L);

/* The error on top of the stack stands for the one whose levels were kept
 * last. */
void errors_rename(lua_State *L);

/* Replaces the error on top of the stack by a table, { error, text, traceback
 * }, if errors_collect saw it; else leaves it and returns false. */
bool errors_take(lua_State *L);

/* Raises because the value at 1 is no object of that class: a method was called
 * with a dot, nearly always, so it says how to write it; object is what such an
 * object is usually called. */
int errors_bad_self(lua_State *L, const char *class, const char *object);

/* Drops what is kept for a task.  Raises nothing. */
void errors_forget(lua_State *L, struct task *task);

/* The text and the traceback of what errors_take left on top of the stack, both
 * valid while it is there. */
void errors_show(lua_State *L, struct slice *text, struct slice *trace);

/* Logs what errors_take left on top of the stack, and leaves it. */
void errors_log(lua_State *L, struct request *req);

/* Pushes "app.lua:12: ", where the script called what runs: functions of C and
 * of lua/fcgi are passed over; "" when there is no such line.  As luaL_where
 * does otherwise. */
void errors_push_where(lua_State *L);

#endif
