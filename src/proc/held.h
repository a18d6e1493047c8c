/* held.h -- signals that come while the program starts, before anybody can hear
 * them.
 *
 * They are noted, not blocked: what on_start runs would inherit the mask, and
 * could not be ended.  Signals are the process's, so there is one note.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PROC_HELD_H
#define PROC_HELD_H

/* From here on TERM, INT, QUIT, HUP and USR1 end nothing. */
void held_begin(void);

/* Whoever hears them is ready: raises again what came.  No-op if nothing was
 * held. */
void held_end(void);

#endif
