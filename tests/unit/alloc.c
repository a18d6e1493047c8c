/* alloc.c -- see alloc.h.  Not thread-safe: neither are the tests.
 * SPDX-License-Identifier: MIT */
#include "alloc.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

/* The names are the linker's (--wrap); there is no header for them. */
void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t size);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t size);
char *__wrap_strdup(const char *text);

static size_t asked;   /* since alloc_fail_at */
static size_t failing; /* 0, or the number of the one that fails */

void alloc_fail_at(size_t k)
{
    asked = 0;
    failing = k;
}

size_t alloc_count(void)
{
    return asked;
}

void alloc_each_fails(void (*body)(void *arg), void *arg)
{
    for (size_t k = 1;; k++) {
        bool done;

        alloc_fail_at(k);
        body(arg);
        done = alloc_count() < k;
        alloc_fail_at(0);
        if (done)
            return;
    }
}

void alloc_some_fail(void (*body)(void *arg), void *arg)
{
    enum { FIRST = 100, LAST = 200, BETWEEN = 400 };
    size_t all, step;

    alloc_fail_at(0);
    body(arg);
    all = alloc_count();
    step = all > FIRST + LAST ? (all - FIRST - LAST) / BETWEEN + 1 : 1;
    for (size_t k = 1;; k += k < FIRST || k + LAST > all ? 1 : step) {
        bool done;

        alloc_fail_at(k);
        body(arg);
        done = alloc_count() < k;
        alloc_fail_at(0);
        if (done)
            return;
    }
}

static bool fails(void)
{
    asked++;
    if (asked != failing)
        return false;
    errno = ENOMEM;
    return true;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return fails() ? NULL : __real_realloc(old, size);
}

char *__wrap_strdup(const char *text)
{
    return fails() ? NULL : __real_strdup(text);
}
