/* chain.h -- bytes on their way to a socket, in order.
 *
 * Small pieces are copied into chunks, so that all the answers of one turn to
 * one connection leave in one system call; large ones may be held by reference
 * until the kernel has taken them, and pieces of files are read by nobody else.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef BASE_CHAIN_H
#define BASE_CHAIN_H

#include "base/pool.h"
#include "base/shared_fd.h"
#include "base/slice.h"

#include <stdbool.h>
#include <sys/types.h>
#include <sys/uio.h>

enum { CHUNK_SIZE = 16384 - 64 }; /* bytes that fit into one chunk */

struct chain {
    struct chunk *head, *tail;
    struct pool *pool; /* of chunks; outlives the chain */
    size_t len;        /* bytes in all chunks */
};

/* Makes pool one of chunks. */
void chain_pool_init(struct pool *pool, unsigned most);

/* An empty chain that takes its chunks from pool. */
void chain_init(struct chain *chain, struct pool *pool);

/* Releases and frees all that is in it; the chain is empty then. */
void chain_free(struct chain *chain);

/* Adds n bytes, at most CHUNK_SIZE, in one piece and returns where the caller
 * is to write them; NULL when there is no memory.  The address stays valid
 * until these bytes are drained. */
char *chain_extend(struct chain *chain, size_t n);

/* Adds a copy of bytes, all of it or (false: no memory) nothing. */
bool chain_append(struct chain *chain, struct slice bytes);

/* Adds bytes without a copy.  release(arg) is called once when they have been
 * drained or dropped.  Returns false, and never calls release, when there is
 * no memory. */
bool chain_append_ref(struct chain *chain, struct slice bytes,
                      void (*release)(void *arg), void *arg);

/* Adds n bytes of a file, from offset on, with a reference of its own.  Returns
 * false when there is no memory. */
bool chain_append_file(struct chain *chain, struct shared_fd *file,
                       off_t offset, size_t n);

/* Is a piece of a file at the front?  Its descriptor, with where the piece
 * begins and how long it is; else -1. */
int chain_file(const struct chain *chain, off_t *offset, size_t *n);

/* Describes the front of the chain, as far as there is no piece of a file, in
 * at most max entries; returns how many. */
unsigned chain_iovec(const struct chain *chain, struct iovec *iov,
                     unsigned max);

/* Drops n bytes, at most chain->len, off the front. */
void chain_drain(struct chain *chain, size_t n);

#endif
