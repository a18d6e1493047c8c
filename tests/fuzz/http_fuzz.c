/* http_fuzz.c -- an HTTP connection whose peer means harm.
 *
 * The first byte is a seed: how the rest is cut, when the handlers act and how
 * much of the output is read between.  What follows is what the peer sends.
 * Whatever it is, the output is a row of sound answers, parameters are whole
 * pairs without what could be taken for another's, and nothing is left when the
 * connection has gone.
 *
 * SPDX-License-Identifier: MIT
 */
#include "../unit/fake_service.h"
#include "base/log.h"
#include "core/params.h"
#include "core/wire.h"
#include "http/session.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct fake_service fake;
static struct service *const service = &fake.service;
static struct wire *wire;
static uint32_t random_state;
static bool at_start; /* of the output */

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

static void drain(size_t n)
{
    size_t done = 0;

    while (done < n && wire->out.len > 0) {
        struct iovec iov[1];
        size_t part;

        check(chain_iovec(&wire->out, iov, 1) == 1);
        part = iov[0].iov_len < n - done ? iov[0].iov_len : n - done;
        if (at_start && iov[0].iov_len >= 9)
            check(memcmp(iov[0].iov_base, "HTTP/1.1 ", 9) == 0);
        at_start = false;
        chain_drain(&wire->out, part);
        done += part;
    }
    if (done > 0)
        wire->ops->drained(wire);
}

static void check_params(const struct request *req)
{
    struct slice rest = buffer_slice(&req->params), name, value;
    unsigned hosts = 0;

    while (params_next(&rest, &name, &value) == PARAMS_PAIR) {
        check(!slice_equal(name, slice_of("HTTP_PROXY")));
        check(slice_equal(name, slice_of("PATH_INFO")) ||
              (slice_find(value, '\n') == NULL &&
               slice_find(value, '\r') == NULL));
        check(slice_find(value, '\0') == NULL);
        hosts += slice_equal(name, slice_of("HTTP_HOST")) ? 1 : 0;
    }
    check(rest.len == 0 && hosts <= 1);
}

/* A handler that echoes what there is. */
static void act(unsigned n)
{
    struct request *req = fake.ready[n];
    struct slice got =
        slice_of(random_below(2) == 0 ? "Content-Type: text/plain\r\n\r\n"
                                      : "Content-Length: 9\r\n\r\n");
    enum request_status status;

    check_params(req);
    if (!response_is_begun(&req->response))
        response_write(req, &got);
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
    check(service->active <= 1);
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
    at_start = true;
    bytes = (struct slice){ (const char *)data + 1, size - 1 };
    fake_service_init(&fake, sizeof(void *));
    service->limits.max_params = 5000;
    service->limits.max_body = data[0] % 2 == 0 ? 0 : 3000;
    service->limits.max_reqs = 4;
    wire = http_session_open(service);
    if (wire == NULL) { /* built without HTTP */
        fake_service_free(&fake);
        return 0;
    }
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
    wire->ops->close(wire);
    while (fake.n_ready > 0)
        fake_release(&fake, 0);
    check(service->active == 0 && service->spooled == 0);
    fake_service_free(&fake);
    return 0;
}
