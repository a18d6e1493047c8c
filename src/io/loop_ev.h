/* loop_ev.h -- private to this room: the loop with libev in sight.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef IO_LOOP_EV_H
#define IO_LOOP_EV_H

#include "io/loop.h"

#include <ev.h>

/* Something that speaks at the end of a turn in which it was touched. */
struct loop_speaker {
    struct list link;
    void (*speak)(struct loop_speaker *speaker);
};

struct loop {
    struct ev_loop *ev;
    struct ev_check check; /* takes the time when waiting has ended */
    struct list jobs;
    struct list speakers;
    struct list dead;     /* of struct loop_speaker: freed in reap */
    struct list children; /* see child.c */
    double now;
    bool stopping;
};

/* Lets a speaker speak in this turn, or in the next when it is too late. */
static inline void loop_touch(struct loop *loop, struct loop_speaker *speaker)
{
    if (list_is_empty(&speaker->link))
        list_append(&loop->speakers, &speaker->link);
}

/* Hands over a speaker that has closed: speak is called once more, in reap,
 * and frees it. */
static inline void loop_bury(struct loop *loop, struct loop_speaker *speaker,
                             void (*del)(struct loop_speaker *speaker))
{
    list_remove(&speaker->link);
    speaker->speak = del;
    list_append(&loop->dead, &speaker->link);
}

#endif
