/* origin.h -- how the program was started, to start it in the same way again:
 * by the same path, with the same arguments, environment and folder.
 *
 * The path is the one that the program was started by (argv[0], through PATH if
 * it has no slash), so that a file or a link that was replaced since means the
 * new one.  Where that path leads elsewhere, because argv[0] is only a name, it
 * is the kernel's: /proc/self/exe.
 *
 * The environment is that of the start, whatever the script or a library has
 * done to it, without LISTEN_* and UPGRADE_VARIABLE, which were said to this
 * process alone.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PROC_ORIGIN_H
#define PROC_ORIGIN_H

#include "base/trust.h"
#include "proc/upgrade_state.h"

struct origin {
    int argc;
    char **argv;
    char **environment; /* ends with NULL; the texts are the process's */
    char *program;      /* a path without "." at its start */
    int folder;         /* -1: it could not be opened */
    char *left; /* UPGRADE_VARIABLE: what another program left; or NULL */
};

enum { ORIGIN_WHY_MAX = TRUST_WHY_MAX + 256 };

/* Notes all of it and takes UPGRADE_VARIABLE out of the environment: to be
 * called before anything changes.  Returns 0, or -1 with errno. */
int origin_init(struct origin *origin, int argc, char **argv);

/* What another program knew of its own origin holds for this one, too: it has
 * the same.  Takes state->program and state->folder over. */
void origin_inherit(struct origin *origin, struct upgrade_state *state);

void origin_free(struct origin *origin);

/* May the program be started?  Root starts only what nobody else can change.
 * Returns false, and why, of ORIGIN_WHY_MAX bytes, says what is wrong. */
bool origin_may_start(const struct origin *origin, char *why);

/* In a forked child: becomes the program with --check before its arguments,
 * and state in its environment, all of its descriptors closed but state->check
 * and 0 to 2.  Returns only where that fails, with errno. */
void origin_check(const struct origin *origin,
                  const struct upgrade_state *state);

/* Becomes the program; what state names is inherited, nothing else but 0 to 2.
 * Returns -1 with errno where that fails, and all is as before. */
int origin_exec(const struct origin *origin, const struct upgrade_state *state);

#endif
