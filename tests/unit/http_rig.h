/* http_rig.h -- an HTTP session with a fake service behind it: text in, text
 * out.
 * SPDX-License-Identifier: MIT */
#ifndef UNIT_HTTP_RIG_H
#define UNIT_HTTP_RIG_H

#include "base/block.h"
#include "fake_service.h"
#include "file_rig.h"
#include "http/session.h"

#include <stdlib.h>

struct http_rig {
    struct fake_service fake;
    struct wire *wire; /* NULL: there was no memory */
    char *text;        /* the output that was taken; ends with NUL */
    size_t len;
};

static inline void http_rig_open(struct http_rig *rig)
{
    memset(rig, 0, sizeof(*rig));
    fake_service_init(&rig->fake, sizeof(void *));
    rig->wire = http_session_open(&rig->fake.service);
}

static inline void http_rig_close(struct http_rig *rig)
{
    if (rig->wire != NULL)
        rig->wire->ops->close(rig->wire);
    fake_service_free(&rig->fake);
    free(rig->text);
    rig->text = NULL;
}

/* As a connection does: in portions of at most n bytes. */
static inline void http_rig_feed(struct http_rig *rig, struct slice bytes,
                                 size_t n)
{
    struct wire *wire = rig->wire;

    while (bytes.len > 0 && wire->state == WIRE_OPEN) {
        struct block *block = block_new(&rig->fake.service.blocks);
        struct slice part =
            slice_take(&bytes, n < BLOCK_SIZE ? n : (size_t)BLOCK_SIZE);

        if (block == NULL)
            continue; /* it waits in the kernel */
        memcpy(block->data, part.data, part.len);
        wire->ops->feed(wire, block, (struct slice){ block->data, part.len });
        block_unref(block);
    }
}

static inline void http_rig_say(struct http_rig *rig, const char *text)
{
    http_rig_feed(rig, slice_of(text), SIZE_MAX);
}

/* The peer reads up to n bytes; rig->text is what it has read so far. */
static inline void http_rig_take(struct http_rig *rig, size_t n)
{
    struct wire *wire = rig->wire;
    size_t took = 0;

    while (took < n && wire->out.len > 0) {
        struct slice front = front_of(&wire->out);
        size_t part = front.len < n - took ? front.len : n - took;
        char *grown;

        do
            grown = realloc(rig->text, rig->len + part + 1);
        while (grown == NULL);
        rig->text = grown;
        memcpy(rig->text + rig->len, front.data, part);
        rig->len += part;
        rig->text[rig->len] = '\0';
        chain_drain(&wire->out, part);
        took += part;
    }
    if (took > 0)
        wire->ops->drained(wire);
}

/* All that there is to read now, and only that. */
static inline const char *http_rig_answer(struct http_rig *rig)
{
    rig->len = 0;
    http_rig_take(rig, SIZE_MAX);
    return rig->len == 0 ? "" : rig->text;
}

/* The first of the requests that are ready is answered with this text, head
 * and body as a script writes them. */
static inline void http_rig_reply(struct http_rig *rig, const char *text)
{
    struct slice rest = slice_of(text);

    response_write(rig->fake.ready[0], &rest);
    response_finish(rig->fake.ready[0], 0);
    fake_release(&rig->fake, 0);
}

#endif
