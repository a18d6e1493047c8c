/* core_service_test.c -- what a worker's protocols and its script share.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "alloc.h"
#include "base/block.h"
#include "base/chain.h"
#include "core/request.h"
#include "core/service.h"

static const double now = 12.5;

static void a_new_service_has_done_nothing(void **state)
{
    struct limits limits = limits_default();
    struct service service;

    (void)state;
    limits.max_reqs = 7;
    service_init(&service, &limits, &now, "/tmp", 64);
    assert_int_equal(service.limits.max_reqs, 7);
    assert_int_equal(service.active, 0);
    assert_int_equal(service.spooled, 0);
    assert_int_equal(service.serial, 0);
    assert_null(service.ops);
    service_free(&service);
}

static void each_pool_has_the_size_of_its_objects(void **state)
{
    struct limits limits = limits_default();
    struct service service;

    (void)state;
    service_init(&service, &limits, &now, "/tmp", 123);
    assert_int_equal(service.streams.size, 123);
    assert_int_equal(service.requests.size, sizeof(struct request));
    assert_int_equal(service.blocks.size, sizeof(struct block));
    assert_true(service.chunks.size > CHUNK_SIZE);
    assert_true(service.pieces.size > 1024);
    service_free(&service);
}

static void use(void *arg)
{
    struct limits limits = limits_default();
    struct service service;
    struct exchange exchange = { NULL };
    struct request *req;

    (void)arg;
    service_init(&service, &limits, &now, "/tmp", 64);
    for (int i = 0; i < 3; i++) {
        req = request_new(&service, REQUEST_RESPONDER, &exchange);
        if (req == NULL)
            continue;
        buffer_append(&req->params, slice_of("memory that is kept"));
        request_detach(req);
        request_unref(req);
    }
    pool_put(&service.streams, pool_get(&service.streams));
    block_unref(block_new(&service.blocks));
    assert_int_equal(service.active, 0);
    service_free(&service);
}

static void what_the_pools_keep_is_freed_with_the_service(void **state)
{
    (void)state;
    use(NULL);
    alloc_each_fails(use, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_service_has_done_nothing),
        cmocka_unit_test(each_pool_has_the_size_of_its_objects),
        cmocka_unit_test(what_the_pools_keep_is_freed_with_the_service),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
