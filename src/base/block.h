/* block.h -- reference-counted blocks of memory that input is received into.
 *
 * One recv() may bring records of many requests.  Each body that keeps bytes
 * of it holds a reference to the block instead of a copy, and the block goes
 * back to its pool with the last of them.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef BASE_BLOCK_H
#define BASE_BLOCK_H

#include "base/pool.h"

#include <stddef.h>

enum { BLOCK_SIZE = 65536 - 64 }; /* with its header below a power of two */

struct block {
    struct pool *pool;
    unsigned refs;
    char data[BLOCK_SIZE];
};

/* Makes pool one of blocks; it must outlive them. */
void block_pool_init(struct pool *pool, unsigned most);

/* A block with one reference, the caller's; NULL when there is no memory. */
struct block *block_new(struct pool *pool);

static inline struct block *block_ref(struct block *block)
{
    block->refs++;
    return block;
}

/* Drops a reference; NULL is accepted. */
void block_unref(struct block *block);

#endif
