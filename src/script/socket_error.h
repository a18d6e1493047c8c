/* socket_error.h -- private to this room: how scripts hear of what fails on the
 * network.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SCRIPT_SOCKET_ERROR_H
#define SCRIPT_SOCKET_ERROR_H

/* LuaSocket's text for an errno; it lasts until the next call. */
const char *socket_error(int error);

#endif
