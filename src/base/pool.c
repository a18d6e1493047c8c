/* pool.c -- see pool.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/pool.h"

#include <assert.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__)
#define POOL_KEEPS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POOL_KEEPS 0
#endif
#endif
#ifndef POOL_KEEPS
#define POOL_KEEPS 1
#endif

struct pool_item {
    struct pool_item *next;
};

void pool_init(struct pool *pool, size_t size, unsigned most)
{
    assert(size >= sizeof(struct pool_item));
    *pool = (struct pool){ .size = size, .most = POOL_KEEPS ? most : 0 };
}

void *pool_get(struct pool *pool)
{
    struct pool_item *item = pool->free;

    if (item == NULL)
        return malloc(pool->size);
    pool->free = item->next;
    pool->kept--;
    return item;
}

void pool_put(struct pool *pool, void *object)
{
    struct pool_item *item = object;

    if (item == NULL)
        return;
    if (pool->kept >= pool->most) {
        free(item);
        return;
    }
    item->next = pool->free;
    pool->free = item;
    pool->kept++;
}

void pool_free(struct pool *pool)
{
    while (pool->free != NULL) {
        struct pool_item *item = pool->free;

        pool->free = item->next;
        free(item);
    }
    pool->kept = 0;
}
