/* counts.h -- what a worker counts of its requests: an observer of them.
 *
 * Plain numbers, which go to the worker's slot on the board at the end of each
 * turn of its loop that has changed them.  So a request costs no atomic
 * operation, and a worker that is killed takes no more than a turn with it.
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
    uint64_t n[BOARD_COUNTS];
    uint64_t published; /* serial and connections of the last time */
    double cpu_looked;  /* when, by the service's clock */
    bool is_new;        /* requests have ended since */
    bool is_attached;
};

/* Counts as far as the service does so for itself. */
void counts_init(struct counts *counts, const struct service *service);

/* From now on each request is looked at. */
void counts_attach(struct counts *counts, struct service *service);

/* Brings the slot up to date.  is_last: also what is looked at only now and
 * then. */
void counts_publish(struct counts *counts, struct board_slot *slot,
                    bool is_last);

#endif
