/* session.h -- HTTP/1.1 on one connection: bytes in, requests out, one after
 * another, and their answers in that order.
 *
 * No socket, no clock, no Lua: a test feeds bytes and reads wire->out.
 *
 *  - A request that is not exactly HTTP is answered with 4xx or 5xx and a line
 *    that says why; the connection ends.
 *  - Bytes of requests behind the one under way wait until its answer is
 *    complete.
 *  - A body that is still coming when its answer is complete ends the
 *    connection: nobody would know where the next request begins.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef HTTP_SESSION_H
#define HTTP_SESSION_H

#include "core/service.h"
#include "core/wire.h"

/* A wire_open_fn.  Returns NULL also when the program is built without HTTP. */
struct wire *http_session_open(struct service *service);

/* What parses: "llhttp 8.1.0"; NULL: the program is built without HTTP. */
const char *http_library(void);

#endif
