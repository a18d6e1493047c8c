/* memory.c -- see memory.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "script/memory.h"

#include <stdlib.h>

void *memory_alloc(void *ud, void *ptr, size_t old_size, size_t new_size)
{
    struct memory *memory = ud;
    void *block;

    if (ptr == NULL)
        old_size = 0; /* then it says what kind of object it is for */
    if (new_size == 0) {
        free(ptr);
        memory->used -= old_size;
        return NULL;
    }
    if (new_size > old_size && memory->limit > 0 &&
        (memory->used > memory->limit ||
         new_size - old_size > memory->limit - memory->used))
        return NULL;
    block = realloc(ptr, new_size);
    if (block != NULL)
        memory->used = memory->used - old_size + new_size;
    return block;
}
