/* caretaker.h -- the main process when a new program took its place and could
 * not serve: its elders do.
 *
 * It holds the process id, the sockets and the pid file, hears the signals and
 * passes on what they say, and waits: for HUP or USR2 to try again, or for the
 * stop.  An end of the elders that nobody asked for has the program start
 * anew, from nothing.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PROC_CARETAKER_H
#define PROC_CARETAKER_H

#include "proc/elders.h"
#include "proc/upgrade.h"

struct caretaker_config {
    const struct origin *origin;
    struct notify *notify;
    struct elders *elders;
    const char *log;               /* where to, or NULL: it is not open */
    const char *access;            /* likewise */
    struct access_log *access_log; /* or NULL */
    double load_timeout;           /* seconds; 0: never */
    bool (*describe)(void *arg, struct upgrade_state *state);
    void *arg;
};

/* Until the elders have ended.  Returns the exit code: of a stop that was asked
 * for EX_OK, else failed, which is what the start of this program ended
 * with. */
int caretaker_run(const struct caretaker_config *config, int failed);

#endif
