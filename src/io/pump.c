/* pump.c -- see pump.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "io/pump.h"

#include <errno.h>

/* Pieces that one pump takes before it is the turn of others. */
enum { ROUNDS = 8 };

/* Takes what there is room for; false: there is more. */
static bool add(struct buffer *output, struct slice bytes)
{
    return buffer_append(output,
                         slice_take(&bytes, output->max - output->len)) ==
               BUFFER_OK &&
           bytes.len == 0;
}

static enum pump_state collect(struct pump *pump)
{
    for (int round = 0; round < ROUNDS; round++) {
        enum stream_result result = stream_read(pump->stream, 1);
        struct slice bytes;

        if (result == STREAM_WAIT)
            return PUMP_RUNS;
        if (result == STREAM_FAILED && stream_error(pump->stream) == ENOMEM)
            return PUMP_NO_MEMORY;
        if (result != STREAM_DONE)
            return PUMP_DONE;
        bytes = stream_input(pump->stream);
        if (!add(&pump->output, bytes))
            return pump->output.len == pump->output.max ? PUMP_FULL
                                                        : PUMP_NO_MEMORY;
        stream_consume(pump->stream, bytes.len);
    }
    loop_post(pump->loop, &pump->job);
    return PUMP_RUNS;
}

static enum pump_state feed(struct pump *pump)
{
    size_t taken;
    enum stream_result result =
        stream_write(pump->stream, &pump->input, 1, &taken);

    slice_take(&pump->input, taken);
    if (result == STREAM_WAIT)
        return PUMP_RUNS;
    stream_close(pump->stream);
    return PUMP_DONE;
}

static void step(struct pump *pump)
{
    pump->state = pump->input.data != NULL ? feed(pump) : collect(pump);
    if (pump->state != PUMP_RUNS)
        stream_set_owner(pump->stream, NULL, NULL);
}

static void go_on(struct pump *pump)
{
    step(pump);
    if (pump->state != PUMP_RUNS)
        pump->over(pump->arg);
}

static void take_news(void *owner, enum stream_side side)
{
    (void)side;
    go_on(owner);
}

static bool is_awaited(void *owner, enum stream_side side)
{
    (void)owner;
    (void)side;
    return true;
}

static const struct stream_ops ops = { take_news, is_awaited };

static void run(struct loop_job *job)
{
    go_on(list_entry(job, struct pump, job));
}

static void begin(struct pump *pump, struct loop *loop, struct stream *stream,
                  void (*over)(void *arg), void *arg)
{
    pump->stream = stream;
    pump->loop = loop;
    pump->over = over;
    pump->arg = arg;
    loop_job_init(&pump->job, run);
    stream_set_owner(stream, &ops, pump);
    step(pump);
}

void pump_feed(struct pump *pump, struct loop *loop, struct stream *stream,
               struct slice input, void (*over)(void *arg), void *arg)
{
    pump->input = input;
    begin(pump, loop, stream, over, arg);
}

void pump_collect(struct pump *pump, struct loop *loop, struct stream *stream,
                  size_t max, void (*over)(void *arg), void *arg)
{
    buffer_init(&pump->output, max);
    begin(pump, loop, stream, over, arg);
}

void pump_stop(struct pump *pump)
{
    if (pump->state != PUMP_RUNS)
        return;
    pump->state = PUMP_IDLE;
    loop_unpost(&pump->job);
    stream_set_owner(pump->stream, NULL, NULL);
}

void pump_free(struct pump *pump)
{
    pump_stop(pump);
    buffer_free(&pump->output);
}
