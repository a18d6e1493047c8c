/* reopen.h -- the logs opened anew, after somebody has moved the files away.
 *
 * With a supervisor it is that which opens them, as whoever it was at the
 * start, and passes the descriptors on.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PROC_REOPEN_H
#define PROC_REOPEN_H

#include "ops/access_log.h"
#include "proc/link.h"

/* Opens it anew.  Returns false when that failed: it was told, and the old one
 * stays in use. */
bool reopen_errors(const char *target);
bool reopen_access(struct access_log *log, const char *target);

/* Does what LINK_REOPEN says.  The descriptor, or -1, is no longer the
 * caller's. */
void reopen_take(const struct link_message *message, int fd,
                 struct access_log *access_log);

#endif
