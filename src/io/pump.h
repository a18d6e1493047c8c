/* pump.h -- feeds a stream, or collects all that it gives, without anybody who
 * waits for each piece: the loop does it.
 *
 * A pump is embedded in what it is about, and zeroed before its first use.  The
 * stream stays its owner's, but news of it go to the pump until that is over.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef IO_PUMP_H
#define IO_PUMP_H

#include "base/buffer.h"
#include "io/stream.h"

enum pump_state {
    PUMP_IDLE, /* it was not begun, or stopped */
    PUMP_RUNS,
    PUMP_DONE,     /* all was written, or the reader has gone; or the stream has
                    * ended */
    PUMP_FULL,     /* it gives more than max */
    PUMP_NO_MEMORY /* for what it gives */
};

struct pump {
    enum pump_state state;
    struct stream *stream;
    struct loop *loop;
    struct loop_job job;     /* goes on in the next turn */
    struct slice input;      /* what is to be fed */
    struct buffer output;    /* what was collected */
    void (*over)(void *arg); /* the state is another one than PUMP_RUNS */
    void *arg;
};

/* Writes input, which must last as long, and closes the stream.  over(arg) is
 * called when that is done, unless it is when this returns; not from here. */
void pump_feed(struct pump *pump, struct loop *loop, struct stream *stream,
               struct slice input, void (*over)(void *arg), void *arg);

/* Collects at most max bytes; over as above. */
void pump_collect(struct pump *pump, struct loop *loop, struct stream *stream,
                  size_t max, void (*over)(void *arg), void *arg);

/* Ends it, if it runs, before the stream does.  What was collected stays. */
void pump_stop(struct pump *pump);

/* Drops what was collected.  A pump of zeroes is fine. */
void pump_free(struct pump *pump);

#endif
