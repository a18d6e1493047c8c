/* fcgi_peer.h -- a web server without a socket: puts records together, feeds
 * them to a session in any pieces, and tells in words what came back.
 *
 * The told text has a line for each record, such as
 *
 *     STDOUT 1 [Status: 200 OK\r\n\r\nhello]
 *     STDOUT 1 end
 *     END 1 app 0 status 0
 *
 * SPDX-License-Identifier: MIT */
#ifndef UNIT_FCGI_PEER_H
#define UNIT_FCGI_PEER_H

#include "core/params.h"
#include "core/wire.h"
#include "fake_service.h"
#include "file_rig.h"
#include "fcgi/session.h"
#include "fcgi/stream.h"

#include <stdlib.h>

enum { PEER_MAX = 5 * 1024 * 1024, PEER_TOLD = 64 * 1024, PEER_LONG = 200 };

enum { NO_FLAGS = 0, KEEP = FCGI_FLAG_KEEP_CONN };

static struct fake_service fake;
static struct service *const service = &fake.service;
static struct wire *wire;
static unsigned n_changed;

static char to_send[PEER_MAX]; /* records put together, not fed yet */
static size_t to_send_len;
static bool sends_files; /* which are not in any iovec */
static unsigned padding; /* of the records put together from now on */

static char received[PEER_MAX]; /* what the peer has read */
static size_t received_len, told_up_to;
static char told[PEER_TOLD];

static inline struct fcgi_session *session_in(void)
{
    return (struct fcgi_session *)(void *)wire;
}

static inline void peer_changed(void *owner)
{
    (void)owner;
    n_changed++;
}

/* Opens a connection to the service that stands; false: no memory. */
static inline bool peer_open(void)
{
    to_send_len = received_len = told_up_to = 0;
    padding = n_changed = 0;
    wire = fcgi_session_open(service);
    if (wire == NULL)
        return false;
    wire->changed = peer_changed;
    return true;
}

static inline void peer_close(void)
{
    if (wire != NULL)
        wire->ops->close(wire);
    wire = NULL;
}

/* --- to the session --- */

static inline void put_bytes(const void *bytes, size_t n)
{
    assert_true(n <= PEER_MAX - to_send_len);
    if (n > 0)
        memcpy(to_send + to_send_len, bytes, n);
    to_send_len += n;
}

/* Padding is not zero: it must not be looked at. */
static inline void put_record(int type, unsigned id, const void *content,
                              size_t n)
{
    char header[FCGI_HEADER_LEN], pad[255];

    fcgi_header_encode(header, (enum fcgi_type)type, (uint16_t)id, n);
    header[6] = (char)padding;
    header[7] = (char)0xa5; /* reserved */
    memset(pad, 0x5a, sizeof(pad));
    put_bytes(header, sizeof(header));
    put_bytes(content, n);
    put_bytes(pad, padding);
}

static inline void put_text(int type, unsigned id, const char *text)
{
    put_record(type, id, text, strlen(text));
}

static inline void put_end(int type, unsigned id)
{
    put_record(type, id, "", 0);
}

static inline void put_begin(unsigned id, unsigned role, unsigned flags)
{
    const char body[8] = {
        (char)(role >> 8), (char)role, (char)flags, 1, 2, 3, 4, 5
    };

    put_record(FCGI_BEGIN_REQUEST, id, body, sizeof(body));
}

/* "NAME=value" as the content of one record. */
static inline void put_param(unsigned id, const char *pair)
{
    const char *value = strchr(pair, '=') + 1;
    char content[1024];
    size_t name_len = (size_t)(value - 1 - pair), value_len = strlen(value);

    assert_true(name_len < 128 && value_len < 128);
    content[0] = (char)name_len;
    content[1] = (char)value_len;
    memcpy(content + 2, pair, name_len);
    memcpy(content + 2 + name_len, value, value_len);
    put_record(FCGI_PARAMS, id, content, 2 + name_len + value_len);
}

