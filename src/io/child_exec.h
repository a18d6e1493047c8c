/* child_exec.h -- private to this room: how a program is started.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef IO_CHILD_EXEC_H
#define IO_CHILD_EXEC_H

#include "io/child.h"

/* Runs a program, as child_start does, with *life becoming a descriptor that is
 * readable when it ends; both that and the pipes are the caller's.  Returns -1
 * with errno, *failed and all of them -1 when it could not be run. */
pid_t child_exec(const struct child_spec *spec, int pipes[3], int *life,
                 const char **failed);

#endif
