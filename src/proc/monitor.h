/* monitor.h -- what a worker does for operators: it keeps its slot on the board
 * up to date, and answers for the status page and the ping page.
 *
 * Neither costs anything where it is not asked for: without --status requests
 * are not timed, and without either option no request is looked at.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PROC_MONITOR_H
#define PROC_MONITOR_H

#include "base/list.h"
#include "io/loop_ev.h"
#include "ops/counts.h"
#include "proc/desk.h"
#include "proc/elders.h"
#include "proc/options.h"
#include "script/script.h"

struct monitor {
    struct service_pages pages; /* first: the one is the other */
    struct desk desk;
    struct counts counts;
    struct loop *loop;
    struct service *service;
    struct board *board;
    struct board_slot *slot;
    int link; /* to the supervisor, or to what was this; -1: there is none */
    struct elders *elders; /* or NULL */
    struct slice paths[2]; /* of status and ping, or empty */
    /* Where in a request's noted values these are; -1: nowhere. */
    int script_name, path_info;
    bool counts_requests;
    /* Calls fn for the scripts that may have requests. */
    void (*each_script)(void *arg,
                        void (*fn)(void *to, const struct script *script),
                        void *to);
    unsigned (*conns)(void *arg);
    void *arg;
    struct ev_check turn_begins;
    struct ev_prepare turn_ends;
};

/* What it is about.  All must outlive it. */
struct monitor_config {
    struct loop *loop;
    struct service *service;
    struct board *board;
    struct board_slot *slot;
    const struct listen_set *listening;
    const struct options *options;
    int link;
    struct elders *elders;
    void (*each_script)(void *arg,
                        void (*fn)(void *to, const struct script *script),
                        void *to);
    unsigned (*conns)(void *arg); /* open connections */
    void *arg;
};

void monitor_open(struct monitor *monitor, const struct monitor_config *config);

/* The worker serves from now on. */
void monitor_begin(struct monitor *monitor);

/* The worker is an elder from now on, see elders.h. */
void monitor_forked(struct monitor *monitor, int link);

/* These options hold from now on. */
void monitor_apply(struct monitor *monitor, const struct options *options);

/* Writes down the requests under way, for who wishes to see them. */
void monitor_take_snapshot(struct monitor *monitor);

/* The last look at what was counted.  Before the service is freed, and when the
 * connections are. */
void monitor_close(struct monitor *monitor);

#endif
