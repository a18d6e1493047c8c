/* watchdog.h -- ends Lua code that never yields.
 *
 * A watcher of the loop cannot fire while Lua blocks the loop, so this is a
 * timer signal.  All that runs in its handler is a look at two counters, and
 * lua_sethook on the coroutines that run, which Lua allows there.  The hook
 * raises an error until the handler has ended.  Where Lua runs no hooks (in a
 * pattern match, say) nothing can be saved: after twice the limit the process
 * writes a line and exits.
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
#include <time.h>

/* One lua_resume, or closing, that is under way; lives on the C stack. */
struct frame {
    lua_State *L;
    struct frame *outer;
    bool is_closing;
};

struct watchdog {
    double limit;    /* seconds; 0: off */
    bool is_loading; /* the limit is that of loading */
    timer_t timer;
    bool has_timer;
    struct frame *volatile frames;  /* innermost first; NULL: no Lua runs */
    volatile sig_atomic_t is_armed; /* the timer ticks */
    volatile sig_atomic_t is_raising;
    volatile unsigned run;   /* which stretch of Lua this is */
    volatile unsigned seen;  /* ... at the last tick */
    volatile unsigned ticks; /* during it */
};

/* Prepares a watchdog; limit 0 means never.  Returns 0, or -1 with errno. */
int watchdog_init(struct watchdog *watchdog, double limit);

/* The same for loading a script. */
int watchdog_init_loading(struct watchdog *watchdog, double limit);

void watchdog_free(struct watchdog *watchdog);

/* Starts the timer, which watchdog_enter found standing still. */
void watchdog_arm(struct watchdog *watchdog);

/* A stretch of Lua begins. */
static inline void watchdog_enter(struct watchdog *watchdog)
{
    watchdog->run++;
    if (!watchdog->is_armed && watchdog->has_timer)
        watchdog_arm(watchdog);
}

/* It has ended in co, which may be used again; or begins anew there. */
void watchdog_calm(struct watchdog *watchdog, lua_State *co);

static inline void watchdog_leave(struct watchdog *watchdog, lua_State *co)
{
    if (watchdog->is_raising)
        watchdog_calm(watchdog, co);
}

/* What follows an error has the whole limit for itself. */
static inline void watchdog_restart(struct watchdog *watchdog, lua_State *co)
{
    watchdog->run++;
    watchdog_leave(watchdog, co);
}

#endif
