/* snapshot.h -- the requests that a worker has under way, written down on the
 * board for whoever asked.
 *
 * Nothing of it is written unless somebody asks.  A reader takes a copy, and
 * takes it again when the worker has written meanwhile; what a worker left half
 * written when it died is not shown.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OPS_SNAPSHOT_H
#define OPS_SNAPSHOT_H

#include "base/slice.h"
#include "ops/board.h"

enum snapshot_state {
    SNAPSHOT_STARTING, /* its handler has not begun */
    SNAPSHOT_WAITING,  /* at `where` */
    SNAPSHOT_READY,    /* its wait is over, it goes on in this turn */
    SNAPSHOT_RUNNING,
    SNAPSHOT_FINISHING, /* it has answered, and goes on */
    SNAPSHOT_ABORTED    /* the client has gone */
};

/* As they are shown: "Waiting". */
extern const char *const snapshot_states[SNAPSHOT_ABORTED + 1];

/* Of texts that are too long the beginning is kept. */
struct snapshot_request {
    double started; /* monotonic, s */
    uint64_t content_length;
    enum snapshot_state state;
    struct slice id, method, uri, script, user, remote, where;
};

void snapshot_begin(struct board_snapshot *snapshot);
/* What there is no room for is counted. */
void snapshot_add(struct board_snapshot *snapshot,
                  const struct snapshot_request *request);
/* It is complete, and fulfils the wish of that number. */
void snapshot_end(struct board_snapshot *snapshot, uint64_t number);

/* A copy of a snapshot. */
struct snapshot {
    char *bytes;
    size_t len;
    unsigned count, left_out;
    uint64_t taken; /* ms of the monotonic clock; 0: there is none */
};

enum snapshot_status { SNAPSHOT_OK, SNAPSHOT_NONE, SNAPSHOT_NO_MEMORY };

/* On SNAPSHOT_OK bytes are the caller's to free. */
enum snapshot_status snapshot_read(const struct board_snapshot *from,
                                   struct snapshot *to);

/* Takes the next request off the front of rest, which begins as the whole;
 * false: that was all.  The slices point into rest. */
bool snapshot_next(struct slice *rest, struct snapshot_request *request);

/* Milliseconds of the monotonic clock, as on the board. */
uint64_t snapshot_now(void);

#endif
