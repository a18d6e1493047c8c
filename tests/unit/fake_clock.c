/* fake_clock.c -- see fake_clock.h.
 * SPDX-License-Identifier: MIT */
#include "fake_clock.h"

#include <assert.h>

/* The names are the linker's (--wrap); there is no header for them. */
double __real_loop_now(void);
void __real_loop_timer_start(struct loop *loop, struct loop_timer *timer,
                             double seconds,
                             void (*fire)(struct loop_timer *timer));
void __real_loop_timer_cancel(struct loop_timer *timer);
bool __real_loop_timer_is_running(const struct loop_timer *timer);
double __wrap_loop_now(void);
void __wrap_loop_timer_start(struct loop *loop, struct loop_timer *timer,
                             double seconds,
                             void (*fire)(struct loop_timer *timer));
void __wrap_loop_timer_cancel(struct loop_timer *timer);
bool __wrap_loop_timer_is_running(const struct loop_timer *timer);

/* Lies in a timer's storage, where libev's would be. */
struct fake_timer {
    struct list link; /* in running, in the order in which they were started */
    double due;
    struct loop_timer *timer;
};

static bool is_on;
static double now;
static struct list running;

static struct fake_timer *fake_of(const struct loop_timer *timer)
{
    _Static_assert(sizeof(struct fake_timer) <= sizeof(timer->storage),
                   "loop_timer.storage is too small for the fake clock's");
    return (struct fake_timer *)(void *)(size_t)(const void *)timer->storage;
}

void fake_clock_on(void)
{
    assert(!is_on);
    is_on = true;
    now = 0;
    list_init(&running);
}

void fake_clock_off(void)
{
    is_on = false;
}

unsigned fake_clock_timers(void)
{
    unsigned n = 0;

    for (struct list *link = running.next; link != &running; link = link->next)
        n++;
    return n;
}

struct loop_timer *fake_clock_next(void)
{
    struct fake_timer *first = NULL;

    for (struct list *link = running.next; link != &running;
         link = link->next) {
        struct fake_timer *fake = list_entry(link, struct fake_timer, link);

        if (first == NULL || fake->due < first->due)
            first = fake;
    }
    return first == NULL ? NULL : first->timer;
}

double fake_clock_due(const struct loop_timer *timer)
{
    return fake_of(timer)->due;
}

void fake_clock_fire(struct loop_timer *timer)
{
    struct fake_timer *fake = fake_of(timer);

    assert(__wrap_loop_timer_is_running(timer));
    list_remove(&fake->link);
    if (fake->due > now)
        now = fake->due;
    timer->fire(timer);
}

double __wrap_loop_now(void)
{
    return is_on ? now : __real_loop_now();
}

void __wrap_loop_timer_start(struct loop *loop, struct loop_timer *timer,
                             double seconds,
                             void (*fire)(struct loop_timer *timer))
{
    struct fake_timer *fake = fake_of(timer);

    if (!is_on) {
        __real_loop_timer_start(loop, timer, seconds, fire);
        return;
    }
    loop_timer_stop(timer);
    timer->fire = fire;
    timer->loop = loop;
    fake->due = now + (seconds > 0 ? seconds : 0);
    fake->timer = timer;
    list_init(&fake->link);
    list_append(&running, &fake->link);
}

void __wrap_loop_timer_cancel(struct loop_timer *timer)
{
    if (is_on)
        list_remove(&fake_of(timer)->link);
    else
        __real_loop_timer_cancel(timer);
}

bool __wrap_loop_timer_is_running(const struct loop_timer *timer)
{
    if (!is_on)
        return __real_loop_timer_is_running(timer);
    return timer->loop != NULL && !list_is_empty(&fake_of(timer)->link);
}
