/* watchdog.c -- see watchdog.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "script/watchdog.h"

#include "base/log.h"
#include "script/script_state.h"
#include "script/traceback.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

enum { TICKS_PER_LIMIT = 4, TICKS_PER_BLOCK = 2 };

static const double least_period = 0.001;

/* Runs inside the coroutine that has to end. */
static void raise_hook(lua_State *L, lua_Debug *ar)
{
    struct watchdog *watchdog = &script_of(L)->watchdog;

    (void)ar;
    if (!watchdog->is_raising) {
        lua_sethook(L, NULL, 0, 0); /* left over in a coroutine of the script */
        return;
    }
    luaL_where(L, 0); /* a hook has no level of its own */
    if (watchdog->is_loading)
        lua_pushfstring(L,
                        "stopped: loading took more than %f s "
                        "(--load-timeout)",
                        watchdog->limit);
    else
        lua_pushfstring(L,
                        "stopped: it ran for more than %f s without a pause "
                        "(--block-limit)",
                        watchdog->limit);
    lua_concat(L, 2);
    lua_error(L);
}

/* Runs in the coroutine that a tick found running, once. */
static void sample_hook(lua_State *L, lua_Debug *ar)
{
    struct watchdog *watchdog = &script_of(L)->watchdog;

    (void)ar;
    lua_sethook(L, NULL, 0, 0);
    if (!watchdog->is_noted)
        return; /* left over in a coroutine of the script */
    watchdog->sample->len = 0;
    traceback_line(watchdog->sample, "stack traceback:");
    traceback_frames(watchdog->sample, watchdog->frames);
}

static void set_timer(struct watchdog *watchdog, double seconds)
{
    struct itimerspec spec = { 0 };

    spec.it_interval.tv_sec = (time_t)seconds;
    spec.it_interval.tv_nsec =
        (long)((seconds - (double)(time_t)seconds) * 1e9);
    spec.it_value = spec.it_interval;
    timer_settime(watchdog->timer, 0, &spec, NULL);
}

static void give_up(const struct watchdog *watchdog)
{
    static const char loading[] =
        "fcgi-lua: C code called by the script did not return within "
        "--load-timeout: the process ends\n";
    static const char line[] =
        "fcgi-lua: C code called by the script did not return within twice "
        "--block-limit: the process ends\n";

    if (watchdog->is_loading)
        log_last_words(loading, sizeof(loading) - 1);
    else
        log_last_words(line, sizeof(line) - 1);
    _exit(watchdog->is_loading ? EX_CONFIG : EX_SOFTWARE);
}

/* In the signal handler: a script's own hook is left alone. */
static void note_stretch(struct watchdog *watchdog)
{
    lua_State *L = watchdog->frames->L;

    if (!watchdog->is_noted) {
        watchdog->noted_after = watchdog->ticked;
        watchdog->sample->len = 0;
        watchdog->is_noted = 1;
    }
    if (!watchdog->is_raising && lua_gethook(L) == NULL)
        lua_sethook(L, sample_hook, LUA_MASKCOUNT, 1);
}

/* The one thing that runs in a signal handler. */
static void on_tick(int signo, siginfo_t *info, void *context)
{
    struct watchdog *watchdog = info->si_value.sival_ptr;
    int saved = errno;

    (void)signo;
    (void)context;
    if (info->si_code != SI_TIMER || watchdog == NULL)
        return;
    if (watchdog->frames == NULL || watchdog->run != watchdog->seen) {
        bool idle = watchdog->run == watchdog->seen;

        watchdog->seen = watchdog->run;
        watchdog->ticks = 0;
        if (idle) {
            watchdog->is_armed = 0;
            set_timer(watchdog, 0);
        }
    } else if (watchdog->limit > 0) {
        watchdog->ticks++;
        if (watchdog->ticks >= (watchdog->is_loading
                                    ? watchdog->most_ticks + 1
                                    : 2 * watchdog->most_ticks))
            give_up(watchdog);
        if (watchdog->ticks >= watchdog->most_ticks) {
            watchdog->is_raising = 1;
            for (struct frame *frame = watchdog->frames; frame != NULL;
                 frame = frame->outer)
                lua_sethook(frame->L, raise_hook, LUA_MASKCOUNT, 1);
        }
    }
    if (watchdog->blocked_from > 0) {
        if (watchdog->frames != NULL)
            note_stretch(watchdog);
        watchdog->ticked = loop_now();
    }
    errno = saved;
}

