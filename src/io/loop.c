/* loop.c -- see loop.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "io/loop_ev.h"

#include "io/child.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

/* A burst of jobs must not hold back the answers of those that are done. */
static const double think_seconds = 0.001;
enum { JOBS_PER_LOOK = 16 }; /* at the clock */

static struct ev_timer *timer_of(const struct loop_timer *timer)
{
    _Static_assert(sizeof(struct ev_timer) <= sizeof(timer->storage),
                   "loop_timer.storage is too small for libev's timer");
    return (struct ev_timer *)(void *)(size_t)(const void *)timer->storage;
}

double loop_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void take_time(struct ev_loop *ev, struct ev_check *check, int events)
{
    struct loop *loop = ev_userdata(ev);

    (void)check;
    (void)events;
    loop->now = loop_now();
}

struct loop *loop_new(void)
{
    struct loop *loop = calloc(1, sizeof(*loop));

    if (loop == NULL)
        return NULL;
    loop->ev = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV);
    if (loop->ev == NULL) {
        free(loop);
        if (errno == 0)
            errno = ENOSYS;
        return NULL;
    }
    ev_set_userdata(loop->ev, loop);
    list_init(&loop->jobs);
    list_init(&loop->speakers);
    list_init(&loop->dead);
    list_init(&loop->children);
    loop->now = loop_now();
    ev_check_init(&loop->check, take_time);
    ev_set_priority(&loop->check, EV_MAXPRI);
    ev_check_start(loop->ev, &loop->check);
    ev_unref(loop->ev);
    return loop;
}

static void reap(struct loop *loop)
{
    while (!list_is_empty(&loop->dead)) {
        struct loop_speaker *speaker =
            list_entry(list_take(&loop->dead), struct loop_speaker, link);

        speaker->speak(speaker);
    }
}

void loop_del(struct loop *loop)
{
    if (loop == NULL)
        return;
    reap(loop);
    children_end(loop);
    ev_loop_destroy(loop->ev);
    free(loop);
}

/* Jobs that are posted meanwhile wait for the next turn; those for which there
 * was no time go first in it. */
static void think(struct loop *loop)
{
    struct list ready;
    double deadline;
    unsigned done = 0;

    if (list_is_empty(&loop->jobs))
        return;
    deadline = loop_now() + think_seconds;
    list_init(&ready);
    list_move_all(&loop->jobs, &ready);
    while (!list_is_empty(&ready)) {
        struct loop_job *job =
            list_entry(list_take(&ready), struct loop_job, link);

        job->run(job);
        if (++done % JOBS_PER_LOOK == 0) {
            loop->now = loop_now();
            if (loop->now > deadline)
                break;
        }
    }
    list_move_all(&loop->jobs, &ready);
    list_move_all(&ready, &loop->jobs);
}

static void speak(struct loop *loop)
{
    struct list touched;

    list_init(&touched);
    list_move_all(&loop->speakers, &touched);
    while (!list_is_empty(&touched)) {
        struct loop_speaker *speaker =
            list_entry(list_take(&touched), struct loop_speaker, link);

        speaker->speak(speaker);
    }
}

void loop_turn(struct loop *loop, bool wait)
{
    bool is_busy = !list_is_empty(&loop->jobs) ||
                   !list_is_empty(&loop->speakers) ||
                   !list_is_empty(&loop->dead);

    ev_run(loop->ev, wait && !is_busy ? EVRUN_ONCE : EVRUN_NOWAIT);
    think(loop);
    speak(loop);
    reap(loop);
}

void loop_run(struct loop *loop)
{
    while (!loop->stopping)
        loop_turn(loop, true);
}

void loop_stop(struct loop *loop)
{
    loop->stopping = true;
}

const double *loop_clock(const struct loop *loop)
{
    return &loop->now;
}

void loop_job_init(struct loop_job *job, void (*run)(struct loop_job *job))
{
    list_init(&job->link);
    job->run = run;
}

void loop_post(struct loop *loop, struct loop_job *job)
{
    if (list_is_empty(&job->link))
        list_append(&loop->jobs, &job->link);
}

void loop_unpost(struct loop_job *job)
{
    list_remove(&job->link);
}

static void timer_fired(struct ev_loop *ev, struct ev_timer *watcher,
                        int events)
{
    struct loop_timer *timer = watcher->data;

    (void)ev;
    (void)events;
    timer->fire(timer);
}

/* libev counts from when waiting ended; what was computed since would make
 * the timer early. */
void loop_timer_start(struct loop *loop, struct loop_timer *timer,
                      double seconds, void (*fire)(struct loop_timer *timer))
{
    struct ev_timer *watcher = timer_of(timer);

    loop_timer_stop(timer);
    timer->fire = fire;
    timer->loop = loop;
    ev_timer_init(watcher, timer_fired, seconds > 0 ? seconds : 0, 0);
    watcher->data = timer;
    ev_now_update(loop->ev);
    ev_timer_start(loop->ev, watcher);
}

void loop_timer_cancel(struct loop_timer *timer)
{
    ev_timer_stop(timer->loop->ev, timer_of(timer)); /* no-op for others */
}

bool loop_timer_is_running(const struct loop_timer *timer)
{
    return timer->loop != NULL && ev_is_active(timer_of(timer));
}
