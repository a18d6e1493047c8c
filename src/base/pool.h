/* pool.h -- a bounded stack of freed objects of one size.
 *
 * A server makes and drops the same few structs for every request.  Keeping a
 * few of them saves the allocator's work and, more, cold memory.  Under
 * AddressSanitizer nothing is kept, so that a use after free is seen.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include <stddef.h>

struct pool {
    struct pool_item *free; /* the last one dropped first */
    size_t size;            /* of each object, in bytes */
    unsigned kept, most;
};

/* Objects of size bytes (at least a pointer's), at most `most` of them kept. */
void pool_init(struct pool *pool, size_t size, unsigned most);

/* An object with indeterminate contents, or NULL when there is no memory. */
void *pool_get(struct pool *pool);

/* Gives back what pool_get returned; NULL is accepted. */
void pool_put(struct pool *pool, void *object);

/* Frees what is kept.  Objects that are out must be put back first, or given
 * to free(). */
void pool_free(struct pool *pool);

#endif
