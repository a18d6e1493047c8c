/* load.h -- the script that the options name, and what it says of them.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PROC_LOAD_H
#define PROC_LOAD_H

#include "proc/options.h"
#include "script/script.h"

enum { LOAD_MESSAGE_MAX = SCRIPT_ERROR_MAX + 256 };

/* Loads the script and reads the settings of its table into options.  Fills
 * *config, which, like options, must outlive the script.  Returns EX_OK, and
 * *out is the caller's; or an exit code, and message, of LOAD_MESSAGE_MAX
 * bytes, says why: a line, maybe with a traceback below it; it is empty when
 * the log tells it already. */
int load_script(struct options *options, struct script_config *config,
                struct script **out, char *message);

/* A script that does nothing but answer with a page that tells why the one that
 * options name, which have dev set, does not load.  As load_script. */
int load_stand_in(struct options *options, struct script_config *config,
                  struct script **out, const char *why, char *message);

/* The same for on_start.  Returns EX_OK, or an exit code. */
int load_start(const struct options *options, struct script *script,
               char *message);

#endif
