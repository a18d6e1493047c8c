/* send.h -- the front of a chain into a socket.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef IO_SEND_H
#define IO_SEND_H

#include "base/chain.h"

#include <sys/types.h>

/* Writes what is at the front of a chain that is not empty: bytes, up to the
 * next piece of a file, or such a piece, which the kernel reads; SIGPIPE must
 * not be fatal.  Returns how many of *asked bytes it took, which are still in
 * the chain, or -1 with errno: EIO if the file is shorter than was said. */
ssize_t send_front(int fd, const struct chain *out, size_t *asked);

#endif
