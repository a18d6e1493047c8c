/* held.h -- signals that come when nobody can hear them: while the program
 * starts, and while another takes its place.
 *
 * During the start they are noted, not blocked: what on_start runs would
 * inherit the mask, and could not be ended.  Signals are the process's, so
 * there is one note.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PROC_HELD_H
#define PROC_HELD_H

/* From here on TERM, INT, QUIT, HUP, USR1, USR2, TTIN and TTOU end and stop
 * nothing. */
void held_begin(void);

/* Whoever hears them is ready: raises again what came.  No-op if nothing was
 * held. */
void held_end(void);

/* Keeps these, and CHLD, in the kernel, where execve does not lose them; and
 * lets them come. */
void held_block(void);
void held_unblock(void);

/* In a forked child: they mean what they mean to any program, and all may
 * come. */
void held_forget(void);

#endif
