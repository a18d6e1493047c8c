/* fake_clock.h -- time that passes only when a test says so.
 *
 * The linker sends the loop's timers and loop_now, wherever others than the
 * loop itself call them, through here; see tests/CMakeLists.txt.  While the
 * fake clock is off they are the real ones.
 * SPDX-License-Identifier: MIT */
#ifndef UNIT_FAKE_CLOCK_H
#define UNIT_FAKE_CLOCK_H

#include "io/loop.h"

#include <stdbool.h>

/* From now on it is second 0, and timers are ours.  No timer may run. */
void fake_clock_on(void);

/* The real clock again. */
void fake_clock_off(void);

/* How many timers run. */
unsigned fake_clock_timers(void);

/* The one that is due first, of equal ones that which was started first; NULL:
 * none runs. */
struct loop_timer *fake_clock_next(void);

/* When a timer that runs is due, in seconds. */
double fake_clock_due(const struct loop_timer *timer);

/* The time of a timer that runs has come, whatever others there are: the clock
 * moves on to it, never back, and it fires. */
void fake_clock_fire(struct loop_timer *timer);

#endif
