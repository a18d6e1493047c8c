/* lua_part.h -- private to this room: the class of parts, which the loop over
 * req:parts gives.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SCRIPT_LUA_PART_H
#define SCRIPT_LUA_PART_H

#include "script/parts_reader.h"

/* Makes the class; leaves it on the stack, and its methods above it. */
void lua_part_open(lua_State *L);

/* Pushes the part that the reader, at index 1, is at, and returns 1. */
int lua_part_push(lua_State *L, struct reader *reader);

/* A Lua function with the class as upvalue 1: (part, max) -> all of it, "" when
 * it is empty; nil, "too large". */
int lua_part_read_all(lua_State *L);

#endif