/* GET_VALUES with names that are separated by blanks. */
static inline void put_get_values(const char *names)
{
    struct slice rest = slice_of(names);
    char content[256];
    size_t n = 0;

    while (rest.len > 0) {
        const char *blank = slice_find(rest, ' ');
        struct slice name = slice_take(
            &rest, blank == NULL ? rest.len : (size_t)(blank - rest.data));

        slice_take(&rest, 1);
        content[n++] = (char)name.len;
        content[n++] = 0;
        memcpy(content + n, name.data, name.len);
        n += name.len;
    }
    put_record(FCGI_GET_VALUES, 0, content, n);
}

/* BEGIN and empty PARAMS: a request that is ready. */
static inline void put_request(unsigned id, unsigned flags)
{
    put_begin(id, REQUEST_RESPONDER, flags);
    put_end(FCGI_PARAMS, id);
}

/* Feeds bytes as a connection does: in a block, while the wire is open. */
static inline void feed_bytes(const char *bytes, size_t n)
{
    while (n > 0 && wire->state == WIRE_OPEN) {
        struct block *block = block_new(&service->blocks);
        size_t part = n < BLOCK_SIZE ? n : BLOCK_SIZE;

        if (block == NULL) {
            wire->state = WIRE_BROKEN;
            return;
        }
        memcpy(block->data, bytes, part);
        wire->ops->feed(wire, block, (struct slice){ block->data, part });
        block_unref(block);
        bytes += part;
        n -= part;
    }
}

/* Feeds all that was put together. */
static inline void feed(void)
{
    size_t n = to_send_len;

    to_send_len = 0;
    feed_bytes(to_send, n);
}

/* The same, step bytes at a time. */
static inline void feed_in_steps(size_t step)
{
    for (size_t at = 0; at < to_send_len; at += step)
        feed_bytes(to_send + at,
                   step < to_send_len - at ? step : to_send_len - at);
    to_send_len = 0;
}

/* --- from the session --- */

/* Reads at most n bytes of what waits; returns how many. */
static inline size_t drain(size_t n)
{
    size_t done = 0;

    while (done < n && wire->out.len > 0) {
        struct slice front = front_of(&wire->out);
        size_t part = front.len < n - done ? front.len : n - done;

        assert_true(part <= PEER_MAX - received_len);
        memcpy(received + received_len, front.data, part);
        received_len += part;
        chain_drain(&wire->out, part);
        done += part;
    }
    if (done > 0)
        wire->ops->drained(wire);
    return done;
}

struct peer_record {
    struct fcgi_header header;
    const char *content;
};

/* Takes the next whole record off what was received; it must be sound. */
static inline bool take_record(size_t *at, struct peer_record *record)
{
    if (received_len - *at < FCGI_HEADER_LEN)
        return false;
    record->header = fcgi_header_decode(received + *at);
    assert_int_equal(record->header.version, 1);
    assert_int_equal(record->header.padding, 0);
    assert_int_equal(received[*at + 7], 0);
    if (received_len - *at - FCGI_HEADER_LEN < record->header.length)
        return false;
    record->content = received + *at + FCGI_HEADER_LEN;
    *at += FCGI_HEADER_LEN + (size_t)record->header.length;
    if (record->header.type == FCGI_END_REQUEST) {
        assert_int_equal(record->header.length, 8);
        assert_memory_equal(record->content + 5, "\0\0\0", 3);
    }
    return true;
}

static inline void tell(const char *format, ...)
    __attribute__((format(printf, 1, 2)));
static inline void tell(const char *format, ...)
{
    size_t len = strlen(told);
    va_list args;

    va_start(args, format);
    vsnprintf(told + len, sizeof(told) - len, format, args);
    va_end(args);
}

static inline void tell_stream(const char *name, const struct peer_record *r)
{
    tell("%s %u ", name, r->header.id);
    if (r->header.length == 0) {
        tell("end\n");
    } else if (r->header.length > PEER_LONG) {
        tell("%u bytes\n", r->header.length);
    } else {
        tell("[");
        for (unsigned i = 0; i < r->header.length; i++) {
            if (r->content[i] == '\r')
                tell("\\r");
            else if (r->content[i] == '\n')
                tell("\\n");
            else
                tell("%c", r->content[i]);
        }
        tell("]\n");
    }
}

