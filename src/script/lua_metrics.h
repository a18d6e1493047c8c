/* lua_metrics.h -- private to this room: the script's own metrics.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SCRIPT_LUA_METRICS_H
#define SCRIPT_LUA_METRICS_H

#include <lauxlib.h>

/* Adds fcgi.counter and fcgi.gauge to the module on top of the stack. */
void lua_metrics_open(lua_State *L);

#endif
