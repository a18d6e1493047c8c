/* sniff.c -- see sniff.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proc/sniff.h"

#include "base/log.h"
#include "fcgi/record.h"
#include "fcgi/session.h"
#include "http/session.h"

#include <stdlib.h>

struct sniff {
    struct wire wire; /* first: the one is the other */
    struct service *service;
    double since; /* it owes a first byte; 0: it does not */
};

static struct sniff *sniff_of(struct wire *wire)
{
    return (struct sniff *)(void *)wire;
}

static bool is_letter(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* Empty lines before a request in HTTP are ignored (RFC 9112, 2.2). */
static struct wire *open_by(struct service *service, char first)
{
    if (first == FCGI_VERSION_1)
        return fcgi_session_open(service);
    if (is_letter(first) || first == '\r' || first == '\n')
        return http_session_open(service);
    return NULL;
}

static void feed(struct wire *wire, struct block *block, struct slice bytes)
{
    struct wire *next;

    if (bytes.len == 0)
        return;
    next = open_by(sniff_of(wire)->service, bytes.data[0]);
    if (next == NULL) {
        log_write(LOG_LEVEL_INFO, "%s: a connection is closed",
                  is_letter(bytes.data[0]) && http_library() == NULL
                      ? "this program is built without HTTP"
                      : "neither FastCGI nor HTTP");
        wire->state = WIRE_BROKEN;
        return;
    }
    wire->successor = next;
    next->ends = wire->ends; /* asked for before the owner takes it over */
    next->owner = wire->owner;
    next->ops->feed(next, block, bytes);
}

static void eof(struct wire *wire)
{
    wire->state = WIRE_CLOSE;
}

static bool want_read(const struct wire *wire)
{
    return wire->state == WIRE_OPEN;
}

static bool is_busy(const struct wire *wire)
{
    (void)wire;
    return false;
}

static double owed_since(const struct wire *wire)
{
    return ((const struct sniff *)(const void *)wire)->since;
}

static void drained(struct wire *wire)
{
    (void)wire;
}

static void close_sniff(struct wire *wire)
{
    if (wire->successor != NULL)
        wire->successor->ops->close(wire->successor);
    chain_free(&wire->out);
    free(sniff_of(wire));
}

static const struct wire_ops sniff_ops = {
    .feed = feed,
    .eof = eof,
    .want_read = want_read,
    .is_busy = is_busy,
    .owed_since = owed_since,
    .drained = drained,
    .close = close_sniff,
};

struct wire *sniff_open(struct service *service)
{
    struct sniff *sniff = calloc(1, sizeof(*sniff));

    if (sniff == NULL)
        return NULL;
    sniff->wire.ops = &sniff_ops;
    sniff->service = service;
    sniff->since = *service->now;
    chain_init(&sniff->wire.out, &service->chunks);
    return &sniff->wire;
}

struct wire *sniff_open_kept(struct service *service)
{
    struct wire *wire = sniff_open(service);

    if (wire != NULL)
        sniff_of(wire)->since = 0;
    return wire;
}
