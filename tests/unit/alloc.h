/* alloc.h -- makes allocations fail on purpose.  The linker sends malloc,
 * calloc, realloc and strdup of the program under test (not those inside libc,
 * Lua or cmocka) through here; see tests/CMakeLists.txt.
 * SPDX-License-Identifier: MIT */
#ifndef UNIT_ALLOC_H
#define UNIT_ALLOC_H

#include <stddef.h>

/* The k-th allocation from now on fails, once, with ENOMEM; 0: none does.
 * Starts alloc_count at 0 again. */
void alloc_fail_at(size_t k);

/* Allocations asked for since the last alloc_fail_at, failed ones included. */
size_t alloc_count(void);

/* Runs body again and again: with the first allocation failing, then the
 * second, and so on, until a run has made fewer allocations than that.  Body
 * must come through each run, and free what it made: a leak is for the
 * sanitizer to find.  Allocations by the body's own checks count too. */
void alloc_each_fails(void (*body)(void *arg), void *arg);

/* The same for a body that allocates thousands of times, as one does that loads
 * a script: each of the first and the last allocations fails, and some of those
 * between, so that it runs some hundred times however many they are. */
void alloc_some_fail(void (*body)(void *arg), void *arg);

#endif
