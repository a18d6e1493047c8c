/* pidfile.h -- the file that tells others our process id.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PROC_PIDFILE_H
#define PROC_PIDFILE_H

/* Writes the id of this process and a newline to path; a file that is there
 * is replaced as a whole.  Returns a descriptor for pidfile_remove, or -1 with
 * errno. */
int pidfile_write(const char *path);

/* Removes the file if it still names this process, and closes fd, which
 * pidfile_write returned; where the folder does not let us, as it may be once
 * we are another user, the file is emptied through fd.  Returns 0, or -1 with
 * errno when it had to be emptied. */
int pidfile_remove(const char *path, int fd);

#endif