/* Ticks come often enough for both of its uses. */
static void choose_period(struct watchdog *watchdog)
{
    double period = watchdog->limit / TICKS_PER_LIMIT;
    double other = watchdog->blocked_from / TICKS_PER_BLOCK;

    if (period <= 0 || (other > 0 && other < period))
        period = other;
    watchdog->period = period > least_period ? period : least_period;
    watchdog->most_ticks =
        (unsigned)(watchdog->limit / watchdog->period + 0.999);
}

static int make_timer(struct watchdog *watchdog)
{
    struct sigevent event = { 0 };

    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = SIGRTMIN;
    event.sigev_value.sival_ptr = watchdog;
    if (timer_create(CLOCK_MONOTONIC, &event, &watchdog->timer) == -1)
        return -1;
    watchdog->has_timer = true;
    return 0;
}

int watchdog_forked(struct watchdog *watchdog)
{
    if (!watchdog->has_timer)
        return 0;
    watchdog->has_timer = false; /* the parent's */
    watchdog->is_armed = 0;
    return make_timer(watchdog);
}

int watchdog_init(struct watchdog *watchdog, double limit, double blocked_from,
                  const double *clock)
{
    struct sigaction action = { 0 };

    memset(watchdog, 0, sizeof(*watchdog));
    watchdog->limit = limit;
    watchdog->clock = clock;
    if (blocked_from > 0)
        watchdog->sample = malloc(sizeof(*watchdog->sample));
    if (watchdog->sample != NULL) /* without memory it goes without */
        watchdog->blocked_from = blocked_from;
    if (limit <= 0 && watchdog->blocked_from <= 0)
        return 0;
    choose_period(watchdog);
    action.sa_sigaction = on_tick;
    action.sa_flags = SA_SIGINFO | SA_RESTART;
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGRTMIN, &action, NULL) == -1)
        return -1;
    return make_timer(watchdog);
}

int watchdog_init_loading(struct watchdog *watchdog, double limit)
{
    int result = watchdog_init(watchdog, limit, 0, NULL);

    watchdog->is_loading = true;
    return result;
}

void watchdog_free(struct watchdog *watchdog)
{
    if (watchdog->has_timer)
        timer_delete(watchdog->timer);
    watchdog->has_timer = false;
    free(watchdog->sample);
    watchdog->sample = NULL;
}

void watchdog_arm(struct watchdog *watchdog)
{
    watchdog->is_armed = 1;
    watchdog->ticks = 0;
    watchdog->seen = watchdog->run;
    watchdog->ticked = loop_now();
    set_timer(watchdog, watchdog->period);
}

static void stop_raising(struct watchdog *watchdog, lua_State *co)
{
    lua_Hook hook = lua_gethook(co);

    watchdog->is_raising = 0;
    if (hook == raise_hook || hook == sample_hook)
        lua_sethook(co, NULL, 0, 0);
}

bool watchdog_calm(struct watchdog *watchdog, lua_State *co)
{
    double since = watchdog->noted_after;

    stop_raising(watchdog, co);
    if (!watchdog->is_noted)
        return false;
    watchdog->is_noted = 0;
    if (*watchdog->clock > since)
        since = *watchdog->clock;
    watchdog->blocked = loop_now() - since;
    return watchdog->blocked >= watchdog->blocked_from;
}

void watchdog_restart(struct watchdog *watchdog, lua_State *co)
{
    watchdog->run++;
    if (watchdog->is_raising)
        stop_raising(watchdog, co);
}
