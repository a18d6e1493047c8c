/* session.h -- FastCGI on one connection: bytes in, requests out, and the
 * answers of all of them in one stream of records.
 *
 * No socket, no clock, no Lua: a test feeds bytes and reads wire->out.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FCGI_SESSION_H
#define FCGI_SESSION_H

#include "core/service.h"
#include "core/wire.h"

/* A wire_open_fn. */
struct wire *fcgi_session_open(struct service *service);

/* For service_init: the bytes of one request's state in a session. */
size_t fcgi_stream_size(void);

#endif
