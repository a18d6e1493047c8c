/* status.h -- the status page: what the board shows, for people and programs.
 *
 *     PATH              text, with php-fpm's names where they mean the same
 *
 *     PATH?json         the same names as keys
 *
 *     PATH?openmetrics  for Prometheus
 *
 *     PATH?html         for people
 *
 *     ...&full          with a block for each worker and each running request
 *
 * No Lua runs for it, and whoever has the board can answer: a worker, the
 * process that serves alone, the supervisor.  What else it needs (the queues of
 * the listening sockets; having workers write down their requests) it asks for
 * through ops.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OPS_STATUS_H
#define OPS_STATUS_H

#include "base/list.h"
#include "core/request.h"
#include "ops/board.h"

/* What waits in the listening sockets, as far as the kernel tells. */
struct status_queue {
    uint32_t waiting; /* connections, to be accepted */
    uint32_t most;    /* that it holds */
};

struct status_ops {
    void (*queue)(void *arg, struct status_queue *queue);
    /* Has all workers write down their requests for the wish board->wish, and
     * sees to it that status_step is called every few milliseconds until it
     * returns false. */
    void (*gather)(void *arg);
};

struct status {
    struct board *board;
    const char *pool;    /* what is served: the script's name */
    const char *manager; /* "static"; "single": there is but one process */
    const char *version; /* of the program */
    const struct status_ops *ops;
    void *arg;           /* theirs */
    struct list waiting; /* requests that wait for snapshots */
};

/* The texts must outlive it. */
void status_init(struct status *status, struct board *board, const char *pool,
                 bool is_single, const char *version,
                 const struct status_ops *ops, void *arg);

/* Answers a request whose parameters are complete, at once or, for `full`,
 * later: it takes a reference.  Fields of the query that it does not know mean
 * nothing. */
void status_answer(struct status *status, struct request *req);

/* The same; where the query names no format, it is this one. */
void status_answer_as(struct status *status, struct request *req,
                      const char *format);

/* Answers what has waited for snapshots and now has them, or has waited for
 * long enough.  Returns whether some still wait. */
bool status_step(struct status *status);

/* Lets go of what waits: the connections are gone. */
void status_end(struct status *status);

/* Answers with "pong". */
void status_pong(struct request *req);

#endif