static inline void tell_values(const struct peer_record *r)
{
    struct slice in = { r->content, r->header.length }, name, value;

    tell("VALUES %u", r->header.id);
    while (params_next(&in, &name, &value) == PARAMS_PAIR)
        tell(" %.*s=%.*s", (int)name.len, name.data, (int)value.len,
             value.data);
    assert_int_equal(in.len, 0);
    tell("\n");
}

static inline void tell_record(const struct peer_record *r)
{
    const unsigned char *c = (const unsigned char *)r->content;

    switch (r->header.type) {
    case FCGI_STDOUT:
        tell_stream("STDOUT", r);
        break;
    case FCGI_STDERR:
        tell_stream("STDERR", r);
        break;
    case FCGI_END_REQUEST:
        tell("END %u app %u status %u\n", r->header.id,
             (unsigned)c[0] << 24 | (unsigned)c[1] << 16 | (unsigned)c[2] << 8 |
                 c[3],
             c[4]);
        break;
    case FCGI_GET_VALUES_RESULT:
        tell_values(r);
        break;
    case FCGI_UNKNOWN_TYPE:
        assert_int_equal(r->header.length, 8);
        assert_memory_equal(r->content + 1, "\0\0\0\0\0\0\0", 7);
        tell("UNKNOWN %u type %u\n", r->header.id, c[0]);
        break;
    default:
        fail_msg("a record of type %u", r->header.type);
    }
}

/* Reads all that waits and tells of what came since the last time. */
static inline const char *answers(void)
{
    struct peer_record record;

    drain(SIZE_MAX);
    told[0] = '\0';
    while (take_record(&told_up_to, &record))
        tell_record(&record);
    assert_int_equal(told_up_to, received_len);
    return told;
}

/* --- the handler's side --- */

static inline enum response_result write_to(struct request *req,
                                            const char *text)
{
    struct slice bytes = slice_of(text);

    return response_write(req, &bytes);
}

/* Answers the n-th ready request and lets it go. */
static inline void answer(unsigned n, const char *text, uint32_t app_status)
{
    assert_true(n < fake.n_ready);
    if (text != NULL)
        write_to(fake.ready[n], text);
    response_finish(fake.ready[n], app_status);
    fake_release(&fake, n);
}

/* Takes all that can be read of a body; returns how many bytes. */
static inline size_t swallow(struct request *req, struct body *body)
{
    struct slice got;
    size_t n = 0;

    while (request_peek(req, body, SIZE_MAX, &got) == REQUEST_DATA) {
        n += got.len;
        request_consume(req, body, got.len);
    }
    return n;
}

/* The session's counts are those of what it holds. */
static inline void assert_sound(void)
{
    const struct fcgi_session *session = session_in();
    unsigned count = 0, refused = 0, stopped = 0;
    struct iovec iov[512];
    size_t len = 0;
    unsigned n = chain_iovec(&wire->out, iov, 512);

    for (unsigned i = 0; i < session->slots; i++) {
        for (const struct fcgi_stream *at = session->table[i]; at != NULL;
             at = at->next) {
            count++;
            assert_int_equal(at->id & (session->slots - 1), i);
            assert_int_equal(at->in_params, !list_is_empty(&at->begun));
            if (at->req == NULL) {
                refused++;
                assert_true(at->in_params);
                continue;
            }
            stopped += at->req->body.stopped;
            stopped += at->req->data.stopped;
            assert_ptr_equal(at->req->exchange, &at->exchange);
        }
    }
    assert_int_equal(session->count, count);
    assert_int_equal(session->refused, refused);
    assert_int_equal(session->stopped, stopped);
    for (unsigned i = 0; i < n; i++)
        len += iov[i].iov_len;
    if (n < 512 && !sends_files)
        assert_int_equal(len, wire->out.len);
    assert_true(session->queued - session->drained >= wire->out.len);
}

#endif
