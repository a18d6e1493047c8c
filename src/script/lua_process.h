/* lua_process.h -- private to this room: programs that a script runs.
 *
 *     root (handler ...) -- owns --> the processes that its tasks have started
 *     orphan             -- owns --> those that it starts while it cleans up
 *     script             -- owns --> those of the worker's own tasks
 *
 * Whoever owns a process ends it: what has not ended is killed, and the pipes
 * are closed.  Else it ends when it is closed or collected.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SCRIPT_LUA_PROCESS_H
#define SCRIPT_LUA_PROCESS_H

#include "base/list.h"

#include <lua.h>

/* A Lua function: makes the classes, and returns the table of what
 * lua/fcgi/process.lua needs:
 *     output_max           bytes of an output that fcgi.run collects at most,
 *                          unless it is told otherwise
 *     can_wait()           raises where nothing can wait
 *     start(args, env, is_only_env, cwd or nil, stdin, stdout, stderr)
 *                          -> process, pipe or nil of each | nil, err
 *         args is a list, env a list of NAME=VALUE, or NAME: not that; the
 *         last three are one of `stdio`, by name
 *     pid(process)
 *     wait(process[, seconds]) -> status | nil, "timeout" | nil, "closed" |
 *                                 nil, "unknown"
 *     signal(name or number) -> number | nil
 *     kill(process, number) -> true | nil, err
 *     close(process)
 *     finish(process, seconds or nil, input, max) -> status | nil, err: the
 *         whole of fcgi.run
 *     output(pipe) -> what that has collected
 *     receive, receive_any, receive_until, send: see lua_stream.h; and
 *         receive_any(pipe, max, seconds or nil)
 *     close_pipe(pipe), is_open(pipe) */
int lua_process_open(lua_State *L);

/* Ends all processes on a list.  Raises nothing. */
void lua_process_end_all(struct list *processes);

#endif
