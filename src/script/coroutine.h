/* coroutine.h -- private to this room: the coroutine library of scripts.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SCRIPT_COROUTINE_H
#define SCRIPT_COROUTINE_H

#include <lua.h>

/* Puts our functions into the table `coroutine`.  May raise. */
void coroutine_open(lua_State *L);

#endif
