/* fake_exchange.h -- a protocol that only notes what a request says to it.
 * SPDX-License-Identifier: MIT */
#ifndef UNIT_FAKE_EXCHANGE_H
#define UNIT_FAKE_EXCHANGE_H

#include "core/exchange.h"
#include "core/request.h"

#include <stdint.h>
#include <string.h>

struct fake_exchange {
    struct exchange exchange; /* first: the one is the other */
    struct request *req;      /* with the reference of a protocol */
    char head[80 * 1024], body[80 * 1024], err[4096];
    size_t head_len, body_len, err_len;
    unsigned heads, ends, consumed;
    uint32_t app_status;
    enum exchange_end end;
    size_t room; /* the answer to .room, less what is given */
    bool unflushed;
};

static inline struct fake_exchange *fake_exchange_of(struct exchange *exchange)
{
    return (struct fake_exchange *)(void *)exchange;
}

static inline void fake_exchange_head(struct exchange *exchange,
                                      struct slice lines)
{
    struct fake_exchange *fake = fake_exchange_of(exchange);

    fake->heads++;
    memcpy(fake->head, lines.data, lines.len);
    fake->head_len = lines.len;
    fake->head[lines.len] = '\0';
}

static inline void fake_exchange_body(struct exchange *exchange,
                                      struct slice bytes)
{
    struct fake_exchange *fake = fake_exchange_of(exchange);

    memcpy(fake->body + fake->body_len, bytes.data, bytes.len);
    fake->body_len += bytes.len;
    fake->body[fake->body_len] = '\0';
    fake->room -= bytes.len;
}

static inline void fake_exchange_err(struct exchange *exchange,
                                     struct slice bytes)
{
    struct fake_exchange *fake = fake_exchange_of(exchange);

    memcpy(fake->err + fake->err_len, bytes.data, bytes.len);
    fake->err_len += bytes.len;
    fake->err[fake->err_len] = '\0';
}

static inline size_t fake_exchange_room(struct exchange *exchange)
{
    return fake_exchange_of(exchange)->room;
}

static inline bool fake_exchange_is_flushed(const struct exchange *exchange)
{
    return !((const struct fake_exchange *)(const void *)exchange)->unflushed;
}

static inline void fake_exchange_consumed(struct exchange *exchange)
{
    fake_exchange_of(exchange)->consumed++;
}

static inline void fake_exchange_finish(struct exchange *exchange,
                                        uint32_t app_status,
                                        enum exchange_end end)
{
    struct fake_exchange *fake = fake_exchange_of(exchange);

    fake->ends++;
    fake->app_status = app_status;
    fake->end = end;
    request_ended(fake->req);
    request_unref(fake->req);
    fake->req = NULL;
}

/* An exchange with a request of its own; .req is NULL when there is no memory.
 */
static inline void fake_exchange_init(struct fake_exchange *fake,
                                      struct service *service,
                                      enum request_role role)
{
    static const struct exchange_ops ops = {
        .head = fake_exchange_head,
        .body = fake_exchange_body,
        .err = fake_exchange_err,
        .room = fake_exchange_room,
        .is_flushed = fake_exchange_is_flushed,
        .body_consumed = fake_exchange_consumed,
        .finish = fake_exchange_finish,
    };

    memset(fake, 0, sizeof(*fake));
    fake->exchange.ops = &ops;
    fake->room = 64 * 1024;
    fake->req = request_new(service, role, &fake->exchange);
}

/* Loses the connection. */
static inline void fake_exchange_free(struct fake_exchange *fake)
{
    if (fake->req == NULL)
        return;
    request_detach(fake->req);
    request_unref(fake->req);
    fake->req = NULL;
}

#endif
