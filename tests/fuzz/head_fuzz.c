/* head_fuzz.c -- the first bytes that a script writes: a head, perhaps.
 *
 * The first byte says how the rest is cut into writes.  However it is cut, the
 * answer is the same, and what leaves is a head in the one shape that all web
 * servers take.
 *
 * SPDX-License-Identifier: MIT
 */
#include "../unit/fake_exchange.h"
#include "../unit/fake_service.h"
#include "core/head.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

/* CRLF, no control bytes, ends with its only empty line, stays as it is. */
static void check_head(struct slice head, int status)
{
    struct slice rest = head;
    struct buffer out;
    const char *why;
    int again;

    check(head_length(head) == head.len);
    while (rest.len > 0) {
        const char *newline = slice_find(rest, '\n');
        struct slice line;

        check(newline != NULL && newline > rest.data && newline[-1] == '\r');
        line = slice_take(&rest, (size_t)(newline + 1 - rest.data));
        line.len -= 2;
        check(head_is_value(line));
        check((line.len == 0) == (rest.len == 0));
    }
    buffer_init(&out, RESPONSE_HEAD_MAX);
    check(head_normalise(head, &out, &again, &why) == HEAD_AS_IS);
    check(again == status);
    check(status >= 200 && status <= 599);
    buffer_free(&out);
}

/* Writes all of bytes, step at a time, as the answer to a request. */
static void play(struct fake_exchange *peer, struct slice bytes, size_t step)
{
    struct fake_service fake;
    struct request *req;

    fake_service_init(&fake, 64);
    fake_exchange_init(peer, &fake.service, REQUEST_RESPONDER);
    req = request_ref(peer->req);
    request_ready(req);
    while (bytes.len > 0) {
        struct slice part = slice_take(&bytes, step);

        if (response_write(req, &part) != RESPONSE_OK)
            break;
    }
    response_finish(req, 0);
    check(peer->heads == 1 && peer->ends == 1);
    check_head((struct slice){ peer->head, peer->head_len },
               req->response.status);
    if (!head_allows_body(req->response.status))
        check(peer->body_len == 0);
    request_unref(req);
    fake_service_free(&fake);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fake_exchange whole, cut;
    struct slice bytes;

    if (size < 1 || size > 32 * 1024)
        return 0;
    bytes = (struct slice){ (const char *)data + 1, size - 1 };
    play(&whole, bytes, size);
    play(&cut, bytes, 1 + (size_t)data[0]);
    check(whole.head_len == cut.head_len && whole.body_len == cut.body_len);
    check(memcmp(whole.head, cut.head, whole.head_len) == 0);
    check(memcmp(whole.body, cut.body, whole.body_len) == 0);
    check(whole.app_status == cut.app_status);
    return 0;
}
