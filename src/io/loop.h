/* loop.h -- the turn of the event loop, without a word of libev.
 *
 *     hear    sockets, timers and signals change state and post jobs
 *     think   each job that was posted when the phase began runs once
 *     speak   each connection with output gets one write
 *     reap    what was closed is freed
 *
 * All that may run Lua is a job, so it never runs under a callback that is
 * walking something.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef IO_LOOP_H
#define IO_LOOP_H

#include "base/list.h"

#include <stdbool.h>
#include <stdint.h>

struct loop;

/* Something to be done in the next think phase; embedded in what it is about.
 */
struct loop_job {
    struct list link;
    void (*run)(struct loop_job *job);
};

/* A timer; embedded likewise, and zeroed before its first use.  Its storage
 * holds libev's own. */
struct loop_timer {
    uint64_t storage[6];
    void (*fire)(struct loop_timer *timer);
    struct loop *loop;
};

/* Returns NULL, with errno, when the kernel gives no event queue or there is
 * no memory. */
struct loop *loop_new(void);
void loop_del(struct loop *loop);

/* Runs turns until loop_stop. */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);

/* One turn; waits for events at most if wait and nothing is to be done. */
void loop_turn(struct loop *loop, bool wait);

/* The monotonic clock of this turn in seconds; the address stays valid. */
const double *loop_clock(const struct loop *loop);

/* The monotonic clock at this moment. */
double loop_now(void);

void loop_job_init(struct loop_job *job, void (*run)(struct loop_job *job));

/* Posts a job unless it is posted already. */
void loop_post(struct loop *loop, struct loop_job *job);

/* Takes back a job that has not run yet; no-op for others. */
void loop_unpost(struct loop_job *job);

/* Calls fire in the hear phase, not before that many seconds have passed.  A
 * timer that is running starts anew. */
void loop_timer_start(struct loop *loop, struct loop_timer *timer,
                      double seconds, void (*fire)(struct loop_timer *timer));
bool loop_timer_is_running(const struct loop_timer *timer);
void loop_timer_cancel(struct loop_timer *timer);

/* Stops a timer, also one that never ran. */
static inline void loop_timer_stop(struct loop_timer *timer)
{
    if (timer->loop != NULL)
        loop_timer_cancel(timer);
}

#endif
