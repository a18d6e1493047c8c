/* lua_fcgi.h -- private to this room: the module `fcgi`, and where print goes.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SCRIPT_LUA_FCGI_H
#define SCRIPT_LUA_FCGI_H

#include <lua.h>

/* Makes the module and puts it into package.loaded; replaces print and
 * io.stdout.  May raise. */
void lua_fcgi_open(lua_State *L);

#endif
