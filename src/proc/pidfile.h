/* pidfile.h -- the file that tells others our process id.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PROC_PIDFILE_H
#define PROC_PIDFILE_H

/* Writes the id of this process and a newline to path; a file that is there
 * is replaced as a whole.  Returns 0, or -1 with errno. */
int pidfile_write(const char *path);

/* Removes the file if it still names this process. */
void pidfile_remove(const char *path);

#endif
