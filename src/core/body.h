/* body.h -- a request's body between the peer who sends it and the handler who
 * reads it: a queue in memory, and behind it an unlinked temporary file.
 *
 *     peer -> [file] -> pieces in memory -> handler
 *
 * Who decides whether more is read from the peer, or whether bytes go to the
 * file, is the protocol (house: back-pressure); here they are only kept in
 * order.  Bytes go to the file while older ones are still in it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef CORE_BODY_H
#define CORE_BODY_H

#include "base/block.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>

struct body_piece;
struct service;

struct body {
    struct body_piece *head, *tail;
    size_t in_memory;  /* bytes in pieces */
    uint64_t expected; /* CONTENT_LENGTH; 0: only the peer's end tells */
    uint64_t received; /* bytes that came, dropped ones not counted */
    uint64_t file_read, file_written; /* offsets in the file */
    int fd;                           /* the file, or -1 */
    bool ended;                       /* nothing more will come */
    bool truncated; /* the end came before the expected length */
    bool dropped;   /* nobody will read it: bytes are thrown away */
    bool want_all;  /* a handler waits for the whole of it */
    bool stopped;   /* over the window; reading waits until half is taken */
};

enum body_status {
    BODY_OK,
    BODY_TOO_LARGE, /* over --max-body */
    BODY_NO_SPACE,  /* over --max-spool, or the disk is full */
    BODY_NO_MEMORY
};

/* Sizes the pool of small pieces. */
void body_pool_init(struct pool *pool, unsigned most);

/* An empty body; free of resources until the first byte. */
void body_init(struct body *body);

/* Frees what is held; the body is empty and dropped. */
void body_free(struct body *body, struct service *service);

/* Adds bytes, which lie in block, to memory or, if to_file or if older bytes
 * are in the file, to the file.  What passes `expected` is left out.  On an
 * error nothing of bytes was added. */
enum body_status body_add(struct body *body, struct service *service,
                          struct block *block, struct slice bytes,
                          bool to_file);

/* The peer said that this was all. */
void body_end(struct body *body);

/* Throws away what is there and what will come. */
void body_drop(struct body *body, struct service *service);

/* Bytes that can be read without waiting for the peer. */
static inline uint64_t body_available(const struct body *body)
{
    return body->in_memory + (body->file_written - body->file_read);
}

/* Shows the front, at least one byte when any are available, without taking
 * it; loads from the file when memory is empty.  Returns BODY_NO_MEMORY, or
 * BODY_NO_SPACE when the file cannot be read. */
enum body_status body_peek(struct body *body, struct service *service,
                           struct slice *front);

/* Takes n bytes, at most what body_peek showed. */
void body_consume(struct body *body, struct service *service, size_t n);

#endif
