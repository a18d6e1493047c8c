/* lone_fuzz.c -- a request that somebody has typed: a method, a URL and fields.
 *
 * The first line has the method and the target, with a blank between; those
 * behind it a field each, up to an empty one; then the body.  A call is refused
 * and leaves nothing, or makes whole parameters without what could be taken for
 * another's.
 *
 * SPDX-License-Identifier: MIT
 */
#include "../unit/fake_service.h"
#include "base/block.h"
#include "core/params.h"
#include "http/lone.h"

#include <stdint.h>
#include <stdlib.h>

enum { FIELDS_MAX = 300 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct fake_service fake;
static struct lone lone;
static struct lone_field fields[FIELDS_MAX];
static size_t received;
static bool has_ended;

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void on_head(void *arg, int status, struct slice reason,
                    struct slice lines)
{
    (void)arg;
    (void)reason;
    check(status >= 200 && status < 600 && lines.len >= 2);
}

static void on_body(void *arg, struct slice bytes)
{
    (void)arg;
    received += bytes.len;
}

static void on_ended(void *arg, bool not_whole)
{
    (void)arg;
    (void)not_whole;
    has_ended = true;
}

static void on_taken(void *arg)
{
    (void)arg;
}

static const struct lone_ops ops = { on_head, on_body, on_ended, on_taken };

static struct slice take_line(struct slice *in)
{
    const char *newline = slice_find(*in, '\n');
    struct slice line = slice_take(
        in, newline == NULL ? in->len : (size_t)(newline - in->data));

    slice_take(in, 1);
    return line;
}

static size_t take_fields(struct slice *in)
{
    size_t n = 0;

    while (in->len > 0) {
        struct slice line = take_line(in);
        const char *colon = slice_find(line, ':');

        if (line.len == 0)
            break;
        if (colon == NULL || n == FIELDS_MAX)
            continue;
        fields[n].name = slice_take(&line, (size_t)(colon - line.data));
        slice_take(&line, 1);
        fields[n++].value = line;
    }
    return n;
}

static bool is_clean(struct slice value)
{
    return slice_find(value, '\n') == NULL && slice_find(value, '\r') == NULL &&
           slice_find(value, '\0') == NULL;
}

static void check_params(const struct request *req)
{
    struct slice rest = buffer_slice(&req->params), name, value;
    unsigned methods = 0, uris = 0, paths = 0;

    while (params_next(&rest, &name, &value) == PARAMS_PAIR) {
        bool is_path = slice_equal(name, slice_of("PATH_INFO"));

        check(!slice_equal(name, slice_of("HTTP_PROXY")));
        check(is_clean(name) && (is_path || is_clean(value)));
        check(slice_find(value, '\0') == NULL);
        paths += is_path ? 1 : 0;
        methods += slice_equal(name, slice_of("REQUEST_METHOD")) ? 1 : 0;
        if (slice_equal(name, slice_of("REQUEST_URI"))) {
            check(value.len > 0 && (value.data[0] == '/' || value.len == 1));
            uris++;
        }
    }
    check(rest.len == 0 && methods == 1 && uris == 1 && paths == 1);
}

/* Sends the body back. */
static void serve(struct slice body)
{
    struct request *req = fake.ready[0];
    struct slice got = slice_of("Content-Type: text/plain\r\n\r\n");
    size_t sent = 0;

    check(fake.n_ready == 1);
    check_params(req);
    response_write(req, &got);
    while (body.len > 0 && lone_wants_input(&lone)) {
        struct slice part = slice_take(&body, BLOCK_SIZE);

        check(lone_input(&lone, part));
        while (request_peek(req, &req->body, 1000, &got) == REQUEST_DATA) {
            size_t len = got.len;

            response_write(req, &got);
            check(got.len == 0);
            request_consume(req, &req->body, len);
            sent += len;
        }
    }
    lone_input_end(&lone);
    check(req->is_head || received == sent);
    response_finish(req, 0);
    check(has_ended);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in = { (const char *)data, size }, line = take_line(&in);
    const char *blank = slice_find(line, ' ');
    struct lone_call call = { .fields = fields, .has_body = true };

    received = 0;
    has_ended = false;
    call.method = slice_take(
        &line, blank == NULL ? line.len : (size_t)(blank - line.data));
    slice_take(&line, 1);
    call.target = line;
    call.count = take_fields(&in);
    call.has_length = size % 2 == 0;
    call.length = in.len;
    fake_service_init(&fake, sizeof(void *));
    if (lone_begin(&lone, &fake.service, &call, &ops, NULL) == NULL)
        serve(in);
    else
        check(fake.n_ready == 0);
    lone_abort(&lone);
    while (fake.n_ready > 0)
        fake_release(&fake, 0);
    check(fake.service.active == 0 && fake.service.spooled == 0);
    fake_service_free(&fake);
    return 0;
}
