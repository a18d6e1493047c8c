/* ends.h -- who sits at the two ends of a socket.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef IO_ENDS_H
#define IO_ENDS_H

#include "core/wire.h"

/* Tells the addresses of a connected socket, those of IPv4 as such where they
 * come over a socket of IPv6. */
void ends_of(int fd, struct wire_ends *ends);

#endif
