/* name_server.h -- private to this room: name servers as users write them,
 *
 *   ADDR  ADDR:PORT  [V6]:PORT      with commas between them
 *
 * and as c-ares reads them: always with a port, V6 always in brackets.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef IO_NAME_SERVER_H
#define IO_NAME_SERVER_H

#include "base/slice.h"

/* An address, a port and a comma. */
enum { NAME_SERVER_TEXT = 64 };

/* Writes one for c-ares.  Returns false if text is none: names of name servers
 * cannot be looked up. */
bool name_server_print(struct slice text, char out[NAME_SERVER_TEXT]);

/* All of several lists in one; the caller frees it.  Returns NULL when there is
 * no memory.  What is no name server is left out. */
char *name_servers_join(char *const *lists, size_t count);

#endif
