/* oneshot.h -- one request from the shell: -r '[METHOD ]URL'.
 *
 * Its body is read from stdin, its answer is written to stdout as a CGI program
 * does, and the process ends.  Nothing listens.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PROC_ONESHOT_H
#define PROC_ONESHOT_H

#include "proc/options.h"
#include "script/script.h"

/* Serves options->request with a script that is loaded and started, and becomes
 * oneshot's: on_worker runs before and on_exit after it.  Returns the exit
 * code: 0, 1 where the status is 400 or more or the answer broke off, or one
 * of sysexits.h, and then has said why. */
int oneshot_run(const struct options *options, struct script *script);

#endif
