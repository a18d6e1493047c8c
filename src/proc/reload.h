/* reload.h -- a new generation of the script beside the one that serves.
 *
 * A forked child tries the script first: whatever it does there (an error, an
 * endless loop, a crash) changes nothing here.  Only then is it loaded in this
 * process, and only when its on_start and on_worker have gone well is it handed
 * over.
 *
 *     idle -- reload_ask --> trial -- went well --> starting -- taken -->
 * idle
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PROC_RELOAD_H
#define PROC_RELOAD_H

#include "proc/generation.h"
#include "proc/load.h"
#include "proc/notify.h"
#include "proc/watch.h"

#include <ev.h>
#include <sys/types.h>

enum reload_state {
    RELOAD_IDLE,
    RELOAD_TRIAL,    /* a child loads the script */
    RELOAD_TRIED,    /* ... and has done so, well */
    RELOAD_STARTING, /* on_worker of the next generation runs */
};

struct reload {
    struct loop *loop;
    struct ev_loop *ev;
    struct service *service;
    int argc; /* of the program */
    char **argv;
    const struct options *start; /* those that it started with */
    struct notify *notify;
    struct watch *watch; /* NULL: none; else set it after reload_init */

    enum reload_state state;
    bool is_asked;
    unsigned failures; /* so far */
    struct script_worker who;
    struct generation *next;

    pid_t child; /* 0: none */
    int notes;   /* -1, or the files that the child loads: watched.h */
    struct ev_io verdict;
    struct ev_timer patience;
    char message[1 + LOAD_MESSAGE_MAX]; /* exit code, then why */
    size_t len;
};

/* start: the options that the process started with; notify hears of its
 * beginning and its end.  Both must outlive it. */
void reload_init(struct reload *reload, struct loop *loop, struct ev_loop *ev,
                 struct service *service, int argc, char **argv,
                 const struct options *start, struct notify *notify);

/* Tells of settings whose new values need a restart.  is_supervised: another
 * process has opened the log. */
void reload_tell_kept(const struct options *start, const struct options *next,
                      bool is_supervised);

/* Asks for a reload.  While one is under way the next waits for its end;
 * however often it is asked for, it is one. */
static inline void reload_ask(struct reload *reload)
{
    reload->is_asked = true;
}

/* To be called between two turns of the loop: does what is next.  who: the
 * generation that serves.  Returns the next one, which is then the caller's and
 * ready to serve; else NULL. */
struct generation *reload_step(struct reload *reload,
                               const struct script_worker *who);

/* Gives up what is under way. */
void reload_stop(struct reload *reload);

#endif
