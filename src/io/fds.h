/* fds.h -- the descriptors that a process starts with.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef IO_FDS_H
#define IO_FDS_H

/* Opens /dev/null on those of fds 0 to 2 that are closed: else the next socket
 * would become stdout, and print would write into it.  To be called before
 * anything else is opened.  Returns 0, or -1 with errno. */
int fds_open_missing(void);

/* Marks all descriptors above last close-on-exec: what a web server leaked to
 * us does not reach the programs that a script starts.  Returns 0, or -1 with
 * errno. */
int fds_cloexec_above(int last);

/* Closes the sockets among the descriptors above last, and the pipes that do
 * not block, but keep, as a child does that must not hold its parent's
 * connections open, or those of programs that its parent runs. */
void fds_close_talks(int last, int keep);

/* Raises the soft limit of open files to the hard one.  Returns 0, or -1 with
 * errno. */
int fds_raise_limit(void);

/* Sets the soft limit back to what it was before that, for another program:
 * some close all numbers below it, or know no descriptor above 1023.  No-op if
 * it was not raised.  Calls nothing but the kernel. */
void fds_restore_limit(void);

#endif
