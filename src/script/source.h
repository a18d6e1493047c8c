/* source.h -- private to this room: the files that Lua code comes from.
 *
 * A process that runs as root takes code only from files that nobody else can
 * change (base/trust.h), be it the script or a module, in Lua or in C.  What a
 * script reads by itself (dofile, loadfile, package.loadlib) is its own
 * business.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SCRIPT_SOURCE_H
#define SCRIPT_SOURCE_H

#include <lauxlib.h>
#include <lua.h>

/* What source_load returns besides the results of luaL_loadfilex. */
enum { SOURCE_REFUSED = LUA_ERRFILE + 1 };

/* As luaL_loadfilex, but for root others must not be able to change the file:
 * SOURCE_REFUSED, with a message that says who can. */
int source_load(lua_State *L, const char *path, const char *mode);

/* Makes require look for modules in the same way.  A module that is refused
 * raises an error, and script->was_refused is set.  If somebody wants to hear
 * of files, dofile and loadfile tell of theirs, too. */
void source_open(lua_State *L);

#endif
