/* watchdog.h -- ends Lua code that never yields, and tells of what blocks the
 * loop for long.
 *
 * A watcher of the loop cannot fire while Lua blocks the loop, so this is a
 * timer signal.  All that runs in its handler is a look at two counters, and
 * lua_sethook on the coroutines that run, which Lua allows there.  The hook
 * raises an error until the handler has ended.  Where Lua runs no hooks (in a
 * pattern match, say) nothing can be saved: after twice the limit the process
 * writes a line and exits.
 *
 * Of a stretch of Lua that was under way at a tick it is known when it began,
 * as exactly as that is needed, and where it was: a hook that the tick has set
 * notes the levels, and goes.  So what is short costs nothing.
 *
 * The timer stands still while no Lua runs.  A script that is being loaded has
 * a watchdog, too, which is less patient with C code: nobody is served yet.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SCRIPT_WATCHDOG_H
#define SCRIPT_WATCHDOG_H

#include <lua.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

struct traceback;

/* One lua_resume, or closing, that is under way; lives on the C stack. */
struct frame {
    lua_State *L;
    struct frame *outer;
    bool is_closing;
    const lua_State *from; /* who does it */
};

struct watchdog {
    double limit;             /* s; 0: off */
    bool is_loading;          /* the limit is that of loading */
    double blocked;           /* what the last long stretch took, s */
    double blocked_from;      /* how long such a one is; 0: none is noted */
    double period;            /* of the ticks */
    unsigned most_ticks;      /* in which Lua may run on */
    const double *clock;      /* the loop's */
    struct traceback *sample; /* where the stretch was when last seen */
    timer_t timer;
    bool has_timer;
    struct frame *volatile frames;  /* innermost first; NULL: no Lua runs */
    volatile sig_atomic_t is_armed; /* the timer ticks */
    volatile sig_atomic_t is_raising;
    volatile sig_atomic_t is_noted; /* a tick has seen this stretch */
    volatile double ticked;         /* when; or when the timer was armed */
    volatile double noted_after;    /* the stretch began after that */
    volatile unsigned run;          /* which stretch of Lua this is */
    volatile unsigned seen;         /* ... at the last tick */
    volatile unsigned ticks;        /* during it */
};

/* Prepares a watchdog; 0 s means never.  clock is the time at which this turn
 * of the loop began to think.  Returns 0, or -1 with errno. */
int watchdog_init(struct watchdog *watchdog, double limit, double blocked_from,
                  const double *clock);

/* The same for loading a script. */
int watchdog_init_loading(struct watchdog *watchdog, double limit);
void watchdog_free(struct watchdog *watchdog);

/* In a forked child, which inherits no timers: makes its own.  No Lua must be
 * running.  Returns 0, or -1 with errno. */
int watchdog_forked(struct watchdog *watchdog);

/* Starts the timer, which watchdog_enter found standing still. */
void watchdog_arm(struct watchdog *watchdog);

/* A stretch of Lua begins. */
static inline void watchdog_enter(struct watchdog *watchdog)
{
    watchdog->run++;
    if (!watchdog->is_armed && watchdog->has_timer)
        watchdog_arm(watchdog);
}

/* It has ended in co, which may be used again; returns what watchdog_leave
 * does. */
bool watchdog_calm(struct watchdog *watchdog, lua_State *co);

/* Returns whether it was a long one: then `blocked` and `sample` are set. */
static inline bool watchdog_leave(struct watchdog *watchdog, lua_State *co)
{
    return (watchdog->is_raising || watchdog->is_noted) &&
           watchdog_calm(watchdog, co);
}

/* What follows an error has the whole limit for itself. */
void watchdog_restart(struct watchdog *watchdog, lua_State *co);

#endif
