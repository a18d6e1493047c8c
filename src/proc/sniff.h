/* sniff.h -- a wire that does not know yet whether FastCGI or HTTP is spoken:
 * the first byte tells.  FastCGI's is its version, 1; HTTP begins with a
 * letter.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PROC_SNIFF_H
#define PROC_SNIFF_H

#include "core/service.h"
#include "core/wire.h"

/* A wire_open_fn.  Who says nothing owes its first byte from the beginning; who
 * begins with another one is cut off. */
struct wire *sniff_open(struct service *service);

/* The same for a connection that was in use before: it owes no request. */
struct wire *sniff_open_kept(struct service *service);

#endif
