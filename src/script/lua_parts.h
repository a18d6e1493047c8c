/* lua_parts.h -- private to this room: the parts of a form as they come
 * (req:parts), and what lua/fcgi/form.lua makes a form of.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SCRIPT_LUA_PARTS_H
#define SCRIPT_LUA_PARTS_H

#include "script/script_state.h"

/* Makes the class of parts; the class of requests is at index request_class.
 * Leaves a table on the stack, for form.lua: open_parts, next_part, read_part
 * and the methods of parts. */
void lua_parts_open(lua_State *L, int request_class);

/* req:parts; upvalue 1 is the class of requests. */
int lua_parts_iterate(lua_State *L);

#endif
