/* base_pool_test.c -- freed objects that are kept for the next user.
 *
 * How many are kept depends on the build (none under AddressSanitizer), so the
 * tests ask pool.most for it.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <stdlib.h>
#include <cmocka.h>

#include "alloc.h"
#include "base/pool.h"

enum { SIZE = 48, MOST = 3, OBJECTS = 8 };

static void at_most_so_many_are_kept(void **state)
{
    struct pool pool;
    void *objects[OBJECTS];

    (void)state;
    pool_init(&pool, SIZE, MOST);
    assert_true(pool.most == MOST || pool.most == 0);
    for (int i = 0; i < OBJECTS; i++) {
        objects[i] = pool_get(&pool);
        assert_non_null(objects[i]);
        memset(objects[i], i, SIZE);
    }
    for (unsigned i = 0; i < OBJECTS; i++) {
        pool_put(&pool, objects[i]);
        assert_int_equal(pool.kept, i + 1 < pool.most ? i + 1 : pool.most);
    }
    pool_free(&pool);
    assert_int_equal(pool.kept, 0);
}

static void the_last_one_put_is_the_first_one_got(void **state)
{
    struct pool pool;
    void *a, *b;

    (void)state;
    pool_init(&pool, SIZE, MOST);
    a = pool_get(&pool);
    b = pool_get(&pool);
    pool_put(&pool, a);
    pool_put(&pool, b);
    if (pool.most > 0) {
        alloc_fail_at(1);
        assert_ptr_equal(pool_get(&pool), b);
        assert_ptr_equal(pool_get(&pool), a);
        assert_int_equal(alloc_count(), 0);
        alloc_fail_at(0);
        free(a);
        free(b);
    }
    pool_free(&pool);
}

static void null_may_be_put(void **state)
{
    struct pool pool;

    (void)state;
    pool_init(&pool, SIZE, MOST);
    pool_put(&pool, NULL);
    assert_int_equal(pool.kept, 0);
    pool_free(&pool);
    pool_free(&pool);
}

static void get_and_put(void *arg)
{
    struct pool pool;
    void *objects[OBJECTS];

    (void)arg;
    pool_init(&pool, SIZE, MOST);
    for (int i = 0; i < OBJECTS; i++)
        objects[i] = pool_get(&pool);
    for (int i = 0; i < OBJECTS; i++)
        pool_put(&pool, objects[i]);
    pool_free(&pool);
}

static void without_memory_there_is_none(void **state)
{
    struct pool pool;

    (void)state;
    pool_init(&pool, SIZE, MOST);
    alloc_fail_at(1);
    assert_null(pool_get(&pool));
    alloc_fail_at(0);
    pool_free(&pool);
    alloc_each_fails(get_and_put, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(at_most_so_many_are_kept),
        cmocka_unit_test(the_last_one_put_is_the_first_one_got),
        cmocka_unit_test(null_may_be_put),
        cmocka_unit_test(without_memory_there_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
