/* memory.h -- Lua's allocator: counts, and refuses above a limit.
 *
 * When it refuses, Lua collects its garbage and tries again; only then does a
 * handler get "not enough memory", and its request a 500.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SCRIPT_MEMORY_H
#define SCRIPT_MEMORY_H

#include <stddef.h>

struct memory {
    size_t used;
    size_t limit; /* bytes; 0: none */
};

/* A lua_Alloc; ud is a struct memory. */
void *memory_alloc(void *ud, void *ptr, size_t old_size, size_t new_size);

#endif
