/* block.c -- see block.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/block.h"

void block_pool_init(struct pool *pool, unsigned most)
{
    pool_init(pool, sizeof(struct block), most);
}

struct block *block_new(struct pool *pool)
{
    struct block *block = pool_get(pool);

    if (block == NULL)
        return NULL;
    block->pool = pool;
    block->refs = 1;
    return block;
}

void block_unref(struct block *block)
{
    if (block != NULL && --block->refs == 0)
        pool_put(block->pool, block);
}
