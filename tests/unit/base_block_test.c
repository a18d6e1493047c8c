/* base_block_test.c -- reference-counted blocks of input.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "alloc.h"
#include "base/block.h"

static void a_block_goes_back_with_its_last_reference(void **state)
{
    struct pool pool;
    struct block *block;

    (void)state;
    block_pool_init(&pool, 2);
    block = block_new(&pool);
    assert_non_null(block);
    assert_int_equal(block->refs, 1);
    assert_ptr_equal(block_ref(block), block);
    block_unref(block);
    assert_int_equal(pool.kept, 0);
    memset(block->data, 'x', sizeof(block->data)); /* still ours */
    block_unref(block);
    assert_int_equal(pool.kept, pool.most > 0 ? 1 : 0);
    pool_free(&pool);
}

static void a_used_block_begins_again_with_one_reference(void **state)
{
    struct pool pool;
    struct block *block;

    (void)state;
    block_pool_init(&pool, 2);
    block_unref(block_new(&pool));
    block = block_new(&pool);
    assert_int_equal(block->refs, 1);
    assert_ptr_equal(block->pool, &pool);
    block_unref(block);
    pool_free(&pool);
}

static void null_may_be_dropped(void **state)
{
    (void)state;
    block_unref(NULL);
}

static void two_blocks(void *arg)
{
    struct pool pool;
    struct block *a, *b;

    (void)arg;
    block_pool_init(&pool, 1);
    a = block_new(&pool);
    b = block_new(&pool);
    block_unref(b);
    block_unref(a);
    pool_free(&pool);
}

static void without_memory_there_is_no_block(void **state)
{
    struct pool pool;

    (void)state;
    block_pool_init(&pool, 1);
    alloc_fail_at(1);
    assert_null(block_new(&pool));
    alloc_fail_at(0);
    pool_free(&pool);
    alloc_each_fails(two_blocks, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_block_goes_back_with_its_last_reference),
        cmocka_unit_test(a_used_block_begins_again_with_one_reference),
        cmocka_unit_test(null_may_be_dropped),
        cmocka_unit_test(without_memory_there_is_no_block),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
