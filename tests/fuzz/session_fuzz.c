/* session_fuzz.c -- a connection whose peer means harm.
 *
 * The first byte is a seed: how the rest is cut, when the handlers act and how
 * much of the output is read between.  What follows is what the peer sends.
 * Whatever it is, each record that comes back is sound, and nothing is left
 * when the connection has gone.
 *
 * SPDX-License-Identifier: MIT
 */
#include "../unit/fake_service.h"
#include "base/log.h"
#include "core/params.h"
#include "core/wire.h"
#include "fcgi/record.h"
#include "fcgi/session.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct fake_service fake;
static struct service *const service = &fake.service;
static struct wire *wire;
static uint32_t random_state;

/* Of the output: a record that has been read in part. */
static char header[FCGI_HEADER_LEN];
static size_t header_len, content_left;

static void check(bool holds)
{
    if (!holds)
        abort();
}

static unsigned random_below(unsigned n)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % n;
}

static void check_output(struct slice bytes)
{
    while (bytes.len > 0) {
        struct fcgi_header record;

        if (content_left > 0) {
            content_left -= slice_take(&bytes, content_left).len;
            continue;
        }
        header[header_len++] = *slice_take(&bytes, 1).data;
        if (header_len < FCGI_HEADER_LEN)
            continue;
        header_len = 0;
        record = fcgi_header_decode(header);
        content_left = record.length;
        check(record.version == 1 && record.padding == 0 && header[7] == 0);
        switch (record.type) {
        case FCGI_STDOUT:
        case FCGI_STDERR:
            check(record.id != 0);
            break;
        case FCGI_END_REQUEST:
            check(record.id != 0 && record.length == 8);
            break;
        case FCGI_GET_VALUES_RESULT:
            check(record.id == 0 && record.length <= 128);
            break;
        default:
            check(record.type == FCGI_UNKNOWN_TYPE && record.id == 0 &&
                  record.length == 8);
        }
    }
}

static void drain(size_t n)
{
    size_t done = 0;

    while (done < n && wire->out.len > 0) {
        struct iovec iov[1];
        size_t part;

        check(chain_iovec(&wire->out, iov, 1) == 1);
        part = iov[0].iov_len < n - done ? iov[0].iov_len : n - done;
        if (wire->state != WIRE_BROKEN)
            check_output((struct slice){ iov[0].iov_base, part });
        chain_drain(&wire->out, part);
        done += part;
    }
    if (done > 0)
        wire->ops->drained(wire);
}

/* A handler that echoes what there is. */
static void act(unsigned n)
{
    struct request *req = fake.ready[n];
    struct slice got = slice_of("Content-Type: text/plain\r\n\r\n"), value;
    enum request_status status;

    if (!response_is_begun(&req->response))
        response_write(req, &got);
    if (params_find(buffer_slice(&req->params), slice_of("E"), &value))
        response_write_err(req, value);
    status = request_peek(req, &req->body, 1000, &got);
    if (status == REQUEST_DATA) {
        size_t before = got.len;

        response_write(req, &got);
        request_consume(req, &req->body, before - got.len);
    } else if (status != REQUEST_WAIT) {
        response_finish(req, 0);
        fake_release(&fake, n);
        return;
    }
    if (random_below(32) == 0) {
        if (random_below(2) == 0)
            response_finish(req, 1);
        else
            response_fail(req, 500);
        fake_release(&fake, n);
    }
}

static void think_and_speak(void)
{
    if (fake.n_ready > 0)
        act(random_below(fake.n_ready));
    if (random_below(3) == 0)
        drain(random_below(3) == 0 ? random_below(100) : 100000);
    fake.now += 0.1;
    check(wire->ops->owed_since(wire) <= fake.now);
}

static void feed(struct slice bytes)
{
    struct block *block = block_new(&service->blocks);

    check(block != NULL);
    memcpy(block->data, bytes.data, bytes.len);
    wire->ops->feed(wire, block, (struct slice){ block->data, bytes.len });
    block_unref(block);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice bytes;
    unsigned most;

    if (size < 1)
        return 0;
    log_set_level(LOG_LEVEL_ERROR);
    random_state = data[0];
    most = 1u << random_below(14);
    header_len = content_left = 0;
    bytes = (struct slice){ (const char *)data + 1, size - 1 };
    fake_service_init(&fake, fcgi_stream_size());
    service->limits.max_params = 500;
    service->limits.max_body = data[0] % 2 == 0 ? 0 : 3000;
    service->limits.max_reqs = 4;
    wire = fcgi_session_open(service);
    check(wire != NULL);
    while (bytes.len > 0 && wire->state == WIRE_OPEN) {
        if (wire->ops->want_read(wire))
            feed(slice_take(&bytes, 1 + random_below(most)));
        else
            drain(100000);
        think_and_speak();
    }
    if (random_below(2) == 0) {
        wire->ops->eof(wire);
        check(!wire->ops->is_busy(wire) && service->active == 0);
    }
    while (fake.n_ready > 0) {
        response_finish(fake.ready[0], 0);
        fake_release(&fake, 0);
    }
    drain(SIZE_MAX);
    if (wire->state != WIRE_BROKEN)
        check(header_len == 0 && content_left == 0);
    wire->ops->close(wire);
    check(service->active == 0 && service->spooled == 0);
    fake_service_free(&fake);
    return 0;
}
