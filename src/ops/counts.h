/* counts.h -- what a worker counts of its requests: an observer of them.
 *
 * The numbers are on the board at once, in the worker's own slot, where nobody
 * else writes: so a request costs no atomic operation, only a few additions.
 * What the service counts for itself goes there once a turn of the loop; so a
 * worker that is killed takes no more than that with it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OPS_COUNTS_H
#define OPS_COUNTS_H

#include "core/service.h"
#include "ops/board.h"

struct counts {
    struct service_observer observer; /* first: the one is the other */
    const struct service *service;
    struct board_slot *slot;
    double cpu_looked; /* when, by the service's clock */
    bool is_attached;
};

/* Counts, in that slot, as far as the service does so for itself. */
void counts_init(struct counts *counts, const struct service *service,
                 struct board_slot *slot);

/* From now on each request is looked at. */
void counts_attach(struct counts *counts, struct service *service);

/* Brings the slot up to date.  is_last: also what is looked at only now and
 * then. */
void counts_publish(struct counts *counts, bool is_last);

#endif
