/* refusal.h -- private to this room: errors that are the client's fault.  A
 * handler that does not catch one is answered for with its status.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SCRIPT_REFUSAL_H
#define SCRIPT_REFUSAL_H

#include <lua.h>

/* Pushes such an error; its tostring is the text. */
void refusal_push(lua_State *L, int status, const char *text);

/* The status of the one at index; 0: the value is another. */
int refusal_status(lua_State *L, int index);

#endif
